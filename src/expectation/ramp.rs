//! `ramp`: after the outage the system takes up speed by degrees, so that it does not throw the
//! dependency over again.
//!
//! The requests that arrived at the dependency are counted in windows of equal length from the
//! end of the outage. A window may have at most so many times the requests of the one
//! before it; up to the steady state's rate there is always leave to go. The first window is held
//! against the steady state, whatever was sent in the outage: who never stopped trying does not
//! begin by degrees. Counted are requests, or connections where the protocol shows none.
//!
//! A request has failed where nobody answered it, or where the dependency answered that it could
//! not serve it: with 5xx, 408, 429 or an error in a 200, and for databases with any error but those
//! that speak of the data alone, such as a key that is there already.

use super::{
    Expectation, ExpectationDef, Judgement, Name, Names, Scope, names,
    samples::{SAMPLES_MIN, part_of, samples_needed},
    wire::{self, BUSY_FACTOR, Meant, STORM_OVER},
};
use crate::{
    history::{AttemptEnd, View, Window},
    input::{About, Fields, Key, Problems, Shape},
    units::{Micros, Share, format_duration},
};
use std::time::Duration;

/// The length of a window where the file says nothing.
const WINDOW: Duration = Duration::from_secs(1);

/// The fewest arrivals in the steady phases that a rate is made of.
const BASELINE_MIN: usize = 10;

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "ramp",
    summary: "after the outage requests to a dependency grow by degrees, and it bears them",
    about: About {
        text: "\
            After the outage requests to the dependency grow by degrees, and it bears them: no \
            window has more than `step` times the one before, up to the rate of steady state, to \
            which there is always leave.",
        evidence: "\
            Requests that arrived at the dependency, in windows from the end of the outage on; \
            and how many of them it failed, for `errors_at_most`.",
        doubt: "\
            The steady phases have no requests to hold against, or the phase is too short for \
            the windows. Where the machine was too busy, a leap that it may have brought about.",
        mistakes: &["\
                Who never stopped trying does not begin by degrees: the first window is held against \
                the steady state."],
        related: &["reconnect", "drain", "restart"],
    },
    example: "[[expect]]\nid             = \"BAT-7\"\nthat           = \"work is taken up by degrees\"\nkind           = \"ramp\"\non             = \"object-store\"\nstep           = \"2x\"\nevery          = \"5s\"\nerrors_at_most = \"1%\"\n",
    keys: &[
        Key::required("on", Shape::Text, "the role or dependency"),
        wire::OPERATION,
        Key::optional(
            "step",
            Shape::Factor,
            "the most requests in a window, as a factor of the window before; up to the steady state's there is always leave",
        ),
        Key::optional("every", Shape::Duration, "the length of a window (1s)"),
        Key::optional(
            "errors_at_most",
            Shape::Share,
            "the share of requests that the dependency may fail meanwhile, or not answer",
        ),
    ],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
struct Ramp {
    on: Name,
    meant: Meant,
    step: Option<f64>,
    every: Duration,
    errors: Option<Share>,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let on = if fields.has("errors_at_most") {
        names::dependency_with_requests(fields, "on", names, problems)
    } else {
        names::dependency(fields, "on", names, problems)
    };
    let meant = Meant::read(fields, false, problems);
    let step = fields.factor("step", problems);
    let every = fields.duration("every", problems).unwrap_or(WINDOW);
    let errors = fields.share("errors_at_most", problems);
    if every < Duration::from_millis(100) {
        fields.problem(problems, "every", "`every` must be at least 100ms", None);
        return None;
    }
    if !fields.has("step") && !fields.has("errors_at_most") {
        problems.error(
            fields.source,
            fields.span.clone(),
            format!("{} has neither `step` nor `errors_at_most`", fields.name()),
            "say `step = \"2x\"`".to_owned(),
        );
        return None;
    }
    Some(Box::new(Ramp {
        on: on?,
        meant,
        step,
        every,
        errors,
    }))
}

impl Ramp {
    fn count(&self, view: &View<'_>, window: Window) -> usize {
        wire::arrivals(view, &self.on, &self.meant, window).len()
    }

