use super::*;
use crate::history::{
    Outcome::{Degraded, Failed, Indeterminate, Ok},
    sample::{Story, attempt},
};

const ASKED: Asked<'_> = Asked {
    load: "ask",
    rate: 20.0,
    dependency: "s3",
    phases: [0, 1, 2],
    patience: Duration::from_secs(5),
    capacity: &[],
    trigger: Some(FaultId(0)),
};

/// So many requests to the dependency in each second of these.
fn requests(story: Story, seconds: std::ops::Range<u64>, per_second: u64) -> Story {
    let all = seconds.flat_map(|second| {
        (0..per_second).map(move |nth| {
            let began = second * 1_000 + nth * 1_000 / per_second;
            attempt("s3", began, began + 10).sdk(&format!("{second}-{nth}"), 1)
        })
    });
    story.attempts(all)
}

/// Ten seconds of health, twenty of a trigger that nothing survives.
fn begun() -> Story {
    let story = Story::new()
        .load("ask", 0..10, 20, Ok, 20)
        .load("ask", 10..30, 20, Failed, 900);
    requests(story, 0..30, 20)
}

fn probe(story: &Story) -> Probe {
    measure(&story.history(), &ASKED, "p".to_owned(), 7)
}

#[test]
fn a_system_that_comes_back_is_told_with_the_time_it_took() {
    let story =
        begun()
            .load("ask", 30..37, 20, Indeterminate, 5_000)
            .load("ask", 37..60, 20, Ok, 20);
    let found = probe(&requests(story, 30..60, 20));
    assert_eq!(found.end, ProbeEnd::Recovered, "{found:?}");
    // The first stretch of two seconds of which nine in ten are good begins a little earlier.
    let took = found.recovery_us.unwrap();
    assert!((6_500_000..=7_000_000).contains(&took), "{took}");
    assert_eq!(found.baseline, Some(1.0));
    assert_eq!((found.folder.as_str(), found.seed), ("p", 7));
}

#[test]
fn a_fallback_that_answers_more_than_before_is_no_recovery() {
    let fallen = begun().load("ask", 30..60, 20, Degraded, 20);
    let found = probe(&requests(fallen, 30..60, 20));
    assert_eq!(found.end, ProbeEnd::Wedged, "{found:?}");
    assert_eq!((found.recovery_us, found.goodput), (None, Some(1.0)));
    assert!(found.note.unwrap().contains("answers from its fallback"));
    // The fallback may answer for a while: it is back when the real thing is.
    let closes = begun()
        .load("ask", 30..40, 20, Degraded, 20)
        .load("ask", 40..60, 20, Ok, 20);
    let found = probe(&requests(closes, 30..60, 20));
    assert_eq!(found.end, ProbeEnd::Recovered, "{found:?}");
    let took = found.recovery_us.unwrap();
    assert!((9_500_000..=10_000_000).contains(&took), "{took}");
    // One that always answers from it is as it was.
    let always = Story::new()
        .load("ask", 0..10, 20, Degraded, 20)
        .load("ask", 10..30, 20, Failed, 900)
        .load("ask", 30..60, 20, Degraded, 20);
    let found = probe(&requests(always, 0..60, 20));
    assert_eq!(found.recovery_us, Some(0), "{found:?}");
}

#[test]
fn a_small_load_is_given_the_time_of_eight_operations() {
    let story = Story::new()
        .load("ask", 0..10, 1, Ok, 20)
        .load("ask", 10..30, 1, Failed, 900)
        .load("ask", 30..60, 1, Ok, 20);
    let story = requests(story, 0..60, 1);
    let at = |rate| {
        let asked = Asked { rate, ..ASKED };
        measure(&story.history(), &asked, String::new(), 1)
    };
    assert_eq!(hold(1.0), Duration::from_secs(8));
    assert_eq!(hold(20.0), HOLD);
    let found = at(1.0);
    assert_eq!(found.end, ProbeEnd::Recovered, "{found:?}");
    assert_eq!(found.recovery_us, Some(0));
    // Where the watch has no room for them, nothing is said.
    let found = at(0.1);
    assert_eq!(found.end, ProbeEnd::Unmeasured, "{found:?}");
    assert!(found.note.unwrap().contains("8 operations take 80.0s"));
    let least = least_rate(Duration::from_secs(5), Duration::from_secs(20));
    assert!((1.7..1.8).contains(&least), "{least}");
    let watch = Duration::from_secs(4);
    assert!(hold(least_rate(watch * 2, watch)) < watch);
}

#[test]
fn a_system_that_keeps_itself_broken_is_metastable_and_one_that_is_just_broken_is_not_called_so() {
    let broken = || begun().load("ask", 30..60, 20, Indeterminate, 5_000);
    let storm = probe(&requests(broken(), 30..60, 80));
    assert_eq!(storm.end, ProbeEnd::Metastable, "{storm:?}");
    assert_eq!(storm.goodput, Some(0.0));
    assert_eq!(storm.amplification, Some(4.0));
    let quiet = probe(&requests(broken(), 30..60, 20));
    assert_eq!(quiet.end, ProbeEnd::Wedged, "{quiet:?}");
    assert!(quiet.note.is_some());
    // A moment of health in a broken watch is neither.
    let moment = begun()
        .load("ask", 30..40, 20, Indeterminate, 5_000)
        .load("ask", 40..43, 20, Ok, 20)
        .load("ask", 43..60, 20, Indeterminate, 5_000);
    let moment = probe(&requests(moment, 30..60, 80));
    assert_eq!(moment.end, ProbeEnd::Wedged, "{moment:?}");
    assert!(moment.note.unwrap().contains("for a moment"));
}

#[test]
fn what_was_not_measured_is_neither() {
    let well = || {
        let story = begun().load("ask", 30..60, 20, Ok, 20);
        requests(story, 30..60, 20)
    };
    assert_eq!(probe(&well()).end, ProbeEnd::Recovered);
    let said = |story: &Story| {
        let found = probe(story);
        assert_eq!(found.end, ProbeEnd::Unmeasured, "{found:?}");
        found.note.expect("the reason")
    };
    assert!(said(&well().hits(0)).contains("the trigger hit no request"));
    assert!(said(&well().ends(50, None)).contains("end of its watch"));
    let ill = Story::new()
        .load("ask", 0..10, 20, Failed, 20)
        .load("ask", 10..60, 20, Ok, 20);
    let ill = requests(ill, 0..60, 20);
    assert!(said(&ill).contains("before the trigger"));
    // How ill it was is kept.
    assert_eq!(probe(&ill).baseline, Some(0.0));
    let idle = Story::new().load("ask", 0..60, 20, Ok, 20);
    assert!(said(&idle).contains("asked the dependency nothing"));
    // The trigger itself reaches into the watch.
    let lingering = Asked {
        phases: [0, 1, 1],
        ..ASKED
    };
    let found = measure(&well().history(), &lingering, String::new(), 1);
    assert_eq!(found.end, ProbeEnd::Unmeasured);
    assert!(found.note.unwrap().contains("still in force"));
    // Unless it is what the dependency is always like.
    let always = Asked {
        capacity: &[FaultId(0)],
        trigger: None,
        ..lingering
    };
    let found = measure(&well().history(), &always, String::new(), 1);
    assert_ne!(found.end, ProbeEnd::Unmeasured, "{found:?}");
}
