//! `garbage`: bytes that are no answer at all; then the connection is closed. The bytes are drawn for
//! each request and never begin as HTTP would.

use super::{
    Acts, Behaviour, Context, Decision, FaultDef, Group, Reply,
    keys::{self, Applies},
};
use crate::{
    input::{About, Key, Shape},
    protocol::{Call, Protocol},
};
use bytes::Bytes;
use rand::Rng;

/// The most bytes of garbage.
const LENGTH_MAX: u64 = 1 << 20;

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "garbage",
    group: Group::Message,
    summary: "bytes that are no answer; then the connection is closed",
    about: About {
        text: "\
            Bytes that are no answer at all, then the connection is closed: a wrong service on \
            the port, a plain-text error of a proxy, a broken middle box. It must end the call, \
            not the process.",
        evidence: "Each request that was answered so is an act.",
        doubt: "",
        mistakes: &["Pair it with `alive`: parsers that panic are what it finds."],
        related: &["corrupt", "empty-reply", "alive"],
    },
    example: "[[phase.fault]]\nkind   = \"garbage\"\non     = \"object-store\"\nlength = \"64B\"\n",
    example_protocol: Protocol::Http,
    keys: &[
        Key::optional("length", Shape::Bytes, "how many bytes, at most 1MiB (64B)"),
        keys::APPLIED,
    ],
    refuses: &[],
    ramps: &[],
    carried_by: keys::messages,
    parse: |fields, _, _, problems| {
        let length = fields.bytes("length", problems).map_or(64, |bytes| bytes.0);
        if !(1..=LENGTH_MAX).contains(&length) {
            let message = "`length` must be from 1B to 1MiB";
            let hint = "without any byte it is an `empty-reply`".to_owned();
            fields.problem(problems, "length", message, hint);
        }
        Some(Box::new(Garbage {
            length: usize::try_from(length.min(LENGTH_MAX)).ok()?,
            applies: Applies::parse(fields, problems),
        }))
    },
};

#[derive(Debug)]
struct Garbage {
    length: usize,
    applies: Applies,
}

impl Behaviour for Garbage {
    fn request(&self, _: &Call, context: &Context) -> Option<Decision> {
        let (seed, name, key) = context.stream;
        let mut bytes = vec![0; self.length];
        seed.generator(name, key).fill_bytes(&mut bytes);
        // A first byte with its high bit set begins no status line.
        bytes[0] |= 0x80;
        let reply = Reply::Garbage(Bytes::from(bytes));
        Some(self.applies.decide(reply, context))
    }

    fn acts(&self) -> Acts {
        Acts::REQUESTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{End, Then};
    use crate::{fault::sample, units::Micros};
    use Protocol::{Http, S3, Tcp};

    fn bytes(keys: &str, call: &Call) -> Bytes {
        let set = sample::set(&format!("kind = 'garbage'\non = 'x'\n{keys}"), Http);
        match set.request(call, Micros(0)).end {
            Some(End::Reply(Reply::Garbage(bytes))) => bytes,
            Some(End::Forward(Then::Reply(Reply::Garbage(bytes)))) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn garbage_belongs_to_its_request_and_is_never_http() {
        let calls = sample::calls(Http, "GET", "/", 50);
        for call in &calls {
            let seen = bytes("length = '9B'", call);
            assert_eq!(seen.len(), 9);
            assert!(seen[0] >= 0x80);
            assert_eq!(seen, bytes("length = '9B'\napplied = 'yes'", call));
        }
        assert_ne!(bytes("", &calls[0]), bytes("", &calls[1]));
    }

    #[test]
    fn others_pass_and_lengths_are_bounded() {
        let text = "kind = 'garbage'\non = 'x'\nwhen = { attempt = 2 }";
        let set = sample::set(text, S3);
        let first = sample::call(S3, "GET", "/a/b");
        assert!(set.request(&first, Micros(0)).is_pass());
        for key in ["length = '0B'", "length = '2MiB'"] {
            let text = format!("kind = 'garbage'\non = 'x'\n{key}");
            assert!(sample::read(&text, Http).is_err(), "{key}");
        }
        assert!(sample::read("kind = 'garbage'\non = 'x'", Tcp).is_err());
    }
}
