//! Where the clients of one proxy connect. Every connection gets its own task, which also connects
//! to the server: one that is slow to answer keeps nobody else waiting.

use super::{Lines, Memory, close, pass};
use crate::control::toxiproxy::Counters;
use parking_lot::Mutex;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
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
    /// How many there may be, of all proxies. Further ones wait in the kernel's queue.
    pub(crate) permits: Arc<Semaphore>,
    /// How many there were.
    pub(crate) links: Arc<AtomicU64>,
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

    /// Leads connections there from now on, and closes those that lead elsewhere.
    pub(crate) fn lead(&self, server: String) {
        let mut way = self.shared.way.lock();
        way.closed.cancel();
        *way = Way {
            server,
            closed: CancellationToken::new(),
        };
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
    let next = async || {
        let permit = Arc::clone(&shared.permits).acquire_owned().await.ok()?;
        let (client, _) = listener.accept().await.ok()?;
        Some((client, permit))
    };
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => return,
            accepted = next() => accepted,
        };
        match accepted {
            Some((client, permit)) => {
                tasks.spawn(live(client, Arc::clone(&shared), stopping.clone(), permit));
            }
            None => sleep(ACCEPT_REST).await,
        }
    }
}

async fn live(
    client: TcpStream,
    shared: Arc<Shared>,
    stopping: CancellationToken,
    _permit: OwnedSemaphorePermit,
) {
    let number = shared.links.fetch_add(1, Ordering::Relaxed);
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
    pass((client, server), number, &shared, stopped).await;
}
