//! `brownout matrix`: every load against every dependency and every kind of trouble.
//!
//! Nothing is started before the system's file has been read and every output opened. Whatever
//! happens, what was done so far is written at the end.

use super::{
    Exit, Failure, args::Matrix as Args, bug, files, interrupt::Interrupt, outputs::refused,
    paths::in_words, progress::Progress, say,
};
use crate::{
    input::{Problems, did_you_mean},
    matrix::{
        Aftermath, Doubling, Found, Kind, MATRIX_VERSION, Matrix, Met, Relied, Trial, Wanted,
        finding_text,
    },
    report::{
        matrix::{MATRIX_REPORTS, MatrixReportDef, terminal},
        quoted,
    },
    run::{
        RunError,
        matrix::{News, Settings, rehearse, stands_alone},
    },
    scenario::{Start, System, load_system},
    seed::Seed,
    units::format_duration,
};
use parking_lot::Mutex;
use std::{
    fs::{self, File},
    io::Write as _,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// Trials side by side for each core, where copies of the system do not meet.
const JOBS_MAX: usize = 4;

/// Carries it out.
pub fn matrix(args: &Args) -> Result<Exit, Failure> {
    let system = read(args)?;
    let settings = settings(args, &system)?;
    let outputs = outputs(&args.out)?;
    if let Some(folder) = &args.write_scenarios {
        fs::create_dir_all(folder).map_err(|error| refused(folder, &error))?;
    }
    let progress = Progress::new(args.quiet, false);
    let began = Instant::now();
    let matrix = Mutex::new(blank(args, &system, &settings));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(carried_out(
        &system, &settings, &matrix, &progress, args.quiet,
    ));
    let mut matrix = matrix.into_inner();
    matrix.took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let ended = ended?;
    matrix.interrupted = matches!(ended, Ended::Interrupted);
    let written = write(&outputs, &matrix);
    let mut said = terminal(&matrix);
    for (_, path, _) in &outputs {
        said.extend(format!("written  {}\n", path.display()).bytes());
    }
    // Whoever reads the table finds the scenarios there.
    let scenarios = match &args.write_scenarios {
        Some(folder) => write_scenarios(folder, args, &matrix, &system, &settings),
        None => Ok(()),
    };
    say::data(&said)?;
    scenarios?;
    written?;
    Ok(exit(&matrix, &ended))
}

/// How it ended.
enum Ended {
    /// It came to its end.
    Whole,
    /// Somebody interrupted it.
    Interrupted,
    /// The system could not be started; it was said why.
    NotStarted,
}

async fn carried_out(
    system: &System,
    settings: &Settings,
    matrix: &Mutex<Matrix>,
    progress: &Progress,
    quiet: bool,
) -> Result<Ended, Failure> {
    let interrupt = Interrupt::listen(progress.clone())?;
    let news = |news: News<'_>| {
        if !quiet {
            progress.announce(&line(&news));
        }
    };
    let rehearsed = tokio::select! {
        rehearsed = rehearse(system, settings, matrix, &news, interrupt.gently()) => rehearsed,
        () = interrupt.at_once() => Err(RunError::InterruptedEarly),
    };
    interrupt.unless_nobody_looks(progress.shown()).await;
    match rehearsed {
        _ if interrupt.asked() => Ok(Ended::Interrupted),
        Ok(()) => Ok(Ended::Whole),
        Err(RunError::InterruptedEarly) => Ok(Ended::Interrupted),
        Err(error) => {
            say::error(&error.to_string(), None);
            Ok(Ended::NotStarted)
        }
    }
}

/// The status: what was found that must not be counts more than what could not be measured.
fn exit(matrix: &Matrix, ended: &Ended) -> Exit {
    let own = Exit::from(matrix.status());
    match ended {
        _ if bug::happened() => Exit::Bug,
        Ended::Interrupted => Exit::Interrupted,
        Ended::NotStarted => Exit::NotStarted,
        Ended::Whole => own,
    }
}

/// One line of progress.
fn line(news: &News<'_>) -> String {
    match news {
        News::Reference => "without faults: is it healthy, and which load calls what?".to_owned(),
        News::Planned { trials, about } => format!(
            "{trials} to try, about {} if nothing is wedged",
            rough(*about)
        ),
        News::Tried {
            nth,
            of,
            left,
            trial,
        } => format!(
            "{nth}/{of}, {} left  {}: {}",
            rough(*left),
            trial.aim,
            said(trial)
        ),
    }
}

/// A time to the second.
fn rough(time: Duration) -> String {
    format_duration(Duration::from_secs(time.as_secs()))
}

