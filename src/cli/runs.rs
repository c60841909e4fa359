//! Saved runs: a `report.json`, a folder that holds one, or a history.

use super::{
    Failure, judge,
    outputs::{HISTORY, repeat_of},
    paths::in_words,
    say,
};
use crate::{
    history::{self, History},
    report::{REPORT_VERSION, Repetition, ScenarioReport, SuiteReport, TroubleKind},
};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The largest report that is read, in bytes.
const REPORT_BYTES_MAX: u64 = 256 << 20;

/// The file that a run's report is in.
const REPORT: &str = "report.json";

const HINT: &str =
    "name a `report.json` that `brownout run` wrote, the folder it is in, or a `history.jsonl`";

/// A run as it was saved.
#[derive(Debug)]
pub struct Saved {
    /// The file it was read from.
    pub file: PathBuf,
    /// Its report.
    pub report: SuiteReport,
}

/// What every version of the file says.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// Reads a run; one of which there are only histories is judged.
///
/// # Errors
/// There is none, it cannot be read, or a newer Brownout wrote it.
pub fn read(path: &Path) -> Result<Saved, Failure> {
    match place(path) {
        Place::Report(file) => {
            let report = report(&file)?;
            Ok(Saved { file, report })
        }
        Place::Histories(files) => {
            let note = (!is_history(path)).then_some("what was recorded is judged now");
            from_histories(path, &files, note, judge::again)
        }
    }
}

/// Where a saved run is to be read.
enum Place {
    /// In a report.
    Report(PathBuf),
    /// In histories, of which there is at least one: there is no report, or an empty one, as a run
    /// leaves it that is killed.
    Histories(Vec<PathBuf>),
}

/// Where the run of this name is to be read.
fn place(path: &Path) -> Place {
    if is_history(path) {
        return Place::Histories(vec![path.to_owned()]);
    }
    let (file, folder) = if path.is_dir() {
        (path.join(REPORT), path.to_owned())
    } else {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        (path.to_owned(), folder)
    };
    let is_report = file.file_name().is_some_and(|name| name == REPORT);
    if is_report && is_without_content(&file) {
        let folder = if folder == Path::new("") {
            Path::new(".")
        } else {
            &folder
        };
        let histories = histories_in(folder);
        if !histories.is_empty() {
            return Place::Histories(histories);
        }
    }
    Place::Report(file)
}

/// Whether it is named as a history is, plain or packed.
fn is_history(path: &Path) -> bool {
    let end = path.extension();
    !path.is_dir() && end.is_some_and(|end| end == "jsonl" || end == "gz")
}

