//! `kill`: SIGKILL to an instance's whole process group, and to whoever left it, when the phase begins.

use super::{Acts, Behaviour, FaultDef, Group, ProcessAction, keys};
use crate::{
    input::{About, Key, Shape},
    protocol::Protocol,
};

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "kill",
    group: Group::Process,
    summary: "SIGKILL to an instance and all its children",
    about: About {
        text: "\
            SIGKILL to an instance and all its children when the phase begins: no handler runs, \
            nothing is flushed. What was acknowledged must be safe all the same.",
        evidence: "\
            The kill itself is the act, once none of its processes runs any more and nobody accepts \
            connections at its `url`.",
        doubt: "\
            Five seconds later somebody of it still runs, or somebody still serves there, whoever \
            it is: then nothing was killed, and the fault did not act.",
        mistakes: &[
            "\
                Without `restart = true` it stays dead until a later `start`, or for the rest of the \
                run.",
            "\
                What a dead instance does not do is no merit: expectations that pass by absence are \
                inconclusive meanwhile.",
        ],
        related: &["start", "pause", "failover", "nothing-lost"],
    },
    example: "[[phase.fault]]\nkind = \"kill\"\non = \"instance:primary\"\nrestart = true\n",
    example_protocol: Protocol::Tcp,
    keys: &[Key::optional(
        "restart",
        Shape::Bool,
        "whether it is started again when the phase ends (false)",
    )],
    refuses: keys::PROCESS_REFUSE,
    ramps: &[],
    carried_by: keys::any_protocol,
    parse: |fields, _, _, problems| {
        Some(Box::new(Kill {
            restart: fields.bool("restart", problems).unwrap_or(false),
        }))
    },
};

#[derive(Debug)]
struct Kill {
    restart: bool,
}

impl Behaviour for Kill {
    fn process(&self) -> Option<ProcessAction> {
        Some(ProcessAction::Kill {
            restart: self.restart,
        })
    }

    fn acts(&self) -> Acts {
        Acts::NOTHING
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::sample;

    fn action(keys: &str) -> Option<ProcessAction> {
        let text = format!("kind = 'kill'\non = 'instance:a'\n{keys}");
        sample::read(&text, Protocol::Tcp).unwrap().1.process()
    }

    #[test]
    fn an_instance_is_killed_for_good_or_until_the_phase_ends() {
        let kill = |restart| Some(ProcessAction::Kill { restart });
        assert_eq!(action(""), kill(false));
        assert_eq!(action("restart = true"), kill(true));
    }

    #[test]
    fn it_acts_once_and_takes_no_gate() {
        for key in ["share = '50%'", "first = 1", "when = { method = 'GET' }"] {
            let problems =
                sample::read(&format!("{}{key}", DEF.example), Protocol::Tcp).unwrap_err();
            assert!(problems[0].contains("takes no"), "{problems:?}");
        }
    }
}
