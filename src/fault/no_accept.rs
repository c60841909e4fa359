//! `no-accept`: connects stay unanswered, so that the client's connect time-out is what ends them.
//! A share is drawn for each connection.

use super::{
    Acts, Behaviour, Closing, ConnectionEvent, Context, Decision, End, FaultDef, Gate, Group,
    ListenerState, keys,
};
use crate::{
    input::{About, Key, Shape},
    protocol::Protocol,
    units::Share,
};

const UNSEEN: &str = "a connect that is not accepted is not seen; use `share`, or `hang`";

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "no-accept",
    group: Group::Connection,
    summary: "connects are not answered: connect time-out",
    about: About {
        text: "\
            The host has vanished from the network, or its queue of connects is full: the SYN \
            stays unanswered, so that only the client's connect time-out ends the wait. Many \
            clients have a read time-out and no connect time-out; the operating system's own is \
            over two minutes.",
        evidence: "\
            Unanswered connects, as the kernel's table shows them (at least so many), and each open \
            connection that was cut. Elsewhere than on Linux they are not seen. They leave no \
            request in the history; the load's latency shows what they cost.",
        doubt: "",
        mistakes: &[
            "\
                `gives-up` sees no call where there were connect time-outs alone; use `latency` or \
                `success-rate` on the load.",
            "\
                With a share it is drawn for each connection, and which ones the kernel leaves \
                unanswered differs from run to run.",
        ],
        related: &["refuse", "hang", "latency"],
    },
    example: "[[phase.fault]]\nkind  = \"no-accept\"\non    = \"object-store\"\nshare = \"30%\"\n",
    example_protocol: Protocol::Tcp,
    keys: &[Key::optional(
        "open",
        Shape::OneOf(&["reset", "hang", "keep"]),
        "what becomes of connections that are open already (reset)",
    )],
    refuses: &[
        ("when", UNSEEN),
        ("first", UNSEEN),
        ("every", UNSEEN),
        ("after", UNSEEN),
    ],
    ramps: &[],
    carried_by: keys::any_protocol,
    parse: |fields, _, gate, problems| {
        keys::by_connection(fields, gate, problems);
        let open = fields.word("open", problems).map(|word| word.value);
        Some(Box::new(NoAccept {
            gate: gate.clone(),
            open: match open {
                Some("keep") => None,
                Some("hang") => Some(End::Hang),
                _ => Some(End::Close(Closing::Reset)),
            },
        }))
    },
};

#[derive(Debug)]
struct NoAccept {
    gate: Gate,
    open: Option<End>,
}

impl Behaviour for NoAccept {
    fn listener(&self, context: &Context) -> Option<ListenerState> {
        let share = self.gate.share_at(context.progress);
        Some(ListenerState::NoAccept(share.unwrap_or(Share::ALL)))
    }

    fn connection(&self, event: &ConnectionEvent, _: &Context) -> Option<Decision> {
        let end = self.open.clone().filter(|_| event.already_open)?;
        Some(Decision::end(end))
    }

    fn acts(&self) -> Acts {
        Acts {
            listener: true,
            connections: self.open.is_some(),
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

    fn state(text: &str, at: Micros) -> ListenerState {
        sample::set(text, Tcp).listener(at).0
    }

    #[test]
    fn a_share_of_the_connects_stays_unanswered() {
        let share = |fraction| ListenerState::NoAccept(Share::new(fraction).unwrap());
        assert_eq!(state(DEF.example, Micros(0)), share(0.3));
        assert_eq!(state("kind = 'no-accept'\non = 'x'", Micros(0)), share(1.0));
        let ramp = "kind = 'no-accept'\non = 'x'\nramp = { share = ['0%', '100%'] }";
        assert_eq!(state(ramp, Micros(0)), share(0.0));
        assert_eq!(state(ramp, Micros::from_secs(5)), share(0.5));
        assert!(sample::set(ramp, Tcp).moves());
    }

    #[test]
    fn the_same_share_of_the_open_connections_is_cut() {
        let set = sample::set(DEF.example, Tcp);
        let cut = (1..=1000)
            .filter(|n| set.connection(&sample::open(*n), Micros(0)).end.is_some())
            .count();
        assert!((250..350).contains(&cut), "{cut}");
        assert!(set.connection(&sample::accepted(1), Micros(0)).is_pass());
        let keep = sample::set("kind = 'no-accept'\non = 'x'\nopen = 'keep'", Tcp);
        assert!(keep.connection(&sample::open(1), Micros(0)).is_pass());
    }

    #[test]
    fn connects_are_not_counted_nor_are_requests_picked() {
        for key in ["every = 2", "when = { method = 'GET' }", "by = 'key'"] {
            let text = format!("kind = 'no-accept'\non = 'x'\n{key}");
            assert!(sample::read(&text, S3).is_err(), "{key}");
        }
        let text = "kind = 'no-accept'\non = 'x'\nshare = '5%'\nby = 'connection'";
        assert!(sample::read(text, Http).is_ok());
    }
}
