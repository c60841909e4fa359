//! Processes that are measured: started, asked what they cost, and ended with this one, however this
//! one ends.

use rustix::process::{
    Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit,
};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The role in which this binary becomes another program that does not outlive the measurement.
pub const KEEP: &str = "keep";

/// The time that a program has to come up.
const UP_WITHIN: Duration = Duration::from_secs(20);

/// Nanoseconds on the clock that all processes share.
pub fn clock() -> u128 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32).as_nanos()
}

/// Becomes another program, which the kernel ends when the process with this id ends. Its first line on
/// standard output is the moment before.
pub fn keep(words: &[&str]) -> io::Result<()> {
    let [parent, program, arguments @ ..] = words else {
        return Err(io::Error::other("keep PARENT PROGRAM [ARGUMENT …]"));
    };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let is_there = getppid().is_some_and(|id| id.as_raw_nonzero().to_string() == *parent);
    if !is_there {
        return Ok(());
    }
    let most = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Nofile, limit)?;
    println!("{}", clock());
    Err(Command::new(program).args(arguments).exec())
}

/// A process of ours.
pub struct Process {
    child: Child,
    /// The moment in which it began to be this program.
    began: u128,
    /// Read on, so that who writes to it is not ended.
    _said: BufReader<ChildStdout>,
}

impl Process {
    /// Starts a program.
    pub fn start(program: &Path, arguments: &[String], folder: &Path) -> io::Result<Self> {
        let errors = fs::File::create(folder.join("errors.txt"))?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg(KEEP)
            .arg(std::process::id().to_string())
            .arg(program)
            .args(arguments)
            .current_dir(folder)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()?;
        let said = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut said = BufReader::new(said);
        let mut line = String::new();
        said.read_line(&mut line)?;
        let began = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self {
            child,
            began,
            _said: said,
        })
    }

    /// The same, as a role of this binary.
    pub fn start_self(arguments: &[String], folder: &Path) -> io::Result<Self> {
        Self::start(&std::env::current_exe()?, arguments, folder)
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The moment in which it began to be its program: see [`clock`].
    pub fn began(&self) -> u128 {
        self.began
    }

    /// Tries until it goes, which is when the program is up.
    pub fn until<T>(&mut self, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let deadline = Instant::now() + UP_WITHIN;
        loop {
            match attempt() {
                Ok(done) => return Ok(done),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => {}
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("it ended at once: {status}")));
            }
            thread::sleep(Duration::from_micros(50));
        }
    }

    /// Processor time, user and system, of all its threads until now.
    pub fn cpu(&self) -> io::Result<Cpu> {
        let mut threads = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            let thread = thread?;
            // One that ended meanwhile is no longer there.
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else {
                continue;
            };
            let spent = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
            let spent = spent.ok_or_else(|| io::Error::other("schedstat cannot be read"))?;
            threads.insert(thread.file_name(), spent);
        }
        if threads.is_empty() {
            return Err(io::Error::other("no schedstat of its threads"));
        }
        Ok(Cpu(threads))
    }

    /// KiB of memory that it has in use.
    pub fn memory(&self) -> io::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("VmRSS:"));
        let words = line.and_then(|rest| rest.split_whitespace().next());
        let kib = words.and_then(|kib| kib.parse().ok());
        kib.ok_or_else(|| io::Error::other("its memory cannot be read"))
    }

    /// Whether another process traces all its threads.
    pub fn is_traced(&self) -> io::Result<bool> {
        for thread in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            let status = fs::read_to_string(thread?.path().join("status"))?;
            if status.lines().any(|line| line == "TracerPid:\t0") {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only on one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nanoseconds of processor time by thread.
pub struct Cpu(BTreeMap<std::ffi::OsString, u64>);

impl Cpu {
    /// Seconds since another moment.
    pub fn since(&self, before: &Self) -> f64 {
        let spent = |(thread, nanos): (_, &u64)| {
            nanos.saturating_sub(before.0.get(thread).copied().unwrap_or_default())
        };
        self.0.iter().map(spent).sum::<u64>() as f64 / 1e9
    }
}

/// Where a program is on the path, or where servers usually are.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path);
    let usual = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut places = folders.chain(usual).map(|folder| folder.join(name));
    places.find(|place| place.is_file())
}
