//! The core database: profiles, what was sent to them, and where each customer's webhooks go.
//!
//! Every statement has the profile, segment or customer as its first parameter: rows live on the
//! nodes that this key is on.

use super::{Class, DATABASE, clock::Moment};
use crate::reference::{
    Refusal,
    database::{Database, Trouble, Value, column},
};

/// How many profiles there are, `profile-1` and so on.
const PROFILES: u32 = 200;

/// How many segments, `segment-1` and so on; each profile is in one.
const SEGMENTS: u32 = 10;

/// The one customer.
const CUSTOMER: &str = "acme";

const TABLES: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS profiles (
        profile TEXT PRIMARY KEY, segment TEXT NOT NULL, token TEXT NOT NULL, change TEXT
    )",
    "CREATE TABLE IF NOT EXISTS contacts (
        profile TEXT NOT NULL, message TEXT PRIMARY KEY, sent BIGINT NOT NULL
    )",
    "CREATE TABLE IF NOT EXISTS customers (customer TEXT PRIMARY KEY, webhook TEXT NOT NULL)",
];

/// The core database.
#[derive(Debug)]
pub(super) struct Core {
    database: Database,
}

impl Core {
    /// With at most so many connections.
    pub(super) fn new(url: &str, connections: usize) -> Result<Self, Refusal> {
        Ok(Self {
            database: Database::new(url, connections, DATABASE)?,
        })
    }

    /// Makes the tables if there are none, and what is in them from the start.
    pub(super) async fn prepare(&self) -> Result<(), Trouble> {
        for table in TABLES {
            self.database.execute(table, &[]).await?;
        }
        let row = |number: u32| {
            let segment = number % SEGMENTS + 1;
            format!("('profile-{number}', 'segment-{segment}', 'token-{number}')")
        };
        let rows: Vec<String> = (1..=PROFILES).map(row).collect();
        let profiles = format!(
            "INSERT INTO profiles (profile, segment, token) VALUES {} ON CONFLICT DO NOTHING",
            rows.join(", ")
        );
        self.database.execute(&profiles, &[]).await?;
        let customer = "INSERT INTO customers (customer, webhook) \
             VALUES ($1, '/webhooks/acme') ON CONFLICT DO NOTHING";
        let values = [Value::Text(CUSTOMER)];
        self.database.execute(customer, &values).await.map(drop)
    }

    /// The token under which a profile's device is reached; none if there is no such profile.
    pub(super) async fn token(&self, profile: &str) -> Result<Vec<String>, Trouble> {
        let statement = "SELECT token FROM profiles WHERE profile = $1";
        self.texts(statement, profile).await
    }

    /// The tokens of all profiles in a segment.
    pub(super) async fn audience(&self, segment: &str) -> Result<Vec<String>, Trouble> {
        let statement = "SELECT token FROM profiles WHERE segment = $1";
        self.texts(statement, segment).await
    }

    /// Where the customer's webhooks go.
    pub(super) async fn webhook(&self) -> Result<String, Trouble> {
        let statement = "SELECT webhook FROM customers WHERE customer = $1";
        let found = self.texts(statement, CUSTOMER).await?;
        found
            .into_iter()
            .next()
            .ok_or_else(|| Trouble::Broken("no such customer".to_owned()))
    }

    /// Writes down that a message goes to this profile or segment; once, however often it is
    /// told. Without it nothing is sent: it is what keeps people from being written to too often.
    pub(super) async fn note_contact(
        &self,
        subject: &str,
        class: Class,
        id: &str,
    ) -> Result<(), Trouble> {
        let statement = "INSERT INTO contacts (profile, message, sent) VALUES ($1, $2, $3) \
             ON CONFLICT (message) DO NOTHING";
        let message = format!("{}/{id}", class.name());
        let now = Moment::now();
        let values = [
            Value::Text(subject),
            Value::Text(&message),
            Value::Number(&now.0),
        ];
        self.database.execute(statement, &values).await.map(drop)
    }

    /// Changes a profile; false if there is no such profile.
    pub(super) async fn change(&self, profile: &str, change: &str) -> Result<bool, Trouble> {
        let statement = "UPDATE profiles SET change = $2 WHERE profile = $1";
        let values = [Value::Text(profile), Value::Text(change)];
        Ok(self.database.execute(statement, &values).await? > 0)
    }

    async fn texts(&self, statement: &str, key: &str) -> Result<Vec<String>, Trouble> {
        let rows = self.database.query(statement, &[Value::Text(key)]).await?;
        rows.iter().map(|row| column(row, 0)).collect()
    }
}
