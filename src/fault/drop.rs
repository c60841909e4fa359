//! `drop`: messages of a WebSocket that never arrive, while the connection goes on.
//!
//! Where the file names no operation it drops what the server delivers; requests of HTTP cannot be
//! dropped so.

use super::{Acts, Behaviour, Context, Decision, End, FaultDef, Group, Reply};
use crate::input::About;
use crate::protocol::{Call, Protocol};

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "drop",
    group: Group::Message,
    summary: "messages of a WebSocket never arrive; the connection goes on",
    about: About {
        text: "\
            Messages of a WebSocket never arrive, while the connection goes on. Nothing looks \
            broken to either side, which is why only end-to-end counting finds it. Where the \
            file names no operation it drops what the server delivers.",
        evidence: "Each message that was dropped is an act.",
        doubt: "",
        mistakes: &["\
                Requests of HTTP cannot be dropped so: use `lost-reply` or `hang` for them."],
        related: &["lost-reply", "nothing-lost", "pusher"],
    },
    example: "[[phase.fault]]\nkind  = \"drop\"\non    = \"realtime\"\nshare = \"5%\"\n",
    example_protocol: Protocol::Pusher,
    keys: &[],
    refuses: &[],
    ramps: &[],
    carried_by: |protocol| match protocol {
        Protocol::Pusher => Ok(()),
        _ => Err(
            "only messages of WebSockets can be dropped singly; `hang` answers nothing, `lost-reply` loses answers",
        ),
    },
    parse: |fields, _, gate, problems| {
        let requests = [
            "Connect",
            "Publish*",
            "Get*",
            "TerminateConnections",
            "Request",
        ];
        for operation in &gate.when.operation {
            if requests.iter().any(|kind| super::wildcard(kind, operation)) {
                let message = format!("`{operation}` is a request of HTTP, and no message");
                let hint = "`hang` leaves it without an answer".to_owned();
                fields.problem(problems, "when", message, hint);
            }
        }
        Some(Box::new(Drop {
            is_named: !gate.when.operation.is_empty(),
        }))
    },
};

#[derive(Debug)]
struct Drop {
    /// Whether the file says which messages.
    is_named: bool,
}

impl Behaviour for Drop {
    fn request(&self, call: &Call, _: &Context) -> Option<Decision> {
        let is_message = call.method.is_empty();
        let concerned = is_message && (self.is_named || *call.operation == *"Deliver");
        concerned.then(|| Decision::end(End::Reply(Reply::Nothing)))
    }

    fn acts(&self) -> Acts {
        Acts::REQUESTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fault::sample,
        protocol::{CallTracker, Recognised},
        units::Micros,
    };

    fn message(operation: &str, key: &str) -> Call {
        let recognised = Recognised {
            operation: operation.into(),
            key: key.into(),
            ..Recognised::default()
        };
        Call::statement(recognised, 1, &mut CallTracker::default())
    }

    #[test]
    fn deliveries_are_dropped_unless_the_file_says_what_else() {
        let drops = |keys: &str, call: &Call| {
            let text = format!("kind = 'drop'\non = 'x'\n{keys}");
            let set = sample::set(&text, Protocol::Pusher);
            set.request(call, Micros(0)).end == Some(End::Reply(Reply::Nothing))
        };
        assert!(drops("", &message("Deliver", "a")));
        assert!(!drops("", &message("Ping", "")));
        assert!(drops("when = { operation = 'Ping' }", &message("Ping", "")));
        assert!(drops("when = { key = 'a' }", &message("Deliver", "a")));
        assert!(!drops("when = { key = 'a' }", &message("Deliver", "b")));
        assert!(!drops("", &sample::call(Protocol::Pusher, "GET", "/app/k")));
    }

    #[test]
    fn requests_and_other_protocols_drop_nothing() {
        let text = "kind = 'drop'\non = 'x'\nwhen = { operation = 'PublishEvent' }";
        let problems = sample::read(text, Protocol::Pusher).unwrap_err();
        assert!(problems[0].contains("request of HTTP"), "{problems:?}");
        let problems = sample::read("kind = 'drop'\non = 'x'", Protocol::Http).unwrap_err();
        assert!(problems[0].contains("cannot act"), "{problems:?}");
    }
}
