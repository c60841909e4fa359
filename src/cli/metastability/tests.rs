//! What would prove that every run is what was asked: the scenarios are valid and say what happens,
//! and what cannot be asked is refused before anything is started.

use super::*;
use crate::{
    cli::args::{Cli, Command},
    fault::FaultId,
    metastability::Tally,
};
use clap::Parser;

const SYSTEM: &str = r#"[system]
command = ["./shop", "--port", "{port.app}"]
url     = "http://127.0.0.1:{port.app}"
env     = { PRICES_URL = "{dependency.prices.url}", STORE_URL = "{dependency.store.url}" }

[dependency.prices]
protocol = "http"
role     = "price-list"
upstream = "embedded:sink"

[dependency.store]
protocol = "s3"
upstream = "127.0.0.1:9000"

[load.ask]
rate    = "20/s"
request = { path = "/ask" }
timeout = "1s"
"#;

fn plan(options: &[&str]) -> Result<Plan, Failure> {
    plan_of(SYSTEM, options)
}

fn plan_of(system: &str, options: &[&str]) -> Result<Plan, Failure> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("brownout.toml");
    fs::write(&file, system).unwrap();
    let file = file.display().to_string();
    let typed = ["brownout", "metastability", &file, "--seed", "7"];
    let typed = typed.iter().chain(options).copied();
    let Command::Metastability(args) = Cli::try_parse_from(typed).unwrap().command else {
        panic!("another command");
    };
    Plan::new(&args)
}

const OWN: &str = "servers = 1, service = \"25ms\"";

#[test]
fn a_run_is_a_scenario_that_says_what_happens() {
    let plan = plan(&[
        "--on",
        "price-list",
        "--trigger",
        "hang",
        "--between",
        "100ms..20s",
        "--capacity",
        OWN,
    ])
    .unwrap();
    let written = plan.scenario(Setting {
        size: 1.5,
        factor: 2.0,
    });
    let text = written.text.replace(&*plan.system.name, "brownout.toml");
    insta::assert_snapshot!(text);
    let asked = plan.asked(&written);
    assert_eq!(asked.trigger, Some(FaultId(1)));
    assert_eq!(asked.capacity, [FaultId(3)]);
    assert_eq!(plan.watch.as_secs(), 10);
}

#[test]
fn every_trigger_makes_valid_scenarios() {
    for (options, said) in [
        (&["--trigger", "error", "--between", "1s..9s"][..], "error"),
        (
            &[
                "--trigger",
                "error",
                "--for",
                "5s",
                "--between",
                "10%..100%",
            ],
            "error for 5s",
        ),
        (
            &[
                "--trigger",
                "capacity",
                "--between",
                "1s..9s",
                "--capacity",
                OWN,
            ],
            "99% less capacity",
        ),
        (
            &[
                "--trigger",
                "load",
                "--for",
                "5s",
                "--between",
                "2x..9x",
                "--capacity",
                OWN,
            ],
            "load for 5s",
        ),
        (
            &["--trigger", "hang", "--depth", "50%", "--between", "1s..9s"],
            "hang of 50%",
        ),
    ] {
        for on in ["prices", "store"] {
            let plan = plan(&[&["--on", on], options].concat()).unwrap();
            assert_eq!(plan.trigger().what, said);
        }
    }
}

/// A search of a hang of one to nine seconds, and more.
fn hang(more: &[&str]) -> Result<Plan, Failure> {
    let usual = ["--on", "prices", "--trigger", "hang", "--between", "1s..9s"];
    plan(&[&usual, more].concat())
}

#[test]
fn what_cannot_be_asked_is_refused_before_anything_is_started() {
    for (options, said) in [
        (
            "--on price --trigger hang --between 1s..9s",
            "no dependency `price`",
        ),
        (
            "--on prices --trigger hang --between 9s..1s",
            "does not rise",
        ),
        (
            "--on prices --trigger hang --between 1s..9x",
            "neither times",
        ),
        (
            "--on prices --trigger hang --between 10%..90%",
            "Add `--for TIME`",
        ),
        (
            "--on prices --trigger load --between 1s..9s",
            "add `--capacity`",
        ),
    ] {
        let options: Vec<&str> = options.split(' ').collect();
        let failure = plan(&options).expect_err(said);
        assert!(failure.message().contains(said), "{failure:?}");
    }
    for (more, said) in [
        (["--require", "20s"], "not within"),
        (["--require", "20%"], "not of the unit"),
        (["--load", "asks"], "no load `asks`"),
        // What is wrong in the keys is shown as a problem of a file is.
        (["--capacity", "servers = 0"], ""),
    ] {
        let failure = hang(&more).expect_err(said);
        assert!(failure.message().contains(said), "{failure:?}");
    }
}

