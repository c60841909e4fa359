//! The HTTP API: publishing, and questions about channels. Every request must be signed.

use super::{
    Answer, answer,
    hub::{DATA_BYTES_MAX, EVENT_BYTES_MAX, Hub, Occupancy, is_channel},
    sign::{self, Signed},
    text,
};
use http_body_util::{BodyExt, Limited};
use hyper::{Method, Request, StatusCode, body::Incoming};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The most bytes of a request's body.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// The most channels of one event.
const CHANNELS_MAX: usize = 100;

/// The most events of one batch.
const BATCH_MAX: usize = 10;

/// One event to publish.
#[derive(Debug, Deserialize)]
struct Publish {
    name: String,
    data: String,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default)]
    socket_id: Option<String>,
    #[serde(default)]
    info: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Batch {
    batch: Vec<Publish>,
}

/// Why a request is refused.
type Refusal = (StatusCode, String);

/// What a request of the HTTP API is answered.
async fn value(hub: &Hub, request: Request<Incoming>) -> Result<Value, Refusal> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|_| too_large("The body", BODY_BYTES_MAX))?;
    let body = body.to_bytes();
    let path = head.uri.path().to_owned();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let ["apps", id, asked @ ..] = parts.as_slice() else {
        return Err((StatusCode::NOT_FOUND, "Not found\n".to_owned()));
    };
    let query = sign::parameters(head.uri.query().unwrap_or_default());
    check_signature(hub, head.method.as_str(), &path, &query, &body)?;
    if *id != hub.app.id {
        let said = format!("Unknown app_id {id:?}\n");
        return Err((StatusCode::NOT_FOUND, said));
    }
    match (&head.method, asked) {
        (&Method::POST, ["events"]) => publish_one(hub, &body),
        (&Method::POST, ["batch_events"]) => publish_batch(hub, &body),
        (&Method::GET, ["channels"]) => channels(hub, &query),
        (&Method::GET, ["channels", name]) => channel(hub, &sign::decoded(name), &query),
        (&Method::GET, ["channels", name, "users"]) => users(hub, &sign::decoded(name)),
        _ => Err((StatusCode::NOT_FOUND, "Not found\n".to_owned())),
    }
}

/// Answers a request that is no WebSocket's handshake.
pub(super) async fn respond(hub: &Hub, request: Request<Incoming>) -> Answer {
    match value(hub, request).await {
        Ok(value) => answer(StatusCode::OK, "application/json", value.to_string()),
        Err((status, said)) => text(status, said),
    }
}

fn check_signature(
    hub: &Hub,
    method: &str,
    path: &str,
    query: &[(String, String)],
    body: &[u8],
) -> Result<(), Refusal> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let signed = Signed {
        method,
        path,
        query,
        body,
    };
    let checked = signed.check(&hub.app.key, &hub.app.secret, now);
    checked.map_err(|wrong| (StatusCode::UNAUTHORIZED, wrong))
}

fn bad(said: impl Into<String>) -> Refusal {
    (StatusCode::BAD_REQUEST, said.into())
}

fn too_large(what: &str, bytes_max: usize) -> Refusal {
    let said = format!("{what} exceeds the allowed maximum ({bytes_max} bytes)\n");
    (StatusCode::PAYLOAD_TOO_LARGE, said)
}

fn parsed<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|wrong| bad(format!("Invalid body: {wrong}\n")))
}

fn publish_one(hub: &Hub, body: &[u8]) -> Result<Value, Refusal> {
    let event: Publish = parsed(body)?;
    let channels = checked(&event)?;
    hand_out(hub, &event, &channels);
    Ok(match asked_of(&event.info) {
        asked if asked.is_empty() => json!({}),
        asked => json!({ "channels": described(hub, &channels, &asked) }),
    })
}

fn publish_batch(hub: &Hub, body: &[u8]) -> Result<Value, Refusal> {
    let Batch { batch } = parsed(body)?;
    if batch.len() > BATCH_MAX {
        let said = format!("Batch too large ({} > {BATCH_MAX})\n", batch.len());
        return Err(bad(said));
    }
    // Nothing is published unless all of it can be.
    let channels: Vec<Vec<&str>> = batch.iter().map(checked).collect::<Result<_, _>>()?;
    for (event, channels) in batch.iter().zip(&channels) {
        hand_out(hub, event, channels);
    }
    if batch.iter().all(|event| asked_of(&event.info).is_empty()) {
        return Ok(json!({}));
    }
    let told = batch.iter().zip(&channels).map(|(event, channels)| {
        let asked = asked_of(&event.info);
        let occupancy = channels.first().map(|channel| hub.occupancy(channel));
        occupancy.map_or_else(Map::new, |occupancy| attributes(occupancy, &asked))
    });
    Ok(json!({ "batch": told.collect::<Vec<_>>() }))
}

