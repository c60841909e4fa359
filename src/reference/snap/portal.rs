//! An agent's portal in the browser: it listens for visitors' questions and reads them.
//!
//! *As it was*: it does what pusher-js does of itself. A code from 4000 to 4099 is the end, until
//! somebody loads the page again; after 4100 to 4199 it tries again each second, after 4200 to 4299
//! at once. There is no other way to it.
//!
//! *Remedied*: its heartbeats are answered with what waits for it; while Pusher does not take it, it
//! asks the server for its inbox instead, and tries
//! Pusher again every few seconds, at moments that are not everybody's. Each question is read once,
//! whichever way it came. It says what it was refused with; a connection that broke is no refusal
//! until a new one does not come about either.

use super::pusher::{App, Gone, Subscription};
use crate::{
    reference::{
        Variant,
        web::{Endpoint, Patience, Pool},
    },
    seed::Seed,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, header};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::{self, Instant};

/// How often a portal says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How often it asks for its inbox while Pusher does not take it.
const POLL: Duration = Duration::from_millis(300);

/// The pause before Pusher is tried again, remedied: this, and up to half as much again.
const RETRY: Duration = Duration::from_secs(3);

/// The server's own requests.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(2),
    answer: Duration::from_secs(3),
};

/// What all portals share.
#[derive(Debug)]
pub(super) struct Office {
    pub variant: Variant,
    pub app: App,
    pub pusher: Endpoint,
    pub server: Pool,
    pub transcripts: Pool,
}

/// How a portal hears of questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    /// Over Pusher.
    Realtime,
    /// From its inbox.
    Fallback,
    /// Not at all.
    Nothing,
}

/// One agent's portal.
pub(super) struct Portal {
    office: Arc<Office>,
    agent: u32,
    random: ChaCha8Rng,
    transport: Transport,
    /// What Pusher refused it with last; 0: the network.
    refused: Option<u16>,
    /// Before then Pusher is not tried again, remedied: the page remembers it when it is loaded anew.
    again: Option<Instant>,
    /// Questions that were read; the remedied portal hears of one more than once.
    read: BTreeSet<String>,
}

impl Portal {
    pub(super) fn new(office: Arc<Office>, agent: u32) -> Self {
        Self {
            random: Seed::fresh().stream(&["reference", "portal", &agent.to_string()]),
            office,
            agent,
            transport: Transport::Nothing,
            refused: None,
            again: None,
            read: BTreeSet::new(),
        }
    }

    /// Works until it is dropped. The page is loaded again once, after `reload`: agents do that at
    /// their own times.
    pub(super) async fn work(mut self, reload: Duration) {
        let again = Instant::now() + reload;
        tokio::select! {
            () = self.stay() => {}
            () = time::sleep_until(again) => {}
        }
        self.transport = Transport::Nothing;
        self.refused = None;
        self.stay().await;
    }

    /// A loaded page.
    async fn stay(&mut self) {
        self.fall_back().await;
        loop {
            let channel = format!("agent-{}", self.agent);
            let office = Arc::clone(&self.office);
            let gone = match Subscription::open(&office.pusher, &office.app, &channel).await {
                Ok(subscription) => {
                    self.transport = Transport::Realtime;
                    self.refused = None;
                    self.listen(subscription).await
                }
                Err(gone) => gone,
            };
            self.refused = match gone {
                Gone::Code(code) => Some(code),
                Gone::Network if self.transport == Transport::Realtime => None,
                Gone::Network => Some(0),
            };
            self.without_pusher(gone).await;
        }
    }

    async fn listen(&mut self, mut subscription: Subscription) -> Gone {
        self.say_here().await;
        if self.office.variant == Variant::Remedied {
            // What came while nobody listened.
            self.read_inbox().await;
        }
        let mut heartbeat = time::interval(HEARTBEAT);
        loop {
            tokio::select! {
                question = subscription.await_event("question") => match question {
                    Ok(question) => self.take(&question).await,
                    Err(gone) => return gone,
                },
                _ = heartbeat.tick() => self.say_here().await,
            }
        }
    }

    /// Until Pusher may be tried again.
    async fn without_pusher(&mut self, gone: Gone) {
        match (self.office.variant, gone) {
            (Variant::AsItWas, Gone::Code(4000..=4099)) => {
                self.transport = Transport::Nothing;
                let mut heartbeat = time::interval(HEARTBEAT);
                loop {
                    heartbeat.tick().await;
                    self.say_here().await;
                }
            }
            (Variant::AsItWas, Gone::Code(4200..=4299)) => {}
            (Variant::AsItWas, _) => {
                self.transport = Transport::Nothing;
                self.say_here().await;
                time::sleep(Duration::from_secs(1)).await;
            }
            (Variant::Remedied, _) => {
                self.again = Some(Instant::now() + RETRY + RETRY.mul_f64(self.dice() / 2.0));
                self.fall_back().await;
            }
        }
    }

