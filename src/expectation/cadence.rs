//! `cadence`: something arrives at a dependency at a steady beat: health checks every 10 s ± 2 s.
//!
//! The gaps before the first and after the last arrival count too: checks that never begin, or
//! stop with the outage, are the ones that matter. A gap that is too long counts as often as a request
//! should have come in it: a share of the gaps is one of the time. What comes while connects are refused
//! or not accepted leaves no request: of a gap only what lies beside that is certain.

use super::{
    Expectation, ExpectationDef, Foresight, Judgement, Name, Names, Scope, names,
    samples::{SAMPLES_MIN, part_of},
    wire::{self, Meant},
};
use crate::{
    history::{Stalls, View, Window},
    input::{About, Fields, Key, Problems, Shape},
    units::{Micros, Share, format_duration},
};
use std::time::Duration;

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "cadence",
    summary: "requests arrive at an even beat through the whole run: health checks",
    about: About {
        text: "\
            Something arrives at a dependency at a steady beat through the whole run, such as a \
            health check every 10 s. Checks that never begin, or stop with the outage, are the \
            ones that matter.",
        evidence: "\
            Arrivals at the proxy; the gaps before the first and after the last count too.",
        doubt: "\
            The run was too short for a few beats; or the verdict turns on a time in which connects \
            were refused or not accepted, so that nobody saw what came.",
        mistakes: &["\
                The default tolerance is a fifth of `every`; a busy machine needs more."],
        related: &["alert", "probe"],
    },
    example: "[[expect]]\nid        = \"ADA-12\"\nthat      = \"the platform is checked every ten seconds\"\nkind      = \"cadence\"\non        = \"object-store\"\npath      = \"*health*\"\nevery     = \"10s\"\ntolerance = \"2s\"\n",
    keys: &[
        Key::required("on", Shape::Text, "the role or dependency that is asked"),
        wire::OPERATION,
        wire::PATH,
        Key::required("every", Shape::Duration, "the time from one to the next"),
        Key::optional(
            "tolerance",
            Shape::Duration,
            "how much longer or shorter it may be (a fifth of `every`)",
        ),
        Key::optional(
            "at_least",
            Shape::Share,
            "the share of the gaps that must keep to it, a long one counting as many as it should have been (100%)",
        ),
    ],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
struct Cadence {
    on: Name,
    meant: Meant,
    every: Duration,
    tolerance: Duration,
    at_least: Share,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let on = names::dependency(fields, "on", names, problems);
    let meant = Meant::read(fields, true, problems);
    let every = fields.duration("every", problems);
    let tolerance = fields.duration("tolerance", problems);
    let at_least = fields.share("at_least", problems).unwrap_or(Share::ALL);
    let every = every?;
    if every.is_zero() {
        fields.problem(problems, "every", "`every` must be above zero", None);
        return None;
    }
    Some(Box::new(Cadence {
        on: on?,
        meant,
        every,
        tolerance: tolerance.unwrap_or(every / 5),
        at_least,
    }))
}

/// What gaps say.
struct Told<'a> {
    /// Those that count.
    gaps: Vec<&'a Gap>,
    /// How many of them keep to the beat.
    kept: u64,
    /// Of how many, a long one counting as many as it should have been.
    count: u64,
}

/// The time between two arrivals, or between one and the edge of the window.
struct Gap {
    from: Micros,
    length: Duration,
    /// The shortest and the longest that it can have been, where we stood still at one of its ends.
    bounds: (Duration, Duration),
    /// Whether both its ends are arrivals; else it may be shorter, but not longer.
    inner: bool,
    /// The longest part of it in which something that came would have been seen.
    seen: Duration,
}

impl Cadence {
    fn gaps(&self, view: &View<'_>, window: Window) -> Vec<Gap> {
        let moments = wire::arrivals(view, &self.on, &self.meant, window);
        let stalls = Stalls::of(view.history);
        let unseen = wire::unseen(view, &self.on, window);
        let gap = |from: Micros, to: Micros, inner| Gap {
            seen: longest_seen(Window::new(from, to), &unseen),
            from,
            length: to.since(from),
            bounds: (stalls.since(to).since(from), to.since(stalls.since(from))),
            inner,
        };
        let mut gaps = Vec::with_capacity(moments.len() + 1);
        let mut before = (window.from, false);
        for moment in moments {
            gaps.push(gap(before.0, moment, before.1));
            before = (moment, true);
        }
        gaps.push(gap(before.0, window.to, false));
        gaps
    }

