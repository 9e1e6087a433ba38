//! The accept loops: how many connections, how long they may take, and how they end.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use futures_util::future::{Either, select};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::context::{Context, Door, Limits};
use super::host::Hosts;
use super::{HttpSettings, Token, router};
use crate::controller::handle::Handle;
use crate::sys::shortage;

/// Serves the page and the API over TCP until `shutdown`: connections that were accepted are answered, streams end.
///
/// # Errors
/// When the listener cannot be used. A connection that cannot be accepted is logged and tried again.
pub async fn serve_tcp(
    listener: std::net::TcpListener,
    handle: Handle,
    settings: Arc<HttpSettings>,
    token: Token,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let context = Context::new(handle, Some(token), shutdown, Limits::default());
    serve_tcp_within(listener, &settings, context).await
}

/// As [`serve_tcp`], over a Unix socket: whoever may open it may do everything, and needs neither token nor Host header.
///
/// # Errors
/// As [`serve_tcp`].
pub async fn serve_unix(
    listener: std::os::unix::net::UnixListener,
    handle: Handle,
    shutdown: CancellationToken,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    Server::new(Context::new(handle, None, shutdown, Limits::default())).run(UnixDoor(listener)).await;
    Ok(())
}

pub(super) async fn serve_tcp_within(
    listener: std::net::TcpListener,
    settings: &HttpSettings,
    context: Context,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    let door = TcpDoor { listener, address, settings: settings.clone() };
    Server::new(context).run(door).await;
    Ok(())
}

/// A listener, and what its connections are.
trait Accept {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    async fn accept(&self) -> io::Result<(Self::Stream, Door)>;
}

struct TcpDoor {
    listener: TcpListener,
    address: SocketAddr,
    settings: HttpSettings,
}

impl Accept for TcpDoor {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Door)> {
        let (stream, _) = self.listener.accept().await?;
        // Answers are small and go out whole; without this a stream's events could wait for the client's delayed ACK.
        stream.set_nodelay(true)?;
        let local = stream.local_addr().unwrap_or(self.address);
        let hosts = Hosts::new(self.settings.listen, local, &self.settings.allowed_hosts);
        Ok((stream, Door::Tcp(Arc::new(hosts))))
    }
}

struct UnixDoor(UnixListener);

impl Accept for UnixDoor {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Door)> {
        let (stream, _) = self.0.accept().await?;
        Ok((stream, Door::Unix))
    }
}

struct Server {
    context: Context,
    router: Router,
    permits: Arc<Semaphore>,
    said_full: bool,
    said_unaccepted: bool,
    connections: JoinSet<()>,
}

impl Server {
    fn new(context: Context) -> Self {
        Self {
            router: router::router(context.clone()),
            permits: Arc::new(Semaphore::new(context.limits().connections)),
            said_full: false,
            said_unaccepted: false,
            connections: JoinSet::new(),
            context,
        }
    }

    async fn run(mut self, listener: impl Accept) {
        let shutdown = self.context.shutdown().clone();
        while let Some(Some((stream, door, permit))) =
            shutdown.run_until_cancelled(self.next(&listener)).await
        {
            self.serve(stream, door, permit);
        }
        drop(listener);
        let all = async { while self.connections.join_next().await.is_some() {} };
        if timeout(self.context.limits().drain_timeout, all).await.is_err() {
            tracing::warn!(open = self.connections.len(), "connections were cut off at the end");
            self.connections.shutdown().await;
        }
    }

    /// The next connection, once there may be one more; nothing when there can be none anymore.
    async fn next<A: Accept>(&mut self, listener: &A) -> Option<(A::Stream, Door, OwnedSemaphorePermit)> {
        let permit = self.permit().await?;
        loop {
            while self.connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, door)) => {
                    if std::mem::take(&mut self.said_unaccepted) {
                        tracing::info!("connections are accepted again");
                    }
                    return Some((stream, door, permit));
                }
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut self.said_unaccepted, true) {
                        let cause = shortage::cause(error);
                        tracing::warn!("connections cannot be accepted: {cause}; they wait until that works");
                    }
                    // Most likely there are no file descriptors left; they come back when something else ends.
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn permit(&mut self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        if !self.said_full {
            self.said_full = true;
            let connections = self.context.limits().connections;
            tracing::warn!(connections, "as many connections are open as there may be; others wait");
        }
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    fn serve<S>(&mut self, stream: S, door: Door, permit: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = self.router.clone();
        let first_request = CancellationToken::new();
        let begun = first_request.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            begun.cancel();
            request.extensions_mut().insert(door.clone());
            router.clone().call(request.map(Body::new))
        });
        let limits = *self.context.limits();
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(limits.header_bytes)
            .serve_connection(TokioIo::new(stream), service);
        let shutdown = self.context.shutdown().clone();
        self.connections.spawn(async move {
            let mut connection = pin!(connection);
            let ended = match shutdown.run_until_cancelled(connection.as_mut()).await {
                Some(ended) => ended,
                None => {
                    // One that was accepted a moment ago has its request on the way; closed now, it would be reset.
                    let is_asked = pin!(timeout(limits.first_request_timeout, first_request.cancelled()));
                    match select(is_asked, connection.as_mut()).await {
                        Either::Left(_) => {
                            // An idle one ends at once, a busy one after its answer.
                            connection.as_mut().graceful_shutdown();
                            connection.await
                        }
                        Either::Right((ended, _)) => ended,
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(permit);
        });
    }
}

/// The one that was to be accepted went away; the listener is well. Source: accept(2).
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | InvalidInput | NotConnected)
}
