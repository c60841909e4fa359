//! The thread on which a proxy lives, and how to know that it has dealt with all that reached it.
//!
//! The runtime of that thread is its own, so that a test may be blocked, have another runtime or none.
//! And as nobody else works there, it can be said when it is *quiet*: nothing is left that it could
//! do. Whatever reached a socket before somebody asks is dealt with once the thread has been quiet,
//! has then looked at its sockets, and is quiet again. So what is asked for is complete, and nothing
//! sleeps.

use super::Error;
use crate::{
    fault::Switch,
    history::{self, Observation, Recorder},
    proxy::{Config, Proxy},
};
use parking_lot::Mutex;
use std::{
    io, mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
    time::timeout,
};

/// How often the thread must have been quiet: before and after it has looked at its sockets. One look
/// takes up to 1024 events, so there is another.
const QUIET: usize = 4;

/// How long to wait for that.
const QUIET_WITHIN: Duration = Duration::from_secs(10);

/// How many observations may wait to be put on record; then requests wait, see [`Recorder::room`].
const QUEUE: usize = 16_384;

/// What is asked of the thread.
enum Ask {
    /// To say when the listener follows the faults.
    Follow(oneshot::Sender<()>),
    /// To say when all is on record, and how many requests are not over then.
    Settle(oneshot::Sender<Option<u64>>),
    /// The same, with a record that is empty from then on.
    Forget(oneshot::Sender<Option<u64>>),
}

/// The thread. Dropping it closes every connection, frees the port, and waits for that.
#[derive(Debug)]
pub(super) struct Backstage {
    dependency: Arc<str>,
    asks: Option<mpsc::UnboundedSender<Ask>>,
    thread: Option<JoinHandle<()>>,
}

/// What was seen so far, up to a bound.
#[derive(Debug)]
pub(super) struct Record {
    /// Attempts, in the order in which they were over.
    pub(super) attempts: Vec<history::Attempt>,
    /// Connections that are closed, in the order in which they were.
    pub(super) connections: Vec<history::Connection>,
    /// How many of either there was no place for.
    pub(super) forgotten: u64,
    /// How many observations never came here. What is in flight cannot be told any more.
    pub(super) dropped: u64,
    /// How many attempts were counted as requests when they began.
    counted: u64,
    keep: usize,
}

impl Record {
    pub(super) fn new(keep: usize) -> Self {
        Self {
            attempts: Vec::new(),
            connections: Vec::new(),
            forgotten: 0,
            dropped: 0,
            counted: 0,
            keep,
        }
    }

    /// Begins anew. `requests` came so far, `under_way` of which are not over: what never came here is
    /// taken for what did.
    fn clear(&mut self, requests: u64, under_way: u64) {
        self.attempts.clear();
        self.connections.clear();
        self.forgotten = 0;
        if std::mem::take(&mut self.dropped) > 0 {
            self.counted = requests.saturating_sub(under_way);
        }
    }

    fn take(&mut self, observation: Observation) {
        match observation {
            Observation::Attempt(attempt) => {
                // A head that is none names no request.
                self.counted += u64::from(&*attempt.operation != "malformed");
                kept(&mut self.attempts, attempt, self.keep, &mut self.forgotten);
            }
            Observation::Connection(one) => {
                kept(&mut self.connections, one, self.keep, &mut self.forgotten);
            }
            _ => {}
        }
    }
}

fn kept<T>(list: &mut Vec<T>, one: T, most: usize, forgotten: &mut u64) {
    if list.len() < most {
        list.push(one);
    } else {
        *forgotten += 1;
    }
}

/// Where the proxy is.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) address: std::net::SocketAddr,
    pub(super) url: String,
}

