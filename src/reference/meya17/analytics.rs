//! Tracking by Segment: every message that a bot answers is an event.
//!
//! *As it was* (the simplest call there is; how the real one was made is not known): the event is
//! sent before the answer, and the answer waits for it.
//!
//! *Remedied*: events wait in a bounded queue beside the conversation, one worker sends them, a
//! Segment that keeps failing is left alone, and what does not fit, or was not taken, is dropped and
//! counted by the event's name.

use super::health::Health;
use crate::reference::{
    breaker::Breaker,
    web::{Endpoint, Patience, Pool},
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, header};
use serde_json::{Value, json};
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
        events: mpsc::Sender<Event>,
        dropped: Arc<Dropped>,
    },
}

/// Something that happened.
#[derive(Debug, Clone)]
pub(super) struct Event {
    /// The bot it happened to.
    pub bot: u32,
    /// What.
    pub what: What,
    /// The message's own id, if it has one: Segment's `messageId`.
    pub id: Option<String>,
}

/// What is tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A bot was talked to.
    Message,
    /// A bot with a component was.
    Component,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Component => "component",
        }
    }
}

/// Events that were dropped, by what they were.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    messages: AtomicU64,
    components: AtomicU64,
}

impl Dropped {
    fn count(&self, what: What) -> &AtomicU64 {
        match what {
            What::Message => &self.messages,
            What::Component => &self.components,
        }
    }

    fn add(&self, what: What) {
        self.count(what).fetch_add(1, Ordering::Relaxed);
    }
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
        let dropped = Arc::<Dropped>::default();
        tasks.spawn(work(
            Pool::new(segment),
            health,
            waiting,
            Arc::clone(&dropped),
        ));
        Self::Beside { events, dropped }
    }

    /// Tracks an event.
    pub(super) async fn track(&self, event: Event) {
        match self {
            Self::Inline { segment, health } => {
                let sent = send(segment, &event, LIBRARY).await;
                health.ended("segment", sent);
            }
            Self::Beside { events, dropped } => {
                let what = event.what;
                if events.try_send(event).is_err() {
                    dropped.add(what);
                }
            }
        }
    }

    /// How many events wait, and how many were dropped. As it was nobody counted.
    pub(super) fn status(&self) -> Value {
        match self {
            Self::Inline { .. } => json!({}),
            Self::Beside { events, dropped } => {
                let of = |what| dropped.count(what).load(Ordering::Relaxed);
                json!({
                    "waiting": events.max_capacity() - events.capacity(),
                    "dropped": {
                        "message": of(What::Message),
                        "component": of(What::Component),
                    },
                })
            }
        }
    }
}

/// Sends what waits, as long as Segment takes it. While the breaker is open events wait, and the
/// queue's bound decides.
async fn work(
    segment: Pool,
    health: Arc<Health>,
    mut waiting: mpsc::Receiver<Event>,
    dropped: Arc<Dropped>,
) {
    let breaker = Breaker::new(FAILURES, REST);
    while let Some(event) = waiting.recv().await {
        while !breaker.lets_through() {
            tokio::time::sleep(REST / 10).await;
        }
        let sent = send(&segment, &event, BRIEF).await;
        if !sent {
            dropped.add(event.what);
        }
        breaker.ended(sent);
        health.ended("segment", sent);
    }
}

async fn send(segment: &Pool, event: &Event, patience: Patience) -> bool {
    let user = format!("bot-{}", event.bot);
    let event = json!({ "userId": user, "event": event.what.name(), "messageId": event.id });
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
