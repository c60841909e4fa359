//! Loads: how many operations were answered, and how soon.

use super::{
    SectionDef,
    finding::{Counted, Found, Good, POINTS, Times, Verdict, quantile, share},
    pairs::{Pair, unless},
};
use crate::report::{LoadPhase, LoadReport, Outcomes, Spread, spread::PERCENTILES};

/// The registry's entry.
pub const LOADS: SectionDef = SectionDef {
    name: "loads",
    compare,
};

fn compare(pair: &Pair<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for new in &pair.new.loads {
        let Some(old) = pair.old.loads.iter().find(|one| one.name == new.name) else {
            found.push(alone(&new.name, "new"));
            continue;
        };
        for (phase, _) in pair.phases() {
            if let (Some(before), Some(after)) = (in_phase(old, phase), in_phase(new, phase)) {
                found.extend(one_phase(pair, &new.name, before, after));
            }
        }
    }
    let gone = pair.old.loads.iter();
    let gone = gone.filter(|old| pair.new.loads.iter().all(|one| one.name != old.name));
    found.extend(gone.map(|old| alone(&old.name, "old")));
    found
}

fn in_phase<'a>(load: &'a LoadReport, phase: &str) -> Option<&'a LoadPhase> {
    load.phases.iter().find(|one| one.phase == phase)
}

fn alone(load: &str, which: &str) -> Found {
    Found {
        of: load.to_owned(),
        what: "operations".to_owned(),
        old: "–".to_owned(),
        new: "–".to_owned(),
        verdict: Verdict::unknown(format!("only the {which} run has the load `{load}`")),
    }
}

/// Nothing was to begin in the phase: there is nothing to compare, and nothing to say about it.
fn one_phase(pair: &Pair<'_>, load: &str, old: &LoadPhase, new: &LoadPhase) -> Vec<Found> {
    if old.outcomes.total() == 0 && new.outcomes.total() == 0 {
        return Vec::new();
    }
    let why = pair
        .incomparable_phase(&new.phase)
        .or_else(|| pair.incomparable_load(load));
    let of = format!("{load}, {}", new.phase);
    let row = |what: &str, (old, new, verdict): (String, String, Verdict)| Found {
        of: of.clone(),
        what: what.to_owned(),
        old,
        new,
        verdict: unless(why.clone(), verdict),
    };
    let margin = pair.noise * POINTS;
    let mut found = Vec::new();
    for (what, key, kind) in SHARES {
        let counted = |one: &LoadPhase| Counted {
            hits: kind.of(one.outcomes),
            all: one.outcomes.total(),
            clumping: clumping(one.spread.as_ref(), key),
        };
        let good = kind.good(old.outcomes, new.outcomes);
        found.push(row(what, share(counted(old), counted(new), good, margin)));
    }
    for (name, at) in PERCENTILES {
        let what = format!("{name} until answered");
        found.push(match (&old.spread, &new.spread) {
            (Some(before), Some(after)) => {
                let times = |one: &LoadPhase, spread: &'_ Spread| {
                    (one.outcomes.total(), clumping(Some(spread), name))
                };
                let of = |spread, (total, clumping)| Times {
                    answered_us: spread,
                    total,
                    clumping,
                };
                let before = of(&before.answered_us, times(old, before));
                let after = of(&after.answered_us, times(new, after));
                row(&what, quantile(before, after, at, pair.noise))
            }
            _ => row(&what, not_noted()),
        });
    }
    found
}

fn not_noted() -> (String, String, Verdict) {
    let why = "one of the reports was written before this was noted";
    ("–".to_owned(), "–".to_owned(), Verdict::unknown(why))
}

fn clumping(spread: Option<&Spread>, key: &str) -> f64 {
    let known = spread.and_then(|spread| spread.clumping.get(key));
    known.copied().unwrap_or(1.0)
}

/// A share of a load's operations.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Answered,
    Degraded,
    Failed,
}

const SHARES: [(&str, &str, Kind); 3] = [
    ("ok or degraded", "answered", Kind::Answered),
    ("degraded", "degraded", Kind::Degraded),
    ("failed", "failed", Kind::Failed),
];

impl Kind {
    fn of(self, outcomes: Outcomes) -> u64 {
        match self {
            Self::Answered => outcomes.ok + outcomes.degraded,
            Self::Degraded => outcomes.degraded,
            Self::Failed => outcomes.failed,
        }
    }

    /// From good to bad: ok, degraded, failed, indeterminate. More of one in the middle is good
    /// where it came more from what is worse than from what is better: a fallback in place of
    /// errors, an error at once in place of no answer.
    fn good(self, old: Outcomes, new: Outcomes) -> Good {
        let share = |count: u64, of: Outcomes| count as f64 / of.total().max(1) as f64;
        let grown = |count: fn(Outcomes) -> u64| share(count(new), new) - share(count(old), old);
        let (better, worse) = match self {
            Self::Answered => return Good::More,
            Self::Degraded => (grown(|it| it.ok), grown(|it| it.failed + it.indeterminate)),
            Self::Failed => (
                grown(|it| it.ok + it.degraded),
                grown(|it| it.indeterminate),
            ),
        };
        let improved = better > worse;
        let grew = better + worse < 0.0;
        if improved == grew {
            Good::More
        } else {
            Good::Less
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(ok: u64, degraded: u64, failed: u64, indeterminate: u64) -> Outcomes {
        Outcomes {
            ok,
            degraded,
            failed,
            indeterminate,
        }
    }

    #[test]
    fn more_of_something_is_good_by_what_it_stands_in_place_of() {
        let failing = outcomes(0, 0, 100, 0);
        let fallback = outcomes(0, 100, 0, 0);
        let full = outcomes(100, 0, 0, 0);
        let hanging = outcomes(0, 0, 0, 100);
        for (kind, old, new, good) in [
            (Kind::Degraded, failing, fallback, Good::More),
            (Kind::Degraded, full, fallback, Good::Less),
            (Kind::Degraded, fallback, full, Good::Less),
            (Kind::Degraded, fallback, failing, Good::More),
            (Kind::Failed, hanging, failing, Good::More),
            (Kind::Failed, fallback, failing, Good::Less),
            (Kind::Failed, failing, full, Good::Less),
            (Kind::Answered, failing, full, Good::More),
        ] {
            assert_eq!(kind.good(old, new), good, "{kind:?} {old:?} {new:?}");
        }
    }
}
