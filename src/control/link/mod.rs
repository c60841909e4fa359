//! Connections through a proxy of `brownout serve`, with the toxics of each direction between their
//! two sockets.
//!
//! A connection is one task. It holds what its toxics hold and no more than they may, follows a
//! change of the toxics before it passes on anything that arrived after the change, and keeps
//! half-closes: a client that has sent all it has still gets its answer.

mod chain;
mod door;
mod memory;
mod pump;

pub(crate) use door::{Door, Permits, Shared, Way};
pub(crate) use memory::Memory;

use crate::control::toxiproxy::{Ending, Line};
use chain::{Chain, LinkNumber};
use pump::{Left, Pump};
use socket2::SockRef;
use std::{io, net::Shutdown, pin::pin, sync::Arc, time::Duration};
use tokio::{net::TcpStream, sync::watch, time::sleep};

/// Bytes that a client sent and nobody reads any more, which are taken in before its connection is
/// closed: else it would be reset, and what was on its way to the client lost.
const LEFTOVER_BYTES_MAX: usize = 1024 * 1024;

/// How long what toxics hold of a client that has reset its connection may still go on to the server;
/// then both connections end, and what is held is lost, as it might be with any reset.
const RESET_HELD: Duration = Duration::from_secs(10);

/// The toxics of both directions.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    /// From the client to the server.
    pub(crate) upstream: watch::Receiver<Arc<Line>>,
    /// From the server to the client.
    pub(crate) downstream: watch::Receiver<Arc<Line>>,
}

/// Passes bytes between the two until both directions are done, a toxic ends it, or it is stopped.
async fn pass(
    (client, server): (TcpStream, TcpStream),
    number: u64,
    shared: &Shared,
    stopped: impl Future<Output = ()>,
) {
    let (lines, counters) = (shared.lines.clone(), &shared.counters);
    let pump = |from, to, line, counter| Pump {
        from,
        to,
        chain: Chain::new(LinkNumber(number)),
        line,
        in_force: Arc::default(),
        counter,
        held: shared.memory.share(),
    };
    let mut up = pin!(pump(&client, &server, lines.upstream, &counters.upstream).run());
    let mut down = pin!(pump(&server, &client, lines.downstream, &counters.downstream).run());
    let mut stopped = pin!(stopped);
    // What toxics hold of a client that is gone goes on for a while, and not for ever.
    let mut given_up = pin!(async {
        broken(&client).await;
        sleep(RESET_HELD).await;
    });
    let (mut up_is_done, mut down_is_done) = (false, false);
    while !(up_is_done && down_is_done) {
        let left = tokio::select! {
            () = &mut stopped => Left::Ended(Ending::Close),
            () = &mut given_up => Left::Ended(Ending::Reset),
            left = &mut up, if !up_is_done => {
                up_is_done = true;
                left
            }
            left = &mut down, if !down_is_done => {
                down_is_done = true;
                left
            }
        };
        match left {
            Left::Ended(Ending::Half) | Left::Lost => {}
            Left::Ended(Ending::Close) => {
                close(&client);
                close(&server);
                return;
            }
            Left::Ended(Ending::Reset) => {
                reset(&client);
                reset(&server);
                return;
            }
        }
    }
}

/// Comes back when a connection was reset, also while nothing is read from it.
#[cfg(target_os = "linux")]
async fn broken(stream: &TcpStream) {
    use tokio::io::Interest;
    loop {
        match stream.ready(Interest::ERROR).await {
            Ok(ready) if ready.is_error() => return,
            // It is about to be closed anyway.
            Err(_) => return,
            Ok(_) => tokio::task::yield_now().await,
        }
    }
}

/// Elsewhere that is seen when it is read.
#[cfg(not(target_os = "linux"))]
async fn broken(_stream: &TcpStream) {
    std::future::pending().await
}

/// Has a connection closed in order when it is dropped, whatever it was sent meanwhile.
fn close(stream: &TcpStream) {
    // Each of these fails only on a connection that is already gone.
    let _ = SockRef::from(stream).shutdown(Shutdown::Write);
    let mut left = LEFTOVER_BYTES_MAX;
    let mut buffer = [0; 16 * 1024];
    while left > 0 {
        match stream.try_read(&mut buffer) {
            Ok(count) if count > 0 => left = left.saturating_sub(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}

/// Has a connection reset when it is dropped.
fn reset(stream: &TcpStream) {
    // Fails only on a connection that is already gone.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
