//! A statement that is understood: what it does, what it takes and what it gives.

use super::{
    infer::{Scope, results},
    refusal::Refusal,
    sql::{self, Token, find_outside, render},
    value::type_named,
};
use postgres_types::Type;
use rusqlite::Connection;

/// What a statement does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    /// SQLite does it.
    Run {
        /// It changes something, or locks what it reads.
        writes: bool,
    },
    Begin,
    Commit,
    Rollback,
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    /// `SET name = value`.
    Set(String, String),
    /// `SHOW name`.
    Show(String),
    /// `DEALLOCATE`; without a name: all.
    Deallocate(Option<String>),
    /// Answered as done: it means nothing here.
    Nothing,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub name: String,
    pub kind: Type,
}

/// A statement ready to be executed.
#[derive(Debug)]
pub(super) struct Statement {
    pub deed: Deed,
    /// The first words of its command tag.
    pub tag: String,
    /// As SQLite reads it.
    pub sql: String,
    pub parameters: Vec<Type>,
    /// Empty where it gives no rows.
    pub columns: Vec<Column>,
}

impl Statement {
    fn of(deed: Deed, tag: &str) -> Self {
        Self {
            deed,
            tag: tag.to_owned(),
            sql: String::new(),
            parameters: Vec::new(),
            columns: Vec::new(),
        }
    }

    /// No statement at all.
    pub(super) fn empty() -> Self {
        Self::of(Deed::Nothing, "")
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tag.is_empty()
    }

    /// Whether it may be sent in a transaction that has failed.
    pub(super) fn ends_failure(&self) -> bool {
        matches!(
            self.deed,
            Deed::Commit | Deed::Rollback | Deed::RollbackTo(_)
        )
    }
}

/// Understands a statement. `given` are the types that the client named for its parameters.
pub(super) fn understand(
    tokens: Vec<Token>,
    given: &[Option<Type>],
    connection: &Connection,
) -> Result<Statement, Refusal> {
    match session_statement(&tokens)? {
        Some(statement) => Ok(statement),
        None => run(tokens, given, connection),
    }
}

/// Statements about the session rather than the data.
fn session_statement(tokens: &[Token]) -> Result<Option<Statement>, Refusal> {
    let first = tokens[0].name().unwrap_or_default();
    let second = tokens.get(1).and_then(Token::name).unwrap_or_default();
    let last_name = || {
        let name = tokens.last().and_then(Token::name);
        name.ok_or_else(|| Refusal::new("42601", "syntax error at end of input"))
    };
    let has = |word: &str| tokens.iter().any(|token| token.is_word(word));
    Ok(Some(match first.as_str() {
        "begin" => Statement::of(Deed::Begin, "BEGIN"),
        "start" => Statement::of(Deed::Begin, "START TRANSACTION"),
        "commit" | "end" => Statement::of(Deed::Commit, "COMMIT"),
        "rollback" if has("to") => Statement::of(Deed::RollbackTo(last_name()?), "ROLLBACK"),
        "rollback" | "abort" => Statement::of(Deed::Rollback, "ROLLBACK"),
        "savepoint" => Statement::of(Deed::Savepoint(last_name()?), "SAVEPOINT"),
        "release" => Statement::of(Deed::Release(last_name()?), "RELEASE"),
        "set" => {
            let (name, value) = setting(&tokens[1..]);
            Statement::of(Deed::Set(name, value), "SET")
        }
        "show" => {
            let name = shown(&tokens[1..]);
            Statement {
                columns: vec![Column {
                    name: name.clone(),
                    kind: Type::TEXT,
                }],
                ..Statement::of(Deed::Show(name), "SHOW")
            }
        }
        "deallocate" => {
            let name = last_name()?;
            let name = Some(name).filter(|name| name != "all");
            Statement::of(Deed::Deallocate(name), "DEALLOCATE")
        }
        "reset" => Statement::of(Deed::Nothing, "RESET"),
        "discard" => Statement::of(Deed::Deallocate(None), "DISCARD ALL"),
        "analyze" => Statement::of(Deed::Nothing, "ANALYZE"),
        "vacuum" => Statement::of(Deed::Nothing, "VACUUM"),
        "listen" | "unlisten" | "notify" => {
            Statement::of(Deed::Nothing, &first.to_ascii_uppercase())
        }
        "lock" => Statement::of(Deed::Nothing, "LOCK TABLE"),
        "comment" | "grant" | "revoke" => Statement::of(Deed::Nothing, &first.to_ascii_uppercase()),
        "create" if second == "extension" || second == "schema" || second == "sequence" => {
            Statement::of(
                Deed::Nothing,
                &format!("CREATE {}", second.to_ascii_uppercase()),
            )
        }
        _ => return Ok(None),
    }))
}

