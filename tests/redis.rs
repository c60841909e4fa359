//! What would prove that the Redis proxy is what it says: redis-py gets the same through it as
//! directly from a real server, over RESP2, RESP3 and TLS; and where a real server is made to fail
//! for real, it gets the same exception from our fault on a healthy one.

mod python;
mod servers;

use brownout::{
    history::AttemptEnd,
    protocol::{Applied, Protocol},
    proxy::tls::{Authority, Front},
};
use servers::{Ended, Fronted, assert_same, free_port, printed, until};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

/// A real server with nothing in it.
struct Redis {
    _process: Ended,
    folder: TempDir,
    port: u16,
}

impl Redis {
    /// Starts one with these settings and waits until it answers, whatever it says.
    fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::start_in(folder, settings)
    }

    /// A node of a cluster, and the port on which it speaks with others: unless it is told, that is
    /// 10,000 above its own, and may be somebody else's.
    fn start_node() -> (Self, u16) {
        let bus = free_port();
        let settings = [
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &bus.to_string(),
        ];
        (Self::start(&settings), bus)
    }

    fn start_in(folder: TempDir, settings: &[&str]) -> Self {
        let port = free_port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--appendonly", "no", "--daemonize", "no", "--save", ""])
            .arg("--dir")
            .arg(folder.path())
            .args(settings)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is missing: run tests/run, which installs it");
        let redis = Self {
            _process: Ended(child),
            folder,
            port,
        };
        until("redis-server", || TcpStream::connect(redis.address()).ok());
        redis
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// A connection of the operator's.
    fn operator(&self) -> Operator {
        Operator::of(self.address())
    }
}

/// Inline commands, and the first lines of their answers.
struct Operator(BufReader<TcpStream>);

impl Operator {
    fn of(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        let patience = Some(servers::PATIENCE);
        stream.set_read_timeout(patience).expect("a time limit");
        Self(BufReader::new(stream))
    }

    fn send(&mut self, line: &str) {
        let line = format!("{line}\r\n");
        self.0.get_mut().write_all(line.as_bytes()).expect("sent");
    }

    /// The first line of an answer, its end included; without a command, of what is said unasked.
    fn line(&mut self, line: &str) -> String {
        if !line.is_empty() {
            self.send(line);
        }
        let mut answer = String::new();
        self.0.read_line(&mut answer).expect("an answer");
        answer
    }

    fn says(&mut self, line: &str) -> String {
        let mut answer = self.line(line);
        if let Some(len) = answer
            .strip_prefix('$')
            .and_then(|len| len.trim().parse::<usize>().ok())
        {
            let mut bulk = vec![0; len + 2];
            self.0.read_exact(&mut bulk).expect("the rest");
            answer = String::from_utf8_lossy(&bulk).into_owned();
        }
        answer.trim_end().to_owned()
    }

    fn does(&mut self, line: &str) {
        let answer = self.says(line);
        assert_eq!(answer, "+OK", "{line}");
    }
}

/// Runs a script of redis-py against a port, apart from the runtime.
async fn client(script: &'static str, arguments: Vec<String>) -> String {
    let running = tokio::task::spawn_blocking(move || {
        printed(python::command(&format!("tests/clients/{script}")).args(&arguments))
    });
    running.await.expect("the client ran")
}

async fn round_trip(port: u16, version: u8, ca: Option<&Path>) -> String {
    let mut arguments = vec![port.to_string(), version.to_string()];
    arguments.extend(ca.map(|path| path.display().to_string()));
    client("redis_round_trip.py", arguments).await
}

/// All that redis-py can do, step by step.
async fn api(port: u16, version: u8) -> String {
    client("redis_api.py", vec![port.to_string(), version.to_string()]).await
}

