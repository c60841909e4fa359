//! A matrix to bytes: for a terminal, as a page, for other programs, for build servers.
//!
//! A new report is one file and two adjacent lines here: its `mod` and its entry in
//! [`MATRIX_REPORTS`].

pub(super) mod json;
mod junit;
mod terminal;

use super::words::span;
use crate::expectation::Status;
use crate::matrix::{Aftermath, Cell, Doubling, Found, Matrix, Met, State, Trial, findings};
use std::collections::BTreeMap;

/// A kind of report of a matrix.
pub struct MatrixReportDef {
    /// Its name.
    pub name: &'static str,
    /// The file it is written to; `None` for the terminal's.
    pub file: Option<&'static str>,
    /// A matrix to bytes.
    pub render: fn(&Matrix) -> Vec<u8>,
}

/// Every report of a matrix, in the order written.
pub const MATRIX_REPORTS: &[MatrixReportDef] = &[
    terminal::DEF,
    json::DEF,
    junit::DEF,
    super::html::matrix::DEF,
];

/// The report for the terminal.
pub fn terminal(matrix: &Matrix) -> Vec<u8> {
    (terminal::DEF.render)(matrix)
}

/// What it comes to, in a word. Where nothing is required nothing can pass.
pub(super) fn standing(matrix: &Matrix) -> String {
    match matrix.status() {
        Status::Pass if matrix.fail_on.is_empty() => "measured".to_owned(),
        status => status.to_string(),
    }
}

/// What a load met with, in words: `failed 64%`, `answered`.
pub(super) fn met(cell: &Cell) -> String {
    let share = |part: u64| percent(part, cell.counts.all());
    match cell.met {
        Met::Failed => format!(
            "failed {}",
            share(cell.counts.failed + cell.counts.unanswered)
        ),
        Met::Degraded => format!("degraded {}", share(cell.counts.degraded)),
        Met::Answered => "answered".to_owned(),
        Met::Held => format!(
            "held {}",
            percent(cell.counts.held, cell.counts.all() + cell.counts.released)
        ),
        Met::TooFew if cell.failed_share() > 0.0 => format!(
            "too few ({} of {} failed)",
            cell.counts.failed + cell.counts.unanswered,
            cell.counts.all()
        ),
        Met::TooFew => format!("too few ({})", cell.counts.all()),
        Met::NotReached => "not reached".to_owned(),
        Met::DoesNotUseIt => "does not use it".to_owned(),
    }
}

/// The slowest hundredth, in words; of a load that was held the least that it can be.
pub(super) fn slowest(cell: &Cell) -> String {
    let at_least = if cell.met == Met::Held { "≥" } else { "" };
    format!("{at_least}{}", span(cell.p99_us))
}

/// A part of a whole, never rounded up to all or down to nothing.
fn percent(part: u64, whole: u64) -> String {
    let share = part as f64 * 100.0 / whole.max(1) as f64;
    match share.round() {
        rounded if part > 0 && rounded < 1.0 => "<1%".to_owned(),
        rounded if part < whole && rounded > 99.0 => ">99%".to_owned(),
        rounded => format!("{rounded}%"),
    }
}

/// What came after, in words: `steady after 1.2s`, `wedged`.
pub(super) fn then(aftermath: Aftermath) -> String {
    match aftermath {
        Aftermath::Steady { after_us: 0 } => "steady at once".to_owned(),
        Aftermath::Steady { after_us } => format!("steady after {}", span(after_us)),
        Aftermath::Wedged { .. } => "wedged".to_owned(),
        Aftermath::Unknown => "not seen".to_owned(),
    }
}

/// The same for a column whose heading says the rest: `1.2s`, `wedged`.
fn after(aftermath: Aftermath) -> String {
    match aftermath {
        Aftermath::Steady { after_us: 0 } => "at once".to_owned(),
        Aftermath::Steady { after_us } => span(after_us),
        Aftermath::Wedged { .. } | Aftermath::Unknown => then(aftermath),
    }
}

/// The trouble of a trial, its dependency left out: `slow 800ms`, `hang, backup error`.
pub(super) fn trouble(trial: &Trial) -> String {
    let mut text = trial.aim.kind.to_string();
    if let Some(delay) = &trial.delay {
        text.push_str(&format!(" {}", span(delay.us)));
    }
    if let Some(beside) = &trial.aim.beside {
        text.push_str(&format!(", {} {}", beside.dependency, beside.kind));
    }
    text
}

