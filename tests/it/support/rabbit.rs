//! A private RabbitMQ node: own name, ports, cookie, port mapper and directory, loopback only, and no plugins unless the
//! management API or metrics are asked for.
//!
//! Debian's packaged scripts are run directly, which works for root and for any other user alike. A cold start takes about
//! eight seconds, so tests share one node unless they stop or break it.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;

use super::certificate::Certificates;
use super::port::ReservedPort;
use super::wait::wait_for_state;
use super::{command, proc, publish, run};

const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";
/// A start takes 8 s on two idle cores; tests may keep them busy.
const START_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// One call of rabbitmqctl takes 1 to 2 s, nearly all of it for the start of its own Erlang machine.
const CONTROL_LIMIT: Duration = Duration::from_secs(60);

/// One node. Dropping it kills it; the shared one ends with the run (see [`run`]).
#[derive(Debug)]
pub(crate) struct Rabbit {
    /// Name of the node before the @, and marker of its processes.
    id: String,
    directory: PathBuf,
    amqp: ReservedPort,
    encrypted: ReservedPort,
    certificates: Certificates,
    distribution: ReservedPort,
    port_mapper: ReservedPort,
    /// Of the management API, plain and encrypted, where it is on.
    management: Option<[ReservedPort; 2]>,
    /// Of the metrics, plain and encrypted, where they are exported.
    metrics: Option<[ReservedPort; 2]>,
    /// None while the node is stopped.
    server: Option<Child>,
}

impl Rabbit {
    /// The node that the tests of this run share. Use queues, users and vhosts with [`run::unique`] names; never stop it.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Rabbit> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A node of the test's own, which it may stop and break. Returns when clients can connect.
    pub(crate) fn start() -> Self {
        Self::start_node(None, None)
    }

