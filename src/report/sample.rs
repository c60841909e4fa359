//! One report that has everything in it, for the golden tests of all renderers.

use super::{
    Attempts, BacklogReport, DeclaredReport, DependencyPhase, DependencyReport, DependencySeries,
    Detected, End, FaultReport, IncidentReport, LedgerReport, LedgerSeries, Life, LifeSpan,
    LoadPhase, LoadReport, LoadSeries, Outcomes, POLICIES_VERSION, Part, PhaseReport,
    PoliciesReport, RecoveryReport, ScenarioReport, Span, State, SuiteReport, Timeline, Trace,
    Trouble, TroubleKind, WriteExampleReport, WriteWindowReport, WritesReport,
};
use crate::{
    expectation::{Evidence, Place, Status, Subject, Verdict},
    history::Machine,
    policy::{Aspect, BackOff, Basis, Cause, Claim, Finding, Jitter, Law, Standing},
    units::Micros,
};
use std::collections::BTreeMap;

/// A scenario with a pass, a fail and an inconclusive verdict, and one whose system did not start.
pub fn suite() -> SuiteReport {
    let mut report = SuiteReport::new(
        "2026-11-22T02:20:00Z".to_owned(),
        42,
        vec![judged(), not_started()],
    );
    report.files = vec![
        "brownout-report/report.json".to_owned(),
        "brownout-report/junit.xml".to_owned(),
    ];
    report
}

/// One scenario of which everything has one status.
pub fn all(status: Status) -> SuiteReport {
    let mut scenario = judged();
    scenario.doubts.clear();
    scenario.verdicts.retain(|verdict| verdict.status == status);
    scenario.status = ScenarioReport::merged(&scenario.verdicts, None, &[]);
    SuiteReport::new("2026-11-22T02:20:00Z".to_owned(), 42, vec![scenario])
}

