//! What the ledger holds: who said what, with the conversation it was said in.

/// The tenants. The last one is the one that runs campaigns.
pub(super) const TENANTS: [&str; 5] = ["airline", "bakery", "bank", "museum", "retailer"];

/// The context of a conversation, in bytes: its state and what was said before. On the day of a
/// sibling incident single records were larger than 3 MB; the order of the things is what matters.
const CONTEXT: usize = 32 * 1024;

/// A record of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// The message's own id, by which it is written once only.
    pub id: String,
    /// The place in [`TENANTS`].
    pub tenant: usize,
    /// What was said, and the context of it.
    pub entry: String,
}

impl Record {
    /// A record of at most `entry_max` bytes of what was said and its context.
    pub(super) fn new(id: String, tenant: usize, said: &str, entry_max: usize) -> Self {
        let mut entry = said.to_owned();
        entry.truncate(entry.floor_char_boundary(entry_max));
        let context = CONTEXT.min(entry_max - entry.len());
        entry.extend(std::iter::repeat_n('.', context));
        Self { id, tenant, entry }
    }
}

/// The place of a tenant in [`TENANTS`].
pub(super) fn tenant(name: &str) -> Option<usize> {
    TENANTS.iter().position(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_never_longer_than_its_bound() {
        let entry = |said: &str, max| Record::new("1".to_owned(), 0, said, max).entry;
        assert_eq!(entry("hello", 8), "hello...");
        assert_eq!(entry("größer", 3), "gr.");
        assert_eq!(entry("hello", usize::MAX).len(), 5 + CONTEXT);
    }
}
