//! What is wrong is said, all of it, at its place and with what to try.

use super::{directory, variables, wrong};
use crate::config::load;

#[test]
fn five_mistakes_are_five_errors_in_one_go() {
    let text = "\
programs:
  orders:
    comand: php worker.php
    command: php worker.php
    stop: {signal: TREM}
    scale: {queue: orders, wait: 5, max: 20}
  orders:
    command: ${MISSING}
brokers:
  default: amqp://guest:hunter2@localhost
";
    assert_eq!(
        wrong(text),
        [
            "3:5 programs.orders.comand: unknown key `comand`; did you mean `command`?",
            "5:20 programs.orders.stop.signal: `signal`: there is no signal TREM; did you mean TERM?",
            "6:34 programs.orders.scale.wait: `wait`: a duration needs a unit: write 5s",
            "7:3 programs.orders: `orders` is written twice",
            "8:14 programs.orders.command: the environment variable MISSING is not set; set it, write \
             `${MISSING:-default}`, or `$${MISSING}` for a literal `${MISSING}`",
        ]
    );
}

#[test]
fn problems_are_shown_as_a_compiler_shows_them() {
    let directory = directory(&[(
        "shop.yaml",
        "\
brokers:
  default: {url: amqp://shop:hunter2@rabbit, managment: x}
programs:
  orders:
    command: php worker.php
    numprocs: 4
    listen: [tcp]
    scale: {queue: orders, wait: 5s, min: 3, max: 2}
  orders:
    restart: sometimes
",
    )]);
    let text = load(&directory.path().join("shop.yaml"), &variables()).unwrap_err().to_string();
    let text = text.replace(&format!("{}/", directory.path().display()), "");
    let expected = "\
error: unknown key `managment`; did you mean `management`?
 --> shop.yaml:2:46
  |
2 |   default: {url: ***, managment: ***}
  |                       ^^^^^^^^^ brokers.default.managment

error: unknown key `numprocs`; did you mean `processes`?
 --> shop.yaml:6:5
  |
6 |     numprocs: 4
  |     ^^^^^^^^ programs.orders.numprocs

error: `listen` is not supported yet
 --> shop.yaml:7:5
  |
7 |     listen: [tcp]
  |     ^^^^^^ programs.orders.listen

error: `min` is 3, which is more than `max`, 2
 --> shop.yaml:8:43
  |
8 |     scale: {queue: orders, wait: 5s, min: 3, max: 2}
  |                                           ^ programs.orders.scale.min

error: `orders` is written twice
 --> shop.yaml:9:3
  |
9 |   orders:
  |   ^^^^^^ programs.orders
  |
 ::: shop.yaml:4:3
  |
4 |   orders:
  |   ------ first written here

error: `orders` has no `command`; add it, as in `command: php worker.php`
 --> shop.yaml:9:3
  |
9 |   orders:
  |   ^^^^^^ programs.orders.command

error: `restart` must be `always`, `on-failure` or `never`, not \"sometimes\"
  --> shop.yaml:10:14
   |
10 |     restart: sometimes
   |              ^^^^^^^^^ programs.orders.restart

7 errors in shop.yaml";
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn each_wrong_type_says_what_is_right() {
    for (program, expected) in [
        ("processes: many", "`processes` must be a whole number from 0 to 1000, not \"many\""),
        ("processes: 1001", "`processes` must be a whole number from 0 to 1000, not \"1001\""),
        ("processes: 1.5", "`processes` must be a whole number from 0 to 1000, not \"1.5\""),
        ("processes: '3'", "`processes` must be a whole number from 0 to 1000, not \"3\"; remove the quotes"),
        ("processes: [3]", "`processes` must be a whole number from 0 to 1000, not a list"),
        ("processes:", "`processes` has no value"),
        ("nice: 20", "`nice` must be a whole number from -20 to 19, not \"20\""),
        ("autostart: yes", "`autostart` must be true or false, not \"yes\"; write true"),
        ("autostart: 'false'", "`autostart` must be true or false, not \"false\"; remove the quotes"),
        (
            "restart: onfailure",
            "`restart` must be `always`, `on-failure` or `never`, not \"onfailure\"; did you mean `on-failure`?",
        ),
        (
            "recycle: {age: 0s}",
            "every process would be replaced at once, again and again; leave it out to replace none",
        ),
        (
            "recycle: {memory: 0}",
            "every process would be replaced at once, again and again; leave it out to replace none",
        ),
        ("restart: {codes: {256: recycle}}", "an exit code is a whole number from 0 to 255"),
        (
            "restart: {codes: {0: recycled}}",
            "`0` must be `recycle`, `backoff` or `stay-down`, not \"recycled\"; did you mean `recycle`?",
        ),
        ("restart: [always]", "`restart` must be a section of keys like `codes`, `policy`, not a list"),
        ("limits: {nofile: many}", "`nofile`: this is a whole number, or `unlimited`"),
        ("limits: {nofile: -1}", "`nofile`: this is a whole number, or `unlimited`"),
        (
            "limits: {nofile: [1]}",
            "`nofile` must be a number, `unlimited`, or `{soft: .., hard: ..}`, not a list",
        ),
        ("limits: {nofile: {max: 1}}", "unknown key `max`"),
        ("limits: {nofile: {soft: 2, hard: 1}}", "the soft limit is above the hard one"),
        ("limits: {nofile: {soft: unlimited, hard: 1}}", "the soft limit is above the hard one"),
        ("limits: {cpu: 5}", "`cpu`: a duration needs a unit: write 5s"),
        ("limits: {cpu: 1500ms}", "`cpu`: the system counts processor time in whole seconds, from 1s"),
        ("limits: {memory: 2G}", "`memory`: \"G\" is not a unit of size: write KiB, MiB, GiB, kB, MB or GB"),
        ("oom_score_adj: 1001", "`oom_score_adj` must be a whole number from -1000 to 1000, not \"1001\""),
        ("umask: '089'", "`umask`: this is an octal number from 000 to 777, as in \"022\""),
        ("stop: TERM", "`stop` must be a section of keys like `signal`, `steps`, `timeout`, not \"TERM\""),
        (
            "stop: [TERM, KILL]",
            "TERM needs a time until the next step; write `{signal: TERM, for: 10s}`; only KILL, the last one, has \
             none",
        ),
        ("stop: []", "`stop` cannot be empty"),
        ("stop: [{signal: TERM}]", "`stop` has no `for`; add it, as in `for: 30s`"),
        ("stop: [KILL, {signal: TERM, for: 1s}]", "nothing outlives KILL: it comes last and has no time"),
        ("stop: [{signal: TERM, for: 0s}, KILL]", "TERM needs a time that is longer than nothing"),
        ("stop: [{signal: TREM, for: 1s}]", "`signal`: there is no signal TREM; did you mean TERM?"),
        (
            "stop: {signal: INT, steps: [KILL]}",
            "a stop has either `steps` or `signal` and `timeout`; write the first signal and its time as the first \
             step",
        ),
        ("stop: {timeout: -5s}", "`timeout`: a duration cannot be negative"),
        (
            "log: {max_size: 50M}",
            "`max_size`: \"M\" is not a unit of size: write KiB, MiB, GiB, kB, MB or GB",
        ),
        ("environment: [A]", "`environment` must be a section of names and values, not a list"),
        ("environment: {A: }", "`A` has no value"),
        ("environment: {A: [1]}", "`A` must be a text, not a list"),
        ("environment: {LEVERET_SLOT: 1}", "variables that begin with LEVERET_ are set by Leveret itself"),
        (
            "project: '@shop'",
            "`project`: \"@shop\" may contain only letters, digits, \"_\", \"-\" and \".\", and begins with a letter, a digit or \"_\"",
        ),
        ("directory: ''", "`directory` cannot be empty"),
        (
            "processes: ${WAIT}",
            "`processes` must be a whole number from 0 to 1000, not what \"${WAIT}\" expands to",
        ),
        ("backoff: {give_up_after: 0}", "`give_up_after` must be a whole number from 1, not \"0\""),
        (
            "backoff: {initial: 2m}",
            "the first wait, 2m, is longer than the longest, 1m; set both `initial` and `max`",
        ),
        (
            "backoff: {max: 500ms}",
            "the first wait, 1s, is longer than the longest, 500ms; set both `initial` and `max`",
        ),
        ("backoff: {initial: 5, max: 500ms}", "`initial`: a duration needs a unit: write 5s"),
    ] {
        let found = wrong(&format!("programs: \n  a:\n    command: x\n    {program}\n"));
        let sentences: Vec<_> = found.iter().map(|found| found.split_once(": ").unwrap().1).collect();
        assert_eq!(sentences, [expected], "{program}");
        assert!(found[0].starts_with("4:"), "{found:?}");
    }
}

#[test]
fn unknown_keys_get_the_nearest_known_one_or_the_one_that_others_call_so() {
    for (key, hint) in [
        ("numproc", "; did you mean `processes`?"),
        ("numprocs", "; did you mean `processes`?"),
        ("autorestart", "; did you mean `restart`?"),
        ("stopwaitsecs", "; did you mean `stop.timeout`?"),
        ("stopsignal", "; did you mean `stop.signal`?"),
        ("stdout_logfile", "; did you mean `log.path`?"),
        ("queue", "; did you mean `scale.queue`?"),
        ("enviroment", "; did you mean `environment`?"),
        ("colour", ""),
    ] {
        let found = wrong(&format!("programs:\n  a: {{command: x, {key}: 1}}\n"));
        assert_eq!(found, [format!("2:19 programs.a.{key}: unknown key `{key}`{hint}")]);
    }
    assert_eq!(wrong("program: {}"), ["1:1 program: unknown key `program`; did you mean `programs`?"]);
}

#[test]
fn programs_that_are_sure_to_have_more_than_there_is_are_refused() {
    let found = wrong(
        "budget: {processes: 5}\nprograms:\n  a: {command: x, processes: 4}\n  b: {command: x}\n  \
         c: {command: x, schedule: '@daily'}\n",
    );
    let said = "1:21 budget.processes: the programs need at least 6 processes (a 4, b 1, c 1), more than 5; raise it, or \
                lower `min` or `processes` of programs";
    assert_eq!(found, [said]);
    let found = wrong("budgets: {mysql: 5}\nprograms: {a: {command: x, processes: 3, uses: {mysql: 2}}}\n");
    assert!(
        found.len() == 1 && found[0].contains("the programs need at least 6 mysql (a 6), more than 5"),
        "{found:?}"
    );
}

#[test]
fn what_programs_use_must_be_a_budget_and_fit_into_it() {
    let text = |uses: &str| {
        format!("budgets: {{mysql: 5}}\nprograms: {{a: {{command: x, processes: 0, uses: {{{uses}}}}}}}\n")
    };
    let found = wrong(&text("mysq: 1"));
    assert!(found[0].ends_with("there is no budget `mysq`; did you mean `mysql`?"), "{found:?}");
    let found = wrong(&text("crm: 1"));
    assert!(
        found[0].ends_with("there is no budget `crm`; add `budgets: {crm: 100}` to the main file"),
        "{found:?}"
    );
    let found = wrong(&text("mysql: 6"));
    assert!(found[0].contains("one process uses 6, more than the whole budget of 5"), "{found:?}");
    let found = wrong("budgets: {memory: 5}");
    assert!(
        found[0].ends_with("`memory` has a budget of its own; write `budget: {memory: ...}`"),
        "{found:?}"
    );
    assert_eq!(wrong(&text("mysql: 0")).len(), 1);
    assert_eq!(wrong("budget: {processes: 0}").len(), 1);
    assert_eq!(wrong("budget: {memory: 0}").len(), 1);
}

#[test]
fn names_are_checked() {
    let found = wrong("programs: {all: {command: x}, 'a:b': {command: x}}\nbrokers: {'': amqp://h}");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].contains("\"all\" means every program"));
    assert!(found[1].starts_with("1:31 programs.a:b: \"a:b\" may contain only letters"));
}

#[test]
fn the_probe_interval_is_bounded() {
    for text in ["99ms", "61s"] {
        let found = wrong(&format!("probe_interval: {text}"));
        assert_eq!(found, ["1:17 probe_interval: `probe_interval` must be 100ms to 1m"]);
    }
}
