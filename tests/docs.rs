//! What would prove that the documentation is true: every command of every page is carried out, in
//! the page's order and in a folder of its own, ends as the page says and prints what the page
//! shows; every file that a page shows is written there first; every link leads somewhere.
//!
//! How a page says it:
//!
//! - A block of `console` holds commands, each after `$ `. One that does not succeed says so in a
//!   comment: `# exit status 1`. Below it stands what it prints: every line must be printed, in this
//!   order; `…` is left out. A number that is another one in every run (a time that was measured, how
//!   many samples there were, a seed, a date, a port) stands for any other; all others are exact.
//! - Fences begin their lines. What stands in prose as `` `brownout …` `` must be what the binary
//!   understands, where a word in capitals stands for anything.
//! - A block whose first line is a comment with nothing but a path is that file; with `, continued`
//!   it is added to it.
//! - Every other block is checked by the parser of its language; `text` is looked at by nobody.
//!
//! What cannot be carried out here stands in [`NOT_RUN`], with the reason, and is checked for its
//! syntax. A run that says of itself that its load missed its schedule, because the machine was
//! busy, is repeated.

#![cfg(feature = "demo")]

mod made;
mod python;

use brownout::history::{Observation, Outcome, sample::Story};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};
use tempfile::TempDir;

/// Commands that are not carried out: page, command, why not.
const NOT_RUN: &[(&str, &str, &str)] = &[
    (
        "README.md",
        "cargo run --release -- run scenarios/",
        CI_RUNS_IT,
    ),
    ("README.md", "tests/run", CI_RUNS_IT),
    ("README.md", "cargo install --locked --path .", BUILDS),
    (
        "docs/tutorial.md",
        "python3 -m pip install boto3",
        NEEDS_AN_INDEX,
    ),
    (
        "docs/how-to/load.md",
        "python3 -m pip install locust",
        NEEDS_AN_INDEX,
    ),
    (
        "docs/how-to/load.md",
        "brownout run scenarios/s3.toml --system k6.toml",
        "needs k6, which is in no package index that the tests use",
    ),
    (
        "docs/how-to/docker-compose.md",
        "docker compose build",
        NEEDS_DOCKER,
    ),
    (
        "docs/how-to/docker-compose.md",
        "brownout run scenarios/s3.toml --system compose.toml",
        NEEDS_DOCKER,
    ),
    (
        "docs/how-to/staging.md",
        "brownout run scenarios/s3.toml --system staging.toml",
        "needs somebody's staging environment",
    ),
    ("docs/reliability.md", "brownout selftest", A_TEST_RUNS_IT),
    (
        "docs/reliability.md",
        "brownout selftest --rounds 20 --noise --json selftest.json",
        "takes a quarter of an hour",
    ),
    ("docs/reliability.md", "tests/endure toxics", TAKES_LONG),
    (
        "docs/reliability.md",
        "tests/endure calibration",
        TAKES_LONG,
    ),
    ("docs/reliability.md", "tests/endure fuzz", TAKES_LONG),
    ("docs/reliability.md", "tests/endure suite", TAKES_LONG),
    ("docs/reliability.md", "tests/endure soak", TAKES_LONG),
    (
        "docs/performance.md",
        "cargo bench --bench peers",
        "measures for three minutes; `tests/run` carries out every row in short",
    ),
    (
        "docs/performance.md",
        "cargo bench --bench delays",
        "measures for three minutes; `tests/run` carries out every row in short",
    ),
    (
        "docs/performance.md",
        "cargo bench --bench scale -- history",
        SHORT_IN_TESTS,
    ),
    (
        "docs/performance.md",
        "cargo bench --bench scale -- load",
        SHORT_IN_TESTS,
    ),
    (
        "docs/performance.md",
        "cargo bench --bench scale -- soak 3600 250",
        "takes an hour; the tests check its files",
    ),
    (
        "docs/performance.md",
        "cargo bench --bench judge",
        SHORT_IN_TESTS,
    ),
];

/// How often a run is repeated that says of itself that it is no answer.
const REPEATS_MAX: usize = 3;

const CI_RUNS_IT: &str = "`.ci/run` runs it, to the letter";
const A_TEST_RUNS_IT: &str = "`tests/selftest.rs` runs it, to the letter";
const TAKES_LONG: &str = "goes on for up to an hour; `tests/run` carries out the same in short";
const BUILDS: &str = "compiles everything; `.ci/run` builds the same binary";
const NEEDS_AN_INDEX: &str = "fetches from a package index; `tests/run` installs the same";
const SHORT_IN_TESTS: &str = "measures for minutes; `tests/run` carries it out in short";
const NEEDS_DOCKER: &str = "needs Docker";

/// What a page's folder holds before its first command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Nothing.
    Empty,
    /// The scenarios of this repository.
    Repository,
    /// The files that the tutorial has made by its end.
    Shop,
    /// A run that was recorded and judged, and the template of `docs/templates`.
    Judged,
    /// The file that is to be put beside tests of pytest.
    Fixture,
}

macro_rules! pages {
    ($($name:ident: $path:literal from $start:ident;)*) => {
        const PAGES: &[&str] = &[$($path),*];
        $(
            #[test]
            fn $name() {
                let found = Page::read($path).carry_out(Start::$start);
                assert!(found.is_empty(), "{}:\n{}", $path, found.join("\n"));
            }
        )*
    };
}

