//! `hang`: accepted, read, never answered; released when lifted.
//!
//! On http and s3 each request is held on its own; a request that no fault holds any more is then
//! forwarded. With `by = "connection"`, and on tcp, whole connections are held, those that were open
//! before and idle ones too.

use super::{
    Acts, Behaviour, ConnectionEvent, Context, Decision, End, FaultDef, Group,
    keys::{self, Level},
};
use crate::input::About;
use crate::protocol::{Call, Protocol};

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "hang",
    group: Group::Connection,
    summary: "accepted and read, never answered; released when lifted",
    about: About {
        text: "\
            The dependency accepts, reads what it is asked, and never answers. It is what \
            overloaded servers, dead locks and lost packets look like from outside, and the \
            outage that is survived worst: everything without a time-out waits with it, and \
            whatever it holds (threads, connections, locks) is held as well.\n\n\
            Where the protocol shows single requests each of them is held on its own, and picked \
            by `when` and `share`. With `by = \"connection\"`, and on tcp, whole connections are \
            held, idle ones too. What is held is released when the fault is lifted.",
        evidence: "\
            Each request or connection that was held is an act. A call that is still open when \
            the fault is lifted took at least so long: it can fail a bound and never keep one.",
        doubt: "",
        mistakes: &[
            "\
                A phase shorter than the client's time-outs ends the hang before they can show \
                themselves.",
            "Health checks hang too, unless `when` spares them.",
        ],
        related: &["late-reply", "latency", "lost-reply", "gives-up"],
    },
    example: "[[phase.fault]]\nkind = \"hang\"\non   = \"object-store\"\nwhen = { operation = \"PutObject\" }\n",
    example_protocol: Protocol::S3,
    keys: &[],
    refuses: &[],
    ramps: &[],
    carried_by: keys::any_protocol,
    parse: |_, protocol, gate, _| {
        Some(Box::new(Hang {
            level: keys::level(protocol, gate),
        }))
    },
};

#[derive(Debug)]
struct Hang {
    level: Level,
}

impl Behaviour for Hang {
    fn connection(&self, _: &ConnectionEvent, _: &Context) -> Option<Decision> {
        (self.level == Level::Connection).then(|| Decision::end(End::Hang))
    }

    fn request(&self, _: &Call, _: &Context) -> Option<Decision> {
        (self.level == Level::Request).then(|| Decision::end(End::Hang))
    }

    fn acts(&self) -> Acts {
        match self.level {
            Level::Connection => Acts::CONNECTIONS,
            Level::Request => Acts::REQUESTS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::sample;
    use Protocol::{Http, S3, Tcp};

    use crate::units::Micros;

    #[test]
    fn requests_that_match_are_held_and_others_pass() {
        let set = sample::set(DEF.example, S3);
        let held = set.request(&sample::call(S3, "PUT", "/models/1"), Micros(0));
        assert_eq!(held.end, Some(End::Hang));
        let passed = set.request(&sample::call(S3, "GET", "/models/1"), Micros(0));
        assert!(passed.is_pass());
        assert!(!set.acts_on_connections());
        assert_eq!(set.faults()[0].hits(), 1);
    }

    #[test]
    fn by_connection_and_on_tcp_connections_are_held_open_ones_too() {
        for (text, protocol) in [
            ("kind = 'hang'\non = 'x'", Tcp),
            ("kind = 'hang'\non = 'x'\nby = 'connection'", Http),
        ] {
            let set = sample::set(text, protocol);
            for event in [sample::accepted(1), sample::open(2)] {
                let decision = set.connection(&event, Micros(0));
                assert_eq!(decision.end, Some(End::Hang), "{protocol}");
            }
            assert!(!set.acts_on_requests());
        }
    }

    #[test]
    fn with_a_when_by_connection_draws_for_connections_but_holds_requests() {
        let text =
            "kind = 'hang'\non = 'x'\nby = 'connection'\nshare = '50%'\nwhen = { method = 'PUT' }";
        let set = sample::set(text, S3);
        let mut call = sample::call(S3, "PUT", "/models/1");
        let mut held = |connection| {
            call.connection = connection;
            set.request(&call, Micros(0)).end.is_some()
        };
        let picked: Vec<bool> = (1..=20).map(&mut held).collect();
        assert!(picked.contains(&true) && picked.contains(&false));
        assert_eq!(picked, (1..=20).map(&mut held).collect::<Vec<_>>());
    }

    #[test]
    fn tcp_shows_no_requests_to_pick() {
        let problems = sample::read(DEF.example, Tcp).unwrap_err();
        assert!(problems[0].contains("no single requests"), "{problems:?}");
    }
}
