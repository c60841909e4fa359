//! Scenarios that are run while the server stands: one at a time, of one folder alone, against the
//! system that the server was given.
//!
//! Only a bare file name says what is run; it must lie in the folder itself, wherever links lead. The
//! programs that are started are those of the system's file: a scenario that would have others
//! started by its probes is refused.

mod carried;
mod tail;

use super::{
    Tell,
    bench::{
        Bench,
        problem::{Failure, Problem, Why},
        upstream,
        view::{ActedOn, CallView, Dependency, Live, Of, Series, millis},
        window::{Call, Window},
    },
};
use crate::{
    expectation::{ProbeAsk, Status, Verdict},
    fault::FaultId,
    history::Recorder,
    input,
    run::Options,
    scenario::{FILE_BYTES_MAX, FaultSpec, Phase, Scenario, System, Target, load_scenario},
    seed::Seed,
    units::Micros,
};
use carried::Carried;
use parking_lot::Mutex;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

/// The most files of the folder that are looked at.
const FILES_MAX: usize = 200;

/// The most runs that are remembered; beyond them the oldest is forgotten, and its files stay.
const RUNS_MAX: usize = 100;

/// The longest that the end of the server waits for that of a run.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// The longest name of a file, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Where scenarios are, what they are run against, and where runs go.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The folder of scenarios.
    pub(crate) scenarios: Option<PathBuf>,
    /// The system's file.
    pub(crate) system: Option<PathBuf>,
    /// The folder in which each run gets one of its own.
    pub(crate) runs: PathBuf,
    /// What runs decide by that do not say it; each by a fresh one where there is none.
    pub(crate) seed: Option<Seed>,
}

/// All runs.
#[derive(Debug)]
pub(crate) struct Runs {
    places: Places,
    bench: Arc<Bench>,
    tell: Tell,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    runs: BTreeMap<u64, Arc<Running>>,
    count: u64,
    /// One is about to begin.
    is_beginning: bool,
    is_closed: bool,
}

/// A scenario that may be run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ScenarioView {
    pub(crate) file: String,
    pub(crate) name: String,
    pub(crate) summary: String,
    pub(crate) phases: Vec<PhasePlan>,
    pub(crate) problems: Vec<Problem>,
}

/// A phase of a scenario.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PhasePlan {
    pub(crate) name: String,
    /// At most, where it ends with the recovery.
    pub(crate) lasts_ms: f64,
}

/// A phase of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PhaseView {
    pub(crate) name: String,
    pub(crate) lasts_ms: f64,
    pub(crate) began_at_ms: Option<f64>,
    /// What is in force in it.
    pub(crate) faults: Vec<PhaseFault>,
}

/// A fault of a phase.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PhaseFault {
    pub(crate) kind: &'static str,
    /// The dependencies that it is put on; none where it is on an instance.
    pub(crate) on: Vec<String>,
    pub(crate) label: String,
}

impl PhaseFault {
    fn of(fault: &FaultSpec, system: &System) -> Self {
        let on = match &fault.target {
            Target::Dependencies(places) => places.as_slice(),
            Target::Instance(_) => &[],
        };
        let names = on.iter().map(|place| &system.dependencies[*place].name);
        Self {
            kind: fault.kind,
            on: names.map(ToString::to_string).collect(),
            label: fault.label.clone(),
        }
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    /// The system is being started.
    Starting,
    /// A phase goes on.
    Running,
    /// All phases are over.
    Judging,
    /// It was carried through and judged.
    Done,
    /// Somebody stopped it.
    Stopped,
    /// It could not be carried through.
    Error,
}

impl Stage {
    /// Whether nothing more comes.
    pub(crate) const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Stopped | Self::Error)
    }
}

/// A run as it is shown.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RunView {
    pub(crate) id: u64,
    pub(crate) scenario: String,
    /// What decides by chance.
    pub(crate) seed: u64,
    pub(crate) state: Stage,
    pub(crate) since_ms: f64,
    pub(crate) phase: Option<String>,
    pub(crate) phases: Vec<PhaseView>,
    pub(crate) verdicts: Vec<VerdictView>,
    pub(crate) verdict: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
}