/// What came of a trial, in a line.
fn said(trial: &Trial) -> String {
    let tried = match &trial.state {
        crate::matrix::State::Tried(tried) => tried,
        crate::matrix::State::Unmeasured { why } | crate::matrix::State::NotTried { why, .. } => {
            return format!("shows nothing, {why}");
        }
    };
    let of = |met: Met| -> Vec<&str> {
        let cells = tried.cells.iter().filter(|cell| cell.met == met);
        cells.map(|cell| &*cell.load).collect()
    };
    let mut parts = Vec::new();
    for (met, word) in [
        (Met::Failed, "failed"),
        (Met::Held, "held"),
        (Met::Degraded, "degraded"),
        (Met::Answered, "answered"),
        (Met::NotReached, "not reached"),
        (Met::TooFew, "too few"),
    ] {
        let loads = of(met);
        if !loads.is_empty() {
            parts.push(format!("{} {word}", loads.join(", ")));
        }
    }
    match tried.aftermath {
        Aftermath::Wedged { .. } if tried.restarted => {
            parts.push("wedged, and started anew".to_owned());
        }
        Aftermath::Wedged { .. } => parts.push("wedged".to_owned()),
        Aftermath::Steady { .. } | Aftermath::Unknown => {}
    }
    if matches!(tried.doubling, Some(Doubling::Doubled { .. })) {
        parts.push("something done twice".to_owned());
    }
    if !tried.exits.is_empty() {
        parts.push("an instance ended".to_owned());
    }
    if parts.is_empty() {
        parts.push("nobody uses it".to_owned());
    }
    parts.join("; ")
}

fn read(args: &Args) -> Result<System, Failure> {
    let mut problems = Problems::default();
    let system = load_system(&args.system, &mut problems);
    files::show(problems)?;
    let system = system.ok_or_else(Failure::shown)?;
    if system.loads.is_empty() {
        return Err(Failure::usage(
            format!(
                "`{}` has no load: nothing would be seen",
                args.system.display()
            ),
            "declare one: [load.NAME] with a rate and a request",
        ));
    }
    if system.dependencies.is_empty() {
        return Err(Failure::usage(
            format!(
                "`{}` has no dependency: nothing could fail",
                args.system.display()
            ),
            "declare one: [dependency.NAME] with a protocol and an upstream",
        ));
    }
    Ok(system)
}

fn settings(args: &Args, system: &System) -> Result<Settings, Failure> {
    let mut dependencies: Vec<Arc<str>> = Vec::new();
    for on in &args.on {
        let meant = system
            .dependencies
            .iter()
            .filter(|one| *one.name == **on || one.role.as_deref() == Some(on));
        let before = dependencies.len();
        dependencies.extend(meant.map(|one| Arc::clone(&one.name)));
        if dependencies.len() == before {
            let known = system.dependencies.iter().map(|one| &*one.name);
            let hint = match did_you_mean(on, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("one of: {}", known.collect::<Vec<_>>().join(", ")),
            };
            return Err(Failure::usage(format!("no dependency `{on}`"), hint));
        }
    }
    if args.recovery <= args.hold + Duration::from_secs(1) {
        return Err(Failure::usage(
            format!(
                "in {} nobody could see everything hold for {}",
                format_duration(args.recovery),
                format_duration(args.hold)
            ),
            "let `--recovery` be longer, or `--hold` shorter",
        ));
    }
    if args.jobs.is_some_and(|jobs| jobs > 1) && matches!(system.start, Start::External) {
        return Err(Failure::usage(
            "a system that somebody else started stands there once: trials cannot go on side by side",
            "leave `--jobs` out, or let the system's file start it",
        ));
    }
    if args.fail_on.contains(&FailOn::Exited) && matches!(system.start, Start::External) {
        return Err(Failure::usage(
            "nobody watches the processes of a system that somebody else started",
            "leave `--fail-on exited` out, or let the system's file start it",
        ));
    }
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let usual = match stands_alone(system) {
        true => cores().min(JOBS_MAX),
        false => 1,
    };
    Ok(Settings {
        folder: args.out.clone(),
        seed: args.seed.map_or_else(Seed::fresh, Seed),
        wanted: Wanted {
            dependencies,
            kinds: args.fault.clone(),
        },
        steady: args.steady,
        trouble: args.lasts,
        recovery: args.recovery,
        hold: args.hold,
        budget: args.budget,
        jobs: args.jobs.map_or(usual, usize::from),
    })
}

/// A matrix of which nothing is known yet.
fn blank(args: &Args, system: &System, settings: &Settings) -> Matrix {
    Matrix {
        version: MATRIX_VERSION,
        brownout: env!("CARGO_PKG_VERSION").to_owned(),
        began: jiff::Timestamp::now().to_string(),
        took_us: 0,
        seed: settings.seed.0,
        system: system.name.clone(),
        file: args.system.display().to_string(),
        external: matches!(system.start, Start::External),
        reference: None,
        trials: Vec::new(),
        interrupted: false,
        fail_on: args
            .fail_on
            .iter()
            .flat_map(|one| one.found())
            .copied()
            .collect(),
    }
}

