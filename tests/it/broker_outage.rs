//! A real broker that goes away and comes back, in every way that operators know: nothing is scaled meanwhile, everybody is
//! told, nobody is blamed, and it goes on by itself.

use std::fs;
use std::path::Path;
use std::time::Duration;

use leveret::sys::clock;
use serde_json::{Value, json};

use crate::support::consumer::Kind;
use crate::support::daemon::{Daemon, list};
use crate::support::http::Request;
use crate::support::publish;
use crate::support::rabbit::Rabbit;
use crate::support::report::report;
use crate::support::run;
use crate::support::scaled::{Scaled, config};
use crate::support::wait::wait_for_state;

const LIMIT: Duration = Duration::from_secs(120);
/// More than the least and fewer than the most: what is held can neither be a beginning nor an end.
const BEFORE: u32 = 4;
/// Longer than the time of silence after which the engine steps down: it would have, had it read the queue empty.
const WINDOW_SECONDS: f64 = 12.0;
/// Long enough for everything to be told as stale.
const MOMENT_SECONDS: f64 = 4.0;

/// A daemon with two programs that use a login of their own on a broker of their own.
struct Scene {
    rabbit: Rabbit,
    user: String,
    secret: String,
    programs: [Scaled; 2],
    daemon: Daemon,
}

/// How the outage shows.
struct Outage {
    state: &'static str,
    error: String,
    lasts_seconds: f64,
}

#[test]
fn while_a_broker_is_away_the_count_is_held_and_scaling_goes_on_by_itself_when_it_is_back() {
    let mut scene = Scene::start();

    let error = scene.at("the broker at");
    scene.more_than_the_least();
    scene.rabbit.stop();
    let lives =
        scene.away(&Outage { state: "unreachable", error: error.clone(), lasts_seconds: WINDOW_SECONDS });
    scene.nobody_starts(lives);
    scene.rabbit.start_again();
    scene.back("a restart of the node");

    scene.more_than_the_least();
    scene.rabbit.stop_app();
    scene.away(&Outage { state: "unreachable", error, lasts_seconds: MOMENT_SECONDS });
    scene.rabbit.start_app();
    scene.back("a start of the application");

    scene.more_than_the_least();
    scene.rabbit.change_password(&scene.user, &run::unique("another"));
    scene.rabbit.close_connections();
    let error = format!("the broker refuses the login of user {}", scene.user);
    scene.away(&Outage { state: "refused", error, lasts_seconds: MOMENT_SECONDS });
    scene.secret_is_nowhere();
    scene.rabbit.change_password(&scene.user, &scene.secret);
    scene.back("the return of the password");

    scene.nobody_is_blamed();
    scene.secret_is_nowhere();
}

impl Scene {
    fn start() -> Self {
        let rabbit = Rabbit::start();
        let (user, secret) = (run::unique("shop"), run::unique("secret"));
        rabbit.add_user(&user, &secret);
        let url = rabbit.url_with(&user, &secret, "/");
        let programs = [("php", Kind::Php), ("python", Kind::Python)].map(|(name, kind)| {
            // Failures of which two are fatal and which are remembered: had the outages counted, nobody would be left.
            Scaled::new(name, kind, "wait: 2s, max: 10")
                .work_ms(100)
                .key("backoff: {initial: 2s, reset_after: 1h, give_up_after: 2}")
        });
        for program in &programs {
            publish::declare_queue(&url, &program.queue);
        }
        let daemon = Daemon::start_with_environment(&config(&programs), &[("AMQP_URL", &url)]);
        Self { rabbit, user, secret, programs, daemon }
    }

    fn url(&self) -> String {
        self.rabbit.url_with(&self.user, &self.secret, "/")
    }

    /// The words of an error that names the place of the broker.
    fn at(&self, words: &str) -> String {
        let url = self.rabbit.url();
        let place = url.rsplit_once('@').and_then(|(_, place)| place.split_once('/')).expect("it has a host");
        format!("{words} {}", place.0)
    }

    /// Brings each program to a count that the engine would leave at once, were the queue still read.
    fn more_than_the_least(&self) {
        for program in &self.programs {
            let name = &program.name;
            assert!(self.daemon.cli(&["scale", name, &BEFORE.to_string()]).status.success());
            self.daemon.wait_program(name, "the held count", LIMIT, |view| {
                (view["queues"][0]["consumers"] == BEFORE && view["running"] == BEFORE).then_some(())
            });
            assert!(self.daemon.cli(&["auto", name]).status.success());
            let view = self.daemon.program(name);
            assert_eq!((&view["mode"], &view["desired"]), (&json!("auto"), &json!(BEFORE)), "{view:#}");
        }
    }

