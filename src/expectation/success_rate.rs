//! `success-rate`: enough of a load's operations were answered.

use super::{
    Evidence, Expectation, ExpectationDef, Foresight, Judgement, Name, Names, names,
    samples::{part_of, samples_needed},
    whose::{EXCEPT, HIT, SPARED, WHERE, Whose},
};
use crate::{
    history::{Operation, Outcome, View},
    input::{About, Fields, Key, Problems, Shape},
    units::Share,
};

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "success-rate",
    summary: "at least this share of a load's operations is answered",
    about: About {
        text: "\
            The plainest requirement: of the operations that a load began, at least this share \
            was answered as it should be. A fallback's answer counts, unless `count_degraded = \
            false`; so does one that came after refusals, where the load asks `again`, and how many \
            those are is said. What has no answer within the load's `timeout` is indeterminate and counts \
            as not answered.",
        evidence: "\
            The outcomes of the load's operations begun in the judged phases, as the load's `ok` \
            and `degraded` tell them apart.",
        doubt: "\
            There were too few operations to show the share: 99.9% needs a thousand, 95% needs \
            twenty. So it is where the load missed its schedule, and where other programs can have kept the \
            system from running for most of the time of those that decide.",
        mistakes: &[
            "\
                Without `degraded` an honest 503 is a failure; without a narrow `ok` a page that \
                says sorry with status 200 is a success.",
            "\
                A percentage over all phases hides a total outage of a short one: name the phase in \
                `during`.",
        ],
        related: &["latency", "fallback", "isolation", "load"],
    },
    example: "[[expect]]\nid       = \"ADA-3\"\nthat     = \"answers never wait for the object store\"\nkind     = \"success-rate\"\nload     = \"ask\"\nat_least = \"99.5%\"\n",
    keys: &[
        Key::required("load", Shape::Text, "the load whose operations count"),
        Key::required(
            "at_least",
            Shape::Share,
            "the share that must be answered; it needs at least 1 / (1 - share) operations to be shown",
        ),
        Key::optional(
            "count_degraded",
            Shape::Bool,
            "whether a fallback's answer counts as an answer (true)",
        ),
        WHERE,
        EXCEPT,
        HIT,
        SPARED,
    ],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
pub(super) struct SuccessRate {
    pub(super) load: Name,
    pub(super) at_least: Share,
    pub(super) count_degraded: bool,
    pub(super) whose: Whose,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let load = names::load(fields, "load", names, problems);
    let at_least = fields.share_to_reach("at_least", problems);
    let count_degraded = fields.bool("count_degraded", problems).unwrap_or(true);
    let load = load?;
    Some(Box::new(SuccessRate {
        whose: Whose::read(fields, &[&load], names, problems)?,
        load,
        at_least: at_least?,
        count_degraded,
    }))
}

impl SuccessRate {
    fn counts(&self, operation: &Operation) -> bool {
        match operation.outcome {
            Outcome::Ok => true,
            Outcome::Degraded => self.count_degraded,
            Outcome::Failed | Outcome::Indeterminate => false,
        }
    }
}

/// Whether nobody answered within the load's own time-out, and other programs can have kept the system
/// from running for most of it.
fn is_held_up(one: &Operation, view: &View<'_>) -> bool {
    let mut loads = view.system.loads.iter();
    let timeout = loads.find(|load| load.name == one.load);
    let took = one.ended.since(one.began);
    let held_up = || view.held_up(one.began, one.ended);
    one.status.is_none()
        && timeout.is_some_and(|load| took >= load.timeout)
        && held_up() * 4 >= took * 3
}

impl Expectation for SuccessRate {
    fn judge(&self, everybody: &View<'_>) -> Judgement {
        let view = &self.whose.of(everybody);
        let mut operations = view.operations(&self.load);
        let all = operations.len() as u64;
        operations.retain(|one| !one.cut);
        let count = operations.len() as u64;
        let good = operations.iter().filter(|one| self.counts(one)).count() as u64;
        let unknown = all - count + view.unsent(&self.load);
        let needed = samples_needed(self.at_least.fraction());
        let enough = |whole: u64| good as f64 >= self.at_least.fraction() * whole as f64 - 1e-9;
        let again = |one: &&&Operation| self.counts(one) && one.refused > 0;
        let again = operations.iter().filter(again).count();
        let mut measured = part_of(good, count);
        if again > 0 {
            measured.push_str(&format!(", of these {again} after a refusal"));
        }
        let judgement = Judgement::new(view.window(), count, measured);
        let held_up = operations
            .iter()
            .filter(|one| !self.counts(one) && is_held_up(one, view))
            .count() as u64;
        let judgement = if count == 0 {
            judgement.inconclusive(format!("load `{}` had no operation", self.load))
        } else if !enough(count) && held_up > 0 && enough(count - held_up) {
            judgement.inconclusive(format!(
                "{} of {count} were not answered, but {held_up} of these were kept waiting for most of their \
                 time by other programs, which had the processors",
                count - good
            ))
        } else if !enough(count) {
            judgement.fail(format!("{} of {count} were not answered", count - good))
        } else if count < needed {
            judgement.inconclusive(format!(
                "{count} operations cannot show {}: at least {needed} are needed",
                self.at_least
            ))
        } else if !enough(count + unknown) {
            judgement.inconclusive(format!(
                "{unknown} operations that were not sent, or cut off by the run's end, could have made it too few"
            ))
        } else {
            judgement
        };
        let judgement = self.whose.weigh(everybody, &self.load, judgement);
        judgement.with(
            operations
                .iter()
                .filter(|one| !self.counts(one))
                .map(|one| Evidence::of_operation(one.intended, one, one.describe())),
        )
    }

