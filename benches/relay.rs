//! What standing between costs: bytes a second and connections a second through the proxy, beside
//! the same over loopback without it, in one run.
//!
//! `direct`: no proxy. `spliced`: no fault in force, the kernel moves the bytes. `shaped`: a
//! latency of zero is in force, so that every byte goes through memory and the shapers.

use brownout::{
    fault::{
        Active, Behaviour, By, ConnectionEvent, Context, Direction, FaultId, FaultSet, Gate,
        Latency, Law, StreamShape, Switch,
    },
    history::Recorder,
    protocol::Protocol,
    proxy::{Config, Limits, Proxy, UpstreamAddress, tls},
    seed::Seed,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

/// Bytes that the server sends on a connection.
const TRANSFER: usize = 64 * 1024 * 1024;

#[derive(Debug)]
struct NoDelay;

impl Behaviour for NoDelay {
    fn stream(&self, _: &ConnectionEvent, _: &Context) -> Vec<(Direction, StreamShape)> {
        let law = Law::Constant(Duration::ZERO);
        let stream = (Seed(1), 1, 1);
        let shape = StreamShape::Latency(Latency { law, stream });
        vec![(Direction::Up, shape.clone()), (Direction::Down, shape)]
    }
}

/// Sends as many bytes as the client's first byte asks for: all, or one.
async fn serve() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let chunk = vec![7; 256 * 1024];
                let wants_all = stream.read_u8().await? == b'*';
                let mut left = if wants_all { TRANSFER } else { 1 };
                while left > 0 {
                    left -= stream.write(&chunk[..left.min(chunk.len())]).await?;
                }
                stream.shutdown().await
            });
        }
    });
    Ok(address)
}

/// Connects, asks, and reads to the end.
async fn fetch(address: SocketAddr, ask: u8) -> io::Result<usize> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_u8(ask).await?;
    let mut buf = vec![0; 256 * 1024];
    let mut total = 0;
    loop {
        match stream.read(&mut buf).await? {
            0 => return Ok(total),
            count => total += count,
        }
    }
}

fn proxy(upstream: SocketAddr) -> io::Result<(Proxy, Switch, Recorder)> {
    let config = Config {
        dependency: "bench".into(),
        protocol: Protocol::Tcp,
        listen: None,
        tls: None,
        upstream: UpstreamAddress {
            host: upstream.ip().to_string(),
            port: upstream.port(),
            tls: false,
        },
        upstream_tls: tls::client_config(&[])?,
        virtual_host: None,
        capture: BTreeMap::new(),
        key: None,
        limits: Limits::default(),
        seed: Seed(1),
    };
    let switch = Switch::new();
    let (recorder, mut observations) = Recorder::channel(Recorder::QUEUE);
    tokio::spawn(async move { while observations.recv().await.is_some() {} });
    let proxy = Proxy::start(config, switch.clone(), recorder.clone())?;
    Ok((proxy, switch, recorder))
}

fn shape(switch: &Switch) {
    let (recorder, _) = Recorder::channel(1);
    let active = Active::new(
        FaultId(0),
        Gate::default(),
        Arc::new(NoDelay),
        Seed(1),
        &["bench"],
        recorder.now(),
        Duration::from_secs(3600),
        By::Connection,
    );
    switch.set(FaultSet::new(vec![Arc::new(active)]));
}

fn relay(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let server = runtime.block_on(serve()).expect("a server");
    let (spliced, shaped, recorders) = runtime.block_on(async {
        let (spliced, _, of_spliced) = proxy(server).expect("a proxy");
        let (shaped, switch, of_shaped) = proxy(server).expect("a proxy");
        shape(&switch);
        (spliced, shaped, [of_spliced, of_shaped])
    });
    let ways = [
        ("direct", server),
        ("spliced", spliced.address()),
        ("shaped", shaped.address()),
    ];

    let mut group = criterion.benchmark_group("throughput");
    group
        .sample_size(10)
        .throughput(Throughput::Bytes(TRANSFER as u64));
    for (name, address) in ways {
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(|| async move {
                assert_eq!(fetch(address, b'*').await.expect("fetched"), TRANSFER);
            });
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("connections");
    group.sample_size(20).throughput(Throughput::Elements(1));
    for (name, address) in ways {
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(|| async move {
                assert_eq!(fetch(address, b'1').await.expect("fetched"), 1);
            });
        });
    }
    group.finish();
    // What is not observed costs less: such figures would be of something else.
    let dropped = recorders.map(|recorder| recorder.take_dropped());
    assert_eq!(dropped, [0, 0], "a run would be inconclusive");
}

criterion_group!(benches, relay);
criterion_main!(benches);
