//! Ctrl-C and its kin. The first asks for an orderly end: faults lifted, what was started stopped,
//! the history saved. The second hurries.

use super::{Failure, progress::Progress};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

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

    /// Waits for the second signal.
    pub async fn at_once(&self) {
        self.at_once.cancelled().await;
    }
}

/// The signals that end a program.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
