//! Messages that bots send on the channels of third parties, Slack and Intercom.
//!
//! *As it was*: each is tried once in the background after it was accepted; one that fails is gone.
//!
//! *Remedied*: each waits in its channel's outbox until the channel takes it, in order; a channel
//! that fails is tried again ever more rarely, at moments that are not everybody's.

use super::health::Health;
use crate::{
    reference::{
        Variant,
        web::{Endpoint, Patience, Pool},
    },
    seed::Seed,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, header};
use rand::Rng;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::JoinSet, time};

/// The most messages that wait in an outbox; a further one is refused.
const WAITING_MAX: usize = 10_000;

/// How long a channel may take.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(1),
    answer: Duration::from_secs(2),
};

/// The first and the longest pause after a failure.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A third party's channel.
#[derive(Debug)]
pub(super) struct Channel {
    outbox: mpsc::Sender<Outgoing>,
}

/// A message on its way out.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    /// The client's own id of it.
    pub id: String,
    /// What it says.
    pub text: String,
}

impl Channel {
    /// Opens the channel `name` at `to`, whose messages go to `path`.
    pub(super) fn open(
        variant: Variant,
        (name, to, path): (&'static str, Endpoint, &'static str),
        health: Arc<Health>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (outbox, waiting) = mpsc::channel(WAITING_MAX);
        let line = Arc::new(Line {
            name,
            pool: Pool::new(to),
            path,
            health,
        });
        match variant {
            Variant::AsItWas => tasks.spawn(line.try_each_once(waiting)),
            Variant::Remedied => tasks.spawn(line.deliver_all(waiting)),
        };
        Self { outbox }
    }

    /// Accepts a message; false when the outbox is full.
    pub(super) fn send(&self, message: Outgoing) -> bool {
        self.outbox.try_send(message).is_ok()
    }
}

/// The way to a channel.
#[derive(Debug)]
struct Line {
    name: &'static str,
    pool: Pool,
    path: &'static str,
    health: Arc<Health>,
}

impl Line {
    async fn try_each_once(self: Arc<Self>, mut waiting: mpsc::Receiver<Outgoing>) {
        let mut tries = JoinSet::new();
        loop {
            tokio::select! {
                message = waiting.recv() => {
                    let Some(message) = message else { break };
                    let line = Arc::clone(&self);
                    tries.spawn(async move {
                        if !line.deliver(&message).await {
                            eprintln!("{}: message {} is lost", line.name, message.id);
                        }
                    });
                }
                Some(_) = tries.join_next() => {}
            }
        }
    }

    async fn deliver_all(self: Arc<Self>, mut waiting: mpsc::Receiver<Outgoing>) {
        let mut random = Seed::fresh().stream(&["reference", self.name]);
        while let Some(message) = waiting.recv().await {
            let mut pause = PAUSE;
            while !self.deliver(&message).await {
                // Between half the pause and the whole.
                let half = pause / 2;
                let part = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
                time::sleep(half + half.mul_f64(part)).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }

    async fn deliver(&self, message: &Outgoing) -> bool {
        let body = json!({ "id": message.id, "text": message.text });
        let request = Request::post(self.path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())));
        let taken = match request {
            Ok(request) => self.pool.ask(request, PATIENCE).await,
            Err(_) => return false,
        };
        let taken = taken.is_ok_and(|answer| answer.status().is_success());
        self.health.ended(self.name, taken);
        taken
    }
}