pages! {
    a_tutorial_that_is_true: "docs/tutorial.md" from Empty;
    a_load_of_others_that_is_true: "docs/how-to/load.md" from Shop;
    ci_is_true: "docs/how-to/ci.md" from Shop;
    docker_compose_is_true: "docs/how-to/docker-compose.md" from Shop;
    the_fixture_of_pytest_is_true: "docs/how-to/pytest.md" from Fixture;
    traces_are_true: "docs/how-to/traces.md" from Empty;
    rust_tests_are_true: "docs/how-to/rust.md" from Empty;
    a_toxiproxy_client_is_served: "docs/how-to/toxiproxy.md" from Empty;
    by_hand_is_true: "docs/how-to/live.md" from Shop;
    a_program_can_drive_faults: "docs/how-to/control-api.md" from Empty;
    staging_is_true: "docs/how-to/staging.md" from Shop;
    a_matrix_is_true: "docs/how-to/matrix.md" from Shop;
    metastability_is_true: "docs/how-to/metastability.md" from Empty;
    reports_are_true: "docs/how-to/report.md" from Judged;
    a_history_is_read: "docs/how-to/history.md" from Judged;
    readme_is_true: "README.md" from Repository;
    the_map_is_true: "docs/README.md" from Empty;
    formats_are_true: "docs/formats.md" from Empty;
    the_command_line_is_true: "docs/cli.md" from Empty;
    verdicts_are_true: "docs/explanation/verdicts.md" from Empty;
    comparisons_are_true: "docs/explanation/comparisons.md" from Empty;
    repeats_are_true: "docs/explanation/repeats.md" from Repository;
    how_it_works_is_true: "docs/explanation/how-it-works.md" from Empty;
    writes_are_true: "docs/explanation/writes.md" from Empty;
    reliability_is_true: "docs/reliability.md" from Empty;
    performance_is_true: "docs/performance.md" from Empty;
    security_is_true: "docs/explanation/security.md" from Empty;
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page: its path from the repository's root, and its text.
struct Page {
    name: String,
    text: String,
}

/// Something fenced.
#[derive(Debug)]
struct Block<'a> {
    language: &'a str,
    /// The line of its fence, from 1.
    line: usize,
    lines: Vec<&'a str>,
}

/// A command and what the page says of it.
#[derive(Debug, PartialEq, Eq)]
struct Step<'a> {
    line: usize,
    command: &'a str,
    status: i32,
    shown: Vec<&'a str>,
}

impl Step<'_> {
    /// Whether it did what the page says.
    fn is_so(&self, did: &Did) -> bool {
        did.status == Some(self.status) && first_missing(&self.shown, &did.said).is_none()
    }
}

/// What a command did.
struct Did {
    status: Option<i32>,
    said: String,
}

