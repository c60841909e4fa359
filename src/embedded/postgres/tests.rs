//! The server as the field's Rust client sees it.

use super::Server;
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_postgres::{
    Client, Error, NoTls, SimpleQueryMessage,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};

const SCHEMA: &str = "
    CREATE TABLE owners (name text PRIMARY KEY);
    CREATE TABLE bots (
        id bigserial PRIMARY KEY,
        name text NOT NULL UNIQUE,
        owner text REFERENCES owners (name),
        live boolean NOT NULL DEFAULT true,
        score double precision,
        size integer CHECK (size > 0),
        created timestamptz NOT NULL DEFAULT now(),
        key uuid,
        data jsonb,
        raw bytea
    );";

fn start(schema: &str) -> Server {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Server::start(listen, Some(schema)).expect("a server")
}

async fn connect(server: &Server) -> Client {
    let config = format!(
        "host=127.0.0.1 port={} user=app dbname=app",
        server.address().port()
    );
    let (client, connection) = tokio_postgres::connect(&config, NoTls)
        .await
        .expect("let in");
    tokio::spawn(connection);
    client
}

fn state(error: &Error) -> &str {
    error.code().map_or("none", |code| code.code())
}

/// What a type's binary format is, for types that the client has no Rust type for.
#[derive(Debug, PartialEq)]
struct Raw(Vec<u8>);

impl ToSql for Raw {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut bytes::BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::UUID | Type::JSONB | Type::TIMESTAMPTZ)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

#[tokio::test]
async fn parameters_and_results_have_the_columns_types() {
    let server = start(SCHEMA);
    let client = connect(&server).await;
    let inserted = client
        .execute(
            "INSERT INTO bots (name, live, score, size) VALUES ($1, $2, $3, $4)",
            &[&"ada", &true, &1.5f64, &7i32],
        )
        .await
        .expect("inserted");
    assert_eq!(inserted, 1);
    let row = client
        .query_one(
            "SELECT id, name, live, score, size, count(*) OVER () AS n FROM bots WHERE id = $1",
            &[&1i64],
        )
        .await
        .expect("found");
    assert_eq!(row.get::<_, i64>("id"), 1);
    assert_eq!(row.get::<_, &str>("name"), "ada");
    assert!(row.get::<_, bool>("live"));
    assert_eq!(row.get::<_, Option<f64>>("score"), Some(1.5));
    assert_eq!(row.get::<_, i32>("size"), 7);
    assert_eq!(row.get::<_, i64>("n"), 1);
    let count = client
        .query_one("SELECT count(*) FROM bots", &[])
        .await
        .expect("counted");
    assert_eq!(count.get::<_, i64>("count"), 1);
}

