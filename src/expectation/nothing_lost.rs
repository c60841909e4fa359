//! `nothing-lost`: whatever was accepted is delivered.
//!
//! Work that was acknowledged and that is missing when the ledger has settled is lost, and so is
//! what a listing showed and shows no more. While it may still be on its way nothing can be said. Work whose
//! answer was indeterminate may be delivered or not. What the system itself reports as dropped is
//! a failure too, unless the class of work is one that may be dropped. Then its count must be true:
//! it is a failure to report more than can have been dropped.
//!
//! Whose last answer said that the work was done (a read-back, where the load has one) is told so rightly
//! only if the delivery is seen by then, or `within` after it.

use super::{
    Evidence, Expectation, ExpectationDef, Judgement, Names, Scope,
    ledgers::{CLASS, LEDGER, Work, nobody_asked_again, shown, shows_nothing},
};
use crate::{
    history::{Account, Entry, Fate, Operation, Outcome, View},
    input::{About, Fields, Key, Problems, Shape},
    units::{Micros, format_duration},
};
use std::time::Duration;

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "nothing-lost",
    summary: "everything that was accepted is delivered in the end",
    about: About {
        text: "\
            Whatever was accepted is delivered. Work that was acknowledged and is missing when \
            the ledger has settled is lost; work whose answer was indeterminate may be delivered \
            or not. What the system itself reports as dropped is a failure too, unless its class \
            is one of `may_drop`.",
        evidence: "\
            A ledger: ids accepted by the load, and ids delivered as a dependency, a sink or a \
            listing shows them.",
        doubt: "\
            Fewer than three accepted ids; nothing was ever seen delivered, so that it may look \
            in the wrong place; or work still stirred when the run ended. So it is where the load \
            asks `again` and nobody was refused and then taken in.",
        mistakes: &[
            "Both sides must capture the same id.",
            "\
                A read-back believes what the system says of itself: `within` asks whether it \
                was true.",
            "\
                A last phase that is shorter than the backlog needs cannot show that it is worked \
                off.",
        ],
        related: &["no-duplicates", "drain", "ledger", "lost-reply"],
    },
    example: "[[expect]]\nid       = \"BAT-1\"\nthat     = \"what was acknowledged is processed\"\nkind     = \"nothing-lost\"\nledger   = \"work\"\nmay_drop = \"bulk\"\n",
    keys: &[
        LEDGER,
        CLASS,
        Key::optional(
            "may_drop",
            Shape::TextOrTexts,
            "classes of work that may be dropped if the system reports it; \"*\" for all (none)",
        ),
        Key::optional(
            "within",
            Shape::Duration,
            "how long after the operation's last answer, read-backs included, the delivery may be seen (no bound)",
        ),
        Key::optional(
            "strict",
            Shape::Bool,
            "whether also nothing may be delivered that was refused, reported as dropped or never asked for (false)",
        ),
    ],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
struct NothingLost {
    work: Work,
    may_drop: Vec<String>,
    within: Option<Duration>,
    strict: bool,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let work = Work::read(fields, names, problems);
    let may_drop = fields.texts("may_drop", problems).unwrap_or_default();
    let within = fields.duration("within", problems);
    let strict = fields.bool("strict", problems).unwrap_or(false);
    Some(Box::new(NothingLost {
        work: work?,
        may_drop: may_drop.into_iter().map(|text| text.value).collect(),
        within,
        strict,
    }))
}

/// What was found, by fate.
#[derive(Default)]
struct Found<'b, 'a> {
    accepted: u64,
    delivered: u64,
    lost: Vec<&'b Entry<'a>>,
    undelivered: Vec<&'b Entry<'a>>,
    dropped: Vec<&'b Entry<'a>>,
    /// Dropped though they must not be.
    forbidden: Vec<&'b Entry<'a>>,
    unclear: u64,
    recovered: u64,
}

impl NothingLost {
    fn may_be_dropped(&self, entry: &Entry<'_>) -> bool {
        self.may_drop
            .iter()
            .any(|one| one == "*" || Some(&**one) == entry.class)
    }

    fn sorted<'b, 'a>(&self, entries: Vec<&'b Entry<'a>>) -> Found<'b, 'a> {
        let mut found = Found::default();
        for entry in entries {
            found.accepted += entry.accepted as u64;
            found.delivered += entry.fulfilled() as u64;
            match entry.fate {
                Fate::Lost => found.lost.push(entry),
                Fate::Undelivered => found.undelivered.push(entry),
                Fate::Dropped if self.may_be_dropped(entry) => found.dropped.push(entry),
                Fate::Dropped => found.forbidden.push(entry),
                Fate::Recovered => {
                    found.unclear += 1;
                    found.recovered += 1;
                }
                Fate::Indeterminate => found.unclear += 1,
                Fate::Delivered | Fate::Refused | Fate::Contradicted | Fate::Unexpected => {}
            }
        }
        found
    }

