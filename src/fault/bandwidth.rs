//! `bandwidth`: at most so many bytes a second, each direction and connection for itself.

use super::{
    Acts, Behaviour, ConnectionEvent, Context, Direction, FaultDef, Gate, Group, StreamShape, keys,
};
use crate::{
    input::{About, Fields, Key, Problems, Shape},
    protocol::Protocol,
    units::Bandwidth as Rate,
};

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "bandwidth",
    group: Group::Stream,
    summary: "at most so many bytes a second on each connection",
    about: About {
        text: "\
            A narrow line: at most so many bytes a second, for each connection and direction. \
            Large answers crawl and small ones hardly notice, so that a time-out for the whole \
            body is what is tested.",
        evidence: "Each connection that was made slower is an act.",
        doubt: "",
        mistakes: &["\
                It is for each connection: a client with ten of them has ten times as much."],
        related: &["latency", "slice", "stalled-body"],
    },
    example: "[[phase.fault]]\nkind = \"bandwidth\"\non   = \"object-store\"\nrate = \"64KiB/s\"\n",
    example_protocol: Protocol::Tcp,
    keys: &[
        Key::optional("rate", Shape::Bandwidth, "the most bytes a second"),
        keys::DIRECTION,
    ],
    refuses: keys::BYTES_REFUSE,
    ramps: &["rate"],
    carried_by: keys::any_protocol,
    parse: |fields, _, gate, problems| {
        keys::by_connection(fields, gate, problems);
        let both = &[Direction::Up, Direction::Down];
        let directions = keys::directions(fields, both, problems);
        let rate = rate(fields, gate, problems)?;
        Some(Box::new(Bandwidth { rate, directions }))
    },
};

fn rate(fields: &Fields<'_>, gate: &Gate, problems: &mut Problems) -> Option<(Rate, Rate)> {
    match (fields.has("rate"), gate.ramp.rate) {
        (true, Some(_)) => {
            let message = "`rate` is given twice: as a value and as a ramp";
            fields.problem(problems, "rate", message, "keep one of the two".to_owned());
            None
        }
        (false, None) => {
            let message = format!("{} has no `rate`", fields.name());
            let hint = "write `rate = \"64KiB/s\"`".to_owned();
            problems.error(fields.source, fields.span.clone(), message, hint);
            None
        }
        (_, Some(ramp)) => Some(ramp),
        (true, None) => {
            let rate = fields.bandwidth("rate", problems)?;
            Some((rate, rate))
        }
    }
}

#[derive(Debug)]
struct Bandwidth {
    /// From and to; the same where nothing is ramped.
    rate: (Rate, Rate),
    directions: &'static [Direction],
}

impl Behaviour for Bandwidth {
    fn stream(&self, _: &ConnectionEvent, context: &Context) -> Vec<(Direction, StreamShape)> {
        let (from, to) = self.rate;
        let (from, to) = (from.bytes_per_second() as f64, to.bytes_per_second() as f64);
        let bytes = from + (to - from) * context.progress;
        let Some(rate) = Rate::per_second(bytes as u64) else {
            return Vec::new();
        };
        self.directions
            .iter()
            .map(|direction| (*direction, StreamShape::Bandwidth(rate)))
            .collect()
    }

    fn acts(&self) -> Acts {
        Acts::STREAMS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::sample;
    use Protocol::{Http, S3};

    use crate::units::Micros;

    fn rates(keys: &str, at: Micros) -> Vec<(Direction, u64)> {
        let set = sample::set(&format!("kind = 'bandwidth'\non = 'x'\n{keys}"), S3);
        let plan = set.streams(&sample::accepted(1), at);
        let rate = |shape: &StreamShape| match shape {
            StreamShape::Bandwidth(rate) => rate.bytes_per_second(),
            other => panic!("{other:?}"),
        };
        plan.effects
            .iter()
            .map(|effect| (effect.direction, rate(&effect.shape)))
            .collect()
    }

    #[test]
    fn both_directions_are_limited_unless_one_is_named() {
        let both = [(Direction::Up, 1024), (Direction::Down, 1024)];
        assert_eq!(rates("rate = '1KiB/s'", Micros(0)), both);
        let up = [(Direction::Up, 1024)];
        assert_eq!(rates("rate = '1KiB/s'\ndirection = 'up'", Micros(0)), up);
    }

    #[test]
    fn a_ramp_moves_the_rate_over_the_phase() {
        let keys = "direction = 'down'\nramp = { rate = ['1000B/s', '1B/s'] }";
        for (at, rate) in [(0, 1000), (5, 500), (10, 1)] {
            let expected = [(Direction::Down, rate)];
            assert_eq!(rates(keys, Micros::from_secs(at)), expected);
        }
    }

    #[test]
    fn a_rate_is_needed_and_requests_cannot_be_picked() {
        for keys in [
            "",
            "rate = '1B/s'\nramp = { rate = ['1B/s', '2B/s'] }",
            "rate = '1B/s'\nwhen = { method = 'GET' }",
            "rate = '1B/s'\nby = 'request'",
        ] {
            let text = format!("kind = 'bandwidth'\non = 'x'\n{keys}");
            assert_eq!(sample::read(&text, Http).unwrap_err().len(), 1, "{keys}");
        }
    }
}
