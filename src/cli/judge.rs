//! `brownout judge`: a recorded history judged again, on whichever machine.

use super::{Exit, Failure, args::Judge, files, outputs::Outputs, paths::in_words, say};
use crate::{
    expectation,
    history::{History, HistoryError, Run},
    input::{Problem, Problems, Severity, Source},
    report::{self, Material, ScenarioReport, SuiteReport},
    scenario::{Scenario, System, from_texts},
};
use std::path::{Path, PathBuf};

/// Carries it out.
pub fn judge(args: &Judge) -> Result<Exit, Failure> {
    let history = History::read(&args.history).map_err(|error| unreadable(&error))?;
    let (scenario, system) = sources(&history.run, args.scenario.as_deref())?;
    fits(&history, &scenario)?;
    let mut outputs = args.out.as_deref().map(Outputs::open).transpose()?;
    let one = judged(&history, &scenario, &system, &args.history);
    let mut suite = SuiteReport::new(history.run.began.clone(), history.run.seed, vec![one]);
    let written = outputs
        .as_mut()
        .map_or(Ok(()), |outputs| outputs.write(&mut suite));
    say::data(&report::terminal(&suite))?;
    written?;
    Ok(suite.status.into())
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
/// the same ones.
fn fits(history: &History, scenario: &Scenario) -> Result<(), Failure> {
    let last = history.phases.iter().map(|span| span.index).max();
    let phases_fit = last.is_none_or(|last| last < scenario.phases.len());
    let known = |id| {
        scenario
            .phases
            .iter()
            .flat_map(|phase| &phase.faults)
            .any(|fault| fault.id == id)
    };
    if phases_fit && history.faults.iter().all(|span| known(span.fault)) {
        return Ok(());
    }
    Err(Failure::usage(
        format!(
            "`{}` has other phases or faults than the history",
            scenario.source.name
        ),
        "judge by a scenario that differs in its expectations only",
    ))
}

fn judged(history: &History, scenario: &Scenario, system: &System, file: &Path) -> ScenarioReport {
    report::build(Material {
        history,
        scenario,
        system,
        verdicts: expectation::judge(history, scenario, system),
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
