//! `failover`: a load is served again, by whatever stands in, while the fault still lasts.
//!
//! The time runs from the arming of the fault on an instance (or, where there is none, of the first
//! judged fault) to the end of the last second before its lifting in which less than 99 % of the load
//! were answered, by whomever and however slowly; from there it must be answered for a `hold`. A load
//! that is lost later, or again, is so not served until it is for good. What is answered only when the
//! fault is lifted is not served by anybody, and lost: an answer counts if it came before that, or if
//! the operation had by then not been open for longer than those took that were answered in the last
//! `hold` before, or in the steady phases. Fewer than three answers show nothing.

use super::{
    Evidence, Expectation, ExpectationDef, Foresight, Judgement, Name, Names, Status, names,
};
use crate::{
    history::{Criteria, FaultSpan, Operation, SHOWN_BY, Steady, View, Window},
    input::{About, Fields, Key, Problems, Shape},
    scenario::Target,
    units::{Micros, format_duration},
};
use std::time::Duration;

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "failover",
    summary: "a load is answered again within this time, while the fault still lasts",
    about: About {
        text: "\
            A load is served again, by whatever stands in, while the fault still lasts. The time \
            runs from the fault to the end of the last second in which less than 99% of the load \
            were answered; from there it must be answered for a `hold`. What hangs until the fault \
            is lifted, and is answered then, is lost.",
        evidence: "\
            The load's operations, second by second, after the arming of the fault.",
        doubt: "\
            The fault was lifted before a whole `hold` could be seen, or there were too few \
            operations.",
        mistakes: &[
            "\
                `recovery` is about what comes after the fault; this is about living with it.",
            "The phase must be longer than `within` and `hold` together.",
        ],
        related: &["fallback", "recovery", "kill"],
    },
    example: "[[expect]]\nid     = \"ADA-9\"\nthat   = \"the standby takes over\"\nkind   = \"failover\"\nload   = \"ask\"\nwithin = \"60s\"\n",
    keys: &[
        Key::required("load", Shape::Text, "the load that must be served again"),
        Key::required(
            "within",
            Shape::Duration,
            "the time from the fault until it is answered for good",
        ),
        Key::optional(
            "max_failed",
            Shape::Integer(0, 1_000_000_000),
            "the most operations that may go unanswered while the fault lasts",
        ),
    ],
    parse,
};

/// How much longer than usual an operation may be open at the lifting: what is noise.
const SLACK: Duration = Duration::from_millis(100);

/// See [`DEF`].
#[derive(Debug)]
struct Failover {
    load: Name,
    within: Duration,
    max_failed: Option<u64>,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let load = names::load(fields, "load", names, problems);
    let within = fields.duration("within", problems);
    let max_failed = fields.integer("max_failed", problems);
    Some(Box::new(Failover {
        load: load?,
        within: within?,
        max_failed: max_failed.map(i64::unsigned_abs),
    }))
}

/// The fault that failover is from.
fn loss<'a>(view: &View<'a>) -> Option<&'a FaultSpan> {
    let faults = view.faults();
    let of_instance = faults
        .iter()
        .find(|(_, fault)| matches!(fault.target, Target::Instance(_)));
    of_instance.or(faults.first()).map(|(span, _)| *span)
}

/// Whether an operation was answered only after the lifting, and had then been open for longer than
/// `patience`: nobody would have served it.
fn hung(one: &Operation, span: &FaultSpan, patience: Duration) -> bool {
    let is_open =
        span.armed <= one.intended && one.intended < span.lifted && span.lifted < one.ended;
    is_open && one.answered() && !one.cut && span.lifted.since(one.intended) > patience
}

/// What was lost, in words.
fn shown(one: &Operation) -> String {
    match one.answered() {
        true => format!("{}, when the fault was lifted", one.describe()),
        false => one.describe(),
    }
}

impl Failover {
    /// The longest that an answer took of late before the lifting, or in the steady phases.
    fn usual(&self, view: &View<'_>, span: &FaultSpan) -> Duration {
        let began = Window::new(span.armed, span.lifted);
        let late = view
            .operations_in(&self.load, began)
            .iter()
            .filter(|one| one.ended <= span.lifted && span.lifted < one.ended + view.scenario.hold);
        let before = view.steady_operations(&self.load);
        let all = late.chain(before);
        let answered = all.filter(|one| one.answered() && !one.cut);
        answered.map(Operation::latency).max().unwrap_or_default()
    }

