//! Joins proxy, load, process and clock; heals on every way out.
//!
//! [`run`] carries one scenario through: it starts what the system depends on, then the system,
//! then walks the phases while the load goes on, and takes everything down again in the opposite
//! order. It decides nothing: faults decide, and the judge judges what was recorded.
//!
//! Whatever ends a run – the last phase, Ctrl-C, an error, a panic – the switches are emptied, the
//! processes ended and the ports freed, because all of that hangs on values that are dropped.

mod environment;
mod event;
mod faults;
mod held_up;
mod machine;
pub mod matrix;
mod places;
pub mod ports;
mod probes;
mod scribe;
mod stage;
mod stall;
mod standing;
mod watch;

pub use event::{Event, Events, FaultTick, LoadTick};
pub use machine::this_machine;
pub use standing::{Ground, Standing};

use crate::{
    fault::ProcessAction,
    history::{
        Criteria, HISTORY_VERSION, HistoryError, Intervention, Moment, Observation, Progress,
        Recorder, Run, Steady, Writer,
    },
    input::{Source, redacted},
    process::StartError,
    scenario::{FaultSpec, Lasts, Phase, Scenario, System, Target, Timeline, plan},
    seed::Seed,
    units::Micros,
};
use faults::Board;
use scribe::Scribe;
use stage::Stage;
use stall::Pulse;
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the watchers are told how things stand.
const TICK_EVERY: Duration = Duration::from_secs(1);

/// How often it is asked whether a recovery is complete.
const STEADY_EVERY: Duration = Duration::from_millis(100);

/// How long a run waits, beyond their `settle`, for ledgers in which work is still delivered.
const SETTLE_WITHIN: Duration = Duration::from_secs(60);

/// What a run is given beside its scenario.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder of this scenario's files: `history.jsonl` and `logs/`. Made if missing.
    pub folder: PathBuf,
    /// The seed.
    pub seed: Seed,
    /// Shortens the phases (not the recovery, and not the faults' own times): 4 is four times as
    /// fast.
    pub speed: f64,
}

/// How a run that could be started ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All phases were walked through, the last answers awaited and the ledgers watched.
    Completed,
    /// Somebody asked it to stop; the history up to there is saved.
    Interrupted,
}

/// What is left of a run.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The history file.
    pub history: PathBuf,
    /// How it ended.
    pub ending: Ending,
}

/// Why a run could not be carried through.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An instance did not start, or did not become ready.
    #[error(transparent)]
    Instance(#[from] StartError),
    /// An instance was ready, and died before the first phase.
    #[error(
        "instance `{instance}` was ready and ended before the first phase; its last output:\n{output}"
    )]
    Died {
        /// The instance.
        instance: String,
        /// Its last lines.
        output: String,
    },
    /// A dependency's upstream could not be reached before the first phase.
    #[error("dependency `{dependency}`: its upstream {reason}")]
    Upstream {
        /// The dependency.
        dependency: String,
        /// Why.
        reason: String,
    },
    /// Somebody listens where load is to go before the system was started.
    #[error(
        "somebody else listens at {address} already, where load is to go, and would be taken for the \
         system; end that program, or let Brownout choose the port: `{{port.NAME}}` in `command` and \
         `url`"
    )]
    Taken {
        /// The address of the system's `url`.
        address: String,
    },
    /// The external system does not answer.
    #[error("the system at {url} does not answer: {reason}")]
    External {
        /// Its URL.
        url: String,
        /// Why.
        reason: String,
    },
    /// Variables that the system's `env` takes from our own environment are not set there.
    #[error(
        "{} not set, and the system's `env` takes it from there",
        of_our_environment(names)
    )]
    Unset {
        /// Their names.
        names: Vec<String>,
    },
    /// A port or address could not be listened on, or a server of ours not be started.
    #[error("{what}: {error}")]
    Listen {
        /// What was to be started.
        what: String,
        /// Why it could not.
        #[source]
        error: io::Error,
    },
    /// A file of the run could not be written.
    #[error("{reason}")]
    Recording {
        /// The file.
        path: PathBuf,
        /// Why, with the file's name.
        reason: String,
    },
    /// Somebody asked the run to stop before its first phase.
    #[error("interrupted before the first phase")]
    InterruptedEarly,
}

