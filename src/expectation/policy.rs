//! `policy`: a client does what is required of it, or what its owner declared, as far as that can be
//! inferred from the wire.
//!
//! Each key is held against every claim about it (see [`crate::policy`]) that is made of the calls of
//! the judged phases: of every operation and every trouble, unless `operation` or `after` say which.
//! One claim that contradicts fails, unless it rests on a guess which requests make a call; a key of
//! which no claim could be made is open, and leaves the expectation inconclusive, and so does one of
//! which one operation's claim agrees while another's does not tell.

use super::{Expectation, ExpectationDef, Judgement, Name, Names, names};
use crate::{
    history::View,
    input::{About, Fields, Key, Problems, Shape},
    policy::{Answer, Cause, Declared, POLICY_KEYS, Standing, calls_of, infer_of},
};

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "policy",
    summary: "a client's time-outs, attempts, back-off, breaker are as required, or as its system's file declares",
    about: About {
        text: "\
            What a client is built to do when its dependency fails, inferred from the wire: when it \
            gives up, how often it tries, how it pauses, whether it keeps to Retry-After, to a \
            budget, to a breaker. Each key is a requirement; `declared = true` requires what the \
            system's file says in `[dependency.NAME.policy]` as well.",
        evidence: "\
            The attempts and connections of the judged phases at the proxy. Every claim has its \
            count and its interval, and none is made of fewer than three samples; a client that \
            changed its ways half-way is claimed before and after.",
        doubt: "\
            A key of which no claim could be made, or none for one of the operations and troubles \
            that were seen often enough; with `declared`, a dependency of which the file declares \
            nothing; and where the client sends no id, so that it is a guess which \
            requests make one call, every contradiction, and that nothing is repeated.",
        mistakes: &[
            "A breaker, a budget or a pause shows only while calls fail: judge it during an outage.",
            "Of two pauses a call nobody can tell a doubling from a straight rise: ask for \
             `back_off = \"growing\"`.",
            "\
                From half the pause to the whole is the same as a third either way of another base: \
                ask for `jitter = true` rather than for \"equal\".",
            "\
                With `operation` or `after` nothing is left of what is seen of the dependency as a \
                whole, its breaker, its connections, its fallback: require those beside it.",
            "\
                Answers that all ask for the same wait do not tell who waits as asked from who pauses \
                as long anyway: ask for short waits and for long ones (`retry_after` of two faults), or \
                leave some answers without.",
            "\
                More load in a phase (`load = { ask = \"10x\" }`) is more requests too: a fallback and an \
                amplification are what goes beyond that.",
        ],
        related: &["attempts", "gives-up", "back-off", "amplification"],
    },
    example: "[[expect]]\nid       = \"ADA-5\"\nthat     = \"the object store's client backs off\"\nkind     = \"policy\"\non       = \"object-store\"\nattempts = 3\nback_off = \"growing\"\njitter   = true\n",
    keys: KEYS,
    parse,
};

const OWN: [Key; 4] = [
    Key::required(
        "on",
        Shape::Text,
        "the role or dependency whose clients are meant",
    ),
    Key::optional(
        "operation",
        Shape::TextOrTexts,
        "only calls of this operation",
    ),
    Key::optional(
        "after",
        Shape::OneOf(&["no-answer", "throttled", "error", "cut"]),
        "only calls whose attempts met with this",
    ),
    Key::optional(
        "declared",
        Shape::Bool,
        "whether what the system's file declares of the dependency is required too (false)",
    ),
];

/// The expectation's own keys, then those of every policy.
const KEYS: &[Key] = &{
    let mut keys = [OWN[0]; OWN.len() + POLICY_KEYS.len()];
    let mut index = 0;
    while index < keys.len() {
        keys[index] = if index < OWN.len() {
            OWN[index]
        } else {
            POLICY_KEYS[index - OWN.len()]
        };
        index += 1;
    }
    keys
};

/// See [`DEF`].
#[derive(Debug)]
struct Policy {
    on: Name,
    operations: Vec<String>,
    after: Option<Cause>,
    declared: bool,
    required: Declared,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let on = names::dependency(fields, "on", names, problems);
    let operations = names::operations(fields, "operation", problems);
    let after = fields.word("after", problems);
    let declared = fields.bool("declared", problems).unwrap_or(false);
    let fallback = fields.has("falls_back_on");
    let fallback = fallback.then(|| other_than(on.as_ref(), fields, names, problems));
    let required = Declared::read(fields, problems)?;
    if fallback == Some(false) {
        return None;
    }
    if required.is_empty() && !declared {
        problems.error(
            fields.source,
            fields.span.clone(),
            format!("{} requires nothing", fields.name()),
            "say `attempts = 3`, `back_off = \"exponential\"`, `timeout = \"2s\"` …, or `declared = true`"
                .to_owned(),
        );
        return None;
    }
    let after = after.map(|word| match word.value {
        "no-answer" => Cause::NoAnswer,
        "throttled" => Cause::Throttled,
        "cut" => Cause::Cut,
        _ => Cause::Error,
    });
    Some(Box::new(Policy {
        on: on?,
        operations,
        after,
        declared,
        required,
    }))
}