impl Page {
    fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(repository().join(name)).unwrap_or_default();
        Self {
            name: name.to_owned(),
            text,
        }
    }

    /// Everything that is not as the page says.
    fn carry_out(&self, start: Start) -> Vec<String> {
        if self.text.is_empty() {
            return vec!["there is no such page".to_owned()];
        }
        let folder = tempfile::tempdir().expect("a folder");
        prepare(start, folder.path());
        let mut found = self.unseen();
        for command in self.commands_in_prose() {
            let why = wrong_syntax(&filled_in(&command), folder.path());
            found.extend(why.map(|why| format!("{}: `{command}`: {why}", self.name)));
        }
        for block in self.blocks() {
            if let Some((path, text)) = block.file() {
                write(folder.path(), path.0, &text, path.1);
            }
            match block.language {
                "console" => {
                    for step in block.steps() {
                        found.extend(self.take(&step, folder.path()));
                    }
                }
                _ => found.extend(block.malformed()),
            }
        }
        found
    }

    /// Carries out one command, or checks it where it is not to be carried out.
    fn take(&self, step: &Step<'_>, folder: &Path) -> Option<String> {
        let at = format!("{}:{}: `{}`", self.name, step.line, step.command);
        let command = by_the_binary(step.command);
        if not_run(&self.name, step.command).is_some() {
            return wrong_syntax(&command, folder).map(|why| format!("{at}: {why}"));
        }
        let did = answered(&command, folder, &[], |did| step.is_so(did));
        if did.status != Some(step.status) {
            let (wanted, said) = (step.status, did.said);
            return Some(format!(
                "{at} ended with {:?}, not {wanted}:\n{said}",
                did.status
            ));
        }
        let missing = first_missing(&step.shown, &did.said)?;
        Some(format!(
            "{at} does not print {missing:?} there:\n{}",
            did.said
        ))
    }

    fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks: Vec<Block<'_>> = Vec::new();
        let mut open = false;
        for (line, text) in (1..).zip(self.text.lines()) {
            match (text.strip_prefix("```"), open) {
                (Some(_), true) => open = false,
                (Some(language), false) => {
                    open = true;
                    blocks.push(Block {
                        language,
                        line,
                        lines: Vec::new(),
                    });
                }
                (None, true) => blocks.last_mut().expect("it is open").lines.push(text),
                (None, false) => {}
            }
        }
        blocks
    }

    /// What looks like a block or a command, and would not be looked at.
    fn unseen(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = false;
        for (line, text) in (1..).zip(self.text.lines()) {
            let begins = |fence: &&str| text.trim_start().starts_with(*fence);
            if text.starts_with("```") {
                open ^= true;
            } else if !open && ["```", "~~~"].iter().any(begins) {
                found.push(format!("line {line}: a fence that is indented, or of `~`"));
            }
        }
        if open {
            found.push("the last fence is not closed".to_owned());
        }
        for block in self.blocks() {
            found.extend(block.unasked());
        }
        found
    }

    /// The commands of Brownout that stand in prose as code, once each.
    fn commands_in_prose(&self) -> BTreeSet<String> {
        let prose = self.prose();
        prose
            .split("\n\n")
            .flat_map(|paragraph| code_in(&paragraph.replace('\n', " ")))
            .filter(|code| code.starts_with("brownout "))
            .collect()
    }

    /// The page without what is fenced.
    fn prose(&self) -> String {
        let mut open = false;
        let lines = self.text.lines().filter(|line| {
            let fence = line.trim_start().starts_with("```");
            open ^= fence;
            !open && !fence
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Where its links lead, pictures included.
    fn links(&self) -> Vec<String> {
        let prose = self.prose();
        let ends = prose.match_indices("](").map(|(at, _)| &prose[at + 2..]);
        ends.filter_map(|rest| rest.split_once(')'))
            .map(|(target, _)| target.to_owned())
            .collect()
    }

    /// What its headings are called in links, as GitHub does it.
    fn anchors(&self) -> BTreeSet<String> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let prose = self.prose();
        let headings = prose.lines().filter(|line| line.starts_with('#'));
        headings
            .map(|line| {
                let kept = line.trim_start_matches('#').trim().to_lowercase();
                let kept = kept
                    .chars()
                    .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
                let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
                let times = seen.entry(anchor.clone()).or_default();
                *times += 1;
                match *times {
                    1 => anchor,
                    more => format!("{anchor}-{}", more - 1),
                }
            })
            .collect()
    }

    /// Links that lead nowhere.
    fn broken_links(&self) -> Vec<String> {
        let here = Path::new(&self.name).parent().unwrap_or(Path::new(""));
        let broken = |target: &String| {
            if target.starts_with("https://") {
                return false;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = match path {
                "" => PathBuf::from(&self.name),
                path => plain(&here.join(path)),
            };
            let name = path.to_string_lossy();
            !repository().join(&path).exists()
                || (!anchor.is_empty() && !Self::read(&name).anchors().contains(anchor))
        };
        self.links().into_iter().filter(broken).collect()
    }
}

/// What stands between runs of equally many backticks.
fn code_in(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find('`') {
        let after = rest[begin..].trim_start_matches('`');
        let fence = &rest[begin..rest.len() - after.len()];
        let ends = after.match_indices(fence).find(|(at, _)| {
            let beyond = &after[at + fence.len()..];
            !after[..*at].ends_with('`') && !beyond.starts_with('`')
        });
        rest = match ends {
            Some((end, _)) => {
                found.push(after[..end].trim().to_owned());
                &after[end + fence.len()..]
            }
            None => after,
        };
    }
    found
}

/// A command in which something stands for every word in capitals.
fn filled_in(command: &str) -> String {
    let words = command.split_whitespace().filter(|word| *word != "…");
    let words = words.map(|word| {
        let bare = word.trim_matches(['[', ']', '<', '>', '…']);
        let stands_for = !bare.is_empty() && bare.chars().all(|c| c.is_ascii_uppercase());
        if stands_for { "1" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

/// The languages that a block may be in.
const LANGUAGES: &[&str] = &[
    "console",
    "toml",
    "python",
    "yaml",
    "js",
    // Carried out as tests of the library.
    "rust",
    "rust,no_run",
    "dockerfile",
    "text",
];

impl<'a> Block<'a> {
    /// The file that it is, whether it is added to one, and its text.
    fn file(&self) -> Option<((&'a str, bool), String)> {
        let first = self.lines.first()?;
        let said = first.strip_prefix("# ").or(first.strip_prefix("// "))?;
        let (path, added) = match said.strip_suffix(", continued") {
            Some(path) => (path, true),
            None => (said, false),
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        let named = path.contains('.') || path == "Dockerfile";
        let is_file = named && path.chars().all(fits) && !path.ends_with('.');
        (is_file && self.language != "console")
            .then(|| ((path, added), self.lines.join("\n") + "\n"))
    }

    /// What stands before the first command, which nobody asked for.
    fn unasked(&self) -> Option<String> {
        let first = self.lines.iter().find(|line| !line.trim().is_empty())?;
        let unasked = self.language == "console" && !first.starts_with("$ ");
        unasked.then(|| {
            format!(
                "line {}: {first:?} stands before the first command, which begins with `$ `",
                self.line
            )
        })
    }

    fn steps(&self) -> Vec<Step<'a>> {
        let mut steps: Vec<Step<'a>> = Vec::new();
        for (line, text) in (self.line + 1..).zip(&self.lines) {
            match (text.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => {
                    let (command, comment) = command.split_once(" # ").unwrap_or((command, ""));
                    let status = comment.trim().strip_prefix("exit status ");
                    let status = status.and_then(|rest| {
                        let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
                        digits.and_then(|digits| digits.parse().ok())
                    });
                    steps.push(Step {
                        line,
                        command: command.trim(),
                        status: status.unwrap_or(0),
                        shown: Vec::new(),
                    });
                }
                (None, Some(step)) => step.shown.push(text),
                (None, None) => {}
            }
        }
        steps
    }

    /// What the parser of its language has against it.
    fn malformed(&self) -> Option<String> {
        let text = self.lines.join("\n");
        let why = match self.language {
            "toml" => text
                .parse::<toml::Table>()
                .err()
                .map(|error| error.to_string()),
            "python" => parsed(python::inline(PARSE), &text),
            "yaml" => parsed(python::inline(AS_JSON), &text),
            "js" => {
                let mut node = Command::new("node");
                node.args(["--input-type=module", "--check"]);
                parsed(node, &text)
            }
            other if LANGUAGES.contains(&other) => None,
            other => Some(format!("a block in {other:?}; there are {LANGUAGES:?}")),
        }?;
        Some(format!("line {}: {why}", self.line))
    }
}

/// Parses Python.
const PARSE: &str = "import ast, sys; ast.parse(sys.stdin.read())";

/// Reads YAML and writes JSON.
const AS_JSON: &str = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)";

/// What a parser that reads from its standard input has to complain of.
fn parsed(mut parser: Command, text: &str) -> Option<String> {
    let mut child = parser
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the parser starts");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then_some(complaint)
}

fn prepare(start: Start, folder: &Path) {
    match start {
        Start::Empty => {}
        Start::Judged => put_judged(folder),
        Start::Fixture => {
            let file = "brownout_pytest.py";
            let from = repository().join("docs/how-to").join(file);
            std::fs::copy(from, folder.join(file)).expect("it is put there");
        }
        Start::Repository => {
            let scenarios = folder.join("scenarios");
            std::os::unix::fs::symlink(repository().join("scenarios"), scenarios).expect("a link");
        }
        Start::Shop => {
            for block in Page::read("docs/tutorial.md").blocks() {
                if let Some((path, text)) = block.file() {
                    write(folder, path.0, &text, path.1);
                }
            }
        }
    }
}

/// Puts a run there in which visitors were not answered, as `brownout run` would have left it.
fn put_judged(folder: &Path) {
    let story = Story::new()
        .healthy(0..10)
        .load("ask", 10..30, 20, Outcome::Failed, 20)
        .load("train", 10..30, 20, Outcome::Ok, 20)
        .healthy(30..60);
    let sample = |name: &str| {
        let path = repository().join("tests/cli").join(name);
        let text = std::fs::read_to_string(path).expect("the sample is there");
        (name.to_owned(), text)
    };
    let mut history = String::new();
    for mut entry in story.observations() {
        if let Observation::Run(run) = &mut entry {
            run.scenario = sample("good.toml");
            run.system = sample("system.toml");
        }
        history += &serde_json::to_string(&entry).expect("an observation is JSON");
        history.push('\n');
    }
    write(
        folder,
        "brownout-report/good/history.jsonl",
        &history,
        false,
    );
    let judge = "brownout judge brownout-report/good/history.jsonl --out brownout-report";
    let did = shell(judge, folder, &[]);
    assert_eq!(did.status, Some(1), "{}", did.said);
    let template = repository().join("docs/templates/digest.md.j2");
    std::fs::copy(template, folder.join("digest.md.j2")).expect("the template");
}

fn write(folder: &Path, path: &str, text: &str, added: bool) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let mut file = std::fs::OpenOptions::new();
    let file = file.create(true).write(true).append(added).truncate(!added);
    let mut file = file.open(path).expect("the file is opened");
    file.write_all(text.as_bytes())
        .expect("the file is written");
}

/// A command as it is typed in the repository, by the binary that is tested.
fn by_the_binary(command: &str) -> String {
    match command.strip_prefix("cargo run --release -- ") {
        Some(arguments) => format!("brownout {arguments}"),
        None => command.to_owned(),
    }
}

fn not_run(page: &str, command: &str) -> Option<&'static str> {
    let mut list = NOT_RUN.iter();
    let listed = list.find(|(where_, which, _)| *where_ == page && *which == command);
    listed.map(|(.., why)| *why)
}

/// The environment in which a reader types: the binary and the tests' Python come first.
fn path() -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_brownout"));
    let python = python::interpreter();
    let folders = [binary.parent(), python.parent()];
    let folders = folders
        .into_iter()
        .flatten()
        .map(|one| one.display().to_string());
    let rest = std::env::var("PATH").unwrap_or_default();
    folders.chain([rest]).collect::<Vec<_>>().join(":")
}

fn shell(command: &str, folder: &Path, environment: &[(&str, &str)]) -> Did {
    let output = Command::new("bash")
        .args(["-e", "-o", "pipefail", "-c", command])
        .current_dir(folder)
        .env("PATH", path())
        .env("NO_COLOR", "1")
        .env("HOME", folder)
        .env_remove("COLUMNS")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Did {
        status: output.status.code(),
        said: text(&output.stdout) + &text(&output.stderr),
    }
}

/// What a command did. A run that says of itself that its load missed its schedule, and so is no
/// answer, is repeated, with no other repetition beside it.
fn answered(
    command: &str,
    folder: &Path,
    environment: &[(&str, &str)],
    is_so: impl Fn(&Did) -> bool,
) -> Did {
    let mut did = shell(command, folder, environment);
    let _alone = (!is_so(&did)).then(|| REPEATED.lock());
    for _ in 0..REPEATS_MAX {
        if !is_so(&did) && did.said.contains("missed its schedule") {
            did = shell(command, folder, environment);
        }
    }
    did
}

/// Held by a run that is repeated. A test that failed had its turn all the same.
static REPEATED: Mutex<()> = Mutex::new(());

/// What is wrong with a command that is not carried out: its grammar, and of `brownout` every
/// argument.
fn wrong_syntax(command: &str, folder: &Path) -> Option<String> {
    // Where what it prints goes is not its own business.
    let alone = [" | ", " > ", " >> "]
        .into_iter()
        .fold(command, |command, to| {
            command.split_once(to).map_or(command, |(before, _)| before)
        });
    let parse = match alone.strip_prefix("brownout ") {
        // Whatever stands before `--help` is read first.
        Some(arguments) => format!("brownout {arguments} --help"),
        None => format!("bash -n -c {}", quoted(command)),
    };
    // Where GitHub wants its summary it says in this variable.
    let did = shell(&parse, folder, &[("GITHUB_STEP_SUMMARY", "summary.md")]);
    (did.status != Some(0)).then_some(did.said)
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The first line shown that is not printed after those before it.
fn first_missing<'a>(shown: &[&'a str], said: &str) -> Option<&'a str> {
    let mut printed = said.lines().map(pattern);
    let mut lines = shown.iter().filter(|line| !matches!(line.trim(), "" | "…"));
    lines
        .find(|line| {
            let wanted = pattern(line);
            !printed.any(|line| line == wanted)
        })
        .copied()
}

/// Units of times.
const TIMES: &[&str] = &["ns", "us", "µs", "ms", "s", "m", "min", "h"];

/// What stands before a number that somebody chose, so that it is always the same.
const CHOSEN: &[&str] = &[
    "within ",
    "at most ",
    "at least ",
    "below ",
    "above ",
    "over ",
    "under ",
    "every ",
    "than ",
];

/// What stands before a number that is drawn anew for each run.
const DRAWN: &[&str] = &["seed ", "127.0.0.1:", "localhost:"];

/// A line in which spaces count once, and that which is different in every run is the same: times
/// and shares that were measured, how many samples there were, seeds, dates and ports. Everything
/// else is exact: what is required, how many passed and failed, nothing and all.
fn pattern(line: &str) -> String {
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.starts_with("required ") {
        return line;
    }
    let mut pattern = String::new();
    let mut rest = line.as_str();
    while let Some(letter) = rest.chars().next() {
        let before = &line[..line.len() - rest.len()];
        let within = |c: char| c.is_alphanumeric() || "_-./".contains(c);
        let taken = if !letter.is_ascii_digit() || before.ends_with(within) {
            pattern.push(letter);
            letter.len_utf8()
        } else if let Some(length) = date(rest) {
            pattern.push_str("DATE");
            length
        } else {
            let (number, unit) = number(rest);
            let taken = number.len() + unit.len();
            pattern.push_str(&in_any_run(before, number, unit, &rest[taken..]));
            taken
        };
        rest = &rest[taken..];
    }
    pattern
}

/// How long the date is, with the time of the day if there is one, that a text begins with.
fn date(text: &str) -> Option<usize> {
    let fits = |shape: &str, text: &str| {
        let fits = |(shape, c): (char, char)| match shape {
            '0' => c.is_ascii_digit(),
            other => c == other,
        };
        text.len() >= shape.len() && shape.chars().zip(text.chars()).all(fits)
    };
    let time = |shape: &str| fits(shape, text).then_some(shape.len());
    time("0000-00-00T00:00:00Z")
        .or(time("0000-00-00 00:00:00"))
        .or(time("0000-00-00"))
}

/// The number that a text begins with, and its unit.
fn number(text: &str) -> (&str, &str) {
    let end = |text: &str, fits: fn(char) -> bool| text.find(|c| !fits(c)).unwrap_or(text.len());
    let digits = end(text, |c| c.is_ascii_digit() || ".,".contains(c));
    let number = text[..digits].trim_end_matches(['.', ',']);
    let rest = &text[number.len()..];
    (
        number,
        &rest[..end(rest, |c| c.is_alphabetic() || c == '%')],
    )
}

/// What a number between these texts is in any run.
fn in_any_run(before: &str, number: &str, unit: &str, after: &str) -> String {
    let exact = format!("{number}{unit}");
    let of = |text: &str| {
        let text = text.strip_prefix(" of ")?;
        let (other, _) = self::number(text);
        (!other.is_empty()).then(|| other.to_owned())
    };
    let is_after_of = before.strip_suffix(" of ").is_some_and(|text| {
        let word = text.rsplit(' ').next().unwrap_or_default();
        word.trim_start_matches('(')
            .starts_with(|c: char| c.is_ascii_digit())
    });
    if DRAWN.iter().any(|word| before.ends_with(word)) {
        return "DRAWN".to_owned();
    }
    if CHOSEN.iter().any(|word| before.ends_with(word)) {
        return exact;
    }
    match (unit, of(after)) {
        (unit, _) if TIMES.contains(&unit) => "TIME".to_owned(),
        ("%", _) if !matches!(number, "0" | "100") => "SHARE".to_owned(),
        ("", Some(all)) if number == all && number != "0" => "ALL".to_owned(),
        ("", Some(_)) if number != "0" => "SOME".to_owned(),
        ("", None) if is_after_of && number != "0" => "SAMPLES".to_owned(),
        _ => exact,
    }
}

/// All pages, as paths from the repository's root.
fn pages_there_are() -> BTreeSet<String> {
    let mut pages = BTreeSet::from(["README.md".to_owned()]);
    let mut folders = vec![repository().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                let name = path.strip_prefix(repository()).expect("within it");
                pages.insert(name.to_string_lossy().into_owned());
            }
        }
    }
    pages
}