    /// Requests per window in steady state, and how many that was made of.
    fn steady(&self, view: &View<'_>) -> (f64, usize) {
        let windows = view.steady();
        let count: usize = windows.iter().map(|window| self.count(view, *window)).sum();
        let seconds: f64 = windows.iter().map(|one| one.length().as_secs_f64()).sum();
        let windows = (seconds / self.every.as_secs_f64()).max(f64::MIN_POSITIVE);
        (count as f64 / windows, count)
    }

    fn steps(&self, view: &View<'_>, since: Micros, factor: f64) -> Judgement {
        let end = view.history.over();
        let whole = Window::new(since, end);
        let count = whole.length().as_micros() / self.every.as_micros().max(1);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let windows = (0..count).map(|nth| {
            let from = since + self.every * nth;
            Window::new(from, from + self.every)
        });
        let counts: Vec<(Window, usize)> = windows
            .map(|window| (window, self.count(view, window)))
            .collect();
        let total: usize = counts.iter().map(|(_, count)| count).sum();
        let (steady, baseline) = self.steady(view);
        let mut last: Option<f64> = None;
        let mut worst = 0.0f64;
        let mut leaps = Vec::new();
        let mut is_storm = false;
        for (index, (window, count)) in counts.iter().enumerate() {
            let step = *count as f64 / last.unwrap_or(0.0).max(steady).max(1.0);
            worst = worst.max(step);
            if step > factor {
                let before = match last {
                    Some(last) => format!("{last:.0} in those before"),
                    None => "right after the outage".to_owned(),
                };
                let what = format!(
                    "{count} requests in {}, {before}, {steady:.1} in steady state",
                    format_duration(self.every)
                );
                leaps.push((window.from, what));
                is_storm |= self.is_storm(&counts, index, steady, factor);
            }
            last = Some(*count as f64);
        }
        let measured = format!("steps of at most {worst:.2}x in {} windows", counts.len());
        let judgement = Judgement::new(whole, total as u64, measured);
        if baseline < BASELINE_MIN {
            return judgement.inconclusive(format!(
                "{baseline} requests in the steady phases are no baseline, {BASELINE_MIN} would be"
            ));
        }
        if !leaps.is_empty() {
            return judgement
                .fail_however_busy(
                    is_storm,
                    format!("{} windows had more than {factor}x", leaps.len()),
                )
                .with(leaps);
        }
        if (counts.len() as u64) < SAMPLES_MIN || (total as u64) < SAMPLES_MIN {
            return judgement.inconclusive(format!(
                "{total} requests in {} windows show no growth",
                counts.len()
            ));
        }
        judgement
    }

    /// Whether more came from this window on, over some time, than a busy machine brings about: more
    /// than [`BUSY_FACTOR`] times what growth by degrees allows and what was due in the time before
    /// that it may have held up.
    fn is_storm(&self, counts: &[(Window, usize)], from: usize, steady: f64, factor: f64) -> bool {
        let windows = (STORM_OVER.as_secs_f64() / self.every.as_secs_f64()).ceil() as usize;
        let before = &counts[from.saturating_sub(windows)..from];
        let most_before = before.iter().map(|(_, count)| *count as f64);
        let due = most_before.fold(steady.max(1.0), f64::max);
        let last = before.last().map_or(0.0, |(_, count)| *count as f64);
        let mut may_come = last.max(steady).max(1.0);
        let (mut came, mut may_have_come) = (0.0, due * windows as f64);
        for (_, count) in counts.iter().skip(from).take(windows.max(1)) {
            may_come *= factor.max(1.0);
            came += *count as f64;
            may_have_come += may_come;
            if came > may_have_come * BUSY_FACTOR {
                return true;
            }
        }
        false
    }

