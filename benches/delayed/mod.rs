//! Proxies that delay, each a process of its own, so that its processor time and its memory can be
//! read from outside.
//!
//! `ours`; `naive`, which is written as such proxies mostly are: on tokio, a task for each piece
//! that is delayed, which sleeps and then waits for the piece before it; `floor`, the least that
//! can delay at all: one thread, one queue, one timer of the kernel, no limits, and whoever takes
//! nothing stops everybody.

use brownout::{
    fault::{
        Active, Behaviour, By, ConnectionEvent, Context, Direction, FaultId, FaultSet, Gate,
        Latency, Law, StreamShape, Switch,
    },
    history::Recorder,
    protocol::Protocol,
    proxy::{Config, Limits, Proxy, UpstreamAddress, tls},
    seed::Seed,
    units::Bandwidth,
};
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    runtime::Runtime,
    sync::Mutex,
    time::{Instant, sleep, sleep_until},
};

/// The word on the command line behind which a process is told which proxy it is.
const BE: &str = "--be";

/// What acts on what the server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acting {
    /// Nothing.
    Nothing,
    /// This latency.
    Latency(Duration),
    /// So many bytes a second.
    Bandwidth(u64),
}

impl Acting {
    fn write(self) -> String {
        match self {
            Self::Nothing => "0:0".to_owned(),
            Self::Latency(latency) => format!("1:{}", latency.as_micros()),
            Self::Bandwidth(rate) => format!("2:{rate}"),
        }
    }

    fn read(text: &str) -> Self {
        let (kind, value) = text.split_once(':').expect("a kind and a value");
        let value = value.parse().expect("a number");
        match kind {
            "0" => Self::Nothing,
            "1" => Self::Latency(Duration::from_micros(value)),
            _ => Self::Bandwidth(value),
        }
    }
}

/// A command that is this proxy in front of this port.
pub fn command(who: &str, protocol: Protocol, acting: Acting, upstream: u16) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    let protocol = if protocol.is_http() { "http" } else { "tcp" };
    command
        .args([BE, who, protocol, &acting.write(), &upstream.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// Whether this process was told to be a proxy; then it has been one until its input ended.
pub fn was_told() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [be, who, protocol, acting, upstream] = &arguments[..] else {
        return false;
    };
    if be != BE {
        return false;
    }
    let acting = Acting::read(acting);
    let upstream = upstream.parse().expect("a port");
    match &who[..] {
        "ours" => ours(protocol, acting, upstream),
        "naive" => naive(acting, upstream),
        _ => floor::start(acting, upstream),
    }
    .expect("the proxy starts");
    true
}

/// Says where the proxy listens, and waits until nobody wants it any more.
fn serve(port: u16) -> io::Result<()> {
    println!("{port}");
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

#[derive(Debug)]
struct Shapes(Acting);

impl Behaviour for Shapes {
    fn stream(&self, _: &ConnectionEvent, _: &Context) -> Vec<(Direction, StreamShape)> {
        let shape = match self.0 {
            Acting::Nothing => return Vec::new(),
            Acting::Latency(latency) => StreamShape::Latency(Latency {
                law: Law::Constant(latency),
                stream: (Seed(1), 1, 1),
            }),
            Acting::Bandwidth(rate) => {
                StreamShape::Bandwidth(Bandwidth::per_second(rate).expect("not zero"))
            }
        };
        vec![(Direction::Down, shape)]
    }
}

fn ours(protocol: &str, acting: Acting, upstream: u16) -> io::Result<()> {
    let runtime = Runtime::new()?;
    let _context = runtime.enter();
    let (recorder, mut observations) = Recorder::channel(Recorder::QUEUE);
    runtime.spawn(async move { while observations.recv().await.is_some() {} });
    let switch = Switch::new();
    if acting != Acting::Nothing {
        let active = Active::new(
            FaultId(0),
            Gate::default(),
            Arc::new(Shapes(acting)),
            Seed(1),
            &["bench"],
            recorder.now(),
            Duration::from_secs(3600),
            By::Connection,
        );
        switch.set(FaultSet::new(vec![Arc::new(active)]));
    }
    let config = Config {
        dependency: "bench".into(),
        protocol: match protocol {
            "http" => Protocol::Http,
            _ => Protocol::Tcp,
        },
        listen: None,
        tls: None,
        upstream: UpstreamAddress {
            host: "127.0.0.1".to_owned(),
            port: upstream,
            tls: false,
        },
        upstream_tls: tls::client_config(&[])?,
        virtual_host: None,
        capture: BTreeMap::new(),
        key: None,
        limits: Limits {
            answers_bytes: 0,
            ..Limits::default()
        },
        seed: Seed(1),
    };
    let proxy = Proxy::start(config, switch, recorder)?;
    serve(proxy.address().port())
}

fn naive(acting: Acting, upstream: u16) -> io::Result<()> {
    let runtime = Runtime::new()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let port = listener.local_addr()?.port();
    runtime.spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass(client, acting, upstream));
        }
    });
    serve(port)
}