    /// Reads the inbox until Pusher may be tried again, if that is not now.
    async fn fall_back(&mut self) {
        let Some(again) = self.again.filter(|again| *again > Instant::now()) else {
            return;
        };
        self.transport = Transport::Fallback;
        self.say_here().await;
        let mut said = Instant::now();
        while Instant::now() < again {
            self.read_inbox().await;
            if said.elapsed() >= HEARTBEAT {
                self.say_here().await;
                said = Instant::now();
            }
            time::sleep(POLL).await;
        }
    }

    fn dice(&mut self) -> f64 {
        (self.random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    async fn read_inbox(&mut self) {
        let path = format!("/agents/{}/inbox", self.agent);
        let Some(inbox) = self.ask(Method::GET, &path, &Value::Null).await else {
            return;
        };
        for question in inbox["questions"].as_array().into_iter().flatten() {
            self.take(question).await;
        }
    }

    /// Reads a question, unless it was read before.
    async fn take(&mut self, question: &Value) {
        let Some(id) = question["id"].as_str() else {
            return;
        };
        if !self.read.insert(id.to_owned()) {
            return;
        }
        let (office, agent, id) = (Arc::clone(&self.office), self.agent, id.to_owned());
        // What was begun goes on though the page is loaded anew meanwhile: the question was noted as
        // read, and nobody would read it again.
        let reading = tokio::spawn(async move { office.read(agent, &id).await });
        let _ = reading.await;
    }

    async fn say_here(&mut self) {
        let transport = match self.transport {
            Transport::Realtime => "realtime",
            Transport::Fallback => "fallback",
            Transport::Nothing => "nothing",
        };
        let here = json!({ "transport": transport, "refused": self.refused });
        let path = format!("/agents/{}/here", self.agent);
        let answer = self.ask(Method::POST, &path, &here).await;
        let waiting = answer.and_then(|answer| answer["waiting"].as_u64());
        if self.office.variant == Variant::Remedied && waiting > Some(0) {
            // Something was not published, or is on its way: it is read once all the same.
            self.read_inbox().await;
        }
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> Option<Value> {
        self.office.ask(method, path, body).await
    }
}

impl Office {
    /// An agent reads a question: what was said is kept, and the server is told.
    async fn read(&self, agent: u32, id: &str) {
        let line = json!({ "id": id, "agent": agent });
        if let Ok(request) = post("/transcripts", &line) {
            let kept = self.transcripts.ask(request, PATIENCE).await;
            if let Err(failure) = kept {
                eprintln!("agent {agent}: transcript of {id}: {failure}");
            }
        }
        let path = format!("/chats/{id}/read");
        self.ask(Method::POST, &path, &json!({ "agent": agent }))
            .await;
    }

    /// Asks the server.
    async fn ask(&self, method: Method, path: &str, body: &Value) -> Option<Value> {
        let mut request = post(path, body).ok()?;
        *request.method_mut() = method;
        let answer = self.server.ask(request, PATIENCE).await.ok()?;
        serde_json::from_slice(answer.body()).ok()
    }
}

fn post(path: &str, body: &Value) -> http::Result<Request<Full<Bytes>>> {
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::{io::AsyncReadExt, net::TcpListener};

    /// A page that was loaded anew just then lost the question that it was reading.
    #[tokio::test]
    async fn what_is_being_read_is_read_though_the_page_is_loaded_anew() {
        let transcripts = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = |address: std::net::SocketAddr| Endpoint::parse(&format!("http://{address}"));
        let there = || to(transcripts.local_addr().unwrap()).unwrap();
        let office = Arc::new(Office {
            variant: Variant::Remedied,
            app: App::parse("1:key:secret").unwrap(),
            pusher: there(),
            server: Pool::new(there()),
            transcripts: Pool::new(there()),
        });
        let mut portal = Portal::new(office, 1);
        let question = json!({ "id": "q1" });
        assert!(portal.take(&question).now_or_never().is_none());
        let came = async {
            let (mut stream, _) = transcripts.accept().await?;
            let mut came = vec![0; 4096];
            let count = stream.read(&mut came).await?;
            came.truncate(count);
            Ok::<_, std::io::Error>(came)
        };
        let came = time::timeout(PATIENCE.answer, came).await;
        let came = came.expect("it is sent").unwrap();
        let came = String::from_utf8_lossy(&came);
        assert!(came.starts_with("POST /transcripts"), "{came:?}");
    }
}
