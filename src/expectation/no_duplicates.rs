//! `no-duplicates`: nothing is delivered more often than it was asked for.
//!
//! An id that was asked for twice may be delivered twice, unless one of the two was refused: who is
//! told no, asks again and is told yes has asked once. Requests to a dependency and messages at a sink are
//! deliveries each; of a listing the entries. A request of which nobody knows whether it was
//! carried out may have been the second one, and what happens after the watching is not seen.

use super::{
    Expectation, ExpectationDef, Judgement, Names, Scope,
    ledgers::{CLASS, LEDGER, Work, nobody_asked_again, shown, shows_nothing},
    samples::SAMPLES_MIN,
};
use crate::{
    history::{Entry, Fate, View},
    input::{About, Fields, Key, Problems, Shape},
};

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "no-duplicates",
    summary: "nothing is delivered more often than it was asked for",
    about: About {
        text: "\
            Nothing is delivered more often than it was asked for. It is the other half of \
            `nothing-lost`: who repeats what was lost also repeats what was not.",
        evidence: "\
            A ledger's deliveries of each id, against how often it was asked for and not \
            refused.",
        doubt: "\
            Nobody knows whether a second request was carried out, or the run was not watched to \
            its end; or of the work meant nothing was delivered that could have been so twice; or \
            the load asks `again`, and nobody was refused and then taken in.",
        mistakes: &["\
                Attempts that never reached the dependency are no deliveries; `applied` of the \
                ledger says what counts."],
        related: &["nothing-lost", "lost-reply", "ledger"],
    },
    example: "[[expect]]\nid     = \"SNP-9\"\nthat   = \"every message is delivered once\"\nkind   = \"no-duplicates\"\nledger = \"work\"\n",
    keys: &[
        LEDGER,
        CLASS,
        Key::optional(
            "at_most",
            Shape::Integer(0, 1_000_000),
            "so many deliveries too many are tolerated (0)",
        ),
    ],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
struct NoDuplicates {
    work: Work,
    at_most: u64,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let work = Work::read(fields, names, problems);
    let at_most = fields.integer("at_most", problems).unwrap_or(0);
    Some(Box::new(NoDuplicates {
        work: work?,
        at_most: at_most.unsigned_abs(),
    }))
}

/// Deliveries beyond those asked for, with those that may have been.
fn beyond(entry: &Entry<'_>) -> usize {
    let asked = entry.unrefused.max(1);
    (entry.delivered.len() + entry.maybe).saturating_sub(asked)
}

