//! What would prove that the ambiguity of writes is carried out and found: of two shops that differ
//! in how they try again, the one that doubles charges fails with the orders named that the payment
//! provider itself has twice in its book, and the other passes; a service that loses one
//! acknowledged job in 10,000 fails with the job named, and its twin that loses none passes; what a
//! real PostgreSQL made of a COMMIT whose client left while it was held up is what the proxy says. Of runs that
//! pass alike, as nothing is required of writes, the comparison tells which doubled or lost them.

#![cfg(feature = "demo")]

mod harness;
mod postgres_server;
mod signals;

use harness::{Bench, Left, jobs, program, python};
use postgres_server::Server;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Stdio,
    sync::{Arc, Mutex},
    thread,
};

/// What a payment provider has done.
#[derive(Default)]
struct Book {
    /// How often each order was charged.
    charges: BTreeMap<String, u32>,
    /// The idempotency keys that it knows.
    keys: BTreeSet<String>,
    /// Requests, those that it knew again included.
    requests: u32,
}

/// A payment provider, which knows a request again by its Idempotency-Key.
struct Provider {
    address: SocketAddr,
    book: Arc<Mutex<Book>>,
}

impl Provider {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let book = Arc::<Mutex<Book>>::default();
        let shared = Arc::clone(&book);
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let book = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &book));
            }
        });
        Self { address, book }
    }

    /// The orders that were charged more than once.
    fn doubled(&self) -> BTreeSet<String> {
        let book = self.book.lock().expect("the book");
        let often = book.charges.iter().filter(|(_, times)| **times > 1);
        often.map(|(order, _)| order.clone()).collect()
    }
}

/// Serves requests until the peer is gone.
fn serve(stream: TcpStream, book: &Mutex<Book>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let mut headers = BTreeMap::new();
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|len| *len > 0)?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|len| *len > 0)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length");
        let length = length.and_then(|text| text.parse().ok()).unwrap_or(0);
        reader.read_exact(&mut vec![0; length]).ok()?;
        {
            let mut book = book.lock().ok()?;
            book.requests += 1;
            let key = headers.get("idempotency-key");
            if key.is_none_or(|key| book.keys.insert(key.clone())) {
                let order = headers.get("x-order")?.clone();
                *book.charges.entry(order).or_default() += 1;
            }
        }
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).ok()?;
    }
}

const AMBIGUOUS: &str = r#"title = "charges whose answers are lost, and charges that are sent again"
system = "system.toml"
hold = "1s"

[[phase]]
name = "steady"
lasts = "2s"
steady = true

[[phase]]
name = "answers are lost"
lasts = "3s"
  [[phase.fault]]
  kind = "ambiguous-write"
  on = "payments"
  applied = "once"
  seen = "reset"
  share = "40%"

[[phase]]
name = "tries end"
lasts = "1s"

[[phase]]
name = "a proxy sends them again"
lasts = "3s"
  [[phase.fault]]
  kind = "ambiguous-write"
  on = "payments"
  applied = "repeated"
  times = 2
  seen = "late"
  delay = "20ms"
  share = "40%"

[[phase]]
name = "recovery"
lasts = "3s"

[[expect]]
id = "LOST"
that = "no order is charged twice though answers are lost"
kind = "no-double-effect"
on = "payments"
id_of = "order"
deduplicated_by = "key"
settle = "1s"
during = ["answers are lost"]

[[expect]]
id = "AGAIN"
that = "no order is charged twice though requests arrive twice"
kind = "no-double-effect"
on = "payments"
id_of = "order"
deduplicated_by = "key"
settle = "1s"
during = ["a proxy sends them again"]
"#;

/// A run of the shop that tries again in this way.
fn shop(retry: &str, status: i32) -> (Provider, Left) {
    let provider = Provider::open();
    let bench = charges(&provider, retry).file("outage.toml", AMBIGUOUS);
    let left = bench.brownout(&["run", "outage.toml"]);
    left.assert_status(status);
    (provider, left)
}

