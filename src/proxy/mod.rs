//! Stands between the system and a dependency and carries out what faults decide. Owns sockets
//! and delays; decides nothing itself: every decision comes from the
//! [`FaultSet`](crate::fault::FaultSet) in force.
//!
//! A connection's way through: the `door` accepts it (or lets its connect time out, or refuses
//! it), its bytes pass a `wire` on which byte-stream and connection faults act, below TLS as on a
//! real network, and above the wire an engine speaks its protocol: the `relay` for tcp, `http` for
//! HTTP and S3, `redis` for Redis, `mysql` for MySQL and MariaDB, `postgres` for PostgreSQL. The
//! [`ForwardProxy`] leads connections for hosts that are wired into libraries to the doors of their
//! dependencies.
//!
//! With no fault in force the bytes of a plain tcp connection are spliced in the kernel, where many come
//! at once.

mod conduct;
mod connection;
mod decide;
mod door;
mod evidence;
mod forward_proxy;
pub mod http;
mod inlet;
mod mysql;
mod postgres;
mod redis;
mod relay;
mod replayed;
mod reserve;
mod scratch;
mod shape;
mod sockets;
#[cfg(target_os = "linux")]
mod splice;
mod statement;
mod station;
#[cfg(test)]
mod tally;
pub mod tls;
mod upstream;
mod wire;

pub use forward_proxy::{ForwardProxy, Route};
pub use upstream::UpstreamAddress;

use crate::{
    fault::Switch,
    history::Recorder,
    protocol::Protocol,
    scenario::{Capture, KeyFrom},
    seed::Seed,
    units::Micros,
};
use connection::Shared;
use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What a proxy is for.
#[derive(Debug)]
pub struct Config {
    /// The dependency's name, as observations carry it.
    pub dependency: Arc<str>,
    /// What is spoken.
    pub protocol: Protocol,
    /// A fixed address; otherwise an ephemeral port on 127.0.0.1.
    pub listen: Option<SocketAddr>,
    /// TLS towards the system.
    pub tls: Option<Arc<tls::Front>>,
    /// What stands behind.
    pub upstream: UpstreamAddress,
    /// TLS towards the dependency: see [`tls::client_config`].
    pub upstream_tls: Arc<rustls::ClientConfig>,
    /// Virtual-host style of S3: the host name's suffix.
    pub virtual_host: Option<String>,
    /// What is kept of each request, by name.
    pub capture: BTreeMap<String, Capture>,
    /// What is the key of a statement or command, where the protocol's own is not wanted.
    pub key: Option<KeyFrom>,
    /// Bounds.
    pub limits: Limits,
    /// The run's seed.
    pub seed: Seed,
}

/// The bounds of one proxy, and what happens at each. Those of HTTP's heads are constants: see
/// [`http::head`].
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Bytes held back per direction of a connection by delays, hangs and stalls; then nothing
    /// more is read (backpressure), never dropped. What a latency alone holds back may be more, by
    /// 256 MiB for all connections of the process together.
    pub held_bytes: usize,
    /// Bytes of answers remembered for the fault that gives them again; then the oldest is
    /// forgotten. Zero, where no such fault is planned, saves the copying.
    pub answers_bytes: usize,
    /// Time to connect to the dependency, TLS included; then the client's connection is reset.
    pub connect: Duration,
    /// Time for the client's TLS handshake; then it is closed. While a fault acts it goes on.
    pub handshake: Duration,
    /// Time that a connection closed by FIN waits for the client's own FIN.
    pub linger: Duration,
    /// Time in which a database must take back a transaction of which its client is told so; then
    /// both connections are reset.
    pub undo: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            held_bytes: 8 * 1024 * 1024,
            answers_bytes: 32 * 1024 * 1024,
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            linger: Duration::from_secs(2),
            undo: Duration::from_secs(10),
        }
    }
}

/// What went through a proxy so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now.
    pub open: u64,
    /// Requests that have no answer yet, where the protocol shows requests.
    pub under_way: u64,
    /// Bytes from the system.
    pub bytes_up: u64,
    /// Bytes to the system.
    pub bytes_down: u64,
    /// Connects to the dependency that failed.
    pub upstream_failures: u64,
}

