//! The pages, and parts of pages, that are made from the code. `UPDATE_DOCS=1 cargo test --test docs`
//! writes them anew.

use super::{by_the_binary, repository, shell, wrong_syntax};
use brownout::{cli::Exit, expectation::samples_needed, history::Criteria};
use std::{fs, path::Path};

/// A source file of this repository.
fn source(path: &str) -> String {
    fs::read_to_string(repository().join(path)).expect("it is there")
}

/// Asserts that a page, or a part of one, is what was made; writes it where that is wanted.
#[track_caller]
fn in_step(path: &str, made: &str) {
    let file = repository().join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, made).expect("it is written");
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    for (number, (written, made)) in (1..).zip(written.lines().zip(made.lines())) {
        assert_eq!(
            written, made,
            "{path}:{number}; UPDATE_DOCS=1 writes it anew"
        );
    }
    assert!(
        written == made,
        "{path} has another end; UPDATE_DOCS=1 writes it anew"
    );
}

/// The page with what stands between `<!-- made from WHAT -->` and `<!-- end -->` made anew.
fn with_part(page: &str, what: &str, part: &str) -> String {
    let begin = format!("<!-- made from {what} -->\n");
    let (before, rest) = page.split_once(&begin).expect("the part begins");
    let (_, after) = rest.split_once("<!-- end -->").expect("the part ends");
    format!("{before}{begin}\n{}\n\n<!-- end -->{after}", part.trim())
}

/// What a command says of itself.
fn help(folder: &Path, command: &str) -> String {
    let did = shell(&format!("brownout {command} --help"), folder, &[]);
    assert_eq!(did.status, Some(0), "{command}: {}", did.said);
    did.said
}

/// The commands that `--help` lists.
fn commands(folder: &Path) -> Vec<String> {
    let help = help(folder, "");
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

#[test]
fn the_page_of_the_command_line_is_in_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut page =
        "# The command line\n\nThis page is made from what every command says of itself \
                    with `--help`: `UPDATE_DOCS=1 cargo test --test docs`.\n"
            .to_owned();
    page.push_str(&format!(
        "\n```text\n{}\n```\n",
        help(folder.path(), "").trim_end()
    ));
    let commands = commands(folder.path());
    assert!(commands.len() >= 6, "{commands:?}");
    for command in commands {
        let help = help(folder.path(), &command);
        page.push_str(&format!(
            "\n## `brownout {command}`\n\n```text\n{}\n```\n",
            help.trim_end()
        ));
    }
    in_step("docs/cli.md", &page);
}

/// The examples of a help text: `  brownout …`, with whatever explains them cut off.
fn examples(help: &str) -> Vec<&str> {
    let lines = help
        .lines()
        .filter_map(|line| line.strip_prefix("  brownout "));
    lines
        .map(|line| line.split("   ").next().unwrap_or(line).trim())
        .map(|line| line.split("  ").next().unwrap_or(line))
        .collect()
}

#[test]
fn the_examples_of_help_can_be_typed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut seen = 0;
    for command in commands(folder.path())
        .iter()
        .map(String::as_str)
        .chain([""])
    {
        let help = help(folder.path(), command);
        for example in examples(&help) {
            let typed = by_the_binary(&format!("brownout {example}"));
            assert_eq!(wrong_syntax(&typed, folder.path()), None, "{typed}");
            seen += 1;
        }
    }
    assert!(seen > 15, "{seen}");
}

const VERDICTS: &str = "docs/explanation/verdicts.md";

/// The documentation at the head of a module, without its first paragraph.
fn module_doc(path: &str) -> String {
    let text = source(path);
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    let lines: Vec<&str> = lines
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    let first = lines
        .iter()
        .position(|line| line.is_empty())
        .expect("paragraphs");
    lines[first + 1..].join("\n")
}

/// A module's documentation from where it says `from`, up to where it says `to`.
fn paragraphs(path: &str, from: &str, to: Option<&str>) -> String {
    let doc = module_doc(path);
    let begins = doc.find(from).expect("it begins");
    let rest = &doc[begins..];
    let ends = to.map_or(rest.len(), |to| rest.find(to).expect("it ends"));
    without_code_links(&rest[..ends])
}

/// Without the links of Rust's documentation, ``[`name`]`` and ``[`name`](path)``: the name stays.
fn without_code_links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, name)) = rest.split_once("[`") {
        let Some((name, after)) = name.split_once("`]") else {
            break;
        };
        out.push_str(&format!("{before}`{name}`"));
        rest = match after
            .strip_prefix('(')
            .and_then(|path| path.split_once(')'))
        {
            Some((_, after)) => after,
            None => after,
        };
    }
    out + rest
}

