//! WebSocket (RFC 6455) as bytes: frame heads, the handshake's answer, frames of our own.
//!
//! What carries frames is the proxy's. A head is read only when it is whole, and says nothing of
//! memory: whoever reads a frame decides how much of it to keep.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use ring::digest;

/// The longest head of a frame, in bytes.
pub const HEAD_BYTES_MAX: usize = 14;

/// The most bytes of a reason that fit into a close frame beside its code.
pub const REASON_BYTES_MAX: usize = 123;

/// What the accept key of a handshake is made with, beside the client's own.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// `Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key`.
pub fn accept_key(key: &str) -> String {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(GUID.as_bytes());
    STANDARD.encode(hash.finish())
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// The message of the frame before goes on.
    Continuation,
    /// A message of text begins.
    Text,
    /// A message of bytes begins.
    Binary,
    /// The connection is being closed.
    Close,
    /// A ping of WebSocket itself.
    Ping,
    /// The answer to it.
    Pong,
}

impl Opcode {
    fn of(nibble: u8) -> Option<Self> {
        Some(match nibble {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn nibble(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// Whether it concerns the connection and may come between the frames of a message.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What it is.
    pub opcode: Opcode,
    /// Whether it is the last of its message.
    pub is_last: bool,
    /// Whether an extension says how to read its payload: it is compressed.
    pub is_compressed: bool,
    /// The client's mask.
    pub mask: Option<[u8; 4]>,
    /// Bytes of the head itself.
    pub len: usize,
    /// Bytes of its payload.
    pub payload: u64,
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// An opcode that nobody has defined.
    #[error("a frame of unknown kind")]
    Opcode,
    /// Bits of extensions that were not agreed upon.
    #[error("a frame with reserved bits")]
    Reserved,
    /// A length whose highest bit is set.
    #[error("a frame with an impossible length")]
    Length,
    /// A control frame in several parts, or one of more than 125 bytes.
    #[error("a control frame that is too long or in parts")]
    Control,
    /// A client's frame without a mask, or a server's with one.
    #[error("a frame whose mask does not fit its direction")]
    Mask,
}

/// Reads the head at the beginning of `bytes`; `None` while it is not whole. `is_client`: who sent
/// it, which decides whether it must be masked. `may_compress`: whether an extension was agreed
/// upon.
///
/// # Errors
/// What is no frame. Nothing after it can be read either.
pub fn read_head(
    bytes: &[u8],
    is_client: bool,
    may_compress: bool,
) -> Result<Option<Head>, BadFrame> {
    let &[first, second, ..] = bytes else {
        return Ok(None);
    };
    let opcode = Opcode::of(first & 0x0f).ok_or(BadFrame::Opcode)?;
    let is_compressed = first & 0x40 != 0;
    if first & 0x30 != 0 || (is_compressed && !may_compress) {
        return Err(BadFrame::Reserved);
    }
    let is_last = first & 0x80 != 0;
    let is_masked = second & 0x80 != 0;
    if is_masked != is_client {
        return Err(BadFrame::Mask);
    }
    let (len, payload) = match second & 0x7f {
        126 => match bytes.get(2..4) {
            Some(size) => (4, u64::from(u16::from_be_bytes([size[0], size[1]]))),
            None => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|size| size.try_into().ok()) {
            Some(size) => (10, u64::from_be_bytes(size)),
            None => return Ok(None),
        },
        size => (2, u64::from(size)),
    };
    if payload > i64::MAX as u64 {
        return Err(BadFrame::Length);
    }
    if opcode.is_control() && (payload > 125 || !is_last || is_compressed) {
        return Err(BadFrame::Control);
    }
    let (len, mask) = if is_masked {
        let Some(mask) = bytes.get(len..len + 4) else {
            return Ok(None);
        };
        (len + 4, mask.try_into().ok())
    } else {
        (len, None)
    };
    Ok(Some(Head {
        opcode,
        is_last,
        is_compressed,
        mask,
        len,
        payload,
    }))
}

/// Takes a client's mask off, or puts it on: the first byte is the payload's `offset`-th.
pub fn unmask(payload: &mut [u8], mask: [u8; 4], offset: u64) {
    for (byte, at) in payload.iter_mut().zip(offset..) {
        *byte ^= mask[(at % 4) as usize];
    }
}

/// A whole frame as a server sends it.
pub fn server_frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + 10);
    frame.put_u8(0x80 | opcode.nibble());
    match payload.len() {
        len @ 0..=125 => frame.put_u8(len as u8),
        len @ 126..=0xffff => {
            frame.put_u8(126);
            frame.put_u16(len as u16);
        }
        len => {
            frame.put_u8(127);
            frame.put_u64(len as u64);
        }
    }
    frame.put_slice(payload);
    frame.freeze()
}

/// A server's close frame. What of the reason does not fit is cut off.
pub fn server_close(code: u16, reason: &str) -> Bytes {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    server_frame(Opcode::Close, &payload)
}

/// The code in a close frame's payload.
pub fn close_code(payload: &[u8]) -> Option<u16> {
    let code = payload.get(..2)?;
    Some(u16::from_be_bytes([code[0], code[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_accept_key_is_that_of_the_standard() {
        assert_eq!(
            accept_key("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn the_frames_of_the_standard_are_read() {
        // RFC 6455, 5.7: "Hello" unmasked, masked, its first fragment, and 256 bytes.
        let head = read_head(b"\x81\x05Hello", false, false).unwrap().unwrap();
        assert_eq!((head.len, head.payload, head.is_last), (2, 5, true));
        let mut masked = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        let head = read_head(&masked, true, false).unwrap().unwrap();
        unmask(&mut masked[head.len..], head.mask.unwrap(), 0);
        assert_eq!(&masked[head.len..], b"Hello");
        let head = read_head(b"\x01\x03Hel", false, false).unwrap().unwrap();
        assert!(!head.is_last && head.opcode == Opcode::Text);
        let head = read_head(b"\x82\x7e\x01\x00", false, false)
            .unwrap()
            .unwrap();
        assert_eq!((head.len, head.payload), (4, 256));
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for (bytes, is_client, wrong) in [
            (&b"\x83\x00"[..], false, BadFrame::Opcode),
            (b"\xa1\x00", false, BadFrame::Reserved),
            (b"\xc1\x00", false, BadFrame::Reserved),
            (b"\x81\x00", true, BadFrame::Mask),
            (b"\x81\x80\0\0\0\0", false, BadFrame::Mask),
            (b"\x88\x7e\x00\x80", false, BadFrame::Control),
            (b"\x09\x00", false, BadFrame::Control),
            (b"\x82\x7f\xff\0\0\0\0\0\0\0", false, BadFrame::Length),
        ] {
            assert_eq!(read_head(bytes, is_client, false), Err(wrong), "{bytes:?}");
        }
        assert!(read_head(b"\xc1\x00", false, true).unwrap().is_some());
    }

    #[test]
    fn a_close_frame_says_code_and_reason_and_is_never_too_long() {
        let frame = server_close(4004, "Application is over connection quota");
        assert_eq!(&frame[..4], b"\x88\x26\x0f\xa4");
        assert_eq!(close_code(&frame[2..]), Some(4004));
        let long = server_close(4202, &"ü".repeat(200));
        let head = read_head(&long, false, false).unwrap().unwrap();
        assert!(head.payload <= 125);
        assert!(std::str::from_utf8(&long[4..]).is_ok());
        assert_eq!(close_code(b"\x0f"), None);
    }

    proptest! {
        #[test]
        fn a_frame_of_ours_is_read_back_and_never_before_it_is_whole(
            payload in proptest::collection::vec(any::<u8>(), 0..70_000)
        ) {
            let frame = server_frame(Opcode::Text, &payload);
            let head = read_head(&frame, false, false).unwrap().unwrap();
            prop_assert_eq!(head.payload, payload.len() as u64);
            prop_assert_eq!(&frame[head.len..], &payload[..]);
            for cut in 0..head.len {
                prop_assert_eq!(read_head(&frame[..cut], false, false), Ok(None));
            }
        }

        #[test]
        fn any_bytes_are_a_head_or_are_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..20), client: bool
        ) {
            if let Ok(Some(head)) = read_head(&bytes, client, true) {
                prop_assert!(head.len <= HEAD_BYTES_MAX && head.len <= bytes.len());
            }
        }
    }
}
