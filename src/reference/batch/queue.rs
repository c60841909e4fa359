//! The durable queue: a database of its own, which the incident did not touch.
//!
//! Work is accepted once its row is in. The row stays and says what became of it.

use super::{CAMPAIGN_LIVES, Class, DATABASE, clock::Moment};
use crate::{
    reference::{
        Refusal, Variant,
        database::{Database, Trouble, Value, column},
    },
    seed::Seed,
};
use parking_lot::Mutex;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::time::Duration;
use tokio::time;
use tokio_postgres::Row;

/// The most connections of one program to the queue.
const CONNECTIONS: usize = 8;

/// How often a row is tried to be put in before the caller is refused.
const PUT_TRIES: u32 = 3;

/// The pause between two of these tries.
const PUT_PAUSE: Duration = Duration::from_millis(20);

/// The most dropped work that is listed, oldest first.
const LISTED_MAX: i64 = 10_000;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS work (
    receipt TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    class TEXT NOT NULL,
    subject TEXT NOT NULL,
    accepted BIGINT NOT NULL,
    due BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    state TEXT NOT NULL
)";

const INDEXES: [&str; 2] = [
    "CREATE INDEX IF NOT EXISTS work_due ON work (state, kind, accepted)",
    "CREATE INDEX IF NOT EXISTS work_id ON work (id)",
];

/// What is to be done with a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message is to be sent.
    Message,
    /// A webhook is to be called for a message that was sent.
    Webhook,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Webhook => "webhook",
        }
    }
}

/// A piece of work in the queue.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// The key of its row.
    pub receipt: String,
    /// The customer's id of it.
    pub id: String,
    pub class: Class,
    /// The profile or segment.
    pub subject: String,
    pub accepted: Moment,
    /// How often its own rows could not be read.
    pub failures: i64,
}

/// Where an item that cannot be processed waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// With the others.
    InLine,
    /// Out of their way.
    Parked,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    database: Database,
    variant: Variant,
    random: Mutex<ChaCha8Rng>,
}

impl Queue {
    pub(super) fn new(url: &str, variant: Variant) -> Result<Self, Refusal> {
        Ok(Self {
            database: Database::new(url, CONNECTIONS, DATABASE)?,
            variant,
            random: Mutex::new(Seed::fresh().stream(&["reference", "receipts"])),
        })
    }

    /// Makes the table and its indexes if there are none.
    pub(super) async fn prepare(&self) -> Result<(), Trouble> {
        self.database.execute(TABLE, &[]).await?;
        for index in INDEXES {
            self.database.execute(index, &[]).await?;
        }
        Ok(())
    }

    /// Takes a piece of work in, or says why not. A try whose answer did not come may have put
    /// the row in all the same: what a second row means is up to [`Queue::receipt`].
    pub(super) async fn put(
        &self,
        kind: Kind,
        class: Class,
        id: &str,
        subject: &str,
    ) -> Result<(), Trouble> {
        let mut failed = 1;
        loop {
            match self.insert(kind, class, id, subject).await {
                Err(trouble) if failed < PUT_TRIES => {
                    eprintln!("{} {id} is put in once more: {trouble}", class.name());
                    time::sleep(PUT_PAUSE).await;
                    failed += 1;
                }
                other => return other,
            }
        }
    }

    async fn insert(
        &self,
        kind: Kind,
        class: Class,
        id: &str,
        subject: &str,
    ) -> Result<(), Trouble> {
        let receipt = self.receipt(kind, class, id);
        let now = Moment::now();
        let statement = "INSERT INTO work \
             (receipt, kind, id, class, subject, accepted, due, failures, state) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 'waiting') ON CONFLICT (receipt) DO NOTHING";
        let values = [
            Value::Text(&receipt),
            Value::Text(kind.name()),
            Value::Text(id),
            Value::Text(class.name()),
            Value::Text(subject),
            Value::Number(&now.0),
            Value::Number(&now.0),
        ];
        self.database.execute(statement, &values).await.map(drop)
    }

    /// The key of a row. *As it was*: a number of the queue's own for every try, so that a try whose
    /// answer was lost leaves a second row. *Remedied*: the customer's own id is the key.
    fn receipt(&self, kind: Kind, class: Class, id: &str) -> String {
        match self.variant {
            Variant::AsItWas => format!("{:016x}", self.random.lock().next_u64()),
            Variant::Remedied => format!("{}/{}/{id}", kind.name(), class.name()),
        }
    }

    /// What waits, the longest first.
    pub(super) async fn oldest(&self, kind: Kind, limit: i64) -> Result<Vec<Item>, Trouble> {
        self.fresh_first(kind, Moment(i64::MAX), limit).await
    }

