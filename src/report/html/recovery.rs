//! When the outage was noticed, when the system was as before, and whether it came back at all.

use super::{
    heading,
    text::{moment, span},
};
use crate::{
    report::{LedgerSeries, RecoveryReport, ScenarioReport},
    units::Micros,
};
use maud::{Markup, html};

/// The part on recovery: what is known, one line each.
pub fn recovery(id: &str, scenario: &ScenarioReport) -> Markup {
    let timeline = &scenario.timeline;
    let seen = &timeline.detected;
    html! {
        @if timeline.bins > 0 {
            (heading(id, "recovery", "Noticed, recovered, drained"))
            dl.facts {
                @if let Some(armed) = seen.armed {
                    div {
                        dt { "First fault in force" }
                        dd { (moment(armed)) }
                    }
                    div {
                        dt { "Noticed: first fallback" }
                        dd {
                            @match &seen.fallback {
                                Some((load, at)) => { (after(armed, *at)) " (" code { (load) } ")" },
                                None => span.muted { "no answer by a fallback that was not usual before" },
                            }
                        }
                    }
                    div {
                        dt { "Noticed: first alert" }
                        dd {
                            @match &seen.alert {
                                Some((name, at)) => { (after(armed, *at)) " (to " code { (name) } ")" },
                                None => span.muted { "nobody was told" },
                            }
                        }
                    }
                } @else {
                    div { dt { "First fault in force" } dd { "never" } }
                }
                @match &scenario.recovery {
                    Some(recovery) => (after_the_last(recovery)),
                    None => div {
                        dt { "Recovered" }
                        dd { "not known: the run did not get to its last phase" }
                    },
                }
                @for ledger in &timeline.ledgers { (drained(ledger)) }
            }
        }
    }
}

/// So long after a moment.
fn after(since: Micros, at: Micros) -> String {
    format!("after {}", span(Micros::from(at.since(since)).0))
}

fn after_the_last(recovery: &RecoveryReport) -> Markup {
    let took = span(recovery.took_us);
    html! {
        div { dt { "Last fault lifted" } dd { (moment(recovery.lifted)) } }
        div {
            dt { "Recovered: steady again" }
            dd {
                @match (recovery.steady, &recovery.untold) {
                    (Some(at), _) => { "after " (took) ", at " (moment(at)) },
                    (None, Some(why)) => { "cannot be told: " (why) },
                    (None, None) => strong { "not within the " (took) " watched" },
                }
            }
        }
        div {
            dt { "Wedged" }
            dd {
                @if recovery.steady.is_some() {
                    "no"
                } @else if recovery.untold.is_some() {
                    "cannot be told"
                } @else {
                    strong { "yes, as far as was watched" }
                }
            }
        }
    }
}

fn drained(ledger: &LedgerSeries) -> Markup {
    let (most, at) = ledger.peak;
    html! {
        div {
            dt { "Backlog of " code { (ledger.name) } }
            dd {
                @if most == 0 {
                    "nothing ever waited"
                } @else {
                    "at most " (most) " waited, at " (moment(at)) "; "
                    @match (ledger.drained, ledger.outage_ended) {
                        (Some(when), Some(ended)) if when > ended => {
                            "drained " (span(Micros::from(when.since(ended)).0)) " after the outage's end"
                        },
                        (Some(_), _) => "drained before the outage was over",
                        (None, _) => strong { (ledger.left) " left at the end" },
                    }
                }
            }
        }
    }
}
