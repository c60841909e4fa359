//! `stall`: bytes freeze after so many, for a time or until the fault is lifted; then they go on.

use super::{
    Acts, Behaviour, ConnectionEvent, Context, Direction, FaultDef, Group, StreamShape, keys,
};
use crate::{
    input::{About, Key, Shape},
    protocol::Protocol,
};
use std::time::Duration;

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "stall",
    group: Group::Stream,
    summary: "frozen after so many bytes, then it goes on",
    about: About {
        text: "\
            The bytes freeze after so many, for a time or until the fault is lifted, and then go \
            on where they were. It is a garbage collection, a failing disk, a link that flaps: \
            nothing is lost, and a client without a read time-out never learns of it.",
        evidence: "Each connection that was frozen is an act.",
        doubt: "",
        mistakes: &["\
                A pause that is longer than the rest of the phase ends with the phase."],
        related: &["stalled-body", "hang", "slice"],
    },
    example: "[[phase.fault]]\nkind = \"stall\"\non = \"object-store\"\nafter_bytes = \"1KiB\"\npause = \"20s\"\n",
    example_protocol: Protocol::Tcp,
    keys: &[
        Key::optional("after_bytes", Shape::Bytes, "bytes that pass first (0B)"),
        Key::optional(
            "pause",
            Shape::Duration,
            "how long it freezes; without it until the fault is lifted",
        ),
        keys::DIRECTION,
    ],
    refuses: keys::BYTES_REFUSE,
    ramps: &[],
    carried_by: keys::any_protocol,
    parse: |fields, _, gate, problems| {
        keys::by_connection(fields, gate, problems);
        let directions = keys::directions(fields, &[Direction::Down], problems);
        Some(Box::new(Stall {
            after: keys::bytes(fields, "after_bytes", problems),
            pause: fields.duration("pause", problems),
            directions,
        }))
    },
};

#[derive(Debug)]
struct Stall {
    after: u64,
    pause: Option<Duration>,
    directions: &'static [Direction],
}

impl Behaviour for Stall {
    fn stream(&self, _: &ConnectionEvent, _: &Context) -> Vec<(Direction, StreamShape)> {
        self.directions
            .iter()
            .map(|direction| {
                (
                    *direction,
                    StreamShape::Stall {
                        after: self.after,
                        pause: self.pause,
                    },
                )
            })
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
    use Protocol::{Http, S3, Tcp};

    use crate::units::Micros;

    fn shapes(keys: &str) -> Vec<(Direction, StreamShape)> {
        let set = sample::set(&format!("kind = 'stall'\non = 'x'\n{keys}"), Http);
        let plan = set.streams(&sample::accepted(1), Micros(0));
        let effects = plan.effects.into_iter();
        effects
            .map(|effect| (effect.direction, effect.shape))
            .collect()
    }

    #[test]
    fn bytes_freeze_for_a_time_or_until_lifted() {
        let shape = |after, pause| StreamShape::Stall { after, pause };
        let lifted = [(Direction::Down, shape(0, None))];
        assert_eq!(shapes(""), lifted);
        let timed = [(Direction::Up, shape(5, Some(Duration::from_secs(2))))];
        assert_eq!(
            shapes("after_bytes = '5B'\npause = '2s'\ndirection = 'up'"),
            timed
        );
    }

    #[test]
    fn requests_cannot_be_picked() {
        for key in ["when = { method = 'GET' }", "by = 'key'"] {
            let problems = sample::read(&format!("{}{key}", DEF.example), S3).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
        }
        assert!(sample::read(DEF.example, Tcp).is_ok());
    }
}
