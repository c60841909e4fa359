//! What would prove that saved runs can be compared and shown again: two real runs of one system
//! are found alike, a worse one is named, what was written is written again byte for byte, a
//! team's own template sees all of it, and files that are no runs are refused with what to do.

mod harness;

use brownout::history::{
    Observation, Outcome,
    sample::{Story, attempt},
};
use harness::{Bench, Left};
use std::{fs, io::Write, path::Path};

/// The sample outage, in which `ask` ends so.
fn outage(outcome: Outcome) -> Story {
    let mut story = Story::new()
        .healthy(0..10)
        .load("ask", 10..30, 20, outcome, 20)
        .load("train", 10..30, 20, Outcome::Ok, 20)
        .healthy(30..60);
    for call in 0..20u64 {
        let (began, id) = (10_100 + call * 700, format!("call-{call}"));
        let one = attempt("s3", began, began + 3_000).sdk(&id, 1);
        story = story.attempt(one.hit().gave_up());
    }
    story
}

/// The history of a story, with the sample files in it.
fn history(story: &Story) -> String {
    let sample = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
        fs::read_to_string(path.join(name)).expect("the sample is there")
    };
    let mut observations = story.observations();
    for observation in &mut observations {
        if let Observation::Run(run) = observation {
            run.scenario = ("good.toml".to_owned(), sample("good.toml"));
            run.system = ("system.toml".to_owned(), sample("system.toml"));
        }
    }
    let lines = observations.iter().map(|one| {
        let line = serde_json::to_string(one).expect("an observation is JSON");
        line + "\n"
    });
    lines.collect()
}

/// A folder with a run that is good and one that is not, both judged.
fn judged() -> Bench {
    let bench = Bench::new();
    for (name, outcome, exit) in [("good", Outcome::Ok, 0), ("bad", Outcome::Failed, 1)] {
        let folder = bench.path().join(name).join("outage");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("history.jsonl"), history(&outage(outcome))).expect("a history");
        let recorded = format!("{name}/outage/history.jsonl");
        let left = bench.brownout(&["judge", &recorded, "--out", name]);
        left.assert_status(exit);
        fs::write(bench.path().join(name).join("said.txt"), &left.stdout).expect("a file");
    }
    bench
}

#[test]
fn a_worse_run_is_named_and_the_same_run_is_no_change() {
    let bench = judged();
    let same = bench.brownout(&["diff", "good", "good/report.json"]);
    same.assert_status(0);
    assert!(same.stdout.contains("no change found: "), "{}", same.stdout);
    // What was judged is what is judged first.
    let history = bench.brownout(&["diff", "bad/report.json", "bad/outage/history.jsonl"]);
    history.assert_status(0);
    assert!(
        history.stdout.contains("no change found: "),
        "{}",
        history.stdout
    );

    let worse = bench.brownout(&["diff", "good", "bad"]);
    worse.assert_status(1);
    for said in ["✗  ANSWERS", "✗  ask, outage: ok or", "regression: "] {
        assert!(worse.stdout.contains(said), "{said} in {}", worse.stdout);
    }
    let better = bench.brownout(&["diff", "bad", "good"]);
    better.assert_status(0);
    assert!(better.stdout.contains("✓  ANSWERS"), "{}", better.stdout);
}

#[test]
fn packed_histories_are_found_where_plain_ones_are_and_the_plain_one_counts() {
    let bench = judged();
    let pack = |name: &str| {
        let file = bench.path().join(name).join("outage/history.jsonl");
        let bytes = fs::read(&file).expect("a history");
        let packed = fs::File::create(brownout::history::packed(&file)).expect("a file");
        let mut into = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        into.write_all(&bytes).expect("it is packed");
        into.finish().expect("it is whole");
        fs::remove_file(&file).expect("the plain one goes");
        bytes
    };
    let bytes = pack("bad");
    let by_name = bench.brownout(&["diff", "bad", "bad/outage/history.jsonl.gz"]);
    by_name.assert_status(0);
    assert!(
        by_name.stdout.contains("no change found: "),
        "{}",
        by_name.stdout
    );
    // The report's charts come from it.
    let charts = bench.brownout(&["report", "bad", "--out", "charts.html"]);
    charts.assert_status(0);
    assert!(
        !charts.stderr.contains("without its charts"),
        "{}",
        charts.stderr
    );
    // A folder without a report is judged by what was recorded.
    fs::remove_file(bench.path().join("bad/report.json")).expect("the report goes");
    let worse = bench.brownout(&["diff", "good", "bad"]);
    worse.assert_status(1);
    assert!(worse.stdout.contains("✗  ANSWERS"), "{}", worse.stdout);

    // Both, as after a kill between packing one and removing the other.
    fs::write(bench.path().join("bad/outage/history.jsonl"), &bytes).expect("a history");
    fs::write(bench.path().join("bad/outage/history.jsonl.gz"), "").expect("another");
    bench.brownout(&["diff", "good", "bad"]).assert_status(1);
    // And one that is not whole is an error, and no verdict.
    pack("bad");
    let packed = bench.path().join("bad/outage/history.jsonl.gz");
    let whole = fs::read(&packed).expect("it is there");
    fs::write(&packed, &whole[..whole.len() / 2]).expect("it is cut");
    let cut = bench.brownout(&["judge", "bad/outage/history.jsonl.gz"]);
    cut.assert_status(64);
    assert!(cut.stderr.contains("cut short"), "{}", cut.stderr);
}

