//! `attempts`: how often a client tries one call.

use super::{
    Expectation, ExpectationDef, Judgement, Name, Names,
    calls::{self, CALLS_MIN, Hit},
    names,
};
use crate::{
    history::View,
    input::{About, Fields, Key, Problems, Shape},
};

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "attempts",
    summary: "a call to a failing dependency is tried no more often than this, or exactly so often",
    about: About {
        text: "\
            How often a client tries one call while the dependency fails: no more often than \
            `at_most`, or exactly so often. Retries in several layers multiply, and nobody sees \
            it but the dependency.",
        evidence: "\
            The attempts at the proxy that make up one call: by the client's own id where it \
            sends one, else by what is asked, put together in time.",
        doubt: "\
            Fewer than `min_calls` calls that the client gave up. Where it sends no id a failure \
            may be independent requests for one thing, and is then inconclusive.",
        mistakes: &[
            "It counts attempts and not retries: one try and two retries are 3.",
            "\
                Only calls that fail to the end show how often a client tries: under a fault that \
                merely delays, or that the next attempt is spared, they are answered before.",
        ],
        related: &["amplification", "back-off", "gives-up"],
    },
    example: "[[expect]]\nid      = \"ADA-2\"\nthat    = \"the object store is not hammered\"\nkind    = \"attempts\"\non      = \"object-store\"\nat_most = 3\n",
    keys: &[
        Key::required(
            "on",
            Shape::Text,
            "the role or dependency whose calls count",
        ),
        Key::optional(
            "operation",
            Shape::TextOrTexts,
            "only calls with an attempt of this operation",
        ),
        Key::optional(
            "at_most",
            Shape::Integer(1, 1_000_000),
            "the most attempts a call may have",
        ),
        Key::optional(
            "exactly",
            Shape::Integer(1, 1_000_000),
            "the number of attempts that every call that failed must have",
        ),
        Key::optional(
            "min_calls",
            Shape::Integer(1, 1_000_000),
            "fewer calls that were given up, or that broke the bound, show nothing (3)",
        ),
    ],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
struct Attempts {
    on: Name,
    operations: Vec<String>,
    bound: Bound,
    min_calls: u64,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    AtMost(u64),
    Exactly(u64),
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let on = names::dependency_with_requests(fields, "on", names, problems);
    let operations = names::operations(fields, "operation", problems);
    let at_most = fields.integer("at_most", problems);
    let exactly = fields.integer("exactly", problems);
    let min_calls = fields.integer("min_calls", problems).unwrap_or(CALLS_MIN);
    if fields.has("at_most") == fields.has("exactly") {
        problems.error(
            fields.source,
            fields.span.clone(),
            format!("{} needs either `at_most` or `exactly`", fields.name()),
            Some("say `at_most = 3`".to_owned()),
        );
        return None;
    }
    let bound = match (at_most, exactly) {
        (Some(count), _) => Bound::AtMost(count.unsigned_abs()),
        (_, Some(count)) => Bound::Exactly(count.unsigned_abs()),
        _ => return None,
    };
    Some(Box::new(Attempts {
        on: on?,
        operations,
        bound,
        min_calls: min_calls.unsigned_abs(),
    }))
}

impl Attempts {
    /// Whether a wrong number of attempts is a fact: calls put together by time have at most so many.
    fn certain(&self, hit: &Hit<'_>) -> bool {
        let (Bound::AtMost(count) | Bound::Exactly(count)) = self.bound;
        hit.call.by_sdk_id || (hit.attempts.len() as u64) < count
    }

    /// Whether a call certainly had more attempts than it may: clients that wait in vain on a busy
    /// machine ask again, but no more often than ever.
    fn is_surpassed(&self, hit: &Hit<'_>) -> bool {
        let (Bound::AtMost(count) | Bound::Exactly(count)) = self.bound;
        hit.call.by_sdk_id && hit.attempts.len() as u64 > count
    }

