//! The reading end of a connection with the bytes that were read and not yet used.
//!
//! Bounded: a full inlet reads nothing more, so that a peer who sends faster than we pass on is
//! held back by its own socket. Bytes are moved only when room runs out.

use super::{decide::Client, scratch};
use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, ReadBuf};

/// The bytes an inlet begins with room for.
pub(in crate::proxy) const ROOM_FIRST: usize = 16 * 1024;

/// The bytes of an inlet that streams.
pub(in crate::proxy) const ROOM_MAX: usize = scratch::BYTES;

/// The bytes of memory that an inlet keeps while it waits with nothing in it.
const KEPT_MAX: usize = 2 * 1024;

/// Bytes that are read and thrown away, at most, to notice when a client goes away.
const SPILL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A reader with its buffer.
#[derive(Debug)]
pub(in crate::proxy) struct Inlet<R> {
    source: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    room_max: usize,
    spilled: usize,
    used: u64,
}

impl<R: AsyncRead + Unpin> Inlet<R> {
    /// An inlet that holds at most [`ROOM_MAX`] bytes.
    pub(in crate::proxy) fn new(source: R) -> Self {
        Self::after(Vec::new(), source)
    }

    /// An inlet whose first bytes were read already.
    pub(in crate::proxy) fn after(first: Vec<u8>, source: R) -> Self {
        Self {
            source,
            start: 0,
            end: first.len(),
            buffer: first,
            room_max: ROOM_MAX,
            spilled: 0,
            used: 0,
        }
    }

    /// What was read and not yet used.
    pub(in crate::proxy) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Counts the first `len` bytes as used.
    pub(in crate::proxy) fn consume(&mut self, len: usize) {
        self.start += len;
        self.used += len as u64;
        debug_assert!(self.start <= self.end, "only bytes that are there are used");
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            if self.buffer.len() > self.room_max {
                self.buffer = Vec::new();
            }
        }
    }

    /// How many bytes were used so far.
    pub(in crate::proxy) fn used(&self) -> u64 {
        self.used
    }

    /// Its reader, and what was read and not used.
    pub(super) fn into_parts(self) -> (R, Vec<u8>) {
        let rest = self.bytes().to_vec();
        (self.source, rest)
    }

    /// Changes how many unused bytes it may hold.
    pub(in crate::proxy) fn set_room_max(&mut self, room_max: usize) {
        self.room_max = room_max.max(ROOM_FIRST);
    }

    /// Whether it would read more.
    pub(in crate::proxy) fn has_room(&self) -> bool {
        self.end - self.start < self.room_max
    }

    /// Throws away what came last, so that it can go on reading where it is full: only to notice
    /// when the peer goes away. What is left can no longer be sent on; its first `keep` bytes are
    /// whole.
    pub(in crate::proxy) fn spill(&mut self, keep: usize) {
        let keep = (self.start + keep.max(ROOM_FIRST)).min(self.end);
        self.spilled += self.end - keep;
        self.end = keep;
    }

    /// How many bytes were thrown away.
    pub(in crate::proxy) fn spilled(&self) -> usize {
        self.spilled
    }

    /// Reads once and says how many bytes came; 0 is the end. Nothing is lost when it is dropped
    /// half-way. A full inlet waits for ever.
    ///
    /// # Errors
    /// Those of the connection.
    pub(in crate::proxy) async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// See [`Inlet::fill`].
    pub(in crate::proxy) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.has_room() {
            return Poll::Pending;
        }
        if self.start == self.end {
            return self.poll_fill_empty(cx);
        }
        self.make_room();
        let limit = self.buffer.len().min(self.start + self.room_max);
        let mut free = ReadBuf::new(&mut self.buffer[self.end..limit]);
        match Pin::new(&mut self.source).poll_read(cx, &mut free) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                let len = free.filled().len();
                self.end += len;
                Poll::Ready(Ok(len))
            }
        }
    }

    /// Reads into memory that all inlets of a thread share. Of a little that comes a copy is kept; where
    /// much comes, the memory itself.
    fn poll_fill_empty(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut memory = scratch::take();
        let limit = memory.len().min(self.room_max);
        let mut free = ReadBuf::new(&mut memory[..limit]);
        let polled = Pin::new(&mut self.source).poll_read(cx, &mut free);
        let len = free.filled().len();
        if len > KEPT_MAX {
            std::mem::swap(&mut self.buffer, &mut memory);
        } else if len > 0 {
            self.buffer.clear();
            self.buffer.extend_from_slice(&memory[..len]);
        } else if self.buffer.capacity() > KEPT_MAX {
            scratch::give_back(std::mem::take(&mut self.buffer));
        }
        scratch::give_back(memory);
        (self.start, self.end) = (0, len);
        polled.map_ok(|()| len)
    }

    fn make_room(&mut self) {
        if self.end < self.buffer.len() {
            return;
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() || self.buffer.len() < ROOM_FIRST {
            let room = (self.buffer.len() * 2).clamp(ROOM_FIRST, self.room_max);
            self.buffer.resize(room, 0);
        }
    }
}

