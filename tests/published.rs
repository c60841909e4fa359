//! What would prove that other programs can rely on what is written for them: annotations point at
//! the expectations in the scenario's file, appended summaries leave what was there, `report.json` is
//! valid by the published schema, and `junit.xml` by the structure that build servers agree upon. And that
//! what is built upon may be passed on: `Cargo.lock` holds what `deny.toml` lets in.
//!
//! Histories are made here from the sample story, so that nothing has to be run for it.

mod harness;

use brownout::history::{Observation, Outcome, sample::Story};
use harness::Bench;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

const SCENARIO: &str = include_str!("cli/good.toml");
const SYSTEM: &str = include_str!("cli/system.toml");

/// The sample story with `ask` ending so during the outage.
fn outage(outcome: Outcome) -> Story {
    Story::new()
        .healthy(0..10)
        .load("ask", 10..30, 20, outcome, 20)
        .load("train", 10..30, 20, Outcome::Ok, 20)
        .healthy(30..60)
}

/// A folder with the history of a story of the sample scenario, whose file is `good.toml`.
fn recorded(story: &Story) -> Bench {
    let mut observations = story.observations();
    let Some(Observation::Run(run)) = observations.first_mut() else {
        panic!("the first entry is the header");
    };
    run.scenario = ("./tests/../good.toml".to_owned(), SCENARIO.to_owned());
    run.system = ("system.toml".to_owned(), SYSTEM.to_owned());
    let lines: Vec<String> = observations
        .iter()
        .map(|one| serde_json::to_string(one).expect("an observation is JSON") + "\n")
        .collect();
    Bench::new().file("history.jsonl", &lines.concat())
}

fn judge(bench: &Bench, args: &[&str], status: i32) -> Output {
    let args = [&["judge", "history.jsonl"], args].concat();
    let mut command = bench.command(&args);
    let output = command
        .env("GITHUB_WORKSPACE", bench.path().parent().expect("a parent"))
        .output()
        .expect("brownout starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    output
}

/// The lines of the sample scenario that hold the expectation of this id.
fn lines_of(id: &str) -> (usize, usize) {
    let lines: Vec<&str> = SCENARIO.lines().collect();
    let named = lines
        .iter()
        .position(|line| line.contains(&format!("\"{id}\"")));
    let named = named.expect("the expectation is there");
    let last = lines[named..].iter().take_while(|line| !line.is_empty());
    // Its header is the line before, and lines count from 1.
    (named, named + last.count())
}

fn commands(output: &Output) -> Vec<String> {
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    let (report, commands) =
        text.split_once("::stop-commands::")
            .map_or(("", text.as_str()), |(before, fenced)| {
                let (token, rest) = fenced.split_once('\n').expect("a token");
                let (_, after) = rest
                    .split_once(&format!("\n::{token}::\n"))
                    .expect("the fence has an end");
                (before, after)
            });
    assert_eq!(report, "", "nothing stands before the fence");
    commands.lines().map(str::to_owned).collect()
}

#[test]
fn annotations_point_at_the_lines_of_the_expectation_from_the_root_of_the_repository() {
    for (story, status, level, says) in [
        (outage(Outcome::Failed), 1, "error", "ANSWERS fails"),
        (
            outage(Outcome::Ok).hits(0),
            2,
            "warning",
            "ANSWERS is inconclusive",
        ),
    ] {
        let bench = recorded(&story);
        let output = judge(&bench, &["--annotations", "github"], status);
        let commands = commands(&output);
        let here = bench.path().file_name().expect("a name");
        let (first, last) = lines_of("ANSWERS");
        assert!(last > first + 3, "{first} to {last}");
        let expected = format!(
            "::{level} file={}/good.toml,line={first},endLine={last},title={says}%3A bots answer while the store hangs::",
            here.to_string_lossy()
        );
        assert!(
            commands.iter().any(|line| line.starts_with(&expected)),
            "{expected}\n{commands:#?}"
        );
    }
}

#[test]
fn without_being_asked_for_or_without_a_reason_nothing_is_annotated() {
    let bench = recorded(&outage(Outcome::Failed));
    let mut command = bench.command(&["judge", "history.jsonl"]);
    let output = command
        .env("GITHUB_ACTIONS", "true")
        .output()
        .expect("brownout starts");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("::"));
    let passing = recorded(&outage(Outcome::Ok));
    let output = judge(&passing, &["--annotations", "github"], 0);
    assert_eq!(commands(&output), Vec::<String>::new());
}

