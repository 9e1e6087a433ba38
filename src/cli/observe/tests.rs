//! The whole result, from what was seen to a file that Leveret takes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::document::{Outcome, document};
use super::json::json;
use super::process::{Identity, Launch, LocalProcess, Runner};
use super::programs::{Program, programs};
use super::recording::Recording;
use super::recording::tests::{consumes, name, place, taker};
use super::verdict::tests::{CIRCUMSTANCES, recorded};
use super::verdict::{Verdict, verdict};
use crate::amqp::management::census::{Found, Taker, Takes};
use crate::config::settings::Settings;
use crate::config::{load, management_address};

/// The result of a recording; the login is no default one.
fn told(recording: &Recording, programs: &[(Program, Verdict)]) -> (String, serde_json::Value) {
    let management = management_address("http://shop:hunter2@mq:15672").unwrap();
    let outcome = Outcome {
        management: &management,
        recording,
        programs,
        circumstances: CIRCUMSTANCES,
        lasted: Duration::from_secs(600),
    };
    let yaml = document(&outcome);
    let json = json(&outcome, &yaml);
    (yaml, json)
}

fn unsure(recording: &Recording) -> Vec<(Program, Verdict)> {
    let unsure = |program| (program, Verdict::Unsure("nothing is known".to_owned()));
    programs(recording).into_iter().map(unsure).collect()
}

fn settings(yaml: &str, environment: &[(&str, &str)]) -> Settings {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("leveret.yaml");
    std::fs::write(&file, yaml).unwrap();
    let mut environment: BTreeMap<String, String> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    environment.insert("HOME".to_owned(), "/home/me".to_owned());
    load(&file, &environment).unwrap_or_else(|problems| panic!("{problems}\n{yaml}"))
}

fn looked(takers: Vec<Taker>, words: &[&str]) -> Recording {
    let mut recording = Recording::default();
    let launch = Launch {
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        directory: Some("/srv/my shop: ${x}".to_owned()),
        user: Some("1000".to_owned()),
        ..Launch::default()
    };
    let found = Found { takers, ..Found::default() };
    let process = LocalProcess { launch, runner: Runner::Supervisord("a\nb".to_owned()) };
    recording.note_look(0, &found, place, |_| Some(process.clone()));
    recording
}

#[test]
fn every_command_is_the_same_after_the_configuration_was_read() {
    let commands: [&[&str]; 9] = [
        &["php", "bin/console", "messenger:consume", "orders"],
        &["/bin/work er", "a b", "", "--x=1,2", "'", "\""],
        &["sh", "-c", "exec php x.php --id=$ID ${NAME} $${Y} \\ # no comment: 100 %"],
        &["python3", "größe.py", "キュー", "😀", "\u{85}\u{2028}\u{feff}"],
        &["a", "line\nbreak\ttab\r\u{1b}[0m\u{7f}"],
        &["true"],
        &["- x", "*a", "&b", "!c", "|", ">", "@d", "`e`", "%f", "{g}", "[h]", "null", "~", "1e3", "0x1f"],
        &["x:", "y: z", "#", "?", ":"],
        &["./worker", "--", "-", "$", "$$", "$$${", "${", "}"],
    ];
    for words in commands {
        for queue in ["orders", "x: {y}", "${QUEUE} 'q' \"p\"", "größe\n#", "123", "true", "all"] {
            let recording = looked(vec![taker(1_000, consumes(queue))], words);
            let (yaml, _) = told(&recording, &unsure(&recording));
            let settings = settings(&yaml, &[]);
            let program = &settings.programs[0];
            assert_eq!(program.run.argv, words, "{yaml}");
            assert_eq!(program.scale().unwrap().queue, queue, "{yaml}");
            let directory = program.run.directory.as_ref().unwrap().display().to_string();
            assert_eq!(
                (directory.as_str(), program.run.user.as_deref()),
                ("/srv/my shop: ${x}", Some("1000"))
            );
        }
    }
}

#[test]
fn secrets_of_the_command_line_come_from_the_environment_and_are_never_printed() {
    let words = ["work", "amqp://me:hunter2@mq/v", "--api-key", "hunter 3", "--db-password='hunter4'"];
    let recording = looked(vec![taker(1_000, consumes("orders"))], &words);
    let (yaml, json) = told(&recording, &unsure(&recording));
    assert!(!yaml.contains("hunter") && !json.to_string().contains("hunter"), "{yaml}");
    assert!(
        yaml.contains("left out: set ORDERS_PASSWORD, ORDERS_API_KEY,\n  # ORDERS_DB_PASSWORD in"),
        "{yaml}"
    );
    let environment =
        [("ORDERS_PASSWORD", "hunter2"), ("ORDERS_API_KEY", "hunter 3"), ("ORDERS_DB_PASSWORD", "hunter4")];
    assert_eq!(settings(&yaml, &environment).programs[0].run.argv, words);
}

#[test]
fn a_login_that_is_not_the_usual_one_has_to_be_set() {
    let owned = Taker {
        user: Some("sh@p".to_owned()),
        vhost: "a/b".to_owned(),
        is_encrypted: true,
        ..taker(1_000, consumes("orders"))
    };
    let recording = looked(vec![owned], &["work"]);
    let (yaml, _) = told(&recording, &unsure(&recording));
    assert!(
        yaml.contains("Set AMQP_URL=amqps://sh%40p:PASSWORD@127.0.0.1:5672/a%2fb in Leveret's"),
        "{yaml}"
    );
    let settings = settings(&yaml, &[("AMQP_URL", "amqps://x:y@h/a%2fb")]);
    assert_eq!(settings.brokers[0].url.reveal(), "amqps://x:y@h/a%2fb");
    assert_eq!(settings.brokers[0].management, None);
}