/// Waits until the client goes away. What it sends meanwhile is kept as far as there is room.
pub(super) async fn gone<R: AsyncRead + Unpin>(client: &mut Inlet<R>) {
    while matches!(client.fill().await, Ok(1..)) {}
}

/// As [`gone`], but goes on reading when there is no more room, and throws that away; never of the
/// first `keep` bytes.
pub(super) async fn gone_spilling<R: AsyncRead + Unpin>(client: &mut Inlet<R>, keep: usize) {
    gone_spilling_with(client, keep, |_, _| {}).await;
}

/// As [`gone`]; `note` is told of every piece that comes, and how many bytes it has.
pub(super) async fn gone_with<R: AsyncRead + Unpin>(
    client: &mut Inlet<R>,
    mut note: impl FnMut(&Inlet<R>, usize),
) {
    while let Ok(count @ 1..) = client.fill().await {
        note(client, count);
    }
}

/// As [`gone_spilling`]; `note` is told of every piece that comes, and how many bytes it has.
pub(super) async fn gone_spilling_with<R: AsyncRead + Unpin>(
    client: &mut Inlet<R>,
    keep: usize,
    mut note: impl FnMut(&Inlet<R>, usize),
) {
    while let Ok(count @ 1..) = client.fill().await {
        note(client, count);
        if !client.has_room() && client.spilled() < SPILL_BYTES_MAX {
            client.spill(keep);
        }
    }
}

/// A client whose request is held, by its inlet.
pub(super) struct Waiting<'a, R> {
    /// What it sends.
    pub(super) inlet: &'a mut Inlet<R>,
    /// The bytes of it that must not be thrown away.
    pub(super) keep: usize,
}

impl<R: AsyncRead + Unpin + Send> Client for Waiting<'_, R> {
    async fn gone(&mut self) {
        gone(self.inlet).await;
    }

    async fn gone_spilling(&mut self) {
        gone_spilling(self.inlet, self.keep).await;
    }

    fn has_spilled(&self) -> bool {
        self.inlet.spilled() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn bytes_come_out_in_order_whatever_is_used_between() {
        let (mut writer, reader) = tokio::io::duplex(1000);
        let mut inlet = Inlet::new(reader);
        let sent: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        let copy = sent.clone();
        let writing = tokio::spawn(async move { writer.write_all(&copy).await });
        let mut got = Vec::new();
        while inlet.fill().await.unwrap() > 0 {
            let used = inlet.bytes().len().div_ceil(2);
            got.extend_from_slice(&inlet.bytes()[..used]);
            inlet.consume(used);
        }
        got.extend_from_slice(inlet.bytes());
        assert_eq!(got, sent);
        writing.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_full_inlet_reads_nothing_more_until_bytes_are_used() {
        let (mut writer, reader) = tokio::io::duplex(1 << 20);
        writer.write_all(&vec![7; ROOM_MAX + 10]).await.unwrap();
        let mut inlet = Inlet::new(reader);
        while inlet.has_room() {
            inlet.fill().await.unwrap();
        }
        assert_eq!(inlet.bytes().len(), ROOM_MAX);
        inlet.consume(1);
        assert_eq!(inlet.fill().await.unwrap(), 1);
        inlet.set_room_max(2 * ROOM_MAX);
        assert_eq!(inlet.fill().await.unwrap(), 9);
        assert_eq!(inlet.bytes().len(), ROOM_MAX + 9);
    }

    #[tokio::test]
    async fn an_inlet_that_waits_with_nothing_in_it_keeps_little_memory() {
        let (mut writer, reader) = tokio::io::duplex(1 << 20);
        let mut inlet = Inlet::new(reader);
        for size in [10, ROOM_FIRST, 3 * ROOM_MAX] {
            let sent: Vec<u8> = (0..size).map(|n| (n ^ (n >> 8)) as u8).collect();
            writer.write_all(&sent).await.unwrap();
            let mut got = Vec::new();
            while got.len() < size {
                assert!(inlet.fill().await.unwrap() > 0);
                got.extend_from_slice(inlet.bytes());
                inlet.consume(inlet.bytes().len());
            }
            assert!(got == sent, "{size} bytes in order");
            assert!(inlet.fill().now_or_never().is_none(), "there is no more");
            assert!(inlet.buffer.capacity() <= KEPT_MAX, "after {size} bytes");
        }
    }
}