    /// The gaps as even as they can have been, and as uneven; `blindly`: with whatever can have come
    /// unseen.
    fn read(&self, gaps: &[Gap], evenly: bool, blindly: bool) -> Vec<Gap> {
        let longest = self.every + self.tolerance;
        let shortest = self.every.saturating_sub(self.tolerance);
        let read = |gap: &Gap| {
            let (least, most) = gap.bounds;
            let mut length = match evenly {
                true => gap.length.clamp(shortest, longest).clamp(least, most),
                false if most > longest => most,
                false => least,
            };
            if evenly && blindly && gap.seen < gap.length {
                // What came unseen may have parted it.
                length = length.min(gap.seen.max(self.every));
            }
            Gap { length, ..*gap }
        };
        gaps.iter().map(read).collect()
    }

    /// How many gaps it should have been.
    fn weight(&self, gap: &Gap) -> u64 {
        let times = gap.length.as_secs_f64() / self.every.as_secs_f64();
        (times.round() as u64).max(1)
    }

    /// How many gaps those are that are out of bounds. What a long one held up, and what then comes at
    /// once, is counted with it.
    fn broken(&self, told: &[&Gap]) -> u64 {
        let (mut count, mut held_up) = (0, 0);
        for gap in told {
            let is_long = gap.length > self.every;
            match self.keeps(gap) {
                true => held_up = 0,
                false if is_long => {
                    count += self.weight(gap);
                    held_up = self.weight(gap) - 1;
                }
                false if held_up > 0 => held_up -= 1,
                false => count += 1,
            }
        }
        count
    }

    fn keeps(&self, gap: &Gap) -> bool {
        let longest = self.every + self.tolerance;
        let shortest = self.every.saturating_sub(self.tolerance);
        gap.length <= longest && (!gap.inner || gap.length >= shortest)
    }
}

impl Cadence {
    fn told<'a>(&self, gaps: &'a [Gap]) -> Told<'a> {
        // What lies between an edge and its nearest arrival only counts when it is too long.
        let told: Vec<&Gap> = gaps
            .iter()
            .filter(|gap| gap.inner || !self.keeps(gap))
            .collect();
        let kept = told.iter().filter(|gap| self.keeps(gap)).count() as u64;
        Told {
            kept,
            count: kept + self.broken(&told),
            gaps: told,
        }
    }

    fn is_broken(&self, told: &Told<'_>) -> bool {
        told.count > 0 && (told.kept as f64) < self.at_least.fraction() * told.count as f64
    }
}

