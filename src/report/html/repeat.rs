//! What is needed to run it again: command, seed, versions, machine, files.

use super::{
    heading,
    text::{span, stamp},
};
use crate::{history::Machine, report::ScenarioReport};
use maud::{Markup, html};

/// The last part of a scenario.
pub fn repeat(id: &str, scenario: &ScenarioReport, brownout: &str) -> Markup {
    html! {
        (heading(id, "repeat", "Run it again"))
        pre.command tabindex="0" { code { (scenario.repeat) } }
        @if let Some(history) = &scenario.history {
            p { "Judge what was recorded again, without running anything:" }
            pre.command tabindex="0" {
                code { "brownout judge " (crate::report::quoted(history)) }
            }
        }
        dl.facts {
            div { dt { "Scenario" } dd { code { (scenario.file) } } }
            div { dt { "System" } dd { code { (scenario.system) } } }
            div { dt { "Seed" } dd { (scenario.seed) } }
            @if scenario.speed != 1.0 {
                div { dt { "Speed" } dd { (scenario.speed) "x" } }
            }
            div { dt { "Began" } dd { (stamp(&scenario.began)) } }
            div { dt { "Took" } dd { (span(scenario.duration_us)) } }
            @if let Some(history) = &scenario.history {
                div { dt { "History" } dd { code { (history) } } }
            }
            div { dt { "Brownout" } dd { (brownout) } }
            div { dt { "Machine" } dd { (machine(scenario.machine.as_ref())) } }
        }
    }
}

fn machine(machine: Option<&Machine>) -> String {
    let Some(machine) = machine else {
        return "not noted in this history".to_owned();
    };
    let processors = super::counted(machine.processors as u64, "processor");
    let kernel = machine.kernel.as_deref().unwrap_or_default();
    let parts = [
        machine.os.as_str(),
        kernel,
        &machine.architecture,
        &processors,
    ];
    let said: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    said.join(" · ")
}