#[test]
fn it_is_watched_ten_times_as_long_as_load_or_client_wait() {
    let watched = |policy: &str, more: &[&str]| {
        let system = format!("{SYSTEM}\n[dependency.prices.policy]\n{policy}\n");
        let usual = ["--on", "prices", "--trigger", "hang", "--between", "1s..9s"];
        let plan = plan_of(&system, &[&usual, more].concat()).unwrap();
        (plan.watch.as_secs(), plan.watch_because)
    };
    let of_load = "ten times the load's time-out";
    let of_client = "ten times what is declared of a failing call: time-out times attempts";
    // The load waits for a second.
    assert_eq!(watched("timeout = \"500ms\"", &[]), (10, of_load));
    let tried = "timeout = \"500ms\"\nattempts = 4";
    assert_eq!(watched(tried, &[]), (20, of_client));
    let whole = format!("{tried}\ngives_up_within = \"3s\"");
    assert_eq!(watched(&whole, &[]), (30, of_client));
    assert_eq!(watched("attempts = 4", &[]), (10, of_load));
    assert_eq!(watched(tried, &["--watch", "7s"]), (7, "--watch"));
    // For no longer than an hour, unless somebody says so.
    let hour = watched("timeout = \"90s\"\nattempts = 4", &[]);
    assert_eq!(hour, (3_600, of_client));
    let longer = "timeout = \"90s\"\nattempts = 5";
    let capped =
        "the longest without `--watch`: less than ten times what is declared of a failing call";
    assert_eq!(watched(longer, &[]), (3_600, capped));
    let endless = "timeout = \"1h\"\nattempts = 1000000";
    assert_eq!(watched(endless, &[]), (3_600, capped));
    assert_eq!(watched(longer, &["--watch", "75m"]), (4_500, "--watch"));
}

fn search(boundary: Boundary, points: Vec<Point>) -> SearchReport {
    SearchReport {
        varied: Varied::Duration,
        points,
        boundary,
        shown: String::new(),
        ended: Ended::Complete,
        monotone: true,
        steep: None,
    }
}

fn point(size: f64, recovered: u64, wedged: u64, unmeasured: u64) -> Point {
    let mut point = Point::of(size, String::new(), Vec::new());
    point.tally = Tally {
        recovered,
        wedged,
        unmeasured,
    };
    point.side = point.tally.side();
    point
}

#[test]
fn the_exit_status_says_whether_it_was_measured_and_whether_what_was_required_held() {
    let plan = hang(&["--require", "3s"]).unwrap();
    let between = Boundary::Between {
        low: 3.0,
        high: 4.0,
        confidence: 0.97,
    };
    let well = vec![
        point(1.0, 5, 0, 0),
        point(3.0, 5, 0, 0),
        point(4.0, 0, 5, 0),
    ];
    // One run in five that wedges is one too many.
    let flaky = vec![
        point(1.0, 5, 0, 0),
        point(3.0, 4, 1, 0),
        point(4.0, 0, 5, 0),
    ];
    let unknown = vec![point(3.0, 0, 0, 5)];
    // Four that come back are too few to be sure, and of one nothing is told.
    let four = vec![
        point(1.0, 5, 0, 0),
        point(3.0, 4, 0, 1),
        point(4.0, 0, 5, 0),
    ];
    let one = vec![point(3.0, 1, 0, 4)];
    for (boundary, points, held, status) in [
        (between, well, Some(true), Exit::Pass),
        (between, flaky, Some(false), Exit::Fail),
        (Boundary::Unknown, unknown, None, Exit::Inconclusive),
        (between, four, None, Exit::Inconclusive),
        (Boundary::Unknown, one, None, Exit::Inconclusive),
    ] {
        let search = search(boundary, points);
        let require = required(&plan, 3.0, &search);
        assert_eq!(require.held, held, "{require:?}");
        let told = search.points.iter().find(|point| point.size == 3.0);
        let told = told.map_or(0, |point| point.tally.told());
        let few = held.is_none() && told > 0;
        assert_eq!(require.why.contains("5 are needed"), few, "{require:?}");
        let mut report = MetastabilityReport {
            version: METASTABILITY_VERSION,
            brownout: String::new(),
            began: String::new(),
            seed: 1,
            system: String::new(),
            dependency: String::new(),
            load: String::new(),
            rate: 1.0,
            trigger: plan.trigger(),
            capacity: None,
            watch_us: 1,
            watch_because: String::new(),
            repeats: 5,
            search,
            hidden_capacity: None,
            require: Some(require),
        };
        assert_eq!(exit(&report, false), status);
        report.require = None;
        let measured = if boundary == Boundary::Unknown {
            Exit::Inconclusive
        } else {
            Exit::Pass
        };
        assert_eq!(exit(&report, false), measured);
        report.search.ended = Ended::Interrupted;
        assert_eq!(exit(&report, false), Exit::Interrupted);
    }
}

