//! Readers of files and bodies.

use crate::{
    cli::has_all_of,
    control::{read_proxies, read_request, read_toxic},
    expectation,
    history::History,
    input::{Problems, Source, redacted, render},
    report::{self, Material, SuiteReport},
    scenario::{self, Scenario, System, from_texts, system_from_text},
};
use std::path::{Path, PathBuf};

/// The system of scenarios that bring none.
const SYSTEM: &str = "\
[system]
name = \"shop\"
url = \"http://127.0.0.1:8000\"

[dependency.s3]
protocol = \"s3\"
upstream = \"127.0.0.1:9000\"

[dependency.database]
protocol = \"postgres\"
upstream = \"127.0.0.1:5432\"

[dependency.cache]
protocol = \"redis\"
upstream = \"127.0.0.1:6379\"
";

/// A scenario, and behind the first byte 0, if there is one, its system. What is valid can be
/// planned; what is not can be shown.
pub(super) fn scenario(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (scenario, system) = text.split_once('\0').unwrap_or((&text, SYSTEM));
    let mut problems = Problems::default();
    let read = from_texts(
        Source::new("scenario.toml", scenario),
        Source::new("brownout.toml", system),
        PathBuf::new(),
        &mut problems,
    );
    assert_ne!(
        read.is_some(),
        problems.any_error(),
        "what is refused says why, and what is not refused has no error"
    );
    shown(problems);
    if let Some((scenario, system)) = read {
        let timeline = scenario::plan(&scenario, &system, 1.0);
        assert_eq!(timeline.phases.len(), scenario.phases.len());
        let source = |of: &Source| Source::new(&*of.name, redacted(&of.text));
        let (one, other) = (source(&scenario.source), source(&system.source));
        let again = from_texts(one, other, PathBuf::new(), &mut Problems::default());
        let (again, _) = again.expect("without its secrets it is a scenario still");
        assert_eq!(again.expects.len(), scenario.expects.len());
    }
}

/// A system by itself.
pub(super) fn system(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut problems = Problems::default();
    let source = Source::new("brownout.toml", &*text);
    let read = system_from_text(source, PathBuf::new(), &mut problems);
    assert_ne!(
        read.is_some(),
        problems.any_error(),
        "what is refused says why, and what is not refused has no error"
    );
    shown(problems);
    let without = redacted(&text);
    assert_eq!(redacted(&without), without, "nothing more is taken out");
    if read.is_some() {
        let source = Source::new("brownout.toml", without);
        let again = system_from_text(source, PathBuf::new(), &mut Problems::default());
        assert!(again.is_some(), "without its secrets it is a system still");
    }
}

fn shown(problems: Problems) {
    let problems = problems.into_sorted();
    assert_eq!(problems.is_empty(), render(&problems, true).is_empty());
}

/// A history, which is judged again by the files that it carries.
pub(super) fn history(bytes: &[u8]) {
    let file = Path::new("history.jsonl");
    let Ok(history) = History::read_from(bytes, file) else {
        return;
    };
    let Some((scenario, system)) = files_of(&history) else {
        return;
    };
    if !has_all_of(&scenario, &history) {
        return;
    }
    let verdicts = expectation::judge(&history, &scenario, &system);
    assert_eq!(
        verdicts.len(),
        scenario.expects.len(),
        "each expectation has its verdict"
    );
    let one = report::build(Material {
        history: &history,
        scenario: &scenario,
        system: &system,
        verdicts,
        trouble: None,
        repeat: String::new(),
        file: None,
    });
    let suite = SuiteReport::new(history.run.began.clone(), history.run.seed, vec![one]);
    assert!(!report::terminal(&suite).is_empty());
    assert!(!report::summary(&suite).is_empty());
}

fn files_of(history: &History) -> Option<(Scenario, System)> {
    let source = |(name, text): &(String, String)| Source::new(name.as_str(), text.as_str());
    let (scenario, system) = (source(&history.run.scenario), source(&history.run.system));
    from_texts(scenario, system, PathBuf::new(), &mut Problems::default())
}

/// What the API of Toxiproxy is asked for: a toxic.
pub(super) fn toxic(bytes: &[u8]) {
    let _ = read_toxic(bytes);
}

/// What it is asked for otherwise: a proxy, or all of them with their toxics.
pub(super) fn proxies(bytes: &[u8]) {
    let _ = read_proxies(bytes);
}

/// A request of the native API: its path and query in the first line, its body behind it.
pub(super) fn api(bytes: &[u8]) {
    let line = bytes.iter().position(|byte| *byte == b'\n');
    let (target, body) = bytes.split_at(line.unwrap_or(bytes.len()));
    let target = String::from_utf8_lossy(target);
    let _ = read_request(&target, body.get(1..).unwrap_or_default());
}