#[test]
fn every_page_is_carried_out() {
    let known: BTreeSet<String> = PAGES.iter().map(|one| (*one).to_owned()).collect();
    assert_eq!(known, pages_there_are());
}

#[test]
fn what_is_not_run_is_there_and_has_a_reason() {
    for (page, command, why) in NOT_RUN {
        let page = Page::read(page);
        let there = page
            .blocks()
            .iter()
            .flat_map(Block::steps)
            .any(|step| step.command == *command);
        assert!(there, "{} has no `{command}`, {why}", page.name);
        assert!(!why.is_empty());
        if *why == CI_RUNS_IT {
            let ci = std::fs::read_to_string(repository().join(".ci/run")).expect("it is there");
            assert!(ci.lines().any(|line| line == *command), "{command}");
        }
    }
}

#[test]
fn every_link_leads_somewhere_and_every_page_is_on_the_map() {
    let pages = pages_there_are();
    for name in &pages {
        let broken = Page::read(name).broken_links();
        assert!(broken.is_empty(), "{name} leads to {broken:?}");
    }
    let map = Page::read("docs/README.md");
    let mapped: BTreeSet<String> = map
        .links()
        .iter()
        .map(|target| target.split('#').next().unwrap_or_default())
        .map(|target| {
            plain(&Path::new("docs").join(target))
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let unmapped: Vec<&String> = pages
        .iter()
        .filter(|page| *page != "docs/README.md" && !mapped.contains(*page))
        .collect();
    assert!(unmapped.is_empty(), "{unmapped:?}");
}

/// A report of one scenario with one requirement, as far as the second command reads it.
fn put_report(path: &Path, scenario: &str, requirements: &[(&str, &str)], status: &str) {
    let verdicts = requirements.iter();
    let verdicts: Vec<Value> = verdicts
        .map(|(id, status)| serde_json::json!({ "id": id, "status": status }))
        .collect();
    let one = serde_json::json!({
        "file": format!("scenarios/{scenario}.toml"),
        "status": status,
        "verdicts": verdicts,
    });
    let mut all = match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).expect("JSON"),
        Err(_) => serde_json::json!({ "scenarios": [] }),
    };
    all["scenarios"].as_array_mut().expect("a list").push(one);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, all.to_string()).expect("it is written");
}

