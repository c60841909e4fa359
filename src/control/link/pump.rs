//! Drives one direction of a connection: reads, asks the toxics, writes. It waits in one place,
//! with one timer.

use super::{
    chain::{Chain, Content},
    memory::Held,
};
use crate::control::toxiproxy::{Counter, Ending, Line};
use bytes::Bytes;
use socket2::SockRef;
use std::{io, net::Shutdown, sync::Arc};
use tokio::{
    net::TcpStream,
    sync::watch,
    task::yield_now,
    time::{Instant, sleep_until},
};

/// Bytes read at once: a chunk, for the toxics that count in chunks.
const CHUNK: usize = 32 * 1024;

/// Bytes after which others have their turn, so that who drives the API does not wait for those who
/// transfer much.
const TURN: usize = 256 * 1024;

/// How a direction came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Its end came out behind all its bytes.
    Ended(Ending),
    /// Its receiver takes nothing any more. The other direction hears of it in its turn.
    Lost,
}

/// One direction.
pub(super) struct Pump<'a> {
    pub(super) from: &'a TcpStream,
    pub(super) to: &'a TcpStream,
    pub(super) chain: Chain,
    pub(super) line: watch::Receiver<Arc<Line>>,
    /// The toxics that are in force.
    pub(super) in_force: Arc<Line>,
    pub(super) counter: &'a Counter,
    pub(super) held: Held,
}

impl Pump<'_> {
    /// Goes on until its end has left.
    pub(super) async fn run(mut self) -> Left {
        let mut buffer = Vec::new();
        let mut moved = 0;
        // Once nobody changes the toxics any more, the proxy is about to stop.
        let mut can_change = true;
        loop {
            self.follow();
            let wake = self.chain.advance(Instant::now());
            if let Some(left) = self.write() {
                return left;
            }
            // What has left made room behind it.
            let wake = match self.chain.front() {
                Some(_) => wake,
                None => self.chain.advance(Instant::now()),
            };
            if moved >= TURN {
                moved = 0;
                yield_now().await;
            }
            let has_output = self.chain.front().is_some();
            let room = self.held.room(&self.chain);
            let timer = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.line.changed(), if can_change => can_change = changed.is_ok(),
                _ = self.to.writable(), if has_output => {}
                _ = self.from.readable(), if room > 0 => moved += self.read(&mut buffer, room),
                () = timer => {}
            }
        }
    }

    /// Puts the toxics of now in force.
    fn follow(&mut self) {
        let line = Arc::clone(&self.line.borrow_and_update());
        if !Arc::ptr_eq(&line, &self.in_force) {
            self.chain.set(&line, Instant::now());
            self.in_force = line;
        }
    }

    /// Takes in what has arrived, and says how much it was.
    fn read(&mut self, buffer: &mut Vec<u8>, room: usize) -> usize {
        // While nothing arrives there is no buffer, and what is held is no larger than it is.
        buffer.resize(CHUNK, 0);
        let result = self.from.try_read(&mut buffer[..room.min(CHUNK)]);
        // A change that was made before the bytes were read is in force for them.
        self.follow();
        let now = Instant::now();
        match result {
            Ok(0) => self.chain.push(Content::End(Ending::Half), now),
            Ok(count) => {
                self.counter.received(count as u64);
                let bytes = Bytes::copy_from_slice(&buffer[..count]);
                self.chain.push(Content::Bytes(bytes), now);
                return count;
            }
            Err(error) if waits(&error) => *buffer = Vec::new(),
            Err(_) => self.chain.push(Content::End(Ending::Reset), now),
        }
        0
    }

    /// Writes what may leave, as far as the receiver takes it.
    fn write(&mut self) -> Option<Left> {
        loop {
            let count = match self.chain.front()? {
                Content::End(ending) => {
                    if *ending == Ending::Half {
                        // Fails only on a connection that is already gone.
                        let _ = SockRef::from(self.to).shutdown(Shutdown::Write);
                    }
                    return Some(Left::Ended(*ending));
                }
                Content::Bytes(bytes) => match self.to.try_write(bytes) {
                    Ok(count) => count,
                    Err(error) if waits(&error) => return None,
                    Err(_) => return Some(Left::Lost),
                },
            };
            self.counter.sent(count as u64);
            self.chain.sent(count);
        }
    }
}

fn waits(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
