//! When the system, or Brownout, was ready to run and had no processor, because others had it.
//!
//! What other programs of the machine keep the system from doing is none of its doing. How long a single
//! request was held up nobody knows; but not longer than all threads together waited meanwhile, nor than
//! they were looked at. So an operation took the system at least its time less that.

use super::Window;
use crate::units::Micros;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A stretch in which threads of the instances or of Brownout waited for a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HeldUp {
    /// From when on they were looked at.
    pub from: Micros,
    /// Until when.
    pub to: Micros,
    /// How long they were ready to run and did not, all of them added up, in microseconds.
    pub waited: Micros,
    /// The most of it that a single request can have waited behind other programs, or for the host of a
    /// virtual machine, in microseconds: what was waited, but no longer than the stretch, by the share of
    /// the processors' time that was theirs.
    pub behind_others: Micros,
}

/// The most that something can have been held up by other programs from one moment to another: what all
/// threads waited in the stretches that it touches. `all` are in order and do not overlap.
pub(super) fn at_most(all: &[HeldUp], window: Window) -> Duration {
    let first = all.partition_point(|one| one.to <= window.from);
    let touched = all[first..]
        .iter()
        .take_while(|one| one.from < window.to.max(window.from + Duration::from_micros(1)));
    touched
        .map(|one| Duration::from_micros(one.behind_others.0))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_stretch_touches_may_have_been_held_up_for_all_of_it() {
        let at = Micros::from_millis;
        let stretch = |from, to, waited| HeldUp {
            from: at(from),
            to: at(to),
            waited: at(waited * 2),
            behind_others: at(waited),
        };
        let all = [
            stretch(100, 200, 30),
            stretch(200, 300, 50),
            stretch(500, 600, 7),
        ];
        for (from, to, most) in [
            (0, 100, 0),
            (0, 101, 30),
            (199, 201, 80),
            (200, 200, 50),
            (300, 500, 0),
            (0, 1_000, 87),
            (600, 900, 0),
        ] {
            let window = Window::new(at(from), at(to));
            let most = Duration::from_millis(most);
            assert_eq!(at_most(&all, window), most, "{from} to {to}");
        }
        assert_eq!(at_most(&[], Window::new(at(0), at(9))), Duration::ZERO);
    }
}
