//! `brownout run`: scenarios run against a system, and judged.
//!
//! Nothing is started before every file has been read and every output opened. Whatever happens
//! to one scenario, the reports are written at the end.

use super::{
    Exit, Failure, args::Run as Args, bug, files, files::Ready, interrupt::Interrupt,
    outputs::Outputs, progress::Progress, publish::Publication, so_far, so_far::Preview,
};
use crate::{
    expectation,
    history::{HISTORY_VERSION, History, Run as RunHead},
    report::{self, Material, ScenarioReport, SuiteReport, Trouble, TroubleKind, quoted},
    run::{Events, Options, Ran, RunError},
    seed::Seed,
};
use futures_util::{StreamExt, stream};
use std::{path::Path, sync::Arc};

/// Carries it out.
pub fn run(args: &Args) -> Result<Exit, Failure> {
    let ready = files::read(&args.paths, args.system.as_deref())?;
    let seed = args.seed.map_or_else(Seed::fresh, Seed);
    let mut outputs = Outputs::open(&args.out)?;
    let publication = Publication::open(&args.publish)?;
    let tasks = tasks(ready, args, &outputs, seed)?;
    let progress = Progress::new(args.quiet, args.verbose);
    let began = jiff::Timestamp::now().to_string();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let reports = runtime.block_on(all(tasks, jobs(args), &progress))?;
    let mut suite = SuiteReport::new(began, seed.0, reports);
    let written = outputs.write(&mut suite);
    publication.publish(&suite)?;
    written?;
    Ok(Exit::of_run(&suite))
}

/// Scenarios side by side for each core, where nobody says how many.
const JOBS_EACH_CORE: usize = 3;

fn jobs(args: &Args) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    args.jobs
        .map_or_else(|| JOBS_EACH_CORE * cores(), usize::from)
}

/// One scenario that is to be run.
#[derive(Debug)]
struct Task {
    ready: Ready,
    options: Options,
    repeat: String,
    /// What stands before its progress, where several run side by side.
    name: Option<String>,
}

fn tasks(
    ready: Vec<Ready>,
    args: &Args,
    outputs: &Outputs,
    seed: Seed,
) -> Result<Vec<Task>, Failure> {
    let mut taken = Vec::new();
    let several = ready.len() > 1;
    let mut tasks = Vec::new();
    for ready in ready {
        let folder = outputs.scenario_folder(&ready.file, &mut taken)?;
        let system = args.system.as_ref().map(|file| file.display().to_string());
        tasks.push(Task {
            repeat: repeat_command(
                &ready.file.display().to_string(),
                system.as_deref(),
                seed.0,
                args.speed,
            ),
            name: taken.last().filter(|_| several).cloned(),
            options: Options {
                folder,
                seed,
                speed: args.speed,
            },
            ready,
        });
    }
    Ok(tasks)
}

/// The command that runs a scenario again with the same decisions.
pub fn repeat_command(file: &str, system: Option<&str>, seed: u64, speed: f64) -> String {
    let mut command = format!("brownout run {}", quoted(file));
    if let Some(system) = system {
        command.push_str(&format!(" --system {}", quoted(system)));
    }
    command.push_str(&format!(" --seed {seed}"));
    if speed != 1.0 {
        command.push_str(&format!(" --speed {speed}x"));
    }
    command
}

/// All scenarios, some of them side by side, on the thread that calls: what they start hangs on
/// it. The reports come in the order of the tasks.
async fn all(
    tasks: Vec<Task>,
    jobs: usize,
    progress: &Progress,
) -> Result<Vec<ScenarioReport>, Failure> {
    let interrupt = Interrupt::listen(progress.clone())?;
    let reports = stream::iter(tasks)
        .map(|task| Box::pin(one(task, progress, &interrupt)))
        .buffered(jobs)
        .collect()
        .await;
    Ok(reports)
}

async fn one(task: Task, progress: &Progress, interrupt: &Interrupt) -> ScenarioReport {
    let task = Arc::new(task);
    if interrupt.asked() {
        return not_begun(&task, interrupted("before its turn came"));
    }
    let (events, watch) = progress.watch(task.name.as_deref(), preview(&task));
    let outcome = carried_through(&task, &events, interrupt).await;
    drop(events);
    let told = watch.close();
    let judging = Arc::clone(&task);
    // Judging keeps a processor busy; other scenarios' phases must not wait for it.
    let report = tokio::task::spawn_blocking(move || judged(&judging, outcome))
        .await
        .unwrap_or_else(|_| not_begun(&task, a_bug()));
    progress.correct(task.name.as_deref(), &told, &report.verdicts);
    report
}

