//! What the HTTP/1.1 engine costs: requests over kept connections, and a body of 1 MiB, direct and
//! through the proxy in the same run. No fault acts; every request is observed.
//!
//! `cargo bench --bench http`

use brownout::{
    fault::Switch,
    history::Recorder,
    protocol::Protocol,
    proxy::{Config, Limits, Proxy, UpstreamAddress, tls},
    seed::Seed,
};
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use std::{collections::BTreeMap, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

/// As botocore asks for an object, without its credentials.
const GET: &[u8] = b"GET /models/dir/k%201 HTTP/1.1\r\nHost: 127.0.0.1:31385\r\n\
    Accept-Encoding: identity\r\nUser-Agent: Boto3/1.44.5 cfg/retry-mode#standard\r\n\
    x-amz-checksum-mode: ENABLED\r\nX-Amz-Date: 20261121T231815Z\r\n\
    amz-sdk-invocation-id: a89b975d-bd9c-43e6-92ee-4c8a4e514334\r\n\
    amz-sdk-request: attempt=1; max=3\r\n\r\n";

const BODY: usize = 1024 * 1024;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
    ETag: \"a\"\r\nContent-Length: 16\r\n\r\n0123456789abcdef";

/// The connections that ask at the same time.
const CONNECTIONS: usize = 16;

/// Requests each of them makes in one measurement.
const REQUESTS: usize = 32;

/// A server that answers every request, of which it reads no more than where it ends.
async fn serve(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let mut buffer = vec![0; 64 * 1024];
            let (mut len, mut body) = (0, 0);
            while let Ok(more @ 1..) = stream.read(&mut buffer[len..]).await {
                if body > 0 {
                    body -= more;
                } else {
                    len += more;
                    let head = &buffer[..len];
                    let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
                        continue;
                    };
                    if head.starts_with(b"PUT") {
                        body = BODY - (len - end - 4);
                    }
                    len = 0;
                }
                if body == 0 && stream.write_all(ANSWER).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn ask(stream: &mut TcpStream, request: &[u8]) {
    let mut answer = [0; ANSWER.len()];
    stream.write_all(request).await.expect("a request is taken");
    let read = stream.read_exact(&mut answer).await;
    read.expect("an answer comes");
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("it listens");
    stream.set_nodelay(true).expect("it is connected");
    stream
}

/// Everybody asks, each over its own connection.
async fn ask_all(streams: Vec<TcpStream>) -> Vec<TcpStream> {
    let asking = streams.into_iter().map(|mut stream| {
        tokio::spawn(async move {
            for _ in 0..REQUESTS {
                ask(&mut stream, GET).await;
            }
            stream
        })
    });
    let mut back = Vec::with_capacity(CONNECTIONS);
    for stream in asking.collect::<Vec<_>>() {
        back.push(stream.await.expect("nobody fails"));
    }
    back
}

/// A proxy in front of the server, whose observations are taken as fast as they come, and their
/// recorder.
fn proxy(upstream: SocketAddr) -> (Proxy, Recorder) {
    let (recorder, mut observed) = Recorder::channel(Recorder::QUEUE);
    tokio::spawn(async move { while observed.recv().await.is_some() {} });
    let config = Config {
        dependency: "bench".into(),
        protocol: Protocol::S3,
        listen: None,
        tls: None,
        upstream: UpstreamAddress {
            host: upstream.ip().to_string(),
            port: upstream.port(),
            tls: false,
        },
        upstream_tls: tls::client_config(&[]).expect("TLS can be set up"),
        virtual_host: None,
        capture: BTreeMap::new(),
        key: None,
        limits: Limits {
            answers_bytes: 0,
            ..Limits::default()
        },
        seed: Seed(1),
    };
    let proxy = Proxy::start(config, Switch::new(), recorder.clone()).expect("a port is free");
    (proxy, recorder)
}

type Group<'a> = BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn one_after_the_other(group: &mut Group<'_>, runtime: &Runtime, name: &str, to: SocketAddr) {
    let mut stream = runtime.block_on(connect(to));
    group.throughput(Throughput::Elements(1));
    group.bench_function(format!("one connection, {name}"), |bench| {
        bench.iter(|| runtime.block_on(ask(&mut stream, GET)));
    });
}

fn side_by_side(group: &mut Group<'_>, runtime: &Runtime, name: &str, to: SocketAddr) {
    let mut streams = Some(runtime.block_on(async {
        let mut streams = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            streams.push(connect(to).await);
        }
        streams
    }));
    group.throughput(Throughput::Elements((CONNECTIONS * REQUESTS) as u64));
    group.bench_function(format!("{CONNECTIONS} connections, {name}"), |bench| {
        bench.iter(|| {
            let taken = streams.take().expect("they were given back");
            streams = Some(runtime.block_on(ask_all(taken)));
        });
    });
}

fn bodies(group: &mut Group<'_>, runtime: &Runtime, name: &str, to: SocketAddr) {
    let head = format!("PUT /models/k HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY}\r\n\r\n");
    let request = [head.as_bytes(), &vec![7; BODY]].concat();
    let mut stream = runtime.block_on(connect(to));
    group.throughput(Throughput::Bytes(BODY as u64));
    group.bench_function(format!("1 MiB up, {name}"), |bench| {
        bench.iter(|| runtime.block_on(ask(&mut stream, &request)));
    });
}

fn http(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let _context = runtime.enter();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.set_nonblocking(true).expect("it is a socket");
    let direct = listener.local_addr().expect("it is bound");
    let listener = TcpListener::from_std(listener).expect("it is a listener");
    runtime.spawn(serve(listener));
    let (proxy, recorder) = proxy(direct);
    let mut group = criterion.benchmark_group("http");
    for (name, to) in [("direct", direct), ("proxied", proxy.address())] {
        one_after_the_other(&mut group, &runtime, name, to);
        side_by_side(&mut group, &runtime, name, to);
        bodies(&mut group, &runtime, name, to);
    }
    group.finish();
    // What is not observed costs less: such figures would be of something else.
    assert_eq!(recorder.take_dropped(), 0, "a run would be inconclusive");
}

criterion_group!(benches, http);
criterion_main!(benches);
