//! One client's session: its transaction, its prepared statements and portals.
//!
//! A session has a thread of its own, as PostgreSQL's has a process: SQLite blocks, and so may the
//! session. Transactions are read committed: every statement sees what was committed when it
//! began. All that is sent between two `Sync`s, or in one simple query, is one transaction where
//! no `BEGIN` says otherwise. After an error a transaction takes nothing but its end.

use super::{
    database::{Client, Database, WriteLock},
    frame::{self, Bind, Outbox, Request, Target},
    kept::Kept,
    refusal::Refusal,
    sql,
    statement::{Column, Deed, Statement, understand},
    value,
};
use bytes::{Bytes, BytesMut};
use postgres_types::Type;
use rusqlite::{Connection, types::Value};
use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

/// The most settings of a session.
const SETTINGS_MAX: usize = 10_000;

/// The most bytes of one result; PostgreSQL would go on, this server holds it in memory.
const RESULT_MAX: usize = 64 * 1024 * 1024;

/// Bytes that wait for a flush; more are sent at once.
const OUTBOX_MAX: usize = 64 * 1024;

/// How long a statement waits to write unless `lock_timeout` says otherwise.
const LOCK_WITHIN: Duration = Duration::from_secs(30);

/// The transaction that a session is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// None: the next statement begins one that ends by itself.
    Idle,
    /// One that ends with the query or at the next `Sync`.
    Implicit,
    /// One that somebody has begun.
    Explicit,
    /// One that failed and waits for its end.
    Failed,
}

/// A statement with its parameters.
#[derive(Debug)]
struct Portal {
    statement: Arc<Statement>,
    parameters: Vec<Value>,
    formats: Vec<i16>,
    /// The rows that are still to be fetched, once it was executed.
    rest: Option<VecDeque<BytesMut>>,
}

/// What a statement gave.
struct Outcome {
    rows: VecDeque<BytesMut>,
    tag: String,
}

/// One client's session.
pub(super) struct Session {
    stream: TcpStream,
    inbox: BytesMut,
    out: Outbox,
    connection: Connection,
    database: Arc<Database>,
    block: Block,
    /// Held while SQLite is in a transaction.
    writing: Option<WriteLock>,
    /// How many savepoints are set.
    savepoints: usize,
    statements: Kept<Arc<Statement>>,
    portals: Kept<Portal>,
    settings: BTreeMap<String, String>,
    lock_within: Duration,
    /// After an error everything is skipped until `Sync`.
    skipping: bool,
}

impl Session {
    /// A session that was let in.
    pub(super) fn new(
        stream: TcpStream,
        inbox: BytesMut,
        connection: Connection,
        database: Arc<Database>,
        settings: BTreeMap<String, String>,
    ) -> Self {
        Self {
            stream,
            inbox,
            out: Outbox::default(),
            connection,
            database,
            block: Block::Idle,
            writing: None,
            savepoints: 0,
            statements: Kept::new("prepared statements"),
            portals: Kept::new("portals"),
            settings,
            lock_within: LOCK_WITHIN,
            skipping: false,
        }
    }

    /// Greets the client and serves it until it leaves.
    pub(super) fn serve(&mut self, client: &Client, key: i32, options: &Opened) -> io::Result<()> {
        self.out.authenticated();
        if options.minor > 0 {
            let unknown: Vec<&str> = options.unknown.iter().map(String::as_str).collect();
            self.out.negotiated(&unknown);
        }
        for (name, value) in &self.settings {
            self.out.setting(name, value);
        }
        self.out.cancel_key(client.process, key);
        self.ready();
        self.flush()?;
        let served = self.serve_requests();
        // Whatever was not committed is not.
        self.roll_back();
        served
    }

    fn serve_requests(&mut self) -> io::Result<()> {
        loop {
            let request = match frame::request(&mut self.inbox) {
                Ok(Some(request)) => request,
                Ok(None) => {
                    if !self.receive()? {
                        return Ok(());
                    }
                    continue;
                }
                Err(refusal) => {
                    self.out.refused(&refusal);
                    return self.flush();
                }
            };
            if request == Request::Terminate {
                return Ok(());
            }
            self.take(request)?;
            if self.out.0.len() > OUTBOX_MAX {
                self.flush()?;
            }
        }
    }