#[tokio::test]
async fn uuids_times_and_documents_go_in_and_come_out_in_binary() {
    let server = start(SCHEMA);
    let client = connect(&server).await;
    let key = Raw((0..16).collect());
    let data = Raw(b"\x01{\"a\": 1}".to_vec());
    let created = Raw(800_000_000_000_000i64.to_be_bytes().to_vec());
    let row = client
        .query_one(
            "INSERT INTO bots (name, key, data, created, raw) VALUES ($1, $2, $3, $4, $5)
             RETURNING key, data, created, raw, data::text AS document, key::text AS word",
            &[&"ada", &key, &data, &created, &b"\x00\xff".as_slice()],
        )
        .await
        .expect("inserted");
    assert_eq!(row.get::<_, Raw>("key"), key);
    assert_eq!(row.get::<_, Raw>("data"), data);
    assert_eq!(row.get::<_, Raw>("created"), created);
    assert_eq!(row.get::<_, Vec<u8>>("raw"), b"\x00\xff");
    assert_eq!(row.get::<_, &str>("document"), "{\"a\": 1}");
    assert_eq!(
        row.get::<_, &str>("word"),
        "00010203-0405-0607-0809-0a0b0c0d0e0f"
    );
    let found = client
        .query(
            "SELECT 1 FROM bots WHERE key = $1::text::uuid AND data = $2::text::jsonb AND created < now()
             AND created > now() - interval '30 years'",
            &[&"00010203-0405-0607-0809-0A0B0C0D0E0F", &"{\"a\": 1}"],
        )
        .await
        .expect("asked");
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn errors_have_postgresqls_states() {
    let server = start(SCHEMA);
    let client = connect(&server).await;
    client
        .batch_execute("INSERT INTO bots (name) VALUES ('ada')")
        .await
        .expect("inserted");
    let table = [
        ("INSERT INTO bots (name) VALUES ('ada')", "23505"),
        ("INSERT INTO bots (id, name) VALUES (1, 'eve')", "23505"),
        ("INSERT INTO bots (name) VALUES (NULL)", "23502"),
        ("INSERT INTO bots (name, size) VALUES ('eve', 0)", "23514"),
        (
            "INSERT INTO bots (name, owner) VALUES ('eve', 'nobody')",
            "23503",
        ),
        ("SELECT * FROM robots", "42P01"),
        ("SELECT nmae FROM bots", "42703"),
        ("INSERT INTO bots (nmae) VALUES ('x')", "42703"),
        ("SELECT FROM WHERE", "42601"),
        ("FROB", "42601"),
        ("SELECT frob(1)", "42883"),
        ("CREATE TABLE bots (a int)", "42P07"),
        ("SELECT 'x'::bigint", "22P02"),
        ("SELECT 1::frob", "42704"),
        ("SELECT 1 / 0", "22012"),
        ("SELECT 1.0 % 0", "22012"),
        ("UPDATE bots SET score = 1 / (id - id)", "22012"),
        ("COPY bots FROM STDIN", "0A000"),
        ("ATTACH 'x' AS y", "42601"),
        ("PRAGMA user_version", "42601"),
        ("SHOW frob", "42704"),
    ];
    for (sql, expected) in table {
        let simple = client.batch_execute(sql).await.expect_err(sql);
        assert_eq!(state(&simple), expected, "{sql}: {simple:?}");
        let extended = client.query(sql, &[]).await.expect_err(sql);
        assert_eq!(state(&extended), expected, "{sql}: {extended:?}");
    }
    let broken = client
        .execute("INSERT INTO bots (name) VALUES ($1)", &[&"ada"])
        .await
        .expect_err("a duplicate");
    let told = broken.as_db_error().expect("the server's error");
    assert_eq!(told.constraint(), Some("bots_name_key"));
    assert_eq!(told.table(), Some("bots"));
}

#[tokio::test]
async fn what_is_divided_by_is_looked_at_where_it_is_divided_by() {
    let schema = "CREATE TABLE shares (part int, whole int CHECK (whole % 10 >= 0), each int GENERATED ALWAYS AS (part / nullif(whole, 0)) STORED);
        CREATE INDEX by_share ON shares ((part / nullif(whole, 0)));
        INSERT INTO shares (part, whole) VALUES (7, 0), (8, 2), (9, NULL);";
    let server = start(schema);
    let client = connect(&server).await;
    let shares = |sql: &'static str| {
        let client = &client;
        async move {
            let rows = client.query(sql, &[]).await.expect(sql);
            let shares = rows.iter().map(|row| row.get::<_, Option<i32>>(0));
            shares.collect::<Vec<_>>()
        }
    };
    let guarded =
        "SELECT CASE WHEN whole = 0 THEN 0 ELSE part / whole END FROM shares ORDER BY part";
    assert_eq!(shares(guarded).await, [Some(0), Some(4), None]);
    assert_eq!(
        shares("SELECT each FROM shares ORDER BY part").await,
        [None, Some(4), None]
    );
    let grouped = "SELECT part / nullif(whole, 0) FROM shares GROUP BY part / nullif(whole, 0) HAVING sum(part) / count(*) FILTER (WHERE part > 7) > 8 ORDER BY 1";
    assert_eq!(shares(grouped).await, [None]);
    let row = client
        .query_one("SELECT 7 / $1, 7 % $1", &[&2i32])
        .await
        .expect("a row");
    assert_eq!((row.get::<_, i32>(0), row.get::<_, i32>(1)), (3, 1));
    assert_eq!(row.columns()[0].name(), "?column?");
    let zero = client.query_one("SELECT 7 / $1", &[&0i32]).await;
    assert_eq!(state(&zero.expect_err("zero")), "22012");
    let zero = client.query("SELECT part / whole FROM shares", &[]).await;
    assert_eq!(state(&zero.expect_err("zero")), "22012");
}

#[tokio::test]
async fn a_transaction_is_seen_once_it_is_committed_and_never_if_it_is_not() {
    let server = start(SCHEMA);
    let mut client = connect(&server).await;
    let other = connect(&server).await;
    let count = async || {
        let row = other
            .query_one("SELECT count(*) FROM bots", &[])
            .await
            .expect("read");
        row.get::<_, i64>(0)
    };
    let transaction = client.transaction().await.expect("begun");
    transaction
        .execute("INSERT INTO bots (name) VALUES ($1)", &[&"ada"])
        .await
        .expect("inserted");
    // Readers go on, and see what is committed.
    assert_eq!(count().await, 0);
    transaction.commit().await.expect("committed");
    assert_eq!(count().await, 1);
    let transaction = client.transaction().await.expect("begun");
    transaction
        .execute("DELETE FROM bots", &[])
        .await
        .expect("deleted");
    transaction.rollback().await.expect("rolled back");
    assert_eq!(count().await, 1);
}

