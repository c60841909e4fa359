//! The long text of what files may name, beside its one line.

/// What `brownout explain` says of a kind. Texts are sentences; an empty line parts paragraphs.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// What it is for, and what it does.
    pub text: &'static str,
    /// What is seen of it: the evidence of an expectation, what counts as an act of a fault.
    pub evidence: &'static str,
    /// Where nothing can be said because of it; empty where the common rules say all.
    pub doubt: &'static str,
    /// What is often got wrong.
    pub mistakes: &'static [&'static str],
    /// Names of what is often used with it or in its stead.
    pub related: &'static [&'static str],
}
