//! `brownout run`: scenarios run against a system, and judged.
//!
//! Nothing is started before every file has been read and every output opened. Whatever happens
//! to one scenario, the reports are written at the end; those of each repeat as soon as it is over.

use super::{
    Exit, Failure, apart,
    args::Run as Args,
    bug, files,
    files::Ready,
    interrupt::Interrupt,
    outputs::{self, Outputs},
    progress::Progress,
    publish::Publication,
    so_far,
    so_far::Preview,
};
use crate::{
    expectation::{self, Status},
    history::{self, HISTORY_VERSION, History, Run as RunHead},
    report::{
        self, Material, Repetition, ScenarioReport, SuiteReport, Timeline, Trouble, TroubleKind,
        quoted,
        series::{Counts, tally},
    },
    run::{Events, Options, Ran, RunError},
    seed::Seed,
    statistics::{Sequential, Sprt},
};
use futures_util::{StreamExt, stream};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Carries it out.
pub fn run(args: &Args) -> Result<Exit, Failure> {
    let ready = files::read(&args.paths, args.system.as_deref())?;
    let seed = args.seed.map_or_else(Seed::fresh, Seed);
    let mut outputs = Outputs::open(&args.out)?;
    let publication = Publication::open(&args.publish)?;
    let plans = plans(ready, args, &outputs, seed)?;
    let progress = Progress::new(args.quiet, args.verbose);
    let began = jiff::Timestamp::now().to_string();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let reports = runtime.block_on(all(plans, jobs(args), &progress))?;
    let mut suite = SuiteReport::new(began, seed.0, reports);
    if args.repeat.is_some() {
        suite = suite.repeated(args.repeat, args.all_repeats);
    }
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

/// One scenario that is to be run, once or repeatedly.
#[derive(Debug)]
struct Planned {
    ready: Arc<Ready>,
    /// The system's file, where it was named on the command line.
    system: Option<String>,
    /// Where its files go.
    folder: PathBuf,
    /// What this folder is called.
    own: String,
    seed: Seed,
    speed: f64,
    /// How many repeats at most; `None` for a run that is not part of a series.
    repeats: Option<u32>,
    /// Whether all of them are carried out.
    all: bool,
    /// What stands before its progress, where several run side by side.
    name: Option<String>,
}

/// One run.
#[derive(Debug)]
struct Task {
    ready: Arc<Ready>,
    options: Options,
    repeat: String,
    name: Option<String>,
}

fn plans(
    ready: Vec<Ready>,
    args: &Args,
    outputs: &Outputs,
    seed: Seed,
) -> Result<Vec<Planned>, Failure> {
    let mut taken = Vec::new();
    let several = ready.len() > 1;
    let mut plans = Vec::new();
    for ready in ready {
        let folder = match args.repeat {
            Some(_) => outputs.series_folder(&ready.file, &mut taken)?,
            None => outputs.scenario_folder(&ready.file, &mut taken)?,
        };
        plans.push(Planned {
            system: args.system.as_ref().map(|file| file.display().to_string()),
            own: taken.last().cloned().unwrap_or_default(),
            name: taken.last().filter(|_| several).cloned(),
            folder,
            seed,
            speed: args.speed,
            repeats: args.repeat,
            all: args.all_repeats,
            ready: Arc::new(ready),
        });
    }
    Ok(plans)
}

impl Planned {
    /// The run that this is where it is not repeated.
    fn once(&self) -> Task {
        self.task(self.folder.clone(), self.seed, self.name.clone())
    }

    /// One repeat, whose folder is made by then.
    fn nth(&self, nth: u32, folder: PathBuf) -> Task {
        let repeat = format!("repeat {nth}");
        let name = match &self.name {
            Some(name) => format!("{name}, {repeat}"),
            None => repeat,
        };
        self.task(folder, self.seed.of_repeat(nth), Some(name))
    }

    fn task(&self, folder: PathBuf, seed: Seed, name: Option<String>) -> Task {
        let file = self.ready.file.display().to_string();
        Task {
            ready: Arc::clone(&self.ready),
            repeat: repeat_command(&file, self.system.as_deref(), seed.0, self.speed),
            name,
            options: Options {
                folder,
                seed,
                speed: self.speed,
            },
        }
    }
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
/// it. Those that would meet at a fixed address run one after another. The reports come in the order of
/// the scenarios, and the repeats of each in theirs.
async fn all(
    plans: Vec<Planned>,
    jobs: usize,
    progress: &Progress,
) -> Result<Vec<ScenarioReport>, Failure> {
    let interrupt = Interrupt::listen(progress.clone())?;
    let groups = groups(plans, jobs, progress);
    let reports: Vec<Vec<(usize, Vec<ScenarioReport>)>> = stream::iter(groups)
        .map(|group| Box::pin(one_after_another(group, progress, &interrupt)))
        .buffer_unordered(jobs)
        .collect()
        .await;
    interrupt.unless_nobody_looks(progress.shown()).await;
    let mut reports = reports.concat();
    reports.sort_by_key(|(place, _)| *place);
    Ok(reports.into_iter().flat_map(|(_, report)| report).collect())
}

/// The scenarios with their places, those together that must run one after another; which is said
/// where they would not have done so anyway.
fn groups(plans: Vec<Planned>, jobs: usize, progress: &Progress) -> Vec<Vec<(usize, Planned)>> {
    let addresses = plans
        .iter()
        .map(|plan| apart::addresses(&plan.ready.system));
    let addresses: Vec<_> = addresses.collect();
    let mut plans: Vec<Option<Planned>> = plans.into_iter().map(Some).collect();
    let groups = apart::groups(&addresses).into_iter();
    groups
        .map(|(members, shared)| {
            if jobs > 1 && members.len() > 1 {
                let shared: Vec<String> = shared.into_iter().collect();
                progress.announce_unless_quiet(&format!(
                    "{} scenarios run one after another, as all of them need {}",
                    members.len(),
                    shared.join(", ")
                ));
            }
            let members = members.into_iter();
            members
                .filter_map(|place| Some((place, plans.get_mut(place)?.take()?)))
                .collect()
        })
        .collect()
}

async fn one_after_another(
    group: Vec<(usize, Planned)>,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Vec<(usize, Vec<ScenarioReport>)> {
    let mut done = Vec::with_capacity(group.len());
    for (place, plan) in group {
        done.push((place, carried_out(plan, progress, interrupt).await));
    }
    done
}

/// One scenario, once or repeatedly.
async fn carried_out(
    plan: Planned,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Vec<ScenarioReport> {
    match plan.repeats {
        None => vec![one(plan.once(), progress, interrupt).await],
        Some(most) => series(&plan, most, progress, interrupt).await,
    }
}

/// The repeats of one scenario, one after another: runs that share a moment of a busy machine are no
/// evidence apart from each other. A repeat that meets trouble is the last.
async fn series(
    plan: &Planned,
    most: u32,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Vec<ScenarioReport> {
    let mut done: Vec<ScenarioReport> = Vec::new();
    let mut test = Sequential::new(Sprt::RUNS);
    for nth in 1..=most {
        if nth > 1 && interrupt.asked() {
            break;
        }
        let mut report = repeated(plan, nth, progress, interrupt).await;
        // A series may be long, and these are for the repeat's own page alone.
        report.timeline = Timeline::default();
        report.traces = Vec::new();
        match report.status {
            Status::Pass => test.observe(false),
            Status::Fail => test.observe(true),
            Status::Inconclusive => {}
        }
        progress.announce_unless_quiet(&standing(plan, most, &report, &done));
        let trouble = report.trouble.is_some();
        done.push(report);
        if trouble || (!plan.all && test.decided().is_some()) {
            break;
        }
    }
    done
}

/// One repeat with its own reports in its own folder.
async fn repeated(
    plan: &Planned,
    nth: u32,
    progress: &Progress,
    interrupt: &Interrupt,
) -> ScenarioReport {
    let repetition = Repetition {
        nth,
        folder: format!("{}/{}{nth}", plan.own, outputs::REPEAT),
    };
    let not_even = |trouble: Trouble| ScenarioReport {
        repetition: Some(repetition.clone()),
        ..not_begun(&plan.nth(nth, plan.folder.clone()), trouble)
    };
    let folder = match outputs::repeat_folder(&plan.folder, nth) {
        Ok(folder) => folder,
        Err(failure) => return not_even(broke_off(failure.message().to_owned())),
    };
    let mut report = one(plan.nth(nth, folder.clone()), progress, interrupt).await;
    report.repetition = Some(repetition.clone());
    // Drawing a page keeps a processor busy, as judging does.
    let drawn = tokio::task::spawn_blocking(move || {
        // What cannot be written has been said, and is in the report of the series all the same.
        if let Ok(mut outputs) = Outputs::open(&folder) {
            let mut suite =
                SuiteReport::new(report.began.clone(), report.seed, vec![report.clone()]);
            let _ = outputs.write(&mut suite);
        }
        report
    });
    drawn.await.unwrap_or_else(|_| not_even(a_bug()))
}

/// How a repeat ended, and how things stand.
fn standing(
    plan: &Planned,
    most: u32,
    report: &ScenarioReport,
    before: &[ScenarioReport],
) -> String {
    let name = plan.name.as_ref();
    let name = name.map_or_else(String::new, |name| format!("{name}: "));
    let broken: Vec<&str> = report
        .verdicts
        .iter()
        .filter(|verdict| verdict.status == report.status && verdict.status != Status::Pass)
        .map(|verdict| verdict.id.as_str())
        .collect();
    let broken = if broken.is_empty() {
        String::new()
    } else {
        format!(" ({})", broken.join(", "))
    };
    let all = before.iter().chain([report]);
    let counts = Counts::of(all.map(|one| one.status));
    format!(
        "{name}repeat {} of at most {most}: {}{broken}; so far {}",
        before.len() + 1,
        report.status,
        tally(counts)
    )
}

async fn one(task: Task, progress: &Progress, interrupt: &Interrupt) -> ScenarioReport {
    let task = Arc::new(task);
    if interrupt.asked() {
        return not_begun(&task, interrupted("before its turn came"));
    }
    let (events, watch) = progress.watch(task.name.as_deref(), preview(&task));
    let outcome = carried_through(&task, &events, interrupt).await;
    drop(events);
    let told = interrupt.unless_nobody_looks(watch.close()).await;
    let judging = Arc::clone(&task);
    // Judging keeps a processor busy; other scenarios' phases must not wait for it.
    let report = tokio::task::spawn_blocking(move || judged(&judging, outcome))
        .await
        .unwrap_or_else(|_| not_begun(&task, a_bug()));
    let told = told.unwrap_or_default();
    progress.correct(task.name.as_deref(), &told, &report.verdicts);
    report
}

/// What it takes to judge a task while it is being carried out.
fn preview(task: &Arc<Task>) -> Preview {
    let Ready {
        scenario, system, ..
    } = &*task.ready;
    let judging = Arc::clone(task);
    let judge = move |over| {
        let Ready {
            scenario, system, ..
        } = &*judging.ready;
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
    } = &*task.ready;
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
    not_begun(task, broke_off(history.to_string()))
}

fn broke_off(message: String) -> Trouble {
    Trouble {
        kind: TroubleKind::BrokeOff,
        message,
        detail: None,
    }
}

fn with_history(
    task: &Task,
    history: &History,
    path: &Path,
    trouble: Option<Trouble>,
) -> ScenarioReport {
    let Ready {
        scenario, system, ..
    } = &*task.ready;
    // Before the first phase there is nothing to judge, and the trouble says it all.
    let verdicts = if history.phases.is_empty() {
        Vec::new()
    } else {
        expectation::judge(history, scenario, system)
    };
    let trouble = if bug::happened() {
        Some(a_bug())
    } else {
        trouble
    };
    let is_in_order = trouble.is_none() && history.completed();
    // Where it cannot be packed it is kept as it is, and nothing is lost but room.
    let packed = is_in_order.then(|| history::pack(path).ok()).flatten();
    let file = packed.as_deref().unwrap_or(path);
    report::build(Material {
        history,
        scenario,
        system,
        verdicts,
        trouble,
        repeat: task.repeat.clone(),
        file: Some(file.display().to_string()),
    })
}

fn not_begun(task: &Task, trouble: Trouble) -> ScenarioReport {
    let Ready {
        scenario, system, ..
    } = &*task.ready;
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
            | RunError::Taken { .. }
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
