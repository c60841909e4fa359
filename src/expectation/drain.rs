//! `drain`: what piled up while a dependency failed is worked off in time.
//!
//! The backlog is what was accepted and not yet delivered. It is drained as soon as it is no deeper
//! than the deepest of the steady phases (or than `down_to`) and stays so: at least for a second,
//! and until another outage begins or the run ends. A backlog that is deeper again for a second has
//! risen again, and is drained only after that; less is the load's own coming and going. The time
//! runs from the end of the outage: the first phase of its aftermath, or, where it has none, the
//! lifting of its last fault. Where the run ends before, the backlog took at least as long as it was
//! seen: enough to fail a bound and never enough to pass it.
//!
//! Without a backlog there is nothing to drain, and nothing is said.

use super::{
    Expectation, ExpectationDef, Foresight, Judgement, Names, Scope,
    ledgers::{CLASS, LEDGER, Work, shows_nothing},
};
use crate::{
    history::{BACKLOG_STEP, Curve, Drained, View, Window},
    input::{About, Fields, Key, Problems, Shape},
    units::{Micros, format_duration},
};
use std::time::Duration;

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "drain",
    summary: "the backlog of an outage is worked off in time after it",
    about: About {
        text: "\
            What piled up while a dependency failed is worked off in time: `within` so long, or \
            in a part of the outage's own length. With `monotone` it must not grow again \
            meanwhile.",
        evidence: "\
            The backlog of a ledger, accepted and not yet delivered, from the end of the outage \
            until it is as shallow as in steady state and stays so.",
        doubt: "\
            Nothing had piled up when the outage ended; or the run ended first and the bound was \
            not yet over.",
        mistakes: &["\
                A system that refuses work in the outage has no backlog: then there is nothing to \
                judge, and `success-rate` tells why."],
        related: &["fresh-first", "nothing-lost", "ramp"],
    },
    example: "[[expect]]\nid            = \"BAT-8\"\nthat          = \"the backlog is worked off\"\nkind          = \"drain\"\nledger        = \"work\"\nwithin        = \"5m\"\nat_most_ratio = 0.5\nmonotone      = \"5s\"\n",
    keys: &[
        LEDGER,
        CLASS,
        Key::optional(
            "within",
            Shape::Duration,
            "the time from the end of the outage (its first `aftermath` phase, else its last fault's lifting) until it is drained",
        ),
        Key::optional(
            "at_most_ratio",
            Shape::Number(0.001, 1_000.0),
            "the same time as a part of the outage, from the first fault's arming to its end",
        ),
        Key::optional(
            "monotone",
            Shape::Duration,
            "windows of this length, at whose ends the backlog must not be deeper than at the end before",
        ),
        Key::optional(
            "down_to",
            Shape::Integer(0, 1_000_000_000),
            "drained when no deeper than this (the deepest of the steady phases)",
        ),
    ],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
struct Drain {
    work: Work,
    within: Option<Duration>,
    ratio: Option<f64>,
    monotone: Option<Duration>,
    down_to: Option<u64>,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let work = Work::read(fields, names, problems);
    let within = fields.duration("within", problems);
    let ratio = fields.number("at_most_ratio", problems);
    let monotone = fields.duration("monotone", problems);
    let down_to = fields.integer("down_to", problems);
    if monotone.is_some_and(|window| window < BACKLOG_STEP) {
        let message = format!(
            "`monotone` must be at least {}",
            format_duration(BACKLOG_STEP)
        );
        fields.problem(problems, "monotone", message, None);
        return None;
    }
    if !["within", "at_most_ratio", "monotone"]
        .iter()
        .any(|key| fields.has(key))
    {
        problems.error(
            fields.source,
            fields.span.clone(),
            format!("{} bounds nothing", fields.name()),
            "say `within = \"5m\"`, `at_most_ratio = 0.5` or `monotone = \"5s\"`".to_owned(),
        );
        return None;
    }
    Some(Box::new(Drain {
        work: work?,
        within,
        ratio,
        monotone,
        down_to: down_to.map(i64::unsigned_abs),
    }))
}

