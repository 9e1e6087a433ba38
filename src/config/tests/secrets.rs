//! Passwords stay in the file.

use super::{load_text, settings};

#[test]
fn no_secret_is_ever_shown() {
    for text in [
        "brokers: {b: {url: hunter2}}",
        "brokers: {b: {url: 'http://me:hunter2@h'}}",
        "brokers: {b: hunter2}",
        "brokers: {b: '${BROKEN_URL}'}",
        "brokers: {b: {url: '${BROKEN_URL}'}}",
        "brokers: {b: {host: h, password: hunter2, pord: 1}}",
        "brokers: {b: {host: h, pasword: hunter2}}",
        "brokers: {b: {host: h, password: [hunter2]}}",
        "brokers: {b: {host: h, password: hunter2, password: hunter2}}",
        "brokers: {b: {host: h, password: 'hunter2${UNSET}'}}",
        "brokers: {b: {host: h, password: '${UNSET:-hunter2}', tls: perhaps}}",
        "brokers: {b: {host: h, password: !x hunter2}}",
        "brokers: {b: {host: h, password: \"hunter2\\0\"}}",
        "brokers: {b: {url: 'amqp://h', password: hunter2}}",
        "brokers: {b: {management: 'http://me:hunter2@h'}}",
        "brokers: {b: {url: amqp://h, management: 'hunter2'}}",
        "brokers: {b: {url: amqp://h, management: 'http://me:hunter2@'}}",
        "brokers: {b: {url: amqp://h, management: 'http://me:hunter2@h/#/queues'}}",
        "brokers: {b: {url: amqp://h, management: 'amqp://me:hunter2@h'}}",
        "brokers: {b: {url: amqp://h, management: ['hunter2']}}",
        "brokers: {b: {url: amqp://h, metrics: 'hunter2'}}",
        "brokers: {b: {url: amqp://h, metrics: 'http://me:hunter2@'}}",
        "brokers: {b: {url: amqp://h, metrics: 'http://me:hunter2@h/metrics?family=x'}}",
        "brokers: {b: {url: amqp://h, metrics: ['hunter2']}}",
        "brokers: {b: {url: amqp://h, metrics: 'http://m:hunter2@h', management: 'http://m:hunter2@h'}}",
        "brokers: {b: {host: h, port: '${PASSWORD}'}}",
        "brokers: {b: [hunter2]}",
        "brokers: {b: &x hunter2, c: *x}",
        "brokers:\n  b:\n    password: hunter2\n   host: h",
        "brokers:\n  b: {url: amqp://me:hunter2@h: x}",
        "brokers:\n  b: amqp://me:hunter2@h: x",
        "borkers: {b: {password: hunter2}}",
        "programs: {a: {command: 'x amqp://me:hunter2@h', processes: x}}",
        "programs: {a: {command: x, environment: {API_TOKEN: [hunter2]}}}",
        "programs: {a: {command: x, environment: {ANYTHING: 'hunter2 ${UNSET}'}}}",
        "programs: {a: {command: x, processes: '${PASSWORD}'}}",
        "programs: {a: {command: x, stop: {signal: '${PASSWORD}', timeout: '${PASSWORD}'}}}",
        "programs: {a: {command: x, project: '${PASSWORD}?', restart: '${PASSWORD}'}}",
        "listen: ${PASSWORD}",
        "allowed_hosts: ['${PASSWORD}/']",
        "brokers: {b: amqp://h}\nprograms: {a: {command: x, scale: {queue: q, wait: 1s, max: 1, broker: '${PASSWORD}'}}}",
    ] {
        let problems = load_text(text).expect_err(text);
        let shown = format!("{problems} {} {problems:?}", problems.render(true));
        assert!(!shown.contains("hunter2"), "{text}\n{shown}");
        assert!(shown.contains("shop.yaml"));
    }
    let settings = settings(
        "brokers: {b: {host: h, user: me, password: '${PASSWORD}', management: 'http://m:hunter2@h:15672'}}",
    );
    assert!(!format!("{settings:?}").contains("hunter2"));
    let settings = self::settings("brokers: {b: {url: amqp://h, metrics: 'http://m:hunter2@h:15692'}}");
    assert!(settings.brokers[0].metrics.is_some() && !format!("{settings:?}").contains("hunter2"));
}

#[test]
fn a_reference_without_a_secret_in_it_is_shown() {
    let problems = load_text("brokers: {b: {url: '${UNSET_URL}'}}").unwrap_err();
    assert_eq!(problems.iter().count(), 1);
    assert_eq!(
        problems.iter().next().unwrap().at.as_ref().unwrap().text,
        "brokers: {b: {url: '${UNSET_URL}'}}"
    );
}
