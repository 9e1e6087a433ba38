//! A server on a port of its own with a canned loop behind it, and a small client.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request as HttpRequest, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::controller::handle::{Accepted, Action, Handle, Origin, Refusal, ReloadReport, Request};
use crate::controller::snapshot::{DecisionView, Explanation, Snapshot};
use crate::http::context::{Context, Limits};
use crate::http::server::serve_tcp_within;
use crate::http::{HttpSettings, Token, fixture};

/// Anything that takes this long is lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the canned loop saw and shows.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) snapshot: Snapshot,
    pub(super) acts: Vec<(Action, Origin)>,
    pub(super) reloads: u32,
    pub(super) refusal: Option<Refusal>,
    pub(super) decisions_asked: Vec<(Option<String>, usize)>,
}

pub(super) struct TestServer {
    pub(super) address: SocketAddr,
    pub(super) token: String,
    pub(super) world: Arc<Mutex<World>>,
    pub(super) changed: watch::Sender<u64>,
    pub(super) shutdown: CancellationToken,
    pub(super) task: JoinHandle<std::io::Result<()>>,
}

impl TestServer {
    pub(super) fn start() -> Self {
        Self::start_within(Limits::default())
    }

    pub(super) fn start_within(limits: Limits) -> Self {
        let world = Arc::new(Mutex::new(World { snapshot: fixture::snapshot(), ..World::default() }));
        let (handle, changed) = canned_loop(Arc::clone(&world));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let token = Token::generate().unwrap();
        let shutdown = CancellationToken::new();
        let allowed_hosts = vec!["leveret.example.com".to_owned()];
        let settings = HttpSettings { allowed_hosts, listen: address };
        let context = Context::new(handle, Some(token.clone()), shutdown.clone(), limits);
        let task = tokio::spawn(async move { serve_tcp_within(listener, &settings, context).await });
        Self { address, token: token.to_hex(), world, changed, shutdown, task }
    }

    /// Changes what the loop shows, and tells so.
    pub(super) fn change(&self, edit: impl FnOnce(&mut Snapshot)) {
        edit(&mut self.world.lock().unwrap().snapshot);
        self.changed.send_modify(|count| *count += 1);
    }

    pub(super) fn acts(&self) -> Vec<(Action, Origin)> {
        self.world.lock().unwrap().acts.clone()
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub(super) async fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[], body).await
    }

    /// One request on a connection of its own, with our Host header unless `headers` has another.
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let response = self.open(method, path, headers, body).await;
        let (parts, body) = response.into_parts();
        let body = timeout(PATIENCE, body.collect()).await.unwrap().unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(super) async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        request(stream, &self.address.to_string(), method, path, headers, body).await
    }

    /// Opens a stream of server-sent events.
    pub(super) async fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        let response = self.open("GET", path, headers, "").await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { body: response.into_body(), text: String::new() }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub(super) async fn request<S>(
    stream: S,
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response<Incoming>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = HttpRequest::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", host);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap()
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> serde_json::Value {
        assert_eq!(self.headers["content-type"], "application/json", "{}", self.text);
        serde_json::from_str(&self.text).unwrap()
    }

    /// The sentence of an error.
    pub(super) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

/// A stream of server-sent events, read as it comes.
pub(super) struct Events {
    body: Incoming,
    text: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: Option<String>,
    pub(super) id: Option<String>,
    pub(super) data: String,
}

impl Events {
    /// The next event that has data; nothing when the stream ends.
    pub(super) async fn next(&mut self) -> Option<Event> {
        timeout(PATIENCE, self.wait()).await.expect("no event came")
    }

    async fn wait(&mut self) -> Option<Event> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = parse(event);
                self.text = rest.to_owned();
                if !event.data.is_empty() {
                    return Some(event);
                }
            }
            let frame = self.body.frame().await?;
            let bytes = frame.unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// The process and the line of the next event of a log.
    pub(super) async fn line(&mut self) -> (String, String, Option<String>) {
        let event = self.next().await.unwrap();
        let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
        let text = |name: &str| data[name].as_str().unwrap().to_owned();
        (text("process"), text("line"), event.id)
    }
}

fn parse(text: &str) -> Event {
    let mut event = Event::default();
    let mut data = Vec::new();
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("data", value)) => data.push(value),
            Some(("event", value)) => event.name = Some(value.to_owned()),
            Some(("id", value)) => event.id = Some(value.to_owned()),
            _ => {}
        }
    }
    event.data = data.join("\n");
    event
}

/// Answers as the loop would, from what `world` says.
pub(super) fn canned_loop(world: Arc<Mutex<World>>) -> (Handle, watch::Sender<u64>) {
    let (sender, mut receiver) = mpsc::channel(16);
    let (changed, changes) = watch::channel(0);
    tokio::spawn(async move {
        while let Some(request) = receiver.recv().await {
            answer(&mut world.lock().unwrap(), request);
        }
    });
    (Handle::new(sender, changes), changed)
}

// Whoever asked may be gone; then nobody misses the answer.
fn answer(world: &mut World, request: Request) {
    let refused = world.refusal.clone();
    match request {
        Request::Snapshot(reply) => drop(reply.send(Arc::new(world.snapshot.clone()))),
        Request::Act(action, origin, reply) => {
            world.acts.push((action.clone(), origin));
            let accepted = Accepted {
                message: format!("done: {action:?}"),
                processes: vec!["orders:0".to_owned()],
                rollout: None,
            };
            drop(reply.send(refused.map_or(Ok(accepted), Err)));
        }
        Request::Explain(program, reply) => {
            let known = world.snapshot.programs.iter().find(|view| view.name == program.as_str());
            let explanation = known.map(|view| Explanation {
                program: view.name.clone(),
                reason: view.reason.clone(),
                ..Explanation::default()
            });
            drop(reply.send(explanation.ok_or_else(|| Refusal::NoSuchName(format!("no program {program}")))));
        }
        Request::Decisions(program, limit, reply) => {
            world.decisions_asked.push((program.map(String::from), limit));
            let decision = DecisionView { program: "orders".to_owned(), to: 4, ..DecisionView::default() };
            drop(reply.send(Ok(vec![decision])));
        }
        Request::Reload(reply) => {
            world.reloads += 1;
            let report = ReloadReport { added: vec!["mail".to_owned()], ..ReloadReport::default() };
            drop(reply.send(refused.map_or(Ok(report), Err)));
        }
        Request::PlanReload(reply) => {
            let report = ReloadReport { removed: vec!["mail".to_owned()], ..ReloadReport::default() };
            drop(reply.send(refused.map_or(Ok(report), Err)));
        }
        Request::Upgrade(reply) => {
            let message = "the upgrade begins".to_owned();
            drop(reply.send(Ok(Accepted { message, ..Accepted::default() })));
        }
        Request::Histograms(reply) => drop(reply.send(fixture::histograms())),
    }
}
