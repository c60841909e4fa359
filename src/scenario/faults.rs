//! `[[phase.fault]]`: what it is put on, and the behaviour for each protocol concerned.

use super::{
    FaultSpec, Scenario, Target,
    label::label,
    likeness::likeness,
    outage::unknown_kind,
    system::{Known, Outline},
};
use crate::{
    fault::{self, Behaviour, By, FAULTS, FaultDef, FaultId, Gate, Group, gate},
    input::{Fields, Problems, Source, Span, hint_among},
    protocol::Protocol,
    units::{Share, format_duration},
};
use std::{collections::BTreeMap, sync::Arc};
use toml::de::DeTable;

/// Appends what is seen of faults beforehand: a phase too short to play all that one is.
pub(super) fn forewarn(scenario: &Scenario, problems: &mut Problems) {
    for phase in &scenario.phases {
        for fault in &phase.faults {
            let takes = fault.behaviours.iter().map(|one| one.takes()).max();
            let (takes, lasts) = (takes.unwrap_or_default(), phase.lasts.at_most());
            if takes > lasts {
                let message = format!(
                    "a {} that takes {} is cut off after {}, when `{}` is over",
                    fault.kind,
                    format_duration(takes),
                    format_duration(lasts),
                    phase.name
                );
                let hint = "make the phase longer, or the stages of the fault shorter".to_owned();
                problems.warning(&scenario.source, fault.span.clone(), message, hint);
            }
        }
    }
}

/// Reads the faults of a phase. `count` numbers those of the whole scenario.
pub(super) fn read(
    phase: &Fields<'_>,
    system: Option<&Outline>,
    count: &mut usize,
    problems: &mut Problems,
) -> Vec<FaultSpec> {
    let mut faults = Vec::new();
    for (table, span) in phase.raw_tables("fault", problems) {
        let id = FaultId(u16::try_from(*count).unwrap_or(u16::MAX));
        *count += 1;
        faults.extend(fault(table, span, phase.source, id, system, problems));
    }
    one_capacity(&faults, phase.source, system, problems);
    groups(&faults, phase.source, problems);
    faults
}

/// Faults that share one draw must be on the same, draw for the same, and leave no more than all.
fn groups(faults: &[FaultSpec], source: &Source, problems: &mut Problems) {
    let mut groups: BTreeMap<&str, Vec<&FaultSpec>> = BTreeMap::new();
    for fault in faults {
        if let Some(group) = &fault.gate.one_of {
            groups.entry(group).or_default().push(fault);
        }
    }
    for (group, members) in groups {
        let [first, others @ ..] = members.as_slice() else {
            continue;
        };
        let by = |fault: &FaultSpec| {
            let on_listener = fault.behaviours.iter().any(|one| one.acts().listener);
            fault
                .gate
                .by
                .clone()
                .or(on_listener.then_some(By::Connection))
        };
        if others.is_empty() {
            let message = format!("`{group}` is a group of one");
            let hint = "give other faults of this phase the same `one_of`, or leave it out";
            problems.error(source, first.span.clone(), message, hint.to_owned());
        }
        for other in others {
            let (what, hint) = if other.on != first.on {
                ("acts on something else", format!("on = \"{}\"", first.on))
            } else if by(other) != by(first) {
                let same = "write the same `by` for all; connects are by = \"connection\"";
                ("draws for something else", same.to_owned())
            } else {
                continue;
            };
            let message = format!("this fault of the group `{group}` {what} than the first");
            problems.error(source, other.span.clone(), message, hint);
        }
        let sum: f64 = members
            .iter()
            .filter_map(|fault| fault.gate.share.map(Share::fraction))
            .sum();
        // Percents are no binary fractions.
        if sum > 1.0 + 1e-9 {
            let percent = (sum * 1e6).round() / 1e4;
            let message = format!("the shares of the group `{group}` add up to {percent}%");
            let hint = "each event gets one of them: 100% at most".to_owned();
            problems.error(source, first.span.clone(), message, hint);
        }
    }
}

/// A dependency can carry one thing at a time.
fn one_capacity(
    faults: &[FaultSpec],
    source: &Source,
    system: Option<&Outline>,
    problems: &mut Problems,
) {
    let mut limited: Vec<usize> = Vec::new();
    for fault in faults {
        let Target::Dependencies(indices) = &fault.target else {
            continue;
        };
        let behaviours = indices.iter().zip(&fault.behaviours);
        for (index, _) in behaviours.filter(|(_, behaviour)| behaviour.capacity().is_some()) {
            if limited.contains(index) {
                let name = system.map_or("", |system| &system.dependencies[*index].name);
                let message = format!("`{name}` has a second overload in the same phase");
                let hint = "keep one: a dependency has one queue; other tenants are `other_load`";
                problems.error(source, fault.span.clone(), message, hint.to_owned());
            }
            limited.push(*index);
        }
    }
}

