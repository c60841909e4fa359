//! The guard: a small process that outlives the harness just long enough to clean up after it.
//!
//! It is our own executable, started with the hidden argument [`ARGUMENT`], in a session of its
//! own so that neither Ctrl-C nor the death of the terminal reaches it. It reads lines from a
//! pipe: which groups we made. When the pipe ends, however the harness ended, it kills those
//! groups, whatever carries the run's cookie in its environment, and the descendants of both.
//! An orderly end closes the pipe as well: there is one way out, and it is always tried.
//!
//! Out of reach: a process that changed its user, that wiped the environment it was started with
//! *and* left both its group and its parents; and everything, if the guard is itself killed with -9 at
//! the same moment as the harness. Off Linux only the groups are known.

use super::table::{COOKIE, Group, Process, carries, processes, with_descendants};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Signal, setsid},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, ChildStdin, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

/// The hidden first argument by which the executable becomes the guard.
pub const ARGUMENT: &str = "__guard";

/// What the guard says once it is in its own session and reads.
const READY: &[u8] = b"ready\n";

/// The time the guard has to say so.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// The time in which one that a signal ends is gone.
const ENDED_WITHIN: Duration = Duration::from_millis(500);

/// The time it has to clean up; what is then left cannot be killed.
const SWEEP_WITHIN: Duration = Duration::from_secs(5);

/// The time between two looks at the table of processes.
const SWEEP_EVERY: Duration = Duration::from_millis(10);

/// Looks in a row that must find nothing: a process may be between fork and exec, where it does
/// not carry the cookie yet.
const QUIET_LOOKS: u32 = 3;

/// What the executable does when it is started with [`ARGUMENT`]: waits for the end of its
/// standard input, then cleans up.
pub fn main() -> ExitCode {
    let _ = setsid();
    let _deaf = Deaf::new();
    let _ = std::env::set_current_dir("/");
    let mut told = Told::default();
    let mut out = io::stdout();
    if out.write_all(READY).and_then(|()| out.flush()).is_err() {
        return ExitCode::FAILURE;
    }
    for line in io::stdin().lock().lines() {
        match line {
            Ok(line) => told.take(&line),
            Err(_) => break,
        }
    }
    told.sweep();
    ExitCode::SUCCESS
}

/// Keeps the polite signals from ending the guard: whoever asks the harness to stop by its name
/// asks the guard too, which must stay to the end.
struct Deaf {
    _runtime: tokio::runtime::Runtime,
    _streams: Vec<tokio::signal::unix::Signal>,
}

impl Deaf {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let _inside = runtime.enter();
        let streams = [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
        ]
        .into_iter()
        .map(signal)
        .collect::<io::Result<_>>()?;
        drop(_inside);
        Ok(Self {
            _runtime: runtime,
            _streams: streams,
        })
    }
}

/// What the guard was told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    cookie: Option<String>,
    groups: BTreeMap<i32, Group>,
    /// Single processes, by id, with their start times.
    strays: BTreeMap<i32, u64>,
}

impl Told {
    /// Takes one line in; lines that it does not know are left alone.
    fn take(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["cookie", cookie] if !cookie.is_empty() => self.cookie = Some(cookie.to_owned()),
            ["group", pid, start] => {
                if let (Ok(pid), Ok(start)) = (pid.parse::<i32>(), start.parse())
                    && pid > 1
                {
                    self.groups.insert(pid, Group { pid, start });
                }
            }
            ["stray", pid, start] => {
                if let (Ok(pid), Ok(start)) = (pid.parse::<i32>(), start.parse())
                    && pid > 1
                {
                    self.strays.insert(pid, start);
                }
            }
            ["gone", pid] => {
                if let Ok(pid) = pid.parse::<i32>() {
                    self.groups.remove(&pid);
                }
            }
            _ => {}
        }
    }

    /// Kills until nothing is left, or until the time is over.
    fn sweep(&self) {
        let until = Instant::now() + SWEEP_WITHIN;
        let mut quiet = 0;
        while quiet < QUIET_LOOKS && Instant::now() < until {
            // Descendants are found through their parents, so the look comes before the kill.
            let left = self.left();
            quiet = if left.is_empty() { quiet + 1 } else { 0 };
            for group in self.groups.values() {
                let _ = group.signal(Signal::KILL);
            }
            for process in left {
                process.signal(Signal::KILL);
            }
            std::thread::sleep(SWEEP_EVERY);
        }
    }

    /// Everything that is ours and runs: members of our groups, carriers of the cookie, strays,
    /// and the descendants of all these.
    fn left(&self) -> Vec<Process> {
        let table = processes();
        let me = i32::try_from(std::process::id()).unwrap_or(0);
        let groups: BTreeSet<i32> = self
            .groups
            .values()
            .filter(|group| group.is_ours())
            .map(|group| group.pid)
            .collect();
        let cookie = self.cookie.as_deref();
        let is_seed = |process: &Process| {
            groups.contains(&process.group)
                || self.strays.get(&process.pid) == Some(&process.start)
                || cookie.is_some_and(|cookie| carries(process.pid, cookie))
        };
        let mut ours = with_descendants(&table, is_seed);
        ours.retain(|process| process.is_running() && process.pid > 1 && process.pid != me);
        ours
    }
}

