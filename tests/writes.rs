//! What would prove that the ambiguity of writes is carried out and found: of two shops that differ
//! in how they try again, the one that doubles charges fails with the orders named that the payment
//! provider itself has twice in its book, and the other passes; a service that loses one
//! acknowledged job in 10,000 fails with the job named, and its twin that loses none passes.

#![cfg(feature = "demo")]

mod harness;

use harness::{Bench, Left, jobs, program};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
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
    let bench = Bench::new()
        .file("system.toml", &system)
        .file("outage.toml", AMBIGUOUS);
    let left = bench.brownout(&["run", "outage.toml"]);
    left.assert_status(status);
    (provider, left)
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
