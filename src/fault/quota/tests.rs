use super::*;
use crate::fault::{Active, Closing, FaultId, FaultSet, Gate, Reply, sample};
use crate::protocol::{CallTracker, http};
use crate::seed::Seed;
use Protocol::{Http, S3, Tcp};
use std::time::Duration;

fn quota(keys: &str) -> String {
    format!("kind = 'quota'\non = 'x'\n{keys}")
}

fn set(keys: &str, protocol: Protocol) -> FaultSet {
    sample::set(&quota(keys), protocol)
}

/// The quota as it comes into force on this dependency, out of this memory.
fn armed(keys: &str, memory: &mut Memory, dependency: &str, at: Micros) -> FaultSet {
    let (_, behaviour) = sample::read(&quota(keys), Http).expect("a valid quota");
    let behaviour = behaviour
        .armed(memory, dependency, at)
        .expect("a quota remembers");
    FaultSet::new(vec![Arc::new(Active::new(
        FaultId(0),
        Gate::default(),
        behaviour,
        Seed(7),
        &["quota"],
        at,
        Duration::from_secs(10),
        By::Request,
    ))])
}

fn statuses(set: &FaultSet, method: &str, count: usize, now: Micros) -> Vec<u16> {
    let calls = sample::calls(Http, method, "/a", count);
    calls
        .iter()
        .map(|call| match set.request(call, now).end {
            None => 200,
            Some(End::Reply(Reply::Http { status, .. })) => status,
            Some(other) => panic!("{other:?}"),
        })
        .collect()
}

fn notes(set: &FaultSet) -> Vec<String> {
    let notes = set.faults()[0].behaviour.notes();
    notes.into_iter().map(|(_, note)| note).collect()
}

#[test]
fn what_is_left_passes_and_the_rest_is_refused() {
    let set = set(
        "counts = 'requests'\nlimit = 100\nused = 97\nwindow = '10s'\nrefusal = '429'",
        Http,
    );
    let now = Micros::from_secs(4);
    assert_eq!(statuses(&set, "GET", 5, now), [200, 200, 200, 429, 429]);
    assert_eq!(set.faults()[0].hits(), 2);
    let call = sample::call(Http, "GET", "/");
    let Some(End::Reply(Reply::Http { headers, .. })) = set.request(&call, now).end else {
        panic!("no reply");
    };
    assert!(
        headers.contains(&("Retry-After".to_owned(), "6".to_owned())),
        "{headers:?}"
    );
    assert_eq!(statuses(&set, "GET", 1, Micros::from_secs(10)), [200]);
}

#[test]
fn messages_are_what_hands_something_over() {
    let keys = "counts = 'messages'\nlimit = 2\ntotal = true\nrefusal = 'pusher-403'";
    let set = set(keys, Http);
    assert_eq!(statuses(&set, "GET", 3, Micros(0)), [200; 3]);
    assert_eq!(statuses(&set, "POST", 3, Micros(0)), [200, 200, 403]);
}

#[test]
fn bytes_count_once_a_request_is_over() {
    let keys = "counts = 'bytes'\nlimit = '1KiB'\ntotal = true\nrefusal = '402'";
    let set = set(keys, Http);
    assert!(set.counts());
    let call = sample::call(Http, "PUT", "/a");
    for (bytes, status) in [(1_000, 200), (5_000, 200), (1, 402)] {
        assert_eq!(statuses(&set, "PUT", 1, Micros(0)), [status]);
        set.ended(&call, &[], bytes, Micros(0));
    }
    set.ended(&call, &[FaultId(0)], 1, Micros(0));
}

