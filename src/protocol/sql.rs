//! What a SQL text asks, seen without parsing it: the kind of its first statement and the first
//! table that this statement names. Where that one only reads, or begins a transaction, and another
//! of the text writes, that is the one that counts: nobody looks for a write under `BEGIN`.
//!
//! It reads words, names, strings and comments, and knows after which words a table stands. It
//! refuses nothing and never fails: what it does not know is `OTHER`, what names no table has none.
//! Only the first [`TEXT_BYTES_MAX`] bytes are read.

use super::{Recognised, TEXT_BYTES_MAX};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

/// Whose lexical rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Comments nest, `$tag$` quotes, a backslash escapes only in `E'…'`, `"…"` is a name.
    Postgres,
    /// `#` comments, `/*! … */` is code, a backslash escapes in every string, `"…"` is a string.
    Mysql,
}

/// The kinds of statements of both dialects, as files name them. `START TRANSACTION` is a `BEGIN`,
/// `END` a `COMMIT`, `ABORT` a `ROLLBACK`, `DESC` a `DESCRIBE`; a statement that begins with `WITH`
/// is of the kind of its main verb; a text without a statement is `EMPTY`.
pub const KINDS: &[&str] = &[
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "MERGE",
    "REPLACE",
    "VALUES",
    "TABLE",
    "COPY",
    "WITH",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "ROLLBACK TO",
    "SAVEPOINT",
    "RELEASE",
    "SET",
    "RESET",
    "SHOW",
    "CREATE",
    "ALTER",
    "DROP",
    "TRUNCATE",
    "RENAME",
    "COMMENT",
    "GRANT",
    "REVOKE",
    "EXPLAIN",
    "DESCRIBE",
    "ANALYZE",
    "VACUUM",
    "OPTIMIZE",
    "CHECK",
    "REPAIR",
    "REINDEX",
    "REFRESH",
    "CLUSTER",
    "CHECKPOINT",
    "LOCK",
    "UNLOCK",
    "LISTEN",
    "UNLISTEN",
    "NOTIFY",
    "PREPARE",
    "EXECUTE",
    "DEALLOCATE",
    "DECLARE",
    "FETCH",
    "MOVE",
    "CLOSE",
    "CALL",
    "DO",
    "LOAD",
    "DISCARD",
    "USE",
    "KILL",
    "FLUSH",
    "XA",
    "EMPTY",
    "OTHER",
];

/// The longest name of a table that is kept, in bytes; PostgreSQL allows 63, MySQL 64 characters.
const NAME_BYTES_MAX: usize = 256;

/// The most names of a `WITH` that are told from tables.
const CTES_MAX: usize = 64;

/// The first statement of a text, or the write that it stands before. Its key is its table.
pub fn recognise(text: &[u8], dialect: Dialect) -> Recognised {
    let text = bounded_text(text);
    let (mut kind, mut table) = first(&text, dialect);
    if BEFORE_WRITES.contains(&kind)
        && let Some(write) = hidden_write(&text, dialect)
    {
        (kind, table) = first(write, dialect);
    }
    Recognised {
        operation: shared_kind(kind),
        key: Arc::clone(&table),
        table: table.into(),
        text: text.into(),
    }
}

/// Kind and table of the first statement.
fn first(text: &str, dialect: Dialect) -> (&'static str, Arc<str>) {
    let mut reader = Reader::new(text, dialect);
    let kind = reader.read();
    (kind, reader.table().into())
}

/// Whether the first statement of a text begins a transaction, whatever comes behind it.
pub fn begins_transaction(text: &str, dialect: Dialect) -> bool {
    first(text, dialect).0 == "BEGIN"
}

/// The kinds of statements that a write of the same text outweighs. What ends a transaction is
/// none of them, nor what makes or drops something.
const BEFORE_WRITES: &[&str] = &[
    "SELECT", "VALUES", "TABLE", "WITH", "BEGIN", "SET", "SHOW", "LOCK", "LISTEN",
];

/// The verbs with which a statement that changes rows begins.
const WRITES: &[&str] = &[
    "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "COPY", "LOAD", "CALL",
];

/// The same of a statement that begins with `WITH`, and of its queries.
const WRITES_OF_WITH: &[&str] = &["INSERT", "UPDATE", "DELETE", "MERGE"];

