//! Messages on a WebSocket of Channels, as far as faults and observations need to know them.

use crate::{
    fault::Direction,
    protocol::{
        Recognised,
        websocket::{Opcode, server_close, server_frame},
    },
};
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;

/// A message as both sides write them. What else it holds is nobody's business here.
#[derive(Debug, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    channel: Option<Cow<'a, str>>,
}

/// The part of a subscription that names its channel.
#[derive(Debug, Deserialize)]
struct WithData {
    #[serde(default)]
    data: Value,
}

/// A message as a call: a client's by what it asks, with its channel as the key; a server's as
/// `Deliver` where it is an event of a channel, else as `Notify`. The text is the event's name.
/// What is no message of Channels is `Send` or `Notify` without a key.
pub fn recognise_message(direction: Direction, message: &[u8]) -> Recognised {
    let unknown = match direction {
        Direction::Up => "Send",
        Direction::Down => "Notify",
    };
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(message) else {
        return Recognised {
            operation: unknown.into(),
            ..Recognised::default()
        };
    };
    let event = envelope.event.as_ref();
    let channel = envelope.channel.as_deref();
    let is_internal = event.starts_with("pusher:") || event.starts_with("pusher_internal:");
    let operation = match (direction, event) {
        (Direction::Down, _) if channel.is_some() && !is_internal => "Deliver",
        (Direction::Down, _) => unknown,
        (Direction::Up, "pusher:subscribe") => "Subscribe",
        (Direction::Up, "pusher:unsubscribe") => "Unsubscribe",
        (Direction::Up, "pusher:signin") => "SignIn",
        (Direction::Up, "pusher:ping") => "Ping",
        (Direction::Up, "pusher:pong") => "Pong",
        (Direction::Up, event) if event.starts_with("client-") => "ClientEvent",
        (Direction::Up, _) => unknown,
    };
    let key = match channel {
        Some(channel) => channel.to_owned(),
        None if matches!(operation, "Subscribe" | "Unsubscribe") => {
            channel_of(message).unwrap_or_default()
        }
        None => String::new(),
    };
    Recognised {
        operation: operation.into(),
        key: key.into(),
        table: "".into(),
        text: event.into(),
    }
}

/// The channel in a message's data, which old clients send as a text.
fn channel_of(message: &[u8]) -> Option<String> {
    let mut data = serde_json::from_slice::<WithData>(message).ok()?.data;
    if let Value::String(text) = &data {
        data = serde_json::from_str(text).ok()?;
    }
    Some(data.get("channel")?.as_str()?.to_owned())
}

/// The longest captured value, in bytes; a longer one is cut where a letter ends.
const CAPTURED_BYTES_MAX: usize = 1_024;

/// A message, or the body of a request that publishes one, from which values are taken.
#[derive(Debug)]
pub struct Message(Value);

impl Message {
    /// Reads it; `None` where it is not JSON.
    pub fn read(message: &[u8]) -> Option<Self> {
        serde_json::from_slice(message).ok().map(Self)
    }

    /// What a JSON pointer leads to, as text: a string without its quotes. An event's data is
    /// itself JSON in a string: on its way a pointer leads into such a string.
    pub fn at(&self, pointer: &str) -> Option<String> {
        let mut value = Cow::Borrowed(&self.0);
        for step in pointer.strip_prefix('/')?.split('/') {
            if let Value::String(text) = &*value {
                value = Cow::Owned(serde_json::from_str(text).ok()?);
            }
            let pointer = format!("/{step}");
            value = match value {
                Cow::Borrowed(value) => Cow::Borrowed(value.pointer(&pointer)?),
                Cow::Owned(mut value) => Cow::Owned(value.pointer_mut(&pointer)?.take()),
            };
        }
        let mut text = match value.into_owned() {
            Value::String(text) => text,
            other => other.to_string(),
        };
        text.truncate(text.floor_char_boundary(CAPTURED_BYTES_MAX));
        Some(text)
    }
}

/// The code in a `pusher:error`; `None` for every other message, and for errors without one.
pub fn error_code(message: &[u8]) -> Option<u16> {
    let envelope: Envelope<'_> = serde_json::from_slice(message).ok()?;
    if envelope.event != "pusher:error" {
        return None;
    }
    let mut data = serde_json::from_slice::<WithData>(message).ok()?.data;
    if let Value::String(text) = &data {
        data = serde_json::from_str(text).ok()?;
    }
    u16::try_from(data.get("code")?.as_u64()?).ok()
}

/// The frames that end a WebSocket with a code: an error message, unless the close frame alone is to
/// tell it, and the close frame.
pub fn goodbye(code: u16, reason: &str, in_close: bool) -> Bytes {
    let mut frames = BytesMut::new();
    if !in_close {
        let event = error_event(code, reason);
        frames.extend_from_slice(&server_frame(Opcode::Text, event.as_bytes()));
    }
    frames.extend_from_slice(&server_close(code, reason));
    frames.freeze()
}

