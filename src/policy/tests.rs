//! What would prove the claims that count and compare: clients that do so, and clients that do not.

use super::{Aspect, Basis, Claim, Finding, infer};
use crate::{
    fault::FaultId,
    history::{
        Observation, Outcome, View,
        sample::{self, AttemptBuilder, Story, attempt},
    },
    protocol::{Applied, RetryAfter},
};

fn claims(story: &Story) -> Vec<Claim> {
    claims_over(story, &[0, 1, 2], "hang")
}

/// The claims that are made of these phases alone, where the outage's fault is of this kind.
fn claims_over(story: &Story, phases: &[usize], kind: &'static str) -> Vec<Claim> {
    let history = story.history();
    let (mut scenario, system) = (sample::scenario(), sample::system());
    scenario.phases[1].faults[0].kind = kind;
    infer(&View::new(&history, &scenario, &system).over(phases.to_vec()))
}

/// Whether these phases alone say something of this aspect of `s3`.
fn is_seen_in(story: &Story, phases: &[usize], aspect: Aspect) -> bool {
    let claims = claims_over(story, phases, "hang");
    let mut own = claims.iter().filter(|claim| *claim.dependency == *"s3");
    own.any(|claim| claim.aspect == aspect)
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
    // Of seventeen calls a change would not show.
    let change = finding(&story, Aspect::Change);
    assert!(matches!(change, Finding::Unknown { .. }), "{change:?}");
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
    assert_eq!(finding(&asked(200, false), aspect), does(false, 0, 6));
    let anyway = finding(&asked(1_005, true), aspect);
    assert!(matches!(anyway, Finding::Unknown { .. }), "{anyway:?}");
    // Pauses that were asked for are no law of the client's.
    assert_eq!(findings(&asked(1_005, false), Aspect::BackOff), []);
    // Who comes sooner of its own accord does as it is asked.
    let calls = (0..6u64).flat_map(|call| {
        let began = 20_000 + call * 500;
        [(1, began), (2, began + 110)].map(|(number, began)| {
            let one = attempt("s3", began, began + 10).status(503).hit();
            one.sdk(&format!("own{call}"), number)
        })
    });
    let sooner = asked(1_005, false).attempts(calls);
    assert_eq!(finding(&sooner, aspect), does(true, 6, 6));
}

/// Six calls whose answers ask in turn for these waits, and whose clients come back after as long as
/// they make of it.
fn asked_for(wanted: [u64; 2], waits: fn(u64) -> u64) -> Story {
    let calls = (0..6u64).flat_map(|call| {
        let wanted = wanted[call as usize % 2];
        let began = 11_000 + call * 3_000;
        let next = began + 10 + waits(wanted);
        [(1, began), (2, next)].map(|(number, began)| {
            let one = attempt("s3", began, began + 10).status(503).hit();
            let mut one = one.sdk(&call.to_string(), number).done();
            one.retry_after = vec![RetryAfter {
                header: "retry-after".into(),
                delay_us: wanted * 1_000,
            }];
            Observation::Attempt(one)
        })
    });
    let mut story = Story::new().healthy(0..60);
    story.observations.extend(calls);
    story
}

