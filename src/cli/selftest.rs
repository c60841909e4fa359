//! `brownout selftest`: systems that are known, run and judged like any other, to see whether the
//! verdicts on them are right on this machine.
//!
//! What is required of each run and what it comes to is [`crate::selftest`]'s; here the runs are made.

mod folder;
mod noise;

use super::{
    Exit, Failure, args::Selftest as Args, bug, interrupt::Interrupt, outputs::HISTORY,
    paths::in_words, progress::Progress, say,
};
use crate::{
    expectation::{self, Status},
    history::History,
    input::{Problems, Source, hint_among},
    reference::planted::{ALL, Planted, Twin},
    report::{self, Material, ScenarioReport, selftest as reports},
    run::{Ending, Events, Options},
    scenario::{Scenario, System, from_texts},
    seed::Seed,
    selftest::{Account, Case, Ended, Seen, Standing, Weighed, weigh},
    units::format_duration,
};
use folder::{Folder, Out, is_there};
use futures_util::{StreamExt, stream};
use noise::Noise;
use parking_lot::Mutex;
use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Runs side by side for each core, where nobody says how many.
const JOBS_EACH_CORE: usize = 4;

/// How often an unclear run is repeated whose load missed its schedule.
const REPEATS_MAX: u32 = 2;

/// By these words a run says of itself that its load missed its schedule.
const MISSED: &str = "missed its schedule";

/// How many processes keep a core busy each, where noise is wanted.
const NOISE: usize = 2;

/// So many runs must be over before it is said how long the rest will take.
const TELLING: u64 = 12;

/// The least time between two lines of progress.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Carries it out.
pub fn selftest(args: &Args) -> Result<Exit, Failure> {
    let twins = twins(&args.only)?;
    nothing_in_the_way(&args.out, &twins, args.rounds)?;
    let json = args.json.as_ref().map(|path| created(path)).transpose()?;
    let out = Out::make(&args.out).map_err(|error| refused(&args.out, &error))?;
    let noise_wanted = if args.noise { NOISE } else { 0 };
    let noise = Noise::start(noise_wanted)?;
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args
        .jobs
        .map_or_else(|| JOBS_EACH_CORE * processors(), usize::from);
    let calibration = Calibration {
        twins,
        rounds: args.rounds,
        out: args.out.clone(),
        progress: Progress::new(args.quiet, false),
        standing: Mutex::new(Tally::new()),
    };
    let began = jiff::Timestamp::now().to_string();
    let start = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let (seen, interrupted) = runtime.block_on(calibration.carried_out(jobs))?;
    let noise = noise.stop();
    let mut account = Account::of(args.rounds, &calibration.cases(seen), interrupted);
    account.began = began;
    account.took_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    account.beside(noise_wanted, noise);
    (account.jobs, account.processors) = (jobs, processors());
    out.remove_if_empty();
    let written = json.map_or(Ok(()), |mut file| file.write_all(&reports::json(&account)));
    say::data(&reports::terminal(&account))?;
    written?;
    Ok(exit(&account))
}

/// What a build is told.
fn exit(account: &Account) -> Exit {
    match account.ended {
        _ if bug::happened() => Exit::Bug,
        Ended::Wrong => Exit::Fail,
        Ended::Interrupted => Exit::Interrupted,
        Ended::Unclear => Exit::Inconclusive,
        Ended::Calibrated => Exit::Pass,
    }
}

fn refused(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(
        format!("cannot write `{}`: {}", path.display(), in_words(error)),
        "name another place; nothing was started",
    )
}

fn created(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| refused(path, &error))
}

/// Where a run of a twin writes.
fn place(out: &Path, (planted, twin): Known, round: u32) -> PathBuf {
    out.join(format!("{}-{}-{round}", planted.name, twin.name()))
}

/// That none of the runs would write where something is.
fn nothing_in_the_way(out: &Path, twins: &[Known], rounds: u32) -> Result<(), Failure> {
    let rounds = 1..=rounds;
    let mut places = rounds.flat_map(|round| twins.iter().map(move |one| place(out, *one, round)));
    match places.find(|place| is_there(place)) {
        None => Ok(()),
        Some(place) => Err(Failure::usage(
            format!("`{}` is there already", place.display()),
            "it may be of an earlier calibration: remove it, or name another place with --out; \
             nothing was started",
        )),
    }
}

