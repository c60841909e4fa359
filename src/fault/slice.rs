//! `slice`: bytes come in small pieces with a gap between two, as from a peer that dribbles.

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
    name: "slice",
    group: Group::Stream,
    summary: "bytes come in small pieces with a gap between two",
    about: About {
        text: "\
            Bytes come in small pieces with a gap between two, as from a peer that dribbles. A \
            client that only limits the time between two reads waits as long as the peer likes.",
        evidence: "Each connection whose bytes were sliced is an act.",
        doubt: "",
        mistakes: &["\
                Size and gap together make a bandwidth: 16 B every 10 ms are 1.6 kB/s. A large body \
                may outlast the phase."],
        related: &["bandwidth", "stall"],
    },
    example: "[[phase.fault]]\nkind = \"slice\"\non = \"object-store\"\nsize = \"16B\"\ngap = \"10ms\"\n",
    example_protocol: Protocol::Tcp,
    keys: &[
        Key::required("size", Shape::Bytes, "the most bytes a piece"),
        Key::optional("gap", Shape::Duration, "the time between two pieces (10ms)"),
        keys::DIRECTION,
    ],
    refuses: keys::BYTES_REFUSE,
    ramps: &[],
    carried_by: keys::any_protocol,
    parse: |fields, _, gate, problems| {
        keys::by_connection(fields, gate, problems);
        let directions = keys::directions(fields, &[Direction::Down], problems);
        let gap = fields.duration("gap", problems);
        let size = fields.bytes("size", problems)?.0;
        if size == 0 {
            fields.problem(problems, "size", "`size` must be above zero", None);
        }
        Some(Box::new(Slice {
            size,
            gap: gap.unwrap_or(Duration::from_millis(10)),
            directions,
        }))
    },
};

#[derive(Debug)]
struct Slice {
    size: u64,
    gap: Duration,
    directions: &'static [Direction],
}

impl Behaviour for Slice {
    fn stream(&self, _: &ConnectionEvent, _: &Context) -> Vec<(Direction, StreamShape)> {
        self.directions
            .iter()
            .map(|direction| {
                (
                    *direction,
                    StreamShape::Slice {
                        size: self.size,
                        gap: self.gap,
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
        let set = sample::set(&format!("kind = 'slice'\non = 'x'\n{keys}"), Http);
        let plan = set.streams(&sample::accepted(1), Micros(0));
        let effects = plan.effects.into_iter();
        effects
            .map(|effect| (effect.direction, effect.shape))
            .collect()
    }

    #[test]
    fn pieces_have_a_size_and_a_gap() {
        let shape = StreamShape::Slice {
            size: 16,
            gap: Duration::from_millis(10),
        };
        let down = [(Direction::Down, shape.clone())];
        assert_eq!(shapes("size = '16B'"), down);
        let both = [(Direction::Up, shape.clone()), (Direction::Down, shape)];
        assert_eq!(shapes("size = '16B'\ndirection = 'both'"), both);
    }

    #[test]
    fn a_piece_of_nothing_is_a_problem() {
        let text = "kind = 'slice'\non = 'x'\nsize = '0B'";
        assert!(sample::read(text, Tcp).is_err());
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