/// A verdict, so far or at the end.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VerdictView {
    pub(crate) id: String,
    pub(crate) that: String,
    pub(crate) verdict: String,
    pub(crate) measured: String,
    pub(crate) required: String,
}

impl VerdictView {
    fn of(verdict: &Verdict) -> Self {
        Self {
            id: verdict.id.clone(),
            that: verdict.that.clone(),
            verdict: verdict.status.to_string(),
            measured: verdict.measured.clone(),
            required: verdict.required.clone(),
        }
    }
}

/// One run.
#[derive(Debug)]
pub(crate) struct Running {
    id: u64,
    /// The scenario's file, as it was asked for.
    file: String,
    /// What decides by chance.
    seed: Seed,
    /// Where its files are.
    folder: PathBuf,
    scenario: Arc<Scenario>,
    system: Arc<System>,
    /// When its own clock began, on the server's.
    since: Micros,
    /// The server's clock.
    clock: Recorder,
    stop: CancellationToken,
    so_far: Mutex<SoFar>,
    window: Mutex<Window>,
    changes: watch::Sender<u64>,
}

/// What is known of a run.
#[derive(Debug)]
struct SoFar {
    stage: Stage,
    /// When each phase began, on the run's clock.
    began: Vec<Option<Micros>>,
    phase: Option<usize>,
    verdicts: Vec<VerdictView>,
    verdict: Option<Status>,
    error: Option<String>,
}

impl Running {
    /// As it is shown.
    pub(crate) fn shown(&self) -> RunView {
        let dependencies = self.dependencies();
        let so_far = self.so_far.lock();
        let phases = self.scenario.phases.iter().zip(&so_far.began);
        RunView {
            id: self.id,
            scenario: self.file.clone(),
            seed: self.seed.0,
            state: so_far.stage,
            since_ms: millis(self.since),
            phase: so_far
                .phase
                .map(|at| self.scenario.phases[at].name.to_string()),
            phases: phases
                .map(|(phase, began)| PhaseView {
                    name: phase.name.to_string(),
                    lasts_ms: lasts(phase),
                    began_at_ms: began.map(|at| millis(Micros(self.since.0 + at.0))),
                    faults: phase
                        .faults
                        .iter()
                        .map(|fault| PhaseFault::of(fault, &self.system))
                        .collect(),
                })
                .collect(),
            verdicts: so_far.verdicts.clone(),
            verdict: so_far.verdict.map(|status| status.to_string()),
            error: so_far.error.clone(),
            dependencies,
        }
    }

    /// Now on the run's clock; once it is over, when it was.
    fn now(&self, window: &Window) -> Micros {
        if self.is_over() {
            return window.latest();
        }
        Micros::from(self.clock.now().since(self.since))
    }

    /// How its dependencies are doing.
    pub(crate) fn dependencies(&self) -> Vec<Dependency> {
        let window = self.window.lock();
        let now = self.now(&window);
        let each = self.system.dependencies.iter();
        each.map(|spec| {
            let sees_requests = spec.protocol.has_messages();
            let live = window.now(&spec.name, now).unwrap_or_default();
            Dependency {
                name: spec.name.to_string(),
                role: spec.role.as_deref().map(str::to_owned),
                protocol: Some(spec.protocol.to_string()),
                listen: None,
                url: None,
                upstream: upstream(spec),
                of: Of::Run,
                live: Live::of(&live, sees_requests).at(self.since),
                series: Series::of(window.series(&spec.name, now)).at(self.since),
                faults: Vec::new(),
                toxics: None,
            }
        })
        .collect()
    }

    /// The newest calls, as [`Bench::calls`] gives them.
    pub(crate) fn calls(&self, since: u64, limit: usize) -> Vec<CallView> {
        let calls: Vec<Call> = self.window.lock().calls(None, since, limit);
        let named = |number: FaultId| self.named(number);
        let each = calls.iter();
        each.map(|call| {
            let mut view = CallView::of(call, self.since, named);
            view.id = format!("run {}/{}", self.id, view.id);
            view
        })
        .collect()
    }