/// The error that stands on the connection itself, byte for byte as the server writes it.
pub fn error_event(code: u16, message: &str) -> String {
    let message = json!(message);
    format!(r#"{{"event":"pusher:error","data":{{"code":{code},"message":{message}}}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Down, Up};
    use proptest::prelude::*;

    #[test]
    fn messages_are_named_by_what_they_ask_and_of_what() {
        for (direction, message, operation, key) in [
            (
                Up,
                r#"{"event":"pusher:subscribe","data":{"channel":"a"}}"#,
                "Subscribe",
                "a",
            ),
            (
                Up,
                r#"{"event":"pusher:subscribe","data":"{\"channel\":\"a\"}"}"#,
                "Subscribe",
                "a",
            ),
            (
                Up,
                r#"{"event":"pusher:unsubscribe","data":{"channel":"b"}}"#,
                "Unsubscribe",
                "b",
            ),
            (Up, r#"{"event":"pusher:ping","data":{}}"#, "Ping", ""),
            (Up, r#"{"event":"pusher:pong"}"#, "Pong", ""),
            (Up, r#"{"event":"pusher:signin"}"#, "SignIn", ""),
            (
                Up,
                r#"{"event":"client-hi","channel":"private-a","data":1}"#,
                "ClientEvent",
                "private-a",
            ),
            (Up, r#"{"event":"other"}"#, "Send", ""),
            (Up, "no JSON", "Send", ""),
            (Up, r#"["event"]"#, "Send", ""),
            (
                Down,
                r#"{"event":"news","channel":"a","data":"{}"}"#,
                "Deliver",
                "a",
            ),
            (
                Down,
                r#"{"event":"client-hi","channel":"private-a"}"#,
                "Deliver",
                "private-a",
            ),
            (
                Down,
                r#"{"event":"pusher_internal:subscription_succeeded","channel":"a"}"#,
                "Notify",
                "a",
            ),
            (Down, r#"{"event":"pusher:pong"}"#, "Notify", ""),
            (Down, "\u{0}", "Notify", ""),
        ] {
            let seen = recognise_message(direction, message.as_bytes());
            assert_eq!(
                (&*seen.operation, &*seen.key),
                (operation, key),
                "{message}"
            );
            assert!(super::super::OPERATIONS.contains(&operation));
        }
    }

    #[test]
    fn an_error_is_written_as_the_server_does_and_its_code_is_read_back() {
        let event = error_event(4004, "Application is over connection quota");
        assert_eq!(
            event,
            r#"{"event":"pusher:error","data":{"code":4004,"message":"Application is over connection quota"}}"#
        );
        assert_eq!(error_code(event.as_bytes()), Some(4004));
        let as_text = r#"{"event":"pusher:error","data":"{\"code\":4100}"}"#;
        assert_eq!(error_code(as_text.as_bytes()), Some(4100));
        for other in [
            r#"{"event":"pusher:error","data":{"code":null}}"#,
            r#"{"event":"pusher:error"}"#,
            r#"{"event":"x","data":{"code":4004}}"#,
            r#"{"event":"pusher:error","data":{"code":99999}}"#,
        ] {
            assert_eq!(error_code(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn values_are_found_in_data_that_is_an_object_or_a_text_of_one() {
        let at = |message: &str, pointer: &str| Message::read(message.as_bytes())?.at(pointer);
        let text = r#"{"event":"m","channel":"c","data":"{\"id\":\"m-1\",\"n\":[7,\"{\\\"x\\\":true}\"]}"}"#;
        for (pointer, found) in [
            ("/data/id", Some("m-1")),
            ("/data/n/0", Some("7")),
            ("/data/n/1/x", Some("true")),
            ("/event", Some("m")),
            ("/data/none", None),
            ("/event/x", None),
            ("data", None),
        ] {
            assert_eq!(at(text, pointer).as_deref(), found, "{pointer}");
        }
        let object = r#"{"event":"m","data":{"a/b":{"id":1.5}}}"#;
        assert_eq!(at(object, "/data/a~1b/id").as_deref(), Some("1.5"));
        assert_eq!(at("no JSON", "/data"), None);
        let long = json!({ "data": "ü".repeat(2_000) }).to_string();
        assert_eq!(at(&long, "/data").map(|text| text.len()), Some(1_024));
    }

    proptest! {
        #[test]
        fn any_bytes_are_some_message(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let up = recognise_message(Up, &bytes);
            prop_assert!(super::super::OPERATIONS.contains(&&*up.operation));
            prop_assert_eq!(error_code(&bytes), None);
        }
    }
}
