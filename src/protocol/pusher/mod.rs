//! The Pusher Channels protocol: requests of its HTTP API and messages on its WebSockets as calls,
//! its codes with their texts and classes.
//!
//! Sources: the Channels documentation (WebSocket protocol, HTTP API), pusher-js 8.6.0 for what
//! clients make of it.

mod code;
mod message;

pub use code::{CODES, Class, CodeDef, class_of, find_code};
pub use message::{Message, error_code, error_event, goodbye, recognise_message};

/// Operations of the HTTP API and of the WebSocket, in the order listed.
///
/// `Connect` is the WebSocket's handshake up to the server's first message; `Deliver` is an event
/// of a channel on its way to a client, `Notify` any other message of the server, `Close` a close
/// frame of the server.
pub const OPERATIONS: &[&str] = &[
    "Connect",
    "Subscribe",
    "Unsubscribe",
    "ClientEvent",
    "SignIn",
    "Ping",
    "Pong",
    "Send",
    "Deliver",
    "Notify",
    "Close",
    "PublishEvent",
    "PublishBatch",
    "GetChannels",
    "GetChannel",
    "GetUsers",
    "TerminateConnections",
    "Request",
];

/// What a request of HTTP asks for, and of what: the app's key for `Connect`, the channel for
/// questions about one, else the app's id. `path` is without its query.
pub fn recognise_request(method: &str, path: &str) -> (&'static str, String) {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (method, parts.as_slice()) {
        // Clients may be told to put a path in front.
        ("GET", [.., "app", key]) => ("Connect", (*key).to_owned()),
        ("POST", ["apps", id, "events"]) => ("PublishEvent", (*id).to_owned()),
        ("POST", ["apps", id, "batch_events"]) => ("PublishBatch", (*id).to_owned()),
        ("GET", ["apps", id, "channels"]) => ("GetChannels", (*id).to_owned()),
        ("GET", ["apps", _, "channels", name]) => ("GetChannel", (*name).to_owned()),
        ("GET", ["apps", _, "channels", name, "users"]) => ("GetUsers", (*name).to_owned()),
        ("POST", ["apps", _, "users", id, "terminate_connections"]) => {
            ("TerminateConnections", (*id).to_owned())
        }
        _ => ("Request", path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_named_by_what_they_ask() {
        for (method, path, operation, key) in [
            ("GET", "/app/k1", "Connect", "k1"),
            ("GET", "/agents/7/app/k1", "Connect", "k1"),
            ("POST", "/apps/3/events", "PublishEvent", "3"),
            ("POST", "/apps/3/batch_events", "PublishBatch", "3"),
            ("GET", "/apps/3/channels", "GetChannels", "3"),
            ("GET", "/apps/3/channels/a-b", "GetChannel", "a-b"),
            (
                "GET",
                "/apps/3/channels/presence-a/users",
                "GetUsers",
                "presence-a",
            ),
            (
                "POST",
                "/apps/3/users/9/terminate_connections",
                "TerminateConnections",
                "9",
            ),
            ("POST", "/pusher/auth", "Request", "/pusher/auth"),
            ("GET", "", "Request", ""),
        ] {
            let (seen, of) = recognise_request(method, path);
            assert_eq!((seen, of.as_str()), (operation, key), "{method} {path}");
            assert!(OPERATIONS.contains(&seen));
        }
    }
}
