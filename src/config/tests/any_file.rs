//! Whatever is written, it is read or refused in sentences.

use proptest::prelude::*;

use super::load_text;

fn word() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "listen",
        "brokers",
        "programs",
        "defaults",
        "include",
        "templates",
        "extends",
        "orders",
        "command",
        "shell",
        "environment",
        "stop",
        "signal",
        "scale",
        "queue",
        "wait",
        "max",
        "min",
        "log",
        "path",
        "backoff",
        "initial",
        "url",
        "host",
        "port",
        "umask",
        "5s",
        "1",
        "-1",
        "true",
        "x",
        "''",
        "'a b'",
        "~",
        "${MAX}",
        "'${UNSET:-}'",
        "always",
        "50MiB",
        "socket",
        "mode",
        "amqp://h",
        "all",
        "processes",
        "user",
        "restart",
        "project",
        "allowed_hosts",
        "127.0.0.1:1",
    ])
}

fn value() -> impl Strategy<Value = String> {
    word().prop_map(str::to_owned).prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            proptest::collection::vec((word(), inner), 0..4).prop_map(|entries| {
                let entries: Vec<_> = entries.iter().map(|(key, value)| format!("{key}: {value}")).collect();
                format!("{{{}}}", entries.join(", "))
            }),
        ]
    })
}

proptest! {
    /// What the check leaves of a file always deserializes, and every refusal has a place in the file.
    #[test]
    fn is_either_accepted_or_refused_at_a_place(top in proptest::collection::vec((word(), value()), 0..5)) {
        let text: String = top.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
        if let Err(problems) = load_text(&text) {
            for problem in &problems {
                prop_assert!(problem.at.is_some(), "{text}\n{problems}");
            }
        }
    }
}
