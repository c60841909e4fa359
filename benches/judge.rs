//! Judging a million observations: the goal is under a second.
//!
//! Timed apart: indexing observations that are in memory, judging the index by ten expectations, the
//! report of it, its page, the windows of it that everything was steady in, and reading and indexing the
//! same history from JSON Lines. `docs/performance.md` has the figures.

use brownout::{
    expectation::{Names, find, judge},
    fault::FaultId,
    history::{
        Criteria, History, Observation, Outcome, Steady, Window, Writer,
        sample::{self, Story, attempt},
    },
    input::{Fields, Key, Problems, Shape, Source},
    protocol::Protocol,
    report::{Material, REPORTS, SuiteReport, build},
    scenario::{Expect, Scenario},
    units::Micros,
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::{hint::black_box, path::Path};
use toml::de::DeTable;

/// Operations a second of each of the two loads, over 60 s: 720 000 operations in all.
const PER_SECOND: u64 = 6_000;

/// Calls to the store, two attempts each: 300 000 attempts in all.
const CALLS: u64 = 150_000;

/// A test, which only shows that all of this still runs, has so many times fewer.
const FEWER: u64 = 100;

const EXPECTS: &[&str] = &[
    "kind = \"success-rate\"\nload = \"ask\"\nat_least = \"99.9%\"",
    "kind = \"latency\"\nload = \"ask\"\nbelow_steady = \"2x\"",
    "kind = \"isolation\"\nload = [\"ask\", \"train\"]",
    "kind = \"gives-up\"\non = \"s3\"\nwithin = \"5s\"\nattempt_within = \"2s\"",
    "kind = \"attempts\"\non = \"s3\"\nat_most = 3",
    "kind = \"amplification\"\non = \"s3\"\nat_most = \"3x\"",
    "kind = \"failover\"\nload = \"ask\"\nwithin = \"10s\"",
    "kind = \"recovery\"\nwithin = \"10s\"",
    "kind = \"converged\"\nload = \"train\"\non = \"s3\"\nkey = \"bot\"\nversion = \"version\"\nstored_version = \"version\"",
    "kind = \"cadence\"\non = \"s3\"\nevery = \"1s\"",
];

fn million(fewer: u64) -> Vec<Observation> {
    let (per_second, calls) = (PER_SECOND / fewer, CALLS / fewer);
    let mut story = Story::new()
        .load("ask", 0..60, per_second, Outcome::Ok, 20)
        .load("train", 0..60, per_second, Outcome::Ok, 20);
    for call in 0..calls {
        let began = call * 59_000 / calls;
        let id = format!("{call:032x}");
        let first = attempt("s3", began, began + 100).sdk(&id, 1).status(500);
        let second = attempt("s3", began + 150, began + 250).sdk(&id, 2);
        let hit = (10_000..30_000).contains(&began);
        let [first, second] = [first, second].map(|one| if hit { one.hit() } else { one });
        story.observations.push(Observation::Attempt(first.done()));
        story.observations.push(Observation::Attempt(second.done()));
    }
    story.observations()
}

fn scenario() -> Scenario {
    const COMMON: &[Key] = &[Key::required("kind", Shape::Text, "the kind")];
    let names = Names {
        loads: vec!["ask", "train"],
        phases: vec!["steady", "outage", "recovery"],
        dependencies: vec![("s3", Some("object-store"), Protocol::S3)],
        instances: vec![],
        captures: Vec::new(),
        ledgers: Vec::new(),
    };
    let mut scenario = sample::scenario();
    assert_eq!(scenario.phases[1].faults[0].id, FaultId(0));
    for text in EXPECTS {
        let table = DeTable::parse(text).expect("TOML").into_inner();
        let source = Source::new("bench.toml", *text);
        let mut problems = Problems::default();
        let quiet = &mut Problems::default();
        let kind = Fields::new(&table, 0..0, &source, "expectation", COMMON, &[], quiet)
            .text("kind", &mut problems)
            .expect("a kind");
        let def = find(&kind.value).expect("a known kind");
        let fields = Fields::new(
            &table,
            0..0,
            &source,
            "expectation",
            COMMON,
            &[def.keys],
            &mut problems,
        );
        let expectation = (def.parse)(&fields.also(def.keys), &names, &mut problems);
        assert!(!problems.any_error(), "{problems:?}");
        scenario.expects.push(Expect {
            id: def.name.into(),
            that: String::new(),
            kind: def.name,
            expectation: expectation.expect("it parses"),
            during: Vec::new(),
            span: 0..0,
            extent: 0..0,
        });
    }
    scenario
}

fn benches(criterion: &mut Criterion) {
    let is_bench = std::env::args().any(|word| word == "--bench");
    let fewer = if is_bench { 1 } else { FEWER };
    let observations = million(fewer);
    assert!(observations.len() as u64 >= 1_000_000 / fewer);
    let (scenario, system) = (scenario(), sample::system());
    let mut group = criterion.benchmark_group("a million observations");
    group.sample_size(10);

    group.bench_function("index", |bencher| {
        bencher.iter_batched(
            || observations.clone(),
            |observations| black_box(History::from_observations(observations)),
            BatchSize::PerIteration,
        );
    });

    let history = History::from_observations(observations.clone()).expect("a history");
    group.bench_function("judge", |bencher| {
        bencher.iter(|| black_box(judge(&history, &scenario, &system)));
    });

    let verdicts = judge(&history, &scenario, &system);
    let report = || {
        build(Material {
            history: &history,
            scenario: &scenario,
            system: &system,
            verdicts: verdicts.clone(),
            trouble: None,
            repeat: "brownout run".to_owned(),
            file: None,
        })
    };
    group.bench_function("report", |bencher| bencher.iter(|| black_box(report())));
    let suite = SuiteReport::new(history.run.began.clone(), 7, vec![report()]);
    for def in REPORTS {
        group.bench_function(format!("render {}", def.name), |bencher| {
            bencher.iter(|| black_box((def.render)(&suite)));
        });
    }
    group.bench_function("windows", |bencher| {
        bencher.iter(|| {
            let mut steady = Steady::new(&scenario, &system, Criteria::STEADY);
            steady.observe_history(&history, Micros::from_secs(30));
            black_box(steady.held(scenario.hold, history.end));
            let ask = history.operations_of("ask");
            let seconds = Window::new(Micros(0), history.end).seconds();
            let counts = seconds.map(|second| second.of(ask, |one| one.intended).len());
            black_box(counts.sum::<usize>())
        });
    });

    let mut file = Vec::new();
    let mut writer = Writer::over(&mut file, Path::new("bench"), u64::MAX);
    for observation in &observations {
        writer.write(observation).expect("memory takes it");
    }
    writer.flush().expect("memory takes it");
    drop(writer);
    drop(observations);
    group.bench_function("read from a file", |bencher| {
        bencher.iter(|| black_box(History::read_from(&file[..], Path::new("bench"))));
    });
    group.finish();
}

criterion_group!(judging, benches);
criterion_main!(judging);
