//! How well the load generator keeps its schedule: how long after their intended start operations
//! begin, and what each costs.
//!
//! `cargo bench --bench scale -- load`
//!
//! The system is a process of its own that answers at once. Two ways to wait that do nothing else are
//! measured in the same run: a thread that sleeps until each moment (`a thread`), which is what the
//! machine can do, and a task that sleeps by the runtime's timer (`a task`). The goal is a 99th
//! percentile below a millisecond at 1,000 operations a second. The last rate is beyond the machine
//! on purpose: what cannot be kept must be said.

use brownout::{
    history::{Observation, Outcome, Recorder, sample},
    load::{Base, Schedule, drive},
    scenario::{Arrivals, Load},
    seed::Seed,
    units::{Micros, Rate},
};
use rustix::time::{ClockId, clock_gettime};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// The argument by which this program is the system.
pub const SYSTEM: &str = "--system-of-load";

/// The time before the first operation.
const LEAD: Duration = Duration::from_millis(200);

/// More than any machine begins in a second.
const BEYOND: f64 = 1_000_000.0;

const ROWS: &[(f64, Arrivals)] = &[
    (100.0, Arrivals::Constant),
    (1_000.0, Arrivals::Constant),
    (1_000.0, Arrivals::Poisson),
    (5_000.0, Arrivals::Constant),
    (10_000.0, Arrivals::Constant),
    (BEYOND, Arrivals::Constant),
];

/// Prints what was measured.
pub fn measure(is_bench: bool) {
    let lasts = Duration::from_millis(if is_bench { 5_000 } else { 200 });
    let system = System::start();
    let runtime = Runtime::new().expect("a runtime");
    println!(
        "{:>8} {:>9} {:>12} {:>10} {:>8} {:>9} {:>9} {:>9} {:>8}",
        "asked/s",
        "arrivals",
        "who waits",
        "begun/s",
        "missed",
        "p50 µs",
        "p99 µs",
        "max µs",
        "CPU µs"
    );
    for (rate, arrivals) in ROWS {
        let row = Row::new(*rate, *arrivals, lasts);
        if *rate < BEYOND {
            row.print("a thread", &by_thread(&row));
            row.print("a task", &runtime.block_on(by_task(&row)));
        }
        let ours = runtime.block_on(by_load(&row, system.port));
        row.print("the load", &ours);
        if *rate == BEYOND {
            assert!(ours.missed > 0, "what cannot be kept is said");
            continue;
        }
        assert_eq!(ours.failed, 0, "the system answers");
        // Each is an operation, or counted among those that were not sent; but for those that a load
        // which was behind its schedule had not come to when it was stopped.
        let known = ours.late.len() as u64 + ours.unsent;
        let planned = row.moments().count() as u64;
        let latest = ours.late.iter().max().copied().unwrap_or_default();
        let behind = (*rate * latest as f64 / 1e6) as u64;
        assert!(
            known.abs_diff(planned) <= planned / 50 + 2 + behind,
            "{known} of {planned}, {behind} behind"
        );
    }
}

/// One rate, and the moments that belong to it.
struct Row {
    load: Load,
    lasts: Duration,
}

/// What was seen.
#[derive(Default)]
struct Seen {
    /// How late each began, in microseconds.
    late: Vec<u64>,
    missed: u64,
    unsent: u64,
    failed: u64,
    cpu: Duration,
}

impl Row {
    fn new(rate: f64, arrivals: Arrivals, lasts: Duration) -> Self {
        let mut load = sample::system().loads.swap_remove(0);
        load.rate = Rate::per_second(rate).expect("a rate within the limits");
        load.arrivals = arrivals;
        Self { load, lasts }
    }

    fn schedule(&self) -> Schedule {
        Schedule::new(&self.load, Seed(7), Micros::from(LEAD))
    }

    fn moments(&self) -> impl Iterator<Item = Micros> {
        let end = Micros::from(LEAD + self.lasts);
        let moments = self.schedule().map(|planned| planned.intended);
        moments.take_while(move |intended| *intended < end)
    }

