//! `leveret logs`: the last lines, and with -f those that come.

use std::future::pending;
use std::os::fd::OwnedFd;
use std::time::Duration;

use http_body_util::BodyExt as _;
use rustix::event::PollFlags;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::arguments::LogsArgs;
use super::client::Client;
use super::console::Console;
use super::exit::Exit;
use super::failure::Failure;
use super::patience::{self, POLL_INTERVAL, SILENCE_MAX, is_ready};
use super::select;
use super::sse::{Event, Parser};
use super::watch::Ends;
use crate::controller::snapshot::{ProgramView, Snapshot};
use crate::core::ids::Target;

/// Lines that are read and not yet written.
const LINES_AHEAD_MAX: usize = 1_024;

/// A stream that says nothing for so long is dead: Leveret sends a comment every 15 seconds.
const STREAM_SILENCE_MAX: Duration = Duration::from_secs(60);

/// Runs `leveret logs`.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn logs(
    arguments: &LogsArgs,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    // From here on Ctrl-C is the expected end and no accident.
    let mut ends = if arguments.follow { Some(Ends::listen()?) } else { None };
    let snapshot = patience::first_snapshot(client).await?;
    let logs = select_logs(&snapshot, &arguments.name, arguments.stderr)?;
    match &mut ends {
        None => print(&logs, arguments.lines, client, console).await,
        Some(ends) => follow(logs, arguments.lines, ends, client, console).await,
    }
}

/// One log of the API: of a process, or of a program with all its processes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Log {
    /// The name in the API's path.
    name: String,
    /// Whose lines need nothing in front.
    plain: Option<String>,
    /// Whether the API's text has the process in front of each line.
    is_prefixed: bool,
    /// Whether stderr alone is meant, where it has a file of its own.
    is_stderr: bool,
}

impl Log {
    /// What is asked for, as the end of a path.
    fn query(&self, lines: u32) -> String {
        let stream = if self.is_stderr { "&stream=stderr" } else { "" };
        format!("?lines={lines}{stream}")
    }
}

fn select_logs(snapshot: &Snapshot, target: &Target, is_stderr: bool) -> Result<Vec<Log>, Failure> {
    let programs = select::programs(snapshot, target)?;
    let is_single =
        |program: &ProgramView| program.processes.iter().any(|process| process.id == program.name);
    let log = |program: &ProgramView, plain| Log {
        name: program.name.clone(),
        plain,
        is_prefixed: !is_single(program),
        is_stderr,
    };
    Ok(match target {
        Target::Process(_) => select::processes(snapshot, target)?
            .into_iter()
            .map(|(_, process)| Log {
                name: process.id.clone(),
                plain: Some(process.id.clone()),
                is_prefixed: false,
                is_stderr,
            })
            .collect(),
        Target::Program(_) => {
            programs.into_iter().map(|program| log(program, Some(program.name.clone()))).collect()
        }
        Target::Project(_) | Target::All => programs.into_iter().map(|program| log(program, None)).collect(),
    })
}

async fn print(
    logs: &[Log],
    lines: u32,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    for log in logs {
        let text = match client.read_bytes(&format!("/api/v1/logs/{}{}", log.name, log.query(lines))).await {
            // One of many whose output does not go to a file is no reason to show nothing of the others.
            Err(Failure::Refused { status: 404, sentence }) if log.plain.is_none() => {
                console.note(sentence);
                continue;
            }
            text => text?,
        };
        if log.plain.is_none() && !log.is_prefixed {
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                write!(console.out, "{} | ", log.name)?;
                console.out.write_all(line)?;
            }
        } else {
            console.out.write_all(&text)?;
        }
    }
    console.out.flush()?;
    Ok(Exit::Done)
}

async fn follow(
    logs: Vec<Log>,
    lines: u32,
    ends: &mut Ends,
    client: &Client,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let (sender, mut receiver) = mpsc::channel(LINES_AHEAD_MAX);
    let mut followers = JoinSet::new();
    for log in logs {
        followers.spawn(Follower::new(log, lines, client.clone(), sender.clone()).run());
    }
    drop(sender);
    let reader_gone = closed(console.reader.take());
    tokio::pin!(reader_gone);
    loop {
        tokio::select! {
            () = ends.one() => return Ok(Exit::Done),
            () = &mut reader_gone => return Ok(Exit::Done),
            news = receiver.recv() => match news {
                Some(News::Line(line)) => {
                    writeln!(console.out, "{line}")?;
                    if receiver.is_empty() {
                        console.out.flush()?;
                    }
                }
                Some(News::Note(note)) => console.note(note),
                Some(News::Failed(failure)) => return Err(failure),
                None => return Ok(Exit::Done),
            },
        }
    }
}

/// Returns when nobody reads stdout any more; never where that cannot be known (a file).
async fn closed(stdout: Option<OwnedFd>) {
    let Some(stdout) = stdout else {
        return pending().await;
    };
    // Asked for nothing, poll(2) still tells of errors: of a pipe, that its reader is gone.
    while !is_ready(&stdout, PollFlags::empty()) {
        sleep(POLL_INTERVAL).await;
    }
}

