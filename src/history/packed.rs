//! Histories packed by gzip: a tenth of the bytes, for those that are kept.
//!
//! A history is written plain, since only that can be judged after `kill -9`. When its run has ended in
//! order and was judged, one of more than [`PACK_BEYOND`] bytes is packed beside itself: under another name
//! first, then synced, renamed, and only then the plain one removed. Whatever stops that on its way leaves
//! the plain one, which is taken where both are there.
//!
//! What is read is told by its first byte, not by its name. No history begins as gzip does.

use super::{HistoryError, Writer};
use flate2::{Compression, bufread::MultiGzDecoder, write::GzEncoder};
use std::{
    borrow::Cow,
    ffi::OsString,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// The size beyond which the history of a run that ended in order is packed, in bytes: 16 MiB, some seventy
/// thousand observations.
pub const PACK_BEYOND: u64 = 16 << 20;

/// The most bytes that are unpacked: as many as a writer writes, and room for what frames a run, which
/// is written beyond that.
const UNPACKED_BYTES_MAX: u64 = Writer::BYTES_MAX + (64 << 20);

/// What a file packed by gzip begins with (RFC 1952, 2.3.1).
const MAGIC: u8 = 0x1f;

/// What is added to the name of a history for the packed one.
const PACKED: &str = ".gz";

/// And to that while it is being written.
const PART: &str = ".part";

/// Of nine levels the one that `gzip` takes by itself: higher ones take far longer and save hardly anything.
const LEVEL: Compression = Compression::new(6);

/// How much is read and packed at a time, in bytes.
const CHUNK: usize = 1 << 20;

/// The name of the packed history beside this one.
pub fn packed(history: &Path) -> PathBuf {
    with_end(history, PACKED)
}

/// Where a history of this name is to be read: there, or packed beside it if it is there alone.
pub fn place_of(history: &Path) -> Cow<'_, Path> {
    let packed = packed(history);
    // What cannot be looked at is no reason to take the other: reading it says why.
    let is_gone = || fs::metadata(history).is_err_and(|why| why.kind() == io::ErrorKind::NotFound);
    if packed.is_file() && is_gone() {
        Cow::Owned(packed)
    } else {
        Cow::Borrowed(history)
    }
}

/// Packs a history of more than [`PACK_BEYOND`] bytes, and says where it is to be read from now on.
/// Nobody may be writing it.
///
/// # Errors
/// The disk does not take it, most often. The plain one is there as it was.
pub fn pack(history: &Path) -> io::Result<PathBuf> {
    pack_beyond(history, PACK_BEYOND)
}

fn pack_beyond(history: &Path, bytes: u64) -> io::Result<PathBuf> {
    // A link or a device is somebody's own arrangement.
    let about = fs::symlink_metadata(history)?;
    if !about.is_file() || about.len() <= bytes {
        return Ok(history.to_owned());
    }
    let packed = packed(history);
    let part = with_end(&packed, PART);
    write(history, &part, about.len())
        .and_then(|()| fs::rename(&part, &packed))
        .inspect_err(|_| {
            // It is of no use, and takes what the disk has too little of.
            let _ = fs::remove_file(&part);
        })?;
    sync_folder(history)?;
    fs::remove_file(history)?;
    Ok(packed)
}

/// Writes the packed bytes, and waits until they are on the disk.
fn write(history: &Path, part: &Path, length: u64) -> io::Result<()> {
    let plain = BufReader::with_capacity(CHUNK, File::open(history)?);
    let mut into = GzEncoder::new(File::create(part)?, LEVEL);
    let copied = io::copy(&mut plain.take(length + 1), &mut into)?;
    if copied != length {
        return Err(io::Error::other("it changed while it was packed"));
    }
    into.finish()?.sync_all()
}

