//! What became of the writes of a run, fault window by fault window.

use super::clumps::Blocks;
use crate::{
    history::{View, Window, Witness, WriteAccount, WriteFate, WriteWindow},
    units::Micros,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The writes that one witness knows of. The witness of name `name` is a ledger (`ledger`), a load
/// that reads back what it wrote (`read-back`), or the proxy in front of a dependency (`wire`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WritesReport {
    /// `ledger`, `read-back` or `wire`.
    pub witness: String,
    /// The name of the ledger, load or dependency.
    pub name: String,
    /// The fault windows with a write in them, by when their faults came into force; then, without a
    /// fault, the writes that were in flight in none.
    pub windows: Vec<WriteWindowReport>,
}

/// The writes of one fault window: those on which the fault acted, or that were in flight while it
/// was in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WriteWindowReport {
    /// The fault's number in the file, from 0; none for writes in no window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<u16>,
    /// The fault's line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When the fault came into force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub armed: Option<Micros>,
    /// When it was lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted: Option<Micros>,
    /// Acknowledged and present.
    pub kept: u64,
    /// Acknowledged and not there.
    pub lost: u64,
    /// Not acknowledged, and present.
    pub recovered: u64,
    /// Not acknowledged, and not there.
    pub absent: u64,
    /// There more often than it was asked for.
    pub doubled: u64,
    /// Nobody knows.
    pub indeterminate: u64,
    /// By how much those that met a fate clump, by its name: `kept`, `lost` … Those that clump no more
    /// than chance has it are left out. A comparison needs it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clumping: BTreeMap<String, f64>,
    /// The first few of each sort but the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<WriteExampleReport>,
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WriteExampleReport {
    /// The id, or what was asked of what.
    pub what: String,
    /// What became of it: `acknowledged, lost`, `doubled` …
    pub fate: String,
    /// When it was first asked for.
    pub at: Micros,
}

/// The most lines of short reports about writes; `report.html` and `report.json` have all windows.
const LINES_MAX: usize = 6;

/// A line for each window with something worth telling in it, those with something wrong first.
pub(super) fn lines(writes: &[WritesReport]) -> Vec<String> {
    let windows = writes
        .iter()
        .flat_map(|one| one.windows.iter().map(move |window| (one, window)));
    let mut telling: Vec<_> = windows.filter(|(_, window)| window.is_telling()).collect();
    telling.sort_by_key(|(_, window)| window.lost + window.doubled == 0);
    let more = telling.len().saturating_sub(LINES_MAX);
    let shown = telling.iter().take(LINES_MAX);
    let mut lines: Vec<String> = shown.map(|(one, window)| one.line(window)).collect();
    if more > 0 {
        lines.push(format!("in {more} more windows too: see report.html"));
    }
    lines
}

/// The writes of all witnesses.
pub(super) fn writes(view: &View<'_>) -> Vec<WritesReport> {
    let accounts = view.writes();
    accounts.iter().map(|one| account(view, one)).collect()
}

fn account(view: &View<'_>, account: &WriteAccount) -> WritesReport {
    WritesReport {
        witness: match account.witness {
            Witness::Ledger => "ledger",
            Witness::ReadBack => "read-back",
            Witness::Wire => "wire",
        }
        .to_owned(),
        name: account.name.clone(),
        windows: account
            .windows
            .iter()
            .map(|one| window(view, one))
            .collect(),
    }
}

fn window(view: &View<'_>, window: &WriteWindow) -> WriteWindowReport {
    let span = window.fault.and_then(|at| view.history.faults.get(at));
    let fault = span.and_then(|span| view.fault(span));
    let examples = window.examples.iter();
    WriteWindowReport {
        fault: span.map(|span| span.fault.0),
        label: fault.map(|(_, fault)| fault.label.clone()),
        armed: span.map(|span| span.armed),
        lifted: span.map(|span| span.lifted),
        kept: window.count(WriteFate::Kept),
        lost: window.count(WriteFate::Lost),
        recovered: window.count(WriteFate::Recovered),
        absent: window.count(WriteFate::Absent),
        doubled: window.count(WriteFate::Doubled),
        indeterminate: window.count(WriteFate::Indeterminate),
        clumping: clumping(window),
        examples: examples
            .map(|one| WriteExampleReport {
                what: one.what.clone(),
                fate: one.fate.words().to_owned(),
                at: one.at,
            })
            .collect(),
    }
}

/// By how much the writes of each fate clump, where they do.
fn clumping(window: &WriteWindow) -> BTreeMap<String, f64> {
    let named = [
        ("kept", WriteFate::Kept),
        ("lost", WriteFate::Lost),
        ("recovered", WriteFate::Recovered),
        ("doubled", WriteFate::Doubled),
        ("indeterminate", WriteFate::Indeterminate),
    ];
    let times = || window.moments.iter().map(|(at, _)| *at);
    let from = times().min().unwrap_or_default();
    let to = times().max().unwrap_or_default();
    let factor = |fate: WriteFate| {
        let mut blocks = Blocks::of(Window::new(from, to));
        for (at, met) in &window.moments {
            blocks.add(*at, u64::from(*met == fate), 1);
        }
        blocks.of_share()
    };
    let told = named.into_iter();
    told.filter(|(_, fate)| window.count(*fate) > 0)
        .map(|(name, fate)| (name.to_owned(), factor(fate)))
        .filter(|(_, factor)| *factor > 1.0)
        .collect()
}