    /// What waits and is due: first what was accepted after `fresh`, the newest first, so that
    /// what has become late keeps nothing waiting; then the rest, the longest waiting first.
    pub(super) async fn fresh_first(
        &self,
        kind: Kind,
        fresh: Moment,
        limit: i64,
    ) -> Result<Vec<Item>, Trouble> {
        let statement = "SELECT receipt, id, class, subject, accepted, failures FROM work \
             WHERE state IN ('waiting', 'parked') AND kind = $1 AND due <= $2 \
             ORDER BY CASE WHEN accepted > $3 THEN -accepted ELSE accepted END LIMIT $4";
        let now = Moment::now();
        let values = [
            Value::Text(kind.name()),
            Value::Number(&now.0),
            Value::Number(&fresh.0),
            Value::Number(&limit),
        ];
        let rows = self.database.query(statement, &values).await?;
        rows.iter().map(item).collect()
    }

    /// Campaigns whose time is over and that nobody has sent.
    pub(super) async fn lapsed(&self, limit: i64) -> Result<Vec<Item>, Trouble> {
        let statement = "SELECT receipt, id, class, subject, accepted, failures FROM work \
             WHERE state IN ('waiting', 'parked') AND class = 'campaign' AND kind = 'message' \
             AND accepted < $1 ORDER BY accepted LIMIT $2";
        let before = Moment::now().before(CAMPAIGN_LIVES);
        let values = [Value::Number(&before.0), Value::Number(&limit)];
        let rows = self.database.query(statement, &values).await?;
        rows.iter().map(item).collect()
    }

    /// It was sent.
    pub(super) async fn sent(&self, item: &Item) -> Result<(), Trouble> {
        self.ended(item, "sent").await
    }

    /// It was too late and is not sent.
    pub(super) async fn dropped(&self, item: &Item) -> Result<(), Trouble> {
        self.ended(item, "dropped").await
    }

    async fn ended(&self, item: &Item, state: &str) -> Result<(), Trouble> {
        let statement = "UPDATE work SET state = $2 WHERE receipt = $1";
        let values = [Value::Text(&item.receipt), Value::Text(state)];
        self.database.execute(statement, &values).await.map(drop)
    }

    /// It is gone, without a trace.
    pub(super) async fn forget(&self, item: &Item) -> Result<(), Trouble> {
        let statement = "DELETE FROM work WHERE receipt = $1";
        let values = [Value::Text(&item.receipt)];
        self.database.execute(statement, &values).await.map(drop)
    }

    /// It is looked at again after a while; `failures` are told.
    pub(super) async fn later(
        &self,
        item: &Item,
        failures: i64,
        waits: Waits,
        pause: Duration,
    ) -> Result<(), Trouble> {
        let statement = "UPDATE work SET state = $2, failures = $3, due = $4 WHERE receipt = $1";
        let state = match waits {
            Waits::InLine => "waiting",
            Waits::Parked => "parked",
        };
        let due = Moment::now().after(pause);
        let values = [
            Value::Text(&item.receipt),
            Value::Text(state),
            Value::Number(&failures),
            Value::Number(&due.0),
        ];
        self.database.execute(statement, &values).await.map(drop)
    }

    /// What became of the messages with this id; as it was, there may be several.
    pub(super) async fn states(&self, class: Class, id: &str) -> Result<Vec<String>, Trouble> {
        let statement = "SELECT state FROM work WHERE id = $1 AND class = $2 AND kind = 'message'";
        let values = [Value::Text(id), Value::Text(class.name())];
        let rows = self.database.query(statement, &values).await?;
        rows.iter().map(|row| column(row, 0)).collect()
    }

    /// How many pieces of work wait, parked ones included.
    pub(super) async fn waiting(&self) -> Result<i64, Trouble> {
        let statement = "SELECT COUNT(*) FROM work WHERE state IN ('waiting', 'parked')";
        let rows = self.database.query(statement, &[]).await?;
        rows.first().map_or(Ok(0), |row| column(row, 0))
    }

    /// How many there are of what was dropped.
    pub(super) async fn dropped_count(&self) -> Result<i64, Trouble> {
        let statement = "SELECT COUNT(*) FROM work WHERE state = 'dropped'";
        let rows = self.database.query(statement, &[]).await?;
        rows.first().map_or(Ok(0), |row| column(row, 0))
    }

    /// The ids of what was dropped.
    pub(super) async fn all_dropped(&self) -> Result<Vec<String>, Trouble> {
        let statement = "SELECT id FROM work WHERE state = 'dropped' ORDER BY accepted LIMIT $1";
        let values = [Value::Number(&LISTED_MAX)];
        let rows = self.database.query(statement, &values).await?;
        rows.iter().map(|row| column(row, 0)).collect()
    }
}

fn item(row: &Row) -> Result<Item, Trouble> {
    let class: &str = column(row, 2)?;
    Ok(Item {
        receipt: column(row, 0)?,
        id: column(row, 1)?,
        class: Class::of(class)
            .ok_or_else(|| Trouble::Broken(format!("no class is called `{class}`")))?,
        subject: column(row, 3)?,
        accepted: Moment(column(row, 4)?),
        failures: column(row, 5)?,
    })
}
