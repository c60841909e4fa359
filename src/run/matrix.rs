//! Carries a matrix out: first the run without faults, then every trial as a run of its own, on a
//! system that is started for it and ended behind it. So no trial has anything to do with what the one
//! before it left behind, and what was wedged is started anew.
//!
//! The [`Matrix`] is whole at every moment: a trial that was not made yet stands there as such. Whoever
//! drops the future keeps what was done so far.

use super::{Events, Options, RunError, run};
use crate::{
    expectation::View,
    history::History,
    input::{Problems, Source, render},
    matrix::{
        self, Aftermath, Aim, Delay, Kind, Lengths, Matrix, Reference, State, Trial, Tried, Wanted,
        in_time, once_text, too_late, trial_text,
    },
    scenario::{Scenario, Start, System, Upstream, from_texts, system_from_text},
    seed::Seed,
    units::format_duration,
};
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The shortest and the longest time that a fault lasts where nobody says how long.
const TROUBLE_MIN: Duration = Duration::from_secs(5);
const TROUBLE_MAX: Duration = Duration::from_secs(20);

/// How much longer a fault lasts than the most patient load, or a delay: so that some of what is asked
/// is over before it is.
const BEYOND: Duration = Duration::from_secs(2);

/// What a trial takes beside its phases and the system's start: the seconds of the recovery that are
/// decided late, the answers still due, the end of the system.
const BESIDE_PHASES: Duration = Duration::from_secs(3);

/// How often a run is made of which only our own load was the trouble.
const RUNS_MAX: usize = 3;

/// The kinds that are tried before those that take a delay, which rests on what a hang showed.
const BEFORE_DELAYS: &[Kind] = &[Kind::Hang, Kind::Error];

/// Why a trial stands there that was not made.
const NOT_YET: &str = "interrupted before its turn came";

/// How a matrix is carried out.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the histories and logs go, a folder each.
    pub folder: PathBuf,
    /// The seed of every run.
    pub seed: Seed,
    /// What is tried.
    pub wanted: Wanted,
    /// How long the system is watched before a fault.
    pub steady: Duration,
    /// How long a fault lasts; as the loads' patience needs it where nobody says.
    pub trouble: Option<Duration>,
    /// How long the system has to be as before.
    pub recovery: Duration,
    /// How long everything must then hold.
    pub hold: Duration,
    /// No trial is begun that would probably end later than this.
    pub budget: Option<Duration>,
    /// How many trials go on side by side.
    pub jobs: usize,
}

impl Settings {
    /// The phases of a trial of this kind on this system.
    pub fn lengths(&self, system: &System, delay: Option<&Delay>) -> Lengths {
        let patience = system.loads.iter().map(crate::scenario::Load::patience);
        let usual = patience.max().unwrap_or_default() + BEYOND;
        let usual = usual.clamp(TROUBLE_MIN, TROUBLE_MAX);
        let late = delay.map_or(Duration::ZERO, |delay| delay.time() + BEYOND);
        Lengths {
            steady: self.steady,
            trouble: self.trouble.unwrap_or(usual).max(late),
            recovery: self.recovery,
            hold: self.hold,
        }
    }
}

/// What a person who watches wants to know.
#[derive(Debug)]
pub enum News<'a> {
    /// The run without faults has begun.
    Reference,
    /// So many trials are to be made, in about this time.
    Planned {
        /// How many.
        trials: usize,
        /// How long they take, if nothing is wedged.
        about: Duration,
    },
    /// Another trial is over.
    Tried {
        /// How many are over.
        nth: usize,
        /// Of so many.
        of: usize,
        /// How long the others take, if nothing is wedged.
        left: Duration,
        /// Which it was, and what came of it.
        trial: &'a Trial,
    },
}

