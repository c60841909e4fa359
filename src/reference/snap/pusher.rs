//! Pusher Channels, as its libraries speak it: the signed HTTP API for the server, a WebSocket for
//! a portal. Time-outs and what is done after a failure are the callers' business.
//!
//! Source: the documentation of Channels (HTTP API and protocol 7).

use crate::reference::{
    Refusal,
    web::{Endpoint, Failure, Patience, Pool},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::Full;
use hyper::{Request, StatusCode, header};
use md5::{Digest, Md5};
use ring::hmac;
use serde_json::{Value, json};
use std::{
    fmt::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

/// The longest head of an answer to a WebSocket's handshake.
const HEAD_MAX: usize = 16 * 1024;

/// How long a connection may take to be established, and to be told so.
const CONNECT: Duration = Duration::from_secs(3);

/// An application of Channels.
#[derive(Debug, Clone)]
pub struct App {
    /// Its id.
    pub id: String,
    /// Its key.
    pub key: String,
    /// Its secret.
    pub secret: String,
}

impl App {
    /// # Errors
    /// A text that is not `id:key:secret`.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let parts: Vec<&str> = text.split(':').collect();
        let [id, key, secret] = parts[..] else {
            return Err(Refusal::Usage("`--app` is id:key:secret".to_owned()));
        };
        Ok(Self {
            id: id.to_owned(),
            key: key.to_owned(),
            secret: secret.to_owned(),
        })
    }
}

/// The side that publishes.
#[derive(Debug)]
pub(super) struct Publisher {
    app: App,
    pool: Pool,
}

/// Why an event was not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotPublished {
    /// 403: the app is over its quota, or disabled. Asking again does not help.
    Forbidden,
    /// Another status.
    Refused(StatusCode),
    /// Nothing came back.
    Unreachable(Failure),
}

impl Publisher {
    pub(super) fn new(app: App, endpoint: Endpoint) -> Self {
        Self {
            app,
            pool: Pool::new(endpoint),
        }
    }

    /// Publishes an event to a channel.
    pub(super) async fn publish(
        &self,
        channel: &str,
        event: &str,
        data: &Value,
        patience: Patience,
    ) -> Result<(), NotPublished> {
        let path = format!("/apps/{}/events", self.app.id);
        let body = json!({ "name": event, "channel": channel, "data": data.to_string() });
        let body = body.to_string();
        let query = self.signed_query(&path, body.as_bytes());
        let request = Request::post(format!("{path}?{query}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| NotPublished::Unreachable(Failure::Broken))?;
        let answer = self
            .pool
            .ask(request, patience)
            .await
            .map_err(NotPublished::Unreachable)?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::FORBIDDEN => Err(NotPublished::Forbidden),
            status => Err(NotPublished::Refused(status)),
        }
    }

    /// The query with its signature: the parameters in order of their names, signed together with
    /// method and path.
    fn signed_query(&self, path: &str, body: &[u8]) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs());
        let query = format!(
            "auth_key={}&auth_timestamp={now}&auth_version=1.0&body_md5={}",
            self.app.key,
            hex(&Md5::digest(body))
        );
        let text = format!("POST\n{path}\n{query}");
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.app.secret.as_bytes());
        let signature = hex(hmac::sign(&key, text.as_bytes()).as_ref());
        format!("{query}&auth_signature={signature}")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// Pusher said so, with this code: 4000 to 4099 do not try again, 4100 to 4199 after a second or
    /// more, 4200 to 4299 at once.
    Code(u16),
    /// The network, or nobody answered.
    Network,
}

/// A portal's connection, subscribed to its channel.
#[derive(Debug)]
pub(super) struct Subscription {
    socket: WebSocketStream<TcpStream>,
}

impl Subscription {
    /// Connects and subscribes to a public channel.
    pub(super) async fn open(pusher: &Endpoint, app: &App, channel: &str) -> Result<Self, Gone> {
        let opening = async {
            let mut subscription = Self {
                socket: shake_hands(pusher, app).await.ok_or(Gone::Network)?,
            };
            subscription
                .await_event("pusher:connection_established")
                .await?;
            let subscribe = json!({
                "event": "pusher:subscribe",
                "data": { "channel": channel },
            });
            subscription.say(&subscribe).await?;
            subscription
                .await_event("pusher_internal:subscription_succeeded")
                .await?;
            Ok(subscription)
        };
        time::timeout(CONNECT, opening)
            .await
            .unwrap_or(Err(Gone::Network))
    }

    /// The data of the next event of this name.
    pub(super) async fn await_event(&mut self, name: &str) -> Result<Value, Gone> {
        loop {
            let message = match self.socket.next().await {
                Some(Ok(message)) => message,
                Some(Err(_)) | None => return Err(Gone::Network),
            };
            match message {
                Message::Text(text) => {
                    let event: Value = serde_json::from_str(&text).unwrap_or_default();
                    match event["event"].as_str().unwrap_or_default() {
                        known if known == name => return Ok(data_of(&event)),
                        "pusher:ping" => self.say(&json!({ "event": "pusher:pong" })).await?,
                        "pusher:error" => {
                            let code = data_of(&event)["code"].as_u64();
                            if let Some(code) = code.and_then(|code| u16::try_from(code).ok()) {
                                return Err(Gone::Code(code));
                            }
                        }
                        _ => {}
                    }
                }
                Message::Close(Some(frame)) => {
                    let code = u16::from(frame.code);
                    return Err(if (4000..5000).contains(&code) {
                        Gone::Code(code)
                    } else {
                        Gone::Network
                    });
                }
                Message::Close(None) => return Err(Gone::Network),
                _ => {}
            }
        }
    }

    async fn say(&mut self, event: &Value) -> Result<(), Gone> {
        let message = Message::text(event.to_string());
        self.socket.send(message).await.map_err(|_| Gone::Network)
    }
}

/// An event's data: an object, or a text that holds one.
fn data_of(event: &Value) -> Value {
    match &event["data"] {
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        other => other.clone(),
    }
}

/// The handshake of RFC 6455, section 4.1.
async fn shake_hands(pusher: &Endpoint, app: &App) -> Option<WebSocketStream<TcpStream>> {
    let mut stream = TcpStream::connect(&pusher.authority).await.ok()?;
    let _ = stream.set_nodelay(true);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let nonce = STANDARD.encode(now.as_nanos().to_be_bytes());
    let request = format!(
        "GET /app/{}?protocol=7&client=js&version=8.6.0&flash=false HTTP/1.1\r\nHost: {}\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {nonce}\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n",
        app.key, pusher.authority
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_MAX {
            return None;
        }
        head.push(stream.read_u8().await.ok()?);
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        return None;
    }
    Some(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
}