/// A doubt about a fault, one about an instance, and one that nobody here writes.
pub fn doubts() -> Vec<String> {
    [
        "`reset on object-store` (fault 2) acted on 0 events, at least 1 are needed",
        "instance `standby`, which was started at 30.0s, was not ready in time",
        "the moon was full",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn judged() -> ScenarioReport {
    let verdicts = verdicts();
    let doubts = vec![
        "`reset on object-store` (fault 2) acted on 0 events, at least 1 are needed".to_owned(),
    ];
    ScenarioReport {
        title: "Ada, 28 February 2017: S3 hangs, then answers 500, then the platform goes"
            .to_owned(),
        file: "scenarios/ada-2017-s3.toml".to_owned(),
        system: "scenarios/systems/bot-platform.toml".to_owned(),
        seed: 42,
        speed: 2.0,
        status: ScenarioReport::merged(&verdicts, None, &doubts),
        trouble: None,
        doubts,
        unlisted_hosts: Vec::new(),
        verdicts,
        phases: phases(),
        faults: faults(),
        loads: vec![load()],
        dependencies: vec![dependency()],
        ledgers: vec![ledger()],
        writes: vec![writes()],
        policies: Some(policies()),
        recovery: Some(RecoveryReport {
            lifted: Micros::from_secs(30),
            steady: Some(Micros::from_millis(33_250)),
            took_us: 3_250_000,
            untold: None,
        }),
        incident: Some(IncidentReport {
            who: "Ada".to_owned(),
            on: "2017-02-28".to_owned(),
            source: Some("https://example.org/postmortem".to_owned()),
        }),
        story: Some("S3 hangs for two hours.\nThen it answers 500 at once.".to_owned()),
        tags: vec!["s3".to_owned(), "platform".to_owned()],
        repeat: "brownout run scenarios/ada-2017-s3.toml --seed 42 --speed 2x".to_owned(),
        history: Some("brownout-report/ada-2017-s3/history.jsonl".to_owned()),
        began: "2026-11-22T02:20:00Z".to_owned(),
        duration_us: 41_337_000,
        machine: Some(machine()),
        detected: None,
        repetition: None,
        digests: None,
        timeline: timeline(),
        traces: traces(),
    }
}

fn policies() -> PoliciesReport {
    let claim = |aspect, finding, samples| Claim {
        dependency: "s3".into(),
        operation: Some("PutObject".into()),
        cause: Some(Cause::NoAnswer),
        window: (Micros::from_secs(10), Micros::from_secs(29)),
        aspect,
        detail: None,
        finding,
        samples,
        basis: Basis::Headers,
    };
    let back_off = BackOff {
        laws: vec![Law::Linear, Law::Exponential],
        jitters: vec![Jitter::Full],
        factor: None,
        base_us: Some((50_200, 46_100, 57_300)),
        cap_us: None,
    };
    let count = Finding::Count {
        value: 3,
        low: 3,
        high: 3,
    };
    PoliciesReport {
        version: POLICIES_VERSION,
        claims: vec![
            claim(Aspect::Attempts, count, 24),
            claim(
                Aspect::FirstByteTimeout,
                Finding::Time {
                    value_us: 2_004_000,
                    low_us: 2_001_000,
                    high_us: 2_012_000,
                    confidence: 0.967,
                },
                72,
            ),
            claim(Aspect::BackOff, Finding::BackOff(back_off), 48),
            claim(
                Aspect::BetweenBytesTimeout,
                Finding::Unknown {
                    why: "2 waits ended of at least 3, 0 more were cut short".to_owned(),
                },
                2,
            ),
            Claim {
                dependency: "pager".into(),
                operation: Some("POST".into()),
                cause: Some(Cause::Error),
                basis: Basis::Grouped,
                ..claim(
                    Aspect::Attempts,
                    Finding::Count {
                        value: 4,
                        low: 4,
                        high: 4,
                    },
                    6,
                )
            },
        ],
        declared: vec![DeclaredReport {
            dependency: "s3".to_owned(),
            key: "attempts".to_owned(),
            declared: "attempts = 5".to_owned(),
            standing: Standing::Contradicts,
            seen: "attempts = 5, but PutObject of s3 (no answer): attempts a call 3".to_owned(),
        }],
    }
}

fn verdicts() -> Vec<Verdict> {
    vec![
        Verdict {
            id: "ADA-3".to_owned(),
            that: "answers never wait for S3".to_owned(),
            kind: "success-rate".to_owned(),
            status: Status::Pass,
            required: "at least 99.9% of `ask` ok or degraded".to_owned(),
            measured: "100% (800 of 800)".to_owned(),
            count: 800,
            window: (Micros::from_secs(10), Micros::from_secs(30)),
            phases: vec!["S3 hangs".to_owned()],
            reason: None,
            evidence: Vec::new(),
            place: Some(place(61, 68)),
        },
        Verdict {
            id: "ADA-1".to_owned(),
            that: "the S3 client gives up in time".to_owned(),
            kind: "gives-up".to_owned(),
            status: Status::Fail,
            required: "within 10s".to_owned(),
            measured: "at least 19.8s (longest of 3)".to_owned(),
            count: 3,
            window: (Micros::from_secs(10), Micros::from_secs(30)),
            phases: vec!["S3 hangs".to_owned()],
            reason: Some("2 of 3 calls held on for longer".to_owned()),
            evidence: vec![
                Evidence {
                    about: Some(Subject::Call {
                        dependency: "s3".into(),
                        connection: 3,
                        began: Micros::from_millis(10_213),
                    }),
                    at: Micros::from_millis(10_213),
                    what: "PutObject models/7 #3: still open after 19.787s, when the fault was \
                           lifted"
                        .to_owned(),
                },
                Evidence {
                    about: Some(Subject::Operation {
                        load: "ask".into(),
                        nth: 412,
                    }),
                    at: Micros::from_millis(12_001),
                    what: "PutObject models/9 #1: gave up after 17.2s".to_owned(),
                },
            ],
            place: Some(place(70, 75)),
        },
        Verdict {
            id: "ADA-12".to_owned(),
            that: "health checks every 10 s".to_owned(),
            kind: "cadence".to_owned(),
            status: Status::Inconclusive,
            required: "every 10s ± 2s".to_owned(),
            measured: "no request seen".to_owned(),
            count: 0,
            window: (Micros(0), Micros::from_secs(30)),
            phases: Vec::new(),
            reason: Some(
                "the fault `reset on object-store` of its phase never acted (0 hits, at least 1 \
                 wanted)"
                    .to_owned(),
            ),
            evidence: Vec::new(),
            place: Some(place(77, 83)),
        },
    ]
}

fn place(line: u64, end_line: u64) -> Place {
    Place {
        file: "scenarios/ada-2017-s3.toml".to_owned(),
        line,
        end_line,
    }
}

fn phases() -> Vec<PhaseReport> {
    let phase = |name: &str, began: u64, ended: u64| PhaseReport {
        name: name.to_owned(),
        steady: began == 0,
        began: Some(Micros::from_secs(began)),
        ended: Some(Micros::from_secs(ended)),
        happened: (name == "S3 hangs").then(|| "12:42–14:50 EST".to_owned()),
    };
    vec![
        phase("steady", 0, 10),
        phase("S3 hangs", 10, 30),
        phase("recovery", 30, 41),
    ]
}

fn faults() -> Vec<FaultReport> {
    let fault = |id: u16, kind: &str, hits: u64| FaultReport {
        id,
        label: format!("{kind} on object-store"),
        kind: kind.to_owned(),
        on: "object-store".to_owned(),
        phase: "S3 hangs".to_owned(),
        hits,
        armed: Some(Micros::from_secs(10)),
        lifted: Some(Micros::from_secs(30)),
    };
    vec![fault(0, "hang", 37), fault(1, "reset", 0)]
}

fn load() -> LoadReport {
    let phase = |name: &str, outcomes: Outcomes, p50_us: u64, p99_us: u64| LoadPhase {
        phase: name.to_owned(),
        outcomes,
        p50_us: Some(p50_us),
        p99_us: Some(p99_us),
        spread: None,
    };
    let outcomes = |ok, degraded, failed, indeterminate| Outcomes {
        ok,
        degraded,
        failed,
        indeterminate,
    };
    LoadReport {
        name: "ask".to_owned(),
        outcomes: outcomes(1_490, 140, 7, 3),
        missed: 0,
        p50_us: Some(2_104),
        p99_us: Some(48_000),
        phases: vec![
            phase("steady", outcomes(400, 0, 0, 0), 1_900, 9_000),
            phase("S3 hangs", outcomes(650, 140, 7, 3), 2_300, 61_000),
            phase("recovery", outcomes(440, 0, 0, 0), 2_000, 11_000),
        ],
    }
}

fn dependency() -> DependencyReport {
    let hanging = Attempts {
        total: 41,
        faulty: 37,
        answered: 4,
        gave_up: 35,
        cut: 0,
        upstream_failed: 0,
        unfinished: 2,
    };
    DependencyReport {
        name: "s3".to_owned(),
        role: Some("object-store".to_owned()),
        protocol: "s3".to_owned(),
        attempts: hanging,
        connections: 12,
        phases: vec![DependencyPhase {
            phase: "S3 hangs".to_owned(),
            attempts: hanging,
            calls: None,
        }],
    }
}

fn ledger() -> LedgerReport {
    LedgerReport {
        name: "trained".to_owned(),
        load: "train".to_owned(),
        accepted: 140,
        delivered: 131,
        lost: 7,
        waiting: 2,
        dropped: 0,
        without_id: 0,
        duplicated: 3,
        indeterminate: 4,
        recovered: 1,
        refused: 0,
        contradicted: 0,
        unexpected: 0,
        reported_waiting: Some(2),
        unsettled: vec!["the run was not watched to its end (interrupted)".to_owned()],
        drained_us: None,
        clumping: None,
        backlog: BacklogReport {
            every_us: 10_000_000,
            deepest: vec![1, 38, 77, 77, 9],
            left: 9,
        },
    }
}

fn writes() -> WritesReport {
    let window = |fault: Option<u16>, kept| WriteWindowReport {
        fault,
        label: fault.map(|_| "hang on object-store".to_owned()),
        armed: fault.map(|_| Micros::from_secs(10)),
        lifted: fault.map(|_| Micros::from_secs(30)),
        kept,
        lost: 0,
        recovered: 0,
        absent: 0,
        doubled: 0,
        indeterminate: 0,
        clumping: BTreeMap::new(),
        examples: Vec::new(),
    };
    let example = |what: &str, fate: &str| WriteExampleReport {
        what: what.to_owned(),
        fate: fate.to_owned(),
        at: Micros::from_millis(12_300),
    };
    WritesReport {
        witness: "ledger".to_owned(),
        name: "trained".to_owned(),
        windows: vec![
            WriteWindowReport {
                lost: 7,
                recovered: 1,
                absent: 3,
                doubled: 3,
                indeterminate: 2,
                clumping: BTreeMap::from([("lost".to_owned(), 2.4)]),
                examples: vec![
                    example("model-17", "acknowledged, lost"),
                    example("model-23", "doubled"),
                ],
                ..window(Some(0), 31)
            },
            window(None, 100),
        ],
    }
}

fn machine() -> Machine {
    Machine {
        os: "linux".to_owned(),
        kernel: Some("6.1.0-40-amd64".to_owned()),
        architecture: "x86_64".to_owned(),
        processors: 4,
    }
}

/// Five bins of ten seconds.
fn timeline() -> Timeline {
    Timeline {
        bin_us: 10_000_000,
        bins: 5,
        loads: vec![LoadSeries {
            name: "ask".to_owned(),
            ok: vec![400, 320, 330, 430, 10],
            degraded: vec![0, 70, 70, 0, 0],
            indeterminate: vec![0, 3, 0, 0, 0],
            failed: vec![0, 7, 0, 0, 0],
            p50_us: vec![Some(1_900), Some(2_300), Some(2_300), Some(2_000), None],
            p90_us: vec![Some(4_000), Some(12_000), Some(9_000), Some(4_000), None],
            p99_us: vec![Some(9_000), Some(61_000), Some(48_000), Some(11_000), None],
        }],
        dependencies: vec![DependencySeries {
            name: "s3".to_owned(),
            calls: vec![0, 3, 0, 0, 0],
            attempts: vec![0, 21, 20, 0, 0],
            errors: vec![0, 19, 18, 0, 0],
            in_flight: vec![0, 7, 9, 2, 0],
        }],
        instances: vec![Life {
            instance: "main".to_owned(),
            spans: vec![
                LifeSpan {
                    from: Micros::from_millis(40),
                    to: Micros::from_millis(900),
                    state: State::Starting,
                    because: "started".to_owned(),
                },
                LifeSpan {
                    from: Micros::from_millis(900),
                    to: Micros::from_millis(41_337),
                    state: State::Ready,
                    because: "ready".to_owned(),
                },
            ],
        }],
        ledgers: vec![LedgerSeries {
            name: "trained".to_owned(),
            waiting: vec![1, 38, 77, 9, 9],
            peak: (77, Micros::from_secs(30)),
            drained: None,
            outage_ended: Some(Micros::from_secs(30)),
            left: 9,
        }],
        detected: Detected {
            armed: Some(Micros::from_secs(10)),
            fallback: Some(("ask".to_owned(), Micros::from_millis(12_040))),
            alert: Some(("pager".to_owned(), Micros::from_millis(14_700))),
        },
    }
}

/// What is behind the first evidence of `ADA-1`.
fn traces() -> Vec<Trace> {
    let span = |attempt: u32, began: u64, ended: u64, end: End, how: &str| Span {
        what: format!("s3 PutObject models/7, attempt {attempt}"),
        part: Part::Itself,
        began: Micros::from_millis(began),
        ended: Micros::from_millis(ended),
        how: how.to_owned(),
        end,
        faults: vec![0],
    };
    vec![Trace {
        verdict: 1,
        evidence: 0,
        spans: vec![
            span(1, 10_213, 20_213, End::GaveUp, "gave up"),
            span(2, 20_900, 30_000, End::Open, "still open"),
        ],
        more: 0,
    }]
}

fn not_started() -> ScenarioReport {
    let trouble = Trouble {
        kind: TroubleKind::NotStarted,
        message: "instance `main` exited with status 1 before it was ready".to_owned(),
        detail: Some(
            "Traceback (most recent call last):\n  File \"app.py\", line 3\nKeyError: 'S3_URL'"
                .to_owned(),
        ),
    };
    ScenarioReport {
        title: "The store refuses".to_owned(),
        file: "scenarios/refuse.toml".to_owned(),
        system: "app.toml".to_owned(),
        seed: 42,
        speed: 1.0,
        status: ScenarioReport::merged(&[], Some(&trouble), &[]),
        trouble: Some(trouble),
        doubts: Vec::new(),
        unlisted_hosts: Vec::new(),
        verdicts: Vec::new(),
        phases: Vec::new(),
        faults: Vec::new(),
        loads: Vec::new(),
        dependencies: Vec::new(),
        ledgers: Vec::new(),
        writes: Vec::new(),
        policies: None,
        recovery: None,
        incident: None,
        story: None,
        tags: Vec::new(),
        repeat: "brownout run scenarios/refuse.toml --seed 42".to_owned(),
        history: Some("brownout-report/refuse/history.jsonl".to_owned()),
        began: "2026-11-22T02:20:42Z".to_owned(),
        duration_us: 412_000,
        machine: None,
        detected: None,
        repetition: None,
        digests: None,
        timeline: Timeline::default(),
        traces: Vec::new(),
    }
}
