//! Which function answers which command, and which Leveret is asked.

use std::path::Path;

use serde_json::json;

use super::address::{self, Address, Surroundings};
use super::arguments::{ClientCommand, ConnectionArgs};
use super::client::Client;
use super::console::Console;
use super::exit::Exit;
use super::failure::Failure;
use super::progress::Verb;
use super::{act, explain, logs, reload, roll, scale, status, upgrade, wait};
use crate::config::settings::Settings;
use crate::core::ids::Target;

/// Runs a command that talks to Leveret. `load` reads a configuration file, for `-c`.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn ask(
    command: ClientCommand,
    surroundings: &Surroundings,
    load: impl Fn(&Path, bool) -> Result<Settings, String>,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let find = async |connection: &ConnectionArgs| find(connection, surroundings, &load).await;
    match command {
        ClientCommand::Status(arguments) => {
            let client = find(&arguments.connection).await?;
            status::status(&arguments, &client, surroundings, console).await
        }
        ClientCommand::Start(arguments) => {
            act::act(Verb::Start, &arguments, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Stop(arguments) => {
            act::act(Verb::Stop, &arguments, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Restart(arguments) => {
            let client = find(&arguments.act.connection).await?;
            match arguments.rolling {
                true => roll::roll(&arguments, &client, console).await,
                false => act::act(Verb::Restart, &arguments.act, &client, console).await,
            }
        }
        ClientCommand::Copy(arguments) => {
            act::act(Verb::Copy, &arguments, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Signal(arguments) => {
            let body = json!({"signal": arguments.signal});
            let client = find(&arguments.connection).await?;
            act::post(&arguments.name, "signal", Some(&body), &client, console).await
        }
        ClientCommand::Pause(arguments) => {
            let target = no_process(&arguments.name, "pause")?;
            act::post(target, "pause", None, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Resume(arguments) => {
            let target = no_process(&arguments.name, "resume")?;
            act::post(target, "resume", None, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Auto(arguments) => {
            let target = no_process(&arguments.name, "auto")?;
            act::post(target, "auto", None, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Scale(arguments) => {
            scale::scale(&arguments, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Wait(arguments) => {
            wait::wait(&arguments, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Logs(arguments) => {
            logs::logs(&arguments, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Explain(arguments) => {
            explain::explain(&arguments, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Reload(arguments) => {
            reload::reload(&arguments, &find(&arguments.connection).await?, console).await
        }
        ClientCommand::Upgrade(connection) => upgrade::upgrade(&find(&connection).await?, console).await,
        ClientCommand::Shutdown(arguments) => {
            wait::shutdown(&arguments, &find(&arguments.connection).await?, console).await
        }
    }
}

fn no_process<'a>(target: &'a Target, command: &str) -> Result<&'a Target, Failure> {
    match target {
        Target::Process(process) => {
            Err(Failure::Usage(format!("{command} takes a program; did you mean {}?", process.program)))
        }
        Target::All | Target::Project(_) | Target::Program(_) => Ok(target),
    }
}

/// The Leveret that the user means.
async fn find(
    connection: &ConnectionArgs,
    surroundings: &Surroundings,
    load: impl Fn(&Path, bool) -> Result<Settings, String>,
) -> Result<Client, Failure> {
    if let Some(server) = &connection.server {
        return Ok(Client::new(Address::parse(server)?));
    }
    if let Some(file) = &connection.config {
        let settings = load(file, false).map_err(Failure::Usage)?;
        return Ok(Client::new(Address::Unix(settings.runtime_dir.join(address::SOCKET))));
    }
    if let Some(server) = surroundings.server() {
        return Ok(Client::new(Address::parse(server)?));
    }
    Client::first_of(surroundings.sockets(Path::exists)).await.ok_or_else(|| {
        Failure::Usage(
            "there is no place to look for Leveret's socket; say where it is by --server".to_owned(),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cli::fixture::{self, FakeServer};

    #[tokio::test]
    async fn orders_that_are_not_waited_for_are_posted_where_they_belong() {
        let server = FakeServer::of(fixture::snapshot());
        let cases = [
            ("signal orders:1 hup", "processes/orders:1/signal", json!({"signal": "HUP"})),
            ("signal @shop USR1", "projects/shop/signal", json!({"signal": "USR1"})),
            ("pause", "all/pause", serde_json::Value::Null),
            ("pause @shop", "projects/shop/pause", serde_json::Value::Null),
            ("resume orders", "programs/orders/resume", serde_json::Value::Null),
            ("auto orders", "programs/orders/auto", serde_json::Value::Null),
            ("auto all", "all/auto", serde_json::Value::Null),
            ("scale orders 5 --no-wait", "programs/orders/scale", json!({"processes": 5})),
            (
                "scale orders 5 --for 30m --no-wait",
                "programs/orders/scale",
                json!({"processes": 5, "for": "1800s"}),
            ),
        ];
        for (line, path, body) in cases {
            let outcome = fixture::run(&server.socket(), line).await;
            assert_eq!(outcome.exit, Exit::Done, "{line}");
            let seen = server.seen().pop().unwrap();
            assert_eq!((seen.line, seen.body), (format!("POST /api/v1/{path}"), body), "{line}");
            assert_eq!(outcome.out, format!("did POST /api/v1/{path}\n"), "{line}");
        }
    }

    #[tokio::test]
    async fn what_makes_no_sense_for_a_process_is_wrong_usage() {
        let server = FakeServer::of(fixture::snapshot());
        for line in ["pause orders:1", "resume orders:1", "auto orders:1"] {
            let outcome = fixture::run(&server.socket(), line).await;
            assert_eq!(outcome.exit, Exit::Usage, "{line}");
            assert!(outcome.err.ends_with("takes a program; did you mean orders?\n"), "{}", outcome.err);
        }
        assert!(server.seen().is_empty());
    }

    #[tokio::test]
    async fn of_several_sockets_the_one_that_answers_is_taken() {
        let stale = FakeServer::of(fixture::snapshot());
        let directory = tempfile::tempdir().unwrap();
        let stale_socket = directory.path().join("stale.sock");
        std::fs::hard_link(stale.socket(), &stale_socket).unwrap();
        stale.end().await;
        let server = FakeServer::of(fixture::snapshot());
        let candidates = vec![Address::Unix(stale_socket.clone()), Address::Unix(server.socket())];
        let client = Client::first_of(candidates).await.unwrap();
        assert_eq!(client.address(), &Address::Unix(server.socket()));
        let client = Client::first_of(vec![Address::Unix(stale_socket.clone()); 2]).await.unwrap();
        assert_eq!(client.address(), &Address::Unix(stale_socket));
    }

    #[tokio::test]
    async fn the_servers_address_is_found_in_the_order_that_is_documented() {
        let variable = |server: &str| Surroundings {
            environment: BTreeMap::from([("LEVERET_SERVER".to_owned(), server.to_owned())]),
            is_root: false,
        };
        let load = |_: &Path, _: bool| Ok(fixture::settings("/run/here"));
        let connection = |server: Option<&str>, config: Option<&str>| ConnectionArgs {
            server: server.map(str::to_owned),
            config: config.map(Into::into),
        };
        let found = async |connection: ConnectionArgs| {
            let client = find(&connection, &variable("http://environment:1"), load).await.unwrap();
            client.address().to_string()
        };
        assert_eq!(found(connection(Some("http://flag:1"), None)).await, "http://flag:1");
        assert_eq!(found(connection(None, Some("a.yaml"))).await, "/run/here/leveret.sock");
        assert_eq!(found(connection(None, None)).await, "http://environment:1");
    }
}
