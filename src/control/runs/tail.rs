//! Follows the history of a run while it is written.

use crate::{
    control::bench::window::{Flow, Window},
    history::Observation,
};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How much is read at once.
const CHUNK: usize = 1 << 20;

/// The longest line that is taken in; what is longer is passed over.
const LINE_BYTES_MAX: usize = 4 << 20;

/// Reads what has been added since it was last asked.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    file: Option<File>,
    /// The beginning of a line whose end has not been written yet.
    rest: Vec<u8>,
    is_passing_over: bool,
    flows: BTreeMap<Arc<str>, Flow>,
}

impl Tail {
    /// Of a file that may not be there yet.
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: None,
            rest: Vec::new(),
            is_passing_over: false,
            flows: BTreeMap::new(),
        }
    }

    /// Takes what is new into a window, at most a chunk; whether there may be more.
    pub(super) fn follow(&mut self, window: &Mutex<Window>) -> bool {
        let mut chunk = vec![0; CHUNK];
        let Some(count) = self.read(&mut chunk) else {
            return false;
        };
        let observations = self.lines(&chunk[..count]);
        let mut window = window.lock();
        for observation in observations {
            self.note(observation, &mut window);
        }
        count == CHUNK
    }

    fn read(&mut self, chunk: &mut [u8]) -> Option<usize> {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        // A file that cannot be read any more shows nothing new.
        let count = self.file.as_mut()?.read(chunk).ok()?;
        (count > 0).then_some(count)
    }

    fn lines(&mut self, bytes: &[u8]) -> Vec<Observation> {
        let mut found = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.is_passing_over {
                self.rest.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                found.extend(serde_json::from_slice::<Observation>(&self.rest).ok());
                self.rest.clear();
                self.is_passing_over = false;
            } else if self.rest.len() > LINE_BYTES_MAX {
                self.rest.clear();
                self.is_passing_over = true;
            }
        }
        found
    }

    fn note(&mut self, observation: Observation, window: &mut Window) {
        let at = observation.at();
        if let Observation::Connection(connection) = &observation {
            let flow = self
                .flows
                .entry(Arc::clone(&connection.dependency))
                .or_default();
            flow.bytes_in += connection.bytes_up;
            flow.bytes_out += connection.bytes_down;
            window.flowed(&connection.dependency, *flow, at);
        }
        if matches!(observation, Observation::Run(_)) {
            return;
        }
        window.take(observation);
        window.age(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sample::attempt;
    use std::io::Write;

    #[test]
    fn what_is_written_in_pieces_is_taken_in_whole() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut out = File::create(file.path()).expect("a file");
        let line = |began| {
            let attempt = attempt("s3", began, began + 10).status(200).done();
            serde_json::to_string(&Observation::Attempt(attempt)).expect("it is written") + "\n"
        };
        let mut tail = Tail::new(file.path());
        let window = Mutex::new(Window::default());
        let mut counted = || {
            tail.follow(&window);
            window.lock().entries().len()
        };
        assert_eq!(counted(), 0);
        let (first, second) = (line(0), line(100));
        out.write_all(first.as_bytes()).expect("it is written");
        out.write_all(&second.as_bytes()[..20])
            .expect("it is written");
        assert_eq!(counted(), 1);
        out.write_all(&second.as_bytes()[20..])
            .expect("it is written");
        out.write_all(b"no observation\n").expect("it is written");
        assert_eq!(counted(), 2);
    }
}