#[test]
fn a_comparison_is_written_as_the_file_is_called() {
    let bench = judged();
    for (file, begins) in [
        ("d.html", "<!DOCTYPE html>"),
        ("d.md", "# ✗ Outage rehearsals compared"),
        ("d.json", "{\n  \"version\": 1,"),
        ("d.txt", "old  good/report.json: pass"),
    ] {
        let left = bench.brownout(&["diff", "good", "bad", "--out", file]);
        left.assert_status(1);
        assert_eq!(left.stdout, "", "{file}");
        let text = fs::read_to_string(bench.path().join(file)).expect("it was written");
        assert!(text.starts_with(begins), "{file}: {text}");
        assert!(!text.contains('\u{1b}'), "{file} has colours");
    }
    let page = fs::read_to_string(bench.path().join("d.html")).expect("the page");
    for text in ["<script", "src=", "url(http", "@import"] {
        assert!(!page.contains(text), "{text}");
    }
    let unclear = bench.brownout(&["diff", "good", "bad", "--out", "d.pdf"]);
    unclear.assert_status(64);
    assert!(unclear.stderr.contains("--format"), "{}", unclear.stderr);
    let said = bench.brownout(&["diff", "good", "bad", "--format", "markdown"]);
    let file = fs::read_to_string(bench.path().join("d.md")).expect("the file");
    assert_eq!(said.stdout, file);
}

#[test]
fn runs_with_nothing_in_common_are_not_green() {
    let bench = judged();
    let report = fs::read_to_string(bench.path().join("good/report.json")).expect("a report");
    let renamed = report.replace("good.toml", "renamed.toml");
    let bench = bench.file("renamed.json", &renamed);
    let left = bench.brownout(&["diff", "good", "renamed.json"]);
    left.assert_status(2);
    for said in [
        "only the old run has good.toml",
        "only the new run has renamed.toml",
        "nothing in common",
    ] {
        assert!(left.stdout.contains(said), "{said} in {}", left.stdout);
    }
}

