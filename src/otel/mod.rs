//! OpenTelemetry: what the system asked of its dependencies, and the faults that acted on it, as spans
//! in the team's own traces.
//!
//! A request that bears a `traceparent` becomes a span of its trace, below the span of the client that
//! sent it; any other begins a trace of its own, one for all attempts of a call. Nothing of that is
//! done where the requests pass: an attempt that is over is put into a queue, and a thread of its own
//! makes spans of what is there and sends them, as OTLP over HTTP in JSON, to where the variables of
//! OpenTelemetry say. A queue that is full, or a receiver that does not answer, costs spans and no time;
//! they are counted.
//!
//! The writer is our own: the exporters of the field bring gRPC, protocol buffers and a second runtime
//! of spans for what are two hundred lines here, as all our spans are of one kind and over when they
//! are made.

mod send;
mod settings;
mod span;

pub use settings::{Settings, Trouble};

use crate::history::{self, Attempt, Recorder};
use send::Receiver;
use span::{Ended, Naming};
use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};

/// How many attempts may wait to be sent; what comes beyond is lost, and counted.
const QUEUE: usize = 8_192;

/// How many spans go in one request.
const BATCH: usize = 512;

/// How long a span may wait for others to go with it.
const BATCH_WITHIN: Duration = Duration::from_secs(1);

/// How long the last spans may take to be sent.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Sends spans for as long as it lives. There is one in a process.
#[derive(Debug)]
pub struct Traces {
    queue: mpsc::Sender<Entry>,
    thread: JoinHandle<()>,
    tally: Arc<Tally>,
}

/// What became of the spans.
#[derive(Debug, Default)]
struct Tally {
    /// How many there should have been.
    wanted: AtomicU64,
    sent: AtomicU64,
    why: parking_lot::Mutex<Option<String>>,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Spans that the receiver took.
    pub sent: u64,
    /// Spans that were lost: there were too many, or nobody took them.
    pub lost: u64,
    /// Why the last of those were not taken.
    pub why: Option<String>,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sent, lost) = (self.sent, self.lost);
        write!(f, "traces: {sent} spans sent, {lost} lost")?;
        match &self.why {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}

/// What goes through the queue.
enum Entry {
    Ended(Box<Ended>),
    /// The last one.
    End,
}

impl Traces {
    /// Begins to send what every recorder of this process is told from now on.
    ///
    /// # Errors
    /// There is one already, or the machine gives us no further thread.
    pub fn begin(settings: Settings) -> io::Result<Self> {
        let (traces, listener) = Self::start(settings)?;
        if history::listen(listener) {
            Ok(traces)
        } else {
            Err(io::Error::other("traces are sent already"))
        }
    }

    /// The thread, and what it is to be told of each attempt.
    fn start(
        settings: Settings,
    ) -> io::Result<(Self, impl Fn(&Recorder, &Attempt) + Send + Sync + 'static)> {
        let (queue, entries) = mpsc::channel(QUEUE);
        let tally = Arc::new(Tally::default());
        let receiver = Receiver::new(settings.endpoint, settings.headers, settings.timeout)?;
        let sender = Sender {
            receiver,
            resource: settings.resource,
            naming: Naming::fresh(),
            tally: Arc::clone(&tally),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let work = move || runtime.block_on(sender.run(entries));
        let thread = thread::Builder::new()
            .name("traces".to_owned())
            .spawn(work)?;
        let (told, counts) = (queue.clone(), Arc::clone(&tally));
        let listener = move |recorder: &Recorder, attempt: &Attempt| {
            // Whoever began the trace does not want it recorded.
            if attempt.trace.is_some_and(|trace| !trace.is_sampled) {
                return;
            }
            counts.wanted.fetch_add(1, Ordering::Relaxed);
            let ended = Ended::now(recorder, attempt, SystemTime::now());
            // One for which there is no place is lost.
            let _ = told.try_send(Entry::Ended(Box::new(ended)));
        };
        let traces = Self {
            queue,
            thread,
            tally,
        };
        Ok((traces, listener))
    }

    /// Sends what is left, for five seconds at most, and says how it went.
    pub fn end(self) -> Sent {
        let until = std::time::Instant::now() + END_WITHIN;
        let mut end = Entry::End;
        // Where the queue is full, what is in it goes first.
        while let Err(mpsc::error::TrySendError::Full(again)) = self.queue.try_send(end) {
            end = again;
            if std::time::Instant::now() > until {
                break;
            }
            thread::park_timeout(Duration::from_millis(10));
        }
        while !self.thread.is_finished() && std::time::Instant::now() < until {
            thread::park_timeout(Duration::from_millis(5));
        }
        let tally = &self.tally;
        let sent = tally.sent.load(Ordering::Relaxed);
        Sent {
            sent,
            lost: tally.wanted.load(Ordering::Relaxed).saturating_sub(sent),
            why: tally.why.lock().clone(),
        }
    }
}

/// What lives on the thread.
struct Sender {
    receiver: Receiver,
    resource: Vec<(String, String)>,
    naming: Naming,
    tally: Arc<Tally>,
}

impl Sender {
    async fn run(self, mut entries: mpsc::Receiver<Entry>) {
        let mut goes_on = true;
        while goes_on {
            let mut batch = Vec::new();
            goes_on = gather(&mut entries, &mut batch).await;
            if batch.is_empty() {
                continue;
            }
            let body = span::body(&batch, &self.resource, &self.naming);
            let count = batch.len() as u64;
            let sending = self.receiver.take(body);
            let sent = match goes_on {
                true => sending.await,
                false => timeout(END_WITHIN, sending)
                    .await
                    .unwrap_or_else(|_| Err("no time was left for the last ones".to_owned())),
            };
            match sent {
                Ok(()) => _ = self.tally.sent.fetch_add(count, Ordering::Relaxed),
                Err(why) => *self.tally.why.lock() = Some(why),
            }
        }
    }
}

/// Takes what comes until a batch is full or its first has waited long enough. False at the end.
async fn gather(entries: &mut mpsc::Receiver<Entry>, batch: &mut Vec<Ended>) -> bool {
    let mut until = None;
    while batch.len() < BATCH {
        let next = match until {
            None => entries.recv().await,
            Some(until) => match timeout_at(until, entries.recv()).await {
                Ok(next) => next,
                Err(_) => return true,
            },
        };
        match next {
            Some(Entry::Ended(ended)) => batch.push(*ended),
            Some(Entry::End) | None => return false,
        }
        until.get_or_insert_with(|| Instant::now() + BATCH_WITHIN);
    }
    true
}

#[cfg(test)]
mod tests;
