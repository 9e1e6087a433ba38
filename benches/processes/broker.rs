//! A broker with queues: a RabbitMQ of its own where one is installed, else the demo broker.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use leveret::demo::broker::{Broker, BrokerOptions};
use leveret::sys::{clock, process};
use rustix::process::Signal;
use tokio::runtime::Runtime;

use super::daemon::{LIMIT, reap, signal};
use super::outside::{pause, within};

/// Where Debian puts the scripts.
const SCRIPT: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// What all processes of the node have in their environment.
const MARK: &str = "LEVERET_BENCH_BROKER";

/// A broker. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct QueueBroker {
    pub(crate) url: String,
    /// What it is, for people.
    pub(crate) name: &'static str,
    _kind: Kind,
    /// Serves the demo broker, and declares queues.
    runtime: Runtime,
}

#[derive(Debug)]
enum Kind {
    Rabbit { _node: Node },
    Demo { _broker: Broker },
}

impl QueueBroker {
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        if Path::new(SCRIPT).exists() {
            let (node, url) = Node::start(directory)?;
            let broker = Self { url, name: "RabbitMQ", _kind: Kind::Rabbit { _node: node }, runtime };
            broker.wait()?;
            return Ok(broker);
        }
        let broker = runtime.block_on(Broker::start(BrokerOptions::default()))?;
        let url = broker.url();
        Ok(Self { url, name: "the demo broker", _kind: Kind::Demo { _broker: broker }, runtime })
    }

    /// Makes queues that go with the broker.
    pub(crate) fn declare(&self, queues: &[String]) -> Result<()> {
        self.runtime.block_on(async {
            let connection = Connection::connect(&self.url, ConnectionProperties::default()).await?;
            let channel = connection.create_channel().await?;
            for queue in queues {
                let options = QueueDeclareOptions::default();
                channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await?;
            }
            connection.close(200, "done".into()).await?;
            Ok(())
        })
    }

    fn wait(&self) -> Result<()> {
        let deadline = clock::now() + LIMIT;
        while self.declare(&[]).is_err() {
            within(deadline, "RabbitMQ lets nobody in")?;
            pause(Duration::from_millis(200));
        }
        Ok(())
    }
}

/// A RabbitMQ on loopback, with ports, a cookie and a directory of its own.
#[derive(Debug)]
struct Node {
    server: Child,
    mark: String,
}

impl Node {
    fn start(directory: &Path) -> Result<(Self, String)> {
        let directory = directory.join("rabbit");
        for name in ["data", "log"] {
            fs::create_dir_all(directory.join(name))?;
        }
        for (name, text) in [("rabbitmq-env.conf", ""), ("rabbitmq.conf", ""), ("enabled_plugins", "[].\n")] {
            fs::write(directory.join(name), text)?;
        }
        let cookie = directory.join(".erlang.cookie");
        let mark = format!("bench{}", std::process::id());
        fs::write(&cookie, &mark)?;
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400))?;
        let [port, distribution, mapper] = [free_port()?, free_port()?, free_port()?];
        let server = Command::new(SCRIPT)
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(File::create(directory.join("log/out"))?)
            .stderr(File::create(directory.join("log/err"))?)
            .env("HOME", &directory)
            .env(MARK, &mark)
            .env("RABBITMQ_NODENAME", format!("{mark}@localhost"))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", port.to_string())
            .env("RABBITMQ_DIST_PORT", distribution.to_string())
            .env("ERL_EPMD_PORT", mapper.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_CONF_ENV_FILE", directory.join("rabbitmq-env.conf"))
            .env("RABBITMQ_CONFIG_FILE", directory.join("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", directory.join("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", directory.join("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", directory.join("data"))
            .env("RABBITMQ_LOG_BASE", directory.join("log"))
            .env("RABBITMQ_LOGS", directory.join("log/node.log"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .spawn()
            .with_context(|| format!("cannot start {SCRIPT}"))?;
        Ok((Self { server, mark }, format!("amqp://guest:guest@127.0.0.1:{port}/%2f")))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The port mapper is in a session of its own and outlives the node.
        let deadline = clock::now() + LIMIT;
        loop {
            let marked = marked(&self.mark);
            if marked.is_empty() || within(deadline, "").is_err() {
                break;
            }
            marked.into_iter().for_each(|pid| signal(pid, Signal::KILL));
            pause(Duration::from_millis(20));
        }
        reap(&mut self.server);
    }
}

/// All living processes of the node.
fn marked(mark: &str) -> Vec<i32> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_marked = |pid: &i32| {
        let environ = process::environ(*pid).unwrap_or_default();
        process::value_in(&environ, MARK).is_some_and(|value| value == mark.as_bytes())
    };
    pids.filter(is_marked).collect()
}

/// A port that nobody uses at this moment.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