    fn print(&self, who: &str, seen: &Seen) {
        let mut late = seen.late.clone();
        late.sort_unstable();
        let at = |share: f64| {
            let place = (late.len() as f64 * share) as usize;
            late.get(place.min(late.len().saturating_sub(1)))
                .copied()
                .unwrap_or(0)
        };
        println!(
            "{:>8} {:>9} {who:>12} {:>10.0} {:>8} {:>9} {:>9} {:>9} {:>8.1}",
            self.load.rate.as_per_second(),
            format!("{:?}", self.load.arrivals).to_lowercase(),
            late.len() as f64 / self.lasts.as_secs_f64(),
            seen.missed,
            at(0.5),
            at(0.99),
            at(1.0),
            seen.cpu.as_secs_f64() * 1e6 / late.len().max(1) as f64,
        );
    }
}

/// Sleeps until each moment, and does nothing else.
fn by_thread(row: &Row) -> Seen {
    let (began, before) = (Instant::now(), cpu_time());
    let moments = row.moments().map(|moment| {
        let due = began + Duration::from_micros(moment.0);
        let now = Instant::now();
        if now < due {
            thread::sleep(due - now);
        }
        micros(due.elapsed())
    });
    Seen {
        late: moments.collect(),
        cpu: cpu_time() - before,
        ..Seen::default()
    }
}

/// The same with the runtime's timer.
async fn by_task(row: &Row) -> Seen {
    let (began, before) = (tokio::time::Instant::now(), cpu_time());
    let mut late = Vec::new();
    for moment in row.moments() {
        let due = began + Duration::from_micros(moment.0);
        tokio::time::sleep_until(due).await;
        late.push(micros(due.elapsed()));
    }
    Seen {
        late,
        cpu: cpu_time() - before,
        ..Seen::default()
    }
}

/// The load generator against the system.
async fn by_load(row: &Row, port: u16) -> Seen {
    let base = Base::parse(&format!("http://127.0.0.1:{port}")).expect("a base");
    let (recorder, mut observations) = Recorder::channel(1 << 20);
    let stop = CancellationToken::new();
    let before = cpu_time();
    let loads = vec![(row.load.clone(), row.schedule())];
    let driver = drive(loads, base, recorder.clone(), stop.clone());
    tokio::time::sleep_until(recorder.instant(Micros::from(LEAD + row.lasts))).await;
    stop.cancel();
    driver.join().await;
    let mut seen = Seen {
        cpu: cpu_time() - before,
        ..Seen::default()
    };
    assert_eq!(recorder.take_dropped(), 0, "the queue holds all of it");
    // What stops it may come a little late; what was begun meanwhile is not asked for.
    let end = Micros::from(LEAD + row.lasts);
    observations.close();
    while let Some(observation) = observations.recv().await {
        match observation {
            Observation::Operation(one) if one.intended < end => {
                seen.late.push(micros(one.began.since(one.intended)));
                seen.failed += u64::from(one.outcome != Outcome::Ok);
            }
            Observation::Missed { count, unsent, .. } => {
                seen.missed += count;
                seen.unsent += unsent;
            }
            _ => {}
        }
    }
    seen
}

fn micros(time: Duration) -> u64 {
    Micros::from(time).0
}

/// Processor time of this process until now: the system's is not in it.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The system: a process that lives as long as its standard input is open.
struct System {
    child: Child,
    port: u16,
}

impl System {
    fn start() -> Self {
        let own = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new(own)
            .arg(SYSTEM)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the system starts");
        let mut line = String::new();
        let said = child.stdout.take().expect("it was asked for");
        BufReader::new(said)
            .read_line(&mut line)
            .expect("it says its port");
        let port = line.trim().parse().expect("a port");
        Self { child, port }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers whatever ends an HTTP head, a thread for each connection.
pub fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    println!("{}", listener.local_addr().expect("it is bound").port());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    // Open as long as whoever started it lives.
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    let mut chunk = [0; 4_096];
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        head.extend_from_slice(&chunk[..count]);
        // The generator has one request on its way on a connection, and no body here.
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            stream.write_all(ANSWER)?;
        }
    }
}
