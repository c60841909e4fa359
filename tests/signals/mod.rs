//! The signal with which tests end a run early.

use rustix::process::{Pid, Signal, kill_process};

/// Asks a run to end: SIGINT as Ctrl-C does, or SIGTERM where whoever started the tests has SIGINT
/// ignored (a shell does so with what it starts in the background), which `brownout` heeds.
pub fn interrupt(pid: Pid) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    let is_ignored = ignored & (1 << (Signal::INT.as_raw() - 1)) != 0;
    let signal = if is_ignored {
        Signal::TERM
    } else {
        Signal::INT
    };
    kill_process(pid, signal).expect("the run is there");
}