/// Whether `falls_back_on` names another dependency than the one that is meant; a problem if not.
fn other_than(
    on: Option<&Name>,
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> bool {
    let key = "falls_back_on";
    let Some(other) = names::dependency(fields, key, names, problems) else {
        return false;
    };
    let is_itself = on == Some(&other);
    if is_itself {
        let message = format!("`{other}` cannot be called instead of itself");
        fields.problem(problems, key, message, None);
    }
    !is_itself
}

impl Policy {
    /// Whether something of this operation and cause is meant. What is of the dependency as a whole
    /// says nothing of one operation, and what is of every trouble nothing of one.
    fn means(&self, operation: Option<&str>, cause: Option<Cause>) -> bool {
        let is_meant = |name: &str| self.operations.iter().any(|one| one == name);
        (self.operations.is_empty() || operation.is_some_and(is_meant))
            && (self.after.is_none() || cause == self.after)
    }

    /// What the system's file declares of one dependency, where that is required.
    fn declared_of<'a>(&self, view: &View<'a>, dependency: &str) -> Option<&'a Declared> {
        let declared = view.system.dependencies.iter();
        let mut own = declared.filter(|one| self.declared && *one.name == *dependency);
        let policy = own.find_map(|one| one.policy.as_ref());
        policy.filter(|declared| !declared.is_empty())
    }

    /// What is required of one dependency.
    fn of(&self, view: &View<'_>, dependency: &str) -> Declared {
        match self.declared_of(view, dependency) {
            Some(declared) => self.required.clone().and(declared),
            None => self.required.clone(),
        }
    }

    /// The dependencies of which something declared is required, and nothing is.
    fn undeclared<'a>(&self, view: &View<'a>) -> Vec<&'a str> {
        if !self.declared {
            return Vec::new();
        }
        let meant = view.dependencies(&self.on).into_iter();
        let undeclared = meant.filter(|name| self.declared_of(view, name).is_none());
        undeclared.map(|name| &**name).collect()
    }
}

/// What a line of the policy does to the judgement.
fn weigh(judgement: Judgement, answer: &Answer) -> Judgement {
    let worst = answer.seen.iter();
    let evidence = worst
        .filter(|one| one.standing == answer.standing)
        .map(|one| (one.at, one.what.clone()));
    match answer.standing {
        Standing::Agrees => judgement,
        Standing::Open => judgement.inconclusive(answer.sentence()),
        Standing::Contradicts => judgement
            .fail_however_busy(answer.on_any_machine(), answer.sentence())
            .with(evidence),
    }
}

