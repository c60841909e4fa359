//! What would prove that the MySQL proxy is what it says: PyMySQL gets the same through it as
//! directly from a real MariaDB, also over TLS on either side; a client of prepared statements has
//! its parameters taken for keys and captures; and where the real server is made to fail for real, PyMySQL gets the same exception
//! from our fault on a healthy one.

mod python;
mod servers;

use brownout::{
    history::AttemptEnd,
    protocol::{Applied, Protocol},
    proxy::tls::{Authority, Front, client_config},
    scenario::{Capture, KeyFrom},
};
use servers::{Ended, Fronted, assert_same, free_port, printed, until};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};
use tempfile::TempDir;

/// A real server with a user `app`, a database `test` and a table `t` in it.
struct MariaDb {
    _process: Ended,
    folder: TempDir,
    port: u16,
}

/// The account of the distribution's package, which exists where it is installed; a server does
/// not run as root.
const ACCOUNT: &str = "mysql";

impl MariaDb {
    /// Starts one with these settings and waits until it answers.
    fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("a folder for the data");
        if is_root() {
            printed(
                Command::new("chown")
                    .arg("-R")
                    .arg(ACCOUNT)
                    .arg(folder.path()),
            );
        }
        printed(
            Command::new("mariadb-install-db")
                .args(["--no-defaults", "--auth-root-authentication-method=normal"])
                .args(["--skip-test-db", "--skip-name-resolve"])
                .arg(user_setting())
                .arg(setting("datadir", &data))
                // Two at a time would share temporary files.
                .arg(setting("tmpdir", folder.path()))
                .stdin(Stdio::null()),
        );
        let port = free_port();
        let child = Command::new("mariadbd")
            .args([
                "--no-defaults",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
            ])
            .args(["--innodb-buffer-pool-size=16M", "--local-infile=1"])
            .arg(format!("--port={port}"))
            .arg(user_setting())
            .arg(setting("datadir", &data))
            .arg(setting("tmpdir", folder.path()))
            .arg(setting("socket", &folder.path().join("socket")))
            .arg(setting("pid-file", &folder.path().join("pid")))
            .args(settings)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mariadbd is missing: run tests/run, which installs it");
        let server = Self {
            _process: Ended(child),
            folder,
            port,
        };
        until("mariadbd", || {
            let output = server.operator("SELECT 1").output();
            output
                .expect("its client starts")
                .status
                .success()
                .then_some(())
        });
        server.says(
            "CREATE DATABASE test; CREATE USER app@'127.0.0.1' IDENTIFIED BY 'right'; \
             GRANT ALL ON test.* TO app@'127.0.0.1'; CREATE TABLE test.t (id INT PRIMARY KEY, a INT) \
             ENGINE=InnoDB; INSERT INTO test.t VALUES (1, 1), (2, 1)",
        );
        server
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The operator's client, over the socket.
    fn operator(&self, statements: &str) -> Command {
        let mut command = Command::new("mariadb");
        command
            .args([
                "--no-defaults",
                "--user=root",
                "--batch",
                "--skip-column-names",
            ])
            .arg(setting("socket", &self.folder.path().join("socket")))
            .args(["-e", statements]);
        command
    }

    fn says(&self, statements: &str) -> String {
        printed(&mut self.operator(statements))
    }

    /// An operator who does this meanwhile.
    fn meanwhile(&self, statements: &str) -> Ended {
        let child: Child = self
            .operator(statements)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("its client starts");
        Ended(child)
    }
}

fn is_root() -> bool {
    printed(Command::new("id").arg("-u")).trim() == "0"
}

fn user_setting() -> String {
    if is_root() {
        format!("--user={ACCOUNT}")
    } else {
        "--skip-log-bin".to_owned()
    }
}

