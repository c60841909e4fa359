//! Whole scenarios from a test, and their verdicts.

use super::{Error, Pending};
use crate::{
    expectation,
    history::History,
    input::{Problems, render},
    process::program,
    run::{self, Ending, Events, Options},
    scenario::{self, Start, System, load_scenario},
    seed::Seed,
    units::Micros,
};
use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    thread,
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// A scenario's file, to be run from a test.
///
/// ```no_run
/// use brownout::rehearsal::Scenario;
///
/// # fn main() -> Result<(), brownout::rehearsal::Error> {
/// let judged = Scenario::file("scenarios/s3-hangs.toml")
///     .system("brownout.toml")
///     .run()
///     .wait()?;
/// judged.require_pass()?;
/// # Ok(())
/// # }
/// ```
///
/// A system that the test itself has started is `external` in its file. To start one by its `command`
/// there must be a `brownout`, which sees to it that nothing is left behind however the test ends: the
/// one of [`Scenario::program`], or on the path.
#[derive(Debug, Clone)]
#[must_use = "nothing happens before `run`"]
pub struct Scenario {
    file: PathBuf,
    system: Option<PathBuf>,
    out: Option<PathBuf>,
    program: Option<PathBuf>,
    seed: Option<u64>,
    speed: f64,
}

impl Scenario {
    /// The scenario of this file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self {
            file: path.into(),
            system: None,
            out: None,
            program: None,
            seed: None,
            speed: 1.0,
        }
    }

    /// The system's file, in place of the one that the scenario names.
    pub fn system(mut self, path: impl Into<PathBuf>) -> Self {
        self.system = Some(path.into());
        self
    }

    /// The folder for the history and the logs, made where it is missing; else one of its own below
    /// the system's folder for temporary files, which is kept unless the scenario passes.
    pub fn out(mut self, folder: impl Into<PathBuf>) -> Self {
        self.out = Some(folder.into());
        self
    }

    /// The program `brownout`, where it is not on the path. One process can have but one.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = Some(path.into());
        self
    }

    /// The seed; else a fresh one, which [`Judged`] tells.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// How many times as fast the phases are walked through; never the faults' own times.
    pub fn speed(mut self, times: f64) -> Self {
        self.speed = times;
        self
    }

    /// Runs it and judges it, on a thread of its own. Dropping what is returned while it runs heals
    /// everything and stops the system, and does not wait for that.
    ///
    /// # Errors
    /// [`Error::Files`], [`Error::Run`]: there is nothing to judge. A scenario that does not pass is
    /// no error here: see [`Judged::require_pass`].
    pub fn run(self) -> Pending<'static, Result<Judged, Error>> {
        Pending::new(async move {
            let cancel = CancellationToken::new();
            let _gone = cancel.clone().drop_guard();
            let (sender, judged) = oneshot::channel();
            let work = move || {
                // Who waited may have gone.
                let _ = sender.send(self.carried_out(&cancel));
            };
            let thread = thread::Builder::new().name("brownout run".to_owned());
            thread.spawn(work).map_err(broke_off)?;
            let judged = judged.await;
            judged.map_err(|_| broke_off("its thread panicked, which is a bug in Brownout"))?
        })
    }

    fn carried_out(self, cancel: &CancellationToken) -> Result<Judged, Error> {
        let (scenario, system) = self.read()?;
        self.find_program(&system)?;
        let seed = self.seed.map_or_else(Seed::fresh, Seed);
        let (folder, is_ours) = match &self.out {
            Some(folder) => (folder.clone(), false),
            None => (tempfile::tempdir().map_err(broke_off)?.keep(), true),
        };
        let options = Options {
            folder,
            seed,
            speed: self.speed,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(broke_off)?;
        let events = Events::nobody();
        let ran = run::run(&scenario, &system, &options, &events, cancel);
        let ran = runtime.block_on(Box::pin(ran)).map_err(broke_off)?;
        if ran.ending == Ending::Interrupted {
            return Err(broke_off("it was interrupted"));
        }
        let history = History::read(&ran.history).map_err(broke_off)?;
        let judged = judged(&history, &scenario, &system, (seed, ran.history));
        if is_ours && judged.status == Status::Pass {
            // A folder more or less is no reason to fail.
            let _ = fs::remove_dir_all(&options.folder);
        }
        Ok(judged)
    }

    fn read(&self) -> Result<(scenario::Scenario, System), Error> {
        let mut problems = Problems::default();
        let read = load_scenario(&self.file, self.system.as_deref(), &mut problems);
        let is_speed = self.speed.is_finite() && self.speed > 0.0;
        if !is_speed {
            return Err(Error::Files {
                problems: format!("a speed of {} is none", self.speed),
            });
        }
        read.ok_or_else(|| Error::Files {
            problems: render(&problems.into_sorted(), false),
        })
    }

    /// Names the program that cleans up behind the system, where we start that.
    fn find_program(&self, system: &System) -> Result<(), Error> {
        if matches!(system.start, Start::External) {
            return Ok(());
        }
        let found = self.program.clone().or_else(on_the_path).ok_or_else(|| {
            broke_off("the system is started by its `command`, and there is no `brownout` on the path to clean up behind it: name it by `Scenario::program`")
        })?;
        let found = fs::canonicalize(&found)
            .map_err(|error| broke_off(format!("{}: {error}", found.display())))?;
        if program::name(found) {
            return Ok(());
        }
        Err(broke_off(
            "another test of this process has named another `brownout`",
        ))
    }
}

