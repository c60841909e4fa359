//! `limit_data`: the first so many bytes get through, then the connection is closed.

use super::{Beginning, Ending, Front, HOLD_BYTES, Kind, Step, Toxic};
use crate::control::toxiproxy::attributes::{Attributes, Field};
use tokio::time::Instant;

pub(super) const KIND: Kind = Kind {
    name: "limit_data",
    fields: &[Field::integer("bytes")],
    holds: HOLD_BYTES,
    begin: |beginning| Box::new(LimitData::new(&beginning)),
};

struct LimitData {
    most: u64,
    /// What got through. It outlives a change of the limit.
    passed: u64,
    /// When the limit was reached.
    reached: Option<Instant>,
}

impl LimitData {
    fn new(beginning: &Beginning<'_>) -> Self {
        let mut new = Self {
            most: 0,
            passed: 0,
            reached: None,
        };
        new.change(beginning.attributes, beginning.now);
        new
    }
}

impl Toxic for LimitData {
    fn change(&mut self, attributes: &Attributes, _now: Instant) {
        self.most = u64::try_from(attributes.integer("bytes")).unwrap_or(0);
        self.reached = None;
    }

    fn step(&mut self, front: Front, arrived: Instant, _now: Instant) -> Step {
        let Front::Bytes(bytes) = front else {
            return Step::Pass(arrived);
        };
        let left = self.most.saturating_sub(self.passed);
        if left == 0 {
            return Step::End(Ending::Close);
        }
        let passes = usize::try_from(left).unwrap_or(usize::MAX);
        self.passed += bytes.min(passes) as u64;
        self.reached = (bytes >= passes).then_some(arrived);
        if bytes > passes {
            return Step::Piece(passes, arrived);
        }
        Step::Pass(arrived)
    }

    fn ends_at(&self) -> Option<(Instant, Ending)> {
        self.reached.map(|at| (at, Ending::Close))
    }
}
