//! `stalled-body`: the answer's head and some of its body come; then nothing, for a time or until
//! the fault is lifted; then the rest.

use super::{Acts, Behaviour, Context, Decision, End, FaultDef, Group, Then, keys};
use crate::{
    input::{About, Key, Shape},
    protocol::{Call, Protocol},
};
use std::time::Duration;

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "stalled-body",
    group: Group::Message,
    summary: "head and some of the body, then nothing, then the rest",
    about: About {
        text: "\
            The answer's head comes with its status 200, and some of the body; then nothing, for \
            a time or until the fault is lifted; then the rest. Clients often have a time-out \
            until the first byte and none behind it.",
        evidence: "Each answer that stalled is an act; an answer without a body cannot.",
        doubt: "",
        mistakes: &["\
                Clients that look at the status alone have counted the answer as a success already: \
                the load shows it as slow, not as failed."],
        related: &["truncated-body", "stall", "bandwidth"],
    },
    example: "[[phase.fault]]\nkind = \"stalled-body\"\non = \"object-store\"\nafter_bytes = \"3B\"\n",
    example_protocol: Protocol::S3,
    keys: &[
        Key::optional(
            "after_bytes",
            Shape::Bytes,
            "bytes of the body that come first (0B)",
        ),
        Key::optional(
            "pause",
            Shape::Duration,
            "how long it stalls; without it until the fault is lifted",
        ),
    ],
    refuses: &[],
    ramps: &[],
    carried_by: keys::bodies,
    parse: |fields, _, _, problems| {
        Some(Box::new(StalledBody {
            after: keys::bytes(fields, "after_bytes", problems),
            pause: fields.duration("pause", problems),
        }))
    },
};

#[derive(Debug)]
struct StalledBody {
    after: u64,
    pause: Option<Duration>,
}

impl Behaviour for StalledBody {
    fn request(&self, _: &Call, _: &Context) -> Option<Decision> {
        Some(Decision::end(End::Forward(Then::StallBody {
            after: self.after,
            pause: self.pause,
        })))
    }

    fn acts(&self) -> Acts {
        Acts::REQUESTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fault::sample, units::Micros};
    use Protocol::{Http, S3, Tcp};

    fn end(keys: &str, method: &str) -> Option<End> {
        let text = format!("kind = 'stalled-body'\non = 'x'\nwhen = {{ method = 'GET' }}\n{keys}");
        let set = sample::set(&text, Http);
        set.request(&sample::call(Http, method, "/a"), Micros(0))
            .end
    }

    #[test]
    fn the_body_stalls_for_a_time_or_until_lifted() {
        let stalled = |after, pause| Some(End::Forward(Then::StallBody { after, pause }));
        assert_eq!(end("", "GET"), stalled(0, None));
        let timed = stalled(3, Some(Duration::from_secs(2)));
        assert_eq!(end("after_bytes = '3B'\npause = '2s'", "GET"), timed);
    }

    #[test]
    fn other_requests_pass_and_tcp_has_no_bodies() {
        assert_eq!(end("", "PUT"), None);
        assert!(sample::read(DEF.example, S3).is_ok());
        assert!(sample::read(DEF.example, Tcp).is_err());
    }
}
