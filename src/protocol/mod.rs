//! Bytes to messages, operations and error replies. No sockets here, and no waiting.
//!
//! A new protocol is one file and its entry in [`PROTOCOLS`].

pub mod call;
pub mod http;
pub mod mysql;
pub mod postgres;
pub mod pusher;
pub mod redis;
mod retry;
pub mod s3;
pub mod sql;
mod trace;
pub mod websocket;
mod write;

pub use call::{
    Applied, CONNECT, Call, CallTracker, Headers, Place, Recognised, SILENT, TEXT_BYTES_MAX, Text,
};

pub use trace::{TRACE_HEADER, TraceParent};

pub use retry::{RETRY_HEADERS, RetryAfter, asks_for_retry, retry_after, speaks_of_data};

use crate::input::About;
use std::fmt;

/// The protocol that a dependency speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// A stream of bytes about which nothing else is known.
    Tcp,
    /// HTTP/1.1 and HTTP/2.
    Http,
    /// HTTP whose requests are S3's operations.
    S3,
    /// Pusher Channels: a signed HTTP API and WebSockets on one port.
    Pusher,
    /// RESP2 and RESP3.
    Redis,
    /// The client/server protocol of MySQL and MariaDB.
    Mysql,
    /// PostgreSQL's protocol, version 3.
    Postgres,
}

/// What `brownout list protocols` prints, and what files may name.
pub struct ProtocolDef {
    /// The protocol.
    pub protocol: Protocol,
    /// Its name in files.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// The long text of `explain`.
    pub about: About,
    /// A `[dependency.NAME]` table that parses.
    pub example: &'static str,
    /// Whether the proxy sees single requests, so that message faults and `when` can act.
    pub has_messages: bool,
    /// The keys of `when` that can tell its requests apart.
    pub when: &'static [&'static str],
}

/// By what requests of HTTP are told apart.
const HTTP_WHEN: &[&str] = &[
    "operation",
    "method",
    "path",
    "key",
    "host",
    "header",
    "attempt",
];

/// By what requests and messages of Channels are told apart.
const PUSHER_WHEN: &[&str] = &[
    "operation",
    "method",
    "path",
    "key",
    "host",
    "header",
    "text",
    "attempt",
];

/// By what statements of SQL are told apart.
const SQL_WHEN: &[&str] = &["operation", "table", "text", "key", "attempt"];

