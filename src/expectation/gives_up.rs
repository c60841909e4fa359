//! `gives-up`: the system does not wait for a dependency for ever.
//!
//! Judged over the calls that a fault acted on. A call's time is from its first attempt's beginning
//! to the end of its last one, back-off included. A call that was still open when its fault was
//! lifted took at least that long: it can fail the bound, never keep it, and where enough calls
//! began early enough to exceed the bound, only those count. A connect time-out leaves
//! no attempt at the proxy, so that a call of connect time-outs alone is not seen here; the
//! load's own latency shows it.

use super::{
    Evidence, Expectation, ExpectationDef, Foresight, Judgement, Name, Names, Status,
    calls::{self, CALLS_MIN, Hit},
    names,
    samples::{Quantile, Spell, Survival, samples_needed},
    wire::STALLED,
};
use crate::{
    history::{Stalls, View, Window},
    input::{About, Fields, Key, Problems, Shape},
    units::{Micros, format_duration},
};
use std::time::Duration;

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "gives-up",
    summary: "calls to a failing dependency come to an end in time, retries and back-off included",
    about: About {
        text: "\
            The system does not wait for a dependency for ever: each call that a fault acted on \
            comes to an end in time, all attempts and the pauses between them together. It is \
            the requirement that a missing time-out fails.",
        evidence: "\
            The calls at the proxy on which a fault acted, from the first attempt's beginning to \
            the last one's end. A call that was still open when its fault was lifted took at \
            least that long.",
        doubt: "\
            Fewer than `min_calls` telling calls; or so many were cut short before the bound \
            that it cannot be shown. A connect time-out leaves no attempt at the proxy, so that \
            a call of those alone is not seen.",
        mistakes: &[
            "\
                A phase that is shorter than the bound can show no call that keeps to it.",
            "\
                `attempt_within` bounds one attempt; three attempts of 5 s are a call of 15 s and \
                more.",
            "\
                A call that is answered in time is over in time: a fault that merely delays shows \
                no time-out.",
        ],
        related: &["attempts", "latency", "hang", "no-accept"],
    },
    example: "[[expect]]\nid     = \"ADA-1\"\nthat   = \"the object store's client gives up in time\"\nkind   = \"gives-up\"\non     = \"object-store\"\nwithin = \"10s\"\n",
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
            "within",
            Shape::Duration,
            "the time that a call may take, all attempts and pauses together",
        ),
        Key::optional(
            "attempt_within",
            Shape::Duration,
            "the time that a single attempt may take",
        ),
        Key::optional(
            "quantile",
            Shape::Text,
            "the share that must keep to it: p99, max (max: every one)",
        ),
        Key::optional(
            "min_calls",
            Shape::Integer(1, 1_000_000),
            "fewer telling calls show nothing (3)",
        ),
    ],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
struct GivesUp {
    on: Name,
    operations: Vec<String>,
    within: Option<Duration>,
    attempt_within: Option<Duration>,
    quantile: Quantile,
    min_calls: u64,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let on = names::dependency_with_requests(fields, "on", names, problems);
    let operations = names::operations(fields, "operation", problems);
    let within = fields.duration("within", problems);
    let attempt_within = fields.duration("attempt_within", problems);
    let quantile = fields.parsed("quantile", problems, str::parse);
    let min_calls = fields.integer("min_calls", problems).unwrap_or(CALLS_MIN);
    if !fields.has("within") && !fields.has("attempt_within") {
        problems.error(
            fields.source,
            fields.span.clone(),
            format!(
                "{} has neither `within` nor `attempt_within`",
                fields.name()
            ),
            Some("say `within = \"10s\"`".to_owned()),
        );
        return None;
    }
    Some(Box::new(GivesUp {
        on: on?,
        operations,
        within,
        attempt_within,
        quantile: quantile.unwrap_or(Quantile::MAX),
        min_calls: min_calls.unsigned_abs(),
    }))
}

impl GivesUp {
    fn needed(&self) -> u64 {
        match self.quantile {
            Quantile::MAX => self.min_calls,
            quantile => samples_needed(quantile.share()).max(self.min_calls),
        }
    }