/// A planted system, and one of its twins.
type Known = (&'static Planted, Twin);

/// The twins of all planted systems, or of those that were named.
fn twins(only: &[String]) -> Result<Vec<Known>, Failure> {
    let names = || ALL.iter().map(|one| one.name);
    for name in only {
        if names().all(|known| known != name) {
            let names: Vec<&str> = names().collect();
            let hint = hint_among(name, names.iter().copied());
            let message = format!("no planted system is called `{name}`");
            return Err(Failure::usage(message, hint));
        }
    }
    let is_meant = |one: &&Planted| only.is_empty() || only.iter().any(|name| name == one.name);
    let meant = ALL.iter().filter(is_meant);
    Ok(meant
        .flat_map(|one| Twin::ALL.map(|twin| (one, twin)))
        .collect())
}

/// What is required of a twin.
fn case((planted, twin): Known) -> Case {
    Case {
        system: planted.name.to_owned(),
        twin: twin.name().to_owned(),
        what: planted.what(twin).to_owned(),
        required: match twin {
            Twin::Good => Status::Pass,
            Twin::Bad => Status::Fail,
            Twin::Unmeasured => Status::Inconclusive,
        },
        fails: planted.fails.iter().map(|id| (*id).to_owned()).collect(),
        says: match twin {
            Twin::Unmeasured => planted
                .unmeasured
                .says
                .iter()
                .map(|one| (*one).to_owned())
                .collect(),
            Twin::Good | Twin::Bad => Vec::new(),
        },
    }
}

/// One run that is to be made.
#[derive(Debug, Clone, Copy)]
struct Task {
    /// Which of the twins, by its place.
    place: usize,
    known: Known,
    round: u32,
}

/// How things stand.
struct Tally {
    /// Runs that are over.
    runs: u64,
    wrong: u64,
    unclear: u64,
    said: Instant,
    began: Instant,
}

impl Tally {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            runs: 0,
            wrong: 0,
            unclear: 0,
            said: now,
            began: now,
        }
    }

    /// How long the rest will take, in words, once enough are over to tell.
    fn left(&self, wanted: u64) -> String {
        let rest = wanted.saturating_sub(self.runs);
        if rest == 0 || self.runs < TELLING {
            return String::new();
        }
        let each = self.began.elapsed().div_f64(self.runs as f64);
        let left = Duration::from_secs(each.mul_f64(rest as f64).as_secs());
        format!("; about {} left", format_duration(left))
    }
}

struct Calibration {
    twins: Vec<Known>,
    rounds: u32,
    out: PathBuf,
    progress: Progress,
    standing: Mutex<Tally>,
}

impl Calibration {
    /// Makes the runs, some side by side, round after round; what was seen in each, by the place of
    /// its twin, and whether somebody interrupted it. On the thread that calls: what runs start hangs
    /// on it.
    async fn carried_out(&self, jobs: usize) -> Result<(Vec<(usize, Seen)>, bool), Failure> {
        let interrupt = Interrupt::listen(self.progress.clone())?;
        let round = |round| {
            let twins = self.twins.iter().enumerate();
            twins.map(move |(place, known)| Task {
                place,
                known: *known,
                round,
            })
        };
        let tasks: Vec<Task> = (1..=self.rounds).flat_map(round).collect();
        let seen: Vec<Option<(usize, Seen)>> = stream::iter(tasks)
            .map(|task| Box::pin(self.taken_up(task, &interrupt)))
            .buffer_unordered(jobs)
            .collect()
            .await;
        interrupt.unless_nobody_looks(self.progress.shown()).await;
        Ok((seen.into_iter().flatten().collect(), interrupt.asked()))
    }

    /// Each twin with what was seen of it, in the order of its rounds.
    fn cases(&self, mut seen: Vec<(usize, Seen)>) -> Vec<(Case, Vec<Seen>)> {
        seen.sort_by_key(|(place, seen)| (*place, seen.round));
        let twins = self.twins.iter().enumerate();
        twins
            .map(|(place, known)| {
                let own = seen.iter().filter(|(other, _)| *other == place);
                (case(*known), own.map(|(_, seen)| seen.clone()).collect())
            })
            .collect()
    }

    /// One run, repeated while it is unclear because its load missed its schedule; `None` where it
    /// was interrupted.
    async fn taken_up(&self, task: Task, interrupt: &Interrupt) -> Option<(usize, Seen)> {
        let case = case(task.known);
        let mut folder = Folder::at(place(&self.out, task.known, task.round));
        let mut repeated = 0;
        let (status, weighed) = loop {
            if interrupt.asked() {
                folder.remove();
                return None;
            }
            let report = match folder.make() {
                Ok(()) => carried_through(task.known, folder.path(), interrupt).await,
                Err(error) => Err(format!("cannot make {}: {error}", folder.path().display())),
            };
            if interrupt.asked() {
                folder.remove();
                return None;
            }
            let (status, weighed) = held(&case, &report);
            if repeated == REPEATS_MAX || !is_repeated(&weighed, &report) {
                break (status, weighed);
            }
            repeated += 1;
        };
        let is_right = weighed.standing == Standing::Right;
        if is_right {
            folder.remove();
        }
        let seen = Seen {
            round: task.round,
            status,
            weighed,
            repeated,
            kept: (!is_right).then(|| folder.path().display().to_string()),
        };
        self.say(&case, &seen);
        Some((task.place, seen))
    }

