//! Looks at processes from outside: a task for each that is looked at, a bounded number of looks at one time. What is new goes
//! to the loop. It decides nothing: when to look at whom, and what it means, is the core's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::check_commands::Ask;
use super::look::{Place, http, tcp};
use crate::core::check::{Check, CheckFor, Probe};
use crate::core::ids::Incarnation;
use crate::core::random::Random;
use crate::core::time::human;

/// How many looks are taken at one time.
const LOOKS_MAX: usize = 32;

/// How many results and questions may wait for the loop; whoever has another one waits with it.
const WORDS_MAX: usize = 256;

/// How soon after the first look the second one is taken at a process that starts; twice as long each time, up to the
/// interval.
const SECOND_LOOK: Duration = Duration::from_millis(50);

/// The part of an interval that is left out at random, so that what began together does not stay together.
const JITTER: f64 = 0.1;

/// What a look at a process found.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    pub(super) incarnation: Incarnation,
    pub(super) purpose: CheckFor,
    pub(super) check: Check,
    /// What is wrong, if anything is.
    pub(super) result: Result<(), String>,
}

/// What those who look have to say to the loop.
#[derive(Debug)]
pub(super) enum Word {
    /// A look found something new.
    Found(Found),
    /// A command has to be run for a look.
    Ask(Ask),
}

/// Who is looked at. Dropping it ends all looks.
#[derive(Debug)]
pub(super) struct Checks {
    tasks: BTreeMap<Incarnation, Task>,
    places: Arc<Semaphore>,
    tell: mpsc::Sender<Word>,
    words: mpsc::Receiver<Word>,
}

#[derive(Debug)]
struct Task {
    purpose: CheckFor,
    check: Check,
    handle: AbortHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl Default for Checks {
    fn default() -> Self {
        let (tell, words) = mpsc::channel(WORDS_MAX);
        Self { tasks: BTreeMap::new(), places: Arc::new(Semaphore::new(LOOKS_MAX)), tell, words }
    }
}

impl Checks {
    /// Looks at a process from now on, in place of what it was looked at for before.
    pub(super) fn begin(&mut self, incarnation: Incarnation, purpose: CheckFor, check: Check) {
        let looks = Looks {
            incarnation,
            purpose,
            check: check.clone(),
            places: Arc::clone(&self.places),
            tell: self.tell.clone(),
        };
        let handle = tokio::spawn(looks.go_on()).abort_handle();
        self.tasks.insert(incarnation, Task { purpose, check, handle });
    }

    /// Looks at a process no more.
    pub(super) fn end(&mut self, incarnation: Incarnation) {
        self.tasks.remove(&incarnation);
    }

    /// Goes on with those that are asked for alone.
    pub(super) fn retain(&mut self, is_asked_for: impl Fn(Incarnation, CheckFor, &Check) -> bool) {
        self.tasks.retain(|incarnation, task| is_asked_for(*incarnation, task.purpose, &task.check));
    }

    /// Waits for the next word. Nothing is lost when it is dropped before its end.
    pub(super) async fn word(&mut self) -> Word {
        self.words.recv().await.expect("one sender is kept here")
    }
}

/// The looks at one process.
struct Looks {
    incarnation: Incarnation,
    purpose: CheckFor,
    check: Check,
    places: Arc<Semaphore>,
    tell: mpsc::Sender<Word>,
}

impl Looks {
    async fn go_on(self) {
        let mut dice = Random::new(self.incarnation.0);
        let interval = self.check.interval;
        let mut before = None;
        let mut next = SECOND_LOOK.min(interval);
        if self.purpose == CheckFor::Health {
            sleep(interval.mul_f64(dice.unit())).await;
        }
        loop {
            let Some(result) = self.look().await else { return };
            let is_well = result.is_ok();
            if self.is_news(before.as_ref(), &result) && !self.tell(result.clone()).await {
                return;
            }
            if is_well && self.purpose == CheckFor::Ready {
                return;
            }
            before = Some(result);
            let wait = match self.purpose {
                CheckFor::Ready => next,
                CheckFor::Health => interval,
            };
            next = (next * 2).min(interval);
            sleep(wait.mul_f64(1.0 - JITTER * dice.unit())).await;
        }
    }

    /// One look, when there is a place for it.
    /// Nobody will ever know what it finds where there is no result.
    async fn look(&self) -> Option<Result<(), String>> {
        let place = Arc::clone(&self.places).acquire_owned().await.expect("it is never closed");
        let place: Place = Arc::new(place);
        let limit = self.check.timeout;
        let result = match &self.check.probe {
            Probe::Http(url) => timeout(limit, http(url, &place)).await,
            Probe::Tcp(address) => timeout(limit, tcp(address, &place)).await,
            // The core sees to its limit, and it keeps its place until it has really ended.
            Probe::Command(argv) => return self.ask(argv).await,
        };
        let unanswered = || format!("{} within {}", self.check.probe.unanswered(), human(limit));
        Some(result.unwrap_or_else(|_| Err(unanswered())))
    }

    async fn ask(&self, argv: &[String]) -> Option<Result<(), String>> {
        let (answer, answered) = oneshot::channel();
        let (incarnation, timeout) = (self.incarnation, self.check.timeout);
        self.tell.send(Word::Ask(Ask { incarnation, argv: argv.to_vec(), timeout, answer })).await.ok()?;
        answered.await.ok()
    }