/// A folder with the shop that tries again in this way.
fn charges(provider: &Provider, retry: &str) -> Bench {
    let environment = format!(r#"PROVIDER = "{{dependency.payments.address}}", RETRY = "{retry}""#);
    let system = program("charge_app.py", r#""{port.app}""#, &environment, "KILL");
    let system = format!(
        r#"{system}
[dependency.payments]
protocol = "http"
upstream = "{}"
capture = {{ order = "header:x-order", key = "header:idempotency-key" }}

[load.orders]
rate = "20/s"
arrivals = "constant"
request = {{ method = "POST", path = "/orders", json = {{ id = "{{uuid}}" }} }}
timeout = "15s"
"#,
        provider.address
    );
    Bench::new().file("system.toml", &system)
}

/// The orders that the evidence of a verdict names.
fn named(left: &Left, id: &str) -> Vec<String> {
    let evidence = left.verdict_of(id)["evidence"].as_array();
    let lines = evidence.into_iter().flatten();
    lines
        .filter_map(|one| one["what"].as_str()?.split(' ').next().map(str::to_owned))
        .collect()
}

/// How many writes the proxy saw meet this fate, whatever was in force.
fn writes(left: &Left, witness: &str, fate: &str) -> u64 {
    let all = left.report["scenarios"][0]["writes"].as_array();
    let own = all
        .into_iter()
        .flatten()
        .filter(|one| one["witness"] == witness);
    let windows = own.flat_map(|one| one["windows"].as_array().into_iter().flatten());
    windows.filter_map(|window| window[fate].as_u64()).sum()
}

#[test]
fn a_shop_that_charges_again_blindly_doubles_charges_and_is_found() {
    let (provider, left) = shop("blind", 1);
    let doubled = provider.doubled();
    assert!(doubled.len() >= 10, "{doubled:?}");
    for id in ["LOST", "AGAIN"] {
        assert_eq!(left.verdict(id), "fail", "{:#}", left.verdict_of(id));
        let named = named(&left, id);
        assert_eq!(named.len(), 5, "{named:?}");
        assert!(
            named.iter().all(|order| doubled.contains(order)),
            "{named:?} {doubled:?}"
        );
    }
    // What the proxy says of each order is what the provider has in its book.
    assert_eq!(writes(&left, "wire", "doubled"), doubled.len() as u64);
    assert!(
        left.stdout.contains("doubled (POST /charges"),
        "{}",
        left.stdout
    );
}

#[test]
fn its_twin_with_a_key_for_each_order_charges_once_and_passes() {
    let (provider, left) = shop("keyed", 0);
    assert_eq!(provider.doubled(), BTreeSet::new());
    for id in ["LOST", "AGAIN"] {
        assert_eq!(left.verdict(id), "pass", "{:#}", left.verdict_of(id));
    }
    let book = provider.book.lock().expect("the book");
    let charged = book.charges.len() as u32;
    assert!(
        book.requests >= charged + 20,
        "{} of {charged}",
        book.requests
    );
    assert_eq!(writes(&left, "wire", "doubled"), 0);
}

#[test]
fn a_new_key_for_each_try_is_no_key() {
    let (provider, left) = shop("new-key", 1);
    assert_eq!(left.verdict("LOST"), "fail");
    // What a proxy repeats bears the same key.
    assert_eq!(
        left.verdict("AGAIN"),
        "pass",
        "{:#}",
        left.verdict_of("AGAIN")
    );
    let doubled = provider.doubled();
    assert!(
        named(&left, "LOST")
            .iter()
            .all(|order| doubled.contains(order))
    );
}

const FLOOD: &str = r#"title = "the webhook fails now and then, with many jobs"
system = "system.toml"
hold = "1s"

[[phase]]
name = "steady"
lasts = "2s"
steady = true

[[phase]]
name = "webhook fails"
lasts = "7s"
  [[phase.fault]]
  kind = "error"
  on = "webhooks"
  status = 503
  applied = "no"
  share = "20%"

[[phase]]
name = "recovery"
lasts = "2s"

[[expect]]
id = "SENT"
that = "every accepted job reaches the webhook"
kind = "nothing-lost"
ledger = "sent"

[[expect]]
id = "ONCE"
that = "and reaches it once"
kind = "no-duplicates"
ledger = "sent"
"#;

/// A run of more than 10,000 jobs; a run whose load missed its schedule on a busy machine shows no
/// pass, and is made again.
fn flood(environment: &str, status: i32) -> (Bench, Left) {
    let environment = format!(r#"WEBHOOK = "{{dependency.webhooks.address}}"{environment}"#);
    let system = program("batch_app.py", r#""{port.app}""#, &environment, "KILL");
    let system = system + &jobs("1000/s", "10s");
    let bench = Bench::new()
        .file("system.toml", &system)
        .file("outage.toml", FLOOD);
    let mut left = bench.brownout(&["run", "outage.toml"]);
    for _ in 0..2 {
        if left.status == Some(2) && left.stdout.contains("missed its schedule") {
            left = bench.brownout(&["run", "outage.toml"]);
        }
    }
    left.assert_status(status);
    (bench, left)
}

#[test]
fn one_lost_job_in_ten_thousand_is_found_and_none_is_found_where_none_is_lost() {
    let (twin, planted) = thread::scope(|both| {
        let twin = both.spawn(|| flood("", 0));
        let planted = both.spawn(|| flood(r#", LOSE_NTH = "5000""#, 1));
        (twin.join(), planted.join())
    });
    let (_, twin) = twin.expect("the twin's run");
    let (bench, left) = planted.expect("the planted loss's run");
    for id in ["SENT", "ONCE"] {
        assert_eq!(twin.verdict(id), "pass", "{:#}", twin.verdict_of(id));
    }
    assert_eq!(writes(&twin, "ledger", "lost"), 0);
    assert!(twin.verdict_of("SENT")["count"].as_u64() > Some(10_000));

    assert_eq!(
        left.verdict("SENT"),
        "fail",
        "{:#}",
        left.verdict_of("SENT")
    );
    let evidence = left.verdict_of("SENT")["evidence"].as_array().cloned();
    let evidence = evidence.unwrap_or_default();
    assert_eq!(evidence.len(), 1, "{evidence:#?}");
    let what = evidence[0]["what"].as_str().unwrap_or_default();
    assert!(what.contains("in `webhook fails` under `error"), "{what}");
    // It was acknowledged, and no message to the webhook has it.
    let id = what.split(' ').next().unwrap_or_default();
    let history = bench.history("outage");
    let is_it = |entry: &&Value| entry["type"] == "operation" && entry["captured"]["id"] == id;
    let lost: Vec<&Value> = history.iter().filter(is_it).collect();
    assert_eq!((lost.len(), &lost[0]["outcome"]), (1, &Value::from("ok")));
    let messages = history.iter().filter(|entry| entry["type"] == "message");
    let mut bodies = messages.filter_map(|entry| entry["body"].as_str());
    assert!(!bodies.any(|body| body.contains(id)));
    assert_eq!(writes(&left, "ledger", "lost"), 1);
}

const HELD: &str = r#"title = "COMMITs are held up until their clients leave"
system = "system.toml"
hold = "1s"

[[phase]]
name = "steady"
lasts = "3s"
steady = true

[[phase]]
name = "held before the server"
lasts = "3s"
  [[phase.fault]]
  kind = "hang"
  on = "db"
  when = { operation = "COMMIT" }

[[phase]]
name = "calm"
lasts = "1s"

[[phase]]
name = "held behind the server"
lasts = "3s"
  [[phase.fault]]
  kind = "late-reply"
  on = "db"
  delay = "2s"
  when = { operation = "COMMIT" }

[[phase]]
name = "recovery"
lasts = "2s"

[[expect]]
id = "KEPT"
that = "no order is lost that was taken"
kind = "nothing-lost"
ledger = "orders"

[[expect]]
id = "ONCE"
that = "no order is there twice"
kind = "no-duplicates"
ledger = "orders"
"#;

/// A run of the shop on this server, and the orders that are in its table afterwards.
fn orders(
    server: &Server,
    table: &str,
    more: &str,
    status: i32,
) -> (Bench, Left, BTreeSet<String>) {
    let to = |host: &str, port: &str| {
        format!(
            "host={host} port={port} user=app password=secret-word dbname=postgres sslmode=disable"
        )
    };
    let environment = format!(
        r#"DATABASE = "{}""#,
        to("{dependency.db.host}", "{dependency.db.port}")
    );
    let arguments = format!(r#""{{port.app}}", "{table}"{more}"#);
    let system = program("orders_app.py", &arguments, &environment, "KILL");
    let system = format!(
        r#"{system}
[dependency.db]
protocol = "postgres"
upstream = "{}"
key = "parameter:1"
capture = {{ id = "parameter:1" }}

[load.orders]
rate = "5/s"
arrivals = "constant"
request = {{ method = "POST", path = "/orders", json = {{ id = "{{uuid}}" }} }}
capture = {{ id = "var:uuid" }}
ok = {{ status = 201 }}
timeout = "5s"

[ledger.orders]
accepted = {{ load = "orders", id = "id" }}
delivered = {{ dependency = "db", operation = "INSERT", id = "id" }}
settle = "1s"
"#,
        server.address
    );
    let bench = Bench::new()
        .file("system.toml", &system)
        .file("outage.toml", HELD);
    let left = bench.brownout(&["run", "outage.toml"]);
    left.assert_status(status);
    let list = format!(
        "import psycopg\n\
         with psycopg.connect({:?}) as connection:\n\
         \x20   print(*[row[0] for row in connection.execute('SELECT id FROM {table}')])",
        to("127.0.0.1", &server.address.port().to_string())
    );
    let listed = python::inline(&list).output().expect("python starts");
    assert!(listed.status.success(), "{listed:?}");
    let listed = String::from_utf8_lossy(&listed.stdout);
    let listed = listed.split_whitespace().map(str::to_owned).collect();
    (bench, left, listed)
}

/// The orders that a fault acted on, by whether the proxy says that they are there, where none of their
/// callers was told.
fn untold(bench: &Bench, there: &BTreeSet<String>, fault: u64) -> BTreeSet<String> {
    let history = bench.history("outage");
    let attempts = history.iter().filter(|entry| entry["type"] == "attempt");
    let (mut commits, mut inserts) = (BTreeMap::new(), Vec::new());
    for attempt in attempts {
        let connection = attempt["connection"].as_u64().expect("a number");
        let met = attempt["faults"].as_array().cloned().unwrap_or_default();
        match attempt["operation"].as_str() {
            Some("COMMIT") => {
                commits.insert(connection, (met, attempt.clone()));
            }
            Some("INSERT") => inserts.push((connection, attempt)),
            _ => {}
        }
    }
    let mut left = BTreeSet::new();
    for (connection, insert) in inserts {
        let id = insert["captured"]["id"].as_str().expect("an id");
        // Whatever became of it, the server's own table is the truth.
        let said = insert["applied"] == "yes";
        assert_eq!(said, there.contains(id), "{insert}");
        assert_ne!(insert["applied"], "unknown", "{insert}");
        let commit = commits.get(&connection).map(|(met, commit)| (met, commit));
        let is_met = |met: &[Value]| met.iter().any(|one| *one == fault);
        let Some((_, commit)) = commit.filter(|(met, _)| is_met(met)) else {
            continue;
        };
        if commit["end"] != "gave-up" {
            continue;
        }
        assert_eq!(commit["applied"], insert["applied"], "{commit}");
        assert_eq!(insert["untold"].is_u64(), said, "{insert}");
        left.insert(id.to_owned());
    }
    assert!(left.len() >= 5, "{} clients left", left.len());
    left
}

/// What the wire says of the writes in the window of a fault.
fn in_window(left: &Left, fault: u64, fate: &str) -> u64 {
    let all = left.report["scenarios"][0]["writes"].as_array();
    let own = all.into_iter().flatten();
    let mut own = own.filter(|one| one["witness"] == "wire");
    let windows = own.next().expect("an account")["windows"].as_array();
    let mut windows = windows.into_iter().flatten();
    let window = windows.find(|window| window["fault"] == fault);
    window.expect("the fault's window")[fate]
        .as_u64()
        .expect("a number")
}

#[test]
fn a_commit_whose_client_left_while_it_was_held_up_is_called_what_it_is() {
    let server = Server::start();
    server.wait();
    let (careful, hopeful) = thread::scope(|both| {
        let careful = both.spawn(|| orders(&server, "careful", "", 0));
        let hopeful = both.spawn(|| orders(&server, "hopeful", r#", "--hopeful""#, 1));
        (careful.join(), hopeful.join())
    });
    let (bench, left, there) = careful.expect("the careful one's run");
    // The server never had the COMMIT: with its session it took the transaction back.
    let before = untold(&bench, &there, 0);
    assert!(before.is_disjoint(&there), "{before:?}");
    // It had it, and nobody heard.
    let behind = untold(&bench, &there, 1);
    assert!(behind.is_subset(&there), "{behind:?}");
    assert!(in_window(&left, 0, "absent") >= before.len() as u64);
    assert!(in_window(&left, 1, "recovered") >= behind.len() as u64);
    for fault in [0, 1] {
        for fate in ["lost", "doubled", "indeterminate"] {
            assert_eq!(in_window(&left, fault, fate), 0, "{fate} {fault}");
        }
    }
    assert_eq!(in_window(&left, 0, "recovered"), 0);
    assert_eq!(in_window(&left, 1, "absent"), 0);
    for id in ["KEPT", "ONCE"] {
        assert_eq!(left.verdict(id), "pass", "{:#}", left.verdict_of(id));
    }

    // Who says that it is done before it knows has lost those that are not there.
    let (bench, left, there) = hopeful.expect("the hopeful one's run");
    let before = untold(&bench, &there, 0);
    assert_eq!(
        left.verdict("KEPT"),
        "fail",
        "{:#}",
        left.verdict_of("KEPT")
    );
    let named = named(&left, "KEPT");
    assert!(!named.is_empty(), "{:#}", left.verdict_of("KEPT"));
    assert!(named.iter().all(|id| before.contains(id)), "{named:?}");
    assert_eq!(writes(&left, "ledger", "lost"), before.len() as u64);
}

/// A phase with this fault, and nothing required of what becomes of writes.
fn trouble(fault: &str, load: &str) -> String {
    format!(
        r#"title = "writes"
system = "system.toml"
hold = "1s"

[[phase]]
name = "steady"
lasts = "2s"
steady = true

[[phase]]
name = "in trouble"
lasts = "4s"
  [[phase.fault]]
{fault}

[[phase]]
name = "recovery"
lasts = "2s"

[[expect]]
id = "TAKEN"
that = "whatever comes is taken"
kind = "success-rate"
load = "{load}"
at_least = "90%"
"#
    )
}

/// The shop that tries again in this way, of whose charges answers are lost.
fn lost_answers(provider: &Provider, retry: &str) -> Bench {
    let fault = r#"  kind = "ambiguous-write"
  on = "payments"
  applied = "once"
  seen = "reset"
  share = "40%""#;
    charges(provider, retry).file("outage.toml", &trouble(fault, "orders"))
}

/// The service that hands jobs on in batches, with this in its environment, whose webhook refuses some.
fn refused_batches(environment: &str) -> Bench {
    let fault = r#"  kind = "error"
  on = "webhooks"
  status = 503
  applied = "no"
  share = "20%""#;
    let environment = format!(r#"WEBHOOK = "{{dependency.webhooks.address}}"{environment}"#);
    let system = program("batch_app.py", r#""{port.app}""#, &environment, "KILL");
    Bench::new()
        .file("system.toml", &(system + &jobs("50/s", "10s")))
        .file("outage.toml", &trouble(fault, "jobs"))
}

const SAME_SEED: [&str; 4] = ["run", "outage.toml", "--seed", "7"];

/// A run that passes; its report's folder.
fn passed(bench: &Bench) -> String {
    bench.brownout(&SAME_SEED).assert_status(0);
    report_of(bench)
}

fn report_of(bench: &Bench) -> String {
    let folder = bench.path().join("brownout-report");
    folder.to_str().expect("a path").to_owned()
}

/// Two runs compared: the status and what was printed, and what of writes became what, as `what: change`
/// of whom. A busy machine makes other things differ, times above all: what doubled counts.
fn compared(old: &str, new: &str) -> (Left, BTreeSet<(String, String)>) {
    let arguments = ["diff", old, new, "--noise", "100%"];
    let bench = Bench::new();
    let json = bench.brownout(&[&arguments[..], &["--format", "json"]].concat());
    let json: Value = serde_json::from_str(&json.stdout).expect("it is JSON");
    let rows = json["scenarios"][0]["rows"].as_array().expect("rows");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of_writes = rows.iter().filter(|row| row["section"] == "writes");
    let told = of_writes.map(|row| {
        let change = format!("{}: {}", text(&row["what"]), text(&row["change"]));
        (text(&row["of"]), change)
    });
    (bench.brownout(&arguments), told.collect())
}

/// That the comparison tells of these writes that they became so.
fn assert_told(told: &(Left, BTreeSet<(String, String)>), of: &str, change: &str) {
    let (left, rows) = told;
    let is_it = |(subject, what): &(String, String)| subject.starts_with(of) && what == change;
    assert!(rows.iter().any(is_it), "{rows:#?}\n{}", left.stdout);
}

/// That the same system twice is no regression: neither of its writes, nor, unless the machine was busy with
/// other things in every one of a few more runs, of anything else.
fn assert_same(bench: &Bench, before: &str) {
    for _ in 0..3 {
        let (left, rows) = compared(before, &passed(bench));
        let is_worse = |(_, what): &&(String, String)| what.ends_with(": worse");
        assert_eq!(rows.iter().find(is_worse), None, "{}", left.stdout);
        if left.status == Some(0) {
            return;
        }
    }
    panic!("never the same");
}

/// A run that is ended in the midst of its trouble.
fn broken_off(bench: &Bench) -> String {
    let mut child = bench
        .command(&SAME_SEED)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("brownout starts");
    let lines = BufReader::new(child.stderr.take().expect("its stderr"));
    let mut lines = lines.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("in trouble")));
    thread::spawn(move || lines.for_each(drop));
    signals::interrupt(rustix::process::Pid::from_child(&child));
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    report_of(bench)
}

#[test]
fn a_comparison_tells_which_of_two_runs_doubled_charges() {
    let provider = Provider::open();
    let bench = |retry| lost_answers(&provider, retry);
    let (keyed, blind, again, cut) = (
        bench("keyed"),
        bench("blind"),
        bench("blind"),
        bench("blind"),
    );
    let (once, twice) = thread::scope(|scope| {
        let once = scope.spawn(|| passed(&keyed));
        let twice = scope.spawn(|| passed(&blind));
        (
            once.join().expect("it passed"),
            twice.join().expect("it passed"),
        )
    });

    let worse = compared(&once, &twice);
    worse.0.assert_status(1);
    let of = "sent to payments, under `ambiguous-write";
    assert_told(&worse, of, "writes doubled: worse");
    let words: Vec<&str> = worse.0.stdout.split_whitespace().collect();
    assert!(
        words.join(" ").contains("✗ sent to payments"),
        "{}",
        worse.0.stdout
    );
    assert_told(&compared(&twice, &once), of, "writes doubled: better");
    thread::scope(|scope| {
        scope.spawn(|| assert_same(&again, &twice));
        // Nobody knows what would have become of the others.
        let untold = compared(&twice, &broken_off(&cut));
        untold.0.assert_status(2);
        assert_told(&untold, of, "writes doubled: cannot-be-told");
    });
}

#[test]
fn a_comparison_tells_which_of_two_runs_lost_jobs() {
    let every = r#", LOSE_EVERY = "5""#;
    let (keeps, loses, again, cut) = (
        refused_batches(""),
        refused_batches(every),
        refused_batches(every),
        refused_batches(every),
    );
    let (all, some) = thread::scope(|scope| {
        let all = scope.spawn(|| passed(&keeps));
        let some = scope.spawn(|| passed(&loses));
        (
            all.join().expect("it passed"),
            some.join().expect("it passed"),
        )
    });

    let worse = compared(&all, &some);
    worse.0.assert_status(1);
    let of = "ledger sent, under `error";
    assert_told(&worse, of, "writes lost: worse");
    let words: Vec<&str> = worse.0.stdout.split_whitespace().collect();
    assert!(
        words.join(" ").contains("✗ ledger sent"),
        "{}",
        worse.0.stdout
    );
    assert_told(&compared(&some, &all), of, "writes lost: better");
    thread::scope(|scope| {
        scope.spawn(|| assert_same(&again, &some));
        let untold = compared(&some, &broken_off(&cut));
        untold.0.assert_status(2);
        assert_told(&untold, of, "writes lost: cannot-be-told");
    });
}
