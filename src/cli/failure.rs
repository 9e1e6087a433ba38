//! Why a client command ended without doing what it was asked, and the exit code of each reason.

use std::io;

use super::exit::Exit;
use crate::sys::cause::plain;

/// Why a command did not do what it was asked. The text is a sentence for a person.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nobody answers at the address.
    #[error(
        "cannot reach Leveret at {server}: {}; is `leveret run` running, or did you mean -c FILE or --server URL?",
        cause_text(source.as_ref())
    )]
    Unreachable {
        /// Where it was looked for.
        server: String,
        /// Whether the request may have been received before the connection ended.
        sent: bool,
        /// What the system or the connection said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An order was sent, and the connection ended before the answer.
    #[error(
        "Leveret at {server} did not answer: {}; the order may have been carried out, `leveret status` tells",
        cause_text(source.as_ref())
    )]
    Unanswered {
        /// To whom.
        server: String,
        /// What the system or the connection said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody answers, but it is not Leveret, or not one that this client understands.
    #[error(
        "{server} does not answer as Leveret does: {what}; check the address and that both have the same version"
    )]
    NotLeveret {
        /// Where.
        server: String,
        /// What is wrong with the answer.
        what: String,
    },
    /// Leveret refused. The text is its own.
    #[error("{sentence}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its sentence.
        sentence: String,
    },
    /// The name is not among those that there are.
    #[error("{0}")]
    NoSuchName(String),
    /// The command cannot be meant that way.
    #[error("{0}")]
    Usage(String),
    /// It was tried and did not come about.
    #[error("{0}")]
    Failed(String),
    /// What there is to say could not be written.
    #[error("cannot write the output: {}", plain(.0))]
    Output(#[from] io::Error),
}

impl Failure {
    /// The exit code that tells this reason. A reader who went away (`| head`) is no failure.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Unreachable { .. } | Self::Unanswered { .. } | Self::NotLeveret { .. } => Exit::Unreachable,
            Self::Refused { status: 404, .. } | Self::NoSuchName(_) => Exit::NoSuchName,
            Self::Refused { status: 400 | 422, .. } | Self::Usage(_) => Exit::Usage,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Refused { .. } | Self::Failed(_) | Self::Output(_) => Exit::Failed,
        }
    }

    /// Whether a new attempt of the same reading may succeed: the controller is being replaced.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Refused { status: 502..=504, .. })
    }
}

/// The innermost cause in the system's words, without Rust's "(os error 2)".
fn cause_text(source: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut cause: &dyn std::error::Error = source;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    plain(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_the_exit_code_that_scripts_know() {
        let refused = |status| Failure::Refused { status, sentence: "no".into() };
        let unreachable = Failure::Unreachable {
            server: "/run/leveret/leveret.sock".into(),
            sent: false,
            source: Box::new(io::Error::from_raw_os_error(2)),
        };
        assert_eq!(
            unreachable.to_string(),
            "cannot reach Leveret at /run/leveret/leveret.sock: No such file or directory; \
             is `leveret run` running, or did you mean -c FILE or --server URL?"
        );
        assert_eq!(unreachable.exit(), Exit::Unreachable);
        assert_eq!(refused(404).exit(), Exit::NoSuchName);
        assert_eq!(refused(400).exit(), Exit::Usage);
        assert_eq!(refused(422).exit(), Exit::Usage);
        assert_eq!(refused(409).exit(), Exit::Failed);
        assert_eq!(refused(503).exit(), Exit::Failed);
        assert_eq!(Failure::Failed("no".into()).exit(), Exit::Failed);
        assert_eq!(Failure::Output(io::ErrorKind::BrokenPipe.into()).exit(), Exit::Done);
        assert_eq!(Failure::Output(io::ErrorKind::StorageFull.into()).exit(), Exit::Failed);
    }
}