impl Drain {
    /// The tightest bound there is, and what it is made of.
    fn bound(&self, outage: Duration) -> Option<Duration> {
        let ratio = self.ratio.map(|ratio| outage.mul_f64(ratio));
        self.within.into_iter().chain(ratio).min()
    }

    fn rises(&self, curve: &Curve, window: Window, shallow: u64) -> Vec<(Micros, String)> {
        let Some(length) = self.monotone else {
            return Vec::new();
        };
        let count = window.length().as_micros() / length.as_micros().max(1);
        let ends =
            (0..=count).map(|nth| window.from + length * u32::try_from(nth).unwrap_or(u32::MAX));
        let depths: Vec<(Micros, u64)> = ends.map(|at| (at, curve.at(at))).collect();
        let pairs = depths.windows(2);
        pairs
            .filter(|pair| pair[1].1 > pair[0].1 && pair[1].1 > shallow)
            .map(|pair| {
                let what = format!("the backlog rose from {} to {}", pair[0].1, pair[1].1);
                (pair[1].0, what)
            })
            .collect()
    }
}

impl Expectation for Drain {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let nothing = |why: String| Judgement::new(view.window(), 0, "nothing").inconclusive(why);
        let account = match self.work.account(view) {
            Ok(account) => account,
            Err(nothing) => return nothing,
        };
        if let Some(why) = shows_nothing(&account, account.counts.accepted) {
            return nothing(why);
        }
        let Some(lifted) = view.outage_ended() else {
            return nothing("the outage never ended".to_owned());
        };
        let armed = view.history.faults.iter().map(|span| span.armed).min();
        let armed = armed.unwrap_or(lifted);
        let curve = account.curve(|entry| self.work.has(entry.class));
        let shallow = self.down_to.unwrap_or_else(|| curve.usual(view));
        let outage = curve.depths(Window::new(armed, lifted));
        let peak = outage.iter().map(|(_, depth)| *depth).max().unwrap_or(0);
        let window = view.draining(lifted, account.end);
        let Drained { at: when, rose } = Drained::of(&curve.depths(window), shallow);
        let seen = window.length();
        let took = when.map(|at| at.since(lifted));
        let measured = match took {
            Some(took) => format!("{peak} drained in {}", format_duration(took)),
            None => format!(
                "{} of {peak} left after {}",
                curve.at(window.to),
                format_duration(seen)
            ),
        };
        let rose = rose.map(|(at, depth)| (at, format!("the backlog had risen again to {depth}")));
        let judgement = Judgement::new(window, peak, measured).with(rose);
        if peak <= shallow {
            return judgement.inconclusive(format!(
                "the outage made no backlog: at most {peak} waited, {shallow} count as drained"
            ));
        }
        if took.is_none()
            && let Some(why) = account.blind.first()
        {
            return judgement.inconclusive(format!("what is left may be delivered unseen: {why}"));
        }
        let draining = Window::new(lifted, when.unwrap_or(window.to));
        let rises = self.rises(&curve, draining, shallow);
        if !rises.is_empty() {
            return judgement
                .fail(format!(
                    "the backlog rose in {} windows of its draining",
                    rises.len()
                ))
                .with(rises);
        }
        let outage = lifted.since(armed);
        match (self.bound(outage), took) {
            (Some(bound), _) if took.unwrap_or(seen) > bound => judgement.fail(format!(
                "it took {}{}, more than {}",
                if took.is_none() { "at least " } else { "" },
                format_duration(took.unwrap_or(seen)),
                format_duration(bound)
            )),
            (_, None) => judgement.inconclusive(format!(
                "it was not drained when the watching ended {} after the outage",
                format_duration(seen)
            )),
            _ => judgement,
        }
    }

    fn needs_the_end(&self) -> bool {
        true
    }

    fn required(&self) -> String {
        let mut bounds = Vec::new();
        bounds.extend(
            self.within
                .map(|within| format!("within {}", format_duration(within))),
        );
        bounds.extend(
            self.ratio
                .map(|ratio| format!("within {ratio} x the outage")),
        );
        bounds.extend(
            self.monotone
                .map(|window| format!("never deeper every {}", format_duration(window))),
        );
        format!(
            "the backlog of {} drained {}",
            self.work.describe(),
            bounds.join(" and ")
        )
    }

    fn scope(&self) -> Scope {
        Scope::Aftermath
    }

    fn forewarn(&self, plan: &Foresight<'_>) -> Vec<String> {
        let length: Duration = plan.phases.iter().map(|(_, length)| *length).sum();
        match self.within {
            Some(within) if length < within => vec![format!(
                "the recovery ends after {}, before the {} that are allowed are over",
                format_duration(length),
                format_duration(within)
            )],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        judge,
        testing::{check, parse, problems},
    };
    use crate::{
        expectation::Status,
        history::{
            History, Measure, Observation, Outcome,
            sample::{self, Story},
        },
        input::Problems,
        scenario::Expect,
        units::Micros,
    };

    const WITHIN: &str = "kind = \"drain\"\nledger = \"work\"\nwithin = \"10s\"";
    const RATIO: &str = "kind = \"drain\"\nledger = \"work\"\nat_most_ratio = 0.5";

    /// Work 0 to 199, accepted five a second; what came in the outage is delivered after it, so many
    /// each second, the rest at once.
    fn drains(per_second: u64) -> Story {
        reading_back(per_second, |_| 0)
    }

    /// The same with what was accepted read back until so long after its answer, by when it was
    /// asked for.
    fn reading_back(per_second: u64, read_back: impl Fn(u64) -> u64) -> Story {
        let story = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
        let story = (0..200).fold(story, |story, id| {
            let story = story.work(id * 200, &id.to_string(), Outcome::Ok);
            story.read_back(read_back(id * 200), Outcome::Ok)
        });
        (0..200)
            .fold(story, |story, id| {
                let asked = id * 200;
                let held = (10_000..30_000).contains(&asked);
                let at = if held {
                    30_000 + (id - 50) * 1_000 / per_second + 50
                } else {
                    asked + 50
                };
                story.delivery(at, &id.to_string())
            })
            .watched(60_000)
    }

    #[test]
    fn a_backlog_drained_in_time_passes_and_a_slow_one_fails() {
        for text in [WITHIN, RATIO] {
            let verdict = check(text, &drains(12));
            assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
            assert!(
                verdict.measured.starts_with("100 drained in 8."),
                "{verdict:?}"
            );
            let verdict = check(text, &drains(8));
            assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        }
    }

    #[test]
    fn a_backlog_that_is_never_drained_fails_only_where_it_was_seen_long_enough() {
        let stuck = |story: Story| {
            (0..30).fold(story, |story, id| {
                story.work(20_000 + id, &format!("stuck-{id}"), Outcome::Ok)
            })
        };
        let verdict = check(WITHIN, &stuck(drains(12)));
        assert_eq!(verdict.status, Status::Fail);
        assert!(verdict.reason.unwrap().starts_with("it took at least 30s"));
        let patient = WITHIN.replace("10s", "40s");
        assert_eq!(
            check(&patient, &stuck(drains(12))).status,
            Status::Inconclusive
        );
    }

    /// Drained in four seconds; then, from 42 s on, 40 more wait for so long.
    fn rises_again(for_millis: u64) -> Story {
        (0..40).fold(drains(50), |story, nth| {
            let at = 42_000 + nth;
            let id = format!("again-{nth}");
            let story = story.work(at, &id, Outcome::Ok);
            story.delivery(at + 20 + for_millis, &id)
        })
    }

    #[test]
    fn a_backlog_that_rises_again_is_not_drained_until_it_is_for_good() {
        let verdict = check(WITHIN, &rises_again(500));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        let verdict = check(WITHIN, &rises_again(5_000));
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        assert!(
            verdict.reason.unwrap().starts_with("it took 17"),
            "not at once"
        );
        assert!(
            verdict.evidence[0]
                .what
                .starts_with("the backlog had risen again to 4")
        );
        let patient = WITHIN.replace("10s", "20s");
        assert_eq!(check(&patient, &rises_again(5_000)).status, Status::Pass);
        assert_eq!(check(&patient, &rises_again(15_000)).status, Status::Fail);
    }

    #[test]
    fn it_must_stay_drained_until_another_outage_begins() {
        let judged = |another: bool| {
            let mut scenario = sample::scenario();
            let mut last = sample::scenario().phases.remove(1);
            last.name = "another".into();
            if !another {
                last.faults.clear();
            }
            scenario.phases[1].aftermath = false;
            scenario.phases[2].aftermath = true;
            scenario.phases.push(last);
            let mut problems = Problems::default();
            let (kind, expectation) = parse(WITHIN, &mut problems).expect("it parses");
            scenario.expects.push(Expect {
                id: "X".into(),
                that: String::new(),
                kind,
                expectation,
                during: vec![2],
                span: 0..0,
                extent: 0..0,
            });
            let mut all = rises_again(8_000).observations();
            let at = Micros::from_secs(41);
            let next = all
                .iter()
                .position(|one| one.at() > at)
                .expect("later ones");
            all.insert(next, Observation::Phase { at, index: 3 });
            let history = History::from_observations(all).expect("a header");
            judge(&history, &scenario, &sample::system()).remove(0)
        };
        let verdict = judged(true);
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(judged(false).status, Status::Fail);
    }

    #[test]
    fn what_is_being_read_back_has_been_accepted_and_waits() {
        // Read back until it was delivered, so that it would never seem to have waited.
        let patient = |per_second| {
            reading_back(per_second, |asked| match asked {
                10_000..30_000 => 30_000,
                _ => 100,
            })
        };
        for text in [WITHIN, RATIO] {
            let verdict = check(text, &patient(12));
            assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
            let verdict = check(text, &patient(8));
            assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        }
    }

    #[test]
    fn without_a_backlog_there_is_nothing_to_drain() {
        let story = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
        let story = (0..40).fold(story, |story, id| {
            let name = id.to_string();
            story
                .work(id * 1_000, &name, Outcome::Ok)
                .delivery(id * 1_000 + 50, &name)
        });
        let verdict = check(WITHIN, &story.watched(60_000));
        assert_eq!(verdict.status, Status::Inconclusive);
        let reason = verdict.reason.expect("there is one");
        assert!(reason.contains("the outage made no backlog"), "{reason}");
        let none = Story::new().healthy(0..60).watched(60_000);
        assert_eq!(check(WITHIN, &none).status, Status::Inconclusive);
    }

    #[test]
    fn what_could_not_be_looked_at_in_the_end_may_be_drained() {
        let listed = WITHIN.replace("work", "listed");
        let story = (0..60).fold(Story::new().healthy(0..60), |story, id| {
            story.work(id * 500, &id.to_string(), Outcome::Ok)
        });
        // What came before the outage is shown, then nothing more.
        let story = (0..20).fold(story, |story, id| {
            story.listing(id * 500 + 100, &[&id.to_string()], &[])
        });
        let seen = story
            .reported_dropped(59_900, &[])
            .gauge(59_900, Measure::Backlog, "listed", Some(40.0))
            .watched(60_000);
        let verdict = check(&listed, &seen.clone().listing(59_900, &[], &[]));
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        let verdict = check(&listed, &seen.unreadable(59_900, "status 503"));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        assert!(verdict.reason.expect("a reason").contains("status 503"));
    }

    #[test]
    fn a_backlog_that_rises_while_it_drains_fails() {
        let monotone = format!("{WITHIN}\nmonotone = \"2s\"");
        assert_eq!(check(&monotone, &drains(12)).status, Status::Pass);
        let again = (0..60).fold(drains(12), |story, id| {
            let name = format!("more-{id}");
            story
                .work(33_000 + id, &name, Outcome::Ok)
                .delivery(38_000, &name)
        });
        let verdict = check(&monotone, &again);
        assert_eq!(verdict.status, Status::Fail);
        assert!(
            verdict.evidence[0]
                .what
                .starts_with("the backlog rose from")
        );
    }

    #[test]
    fn a_bound_is_needed() {
        assert_eq!(
            problems("kind = \"drain\"\nledger = \"work\""),
            ["expectation bounds nothing"]
        );
    }
}
