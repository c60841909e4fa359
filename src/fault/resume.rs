//! `resume`: SIGCONT to an instance that an earlier phase paused with `until = "resume"`.

use super::{Acts, Behaviour, FaultDef, Group, ProcessAction, keys};
use crate::input::About;
use crate::protocol::Protocol;

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "resume",
    group: Group::Process,
    summary: "SIGCONT: an instance paused in an earlier phase goes on",
    about: About {
        text: "\
            SIGCONT: an instance that an earlier phase paused with `until = \"resume\"` goes on. \
            It believes that no time has passed: leases, locks and leaderships that it still \
            thinks its own are what this shows.",
        evidence: "The signal itself is the act.",
        doubt: "",
        mistakes: &["\
                Without an earlier `pause` that lasts until then there is nothing to resume."],
        related: &["pause", "start"],
    },
    example: "[[phase.fault]]\nkind = \"resume\"\non = \"instance:primary\"\n",
    example_protocol: Protocol::Tcp,
    keys: &[],
    refuses: keys::PROCESS_REFUSE,
    ramps: &[],
    carried_by: keys::any_protocol,
    parse: |_, _, _, _| Some(Box::new(Resume)),
};

#[derive(Debug)]
struct Resume;

impl Behaviour for Resume {
    fn process(&self) -> Option<ProcessAction> {
        Some(ProcessAction::Resume)
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
        let text = format!("kind = 'resume'\non = 'instance:a'\n{keys}");
        sample::read(&text, Protocol::Tcp).unwrap().1.process()
    }

    #[test]
    fn a_paused_instance_goes_on() {
        assert_eq!(action(""), Some(ProcessAction::Resume));
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
