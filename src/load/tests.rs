//! The driver against servers in memory, with the clock paused.
//!
//! What would prove the claim of an open loop: a server that freezes, and latencies that are
//! those of the schedule and not those of the requests that got through.

use super::{
    Base, GRACE, Schedule,
    driver::drive_over,
    exchange::exchange,
    pool::{Dial, Pool, Stream},
    request::{
        Rendered,
        tests::{load, request},
    },
};
use crate::{
    history::{Observation, Operation, Outcome, Recorder},
    scenario::{
        Again, Capture, Follow, Load, Outcomes, Rule, StatusSet, Template, ValueMatch, Var,
        parse_statuses,
    },
    seed::Seed,
    units::Micros,
};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
    time::{Instant, advance, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

type Reply = Response<Full<Bytes>>;

/// A dial whose other end is handed to `serve`, each time in a task of its own.
fn dial<F>(serve: impl Fn(DuplexStream) -> F + Send + Sync + 'static) -> Dial
where
    F: Future<Output = ()> + Send + 'static,
{
    Arc::new(move || {
        let (near, far) = duplex(64 * 1024);
        tokio::spawn(serve(far));
        async { Ok(Box::new(near) as Box<dyn Stream>) }.boxed()
    })
}

/// A server that answers each request so.
fn server<F>(answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static) -> Dial
where
    F: Future<Output = Reply> + Send + 'static,
{
    dial(move |stream| {
        let answer = answer.clone();
        async move {
            let service = service_fn(move |request| answer(request).map(Ok::<_, Infallible>));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = connection.await;
        }
    })
}

fn failing(kind: impl Fn() -> io::Error + Send + Sync + 'static) -> Dial {
    Arc::new(move || {
        let error = kind();
        async { Err(error) }.boxed()
    })
}

fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut reply = Response::builder().status(status);
    for (name, value) in headers {
        reply = reply.header(*name, *value);
    }
    reply.body(Full::from(body.to_owned())).unwrap()
}

fn server_that_answers(status: u16, headers: &'static [(&str, &str)], body: &'static str) -> Dial {
    server(move |_| async move { reply(status, headers, body) })
}

fn server_that_takes(time: Duration) -> Dial {
    server(move |_| async move {
        sleep(time).await;
        reply(200, &[], "")
    })
}

/// A run in progress.
struct Run {
    recorder: Recorder,
    events: mpsc::Receiver<Observation>,
    stop: CancellationToken,
    driver: super::Driver,
}

impl Run {
    fn start(dial: Dial, load: &Load) -> Self {
        let (recorder, events) = Recorder::channel(100_000);
        let base = Base::parse("http://system.test").unwrap();
        let stop = CancellationToken::new();
        let driver = drive_over(
            dial,
            vec![(load.clone(), Schedule::new(load, Seed(1), Micros(0)))],
            base,
            recorder.clone(),
            stop.clone(),
        );
        Self {
            recorder,
            events,
            stop,
            driver,
        }
    }

    async fn until(self, at: Duration) -> History {
        sleep_until(self.recorder.instant(at.into())).await;
        self.end().await
    }

    async fn end(mut self) -> History {
        self.stop.cancel();
        self.driver.join().await;
        let ended = self.recorder.now();
        self.events.close();
        let mut history = History {
            operations: Vec::new(),
            missed: Vec::new(),
            ended,
        };
        while let Some(observation) = self.events.recv().await {
            match observation {
                Observation::Operation(operation) => history.operations.push(operation),
                Observation::Missed {
                    at, count, late, ..
                } => {
                    history.missed.push((at, count, late));
                }
                other => panic!("{other:?}"),
            }
        }
        history.operations.sort_by_key(|operation| operation.nth);
        history
    }
}

struct History {
    operations: Vec<Operation>,
    missed: Vec<(Micros, u64, u64)>,
    ended: Micros,
}

impl History {
    fn latencies(&self) -> Vec<Duration> {
        let operations = self.operations.iter();
        operations.map(|op| op.ended.since(op.intended)).collect()
    }

    fn missed_count(&self) -> u64 {
        self.missed.iter().map(|(_, count, _)| count).sum()
    }

    fn only(&self) -> &Operation {
        assert_eq!(self.operations.len(), 1);
        &self.operations[0]
    }
}

/// The only operation of a load that begins one and is given time.
async fn one(dial: Dial, change: impl FnOnce(&mut Load)) -> Operation {
    let mut load = load("10/h");
    change(&mut load);
    let history = Run::start(dial, &load).until(Duration::from_secs(60)).await;
    assert_eq!(history.missed, []);
    history.only().clone()
}

/// The latency that a share of the operations does not exceed, by sorting.
fn quantile(mut latencies: Vec<Duration>, share: f64) -> Duration {
    latencies.sort();
    latencies[(latencies.len() as f64 * share).ceil() as usize - 1]
}

const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_freeze_shows_in_the_latency_of_all_who_should_have_been_served() {
    let began = Instant::now();
    let frozen_until = began + 6 * SECOND;
    let dial = server(move |_| async move {
        if Instant::now() >= began + 5 * SECOND {
            sleep_until(frozen_until).await;
        }
        reply(200, &[], "")
    });
    let history = Run::start(dial, &load("100/s")).until(10 * SECOND).await;
    let expected: Vec<Duration> = history
        .operations
        .iter()
        .map(|op| match op.intended {
            Micros(5_000_000..6_000_000) => Micros::from_secs(6).since(op.intended),
            _ => Duration::ZERO,
        })
        .collect();
    assert!(
        (1_000..=1_001).contains(&expected.len()),
        "{}",
        expected.len()
    );
    for share in [0.95, 0.99, 1.0] {
        let measured = quantile(history.latencies(), share).as_secs_f64();
        let expected = quantile(expected.clone(), share).as_secs_f64();
        assert!(
            (measured / expected - 1.0).abs() < 0.05,
            "{share}: {measured} for {expected}"
        );
    }
    assert!(quantile(history.latencies(), 0.5) <= 2 * MILLI);
    assert_eq!(history.missed, [], "slowness of the system is not ours");
}

#[tokio::test(start_paused = true)]
async fn operations_begin_at_their_times_whatever_the_answers_do() {
    let history = Run::start(server_that_takes(3 * SECOND), &load("50/s"))
        .until(4 * SECOND)
        .await;
    assert!(history.operations.len() >= 200);
    for (place, op) in history.operations.iter().enumerate() {
        assert_eq!(op.nth, place as u64 + 1);
        assert_eq!(op.intended.0, place as u64 * 20_000);
        assert!(op.began.since(op.intended) <= 2 * MILLI, "{op:?}");
        assert!(op.ended.since(op.began) >= 3 * SECOND);
        assert_eq!(op.outcome, Outcome::Ok);
    }
    assert_eq!(history.missed, []);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_bound_in_flight_operations_are_missed_and_counted() {
    let mut load = load("100/s");
    load.in_flight_max = 1;
    let run = Run::start(server_that_takes(100 * MILLI), &load);
    let history = run.until(3 * SECOND - 5 * MILLI).await;
    assert!((25..=30).contains(&history.operations.len()));
    assert_eq!(
        history.operations.len() as u64 + history.missed_count(),
        300
    );
    let times: Vec<Micros> = history.missed.iter().map(|(at, _, _)| *at).collect();
    assert!(times.len() >= 3, "{times:?}");
    let before_the_end = &times[..times.len() - 1];
    assert!(
        before_the_end
            .windows(2)
            .all(|two| two[1].since(two[0]) >= SECOND),
        "{times:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_generator_that_oversleeps_says_so() {
    let run = Run::start(server_that_answers(200, &[], ""), &load("100/s"));
    sleep(SECOND).await;
    advance(300 * MILLI).await;
    let history = run.until(2 * SECOND).await;
    // Those due in the first 250 of the 300 ms began more than 50 ms late.
    assert!(
        (24..=26).contains(&history.missed_count()),
        "{:?}",
        history.missed
    );
    let late = history.missed[0].2;
    assert!((280_000..=302_000).contains(&late), "{late}");
    assert!(
        history.operations.len() >= 200,
        "they were sent all the same"
    );
}

#[test]
fn a_slow_load_may_be_later_than_a_fast_one() {
    let late = |rate: &str| super::late_max(rate.parse().unwrap());
    assert_eq!(late("1000/s"), 50 * MILLI);
    assert_eq!(late("2/s"), 50 * MILLI);
    assert_eq!(late("6/min"), SECOND);
}

#[tokio::test(start_paused = true)]
async fn no_answer_in_time_is_indeterminate() {
    let op = one(server_that_takes(9 * SECOND), |_| {}).await;
    assert_eq!((op.outcome, op.status), (Outcome::Indeterminate, None));
    assert_eq!(op.why.as_deref(), Some("no answer within 5s"));
    let took = op.ended.since(op.began);
    assert!(
        (5 * SECOND..5 * SECOND + 2 * MILLI).contains(&took),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_ok_degraded_or_failed_by_the_rules() {
    let degraded = |load: &mut Load| {
        load.outcomes.degraded = Some(Rule {
            header: vec![("x-answered-from".to_owned(), "cache*".to_owned())],
            ..Rule::default()
        });
        load.outcomes.ok.json = vec![(
            "/state".to_owned(),
            ValueMatch {
                comparison: "=",
                value: Template("done".to_owned()),
            },
        )];
    };
    let from_cache: &[(&str, &str)] = &[("X-Answered-From", "cache-1")];
    for (dial, outcome, status, why) in [
        (
            server_that_answers(200, &[], r#"{"state":"done"}"#),
            Outcome::Ok,
            200,
            None,
        ),
        (
            server_that_answers(200, from_cache, ""),
            Outcome::Degraded,
            200,
            Some("a fallback answered, status 200"),
        ),
        (
            server_that_answers(503, &[], ""),
            Outcome::Failed,
            503,
            Some("status 503"),
        ),
        (
            server_that_answers(200, &[], r#"{"state":"new"}"#),
            Outcome::Failed,
            200,
            Some("status 200, but not the answer required"),
        ),
    ] {
        let op = one(dial, degraded).await;
        assert_eq!((op.outcome, op.status), (outcome, Some(status)));
        assert_eq!(op.why.as_deref(), why);
        assert_eq!(&*op.request, "GET /");
    }
}

#[tokio::test(start_paused = true)]
async fn what_breaks_on_the_wire_is_failed_in_plain_words() {
    let closing = dial(|mut stream| async move {
        let _ = stream.read(&mut [0; 4_096]).await;
    });
    let garbage = dial(|mut stream| async move {
        let _ = stream.read(&mut [0; 4_096]).await;
        let _ = stream.write_all(b"220 mail ready\r\n\r\n").await;
    });
    let broken_off = dial(|mut stream| async move {
        let _ = stream.read(&mut [0; 4_096]).await;
        let half = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
        let _ = stream.write_all(half).await;
    });
    let refused = failing(|| io::ErrorKind::ConnectionRefused.into());
    let reset = failing(|| io::ErrorKind::ConnectionReset.into());
    for (dial, status, why) in [
        (refused, None, "connection refused"),
        (reset, None, "connection reset"),
        (closing, None, "connection closed"),
        (garbage, None, "the answer is not HTTP: "),
        (
            broken_off,
            Some(200),
            "in the middle of the answer: connection closed",
        ),
    ] {
        let op = one(dial, |_| {}).await;
        assert_eq!((op.outcome, op.status), (Outcome::Failed, status), "{why}");
        let seen = op.why.unwrap();
        assert!(seen.starts_with(why), "{seen} for {why}");
    }
}

#[tokio::test(start_paused = true)]
async fn running_out_of_sockets_is_our_own_failure() {
    let errno = rustix::io::Errno::MFILE.raw_os_error();
    let dial = failing(move || io::Error::from_raw_os_error(errno));
    let history = Run::start(dial, &load("10/s")).until(SECOND - MILLI).await;
    assert_eq!(history.operations, []);
    assert_eq!(history.missed_count(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_built_fails_and_says_why() {
    let op = one(server_that_answers(200, &[], ""), |load| {
        load.request = request("GET", "nowhere", &[], None);
    })
    .await;
    assert_eq!(op.outcome, Outcome::Failed);
    assert_eq!(
        op.why.as_deref(),
        Some("the request cannot be sent: `nowhere` is no path")
    );
}

#[tokio::test(start_paused = true)]
async fn those_in_flight_get_their_grace_and_no_more() {
    let mut load = load("1/s");
    load.timeout = 60 * SECOND;
    let patient = Run::start(server_that_takes(4 * SECOND), &load);
    let history = patient.until(500 * MILLI).await;
    assert_eq!(history.only().outcome, Outcome::Ok);
    assert!(
        history.ended.since(Micros(0)) < 5 * SECOND,
        "it does not wait for longer"
    );

    let hopeless = Run::start(server_that_takes(30 * SECOND), &load);
    let history = hopeless.until(500 * MILLI).await;
    let op = history.only();
    assert_eq!(op.outcome, Outcome::Indeterminate);
    assert_eq!(op.why.as_deref(), Some("run ended"));
    assert!(op.cut, "its answer was not due yet");
    let grace = history.ended.since(Micros::from_millis(500));
    assert!((GRACE..GRACE + 5 * MILLI).contains(&grace), "{grace:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_driver_cuts_at_once() {
    let mut run = Run::start(server_that_takes(4 * SECOND), &load("1/s"));
    sleep(500 * MILLI).await;
    drop(run.driver);
    let Some(Observation::Operation(op)) = run.events.recv().await else {
        panic!("no operation");
    };
    assert_eq!(op.why.as_deref(), Some("run ended"));
    assert!(op.ended.since(Micros::from_millis(500)) <= 2 * MILLI);
    drop(run.recorder);
    assert_eq!(run.events.recv().await, None, "nothing goes on");
}

#[tokio::test(start_paused = true)]
async fn values_are_captured_from_request_and_answer() {
    let headers: &[(&str, &str)] = &[("Location", "/jobs/7")];
    let op = one(
        server_that_answers(202, headers, r#"{"job":{"id":7}}"#),
        |load| {
            load.vars = BTreeMap::from([("bot".to_owned(), Var::Sequence { of: 5 })]);
            load.request = request("GET", "/", &[("x-key", "{bot}")], None);
            load.capture = [
                ("bot", Capture::Var("bot".to_owned())),
                ("key", Capture::Header("x-key".to_owned())),
                ("id", Capture::Json("/job/id".to_owned())),
                ("at", Capture::ResponseHeader("location".to_owned())),
                ("none", Capture::Json("/nothing".to_owned())),
            ]
            .map(|(name, capture)| (name.to_owned(), capture))
            .into();
        },
    )
    .await;
    let captured: Vec<(&str, &str)> = op.captured.iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(
        captured,
        [("at", "/jobs/7"), ("bot", "1"), ("id", "7"), ("key", "1")]
    );
}

/// A server that takes half a second to take work in, and shows it this much later.
fn store_that_lags(lag: Duration) -> Dial {
    let stored: Arc<parking_lot::Mutex<Option<Instant>>> = Arc::default();
    server(
        move |request: Request<Incoming>| -> BoxFuture<'static, Reply> {
            let stored = Arc::clone(&stored);
            async move {
                if request.method() == "PUT" {
                    sleep(500 * MILLI).await;
                    *stored.lock() = Some(Instant::now());
                    return reply(201, &[], r#"{"id":"m/1","version":3}"#);
                }
                assert_eq!(request.uri(), "/models/m/1");
                let visible = stored.lock().is_some_and(|at| at.elapsed() >= lag);
                let version = if visible { 3 } else { 2 };
                reply(200, &[], &format!(r#"{{"version":{version}}}"#))
            }
            .boxed()
        },
    )
}

/// A server that refuses the first so many requests, and keeps the bodies of all.
fn refuses(count: usize) -> (Dial, Arc<parking_lot::Mutex<Vec<Bytes>>>) {
    let bodies = Arc::<parking_lot::Mutex<Vec<Bytes>>>::default();
    let seen = Arc::clone(&bodies);
    let dial = server(move |request| {
        let seen = Arc::clone(&seen);
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let mut seen = seen.lock();
            seen.push(body);
            let status = if seen.len() <= count { 503 } else { 202 };
            reply(status, &[], "")
        }
    });
    (dial, bodies)
}

fn asks_again(load: &mut Load) {
    load.request = request("POST", "/orders", &[], Some("{uuid}"));
    load.again = Some(Again {
        status: parse_statuses("503").unwrap(),
        every: SECOND,
        within: 3 * SECOND,
    });
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_asks_the_same_again_until_it_is_taken() {
    let (dial, bodies) = refuses(2);
    let op = one(dial, asks_again).await;
    assert_eq!(
        (op.outcome, op.status, op.refused, &op.why),
        (Outcome::Ok, Some(202), 2, &None)
    );
    let took = op.ended.since(op.intended);
    assert!((2 * SECOND..2_020 * MILLI).contains(&took), "{took:?}");
    let bodies = bodies.lock();
    assert!(bodies.len() == 3 && bodies.iter().all(|body| *body == bodies[0]));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_comes_too_late_to_ask_again_stands() {
    let op = one(refuses(100).0, asks_again).await;
    assert_eq!(
        (op.outcome, op.refused, op.why.as_deref()),
        (Outcome::Failed, 3, Some("status 503"))
    );
    let once = one(refuses(1).0, |load| {
        asks_again(load);
        load.again = None;
    });
    let once = once.await;
    assert_eq!((once.outcome, once.refused), (Outcome::Failed, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_refusal_is_not_asked_again() {
    let op = one(server_that_answers(500, &[], ""), asks_again).await;
    assert_eq!(
        (op.outcome, op.refused, op.why.as_deref()),
        (Outcome::Failed, 0, Some("status 500"))
    );
}

fn reads_back(load: &mut Load) {
    load.request = request("PUT", "/models", &[], Some("x"));
    load.capture = [("id", "/id"), ("version", "/version")]
        .map(|(name, pointer)| (name.to_owned(), Capture::Json(pointer.to_owned())))
        .into();
    load.follow = Some(Follow {
        request: request("GET", "/models/{id}", &[], None),
        until: Rule {
            json: vec![(
                "/version".to_owned(),
                ValueMatch {
                    comparison: ">=",
                    value: Template("{version}".to_owned()),
                },
            )],
            ..Rule::default()
        },
        every: 200 * MILLI,
        within: 2 * SECOND,
    });
}

#[tokio::test(start_paused = true)]
async fn an_operation_ends_when_what_was_written_can_be_read() {
    let op = one(store_that_lags(700 * MILLI), reads_back).await;
    assert_eq!(
        (op.outcome, op.status, &op.why),
        (Outcome::Ok, Some(201), &None)
    );
    let took = op.ended.since(op.intended);
    assert!((1_300 * MILLI..1_315 * MILLI).contains(&took), "{took:?}");
    let taken_in = op.accepted.expect("it was taken in").since(op.intended);
    assert!(
        (500 * MILLI..515 * MILLI).contains(&taken_in),
        "{taken_in:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_in_time_has_failed() {
    let op = one(store_that_lags(10 * SECOND), reads_back).await;
    assert_eq!(op.outcome, Outcome::Failed);
    assert_eq!(
        op.why.as_deref(),
        Some("not readable within 2s; last: status 200")
    );
    assert!(op.ended.since(op.intended) <= 2 * SECOND);
    assert!(op.accepted.is_some_and(|at| at < op.ended), "{op:?}");
}

#[tokio::test(start_paused = true)]
async fn what_we_had_no_socket_to_read_back_with_has_not_failed() {
    let close = [("connection", "close")];
    let store = server(move |_| async move { reply(201, &close, r#"{"id":"m/1","version":3}"#) });
    let dialled = AtomicU64::new(0);
    let dial: Dial = Arc::new(move || match dialled.fetch_add(1, Ordering::Relaxed) {
        0 => store(),
        _ => {
            let none = rustix::io::Errno::MFILE.raw_os_error();
            async move { Err(io::Error::from_raw_os_error(none)) }.boxed()
        }
    });
    let op = one(dial, reads_back).await;
    assert_eq!(
        (op.outcome, op.cut),
        (Outcome::Indeterminate, true),
        "{op:?}"
    );
    assert!(op.accepted.is_some(), "it was taken in: {op:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_taken_in_is_not_read_back() {
    let op = one(server_that_answers(500, &[], ""), reads_back).await;
    assert_eq!(op.why.as_deref(), Some("status 500"));
    assert!(op.ended.since(op.intended) <= 5 * MILLI);
    assert_eq!(op.accepted, None);
}

/// How many connections a server that counts them saw over 5 s at this rate.
async fn connections(rate: &str) -> u64 {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let answering = server_that_answers(200, &[], "hello");
    let dial: Dial = Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        answering()
    });
    let history = Run::start(dial, &load(rate))
        .until(5 * SECOND - MILLI)
        .await;
    assert!(
        history
            .operations
            .iter()
            .all(|op| op.outcome == Outcome::Ok)
    );
    count.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_used_again_unless_it_was_idle_for_long() {
    assert_eq!(connections("10/s").await, 1);
    assert_eq!(connections("30/min").await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_connection_closed_while_idle_costs_nobody_an_operation() {
    let dial = dial(|mut stream| async move {
        let _ = stream.read(&mut [0; 4_096]).await;
        let _ = stream.write_all(WHOLE).await;
    });
    let history = Run::start(dial, &load("20/s")).until(2 * SECOND).await;
    assert!(
        history
            .operations
            .iter()
            .all(|op| op.outcome == Outcome::Ok)
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_found_closed_before_anything_was_sent_is_replaced() {
    let (accepted, mut far_ends) = mpsc::unbounded_channel();
    let pool = Pool::new(Arc::new(move || {
        let (near, far) = duplex(64 * 1024);
        accepted.send(far).unwrap();
        async { Ok(Box::new(near) as Box<dyn Stream>) }.boxed()
    }));
    let base = Base::parse("http://system.test").unwrap();
    let planned = Schedule::new(&load("1/s"), Seed(1), Micros(0))
        .next()
        .unwrap();
    let template = request("GET", "/", &[], None);
    let request = Rendered::new(&template, &planned, &BTreeMap::new(), &base).unwrap();
    let mut serve = async || {
        let far = timeout(SECOND, far_ends.recv()).await;
        let mut far: DuplexStream = far.expect("a new connection").unwrap();
        assert!(far.read(&mut [0; 4_096]).await.unwrap() > 0);
        far.write_all(WHOLE).await.unwrap();
        far
    };
    let (first, far) = tokio::join!(exchange(&pool, &request), serve());
    pool.give_back(first.unwrap().sender.unwrap()).await;
    // The connection's own task has no turn before the pool is asked: it is taken for usable.
    drop(far);
    let (second, _far) = tokio::join!(exchange(&pool, &request), serve());
    assert_eq!(second.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn no_request_is_ever_sent_twice() {
    let count = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&count);
    let dial = dial(move |mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            // A request is one read here; every third is taken in and never answered.
            while stream
                .read(&mut [0; 4_096])
                .await
                .is_ok_and(|read| read > 0)
            {
                if seen.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
                    return;
                }
                let _ = stream.write_all(WHOLE).await;
            }
        }
    });
    let history = Run::start(dial, &load("20/s")).until(3 * SECOND).await;
    let sent = history.operations.len() as u64;
    assert_eq!(count.load(Ordering::Relaxed), sent);
    let failed = history
        .operations
        .iter()
        .filter(|op| op.outcome == Outcome::Failed);
    assert_eq!(failed.count() as u64, sent / 3);
}

#[tokio::test(start_paused = true)]
async fn rules_see_the_beginning_of_a_long_body_and_the_rest_is_read_too() {
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(100_000));
    let bodies = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&bodies);
    let answering = server(move |_| {
        let body = long.clone();
        async move { reply(200, &[], &body) }
    });
    let dial: Dial = Arc::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
        answering()
    });
    let mut load = load("10/s");
    load.outcomes = Outcomes {
        ok: Rule {
            status: StatusSet(vec![200..=200]),
            ..Rule::default()
        },
        ..Outcomes::default()
    };
    load.capture = [("a".to_owned(), Capture::Json("/a".to_owned()))].into();
    let history = Run::start(dial, &load).until(SECOND).await;
    assert!(
        history
            .operations
            .iter()
            .all(|op| op.outcome == Outcome::Ok)
    );
    assert!(
        history.operations.iter().all(|op| op.captured.is_empty()),
        "it was cut off"
    );
    assert_eq!(
        bodies.load(Ordering::Relaxed),
        1,
        "the connection was used again"
    );
}
