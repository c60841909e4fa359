//! What one process more on the way to a server costs, beside what it costs at the very least.
//!
//! Four ways lead to the same server, and the same client takes them in turn, several times, so
//! that a machine that changes its speed changes all. `direct`: none of ours. `floor`: the least a
//! second process can do, see [`floor`]. `relay`: our own relay of `tcp`, which looks at nothing.
//! `proxy`: the protocol's own proxy, where every request is observed, and every observation is
//! written as into a history. What counts is the median of the ratios to `direct`, and the
//! processor time of the process on the way for one request: this process, as client and server
//! are others. Client, server and proxy share the cores; what a second process keeps of the direct
//! rate is then bounded by the floor, whatever it does.

use brownout::{
    fault::Switch,
    history::{Recorder, Writer, Written},
    protocol::Protocol,
    proxy::{Config, Limits, Proxy, UpstreamAddress, tls::client_config},
    seed::Seed,
};
use rustix::time::{ClockId, clock_gettime};
use std::{
    collections::BTreeMap,
    io,
    path::Path,
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::runtime::Runtime;

/// How often each way is taken.
const ROUNDS: usize = 5;

/// The ways beside the direct one.
const WAYS: [&str; 3] = ["floor", "relay", "proxy"];

/// What a client says of its run.
pub struct Ran {
    /// Requests a second.
    pub rate: f64,
    /// Requests.
    pub requests: u64,
}

/// The ways to one server.
pub struct Ways {
    runtime: Runtime,
    proxies: [Proxy; 2],
    recorder: Recorder,
    writing: JoinHandle<Written>,
    direct: u16,
    floor: u16,
}

impl Ways {
    /// The ways to the server on this port, which speaks this protocol.
    pub fn to(direct: u16, protocol: Protocol) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let (recorder, queue) = Recorder::channel(Recorder::QUEUE);
        let side = recorder.clone();
        let writing = thread::spawn(move || {
            let mut writer = Writer::over(io::sink(), Path::new("nowhere"), u64::MAX);
            let written = writer.record(queue, &side, |_| ());
            written.expect("nowhere takes everything")
        });
        let proxies = runtime.block_on(async {
            [Protocol::Tcp, protocol].map(|protocol| start(direct, protocol, recorder.clone()))
        });
        Self {
            floor: floor::start(direct).expect("the floor starts"),
            runtime,
            proxies,
            recorder,
            writing,
            direct,
        }
    }

    /// Prints what the columns are.
    pub fn print_head(&self, asked: &str) {
        let [floor, relay, proxy] = WAYS;
        println!("the share of the direct rate, and CPU microseconds on the way for each request");
        println!(
            "{asked:>16} {:>9} {floor:>6} {relay:>6} {proxy:>6} {floor:>9} {relay:>9} {proxy:>9}",
            "direct/s"
        );
    }

    /// Takes every way, and prints what came of it. As with criterion, a word on the command line
    /// picks the rows that have it in their name.
    pub fn measure(&self, asked: &str, run: impl Fn(u16) -> Ran) {
        let mut words = std::env::args()
            .skip(1)
            .filter(|word| !word.starts_with('-'));
        if words.next().is_some_and(|word| !asked.contains(&word)) {
            return;
        }
        let [relay, proxy] = &self.proxies;
        let ports = [self.floor, relay.address().port(), proxy.address().port()];
        let mut direct = Vec::new();
        let mut seen: [Vec<(f64, f64)>; 3] = Default::default();
        for _ in 0..ROUNDS {
            let rate = run(self.direct).rate;
            direct.push(rate);
            for (seen, port) in seen.iter_mut().zip(ports) {
                let before = cpu_time();
                let ran = run(port);
                let spent = (cpu_time() - before).as_secs_f64() * 1e6;
                seen.push((ran.rate / rate, spent / ran.requests as f64));
            }
        }
        let shares = seen
            .each_ref()
            .map(|seen| median(seen.iter().map(|of| of.0)));
        let costs = seen
            .each_ref()
            .map(|seen| median(seen.iter().map(|of| of.1)));
        let direct = median(direct.into_iter());
        print!("{asked:>16} {direct:>9.0}");
        shares.iter().for_each(|share| print!(" {share:>6.2}"));
        costs.iter().for_each(|cost| print!(" {cost:>9.2}"));
        println!();
    }

    /// Ends the proxies, and says how many observations came of it.
    pub fn end(self) {
        let Self {
            runtime,
            proxies: [relay, proxy],
            recorder,
            writing,
            ..
        } = self;
        runtime.block_on(async {
            tokio::join!(relay.stop(), proxy.stop());
            recorder.record_last(end(&recorder)).await;
        });
        let written = writing.join().expect("the writer lives");
        println!(
            "{} observations were written, {} had no room",
            written.observations, written.dropped
        );
        assert_eq!(written.dropped, 0, "a run would be inconclusive");
    }
}

