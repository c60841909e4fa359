//! A scenario file to a valid [`Scenario`].

use super::{
    Expect, FaultSpec, Incident, Lasts, Phase, Scenario, System, Target, keys,
    scope::Once,
    system::{Known, Outline, above_zero},
};
use crate::{
    expectation::{self, EXPECTATIONS, Foresight, Names},
    fault::{self, Behaviour, FAULTS, FaultDef, FaultId, Gate, Group, gate},
    input::{Fields, Item, Problems, Source, Span, did_you_mean, hint_among},
    protocol::Protocol,
    units::{UnitError, parse_duration},
};
use std::{sync::Arc, time::Duration};
use toml::de::{DeTable, DeValue};

const HOLD: Duration = Duration::from_secs(5);

/// The most phases of a scenario.
pub const PHASES_MAX: usize = 100;
/// The most faults of a scenario, all phases together.
pub const FAULTS_MAX: usize = 500;
/// The most expectations of a scenario.
pub const EXPECTS_MAX: usize = 500;

/// The most characters that one parameter takes in a fault's label.
const LABEL_PART_MAX: usize = 60;

/// Reads a scenario from its parsed text. Without an outline of its system (which could not be
/// read) no name can be checked; everything else is. The scenario is valid only if no error was
/// appended.
pub(super) fn read(
    root: &Fields<'_>,
    system: Option<&Outline>,
    problems: &mut Problems,
) -> Option<Scenario> {
    let title = line(root, "title", problems);
    let incident = incident(root, problems);
    let story = root.text("story", problems).map(|story| story.value);
    let tags = root.texts("tags", problems).unwrap_or_default();
    let hold = above_zero(root, "hold", HOLD, problems);
    let phases = phases(root, system, hold, problems);
    let expects = expects(root, &phases, system, problems);
    Some(Scenario {
        source: root.source.clone(),
        title: title?,
        incident,
        story,
        tags: tags.into_iter().map(|tag| tag.value).collect(),
        phases,
        expects,
        hold,
    })
}

/// A text that is one line and not empty.
fn line(fields: &Fields<'_>, key: &'static str, problems: &mut Problems) -> Option<String> {
    let text = fields.text(key, problems)?;
    if text.value.trim().is_empty() || text.value.contains(char::is_control) {
        fields.problem(
            problems,
            key,
            format!("`{key}` must be one line of text"),
            None,
        );
    }
    Some(text.value)
}

fn incident(root: &Fields<'_>, problems: &mut Problems) -> Option<Incident> {
    let fields = root.table("incident", problems)?;
    let who = line(&fields, "who", problems);
    let on = fields.date("on", problems);
    let source = fields.text("source", problems);
    let is_url = |text: &str| text.starts_with("https://") || text.starts_with("http://");
    if source.as_ref().is_some_and(|source| !is_url(&source.value)) {
        fields.problem(
            problems,
            "source",
            "the source of an incident is a web address",
            "\"https://…\"".to_owned(),
        );
    }
    Some(Incident {
        who: who?,
        on: on?.value,
        source: source.map(|source| source.value),
    })
}

fn phases(
    root: &Fields<'_>,
    system: Option<&Outline>,
    hold: Duration,
    problems: &mut Problems,
) -> Vec<Phase> {
    let tables = root.tables("phase", "phase", problems);
    if is_empty_array(root, "phase") {
        root.problem(
            problems,
            "phase",
            "no phase: nothing would happen",
            "begin with a steady phase, then one with a fault, then the recovery".to_owned(),
        );
    }
    if tables.len() > PHASES_MAX {
        root.problem(
            problems,
            "phase",
            format!("more than {PHASES_MAX} phases"),
            None,
        );
    }
    let mut once = Once::default();
    let mut fault_count = 0;
    let mut phases = Vec::with_capacity(tables.len());
    for (index, table) in tables.iter().enumerate() {
        let last = index + 1 == tables.len();
        let before = fault_count;
        let faults = faults(table, system, &mut fault_count, problems);
        let steady = table.bool("steady", problems).unwrap_or(false);
        let place = Place {
            first: index == 0,
            last,
            steady,
            has_faults: fault_count > before,
        };
        place.check(table, problems);
        let name = table.text("name", problems);
        if let Some(name) = &name {
            line(table, "name", problems);
            once.take(name, "phase", table.source, problems);
        }
        phases.push(Phase {
            name: name.map_or_else(String::new, |name| name.value).into(),
            lasts: lasts(table, last, hold, problems),
            steady,
            happened: table.text("happened", problems).map(|text| text.value),
            faults,
            span: table.span.clone(),
        });
    }
    if fault_count > FAULTS_MAX {
        root.problem(
            problems,
            "phase",
            format!("more than {FAULTS_MAX} faults"),
            None,
        );
    }
    if fault_count == 0 && !tables.is_empty() {
        problems.error(
            root.source,
            None,
            "no phase has a fault: nothing would go wrong",
            "add a `[[phase.fault]]` to a phase between the first and the last".to_owned(),
        );
    }
    phases
}

