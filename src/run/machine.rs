//! What is noted of the machine that a run takes place on.

use crate::history::Machine;

/// The machine that this program runs on.
pub fn this_machine() -> Machine {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    Machine {
        os: std::env::consts::OS.to_owned(),
        kernel: release.ok().map(|text| text.trim().to_owned()),
        architecture: std::env::consts::ARCH.to_owned(),
        processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    }
}
