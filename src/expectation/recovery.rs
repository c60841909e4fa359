//! `recovery`: everything is as it was, soon after the last fault is gone.
//!
//! The time runs from the moment the last fault was lifted to the start of the first `hold` in which
//! every steady-state criterion (see `history::Criteria`) held in every one-second window and every load
//! was answered three times, which takes a thin one longer. A
//! system that never gets there although its dependencies are healthy is *wedged*.

use super::{
    Expectation, ExpectationDef, Foresight, Judgement, Name, Names, Scope, comeback, names,
};
use crate::{
    history::{AttemptEnd, Criteria, SHOWN_BY, Steady, View, Window},
    input::{About, Fields, Key, Problems, Shape},
    units::format_duration,
};
use std::time::Duration;

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "recovery",
    summary: "after the last fault everything is as in steady state within this time",
    about: About {
        text: "\
            After the last fault everything is as in steady state, by itself and in time. A \
            system that never gets there although its dependencies are healthy is wedged: the \
            commonest real damage, and invisible to a test that stops when the fault does.",
        evidence: "\
            From the lifting of the last fault to the start of the first `hold` in which every \
            criterion of the steady state held in every second and each load was answered three \
            times; where a load is too thin for that, the stretch lasts until it was.",
        doubt: "\
            The last phase ended before a `hold` could be seen, or a load was asked too seldom in \
            it, or there was no steady state to go back to; or an instance that was started again \
            was not ready yet when the run ended (one that is known not to come up is a failure).",
        mistakes: &[
            "\
                It is judged over the last phase: let that last `until steady, at most …` and longer \
                than `within` and `hold`.",
            "A fault that never acted leaves nothing to recover from.",
        ],
        related: &["failover", "reconnect", "drain", "hold"],
    },
    example: "[[expect]]\nid     = \"ADA-17\"\nthat   = \"the platform comes back by itself\"\nkind   = \"recovery\"\nwithin = \"30s\"\n",
    keys: &[
        Key::required(
            "within",
            Shape::Duration,
            "the time from the last fault's lifting to the start of the first healthy `hold`",
        ),
        Key::optional("load", Shape::Text, "only this load must recover (all)"),
    ],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
struct Recovery {
    within: Duration,
    load: Option<Name>,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let within = fields.duration("within", problems);
    let load = names::load(fields, "load", names, problems);
    if fields.has("load") && load.is_none() {
        return None;
    }
    Some(Box::new(Recovery {
        within: within?,
        load,
    }))
}

impl Recovery {
    fn follower(&self, view: &View<'_>) -> Steady {
        let steady = Steady::new(view.scenario, view.system, Criteria::STEADY);
        match &self.load {
            Some(load) => steady.only(load),
            None => steady,
        }
    }

    /// What the loads show.
    fn of_loads(&self, view: &View<'_>) -> Judgement {
        let Some(since) = view.recovery_began() else {
            let judgement = Judgement::new(view.window(), 0, "nothing");
            return judgement.inconclusive("recovery never began");
        };
        let end = view.history.end;
        let hold = view.scenario.hold;
        let window = Window::new(since, view.history.over());
        let mut steady = self.follower(view);
        steady.observe_history(view.history, since);
        let held = steady.held(hold, end);
        let complaints = steady.complaints(end, super::EVIDENCE_MAX);
        let count = window.length().as_secs();
        if let Some(start) = held {
            let took = start.since(since);
            let text = format!("recovered after {}", format_duration(took));
            let judgement = Judgement::new(window, count, text);
            return if took > self.within {
                judgement
                    .fail(format!("it took {}", format_duration(took)))
                    .with(complaints.into_iter().filter(|(at, _)| *at < start))
            } else {
                judgement
            };
        }
        let seen = steady.known_until(end).since(since);
        let judgement = Judgement::new(window, count, "not recovered");
        let open = if seen < self.within + hold {
            Some(format!(
                "only {} were seen after the last fault, {} are needed to tell",
                format_duration(seen),
                format_duration(self.within + hold)
            ))
        } else {
            steady.untold(hold, end)
        };
        if let Some(why) = open {
            // What was not well after what is allowed is too late, whatever follows.
            let not_before = steady.not_before(hold, end).since(since);
            return if not_before <= self.within {
                judgement.inconclusive(why)
            } else {
                let took = format_duration(not_before);
                judgement.fail(format!("not in the first {took}"))
            }
            .with(complaints);
        }
        let mut judgement = judgement
            .fail(format!(
                "wedged: not recovered in the {} seen{}",
                format_duration(seen),
                dependencies_healthy(view, window)
            ))
            .with(complaints);
        judgement.measured = format!("wedged for {}", format_duration(seen));
        judgement
    }
}

