//! The load generator against a real server on the loopback, in real time.

use brownout::{
    history::{Observation, Operation, Outcome, Recorder},
    load::{Base, Schedule, drive},
    scenario::{Arrivals, Load, Outcomes, RequestTemplate, Template},
    seed::Seed,
    units::Micros,
};
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{collections::BTreeMap, convert::Infallible, ops::Range, time::Duration};
use tokio::{
    net::TcpListener,
    time::{sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// A load named `ask` of 100 operations a second.
fn hundred_a_second(in_flight_max: usize) -> Load {
    Load {
        name: "ask".into(),
        rate: "100/s".parse().unwrap(),
        arrivals: Arrivals::Constant,
        request: RequestTemplate {
            method: "POST".to_owned(),
            path: Template("/bots/{nth}/ask".to_owned()),
            headers: Vec::new(),
            body: Some(Template("hello".to_owned())),
        },
        vars: BTreeMap::new(),
        timeout: Duration::from_secs(5),
        outcomes: Outcomes::default(),
        again: None,
        follow: None,
        capture: BTreeMap::new(),
        in_flight_max,
        span: 0..0,
    }
}

/// A server that answers at once, except that it stands still while `frozen`.
async fn server(recorder: Recorder, frozen: Range<Micros>) -> Base {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (recorder, frozen) = (recorder.clone(), frozen.clone());
            tokio::spawn(async move {
                let service = service_fn(|_| async {
                    if frozen.contains(&recorder.now()) {
                        sleep_until(recorder.instant(frozen.end)).await;
                    }
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello"))))
                });
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Base::parse(&base).unwrap()
}

/// Operations and missed ones of a run of `seconds` against a server that freezes.
async fn run(load: Load, frozen: Range<Micros>, seconds: u64) -> (Vec<Operation>, u64) {
    let (recorder, mut events) = Recorder::channel(10_000);
    let base = server(recorder.clone(), frozen).await;
    let stop = CancellationToken::new();
    let schedule = Schedule::new(&load, Seed(1), recorder.now());
    let driver = drive(vec![(load, schedule)], base, recorder, stop.clone());
    sleep(Duration::from_secs(seconds)).await;
    stop.cancel();
    driver.join().await;
    events.close();
    let (mut operations, mut missed) = (Vec::new(), 0);
    while let Some(observation) = events.recv().await {
        match observation {
            Observation::Operation(operation) => operations.push(operation),
            Observation::Missed { count, .. } => missed += count,
            other => panic!("{other:?}"),
        }
    }
    (operations, missed)
}

fn p99(mut latencies: Vec<f64>) -> f64 {
    latencies.sort_by(f64::total_cmp);
    latencies[(latencies.len() as f64 * 0.99).ceil() as usize - 1]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_of_standstill_in_ten_shows_in_p99_as_the_schedule_says() {
    let frozen = Micros::from_secs(5)..Micros::from_secs(6);
    let (operations, _) = run(hundred_a_second(10_000), frozen.clone(), 10).await;
    assert!(operations.len() >= 990, "{}", operations.len());
    assert!(operations.iter().all(|op| op.outcome == Outcome::Ok));
    let waits = operations.iter().map(|op| {
        if frozen.contains(&op.intended) {
            frozen.end.since(op.intended).as_secs_f64()
        } else {
            0.0
        }
    });
    let expected = p99(waits.collect());
    let measured = p99(operations
        .iter()
        .map(|op| op.ended.since(op.intended).as_secs_f64())
        .collect());
    assert!(expected > 0.85, "{expected}");
    assert!(
        (measured / expected - 1.0).abs() < 0.05,
        "{measured} s for {expected} s"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_starved_generator_is_told_from_a_slow_system() {
    let frozen = Micros::from_millis(500)..Micros::from_millis(1_500);
    let (operations, missed) = run(hundred_a_second(1), frozen, 2).await;
    // Nearly all of the hundred that were due in the standstill found no room.
    assert!(missed >= 90, "{missed}");
    assert!(operations.iter().all(|op| op.outcome == Outcome::Ok));
}