/// The files of the reports, opened before anything begins.
type Outputs = Vec<(&'static MatrixReportDef, PathBuf, File)>;

fn outputs(folder: &Path) -> Result<Outputs, Failure> {
    fs::create_dir_all(folder).map_err(|error| refused(folder, &error))?;
    let mut files = Vec::new();
    for def in MATRIX_REPORTS {
        let Some(name) = def.file else { continue };
        let path = folder.join(name);
        let file = File::create(&path).map_err(|error| refused(&path, &error))?;
        files.push((def, path, file));
    }
    Ok(files)
}

/// Writes every report; one that cannot be written does not keep the others from it.
fn write(outputs: &Outputs, matrix: &Matrix) -> std::io::Result<()> {
    let mut result = Ok(());
    for (def, path, file) in outputs {
        let mut file = file;
        if let Err(error) = file.write_all(&(def.render)(matrix)) {
            let message = format!("cannot write `{}`: {}", path.display(), in_words(&error));
            say::error(&message, None);
            result = Err(error);
        }
    }
    result
}

/// Leaves a scenario for each trial in which something was found that a scenario can require.
fn write_scenarios(
    folder: &Path,
    args: &Args,
    matrix: &Matrix,
    system: &System,
    settings: &Settings,
) -> Result<(), Failure> {
    let system_file = seen_from(folder, &args.system);
    let Some(reference) = &matrix.reference else {
        return Ok(());
    };
    for trial in &matrix.trials {
        let patience = matrix.patience(system, &trial.aim.dependency);
        let relied = Relied {
            system_file: &system_file,
            system,
            reference,
            lengths: settings
                .lengths(system, trial.delay.as_ref())
                .awaiting(&trial.aim, system, reference, patience),
        };
        let Ok(Some(text)) = finding_text(trial, &relied) else {
            continue;
        };
        let path = folder.join(format!("{}.toml", trial.aim.file_stem()));
        fs::write(&path, text).map_err(|error| refused(&path, &error))?;
        if !args.quiet {
            say::note(&format!(
                "brownout run {}",
                quoted(&path.display().to_string())
            ));
        }
    }
    Ok(())
}

/// The path of a file as seen from a folder: relative where both are below the same root.
fn seen_from(folder: &Path, file: &Path) -> String {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (folder, file) = (whole(folder), whole(file));
    let (from, to): (Vec<Component<'_>>, Vec<Component<'_>>) =
        (folder.components().collect(), file.components().collect());
    let shared = from
        .iter()
        .zip(&to)
        .take_while(|(one, other)| one == other)
        .count();
    let up = from[shared..].iter().map(|_| Component::ParentDir);
    let path: PathBuf = up.chain(to[shared..].iter().copied()).collect();
    path.display().to_string()
}

/// What a matrix may be told to fail on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FailOn {
    /// A load was not answered, whether it calls the dependency or not.
    Failed,
    /// The system was not as before when the trouble was over.
    Wedged,
    /// Something was done twice because its answer was lost.
    Doubled,
    /// An instance ended on its own account.
    Exited,
}

impl FailOn {
    const fn found(self) -> &'static [Found] {
        match self {
            Self::Failed => &[Found::Harmed, Found::Failed, Found::Held],
            Self::Wedged => &[Found::Wedged],
            Self::Doubled => &[Found::Doubled],
            Self::Exited => &[Found::Exited],
        }
    }
}

/// Reads the name of a kind.
pub fn kind(text: &str) -> Result<Kind, String> {
    Kind::find(text).ok_or_else(|| {
        let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        match did_you_mean(text, known.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("one of: {}", known.join(", ")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_scenario_finds_its_system() {
        let folder = tempfile::tempdir().unwrap();
        let (from, file) = (
            folder.path().join("a/b"),
            folder.path().join("c/system.toml"),
        );
        fs::create_dir_all(&from).unwrap();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
        assert_eq!(seen_from(&from, &file), "../../c/system.toml");
        assert_eq!(seen_from(file.parent().unwrap(), &file), "system.toml");
    }

    #[test]
    fn a_kind_is_found_by_its_name_or_a_like_one_is_named() {
        assert_eq!(kind("too-slow"), Ok(Kind::TooSlow));
        assert_eq!(kind("hnag").unwrap_err(), "did you mean hang?");
        assert!(kind("fire").unwrap_err().starts_with("one of: hang, error"));
    }
}