    /// When it was answered for good, if it was while the fault still lasted. `seconds` are those
    /// from the arming on, with whether each was answered.
    fn back(
        &self,
        view: &View<'_>,
        span: &FaultSpan,
        seconds: &[(Micros, bool)],
    ) -> Option<Micros> {
        let second = Duration::from_secs(1);
        let during = seconds
            .iter()
            .take_while(|(start, _)| *start + second <= span.lifted)
            .count();
        let lost = seconds[..during].iter().rposition(|(_, good)| !good);
        let from = lost.map_or(0, |last| last + 1);
        let hold = view.scenario.hold.as_millis().div_ceil(1000).max(1) as usize;
        let held = seconds.get(from..from + hold)?;
        let start = held.first()?.0;
        let window = Window::new(start, held.last()?.0 + second);
        (from < during
            && held.iter().all(|(_, good)| *good)
            && !view.operations_in(&self.load, window).is_empty())
        .then_some(start)
    }

    fn weigh(&self, view: &View<'_>, span: &FaultSpan) -> Judgement {
        let (armed, end) = (span.armed, view.history.end);
        let mut steady =
            Steady::new(view.scenario, view.system, Criteria::ANSWERED).only(&self.load);
        let patience = self.usual(view, span) + SLACK;
        let is_lost = |one: &Operation| hung(one, span, patience);
        steady.observe_history_but(view.history, armed, is_lost);
        let back = self.back(view, span, &steady.decided(end));
        // What is answered only after the lifting is no answer to the fault.
        let answered = back.map_or(0, |back| {
            let operations = view.operations_in(&self.load, Window::new(back, span.lifted));
            let in_time = |one: &&Operation| one.answered() && one.ended <= span.lifted;
            operations.iter().filter(in_time).count() as u64
        });
        let back = back.filter(|_| answered > 0);
        let failed: Vec<_> = view
            .operations_in(&self.load, Window::new(armed, span.lifted))
            .iter()
            .filter(|one| (!one.answered() && !one.cut) || is_lost(one))
            .collect();
        let count = view
            .operations_in(&self.load, Window::new(armed, span.lifted))
            .len();
        let evidence = failed
            .iter()
            .map(|one| Evidence::of_operation(one.intended, one, shown(one)));
        let took = back.map(|back| back.since(armed));
        let measured = match took {
            Some(took) => format!(
                "answered again after {}, {} operations lost",
                format_duration(took),
                failed.len()
            ),
            None => format!("not answered again, {} operations lost", failed.len()),
        };
        let judgement = Judgement::new(Window::new(armed, span.lifted), count as u64, measured);
        let judgement = self.hold(judgement, took, span, view, failed.len() as u64);
        let judgement = if judgement.status == Status::Pass && answered < SHOWN_BY {
            judgement.inconclusive(format!(
                "answered only {answered} times while the fault lasted, {SHOWN_BY} are needed to tell"
            ))
        } else {
            judgement
        };
        judgement.with(evidence)
    }

    fn hold(
        &self,
        judgement: Judgement,
        took: Option<Duration>,
        span: &FaultSpan,
        view: &View<'_>,
        failed: u64,
    ) -> Judgement {
        let within = format_duration(self.within);
        let seen = span.lifted.since(span.armed);
        match (took, self.max_failed) {
            _ if judgement.count == 0 => {
                judgement.inconclusive(format!("load `{}` had no operation", self.load))
            }
            (Some(took), _) if took > self.within => {
                judgement.fail(format!("it took longer than {within}"))
            }
            (Some(_), Some(most)) if failed > most => {
                judgement.fail(format!("{failed} operations were lost, {most} may be"))
            }
            (Some(_), _) => judgement,
            (None, _) if seen < self.within => judgement.inconclusive(format!(
                "the fault was lifted after {}, before {within} were over",
                format_duration(seen)
            )),
            (None, _) if view.history.over() < span.armed + self.within + view.scenario.hold => {
                judgement.inconclusive("the run ended before that could be told")
            }
            (None, _) => judgement.fail(format!(
                "not answered again in the {} that the fault lasted",
                format_duration(seen)
            )),
        }
    }
}

impl Expectation for Failover {
    fn judge(&self, view: &View<'_>) -> Judgement {
        match loss(view) {
            Some(span) => self.weigh(view, span),
            None => Judgement::new(Window::new(Micros(0), Micros(0)), 0, "nothing")
                .inconclusive("no fault was armed in the judged phases"),
        }
    }