fn setting(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

async fn client(script: &'static str, arguments: Vec<String>) -> String {
    let running = tokio::task::spawn_blocking(move || {
        printed(python::command(&format!("tests/clients/{script}")).args(&arguments))
    });
    running.await.expect("the client ran")
}

async fn round_trip(port: u16, ca: Option<&Path>) -> String {
    let mut arguments = vec![port.to_string()];
    arguments.extend(ca.map(|path| path.display().to_string()));
    client("mysql_round_trip.py", arguments).await
}

async fn exception(port: u16, what: &str) -> String {
    client("mysql_error.py", vec![port.to_string(), what.to_owned()]).await
}

async fn started(settings: &'static [&'static str]) -> MariaDb {
    let starting = tokio::task::spawn_blocking(move || MariaDb::start(settings));
    starting.await.expect("it started")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_get_the_same_through_the_proxy_as_directly() {
    let server = started(&[]).await;
    let direct = round_trip(server.port, None).await;
    assert!(direct.contains("20000"), "the file arrived: {direct}");
    let front = Fronted::start(Protocol::Mysql, server.address(), None);
    assert_eq!(direct, round_trip(front.port(), None).await);
    let attempts = front.stop().await;
    for operation in [
        "CONNECT", "SELECT", "INSERT", "UPDATE", "LOAD", "PING", "INIT_DB", "COMMIT",
    ] {
        let seen = attempts.iter().any(|one| &*one.operation == operation);
        assert!(seen, "{operation} is missing");
    }
    assert!(attempts.iter().all(|one| one.end == AttemptEnd::Answered));
    let refused = attempts.iter().filter(|one| one.applied == Applied::No);
    let codes: Vec<&str> = refused.filter_map(|one| one.code.as_deref()).collect();
    assert_eq!(codes, ["1146", "1064", "1062"]);
    // TLS in front of a server without it.
    let authority = Authority::new().expect("a CA");
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.bundle_pem()).expect("the bundle is written");
    let tls = Arc::new(Front::new(authority, Vec::new()));
    let front = Fronted::start(Protocol::Mysql, server.address(), Some(tls));
    assert_eq!(
        direct,
        round_trip(front.port(), Some(&ca)).await,
        "over TLS"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_through_the_api_of_pymysql_gives_the_same_through_the_proxy() {
    let server = started(&["--max-allowed-packet=64M"]).await;
    let api = |port: u16| client("mysql_api.py", vec![port.to_string()]);
    let direct = api(server.port).await;
    for part in ["sessions", "files", "ended"] {
        assert!(
            direct.contains(&format!("\"{part}\": [")),
            "{part}: {direct}"
        );
    }
    let front = Fronted::start(Protocol::Mysql, server.address(), None);
    assert_same(&direct, &api(front.port()).await);
    let attempts = front.stop().await;
    assert!(attempts.len() > 250, "{}", attempts.len());
    assert!(attempts.iter().all(|one| one.faults.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_leaves_nothing_of_its_transaction_and_a_lock_wait_all_of_it() {
    let server = started(&[]).await;
    let front = Fronted::start(Protocol::Mysql, server.address(), None);
    for (errno, expected) in [("1213", "1 100"), ("1205", "11 100")] {
        front.arm(&format!(
            "kind = \"error\"\nerror = \"{errno}\"\nwhen = {{ text = \"*id = 2*\" }}\nfirst = 1"
        ));
        let code = "import pymysql, sys\n\
            db = pymysql.connect(host='127.0.0.1', port=int(sys.argv[1]), user='app', password='right', database='test')\n\
            c = db.cursor()\n\
            c.execute('UPDATE t SET a = 1')\n\
            db.commit()\n\
            c.execute('UPDATE t SET a = a + 10 WHERE id = 1')\n\
            try:\n    c.execute('UPDATE t SET a = a + 10 WHERE id = 2')\n\
            except pymysql.MySQLError as error:\n    print(type(error).__name__, error)\n\
            c.execute('UPDATE t SET a = 100 WHERE id = 2')\n\
            db.commit()\n\
            c.execute('SELECT a FROM t ORDER BY id')\n\
            print(*[row[0] for row in c.fetchall()])";
        let port = front.port().to_string();
        let printed = tokio::task::spawn_blocking(move || printed(python::inline(code).arg(port)));
        let printed = printed.await.expect("the client ran");
        assert!(printed.contains(errno), "{printed}");
        assert_eq!(printed.lines().last(), Some(expected), "{errno}: {printed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_is_applied_when_its_transaction_is() {
    let server = started(&[]).await;
    let front = Fronted::start(Protocol::Mysql, server.address(), None);
    let code = "import pymysql, sys\n\
        def connect(**more):\n\
        \x20   return pymysql.connect(host='127.0.0.1', port=int(sys.argv[1]), user='app', password='right', database='test', **more)\n\
        db = connect()\n\
        c = db.cursor()\n\
        c.execute('INSERT INTO t VALUES (11, 0)'); db.rollback()\n\
        c.execute('INSERT INTO t VALUES (12, 0)'); c.execute('SELECT a FROM t'); db.commit()\n\
        c.execute('INSERT INTO t VALUES (13, 0)'); c.execute('CREATE TABLE other (a INT)')\n\
        c.execute('INSERT INTO t VALUES (14, 0)'); db.begin(); db.rollback()\n\
        c.execute('INSERT INTO t VALUES (15, 0)'); db.close()\n\
        db = connect(autocommit=True)\n\
        db.cursor().execute('INSERT INTO t VALUES (16, 0)')\n\
        c = db.cursor()\n\
        c.execute('SELECT id FROM t WHERE id > 10 ORDER BY id')\n\
        print(*[row[0] for row in c.fetchall()])\n\
        db.close()";
    let port = front.port().to_string();
    let printed = tokio::task::spawn_blocking(move || printed(python::inline(code).arg(port)));
    assert_eq!(printed.await.expect("the client ran").trim(), "12 13 14 16");
    let attempts = front.stop().await;
    let mut inserts: Vec<_> = attempts
        .iter()
        .filter(|one| &*one.operation == "INSERT")
        .collect();
    inserts.sort_by_key(|one| one.began);
    let applied: Vec<Applied> = inserts.iter().map(|one| one.applied).collect();
    use Applied::{No, Yes};
    assert_eq!(applied, [No, Yes, Yes, Yes, No, Yes]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_commit_did_whose_answer_is_lost_is_there_and_its_client_cannot_know() {
    let server = started(&[]).await;
    let front = Fronted::start(Protocol::Mysql, server.address(), None);
    front.arm("kind = \"lost-reply\"\nwhen = { operation = \"COMMIT\" }");
    let code = "import pymysql, sys\n\
        def connect():\n\
        \x20   return pymysql.connect(host='127.0.0.1', port=int(sys.argv[1]), user='app', password='right', database='test', read_timeout=1)\n\
        db = connect()\n\
        db.cursor().execute('INSERT INTO t VALUES (31, 0)')\n\
        try:\n\
        \x20   db.commit()\n\
        except pymysql.err.OperationalError as error:\n\
        \x20   print(error.args[0])\n\
        db = connect()\n\
        db.cursor().execute('INSERT INTO t VALUES (32, 0)'); db.rollback()\n\
        c = db.cursor()\n\
        c.execute('SELECT id FROM t WHERE id > 30')\n\
        print(*[row[0] for row in c.fetchall()])";
    let port = front.port().to_string();
    let printed = tokio::task::spawn_blocking(move || printed(python::inline(code).arg(port)));
    assert_eq!(printed.await.expect("the client ran").trim(), "2013\n31");
    let attempts = front.stop().await;
    let inserts = attempts.iter().filter(|one| &*one.operation == "INSERT");
    let seen: Vec<_> = inserts
        .map(|one| (one.applied, one.end, one.acknowledged()))
        .collect();
    use Applied::{No, Yes};
    let answered = AttemptEnd::Answered;
    assert_eq!(seen, [(Yes, answered, false), (No, answered, true)]);
    let commit = attempts.iter().find(|one| &*one.operation == "COMMIT");
    let commit = commit.expect("it was seen");
    assert_eq!((commit.applied, commit.end), (Yes, AttemptEnd::GaveUp));
    let insert = attempts.iter().find(|one| one.untold.is_some());
    let waited = insert.expect("it was not told").waited_for_until();
    assert!(waited >= commit.ended, "{waited:?} {commit:?}");
}

/// Whichever rows its client has counted, those found or those changed; and in whichever language the server
/// says it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_update_found_and_left_as_it_was_is_told_from_what_it_did_not_find() {
    let server = started(&[]).await;
    let front = Fronted::start(Protocol::Mysql, server.address(), None);
    let code = "import pymysql, sys\n\
        from pymysql.constants import CLIENT\n\
        for a, flags, language in ((5, 0, 'en_US'), (6, CLIENT.FOUND_ROWS, 'en_US'), (7, 0, 'de_DE')):\n\
        \x20   db = pymysql.connect(host='127.0.0.1', port=int(sys.argv[1]), user='app', password='right', database='test', autocommit=True, client_flag=flags)\n\
        \x20   c = db.cursor()\n\
        \x20   c.execute(f\"SET lc_messages = '{language}'\")\n\
        \x20   told = []\n\
        \x20   for id in (1, 1, 99):\n\
        \x20       told.append(c.execute(f'UPDATE t SET a = {a} WHERE id = {id}'))\n\
        \x20   print(*told)\n\
        \x20   c.execute('INSERT IGNORE INTO t VALUES (1, 0)')\n\
        \x20   db.close()";
    let port = front.port().to_string();
    let printed = tokio::task::spawn_blocking(move || printed(python::inline(code).arg(port)));
    let printed = printed.await.expect("the client ran");
    assert_eq!(printed.trim(), "1 0 0\n1 1 0\n1 0 0");
    let attempts = front.stop().await;
    let seen = |operation: &str| -> Vec<_> {
        let mut own: Vec<_> = attempts
            .iter()
            .filter(|one| &*one.operation == operation)
            .collect();
        own.sort_by_key(|one| one.began);
        own.iter()
            .map(|one| (one.rows, one.held, one.perhaps_held))
            .collect()
    };
    let once = [
        (Some(1), false, false),
        (Some(0), true, false),
        (Some(0), false, false),
    ];
    assert_eq!(seen("UPDATE"), [once, once, once].concat());
    // Of an INSERT it is not said.
    let inserts = [true, false, true].map(|perhaps| (Some(0), false, perhaps));
    assert_eq!(seen("INSERT"), inserts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_is_repeated_is_carried_out_so_often() {
    let server = started(&[]).await;
    server.says("CREATE TABLE test.charges (a INT)");
    let front = Fronted::start(Protocol::Mysql, server.address(), None);
    front.arm(
        "kind = \"ambiguous-write\"\napplied = \"repeated\"\nseen = \"late\"\ndelay = \"1ms\"\nwhen = { operation = \"INSERT\" }",
    );
    let code = "import pymysql, sys\n\
        db = pymysql.connect(host='127.0.0.1', port=int(sys.argv[1]), user='app', password='right', database='test')\n\
        c = db.cursor()\n\
        c.execute('INSERT INTO charges VALUES (1)'); db.commit()\n\
        c.execute('INSERT INTO charges VALUES (2)'); db.rollback()\n\
        c.execute('INSERT IGNORE INTO t VALUES (21, 0)'); db.commit()\n\
        c.execute('SELECT a FROM charges')\n\
        print(*[row[0] for row in c.fetchall()])\n\
        db.close()";
    let port = front.port().to_string();
    let printed = tokio::task::spawn_blocking(move || printed(python::inline(code).arg(port)));
    assert_eq!(printed.await.expect("the client ran").trim(), "1 1");
    let attempts = front.stop().await;
    let inserts = attempts.iter().filter(|one| &*one.operation == "INSERT");
    let seen: Vec<_> = inserts.map(|one| (one.applied, one.repeated)).collect();
    use Applied::{No, Yes};
    assert_eq!(seen, [(Yes, 1), (No, 0), (Yes, 0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bound_parameters_are_keys_and_captures() {
    let server = started(&[]).await;
    let direct = client("mysql_prepared.py", vec![server.port.to_string()]).await;
    assert_eq!(direct.lines().count(), 40, "{direct}");
    let front = Fronted::with(Protocol::Mysql, server.address(), |config| {
        config.key = Some(KeyFrom::Parameter(2));
        config.capture = [
            ("n".to_owned(), Capture::Parameter(1)),
            ("none".to_owned(), Capture::Parameter(3)),
            ("when".to_owned(), Capture::Parameter(5)),
        ]
        .into();
    });
    let port = front.port().to_string();
    assert_eq!(
        client("mysql_prepared.py", vec![port.clone()]).await,
        direct
    );
    // The same share of the keys fails every time.
    front.arm(
        "kind = \"error\"\nerror = \"1317\"\nshare = \"40%\"\nby = \"key\"\nwhen = { key = \"id-*\" }",
    );
    let first = client("mysql_prepared.py", vec![port.clone()]).await;
    let failed = first.matches(" 1317 70100").count();
    assert!((6..28).contains(&failed), "{first}");
    assert_eq!(client("mysql_prepared.py", vec![port]).await, first);
    let attempts = front.stop().await;
    let asked: Vec<_> = attempts
        .iter()
        .filter(|one| one.key.starts_with("id-"))
        .collect();
    assert_eq!(asked.len(), 120);
    assert_eq!((&*asked[7].key, &*asked[7].operation), ("id-7", "SELECT"));
    let captured = &asked[7].captured;
    assert_eq!(captured.get("n").map(String::as_str), Some("7"));
    assert_eq!(captured.get("none"), None, "it was NULL");
    let when = captured.get("when").map(String::as_str);
    assert!(
        when.is_some_and(|when| when.starts_with("2017-02-28 12:37:00")),
        "{when:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_get_the_same_from_a_server_behind_tls() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    if is_root() {
        printed(
            Command::new("chown")
                .arg("-R")
                .arg(ACCOUNT)
                .arg(folder.path()),
        );
    }
    let settings = [setting("ssl-cert", &certificate), setting("ssl-key", &key)];
    let starting = tokio::task::spawn_blocking(move || {
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        MariaDb::start(&settings)
    });
    let server = starting.await.expect("it started");
    // Nobody gets in without.
    server.says("ALTER USER app@'127.0.0.1' REQUIRE SSL");
    let refused = Command::new("mariadb")
        .args(["--no-defaults", "--skip-ssl", "--host=127.0.0.1"])
        .args(["--user=app", "--password=right", "--execute=SELECT 1"])
        .arg(format!("--port={}", server.port))
        .output()
        .expect("its client starts");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("ERROR 1045"), "{said}");
    let front = Fronted::with(Protocol::Mysql, server.address(), |config| {
        config.upstream.tls = true;
        config.upstream_tls = client_config(&[&made.cert.pem()]).expect("its certificate");
    });
    let plain = started(&[]).await;
    let direct = round_trip(plain.port, None).await;
    assert_eq!(round_trip(front.port(), None).await, direct);
    front.arm(&error(1213));
    let deadlock = exception(front.port(), "update").await;
    assert!(deadlock.contains("1213"), "{deadlock}");
    // A certificate that nobody vouches for is refused.
    let wary = Fronted::with(Protocol::Mysql, server.address(), |config| {
        config.upstream.tls = true
    });
    let broken = exception(wary.port(), "select").await;
    assert!(broken.contains("Lost connection"), "{broken}");
    let attempts = wary.stop().await;
    assert_eq!(attempts[0].end, AttemptEnd::UpstreamFailed);
}

/// What an idle client gets from its next statement, after something happened to its connection.
async fn when_idle(port: u16, happens: impl FnOnce() + Send + 'static) -> String {
    let running = tokio::task::spawn_blocking(move || {
        let mut child = python::command("tests/clients/mysql_error.py")
            .args([&port.to_string(), "idle"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python runs");
        let mut said = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        said.read_line(&mut line).expect("a line");
        assert_eq!(line.trim(), "ready");
        happens();
        let mut input = child.stdin.take().expect("its input");
        input.write_all(b"go\n").expect("it goes on");
        let mut rest = String::new();
        said.read_to_string(&mut rest).expect("the rest");
        assert!(child.wait().expect("it ends").success());
        rest
    });
    running.await.expect("the client ran")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_shuts_down_and_one_that_is_gone_are_the_same_to_pymysql() {
    let healthy = started(&[]).await;
    let address = healthy.address();
    let doomed = started(&[]).await;
    let port = doomed.port;
    let (send, receive) = tokio::sync::oneshot::channel();
    let real = when_idle(port, move || {
        doomed.says("SHUTDOWN");
        until("the end", || {
            std::net::TcpStream::connect(doomed.address()).err()
        });
        // The test may have failed meanwhile.
        let _ = send.send(doomed);
    })
    .await;
    let _doomed = receive.await.expect("it is down");
    let gone = exception(port, "connect").await;
    assert!(gone.contains("2003"), "{gone}");

    let front = Arc::new(Fronted::start(Protocol::Mysql, address, None));
    let arming = Arc::clone(&front);
    let seen = when_idle(front.port(), move || {
        arming.arm("kind = \"restart\"\ndown = \"60s\"");
        until("the end", || {
            std::net::TcpStream::connect(arming.proxy.address()).err()
        });
    })
    .await;
    assert_eq!(seen, real);
    assert_eq!(exception(front.port(), "connect").await, gone);
}

/// The exception of a real server in trouble must be that of our fault on a healthy one.
async fn same(healthy: &MariaDb, fault: &str, what: &str, expected: &str) {
    assert_ne!(expected.trim(), "nothing failed", "{what}");
    let front = Fronted::start(Protocol::Mysql, healthy.address(), None);
    front.arm(fault);
    assert_eq!(exception(front.port(), what).await, expected, "{fault}");
    let attempts = front.stop().await;
    assert!(attempts.iter().any(|one| !one.faults.is_empty()), "{fault}");
}

fn error(errno: u16) -> String {
    format!("kind = \"error\"\nerror = \"{errno}\"")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_failures_and_ours_are_the_same_to_pymysql() {
    let server = started(&["--innodb-lock-wait-timeout=1"]).await;
    let healthy = started(&[]).await;

    let holding = server.meanwhile("BEGIN; UPDATE test.t SET a = 5; SELECT SLEEP(600)");
    until("the lock", || {
        let sleeping = server.says("SHOW PROCESSLIST");
        sleeping.contains("SLEEP(600)").then_some(())
    });
    let waited = exception(server.port, "update").await;
    same(&healthy, &error(1205), "update", &waited).await;
    drop(holding);

    server.says("SET GLOBAL read_only = 1");
    let refused = exception(server.port, "update").await;
    same(&healthy, &error(1290), "update", &refused).await;
    server.says("SET GLOBAL read_only = 0");

    let slow = exception(server.port, "slow").await;
    same(&healthy, &error(1969), "select", &slow).await;

    let killed = killed(&server, "KILL QUERY").await;
    same(&healthy, &error(1317), "select", &killed).await;
    let cut = self::killed(&server, "KILL CONNECTION").await;
    let close = "kind = \"close\"\nwhen = { operation = \"SELECT\" }";
    same(&healthy, close, "select", &cut).await;

    let deadlock = deadlocked(&server).await;
    same(&healthy, &error(1213), "update", &deadlock).await;

    let limited = started(&["--max-connections=10"]).await;
    let _all: Vec<Ended> = (0..11)
        .map(|_| limited.meanwhile("SELECT SLEEP(600)"))
        .collect();
    let full = tokio::task::spawn_blocking(move || {
        let port = limited.port.to_string();
        let script = "tests/clients/mysql_error.py";
        until("the last place taken", || {
            let said = printed(python::command(script).args([&port, "connect"]));
            said.contains("1040").then_some(said)
        })
    });
    let full = full.await.expect("it filled up");
    same(&healthy, &error(1040), "connect", &full).await;
}

/// Every error that was measured on MariaDB 10.11: its number, SQLSTATE and text, what PyMySQL does,
/// and of which class its exception is.
const MEASURED: &[(u16, &str, &str, &str, &str)] = &[
    (
        1040,
        "",
        "Too many connections",
        "connect",
        "OperationalError",
    ),
    (
        1205,
        "HY000",
        "Lock wait timeout exceeded; try restarting transaction",
        "update",
        "OperationalError",
    ),
    (
        1213,
        "40001",
        "Deadlock found when trying to get lock; try restarting transaction",
        "update",
        "OperationalError",
    ),
    (
        1290,
        "HY000",
        "The MariaDB server is running with the --read-only option so it cannot execute this statement",
        "update",
        "OperationalError",
    ),
    (
        1317,
        "70100",
        "Query execution was interrupted",
        "select",
        "OperationalError",
    ),
    (
        1969,
        "70100",
        "Query execution was interrupted (max_statement_time exceeded)",
        "select",
        "OperationalError",
    ),
];

/// Errors that are known and were not measured.
const NOT_MEASURED: &[u16] = &[1045, 1053, 1129, 1203, 1226, 1927, 3024];

/// What clients say themselves of a connection that is gone, with the fault that brings it about.
const OF_THE_CLIENT: &[(&str, &str, &str)] = &[
    (
        "(2013, 'Lost connection to MySQL server during query')",
        "select",
        "kind = \"close\"\nwhen = { operation = \"SELECT\" }",
    ),
    (
        "(2003, \"Can't connect to MySQL server on '127.0.0.1'",
        "connect",
        "kind = \"refuse\"",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_measured_error_is_sent_byte_for_byte_and_understood_by_pymysql() {
    use brownout::protocol::mysql::{ERRORS, error::error_packet, find_error};
    let healthy = started(&[]).await;
    for (errno, state, text, what, class) in MEASURED {
        let is_greeting = state.is_empty();
        let marker = if is_greeting { "" } else { "#" };
        let said = [marker.as_bytes(), state.as_bytes(), text.as_bytes()].concat();
        let length = u8::try_from(said.len() + 3).expect("short");
        let sequence = u8::from(!is_greeting);
        let head = [length, 0, 0, sequence, 0xff];
        let expected = [&head[..], &errno.to_le_bytes(), &said].concat();
        let def = find_error(&errno.to_string()).expect("a known error");
        let bytes = error_packet(def, None, sequence, is_greeting);
        assert_eq!(bytes, expected, "{}", bytes.escape_ascii());

        let front = Fronted::start(Protocol::Mysql, healthy.address(), None);
        front.arm(&error(*errno));
        if is_greeting {
            let address = front.proxy.address();
            let reading = tokio::task::spawn_blocking(move || {
                let mut stream = std::net::TcpStream::connect(address).expect("a connection");
                let patience = Some(servers::PATIENCE);
                stream.set_read_timeout(patience).expect("a time limit");
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).expect("the end");
                bytes
            });
            assert_eq!(reading.await.expect("it was read"), expected);
        }
        let seen = exception(front.port(), what).await;
        let begins = format!("(<class 'pymysql.err.{class}'>");
        assert!(seen.starts_with(&begins), "{errno}: {seen}");
        assert!(
            seen.contains(&format!("({errno}, ")) && seen.contains(text),
            "{seen}"
        );
    }
    for (said, what, fault) in OF_THE_CLIENT {
        let front = Fronted::start(Protocol::Mysql, healthy.address(), None);
        front.arm(fault);
        if *what == "connect" {
            let address = front.proxy.address();
            let waiting = tokio::task::spawn_blocking(move || {
                until("the refusal", || {
                    std::net::TcpStream::connect(address).err()
                });
            });
            waiting.await.expect("it is refused");
        }
        let seen = exception(front.port(), what).await;
        assert!(
            seen.starts_with("(<class 'pymysql.err.OperationalError'>"),
            "{seen}"
        );
        assert!(seen.contains(said), "{seen}");
    }
    let mut listed: Vec<u16> = MEASURED.iter().map(|row| row.0).collect();
    listed.extend(NOT_MEASURED);
    listed.sort_unstable();
    let known: Vec<u16> = ERRORS.iter().map(|def| def.errno).collect();
    assert_eq!(listed, known);
}

/// What a client gets whose statement is killed.
async fn killed(server: &MariaDb, how: &str) -> String {
    let asking = tokio::spawn(exception(server.port, "sleep"));
    let id = until("the statement", || {
        let id = server.says(
            "SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(60)%'",
        );
        (!id.trim().is_empty()).then_some(id)
    });
    server.says(&format!("{how} {}", id.trim()));
    asking.await.expect("the client ran")
}

/// What the victim of a real deadlock gets.
async fn deadlocked(server: &MariaDb) -> String {
    let code = "import pymysql, sys, threading\n\
        connect = lambda: pymysql.connect(host='127.0.0.1', port=int(sys.argv[1]), user='app', password='right', database='test')\n\
        one, other = connect(), connect()\n\
        a, b = one.cursor(), other.cursor()\n\
        b.execute('SET innodb_lock_wait_timeout = 50')\n\
        a.execute('SET innodb_lock_wait_timeout = 50')\n\
        a.execute('UPDATE t SET a = 1 WHERE id = 1')\n\
        b.execute('UPDATE t SET a = 2 WHERE id = 2')\n\
        said = []\n\
        def cross(cursor, n):\n\
        \x20   try:\n\
        \x20       cursor.execute(f'UPDATE t SET a = 3 WHERE id = {n}')\n\
        \x20   except Exception as error:\n\
        \x20       said.append(f'{type(error).__mro__[:3]}: {error}')\n\
        \x20       cursor.connection.rollback()\n\
        thread = threading.Thread(target=cross, args=(a, 2))\n\
        thread.start()\n\
        cross(b, 1)\n\
        thread.join()\n\
        print(said[0])";
    let port = server.port.to_string();
    let running = tokio::task::spawn_blocking(move || printed(python::inline(code).arg(port)));
    running.await.expect("the client ran")
}