/// What the long form of the scenarios says of verdicts that are as known, but for one.
#[test]
fn the_long_form_of_the_scenarios_finds_every_verdict_that_is_not_as_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let known = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .skip_while(|line| !line.contains("exactly these fail"));
        let named = lines.skip(1).take_while(|line| line.starts_with("#     "));
        let words = named.flat_map(|line| line.split_whitespace().skip(1));
        words.map(str::to_owned).collect()
    };
    for entry in std::fs::read_dir(repository().join("scenarios")).expect("scenarios") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|end| end != "toml") {
            continue;
        }
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let fails = known(&std::fs::read_to_string(&path).expect("a text"));
        assert!(!fails.is_empty(), "{name}");
        let failing: Vec<(&str, &str)> = fails.iter().map(|id| (&**id, "fail")).collect();
        for round in ["1", "2"] {
            let round = folder.path().join(round);
            // In the second round one of them is not seen to fail.
            let is_flipped = round.ends_with("2") && name.starts_with("ada");
            let mut as_it_was = failing.clone();
            as_it_was.push(("ALIVE", "pass"));
            if is_flipped {
                as_it_was[0].1 = "pass";
            }
            put_report(
                &round.join("remedied/report.json"),
                &name,
                &[("A-1", "pass")],
                "pass",
            );
            let path = round.join("as-it-was").join(&name).join("report.json");
            put_report(&path, &name, &as_it_was, "fail");
        }
    }
    let judged = |what: &str| {
        let program = repository().join("tests/endure.py");
        let folder = folder.path().display();
        shell(
            &format!("python3 {} {folder} {what}", program.display()),
            repository(),
            &[],
        )
    };
    assert_eq!(judged("1").status, Some(0), "{}", judged("1").said);
    let second = judged("2");
    assert_eq!(second.status, Some(1), "{}", second.said);
    assert!(
        second.said.contains("ADA-1 is pass, not fail"),
        "{}",
        second.said
    );
    let all = judged("summary 2");
    assert_eq!(all.status, Some(1), "{}", all.said);
    let last =
        "2 times in a row: 20 runs of scenarios, 1 with a wrong verdict, 0 that could not tell";
    assert_eq!(all.said.lines().last(), Some(last), "{}", all.said);
    // A run that left no report is none.
    std::fs::remove_dir_all(folder.path().join("1/remedied")).expect("it is removed");
    assert_eq!(judged("1").status, Some(1));
}