impl Expectation for Cadence {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let windows = view.windows();
        let gaps: Vec<Gap> = windows
            .iter()
            .flat_map(|window| self.gaps(view, *window))
            .collect();
        let inner = gaps.iter().filter(|gap| gap.inner).count() as u64;
        let noted = self.told(&gaps);
        let is_broken = |evenly, blindly| {
            let read = self.read(&gaps, evenly, blindly);
            self.is_broken(&self.told(&read))
        };
        let at_worst = is_broken(false, false);
        let turns_on_stalls = is_broken(true, false) != at_worst;
        let turns_on_unseen = is_broken(true, true) != at_worst;
        let Told { kept, count, .. } = noted;
        let lengths = || gaps.iter().filter(|gap| gap.inner).map(|gap| gap.length);
        let measured = match (lengths().min(), lengths().max()) {
            (Some(shortest), Some(longest)) => format!(
                "{} to {} apart, {} in bounds",
                format_duration(shortest),
                format_duration(longest),
                part_of(kept, count)
            ),
            _ => "no two arrivals".to_owned(),
        };
        let judgement = Judgement::new(view.window(), count, measured);
        let judgement = if turns_on_stalls {
            judgement.inconclusive(wire::STALLED)
        } else if turns_on_unseen {
            let unseen = windows.iter();
            let unseen = unseen.flat_map(|window| wire::unseen(view, &self.on, *window));
            let why = wire::kept_out(&self.on, &unseen.collect::<Vec<_>>());
            judgement.inconclusive(why.unwrap_or_default())
        } else if self.is_broken(&noted) {
            judgement.fail(format!(
                "{} of {count} gaps are out of bounds",
                count - kept
            ))
        } else if inner < SAMPLES_MIN {
            judgement.inconclusive(format!(
                "{inner} gaps show no beat, at least {SAMPLES_MIN} are needed"
            ))
        } else {
            judgement
        };
        let broken = noted.gaps.iter().filter(|gap| !self.keeps(gap));
        judgement.with(broken.map(|gap| {
            let what = format!("nothing for {}", format_duration(gap.length));
            let what = if gap.length < self.every {
                format!("the next after {} only", format_duration(gap.length))
            } else {
                what
            };
            (gap.from, what)
        }))
    }

    fn required(&self) -> String {
        let share = if self.at_least == Share::ALL {
            String::new()
        } else {
            format!(", {} of the time", self.at_least)
        };
        format!(
            "requests{} to `{}` every {} ± {}{share}",
            self.meant.describe(),
            self.on,
            format_duration(self.every),
            format_duration(self.tolerance),
        )
    }

    fn scope(&self) -> Scope {
        Scope::WholeRun
    }

    fn needs_running(&self, _instance: &str) -> bool {
        false
    }

    fn forewarn(&self, plan: &Foresight<'_>) -> Vec<String> {
        wire::will_be_kept_out(plan, &self.on).into_iter().collect()
    }
}

