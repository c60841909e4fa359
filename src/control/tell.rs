//! What a server says of itself while it runs.

use std::{fmt, sync::Arc};

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Info,
    /// It was not done.
    Error,
}

type Hear = dyn Fn(Level, &str) + Send + Sync;

/// Who hears of it.
#[derive(Clone)]
pub struct Tell(Arc<Hear>);

impl Tell {
    /// Calls this with every line. It must not block.
    pub fn new(hear: impl Fn(Level, &str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    pub(crate) fn info(&self, line: impl fmt::Display) {
        (self.0)(Level::Info, &line.to_string());
    }

    pub(crate) fn error(&self, line: impl fmt::Display) {
        (self.0)(Level::Error, &line.to_string());
    }
}

impl fmt::Debug for Tell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tell")
    }
}