    /// The node with a management API that the tests of this run share, used like [`Rabbit::shared`].
    pub(crate) fn shared_with_management() -> &'static Self {
        static SHARED: OnceLock<Rabbit> = OnceLock::new();
        SHARED.get_or_init(Self::start_with_management)
    }

    /// A node of the test's own with a management API, which knows nobody else's consumers.
    pub(crate) fn start_with_management() -> Self {
        Self::start_node(Some([(); 2].map(|()| ReservedPort::reserve())), None)
    }

    /// A node of the test's own that exports metrics.
    pub(crate) fn start_with_metrics() -> Self {
        Self::start_node(None, Some([(); 2].map(|()| ReservedPort::reserve())))
    }

    fn start_node(management: Option<[ReservedPort; 2]>, metrics: Option<[ReservedPort; 2]>) -> Self {
        let directory = run::directory("rabbit");
        let encrypted = ReservedPort::reserve();
        let certificates = Certificates::make(&directory);
        let mut configuration = configuration(&encrypted, &certificates);
        if let Some([plain, encrypted]) = &management {
            configuration += &plugin_configuration("management", plain, encrypted, &certificates);
        }
        if let Some([plain, encrypted]) = &metrics {
            configuration += &plugin_configuration("prometheus", plain, encrypted, &certificates);
        }
        let plugins = [
            management.as_ref().map(|_| "rabbitmq_management"),
            metrics.as_ref().map(|_| "rabbitmq_prometheus"),
        ];
        let plugins: Vec<&str> = plugins.into_iter().flatten().collect();
        write_files(&directory, &configuration, &format!("[{}].\n", plugins.join(",")));
        let mut node = Self {
            id: run::unique("rabbit"),
            directory,
            amqp: ReservedPort::reserve(),
            encrypted,
            certificates,
            distribution: ReservedPort::reserve(),
            port_mapper: ReservedPort::reserve(),
            management,
            metrics,
            server: None,
        };
        node.start_again();
        node
    }

    /// Starts the stopped node on the same ports with what it had on disk.
    pub(crate) fn start_again(&mut self) {
        assert!(self.server.is_none(), "the node runs already");
        let mut server = self
            .command("rabbitmq-server")
            .stdout(self.log_file("server.out"))
            .stderr(self.log_file("server.err"))
            // A Ctrl-C at the terminal ends the tests, and the guard ends the node after that.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start RabbitMQ in {SCRIPTS}: {error} (try: make setup)"));
        wait_for_state("RabbitMQ to let clients in", START_LIMIT, || {
            if let Some(status) = command::exit_of(&mut server) {
                panic!("RabbitMQ ended at its start, {status}:\n{}", self.last_output());
            }
            publish::can_connect(&self.url())
        });
        self.server = Some(server);
    }

    /// Stops the node as an operator would: it takes leave of its clients and keeps durable queues. The port mapper stays.
    pub(crate) fn stop(&mut self) {
        let mut server = self.server.take().expect("the node runs");
        proc::signal(command::pid_of(&server), Signal::TERM);
        command::wait_for_exit("RabbitMQ", &mut server, STOP_LIMIT);
    }

    /// Kills the node without warning, as a power cut would. Does nothing when it is stopped.
    pub(crate) fn kill(&mut self) {
        match self.server.take() {
            Some(mut server) => command::kill_and_reap("RabbitMQ", &mut server, &self.id),
            // The port mapper outlives a stop.
            None => drop(proc::kill_marked(&self.id)),
        }
    }

    /// The marker of all processes of this node, as in [`proc::marked`].
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The URL for the user guest and the vhost /.
    pub(crate) fn url(&self) -> String {
        self.url_with("guest", "guest", "/")
    }

    /// The URL for others; the three are put in as they are, a vhost / as %2f.
    pub(crate) fn url_with(&self, user: &str, password: &str, vhost: &str) -> String {
        let vhost = if vhost == "/" { "%2f" } else { vhost };
        format!("amqp://{user}:{password}@127.0.0.1:{}/{vhost}", self.amqp.number())
    }

    /// The amqps:// URL for the user guest and the vhost /. Its certificate is good for whoever trusts
    /// [`Rabbit::authority`].
    pub(crate) fn encrypted_url(&self) -> String {
        format!("amqps://guest:guest@127.0.0.1:{}/%2f", self.encrypted.number())
    }

    /// The address of the management API for this user; panics where it is off.
    pub(crate) fn management_with(&self, user: &str, password: &str) -> String {
        let [port, _] = self.management.as_ref().expect("a node with a management API");
        format!("http://{user}:{password}@127.0.0.1:{}", port.number())
    }

    /// The https address of the management API, which has its login from the broker's.
    pub(crate) fn encrypted_management(&self) -> String {
        let [_, port] = self.management.as_ref().expect("a node with a management API");
        format!("https://127.0.0.1:{}", port.number())
    }

    /// The address of the management API for the user guest.
    pub(crate) fn management(&self) -> String {
        self.management_with("guest", "guest")
    }

    /// The address of the metrics; panics where there are none.
    pub(crate) fn metrics(&self) -> String {
        let [port, _] = self.metrics.as_ref().expect("a node that exports metrics");
        format!("http://127.0.0.1:{}", port.number())
    }

    /// The https address of the metrics.
    pub(crate) fn encrypted_metrics(&self) -> String {
        let [_, port] = self.metrics.as_ref().expect("a node that exports metrics");
        format!("https://127.0.0.1:{}", port.number())
    }

    /// Ends the export of metrics, and nothing else. Takes some seconds.
    pub(crate) fn stop_metrics(&self) {
        self.run("rabbitmq-plugins", &["disable", "rabbitmq_prometheus"]);
    }

    /// Exports metrics again after [`Rabbit::stop_metrics`].
    pub(crate) fn start_metrics(&self) {
        self.run("rabbitmq-plugins", &["enable", "rabbitmq_prometheus"]);
    }

    /// The file of the authority that vouches for this node.
    pub(crate) fn authority(&self) -> &Path {
        &self.certificates.authority
    }

    /// Runs rabbitmqctl against this node and returns what it printed; panics when it fails. Takes 1 to 2 s.
    pub(crate) fn control(&self, arguments: &[&str]) -> String {
        self.run("rabbitmqctl", arguments)
    }

    fn run(&self, script: &str, arguments: &[&str]) -> String {
        let mut command = self.command(script);
        command.arg("--quiet").args(arguments);
        let finished = command::finish(&format!("{script} {arguments:?}"), command, CONTROL_LIMIT);
        let (stdout, stderr) = (finished.stdout, finished.stderr);
        assert!(finished.status.success(), "{script} {arguments:?} failed:\n{stdout}{stderr}");
        stdout
    }

    /// Adds a user who may do everything in the vhost /.
    pub(crate) fn add_user(&self, user: &str, password: &str) {
        self.control(&["add_user", user, password]);
        self.control(&["set_permissions", "--vhost", "/", user, ".*", ".*", ".*"]);
    }

    /// Gives a user another password. Connections that are open stay open: see [`Rabbit::close_connections`].
    pub(crate) fn change_password(&self, user: &str, password: &str) {
        self.control(&["change_password", user, password]);
    }

    /// Closes all connections of all clients, as an operator would before maintenance.
    pub(crate) fn close_connections(&self) {
        self.control(&["close_all_connections", "closed by the test"]);
    }

    /// Stops the broker but not its Erlang machine: the port refuses connections.
    pub(crate) fn stop_app(&self) {
        self.control(&["stop_app"]);
    }

    /// Starts the broker again after [`Rabbit::stop_app`]; returns when clients can connect.
    pub(crate) fn start_app(&self) {
        self.control(&["start_app"]);
        wait_for_state("RabbitMQ to let clients in", START_LIMIT, || publish::can_connect(&self.url()));
    }

    /// Messages of `queue` (vhost /) that consumers have in hand. Takes 1 to 2 s.
    pub(crate) fn unacknowledged(&self, queue: &str) -> u32 {
        let table = self.control(&["list_queues", "--no-table-headers", "name", "messages_unacknowledged"]);
        let row = table.lines().find_map(|line| line.strip_prefix(queue)?.strip_prefix('\t'));
        let row = row.unwrap_or_else(|| panic!("no queue {queue} in:\n{table}"));
        row.trim().parse().expect("rabbitmqctl prints a number")
    }

    fn command(&self, script: &str) -> Command {
        let directory = &self.directory;
        let mut command = run::command(Path::new(SCRIPTS).join(script), &self.id);
        command
            .current_dir(directory)
            .env("HOME", directory)
            .env("RABBITMQ_NODENAME", format!("{}@localhost", self.id))
            .env("RABBITMQ_DIST_PORT", self.distribution.number().to_string())
            .env("ERL_EPMD_PORT", self.port_mapper.number().to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.amqp.number().to_string())
            // The machine's own node, if there is one, is configured in /etc/rabbitmq; nothing of that is wanted here.
            .env("RABBITMQ_CONF_ENV_FILE", directory.join("rabbitmq-env.conf"))
            .env("RABBITMQ_CONFIG_FILE", directory.join("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", directory.join("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", directory.join("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", directory.join("data"))
            .env("RABBITMQ_LOG_BASE", directory.join("log"))
            .env("RABBITMQ_LOGS", directory.join("log/node.log"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}");
        // rabbitmqctl is a node itself and needs a port to be one; the system chooses it.
        command.env("RABBITMQ_CTL_DIST_PORT_MIN", "0").env("RABBITMQ_CTL_DIST_PORT_MAX", "0");
        command
    }

    fn log_file(&self, name: &str) -> File {
        let path = self.directory.join("log").join(name);
        File::options().create(true).append(true).open(path).expect("the log directory is ours")
    }

    fn last_output(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.directory.join("log").join(name)).unwrap_or_default();
        read("server.out") + &read("server.err")
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        self.kill();
    }
}

fn configuration(encrypted: &ReservedPort, certificates: &Certificates) -> String {
    let Certificates { authority, server, server_key } = certificates;
    format!(
        "listeners.ssl.local = 127.0.0.1:{}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\n\
         ssl_options.keyfile = {}\nssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n",
        encrypted.number(),
        authority.display(),
        server.display(),
        server_key.display()
    )
}

/// A plugin that speaks HTTP, plain and encrypted.
fn plugin_configuration(
    plugin: &str,
    plain: &ReservedPort,
    encrypted: &ReservedPort,
    certificates: &Certificates,
) -> String {
    let Certificates { authority, server, server_key } = certificates;
    format!(
        "{plugin}.tcp.ip = 127.0.0.1\n{plugin}.tcp.port = {}\n{plugin}.ssl.ip = 127.0.0.1\n\
         {plugin}.ssl.port = {}\n{plugin}.ssl.cacertfile = {}\n{plugin}.ssl.certfile = {}\n\
         {plugin}.ssl.keyfile = {}\n",
        plain.number(),
        encrypted.number(),
        authority.display(),
        server.display(),
        server_key.display()
    )
}

fn write_files(directory: &Path, configuration: &str, plugins: &str) {
    for name in ["data", "log"] {
        fs::create_dir(directory.join(name)).expect("the directory is new");
    }
    for (name, content) in
        [("rabbitmq-env.conf", ""), ("rabbitmq.conf", configuration), ("enabled_plugins", plugins)]
    {
        fs::write(directory.join(name), content).expect("the directory is ours");
    }
    // Erlang refuses a cookie that others can read.
    let cookie = directory.join(".erlang.cookie");
    fs::write(&cookie, run::unique("cookie")).expect("the directory is ours");
    fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400)).expect("the file is ours");
}
