//! `fallback`: where a dependency fails, something else answers: the system's own fallback, seen in
//! its answers, or another dependency, seen on the wire.

use super::{
    Evidence, Expectation, ExpectationDef, Foresight, Judgement, Name, Names, names,
    samples::{part_of, percent, samples_needed},
    whose::{EXCEPT, HIT, SPARED, WHERE, Whose},
};
use crate::{
    history::{Operation, Outcome, PhaseSpan, View, Window},
    input::{About, Fields, Key, Problems, Shape},
    units::Share,
};

/// The fewest calls in the steady phases that a rate is made of.
const BASELINE_MIN: usize = 10;

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "fallback",
    summary: "a fallback answers instead, or another dependency takes the calls over",
    about: About {
        text: "\
            Where a dependency fails something else answers: the system's own fallback, seen in \
            its answers (`load` with its `degraded`), or another dependency that takes the calls \
            over, seen on the wire (`on` and `instead`).",
        evidence: "\
            The share of operations answered as degraded; or the calls a second at `instead`, \
            held against those that `on` had in steady state.",
        doubt: "\
            Too few operations for the share, or too few calls in the steady phases to hold \
            against; or a pass would depend on operations that were not sent or were cut off.",
        mistakes: &["\
                A fallback can only be seen if its answers say so: give them a header or a field, \
                and write it into the load's `degraded`."],
        related: &["success-rate", "failover", "load"],
    },
    example: "[[expect]]\nid       = \"ADA-7\"\nthat     = \"answers come from the cache\"\nkind     = \"fallback\"\nload     = \"ask\"\nat_least = \"90%\"\n",
    keys: &[
        Key::optional(
            "load",
            Shape::Text,
            "the load of which `at_least` must be answered by a fallback (`degraded`)",
        ),
        Key::required(
            "at_least",
            Shape::Share,
            "of the load's operations; or of the calls a second that `on` had in steady state",
        ),
        Key::optional("on", Shape::Text, "the role or dependency that fails"),
        Key::optional(
            "instead",
            Shape::Text,
            "the role or dependency that takes its calls over",
        ),
        WHERE,
        EXCEPT,
        HIT,
        SPARED,
    ],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
struct Fallback {
    load: Option<Name>,
    whose: Whose,
    at_least: Share,
    instead: Option<(Name, Name)>,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let load = names::load(fields, "load", names, problems);
    let at_least = fields.share_to_reach("at_least", problems);
    let on = names::dependency_with_requests(fields, "on", names, problems);
    let instead = names::dependency_with_requests(fields, "instead", names, problems);
    let (has_on, has_instead) = (fields.has("on"), fields.has("instead"));
    if has_on != has_instead || !(has_on || fields.has("load")) {
        problems.error(
            fields.source,
            fields.span.clone(),
            format!("{} needs `load`, or `on` and `instead`", fields.name()),
            Some("say `load = \"ask\"`, or `on = \"s3\"` and `instead = \"backup\"`".to_owned()),
        );
        return None;
    }
    if load.is_none() && fields.has("load") {
        return None;
    }
    let picks = ["where", "except", "hit", "spared"];
    if load.is_none() && picks.iter().any(|key| fields.has(key)) {
        problems.error(
            fields.source,
            fields.span.clone(),
            "`where`, `except`, `hit` and `spared` pick operations of a load, and there is no `load`",
            "say `load = \"ask\"`".to_owned(),
        );
        return None;
    }
    let loads: Vec<&str> = load.iter().map(|load| &**load).collect();
    let whose = Whose::read(fields, &loads, names, problems);
    let instead = match (on, instead) {
        (Some(on), Some(instead)) => Some((on, instead)),
        _ if has_on => return None,
        _ => None,
    };
    Some(Box::new(Fallback {
        whose: whose?,
        load,
        at_least: at_least?,
        instead,
    }))
}

