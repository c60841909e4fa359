//! Which operations write, and which of those do something twice when they are carried out twice.

use super::{
    Protocol,
    redis::{Meets, meets},
};

/// Beginnings of the names of S3's operations that write, as its reference names them.
const S3_WRITES: &[&str] = &[
    "Abort", "Complete", "Copy", "Create", "Delete", "Post", "Put", "Rename", "Restore", "Upload",
];

/// Kinds of statements that change rows, and the one that makes changes last.
const SQL_WRITES: &[&str] = &[
    "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "COPY", "LOAD", "CALL", "COMMIT",
];

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
}
