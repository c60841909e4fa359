//! `amplification`: trouble at a dependency does not multiply the requests sent to it, nor does it end
//! them for good.

use super::{
    Expectation, ExpectationDef, Foresight, Judgement, Name, Names, names,
    wire::{self, BUSY_FACTOR, Meant},
};
use crate::{
    history::{View, Window},
    input::{About, Fields, Key, Problems, Shape},
    scenario::Start,
    units::Micros,
};

/// The fewest arrivals in the steady phases that a rate is made of.
const BASELINE_MIN: usize = 10;

/// The fewest requests that must have been due in a judged phase, by what came in to the system
/// itself: who is asked nothing asks nothing, and neither multiplies requests nor ends them.
const DUE_MIN: f64 = 3.0;

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "amplification",
    summary: "a dependency gets at most, or at least, so many times the requests of steady state",
    about: About {
        text: "\
            Trouble at a dependency does not multiply the requests sent to it: at most so many \
            times the rate of steady state, in each judged phase. It is what keeps an outage \
            from feeding itself. And once the trouble is over requests come again: `at_least` \
            says how many.",
        evidence: "\
            Attempts a second at the proxy in each phase, against the steady phases.",
        doubt: "\
            The steady phases have no requests to hold against; or so little load came in to the \
            system in a judged phase that no request to the dependency was due; or none came and no \
            instance ran for most of the phase, whoever ended or paused them; or connects were \
            refused or not accepted in it, so that nobody knows how much came.",
        mistakes: &[
            "\
                More load in a phase (`load = { ask = \"10x\" }`) is more requests too, without any \
                retry.",
            "\
                Who asks nothing at all keeps every `at_most`: bound it from below, or require \
                elsewhere that what was asked for is done.",
            "\
                Under `refuse` and `no-accept` what comes leaves no request to count: `error` or \
                `hang` show the same storm.",
        ],
        related: &["attempts", "back-off", "overload"],
    },
    example: "[[expect]]\nid      = \"ADA-16\"\nthat    = \"instant errors do not raise the call rate\"\nkind    = \"amplification\"\non      = \"object-store\"\nat_most = \"3x\"\n",
    keys: &[
        Key::required("on", Shape::Text, "the role or dependency"),
        wire::OPERATION,
        Key::optional(
            "at_most",
            Shape::Factor,
            "attempts a second in any judged phase, as a factor of the steady phases",
        ),
        Key::optional(
            "at_least",
            Shape::Factor,
            "the same from below: attempts a second in every judged phase",
        ),
    ],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
struct Amplification {
    on: Name,
    meant: Meant,
    at_most: Option<f64>,
    at_least: Option<f64>,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let on = names::dependency(fields, "on", names, problems);
    let meant = Meant::read(fields, false, problems);
    let at_most = fields.factor("at_most", problems);
    let at_least = fields.factor("at_least", problems);
    if !fields.has("at_most") && !fields.has("at_least") {
        problems.error(
            fields.source,
            fields.span.clone(),
            format!("{} has neither `at_most` nor `at_least`", fields.name()),
            "say `at_most = \"3x\"`".to_owned(),
        );
        return None;
    }
    if let (Some(most), Some(least)) = (at_most, at_least)
        && most < least
    {
        let message = "no rate is at most `at_most` and at least that";
        fields.problem(problems, "at_least", message, None);
        return None;
    }
    Some(Box::new(Amplification {
        on: on?,
        meant,
        at_most,
        at_least,
    }))
}

/// How busy a stretch was.
struct Busy {
    name: String,
    from: Micros,
    count: usize,
    per_second: f64,
    /// How many requests were due, by the operations that came in and what comes of one in steady
    /// state. `None` where there is no load to tell it by.
    due: Option<f64>,
    /// Whether no instance ran for most of it.
    is_deserted: bool,
    /// Why there may have been more of it than was seen.
    unseen: Option<String>,
    /// How much more there was a second, at most; `None` where that is not known.
    refused: Option<f64>,
}

impl Busy {
    fn shown(&self) -> (Micros, String) {
        let what = format!(
            "`{}`: {} requests, {:.1}/s",
            self.name, self.count, self.per_second
        );
        (self.from, what)
    }
}