fn fault<'a>(
    table: &'a DeTable<'a>,
    span: Span,
    source: &'a Source,
    id: FaultId,
    system: Option<&Outline>,
    problems: &mut Problems,
) -> Option<FaultSpec> {
    let common = Fields::unchecked(table, span.clone(), source, "the fault", gate::KEYS);
    let kind = common.text("kind", &mut Problems::default());
    let def = kind.as_ref().and_then(|kind| fault::find(&kind.value));
    let Some(def) = def else {
        let known = FAULTS.iter().map(|def| def.name);
        unknown_kind(&common, kind, "fault", known, problems);
        // The rest is read for its problems alone.
        target(&common, None, system, problems);
        Gate::parse(&common, problems);
        return None;
    };
    let fields = common.named(format!("fault `{}`", def.name));
    fields.check_keys(&[def.keys], problems);
    let on = fields.text("on", &mut Problems::default());
    let on = on.map_or_else(String::new, |on| on.value);
    let target = target(&fields, Some(def), system, problems);
    let gate = Gate::parse(&fields, problems);
    let protocols = protocols(target.as_ref(), def, system);
    let behaviours = behaviours(def, &fields, &protocols, gate.as_ref(), problems);
    let gate = gate?;
    Some(FaultSpec {
        id,
        kind: def.name,
        label: label(def, &on, table, &gate),
        likeness: likeness(def, table),
        on,
        target: target?,
        behaviours: behaviours?,
        gate,
        span,
    })
}

/// What `on` refers to; `None` where it refers to nothing or nothing can be known of it.
fn target(
    fields: &Fields<'_>,
    def: Option<&FaultDef>,
    system: Option<&Outline>,
    problems: &mut Problems,
) -> Option<Target> {
    let on = fields.text("on", problems)?.value;
    let on_process = def.map(|def| def.group == Group::Process);
    let system = system?;
    if let Some(name) = on.strip_prefix("instance:") {
        return instance(fields, name, on_process, system, problems);
    }
    if on_process == Some(true) {
        let hint = match system.instances.first() {
            Some(instance) => format!("on = \"instance:{instance}\""),
            None => "the system is external: Brownout has no process of it".to_owned(),
        };
        fields.problem(
            problems,
            "on",
            format!("{} acts on a process, and `{on}` is none", fields.name()),
            hint,
        );
        return None;
    }
    let plays = |known: &Known| *known.name == *on || known.role.as_deref() == Some(&*on);
    let found: Vec<usize> = (0..system.dependencies.len())
        .filter(|index| plays(&system.dependencies[*index]))
        .collect();
    if found.is_empty() {
        let names = dependency_names(system);
        let hint = if system.instances.iter().any(|instance| **instance == *on) {
            format!("to mean the instance, write \"instance:{on}\"")
        } else {
            hint_among(&on, names.iter().copied())
        };
        fields.problem(
            problems,
            "on",
            format!("no dependency has the role or name `{on}`"),
            hint,
        );
        return None;
    }
    Some(Target::Dependencies(found))
}

fn instance(
    fields: &Fields<'_>,
    name: &str,
    on_process: Option<bool>,
    system: &Outline,
    problems: &mut Problems,
) -> Option<Target> {
    if on_process == Some(false) {
        fields.problem(
            problems,
            "on",
            format!(
                "{} acts on a dependency, and `instance:{name}` is a process",
                fields.name()
            ),
            "name a role or a dependency".to_owned(),
        );
        return None;
    }
    if let Some(known) = system.instances.iter().find(|known| ***known == *name) {
        return Some(Target::Instance(Arc::clone(known)));
    }
    let hint = if system.external {
        "the system is external: Brownout has no process of it".to_owned()
    } else {
        hint_among(name, system.instances.iter().map(|known| &**known))
    };
    fields.problem(
        problems,
        "on",
        format!("no instance is named `{name}`"),
        hint,
    );
    None
}

/// Names and roles, each once.
fn dependency_names(system: &Outline) -> Vec<&str> {
    let mut names = Vec::new();
    for known in &system.dependencies {
        for name in [Some(&*known.name), known.role.as_deref()]
            .into_iter()
            .flatten()
        {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// The protocols that a fault must be carried by, one for each dependency of its target. Where
/// the target is unknown, the kind's own example protocol stands in, so that its keys are checked.
fn protocols(target: Option<&Target>, def: &FaultDef, system: Option<&Outline>) -> Vec<Protocol> {
    match (target, system) {
        (Some(Target::Dependencies(indices)), Some(system)) => indices
            .iter()
            .map(|index| {
                system.dependencies[*index]
                    .protocol
                    .unwrap_or(def.example_protocol)
            })
            .collect(),
        _ => vec![def.example_protocol],
    }
}

/// The behaviour for each protocol. A mistake that several protocols find is reported once.
fn behaviours(
    def: &FaultDef,
    fields: &Fields<'_>,
    protocols: &[Protocol],
    gate: Option<&Gate>,
    problems: &mut Problems,
) -> Option<Vec<Arc<dyn Behaviour>>> {
    let open = Gate::default();
    let mut behaviours = Vec::with_capacity(protocols.len());
    for protocol in protocols {
        let mut found = Problems::default();
        behaviours.push(def.read(fields, *protocol, gate.unwrap_or(&open), &mut found));
        for problem in found.as_slice() {
            if !problems
                .as_slice()
                .iter()
                .any(|known| known.says_the_same(problem))
            {
                problems.add(problem.clone());
            }
        }
    }
    behaviours.into_iter().collect()
}