    /// Reads more; false when the client has left.
    fn receive(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 16 * 1024];
        let length = self.stream.read(&mut chunk)?;
        self.inbox.extend_from_slice(&chunk[..length]);
        Ok(length > 0)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.out.0)?;
        self.out.0.clear();
        Ok(())
    }

    fn take(&mut self, request: Request) -> io::Result<()> {
        match request {
            Request::Sync => {
                self.skipping = false;
                self.end_implicit();
                self.ready();
                self.flush()
            }
            Request::Query(sql) if !self.skipping => {
                if let Err(refusal) = self.query(&sql) {
                    self.fail(&refusal);
                }
                self.end_implicit();
                self.ready();
                self.flush()
            }
            Request::Flush => self.flush(),
            _ if self.skipping => Ok(()),
            request => {
                if let Err(refusal) = self.extended(request) {
                    self.fail(&refusal);
                    self.skipping = true;
                }
                Ok(())
            }
        }
    }

    fn ready(&mut self) {
        self.out.ready(match self.block {
            Block::Idle | Block::Implicit => b'I',
            Block::Explicit => b'T',
            Block::Failed => b'E',
        });
    }

    /// Ends a transaction that nobody began.
    fn end_implicit(&mut self) {
        if self.block != Block::Implicit {
            return;
        }
        if let Err(refusal) = self.commit() {
            self.fail(&refusal);
        }
    }

    /// Says what went wrong, and fails the transaction.
    fn fail(&mut self, refusal: &Refusal) {
        self.out.refused(refusal);
        match self.block {
            Block::Explicit => {
                // To a savepoint one may go back; nothing else is of use any more.
                if self.savepoints == 0 || self.connection.is_autocommit() {
                    self.roll_back();
                }
                self.block = Block::Failed;
            }
            Block::Implicit => self.roll_back(),
            Block::Idle | Block::Failed => {}
        }
    }

    fn roll_back(&mut self) {
        if !self.connection.is_autocommit() {
            // It fails only where SQLite has rolled back by itself.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        self.writing = None;
        self.savepoints = 0;
        self.block = Block::Idle;
        self.portals.clear();
    }

    fn commit(&mut self) -> Result<(), Refusal> {
        if self.writing.is_some() {
            self.connection.execute_batch("COMMIT")?;
        }
        self.writing = None;
        self.savepoints = 0;
        self.block = Block::Idle;
        self.portals.clear();
        Ok(())
    }

    /// Takes the write lock and begins SQLite's transaction.
    fn begin_writing(&mut self) -> Result<(), Refusal> {
        if self.writing.is_none() {
            let lock = self.database.write_lock(self.lock_within)?;
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
            self.writing = Some(lock);
        }
        Ok(())
    }

    /// All statements of a simple query.
    fn query(&mut self, sql: &str) -> Result<(), Refusal> {
        let statements = sql::statements(sql)?;
        if statements.is_empty() {
            self.out.bare(b'I');
        }
        for tokens in statements {
            let statement = self.understood(tokens, &[])?;
            if !statement.parameters.is_empty() {
                return Err(Refusal::new("42P02", "there is no parameter $1"));
            }
            let outcome = self.execute(&statement, &[], &[])?;
            if !statement.columns.is_empty() {
                self.out.columns(&statement.columns, |_| false);
            }
            for row in &outcome.rows {
                self.row(&statement.columns, row);
            }
            self.out.complete(&outcome.tag);
        }
        Ok(())
    }

    fn row(&mut self, columns: &[Column], row: &BytesMut) {
        let fields = u16::try_from(columns.len()).unwrap_or(u16::MAX);
        self.out.row(fields, row);
    }

    fn understood(
        &mut self,
        tokens: Vec<sql::Token>,
        given: &[Option<Type>],
    ) -> Result<Statement, Refusal> {
        let failed = self.block == Block::Failed;
        let statement = match understand(tokens, given, &self.connection) {
            // What the failed transaction would have made is not there.
            Err(_) if failed => return Err(aborted()),
            other => other?,
        };
        if failed && !statement.ends_failure() {
            return Err(aborted());
        }
        Ok(statement)
    }

    fn extended(&mut self, request: Request) -> Result<(), Refusal> {
        match request {
            Request::Parse { name, sql, types } => self.parse(name, &sql, &types),
            Request::Bind(bind) => self.bind(bind),
            Request::Describe(Target::Statement, name) => self.describe_statement(&name),
            Request::Describe(Target::Portal, name) => self.describe_portal(&name),
            Request::Execute { portal, rows_max } => self.execute_portal(&portal, rows_max),
            Request::Close(Target::Statement, name) => {
                self.statements.remove(&name);
                self.out.bare(b'3');
                Ok(())
            }
            Request::Close(Target::Portal, name) => {
                self.portals.remove(&name);
                self.out.bare(b'3');
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn parse(&mut self, name: String, sql: &str, types: &[Option<Type>]) -> Result<(), Refusal> {
        let mut statements = sql::statements(sql)?;
        if statements.len() > 1 {
            return Err(Refusal::new(
                "42601",
                "cannot insert multiple commands into a prepared statement",
            ));
        }
        if !name.is_empty() && self.statements.get(&name).is_some() {
            return Err(Refusal::new(
                "42P05",
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        let statement = match statements.pop() {
            Some(tokens) => self.understood(tokens, types)?,
            None => Statement::empty(),
        };
        self.statements
            .insert(name, sql.len(), Arc::new(statement))?;
        self.out.bare(b'1');
        Ok(())
    }

    fn statement(&self, name: &str) -> Result<Arc<Statement>, Refusal> {
        self.statements.get(name).cloned().ok_or_else(|| {
            Refusal::new(
                "26000",
                format!("prepared statement \"{name}\" does not exist"),
            )
        })
    }

    fn bind(&mut self, bind: Bind) -> Result<(), Refusal> {
        let statement = self.statement(&bind.statement)?;
        if self.block == Block::Failed && !statement.ends_failure() {
            return Err(aborted());
        }
        let (given, wanted) = (bind.parameters.len(), statement.parameters.len());
        if given != wanted {
            return Err(Refusal::new(
                "08P01",
                format!(
                    "bind message supplies {given} parameters, but prepared statement \"{}\" requires {wanted}",
                    bind.statement
                ),
            ));
        }
        let bytes = bind.parameters.iter().flatten().map(|value| value.len());
        let bytes = bytes.sum();
        let parameters = bind.parameters.iter().zip(&statement.parameters);
        let parameters = parameters.enumerate().map(|(at, (bytes, kind))| {
            parameter(bytes.as_ref(), kind, is_binary(&bind.parameter_formats, at))
        });
        let parameters = parameters.collect::<Result<_, _>>()?;
        let portal = Portal {
            statement,
            parameters,
            formats: bind.result_formats,
            rest: None,
        };
        self.portals.insert(bind.portal, bytes, portal)?;
        self.out.bare(b'2');
        Ok(())
    }

    fn describe_statement(&mut self, name: &str) -> Result<(), Refusal> {
        let statement = self.statement(name)?;
        self.out.parameters(&statement.parameters);
        if statement.columns.is_empty() {
            self.out.bare(b'n');
        } else {
            self.out.columns(&statement.columns, |_| false);
        }
        Ok(())
    }

    fn portal(&mut self, name: &str) -> Result<&mut Portal, Refusal> {
        self.portals
            .get_mut(name)
            .ok_or_else(|| Refusal::new("34000", format!("portal \"{name}\" does not exist")))
    }

    fn describe_portal(&mut self, name: &str) -> Result<(), Refusal> {
        let portal = self.portal(name)?;
        let (statement, formats) = (Arc::clone(&portal.statement), portal.formats.clone());
        if statement.columns.is_empty() {
            self.out.bare(b'n');
        } else {
            let binary = |at: usize| is_binary(&formats, at);
            self.out.columns(&statement.columns, binary);
        }
        Ok(())
    }

    fn execute_portal(&mut self, name: &str, rows_max: usize) -> Result<(), Refusal> {
        let portal = self.portal(name)?;
        let statement = Arc::clone(&portal.statement);
        let fetched = portal.rest.take();
        let formats = portal.formats.clone();
        let parameters = std::mem::take(&mut portal.parameters);
        if statement.is_empty() {
            self.out.bare(b'I');
            return Ok(());
        }
        let (mut rows, tag) = match fetched {
            Some(rest) => {
                let tag = format!("{} {}", statement.tag, rest.len());
                (rest, tag)
            }
            None => {
                let outcome = self.execute(&statement, &parameters, &formats)?;
                (outcome.rows, outcome.tag)
            }
        };
        let all = rows_max == 0 || rows.len() <= rows_max;
        let rest = if all {
            VecDeque::new()
        } else {
            rows.split_off(rows_max)
        };
        self.portals
            .resize(name, rest.iter().map(BytesMut::len).sum())?;
        for row in &rows {
            self.row(&statement.columns, row);
        }
        if all {
            self.out.complete(&tag);
        } else {
            self.out.bare(b's');
        }
        if let Ok(portal) = self.portal(name) {
            portal.rest = Some(rest);
        }
        Ok(())
    }

    fn execute(
        &mut self,
        statement: &Statement,
        parameters: &[Value],
        formats: &[i16],
    ) -> Result<Outcome, Refusal> {
        if self.block == Block::Failed && !statement.ends_failure() {
            return Err(aborted());
        }
        if self.block == Block::Idle {
            self.block = Block::Implicit;
        }
        let mut rows = VecDeque::new();
        let mut tag = statement.tag.clone();
        match &statement.deed {
            Deed::Run { writes } => {
                if *writes {
                    self.begin_writing()?;
                }
                rows = self.run(statement, parameters, formats)?;
                tag = self.count(&tag, rows.len());
            }
            Deed::Begin => self.block = Block::Explicit,
            Deed::Commit if self.block == Block::Failed => {
                self.roll_back();
                "ROLLBACK".clone_into(&mut tag);
            }
            Deed::Commit => self.commit()?,
            Deed::Rollback => self.roll_back(),
            Deed::Savepoint(_) | Deed::Release(_) | Deed::RollbackTo(_)
                if self.block == Block::Implicit =>
            {
                return Err(Refusal::new(
                    "25P01",
                    format!("{} can only be used in transaction blocks", statement.tag),
                ));
            }
            Deed::Savepoint(name) => {
                self.begin_writing()?;
                self.savepoint("SAVEPOINT", name)?;
                self.savepoints += 1;
            }
            Deed::Release(name) => self.savepoint("RELEASE", name)?,
            Deed::RollbackTo(name) => {
                if self.connection.is_autocommit() {
                    return Err(Refusal::new(
                        "3B001",
                        format!("savepoint \"{name}\" does not exist"),
                    ));
                }
                self.savepoint("ROLLBACK TO", name)?;
                self.block = Block::Explicit;
            }
            Deed::Set(name, value) => self.set(name, value),
            Deed::Show(name) => {
                let shown = self.show(name)?;
                let mut row = BytesMut::new();
                value::write((&Value::Text(shown)).into(), &Type::TEXT, false, &mut row)?;
                rows.push_back(row);
            }
            Deed::Deallocate(Some(name)) => {
                self.statement(name)?;
                self.statements.remove(name);
            }
            Deed::Deallocate(None) => self.statements.clear(),
            Deed::Nothing => {}
        }
        Ok(Outcome { rows, tag })
    }

    fn savepoint(&self, what: &str, name: &str) -> Result<(), Refusal> {
        let name = name.replace('"', "\"\"");
        Ok(self
            .connection
            .execute_batch(&format!("{what} \"{name}\""))?)
    }

    fn set(&mut self, name: &str, text: &str) {
        if name == "lock_timeout" {
            self.lock_within = match milliseconds(text) {
                Some(0) | None => LOCK_WITHIN,
                Some(milliseconds) => Duration::from_millis(milliseconds).min(LOCK_WITHIN),
            };
        }
        if self.settings.len() < SETTINGS_MAX {
            let known = self
                .settings
                .keys()
                .find(|known| known.eq_ignore_ascii_case(name));
            let name = known.cloned().unwrap_or_else(|| name.to_owned());
            self.settings.insert(name, text.to_owned());
        }
    }

    fn show(&self, name: &str) -> Result<String, Refusal> {
        let known = self
            .settings
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        if let Some((_, text)) = known {
            return Ok(text.clone());
        }
        let fixed = super::SHOWN
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        fixed.map(|(_, text)| (*text).to_owned()).ok_or_else(|| {
            Refusal::new(
                "42704",
                format!("unrecognized configuration parameter \"{name}\""),
            )
        })
    }

    fn run(
        &self,
        statement: &Statement,
        parameters: &[Value],
        formats: &[i16],
    ) -> Result<VecDeque<BytesMut>, Refusal> {
        let mut prepared = self.connection.prepare_cached(&statement.sql)?;
        for (at, parameter) in parameters.iter().enumerate() {
            prepared.raw_bind_parameter(at + 1, parameter)?;
        }
        let count = prepared.column_count().min(statement.columns.len());
        let mut rows = VecDeque::new();
        let mut size = 0;
        let mut stepping = prepared.raw_query();
        while let Some(row) = stepping.next()? {
            let mut fields = BytesMut::new();
            for at in 0..count {
                let binary = is_binary(formats, at);
                value::write(
                    row.get_ref(at)?,
                    &statement.columns[at].kind,
                    binary,
                    &mut fields,
                )?;
            }
            size += fields.len();
            if size > RESULT_MAX {
                return Err(Refusal::new(
                    "54000",
                    format!("a result of more than {RESULT_MAX} bytes"),
                ));
            }
            rows.push_back(fields);
        }
        Ok(rows)
    }

    /// The whole command tag, with how many rows were touched.
    fn count(&self, tag: &str, rows: usize) -> String {
        match tag {
            "SELECT" => format!("SELECT {rows}"),
            "INSERT" => format!("INSERT 0 {}", self.connection.changes()),
            "UPDATE" | "DELETE" => format!("{tag} {}", self.connection.changes()),
            other => other.to_owned(),
        }
    }
}

/// What a client asked for that this server does not know.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// The minor version of the protocol.
    pub minor: u16,
    /// Options of the protocol itself.
    pub unknown: Vec<String>,
}

fn aborted() -> Refusal {
    Refusal::new(
        "25P02",
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}

/// No format: text; one: for all; else one each.
fn is_binary(formats: &[i16], at: usize) -> bool {
    match formats {
        [] => false,
        [one] => *one == 1,
        each => each.get(at) == Some(&1),
    }
}

fn parameter(bytes: Option<&Bytes>, kind: &Type, binary: bool) -> Result<Value, Refusal> {
    let Some(bytes) = bytes else {
        return Ok(Value::Null);
    };
    if binary {
        return value::from_binary(kind, bytes);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Refusal::new("22021", "invalid byte sequence for encoding \"UTF8\""))?;
    value::from_text(kind, text)
}

/// A time as `SET lock_timeout` takes it: milliseconds, or with a unit.
fn milliseconds(text: &str) -> Option<u64> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..split].parse().ok()?;
    match text[split..].trim() {
        "" | "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "min" => number.checked_mul(60_000),
        _ => None,
    }
}

/// Runs a schema before the first client comes: all of it or nothing.
pub(super) fn run_schema(
    database: &Arc<Database>,
    connection: Connection,
    schema: &str,
) -> io::Result<()> {
    let run = || -> Result<(), Refusal> {
        let _lock = database.write_lock(LOCK_WITHIN)?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for tokens in sql::statements(schema)? {
            let statement = understand(tokens, &[], &connection)?;
            if matches!(statement.deed, Deed::Run { .. }) {
                let mut prepared = connection.prepare(&statement.sql)?;
                let mut stepping = prepared.raw_query();
                while stepping.next()?.is_some() {}
            }
        }
        connection.execute_batch("COMMIT")?;
        Ok(())
    };
    run().map_err(super::refused)
}
