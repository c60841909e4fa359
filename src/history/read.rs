//! Reads a history back.
//!
//! A last line that was torn by `kill -9` is left out. Anything else that is not an observation is
//! an error with file and line: a history with a hole is not judged.

use super::{Attempt, HISTORY_VERSION, History, HistoryError, Observation, Operation};
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
        let mut observations = Vec::new();
        each_line(reader, path, |number, line, whole| {
            if number == 1 {
                check_head(line, path)?;
            }
            match observation(line) {
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
            Ok(())
        })?;
        Self::from_observations(observations).ok_or_else(|| HistoryError::NotAHistory {
            path: path.to_owned(),
        })
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
/// serde build the whole line in memory first, at three times the cost.
fn observation(line: &[u8]) -> serde_json::Result<Observation> {
    if line.starts_with(br#"{"type":"operation","#) {
        serde_json::from_slice::<Operation>(line).map(Observation::Operation)
    } else if line.starts_with(br#"{"type":"attempt","#) {
        serde_json::from_slice::<Attempt>(line).map(Observation::Attempt)
    } else {
        serde_json::from_slice(line)
    }
}
