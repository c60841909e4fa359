//! Bytes moved from socket to socket in the kernel, through a pipe.
//!
//! The way can be left at any moment: what a pipe still holds is then read back into memory. A
//! pipe is lent to a connection only while bytes move, so that idle connections have none.

use parking_lot::Mutex;
use rustix::{
    fd::{AsFd, OwnedFd},
    pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice},
};
use std::io;

/// How much a pipe is asked to hold. The kernel may refuse it to a user who has many; the pipe
/// then keeps its own size.
const PIPE_BYTES: usize = 1024 * 1024;

/// Pipes kept for the next to need one.
const SPARE_MAX: usize = 16;

/// Empty pipes that nobody uses at the moment.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    spare: Mutex<Vec<Pipe>>,
}

#[derive(Debug)]
struct Pipe {
    outlet: OwnedFd,
    inlet: OwnedFd,
}

impl Pipes {
    fn take(&self) -> io::Result<Pipe> {
        if let Some(pipe) = self.spare.lock().pop() {
            return Ok(pipe);
        }
        let (outlet, inlet) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        let _ = fcntl_setpipe_size(&inlet, PIPE_BYTES);
        Ok(Pipe { outlet, inlet })
    }

    /// Pipes that wait for their next use.
    #[cfg(test)]
    pub(super) fn spare(&self) -> usize {
        self.spare.lock().len()
    }

    fn give_back(&self, pipe: Pipe) {
        let mut spare = self.spare.lock();
        if spare.len() < SPARE_MAX {
            spare.push(pipe);
        }
    }
}

/// One direction's use of the pipes.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    pipes: &'a Pipes,
    pipe: Option<Pipe>,
    held: usize,
    is_refused: bool,
}

impl<'a> Lease<'a> {
    pub(super) fn new(pipes: &'a Pipes) -> Self {
        Self {
            pipes,
            pipe: None,
            held: 0,
            is_refused: false,
        }
    }

    /// Bytes in the pipe.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Whether the system would not give a pipe.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Moves bytes from a socket into the pipe, which must be empty: else a full pipe could not be
    /// told from an empty socket. 0 at the end of the stream.
    pub(super) fn fill(&mut self, from: impl AsFd) -> io::Result<usize> {
        debug_assert_eq!(self.held, 0, "a pipe is drained before it is filled");
        if self.pipe.is_none() {
            let taken = self.pipes.take();
            self.is_refused = taken.is_err();
            self.pipe = Some(taken?);
        }
        let Some(pipe) = &self.pipe else { return Ok(0) };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let count = splice(from, None, &pipe.inlet, None, PIPE_BYTES, flags)?;
        self.held = count;
        Ok(count)
    }

    /// Moves bytes from the pipe into a socket.
    pub(super) fn drain(&mut self, to: impl AsFd) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else { return Ok(0) };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let count = splice(&pipe.outlet, None, to, None, self.held, flags)?;
        self.held -= count;
        Ok(count)
    }

    /// Takes what the pipe holds into memory.
    pub(super) fn read_back(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.held];
        let mut at = 0;
        if let Some(pipe) = &self.pipe {
            while at < bytes.len() {
                at += rustix::io::read(&pipe.outlet, &mut bytes[at..])?;
            }
        }
        self.held = 0;
        Ok(bytes)
    }

    /// Gives the pipe back, if it is empty: nothing moves at the moment.
    pub(super) fn rest(&mut self) {
        if self.held == 0
            && let Some(pipe) = self.pipe.take()
        {
            self.pipes.give_back(pipe);
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.rest();
    }
}
