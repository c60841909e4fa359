//! What fuzzing feeds with bytes: one target for each reader of what strangers write.
//!
//! A target panics where its reader is wrong: where the same bytes in other pieces mean something
//! else, where more is claimed than there is, or where what was written is not read again. The
//! fuzzer of `fuzz/` finds bytes for them; `smoke` gives each of them the committed corpus, whole
//! and mutilated, with every run of the tests.

#[cfg(test)]
mod smoke;
mod texts;
mod wire;

/// The largest input that is looked at, in bytes: what is wrong shows in less.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

/// A reader that is fed.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is called in `fuzz/`.
    pub name: &'static str,
    run: fn(&[u8]),
}

impl Target {
    /// Feeds it; what is beyond [`INPUT_BYTES_MAX`] is left out.
    ///
    /// # Panics
    /// The reader is wrong.
    pub fn run(&self, bytes: &[u8]) {
        (self.run)(&bytes[..bytes.len().min(INPUT_BYTES_MAX)]);
    }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("scenario", texts::scenario),
    target("system", texts::system),
    target("history", texts::history),
    target("toxic", texts::toxic),
    target("proxies", texts::proxies),
    target("api", texts::api),
    target("http", wire::http),
    target("postgres", wire::postgres),
    target("mysql", wire::mysql),
    target("redis", wire::redis),
    target("websocket", wire::websocket),
];

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// Feeds the target of this name.
///
/// # Panics
/// There is none, or its reader is wrong.
pub fn feed(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    target.expect("a target of this name").run(bytes);
}
