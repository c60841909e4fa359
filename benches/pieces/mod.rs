//! What the small pieces cost: reading one message of each protocol, planning an operation, writing an
//! observation down.

use brownout::{
    fault::Direction,
    history::{Observation, Outcome, Writer, sample},
    load::Schedule,
    protocol::{mysql, postgres, pusher, redis, websocket},
    proxy::http::{
        body::Body,
        head::{self, Framing},
    },
    scenario::{Arrivals, Var},
    seed::Seed,
    units::Micros,
};
use criterion::{Criterion, Throughput};
use std::{hint::black_box, io, path::Path};

const HEAD: &[u8] = b"PUT /models/dir/k%201 HTTP/1.1\r\nHost: 127.0.0.1:31385\r\n\
    Accept-Encoding: identity\r\nUser-Agent: Boto3/1.44.5 md/Botocore#1.44.5\r\n\
    Expect: 100-continue\r\nx-amz-checksum-crc32: DUoRhQ==\r\nX-Amz-Date: 20261121T231815Z\r\n\
    amz-sdk-invocation-id: a89b975d-bd9c-43e6-92ee-4c8a4e514334\r\n\
    amz-sdk-request: attempt=1; max=3\r\nContent-Length: 11\r\n\r\n";

const STATEMENT: &str = "SELECT id, title FROM bots WHERE tenant = 'museum' ORDER BY id LIMIT 10";

const COMMAND: &[u8] = b"*3\r\n$3\r\nSET\r\n$12\r\nsession:4711\r\n$5\r\nhello\r\n";

const EVENT: &str = r#"{"event":"client-message","channel":"private-room-7","data":"{\"id\":\"4711\",\"text\":\"hello\"}"}"#;

pub fn codecs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    group.bench_function("the head of a PutObject", |bench| {
        bench.iter(|| {
            let read = head::read_request(black_box(HEAD), |_, facts| facts.len);
            assert_eq!(read.ok().flatten(), Some(HEAD.len()));
        });
    });
    let query = postgres::query(STATEMENT);
    group.bench_function("a query of PostgreSQL", |bench| {
        bench.iter(|| {
            let header = postgres::Header::read(black_box(&query), postgres::Sender::Client);
            let header = header.ok().flatten().expect("a message");
            let body = &query[postgres::HEADER_BYTES..header.whole()];
            postgres::statement(postgres::leading_text(body))
        });
    });
    let query = mysql::packet::packet(0, &[b"\x03", STATEMENT.as_bytes()].concat());
    group.bench_function("a query of MySQL", |bench| {
        bench.iter(|| {
            let packet = mysql::packet::Packet::begin(black_box(&query)).expect("a packet");
            mysql::recognise(&packet.payload[1..])
        });
    });
    group.bench_function("a command of Redis", |bench| {
        bench.iter(|| {
            let mut arguments = redis::request::Arguments::default();
            let read = arguments.read(black_box(COMMAND));
            assert!(matches!(read, Ok(redis::request::Read::Whole(_))));
            redis::request::recognise(&arguments, COMMAND, Some(1))
        });
    });
    group.bench_function("an event of Pusher", |bench| {
        let frame = websocket::server_frame(websocket::Opcode::Text, EVENT.as_bytes());
        bench.iter(|| {
            let head = websocket::read_head(black_box(&frame), false, false);
            let head = head.ok().flatten().expect("a frame");
            pusher::recognise_message(Direction::Down, &frame[head.len..])
        });
    });
    let chunked = [&b"10000\r\n"[..], &[b'x'; 65_536], b"\r\n0\r\n\r\n"].concat();
    group.throughput(Throughput::Bytes(chunked.len() as u64));
    group.bench_function("a body of one chunk", |bench| {
        bench.iter(|| {
            let mut body = Body::new(Framing::Chunked);
            let used = body.advance(black_box(&chunked), u64::MAX, |part| {
                black_box(part);
            });
            assert!(used.is_ok() && body.is_complete());
        });
    });
    group.finish();
}

pub fn schedule(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan an operation");
    let mut load = sample::system().loads.swap_remove(0);
    let mut bench = |name: &str, load: &brownout::scenario::Load| {
        let mut schedule = Schedule::new(load, Seed(7), Micros(0));
        group.bench_function(name, |bench| bench.iter(|| schedule.next()));
    };
    bench("evenly", &load);
    load.arrivals = Arrivals::Poisson;
    let zipf = Var::Zipf {
        exponent: 1.1,
        of: 200,
    };
    load.vars.insert("bot".to_owned(), zipf);
    bench("Poisson, with a bot by Zipf's law", &load);
    group.finish();
}

pub fn writing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write down");
    let attempt = sample::attempt("s3", 1_000, 1_020).sdk("a89b975d-bd9c-43e6", 1);
    let story = sample::Story::new().load("ask", 0..1, 1, Outcome::Ok, 20);
    let observations = [
        ("an attempt", Observation::Attempt(attempt.done())),
        ("an operation", story.observations[0].clone()),
    ];
    for (name, observation) in observations {
        let mut writer = Writer::over(io::sink(), Path::new("nowhere"), u64::MAX);
        group.bench_function(name, |bench| {
            bench.iter(|| {
                writer
                    .write(black_box(&observation))
                    .expect("nowhere takes it")
            });
        });
    }
    group.finish();
}
