//! `isolation`: load that has nothing to do with the failing dependency goes on as before; and so
//! do, of one load, those tenants or keys that the outage does not concern (`where`, `except`).
//!
//! Three things at once: enough answered, nearly as fast as in steady state, and nearly as many. The
//! last is the share of the offered operations that were answered, held against steady state: a
//! load that is offered evenly shows so no noise of its own arrivals. Other people's load, which
//! may slow down with the system, is compared in answers a second. Operations that the load
//! generator itself did not send withhold a pass and make no failure.

use super::{
    Expectation, ExpectationDef, Foresight, Judgement, Name, Names,
    latency::{self, Latency},
    names,
    samples::{Quantile, percent},
    success_rate::SuccessRate,
    whose::{EXCEPT, HIT, SPARED, WHERE, Whose},
};
use crate::{
    history::{Operation, Source, View},
    input::{About, Fields, Key, Problems, Shape},
    units::Share,
};

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "isolation",
    summary: "other load is unharmed: answered, fast and as much as in steady state",
    about: About {
        text: "\
            Load that has nothing to do with the failing dependency goes on as before: enough is \
            answered, nearly as fast and nearly as much as in steady state. With `where` and \
            `except` the same is asked for tenants or keys that the outage does not concern.",
        evidence: "\
            Outcomes, latency and throughput of the load or loads, against the same of the \
            steady phases.",
        doubt: "\
            Too few operations, no steady state to compare with, or operations of which nobody \
            knows whose they are.",
        mistakes: &["\
                A load that does use the dependency cannot be isolated from it: make one for what \
                must go on."],
        related: &["in-flight", "latency", "success-rate"],
    },
    example: "[[expect]]\nid   = \"ADA-4\"\nthat = \"other jobs go on\"\nkind = \"isolation\"\nload = [\"ask\"]\n",
    keys: &[
        Key::required(
            "load",
            Shape::TextOrTexts,
            "the load or loads that must be unharmed",
        ),
        Key::optional(
            "at_least",
            Shape::Share,
            "the share that must be answered (99%)",
        ),
        Key::optional(
            "latency",
            Shape::Factor,
            "the greatest latency, as a factor of steady state (2x)",
        ),
        Key::optional("quantile", Shape::Text, "of which quantile (p99)"),
        Key::optional(
            "slack",
            Shape::Duration,
            "a difference of latency that is noise (20ms)",
        ),
        Key::optional(
            "throughput",
            Shape::Share,
            "the least throughput, of that in steady state (90%)",
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
struct Isolation {
    loads: Vec<Name>,
    at_least: Share,
    latency: f64,
    quantile: Quantile,
    slack: std::time::Duration,
    throughput: Share,
    whose: Whose,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let share = |fraction| Share::new(fraction).expect("a share");
    let loads = names::loads(fields, "load", names, problems);
    let at_least = fields.share_to_reach("at_least", problems);
    let latency = fields.factor("latency", problems);
    let quantile = fields.parsed("quantile", problems, str::parse);
    let slack = fields.duration("slack", problems);
    let throughput = fields.share_to_reach("throughput", problems);
    let loads = loads?;
    let names_of: Vec<&str> = loads.iter().map(|load| &**load).collect();
    Some(Box::new(Isolation {
        whose: Whose::read(fields, &names_of, names, problems)?,
        loads,
        at_least: at_least.unwrap_or(share(0.99)),
        latency: latency.unwrap_or(2.0),
        quantile: quantile.unwrap_or(Quantile::P99),
        slack: slack.unwrap_or(latency::SLACK),
        throughput: throughput.unwrap_or(share(0.9)),
    }))
}

impl Isolation {
    fn parts(&self, load: &Name) -> (SuccessRate, Latency) {
        let success = SuccessRate {
            load: load.clone(),
            at_least: self.at_least,
            count_degraded: true,
            whose: Whose::default(),
        };
        let latency = Latency {
            load: load.clone(),
            quantile: self.quantile,
            below: None,
            below_steady: Some(self.latency),
            slack: self.slack,
            answered_only: true,
            whose: Whose::default(),
        };
        (success, latency)
    }

    fn throughput(&self, view: &View<'_>, load: &Name) -> Judgement {
        let mut during = view.operations(load);
        during.retain(|one| !one.cut);
        let steady = view.steady_operations(load);
        let unsent = view.unsent(load);
        let ingress = during.iter().any(|one| one.source == Source::Ingress);
        let (now, at_least, before) = if ingress {
            let seconds = |windows: &[crate::history::Window]| -> f64 {
                windows.iter().map(|one| one.length().as_secs_f64()).sum()
            };
            let now = answered(&during) / seconds(&view.windows());
            (now, now, answered(&steady) / seconds(&view.steady()))
        } else {
            let offered = during.len() as f64;
            (
                answered(&during) / offered,
                answered(&during) / (offered + unsent as f64),
                answered(&steady) / steady.len() as f64,
            )
        };
        let share = now / before;
        if !share.is_finite() {
            return Judgement::new(view.window(), 0, "no throughput to compare")
                .inconclusive(format!("load `{load}` had no operation to compare"));
        }
        let measured = format!("throughput {} of steady state", percent(share));
        let judgement = Judgement::new(view.window(), during.len() as u64, measured);
        let bound = self.throughput.fraction();
        if share < bound {
            return judgement.fail(format!(
                "throughput of `{load}` fell to {} of steady state",
                percent(share)
            ));
        }
        if at_least / before < bound {
            return judgement.inconclusive(format!(
                "the {unsent} operations that we ourselves did not send could have made the throughput of `{load}` too low"
            ));
        }
        judgement
    }
}

fn answered(operations: &[&Operation]) -> f64 {
    operations.iter().filter(|one| one.answered()).count() as f64
}

impl Expectation for Isolation {
    fn judge(&self, everybody: &View<'_>) -> Judgement {
        let view = &self.whose.of(everybody);
        let judge_one = |load: &Name| {
            let (success, latency) = self.parts(load);
            let mut whole = success
                .judge(view)
                .and(latency.judge(view))
                .and(self.throughput(view, load));
            whole.measured = format!("`{load}` {}", whole.measured);
            self.whose.weigh(everybody, load, whole)
        };
        let mut count = 0;
        let mut whole = self
            .loads
            .iter()
            .map(judge_one)
            .inspect(|one| count += one.count)
            .reduce(Judgement::and)
            .unwrap_or_else(|| Judgement::new(view.window(), 0, "nothing"));
        whole.count = count;
        whole
    }

    fn weighs_held_up(&self) -> bool {
        true
    }

    fn required(&self) -> String {
        format!(
            "{}{} unharmed: {} answered, {} at most {}x and throughput at least {} of steady state",
            self.loads
                .iter()
                .map(|load| format!("`{load}`"))
                .collect::<Vec<_>>()
                .join(", "),
            self.whose.describe(),
            self.at_least,
            self.quantile,
            self.latency,
            self.throughput
        )
    }

    fn loads(&self) -> Vec<Name> {
        self.loads.clone()
    }

    fn forewarn(&self, plan: &Foresight<'_>) -> Vec<String> {
        let parts = self.loads.iter().map(|load| self.parts(load));
        parts
            .flat_map(|(success, latency)| {
                let mut warnings = success.forewarn(plan);
                warnings.extend(latency.forewarn(plan));
                warnings
            })
            .collect()
    }

    fn needs_running(&self, _instance: &str) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use crate::{
        expectation::Status,
        history::{Outcome, sample::Story},
    };

    const EXPECT: &str = "kind = \"isolation\"\nload = [\"ask\", \"train\"]";

    fn story(outcome: Outcome, millis: u64) -> Story {
        Story::new()
            .healthy(0..10)
            .load("train", 10..30, 20, Outcome::Ok, 20)
            .load("ask", 10..20, 20, Outcome::Ok, 20)
            .load("ask", 20..30, 20, outcome, millis)
    }

    #[test]
    fn unharmed_load_passes() {
        let verdict = check(EXPECT, &story(Outcome::Ok, 40));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(
            verdict.measured,
            "`ask` 100% (400 of 400), p99 40ms of 400, bound 40ms, throughput 100% of steady state; `train` 100% (400 of 400), p99 20ms of 400, bound 40ms, throughput 100% of steady state"
        );
        assert_eq!(verdict.count, 800);
    }

    #[test]
    fn failing_or_slower_load_fails() {
        assert_eq!(
            check(EXPECT, &story(Outcome::Failed, 20)).status,
            Status::Fail
        );
        let verdict = check(EXPECT, &story(Outcome::Ok, 41));
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(verdict.reason.unwrap(), "41ms is above 40ms");
    }

    #[test]
    fn what_we_ourselves_did_not_send_leaves_throughput_open() {
        let expect = "kind = \"isolation\"\nload = \"ask\"\nat_least = \"50%\"";
        let fewer = Story::new()
            .healthy(0..10)
            .load("ask", 10..30, 20, Outcome::Ok, 20)
            .unsent(20, "ask", 100);
        let verdict = check(expect, &fewer);
        assert_eq!(verdict.status, Status::Inconclusive);
        let reason = verdict.reason.unwrap();
        assert!(reason.contains("or not sent"), "{reason}");
    }

    #[test]
    fn load_that_is_answered_less_lacks_throughput() {
        let expect = "kind = \"isolation\"\nload = \"ask\"\nat_least = \"50%\"";
        let fewer = Story::new()
            .healthy(0..10)
            .load("ask", 10..26, 20, Outcome::Ok, 20)
            .load("ask", 26..30, 20, Outcome::Failed, 20);
        let verdict = check(expect, &fewer);
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(
            verdict.reason.unwrap(),
            "throughput of `ask` fell to 80% of steady state"
        );
    }

    #[test]
    fn load_without_operations_shows_nothing() {
        let story = Story::new().healthy(0..10);
        assert_eq!(check(EXPECT, &story).status, Status::Inconclusive);
    }
}
