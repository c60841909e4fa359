//! Redis's commands: where each has its first key, and when a server turns it away.
//!
//! The rows are what `COMMAND` of Redis 7.0 says, with the hash-field commands of 7.4. A command
//! that is not listed (a module's) is taken to have its first key first and to need a healthy
//! server.

use FirstKey::{At, Counted, Memory, Migrate, Nowhere, Streams};

/// Where a command's first key stands. The command's name is argument 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstKey {
    /// It has none.
    Nowhere,
    /// This argument.
    At(u8),
    /// The argument after this one, which says how many keys there are.
    Counted(u8),
    /// The argument after the word `STREAMS`.
    Streams,
    /// The second argument after `MEMORY USAGE`, none after its other words.
    Memory,
    /// `MIGRATE`: the third argument; where that is empty, the one after the word `KEYS`.
    Migrate,
}

/// One command.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// Its name in capitals.
    pub name: &'static str,
    /// Where its first key stands.
    pub first_key: FirstKey,
    flags: u8,
}

const WRITES: u8 = 1;
const NEEDS_MEMORY: u8 = 1 << 1;
const WHILE_LOADING: u8 = 1 << 2;
const WHILE_STALE: u8 = 1 << 3;
const WHILE_BUSY: u8 = 1 << 4;
const BEFORE_AUTH: u8 = 1 << 5;

impl Command {
    /// Whether it may change the data set.
    pub fn writes(&self) -> bool {
        self.flags & WRITES != 0
    }

    /// Whether it may need more memory, so that a server at `maxmemory` refuses it.
    pub fn needs_memory(&self) -> bool {
        self.flags & NEEDS_MEMORY != 0
    }

    /// Whether a server answers it while it loads its data set.
    pub fn works_while_loading(&self) -> bool {
        self.flags & WHILE_LOADING != 0
    }

    /// Whether a replica answers it that must not serve stale data.
    pub fn works_while_stale(&self) -> bool {
        self.flags & WHILE_STALE != 0
    }

    /// Whether a server answers it while a script holds it up.
    pub fn works_while_busy(&self) -> bool {
        self.flags & WHILE_BUSY != 0
    }

    /// Whether a server answers it before authentication.
    pub fn works_before_auth(&self) -> bool {
        self.flags & BEFORE_AUTH != 0
    }

    /// Whether it names keys, so that a cluster can say that they are elsewhere.
    pub fn has_keys(&self) -> bool {
        self.first_key != Nowhere
    }
}

/// What is known of a command, by its name in capitals.
pub fn find(name: &str) -> Option<&'static Command> {
    let at = COMMANDS
        .binary_search_by(|command| command.name.cmp(name))
        .ok()?;
    COMMANDS.get(at)
}

/// `W` writes, `O` needs memory; is answered: `L` while loading, `S` while stale, `B` while busy,
/// `A` before authentication.
const fn row(name: &'static str, first_key: FirstKey, letters: &str) -> Command {
    let letters = letters.as_bytes();
    let mut flags = 0;
    let mut at = 0;
    while at < letters.len() {
        flags |= match letters[at] {
            b'W' => WRITES,
            b'O' => NEEDS_MEMORY,
            b'L' => WHILE_LOADING,
            b'S' => WHILE_STALE,
            b'B' => WHILE_BUSY,
            b'A' => BEFORE_AUTH,
            _ => panic!("a letter that means nothing"),
        };
        at += 1;
    }
    Command {
        name,
        first_key,
        flags,
    }
}

