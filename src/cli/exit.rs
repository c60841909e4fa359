//! Exit statuses: what a build may rely on.

use crate::{
    expectation::Status,
    report::{ScenarioReport, SuiteReport, TroubleKind, series::SeriesEnd},
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

    /// The status of everything that was run. A run without a scenario is a problem of usage. A
    /// series that has fewer repeats than it should was interrupted, be it between two of them, where
    /// no repeat knows of it.
    pub fn of_run(report: &SuiteReport) -> Self {
        let series = report.series.iter().flat_map(|series| &series.scenarios);
        let cut_short = series
            .filter(|one| one.ended == SeriesEnd::CutShort)
            .map(|_| Self::Interrupted);
        report
            .scenarios
            .iter()
            .map(Self::of_scenario)
            .chain(cut_short)
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
    use crate::report::{Repetition, sample};

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
    fn a_series_that_was_cut_short_between_two_repeats_was_interrupted() {
        let suite = |made: u32, asked: u32, all: bool| {
            let own = (1..=made).map(|nth| {
                let mut one = sample::all(Status::Pass).scenarios.swap_remove(0);
                one.repetition = Some(Repetition {
                    nth,
                    folder: String::new(),
                });
                one
            });
            SuiteReport::new(String::new(), 1, own.collect()).repeated(Some(asked), all)
        };
        assert_eq!(Exit::of_run(&suite(5, 5, false)), Exit::Pass);
        assert_eq!(Exit::of_run(&suite(1, 5, false)), Exit::Interrupted);
        // Decided, so that no more were needed; unless all were wanted.
        assert_eq!(Exit::of_run(&suite(15, 20, false)), Exit::Pass);
        assert_eq!(Exit::of_run(&suite(15, 20, true)), Exit::Interrupted);
    }

    #[test]
    fn a_report_without_scenarios_is_never_green() {
        let report = SuiteReport::new(String::new(), 1, Vec::new());
        assert_eq!(Exit::of_run(&report), Exit::Usage);
    }
}
