//! Hands the set in force to whoever carries it out.

use super::FaultSet;
use std::sync::Arc;
use tokio::sync::watch;

/// The fault set in force for one dependency. Setting a new one reaches every connection at once,
/// pooled and idle ones too: each holds a receiver.
#[derive(Debug, Clone)]
pub struct Switch {
    sender: Arc<watch::Sender<Arc<FaultSet>>>,
}

impl Switch {
    /// A switch with no fault in force.
    pub fn new() -> Self {
        Self {
            sender: Arc::new(watch::Sender::new(Arc::new(FaultSet::default()))),
        }
    }

    /// Puts this set in force.
    pub fn set(&self, mut set: FaultSet) {
        set.comes_into_force();
        self.sender.send_replace(Arc::new(set));
    }

    /// Lifts everything.
    pub fn heal(&self) {
        self.set(FaultSet::default());
    }

    /// The set in force now.
    pub fn current(&self) -> Arc<FaultSet> {
        Arc::clone(&self.sender.borrow())
    }

    /// Whether the set in force counts what is over: see [`FaultSet::counts`].
    pub fn counts(&self) -> bool {
        self.sender.borrow().counts()
    }

    /// A receiver that is told of every change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<FaultSet>> {
        self.sender.subscribe()
    }
}

impl Default for Switch {
    fn default() -> Self {
        Self::new()
    }
}
