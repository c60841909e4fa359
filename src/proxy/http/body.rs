//! Where a body ends: follows its framing over bytes that come in any pieces.
//!
//! Nothing is decoded, copied or kept. The tracker says of the next bytes how many belong together
//! and whether they are data or framing, so that they can be forwarded as they are. Line ends
//! within chunked framing must be CRLF: a bare LF is where two parsers come to differ.

use super::head::Framing;

/// The most bytes of a chunk's size line, extensions included.
const SIZE_LINE_MAX: usize = 16 * 1024;

/// The most bytes of all trailers.
const TRAILERS_MAX: usize = 64 * 1024;

/// The next bytes of a body that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    /// How many bytes; zero only if there were none or the body is complete.
    len: usize,
    /// Whether they are the body's data, rather than framing around it.
    is_data: bool,
}

/// Chunked framing is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("broken chunked framing: {0}")]
pub struct BadChunk(&'static str);

/// Follows one body to its end.
#[derive(Debug, Clone)]
pub struct Body {
    state: State,
    line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Done,
    Length(u64),
    UntilClose,
    Size { value: u64, digits: u8 },
    Extension { value: u64 },
    SizeLf { value: u64 },
    Data(u64),
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
}

impl Body {
    /// A body framed like this, of which nothing was seen.
    pub const fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::UntilClose => State::UntilClose,
            Framing::Chunked => State::Size {
                value: 0,
                digits: 0,
            },
        };
        Self { state, line: 0 }
    }

    /// Whether the body has been seen to its end. One that ends with the connection never is.
    pub const fn is_complete(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether the connection's end is a proper end here.
    pub const fn may_end_here(&self) -> bool {
        matches!(self.state, State::Done | State::UntilClose)
    }

    /// The next piece at the beginning of `bytes`, which it counts as seen.
    ///
    /// # Errors
    /// Chunked framing that is broken or beyond its limits.
    fn next(&mut self, bytes: &[u8]) -> Result<Piece, BadChunk> {
        let data = |len| {
            Ok(Piece {
                len,
                is_data: len > 0,
            })
        };
        match self.state {
            State::Done => data(0),
            State::UntilClose => data(bytes.len()),
            State::Length(rest) => {
                let (len, rest) = take(bytes, rest);
                self.state = if rest == 0 {
                    State::Done
                } else {
                    State::Length(rest)
                };
                data(len)
            }
            State::Data(rest) => {
                let (len, rest) = take(bytes, rest);
                self.state = if rest == 0 {
                    State::DataCr
                } else {
                    State::Data(rest)
                };
                data(len)
            }
            _ => self.frame(bytes),
        }
    }

    /// How many bytes at the beginning of `bytes` belong to the body, at most up to the `data_max`th
    /// byte of data; all of them count as seen. `look` gets the data.
    ///
    /// # Errors
    /// Chunked framing that is broken or beyond its limits.
    pub fn advance(
        &mut self,
        bytes: &[u8],
        data_max: u64,
        mut look: impl FnMut(&[u8]),
    ) -> Result<usize, BadChunk> {
        let (mut seen, mut rest) = (0, data_max);
        while rest > 0 && seen < bytes.len() && !self.is_complete() {
            let (window, _) = take(&bytes[seen..], rest);
            let piece = self.next(&bytes[seen..seen + window])?;
            if piece.is_data {
                look(&bytes[seen..seen + piece.len]);
                rest -= piece.len as u64;
            }
            seen += piece.len;
        }
        Ok(seen)
    }

    fn frame(&mut self, bytes: &[u8]) -> Result<Piece, BadChunk> {
        let mut len = 0;
        for byte in bytes {
            self.state = self.step(*byte)?;
            len += 1;
            if matches!(self.state, State::Data(_) | State::Done) {
                break;
            }
        }
        Ok(Piece {
            len,
            is_data: false,
        })
    }

    /// The state after one byte of framing. `line` counts the bytes of a size line, or of all
    /// trailers.
    fn step(&mut self, byte: u8) -> Result<State, BadChunk> {
        self.line += 1;
        match (self.state, byte) {
            (State::Size { value, digits }, _) => size_digit(value, digits, byte),
            (State::Extension { value }, b'\r') => Ok(State::SizeLf { value }),
            (State::Extension { .. }, b'\n') => Err(BadChunk("bare line feed in a size line")),
            (State::Extension { .. }, _) if self.line > SIZE_LINE_MAX => {
                Err(BadChunk("size line of more than 16 KiB"))
            }
            (State::Extension { value }, _) => Ok(State::Extension { value }),
            (State::SizeLf { value }, b'\n') => {
                self.line = 0;
                Ok(if value == 0 {
                    State::TrailerStart
                } else {
                    State::Data(value)
                })
            }
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => {
                self.line = 0;
                Ok(State::Size {
                    value: 0,
                    digits: 0,
                })
            }
            (State::TrailerStart, b'\r') => Ok(State::LastLf),
            (State::TrailerStart | State::Trailer, b'\n') => {
                Err(BadChunk("bare line feed in a trailer"))
            }
            (State::Trailer, b'\r') => Ok(State::TrailerLf),
            (State::TrailerStart | State::Trailer, _) if self.line > TRAILERS_MAX => {
                Err(BadChunk("trailers of more than 64 KiB"))
            }
            (State::TrailerStart | State::Trailer, _) => Ok(State::Trailer),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::LastLf, b'\n') => Ok(State::Done),
            _ => Err(BadChunk("line end expected")),
        }
    }
}

