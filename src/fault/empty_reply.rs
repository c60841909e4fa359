//! `empty-reply`: no byte and FIN, as from a process that dies over a request; or a head with status
//! 200 and nothing in it, which clients have taken for success.

use super::{
    Acts, Behaviour, Context, Decision, End, FaultDef, Group, Reply, Then,
    keys::{self, Applies},
};
use crate::{
    input::{About, Key, Shape},
    protocol::{Call, Protocol},
};
use bytes::Bytes;

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "empty-reply",
    group: Group::Message,
    summary: "no byte and FIN; or a 200 with nothing in it",
    about: About {
        text: "\
            No byte and FIN, as from a process that dies over a request; or, with `sends = \
            \"head\"`, a status 200 and nothing in it, which clients have taken for success.",
        evidence: "Each request that was answered so is an act.",
        doubt: "",
        mistakes: &["`applied` decides whether repeating the request does the work twice."],
        related: &["close", "error-in-200", "error"],
    },
    example: "[[phase.fault]]\nkind  = \"empty-reply\"\non    = \"object-store\"\nwhen  = { operation = \"CompleteMultipartUpload\" }\nsends = \"head\"\n",
    example_protocol: Protocol::S3,
    keys: &[
        Key::optional(
            "sends",
            Shape::OneOf(&["nothing", "head"]),
            "nothing: no byte, then FIN; head: status 200 and an empty body (nothing)",
        ),
        keys::APPLIED,
    ],
    refuses: &[],
    ramps: &[],
    carried_by: keys::messages,
    parse: |fields, protocol, _, problems| {
        let sends = fields.word("sends", problems);
        let sends_head = sends.is_some_and(|word| word.value == "head");
        if sends_head && !protocol.is_http() {
            let message = format!("answers of the protocol {protocol} have no head");
            let hint = "leave `sends` out: no byte comes, then FIN".to_owned();
            fields.problem(problems, "sends", message, hint);
        }
        Some(Box::new(EmptyReply {
            sends_head,
            applies: Applies::parse(fields, problems),
        }))
    },
};

#[derive(Debug)]
struct EmptyReply {
    sends_head: bool,
    applies: Applies,
}

impl Behaviour for EmptyReply {
    fn request(&self, _: &Call, context: &Context) -> Option<Decision> {
        if !self.sends_head {
            return Some(self.applies.decide(Reply::Empty, context));
        }
        let mut decision = self.applies.decide(bare_ok(), context);
        // The dependency's own head is truer than one that is made up.
        if let Some(End::Forward(then)) = &mut decision.end {
            *then = Then::EmptyBody;
        }
        Some(decision)
    }

    fn acts(&self) -> Acts {
        Acts::REQUESTS
    }
}

fn bare_ok() -> Reply {
    Reply::Http {
        status: 200,
        reason: "OK".to_owned(),
        headers: Vec::new(),
        body: Bytes::new(),
        close: false,
        chunked: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fault::sample, units::Micros};
    use Protocol::{Http, S3, Tcp};

    fn end(keys: &str) -> Option<End> {
        let set = sample::set(&format!("kind = 'empty-reply'\non = 'x'\n{keys}"), S3);
        set.request(&sample::call(S3, "POST", "/a/b?uploadId=1"), Micros(0))
            .end
    }

    #[test]
    fn nothing_or_an_empty_head_comes_before_or_after_it_was_applied() {
        assert_eq!(end(""), Some(End::Reply(Reply::Empty)));
        let applied = Some(End::Forward(Then::Reply(Reply::Empty)));
        assert_eq!(end("applied = 'yes'"), applied);
        assert_eq!(end("sends = 'head'"), Some(End::Reply(bare_ok())));
        let head = Some(End::Forward(Then::EmptyBody));
        assert_eq!(end("sends = 'head'\napplied = 'yes'"), head);
    }

    #[test]
    fn other_requests_pass_and_tcp_has_none() {
        let set = sample::set(DEF.example, S3);
        let passed = set.request(&sample::call(S3, "GET", "/a/b"), Micros(0));
        assert!(passed.is_pass());
        assert!(sample::read("kind = 'empty-reply'\non = 'x'", Http).is_ok());
        assert!(sample::read("kind = 'empty-reply'\non = 'x'", Tcp).is_err());
    }
}
