//! What was seen, held against what is required.

use crate::{
    expectation::{Status, Verdict},
    statistics::{Interval, bounds},
};
use serde::{Deserialize, Serialize};

/// The version of the account as JSON.
pub const SELFTEST_VERSION: u32 = 1;

/// Of so many runs of a twin one may be unclear.
pub const UNCLEAR_ONE_OF: u64 = 20;

/// A twin and what is required of the verdict on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The planted system.
    pub system: String,
    /// Which of its twins.
    pub twin: String,
    /// What that one does, in a few words.
    pub what: String,
    /// The verdict that a run of it must have.
    pub required: Status,
    /// Where that is a fail: by which expectations, every one of them. All others are kept.
    pub fails: Vec<String>,
    /// Where it is inconclusive: of what must be said of it one; empty for whatever.
    pub says: Vec<String>,
}

impl Case {
    /// The verdict that an expectation must have.
    fn required_of(&self, expectation: &str) -> Status {
        match self.required {
            Status::Fail if !self.fails.iter().any(|id| id == expectation) => Status::Pass,
            required => required,
        }
    }

    /// Of the expectations that must fail one that does not, in words.
    fn unbroken(&self, verdicts: &[Verdict]) -> Option<String> {
        self.fails.iter().find_map(|id| {
            let Some(one) = verdicts.iter().find(|one| one.id == *id) else {
                return Some(format!("{id} must fail, and was not judged"));
            };
            let reason = one.reason.as_deref().unwrap_or("it does not say why");
            let (is_broken, said) = (one.status == Status::Fail, one.status);
            (!is_broken).then(|| format!("{id} must fail, and is {said}: {reason}"))
        })
    }
}

/// Whether a run said what it must.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It did.
    Right,
    /// It said nothing where it must say something, if only by one expectation that must fail, or
    /// for another reason than the planted one.
    Unclear,
    /// It said the contrary.
    Wrong,
}

/// A run as it was weighed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighed {
    /// Whether it said what it must.
    pub standing: Standing,
    /// Why not, in words.
    pub why: Option<String>,
}

/// Weighs the verdict of a run, those of its expectations, and what it says of itself.
pub fn weigh(case: &Case, status: Status, verdicts: &[Verdict], doubts: &[String]) -> Weighed {
    let is_decided = |status: Status| status != Status::Inconclusive;
    let strays = |one: &&Verdict| is_decided(one.status) && one.status != case.required_of(&one.id);
    let stray = verdicts.iter().find(strays);
    if stray.is_some() || (is_decided(status) && status != case.required) {
        let (id, said) = stray.map_or(("the run", status), |one| (one.id.as_str(), one.status));
        let required = stray.map_or(case.required, |one| case.required_of(&one.id));
        let measured = stray.map_or_else(String::new, |one| format!(": {}", one.measured));
        return Weighed {
            standing: Standing::Wrong,
            why: Some(format!(
                "{id} must {}, and is {said}{measured}",
                must(required)
            )),
        };
    }
    if status == Status::Fail {
        // Nothing strays: it is the flaw's run. Each expectation that the flaw breaks must say so.
        return case.unbroken(verdicts).map_or_else(right, unclear);
    }
    if is_decided(status) {
        return right();
    }
    let reasons = verdicts.iter().filter_map(|one| one.reason.as_deref());
    let reasons: Vec<&str> = reasons.chain(doubts.iter().map(String::as_str)).collect();
    let says = |wanted: &String| {
        reasons
            .iter()
            .any(|reason| reason.contains(wanted.as_str()))
    };
    let says_why = case.says.is_empty() || case.says.iter().any(says);
    if case.required == Status::Inconclusive && says_why {
        return right();
    }
    let why = reasons.first().copied().unwrap_or("it does not say why");
    unclear(why.to_owned())
}

fn unclear(why: String) -> Weighed {
    Weighed {
        standing: Standing::Unclear,
        why: Some(why),
    }
}

fn right() -> Weighed {
    Weighed {
        standing: Standing::Right,
        why: None,
    }
}

