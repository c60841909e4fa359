//! A fault in force, and the guard whose end lifts it.

use super::{Error, Fault, Pending, dependency::House, pending::block_on};
use crate::{
    fault::{Active, FaultId},
    units::Micros,
};
use std::{sync::Arc, thread};

/// A fault in force. Dropping it lifts the fault, and panics where that acted on fewer events than it
/// had to (see [`Fault::min_hits`]): a test in which nothing was injected shows nothing. While the
/// thread is panicking already, it says nothing.
#[derive(Debug)]
#[must_use = "dropping it lifts the fault"]
pub struct Injected {
    house: Arc<House>,
    active: Arc<Active>,
    label: String,
    since: Micros,
    is_lifted: bool,
    is_judged: bool,
}

impl Injected {
    pub(super) fn new(house: Arc<House>, fault: &Fault) -> Result<Self, Error> {
        let since = house.now();
        let (active, label) = house.arm(fault)?;
        Ok(Self {
            house,
            active,
            label,
            since,
            is_lifted: false,
            // Nobody has it yet: who gives up waiting for it shows nothing by it.
            is_judged: true,
        })
    }

    /// Whether it is one of these faults of this dependency. Numbers tell apart those of one alone.
    pub(super) fn is_among(&self, faults: &[FaultId], dependency: &Arc<str>) -> bool {
        Arc::ptr_eq(&self.house.name, dependency) && faults.contains(&self.active.id)
    }

    /// From now on it is asked whether it acted.
    pub(super) fn is_handed_out(&mut self) {
        self.is_judged = false;
    }

    /// What it is, in words: `error on stock, status 503, 50%`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// On how many events it acted so far: requests, or connections where it acts on those.
    ///
    /// # Errors
    /// [`Error::Restless`]: nobody can say.
    pub fn acted(&self) -> Pending<'_, Result<u64, Error>> {
        Pending::new(async move {
            self.house.backstage.settle().await?;
            Ok(self.active.hits())
        })
    }

    /// Requires that it has acted by now, on as many events as [`Fault::min_hits`] says, at least
    /// one. It goes on being in force.
    ///
    /// # Errors
    /// [`Error::Idle`], with what was seen at the dependency meanwhile.
    pub fn must_have_acted(&self) -> Pending<'_, Result<u64, Error>> {
        Pending::new(async move { self.judged(self.active.gate.min_hits.max(1)).await })
    }

    /// Lifts it, and says on how many events it acted. What it held goes on; a listener that it had
    /// closed is open again when this comes back.
    ///
    /// # Errors
    /// [`Error::Idle`], where it acted on fewer than it had to. It is lifted all the same.
    pub fn lift(mut self) -> Pending<'static, Result<u64, Error>> {
        Pending::new(async move {
            self.end();
            self.is_judged = true;
            self.judged(self.active.gate.min_hits).await
        })
    }

    fn end(&mut self) {
        if !self.is_lifted {
            self.is_lifted = true;
            self.house.lift(&self.active);
        }
    }

    async fn judged(&self, required: u64) -> Result<u64, Error> {
        let settled = self.house.backstage.settle().await;
        let acted = self.active.hits();
        if acted >= required {
            return Ok(acted);
        }
        settled?;
        Err(Error::Idle {
            fault: self.label.clone(),
            acted,
            required,
            seen: Box::new(self.house.seen().await?.since_micros(self.since)),
        })
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        self.end();
        if self.is_judged || thread::panicking() {
            return;
        }
        // The proxy has a thread of its own, so that this waits for nobody who waits for us.
        if let Err(error) = block_on(self.judged(self.active.gate.min_hits)) {
            panic!("{error}");
        }
    }
}