    /// How many of the lost the system itself says it has dropped, where it may.
    fn excused(&self, account: &Account<'_>, found: &Found<'_, '_>) -> u64 {
        let droppable = found.lost.iter().filter(|entry| self.may_be_dropped(entry));
        account
            .reported
            .unwrap_or(0)
            .min(copies(&droppable.copied().collect::<Vec<_>>()))
    }

    /// The system says that it has dropped more than can have been: whom nothing is missing from,
    /// in any class and at any time, nothing was dropped of. What was refused, or what nobody knows
    /// the fate of, may have been.
    fn reports_too_many(&self, account: &Account<'_>) -> Option<String> {
        let counts = &account.counts;
        let missing = counts.lost + counts.undelivered + counts.dropped;
        let unclear = (counts.indeterminate + counts.refused)
            .saturating_sub(counts.recovered + counts.contradicted);
        let reported = account.reported?;
        (!self.may_drop.is_empty() && reported > missing + unclear).then(|| {
            format!(
                "the system reports {reported} as dropped, but {missing} are missing and {unclear} may be"
            )
        })
    }

    fn weigh(&self, view: &View<'_>, account: &Account<'_>, found: &Found<'_, '_>) -> Judgement {
        let lost = copies(&found.lost);
        let missing = copies(&found.undelivered);
        let excused = self.excused(account, found);
        let judgement = Judgement::new(view.window(), found.accepted, measured(found, excused));
        if let Some(why) = shows_nothing(account, found.accepted) {
            return judgement.inconclusive(why);
        }
        if lost > excused {
            return judgement.fail(format!(
                "{} of {} accepted are lost{}",
                lost - excused,
                found.accepted,
                vanished(&found.lost)
            ));
        }
        if !found.forbidden.is_empty() {
            return judgement.fail(format!(
                "{} were accepted and dropped, as the system itself reports",
                copies(&found.forbidden)
            ));
        }
        if let Some(reported) = self.reports_too_many(account) {
            return judgement.fail(reported);
        }
        if missing > 0 {
            return self.on_their_way(judgement, account, missing, found);
        }
        if account.counts.accepted_nameless > 0 {
            return judgement.inconclusive(format!(
                "{} accepted operations have no `{}` by which they could be found again",
                account.counts.accepted_nameless, account.ledger.id
            ));
        }
        judgement
    }

    /// What is missing and not certainly lost. Where the system itself says how much is waiting,
    /// more cannot be on its way.
    fn on_their_way(
        &self,
        judgement: Judgement,
        account: &Account<'_>,
        missing: u64,
        found: &Found<'_, '_>,
    ) -> Judgement {
        let maybe: u64 = found.undelivered.iter().map(|one| one.maybe as u64).sum();
        let open: u64 = found.undelivered.iter().map(|one| one.open() as u64).sum();
        let waiting = account.waiting.unwrap_or(0);
        if account.unsettled.is_empty() && missing > waiting + open {
            return judgement.fail(format!(
                "at least {} of {missing} missing are lost: the system itself says that {waiting} are waiting",
                missing - waiting - open
            ));
        }
        let mut reasons = account.unsettled.clone();
        if waiting > 0 {
            reasons.push(format!("the system says that {waiting} are waiting"));
        }
        if maybe > 0 {
            reasons.push(format!(
                "of {maybe} requests nobody knows whether they were carried out"
            ));
        }
        if open > maybe {
            reasons.push(format!(
                "{} statements changed no row, and found it as it was to be or may have",
                open - maybe
            ));
        }
        judgement.inconclusive(format!(
            "{missing} are not delivered, but may be on their way: {}",
            reasons.join("; ")
        ))
    }

    /// What nobody asked for, or what was refused or dropped, and came all the same.
    fn unasked<'b, 'a>(&self, view: &View<'_>, account: &'b Account<'a>) -> Vec<&'b Entry<'a>> {
        let entries = account.entries.iter();
        let wrong = entries.filter(|entry| match entry.fate {
            // What nobody asked for is of no class.
            Fate::Unexpected => self.work.has(None),
            _ if !self.work.has(entry.class) => false,
            Fate::Contradicted => entry.asked.iter().any(|one| view.contains(one.intended)),
            _ => entry.dropped && !entry.delivered.is_empty(),
        });
        wrong.collect()
    }

