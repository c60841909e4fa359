//! The command line as its users meet it: what goes to which output, and the exit statuses that
//! builds rely on. Nothing here starts a system but the two tests that say so.

mod signals;

use assert_cmd::Command;
use brownout::history::{Observation, Outcome, sample};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
};

/// What a command said, for snapshots.
struct Said {
    status: i32,
    out: String,
    err: String,
}

/// Runs the binary in a folder, without colours and as wide as a pipe.
fn brownout(folder: &Path, args: &[&str]) -> Said {
    let output = Command::cargo_bin("brownout")
        .expect("the binary is built with the tests")
        .current_dir(folder)
        .env_remove("RUST_BACKTRACE")
        .args(args)
        .timeout(std::time::Duration::from_secs(60))
        .output()
        .expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it speaks UTF-8");
    Said {
        status: output.status.code().expect("it exits by itself"),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

/// The folder with the sample files.
fn samples() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli"))
}

fn sample_text(name: &str) -> String {
    fs::read_to_string(samples().join(name)).expect("the sample is there")
}

#[test]
fn help_shows_every_command_and_examples() {
    let help = brownout(samples(), &["--help"]);
    assert_eq!(help.status, 0);
    insta::assert_snapshot!("help", help.out);
    for command in [
        "run",
        "check",
        "plan",
        "judge",
        "diff",
        "report",
        "selftest",
        "list",
        "schema",
        "serve",
        "ctl",
        "completions",
        "man",
    ] {
        assert!(help.out.contains(&format!("\n  {command} ")), "{command}");
        let help = brownout(samples(), &[command, "--help"]);
        assert_eq!(help.status, 0);
        assert!(help.out.contains("Examples:\n  brownout "), "{}", help.out);
    }
    assert!(!help.out.contains("guard") && !help.out.contains("reference"));
}

#[test]
fn wrong_arguments_end_with_64() {
    for args in [
        &["rum"][..],
        &[],
        &["run"],
        &["run", "good.toml", "--speed", "0x"],
        &["run", "good.toml", "--quiet", "--verbose"],
        &["run", "good.toml", "--jobs", "0"],
        &["list", "everything"],
    ] {
        let said = brownout(samples(), args);
        assert_eq!(said.status, 64, "{args:?}: {}", said.err);
        assert_eq!(said.out, "", "{args:?}");
    }
}

#[test]
fn a_folder_without_scenarios_is_an_error_and_never_green() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("systems")).unwrap();
    fs::write(folder.path().join("systems/s.toml"), "").unwrap();
    for command in ["run", "check", "plan"] {
        let said = brownout(folder.path(), &[command, "."]);
        assert_eq!(said.status, 64, "{command}");
        insta::assert_snapshot!("folder_without_scenarios", said.err);
    }
    assert!(!folder.path().join("brownout-report").exists());
}

#[test]
fn a_path_to_nothing_is_an_error() {
    for command in ["run", "check", "plan", "judge"] {
        let said = brownout(samples(), &[command, "missing.toml"]);
        assert_eq!(said.status, 64, "{command}");
        assert!(said.err.starts_with("error: "), "{}", said.err);
        assert!(said.err.contains("missing.toml"), "{}", said.err);
        assert!(said.err.contains("no such file"), "{}", said.err);
    }
}

#[test]
fn good_files_are_said_to_be_good() {
    let said = brownout(samples(), &["check", "good.toml", "system.toml"]);
    assert_eq!(said.status, 0, "{}", said.err);
    insta::assert_snapshot!("check_good", said.out);
}

#[test]
fn all_problems_are_shown_at_once() {
    let said = brownout(samples(), &["check", "bad.toml", "good.toml"]);
    assert_eq!(said.status, 64);
    insta::assert_snapshot!("check_bad", said.err);
    // What is good is still said to be.
    assert!(said.out.starts_with("good.toml: ok"), "{}", said.out);
}

#[test]
fn nothing_is_started_or_written_while_there_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["bad.toml", "system.toml"] {
        fs::write(folder.path().join(name), sample_text(name)).unwrap();
    }
    let said = brownout(folder.path(), &["run", "bad.toml"]);
    assert_eq!(said.status, 64);
    assert!(!folder.path().join("brownout-report").exists());
}

#[test]
fn a_plan_says_what_happens_when() {
    let said = brownout(samples(), &["plan", "good.toml", "--speed", "2x"]);
    assert_eq!(said.status, 0, "{}", said.err);
    insta::assert_snapshot!("plan", said.out);
}

