//! `alive`: no instance ends unless we end it, and whoever is started comes up.
//!
//! An instance that exits before the first phase, while the system is being started, counts with
//! the first phase; one that exits after the last phase, while the last answers are awaited or the
//! ledgers watched, with the last, unless it ends with status 0: then its work was done.

use super::{Expectation, ExpectationDef, Judgement, Name, Names, Scope, names};
use crate::{
    history::{ProcessEvent, View},
    input::{About, Fields, Key, Problems, Shape},
    scenario::Start,
};

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "alive",
    summary: "no instance exits on its own account",
    about: About {
        text: "\
            No instance exits on its own account. Crashing over a dependency's failure turns a \
            part of an outage into all of it. One that is started again and is not ready in time, \
            or cannot be started, counts as one that exits; so does one that crashes when all phases \
            are over and the last answers and ledgers are waited for.",
        evidence: "\
            The ends of processes that Brownout started and did not stop itself, and the starts \
            that came to nothing.",
        doubt: "Nobody watches the processes of a system that somebody else started.",
        mistakes: &["\
                A supervisor that restarts its children hides their crashes from this: look at its \
                output."],
        related: &["memory", "recovery", "kill"],
    },
    example: "[[expect]]\nid   = \"ALIVE\"\nthat = \"nothing crashes\"\nkind = \"alive\"\n",
    keys: &[Key::optional(
        "instance",
        Shape::Text,
        "only this instance (all)",
    )],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
struct Alive {
    instance: Option<Name>,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let instance = names::instance(fields, "instance", names, problems);
    (instance.is_some() || !fields.has("instance"))
        .then(|| Box::new(Alive { instance }) as Box<dyn Expectation>)
}

/// Whether an instance ended with status 0, as a load generator does that has sent everything.
fn was_done(event: &ProcessEvent) -> bool {
    let how = event.detail.as_deref().unwrap_or_default();
    let code = how.strip_prefix("exit status ").unwrap_or_default();
    let digits = code.bytes().take_while(u8::is_ascii_digit).count();
    event.event == "exited" && &code[..digits] == "0"
}

