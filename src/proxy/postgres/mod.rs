//! PostgreSQL as the proxy speaks it. Decides nothing: what may be done to a statement the faults
//! say, and this carries it out.
//!
//! A connection opens with the client's first packets (`opening`: TLS, GSSAPI, cancel, start-up).
//! Then two pumps run in one task: `up` passes on what the client sends and asks the faults about
//! each statement before it goes on; `down` passes on what the server answers, finds out which
//! statement each answer belongs to, and does to it what the faults decided. What they share is the
//! `queue` of requests whose answers are still due.
//!
//! Messages are looked at, never changed. A statement that is made to fail is made to fail in the
//! server (see [`protocol::postgres::failing`](crate::protocol::postgres::failing)), so that proxy
//! and server never disagree about a transaction; only the server's error is replaced.

mod down;
mod opening;
mod queue;
#[cfg(test)]
mod tests;
mod up;

use super::{
    connection::{Accepted, Life, Shared},
    decide::Client,
    inlet::Inlet,
    relay::upstream_failure,
};
use crate::{fault::Closing, protocol::postgres::Malformed, timer};
use opening::Opened;
use queue::Queue;
use std::{io, sync::Arc, time::Duration};
use tokio::io::split;

/// Why a connection is over.
#[derive(Debug)]
enum Over {
    /// The client closed, or said farewell.
    ClientClosed,
    /// The client broke off.
    ClientFailed,
    /// What the client sent is not the protocol.
    ClientMalformed(Malformed),
    /// The server closed.
    UpstreamClosed,
    /// The server broke off.
    UpstreamFailed(io::Error),
    /// What the server sent is not the protocol.
    UpstreamMalformed(Malformed),
    /// A fault ended it; the connection closes so.
    ByFault(Closing),
}

impl Over {
    /// Says how the connection ended, and how it is to be closed.
    fn leave(self, life: &Life) {
        let malformed =
            |who: &str, error: Malformed| life.ended(format!("malformed from {who}: {error}"));
        match self {
            Self::ClientClosed => life.ended("client closed"),
            Self::ClientFailed => life.ended("client reset"),
            Self::ClientMalformed(error) => malformed("client", error),
            Self::UpstreamClosed => life.ended("upstream closed"),
            Self::UpstreamFailed(error) => {
                life.ended(upstream_failure(&error));
                life.close(Closing::Reset);
            }
            Self::UpstreamMalformed(error) => malformed("upstream", error),
            Self::ByFault(closing) => life.close(closing),
        }
    }
}

/// Serves one connection until it is over.
pub(super) async fn serve(accepted: Accepted) {
    let Accepted {
        stream,
        connection,
        life,
        shared,
        ..
    } = accepted;
    let over = match opening::open(stream, connection, &life, &shared).await {
        Ok(Some(opened)) => pass(opened, connection, &life, &shared).await,
        Ok(None) => Over::ClientClosed,
        Err(over) => over,
    };
    over.leave(&life);
}

/// Passes messages both ways until the session is over. Its statements are recorded however it
/// ends.
async fn pass(opened: Opened, connection: u64, life: &Arc<Life>, shared: &Arc<Shared>) -> Over {
    let Opened {
        client,
        upstream,
        session,
        first,
    } = opened;
    let queue = Queue::new(first);
    let (client_read, client_write) = split(client);
    let (upstream_read, upstream_write) = split(upstream);
    let up = up::Up::new(
        Inlet::new(client_read),
        upstream_write,
        &queue,
        connection,
        life,
        shared,
    );
    let down = down::Down::new(
        Inlet::new(upstream_read),
        client_write,
        &queue,
        session,
        life,
        shared,
    );
    let over = tokio::select! {
        biased;
        over = down.run() => over,
        over = up.run() => over,
    };
    queue.abandon(&over);
    over
}

/// Waits for the time of a closing that has one; whether the client leaves within it.
async fn leaves_within(life: &Life, delay: Option<Duration>) -> bool {
    let Some(delay) = delay else {
        return false;
    };
    tokio::select! {
        biased;
        _ = life.client_left() => true,
        () = timer::sleep(delay) => false,
    }
}

/// The client while one of its statements is held: nothing is read from it meanwhile.
struct Waiting<'a>(&'a Life);

impl Client for Waiting<'_> {
    async fn gone(&mut self) {
        self.0.client_left().await;
    }

    async fn gone_spilling(&mut self) {
        self.0.client_left().await;
    }

    fn has_spilled(&self) -> bool {
        false
    }
}
