//! `truncate`: the connection is closed after so many bytes, counted from the moment the fault came
//! into force for it.

use super::{
    Acts, Behaviour, Closing, ConnectionEvent, Context, Direction, FaultDef, Group, StreamShape,
    keys,
};
use crate::{
    input::{About, Key, Shape},
    protocol::Protocol,
};
/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "truncate",
    group: Group::Stream,
    summary: "closed after so many bytes",
    about: About {
        text: "\
            The connection is closed after so many bytes, counted from the moment the fault came \
            into force for it: an answer, a TLS record or a row breaks off in the middle. What \
            must not happen is that half an answer is taken for a whole one.",
        evidence: "\
            Each connection that was cut is an act; one that never carried so many bytes is \
            none.",
        doubt: "",
        mistakes: &["\
                On HTTP `truncated-body` cuts one answer at a place of its body; this one counts \
                heads and earlier answers too."],
        related: &["truncated-body", "reset", "corrupt"],
    },
    example: "[[phase.fault]]\nkind = \"truncate\"\non = \"object-store\"\nafter_bytes = \"1KiB\"\n",
    example_protocol: Protocol::Tcp,
    keys: &[
        Key::required("after_bytes", Shape::Bytes, "bytes that pass first"),
        keys::HOW,
        keys::DIRECTION,
    ],
    refuses: keys::BYTES_REFUSE,
    ramps: &[],
    carried_by: keys::any_protocol,
    parse: |fields, _, gate, problems| {
        keys::by_connection(fields, gate, problems);
        let directions = keys::directions(fields, &[Direction::Down], problems);
        let closing = keys::closing(fields, problems);
        let after = fields.bytes("after_bytes", problems)?.0;
        Some(Box::new(Truncate {
            after,
            closing,
            directions,
        }))
    },
};

#[derive(Debug)]
struct Truncate {
    after: u64,
    closing: Closing,
    directions: &'static [Direction],
}

impl Behaviour for Truncate {
    fn stream(&self, _: &ConnectionEvent, _: &Context) -> Vec<(Direction, StreamShape)> {
        self.directions
            .iter()
            .map(|direction| {
                (
                    *direction,
                    StreamShape::Truncate {
                        after: self.after,
                        closing: self.closing,
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
        let set = sample::set(&format!("kind = 'truncate'\non = 'x'\n{keys}"), Http);
        let plan = set.streams(&sample::accepted(1), Micros(0));
        let effects = plan.effects.into_iter();
        effects
            .map(|effect| (effect.direction, effect.shape))
            .collect()
    }

    #[test]
    fn the_connection_is_closed_after_so_many_bytes() {
        for (keys, closing) in [("", Closing::Fin), ("how = 'reset'", Closing::Reset)] {
            let shape = StreamShape::Truncate { after: 3, closing };
            let seen = shapes(&format!("after_bytes = '3B'\n{keys}"));
            assert_eq!(seen, [(Direction::Down, shape)]);
        }
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
