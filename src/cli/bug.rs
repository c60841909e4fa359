//! What is said when a bug of ours shows itself.

use super::say;
use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic,
    sync::atomic::{AtomicBool, Ordering},
};

static HAPPENED: AtomicBool = AtomicBool::new(false);

/// Turns a panic anywhere in the process into a message that asks for a report.
pub fn install_hook() {
    panic::set_hook(Box::new(|panic| {
        HAPPENED.store(true, Ordering::SeqCst);
        say::error(
            "this is a bug in Brownout, not in your system or your files",
            Some("please report it with the text below, the command you typed and your files"),
        );
        say::note(&format!(
            "brownout {} on {}-{}: {panic}",
            env!("CARGO_PKG_VERSION"),
            std::env::consts::OS,
            std::env::consts::ARCH,
        ));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            say::note(&backtrace.to_string());
        }
    }));
}

/// Whether a bug showed itself, in whichever thread.
pub fn happened() -> bool {
    HAPPENED.load(Ordering::SeqCst)
}
