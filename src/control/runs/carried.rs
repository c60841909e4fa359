//! One scenario carried through on a thread of its own: what it starts hangs on that thread.

use super::{Running, Stage, VerdictView, tail::Tail};
use crate::{
    expectation::{self, Status},
    history::{self, History},
    report::{self, Material, REPORTS, SuiteReport, quoted},
    run::{self, Ending, Event, Events, Options},
    units::Micros,
};
use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

/// The file that a run's history is in.
pub(super) const HISTORY: &str = "history.jsonl";

/// The file that its report is in.
pub(super) const REPORT: &str = "report.html";

/// What is said of a run that met a bug of ours; what it started hung on values that were dropped.
const PANICKED: &str = "a part of Brownout panicked";

/// How often what a run has written is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// The longest history that is judged while the run goes on.
const HISTORY_BYTES_MAX: u64 = 32 << 20;

/// The longest time that is given to answers after their phase is over.
const PATIENCE_MAX: Duration = Duration::from_secs(10);

/// The most folders of one name that are passed over.
const FOLDERS_MAX: u32 = 1_000;

/// A folder of its own for a run of this scenario, made.
pub(super) fn folder(runs: &Path, file: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(runs)?;
    let stem = file.strip_suffix(".toml").unwrap_or(file);
    for nth in 1..=FOLDERS_MAX {
        let folder = runs.join(format!("{stem}-{nth}"));
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!(
        "there are {FOLDERS_MAX} runs of {stem} already"
    )))
}

/// A run that is to be carried through.
pub(super) struct Carried {
    pub(super) running: Arc<Running>,
    pub(super) options: Options,
    pub(super) system_file: Option<PathBuf>,
}

impl Carried {
    /// Begins. `healed` is called when everything that was started is taken down.
    ///
    /// # Errors
    /// The machine gives us no further thread.
    pub(super) fn begin(self, healed: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let (events, told) = Events::channel();
        let watch = Watch {
            running: Arc::clone(&self.running),
            tail: Tail::new(&self.running.history()),
            due: Vec::new(),
        };
        let watching = thread::Builder::new()
            .name("run's watch".to_owned())
            .spawn(move || watch.until_over(&told))?;
        let run = move || {
            let through = AssertUnwindSafe(|| self.through(&events));
            let ended = catch_unwind(through).unwrap_or_else(|_| Err(PANICKED.to_owned()));
            healed();
            drop(events);
            // Its last word comes before the verdicts.
            let _ = watching.join();
            if catch_unwind(AssertUnwindSafe(|| self.finish(ended))).is_err() {
                self.running.change(|so_far| {
                    so_far.stage = Stage::Error;
                    so_far.error = Some(PANICKED.to_owned());
                });
            }
        };
        thread::Builder::new().name("run".to_owned()).spawn(run)?;
        Ok(())
    }

    fn through(&self, events: &Events) -> Result<Ending, String> {
        let Running {
            scenario,
            system,
            stop,
            ..
        } = &*self.running;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let ran = runtime.block_on(run::run(scenario, system, &self.options, events, stop));
        ran.map(|ran| ran.ending).map_err(|error| error.to_string())
    }

    /// Judges what was recorded, and writes the reports beside it.
    fn finish(&self, ended: Result<Ending, String>) {
        let running = &self.running;
        running.change(|so_far| so_far.stage = Stage::Judging);
        let is_in_order = matches!(ended, Ok(Ending::Completed));
        let judged =
            History::read(&running.history()).map(|history| self.judged(&history, is_in_order));
        running.change(|so_far| {
            so_far.phase = None;
            match judged {
                Ok((status, verdicts)) => {
                    so_far.verdict = Some(status);
                    so_far.verdicts = verdicts;
                }
                Err(error) => so_far.error = Some(error.to_string()),
            }
            so_far.stage = match ended {
                Ok(Ending::Completed) if so_far.error.is_none() => Stage::Done,
                Ok(Ending::Interrupted) => Stage::Stopped,
                Err(_) if running.stop.is_cancelled() => Stage::Stopped,
                Ok(Ending::Completed) => Stage::Error,
                Err(error) => {
                    so_far.error = Some(error);
                    Stage::Error
                }
            };
        });
    }

