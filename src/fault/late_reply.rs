//! `late-reply`: the request is forwarded at once; its answer comes later, by a law of delays.

use super::{
    Acts, Behaviour, Context, Decision, End, FaultDef, Group, Then,
    keys::{self, Delays},
};
use crate::input::About;
use crate::protocol::{Call, Protocol};

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "late-reply",
    group: Group::Message,
    summary: "forwarded at once; the answer comes later, by a law",
    about: About {
        text: "\
            The request is forwarded at once and its answer comes later, by a law of delays. \
            Unlike `latency` the dependency has done the work in the meantime: who gives up and \
            asks again asks for it twice. Of a pipeline's answers each waits for those before it, \
            and then for its own delay.",
        evidence: "Each request whose answer was delayed is an act.",
        doubt: "",
        mistakes: &["\
                A delay beyond the client's time-out is a lost reply for the client; one below it \
                only costs time. Decide which one is meant."],
        related: &["lost-reply", "latency", "hang"],
    },
    example: "[[phase.fault]]\nkind    = \"late-reply\"\non      = \"object-store\"\nuniform = [\"5s\", \"30s\"]\n",
    example_protocol: Protocol::Http,
    keys: keys::LAW,
    refuses: &[],
    ramps: &["delay"],
    carried_by: keys::messages,
    parse: |fields, _, gate, problems| {
        Some(Box::new(LateReply {
            delays: Delays::parse(fields, gate, problems)?,
        }))
    },
};

#[derive(Debug)]
struct LateReply {
    delays: Delays,
}

impl Behaviour for LateReply {
    fn request(&self, _: &Call, context: &Context) -> Option<Decision> {
        let delay = self.delays.draw(context);
        Some(Decision::end(End::Forward(Then::Late(delay))))
    }

    fn acts(&self) -> Acts {
        Acts::REQUESTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fault::sample, units::Micros};
    use Protocol::{Http, Tcp};
    use std::time::Duration;

    #[test]
    fn answers_come_as_late_as_the_law_says() {
        let set = sample::set(DEF.example, Http);
        let mut delays = Vec::new();
        for call in sample::calls(Http, "GET", "/", 50) {
            match set.request(&call, Micros(0)).end {
                Some(End::Forward(Then::Late(delay))) => delays.push(delay),
                other => panic!("{other:?}"),
            }
        }
        let bounds = Duration::from_secs(5)..=Duration::from_secs(30);
        assert!(delays.iter().all(|delay| bounds.contains(delay)));
        delays.dedup();
        assert!(delays.len() > 40);
    }

    #[test]
    fn a_ramp_moves_the_delay_over_the_phase() {
        let text = "kind = 'late-reply'\non = 'x'\nramp = { delay = ['4s', '0s'] }";
        let set = sample::set(text, Http);
        let call = sample::call(Http, "GET", "/");
        for (at, seconds) in [(0, 4), (5, 2), (10, 0)] {
            let late = Then::Late(Duration::from_secs(seconds));
            let decision = set.request(&call, Micros::from_secs(at));
            assert_eq!(decision.end, Some(End::Forward(late)));
        }
    }

    #[test]
    fn others_pass_and_tcp_has_no_answers() {
        let text = "kind = 'late-reply'\non = 'x'\ndelay = '1s'\nwhen = { path = '/slow/*' }";
        let set = sample::set(text, Http);
        let passed = set.request(&sample::call(Http, "GET", "/fast"), Micros(0));
        assert!(passed.is_pass());
        assert!(sample::read(text, Tcp).is_err());
    }
}
