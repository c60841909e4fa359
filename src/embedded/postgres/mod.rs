//! A PostgreSQL server over SQLite: enough of the wire and of the language for a program that
//! keeps its rows in PostgreSQL to run on a machine that has none.
//!
//! It speaks protocol 3.0 by itself, simple and extended, text and binary; everybody is let in.
//! The statements are SQLite's: what is said differently is translated (casts, `serial`,
//! `FOR UPDATE`, intervals behind `±`), errors have PostgreSQL's SQLSTATE, and what is left out
//! (`COPY`, arrays, cursors, functions of one's own) is refused as such. All is lost when it stops.
//!
//! It differs where SQLite does: transactions that write follow one another instead of locking
//! rows; they are read committed, whatever isolation is asked for; lengths and precisions of types
//! are not kept; a literal is not checked against its column's type, a parameter is; decimals with
//! a fraction are floats.

mod database;
mod frame;
mod infer;
mod kept;
mod refusal;
mod session;
mod sql;
mod statement;
mod value;

use bytes::BytesMut;
use database::{Client, Database};
use frame::{Opening, Outbox};
use parking_lot::Mutex;
use refusal::Refusal;
use rusqlite::InterruptHandle;
use session::{Opened, Session};
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

/// The most sessions at once; a further client is told that there are too many.
const SESSIONS_MAX: usize = 500;

/// The most clients that are being told so at once; beyond that they are closed without a word.
const REFUSED_AT_ONCE_MAX: usize = 16;

/// How long a client may take to say who it is.
const STARTUP_WITHIN: Duration = Duration::from_secs(10);

/// How long a client may take to accept what it is sent.
const WRITE_WITHIN: Duration = Duration::from_secs(60);

/// How long sessions may take to end once the server is stopped.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// How long accepting rests after it failed, for instance because no file descriptor was left.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// The stack of a session's thread: SQLite's parser is the deepest thing on it.
const STACK_BYTES: usize = 1024 * 1024;

/// Whose behaviour it has.
const VERSION: &str = "16.4";

/// Settings that every client is told.
const SETTINGS: &[(&str, &str)] = &[
    ("application_name", ""),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("default_transaction_read_only", "off"),
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("IntervalStyle", "postgres"),
    ("is_superuser", "off"),
    ("server_encoding", "UTF8"),
    ("server_version", VERSION),
    ("standard_conforming_strings", "on"),
    ("TimeZone", "UTC"),
];

/// Further settings that `SHOW` knows.
const SHOWN: &[(&str, &str)] = &[
    ("default_transaction_isolation", "read committed"),
    ("idle_in_transaction_session_timeout", "0"),
    ("lock_timeout", "30s"),
    ("max_connections", "500"),
    ("search_path", "\"$user\", public"),
    ("server_version_num", "160004"),
    ("statement_timeout", "0"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "off"),
];

fn version() -> String {
    format!(
        "PostgreSQL {VERSION} (Brownout's embedded server over SQLite {})",
        rusqlite::version()
    )
}

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What all sessions share.
#[derive(Debug)]
struct Shared {
    database: Arc<Database>,
    sessions: Mutex<BTreeMap<i32, Entry>>,
    stopping: AtomicBool,
    /// A session has ended.
    ended: Notify,
}

/// A session as others see it.
struct Entry {
    key: i32,
    socket: Option<TcpStream>,
    interrupt: Option<InterruptHandle>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").finish_non_exhaustive()
    }
}

impl Server {
    /// Binds `listen` and serves an empty database in which `schema` has been run.
    ///
    /// # Errors
    /// An address that cannot be bound, a schema that the server refuses.
    pub(super) fn start(listen: SocketAddr, schema: Option<&str>) -> io::Result<Self> {
        let database = Database::new()?;
        let nobody = Client {
            user: "postgres".to_owned(),
            database: "postgres".to_owned(),
            process: 0,
        };
        let connection = database.connect(&nobody).map_err(refused)?;
        session::run_schema(&database, connection, schema.unwrap_or_default())?;
        let listener = std::net::TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            database,
            sessions: Mutex::default(),
            stopping: AtomicBool::new(false),
            ended: Notify::new(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all sessions and waits for them, for a bounded time. Then the address is free.
    pub(super) async fn stop(mut self) {
        self.end();
        // The listener goes with its task.
        let _ = (&mut self.accepting).await;
        let drained = async {
            loop {
                let ended = self.shared.ended.notified();
                if self.shared.sessions.lock().is_empty() {
                    return;
                }
                ended.await;
            }
        };
        let _ = tokio::time::timeout(DRAIN_MAX, drained).await;
    }

    fn end(&self) {
        self.accepting.abort();
        self.shared.stopping.store(true, Ordering::SeqCst);
        for entry in self.shared.sessions.lock().values() {
            entry.end();
        }
        self.shared.database.remove();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

impl Entry {
    fn end(&self) {
        if let Some(socket) = &self.socket {
            // It fails where the client has closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        if let Some(interrupt) = &self.interrupt {
            interrupt.interrupt();
        }
    }
}

fn refused(refusal: Refusal) -> io::Error {
    io::Error::other(format!("{} (SQLSTATE {})", refusal.message, refusal.code))
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut process = 0;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_REST).await;
            continue;
        };
        process = process % i32::MAX + 1;
        if let Err(error) = welcome(stream, process, &shared) {
            // The client sees its connection closed; there is nobody else to tell.
            drop(error);
        }
    }
}

/// Gives a connection a thread of its own.
fn welcome(stream: tokio::net::TcpStream, process: i32, shared: &Arc<Shared>) -> io::Result<()> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STARTUP_WITHIN))?;
    stream.set_write_timeout(Some(WRITE_WITHIN))?;
    let entry = Entry {
        key: rand_key(),
        socket: Some(stream.try_clone()?),
        interrupt: None,
    };
    let full = {
        let mut sessions = shared.sessions.lock();
        // A few more threads, so that whoever is too many can be told.
        if sessions.len() >= SESSIONS_MAX + REFUSED_AT_ONCE_MAX {
            return Ok(());
        }
        sessions.insert(process, entry);
        sessions.len() > SESSIONS_MAX
    };
    let registered = Registered {
        process,
        shared: Arc::clone(shared),
    };
    if shared.stopping.load(Ordering::SeqCst) {
        return Ok(());
    }
    std::thread::Builder::new()
        .name(format!("postgres-{process}"))
        .stack_size(STACK_BYTES)
        .spawn(move || {
            // A client that breaks off is its own business, and it is seen at the proxy.
            let _ = open(stream, &registered, full);
        })?;
    Ok(())
}

