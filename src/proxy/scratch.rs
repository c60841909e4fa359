//! Memory for what passes a thread at the moment. An idle connection then keeps none, however many
//! bytes it reads at once when they come.

use std::{cell::RefCell, future::poll_fn, io, pin::Pin};
use tokio::io::{AsyncRead, ReadBuf};

/// The size of each piece, in bytes.
pub(super) const BYTES: usize = 64 * 1024;

/// Pieces kept by each thread for the next to need one.
const SPARE_MAX: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A piece of memory, with whatever was in it.
pub(super) fn take() -> Vec<u8> {
    let spare = SPARE.with_borrow_mut(Vec::pop);
    spare.unwrap_or_else(|| vec![0; BYTES])
}

/// Gives memory back, if it is such a piece.
pub(super) fn give_back(memory: Vec<u8>) {
    if memory.len() == BYTES {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_MAX {
                spare.push(memory);
            }
        });
    }
}

/// Reads once and adds what comes to `kept`, which then holds no more than that; 0 at the end of the
/// stream.
pub(super) async fn read_to(
    source: &mut (impl AsyncRead + Unpin),
    kept: &mut Vec<u8>,
) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut memory = take();
        let mut free = ReadBuf::new(&mut memory);
        let polled = Pin::new(&mut *source).poll_read(cx, &mut free);
        let len = free.filled().len();
        kept.extend_from_slice(free.filled());
        give_back(memory);
        polled.map_ok(|()| len)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncWriteExt, duplex};

    #[test]
    fn a_thread_keeps_a_few_pieces_and_only_such() {
        let spare = || SPARE.with_borrow(Vec::len);
        give_back(vec![0; BYTES - 1]);
        assert_eq!(spare(), 0, "of another size");
        let taken: Vec<_> = (0..2 * SPARE_MAX).map(|_| take()).collect();
        assert!(taken.iter().all(|piece| piece.len() == BYTES));
        taken.into_iter().for_each(give_back);
        assert_eq!(spare(), SPARE_MAX);
        drop(take());
        assert_eq!(spare(), SPARE_MAX - 1);
    }

    #[tokio::test]
    async fn a_read_brings_a_piece_at_most_and_keeps_no_more_than_came() {
        let (mut writer, mut reader) = duplex(1 << 20);
        let sent: Vec<u8> = (0..=BYTES).map(|n| (n ^ (n >> 8)) as u8).collect();
        writer.write_all(&sent).await.unwrap();
        drop(writer);
        let mut kept = Vec::new();
        for came in [BYTES, 1, 0] {
            assert_eq!(read_to(&mut reader, &mut kept).await.unwrap(), came);
        }
        assert!(kept == sent, "in order");
    }
}