/// The channels of an event that may be published.
fn checked(event: &Publish) -> Result<Vec<&str>, Refusal> {
    let channels: Vec<&str> = event
        .channel
        .iter()
        .chain(&event.channels)
        .map(String::as_str)
        .collect();
    if channels.is_empty() || channels.len() > CHANNELS_MAX {
        let said = format!("An event goes to 1 to {CHANNELS_MAX} channels\n");
        return Err(bad(said));
    }
    if let Some(wrong) = channels.iter().find(|channel| !is_channel(channel)) {
        return Err(bad(format!("Invalid channel name: {wrong:?}\n")));
    }
    if event.name.is_empty() || event.name.len() > EVENT_BYTES_MAX {
        let said = format!("An event's name has 1 to {EVENT_BYTES_MAX} bytes\n");
        return Err(bad(said));
    }
    if event.data.len() > DATA_BYTES_MAX {
        return Err(too_large("The data content of this event", DATA_BYTES_MAX));
    }
    Ok(channels)
}

fn hand_out(hub: &Hub, event: &Publish, channels: &[&str]) {
    for channel in channels {
        let except = event.socket_id.as_deref();
        hub.publish(channel, &event.name, &event.data, except);
    }
}

fn asked_of(info: &Option<String>) -> Vec<&str> {
    let info = info.as_deref().unwrap_or_default();
    info.split(',').filter(|name| !name.is_empty()).collect()
}

fn described(hub: &Hub, channels: &[&str], asked: &[&str]) -> Map<String, Value> {
    channels
        .iter()
        .map(|channel| {
            let told = attributes(hub.occupancy(channel), asked);
            ((*channel).to_owned(), told.into())
        })
        .collect()
}

fn attributes(occupancy: Occupancy, asked: &[&str]) -> Map<String, Value> {
    let mut told = Map::new();
    for name in asked {
        let count = match *name {
            "user_count" => occupancy.users,
            "subscription_count" => occupancy.subscriptions,
            _ => continue,
        };
        told.insert((*name).to_owned(), count.into());
    }
    told
}

fn parameter<'a>(query: &'a [(String, String)], name: &str) -> &'a str {
    let named = query.iter().find(|(known, _)| known == name);
    named.map_or("", |(_, value)| value)
}

fn channels(hub: &Hub, query: &[(String, String)]) -> Result<Value, Refusal> {
    let prefix = parameter(query, "filter_by_prefix");
    let info = Some(parameter(query, "info").to_owned());
    let asked = asked_of(&info);
    if asked.contains(&"user_count") && !prefix.starts_with("presence-") {
        return Err(bad(
            "user_count may only be requested for presence channels - please supply \
             filter_by_prefix begining with presence-\n",
        ));
    }
    let named = hub.channels(prefix).into_iter();
    let told: Map<String, Value> = named
        .map(|(name, occupancy)| (name, attributes(occupancy, &asked).into()))
        .collect();
    Ok(json!({ "channels": told }))
}

fn channel(hub: &Hub, name: &str, query: &[(String, String)]) -> Result<Value, Refusal> {
    if !is_channel(name) {
        return Err(bad(format!("Invalid channel name: {name:?}\n")));
    }
    let info = Some(parameter(query, "info").to_owned());
    let asked = asked_of(&info);
    if asked.contains(&"user_count") && !name.starts_with("presence-") {
        let said = "Cannot retrieve the user count unless the channel is a presence channel\n";
        return Err(bad(said));
    }
    let occupancy = hub.occupancy(name);
    let mut told = attributes(occupancy, &asked);
    told.insert("occupied".to_owned(), (occupancy.subscriptions > 0).into());
    Ok(told.into())
}

fn users(hub: &Hub, name: &str) -> Result<Value, Refusal> {
    if !name.starts_with("presence-") {
        return Err(bad("Users can only be retrieved for presence channels\n"));
    }
    let users = hub.users(name).into_iter().map(|id| json!({ "id": id }));
    Ok(json!({ "users": users.collect::<Vec<_>>() }))
}
