//! What would prove that a team finds its dependencies in its own traces: a receiver of ours is sent
//! what a proxy saw, below the span of who asked; and a receiver that is slow or gone costs spans and no
//! time.

use super::{Settings, Traces};
use crate::{
    history::{Attempt, AttemptEnd, Recorder, sample::attempt},
    protocol::{Protocol, TraceParent},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Receives requests, and answers each with a status; what it was sent, head and body.
fn receiver(status: &'static str) -> (SocketAddr, mpsc::Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let (told, requests) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = Vec::new();
            let mut chunk = [0; 4096];
            let (head, length) = loop {
                let read = stream.read(&mut chunk).expect("a request");
                bytes.extend_from_slice(&chunk[..read]);
                let text = String::from_utf8_lossy(&bytes);
                if let Some((head, _)) = text.split_once("\r\n\r\n") {
                    let length = head
                        .lines()
                        .find_map(|line| line.strip_prefix("content-length: "));
                    break (
                        head.to_owned(),
                        length.expect("a length").parse().expect("a number"),
                    );
                }
            };
            let mut body = bytes.split_off(head.len() + 4);
            while body.len() < length {
                let read = stream.read(&mut chunk).expect("its body");
                body.extend_from_slice(&chunk[..read]);
            }
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}");
            let _ = told.send((head, serde_json::from_slice(&body).expect("JSON")));
        }
    });
    (address, requests)
}

fn settings(address: SocketAddr) -> Settings {
    Settings {
        endpoint: format!("http://{address}/v1/traces"),
        headers: vec![("api-key".to_owned(), "k".to_owned())],
        timeout: Duration::from_secs(5),
        resource: vec![("service.name".to_owned(), "rehearsal".to_owned())],
    }
}

/// The spans of a request.
fn spans(body: &Value) -> Vec<Value> {
    let scope = &body["resourceSpans"][0]["scopeSpans"][0];
    scope["spans"].as_array().expect("spans").clone()
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    let all = of["attributes"].as_array().expect("attributes").iter();
    all.map(|one| {
        let value = &one["value"];
        let value = value["stringValue"].as_str().or(value["intValue"].as_str());
        (
            one["key"].as_str().expect("a key").to_owned(),
            value.expect("a value").to_owned(),
        )
    })
    .collect()
}

fn traced(trace: &str) -> Attempt {
    let mut one = attempt("stock", 10, 25).status(503).done();
    one.trace = TraceParent::parse(trace);
    one.operation = "GET".into();
    one.key = "/items".into();
    one.faults.push(crate::fault::FaultId(3));
    one
}

#[tokio::test]
async fn an_attempt_is_a_span_below_that_of_who_asked_with_the_fault_that_acted() {
    let (address, requests) = receiver("200 OK");
    let (traces, listener) = Traces::start(settings(address)).expect("it starts");
    let (recorder, _queue) = Recorder::channel(10);
    recorder.speaks(&"stock".into(), Protocol::Http);
    recorder.names(crate::fault::FaultId(3), "error on stock, status 503");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    listener(&recorder, &traced(parent));
    listener(&recorder, &traced(&parent.replace("-01", "-00")));
    let mut other = traced("");
    other.end = AttemptEnd::GaveUp;
    (other.status, other.attempt) = (None, 2);
    listener(&recorder, &other);
    let sent = tokio::task::spawn_blocking(|| traces.end()).await.unwrap();
    assert_eq!((sent.sent, sent.lost, sent.why), (2, 0, None));

    let (head, body) = requests.recv().expect("a request");
    assert!(
        head.starts_with("POST /v1/traces HTTP/1.1") && head.contains("api-key: k"),
        "{head}"
    );
    let resource = attributes(&body["resourceSpans"][0]["resource"]);
    assert_eq!(resource["service.name"], "rehearsal");
    let spans = spans(&body);
    assert_eq!(spans.len(), 2, "one was not to be recorded");
    let [span, alone] = &spans[..] else {
        unreachable!()
    };
    assert_eq!(span["traceId"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(span["parentSpanId"], "b7ad6b7169203331");
    assert_eq!(
        (&span["name"], &span["kind"]),
        (&"GET stock".into(), &2.into())
    );
    let nanos = |key: &str| {
        span[key]
            .as_str()
            .expect("a text")
            .parse::<u128>()
            .expect("a number")
    };
    assert_eq!(
        nanos("endTimeUnixNano") - nanos("startTimeUnixNano"),
        15_000_000
    );
    let said = attributes(span);
    for (key, value) in [
        ("http.request.method", "GET"),
        ("url.path", "/items"),
        ("http.response.status_code", "503"),
        ("error.type", "503"),
        ("brownout.dependency", "stock"),
        ("brownout.applied", "no"),
    ] {
        assert_eq!(said[key], value, "{key}");
    }
    let event = &span["events"][0];
    assert_eq!(event["name"], "brownout.fault");
    assert_eq!(
        attributes(event)["brownout.fault"],
        "error on stock, status 503"
    );
    assert_eq!(span["status"]["code"], 2);

    assert_eq!(alone["parentSpanId"], "");
    assert_eq!(alone["traceId"].as_str().map(str::len), Some(32));
    assert_ne!(alone["traceId"], span["traceId"]);
    let said = attributes(alone);
    assert_eq!(said["error.type"], "client gave up");
    assert_eq!(said["http.request.resend_count"], "1");
}

#[test]
fn a_receiver_that_refuses_or_is_gone_costs_spans_and_no_time() {
    let (refuses, _requests) = receiver("400 Bad Request");
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr());
    for (address, part) in [(refuses, "status 400"), (gone.expect("a port"), "refused")] {
        let (traces, listener) = Traces::start(settings(address)).expect("it starts");
        let (recorder, _queue) = Recorder::channel(10);
        let one = traced("");
        let began = Instant::now();
        let count = super::QUEUE as u64 + 2_000;
        (0..count).for_each(|_| listener(&recorder, &one));
        assert!(began.elapsed() < Duration::from_secs(2), "nobody waits");
        let sent = traces.end();
        assert_eq!(sent.sent, 0);
        assert_eq!(sent.lost, count);
        assert!(sent.why.is_some_and(|why| why.contains(part)));
    }
}