#[test]
fn the_command_for_long_forms_names_its_parts_and_refuses_others() {
    let did = |arguments: &str| shell(&format!("tests/endure {arguments}"), repository(), &[]);
    let help = did("--help");
    assert_eq!(help.status, Some(0), "{}", help.said);
    let page = Page::read("docs/reliability.md");
    for part in ["toxics", "calibration", "fuzz", "suite", "soak"] {
        let is_part = |line: &str| line.starts_with(&format!("{part} "));
        assert!(help.said.lines().any(is_part), "{part}: {}", help.said);
        let shown = format!("$ tests/endure {part}");
        assert!(page.text.lines().any(|line| line == shown), "{shown}");
    }
    let unknown = did("toxics toxicks");
    assert_eq!(unknown.status, Some(64), "{}", unknown.said);
    assert!(
        unknown.said.contains("no part `toxicks`"),
        "{}",
        unknown.said
    );
    assert_eq!(
        shell("bash -n tests/endure", repository(), &[]).status,
        Some(0)
    );
}

/// Every file of Rust below a folder, as one text.
fn sources(folder: &str) -> String {
    let mut folders = vec![repository().join(folder)];
    let mut all = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                all.push_str(&std::fs::read_to_string(path).expect("a file"));
            }
        }
    }
    all
}

#[test]
fn tests_that_the_threat_model_names_are_there() {
    let page = Page::read("docs/explanation/security.md");
    let code = sources("src") + &sources("tests");
    let named: Vec<String> = code_in(&page.prose())
        .into_iter()
        .filter(|name| name.matches('_').count() > 2 && !name.contains([' ', '.', '=']))
        .collect();
    assert!(named.len() > 15, "{named:?}");
    let unknown = |name: &&String| !code.contains(&format!("fn {name}("));
    let unknown: Vec<&String> = named.iter().filter(unknown).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// The files beside the how-tos are what the pages show, so that either can be copied.
#[test]
fn files_beside_the_how_tos_are_what_the_pages_show_or_lead_to() {
    let shown: Vec<String> = pages_there_are()
        .iter()
        .flat_map(|name| {
            let page = Page::read(name);
            let files = page.blocks().into_iter().filter_map(|block| block.file());
            files.map(|(_, text)| text).collect::<Vec<_>>()
        })
        .collect();
    let texts = pages_there_are().into_iter();
    let texts = texts.map(|name| std::fs::read_to_string(repository().join(name)).expect("a page"));
    let texts: Vec<String> = texts.collect();
    let mut files = 0;
    for entry in std::fs::read_dir(repository().join("docs/how-to")).expect("how-tos") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|end| end != "md") {
            let text = std::fs::read_to_string(&path).expect("a text");
            // A program that is copied whole is led to, and carried out with its page.
            let name = path.file_name().expect("a name").to_string_lossy();
            let is_led_to = texts
                .iter()
                .any(|page| page.contains(&format!("]({name})")));
            assert!(
                shown.contains(&text) || is_led_to,
                "no page shows or leads to {}",
                path.display()
            );
            files += 1;
        }
    }
    assert!(files >= 2, "{files}");
}