fn size_digit(value: u64, digits: u8, byte: u8) -> Result<State, BadChunk> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        b'\r' if digits > 0 => return Ok(State::SizeLf { value }),
        b';' | b' ' | b'\t' if digits > 0 => return Ok(State::Extension { value }),
        _ => return Err(BadChunk("chunk size is not a number")),
    };
    if digits == 16 {
        return Err(BadChunk("chunk size of more than 16 digits"));
    }
    Ok(State::Size {
        value: value << 4 | u64::from(digit),
        digits: digits + 1,
    })
}

/// How many of `bytes` belong to `rest`, and what is left of it.
fn take(bytes: &[u8], rest: u64) -> (usize, u64) {
    let len = usize::try_from(rest).map_or(bytes.len(), |rest| rest.min(bytes.len()));
    (len, rest - len as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHUNKED: &[u8] = b"5;a=\"b\"\r\nhello\r\n00a\r\n0123456789\r\n0;x\r\nA: b\r\nC:\r\n\r\n";

    /// Reads a body in pieces cut at `cuts`: the bytes that belong to it, and its data.
    fn read(framing: Framing, bytes: &[u8], cuts: &[usize]) -> Result<(usize, Vec<u8>), BadChunk> {
        let mut body = Body::new(framing);
        let (mut seen, mut data) = (0, Vec::new());
        let ends = cuts.iter().copied().chain([bytes.len()]);
        for end in ends {
            seen += body.advance(&bytes[seen..end], u64::MAX, |piece| {
                data.extend_from_slice(piece);
            })?;
            if body.is_complete() {
                break;
            }
        }
        Ok((seen, data))
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        let next = b"GET / HTTP/1.1\r\n\r\n";
        let with_next = |body: &[u8]| [body, next].concat();
        let (seen, data) = read(Framing::Chunked, &with_next(CHUNKED), &[]).unwrap();
        assert_eq!((seen, &data[..]), (CHUNKED.len(), &b"hello0123456789"[..]));
        let (seen, data) = read(Framing::Length(3), &with_next(b"abc"), &[]).unwrap();
        assert_eq!((seen, &data[..]), (3, &b"abc"[..]));
        assert_eq!(read(Framing::None, next, &[]).unwrap().0, 0);
        assert_eq!(read(Framing::Length(0), next, &[]).unwrap().0, 0);
        assert_eq!(read(Framing::UntilClose, next, &[]).unwrap().0, next.len());
    }

    #[test]
    fn only_some_bodies_may_end_with_the_connection() {
        assert!(Body::new(Framing::UntilClose).may_end_here());
        assert!(Body::new(Framing::None).may_end_here());
        assert!(!Body::new(Framing::Length(1)).may_end_here());
        assert!(!Body::new(Framing::Chunked).may_end_here());
    }

    #[test]
    fn a_body_can_be_followed_up_to_a_number_of_data_bytes() {
        let mut body = Body::new(Framing::Chunked);
        let mut data = Vec::new();
        let mut follow = |bytes: &[u8], max| {
            let seen = body.advance(bytes, max, |piece| data.extend_from_slice(piece));
            (seen.unwrap(), body.is_complete())
        };
        let (seen, _) = follow(CHUNKED, 7);
        assert_eq!(&CHUNKED[seen..seen + 3], b"234");
        assert_eq!(follow(&CHUNKED[seen..], 0), (0, false));
        assert_eq!(follow(&CHUNKED[seen..], 100), (CHUNKED.len() - seen, true));
        assert_eq!(data, b"hello0123456789");
    }

    #[test]
    fn broken_chunks_are_refused() {
        for bytes in [
            &b"\r\n"[..],
            b"x\r\n",
            b"-5\r\n",
            b"5\nhello",
            b"5;a\nhello",
            b"5\rhello",
            b"5\r\nhelloX",
            b"5\r\nhello\n",
            b"0\r\nA: b\n",
            b"0\r\n\n",
            b"00000000000000001\r\n",
        ] {
            let refused = read(Framing::Chunked, bytes, &[]);
            assert!(refused.is_err(), "{:?}: {refused:?}", bytes.escape_ascii());
        }
        let line = [b"5;", &[b'a'; SIZE_LINE_MAX][..]].concat();
        assert!(read(Framing::Chunked, &line, &[]).is_err());
        let trailers = [b"0\r\n", &b"A: b\r\n".repeat(TRAILERS_MAX / 6 + 2)[..]].concat();
        assert!(read(Framing::Chunked, &trailers, &[]).is_err());
    }

    proptest! {
        #[test]
        fn any_split_of_a_body_gives_the_same(mut cuts in prop::collection::vec(0..CHUNKED.len(), 0..8)) {
            cuts.sort_unstable();
            prop_assert_eq!(
                read(Framing::Chunked, CHUNKED, &cuts),
                read(Framing::Chunked, CHUNKED, &[])
            );
        }

        #[test]
        fn garbage_in_chunks_never_panics(bytes: Vec<u8>) {
            let _ = read(Framing::Chunked, &bytes, &[]);
        }
    }
}