/// A text from its first write on that is not its first word: a later statement, or, in PostgreSQL,
/// a query of a `WITH`.
fn hidden_write(text: &str, dialect: Dialect) -> Option<&str> {
    let is_end = |letter: char| letter == ';' || letter.is_whitespace();
    let is_several = text.trim_end_matches(is_end).contains(';');
    let queries_write = dialect == Dialect::Postgres;
    let may_hide = is_several || queries_write && begins_with_queries(text, dialect);
    if !may_hide {
        return None;
    }
    let mut tokens = Tokens {
        text,
        at: 0,
        dialect,
    };
    // Whether a statement begins here; whether it began with a `WITH` whose main verb is to come.
    let (mut begins, mut in_with) = (true, false);
    let mut depth = 0_u32;
    let mut last = [Token::Semicolon; 2];
    loop {
        let at = tokens.at;
        let token = tokens.next()?;
        let [before, previous] = last;
        let is_name = previous.is_one_of(&["WITH", "RECURSIVE"]) || previous == Token::Comma;
        let is_main = in_with && depth == 0 && !is_name && token.is_one_of(MAIN_VERBS);
        let is_query = in_with
            && queries_write
            && previous == Token::Open
            && before.is_one_of(&["AS", "MATERIALIZED"]);
        if begins && token.is_one_of(WRITES)
            || (is_main || is_query) && token.is_one_of(WRITES_OF_WITH)
        {
            return text.get(at..);
        }
        match token {
            Token::Open => depth = depth.saturating_add(1),
            Token::Close => depth = depth.saturating_sub(1),
            Token::Semicolon => depth = 0,
            _ => {}
        }
        in_with = (in_with && !is_main || begins && token.is("WITH")) && token != Token::Semicolon;
        begins = token == Token::Semicolon || begins && token == Token::Open;
        last = [previous, token];
    }
}

/// Whether a statement begins with the queries of a `WITH`. In PostgreSQL these may change rows
/// too, of which the count in the server's answer says nothing.
pub fn begins_with_queries(text: &str, dialect: Dialect) -> bool {
    let tokens = Tokens {
        text,
        at: 0,
        dialect,
    };
    let mut own = tokens.skip_while(|token| matches!(token, Token::Semicolon | Token::Open));
    own.next().is_some_and(|first| first.is("WITH"))
}

/// The text as it is kept for matching: its first [`TEXT_BYTES_MAX`] bytes, cut between two
/// characters, with a replacement character for what is not UTF-8.
pub fn bounded_text(text: &[u8]) -> Cow<'_, str> {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    if end < text.len() {
        // A character of UTF-8 has at most three bytes that go on from the one before.
        let start = end.saturating_sub(3);
        while end > start && text[end] & 0b1100_0000 == 0b1000_0000 {
            end -= 1;
        }
    }
    let text = String::from_utf8_lossy(&text[..end]);
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    // The replacement character takes three bytes for one.
    let mut text = text.into_owned();
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    Cow::Owned(text)
}

/// A kind without a new allocation for each statement.
fn shared_kind(kind: &'static str) -> Arc<str> {
    static SHARED: LazyLock<BTreeMap<&'static str, Arc<str>>> =
        LazyLock::new(|| KINDS.iter().map(|kind| (*kind, Arc::from(*kind))).collect());
    match SHARED.get(kind) {
        Some(shared) => Arc::clone(shared),
        None => kind.into(),
    }
}

/// A piece of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// A keyword or a name without quotes.
    Word(&'a str),
    /// A name in quotes, as it stands between them, and the quote.
    Quoted(&'a str, u8),
    /// A string, or a number.
    Literal,
    Open,
    Close,
    Semicolon,
    Dot,
    Comma,
    Other,
}

impl Token<'_> {
    fn is(self, word: &str) -> bool {
        matches!(self, Self::Word(text) if text.eq_ignore_ascii_case(word))
    }

    fn is_one_of(self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }
}

/// Cuts a text into tokens.
struct Tokens<'a> {
    text: &'a str,
    at: usize,
    dialect: Dialect,
}