/// Whether copies of a system can run side by side: all that it depends on is started with it, at
/// addresses of its own.
pub fn stands_alone(system: &System) -> bool {
    let Start::Instances(instances) = &system.start else {
        return false;
    };
    let has_own_port = |url: &crate::scenario::Template| url.0.contains("{port.");
    let own_ports = instances
        .iter()
        .all(|one| one.url.as_ref().is_none_or(has_own_port));
    let own_servers = system
        .dependencies
        .iter()
        .all(|one| one.listen.is_none() && !matches!(one.upstream, Upstream::Address { .. }));
    let own_door = system
        .ingress
        .as_ref()
        .is_none_or(|one| one.listen.is_none());
    own_ports && own_servers && own_door && has_own_port(&system.url)
}

/// Carries a matrix out. What is found goes to `matrix`, trial by trial.
///
/// # Errors
/// The system or a dependency cannot be started for the run without faults. Of a trial that cannot be
/// carried through the matrix says why.
pub async fn rehearse(
    system: &System,
    settings: &Settings,
    matrix: &Mutex<Matrix>,
    news: &dyn Fn(News<'_>),
    cancel: &CancellationToken,
) -> Result<(), RunError> {
    let rehearsal = Rehearsal {
        system,
        settings,
        matrix,
        news,
        cancel,
        began: Instant::now(),
        is_stuck: Mutex::new(false),
        spent: Mutex::new((Duration::ZERO, 0)),
    };
    let Some(reference) = rehearsal.reference().await? else {
        return Ok(());
    };
    let (aims, left_out) = matrix::aims(&reference, system, &settings.wanted);
    rehearsal.plan(aims, left_out);
    // How late is late is known when the hangs are over.
    let first = rehearsal.places(|aim| BEFORE_DELAYS.contains(&aim.kind));
    let others = rehearsal.places(|aim| !BEFORE_DELAYS.contains(&aim.kind));
    rehearsal.wave(first).await;
    rehearsal.wave(others).await;
    let known = matrix.lock().trials.len();
    let pairs = matrix::pairs(&matrix.lock());
    if !pairs.is_empty() {
        rehearsal.plan(pairs, Vec::new());
        let places = rehearsal.places(|aim| aim.beside.is_some());
        rehearsal
            .wave(places.into_iter().filter(|place| *place >= known).collect())
            .await;
    }
    Ok(())
}

/// A matrix that is being carried out.
struct Rehearsal<'a> {
    system: &'a System,
    settings: &'a Settings,
    matrix: &'a Mutex<Matrix>,
    news: &'a dyn Fn(News<'_>),
    cancel: &'a CancellationToken,
    began: Instant,
    /// Whether the system is somebody else's and no longer well.
    is_stuck: Mutex<bool>,
    /// How long the trials took that are over, and how many these are.
    spent: Mutex<(Duration, u32)>,
}

