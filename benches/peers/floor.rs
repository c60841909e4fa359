//! The least that a process between two others can do: one thread waits for all connections at once,
//! and passes what came on with two system calls. It looks at nothing, has no limits, waits for whoever
//! takes nothing, and closes both sides when one closes.

use super::server::wait;
use rustix::{
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    fd::{AsFd, BorrowedFd, OwnedFd},
    pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice},
};
use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
};

/// The role that reads and writes.
pub const COPY: &str = "floor-copy";

/// The role that splices.
pub const SPLICE: &str = "floor-splice";

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// Bytes that are spliced at once.
const PIPE_BYTES: usize = 1024 * 1024;

/// Where the listener stands among the sockets.
const LISTENER: u64 = u64::MAX;

/// How bytes pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Through memory.
    Copy,
    /// In the kernel.
    Splice,
}

/// What bytes pass through.
enum Through {
    Memory(Vec<u8>),
    Pipe { outlet: OwnedFd, inlet: OwnedFd },
}

impl Through {
    fn new(way: Way) -> io::Result<Self> {
        if way == Way::Copy {
            return Ok(Self::Memory(vec![0; CHUNK]));
        }
        let (outlet, inlet) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setpipe_size(&inlet, PIPE_BYTES)?;
        Ok(Self::Pipe { outlet, inlet })
    }

    /// Passes what one has sent on to the other; 0 at its end.
    fn pass(&mut self, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<usize> {
        match self {
            Self::Memory(bytes) => {
                let count = from.read(bytes)?;
                to.write_all(&bytes[..count])?;
                Ok(count)
            }
            Self::Pipe { outlet, inlet } => {
                let flags = SpliceFlags::MOVE;
                let filling = flags | SpliceFlags::NONBLOCK;
                let count = splice(from, None, &*inlet, None, PIPE_BYTES, filling)?;
                let mut left = count;
                while left > 0 {
                    left -= splice(&*outlet, None, to, None, left, flags)?;
                }
                Ok(count)
            }
        }
    }
}

/// Relays from one port to another until it is ended.
pub fn relay(from: &str, to: &str, way: Way) -> io::Result<()> {
    let from: u16 = from.parse().map_err(io::Error::other)?;
    let upstream: u16 = to.parse().map_err(io::Error::other)?;
    let listener = TcpListener::bind(("127.0.0.1", from))?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let add = |socket: BorrowedFd<'_>, at| {
        epoll::add(&epoll, socket, EventData::new_u64(at), EventFlags::IN)
    };
    add(listener.as_fd(), LISTENER)?;
    // Both ends of a connection have numbers that differ in the last bit alone.
    let mut sockets: HashMap<u64, TcpStream> = HashMap::new();
    let mut next = 0;
    let mut events = Vec::with_capacity(64);
    let mut through = Through::new(way)?;
    loop {
        wait(&epoll, &mut events)?;
        for event in events.drain(..) {
            let at = event.data.u64();
            if at == LISTENER {
                let (client, _) = listener.accept()?;
                for socket in [client, TcpStream::connect(("127.0.0.1", upstream))?] {
                    socket.set_nodelay(true)?;
                    add(socket.as_fd(), next)?;
                    sockets.insert(next, socket);
                    next += 1;
                }
                continue;
            }
            let (Some(from), Some(to)) = (sockets.get(&at), sockets.get(&(at ^ 1))) else {
                continue;
            };
            if !matches!(through.pass(from, to), Ok(1..)) {
                sockets.remove(&at);
                sockets.remove(&(at ^ 1));
            }
        }
    }
}
