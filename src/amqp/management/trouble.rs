//! Why a management API could not be asked, as a person can act on it. Never contains the password.

use std::io;
use std::time::Duration;

use hyper::StatusCode;

use crate::sys::cause;

/// Why there is no answer, or none that is of use. `at` is the address without a login.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The host has no address.
    #[error("cannot find the host of the management API at {at}: {}", cause::plain(source))]
    Resolve { at: String, source: io::Error },
    /// Nobody listens there, or the way is blocked.
    #[error(
        "cannot connect to the management API at {at}: {}; is the plugin on there (rabbitmq-plugins enable \
         rabbitmq_management)?",
        cause::plain(source)
    )]
    Connect { at: String, source: io::Error },
    /// There is no encryption, or the certificate is not trusted.
    #[error(
        "cannot agree on encryption with the management API at {at}: {}; a private authority's certificate goes into \
         SSL_CERT_FILE",
        cause::plain(source)
    )]
    Tls { at: String, source: io::Error },
    /// It took too long.
    #[error("the management API at {at} did not answer within {} s", after.as_secs_f64())]
    TimedOut { at: String, after: Duration },
    /// The connection ended early, or what came is not HTTP.
    #[error("the management API at {at} broke off: {what}; is the scheme right (http or https)?")]
    Broken { at: String, what: String },
    /// User or password is wrong, or the user may not do this.
    #[error(
        "the management API at {at} refuses user {user}{}; check user and password, the tag (rabbitmqctl set_user_tags \
         {user} monitoring) and the permissions in virtual host {vhost}",
        in_brackets(reason)
    )]
    Refused { at: String, user: String, vhost: String, reason: String },
    /// There is no such virtual host.
    #[error(
        "the management API at {at} knows no virtual host {vhost}; check the end of the broker's address"
    )]
    NoVhost { at: String, vhost: String },
    /// Something else listens there.
    #[error(
        "what answers at {at} is not RabbitMQ's management API ({what}); check the port (usually 15672) and what stands \
         before /api"
    )]
    NotManagement { at: String, what: String },
    /// It has trouble of its own.
    #[error("the management API at {at} answered {status}{}", in_brackets(reason))]
    Status { at: String, status: StatusCode, reason: String },
    /// The answer is larger than anything that was asked for.
    #[error("the management API at {at} sent more than {} MiB for one page", limit_bytes / (1024 * 1024))]
    TooLarge { at: String, limit_bytes: usize },
}

fn in_brackets(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}
