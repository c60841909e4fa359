//! `reset`: the connection ends with RST, at once, after some bytes of the answer, or after a time.
//!
//! On http and s3 it strikes single requests: at once means before anything is forwarded, and
//! `after_bytes` counts the answer's body. With `by = "connection"`, and on tcp, it strikes whole
//! connections, those that were open before and idle ones too; `after_bytes` and `delay` then count
//! from the moment it came into force for the connection, which works until then.

use super::{
    Acts, Behaviour, Closing, ConnectionEvent, Context, Decision, Direction, End, FaultDef, Group,
    StreamShape, Then,
    keys::{self, Level},
};
use crate::{
    input::{About, Key, Shape},
    protocol::{Call, Protocol},
};
use std::time::Duration;

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "reset",
    group: Group::Connection,
    summary: "the connection ends with RST: now, after some bytes or after a time",
    about: About {
        text: "\
            The connection ends with RST: now, after some bytes of the answer, or after a time. \
            Firewalls, load balancers and crashing processes do it. A client must treat a \
            request that was under way as one of which nobody knows whether it was carried out.",
        evidence: "Each request or connection that was reset is an act.",
        doubt: "",
        mistakes: &["\
                On protocols with requests it strikes single requests before anything is forwarded; \
                `by = \"connection\"` strikes idle pooled connections too, which is what shows whether \
                a pool validates them."],
        related: &["close", "truncate", "refuse"],
    },
    example: "[[phase.fault]]\nkind  = \"reset\"\non    = \"object-store\"\nshare = \"10%\"\n",
    example_protocol: Protocol::Tcp,
    keys: &[
        Key::optional(
            "after_bytes",
            Shape::Bytes,
            "only once this much of the answers has passed",
        ),
        Key::optional("delay", Shape::Duration, "only after this time"),
    ],
    refuses: &[],
    ramps: &[],
    carried_by: keys::any_protocol,
    parse: |fields, protocol, gate, problems| {
        let after_bytes = fields.bytes("after_bytes", problems);
        let delay = fields.duration("delay", problems);
        if after_bytes.is_some() && delay.is_some() {
            let message = "`reset` comes after bytes or after a time, not both";
            fields.problem(problems, "delay", message, "keep one of the two".to_owned());
        }
        let cut = match (after_bytes, delay) {
            (Some(bytes), _) => Cut::AfterBytes(bytes.0),
            (None, Some(delay)) => Cut::After(delay),
            (None, None) => Cut::Now,
        };
        Some(Box::new(Reset {
            level: keys::level(protocol, gate),
            cut,
        }))
    },
};

#[derive(Debug, Clone, Copy)]
enum Cut {
    Now,
    AfterBytes(u64),
    After(Duration),
}

#[derive(Debug)]
struct Reset {
    level: Level,
    cut: Cut,
}

impl Behaviour for Reset {
    fn connection(&self, _: &ConnectionEvent, _: &Context) -> Option<Decision> {
        (self.acts() == Acts::CONNECTIONS).then(|| Decision::end(End::Close(Closing::Reset)))
    }

    fn request(&self, _: &Call, _: &Context) -> Option<Decision> {
        let end = match self.cut {
            Cut::Now => End::Close(Closing::Reset),
            Cut::After(delay) => End::Close(Closing::ResetAfter(delay)),
            Cut::AfterBytes(after) => End::Forward(Then::TruncateBody {
                after,
                closing: Closing::Reset,
            }),
        };
        (self.level == Level::Request).then(|| Decision::end(end))
    }

    fn stream(&self, _: &ConnectionEvent, _: &Context) -> Vec<(Direction, StreamShape)> {
        let closing = Closing::Reset;
        let shape = match (self.level, self.cut) {
            (Level::Connection, Cut::AfterBytes(after)) => StreamShape::Truncate { after, closing },
            (Level::Connection, Cut::After(after)) => StreamShape::CloseAfter { after, closing },
            _ => return Vec::new(),
        };
        vec![(Direction::Down, shape)]
    }

    fn acts(&self) -> Acts {
        match (self.level, self.cut) {
            (Level::Request, _) => Acts::REQUESTS,
            (Level::Connection, Cut::Now) => Acts::CONNECTIONS,
            (Level::Connection, _) => Acts::STREAMS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::sample;
    use Protocol::{Http, S3, Tcp};

    use crate::units::Micros;

    const NOW: Micros = Micros(0);

    #[test]
    fn on_tcp_new_and_open_connections_are_reset() {
        let set = sample::set("kind = 'reset'\non = 'x'", Tcp);
        for event in [sample::accepted(1), sample::open(2)] {
            let decision = set.connection(&event, NOW);
            assert_eq!(decision.end, Some(End::Close(Closing::Reset)));
            assert!(set.streams(&event, NOW).effects.is_empty());
        }
    }

    #[test]
    fn after_bytes_or_a_time_the_connection_works_until_then() {
        for (key, shape) in [
            (
                "after_bytes = '3B'",
                StreamShape::Truncate {
                    after: 3,
                    closing: Closing::Reset,
                },
            ),
            (
                "delay = '2s'",
                StreamShape::CloseAfter {
                    after: Duration::from_secs(2),
                    closing: Closing::Reset,
                },
            ),
        ] {
            let set = sample::set(&format!("kind = 'reset'\non = 'x'\n{key}"), Tcp);
            assert!(set.connection(&sample::accepted(1), NOW).is_pass());
            let plan = set.streams(&sample::accepted(1), NOW);
            assert_eq!(plan.effects[0].shape, shape);
            assert_eq!(set.faults()[0].hits(), 0, "nothing was reset yet");
        }
    }

    #[test]
    fn on_s3_single_requests_are_reset_before_they_are_forwarded() {
        let ends = |key: &str| {
            let set = sample::set(&format!("kind = 'reset'\non = 'x'\n{key}"), S3);
            assert!(set.connection(&sample::accepted(1), NOW).is_pass());
            set.request(&sample::call(S3, "GET", "/a/b"), NOW).end
        };
        assert_eq!(ends(""), Some(End::Close(Closing::Reset)));
        let after = Closing::ResetAfter(Duration::from_secs(2));
        assert_eq!(ends("delay = '2s'"), Some(End::Close(after)));
        let truncated = Then::TruncateBody {
            after: 3,
            closing: Closing::Reset,
        };
        assert_eq!(ends("after_bytes = '3B'"), Some(End::Forward(truncated)));
        assert_eq!(ends("when = { operation = 'PutObject' }"), None);
    }

    #[test]
    fn bytes_and_time_together_are_a_problem() {
        let text = "kind = 'reset'\non = 'x'\nafter_bytes = '3B'\ndelay = '2s'";
        assert_eq!(sample::read(text, Http).unwrap_err().len(), 1);
    }
}
