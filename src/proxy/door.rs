//! The listener of one dependency: accepts, lets connects time out, or refuses them, as the faults
//! in force want it.
//!
//! - *Refuse*: the listener is really closed. A second socket, bound and never listening, keeps
//!   the port ours meanwhile: nobody is given it as an ephemeral port. (Somebody who asks for this
//!   very port with SO_REUSEADDR would get it. SO_REUSEPORT would prevent that, but would let two
//!   runs with the same fixed address share their connections without a word.)
//! - *No-accept*, on Linux: a packet filter on the listener drops the SYNs of a share of the
//!   connects. The filter sees the client's port alone, so all retransmissions of a connect meet
//!   the same fate, and a client that tries again from a new port is drawn anew. When it is lifted
//!   the next retransmission gets through. It needs no privilege, touches no open connection,
//!   holds the share as exactly as ports are spread, and works for clients on other machines.
//! - *No-accept* elsewhere: all or nothing. Above a half nothing is accepted and the backlog is
//!   the smallest; the kernel itself still completes the first few connects.
//!
//! A saturated backlog was the alternative on Linux too: a group of listeners on one port, some of
//! them filled with connects of our own. It gives shares in steps only, and a client's connect can
//! slip into the queue that is being filled, where it is connected and yet never served.

use super::{
    connection::{self, Shared},
    evidence::Evidence,
};
use crate::{
    fault::{FaultSet, ListenerState},
    seed::name_hash,
    units::Share,
};
use socket2::{Domain, Socket, Type};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The kernel's queue of connections not yet accepted.
const BACKLOG: i32 = 1024;

/// How often a listener state whose parameter moves is asked for anew, and hits are counted.
const TICK: Duration = Duration::from_millis(100);

/// How long to wait after an accept that failed for lack of something, such as descriptors.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// How far the door is: whose will it does, and how often it has looked at whom that hit.
#[derive(Debug, Clone, Default)]
pub(super) struct Turned {
    /// The faults that the listener follows; none before its first turn.
    pub(super) set: Option<Arc<FaultSet>>,
    /// Whether it looks again and again.
    pub(super) is_watched: bool,
    /// How often it has turned. Each look but the first is between two turns.
    pub(super) turns: u64,
}

/// A bound address with its listener.
#[derive(Debug)]
pub(super) struct Door {
    address: SocketAddr,
    /// Keeps the port while the listener is closed.
    _reservation: Socket,
    listener: Option<TcpListener>,
    state: ListenerState,
    /// Mixed into the client's port before the share is drawn from it.
    salt: u32,
}

