//! A scenario file to a valid [`Scenario`].

use super::{
    FaultSpec, Incident, Lasts, Phase, Scenario, expects, faults,
    scope::Once,
    system::{Outline, above_zero},
};
use crate::{
    input::{Fields, Item, Problems, did_you_mean, hint_among, parse_factor},
    units::{UnitError, format_duration, parse_duration},
};
use std::{sync::Arc, time::Duration};

const HOLD: Duration = Duration::from_secs(5);

/// The greatest factor by which a phase changes a load.
const PACE_MAX: f64 = 1_000.0;

/// The most phases of a scenario.
pub const PHASES_MAX: usize = 100;
/// The most faults of a scenario, all phases together.
pub const FAULTS_MAX: usize = 500;

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
    let expects = expects::read(root, &phases, system, problems);
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
pub(super) fn line(
    fields: &Fields<'_>,
    key: &'static str,
    problems: &mut Problems,
) -> Option<String> {
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
    let mut once = Once::default();
    let mut fault_count = 0;
    let mut phases = Vec::with_capacity(tables.len());
    for (index, table) in tables.iter().enumerate() {
        let loads = loads(table, system, problems);
        let before = fault_count;
        let faults = faults::read(table, system, &mut fault_count, problems);
        let place = Place {
            first: index == 0,
            last: index + 1 == tables.len(),
            has_faults: fault_count > before,
            has_loads: !loads.is_empty(),
        };
        let mut phase = phase(table, &place, faults, hold, &mut once, problems);
        phase.loads = loads;
        phases.push(phase);
    }
    check_aftermath(&tables, &phases, problems);
    at_most(root, "phase", tables.len(), PHASES_MAX, "phases", problems);
    at_most(root, "phase", fault_count, FAULTS_MAX, "faults", problems);
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

fn phase(
    table: &Fields<'_>,
    place: &Place,
    faults: Vec<FaultSpec>,
    hold: Duration,
    once: &mut Once,
    problems: &mut Problems,
) -> Phase {
    let steady = table.bool("steady", problems).unwrap_or(false);
    place.check(table, steady, problems);
    let name = table.text("name", problems);
    if let Some(name) = &name {
        line(table, "name", problems);
        once.take(name, "phase", table.source, problems);
    }
    Phase {
        name: name.map_or_else(String::new, |name| name.value).into(),
        lasts: lasts(table, place.last, hold, problems),
        steady,
        aftermath: table.bool("aftermath", problems).unwrap_or(false),
        happened: table.text("happened", problems).map(|text| text.value),
        loads: Vec::new(),
        faults,
        span: table.span.clone(),
    }
}

/// What comes after an outage comes after a fault, and nothing but it and the recovery follow.
fn check_aftermath(tables: &[Fields<'_>], phases: &[Phase], problems: &mut Problems) {
    let goes_wrong = |phase: &Phase| !phase.aftermath && !phase.faults.is_empty();
    let first = phases.iter().position(goes_wrong);
    let last = phases.iter().rposition(goes_wrong);
    let marked = |index: &usize| phases[*index].aftermath;
    for index in (0..phases.len()).filter(marked) {
        let (message, hint) = if index + 1 == phases.len() {
            (
                "the last phase is the recovery itself",
                "leave `aftermath` out: it belongs to a phase with faults before it",
            )
        } else if first.is_none_or(|first| index < first) {
            (
                "there was no outage that this phase could come after",
                "put it behind the phases in which something fails",
            )
        } else if last.is_some_and(|last| index < last) {
            (
                "a later phase fails again: the outage is not over",
                "let that phase have `aftermath = true` as well, or leave it out here",
            )
        } else {
            continue;
        };
        tables[index].problem(problems, "aftermath", message, hint.to_owned());
    }
}

/// The loads whose rate a phase changes.
fn loads(
    table: &Fields<'_>,
    system: Option<&Outline>,
    problems: &mut Problems,
) -> Vec<(Arc<str>, f64)> {
    let texts = table.text_map("load", problems).unwrap_or_default();
    let mut loads = Vec::with_capacity(texts.len());
    for (name, text) in texts {
        let known = system.map(|system| &system.loads[..system.driven]);
        if let Some(known) = known.filter(|known| !known.iter().any(|load| **load == *name)) {
            let hint = hint_among(&name, known.iter().map(|load| &**load));
            let message = format!("unknown load `{name}`");
            problems.error(table.source, text.span.clone(), message, hint);
        }
        match parse_factor(&text.value) {
            Ok(factor) if factor > 0.0 && factor <= PACE_MAX => {
                loads.push((name.as_str().into(), factor));
            }
            Ok(_) => {
                let message = format!("a load changes by a factor above zero, at most {PACE_MAX}x");
                problems.error(table.source, text.span, message, None);
            }
            Err(error) => problems.error(table.source, text.span, error.to_string(), None),
        }
    }
    loads
}

/// Reports more of something than a scenario may have.
pub(super) fn at_most(
    root: &Fields<'_>,
    key: &str,
    count: usize,
    max: usize,
    what: &str,
    problems: &mut Problems,
) {
    if count > max {
        root.problem(problems, key, format!("more than {max} {what}"), None);
    }
}

/// Whether an array stands there and holds nothing.
pub(super) fn is_empty_array(root: &Fields<'_>, key: &'static str) -> bool {
    root.raw(key)
        .and_then(|value| value.get_ref().as_array())
        .is_some_and(|items| items.is_empty())
}

/// Where a phase stands, and whether it has faults.
struct Place {
    first: bool,
    last: bool,
    has_faults: bool,
    has_loads: bool,
}

impl Place {
    /// The first phase is the baseline, the last the recovery; both are without faults.
    fn check(&self, table: &Fields<'_>, steady: bool, problems: &mut Problems) {
        let wrong = match (steady, self) {
            (false, Self { first: true, .. }) => (
                "steady",
                "the first phase is not the steady one",
                "begin with a phase without faults and with `steady = true`: it is the baseline for all that follows",
            ),
            (true, Self { first: false, .. }) => (
                "steady",
                "only the first phase can be the steady one",
                "leave `steady` out",
            ),
            (
                _,
                Self {
                    first,
                    has_loads: true,
                    last,
                    ..
                },
            ) if *first || *last => (
                "load",
                "a load changes in the first or the last phase",
                "change it in a phase between them: what is compared with the baseline must be the same load",
            ),
            (
                true,
                Self {
                    has_faults: true, ..
                },
            ) => (
                "fault",
                "the steady phase has a fault",
                "move it to a later phase: the baseline must be healthy",
            ),
            (
                _,
                Self {
                    last: true,
                    has_faults: true,
                    ..
                },
            ) => (
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
                format_duration(at_most),
                format_duration(hold)
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

/// Reports a kind that is missing or unknown.
pub(super) fn unknown_kind<'a>(
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