    fn errors(&self, view: &View<'_>, since: Micros, at_most: Share) -> Judgement {
        let window = Window::new(since, view.history.over());
        let attempts = view.attempts_in(&self.on, window);
        let over: Vec<_> = attempts
            .into_iter()
            .filter(|one| one.end != AttemptEnd::Unfinished && self.meant.means(one))
            .collect();
        let failed: Vec<_> = over.iter().filter(|one| one.failed()).collect();
        let (count, wrong) = (over.len() as u64, failed.len() as u64);
        let measured = format!("errors {}", part_of(wrong, count));
        let judgement = Judgement::new(window, count, measured);
        let needed = samples_needed(1.0 - at_most.fraction());
        if count > 0 && wrong as f64 > at_most.fraction() * count as f64 {
            let shown = failed.iter().map(|one| {
                let what = match (one.status, &one.code) {
                    (_, Some(code)) => code.to_string(),
                    (Some(status), None) => format!("status {status}"),
                    (None, None) => "no answer".to_owned(),
                };
                (one.began, format!("{} {}: {what}", one.operation, one.key))
            });
            return judgement
                .fail(format!("{wrong} of {count} requests failed"))
                .with(shown);
        }
        if count < needed {
            return judgement.inconclusive(format!(
                "{count} requests cannot show {at_most} errors: at least {needed} are needed"
            ));
        }
        judgement
    }
}