impl Rehearsal<'_> {
    /// The run without faults. Nothing else is tried on a system that is sick without them.
    async fn reference(&self) -> Result<Option<Reference>, RunError> {
        (self.news)(News::Reference);
        for _ in 1..RUNS_MAX {
            let reference = self.without_faults().await?;
            let sick = reference.sick.as_deref();
            if !sick.is_some_and(matrix::is_our_doing) || self.cancel.is_cancelled() {
                return Ok(self.kept(reference));
            }
        }
        let last = self.without_faults().await?;
        Ok(self.kept(last))
    }

    /// Puts what the run without faults showed into the matrix; nothing is tried where it was sick.
    fn kept(&self, reference: Reference) -> Option<Reference> {
        let is_sick = reference.sick.is_some();
        self.matrix.lock().reference = Some(reference.clone());
        (!is_sick).then_some(reference)
    }

    async fn without_faults(&self) -> Result<Reference, RunError> {
        let system = self.copy();
        let settings = self.settings;
        let scenario = matrix::reference_scenario(&system, settings.steady, settings.hold);
        let options = self.options("reference");
        let nobody = Events::nobody();
        let run = run(&scenario, &system, &options, &nobody, self.cancel);
        let ran = Box::pin(run).await?;
        let path = ran.history.display().to_string();
        let read = tokio::task::spawn_blocking(move || {
            let history = History::read(&ran.history).map_err(|error| error.to_string())?;
            Ok::<_, String>(Reference::of(&View::new(&history, &scenario, &system)))
        });
        let read = read.await.unwrap_or_else(|_| Err(A_BUG.to_owned()));
        let mut reference = read.unwrap_or_else(Reference::unknown);
        reference.history = Some(path);
        Ok(reference)
    }

    /// The system once more, without its ledgers: nothing is asked of them here, and a run waits for
    /// them.
    fn copy(&self) -> System {
        let source = self.system.source.clone();
        let mut problems = Problems::default();
        let read = system_from_text(source, self.system.folder.clone(), &mut problems);
        let mut system = read.expect("the same text was valid before");
        system.ledgers.clear();
        system
    }

    fn options(&self, folder: &str) -> Options {
        Options {
            folder: self.settings.folder.join(folder),
            seed: self.settings.seed,
            speed: 1.0,
        }
    }

    /// Puts trials that are to be made into the matrix, before those that are not.
    fn plan(&self, aims: Vec<Aim>, left_out: Vec<Trial>) {
        let trials = aims.len();
        {
            let mut matrix = self.matrix.lock();
            let aims = aims.into_iter().map(|aim| Trial::due(aim, NOT_YET));
            matrix.trials.extend(aims);
            matrix.trials.extend(left_out);
        }
        let about = self.takes() * u32::try_from(trials.div_ceil(self.settings.jobs)).unwrap_or(1);
        (self.news)(News::Planned { trials, about });
    }

    /// The places of the trials that are still to be made and of this sort.
    fn places(&self, is_meant: impl Fn(&Aim) -> bool) -> Vec<usize> {
        let matrix = self.matrix.lock();
        let trials = matrix.trials.iter().enumerate();
        let is_due =
            |trial: &Trial| matches!(&trial.state, State::NotTried { why, .. } if why == NOT_YET);
        let due = trials.filter(|(_, trial)| is_due(trial) && is_meant(&trial.aim));
        due.map(|(place, _)| place).collect()
    }

    /// How long a trial takes: as long as those that are over, or as its phases say.
    fn takes(&self) -> Duration {
        let (spent, trials) = *self.spent.lock();
        if trials > 0 {
            return spent / trials;
        }
        let starts = self
            .matrix
            .lock()
            .reference
            .as_ref()
            .map_or(0, |one| one.starts_us);
        let lengths = self.settings.lengths(self.system, None);
        let phases = lengths.steady + lengths.trouble + lengths.hold;
        Duration::from_micros(starts) + phases + BESIDE_PHASES
    }

    /// Makes these trials, some of them side by side.
    async fn wave(&self, places: Vec<usize>) {
        stream::iter(places)
            .map(|place| Box::pin(self.trial(place)))
            .buffer_unordered(self.settings.jobs)
            .collect::<Vec<()>>()
            .await;
    }

    async fn trial(&self, place: usize) {
        if self.cancel.is_cancelled() {
            return;
        }
        let aim = self.matrix.lock().trials[place].aim.clone();
        let trial = match self.why_not() {
            Some(why) => Trial::due(aim, why),
            None => {
                let began = Instant::now();
                let trial = self.made(place, &aim).await;
                if trial.tried().is_some() {
                    let mut spent = self.spent.lock();
                    *spent = (spent.0 + began.elapsed(), spent.1 + 1);
                }
                trial
            }
        };
        if self.cancel.is_cancelled() && trial.tried().is_none() {
            return;
        }
        let is_stuck = match &trial.state {
            State::Tried(tried) => matches!(tried.aftermath, Aftermath::Wedged { .. }),
            State::Unmeasured { .. } => true,
            State::NotTried { .. } => false,
        };
        if is_stuck && matches!(self.system.start, Start::External) {
            *self.is_stuck.lock() = true;
        }
        let news = {
            let mut matrix = self.matrix.lock();
            matrix.trials[place] = trial.clone();
            let due =
                |one: &&Trial| matches!(&one.state, State::NotTried { why, .. } if why == NOT_YET);
            let left = matrix.trials.iter().filter(due).count();
            let unused = |one: &&Trial| matches!(&one.state, State::NotTried { .. });
            let not_made = matrix.trials.iter().filter(unused).count() - left;
            (matrix.trials.len() - not_made, left)
        };
        if matches!(trial.state, State::NotTried { .. }) {
            return;
        }
        let (of, left) = news;
        let rounds = u32::try_from(left.div_ceil(self.settings.jobs)).unwrap_or(u32::MAX);
        (self.news)(News::Tried {
            nth: of - left,
            of,
            left: self.takes().saturating_mul(rounds),
            trial: &trial,
        });
    }

    /// Why no further trial is made.
    fn why_not(&self) -> Option<String> {
        if *self.is_stuck.lock() {
            let why = "the system is not well since a trial before, and somebody else's to restart";
            return Some(why.to_owned());
        }
        let budget = self.settings.budget?;
        let too_late = self.began.elapsed() + self.takes() > budget;
        too_late.then(|| {
            format!(
                "left out: the budget of {} was used up",
                format_duration(budget)
            )
        })
    }

    /// Makes a trial, and again where only our own load was the trouble.
    async fn made(&self, place: usize, aim: &Aim) -> Trial {
        for _ in 1..RUNS_MAX {
            let trial = self.made_once(place, aim.clone()).await;
            let is_ours =
                matches!(&trial.state, State::Unmeasured { why } if matrix::is_our_doing(why));
            if !is_ours || self.cancel.is_cancelled() {
                return trial;
            }
        }
        self.made_once(place, aim.clone()).await
    }

    async fn made_once(&self, place: usize, aim: Aim) -> Trial {
        let delay = self.delay(&aim);
        let lengths = self.settings.lengths(self.system, delay.as_ref());
        let (reference, patience) = {
            let matrix = self.matrix.lock();
            let patience = matrix.patience(self.system, &aim.dependency);
            (matrix.reference.clone(), patience)
        };
        let lengths = match &reference {
            Some(one) => lengths.awaiting(&aim, self.system, one, patience),
            None => lengths,
        };
        let text = match trial_text(&aim, self.system, &lengths, delay.as_ref()) {
            Ok(text) => text,
            Err(why) => return Trial::left_out(aim, why),
        };
        let once = reference.map(|one| once_text(&aim, self.system, &one));
        let text = text + &once.unwrap_or_default();
        let folder = format!("{:02}-{}", place + 1, aim.file_stem());
        let name = format!("{folder}.toml");
        let (scenario, system) = match read(self.system, &name, &text, &aim) {
            Ok(read) => read,
            Err(why) => {
                return Trial {
                    state: State::Unmeasured { why },
                    ..Trial::left_out(aim, "")
                };
            }
        };
        let options = self.options(&folder);
        let nobody = Events::nobody();
        let run = run(&scenario, &system, &options, &nobody, self.cancel);
        let ran = Box::pin(run).await;
        let (history, state) = match ran {
            Ok(ran) => {
                let path = ran.history.display().to_string();
                let measured = self
                    .measured(ran.history, scenario, system, aim.clone())
                    .await;
                (
                    Some(path),
                    measured.map_or_else(|why| State::Unmeasured { why }, State::Tried),
                )
            }
            Err(error) => {
                let why = error.to_string();
                (None, State::Unmeasured { why })
            }
        };
        Trial {
            aim,
            delay,
            text: Some(text.into()),
            history,
            state,
        }
    }

    /// What its history says.
    async fn measured(
        &self,
        history: PathBuf,
        scenario: Scenario,
        system: System,
        aim: Aim,
    ) -> Result<Tried, String> {
        let reference = self.matrix.lock().reference.clone();
        let read = tokio::task::spawn_blocking(move || {
            let reference = reference.ok_or_else(|| A_BUG.to_owned())?;
            let history = History::read(&history).map_err(|error| error.to_string())?;
            matrix::tried(&View::new(&history, &scenario, &system), &aim, &reference)
        });
        // A panic in it has been reported by the hook.
        read.await.unwrap_or_else(|_| Err(A_BUG.to_owned()))
    }

    /// How late the slow kinds are.
    fn delay(&self, aim: &Aim) -> Option<Delay> {
        if !aim.kind.takes_delay() {
            return None;
        }
        let matrix = self.matrix.lock();
        let patience = matrix.patience(self.system, &aim.dependency);
        let reference = matrix.reference.as_ref();
        let uses = |load: &Arc<str>| {
            let known = reference.and_then(|one| one.use_of(load, &aim.dependency));
            known.is_some_and(matrix::Use::is_use)
        };
        let loads = self.system.loads.iter().filter(|load| uses(&load.name));
        let load = loads.map(|load| load.timeout).min().unwrap_or(TROUBLE_MIN);
        Some(match aim.kind {
            Kind::Slow => in_time(patience, load),
            _ => too_late(patience, load),
        })
    }
}

