//! The greeting of a server and the answer of its client, as far as a proxy must know them.
//!
//! What a proxy cannot see into is not offered: compression, and extensions that change how
//! answers are framed without saying so in them (cached metadata and progress reports of MariaDB,
//! query attributes).

use super::packet::{Broken, long, short};

/// `CLIENT_COMPRESS` and `CLIENT_ZSTD_COMPRESSION_ALGORITHM`.
const COMPRESSES: u32 = 1 << 5 | 1 << 26;
/// `CLIENT_FOUND_ROWS`.
const FOUND_ROWS: u32 = 1 << 1;
/// `CLIENT_PROTOCOL_41`.
const PROTOCOL_41: u32 = 1 << 9;
/// `CLIENT_SSL`.
pub const TLS: u32 = 1 << 11;
/// `CLIENT_DEPRECATE_EOF`.
const DEPRECATE_EOF: u32 = 1 << 24;
/// `CLIENT_QUERY_ATTRIBUTES`.
const QUERY_ATTRIBUTES: u32 = 1 << 27;
/// `CLIENT_MYSQL`: a MariaDB server without it has extensions of its own.
const MYSQL: u32 = 1;
/// `MARIADB_CLIENT_PROGRESS` and `MARIADB_CLIENT_CACHE_METADATA`.
const MARIADB_HIDDEN: u32 = 1 | 1 << 4;

/// The payload of a `CLIENT_SSL` request.
pub const TLS_REQUEST_BYTES: usize = 32;

/// Where the parts of a greeting stand behind the server's version.
struct Places {
    low: usize,
    high: usize,
    extended: usize,
}

fn places(payload: &[u8]) -> Result<Places, Broken> {
    if payload.first() != Some(&10) {
        return Err(Broken::Handshake);
    }
    let version = payload[1..].iter().position(|byte| *byte == 0);
    let after = version.ok_or(Broken::Handshake)? + 2;
    // Connection id, the first part of the scramble, a filler; then capabilities, character set,
    // status, more capabilities, the length of the scramble, six reserved bytes.
    let low = after + 4 + 8 + 1;
    let places = Places {
        low,
        high: low + 5,
        extended: low + 5 + 2 + 1 + 6,
    };
    if payload.len() < places.extended + 4 {
        return Err(Broken::Handshake);
    }
    Ok(places)
}

/// What a server can, by its greeting.
///
/// # Errors
/// It is no greeting of version 10.
pub fn capabilities(payload: &[u8]) -> Result<u32, Broken> {
    let places = places(payload)?;
    let low = short(payload, places.low).ok_or(Broken::Handshake)?;
    let high = short(payload, places.high).ok_or(Broken::Handshake)?;
    Ok(u32::from(low) | u32::from(high) << 16)
}

/// Changes a greeting into what the client is offered: TLS as we have it, nothing that hides
/// answers from us.
///
/// # Errors
/// It is no greeting of version 10.
pub fn offer(payload: &mut [u8], has_tls: bool) -> Result<(), Broken> {
    let server = capabilities(payload)?;
    let places = places(payload)?;
    let mut offered = server & !(COMPRESSES | QUERY_ATTRIBUTES | TLS);
    if has_tls {
        offered |= TLS;
    }
    let bytes = offered.to_le_bytes();
    payload[places.low..places.low + 2].copy_from_slice(&bytes[..2]);
    payload[places.high..places.high + 2].copy_from_slice(&bytes[2..]);
    if server & MYSQL == 0 {
        let extended = long(payload, places.extended).ok_or(Broken::Handshake)?;
        let extended = (extended & !MARIADB_HIDDEN).to_le_bytes();
        payload[places.extended..places.extended + 4].copy_from_slice(&extended);
    }
    Ok(())
}

/// What a client asks of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// It wants TLS to begin now.
    pub wants_tls: bool,
    /// Result sets end with OK packets rather than EOF packets.
    pub deprecates_eof: bool,
    /// Of an `UPDATE` the rows are counted that it found, and not those alone that it changed.
    pub counts_found: bool,
}

/// What a client's first packet, or the first after TLS began, asks.
///
/// # Errors
/// It is no answer of version 4.1.
pub fn asked(payload: &[u8]) -> Result<Asked, Broken> {
    let flags = long(payload, 0).ok_or(Broken::Handshake)?;
    if flags & PROTOCOL_41 == 0 {
        return Err(Broken::Old);
    }
    if payload.len() < TLS_REQUEST_BYTES {
        return Err(Broken::Handshake);
    }
    Ok(Asked {
        wants_tls: flags & TLS != 0 && payload.len() == TLS_REQUEST_BYTES,
        deprecates_eof: flags & DEPRECATE_EOF != 0,
        counts_found: flags & FOUND_ROWS != 0,
    })
}

/// Says in a client's answer whether TLS is spoken with the server.
pub fn set_tls(payload: &mut [u8], is_tls: bool) {
    if let Some(byte) = payload.get_mut(1) {
        let bit = (TLS >> 8) as u8;
        *byte = if is_tls { *byte | bit } else { *byte & !bit };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MariaDB 10.11's greeting, its scramble replaced.
    pub(crate) const GREETING: &[u8] = b"\x0a5.5.5-10.11.6-MariaDB\0\x21\0\0\0scramble\0\
        \xfe\xff\x2d\x02\0\xff\x81\x15\0\0\0\0\0\0\x1d\0\0\0scramble-two\0mysql_native_password\0";

    #[test]
    fn a_client_is_offered_what_can_be_seen_into() {
        let mut payload = GREETING.to_vec();
        let server = capabilities(&payload).expect("a greeting");
        assert!(server & TLS != 0 && server & COMPRESSES != 0 && server & DEPRECATE_EOF != 0);
        offer(&mut payload, false).expect("a greeting");
        let offered = capabilities(&payload).expect("a greeting");
        assert_eq!(offered, server & !(TLS | COMPRESSES | QUERY_ATTRIBUTES));
        assert_eq!(payload.len(), GREETING.len());
        offer(&mut payload, true).expect("a greeting");
        assert!(capabilities(&payload).expect("a greeting") & TLS != 0);
        let extended = places(&payload).expect("a greeting").extended;
        assert_eq!((GREETING[extended], payload[extended]), (0x1d, 0x0c));
    }

    #[test]
    fn a_clients_answer_says_what_it_wants() {
        let mut answer = vec![0; 40];
        assert_eq!(asked(&answer), Err(Broken::Old));
        answer[1] = 2;
        answer[3] = 1;
        let plain = Asked {
            wants_tls: false,
            deprecates_eof: true,
            counts_found: false,
        };
        assert_eq!(asked(&answer), Ok(plain));
        answer[0] = 2;
        assert!(asked(&answer).expect("an answer").counts_found);
        answer[0] = 0;
        set_tls(&mut answer, true);
        assert_eq!(
            asked(&answer),
            Ok(plain),
            "it is longer than a request for TLS"
        );
        assert!(asked(&answer[..32]).expect("a request").wants_tls);
        set_tls(&mut answer, false);
        assert!(!asked(&answer[..32]).expect("a request").wants_tls);
        assert_eq!(asked(&answer[..3]), Err(Broken::Handshake));
    }

    #[test]
    fn what_is_no_greeting_is_told() {
        for bytes in [
            &b""[..],
            b"\x0a5.5",
            b"HTTP/1.1 200 OK\r\n",
            &GREETING[..40],
        ] {
            assert_eq!(capabilities(bytes), Err(Broken::Handshake));
            assert!(offer(&mut bytes.to_vec(), true).is_err());
        }
    }
}
