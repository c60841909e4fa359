//! `brownout judge`: a recorded history judged again, on whichever machine.

use super::{
    Exit, Failure, args::Judge, files, outputs::Outputs, paths::in_words, publish::Publication,
};
use crate::{
    expectation::{self, Verdict},
    fault::Gate,
    history::{History, HistoryError, Run},
    input::{Problem, Problems, Severity, Source},
    report::{self, Material, ScenarioReport, SuiteReport},
    scenario::{FaultSpec, Lasts, Phase, Scenario, System, from_texts},
    units::format_duration,
};
use std::path::{Path, PathBuf};

/// Carries it out.
pub fn judge(args: &Judge) -> Result<Exit, Failure> {
    let history = History::read(&args.history).map_err(|error| unreadable(&error))?;
    let (scenario, system) = sources(&history.run, args.scenario.as_deref())?;
    fits(&history, &scenario, args.scenario.is_some())?;
    let mut outputs = args.out.as_deref().map(Outputs::open).transpose()?;
    let publication = Publication::open(&args.publish)?;
    let one = judged(&history, &scenario, &system, &args.history);
    let mut suite = SuiteReport::new(history.run.began.clone(), history.run.seed, vec![one]);
    let written = outputs
        .as_mut()
        .map_or(Ok(()), |outputs| outputs.write(&mut suite));
    publication.publish(&suite)?;
    written?;
    // It goes with the process: to take a million observations apart would take a while.
    std::mem::forget(history);
    Ok(suite.status.into())
}

/// A recorded run judged by the files that it carries.
///
/// # Errors
/// It cannot be read, or its files are not valid for this Brownout.
pub fn again(file: &Path) -> Result<ScenarioReport, Failure> {
    let history = History::read(file).map_err(|error| unreadable(&error))?;
    let (scenario, system) = sources(&history.run, None)?;
    fits(&history, &scenario, false)?;
    Ok(judged(&history, &scenario, &system, file))
}

/// What a recorded run holds, without a verdict.
///
/// # Errors
/// As [`again`].
pub fn unjudged(file: &Path) -> Result<ScenarioReport, Failure> {
    let history = History::read(file).map_err(|error| unreadable(&error))?;
    let (scenario, system) = sources(&history.run, None)?;
    fits(&history, &scenario, false)?;
    let verdicts = Vec::new();
    Ok(reported(&history, &scenario, &system, file, verdicts))
}

/// The scenario and the system that a history holds, if they are valid.
pub fn files_of(run: &Run) -> Option<(Scenario, System)> {
    let source = |(name, text): &(String, String)| Source::new(name.as_str(), text.as_str());
    let folder = Path::new(&run.system.0).parent().map(Path::to_path_buf);
    from_texts(
        source(&run.scenario),
        source(&run.system),
        folder.unwrap_or_default(),
        &mut Problems::default(),
    )
}

fn unreadable(error: &HistoryError) -> Failure {
    let message = match error {
        HistoryError::Read { path, source } => {
            format!("cannot read `{}`: {}", path.display(), in_words(source))
        }
        other => other.to_string(),
    };
    Failure::usage(
        message,
        "a history is the `history.jsonl` that `brownout run` wrote",
    )
}

/// The scenario and the system: the texts in the history, or another scenario's file.
fn sources(run: &Run, other: Option<&Path>) -> Result<(Scenario, System), Failure> {
    let source = |(name, text): &(String, String)| Source::new(name.as_str(), text.as_str());
    let is_known = |(_, text): &(String, String)| !text.is_empty();
    if !is_known(&run.system) || !(other.is_some() || is_known(&run.scenario)) {
        return Err(Failure::usage(
            "the history was given out without the texts of its files",
            "judge the one that the run wrote: `brownout serve` keeps it below its --runs",
        ));
    }
    let mut problems = Problems::default();
    let scenario = match other {
        None => Some(source(&run.scenario)),
        Some(path) => read(path, &mut problems),
    };
    let system = source(&run.system);
    // Nothing is started, so it does not matter where relative programs would be looked for.
    let folder = Path::new(&run.system.0)
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf);
    let both = scenario.and_then(|scenario| from_texts(scenario, system, folder, &mut problems));
    files::show(problems)?;
    both.ok_or_else(Failure::shown)
}

fn read(path: &Path, problems: &mut Problems) -> Option<Source> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Some(Source::new(name, text)),
        Err(error) => {
            problems.add(Problem {
                severity: Severity::Error,
                message: format!("cannot read `{name}`: {}", in_words(&error)),
                source: None,
                span: None,
                hint: None,
            });
            None
        }
    }
}

