//! The client of the shared ledger, with two sets of manners.

use super::record::{Record, TENANTS};
use crate::reference::{
    Refusal,
    database::{Database, Trouble, Value, column},
    web::Patience,
};
use std::time::Duration;

const CREATE: &str = "\
CREATE TABLE IF NOT EXISTS ledger (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, entry TEXT NOT NULL)";

/// A record that an attempt whose answer was lost has left there is written over: its row is
/// changed all the same, so that whoever looks on the wire knows that it is there.
const WRITE: &str = "\
INSERT INTO ledger (id, tenant, entry) VALUES ($1, $2, $3) \
ON CONFLICT (id) DO UPDATE SET entry = excluded.entry";

const READ: &str = "SELECT id FROM ledger WHERE tenant = $1 ORDER BY id LIMIT $2";

/// How many records the web IDE shows at once.
const SHOWN: i64 = 10;

/// Longer than any rehearsal.
const FOR_EVER: Duration = Duration::from_hours(24);

/// How much a client asks of the database, and how long it waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manners {
    /// The most connections.
    connections: usize,
    patience: Patience,
}

impl Manners {
    /// As many connections as there are workers, and all the patience in the world: what a pool
    /// does unless it is told otherwise.
    pub(super) const AS_IT_WAS: Self = Self {
        connections: 32,
        patience: Patience {
            connect: FOR_EVER,
            answer: FOR_EVER,
        },
    };

    /// No more connections than the database can serve well, and an end to every wait.
    pub(super) const REMEDIED: Self = Self {
        connections: 8,
        patience: Patience {
            connect: Duration::from_secs(1),
            answer: Duration::from_secs(3),
        },
    };
}

/// The ledger.
#[derive(Debug)]
pub(super) struct Ledger {
    database: Database,
}

impl Ledger {
    /// # Errors
    /// An address that is no PostgreSQL URL.
    pub(super) fn new(url: &str, manners: Manners) -> Result<Self, Refusal> {
        let database = Database::new(url, manners.connections, manners.patience)?;
        Ok(Self { database })
    }

    /// Makes the table, where it is not there yet.
    pub(super) async fn prepare(&self) -> Result<(), Trouble> {
        self.database.execute(CREATE, &[]).await.map(drop)
    }

    /// Writes a record, as often as it takes.
    pub(super) async fn write(&self, record: &Record) -> Result<(), Trouble> {
        let values = [&record.id, TENANTS[record.tenant], &record.entry].map(Value::Text);
        self.database.execute(WRITE, &values).await.map(drop)
    }

    /// The ids of some of a tenant's records.
    pub(super) async fn read(&self, tenant: usize) -> Result<Vec<String>, Trouble> {
        let values = [Value::Text(TENANTS[tenant]), Value::Number(&SHOWN)];
        let rows = self.database.query(READ, &values).await?;
        rows.iter().map(|row| column(row, 0)).collect()
    }
}

/// Whether the database itself is gone, or may be: it cannot be reached, does not answer, or says
/// that it is shutting down, starting, or has no room for a connection.
pub(super) fn is_gone(trouble: &Trouble) -> bool {
    match trouble.code() {
        Some(code) => code.starts_with("57P") || code == "53300",
        None => true,
    }
}
