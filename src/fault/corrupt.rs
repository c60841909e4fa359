//! `corrupt`: some bytes have one bit flipped. Which ones is a function of the seed and of the
//! byte's place in the connection.

use super::{
    Acts, Behaviour, ConnectionEvent, Context, Direction, FaultDef, Group, StreamShape, keys,
};
use crate::{
    input::{About, Key, Shape},
    protocol::Protocol,
    units::Share,
};
/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "corrupt",
    group: Group::Stream,
    summary: "some bytes have one bit flipped",
    about: About {
        text: "\
            About this share of the bytes has one bit flipped. Which bytes they are is a \
            function of the seed and of the byte's place in the connection. It shows whether \
            check sums are looked at, and what becomes of a protocol error in the middle of a \
            pool's connection.",
        evidence: "Each connection of which a byte was changed is an act.",
        doubt: "",
        mistakes: &[
            "\
                Over TLS the proxy changes bytes below it, so that the client sees a broken record \
                and never wrong data.",
            "\
                On protocols whose requests are read a changed byte may break the framing of \
                everything behind it: that is part of it.",
        ],
        related: &["garbage", "truncate"],
    },
    example: "[[phase.fault]]\nkind = \"corrupt\"\non = \"object-store\"\nbytes = \"0.1%\"\n",
    example_protocol: Protocol::Tcp,
    keys: &[
        Key::required("bytes", Shape::Share, "about this share of the bytes"),
        keys::DIRECTION,
    ],
    refuses: keys::BYTES_REFUSE,
    ramps: &[],
    carried_by: keys::any_protocol,
    parse: |fields, _, gate, problems| {
        keys::by_connection(fields, gate, problems);
        let directions = keys::directions(fields, &[Direction::Down], problems);
        let share = fields.share("bytes", problems)?;
        Some(Box::new(Corrupt { share, directions }))
    },
};

#[derive(Debug)]
struct Corrupt {
    share: Share,
    directions: &'static [Direction],
}

impl Behaviour for Corrupt {
    fn stream(&self, _: &ConnectionEvent, context: &Context) -> Vec<(Direction, StreamShape)> {
        self.directions
            .iter()
            .map(|direction| {
                (
                    *direction,
                    StreamShape::Corrupt {
                        share: self.share,
                        stream: keys::stream_of(context, *direction),
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
        let set = sample::set(&format!("kind = 'corrupt'\non = 'x'\n{keys}"), Http);
        let plan = set.streams(&sample::accepted(1), Micros(0));
        let effects = plan.effects.into_iter();
        effects
            .map(|effect| (effect.direction, effect.shape))
            .collect()
    }

    #[test]
    fn a_share_of_the_bytes_is_hit_and_each_direction_draws_apart() {
        let seen = shapes("bytes = '0.1%'\ndirection = 'both'");
        let streams: Vec<_> = seen
            .iter()
            .map(|(_, shape)| match shape {
                StreamShape::Corrupt { share, stream } => {
                    assert_eq!(*share, Share::new(0.001).unwrap());
                    *stream
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(streams.len(), 2);
        assert_ne!(streams[0], streams[1]);
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
