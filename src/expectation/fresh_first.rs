//! `fresh-first`: while a backlog drains, fresh work does not wait behind it.
//!
//! Fresh is what was accepted after the outage and while something older was still
//! waiting. Its time runs from the answer that accepted it to its delivery, and is held against the
//! same of the steady phases. Work that is not delivered took at least until the end.
//!
//! Older work was waiting until the last of it was delivered. What was lost or dropped waits for
//! nothing and makes that time no longer. What was not delivered and may be on its way leaves it
//! open how long it was: enough for a fail, and never for a pass.

use super::{
    Expectation, ExpectationDef, Judgement, Names, Scope,
    ledgers::{CLASS, LEDGER, Work, shown, shows_nothing},
    samples::{Quantile, samples_needed},
};
use crate::{
    history::{Entry, Fate, View, Window},
    input::{About, Fields, Key, Problems, Shape},
    units::{Micros, format_duration},
};
use std::time::Duration;

/// A difference from steady state that is noise: listings are looked at once a second only.
const SLACK: Duration = Duration::from_millis(100);

/// The fewest deliveries that a baseline is made of.
const BASELINE_MIN: usize = 10;

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "fresh-first",
    summary: "while a backlog drains, fresh work is delivered as fast as in steady state",
    about: About {
        text: "\
            While a backlog drains, fresh work does not wait behind it: its time to delivery \
            stays as in steady state, or below a bound. First come, first served turns an hour \
            of outage into hours of delay for everybody.",
        evidence: "\
            The time from acceptance to delivery of work that was accepted after the outage \
            while something older still waited.",
        doubt: "Nothing had piled up, or it is open how long older work was waiting.",
        mistakes: &["Where work has classes, name the one that must not wait: `class`."],
        related: &["drain", "nothing-lost", "isolation"],
    },
    example: "[[expect]]\nid           = \"BAT-9\"\nthat         = \"fresh work does not wait behind late work\"\nkind         = \"fresh-first\"\nledger       = \"work\"\nbelow_steady = \"2x\"\n",
    keys: &[
        LEDGER,
        CLASS,
        Key::optional("quantile", Shape::Text, "of which quantile (p95)"),
        Key::optional("below", Shape::Duration, "the greatest it may be"),
        Key::optional(
            "below_steady",
            Shape::Factor,
            "the greatest it may be, as a factor of the same quantile in the steady phases",
        ),
        Key::optional(
            "slack",
            Shape::Duration,
            "a difference from steady state that is noise and never fails (100ms)",
        ),
    ],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
struct FreshFirst {
    work: Work,
    quantile: Quantile,
    below: Option<Duration>,
    below_steady: Option<f64>,
    slack: Duration,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let work = Work::read(fields, names, problems);
    let quantile = fields.parsed("quantile", problems, str::parse);
    let below = fields.duration("below", problems);
    let below_steady = fields.factor("below_steady", problems);
    let slack = fields.duration("slack", problems).unwrap_or(SLACK);
    if !fields.has("below") && !fields.has("below_steady") {
        problems.error(
            fields.source,
            fields.span.clone(),
            format!("{} has neither `below` nor `below_steady`", fields.name()),
            "say `below_steady = \"2x\"`".to_owned(),
        );
        return None;
    }
    Some(Box::new(FreshFirst {
        work: work?,
        quantile: quantile.or_else(|| "p95".parse().ok())?,
        below,
        below_steady,
        slack,
    }))
}

/// An id with how long it waited, in microseconds.
struct Wait<'b, 'a> {
    entry: &'b Entry<'a>,
    accepted: Micros,
    least: u64,
    delivered: bool,
}

impl Wait<'_, '_> {
    /// What of it is the system's in any case: not longer than that was it kept from running by other
    /// programs.
    fn by_itself(&self, view: &View<'_>) -> u64 {
        let until = self.accepted + Duration::from_micros(self.least);
        let held_up = Micros::from(view.held_up(self.accepted, until)).0;
        self.least.saturating_sub(held_up)
    }
}

