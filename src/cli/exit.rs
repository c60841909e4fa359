//! Exit statuses: what a build may rely on.

use crate::{
    expectation::Status,
    report::{ScenarioReport, SuiteReport, TroubleKind},
};

/// How a command ended. The order is that of importance: where several scenarios end differently,
/// the greatest wins (130 > 70 > 69 > 64 > 1 > 2 > 0), so that whoever reads the status hears
/// first of what made the others worth little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exit {
    /// Everything required held.
    Pass,
    /// Nothing can be said about something required.
    Inconclusive,
    /// Something required did not hold.
    Fail,
    /// The command line or a file is wrong; nothing was started.
    Usage,
    /// The system or a dependency could not be started or reached.
    NotStarted,
    /// A bug of ours.
    Bug,
    /// Somebody interrupted it.
    Interrupted,
}

/// Every status, the least important first.
pub const ALL: &[Exit] = &[
    Exit::Pass,
    Exit::Inconclusive,
    Exit::Fail,
    Exit::Usage,
    Exit::NotStarted,
    Exit::Bug,
    Exit::Interrupted,
];

impl Exit {
    /// The process's exit status.
    pub const fn code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::Inconclusive => 2,
            Self::Usage => 64,
            Self::NotStarted => 69,
            Self::Bug => 70,
            Self::Interrupted => 130,
        }
    }

    /// What it says, as a fragment.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Pass => "everything that was required held, or the command did what it was told",
            Self::Inconclusive => "nothing can be said about something that was required",
            Self::Fail => "something that was required did not hold",
            Self::Usage => "the command line or a file is wrong; nothing was started",
            Self::NotStarted => "the system or a dependency could not be started or reached",
            Self::Bug => "a bug in Brownout",
            Self::Interrupted => "somebody interrupted it",
        }
    }

    /// The status of everything that was run. A run without a scenario is a problem of usage.
    pub fn of_run(report: &SuiteReport) -> Self {
        report
            .scenarios
            .iter()
            .map(Self::of_scenario)
            .max()
            .unwrap_or(Self::Usage)
    }

    /// The status of one scenario that was run.
    fn of_scenario(scenario: &ScenarioReport) -> Self {
        let trouble = match scenario.trouble.as_ref().map(|trouble| trouble.kind) {
            Some(TroubleKind::NotStarted) => Self::NotStarted,
            Some(TroubleKind::Interrupted) => Self::Interrupted,
            Some(TroubleKind::Bug) => Self::Bug,
            Some(TroubleKind::BrokeOff) => Self::Inconclusive,
            None => Self::Pass,
        };
        trouble.max(Self::from(scenario.status))
    }
}

impl From<Status> for Exit {
    fn from(status: Status) -> Self {
        match status {
            Status::Pass => Self::Pass,
            Status::Inconclusive => Self::Inconclusive,
            Status::Fail => Self::Fail,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_most_important_status_wins() {
        let mut all = [
            Exit::Pass,
            Exit::Interrupted,
            Exit::Fail,
            Exit::Usage,
            Exit::Bug,
            Exit::Inconclusive,
            Exit::NotStarted,
        ];
        all.sort();
        assert_eq!(all.map(Exit::code), [0, 2, 1, 64, 69, 70, 130]);
        assert_eq!(all, ALL);
    }

    #[test]
    fn a_scenario_that_did_not_start_outweighs_one_that_failed() {
        assert_eq!(Exit::of_run(&sample::suite()), Exit::NotStarted);
    }

    #[test]
    fn a_report_without_scenarios_is_never_green() {
        let report = SuiteReport::new(String::new(), 1, Vec::new());
        assert_eq!(Exit::of_run(&report), Exit::Usage);
    }
}
