//! The words that reports have in common.

use super::{FaultReport, LedgerReport, ScenarioReport, layout::harmless};
use crate::{
    expectation::{DoubtAbout, Status, Verdict},
    policy::Claim,
    units::format_duration,
};
use std::{collections::BTreeMap, time::Duration};

/// The sign of a status.
pub const fn mark(status: Status) -> &'static str {
    match status {
        Status::Pass => "✓",
        Status::Fail => "✗",
        Status::Inconclusive => "?",
    }
}

/// A number with its noun.
pub fn counted(count: u64, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}

/// A duration, to the tenth of a second where it is longer than ten.
pub fn span(micros: u64) -> String {
    let step = match micros {
        0..1_000_000 => 1_000,
        1_000_000..10_000_000 => 10_000,
        _ => 100_000,
    };
    format_duration(Duration::from_micros((micros + step / 2) / step * step))
}

/// How many verdicts there are of each status, in words.
pub fn tally(scenario: &ScenarioReport) -> String {
    let mut parts: Vec<String> = [
        (Status::Fail, "failed"),
        (Status::Inconclusive, "inconclusive"),
        (Status::Pass, "passed"),
    ]
    .into_iter()
    .map(|(status, word)| (scenario.count(status), word))
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{count} {word}"))
    .collect();
    if parts.is_empty() {
        parts.push("nothing was judged".to_owned());
    }
    parts.extend(doubts(&scenario.doubts).map(|(about, _)| in_doubt(about).to_owned()));
    if let Some(trouble) = &scenario.trouble {
        parts.insert(0, trouble.kind.heading().to_owned());
    }
    parts.join(", ")
}

/// Why a run is in doubt, in a few words.
pub const fn in_doubt(about: DoubtAbout) -> &'static str {
    match about {
        DoubtAbout::Fault => "not every fault acted",
        DoubtAbout::Instance => "not every instance came up",
        DoubtAbout::Other => "in doubt",
    }
}

/// The doubts about a run by what they are about, those about its faults first.
pub fn doubts(doubts: &[String]) -> impl Iterator<Item = (DoubtAbout, Vec<&str>)> {
    let mut all: BTreeMap<DoubtAbout, Vec<&str>> = BTreeMap::new();
    for doubt in doubts {
        all.entry(DoubtAbout::of(doubt)).or_default().push(doubt);
    }
    all.into_iter()
}

/// Why a verdict is no pass, with what was required and measured.
pub fn why(verdict: &Verdict) -> String {
    let figures = format!(
        "required {}, measured {}",
        verdict.required, verdict.measured
    );
    match &verdict.reason {
        Some(reason) => format!("{reason} ({figures})"),
        None => figures,
    }
}

/// The faults, and how often each acted.
pub fn injected(scenario: &ScenarioReport) -> String {
    if scenario.faults.is_empty() {
        return "nothing".to_owned();
    }
    let fault = |fault: &FaultReport| match fault.hits {
        0 => format!("{} never acted", fault.label),
        1 => format!("{} acted once", fault.label),
        hits => format!("{} acted {hits} times", fault.label),
    };
    scenario
        .faults
        .iter()
        .map(fault)
        .collect::<Vec<_>>()
        .join("; ")
}

/// What became of a ledger's work, and why that may not be its end.
pub fn account(ledger: &LedgerReport) -> String {
    let mut text = format!("{}: {}", ledger.name, ledger.summary());
    if let Some(why) = ledger.unsettled.first() {
        text.push_str(&format!("; not settled: {}", harmless(why)));
    }
    text
}

/// What is worth telling of clients, a line for each dependency, operation and trouble, those with most
/// samples first.
pub fn conduct(claims: &[Claim]) -> Vec<String> {
    let mut subjects: BTreeMap<String, (u64, Vec<String>)> = BTreeMap::new();
    for claim in claims.iter().filter(|claim| claim.is_remarkable()) {
        let own = subjects.entry(claim.subject()).or_default();
        own.0 = own.0.max(claim.samples);
        own.1.push(claim.said());
    }
    let mut lines: Vec<(u64, String)> = subjects
        .into_iter()
        .map(|(subject, (samples, parts))| (samples, format!("{subject}: {}", parts.join("; "))))
        .collect();
    lines.sort_by_key(|(samples, _)| std::cmp::Reverse(*samples));
    lines.into_iter().map(|(_, line)| line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_tally_says_what_is_in_doubt() {
        let mut scenario = sample::all(Status::Pass).scenarios.remove(0);
        let mut tallied = |doubts: &[String]| {
            scenario.doubts = doubts.to_vec();
            tally(&scenario)
        };
        let doubts = sample::doubts();
        assert_eq!(tallied(&[]), "1 passed");
        assert_eq!(
            tallied(&[&doubts[..1], &doubts[..1]].concat()),
            "1 passed, not every fault acted"
        );
        assert_eq!(
            tallied(&doubts[1..2]),
            "1 passed, not every instance came up"
        );
        assert_eq!(tallied(&doubts[2..]), "1 passed, in doubt");
        let all = "1 passed, not every fault acted, not every instance came up, in doubt";
        assert_eq!(tallied(&doubts), all);
    }
}