impl FreshFirst {
    /// The work meant that was accepted in a window, first copies only.
    fn waits<'b, 'a>(
        &self,
        entries: &'b [Entry<'a>],
        window: Window,
        end: Micros,
    ) -> Vec<Wait<'b, 'a>> {
        let meant = entries.iter().filter(|entry| self.work.has(entry.class));
        meant
            .filter_map(|entry| {
                let accepted = *entry.accepted_at().first()?;
                let until = entry.delivered.first().copied();
                Some(Wait {
                    entry,
                    accepted,
                    least: Micros::from(until.unwrap_or(end).since(accepted)).0,
                    delivered: until.is_some(),
                })
            })
            .filter(|wait| window.contains(wait.accepted))
            .collect()
    }

    fn bound(&self, steady: &[Wait<'_, '_>]) -> Result<u64, String> {
        let mut bound = self.below.map_or(u64::MAX, |below| Micros::from(below).0);
        let Some(factor) = self.below_steady else {
            return Ok(bound);
        };
        let delivered = steady.iter().filter(|wait| wait.delivered);
        let mut times: Vec<u64> = delivered.map(|wait| wait.least).collect();
        if times.len() < BASELINE_MIN {
            return Err(format!(
                "{} deliveries in the steady phases are no baseline, {BASELINE_MIN} would be",
                times.len()
            ));
        }
        let usual = self.quantile.of(&mut times).unwrap_or_default();
        let factored = (usual as f64 * factor) as u64;
        bound = bound.min(factored.max(usual + Micros::from(self.slack).0));
        Ok(bound)
    }
}

fn micros(micros: u64) -> String {
    format_duration(Duration::from_micros(micros))
}

