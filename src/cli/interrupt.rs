//! Ctrl-C and its kin. The first asks for an orderly end: faults lifted, what was started stopped,
//! the history saved. The second hurries.

use super::{Failure, progress::Progress};
use futures_util::future::select_all;
use std::{pin::pin, time::Duration};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long whoever wants the command to end waits for what is being shown: standard error may be a
/// pipe that nobody reads.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);

/// Whether somebody wants the command to end.
#[derive(Debug)]
pub struct Interrupt {
    gently: CancellationToken,
    at_once: CancellationToken,
}

impl Interrupt {
    /// Listens from now on, for as long as the runtime lives.
    ///
    /// # Errors
    /// The signals cannot be listened for.
    pub fn listen(progress: Progress) -> Result<Self, Failure> {
        let mut signals = Signals::new()?;
        let interrupt = Self {
            gently: CancellationToken::new(),
            at_once: CancellationToken::new(),
        };
        let (gently, at_once) = (interrupt.gently.clone(), interrupt.at_once.clone());
        tokio::spawn(async move {
            signals.next().await;
            // Announcing waits for nobody: healing does not hang on who reads.
            progress.announce(
                "interrupted: healing, stopping what was started, saving; again to hurry",
            );
            gently.cancel();
            signals.next().await;
            progress.announce("hurrying");
            at_once.cancel();
        });
        Ok(interrupt)
    }

    /// Cancelled by the first signal.
    pub fn gently(&self) -> &CancellationToken {
        &self.gently
    }

    /// Whether there was a signal.
    pub fn asked(&self) -> bool {
        self.gently.is_cancelled()
    }

    /// What somebody waits for who shows something to people: for as long as it takes, but once there
    /// was a signal no longer than a second. `None` where nobody looked by then.
    pub async fn unless_nobody_looks<T>(&self, shown: impl Future<Output = T>) -> Option<T> {
        let mut shown = pin!(shown);
        tokio::select! {
            biased;
            shown = &mut shown => return Some(shown),
            () = self.gently.cancelled() => {}
        }
        tokio::time::timeout(SHOWN_WITHIN, shown).await.ok()
    }

    /// Waits for the second signal.
    pub async fn at_once(&self) {
        self.at_once.cancelled().await;
    }
}

/// The signals that end a program, but for those that whoever started us wants ignored: `nohup`
/// does so with HUP, a shell with the INT of what it starts in the background.
pub(super) struct Signals(Vec<Signal>);

impl Signals {
    /// Listens from now on.
    pub(super) fn new() -> std::io::Result<Self> {
        let ignored = ignored();
        [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ]
        .into_iter()
        .filter(|kind| ignored & (1 << (kind.as_raw_value() - 1)) == 0)
        .map(signal)
        .collect::<std::io::Result<_>>()
        .map(Self)
    }

    /// Waits for the next of them.
    pub(super) async fn next(&mut self) {
        let each = self.0.iter_mut().map(|signal| Box::pin(signal.recv()));
        let each: Vec<_> = each.collect();
        if each.is_empty() {
            std::future::pending::<()>().await;
        }
        select_all(each).await;
    }
}

/// The signals that are ignored from the start, signal 1 in the lowest bit. Known on Linux only.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