/// A file of YAML as a value.
fn yaml(name: &str) -> Value {
    let file = std::fs::File::open(repository().join(name)).expect("it is there");
    let output = python::inline(AS_JSON)
        .stdin(file)
        .output()
        .expect("python");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A project with the tutorial's shop, as CI checks it out.
fn project() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(Start::Shop, folder.path());
    folder
}

/// Runs one step of a CI file as the CI does, except that Brownout and the shop's packages are there
/// already.
fn ci_step(script: &str, folder: &Path) {
    let mut lines = script.lines();
    let installs = |line: &&str| {
        let from_elsewhere = ["cargo install", "pip install", "apt-get"];
        from_elsewhere.iter().any(|what| line.contains(what))
    };
    let kept: Vec<&str> = lines.by_ref().filter(|line| !installs(line)).collect();
    for line in script.lines().filter(installs) {
        assert_eq!(wrong_syntax(line, folder), None, "{line}");
    }
    let summary = folder.join("step-summary.md");
    let environment = [("GITHUB_STEP_SUMMARY", summary.to_str().expect("a path"))];
    let did = answered(&kept.join("\n"), folder, &environment, |did| {
        did.status == Some(0)
    });
    assert_eq!(did.status, Some(0), "{script}\n{}", did.said);
}

/// Both wait more than they work.
#[test]
fn all_files_for_ci_run() {
    std::thread::scope(|scope| {
        scope.spawn(github_workflow);
        scope.spawn(gitlab_job);
    });
}

fn github_workflow() {
    let workflow = yaml("docs/how-to/github-actions.yml");
    let job = &workflow["jobs"]["rehearse"];
    let bounded = job["runs-on"].is_string() && job["timeout-minutes"].is_u64();
    assert!(bounded, "{job}");
    let folder = project();
    let mut ran = 0;
    for step in job["steps"].as_array().expect("steps") {
        match (&step["uses"], &step["run"]) {
            (Value::String(action), Value::Null) => {
                let (name, version) = action.split_once('@').expect("a version");
                let official = name.starts_with("actions/") && version.starts_with('v');
                assert!(official, "{action}");
            }
            (Value::Null, Value::String(script)) => {
                ci_step(script, folder.path());
                ran += 1;
            }
            _ => panic!("a step either uses or runs: {step}"),
        }
    }
    assert!(ran >= 4, "{ran}");
    let steps = job["steps"].as_array().into_iter().flatten();
    let kept: Vec<&str> = steps
        .filter_map(|step| step["with"]["path"].as_str())
        .collect();
    assert!(kept.contains(&"brownout-report"), "{kept:?}");
    assert!(folder.path().join("brownout-report/report.html").exists());
    let summary = std::fs::read_to_string(folder.path().join("step-summary.md"));
    let summary = summary.expect("a summary");
    assert!(summary.contains("S3"), "{summary}");
}

fn gitlab_job() {
    let job = &yaml("docs/how-to/gitlab-ci.yml")["outages"];
    let script = job["script"].as_array().expect("a script");
    let lines: Vec<&str> = script.iter().filter_map(Value::as_str).collect();
    assert_eq!(lines.len(), script.len(), "{script:?}");
    let folder = project();
    ci_step(&lines.join("\n"), folder.path());
    assert_eq!(job["artifacts"]["paths"][0], "brownout-report/");
    assert_eq!(job["artifacts"]["when"], "always");
    let junit = &job["artifacts"]["reports"]["junit"];
    let junit = folder.path().join(junit.as_str().expect("a report"));
    let junit = std::fs::read_to_string(junit).expect("the report");
    assert!(junit.contains("<testsuites"), "{junit}");
}

/// The README's pictures are small, and whoever wants them anew has scripts that can be read.
#[test]
fn the_pictures_are_small_and_their_scripts_parse() {
    let images = repository().join("docs/images");
    let mut size = 0;
    for name in ["report.png", "timeline.png"] {
        let picture = std::fs::read(images.join(name)).expect("the picture");
        assert!(picture.starts_with(b"\x89PNG"), "{name}");
        size += picture.len();
    }
    assert!(size <= 250_000, "{size}");
    for check in ["bash -n take", "node --check take.js"] {
        let did = shell(check, &images, &[]);
        assert_eq!(did.status, Some(0), "{check}: {}", did.said);
    }
}

// That these tests can fail: pages that say what is not so.

#[track_caller]
fn complains(text: &str, of: &str) {
    let page = Page {
        name: "page.md".to_owned(),
        text: text.to_owned(),
    };
    let found = page.carry_out(Start::Empty).join("\n");
    assert!(found.contains(of), "{found:?} lacks {of:?}");
}