/// A session's entry, which goes with it.
struct Registered {
    process: i32,
    shared: Arc<Shared>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.sessions.lock().remove(&self.process);
        self.shared.ended.notify_waiters();
    }
}

fn rand_key() -> i32 {
    let id = value::random_uuid();
    i32::from_str_radix(&id[..7], 16).unwrap_or_default()
}

/// Reads the first messages of a connection and serves what they ask for.
fn open(mut stream: TcpStream, registered: &Registered, full: bool) -> io::Result<()> {
    let mut inbox = BytesMut::new();
    let mut out = Outbox::default();
    let (minor, given) = loop {
        match frame::opening(&mut inbox) {
            Ok(Some(Opening::Encryption)) => stream.write_all(b"N")?,
            Ok(Some(Opening::Cancel { process, key })) => {
                registered.shared.cancel(process, key);
                return Ok(());
            }
            Ok(Some(Opening::Startup { minor, settings })) => break (minor, settings),
            Ok(None) => {
                let mut chunk = [0; 1024];
                let length = stream.read(&mut chunk)?;
                if length == 0 {
                    return Ok(());
                }
                inbox.extend_from_slice(&chunk[..length]);
            }
            Err(refusal) => {
                out.refused(&refusal);
                return stream.write_all(&out.0);
            }
        }
    };
    let admitted = if full {
        Err(Refusal::fatal("53300", "sorry, too many clients already"))
    } else {
        admit(&given, registered)
    };
    let (client, connection) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => {
            out.refused(&refusal);
            return stream.write_all(&out.0);
        }
    };
    stream.set_read_timeout(None)?;
    let mut key = 0;
    if let Some(entry) = registered
        .shared
        .sessions
        .lock()
        .get_mut(&registered.process)
    {
        entry.interrupt = Some(connection.get_interrupt_handle());
        key = entry.key;
    }
    let opened = Opened {
        minor,
        unknown: given
            .iter()
            .filter(|(name, _)| name.starts_with("_pq_."))
            .map(|(name, _)| name.clone())
            .collect(),
    };
    let database = Arc::clone(&registered.shared.database);
    let settings = settings(&given, &client);
    Session::new(stream, inbox, connection, database, settings).serve(&client, key, &opened)
}

/// The settings of a session, as its client gave them.
fn settings(given: &[(String, String)], client: &Client) -> BTreeMap<String, String> {
    let mut settings: BTreeMap<String, String> = SETTINGS
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    settings.insert("session_authorization".to_owned(), client.user.clone());
    for name in ["application_name", "TimeZone", "DateStyle"] {
        let own = given.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        if let Some((_, value)) = own {
            settings.insert(name.to_owned(), value.clone());
        }
    }
    settings
}

fn admit(
    given: &[(String, String)],
    registered: &Registered,
) -> Result<(Client, rusqlite::Connection), Refusal> {
    let named = |name: &str| {
        let found = given.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.clone())
    };
    let user = named("user").ok_or_else(|| {
        Refusal::fatal(
            "28000",
            "no PostgreSQL user name specified in startup packet",
        )
    })?;
    let client = Client {
        database: named("database").unwrap_or_else(|| user.clone()),
        user,
        process: registered.process,
    };
    let connection = registered.shared.database.connect(&client);
    let connection = connection.map_err(|refusal| Refusal {
        fatal: true,
        ..refusal
    })?;
    Ok((client, connection))
}

impl Shared {
    /// Breaks off what a session does, if the key is its own.
    fn cancel(&self, process: i32, key: i32) {
        let sessions = self.sessions.lock();
        let entry = sessions.get(&process).filter(|entry| entry.key == key);
        if let Some(interrupt) = entry.and_then(|entry| entry.interrupt.as_ref()) {
            interrupt.interrupt();
        }
    }
}

#[cfg(test)]
mod tests;