impl<'a> Tokens<'a> {
    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    /// The text from `start` to here. Both stand beside an ASCII byte or an end, hence between two
    /// characters.
    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.byte(0).is_some_and(&wanted) {
            self.at += 1;
        }
    }

    /// Skips white space and comments.
    fn skip_blank(&mut self) {
        let is_mysql = self.dialect == Dialect::Mysql;
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(byte), _) if byte.is_ascii_whitespace() || byte == 0x0b => self.at += 1,
                (Some(b'-'), Some(b'-')) if !is_mysql || self.ends_dashes() => self.skip_line(),
                (Some(b'#'), _) if is_mysql => self.skip_line(),
                // The rest of a `/*! … */`.
                (Some(b'*'), Some(b'/')) if is_mysql => self.at += 2,
                (Some(b'/'), Some(b'*')) if is_mysql && self.byte(2) == Some(b'!') => {
                    self.at += 3;
                    self.skip_while(|byte| byte.is_ascii_digit());
                }
                (Some(b'/'), Some(b'*')) => self.skip_comment(),
                _ => return,
            }
        }
    }

    /// Whether the two dashes here begin a comment in MySQL.
    fn ends_dashes(&self) -> bool {
        self.byte(2)
            .is_none_or(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control())
    }

    fn skip_line(&mut self) {
        self.skip_while(|byte| byte != b'\n');
    }

    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.byte(0) {
            match (byte, self.byte(1)) {
                (b'/', Some(b'*')) if depth == 0 || self.dialect == Dialect::Postgres => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', Some(b'/')) => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    /// Skips to behind the closing quote; a doubled quote does not close.
    fn skip_quoted(&mut self, quote: u8, escapes: bool) {
        self.at += 1;
        while let Some(byte) = self.byte(0) {
            self.at += 1;
            if byte == b'\\' && escapes {
                self.at += usize::from(self.byte(0).is_some());
            } else if byte == quote {
                if self.byte(0) != Some(quote) {
                    return;
                }
                self.at += 1;
            }
        }
    }

    /// `$tag$ … $tag$`, or a parameter `$1`, or a lone dollar.
    fn skip_dollar(&mut self) {
        let start = self.at;
        self.at += 1;
        if !self.byte(0).is_some_and(|byte| byte.is_ascii_digit()) {
            self.skip_while(|byte| is_name_byte(byte) && byte != b'$');
        }
        if self.byte(0) != Some(b'$') {
            self.skip_while(|byte| byte.is_ascii_digit());
            return;
        }
        self.at += 1;
        let tag = self.since(start);
        let rest = &self.text[self.at..];
        self.at = match rest.find(tag) {
            Some(end) if !tag.is_empty() => self.at + end + tag.len(),
            _ => self.text.len(),
        };
    }

    fn quoted(&mut self, quote: u8) -> Token<'a> {
        let start = self.at + 1;
        self.skip_quoted(quote, false);
        let inside = self.since(start);
        let quote_text = char::from(quote);
        Token::Quoted(inside.strip_suffix(quote_text).unwrap_or(inside), quote)
    }

    fn word(&mut self) -> Token<'a> {
        let start = self.at;
        self.skip_while(is_name_byte);
        let word = self.since(start);
        if self.byte(0) == Some(b'\'') && word.eq_ignore_ascii_case("e") {
            self.skip_quoted(b'\'', true);
            return Token::Literal;
        }
        Token::Word(word)
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blank();
        let byte = self.byte(0)?;
        let escapes = self.dialect == Dialect::Mysql;
        Some(match byte {
            b'0'..=b'9' => {
                self.skip_while(is_name_byte);
                Token::Literal
            }
            b'\'' => {
                self.skip_quoted(byte, escapes);
                Token::Literal
            }
            b'"' if escapes => {
                self.skip_quoted(byte, true);
                Token::Literal
            }
            b'"' | b'`' => self.quoted(byte),
            b'$' if self.dialect == Dialect::Postgres => {
                self.skip_dollar();
                Token::Literal
            }
            _ if is_name_byte(byte) => self.word(),
            _ => {
                self.at += 1;
                match byte {
                    b'(' => Token::Open,
                    b')' => Token::Close,
                    b';' => Token::Semicolon,
                    b'.' => Token::Dot,
                    b',' => Token::Comma,
                    _ => Token::Other,
                }
            }
        })
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

/// Words that may stand between the word that announces a table and the table.
const BEFORE_TABLE: &[&str] = &[
    "INTO",
    "TABLE",
    "TABLES",
    "ONLY",
    "LATERAL",
    "IF",
    "NOT",
    "EXISTS",
    "LOW_PRIORITY",
    "HIGH_PRIORITY",
    "DELAYED",
    "QUICK",
    "IGNORE",
    "FULL",
    "FREEZE",
    "VERBOSE",
    "ANALYZE",
    "ANALYSE",
    "CONCURRENTLY",
    "LOCAL",
    "NO_WRITE_TO_BINLOG",
];

/// Words that are no table though they stand where one could.
const NO_TABLE: &[&str] = &[
    "SELECT", "VALUES", "SET", "WHERE", "WITH", "INDEX", "DATABASE", "SCHEMA", "SYSTEM",
];

/// The verbs that may follow the names of a `WITH`.
const MAIN_VERBS: &[&str] = &[
    "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "VALUES", "TABLE",
];

/// What the announced name may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Announced {
    /// A table, whatever follows.
    Table,
    /// A table, unless a parenthesis follows: then it is a function.
    Source,
}