    fn required(&self) -> String {
        let mut text = format!(
            "`{}` answered again within {} of the fault",
            self.load,
            format_duration(self.within)
        );
        if let Some(most) = self.max_failed {
            text.push_str(&format!(", at most {most} operations lost"));
        }
        text
    }

    fn loads(&self) -> Vec<Name> {
        vec![self.load.clone()]
    }

    fn forewarn(&self, plan: &Foresight<'_>) -> Vec<String> {
        let judged: Duration = plan.phases.iter().map(|(_, length)| *length).sum();
        if judged >= self.within {
            return Vec::new();
        }
        vec![format!(
            "the faults last {} in all, failover may take {}",
            format_duration(judged),
            format_duration(self.within)
        )]
    }

    fn needs_running(&self, _instance: &str) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, check_of};
    use crate::{
        expectation::Status,
        history::{
            Observation, Outcome,
            sample::{self, Story},
        },
    };

    const EXPECT: &str = "kind = \"failover\"\nload = \"ask\"\nwithin = \"8s\"";

    /// The verdict where `ask` is a thin load.
    fn check_thin(story: &Story) -> Status {
        let mut system = sample::system();
        for load in &mut system.loads {
            load.rate = "0.4/s".parse().unwrap();
        }
        check_of(EXPECT, story, &system).status
    }

    /// `ask` fails for so long from the fault on.
    fn lost_for(seconds: u64) -> Story {
        Story::new()
            .healthy(0..10)
            .load("ask", 10..10 + seconds, 20, Outcome::Failed, 20)
            .load("ask", 10 + seconds..60, 20, Outcome::Ok, 500)
    }

    /// `ask` fails until the first of these seconds and then takes three seconds until the other.
    fn lost_until(from: u64, to: u64) -> Story {
        Story::new()
            .healthy(0..10)
            .load("ask", 10..from, 20, Outcome::Failed, 20)
            .load("ask", from..to, 20, Outcome::Ok, 3_000)
    }

    #[test]
    fn served_again_in_time_passes_however_slowly() {
        let verdict = check(EXPECT, &lost_for(8));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(
            verdict.measured,
            "answered again after 8s, 160 operations lost"
        );
    }

    #[test]
    fn too_late_or_only_after_the_fault_fails() {
        assert_eq!(check(EXPECT, &lost_for(9)).status, Status::Fail);
        let verdict = check(EXPECT, &lost_for(22));
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(
            verdict.reason.unwrap(),
            "not answered again in the 20s that the fault lasted"
        );
    }

    #[test]
    fn a_load_that_is_lost_only_after_a_while_or_again_is_not_served_before_that() {
        let later = Story::new()
            .healthy(0..16)
            .load("ask", 16..30, 20, Outcome::Failed, 20)
            .load("ask", 30..60, 20, Outcome::Ok, 20);
        assert_eq!(check(EXPECT, &later).status, Status::Fail);
        let again = Story::new()
            .healthy(0..10)
            .load("ask", 10..12, 20, Outcome::Failed, 20)
            .load("ask", 12..20, 20, Outcome::Ok, 20)
            .load("ask", 20..24, 20, Outcome::Failed, 20)
            .load("ask", 24..60, 20, Outcome::Ok, 20);
        let verdict = check(EXPECT, &again);
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(
            verdict.measured,
            "answered again after 14s, 120 operations lost"
        );
    }

    #[test]
    fn a_second_in_which_nothing_was_due_is_none_in_which_the_load_was_lost() {
        let judged = |missing: Option<u64>| {
            let mut system = sample::system();
            for load in &mut system.loads {
                load.rate = "3/s".parse().unwrap();
            }
            let mut story = Story::new()
                .load("train", 0..60, 3, Outcome::Ok, 20)
                .load("ask", 0..10, 3, Outcome::Ok, 20)
                .load("ask", 10..14, 3, Outcome::Failed, 20)
                .load("ask", 14..25, 3, Outcome::Ok, 20)
                .load("ask", 26..60, 3, Outcome::Ok, 20);
            let is_missing = |nth: u64| missing == Some(nth);
            story.observations.retain(
                |one| !matches!(one, Observation::Operation(one) if *one.load == *"ask" && is_missing(one.nth)),
            );
            let verdict = check_of(EXPECT, &story, &system);
            (verdict.status, verdict.measured)
        };
        let measured = |after: &str| format!("answered again after {after}, 12 operations lost");
        assert_eq!(judged(None), (Status::Pass, measured("4s")));
        // The last one before it is known to be missing, and may have been due in it.
        assert_eq!(judged(Some(75)), (Status::Fail, measured("16s")));
    }

    #[test]
    fn too_many_lost_operations_fail() {
        let most = format!("{EXPECT}\nmax_failed = 159");
        assert_eq!(check(&most, &lost_for(8)).status, Status::Fail);
        let most = format!("{EXPECT}\nmax_failed = 160");
        assert_eq!(check(&most, &lost_for(8)).status, Status::Pass);
    }

    #[test]
    fn a_fault_shorter_than_the_bound_cannot_tell() {
        let expect = EXPECT.replace("8s", "25s");
        assert_eq!(check(&expect, &lost_for(22)).status, Status::Inconclusive);
    }

    #[test]
    fn what_is_answered_only_when_the_fault_is_lifted_is_not_served_by_anybody() {
        use Outcome::{Failed, Ok};
        let steady = || Story::new().healthy(0..10);
        // The last second before the lifting has no operation, and the next one is answered.
        let thin = steady()
            .seldom("ask", 11_000, 2_500, &[Failed; 8])
            .seldom("ask", 31_000, 1_000, &[Ok; 20]);
        assert_eq!(check_thin(&thin), Status::Fail);
        // All hang for as long as the fault lasts.
        let held = (10..30).fold(steady(), |story, second| {
            story.load("ask", second..second + 1, 20, Ok, (31 - second) * 1_000)
        });
        let held = held.load("ask", 30..60, 20, Ok, 20);
        assert_eq!(check(EXPECT, &held).status, Status::Fail);
    }

    #[test]
    fn what_hangs_until_the_lifting_is_lost_though_others_are_answered() {
        use Outcome::Ok;
        // Two of twenty a second are answered, the others when the fault is lifted.
        let tenth = (10..30).fold(Story::new().healthy(0..10), |story, second| {
            let held = (31 - second) * 1_000;
            let story = story.load("ask", second..second + 1, 18, Ok, held);
            story.load("ask", second..second + 1, 2, Ok, 20)
        });
        let verdict = check(EXPECT, &tenth.load("ask", 30..60, 20, Ok, 20));
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        assert_eq!(verdict.measured, "not answered again, 358 operations lost");
        let what = &verdict.evidence[0].what;
        assert!(
            what.ends_with("ok after 21s, when the fault was lifted"),
            "{what}"
        );
        // Served for a while, and then all hang.
        let later = (20..30).fold(lost_until(18, 20), |story, second| {
            story.load("ask", second..second + 1, 20, Ok, (31 - second) * 1_000)
        });
        let verdict = check(EXPECT, &later.load("ask", 30..60, 20, Ok, 20));
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
    }

    #[test]
    fn what_is_in_flight_at_the_lifting_for_no_longer_than_usual_is_served() {
        use Outcome::Ok;
        // The standby takes three seconds, also for those whom the lifting meets.
        let slow = lost_until(16, 30);
        let verdict = check(EXPECT, &slow.load("ask", 30..60, 20, Ok, 20));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(
            verdict.measured,
            "answered again after 6s, 120 operations lost"
        );
        // As before the outage, and a moment longer.
        for late in [20, 110] {
            let story = Story::new().healthy(0..10).load("ask", 10..29, 20, Ok, 20);
            let story = story.load("ask", 29..30, 20, Ok, late);
            let verdict = check(EXPECT, &story.load("ask", 30..60, 20, Ok, 20));
            assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        }
    }

    #[test]
    fn few_answers_are_no_failover() {
        let answered = |count: usize| {
            let story = Story::new()
                .healthy(0..10)
                .seldom("ask", 11_000, 500, &[Outcome::Failed; 4])
                .seldom("ask", 15_000, 4_000, &vec![Outcome::Ok; count]);
            check_thin(&story.load("ask", 30..60, 1, Outcome::Ok, 20))
        };
        assert_eq!(answered(2), Status::Inconclusive);
        assert_eq!(answered(3), Status::Pass);
    }

    #[test]
    fn a_load_without_operations_shows_nothing() {
        let story = Story::new().healthy(0..10);
        assert_eq!(check(EXPECT, &story).status, Status::Inconclusive);
    }
}
