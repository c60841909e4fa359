//! What would prove the claims that count and compare: clients that do so, and clients that do not.

use super::{Aspect, Basis, Claim, Finding, infer};
use crate::{
    history::{
        Observation, Outcome, View,
        sample::{self, AttemptBuilder, Story, attempt},
    },
    protocol::{Applied, RetryAfter},
};

fn claims(story: &Story) -> Vec<Claim> {
    let history = story.history();
    let (scenario, system) = (sample::scenario(), sample::system());
    infer(&View::new(&history, &scenario, &system))
}

/// The findings of this aspect about `s3`.
fn findings(story: &Story, aspect: Aspect) -> Vec<Finding> {
    let claims = claims(story).into_iter();
    claims
        .filter(|claim| *claim.dependency == *"s3" && claim.aspect == aspect)
        .map(|claim| claim.finding)
        .collect()
}

#[track_caller]
fn finding(story: &Story, aspect: Aspect) -> Finding {
    let mut found = findings(story, aspect);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

const fn does(does: bool, part: u64, whole: u64) -> Finding {
    Finding::Does { does, part, whole }
}

/// Failing calls, one every 400 ms from 11 s, of so many attempts each, which say that they may be
/// so many.
fn failing(counts: &[u32], declared: Option<u32>) -> Story {
    let mut story = Story::new().healthy(0..60);
    for (call, count) in counts.iter().enumerate() {
        for number in 1..=*count {
            let began = 11_000 + call as u64 * 400 + u64::from(number) * 60;
            let one = attempt("s3", began, began + 5).status(500).hit();
            let mut one = one.sdk(&call.to_string(), number).done();
            one.declared_max = declared;
            story.observations.push(Observation::Attempt(one));
        }
    }
    story
}

/// Three attempts as long as 500 tokens last, of which a retry takes 14: METHODS, 2.
fn aws() -> Vec<u32> {
    let mut counts = vec![3; 17];
    counts.push(2);
    counts.extend([1; 8]);
    counts
}

#[test]
fn twenty_six_failing_calls_show_a_budget_of_35_retries() {
    let story = failing(&aws(), Some(3));
    assert_eq!(
        finding(&story, Aspect::RetryBudget),
        Finding::Budget {
            retries: 35,
            slack: 0,
            bare: 8,
            tokens_each: Some(14),
            or_changed: false,
        }
    );
    // The calls that it ended are not averaged into the others.
    let count = |value| Finding::Count {
        value,
        low: value,
        high: value,
    };
    assert_eq!(finding(&story, Aspect::Attempts), count(3));
    assert_eq!(finding(&story, Aspect::DeclaredAttempts), count(3));
    assert!(findings(&story, Aspect::Change).is_empty());
}

#[test]
fn without_its_own_word_a_spent_budget_may_be_a_change() {
    let found = finding(&failing(&aws(), None), Aspect::RetryBudget);
    let Finding::Budget {
        tokens_each,
        or_changed,
        ..
    } = found
    else {
        panic!("{found:?}");
    };
    assert_eq!((tokens_each, or_changed), (None, true));
}

#[test]
fn retries_after_other_trouble_leave_a_budget_uncounted() {
    let mut story = failing(&aws(), Some(3));
    for number in 1..=3 {
        let began = 10_000 + u64::from(number) * 100;
        let one = attempt("s3", began, began + 50).gave_up().hit();
        story = story.attempt(one.sdk("before", number));
    }
    let found = finding(&story, Aspect::RetryBudget);
    assert!(matches!(found, Finding::Unknown { .. }), "{found:?}");
}

#[test]
fn a_client_that_goes_on_has_no_budget() {
    for counts in [[3; 26].as_slice(), &[1; 26], &[3, 1, 3, 1, 3, 1, 3, 1]] {
        let found = findings(&failing(counts, Some(3)), Aspect::RetryBudget);
        assert_eq!(found, [], "{counts:?}");
    }
}

/// Six calls whose answers ask for a second, and whose clients come back after so long.
fn asked(pause: u64, without: bool) -> Story {
    let mut story = Story::new().healthy(0..60);
    for call in 0..6u64 {
        let began = 11_000 + call * 2_500;
        for (number, began) in [(1, began), (2, began + 10 + pause)] {
            let one = attempt("s3", began, began + 10).status(503).hit();
            let mut one = one.sdk(&call.to_string(), number).done();
            if !(without && call % 2 == 0) {
                one.retry_after = vec![RetryAfter {
                    header: "retry-after".into(),
                    delay_us: 1_000_000,
                }];
            }
            story.observations.push(Observation::Attempt(one));
        }
    }
    story
}

#[test]
fn who_waits_as_asked_is_told_from_who_does_not_and_from_who_would_anyway() {
    let aspect = Aspect::RetryAfter;
    assert_eq!(finding(&asked(1_005, false), aspect), does(true, 6, 6));
    assert_eq!(finding(&asked(200, false), aspect), does(false, 0, 6));
    let anyway = finding(&asked(1_005, true), aspect);
    assert!(matches!(anyway, Finding::Unknown { .. }), "{anyway:?}");
    // Pauses that were asked for are no law of the client's.
    assert_eq!(findings(&asked(1_005, false), Aspect::BackOff), []);
}

#[test]
fn slowness_is_no_obedience() {
    let found = finding(&asked(5_000, false), Aspect::RetryAfter);
    assert!(matches!(found, Finding::Unknown { .. }), "{found:?}");
}

#[test]
fn one_call_that_numbers_its_attempts_does_not_vouch_for_the_others() {
    let calls = (0..4u64).flat_map(|call| {
        (0..2u64).map(move |number| {
            let began = 11_000 + call * 1_000 + number * 100;
            let key = format!("bucket/{call}");
            let mut one = attempt("s3", began, began + 10)
                .status(500)
                .hit()
                .key(&key)
                .done();
            if call == 0 && number == 1 {
                one.attempt = 2;
            }
            Observation::Attempt(one)
        })
    });
    let mut story = Story::new().healthy(0..60);
    story.observations.extend(calls);
    let claims = claims(&story);
    let attempts = claims.iter().find(|claim| claim.aspect == Aspect::Attempts);
    assert_eq!(attempts.map(|claim| claim.basis), Some(Basis::Grouped));
}

/// Four calls of an operation that broke when they may have been done, and a second attempt of so
/// many of them.
fn broken(operation: &str, again: u64) -> Story {
    let dependency = "pager";
    let mut story = Story::new().healthy(0..60);
    for call in 0..4u64 {
        let began = 11_000 + call * 2_000;
        let one = |began: u64| {
            attempt(dependency, began, began + 10)
                .operation(operation)
                .key(&format!("/k{call}"))
                .hit()
        };
        let broken = one(began).gave_up().applied(Applied::Unknown);
        story = story.attempt(broken);
        if call < again {
            story = story.attempt(one(began + 500));
        }
    }
    story
}

#[test]
fn what_may_have_been_done_and_is_repeated_is_said() {
    let of = |story: &Story| {
        let claims = claims(story).into_iter();
        claims
            .filter(|claim| claim.aspect == Aspect::RetriesNonIdempotent)
            .map(|claim| claim.finding)
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&broken("POST", 2)), [does(true, 2, 4)]);
    assert_eq!(of(&broken("POST", 0)), [does(false, 0, 4)]);
    assert_eq!(of(&broken("PUT", 2)), []);
}

