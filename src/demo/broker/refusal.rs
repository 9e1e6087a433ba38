//! The errors that a broker answers with, in RabbitMQ's words.

use std::fmt;

/// What an error closes, with its code and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Closes the channel on which it happened.
    Channel(u16, String),
    /// Closes the connection.
    Connection(u16, String),
}

impl Refusal {
    pub(super) fn no_queue(queue: &str, vhost: &str) -> Self {
        Self::Channel(404, format!("NOT_FOUND - no queue '{queue}' in vhost '{vhost}'"))
    }

    pub(super) fn no_exchange(exchange: &str, vhost: &str) -> Self {
        Self::Channel(404, format!("NOT_FOUND - no exchange '{exchange}' in vhost '{vhost}'"))
    }

    pub(super) fn locked(queue: &str, vhost: &str) -> Self {
        Self::Channel(
            405,
            format!(
                "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '{vhost}'. \
                 It could be originally declared on another connection or the exclusive property value does not \
                 match that of the original declaration."
            ),
        )
    }

    pub(super) fn no_permission(queue: &str, vhost: &str, user: &str) -> Self {
        Self::Channel(
            403,
            format!(
                "ACCESS_REFUSED - access to queue '{queue}' in vhost '{vhost}' refused for user '{user}'"
            ),
        )
    }

    pub(super) fn in_exclusive_use(queue: &str, vhost: &str) -> Self {
        Self::Channel(403, format!("ACCESS_REFUSED - queue '{queue}' in vhost '{vhost}' in exclusive use"))
    }

    pub(super) fn precondition(text: impl fmt::Display) -> Self {
        Self::Channel(406, format!("PRECONDITION_FAILED - {text}"))
    }

    pub(super) fn login(mechanism: &str) -> Self {
        Self::Connection(
            403,
            format!(
                "ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}. \
                 For details see the broker logfile."
            ),
        )
    }

    pub(super) fn no_vhost(vhost: &str) -> Self {
        Self::Connection(530, format!("NOT_ALLOWED - vhost {vhost} not found"))
    }

    pub(super) fn not_implemented(what: &str) -> Self {
        Self::Connection(540, format!("NOT_IMPLEMENTED - {what}"))
    }

    pub(super) fn unexpected_frame(what: impl fmt::Display) -> Self {
        Self::Connection(505, format!("UNEXPECTED_FRAME - {what}"))
    }

    pub(super) fn frame(what: impl fmt::Display) -> Self {
        Self::Connection(501, format!("FRAME_ERROR - {what}"))
    }

    pub(super) fn channel_error(what: impl fmt::Display) -> Self {
        Self::Connection(504, format!("CHANNEL_ERROR - {what}"))
    }

    pub(super) fn command_invalid(what: impl fmt::Display) -> Self {
        Self::Connection(503, format!("COMMAND_INVALID - {what}"))
    }
}