/// `the environment variables A and B are`.
fn of_our_environment(names: &[String]) -> String {
    match names {
        [name] => format!("the environment variable {name} is"),
        names => format!("the environment variables {} are", names.join(" and ")),
    }
}

/// Carries one scenario through.
///
/// # Errors
/// The system or a dependency cannot be started, or the history cannot be written. Everything that
/// was started is stopped again, also then.
pub async fn run(
    scenario: &Scenario,
    system: &System,
    options: &Options,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<Ran, RunError> {
    let history = options.folder.join("history.jsonl");
    let timeline = plan(scenario, system, options.speed);
    let (recorder, queue) = Recorder::channel(Recorder::QUEUE);
    let writer = open_history(&history, scenario, system, options)?;
    let scribe = Scribe::start(
        queue,
        writer,
        recorder.clone(),
        Steady::new(scenario, system, Criteria::STEADY),
        Progress::new(system),
        load_names(system),
    )
    .map_err(|error| RunError::Recording {
        path: history.clone(),
        reason: format!("no thread to write {}: {error}", history.display()),
    })?;
    events.emit(Event::ScenarioStarted {
        title: scenario.title.clone(),
        planned: timeline
            .phases
            .last()
            .map_or(Duration::ZERO, |phase| phase.ends.since(Micros(0))),
    });

    let staged = Stage::build(scenario, system, options, &recorder, events, cancel).await;
    let outcome = match staged {
        Ok(stage) => {
            let mut conductor = Conductor {
                scenario,
                system,
                timeline,
                options,
                events,
                recorder: &recorder,
                scribe: &scribe,
                board: Board::new(stage.switches(), options.seed, recorder.clone()),
                stage: &stage,
            };
            let outcome = conductor.walk(cancel).await;
            let at = recorder.now();
            conductor.board.heal(at);
            events.detail(at, "healed; stopping the system");
            stage.stop().await;
            outcome
        }
        Err(error) => Err(error),
    };
    finish(outcome, history, scribe, &recorder, events).await
}

/// Writes the last observation and waits for the file.
async fn finish(
    outcome: Result<Ending, RunError>,
    history: PathBuf,
    scribe: Scribe,
    recorder: &Recorder,
    events: &Events,
) -> Result<Ran, RunError> {
    let how = match &outcome {
        Ok(Ending::Completed) => "completed".to_owned(),
        Ok(Ending::Interrupted) | Err(RunError::InterruptedEarly) => "interrupted".to_owned(),
        Err(error) => error.to_string(),
    };
    let at = recorder.now();
    recorder
        .record_last(Observation::Ended(Moment {
            at,
            how: how.clone(),
        }))
        .await;
    let written = scribe.finish().await;
    events.emit(Event::ScenarioEnded { at, how });
    let ending = outcome?;
    written.map_err(|reason| RunError::Recording {
        path: history.clone(),
        reason,
    })?;
    Ok(Ran { history, ending })
}

/// A history that cannot be written; its error names the file itself.
fn recording(path: &Path, error: &HistoryError) -> RunError {
    RunError::Recording {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// Any other file of the run that cannot be written.
fn unwritable(path: &Path, error: &io::Error) -> RunError {
    RunError::Recording {
        path: path.to_owned(),
        reason: format!("cannot write {}: {error}", path.display()),
    }
}

fn open_history(
    path: &Path,
    scenario: &Scenario,
    system: &System,
    options: &Options,
) -> Result<Writer<File>, RunError> {
    std::fs::create_dir_all(options.folder.join("logs"))
        .map_err(|error| unwritable(&options.folder, &error))?;
    let mut writer = Writer::create(path).map_err(|error| recording(path, &error))?;
    // A history is passed on to whoever is to judge it.
    let text = |source: &Source| (source.name.to_string(), redacted(&source.text));
    writer
        .write(&Observation::Run(Run {
            version: HISTORY_VERSION,
            brownout: env!("CARGO_PKG_VERSION").to_owned(),
            began: jiff::Timestamp::now().to_string(),
            seed: options.seed.0,
            speed: options.speed,
            scenario: text(&scenario.source),
            system: text(&system.source),
            machine: Some(machine::this_machine()),
        }))
        .map_err(|error| recording(path, &error))?;
    Ok(writer)
}

fn load_names(system: &System) -> impl Iterator<Item = std::sync::Arc<str>> {
    system
        .loads
        .iter()
        .map(|load| load.name.clone())
        .chain(system.ingress.iter().map(|ingress| ingress.name.clone()))
}

/// Walks the phases of one scenario.
struct Conductor<'a> {
    scenario: &'a Scenario,
    system: &'a System,
    timeline: Timeline,
    options: &'a Options,
    events: &'a Events,
    recorder: &'a Recorder,
    scribe: &'a Scribe,
    board: Board,
    stage: &'a Stage,
}

impl Conductor<'_> {
    /// All phases with the load going on beside them.
    async fn walk(&mut self, cancel: &CancellationToken) -> Result<Ending, RunError> {
        let began = self.recorder.now();
        let _pulse = Pulse::start(self.recorder.clone());
        let _held_ups = self.stage.held_ups(self.system, self.recorder);
        let load = self.stage.drive(
            self.system,
            &self.timeline,
            self.options.seed,
            self.recorder,
            began,
        );
        let probes = self.stage.probe(self.scenario, self.recorder);
        let watch = self.stage.watch(self.system, self.recorder);
        let outcome = self.phases(began, cancel).await;
        let at = self.recorder.now();
        self.recorder.record(Observation::PhasesOver { at });
        if matches!(outcome, Ok(Ending::Completed)) {
            probes.finish(cancel).await;
        } else {
            // Nobody who asks for the end waits with a fault in force for what a probe may take.
            self.board.heal(at);
            load.stop();
            drop(probes);
        }
        let lifted = self.recorder.now();
        self.board.heal(lifted);
        self.events
            .detail(self.recorder.now(), "waiting for the last answers");
        load.finish().await;
        let settled = matches!(outcome, Ok(Ending::Completed)) && self.settle(lifted, cancel).await;
        watch.close().await;
        if settled {
            let at = self.recorder.now();
            self.recorder.record(Observation::Watched { at });
        }
        // Whoever asked for the end meanwhile has not let it be watched to its own.
        outcome.map(|ending| match cancel.is_cancelled() {
            true => Ending::Interrupted,
            false => ending,
        })
    }

    /// Gives the ledgers their time to settle, at most [`SETTLE_WITHIN`]; whether there are any
    /// and they had it.
    async fn settle(&self, lifted: Micros, cancel: &CancellationToken) -> bool {
        if self.system.ledgers.is_empty() {
            return false;
        }
        let what = "waiting for the ledgers to settle";
        self.events.detail(self.recorder.now(), what);
        let longest = self.system.ledgers.iter().map(|ledger| ledger.settle).max();
        let until = Instant::now() + SETTLE_WITHIN + longest.unwrap_or_default();
        let mut quiet_from = lifted;
        while !self.scribe.settled(quiet_from, self.recorder.now()) && Instant::now() < until {
            let asked = Instant::now();
            tokio::select! {
                () = cancel.cancelled() => return false,
                () = tokio::time::sleep(STEADY_EVERY) => {}
            }
            // Who was held up himself has not seen that all was quiet meanwhile.
            if asked.elapsed() > STEADY_EVERY * 3 {
                quiet_from = self.recorder.now();
            }
            if self.scribe.broken().is_some() {
                return false;
            }
        }
        true
    }

    async fn phases(
        &mut self,
        began: Micros,
        cancel: &CancellationToken,
    ) -> Result<Ending, RunError> {
        let mut at = began;
        for index in 0..self.scenario.phases.len() {
            let phase = &self.scenario.phases[index];
            let ends_at = at + self.timeline.phases[index].lasts();
            self.begin(index, at, ends_at).await;
            let ending = self.dwell(phase, ends_at, cancel).await?;
            if ending == Ending::Interrupted {
                return Ok(Ending::Interrupted);
            }
            self.undo_process_faults(phase).await;
            // The next phase begins when it should, not when this loop got round to it, unless
            // the recovery ended early.
            at = match phase.lasts {
                Lasts::For(_) => ends_at,
                Lasts::UntilSteady { .. } => self.recorder.now(),
            };
        }
        Ok(Ending::Completed)
    }

    async fn begin(&mut self, index: usize, at: Micros, ends_at: Micros) {
        let phase = &self.scenario.phases[index];
        let place = u16::try_from(index).unwrap_or(u16::MAX);
        self.recorder
            .record(Observation::Phase { at, index: place });
        self.board.arm(phase, self.system, at, ends_at.since(at));
        self.events.emit(Event::PhaseBegan {
            at,
            name: phase.name.clone(),
            index: index + 1,
            of: self.scenario.phases.len(),
            ends_at,
            until_steady: matches!(phase.lasts, Lasts::UntilSteady { .. }),
            faults: phase
                .faults
                .iter()
                .map(|fault| fault.label.clone())
                .collect(),
        });
        for fault in &phase.faults {
            self.act_on_process(fault).await;
        }
    }

    /// Waits for the end of a phase, telling the watchers meanwhile.
    async fn dwell(
        &mut self,
        phase: &Phase,
        ends_at: Micros,
        cancel: &CancellationToken,
    ) -> Result<Ending, RunError> {
        let end = self.recorder.instant(ends_at);
        let mut next_tick = Instant::now() + TICK_EVERY;
        let mut last_tick = Instant::now();
        loop {
            let wake = end.min(next_tick).min(Instant::now() + STEADY_EVERY);
            tokio::select! {
                () = cancel.cancelled() => return Ok(Ending::Interrupted),
                () = tokio::time::sleep_until(wake) => {}
            }
            if let Some(reason) = self.scribe.broken() {
                let path = self.options.folder.join("history.jsonl");
                return Err(RunError::Recording { path, reason });
            }
            let now = Instant::now();
            if now >= next_tick {
                self.scribe.tick(
                    self.events,
                    self.recorder.now(),
                    now - last_tick,
                    self.board.ticks(),
                );
                last_tick = now;
                next_tick = now + TICK_EVERY;
            }
            // Who was started again belongs to what is to be steady.
            let steady = matches!(phase.lasts, Lasts::UntilSteady { .. })
                && !self.stage.is_any_starting()
                && self
                    .scribe
                    .steady_for(self.scenario.hold, self.recorder.now());
            if now >= end || steady {
                return Ok(Ending::Completed);
            }
        }
    }

    async fn act_on_process(&mut self, fault: &FaultSpec) {
        let (Target::Instance(instance), Some(behaviour)) =
            (&fault.target, fault.behaviours.first())
        else {
            return;
        };
        let Some(action) = behaviour.process() else {
            return;
        };
        let done = self.stage.act(instance, action).await;
        let at = self.recorder.now();
        match done {
            Ok(what) => {
                self.board.count_process_hit(fault.id);
                self.events.note(at, format!("instance {instance}: {what}"));
                self.recorder.record(Observation::Acted(Intervention {
                    at,
                    fault: fault.id,
                    count: 1,
                    what: format!("instance {instance} {what}"),
                }));
            }
            Err(reason) => {
                self.events.note(at, format!("{}: {reason}", fault.label));
                self.recorder.record(Observation::Acted(Intervention {
                    at,
                    fault: fault.id,
                    count: 0,
                    what: format!("did not act: {reason}"),
                }));
            }
        }
    }

    async fn undo_process_faults(&mut self, phase: &Phase) {
        for fault in &phase.faults {
            let (Target::Instance(instance), Some(behaviour)) =
                (&fault.target, fault.behaviours.first())
            else {
                continue;
            };
            let undo = match behaviour.process() {
                Some(ProcessAction::Pause {
                    until_resume: false,
                }) => ProcessAction::Resume,
                Some(ProcessAction::Kill { restart: true }) => ProcessAction::Start,
                _ => continue,
            };
            let at = self.recorder.now();
            match self.stage.act(instance, undo).await {
                Ok(what) => self.events.note(at, format!("instance {instance}: {what}")),
                Err(reason) => self
                    .events
                    .note(at, format!("instance {instance}: {reason}")),
            }
        }
    }
}