#[test]
fn what_was_refused_for_good_and_is_repeated_is_said() {
    let answered = |again: u32, status: u16| {
        let calls = (0..4u64).flat_map(|call| {
            (1..=again).map(move |number| {
                let began = 11_000 + call * 1_000 + u64::from(number) * 100;
                let one = attempt("s3", began, began + 10).status(status).hit();
                one.sdk(&call.to_string(), number)
            })
        });
        Story::new().healthy(0..60).attempts(calls)
    };
    let story = |again: u32| answered(again, 403);
    // A fresh token, a fresh connection, a fresh state mend these.
    for status in [401, 407, 408, 409, 425] {
        let found = findings(&answered(2, status), Aspect::RetriesRefused);
        assert_eq!(found, [], "{status}");
    }
    assert_eq!(
        findings(&story(1), Aspect::RetriesRefused),
        [does(false, 0, 4)]
    );
    assert_eq!(
        findings(&story(2), Aspect::RetriesRefused),
        [does(true, 4, 8)]
    );
}

#[test]
fn a_second_attempt_beside_the_first_is_a_hedge() {
    let story = |second: u64| {
        let calls = (0..5u64).flat_map(|call| {
            let began = 11_000 + call * 1_000;
            let id = call.to_string();
            [
                attempt("s3", began, began + 300).sdk(&id, 1).hit(),
                attempt("s3", began + second, began + second + 20).sdk(&id, 2),
            ]
        });
        Story::new().healthy(0..60).attempts(calls)
    };
    let Finding::Time { value_us, .. } = finding(&story(200), Aspect::Hedges) else {
        panic!("a time");
    };
    assert_eq!(value_us, 200_000);
    assert_eq!(finding(&story(310), Aspect::Hedges), does(false, 0, 5));
}

/// A call with every operation, twenty a second: well, then failing five times, then one try every
/// two seconds while work goes on.
fn breaking(openings: u64) -> Story {
    let at = |nth: u64| 50 * nth;
    let well = |range: std::ops::Range<u64>| {
        range.map(move |nth| attempt("s3", at(nth), at(nth) + 5).sdk(&format!("w{nth}"), 1))
    };
    let failed = |nth: u64| {
        let one = attempt("s3", at(nth), at(nth) + 5).sdk(&format!("f{nth}"), 1);
        one.status(500).hit()
    };
    let mut story = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
    story = story.attempts(well(0..220));
    let mut nth = 220;
    for _ in 0..openings {
        story = story.attempts((nth..nth + 5).map(failed));
        nth += 4;
        // Two probes fail, the third does not.
        for _ in 0..2 {
            nth += 40;
            story = story.attempt(failed(nth));
        }
        nth += 40;
        story = story.attempts(well(nth..nth + 10));
        nth += 10;
    }
    story
}

