//! `close`: the connection ends with FIN: of both directions, of the answer's alone, or late.
//!
//! It strikes single requests on http and s3, before anything is forwarded; whole connections with
//! `by = "connection"` and on tcp, where a `delay` lets the connection work until then.

use super::{
    Acts, Behaviour, Closing, ConnectionEvent, Context, Decision, Direction, End, FaultDef, Group,
    StreamShape,
    keys::{self, Level},
};
use crate::{
    input::{About, Key, Shape},
    protocol::{Call, Protocol},
};
use std::time::Duration;

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "close",
    group: Group::Connection,
    summary: "the connection ends with FIN: at once, half, or slowly",
    about: About {
        text: "\
            The connection ends with FIN, politely: both directions, the answer's alone \
            (`half`), or after a silence (`slow`). Servers do it when they are stopped or when \
            an idle time is over; clients see it as an end of the stream where they expected an \
            answer.",
        evidence: "Each request or connection that was closed is an act.",
        doubt: "",
        mistakes: &["\
                On protocols with requests it comes before anything is forwarded, so that repeating \
                the request is always safe."],
        related: &["reset", "empty-reply", "truncate"],
    },
    example: "[[phase.fault]]\nkind = \"close\"\non   = \"object-store\"\nhow  = \"half\"\n",
    example_protocol: Protocol::Tcp,
    keys: &[
        Key::optional(
            "how",
            Shape::OneOf(&["fin", "half", "slow"]),
            "fin: both directions; half: the answer's direction alone; slow: silence for `delay`, then fin (fin)",
        ),
        Key::optional("delay", Shape::Duration, "only after this time"),
    ],
    refuses: &[],
    ramps: &[],
    carried_by: keys::any_protocol,
    parse: |fields, protocol, gate, problems| {
        let how = fields.word("how", problems).map(|word| word.value);
        let delay = fields.duration("delay", problems);
        if how == Some("slow") && !fields.has("delay") {
            let hint = "write for how long it is silent: delay = \"5s\"".to_owned();
            fields.problem(problems, "how", "a slow close has no `delay`", hint);
        }
        let delay = delay.unwrap_or_default();
        let (closing, delay) = match how {
            Some("half") => (Closing::HalfClose, delay),
            Some("slow") => (Closing::SlowClose(delay), Duration::ZERO),
            _ => (Closing::Fin, delay),
        };
        Some(Box::new(Close {
            level: keys::level(protocol, gate),
            closing,
            delay,
        }))
    },
};

#[derive(Debug)]
struct Close {
    level: Level,
    closing: Closing,
    delay: Duration,
}

impl Behaviour for Close {
    fn connection(&self, _: &ConnectionEvent, _: &Context) -> Option<Decision> {
        (self.acts() == Acts::CONNECTIONS).then(|| Decision::end(End::Close(self.closing)))
    }

    fn request(&self, _: &Call, _: &Context) -> Option<Decision> {
        (self.level == Level::Request).then(|| Decision {
            delay: self.delay,
            ..Decision::end(End::Close(self.closing))
        })
    }

    fn stream(&self, _: &ConnectionEvent, _: &Context) -> Vec<(Direction, StreamShape)> {
        if self.acts() != Acts::STREAMS {
            return Vec::new();
        }
        let shape = StreamShape::CloseAfter {
            after: self.delay,
            closing: self.closing,
        };
        vec![(Direction::Down, shape)]
    }

    fn acts(&self) -> Acts {
        match self.level {
            Level::Request => Acts::REQUESTS,
            Level::Connection if self.delay.is_zero() => Acts::CONNECTIONS,
            Level::Connection => Acts::STREAMS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::sample;
    use Protocol::{Http, Tcp};

    use crate::units::Micros;

    const NOW: Micros = Micros(0);

    #[test]
    fn connections_close_in_the_three_ways() {
        for (keys, closing) in [
            ("", Closing::Fin),
            ("how = 'half'", Closing::HalfClose),
            (
                "how = 'slow'\ndelay = '3s'",
                Closing::SlowClose(Duration::from_secs(3)),
            ),
        ] {
            let set = sample::set(&format!("kind = 'close'\non = 'x'\n{keys}"), Tcp);
            let decision = set.connection(&sample::open(1), NOW);
            assert_eq!(decision.end, Some(End::Close(closing)), "{keys}");
            assert!(set.streams(&sample::open(1), NOW).effects.is_empty());
        }
    }

    #[test]
    fn a_delay_lets_the_connection_work_until_then() {
        let set = sample::set("kind = 'close'\non = 'x'\ndelay = '3s'", Tcp);
        assert!(set.connection(&sample::open(1), NOW).is_pass());
        let shape = StreamShape::CloseAfter {
            after: Duration::from_secs(3),
            closing: Closing::Fin,
        };
        assert_eq!(set.streams(&sample::open(1), NOW).effects[0].shape, shape);
    }

    #[test]
    fn requests_that_match_end_with_fin_and_others_pass() {
        let text = "kind = 'close'\non = 'x'\ndelay = '1s'\nwhen = { method = 'GET' }";
        let set = sample::set(text, Http);
        let decision = set.request(&sample::call(Http, "GET", "/"), NOW);
        assert_eq!(decision.end, Some(End::Close(Closing::Fin)));
        assert_eq!(decision.delay, Duration::from_secs(1));
        assert!(set.request(&sample::call(Http, "PUT", "/"), NOW).is_pass());
    }

    #[test]
    fn a_slow_close_needs_its_delay() {
        let problems = sample::read("kind = 'close'\non = 'x'\nhow = 'slow'", Tcp).unwrap_err();
        assert!(problems[0].contains("no `delay`"), "{problems:?}");
    }
}