impl WriteWindowReport {
    /// How many writes there were.
    pub(super) fn total(&self) -> u64 {
        self.counts().iter().map(|(_, count)| count).sum()
    }

    /// How many met each fate, in the order of [`WriteFate::ALL`].
    fn counts(&self) -> [(WriteFate, u64); 6] {
        [
            (WriteFate::Kept, self.kept),
            (WriteFate::Lost, self.lost),
            (WriteFate::Recovered, self.recovered),
            (WriteFate::Absent, self.absent),
            (WriteFate::Doubled, self.doubled),
            (WriteFate::Indeterminate, self.indeterminate),
        ]
    }

    /// Whether it holds more than writes that went well, or did not go at all.
    fn is_telling(&self) -> bool {
        self.lost + self.recovered + self.doubled + self.indeterminate > 0
    }

    /// In which window, in words.
    pub(super) fn place(&self) -> String {
        match &self.label {
            Some(label) => format!("under `{label}`"),
            None => "under no fault".to_owned(),
        }
    }
}

impl WritesReport {
    /// Whose writes, in words.
    pub(super) fn subject(&self) -> String {
        match &*self.witness {
            "ledger" => format!("ledger {}", self.name),
            "read-back" => format!("read back by {}", self.name),
            _ => format!("sent to {}", self.name),
        }
    }

    fn line(&self, window: &WriteWindowReport) -> String {
        let counts = window.counts().into_iter().filter(|(_, count)| *count > 0);
        let counts: Vec<String> = counts
            .map(|(fate, count)| match window.first(fate) {
                Some(first) => format!("{count} {} ({first})", fate.words().replace(", ", " and ")),
                None => format!("{count} {}", fate.words().replace(", ", " and ")),
            })
            .collect();
        format!(
            "{}, {}: {}",
            self.subject(),
            window.place(),
            counts.join(", ")
        )
    }
}

impl WriteWindowReport {
    /// The first example of a fate that is worth one.
    fn first(&self, fate: WriteFate) -> Option<&str> {
        let is_wrong = matches!(fate, WriteFate::Lost | WriteFate::Doubled);
        let mut examples = self.examples.iter().filter(|_| is_wrong);
        let first = examples.find(|one| one.fate == fate.words())?;
        Some(&first.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::sample::{self, Story, attempt},
        protocol::Applied,
    };

    #[test]
    fn what_is_worth_telling_has_a_line_with_its_window_and_its_first_example() {
        let post = |began: u64, order: &str| {
            let post = attempt("pager", began, began + 100).operation("POST");
            post.key("/charges").captured("order", order)
        };
        let lost = |began, order| post(began, order).gave_up().applied(Applied::Yes).hit();
        let story = Story::new().healthy(0..60).attempts([
            post(5_000, "1"),
            lost(25_000, "2"),
            post(26_000, "2"),
            lost(27_000, "3"),
            post(28_000, "4"),
        ]);
        let (history, scenario, system) = (story.history(), sample::scenario(), sample::system());
        let seen = writes(&View::new(&history, &scenario, &system));
        assert_eq!(seen.len(), 1);
        assert_eq!(
            lines(&seen),
            [
                "sent to pager, under `hang on object-store`: 1 acknowledged and present, 1 unacknowledged and present, 1 doubled (POST /charges order=2)"
            ]
        );
        let window = &seen[0].windows[0];
        assert_eq!(
            (window.fault, window.armed),
            (Some(0), Some(Micros::from_secs(10)))
        );
        let fates: Vec<&str> = window.examples.iter().map(|one| &*one.fate).collect();
        assert_eq!(fates, ["doubled", "unacknowledged, present"]);
        assert_eq!(seen[0].windows[1].kept, 1);
    }

    #[test]
    fn short_reports_tell_what_is_wrong_first_and_not_all() {
        let window = |fault: u16, lost, recovered| WriteWindowReport {
            fault: Some(fault),
            label: Some(format!("hang {fault}")),
            armed: None,
            lifted: None,
            kept: 9,
            lost,
            recovered,
            absent: 2,
            doubled: 0,
            indeterminate: 0,
            clumping: BTreeMap::new(),
            examples: Vec::new(),
        };
        let mut windows: Vec<_> = (0..8).map(|nth| window(nth, 0, 1)).collect();
        windows.push(window(8, 1, 0));
        windows.push(window(9, 0, 0));
        let writes = WritesReport {
            witness: "wire".to_owned(),
            name: "db".to_owned(),
            windows,
        };
        let lines = lines(&[writes]);
        assert_eq!(lines.len(), LINES_MAX + 1);
        assert_eq!(
            lines[0],
            "sent to db, under `hang 8`: 9 acknowledged and present, 1 acknowledged and lost, 2 unacknowledged and absent"
        );
        assert_eq!(lines[LINES_MAX], "in 3 more windows too: see report.html");
    }
}
