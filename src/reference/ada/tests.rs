//! Both variants against an S3 that answers, one that is dead, and one that hangs: what they do
//! differently must show without Brownout.

use super::*;
use crate::{
    embedded::{self, Embedded},
    history::{Message, Observation, Recorder},
    reference::{
        Variant,
        s3::{Client, Manners},
        web::{Endpoint, Patience, ask},
    },
};
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use serde_json::Value;
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{net::TcpListener, sync::mpsc, time};

/// Anything that does not happen within this time counts as never.
const NEVER: Duration = Duration::from_secs(20);

/// Longer than a healthy system takes for any of it, shorter than any time-out of `BOTO_2`.
const SOON: Duration = Duration::from_secs(3);

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn keys() -> (String, String) {
    (
        embedded::ACCESS_KEY.to_owned(),
        embedded::SECRET_KEY.to_owned(),
    )
}

fn s3_at(listen: SocketAddr) -> Embedded {
    let options = embedded::Options {
        listen,
        buckets: vec!["models".to_owned()],
        ..embedded::Options::default()
    };
    embedded::start("s3", options, Recorder::channel(16).0).unwrap()
}

/// A pager and what reaches it.
fn pager() -> (Embedded, mpsc::Receiver<Observation>) {
    let (recorder, messages) = Recorder::channel(64);
    let sink = embedded::start("sink", embedded::Options::default(), recorder).unwrap();
    (sink, messages)
}

/// An S3 that takes connections and never says a word.
async fn hanging() -> TcpListener {
    TcpListener::bind(ANYWHERE).await.unwrap()
}

fn api(variant: Variant, name: &str, s3: SocketAddr) -> Api {
    let setup = ApiSetup {
        variant,
        name: name.to_owned(),
        s3: format!("http://{s3}"),
        keys: keys(),
    };
    Api::start(ANYWHERE, setup).unwrap()
}

async fn send(address: SocketAddr, method: Method, path: &str) -> (StatusCode, Value) {
    let endpoint = Endpoint::parse(&format!("http://{address}")).unwrap();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Full::default())
        .unwrap();
    let patience = Patience {
        connect: SOON,
        answer: SOON,
    };
    match ask(&endpoint, request, patience).await {
        Ok(answer) => (
            answer.status(),
            serde_json::from_slice(answer.body()).unwrap_or_default(),
        ),
        Err(_) => (StatusCode::IM_A_TEAPOT, Value::Null),
    }
}

async fn post(address: SocketAddr, path: &str) -> (StatusCode, Value) {
    send(address, Method::POST, path).await
}

async fn get(address: SocketAddr, path: &str) -> (StatusCode, Value) {
    send(address, Method::GET, path).await
}

/// Whether `path` answers 200 with a body of which `holds` is true, within `patience`.
async fn comes_true(
    address: SocketAddr,
    path: &str,
    patience: Duration,
    holds: impl Fn(&Value) -> bool,
) -> bool {
    let asking = async {
        let mut ticks = time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            let (status, body) = get(address, path).await;
            if status == StatusCode::OK && holds(&body) {
                return;
            }
        }
    };
    time::timeout(patience, asking).await.is_ok()
}

async fn ready(api: &Api) {
    let is_ready = comes_true(api.address(), "/readyz", NEVER, |_| true).await;
    assert!(is_ready, "the models were never there");
}

/// Trains bot 7, and says whether the new model is seen within `SOON`.
async fn training_is_seen(api: &Api) -> bool {
    let (status, trained) = post(api.address(), "/bots/7/train").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let version = trained["version"].as_u64().unwrap();
    comes_true(api.address(), "/bots/7/model", SOON, |model| {
        model["version"].as_u64() >= Some(version)
    })
    .await
}

/// A ready API whose S3 is gone: it accepts connections and never answers.
async fn api_before_a_hanging_s3(variant: Variant) -> (Api, TcpListener) {
    let s3 = s3_at(ANYWHERE);
    let address = s3.address();
    let api = api(variant, "primary", address);
    ready(&api).await;
    assert!(training_is_seen(&api).await, "it was healthy before");
    s3.stop().await;
    (api, TcpListener::bind(address).await.unwrap())
}