#[test]
fn accounts_are_kept_apart_as_the_file_says() {
    let ask = |per: &str| -> Vec<bool> {
        let keys = "counts = 'requests'\nlimit = 1\ntotal = true\nrefusal = '429'";
        let set = set(&format!("{keys}\nper = '{per}'"), Http);
        let mut tracker = CallTracker::default();
        let requests = [("a", "/1"), ("a", "/2"), ("b", "/1"), ("b", "/1")];
        requests
            .iter()
            .enumerate()
            .map(|(n, (tenant, path))| {
                let headers = [("X-Tenant", *tenant)];
                let number = n as u64 / 2;
                let call = http::identify(Http, None, "GET", path, headers, number, &mut tracker);
                set.request(&call, Micros(0)).is_pass()
            })
            .collect()
    };
    assert_eq!(ask("all"), [true, false, false, false]);
    assert_eq!(ask("header:X-Tenant"), [true, false, true, false]);
    assert_eq!(ask("key"), [true, true, false, false]);
    assert_eq!(ask("connection"), [true, false, true, false]);
}

#[test]
fn a_named_quota_is_shared_and_remembered_and_another_begins_anew() {
    let keys = "counts = 'requests'\nlimit = 3\ntotal = true\nrefusal = '429'\nname = 'plan'";
    let mut memory = Memory::default();
    let one = armed(keys, &mut memory, "one", Micros(0));
    let other = armed(keys, &mut memory, "other", Micros(0));
    assert_eq!(statuses(&one, "GET", 2, Micros(0)), [200, 200]);
    assert_eq!(statuses(&other, "GET", 2, Micros(0)), [200, 429]);
    let raised = keys.replace("limit = 3", "limit = 4");
    let later = armed(&raised, &mut memory, "one", Micros::from_secs(9));
    assert_eq!(statuses(&later, "GET", 2, Micros::from_secs(9)), [200, 429]);
    let unnamed = keys.replace("name = 'plan'", "");
    for _ in 0..2 {
        let set = armed(&unnamed, &mut memory, "one", Micros(0));
        assert_eq!(statuses(&set, "GET", 4, Micros(0)), [200, 200, 200, 429]);
    }
    let mut memory = Memory::default();
    let again = armed(keys, &mut memory, "one", Micros(0));
    assert_eq!(statuses(&again, "GET", 1, Micros(0)), [200], "another run");
}

#[test]
fn the_warning_is_noted_once_sent_or_withheld() {
    let keys = "counts = 'requests'\nlimit = 10\ntotal = true\nrefusal = '429'\nwarn = '80%'";
    let set = armed(keys, &mut Memory::default(), "x", Micros(0));
    statuses(&set, "GET", 7, Micros(0));
    assert!(notes(&set).is_empty());
    statuses(&set, "GET", 9, Micros(0));
    assert_eq!(notes(&set), ["80% of the quota used: warning sent"]);
    assert!(notes(&set).is_empty());
    let keys = format!("{keys}\nwarnings = 'withheld'\nname = 'plan'\nused = 9");
    let set = armed(&keys, &mut Memory::default(), "x", Micros(0));
    statuses(&set, "GET", 1, Micros(0));
    assert_eq!(
        notes(&set),
        ["80% of the quota `plan` used: warning withheld"]
    );
}

#[test]
fn connections_beyond_the_limit_are_refused_and_those_open_kept_or_cut() {
    let keys = "counts = 'connections'\nlimit = 2\nrefusal = 'reset'";
    let decide = |set: &FaultSet, connection, open, already_open| {
        let event = ConnectionEvent {
            connection,
            open,
            already_open,
        };
        set.connection(&event, Micros(0)).end
    };
    let reset = Some(End::Close(Closing::Reset));
    for protocol in [Tcp, Http, S3] {
        // A limit that drops below what is in use: three are open.
        let kept = set(keys, protocol);
        for connection in 1..=3 {
            assert_eq!(decide(&kept, connection, 3, true), None);
        }
        assert_eq!(decide(&kept, 4, 4, false), reset);
        kept.closed(4);
        kept.closed(1);
        assert_eq!(decide(&kept, 5, 3, false), reset, "two are still open");
        kept.closed(5);
        kept.closed(2);
        assert_eq!(decide(&kept, 6, 2, false), None);
        let cut = set(&format!("{keys}\nexisting = 'cut'"), protocol);
        let ends: Vec<_> = (1..=3).map(|n| decide(&cut, n, 3, true)).collect();
        assert_eq!(ends, [None, None, reset.clone()]);
    }
    let taken = set(&format!("{keys}\nused = 2"), Tcp);
    assert_eq!(decide(&taken, 1, 1, false), reset);
}