impl Expectation for NoDuplicates {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let account = match self.work.account(view) {
            Ok(account) => account,
            Err(nothing) => return nothing,
        };
        let mut entries = self.work.of(view, &account);
        let unasked = |entry: &&Entry<'_>| entry.fate == Fate::Unexpected && self.work.has(None);
        entries.extend(account.entries.iter().filter(unasked));
        let delivered: u64 = entries.iter().map(|one| one.delivered.len() as u64).sum();
        let unchanged: u64 = entries.iter().map(|one| one.unchanged as u64).sum();
        let extra: u64 = entries.iter().map(|one| one.extra as u64).sum();
        let most: u64 = entries.iter().map(|one| beyond(one) as u64).sum();
        let accepted: u64 = entries.iter().map(|one| one.accepted as u64).sum();
        let asked = entries.iter().flat_map(|one| &one.asked);
        let again: u64 = asked.map(|one| u64::from(one.refused)).sum();
        let mut measured = format!("{extra} of {delivered} deliveries too many");
        if again > 0 {
            measured.push_str(&format!(", asked again {again} times after a refusal"));
        }
        let judgement = Judgement::new(view.window(), delivered, measured);
        let judgement = if let Some(why) = shows_nothing(&account, accepted) {
            judgement.inconclusive(why)
        } else if extra > self.at_most {
            judgement.fail(format!("{extra} deliveries were too many"))
        } else if most > self.at_most {
            judgement.inconclusive(format!(
                "{} more may have been, for nobody knows whether they were carried out",
                most - extra
            ))
        } else if !account.unsettled.is_empty() {
            judgement.inconclusive(format!(
                "more may have come unseen: {}",
                account.unsettled.join("; ")
            ))
        } else if delivered + unchanged < SAMPLES_MIN {
            judgement.inconclusive(format!(
                "{} of the work meant were delivered, at least {SAMPLES_MIN} are needed",
                delivered + unchanged
            ))
        } else if let Some(why) = nobody_asked_again(view, &account, &entries) {
            judgement.inconclusive(why)
        } else {
            judgement
        };
        let wrong = entries.iter().filter(|entry| entry.extra > 0);
        judgement.with(wrong.take(super::EVIDENCE_MAX).map(|entry| {
            let moments: Vec<String> = entry
                .delivered
                .iter()
                .take(4)
                .map(|at| format!("{:.3}s", at.as_secs_f64()))
                .collect();
            let what = format!(
                "delivered {} times, asked for {} times, at {}",
                entry.delivered.len(),
                entry.unrefused,
                moments.join(", ")
            );
            shown(view, entry, &what)
        }))
    }

    fn needs_the_end(&self) -> bool {
        true
    }

    fn hangs_on_time(&self) -> bool {
        false
    }

    fn required(&self) -> String {
        let text = format!(
            "nothing of {} delivered more often than asked for",
            self.work.describe()
        );
        match self.at_most {
            0 => text,
            most => format!("{text}, but for {most} times"),
        }
    }

    fn scope(&self) -> Scope {
        Scope::WholeRun
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, check_during, check_of};
    use crate::{
        expectation::Status,
        history::{
            Measure, Outcome,
            sample::{self, Story, attempt},
        },
        protocol::Applied,
    };

    const WORK: &str = "kind = \"no-duplicates\"\nledger = \"work\"";
    const LISTED: &str = "kind = \"no-duplicates\"\nledger = \"listed\"";

    /// Work 0 to 39, accepted and delivered one a second, watched until the end.
    fn story() -> Story {
        let story = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
        let work = |story: Story, id: u64| {
            let name = id.to_string();
            let story = story.work(id * 1_000, &name, Outcome::Ok);
            story.delivery(id * 1_000 + 200, &name)
        };
        (0..40).fold(story, work).watched(60_000)
    }

    #[test]
    fn once_each_passes() {
        let verdict = check(WORK, &story());
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(verdict.measured, "0 of 40 deliveries too many");
    }

    #[test]
    fn a_second_delivery_fails_and_is_shown() {
        let twice = story().delivery(29_000, "17");
        let verdict = check(WORK, &twice);
        assert_eq!(verdict.status, Status::Fail);
        let said = &verdict.evidence[0].what;
        assert!(
            said.ends_with("delivered 2 times, asked for 1 times, at 17.200s, 29.000s"),
            "{said}"
        );
        let tolerated = format!("{WORK}\nat_most = 1");
        assert_eq!(check(&tolerated, &twice).status, Status::Pass);
        let unasked = story().delivery(20_000, "x").delivery(21_000, "x");
        assert_eq!(check(WORK, &unasked).status, Status::Fail);
    }

    #[test]
    fn work_of_which_nothing_was_delivered_could_not_be_delivered_twice() {
        // Work that was accepted while the outage lasted, of which so much was delivered so often.
        let judged = |count: u64, times: u64| {
            let story = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
            let work = |story: Story, id: u64| {
                let name = id.to_string();
                let story = story.work(id * 1_000, &name, Outcome::Ok);
                let often = match id {
                    0..10 => 1,
                    id if id < 10 + count => times,
                    _ => 0,
                };
                let at = id * 1_000 + 200;
                (0..often).fold(story, |story, nth| story.delivery(at + nth * 50, &name))
            };
            let story = (0..30).fold(story, work).watched(60_000);
            check_during(WORK, &story, vec![1]).status
        };
        assert_eq!(judged(0, 0), Status::Inconclusive);
        assert_eq!(judged(2, 1), Status::Inconclusive);
        assert_eq!(judged(3, 1), Status::Pass);
        assert_eq!(judged(1, 2), Status::Fail);
    }

    #[test]
    fn an_insert_that_finds_its_row_there_is_no_second_delivery() {
        let again = |rows| {
            let insert = attempt("s3", 18_000, 18_200).captured("id", "17");
            story().attempt(insert.rows(rows))
        };
        assert_eq!(check(WORK, &again(0)).status, Status::Pass);
        assert_eq!(check(WORK, &again(1)).status, Status::Fail);
    }

    #[test]
    fn what_was_asked_for_twice_may_be_delivered_twice() {
        let again = |outcome| {
            let story = story().work(18_000, "17", outcome);
            story.delivery(18_200, "17")
        };
        for outcome in [Outcome::Ok, Outcome::Indeterminate] {
            assert_eq!(check(WORK, &again(outcome)).status, Status::Pass);
        }
        // Refused, asked for again, and delivered for both.
        let verdict = check(WORK, &again(Outcome::Failed));
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        assert!(verdict.evidence[0].what.contains("asked for 1 times"));
        let once = story().work(16_000, "17", Outcome::Failed);
        assert_eq!(check(WORK, &once).status, Status::Pass);
        let only = story()
            .work(41_000, "x", Outcome::Failed)
            .delivery(41_200, "x");
        assert_eq!(check(WORK, &only).status, Status::Pass);
        let both = only.delivery(41_300, "x");
        assert_eq!(check(WORK, &both).status, Status::Fail);
        let thrice = again(Outcome::Indeterminate).delivery(19_000, "17");
        assert_eq!(check(WORK, &thrice).status, Status::Fail);
    }

    #[test]
    fn where_nobody_is_refused_who_would_ask_again_nothing_is_shown() {
        let system = sample::system_that_is_asked_again();
        let judged = |story: &Story| check_of(WORK, story, &system);
        let verdict = judged(&story());
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let reason = verdict.reason.expect("there is one");
        assert!(reason.contains("`train` asks again"), "{reason}");
        // Who is refused to the end was not taken in either.
        let in_vain = story().work(30_500, "x", Outcome::Failed).asked_again(9);
        assert_eq!(judged(&in_vain).status, Status::Inconclusive);
        let taken = |id| {
            let story = story().work(30_500, id, Outcome::Ok).asked_again(2);
            story.delivery(30_700, id)
        };
        assert_eq!(judged(&taken("x")).status, Status::Pass);
        let twice = taken("x").delivery(30_800, "x");
        assert_eq!(judged(&twice).status, Status::Fail);
        let unasked = story().delivery(29_000, "17");
        assert_eq!(judged(&unasked).status, Status::Fail);
    }

    #[test]
    fn a_request_with_an_unknown_end_may_have_been_the_second() {
        let unknown = attempt("s3", 18_000, 18_200).captured("id", "17").gave_up();
        let story = story().attempt(unknown.applied(Applied::Unknown));
        let verdict = check(WORK, &story);
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let copied = attempt("s3", 18_000, 18_200).captured("id", "17x");
        let asked = super::super::testing::check(
            WORK,
            &self::story()
                .work(17_500, "17x", Outcome::Ok)
                .attempt(copied.repeated_unknown(1)),
        );
        assert_eq!(asked.status, Status::Inconclusive, "{asked:?}");
    }

    #[test]
    fn an_entry_that_is_listed_twice_is_delivered_twice_and_a_second_look_is_not() {
        let listed = |ids: &[&str]| {
            let story = (0..40).fold(story(), |story, id| {
                story.listing((id + 1) * 1_000, &[id.to_string().as_str()], &[])
            });
            story
                .listing(50_000, ids, &[])
                .listing(59_900, &[], &[])
                .reported_dropped(59_900, &[])
                .gauge(59_900, Measure::Backlog, "listed", Some(0.0))
        };
        assert_eq!(check(LISTED, &listed(&[])).status, Status::Pass);
        assert_eq!(check(LISTED, &listed(&["17"])).status, Status::Fail);
        let unread = listed(&[]).unreadable(60_000, "status 500");
        assert_eq!(check(LISTED, &unread).status, Status::Inconclusive);
    }

    #[test]
    fn a_run_that_was_not_watched_to_its_end_shows_no_absence() {
        let killed = story().ends(45, None);
        assert_eq!(check(WORK, &killed).status, Status::Inconclusive);
        let early = story()
            .delivery(58_000, "39-b")
            .work(57_000, "39-b", Outcome::Ok);
        assert_eq!(check(WORK, &early).status, Status::Inconclusive);
    }
}
