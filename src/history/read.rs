//! Reads a history back, plain or packed.
//!
//! A last line that was torn by `kill -9` is left out. Anything else that is not an observation is
//! an error with file and line: a history with a hole is not judged. What is packed is whole, or it is
//! an error: it is packed when nothing tears it any more.
//!
//! A long one is cut into pieces at the ends of lines, which several threads read side by side. What
//! they read is put together in the order of the file, and of several errors the first one counts, so
//! that nobody can tell how many there were.

use super::{
    Attempt, HISTORY_VERSION, History, HistoryError, Observation, Operation,
    index::Building,
    packed::{Incoming, place_of},
    quick,
    shared::Shared,
};
use serde::Deserialize;
use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

/// The longest line taken, in bytes. The first one holds the texts of two files.
const LINE_BYTES_MAX: usize = 32 << 20;

/// The most observations taken.
const OBSERVATIONS_MAX: u64 = 20_000_000;

/// How many bytes a piece has, but for a longer line: some thousand observations, which a core's own
/// memory holds.
const PIECE_BYTES: usize = 1 << 18;

/// The most threads that read pieces: putting together what they read keeps one busy for as long as
/// these take.
const THREADS_MAX: usize = 4;

/// How many pieces each of them has before it, so that none waits.
const PIECES_EACH: usize = 4;

/// What every version's first line says.
#[derive(Deserialize)]
struct Head {
    r#type: String,
    version: u32,
}

impl History {
    /// Reads a file that a `Writer` wrote, or what was packed of it: where there is no file of this name,
    /// the packed one beside it.
    ///
    /// # Errors
    /// If it cannot be read, was written in a newer format, or holds a line (but the torn last
    /// one) that is no observation; if it is packed, also if it is not whole.
    pub fn read(path: &Path) -> Result<Self, HistoryError> {
        let path = &*place_of(path);
        let file = File::open(path).map_err(|source| HistoryError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::read_from(BufReader::with_capacity(1 << 16, file), path)
    }

    /// Reads from anything; `path` is what errors name.
    ///
    /// # Errors
    /// As [`History::read`].
    pub fn read_from(reader: impl BufRead, path: &Path) -> Result<Self, HistoryError> {
        Self::read_in_pieces(reader, path, PIECE_BYTES)
    }

    fn read_in_pieces(
        reader: impl BufRead,
        path: &Path,
        size: usize,
    ) -> Result<Self, HistoryError> {
        let mut pieces = Pieces::of(reader, path, size)?;
        let mut building = None;
        // Put in its place at once: a list of all of them would cost their memory twice.
        let mut add = |observation| take(&mut building, observation);
        match pieces.next() {
            None => {}
            Some(first) if pieces.is_over => {
                let first = first?.observations(path, &mut Shared::new())?;
                first.into_iter().for_each(&mut add);
                // An error may have come after it.
                pieces.next().map_or(Ok(()), |last| last.map(drop))?;
            }
            Some(first) => side_by_side([first].into_iter().chain(pieces), path, add)?,
        }
        building
            .map(Building::finish)
            .ok_or_else(|| HistoryError::NotAHistory {
                path: path.to_owned(),
            })
    }
}

/// Adds an observation; the first one is the header, as was checked.
fn take(building: &mut Option<Building>, observation: Observation) {
    match (building, observation) {
        (Some(building), observation) => building.add(observation),
        (none, Observation::Run(run)) => *none = Some(Building::new(run)),
        _ => {}
    }
}

/// What is read of a piece.
type Told = Result<Vec<Observation>, HistoryError>;

/// A piece, and who waits for what is read of it.
type Job = (Piece, mpsc::SyncSender<Told>);

/// Has pieces read by several threads, and hands out what they read in the order of the pieces.
fn side_by_side(
    mut pieces: impl Iterator<Item = Result<Piece, HistoryError>>,
    path: &Path,
    mut add: impl FnMut(Observation),
) -> Result<(), HistoryError> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(THREADS_MAX);
    let (jobs, queue) = mpsc::channel::<Job>();
    let queue = &Mutex::new(queue);
    thread::scope(|scope| {
        // Dropped before the threads are waited for: it tells them that no more comes.
        let jobs = jobs;
        let start = |_: &usize| {
            let thread = thread::Builder::new().name("history".to_owned());
            let reads = move || read_jobs(queue, path);
            thread.spawn_scoped(scope, reads).is_ok()
        };
        let threads = (0..threads).filter(start).count();
        if threads == 0 {
            // The machine has no further thread for us, and this one has the time.
            let mut names = Shared::new();
            for piece in pieces {
                let told = piece?.observations(path, &mut names)?;
                told.into_iter().for_each(&mut add);
            }
            return Ok(());
        }
        let mut waiting = VecDeque::new();
        loop {
            while waiting.len() < threads * PIECES_EACH {
                let Some(piece) = pieces.next() else { break };
                let (tell, told) = mpsc::sync_channel(1);
                match piece {
                    Ok(piece) => drop(jobs.send((piece, tell))),
                    Err(error) => drop(tell.send(Err(error))),
                }
                waiting.push_back(told);
            }
            let Some(told) = waiting.pop_front() else {
                return Ok(());
            };
            // Nobody tells where a thread has panicked, as this one does then at the scope's end.
            let Ok(told) = told.recv() else {
                return Ok(());
            };
            told?.into_iter().for_each(&mut add);
        }
    })
}