/// What a verdict must do, as a verb.
fn must(required: Status) -> &'static str {
    match required {
        Status::Pass => "pass",
        Status::Fail => "fail",
        Status::Inconclusive => "be inconclusive",
    }
}

/// A run that came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The round that it belongs to, from 1.
    pub round: u32,
    /// The run's verdict.
    pub status: Status,
    /// How it was weighed.
    pub weighed: Weighed,
    /// How many tries before it were unclear because their load had missed its schedule.
    pub repeated: u32,
    /// Where its files were left.
    pub kept: Option<String>,
}

/// What was seen of a twin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The planted system.
    pub system: String,
    /// Which of its twins: good, bad, unmeasured.
    pub twin: String,
    /// What that one does.
    pub what: String,
    /// The verdict that is required.
    pub required: Status,
    /// How many runs passed.
    pub pass: u64,
    /// How many failed.
    pub fail: u64,
    /// How many were inconclusive.
    pub inconclusive: u64,
    /// How many were unclear: inconclusive where a verdict is required, if only that of one expectation
    /// which must fail, or for another reason than the planted one. Of a run that was repeated the last
    /// try counts.
    pub unclear: u64,
    /// How great a share that may be of many such runs; `None` where there were none.
    pub unclear_bounds: Option<Interval>,
    /// How many were wrong.
    pub wrong: u64,
    /// How many tries beside these runs were unclear because their load had missed its schedule, and
    /// were made again.
    pub repeated: u64,
    /// The runs that were not right.
    pub notes: Vec<Note>,
}

/// A run that was not right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Its round.
    pub round: u32,
    /// What it was.
    pub standing: Standing,
    /// Why.
    pub why: String,
    /// Where its files were left.
    pub kept: Option<String>,
}

impl Row {
    fn of(case: &Case, seen: &[Seen]) -> Self {
        let verdicts = |status| seen.iter().filter(|one| one.status == status).count() as u64;
        let standing = |standing| {
            let standing = seen.iter().filter(|one| one.weighed.standing == standing);
            standing.count() as u64
        };
        let unclear = standing(Standing::Unclear);
        let notes = seen
            .iter()
            .filter(|one| one.weighed.standing != Standing::Right);
        Self {
            system: case.system.clone(),
            twin: case.twin.clone(),
            what: case.what.clone(),
            required: case.required,
            pass: verdicts(Status::Pass),
            fail: verdicts(Status::Fail),
            inconclusive: verdicts(Status::Inconclusive),
            unclear,
            unclear_bounds: bounds(unclear, seen.len() as u64),
            wrong: standing(Standing::Wrong),
            repeated: seen.iter().map(|one| u64::from(one.repeated)).sum(),
            notes: notes
                .map(|one| Note {
                    round: one.round,
                    standing: one.weighed.standing,
                    why: one.weighed.why.clone().unwrap_or_default(),
                    kept: one.kept.clone(),
                })
                .collect(),
        }
    }

    /// How many runs there were.
    pub fn runs(&self) -> u64 {
        self.pass + self.fail + self.inconclusive
    }

    /// Whether more runs were unclear than may be; of a run that was repeated the last try counts.
    pub fn is_too_unclear(&self) -> bool {
        self.unclear * UNCLEAR_ONE_OF > self.runs()
    }
}

/// What all of it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Not one verdict was wrong, and few enough were unclear.
    Calibrated,
    /// Not one was wrong, but too many were unclear, or some twin was not run at all, or the noise
    /// beside the runs did not last.
    Unclear,
    /// At least one was wrong.
    Wrong,
    /// Somebody interrupted it, and none was wrong until then.
    Interrupted,
}