async fn exception(port: u16, what: &str) -> String {
    client("redis_error.py", vec![port.to_string(), what.to_owned()]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_py_gets_the_same_through_the_proxy_as_directly() {
    let redis = Redis::start(&[]);
    for version in [2, 3] {
        let direct = round_trip(redis.port, version, None).await;
        assert!(direct.contains("OWN error of a script"), "{direct}");
        let front = Fronted::start(Protocol::Redis, redis.address(), None);
        let proxied = round_trip(front.port(), version, None).await;
        assert_eq!(direct, proxied, "RESP{version}");
        let attempts = front.stop().await;
        let count = |operation: &str| {
            let named = attempts.iter().filter(|one| &*one.operation == operation);
            named.count()
        };
        // 3000 in the pipeline, and one by one before and after it.
        assert!(count("SET") > 3000 && count("GET") > 3000);
        assert_eq!((count("EVAL"), count("MONITOR")), (2, 1));
        assert!(
            attempts
                .iter()
                .all(|one| one.end == AttemptEnd::Answered || one.end == AttemptEnd::GaveUp)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_through_the_api_of_redis_py_gives_the_same_through_the_proxy() {
    let redis = Redis::start(&[]);
    for version in [2, 3] {
        let direct = api(redis.port, version).await;
        for part in ["strings", "tracking", "raw", "asynchronous"] {
            assert!(
                direct.contains(&format!("\"{part}\": [")),
                "{part}: {direct}"
            );
        }
        let front = Fronted::start(Protocol::Redis, redis.address(), None);
        let proxied = api(front.port(), version).await;
        assert_same(&direct, &proxied);
        let attempts = front.stop().await;
        assert!(attempts.len() > 10_000, "{}", attempts.len());
        assert!(attempts.iter().all(|one| one.faults.is_empty()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_py_gets_the_same_through_tls() {
    let redis = Redis::start(&[]);
    let authority = Authority::new().expect("a CA");
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.bundle_pem()).expect("the bundle is written");
    let front = Arc::new(Front::new(authority, Vec::new()));
    let front = Fronted::start(Protocol::Redis, redis.address(), Some(front));
    assert!(front.proxy.url().starts_with("rediss://"));
    let secure = round_trip(front.port(), 3, Some(&ca)).await;
    assert_eq!(round_trip(redis.port, 3, None).await, secure);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spoilt_transaction_leaves_nothing_behind_and_the_connection_usable() {
    let redis = Redis::start(&[]);
    let front = Fronted::start(Protocol::Redis, redis.address(), None);
    front.arm("kind = \"error\"\nerror = \"OOM\"\nwhen = { operation = \"SET\" }\nfirst = 1");
    let port = front.port().to_string();
    let code = "import redis, sys\n\
        r = redis.Redis(port=int(sys.argv[1]), single_connection_client=True)\n\
        p = r.pipeline()\n\
        p.incr('n').set('k', 'v')\n\
        try:\n    p.execute()\n\
        except redis.RedisError as error:\n    print(type(error).__name__, error)\n\
        print(r.get('n'), r.get('k'), p.incr('n').set('k', 'v').execute())";
    let printed = tokio::task::spawn_blocking(move || printed(python::inline(code).arg(port)));
    let printed = printed.await.expect("the client ran");
    let mut lines = printed.lines();
    let error = lines.next().expect("an exception");
    assert!(
        error.contains("OutOfMemoryError") && error.contains("maxmemory"),
        "{error}"
    );
    assert_eq!(lines.next(), Some("None None [1, True]"));
    let attempts = front.stop().await;
    let incremented: Vec<Applied> = attempts
        .iter()
        .filter(|one| &*one.operation == "INCRBY")
        .map(|one| one.applied)
        .collect();
    assert_eq!(incremented, [Applied::No, Applied::Yes]);
}

/// An error that was measured on Redis 7.0.
struct Measured {
    /// The fault, without its kind.
    fault: &'static str,
    /// What is said to the server, and what it answers, the last of which is the error.
    lines: &'static [(&'static str, &'static str)],
    /// What redis-py does, and of which class its exception is.
    client: (&'static str, &'static str),
}

const fn measured(
    fault: &'static str,
    lines: &'static [(&'static str, &'static str)],
    what: &'static str,
    class: &'static str,
) -> Measured {
    Measured {
        fault,
        lines,
        client: (what, class),
    }
}

const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.";
const LOADING: &str = "-LOADING Redis is loading the dataset in memory";
const BUSY: &str =
    "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
const READONLY: &str = "-READONLY You can't write against a read only replica.";
const MASTERDOWN: &str =
    "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
const CLUSTERDOWN: &str = "-CLUSTERDOWN Hash slot not served";

/// Every one of them. Known and not measured are `ASK`, `TRYAGAIN` and `CLUSTERDOWN The cluster is
/// down`.
const MEASURED: &[Measured] = &[
    measured(
        "error = 'LOADING'",
        &[("PING", LOADING)],
        "ping",
        "BusyLoadingError",
    ),
    measured("error = 'BUSY'", &[("PING", BUSY)], "ping", "ResponseError"),
    measured(
        "error = 'OOM'",
        &[("GET k", "$-1"), ("SET k v", OOM)],
        "set",
        "OutOfMemoryError",
    ),
    measured(
        "error = 'OOM'",
        &[
            ("MULTI", "+OK"),
            ("SET k v", OOM),
            (
                "EXEC",
                "-EXECABORT Transaction discarded because of previous errors.",
            ),
        ],
        "transaction",
        "OutOfMemoryError",
    ),
    measured(
        "error = 'READONLY'",
        &[("GET k", "$-1"), ("SET k v", READONLY)],
        "set",
        "ReadOnlyError",
    ),
    measured(
        "error = 'MASTERDOWN'",
        &[("GET k", MASTERDOWN)],
        "get",
        "MasterDownError",
    ),
    measured(
        "error = 'MASTERDOWN'",
        &[("SET k v", READONLY)],
        "set",
        "ReadOnlyError",
    ),
    measured(
        "error = 'CLUSTERDOWN'",
        &[("GET k", CLUSTERDOWN)],
        "get",
        "ClusterDownError",
    ),
    measured(
        "error = 'MOVED'\nmessage = '127.0.0.1:6381'",
        &[("GET wv", "-MOVED 3999 127.0.0.1:6381")],
        "get",
        "MovedError",
    ),
    measured(
        "error = 'CROSSSLOT'",
        &[(
            "MGET a b",
            "-CROSSSLOT Keys in request don't hash to the same slot",
        )],
        "mset",
        "ClusterCrossSlotError",
    ),
    measured(
        "error = 'max-clients'\nwhen = { operation = 'CONNECT' }",
        &[("", "-ERR max number of clients reached")],
        "accepted",
        "ConnectionError",
    ),
    measured(
        "error = 'NOAUTH'",
        &[("GET k", "-NOAUTH Authentication required.")],
        "get",
        "AuthenticationError",
    ),
    measured(
        "error = 'WRONGPASS'",
        &[(
            "AUTH wrong",
            "-WRONGPASS invalid username-password pair or user is disabled.",
        )],
        "login",
        "AuthenticationError",
    ),
    measured(
        "error = 'NOREPLICAS'",
        &[("SET k v", "-NOREPLICAS Not enough good replicas to write.")],
        "set",
        "ResponseError",
    ),
    measured(
        "error = 'MISCONF'",
        &[(
            "SET k v",
            "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.",
        )],
        "set",
        "ResponseError",
    ),
    measured(
        "error = 'UNKILLABLE'",
        &[(
            "SCRIPT KILL",
            "-UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
        )],
        "kill",
        "ResponseError",
    ),
    measured(
        "error = 'ERR'\nmessage = 'Script killed by user with SCRIPT KILL... script: 0, on @user_script:1.'\nwhen = { operation = 'EVAL' }",
        &[(
            "EVAL x 0",
            "-ERR Script killed by user with SCRIPT KILL... script: 0, on @user_script:1.",
        )],
        "loop",
        "ResponseError",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_measured_error_is_sent_byte_for_byte_and_understood_by_redis_py() {
    let redis = Redis::start(&[]);
    for Measured {
        fault,
        lines,
        client: (what, class),
    } in MEASURED
    {
        let front = Fronted::start(Protocol::Redis, redis.address(), None);
        front.arm(&format!("kind = \"error\"\n{fault}"));
        let address = front.proxy.address();
        let saying = tokio::task::spawn_blocking(move || {
            let mut operator = Operator::of(address);
            let said = lines.iter().map(|(line, _)| operator.line(line));
            said.collect::<Vec<_>>()
        });
        let said = saying.await.expect("it answered");
        let expected: Vec<String> = lines
            .iter()
            .map(|(_, line)| format!("{line}\r\n"))
            .collect();
        assert_eq!(said, expected, "{fault}");
        let seen = exception(front.port(), what).await;
        let begins = format!("(<class 'redis.exceptions.{class}'>");
        assert!(seen.starts_with(&begins), "{fault}: {seen}");
    }
    // Every error that is known stands in the table, but for those.
    for def in brownout::protocol::redis::ERRORS {
        let name = format!("error = '{}'", def.name);
        let is_known = MEASURED.iter().any(|row| row.fault.starts_with(&name));
        let is_left_out = matches!(def.name, "ASK" | "TRYAGAIN" | "EXECABORT");
        assert!(is_known != is_left_out, "{}", def.name);
    }
}

/// The exception from a real server in trouble, and from our fault on a healthy one.
async fn same(real: &Redis, fault: &str, whats: &[&str]) {
    let healthy = Redis::start(&[]);
    let front = Fronted::start(Protocol::Redis, healthy.address(), None);
    front.arm(fault);
    for what in whats {
        let expected = exception(real.port, what).await;
        assert_ne!(expected.trim(), "nothing failed", "{what}");
        assert_eq!(
            exception(front.port(), what).await,
            expected,
            "{fault}: {what}"
        );
    }
    let attempts = front.stop().await;
    assert!(attempts.iter().any(|one| !one.faults.is_empty()), "{fault}");
}

fn error(name: &str) -> String {
    format!("kind = \"error\"\nerror = \"{name}\"")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn out_of_memory_is_the_same() {
    let redis = Redis::start(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    same(&redis, &error("OOM"), &["set", "transaction"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_replica_and_one_without_its_master_are_the_same() {
    let master = free_port().to_string();
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &master]);
    same(&replica, &error("READONLY"), &["set", "transaction"]).await;
    let stale = Redis::start(&[
        "--replicaof",
        "127.0.0.1",
        &master,
        "--replica-serve-stale-data",
        "no",
    ]);
    // Who writes to it is told that it is read-only all the same.
    let whats = ["get", "ping", "set", "mset", "transaction"];
    same(&stale, &error("MASTERDOWN"), &whats).await;
    same(&stale, &error("READONLY"), &["set"]).await;
    let healthy = Redis::start(&[]);
    let front = Fronted::start(Protocol::Redis, healthy.address(), None);
    front.arm(&error("MASTERDOWN"));
    let compared = tokio::task::spawn_blocking(move || {
        let refused = |answer: &str| {
            let words = ["-MASTERDOWN ", "-READONLY "];
            words
                .iter()
                .any(|word| answer.starts_with(word))
                .then(|| answer.to_owned())
        };
        let mut real = stale.operator();
        let mut ours = Operator::of(front.proxy.address());
        let seen = OF_A_REPLICA.iter().map(|line| {
            let expected = refused(&real.says(line));
            assert_eq!(refused(&ours.says(line)), expected, "{line}");
            expected.map(|answer| answer.split(' ').next().unwrap_or_default().to_owned())
        });
        let seen: Vec<_> = seen.collect();
        let count = |word: Option<&str>| {
            let said = seen.iter().filter(|said| said.as_deref() == word);
            said.count()
        };
        (
            count(Some("-MASTERDOWN")),
            count(Some("-READONLY")),
            count(None),
        )
    });
    let (down, read_only, served) = compared.await.expect("compared");
    assert!(
        down >= 10 && read_only >= 8 && served >= 6,
        "{down} {read_only} {served}"
    );
}

/// Commands with answers of one line, which a replica treats in different ways.
const OF_A_REPLICA: &[&str] = &[
    "GET k",
    "EXISTS k",
    "TTL k",
    "TYPE k",
    "KEYS *",
    "DBSIZE",
    "PING",
    "RANDOMKEY",
    "PFCOUNT k",
    "STRLEN k",
    "SORT_RO k",
    "SET k v",
    "DEL k",
    "UNLINK k",
    "GETEX k",
    "SORT k",
    "LPUSH k v",
    "EXPIRE k 1",
    "FLUSHALL",
    "XGROUP CREATE k g 0",
    "INFO replication",
    "ECHO a",
    "SELECT 0",
    "PUBLISH a b",
    "WATCH k",
    "UNWATCH",
    "MULTI",
    "DISCARD",
    "EVAL \"return 1\" 0",
    "COMMAND COUNT",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_server_is_the_same() {
    let redis = Redis::start(&["--busy-reply-threshold", "1"]);
    let mut looping = redis.operator();
    looping.send("EVAL \"while true do end\" 0");
    let mut operator = redis.operator();
    until("the busy script", || {
        operator.says("PING").starts_with("-BUSY").then_some(())
    });
    same(&redis, &error("BUSY"), &["ping", "get", "set"]).await;
    operator.does("SCRIPT KILL");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_has_written_cannot_be_killed_the_same() {
    let redis = Redis::start(&["--busy-reply-threshold", "1"]);
    let mut looping = redis.operator();
    looping.send("EVAL \"redis.call('SET', 'k', 'v') while true do end\" 0");
    let mut operator = redis.operator();
    until("the busy script", || {
        operator.says("PING").starts_with("-BUSY").then_some(())
    });
    same(&redis, &error("UNKILLABLE"), &["kill"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_caller_of_a_killed_script_gets_the_same() {
    let redis = Redis::start(&["--busy-reply-threshold", "1"]);
    let mut operator = redis.operator();
    let killing = async {
        let killing = tokio::task::spawn_blocking(move || {
            until("the busy script", || {
                operator.says("PING").starts_with("-BUSY").then_some(())
            });
            operator.does("SCRIPT KILL");
        });
        killing.await.expect("killed");
    };
    let (real, ()) = tokio::join!(exception(redis.port, "loop"), killing);
    let said = "Script killed by user with SCRIPT KILL... script: ";
    let text = real.trim().split_once(": ").expect("a text").1;
    assert!(text.starts_with(said), "{real}");
    let healthy = Redis::start(&[]);
    let front = Fronted::start(Protocol::Redis, healthy.address(), None);
    let when = "when = { operation = \"EVAL\" }";
    front.arm(&format!("{}\nmessage = \"{text}\"\n{when}", error("ERR")));
    assert_eq!(exception(front.port(), "loop").await, real);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loading_server_is_the_same() {
    let first = Redis::start(&[]);
    let mut operator = first.operator();
    operator.says("EVAL \"for n = 1, 20000 do redis.call('SET', n, n) end\" 0");
    operator.does("SAVE");
    let Redis {
        _process, folder, ..
    } = first;
    drop(_process);
    let loading = Redis::start_in(
        folder,
        &[
            "--key-load-delay",
            "20000",
            "--loading-process-events-interval-bytes",
            "1024",
        ],
    );
    let mut operator = loading.operator();
    until("the loading", || {
        operator.says("PING").starts_with("-LOADING").then_some(())
    });
    same(&loading, &error("LOADING"), &["ping", "get", "set"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_clients_are_the_same() {
    let redis = Redis::start(&["--maxclients", "1"]);
    // The one who may.
    let _first = until("the only place", || {
        let mut operator = redis.operator();
        (operator.says("PING") == "+PONG").then_some(operator)
    });
    let fault = format!(
        "{}\nwhen = {{ operation = \"CONNECT\" }}",
        error("max-clients")
    );
    same(&redis, &fault, &["accepted"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authentication_that_fails_is_the_same() {
    let redis = Redis::start(&["--requirepass", "right"]);
    same(&redis, &error("NOAUTH"), &["get", "set"]).await;
    same(&redis, &error("WRONGPASS"), &["login"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_cannot_be_made_safe_are_refused_the_same() {
    let lonely = Redis::start(&["--min-replicas-to-write", "1"]);
    same(&lonely, &error("NOREPLICAS"), &["set", "transaction"]).await;
    let unsaved = Redis::start(&["--save", "3600", "1"]);
    let mut operator = unsaved.operator();
    operator.does("SET k v");
    std::fs::remove_dir(unsaved.folder.path()).expect("the folder goes");
    operator.says("BGSAVE");
    until("the failed save", || {
        let info = operator.says("INFO persistence");
        info.contains("rdb_last_bgsave_status:err").then_some(())
    });
    same(&unsaved, &error("MISCONF"), &["set", "transaction"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_in_trouble_is_the_same() {
    let (cluster, _) = Redis::start_node();
    same(&cluster, &error("CLUSTERDOWN"), &["get", "set"]).await;
    let mut operator = cluster.operator();
    operator.does("CLUSTER ADDSLOTSRANGE 0 16383");
    until("the cluster", || {
        let info = operator.says("CLUSTER INFO");
        info.contains("cluster_state:ok").then_some(())
    });
    same(&cluster, &error("CROSSSLOT"), &["mset"]).await;
    // A slot that another node has: only its address differs from run to run.
    let node = cluster_neighbour(&mut operator);
    let fault = format!("{}\nmessage = \"{node}\"", error("MOVED"));
    same(&cluster, &fault, &["get", "set"]).await;
}

/// Gives the slot of the key `k` to another node, and says where that is.
fn cluster_neighbour(operator: &mut Operator) -> String {
    let (other, bus) = Redis::start_node();
    operator.does(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", other.port));
    let id = other.operator().says("CLUSTER MYID");
    until("the other node", || {
        operator.says("CLUSTER NODES").contains(&id).then_some(())
    });
    let slot = operator.says("CLUSTER KEYSLOT k");
    let slot = slot.trim_start_matches(':');
    operator.does(&format!("CLUSTER SETSLOT {slot} NODE {id}"));
    format!("127.0.0.1:{}", other.port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_is_a_timeout_and_a_reset_a_lost_connection_for_redis_py() {
    let redis = Redis::start(&[]);
    for (fault, expected) in [
        ("kind = \"hang\"", "TimeoutError"),
        ("kind = \"lost-reply\"", "TimeoutError"),
        ("kind = \"reset\"", "ConnectionError"),
        ("kind = \"empty-reply\"", "ConnectionError"),
        ("kind = \"garbage\"", "ConnectionError"),
    ] {
        let front = Fronted::start(Protocol::Redis, redis.address(), None);
        front.arm(fault);
        let port = front.port().to_string();
        let code = "import redis, redis.retry, redis.backoff, sys\n\
            retry = redis.retry.Retry(redis.backoff.NoBackoff(), 0)\n\
            r = redis.Redis(port=int(sys.argv[1]), retry=retry, protocol=2, socket_timeout=int(sys.argv[2]),\n\
                lib_name=None, lib_version=None)\n\
            try:\n    print(r.set('k', 'v'))\n\
            except redis.RedisError as error:\n    print(type(error).__mro__)";
        // Whoever does not wait for nothing has time on a busy machine.
        let patience = if expected == "TimeoutError" {
            "1"
        } else {
            "20"
        };
        let printed = tokio::task::spawn_blocking(move || {
            printed(python::inline(code).arg(port).arg(patience))
        });
        let printed = printed.await.expect("the client ran");
        assert!(printed.contains(expected), "{fault}: {printed}");
        let attempts = tokio::time::timeout(Duration::from_secs(20), front.stop()).await;
        let attempts = attempts.expect("the proxy stops");
        let set = attempts.iter().find(|one| &*one.operation == "SET");
        let set = set.unwrap_or_else(|| panic!("{fault}: {attempts:?}"));
        let applied = fault.contains("lost-reply");
        assert_eq!(set.applied == Applied::Yes, applied, "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_repeated_is_carried_out_so_often() {
    let redis = Redis::start(&[]);
    let front = Fronted::start(Protocol::Redis, redis.address(), None);
    front.arm(
        "kind = \"ambiguous-write\"\napplied = \"repeated\"\ntimes = 3\nseen = \"late\"\ndelay = \"1ms\"",
    );
    let port = front.port().to_string();
    let code = "import redis, sys\n\
        r = redis.Redis(port=int(sys.argv[1]), protocol=2, lib_name=None, lib_version=None)\n\
        print(r.incr('k'), r.rpush('l', 'a', 'b'), r.get('k'), r.llen('l'))";
    let printed = tokio::task::spawn_blocking(move || printed(python::inline(code).arg(port)));
    let printed = printed.await.expect("the client ran");
    assert_eq!(printed.trim(), "3 6 b'3' 6");
    let attempts = tokio::time::timeout(Duration::from_secs(20), front.stop()).await;
    let attempts = attempts.expect("the proxy stops");
    let of = |operation: &str| {
        let own = attempts.iter().find(|one| &*one.operation == operation);
        own.map(|one| (one.applied, one.repeated, one.faults.len()))
    };
    assert_eq!(of("INCRBY"), Some((Applied::Yes, 2, 1)));
    assert_eq!(of("RPUSH"), Some((Applied::Yes, 2, 1)));
    assert_eq!(of("GET"), Some((Applied::Yes, 0, 0)));
}
