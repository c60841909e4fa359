//! What would prove that Channels' real clients are served and struck as by the real service:
//! pusher-js and PyPI's `pusher` against the embedded server, directly and through the proxy.

#![cfg(feature = "demo")]

mod harness;
mod node;

use brownout::{
    embedded::{self, App, Embedded},
    fault::{Active, By, FaultId, FaultSet, Gate, Switch, find, gate},
    history::{Attempt, Observation, Recorder},
    input::{Fields, Problems, Source},
    protocol::{Applied, Protocol},
    proxy::{
        Config, Limits, Proxy, UpstreamAddress,
        tls::{Authority, Front, client_config},
    },
    scenario::Capture,
    seed::Seed,
    units::Micros,
};
use harness::{Bench, Left, python};
use node::Client;
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc, thread, time::Duration};
use tokio::sync::mpsc;
use toml::de::{DeTable, DeValue};

/// An embedded server behind a proxy.
struct Rig {
    server: Embedded,
    proxy: Proxy,
    switch: Switch,
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
            capture: BTreeMap::from([
                ("n".to_owned(), Capture::Json("/data/n".to_owned())),
                ("channel".to_owned(), Capture::Key),
            ]),
            key: None,
            limits: Limits::default(),
            seed: Seed(1),
        };
        let switch = Switch::new();
        let proxy = Proxy::start(config, switch.clone(), recorder.clone()).expect("a proxy");
        Self {
            server,
            proxy,
            switch,
            recorder,
            observed,
        }
    }

    /// Puts a `[[phase.fault]]` in force.
    fn put(&self, text: &str) {
        self.switch.set(FaultSet::new(vec![Arc::new(fault(text))]));
    }

    fn hits(&self) -> u64 {
        self.switch.current().faults()[0].hits()
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

/// A fault as a scenario's file describes it.
fn fault(text: &str) -> Active {
    let text = format!("on = \"realtime\"\n{text}");
    let source = Source::new("fault.toml", text.as_str());
    let root = DeTable::parse(&text).expect("TOML");
    let kind = match root.get_ref().get("kind").expect("a kind").get_ref() {
        DeValue::String(kind) => kind.to_string(),
        other => panic!("{other:?}"),
    };
    let def = find(&kind).expect("a kind of fault");
    let mut problems = Problems::default();
    let fields = Fields::new(
        root.get_ref(),
        root.span(),
        &source,
        format!("fault `{kind}`"),
        gate::KEYS,
        &[def.keys],
        &mut problems,
    );
    let gate = Gate::parse(&fields, &mut problems).expect("a gate");
    let behaviour = def.read(&fields, Protocol::Pusher, &gate, &mut problems);
    let behaviour = behaviour.unwrap_or_else(|| panic!("{:?}", problems.as_slice()));
    let by = gate.by.clone().unwrap_or(By::Request);
    Active::new(
        FaultId(0),
        gate,
        behaviour,
        Seed(1),
        &["test"],
        Micros(0),
        Duration::from_secs(10),
        by,
    )
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
    pusher_js_with(address, ca, user, json!({}))
}

/// With these options of pusher-js itself.
fn pusher_js_with(address: SocketAddr, ca: Option<&Path>, user: &str, more: Value) -> Client {
    let app = App::default();
    let options = json!({
        "more": more,
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

/// The connects that were observed, with their codes, in order.
fn connects(attempts: &[Attempt]) -> Vec<&Attempt> {
    let mut connects: Vec<&Attempt> = attempts
        .iter()
        .filter(|attempt| &*attempt.operation == "Connect")
        .collect();
    connects.sort_by_key(|attempt| attempt.began);
    connects
}

/// The seconds between one connect and the next.
fn pauses(connects: &[&Attempt]) -> Vec<f64> {
    connects
        .windows(2)
        .map(|pair| pair[1].began.since(pair[0].ended).as_secs_f64())
        .collect()
}

/// Over its quota a client is refused in either way of telling it, gives up, and never tries again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pusher_js_takes_4004_for_the_end() {
    for told in ["error", "close"] {
        let rig = Rig::new(App::default(), None);
        rig.put(&format!("kind = 'error'\nerror = '4004'\ntold = '{told}'"));
        let mut client = pusher_js(rig.proxy.address(), None, "u");
        let error = client.until(|said| said["what"] == "error");
        assert_eq!(error["type"], "WebSocketError");
        assert_eq!(error["data"]["code"], 4004, "{told}");
        assert_eq!(
            error["data"]["message"],
            "Application is over connection quota"
        );
        client.until_state("disconnected");
        rig.switch.heal();
        client.listen(Duration::from_secs(4));
        let attempts = rig.attempts().await;
        let connects = connects(&attempts);
        assert_eq!(connects.len(), 1, "{told}: it never retries");
        assert_eq!(connects[0].code.as_deref(), Some("4004"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pusher_js_backs_off_a_second_on_4100_and_comes_back() {
    let rig = Rig::new(App::default(), None);
    rig.put("kind = 'error'\nerror = '4100'\nfirst = 3");
    let mut client = pusher_js(rig.proxy.address(), None, "u");
    client.until_state("connected");
    let attempts = rig.attempts().await;
    let connects = connects(&attempts);
    assert_eq!(connects.len(), 4);
    for pause in pauses(&connects) {
        assert!((0.9..15.0).contains(&pause), "{pause} s");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pusher_js_comes_back_at_once_on_4200_without_any_pause() {
    let rig = Rig::new(App::default(), None);
    rig.put("kind = 'error'\nerror = '4200'\nfirst = 20");
    let mut client = pusher_js(rig.proxy.address(), None, "u");
    client.until_state("connected");
    let attempts = rig.attempts().await;
    let connects = connects(&attempts);
    assert_eq!(connects.len(), 21);
    let mut pauses = pauses(&connects);
    pauses.sort_by(f64::total_cmp);
    assert!(pauses[10] < 0.9, "no second between them: {pauses:?}");
}

/// A limit that drops below what is in use: those beyond it are cut and stay away, the others stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_drops_cuts_the_youngest_or_only_keeps_new_ones_out() {
    for cuts in [true, false] {
        let rig = Rig::new(App::default(), None);
        let mut clients = Vec::new();
        for user in ["u1", "u2", "u3"] {
            let mut client = pusher_js(rig.proxy.address(), None, user);
            client.until_state("connected");
            clients.push(client);
        }
        let existing = if cuts { "cut" } else { "keep" };
        rig.put(&format!(
            "kind = 'max-connections'\nlimit = 1\nexisting = '{existing}'"
        ));
        if cuts {
            for client in &mut clients[1..] {
                let error = client.until(|said| said["what"] == "error");
                assert_eq!(error["data"]["code"], 4004);
                client.until_state("disconnected");
            }
            assert_eq!(rig.hits(), 2);
        }
        let mut late = pusher_js(rig.proxy.address(), None, "late");
        late.until_state("disconnected");
        clients[0].tell(json!({ "do": "subscribe", "channel": "news" }));
        clients[0].until(|said| said["what"] == "subscribed");
        publish(
            rig.proxy.address(),
            None,
            json!([["trigger", "news", { "n": 1 }]]),
        )
        .await;
        clients[0].until_event("news");
        if !cuts {
            clients[2].tell(json!({ "do": "subscribe", "channel": "news" }));
            clients[2].until(|said| said["what"] == "subscribed");
        }
    }
}

/// Nothing comes any more, no pong either: the client finds out by its own time-outs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pusher_js_notices_a_silent_socket_by_its_activity_timeout() {
    let rig = Rig::new(App::default(), None);
    let options = json!({ "activityTimeout": 1_000, "pongTimeout": 1_000 });
    let mut client = pusher_js_with(rig.proxy.address(), None, "u", options);
    let connected = client.until_state("connected");
    rig.put("kind = 'hang'\nwhen = { operation = ['Deliver', 'Notify'] }");
    let noticed = client.until_state("connecting");
    assert!(noticed - connected >= 1_900.0, "{connected} {noticed}");
    rig.switch.heal();
    client.until_state("connected");
    let attempts = rig.attempts().await;
    assert!(attempts.iter().any(|attempt| &*attempt.operation == "Ping"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_over_the_message_quota_is_forbidden_and_not_retried() {
    let rig = Rig::new(App::default(), None);
    let steps = json!([["trigger", "news", { "n": 1 }]]);
    for (status, error) in [
        (403, "PusherForbidden"),
        (401, "PusherBadAuth"),
        (400, "PusherBadRequest"),
        (413, "PusherBadStatus"),
        (429, "PusherBadStatus"),
        (503, "PusherBadStatus"),
    ] {
        rig.put(&format!(
            "kind = 'error'\nstatus = {status}\nwhen = {{ operation = 'PublishEvent' }}"
        ));
        let told = publish(rig.proxy.address(), None, steps.clone()).await;
        assert_eq!(told[0]["error"], error, "{told:?}");
        assert_eq!(rig.hits(), 1, "{status}: not retried");
    }
    rig.switch.heal();
    let told = publish(rig.proxy.address(), None, steps).await;
    assert!(told[0]["ok"].is_object(), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_of_deliveries_is_dropped_and_the_rest_comes_late() {
    let rig = Rig::new(App::default(), None);
    let mut client = pusher_js(rig.proxy.address(), None, "u");
    client.until_state("connected");
    client.tell(json!({ "do": "subscribe", "channel": "news" }));
    client.until(|said| said["what"] == "subscribed");
    rig.put("kind = 'drop'\nevery = 3");
    let steps: Vec<Value> = (1..=9)
        .map(|n| json!(["trigger", "news", { "n": n }]))
        .collect();
    publish(rig.proxy.address(), None, steps.into()).await;
    for n in [1, 2, 4, 5, 7, 8] {
        assert_eq!(client.until_event("news")["data"]["n"], n);
    }
    rig.put("kind = 'latency'\ndelay = '1s'\nwhen = { operation = 'Deliver' }");
    let before = client.log.last().expect("a line")["at"]
        .as_f64()
        .expect("a time");
    publish(
        rig.proxy.address(),
        None,
        json!([["trigger", "news", { "n": 10 }]]),
    )
    .await;
    client.until_event("news");
    let after = client.log.last().expect("a line")["at"]
        .as_f64()
        .expect("a time");
    assert!(after - before >= 1_000.0, "{before} {after}");
}

/// The work of a ledger is known by ids in messages: what was published, and what of it reached a
/// client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_are_captured_from_messages_and_from_what_publishes_them() {
    let rig = Rig::new(App::default(), None);
    let mut client = pusher_js(rig.proxy.address(), None, "u");
    client.until_state("connected");
    client.tell(json!({ "do": "subscribe", "channel": "news" }));
    client.until(|said| said["what"] == "subscribed");
    rig.put("kind = 'drop'\nevery = 2\nwhen = { operation = 'Deliver' }");
    let steps = json!([
        ["trigger", "news", { "n": 1 }],
        ["trigger", "news", { "n": "two" }],
        ["trigger", "news", { "other": 3 }],
        ["trigger", "news", { "n": 4 }],
        ["trigger", "news", { "n": 5, "long": "x".repeat(9_000) }],
    ]);
    publish(rig.proxy.address(), None, steps).await;
    for _ in 0..3 {
        client.until_event("news");
    }
    let attempts = rig.attempts().await;
    let captured = |operation: &str| -> Vec<(Option<&str>, Applied)> {
        let mut named: Vec<&Attempt> = attempts
            .iter()
            .filter(|one| &*one.operation == operation)
            .collect();
        named.sort_by_key(|one| one.began);
        named
            .iter()
            .map(|one| (one.captured.get("n").map(String::as_str), one.applied))
            .collect()
    };
    let ids = [Some("1"), Some("two"), None, Some("4"), Some("5")];
    assert_eq!(captured("PublishEvent"), ids.map(|id| (id, Applied::Yes)));
    // Every second one was dropped on its way to the client.
    let fates = [
        Applied::Yes,
        Applied::No,
        Applied::Yes,
        Applied::No,
        Applied::Yes,
    ];
    let delivered: Vec<_> = ids.into_iter().zip(fates).collect();
    assert_eq!(captured("Deliver"), delivered);
}

const TOLD_TO_GO: &str = r#"title = "Channels closes a client for good"
system = "system.toml"
hold = "1s"

[[phase]]
name = "steady"
lasts = "3s"
steady = true

[[phase]]
name = "told to go"
lasts = "3s"
  [[phase.fault]]
  kind = "error"
  on = "channels"
  error = "4001"
  told = "close"
  when = { operation = "Subscribe" }

[[phase]]
name = "recovery"
lasts = "4s"

[[expect]]
id = "STAYS"
that = "a client that is told to stay away does"
kind = "obeys-codes"
on = "channels"
clients = 1
silent_for = "3s"
during = ["told to go"]
"#;

/// A run of a program on pusher-js with this in its environment.
fn told_to_go(more: &str) -> Left {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/channels_app.js");
    let modules = node::modules();
    let place = |what: &str| format!("\"{{dependency.channels.{what}}}\"");
    let system = format!(
        r#"[system]
command = ["node", {program:?}, "{{port.app}}"]
env = {{ NODE_PATH = {modules:?}, HOST = {}, PORT = {}, KEY = {}{more} }}
url = "http://127.0.0.1:{{port.app}}"
ready = {{ path = "/healthz", within = "60s" }}
stop = {{ signal = "TERM", within = "5s" }}

[dependency.channels]
protocol = "pusher"
upstream = "embedded"

[load.page]
rate = "10/s"
arrivals = "constant"
request = {{ path = "/page" }}
timeout = "5s"
"#,
        place("host"),
        place("port"),
        place("app_key")
    );
    let bench = Bench::new()
        .file("system.toml", &system)
        .file("outage.toml", TOLD_TO_GO);
    bench.brownout(&["run", "outage.toml", "--seed", "1"])
}

/// A whole run each: pusher-js as it comes stays away, one whose program connects it again does not, and
/// where nobody was told anything nothing is shown.
#[test]
fn who_comes_back_though_told_to_stay_away_fails_a_run() {
    let (heeds, stubborn, silent) = thread::scope(|all| {
        let heeds = all.spawn(|| told_to_go(""));
        let stubborn = all.spawn(|| told_to_go(r#", STUBBORN = "1""#));
        let silent = all.spawn(|| told_to_go(r#", SILENT = "1""#));
        (heeds.join(), stubborn.join(), silent.join())
    });
    let heeds = heeds.expect("it ran");
    heeds.assert_status(0);
    assert_eq!(heeds.verdict("STAYS"), "pass");
    let stubborn = stubborn.expect("it ran");
    stubborn.assert_status(1);
    let verdict = stubborn.verdict_of("STAYS");
    assert_eq!(verdict["status"], "fail");
    let first = verdict["evidence"][0]["what"].as_str().unwrap_or_default();
    assert!(
        first.contains("connected") && first.contains("after 4001"),
        "{verdict:#}"
    );
    let silent = silent.expect("it ran");
    silent.assert_status(2);
    assert_eq!(silent.verdict("STAYS"), "inconclusive");
}