fn is_empty_array(root: &Fields<'_>, key: &'static str) -> bool {
    root.raw(key)
        .and_then(|value| value.get_ref().as_array())
        .is_some_and(|items| items.is_empty())
}

/// Where a phase stands, and what it says of itself.
struct Place {
    first: bool,
    last: bool,
    steady: bool,
    has_faults: bool,
}

impl Place {
    /// The first phase is the baseline, the last the recovery; both are without faults.
    fn check(&self, table: &Fields<'_>, problems: &mut Problems) {
        let wrong = match self {
            Self {
                first: true,
                steady: false,
                ..
            } => (
                "steady",
                "the first phase is not the steady one",
                "begin with a phase without faults and with `steady = true`: it is the baseline for all that follows",
            ),
            Self {
                first: false,
                steady: true,
                ..
            } => (
                "steady",
                "only the first phase can be the steady one",
                "leave `steady` out",
            ),
            Self {
                steady: true,
                has_faults: true,
                ..
            } => (
                "fault",
                "the steady phase has a fault",
                "move it to a later phase: the baseline must be healthy",
            ),
            Self {
                last: true,
                has_faults: true,
                ..
            } => (
                "fault",
                "the last phase has a fault",
                "add a phase without faults after it, with `lasts = \"until steady, at most 60s\"`: it shows whether the system recovers",
            ),
            _ => return,
        };
        let (key, message, hint) = wrong;
        table.problem(problems, key, message, hint.to_owned());
    }
}

fn lasts(table: &Fields<'_>, last: bool, hold: Duration, problems: &mut Problems) -> Lasts {
    let fallback = Lasts::For(Duration::from_secs(1));
    let Some(lasts) = table.parsed("lasts", problems, parse_lasts) else {
        return fallback;
    };
    match lasts {
        Lasts::For(length) if length.is_zero() => {
            table.problem(problems, "lasts", "a phase of no length", None);
        }
        Lasts::UntilSteady { .. } if !last => table.problem(
            problems,
            "lasts",
            "only the last phase can wait for the system to be steady",
            "give this phase a length, like \"20s\"".to_owned(),
        ),
        Lasts::UntilSteady { at_most } if at_most <= hold => table.problem(
            problems,
            "lasts",
            format!(
                "no recovery can be seen in {}: everything must hold for {}",
                crate::units::format_duration(at_most),
                crate::units::format_duration(hold)
            ),
            "let the phase last longer, or shorten `hold`".to_owned(),
        ),
        _ => {}
    }
    lasts
}

/// Reads `"20s"` and `"until steady, at most 60s"`.
fn parse_lasts(text: &str) -> Result<Lasts, UnitError> {
    let wrong = || {
        UnitError(format!(
            "expected a length like \"20s\", or \"until steady, at most 60s\", not {text:?}"
        ))
    };
    let Some(rest) = text.trim().strip_prefix("until steady") else {
        return parse_duration(text).map(Lasts::For).map_err(|_| wrong());
    };
    let limit = rest
        .trim_start()
        .strip_prefix(',')
        .and_then(|rest| rest.trim_start().strip_prefix("at most"))
        .ok_or_else(wrong)?;
    parse_duration(limit)
        .map(|at_most| Lasts::UntilSteady { at_most })
        .map_err(|_| wrong())
}