/// Phases and faults are known to a history by their place alone, so another scenario must have
/// the very ones that the recorded scenario has: what was never injected is not judged.
fn fits(history: &History, scenario: &Scenario, other: bool) -> Result<(), Failure> {
    let unlike = |how: String| {
        Failure::usage(
            format!(
                "`{}` has other phases or faults than the history{how}",
                scenario.source.name
            ),
            "judge by a scenario that differs in its expectations only",
        )
    };
    if !has_all_of(scenario, history) {
        return Err(unlike(String::new()));
    }
    if !other {
        return Ok(());
    }
    let (recorded, _) = sources(&history.run, None)?;
    match difference(&outline(&recorded), &outline(scenario)) {
        Some((was, is)) => Err(unlike(format!(": {is} where {was} was recorded"))),
        None => Ok(()),
    }
}

/// Whether a scenario has every phase and every fault that a history speaks of.
pub(crate) fn has_all_of(scenario: &Scenario, history: &History) -> bool {
    let last = history.phases.iter().map(|span| span.index).max();
    let faults = || scenario.phases.iter().flat_map(|phase| &phase.faults);
    let mut spans = history.faults.iter();
    last.is_none_or(|last| last < scenario.phases.len())
        && spans.all(|span| faults().any(|fault| fault.id == span.fault))
}

/// A phase or a fault.
#[derive(Debug, PartialEq)]
struct Part<'a> {
    /// How it is called.
    name: String,
    /// What is said of it where it differs.
    said: String,
    /// What counts and is not said: it may hold a secret, or be long.
    more: Option<(&'a str, &'a Gate)>,
}

/// The first two parts that differ, in words.
fn difference(recorded: &[Part<'_>], given: &[Part<'_>]) -> Option<(String, String)> {
    let pairs = (0..recorded.len().max(given.len())).map(|at| (recorded.get(at), given.get(at)));
    let (was, is) = pairs.into_iter().find(|(was, is)| was != is)?;
    let said = |part: Option<&Part<'_>>| match part {
        None => "nothing".to_owned(),
        Some(part) if was.map(|one| &one.name) != is.map(|one| &one.name) => part.name.clone(),
        Some(part) => part.said.clone(),
    };
    let (was, is) = (said(was), said(is));
    match was == is {
        true => Some((was, format!("{is} with other parameters"))),
        false => Some((was, is)),
    }
}

/// What is judged by, in order: each phase with all that its observations hang on, and each of its
/// faults with all that it was told.
fn outline(scenario: &Scenario) -> Vec<Part<'_>> {
    let phases = scenario.phases.iter();
    phases
        .flat_map(|phase| {
            let faults = phase.faults.iter().map(outlined_fault);
            std::iter::once(outlined(phase)).chain(faults)
        })
        .collect()
}

fn outlined_fault(fault: &FaultSpec) -> Part<'_> {
    Part {
        name: format!("{} on `{}`", fault.kind, fault.on),
        said: format!("`{}`", fault.label),
        more: Some((&fault.likeness, &fault.gate)),
    }
}

fn outlined(phase: &Phase) -> Part<'static> {
    let name = format!("phase `{}`", phase.name);
    let lasts = match phase.lasts {
        Lasts::For(length) => format_duration(length),
        Lasts::UntilSteady { at_most } => {
            format!("until steady, at most {}", format_duration(at_most))
        }
    };
    let mut said = format!("{name} (lasts {lasts}");
    for (is, word) in [(phase.steady, "steady"), (phase.aftermath, "aftermath")] {
        if is {
            said.push_str(&format!(", {word}"));
        }
    }
    for (load, factor) in &phase.loads {
        said.push_str(&format!(", {factor} times `{load}`"));
    }
    said.push(')');
    Part {
        name,
        said,
        more: None,
    }
}

fn judged(history: &History, scenario: &Scenario, system: &System, file: &Path) -> ScenarioReport {
    let verdicts = expectation::judge(history, scenario, system);
    reported(history, scenario, system, file, verdicts)
}

fn reported(
    history: &History,
    scenario: &Scenario,
    system: &System,
    file: &Path,
    verdicts: Vec<Verdict>,
) -> ScenarioReport {
    report::build(Material {
        history,
        scenario,
        system,
        verdicts,
        trouble: None,
        repeat: super::run::repeat_command(
            &scenario.source.name,
            Some(&system.source.name),
            history.run.seed,
            history.run.speed,
        ),
        file: Some(file.display().to_string()),
    })
}