/// Waits until the new name is on the disk, before the old one goes.
fn sync_folder(history: &Path) -> io::Result<()> {
    let folder = history.parent().filter(|own| *own != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

/// What a history says, from its beginning on, plain or packed; where there is no file of this name, the
/// packed one beside it. What is written to it from now on is not in it.
///
/// # Errors
/// It cannot be read. What is packed and not whole is an error of reading on.
pub fn open(history: &Path) -> io::Result<impl BufRead + Send + use<>> {
    let file = File::open(place_of(history))?;
    let length = file.metadata()?.len();
    let file = BufReader::with_capacity(1 << 16, file.take(length));
    Ok(BufReader::with_capacity(1 << 16, Incoming::of(file)?))
}

/// A history as it comes, plain or packed, from its beginning on.
pub(super) enum Incoming<R> {
    /// As it was written.
    Plain(R),
    /// Packed, with the bytes that may still be unpacked, and how many may be at the most.
    Packed(Box<BufReader<io::Take<MultiGzDecoder<R>>>>, u64),
}

impl<R: BufRead> Incoming<R> {
    /// Looks at the first byte.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of(reader: R) -> io::Result<Self> {
        Self::up_to(reader, UNPACKED_BYTES_MAX)
    }

    fn up_to(mut reader: R, most: u64) -> io::Result<Self> {
        let first = loop {
            match reader.fill_buf() {
                Ok(bytes) => break bytes.first().copied(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        if first != Some(MAGIC) {
            return Ok(Self::Plain(reader));
        }
        // One more shows that there is too much.
        let unpacked = MultiGzDecoder::new(reader).take(most + 1);
        let unpacked = BufReader::with_capacity(CHUNK, unpacked);
        Ok(Self::Packed(Box::new(unpacked), most))
    }

    /// What an error in reading it means.
    pub fn failed(&self, path: &Path, source: io::Error) -> HistoryError {
        let path = path.to_owned();
        match self {
            Self::Plain(_) => HistoryError::Read { path, source },
            Self::Packed(..) => HistoryError::Packed { path, source },
        }
    }
}

impl<R: BufRead> Read for Incoming<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(into),
            Self::Packed(reader, most) => {
                let count = reader.read(into)?;
                if reader.get_ref().limit() == 0 {
                    let what = format!("it unpacks to more than {most} bytes");
                    return Err(io::Error::other(what));
                }
                Ok(count)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{History, Outcome, sample::Story};
    use std::io::Write;

    /// A history's file as a writer leaves it, and its folder.
    fn written() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history.jsonl");
        let mut writer = Writer::create(&file).unwrap();
        let story = Story::new()
            .healthy(0..10)
            .load("ask", 10..60, 3, Outcome::Ok, 20);
        for observation in story.observations() {
            writer.write(&observation).unwrap();
        }
        writer.flush().unwrap();
        (folder, file)
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    fn told(file: &Path) -> String {
        History::read(file).map_or_else(|error| error.to_string(), |read| format!("{read:?}"))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut into = GzEncoder::new(Vec::new(), LEVEL);
        into.write_all(bytes).unwrap();
        into.finish().unwrap()
    }

    #[test]
    fn a_small_history_stays_as_it_is_and_a_large_one_is_packed_and_says_the_same() {
        let (folder, file) = written();
        let (plain, bytes) = (told(&file), fs::read(&file).unwrap());
        assert_eq!(pack(&file).unwrap(), file);
        let length = bytes.len() as u64;
        assert_eq!(pack_beyond(&file, length).unwrap(), file);
        assert_eq!(names(folder.path()), ["history.jsonl"]);

        let packed = pack_beyond(&file, length - 1).unwrap();
        assert_eq!(names(folder.path()), ["history.jsonl.gz"]);
        assert!(fs::metadata(&packed).unwrap().len() < length / 5);
        assert_eq!(told(&packed), plain);
        assert_eq!(told(&file), plain, "by the name that it had");
        let mut unpacked = Vec::new();
        open(&file).unwrap().read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, bytes);
        // By what is in it, whatever it is called.
        let other = folder.path().join("other.jsonl");
        fs::rename(&packed, &other).unwrap();
        assert_eq!(told(&other), plain);
    }

    #[test]
    fn what_stops_the_packing_leaves_the_plain_one_which_is_taken_where_both_are_there() {
        let (folder, file) = written();
        let plain = told(&file);
        // Killed while it was written, and between the renaming and the removing.
        fs::write(folder.path().join("history.jsonl.gz.part"), b"\x1f\x8b").unwrap();
        assert_eq!(told(&file), plain);
        fs::write(folder.path().join("history.jsonl.gz"), gzip(b"another\n")).unwrap();
        assert_eq!(place_of(&file), file);
        assert_eq!(told(&file), plain);
        pack_beyond(&file, 0).unwrap();
        assert_eq!(names(folder.path()), ["history.jsonl.gz"]);
        assert_eq!(told(&file), plain);
        // Another run begins: nobody may take the one before for it.
        drop(Writer::create(&file).unwrap());
        assert_eq!(names(folder.path()), ["history.jsonl"]);
    }

    #[test]
    fn what_cannot_be_packed_stays_as_it_is() {
        let (folder, file) = written();
        let plain = told(&file);
        // Nothing can be written where a folder is.
        let part = folder.path().join("history.jsonl.gz.part");
        fs::create_dir(&part).unwrap();
        pack_beyond(&file, 0).unwrap_err();
        assert_eq!(told(&file), plain);
        fs::remove_dir(&part).unwrap();
        // Nor renamed to.
        let packed = folder.path().join("history.jsonl.gz");
        fs::create_dir(&packed).unwrap();
        pack_beyond(&file, 0).unwrap_err();
        assert_eq!(names(folder.path()), ["history.jsonl", "history.jsonl.gz"]);
        assert_eq!(told(&file), plain);
    }

    #[cfg(unix)]
    #[test]
    fn what_a_link_leads_to_is_somebodys_own() {
        let (folder, file) = written();
        let link = folder.path().join("link.jsonl");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(pack_beyond(&link, 0).unwrap(), link);
        assert_eq!(names(folder.path()), ["history.jsonl", "link.jsonl"]);
    }

    #[test]
    fn wherever_a_packed_history_is_cut_or_damaged_it_is_one_error() {
        let (folder, file) = written();
        let whole = gzip(&fs::read(&file).unwrap());
        let damaged = folder.path().join("damaged.jsonl.gz");
        let step = whole.len() / 40;
        for at in (1..whole.len()).step_by(step.max(1)) {
            let mut flipped = whole.clone();
            // The header's own fields may be anything: when it was packed, and where.
            let place = at.max(10);
            flipped[place] ^= 0x10;
            for (bytes, is_cut) in [(&whole[..at], true), (&flipped, false)] {
                fs::write(&damaged, bytes).unwrap();
                let said = History::read(&damaged).unwrap_err().to_string();
                // A byte of a text that is another one may show before the sum at the end does.
                let is_shown = !is_cut && !said.contains("cannot unpack");
                assert!(
                    is_shown || said.contains("cannot unpack the history"),
                    "{at}: {said}"
                );
                assert!(said.contains("damaged.jsonl.gz"), "{at}: {said}");
                assert_eq!(said.lines().count(), 1, "{at}: {said}");
            }
        }
    }

    #[test]
    fn a_line_that_was_torn_before_it_was_packed_is_left_out_as_it_is_of_a_plain_one() {
        let (_folder, file) = written();
        let bytes = fs::read(&file).unwrap();
        let torn = &bytes[..bytes.len() - 9];
        fs::write(&file, torn).unwrap();
        let plain = told(&file);
        assert!(plain.contains("ended: None"));
        fs::write(&file, gzip(torn)).unwrap();
        assert_eq!(told(&file), plain);
        // Two that were put one behind the other are one, as for `gzip`.
        let (one, other) = torn.split_at(torn.len() / 3);
        fs::write(&file, [gzip(one), gzip(other)].concat()).unwrap();
        assert_eq!(told(&file), plain);
    }

    #[test]
    fn no_more_is_unpacked_than_is_written() {
        let packed = gzip(&[b' '; 100_000]);
        let read = |most| {
            let mut into = Vec::new();
            let mut incoming = Incoming::up_to(&packed[..], most).unwrap();
            incoming
                .read_to_end(&mut into)
                .map_err(|why| why.to_string())
        };
        assert_eq!(read(100_000), Ok(100_000));
        let error = read(99_999).unwrap_err();
        assert_eq!(error, "it unpacks to more than 99999 bytes");
    }
}