fn faults(
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
    faults
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
        unknown_kind(
            &common,
            kind,
            "fault",
            FAULTS.iter().map(|def| def.name),
            problems,
        );
        // The rest is read for its problems alone.
        target(&common, None, system, problems);
        Gate::parse(&common, problems);
        return None;
    };
    let name = format!("fault `{}`", def.name);
    let fields = Fields::new(
        table,
        span.clone(),
        source,
        name,
        gate::KEYS,
        &[def.keys],
        problems,
    );
    let on = fields
        .text("on", problems)
        .map_or_else(String::new, |on| on.value);
    let target = target(&fields, Some(def), system, problems);
    let gate = Gate::parse(&fields, problems);
    let protocols = protocols(target.as_ref(), def, system);
    let behaviours = behaviours(def, &fields, &protocols, gate.as_ref(), problems);
    let gate = gate?;
    Some(FaultSpec {
        id,
        kind: def.name,
        label: label(def, &on, table, &gate),
        on,
        target: target?,
        behaviours: behaviours?,
        gate,
        span,
    })
}

/// One line for people: `error on object-store, InternalError, applied maybe, 30%`.
fn label(def: &FaultDef, on: &str, table: &DeTable<'_>, gate: &Gate) -> String {
    let mut label = format!("{} on {on}", def.name);
    for key in def.keys {
        if let Some(value) = table.get(key.name) {
            let mut said = String::new();
            in_words(key.name, value.get_ref(), &mut said);
            // The kind's main parameter often bears the kind's own name.
            let said = said
                .strip_prefix(&format!("{} ", def.name))
                .unwrap_or(&said);
            label.push_str(", ");
            label.extend(said.chars().take(LABEL_PART_MAX));
        }
    }
    let picked = gate.to_string();
    if !picked.is_empty() {
        label.push_str(", ");
        label.push_str(&picked);
    }
    label
}

/// Appends a key and its value as people would say them.
fn in_words(key: &str, value: &DeValue<'_>, said: &mut String) {
    let join = |said: &mut String, text: &str| {
        if !said.is_empty() {
            said.push(' ');
        }
        said.extend(text.chars().filter(|c| !c.is_control()));
    };
    match value {
        DeValue::Boolean(true) => join(said, key),
        DeValue::Boolean(false) => join(said, &format!("not {key}")),
        DeValue::String(text) => join(said, &format!("{key} {text}")),
        DeValue::Integer(number) => join(said, &format!("{key} {number}")),
        DeValue::Float(number) => join(said, &format!("{key} {number}")),
        DeValue::Datetime(moment) => join(said, &format!("{key} {moment}")),
        DeValue::Array(items) => {
            join(said, key);
            for item in items.iter() {
                if let DeValue::String(text) = item.get_ref() {
                    join(said, text);
                }
            }
        }
        DeValue::Table(table) => {
            join(said, key);
            for (key, value) in table.iter() {
                in_words(key.get_ref(), value.get_ref(), said);
            }
        }
    }
}

/// Reports a kind that is missing or unknown.
fn unknown_kind<'a>(
    fields: &Fields<'_>,
    kind: Option<Item<String>>,
    what: &str,
    known: impl Iterator<Item = &'a str> + Clone,
    problems: &mut Problems,
) {
    let listing = format!("`brownout list {what}s` shows all kinds");
    let Some(kind) = kind else {
        if fields.has("kind") {
            fields.text("kind", problems);
        } else {
            fields.problem(
                problems,
                "kind",
                format!("{} has no `kind`", fields.name()),
                listing,
            );
        }
        return;
    };
    let hint = match did_you_mean(&kind.value, known) {
        Some(near) => format!("did you mean `{near}`? {listing}"),
        None => listing,
    };
    fields.problem(
        problems,
        "kind",
        format!("unknown {what} kind `{}`", kind.value),
        hint,
    );
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

fn expects(
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
    if tables.len() > EXPECTS_MAX {
        root.problem(
            problems,
            "expect",
            format!("more than {EXPECTS_MAX} expectations"),
            None,
        );
    }
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
    let fields = Fields::new(
        table,
        span.clone(),
        source,
        name,
        keys::EXPECT,
        &[def.keys],
        problems,
    );
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
        span,
    })
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

/// Appends what the expectations can see beforehand: a phase too short, a load too thin. What
/// comes through the ingress is not known beforehand.
pub(super) fn forewarn(scenario: &Scenario, system: &System, problems: &mut Problems) {
    let loads: Vec<(&str, f64)> = system
        .loads
        .iter()
        .map(|load| (&*load.name, load.rate.as_per_second()))
        .collect();
    for expect in &scenario.expects {
        let phases = expectation::judged_phases(expect, scenario)
            .into_iter()
            .filter_map(|index| scenario.phases.get(index))
            .map(|phase| (&*phase.name, phase.lasts.at_most()))
            .collect();
        let foresight = Foresight {
            phases,
            loads: loads.clone(),
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
