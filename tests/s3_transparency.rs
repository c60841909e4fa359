//! What would prove that the proxy changes nothing: a real S3 client gets byte for byte the same
//! results directly and through it, over HTTP and HTTPS, from our embedded server and from one
//! that is not ours (moto).

#![cfg(feature = "demo")]

use brownout::{
    embedded,
    fault::Switch,
    history::{Observation, Recorder},
    protocol::Protocol,
    proxy::{
        Config, Limits, Proxy, UpstreamAddress,
        tls::{Authority, Front, client_config},
    },
    seed::Seed,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

mod python;
mod servers;

use servers::assert_same;

const BUCKET: &str = "models";

/// Runs the round trip against an endpoint and gives what it printed.
async fn round_trip(endpoint: String, ca: Option<&Path>) -> String {
    client("tests/clients/s3_round_trip.py", endpoint, ca).await
}

/// What a script prints that takes an endpoint and a bucket.
async fn client(script: &str, endpoint: String, ca: Option<&Path>) -> String {
    let mut command = python::command(script);
    command
        .args([&endpoint, BUCKET])
        .env("AWS_ACCESS_KEY_ID", embedded::ACCESS_KEY);
    command.env("AWS_SECRET_ACCESS_KEY", embedded::SECRET_KEY);
    if let Some(ca) = ca {
        command.env("AWS_CA_BUNDLE", ca);
    }
    let output = tokio::task::spawn_blocking(move || command.output().expect("python starts"))
        .await
        .expect("the client ran");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{endpoint}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// A proxy in front of an S3 server, with nothing in force.
fn proxy(upstream: SocketAddr, tls: Option<Arc<Front>>, recorder: Recorder) -> Proxy {
    let config = Config {
        dependency: "s3".into(),
        protocol: Protocol::S3,
        listen: None,
        tls,
        upstream: UpstreamAddress {
            host: upstream.ip().to_string(),
            port: upstream.port(),
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

/// Compares the round trip directly, over HTTP and over HTTPS, and looks at what was observed.
async fn assert_transparent(upstream: SocketAddr) {
    let direct = round_trip(format!("http://{upstream}"), None).await;
    assert!(
        direct.contains("\"multipart\""),
        "the client did its work: {direct}"
    );

    let (recorder, mut queue) = Recorder::channel(4096);
    let plain = proxy(upstream, None, recorder.clone());
    assert_eq!(direct, round_trip(plain.url(), None).await, "over HTTP");
    plain.stop().await;

    let authority = Authority::new().expect("a CA");
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.bundle_pem()).expect("the bundle is written");
    let front = Arc::new(Front::new(authority, Vec::new()));
    let secure = proxy(upstream, Some(front), recorder.clone());
    assert!(secure.url().starts_with("https://"));
    assert_eq!(
        direct,
        round_trip(secure.url(), Some(&ca)).await,
        "over HTTPS"
    );
    secure.stop().await;

    let script = "tests/clients/s3_api.py";
    let direct_api = client(script, format!("http://{upstream}"), None).await;
    for part in ["buckets", "multipart", "presigned", "together"] {
        assert!(direct_api.contains(&format!("\"{part}\": [")), "{part}");
    }
    let (unread, _unread) = Recorder::channel(100_000);
    let plain = proxy(upstream, None, unread);
    assert_same(&direct_api, &client(script, plain.url(), None).await);
    plain.stop().await;

    drop(recorder);
    let mut operations = BTreeSet::new();
    while let Some(observation) = queue.recv().await {
        if let Observation::Attempt(attempt) = observation {
            assert!(
                attempt.by_sdk_id || &*attempt.operation == "GetObject",
                "{attempt:?}"
            );
            operations.insert(attempt.operation.to_string());
        }
    }
    for expected in [
        "PutObject",
        "GetObject",
        "HeadObject",
        "CreateMultipartUpload",
        "UploadPart",
        "CompleteMultipartUpload",
        "CopyObject",
        "ListObjectsV2",
        "DeleteObject",
    ] {
        assert!(
            operations.contains(expected),
            "{expected} is missing from {operations:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_gets_the_same_bytes_through_the_proxy_as_from_the_embedded_server() {
    let (recorder, _queue) = Recorder::channel(64);
    let options = embedded::Options {
        buckets: vec![BUCKET.to_owned()],
        ..Default::default()
    };
    let server = embedded::start("s3", options, recorder).expect("the embedded server starts");
    assert_transparent(server.address()).await;
    server.stop().await;
}

/// moto's server, ended when dropped.
struct Moto {
    child: Child,
    address: SocketAddr,
}

impl Moto {
    /// Starts it and waits until it accepts.
    fn start() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("its address");
        drop(free);
        let child = Command::new(python::tool("moto_server"))
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto starts");
        let deadline = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            assert!(Instant::now() < deadline, "moto did not come up");
            std::thread::yield_now();
        }
        Self { child, address }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_gets_the_same_bytes_through_the_proxy_as_from_moto() {
    let moto = tokio::task::spawn_blocking(Moto::start)
        .await
        .expect("moto is up");
    let mut create = python::inline(
        "import boto3, sys; boto3.client('s3', endpoint_url=sys.argv[1], \
         region_name='us-east-1').create_bucket(Bucket=sys.argv[2])",
    );
    create.args([&format!("http://{}", moto.address), BUCKET]);
    create
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test");
    assert!(create.status().expect("python starts").success());
    assert_transparent(moto.address).await;
}
