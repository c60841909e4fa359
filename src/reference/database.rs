//! A PostgreSQL client for the reference programs: a pool of `deadpool-postgres`, one statement at
//! a time, every wait bounded. It tries nothing again: that is for each system to decide.
//!
//! Statements are sent with the types of their values instead of being prepared first: one round
//! trip each, and nothing on the server that a new connection would miss.

use super::{Refusal, web::Patience};
use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use std::fmt;
use tokio::time;
use tokio_postgres::{
    Config, NoTls, Row,
    types::{ToSql, Type},
};

/// A value that is bound to a statement.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// `TEXT`.
    Text(&'a str),
    /// `BIGINT`.
    Number(&'a i64),
}

/// Why a statement came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No connection, neither a new one nor one from the pool, or not in time.
    NoConnection(String),
    /// No whole answer in time; whether the statement was carried out is unknown.
    NoAnswer,
    /// The connection broke off, or the answer was not understood; unknown as well.
    Broken(String),
    /// The database answered an error.
    Refused {
        /// Its SQLSTATE.
        code: String,
        /// What it said.
        message: String,
    },
}

impl Trouble {
    /// The SQLSTATE, where the database answered.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConnection(why) => write!(f, "no connection: {why}"),
            Self::NoAnswer => f.write_str("no answer in time"),
            Self::Broken(why) => write!(f, "broken off: {why}"),
            Self::Refused { code, message } => write!(f, "{code} {message}"),
        }
    }
}

/// A database and the connections to it.
#[derive(Debug)]
pub(super) struct Database {
    pool: Pool,
    patience: Patience,
}

impl Database {
    /// A database at a URL like `postgres://app@127.0.0.1:5432/app`, with at most so many
    /// connections. `patience.connect` bounds the wait for one, `patience.answer` a statement.
    ///
    /// # Errors
    /// A URL that is none.
    pub(super) fn new(url: &str, connections: usize, patience: Patience) -> Result<Self, Refusal> {
        let wrong = |why: &dyn fmt::Display| Refusal::Usage(format!("`{url}`: {why}"));
        let config: Config = url.parse().map_err(|error| wrong(&error))?;
        let fast = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let pool = Pool::builder(Manager::from_config(config, NoTls, fast))
            .max_size(connections)
            .wait_timeout(Some(patience.connect))
            .create_timeout(Some(patience.connect))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| wrong(&error))?;
        Ok(Self { pool, patience })
    }

    /// The rows that a statement yields.
    pub(super) async fn query(
        &self,
        statement: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, Trouble> {
        let connection = self.connection().await?;
        let bound = bound(values);
        let asked = connection.query_typed(statement, &bound);
        let answer = time::timeout(self.patience.answer, asked).await;
        self.settle(connection, answer)
    }

    /// How many rows a statement changed.
    pub(super) async fn execute(
        &self,
        statement: &str,
        values: &[Value<'_>],
    ) -> Result<u64, Trouble> {
        let connection = self.connection().await?;
        let bound = bound(values);
        let asked = connection.execute_typed(statement, &bound);
        let answer = time::timeout(self.patience.answer, asked).await;
        self.settle(connection, answer)
    }

    async fn connection(&self) -> Result<Object, Trouble> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => match trouble(&error) {
                refused @ Trouble::Refused { .. } => refused,
                other => Trouble::NoConnection(other.to_string()),
            },
            other => Trouble::NoConnection(other.to_string()),
        })
    }

    /// Gives the connection back to the pool, unless it may be of no more use: the answer that
    /// did not come in time would otherwise be waited for by the next statement.
    fn settle<T>(
        &self,
        connection: Object,
        answer: Result<Result<T, tokio_postgres::Error>, time::error::Elapsed>,
    ) -> Result<T, Trouble> {
        let failed = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if is_plain(&error) => return Err(trouble(&error)),
            Ok(Err(error)) => trouble(&error),
            Err(_) => Trouble::NoAnswer,
        };
        drop(Object::take(connection));
        Err(failed)
    }
}

fn bound<'a>(values: &'a [Value<'a>]) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    let bind = |value: &'a Value<'a>| match value {
        Value::Text(text) => (text as &(dyn ToSql + Sync), Type::TEXT),
        Value::Number(number) => (*number as &(dyn ToSql + Sync), Type::INT8),
    };
    values.iter().map(bind).collect()
}

/// Whether the session goes on after an error: FATAL and PANIC end it.
fn is_plain(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|error| error.severity() == "ERROR")
}

fn trouble(error: &tokio_postgres::Error) -> Trouble {
    match error.as_db_error() {
        Some(refused) => Trouble::Refused {
            code: refused.code().code().to_owned(),
            message: refused.message().to_owned(),
        },
        None => Trouble::Broken(error.to_string()),
    }
}

/// A column of a row.
pub(super) fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    index: usize,
) -> Result<T, Trouble> {
    row.try_get(index)
        .map_err(|error| Trouble::Broken(error.to_string()))
}
