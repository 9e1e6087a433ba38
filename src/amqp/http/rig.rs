//! A server that says what a test wants it to say.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// One answer after the other; the last one again and again. `None` is silence.
pub(in crate::amqp) type Script = Vec<Option<String>>;

/// Says what a test wants it to say, and remembers what it was asked.
pub(in crate::amqp) struct Rig {
    /// Where it listens.
    pub(in crate::amqp) address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Rig {
    /// Begins to answer so.
    pub(in crate::amqp) async fn serving(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, script) = (Arc::clone(&heads), Arc::new(script));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                tokio::spawn(async move {
                    while let Some(head) = head(&mut stream).await {
                        let number = {
                            let mut seen = seen.lock().unwrap();
                            seen.push(head);
                            seen.len() - 1
                        };
                        match script.get(number).or(script.last()).unwrap() {
                            // Whoever gave up does not take the answer.
                            Some(answer) => drop(stream.write_all(answer.as_bytes()).await),
                            None => std::future::pending().await,
                        }
                    }
                });
            }
        });
        Self { address, heads }
    }

    /// The heads of all requests so far.
    pub(in crate::amqp) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn head(stream: &mut tokio::net::TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(bytes).unwrap())
}

/// A whole answer.
pub(in crate::amqp) fn answer(status: &str, body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}
