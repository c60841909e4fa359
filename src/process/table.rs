//! The operating system's table of processes: who is in a group, since when, and whose.
//!
//! On Linux it is read from `/proc`, see proc(5). Elsewhere it is not read at all: start times are
//! unknown and groups are taken at their number.

use rustix::{
    io,
    process::{Pid, Signal, kill_process, kill_process_group},
};

/// The environment variable by which everything that a run started is known, whatever group or
/// session it moved to. Its value is a list, separated by colons, of the runs it belongs to: a
/// run inside a run adds its own.
pub(super) const COOKIE: &str = "BROWNOUT_RUN";

/// A process group that we made, by its leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Group {
    /// The leader's process id, which is the group's number. Greater than 1.
    pub pid: i32,
    /// When the leader started, in clock ticks since boot; 0 where that is unknown. Tells our
    /// leader from a stranger to whom its number was given later.
    pub start: u64,
}

impl Group {
    /// The group led by a process that was just started; `None` for numbers that must never be
    /// signalled.
    pub fn of_leader(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok().filter(|pid| *pid > 1)?;
        Some(Self {
            pid,
            start: process(pid).map_or(0, |process| process.start),
        })
    }

    /// Sends a signal to every member; an empty group is no error.
    pub fn signal(self, signal: Signal) -> io::Result<()> {
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.pid > 1 && self.is_ours()) else {
            return Ok(());
        };
        match kill_process_group(pid, signal) {
            Err(io::Errno::SRCH) => Ok(()),
            // macOS answers EPERM for a group of which only zombies are left.
            Err(io::Errno::PERM) if cfg!(target_os = "macos") => Ok(()),
            other => other,
        }
    }

    /// Whether the number still means our group. While a member lives, the kernel gives the
    /// number to nobody else; a leader with another start time is a stranger.
    pub fn is_ours(self) -> bool {
        self.start == 0 || process(self.pid).is_none_or(|leader| leader.start == self.start)
    }

    /// The members that run, zombies left out.
    #[cfg(target_os = "linux")]
    pub fn members(self) -> Vec<i32> {
        if !self.is_ours() {
            return Vec::new();
        }
        processes()
            .into_iter()
            .filter(|process| process.group == self.pid && process.is_running())
            .map(|process| process.pid)
            .collect()
    }

    /// The running descendants of the members that are in other groups.
    pub fn strays(self) -> Vec<Process> {
        if !self.is_ours() {
            return Vec::new();
        }
        let mut strays = with_descendants(&processes(), |process| process.group == self.pid);
        strays.retain(|process| process.group != self.pid && process.is_running());
        strays
    }

    /// Everybody who belongs to what was started as this group, whatever group or session they moved
    /// to: the members, those `known` of old, whoever was started with this cookie, and the
    /// descendants of all these. Who does not run is left out. Off Linux nobody is known.
    pub fn everybody(self, cookie: &str, known: &[Process]) -> Vec<Process> {
        let is_ours = self.is_ours();
        let me = i32::try_from(std::process::id()).unwrap_or(0);
        let mut everybody = with_descendants(&processes(), |process| {
            (is_ours && process.group == self.pid)
                || known.iter().any(|one| one.is_same(process))
                || carries(process.pid, cookie)
        });
        everybody.retain(|one| one.is_running() && one.pid > 1 && one.pid != me);
        everybody
    }

    /// The leader, if anybody in the group can still be signalled.
    #[cfg(not(target_os = "linux"))]
    pub fn members(self) -> Vec<i32> {
        Pid::from_raw(self.pid)
            .filter(|pid| rustix::process::test_kill_process_group(*pid).is_ok())
            .map(|_| self.pid)
            .into_iter()
            .collect()
    }
}

/// One entry of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    /// Its id.
    pub pid: i32,
    /// Its state's letter: `Z` and `X` are dead.
    pub state: char,
    /// Its parent's id.
    pub parent: i32,
    /// Its group's number.
    pub group: i32,
    /// When it started, in clock ticks since boot.
    pub start: u64,
}

impl Process {
    /// Whether it can still do anything.
    pub fn is_running(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// Whether it stands still: by SIGSTOP, or as it is traced.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// Whether it is the same process: its number may have been given to another since.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.pid, self.start) == (other.pid, other.start)
    }