impl Expectation for Alive {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let meant = |name: &str| self.instance.as_deref().is_none_or(|one| one == name);
        let events: Vec<_> = view
            .history
            .processes
            .iter()
            .filter(|event| meant(&event.instance))
            .collect();
        let first = view.history.phases.first();
        let judged = |event: &ProcessEvent| {
            let at = event.at;
            let early =
                first.is_some_and(|span| view.judged().contains(&span.index) && at < span.began);
            // With its faults gone and its load over a system works off what has piled up: until we end it
            // ourselves, it has to live.
            let last = view.history.phases.last();
            let late =
                last.is_some_and(|span| view.judged().contains(&span.index) && at >= span.ended);
            early || (late && !was_done(event)) || view.contains(at)
        };
        let started = events
            .iter()
            .filter(|event| event.event == "started")
            .count();
        let exits: Vec<_> = events
            .iter()
            .filter(|event| event.failure().is_some() && judged(event))
            .collect();
        let measured = format!("{} exits in {started} starts", exits.len());
        let judgement = Judgement::new(view.window(), started as u64, measured);
        let judgement = if !exits.is_empty() {
            let all_exited = exits.iter().all(|event| event.event == "exited");
            judgement.fail(match all_exited {
                true => format!("{} times an instance exited", exits.len()),
                false => format!(
                    "{} times an instance exited or did not come up",
                    exits.len()
                ),
            })
        } else if matches!(view.system.start, Start::External) {
            judgement.inconclusive("somebody else started the system: its processes are not seen")
        } else if started == 0 {
            judgement.inconclusive("no instance was started")
        } else {
            judgement
        };
        judgement.with(exits.iter().map(|event| {
            let detail = event.detail.as_deref().unwrap_or("no detail");
            let what = match &*event.event {
                "exited" => "exited",
                _ => event.failure().unwrap_or("failed"),
            };
            (event.at, format!("{} {what}: {detail}", event.instance))
        }))
    }

    fn hangs_on_time(&self) -> bool {
        false
    }

    fn required(&self) -> String {
        match &self.instance {
            Some(name) => format!("`{name}` does not exit"),
            None => "no instance exits".to_owned(),
        }
    }

    fn scope(&self) -> Scope {
        Scope::WholeRun
    }

    fn needs_faults(&self) -> bool {
        false
    }

    fn needs_running(&self, _instance: &str) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, problems};
    use super::*;
    use crate::{
        expectation::Status,
        history::{
            COMPLETED, History, Observation,
            sample::{self, Story},
        },
        units::Micros,
    };

    const EXPECT: &str = "kind = \"alive\"";

    fn story() -> Story {
        Story::new()
            .healthy(0..60)
            .process(0, "primary", "started", true)
            .process(0, "standby", "started", true)
    }

    #[test]
    fn it_passes_when_only_we_ended_instances() {
        let story = story().process(15_000, "primary", "exited", true);
        let verdict = check(EXPECT, &story);
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(verdict.measured, "0 exits in 2 starts");
    }

    #[test]
    fn an_exit_that_nobody_asked_for_fails_even_where_nothing_was_injected() {
        let story = story().process(15_000, "primary", "exited", false).hits(0);
        assert_eq!(check(EXPECT, &story).status, Status::Fail);
        let standby = format!("{EXPECT}\ninstance = \"standby\"");
        assert_eq!(check(&standby, &story).status, Status::Pass);
    }

    #[test]
    fn who_is_started_again_and_does_not_come_up_counts_as_one_that_exits() {
        let killed = story()
            .process(15_000, "primary", "killed", true)
            .process(15_010, "primary", "exited", true);
        let started = killed.clone().process(20_000, "primary", "started", true);
        let ready = started.clone().process(21_000, "primary", "ready", true);
        assert_eq!(check(EXPECT, &ready).status, Status::Pass);
        let late = started
            .process(25_000, "primary", "not-ready", false)
            .process(25_000, "primary", "killed", true)
            .process(25_010, "primary", "exited", true);
        let verdict = check(EXPECT, &late);
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        assert_eq!(
            verdict.evidence[0].what,
            "primary was not ready in time: no detail"
        );
        let never = |ours| {
            killed
                .clone()
                .process(20_000, "primary", "not-started", ours)
        };
        assert_eq!(check(EXPECT, &never(false)).status, Status::Fail);
        // Our own trouble with it is none of the system's.
        assert_eq!(check(EXPECT, &never(true)).status, Status::Pass);
    }

    #[test]
    fn an_exit_before_the_first_phase_counts_with_it() {
        let mut observations = story().observations();
        for observation in &mut observations {
            if let Observation::Phase { at, index: 0 } = observation {
                *at = Micros::from_secs(2);
            }
        }
        observations.push(Observation::Process(ProcessEvent {
            at: Micros::from_secs(1),
            instance: "primary".into(),
            event: "exited".to_owned(),
            ours: false,
            detail: None,
        }));
        let history = History::from_observations(observations).expect("a header");
        let (scenario, system) = (sample::scenario(), sample::system());
        let view = View::new(&history, &scenario, &system);
        let alive = Alive { instance: None };
        assert_eq!(alive.judge(&view).status, Status::Fail);
        assert_eq!(alive.judge(&view.over(vec![1, 2])).status, Status::Pass);
    }

    #[test]
    fn an_exit_after_the_last_phase_counts_with_it_until_we_end_the_system() {
        let judged = |ours: bool, status: &str, phases: &[usize]| {
            let story = story().ends(70, Some(COMPLETED));
            let mut story = story.process(64_000, "primary", "exited", ours);
            if let Some(Observation::Process(event)) = story.observations.last_mut() {
                event.detail = Some(status.to_owned());
            }
            let mut observations = story.observations();
            let at = Micros::from_secs(60);
            let next = observations.iter().position(|one| one.at() > at);
            observations.insert(next.expect("the exit"), Observation::PhasesOver { at });
            let history = History::from_observations(observations).expect("a header");
            let (scenario, system) = (sample::scenario(), sample::system());
            let view = View::new(&history, &scenario, &system).over(phases.to_vec());
            assert_eq!(history.over(), at);
            Alive { instance: None }.judge(&view)
        };
        for killed in ["killed by SIGKILL", "exit status 1", "exit status 01"] {
            let crashed = judged(false, killed, &[0, 1, 2]);
            assert_eq!(crashed.status, Status::Fail, "{crashed:?}");
            assert_eq!(
                crashed.evidence[0].what,
                format!("primary exited: {killed}")
            );
            assert_eq!(judged(true, killed, &[0, 1, 2]).status, Status::Pass);
            assert_eq!(judged(false, killed, &[0, 1]).status, Status::Pass);
        }
        for done in ["exit status 0", "exit status 0: sent all"] {
            assert_eq!(judged(false, done, &[0, 1, 2]).status, Status::Pass);
        }
    }

    #[test]
    fn without_a_start_nothing_is_known() {
        let verdict = check(EXPECT, &Story::new().healthy(0..60));
        assert_eq!(verdict.status, Status::Inconclusive);
    }

    #[test]
    fn an_unknown_instance_is_a_problem() {
        assert_eq!(
            problems("kind = \"alive\"\ninstance = \"prymary\""),
            ["unknown instance `prymary`"]
        );
    }
}