impl Fallback {
    fn answered_by_fallback(&self, everybody: &View<'_>, load: &str) -> Judgement {
        let view = &self.whose.of(everybody);
        let mut operations = view.operations(load);
        operations.retain(|one| !was_before(view, one));
        let all = operations.len() as u64;
        operations.retain(|one| !one.cut);
        let count = operations.len() as u64;
        let unknown = all - count + view.unsent(load);
        let degraded = |outcome| outcome == Outcome::Degraded;
        let by_fallback = operations
            .iter()
            .filter(|one| degraded(one.outcome))
            .count() as u64;
        let measured = format!("{} by a fallback", part_of(by_fallback, count));
        let judgement = Judgement::new(view.window(), count, measured);
        let needed = samples_needed(self.at_least.fraction());
        let enough =
            |whole: u64| by_fallback as f64 >= self.at_least.fraction() * whole as f64 - 1e-9;
        let judgement = if count == 0 {
            judgement.inconclusive(format!("load `{load}` had no operation"))
        } else if !enough(count) {
            judgement.fail(format!("a fallback answered {by_fallback} of {count} only"))
        } else if count < needed {
            judgement.inconclusive(format!(
                "{count} operations cannot show {}: at least {needed} are needed",
                self.at_least
            ))
        } else if !enough(count + unknown) {
            judgement.inconclusive(format!(
                "{unknown} operations that were not sent, or cut off by the run's end, could have made it too few"
            ))
        } else {
            judgement
        };
        let steady = view.steady_operations(load);
        let usual = steady.iter().filter(|one| degraded(one.outcome)).count();
        let usually = usual as f64 / steady.len().max(1) as f64;
        let judgement = if usual > 0 && usually >= self.at_least.fraction() {
            judgement.inconclusive(format!(
                "a fallback answered {} in steady state already, so it says nothing now",
                part_of(usual as u64, steady.len() as u64)
            ))
        } else {
            judgement
        };
        let judgement = self.whose.weigh(everybody, load, judgement);
        judgement.with(
            operations
                .iter()
                .filter(|one| !degraded(one.outcome))
                .map(|one| Evidence::of_operation(one.intended, one, one.describe())),
        )
    }

    /// Calls of `instead` that were settled beyond those it has anyway, held against those that `on`
    /// has in steady state.
    fn taken_over(&self, view: &View<'_>, on: &str, instead: &str) -> Judgement {
        let steady = per_second(view, on, &view.steady(), false);
        let mut taken = per_second(view, instead, &view.windows(), true);
        taken.1 = (taken.1 - per_second(view, instead, &view.steady(), true).1).max(0.0);
        let share = taken.1 / steady.1.max(f64::MIN_POSITIVE);
        let measured = format!(
            "`{instead}` settled {:.1}/s more than in steady state, {} of the {:.1}/s that `{on}` has in steady state",
            taken.1,
            percent(share),
            steady.1
        );
        let judgement = Judgement::new(view.window(), taken.0 as u64, measured);
        if steady.0 < BASELINE_MIN {
            return judgement.inconclusive(format!(
                "{} calls of `{on}` in the steady phases are no baseline, {BASELINE_MIN} would be",
                steady.0
            ));
        }
        if share < self.at_least.fraction() {
            return judgement.fail(format!("`{instead}` took over {} only", percent(share)));
        }
        judgement
    }
}

/// Whether an operation began before its phase's faults came into force, which on a busy machine is a
/// little later than the phase's beginning, and was answered: no fallback was called for.
fn was_before(view: &View<'_>, operation: &Operation) -> bool {
    let mut spans = view.spans();
    let within =
        |span: &&PhaseSpan| Window::new(span.began, span.ended).contains(operation.intended);
    let Some(span) = spans.find(within) else {
        return false;
    };
    let faults = view.history.faults.iter().filter(|fault| {
        let phase = view.fault(fault).map(|(phase, _)| phase);
        phase == Some(span.index)
    });
    let armed = faults.map(|fault| fault.armed).min();
    let answered = operation.outcome == Outcome::Ok;
    answered && armed.is_some_and(|armed| operation.began < armed)
}