impl Expectation for Policy {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let mut answers = Vec::new();
        for dependency in view.dependencies(&self.on) {
            let mut claims = infer_of(view, dependency);
            claims.retain(|claim| self.means(claim.operation.as_deref(), claim.cause));
            let mut calls = calls_of(view, dependency);
            calls.retain(|own| self.means(Some(&own.operation), own.cause));
            answers.extend(self.of(view, dependency).hold(view, &claims, &calls));
        }
        let agree = answers
            .iter()
            .filter(|one| one.standing == Standing::Agrees);
        let measured = match answers.iter().find(|one| one.standing != Standing::Agrees) {
            Some(answer) => answer.sentence(),
            None => {
                let words: Vec<String> = agree.map(Answer::known).collect();
                format!("as required: {}", words.join(", "))
            }
        };
        let count = answers.iter().map(|answer| answer.samples).max();
        let judgement = Judgement::new(view.window(), count.unwrap_or(0), measured);
        let judgement = answers.iter().fold(judgement, weigh);
        let undeclared = self.undeclared(view).into_iter();
        undeclared.fold(judgement, |judgement, name| {
            judgement.inconclusive(format!("the system's file declares no policy of `{name}`"))
        })
    }

    fn required(&self) -> String {
        let operations = names::of_operations(&self.operations);
        let mut words: Vec<String> = Vec::new();
        if !self.required.is_empty() {
            words.push(self.required.to_string());
        }
        if self.declared {
            words.push("what its system's file declares".to_owned());
        }
        format!("{operations}calls to `{}`: {}", self.on, words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, check_of, problems};
    use crate::{
        expectation::Status,
        history::{
            AttemptEnd, Observation, Outcome,
            sample::{self, AttemptBuilder, Story, attempt},
        },
        input::{Problems, Source},
        policy::Declared,
        protocol::Applied,
        scenario::{Upstream, system_from_text},
        units::Micros,
    };

    /// Eight failing calls of so many attempts, 100 ms and 200 ms apart, that name themselves or not.
    fn story(attempts: u32, by_id: bool) -> Story {
        let mut story = Story::new().healthy(0..60);
        for call in 0..8u64 {
            let mut at = 11_000 + call * 2_000;
            for number in 1..=attempts {
                let one = attempt("s3", at, at + 10).status(500).hit();
                let id = format!("bucket/{call}");
                story = story.attempt(if by_id {
                    one.sdk(&id, number)
                } else {
                    one.key(&id)
                });
                at += 10 + 100 * 2u64.pow(number - 1);
            }
        }
        story
    }

    #[track_caller]
    fn is(keys: &str, story: &Story, status: Status) {
        let verdict = check(&format!("kind = \"policy\"\non = \"s3\"\n{keys}"), story);
        assert_eq!(verdict.status, status, "{keys}: {verdict:#?}");
    }

    #[test]
    fn what_was_seen_agrees_contradicts_or_does_not_tell() {
        let client = story(4, true);
        for (keys, status) in [
            ("attempts = 4", Status::Pass),
            ("attempts = 3", Status::Fail),
            ("back_off = \"exponential\"", Status::Pass),
            ("back_off = \"growing\"", Status::Pass),
            ("back_off = \"linear\"", Status::Fail),
            ("back_off = \"fixed\"", Status::Fail),
            ("base = \"100ms\"", Status::Pass),
            ("base = \"200ms\"", Status::Fail),
            ("factor = 2", Status::Pass),
            ("factor = 3", Status::Fail),
            ("jitter = false", Status::Pass),
            ("jitter = \"full\"", Status::Fail),
            ("gives_up_within = \"1s\"", Status::Pass),
            ("gives_up_within = \"500ms\"", Status::Fail),
            ("timeout = \"2s\"", Status::Inconclusive),
            ("honours_retry_after = true", Status::Inconclusive),
            ("opens_after = 5", Status::Inconclusive),
            (
                "attempts = 4\noperation = \"GetObject\"",
                Status::Inconclusive,
            ),
            ("attempts = 4\nafter = \"throttled\"", Status::Inconclusive),
            ("attempts = 4\nafter = \"error\"", Status::Pass),
        ] {
            is(keys, &client, status);
        }
        // Two pauses that double fit a linear law as well.
        is(
            "back_off = \"exponential\"",
            &story(3, true),
            Status::Inconclusive,
        );
        is("back_off = \"growing\"", &story(3, true), Status::Pass);
    }

    #[test]
    fn a_guess_is_enough_to_agree_and_not_to_contradict() {
        is("attempts = 4", &story(4, false), Status::Pass);
        is("attempts = 3", &story(4, false), Status::Inconclusive);
    }

    #[test]
    fn a_guess_does_not_show_that_nothing_is_repeated() {
        is("attempts = 1", &story(1, true), Status::Pass);
        is("attempts = 1", &story(1, false), Status::Inconclusive);
        let broken = |by_id: bool| {
            (0..8u64).fold(Story::new().healthy(0..60), |story, call| {
                let at = 11_000 + call * 1_000;
                let one = attempt("s3", at, at + 10).operation("PostObject").hit();
                let one = one.gave_up().applied(Applied::Unknown);
                let id = format!("bucket/{call}");
                let one = one.key(&id);
                story.attempt(if by_id { one.sdk(&id, 1) } else { one })
            })
        };
        is("repeats_unsafe = false", &broken(true), Status::Pass);
        // The same under an id of its own, as who repeats it himself does.
        let anew = |key: &str| {
            let again = attempt("s3", 14_500, 14_520).operation("PostObject");
            broken(true).attempt(again.key(key).sdk("another", 1))
        };
        let denied = "repeats_unsafe = false";
        is(denied, &anew("bucket/2"), Status::Inconclusive);
        is(denied, &anew("bucket/another"), Status::Pass);
        let known = broken(true).attempt(
            attempt("s3", 14_500, 14_520)
                .operation("PostObject")
                .key("bucket/2")
                .sdk("bucket/2", 2),
        );
        is(denied, &known, Status::Fail);
        is(
            "repeats_unsafe = false",
            &broken(false),
            Status::Inconclusive,
        );
    }

    #[test]
    fn the_beat_of_calls_is_no_back_off() {
        // One call in 100 ms, each tried once: what comes next is another call for the same thing.
        let beat = |from: u64, each: u64| {
            (from..300).map(move |nth| {
                let one = attempt("s3", nth * 100, nth * 100 + 2);
                let one = one.key(&format!("/prices/{}", nth / each));
                if nth < 100 {
                    one
                } else {
                    one.status(500).hit()
                }
            })
        };
        let usual = Story::new().healthy(0..60).attempts(beat(0, 300));
        let law = "back_off = \"fixed\"\nbase = \"100ms\"";
        for keys in [law, "jitter = false", "attempts = 200"] {
            is(keys, &usual, Status::Inconclusive);
        }
        // What nobody asked for before, and no load at its beat, is tried again.
        let again = Story::new().healthy(0..60).attempts(beat(100, 40));
        is(law, &again, Status::Pass);
    }

    #[test]
    fn what_is_done_too_often_is_no_busy_machines_doing() {
        let busy =
            |keys: &str, story: Story, status| is(keys, &story.missed(15, "ask", 60), status);
        busy("attempts = 3", story(4, true), Status::Fail);
        busy("attempts = 5", story(4, true), Status::Inconclusive);
        busy("attempts = 3", story(4, false), Status::Inconclusive);
        busy("attempts = 4", story(4, true), Status::Inconclusive);
        busy(
            "back_off = \"linear\"",
            story(4, true),
            Status::Inconclusive,
        );
        // Five times as often, and for certain more than three times.
        let most = |factor: &str| format!("amplification_at_most = \"{factor}\"");
        busy(&most("1.5x"), instead(2, 0), Status::Fail);
        busy(&most("3x"), instead(2, 0), Status::Inconclusive);
        let peak = "reconnect_peak_at_most = 5";
        let coming = |count: u64| back_at((0..count).map(|nth| 31_000 + nth * 50));
        busy(peak, coming(110), Status::Fail);
        busy(peak, coming(90), Status::Inconclusive);
        is(peak, &coming(90), Status::Fail);
        let charged = |times: u32| {
            (0..8u64).fold(Story::new().healthy(0..60), |story, call| {
                (1..=times).fold(story, |story, number| {
                    let at = 11_000 + call * 1_000 + u64::from(number) * 100;
                    let one = attempt("s3", at, at + 10).operation("PostObject").hit();
                    let one = one.gave_up().applied(Applied::Unknown);
                    story.attempt(one.sdk(&format!("bucket/{call}"), number))
                })
            })
        };
        busy("repeats_unsafe = false", charged(2), Status::Fail);
        busy("repeats_unsafe = false", charged(1), Status::Inconclusive);
        busy("repeats_unsafe = true", charged(1), Status::Inconclusive);
    }

    /// A call of one attempt from this millisecond that is given up after so long.
    fn given_up(operation: &str, began: u64, after: u64) -> AttemptBuilder {
        let one = attempt("s3", began, began + after).operation(operation);
        one.gave_up().hit().sdk(&format!("{operation}{began}"), 1)
    }

    /// One that is held until the fault is lifted.
    fn held(operation: &str, began: u64) -> AttemptBuilder {
        given_up(operation, began, 30_050 - began).released(30_000)
    }

    #[test]
    fn waits_that_the_end_of_the_fault_cut_short_are_waits() {
        let few = (0..5).map(|nth| given_up("GetObject", 11_000 + nth * 100, 2_000));
        let story = Story::new().healthy(0..60).attempts(few);
        for keys in [
            "timeout = \"2s\"",
            "gives_up_within = \"3s\"",
            "attempts = 1",
        ] {
            is(keys, &story, Status::Pass);
        }
        // They are held, and when the fault is lifted their clients are gone, or answered.
        let answered = |nth: u64| {
            let one = attempt("s3", 11_050 + nth * 200, 30_010).operation("GetObject");
            let mut one = one
                .hit()
                .sdk(&format!("held{nth}"), 1)
                .released(30_000)
                .done();
            one.first_byte = Some(Micros::from_millis(30_000));
            Observation::Attempt(one)
        };
        let mut served = story.clone();
        served.observations.extend((0..40).map(answered));
        let gone = (0..40).map(|nth| held("GetObject", 11_050 + nth * 200));
        for story in [story.attempts(gone), served] {
            is("timeout = \"2s\"", &story, Status::Inconclusive);
            is("attempts = 1", &story, Status::Inconclusive);
            is("gives_up_within = \"3s\"", &story, Status::Fail);
            is("gives_up_within = \"25s\"", &story, Status::Inconclusive);
        }
    }

    /// Calls for an operation, one every 100 ms from 11 s, that are answered after so many milliseconds.
    fn answered_late(operation: &str, calls: u64, after: u64) -> Vec<AttemptBuilder> {
        let began = |nth: u64| 11_000 + nth * 100;
        let calls = (0..calls).map(|nth| attempt("s3", began(nth), began(nth) + after));
        let calls = calls.enumerate().map(|(nth, one)| {
            let one = one.operation(operation).hit();
            one.sdk(&format!("{operation}{nth}"), 1)
        });
        calls.collect()
    }

    #[test]
    fn who_was_answered_late_had_waited_for_it() {
        let limit = "timeout = \"5s\"";
        let five = (0..5).map(|nth| given_up("PutObject", 11_000 + nth * 100, 5_000));
        let story = Story::new().healthy(0..60).attempts(five);
        is(limit, &story, Status::Pass);
        let with = |attempts| story.clone().attempts(attempts);
        // Another operation waits for ever, or was answered before that shows.
        is(
            limit,
            &with(answered_late("GetObject", 6, 15_000)),
            Status::Fail,
        );
        is(
            limit,
            &with(answered_late("GetObject", 6, 4_000)),
            Status::Pass,
        );
        is(
            limit,
            &with(answered_late("GetObject", 2, 15_000)),
            Status::Pass,
        );
        // So does another client of the same one, and whatever is answered with.
        let same = answered_late("PutObject", 6, 15_000);
        is(limit, &with(same.clone()), Status::Inconclusive);
        let errors = same.into_iter().map(|one| one.status(500)).collect();
        is(limit, &with(errors), Status::Inconclusive);
        is(
            limit,
            &with(answered_late("PutObject", 6, 4_000)),
            Status::Pass,
        );
        // Two that gave up do not say that the others do.
        let two = (0..2).map(|nth| given_up("GetObject", 11_000 + nth * 100, 5_000));
        let two: Vec<AttemptBuilder> = two.collect();
        is(limit, &with(two.clone()), Status::Pass);
        let mut besides = answered_late("GetObject", 6, 15_000);
        besides.extend(two);
        is(limit, &with(besides), Status::Inconclusive);
    }

    #[test]
    fn a_client_that_never_gives_up_is_seen_by_the_answers_that_it_waits_for() {
        let story = Story::new().healthy(0..60);
        let late = story
            .clone()
            .attempts(answered_late("GetObject", 20, 15_000));
        is("timeout = \"2s\"", &late, Status::Fail);
        is("timeout = \"20s\"", &late, Status::Inconclusive);
        let keys = "timeout = \"2s\"\nafter = \"no-answer\"";
        is(keys, &late, Status::Inconclusive);
        // A request that is long in coming is not waited for so long.
        let usual = |nth: u64| attempt("s3", nth * 10, nth * 10 + 9_000).operation("GetObject");
        let large = late.attempts((0..5).map(usual));
        is("timeout = \"5s\"", &large, Status::Fail);
        is("timeout = \"6s\"", &large, Status::Inconclusive);
        let soon = story.attempts(answered_late("GetObject", 20, 100));
        is("timeout = \"50ms\"", &soon, Status::Inconclusive);
    }

    #[test]
    fn a_bound_holds_for_every_call_and_not_for_the_median() {
        let calls = (0..20).map(|nth| {
            let after = if nth % 5 < 3 { 300 } else { 5_000 };
            given_up("GetObject", 11_000 + nth * 100, after)
        });
        let story = Story::new().healthy(0..60).attempts(calls);
        is("gives_up_within = \"1s\"", &story, Status::Fail);
        is("gives_up_within = \"6s\"", &story, Status::Pass);
        // That reads end in time says nothing of writes that wait.
        let held = (0..30).map(|nth| held("PutObject", 11_000 + nth));
        let story = story.attempts(held);
        is("gives_up_within = \"25s\"", &story, Status::Inconclusive);
        let keys = "gives_up_within = \"25s\"\noperation = \"GetObject\"";
        is(keys, &story, Status::Pass);
    }

    #[test]
    fn one_operation_does_not_vouch_for_another() {
        let calls = |operation: &str, counts: &[u32]| {
            let mut attempts = Vec::new();
            for (call, count) in counts.iter().enumerate() {
                for number in 1..=*count {
                    let began = 11_000 + call as u64 * 1_000 + u64::from(number) * 60;
                    let one = attempt("s3", began, began + 5).status(500).hit();
                    let id = format!("{operation}{call}");
                    attempts.push(one.operation(operation).sdk(&id, number));
                }
            }
            attempts
        };
        let three = calls("PutObject", &[3; 8]);
        let story = Story::new().healthy(0..60).attempts(three);
        is("attempts = 3", &story, Status::Pass);
        let few = story.clone().attempts(calls("GetObject", &[3, 3]));
        is("attempts = 3", &few, Status::Pass);
        let more = calls("GetObject", &[3, 10, 4, 8, 5, 3, 7, 6]);
        is("attempts = 3", &story.attempts(more), Status::Fail);
    }

    #[test]
    fn what_is_seen_of_the_whole_dependency_says_nothing_of_one_operation() {
        let connections = (0..20u64).fold(Story::new().healthy(0..60), |story, nth| {
            let story = story.connection("s3", 100 + nth, 10_500);
            story.connection("s3", 31_000 + nth * 200, 60_000)
        });
        let story = connections.attempts([attempt("s3", 11_000, 11_005).status(500).hit()]);
        is("reconnects_in_lock_step = false", &story, Status::Pass);
        for narrower in ["operation = \"PutObject\"", "after = \"error\""] {
            let keys = format!("reconnects_in_lock_step = false\n{narrower}");
            is(&keys, &story, Status::Inconclusive);
        }
    }

    #[test]
    fn the_rest_of_an_answer_is_waited_for_as_declared() {
        let stalled = |calls: u64| {
            (0..calls).fold(Story::new().healthy(0..60), |story, call| {
                let began = 11_000 + call * 1_000;
                let mut one = given_up("GetObject", began, 3_000).done();
                one.first_byte = Some(Micros::from_millis(began + 1_000));
                let mut story = story;
                story.observations.push(Observation::Attempt(one));
                story
            })
        };
        is("between_bytes_timeout = \"2s\"", &stalled(6), Status::Pass);
        is("between_bytes_timeout = \"3s\"", &stalled(6), Status::Fail);
        is(
            "between_bytes_timeout = \"2s\"",
            &stalled(2),
            Status::Inconclusive,
        );
        is("timeout = \"2s\"", &stalled(6), Status::Inconclusive);
    }

    #[test]
    fn attempts_are_held_against_what_the_client_itself_declares() {
        let says = |counts: &[u32], most: u32| {
            let mut story = Story::new().healthy(0..60);
            for (call, count) in counts.iter().enumerate() {
                for number in 1..=*count {
                    let began = 11_000 + call as u64 * 500 + u64::from(number) * 60;
                    let one = attempt("s3", began, began + 5).status(500).hit();
                    let mut one = one.sdk(&call.to_string(), number).done();
                    one.declared_max = Some(most);
                    story.observations.push(Observation::Attempt(one));
                }
            }
            story
        };
        let keeps = "attempts_as_declared = true";
        is(keeps, &says(&[3; 8], 3), Status::Pass);
        is(keeps, &says(&[2; 8], 5), Status::Fail);
        is(keeps, &says(&[3, 3, 3, 3, 3, 3, 3, 4], 3), Status::Fail);
        is(keeps, &says(&[3; 2], 3), Status::Inconclusive);
        is(keeps, &story(3, true), Status::Inconclusive);
        is(
            "attempts_as_declared = false",
            &says(&[2; 8], 5),
            Status::Pass,
        );
    }

    #[test]
    fn a_change_half_way_is_allowed_or_not() {
        let calls = |counts: &[u32]| {
            let mut story = Story::new().healthy(0..60);
            for (call, count) in counts.iter().enumerate() {
                for number in 1..=*count {
                    let began = 11_000 + call as u64 * 500 + u64::from(number) * 60;
                    let one = attempt("s3", began, began + 5).status(500).hit();
                    story = story.attempt(one.sdk(&call.to_string(), number));
                }
            }
            story
        };
        let changed: Vec<u32> = [[5; 12], [3; 12]].concat();
        is("changes_half_way = false", &calls(&changed), Status::Fail);
        is("changes_half_way = true", &calls(&changed), Status::Pass);
        is("changes_half_way = false", &calls(&[3; 34]), Status::Pass);
        is("changes_half_way = true", &calls(&[3; 34]), Status::Fail);
        // A change after a quarter of 34 shows, and of 24 none does that is not half-way.
        let early: Vec<u32> = [&[5; 9][..], &[3; 25]].concat();
        is("changes_half_way = false", &calls(&early), Status::Fail);
        let early: Vec<u32> = [&[5; 6][..], &[3; 18]].concat();
        for few in [&early[..], &[3; 24], &[3; 10]] {
            is(
                "changes_half_way = false",
                &calls(few),
                Status::Inconclusive,
            );
        }
        // Of pauses there are too few where few are tried again.
        let few: Vec<u32> = [&[2; 4][..], &[1; 30]].concat();
        is(
            "changes_half_way = false",
            &calls(&few),
            Status::Inconclusive,
        );
        is("changes_half_way = false", &calls(&[1; 34]), Status::Pass);
    }

    #[test]
    fn where_calls_are_not_told_apart_no_change_would_show() {
        // Fifty things are asked for again and again: nobody knows what is one call.
        let beat = (0..600u64).map(|nth| {
            let one = attempt("s3", nth * 50, nth * 50 + 2).key(&format!("bucket/{}", nth % 50));
            if nth < 200 {
                one
            } else {
                one.status(500).hit()
            }
        });
        let story = Story::new().healthy(0..60).attempts(beat);
        for keys in ["changes_half_way = false", "changes_half_way = true"] {
            is(keys, &story, Status::Inconclusive);
        }
    }

    /// Connections that break at 10.5 s and are there again at these milliseconds.
    fn back_at(moments: impl Iterator<Item = u64>) -> Story {
        let story = (0..10).fold(Story::new().healthy(0..60), |story, nth| {
            story.connection("s3", 100 + nth, 10_500)
        });
        moments.fold(story, |story, at| story.connection("s3", at, 59_900))
    }

    #[test]
    fn connections_are_back_in_time_or_not() {
        let all = back_at((0..10).map(|nth| 31_000 + nth * 100));
        is("reconnects_within = \"2s\"", &all, Status::Pass);
        is("reconnects_within = \"1500ms\"", &all, Status::Fail);
        is("reconnect_peak_at_most = 10", &all, Status::Pass);
        is("reconnect_peak_at_most = 5", &all, Status::Fail);
        let none = back_at(std::iter::empty());
        is("reconnects_within = \"20s\"", &none, Status::Inconclusive);
        let none = none.attempt(attempt("s3", 55_000, 55_001).status(503));
        is("reconnects_within = \"20s\"", &none, Status::Fail);
        is("reconnects_within = \"40s\"", &none, Status::Inconclusive);
        // Perhaps no more were needed.
        let some = back_at((0..4).map(|nth| 31_000 + nth * 100));
        is("reconnects_within = \"20s\"", &some, Status::Inconclusive);
        let whole = Story::new().healthy(0..60);
        is("reconnects_within = \"20s\"", &whole, Status::Inconclusive);
        is("reconnect_peak_at_most = 5", &whole, Status::Inconclusive);
    }

    #[test]
    fn stale_connections_are_used_or_not() {
        let reused = |broken: u64, used: u64| {
            let mut story = Story::new().healthy(0..60);
            for nth in 0..used {
                story = story.connection("s3", 100 + nth, 59_000);
                let one = attempt("s3", 31_000 + nth, 31_100).on_connection(100 + nth);
                let mut one = one.sdk(&nth.to_string(), 1).done();
                if nth < broken {
                    one.end = AttemptEnd::UpstreamFailed;
                }
                story.observations.push(Observation::Attempt(one));
            }
            story
        };
        let never = "reuses_stale_connections = false";
        // Nothing went away behind them, or what they lead to ended and was started again.
        is(never, &reused(0, 4), Status::Inconclusive);
        let mut system = sample::system();
        system.dependencies[0].upstream = Upstream::Instance("standby".into());
        let keys = format!("kind = \"policy\"\non = \"s3\"\n{never}");
        let ended = |name, at| {
            let story = reused(0, 4).process(at, name, "killed", true);
            check_of(&keys, &story, &system).status
        };
        assert_eq!(ended("standby", 12_000), Status::Pass);
        assert_eq!(ended("primary", 12_000), Status::Inconclusive);
        assert_eq!(ended("standby", 50_000), Status::Inconclusive);
        is(never, &reused(2, 4), Status::Fail);
        is(never, &reused(0, 2), Status::Inconclusive);
        is(
            "reuses_stale_connections = true",
            &reused(2, 4),
            Status::Pass,
        );
    }

    /// Ten requests a second that fail while the fault is on, after so many a second before; and so
    /// many to the other store meanwhile.
    fn instead(before: u64, meanwhile: u64) -> Story {
        let beat = |name: &'static str, from: u64, count: u64, over: u64| {
            (0..count).map(move |nth| {
                let began = from + nth * over / count.max(1);
                attempt(name, began, began + 5).sdk(&format!("{name}{began}"), 1)
            })
        };
        let failing = beat("s3", 10_050, 200, 19_900).map(|one| one.status(500).hit());
        Story::new()
            .healthy(0..60)
            .attempts(beat("s3", 0, before * 10, 10_000))
            .attempts(failing)
            .attempts(beat("backup", 10_500, meanwhile, 19_000))
    }

    #[test]
    fn a_fallback_is_named_and_called_or_not() {
        let calls = "falls_back_on = \"backup\"";
        is(calls, &instead(10, 40), Status::Pass);
        is(calls, &instead(10, 0), Status::Fail);
        // One call may be chance.
        is(calls, &instead(10, 1), Status::Inconclusive);
        is(calls, &Story::new().healthy(0..60), Status::Inconclusive);
        let other = "falls_back_on = \"pager\"";
        is(other, &instead(10, 40), Status::Fail);
        let head = "kind = \"policy\"\non = \"s3\"";
        let problems_of = |name: &str| problems(&format!("{head}\nfalls_back_on = \"{name}\""));
        assert_eq!(
            problems_of("bakcup"),
            ["unknown dependency or role `bakcup`"]
        );
        assert_eq!(
            problems_of("s3"),
            ["`s3` cannot be called instead of itself"]
        );
    }

    #[test]
    fn amplification_is_bounded_with_its_whole_interval() {
        let bound = |most: &str| format!("amplification_at_most = \"{most}\"");
        is(&bound("3x"), &instead(10, 0), Status::Pass);
        is(&bound("3x"), &instead(2, 0), Status::Fail);
        is(&bound("5x"), &instead(2, 0), Status::Inconclusive);
        is(
            &bound("3x"),
            &Story::new().healthy(0..60),
            Status::Inconclusive,
        );
    }

    #[test]
    fn a_breaker_opens_probes_and_closes_as_declared_or_not() {
        let one = |nth: u64| attempt("s3", nth * 50, nth * 50 + 5).sdk(&format!("n{nth}"), 1);
        let breaking = |openings: u64| {
            let mut story = Story::new().healthy(0..60).attempts((0..220).map(one));
            let mut nth = 220;
            for _ in 0..openings {
                story = story.attempts((nth..nth + 5).map(|nth| one(nth).status(500).hit()));
                nth += 44;
                story = story.attempt(one(nth).status(500).hit());
                nth += 40;
                story = story.attempts((nth..nth + 10).map(one));
                nth += 10;
            }
            story
        };
        for (keys, three, once) in [
            ("opens_after = 5", Status::Pass, Status::Inconclusive),
            ("opens_after = 3", Status::Fail, Status::Inconclusive),
            (
                "closes_after = 1",
                Status::Inconclusive,
                Status::Inconclusive,
            ),
            (
                "closes_after = 2",
                Status::Inconclusive,
                Status::Inconclusive,
            ),
            ("probes_every = \"2s\"", Status::Pass, Status::Inconclusive),
            ("probes_every = \"5s\"", Status::Fail, Status::Inconclusive),
        ] {
            is(keys, &breaking(3), three);
            is(keys, &breaking(1), once);
        }
    }

    #[test]
    fn a_breaker_that_is_right_agrees_where_work_is_thin() {
        let one = |at: u64| attempt("s3", at, at + 10).sdk(&format!("n{at}"), 1);
        let mut story = Story::new().load("ask", 0..60, 5, Outcome::Ok, 20);
        story = story.load("train", 0..60, 5, Outcome::Ok, 20);
        story = story.attempts((0..11_000).step_by(200).map(one));
        let mut at = 11_000;
        for _ in 0..3 {
            let failed = (at..at + 600).step_by(200);
            story = story.attempts(failed.map(|at| one(at).status(500).hit()));
            at += 1_600;
            story = story.attempts((at..at + 2_000).step_by(200).map(one));
            at += 2_000;
        }
        is("probes_every = \"1s\"", &story, Status::Pass);
        is("probes_every = \"2s\"", &story, Status::Fail);
        is("probes_every = \"500ms\"", &story, Status::Fail);
    }

    #[test]
    fn without_calls_that_failed_nothing_is_known() {
        let story = Story::new().healthy(0..60);
        is("attempts = 3", &story, Status::Inconclusive);
    }

    #[test]
    fn what_is_declared_must_be_there() {
        is("declared = true", &story(4, true), Status::Inconclusive);
    }

    /// What a system's file declares so.
    fn declared(keys: &str) -> Declared {
        let text = format!(
            "[system]\nexternal = \"http://127.0.0.1:9\"\n[dependency.s3]\nprotocol = \"s3\"\n\
             upstream = \"embedded\"\n[dependency.s3.policy]\n{keys}\n\
             [load.ask]\nrate = \"20/s\"\nrequest = {{ method = \"GET\", path = \"/\" }}\n"
        );
        let mut problems = Problems::default();
        let source = Source::new("system.toml", text);
        let system = system_from_text(source, ".".into(), &mut problems);
        let system = system.unwrap_or_else(|| panic!("{problems:?}"));
        system.dependencies[0].policy.clone().expect("a policy")
    }

    #[test]
    fn each_dependency_of_a_role_must_declare_what_is_required_of_it() {
        let four = declared("attempts = 4");
        let mut system = sample::system();
        system.dependencies[1].role = Some("object-store".into());
        let keys = "kind = \"policy\"\non = \"object-store\"\ndeclared = true";
        let mut verdict_with = |s3: Option<&Declared>, backup: Option<&Declared>| {
            system.dependencies[0].policy = s3.cloned();
            system.dependencies[1].policy = backup.cloned();
            let both = story(4, true).attempts((0..8u64).flat_map(|call| {
                (1..=4u32).map(move |number| {
                    let at = 11_000 + call * 2_000 + u64::from(number) * 100;
                    let one = attempt("backup", at, at + 10).status(500).hit();
                    one.sdk(&format!("backup/{call}"), number)
                })
            }));
            check_of(keys, &both, &system)
        };
        assert_eq!(verdict_with(Some(&four), Some(&four)).status, Status::Pass);
        let open = verdict_with(Some(&four), None);
        assert_eq!(open.status, Status::Inconclusive, "{open:#?}");
        let why = open.reason.unwrap_or_default();
        assert_eq!(why, "the system's file declares no policy of `backup`");
        let five = declared("attempts = 5");
        assert_eq!(verdict_with(Some(&five), None).status, Status::Fail);
    }

    #[test]
    fn something_must_be_required() {
        let nothing = "kind = \"policy\"\non = \"s3\"";
        assert_eq!(problems(nothing), ["expectation requires nothing"]);
        let wrong = format!("{nothing}\njitter = \"fulll\"\nback_off = \"squared\"");
        assert_eq!(
            problems(&wrong),
            ["unknown back_off `squared`", "unknown jitter `fulll`"]
        );
    }
}
