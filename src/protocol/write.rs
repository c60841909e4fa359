//! Which operations write, and which of those do something twice when they are carried out twice.

use super::{
    Protocol, http, pusher,
    redis::{Meets, commands, meets},
    s3,
};

/// Beginnings of the names of S3's operations that write, as its reference names them.
const S3_WRITES: &[&str] = &[
    "Abort", "Complete", "Copy", "Create", "Delete", "Post", "Put", "Rename", "Restore", "Upload",
];

/// Kinds of statements that change rows, and the one that makes changes last.
const SQL_WRITES: &[&str] = &[
    "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "COPY", "LOAD", "CALL", "COMMIT",
];

/// Kinds of statements of which nobody knows without reading them whether they do something twice: an
/// `UPDATE` may set a value or add to it, a `DELETE` may take the next row of a queue, and what a
/// procedure, a block or a prepared statement does is not said. A `COMMIT` adds nothing to the
/// statements that it makes last.
const SQL_DOUBTFUL: &[&str] = &[
    "CALL", "COPY", "DELETE", "DO", "EXECUTE", "FUNCTION", "LOAD", "MERGE", "NOTIFY", "OTHER",
    "REPLACE", "UPDATE", "WITH",
];

/// Redis's commands that, carried out twice, leave what once would: they say what a key, a field or a
/// member is to be, or that it is to be gone. What moves, takes or counts is not among them, nor what
/// may do so by an option (`ZADD` with `INCR`, `BITFIELD`). `EXEC` adds nothing to the commands that
/// it carries out.
const REDIS_REPLACES: &[&str] = &[
    "BITOP",
    "DEL",
    "EXEC",
    "EXPIRE",
    "EXPIREAT",
    "FLUSHALL",
    "FLUSHDB",
    "GEOADD",
    "GEOSEARCHSTORE",
    "GETEX",
    "GETSET",
    "HDEL",
    "HEXPIRE",
    "HEXPIREAT",
    "HGETEX",
    "HMSET",
    "HPERSIST",
    "HPEXPIRE",
    "HPEXPIREAT",
    "HSET",
    "HSETEX",
    "HSETNX",
    "LSET",
    "MSET",
    "MSETNX",
    "PERSIST",
    "PEXPIRE",
    "PEXPIREAT",
    "PFADD",
    "PFMERGE",
    "PSETEX",
    "RESTORE",
    "SADD",
    "SDIFFSTORE",
    "SET",
    "SETBIT",
    "SETEX",
    "SETNX",
    "SETRANGE",
    "SINTERSTORE",
    "SREM",
    "SUNIONSTORE",
    "UNLINK",
    "XACK",
    "XDEL",
    "XGROUP",
    "ZDIFFSTORE",
    "ZINTERSTORE",
    "ZRANGESTORE",
    "ZREM",
    "ZUNIONSTORE",
];

/// Redis's commands that `COMMAND` flags as no write, and that may do something twice: scripts and
/// functions do what they like.
const REDIS_DOUBTFUL: &[&str] = &["EVAL", "EVALSHA", "FCALL", "SPUBLISH"];

/// Redis's commands that add to what is there.
const REDIS_ADDS: &[&str] = &[
    "APPEND",
    "DECR",
    "DECRBY",
    "HINCRBY",
    "HINCRBYFLOAT",
    "INCR",
    "INCRBY",
    "INCRBYFLOAT",
    "LPOP",
    "LPUSH",
    "PUBLISH",
    "RPOP",
    "RPUSH",
    "SPOP",
    "XADD",
];

impl Protocol {
    /// Whether an operation may change what the dependency holds: of HTTP the methods that are not
    /// safe (RFC 9110, 9.2.1), of S3 and Channels what their references say, of SQL what changes
    /// rows and `COMMIT`, of Redis what `COMMAND` flags as a write, `EXEC` and `PUBLISH`.
    pub fn writes(self, operation: &str) -> bool {
        match self {
            Self::Tcp => false,
            Self::Http => ["POST", "PUT", "PATCH", "DELETE"].contains(&operation),
            Self::S3 => {
                operation != "CreateSession"
                    && S3_WRITES.iter().any(|verb| operation.starts_with(verb))
            }
            Self::Pusher => operation.starts_with("Publish"),
            Self::Redis => {
                operation == "EXEC" || self.adds(operation) || meets(Meets::Writing, operation)
            }
            Self::Mysql | Self::Postgres => SQL_WRITES.contains(&operation),
        }
    }

    /// Whether an operation, carried out twice, does something twice: of HTTP those that RFC 9110,
    /// 9.2.2 does not call idempotent, of S3 those that make a new upload or object by their own
    /// choice of name, of SQL and Redis those that add to what is there.
    pub fn adds(self, operation: &str) -> bool {
        match self {
            Self::Tcp => false,
            Self::Http => ["POST", "PATCH"].contains(&operation),
            Self::Pusher => self.writes(operation),
            Self::S3 => ["CreateMultipartUpload", "PostObject"].contains(&operation),
            Self::Mysql | Self::Postgres => operation == "INSERT",
            Self::Redis => REDIS_ADDS.contains(&operation),
        }
    }