    /// What was delivered later than `within` after an operation was told that all is well, and by how
    /// much later than that answer, in microseconds.
    fn late<'b, 'a>(&self, entries: &[&'b Entry<'a>]) -> Vec<(&'b Entry<'a>, u64)> {
        let Some(within) = self.within else {
            return Vec::new();
        };
        let is_told = |one: &&&Operation| matches!(one.outcome, Outcome::Ok | Outcome::Degraded);
        let late = entries.iter().filter_map(|entry| {
            let accepted = entry.asked.iter().take(entry.accepted);
            let told = accepted.filter(is_told).map(|one| one.ended).min()?;
            let delivered = *entry.delivered.first()?;
            let is_late = delivered > told + within;
            is_late.then(|| (*entry, Micros::from(delivered.since(told)).0))
        });
        late.collect()
    }

    fn strictly(&self, view: &View<'_>, account: &Account<'_>, judgement: Judgement) -> Judgement {
        let wrong = self.unasked(view, account);
        // Operations whose id nobody knows may be what seems unexpected.
        let nameless = account.counts.other_nameless + account.counts.accepted_nameless;
        let explained = account.counts.unexpected.min(nameless);
        if wrong.is_empty() {
            return judgement;
        }
        let evidence: Vec<Evidence> = wrong
            .iter()
            .map(|entry| shown(view, entry, surprise(entry)))
            .collect();
        let text = format!("{} were delivered that should not have been", wrong.len());
        let judgement = if wrong.len() as u64 > explained {
            judgement.fail(text)
        } else {
            judgement.inconclusive(format!(
                "{text}, unless they belong to one of {nameless} operations without an id"
            ))
        };
        judgement.with(evidence)
    }
}

