//! `start`: starts an instance that is not running: a standby, or one that was killed.

use super::{Acts, Behaviour, FaultDef, Group, ProcessAction, keys};
use crate::input::About;
use crate::protocol::Protocol;

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "start",
    group: Group::Process,
    summary: "starts an instance that is not running",
    about: About {
        text: "\
            Starts an instance that is not running: a standby with `autostart = false`, or one \
            that was killed. It is the operator's hand in a scenario.",
        evidence: "The start itself is the act.",
        doubt: "",
        mistakes: &["An instance that runs already cannot be started."],
        related: &["kill", "failover"],
    },
    example: "[[phase.fault]]\nkind = \"start\"\non = \"instance:primary\"\n",
    example_protocol: Protocol::Tcp,
    keys: &[],
    refuses: keys::PROCESS_REFUSE,
    ramps: &[],
    carried_by: keys::any_protocol,
    parse: |_, _, _, _| Some(Box::new(Start)),
};

#[derive(Debug)]
struct Start;

impl Behaviour for Start {
    fn process(&self) -> Option<ProcessAction> {
        Some(ProcessAction::Start)
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
        let text = format!("kind = 'start'\non = 'instance:a'\n{keys}");
        sample::read(&text, Protocol::Tcp).unwrap().1.process()
    }

    #[test]
    fn an_instance_is_started() {
        assert_eq!(action(""), Some(ProcessAction::Start));
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