/// The longest part of a window that lies beside these stretches, which are in order.
fn longest_seen(window: Window, unseen: &[Window]) -> Duration {
    let (mut longest, mut from) = (Duration::ZERO, window.from);
    for one in unseen {
        if one.from < window.to && window.from < one.to {
            longest = longest.max(one.from.since(from));
            from = from.max(one.to);
        }
    }
    longest.max(window.to.since(from))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, check_under};
    use crate::{
        expectation::Status,
        history::sample::{Story, attempt},
    };

    const EXPECT: &str = "kind = \"cadence\"\non = \"pager\"\npath = \"/health*\"\noperation = \"GET\"\nevery = \"10s\"\ntolerance = \"2s\"";

    fn checks(seconds: &[u64]) -> Story {
        let all = seconds.iter().map(|second| {
            attempt("pager", second * 1_000, second * 1_000 + 5)
                .operation("GET")
                .key("/healthz")
        });
        Story::new()
            .healthy(0..60)
            .attempts(all)
            .attempt(attempt("pager", 7_000, 7_005))
    }

    #[test]
    fn an_even_beat_passes() {
        let verdict = check(EXPECT, &checks(&[4, 14, 26, 34, 44, 54]));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(verdict.measured, "8s to 12s apart, 100% (5 of 5) in bounds");
    }

    #[test]
    fn a_gap_too_long_or_too_short_fails() {
        let verdict = check(EXPECT, &checks(&[4, 14, 27, 37, 47, 57]));
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(verdict.evidence[0].what, "nothing for 13s");
        let verdict = check(EXPECT, &checks(&[4, 14, 21, 31, 41, 51]));
        assert_eq!(verdict.evidence[0].what, "the next after 7s only");
        let most = format!("{EXPECT}\nat_least = \"80%\"");
        assert_eq!(
            check(&most, &checks(&[4, 14, 27, 37, 47, 57])).status,
            Status::Pass
        );
    }

    #[test]
    fn what_turns_on_a_stall_of_ours_is_not_said() {
        let judged = |seconds: &[u64], from, to| {
            let verdict = check(EXPECT, &checks(seconds).stalled(from, to));
            let by_stall = verdict
                .reason
                .is_some_and(|why| why.contains("stood still"));
            assert_eq!(by_stall, verdict.status == Status::Inconclusive);
            verdict.status
        };
        // 13 s, but it may have come a second sooner; so may the next, which was then late.
        let late = [4, 14, 27, 37, 47, 57];
        assert_eq!(judged(&late, 26_000, 27_000), Status::Inconclusive);
        assert_eq!(judged(&late, 26_100, 27_000), Status::Fail);
        assert_eq!(judged(&late, 20_000, 21_000), Status::Fail);
        let even = [4, 14, 24, 34, 44, 54];
        assert_eq!(judged(&even, 22_000, 24_000), Status::Pass);
        assert_eq!(judged(&even, 21_900, 24_000), Status::Inconclusive);
        // Too soon after one that was noted too late.
        let hasty = [4, 14, 21, 31, 41, 51];
        assert_eq!(judged(&hasty, 13_000, 14_000), Status::Inconclusive);
        assert_eq!(judged(&hasty, 13_100, 14_000), Status::Fail);
    }

    #[test]
    fn what_came_while_a_listener_was_shut_may_have_kept_the_beat() {
        let expect = EXPECT.replace("pager", "s3");
        let judged = |fault: &str, seconds: &[u64]| {
            let all = seconds.iter().map(|second| {
                let one = attempt("s3", second * 1_000, second * 1_000 + 5);
                one.operation("GET").key("/healthz")
            });
            let story = Story::new().healthy(0..60).attempts(all);
            let fault = format!("kind = '{fault}'\non = 's3'");
            let verdict = check_under(&fault, &expect, &story, Vec::new());
            let unseen = verdict
                .reason
                .is_some_and(|why| why.contains("refused or not accepted"));
            assert_eq!(unseen, verdict.status == Status::Inconclusive);
            verdict.status
        };
        // It is shut from 10 s to 30 s.
        for (seconds, when_seen, when_shut) in [
            (&[5, 15, 25, 35, 45, 55][..], Status::Pass, Status::Pass),
            (&[5, 35, 45, 55], Status::Fail, Status::Inconclusive),
            (&[5, 43, 53], Status::Fail, Status::Fail),
            (&[5, 35, 42, 52], Status::Fail, Status::Fail),
        ] {
            assert_eq!(judged("hang", seconds), when_seen, "{seconds:?}");
            assert_eq!(judged("refuse", seconds), when_shut, "{seconds:?}");
            assert_eq!(judged("no-accept", seconds), when_shut, "{seconds:?}");
        }
    }

    #[test]
    fn what_a_long_gap_held_up_is_counted_with_it() {
        // Nothing for 30 s, and then the two at once that were due meanwhile: three of five.
        let most = format!("{EXPECT}\nat_least = \"40%\"");
        let verdict = check(&most, &checks(&[4, 14, 44, 45, 46, 56]));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        let hammered = check(&most, &checks(&[4, 14, 44, 45, 46, 47, 48, 58]));
        assert_eq!(hammered.status, Status::Fail, "{hammered:?}");
    }

    #[test]
    fn a_long_silence_is_more_than_one_gap_among_many() {
        let expect = EXPECT.replace("10s", "1s").replace("2s", "500ms");
        let most = format!("{expect}\nat_least = \"90%\"");
        let silent = |from: u64, to: u64| {
            let seconds: Vec<u64> = (0..60).filter(|at| !(from..to).contains(at)).collect();
            check(&most, &checks(&seconds))
        };
        // Three seconds of silence in a minute.
        let verdict = silent(30, 32);
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert!(
            verdict.measured.ends_with("(56 of 59) in bounds"),
            "{verdict:?}"
        );
        for (from, to) in [(30, 60), (30, 50), (0, 30)] {
            let verdict = silent(from, to);
            assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        }
    }

    #[test]
    fn checks_that_stop_fail_and_checks_that_never_began_too() {
        for seconds in [&[4, 14, 24, 34][..], &[]] {
            assert_eq!(check(EXPECT, &checks(seconds)).status, Status::Fail);
        }
    }

    #[test]
    fn two_checks_in_a_short_run_show_no_beat() {
        let story = checks(&[4, 14]).ends(24, Some("completed"));
        assert_eq!(check(EXPECT, &story).status, Status::Inconclusive);
    }
}