/// The whole account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// [`SELFTEST_VERSION`].
    pub version: u32,
    /// Brownout's version.
    pub brownout: String,
    /// When it began.
    pub began: String,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// How many rounds were wanted.
    pub rounds: u32,
    /// How many runs went on side by side.
    pub jobs: usize,
    /// How many processes should keep a core busy beside them.
    pub noise_wanted: usize,
    /// How many of these were still there at the end.
    pub noise: usize,
    /// How many processors the machine has.
    pub processors: usize,
    /// What it comes to.
    pub ended: Ended,
    /// How many runs were wanted.
    pub wanted: u64,
    /// How many there were.
    pub runs: u64,
    /// How many of these were wrong.
    pub wrong: u64,
    /// How great a share that may be of many such runs.
    pub wrong_bounds: Option<Interval>,
    /// How many runs of twins that can be told were unclear. Of a run that was repeated the last try
    /// counts.
    pub unclear: u64,
    /// Of how many.
    pub measured: u64,
    /// How great a share that may be of many such runs.
    pub unclear_bounds: Option<Interval>,
    /// How many tries of these twins were unclear, those included that were made again.
    pub unclear_tries: u64,
    /// Of how many.
    pub tries: u64,
    /// How great a share that may be of many such tries.
    pub unclear_tries_bounds: Option<Interval>,
    /// How many tries of any twin were unclear because their load had missed its schedule, and were
    /// made again.
    pub repeated: u64,
    /// Each twin.
    pub rows: Vec<Row>,
}

impl Account {
    /// The account of these twins, each with what was seen of it.
    pub fn of(rounds: u32, cases: &[(Case, Vec<Seen>)], interrupted: bool) -> Self {
        let rows: Vec<Row> = cases
            .iter()
            .map(|(case, seen)| Row::of(case, seen))
            .collect();
        let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum::<u64>();
        let (runs, wrong) = (sum(Row::runs), sum(|row| row.wrong));
        let told = rows
            .iter()
            .filter(|row| row.required != Status::Inconclusive);
        let (unclear, measured, again) = told.fold((0, 0, 0), |(unclear, measured, again), row| {
            (
                unclear + row.unclear,
                measured + row.runs(),
                again + row.repeated,
            )
        });
        let (unclear_tries, tries) = (unclear + again, measured + again);
        let wanted = u64::from(rounds) * rows.len() as u64;
        let is_short = runs < wanted || rows.is_empty();
        let ended = match () {
            () if wrong > 0 => Ended::Wrong,
            () if interrupted => Ended::Interrupted,
            () if is_short || rows.iter().any(Row::is_too_unclear) => Ended::Unclear,
            () => Ended::Calibrated,
        };
        Self {
            version: SELFTEST_VERSION,
            brownout: env!("CARGO_PKG_VERSION").to_owned(),
            began: String::new(),
            took_us: 0,
            rounds,
            jobs: 0,
            noise_wanted: 0,
            noise: 0,
            processors: 0,
            ended,
            wanted,
            runs,
            wrong,
            wrong_bounds: bounds(wrong, runs),
            unclear,
            measured,
            unclear_bounds: bounds(unclear, measured),
            unclear_tries,
            tries,
            unclear_tries_bounds: bounds(unclear_tries, tries),
            repeated: sum(|row| row.repeated),
            rows,
        }
    }

    /// Of so many processes that should keep a core busy each, so many lasted to the end. Fewer are
    /// not the noise that the runs were to be calibrated beside.
    pub fn beside(&mut self, wanted: usize, lasted: usize) {
        (self.noise_wanted, self.noise) = (wanted, lasted);
        if self.is_noise_short() && self.ended == Ended::Calibrated {
            self.ended = Ended::Unclear;
        }
    }

