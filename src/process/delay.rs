//! How long the system's processes, and our own, waited for a processor, and behind whom.
//!
//! Linux counts for each thread how long it ran and how long it was ready to run and did not, both in
//! nanoseconds (`/proc/PID/task/TID/schedstat`, see sched-stats in the kernel's documentation), and for
//! the whole machine how long its processors were busy, in ticks (`/proc/stat`, see proc(5)). Elsewhere
//! nothing is known.

use super::Meter;
use std::{
    collections::{HashMap, VecDeque},
    fs,
    sync::Arc,
    time::Duration,
};

/// Over so many readings the share of others is taken: ticks are too coarse for a single one.
const SMOOTHED: usize = 10;

/// What programs are told as ticks, whatever the kernel counts in: `USER_HZ` in its
/// `include/asm-generic/param.h`.
const TICKS_PER_SECOND: f64 = 100.0;

/// The most threads that are read, ours and the system's.
const THREADS_MAX: usize = 2_000;

/// What was spent since the reading before.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Delay {
    /// How long threads of the instances and of this process were ready to run and did not, all
    /// added up.
    pub waited: Duration,
    /// How long the host of this virtual machine took processors away, all added up.
    pub stolen: Duration,
    /// Which part of the processor time of the last second was that of others than the instances and
    /// this process, from 0 to 1.
    pub others: f64,
}

/// Reads again and again how long instances waited.
pub struct DelayMeter {
    meter: Meter,
    instances: Vec<Arc<str>>,
    processes: Vec<i32>,
    /// What each thread had spent when it was read last.
    known: HashMap<i32, Spent>,
    machine: Machine,
    lately: VecDeque<Busy>,
}

impl DelayMeter {
    /// For these instances; `None` where the system does not tell.
    pub fn new(meter: Meter, instances: Vec<Arc<str>>) -> Option<Self> {
        let mut all = Self {
            meter,
            instances,
            processes: Vec::new(),
            known: HashMap::new(),
            machine: Machine::read()?,
            lately: VecDeque::new(),
        };
        let own = i32::try_from(std::process::id()).ok()?;
        if threads(own).is_empty() {
            return None;
        }
        all.look_up();
        all.read();
        Some(all)
    }

    /// Looks up which processes there are now, which takes a few milliseconds.
    pub fn look_up(&mut self) {
        self.processes = i32::try_from(std::process::id()).into_iter().collect();
        for name in &self.instances {
            self.processes.extend(self.meter.processes(name));
        }
    }

    /// What was spent since the last time.
    pub fn read(&mut self) -> Delay {
        let mut spent = Spent::default();
        let mut now = HashMap::with_capacity(self.known.len());
        let threads = self.processes.iter().flat_map(|one| threads(*one));
        for (thread, total) in threads.take(THREADS_MAX) {
            // Of a thread that was not known before, only what comes is counted.
            let before = self.known.get(&thread).copied().unwrap_or(total);
            spent = spent.and(total.since(before));
            now.insert(thread, total);
        }
        self.known = now;
        let Some(machine) = Machine::read() else {
            return Delay::default();
        };
        let (busy, stolen) = machine.since(self.machine);
        self.machine = machine;
        self.lately.push_back(Busy {
            all: busy,
            ours: spent.ran,
        });
        while self.lately.len() > SMOOTHED {
            self.lately.pop_front();
        }
        Delay {
            waited: spent.waited,
            stolen,
            others: share_of_others(&self.lately),
        }
    }
}

/// Processor time of a stretch.
#[derive(Debug, Clone, Copy)]
struct Busy {
    all: Duration,
    ours: Duration,
}

/// Which part of the processor time was others', from 0 to 1.
fn share_of_others(lately: &VecDeque<Busy>) -> f64 {
    let all: Duration = lately.iter().map(|one| one.all).sum();
    let ours: Duration = lately.iter().map(|one| one.ours).sum();
    if all.is_zero() {
        return 0.0;
    }
    all.saturating_sub(ours).as_secs_f64() / all.as_secs_f64()
}

