//! The page, the API, live updates and `/metrics`.
//!
//! Everything here reads the snapshot and sends edits to the loop through [`Handle`]; it decides nothing, keeps nothing
//! that matters, and must never change anything on a GET or on behalf of another web site.

mod actions;
mod assets;
mod context;
mod error;
mod fields;
#[cfg(test)]
pub(crate) mod fixture;
mod follow;
mod guard;
mod host;
mod live;
mod logs;
mod page;
mod plain;
mod read;
mod router;
mod server;
#[cfg(test)]
mod tests;
mod token;
mod view;

use std::net::SocketAddr;

pub use server::{serve_tcp, serve_unix};
pub use token::Token;

#[cfg(doc)]
use crate::controller::handle::Handle;

/// What of the configuration concerns the page and the API.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Names that a Host header may have beside the address itself and localhost: `leveret.example.com` with any
    /// port or none, `leveret.example.com:8443` with just this one.
    pub allowed_hosts: Vec<String>,
    /// The address as configured; the port may be 0 in tests, the listener knows the real one.
    pub listen: SocketAddr,
}
