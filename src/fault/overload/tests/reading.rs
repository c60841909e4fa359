//! What files say, and what they may not.

use super::*;
use crate::fault::{Closing, FaultSet, Reply};
use crate::protocol::{CallTracker, Recognised};
use Protocol::{Http, S3, Tcp};

fn overload(keys: &str) -> String {
    format!("kind = 'overload'\non = 'x'\n{keys}")
}

fn set(keys: &str, protocol: Protocol) -> FaultSet {
    sample::set(&overload(keys), protocol)
}

fn capacity(keys: &str) -> Capacity {
    let set = set(keys, S3);
    let (_, capacity) = set.capacity().expect("an overload");
    Capacity::clone(capacity)
}

const LEAST: &str = "servers = 4\nservice = '10ms'";

#[test]
fn every_key_is_read() {
    assert_eq!(capacity(LEAST), plain(4, Law::Constant(ms(10))));
    let keys = "servers = 1\nservice = { log_normal = { median = '8ms', sigma = 0.5 } }\n\
                contention = 0.027\ncoherency = 7.7e-4\nqueue = 500\norder = 'lifo'\n\
                deadline = '1s'\nother_load = '800/s'\nscale = 2\ncancel = true";
    let expected = Capacity {
        servers: 1,
        service: Law::LogNormal(ms(8), 0.5),
        scale: 2.0,
        contention: 0.027,
        coherency: 7.7e-4,
        bound: Bound::Requests(500),
        order: Order::Lifo,
        deadline: Some(ms(1000)),
        cancel: true,
        other_load: Rate::per_second(800.0),
    };
    assert_eq!(capacity(keys), expected);
    let bound = |queue: &str| capacity(&format!("{LEAST}\nqueue = {queue}")).bound;
    assert_eq!(bound("'500ms'"), Bound::Work(ms(500)));
    assert_eq!(bound("'unbounded'"), Bound::Unbounded);
    assert_eq!(bound("0"), Bound::Requests(0));
}

#[test]
fn each_request_is_a_turn_whose_work_belongs_to_it_alone() {
    let keys = "servers = 4\nservice = { exponential = '10ms' }\nwhen = { method = 'GET' }";
    let calls = sample::calls(Http, "GET", "/", 20);
    let works = |calls: &mut dyn Iterator<Item = &Call>| -> Vec<Duration> {
        let set = set(keys, Http);
        calls
            .map(|call| set.request(call, Micros(0)).turn.unwrap().work)
            .collect()
    };
    let forward = works(&mut calls.iter());
    let mut backward = works(&mut calls.iter().rev());
    backward.reverse();
    assert_eq!(forward, backward);
    assert_ne!(forward[0], forward[1]);
    let put = sample::call(Http, "PUT", "/");
    assert!(set(keys, Http).request(&put, Micros(0)).is_pass());
}

#[test]
fn a_turn_is_no_hit_until_it_has_waited() {
    let set = set(LEAST, S3);
    let decision = set.request(&sample::call(S3, "GET", "/a/b"), Micros(0));
    assert!(decision.acted.is_empty() && !decision.is_pass());
    assert_eq!(set.faults()[0].hits(), 0);
    decision.turn.unwrap().hit.count();
    assert_eq!(set.faults()[0].hits(), 1);
}

#[test]
fn a_dependency_refuses_in_its_own_words_or_in_the_authors() {
    let refusal = |keys: &str, protocol| {
        let set = set(&format!("{LEAST}\n{keys}"), protocol);
        let decision = set.request(&sample::call(protocol, "GET", "/a/b"), Micros(0));
        decision.turn.unwrap().refusal
    };
    let code = |end: End| match end {
        End::Reply(Reply::S3 { code, .. }) => code,
        other => panic!("{other:?}"),
    };
    let status = |end: End| match end {
        End::Reply(Reply::Http {
            status, headers, ..
        }) => (status, headers.len()),
        other => panic!("{other:?}"),
    };
    assert_eq!(code(refusal("", S3)), "SlowDown");
    assert_eq!(
        code(refusal("refusal = 'ServiceUnavailable'", S3)),
        "ServiceUnavailable"
    );
    assert_eq!(status(refusal("", Http)), (503, 0));
    assert_eq!(status(refusal("refusal = '429'", Http)), (429, 0));
    assert_eq!(status(refusal("refusal = 'nginx-503'", Http)).0, 503);
    let table = "refusal = { status = 429, retry_after = '2s' }";
    assert_eq!(status(refusal(table, Http)), (429, 1));
    assert_eq!(
        refusal("refusal = 'reset'", Http),
        End::Close(Closing::Reset)
    );
    assert_eq!(refusal("refusal = 'close'", S3), End::Close(Closing::Fin));
}

