//! One client's WebSocket, from its first message to its close.

use super::{
    hub::{DATA_BYTES_MAX, EVENT_BYTES_MAX, Hub},
    message::{self, Member, Received},
    sign,
};
use futures_util::{SinkExt, StreamExt};
use hyper::Uri;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

/// The most bytes of one message of a client.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// How long a client may take to answer a ping; then it is closed with 4201.
const PONG_WITHIN: Duration = Duration::from_secs(30);

/// How long a client may take to take a message; then it is let go.
const WRITE_WITHIN: Duration = Duration::from_secs(30);

/// How long a client may take to answer a close.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Client events of one connection a second; further ones are refused with 4301.
const CLIENT_EVENTS_PER_SECOND_MAX: u32 = 10;

/// The versions of the protocol that are spoken.
const VERSIONS: std::ops::RangeInclusive<u32> = 5..=7;

/// From this version on, a code is told by the close frame alone.
const CODE_IN_CLOSE: u32 = 6;

/// What a client asks for with its handshake.
#[derive(Debug)]
pub(super) struct Asked {
    /// The app's key; `None` on a path of something else.
    key: Option<String>,
    version: Option<String>,
}

impl Asked {
    pub(super) fn of(uri: &Uri) -> Self {
        let query = sign::parameters(uri.query().unwrap_or_default());
        let version = query.into_iter().find(|(name, _)| name == "protocol");
        // Clients may be told to put a path in front.
        let key = match uri.path().rsplit_once('/') {
            Some((before, key)) if before.ends_with("/app") => Some(sign::decoded(key)),
            _ => None,
        };
        Self {
            key,
            version: version.map(|(_, value)| value),
        }
    }

    /// The version that is spoken, or the code that refuses the connection with the version in
    /// which to say so.
    fn check(&self, app_key: &str) -> Result<u32, (u16, u32)> {
        let newest = *VERSIONS.end();
        let Some(version) = &self.version else {
            return Err((4008, newest));
        };
        let Ok(version) = version.parse() else {
            return Err((4006, newest));
        };
        if !VERSIONS.contains(&version) {
            return Err((4007, version));
        }
        match self.key.as_deref() {
            None => Err((4005, version)),
            Some(key) if key != app_key => Err((4001, version)),
            Some(_) => Ok(version),
        }
    }
}

/// Why a session ends.
enum End {
    /// The client has gone.
    Gone,
    /// It is closed with this code.
    Code(u16, &'static str),
}

struct Session<'a, S> {
    stream: WebSocketStream<S>,
    hub: &'a Hub,
    socket: String,
    version: u32,
    /// Client events in the second that began then.
    events: (Instant, u32),
}

/// Serves one client until its connection is over.
pub(super) async fn serve<S>(stream: S, asked: &Asked, hub: &Hub)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let stream = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let (joined, version) = match asked.check(&hub.app.key) {
        Ok(version) => (hub.join().ok_or(4100), version),
        Err((code, version)) => (Err(code), version),
    };
    let (socket, queue) = match joined {
        Ok((socket, queue)) => (socket, Some(queue)),
        Err(code) => return refuse(stream, code, version).await,
    };
    // However the session ends, dropped half-way included.
    let _leaving = Leaving {
        hub,
        socket: socket.clone(),
    };
    let mut session = Session {
        stream,
        hub,
        socket,
        version,
        events: (Instant::now(), 0),
    };
    let end = match queue {
        Some(queue) => session.run(queue).await,
        None => End::Gone,
    };
    if let End::Code(code, reason) = end {
        close(&mut session.stream, code, reason, session.version).await;
    }
}

struct Leaving<'a> {
    hub: &'a Hub,
    socket: String,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.hub.leave(&self.socket);
    }
}

async fn refuse<S>(mut stream: WebSocketStream<S>, code: u16, version: u32)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let text = crate::protocol::pusher::find_code(code).map_or("", |def| def.text);
    close(&mut stream, code, text, version).await;
}

/// Closes a connection with a code, as the client's version wants to be told.
async fn close<S>(stream: &mut WebSocketStream<S>, code: u16, reason: &'static str, version: u32)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let closing = async {
        if version < CODE_IN_CLOSE {
            let said = message::error(code, reason);
            let _ = stream.send(Message::text(said)).await;
        }
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: reason.into(),
        };
        let _ = stream.close(Some(frame)).await;
        // What the client still says is read until it answers the close or has gone.
        while let Some(Ok(_)) = stream.next().await {}
    };
    // A client that does not answer is left.
    let _ = timeout(CLOSE_WITHIN, closing).await;
}

