//! `refuse`: the listener is really closed, so that a connect gets ECONNREFUSED, as from a host
//! whose process is gone. Whoever connects is not seen as a connection. On Linux the proxy looks up
//! how many connects the kernel counted as failed, at most so many of which were refused here, and none where it refuses them elsewhere too;
//! elsewhere nothing but the open connections that are cut can be counted.

use super::{
    Acts, Behaviour, Closing, ConnectionEvent, Context, Decision, End, FaultDef, Group,
    ListenerState, keys,
};
use crate::{
    input::{About, Key, Shape},
    protocol::Protocol,
};

const WHOLE: &str = "a closed listener refuses everybody; `reset` or `no-accept` can pick";

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "refuse",
    group: Group::Connection,
    summary: "the listener is closed: connection refused",
    about: About {
        text: "\
            The dependency's process is gone: its listener is really closed, so that whoever \
            connects gets ECONNREFUSED at once. It is the kindest outage, since no time-out is \
            needed to notice it; what it shows is whether the system has anything else to do.",
        evidence: "\
            Refused connects, which the kernel counts for the whole machine together (at most so \
            many were this dependency's; those of Brownout itself are left out), and each open \
            connection that was cut. Elsewhere than on Linux refused connects are not seen. They \
            leave no request in the history.",
        doubt: "\
            While a run refuses connects at several dependencies nobody knows which of them was \
            asked: only the open connections that were cut are acts then. Where none are open, \
            `no-accept` or `reset` shows who was asked.",
        mistakes: &[
            "\
                Connections that are open already are reset as well, unless `open = \"keep\"` says \
                that they go on; a pool then may not notice anything.",
            "\
                A system that tries again without a pause makes no requests that can be counted \
                here: its own load shows what it costs.",
        ],
        related: &["no-accept", "reset", "restart"],
    },
    example: "[[phase.fault]]\nkind = \"refuse\"\non   = \"object-store\"\n",
    example_protocol: Protocol::Tcp,
    keys: &[Key::optional(
        "open",
        Shape::OneOf(&["reset", "keep"]),
        "what becomes of connections that are open already (reset)",
    )],
    refuses: &[
        ("when", WHOLE),
        ("share", WHOLE),
        ("by", WHOLE),
        ("first", WHOLE),
        ("every", WHOLE),
        ("after", WHOLE),
    ],
    ramps: &[],
    carried_by: keys::any_protocol,
    parse: |fields, _, _, problems| {
        let open = fields.word("open", problems);
        Some(Box::new(Refuse {
            keeps_open: open.is_some_and(|word| word.value == "keep"),
        }))
    },
};

#[derive(Debug)]
struct Refuse {
    keeps_open: bool,
}

impl Behaviour for Refuse {
    fn listener(&self, _: &Context) -> Option<ListenerState> {
        Some(ListenerState::Refuse)
    }

    fn connection(&self, event: &ConnectionEvent, _: &Context) -> Option<Decision> {
        (event.already_open && !self.keeps_open).then(|| Decision::end(End::Close(Closing::Reset)))
    }

    fn acts(&self) -> Acts {
        Acts {
            listener: true,
            connections: !self.keeps_open,
            ..Acts::NOTHING
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
    fn the_listener_is_closed_and_open_connections_are_cut() {
        let set = sample::set(DEF.example, Tcp);
        assert_eq!(set.listener(Micros(0)).0, ListenerState::Refuse);
        let cut = set.connection(&sample::open(1), Micros(0));
        assert_eq!(cut.end, Some(End::Close(Closing::Reset)));
        assert!(set.connection(&sample::accepted(2), Micros(0)).is_pass());
        assert_eq!(set.faults()[0].hits(), 1);
    }

    #[test]
    fn open_connections_can_be_kept() {
        let set = sample::set("kind = 'refuse'\non = 'x'\nopen = 'keep'", S3);
        assert!(set.connection(&sample::open(1), Micros(0)).is_pass());
        assert!(!set.acts_on_connections());
    }

    #[test]
    fn a_closed_listener_cannot_pick() {
        for key in ["share = '30%'", "first = 1", "when = { method = 'GET' }"] {
            let text = format!("kind = 'refuse'\non = 'x'\n{key}");
            let problems = sample::read(&text, Http).unwrap_err();
            assert!(problems[0].contains("takes no"), "{problems:?}");
            assert!(
                problems[0].contains("`reset` or `no-accept`"),
                "{problems:?}"
            );
        }
    }
}
