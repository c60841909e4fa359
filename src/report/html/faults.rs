//! What was injected, and how often it acted.

use super::{
    heading,
    text::{fault_name, moment, prose},
};
use crate::{report::ScenarioReport, units::Micros};
use maud::{Markup, html};

/// The table of faults.
pub fn injected(id: &str, scenario: &ScenarioReport) -> Markup {
    html! {
        @if !scenario.faults.is_empty() {
            (heading(id, "injected", "What was injected, and how often it acted"))
            div.scroll tabindex="0" role="group" aria-label="faults" {
                table.plain {
                    thead { tr {
                        th scope="col" { "#" }
                        th scope="col" { "Fault" }
                        th scope="col" { "Phase" }
                        th.number scope="col" { "From" }
                        th.number scope="col" { "To" }
                        th.number scope="col" { "Acted on" }
                    } }
                    tbody {
                        @for fault in &scenario.faults {
                            tr {
                                td { (fault_name(fault.id)) }
                                th scope="row" { (prose(&fault.label)) }
                                td { (fault.phase) }
                                td.number { (at(fault.armed)) }
                                td.number { (at(fault.lifted)) }
                                td.number {
                                    @if fault.hits == 0 {
                                        strong.never { "never acted" }
                                    } @else { (fault.hits) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn at(moment_or_never: Option<Micros>) -> String {
    moment_or_never.map_or_else(|| "never".to_owned(), moment)
}