/// Reads one statement.
struct Reader<'a> {
    tokens: std::iter::Peekable<Tokens<'a>>,
    /// How many parentheses are open.
    depth: u32,
    /// At which depths, below 64, a query's verb has stood: only there does `FROM` announce a
    /// table, elsewhere it belongs to a function, as in `extract(year FROM t)`.
    queries: u64,
    /// Names of a `WITH`, which are no tables.
    ctes: BTreeSet<String>,
    /// Whether the main verb was found; until then we are within a `WITH`.
    has_verb: bool,
    in_cte: Option<String>,
    in_main: Option<String>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, dialect: Dialect) -> Self {
        let tokens = Tokens {
            text,
            at: 0,
            dialect,
        };
        Self {
            tokens: tokens.peekable(),
            depth: 0,
            queries: 0,
            ctes: BTreeSet::new(),
            has_verb: false,
            in_cte: None,
            in_main: None,
        }
    }

    fn table(self) -> String {
        self.in_main.or(self.in_cte).unwrap_or_default()
    }

    fn peek(&mut self) -> Option<Token<'a>> {
        self.tokens.peek().copied()
    }

    /// The kind; the tables are found on the way.
    fn read(&mut self) -> &'static str {
        while self.peek() == Some(Token::Semicolon) {
            self.tokens.next();
        }
        while self.peek() == Some(Token::Open) {
            self.open();
        }
        let first = match self.tokens.next() {
            None => return "EMPTY",
            Some(Token::Word(word)) => word,
            Some(_) => return "OTHER",
        };
        let kind = self.kind(first);
        if kind == "WITH" {
            return self.with();
        }
        self.has_verb = true;
        self.verb(kind);
        self.body(kind);
        kind
    }

    fn kind(&mut self, first: &str) -> &'static str {
        let upper = first.to_ascii_uppercase();
        match upper.as_str() {
            "START" if self.peek().is_some_and(|next| next.is("TRANSACTION")) => "BEGIN",
            "END" => "COMMIT",
            "ABORT" => "ROLLBACK",
            "ROLLBACK" if self.goes_back_to_savepoint() => "ROLLBACK TO",
            "DESC" => "DESCRIBE",
            "ANALYSE" => "ANALYZE",
            "EMPTY" | "OTHER" => "OTHER",
            word => KINDS
                .iter()
                .find(|kind| **kind == word)
                .copied()
                .unwrap_or("OTHER"),
        }
    }

    fn goes_back_to_savepoint(&mut self) -> bool {
        while self
            .peek()
            .is_some_and(|next| next.is_one_of(&["WORK", "TRANSACTION"]))
        {
            self.tokens.next();
        }
        self.peek().is_some_and(|next| next.is("TO"))
    }

    /// Reads the names of a `WITH` and their queries, up to the main verb.
    fn with(&mut self) -> &'static str {
        let mut announces_name = true;
        while let Some(token) = self.next_within() {
            if self.depth > 0 {
                self.within(token, "WITH");
                continue;
            }
            match token {
                Token::Word(word) if announces_name && !token.is("RECURSIVE") => {
                    self.add_cte(word.to_lowercase());
                    announces_name = false;
                }
                Token::Quoted(name, quote) if announces_name => {
                    self.add_cte(name_of(name, quote));
                    announces_name = false;
                }
                Token::Comma => announces_name = true,
                Token::Word(word) if token.is_one_of(MAIN_VERBS) => {
                    let kind = self.kind(word);
                    self.has_verb = true;
                    self.verb(kind);
                    self.body(kind);
                    return kind;
                }
                _ => {}
            }
        }
        "WITH"
    }

    fn add_cte(&mut self, name: String) {
        if self.ctes.len() < CTES_MAX {
            self.ctes.insert(name);
        }
    }

    /// What follows a verb at once.
    fn verb(&mut self, verb: &str) {
        match verb {
            "SELECT" | "DELETE" => self.queries |= self.level(),
            "INSERT" | "REPLACE" | "MERGE" | "UPDATE" | "COPY" | "TABLE" | "TRUNCATE" | "LOCK"
            | "DESCRIBE" => self.announced(Announced::Table),
            "VACUUM" | "ANALYZE" | "CLUSTER" | "REINDEX" => {
                self.skip_options();
                self.announced(Announced::Table);
            }
            "EXPLAIN" => {
                self.skip_options();
                self.verb_within(true);
            }
            _ => {}
        }
    }

    /// Reads the rest until the first table is known.
    fn body(&mut self, kind: &'static str) {
        if matches!(kind, "FETCH" | "MOVE" | "CLOSE" | "SHOW" | "SET" | "USE") {
            return;
        }
        while self.in_main.is_none()
            && let Some(token) = self.next_within()
        {
            self.within(token, kind);
        }
    }

    /// The next token of the statement, keeping count of parentheses.
    fn next_within(&mut self) -> Option<Token<'a>> {
        match self.peek()? {
            Token::Semicolon if self.depth == 0 => return None,
            Token::Open => {
                self.open();
                return Some(Token::Open);
            }
            Token::Close => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.tokens.next()
    }

    fn open(&mut self) {
        self.tokens.next();
        self.depth = self.depth.saturating_add(1);
        self.queries &= !self.level();
    }

    /// The bit of this depth; none beyond 63.
    fn level(&self) -> u64 {
        1_u64.checked_shl(self.depth).unwrap_or(0)
    }

    /// One token inside a statement of this kind.
    fn within(&mut self, token: Token<'a>, kind: &str) {
        if token == Token::Open {
            return self.verb_within(false);
        }
        let Token::Word(word) = token else {
            return;
        };
        let is_definition = matches!(kind, "CREATE" | "ALTER" | "DROP" | "REFRESH");
        if token.is("SELECT") {
            self.queries |= self.level();
        } else if token.is("FROM") && self.queries & self.level() != 0 || token.is("JOIN") {
            self.announced(Announced::Source);
        } else if token.is("DISTINCT") {
            // `IS DISTINCT FROM` announces nothing.
            if self.peek().is_some_and(|next| next.is("FROM")) {
                self.tokens.next();
            }
        } else if token.is_one_of(&["TABLE", "TABLES"])
            || is_definition && token.is_one_of(&["VIEW", "ON"])
        {
            self.announced(Announced::Table);
        } else if kind == "PREPARE" && word.eq_ignore_ascii_case("AS") {
            self.verb_within(true);
        }
    }

    /// A verb that may stand here, where a query may begin.
    fn verb_within(&mut self, goes_on: bool) {
        while goes_on
            && self
                .peek()
                .is_some_and(|next| next.is_one_of(&["ANALYZE", "ANALYSE", "VERBOSE"]))
        {
            self.tokens.next();
        }
        let Some(verb) = self.peek().and_then(|next| {
            MAIN_VERBS
                .iter()
                .find(|verb| next.is(verb) && **verb != "TABLE")
        }) else {
            return;
        };
        self.tokens.next();
        // A function of this name: `replace(a, b, c)`.
        if self.peek() != Some(Token::Open) || *verb == "SELECT" {
            self.verb(verb);
        }
    }

    /// Skips `(…)`, the options of some commands.
    fn skip_options(&mut self) {
        if self.peek() != Some(Token::Open) {
            return;
        }
        let before = self.depth;
        while self.next_within().is_some() && self.depth > before {}
    }

    /// A table is announced: reads it, if one stands here.
    fn announced(&mut self, announced: Announced) {
        while self.peek().is_some_and(|next| next.is_one_of(BEFORE_TABLE)) {
            self.tokens.next();
        }
        if self.peek().is_some_and(|next| next.is_one_of(NO_TABLE)) {
            return;
        }
        let Some(name) = self.name() else {
            return;
        };
        if announced == Announced::Source && self.peek() == Some(Token::Open) {
            return;
        }
        if self.ctes.contains(&name) {
            return;
        }
        let found = if self.has_verb {
            &mut self.in_main
        } else {
            &mut self.in_cte
        };
        found.get_or_insert(name);
    }

    /// A name, of which the part behind the last dot counts.
    fn name(&mut self) -> Option<String> {
        let mut name = None;
        loop {
            let part = match self.peek() {
                Some(Token::Word(word)) => bounded_name(word).to_lowercase(),
                Some(Token::Quoted(inside, quote)) => name_of(inside, quote),
                _ => return name,
            };
            self.tokens.next();
            name = Some(part);
            if self.peek() != Some(Token::Dot) {
                return name;
            }
            self.tokens.next();
        }
    }
}

