//! Both variants against a ledger that answers and one that is gone: what they do differently must
//! show without Brownout.

use super::{record::TENANTS, *};
use crate::{
    embedded::{self, Embedded},
    history::{Message, Observation, Recorder},
    reference::{
        Variant,
        web::{Endpoint, Patience, ask},
    },
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{net::TcpListener, sync::mpsc, time};

/// Anything that does not happen within this time counts as never.
const NEVER: Duration = Duration::from_secs(20);

/// Longer than a healthy system takes for any of it.
const SOON: Duration = Duration::from_secs(3);

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn database_at(listen: SocketAddr) -> Embedded {
    let options = embedded::Options {
        listen,
        ..embedded::Options::default()
    };
    embedded::start("postgres", options, Recorder::channel(16).0).unwrap()
}

/// A pager and what reaches it.
fn pager() -> (Embedded, mpsc::Receiver<Observation>) {
    let (recorder, messages) = Recorder::channel(64);
    let sink = embedded::start("sink", embedded::Options::default(), recorder).unwrap();
    (sink, messages)
}

/// A cloud whose ledger was there.
async fn cloud(variant: Variant, database: SocketAddr, pager: Option<&Embedded>) -> Cloud {
    let setup = CloudSetup {
        variant,
        database: format!("postgres://bots@{database}/logs"),
        pager: pager.map(|pager| format!("http://{}", pager.address())),
    };
    let cloud = Cloud::start(ANYWHERE, &setup).unwrap();
    let ready = comes_true(&cloud, "/readyz", NEVER, |_| true).await;
    assert!(ready, "the ledger was never there");
    cloud
}

async fn send(cloud: &Cloud, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
    let endpoint = Endpoint::parse(&format!("http://{}", cloud.address())).unwrap();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Full::new(Bytes::from(body.to_string())))
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

async fn get(cloud: &Cloud, path: &str) -> (StatusCode, Value) {
    send(cloud, Method::GET, path, &Value::Null).await
}

/// Whether a message of this tenant is replied to.
async fn is_answered(cloud: &Cloud, id: &str, tenant: &str) -> bool {
    let path = format!("/tenants/{tenant}/messages");
    let message = json!({ "id": id, "text": "hello" });
    let (status, reply) = send(cloud, Method::POST, &path, &message).await;
    status == StatusCode::OK && reply["id"] == id
}

async fn comes_true(
    cloud: &Cloud,
    path: &str,
    patience: Duration,
    holds: impl Fn(&Value) -> bool,
) -> bool {
    let asking = async {
        let mut ticks = time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            let (status, body) = get(cloud, path).await;
            if status == StatusCode::OK && holds(&body) {
                return;
            }
        }
    };
    time::timeout(patience, asking).await.is_ok()
}

/// Whether the ledger comes to hold these records of the tenant.
async fn holds(cloud: &Cloud, tenant: &str, ids: &[&str]) -> bool {
    let path = format!("/tenants/{tenant}/history");
    comes_true(cloud, &path, NEVER, |history| {
        history["records"] == json!(ids)
    })
    .await
}

/// A cloud that has written a record, and whose ledger is gone. Where it was is free.
async fn cloud_without_a_ledger(variant: Variant) -> (Cloud, SocketAddr) {
    let database = database_at(ANYWHERE);
    let address = database.address();
    let cloud = cloud(variant, address, None).await;
    assert!(
        is_answered(&cloud, "1", "bank").await,
        "it was healthy before"
    );
    assert!(holds(&cloud, "bank", &["1"]).await);
    database.stop().await;
    (cloud, address)
}

#[tokio::test]
async fn as_it_was_a_bot_without_a_ledger_is_offline() {
    let (cloud, _) = cloud_without_a_ledger(Variant::AsItWas).await;
    assert!(!is_answered(&cloud, "2", "bank").await);
    assert!(
        !is_answered(&cloud, "3", "museum").await,
        "all tenants' bots are"
    );
}

#[tokio::test]
async fn remedied_a_bot_without_a_ledger_replies() {
    let (cloud, _) = cloud_without_a_ledger(Variant::Remedied).await;
    assert!(is_answered(&cloud, "2", "bank").await);
    assert!(comes_true(&cloud, "/status", SOON, |status| status["waiting"] == 1).await);
    let gone = |status: StatusCode| status == StatusCode::SERVICE_UNAVAILABLE;
    assert!(
        gone(get(&cloud, "/tenants/bank/history").await.0),
        "at once"
    );
}

async fn records_arrive_once_the_ledger_is_back(variant: Variant) {
    let (cloud, address) = cloud_without_a_ledger(variant).await;
    let ids = ["2", "3", "4"];
    let messages = ids.map(|id| is_answered(&cloud, id, "bank"));
    futures_util::future::join_all(messages).await;
    let database = database_at(address);
    // The database is a new one: somebody has to make the table again.
    let another = self::cloud(Variant::AsItWas, database.address(), None).await;
    assert!(holds(&cloud, "bank", &ids).await);
    assert!(comes_true(&cloud, "/status", SOON, |status| status["waiting"] == 0).await);
    another.stop().await;
}

#[tokio::test]
async fn as_it_was_records_arrive_once_the_ledger_is_back() {
    records_arrive_once_the_ledger_is_back(Variant::AsItWas).await;
}

#[tokio::test]
async fn remedied_records_arrive_once_the_ledger_is_back() {
    records_arrive_once_the_ledger_is_back(Variant::Remedied).await;
}

#[tokio::test]
async fn a_stopped_cloud_has_written_what_was_said() {
    let database = database_at(ANYWHERE);
    let stopping = cloud(Variant::Remedied, database.address(), None).await;
    for (place, tenant) in TENANTS.iter().enumerate() {
        assert!(is_answered(&stopping, &place.to_string(), tenant).await);
    }
    stopping.stop().await;
    let reading = cloud(Variant::Remedied, database.address(), None).await;
    for (place, tenant) in TENANTS.iter().enumerate() {
        assert!(
            holds(&reading, tenant, &[&place.to_string()]).await,
            "{tenant}"
        );
    }
}

#[tokio::test]
async fn remedied_the_pager_hears_that_records_wait() {
    let (sink, mut messages) = pager();
    let database = database_at(ANYWHERE);
    let address = database.address();
    let cloud = cloud(Variant::Remedied, address, Some(&sink)).await;
    database.stop().await;
    // It takes connections and never says a word.
    let _hanging = TcpListener::bind(address).await.unwrap();
    assert!(is_answered(&cloud, "1", "bank").await);
    let alert = next_alert(&mut messages).await;
    assert_eq!(alert.request, "POST /alerts");
    assert!(
        alert.body.contains(r#""dependency":"logs-db""#),
        "{}",
        alert.body
    );
}

async fn next_alert(messages: &mut mpsc::Receiver<Observation>) -> Message {
    let message = time::timeout(NEVER, messages.recv()).await;
    match message.expect("an alert comes") {
        Some(Observation::Message(message)) => message,
        other => panic!("not a message: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let database = database_at(ANYWHERE);
    let cloud = cloud(Variant::Remedied, database.address(), None).await;
    let path = "/tenants/bank/messages";
    let (status, _) = send(&cloud, Method::POST, path, &json!({ "id": 7 })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(!is_answered(&cloud, "1", "nobody").await);
}