#[test]
fn a_summary_is_appended_to_what_others_have_written() {
    let bench = recorded(&outage(Outcome::Failed)).file("job.md", "# Before\n");
    for _ in 0..2 {
        judge(&bench, &["--append-summary", "job.md"], 1);
    }
    let text = fs::read_to_string(bench.path().join("job.md")).expect("the file");
    assert!(
        text.starts_with("# Before\n# ✗ Outage rehearsal: fail\n"),
        "{text}"
    );
    assert_eq!(text.matches("Outage rehearsal: fail").count(), 2);
}

#[test]
fn a_summary_that_cannot_be_appended_is_said_before_anything_starts() {
    let bench = recorded(&outage(Outcome::Ok));
    for file in ["", "missing/job.md"] {
        let output = judge(&bench, &["--append-summary", file], 64);
        assert!(output.stdout.is_empty());
        assert!(String::from_utf8_lossy(&output.stderr).contains("--append-summary"));
    }
}

/// The reports of a story that passes, one that fails and one that shows nothing, each with its
/// folder.
fn reports() -> Vec<(&'static str, Bench)> {
    [
        ("pass", outage(Outcome::Ok), 0),
        ("fail", outage(Outcome::Failed), 1),
        ("inconclusive", outage(Outcome::Ok).hits(0), 2),
        ("cut short", outage(Outcome::Failed).ends(25, None), 2),
    ]
    .map(|(name, story, status)| {
        let bench = recorded(&story);
        judge(&bench, &["--out", "out"], status);
        (name, bench)
    })
    .into()
}

