//! The database behind the wire: SQLite, one connection of it per client, in a folder that goes
//! when the server does.
//!
//! Not SQLite's own memory databases: in those a transaction that has written stops every reader,
//! which PostgreSQL's never does. A write-ahead log lets readers go on and see what was committed.
//! It is never synced, so that it costs what memory costs. Writers follow one another: a
//! transaction takes the one write lock with its first writing statement, where PostgreSQL would
//! lock the rows it touches.

use super::{
    refusal::{MARK, Refusal, lock_timeout},
    value,
};
use jiff::{Span, Timestamp, tz::TimeZone};
use parking_lot::{Condvar, Mutex};
use postgres_types::Type;
use rusqlite::{
    Connection,
    functions::{Context, FunctionFlags},
    types::{Value, ValueRef},
};
use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The longest that `pg_sleep` sleeps.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// How many prepared statements SQLite keeps for a connection.
const PREPARED_MAX: usize = 64;

/// One database.
#[derive(Debug)]
pub(super) struct Database {
    folder: TempDir,
    writing: Writing,
    /// The last number of every sequence.
    sequences: Arc<Mutex<BTreeMap<String, i64>>>,
}

/// The one write lock.
#[derive(Debug, Default)]
struct Writing {
    taken: Mutex<bool>,
    freed: Condvar,
}

/// The right to write, until it is dropped.
#[derive(Debug)]
pub(super) struct WriteLock(Arc<Database>);

impl Drop for WriteLock {
    fn drop(&mut self) {
        *self.0.writing.taken.lock() = false;
        self.0.writing.freed.notify_one();
    }
}

impl Database {
    /// An empty database.
    pub(super) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            folder: tempfile::Builder::new()
                .prefix("brownout-postgres-")
                .tempdir()?,
            writing: Writing::default(),
            sequences: Arc::default(),
        }))
    }

    /// Where its files are.
    #[cfg(test)]
    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Removes its folder, whoever still works on what was in it: a process that ends does not wait
    /// for the threads that hold it.
    pub(super) fn remove(&self) {
        // It fails where it was removed already, or by somebody who clears up.
        let _ = std::fs::remove_dir_all(self.folder.path());
    }

    /// Waits for the right to write.
    pub(super) fn write_lock(self: &Arc<Self>, within: Duration) -> Result<WriteLock, Refusal> {
        let deadline = Instant::now() + within;
        let mut taken = self.writing.taken.lock();
        while *taken {
            let waited = self.writing.freed.wait_until(&mut taken, deadline);
            if waited.timed_out() && *taken {
                return Err(lock_timeout());
            }
        }
        *taken = true;
        Ok(WriteLock(Arc::clone(self)))
    }

    /// A connection of its own for one client.
    pub(super) fn connect(&self, client: &Client) -> Result<Connection, Refusal> {
        let connection = Connection::open(self.folder.path().join("database"))?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.set_prepared_statement_cache_capacity(PREPARED_MAX);
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "off")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "temp_store", "memory")?;
        connection.pragma_update(None, "case_sensitive_like", true)?;
        self.functions(&connection, client)?;
        Ok(connection)
    }

    fn functions(&self, connection: &Connection, client: &Client) -> rusqlite::Result<()> {
        let plain = FunctionFlags::SQLITE_UTF8;
        let pure = plain | FunctionFlags::SQLITE_DETERMINISTIC;
        connection.create_scalar_function("pg_cast", 2, pure, cast)?;
        connection.create_scalar_function("pg_shift", 3, pure, shift)?;
        connection.create_scalar_function("pg_divisor", 1, pure, divisor)?;
        for name in [
            "now",
            "clock_timestamp",
            "statement_timestamp",
            "transaction_timestamp",
        ] {
            connection.create_scalar_function(name, 0, plain, |_| {
                Ok(value::stored_zoned(Timestamp::now()))
            })?;
        }
        connection.create_scalar_function("pg_today", 0, plain, |_| {
            Ok(Timestamp::now().to_zoned(TimeZone::UTC).date().to_string())
        })?;
        connection
            .create_scalar_function("gen_random_uuid", 0, plain, |_| Ok(value::random_uuid()))?;
        connection.create_scalar_function("pg_sleep", 1, plain, |context| {
            let seconds: f64 = context.get(0)?;
            let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
            std::thread::sleep(time.min(SLEEP_MAX));
            Ok(String::new())
        })?;
        connection
            .create_scalar_function("greatest", -1, pure, |context| extreme(context, true))?;
        connection.create_scalar_function("least", -1, pure, |context| extreme(context, false))?;
        let sequences = Arc::clone(&self.sequences);
        connection.create_scalar_function("nextval", 1, plain, move |context| {
            let name: String = context.get(0)?;
            let mut sequences = sequences.lock();
            let last = sequences.entry(name).or_default();
            *last += 1;
            Ok(*last)
        })?;
        let constants = [
            ("version", super::version()),
            ("current_database", client.database.clone()),
            ("current_schema", "public".to_owned()),
            ("current_user", client.user.clone()),
        ];
        for (name, text) in constants {
            connection.create_scalar_function(name, 0, plain, move |_| Ok(text.clone()))?;
        }
        let process = client.process;
        connection.create_scalar_function("pg_backend_pid", 0, plain, move |_| Ok(process))?;
        connection.create_scalar_function("pg_is_in_recovery", 0, plain, |_| Ok(0))
    }
}