    /// The number that the next attempt will have.
    pub(crate) fn next_attempt(&self) -> u64 {
        self.window.lock().next()
    }

    fn named(&self, number: FaultId) -> ActedOn {
        let mut faults = self.scenario.phases.iter().flat_map(|phase| &phase.faults);
        let known = faults.find(|fault| fault.id == number);
        ActedOn {
            id: known.map(|fault| u64::from(fault.id.0) + 1),
            kind: known.map_or("?", |fault| fault.kind).to_owned(),
        }
    }

    /// How far it is.
    pub(crate) fn stage(&self) -> Stage {
        self.so_far.lock().stage
    }

    /// Whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        self.so_far.lock().stage.is_over()
    }

    /// Its number.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The file of its history.
    pub(crate) fn history(&self) -> PathBuf {
        self.folder.join(carried::HISTORY)
    }

    /// The file of its report.
    pub(crate) fn report(&self) -> PathBuf {
        self.folder.join(carried::REPORT)
    }

    fn change(&self, change: impl FnOnce(&mut SoFar)) {
        change(&mut self.so_far.lock());
        self.changes.send_modify(|count| *count += 1);
    }
}

/// A run that is about to begin, however that ends.
#[derive(Debug)]
struct Beginning(Arc<Runs>);

impl Drop for Beginning {
    fn drop(&mut self) {
        self.0.state.lock().is_beginning = false;
    }
}

fn lasts(phase: &Phase) -> f64 {
    millis(Micros::from(phase.lasts.at_most()))
}

impl Runs {
    /// No run yet.
    pub(crate) fn new(places: Places, bench: Arc<Bench>, tell: Tell) -> Arc<Self> {
        Arc::new(Self {
            places,
            bench,
            tell,
            state: Mutex::default(),
            changes: watch::Sender::new(0),
        })
    }

    /// Whether there is a folder of scenarios.
    pub(crate) fn has_scenarios(&self) -> bool {
        self.places.scenarios.is_some()
    }