#[test]
fn listings_have_an_example_each_and_all_keys_of_one() {
    let protocols = brownout(samples(), &["list", "protocols"]);
    assert!(protocols.out.contains("[dependency."), "{}", protocols.out);
    let faults = brownout(samples(), &["list", "faults"]);
    assert!(faults.out.contains("kind = \"hang\""), "{}", faults.out);
    let one = brownout(samples(), &["list", "expectations", "success-rate"]);
    assert_eq!(one.status, 0);
    insta::assert_snapshot!("list_one", one.out);
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest_one() {
    let said = brownout(samples(), &["list", "faults", "latancy"]);
    assert_eq!(said.status, 64);
    assert_eq!(
        said.err,
        "error: unknown fault `latancy`\nhint: did you mean `latency`? `brownout list faults` \
         shows all\n"
    );
}

#[test]
fn schemas_are_json_schemas_of_one_file_or_of_all() {
    let json = |args: &[&str]| -> serde_json::Value {
        let said = brownout(samples(), args);
        assert_eq!(said.status, 0);
        serde_json::from_str(&said.out).expect("it is JSON")
    };
    let scenario = json(&["schema", "scenario"]);
    assert!(scenario["properties"]["phase"].is_object(), "{scenario}");
    let system = json(&["schema", "system"]);
    assert!(system["properties"]["dependency"].is_object(), "{system}");
    let both = json(&["schema"]);
    assert_eq!((&both["scenario"], &both["system"]), (&scenario, &system));
    for written in ["report", "matrix", "metastability"] {
        let schema = json(&["schema", written]);
        assert_eq!(both[written], schema);
        assert_eq!(schema["type"], "object", "{schema}");
    }
    let history = json(&["schema", "history"]);
    assert_eq!(both["history"], history);
    assert!(history["oneOf"].is_array(), "{history}");
}

/// Writes a history of the sample story into a folder, with the sample files in its header.
fn record(folder: &Path, story: &sample::Story) {
    record_with(folder, story, &sample_text("good.toml"));
}

/// The same of a scenario with this text.
fn record_with(folder: &Path, story: &sample::Story, scenario: &str) {
    let mut observations = story.observations();
    if let Some(Observation::Run(run)) = observations.first_mut() {
        run.scenario = ("good.toml".to_owned(), scenario.to_owned());
        run.system = ("system.toml".to_owned(), sample_text("system.toml"));
    }
    let lines: Vec<String> = observations
        .iter()
        .map(|entry| serde_json::to_string(entry).unwrap() + "\n")
        .collect();
    fs::write(folder.join("history.jsonl"), lines.concat()).unwrap();
}

/// The story with `ask` ending so during the outage.
fn outage(outcome: Outcome) -> sample::Story {
    sample::Story::new()
        .healthy(0..10)
        .load("ask", 10..30, 20, outcome, 20)
        .load("train", 10..30, 20, Outcome::Ok, 20)
        .healthy(30..60)
}

#[test]
fn a_history_is_judged_again_with_the_status_of_its_verdicts() {
    let folder = tempfile::tempdir().unwrap();
    for (name, story, status) in [
        ("judge_pass", outage(Outcome::Ok), 0),
        ("judge_fail", outage(Outcome::Failed), 1),
        ("judge_inconclusive", outage(Outcome::Ok).hits(0), 2),
    ] {
        record(folder.path(), &story);
        let said = brownout(folder.path(), &["judge", "history.jsonl"]);
        assert_eq!(said.status, status, "{}{}", said.out, said.err);
        insta::assert_snapshot!(name, said.out);
    }
}

#[test]
fn a_run_that_was_killed_is_judged_as_far_as_it_went_and_is_no_pass() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), &outage(Outcome::Ok).ends(25, None));
    let said = brownout(folder.path(), &["judge", "history.jsonl"]);
    assert_eq!(said.status, 2, "{}", said.out);
    assert!(said.out.contains("broke off"), "{}", said.out);
}

#[test]
fn judging_writes_reports_where_it_is_told_to_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), &outage(Outcome::Failed));
    brownout(folder.path(), &["judge", "history.jsonl"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let args = ["judge", "history.jsonl", "--out", "judged"];
    assert_eq!(brownout(folder.path(), &args).status, 1);
    let out = folder.path().join("judged");
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["scenarios"][0]["verdicts"][0]["status"], "fail");
    let junit = fs::read_to_string(out.join("junit.xml")).unwrap();
    assert!(junit.contains("<failure "), "{junit}");
}

