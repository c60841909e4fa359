//! What expectations say of the calls that a fault acted on.

use super::{Evidence, samples::SAMPLES_MIN};

pub use crate::policy::{
    apart,
    calls::{Hit, hit},
};

impl Hit<'_> {
    /// The call as evidence.
    pub fn evidence(&self) -> Evidence {
        Evidence::of_call(self.attempts[0], self.describe())
    }
}

/// What is said of calls that were put together by time.
pub fn grouping_note(hits: &[Hit<'_>]) -> &'static str {
    if hits.iter().all(|hit| hit.call.by_sdk_id) {
        ""
    } else {
        ", attempts grouped by time as the client sends no id"
    }
}

/// Why calls are too few to show anything, if they are. `min_calls` is what the file says.
pub fn too_few(telling: u64, hits: usize, needed: u64) -> Option<String> {
    if hits == 0 {
        return Some("no call was acted on by a fault".to_owned());
    }
    (telling < needed).then(|| {
        let cut = hits as u64 - telling.min(hits as u64);
        format!(
            "{telling} calls tell something, at least {needed} are needed; {cut} more were still open when their fault was lifted"
        )
    })
}

/// The default of `min_calls`.
pub const CALLS_MIN: i64 = SAMPLES_MIN as i64;