    /// Everything says that the broker is away, nothing else changes, and the consumers die of it. Returns the newest life.
    fn away(&self, outage: &Outage) -> i64 {
        let Self { daemon, programs, .. } = self;
        let at_first = daemon.wait_status("the broker to be away", LIMIT, |status| {
            let broker = &status["brokers"][0];
            let told = broker["state"] == outage.state && broker["error"].as_str()?.contains(&outage.error);
            told.then(|| status.clone())
        });
        let newest_life = list(&at_first["programs"]).iter().map(newest_life).max().unwrap_or_default();
        for (program, at_first) in programs.iter().zip(list(&at_first["programs"])) {
            let name = &program.name;
            daemon.wait_program(name, "consumers that have died of it", LIMIT, |view| {
                list(&view["processes"]).iter().all(|process| process["exit"].is_string()).then_some(())
            });
            let view = daemon.wait_program(name, "a reading of long ago", LIMIT, |view| {
                let queue = &view["queues"][0];
                (queue["age_seconds"].as_f64()? > outage.lasts_seconds).then(|| view.clone())
            });
            let held = at_first["desired"].as_u64().expect("a count");
            assert!(held > 1, "too late to see anything: {at_first:#}");
            assert_eq!(view["desired"], held, "the count is held: {view:#}");
            let error = view["queues"][0]["error"].as_str().unwrap_or_default();
            assert!(error.starts_with("broker \"default\": ") && error.contains(&outage.error), "{error}");
            let holds = "the broker is not connected, last reading ";
            let reason = view["reason"].as_str().unwrap_or_default();
            assert!(reason.starts_with(holds) && reason.contains(&outage.error), "{reason}");
            let explained = daemon.cli(&["explain", name]).stdout;
            for part in [holds, error] {
                assert!(explained.contains(part), "{part:?} in\n{explained}");
            }
        }
        let status = daemon.cli(&["status"]);
        assert_eq!(status.status.code(), Some(3), "{status:?}");
        assert!(
            status.stdout.contains(outage.state) && status.stdout.contains(&outage.error),
            "{}",
            status.stdout
        );
        assert_eq!(daemon.metric("leveret_broker_up{broker=\"default\"}"), Some(0.0));
        let page = self.page();
        for part in [outage.state, &outage.error, "the broker is not connected, last reading "] {
            assert!(page.contains(part), "{part:?} on the page:\n{page}");
        }
        newest_life
    }

    /// No consumer has been started since the ones that died, whose newest life is told.
    fn nobody_starts(&self, newest_life_before: i64) {
        let started = self.daemon.output();
        assert!(!started.contains("starts again (crash)"), "{started}");
        for program in &self.programs {
            let view = self.daemon.program(&program.name);
            let waits = "waits until the broker \"default\" can be reached";
            assert!(view["running"] == 0 && newest_life(&view) <= newest_life_before, "{view:#}");
            for process in list(&view["processes"]) {
                assert_eq!(process["reason"], waits, "{view:#}");
            }
            let until = "until the broker \"default\" can be reached";
            assert!(view["reason"].as_str().is_some_and(|reason| reason.contains(until)), "{view:#}");
        }
    }

    /// Without anybody's doing the queues are read, the consumers are there again, and a burst brings more.
    fn back(&self, what: &str) {
        let url = self.url();
        wait_for_state("the broker to let the user in", LIMIT, || publish::can_connect(&url));
        let back_seconds = clock::now().as_seconds();
        let read_seconds = self.daemon.wait_status("readings", LIMIT, |status| {
            let now_seconds = clock::now().as_seconds();
            let read_at = |view: &Value| {
                let queue = &view["queues"][0];
                let held = view["reason"].as_str().is_none_or(|reason| reason.contains("not connected"));
                let age = queue["age_seconds"].as_f64().filter(|_| queue["error"].is_null() && !held)?;
                Some(now_seconds - age)
            };
            let read: Option<Vec<f64>> = list(&status["programs"]).iter().map(read_at).collect();
            read?.into_iter().reduce(f64::max)
        });
        report(&format!(
            "scaling goes on {:+.0} ms from the moment at which a client was let in after {what}",
            1e3 * (read_seconds - back_seconds)
        ));
        assert_eq!(self.daemon.metric("leveret_broker_up{broker=\"default\"}"), Some(1.0));
        std::thread::scope(|scope| {
            for program in &self.programs {
                scope.spawn(|| self.consumes_again(program, back_seconds));
            }
        });
    }