/// What ends a history.
fn end(recorder: &Recorder) -> brownout::history::Observation {
    brownout::history::Observation::Ended(brownout::history::Moment {
        at: recorder.now(),
        how: brownout::history::COMPLETED.to_owned(),
    })
}

fn start(upstream: u16, protocol: Protocol, recorder: Recorder) -> Proxy {
    let config = Config {
        dependency: "server".into(),
        protocol,
        listen: None,
        tls: None,
        upstream: UpstreamAddress {
            host: "127.0.0.1".to_owned(),
            port: upstream,
            tls: false,
        },
        upstream_tls: client_config(&[]).expect("roots"),
        virtual_host: None,
        capture: BTreeMap::new(),
        key: None,
        limits: Limits::default(),
        seed: Seed(1),
    };
    Proxy::start(config, Switch::new(), recorder).expect("the proxy starts")
}

/// Processor time of this process until now.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (time.tv_sec as u64, time.tv_nsec as u32);
    Duration::new(seconds, nanos)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The least that a process on the way can do: one thread waits for all connections at once, and
/// for each message there is one read and one write. It looks at nothing, has no limits, waits for
/// whoever takes nothing, and closes both sides when one closes.
#[cfg(target_os = "linux")]
mod floor {
    use rustix::{
        buffer::spare_capacity,
        event::epoll::{self, CreateFlags, EventData, EventFlags},
        fd::{AsFd, BorrowedFd},
    };
    use std::{
        io::{self, Read, Write},
        net::{TcpListener, TcpStream},
    };

    /// Where the listener stands among the sockets.
    const LISTENER: u64 = u64::MAX;

    /// The port of a relay to this port of the same machine. It lives as long as the process.
    pub fn start(upstream: u16) -> io::Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        std::thread::spawn(move || relay(&listener, upstream).expect("the floor relays"));
        Ok(port)
    }

    fn relay(listener: &TcpListener, upstream: u16) -> io::Result<()> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let add = |socket: BorrowedFd<'_>, at| {
            epoll::add(&epoll, socket, EventData::new_u64(at), EventFlags::IN)
        };
        add(listener.as_fd(), LISTENER)?;
        // Both ends of a connection stand side by side.
        let mut sockets: Vec<Option<TcpStream>> = Vec::new();
        let mut events = Vec::with_capacity(64);
        let mut bytes = vec![0; 64 * 1024];
        loop {
            epoll::wait(&epoll, spare_capacity(&mut events), None)?;
            for event in events.drain(..) {
                if event.data.u64() == LISTENER {
                    let (client, _) = listener.accept()?;
                    for socket in [client, TcpStream::connect(("127.0.0.1", upstream))?] {
                        socket.set_nodelay(true)?;
                        add(socket.as_fd(), sockets.len() as u64)?;
                        sockets.push(Some(socket));
                    }
                    continue;
                }
                let at = event.data.u64() as usize;
                let ends = (sockets[at].as_ref(), sockets[at ^ 1].as_ref());
                let (Some(mut from), Some(mut to)) = ends else {
                    continue;
                };
                let passed = from.read(&mut bytes).and_then(|count| {
                    to.write_all(&bytes[..count])?;
                    Ok(count)
                });
                if !matches!(passed, Ok(1..)) {
                    sockets[at] = None;
                    sockets[at ^ 1] = None;
                }
            }
        }
    }
}

/// Elsewhere a thread for each direction.
#[cfg(not(target_os = "linux"))]
mod floor {
    use std::{
        io,
        net::{Shutdown, TcpListener, TcpStream},
        thread::spawn,
    };

    pub fn start(upstream: u16) -> io::Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let server = TcpStream::connect(("127.0.0.1", upstream)).expect("the server");
                for (from, to) in [(&client, &server), (&server, &client)] {
                    from.set_nodelay(true).expect("a socket");
                    let (from, to) = (from.try_clone(), to.try_clone());
                    let (mut from, mut to) = (from.expect("a socket"), to.expect("a socket"));
                    spawn(move || {
                        // However it ends, it is over.
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                        let _ = from.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Ok(port)
    }
}
