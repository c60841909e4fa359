use super::*;
use crate::selftest::Weighed;

fn names(only: &[&str]) -> Vec<(&'static str, Twin)> {
    let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
    let known = twins(&only).unwrap();
    known.iter().map(|(one, twin)| (one.name, *twin)).collect()
}

#[test]
fn every_twin_is_run_or_those_of_the_systems_that_were_named() {
    assert_eq!(names(&[]).len(), 3 * ALL.len());
    let herd = Twin::ALL.map(|twin| ("herd", twin));
    assert_eq!(names(&["herd"]), herd);
    assert_eq!(names(&["herd", "pool", "herd"]).len(), 6);
    let failure = twins(&["hert".to_owned()]).unwrap_err();
    assert!(
        failure.message().contains("`hert`"),
        "{}",
        failure.message()
    );
}

#[test]
fn the_flaw_must_fail_the_good_pass_and_what_measures_nothing_neither() {
    for known in twins(&[]).unwrap() {
        let case = case(known);
        let required = match known.1 {
            Twin::Good => Status::Pass,
            Twin::Bad => Status::Fail,
            Twin::Unmeasured => Status::Inconclusive,
        };
        assert_eq!(case.required, required, "{case:?}");
        assert!(!case.fails.is_empty(), "{case:?}");
        assert_eq!(case.says.is_some(), known.1 == Twin::Unmeasured);
    }
}

/// The planted files are valid, and what they lead to can be told: a warning would say that it cannot.
#[test]
fn planted_files_are_as_good_as_anybodys() {
    for (planted, twin) in twins(&[]).unwrap() {
        let files = planted.files(twin);
        let mut problems = Problems::default();
        let both = from_texts(
            Source::new("scenario.toml", files.scenario),
            Source::new("system.toml", files.system),
            PathBuf::from("."),
            &mut problems,
        );
        let problems = problems.into_sorted();
        let (scenario, _) = both.unwrap_or_else(|| panic!("{}: {problems:?}", planted.name));
        if twin != Twin::Unmeasured {
            assert!(problems.is_empty(), "{}: {problems:?}", planted.name);
        }
        let ids: Vec<&str> = scenario.expects.iter().map(|one| &*one.id).collect();
        for id in planted.fails {
            assert!(ids.contains(id), "{}: {id} of {ids:?}", planted.name);
        }
    }
}

/// The account of one named system of which these verdicts were seen: its good twin, its bad one,
/// and the run that measures nothing.
fn account_of(name: &str, verdicts: [Status; 3]) -> Account {
    let known = twins(&[name.to_owned()]).unwrap();
    let calibration = Calibration {
        twins: known.clone(),
        rounds: 1,
        out: PathBuf::new(),
        progress: Progress::new(true, false),
        standing: Mutex::new(Tally::new()),
    };
    let run = |(place, status): (usize, Status)| {
        let case = case(known[place]);
        let doubts: Vec<String> = case.says.clone().into_iter().collect();
        let seen = Seen {
            round: 1,
            status,
            weighed: weigh(&case, status, &[], &doubts),
            repeated: 0,
            kept: None,
        };
        (place, seen)
    };
    // They do not end in the order in which they begin.
    let seen = verdicts.into_iter().enumerate().rev().map(run).collect();
    Account::of(1, &calibration.cases(seen), false)
}

#[test]
fn one_named_twin_with_another_verdict_than_is_required_ends_with_1() {
    let (pass, fail, unknown) = (Status::Pass, Status::Fail, Status::Inconclusive);
    for one in ALL {
        for (verdicts, expected) in [
            ([pass, fail, unknown], Exit::Pass),
            ([fail, fail, unknown], Exit::Fail),
            ([pass, pass, unknown], Exit::Fail),
            ([pass, fail, pass], Exit::Fail),
            ([pass, fail, fail], Exit::Fail),
            ([unknown, fail, unknown], Exit::Inconclusive),
            ([pass, unknown, unknown], Exit::Inconclusive),
            ([unknown, pass, unknown], Exit::Fail),
        ] {
            let account = account_of(one.name, verdicts);
            assert_eq!(exit(&account), expected, "{} {verdicts:?}", one.name);
            let text = String::from_utf8(reports::terminal(&account)).unwrap();
            assert!(text.contains(one.name) && text.contains(one.bad), "{text}");
        }
    }
}

#[test]
fn only_a_run_that_shows_nothing_is_repeated_for_its_load() {
    let report = |status: Status, reason: &str| {
        let mut report = report_of(status);
        for verdict in &mut report.verdicts {
            verdict.reason = Some(reason.to_owned());
        }
        report
    };
    let late = "load `ask` missed its schedule: 4% of 100 operations began late or not at all";
    assert!(missed(&report(Status::Inconclusive, late)));
    assert!(!missed(&report(Status::Fail, late)));
    assert!(!missed(&report(Status::Inconclusive, "acted on 0 events")));
}

fn report_of(status: Status) -> ScenarioReport {
    let mut report = report::sample::all(status).scenarios.swap_remove(0);
    report.status = status;
    report
}

#[test]
fn a_run_that_could_not_be_made_is_unclear_and_says_why() {
    let known = twins(&["pool".to_owned()]).unwrap()[0];
    let why = ["the port is taken".to_owned()];
    let weighed = weigh(&case(known), Status::Inconclusive, &[], &why);
    let expected = Weighed {
        standing: Standing::Unclear,
        why: Some("the port is taken".to_owned()),
    };
    assert_eq!(weighed, expected);
}
