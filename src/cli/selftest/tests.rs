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
        assert_eq!(case.says.is_empty(), known.1 != Twin::Unmeasured);
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
        let doubts: Vec<String> = case.says.clone();
        let verdicts: Vec<_> = case.fails.iter().map(|id| judged_as(id, status)).collect();
        let seen = Seen {
            round: 1,
            status,
            weighed: weigh(&case, status, &verdicts, &doubts),
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

fn judged_as(id: &str, status: Status) -> crate::expectation::Verdict {
    let mut verdict = report::sample::all(status).scenarios[0].verdicts[0].clone();
    verdict.id = id.to_owned();
    (verdict.status, verdict.reason) = (status, None);
    verdict
}

/// Whether a run of this twin of `time-out` is made again, by the verdicts of its two expectations,
/// of which those that show nothing say why; and how it is weighed.
fn again(twin: Twin, status: Status, both: [Status; 2], why: &str) -> (bool, Standing) {
    let known = twins(&["time-out".to_owned()]).unwrap();
    let known = known.into_iter().find(|one| one.1 == twin).unwrap();
    let mut report = report::sample::all(status).scenarios.swap_remove(0);
    report.status = status;
    (report.trouble, report.doubts) = (None, Vec::new());
    let verdict = |(id, status)| {
        let mut verdict = judged_as(id, status);
        verdict.reason = (status == Status::Inconclusive).then(|| why.to_owned());
        verdict
    };
    let both = ["GIVES-UP", "FAST"].into_iter().zip(both);
    report.verdicts = both.map(verdict).collect();
    let report = Ok(report);
    let (_, weighed) = held(&case(known), &report);
    (is_repeated(&weighed, &report), weighed.standing)
}

const LATE: &str =
    "load `quote` missed its schedule: 14% of 100 operations began late or not at all";
const UNKNOWN: Status = Status::Inconclusive;

#[test]
fn only_a_run_that_shows_nothing_is_repeated_for_its_load() {
    let unclear = Standing::Unclear;
    for twin in [Twin::Good, Twin::Bad] {
        let of = |why| again(twin, UNKNOWN, [UNKNOWN; 2], why);
        assert_eq!(of(LATE), (true, unclear), "{twin:?}");
        assert_eq!(of("acted on 0 events"), (false, unclear), "{twin:?}");
    }
    let half = again(Twin::Bad, Status::Fail, [Status::Fail, UNKNOWN], LATE);
    assert_eq!(half, (true, unclear));
    let whole = again(Twin::Bad, Status::Fail, [Status::Fail; 2], LATE);
    assert_eq!(whole, (false, Standing::Right));
    let as_planted = again(Twin::Unmeasured, UNKNOWN, [UNKNOWN; 2], "acted on 0 events");
    assert_eq!(as_planted, (false, Standing::Right));
}

/// Whatever its load did: a run with a wrong verdict in it is not tried until it has none.
#[test]
fn a_wrong_verdict_beside_one_that_shows_nothing_stands() {
    let wrong = (false, Standing::Wrong);
    let (pass, fail) = (Status::Pass, Status::Fail);
    assert_eq!(again(Twin::Bad, UNKNOWN, [UNKNOWN, pass], LATE), wrong);
    assert_eq!(
        again(Twin::Unmeasured, UNKNOWN, [UNKNOWN, pass], LATE),
        wrong
    );
    assert_eq!(again(Twin::Unmeasured, fail, [UNKNOWN, fail], LATE), wrong);
    assert_eq!(again(Twin::Good, fail, [UNKNOWN, fail], LATE), wrong);
}

/// Of this there is one already: it is refused before anything is written, and left as it is.
#[test]
fn what_is_there_already_is_refused_and_left_alone() {
    let out = tempfile::tempdir().unwrap();
    let known = twins(&["herd".to_owned()]).unwrap();
    assert!(nothing_in_the_way(out.path(), &known, 3).is_ok());
    let own = out.path().join("herd-bad-3");
    fs::create_dir(&own).unwrap();
    assert!(nothing_in_the_way(out.path(), &known, 2).is_ok());
    let failure = nothing_in_the_way(out.path(), &known, 3).unwrap_err();
    assert!(
        failure.message().contains("herd-bad-3"),
        "{}",
        failure.message()
    );
    assert!(own.is_dir());
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
