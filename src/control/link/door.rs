//! Where the clients of one proxy connect. Every connection gets its own task, which also connects
//! to the server: one that is slow to answer keeps nobody else waiting.

use super::{Lines, Memory, close, pass};
use crate::control::{Tell, toxiproxy::Counters};
use parking_lot::Mutex;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a server may take to accept a connection; then its client's is closed.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);

/// How long accepting rests after it failed, for instance because no file descriptor was left.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// What all connections of one proxy have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Where they lead.
    pub(crate) way: Mutex<Way>,
    /// Their toxics.
    pub(crate) lines: Lines,
    /// What went through.
    pub(crate) counters: Arc<Counters>,
    /// What they may hold.
    pub(crate) memory: Memory,
    /// How many there may be, of all proxies.
    pub(crate) permits: Permits,
    /// How many there were.
    pub(crate) links: Arc<AtomicU64>,
}

/// How many connections there may be. Of each proxy one more is accepted and waits for its turn;
/// further ones wait in the kernel's queue.
#[derive(Debug, Clone)]
pub(crate) struct Permits {
    free: Arc<Semaphore>,
    most: usize,
    /// Whether somebody was told that they had run out.
    is_said: Arc<AtomicBool>,
    tell: Tell,
}

impl Permits {
    /// So many; who has to wait for one is told of, once.
    pub(crate) fn new(most: usize, tell: Tell) -> Self {
        Self {
            free: Arc::new(Semaphore::new(most)),
            most,
            is_said: Arc::default(),
            tell,
        }
    }

    /// One of them, as soon as there is one.
    async fn one(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(permit);
        }
        if !self.is_said.swap(true, Ordering::Relaxed) {
            self.tell.error(format_args!(
                "{} connections are open, which is the most there may be: further ones wait (with a higher `ulimit -n` there may be more, up to 10000)",
                self.most
            ));
        }
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}

/// Where connections lead, and what ends those that are led there.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    /// `host:port`.
    server: String,
    closed: CancellationToken,
}

impl Way {
    /// The way to a server: `host:port`.
    pub(crate) fn to(server: String) -> Mutex<Self> {
        Mutex::new(Self {
            server,
            closed: CancellationToken::new(),
        })
    }
}

/// A listener with its connections. Dropping it closes them without waiting.
#[derive(Debug)]
pub(crate) struct Door {
    address: SocketAddr,
    shared: Arc<Shared>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Door {
    /// Binds the address and begins to accept.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub(crate) fn open(address: SocketAddr, shared: Shared) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let door = Self {
            address: listener.local_addr()?,
            shared: Arc::new(shared),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        door.tasks.spawn(accept(
            listener,
            Arc::clone(&door.shared),
            door.tasks.clone(),
            door.stopping.clone(),
        ));
        door.tasks.close();
        Ok(door)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> u64 {
        // One task accepts them, and each has one.
        self.tasks.len().saturating_sub(1) as u64
    }

    /// Leads connections there from now on, and closes those that lead elsewhere.
    pub(crate) fn lead(&self, server: String) {
        let mut way = self.shared.way.lock();
        way.closed.cancel();
        *way = Way {
            server,
            closed: CancellationToken::new(),
        };
    }

    /// Leads new connections there from now on, leaves those that lead elsewhere, and gives their
    /// way.
    pub(crate) fn lead_new(&self, server: String) -> Way {
        let way = Way {
            server,
            closed: CancellationToken::new(),
        };
        std::mem::replace(&mut *self.shared.way.lock(), way)
    }

    /// Leads connections this way again, and closes those that lead elsewhere.
    pub(crate) fn lead_back(&self, to: Way) {
        let mut way = self.shared.way.lock();
        way.closed.cancel();
        *way = to;
    }

    /// Closes the listener and every connection, and waits until the port is free. None of them
    /// waits for its peer.
    pub(crate) async fn shut(self) {
        self.stopping.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stopping: CancellationToken,
) {
    // A listener with nothing to accept must not keep a permit from the others.
    let next = async || {
        let (client, _) = listener.accept().await.ok()?;
        // In the order in which they came, whichever task is first to run: the number decides what
        // happens to it.
        let number = shared.links.fetch_add(1, Ordering::Relaxed);
        let permit = shared.permits.one().await?;
        Some((client, number, permit))
    };
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => return,
            accepted = next() => accepted,
        };
        let Some((client, number, permit)) = accepted else {
            sleep(ACCEPT_REST).await;
            continue;
        };
        let (shared, stopping) = (Arc::clone(&shared), stopping.clone());
        tasks.spawn(async move {
            live((client, number), &shared, &stopping).await;
            drop(permit);
        });
    }
}

async fn live((client, number): (TcpStream, u64), shared: &Shared, stopping: &CancellationToken) {
    let way = shared.way.lock().clone();
    let connecting = timeout(CONNECT_WITHIN, TcpStream::connect(way.server.as_str()));
    let server = tokio::select! {
        () = stopping.cancelled() => return,
        () = way.closed.cancelled() => return,
        connected = connecting => connected,
    };
    // A client whose server is not there is closed, as its users know it.
    let Ok(Ok(server)) = server else {
        return close(&client);
    };
    // Fails only on connections that are already gone.
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let stopped = async {
        tokio::select! {
            () = stopping.cancelled() => {}
            () = way.closed.cancelled() => {}
        }
    };
    pass((client, server), number, shared, stopped).await;
}