#[test]
fn every_report_is_valid_by_the_schema_that_is_published_and_printed() {
    let printed = Bench::new().brownout(&["schema", "report"]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.schema.json");
    let published = fs::read_to_string(path).expect("the schema is in docs");
    assert_eq!(printed.stdout, published);
    let schema: Value = serde_json::from_str(&published).expect("the schema is JSON");
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    for (name, bench) in reports() {
        let text = fs::read(bench.path().join("out/report.json")).expect("a report");
        let mut report: Value = serde_json::from_slice(&text).expect("the report is JSON");
        let errors: Vec<String> = validator
            .iter_errors(&report)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert_eq!(errors, Vec::<String>::new(), "{name}");
        assert_eq!(schema["properties"]["version"]["const"], report["version"]);
        report["scenarios"][0]["verdicts"][0]["unheard_of"] = true.into();
        assert!(!validator.is_valid(&report), "{name}");
    }
}

/// What xmllint says of a file, held against the structure of JUnit files.
fn checked(file: &Path) -> Output {
    Command::new("xmllint")
        .args(["--nonet", "--noout", "--schema"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/junit.xsd"))
        .arg(file)
        .output()
        .expect("xmllint is missing: run tests/run, which installs it")
}

#[test]
fn every_junit_file_has_the_structure_that_build_servers_read() {
    for (name, bench) in reports() {
        let file = bench.path().join("out/junit.xml");
        let output = checked(&file);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        // What has been in such files and is not allowed.
        let text = fs::read_to_string(&file).expect("the file");
        let more = text.replace("</testcase>", "<properties/></testcase>");
        fs::write(&file, more).expect("the file is written");
        assert!(!checked(&file).status.success(), "{name}");
    }
}

/// A file of the crate's folder as TOML.
fn table(name: &str) -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    text.parse()
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The texts of a list; of a list of tables those under `crate`.
fn texts(list: &toml::Value) -> Vec<&str> {
    let list = list.as_array().expect("a list");
    list.iter()
        .map(|one| one.get("crate").unwrap_or(one).as_str().expect("a text"))
        .collect()
}

/// Whether a licence expression is fulfilled by these: `MIT OR (Apache-2.0 AND ISC)`; `/` is an old OR.
fn is_allowed(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let is_allowed = any_of(&mut rest, allowed);
    assert!(rest.is_empty(), "{expression}: {rest:?}");
    is_allowed
}

fn any_of(rest: &mut &[&str], allowed: &[&str]) -> bool {
    let mut any = all_of(rest, allowed);
    while rest.first() == Some(&"OR") {
        *rest = &rest[1..];
        any |= all_of(rest, allowed);
    }
    any
}

fn all_of(rest: &mut &[&str], allowed: &[&str]) -> bool {
    let mut all = one_of(rest, allowed);
    while rest.first() == Some(&"AND") {
        *rest = &rest[1..];
        all &= one_of(rest, allowed);
    }
    all
}

fn one_of(rest: &mut &[&str], allowed: &[&str]) -> bool {
    let (first, after) = rest.split_first().expect("a licence");
    *rest = after;
    if *first == "(" {
        let inner = any_of(rest, allowed);
        assert_eq!(rest.first(), Some(&")"));
        *rest = &rest[1..];
        return inner;
    }
    match rest {
        ["WITH", exception, after @ ..] => {
            *rest = after;
            allowed.contains(&&*format!("{first} WITH {exception}"))
        }
        _ => allowed.contains(first),
    }
}

#[test]
fn licence_expressions_are_read_as_they_are_meant() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"];
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("GPL-3.0 OR MIT AND BSL-1.0", false),
        ("Apache-2.0", false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
    ] {
        assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn every_dependency_is_one_that_deny_toml_lets_in() {
    let (deny, lock) = (table("deny.toml"), table("Cargo.lock"));
    let (bans, sources) = (&deny["bans"], &deny["sources"]);
    let mut wrong = Vec::new();
    let registries: Vec<String> = texts(&sources["allow-registry"])
        .iter()
        .map(|registry| format!("registry+{registry}"))
        .collect();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in lock["package"].as_array().expect("packages") {
        let text = |key: &str| package.get(key).and_then(toml::Value::as_str);
        let name = text("name").expect("a name");
        let version = text("version").expect("a version");
        versions.entry(name).or_default().push(version);
        match text("source") {
            None if name == "brownout" => {}
            Some(source) if registries.iter().any(|known| known == source) => {}
            source => wrong.push(format!("{name} {version} comes from {source:?}")),
        }
    }
    assert!(versions.len() > 100, "{versions:?}");
    for banned in texts(&bans["deny"]) {
        if versions.contains_key(banned) {
            wrong.push(format!("{banned} is banned"));
        }
    }
    let skipped = texts(&bans["skip"]);
    let is_skipped = |name: &str, version: &str| {
        let mut skipped = skipped.iter().filter_map(|one| one.split_once('@'));
        skipped.any(|(known, part)| name == known && version.starts_with(&format!("{part}.")))
    };
    for skip in &skipped {
        let (name, part) = skip.split_once('@').expect("name@version");
        let known = versions.get(name).into_iter().flatten();
        if versions.get(name).is_none_or(|all| all.len() < 2)
            || !known
                .clone()
                .any(|version| version.starts_with(&format!("{part}.")))
        {
            wrong.push(format!("{skip} need not be skipped any more"));
        }
    }
    for (name, all) in &versions {
        let counted = all.iter().filter(|version| !is_skipped(name, version));
        if counted.count() > 1 {
            wrong.push(format!("{name} is there in several versions: {all:?}"));
        }
    }
    wrong.extend(unlicensed(&texts(&deny["licenses"]["allow"])));
    assert!(wrong.is_empty(), "deny.toml: {wrong:#?}");
}

/// What is built on this machine and has no licence among these.
fn unlicensed(allowed: &[&str]) -> Vec<String> {
    let cargo = || Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let rustc = Command::new("rustc").arg("-vV").output().expect("rustc");
    let host = String::from_utf8_lossy(&rustc.stdout).into_owned();
    let host = host.lines().find_map(|line| line.strip_prefix("host: "));
    let metadata = cargo()
        .args(["metadata", "--locked", "--offline", "--format-version", "1"])
        .args(["--filter-platform", host.expect("a host")])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    let said = String::from_utf8_lossy(&metadata.stderr);
    assert!(metadata.status.success(), "{said}");
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 100);
    let mut wrong = Vec::new();
    for package in packages {
        let name = &package["name"];
        match package["license"].as_str() {
            Some(expression) if is_allowed(expression, allowed) => {}
            expression => wrong.push(format!("{name} has {expression:?}")),
        }
    }
    wrong
}
