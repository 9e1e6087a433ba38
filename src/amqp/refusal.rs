//! What errors mean: which of them concern one queue, and which the connection.

use lapin::ErrorKind;
use lapin::protocol::AMQPErrorKind;

use super::fact::Reading;

/// What an error in the middle of reading means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The channel is closed because of a queue. The text is the broker's.
    Queue(Reading, String),
    /// The channel is closed and nobody said why.
    Channel,
    /// This connection has no channels left.
    Exhausted,
    /// The connection is over, with what is known of the reason.
    Connection(String),
}

/// Sorts an error of a passive declare or of opening a channel. `connected` says whether the connection still is.
#[expect(clippy::wildcard_enum_match_arm, reason = "the kinds are lapin's and may become more")]
pub(super) fn meaning(error: &lapin::Error, connected: bool) -> Meaning {
    match error.kind() {
        ErrorKind::ProtocolError(said) => {
            let text = said.get_message().as_str().to_owned();
            match said.kind() {
                AMQPErrorKind::Soft(_) => Meaning::Queue(reading(said.get_id(), &text), text),
                AMQPErrorKind::Hard(_) => Meaning::Connection(text),
            }
        }
        ErrorKind::InvalidChannelState(..) if connected => Meaning::Channel,
        ErrorKind::ChannelsLimitReached => Meaning::Exhausted,
        ErrorKind::MissingHeartbeatError => Meaning::Connection("it has fallen silent".to_owned()),
        ErrorKind::IOError(_) | ErrorKind::InvalidConnectionState(_) | ErrorKind::InvalidChannelState(..) => {
            Meaning::Connection("the connection broke".to_owned())
        }
        _ => Meaning::Connection(error.to_string()),
    }
}

/// What an error that closes a channel says of the queue it was about.
fn reading(code: u16, text: &str) -> Reading {
    match code {
        // A queue whose node is down is said to be not found as well, but it is not missing: nobody needs to declare it.
        404 if text.contains("no queue") => Reading::Missing,
        405 => Reading::Locked,
        _ => Reading::Refused(text.to_owned()),
    }
}

/// Which of `queues` an error names, as RabbitMQ does: `queue 'NAME' in vhost '/'`.
pub(super) fn named_queue(text: &str, queues: &[String]) -> Option<usize> {
    let named = |queue: &String| text.contains(&format!("queue '{queue}' in vhost"));
    let mut found = queues.iter().enumerate().filter(|(_, queue)| named(queue)).map(|(place, _)| place);
    // Two are named only where one has quotes in its name. Then the text does not tell.
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// Takes the password out of a text that somebody else wrote.
pub(super) fn scrub(text: &str, password: &str) -> String {
    if password.is_empty() { text.to_owned() } else { text.replace(password, "[secret]") }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPError, AMQPSoftError};

    use super::*;

    fn queues(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn closed(error: AMQPSoftError, text: &str) -> Meaning {
        let error = ErrorKind::ProtocolError(AMQPError::new(error.into(), text.into()));
        meaning(&error.into(), true)
    }

    #[test]
    fn each_refusal_of_a_queue_is_a_fact_of_its_own() {
        let missing = "NOT_FOUND - no queue 'q' in vhost '/'";
        assert_eq!(
            closed(AMQPSoftError::NOTFOUND, missing),
            Meaning::Queue(Reading::Missing, missing.into())
        );
        let locked = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'";
        assert_eq!(
            closed(AMQPSoftError::RESOURCELOCKED, locked),
            Meaning::Queue(Reading::Locked, locked.into())
        );
        let refused = "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'u'";
        assert_eq!(
            closed(AMQPSoftError::ACCESSREFUSED, refused),
            Meaning::Queue(Reading::Refused(refused.into()), refused.into())
        );
    }

    #[test]
    fn a_queue_whose_node_is_down_is_not_missing() {
        let text =
            "NOT_FOUND - home node 'rabbit@b' of durable queue 'q' in vhost '/' is down or inaccessible";
        assert_eq!(
            closed(AMQPSoftError::NOTFOUND, text),
            Meaning::Queue(Reading::Refused(text.into()), text.into())
        );
    }

    #[test]
    fn the_culprit_is_the_queue_that_the_error_names() {
        let names = queues(&["a", "b", "bb"]);
        assert_eq!(named_queue("NOT_FOUND - no queue 'b' in vhost '/'", &names), Some(1));
        assert_eq!(named_queue("NOT_FOUND - no queue 'c' in vhost '/'", &names), None);
        assert_eq!(named_queue("NOT_FOUND - something else", &names), None);
    }

    #[test]
    fn a_password_in_somebody_elses_text_is_taken_out() {
        assert_eq!(scrub("amqp://u:hunter2@h is bad", "hunter2"), "amqp://u:[secret]@h is bad");
        assert_eq!(scrub("fine", ""), "fine");
    }
}
