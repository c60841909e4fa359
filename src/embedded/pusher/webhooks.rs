//! Webhooks: what happened on channels, told to the app's own server, signed, and told again for
//! five minutes where it does not answer with a 2xx.
//!
//! Events wait in a bounded queue. Those that come while it is full are not told: a server that
//! takes no webhooks must not hold up the channels.

use super::{App, sign};
use crate::dial;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The most events that wait.
const QUEUE_MAX: usize = 1_024;

/// The most events of one webhook.
const EVENTS_MAX: usize = 50;

/// How long the app's server may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The first pause before a webhook is told again; it doubles each time.
const PAUSE_FIRST: Duration = Duration::from_secs(1);

/// How long one webhook is told again and again; then it is given up.
const RETRIED_FOR: Duration = Duration::from_secs(300);

/// Something that happened on a channel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Event {
    name: &'static str,
    channel: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_id: Option<String>,
}

impl Event {
    fn new(name: &'static str, channel: &str) -> Self {
        Self {
            name,
            channel: channel.to_owned(),
            user_id: None,
            event: None,
            data: None,
            socket_id: None,
        }
    }

    /// The first connection subscribed.
    pub(super) fn occupied(channel: &str) -> Self {
        Self::new("channel_occupied", channel)
    }

    /// The last connection left.
    pub(super) fn vacated(channel: &str) -> Self {
        Self::new("channel_vacated", channel)
    }

    /// A user came, with the first of their connections.
    pub(super) fn member_added(channel: &str, user: &str) -> Self {
        Self {
            user_id: Some(user.to_owned()),
            ..Self::new("member_added", channel)
        }
    }

    /// A user left, with the last of their connections.
    pub(super) fn member_removed(channel: &str, user: &str) -> Self {
        Self {
            user_id: Some(user.to_owned()),
            ..Self::new("member_removed", channel)
        }
    }

    /// A client sent an event.
    pub(super) fn client_event(
        channel: &str,
        event: &str,
        data: &Value,
        socket: &str,
        user: Option<&str>,
    ) -> Self {
        let data = match data {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Self {
            user_id: user.map(str::to_owned),
            event: Some(event.to_owned()),
            data: Some(data),
            socket_id: Some(socket.to_owned()),
            ..Self::new("client_event", channel)
        }
    }
}

/// Where events go that shall be told; nowhere where the app wants none.
#[derive(Debug, Default)]
pub(super) struct Webhooks(Option<mpsc::Sender<Event>>);

impl Webhooks {
    /// Tells an event, unless too many wait already.
    pub(super) fn send(&self, event: Event) {
        if let Some(queue) = &self.0 {
            let _ = queue.try_send(event);
        }
    }
}

/// Starts the sender, where the app wants webhooks.
pub(super) fn start(app: &App, tasks: &TaskTracker, stop: &CancellationToken) -> Webhooks {
    let Some(uri) = app.webhook.as_ref().and_then(|url| url.parse::<Uri>().ok()) else {
        return Webhooks::default();
    };
    let (queue, events) = mpsc::channel(QUEUE_MAX);
    let (app, stop) = (app.clone(), stop.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tell_all(&app, &uri, events) => {}
        }
    });
    Webhooks(Some(queue))
}

async fn tell_all(app: &App, uri: &Uri, mut events: mpsc::Receiver<Event>) {
    let mut waiting = Vec::new();
    while events.recv_many(&mut waiting, EVENTS_MAX).await > 0 {
        tell(app, uri, &waiting).await;
        waiting.clear();
    }
}

/// Tells until it was heard, or for five minutes.
async fn tell(app: &App, uri: &Uri, events: &[Event]) {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let time_ms = since.map_or(0, |since| since.as_millis() as u64);
    let body: Bytes = json!({ "time_ms": time_ms, "events": events })
        .to_string()
        .into();
    let give_up = Instant::now() + RETRIED_FOR;
    let mut pause = PAUSE_FIRST;
    loop {
        let heard = timeout(ANSWER_WITHIN, post(app, uri, &body)).await;
        if matches!(heard, Ok(Ok(true))) || Instant::now() + pause > give_up {
            return;
        }
        sleep(pause).await;
        pause *= 2;
    }
}

/// Whether the app's server answered with a 2xx.
async fn post(app: &App, uri: &Uri, body: &Bytes) -> Result<bool, super::super::server::BoxError> {
    let host = uri.host().unwrap_or("127.0.0.1");
    let port = uri.port_u16().unwrap_or(80);
    let stream = dial::connect((host, port)).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header("host", format!("{host}:{port}"))
        .header("content-type", "application/json")
        .header("x-pusher-key", &app.key)
        .header("x-pusher-signature", sign::signature(&app.secret, body))
        .body(Full::new(body.clone()))?;
    let asking = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        // The answer's body says nothing; it is read so that the server can finish.
        let _ = response.into_body().collect().await;
        Ok(status.is_success())
    };
    // The connection ends when the sender is dropped; what it ended with, the answer tells.
    let (answered, _) = tokio::join!(asking, connection);
    answered
}