/// A run opens its report before it begins, so that one that is killed leaves it empty.
#[test]
fn a_run_that_was_killed_is_shown_and_compared_by_its_histories() {
    let killed = Story::new().healthy(0..25).ends(25, None);
    let bench = judged();
    for (name, text) in [
        ("killed/report.json", ""),
        ("killed/outage/history.jsonl", &*history(&killed)),
        ("killed/later/history.jsonl", ""),
        ("gone/outage/history.jsonl", &*history(&killed)),
    ] {
        let path = bench.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    for run in ["killed", "killed/report.json", "gone"] {
        let shown = bench.brownout(&["report", run]);
        shown.assert_status(0);
        assert!(shown.stderr.contains("broke off"), "{}", shown.stderr);
        assert!(
            shown.stderr.contains("nothing is judged"),
            "{}",
            shown.stderr
        );
        assert!(shown.stdout.contains("has no end"), "{}", shown.stdout);

        let compared = bench.brownout(&["diff", "bad", run, "--format", "json"]);
        assert!(compared.stderr.contains("broke off"), "{}", compared.stderr);
        assert!(
            compared.stderr.contains("is judged now"),
            "{}",
            compared.stderr
        );
        assert!(compared.stdout.contains("ANSWERS"), "{}", compared.stdout);
    }
    let mut here = bench.command(&["report", "report.json"]);
    let here = here.current_dir(bench.path().join("killed")).output();
    let here = here.expect("it starts");
    assert!(here.status.success(), "{here:?}");
}

#[test]
fn what_is_no_run_is_refused_with_what_to_do() {
    let bench = judged()
        .file("empty.json", "")
        .file("list.json", "[1, 2]")
        .file("other.json", r#"{"version": 1, "name": "left-pad"}"#)
        .file("newer.json", r#"{"version": 99, "anything": true}"#)
        .file("text.json", "Dear Sir or Madam")
        .file("text.jsonl", "Dear Sir or Madam");
    fs::create_dir(bench.path().join("nothing")).expect("a folder");
    for (file, said) in [
        ("missing", "cannot read `missing`: no such file"),
        ("nothing", "cannot read `nothing/report.json`: no such file"),
        ("empty.json", "`empty.json` is empty"),
        ("list.json", "`list.json` is no report of Brownout"),
        ("other.json", "missing field `brownout`"),
        ("newer.json", "`newer.json` is of version 99"),
        ("text.json", "`text.json` is no report of Brownout"),
        ("text.jsonl", "text.jsonl"),
    ] {
        for args in [
            &["diff", "good", file][..],
            &["diff", file, "good"],
            &["report", file],
        ] {
            let left = bench.brownout(args);
            left.assert_status(64);
            assert_eq!(left.stdout, "", "{args:?}");
            assert!(left.stderr.contains(said), "{args:?}: {}", left.stderr);
            assert!(left.stderr.contains("hint: "), "{args:?}: {}", left.stderr);
        }
    }
    for args in [
        &["diff", "good"][..],
        &["diff", "good", "bad", "--noise", "much"],
        &["diff", "good", "bad", "--format", "pdf"],
        &["report"],
        &["report", "good", "--format", "pdf"],
        &["report", "good", "--template", "t", "--format", "json"],
        &["report", "good", "--template", "missing.j2"],
        &["report", "good", "--out", "missing/x.html"],
        &["diff", "good", "good", "--out", "missing/x.html"],
    ] {
        bench.brownout(args).assert_status(64);
    }
}

/// The files of a run, each as `brownout report` writes it again.
fn is_written_again(bench: &Bench, run: &str) {
    for (format, file) in [
        ("json", "report.json"),
        ("junit", "junit.xml"),
        ("markdown", "summary.md"),
        ("html", "report.html"),
    ] {
        let written = fs::read(bench.path().join(run).join(file)).expect("it was written");
        let again = bench.path().join(format!("again-{file}"));
        let out = again.to_str().expect("a path");
        let left = bench.brownout(&["report", run, "--format", format, "--out", out]);
        left.assert_status(0);
        assert_eq!(left.stderr, "", "{file}");
        assert!(
            fs::read(&again).expect("it is there") == written,
            "{file} differs"
        );
        let piped = bench.command(&["report", run, "--format", format]).output();
        assert!(
            piped.expect("it starts").stdout == written,
            "{file} differs in a pipe"
        );
    }
}

#[test]
fn what_was_written_is_written_again_byte_for_byte_wherever_the_run_lies() {
    let bench = judged();
    is_written_again(&bench, "bad");
    let said = fs::read_to_string(bench.path().join("bad/said.txt")).expect("a file");
    assert_eq!(bench.brownout(&["report", "bad"]).stdout, said);
    assert_eq!(bench.brownout(&["report", "bad/report.json"]).stdout, said);
    fs::rename(bench.path().join("bad"), bench.path().join("moved")).expect("it moves");
    is_written_again(&bench, "moved");
}

#[test]
fn without_its_history_a_page_has_no_charts_and_that_is_said() {
    let bench = judged();
    let html = ["report", "bad", "--out", "x.html"];
    let file = bench.path().join("bad/outage/history.jsonl");
    fs::write(&file, history(&outage(Outcome::Ok).ends(20, None))).expect("another history");
    let text = fs::read_to_string(&file).expect("it is there");
    let other = text.replacen("\"seed\":", "\"seed\":1", 1);
    for (history, said) in [
        (Some(other), "is the history of another run"),
        (Some("torn".to_owned()), "a history begins with"),
        (None, "there is no history"),
    ] {
        match history {
            Some(text) => fs::write(&file, text).expect("it is written"),
            None => fs::remove_file(&file).expect("it goes"),
        }
        let left = bench.brownout(&html);
        left.assert_status(0);
        assert!(left.stderr.contains(said), "{said} in {}", left.stderr);
        let page = fs::read_to_string(bench.path().join("x.html")).expect("the page");
        assert!(
            page.contains("ANSWERS") && !page.contains("<figure"),
            "{said}"
        );
    }
}

#[test]
fn histories_alone_are_shown_and_not_judged() {
    let bench = judged();
    fs::remove_file(bench.path().join("bad/report.json")).expect("it goes");
    for run in ["bad", "bad/outage/history.jsonl"] {
        let left = bench.brownout(&["report", run]);
        left.assert_status(0);
        assert!(left.stderr.contains("brownout judge"), "{}", left.stderr);
        assert!(
            left.stdout.contains("nothing was judged"),
            "{}",
            left.stdout
        );
        assert!(left.stdout.contains("acted 10 times"), "{}", left.stdout);
    }
}

fn template(bench: &Bench, arguments: &[&str]) -> Left {
    let args = [&["report", "bad", "--template"][..], arguments].concat();
    bench.brownout(&args)
}

#[test]
fn a_teams_template_is_filled() {
    let bench = judged()
        .file(
            "team.html.j2",
            "<p>{{ scenarios[0].verdicts[0].reason }} & {{ '<' }}</p>",
        )
        .file("team.j2", "{{ '<' }}");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/templates/digest.md.j2");
    let left = template(&bench, &[shipped.to_str().expect("a path")]);
    left.assert_status(0);
    insta::assert_snapshot!("digest", left.stdout);

    let left = template(&bench, &["team.html.j2"]);
    assert!(left.stdout.ends_with(" & &lt;</p>"), "{}", left.stdout);
    assert_eq!(template(&bench, &["team.j2"]).stdout, "<");
    template(&bench, &["team.j2", "--out", "x.xml"]).assert_status(0);
    let out = fs::read_to_string(bench.path().join("x.xml")).expect("it was written");
    assert_eq!(out, "&lt;", "what is written is markup");
}

#[test]
fn the_template_of_the_help_can_be_filled() {
    let bench = judged();
    let help = bench.brownout(&["report", "--help"]).stdout;
    let lines = help
        .lines()
        .skip_while(|line| !line.contains("{{"))
        .take_while(|line| !line.trim().is_empty());
    let text: Vec<&str> = lines
        .map(|line| line.strip_prefix("  ").unwrap_or(line))
        .collect();
    assert!(text.len() > 5, "{help}");
    let bench = bench.file("help.md.j2", &text.join("\n"));
    let left = template(&bench, &["help.md.j2"]);
    left.assert_status(0);
    assert!(left.stdout.contains("fail: 1 scenarios"), "{}", left.stdout);
    assert!(left.stdout.contains("- ANSWERS "), "{}", left.stdout);
}

#[test]
fn a_template_with_a_mistake_is_shown_by_file_and_line() {
    let bench = judged()
        .file("typo.md.j2", "# {{ status }}\n\n{{ scenarios[0].titel }}\n")
        .file(
            "syntax.md.j2",
            "# {{ status }}\n{% for one in scenarios %}\n",
        )
        .file("binary.j2", "x");
    fs::write(bench.path().join("binary.j2"), b"\xff\xfe\x00").expect("it is written");
    let typo = template(&bench, &["typo.md.j2"]);
    typo.assert_status(64);
    insta::assert_snapshot!("template_typo", typo.stderr);
    let syntax = template(&bench, &["syntax.md.j2"]);
    syntax.assert_status(64);
    assert!(syntax.stderr.contains("syntax.md.j2:"), "{}", syntax.stderr);
    let binary = template(&bench, &["binary.j2"]);
    binary.assert_status(64);
    assert!(binary.stderr.contains("is no text"), "{}", binary.stderr);
}

#[cfg(feature = "demo")]
mod real {
    use super::{Bench, is_written_again};
    use crate::harness::{boto3_system, fetches};

    const OUTAGE: &str = r#"title = "the store fails now and then"
system = "system.toml"
hold = "1s"

[[phase]]
name = "steady"
lasts = "4s"
steady = true

[[phase]]
name = "partial"
lasts = "8s"
  [[phase.fault]]
  kind = "error"
  on = "object-store"
  error = "InternalError"
  share = "50%"

[[phase]]
name = "recovery"
lasts = "until steady, at most 30s"

[[expect]]
id = "ALIVE"
that = "the program stays up"
kind = "alive"

[[expect]]
id = "SERVED"
that = "something is served"
kind = "success-rate"
load = "fetch"
at_least = "10%"
"#;

    fn bench() -> Bench {
        let once = r#", CONNECT_TIMEOUT = "1", READ_TIMEOUT = "5", TOTAL_MAX_ATTEMPTS = "1""#;
        Bench::new()
            .file("system.toml", &boto3_system(once, &fetches("10/s", "10s")))
            .file("outage.toml", OUTAGE)
    }

    #[test]
    fn two_real_runs_of_the_same_system_are_no_change() {
        let benches = [bench(), bench()];
        std::thread::scope(|scope| {
            for (bench, seed) in benches.iter().zip(["21", "22"]) {
                scope.spawn(move || {
                    let left = bench.brownout(&["run", "outage.toml", "--seed", seed]);
                    left.assert_status(0);
                });
            }
        });
        let [old, new] = benches.each_ref().map(|bench| {
            let folder = bench.path().join("brownout-report");
            folder.to_str().expect("a path").to_owned()
        });
        let left = benches[0].brownout(&["diff", &old, &new]);
        left.assert_status(0);
        assert!(left.stdout.contains("no change found: "), "{}", left.stdout);
        assert!(
            left.stdout.contains("other seeds (21 and 22)"),
            "{}",
            left.stdout
        );
        // It could have told: most of the load's measures were tested.
        let json = benches[0].brownout(&["diff", &old, &new, "--format", "json"]);
        let diff: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
        assert!(diff["tested"].as_u64() >= Some(8), "{}", json.stdout);
        is_written_again(&benches[0], "brownout-report");
    }
}
