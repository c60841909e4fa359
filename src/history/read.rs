//! Reads a history back.
//!
//! A last line that was torn by `kill -9` is left out. Anything else that is not an observation is
//! an error with file and line: a history with a hole is not judged.

use super::{
    Attempt, HISTORY_VERSION, History, HistoryError, Observation, Operation, index::Building,
    quick, shared::Shared,
};
use serde::Deserialize;
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

/// The longest line taken, in bytes. The first one holds the texts of two files.
const LINE_BYTES_MAX: u64 = 32 << 20;

/// The most observations taken.
const OBSERVATIONS_MAX: u64 = 20_000_000;

/// What every version's first line says.
#[derive(Deserialize)]
struct Head {
    r#type: String,
    version: u32,
}

impl History {
    /// Reads a file that a `Writer` wrote.
    ///
    /// # Errors
    /// If it cannot be read, was written in a newer format, or holds a line (but the torn last
    /// one) that is no observation.
    pub fn read(path: &Path) -> Result<Self, HistoryError> {
        let file = File::open(path).map_err(|source| HistoryError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::read_from(BufReader::with_capacity(1 << 20, file), path)
    }

    /// Reads from anything; `path` is what errors name.
    ///
    /// # Errors
    /// As [`History::read`].
    pub fn read_from(reader: impl BufRead, path: &Path) -> Result<Self, HistoryError> {
        let mut building = None;
        let mut names = Shared::new();
        each_line(reader, path, |number, line, whole| {
            if number == 1 {
                check_head(line, path)?;
            }
            match observation(line, &mut names) {
                // Put in its place at once: a list of all of them would cost their memory twice.
                Ok(observation) => take(&mut building, observation),
                Err(_) if !whole && number > 1 => {}
                Err(source) => {
                    return Err(HistoryError::Line {
                        path: path.to_owned(),
                        line: number,
                        source,
                    });
                }
            }
            Ok(())
        })?;
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

/// Hands out the lines with their numbers, and whether a newline ended them.
fn each_line(
    mut reader: impl BufRead,
    path: &Path,
    mut take: impl FnMut(u64, &[u8], bool) -> Result<(), HistoryError>,
) -> Result<(), HistoryError> {
    let too_long = |line, what: String| HistoryError::TooLong {
        path: path.to_owned(),
        line,
        what,
    };
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let count = (&mut reader)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .map_err(|source| HistoryError::Read {
                path: path.to_owned(),
                source,
            })?;
        if count == 0 {
            break;
        }
        if count as u64 == LINE_BYTES_MAX {
            let what = format!("a line of more than {LINE_BYTES_MAX} bytes");
            return Err(too_long(number, what));
        }
        if number > OBSERVATIONS_MAX {
            let what = format!("more than {OBSERVATIONS_MAX} observations");
            return Err(too_long(number, what));
        }
        let whole = line.pop_if(|last| *last == b'\n').is_some();
        take(number, &line, whole)?;
    }
    Ok(())
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