#[tokio::test]
async fn as_it_was_what_is_taught_while_s3_hangs_is_not_seen() {
    let (api, _s3) = api_before_a_hanging_s3(Variant::AsItWas).await;
    assert!(!training_is_seen(&api).await);
    let (status, _) = post(api.address(), "/bots/7/ask").await;
    assert_eq!(status, StatusCode::OK, "but the old model answers");
}

#[tokio::test]
async fn remedied_what_is_taught_while_s3_hangs_is_seen() {
    let (api, _s3) = api_before_a_hanging_s3(Variant::Remedied).await;
    assert!(training_is_seen(&api).await);
    let (status, _) = post(api.address(), "/bots/7/ask").await;
    assert_eq!(status, StatusCode::OK);
}

/// Whether a report is written within `SOON` after many trainings met a hanging S3.
async fn reports_are_written(api: &Api) -> bool {
    for bot in 1..=20 {
        post(api.address(), &format!("/bots/{bot}/train")).await;
    }
    let (status, report) = post(api.address(), "/reports").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let path = format!("/jobs/{}", report["id"]);
    comes_true(api.address(), &path, SOON, |job| job["state"] == "done").await
}

#[tokio::test]
async fn as_it_was_reports_wait_behind_trainings() {
    let (api, _s3) = api_before_a_hanging_s3(Variant::AsItWas).await;
    assert!(!reports_are_written(&api).await);
}

#[tokio::test]
async fn remedied_reports_do_not_wait_for_trainings() {
    let (api, _s3) = api_before_a_hanging_s3(Variant::Remedied).await;
    assert!(reports_are_written(&api).await);
}

#[tokio::test]
async fn remedied_the_newest_model_reaches_s3_once_it_is_back() {
    let (api, hanging) = api_before_a_hanging_s3(Variant::Remedied).await;
    assert!(training_is_seen(&api).await);
    let troubled = |health: &Value| health["troubles"][0] == "s3";
    assert!(comes_true(api.address(), "/healthz", NEVER, troubled).await);
    let (_, newest) = get(api.address(), "/bots/7/model").await;
    let address = hanging.local_addr().unwrap();
    drop(hanging);
    let s3 = s3_at(address);
    let client = Client::new(
        &format!("http://{}", s3.address()),
        "models",
        keys(),
        Manners::BOUNDED,
    )
    .unwrap();
    let arrived = async {
        let mut ticks = time::interval(Duration::from_millis(50));
        loop {
            ticks.tick().await;
            if client.stored_version("bots/7.json").await.ok() == newest["version"].as_u64() {
                return;
            }
        }
    };
    time::timeout(NEVER, arrived).await.expect("it was saved");
    let calm = |health: &Value| health["troubles"][0].is_null();
    assert!(comes_true(api.address(), "/healthz", NEVER, calm).await);
}