/// Reads pieces until no more comes.
fn read_jobs(queue: &Mutex<mpsc::Receiver<Job>>, path: &Path) {
    let mut names = Shared::new();
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok((piece, tell)) = next() {
        // Nobody listens any more where an earlier piece had an error.
        let _ = tell.send(piece.observations(path, &mut names));
    }
}

/// Some lines of the file.
struct Piece {
    /// All of them are whole but the file's last, which need not be.
    bytes: Vec<u8>,
    /// The number of the first, from 1.
    first: u64,
}

impl Piece {
    fn observations(&self, path: &Path, names: &mut Shared) -> Told {
        let mut observations = Vec::with_capacity(self.bytes.len() / LINE_BYTES_USUAL);
        let lines = self.bytes.split_inclusive(|byte| *byte == b'\n');
        for (number, line) in (self.first..).zip(lines) {
            if number > OBSERVATIONS_MAX {
                let what = format!("more than {OBSERVATIONS_MAX} observations");
                return Err(too_long(path, number, what));
            }
            let (line, whole) = match line.strip_suffix(b"\n") {
                Some(line) => (line, true),
                None => (line, false),
            };
            if number == 1 {
                check_head(line, path)?;
            }
            match observation(line, names) {
                Ok(observation) => observations.push(observation),
                Err(_) if !whole && number > 1 => {}
                Err(source) => {
                    return Err(HistoryError::Line {
                        path: path.to_owned(),
                        line: number,
                        source,
                    });
                }
            }
        }
        Ok(observations)
    }
}

/// About as long is a line, in bytes: room is made by it.
const LINE_BYTES_USUAL: usize = 200;

/// The pieces of a file in their order, and at last what went wrong, if anything did.
struct Pieces<'a, R> {
    incoming: Incoming<R>,
    path: &'a Path,
    /// How many bytes are gathered.
    size: usize,
    /// What was read after the last whole line.
    rest: Vec<u8>,
    /// The number of the line that this begins, from 1.
    line: u64,
    /// What went wrong after the lines that were handed out.
    error: Option<HistoryError>,
    /// Whether there is nothing more but that.
    is_over: bool,
}

impl<'a, R: BufRead> Pieces<'a, R> {
    fn of(reader: R, path: &'a Path, size: usize) -> Result<Self, HistoryError> {
        let incoming = Incoming::of(reader).map_err(|source| HistoryError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            incoming,
            path,
            size,
            rest: Vec::new(),
            line: 1,
            error: None,
            is_over: false,
        })
    }

    /// Reads on until there is a piece or the end, and says how many bytes of it are whole lines.
    fn gather(&mut self) -> usize {
        loop {
            let before = self.rest.len();
            let most = self.size.saturating_sub(before).max(self.size / 4).max(1);
            let mut some = (&mut self.incoming).take(most as u64);
            let read = some.read_to_end(&mut self.rest);
            let ends = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte == b'\n');
            match read {
                Err(source) => {
                    self.error = Some(self.incoming.failed(self.path, source));
                    self.is_over = true;
                    return ends(&self.rest).map_or(0, |at| at + 1);
                }
                Ok(0) => {
                    self.is_over = true;
                    return self.rest.len();
                }
                Ok(_) if self.first_is_too_long() => {
                    let what = format!("a line of more than {LINE_BYTES_MAX} bytes");
                    self.error = Some(too_long(self.path, self.line, what));
                    self.is_over = true;
                    return 0;
                }
                Ok(_) => {}
            }
            // Before what was just read there is no end, or too little for a piece.
            let whole = ends(&self.rest[before..]).filter(|_| self.rest.len() >= self.size);
            if let Some(at) = whole {
                return before + at + 1;
            }
        }
    }

    /// Only the first line can be: whatever has several is handed out long before.
    fn first_is_too_long(&self) -> bool {
        let is_end = |byte: &u8| *byte == b'\n';
        let most = LINE_BYTES_MAX - 1;
        self.rest.len() > most && !self.rest[..most].iter().any(is_end)
    }
}