/// What a thread has spent so far.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Spent {
    ran: Duration,
    waited: Duration,
}

impl Spent {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_ascii_whitespace().map(str::parse);
        let mut next = || Some(Duration::from_nanos(numbers.next()?.ok()?));
        Some(Self {
            ran: next()?,
            waited: next()?,
        })
    }

    /// A thread's number may have been given to another since: then it is less, and counts as nothing.
    fn since(self, before: Self) -> Self {
        Self {
            ran: self.ran.saturating_sub(before.ran),
            waited: self.waited.saturating_sub(before.waited),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            ran: self.ran + other.ran,
            waited: self.waited + other.waited,
        }
    }
}

/// Each thread of a process with what it has spent; empty where it has gone.
fn threads(process: i32) -> Vec<(i32, Spent)> {
    let Ok(entries) = fs::read_dir(format!("/proc/{process}/task")) else {
        return Vec::new();
    };
    let spent = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("schedstat")).ok()?;
        let thread = entry.file_name().to_str()?.parse().ok()?;
        Some((thread, Spent::parse(&text)?))
    };
    entries.flatten().filter_map(spent).collect()
}

/// What all processors have spent so far, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Machine {
    busy: u64,
    stolen: u64,
}

impl Machine {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// The first line: user, nice, system, idle, iowait, irq, softirq, steal.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Result<Vec<u64>, _> = line.split_ascii_whitespace().map(str::parse).collect();
        match *ticks.ok()? {
            [user, nice, system, _, _, irq, softirq, stolen, ..] => Some(Self {
                busy: user + nice + system + irq + softirq,
                stolen,
            }),
            _ => None,
        }
    }

    /// How long processors were busy since then, and how long the host took them away.
    fn since(self, before: Self) -> (Duration, Duration) {
        let ticks = |now: u64, then: u64| {
            Duration::from_secs_f64(now.saturating_sub(then) as f64 / TICKS_PER_SECOND)
        };
        (
            ticks(self.busy, before.busy),
            ticks(self.stolen, before.stolen),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_read_as_the_kernel_writes_them() {
        let spent = Spent::parse("2517432 318765 42\n").unwrap();
        assert_eq!(spent.ran, Duration::from_nanos(2_517_432));
        assert_eq!(spent.waited, Duration::from_nanos(318_765));
        for text in ["", "1", "a b c"] {
            assert_eq!(Spent::parse(text), None, "{text}");
        }
        let text = "cpu  10 20 30 400 50 6 7 8 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n";
        let machine = Machine::parse(text).unwrap();
        assert_eq!((machine.busy, machine.stolen), (73, 8));
        for text in ["", "cpu  1 2 3\n", "cpu0 1 2 3 4 5 6 7 8\n"] {
            assert_eq!(Machine::parse(text), None, "{text}");
        }
    }

    #[test]
    fn who_waits_behind_himself_alone_waits_behind_nobody() {
        let busy = |all, ours| Busy {
            all: Duration::from_millis(all),
            ours: Duration::from_millis(ours),
        };
        let share = |all: &[Busy]| share_of_others(&all.iter().copied().collect());
        assert_eq!(share(&[]), 0.0);
        assert_eq!(share(&[busy(0, 0)]), 0.0);
        // The ticks are coarse: of one reading they may say less than was spent.
        assert_eq!(share(&[busy(150, 160)]), 0.0);
        assert!((share(&[busy(200, 0), busy(200, 100)]) - 0.75).abs() < 1e-9);
    }

    #[test]
    fn a_number_that_was_given_to_another_thread_counts_as_nothing() {
        let spent = |ran, waited| Spent {
            ran: Duration::from_millis(ran),
            waited: Duration::from_millis(waited),
        };
        assert_eq!(spent(5, 9).since(spent(2, 3)), spent(3, 6));
        assert_eq!(spent(1, 1).since(spent(2, 3)), spent(0, 0));
    }
}
