//! The WebSockets of one dependency that are open, oldest first.

use crate::protocol::Place;
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};

/// Which connections are WebSockets, by the order in which they began.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    count: u64,
    /// The number at which each open one began.
    open: BTreeMap<u64, u64>,
}

impl Sockets {
    /// A connection begins to be a WebSocket, and is one until what is returned is dropped.
    pub(crate) fn enter(self: &Arc<Self>, connection: u64) -> Entered {
        let mut state = self.state.lock();
        state.count += 1;
        let began = state.count;
        state.open.insert(connection, began);
        Entered {
            sockets: Arc::clone(self),
            connection,
        }
    }
}

/// A WebSocket as long as it is one.
#[derive(Debug)]
pub(crate) struct Entered {
    sockets: Arc<Sockets>,
    connection: u64,
}

impl Entered {
    /// Its place among those open.
    pub(crate) fn place(&self, already_open: bool) -> Place {
        let state = self.sockets.state.lock();
        let began = state.open.get(&self.connection).copied();
        let older = state.open.values().filter(|other| Some(**other) < began);
        Place {
            rank: older.count() as u64 + 1,
            already_open,
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.sockets.state.lock().open.remove(&self.connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_by_age_and_close_up_when_one_leaves() {
        let sockets = Arc::new(Sockets::default());
        let rank = |entered: &Entered| entered.place(true).rank;
        let (old, middle, young) = (sockets.enter(9), sockets.enter(2), sockets.enter(5));
        assert_eq!((rank(&old), rank(&middle), rank(&young)), (1, 2, 3));
        drop(middle);
        assert_eq!((rank(&old), rank(&young)), (1, 2));
    }
}