impl Backstage {
    /// Starts a proxy on a thread of its own.
    pub(super) fn start(
        config: Config,
        switch: Switch,
        record: Arc<Mutex<Record>>,
    ) -> io::Result<(Self, Address, Recorder)> {
        let dependency = Arc::clone(&config.dependency);
        let quiet = Arc::new(Quiet::default());
        let parking = Arc::clone(&quiet);
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(4)
            .on_thread_park(move || parking.now())
            .build()?;
        let (recorder, queue) = Recorder::channel(QUEUE);
        let started = {
            let _inside = runtime.enter();
            Proxy::start(config, switch, recorder.clone())
        };
        let proxy = match started {
            Ok(proxy) => proxy,
            Err(error) => {
                // To drop it would wait, which nobody may in async code.
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let address = Address {
            address: proxy.address(),
            url: proxy.url(),
        };
        let (asks, asked) = mpsc::unbounded_channel();
        let stage = Stage {
            proxy,
            record,
            recorder: recorder.clone(),
            quiet,
        };
        let live = move || {
            runtime.block_on(stage.live(asked, queue));
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name(format!("brownout {dependency}"));
        let thread = thread.spawn(live)?;
        let backstage = Self {
            dependency,
            asks: Some(asks),
            thread: Some(thread),
        };
        Ok((backstage, address, recorder))
    }

    /// Comes back when the listener follows the faults in force.
    pub(super) fn follow(&self) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        self.ask(Ask::Follow)
    }

    /// Comes back when all that had reached the proxy is on record, with how many requests are not
    /// over then.
    pub(super) fn settle(&self) -> impl Future<Output = Result<u64, Error>> + Send + use<> {
        self.settled(Ask::Settle)
    }

    /// Forgets all that had reached the proxy, also that something of it was lost.
    pub(super) fn forget(&self) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let forgotten = self.settled(Ask::Forget);
        async move { forgotten.await.map(|_| ()) }
    }

    fn settled(
        &self,
        ask: fn(oneshot::Sender<Option<u64>>) -> Ask,
    ) -> impl Future<Output = Result<u64, Error>> + Send + use<> {
        let dependency = Arc::clone(&self.dependency);
        let asked = self.ask(ask);
        async move {
            asked.await?.ok_or(Error::Restless {
                dependency,
                seconds: QUIET_WITHIN.as_secs(),
            })
        }
    }

    fn ask<T>(
        &self,
        ask: fn(oneshot::Sender<T>) -> Ask,
    ) -> impl Future<Output = Result<T, Error>> + use<T> {
        let (sender, answer) = oneshot::channel();
        if let Some(asks) = &self.asks {
            // Where nobody listens any more, nobody answers.
            let _ = asks.send(ask(sender));
        }
        let dependency = Arc::clone(&self.dependency);
        async move { answer.await.map_err(|_| Error::Gone { dependency }) }
    }

    /// Closes every connection, frees the port, and waits until all of that is on record.
    pub(super) fn end(&mut self) {
        self.asks = None;
        if let Some(thread) = self.thread.take() {
            // Its panic has been said on standard error.
            let _ = thread.join();
        }
    }
}

impl Drop for Backstage {
    fn drop(&mut self) {
        self.end();
    }
}

/// What lives on the thread.
struct Stage {
    proxy: Proxy,
    record: Arc<Mutex<Record>>,
    recorder: Recorder,
    quiet: Arc<Quiet>,
}

impl Stage {
    /// Answers until nobody can ask any more, then stops the proxy.
    async fn live(
        self,
        mut asked: mpsc::UnboundedReceiver<Ask>,
        mut queue: mpsc::Receiver<Observation>,
    ) {
        let record = Arc::clone(&self.record);
        let recorder = self.recorder.clone();
        let recording = tokio::spawn(async move {
            while let Some(observation) = queue.recv().await {
                record.lock().take(observation);
                recorder.taken();
            }
        });
        while let Some(ask) = asked.recv().await {
            match ask {
                Ask::Follow(answer) => {
                    self.proxy.follows().await;
                    // Who asked may have gone.
                    let _ = answer.send(());
                }
                Ask::Settle(answer) => {
                    let _ = answer.send(self.settled().await);
                }
                Ask::Forget(answer) => {
                    let settled = self.settled().await;
                    if settled.is_some() {
                        let under_way = self.proxy.counters().under_way;
                        let mut record = self.record.lock();
                        record.clear(self.proxy.requests(), under_way);
                    }
                    let _ = answer.send(settled);
                }
            }
        }
        self.proxy.stop().await;
        self.quiet.times(QUIET).await;
        self.record.lock().dropped += self.recorder.take_dropped();
        recording.abort();
    }

    /// How many requests are not over, once all that are over are on record.
    async fn settled(&self) -> Option<u64> {
        self.proxy.looked().await;
        let quiet = timeout(QUIET_WITHIN, self.quiet.times(QUIET)).await;
        quiet.ok()?;
        let mut record = self.record.lock();
        record.dropped += self.recorder.take_dropped();
        Some(self.proxy.requests().saturating_sub(record.counted))
    }
}

/// Knows when nothing is left to do on the thread.
#[derive(Debug, Default)]
struct Quiet {
    count: AtomicU64,
    waiting: Mutex<Vec<Waker>>,
}

impl Quiet {
    /// There is nothing left to do: the thread is about to sleep.
    fn now(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        // Whoever is woken makes it look at its sockets without sleeping.
        for waker in mem::take(&mut *self.waiting.lock()) {
            waker.wake();
        }
    }

    /// Comes back when nothing was left to do so often.
    async fn times(&self, times: usize) {
        for _ in 0..times {
            let before = self.count.load(Ordering::Relaxed);
            std::future::poll_fn(|context| {
                if self.count.load(Ordering::Relaxed) > before {
                    return Poll::Ready(());
                }
                self.waiting.lock().push(context.waker().clone());
                Poll::Pending
            })
            .await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sample::attempt;

    #[test]
    fn what_was_lost_once_is_forgotten_with_the_rest() {
        let mut record = Record::new(10);
        let ended = |record: &mut Record| {
            let ended = attempt("stock", 1_000, 1_500).status(200).done();
            record.take(Observation::Attempt(ended));
        };
        ended(&mut record);
        ended(&mut record);
        // Of five requests two are on record, two were lost, and one is under way.
        record.dropped = 2;
        record.clear(5, 1);
        assert_eq!((record.forgotten, record.dropped), (0, 0));
        assert_eq!(5 - record.counted, 1, "what is in flight can be told again");
        // Nothing was lost, and so nothing is guessed.
        ended(&mut record);
        record.clear(7, 0);
        assert_eq!((record.attempts.len(), 7 - record.counted), (0, 2));
    }
}