/// Passes bytes both ways until one side ends.
async fn pass(mut client: TcpStream, acting: Acting, upstream: u16) -> io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", upstream)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    if acting == Acting::Nothing {
        return tokio::io::copy_bidirectional(&mut client, &mut server)
            .await
            .map(drop);
    }
    let (mut of_client, mut to_client) = client.into_split();
    let (of_server, mut to_server) = server.into_split();
    let up = tokio::spawn(async move { tokio::io::copy(&mut of_client, &mut to_server).await });
    match acting {
        Acting::Nothing => {}
        Acting::Latency(latency) => delay(of_server, to_client, latency).await?,
        Acting::Bandwidth(rate) => {
            let mut of_server = of_server;
            let mut piece = vec![0; 32 * 1024];
            while let count @ 1.. = of_server.read(&mut piece).await? {
                sleep(Duration::from_secs_f64(count as f64 / rate as f64)).await;
                to_client.write_all(&piece[..count]).await?;
            }
        }
    }
    up.abort();
    Ok(())
}

async fn delay(
    mut from: OwnedReadHalf,
    to: impl AsyncWriteExt + Unpin + Send + 'static,
    latency: Duration,
) -> io::Result<()> {
    let to = Arc::new(Mutex::new(to));
    let mut before: Option<tokio::task::JoinHandle<io::Result<()>>> = None;
    loop {
        let mut piece = vec![0; 32 * 1024];
        let count = from.read(&mut piece).await?;
        if count == 0 {
            return Ok(());
        }
        piece.truncate(count);
        piece.shrink_to_fit();
        let due = Instant::now() + latency;
        let to = Arc::clone(&to);
        let earlier = before.take();
        before = Some(tokio::spawn(async move {
            sleep_until(due).await;
            if let Some(earlier) = earlier {
                earlier.await??;
            }
            to.lock().await.write_all(&piece).await
        }));
    }
}

mod floor {
    use super::{Acting, serve};
    use rustix::{
        buffer::spare_capacity,
        event::epoll::{self, CreateFlags, EventData, EventFlags},
        fd::{AsFd, BorrowedFd, OwnedFd},
        time::{
            Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
            timerfd_settime,
        },
    };
    use std::{
        collections::VecDeque,
        io::{self, Read, Write},
        net::{TcpListener, TcpStream},
        time::{Duration, Instant},
    };

    /// Where the listener and the timer stand among the sockets.
    const LISTENER: u64 = u64::MAX;
    const TIMER: u64 = u64::MAX - 1;

    pub(super) fn start(acting: Acting, upstream: u16) -> io::Result<()> {
        let latency = match acting {
            Acting::Nothing => None,
            Acting::Latency(latency) => Some(latency),
            Acting::Bandwidth(_) => panic!("it has no bandwidth"),
        };
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        std::thread::spawn(move || relay(&listener, upstream, latency).expect("it relays"));
        serve(port)
    }

    struct Queue {
        timer: OwnedFd,
        held: VecDeque<(Instant, usize, Vec<u8>)>,
    }

    impl Queue {
        fn set(&self) -> io::Result<()> {
            let Some((due, ..)) = self.held.front() else {
                return Ok(());
            };
            let time = due.saturating_duration_since(Instant::now());
            let time = time.max(Duration::from_nanos(1));
            let timespec = |time: Duration| Timespec {
                tv_sec: time.as_secs() as i64,
                tv_nsec: i64::from(time.subsec_nanos()),
            };
            let timer = Itimerspec {
                it_interval: timespec(Duration::ZERO),
                it_value: timespec(time),
            };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &timer)?;
            Ok(())
        }
    }

    fn relay(listener: &TcpListener, upstream: u16, latency: Option<Duration>) -> io::Result<()> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let add = |socket: BorrowedFd<'_>, at| {
            epoll::add(&epoll, socket, EventData::new_u64(at), EventFlags::IN)
        };
        let mut queue = Queue {
            timer: timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?,
            held: VecDeque::new(),
        };
        add(listener.as_fd(), LISTENER)?;
        add(queue.timer.as_fd(), TIMER)?;
        // Both ends of a connection stand side by side, the client's first.
        let mut sockets: Vec<Option<TcpStream>> = Vec::new();
        let mut events = Vec::with_capacity(64);
        let mut bytes = vec![0; 64 * 1024];
        loop {
            epoll::wait(&epoll, spare_capacity(&mut events), None)?;
            for event in events.drain(..) {
                let at = match event.data.u64() {
                    LISTENER => {
                        let (client, _) = listener.accept()?;
                        for socket in [client, TcpStream::connect(("127.0.0.1", upstream))?] {
                            socket.set_nodelay(true)?;
                            add(socket.as_fd(), sockets.len() as u64)?;
                            sockets.push(Some(socket));
                        }
                        continue;
                    }
                    TIMER => {
                        rustix::io::read(&queue.timer, &mut [0; 8])?;
                        let now = Instant::now();
                        while queue.held.front().is_some_and(|(due, ..)| *due <= now) {
                            let (_, to, held) = queue.held.pop_front().expect("it is there");
                            // Whoever has left gets nothing.
                            if sockets[to]
                                .as_ref()
                                .is_some_and(|mut to| to.write_all(&held).is_err())
                            {
                                sockets[to] = None;
                            }
                        }
                        queue.set()?;
                        continue;
                    }
                    at => at as usize,
                };
                let ends = (sockets[at].as_ref(), sockets[at ^ 1].as_ref());
                let (Some(mut from), Some(mut to)) = ends else {
                    continue;
                };
                let passed = from.read(&mut bytes).and_then(|count| {
                    match latency.filter(|_| at % 2 == 1 && count > 0) {
                        Some(latency) => {
                            let held = bytes[..count].to_vec();
                            queue
                                .held
                                .push_back((Instant::now() + latency, at ^ 1, held));
                            if queue.held.len() == 1 {
                                queue.set()?;
                            }
                        }
                        None => to.write_all(&bytes[..count])?,
                    }
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
