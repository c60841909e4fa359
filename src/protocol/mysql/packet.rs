//! Packets of MySQL's client/server protocol: three bytes of length, a sequence number, and the
//! payload. A payload of 16 MiB − 1 goes on in the next packet. Nothing here keeps a payload.

use std::fmt;

/// The header of a packet, in bytes.
pub const HEADER_BYTES: usize = 4;

/// The length that says that the payload goes on in the next packet.
pub const FULL: usize = 0xff_ffff;

/// How much of a payload tells what it is, what an OK packet says in words included.
pub const HEAD_BYTES: usize = 128;

/// Why a peer's bytes are not the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// A greeting or a hand-shake that cannot be read.
    Handshake,
    /// The client speaks the protocol from before version 4.1.
    Old,
    /// A packet during authentication is longer than [`AUTH_BYTES_MAX`].
    TooLong,
    /// An answer that does not fit what was asked.
    Answer(u8),
    /// A packet without a payload where there must be one.
    Empty,
    /// A sequence number that does not follow.
    Sequence,
}

/// The longest packet during authentication, in bytes.
pub const AUTH_BYTES_MAX: usize = 48 * 1024;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake => f.write_str("a hand-shake that cannot be read"),
            Self::Old => f.write_str("a hand-shake from before version 4.1"),
            Self::TooLong => f.write_str("a packet of authentication above 48 KiB"),
            Self::Answer(byte) => write!(f, "an answer that begins with 0x{byte:02x}"),
            Self::Empty => f.write_str("a packet without a payload"),
            Self::Sequence => f.write_str("a packet out of sequence"),
        }
    }
}

/// A packet whose beginning is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The length of its payload.
    pub len: usize,
    /// Its sequence number.
    pub sequence: u8,
    /// Its payload, as far as it is there.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The packet at the beginning of these bytes, once its header and the beginning of its
    /// payload (or all of it) are there.
    pub fn begin(bytes: &'a [u8]) -> Option<Self> {
        let header: [u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let len =
            usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
        let payload = &bytes[HEADER_BYTES..];
        if payload.len() < len.min(HEAD_BYTES) {
            return None;
        }
        Some(Self {
            len,
            sequence: header[3],
            payload: &payload[..payload.len().min(len)],
        })
    }

    /// Whether all of it is there.
    pub fn is_whole(&self) -> bool {
        self.payload.len() == self.len
    }

    /// Its length with its header.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.len
    }

    /// Whether its payload goes on in the next packet.
    pub fn goes_on(&self) -> bool {
        self.len == FULL
    }
}

/// A packet of this payload, which must be shorter than [`FULL`].
pub fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    debug_assert!(payload.len() < FULL, "our own packets are short");
    let len = (payload.len() as u32).to_le_bytes();
    let mut bytes = vec![len[0], len[1], len[2], sequence];
    bytes.extend_from_slice(payload);
    bytes
}

/// A length-encoded number at the beginning of these bytes, and what follows it.
pub fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let width = match first {
        0..=0xfa => return Some((u64::from(*first), rest)),
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        _ => return None,
    };
    let mut value = [0; 8];
    value[..width].copy_from_slice(rest.get(..width)?);
    Some((u64::from_le_bytes(value), &rest[width..]))
}

/// A little-endian number of two bytes at this place.
pub fn short(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_le_bytes([bytes[0], bytes[1]]))
}

/// A little-endian number of four bytes at this place.
pub fn long(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packets_are_found_once_their_beginning_is_there() {
        let bytes = packet(3, b"hello");
        assert_eq!(bytes, b"\x05\0\0\x03hello");
        assert_eq!(Packet::begin(&bytes[..8]), None);
        let whole = Packet::begin(&bytes).expect("a packet");
        assert!(whole.is_whole() && !whole.goes_on());
        assert_eq!((whole.payload, whole.bytes()), (&b"hello"[..], 9));
        let mut large = vec![0xff, 0xff, 0xff, 0];
        large.extend([7; HEAD_BYTES]);
        let large = Packet::begin(&large).expect("its beginning");
        assert!(large.goes_on() && !large.is_whole());
    }

    #[test]
    fn numbers_have_their_width() {
        for (bytes, value) in [
            (&[0xfa][..], 250),
            (&[0xfc, 1, 1], 257),
            (&[0xfd, 1, 0, 1], 65_537),
            (&[0xfe, 1, 0, 0, 0, 0, 0, 0, 0], 1),
        ] {
            assert_eq!(number(bytes), Some((value, &[][..])));
        }
        for bytes in [&[][..], &[0xfb], &[0xff], &[0xfc, 1], &[0xfe, 1]] {
            assert_eq!(number(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reading(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(packet) = Packet::begin(&bytes) {
                prop_assert!(packet.payload.len() <= packet.len);
            }
            let _ = number(&bytes);
        }
    }
}