    /// Tells of every change of a run.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The scenarios of the folder, by their files' names. Reads files.
    pub(crate) fn scenarios(&self) -> Vec<ScenarioView> {
        let Some(folder) = &self.places.scenarios else {
            return Vec::new();
        };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| is_bare(name)).collect();
        names.sort();
        let files = names.into_iter().filter_map(|name| {
            let path = within(folder, &name).ok()?;
            is_scenario(&path).then_some((name, path))
        });
        files
            .take(FILES_MAX)
            .map(|(name, path)| self.described(name, &path))
            .collect()
    }

    fn described(&self, file: String, path: &Path) -> ScenarioView {
        let mut view = ScenarioView {
            name: file.clone(),
            file,
            summary: String::new(),
            phases: Vec::new(),
            problems: Vec::new(),
        };
        match self.read(path) {
            Ok((scenario, _)) => {
                view.name.clone_from(&scenario.title);
                view.summary = scenario.story.clone().unwrap_or_default();
                view.phases = scenario
                    .phases
                    .iter()
                    .map(|phase| PhasePlan {
                        name: phase.name.to_string(),
                        lasts_ms: lasts(phase),
                    })
                    .collect();
                view.problems.extend(foreign_program(&scenario));
            }
            Err(problems) => view.problems = problems,
        }
        view
    }

    /// Reads a scenario beside the system's file as it is now.
    fn read(&self, path: &Path) -> Result<(Scenario, System), Vec<Problem>> {
        let Some(system) = &self.places.system else {
            return Err(vec![no_system()]);
        };
        let mut problems = input::Problems::default();
        let read = load_scenario(path, Some(system), &mut problems);
        let failed = problems.any_error();
        match read.filter(|_| !failed) {
            Some(read) => Ok(read),
            None => Err(problems.into_sorted().iter().map(of_file).collect()),
        }
    }

    /// Begins to run a scenario of the folder, with this seed or with one of ours. Who does not wait for
    /// it begins it all the same.
    pub(crate) async fn start(
        self: &Arc<Self>,
        file: &str,
        seed: Option<Seed>,
    ) -> Result<Arc<Running>, Failure> {
        let (scenario, system) = self.checked(file).await?;
        let seed = seed.or(self.places.seed).unwrap_or_else(Seed::fresh);
        let beginning = self.beginning()?;
        let (runs, file) = (Arc::clone(self), file.to_owned());
        let begun = tokio::spawn(async move {
            let begun = runs.begin(&file, seed, scenario, system).await;
            drop(beginning);
            begun
        });
        let broke = |_| Failure::new(Why::Impossible, "", "the run cannot begin", None);
        begun.await.map_err(broke)?
    }

    /// Lets one run begin at a time, and none while another goes on.
    fn beginning(self: &Arc<Self>) -> Result<Beginning, Failure> {
        {
            let mut state = self.state.lock();
            if state.is_closed {
                return Err(Failure::new(Why::Impossible, "", "the server ends", None));
            }
            let goes_on = state.runs.values().find(|run| !run.is_over());
            if let Some(run) = goes_on {
                let what = format!("run {} goes on", run.id);
                let hint = "stop it, or wait for its end".to_owned();
                return Err(Failure::new(Why::Taken, "", what, hint));
            }
            if state.is_beginning {
                return Err(Failure::new(
                    Why::Taken,
                    "",
                    "a run is about to begin",
                    None,
                ));
            }
            state.is_beginning = true;
        }
        Ok(Beginning(Arc::clone(self)))
    }

    /// A scenario of the folder that may be run.
    async fn checked(self: &Arc<Self>, file: &str) -> Result<(Scenario, System), Failure> {
        let Some(folder) = self.places.scenarios.clone() else {
            return Err(Failure::new(
                Why::Impossible,
                "",
                "no scenario can be run here",
                "start the server with --scenarios DIR and --system FILE".to_owned(),
            ));
        };
        if self.places.system.is_none() {
            return Err(Failure {
                why: Why::Impossible,
                problems: vec![no_system()],
            });
        }
        let (runs, file) = (Arc::clone(self), file.to_owned());
        let checking = tokio::task::spawn_blocking(move || {
            let path = within(&folder, &file)?;
            let impossible = |problems| Failure {
                why: Why::Impossible,
                problems,
            };
            let (scenario, system) = runs.read(&path).map_err(impossible)?;
            match foreign_program(&scenario) {
                Some(problem) => Err(impossible(vec![problem])),
                None => Ok((scenario, system)),
            }
        });
        let broke = |_| Failure::new(Why::Impossible, "scenario", "it cannot be read", None);
        checking.await.map_err(broke)?
    }

    async fn begin(
        self: &Arc<Self>,
        file: &str,
        seed: Seed,
        scenario: Scenario,
        system: System,
    ) -> Result<Arc<Running>, Failure> {
        let unwritable = |error: io::Error| {
            let what = format!("cannot write to the folder of runs: {error}");
            Failure::new(Why::Impossible, "", what, None)
        };
        let folder = carried::folder(&self.places.runs, file).map_err(unwritable)?;
        let options = Options {
            folder: folder.clone(),
            seed,
            speed: 1.0,
        };
        if let Err(failure) = self.bench.step_aside().await {
            let _ = fs::remove_dir(&folder);
            return Err(failure);
        }
        let running = {
            let mut state = self.state.lock();
            if state.is_closed {
                return Err(Failure::new(Why::Impossible, "", "the server ends", None));
            }
            state.count += 1;
            let running = Arc::new(Running {
                id: state.count,
                file: file.to_owned(),
                seed,
                folder,
                so_far: Mutex::new(SoFar {
                    stage: Stage::Starting,
                    began: vec![None; scenario.phases.len()],
                    phase: None,
                    verdicts: Vec::new(),
                    verdict: None,
                    error: None,
                }),
                scenario: Arc::new(scenario),
                system: Arc::new(system),
                since: self.bench.now(),
                clock: self.bench.clock(),
                stop: CancellationToken::new(),
                window: Mutex::default(),
                changes: self.changes.clone(),
            });
            // Only of the last one calls are shown.
            for over in state.runs.values() {
                over.window.lock().drop_entries();
            }
            state.runs.insert(running.id, Arc::clone(&running));
            while state.runs.len() > RUNS_MAX {
                state.runs.pop_first();
            }
            running
        };
        let (bench, tell) = (Arc::clone(&self.bench), self.tell.clone());
        let handle = tokio::runtime::Handle::current();
        let carried = Carried {
            running: Arc::clone(&running),
            options,
            system_file: self.places.system.clone(),
        };
        let began = carried.begin(move || {
            let _inside = handle.enter();
            bench.step_back(&tell);
        });
        if let Err(error) = began {
            self.bench.step_back(&self.tell);
            running.change(|so_far| {
                so_far.stage = Stage::Error;
                so_far.error = Some(error.to_string());
            });
        }
        Ok(running)
    }

    /// All runs that are remembered, by number.
    pub(crate) fn all(&self) -> Vec<Arc<Running>> {
        self.state.lock().runs.values().cloned().collect()
    }

    /// The last run, if there was any.
    pub(crate) fn last(&self) -> Option<Arc<Running>> {
        let state = self.state.lock();
        state.runs.last_key_value().map(|(_, run)| Arc::clone(run))
    }

    /// A run.
    pub(crate) fn get(&self, id: u64) -> Result<Arc<Running>, Failure> {
        let state = self.state.lock();
        let unknown = || Failure::unknown(format!("there is no run {id}"));
        state.runs.get(&id).cloned().ok_or_else(unknown)
    }

    /// Stops a run: it heals, stops the system, and is judged as far as it came.
    pub(crate) fn stop(&self, id: u64) -> Result<Arc<Running>, Failure> {
        let run = self.get(id)?;
        run.stop.cancel();
        Ok(run)
    }

    /// Stops what goes on, without waiting.
    pub(crate) fn abandon(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.runs.values().for_each(|run| run.stop.cancel());
    }

    /// Stops what goes on, lets no further run begin, and waits, for a bounded time, until all is
    /// taken down.
    pub(crate) async fn close(&self) {
        let goes_on = {
            let mut state = self.state.lock();
            state.is_closed = true;
            let goes_on = state.runs.values().find(|run| !run.is_over());
            goes_on.cloned()
        };
        let Some(run) = goes_on else { return };
        run.stop.cancel();
        let mut changes = self.changes.subscribe();
        let over = async {
            while !run.is_over() {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = timeout(STOP_WITHIN, over).await;
    }
}

fn no_system() -> Problem {
    Problem {
        place: String::new(),
        what: "there is no system to run it against".to_owned(),
        hint: Some("start the server with --system FILE".to_owned()),
    }
}

/// A scenario may ask a program of its own; here only those of the system's file are started.
fn foreign_program(scenario: &Scenario) -> Option<Problem> {
    let asks = |expect: &&crate::scenario::Expect| {
        let probe = expect.expectation.probe();
        probe.is_some_and(|probe| matches!(probe.ask, ProbeAsk::Command(_)))
    };
    let expect = scenario.expects.iter().find(asks)?;
    Some(Problem {
        place: "scenario".to_owned(),
        what: format!(
            "`{}` would start a program of the scenario's own",
            expect.id
        ),
        hint: Some("run it with `brownout run`".to_owned()),
    })
}

fn of_file(problem: &input::Problem) -> Problem {
    let place = problem.source.as_ref().map(|source| {
        let name = Path::new(&*source.name).file_name();
        let name = name.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        match &problem.span {
            Some(span) => {
                let (line, column) = source.position(span.start);
                format!("{name}:{line}:{column}")
            }
            None => name,
        }
    });
    Problem {
        place: place.unwrap_or_default(),
        what: problem.message.clone(),
        hint: problem.hint.clone(),
    }
}

/// Whether it is the name of a file and nothing more.
fn is_bare(name: &str) -> bool {
    let stem = name.strip_suffix(".toml").unwrap_or_default();
    !stem.is_empty()
        && !name.starts_with('.')
        && name.len() <= NAME_BYTES_MAX
        && !name.contains(['/', '\\', '\0'])
        && !name.chars().any(char::is_control)
}

/// The file of this name in a folder, if it lies in the folder itself.
fn within(folder: &Path, name: &str) -> Result<PathBuf, Failure> {
    let unknown = || {
        let what = "there is no scenario of this name".to_owned();
        let hint = "the name of a file at /api/v1/scenarios, without a folder".to_owned();
        Failure::new(Why::Unknown, "scenario", what, hint)
    };
    if !is_bare(name) {
        return Err(unknown());
    }
    let folder = folder.canonicalize().map_err(|_| unknown())?;
    let path = folder.join(name).canonicalize().map_err(|_| unknown())?;
    let lies_in_it = path.parent() == Some(&*folder) && path.is_file();
    lies_in_it.then_some(path).ok_or_else(unknown)
}

/// Whether a file is a scenario, or may be one that is broken: a system's file has no phases.
fn is_scenario(path: &Path) -> bool {
    let about = fs::metadata(path);
    if about.is_ok_and(|about| about.len() > FILE_BYTES_MAX) {
        return false;
    }
    let text = fs::read_to_string(path).unwrap_or_default();
    match text.parse::<toml::Table>() {
        Ok(table) => table.contains_key("phase"),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::bench::Setup;

    #[tokio::test]
    async fn one_begins_at_a_time_and_the_next_may_however_it_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let tell = Tell::new(|_, _| {});
        let (recorder, observations) = Recorder::channel(Recorder::QUEUE);
        let setup = Setup {
            system: None,
            seed: Seed(1),
            is_open: false,
            recorder,
            observations,
            authority: None,
        };
        let bench = Bench::start(setup, &tell).expect("it stands");
        let places = Places {
            scenarios: None,
            system: None,
            runs: folder.path().to_owned(),
            seed: None,
        };
        let runs = Runs::new(places, bench, tell);
        let beginning = runs.beginning().expect("none begins");
        assert_eq!(runs.beginning().expect_err("one begins").why, Why::Taken);
        // Whoever had asked for it is gone in the midst of it.
        let mut never = Box::pin(async move {
            let _beginning = beginning;
            std::future::pending::<()>().await;
        });
        tokio::select! {
            biased;
            () = &mut never => panic!("it never ends"),
            () = std::future::ready(()) => {}
        }
        assert!(runs.beginning().is_err());
        drop(never);
        assert!(runs.beginning().is_ok());
    }

    #[test]
    fn only_files_of_the_folder_itself_are_found() {
        let outer = tempfile::tempdir().expect("a folder");
        let folder = outer.path().join("scenarios");
        fs::create_dir_all(folder.join("sub")).expect("a folder");
        for file in [
            "scenarios/a.toml",
            "scenarios/sub/b.toml",
            "secret.toml",
            "scenarios/c.txt",
        ] {
            fs::write(outer.path().join(file), "").expect("a file");
        }
        let found = |name: &str| within(&folder, name).is_ok();
        assert!(found("a.toml"));
        for name in [
            "../secret.toml",
            "sub/b.toml",
            "/etc/passwd",
            "..",
            "",
            ".toml",
            "c.txt",
            "none.toml",
            "a.toml\0",
            "./a.toml",
            "..\\secret.toml",
        ] {
            assert!(!found(name), "{name:?}");
        }
        let absolute = outer.path().join("secret.toml");
        assert!(!found(&absolute.display().to_string()));
        #[cfg(unix)]
        {
            let link = |to: &Path, name: &str| {
                std::os::unix::fs::symlink(to, folder.join(name)).expect("a link");
            };
            link(&absolute, "out.toml");
            link(&folder.join("a.toml"), "in.toml");
            link(&folder.join("sub"), "folder.toml");
            assert!(!found("out.toml"));
            assert!(found("in.toml"));
            assert!(!found("folder.toml"));
        }
    }
}