impl Amplification {
    fn busy(&self, view: &View<'_>, name: &str, window: Window, of_one: Option<f64>) -> Busy {
        let count = wire::arrivals(view, &self.on, &self.meant, window).len();
        let seconds = window.length().as_secs_f64();
        let unseen = wire::kept_out(&self.on, &wire::unseen(view, &self.on, window));
        let refused = match &unseen {
            Some(_) => wire::refused_at_most(view, &self.on, window),
            None => Some(0),
        };
        Busy {
            name: name.to_owned(),
            from: window.from,
            count,
            per_second: if seconds > 0.0 {
                count as f64 / seconds
            } else {
                0.0
            },
            due: of_one.map(|of_one| of_one * came_in(view, window) as f64),
            is_deserted: is_deserted(view, window),
            unseen,
            refused: refused.map(|refused| refused as f64 / seconds.max(f64::MIN_POSITIVE)),
        }
    }

    /// The fewest requests that must have been due: where fewer are allowed than in steady state, so
    /// many that one of them is no more than allowed.
    fn due_min(&self) -> f64 {
        let of_few = self.at_most.map_or(0.0, f64::recip);
        of_few.ceil().max(DUE_MIN)
    }

    fn steady(&self, view: &View<'_>) -> (usize, f64) {
        let windows = view.steady();
        let seconds: f64 = windows.iter().map(|one| one.length().as_secs_f64()).sum();
        let count = windows
            .iter()
            .map(|window| wire::arrivals(view, &self.on, &self.meant, *window).len())
            .sum();
        (count, count as f64 / seconds.max(f64::MIN_POSITIVE))
    }
}

/// Whether no instance of the system ran for most of a window, whoever ended or paused them.
fn is_deserted(view: &View<'_>, window: Window) -> bool {
    let Start::Instances(instances) = &view.system.start else {
        return false;
    };
    let instances: Vec<_> = instances.iter().collect();
    view.manned(window, &instances) * 2 < window.length()
}

/// How many operations came in, of whatever load.
fn came_in(view: &View<'_>, window: Window) -> usize {
    let loads = view.system.loads.iter().map(|load| &load.name);
    let doors = view.system.ingress.iter().map(|ingress| &ingress.name);
    let names = loads.chain(doors);
    names
        .map(|name| view.operations_in(name, window).len())
        .sum()
}