#[test]
fn another_scenario_brings_other_thresholds_to_the_same_history() {
    let folder = tempfile::tempdir().unwrap();
    let half = outage(Outcome::Failed).load("ask", 10..30, 20, Outcome::Ok, 20);
    record(folder.path(), &half);
    let said = brownout(folder.path(), &["judge", "history.jsonl"]);
    assert_eq!(said.status, 1, "{}{}", said.out, said.err);
    let lenient = sample_text("good.toml").replace("\"99%\"", "\"40%\"");
    fs::write(folder.path().join("lenient.toml"), lenient).unwrap();
    let args = ["judge", "history.jsonl", "--scenario", "lenient.toml"];
    let said = brownout(folder.path(), &args);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
}

#[test]
fn a_scenario_without_the_historys_faults_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut story = outage(Outcome::Ok);
    story.observations.push(Observation::Armed {
        at: brownout::units::Micros::from_secs(11),
        fault: brownout::fault::FaultId(7),
    });
    record(folder.path(), &story);
    let said = brownout(folder.path(), &["judge", "history.jsonl"]);
    assert_eq!(said.status, 64, "{}{}", said.out, said.err);
    assert!(said.err.contains("other phases or faults"), "{}", said.err);
}

/// What makes another outage of the sample scenario.
const OTHERS: [(&str, &str); 10] = [
    ("name     = \"outage\"", "name     = \"downtime\""),
    ("kind = \"hang\"", "kind = \"no-accept\""),
    ("on   = \"object-store\"", "on   = \"s3\""),
    // What was not injected, to so many, and what was not counted.
    (HANG, "on   = \"object-store\"\n  share = \"5%\""),
    (HANG, "on   = \"object-store\"\n  min_hits = 0"),
    (
        HANG,
        "on   = \"object-store\"\n  when = { operation = \"PutObject\" }",
    ),
    (
        HANG,
        "on   = \"object-store\"\n  when = { header = { x-tenant = \"bank\" } }",
    ),
    // Phases that were not as long, or not under this load.
    ("lasts    = \"20s\"", "lasts    = \"21s\""),
    ("until steady, at most 30s", "30s"),
    (
        "lasts    = \"20s\"",
        "lasts    = \"20s\"\nload     = { ask = \"3x\" }",
    ),
];

/// The sample scenario's fault, where more is said of it.
const HANG: &str = "on   = \"object-store\"";

#[test]
fn another_scenario_must_have_the_recorded_phases_and_faults() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), &outage(Outcome::Ok));
    let args = ["judge", "history.jsonl", "--scenario", "other.toml"];
    let good = sample_text("good.toml");
    for (from, to) in OTHERS {
        let other = good.replacen(from, to, 1);
        let other = other.replace("during   = \"outage\"\n", "");
        assert_ne!(other, good, "{from}");
        fs::write(folder.path().join("other.toml"), other).unwrap();
        let said = brownout(folder.path(), &args);
        assert_eq!(said.status, 64, "{to}: {}{}", said.out, said.err);
        assert!(said.err.contains("was recorded"), "{}", said.err);
    }
}

#[test]
fn a_scenario_that_only_asks_for_life_is_in_doubt_where_its_fault_never_acted() {
    let folder = tempfile::tempdir().unwrap();
    let good = sample_text("good.toml");
    let until = good.find("[[expect]]").expect("expectations");
    let alive = "[[expect]]\nid = \"LIVES\"\nthat = \"it lives\"\nkind = \"alive\"\n";
    let text = format!("{}{alive}", &good[..until]);
    for (hits, status) in [(0, 2), (10, 0)] {
        let story = outage(Outcome::Ok).hits(hits);
        let story = story.process(0, "main", "started", true);
        record_with(folder.path(), &story, &text);
        let args = ["judge", "history.jsonl", "--out", "judged"];
        let said = brownout(folder.path(), &args);
        assert_eq!(said.status, status, "{}{}", said.out, said.err);
        let doubt = said.out.contains("in doubt: `");
        assert_eq!(doubt, status == 2, "{}", said.out);
        let out = |name| fs::read_to_string(folder.path().join("judged").join(name)).unwrap();
        assert_eq!(out("junit.xml").contains("faults acted"), status == 2);
        assert_eq!(out("report.json").contains("\"doubts\""), status == 2);
    }
}