impl Door {
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let reservation = bound(address)?;
        let address = reservation
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self {
            address,
            listener: Some(listening(address)?),
            _reservation: reservation,
            state: ListenerState::Open,
            salt: 0,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until told to stop.
    pub(super) async fn run(
        mut self,
        shared: Arc<Shared>,
        tasks: TaskTracker,
        stopping: CancellationToken,
    ) {
        let name = name_hash(&["listener", &shared.config.dependency]);
        self.salt = (name ^ shared.config.seed.0) as u32;
        let hall = Hall {
            permits: Arc::new(Semaphore::new(shared.config.limits.connections)),
            shared: Arc::clone(&shared),
            tasks,
            stopping: stopping.clone(),
        };
        let mut faults = shared.switch.subscribe();
        let mut evidence = Evidence::new(self.address, Arc::clone(&shared));
        let mut connection = 0;
        loop {
            let set = Arc::clone(&faults.borrow_and_update());
            let (state, fault) = set.listener(shared.now());
            self.turn(state, &hall, &mut connection);
            evidence.watch(state, fault, &set).await;
            let is_watched = state != ListenerState::Open
                || self.listener.is_none()
                || set.acts_on_listener() && set.moves();
            shared.turned.send_modify(|turned| {
                turned.set = Some(set);
                turned.is_watched = is_watched;
                turned.turns += 1;
            });
            tokio::select! {
                biased;
                () = stopping.cancelled() => {}
                Ok(()) = faults.changed() => {}
                () = tokio::time::sleep(TICK), if is_watched => {}
                () = self.accept(&hall, &mut connection) => {}
            }
            evidence.gather().await;
            if stopping.is_cancelled() {
                return;
            }
        }
    }

    /// Accepts for as long as it is awaited. A permit comes before each accept: at the limit
    /// connections wait in the kernel's queue.
    async fn accept(&self, hall: &Hall, connection: &mut u64) {
        let Some(listener) = self.listener.as_ref().filter(|_| self.lets_in()) else {
            return std::future::pending().await;
        };
        loop {
            let Ok(permit) = Arc::clone(&hall.permits).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((tcp, _)) => hall.admit(tcp, connection, permit),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    /// Whether connections that the kernel has completed are accepted.
    fn lets_in(&self) -> bool {
        cfg!(target_os = "linux")
            || !matches!(self.state, ListenerState::NoAccept(share) if is_most(share))
    }

    /// Takes on a state. What cannot be done leaves the listener as it was; that nothing was hit
    /// then shows in the evidence.
    fn turn(&mut self, state: ListenerState, hall: &Hall, connection: &mut u64) {
        if state == self.state && (self.listener.is_some() || state == ListenerState::Refuse) {
            return;
        }
        if state == ListenerState::Refuse {
            self.admit_waiting(hall, connection);
            self.listener = None;
        } else {
            if self.listener.is_none() {
                self.listener = listening(self.address).ok();
            }
            let share = match state {
                ListenerState::NoAccept(share) => Some(share),
                _ => None,
            };
            if let Some(listener) = &self.listener {
                // A filter that was not attached drops nothing; the evidence says so.
                let _ = leave_unanswered(listener, share, self.salt);
            }
        }
        self.state = state;
    }

    /// Connections completed before the listener closes are let in, as closing would reset them.
    fn admit_waiting(&self, hall: &Hall, connection: &mut u64) {
        let Some(listener) = &self.listener else {
            return;
        };
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        while let Ok(permit) = Arc::clone(&hall.permits).try_acquire_owned() {
            match listener.poll_accept(&mut context) {
                std::task::Poll::Ready(Ok((tcp, _))) => hall.admit(tcp, connection, permit),
                _ => return,
            }
        }
    }
}

/// Where accepted connections live.
struct Hall {
    permits: Arc<Semaphore>,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl Hall {
    fn admit(&self, tcp: TcpStream, connection: &mut u64, permit: OwnedSemaphorePermit) {
        *connection += 1;
        if !cfg!(target_os = "linux") {
            // Fails only on a connection that is already gone.
            let _ = tcp.set_nodelay(true);
        }
        self.tasks.spawn(connection::live(
            tcp,
            *connection,
            Arc::clone(&self.shared),
            self.stopping.clone(),
            permit,
        ));
    }
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Two sockets of ours on one port. On Linux this suffices as long as at most one listens;
    // elsewhere it takes the stronger option.
    socket.set_reuse_address(true)?;
    #[cfg(not(target_os = "linux"))]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listening(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address)?;
    // On Linux each connection has it from its listener, which saves asking for it.
    socket.set_tcp_nodelay(true)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn is_most(share: Share) -> bool {
    share.fraction() > 0.5
}

/// Leaves the SYNs of this share of the client ports unanswered; `None` answers all.
#[cfg(target_os = "linux")]
fn leave_unanswered(listener: &TcpListener, share: Option<Share>, salt: u32) -> io::Result<()> {
    let socket = socket2::SockRef::from(listener);
    match share {
        Some(share) => socket.attach_filter(&filter(share, salt)),
        None => match socket.detach_filter() {
            // There was none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        },
    }
}

#[cfg(not(target_os = "linux"))]
fn leave_unanswered(listener: &TcpListener, share: Option<Share>, _salt: u32) -> io::Result<()> {
    let backlog = if share.is_some_and(is_most) {
        0
    } else {
        BACKLOG
    };
    socket2::SockRef::from(listener).listen(backlog)
}

/// A classic BPF program over a TCP header: drops the segment if it is a SYN and its source port,
/// mixed, falls into the share. All else passes, so that connections which inherit the filter from
/// their listener are not touched.
///
/// Clients of one machine count their ports up, mostly by two, so the port is multiplied by an odd
/// constant near 2³² divided by the golden ratio: successive ports then spread evenly.
#[cfg(target_os = "linux")]
fn filter(share: Share, salt: u32) -> [socket2::SockFilter; 10] {
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_HALF: u16 = 0x28;
    const AND: u16 = 0x54;
    const XOR: u16 = 0xa4;
    const MULTIPLY: u16 = 0x24;
    const SHIFT_RIGHT: u16 = 0x74;
    const JUMP_EQUAL: u16 = 0x15;
    const JUMP_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const FLAGS_AT: u32 = 13;
    const SYN_AND_ACK: u32 = 0x12;
    const SYN: u32 = 0x02;
    const SPREAD: u32 = 0x9e37_79b1;
    let below = (share.fraction() * 65_536.0).round() as u32;
    let step = socket2::SockFilter::new;
    [
        step(LOAD_BYTE, 0, 0, FLAGS_AT),
        step(AND, 0, 0, SYN_AND_ACK),
        step(JUMP_EQUAL, 0, 6, SYN),
        step(LOAD_HALF, 0, 0, 0),
        step(XOR, 0, 0, salt & 0xffff),
        step(MULTIPLY, 0, 0, SPREAD),
        step(SHIFT_RIGHT, 0, 0, 16),
        step(JUMP_AT_LEAST, 1, 0, below),
        step(RETURN, 0, 0, 0),
        step(RETURN, 0, 0, u32::MAX),
    ]
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_accepted_connection_sends_what_is_small_at_once() {
        let listener = listening(([127, 0, 0, 1], 0).into()).expect("bound");
        let address = listener.local_addr().expect("an address");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (accepted, _) = accepted.expect("accepted");
        assert!(accepted.nodelay().expect("an option"));
        drop(client);
    }
}