    /// Whether a call broke the bound; `None` where it was cut short before that could be told, or
    /// answered: how often it would have been tried nobody knows.
    fn broke(&self, hit: &Hit<'_>) -> Option<bool> {
        let count = hit.attempts.len() as u64;
        match self.bound {
            Bound::AtMost(most) | Bound::Exactly(most) if count > most => Some(true),
            _ if hit.cut_short() || hit.call.settled => None,
            Bound::AtMost(_) => Some(false),
            Bound::Exactly(exactly) => Some(count != exactly),
        }
    }

    /// Why the calls that tell something are too few, if they are.
    fn too_few(&self, told: usize, hits: &[Hit<'_>]) -> Option<String> {
        let (told, needed) = (told as u64, self.min_calls);
        if hits.is_empty() || told >= needed {
            return calls::too_few(told, hits.len(), needed);
        }
        let cut = hits.iter().filter(|hit| hit.cut_short()).count();
        let answered = hits
            .iter()
            .filter(|hit| !hit.cut_short() && hit.call.settled);
        Some(format!(
            "{told} calls were tried until they were given up, at least {needed} are needed; {} were answered before, and {cut} still open when their fault was lifted",
            answered.count()
        ))
    }
}

impl Expectation for Attempts {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let hits = calls::hit(view, &self.on, &self.operations);
        let told: Vec<(&Hit<'_>, bool)> = hits
            .iter()
            .filter_map(|hit| self.broke(hit).map(|broke| (hit, broke)))
            .collect();
        let wrong: Vec<&Hit<'_>> = told
            .iter()
            .filter_map(|(hit, broke)| broke.then_some(*hit))
            .collect();
        let counts = || hits.iter().map(|hit| hit.attempts.len());
        let measured = match (counts().min(), counts().max()) {
            (Some(least), Some(most)) if least == most => format!("{most} a call"),
            (Some(least), Some(most)) => format!("{least} to {most} a call"),
            _ => "no calls".to_owned(),
        };
        let measured = format!("{measured}{}", calls::grouping_note(&hits));
        let judgement = Judgement::new(view.window(), told.len() as u64, measured);
        let judgement = if wrong.iter().any(|hit| self.certain(hit)) {
            let differ = format!("{} of {} calls differ", wrong.len(), told.len());
            judgement.fail_however_busy(wrong.iter().any(|hit| self.is_surpassed(hit)), differ)
        } else if !wrong.is_empty() {
            judgement.inconclusive(format!(
                "{} of {} calls may differ: the client sends no id, and requests of their own can look like attempts of one call",
                wrong.len(),
                told.len()
            ))
        } else {
            match self.too_few(told.len(), &hits) {
                Some(why) => judgement.inconclusive(why),
                None => match calls::apart(view, &hits) {
                    Some(why) if matches!(self.bound, Bound::Exactly(_)) => {
                        judgement.inconclusive(why)
                    }
                    _ => judgement,
                },
            }
        };
        judgement.with(wrong.iter().map(|hit| hit.evidence()))
    }

