//! Both variants against databases that work and that fail: what they do differently must show
//! without Brownout.
//!
//! The core database fails here because a table has another name for a while, which any
//! PostgreSQL answers with an error. Rows that cannot be read are in the scenario.

use super::*;
use crate::{
    embedded::{self, Embedded},
    history::{Message, Observation, Recorder},
    reference::{
        Variant,
        database::{Database, Value},
        web::{Endpoint, Patience, ask},
    },
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value as Json, json};
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{sync::mpsc, time};

/// Anything that does not happen within this time counts as never.
const NEVER: Duration = Duration::from_secs(30);

/// Longer than a healthy system takes for any of it.
const SOON: Duration = Duration::from_secs(4);

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

const PATIENT: Patience = Patience {
    connect: SOON,
    answer: SOON,
};

/// A whole system with everything around it.
struct World {
    api: Api,
    worker: Worker,
    core: Database,
    queue: Database,
    sent: Sink,
    webhooks: Sink,
    pages: Sink,
    _databases: [Embedded; 2],
}

/// A sink and what has reached it.
struct Sink {
    server: Embedded,
    messages: mpsc::Receiver<Observation>,
    seen: Vec<Json>,
}

impl Sink {
    fn start() -> Self {
        let (recorder, messages) = Recorder::channel(10_000);
        let server = embedded::start("sink", embedded::Options::default(), recorder).unwrap();
        Self {
            server,
            messages,
            seen: Vec::new(),
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Waits until a body has come of which `wanted` is true; false if none does in time.
    async fn gets(&mut self, patience: Duration, wanted: impl Fn(&Json) -> bool) -> bool {
        let getting = async {
            loop {
                if self.seen.iter().any(&wanted) {
                    return;
                }
                if let Some(Observation::Message(Message { body, .. })) = self.messages.recv().await
                {
                    self.seen.push(serde_json::from_str(&body).unwrap());
                }
            }
        };
        time::timeout(patience, getting).await.is_ok()
    }

    fn count(&mut self, wanted: impl Fn(&Json) -> bool) -> usize {
        while let Ok(Observation::Message(message)) = self.messages.try_recv() {
            self.seen.push(serde_json::from_str(&message.body).unwrap());
        }
        self.seen.iter().filter(|body| wanted(body)).count()
    }
}

fn automation(id: &str) -> impl Fn(&Json) -> bool {
    let id = id.to_owned();
    move |body| body["automation"] == *id
}

fn postgres() -> Embedded {
    let recorder = Recorder::channel(16).0;
    embedded::start("postgres", embedded::Options::default(), recorder).unwrap()
}

impl World {
    async fn new(variant: Variant) -> Self {
        let databases = [postgres(), postgres()];
        let [queue, core] = databases
            .each_ref()
            .map(|server| format!("postgres://app@{}/app", server.address()));
        let (sent, webhooks, pages) = (Sink::start(), Sink::start(), Sink::start());
        let (sender, hooks) = (sent.url(), webhooks.url());
        let api_setup = ApiSetup {
            variant,
            queue: queue.clone(),
            core: core.clone(),
            sender: sender.clone(),
            webhooks: hooks.clone(),
        };
        let worker_setup = WorkerSetup {
            variant,
            queue: queue.clone(),
            core: core.clone(),
            sender,
            webhooks: hooks,
            pager: pages.url(),
            status_page: None,
        };
        let world = Self {
            api: Api::start(ANYWHERE, &api_setup).unwrap(),
            worker: Worker::start(ANYWHERE, &worker_setup).unwrap(),
            core: Database::new(&core, 2, PATIENT).unwrap(),
            queue: Database::new(&queue, 2, PATIENT).unwrap(),
            sent,
            webhooks,
            pages,
            _databases: databases,
        };
        for address in [world.api.address(), world.worker.address()] {
            assert!(
                comes_true(address, "/healthz", |_| true).await,
                "never ready"
            );
        }
        world
    }

    async fn post(&self, path: &str, body: Json) -> StatusCode {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .body(Full::new(Bytes::from(body.to_string())));
        let endpoint = Endpoint::parse(&format!("http://{}", self.api.address())).unwrap();
        let answer = ask(&endpoint, request.unwrap(), PATIENT).await;
        answer.unwrap().status()
    }

    async fn event(&self, id: &str, profile: &str) {
        let body = json!({ "id": id, "profile": profile });
        assert_eq!(self.post("/events", body).await, StatusCode::ACCEPTED);
    }

    async fn campaign(&self, id: &str) {
        let body = json!({ "id": id, "segment": "segment-3" });
        assert_eq!(self.post("/campaigns", body).await, StatusCode::ACCEPTED);
    }

    /// Whether `path` of the API comes to show what `holds` wants.
    async fn shows(&self, path: &str, holds: impl Fn(&Json) -> bool) -> bool {
        comes_true(self.api.address(), path, holds).await
    }

    /// Nothing can be written down in the core database, until [`World::restore`].
    async fn break_core(&self) {
        let rename = "ALTER TABLE contacts RENAME TO lost";
        self.core.execute(rename, &[]).await.unwrap();
    }

    async fn restore(&self) {
        let rename = "ALTER TABLE lost RENAME TO contacts";
        self.core.execute(rename, &[]).await.unwrap();
    }
}

async fn comes_true(address: SocketAddr, path: &str, holds: impl Fn(&Json) -> bool) -> bool {
    let endpoint = Endpoint::parse(&format!("http://{address}")).unwrap();
    let asking = async {
        let mut ticks = time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            let request = Request::get(path).body(Full::default()).unwrap();
            let Ok(answer) = ask(&endpoint, request, PATIENT).await else {
                continue;
            };
            let body = serde_json::from_slice(answer.body()).unwrap_or_default();
            if answer.status() == StatusCode::OK && holds(&body) {
                return;
            }
        }
    };
    time::timeout(NEVER, asking).await.is_ok()
}

async fn all_classes_work(variant: Variant) {
    let mut world = World::new(variant).await;
    world.event("e-1", "profile-7").await;
    world.campaign("c-1").await;
    let message = json!({ "id": "t-1", "to": "token-x" });
    assert_eq!(world.post("/transactional", message).await, StatusCode::OK);
    let change = json!({ "id": "p-1" });
    assert_eq!(
        world.post("/profiles/profile-9", change).await,
        StatusCode::OK
    );

    assert!(world.sent.gets(NEVER, automation("e-1")).await);
    let audience = |body: &Json| body["campaign"] == "c-1" && body["to"][0] == "token-2";
    assert!(world.sent.gets(NEVER, audience).await);
    assert!(
        world
            .sent
            .gets(NEVER, |body| body["transactional"] == "t-1")
            .await
    );
    for (class, id) in [
        ("automation", "e-1"),
        ("campaign", "c-1"),
        ("transactional", "t-1"),
    ] {
        let told = move |body: &Json| body[class] == id;
        assert!(world.webhooks.gets(NEVER, told).await, "no webhook of {id}");
    }
    assert!(
        world
            .shows("/messages/automation/e-1", |body| body["state"] == "sent")
            .await
    );
    assert!(world.shows("/backlog", |body| body["waiting"] == 0).await);
    let changed = "SELECT profile FROM profiles WHERE change = $1";
    let rows = world
        .core
        .query(changed, &[Value::Text("p-1")])
        .await
        .unwrap();
    assert_eq!(rows[0].get::<_, &str>(0), "profile-9");
    assert_eq!(world.pages.count(|_| true), 0);
}

#[tokio::test]
async fn as_it_was_all_classes_work() {
    all_classes_work(Variant::AsItWas).await;
}

#[tokio::test]
async fn remedied_all_classes_work() {
    all_classes_work(Variant::Remedied).await;
}

async fn what_is_accepted_while_the_core_database_fails_is_sent_later(variant: Variant) {
    let mut world = World::new(variant).await;
    world.break_core().await;
    for number in 0..20 {
        world.event(&format!("e-{number}"), "profile-7").await;
    }
    assert!(
        world
            .pages
            .gets(NEVER, |page| {
                page["summary"].as_str().unwrap().contains("core-db")
            })
            .await
    );
    assert_eq!(world.sent.count(|_| true), 0);
    world.restore().await;
    for number in 0..20 {
        let id = format!("e-{number}");
        assert!(
            world.sent.gets(NEVER, automation(&id)).await,
            "{id} is lost"
        );
    }
    assert!(world.shows("/backlog", |body| body["waiting"] == 0).await);
    assert_eq!(world.sent.count(|_| true), 20, "none is sent twice");
}

#[tokio::test]
async fn as_it_was_accepted_events_are_sent_late() {
    what_is_accepted_while_the_core_database_fails_is_sent_later(Variant::AsItWas).await;
}

#[tokio::test]
async fn remedied_accepted_events_are_sent_late() {
    what_is_accepted_while_the_core_database_fails_is_sent_later(Variant::Remedied).await;
}

#[tokio::test]
async fn transactional_messages_need_no_core_database() {
    for variant in [Variant::AsItWas, Variant::Remedied] {
        let mut world = World::new(variant).await;
        world.break_core().await;
        let message = json!({ "id": "t-1", "to": "token-x" });
        assert_eq!(world.post("/transactional", message).await, StatusCode::OK);
        assert!(
            world
                .sent
                .gets(SOON, |body| body["transactional"] == "t-1")
                .await
        );
    }
}

/// A campaign that could not be sent in its time: once it is over, it is gone from the backlog.
async fn after_a_late_campaign(variant: Variant) -> World {
    let mut world = World::new(variant).await;
    world.break_core().await;
    world.campaign("c-1").await;
    assert!(world.shows("/backlog", |body| body["waiting"] == 0).await);
    world.restore().await;
    world.event("e-1", "profile-7").await;
    assert!(
        world.sent.gets(NEVER, automation("e-1")).await,
        "it goes on"
    );
    assert_eq!(world.sent.count(|body| body["campaign"] == "c-1"), 0);
    world
}

#[tokio::test]
async fn remedied_a_late_campaign_is_dropped_and_listed() {
    let world = after_a_late_campaign(Variant::Remedied).await;
    assert!(
        world
            .shows("/dropped", |body| body["dropped"][0] == "c-1")
            .await
    );
}

#[tokio::test]
async fn as_it_was_a_late_campaign_leaves_no_trace() {
    let world = after_a_late_campaign(Variant::AsItWas).await;
    let rows = world
        .queue
        .query("SELECT id FROM work WHERE id = 'c-1'", &[])
        .await;
    assert!(rows.unwrap().is_empty());
}

/// How many messages come of an event that is put in twice, as by a try whose answer was lost.
async fn sent_for_two_tries(variant: Variant) -> usize {
    let mut world = World::new(variant).await;
    world.event("e-1", "profile-7").await;
    world.event("e-1", "profile-7").await;
    world.event("e-2", "profile-7").await;
    assert!(world.sent.gets(NEVER, automation("e-2")).await);
    assert!(world.shows("/backlog", |body| body["waiting"] == 0).await);
    world.sent.count(automation("e-1"))
}

#[tokio::test]
async fn remedied_two_tries_are_one_message() {
    assert_eq!(sent_for_two_tries(Variant::Remedied).await, 1);
}

#[tokio::test]
async fn as_it_was_two_tries_are_two_messages() {
    assert_eq!(sent_for_two_tries(Variant::AsItWas).await, 2);
}

#[tokio::test]
async fn a_change_that_the_core_database_refuses_is_refused() {
    let world = World::new(Variant::Remedied).await;
    let rename = "ALTER TABLE profiles RENAME TO gone";
    world.core.execute(rename, &[]).await.unwrap();
    let change = json!({ "id": "p-1" });
    let status = world.post("/profiles/profile-9", change).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}
