//! The server over real sockets, with a client of WebSockets that knows nothing of ours.

use super::sign::{md5, signature};
use crate::{
    embedded::{Embedded, Options, start},
    history::Recorder,
};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

/// Longer than anything here takes.
const WITHIN: Duration = Duration::from_secs(20);

fn server(app: super::App) -> Embedded {
    let options = Options {
        app,
        ..Options::default()
    };
    start("pusher", options, Recorder::channel(16).0).unwrap()
}

struct Client {
    stream: WebSocketStream<TcpStream>,
    socket: String,
}

impl Client {
    /// A WebSocket, its handshake made by hand.
    async fn open(server: &Embedded, target: &str) -> WebSocketStream<TcpStream> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        let answer = String::from_utf8(answer).unwrap().to_lowercase();
        assert!(answer.starts_with("http/1.1 101"), "{answer}");
        assert!(
            answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
            "{answer}"
        );
        WebSocketStream::from_raw_socket(stream, Role::Client, None).await
    }

    async fn connect(server: &Embedded) -> Self {
        let target = "/app/brownout-key?protocol=7&client=test&version=1";
        let mut client = Self {
            stream: Self::open(server, target).await,
            socket: String::new(),
        };
        let first = client.next().await;
        assert_eq!(first["event"], "pusher:connection_established");
        let data: Value = serde_json::from_str(first["data"].as_str().unwrap()).unwrap();
        assert!(data["activity_timeout"].as_u64().unwrap() > 0);
        client.socket = data["socket_id"].as_str().unwrap().to_owned();
        client
    }

    async fn message(&mut self) -> Option<Message> {
        let next = timeout(WITHIN, self.stream.next()).await;
        next.expect("a message in time").and_then(Result::ok)
    }

    async fn next(&mut self) -> Value {
        match self.message().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The next message's data, which is JSON in a text.
    async fn data(&mut self, event: &str) -> Value {
        let message = self.next().await;
        assert_eq!(message["event"], event, "{message}");
        serde_json::from_str(message["data"].as_str().unwrap()).unwrap()
    }

    async fn say(&mut self, message: Value) {
        let message = Message::text(message.to_string());
        self.stream.send(message).await.unwrap();
    }

    async fn subscribe(&mut self, data: Value) {
        self.say(json!({ "event": "pusher:subscribe", "data": data }))
            .await;
    }

    fn auth(&self, rest: &str) -> String {
        let text = format!("{}:{rest}", self.socket);
        let signed = signature("brownout-secret", text.as_bytes());
        format!("brownout-key:{signed}")
    }

    async fn close(&mut self) -> (u16, String) {
        loop {
            match self.message().await {
                Some(Message::Close(Some(frame))) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Some(Message::Text(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn join(&mut self, user: &str) -> Value {
        let data = json!({ "user_id": user, "user_info": { "n": user } }).to_string();
        let auth = self.auth(&format!("presence-room:{data}"));
        self.subscribe(json!({ "channel": "presence-room", "auth": auth, "channel_data": data }))
            .await;
        self.data("pusher_internal:subscription_succeeded").await
    }
}

async fn send(server: &Embedded, method: &str, target: &str, body: &str) -> (u16, String) {
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "x")
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        head.status.as_u16(),
        String::from_utf8_lossy(&body).into_owned(),
    )
}

/// A signed request of the HTTP API.
async fn ask(server: &Embedded, method: &str, path: &str, more: &str, body: &str) -> (u16, String) {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let mut pairs: Vec<String> = vec![
        "auth_key=brownout-key".to_owned(),
        format!("auth_timestamp={now}"),
        "auth_version=1.0".to_owned(),
    ];
    if !body.is_empty() {
        pairs.push(format!("body_md5={}", md5(body.as_bytes())));
    }
    pairs.extend(
        more.split('&')
            .filter(|one| !one.is_empty())
            .map(str::to_owned),
    );
    pairs.sort();
    let query = pairs.join("&");
    let signed = signature(
        "brownout-secret",
        format!("{method}\n{path}\n{query}").as_bytes(),
    );
    let target = format!("{path}?{query}&auth_signature={signed}");
    send(server, method, &target, body).await
}

fn publish(channels: &[&str], data: &str) -> String {
    json!({ "name": "news", "channels": channels, "data": data }).to_string()
}

#[tokio::test]
async fn what_is_published_reaches_the_subscribers_of_the_channel_alone() {
    let server = server(super::App::default());
    let (mut one, mut other) = (
        Client::connect(&server).await,
        Client::connect(&server).await,
    );
    assert_ne!(one.socket, other.socket);
    for (client, channel) in [(&mut one, "a"), (&mut other, "b")] {
        client.subscribe(json!({ "channel": channel })).await;
        client.data("pusher_internal:subscription_succeeded").await;
    }
    let body = publish(&["a"], "{\"n\":1}");
    let told = ask(&server, "POST", "/apps/1/events", "", &body).await;
    assert_eq!(told, (200, "{}".to_owned()));
    let event = one.next().await;
    assert_eq!(event["event"], "news");
    assert_eq!(event["channel"], "a");
    assert_eq!(event["data"], "{\"n\":1}");
    // The other channel's subscriber hears of its own first.
    let body = publish(&["b"], "{\"n\":2}");
    ask(&server, "POST", "/apps/1/events", "", &body).await;
    assert_eq!(other.next().await["data"], "{\"n\":2}");
    one.say(json!({ "event": "pusher:unsubscribe", "data": { "channel": "a" } }))
        .await;
    one.say(json!({ "event": "pusher:ping", "data": {} })).await;
    assert_eq!(one.next().await["event"], "pusher:pong");
    let body = publish(&["a"], "{\"n\":3}");
    ask(&server, "POST", "/apps/1/events", "", &body).await;
    one.say(json!({ "event": "pusher:ping", "data": {} })).await;
    assert_eq!(one.next().await["event"], "pusher:pong");
    server.stop().await;
}

#[tokio::test]
async fn private_channels_want_a_signature_and_client_events_pass_to_the_others() {
    let server = server(super::App::default());
    let (mut one, mut other) = (
        Client::connect(&server).await,
        Client::connect(&server).await,
    );
    one.subscribe(json!({ "channel": "private-x", "auth": "brownout-key:00" }))
        .await;
    let refused = one.next().await;
    assert_eq!(refused["event"], "pusher:error");
    assert_eq!(refused["data"]["code"], 4009);
    for client in [&mut one, &mut other] {
        let auth = client.auth("private-x");
        client
            .subscribe(json!({ "channel": "private-x", "auth": auth }))
            .await;
        client.data("pusher_internal:subscription_succeeded").await;
    }
    let said = json!({ "event": "client-hi", "channel": "private-x", "data": { "n": 1 } });
    one.say(said.clone()).await;
    assert_eq!(other.next().await, said);
    for n in 1..=15 {
        one.say(json!({ "event": "client-n", "channel": "private-x", "data": n }))
            .await;
    }
    let refused = one.next().await;
    assert_eq!(refused["data"]["code"], 4301, "{refused}");
}

#[tokio::test]
async fn presence_channels_know_who_is_there() {
    let server = server(super::App::default());
    let (mut one, mut other) = (
        Client::connect(&server).await,
        Client::connect(&server).await,
    );
    let first = one.join("u1").await;
    assert_eq!(first["presence"]["count"], 1);
    let second = other.join("u2").await;
    assert_eq!(second["presence"]["ids"], json!(["u1", "u2"]));
    assert_eq!(second["presence"]["hash"]["u1"], json!({ "n": "u1" }));
    let added = one.data("pusher_internal:member_added").await;
    assert_eq!(added["user_id"], "u2");
    let told = ask(
        &server,
        "GET",
        "/apps/1/channels/presence-room/users",
        "",
        "",
    )
    .await;
    assert_eq!(
        told,
        (
            200,
            json!({ "users": [{ "id": "u1" }, { "id": "u2" }] }).to_string()
        )
    );
    let more = "filter_by_prefix=presence-&info=user_count";
    let (status, told) = ask(&server, "GET", "/apps/1/channels", more, "").await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (status, &told["channels"]["presence-room"]["user_count"]),
        (200, &json!(2))
    );
    drop(other);
    let removed = one.data("pusher_internal:member_removed").await;
    assert_eq!(removed["user_id"], "u2");
    let (_, told) = ask(
        &server,
        "GET",
        "/apps/1/channels/presence-room",
        "info=user_count",
        "",
    )
    .await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told, json!({ "occupied": true, "user_count": 1 }));
}

#[tokio::test]
async fn a_batch_is_published_whole_or_not_at_all() {
    let server = server(super::App::default());
    let mut client = Client::connect(&server).await;
    client.subscribe(json!({ "channel": "a" })).await;
    client.data("pusher_internal:subscription_succeeded").await;
    let event =
        |channel: &str, data: &str| json!({ "channel": channel, "name": "n", "data": data });
    let broken = json!({ "batch": [event("a", "1"), event("no space", "2")] }).to_string();
    let (status, _) = ask(&server, "POST", "/apps/1/batch_events", "", &broken).await;
    assert_eq!(status, 400);
    let whole = json!({ "batch": [event("a", "3"), event("a", "4")] }).to_string();
    let told = ask(&server, "POST", "/apps/1/batch_events", "", &whole).await;
    assert_eq!(told, (200, "{}".to_owned()));
    assert_eq!(client.next().await["data"], "3");
    assert_eq!(client.next().await["data"], "4");
}

#[tokio::test]
async fn requests_that_cannot_be_served_are_refused_in_channels_words() {
    let server = server(super::App::default());
    let large = publish(&["a"], &"x".repeat(10_241));
    for (method, path, body, status, said) in [
        ("POST", "/apps/1/events", large.as_str(), 413, "exceeds"),
        ("POST", "/apps/1/events", "{}", 400, "Invalid body"),
        ("POST", "/apps/2/events", "{}", 404, "Unknown app_id"),
        ("GET", "/apps/1/channels/a/users", "", 400, "presence"),
        ("GET", "/apps/1/nothing", "", 404, "Not found"),
        ("GET", "/", "", 404, "Not found"),
    ] {
        let (seen, text) = ask(&server, method, path, "", body).await;
        assert_eq!(seen, status, "{path}: {text}");
        assert!(text.contains(said), "{path}: {text}");
    }
    let (status, text) = send(&server, "POST", "/apps/1/events?auth_key=x", "{}").await;
    assert_eq!((status, text.contains("missing")), (401, true), "{text}");
}

#[tokio::test]
async fn connections_that_are_wrong_are_closed_with_their_code() {
    let server = server(super::App::default());
    for (target, code, reason) in [
        ("/app/other?protocol=7", 4001, "Application does not exist"),
        ("/nothing?protocol=7", 4005, "Path not found"),
        (
            "/app/brownout-key?protocol=x",
            4006,
            "Invalid version string format",
        ),
        (
            "/app/brownout-key?protocol=4",
            4007,
            "Unsupported protocol version",
        ),
        ("/app/brownout-key", 4008, "No protocol version supplied"),
    ] {
        let mut client = Client {
            stream: Client::open(&server, target).await,
            socket: String::new(),
        };
        assert_eq!(client.close().await, (code, reason.to_owned()), "{target}");
    }
    // Old clients are told in a message as well.
    let mut old = Client {
        stream: Client::open(&server, "/app/other?protocol=5").await,
        socket: String::new(),
    };
    let said = old.next().await;
    assert_eq!(said["event"], "pusher:error");
    assert_eq!(said["data"]["code"], 4001);
    assert_eq!(old.close().await.0, 4001);
}

#[tokio::test]
async fn garbage_ends_one_connection_and_harms_no_other() {
    use tokio::io::AsyncWriteExt;
    let server = server(super::App::default());
    let mut healthy = Client::connect(&server).await;
    let mut broken = Client::connect(&server).await;
    broken.say(json!("no event")).await;
    assert_eq!(broken.next().await["event"], "pusher:error");
    broken
        .stream
        .get_mut()
        .write_all(&[0xff; 64])
        .await
        .unwrap();
    loop {
        match broken.message().await {
            None | Some(Message::Close(_)) => break,
            Some(_) => {}
        }
    }
    let mut large = Client::connect(&server).await;
    // The server may close before it has read everything.
    let _ = large.stream.send(Message::text("x".repeat(100_000))).await;
    loop {
        match large.message().await {
            None | Some(Message::Close(_)) => break,
            Some(_) => {}
        }
    }
    healthy.say(json!({ "event": "pusher:ping" })).await;
    assert_eq!(healthy.next().await["event"], "pusher:pong");
}

#[tokio::test]
async fn a_silent_client_is_pinged() {
    let app = super::App {
        activity_timeout: Duration::from_secs(1),
        ..super::App::default()
    };
    let server = server(app);
    let mut client = Client::connect(&server).await;
    assert_eq!(client.next().await["event"], "pusher:ping");
    client.say(json!({ "event": "pusher:pong" })).await;
    assert_eq!(client.next().await["event"], "pusher:ping");
}

#[tokio::test]
async fn webhooks_are_signed_in_order_and_told_again_until_heard() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = super::App {
        webhook: Some(format!("http://{}/hook", listener.local_addr().unwrap())),
        ..super::App::default()
    };
    let server = server(app);
    let mut client = Client::connect(&server).await;
    client.subscribe(json!({ "channel": "a" })).await;
    client.data("pusher_internal:subscription_succeeded").await;
    let mut heard = Vec::new();
    for status in ["500 No", "200 OK", "200 OK"] {
        if heard.len() == 2 {
            client
                .say(json!({ "event": "pusher:unsubscribe", "data": { "channel": "a" } }))
                .await;
        }
        let (mut stream, _) = timeout(WITHIN, listener.accept()).await.unwrap().unwrap();
        let mut request = String::new();
        let body = loop {
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).await.unwrap();
            request.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
            if let Some((_, body)) = request.split_once("\r\n\r\n")
                && serde_json::from_str::<Value>(body).is_ok()
            {
                break body.to_owned();
            }
        };
        let head = request.to_lowercase();
        let signed = signature("brownout-secret", body.as_bytes());
        assert!(head.starts_with("post /hook "), "{head}");
        assert!(head.contains("x-pusher-key: brownout-key"), "{head}");
        assert!(
            head.contains(&format!("x-pusher-signature: {signed}")),
            "{head}"
        );
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        heard.push(body);
    }
    assert_eq!(heard[0], heard[1], "the same webhook again");
    let event = |body: &str| serde_json::from_str::<Value>(body).unwrap()["events"][0].clone();
    assert_eq!(
        event(&heard[0]),
        json!({ "name": "channel_occupied", "channel": "a" })
    );
    assert_eq!(
        event(&heard[2]),
        json!({ "name": "channel_vacated", "channel": "a" })
    );
}
