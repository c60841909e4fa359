//! `pause`: SIGSTOP to an instance's whole process group, and to whoever left it: its sockets stay open
//! and nobody answers.

use super::{Acts, Behaviour, FaultDef, Group, ProcessAction, keys};
use crate::{
    input::{About, Key, Shape},
    protocol::Protocol,
};

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "pause",
    group: Group::Process,
    summary: "SIGSTOP: the process stands still, its sockets stay open",
    about: About {
        text: "\
            SIGSTOP to an instance and all its children: it stands still while its sockets stay open, as in a long \
            garbage collection or on a machine that swaps. Peers see a process that is there and \
            does not answer, which health checks by connect take for healthy.",
        evidence: "\
            The stop itself is the act, once all its processes stand still. It goes on when the \
            phase ends.",
        doubt: "Five seconds later somebody of it still goes on: then the fault did not act.",
        mistakes: &["\
                `until = \"resume\"` keeps it stopped over several phases, until a fault `resume`."],
        related: &["resume", "kill", "hang", "failover"],
    },
    example: "[[phase.fault]]\nkind = \"pause\"\non = \"instance:primary\"\n",
    example_protocol: Protocol::Tcp,
    keys: &[Key::optional(
        "until",
        Shape::OneOf(&["phase", "resume"]),
        "phase: until the phase ends; resume: until a later `resume` (phase)",
    )],
    refuses: keys::PROCESS_REFUSE,
    ramps: &[],
    carried_by: keys::any_protocol,
    parse: |fields, _, _, problems| {
        let until = fields.word("until", problems);
        Some(Box::new(Pause {
            until_resume: until.is_some_and(|word| word.value == "resume"),
        }))
    },
};

#[derive(Debug)]
struct Pause {
    until_resume: bool,
}

impl Behaviour for Pause {
    fn process(&self) -> Option<ProcessAction> {
        Some(ProcessAction::Pause {
            until_resume: self.until_resume,
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
        let text = format!("kind = 'pause'\non = 'instance:a'\n{keys}");
        sample::read(&text, Protocol::Tcp).unwrap().1.process()
    }

    #[test]
    fn an_instance_stands_still_until_the_phase_ends_or_it_is_resumed() {
        let pause = |until_resume| Some(ProcessAction::Pause { until_resume });
        assert_eq!(action(""), pause(false));
        assert_eq!(action("until = 'resume'"), pause(true));
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