fn on_the_path() -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders)
        .map(|folder| folder.join("brownout"))
        .find(|path| path.is_file())
}

fn broke_off(why: impl fmt::Display) -> Error {
    Error::Run {
        what: why.to_string(),
    }
}

/// What became of an expectation or a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It held, and enough was measured to say so.
    Pass,
    /// Nothing can be said, which is no pass.
    Inconclusive,
    /// It did not hold.
    Fail,
}

impl From<expectation::Status> for Status {
    fn from(status: expectation::Status) -> Self {
        match status {
            expectation::Status::Pass => Self::Pass,
            expectation::Status::Inconclusive => Self::Inconclusive,
            expectation::Status::Fail => Self::Fail,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
        })
    }
}

/// A scenario that was run, with its verdicts.
#[derive(Debug, Clone)]
pub struct Judged {
    title: String,
    status: Status,
    verdicts: Vec<Verdict>,
    doubts: Vec<String>,
    seed: u64,
    history: PathBuf,
}

/// What became of one expectation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Verdict {
    /// The expectation's id.
    pub id: String,
    /// What it says.
    pub that: String,
    /// The verdict.
    pub status: Status,
    /// What is required.
    pub required: String,
    /// What was measured.
    pub measured: String,
    /// Of how many samples.
    pub count: u64,
    /// Why it is no pass.
    pub reason: Option<String>,
    /// The first few offending operations, calls or events.
    pub evidence: Vec<String>,
}

impl Judged {
    /// The worst of the verdicts; inconclusive where there is none, or where a fault never acted.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The verdicts, in the order of the file.
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// The verdict on the expectation of this id.
    pub fn verdict(&self, id: &str) -> Option<&Verdict> {
        self.verdicts.iter().find(|verdict| verdict.id == id)
    }

    /// The seed, to run it again.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The history's file; gone where the scenario passed and nobody named a folder for it.
    pub fn history(&self) -> &Path {
        &self.history
    }

    /// Requires that it passed. What is inconclusive did not.
    ///
    /// # Errors
    /// [`Error::NotPassed`], with what was required, what was measured, and the evidence.
    pub fn require_pass(&self) -> Result<(), Error> {
        match self.status {
            Status::Pass => Ok(()),
            Status::Inconclusive | Status::Fail => Err(Error::NotPassed {
                text: self.to_string(),
            }),
        }
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} (seed {})", self.title, self.status, self.seed)?;
        for doubt in &self.doubts {
            writeln!(f, "  {doubt}")?;
        }
        for verdict in &self.verdicts {
            writeln!(f, "  {}: {} - {}", verdict.status, verdict.id, verdict.that)?;
            if verdict.status == Status::Pass {
                continue;
            }
            writeln!(f, "    required: {}", verdict.required)?;
            writeln!(
                f,
                "    measured: {}, of {}",
                verdict.measured, verdict.count
            )?;
            if let Some(reason) = &verdict.reason {
                writeln!(f, "    because:  {reason}")?;
            }
            for evidence in &verdict.evidence {
                writeln!(f, "    - {evidence}")?;
            }
        }
        write!(f, "  history: {}", self.history.display())
    }
}

fn judged(
    history: &History,
    scenario: &scenario::Scenario,
    system: &System,
    (seed, path): (Seed, PathBuf),
) -> Judged {
    let verdicts = expectation::judge(history, scenario, system);
    let doubts = expectation::run_doubts(history, scenario, system);
    let floor = if verdicts.is_empty() || !doubts.is_empty() || !history.completed() {
        Status::Inconclusive
    } else {
        Status::Pass
    };
    let worst = verdicts.iter().map(|verdict| verdict.status.into()).max();
    Judged {
        title: scenario.title.clone(),
        status: worst.unwrap_or(floor).max(floor),
        verdicts: verdicts.into_iter().map(Verdict::from).collect(),
        doubts,
        seed: seed.0,
        history: path,
    }
}

impl From<expectation::Verdict> for Verdict {
    fn from(verdict: expectation::Verdict) -> Self {
        let evidence = verdict.evidence.into_iter();
        let said = |at: Micros, what: String| format!("{:.1}s {what}", at.as_secs_f64());
        Self {
            id: verdict.id,
            that: verdict.that,
            status: verdict.status.into(),
            required: verdict.required,
            measured: verdict.measured,
            count: verdict.count,
            reason: verdict.reason,
            evidence: evidence.map(|one| said(one.at, one.what)).collect(),
        }
    }
}