    /// Of a process that starts whatever is different, of one that runs every failure and the end of failures.
    fn is_news(&self, before: Option<&Result<(), String>>, result: &Result<(), String>) -> bool {
        match self.purpose {
            CheckFor::Ready => before != Some(result),
            CheckFor::Health => result.is_err() || before.is_some_and(Result::is_err),
        }
    }

    /// Says whether somebody listens.
    async fn tell(&self, result: Result<(), String>) -> bool {
        let (incarnation, purpose, check) = (self.incarnation, self.purpose, self.check.clone());
        self.tell.send(Word::Found(Found { incarnation, purpose, check, result })).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::core::check::Probe;

    const LIFE: Incarnation = Incarnation(7);
    const UNWELL: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    const WELL: &str = "HTTP/1.1 204 No Content\r\n\r\n";

    fn check(probe: Probe, interval_ms: u64) -> Check {
        Check { probe, interval: Duration::from_millis(interval_ms), timeout: Duration::from_secs(60) }
    }

    async fn found(checks: &mut Checks) -> Found {
        match checks.word().await {
            Word::Found(found) => found,
            Word::Ask(ask) => panic!("{ask:?}"),
        }
    }

    /// A server that gives these answers, one connection each, and then says what it was asked.
    async fn server(answers: Vec<&'static str>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serve = async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = [0; 1_024];
                let length = stream.read(&mut bytes).await.unwrap();
                asked.push(String::from_utf8_lossy(&bytes[..length]).to_lowercase());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        };
        (address, tokio::spawn(serve))
    }

    #[tokio::test]
    async fn one_that_starts_is_looked_at_until_it_answers_well_and_what_is_new_is_told() {
        let (address, served) = server(vec![UNWELL, UNWELL, "nonsense\r\n\r\n", WELL]).await;
        let url = format!("http://{address}/health?all=1");
        let mut checks = Checks::default();
        checks.begin(LIFE, CheckFor::Ready, check(Probe::Http(url.clone()), 1));
        let unwell = found(&mut checks).await;
        assert_eq!(unwell.result, Err(format!("{url} answered 503 Service Unavailable")));
        let nonsense = found(&mut checks).await.result.unwrap_err();
        assert!(nonsense.starts_with(&format!("{url}: ")), "{nonsense}");
        let last = found(&mut checks).await;
        assert_eq!((last.incarnation, last.purpose, last.result), (LIFE, CheckFor::Ready, Ok(())));
        let asked = served.await.unwrap();
        assert!(asked[0].starts_with("get /health?all=1 http/1.1\r\n"), "{asked:?}");
        assert!(asked[0].contains(&format!("host: {address}")), "{asked:?}");
    }

    #[tokio::test]
    async fn of_one_that_runs_every_failure_is_told_and_that_they_are_over() {
        let (address, _served) = server(vec![WELL, UNWELL, UNWELL, WELL, UNWELL]).await;
        let mut checks = Checks::default();
        checks.begin(LIFE, CheckFor::Health, check(Probe::Http(format!("http://{address}/")), 1));
        let mut told = Vec::new();
        for _ in 0..4 {
            told.push(found(&mut checks).await.result.is_ok());
        }
        assert_eq!(told, [false, false, true, false], "that it is well at first is no news");
    }

    #[tokio::test]
    async fn one_that_does_not_answer_has_failed_when_the_time_for_a_look_is_over() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let short = Check { timeout: Duration::from_millis(20), ..check(Probe::Http(url.clone()), 1) };
        let mut checks = Checks::default();
        checks.begin(LIFE, CheckFor::Health, short);
        assert_eq!(found(&mut checks).await.result, Err(format!("{url} did not answer within 20ms")));
    }

    #[tokio::test]
    async fn a_command_is_asked_for_and_its_answer_is_what_the_look_finds() {
        let mut checks = Checks::default();
        let command = vec!["check".to_owned()];
        checks.begin(LIFE, CheckFor::Ready, check(Probe::Command(command.clone()), 1));
        for answer in [Err("its check ended with exit code 2".to_owned()), Ok(())] {
            let Word::Ask(ask) = checks.word().await else { panic!("nobody asked") };
            assert_eq!((ask.incarnation, &ask.argv), (LIFE, &command));
            assert_eq!(checks.places.available_permits(), LOOKS_MAX - 1);
            ask.answer.send(answer.clone()).unwrap();
            assert_eq!(found(&mut checks).await.result, answer);
        }
    }

    #[tokio::test]
    async fn nobody_looks_at_what_is_not_asked_for_any_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let refused = Err(format!("{address}: Connection refused"));
        drop(listener);
        let mut checks = Checks::default();
        let tcp = check(Probe::Tcp(address.clone()), 1);
        let places = Arc::clone(&checks.places);
        checks.begin(LIFE, CheckFor::Ready, tcp.clone());
        assert_eq!(found(&mut checks).await.result, refused);
        checks.begin(LIFE, CheckFor::Health, tcp.clone());
        assert_eq!((checks.tasks.len(), found(&mut checks).await.purpose), (1, CheckFor::Health));
        checks.retain(|incarnation, purpose, check| {
            (incarnation, purpose, check) == (LIFE, CheckFor::Health, &tcp)
        });
        assert_eq!(checks.tasks.len(), 1);
        checks.end(LIFE);
        // With the tasks go their copies.
        while Arc::strong_count(&places) > 2 {
            tokio::task::yield_now().await;
        }
    }
}