/// What it takes to judge a task while it is being carried out.
fn preview(task: &Arc<Task>) -> Preview {
    let Ready {
        scenario, system, ..
    } = &task.ready;
    let judging = Arc::clone(task);
    let judge = move |over| {
        let Ready {
            scenario, system, ..
        } = &judging.ready;
        let path = judging.options.folder.join("history.jsonl");
        so_far::judged(&path, scenario, system, over)
    };
    Preview::new(scenario, system, Arc::new(judge))
}

/// Runs it, or gives up at once where somebody asked twice: whatever was started is ended as the
/// run is dropped.
async fn carried_through(
    task: &Task,
    events: &Events,
    interrupt: &Interrupt,
) -> Result<Ran, Option<RunError>> {
    let Ready {
        scenario, system, ..
    } = &task.ready;
    let run = crate::run::run(scenario, system, &task.options, events, interrupt.gently());
    tokio::select! {
        ran = run => ran.map_err(Some),
        () = interrupt.at_once() => Err(None),
    }
}

/// The report of what was recorded, as far as it goes.
fn judged(task: &Task, outcome: Result<Ran, Option<RunError>>) -> ScenarioReport {
    let path = task.options.folder.join("history.jsonl");
    let trouble = match outcome {
        Ok(_) => None,
        Err(Some(error)) => Some(trouble(&error)),
        Err(None) => Some(interrupted("and then hurried")),
    };
    let history = match (History::read(&path), trouble) {
        (Ok(history), trouble) => return with_history(task, &history, &path, trouble),
        (Err(_), Some(trouble)) => return not_begun(task, trouble),
        (Err(error), None) => error,
    };
    let broke = Trouble {
        kind: TroubleKind::BrokeOff,
        message: history.to_string(),
        detail: None,
    };
    not_begun(task, broke)
}

fn with_history(
    task: &Task,
    history: &History,
    path: &Path,
    trouble: Option<Trouble>,
) -> ScenarioReport {
    let Ready {
        scenario, system, ..
    } = &task.ready;
    // Before the first phase there is nothing to judge, and the trouble says it all.
    let verdicts = if history.phases.is_empty() {
        Vec::new()
    } else {
        expectation::judge(history, scenario, system)
    };
    report::build(Material {
        history,
        scenario,
        system,
        verdicts,
        trouble: if bug::happened() {
            Some(a_bug())
        } else {
            trouble
        },
        repeat: task.repeat.clone(),
        file: Some(path.display().to_string()),
    })
}

fn not_begun(task: &Task, trouble: Trouble) -> ScenarioReport {
    let Ready {
        scenario, system, ..
    } = &task.ready;
    let head = RunHead {
        version: HISTORY_VERSION,
        brownout: env!("CARGO_PKG_VERSION").to_owned(),
        began: jiff::Timestamp::now().to_string(),
        seed: task.options.seed.0,
        speed: task.options.speed,
        scenario: (scenario.source.name.to_string(), String::new()),
        system: (system.source.name.to_string(), String::new()),
        machine: Some(crate::run::this_machine()),
    };
    report::build_without_history(&head, scenario, trouble, task.repeat.clone())
}

fn interrupted(how: &str) -> Trouble {
    Trouble {
        kind: TroubleKind::Interrupted,
        message: format!("the run was interrupted {how}"),
        detail: None,
    }
}

fn a_bug() -> Trouble {
    Trouble {
        kind: TroubleKind::Bug,
        message: "a part of Brownout panicked; what it said stands above".to_owned(),
        detail: None,
    }
}

/// What kept a run from its end. The first line of an error says what happened; an instance's last
/// output follows it.
fn trouble(error: &RunError) -> Trouble {
    let text = error.to_string();
    let (message, detail) = text.split_once('\n').unwrap_or((&text, ""));
    let detail: Vec<&str> = detail
        .lines()
        .map(|line| line.strip_prefix("  | ").unwrap_or(line))
        .collect();
    Trouble {
        kind: match error {
            RunError::InterruptedEarly => TroubleKind::Interrupted,
            RunError::Recording { .. } => TroubleKind::BrokeOff,
            RunError::Instance(_)
            | RunError::Died { .. }
            | RunError::Upstream { .. }
            | RunError::External { .. }
            | RunError::Unset { .. }
            | RunError::Listen { .. } => TroubleKind::NotStarted,
        },
        message: message.to_owned(),
        detail: (!detail.is_empty()).then(|| detail.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_to_repeat_a_run_names_all_that_decided_it() {
        assert_eq!(
            repeat_command("a b.toml", Some("s.toml"), 7, 2.5),
            "brownout run 'a b.toml' --system s.toml --seed 7 --speed 2.5x"
        );
        assert_eq!(
            repeat_command("a.toml", None, 7, 1.0),
            "brownout run a.toml --seed 7"
        );
    }
}
