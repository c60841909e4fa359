//! `lost-reply`: the request is forwarded and carried out; its answer never comes. What the client
//! does next shows whether its requests may be repeated.

use super::{Acts, Behaviour, Closing, Context, Decision, End, FaultDef, Group, Then, keys};
use crate::{
    input::{About, Key, Shape},
    protocol::{Call, Protocol},
};

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "lost-reply",
    group: Group::Message,
    summary: "forwarded and carried out; the answer never comes",
    about: About {
        text: "\
            The request is forwarded and carried out; its answer never comes. It is the case \
            that at-least-once and at-most-once are about: the client cannot know. If it asks \
            again, the work may be done twice; if it does not, it may never be done.",
        evidence: "\
            Each request whose answer was withheld is an act, and its history says that it was \
            applied.",
        doubt: "",
        mistakes: &["\
                Without a ledger and `no-duplicates` or `nothing-lost` a run shows only that the \
                client waited."],
        related: &["late-reply", "hang", "no-duplicates", "nothing-lost"],
    },
    example: "[[phase.fault]]\nkind = \"lost-reply\"\non   = \"object-store\"\nwhen = { operation = \"PutObject\" }\n",
    example_protocol: Protocol::S3,
    keys: &[Key::optional(
        "then",
        Shape::OneOf(&["hang", "close", "reset"]),
        "what comes in its stead: silence, FIN or RST (hang)",
    )],
    refuses: &[],
    ramps: &[],
    carried_by: keys::messages,
    parse: |fields, _, _, problems| {
        let then = fields.word("then", problems).map(|word| word.value);
        Some(Box::new(LostReply {
            then: match then {
                Some("close") => Then::Close(Closing::Fin),
                Some("reset") => Then::Close(Closing::Reset),
                _ => Then::Lose,
            },
        }))
    },
};

#[derive(Debug)]
struct LostReply {
    then: Then,
}

impl Behaviour for LostReply {
    fn request(&self, _: &Call, _: &Context) -> Option<Decision> {
        Some(Decision::end(End::Forward(self.then.clone())))
    }

    fn acts(&self) -> Acts {
        Acts::REQUESTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fault::sample, units::Micros};
    use Protocol::{S3, Tcp};

    #[test]
    fn answers_of_requests_that_match_are_lost_and_others_come() {
        let set = sample::set(DEF.example, S3);
        let lost = set.request(&sample::call(S3, "PUT", "/a/b"), Micros(0));
        assert_eq!(lost.end, Some(End::Forward(Then::Lose)));
        let come = set.request(&sample::call(S3, "GET", "/a/b"), Micros(0));
        assert!(come.is_pass());
    }

    #[test]
    fn the_connection_may_end_in_the_answers_stead() {
        for (then, closing) in [("close", Closing::Fin), ("reset", Closing::Reset)] {
            let text = format!("kind = 'lost-reply'\non = 'x'\nthen = '{then}'");
            let set = sample::set(&text, S3);
            let decision = set.request(&sample::call(S3, "PUT", "/a/b"), Micros(0));
            let expected = End::Forward(Then::Close(closing));
            assert_eq!(decision.end, Some(expected));
        }
    }

    #[test]
    fn tcp_has_no_answers_to_lose() {
        let problems = sample::read("kind = 'lost-reply'\non = 'x'", Tcp).unwrap_err();
        assert!(problems[0].contains("cannot act"), "{problems:?}");
    }
}
