//! What the clients of the dependencies did, as inferred from the wire, and what their owner declares.

use super::{heading, text::prose};
use crate::{
    policy::{Basis, Claim, Standing},
    report::{DeclaredReport, ScenarioReport},
};
use maud::{Markup, html};
use std::collections::BTreeMap;

/// The most claims in the table; `report.json` has all.
const CLAIMS_MAX: usize = 60;

/// Whether there is anything to tell.
pub fn is_known(scenario: &ScenarioReport) -> bool {
    scenario.policies.as_ref().is_some_and(|policies| {
        !policies.declared.is_empty() || policies.claims.iter().any(Claim::is_remarkable)
    })
}

/// Both tables.
pub fn conduct(id: &str, scenario: &ScenarioReport) -> Markup {
    let Some(policies) = scenario.policies.as_ref().filter(|_| is_known(scenario)) else {
        return html! {};
    };
    html! {
        (heading(id, "conduct", "What the clients did when a dependency failed"))
        p.muted {
            "Inferred from the wire, by operation and by what its attempts met with. In brackets: where the "
            "true value lies in 19 of 20 cases, or as nearly so as the samples allow."
        }
        @if !policies.declared.is_empty() { (declared(&policies.declared)) }
        (claims(&policies.claims))
    }
}

fn declared(lines: &[DeclaredReport]) -> Markup {
    html! {
        h4 { "What the system's file declares" }
        div.scroll tabindex="0" role="group" aria-label="declared policies" {
            table.plain {
                thead { tr {
                    th scope="col" { "Dependency" }
                    th scope="col" { "Declared" }
                    th scope="col" { "Seen" }
                } }
                tbody { @for line in lines { tr {
                    th scope="row" { (line.dependency) }
                    td { code { (line.declared) } }
                    td {
                        @match line.standing {
                            Standing::Agrees => "It is so: ",
                            Standing::Open => "It does not show: ",
                            Standing::Contradicts => strong { "It is not so: " },
                        }
                        (prose(&line.seen))
                    }
                } } }
            }
        }
    }
}

fn claims(claims: &[Claim]) -> Markup {
    let worth: Vec<&Claim> = claims
        .iter()
        .filter(|claim| claim.is_remarkable())
        .collect();
    let mut subjects: BTreeMap<String, Vec<&Claim>> = BTreeMap::new();
    for claim in worth.iter().take(CLAIMS_MAX) {
        subjects.entry(claim.subject()).or_default().push(claim);
    }
    let more = worth.len().saturating_sub(CLAIMS_MAX);
    html! {
        @if !worth.is_empty() {
            h4 { "What was seen" }
            div.scroll tabindex="0" role="group" aria-label="what clients did" {
                table.plain {
                    thead { tr {
                        th scope="col" { "Client" }
                        th scope="col" { "What" }
                        th scope="col" { "Finding" }
                        th.number scope="col" { "Samples" }
                        th scope="col" { "Known by" }
                    } }
                    @for (subject, claims) in &subjects {
                        tbody { @for claim in claims { (row(subject, claim)) } }
                    }
                }
            }
            @if more > 0 { p.muted.small { (more) " more are in report.json." } }
        }
    }
}

fn row(subject: &str, claim: &Claim) -> Markup {
    html! {
        tr {
            th scope="row" { (subject) }
            td { (claim.heading()) }
            td { (claim.finding) }
            td.number { (claim.samples) }
            td { (known_by(claim.basis)) }
        }
    }
}

const fn known_by(basis: Basis) -> &'static str {
    match basis {
        Basis::Seen => "what was seen",
        Basis::Headers => "the client's own ids",
        Basis::Grouped => "grouped by time, a guess",
    }
}
