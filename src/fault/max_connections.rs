//! `max-connections`: connections beyond a limit are turned away, as by a server or load balancer
//! whose slots are all taken. Connections that are open when it comes into force stay.

use super::{
    Acts, Behaviour, Closing, ConnectionEvent, Context, Decision, End, FaultDef, Group, keys,
};
use crate::{
    input::{Key, Shape},
    protocol::Protocol,
};

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "max-connections",
    group: Group::Connection,
    summary: "connections beyond a limit are turned away",
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
            "what the others get (reset)",
        ),
    ],
    refuses: keys::CONNECTIONS_REFUSE,
    ramps: &[],
    carried_by: keys::any_protocol,
    parse: |fields, _, gate, problems| {
        keys::by_connection(fields, gate, problems);
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
    fn requests_cannot_be_picked() {
        for key in ["when = { method = 'GET' }", "by = 'key'"] {
            let text = format!("{}{key}", DEF.example);
            assert!(sample::read(&text, S3).is_err(), "{key}");
        }
    }
}
