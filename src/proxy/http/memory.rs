//! Answers given before, for the fault that gives them again.
//!
//! Remembered are whole answers with status 200 to GET, of at most [`ANSWER_BYTES_MAX`] each. When
//! there are [`ANSWERS_MAX`] of them or they hold more bytes than the proxy's limit, the oldest is
//! forgotten. A limit of zero remembers nothing and costs nothing.

use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};

/// The most answers remembered.
const ANSWERS_MAX: usize = 256;

/// The most bytes of one answer, its head included.
pub(super) const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// An answer as it was sent.
#[derive(Debug, Clone)]
pub(super) enum Remembered {
    /// Head and body as on the wire of HTTP/1.1.
    Http1(Bytes),
    /// An answer of HTTP/2: its head and its data.
    Http2(Box<::http::response::Parts>, Bytes),
}

impl Remembered {
    fn len(&self) -> usize {
        match self {
            Self::Http1(bytes) | Self::Http2(_, bytes) => bytes.len(),
        }
    }
}

/// The bounded memory of one proxy.
#[derive(Debug)]
pub(crate) struct Memory {
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    answers: HashMap<String, Remembered>,
    order: VecDeque<String>,
    bytes: usize,
}

impl Memory {
    /// A memory of at most this many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            state: Mutex::default(),
        }
    }

    /// Whether anything is remembered at all.
    pub(super) fn is_on(&self) -> bool {
        self.bytes_max > 0
    }

    /// The last answer to this request.
    pub(super) fn recall(&self, request: &str) -> Option<Remembered> {
        self.state.lock().answers.get(request).cloned()
    }

    /// Remembers an answer in place of the one before.
    pub(super) fn remember(&self, request: &str, answer: Remembered) {
        let len = answer.len();
        if len > ANSWER_BYTES_MAX || len > self.bytes_max {
            return;
        }
        let mut state = self.state.lock();
        match state.answers.insert(request.to_owned(), answer) {
            Some(before) => state.bytes -= before.len(),
            None => state.order.push_back(request.to_owned()),
        }
        state.bytes += len;
        while state.bytes > self.bytes_max || state.order.len() > ANSWERS_MAX {
            state.forget_oldest();
        }
    }
}

impl State {
    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.order.pop_front()
            && let Some(answer) = self.answers.remove(&oldest)
        {
            self.bytes -= answer.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(len: usize) -> Remembered {
        Remembered::Http1(vec![0; len].into())
    }

    #[test]
    fn the_oldest_is_forgotten_when_there_are_too_many() {
        let memory = Memory::new(1 << 20);
        for n in 0..=ANSWERS_MAX {
            memory.remember(&format!("GET /{n}"), answer(1));
        }
        assert!(memory.recall("GET /0").is_none());
        assert!(memory.recall("GET /1").is_some());
    }

    #[test]
    fn the_oldest_is_forgotten_when_they_are_too_large() {
        let memory = Memory::new(100);
        memory.remember("GET /a", answer(60));
        memory.remember("GET /a", answer(50));
        memory.remember("GET /b", answer(50));
        assert!(memory.recall("GET /a").is_some());
        memory.remember("GET /c", answer(101));
        assert!(memory.recall("GET /c").is_none());
        memory.remember("GET /d", answer(1));
        assert!(memory.recall("GET /a").is_none());
        assert!(memory.recall("GET /b").is_some());
    }
}