    /// Sends it a signal, unless its number was given to another since the table was read. Who has
    /// gone is no error, nor is who may not be signalled: whoever asks looks again.
    pub fn signal(&self, signal: Signal) {
        if process(self.pid).is_some_and(|now| now.is_same(self))
            && let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.pid > 1)
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// Parses `/proc/PID/stat`. The name, second, stands in brackets and may hold anything, so
    /// the fields are counted from the last bracket.
    fn parse(text: &str) -> Option<Self> {
        let (head, tail) = text.rsplit_once(')')?;
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        Some(Self {
            pid: head.split_once('(')?.0.trim().parse().ok()?,
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            start: fields.get(19)?.parse().ok()?,
        })
    }
}

/// The entry of one process.
pub(super) fn process(pid: i32) -> Option<Process> {
    if cfg!(not(target_os = "linux")) {
        return None;
    }
    Process::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The whole table; empty where it cannot be read.
pub(super) fn processes() -> Vec<Process> {
    if cfg!(not(target_os = "linux")) {
        return Vec::new();
    }
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(process)
        .collect()
}

/// The entries that are seeds, and their descendants.
pub(super) fn with_descendants(
    table: &[Process],
    is_seed: impl Fn(&Process) -> bool,
) -> Vec<Process> {
    let (mut ours, mut others): (Vec<Process>, Vec<Process>) =
        table.iter().cloned().partition(|process| is_seed(process));
    let mut asked = 0;
    while let Some(parent) = ours.get(asked).map(|process| process.pid) {
        let children;
        (children, others) = others
            .into_iter()
            .partition(|process| process.parent == parent);
        ours.extend::<Vec<Process>>(children);
        asked += 1;
    }
    ours
}

/// Whether a process was started with this cookie among those of its environment.
pub(super) fn carries(pid: i32, cookie: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| holds_cookie(&environment, cookie))
}

fn holds_cookie(environment: &[u8], cookie: &str) -> bool {
    environment
        .split(|byte| *byte == 0)
        .filter_map(|entry| std::str::from_utf8(entry).ok()?.strip_prefix(COOKIE))
        .filter_map(|rest| rest.strip_prefix('='))
        .any(|value| value.split(':').any(|part| part == cookie))
}

/// The resident memory of a process in bytes; pages shared with others are counted in each.
pub(super) fn resident_bytes(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_name_looks_like_fields_is_read_right() {
        let text = "417 (a) R 1 (b) S 12 415 415 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 9876 1 2 3";
        let process = Process::parse(text).unwrap();
        assert_eq!(process.pid, 417);
        assert_eq!((process.state, process.parent), ('S', 12));
        assert_eq!((process.group, process.start), (415, 9876));
    }

    #[test]
    fn a_truncated_entry_is_no_process() {
        for text in ["", "417", "417 (sh)", "417 (sh) S 1 2", "x (sh) S 1 2"] {
            assert_eq!(Process::parse(text), None, "{text}");
        }
    }

    #[test]
    fn descendants_are_found_through_every_generation_and_no_further() {
        let entry = |pid, parent| Process {
            pid,
            state: 'S',
            parent,
            group: pid,
            start: 0,
        };
        let table = [
            entry(9, 7),
            entry(5, 1),
            entry(7, 5),
            entry(6, 1),
            entry(8, 6),
        ];
        let ours = with_descendants(&table, |process| process.pid == 5);
        let pids: Vec<i32> = ours.iter().map(|process| process.pid).collect();
        assert_eq!(pids, [5, 7, 9]);
    }

    #[test]
    fn a_cookie_is_found_whole_and_in_any_place_of_the_list() {
        let environment = b"A=1\0BROWNOUT_RUN=outer.1:inner.2\0B=2\0";
        assert!(holds_cookie(environment, "outer.1"));
        assert!(holds_cookie(environment, "inner.2"));
        assert!(!holds_cookie(environment, "inner"));
        assert!(!holds_cookie(b"BROWNOUT_RUNS=inner.2\0", "inner.2"));
    }

    #[test]
    fn no_group_is_made_of_the_numbers_that_mean_everybody() {
        assert_eq!(Group::of_leader(0), None);
        assert_eq!(Group::of_leader(1), None);
        assert_eq!(Group::of_leader(u32::MAX), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_leader_with_another_start_time_is_a_stranger() {
        let me = i32::try_from(std::process::id()).unwrap();
        let start = process(me).unwrap().start;
        assert!(Group { pid: me, start }.is_ours());
        assert!(
            !Group {
                pid: me,
                start: start + 1
            }
            .is_ours()
        );
    }
}