    fn consumes_again(&self, program: &Scaled, back_seconds: f64) {
        let name = &program.name;
        let count = self.daemon.wait_program(name, "its consumers", LIMIT, |view| {
            let all = view["desired"].as_u64() > Some(1) && view["queues"][0]["consumers"] == view["desired"];
            view["running"].as_u64().filter(|_| all)
        });
        let took = clock::now().as_seconds() - back_seconds;
        report(&format!("{name}: {count} consumers are seen after {took:.1} s"));
        let before = program.books().count_ended();
        publish::publish(&self.url(), &program.queue, 0..600);
        self.daemon.wait_program(name, "more consumers", LIMIT, |view| {
            (view["running"].as_u64() > Some(count)).then_some(())
        });
        wait_for_state("the burst to be consumed", LIMIT, || match program.books().count_ended() - before {
            600.. => Ok(()),
            ended => Err(format!("{ended} ended")),
        });
    }

    /// A consumer that fails now is the first to fail as far as its slot knows.
    fn nobody_is_blamed(&self) {
        for program in &self.programs {
            let name = &program.name;
            let log = self.daemon.output();
            assert!(!log.contains("given up"), "{log}");
            let id = self.daemon.wait_program(name, "a running one", LIMIT, |view| {
                let running =
                    list(&view["processes"]).iter().find(|process| process["state"] == "running")?;
                running["id"].as_str().map(str::to_owned)
            });
            assert!(self.daemon.cli(&["signal", &id, "KILL"]).status.success());
            let reason = self.daemon.wait_program(name, "a failure", LIMIT, |view| {
                let failed = list(&view["processes"]).iter().find(|process| process["state"] == "backoff")?;
                Some(failed["reason"].as_str().unwrap_or_default().to_owned())
            });
            assert!(reason.starts_with("killed by SIGKILL; starts again in "), "{reason}");
        }
    }

    /// Neither files nor answers nor arguments of processes contain the password.
    fn secret_is_nowhere(&self) {
        let Self { daemon, secret, programs, .. } = self;
        let mut texts = vec![
            ("its output".to_owned(), daemon.output()),
            ("the page".to_owned(), self.page()),
            ("the metrics".to_owned(), daemon.text("/metrics")),
            ("the status".to_owned(), daemon.status().to_string()),
            ("the decisions".to_owned(), daemon.text("/api/v1/decisions?limit=500")),
            ("leveret status".to_owned(), format!("{:?}", daemon.cli(&["status"]))),
            ("leveret status --json".to_owned(), format!("{:?}", daemon.cli(&["status", "--json"]))),
            ("ps".to_owned(), format!("{:?}", daemon.processes())),
        ];
        for program in programs {
            texts.push((
                format!("explain {}", program.name),
                format!("{:?}", daemon.cli(&["explain", &program.name])),
            ));
            texts.push((
                format!("explain --json {}", program.name),
                daemon.text(&format!("/api/v1/explain/{}", program.name)),
            ));
        }
        let mut files = Vec::new();
        read_all(daemon.directory(), &mut files);
        assert!(files.iter().any(|(path, _)| path.ends_with("leveret.yaml")), "the files were found");
        texts.extend(files);
        let told: Vec<&str> = texts
            .iter()
            .filter(|(_, text)| text.contains(secret.as_str()))
            .map(|(place, _)| place.as_str())
            .collect();
        assert!(told.is_empty(), "the password stands in {told:?}");
    }

    /// The page as a browser gets it, with the quotes of HTML read.
    fn page(&self) -> String {
        let host = format!("127.0.0.1:{}", self.daemon.port());
        let headers = [("Host", host.as_str())];
        let response = self.daemon.tcp(Request { method: "GET", path: "/", headers: &headers, body: "" });
        assert_eq!(response.status, 200, "{response:?}");
        response.body
    }
}

fn read_all(directory: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).expect("the directory can be read") {
        let entry = entry.expect("the directory can be read");
        let (kind, path) = (entry.file_type().expect("it is there"), entry.path());
        if kind.is_dir() {
            read_all(&path, found);
        } else if kind.is_file() {
            // A file may be rotated away meanwhile; the other looks at it were enough then.
            let bytes = fs::read(&path).unwrap_or_default();
            found.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
}

/// The newest life of any process of a program; 0 while none lives.
fn newest_life(view: &Value) -> i64 {
    let lives = list(&view["processes"]).iter().filter_map(|process| process["incarnation"].as_i64());
    lives.max().unwrap_or_default()
}