    /// Holds spells, each with when it began, against a bound; `what` is "call" or "attempt". Where we
    /// stood still meanwhile they may have been shorter or longer, and what turns on that is not said.
    fn hold(
        &self,
        judgement: Judgement,
        spells: &[(Micros, Spell)],
        (bound, what): (Duration, &str),
        stalls: &Stalls,
    ) -> Judgement {
        let as_if = |time: &dyn Fn(Micros, Duration) -> Duration| {
            let all = spells.iter().map(|(began, spell)| Spell {
                time: time(*began, spell.time),
                ..*spell
            });
            self.hold_as(judgement.clone(), &all.collect::<Vec<_>>(), bound, what)
        };
        let noted = as_if(&|_, time| time);
        let least = as_if(&|began, time| {
            time.saturating_sub(stalls.within(Window::new(began, began + time)))
        });
        let most = as_if(&|began, time| time + began.since(stalls.since(began)));
        match least.status == noted.status && most.status == noted.status {
            true => noted,
            false => judgement.inconclusive(STALLED),
        }
    }

    /// Holds spells against a bound as if they had been exactly so long.
    fn hold_as(
        &self,
        judgement: Judgement,
        spells: &[Spell],
        bound: Duration,
        what: &str,
    ) -> Judgement {
        let survival = Survival::beyond(spells, bound, self.needed());
        let allowed = 1.0 - self.quantile.share() + 1e-9;
        let exceeding = spells.iter().filter(|spell| spell.exceeds(bound)).count();
        let bound = format_duration(bound);
        if survival.least > allowed {
            return judgement.fail(format!("{exceeding} took longer than {bound}"));
        }
        if let Some(why) = calls::too_few(survival.telling, spells.len(), self.needed()) {
            return judgement.inconclusive(why);
        }
        if survival.most > allowed {
            return judgement.inconclusive(format!(
                "too many {what}s were cut short before {bound} when their fault was lifted"
            ));
        }
        judgement
    }

    fn evidence(&self, hits: &[Hit<'_>], view: &View<'_>) -> Vec<Evidence> {
        let mut worst: Vec<(Duration, Evidence)> = Vec::new();
        for hit in hits {
            let time = hit.spell().time;
            if self.within.is_some_and(|bound| time > bound) {
                worst.push((time, hit.evidence()));
            }
            for (spell, attempt) in hit.attempt_spells(view.history) {
                if self
                    .attempt_within
                    .is_some_and(|bound| spell.exceeds(bound))
                {
                    let took = format_duration(spell.time);
                    let what = format!(
                        "{} {}: attempt {} open for {took}",
                        attempt.operation, attempt.key, attempt.attempt
                    );
                    let evidence = Evidence::of_call(hit.attempts[0], what);
                    let at = attempt.began;
                    worst.push((spell.time, Evidence { at, ..evidence }));
                }
            }
        }
        worst.sort_by_key(|(time, one)| (std::cmp::Reverse(*time), one.at));
        worst.into_iter().map(|(_, one)| one).collect()
    }
}

/// The spells in words: `slowest 4.02s, median 4.01s of 12`.
fn describe(spells: &[Spell]) -> String {
    let mut times: Vec<u64> = spells
        .iter()
        .map(|spell| Micros::from(spell.time).0)
        .collect();
    let text = |micros: u64| format_duration(Duration::from_micros(micros));
    let Some(slowest) = Quantile::MAX.of(&mut times) else {
        return "no calls".to_owned();
    };
    let mut whole: Vec<u64> = spells
        .iter()
        .filter(|spell| !spell.censored)
        .map(|spell| Micros::from(spell.time).0)
        .collect();
    let ended = whole.len();
    let cut = spells.len() - ended;
    let middle = (ended > 0).then(|| {
        whole.sort_unstable();
        format!(
            "median {} of {ended} that ended",
            text(whole[(ended - 1) / 2])
        )
    });
    let mut parts = vec![format!("slowest {}", text(slowest))];
    parts.extend(middle);
    if cut > 0 {
        parts.push(format!("{cut} cut short"));
    }
    parts.join(", ")
}

impl Expectation for GivesUp {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let hits = calls::hit(view, &self.on, &self.operations);
        let stalls = Stalls::of(view.history);
        let spells: Vec<Spell> = hits.iter().map(Hit::spell).collect();
        let measured = format!("{}{}", describe(&spells), calls::grouping_note(&hits));
        let mut judgement = Judgement::new(view.window(), hits.len() as u64, measured);
        if let Some(bound) = self.within {
            let certain: Vec<_> = hits.iter().map(Hit::certain_spell).collect();
            let whole: Vec<_> = hits
                .iter()
                .map(|hit| (hit.call.began, hit.spell()))
                .collect();
            let surely = self.hold(judgement.clone(), &certain, (bound, "call"), &stalls);
            let held = self.hold(judgement.clone(), &whole, (bound, "call"), &stalls);
            judgement = if held.status == Status::Fail && surely.status != Status::Fail {
                judgement.inconclusive(
                    "only calls put together by time took too long: the client sends no id, and requests of their own can look like attempts of one call",
                )
            } else {
                held
            };
        }
        if let Some(bound) = self.attempt_within {
            let attempts: Vec<(Micros, Spell)> = hits
                .iter()
                .flat_map(|hit| hit.attempt_spells(view.history))
                .map(|(spell, attempt)| (attempt.began, spell))
                .collect();
            let spells: Vec<Spell> = attempts.iter().map(|(_, spell)| *spell).collect();
            judgement
                .measured
                .push_str(&format!("; attempts: {}", describe(&spells)));
            judgement = self.hold(judgement, &attempts, (bound, "attempt"), &stalls);
        }
        judgement.with(self.evidence(&hits, view))
    }