impl<R: BufRead> Iterator for Pieces<'_, R> {
    type Item = Result<Piece, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let whole = if self.is_over { 0 } else { self.gather() };
        if whole == 0 {
            return self.error.take().map(Err);
        }
        let rest = self.rest.split_off(whole);
        let bytes = std::mem::replace(&mut self.rest, rest);
        let first = self.line;
        self.line += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        Some(Ok(Piece { bytes, first }))
    }
}

fn too_long(path: &Path, line: u64, what: String) -> HistoryError {
    HistoryError::TooLong {
        path: path.to_owned(),
        line,
        what,
    }
}

fn check_head(line: &[u8], path: &Path) -> Result<(), HistoryError> {
    let path = || path.to_owned();
    match serde_json::from_slice::<Head>(line) {
        Ok(head) if head.r#type != "run" => Err(HistoryError::NotAHistory { path: path() }),
        Ok(head) if head.version > HISTORY_VERSION => Err(HistoryError::Newer {
            path: path(),
            found: head.version,
            known: HISTORY_VERSION,
        }),
        Ok(_) => Ok(()),
        Err(_) => Err(HistoryError::NotAHistory { path: path() }),
    }
}

/// One line. The two frequent types are read straight into their structs: a tagged enum makes
/// serde build the whole line in memory first, at three times the cost. As a writer leaves them they
/// need no serde at all.
fn observation(line: &[u8], names: &mut Shared) -> serde_json::Result<Observation> {
    if line.starts_with(quick::OPERATION.as_bytes()) {
        let quick = quick::operation(line, names).map(Ok);
        let operation = quick.unwrap_or_else(|| serde_json::from_slice::<Operation>(line));
        operation.map(Observation::Operation)
    } else if line.starts_with(quick::ATTEMPT.as_bytes()) {
        let quick = quick::attempt(line, names).map(Ok);
        let attempt = quick.unwrap_or_else(|| serde_json::from_slice::<Attempt>(line));
        attempt.map(Observation::Attempt)
    } else {
        serde_json::from_slice(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{
        Outcome, Writer,
        sample::{Story, attempt},
    };
    use crate::units::Micros;

    fn story() -> Story {
        Story::new()
            .healthy(0..60)
            .attempt(attempt("s3", 12_000, 13_000).sdk("a", 1).hit().gave_up())
            .process(0, "primary", "started", true)
            .message(12_500, "s3 is down")
            .probes(0..3, None)
    }

    /// The file as a writer leaves it.
    fn file(story: &Story) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::over(&mut bytes, Path::new("h"), u64::MAX);
        for observation in story.observations() {
            writer.write(&observation).unwrap();
        }
        writer.flush().unwrap();
        drop(writer);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<History, HistoryError> {
        History::read_from(bytes, Path::new("out/history.jsonl"))
    }

    #[test]
    fn what_was_written_is_read_back() {
        let story = story();
        let read = read(&file(&story)).unwrap();
        let kept = story.history();
        assert_eq!(read.operations, kept.operations);
        assert_eq!(read.attempts, kept.attempts);
        assert_eq!(read.calls, kept.calls);
        assert_eq!(read.faults, kept.faults);
        assert_eq!((read.phases.len(), read.messages.len()), (3, 1));
        assert_eq!((read.processes.len(), read.probes.len()), (1, 3));
        assert!(read.completed());
    }

    #[test]
    fn wherever_a_kill_cuts_the_file_it_can_be_judged() {
        let bytes = file(&Story::new().load("ask", 0..1, 3, Outcome::Ok, 20));
        let header = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for length in header..bytes.len() {
            let history = read(&bytes[..length]).unwrap();
            assert!(length == bytes.len() - 1 || !history.completed());
        }
    }

    /// What is read in pieces of this size, in words.
    fn in_pieces(bytes: &[u8], size: usize) -> String {
        let read = History::read_in_pieces(bytes, Path::new("out/history.jsonl"), size);
        read.map_or_else(|error| error.to_string(), |read| format!("{read:?}"))
    }

    #[test]
    fn in_whichever_pieces_it_is_read_a_history_says_the_same_and_has_the_same_error() {
        let whole = file(&story());
        let ends = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let ends: Vec<usize> = ends.map(|(at, _)| at).collect();
        let damaged = |lines: &[usize]| {
            let mut bytes = whole.clone();
            for line in lines {
                bytes[ends[line - 2] + 1] = b'!';
            }
            bytes
        };
        let last = ends.len();
        let (two, none) = (damaged(&[40, last - 1]), damaged(&[last]));
        let torn = &whole[..whole.len() - 5];
        let files: [&[u8]; 7] = [&whole, torn, &two, &none, b"hello\nyou\n", b"\n\n", b""];
        for bytes in files {
            let said = in_pieces(bytes, usize::MAX >> 1);
            for size in [1, 100, 1_000, 10_000, whole.len(), whole.len() + 1] {
                assert!(in_pieces(bytes, size) == said, "pieces of {size}: {said}");
            }
        }
        assert!(in_pieces(&two, 100).contains("history.jsonl:40: not an observation"));
    }

    /// Bytes, and then an error.
    struct Broken<'a>(&'a [u8]);

    impl Read for Broken<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(into)? {
                0 => Err(std::io::Error::other("the disk is gone")),
                count => Ok(count),
            }
        }
    }

    #[test]
    fn of_an_error_in_a_line_and_one_in_reading_on_the_first_counts() {
        let mut bytes = file(&story());
        let said = |bytes: &[u8], size| {
            let reader = BufReader::with_capacity(64, Broken(bytes));
            let read = History::read_in_pieces(reader, Path::new("h"), size);
            read.unwrap_err().to_string()
        };
        for size in [1, 1_000, 1 << 20] {
            assert!(said(&bytes, size).contains("the disk is gone"), "{size}");
        }
        let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        bytes[second] = b'!';
        for size in [1, 1_000, 1 << 20] {
            assert!(said(&bytes, size).starts_with("h:2: not an"), "{size}");
        }
    }

    #[test]
    fn a_line_without_end_is_too_long_wherever_it_stands() {
        let mut bytes = file(&Story::new());
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        bytes.resize(bytes.len() + LINE_BYTES_MAX, b'x');
        let error = read(&bytes).unwrap_err().to_string();
        let line = lines + 1;
        let expected = format!("out/history.jsonl:{line}: a line of more than 33554432 bytes");
        assert_eq!(error, expected);
    }

    #[test]
    fn a_broken_line_in_the_middle_is_named_by_file_and_line() {
        let mut bytes = file(&story());
        let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        bytes[second] = b'!';
        let error = read(&bytes).unwrap_err().to_string();
        assert!(
            error.starts_with("out/history.jsonl:2: not an observation"),
            "{error}"
        );
    }

    #[test]
    fn a_newer_format_is_refused_before_anything_else_is_read() {
        let text = format!(
            "{{\"type\":\"run\",\"version\":{},\"unheard\":[]}}\n",
            HISTORY_VERSION + 1
        );
        let error = read(text.as_bytes()).unwrap_err();
        assert!(matches!(error, HistoryError::Newer { .. }), "{error}");
    }

    #[test]
    fn what_is_no_history_is_refused() {
        for text in ["", "hello\n", "{\"type\":\"phase\",\"at\":0,\"index\":0}\n"] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(matches!(error, HistoryError::NotAHistory { .. }), "{text}");
        }
        let missing = History::read(Path::new("/nowhere/history.jsonl")).unwrap_err();
        assert!(missing.to_string().contains("/nowhere/history.jsonl"));
    }

    #[test]
    fn phases_end_where_the_next_begins_and_the_last_with_the_run() {
        let history = story().ends(45, None).history();
        let spans: Vec<_> = history
            .phases
            .iter()
            .map(|span| (span.began, span.ended, span.complete))
            .collect();
        let at = Micros::from_secs;
        assert_eq!(spans[0], (at(0), at(10), true));
        assert_eq!(spans[1], (at(10), at(30), true));
        assert_eq!((spans[2].0, spans[2].2), (at(30), false));
        assert_eq!(history.how_it_ended(), "the runner was killed");
    }

    #[test]
    fn a_fault_that_was_never_lifted_lasts_to_the_end_and_its_hits_are_counted() {
        let history = story().ends(25, None).history();
        assert_eq!(history.faults.len(), 1);
        assert_eq!(history.faults[0].lifted, history.end);
        assert_eq!(history.faults[0].hits, 1);
    }
}