    /// Whether the noise did not last.
    pub fn is_noise_short(&self) -> bool {
        self.noise < self.noise_wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A twin of which this is required.
    fn case(twin: &str, required: Status) -> Case {
        Case {
            system: "time-out".to_owned(),
            twin: twin.to_owned(),
            what: "waits for ever".to_owned(),
            required,
            fails: vec!["GIVES-UP".to_owned()],
            says: vec!["acted on 0 events".to_owned()],
        }
    }

    fn verdict(id: &str, status: Status, reason: Option<&str>) -> Verdict {
        let mut verdict = crate::report::sample::all(status).scenarios[0].verdicts[0].clone();
        verdict.id = id.to_owned();
        verdict.status = status;
        verdict.reason = reason.map(str::to_owned);
        verdict
    }

    /// Runs with these verdicts, one a round.
    fn seen(case: &Case, statuses: &[Status]) -> Vec<Seen> {
        let run = |(nth, status): (usize, &Status)| {
            let reason = Some("acted on 0 events");
            let verdicts = [verdict("GIVES-UP", *status, reason)];
            Seen {
                round: u32::try_from(nth).unwrap() + 1,
                status: *status,
                weighed: weigh(case, *status, &verdicts, &[]),
                repeated: 0,
                kept: None,
            }
        };
        statuses.iter().enumerate().map(run).collect()
    }

    fn ended(rounds: u32, cases: &[(Case, Vec<Seen>)]) -> Ended {
        Account::of(rounds, cases, false).ended
    }

    const ALL: [Status; 3] = [Status::Pass, Status::Fail, Status::Inconclusive];

    #[test]
    fn whatever_is_required_the_contrary_is_wrong_and_nothing_else_is() {
        for required in ALL {
            for said in ALL {
                let case = case("bad", required);
                let verdicts = [verdict("GIVES-UP", said, Some("acted on 0 events"))];
                let weighed = weigh(&case, said, &verdicts, &[]);
                let expected = match said {
                    said if said == required => Standing::Right,
                    Status::Inconclusive => Standing::Unclear,
                    _ => Standing::Wrong,
                };
                assert_eq!(weighed.standing, expected, "{required} {said}");
                assert_eq!(weighed.why.is_some(), expected != Standing::Right);
            }
        }
    }

    #[test]
    fn a_fail_by_another_expectation_than_the_planted_one_is_wrong() {
        let case = case("bad", Status::Fail);
        let both = |own, other| {
            [
                verdict("GIVES-UP", own, None),
                verdict("ALIVE", other, None),
            ]
        };
        let standing = |verdicts: &[Verdict]| weigh(&case, Status::Fail, verdicts, &[]).standing;
        assert_eq!(standing(&both(Status::Fail, Status::Pass)), Standing::Right);
        assert_eq!(
            standing(&both(Status::Fail, Status::Inconclusive)),
            Standing::Right
        );
        assert_eq!(standing(&both(Status::Fail, Status::Fail)), Standing::Wrong);
        assert_eq!(standing(&both(Status::Pass, Status::Fail)), Standing::Wrong);
    }

    #[test]
    fn of_the_expectations_that_the_flaw_breaks_every_one_must_fail() {
        let mut case = case("bad", Status::Fail);
        case.fails.push("FAST".to_owned());
        let late = Some("missed its schedule");
        let own = |status| verdict("GIVES-UP", status, late);
        let other = |status| verdict("FAST", status, late);
        let weighed = |verdicts: &[Verdict]| weigh(&case, Status::Fail, verdicts, &[]);
        let all = [own(Status::Fail), other(Status::Fail)];
        assert_eq!(weighed(&all), right());
        // A judge that can never say that FAST is broken is not calibrated by the other's fail.
        for one in [
            [own(Status::Fail), other(Status::Inconclusive)],
            [other(Status::Inconclusive), own(Status::Fail)],
        ] {
            let said = "FAST must fail, and is inconclusive: missed its schedule";
            assert_eq!(weighed(&one), unclear(said.to_owned()));
        }
        let said = "FAST must fail, and was not judged";
        assert_eq!(weighed(&all[..1]), unclear(said.to_owned()));
        let passes = weighed(&[own(Status::Fail), other(Status::Pass)]);
        assert_eq!(passes.standing, Standing::Wrong);
    }

    #[test]
    fn a_flaw_that_one_of_two_never_sees_is_not_calibrated() {
        let mut case = case("bad", Status::Fail);
        case.fails.push("FAST".to_owned());
        let of = |fast| {
            let verdicts = [
                verdict("GIVES-UP", Status::Fail, None),
                verdict("FAST", fast, None),
            ];
            let run = |round| Seen {
                round,
                status: Status::Fail,
                weighed: weigh(&case, Status::Fail, &verdicts, &[]),
                repeated: 0,
                kept: None,
            };
            ended(20, &[(case.clone(), (1..=20).map(run).collect())])
        };
        assert_eq!(of(Status::Fail), Ended::Calibrated);
        assert_eq!(of(Status::Inconclusive), Ended::Unclear);
        assert_eq!(of(Status::Pass), Ended::Wrong);
    }

    #[test]
    fn tries_that_were_made_again_are_stated_beside_what_the_bound_counts() {
        let bad = case("bad", Status::Fail);
        let nothing = case("unmeasured", Status::Inconclusive);
        let mut runs = seen(&bad, &[Status::Fail; 20]);
        runs[3].repeated = 2;
        let mut thin = seen(&nothing, &[Status::Inconclusive; 20]);
        thin[0].repeated = 1;
        let account = Account::of(20, &[(bad, runs), (nothing, thin)], false);
        assert_eq!((account.unclear, account.measured), (0, 20));
        assert_eq!((account.unclear_tries, account.tries), (2, 22));
        assert_eq!(account.repeated, 3);
        let high = |bounds: Option<Interval>| bounds.unwrap().high;
        assert!(high(account.unclear_tries_bounds) > high(account.unclear_bounds));
    }

    #[test]
    fn noise_that_did_not_last_calibrates_nothing_and_hides_no_wrong_verdict() {
        let of = |said, wanted, lasted| {
            let case = case("good", Status::Pass);
            let seen = seen(&case, &[said]);
            let mut account = Account::of(1, &[(case, seen)], false);
            account.beside(wanted, lasted);
            assert_eq!((account.noise_wanted, account.noise), (wanted, lasted));
            account.ended
        };
        assert_eq!(of(Status::Pass, 2, 2), Ended::Calibrated);
        assert_eq!(of(Status::Pass, 0, 0), Ended::Calibrated);
        assert_eq!(of(Status::Pass, 2, 1), Ended::Unclear);
        assert_eq!(of(Status::Pass, 2, 0), Ended::Unclear);
        assert_eq!(of(Status::Fail, 2, 0), Ended::Wrong);
    }

    #[test]
    fn one_expectation_that_passes_though_nothing_was_measured_is_wrong() {
        let case = case("unmeasured", Status::Inconclusive);
        let nothing = verdict("ONE", Status::Inconclusive, Some("acted on 0 events"));
        let vacuous = verdict("TWO", Status::Pass, None);
        let weighed = weigh(&case, Status::Inconclusive, &[nothing, vacuous], &[]);
        assert_eq!(weighed.standing, Standing::Wrong);
        assert!(
            weighed
                .why
                .unwrap()
                .starts_with("TWO must be inconclusive, and is pass")
        );
    }

    #[test]
    fn what_measures_nothing_must_say_so_itself() {
        let case = case("unmeasured", Status::Inconclusive);
        let other = [verdict(
            "ONE",
            Status::Inconclusive,
            Some("missed its schedule"),
        )];
        let weighed = weigh(&case, Status::Inconclusive, &other, &[]);
        assert_eq!(weighed.standing, Standing::Unclear);
        assert_eq!(weighed.why.as_deref(), Some("missed its schedule"));
        // What the run says of itself counts as well.
        let doubt = ["`hang` acted on 0 events, at least 1 are needed".to_owned()];
        let weighed = weigh(&case, Status::Inconclusive, &other, &doubt);
        assert_eq!(weighed.standing, Standing::Right);
    }

    #[test]
    fn all_verdicts_as_required_are_a_calibrated_judge() {
        let cases: Vec<(Case, Vec<Seen>)> = ALL
            .map(|required| {
                let case = case("twin", required);
                let seen = seen(&case, &[required; 3]);
                (case, seen)
            })
            .into();
        let account = Account::of(3, &cases, false);
        assert_eq!(account.ended, Ended::Calibrated);
        assert_eq!((account.runs, account.wanted, account.wrong), (9, 9, 0));
        assert_eq!((account.unclear, account.measured), (0, 6));
        let high = account.wrong_bounds.unwrap().high;
        assert!((high - 0.283).abs() < 0.001, "{high}");
    }

    #[test]
    fn a_judge_that_says_the_contrary_once_is_noticed_whatever_else_it_says() {
        for required in ALL {
            for contrary in ALL {
                if contrary == required || contrary == Status::Inconclusive {
                    continue;
                }
                let case = case("twin", required);
                let mut statuses = [required; 20];
                statuses[7] = contrary;
                let seen = seen(&case, &statuses);
                let account = Account::of(20, &[(case, seen)], false);
                assert_eq!(account.ended, Ended::Wrong, "{required} {contrary}");
                assert_eq!((account.wrong, account.rows[0].wrong), (1, 1));
                assert_eq!(account.rows[0].notes[0].round, 8);
            }
        }
    }

    #[test]
    fn a_judge_that_flips_every_verdict_is_noticed_in_a_single_round() {
        for (required, flipped) in [
            (Status::Pass, Status::Fail),
            (Status::Fail, Status::Pass),
            (Status::Inconclusive, Status::Pass),
        ] {
            let case = case("twin", required);
            let seen = seen(&case, &[flipped]);
            assert_eq!(ended(1, &[(case, seen)]), Ended::Wrong);
        }
    }

    #[test]
    fn one_of_twenty_may_be_unclear_and_not_one_of_nineteen() {
        let told = |unclear: usize, of: usize| {
            let case = case("bad", Status::Fail);
            let mut statuses = vec![Status::Fail; of];
            statuses[..unclear].fill(Status::Inconclusive);
            let seen = seen(&case, &statuses);
            ended(u32::try_from(of).unwrap(), &[(case, seen)])
        };
        assert_eq!(told(1, 20), Ended::Calibrated);
        assert_eq!(told(1, 19), Ended::Unclear);
        assert_eq!(told(2, 20), Ended::Unclear);
        assert_eq!(told(2, 40), Ended::Calibrated);
        assert_eq!(told(1, 1), Ended::Unclear);
    }

    #[test]
    fn too_unclear_a_twin_is_not_hidden_behind_clear_ones() {
        let bad = case("bad", Status::Fail);
        let good = case("good", Status::Pass);
        let mut statuses = [Status::Fail; 20];
        statuses[..2].fill(Status::Inconclusive);
        let cases = [
            (bad.clone(), seen(&bad, &statuses)),
            (good.clone(), seen(&good, &[Status::Pass; 20])),
        ];
        let account = Account::of(20, &cases, false);
        assert_eq!(account.ended, Ended::Unclear);
        assert_eq!((account.unclear, account.measured), (2, 40));
    }

    #[test]
    fn a_judge_that_never_says_anything_is_not_calibrated() {
        let cases = [Status::Pass, Status::Fail].map(|required| {
            let case = case("twin", required);
            let seen = seen(&case, &[Status::Inconclusive; 20]);
            (case, seen)
        });
        assert_eq!(ended(20, &cases), Ended::Unclear);
    }

    #[test]
    fn what_was_not_run_is_not_calibrated() {
        let case = case("good", Status::Pass);
        assert_eq!(ended(1, &[]), Ended::Unclear);
        assert_eq!(ended(1, &[(case.clone(), Vec::new())]), Ended::Unclear);
        let two = seen(&case, &[Status::Pass; 2]);
        assert_eq!(ended(3, &[(case, two)]), Ended::Unclear);
    }

    #[test]
    fn an_interruption_does_not_hide_a_wrong_verdict() {
        let case = case("good", Status::Pass);
        let right = [(case.clone(), seen(&case, &[Status::Pass]))];
        assert_eq!(Account::of(3, &right, true).ended, Ended::Interrupted);
        let wrong = [(case.clone(), seen(&case, &[Status::Fail]))];
        assert_eq!(Account::of(3, &wrong, true).ended, Ended::Wrong);
    }
}