#[tokio::test]
async fn a_failed_transaction_takes_nothing_but_its_end() {
    let server = start(SCHEMA);
    let client = connect(&server).await;
    client.batch_execute("BEGIN").await.expect("begun");
    client
        .batch_execute("INSERT INTO bots (name) VALUES ('ada')")
        .await
        .expect("inserted");
    let failed = client.batch_execute("SELECT * FROM robots").await;
    assert_eq!(state(&failed.expect_err("no such table")), "42P01");
    let ignored = client.batch_execute("SELECT 1").await;
    assert_eq!(state(&ignored.expect_err("ignored")), "25P02");
    client.batch_execute("COMMIT").await.expect("rolled back");
    let row = client
        .query_one("SELECT count(*) FROM bots", &[])
        .await
        .expect("read");
    assert_eq!(row.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_savepoint_saves_what_was_before_it() {
    let server = start(SCHEMA);
    let mut client = connect(&server).await;
    let mut transaction = client.transaction().await.expect("begun");
    transaction
        .execute("INSERT INTO bots (name) VALUES ('ada')", &[])
        .await
        .expect("inserted");
    let inner = transaction.savepoint("inner").await.expect("set");
    let twice = inner
        .execute("INSERT INTO bots (name) VALUES ('ada')", &[])
        .await;
    assert_eq!(state(&twice.expect_err("a duplicate")), "23505");
    inner.rollback().await.expect("gone back");
    transaction
        .execute("INSERT INTO bots (name) VALUES ('eve')", &[])
        .await
        .expect("inserted");
    transaction.commit().await.expect("committed");
    let row = client
        .query_one("SELECT count(*) FROM bots", &[])
        .await
        .expect("read");
    assert_eq!(row.get::<_, i64>(0), 2);
}

#[tokio::test]
async fn several_statements_in_one_query_are_one_transaction() {
    let server = start(SCHEMA);
    let client = connect(&server).await;
    let failed = client
        .batch_execute("INSERT INTO bots (name) VALUES ('ada'); SELECT * FROM robots; SELECT 1")
        .await;
    assert_eq!(state(&failed.expect_err("no such table")), "42P01");
    let messages = client
        .simple_query("INSERT INTO bots (name) VALUES ('ada'); SELECT name, live FROM bots; ;")
        .await
        .expect("done");
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((row.get("name"), row.get("live"))),
        _ => None,
    });
    assert_eq!(row, Some((Some("ada"), Some("t"))));
}

#[tokio::test]
async fn prepared_statements_are_bounded_in_bytes() {
    let server = start(SCHEMA);
    let client = connect(&server).await;
    let text = format!("SELECT '{}'", "x".repeat(15 * 1024 * 1024));
    let mut kept = Vec::new();
    let refused = loop {
        match client.prepare(&text).await {
            Ok(statement) => kept.push(statement),
            Err(error) => break error,
        }
        assert!(kept.len() < 10, "no bound");
    };
    assert_eq!(state(&refused), "53400");
    let said = refused.as_db_error().expect("by the server").message();
    assert!(
        said.starts_with("prepared statements of more than"),
        "{said}"
    );
    assert_eq!(kept.len(), 4);
    // Whoever closes some may prepare again.
    kept.pop();
    client.batch_execute("SELECT 1").await.expect("closed");
    client.prepare(&text).await.expect("there is room");
}

#[tokio::test]
async fn who_writes_waits_for_who_writes_as_long_as_it_will() {
    let server = start(SCHEMA);
    let (first, second) = (connect(&server).await, connect(&server).await);
    first
        .batch_execute("BEGIN; INSERT INTO bots (name) VALUES ('ada')")
        .await
        .expect("inserted");
    second
        .batch_execute("SET lock_timeout = '50ms'")
        .await
        .expect("set");
    let refused = second
        .batch_execute("INSERT INTO bots (name) VALUES ('eve')")
        .await;
    assert_eq!(state(&refused.expect_err("locked")), "55P03");
    second
        .batch_execute("SET lock_timeout = '20s'")
        .await
        .expect("set");
    let waiting = second.batch_execute("INSERT INTO bots (name) VALUES ('eve')");
    let committing = async {
        tokio::task::yield_now().await;
        first.batch_execute("COMMIT").await
    };
    let (waited, committed) = tokio::join!(waiting, committing);
    committed.expect("committed");
    waited.expect("inserted");
}

