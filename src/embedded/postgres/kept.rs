//! What a session keeps by name, and how many bytes that is.

use super::refusal::Refusal;
use std::collections::BTreeMap;

/// The most prepared statements and the most portals of a session.
pub(super) const NAMED_MAX: usize = 10_000;

/// The most bytes that the texts of a session's prepared statements, and the most that its portals'
/// parameters and rows may have.
pub(super) const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Prepared statements, or portals.
#[derive(Debug)]
pub(super) struct Kept<T> {
    /// What they are called in a refusal.
    what: &'static str,
    entries: BTreeMap<String, (usize, T)>,
    bytes: usize,
}

impl<T> Kept<T> {
    pub(super) fn new(what: &'static str) -> Self {
        Self {
            what,
            entries: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Keeps one of so many bytes, in place of what has its name.
    ///
    /// # Errors
    /// There are too many, or they would have too many bytes; then nothing changes.
    pub(super) fn insert(&mut self, name: String, bytes: usize, value: T) -> Result<(), Refusal> {
        let before = self.entries.get(&name).map(|(bytes, _)| *bytes);
        if before.is_none() && self.entries.len() >= NAMED_MAX {
            let message = format!("too many {}: a session keeps {NAMED_MAX}", self.what);
            return Err(Refusal::new("53400", message));
        }
        let bytes = bytes + name.len();
        self.has_room(before.unwrap_or(0), bytes)?;
        self.bytes = self.bytes - before.unwrap_or(0) + bytes;
        self.entries.insert(name, (bytes, value));
        Ok(())
    }

    /// One of them has so many bytes from now on.
    ///
    /// # Errors
    /// They would have too many bytes; then nothing changes.
    pub(super) fn resize(&mut self, name: &str, bytes: usize) -> Result<(), Refusal> {
        let Some(before) = self.entries.get(name).map(|(bytes, _)| *bytes) else {
            return Ok(());
        };
        let bytes = bytes + name.len();
        self.has_room(before, bytes)?;
        if let Some((known, _)) = self.entries.get_mut(name) {
            *known = bytes;
        }
        self.bytes = self.bytes - before + bytes;
        Ok(())
    }

    fn has_room(&self, before: usize, after: usize) -> Result<(), Refusal> {
        if self.bytes - before + after <= BYTES_MAX {
            return Ok(());
        }
        let what = self.what;
        let message = format!(
            "{what} of more than {BYTES_MAX} bytes in one session: close those that are done"
        );
        Err(Refusal::new("53400", message))
    }

    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.entries.get(name).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        self.entries.get_mut(name).map(|(_, value)| value)
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some((bytes, _)) = self.entries.remove(name) {
            self.bytes -= bytes;
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_in_bytes_and_in_number() {
        let mut kept = Kept::new("portals");
        let half = BYTES_MAX / 2 - 1;
        kept.insert("a".to_owned(), half, ()).expect("room");
        kept.insert("b".to_owned(), half, ()).expect("room");
        let refused = kept.insert("c".to_owned(), 0, ()).expect_err("no room");
        assert_eq!(refused.code, "53400");
        assert!(
            refused.message.starts_with("portals of more than"),
            "{}",
            refused.message
        );
        assert!(kept.get("c").is_none());
        // In its own place there is room, and where another has gone.
        kept.insert("b".to_owned(), half, ()).expect("room");
        assert!(kept.resize("b", half + 1).is_err());
        kept.resize("b", 10).expect("room");
        kept.insert("c".to_owned(), half - 20, ()).expect("room");
        kept.remove("a");
        kept.insert("d".to_owned(), half, ()).expect("room");
        kept.clear();
        for nth in 0..NAMED_MAX {
            kept.insert(nth.to_string(), 0, ()).expect("room");
        }
        let refused = kept.insert("one more".to_owned(), 0, ());
        assert!(
            refused
                .expect_err("too many")
                .message
                .starts_with("too many portals")
        );
        kept.insert("0".to_owned(), 1, ())
            .expect("it is there already");
    }
}