/// `[SESSION | LOCAL] name {= | TO} value`.
fn setting(tokens: &[Token]) -> (String, String) {
    let scoped = tokens
        .first()
        .is_some_and(|token| token.is_word("session") || token.is_word("local"));
    let tokens = &tokens[usize::from(scoped)..];
    let split = tokens
        .iter()
        .position(|token| token.is_sign("=") || token.is_word("to"));
    let Some(split) = split else {
        let zone = tokens.first().is_some_and(|token| token.is_word("time"));
        let name = if zone { "timezone" } else { "transaction" };
        return (name.to_owned(), plain(tokens.get(2..).unwrap_or_default()));
    };
    (shown(&tokens[..split]), plain(&tokens[split + 1..]))
}

/// The name of a setting.
fn shown(tokens: &[Token]) -> String {
    match tokens {
        [first, ..] if first.is_word("time") => "TimeZone".to_owned(),
        [first, ..] if first.is_word("transaction") => "transaction_isolation".to_owned(),
        _ => plain(tokens).replace(' ', "").to_ascii_lowercase(),
    }
}

/// Words without their quotes.
fn plain(tokens: &[Token]) -> String {
    let words = tokens.iter().map(|token| match token {
        Token::Text(text) | Token::Name(text) | Token::Word(text) | Token::Number(text) => {
            text.clone()
        }
        Token::Sign(sign) => (*sign).to_owned(),
        Token::Parameter(number) => format!("${number}"),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What is left out of PostgreSQL, by first word.
const UNSUPPORTED: &[&str] = &[
    "copy",
    "declare",
    "fetch",
    "move",
    "close",
    "prepare",
    "execute",
    "call",
    "do",
    "merge",
    "explain",
    "cluster",
    "reindex",
    "refresh",
    "import",
    "security",
    "checkpoint",
    "load",
];

/// What SQLite is given to do, by first word: nothing else reaches it, such as `ATTACH`.
const RUN: &[&str] = &[
    "select", "insert", "update", "delete", "with", "values", "create", "drop", "alter", "truncate",
];

fn run(
    tokens: Vec<Token>,
    given: &[Option<Type>],
    connection: &Connection,
) -> Result<Statement, Refusal> {
    let open = tokens.iter().take_while(|token| token.is_sign("(")).count();
    let first = tokens.get(open).and_then(Token::name).unwrap_or_default();
    if UNSUPPORTED.contains(&first.as_str()) {
        return Err(Refusal::unsupported(&first.to_ascii_uppercase()));
    }
    if !RUN.contains(&first.as_str()) {
        let shown = render(&tokens[open.min(tokens.len() - 1)..][..1]);
        return Err(Refusal::new(
            "42601",
            format!("syntax error at or near \"{}\"", shown.trim()),
        ));
    }
    let tag = tag(&tokens, &first);
    let translated = sql::translate(tokens)?;
    let scope = Scope::new(&translated.tokens, given, connection)?;
    let text = render(&sql::check_divisors(&translated.tokens));
    let prepared = connection.prepare_cached(&text)?;
    let writes = !prepared.readonly() || translated.locks;
    let items = results(&translated.tokens);
    let count = prepared.column_count();
    let columns = prepared.columns().enumerate().map(|(at, column)| {
        let item = item_of(&items, at, count);
        let declared = column.decl_type().and_then(type_named);
        let (name, kind) = match item {
            Some(item) => scope.described(item, column.name()),
            None => (column.name().to_owned(), Type::TEXT),
        };
        Column {
            name,
            kind: declared.unwrap_or(kind),
        }
    });
    let columns = columns.collect();
    Ok(Statement {
        deed: Deed::Run { writes },
        tag,
        sql: text,
        parameters: scope.parameters(),
        columns,
    })
}

/// The expression behind the column at a place: items before a `*` count from the front, those
/// behind it from the back.
fn item_of<'a>(items: &[&'a [Token]], at: usize, count: usize) -> Option<&'a [Token]> {
    let star = |item: &&[Token]| item.last().is_some_and(|token| token.is_sign("*"));
    let first = items.iter().position(star).unwrap_or(items.len());
    if at < first {
        return items.get(at).copied();
    }
    let from_back = count.checked_sub(at)?;
    let behind = items.iter().rev().position(star)?;
    (from_back <= behind).then(|| items[items.len() - from_back])
}

fn tag(tokens: &[Token], first: &str) -> String {
    let main = match first {
        "with" => find_outside(tokens, 0, &["select", "insert", "update", "delete"])
            .and_then(|at| tokens[at].name())
            .unwrap_or_default(),
        "values" => "select".to_owned(),
        other => other.to_owned(),
    };
    match main.as_str() {
        "truncate" => "TRUNCATE TABLE".to_owned(),
        "create" | "drop" | "alter" => {
            const KINDS: &[&str] = &["table", "index", "view", "trigger"];
            let kind = find_outside(tokens, 0, KINDS).and_then(|at| tokens[at].name());
            let kind = kind.unwrap_or_default();
            format!("{main} {kind}").trim().to_ascii_uppercase()
        }
        other => other.to_ascii_uppercase(),
    }
}
