//! `amplification`: trouble at a dependency does not multiply the requests sent to it.

use super::{
    Expectation, ExpectationDef, Judgement, Name, Names, names,
    wire::{self, Meant},
};
use crate::{
    history::{View, Window},
    input::{About, Fields, Key, Problems, Shape},
    units::Micros,
};

/// The fewest arrivals in the steady phases that a rate is made of.
const BASELINE_MIN: usize = 10;

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "amplification",
    summary: "a failing dependency gets at most so many times the requests of steady state",
    about: About {
        text: "\
            Trouble at a dependency does not multiply the requests sent to it: at most so many \
            times the rate of steady state, in each judged phase. It is what keeps an outage \
            from feeding itself.",
        evidence: "\
            Attempts a second at the proxy in each phase, against the steady phases.",
        doubt: "The steady phases have no requests to hold against.",
        mistakes: &["\
                More load in a phase (`load = { ask = \"10x\" }`) is more requests too, without any \
                retry."],
        related: &["attempts", "back-off", "overload"],
    },
    example: "[[expect]]\nid      = \"ADA-16\"\nthat    = \"instant errors do not raise the call rate\"\nkind    = \"amplification\"\non      = \"object-store\"\nat_most = \"3x\"\n",
    keys: &[
        Key::required("on", Shape::Text, "the role or dependency"),
        wire::OPERATION,
        Key::required(
            "at_most",
            Shape::Factor,
            "attempts a second in any judged phase, as a factor of the steady phases",
        ),
    ],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
struct Amplification {
    on: Name,
    meant: Meant,
    at_most: f64,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let on = names::dependency(fields, "on", names, problems);
    let meant = Meant::read(fields, false, problems);
    let at_most = fields.factor("at_most", problems);
    Some(Box::new(Amplification {
        on: on?,
        meant,
        at_most: at_most?,
    }))
}

/// How busy a stretch was.
struct Busy {
    name: String,
    from: Micros,
    count: usize,
    per_second: f64,
}

impl Amplification {
    fn busy(&self, view: &View<'_>, name: &str, window: Window) -> Busy {
        let count = wire::arrivals(view, &self.on, &self.meant, window).len();
        let seconds = window.length().as_secs_f64();
        Busy {
            name: name.to_owned(),
            from: window.from,
            count,
            per_second: if seconds > 0.0 {
                count as f64 / seconds
            } else {
                0.0
            },
        }
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

impl Expectation for Amplification {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let (steady_count, steady) = self.steady(view);
        let phases: Vec<Busy> = view
            .spans()
            .map(|span| {
                let name = view.phase(span).map_or("", |phase| &phase.name);
                self.busy(view, name, Window::new(span.began, span.ended))
            })
            .collect();
        let count = phases.iter().map(|phase| phase.count as u64).sum();
        let worst = phases
            .iter()
            .max_by(|one, other| one.per_second.total_cmp(&other.per_second));
        let (Some(worst), true) = (worst, steady_count >= BASELINE_MIN) else {
            return Judgement::new(view.window(), count, "nothing to compare with").inconclusive(
                format!(
                    "{steady_count} requests in the steady phases are no baseline, {BASELINE_MIN} would be"
                ),
            );
        };
        let factor = worst.per_second / steady;
        let measured = format!(
            "{factor:.2}x ({:.1}/s in `{}`, {steady:.1}/s in steady state)",
            worst.per_second, worst.name
        );
        let judgement = Judgement::new(view.window(), count, measured);
        if factor <= self.at_most {
            return judgement;
        }
        judgement
            .fail(format!("{factor:.2}x is more than {}x", self.at_most))
            .with(
                phases
                    .iter()
                    .filter(|phase| phase.per_second > steady * self.at_most)
                    .map(|phase| {
                        let what = format!(
                            "`{}`: {} requests, {:.1}/s",
                            phase.name, phase.count, phase.per_second
                        );
                        (phase.from, what)
                    }),
            )
    }

    fn required(&self) -> String {
        format!(
            "requests{} to `{}` at most {}x the steady rate",
            self.meant.describe(),
            self.on,
            self.at_most
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use crate::{
        expectation::Status,
        history::sample::{Story, attempt},
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
    fn only_the_operation_meant_counts() {
        let get = format!("{EXPECT}\noperation = \"GetObject\"");
        assert_eq!(check(&get, &story(7)).status, Status::Inconclusive);
        let put = format!("{EXPECT}\noperation = [\"PutObject\"]");
        assert_eq!(check(&put, &story(7)).status, Status::Fail);
    }

    #[test]
    fn without_a_baseline_nothing_can_be_told() {
        let story = Story::new()
            .healthy(0..30)
            .attempt(attempt("s3", 12_000, 12_010));
        assert_eq!(check(EXPECT, &story).status, Status::Inconclusive);
    }
}