#[test]
fn an_open_breaker_is_a_silence_that_probes_break() {
    let once = breaking(1);
    let Finding::Time { value_us, .. } = finding(&once, Aspect::BreakerProbes) else {
        panic!("{:?}", findings(&once, Aspect::BreakerProbes));
    };
    assert_eq!(value_us, 1_995_000);
    let Finding::Unknown { why } = finding(&once, Aspect::BreakerOpens) else {
        panic!("{:?}", findings(&once, Aspect::BreakerOpens));
    };
    assert_eq!(why, "opened 1 times of at least 3, after 5 failures");
    let count = Finding::Count {
        value: 5,
        low: 5,
        high: 5,
    };
    assert_eq!(finding(&breaking(3), Aspect::BreakerOpens), count);
}

#[test]
fn where_attempts_go_on_there_is_no_breaker() {
    let beat = (0..1_000u64).map(|nth| {
        let one = attempt("s3", nth * 50, nth * 50 + 5).sdk(&nth.to_string(), 1);
        if nth < 220 {
            one
        } else {
            one.status(500).hit()
        }
    });
    let story = Story::new()
        .load("ask", 0..60, 20, Outcome::Ok, 20)
        .attempts(beat);
    assert_eq!(findings(&story, Aspect::BreakerProbes), []);
}

/// Twenty connections that break when the outage begins, and come back at these milliseconds.
fn coming_back(moments: impl Iterator<Item = u64>) -> Story {
    let story = (0..20).fold(Story::new().healthy(0..60), |story, nth| {
        story.connection("s3", 100 + nth, 10_500)
    });
    moments.fold(story, |story, at| story.connection("s3", at, 60_000))
}

#[test]
fn connections_that_come_back_are_timed_and_waves_are_seen() {
    let herd = coming_back((0..20).map(|nth| 31_000 + nth / 10 * 2_000 + nth % 10));
    let even = coming_back((0..20).map(|nth| 31_000 + nth * 200));
    assert_eq!(
        finding(&herd, Aspect::ReconnectPeak),
        Finding::Count {
            value: 10,
            low: 10,
            high: 10
        }
    );
    assert!(matches!(
        finding(&herd, Aspect::LockStep),
        Finding::Does { does: true, .. }
    ));
    assert_eq!(finding(&even, Aspect::LockStep), does(false, 0, 20));
    let Finding::Time { value_us, .. } = finding(&even, Aspect::Reconnects) else {
        panic!("a time");
    };
    assert_eq!(value_us, 2_800_000);
    assert_eq!(
        findings(&Story::new().healthy(0..60), Aspect::Reconnects),
        []
    );
}

#[test]
fn connections_from_before_an_outage_that_fail_after_it_are_dead_ones() {
    let story = |broken: u64| {
        let mut story = Story::new().healthy(0..60);
        for nth in 0..4u64 {
            story = story.connection("s3", 100 + nth, 59_000);
            let one = attempt("s3", 31_000 + nth, 31_100).on_connection(100 + nth);
            let mut one = one.sdk(&nth.to_string(), 1).done();
            if nth < broken {
                one.end = crate::history::AttemptEnd::UpstreamFailed;
            }
            story.observations.push(Observation::Attempt(one));
        }
        story
    };
    let aspect = Aspect::StaleConnections;
    assert_eq!(finding(&story(3), aspect), does(true, 3, 4));
    assert_eq!(finding(&story(0), aspect), does(false, 0, 4));
}

fn beat(dependency: &str, from: u64, to: u64, every: u64) -> Vec<AttemptBuilder> {
    let count = (to - from) / every;
    (0..count)
        .map(|nth| {
            let began = from + nth * every;
            attempt(dependency, began, began + 5).sdk(&format!("{dependency}{began}"), 1)
        })
        .collect()
}

#[test]
fn rates_are_compared_and_who_answers_instead_is_named() {
    let failing = beat("s3", 10_000, 29_000, 100);
    let failing = failing.into_iter().map(|one| one.status(500).hit());
    let story = Story::new()
        .healthy(0..60)
        .attempts(beat("s3", 0, 10_000, 500))
        .attempts(failing);
    let Finding::Factor { value, low, high } = finding(&story, Aspect::Amplification) else {
        panic!("a factor");
    };
    assert!((4.9..5.1).contains(&value) && low < value && value < high);
    assert_eq!(findings(&story, Aspect::Fallback), []);
    let instead = story.attempts(beat("backup", 11_000, 29_000, 500));
    let claims = claims(&instead);
    let fallback: Vec<&Claim> = claims
        .iter()
        .filter(|claim| claim.aspect == Aspect::Fallback)
        .collect();
    assert_eq!(fallback.len(), 1, "{fallback:#?}");
    assert_eq!(fallback[0].heading(), "falls back on backup");
}