/// What a follower tells.
#[derive(Debug)]
enum News {
    Line(String),
    Note(String),
    Failed(Failure),
}

/// Follows one log across lost connections.
struct Follower {
    log: Log,
    lines: u32,
    client: Client,
    sender: mpsc::Sender<News>,
    last_id: Option<String>,
    has_begun: bool,
}

/// How a connection to a stream ended.
enum Ended {
    /// It brought something before it was lost.
    Lost,
    /// It could not be opened.
    Refused(Failure),
    /// Nobody wants the lines any more.
    Unwanted,
}

impl Follower {
    fn new(log: Log, lines: u32, client: Client, sender: mpsc::Sender<News>) -> Self {
        Self { log, lines, client, sender, last_id: None, has_begun: false }
    }

    async fn run(mut self) {
        let mut failures = 0;
        loop {
            match self.connection().await {
                Ended::Unwanted => return,
                Ended::Lost => failures = 0,
                Ended::Refused(failure) => {
                    failures += 1;
                    let is_patient = POLL_INTERVAL * failures < SILENCE_MAX;
                    if let Some(news) = self.judge(failure, is_patient) {
                        // A closed channel means that the command has ended already.
                        drop(self.sender.send(news).await);
                        return;
                    }
                }
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// What a refused connection means; nothing when it is worth another try.
    fn judge(&mut self, failure: Failure, is_patient: bool) -> Option<News> {
        if failure.is_passing() && is_patient {
            return None;
        }
        if let Failure::Refused { status, sentence } = &failure {
            // A position that a new Leveret does not understand: go on from the end.
            if *status == 400 && self.last_id.take().is_some() {
                return None;
            }
            // Its program was removed; or it is one of many, and its output does not go to a file.
            if *status == 404 && (self.has_begun || self.log.plain.is_none()) {
                return Some(News::Note(sentence.clone()));
            }
        }
        Some(News::Failed(failure))
    }

    async fn connection(&mut self) -> Ended {
        let path = format!("/api/v1/logs/{}/follow{}", self.log.name, self.log.query(self.lines));
        let mut body = match self.client.stream(&path, self.last_id.as_deref()).await {
            Ok(body) => body,
            Err(failure) => return Ended::Refused(failure),
        };
        self.has_begun = true;
        let mut parser = Parser::default();
        loop {
            let frame = tokio::select! {
                () = self.sender.closed() => return Ended::Unwanted,
                frame = timeout(STREAM_SILENCE_MAX, body.frame()) => frame,
            };
            let Ok(Some(Ok(frame))) = frame else {
                return Ended::Lost;
            };
            for event in frame.data_ref().map(|bytes| parser.take(bytes)).unwrap_or_default() {
                let line = self.line(&event);
                if self.sender.send(News::Line(line)).await.is_err() {
                    return Ended::Unwanted;
                }
                // What has been shown is not asked for again.
                self.lines = 0;
                if event.id.is_some() {
                    self.last_id = event.id;
                }
            }
        }
    }

    /// A line as it is shown: with its process in front unless only one can be meant.
    fn line(&self, event: &Event) -> String {
        #[derive(Deserialize)]
        struct Line {
            process: String,
            line: String,
            /// Whether it is Leveret's own.
            #[serde(default)]
            leveret: bool,
        }
        match serde_json::from_str::<Line>(&event.data) {
            Ok(Line { process, line, leveret }) => match (self.log.plain.as_ref() == Some(&process), leveret)
            {
                (true, false) => line,
                (true, true) => format!("* {line}"),
                (false, false) => format!("{process} | {line}"),
                (false, true) => format!("{process} * {line}"),
            },
            Err(_) => event.data.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::{self, Answer, FakeServer};

    fn status() -> Answer {
        Answer::Json(200, serde_json::to_value(fixture::snapshot()).unwrap())
    }

    fn event(id: &str, process: &str, line: &str) -> String {
        format!("id: {id}\ndata: {}\n\n", serde_json::json!({"process": process, "line": line}))
    }

    #[tokio::test]
    async fn stderr_alone_is_asked_for_where_it_is_meant() {
        let server = FakeServer::start(|seen, _| match seen.line.as_str() {
            "GET /api/v1/logs/web?lines=5&stream=stderr" => Answer::Text(200, "oh\n".into()),
            _ => status(),
        });
        let run = fixture::run(&server.socket(), "logs web --stderr -n 5").await;
        assert_eq!((run.exit, run.out.as_str()), (Exit::Done, "oh\n"));
    }

    #[tokio::test]
    async fn the_lines_of_a_name_are_shown_as_leveret_gives_them() {
        let server = FakeServer::start(|seen, _| match seen.line.as_str() {
            "GET /api/v1/logs/orders?lines=5" => Answer::Text(200, "orders:0 | a\norders:1 | b\n".into()),
            "GET /api/v1/logs/web?lines=50" => Answer::Text(200, "plain\n".into()),
            _ => status(),
        });
        let orders = fixture::run(&server.socket(), "logs orders -n 5").await;
        assert_eq!((orders.exit, orders.out.as_str()), (Exit::Done, "orders:0 | a\norders:1 | b\n"));
        assert_eq!(fixture::run(&server.socket(), "logs web").await.out, "plain\n");
    }

    #[tokio::test]
    async fn of_many_programs_every_line_tells_whose_it_is() {
        let server = FakeServer::start(|seen, _| match seen.line.as_str() {
            "GET /api/v1/logs/orders?lines=50" => Answer::Text(200, "orders:0 | a\n".into()),
            "GET /api/v1/logs/mailer?lines=50" => Answer::Text(200, "sent\nsent\n".into()),
            "GET /api/v1/logs/web?lines=50" => {
                Answer::Json(404, serde_json::json!({"error": "the output of web does not go to a file"}))
            }
            _ => status(),
        });
        let outcome = fixture::run(&server.socket(), "logs all").await;
        assert_eq!(outcome.exit, Exit::Done);
        assert_eq!(outcome.out, "orders:0 | a\nmailer | sent\nmailer | sent\n");
        assert_eq!(outcome.err, "the output of web does not go to a file\n");
        assert_eq!(fixture::run(&server.socket(), "logs web").await.exit, Exit::NoSuchName);
    }

    #[tokio::test]
    async fn following_goes_on_after_a_lost_connection_where_it_was() {
        let mut connections = 0;
        let server = FakeServer::start(move |seen, _| {
            if seen.line == "GET /api/v1/status" {
                return status();
            }
            connections += 1;
            match connections {
                1 => Answer::Events(vec![
                    ": following\n\n".into(),
                    event("1:5", "orders:0", "one"),
                    "data: {\"process\":\"orders:1\",".into(),
                    "\"line\":\"two\"}\n\n".into(),
                ]),
                2 => Answer::HangUp,
                3 => Answer::Events(vec![event("1:9", "orders:0", "three")]),
                _ => Answer::Json(404, serde_json::json!({"error": "there is no program orders"})),
            }
        });
        let outcome = fixture::run(&server.socket(), "logs orders -f -n 7").await;
        assert_eq!(outcome.exit, Exit::Done, "{outcome:?}");
        assert_eq!(outcome.out, "orders:0 | one\norders:1 | two\norders:0 | three\n");
        assert_eq!(outcome.err, "there is no program orders\n");
        let asked: Vec<_> = server.seen().into_iter().filter(|seen| seen.line.contains("follow")).collect();
        let lines: Vec<_> = asked.iter().map(|seen| seen.line.rsplit('=').next().unwrap()).collect();
        assert_eq!(lines, ["7", "0", "0", "0"], "what was shown is not asked for again");
        let ids: Vec<_> = asked.iter().map(|seen| seen.last_event_id.as_deref()).collect();
        assert_eq!(ids, [None, Some("1:5"), Some("1:5"), Some("1:9")]);
    }

    #[tokio::test]
    async fn one_process_is_followed_without_its_name_in_front_and_several_programs_with() {
        let server = FakeServer::start(|seen, before| match (seen.line.as_str(), before) {
            ("GET /api/v1/status", _) => status(),
            ("GET /api/v1/logs/orders:1/follow?lines=50", 0) => {
                Answer::Events(vec![event("1:1", "orders:1", "x")])
            }
            ("GET /api/v1/logs/web/follow?lines=50", 0 | 1) => Answer::Events(vec![
                event("1:1", "web", "y"),
                "data: {\"process\":\"web\",\"line\":\"started\",\"leveret\":true}\n\n".into(),
            ]),
            (_, _) => Answer::Json(404, serde_json::json!({"error": "gone"})),
        });
        assert_eq!(fixture::run(&server.socket(), "logs orders:1 -f").await.out, "x\n");
        assert_eq!(fixture::run(&server.socket(), "logs web -f").await.out, "y\n* started\n");
        assert_eq!(fixture::run(&server.socket(), "logs all -f").await.out, "web | y\nweb * started\n");
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_is_a_quiet_end() {
        struct Head;
        impl std::io::Write for Head {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let server = FakeServer::start(|seen, _| match seen.line.as_str() {
            "GET /api/v1/status" => status(),
            _ => Answer::EventsThenSilence(vec![event("1:1", "web", "y")]),
        });
        let (mut head, mut err) = (Head, Vec::new());
        let mut console = Console::for_tests(&mut head, &mut err);
        let arguments = LogsArgs {
            name: "web".parse().unwrap(),
            follow: true,
            stderr: false,
            lines: 5,
            connection: Default::default(),
        };
        let failure = logs(&arguments, &server.client(), &mut console).await.unwrap_err();
        assert_eq!(failure.exit(), Exit::Done);
    }

    #[tokio::test]
    async fn a_pipe_that_nobody_reads_is_noticed_without_a_line_to_write() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let gone = tokio::spawn(closed(Some(writer)));
        tokio::task::yield_now().await;
        assert!(!gone.is_finished());
        drop(reader);
        gone.await.unwrap();
    }
}