#[test]
fn a_load_that_is_ill_without_a_trigger_is_too_much_and_a_missed_schedule_is_not() {
    use crate::{
        history::{
            Outcome::{Failed, Ok},
            sample::{Story, attempt},
        },
        metastability::Asked,
    };
    let asked = Asked {
        load: "ask",
        rate: 20.0,
        dependency: "s3",
        phases: [0, 1, 2],
        patience: std::time::Duration::from_secs(5),
        capacity: &[],
        trigger: Some(FaultId(0)),
    };
    let story = |before| {
        let story =
            Story::new()
                .load("ask", 0..10, 20, before, 20)
                .load("ask", 10..60, 20, Failed, 20);
        story.attempts((0..60).map(|second| attempt("s3", second * 1_000, second * 1_000 + 10)))
    };
    let probe = |story: &Story| {
        let mut probe = measure(&story.history(), &asked, String::new(), 1);
        too_much(&mut probe);
        probe
    };
    let ill = probe(&story(Failed));
    assert_eq!(ill.end, ProbeEnd::Wedged, "{ill:?}");
    assert!(ill.note.unwrap().contains("the load alone is too much"));
    for before in [Failed, Ok] {
        let busy = probe(&story(before).missed(5, "ask", 900));
        assert_eq!(busy.end, ProbeEnd::Unmeasured, "{busy:?}");
        assert!(busy.note.unwrap().contains("missed its schedule"));
    }
}

#[test]
fn no_load_is_tried_that_is_too_small_to_be_told() {
    let low = |more: &[&str]| {
        let options = [
            "--on",
            "prices",
            "--trigger",
            "hang",
            "--between",
            "1s..9s",
            "--reference",
            "2s",
        ];
        let plan = plan(&[&options[..], more].concat()).unwrap();
        let settings = plan.load_search(2.0).settings;
        assert!(settings.low <= settings.high);
        settings.low
    };
    assert_eq!(low(&["--baseline", "30s", "--watch", "30s"]), 2.0);
    let short = low(&["--baseline", "30s", "--watch", "2s"]);
    assert!((2.0..2.2).contains(&short), "{short}");
    let short = low(&["--baseline", "2s", "--watch", "30s"]);
    assert!((5.3..5.4).contains(&short), "{short}");
}

#[cfg(unix)]
#[test]
fn other_runs_go_on_while_a_history_is_read() {
    use std::{process::Command, sync::mpsc, thread};
    let folder = tempfile::tempdir().unwrap();
    // Who reads it waits until somebody writes.
    let history = folder.path().join(HISTORY);
    let made = Command::new("mkfifo").arg(&history).status().unwrap();
    assert!(made.success());
    let (other, told) = mpsc::channel();
    let written = history.clone();
    let writer = thread::spawn(move || {
        let went_on = told
            .recv_timeout(std::time::Duration::from_secs(20))
            .is_ok();
        fs::write(written, "no history\n").unwrap();
        went_on
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let measured = measured(history, |_| panic!("there is nothing to measure"));
    let (measured, ()) =
        runtime.block_on(async { tokio::join!(measured, async { other.send(()).unwrap() }) });
    assert!(measured.is_err());
    assert!(writer.join().unwrap(), "the other run had to wait");
}