    fn weighs_held_up(&self) -> bool {
        true
    }

    fn required(&self) -> String {
        let how = if self.count_degraded {
            "answered"
        } else {
            "answered without a fallback"
        };
        let whose = self.whose.describe();
        format!("at least {} of `{}`{whose} {how}", self.at_least, self.load)
    }

    fn loads(&self) -> Vec<Name> {
        vec![self.load.clone()]
    }

    fn forewarn(&self, plan: &Foresight<'_>) -> Vec<String> {
        let needed = samples_needed(self.at_least.fraction());
        super::too_thin(plan, &self.load, needed, &self.at_least.to_string())
    }

    fn needs_running(&self, _instance: &str) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, problems};
    use crate::{
        expectation::Status,
        history::{Observation, Outcome, sample::Story},
    };

    const EXPECT: &str = "kind = \"success-rate\"\nload = \"ask\"\nat_least = \"99%\"";

    fn story(seconds_failing: u64) -> Story {
        Story::new()
            .healthy(0..10)
            .load("ask", 10..10 + seconds_failing, 20, Outcome::Failed, 20)
            .load("ask", 10 + seconds_failing..29, 20, Outcome::Ok, 20)
            .load("ask", 29..30, 20, Outcome::Degraded, 20)
    }

    #[test]
    fn it_passes_when_enough_are_answered_and_a_fallback_counts() {
        let verdict = check(EXPECT, &story(0));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(verdict.measured, "100% (400 of 400)");
    }

    #[test]
    fn it_fails_with_evidence_when_too_few_are() {
        let verdict = check(EXPECT, &story(1));
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(verdict.measured, "95% (380 of 400)");
        assert_eq!(verdict.evidence.len(), 5);
        assert_eq!(
            verdict.evidence[0].what,
            "ask #201 POST /bots/7/ask: status 503"
        );
    }

    #[test]
    fn a_fallback_does_not_count_where_the_file_says_so() {
        let strict = format!("{EXPECT}\ncount_degraded = false");
        assert_eq!(check(&strict, &story(0)).status, Status::Fail);
    }

    #[test]
    fn four_hundred_requests_cannot_show_three_nines() {
        let expect = EXPECT.replace("99%", "99.9%");
        let verdict = check(&expect, &story(0));
        assert_eq!(verdict.status, Status::Inconclusive);
        assert_eq!(
            verdict.reason.unwrap(),
            "400 operations cannot show 99.9%: at least 1000 are needed"
        );
        assert_eq!(check(&expect, &story(1)).status, Status::Fail);
    }

    #[test]
    fn answers_that_came_only_after_a_refusal_are_counted_apart() {
        let again =
            |story: Story, outcome| story.load("ask", 20..21, 1, outcome, 20).asked_again(3);
        let story = again(again(story(0), Outcome::Ok), Outcome::Ok);
        let verdict = check(EXPECT, &story);
        assert_eq!(verdict.status, Status::Pass);
        assert_eq!(
            verdict.measured,
            "100% (402 of 402), of these 2 after a refusal"
        );
        // In vain is no answer.
        let vain = again(story, Outcome::Failed);
        assert_eq!(
            check(EXPECT, &vain).measured,
            "99.751% (402 of 403), of these 2 after a refusal"
        );
    }

    #[test]
    fn no_operation_at_all_shows_nothing() {
        let verdict = check(EXPECT, &Story::new().healthy(0..10));
        assert_eq!(verdict.status, Status::Inconclusive);
    }

    #[test]
    fn who_was_not_answered_because_others_had_the_processors_leaves_it_open() {
        let told = |outcome, held_up: u64| {
            let story = Story::new().load("ask", 10..29, 20, Outcome::Ok, 20);
            let story = story.load("ask", 29..30, 20, outcome, 5_000).healthy(0..10);
            let tenths = (290..350).map(|tenth| tenth * 100);
            let story = tenths.fold(story, |story, from| {
                story.held_up(from, from + 100, held_up)
            });
            check(EXPECT, &story).status
        };
        assert_eq!(told(Outcome::Indeterminate, 70), Status::Fail);
        assert_eq!(told(Outcome::Indeterminate, 77), Status::Inconclusive);
        // Who answered had time to.
        assert_eq!(told(Outcome::Failed, 77), Status::Fail);
        // Who was refused at once was not held up.
        let refused = Story::new().load("ask", 10..30, 20, Outcome::Indeterminate, 1);
        let refused = refused.healthy(0..10).held_up(10_000, 30_000, 9_000);
        assert_eq!(check(EXPECT, &refused).status, Status::Fail);
    }

    #[test]
    fn operations_not_sent_or_cut_off_that_could_tip_it_leave_it_open() {
        let mut cut = story(0);
        for observation in cut.observations.iter_mut().rev().take(3) {
            if let Observation::Operation(one) = observation {
                one.outcome = Outcome::Indeterminate;
                one.cut = true;
            }
        }
        for few in [story(0).unsent(20, "ask", 3), cut] {
            assert_eq!(check(EXPECT, &few).status, Status::Pass);
            let expect = EXPECT.replace("99%", "99.5%");
            assert_eq!(check(&expect, &few).status, Status::Inconclusive);
        }
        let nothing = EXPECT.replace("99%", "0%");
        assert_eq!(
            problems(&nothing),
            ["`at_least` asks for nothing: everything reaches 0%"]
        );
        let late = story(0).missed(20, "ask", 3);
        let expect = EXPECT.replace("99%", "99.5%");
        assert_eq!(check(&expect, &late).status, Status::Pass);
    }
}
