//! `[[expect]]`: ids, phases, kinds, and what can be seen beforehand.

use super::{
    Expect, Load, Phase, Scenario, System, Target, keys,
    outage::{at_most, is_empty_array, line, unknown_kind},
    scope::Once,
    system::Outline,
};
use crate::{
    expectation::{self, EXPECTATIONS, Foresight, Names, Shut},
    fault,
    input::{Fields, Item, Problems, Source, Span, hint_among},
    protocol::Protocol,
    units::Micros,
};
use toml::de::{DeTable, DeValue};

/// The most expectations of a scenario.
pub const EXPECTS_MAX: usize = 500;

/// Reads them all.
pub(super) fn read(
    root: &Fields<'_>,
    phases: &[Phase],
    system: Option<&Outline>,
    problems: &mut Problems,
) -> Vec<Expect> {
    let tables = root.raw_tables("expect", problems);
    if is_empty_array(root, "expect") {
        root.problem(
            problems,
            "expect",
            "nothing is required: the scenario could not fail",
            "add an `[[expect]]`; `brownout list expectations` shows all kinds".to_owned(),
        );
    }
    let count = tables.len();
    at_most(root, "expect", count, EXPECTS_MAX, "expectations", problems);
    let mut once = Once::default();
    tables
        .into_iter()
        .filter_map(|(table, span)| {
            expect(
                table,
                span,
                root.source,
                phases,
                system,
                &mut once,
                problems,
            )
        })
        .collect()
}

fn expect<'a>(
    table: &'a DeTable<'a>,
    span: Span,
    source: &'a Source,
    phases: &[Phase],
    system: Option<&Outline>,
    once: &mut Once,
    problems: &mut Problems,
) -> Option<Expect> {
    let common = Fields::unchecked(table, span.clone(), source, "the expectation", keys::EXPECT);
    let id = common.text("id", &mut Problems::default());
    let kind = common.text("kind", &mut Problems::default());
    let def = kind
        .as_ref()
        .and_then(|kind| expectation::find(&kind.value));
    if let Some(id) = &id {
        check_id(id, source, once, problems);
    }
    let during = during(&common, phases, problems);
    let Some(def) = def else {
        let known = EXPECTATIONS.iter().map(|def| def.name);
        unknown_kind(&common, kind, "expectation", known, problems);
        return None;
    };
    let name = match &id {
        Some(id) => format!("expectation `{}`", id.value),
        None => format!("the `{}` expectation", def.name),
    };
    let fields = common.named(name);
    fields.check_keys(&[def.keys], problems);
    let that = line(&fields, "that", problems);
    fields.text("id", problems);
    // Without a system no load and no dependency is known, and each would seem a mistake.
    let system = system?;
    let names = names(phases, system);
    let expectation = (def.parse)(&fields.also(def.keys), &names, problems)?;
    check_probe(&fields, &*expectation, system, problems);
    Some(Expect {
        id: id?.value.into(),
        that: that?,
        kind: def.name,
        expectation,
        during,
        extent: span.start..last_byte(table).max(span.end),
        span,
    })
}

/// Where the last value of a table ends, tables within it included.
fn last_byte(table: &DeTable<'_>) -> usize {
    let ends = table.values().map(|value| match value.get_ref() {
        DeValue::Table(inner) => last_byte(inner).max(value.span().end),
        DeValue::Array(items) => {
            let tables = items.iter().filter_map(|item| item.get_ref().as_table());
            tables.map(last_byte).fold(value.span().end, usize::max)
        }
        _ => value.span().end,
    });
    ends.max().unwrap_or(0)
}

fn check_id(id: &Item<String>, source: &Source, once: &mut Once, problems: &mut Problems) {
    if id.value.is_empty()
        || id
            .value
            .contains(|c: char| c.is_whitespace() || c.is_control())
    {
        problems.error(
            source,
            id.span.clone(),
            "an id is one word",
            "\"ADA-3\"".to_owned(),
        );
    }
    once.take(id, "expectation", source, problems);
}

/// The phases that `during` names, by index, in the order of the scenario.
fn during(fields: &Fields<'_>, phases: &[Phase], problems: &mut Problems) -> Vec<usize> {
    let mut indices = Vec::new();
    for name in fields.texts("during", problems).unwrap_or_default() {
        match phases.iter().position(|phase| *phase.name == *name.value) {
            Some(index) => indices.push(index),
            None => problems.error(
                fields.source,
                name.span,
                format!("no phase is named `{}`", name.value),
                hint_among(&name.value, phases.iter().map(|phase| &*phase.name)),
            ),
        }
    }
    indices.sort_unstable();
    indices.dedup();
    indices
}

fn names<'a>(phases: &'a [Phase], system: &'a Outline) -> Names<'a> {
    Names {
        loads: system.loads.iter().map(|name| &**name).collect(),
        phases: phases.iter().map(|phase| &*phase.name).collect(),
        dependencies: system
            .dependencies
            .iter()
            .map(|known| {
                let protocol = known.protocol.unwrap_or(Protocol::S3);
                (&*known.name, known.role.as_deref(), protocol)
            })
            .collect(),
        instances: system.instances.iter().map(|name| &**name).collect(),
        captures: system
            .captures
            .iter()
            .map(|(name, captures)| (&**name, captures.iter().map(String::as_str).collect()))
            .collect(),
        ledgers: system.ledgers.iter().map(|name| &**name).collect(),
    }
}