    fn required(&self) -> String {
        let mut bounds = Vec::new();
        bounds.extend(
            self.within
                .map(|bound| format!("over within {}", format_duration(bound))),
        );
        bounds.extend(
            self.attempt_within
                .map(|bound| format!("each attempt within {}", format_duration(bound))),
        );
        let every = match self.quantile {
            Quantile::MAX => "every".to_owned(),
            quantile => quantile.to_string(),
        };
        let operations = names::of_operations(&self.operations);
        format!(
            "{every} {operations}call to `{}` {}",
            self.on,
            bounds.join(", ")
        )
    }

    fn forewarn(&self, plan: &Foresight<'_>) -> Vec<String> {
        let longest = plan.phases.iter().map(|(_, length)| *length).max();
        let bound = self.within.into_iter().chain(self.attempt_within).max();
        match (longest, bound) {
            (Some(longest), Some(bound)) if longest <= bound => vec![format!(
                "no judged phase is longer than {}, so a call that never ends cannot be told from one that does",
                format_duration(bound)
            )],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, problems};
    use crate::{
        expectation::Status,
        history::sample::{AttemptBuilder, Story, attempt},
    };

    const WITHIN: &str = "kind = \"gives-up\"\non = \"object-store\"\nwithin = \"5s\"";

    /// As boto3 with `read_timeout=2, total_max_attempts=2`: about 4 s a call.
    fn two_attempts(id: &str, began: u64) -> [AttemptBuilder; 2] {
        [
            attempt("s3", began, began + 2_000)
                .sdk(id, 1)
                .hit()
                .gave_up(),
            attempt("s3", began + 2_050, began + 4_050)
                .sdk(id, 2)
                .hit()
                .gave_up(),
        ]
    }

    fn giving_up() -> Story {
        let mut story = Story::new().healthy(0..30);
        for (id, began) in [("a", 11_000), ("b", 15_000), ("c", 19_000)] {
            story = story.attempts(two_attempts(id, began));
        }
        story
    }

    #[test]
    fn it_passes_when_every_call_ends_in_time() {
        let verdict = check(WITHIN, &giving_up());
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(
            verdict.measured,
            "slowest 4.05s, median 4.05s of 3 that ended"
        );
        assert_eq!(verdict.count, 3);
    }

    #[test]
    fn it_fails_when_a_call_takes_longer() {
        let verdict = check(&WITHIN.replace("5s", "3s"), &giving_up());
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(
            verdict.evidence[0].what,
            "PutObject bucket/model: 2 attempts in 4.05s, gave up"
        );
    }

    #[test]
    fn a_call_still_open_when_the_fault_is_lifted_can_fail_but_not_pass() {
        let held = |began: u64| {
            attempt("s3", began, 30_100)
                .sdk("x", 1)
                .hit()
                .released(30_000)
        };
        let long = giving_up().attempt(held(12_000));
        assert_eq!(check(WITHIN, &long).status, Status::Fail);
        let only_short = Story::new().healthy(0..30).attempts([
            held(26_000).sdk("x", 1),
            held(27_000).sdk("y", 1),
            held(28_000).sdk("z", 1),
        ]);
        assert_eq!(check(WITHIN, &only_short).status, Status::Inconclusive);
        let mixed = giving_up().attempt(held(28_000));
        assert_eq!(check(WITHIN, &mixed).status, Status::Pass);
    }

    #[test]
    fn what_turns_on_a_stall_of_ours_is_not_said() {
        let judged = |expect: &str, from, to| {
            let verdict = check(expect, &giving_up().stalled(from, to));
            let by_stall = verdict
                .reason
                .is_some_and(|why| why.contains("stood still"));
            assert_eq!(by_stall, verdict.status == Status::Inconclusive);
            verdict.status
        };
        // The slowest call lasts 4.05 s. Its end may have been noted too late.
        let short = WITHIN.replace("5s", "4s");
        assert_eq!(judged(&short, 50_000, 50_500), Status::Fail, "another time");
        let all = giving_up().stalled(15_500, 16_000).stalled(19_000, 20_000);
        assert_eq!(check(&short, &all).status, Status::Fail, "the first call");
        let all = all.stalled(14_900, 15_100).stalled(18_990, 20_000);
        assert_eq!(
            check(&short, &all).status,
            Status::Inconclusive,
            "each of them"
        );
        assert_eq!(
            judged(&WITHIN.replace("5s", "3s"), 14_900, 15_100),
            Status::Fail
        );
        // Its beginning as well.
        assert_eq!(judged(WITHIN, 10_500, 11_000), Status::Pass);
        assert_eq!(judged(WITHIN, 10_000, 11_000), Status::Inconclusive);
        assert_eq!(judged(WITHIN, 12_000, 13_000), Status::Pass);
        // So it is with single attempts.
        let attempt = "kind = \"gives-up\"\non = \"s3\"\nattempt_within = \"2100ms\"";
        assert_eq!(judged(attempt, 10_950, 11_000), Status::Pass);
        assert_eq!(judged(attempt, 10_850, 11_000), Status::Inconclusive);
    }

    #[test]
    fn polling_that_looks_like_one_call_leaves_it_open() {
        let expect = "kind = \"gives-up\"\non = \"s3\"\nwithin = \"5s\"";
        let polling = |lasts| {
            let one = move |at: u64| attempt("s3", at * 1_000, at * 1_000 + lasts);
            let all = (0..3).map(move |nth| one(11 + nth * 6).status(500).hit());
            Story::new().healthy(0..30).attempts(all)
        };
        assert_eq!(check(expect, &polling(100)).status, Status::Inconclusive);
        assert_eq!(check(expect, &polling(5_500)).status, Status::Fail);
    }

    #[test]
    fn calls_that_no_fault_acted_on_show_nothing() {
        let story = Story::new().healthy(0..30).attempts(
            (0..10).map(|n| attempt("s3", 11_000 + n, 11_100 + n).sdk(&n.to_string(), 1)),
        );
        let verdict = check(WITHIN, &story);
        assert_eq!(verdict.status, Status::Inconclusive);
        assert_eq!(verdict.reason.unwrap(), "no call was acted on by a fault");
    }

    #[test]
    fn two_calls_are_too_few_unless_the_file_says_otherwise() {
        let story = Story::new()
            .healthy(0..30)
            .attempts(two_attempts("a", 11_000))
            .attempts(two_attempts("b", 15_000));
        assert_eq!(check(WITHIN, &story).status, Status::Inconclusive);
        let two = format!("{WITHIN}\nmin_calls = 2");
        assert_eq!(check(&two, &story).status, Status::Pass);
    }

    #[test]
    fn single_attempts_have_a_bound_of_their_own() {
        let expect = "kind = \"gives-up\"\non = \"s3\"\nattempt_within = \"2s\"";
        assert_eq!(check(expect, &giving_up()).status, Status::Pass);
        let expect = expect.replace("2s", "1900ms");
        let verdict = check(&expect, &giving_up());
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(
            verdict.evidence[0].what,
            "PutObject bucket/model: attempt 1 open for 2s"
        );
    }

    #[test]
    fn unknown_names_and_missing_bounds_are_problems() {
        assert_eq!(
            problems("kind = \"gives-up\"\non = \"objct-store\"\nwithin = \"5s\""),
            ["unknown dependency or role `objct-store`"]
        );
        assert_eq!(
            problems("kind = \"gives-up\"\non = \"s3\""),
            ["expectation has neither `within` nor `attempt_within`"]
        );
    }
}