#[test]
fn queues_of_several_virtual_hosts_have_a_broker_each() {
    let other = |port, queue| Taker { vhost: "shop".to_owned(), ..taker(port, consumes(queue)) };
    let takers = vec![
        taker(1_000, consumes("mails")),
        other(1_001, "orders"),
        other(1_002, "orders"),
        taker(1_003, consumes("mails")),
        taker(1_003, consumes("low")),
        taker(1_004, consumes("mails")),
        taker(1_005, consumes("mails")),
    ];
    let recording = looked(takers, &["work"]);
    let (yaml, _) = told(&recording, &unsure(&recording));
    let settings = settings(&yaml, &[]);
    let told: BTreeSet<(&str, &str)> = settings
        .programs
        .iter()
        .map(|program| (program.name.as_str(), program.scale().unwrap().broker.as_str()))
        .collect();
    assert_eq!(told, [("mails", "default"), ("work", "default"), ("orders", "broker2")].into());
    let urls: BTreeSet<&str> = settings.brokers.iter().map(|broker| broker.url.reveal()).collect();
    assert_eq!(
        urls,
        ["amqp://guest:guest@127.0.0.1:5672/%2f", "amqp://guest:guest@127.0.0.1:5672/shop"].into()
    );
}

#[test]
fn what_a_process_works_on_and_takes_ahead_is_written_where_it_is_more_than_one() {
    let written = |consumers: usize, prefetch: u64| {
        let takes = Takes::Consumes { queue: "q".to_owned(), prefetch: Some(prefetch), acknowledges: true };
        let recording = looked(vec![taker(1_000, takes); consumers], &["work"]);
        let scale =
            settings(&told(&recording, &unsure(&recording)).0, &[]).programs[0].scale().unwrap().clone();
        (scale.concurrency, scale.prefetch)
    };
    assert_eq!(written(1, 1), (None, None));
    assert_eq!(written(1, 10), (None, Some(10)));
    assert_eq!(written(4, 1), (Some(4), None));
    assert_eq!(written(4, 10), (Some(4), Some(40)));
    assert_eq!(written(4, 65_535), (Some(4), Some(65_535)));
    assert_eq!(written(2, 0), (Some(2), Some(0)));
}

#[test]
fn what_somebody_has_to_look_at_is_said() {
    let polling = Found {
        takers: vec![
            taker(1_000, Takes::Polls),
            taker(1_001, consumes("mails")),
            taker(100, consumes("mails")),
        ],
        polled: [name("orders")].into(),
        ..Found::default()
    };
    let mut recording = Recording::default();
    let launch = |identity: Identity| match identity.pid {
        1_000 => Launch { words: vec!["celeryd: worker".to_owned()], is_changed: true, ..Launch::default() },
        _ => Launch { words: vec!["work".to_owned()], ..Launch::default() },
    };
    let process =
        |identity| LocalProcess { launch: launch(identity), runner: Runner::Systemd("w.service".to_owned()) };
    recording.note_look(0, &polling, place, |identity| Some(process(identity)));
    let mut judged = unsure(&recording);
    judged[1].1 = Verdict::NotScaled("it is not".to_owned());
    let (yaml, json) = told(&recording, &judged);
    let words: Vec<&str> = yaml.split_whitespace().filter(|word| *word != "#").collect();
    let yaml_in_one_line = words.join(" ");
    for expected in [
        "run by systemd as w.service; pid 1000.",
        "This is the title that it shows",
        "Its directory or user may not be seen",
        "It takes messages one by one (basic.get)",
        "1 consumer of its queue is elsewhere (127.0.0.1)",
        "Not scaled: it is not.",
        "processes: 1",
    ] {
        assert!(yaml_in_one_line.contains(expected), "{expected}\n{yaml}");
    }
    assert_eq!(settings(&yaml, &[]).programs.len(), 2);
    assert_eq!(json["programs"][0]["verdict"], "unsure");
    assert_eq!(json["programs"][1]["run_by"][0]["name"], "w.service");
}

#[test]
fn the_result_says_what_was_seen_and_what_to_write() {
    let recording = recorded(10);
    let judged: Vec<(Program, Verdict)> = programs(&recording)
        .into_iter()
        .map(|program| {
            let verdict = verdict(&program, &recording, CIRCUMSTANCES, &|| ());
            (program, verdict)
        })
        .collect();
    let (yaml, json) = told(&recording, &judged);
    for expected in [
        "# Written by `leveret observe`: 8 processes of this machine, which took messages from 1 queue of the broker",
        "  # 8 processes; pids 1000, 1001, 1002 and 5 more.\n",
        "  orders:\n    command: php bin/console messenger:consume orders\n    directory: /srv/shop\n    user: www-data\n",
        "    scale: {queue: orders, wait: 5s, min: 1, max: ",
    ] {
        assert!(yaml.contains(expected), "{expected}\n{yaml}");
    }
    let settings = settings(&yaml, &[]);
    let scale = settings.programs[0].scale().unwrap();
    let written = &json["programs"][0];
    assert_eq!(
        (written["scale"]["min"].as_u64(), written["scale"]["max"].as_u64()),
        (Some(1), Some(scale.max.into()))
    );
    assert_eq!((&written["verdict"], &json["yaml"]), (&"compared".into(), &yaml.as_str().into()));
    assert_eq!(written["present"]["processes"], 8);
    assert_eq!(json["queues"][0]["samples"].as_array().unwrap().len(), 121);
}