/// The templates of a probe must refer to things that exist.
fn check_probe(
    fields: &Fields<'_>,
    expectation: &dyn expectation::Expectation,
    system: &Outline,
    problems: &mut Problems,
) {
    let Some(probe) = expectation.probe() else {
        return;
    };
    let (key, templates) = match probe.ask {
        expectation::ProbeAsk::Http { url, .. } => ("http", vec![url]),
        expectation::ProbeAsk::Command(command) => ("command", command),
    };
    for template in templates {
        let item = Item {
            value: template.0,
            span: fields.place(key),
        };
        system.scope.template(item, fields.source, problems);
    }
}

/// Operations a second over these phases.
fn mean_rate(load: &Load, phases: &[&Phase]) -> f64 {
    let (mut operations, mut seconds) = (0.0, 0.0);
    for phase in phases {
        let named = phase.loads.iter().find(|(name, _)| *name == load.name);
        let factor = named.map_or(1.0, |(_, factor)| *factor);
        let length = phase.lasts.at_most().as_secs_f64();
        operations += load.rate.as_per_second() * factor * length;
        seconds += length;
    }
    if seconds > 0.0 {
        operations / seconds
    } else {
        0.0
    }
}

/// The dependencies whose listener a fault of this phase keeps shut, if only for a while.
fn shut<'a>(phase: &'a Phase, system: &'a System) -> Vec<Shut<'a>> {
    let until = Micros::from(phase.lasts.at_most());
    let mut found = Vec::new();
    for fault in &phase.faults {
        let Target::Dependencies(indices) = &fault.target else {
            continue;
        };
        for (index, behaviour) in indices.iter().zip(&fault.behaviours) {
            let is_shut = !fault::shut(&**behaviour, Micros(0), until).is_empty();
            if let (true, Some(one)) = (is_shut, system.dependencies.get(*index)) {
                found.push(Shut {
                    phase: &phase.name,
                    dependency: &one.name,
                    role: one.role.as_deref(),
                    is_counted: fault::refuses(&**behaviour, Micros(0), until),
                });
            }
        }
    }
    found
}

/// Appends what the expectations can see beforehand: a phase too short, a load too thin. What
/// comes through the ingress is not known beforehand.
pub(super) fn forewarn(scenario: &Scenario, system: &System, problems: &mut Problems) {
    for expect in &scenario.expects {
        let judged: Vec<&Phase> = expectation::judged_phases(expect, scenario)
            .into_iter()
            .filter_map(|index| scenario.phases.get(index))
            .collect();
        let foresight = Foresight {
            phases: judged
                .iter()
                .map(|phase| (&*phase.name, phase.lasts.at_most()))
                .collect(),
            loads: system
                .loads
                .iter()
                .map(|load| (&*load.name, mean_rate(load, &judged)))
                .collect(),
            hold: scenario.hold,
            shut: judged
                .iter()
                .flat_map(|phase| shut(phase, system))
                .collect(),
        };
        for warning in expect.expectation.forewarn(&foresight) {
            problems.warning(
                &scenario.source,
                expect.span.clone(),
                format!("{}: {warning}", expect.id),
                None,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::from_texts;
    use crate::input::{Problems, Source};
    use std::path::PathBuf;

    const SYSTEM: &str = r#"
[system]
external = "http://127.0.0.1:9"

[dependency.db]
protocol = "http"
role     = "store"
upstream = "127.0.0.1:9"

[load.ask]
rate    = "10/s"
request = { path = "/" }
"#;

    /// What is said of an outage of 10 s by this fault, with 10 s before and after it.
    fn warnings(fault: &str, expect: &str) -> Vec<String> {
        let phase = |name: &str, more: &str| {
            format!("[[phase]]\nname = \"{name}\"\nlasts = \"10s\"\n{more}\n")
        };
        let text = format!(
            "title = \"x\"\n{}{}{}[[expect]]\nid = \"X\"\nthat = \"x\"\n{expect}\n",
            phase("steady", "steady = true"),
            phase("gone", &format!("[[phase.fault]]\non = \"db\"\n{fault}")),
            phase("recovery", ""),
        );
        let mut problems = Problems::default();
        let read = from_texts(
            Source::new("scenario.toml", text.as_str()),
            Source::new("system.toml", SYSTEM),
            PathBuf::from("."),
            &mut problems,
        );
        assert!(read.is_some(), "{problems:?}");
        let all = problems.as_slice().iter();
        all.map(|problem| problem.message.clone()).collect()
    }

    #[test]
    fn who_counts_what_a_fault_keeps_out_is_told_in_which_phase() {
        let most = "kind = \"amplification\"\non = \"store\"\nat_most = \"3x\"";
        let said = warnings("kind = \"no-accept\"", most);
        assert!(said[0].contains("in `gone` leave no request"), "{said:?}");
        assert_eq!(warnings("kind = \"hang\"", most), [""; 0]);
        // Those that are refused are counted.
        assert_eq!(warnings("kind = \"refuse\"", most), [""; 0]);
        let steady = format!("{most}\nduring = \"recovery\"");
        assert_eq!(warnings("kind = \"no-accept\"", &steady), [""; 0]);
    }

    #[test]
    fn a_recovery_needs_the_time_that_everything_must_hold_besides() {
        let within = |seconds: u64| format!("kind = \"recovery\"\nwithin = \"{seconds}s\"");
        let said = warnings("kind = \"hang\"", &within(6));
        assert!(said[0].contains("a `hold` of 5s"), "{said:?}");
        assert_eq!(warnings("kind = \"hang\"", &within(5)), [""; 0]);
    }
}
