//! The page and the API over real connections, with a loop that answers from a canned snapshot.

mod actions;
mod following;
mod limits;
mod reading;
mod refusals;
mod server;