impl<S> Session<'_, S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    async fn run(&mut self, mut queue: mpsc::Receiver<Arc<str>>) -> End {
        let quiet_max = self.hub.app.activity_timeout;
        let first = message::established(&self.socket, quiet_max.as_secs().max(1));
        if let Err(end) = self.say(first).await {
            return end;
        }
        let mut deadline = Instant::now() + quiet_max;
        let mut is_pinged = false;
        loop {
            tokio::select! {
                received = self.stream.next() => {
                    let text = match received {
                        Some(Ok(Message::Text(text))) => text,
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return End::Gone,
                        // Pings are answered by the codec; bytes mean nothing here.
                        Some(Ok(_)) => continue,
                    };
                    deadline = Instant::now() + quiet_max;
                    is_pinged = false;
                    if let Err(end) = self.received(&text).await {
                        return end;
                    }
                }
                outgoing = queue.recv() => match outgoing {
                    Some(text) => {
                        if let Err(end) = self.say(text.to_string()).await {
                            return end;
                        }
                    }
                    None => return End::Code(4100, "Over capacity"),
                },
                () = sleep_until(deadline) => {
                    if is_pinged {
                        return End::Code(4201, "Pong reply not received");
                    }
                    is_pinged = true;
                    deadline = Instant::now() + PONG_WITHIN;
                    if let Err(end) = self.say(message::bare("pusher:ping")).await {
                        return end;
                    }
                }
            }
        }
    }

    async fn say(&mut self, text: String) -> Result<(), End> {
        let sending = self.stream.send(Message::text(text));
        match timeout(WRITE_WITHIN, sending).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(End::Gone),
        }
    }

    async fn received(&mut self, text: &str) -> Result<(), End> {
        let Ok(received) = serde_json::from_str::<Received>(text) else {
            return self.say(message::error(4200, "Invalid JSON")).await;
        };
        let said = match received.event.as_str() {
            "pusher:ping" => Some(message::bare("pusher:pong")),
            "pusher:pong" => None,
            "pusher:subscribe" => self.subscribe(&received),
            "pusher:unsubscribe" => {
                if let Some(subscription) = received.subscription() {
                    self.hub.unsubscribe(&self.socket, &subscription.channel);
                }
                None
            }
            event if event.starts_with("client-") => self.client_event(&received),
            event => Some(message::error(
                4200,
                &format!("Event {event:.200} is not known to this server"),
            )),
        };
        match said {
            Some(said) => self.say(said).await,
            None => Ok(()),
        }
    }

    /// Subscribes, or says why not.
    fn subscribe(&self, received: &Received) -> Option<String> {
        let Some(asked) = received.subscription() else {
            return Some(message::error(4009, "Invalid subscription"));
        };
        let (channel, data) = (asked.channel.as_str(), asked.channel_data.as_deref());
        let is_presence = channel.starts_with("presence-");
        if is_presence || channel.starts_with("private-") {
            let signed = match data {
                Some(data) if is_presence => format!("{}:{channel}:{data}", self.socket),
                _ => format!("{}:{channel}", self.socket),
            };
            if let Some(wrong) = self.unauthorised(&signed, asked.auth.as_deref()) {
                return Some(message::error(4009, &wrong));
            }
        }
        let member = match data.map(Member::read) {
            _ if !is_presence => None,
            Some(Some(member)) => Some(member),
            _ => {
                let wrong = "channel_data must be included when subscribing to presence channels, \
                             with a user_id";
                return Some(message::error(4009, wrong));
            }
        };
        let joined = self.hub.subscribe(&self.socket, channel, member);
        joined.err().map(|wrong| message::error(4009, &wrong))
    }

    fn unauthorised(&self, signed: &str, auth: Option<&str>) -> Option<String> {
        let given = auth.and_then(|auth| auth.split_once(':'));
        let Some((key, signature)) = given else {
            return Some("Auth value is missing, or not of the form key:signature".to_owned());
        };
        let app = &self.hub.app;
        let fits = key == app.key && sign::is_signed(&app.secret, signed.as_bytes(), signature);
        (!fits)
            .then(|| format!("Invalid signature: Expected HMAC SHA256 hex digest of {signed:.400}"))
    }

    /// Passes a client event on, or says why not.
    fn client_event(&mut self, received: &Received) -> Option<String> {
        let refused = |why: &str| Some(message::error(4301, why));
        let Some(channel) = received.channel.as_deref() else {
            return refused("Client event rejected - it names no channel");
        };
        if !channel.starts_with("private-") && !channel.starts_with("presence-") {
            return refused(
                "Client event rejected - only supported on private and presence channels",
            );
        }
        let is_large = received.event.len() > EVENT_BYTES_MAX
            || received.data.to_string().len() > DATA_BYTES_MAX;
        if is_large {
            return refused("Client event rejected - it is too large");
        }
        let now = Instant::now();
        if now.duration_since(self.events.0) >= Duration::from_secs(1) {
            self.events = (now, 0);
        }
        self.events.1 += 1;
        if self.events.1 > CLIENT_EVENTS_PER_SECOND_MAX {
            return refused("Client event rejected due to rate limit");
        }
        let passed = self
            .hub
            .client_event(&self.socket, channel, &received.event, &received.data);
        passed.err().map(|wrong| message::error(4009, &wrong))
    }
}
