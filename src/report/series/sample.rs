//! A series with a requirement that is a flake, for the golden tests of all renderers.

use super::Repetition;
use crate::{
    expectation::Status,
    report::{ScenarioReport, SuiteReport, sample},
    seed::Seed,
};

/// One repeat of the sample scenario; `verdicts` are those of its three requirements.
pub fn repeat(nth: u32, verdicts: [Status; 3]) -> ScenarioReport {
    let mut one = sample::suite().scenarios.swap_remove(0);
    one.seed = Seed(42).of_repeat(nth).0;
    one.repeat = format!(
        "brownout run scenarios/ada-2017-s3.toml --seed {}",
        one.seed
    );
    let folder = format!("ada-2017-s3/repeat-{nth}");
    one.history = Some(format!("brownout-report/{folder}/history.jsonl"));
    one.repetition = Some(Repetition { nth, folder });
    one.doubts.clear();
    let failed = one.verdicts[1].clone();
    for (verdict, status) in one.verdicts.iter_mut().zip(verdicts) {
        verdict.status = status;
        if status == Status::Pass {
            verdict.reason = None;
            verdict.evidence.clear();
        } else if verdict.evidence.is_empty() {
            verdict.reason = failed.reason.clone();
            verdict.evidence = failed.evidence.clone();
        }
    }
    one.status = ScenarioReport::merged(&one.verdicts, None, &[]);
    one
}

/// Four repeats: the first requirement passes always, the second in two of them, of the third
/// nothing is ever known.
pub fn suite() -> SuiteReport {
    use Status::{Fail, Inconclusive, Pass};
    let repeats = vec![
        repeat(1, [Pass, Pass, Inconclusive]),
        repeat(2, [Pass, Fail, Inconclusive]),
        repeat(3, [Pass, Pass, Inconclusive]),
        repeat(4, [Pass, Fail, Inconclusive]),
    ];
    let mut report =
        SuiteReport::new("2026-11-22T02:20:00Z".to_owned(), 42, repeats).repeated(Some(10), false);
    report.files = vec!["brownout-report/report.json".to_owned()];
    report
}