impl Expectation for Amplification {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let (steady_count, steady) = self.steady(view);
        let steadily: usize = view
            .steady()
            .into_iter()
            .map(|one| came_in(view, one))
            .sum();
        let of_one = (steadily > 0).then(|| steady_count as f64 / steadily as f64);
        let phases: Vec<Busy> = view
            .spans()
            .map(|span| {
                let name = view.phase(span).map_or("", |phase| &phase.name);
                self.busy(view, name, Window::new(span.began, span.ended), of_one)
            })
            .collect();
        let count = phases.iter().map(|phase| phase.count as u64).sum();
        let by_rate = |one: &&Busy, other: &&Busy| one.per_second.total_cmp(&other.per_second);
        // Of what is bounded from below alone the least busy phase is the one to be shown.
        let shown = match self.at_most {
            Some(_) => phases.iter().max_by(by_rate),
            None => phases.iter().min_by(by_rate),
        };
        let (Some(shown), true) = (shown, steady_count >= BASELINE_MIN) else {
            return Judgement::new(view.window(), count, "nothing to compare with").inconclusive(
                format!(
                    "{steady_count} requests in the steady phases are no baseline, {BASELINE_MIN} would be"
                ),
            );
        };
        let factor = |phase: &Busy| phase.per_second / steady;
        let measured = format!(
            "{:.2}x ({:.1}/s in `{}`, {steady:.1}/s in steady state)",
            factor(shown),
            shown.per_second,
            shown.name
        );
        let judgement = Judgement::new(view.window(), count, measured);
        let evidence = |meant: &dyn Fn(&Busy) -> bool| -> Vec<(Micros, String)> {
            let meant = phases.iter().filter(|phase| meant(phase));
            meant.map(Busy::shown).collect()
        };
        let over = |phase: &Busy| self.at_most.is_some_and(|most| factor(phase) > most);
        let seems_under = |phase: &Busy| self.at_least.is_some_and(|least| factor(phase) < least);
        // With all that was refused beside it.
        let whole = |phase: &Busy| Some((phase.per_second + phase.refused?) / steady);
        let under = |phase: &Busy| {
            let is_less = |least| whole(phase).is_some_and(|whole| whole < least);
            self.at_least.is_some_and(is_less)
        };
        let may_be_over = |phase: &Busy| {
            let is_kept = |most| whole(phase).is_some_and(|whole| whole <= most);
            !self.at_most.is_none_or(is_kept)
        };
        let worst = phases.iter().filter(|phase| over(phase)).max_by(by_rate);
        if let (Some(worst), Some(most)) = (worst, self.at_most) {
            let reason = format!("{:.2}x is more than {most}x", factor(worst));
            return judgement
                .fail_however_busy(factor(worst) > most * BUSY_FACTOR, reason)
                .with(evidence(&over));
        }
        let idle = phases
            .iter()
            .find_map(|phase| Some((phase, phase.due.filter(|due| *due < self.due_min())?)));
        if let Some((phase, due)) = idle {
            return judgement.inconclusive(format!(
                "so little came in to the system in `{}` that {due:.1} requests were due, at least {} are needed",
                phase.name,
                self.due_min()
            ));
        }
        let worst = phases.iter().filter(|phase| under(phase)).min_by(by_rate);
        if let (Some(worst), Some(least)) = (worst, self.at_least) {
            return judgement
                .fail(format!("{:.2}x is less than {least}x", factor(worst)))
                .with(evidence(&under));
        }
        let hangs_on_all = |phase: &&Busy| may_be_over(phase) || seems_under(phase);
        let mut unseen = phases.iter().filter(hangs_on_all);
        if let Some((phase, why)) = unseen.find_map(|one| Some((one, one.unseen.as_ref()?))) {
            return judgement.inconclusive(format!("in `{}` {why}", phase.name));
        }
        match phases
            .iter()
            .find(|phase| phase.count == 0 && phase.is_deserted)
        {
            Some(phase) => judgement.inconclusive(format!(
                "no instance ran for most of `{}`, so that nobody was there to ask anything",
                phase.name
            )),
            None => judgement,
        }
    }

    fn required(&self) -> String {
        let bounds = [("at most", self.at_most), ("at least", self.at_least)];
        let bounds = bounds.iter().filter_map(|(word, bound)| {
            let bound = (*bound)?;
            Some(format!("{word} {bound}x"))
        });
        format!(
            "requests{} to `{}` {} the steady rate",
            self.meant.describe(),
            self.on,
            bounds.collect::<Vec<_>>().join(" and ")
        )
    }

    fn forewarn(&self, plan: &Foresight<'_>) -> Vec<String> {
        // Those that are refused are counted.
        let uncounted = plan.shut.iter().any(|one| {
            let is_meant = *one.dependency == *self.on || one.role == Some(&*self.on);
            is_meant && !one.is_counted
        });
        let warning = uncounted.then(|| wire::will_be_kept_out(plan, &self.on));
        warning.flatten().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, check_during, check_under, problems};
    use crate::{
        expectation::Status,
        history::{
            Outcome,
            sample::{Story, attempt},
        },
    };

    const EXPECT: &str = "kind = \"amplification\"\non = \"object-store\"\nat_most = \"3x\"";

    /// Two requests a second in steady state, and so many in the outage.
    fn story(per_second: u64) -> Story {
        let even = |from: u64, seconds: u64, per_second: u64| {
            (0..seconds * per_second).map(move |n| {
                let began = from + n * 1_000 / per_second;
                attempt("s3", began, began + 5).sdk(&format!("{from}-{n}"), 1)
            })
        };
        Story::new()
            .healthy(0..30)
            .attempts(even(0, 10, 2))
            .attempts(even(10_000, 20, per_second))
    }

    #[test]
    fn three_times_the_rate_passes_and_more_fails() {
        let verdict = check(EXPECT, &story(6));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(
            verdict.measured,
            "3.00x (6.0/s in `outage`, 2.0/s in steady state)"
        );
        let verdict = check(EXPECT, &story(7));
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(verdict.evidence[0].what, "`outage`: 140 requests, 7.0/s");
    }

    #[test]
    fn a_storm_is_one_on_a_busy_machine_too() {
        for (per_second, status) in [
            (6, Status::Inconclusive),
            (12, Status::Inconclusive),
            (13, Status::Fail),
        ] {
            let verdict = check(EXPECT, &story(per_second).missed(15, "ask", 60));
            assert_eq!(verdict.status, status, "{verdict:?}");
        }
        let least = EXPECT.replace("at_most = \"3x\"", "at_least = \"0.5x\"");
        let idle = story(0).missed(15, "ask", 60);
        assert_eq!(check(&least, &idle).status, Status::Inconclusive);
    }

    #[test]
    fn who_asks_nothing_any_more_falls_below_the_bound_from_below() {
        let both = format!("{EXPECT}\nat_least = \"0.5x\"");
        let least = both.replace("at_most = \"3x\"\n", "");
        for expect in [&both, &least] {
            assert_eq!(check(expect, &story(2)).status, Status::Pass);
            assert_eq!(check(expect, &story(1)).status, Status::Pass);
            let verdict = check(expect, &story(0));
            assert_eq!(verdict.status, Status::Fail);
            assert_eq!(verdict.reason.unwrap(), "0.00x is less than 0.5x");
            assert_eq!(verdict.evidence[0].what, "`outage`: 0 requests, 0.0/s");
        }
        assert_eq!(check(&both, &story(7)).status, Status::Fail);
        assert_eq!(check(&least, &story(7)).status, Status::Pass);
        let neither = EXPECT.replace("at_most = \"3x\"", "");
        assert!(problems(&neither)[0].contains("neither `at_most` nor `at_least`"));
        let never = format!("{EXPECT}\nat_least = \"4x\"");
        assert!(problems(&never)[0].contains("no rate is"));
    }

    #[test]
    fn who_is_asked_nothing_neither_keeps_a_bound_nor_breaks_one() {
        let load = |from, to, per_second| {
            Story::new()
                .load("ask", 0..10, 20, Outcome::Ok, 20)
                .load("ask", from..to, per_second, Outcome::Ok, 20)
                .load("ask", 30..60, 20, Outcome::Ok, 20)
                .load("train", 0..10, 20, Outcome::Ok, 20)
                .load("train", 30..60, 20, Outcome::Ok, 20)
        };
        let steady = || (0..20).map(|n| attempt("s3", n * 500, n * 500 + 5));
        let once = attempt("s3", 10_000, 10_005);
        let least = "kind = \"amplification\"\non = \"object-store\"\nat_least = \"0.5x\"";
        let tenth = EXPECT.replace("3x", "0.1x");
        // One operation came in, from which a twentieth of a request comes in steady state.
        let idle = load(10, 11, 1).attempts(steady()).attempt(once);
        for expect in [EXPECT, least, &tenth] {
            let verdict = check(expect, &idle);
            assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
            let reason = verdict.reason.unwrap();
            assert!(reason.contains("0.1 requests were due"), "{reason}");
        }
        // As much as before, of whom the dependency hears nothing more than once.
        let heard = load(10, 30, 20).attempts(steady());
        let once = attempt("s3", 10_000, 10_005);
        let heard = heard.attempt(once);
        assert_eq!(check(EXPECT, &heard).status, Status::Pass);
        assert_eq!(check(&tenth, &heard).status, Status::Pass);
        assert_eq!(check(least, &heard).status, Status::Fail);
        // A storm is one, whatever came in.
        let storm = (0..2_000).map(|n| attempt("s3", 10_000 + n, 10_001 + n));
        let storm = load(10, 11, 1).attempts(steady()).attempts(storm);
        assert_eq!(check(EXPECT, &storm).status, Status::Fail);
    }

    #[test]
    fn a_phase_in_which_nobody_ran_shows_nothing() {
        // It asks before and after, and nothing in between.
        let later = (0..60).map(|n| attempt("s3", 30_000 + n * 500, 30_005 + n * 500));
        let quiet = story(0).healthy(30..60).attempts(later);
        let judged = |story: &Story| check_during(EXPECT, story, vec![1, 2]);
        assert_eq!(judged(&quiet).status, Status::Pass);
        let dead = |to: u64| {
            let names = ["primary", "standby"].iter();
            names.fold(quiet.clone(), |story, name| {
                let story = story.process(10_000, name, "exited", true);
                let story = story.process(to, name, "started", true);
                story.process(to, name, "ready", true)
            })
        };
        let verdict = judged(&dead(29_000));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let reason = verdict.reason.unwrap();
        assert!(
            reason.contains("no instance ran for most of `outage`"),
            "{reason}"
        );
        assert_eq!(judged(&dead(15_000)).status, Status::Pass);
    }

    #[test]
    fn the_fewer_are_allowed_the_more_must_have_been_due() {
        // Two a second in steady state and 20 operations: a tenth of a request comes of each.
        let story = |operations: u64| {
            Story::new()
                .healthy(0..10)
                .load("ask", 10..10 + operations / 20, 20, Outcome::Ok, 20)
                .load("train", 10..10 + operations / 20, 20, Outcome::Ok, 20)
                .healthy(30..60)
                .attempts((0..20).map(|n| attempt("s3", n * 500, n * 500 + 5)))
                .attempt(attempt("s3", 10_000, 10_005))
        };
        let few = EXPECT.replace("3x", "0.1x");
        assert_eq!(check(EXPECT, &story(40)).status, Status::Pass);
        assert_eq!(check(&few, &story(40)).status, Status::Inconclusive);
        assert_eq!(check(&few, &story(100)).status, Status::Pass);
    }

    #[test]
    fn only_the_operation_meant_counts() {
        let get = format!("{EXPECT}\noperation = \"GetObject\"");
        assert_eq!(check(&get, &story(7)).status, Status::Inconclusive);
        let put = format!("{EXPECT}\noperation = [\"PutObject\"]");
        assert_eq!(check(&put, &story(7)).status, Status::Fail);
    }

    #[test]
    fn what_a_shut_listener_keeps_out_keeps_no_bound_and_breaks_none() {
        const LEAST: &str = "kind = \"amplification\"\non = \"object-store\"\nat_least = \"0.5x\"";
        let under = |fault: &str, expect: &str, story: &Story| {
            let verdict = check_under(fault, expect, story, Vec::new());
            let unseen = verdict
                .reason
                .is_some_and(|why| why.contains("refused or not accepted"));
            assert_eq!(unseen, verdict.status == Status::Inconclusive);
            verdict.status
        };
        let (seen, shut) = ("kind = 'hang'\non = 's3'", "kind = 'refuse'\non = 's3'");
        let share = "kind = 'no-accept'\non = 's3'\nshare = '30%'";
        for (expect, per_second, when_seen, when_shut) in [
            (EXPECT, 0, Status::Pass, Status::Inconclusive),
            (LEAST, 0, Status::Fail, Status::Inconclusive),
            // What was seen is enough, whatever else came.
            (EXPECT, 7, Status::Fail, Status::Fail),
            (LEAST, 2, Status::Pass, Status::Pass),
        ] {
            let story = story(per_second);
            assert_eq!(under(seen, expect, &story), when_seen, "{expect}");
            for fault in [shut, share] {
                assert_eq!(under(fault, expect, &story), when_shut, "{fault} {expect}");
            }
        }
        // Where it is known how many were refused, they are enough, or not.
        let counted = |per_second: u64, refused: u64, expect: &str, fault: &str| {
            let story = story(per_second)
                .acted_on(20, refused, "connects refused")
                .on_linux();
            check_under(fault, expect, &story, Vec::new()).status
        };
        assert_eq!(counted(0, 9, EXPECT, shut), Status::Pass);
        assert_eq!(counted(0, 9_000, EXPECT, shut), Status::Inconclusive);
        assert_eq!(counted(0, 9, LEAST, shut), Status::Fail);
        assert_eq!(counted(0, 9_000, LEAST, shut), Status::Inconclusive);
        assert_eq!(counted(0, 9, EXPECT, share), Status::Inconclusive);
        // Another phase, in which everything was seen, still breaks it.
        let quiet = story(0).healthy(30..60);
        let verdict = check_under(shut, LEAST, &quiet, vec![1, 2]);
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        assert_eq!(verdict.evidence.len(), 1);
    }

    #[test]
    fn without_a_baseline_nothing_can_be_told() {
        let story = Story::new()
            .healthy(0..30)
            .attempt(attempt("s3", 12_000, 12_010));
        assert_eq!(check(EXPECT, &story).status, Status::Inconclusive);
    }
}
