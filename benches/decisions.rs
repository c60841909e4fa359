//! What a request costs the proxy before a byte of it moves: asking the faults in force (goal:
//! under 200 ns an event), and recognising the call. Beside it the other small pieces, see [`pieces`].
//!
//! `cargo bench --bench decisions`

mod pieces;

use brownout::{
    fault::{Active, FaultId, FaultSet, Gate, default_by, find, gate},
    input::{Fields, Problems, Source},
    protocol::{Call, CallTracker, Protocol, http},
    seed::Seed,
    units::Micros,
};
use criterion::{Criterion, criterion_group, criterion_main};
use std::{hint::black_box, sync::Arc, time::Duration};
use toml::de::DeTable;

/// A request as botocore sends it, without its credentials.
const HEADERS: &[(&str, &str)] = &[
    ("Host", "127.0.0.1:31385"),
    ("Accept-Encoding", "identity"),
    (
        "User-Agent",
        "Boto3/1.44.5 md/Botocore#1.44.5 cfg/retry-mode#standard",
    ),
    ("Expect", "100-continue"),
    ("x-amz-checksum-crc32", "DUoRhQ=="),
    ("x-amz-sdk-checksum-algorithm", "CRC32"),
    ("X-Amz-Date", "20261121T231815Z"),
    (
        "amz-sdk-invocation-id",
        "a89b975d-bd9c-43e6-92ee-4c8a4e514334",
    ),
    ("amz-sdk-request", "attempt=1; max=3"),
    ("Content-Length", "11"),
];

fn call(tracker: &mut CallTracker) -> Call {
    let headers = HEADERS.iter().copied();
    let target = "/models/dir/k%201";
    http::identify(Protocol::S3, None, "PUT", target, headers, 1, tracker)
}

/// `count` faults of this text, in force on S3.
fn faults(text: &str, kind: &str, count: usize) -> FaultSet {
    let def = find(kind).expect("the kind is registered");
    let source = Source::new("bench.toml", text);
    let table = DeTable::parse(text).expect("the fault is TOML");
    let mut problems = Problems::default();
    let more = [def.keys];
    let table_span = table.span();
    let root = table.get_ref();
    let fields = Fields::new(
        root,
        table_span,
        &source,
        kind,
        gate::KEYS,
        &more,
        &mut problems,
    );
    let gate = Gate::parse(&fields, &mut problems).expect("a valid gate");
    let behaviour = def
        .read(&fields, Protocol::S3, &gate, &mut problems)
        .expect("a valid fault");
    let by = default_by(Protocol::S3);
    let active = |nth: usize| {
        let stream = format!("{nth}");
        Arc::new(Active::new(
            FaultId(nth as u16),
            gate.clone(),
            Arc::clone(&behaviour),
            Seed(7),
            &["bench", &stream],
            Micros(0),
            Duration::from_secs(10),
            by.clone(),
        ))
    };
    FaultSet::new((0..count).map(active).collect())
}

const DRAWN: &str = "kind = 'latency'\non = 's3'\ndelay = '1ms'\nshare = '50%'";
const OTHERS: &str = "kind = 'hang'\non = 's3'\nwhen = { operation = 'GetObject', key = 'logs/*' }";
const ERROR: &str = "kind = 'error'\non = 's3'\nerror = 'SlowDown'\nshare = '50%'";

fn decisions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    let call = call(&mut CallTracker::default());
    let mut bench = |name: String, set: FaultSet| {
        group.bench_function(name, |bench| {
            bench.iter(|| black_box(&set).request(black_box(&call), Micros(5_000_000)));
        });
    };
    bench("no fault".to_owned(), FaultSet::default());
    for count in [1, 8] {
        bench(
            format!("{count} that match, share 50%"),
            faults(DRAWN, "latency", count),
        );
        bench(
            format!("{count} that do not match"),
            faults(OTHERS, "hang", count),
        );
    }
    bench("1 error, share 50%".to_owned(), faults(ERROR, "error", 1));
    group.finish();
}

fn identification(criterion: &mut Criterion) {
    let mut tracker = CallTracker::default();
    criterion.bench_function("identify a PutObject of botocore", |bench| {
        bench.iter(|| black_box(call(&mut tracker)));
    });
    let mut tracker = CallTracker::default();
    criterion.bench_function("identify a GET of plain HTTP", |bench| {
        bench.iter(|| {
            let headers = [("Host", "127.0.0.1:8080"), ("Accept", "*/*")];
            black_box(http::identify(
                Protocol::Http,
                None,
                "GET",
                black_box("/alerts/7?full=1"),
                headers,
                1,
                &mut tracker,
            ))
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = decisions, identification, pieces::codecs, pieces::schedule, pieces::writing
}
criterion_main!(benches);