/// How many samples the shares and quantiles need that people ask for.
fn samples() -> String {
    let mut table =
        "| a share of, or a quantile | at least so many samples |\n|---|---|\n".to_owned();
    for (name, share) in [
        ("50 %, p50", 0.5),
        ("90 %, p90", 0.9),
        ("95 %, p95", 0.95),
        ("98 %", 0.98),
        ("99 %, p99", 0.99),
        ("99.5 %", 0.995),
        ("99.9 %, p99.9", 0.999),
        ("99.99 %", 0.9999),
        ("100 %, max", 1.0),
    ] {
        table.push_str(&format!("| {name} | {} |\n", samples_needed(share)));
    }
    table
}

/// A number of the code: its file, its name, its value, and what its documentation says.
struct Constant {
    file: String,
    name: String,
    value: String,
    doc: String,
}

/// The constants of a source file that are numbers or durations, tests left out.
fn constants(path: &Path) -> Vec<Constant> {
    let text = fs::read_to_string(path).expect("it is there");
    let text = text
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    let mut found = Vec::new();
    let mut doc: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(said) = line.strip_prefix("/// ") {
            doc.push(said);
            continue;
        }
        let visible = [
            "pub(super) const ",
            "pub(crate) const ",
            "pub const ",
            "const ",
        ];
        let rest = visible.iter().find_map(|start| line.strip_prefix(start));
        let parts = rest.and_then(|rest| rest.strip_suffix(';')?.split_once(": "));
        if let Some((name, (of, value))) =
            parts.and_then(|(name, rest)| Some((name, rest.split_once(" = ")?)))
            && ["u64", "i64", "usize", "f64", "Duration"].contains(&of)
        {
            found.push(Constant {
                file: path
                    .file_name()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned(),
                name: name.to_owned(),
                value: readable(value),
                doc: without_code_links(&doc.join(" ")),
            });
            // Two that stand together share what is said of the first.
            continue;
        }
        doc.clear();
    }
    found
}

/// `Duration::from_millis(100)` as people write it.
fn readable(value: &str) -> String {
    for (start, unit) in [
        ("Duration::from_millis(", "ms"),
        ("Duration::from_secs(", "s"),
    ] {
        if let Some(number) = value.strip_prefix(start) {
            return format!("{} {unit}", number.trim_end_matches(')'));
        }
    }
    value.replace('_', "")
}

