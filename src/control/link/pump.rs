//! Drives one direction of a connection: reads, asks the toxics, writes. It waits in one place,
//! with one timer.

use super::{
    chain::{CLEAR_BYTES, Chain, Content},
    memory::Held,
};
use crate::control::toxiproxy::{Counter, Ending, Line};
use bytes::Bytes;
use socket2::SockRef;
use std::{cell::RefCell, io, net::Shutdown, sync::Arc};
use tokio::{
    net::TcpStream,
    sync::watch,
    task::yield_now,
    time::{Instant, sleep_until},
};

/// Bytes read at once where there is a toxic: a chunk, for those that count in chunks.
const CHUNK: usize = 32 * 1024;

thread_local! {
    /// What passes this thread at the moment: no connection has a buffer of its own, and what one
    /// holds is no larger than it is.
    static PASSING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[cfg(test)]
thread_local! {
    /// The most bytes that this thread has read at once.
    static MOST_READ: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

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
                _ = self.from.readable(), if room > 0 => moved += self.read(room),
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
    fn read(&mut self, room: usize) -> usize {
        PASSING.with_borrow_mut(|passing| {
            passing.resize(CLEAR_BYTES, 0);
            let most = match self.chain.is_clear() {
                true => CLEAR_BYTES,
                false => CHUNK,
            };
            let result = self.from.try_read(&mut passing[..room.min(most)]);
            // A change that was made before the bytes were read is in force for them.
            self.follow();
            match &result {
                Ok(0) => self.push(Content::End(Ending::Half)),
                Ok(count) => self.take(&passing[..*count]),
                Err(error) if waits(error) => {}
                Err(_) => self.push(Content::End(Ending::Reset)),
            }
            result.unwrap_or(0)
        })
    }

    /// Takes in these bytes. Where no toxic is in their way they go on as they are.
    fn take(&mut self, mut bytes: &[u8]) {
        #[cfg(test)]
        MOST_READ.set(MOST_READ.get().max(bytes.len()));
        self.counter.received(bytes.len() as u64);
        // Whoever takes nothing any more is found out when the rest is written.
        if self.chain.is_clear()
            && let Ok(count) = self.to.try_write(bytes)
        {
            self.counter.sent(count as u64);
            bytes = &bytes[count..];
        }
        for chunk in bytes.chunks(CHUNK) {
            self.push(Content::Bytes(Bytes::copy_from_slice(chunk)));
        }
    }

    fn push(&mut self, content: Content) {
        self.chain.push(content, Instant::now());
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

#[cfg(test)]
mod tests {
    use super::{super::chain::LinkNumber, super::memory::Memory, *};
    use crate::{control::toxiproxy::Placed, seed::Seed};
    use socket2::{Domain, Socket, Type};
    use std::{net::Ipv4Addr, time::Duration};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::timeout,
    };

    /// Two ends of a connection; the second has room for this much that it has not read.
    async fn ends(room: usize) -> (TcpStream, TcpStream) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(room).expect("it is set");
        let address = std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&address.into()).expect("a port");
        socket.listen(1).expect("it listens");
        socket.set_nonblocking(true).expect("it is set");
        let listener = TcpListener::from_std(socket.into()).expect("a listener");
        let address = listener.local_addr().expect("its address");
        let near = TcpStream::connect(address).await.expect("connected");
        (near, listener.accept().await.expect("accepted").0)
    }

    /// What comes out of a direction with this line of toxics when all this waits to go in, and the
    /// most that was read at once.
    async fn passed(line: Line, sent: &[u8]) -> (Vec<u8>, usize) {
        MOST_READ.set(0);
        let (mut source, from) = ends(1 << 20).await;
        let (to, mut target) = ends(1 << 16).await;
        let bytes = sent.to_vec();
        let sending = tokio::spawn(async move {
            source.write_all(&bytes).await.expect("it is taken");
            source.shutdown().await.expect("it is taken");
        });
        let mut waiting = vec![0; 3 * CHUNK];
        while from.peek(&mut waiting).await.expect("it is open") < waiting.len() {
            yield_now().await;
        }
        let (_changes, line) = watch::channel(Arc::new(line));
        let counter = Counter::default();
        let pump = Pump {
            from: &from,
            to: &to,
            chain: Chain::new(LinkNumber(1)),
            line,
            in_force: Arc::default(),
            counter: &counter,
            held: Memory::default().share(),
        };
        let mut came = Vec::new();
        let reading = async {
            let (left, read) = tokio::join!(pump.run(), target.read_to_end(&mut came));
            (left, read.expect("it ends in order"))
        };
        let (left, count) = timeout(Duration::from_secs(20), reading)
            .await
            .expect("in time");
        sending.await.expect("it is sent");
        assert_eq!(left, Left::Ended(Ending::Half));
        assert_eq!(counter.so_far(), (count as u64, count as u64));
        (came, MOST_READ.get())
    }

    #[tokio::test]
    async fn where_no_toxic_is_much_passes_at_once_and_with_one_it_does_in_chunks() {
        let sent: Vec<u8> = (0..3_000_000_u32).map(|nth| (nth % 251) as u8).collect();
        let (came, most) = passed(Line::default(), &sent).await;
        assert!(came == sent, "{} bytes came", came.len());
        assert!(most > CHUNK && most <= CLEAR_BYTES, "{most}");
        let said = br#"{"name":"t","type":"noop"}"#;
        let noop = Placed::read(said, ("proxy", 1, Seed(7))).expect("it is right");
        let line = Line {
            toxics: vec![Arc::new(noop)],
        };
        let (came, most) = passed(line, &sent).await;
        assert!(came == sent, "{} bytes came", came.len());
        assert!(most > 0 && most <= CHUNK, "{most}");
    }
}