fn name_of(inside: &str, quote: u8) -> String {
    let quote = char::from(quote).to_string();
    bounded_name(inside)
        .replace(&quote.repeat(2), &quote)
        .to_lowercase()
}

fn bounded_name(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn postgres(text: &str) -> (String, String) {
        seen(text, Dialect::Postgres)
    }

    fn mysql(text: &str) -> (String, String) {
        seen(text, Dialect::Mysql)
    }

    fn seen(text: &str, dialect: Dialect) -> (String, String) {
        let Recognised {
            operation, table, ..
        } = recognise(text.as_bytes(), dialect);
        (operation.to_string(), table.to_string())
    }

    #[track_caller]
    fn both(text: &str, operation: &str, table: &str) {
        let expected = (operation.to_owned(), table.to_owned());
        assert_eq!(postgres(text), expected, "{text}");
        assert_eq!(mysql(text), expected, "{text}");
    }

    #[test]
    fn the_kind_and_the_first_table_of_everyday_statements() {
        both(
            "SELECT abalance FROM pgbench_accounts WHERE aid = 7;",
            "SELECT",
            "pgbench_accounts",
        );
        both("select 1", "SELECT", "");
        both(
            "INSERT INTO Public.Logs (a, b) VALUES (1, 2)",
            "INSERT",
            "logs",
        );
        both("update t set a = 1 from u", "UPDATE", "t");
        both("DELETE FROM ONLY t WHERE a = 1", "DELETE", "t");
        both("COPY t (a, b) FROM STDIN", "COPY", "t");
        both("COPY (SELECT a FROM t) TO STDOUT", "COPY", "t");
        both("CREATE TABLE IF NOT EXISTS t (a int)", "CREATE", "t");
        both("CREATE UNIQUE INDEX i ON s.t (a)", "CREATE", "t");
        both("DROP TABLE t", "DROP", "t");
        both("ALTER TABLE ONLY t ADD c int", "ALTER", "t");
        both("TRUNCATE t", "TRUNCATE", "t");
        both("LOCK TABLE t IN SHARE MODE", "LOCK", "t");
        both("VACUUM (FULL, ANALYZE) t", "VACUUM", "t");
        both("EXPLAIN ANALYZE SELECT * FROM t", "EXPLAIN", "t");
        both("EXPLAIN UPDATE t SET a = 1", "EXPLAIN", "t");
        both("PREPARE p AS UPDATE t SET a = 1", "PREPARE", "t");
        both("DECLARE c CURSOR FOR SELECT a FROM t", "DECLARE", "t");
        both("FETCH 10 FROM c", "FETCH", "");
        both("TABLE t", "TABLE", "t");
        both("VALUES (1), (2)", "VALUES", "");
        both("SET search_path TO a", "SET", "");
        both("frobnicate all", "OTHER", "");
        both("", "EMPTY", "");
        both(" ; -- nothing\n", "EMPTY", "");
    }

    #[test]
    fn transactions_have_one_name_for_each_thing() {
        both("begin", "BEGIN", "");
        both("START TRANSACTION READ ONLY", "BEGIN", "");
        both("END", "COMMIT", "");
        both("ABORT", "ROLLBACK", "");
        both("ROLLBACK", "ROLLBACK", "");
        both("ROLLBACK WORK", "ROLLBACK", "");
        both("rollback to savepoint a", "ROLLBACK TO", "");
        both("ROLLBACK TRANSACTION TO a", "ROLLBACK TO", "");
    }

    #[test]
    fn queries_that_go_before_a_statement_are_seen() {
        for (text, has) in [
            (
                "WITH a AS (DELETE FROM b RETURNING c) INSERT INTO d SELECT c FROM a",
                true,
            ),
            (
                "/* of whom */ ; with a AS (SELECT 1) UPDATE b SET c = 1",
                true,
            ),
            ("INSERT INTO d WITH a AS (SELECT 1) SELECT * FROM a", false),
            ("UPDATE \"with\" SET c = 1", false),
            ("", false),
        ] {
            for dialect in [Dialect::Postgres, Dialect::Mysql] {
                assert_eq!(begins_with_queries(text, dialect), has, "{text}");
            }
        }
    }

    #[test]
    fn after_with_the_main_verb_counts_and_its_names_are_no_tables() {
        both(
            "WITH recent AS (SELECT * FROM orders), b(x) AS (SELECT 1) SELECT * FROM recent",
            "SELECT",
            "orders",
        );
        both(
            "WITH RECURSIVE t AS (SELECT 1 UNION SELECT 2 FROM t) INSERT INTO target SELECT * FROM t",
            "INSERT",
            "target",
        );
        let gone = "WITH gone AS (DELETE FROM a RETURNING *) SELECT * FROM gone JOIN b USING (id)";
        assert_eq!(postgres(gone), ("DELETE".into(), "a".into()));
        // Of MySQL's only the statement itself writes.
        assert_eq!(mysql(gone), ("SELECT".into(), "b".into()));
        both("WITH x AS (SELECT 1", "WITH", "");
    }

    #[test]
    fn comments_strings_and_quotes_hide_what_they_hold() {
        both(
            "/* FROM a */ SELECT 'FROM b' -- FROM c\n FROM d",
            "SELECT",
            "d",
        );
        both("SELECT 'it''s FROM a' FROM b", "SELECT", "b");
        both("SELECT a FROM s . X", "SELECT", "x");
    }

    #[test]
    fn the_dialects_differ_in_quotes_and_comments() {
        let table = |seen: (String, String)| seen.1;
        assert_eq!(
            table(postgres("/* a /* b */ FROM x */ SELECT 1 FROM y")),
            "y"
        );
        assert_eq!(
            table(postgres(
                "SELECT $$ FROM x $$, $a$ $$ FROM x $a$, $1 FROM y"
            )),
            "y"
        );
        assert_eq!(table(postgres("SELECT 'a\\' FROM x")), "x");
        assert_eq!(table(postgres("SELECT E'a\\' FROM x' FROM y")), "y");
        assert_eq!(
            table(postgres("SELECT 1 FROM \"Sch ema\".\"My \"\"Table\"")),
            "my \"table"
        );
        assert_eq!(table(mysql("SELECT 'a\\' FROM x' FROM y")), "y");
        assert_eq!(table(mysql("SELECT \"FROM x\" FROM `Sch`.`y``z`")), "y`z");
        assert_eq!(table(mysql("SELECT 1 # FROM x\n FROM y")), "y");
        assert_eq!(table(mysql("SELECT 5--1 FROM y")), "y");
        assert_eq!(mysql("/*!40101 SET NAMES utf8 */;").0, "SET");
        assert_eq!(
            mysql("REPLACE LOW_PRIORITY INTO t VALUES (1)"),
            ("REPLACE".into(), "t".into())
        );
        assert_eq!(
            mysql("INSERT IGNORE t VALUES (1)"),
            ("INSERT".into(), "t".into())
        );
    }

    #[test]
    fn functions_with_from_and_functions_as_sources_are_no_tables() {
        both(
            "SELECT extract(year FROM a), trim(both FROM b) FROM t",
            "SELECT",
            "t",
        );
        both("SELECT a IS DISTINCT FROM b FROM t", "SELECT", "t");
        both(
            "SELECT * FROM generate_series(1, 2) g JOIN t ON true",
            "SELECT",
            "t",
        );
        both("SELECT * FROM (SELECT a FROM t) x", "SELECT", "t");
        both("(SELECT a FROM t) UNION (SELECT a FROM u)", "SELECT", "t");
        both("SELECT a FROM t FOR UPDATE", "SELECT", "t");
        both(
            "INSERT INTO t SELECT * FROM u ON CONFLICT DO UPDATE SET a = 1",
            "INSERT",
            "t",
        );
    }

    #[test]
    fn the_first_statement_of_several_counts() {
        both("BEGIN; SELECT * FROM t; COMMIT", "BEGIN", "");
        both(";; SELECT 1; SELECT * FROM t", "SELECT", "");
    }

    #[test]
    fn a_write_counts_before_what_only_reads_or_begins() {
        both("BEGIN; INSERT INTO t VALUES (1); COMMIT", "INSERT", "t");
        both("set a = 1; select 1; UPDATE t SET a = 1", "UPDATE", "t");
        both("; (SELECT 1); delete from t;", "DELETE", "t");
        let behind = "BEGIN; WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a; COMMIT";
        both(behind, "INSERT", "t");
        let within = "WITH a AS (INSERT INTO t VALUES (1) RETURNING b) SELECT * FROM a";
        assert_eq!(postgres(within), ("INSERT".into(), "t".into()));
        let within = "WITH a AS (SELECT 1), b AS MATERIALIZED (UPDATE t SET c = 1) SELECT 1";
        assert_eq!(postgres(within), ("UPDATE".into(), "t".into()));
    }

    #[test]
    fn what_only_looks_like_a_write_is_none() {
        both("SELECT 'a; INSERT INTO b'; SELECT 1", "SELECT", "");
        both("BEGIN /* ; INSERT INTO b */; SELECT 1", "BEGIN", "");
        both("SELECT a FROM t FOR UPDATE; COMMIT", "SELECT", "t");
        both(
            "WITH a AS (SELECT 1) SELECT * FROM t FOR UPDATE; SELECT 1",
            "SELECT",
            "t",
        );
        both(
            "WITH delete AS (SELECT b FROM t) SELECT (delete(b)) FROM delete",
            "SELECT",
            "t",
        );
        both(
            "WITH a AS (SELECT (update(1))) SELECT 1; SELECT 1",
            "SELECT",
            "",
        );
        // What these do to a transaction is more.
        both("ROLLBACK; INSERT INTO t VALUES (1)", "ROLLBACK", "");
        both("COMMIT; INSERT INTO t VALUES (1)", "COMMIT", "");
    }

    #[test]
    fn the_text_is_cut_between_two_characters() {
        let long = format!("SELECT '{}'", "é".repeat(TEXT_BYTES_MAX));
        let kept = recognise(long.as_bytes(), Dialect::Postgres).text;
        assert!(kept.len() <= TEXT_BYTES_MAX && kept.len() > TEXT_BYTES_MAX - 4);
        assert!(long.starts_with(&*kept));
        let broken = vec![0xff; TEXT_BYTES_MAX * 2];
        assert!(recognise(&broken, Dialect::Mysql).text.len() <= TEXT_BYTES_MAX);
    }

    /// Texts out of the pieces that the reader tells apart.
    fn any_sql() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "SELECT", "FROM", "INTO", "WITH", "AS", "(", ")", ";", ",", ".", "'", "\"", "`", "$",
            "$a$", "E'", "\\", "/*", "*/", "/*!", "--", "#", "\n", " ", "é", "t", "1", "UPDATE",
            "TABLE", "EXPLAIN", "ROLLBACK", "TO", "DISTINCT", "\u{0}",
        ]);
        prop::collection::vec(pieces, 0..60).prop_map(|pieces| pieces.join(" "))
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for dialect in [Dialect::Postgres, Dialect::Mysql] {
                let seen = recognise(&bytes, dialect);
                prop_assert!(KINDS.contains(&&*seen.operation));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in any_sql(), glued in any::<bool>()) {
            let text = if glued { text.replace(' ', "") } else { text };
            for dialect in [Dialect::Postgres, Dialect::Mysql] {
                let seen = recognise(text.as_bytes(), dialect);
                prop_assert!(KINDS.contains(&&*seen.operation));
                prop_assert!(seen.table.len() <= 2 * NAME_BYTES_MAX);
                prop_assert_eq!(&*seen.text, text.as_str());
            }
        }
    }
}