/// Every command, sorted by name.
pub const COMMANDS: &[Command] = &[
    row("ACL", Nowhere, "LS"),
    row("APPEND", At(1), "WO"),
    row("ASKING", Nowhere, ""),
    row("AUTH", Nowhere, "LSBA"),
    row("BGREWRITEAOF", Nowhere, ""),
    row("BGSAVE", Nowhere, ""),
    row("BITCOUNT", At(1), ""),
    row("BITFIELD", At(1), "WO"),
    row("BITFIELD_RO", At(1), ""),
    row("BITOP", At(2), "WO"),
    row("BITPOS", At(1), ""),
    row("BLMOVE", At(1), "WO"),
    row("BLMPOP", Counted(2), "W"),
    row("BLPOP", At(1), "W"),
    row("BRPOP", At(1), "W"),
    row("BRPOPLPUSH", At(1), "WO"),
    row("BZMPOP", Counted(2), "W"),
    row("BZPOPMAX", At(1), "W"),
    row("BZPOPMIN", At(1), "W"),
    row("CLIENT", Nowhere, "LSB"),
    row("CLUSTER", Nowhere, "S"),
    row("COMMAND", Nowhere, "LS"),
    row("CONFIG", Nowhere, "LS"),
    row("COPY", At(1), "WO"),
    row("DBSIZE", Nowhere, ""),
    row("DEBUG", At(2), "LS"),
    row("DECR", At(1), "WO"),
    row("DECRBY", At(1), "WO"),
    row("DEL", At(1), "W"),
    row("DISCARD", Nowhere, "LSB"),
    row("DUMP", At(1), ""),
    row("ECHO", Nowhere, "LS"),
    row("EVAL", Counted(2), "S"),
    row("EVALSHA", Counted(2), "S"),
    row("EVALSHA_RO", Counted(2), "S"),
    row("EVAL_RO", Counted(2), "S"),
    row("EXEC", Nowhere, "LS"),
    row("EXISTS", At(1), ""),
    row("EXPIRE", At(1), "W"),
    row("EXPIREAT", At(1), "W"),
    row("EXPIRETIME", At(1), ""),
    row("FAILOVER", Nowhere, "S"),
    row("FCALL", Counted(2), "S"),
    row("FCALL_RO", Counted(2), "S"),
    row("FLUSHALL", Nowhere, "W"),
    row("FLUSHDB", Nowhere, "W"),
    row("FUNCTION", Nowhere, "B"),
    row("GEOADD", At(1), "WO"),
    row("GEODIST", At(1), ""),
    row("GEOHASH", At(1), ""),
    row("GEOPOS", At(1), ""),
    row("GEORADIUS", At(1), "WO"),
    row("GEORADIUSBYMEMBER", At(1), "WO"),
    row("GEORADIUSBYMEMBER_RO", At(1), ""),
    row("GEORADIUS_RO", At(1), ""),
    row("GEOSEARCH", At(1), ""),
    row("GEOSEARCHSTORE", At(1), "WO"),
    row("GET", At(1), ""),
    row("GETBIT", At(1), ""),
    row("GETDEL", At(1), "W"),
    row("GETEX", At(1), "W"),
    row("GETRANGE", At(1), ""),
    row("GETSET", At(1), "WO"),
    row("HDEL", At(1), "W"),
    row("HELLO", Nowhere, "LSBA"),
    row("HEXISTS", At(1), ""),
    row("HEXPIRE", At(1), "WO"),
    row("HEXPIREAT", At(1), "WO"),
    row("HEXPIRETIME", At(1), ""),
    row("HGET", At(1), ""),
    row("HGETALL", At(1), ""),
    row("HGETDEL", At(1), "W"),
    row("HGETEX", At(1), "WO"),
    row("HINCRBY", At(1), "WO"),
    row("HINCRBYFLOAT", At(1), "WO"),
    row("HKEYS", At(1), ""),
    row("HLEN", At(1), ""),
    row("HMGET", At(1), ""),
    row("HMSET", At(1), "WO"),
    row("HPERSIST", At(1), "W"),
    row("HPEXPIRE", At(1), "WO"),
    row("HPEXPIREAT", At(1), "WO"),
    row("HPEXPIRETIME", At(1), ""),
    row("HPTTL", At(1), ""),
    row("HRANDFIELD", At(1), ""),
    row("HSCAN", At(1), ""),
    row("HSET", At(1), "WO"),
    row("HSETEX", At(1), "WO"),
    row("HSETNX", At(1), "WO"),
    row("HSTRLEN", At(1), ""),
    row("HTTL", At(1), ""),
    row("HVALS", At(1), ""),
    row("INCR", At(1), "WO"),
    row("INCRBY", At(1), "WO"),
    row("INCRBYFLOAT", At(1), "WO"),
    row("INFO", Nowhere, "LS"),
    row("KEYS", Nowhere, ""),
    row("LASTSAVE", Nowhere, "LS"),
    row("LATENCY", Nowhere, "LS"),
    row("LCS", At(1), ""),
    row("LINDEX", At(1), ""),
    row("LINSERT", At(1), "WO"),
    row("LLEN", At(1), ""),
    row("LMOVE", At(1), "WO"),
    row("LMPOP", Counted(1), "W"),
    row("LOLWUT", Nowhere, ""),
    row("LPOP", At(1), "W"),
    row("LPOS", At(1), ""),
    row("LPUSH", At(1), "WO"),
    row("LPUSHX", At(1), "WO"),
    row("LRANGE", At(1), ""),
    row("LREM", At(1), "W"),
    row("LSET", At(1), "WO"),
    row("LTRIM", At(1), "W"),
    row("MEMORY", Memory, ""),
    row("MGET", At(1), ""),
    row("MIGRATE", Migrate, "W"),
    row("MODULE", Nowhere, ""),
    row("MONITOR", Nowhere, "LS"),
    row("MOVE", At(1), "W"),
    row("MSET", At(1), "WO"),
    row("MSETNX", At(1), "WO"),
    row("MULTI", Nowhere, "LSB"),
    row("OBJECT", At(2), ""),
    row("PERSIST", At(1), "W"),
    row("PEXPIRE", At(1), "W"),
    row("PEXPIREAT", At(1), "W"),
    row("PEXPIRETIME", At(1), ""),
    row("PFADD", At(1), "WO"),
    row("PFCOUNT", At(1), ""),
    row("PFDEBUG", At(2), "WO"),
    row("PFMERGE", At(1), "WO"),
    row("PFSELFTEST", Nowhere, ""),
    row("PING", Nowhere, ""),
    row("PSETEX", At(1), "WO"),
    row("PSUBSCRIBE", Nowhere, "LS"),
    row("PSYNC", Nowhere, ""),
    row("PTTL", At(1), ""),
    row("PUBLISH", Nowhere, "LS"),
    row("PUBSUB", Nowhere, "LS"),
    row("PUNSUBSCRIBE", Nowhere, "LS"),
    row("QUIT", Nowhere, "LSBA"),
    row("RANDOMKEY", Nowhere, ""),
    row("READONLY", Nowhere, "LS"),
    row("READWRITE", Nowhere, "LS"),
    row("RENAME", At(1), "W"),
    row("RENAMENX", At(1), "W"),
    row("REPLCONF", Nowhere, "LSB"),
    row("REPLICAOF", Nowhere, "S"),
    row("RESET", Nowhere, "LSBA"),
    row("RESTORE", At(1), "WO"),
    row("RESTORE-ASKING", At(1), "WO"),
    row("ROLE", Nowhere, "LS"),
    row("RPOP", At(1), "W"),
    row("RPOPLPUSH", At(1), "WO"),
    row("RPUSH", At(1), "WO"),
    row("RPUSHX", At(1), "WO"),
    row("SADD", At(1), "WO"),
    row("SAVE", Nowhere, ""),
    row("SCAN", Nowhere, ""),
    row("SCARD", At(1), ""),
    row("SCRIPT", Nowhere, "B"),
    row("SDIFF", At(1), ""),
    row("SDIFFSTORE", At(1), "WO"),
    row("SELECT", Nowhere, "LS"),
    row("SET", At(1), "WO"),
    row("SETBIT", At(1), "WO"),
    row("SETEX", At(1), "WO"),
    row("SETNX", At(1), "WO"),
    row("SETRANGE", At(1), "WO"),
    row("SHUTDOWN", Nowhere, "LSB"),
    row("SINTER", At(1), ""),
    row("SINTERCARD", Counted(1), ""),
    row("SINTERSTORE", At(1), "WO"),
    row("SISMEMBER", At(1), ""),
    row("SLAVEOF", Nowhere, "S"),
    row("SLOWLOG", Nowhere, "LS"),
    row("SMEMBERS", At(1), ""),
    row("SMISMEMBER", At(1), ""),
    row("SMOVE", At(1), "W"),
    row("SORT", At(1), "WO"),
    row("SORT_RO", At(1), ""),
    row("SPOP", At(1), "W"),
    row("SPUBLISH", At(1), "LS"),
    row("SRANDMEMBER", At(1), ""),
    row("SREM", At(1), "W"),
    row("SSCAN", At(1), ""),
    row("SSUBSCRIBE", At(1), "LS"),
    row("STRLEN", At(1), ""),
    row("SUBSCRIBE", Nowhere, "LS"),
    row("SUBSTR", At(1), ""),
    row("SUNION", At(1), ""),
    row("SUNIONSTORE", At(1), "WO"),
    row("SUNSUBSCRIBE", At(1), "LS"),
    row("SWAPDB", Nowhere, "W"),
    row("SYNC", Nowhere, ""),
    row("TIME", Nowhere, "LS"),
    row("TOUCH", At(1), ""),
    row("TTL", At(1), ""),
    row("TYPE", At(1), ""),
    row("UNLINK", At(1), "W"),
    row("UNSUBSCRIBE", Nowhere, "LS"),
    row("UNWATCH", Nowhere, "LSB"),
    row("WAIT", Nowhere, ""),
    row("WATCH", At(1), "LSB"),
    row("XACK", At(1), "W"),
    row("XADD", At(1), "WO"),
    row("XAUTOCLAIM", At(1), "W"),
    row("XCLAIM", At(1), "W"),
    row("XDEL", At(1), "W"),
    row("XGROUP", At(2), "W"),
    row("XINFO", At(2), ""),
    row("XLEN", At(1), ""),
    row("XPENDING", At(1), ""),
    row("XRANGE", At(1), ""),
    row("XREAD", Streams, ""),
    row("XREADGROUP", Streams, "W"),
    row("XREVRANGE", At(1), ""),
    row("XSETID", At(1), "WO"),
    row("XTRIM", At(1), "W"),
    row("ZADD", At(1), "WO"),
    row("ZCARD", At(1), ""),
    row("ZCOUNT", At(1), ""),
    row("ZDIFF", Counted(1), ""),
    row("ZDIFFSTORE", At(1), "WO"),
    row("ZINCRBY", At(1), "WO"),
    row("ZINTER", Counted(1), ""),
    row("ZINTERCARD", Counted(1), ""),
    row("ZINTERSTORE", At(1), "WO"),
    row("ZLEXCOUNT", At(1), ""),
    row("ZMPOP", Counted(1), "W"),
    row("ZMSCORE", At(1), ""),
    row("ZPOPMAX", At(1), "W"),
    row("ZPOPMIN", At(1), "W"),
    row("ZRANDMEMBER", At(1), ""),
    row("ZRANGE", At(1), ""),
    row("ZRANGEBYLEX", At(1), ""),
    row("ZRANGEBYSCORE", At(1), ""),
    row("ZRANGESTORE", At(1), "WO"),
    row("ZRANK", At(1), ""),
    row("ZREM", At(1), "W"),
    row("ZREMRANGEBYLEX", At(1), "W"),
    row("ZREMRANGEBYRANK", At(1), "W"),
    row("ZREMRANGEBYSCORE", At(1), "W"),
    row("ZREVRANGE", At(1), ""),
    row("ZREVRANGEBYLEX", At(1), ""),
    row("ZREVRANGEBYSCORE", At(1), ""),
    row("ZREVRANK", At(1), ""),
    row("ZSCAN", At(1), ""),
    row("ZSCORE", At(1), ""),
    row("ZUNION", Counted(1), ""),
    row("ZUNIONSTORE", At(1), "WO"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_sorted_and_found() {
        assert!(COMMANDS.is_sorted_by(|one, other| one.name < other.name));
        for command in COMMANDS {
            assert_eq!(
                find(command.name).map(|found| found.name),
                Some(command.name)
            );
        }
        assert!(find("get").is_none() && find("NO.SUCH").is_none());
    }

    #[test]
    fn flags_say_what_a_server_would_do() {
        let known = |name| *find(name).expect("a known command");
        assert!(known("SET").writes() && known("SET").needs_memory());
        assert!(known("DEL").writes() && !known("DEL").needs_memory());
        assert!(!known("GET").writes() && known("GET").has_keys());
        assert!(!known("PING").works_while_loading() && known("INFO").works_while_loading());
        assert!(known("SCRIPT").works_while_busy() && !known("GET").works_while_busy());
        assert!(known("AUTH").works_before_auth() && !known("PING").works_before_auth());
        assert!(!known("GET").works_while_stale() && known("EVAL").works_while_stale());
    }
}
