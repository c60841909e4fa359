//! Tracking by Segment: every message that a bot answers is an event.
//!
//! *As it was* (the simplest call there is; how the real one was made is not known): the event is
//! sent before the answer, and the answer waits for it.
//!
//! *Remedied*: events wait in a bounded queue beside the conversation, one worker sends them, a
//! Segment that keeps failing is left alone, and what does not fit is dropped and counted.

use super::health::Health;
use crate::reference::{
    breaker::Breaker,
    web::{Endpoint, Patience, Pool},
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, header};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinSet};

/// Segment's name, as its libraries have it.
pub(super) const HOST: &str = "api.segment.io";

/// The most events that wait.
const WAITING_MAX: usize = 200;

/// Failures in a row after which Segment is left alone, and for how long.
const FAILURES: u32 = 5;
const REST: Duration = Duration::from_secs(3);

/// As Segment's own libraries: ten seconds for everything.
const LIBRARY: Patience = Patience {
    connect: Duration::from_secs(10),
    answer: Duration::from_secs(10),
};

/// For a worker that has nobody waiting, but a queue that fills.
const BRIEF: Patience = Patience {
    connect: Duration::from_millis(500),
    answer: Duration::from_millis(500),
};

/// The way to Segment.
#[derive(Debug)]
pub(super) enum Analytics {
    /// As it was.
    Inline { segment: Pool, health: Arc<Health> },
    /// Remedied.
    Beside {
        events: mpsc::Sender<u32>,
        dropped: AtomicU64,
    },
}

impl Analytics {
    pub(super) fn inline(segment: Endpoint, health: Arc<Health>) -> Self {
        Self::Inline {
            segment: Pool::new(segment),
            health,
        }
    }

    pub(super) fn beside(segment: Endpoint, health: Arc<Health>, tasks: &mut JoinSet<()>) -> Self {
        let (events, waiting) = mpsc::channel(WAITING_MAX);
        tasks.spawn(work(Pool::new(segment), health, waiting));
        Self::Beside {
            events,
            dropped: AtomicU64::new(0),
        }
    }

    /// Tracks that a bot was talked to.
    pub(super) async fn track(&self, bot: u32) {
        match self {
            Self::Inline { segment, health } => {
                let sent = send(segment, bot, LIBRARY).await;
                health.ended("segment", sent);
            }
            Self::Beside { events, dropped } => {
                if events.try_send(bot).is_err() {
                    dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Events that found no room.
    pub(super) fn dropped(&self) -> u64 {
        match self {
            Self::Inline { .. } => 0,
            Self::Beside { dropped, .. } => dropped.load(Ordering::Relaxed),
        }
    }
}

/// Sends what waits, as long as Segment takes it. While the breaker is open events wait, and the
/// queue's bound decides.
async fn work(segment: Pool, health: Arc<Health>, mut waiting: mpsc::Receiver<u32>) {
    let breaker = Breaker::new(FAILURES, REST);
    while let Some(bot) = waiting.recv().await {
        while !breaker.lets_through() {
            tokio::time::sleep(REST / 10).await;
        }
        let sent = send(&segment, bot, BRIEF).await;
        breaker.ended(sent);
        health.ended("segment", sent);
    }
}

async fn send(segment: &Pool, bot: u32, patience: Patience) -> bool {
    let event = json!({ "userId": format!("bot-{bot}"), "event": "message" });
    let request = Request::post("/v1/track")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(event.to_string())));
    match request {
        Ok(request) => segment
            .ask(request, patience)
            .await
            .is_ok_and(|answer| answer.status().is_success()),
        Err(_) => false,
    }
}
