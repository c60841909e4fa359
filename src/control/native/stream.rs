//! What happens, as it happens, for whoever looks: events that the server sends.
//!
//! Each is made once for all readers. A reader that is slow loses what it does not read in time, and
//! is then told how everything stands; nothing is kept for it beyond the few that are on their way.

use super::{Api, answer};
use crate::control::toxiproxy::Seen;
use bytes::Bytes;
use futures_util::stream;
use http::Response;
use serde::Serialize;
use serde_json::json;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, broadcast},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// The most readers at once.
pub(crate) const READERS_MAX: usize = 16;

/// How often everybody is told how things are going.
const TICK: Duration = Duration::from_millis(500);

/// How long changes are gathered before they are told.
const GATHER: Duration = Duration::from_millis(50);

/// How often a reader is shown that somebody is there, though nothing happens.
const COMMENT: Duration = Duration::from_secs(15);

/// Events that wait for a reader.
const QUEUE: usize = 16;

/// The most calls of one event.
const CALLS_MAX: usize = 200;

/// Where events come out.
#[derive(Debug)]
pub(crate) struct Outlet {
    events: broadcast::Sender<Bytes>,
    readers: Arc<Semaphore>,
    stopping: CancellationToken,
}

/// Somebody who looks.
struct Reader {
    api: Arc<Api>,
    events: broadcast::Receiver<Bytes>,
    first: Option<&'static str>,
    stopping: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Outlet {
    /// Nobody looks.
    pub(crate) fn new() -> Self {
        Self {
            events: broadcast::Sender::new(QUEUE),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            stopping: CancellationToken::new(),
        }
    }

    /// Ends all that goes on here.
    pub(crate) fn stop(&self) {
        self.stopping.cancel();
    }

    /// The answer to somebody who wants to look.
    pub(crate) fn answer(&self, api: &Arc<Api>) -> Response<answer::Body> {
        let Ok(permit) = Arc::clone(&self.readers).try_acquire_owned() else {
            let what = format!("{READERS_MAX} look already, which is the most there may be");
            return answer::problem(429, &what, "close another page");
        };
        let reader = Reader {
            api: Arc::clone(api),
            // What happens from here on is heard.
            events: self.events.subscribe(),
            first: Some("state"),
            stopping: self.stopping.clone(),
            _permit: permit,
        };
        let pieces = stream::unfold(reader, |mut reader| async {
            let piece = reader.next().await?;
            Some((piece, reader))
        });
        answer::with(200, "text/event-stream", answer::flowing(pieces))
    }

    fn has_readers(&self) -> bool {
        self.events.receiver_count() > 0
    }

    fn send(&self, event: Bytes) {
        // Nobody may be there any more.
        let _ = self.events.send(event);
    }
}

impl Reader {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(name) = self.first.take() {
            return Some(event(name, &self.api.state().await));
        }
        let next = timeout(COMMENT, self.events.recv());
        let next = tokio::select! {
            next = next => next,
            () = self.stopping.cancelled() => return None,
        };
        match next {
            Ok(Ok(piece)) => Some(piece),
            // It was slow, and has to be told how things stand.
            Ok(Err(broadcast::error::RecvError::Lagged(_))) => {
                Some(event("changed", &self.api.state().await))
            }
            Ok(Err(broadcast::error::RecvError::Closed)) => None,
            Err(_) => Some(Bytes::from_static(b": nothing new\n\n")),
        }
    }
}

fn event(name: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// Looks at everything twice a second, and tells those who look. It ends with the API.
pub(crate) async fn tell(api: Weak<Api>) {
    let mut pace = interval(TICK);
    pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let Some((mut bench, mut runs, stopping)) = api.upgrade().map(|api| {
        let stopping = api.outlet.stopping.clone();
        (api.bench.changes(), api.runs.changes(), stopping)
    }) else {
        return;
    };
    let mut told = Told::default();
    loop {
        let is_change = tokio::select! {
            () = stopping.cancelled() => return,
            _ = pace.tick() => false,
            changed = bench.changed() => { if changed.is_err() { return; } true }
            changed = runs.changed() => { if changed.is_err() { return; } true }
        };
        if is_change {
            sleep(GATHER).await;
            bench.borrow_and_update();
            runs.borrow_and_update();
        }
        let Some(api) = api.upgrade() else { return };
        if is_change {
            if api.outlet.has_readers() {
                let state = api.state().await;
                api.outlet.send(event("changed", &state));
            }
        } else {
            told.tick(&api).await;
        }
    }
}

/// Up to where calls were told.
#[derive(Default)]
struct Told {
    bench: u64,
    run: (u64, u64),
    toxiproxy: u64,
}

impl Told {
    async fn tick(&mut self, api: &Arc<Api>) {
        let has_readers = api.outlet.has_readers();
        let seen = api.proxies.proxies().seen(has_readers).await;
        api.sample(&seen);
        if !has_readers {
            self.bench = api.bench.with_window(|window| window.next());
            return;
        }
        let names = fingerprint(&seen);
        if std::mem::replace(&mut self.toxiproxy, names) != names {
            let state = api.state().await;
            api.outlet.send(event("changed", &state));
        }
        let under_way = api.under_way(None).await;
        api.outlet.send(event("tick", &api.tick(&seen, &under_way)));
        self.calls(api);
    }

    fn calls(&mut self, api: &Arc<Api>) {
        // What ends meanwhile is told twice rather than not at all.
        let next = api.bench.with_window(|window| window.next());
        let mut calls = api
            .bench
            .calls(None, std::mem::replace(&mut self.bench, next), CALLS_MAX);
        if let Some(run) = api.runs.last() {
            if self.run.0 != run.id() {
                self.run = (run.id(), 0);
            }
            let next = run.next_attempt();
            calls.extend(run.calls(std::mem::replace(&mut self.run.1, next), CALLS_MAX));
        }
        if !calls.is_empty() {
            api.outlet.send(event("calls", &json!({ "calls": calls })));
        }
    }
}

/// Another number once proxies or their toxics are others.
fn fingerprint(seen: &[Seen]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for proxy in seen {
        (&proxy.name, &proxy.listen, &proxy.upstream).hash(&mut hasher);
        for toxic in &proxy.toxics {
            toxic.to_string().hash(&mut hasher);
        }
    }
    hasher.finish()
}
