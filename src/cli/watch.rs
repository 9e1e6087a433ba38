//! `leveret status --watch`: the status on a screen of its own, which is given back however it ends.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::address::Surroundings;
use super::client::Client;
use super::console::{Colour, Console, Style};
use super::exit::Exit;
use super::failure::Failure;
use super::patience;
use super::status::PATH;
use super::text::lasted;
use crate::controller::snapshot::Snapshot;
use crate::core::words::count;

/// Shows what `render` makes of the snapshot every `interval`, until Ctrl-C.
///
/// # Errors
/// Stdout is no terminal, or Leveret does not answer at the start. Later silence is shown on the screen.
pub(crate) async fn watch(
    client: &Client,
    title: &str,
    interval: Duration,
    surroundings: &Surroundings,
    console: &mut Console<'_>,
    render: impl Fn(&Snapshot, Style) -> Result<Vec<String>, Failure>,
) -> Result<Exit, Failure> {
    if console.style.height.is_none() {
        return Err(Failure::Usage("--watch needs a terminal; use --json in scripts".to_owned()));
    }
    let mut ends = Ends::listen()?;
    // What is wrong from the start is an error and not a screen.
    let first = patience::first_snapshot(client).await?;
    let mut body = render(&first, console.style)?;
    let mut heading = title_of(title, &first);
    let mut ticks = tokio::time::interval(interval);
    console.out.write_all(b"\x1b[?1049h\x1b[?25l")?;
    let ended = loop {
        let drawn = Frame { heading: &heading, body: &body }.draw(Style::of_stdout(surroundings), console);
        if let Err(failure) = drawn {
            break Err(failure);
        }
        tokio::select! {
            () = ends.one() => break Ok(Exit::Done),
            _ = ticks.tick() => {}
        }
        let reading = async {
            let snapshot: Snapshot = client.read(PATH).await?;
            Ok::<_, Failure>((title_of(title, &snapshot), render(&snapshot, Style::of_stdout(surroundings))?))
        };
        let read = tokio::select! {
            () = ends.one() => break Ok(Exit::Done),
            read = reading => read,
        };
        match read {
            Ok(news) => (heading, body) = news,
            Err(failure) => heading = Style::of_stdout(surroundings).paint(Colour::Red, &failure.to_string()),
        }
    };
    console.out.write_all(b"\x1b[?25h\x1b[?1049l")?;
    console.out.flush()?;
    ended
}

fn title_of(title: &str, snapshot: &Snapshot) -> String {
    format!("{title}, version {}, up {}; Ctrl-C ends", snapshot.version, lasted(snapshot.uptime_seconds))
}

/// One picture.
struct Frame<'a> {
    heading: &'a str,
    body: &'a [String],
}

impl Frame<'_> {
    /// Draws over the picture before, line by line, so that nothing flickers; as much as fits.
    fn draw(&self, style: Style, console: &mut Console<'_>) -> Result<(), Failure> {
        let height = usize::from(style.height.unwrap_or(24)).max(1);
        let mut lines = vec![self.heading.to_owned(), String::new()];
        lines.extend_from_slice(self.body);
        let total = lines.len();
        if total > height {
            lines.truncate(height - 1);
            lines.push(style.paint(Colour::Dim, &format!("{} more", count(total - lines.len(), "line"))));
        }
        let mut picture = String::from("\x1b[H\x1b[?7l");
        for (index, line) in lines.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\r\n" };
            // Erased before and not after: in the last column the cursor stands on the last character.
            picture.push_str(&format!("{newline}\x1b[2K{line}"));
        }
        if lines.len() < height {
            picture.push_str("\r\n\x1b[J");
        }
        picture.push_str("\x1b[?7h");
        console.out.write_all(picture.as_bytes())?;
        Ok(console.out.flush()?)
    }
}

/// The signals that end a command which goes on until it is told to end.
#[derive(Debug)]
pub(crate) struct Ends {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Ends {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system refuses to tell of signals.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::Failed(format!("cannot listen for signals: {error}")))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Returns when one has come.
    pub(crate) async fn one(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::{self, FakeServer};

    fn drawn(body: &[&str], height: u16) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let style = Style { colour: false, width: Some(80), height: Some(height) };
        let body: Vec<String> = body.iter().map(|line| (*line).to_owned()).collect();
        let mut console = Console { style, ..Console::for_tests(&mut out, &mut err) };
        Frame { heading: "title", body: &body }.draw(style, &mut console).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_picture_is_drawn_over_the_one_before() {
        assert_eq!(
            drawn(&["one", "two"], 10),
            "\x1b[H\x1b[?7l\x1b[2Ktitle\r\n\x1b[2K\r\n\x1b[2Kone\r\n\x1b[2Ktwo\r\n\x1b[J\x1b[?7h"
        );
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        assert!(drawn(&["a", "b", "c", "d"], 4).contains("\r\n\x1b[2Ka\r\n\x1b[2K3 lines more"));
    }

    #[tokio::test]
    async fn without_a_terminal_it_is_refused() {
        let server = FakeServer::of(fixture::snapshot());
        let outcome = fixture::run(&server.socket(), "status --watch").await;
        assert_eq!(outcome.exit, Exit::Usage);
        assert_eq!(outcome.err, "error: --watch needs a terminal; use --json in scripts\n");
    }
}