impl Expectation for Recovery {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let mut judgement = self.of_loads(view);
        // Who was started again and is not back is no part of what goes well without him.
        for missing in comeback::missing(view.history) {
            judgement = match missing.is_known {
                true => judgement.fail(missing.describe()),
                false => judgement.inconclusive(missing.describe()),
            };
        }
        judgement
    }

    fn required(&self) -> String {
        let what = self
            .load
            .as_ref()
            .map_or("every load".to_owned(), |load| format!("`{load}`"));
        format!(
            "{what} as in steady state within {} of the last fault",
            format_duration(self.within)
        )
    }

    fn scope(&self) -> Scope {
        Scope::Recovery
    }

    fn loads(&self) -> Vec<Name> {
        self.load.iter().cloned().collect()
    }

    fn forewarn(&self, plan: &Foresight<'_>) -> Vec<String> {
        let shortest = plan.phases.iter().map(|(_, length)| *length).min();
        let Some(length) = shortest else {
            return Vec::new();
        };
        let mut warnings = Vec::new();
        if length < self.within + plan.hold {
            warnings.push(format!(
                "the recovery phase ends after {}, before the {} that are allowed and a `hold` of {} are over",
                format_duration(length),
                format_duration(self.within),
                format_duration(plan.hold)
            ));
        }
        let is_meant = |name: &str| self.load.as_ref().is_none_or(|load| **load == *name);
        let own = plan.loads.iter().filter(|(name, _)| is_meant(name));
        let operations = |rate: f64| rate * length.as_secs_f64();
        for (name, rate) in own.filter(|(_, rate)| operations(*rate) < SHOWN_BY as f64) {
            warnings.push(format!(
                "load `{name}` begins about {:.1} operations in the {} of the recovery phase, {SHOWN_BY} answers are needed to tell",
                operations(*rate),
                format_duration(length)
            ));
        }
        warnings
    }

    fn needs_running(&self, _instance: &str) -> bool {
        false
    }
}