    fn required(&self) -> String {
        let operations = names::of_operations(&self.operations);
        match self.bound {
            Bound::AtMost(count) => {
                format!(
                    "at most {count} attempts per {operations}call to `{}`",
                    self.on
                )
            }
            Bound::Exactly(count) => {
                format!(
                    "exactly {count} attempts per failing {operations}call to `{}`",
                    self.on
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, problems};
    use crate::{
        expectation::Status,
        history::sample::{Story, attempt},
    };

    /// Three calls with so many attempts each, all failing.
    fn story(attempts: u32) -> Story {
        let mut story = Story::new().healthy(0..30);
        for call in 0..3u64 {
            for number in 1..=attempts {
                let began = 11_000 + call * 3_000 + u64::from(number) * 100;
                let one = attempt("s3", began, began + 10).status(500).hit();
                story = story.attempt(one.sdk(&call.to_string(), number));
            }
        }
        story
    }

    const AT_MOST: &str = "kind = \"attempts\"\non = \"s3\"\nat_most = 3";

    #[test]
    fn at_most_is_kept_or_broken_by_every_call() {
        let verdict = check(AT_MOST, &story(3));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(verdict.measured, "3 a call");
        let verdict = check(AT_MOST, &story(4));
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(
            verdict.evidence[0].what,
            "PutObject bucket/model: 4 attempts in 310ms, gave up"
        );
    }

    #[test]
    fn no_busy_machine_makes_a_client_ask_more_often_than_it_may() {
        let exactly = "kind = \"attempts\"\non = \"s3\"\nexactly = 3";
        for (expect, attempts, status) in [
            (AT_MOST, 4, Status::Fail),
            (AT_MOST, 3, Status::Inconclusive),
            (exactly, 4, Status::Fail),
            (exactly, 2, Status::Inconclusive),
        ] {
            let verdict = check(expect, &story(attempts).missed(15, "ask", 60));
            assert_eq!(verdict.status, status, "{verdict:?}");
        }
    }

    #[test]
    fn attempts_put_together_by_time_are_no_proof_that_they_were_too_many() {
        let polling = (11..19u64).map(|at| attempt("s3", at * 1_000, at * 1_000 + 10));
        let polling = polling.map(|one| one.status(500).hit());
        let verdict = check(AT_MOST, &Story::new().healthy(0..30).attempts(polling));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
    }

    #[test]
    fn exactly_fails_for_more_and_for_fewer() {
        let expect = "kind = \"attempts\"\non = \"s3\"\nexactly = 2";
        for (attempts, status) in [(1, Status::Fail), (2, Status::Pass), (3, Status::Fail)] {
            assert_eq!(check(expect, &story(attempts)).status, status, "{attempts}");
        }
    }

    /// Thirty calls of so many attempts, the last of which is answered.
    fn answered(attempts: u32) -> Story {
        let calls = (0..30u64).flat_map(|call| {
            (1..=attempts).map(move |number| {
                let began = 11_000 + call * 500 + u64::from(number) * 50;
                let one = attempt("s3", began, began + 40).hit();
                let one = one.sdk(&format!("answered-{call}"), number);
                if number < attempts {
                    one.status(500)
                } else {
                    one
                }
            })
        });
        Story::new().healthy(0..30).attempts(calls)
    }

    #[test]
    fn a_call_that_is_answered_shows_no_bound() {
        for attempts in 1..=3 {
            let verdict = check(AT_MOST, &answered(attempts));
            assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
            let reason = verdict.reason.expect("a reason");
            assert!(reason.starts_with("0 calls were tried until"), "{reason}");
            assert!(reason.contains("30 were answered before"), "{reason}");
        }
        assert_eq!(check(AT_MOST, &answered(4)).status, Status::Fail);
        // Three that were given up show it.
        let given_up = story(3).observations;
        let mut both = answered(2);
        both.observations.extend(given_up);
        assert_eq!(check(AT_MOST, &both).status, Status::Pass);
    }

    #[test]
    fn calls_that_were_cut_short_show_nothing() {
        let cut = |id: &str| {
            attempt("s3", 29_000, 30_100)
                .sdk(id, 1)
                .hit()
                .released(30_000)
        };
        let story = Story::new()
            .healthy(0..30)
            .attempts([cut("a"), cut("b"), cut("c")]);
        assert_eq!(check(AT_MOST, &story).status, Status::Inconclusive);
    }

    #[test]
    fn a_client_without_ids_is_judged_by_time_and_that_is_said() {
        let mut story = Story::new().healthy(0..30);
        for number in 0..7u64 {
            let began = 11_000 + number * 2_000;
            story = story.attempt(attempt("s3", began, began + 1_000).hit().gave_up());
        }
        let verdict = check(AT_MOST, &story);
        assert_eq!(verdict.status, Status::Inconclusive);
        assert!(verdict.measured.contains("grouped by time"));
    }

    #[test]
    fn both_bounds_or_none_are_a_problem() {
        let both = format!("{AT_MOST}\nexactly = 3");
        for text in [both.as_str(), "kind = \"attempts\"\non = \"s3\""] {
            assert_eq!(
                problems(text),
                ["expectation needs either `at_most` or `exactly`"]
            );
        }
    }
}
