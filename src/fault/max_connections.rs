//! `max-connections`: connections beyond a limit are turned away, as by a server or load balancer
//! whose slots are all taken. Connections that are open when it comes into force stay.
//!
//! On pusher it counts WebSockets: those beyond the limit are accepted and closed with a code, and
//! with `existing = "cut"` so are the youngest of those that are open already. Requests of the
//! HTTP API do not count.

use super::{
    Acts, Behaviour, Closing, ConnectionEvent, Context, Decision, End, FaultDef, Group, keys,
};
use crate::{
    input::{About, Fields, Key, Problems, Shape},
    protocol::{Call, Protocol},
};

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "max-connections",
    group: Group::Connection,
    summary: "connections beyond a limit are turned away",
    about: About {
        text: "\
            The dependency has so many slots and no more: connections beyond the limit are \
            turned away, as by a database whose max_connections is reached or a load balancer \
            that is full. It shows what the system does when its pools are larger, in sum, than \
            what is there.",
        evidence: "\
            Each connection that was turned away is an act; those below the limit are none.",
        doubt: "",
        mistakes: &[
            "\
                Connections that were open when it came into force stay and count: a limit below \
                what the pool holds already turns away only what is opened anew.",
            "\
                For a database's own words use `error` with its code (53300, 1040), or `overload` \
                with `connections`.",
        ],
        related: &["quota", "overload", "in-flight"],
    },
    example: "[[phase.fault]]\nkind  = \"max-connections\"\non    = \"object-store\"\nlimit = 10\nthen  = \"reset\"\n",
    example_protocol: Protocol::Tcp,
    keys: &[
        Key::required(
            "limit",
            Shape::Integer(0, 1_000_000),
            "connections that may be open at the same time",
        ),
        Key::optional(
            "then",
            Shape::OneOf(&["reset", "close", "hang"]),
            "what the others get (reset; pusher: a code)",
        ),
        Key::optional(
            "error",
            Shape::Text,
            "pusher: the code that the others get (4004)",
        ),
        keys::EXISTING,
        keys::TOLD,
    ],
    refuses: keys::CONNECTIONS_REFUSE,
    ramps: &[],
    carried_by: keys::any_protocol,
    parse: |fields, protocol, gate, problems| {
        keys::by_connection(fields, gate, problems);
        if protocol == Protocol::Pusher {
            return parse_sockets(fields, problems);
        }
        keys::cuts_existing(fields, protocol, problems);
        for key in ["error", "told"] {
            if fields.has(key) {
                let message = format!("`{key}` is of pusher, but the protocol is {protocol}");
                fields.problem(problems, key, message, None);
            }
        }
        let then = fields.word("then", problems).map(|word| word.value);
        let limit = fields.integer("limit", problems)?;
        Some(Box::new(MaxConnections {
            limit: u64::try_from(limit).ok()?,
            then: match then {
                Some("close") => End::Close(Closing::Fin),
                Some("hang") => End::Hang,
                _ => End::Close(Closing::Reset),
            },
        }))
    },
};

fn parse_sockets(fields: &Fields<'_>, problems: &mut Problems) -> Option<Box<dyn Behaviour>> {
    let existing = keys::cuts_existing(fields, Protocol::Pusher, problems);
    let then = fields.word("then", problems).map(|word| word.value);
    if then.is_some() && (fields.has("error") || existing) {
        let message = "`then` is for connections that get no code";
        fields.problem(problems, "then", message, "leave it out".to_owned());
    }
    let code = if fields.has("error") {
        keys::pusher_code(fields, problems)
    } else {
        Some(keys::code_reply(4004, fields, problems))
    };
    let limit = fields.integer("limit", problems)?;
    Some(Box::new(MaxSockets {
        limit: u64::try_from(limit).ok()?,
        then: match then {
            Some("reset") => End::Close(Closing::Reset),
            Some("close") => End::Close(Closing::Fin),
            Some("hang") => End::Hang,
            _ => End::Reply(code?),
        },
        existing,
    }))
}

/// A limit of WebSockets.
#[derive(Debug)]
struct MaxSockets {
    limit: u64,
    then: End,
    existing: bool,
}