#[test]
fn what_is_no_history_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("history.jsonl"), "hello\n").unwrap();
    let said = brownout(folder.path(), &["judge", "history.jsonl"]);
    assert_eq!(said.status, 64);
    assert!(said.err.contains("history.jsonl:1"), "{}", said.err);
}

#[test]
fn an_output_folder_that_cannot_be_made_is_said_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["good.toml", "system.toml"] {
        fs::write(folder.path().join(name), sample_text(name)).unwrap();
    }
    fs::write(folder.path().join("file"), "").unwrap();
    let said = brownout(folder.path(), &["run", "good.toml", "--out", "file/out"]);
    assert_eq!(said.status, 64);
    insta::assert_snapshot!("out_cannot_be_made", said.err);
}

/// A system file whose one program is a shell script, with a dependency that is built in.
fn scripted(folder: &Path, script: &str) {
    let system = sample_text("system.toml")
        .replace(
            "\"./bot\", \"--port\", \"{port.bot}\"",
            &format!("\"sh\", \"-c\", {script:?}"),
        )
        .replace("\"127.0.0.1:9000\"", "\"embedded\"");
    fs::write(folder.join("system.toml"), system).unwrap();
    fs::write(folder.join("good.toml"), sample_text("good.toml")).unwrap();
}

/// Starts a program that exits at once.
#[test]
fn a_system_that_does_not_start_ends_with_69_and_its_last_words() {
    let folder = tempfile::tempdir().unwrap();
    scripted(folder.path(), "echo no S3 here >&2; exit 3");
    let said = brownout(folder.path(), &["run", "good.toml", "--seed", "7"]);
    assert_eq!(said.status, 69, "{}{}", said.out, said.err);
    assert!(said.out.contains("could not start"), "{}", said.out);
    assert!(said.out.contains("\n    no S3 here\n"), "{}", said.out);
    assert!(said.out.contains("brownout run good.toml --seed 7\n"));
    let junit = fs::read_to_string(folder.path().join("brownout-report/junit.xml")).unwrap();
    assert!(
        junit.contains("<error ") && junit.contains("no S3 here"),
        "{junit}"
    );
}

/// Starts programs that exit at once.
#[test]
fn every_scenario_of_a_command_stands_in_its_report() {
    let folder = tempfile::tempdir().unwrap();
    scripted(folder.path(), "exit 3");
    fs::copy(
        folder.path().join("good.toml"),
        folder.path().join("other.toml"),
    )
    .unwrap();
    let args = ["run", "good.toml", "other.toml", "--jobs", "2"];
    let said = brownout(folder.path(), &args);
    assert_eq!(said.status, 69, "{}{}", said.out, said.err);
    assert!(said.out.contains("\n2 scenarios\n"), "{}", said.out);
    let json = fs::read(folder.path().join("brownout-report/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&json).unwrap();
    for (index, file) in ["good.toml", "other.toml"].iter().enumerate() {
        assert_eq!(report["scenarios"][index]["file"], *file);
    }
    assert!(
        folder
            .path()
            .join("brownout-report/other/history.jsonl")
            .exists()
    );
}

/// Starts a program that never becomes ready.
#[test]
fn an_interrupted_run_ends_with_130_and_leaves_its_report() {
    let folder = tempfile::tempdir().unwrap();
    scripted(folder.path(), "exec sleep 600");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_brownout"))
        .current_dir(folder.path())
        .args(["run", "good.toml"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // The line says that signals are listened for; the time limit is the instance's, 20 s.
    let starts = lines.any(|line| line.unwrap().contains("starting the system"));
    assert!(starts, "the run says that it starts");
    signals::interrupt(pid);
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("healing")), "{rest:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("! interrupted"), "{text}");
    assert!(
        folder
            .path()
            .join("brownout-report/report.json")
            .metadata()
            .unwrap()
            .len()
            > 0
    );
}

#[test]
fn quiet_leaves_nothing_but_the_verdicts() {
    let folder = tempfile::tempdir().unwrap();
    scripted(folder.path(), "exit 3");
    let said = brownout(folder.path(), &["run", "good.toml", "--quiet"]);
    assert_eq!(said.status, 69);
    assert_eq!(said.err, "");
}