/// Who a connection is for.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub user: String,
    pub database: String,
    pub process: i32,
}

/// A refusal on its way through SQLite.
fn refused(refusal: Refusal) -> rusqlite::Error {
    let text = format!("{MARK}{} {}", refusal.code, refusal.message);
    rusqlite::Error::UserFunctionError(text.into())
}

fn cast(context: &Context<'_>) -> rusqlite::Result<Value> {
    let name: String = context.get(1)?;
    let Some(kind) = value::type_named(&name) else {
        return Err(refused(Refusal::new(
            "42704",
            format!("type \"{name}\" does not exist"),
        )));
    };
    let textual = matches!(kind, Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME);
    Ok(match context.get_raw(0) {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => match kind {
            Type::BOOL => Value::Integer(i64::from(number != 0)),
            #[expect(clippy::cast_precision_loss, reason = "asked for as a float")]
            Type::FLOAT4 | Type::FLOAT8 => Value::Real(number as f64),
            _ if textual => Value::Text(number.to_string()),
            _ => Value::Integer(number),
        },
        ValueRef::Real(number) => match kind {
            #[expect(clippy::cast_possible_truncation, reason = "asked for as an integer")]
            Type::INT2 | Type::INT4 | Type::INT8 => Value::Integer(number.round_ties_even() as i64),
            _ if textual => Value::Text(number.to_string()),
            _ => Value::Real(number),
        },
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        ValueRef::Text(text) => {
            let text = String::from_utf8_lossy(text);
            value::from_text(&kind, &text).map_err(refused)?
        }
    })
}

/// What is divided by, unless it is zero.
fn divisor(context: &Context<'_>) -> rusqlite::Result<Value> {
    let value = Value::try_from(context.get_raw(0))?;
    let is_zero = match &value {
        Value::Integer(number) => *number == 0,
        Value::Real(number) => *number == 0.0,
        Value::Text(text) => text.trim().parse::<f64>().is_ok_and(|number| number == 0.0),
        Value::Null | Value::Blob(_) => false,
    };
    if is_zero {
        return Err(refused(Refusal::new("22012", "division by zero")));
    }
    Ok(value)
}

/// `time ± interval`.
fn shift(context: &Context<'_>) -> rusqlite::Result<Option<String>> {
    let Some(time) = context.get::<Option<String>>(0)? else {
        return Ok(None);
    };
    let (sign, span): (String, String) = (context.get(1)?, context.get(2)?);
    let wrong = |what: &str, text: &str| {
        refused(Refusal::new(
            "22007",
            format!("invalid input syntax for type {what}: \"{text}\""),
        ))
    };
    let at = value::instant(&time).ok_or_else(|| wrong("timestamp with time zone", &time))?;
    let by: Span = span.parse().map_err(|_| wrong("interval", &span))?;
    let by = if sign == "-" { by.negate() } else { by };
    let shifted = at.to_zoned(TimeZone::UTC).checked_add(by);
    let shifted = shifted.map_err(|_| wrong("interval", &span))?;
    Ok(Some(value::stored_zoned(shifted.timestamp())))
}

/// The greatest or least of the arguments that are not null.
fn extreme(context: &Context<'_>, greatest: bool) -> rusqlite::Result<Value> {
    let mut best = Value::Null;
    for at in 0..context.len() {
        let value = Value::try_from(context.get_raw(at))?;
        let better = match (&value, &best) {
            (Value::Null, _) => false,
            (_, Value::Null) => true,
            (Value::Text(value), Value::Text(best)) => (value > best) == greatest,
            (value, best) => (number(value) > number(best)) == greatest,
        };
        if better {
            best = value;
        }
    }
    Ok(best)
}

#[expect(clippy::cast_precision_loss, reason = "for comparison alone")]
fn number(value: &Value) -> f64 {
    match value {
        Value::Integer(number) => *number as f64,
        Value::Real(number) => *number,
        _ => 0.0,
    }
}
