//! What an instance prints: a bounded log file, and the last lines in memory.
//!
//! Standard output and error share the log, line by line as they arrive. Whatever goes wrong with
//! the file, reading goes on: an instance must not stall because our disk is full.

use crate::input::line_without_secrets;
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::Arc,
};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The most bytes that a log holds; what comes later is read and dropped, with a note.
pub(super) const LOG_BYTES_MAX: u64 = 64 << 20;

/// Longer lines are cut into several.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Lines kept in memory.
const RING_LINES: usize = 50;

/// What a line in memory may hold, in bytes.
const RING_LINE_BYTES_MAX: usize = 500;

/// The output of one instance over all its starts.
#[derive(Debug)]
pub(super) struct Output {
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    log: Option<File>,
    room: u64,
    ring: VecDeque<String>,
}

impl Output {
    /// Opens the log anew.
    pub fn create(path: &Path, log_bytes_max: u64) -> io::Result<Arc<Self>> {
        let log = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .open(path)?;
        Ok(Arc::new(Self {
            kept: Mutex::new(Kept {
                log: Some(log),
                room: log_bytes_max,
                ring: VecDeque::with_capacity(RING_LINES),
            }),
        }))
    }

    /// Forgets the lines in memory: what comes is the output of a new start.
    pub fn begin(&self) {
        self.kept.lock().ring.clear();
    }

    /// The last lines, oldest first; at most 50 are kept, each cut at 500 bytes. They are shown to people
    /// and kept in histories, so that what they call after a secret is left out; the log has all of it.
    pub fn last(&self, lines: usize) -> Vec<String> {
        let kept = self.kept.lock();
        let skipped = kept.ring.len().saturating_sub(lines);
        let last = kept.ring.iter().skip(skipped);
        last.map(|line| line_without_secrets(line)).collect()
    }

    /// Reads a stream to its end.
    pub async fn pump(self: Arc<Self>, mut stream: impl AsyncRead + Unpin) {
        let mut pending = Vec::new();
        let mut chunk = vec![0; LINE_BYTES_MAX];
        loop {
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(read) => pending.extend_from_slice(&chunk[..read]),
            }
            self.take_lines(&mut pending);
        }
        if !pending.is_empty() {
            self.kept.lock().line(&pending);
        }
    }

    fn take_lines(&self, pending: &mut Vec<u8>) {
        let mut kept = self.kept.lock();
        let mut taken = 0;
        loop {
            let rest = &pending[taken..];
            match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    kept.line(&rest[..end]);
                    taken += end + 1;
                }
                None if rest.len() >= LINE_BYTES_MAX => {
                    kept.line(rest);
                    taken = pending.len();
                }
                None => break,
            }
        }
        pending.drain(..taken);
    }
}

impl Kept {
    fn line(&mut self, line: &[u8]) {
        self.write(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let shown = &line[..line.len().min(RING_LINE_BYTES_MAX)];
        self.remember(String::from_utf8_lossy(shown).into_owned());
    }

    fn remember(&mut self, line: String) {
        if self.ring.len() == RING_LINES {
            self.ring.pop_front();
        }
        self.ring.push_back(line);
    }

    /// Each line is one write, so that a log read while it grows has whole lines.
    fn write(&mut self, line: &[u8]) {
        let Some(log) = &mut self.log else { return };
        let size = line.len() as u64 + 1;
        if size > self.room {
            let _ = log.write_all(b"[brownout: the log is full; what follows was not kept]\n");
            self.log = None;
            return;
        }
        self.room -= size;
        let mut whole = Vec::with_capacity(line.len() + 1);
        whole.extend_from_slice(line);
        whole.push(b'\n');
        if let Err(error) = log.write_all(&whole) {
            self.log = None;
            self.remember(format!("[brownout: the log could not be written: {error}]"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pumped(chunks: &[&[u8]], log_bytes_max: u64) -> (Vec<String>, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let output = Output::create(&path, log_bytes_max).unwrap();
        let stream = tokio_test_stream(chunks);
        Arc::clone(&output).pump(stream).await;
        let log = std::fs::read(&path).unwrap();
        (output.last(50), String::from_utf8_lossy(&log).into_owned())
    }

    /// A stream that ends after these chunks.
    fn tokio_test_stream(chunks: &[&[u8]]) -> impl AsyncRead + Unpin {
        std::io::Cursor::new(chunks.concat())
    }

    #[tokio::test]
    async fn lines_reach_memory_and_log_alike() {
        let (lines, log) = pumped(&[b"one\ntw", b"o\r\nlast"], 1 << 20).await;
        assert_eq!(lines, ["one", "two", "last"]);
        assert_eq!(log, "one\ntwo\r\nlast\n");
    }

    #[tokio::test]
    async fn the_last_lines_give_out_no_secret() {
        let printed = b"using redis://:hunter2@cache:1\npassword=hunter2\n";
        let (lines, log) = pumped(&[printed], 1 << 20).await;
        assert_eq!(lines, ["using redis://:***@cache:1", "password=***"]);
        assert_eq!(log.as_bytes(), printed, "the log is the program's own");
    }

    #[tokio::test]
    async fn only_the_last_fifty_lines_stay_in_memory() {
        let text: String = (1..=120).map(|n| format!("line {n}\n")).collect();
        let (lines, log) = pumped(&[text.as_bytes()], 1 << 20).await;
        assert_eq!(lines.len(), 50);
        assert_eq!(lines.first().unwrap(), "line 71");
        assert_eq!(log.lines().count(), 120);
    }

    #[tokio::test]
    async fn a_full_log_says_so_and_memory_goes_on() {
        let (lines, log) = pumped(&[b"12345\n67890\nabc\n"], 8).await;
        assert_eq!(lines, ["12345", "67890", "abc"]);
        assert_eq!(
            log,
            "12345\n[brownout: the log is full; what follows was not kept]\n"
        );
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut_and_not_gathered() {
        let endless = vec![b'x'; 3 * LINE_BYTES_MAX + 5];
        let (lines, log) = pumped(&[&endless], 1 << 20).await;
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|line| line.len() <= RING_LINE_BYTES_MAX));
        assert_eq!(log.lines().map(str::len).sum::<usize>(), endless.len());
    }
}