#[tokio::test]
async fn a_statement_can_be_cancelled_and_the_session_goes_on() {
    let server = start(SCHEMA);
    let client = connect(&server).await;
    let token = client.cancel_token();
    let endless = client.batch_execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    );
    let cancelling = async {
        // A cancel that comes before its statement has begun does nothing, as in PostgreSQL.
        loop {
            token.cancel_query(NoTls).await.expect("asked");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let cancelled = tokio::select! {
        cancelled = endless => cancelled,
        () = cancelling => unreachable!("it goes on until the statement ends"),
    };
    assert_eq!(state(&cancelled.expect_err("cancelled")), "57014");
    client.batch_execute("SELECT 1").await.expect("usable");
}

#[tokio::test]
async fn what_clients_ask_about_the_server_is_answered() {
    let server = start("");
    let client = connect(&server).await;
    let row = client
        .query_one("SELECT version()", &[])
        .await
        .expect("answered");
    assert!(row.get::<_, &str>(0).starts_with("PostgreSQL 16.4"));
    let row = client
        .query_one("SHOW server_version", &[])
        .await
        .expect("answered");
    assert_eq!(row.get::<_, &str>("server_version"), "16.4");
    client
        .batch_execute("SET application_name TO 'bot'; SET TIME ZONE 'UTC'")
        .await
        .expect("set");
    let row = client
        .query_one("SHOW application_name", &[])
        .await
        .expect("answered");
    assert_eq!(row.get::<_, &str>(0), "bot");
    let row = client
        .query_one(
            "SELECT current_user, current_database(), pg_catalog.current_schema()",
            &[],
        )
        .await
        .expect("answered");
    assert_eq!(
        (row.get::<_, &str>(0), row.get::<_, &str>(1)),
        ("app", "app")
    );
}

#[tokio::test]
async fn a_portal_gives_its_rows_in_parts() {
    let server = start("CREATE TABLE n (i int)");
    let mut client = connect(&server).await;
    client
        .batch_execute("INSERT INTO n VALUES (1), (2), (3)")
        .await
        .expect("inserted");
    let transaction = client.transaction().await.expect("begun");
    let portal = transaction
        .bind("SELECT i FROM n ORDER BY i", &[])
        .await
        .expect("bound");
    let first = transaction.query_portal(&portal, 2).await.expect("fetched");
    let rest = transaction.query_portal(&portal, 2).await.expect("fetched");
    let numbers = |rows: &[tokio_postgres::Row]| {
        rows.iter()
            .map(|row| row.get::<_, i32>(0))
            .collect::<Vec<_>>()
    };
    assert_eq!((numbers(&first), numbers(&rest)), (vec![1, 2], vec![3]));
}

#[tokio::test]
async fn a_schema_that_is_wrong_is_no_server() {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let error = Server::start(
        listen,
        Some("CREATE TABLE a (b int); CREATE TABEL c (d int)"),
    )
    .expect_err("a mistake");
    assert_eq!(
        error.to_string(),
        "syntax error at or near \"TABEL\" (SQLSTATE 42601)"
    );
}

#[tokio::test]
async fn garbage_ends_its_own_session_alone() {
    let server = start(SCHEMA);
    let client = connect(&server).await;
    for garbage in [
        b"GET / HTTP/1.1\r\n\r\n".as_slice(),
        b"\0\0\0\x09\0\x03\0\0\0garbage",
        b"\0\0\0\x08\x04\xd2\x16\x2fN",
    ] {
        let mut stream = TcpStream::connect(server.address())
            .await
            .expect("connected");
        stream.write_all(garbage).await.expect("sent");
        stream.shutdown().await.expect("closed");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an end");
    }
    client.batch_execute("SELECT 1").await.expect("unharmed");
}

#[tokio::test]
async fn stopping_ends_every_session_and_frees_the_port() {
    let server = start(SCHEMA);
    let address = server.address();
    let folder = server.shared.database.folder().to_path_buf();
    assert!(folder.exists());
    let client = connect(&server).await;
    server.stop().await;
    assert!(!folder.exists());
    assert!(client.batch_execute("SELECT 1").await.is_err());
    assert!(TcpStream::connect(address).await.is_err());
}