#[test]
fn a_pause_that_happens_to_be_as_long_as_asked_is_no_obedience() {
    let honours = |wanted, waits| finding(&asked_for(wanted, waits), Aspect::RetryAfter);
    let why = |wanted, waits| match honours(wanted, waits) {
        Finding::Unknown { why } => why,
        known => panic!("{known:?}"),
    };
    // A second is asked for each time, and a second is what many clients sleep.
    let chance = why([1_000, 1_000], |_| 1_005);
    assert!(
        chance.starts_with("its own pause may be as long"),
        "{chance}"
    );
    // So it is where what is asked for hardly differs.
    let chance = why([1_000, 1_300], |_| 1_400);
    assert!(
        chance.starts_with("its own pause may be as long"),
        "{chance}"
    );
    assert_eq!(
        honours([1_000, 2_000], |wanted| wanted + 5),
        does(true, 6, 6)
    );
    // As long as the longest each time: it may be a pause of its own.
    let longest = why([500, 2_000], |_| 2_005);
    assert!(longest.contains("may be its own pause"), "{longest}");
    assert_eq!(honours([1_000, 2_000], |_| 1_005), does(false, 3, 6));
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

#[test]
fn an_error_that_is_long_in_coming_is_no_pause_of_the_client() {
    let story = |body: u64, pause: u64| {
        let calls = (0..24u64).flat_map(move |call| {
            (1..=3u64).map(move |number| {
                let began = 11_000 + call * 700 + number * (10 + body + pause);
                let one = attempt("s3", began, began + 10 + body).status(500).hit();
                let one = one.first_byte(began + 10);
                one.sdk(&call.to_string(), number as u32)
            })
        });
        Story::new().healthy(0..60).attempts(calls)
    };
    let slow = finding(&story(200, 1), Aspect::BackOff);
    let Finding::Unknown { why } = &slow else {
        panic!("{slow:?}");
    };
    assert!(
        why.contains("48 more of which nobody saw when they began"),
        "{why}"
    );
    let quick = finding(&story(5, 196), Aspect::BackOff);
    assert!(matches!(quick, Finding::BackOff(_)), "{quick:?}");
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
    // Who ended, at once or while it may have paused, could not repeat anything; nor could anybody
    // when the run was over.
    let unseen = |story: &Story| match &of(story)[..] {
        [Finding::Unknown { why }] => why.clone(),
        known => panic!("{known:?}"),
    };
    for death in [17_010, 20_000] {
        let killed = broken("POST", 0).process(death, "primary", "killed", true);
        let why = unseen(&killed);
        assert!(why.contains("by clients that ended"), "{death}: {why}");
    }
    let before = broken("POST", 0).process(9_000, "primary", "killed", true);
    assert_eq!(of(&before), [does(false, 0, 4)]);
    assert!(unseen(&broken("POST", 0).ends(20, None)).contains("had no time left"));
    // What was repeated was, whatever became of its client.
    let killed = broken("POST", 4).process(17_600, "primary", "killed", true);
    assert_eq!(of(&killed), [does(true, 4, 4)]);
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

/// Calls whose first attempt is open for 300 ms, and whose second begins after so many.
fn second_after(millis: u64, calls: u64) -> Story {
    let calls = (0..calls).flat_map(|call| {
        let began = 11_000 + call * 500;
        let id = format!("two{call}");
        [
            attempt("s3", began, began + 300).sdk(&id, 1).hit(),
            attempt("s3", began + millis, began + millis + 20).sdk(&id, 2),
        ]
    });
    Story::new().healthy(0..60).attempts(calls)
}

#[test]
fn a_second_attempt_beside_the_first_is_a_hedge() {
    let hedges = |story: &Story| finding(story, Aspect::Hedges);
    let Finding::Time { value_us, .. } = hedges(&second_after(200, 5)) else {
        panic!("a time");
    };
    assert_eq!(value_us, 200_000);
    // Who was answered before that may hedge after a second.
    let sooner = hedges(&second_after(310, 5));
    assert!(matches!(sooner, Finding::Unknown { .. }), "{sooner:?}");
    // Three of many that lasted as long are no policy, and of calls that end at once nothing shows.
    let single = |lasts: u64| {
        (0..20u64).map(move |call| {
            let began = 11_000 + call * 500;
            attempt("s3", began, began + lasts).sdk(&format!("one{call}"), 1)
        })
    };
    let seldom = hedges(&second_after(200, 3).attempts(single(300)));
    assert!(matches!(seldom, Finding::Unknown { .. }), "{seldom:?}");
    let at_once = Story::new().healthy(0..60).attempts(single(5));
    assert_eq!(findings(&at_once, Aspect::Hedges), []);
    let few = second_after(200, 3).attempts(single(5));
    assert!(matches!(hedges(&few), Finding::Time { .. }));
}

#[test]
fn a_second_attempt_while_the_first_answer_is_still_coming_is_a_hedge() {
    let story = |ended: u64, second: u64| {
        let calls = (0..8u64).flat_map(move |call| {
            let (began, id) = (11_000 + call * 2_000, call.to_string());
            let first = attempt("s3", began, began + ended).sdk(&id, 1);
            [
                first.first_byte(began + 10).status(500),
                attempt("s3", began + second, began + second + 20).sdk(&id, 2),
            ]
        });
        Story::new().healthy(0..60).attempts(calls)
    };
    let hedge = finding(&story(5_000, 1_500), Aspect::Hedges);
    let Finding::Time { value_us, .. } = hedge else {
        panic!("{hedge:?}");
    };
    assert_eq!(value_us, 1_500_000);
    // An end that is noted late is one all the same.
    assert_eq!(findings(&story(80, 30), Aspect::Hedges), []);
}

#[test]
fn that_a_client_does_not_hedge_shows_where_it_waited_to_the_end() {
    let alone = |lasts: u64, is_given_up: bool| {
        let calls = (0..20u64).map(|call| {
            let began = 11_000 + call * 500;
            let one = attempt("s3", began, began + lasts).sdk(&call.to_string(), 1);
            if is_given_up { one.gave_up() } else { one }
        });
        let story = Story::new().healthy(0..60).attempts(calls);
        finding(&story, Aspect::Hedges)
    };
    let Finding::Unknown { why } = alone(150, false) else {
        panic!("{:?}", alone(150, false));
    };
    assert!(why.contains("0 of 20 first attempts"), "{why}");
    assert_eq!(alone(2_100, false), does(false, 0, 20));
    assert_eq!(alone(300, true), does(false, 0, 20));
}

#[test]
fn a_retry_just_before_the_old_close_is_seen_is_no_hedge() {
    let story = |answered: bool| {
        let calls = (0..8u64).flat_map(move |call| {
            let (began, id) = (11_000 + call * 2_000, call.to_string());
            let second = attempt("s3", began + 998, began + 999).sdk(&id, 2);
            [
                attempt("s3", began, began + 1_000)
                    .gave_up()
                    .sdk(&id, 1)
                    .hit(),
                if answered { second } else { second.status(500) },
            ]
        });
        Story::new().healthy(0..60).attempts(calls)
    };
    assert_eq!(finding(&story(false), Aspect::Hedges), does(false, 0, 8));
    // It may be a hedge whose answer came at once.
    let either = finding(&story(true), Aspect::Hedges);
    assert!(matches!(either, Finding::Unknown { .. }), "{either:?}");
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
    let count = |value| Finding::Count {
        value,
        low: value,
        high: value,
    };
    assert_eq!(finding(&breaking(3), Aspect::BreakerOpens), count(5));
    // Whether what comes after the first good probe are probes as well cannot be seen.
    let Finding::Unknown { why } = finding(&breaking(3), Aspect::BreakerCloses) else {
        panic!("{:?}", findings(&breaking(3), Aspect::BreakerCloses));
    };
    assert!(why.starts_with("3 of 3 times work went on"), "{why}");
    assert!(matches!(
        finding(&once, Aspect::BreakerCloses),
        Finding::Unknown { .. }
    ));
}

#[test]
fn where_work_is_thin_a_breaker_may_be_open_for_less_than_its_silences() {
    // Five calls a second; the breaker lets nothing through for a second, and is asked next 0.2 s later.
    let one = |at: u64| attempt("s3", at, at + 10).sdk(&format!("n{at}"), 1);
    let mut story = Story::new().load("ask", 0..60, 5, Outcome::Ok, 20);
    story = story.attempts((0..11_000).step_by(200).map(one));
    let mut at = 11_000;
    for _ in 0..3 {
        let failed = (at..at + 600).step_by(200);
        story = story.attempts(failed.map(|at| one(at).status(500).hit()));
        at += 1_600;
        story = story.attempts((at..at + 2_000).step_by(200).map(one));
        at += 2_000;
    }
    let found = finding(&story, Aspect::BreakerProbes);
    let Finding::Time {
        value_us, low_us, ..
    } = found
    else {
        panic!("{found:?}");
    };
    assert_eq!(value_us, 1_190_000);
    assert!((980_000..=1_000_000).contains(&low_us), "{low_us}");
}

/// A breaker that opens after five failures, each of which takes so long, twenty calls a second.
fn breaking_late(openings: u64, takes: u64) -> Story {
    let one = |at: u64| attempt("s3", at, at + 5).sdk(&format!("n{at}"), 1);
    let well = |range: std::ops::Range<u64>| range.step_by(50).map(one);
    let mut story = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
    story = story.attempts(well(0..11_000));
    let mut at = 11_000;
    for _ in 0..openings {
        let opened = at + 4 * 50 + takes;
        let failed = (at..opened).step_by(50).map(|at| {
            let one = attempt("s3", at, at + takes).sdk(&format!("f{at}"), 1);
            one.status(500).hit()
        });
        story = story.attempts(failed);
        at = opened + 2_000;
        story = story.attempts(well(at..at + 1_000));
        at += 1_000;
    }
    story
}

#[test]
fn what_is_in_flight_when_a_breaker_opens_did_not_open_it() {
    let opens = |openings| finding(&breaking_late(openings, 310), Aspect::BreakerOpens);
    // Four were over when the last of eleven began.
    assert_eq!(opens(3), Finding::Range { low: 5, high: 11 });
    let Finding::Unknown { why } = opens(1) else {
        panic!("{:?}", opens(1));
    };
    assert_eq!(why, "opened 1 times of at least 3, after 5 to 11 failures");
}

#[test]
fn a_breaker_that_wants_two_good_probes_closes_after_two() {
    let mut story = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
    let one = |nth: u64| attempt("s3", nth * 50, nth * 50 + 5).sdk(&format!("n{nth}"), 1);
    let mut nth = 220;
    story = story.attempts((0..nth).map(one));
    for _ in 0..3 {
        story = story.attempts((nth..nth + 4).map(|nth| one(nth).status(500).hit()));
        // Both probes are answered, forty beats apart.
        story = story.attempts([one(nth + 44), one(nth + 84)]);
        story = story.attempts((nth + 85..nth + 95).map(one));
        nth += 95;
    }
    let closes = finding(&story, Aspect::BreakerCloses);
    assert!(
        matches!(
            closes,
            Finding::Count {
                value: 2,
                low: 2,
                high: 2
            }
        ),
        "{closes:?}"
    );
}

/// A worker that does one thing after the other, of four attempts each with these pauses between.
fn serial(by_id: bool, pauses: [u64; 3]) -> Story {
    let steady = (0..200u64).map(|nth| {
        let key = format!("bucket/w{nth}");
        attempt("s3", nth * 50, nth * 50 + 5).key(&key)
    });
    let mut story = Story::new()
        .load("ask", 0..60, 20, Outcome::Ok, 20)
        .attempts(steady);
    let mut at = 11_000;
    for call in 0..2 {
        for number in 1..=4u32 {
            let one = attempt("s3", at, at + 5).status(500).hit();
            let id = format!("bucket/s{call}");
            story = story.attempt(if by_id {
                one.sdk(&id, number)
            } else {
                one.key(&id)
            });
            at += 5 + pauses.get(number as usize - 1).unwrap_or(&10);
        }
    }
    story
}

#[test]
fn a_worker_that_pauses_between_its_attempts_is_no_breaker() {
    let pauses = [2_600; 3];
    assert_eq!(findings(&serial(true, pauses), Aspect::BreakerProbes), []);
    assert_eq!(findings(&serial(true, pauses), Aspect::BreakerOpens), []);
    // By its keys alone it may be one.
    let guessed = finding(&serial(false, pauses), Aspect::BreakerProbes);
    assert!(matches!(guessed, Finding::Unknown { .. }), "{guessed:?}");
}

#[test]
fn silences_of_any_length_are_no_breakers_time() {
    let mut story = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
    let one = |nth: u64| attempt("s3", nth * 50, nth * 50 + 5).sdk(&format!("n{nth}"), 1);
    story = story.attempts((0..220).map(one));
    for nth in [220, 240, 280, 360] {
        story = story.attempt(one(nth).status(500).hit());
    }
    let found = finding(&story, Aspect::BreakerProbes);
    assert!(matches!(found, Finding::Unknown { .. }), "{found:?}");
}

#[test]
fn where_attempts_could_not_be_seen_their_absence_is_no_breaker() {
    let probes = |claims: &[Claim]| {
        let aspect = |claim: &&Claim| claim.aspect == Aspect::BreakerProbes;
        claims.iter().filter(aspect).count()
    };
    let story = breaking(1);
    assert_eq!(probes(&claims_over(&story, &[0, 1, 2], "error")), 1);
    for kind in ["refuse", "no-accept", "restart", "max-connections"] {
        assert_eq!(probes(&claims_over(&story, &[0, 1, 2], kind)), 0, "{kind}");
    }
    let down = story
        .process(11_100, "primary", "exited", false)
        .process(25_000, "primary", "ready", true);
    assert_eq!(probes(&claims(&down)), 0);
}

#[test]
fn what_happened_outside_the_judged_phases_makes_no_claims() {
    let (steady, outage, after): (&[usize], &[usize], &[usize]) = (&[0], &[1], &[2]);
    let breaker = breaking(1);
    assert!(is_seen_in(&breaker, outage, Aspect::BreakerProbes));
    assert!(!is_seen_in(&breaker, after, Aspect::BreakerProbes));
    assert!(!is_seen_in(&breaker, steady, Aspect::BreakerProbes));
    let back = coming_back((0..20).map(|nth| 31_000 + nth * 200));
    assert!(is_seen_in(&back, after, Aspect::Reconnects));
    // It is the outage's own aftermath.
    assert!(is_seen_in(&back, outage, Aspect::Reconnects));
    assert!(!is_seen_in(&back, steady, Aspect::Reconnects));
    let failing = (0..100u64).map(|nth| {
        let began = 10_500 + nth * 100;
        attempt("s3", began, began + 5).status(500).hit()
    });
    let failing = Story::new().healthy(0..60).attempts(failing);
    assert!(is_seen_in(&failing, outage, Aspect::Amplification));
    assert!(!is_seen_in(&failing, after, Aspect::Amplification));
    let mut silent = Story::new().healthy(0..60);
    for nth in 0..4 {
        silent = silent.connection("s3", 12_000 + nth * 1_000, 14_000 + nth * 1_000);
        if let Some(Observation::Connection(one)) = silent.observations.last_mut() {
            one.faults = vec![FaultId(0)];
        }
    }
    assert!(is_seen_in(&silent, outage, Aspect::ConnectTimeout));
    assert!(!is_seen_in(&silent, after, Aspect::ConnectTimeout));
}

/// Four connections that their clients open while a fault is on, hear nothing on, and close at this
/// millisecond of their own.
fn silent(closed: impl Fn(u64) -> u64) -> Story {
    let mut story = Story::new().healthy(0..60);
    for nth in 0..4 {
        story = story.connection("s3", 12_000 + nth * 1_000, closed(nth));
        if let Some(Observation::Connection(one)) = story.observations.last_mut() {
            (one.faults, one.bytes_up) = (vec![FaultId(0)], 500);
        }
    }
    story
}

#[test]
fn who_waits_for_nothing_shows_no_connect_time_out() {
    let of = |story: &Story, kind| {
        let claims = claims_over(story, &[0, 1, 2], kind).into_iter();
        let mut own = claims.filter(|claim| claim.aspect == Aspect::ConnectTimeout);
        own.next().map(|claim| claim.finding)
    };
    let left = silent(|nth| 14_000 + nth * 1_000);
    let found = of(&left, "hang");
    assert!(
        matches!(
            found,
            Some(Finding::Time {
                value_us: 2_000_000,
                ..
            })
        ),
        "{found:?}"
    );
    // Late bytes leave a connection to go on, as one that is renewed now and then.
    for kind in ["latency", "error", "bandwidth"] {
        assert_eq!(of(&left, kind), None, "{kind}");
    }
    // Nothing is said where nothing is said otherwise either.
    let mut one_way = left.clone().connection("s3", 1_000, 9_000);
    if let Some(Observation::Connection(one)) = one_way.observations.last_mut() {
        one.bytes_up = 500;
    }
    assert_eq!(of(&one_way, "hang"), None);
    // Who ended did not give up.
    let killed = silent(|_| 24_000).process(24_100, "primary", "killed", true);
    let found = of(&killed, "hang");
    let value_us = 12_000_000;
    assert_eq!(found, Some(Finding::AtLeast { value_us }));
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
    // What is opened one at a time in the minute after it makes a herd no smaller.
    let together = || (0..20).map(|nth| 31_000 + nth);
    let single = || (0..28).map(|nth| 32_000 + nth * 1_000);
    let later = finding(&coming_back(together().chain(single())), Aspect::LockStep);
    assert_eq!(later, does(true, 19, 20));
    let none = (0..20).map(|nth| 31_000 + nth * 50).chain(single());
    let none = finding(&coming_back(none), Aspect::LockStep);
    assert_eq!(none, does(false, 0, 48));
    // Waves of three and two do not show, of three and three they do.
    let waves = |count: u64| {
        let story = (0..count).fold(Story::new().healthy(0..60), |story, nth| {
            story.connection("s3", 100 + nth, 10_500)
        });
        let back = (0..count).map(|nth| 31_000 + nth / 3 * 500 + nth % 3);
        let story = back.fold(story, |story, at| story.connection("s3", at, 60_000));
        finding(&story, Aspect::LockStep)
    };
    assert!(
        matches!(waves(5), Finding::Unknown { .. }),
        "{:?}",
        waves(5)
    );
    assert_eq!(waves(6), does(true, 4, 6));
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
fn nobody_waits_for_connections_that_nobody_asks_for() {
    let restored = |story: &Story| finding(story, Aspect::Restored);
    let story = coming_back(std::iter::empty());
    let Finding::Unknown { why } = restored(&story) else {
        panic!("{:?}", restored(&story));
    };
    assert!(why.ends_with("nobody asked for one"), "{why}");
    let asked = story.attempt(attempt("s3", 45_000, 45_001).status(503));
    let value_us = 15_000_000;
    assert_eq!(restored(&asked), Finding::AtLeast { value_us });
}

#[test]
fn connections_that_are_closed_again_at_once_are_not_restored() {
    let restored = |story: &Story| finding(story, Aspect::Restored);
    let flapping = |until: u64| {
        (31..until).fold(coming_back(std::iter::empty()), |story, second| {
            (0..20).fold(story, |story, nth| {
                let at = second * 1_000 + nth;
                story.connection("s3", at, at + 50)
            })
        })
    };
    let value_us = 29_019_000;
    assert_eq!(restored(&flapping(60)), Finding::AtLeast { value_us });
    let at_last = (0..20).fold(flapping(40), |story, nth| {
        story.connection("s3", 40_000 + nth, 60_000)
    });
    let found = restored(&at_last);
    let Finding::Time { value_us, .. } = found else {
        panic!("{found:?}");
    };
    assert_eq!(value_us, 10_019_000);
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
    // Where the dependency never went away they were as good as ever.
    let Finding::Unknown { why } = finding(&story(0), aspect) else {
        panic!("{:?}", finding(&story(0), aspect));
    };
    assert!(why.contains("none is known to have been dead"), "{why}");
    for (kind, is_known) in [("error", false), ("late-reply", false), ("restart", true)] {
        for phases in [&[0, 1, 2][..], &[1], &[2]] {
            let claims = claims_over(&story(0), phases, kind);
            let found = claims.iter().find(|claim| claim.aspect == aspect);
            let found = found.map(|claim| &claim.finding);
            let is_denied = found == Some(&does(false, 0, 4));
            assert_eq!(is_denied, is_known, "{kind} {phases:?}: {found:?}");
        }
    }
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
fn a_call_that_fails_three_times_in_a_moment_is_no_amplification() {
    let attempts = (0..3u64).map(|number| {
        let one = attempt("s3", 11_000 + number * 8, 11_005 + number * 8);
        one.status(500).hit().sdk("only", number as u32 + 1)
    });
    let story = Story::new()
        .healthy(0..60)
        .attempts(beat("s3", 0, 10_000, 500))
        .attempts(attempts);
    let found = finding(&story, Aspect::Amplification);
    assert!(matches!(found, Finding::Unknown { .. }), "{found:?}");
    // Of four such calls the rate is that of the whole fault.
    let calls = (0..4u64).flat_map(|call| {
        (1..=3u32).map(move |number| {
            let began = 12_000 + call * 1_000 + u64::from(number) * 8;
            let one = attempt("s3", began, began + 5).status(500).hit();
            one.sdk(&format!("c{call}"), number)
        })
    });
    let Finding::Factor { value, low, high } =
        finding(&story.attempts(calls), Aspect::Amplification)
    else {
        panic!("a factor");
    };
    // 15 in 20 s after 20 in 10 s.
    assert!((0.374..0.376).contains(&value), "{value}");
    assert!(low < 0.19 && high > 0.7, "{low} to {high}");
}

#[test]
fn rates_are_compared_and_who_answers_instead_is_named() {
    let failing = beat("s3", 10_000, 30_000, 100);
    let failing = failing.into_iter().map(|one| one.status(500).hit());
    let story = Story::new()
        .healthy(0..60)
        .attempts(beat("s3", 0, 10_000, 500))
        .attempts(failing);
    let Finding::Factor { value, low, high } = finding(&story, Aspect::Amplification) else {
        panic!("a factor");
    };
    assert!((4.9..5.1).contains(&value) && low < value && value < high);
    let others = findings(&story, Aspect::Fallback);
    let nobody = |one: &Finding| {
        matches!(
            one,
            Finding::Does {
                does: false,
                part: 0,
                ..
            }
        )
    };
    assert!(
        !others.is_empty() && others.iter().all(nobody),
        "{others:?}"
    );
    let instead = story.attempts(beat("backup", 11_000, 29_000, 500));
    let claims = claims(&instead);
    let fallback: Vec<&Claim> = claims
        .iter()
        .filter(|claim| claim.aspect == Aspect::Fallback && claim.is_remarkable())
        .collect();
    assert_eq!(fallback.len(), 1, "{fallback:#?}");
    assert_eq!(fallback[0].heading(), "falls back on backup");
}

/// Fifty requests a second to s3 and to backup that s3 does not answer while its fault is on, after so
/// many a second before, where `ask` comes in ten times a second and so many times as often meanwhile.
fn surging(before: u64, times: u64) -> Story {
    let failing = beat("s3", 10_000, 30_000, 20).into_iter();
    Story::new()
        .load("ask", 0..10, 10, Outcome::Ok, 20)
        .load("ask", 10..30, 10 * times, Outcome::Ok, 20)
        .load("ask", 30..60, 10, Outcome::Ok, 20)
        .attempts(beat("s3", 0, 10_000, 1_000 / before))
        .attempts(failing.map(|one| one.status(500).hit()))
        .attempts(beat("backup", 0, 10_000, 1_000 / before))
        .attempts(beat("backup", 10_000, 30_000, 20))
}

#[test]
fn who_is_asked_more_asks_more() {
    let fallback = |story: &Story| {
        let claims = claims(story).into_iter();
        let mut own = claims.filter(|claim| {
            claim.aspect == Aspect::Fallback && claim.detail.as_deref() == Some("backup")
        });
        own.next().map(|claim| claim.finding)
    };
    let amplified = |story: &Story| match finding(story, Aspect::Amplification) {
        Finding::Factor { value, low, high } => (value, low, high),
        other => panic!("{other:?}"),
    };
    // Five times as much comes in, and five times as much is asked of both.
    let asked = surging(10, 5);
    let found = fallback(&asked);
    let Some(Finding::Unknown { why }) = &found else {
        panic!("{found:?}");
    };
    assert!(
        why.ends_with("while the system was asked 5.0x as often"),
        "{why}"
    );
    let (value, low, high) = amplified(&asked);
    assert!((0.9..1.1).contains(&value) && low < 1.0, "{value} {low}");
    // What comes of no load may have grown.
    assert!(high > 4.5, "{high}");
    // As much comes in as ever: it is called instead, and asked again.
    let instead = surging(10, 1);
    let found = fallback(&instead);
    assert!(matches!(found, Some(Finding::Factor { .. })), "{found:?}");
    let (value, low, _) = amplified(&instead);
    assert!((4.9..5.1).contains(&value) && low > 4.0, "{value} {low}");
    // More than the load explains is more.
    let both = surging(2, 5);
    let found = fallback(&both);
    assert!(matches!(found, Some(Finding::Factor { .. })), "{found:?}");
    assert!(amplified(&both).1 > 3.0, "{:?}", amplified(&both));
}

#[test]
fn who_is_called_more_often_anyway_may_be_a_fallback() {
    let failing = || {
        let failing = beat("s3", 10_000, 30_000, 50);
        failing.into_iter().map(|one| one.status(500).hit())
    };
    let to_backup = |attempts: Vec<AttemptBuilder>| {
        let story = Story::new()
            .healthy(0..60)
            .attempts(beat("s3", 0, 10_000, 500))
            .attempts(failing())
            .attempts(attempts);
        let mut claims = claims(&story).into_iter();
        let found = claims.find(|claim| {
            *claim.dependency == *"s3"
                && claim.aspect == Aspect::Fallback
                && claim.detail.as_deref() == Some("backup")
        });
        found.expect("a claim").finding
    };
    // It has its own work, and half as much more.
    let mut busy = beat("backup", 0, 60_000, 25);
    busy.extend(beat("backup", 10_010, 30_000, 50));
    let busy = to_backup(busy);
    assert!(matches!(busy, Finding::Unknown { .. }), "{busy:?}");
    // It is called, and in trouble itself.
    let slow = beat("backup", 10_010, 30_000, 50).into_iter();
    let slow = to_backup(slow.map(AttemptBuilder::hit).collect());
    assert!(matches!(slow, Finding::Unknown { .. }), "{slow:?}");
    let as_ever = to_backup(beat("backup", 0, 60_000, 500));
    assert_eq!(as_ever, does(false, 40, 400));
}