/// How it is said that a trial left nothing that could be used again.
pub(super) const RESTARTED: &str = "wedged, and the system was started anew for what came after";

/// What clients did, in a line.
pub(super) fn conduct(policy: &[String]) -> String {
    match policy {
        [] => "nothing can be said of what they did".to_owned(),
        policy => policy.join("; "),
    }
}

/// What is known of what was done twice, where that is no finding, and whether it is known at all.
pub(super) fn doubling(doubling: &Doubling) -> Option<(bool, String)> {
    match doubling {
        Doubling::Doubled { .. } => None,
        Doubling::Once { what } => Some((true, format!("nothing was done twice ({what})"))),
        Doubling::Nothing { why } => Some((true, format!("nothing could be done twice: {why}"))),
        Doubling::Unknown { why } => Some((
            false,
            format!("whether anything was done twice was not seen: {why}"),
        )),
    }
}

/// What was found of the system as a whole and stands in no cell.
pub(super) fn of_the_whole(matrix: &Matrix) -> Vec<String> {
    let found = findings(matrix).into_iter();
    let whole = found.filter(|one| matches!(one.found, Found::Doubled | Found::Exited));
    whole.map(|one| one.what).collect()
}

/// The trials that show nothing, by the reason, in the order of the first of each.
pub(super) fn silent(
    matrix: &Matrix,
    is_meant: impl Fn(&State) -> Option<&str>,
) -> Vec<(String, Vec<String>)> {
    let mut order: Vec<&str> = Vec::new();
    let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for trial in &matrix.trials {
        let Some(why) = is_meant(&trial.state) else {
            continue;
        };
        if !by_reason.contains_key(why) {
            order.push(why);
        }
        by_reason
            .entry(why)
            .or_default()
            .push(trial.aim.to_string());
    }
    let taken = |why: &&str| by_reason.get(why).cloned().unwrap_or_default();
    order
        .iter()
        .map(|why| ((*why).to_owned(), taken(why)))
        .collect()
}

/// Why a trial was not made.
pub(super) fn not_tried(state: &State) -> Option<&str> {
    match state {
        State::NotTried { why, .. } => Some(why),
        State::Tried(_) | State::Unmeasured { .. } => None,
    }
}

/// Why a trial that was made shows nothing.
pub(super) fn unmeasured(state: &State) -> Option<&str> {
    match state {
        State::Unmeasured { why } => Some(why),
        State::Tried(_) | State::NotTried { .. } => None,
    }
}

/// The loads that do not call a dependency, with it: of each load the dependencies.
pub(super) fn unused(matrix: &Matrix) -> Vec<(String, u64, Vec<String>)> {
    let mut unused: Vec<(String, u64, Vec<String>)> = Vec::new();
    let uses = matrix.reference.iter().flat_map(|one| &one.uses);
    for one in uses.filter(|one| !one.is_use()) {
        let dependency = one.dependency.to_string();
        match unused.iter_mut().find(|(load, ..)| **load == *one.load) {
            Some((.., dependencies)) => dependencies.push(dependency),
            None => unused.push((one.load.to_string(), one.operations, vec![dependency])),
        }
    }
    unused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::sample;

    #[test]
    fn every_report_keeps_its_shape() {
        for def in MATRIX_REPORTS {
            let bytes = (def.render)(&sample());
            let text = anstream::adapter::strip_bytes(&bytes).into_vec();
            let text = String::from_utf8(text).expect("reports are text");
            let text = text.replace(super::super::html::STYLE, "(style)");
            insta::assert_snapshot!(def.name, text.replace("><", ">\n<"));
        }
    }

    #[test]
    fn every_line_for_the_terminal_fits() {
        let bytes = anstream::adapter::strip_bytes(&terminal(&sample())).into_vec();
        let text = String::from_utf8(bytes).expect("text");
        for line in text.lines() {
            assert!(
                line.chars().count() <= super::super::layout::WIDTH,
                "{line}"
            );
        }
    }

    #[test]
    fn shares_are_never_rounded_up_to_all_or_down_to_nothing() {
        for ((part, whole), text) in [
            ((0, 10), "0%"),
            ((1, 1_000), "<1%"),
            ((999, 1_000), ">99%"),
            ((10, 10), "100%"),
            ((0, 0), "0%"),
        ] {
            assert_eq!(percent(part, whole), text);
        }
    }
}