/// A request that has no answer yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderWay {
    /// The proxy's number of its connection.
    pub connection: u64,
    /// Which request of its connection it is, from 1.
    pub number: u64,
    /// When its first byte came, on the run's clock.
    pub began: Micros,
    /// What is asked, as its observation will say.
    pub operation: Arc<str>,
    /// What it is asked of; empty where that is nothing.
    pub key: Arc<str>,
}

/// A running proxy in front of one dependency. Dropping it closes everything without waiting;
/// [`Proxy::stop`] waits until all observations are recorded.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Proxy {
    /// Binds the address and begins to accept. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn start(config: Config, switch: Switch, recorder: Recorder) -> io::Result<Self> {
        let listen = config
            .listen
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let door = door::Door::bind(listen)?;
        let address = door.address();
        let shared = Arc::new(Shared::new(config, switch, recorder));
        let stopping = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(door.run(Arc::clone(&shared), tasks.clone(), stopping.clone()));
        tasks.spawn(Arc::clone(&shared.station).run(stopping.clone()));
        tasks.close();
        Ok(Self {
            address,
            shared,
            stopping,
            tasks,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the system is given: `http://127.0.0.1:1234`, `https://…` with a TLS front,
    /// `tcp://…` for plain streams.
    pub fn url(&self) -> String {
        let tls = self.shared.config.tls.as_ref();
        let tls = tls.filter(|front| front.plain() != tls::Plain::Preferred);
        let scheme = match (self.shared.config.protocol, tls) {
            (Protocol::Http | Protocol::S3 | Protocol::Pusher, None) => "http",
            (Protocol::Http | Protocol::S3 | Protocol::Pusher, Some(_)) => "https",
            (Protocol::Tcp, _) => "tcp",
            (Protocol::Redis, None) => "redis",
            (Protocol::Redis, Some(_)) => "rediss",
            (Protocol::Mysql, _) => "mysql",
            (Protocol::Postgres, _) => "postgres",
        };
        format!("{scheme}://{}", self.address)
    }

    /// Connects to the dependency once, with TLS where it speaks TLS, and remembers whether it
    /// speaks HTTP/2: only then HTTP/2 is offered to the system.
    ///
    /// # Errors
    /// What is wrong, as a fragment for people: `cannot connect to db:5432: connection refused`.
    pub async fn check_upstream(&self) -> Result<(), String> {
        self.shared.upstream.check().await
    }

    /// The dependency speaks HTTP/2 also without TLS, if asked to begin so: it is offered to the
    /// system behind a TLS front.
    pub fn offer_http2(&self) {
        self.shared.upstream.assume_http2();
    }

    /// What went through so far.
    pub fn counters(&self) -> Counts {
        self.shared.counters.snapshot()
    }

    /// The requests that have no answer yet, the oldest first, at most so many; of each connection at
    /// most 64.
    pub fn under_way(&self, most: usize) -> Vec<UnderWay> {
        self.shared.counters.under_way(most)
    }

    /// How many requests came so far, where the protocol shows them: each is in the history, or is
    /// not over.
    pub fn requests(&self) -> u64 {
        self.shared.calls.lock().requests()
    }

    /// Comes back when the listener follows the faults in force.
    pub async fn follows(&self) {
        self.turned(|_| true).await;
    }

    /// Comes back when the listener follows the faults in force, and whom they hit before anything is
    /// accepted was looked at once more: a fifth of a second later where they close it, else at once.
    pub async fn looked(&self) {
        let turns = self.shared.turned.borrow().turns;
        // The look that was on its way may have come too early.
        self.turned(|turned| !turned.is_watched || turned.turns >= turns + 2)
            .await;
    }

    async fn turned(&self, enough: impl Fn(&door::Turned) -> bool) {
        let shared = &self.shared;
        let follows = |turned: &door::Turned| {
            let set = turned.set.as_ref();
            set.is_some_and(|set| Arc::ptr_eq(set, &shared.switch.current())) && enough(turned)
        };
        // The sender lives as long as we do.
        let _ = shared.turned.subscribe().wait_for(follows).await;
    }

    /// Accepts no more, closes every open connection at once, waits until their observations are
    /// recorded, and frees the port.
    pub async fn stop(self) {
        self.stopping.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

#[cfg(test)]
mod tests;
