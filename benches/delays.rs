//! What delaying costs, and how exact it is: our proxy, one that is written as such proxies mostly
//! are, and the least that can delay at all (`delayed`), side by side in one run; Toxiproxy too
//! where `toxiproxy-server` is on the PATH. Each is a process of its own between this one, which is
//! client and server, over loopback; all share the cores. Only ratios within one run count.
//!
//! `cargo bench --bench delays` takes about three minutes; a word behind `--` picks the rows that
//! have it in their name. `cargo test --benches` makes a short run of every row, to see that it can.
//! Linux alone, as it reads `/proc`.

#[cfg(target_os = "linux")]
mod delayed;

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("delays are measured on Linux alone");
}

#[cfg(target_os = "linux")]
fn main() {
    if !delayed::was_told() {
        rows::measure();
    }
}

#[cfg(target_os = "linux")]
mod rows {
    use crate::delayed::{self, Acting};
    use brownout::protocol::Protocol;
    use rustix::{
        buffer::spare_capacity,
        event::epoll::{self, CreateFlags, EventData, EventFlags},
        process::{Resource, Rlimit, getrlimit, setrlimit},
    };
    use socket2::SockRef;
    use std::{
        fs,
        io::{BufRead, BufReader, Read, Write},
        net::{TcpListener, TcpStream},
        process::{Child, Command, Stdio},
        sync::{Arc, OnceLock},
        thread,
        time::{Duration, Instant},
    };

    /// What a latency is set to.
    const LATENCY: Duration = Duration::from_millis(100);

    /// Bytes of a question and of an answer.
    const MESSAGE: usize = 8;

    /// The stretch of time in which a bandwidth must hold.
    const WINDOW: Duration = Duration::from_millis(100);

    /// The time in which a process must do what it was started for.
    const PATIENCE: Duration = Duration::from_secs(10);

