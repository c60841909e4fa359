//! What can go wrong with a history's file.

use std::{io, path::PathBuf};

/// Why a history could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file could not be created.
    #[error("cannot create the history {}: {source}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Writing failed: a full disk, most often. Recording has ended; what was written before can
    /// still be judged.
    #[error("cannot go on writing the history {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file could not be opened or read.
    #[error("cannot read the history {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A packed file is damaged, cut short, or unpacks to more than is read.
    #[error("cannot unpack the history {}, which may be damaged or cut short: {source}", path.display())]
    Packed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A line is not an observation.
    #[error("{}:{line}: not an observation: {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A line or the file is longer than a reader takes.
    #[error("{}:{line}: {what}", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Which limit was reached.
        what: String,
    },
    /// The first line does not say which run it is.
    #[error("{}:1: a history begins with an entry of type `run`; this file does not", path.display())]
    NotAHistory {
        /// The file.
        path: PathBuf,
    },
    /// A later version of Brownout wrote it.
    #[error(
        "{}:1: written in format {found}; this version reads formats up to {known}: judge it with the version that wrote it, or a later one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that this version reads.
        known: u32,
    },
}
