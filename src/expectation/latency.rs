//! `latency`: a load's operations are answered fast enough, absolutely or as in steady state.
//!
//! Latency counts from the intended start. An operation that failed, or whose outcome is unknown,
//! took *at least* its time: enough to fail the bound, never enough to pass it.

use super::{
    Evidence, Expectation, ExpectationDef, Foresight, Judgement, Name, Names,
    beat::at_least,
    names,
    samples::{Quantile, samples_needed},
    whose::{EXCEPT, HIT, SPARED, WHERE, Whose},
};
use crate::{
    history::{Operation, View},
    input::{About, Fields, Key, Problems, Shape},
    units::{Micros, format_duration},
};
use std::time::Duration;

/// The difference from steady state that is noise on a busy machine.
pub(super) const SLACK: Duration = Duration::from_millis(20);

/// The fewest operations that a baseline is made of.
const BASELINE_MIN: usize = 10;

/// Where there are too few operations for a quantile, so many that took too long fail it all the same:
/// as many come of a system that keeps it in one of a hundred runs at the most.
const CHANCE_MAX: f64 = 0.01;

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "latency",
    summary: "a quantile of a load's latency stays below a bound, or near the steady state's",
    about: About {
        text: "\
            A quantile of a load's latency stays below a bound, or near the steady state's. \
            Latency counts from the intended start of each operation, so that a system that \
            stalls cannot hide its stall by making the load wait.",
        evidence: "\
            The time of each operation. One that failed, or whose outcome is unknown, took at \
            least its time: enough to fail the bound and never enough to keep it, unless \
            `answered_only` leaves it out.",
        doubt: "\
            There are too few operations for the quantile (p99 needs a hundred), unless more of \
            them took too long than chance has it; or so many were cut short that it lies among them; \
            or it is slower than steady state only by what other programs can have kept the system from running.",
        mistakes: &[
            "\
                With `answered_only` alone a system that answers one in a hundred quickly passes: \
                pair it with `success-rate`.",
            "\
                `below_steady` forgives a difference within `slack`: of 2 ms nobody need care that \
                they became 5.",
        ],
        related: &["success-rate", "isolation", "gives-up"],
    },
    example: "[[expect]]\nid           = \"ADA-3b\"\nthat         = \"answers stay fast\"\nkind         = \"latency\"\nload         = \"ask\"\nquantile     = \"p99\"\nbelow        = \"300ms\"\nbelow_steady = \"2x\"\n",
    keys: &[
        Key::required("load", Shape::Text, "the load whose operations count"),
        Key::optional(
            "quantile",
            Shape::Text,
            "which quantile: p50, p99.9, median, max (p99)",
        ),
        Key::optional("below", Shape::Duration, "the greatest it may be"),
        Key::optional(
            "below_steady",
            Shape::Factor,
            "the greatest it may be, as a factor of the same quantile in the steady phases",
        ),
        Key::optional(
            "slack",
            Shape::Duration,
            "a difference from steady state that is noise and never fails `below_steady` (20ms)",
        ),
        Key::optional(
            "answered_only",
            Shape::Bool,
            "leave operations out that were not answered; they otherwise took at least their time (false)",
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
pub(super) struct Latency {
    pub(super) load: Name,
    pub(super) quantile: Quantile,
    pub(super) below: Option<Duration>,
    pub(super) below_steady: Option<f64>,
    pub(super) slack: Duration,
    pub(super) answered_only: bool,
    pub(super) whose: Whose,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let load = names::load(fields, "load", names, problems);
    let quantile = fields.parsed("quantile", problems, str::parse);
    let below = fields.duration("below", problems);
    let below_steady = fields.factor("below_steady", problems);
    let slack = fields.duration("slack", problems).unwrap_or(SLACK);
    let answered_only = fields.bool("answered_only", problems).unwrap_or(false);
    if !fields.has("below") && !fields.has("below_steady") {
        problems.error(
            fields.source,
            fields.span.clone(),
            format!("{} has neither `below` nor `below_steady`", fields.name()),
            Some("say `below = \"300ms\"`, or `below_steady = \"2x\"`".to_owned()),
        );
        return None;
    }
    let load = load?;
    Some(Box::new(Latency {
        whose: Whose::read(fields, &[&load], names, problems)?,
        load,
        quantile: quantile.unwrap_or(Quantile::P99),
        below,
        below_steady,
        slack,
        answered_only,
    }))
}

/// A quantile of operations of which some were not answered.
struct Measured {
    /// With each operation at its own time: it took at least that.
    least: Option<u64>,
    /// With those not answered (or never sent) beyond any bound.
    most: Option<u64>,
}

impl Measured {
    fn of(
        quantile: Quantile,
        operations: &[&Operation],
        unsent: u64,
        time: impl Fn(&Operation) -> u64,
    ) -> Self {
        let mut least: Vec<u64> = operations.iter().map(|one| time(one)).collect();
        let mut most: Vec<u64> = operations
            .iter()
            .map(|one| if one.answered() { time(one) } else { u64::MAX })
            .collect();
        most.extend((0..unsent).map(|_| u64::MAX));
        Self {
            least: quantile.of(&mut least),
            most: quantile.of(&mut most),
        }
    }
}

/// How long an operation took from its intended start, in microseconds.
fn from_intended(one: &Operation) -> u64 {
    one.ended.0.saturating_sub(one.intended.0)
}

/// What of its time, from when it was sent, was the system's in any case: not longer than that was it
/// kept from running by other programs.
fn by_itself(one: &Operation, view: &View<'_>) -> u64 {
    let held_up = Micros::from(view.held_up(one.began, one.ended)).0;
    from_sent(one).saturating_sub(held_up)
}

/// How long it took from when it was sent.
fn from_sent(one: &Operation) -> u64 {
    one.ended.0.saturating_sub(one.began.0)
}

impl Latency {
    fn bound(&self, view: &View<'_>) -> Result<u64, String> {
        let mut bound = self.below.map_or(u64::MAX, |below| Micros::from(below).0);
        let Some(factor) = self.below_steady else {
            return Ok(bound);
        };
        let operations = view.steady_operations(&self.load);
        let mut times: Vec<u64> = operations
            .iter()
            .filter(|one| one.answered())
            .map(|one| Micros::from(one.latency()).0)
            .collect();
        if times.len() < BASELINE_MIN {
            return Err(format!(
                "{} operations in the steady phases are no baseline, {BASELINE_MIN} would be",
                times.len()
            ));
        }
        let steady = self.quantile.of(&mut times).unwrap_or_default();
        let factored = (steady as f64 * factor) as u64;
        bound = bound.min(factored.max(steady + Micros::from(self.slack).0));
        Ok(bound)
    }

    /// Whether that is more than is allowed whatever the steady state was.
    fn is_beyond_all(&self, least: u64) -> bool {
        self.below
            .is_some_and(|below| least > Micros::from(below).0)
    }

    /// `unsent`: how many operations the load generator did not send at all.
    fn weigh(
        &self,
        operations: &[&Operation],
        unsent: u64,
        bound: u64,
        view: &View<'_>,
    ) -> Judgement {
        let count = operations.len() as u64;
        let measured = Measured::of(self.quantile, operations, unsent, from_intended);
        let text = measured.least.map_or("nothing".to_owned(), |least| {
            format!("{} {} of {count}", self.quantile, micros(least))
        });
        let judgement = Judgement::new(Default::default(), count, text);
        let needed = samples_needed(self.quantile.share());
        let least = |time: &dyn Fn(&Operation) -> u64| {
            Measured::of(self.quantile, operations, 0, time).least
        };
        let sent = || least(&from_sent);
        let own = || least(&|one| by_itself(one, view));
        match (measured.least, measured.most) {
            (None, _) | (_, None) => {
                judgement.inconclusive(format!("load `{}` had no operation", self.load))
            }
            // However little that was, it is none of the system's.
            (Some(least), _) if least > bound && sent() <= Some(bound) => judgement
                .inconclusive("it is too slow only by what the load generator itself was late"),
            // What it may take at most in any case it may not take on a busy machine either.
            (Some(least), _)
                if least > bound && !self.is_beyond_all(least) && own() <= Some(bound) =>
            judgement.inconclusive(
                "it may be too slow only by what other programs kept the system from running: its processes \
                 waited for a processor",
            ),
            (Some(least), _) if least > bound && count < needed && self.is_chance(operations, bound) => {
                judgement.inconclusive(format!(
                    "{} is above {}, but {count} operations cannot show {}: at least {needed} are needed",
                    micros(least),
                    micros(bound),
                    self.quantile
                ))
            }
            (Some(least), _) if least > bound => {
                judgement.fail(format!("{} is above {}", micros(least), micros(bound)))
            }
            _ if count < needed => judgement.inconclusive(format!(
                "{count} operations cannot show {}: at least {needed} are needed",
                self.quantile
            )),
            (_, Some(most)) if most > bound => judgement.inconclusive(
                "operations that were not answered, or not sent, could have made it too slow",
            ),
            _ => judgement,
        }
    }
}

impl Latency {
    /// Whether so many operations take too long of a system that keeps the quantile now and then: each
    /// does with the probability that the quantile leaves (binomial).
    fn is_chance(&self, operations: &[&Operation], bound: u64) -> bool {
        let allowed = 1.0 - self.quantile.share();
        let too_long = |one: &&&Operation| one.ended.0.saturating_sub(one.began.0) > bound;
        let slow = operations.iter().filter(too_long).count();
        allowed > 0.0 && at_least(slow, operations.len(), allowed) > CHANCE_MAX
    }
}

fn micros(micros: u64) -> String {
    format_duration(Duration::from_micros(micros))
}

impl Expectation for Latency {
    fn judge(&self, everybody: &View<'_>) -> Judgement {
        let view = &self.whose.of(everybody);
        let mut operations = view.operations(&self.load);
        if self.answered_only {
            operations.retain(|one| one.answered());
        }
        let unsent = view.unsent(&self.load);
        let window = view.window();
        let bound = match self.bound(view) {
            Ok(bound) => bound,
            Err(why) => return Judgement::new(window, 0, "nothing").inconclusive(why),
        };
        let mut judgement = self.weigh(&operations, unsent, bound, view);
        judgement.window = (window.from, window.to);
        if self.below_steady.is_some() {
            judgement.measured = format!("{}, bound {}", judgement.measured, micros(bound));
        }
        let judgement = self.whose.weigh(everybody, &self.load, judgement);
        operations.retain(|one| Micros::from(one.latency()).0 > bound);
        operations.sort_by_key(|one| std::cmp::Reverse(one.latency()));
        judgement.with(operations.iter().map(|one| {
            let took = format_duration(one.latency());
            let what = format!("{}, took {took}", one.describe());
            Evidence::of_operation(one.intended, one, what)
        }))
    }

    fn weighs_held_up(&self) -> bool {
        true
    }

    fn required(&self) -> String {
        let mut bounds = Vec::new();
        bounds.extend(self.below.map(format_duration));
        bounds.extend(
            self.below_steady
                .map(|factor| format!("{factor}x steady state")),
        );
        format!(
            "{} of `{}`{} at most {}",
            self.quantile,
            self.load,
            self.whose.describe(),
            bounds.join(" and ")
        )
    }

    fn loads(&self) -> Vec<Name> {
        vec![self.load.clone()]
    }

    fn forewarn(&self, plan: &Foresight<'_>) -> Vec<String> {
        let needed = samples_needed(self.quantile.share());
        super::too_thin(plan, &self.load, needed, &self.quantile.to_string())
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
        history::{Observation, Outcome, sample::Story},
    };
    use std::time::Duration;

    const BELOW: &str = "kind = \"latency\"\nload = \"ask\"\nbelow = \"300ms\"";

    fn slow(outcome: Outcome, millis: u64) -> Story {
        Story::new()
            .healthy(0..10)
            .load("ask", 10..29, 20, Outcome::Ok, 30)
            .load("ask", 29..30, 20, outcome, millis)
    }

    #[test]
    fn it_passes_below_the_bound_and_fails_above_it() {
        let verdict = check(BELOW, &slow(Outcome::Ok, 300));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(verdict.measured, "p99 300ms of 400");
        let verdict = check(BELOW, &slow(Outcome::Ok, 301));
        assert_eq!(verdict.status, Status::Fail);
        assert!(verdict.evidence[0].what.ends_with("took 301ms"));
    }

    #[test]
    fn an_unanswered_operation_can_fail_the_bound_but_never_pass_it() {
        assert_eq!(
            check(BELOW, &slow(Outcome::Indeterminate, 5_000)).status,
            Status::Fail
        );
        let quick = slow(Outcome::Failed, 2);
        assert_eq!(check(BELOW, &quick).status, Status::Inconclusive);
        let answered = format!("{BELOW}\nanswered_only = true");
        assert_eq!(check(&answered, &quick).status, Status::Pass);
    }

    #[test]
    fn the_bound_can_be_a_factor_of_the_steady_state_with_slack_for_noise() {
        let expect = "kind = \"latency\"\nload = \"ask\"\nbelow_steady = \"3x\"";
        assert_eq!(check(expect, &slow(Outcome::Ok, 60)).status, Status::Pass);
        assert_eq!(check(expect, &slow(Outcome::Ok, 61)).status, Status::Fail);
        let slack = format!("{expect}\nslack = \"100ms\"");
        assert_eq!(check(&slack, &slow(Outcome::Ok, 61)).status, Status::Pass);
    }

    #[test]
    fn too_few_operations_cannot_show_a_quantile() {
        let story = Story::new()
            .healthy(0..10)
            .load("ask", 10..14, 20, Outcome::Ok, 30);
        assert_eq!(check(BELOW, &story).status, Status::Inconclusive);
        // Nor that it is broken by one: of 66 so many take too long by chance.
        let with = |slow: u64, expect: &str| {
            let story = Story::new()
                .healthy(0..10)
                .load("ask", 10..16, 10, Outcome::Ok, 30)
                .load("ask", 20..21, 6 - slow, Outcome::Ok, 30)
                .load("ask", 22..23, slow, Outcome::Ok, 900);
            check(expect, &story).status
        };
        assert_eq!(with(1, BELOW), Status::Inconclusive);
        assert_eq!(with(2, BELOW), Status::Inconclusive);
        assert_eq!(with(5, BELOW), Status::Fail);
        let longest = format!("{BELOW}\nquantile = \"max\"");
        assert_eq!(with(1, &longest), Status::Fail);
        let median = format!("{BELOW}\nquantile = \"median\"");
        assert_eq!(check(&median, &story).status, Status::Pass);
    }

    #[test]
    fn lateness_of_the_generator_itself_is_not_held_against_the_system() {
        // Reported, or so little that nobody reports it.
        for mut late in [
            slow(Outcome::Ok, 30).missed(29, "ask", 4),
            slow(Outcome::Ok, 30),
        ] {
            begin_late(&mut late);
            assert_eq!(check(BELOW, &late).status, Status::Inconclusive);
        }
    }

    #[test]
    fn what_other_programs_kept_the_system_from_running_is_not_held_against_it() {
        // 20 of 400 take 900 ms, evenly over a second, ten times too long.
        let told = |expect: &str, held_up: u64| {
            let story = slow(Outcome::Ok, 900);
            let tenths = (290..310).map(|tenth| tenth * 100);
            let story = tenths.fold(story, |story, from| {
                story.held_up(from, from + 100, held_up)
            });
            check(expect, &story).status
        };
        let relative = "kind = \"latency\"\nload = \"ask\"\nbelow_steady = \"3x\"";
        assert_eq!(told(relative, 0), Status::Fail);
        // Ten stretches of 100 ms are touched, or nine.
        assert_eq!(told(relative, 70), Status::Fail);
        assert_eq!(told(relative, 95), Status::Inconclusive);
        // A bound that the file itself names holds on any machine.
        assert_eq!(told(BELOW, 95), Status::Fail);
        // Others may have kept it from running where it passes all the same.
        let fast = slow(Outcome::Ok, 20).held_up(29_000, 30_000, 5_000);
        assert_eq!(check(BELOW, &fast).status, Status::Pass);
    }

    /// The last second's operations begin half a second late.
    fn begin_late(story: &mut Story) {
        for observation in &mut story.observations {
            if let Observation::Operation(one) = observation
                && one.intended.as_secs_f64() >= 29.0
            {
                one.began = one.began + Duration::from_millis(500);
                one.ended = one.ended + Duration::from_millis(500);
            }
        }
    }

    #[test]
    fn a_server_that_freezes_for_a_second_shows_up_in_p99() {
        let mut story = Story::new().healthy(0..10);
        story = story.load("ask", 10..30, 50, Outcome::Ok, 5);
        for observation in &mut story.observations {
            if let Observation::Operation(one) = observation
                && (20.0..21.0).contains(&one.intended.as_secs_f64())
            {
                one.ended = crate::units::Micros::from_secs(21);
            }
        }
        // Of 1000 operations 50 wait up to 1 s, evenly: the tenth-longest waited 0.82 s.
        let expect = "kind = \"latency\"\nload = \"ask\"\nbelow = \"820ms\"";
        assert_eq!(check(expect, &story).status, Status::Pass);
        let expect = "kind = \"latency\"\nload = \"ask\"\nbelow = \"779ms\"";
        assert_eq!(check(expect, &story).status, Status::Fail);
    }

    #[test]
    fn a_table_without_a_bound_is_a_problem() {
        let found = problems("kind = \"latency\"\nload = \"ask\"");
        assert_eq!(
            found,
            ["expectation has neither `below` nor `below_steady`"]
        );
    }
}