/// Calls that began in the windows, and how many a second that is.
fn per_second(view: &View<'_>, on: &str, windows: &[Window], settled: bool) -> (usize, f64) {
    let began = |at| windows.iter().any(|window| window.contains(at));
    let count = view
        .calls(on)
        .iter()
        .filter(|(call, _)| began(call.began) && (call.settled || !settled))
        .count();
    let seconds: f64 = windows.iter().map(|one| one.length().as_secs_f64()).sum();
    (count, count as f64 / seconds.max(f64::MIN_POSITIVE))
}

impl Expectation for Fallback {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let answered = self
            .load
            .as_ref()
            .map(|load| self.answered_by_fallback(view, load));
        let taken = self
            .instead
            .as_ref()
            .map(|(on, instead)| self.taken_over(view, on, instead));
        answered
            .into_iter()
            .chain(taken)
            .reduce(Judgement::and)
            .unwrap_or_else(|| Judgement::new(view.window(), 0, "nothing"))
    }

    fn required(&self) -> String {
        let mut parts = Vec::new();
        if let Some(load) = &self.load {
            parts.push(format!(
                "at least {} of `{load}`{} answered by a fallback",
                self.at_least,
                self.whose.describe()
            ));
        }
        if let Some((on, instead)) = &self.instead {
            parts.push(format!(
                "`{instead}` takes at least {} of the calls that `{on}` has in steady state",
                self.at_least
            ));
        }
        parts.join(", ")
    }

    fn loads(&self) -> Vec<Name> {
        self.load.iter().cloned().collect()
    }

    fn forewarn(&self, plan: &Foresight<'_>) -> Vec<String> {
        let Some(load) = &self.load else {
            return Vec::new();
        };
        let needed = samples_needed(self.at_least.fraction());
        super::too_thin(plan, load, needed, &self.at_least.to_string())
    }

    fn needs_running(&self, _instance: &str) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, problems};
    use crate::{
        expectation::Status,
        history::{
            Observation, Outcome,
            sample::{Story, attempt},
        },
    };

    const ANSWERED: &str = "kind = \"fallback\"\nload = \"ask\"\nat_least = \"90%\"";
    const TAKEN: &str =
        "kind = \"fallback\"\non = \"s3\"\ninstead = \"backup\"\nat_least = \"90%\"";

    #[test]
    fn what_began_before_the_fault_and_was_answered_called_for_no_fallback() {
        // One operation a second, the first of which begins with the phase, at 10 s.
        let story = |outcome, armed| {
            Story::new()
                .healthy(0..10)
                .load("ask", 10..11, 1, outcome, 20)
                .load("ask", 11..14, 1, Outcome::Degraded, 20)
                .armed(armed)
        };
        let verdict = check(ANSWERED, &story(Outcome::Ok, 10_001));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        assert_eq!(verdict.measured, "100% (3 of 3) by a fallback");
        let of_four = [(Outcome::Ok, 9_999), (Outcome::Failed, 10_001)];
        for (outcome, armed) in of_four {
            let verdict = check(ANSWERED, &story(outcome, armed));
            assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
            assert_eq!(verdict.measured, "75% (3 of 4) by a fallback");
        }
    }

    #[test]
    fn enough_answers_by_the_fallback_pass_and_fewer_fail() {
        let story = |seconds: u64| {
            Story::new()
                .healthy(0..10)
                .load("ask", 10..10 + seconds, 20, Outcome::Ok, 20)
                .load("ask", 10 + seconds..30, 20, Outcome::Degraded, 20)
        };
        let verdict = check(ANSWERED, &story(2));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(verdict.measured, "90% (360 of 400) by a fallback");
        let verdict = check(ANSWERED, &story(3));
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(
            verdict.evidence[0].what,
            "ask #201 POST /bots/7/ask: ok after 20ms"
        );
    }

    #[test]
    fn operations_not_sent_or_cut_off_that_could_tip_it_leave_it_open() {
        let story = |degraded: u64| {
            Story::new()
                .healthy(0..10)
                .load("ask", 10..30, 20 - degraded, Outcome::Ok, 20)
                .load("ask", 10..30, degraded, Outcome::Degraded, 20)
        };
        let cut = |few: usize| {
            let mut story = story(18);
            for observation in story.observations.iter_mut().rev().take(few) {
                if let Observation::Operation(one) = observation {
                    one.outcome = Outcome::Indeterminate;
                    one.cut = true;
                }
            }
            story.load("ask", 29..30, few as u64, Outcome::Degraded, 20)
        };
        // 360 of 400 are just enough, and with three that are not known no more.
        for few in [story(18).unsent(20, "ask", 3), cut(3)] {
            let verdict = check(ANSWERED, &few);
            assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
            let why = verdict.reason.unwrap();
            assert!(why.contains("3 operations that were not sent"), "{why}");
        }
        assert_eq!(check(ANSWERED, &story(18)).status, Status::Pass);
        assert_eq!(
            check(ANSWERED, &story(17).unsent(20, "ask", 3)).status,
            Status::Fail
        );
        let more = story(19).unsent(20, "ask", 3);
        assert_eq!(check(ANSWERED, &more).status, Status::Pass);
    }

    fn calls(
        dependency: &str,
        seconds: std::ops::Range<u64>,
    ) -> Vec<crate::history::sample::AttemptBuilder> {
        seconds
            .flat_map(|second| [second * 1_000, second * 1_000 + 500])
            .map(|began| {
                attempt(dependency, began, began + 5).sdk(&format!("{dependency}{began}"), 1)
            })
            .collect()
    }

    #[test]
    fn another_dependency_takes_the_calls_or_does_not() {
        let steady = Story::new().healthy(0..30).attempts(calls("s3", 0..10));
        let story = steady.clone().attempts(calls("backup", 12..30));
        assert_eq!(check(TAKEN, &story).status, Status::Pass);
        let story = steady.clone().attempts(calls("backup", 13..30));
        let verdict = check(TAKEN, &story);
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(verdict.reason.unwrap(), "`backup` took over 85% only");
        let failing = calls("backup", 10..30)
            .into_iter()
            .map(|one| one.status(503));
        assert_eq!(check(TAKEN, &steady.attempts(failing)).status, Status::Fail);
    }

    #[test]
    fn calls_that_another_dependency_has_anyway_are_not_taken_over() {
        let steady = Story::new().healthy(0..30).attempts(calls("s3", 0..10));
        let story = steady.attempts(calls("backup", 0..30));
        assert_eq!(check(TAKEN, &story).status, Status::Fail);
    }

    #[test]
    fn a_fallback_that_answers_all_the_time_says_nothing() {
        let story = Story::new()
            .load("ask", 0..30, 20, Outcome::Degraded, 20)
            .load("train", 0..30, 20, Outcome::Ok, 20);
        let verdict = check(ANSWERED, &story);
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
    }

    #[test]
    fn without_operations_or_a_baseline_nothing_can_be_told() {
        let story = Story::new().healthy(0..10);
        assert_eq!(check(ANSWERED, &story).status, Status::Inconclusive);
        let story = story.attempts(calls("backup", 10..30));
        assert_eq!(check(TAKEN, &story).status, Status::Inconclusive);
    }

    #[test]
    fn half_a_pair_is_a_problem() {
        assert_eq!(
            problems("kind = \"fallback\"\non = \"s3\"\nat_least = \"90%\""),
            ["expectation needs `load`, or `on` and `instead`"]
        );
    }
}