#[test]
fn on_pusher_websockets_count_and_requests_of_its_http_api_do_not() {
    let end = |keys: &str, rank, already_open| {
        let mut call = sample::call(Protocol::Pusher, "GET", "/app/k");
        call.place = Some(crate::protocol::Place { rank, already_open });
        let keys = format!("counts = 'connections'\nlimit = 2\nrefusal = '4004'\n{keys}");
        set(&keys, Protocol::Pusher).request(&call, Micros(0)).end
    };
    let code = |end: Option<End>| match end {
        Some(End::Reply(Reply::Pusher { code, .. })) => Some(code),
        None => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(end("", 2, false)), None);
    assert_eq!(code(end("", 3, false)), Some(4004));
    assert_eq!(code(end("used = 1", 2, false)), Some(4004));
    assert_eq!(code(end("", 3, true)), None, "what is open stays");
    let cut = "existing = 'cut'";
    assert_eq!(code(end(cut, 3, true)), Some(4004));
    assert_eq!(code(end(cut, 2, true)), None, "the oldest stay");
    let none = "counts = 'connections'\nlimit = 0\nrefusal = '4004'";
    let set = set(none, Protocol::Pusher);
    let publish = sample::call(Protocol::Pusher, "POST", "/apps/1/events");
    assert!(set.request(&publish, Micros(0)).is_pass());
    assert!(set.connection(&sample::accepted(1), Micros(0)).is_pass());
    let named = quota(&format!("{none}\nname = 'plan'"));
    assert!(sample::read(&named, Protocol::Pusher).is_err());
}

#[test]
fn a_dependency_that_a_quota_no_longer_covers_does_not_use_it() {
    let keys = "counts = 'connections'\nlimit = 2\nrefusal = 'reset'\nname = 'plan'";
    let mut memory = Memory::default();
    let comes = |set: &FaultSet, connection, open| {
        let event = ConnectionEvent {
            open,
            ..sample::accepted(connection)
        };
        set.connection(&event, Micros(0)).is_pass()
    };
    let one = armed(keys, &mut memory, "one", Micros(0));
    let other = armed(keys, &mut memory, "other", Micros(0));
    assert!(comes(&one, 1, 1) && comes(&one, 2, 2));
    assert!(!comes(&other, 1, 1), "both are taken");
    let later = armed(keys, &mut memory, "other", Micros::from_secs(9));
    assert!(comes(&later, 2, 1));
}

#[test]
fn a_connection_that_is_refused_in_words_is_closed_after_them() {
    let keys = "counts = 'connections'\nlimit = 0\nrefusal = '429'";
    let set = set(keys, Http);
    let Some(End::Reply(Reply::Http { status, close, .. })) =
        set.connection(&sample::accepted(1), Micros(0)).end
    else {
        panic!("no reply");
    };
    assert_eq!((status, close), (429, true));
}