impl Behaviour for MaxSockets {
    fn request(&self, call: &Call, _: &Context) -> Option<Decision> {
        let too_many = call.place.is_some_and(|place| place.rank > self.limit);
        too_many.then(|| Decision::end(self.then.clone()))
    }

    fn acts(&self) -> Acts {
        Acts {
            sockets: self.existing,
            ..Acts::REQUESTS
        }
    }
}

#[derive(Debug)]
struct MaxConnections {
    limit: u64,
    then: End,
}

impl Behaviour for MaxConnections {
    fn connection(&self, event: &ConnectionEvent, _: &Context) -> Option<Decision> {
        let too_many = event.open > self.limit && !event.already_open;
        too_many.then(|| Decision::end(self.then.clone()))
    }

    fn acts(&self) -> Acts {
        Acts::CONNECTIONS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::sample;
    use Protocol::{Http, S3, Tcp};

    use crate::units::Micros;

    fn end(text: &str, open: u64) -> Option<End> {
        let event = ConnectionEvent {
            open,
            ..sample::accepted(open)
        };
        sample::set(text, Http).connection(&event, Micros(0)).end
    }

    #[test]
    fn connections_up_to_the_limit_pass_and_those_beyond_do_not() {
        assert_eq!(end(DEF.example, 10), None);
        assert_eq!(end(DEF.example, 11), Some(End::Close(Closing::Reset)));
        let hang = "kind = 'max-connections'\non = 'x'\nlimit = 0\nthen = 'hang'";
        assert_eq!(end(hang, 1), Some(End::Hang));
        let close = "kind = 'max-connections'\non = 'x'\nlimit = 0\nthen = 'close'";
        assert_eq!(end(close, 1), Some(End::Close(Closing::Fin)));
    }

    #[test]
    fn what_is_open_already_stays_and_is_not_counted() {
        let set = sample::set(DEF.example, Tcp);
        let event = ConnectionEvent {
            open: 50,
            ..sample::open(1)
        };
        assert!(set.connection(&event, Micros(0)).is_pass());
        assert_eq!(set.faults()[0].hits(), 0);
    }

    #[test]
    fn on_pusher_websockets_are_counted_and_get_a_code() {
        let mut call = sample::call(Protocol::Pusher, "GET", "/app/k");
        let mut end = |keys: &str, rank: u64, already_open: bool| {
            call.place = Some(crate::protocol::Place { rank, already_open });
            let text = format!("kind = 'max-connections'\non = 'x'\nlimit = 2\n{keys}");
            sample::set(&text, Protocol::Pusher)
                .request(&call, Micros(0))
                .end
        };
        let code = |code: u16, reason: &str, in_close| {
            let reason = reason.to_owned();
            Some(End::Reply(crate::fault::Reply::Pusher {
                code,
                reason,
                in_close,
            }))
        };
        let quota = "Application is over connection quota";
        assert_eq!(end("", 2, false), None);
        assert_eq!(end("", 3, false), code(4004, quota, false));
        assert_eq!(end("told = 'close'", 3, false), code(4004, quota, true));
        assert_eq!(
            end("error = '4100'", 3, false),
            code(4100, "Over capacity", false)
        );
        assert_eq!(end("then = 'hang'", 3, false), Some(End::Hang));
        assert_eq!(end("", 3, true), None, "what is open stays");
        assert_eq!(end("existing = 'cut'", 3, true), code(4004, quota, false));
        assert_eq!(end("existing = 'cut'", 2, true), None, "the oldest stay");
        let publish = sample::call(Protocol::Pusher, "POST", "/apps/1/events");
        let set = sample::set(
            "kind = 'max-connections'\non = 'x'\nlimit = 0",
            Protocol::Pusher,
        );
        assert!(set.request(&publish, Micros(0)).is_pass());
    }

    #[test]
    fn requests_cannot_be_picked() {
        for key in ["when = { method = 'GET' }", "by = 'key'"] {
            let text = format!("{}{key}", DEF.example);
            assert!(sample::read(&text, S3).is_err(), "{key}");
        }
    }
}