fn numbers(folders: &[&str], more: &[&str], least: usize) -> String {
    let of_tests = ["simulation.rs", "testing.rs", "tests.rs"];
    let mut files: Vec<_> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(repository().join(folder)).expect("it is there"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .filter(|path| !of_tests.iter().any(|name| path.ends_with(name)))
        .chain(more.iter().map(|path| repository().join(path)))
        .collect();
    files.sort();
    let constants: Vec<Constant> = files.iter().flat_map(|path| constants(path)).collect();
    assert!(constants.len() > least, "{}", constants.len());
    let mut table = "| of | number | value | what it is |\n|---|---|---|---|\n".to_owned();
    for one in constants {
        // What refers to another constant is that one's number.
        if one.value.starts_with(|c: char| c.is_ascii_digit()) {
            let of = one.file.trim_end_matches(".rs").replace('_', "-");
            table.push_str(&format!(
                "| {of} | `{}` | {} | {} |\n",
                one.name,
                one.value,
                one.doc.replace('|', "\\|")
            ));
        }
    }
    table
}

#[test]
fn the_page_of_verdicts_is_in_step() {
    let page = source(VERDICTS);
    let rules = paragraphs("src/expectation/judge.rs", "| doubt |", None);
    let page = with_part(&page, "src/expectation/judge.rs", &rules);
    let good = paragraphs(
        "src/history/steady.rs",
        "A second is good",
        Some("[`Steady`] is fed"),
    );
    let page = with_part(&page, "src/history/steady.rs", &good);
    let page = with_part(&page, "samples_needed", &samples());
    let page = with_part(
        &page,
        "the constants of src/expectation and src/policy",
        &numbers(
            &["src/expectation", "src/policy"],
            &["src/history/backlog.rs"],
            20,
        ),
    );
    in_step(VERDICTS, &page);
}

const COMPARISONS: &str = "docs/explanation/comparisons.md";

#[test]
fn the_page_of_comparisons_is_in_step() {
    let page = source(COMPARISONS);
    let made = numbers(
        &["src/report/diff"],
        &["src/report/clumps.rs", "src/report/spread.rs"],
        8,
    );
    let page = with_part(&page, "the constants of src/report/diff", &made);
    in_step(COMPARISONS, &page);
    let (by_hand, _) = page.split_once("<!-- made from").expect("a made part");
    let named = by_hand.split('`').skip(1).step_by(2);
    let constants: Vec<&str> = named
        .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .collect();
    assert!(constants.len() >= 7, "{constants:?}");
    for name in constants {
        assert!(made.contains(&format!("`{name}`")), "no constant is {name}");
    }
}

/// Every exit status of a comparison has its row.
#[test]
fn the_page_of_comparisons_has_every_exit_status() {
    let page = source(COMPARISONS);
    for exit in [Exit::Pass, Exit::Fail, Exit::Inconclusive] {
        let row = format!("\n| {} | ", exit.code());
        assert!(page.contains(&row), "{row}");
    }
}

/// What is written by hand has no number that nobody holds against the code.
#[test]
fn the_page_of_verdicts_has_no_number_of_its_own() {
    let page = source(VERDICTS);
    let (page, _sources) = page.split_once("## Sources").expect("sources");
    let mut by_hand = String::new();
    let mut made = false;
    for line in page.lines() {
        made |= line.starts_with("<!-- made from");
        if !made {
            by_hand.push_str(line);
            by_hand.push('\n');
        }
        made &= !line.starts_with("<!-- end");
    }
    let known = [
        format!("its exit status is {}", Exit::Inconclusive.code()),
        // The formulas, whose symbols are explained beside them.
        "1 / (1 − s)".to_owned(),
        "(1 − 1 / nᵢ)".to_owned(),
        "(with n − 1)".to_owned(),
        "√(2n) · √(1 + 2V²)".to_owned(),
        "p = 1 − e⁻ᵃ".to_owned(),
        "C(n − 1, j) · pʲ · (1 − p)ⁿ⁻¹⁻ʲ".to_owned(),
        "to n − 1".to_owned(),
    ];
    for fragment in known {
        assert!(by_hand.contains(&fragment), "{fragment}");
        by_hand = by_hand.replace(&fragment, "");
    }
    let left: Vec<&str> = by_hand
        .lines()
        .filter(|line| line.contains(|c: char| c.is_ascii_digit()))
        .collect();
    assert!(left.is_empty(), "{left:#?}");
}

/// The rules are quoted from the code's own documentation, which says them in words: those words are
/// held against the constants.
#[test]
fn the_rules_in_words_say_what_the_code_does() {
    let page = source(VERDICTS).replace('\n', " ");
    let number = |file: &str, name: &str| {
        let constants = constants(&repository().join(file));
        let found = constants.into_iter().find(|one| one.name == name);
        found
            .unwrap_or_else(|| panic!("{file} has no {name}"))
            .value
    };
    let judge = |name: &str| number("src/expectation/judge.rs", name);
    let percent = |share: &str| {
        let share: f64 = share.parse().expect("a share");
        format!("{:.0} %", share * 100.0)
    };
    let word = |number: &str| match number {
        "2" => "two",
        "3" => "three",
        other => panic!("{other} has no word here"),
    };
    let few = judge("MISSED_FEW");
    let missed = percent(&judge("MISSED_SHARE_MAX"));
    let answered = percent(&judge("STEADY_ANSWERED_MIN"));
    let degraded = percent(&judge("STEADY_DEGRADED_MAX"));
    assert_eq!(judge("DEGRADED_FEW"), "2");
    let least = number("src/policy/samples.rs", "SAMPLES_MIN");
    let hanging = number("src/history/view.rs", "HANGING_MIN");
    assert_eq!(hanging, "1 s");
    let good = Criteria::STEADY;
    let points = good.degraded_above.expect("a bound") * 100.0;
    assert_eq!(good.latency_factor, Some(2.0));
    assert!(source("src/history/steady.rs").contains("LATENCY_SLACK_MICROS: f64 = 100_000.0;"));
    for words in [
        format!(
            "by more than {missed} of its operations, and more than {}",
            word(&few)
        ),
        format!("at least {answered} of them were answered, at most {degraded} of them (or two,"),
        format!(
            "by a fallback, and at most {missed} (or {}) missed",
            word(&few)
        ),
        format!("fewer than {} accepted operations", word(&least)),
        "it is already older than a second".to_owned(),
        format!("at least {:.0} % were answered;", good.answered * 100.0),
        format!("is at most {points:.0} points above the baseline's"),
        "at most twice the baseline's p99, or 100 ms above it".to_owned(),
    ] {
        assert!(page.contains(&words), "{words}");
    }
}
