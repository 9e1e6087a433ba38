//! Why somebody could not be asked over HTTP, as a person can act on it. Never contains the password.

use std::fmt;
use std::io;
use std::time::Duration;

use hyper::StatusCode;

use crate::sys::cause;

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::amqp) enum Service {
    /// RabbitMQ's management API.
    Management,
    /// What RabbitMQ exports for Prometheus.
    Metrics,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::Management => "management API",
            Self::Metrics => "metrics endpoint",
        }
    }

    fn plugin(self) -> &'static str {
        match self {
            Self::Management => "rabbitmq_management",
            Self::Metrics => "rabbitmq_prometheus",
        }
    }

    /// What to look at where somebody else answers.
    fn check(self) -> &'static str {
        match self {
            Self::Management => "check the port (usually 15672) and what stands before /api",
            Self::Metrics => {
                "check the port (usually 15692), what stands before /metrics, and that it is RabbitMQ 3.10 or later"
            }
        }
    }
}

/// Who is asked, and at which address, without a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::amqp) struct At {
    /// Who.
    pub(super) service: Service,
    /// Where.
    pub(super) address: String,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} at {}", self.service.name(), self.address)
    }
}

/// Why there is no answer, or none that is of use.
#[derive(Debug, thiserror::Error)]
pub(in crate::amqp) enum Trouble {
    /// The host has no address.
    #[error("cannot find the host of {at}: {}", cause::plain(source))]
    Resolve { at: At, source: io::Error },
    /// Nobody listens there, or the way is blocked.
    #[error(
        "cannot connect to {at}: {}; is the plugin on there (rabbitmq-plugins enable {})?",
        cause::plain(source),
        at.service.plugin()
    )]
    Connect { at: At, source: io::Error },
    /// There is no encryption, or the certificate is not trusted.
    #[error(
        "cannot agree on encryption with {at}: {}; a private authority's certificate goes into \
         SSL_CERT_FILE",
        cause::plain(source)
    )]
    Tls { at: At, source: io::Error },
    /// It took too long.
    #[error("{at} did not answer within {} s", after.as_secs_f64())]
    TimedOut { at: At, after: Duration },
    /// The connection ended early, or what came is not HTTP.
    #[error("{at} broke off: {what}; is the scheme right (http or https)?")]
    Broken { at: At, what: String },
    /// User or password is wrong, or the user may not do this.
    #[error(
        "{at} refuses user {user}{}; check user and password, the tag (rabbitmqctl set_user_tags \
         {user} monitoring) and the permissions in virtual host {vhost}",
        in_brackets(reason)
    )]
    Refused { at: At, user: String, vhost: String, reason: String },
    /// A login is wanted, or another one.
    #[error(
        "{at} refuses {}; write the login of who may read it, {}",
        user.as_ref().map_or_else(|| "whoever gives no login".to_owned(), |user| format!("user {user}")),
        "http://user:password@host:15692"
    )]
    NoEntry { at: At, user: Option<String> },
    /// There is no such virtual host.
    #[error("{at} knows no virtual host {vhost}; check the end of the broker's address")]
    NoVhost { at: At, vhost: String },
    /// Something else listens there.
    #[error(
        "what answers at {} is not RabbitMQ's {} ({what}); {}",
        at.address,
        at.service.name(),
        at.service.check()
    )]
    Another { at: At, what: String },
    /// It has trouble of its own.
    #[error("{at} answered {status}{}", in_brackets(reason))]
    Status { at: At, status: StatusCode, reason: String },
    /// The answer is larger than anything that was asked for.
    #[error("{at} sent more than {} MiB for one answer", limit_bytes / (1024 * 1024))]
    TooLarge { at: At, limit_bytes: usize },
}

fn in_brackets(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}