/// How the dependencies answered meanwhile: ", although `s3` answered 120 of 120 attempts"; where
/// one of them did not answer well, "while" instead, since the system may not be to blame.
fn dependencies_healthy(view: &View<'_>, window: Window) -> String {
    let mut parts = Vec::new();
    let mut link = "although";
    for dependency in &view.system.dependencies {
        let attempts = view.attempts_in(&dependency.name, window);
        let over = attempts
            .iter()
            .filter(|one| one.end != AttemptEnd::Unfinished);
        let (count, well) = over.fold((0, 0), |(count, well), one| {
            (count + 1, well + u64::from(one.settled()))
        });
        if count == 0 {
            continue;
        }
        if well < count {
            link = "while";
        }
        parts.push(format!(
            "`{}` answered {well} of {count} attempts",
            dependency.name
        ));
    }
    if parts.is_empty() {
        ", in which no dependency was asked anything".to_owned()
    } else {
        format!(", {link} {}", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, check_of};
    use crate::{
        expectation::{Status, Verdict},
        history::{
            Outcome,
            sample::{self, Story, attempt},
        },
    };

    const WITHIN: &str = "kind = \"recovery\"\nwithin = \"10s\"";

    /// `ask` fails until this second after the lifting.
    fn recovers_after(seconds: u64) -> Story {
        Story::new()
            .healthy(0..10)
            .load("ask", 10..30 + seconds, 20, Outcome::Failed, 20)
            .load("ask", 30 + seconds..60, 20, Outcome::Ok, 20)
            .load("train", 10..60, 20, Outcome::Ok, 20)
    }

    #[test]
    fn it_passes_in_time_and_fails_after_it() {
        let verdict = check(WITHIN, &recovers_after(10));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(verdict.measured, "recovered after 10s");
        let verdict = check(WITHIN, &recovers_after(11));
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(verdict.measured, "recovered after 11s");
        assert!(
            verdict.evidence[0]
                .what
                .starts_with("ask: 20 of 20 operations not answered")
        );
    }

    #[test]
    fn one_load_may_be_enough() {
        let train = format!("{WITHIN}\nload = \"train\"");
        assert_eq!(check(&train, &recovers_after(11)).status, Status::Pass);
    }

    /// The verdict where `train` is asked more seldom than a `hold` lasts, from 31.5 s on.
    fn of_thin(outcomes: &[Outcome]) -> Verdict {
        let mut system = sample::system();
        for load in &mut system.loads {
            if *load.name == *"train" {
                load.rate = "0.15/s".parse().unwrap();
            }
        }
        let story = Story::new()
            .load("ask", 0..60, 20, Outcome::Ok, 20)
            .load("train", 0..10, 1, Outcome::Ok, 20)
            .seldom("train", 31_500, 6_500, outcomes);
        check_of(WITHIN, &story, &system)
    }

    #[test]
    fn a_thin_load_that_stays_broken_has_not_recovered_and_one_asked_too_seldom_cannot_tell() {
        use Outcome::{Failed, Ok};
        let verdict = of_thin(&[Failed; 5]);
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        assert!(verdict.reason.unwrap().starts_with("wedged"));
        let verdict = of_thin(&[Ok; 5]);
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(verdict.measured, "recovered after 0s");
        for few in [&[Ok, Ok][..], &[Failed], &[]] {
            assert_eq!(of_thin(few).status, Status::Inconclusive, "{few:?}");
        }
        // It was not well after what is allowed, whatever became of it at last.
        let late = [[Failed; 3].as_slice(), &[Ok; 2]].concat();
        let verdict = of_thin(&late);
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        assert_eq!(verdict.reason.unwrap(), "not in the first 15s");
    }

    #[test]
    fn a_system_that_never_recovers_is_wedged_and_its_dependencies_health_is_told() {
        let story = recovers_after(30).attempt(attempt("s3", 40_000, 40_010));
        let verdict = check(WITHIN, &story);
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(
            verdict.reason.unwrap(),
            "wedged: not recovered in the 30s seen, although `s3` answered 1 of 1 attempts"
        );
    }

    #[test]
    fn a_dependency_that_is_not_healthy_itself_is_told_too() {
        let story = recovers_after(30)
            .attempt(attempt("s3", 40_000, 40_010))
            .attempt(attempt("backup", 40_000, 40_010).status(503));
        let reason = check(WITHIN, &story).reason.unwrap();
        assert!(
            reason.ends_with(
                "while `s3` answered 1 of 1 attempts, `backup` answered 0 of 1 attempts"
            ),
            "{reason}"
        );
    }

    #[test]
    fn answering_from_the_fallback_for_ever_is_no_recovery() {
        let story = Story::new()
            .healthy(0..30)
            .load("ask", 30..60, 20, Outcome::Degraded, 20)
            .load("train", 30..60, 20, Outcome::Ok, 20);
        assert_eq!(check(WITHIN, &story).status, Status::Fail);
    }

    #[test]
    fn answering_much_slower_is_no_recovery() {
        let story = |millis| {
            Story::new()
                .healthy(0..30)
                .load("ask", 30..60, 20, Outcome::Ok, millis)
                .load("train", 30..60, 20, Outcome::Ok, 20)
        };
        assert_eq!(check(WITHIN, &story(120)).status, Status::Pass);
        assert_eq!(check(WITHIN, &story(121)).status, Status::Fail);
    }

    #[test]
    fn a_run_that_ends_too_early_cannot_tell() {
        let verdict = check(WITHIN, &recovers_after(30).ends(40, Some("interrupted")));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let verdict = check(WITHIN, &recovers_after(0).ends(25, None));
        assert_eq!(verdict.status, Status::Inconclusive);
    }

    #[test]
    fn what_is_still_broken_after_what_is_allowed_is_too_late_however_short_the_phase_is() {
        // 30 s are seen: allowed are as many as leave no whole `hold` of five seconds behind them.
        let within = |seconds: u64| WITHIN.replace("10s", &format!("{seconds}s"));
        for (allowed, broken, status) in [
            (26, 30, Status::Fail),
            (26, 27, Status::Fail),
            (26, 26, Status::Inconclusive),
            (29, 30, Status::Fail),
            (30, 30, Status::Inconclusive),
            (26, 25, Status::Pass),
        ] {
            let verdict = check(&within(allowed), &recovers_after(broken));
            assert_eq!(verdict.status, status, "{allowed} {broken}: {verdict:?}");
        }
        let verdict = check(&within(26), &recovers_after(28));
        assert_eq!(verdict.reason.unwrap(), "not in the first 28s");
        let cut = recovers_after(30).ends(42, Some("interrupted"));
        let verdict = check(WITHIN, &cut);
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
    }

    #[test]
    fn who_was_started_again_and_does_not_come_back_has_not_recovered() {
        let killed = recovers_after(0).process(15_000, "standby", "killed", true);
        let started = killed.clone().process(30_000, "standby", "started", true);
        let ready = started.clone().process(32_000, "standby", "ready", true);
        let never = started
            .clone()
            .process(35_000, "standby", "not-ready", false);
        for (story, status) in [
            (killed, Status::Pass),
            (started, Status::Inconclusive),
            (ready, Status::Pass),
            (never, Status::Fail),
        ] {
            let verdict = check(WITHIN, &story);
            assert_eq!(verdict.status, status, "{verdict:?}");
        }
    }

    #[test]
    fn an_instance_that_exits_in_between_sets_recovery_back() {
        let story = recovers_after(0).process(38_500, "primary", "exited", false);
        assert_eq!(check(WITHIN, &story).measured, "recovered after 0s");
        let story = recovers_after(0).process(33_500, "primary", "exited", false);
        assert_eq!(check(WITHIN, &story).measured, "recovered after 4s");
    }
}