    const REQUEST: &[u8] = b"GET /k HTTP/1.1\r\nHost: bench\r\n\r\n";
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    /// The proxies, in the order of the columns.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Who {
        Ours,
        Naive,
        Floor,
        Toxiproxy,
    }

    impl Who {
        const ALL: [Self; 4] = [Self::Ours, Self::Naive, Self::Floor, Self::Toxiproxy];

        fn name(self) -> &'static str {
            match self {
                Self::Ours => "ours",
                Self::Naive => "naive",
                Self::Floor => "floor",
                Self::Toxiproxy => "toxiproxy",
            }
        }

        fn can(self, protocol: Protocol, acting: Acting) -> bool {
            match self {
                Self::Ours => true,
                Self::Naive | Self::Toxiproxy => protocol == Protocol::Tcp,
                Self::Floor => protocol == Protocol::Tcp && !matches!(acting, Acting::Bandwidth(_)),
            }
        }
    }

    /// How much is measured.
    struct Scale {
        rounds: usize,
        /// How long a row's traffic goes on.
        time: Duration,
        /// How often each connection asks.
        every: Duration,
        connections: [usize; 2],
        idle: usize,
        has_toxiproxy: bool,
    }

    pub fn measure() {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let is_told = |word: &str| arguments.iter().any(|argument| argument == word);
        // `cargo bench` says so; `cargo test` only wants to know that it runs.
        let is_short = is_told("--test") || !is_told("--bench");
        raise_limit();
        let has_toxiproxy = Command::new("toxiproxy-server")
            .arg("-version")
            .output()
            .is_ok();
        let scale = if is_short {
            Scale {
                rounds: 1,
                time: Duration::from_millis(100),
                every: Duration::from_millis(50),
                connections: [10, 50],
                idle: 50,
                has_toxiproxy: false,
            }
        } else {
            Scale {
                rounds: 3,
                time: Duration::from_secs(2),
                every: Duration::from_millis(500),
                connections: [1000, 5000],
                idle: 5000,
                has_toxiproxy,
            }
        };
        if !has_toxiproxy {
            println!("toxiproxy-server is not on the PATH: no column of it");
        }
        let word = arguments
            .iter()
            .find(|argument| !argument.starts_with('-'))
            .map_or("", |word| word);
        print!("{:<58}", "");
        Who::ALL.iter().for_each(|who| print!(" {:>9}", who.name()));
        println!();
        let stamping = serve(stamps);
        for connections in scale.connections {
            let name = format!("latency at {connections} connections");
            if name.contains(word) {
                latency(&scale, &name, connections, stamping);
            }
        }
        if "bulk through a latency".contains(word) {
            bulk(&scale);
        }
        for megabytes in [1, 10, 100] {
            let name = format!("bandwidth of {megabytes} MB/s");
            if name.contains(word) {
                bandwidth(&scale, &name, megabytes * 1_000_000);
            }
        }
        let answering = serve(|_, answer| answer.extend_from_slice(ANSWER));
        for (protocol, name, port) in [
            (Protocol::Tcp, "idle connections, tcp", stamping),
            (Protocol::Http, "idle connections, http", answering),
        ] {
            if name.contains(word) {
                idle(&scale, name, protocol, port);
            }
        }
    }

    /// Thousands of connections have two descriptors each.
    fn raise_limit() {
        let limit = getrlimit(Resource::Nofile);
        let all = Rlimit {
            current: limit.maximum,
            ..limit
        };
        // Where it cannot be raised, connecting fails and says so.
        let _ = setrlimit(Resource::Nofile, all);
    }

    /// One row: what each proxy came to, the median of all rounds, in which they take turns. Of
    /// several figures each is a line.
    fn row<const N: usize>(
        scale: &Scale,
        names: [&str; N],
        can: impl Fn(Who) -> bool,
        mut once: impl FnMut(Who) -> [f64; N],
    ) {
        let mut seen: [Vec<[f64; N]>; 4] = Default::default();
        for _ in 0..scale.rounds {
            for (seen, who) in seen.iter_mut().zip(Who::ALL) {
                if can(who) && (who != Who::Toxiproxy || scale.has_toxiproxy) {
                    seen.push(once(who));
                }
            }
        }
        for (at, name) in names.iter().enumerate() {
            print!("{name:<58}");
            for seen in &seen {
                let mut values: Vec<f64> = seen.iter().map(|seen| seen[at]).collect();
                values.sort_by(f64::total_cmp);
                match values.get(values.len() / 2) {
                    Some(value) => print!(" {value:>9.3}"),
                    None => print!(" {:>9}", "-"),
                }
            }
            println!();
        }
    }

    /// A proxy that runs.
    struct Running {
        process: Child,
        port: u16,
    }

    impl Running {
        fn start(who: Who, protocol: Protocol, acting: Acting, upstream: u16) -> Self {
            if who == Who::Toxiproxy {
                return toxiproxy(acting, upstream);
            }
            let mut command = delayed::command(who.name(), protocol, acting, upstream);
            let mut process = command.spawn().expect("this program starts again");
            let mut line = String::new();
            let output = process.stdout.take().expect("it was asked for");
            let read = BufReader::new(output).read_line(&mut line);
            read.expect("it says its port");
            let port = line.trim().parse().expect("a port");
            Self { process, port }
        }

        fn connect(&self) -> TcpStream {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it accepts");
            prepare(&stream);
            stream
        }

        /// Its processor time until now.
        fn spent(&self) -> Duration {
            let stat = self.proc("stat");
            // Behind the name, which may hold anything: fields 14 and 15, of 1/100 s.
            let fields = stat.rsplit(')').next().expect("there is one");
            let ticks = |at: usize| fields.split_whitespace().nth(at);
            let ticks = [ticks(11), ticks(12)]
                .map(|ticks| ticks.and_then(|ticks| ticks.parse::<u64>().ok()));
            Duration::from_millis(10 * ticks.iter().flatten().sum::<u64>())
        }

        /// The memory that it holds, or (`VmHWM`) that it has held at most, in KiB.
        fn memory(&self, what: &str) -> f64 {
            let status = self.proc("status");
            let line = status.lines().find_map(|line| line.strip_prefix(what));
            let value = line.and_then(|line| line.trim_matches([':', ' ', '\t']).split(' ').next());
            value.and_then(|kib| kib.parse().ok()).expect("a number")
        }

        fn proc(&self, what: &str) -> String {
            fs::read_to_string(format!("/proc/{}/{what}", self.process.id())).expect("it runs")
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            // It may have ended by itself.
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }

    /// Toxiproxy with a proxy in front of this port, set over its own interface.
    fn toxiproxy(acting: Acting, upstream: u16) -> Running {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let api = free.expect("a port is free").port();
        let process = Command::new("toxiproxy-server")
            .args(["-host", "127.0.0.1", "-port", &api.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it started before");
        let mut running = Running { process, port: api };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", api)).is_err() {
            assert!(began.elapsed() < PATIENCE, "its interface does not come");
            thread::sleep(Duration::from_millis(10));
        }
        let body = format!(
            r#"{{"name":"bench","listen":"127.0.0.1:0","upstream":"127.0.0.1:{upstream}"}}"#
        );
        let proxy = post(&running, "/proxies", &body);
        let listen = proxy.split(r#""listen":"127.0.0.1:"#).nth(1);
        let port = listen.and_then(|rest| rest.split('"').next());
        let port = port.and_then(|port| port.parse().ok()).expect("a port");
        let toxic = match acting {
            Acting::Nothing => None,
            Acting::Latency(latency) => Some((
                "latency",
                format!(r#"{{"latency":{}}}"#, latency.as_millis()),
            )),
            Acting::Bandwidth(rate) => {
                Some(("bandwidth", format!(r#"{{"rate":{}}}"#, rate / 1000)))
            }
        };
        if let Some((kind, attributes)) = toxic {
            let body =
                format!(r#"{{"type":"{kind}","stream":"downstream","attributes":{attributes}}}"#);
            post(&running, "/proxies/bench/toxics", &body);
        }
        running.port = port;
        running
    }

    fn post(api: &Running, path: &str, body: &str) -> String {
        let mut stream = api.connect();
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: api\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        let written = stream.write_all((head + body).as_bytes());
        let mut answer = String::new();
        let read = written.and_then(|()| stream.read_to_string(&mut answer));
        read.expect("its interface answers");
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
        answer
    }

    /// Nanoseconds since this process first asked.
    fn clock() -> u64 {
        static BEGAN: OnceLock<Instant> = OnceLock::new();
        BEGAN.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }

    /// The time for each question.
    fn stamps(questions: &[u8], answer: &mut Vec<u8>) {
        assert_eq!(questions.len() % MESSAGE, 0, "a question comes whole");
        for _ in 0..questions.len() / MESSAGE {
            answer.extend_from_slice(&clock().to_le_bytes());
        }
    }

    /// Messages go out at once, and no port is kept by a connection that is over: there are thousands.
    fn prepare(stream: &TcpStream) {
        stream.set_nodelay(true).expect("a socket");
        let reset = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        reset.expect("a socket");
    }

    /// A server of one thread that lives as long as this process.
    fn serve(answer: impl Fn(&[u8], &mut Vec<u8>) + Send + 'static) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        thread::spawn(move || {
            let epoll = epoll::create(CreateFlags::CLOEXEC).expect("a descriptor");
            let listening = EventData::new_u64(u64::MAX);
            epoll::add(&epoll, &listener, listening, EventFlags::IN).expect("a socket");
            let mut streams: Vec<Option<TcpStream>> = Vec::new();
            let mut events = Vec::with_capacity(64);
            let (mut bytes, mut answers) = (vec![0; 4096], Vec::new());
            loop {
                epoll::wait(&epoll, spare_capacity(&mut events), None).expect("it waits");
                for event in events.drain(..) {
                    if event.data.u64() == u64::MAX {
                        let (stream, _) = listener.accept().expect("a connection");
                        prepare(&stream);
                        let data = EventData::new_u64(streams.len() as u64);
                        epoll::add(&epoll, &stream, data, EventFlags::IN).expect("a socket");
                        streams.push(Some(stream));
                        continue;
                    }
                    let slot = &mut streams[event.data.u64() as usize];
                    let Some(mut stream) = slot.as_ref() else {
                        continue;
                    };
                    answers.clear();
                    match stream.read(&mut bytes) {
                        Ok(count @ 1..) => answer(&bytes[..count], &mut answers),
                        _ => *slot = None,
                    }
                    if let Some(mut stream) = slot.as_ref() {
                        // Whoever has left is noticed with the next read.
                        let _ = stream.write_all(&answers);
                    }
                }
            }
        });
        port
    }

    fn latency(scale: &Scale, name: &str, connections: usize, server: u16) {
        let names = [
            format!("{name}: error, p50, µs"),
            format!("{name}: error, p99, µs"),
            format!("{name}: CPU per message, µs"),
        ];
        let acting = Acting::Latency(LATENCY);
        row(
            scale,
            names.each_ref().map(|name| &name[..]),
            |who| who.can(Protocol::Tcp, acting),
            |who| {
                let proxy = Running::start(who, Protocol::Tcp, acting, server);
                let streams: Vec<TcpStream> = (0..connections).map(|_| proxy.connect()).collect();
                let streams = Arc::new(streams);
                // Once for each, so that all are open to the end.
                let messages = ask(&streams, scale.every, scale.every);
                assert_eq!(messages.len(), connections, "each is answered");
                let before = proxy.spent();
                let mut errors = ask(&streams, scale.every, scale.time);
                // The last answers are there: nothing more is to be done.
                let spent = proxy.spent() - before;
                let earliest = errors.iter().copied().fold(f64::MAX, f64::min);
                assert!(earliest >= 0.0, "{}: {earliest} µs too early", who.name());
                errors.sort_by(f64::total_cmp);
                [
                    quantile(&errors, 0.50),
                    quantile(&errors, 0.99),
                    spent.as_secs_f64() * 1e6 / errors.len() as f64,
                ]
            },
        );
    }

    fn quantile(sorted: &[f64], of: f64) -> f64 {
        sorted[((sorted.len() - 1) as f64 * of) as usize]
    }

    /// Asks on every connection in turn, on each so often, for so long, and says of every answer how
    /// many microseconds later it came than it should.
    fn ask(streams: &Arc<Vec<TcpStream>>, every: Duration, time: Duration) -> Vec<f64> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).expect("a descriptor");
        for (at, stream) in streams.iter().enumerate() {
            let data = EventData::new_u64(at as u64);
            epoll::add(&epoll, stream, data, EventFlags::IN).expect("a socket");
        }
        let count = streams.len() * time.as_micros().div_ceil(every.as_micros()) as usize;
        let asking = {
            let streams = Arc::clone(streams);
            thread::spawn(move || {
                let apart = every.div_f64(streams.len() as f64);
                let began = Instant::now();
                for nth in 0..count {
                    let due = began + apart.mul_f64(nth as f64);
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    let mut stream = &streams[nth % streams.len()];
                    stream.write_all(&[0; MESSAGE]).expect("it is open");
                }
            })
        };
        let mut errors = Vec::with_capacity(count);
        let mut events = Vec::with_capacity(64);
        let mut bytes = [0; 64 * MESSAGE];
        while errors.len() < count {
            epoll::wait(&epoll, spare_capacity(&mut events), None).expect("it waits");
            for event in events.drain(..) {
                let mut stream = &streams[event.data.u64() as usize];
                let read = stream.read(&mut bytes).expect("it is open");
                let now = clock();
                assert!(read > 0, "it was closed");
                for stamp in bytes[..read].chunks(MESSAGE) {
                    let sent = u64::from_le_bytes(stamp.try_into().expect("an answer comes whole"));
                    let took = (now - sent) as f64 / 1e3;
                    errors.push(took - LATENCY.as_micros() as f64);
                }
            }
        }
        asking.join().expect("it asked");
        errors
    }

    /// A server that sends as much as is taken, for as long as it is taken.
    fn pour() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                thread::spawn(move || {
                    let bytes = vec![7; 256 * 1024];
                    while stream.write_all(&bytes).is_ok() {}
                });
            }
        });
        port
    }

    /// Reads for so long from the first byte on, and tells of each read when it was and how much.
    fn drink(proxy: &Running, time: Duration) -> Vec<(Duration, usize)> {
        let mut stream = proxy.connect();
        let mut bytes = vec![0; 256 * 1024];
        let mut reads = Vec::new();
        let mut began = None;
        loop {
            let count = stream.read(&mut bytes).expect("it goes on");
            assert!(count > 0, "it was closed");
            let at = began.get_or_insert_with(Instant::now).elapsed();
            reads.push((at, count));
            if at >= time {
                return reads;
            }
        }
    }

    fn bulk(scale: &Scale) {
        let server = pour();
        let acting = Acting::Latency(LATENCY);
        let names = [
            "bulk through a latency of 100 ms: MB/s",
            "bulk through a latency of 100 ms: memory held, MB",
            "bulk through a latency of 100 ms: CPU per MB, µs",
        ];
        let can = |who: Who| who.can(Protocol::Tcp, acting);
        row(scale, names, can, |who| {
            let proxy = Running::start(who, Protocol::Tcp, acting, server);
            let (idle, before) = (proxy.memory("VmRSS"), proxy.spent());
            let reads = drink(&proxy, scale.time);
            let megabytes = reads.iter().map(|(_, count)| *count as f64).sum::<f64>() / 1e6;
            let (last, _) = reads.last().expect("something came");
            [
                megabytes / last.as_secs_f64(),
                (proxy.memory("VmHWM") - idle) * 1024.0 / 1e6,
                (proxy.spent() - before).as_secs_f64() * 1e6 / megabytes,
            ]
        });
    }

    fn bandwidth(scale: &Scale, name: &str, rate: u64) {
        let server = pour();
        let acting = Acting::Bandwidth(rate);
        let names = [
            format!("{name}: achieved / asked"),
            format!("{name}: the worst 100 ms, off by, %"),
        ];
        let names = names.each_ref().map(|name| &name[..]);
        let can = |who: Who| who.can(Protocol::Tcp, acting);
        row(scale, names, can, |who| {
            let proxy = Running::start(who, Protocol::Tcp, acting, server);
            let reads = drink(&proxy, scale.time);
            let (last, _) = *reads.last().expect("something came");
            // What came with the first read was earned before it.
            let later = reads[1..].iter().map(|(_, count)| *count as f64);
            let achieved = later.sum::<f64>() / last.as_secs_f64() / rate as f64;
            let mut windows = vec![0.0; (last.as_nanos() / WINDOW.as_nanos()) as usize];
            for (at, count) in &reads[1..] {
                if let Some(window) = windows.get_mut((at.as_nanos() / WINDOW.as_nanos()) as usize)
                {
                    *window += *count as f64;
                }
            }
            let wanted = rate as f64 * WINDOW.as_secs_f64();
            let off = windows
                .iter()
                .map(|came| (came / wanted - 1.0).abs() * 100.0);
            [achieved, off.fold(0.0, f64::max)]
        });
    }

    fn idle(scale: &Scale, name: &str, protocol: Protocol, server: u16) {
        let name = format!("{name}: KiB each");
        let can = |who: Who| who.can(protocol, Acting::Nothing);
        row(scale, [&name], can, |who| {
            let proxy = Running::start(who, protocol, Acting::Nothing, server);
            // What the first of all needs is not theirs.
            let first = proxy.connect();
            exchange(&first, protocol);
            let before = proxy.memory("VmRSS");
            let streams: Vec<TcpStream> = (0..scale.idle).map(|_| proxy.connect()).collect();
            for stream in &streams {
                exchange(stream, protocol);
            }
            [(proxy.memory("VmRSS") - before) / scale.idle as f64]
        });
    }

    /// One question and its answer.
    fn exchange(mut stream: &TcpStream, protocol: Protocol) {
        let (question, answer): (&[u8], usize) = if protocol.is_http() {
            (REQUEST, ANSWER.len())
        } else {
            (&[0; MESSAGE], MESSAGE)
        };
        stream.write_all(question).expect("it is open");
        let mut bytes = vec![0; answer];
        stream.read_exact(&mut bytes).expect("it answers");
    }
}