#[tokio::test]
async fn a_standby_learns_every_model_without_s3() {
    let hanging = hanging().await;
    let standby = api(Variant::Remedied, "standby", hanging.local_addr().unwrap());
    let (status, _) = get(standby.address(), "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "it starts cold");
    post(standby.address(), "/warm").await;
    ready(&standby).await;
    let never_asked = time::timeout(Duration::from_millis(200), hanging.accept()).await;
    assert!(never_asked.is_err(), "out of service it must not call S3");
}

#[tokio::test]
async fn a_stopped_api_has_saved_what_it_was_taught() {
    let s3 = s3_at(ANYWHERE);
    let api = api(Variant::Remedied, "primary", s3.address());
    ready(&api).await;
    let (_, trained) = post(api.address(), "/bots/7/train").await;
    api.stop().await;
    let url = format!("http://{}", s3.address());
    let client = Client::new(&url, "models", keys(), Manners::BOUNDED).unwrap();
    let stored = client.stored_version("bots/7.json").await.unwrap();
    assert_eq!(Some(stored), trained["version"].as_u64());
}

fn router(variant: Variant, primary: &Api, standby: Option<&Api>, pager: &Embedded) -> Router {
    let url = |address: SocketAddr| format!("http://{address}");
    let setup = RouterSetup {
        variant,
        primary: url(primary.address()),
        standby: standby.map(|standby| url(standby.address())),
        pager: Some(url(pager.address())),
    };
    Router::start(ANYWHERE, setup).unwrap()
}

async fn next_alert(messages: &mut mpsc::Receiver<Observation>) -> Message {
    let message = time::timeout(NEVER, messages.recv()).await;
    match message.expect("an alert comes") {
        Some(Observation::Message(message)) => message,
        other => panic!("not a message: {other:?}"),
    }
}

#[tokio::test]
async fn remedied_the_standby_takes_over_and_the_pager_hears_what_failed() {
    let s3 = s3_at(ANYWHERE);
    let (sink, mut messages) = pager();
    let primary = api(Variant::Remedied, "primary", s3.address());
    let standby = api(Variant::Remedied, "standby", s3.address());
    ready(&primary).await;
    let router = router(Variant::Remedied, &primary, Some(&standby), &sink);
    let watched = |state: &Value| state["same_version"] == true;
    assert!(comes_true(router.address(), "/_router/standby", NEVER, watched).await);

    s3.stop().await;
    post(router.address(), "/bots/7/train").await;
    let alert = next_alert(&mut messages).await;
    assert_eq!(alert.request, "POST /alerts");
    assert!(
        alert.body.contains(r#""dependency":"s3""#),
        "{}",
        alert.body
    );
    let warm = |state: &Value| state["ready"] == true && state["serves"] == false;
    assert!(comes_true(router.address(), "/_router/standby", NEVER, warm).await);

    primary.stop().await;
    let alert = next_alert(&mut messages).await;
    let names_primary = alert.body.contains(r#""dependency":"primary""#);
    assert!(names_primary, "{}", alert.body);
    let (status, _) = post(router.address(), "/bots/7/ask").await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn as_it_was_a_dead_primary_stays_dead_and_nobody_is_told() {
    let s3 = s3_at(ANYWHERE);
    let (sink, mut messages) = pager();
    let primary = api(Variant::AsItWas, "primary", s3.address());
    ready(&primary).await;
    let router = router(Variant::AsItWas, &primary, None, &sink);
    let (status, _) = post(router.address(), "/bots/7/ask").await;
    assert_eq!(status, StatusCode::OK);
    primary.stop().await;
    let served = comes_true(router.address(), "/readyz", SOON * 2, |_| true).await;
    assert!(!served);
    assert!(messages.try_recv().is_err());
}

#[tokio::test]
async fn attempts_of_a_call_carry_one_id_and_count_up() {
    let (sender, mut seen) = mpsc::channel(16);
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        let pair = (header("amz-sdk-invocation-id"), header("amz-sdk-request"));
        let sender = sender.clone();
        async move {
            sender.send(pair).await.unwrap();
            let mut answer = hyper::Response::new(Full::<bytes::Bytes>::default());
            *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let broken = embedded::server::Server::start(ANYWHERE, service).unwrap();
    let manners = Manners {
        attempts: 3,
        pause: Duration::ZERO,
        ..Manners::BOUNDED
    };
    let url = format!("http://{}", broken.address());
    let client = Client::new(&url, "models", keys(), manners).unwrap();
    client.get("bots/7.json").await.unwrap_err();
    let mut attempts = Vec::new();
    while let Ok(attempt) = seen.try_recv() {
        attempts.push(attempt);
    }
    let counts: Vec<&str> = attempts.iter().map(|(_, count)| &**count).collect();
    assert_eq!(
        counts,
        ["attempt=1; max=3", "attempt=2; max=3", "attempt=3; max=3"]
    );
    assert!(attempts.iter().all(|(id, _)| *id == attempts[0].0));
}