#[test]
fn a_page_with_a_command_that_is_not_so_is_found() {
    complains(
        "```console\n$ brownout chek x.toml\n```",
        "ended with Some(64), not 0",
    );
    complains(
        "```console\n$ brownout list faults --loud\n```",
        "ended with Some(64), not 0",
    );
    complains(
        "```console\n$ true    # exit status 1: it fails\n```",
        "ended with Some(0), not 1",
    );
    complains(
        "```console\n$ false | cat\n```",
        "ended with Some(1), not 0",
    );
    complains(
        "```console\n$ echo one\ntwo\n```",
        "does not print \"two\" there",
    );
    complains(
        "```console\n$ printf 'a\\nb\\n'\nb\na\n```",
        "does not print \"a\" there",
    );
    for (printed, shown) in [
        ("0% (0 of 181)", "100% (181 of 181)"),
        ("0% (3 of 181)", "0% (0 of 181)"),
        ("100% (181 of 181)", "100% (180 of 181)"),
        ("99% (180 of 181)", "100% (180 of 181)"),
        ("1 failed, 4 passed", "3 failed, 2 passed"),
        ("every call over within 60s", "every call over within 2s"),
        ("required at least 99.9%", "required at least 99%"),
        ("required p95 of 2s", "required p95 of 1s"),
        ("ok: 4 phases", "ok: 5 phases"),
        ("measured 0 of 9", "measured 1 of 9"),
    ] {
        let page = format!("```console\n$ echo '{printed}'\n{shown}\n```");
        complains(&page, "does not print");
    }
    complains(
        "```console\nbrownout chek x.toml\n$ true\n```",
        "stands before the first command",
    );
    complains("- So:\n\n  ```console\n  $ false\n  ```\n", "indented");
    complains("~~~console\n$ false\n~~~\n", "line 1");
    complains("```console\n$ true\n", "not closed");
    complains("Say `brownout dif OLD NEW`.", "dif");
    complains("Say `brownout diff OLD\nNEW EVEN-NEWER`.", "EVEN-NEWER");
    complains("Say ``brownout run FILE --sed N``.", "--sed");
    complains("```toml\nkey = \n```", "line 1");
    complains("```python\ndef\n```", "SyntaxError");
    complains("```yaml\na: [1\n```", "line 1");
    complains("```js\nlet = ;\n```", "SyntaxError");
    complains("```sh\ntrue\n```", "a block in \"sh\"");
    let toml = "```toml\n# brownout.toml\n[system]\ncomand = [\"x\"]\n```\n";
    complains(
        &format!("{toml}```console\n$ brownout check brownout.toml\n```"),
        "did you mean",
    );
}

#[test]
fn a_page_that_is_so_is_not_complained_of() {
    let text = "```python\n# a/b.py\nprint('took 3.2s, 14%')\n```\n\
                ```python\n# a/b.py, continued\nraise SystemExit(3)\n```\n\
                ```console\n$ python3 a/b.py    # exit status 3: so it is\n…\ntook 250ms,   9%\n$ true\n```\n\n\
                Now `a` and `brownout diff OLD NEW`, `brownout run FILE\n--seed N`, ``brownout run …``.";
    let page = Page {
        name: "page.md".to_owned(),
        text: text.to_owned(),
    };
    assert_eq!(page.carry_out(Start::Empty), Vec::<String>::new());
}

#[test]
fn what_differs_from_run_to_run_is_the_same() {
    for (one, other) in [
        ("measured  0% (0 of 181)", "measured 0% (0 of 197)"),
        ("100% (207 of 207), p95 1.2s", "100% (9 of 9), p95 870ms"),
        ("97.5% (180 of 185)", "3% (2 of 77)"),
        ("p95 3.004s of 197", "p95 810ms of 9"),
        ("seed 17, on 127.0.0.1:4711", "seed 9, on 127.0.0.1:80"),
        ("began 2017-02-28T17:37:00Z.", "began 2026-01-01T00:00:00Z."),
    ] {
        assert_eq!(pattern(one), pattern(other));
    }
    for (one, other) in [
        ("a/s3-2.toml: p95", "a/s3-3.toml: p95"),
        ("p95 of 2", "p99 of 2"),
        ("0 of 5", "5 of 5"),
        ("0 of 0", "0 of 1"),
        ("at most 36s", "at most 35s"),
    ] {
        assert_ne!(pattern(one), pattern(other));
    }
}

#[test]
fn commands_that_are_not_run_are_still_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = |command: &str| wrong_syntax(command, folder.path()).is_some();
    for (command, is_wrong) in [
        ("brownout run scenarios/", false),
        ("brownout run scenarios/ --otu x", true),
        ("brownout run scenarios/ --jobs 0", true),
        ("brownout rnu scenarios/", true),
        ("brownout list faults > ~/none/faults.txt", false),
        ("brownout list fault | cat", true),
        ("docker compose build", false),
        ("docker compose 'build", true),
    ] {
        assert_eq!(wrong(command), is_wrong, "{command}");
    }
}

#[test]
fn links_that_lead_nowhere_are_found() {
    let text = "# One `two`, three\n[a](#one-two-three) [b](#one) [c](docs/formats.md) \
                [d](docs/formats.md#faults-phasefault) [e](docs/formats.md#nothing) [f](docs/none.md) \
                ![g](none.png) [h](https://example.org)\n```text\n[i](none)\n```\n";
    let page = Page {
        name: "README.md".to_owned(),
        text: text.to_owned(),
    };
    // Anchors of the page itself are looked up in the file of that name.
    let broken = page.broken_links();
    assert!(page.anchors().contains("one-two-three"));
    for target in ["docs/formats.md#nothing", "docs/none.md", "none.png"] {
        assert!(broken.contains(&target.to_owned()), "{broken:?}");
    }
    for target in [
        "docs/formats.md",
        "docs/formats.md#faults-phasefault",
        "https://example.org",
        "none",
    ] {
        assert!(!broken.contains(&target.to_owned()), "{broken:?}");
    }
}