impl Expectation for Ramp {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let Some(since) = view.outage_ended() else {
            return Judgement::new(view.window(), 0, "nothing")
                .inconclusive("the outage never ended");
        };
        let steps = self.step.map(|factor| self.steps(view, since, factor));
        let errors = self.errors.map(|share| self.errors(view, since, share));
        steps
            .into_iter()
            .chain(errors)
            .reduce(Judgement::and)
            .unwrap_or_else(|| {
                Judgement::new(view.window(), 0, "nothing").inconclusive("nothing is bounded")
            })
    }

    fn required(&self) -> String {
        let mut bounds = Vec::new();
        bounds.extend(self.step.map(|factor| {
            format!(
                "grow at most {factor}x every {}",
                format_duration(self.every)
            )
        }));
        bounds.extend(self.errors.map(|share| format!("at most {share} fail")));
        format!(
            "after the outage requests{} to `{}` {}",
            self.meant.describe(),
            self.on,
            bounds.join(" and ")
        )
    }

    fn scope(&self) -> Scope {
        Scope::Aftermath
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, problems};
    use crate::{
        expectation::Status,
        history::sample::{Story, attempt},
    };

    const STEP: &str = "kind = \"ramp\"\non = \"s3\"\nstep = \"2x\"\nevery = \"2s\"";
    const ERRORS: &str = "kind = \"ramp\"\non = \"s3\"\nerrors_at_most = \"1%\"";

    /// Ten requests a second in steady state, none in the outage, then so many in each window of two
    /// seconds.
    fn taking_up(windows: &[u64]) -> Story {
        let steady = (0..100).map(|nth| attempt("s3", nth * 100, nth * 100 + 5));
        let mut story = Story::new().healthy(0..60).attempts(steady);
        for (from, count) in (0..).zip(windows) {
            let one = |nth| {
                let at = 30_000 + from * 2_000 + nth * 2_000 / count;
                attempt("s3", at, at + 5)
            };
            story = story.attempts((0..*count).map(one));
        }
        story
    }

    #[test]
    fn growth_by_degrees_passes_and_a_leap_fails() {
        let verdict = check(STEP, &taking_up(&[20, 40, 80, 100, 60, 20]));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        let verdict = check(STEP, &taking_up(&[20, 40, 90, 100]));
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        assert_eq!(
            verdict.evidence[0].what,
            "90 requests in 2s, 40 in those before, 20.0 in steady state"
        );
        let verdict = check(STEP, &taking_up(&[100]));
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(
            verdict.evidence[0].what,
            "100 requests in 2s, right after the outage, 20.0 in steady state"
        );
    }

    /// Twenty are due in each window, so that a hundred may have been held up for ten seconds, and
    /// forty, then eighty may come.
    #[test]
    fn a_storm_is_one_on_a_busy_machine_too() {
        for (windows, status) in [
            (&[20, 40, 80][..], Status::Inconclusive),
            (&[60, 40, 80], Status::Inconclusive),
            (&[280, 40, 80], Status::Inconclusive),
            (&[281, 40, 80], Status::Fail),
            (&[220, 220, 10], Status::Inconclusive),
            (&[220, 221, 10], Status::Fail),
            (&[20, 40, 80, 700, 10], Status::Inconclusive),
            (&[20, 40, 80, 1200, 10], Status::Fail),
            // What was sent before it fell silent may have been held up since.
            (&[160, 160, 160, 0, 0, 1500], Status::Inconclusive),
        ] {
            let story = taking_up(windows).missed(35, "ask", 150);
            let verdict = check(STEP, &story);
            assert_eq!(verdict.status, status, "{windows:?}: {verdict:?}");
        }
    }

    #[test]
    fn who_never_stopped_trying_does_not_begin_by_degrees() {
        let outage = |every: u64| {
            let one = move |nth| attempt("s3", 10_000 + nth * every, 10_005 + nth * every).hit();
            (0..20_000 / every).map(one)
        };
        let storm = taking_up(&[400, 400, 400]).attempts(outage(5));
        let verdict = check(STEP, &storm);
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        assert!(verdict.measured.contains("20.00x"), "{verdict:?}");
        // Who held back meanwhile, or tried as often as ever, begins with what is usual.
        for every in [100, 2_000] {
            let story = taking_up(&[20, 40, 80]).attempts(outage(every));
            assert_eq!(check(STEP, &story).status, Status::Pass);
        }
    }

    #[test]
    fn requests_that_fail_while_it_takes_up_speed_fail() {
        assert_eq!(check(ERRORS, &taking_up(&[20; 10])).status, Status::Pass);
        let failing = (0..3).map(|nth| attempt("s3", 35_000 + nth, 35_010).status(503));
        let story = taking_up(&[20; 10]).attempts(failing);
        let verdict = check(ERRORS, &story);
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(
            verdict.evidence[0].what,
            "PutObject bucket/model: status 503"
        );
    }

    /// A database answers so to statements that it cannot bear, though nobody should repeat them.
    #[test]
    fn an_error_counts_whether_or_not_it_asks_for_another_try() {
        let said = |code: &str| {
            let code = code.to_owned();
            let one = move |nth: u64| attempt("s3", 35_000 + nth, 35_010).statement(&code);
            check(ERRORS, &taking_up(&[20; 10]).attempts((0..3).map(one)))
        };
        for code in ["57014", "XX001", "53300", "42P01", "OOM", "1317"] {
            let verdict = said(code);
            assert_eq!(verdict.status, Status::Fail, "{code}");
            assert_eq!(
                verdict.evidence[0].what,
                format!("PutObject bucket/model: {code}")
            );
        }
        for code in ["23505", "22P02", "1062", "NOSCRIPT"] {
            assert_eq!(said(code).status, Status::Pass, "{code}");
        }
        let answered = |status| {
            let one = move |nth: u64| attempt("s3", 35_000 + nth, 35_010).status(status);
            check(ERRORS, &taking_up(&[20; 10]).attempts((0..3).map(one))).status
        };
        assert_eq!(answered(429), Status::Fail);
        assert_eq!(answered(404), Status::Pass);
        let left = |nth: u64| attempt("s3", 35_000 + nth, 36_000).gave_up();
        let story = taking_up(&[20; 10]).attempts((0..3).map(left));
        assert_eq!(check(ERRORS, &story).status, Status::Fail);
    }

    #[test]
    fn without_requests_nothing_is_said() {
        let idle = taking_up(&[]);
        assert_eq!(check(STEP, &idle).status, Status::Inconclusive);
        assert_eq!(
            check(ERRORS, &taking_up(&[20])).status,
            Status::Inconclusive
        );
        let none = Story::new().healthy(0..60);
        assert_eq!(check(STEP, &none).status, Status::Inconclusive);
    }

    #[test]
    fn a_bound_is_needed() {
        assert_eq!(
            problems("kind = \"ramp\"\non = \"s3\""),
            ["expectation has neither `step` nor `errors_at_most`"]
        );
    }
}