impl Expectation for FreshFirst {
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
        let end = account.end;
        // Of any class: fresh work must overtake all that is older.
        let late = account.entries.iter().filter(|entry| {
            let accepted = entry.accepted_at();
            accepted.first().is_some_and(|at| *at < lifted)
        });
        let waits_still = late.clone().filter(|entry| {
            entry.delivered.is_empty() && !matches!(entry.fate, Fate::Lost | Fate::Dropped)
        });
        let waits_still = waits_still.count();
        let late = late.filter_map(|entry| entry.delivered.first().copied());
        let late: Vec<Micros> = late.filter(|until| *until > lifted).collect();
        let Some(drained) = late.iter().max().copied() else {
            return nothing(
                "nothing that was waiting when the outage ended was delivered after it".to_owned(),
            );
        };
        let window = Window::new(lifted, drained);
        let fresh = self.waits(&account.entries, window, end);
        let steady: Vec<Wait<'_, '_>> = view
            .steady()
            .into_iter()
            .flat_map(|window| self.waits(&account.entries, window, end))
            .collect();
        let bound = match self.bound(&steady) {
            Ok(bound) => bound,
            Err(why) => return nothing(why),
        };
        let mut least: Vec<u64> = fresh.iter().map(|wait| wait.least).collect();
        let mut most: Vec<u64> = fresh
            .iter()
            .map(|wait| if wait.delivered { wait.least } else { u64::MAX })
            .collect();
        let count = fresh.len() as u64;
        let (least, most) = (self.quantile.of(&mut least), self.quantile.of(&mut most));
        let measured = match least {
            Some(least) => format!(
                "{} {} of {count} fresh beside {} late, bound {}",
                self.quantile,
                micros(least),
                late.len(),
                micros(bound)
            ),
            None => format!("no fresh work beside {} late", late.len()),
        };
        let judgement = Judgement::new(window, count, measured);
        let needed = samples_needed(self.quantile.share());
        let own = || {
            let mut times: Vec<u64> = fresh.iter().map(|one| one.by_itself(view)).collect();
            self.quantile.of(&mut times)
        };
        let is_whole = fresh.iter().all(|wait| wait.delivered);
        let judgement = match (least, most) {
            _ if !is_whole && !account.blind.is_empty() => judgement.inconclusive(format!(
                "fresh work may be delivered unseen: {}",
                account.blind.join("; ")
            )),
            (Some(least), _) if least > bound && own() <= Some(bound) => judgement.inconclusive(
                "fresh work may have waited only for other programs, which kept the system from running",
            ),
            (Some(least), _) if least > bound && count >= needed => {
                judgement.fail(format!("{} is above {}", micros(least), micros(bound)))
            }
            _ if count < needed => judgement.inconclusive(format!(
                "{count} fresh while older was waiting cannot show {}: at least {needed} are needed",
                self.quantile
            )),
            _ if waits_still > 0 => judgement.inconclusive(format!(
                "{waits_still} late were not delivered and may be waiting still, with more fresh work beside them"
            )),
            (_, Some(most)) if most > bound => {
                judgement.inconclusive("fresh work that was not delivered could have made it too slow")
            }
            _ => judgement,
        };
        let slow = fresh.iter().filter(|wait| wait.least > bound);
        judgement.with(slow.take(super::EVIDENCE_MAX).map(|wait| {
            let what = format!("waited {}", micros(wait.least));
            shown(view, wait.entry, &what)
        }))
    }

    fn needs_the_end(&self) -> bool {
        true
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
            "{} of fresh work of {} at most {} while older is waiting",
            self.quantile,
            self.work.describe(),
            bounds.join(" and ")
        )
    }

    fn scope(&self) -> Scope {
        Scope::Aftermath
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use crate::{
        expectation::Status,
        history::{Outcome, sample::Story},
    };

    const EXPECT: &str = "kind = \"fresh-first\"\nledger = \"work\"\nbelow_steady = \"2x\"";

    /// Work 0 to 199, accepted five a second; what came in the outage is delivered from 30 to 40 s,
    /// what comes then waits so long.
    fn story(fresh_waits: u64, held: bool) -> Story {
        reading_back(fresh_waits, held, |_| 0)
    }

    /// The same with what was accepted read back until so long after its answer, by when it was
    /// asked for.
    fn reading_back(fresh_waits: u64, held: bool, read_back: impl Fn(u64) -> u64) -> Story {
        let story = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
        (0..200)
            .fold(story, |story, id: u64| {
                let asked = id * 200;
                let at = match asked {
                    10_000..30_000 if held => 30_000 + (id - 50) * 100,
                    30_000.. => asked + 20 + fresh_waits,
                    _ => asked + 120,
                };
                let name = id.to_string();
                let story = story.work(asked, &name, Outcome::Ok);
                let story = story.read_back(read_back(asked), Outcome::Ok);
                story.delivery(at, &name)
            })
            .watched(60_000)
    }

    #[test]
    fn fresh_work_that_overtakes_passes_and_that_queues_behind_fails() {
        let verdict = check(EXPECT, &story(150, true));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        let verdict = check(EXPECT, &story(1_000, true));
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        assert!(verdict.evidence[0].what.ends_with("waited 1s"));
        let tenths = (300..420).map(|tenth| tenth * 100);
        let busy = tenths.fold(story(1_000, true), |story, from| {
            story.held_up(from, from + 100, 90)
        });
        assert_eq!(check(EXPECT, &busy).status, Status::Inconclusive);
    }

    /// The same with every fifth fresh beside late work much slower, the late item 100 not delivered,
    /// and much quick work after the drain.
    fn missing_one() -> Story {
        let story = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
        (0..275).fold(story, |story, id: u64| {
            let asked = id * 200;
            let at = match asked {
                10_000..30_000 => 30_000 + (id - 50) * 100,
                30_000..40_000 if id.is_multiple_of(5) => asked + 3_000,
                _ => asked + 120,
            };
            let name = id.to_string();
            let story = story.work(asked, &name, Outcome::Ok);
            if id == 100 {
                story
            } else {
                story.delivery(at, &name)
            }
        })
    }

    #[test]
    fn what_was_lost_makes_the_drain_no_longer() {
        let lost = missing_one().ends(66, Some("completed")).watched(65_000);
        let verdict = check(EXPECT, &lost);
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        assert!(
            verdict.measured.contains("50 fresh beside 98 late"),
            "{verdict:?}"
        );
        // The same where all fresh work is quick.
        let mut observations = story(150, true);
        observations = observations.work(20_000, "x", Outcome::Ok);
        assert_eq!(check(EXPECT, &observations).status, Status::Pass);
    }

    #[test]
    fn late_work_that_may_be_waiting_still_leaves_it_open() {
        // Not watched to the end, so that nothing is lost.
        let verdict = check(EXPECT, &missing_one());
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        let open = story(150, true)
            .work(20_000, "x", Outcome::Ok)
            .ends(59, None);
        let verdict = check(EXPECT, &open);
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let reason = verdict.reason.expect("a reason");
        assert!(reason.contains("1 late were not delivered"), "{reason}");
    }

    #[test]
    fn time_counts_from_the_accepting_answer_and_not_from_the_end_of_its_read_back() {
        // Read back until after the delivery: it waited a second all the same.
        let fresh = reading_back(1_000, true, |asked| if asked < 30_000 { 0 } else { 2_000 });
        let verdict = check(EXPECT, &fresh);
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        assert!(verdict.evidence[0].what.ends_with("waited 1s"));
        // In steady state too: the baseline is the wait and not nothing.
        let steady = reading_back(150, true, |asked| if asked < 10_000 { 200 } else { 0 });
        let verdict = check(EXPECT, &steady);
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert!(verdict.measured.ends_with("bound 200ms"), "{verdict:?}");
    }

    #[test]
    fn without_late_work_there_is_nothing_to_overtake() {
        let verdict = check(EXPECT, &story(150, false));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let none = Story::new().healthy(0..60).watched(60_000);
        assert_eq!(check(EXPECT, &none).status, Status::Inconclusive);
    }

    #[test]
    fn too_little_fresh_work_shows_no_quantile() {
        let p99 = format!("{EXPECT}\nquantile = \"p99\"");
        assert_eq!(check(&p99, &story(150, true)).status, Status::Inconclusive);
    }
}