/// Whether a file is not there, or there is nothing in it.
fn is_without_content(file: &Path) -> bool {
    match fs::metadata(file) {
        Ok(about) => about.is_file() && about.len() == 0,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Reads a `report.json`.
///
/// # Errors
/// As [`read`].
pub fn report(file: &Path) -> Result<SuiteReport, Failure> {
    document(file, "report", REPORT_VERSION, HINT)
}

/// Reads a file that Brownout wrote for other programs, of this version at most; `what` it is called.
///
/// # Errors
/// It cannot be read, is something else, or a newer Brownout wrote it.
pub fn document<T: DeserializeOwned>(
    file: &Path,
    what: &str,
    version: u32,
    hint: &str,
) -> Result<T, Failure> {
    let shown = file.display();
    let refused = |what: String| Failure::usage(what, hint.to_owned());
    let text = content(file)
        .map_err(|why| refused(format!("cannot read `{shown}`: {}", in_words(&why))))?;
    if text.len() as u64 > REPORT_BYTES_MAX {
        return Err(refused(format!(
            "`{shown}` is larger than {} MiB",
            REPORT_BYTES_MAX >> 20
        )));
    }
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(refused(format!("`{shown}` is empty")));
    }
    let head: Head = serde_json::from_slice(&text)
        .map_err(|error| refused(format!("`{shown}` is no {what} of Brownout: {error}")))?;
    if head.version > version {
        return Err(Failure::usage(
            format!(
                "`{shown}` is of version {}, and this Brownout knows versions up to {version}",
                head.version
            ),
            "read it with the Brownout that wrote it, or a later one",
        ));
    }
    serde_json::from_slice(&text)
        .map_err(|error| refused(format!("`{shown}` is no {what} of Brownout: {error}")))
}

/// What a file holds, up to one byte more than is read of any.
fn content(file: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let file = File::open(file)?;
    file.take(REPORT_BYTES_MAX + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// The names of the fields of a JSON file, by which it can be told what it is; `None` where it is none.
pub fn keys(file: &Path) -> Option<BTreeSet<String>> {
    let text = content(file).ok()?;
    let fields: BTreeMap<String, IgnoredAny> = serde_json::from_slice(&text).ok()?;
    Some(fields.into_keys().collect())
}

/// Reads a run as it was saved. Where there are histories alone, what they hold is reported, and
/// nothing is judged.
///
/// # Errors
/// As [`read`].
pub fn saved(path: &Path) -> Result<Saved, Failure> {
    match place(path) {
        Place::Report(file) => {
            let report = report(&file)?;
            Ok(Saved { file, report })
        }
        Place::Histories(files) => {
            let note =
                "what was recorded is shown, and nothing is judged; `brownout judge` does that";
            from_histories(path, &files, Some(note), judge::unjudged)
        }
    }
}

/// The histories of a folder, of those directly in it and of the repeats in them, by name, but empty
/// ones: a scenario's that had not begun.
fn histories_in(folder: &Path) -> Vec<PathBuf> {
    let own = folders_in(folder);
    let within = own.iter().flat_map(|scenario| folders_in(scenario));
    let repeats = within.filter(|path| repeat_of(path).is_some());
    let mut folders: Vec<PathBuf> = own.iter().cloned().chain(repeats).collect();
    folders.push(folder.to_owned());
    let mut files: Vec<PathBuf> = folders
        .into_iter()
        .map(|folder| history::place_of(&folder.join(HISTORY)).into_owned())
        .filter(|file| file.is_file() && !is_without_content(file))
        .collect();
    // The second repeat before the tenth.
    files.sort_by_cached_key(|file| {
        let folder = file.parent().unwrap_or(file);
        match repeat_of(folder) {
            Some(nth) => (folder.parent().unwrap_or(folder).to_owned(), nth),
            None => (folder.to_owned(), 0),
        }
    });
    files
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.is_dir()).collect()
}

/// Which repeat a history is of, by its place below the folder of the series.
fn repetition(series: &Path, history: &Path) -> Option<Repetition> {
    let own = history.parent()?;
    let nth = repeat_of(own)?;
    let below = own.strip_prefix(series).ok()?;
    let parts: Vec<_> = below
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    Some(Repetition {
        nth,
        folder: parts.join("/"),
    })
}

/// A report of the scenarios in these histories. `note` says what becomes of them.
fn from_histories(
    path: &Path,
    histories: &[PathBuf],
    note: Option<&str>,
    report: impl Fn(&Path) -> Result<ScenarioReport, Failure>,
) -> Result<Saved, Failure> {
    let mut scenarios = Vec::new();
    for file in histories {
        let mut one = report(file)?;
        one.repetition = repetition(path, file);
        scenarios.push(one);
    }
    if let Some(note) = note {
        let shown = path.display();
        say::note(&format!("note: `{shown}` has no report: {note}"));
    }
    let broke_off = |one: &&ScenarioReport| {
        let trouble = one.trouble.as_ref();
        trouble.is_some_and(|trouble| trouble.kind == TroubleKind::BrokeOff)
    };
    for one in scenarios.iter().filter(broke_off) {
        say::note(&format!(
            "note: `{}` broke off: all that is known of it is what happened until then",
            one.title
        ));
    }
    let first = scenarios.first();
    let began = first.map_or_else(String::new, |one| one.began.clone());
    let seed = first.map_or(0, |one| one.seed);
    let all_repeats = scenarios.iter().all(|one| one.repetition.is_some());
    let mut report = SuiteReport::new(began, seed, scenarios);
    if all_repeats && !is_history(path) {
        report = report.repeated(None, false);
    }
    Ok(Saved {
        file: path.to_owned(),
        report,
    })
}

/// Adds to a report what only its histories hold: the run over time, and what is behind the
/// evidence. A history that is not there, or of another run, leaves its scenario without, which is
/// said.
pub fn add_histories(saved: &mut Saved) {
    let folder = saved.file.parent().unwrap_or(Path::new("")).to_owned();
    for scenario in &mut saved.report.scenarios {
        let Some(named) = scenario.history.clone().map(PathBuf::from) else {
            continue;
        };
        if !scenario.traces.is_empty() || scenario.timeline.bins > 0 {
            continue;
        }
        if let Err(why) = add_history(&folder, &named, scenario) {
            say::note(&format!(
                "note: `{}` is shown without its charts: {why}",
                scenario.title
            ));
        }
    }
}

/// The history lies beside the report as it did when it was written, wherever both are now; else
/// where the report says.
fn add_history(folder: &Path, named: &Path, scenario: &mut ScenarioReport) -> Result<(), String> {
    let own = named.parent().and_then(Path::file_name);
    let beside = own.map(|own| folder.join(own).join(HISTORY));
    // A repeat's own report lies in the folder of its history.
    let same = folder.join(HISTORY);
    let candidates = beside.into_iter().chain([same, named.to_owned()]);
    let file = candidates
        .map(|file| history::place_of(&file).into_owned())
        .find(|file| file.is_file())
        .ok_or_else(|| format!("there is no history `{}`", named.display()))?;
    let history = History::read(&file).map_err(|error| error.to_string())?;
    if (&history.run.began, history.run.seed) != (&scenario.began, scenario.seed) {
        return Err(format!(
            "`{}` is the history of another run",
            file.display()
        ));
    }
    let (outage, system) = judge::files_of(&history.run)
        .ok_or_else(|| format!("the files in `{}` are not valid any more", file.display()))?;
    crate::report::add_history(scenario, &history, &outage, &system);
    Ok(())
}
