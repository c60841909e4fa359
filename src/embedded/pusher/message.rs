//! Messages on a WebSocket, as text.

use serde::Deserialize;
use serde_json::{Value, json};

/// A client's message.
#[derive(Debug, Deserialize)]
pub(super) struct Received {
    /// The event.
    pub(super) event: String,
    /// Its data: anything, or a text that is JSON.
    #[serde(default)]
    pub(super) data: Value,
    /// The channel of a client event.
    #[serde(default)]
    pub(super) channel: Option<String>,
}

/// What `pusher:subscribe` and `pusher:unsubscribe` carry.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Subscription {
    /// The channel.
    pub(super) channel: String,
    /// `key:signature`, for private and presence channels.
    #[serde(default)]
    pub(super) auth: Option<String>,
    /// Who joins, as JSON, for presence channels.
    #[serde(default)]
    pub(super) channel_data: Option<String>,
}

impl Received {
    /// Its data as a subscription; old clients send it as a text.
    pub(super) fn subscription(&self) -> Option<Subscription> {
        match &self.data {
            Value::String(text) => serde_json::from_str(text).ok(),
            other => Subscription::deserialize(other).ok(),
        }
    }
}

/// Who is on a presence channel, as the app vouches for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    /// The user's id.
    pub(super) id: String,
    /// What else the app says of them.
    pub(super) info: Value,
}

impl Member {
    /// Reads `channel_data`. A user's id may be a number.
    pub(super) fn read(channel_data: &str) -> Option<Self> {
        let data: Value = serde_json::from_str(channel_data).ok()?;
        let id = match data.get("user_id")? {
            Value::String(id) => id.clone(),
            Value::Number(id) => id.to_string(),
            _ => return None,
        };
        Some(Self {
            id,
            info: data.get("user_info").cloned().unwrap_or(Value::Null),
        })
    }
}

/// The server's first message.
pub(super) fn established(socket: &str, activity_timeout: u64) -> String {
    let data = json!({ "socket_id": socket, "activity_timeout": activity_timeout });
    json!({ "event": "pusher:connection_established", "data": data.to_string() }).to_string()
}

/// An error, on a connection that stays or on one of an old protocol that is closed.
pub(super) fn error(code: u16, message: &str) -> String {
    json!({ "event": "pusher:error", "data": { "code": code, "message": message } }).to_string()
}

/// An event of a channel. `data` is a text already, except in client events.
pub(super) fn event(name: &str, channel: &str, data: &Value, user: Option<&str>) -> String {
    let mut message = json!({ "event": name, "channel": channel, "data": data });
    if let Some(user) = user {
        message["user_id"] = user.into();
    }
    message.to_string()
}

/// What the server itself says about a channel; its data is JSON in a text.
pub(super) fn internal(name: &str, channel: &str, data: &Value) -> String {
    let name = format!("pusher_internal:{name}");
    event(&name, channel, &data.to_string().into(), None)
}

/// A message of the protocol that says nothing more.
pub(super) fn bare(name: &str) -> String {
    json!({ "event": name, "data": "{}" }).to_string()
}