/// Every protocol, in the order listed.
pub const PROTOCOLS: &[ProtocolDef] = &[
    ProtocolDef {
        protocol: Protocol::Tcp,
        name: "tcp",
        summary: "any stream of bytes; connection and byte-stream faults",
        about: About {
            text: "\
                Any stream of bytes. Nothing is known of single requests, so that faults act on \
                connections and bytes, and a `share` is drawn for connections.",
            evidence: "Connections, their bytes and their ends.",
            doubt: "",
            mistakes: &["\
                    Expectations about calls (`gives-up`, `attempts`) need a protocol that shows them."],
            related: &["refuse", "hang", "reset", "bandwidth"],
        },
        example: "[dependency.queue]\nprotocol = \"tcp\"\nrole     = \"queue\"\nupstream = \"127.0.0.1:5672\"\n",
        has_messages: false,
        when: &[],
    },
    ProtocolDef {
        protocol: Protocol::Http,
        name: "http",
        summary: "HTTP/1.1 and HTTP/2, plain or TLS; faults on single requests",
        about: About {
            text: "\
                HTTP/1.1 and HTTP/2, plain or with TLS of the run's own authority. Heads and chunk \
                framing pass byte for byte while no fault acts. Requests are picked by method, path, \
                header or host.",
            evidence: "Each request with its status, times and attempt; bodies are not kept.",
            doubt: "",
            mistakes: &[
                "\
                    `embedded:sink` answers 204, and 200 to GET: give it an `answer` where the system \
                    reads one.",
                "A host that a library has wired in is led here by `hosts`.",
            ],
            related: &["error", "stalled-body", "s3"],
        },
        example: "[dependency.pager]\nprotocol = \"http\"\nrole     = \"alerts\"\nupstream = \"embedded:sink\"\n",
        has_messages: true,
        when: HTTP_WHEN,
    },
    ProtocolDef {
        protocol: Protocol::S3,
        name: "s3",
        summary: "S3's REST protocol: operations, keys, S3's own error answers",
        about: About {
            text: "\
                HTTP whose requests are S3's operations: PutObject, GetObject and so on, with keys, \
                and S3's own errors with their bodies. Signatures stay valid. `upstream = \
                \"embedded\"` is a built-in server.",
            evidence: "\
                Each request with its operation and key; the id that AWS's clients send puts \
                attempts together.",
            doubt: "",
            mistakes: &[
                "\
                    The embedded server has the buckets that `buckets` names and no others.",
                "Clients that put the bucket into the host need `virtual_host`.",
            ],
            related: &["error", "error-in-200", "converged"],
        },
        example: "[dependency.s3]\nprotocol = \"s3\"\nrole     = \"object-store\"\nupstream = \"embedded\"\n",
        has_messages: true,
        when: HTTP_WHEN,
    },
    ProtocolDef {
        protocol: Protocol::Pusher,
        name: "pusher",
        summary: "Pusher Channels: the signed HTTP API and WebSockets, message by message",
        about: About {
            text: "\
                Pusher Channels: the signed HTTP interface and the WebSockets of its clients on one \
                port, message by message. `upstream = \"embedded\"` is a built-in server with an app \
                of its own.",
            evidence: "Each request, each WebSocket, and each message on it.",
            doubt: "",
            mistakes: &["The system must sign as `{dependency.NAME.app_key}` and the like say."],
            related: &["obeys-codes", "drop", "quota"],
        },
        example: "[dependency.realtime]\nprotocol = \"pusher\"\nrole     = \"realtime\"\nupstream = \"embedded\"\n",
        has_messages: true,
        when: PUSHER_WHEN,
    },
    ProtocolDef {
        protocol: Protocol::Redis,
        name: "redis",
        summary: "Redis's protocol, RESP2 and RESP3: commands, keys, Redis's own errors",
        about: About {
            text: "\
                RESP2 and RESP3: commands with their keys, and Redis's own errors. There is no \
                embedded server.",
            evidence: "Each command with its first key, or the argument that `key` names.",
            doubt: "",
            mistakes: &["Of MULTI and EXEC each command is seen."],
            related: &["error", "restart", "latency"],
        },
        example: "[dependency.cache]\nprotocol = \"redis\"\nrole     = \"cache\"\nupstream = \"127.0.0.1:6379\"\n",
        has_messages: true,
        when: &["operation", "key", "attempt"],
    },
    ProtocolDef {
        protocol: Protocol::Mysql,
        name: "mysql",
        summary: "MySQL and MariaDB: connections, statements, the server's own errors",
        about: About {
            text: "\
                The client/server protocol of MySQL and MariaDB: statements by kind and table, and \
                the server's own errors by number. There is no embedded server.",
            evidence: "\
                Each statement with its kind and first table; what a transaction did counts when it \
                is committed.",
            doubt: "",
            mistakes: &["\
                Bound parameters, which keys and captures can come from, are those of prepared \
                statements: where a client puts the values into the text, none is bound."],
            related: &["error", "restart", "overload"],
        },
        example: "[dependency.orders]\nprotocol = \"mysql\"\nrole     = \"database\"\nupstream = \"127.0.0.1:3306\"\n",
        has_messages: true,
        when: SQL_WHEN,
    },
    ProtocolDef {
        protocol: Protocol::Postgres,
        name: "postgres",
        summary: "PostgreSQL: faults on connections and single statements, its own errors",
        about: About {
            text: "\
                PostgreSQL's protocol, version 3, statement by statement: simple and extended, \
                pipelines, COPY, transactions. Errors are those of the real server, by SQLSTATE or \
                condition name. `upstream = \"embedded\"` speaks the same over SQLite in memory.",
            evidence: "\
                Each statement with its kind, first table and, if `key` or `capture` say so, a bound \
                parameter; never its text.",
            doubt: "",
            mistakes: &[
                "The embedded server begins empty: `schema` makes the tables.",
                "53300 meets those who connect; sessions that are open go on.",
            ],
            related: &["restart", "error", "overload", "reconnect"],
        },
        example: "[dependency.db]\nprotocol = \"postgres\"\nrole     = \"database\"\nupstream = \"127.0.0.1:5432\"\n",
        has_messages: true,
        when: SQL_WHEN,
    },
];

impl Protocol {
    /// Its registry entry.
    pub fn def(self) -> &'static ProtocolDef {
        PROTOCOLS
            .iter()
            .find(|def| def.protocol == self)
            .expect("every protocol is registered")
    }

    /// The operations that a `when` may name: S3's, the HTTP methods, Redis's
    /// commands, the kinds of statements.
    pub fn operations(self) -> Box<dyn Iterator<Item = &'static str>> {
        match self {
            Self::Tcp => Box::new(std::iter::empty()),
            Self::Http => Box::new(http::METHODS.iter().copied()),
            Self::S3 => Box::new(s3::operations()),
            Self::Pusher => Box::new(pusher::OPERATIONS.iter().copied()),
            Self::Redis => Box::new(redis::operations()),
            Self::Mysql => Box::new(mysql::operations()),
            Self::Postgres => Box::new(postgres::OPERATIONS.iter().chain(sql::KINDS).copied()),
        }
    }

    /// Whether its messages are HTTP's: heads with bodies.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::S3 | Self::Pusher)
    }

    /// Whether its requests are statements of SQL, with bound parameters.
    pub fn is_sql(self) -> bool {
        matches!(self, Self::Postgres | Self::Mysql)
    }

    /// Whether the proxy sees single requests of this protocol.
    pub fn has_messages(self) -> bool {
        self.def().has_messages
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.def().name)
    }
}