#[test]
fn what_makes_no_quota_is_a_problem_with_a_hint() {
    let good = "counts = 'requests'\nlimit = 9\nwindow = '1m'\nrefusal = '429'";
    assert!(sample::read(&quota(good), Http).is_ok());
    for (from, to, said) in [
        (
            "refusal = '429'",
            "",
            "has no `refusal` (say what goes beyond the limit gets: refusal = \"429\"",
        ),
        (
            "refusal = '429'",
            "refusal = 'stripe429'",
            "did you mean `stripe-429`?",
        ),
        ("refusal = '429'", "refusal = '999'", "from 200 to 599"),
        ("counts = 'requests'", "", "`counts`"),
        (
            "counts = 'requests'",
            "counts = 'request'",
            "did you mean `requests`?",
        ),
        ("limit = 9", "", "has no `limit`"),
        (
            "limit = 9",
            "limit = '9MB'",
            "a whole number from 0 (limit = 100)",
        ),
        ("limit = 9", "limit = -1", "a whole number from 0"),
        (
            "window = '1m'",
            "",
            "does not say what is given back (write window",
        ),
        (
            "window = '1m'",
            "window = '1m'\ntotal = true",
            "2 times: window, total",
        ),
        ("window = '1m'", "window = '0s'", "above zero"),
        ("window = '1m'", "total = false", "`total = false`"),
        (
            "window = '1m'",
            "rate = '9/s'",
            "the limit of a token bucket is its depth",
        ),
        ("limit = 9", "limit = 9\nburst = 9", "belongs to a `rate`"),
        (
            "limit = 9",
            "limit = 9\nper = 'tenant'",
            "unknown per `tenant` (one of: all",
        ),
        (
            "limit = 9",
            "limit = 9\nexisting = 'cut'",
            "which are not counted",
        ),
        (
            "limit = 9",
            "limit = 9\nwarnings = 'sent'",
            "`warnings` without `warn`",
        ),
        (
            "counts = 'requests'",
            "counts = 'connections'",
            "count while they are open",
        ),
        (
            "counts = 'requests'",
            "counts = 'bytes'",
            "must be a size (limit = \"10MB\")",
        ),
    ] {
        let problems = sample::read(&quota(&good.replace(from, to)), Http).unwrap_err();
        assert!(problems[0].contains(said), "{to}: {problems:?}");
    }
    let problems = sample::read(&quota(good), Tcp).unwrap_err();
    assert!(
        problems[0].contains("no single requests to count"),
        "{problems:?}"
    );
    let bare = "counts = 'connections'\nlimit = 9";
    let problems = sample::read(&quota(bare), Tcp).unwrap_err();
    assert!(
        problems[0].contains("\"close\" or \"reset\""),
        "{problems:?}"
    );
    let keys = format!("{bare}\nrefusal = 'reset'\nwhen = {{ method = 'GET' }}");
    let problems = sample::read(&quota(&keys), Http).unwrap_err();
    assert!(
        problems[0].contains("before any request is seen"),
        "{problems:?}"
    );
}

#[test]
fn what_names_have_used_is_not_remembered_without_bound() {
    let keys = |name: &str| {
        format!("counts = 'requests'\nlimit = 1\ntotal = true\nname = '{name}'\nrefusal = '429'")
    };
    let mut memory = Memory::default();
    let kept = armed(&keys("kept"), &mut memory, "a", Micros(0));
    assert_eq!(statuses(&kept, "GET", 2, Micros(0)), [200, 429]);
    let used = |memory: &mut Memory, name: &str| {
        let set = armed(&keys(name), memory, "a", Micros(0));
        statuses(&set, "GET", 1, Micros(0))
    };
    assert_eq!(used(&mut memory, "first"), [200]);
    assert_eq!(used(&mut memory, "second"), [200]);
    for nth in 0..REMEMBERED_MAX - 2 {
        assert_eq!(used(&mut memory, &format!("name {nth}")), [200]);
    }
    assert_eq!(used(&mut memory, "first"), [429], "as many are remembered");
    // One more, and the one that was used longest ago is forgotten; what is in force never is.
    assert_eq!(used(&mut memory, "one more"), [200]);
    assert_eq!(used(&mut memory, "first"), [429]);
    assert_eq!(used(&mut memory, "kept"), [429]);
    assert_eq!(used(&mut memory, "second"), [200]);
    assert_eq!(memory.meters.len(), REMEMBERED_MAX + 1);
    memory.forget_beyond(REMEMBERED_MAX, 0);
    // An account each, but for what is in force.
    assert_eq!(memory.meters.len(), 1);

    let long = keys(&"x".repeat(NAME_MAX + 1));
    assert!(sample::read(&quota(&long), Http).is_err());
    assert!(sample::read(&quota(&keys(&"x".repeat(NAME_MAX))), Http).is_ok());
}