/// What is said of a trial that we ourselves could not read.
const A_BUG: &str = "a part of Brownout panicked; what it said stands above";

/// The scenario of a trial and a copy of the system for it.
fn read(system: &System, name: &str, text: &str, aim: &Aim) -> Result<(Scenario, System), String> {
    let mut problems = Problems::default();
    let read = from_texts(
        Source::new(name, text),
        system.source.clone(),
        system.folder.clone(),
        &mut problems,
    );
    let Some((scenario, mut system)) = read else {
        return Err(render(&problems.into_sorted(), false));
    };
    // A run waits for its ledgers, and only where answers may be lost is anything asked of them.
    if !matrix::may_lose_answers(aim, &system) {
        system.ledgers.clear();
    }
    Ok((scenario, system))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: &str = r#"[system]
external = "http://127.0.0.1:9"

[dependency.orders]
protocol = "http"
upstream = "127.0.0.1:9"
capture = { order = "header:x-order" }

[dependency.lines]
protocol = "tcp"
upstream = "127.0.0.1:9"

[load.train]
rate = "20/s"
request = { method = "POST", path = "/orders" }
capture = { id = "json:/id" }

[ledger.ordered]
accepted = { load = "train", id = "id" }
delivered = { dependency = "orders", operation = "POST", id = "order" }
"#;

    #[test]
    fn ledgers_are_there_wherever_answers_may_be_lost() {
        let source = Source::new("system.toml", SYSTEM);
        let mut problems = Problems::default();
        let system = system_from_text(source, ".".into(), &mut problems);
        let system = system.unwrap_or_else(|| panic!("{problems:?}"));
        let text = "title = \"x\"\nhold = \"2s\"\n[[phase]]\nname = \"steady\"\nlasts = \"10s\"\nsteady = true\n\
            [[phase]]\nname = \"trouble\"\nlasts = \"20s\"\n[[phase.fault]]\nkind = \"hang\"\non = \"orders\"\n\
            [[phase]]\nname = \"recovery\"\nlasts = \"30s\"\n[[expect]]\nid = \"ONCE-ordered\"\nthat = \"a\"\n\
            kind = \"no-duplicates\"\nledger = \"ordered\"\n";
        let kept = |aim: &Aim| {
            let (scenario, system) = read(&system, "trial.toml", text, aim).expect("it is read");
            assert_eq!(scenario.expects.len(), 1);
            system.ledgers.len()
        };
        let on = |name: &str, kind| Aim::single(&name.into(), kind);
        for kind in [
            Kind::LostReply,
            Kind::TooSlow,
            Kind::Reset,
            Kind::Restart,
            Kind::Error,
        ] {
            assert_eq!(kept(&on("orders", kind)), 1, "{kind}");
        }
        for kind in [Kind::Hang, Kind::Slow, Kind::Quota] {
            assert_eq!(kept(&on("orders", kind)), 0, "{kind}");
        }
        // Of two it is enough that one may.
        let both = |kind| Aim {
            beside: Some(matrix::Beside {
                dependency: "lines".into(),
                kind,
            }),
            ..on("orders", Kind::Hang)
        };
        assert_eq!(kept(&both(Kind::Reset)), 1);
        assert_eq!(kept(&both(Kind::Hang)), 0);
    }
}