    fn judged(&self, history: &History, is_in_order: bool) -> (Status, Vec<VerdictView>) {
        let Running {
            scenario, system, ..
        } = &*self.running;
        // Before the first phase there is nothing to judge.
        let verdicts = if history.phases.is_empty() {
            Vec::new()
        } else {
            expectation::judge(history, scenario, system)
        };
        let shown = verdicts.iter().map(VerdictView::of).collect();
        let plain = self.running.history();
        let may_be_packed = is_in_order && history.completed();
        // Where it cannot be packed it is kept as it is, and nothing is lost but room.
        let packed = may_be_packed.then(|| history::pack(&plain).ok()).flatten();
        let file = packed.unwrap_or(plain);
        let report = report::build(Material {
            history,
            scenario,
            system,
            verdicts,
            trouble: None,
            repeat: self.repeat(),
            file: Some(file.display().to_string()),
        });
        let began = report.began.clone();
        let suite = SuiteReport::new(began, self.options.seed.0, vec![report]);
        for def in REPORTS {
            if let Some(name) = def.file {
                // The verdicts are shown all the same where a report cannot be written.
                let _ = fs::write(self.running.folder.join(name), (def.render)(&suite));
            }
        }
        (suite.status, shown)
    }

    /// The command that repeats it.
    fn repeat(&self) -> String {
        let system = self
            .system_file
            .as_ref()
            .map(|file| file.display().to_string());
        let system = system.map_or_else(String::new, |file| format!(" --system {}", quoted(&file)));
        let scenario = quoted(&self.running.scenario.source.name);
        format!(
            "brownout run {scenario}{system} --seed {}",
            self.options.seed
        )
    }
}

/// Looks at a run while it goes on.
struct Watch {
    running: Arc<Running>,
    tail: Tail,
    /// When to judge, on the run's clock, and how many phases are over then.
    due: Vec<(Micros, usize)>,
}

impl Watch {
    fn until_over(mut self, told: &Receiver<Event>) {
        let mut now = Micros::default();
        loop {
            match told.recv_timeout(LOOK) {
                Ok(event) => {
                    now = now.max(event.at());
                    self.hear(&event);
                }
                Err(RecvTimeoutError::Timeout) => now = now + LOOK,
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.follow();
            self.judge(now);
        }
        self.follow();
    }

    fn hear(&mut self, event: &Event) {
        let Event::PhaseBegan { at, index, .. } = event else {
            return;
        };
        let place = index.saturating_sub(1);
        self.running.change(|so_far| {
            so_far.stage = Stage::Running;
            so_far.phase = Some(place);
            if let Some(began) = so_far.began.get_mut(place) {
                *began = Some(*at);
            }
        });
        let timeouts = self.running.system.loads.iter().map(|load| load.timeout);
        let patience = timeouts.max().unwrap_or_default().min(PATIENCE_MAX);
        let scenario = &self.running.scenario;
        let can_be_judged = |over| {
            let mut expects = scenario.expects.iter();
            expects.any(|expect| expectation::can_be_judged(expect, scenario, over))
        };
        if can_be_judged(place) {
            self.due.push((*at + patience, place));
        }
    }

    fn follow(&mut self) {
        while self.tail.follow(&self.running.window) {}
    }

    fn judge(&mut self, now: Micros) {
        let Some(place) = self.due.iter().rposition(|(when, _)| *when <= now) else {
            return;
        };
        let (_, over) = self.due[place];
        self.due.drain(..=place);
        let path = self.running.history();
        let length = fs::metadata(&path).map_or(u64::MAX, |about| about.len());
        if length > HISTORY_BYTES_MAX {
            return;
        }
        let Ok(history) = History::read(&path) else {
            return;
        };
        let Running {
            scenario, system, ..
        } = &*self.running;
        let verdicts = expectation::judge_so_far(&history, scenario, system, over);
        let verdicts = verdicts.iter().map(VerdictView::of).collect();
        self.running.change(|so_far| so_far.verdicts = verdicts);
    }
}