    /// A line for what is not as it should be, and now and then one on how things stand.
    fn say(&self, case: &Case, seen: &Seen) {
        let mut standing = self.standing.lock();
        standing.runs += 1;
        let word = match seen.weighed.standing {
            Standing::Right => None,
            Standing::Unclear => Some("unclear"),
            Standing::Wrong => Some("wrong"),
        };
        standing.unclear += u64::from(word == Some("unclear"));
        standing.wrong += u64::from(word == Some("wrong"));
        if let Some(word) = word {
            let why = seen.weighed.why.as_deref().unwrap_or_default();
            let (system, twin) = (&case.system, &case.twin);
            let line = format!("{word}: {system} {twin}, round {}: {why}", seen.round);
            self.progress.announce_unless_quiet(&line);
        }
        let wanted = self.twins.len() as u64 * u64::from(self.rounds);
        if standing.said.elapsed() < SAY_EVERY && standing.runs < wanted {
            return;
        }
        standing.said = Instant::now();
        self.progress.announce_unless_quiet(&format!(
            "{} of {wanted} runs, {} wrong, {} unclear{}",
            standing.runs,
            standing.wrong,
            standing.unclear,
            standing.left(wanted)
        ));
    }
}

/// A run held against what is required of it: its verdict, and how that is weighed.
fn held(case: &Case, report: &Result<ScenarioReport, String>) -> (Status, Weighed) {
    match report {
        Ok(report) => {
            let doubts = said_of_itself(report);
            let weighed = weigh(case, report.status, &report.verdicts, &doubts);
            (report.status, weighed)
        }
        Err(why) => {
            let unknown = Status::Inconclusive;
            (
                unknown,
                weigh(case, unknown, &[], std::slice::from_ref(why)),
            )
        }
    }
}

/// Whether a run is made again: only one that is unclear, never one that says something wrong beside
/// what it cannot tell.
fn is_repeated(weighed: &Weighed, report: &Result<ScenarioReport, String>) -> bool {
    weighed.standing == Standing::Unclear && report.as_ref().is_ok_and(missed)
}

/// Whether a verdict that shows nothing says that the load missed its schedule.
fn missed(report: &ScenarioReport) -> bool {
    let verdicts = report.verdicts.iter();
    let mut unknown = verdicts.filter(|one| one.status == Status::Inconclusive);
    unknown.any(|one| {
        let reason = one.reason.as_deref();
        reason.is_some_and(|reason| reason.contains(MISSED))
    })
}

/// What a run says of itself, beside its verdicts.
fn said_of_itself(report: &ScenarioReport) -> Vec<String> {
    let trouble = report.trouble.iter().map(|trouble| trouble.message.clone());
    trouble.chain(report.doubts.iter().cloned()).collect()
}

/// Runs a twin as `brownout run` would, and judges it; or why it could not be.
async fn carried_through(
    known: Known,
    folder: &Path,
    interrupt: &Interrupt,
) -> Result<ScenarioReport, String> {
    let (scenario, system) = prepared(known, folder)?;
    let options = Options {
        folder: folder.to_owned(),
        seed: Seed::fresh(),
        speed: 1.0,
    };
    let events = Events::nobody();
    let run = crate::run::run(&scenario, &system, &options, &events, interrupt.gently());
    let ran = tokio::select! {
        ran = run => ran,
        () = interrupt.at_once() => return Err("it was interrupted".to_owned()),
    };
    match ran {
        Ok(ran) if ran.ending == Ending::Completed => {}
        Ok(_) => return Err("it was interrupted".to_owned()),
        Err(error) => return Err(error.to_string()),
    }
    let path = folder.join(HISTORY);
    // Judging keeps a processor busy; other runs' phases must not wait for it.
    let judging = tokio::task::spawn_blocking(move || judged(&path, &scenario, &system));
    judging
        .await
        .unwrap_or_else(|_| Err("a part of Brownout panicked".to_owned()))
}

/// The report that the history gives.
fn judged(path: &Path, scenario: &Scenario, system: &System) -> Result<ScenarioReport, String> {
    let history = History::read(path).map_err(|error| error.to_string())?;
    Ok(report::build(Material {
        verdicts: expectation::judge(&history, scenario, system),
        history: &history,
        scenario,
        system,
        trouble: None,
        repeat: String::new(),
        file: Some(path.display().to_string()),
    }))
}

/// The two files of a twin, written into its folder as a user's would be, and read.
fn prepared((planted, twin): Known, folder: &Path) -> Result<(Scenario, System), String> {
    let files = planted.files(twin);
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        let written = fs::write(&path, text);
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok::<_, String>(Source::new(path.display().to_string(), text.to_owned()))
    };
    let scenario = write("scenario.toml", &files.scenario)?;
    let system = write("system.toml", &files.system)?;
    let mut problems = Problems::default();
    from_texts(scenario, system, folder.to_owned(), &mut problems)
        .ok_or_else(|| "the planted files are not valid".to_owned())
}

#[cfg(test)]
mod tests;