#[test]
fn who_connects_is_refused_as_a_connection_is() {
    let call = |operation: &str| {
        let recognised = Recognised {
            operation: operation.into(),
            ..Recognised::default()
        };
        Call::statement(recognised, 1, &mut CallTracker::default())
    };
    let code = |keys: &str, operation: &str| {
        let set = set(&format!("{LEAST}\n{keys}"), Protocol::Postgres);
        let decision = set.request(&call(operation), Micros(0));
        match decision.turn.unwrap().refusal {
            End::Reply(Reply::Postgres(error)) => error.code.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let mysql = set(LEAST, Protocol::Mysql);
    for (operation, number) in [("SELECT", 1969), (CONNECT, 1040)] {
        let decision = mysql.request(&call(operation), Micros(0));
        let End::Reply(Reply::Mysql { errno, .. }) = decision.turn.unwrap().refusal else {
            panic!("no error of MySQL");
        };
        assert_eq!(errno, number, "{operation}");
    }
    for (keys, statement, connection) in [
        ("", "57014", "53300"),
        // What only a statement can meet is not said to a connection, whoever asks for it.
        ("refusal = '57014'", "57014", "53300"),
        ("refusal = '57P03'", "57P03", "57P03"),
    ] {
        assert_eq!(code(keys, "SELECT"), statement, "{keys}");
        assert_eq!(code(keys, CONNECT), connection, "{keys}");
    }
}

/// A new protocol says here how it refuses, or its files must.
#[test]
fn every_protocol_with_messages_can_be_overloaded() {
    for def in crate::protocol::PROTOCOLS
        .iter()
        .filter(|def| def.has_messages)
    {
        let keys = format!("{LEAST}\nconnections = 1");
        let read = sample::read(&overload(&keys), def.protocol);
        assert!(read.is_ok(), "{}: {:?}", def.name, read.err());
        let keys = format!("{keys}\nrefusal = 'reset'");
        assert!(
            sample::read(&overload(&keys), def.protocol).is_ok(),
            "{}",
            def.name
        );
    }
    let refused = set(&format!("{LEAST}\nconnections = 1"), Protocol::Redis);
    let event = ConnectionEvent {
        open: 2,
        ..sample::accepted(2)
    };
    let Some(End::Reply(Reply::Redis { name, close, .. })) =
        refused.connection(&event, Micros(0)).end
    else {
        panic!("no reply");
    };
    assert_eq!((&*name, close), ("max-clients", true));
}

#[test]
fn connections_beyond_the_limit_are_refused_and_those_open_already_stay() {
    let set = set(&format!("{LEAST}\nconnections = 2"), Http);
    let decide = |open, already_open| {
        let event = ConnectionEvent {
            open,
            already_open,
            ..sample::accepted(open)
        };
        set.connection(&event, Micros(0)).end
    };
    assert_eq!(decide(2, false), None);
    assert_eq!(decide(9, true), None);
    let Some(End::Reply(Reply::Http { status, close, .. })) = decide(3, false) else {
        panic!("no reply");
    };
    assert_eq!((status, close), (503, true));
    assert_eq!(set.faults()[0].hits(), 1);
}

#[test]
fn what_makes_no_capacity_is_a_problem_with_a_hint() {
    for (keys, said) in [
        (
            "servers = 0\nservice = '1s'",
            "a capacity of zero (the least is 1",
        ),
        ("servers = 1\nservice = '0s'", "takes no time"),
        ("servers = 1\nservice = { delay = '0s' }", "takes no time"),
        ("servers = 1\nservice = 10", "must be a duration, like"),
        ("servers = 1\nservice = { }", "has no delay"),
        (
            "servers = 1\nservice = { uniform = ['2s', '1s'] }",
            "backwards",
        ),
        (
            "servers = 1\nservice = { exponental = '1s' }",
            "did you mean `exponential`?",
        ),
        (
            "servers = 1\nservice = '1s'\nscale = 0",
            "a capacity of zero (write a small",
        ),
        (
            "servers = 1\nservice = '1s'\nscale = -1.0",
            "from 0 to 1000",
        ),
        (
            "servers = 1\nservice = '1s'\nqueue = 'endless'",
            "queue = 500",
        ),
        ("servers = 1\nservice = '1s'\nqueue = -1", "queue = 500"),
        (
            "servers = 1\nservice = '1s'\nqueue = 2000000",
            "up to 1000000",
        ),
        (
            "servers = 1\nservice = '1s'\nqueue = 0\norder = 'lifo'",
            "nobody waits",
        ),
        (
            "servers = 1\nservice = '1s'\nqueue = 0\ndeadline = '1s'",
            "nobody waits",
        ),
        ("servers = 1\nservice = '1s'\ndeadline = '0s'", "above zero"),
        (
            "servers = 1\nservice = '1s'\nother_load = '200000/s'",
            "at most 100000/s",
        ),
        ("servers = 1\nservice = '1s'\nconnections = 0", "from 1 to"),
        (
            "servers = 1\nservice = '1s'\ncontention = 1.5",
            "from 0 to 1",
        ),
        (
            "servers = 1\nservice = '1s'\nrefusal = 'SlowDwn'",
            "did you mean `SlowDown`?",
        ),
        (
            "servers = 1\nservice = '1s'\nrefusal = { error = 'SlowDown', applied = 'yes' }",
            "never applied",
        ),
        (
            "servers = 1\nservice = '1s'\nrefusal = { erorr = 'SlowDown' }",
            "did you mean `error`?",
        ),
    ] {
        let problems = sample::read(&overload(keys), S3).unwrap_err();
        assert!(problems[0].contains(said), "{keys}: {problems:?}");
    }
    let problems = sample::read(&overload("service = '1s'"), S3).unwrap_err();
    assert!(
        problems.iter().all(|problem| !problem.contains("capacity")),
        "{problems:?}"
    );
    let problems = sample::read(&overload(LEAST), Tcp).unwrap_err();
    assert!(
        problems[0].contains("cannot act on the protocol tcp"),
        "{problems:?}"
    );
    let problems = sample::read(&overload(&format!("{LEAST}\nrefusal = '999'")), Http).unwrap_err();
    assert!(problems[0].contains("from 200 to 599"), "{problems:?}");
}
