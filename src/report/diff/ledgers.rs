//! Ledgers: what became of accepted work.

use super::{
    Change, SectionDef,
    finding::{Counted, Found, Good, POINTS, Verdict, once, share},
    pairs::{Pair, unless},
};
use crate::report::LedgerReport;

/// The registry's entry.
pub const LEDGERS: SectionDef = SectionDef {
    name: "ledgers",
    compare,
};

fn compare(pair: &Pair<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for new in &pair.new.ledgers {
        if let Some(old) = pair.old.ledgers.iter().find(|one| one.name == new.name) {
            found.extend(one_ledger(pair, old, new));
        }
    }
    found
}

/// What is lost is never drained, so that a backlog with something lost in it says nothing of the
/// drain; what was lost is told by itself, with its chance.
fn drained(old: &LedgerReport, new: &LedgerReport) -> (String, String, Verdict) {
    let (before, after, verdict) = once(old.drained_us, new.drained_us, "not drained", 0);
    let lossy = [old, new].into_iter().any(|one| one.lost + one.dropped > 0);
    let verdict = if lossy && verdict.decided(None).0 != Change::NoChange {
        Verdict::unknown("a backlog that holds what was lost or dropped is never drained")
    } else {
        verdict
    };
    (before, after, verdict)
}

fn one_ledger(pair: &Pair<'_>, old: &LedgerReport, new: &LedgerReport) -> Vec<Found> {
    let why = pair
        .incomparable()
        .or_else(|| pair.incomparable_load(&new.load))
        .or_else(|| pair.incomparable_ledger(&new.name));
    let name = &new.name;
    let row = |what: &str,
               unsettled: Option<String>,
               (old, new, verdict): (String, String, Verdict)| Found {
        of: format!("ledger {name}"),
        what: what.to_owned(),
        old,
        new,
        verdict: unless(why.clone().or(unsettled), verdict),
    };
    let clumping = |one: &LedgerReport| one.clumping.unwrap_or(1.0);
    let counted = |one: &LedgerReport, hits: u64, all: u64| Counted {
        hits: hits.min(all),
        all,
        clumping: clumping(one),
    };
    let lost = |one: &LedgerReport| counted(one, one.lost, one.accepted);
    let duplicated = |one: &LedgerReport| {
        let deliveries = one.delivered + one.duplicated;
        counted(one, one.duplicated, deliveries)
    };
    let unclear = |one: &LedgerReport| {
        let asked = one.accepted + one.indeterminate + one.refused;
        counted(one, one.indeterminate, asked)
    };
    let unsettled = [old, new].into_iter().flat_map(|one| one.unsettled.first());
    let unsettled = unsettled.map(|why| format!("not settled: {why}")).next();
    // However little is lost or done twice, it matters; whether it is chance is another question, and
    // where the old run had none of it that cannot make it green.
    let grave = |before: Counted, after: Counted| {
        let (old, new, verdict) = share(before, after, Good::Less, 0.0);
        let is_news = before.hits == 0 && after.hits > 0;
        (old, new, verdict.of_loss(is_news))
    };
    vec![
        row("lost", unsettled.clone(), grave(lost(old), lost(new))),
        row(
            "delivered twice",
            None,
            grave(duplicated(old), duplicated(new)),
        ),
        row(
            "indeterminate",
            None,
            share(unclear(old), unclear(new), Good::Less, pair.noise * POINTS),
        ),
        row("drained after", None, drained(old, new)),
    ]
}