/// The harness's end of the pipe.
#[derive(Debug)]
pub(super) struct Guard {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Starts a guard and waits until it reads. `program` must call [`main`] when its first
    /// argument is [`ARGUMENT`]. Until it is in its own session Ctrl-C ends it along with others: one
    /// that a signal ended is started once more, so that who asked the harness to stop is not told
    /// that something could not be started.
    pub fn launch(program: &Path, cookie: &str) -> io::Result<Self> {
        let mut guard = Self::started(program)?;
        let mut is_ready = guard.says_ready()?;
        if !is_ready && guard.was_signalled() {
            guard = Self::started(program)?;
            is_ready = guard.says_ready()?;
        }
        if !is_ready {
            guard.finish();
            return Err(io::Error::other(format!(
                "`{}` does not act as the guard when asked to",
                program.display()
            )));
        }
        guard.tell(&format!("cookie {cookie}\n"))?;
        Ok(guard)
    }

    fn started(program: &Path) -> io::Result<Self> {
        let mut child = Command::new(program)
            .arg0("brownout")
            .arg(ARGUMENT)
            // A run around this one would else find our guard and kill it before its work.
            .env_remove(COOKIE)
            .env_remove(super::TOKEN)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// Whether a signal has ended it. One that has closed its output without a word is about to end.
    fn was_signalled(&mut self) -> bool {
        let until = Instant::now() + ENDED_WITHIN;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.signal().is_some(),
                Ok(None) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Ok(None) | Err(_) => return false,
            }
        }
    }

    fn says_ready(&mut self) -> io::Result<bool> {
        let Some(mut out) = self.child.stdout.take() else {
            return Ok(false);
        };
        let until = Instant::now() + READY_WITHIN;
        let mut said = Vec::new();
        while said.len() < READY.len() && READY.starts_with(&said) {
            let rest = until.saturating_duration_since(Instant::now());
            let limit = Timespec::try_from(rest).map_err(io::Error::other)?;
            // A signal that comes just now, Ctrl-C for one, is somebody else's business.
            match poll(&mut [PollFd::new(&out, PollFlags::IN)], Some(&limit)) {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let mut chunk = [0; READY.len()];
            match out.read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(read) => said.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(said == READY)
    }

    /// Tells it of a group to kill.
    pub fn tell_group(&mut self, group: Group) -> io::Result<()> {
        self.tell(&format!("group {} {}\n", group.pid, group.start))
    }

    /// Tells it of a single process to kill, one that left its group.
    pub fn tell_stray(&mut self, stray: &Process) -> io::Result<()> {
        self.tell(&format!("stray {} {}\n", stray.pid, stray.start))
    }

    /// Tells it that a group is empty, so that its number may mean somebody else.
    pub fn tell_gone(&mut self, group: Group) -> io::Result<()> {
        self.tell(&format!("gone {}\n", group.pid))
    }

    fn tell(&mut self, line: &str) -> io::Result<()> {
        match &mut self.pipe {
            Some(pipe) => pipe.write_all(line.as_bytes()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Ends the pipe and waits until the guard has cleaned up and is gone; at most the time that
    /// it allows itself.
    pub fn finish(&mut self) {
        if self.pipe.take().is_none() {
            return;
        }
        let until = Instant::now() + SWEEP_WITHIN + Duration::from_secs(1);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= until {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> Told {
        let mut told = Told::default();
        for line in lines {
            told.take(line);
        }
        told
    }

    #[test]
    fn groups_are_remembered_until_they_are_gone() {
        let told = told(&["cookie a.1", "group 77 500", "group 78 501", "gone 77"]);
        assert_eq!(told.cookie.as_deref(), Some("a.1"));
        let left: Vec<&Group> = told.groups.values().collect();
        assert_eq!(
            left,
            [&Group {
                pid: 78,
                start: 501
            }]
        );
    }

    #[test]
    fn a_line_can_never_name_the_numbers_that_mean_everybody() {
        let lines = [
            "group 1 5",
            "stray 1 5",
            "group 0 5",
            "group -1 5",
            "group",
            "cookie ",
            "x",
        ];
        assert_eq!(told(&lines), Told::default());
    }

    #[test]
    fn a_guard_that_a_signal_ends_before_it_is_deaf_is_started_once_more() {
        let folder = tempfile::tempdir().unwrap();
        let (text, program) = (folder.path().join("text"), folder.path().join("guard.sh"));
        let lives = |signals: u32| {
            let script = format!(
                "#!/bin/sh\necho start >> \"$0.starts\"\n\
                 test $(wc -l < \"$0.starts\") -gt {signals} || kill -TERM $$\n\
                 echo ready\ncat > /dev/null\n"
            );
            std::fs::write(&text, script).unwrap();
            // Not written by us: what another test starts meanwhile would have it open for writing.
            let copied = "rm -f \"$1\" \"$1.starts\"; cp \"$0\" \"$1\" && chmod 700 \"$1\"";
            let copied = Command::new("sh")
                .args(["-c", copied])
                .args([&text, &program])
                .status();
            assert!(copied.unwrap().success());
            Guard::launch(&program, "none").is_ok()
        };
        assert!(lives(0) && lives(1));
        // Somebody who goes on ends it for good.
        assert!(!lives(2));
    }

    #[test]
    fn a_program_that_is_no_guard_is_refused() {
        let error = Guard::launch(Path::new("/bin/echo"), "none").unwrap_err();
        assert!(
            error.to_string().contains("does not act as the guard"),
            "{error}"
        );
    }
}