fn surprise(entry: &Entry<'_>) -> &'static str {
    match entry.fate {
        Fate::Unexpected => "delivered, never asked for",
        Fate::Contradicted => "refused, and delivered all the same",
        _ => "reported as dropped, and delivered all the same",
    }
}

fn copies(entries: &[&Entry<'_>]) -> u64 {
    entries.iter().map(|entry| entry.missing() as u64).sum()
}

fn vanished(lost: &[&Entry<'_>]) -> String {
    match lost.iter().filter(|entry| entry.vanished.is_some()).count() {
        0 => String::new(),
        count => format!(", {count} of them after they had been listed"),
    }
}

fn measured(found: &Found<'_, '_>, excused: u64) -> String {
    let mut text = format!("{} of {} delivered", found.delivered, found.accepted);
    let dropped = copies(&found.dropped) + copies(&found.forbidden) + excused;
    for (count, what) in [
        (copies(&found.lost) - excused, "lost"),
        (copies(&found.undelivered), "undelivered"),
        (dropped, "dropped"),
        (found.unclear, "indeterminate"),
        (found.recovered, "of these recovered"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

impl Expectation for NothingLost {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let account = match self.work.account(view) {
            Ok(account) => account,
            Err(nothing) => return nothing,
        };
        let entries = self.work.of(view, &account);
        let unshown = nobody_asked_again(view, &account, &entries);
        let late = self.late(&entries);
        let found = self.sorted(entries);
        let judgement = self.weigh(view, &account, &found);
        let of = |entries: &[&Entry<'_>], what: &'static str| -> Vec<Evidence> {
            let line = |entry: &&Entry<'_>| match entry.vanished {
                Some(at) => {
                    let what = format!("listed until {:.3}s, then gone", at.as_secs_f64());
                    shown(view, entry, &what)
                }
                None if entry.unchanged > 0 => {
                    let times = entry.unchanged;
                    let mut what = format!("{what}: {times} statements for it changed no row");
                    match (entry.held, entry.perhaps_held) {
                        (0, 0) => {}
                        (0, _) => what.push_str(", and may have found it as it was to be"),
                        (held, _) => {
                            what.push_str(&format!(", {held} found it as it was to be"));
                        }
                    }
                    shown(view, entry, &what)
                }
                None => shown(view, entry, what),
            };
            entries.iter().take(super::EVIDENCE_MAX).map(line).collect()
        };
        let judgement = judgement
            .with(of(&found.lost, "accepted, never delivered"))
            .with(of(&found.forbidden, "accepted, then dropped"))
            .with(of(&found.undelivered, "accepted, not delivered so far"));
        let judgement = if late.is_empty() {
            judgement
        } else {
            let text = format!(
                "{} were delivered too late for what was answered",
                late.len()
            );
            judgement
                .fail(text)
                .with(late.iter().take(super::EVIDENCE_MAX).map(|(entry, late)| {
                    let late = format_duration(Duration::from_micros(*late));
                    shown(
                        view,
                        entry,
                        &format!("delivered {late} after the last answer"),
                    )
                }))
        };
        let judgement = if self.strict {
            self.strictly(view, &account, judgement)
        } else {
            judgement
        };
        match unshown {
            Some(why) => judgement.inconclusive(why),
            None => judgement,
        }
    }

    fn needs_the_end(&self) -> bool {
        true
    }

    fn hangs_on_time(&self) -> bool {
        self.within.is_some()
    }

    fn required(&self) -> String {
        let mut text = format!(
            "everything accepted in {} is delivered",
            self.work.describe()
        );
        if !self.may_drop.is_empty() {
            let classes = self.may_drop.join("/");
            text.push_str(&format!(", or reported as dropped ({classes})"));
        }
        if let Some(within) = self.within {
            let within = format_duration(within);
            text.push_str(&format!(", within {within} of the last answer"));
        }
        if self.strict {
            text.push_str(", and nothing else");
        }
        text
    }

    fn scope(&self) -> Scope {
        Scope::WholeRun
    }

    fn needs_running(&self, _instance: &str) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, check_during, check_of, parse, problems};
    use crate::{
        expectation::{Status, Verdict, judge},
        history::{
            Measure, Outcome,
            sample::{self, Story, attempt},
        },
        input::Problems,
        protocol::Applied,
        scenario::{Delivered, Dropped, Expect, GaugeSpec, IdPath, Ledger},
    };

    const WORK: &str = "kind = \"nothing-lost\"\nledger = \"work\"";
    const LISTED: &str = "kind = \"nothing-lost\"\nledger = \"listed\"";

    /// Work 0 to 39, accepted one a second, watched until the end.
    fn accepted() -> Story {
        let story = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
        let accept = |story: Story, id: u64| story.work(id * 1_000, &id.to_string(), Outcome::Ok);
        (0..40).fold(story, accept).watched(60_000)
    }

    /// These delivered to `s3` 200 ms after they were asked for.
    fn delivered(story: Story, ids: impl Iterator<Item = u64>) -> Story {
        let mut ids = ids;
        ids.try_fold(story, |story, id| {
            Some(story.delivery(id * 1_000 + 200, &id.to_string()))
        })
        .expect("all of them")
    }

    /// These shown by the system's listing a second after they were asked for.
    fn listed(story: Story, ids: impl Iterator<Item = u64>) -> Story {
        let list = |story: Story, id: u64| {
            story.listing((id + 1) * 1_000, &[id.to_string().as_str()], &[])
        };
        // The last look finds nothing new, and says so.
        ids.fold(story, list).listing(59_900, &[], &[])
    }

    fn looked_at(story: Story) -> Story {
        story
            .reported_dropped(59_900, &[])
            .gauge(59_900, Measure::Backlog, "listed", Some(0.0))
    }

    #[track_caller]
    fn is(verdict: &Verdict, status: Status, measured: &str, reason: &str) {
        assert_eq!(verdict.status, status, "{verdict:?}");
        assert!(verdict.measured.contains(measured), "{verdict:?}");
        let said = verdict.reason.as_deref().unwrap_or_default();
        assert!(said.contains(reason), "{said}");
    }

    #[test]
    fn who_was_told_that_it_is_done_and_was_not_fails_though_it_was_done_later() {
        let expect = format!("{WORK}\nwithin = \"1s\"");
        // Each is said to be done half a second after it was taken in.
        let told = |outcome: Outcome| {
            let story = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
            let one = |story: Story, id: u64| {
                let story = story.work(id * 1_000, &id.to_string(), Outcome::Ok);
                let outcome = if id == 17 { outcome } else { Outcome::Ok };
                story.read_back(500, outcome)
            };
            (0..40).fold(story, one).watched(60_000)
        };
        let done = |story: Story, late: u64| {
            let one = |story: Story, id: u64| {
                let after = if id == 17 { late } else { 400 };
                story.delivery(id * 1_000 + after, &id.to_string())
            };
            (0..40).fold(story, one)
        };
        let honest = check(&expect, &done(told(Outcome::Ok), 1_400));
        is(&honest, Status::Pass, "40 of 40 delivered", "");
        let lying = check(&expect, &done(told(Outcome::Ok), 9_000));
        is(
            &lying,
            Status::Fail,
            "40 of 40",
            "1 were delivered too late",
        );
        assert!(
            lying.evidence[0].what.contains("after the last answer"),
            "{lying:?}"
        );
        assert_eq!(
            check(WORK, &done(told(Outcome::Ok), 9_000)).status,
            Status::Pass
        );
        // Of that one nobody was told anything.
        let silent = check(&expect, &done(told(Outcome::Failed), 9_000));
        assert_eq!(silent.status, Status::Pass, "{silent:?}");
    }

    #[test]
    fn what_was_accepted_and_delivered_passes() {
        let story = delivered(accepted(), 0..40);
        is(&check(WORK, &story), Status::Pass, "40 of 40 delivered", "");
        let story = looked_at(listed(accepted(), 0..40));
        is(
            &check(LISTED, &story),
            Status::Pass,
            "40 of 40 delivered",
            "",
        );
    }

    #[test]
    fn one_that_was_never_delivered_fails_with_its_fault_window() {
        let story = delivered(accepted(), (0..40).filter(|id| *id != 17));
        let verdict = check(WORK, &story);
        let measured = "39 of 40 delivered, 1 lost";
        is(
            &verdict,
            Status::Fail,
            measured,
            "1 of 40 accepted are lost",
        );
        assert_eq!(
            verdict.evidence[0].what,
            "17 (train #18 POST /bots/7/train, in `outage` under `hang on object-store`): accepted, never delivered"
        );
        assert_eq!(check_during(WORK, &story, vec![2]).status, Status::Pass);
        assert_eq!(check_during(WORK, &story, vec![1]).status, Status::Fail);
    }

    #[test]
    fn what_was_acknowledged_is_accepted_whatever_its_read_back_came_to() {
        for outcome in [Outcome::Failed, Outcome::Indeterminate] {
            let story = delivered(accepted(), 0..40);
            let lost = story.clone().work(20_500, "lost", Outcome::Ok);
            let lost = lost.read_back(5_000, outcome);
            is(&check(WORK, &lost), Status::Fail, "1 lost", "1 of 41");
            let unclear = story.work(20_500, "unclear", outcome);
            let verdict = check(WORK, &unclear);
            assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        }
    }

    #[test]
    fn what_the_dependency_did_not_carry_out_is_no_delivery() {
        let story = delivered(accepted(), (0..40).filter(|id| *id != 17));
        let tried = attempt("s3", 17_100, 17_200).captured("id", "17");
        let refused = story.clone().attempt(tried.clone().status(500));
        assert_eq!(check(WORK, &refused).status, Status::Fail);
        let elsewhere = story.clone().attempt(tried.clone().operation("GetObject"));
        assert_eq!(check(WORK, &elsewhere).status, Status::Fail);
        let unknown = story.attempt(tried.gave_up().applied(Applied::Unknown));
        let why = "of 1 requests nobody knows";
        is(
            &check(WORK, &unknown),
            Status::Inconclusive,
            "1 undelivered",
            why,
        );
    }

    #[test]
    fn a_statement_that_changed_no_row_is_no_delivery() {
        let update = |id: u64, rows: Option<u64>| {
            let at = id * 1_000;
            let one = attempt("s3", at + 100, at + 200).captured("id", &id.to_string());
            rows.into_iter().fold(one, |one, rows| one.rows(rows))
        };
        let story = |rows| accepted().attempts((0..40).map(|id| update(id, rows)));
        assert_eq!(check(WORK, &story(Some(1))).status, Status::Pass);
        // Nothing says how many rows a request of HTTP changed.
        assert_eq!(check(WORK, &story(None)).status, Status::Pass);
        let verdict = check(WORK, &story(Some(0)));
        let why = "40 of 40 accepted are lost";
        is(&verdict, Status::Fail, "0 of 40 delivered", why);
        let said = &verdict.evidence[0].what;
        let end = "accepted, never delivered: 1 statements for it changed no row";
        assert!(said.ends_with(end), "{said}");
        let one = delivered(accepted(), 0..39).attempt(update(39, Some(0)));
        is(&check(WORK, &one), Status::Fail, "39 of 40 delivered", "");
        // Whether the one before was carried out nobody knows.
        let tried = attempt("s3", 39_020, 39_030).captured("id", "39");
        let unknown = one.attempt(tried.gave_up().applied(Applied::Unknown));
        let why = "of 1 requests nobody knows";
        is(&check(WORK, &unknown), Status::Inconclusive, "", why);
    }

    #[test]
    fn work_that_is_accepted_again_and_found_there_is_not_lost() {
        let story = delivered(accepted(), 0..40).work(18_000, "17", Outcome::Ok);
        is(&check(WORK, &story), Status::Fail, "40 of 41 delivered", "");
        let again = |operation| {
            let again = attempt("s3", 18_000, 18_010).captured("id", "17");
            let again = again.operation(operation).rows(0);
            judged_by_any_request(&story.clone().attempt(again))
        };
        is(&again("INSERT"), Status::Pass, "41 of 41 delivered", "");
        // What an UPDATE does not meet is not there.
        is(&again("UPDATE"), Status::Fail, "40 of 41 delivered", "");
    }

    #[test]
    fn a_row_that_was_as_it_was_to_be_is_no_delivery_and_no_loss() {
        let again = |at: u64| {
            let one = attempt("s3", at, at + 10).captured("id", "17");
            one.operation("UPDATE")
        };
        // Nobody saw how it came to be so, or whether it is there at all.
        let unseen = || delivered(accepted(), (0..40).filter(|id| *id != 17));
        let missed = judged_by_any_request(&unseen().attempt(again(18_000).rows(0)));
        is(&missed, Status::Fail, "1 lost", "1 of 40 accepted are lost");
        for (one, said) in [
            (
                again(18_000).held(),
                "changed no row, 1 found it as it was to be",
            ),
            (
                again(18_000).perhaps_held(),
                "changed no row, and may have found it as it was to be",
            ),
        ] {
            let verdict = judged_by_any_request(&unseen().attempt(one));
            let why = "1 statements changed no row, and found it";
            is(&verdict, Status::Inconclusive, "1 undelivered", why);
            let line = &verdict.evidence[0].what;
            assert!(line.ends_with(said), "{line}");
        }
        // Work that is accepted twice and carried out once: the second finds what the first did.
        let twice = || delivered(accepted(), 0..40).work(18_000, "17", Outcome::Ok);
        let judged = |one| judged_by_any_request(&twice().attempt(one));
        let why = "may be on their way";
        is(&judged(again(18_000).held()), Status::Pass, "41 of 41", "");
        is(&judged(again(18_000).rows(1)), Status::Pass, "41 of 41", "");
        let open = judged(again(18_000).perhaps_held());
        is(&open, Status::Inconclusive, "40 of 41 delivered", why);
        is(&judged(again(18_000).rows(0)), Status::Fail, "40 of 41", "");
    }

    #[test]
    fn a_system_must_not_report_more_than_it_can_have_dropped() {
        let may = format!("{WORK}\nmay_drop = \"*\"");
        let judged = |story: &Story, reported: f64| {
            let story = story.clone();
            let story = story.gauge(59_900, Measure::Dropped, "work", Some(reported));
            judged(&may, &story, |ledger| {
                ledger.dropped = Some(Dropped::Count(GaugeSpec {
                    path: "/dropped".to_owned(),
                    value: IdPath::parse("/count").expect("a path"),
                }));
            })
        };
        let three = delivered(accepted(), 0..37);
        let why = "1 of 40 accepted are lost";
        is(&judged(&three, 2.0), Status::Fail, "37 of 40", why);
        is(&judged(&three, 3.0), Status::Pass, "3 dropped", "");
        let why = "reports 1000000 as dropped, but 3 are missing and 0 may be";
        is(&judged(&three, 1_000_000.0), Status::Fail, "", why);
        let why = "reports 4 as dropped, but 3 are missing and 0 may be";
        is(&judged(&three, 4.0), Status::Fail, "", why);
        // One that was refused may have been taken in and dropped.
        let refused = three.work(50_000, "x", Outcome::Failed);
        is(&judged(&refused, 4.0), Status::Pass, "3 dropped", "");
        is(&judged(&refused, 5.0), Status::Fail, "", "1 may be");
    }

    #[test]
    fn a_message_that_the_sink_refused_is_no_delivery() {
        let judged = |story: &Story| {
            judged(WORK, story, |ledger| {
                ledger.delivered = vec![Delivered::Messages {
                    dependency: "pager".into(),
                    id: IdPath::parse("/id").expect("a path"),
                }];
            })
        };
        let message = |story: Story, id: u64| {
            let body = format!("{{\"id\":\"{id}\"}}");
            story.message(id * 1_000 + 200, &body)
        };
        let all = (0..40).fold(accepted(), message);
        is(&judged(&all), Status::Pass, "40 of 40 delivered", "");
        let refused = message((0..39).fold(accepted(), message), 39).refused();
        let why = "1 of 40 accepted are lost";
        is(&judged(&refused), Status::Fail, "39 of 40 delivered", why);
        let again = message(refused, 39);
        is(&judged(&again), Status::Pass, "40 of 40 delivered", "");
    }

    /// The verdict where every operation delivers.
    fn judged_by_any_request(story: &Story) -> Verdict {
        judged(WORK, story, |ledger| {
            if let Delivered::Attempts { operations, .. } = &mut ledger.delivered[0] {
                operations.clear();
            }
        })
    }

    /// The verdict where the ledger `work` is another.
    fn judged(text: &str, story: &Story, change: impl Fn(&mut Ledger)) -> Verdict {
        let (mut system, mut scenario) = (sample::system(), sample::scenario());
        change(&mut system.ledgers[0]);
        let mut problems = Problems::default();
        let (kind, expectation) = parse(text, &mut problems).expect("it parses");
        scenario.expects.push(Expect {
            id: "X".into(),
            that: String::new(),
            kind,
            expectation,
            during: Vec::new(),
            span: 0..0,
            extent: 0..0,
        });
        judge(&story.history(), &scenario, &system).remove(0)
    }

    #[test]
    fn what_may_be_on_its_way_is_not_lost_and_not_delivered() {
        let missing = || (0..40).filter(|id| *id != 17);
        let busy = delivered(accepted(), missing()).delivery(58_000, "late");
        let why = "work was still accepted or delivered, or a fault in force, 2s before the end";
        is(
            &check(WORK, &busy),
            Status::Inconclusive,
            "1 undelivered",
            why,
        );
        let killed = delivered(accepted(), missing()).ends(59, None);
        let why = "the run was not watched to its end";
        is(&check(WORK, &killed), Status::Inconclusive, "", why);
    }

    #[test]
    fn what_the_system_says_is_waiting_is_not_lost_and_no_more_than_that() {
        let story = |waiting| {
            listed(accepted(), 0..37)
                .reported_dropped(59_900, &[])
                .gauge(59_900, Measure::Backlog, "listed", waiting)
        };
        let why = "the system says that 3 are waiting";
        is(
            &check(LISTED, &story(Some(3.0))),
            Status::Inconclusive,
            "3 undelivered",
            why,
        );
        let why = "at least 1 of 3 missing are lost";
        is(&check(LISTED, &story(Some(2.0))), Status::Fail, "", why);
        is(
            &check(LISTED, &story(Some(0.0))),
            Status::Fail,
            "3 lost",
            "3 of 40",
        );
        let why = "its own count could not be read: status 503";
        is(&check(LISTED, &story(None)), Status::Inconclusive, "", why);
    }

    #[test]
    fn a_listing_that_cannot_be_read_tells_nothing() {
        let never = looked_at(accepted());
        let why = "the listing /ledger was never read";
        is(&check(LISTED, &never), Status::Inconclusive, "", why);
        let broken = looked_at(listed(accepted(), 0..39)).unreadable(60_000, "status 500");
        let why = "the listing /ledger could not be read: status 500";
        is(
            &check(LISTED, &broken),
            Status::Inconclusive,
            "1 undelivered",
            why,
        );
        let stale = accepted()
            .listing(30_000, &["0", "1", "2", "3"], &[])
            .ends(60, Some("completed"));
        let why = "the listing /ledger was not read at the end";
        is(
            &check(LISTED, &looked_at(stale)),
            Status::Inconclusive,
            "",
            why,
        );
    }

    #[test]
    fn what_was_listed_and_is_gone_is_lost() {
        let story = listed(accepted(), 0..40).listing(59_950, &[], &["9"]);
        let verdict = check(LISTED, &looked_at(story));
        is(
            &verdict,
            Status::Fail,
            "1 lost",
            "after they had been listed",
        );
        let said = &verdict.evidence[0].what;
        assert!(said.ends_with("listed until 59.950s, then gone"), "{said}");
    }

    #[test]
    fn an_unclear_answer_is_neither_lost_nor_unexpected() {
        let story = delivered(accepted(), 0..40)
            .work(20_500, "a", Outcome::Indeterminate)
            .work(21_500, "b", Outcome::Indeterminate)
            .delivery(21_700, "b")
            .work(22_500, "c", Outcome::Failed);
        let measured = "40 of 40 delivered, 2 indeterminate, 1 of these recovered";
        is(&check(WORK, &story), Status::Pass, measured, "");
        let strict = format!("{WORK}\nstrict = true");
        is(&check(&strict, &story), Status::Pass, measured, "");
    }

    #[test]
    fn strictly_nothing_else_may_be_delivered() {
        let strict = format!("{WORK}\nstrict = true");
        let story = delivered(accepted(), 0..40);
        let unasked = story.clone().delivery(20_300, "x");
        assert_eq!(check(WORK, &unasked).status, Status::Pass);
        let verdict = check(&strict, &unasked);
        is(
            &verdict,
            Status::Fail,
            "",
            "1 were delivered that should not have been",
        );
        assert_eq!(verdict.evidence[0].what, "x: delivered, never asked for");
        let refused = story
            .clone()
            .work(20_500, "c", Outcome::Failed)
            .delivery(20_700, "c");
        is(
            &check(&strict, &refused),
            Status::Fail,
            "",
            "1 were delivered",
        );
        // An operation whose answer never came may have been the one.
        let explained = unasked.load("train", 20..21, 1, Outcome::Indeterminate, 5_000);
        is(
            &check(&strict, &explained),
            Status::Inconclusive,
            "",
            "without an id",
        );
    }

    #[test]
    fn strictly_of_one_class_only_that_class_is_looked_at() {
        let strict = format!("{WORK}\nclass = \"order\"\nstrict = true");
        let order = |story: Story, nth: u64, outcome| {
            let id = format!("order-{nth}");
            let story = story.work(20_000 + nth * 100, &id, outcome).class("order");
            story.delivery(20_050 + nth * 100, &id)
        };
        let story = delivered(accepted(), 0..40).delivery(20_300, "x");
        let story = (0..5).fold(story, |story, nth| order(story, nth, Outcome::Ok));
        is(&check(&strict, &story), Status::Pass, "5 of 5", "");
        let refused = order(story.clone(), 5, Outcome::Failed);
        is(
            &check(&strict, &refused),
            Status::Fail,
            "",
            "1 were delivered",
        );
        let other = story
            .work(30_500, "y", Outcome::Failed)
            .delivery(30_600, "y");
        is(&check(&strict, &other), Status::Pass, "5 of 5", "");
    }

    #[test]
    fn where_nobody_is_refused_who_would_ask_again_nothing_is_shown() {
        let system = sample::system_that_is_asked_again();
        let judged = |story: &Story| check_of(WORK, story, &system);
        let story = delivered(accepted(), 0..40);
        let why = "`train` asks again";
        is(&judged(&story), Status::Inconclusive, "40 of 40", why);
        let again = story.clone().work(30_500, "x", Outcome::Ok).asked_again(2);
        is(
            &judged(&again),
            Status::Fail,
            "40 of 41",
            "1 of 41 accepted",
        );
        let again = again.delivery(30_700, "x");
        is(&judged(&again), Status::Pass, "41 of 41", "");
        let in_vain = story.work(30_500, "x", Outcome::Failed).asked_again(9);
        is(&judged(&in_vain), Status::Inconclusive, "40 of 40", why);
        let lost = delivered(accepted(), 0..39);
        is(&judged(&lost), Status::Fail, "39 of 40", "");
    }

    #[test]
    fn what_is_reported_as_dropped_fails_unless_its_class_may_be() {
        let story = looked_at(listed(accepted(), 0..40))
            .work(30_500, "bulk-1", Outcome::Ok)
            .class("bulk");
        is(&check(LISTED, &story), Status::Fail, "1 lost", "");
        let reported = story.reported_dropped(59_920, &["bulk-1"]);
        let why = "1 were accepted and dropped, as the system itself reports";
        is(&check(LISTED, &reported), Status::Fail, "1 dropped", why);
        let may = format!("{LISTED}\nmay_drop = \"bulk\"");
        let measured = "40 of 41 delivered, 1 dropped";
        is(&check(&may, &reported), Status::Pass, measured, "");
        let other = format!("{LISTED}\nmay_drop = \"transactional\"");
        assert_eq!(check(&other, &reported).status, Status::Fail);
    }

    #[test]
    fn ids_of_which_none_comes_back_show_a_wrong_ledger_and_no_loss() {
        let none = accepted()
            .delivery(20_000, "jobs/1")
            .delivery(21_000, "jobs/2");
        let verdict = check(WORK, &none);
        let why = "nothing that was accepted was ever seen delivered";
        is(&verdict, Status::Inconclusive, "", why);
        assert!(
            verdict
                .reason
                .unwrap()
                .contains("2 ids that nobody asked for")
        );
        let idle = Story::new().healthy(0..60).watched(60_000);
        is(
            &check(WORK, &idle),
            Status::Inconclusive,
            "0 of 0",
            "show nothing",
        );
    }

    #[test]
    fn accepted_work_without_an_id_leaves_it_open() {
        let story = delivered(accepted(), 0..40).load("train", 12..13, 1, Outcome::Ok, 20);
        let why = "1 accepted operations have no `id`";
        is(&check(WORK, &story), Status::Inconclusive, "", why);
    }

    #[test]
    fn an_unknown_ledger_is_a_problem() {
        assert_eq!(
            problems("kind = \"nothing-lost\"\nledger = \"wrk\""),
            ["unknown ledger `wrk`"]
        );
    }
}
