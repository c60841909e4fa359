//! What would prove that Channels' real clients are served and struck as by the real service:
//! pusher-js and PyPI's `pusher` against the embedded server, directly and through the proxy.

#![cfg(feature = "demo")]

mod node;
mod python;

use brownout::{
    embedded::{self, App, Embedded},
    fault::Switch,
    history::{Attempt, Observation, Recorder},
    protocol::Protocol,
    proxy::{
        Config, Limits, Proxy, UpstreamAddress,
        tls::{Authority, Front, client_config},
    },
    seed::Seed,
};
use node::Client;
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc};
use tokio::sync::mpsc;

/// An embedded server behind a proxy.
struct Rig {
    server: Embedded,
    proxy: Proxy,
    recorder: Recorder,
    observed: mpsc::Receiver<Observation>,
}

impl Rig {
    fn new(app: App, tls: Option<Arc<Front>>) -> Self {
        let (recorder, observed) = Recorder::channel(4096);
        let options = embedded::Options {
            app,
            ..Default::default()
        };
        let server = embedded::start("pusher", options, recorder.clone()).expect("a server");
        let upstream = server.address();
        let config = Config {
            dependency: "realtime".into(),
            protocol: Protocol::Pusher,
            listen: None,
            tls,
            upstream: UpstreamAddress {
                host: upstream.ip().to_string(),
                port: upstream.port(),
                tls: false,
            },
            upstream_tls: client_config(&[]).expect("roots"),
            virtual_host: None,
            capture: BTreeMap::new(),
            limits: Limits::default(),
            seed: Seed(1),
        };
        let proxy = Proxy::start(config, Switch::new(), recorder.clone()).expect("a proxy");
        Self {
            server,
            proxy,
            recorder,
            observed,
        }
    }

    /// What was observed in all, once everything is over.
    async fn attempts(mut self) -> Vec<Attempt> {
        self.proxy.stop().await;
        self.server.stop().await;
        drop(self.recorder);
        let mut attempts = Vec::new();
        while let Some(observation) = self.observed.recv().await {
            if let Observation::Attempt(attempt) = observation {
                attempts.push(attempt);
            }
        }
        attempts
    }
}

/// Runs steps with PyPI's `pusher`, and gives what came of each.
async fn publish(address: SocketAddr, ca: Option<&Path>, steps: Value) -> Vec<Value> {
    let app = App::default();
    let at = json!({
        "app_id": app.id, "key": app.key, "secret": app.secret,
        "host": "127.0.0.1", "port": address.port(), "ssl": ca.is_some(),
    });
    let mut command = python::command("tests/clients/pusher_publish.py");
    command.args([at.to_string(), steps.to_string()]);
    if let Some(ca) = ca {
        command.env("REQUESTS_CA_BUNDLE", ca);
    }
    let output = tokio::task::spawn_blocking(move || command.output().expect("python starts"))
        .await
        .expect("the client ran");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = said.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("lines of JSON")
}

fn pusher_js(address: SocketAddr, ca: Option<&Path>, user: &str) -> Client {
    let app = App::default();
    let options = json!({
        "host": "127.0.0.1", "port": address.port(), "tls": ca.is_some(),
        "key": app.key, "secret": app.secret, "user": user,
    });
    Client::start(&options, ca)
}

/// What two clients and a publisher see of each other at an address, without times and names
/// that differ from run to run.
async fn conversation(address: SocketAddr, ca: Option<&Path>) -> Vec<Value> {
    let mut seen = Vec::new();
    let mut one = pusher_js(address, ca, "u1");
    let mut other = pusher_js(address, ca, "u2");
    for client in [&mut one, &mut other] {
        client.until_state("connected");
        for channel in ["news", "private-talk", "presence-room"] {
            client.tell(json!({ "do": "subscribe", "channel": channel }));
            client.until(|said| said["what"] == "subscribed" && said["channel"] == channel);
        }
    }
    seen.push(one.until_event("member_added"));
    one.tell(json!({
        "do": "trigger", "channel": "private-talk", "event": "client-hi",
        "data": { "text": "grüße", "long": "x".repeat(5_000) },
    }));
    seen.push(other.until_event("client-hi"));
    let steps = json!([
        ["trigger", "news", { "n": 1 }],
        ["trigger", ["news", "private-talk"], { "text": "grüße", "long": "y".repeat(8_000) }],
        ["batch", "news", { "n": 2 }],
        ["channels"],
        ["channel", "news"],
        ["users", "presence-room"],
        ["trigger", "news", "x".repeat(10_241)],
    ]);
    for mut told in publish(address, ca, steps).await {
        told.as_object_mut().expect("an object").remove("seconds");
        seen.push(told);
    }
    for client in [&mut one, &mut other] {
        for _ in 0..5 {
            seen.push(client.until_event("news"));
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_see_the_same_through_the_proxy_as_directly() {
    let rig = Rig::new(App::default(), None);
    let direct = conversation(rig.server.address(), None).await;
    let told = serde_json::to_string(&direct).expect("JSON");
    for expected in ["grüße", "subscription_count", "\"u2\"", "client-hi"] {
        assert!(told.contains(expected), "{expected} is missing: {told}");
    }
    let plain = conversation(rig.proxy.address(), None).await;
    assert_eq!(direct, plain, "over HTTP");
    let attempts = rig.attempts().await;
    let count = |operation: &str| {
        let named = attempts.iter();
        named.filter(|one| &*one.operation == operation).count()
    };
    assert_eq!(count("Connect"), 2);
    assert_eq!(count("PublishEvent"), 3);
    assert_eq!(count("PublishBatch"), 1);
    assert_eq!(
        (count("GetChannels"), count("GetChannel"), count("GetUsers")),
        (1, 1, 1)
    );

    let authority = Authority::new().expect("a CA");
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.bundle_pem()).expect("the bundle is written");
    let front = Arc::new(Front::new(authority, Vec::new()));
    let rig = Rig::new(App::default(), Some(front));
    let secure = conversation(rig.proxy.address(), Some(&ca)).await;
    assert_eq!(direct, secure, "over TLS");
    rig.attempts().await;
}