    /// Whether an operation, carried out twice, is known to leave what once would: it reads, or it
    /// replaces or takes away by name. Other than of those that [`Protocol::adds`] nothing is known of
    /// what is neither: an `UPDATE` may add, a script do anything, an unknown command too.
    pub fn leaves_the_same(self, operation: &str) -> bool {
        let is_safe =
            |method: &str| http::METHODS.contains(&method) && !["POST", "PATCH"].contains(&method);
        match self {
            Self::Tcp => false,
            Self::Http => is_safe(operation),
            Self::S3 => {
                let is_known = s3::operations().any(|known| known == operation);
                !self.adds(operation) && (is_known || is_safe(operation))
            }
            Self::Pusher => pusher::OPERATIONS.contains(&operation) && !self.writes(operation),
            Self::Mysql | Self::Postgres => {
                !self.adds(operation)
                    && !SQL_DOUBTFUL.contains(&operation)
                    && self.operations().any(|known| known == operation)
            }
            Self::Redis => {
                let is_known =
                    meets(Meets::Connections, operation) || commands::find(operation).is_some();
                let reads = is_known && !self.writes(operation);
                let replaces = REDIS_REPLACES.contains(&operation);
                replaces || (reads && !REDIS_DOUBTFUL.contains(&operation))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::PROTOCOLS;

    #[test]
    fn what_adds_writes_and_what_reads_does_neither() {
        for protocol in PROTOCOLS.iter().map(|def| def.protocol) {
            for operation in protocol.operations() {
                assert!(
                    protocol.writes(operation) || !protocol.adds(operation),
                    "{protocol} {operation}"
                );
            }
        }
        for (protocol, reads) in [
            (Protocol::Http, "GET"),
            (Protocol::S3, "GetObject"),
            (Protocol::S3, "CreateSession"),
            (Protocol::Pusher, "Subscribe"),
            (Protocol::Redis, "MGET"),
            (Protocol::Mysql, "SELECT"),
            (Protocol::Postgres, "BEGIN"),
        ] {
            assert!(!protocol.writes(reads), "{protocol} {reads}");
        }
    }

    #[test]
    fn what_replaces_by_name_writes_and_adds_nothing() {
        for (protocol, replaces) in [
            (Protocol::Http, "PUT"),
            (Protocol::S3, "PutObject"),
            (Protocol::Redis, "SET"),
            (Protocol::Mysql, "REPLACE"),
            (Protocol::Postgres, "COMMIT"),
        ] {
            assert!(protocol.writes(replaces), "{protocol} {replaces}");
            assert!(!protocol.adds(replaces), "{protocol} {replaces}");
        }
        assert!(Protocol::Redis.writes("XADD") && Protocol::Redis.adds("XADD"));
    }

    #[test]
    fn what_is_known_to_leave_the_same_adds_nothing_and_what_may_add_is_not_among_it() {
        for protocol in PROTOCOLS.iter().map(|def| def.protocol) {
            for operation in protocol.operations() {
                assert!(
                    !(protocol.leaves_the_same(operation) && protocol.adds(operation)),
                    "{protocol} {operation}"
                );
            }
        }
        let (mysql, postgres) = (Protocol::Mysql, Protocol::Postgres);
        for (protocol, operations) in [
            (Protocol::Http, &["GET", "PUT", "DELETE"][..]),
            (Protocol::S3, &["GetObject", "PutObject", "DeleteObject"]),
            (Protocol::Redis, &["GET", "SET", "DEL", "EXEC", "EVAL_RO"]),
            (mysql, &["SELECT", "BEGIN", "COMMIT", "SET"]),
            (postgres, &["SELECT", "COMMIT", "CONNECT"]),
        ] {
            for operation in operations {
                let same = protocol.leaves_the_same(operation);
                assert!(same, "{protocol} {operation}");
            }
        }
        for (protocol, operations) in [
            (Protocol::Http, &["POST", "PATCH", "CHARGE"][..]),
            (Protocol::S3, &["CreateMultipartUpload", "POST"]),
            (
                Protocol::Redis,
                &[
                    "INCR", "EVAL", "FCALL", "LMOVE", "ZINCRBY", "ZADD", "CF.ADD",
                ],
            ),
            (mysql, &["INSERT", "UPDATE", "CALL", "LOAD"]),
            (
                postgres,
                &["UPDATE", "DELETE", "MERGE", "COPY", "CALL", "DO", "OTHER"],
            ),
        ] {
            for operation in operations {
                let same = protocol.leaves_the_same(operation);
                assert!(!same, "{protocol} {operation}");
            }
        }
    }

    #[test]
    fn what_replaces_in_redis_is_a_command_that_writes() {
        for operation in REDIS_REPLACES {
            assert!(Protocol::Redis.writes(operation), "{operation}");
            assert!(!Protocol::Redis.adds(operation), "{operation}");
        }
    }
}
