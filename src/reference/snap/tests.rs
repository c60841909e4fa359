//! Both variants against the embedded Channels server: questions reach agents, and what each does
//! when Pusher is not there must show without Brownout.

use super::*;
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
use hyper::{Request, StatusCode};
use pusher::App;
use serde_json::{Value, json};
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{sync::mpsc, time};

/// Anything that does not happen within this time counts as never.
const NEVER: Duration = Duration::from_secs(20);

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn app() -> App {
    let known = embedded::App::default();
    App {
        id: known.id,
        key: known.key,
        secret: known.secret,
    }
}

struct Chat {
    server: Server,
    _portals: Portals,
    transcripts: mpsc::Receiver<Observation>,
    _sink: Embedded,
    _pusher: Option<Embedded>,
}

/// A live chat, with Pusher or without it.
fn chat(variant: Variant, has_pusher: bool) -> Chat {
    let (recorder, transcripts) = Recorder::channel(64);
    let sink = embedded::start("sink", embedded::Options::default(), recorder).unwrap();
    let none = Recorder::channel(16).0;
    let pusher =
        has_pusher.then(|| embedded::start("pusher", embedded::Options::default(), none).unwrap());
    let pusher_url = match &pusher {
        Some(pusher) => format!("http://{}", pusher.address()),
        None => "http://127.0.0.1:1".to_owned(),
    };
    let setup = ServerSetup {
        variant,
        pusher: pusher_url.clone(),
        app: app(),
        pager: None,
        plan: None,
    };
    let server = Server::start(ANYWHERE, setup).unwrap();
    let portals = Portals::open(PortalsSetup {
        variant,
        server: format!("http://{}", server.address()),
        pusher: pusher_url,
        transcripts: format!("http://{}", sink.address()),
        app: app(),
    })
    .unwrap();
    Chat {
        server,
        _portals: portals,
        transcripts,
        _sink: sink,
        _pusher: pusher,
    }
}

impl Chat {
    async fn send(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let endpoint = Endpoint::parse(&format!("http://{}", self.server.address())).unwrap();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        let patience = Patience {
            connect: NEVER,
            answer: NEVER,
        };
        let answer = ask(&endpoint, request, patience).await.unwrap();
        let body = serde_json::from_slice(answer.body()).unwrap();
        (answer.status(), body)
    }

    /// Waits until all agents hear by this transport.
    async fn all_hear_by(&self, transport: &str) {
        time::timeout(NEVER, async {
            loop {
                let (_, roll) = self.send("GET", "/agents", Value::Null).await;
                if roll[transport] == roll["of"] {
                    break;
                }
            }
        })
        .await
        .expect("every agent hears");
    }

    /// The transcript that comes next.
    async fn transcript(&mut self) -> Value {
        let next = time::timeout(NEVER, self.transcripts.recv()).await;
        match next.expect("a transcript").unwrap() {
            Observation::Message(Message { body, .. }) => serde_json::from_str(&body).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn in_both_variants_a_question_reaches_an_agent_over_pusher() {
    for variant in [Variant::AsItWas, Variant::Remedied] {
        let mut chat = chat(variant, true);
        chat.all_hear_by("realtime").await;
        let (status, _) = chat.send("POST", "/chats", json!({ "id": "q1" })).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(chat.transcript().await["id"], "q1");
        let away = json!({ "status": "away" });
        let (status, _) = chat.send("PUT", "/agents/1/status", away).await;
        assert_eq!(status, StatusCode::OK);
        let (_, shown) = chat.send("GET", "/agents/1/status", Value::Null).await;
        assert_eq!(shown["status"], "away");
    }
}

#[tokio::test]
async fn remedied_a_question_reaches_an_agent_without_pusher() {
    let mut chat = chat(Variant::Remedied, false);
    chat.all_hear_by("fallback").await;
    let (status, _) = chat.send("POST", "/chats", json!({ "id": "q1" })).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(chat.transcript().await["id"], "q1");
    let away = json!({ "status": "away" });
    let (status, _) = chat.send("PUT", "/agents/1/status", away).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn as_it_was_a_question_is_offered_to_nobody_and_the_status_cannot_be_changed() {
    let chat = chat(Variant::AsItWas, false);
    let heard = async {
        while chat.send("POST", "/chats", json!({ "id": "q1" })).await.0 != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    time::timeout(NEVER, heard)
        .await
        .expect("agents say that they are there");
    let away = json!({ "status": "away" });
    let (status, _) = chat.send("PUT", "/agents/1/status", away).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    let (_, shown) = chat.send("GET", "/agents/1/status", Value::Null).await;
    assert_eq!(shown["status"], "available");
    let (_, state) = chat.send("GET", "/chats/q1", Value::Null).await;
    assert_eq!(state["state"], "waiting");
}
