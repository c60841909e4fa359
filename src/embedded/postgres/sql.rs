//! From PostgreSQL's SQL to SQLite's: the words of a statement, and the few things that are said
//! differently. What neither knows, SQLite refuses as a syntax error.
//!
//! This is no parser: it knows words, quotes, parentheses and statements, and no grammar.

use super::{refusal::Refusal, value::type_named};

/// One word of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A keyword or a name, as written.
    Word(String),
    /// A quoted name, without its quotes.
    Name(String),
    /// A text, without its quotes.
    Text(String),
    /// A number.
    Number(String),
    /// `$n`.
    Parameter(usize),
    /// An operator or a parenthesis.
    Sign(&'static str),
}

impl Token {
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own.eq_ignore_ascii_case(word))
    }

    pub(super) fn is_sign(&self, sign: &str) -> bool {
        matches!(self, Self::Sign(own) if *own == sign)
    }

    /// A name, folded to lower case unless it is quoted.
    pub(super) fn name(&self) -> Option<String> {
        match self {
            Self::Word(word) => Some(word.to_ascii_lowercase()),
            Self::Name(name) => Some(name.clone()),
            _ => None,
        }
    }
}

/// The signs of more than one character, longest first, then those of one.
const SIGNS: &[&str] = &[
    "->>", "#>>", "::", "<=", ">=", "<>", "!=", "||", "->", "#>", "<<", ">>", "@>", "<@", "!~",
    "(", ")", ",", ";", ".", "=", "<", ">", "+", "-", "*", "/", "%", "[", "]", ":", "&", "|", "~",
    "#", "!", "?", "@", "^",
];

/// The most parameters of a statement, PostgreSQL's own bound.
const PARAMETERS_MAX: usize = 65_535;

/// The words of a text of SQL.
pub(super) fn tokens(sql: &str) -> Result<Vec<Token>, Refusal> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    loop {
        rest = skip_space(rest)?;
        let Some(first) = rest.chars().next() else {
            return Ok(tokens);
        };
        let (token, length) = one(rest, first)?;
        tokens.push(token);
        rest = &rest[length..];
    }
}

fn unterminated(what: &str) -> Refusal {
    Refusal::new("42601", format!("unterminated {what}"))
}

/// Behind white space and comments; comments of C's kind nest.
fn skip_space(mut rest: &str) -> Result<&str, Refusal> {
    loop {
        rest = rest.trim_start();
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
        } else if rest.starts_with("/*") {
            rest = &rest[comment_length(rest)?..];
        } else {
            return Ok(rest);
        }
    }
}

fn comment_length(text: &str) -> Result<usize, Refusal> {
    let (mut depth, mut at) = (0usize, 0);
    let bytes = text.as_bytes();
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Ok(at);
        }
    }
    Err(unterminated("/* comment"))
}

fn one(rest: &str, first: char) -> Result<(Token, usize), Refusal> {
    if matches!(first, 'e' | 'E') && rest[1..].starts_with('\'') {
        let (text, length) = quoted(&rest[1..], '\'', true)?;
        return Ok((Token::Text(text), length + 1));
    }
    match first {
        '\'' => quoted(rest, '\'', false).map(|(text, length)| (Token::Text(text), length)),
        '"' => quoted(rest, '"', false).map(|(name, length)| (Token::Name(name), length)),
        '$' => dollar(rest),
        _ if first.is_ascii_digit() || (first == '.' && digit_at(rest, 1)) => Ok(number(rest)),
        _ if first.is_alphabetic() || first == '_' => {
            let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
            let length = rest.find(|c| !fits(c)).unwrap_or(rest.len());
            Ok((Token::Word(rest[..length].to_owned()), length))
        }
        _ => SIGNS
            .iter()
            .find(|sign| rest.starts_with(**sign))
            .map(|sign| (Token::Sign(sign), sign.len()))
            .ok_or_else(|| Refusal::new("42601", format!("syntax error at or near \"{first}\""))),
    }
}

fn digit_at(text: &str, at: usize) -> bool {
    text.as_bytes().get(at).is_some_and(u8::is_ascii_digit)
}

fn number(rest: &str) -> (Token, usize) {
    let bytes = rest.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let exponent = matches!(bytes[at], b'e' | b'E')
            && (digit_at(rest, at + 1)
                || (matches!(bytes.get(at + 1), Some(b'+' | b'-')) && digit_at(rest, at + 2)));
        match bytes[at] {
            b'0'..=b'9' | b'.' => at += 1,
            _ if exponent => at += 2,
            _ => break,
        }
    }
    (Token::Number(rest[..at].to_owned()), at)
}

/// A quoted text and the length it takes, quotes included. `escapes` is for `E'…'`.
fn quoted(rest: &str, quote: char, escapes: bool) -> Result<(String, usize), Refusal> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            if chars.next_if(|(_, next)| *next == quote).is_none() {
                return Ok((text, at + 1));
            }
            text.push(quote);
        } else if c == '\\' && escapes {
            let (_, escaped) = chars.next().ok_or_else(|| unterminated("quoted string"))?;
            text.push(match escaped {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                other => other,
            });
        } else {
            text.push(c);
        }
    }
    Err(unterminated("quoted string"))
}

/// `$1`, or a text in dollar quotes.
fn dollar(rest: &str) -> Result<(Token, usize), Refusal> {
    let digits = rest[1..]
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len() - 1);
    if digits > 0 {
        let number = rest[1..=digits].parse().unwrap_or(usize::MAX);
        if number == 0 || number > PARAMETERS_MAX {
            return Err(Refusal::new(
                "42P02",
                format!("there is no parameter {}", &rest[..=digits]),
            ));
        }
        return Ok((Token::Parameter(number), digits + 1));
    }
    let tag = rest[1..].find('$').map(|end| &rest[..end + 2]);
    let tag = tag.filter(|tag| {
        let inner = &tag[1..tag.len() - 1];
        inner.chars().all(|c| c.is_alphanumeric() || c == '_')
    });
    let Some(tag) = tag else {
        return Err(Refusal::new("42601", "syntax error at or near \"$\""));
    };
    let body = &rest[tag.len()..];
    let end = body
        .find(tag)
        .ok_or_else(|| unterminated("dollar-quoted string"))?;
    Ok((Token::Text(body[..end].to_owned()), end + 2 * tag.len()))
}

/// The statements of a text, without those that are empty.
pub(super) fn statements(sql: &str) -> Result<Vec<Vec<Token>>, Refusal> {
    let tokens = tokens(sql)?;
    Ok(tokens
        .split(|token| token.is_sign(";"))
        .filter(|statement| !statement.is_empty())
        .map(<[Token]>::to_vec)
        .collect())
}

/// Where the parenthesis that is opened at `at` is closed.
pub(super) fn closing(tokens: &[Token], at: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (place, token) in tokens.iter().enumerate().skip(at) {
        if token.is_sign("(") {
            depth += 1;
        } else if token.is_sign(")") {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(place);
            }
        }
    }
    None
}

/// The first word at no depth of parentheses that is one of these.
pub(super) fn find_outside(tokens: &[Token], from: usize, words: &[&str]) -> Option<usize> {
    let mut at = from;
    while at < tokens.len() {
        if tokens[at].is_sign("(") {
            at = closing(tokens, at)?;
        } else if words.iter().any(|word| tokens[at].is_word(word)) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// Parts between commas at no depth of parentheses.
pub(super) fn items(tokens: &[Token]) -> Vec<&[Token]> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0i32);
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign("(" | "[") => depth += 1,
            Token::Sign(")" | "]") => depth -= 1,
            Token::Sign(",") if depth == 0 => {
                parts.push(&tokens[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tokens[start..]);
    parts
}

/// As SQLite reads it.
pub(super) fn render(tokens: &[Token]) -> String {
    let mut sql = String::new();
    for token in tokens {
        match token {
            Token::Word(word) | Token::Number(word) => sql += word,
            Token::Name(name) => sql += &format!("\"{}\"", name.replace('"', "\"\"")),
            Token::Text(text) => sql += &format!("'{}'", text.replace('\'', "''")),
            Token::Parameter(number) => sql += &format!("?{number}"),
            Token::Sign(sign) => sql += sign,
        }
        sql.push(' ');
    }
    sql
}

/// A statement in SQLite's words, and whether it locks the rows that it reads.
#[derive(Debug)]
pub(super) struct Translated {
    pub tokens: Vec<Token>,
    pub locks: bool,
}

/// Puts a statement into SQLite's words.
pub(super) fn translate(mut tokens: Vec<Token>) -> Result<Translated, Refusal> {
    drop_schemas(&mut tokens);
    casts(&mut tokens)?;
    words(&mut tokens)?;
    let locks = drop_row_locks(&mut tokens);
    let first = |word: &str| tokens.first().is_some_and(|token| token.is_word(word));
    if first("create") || first("alter") {
        definitions(&mut tokens);
    } else if first("truncate") {
        truncation(&mut tokens);
    } else if first("drop") {
        tokens.retain(|token| {
            !["cascade", "restrict", "concurrently"]
                .iter()
                .any(|word| token.is_word(word))
        });
    }
    Ok(Translated { tokens, locks })
}

/// There is one schema: its name is left out.
fn drop_schemas(tokens: &mut Vec<Token>) {
    let mut at = 0;
    while at + 2 < tokens.len() {
        let schema = tokens[at].name();
        let is_schema = schema.is_some_and(|name| name == "public" || name == "pg_catalog");
        let starts = at == 0 || !tokens[at - 1].is_sign(".");
        if is_schema && starts && tokens[at + 1].is_sign(".") {
            tokens.drain(at..at + 2);
        }
        at += 1;
    }
}

fn word(text: &str) -> Token {
    Token::Word(text.to_owned())
}

/// `x::type` and `CAST(x AS type)` become `pg_cast(x, 'type')`.
fn casts(tokens: &mut Vec<Token>) -> Result<(), Refusal> {
    while let Some(at) = tokens.iter().position(|token| token.is_sign("::")) {
        let (kind, end) = type_at(tokens, at + 1)?;
        let start = primary_before(tokens, at);
        tokens.splice(
            at..end,
            [Token::Sign(","), Token::Text(kind), Token::Sign(")")],
        );
        tokens.splice(start..start, [word("pg_cast"), Token::Sign("(")]);
    }
    let mut at = 0;
    while at + 1 < tokens.len() {
        if tokens[at].is_word("cast") && tokens[at + 1].is_sign("(") {
            let close = closing(tokens, at + 1).ok_or_else(|| unterminated("CAST"))?;
            let Some(as_at) = find_outside(&tokens[..close], at + 2, &["as"]) else {
                return Err(Refusal::new("42601", "syntax error at or near \"CAST\""));
            };
            let (kind, end) = type_at(tokens, as_at + 1)?;
            tokens.splice(as_at..end, [Token::Sign(","), Token::Text(kind)]);
            tokens[at] = word("pg_cast");
        }
        at += 1;
    }
    Ok(())
}

/// The type that is named at a place, in PostgreSQL's short name, and where it ends.
fn type_at(tokens: &[Token], at: usize) -> Result<(String, usize), Refusal> {
    let wrong = || Refusal::new("42601", "syntax error at or near \"::\"");
    let mut name = tokens.get(at).and_then(Token::name).ok_or_else(wrong)?;
    let mut end = at + 1;
    for more in ["precision", "varying"] {
        if tokens.get(end).is_some_and(|token| token.is_word(more)) {
            name = format!("{name} {more}");
            end += 1;
        }
    }
    if tokens.get(end).is_some_and(|token| token.is_sign("(")) {
        end = closing(tokens, end).ok_or_else(wrong)? + 1;
    }
    for kind in ["with", "without"] {
        let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is_word(word));
        if is(end, kind) && is(end + 1, "time") && is(end + 2, "zone") {
            name = format!("{name} {kind} time zone");
            end += 3;
        }
    }
    if tokens.get(end).is_some_and(|token| token.is_sign("[")) {
        return Err(Refusal::unsupported("arrays"));
    }
    let kind = type_named(&name)
        .or_else(|| (name == "regclass").then_some(postgres_types::Type::TEXT))
        .ok_or_else(|| Refusal::new("42704", format!("type \"{name}\" does not exist")))?;
    Ok((kind.name().to_owned(), end))
}

/// Where the operand that ends before `at` begins.
pub(super) fn primary_before(tokens: &[Token], at: usize) -> usize {
    let mut start = at.saturating_sub(1);
    if tokens[start].is_sign(")") {
        let mut depth = 0i32;
        loop {
            match tokens[start] {
                Token::Sign(")") => depth += 1,
                Token::Sign("(") => depth -= 1,
                _ => {}
            }
            if depth == 0 || start == 0 {
                break;
            }
            start -= 1;
        }
        let called = start > 0 && is_function(&tokens[start - 1]);
        start -= usize::from(called);
    }
    while start >= 2 && tokens[start - 1].is_sign(".") {
        start -= 2;
    }
    start
}

/// Whether a word in front of a parenthesis is a function's name rather than a keyword.
pub(super) fn is_function(token: &Token) -> bool {
    const KEYWORDS: &[&str] = &[
        "and",
        "as",
        "by",
        "case",
        "else",
        "from",
        "having",
        "in",
        "is",
        "like",
        "limit",
        "not",
        "on",
        "or",
        "returning",
        "select",
        "set",
        "then",
        "using",
        "values",
        "when",
        "where",
        "default",
        "check",
        "exists",
        "any",
        "all",
        "union",
    ];
    token
        .name()
        .is_some_and(|name| !KEYWORDS.contains(&name.as_str()))
}

/// Words that are said differently.
fn words(tokens: &mut Vec<Token>) -> Result<(), Refusal> {
    const CALLS: &[(&str, &str)] = &[
        ("current_timestamp", "now"),
        ("localtimestamp", "now"),
        ("current_date", "pg_today"),
        ("current_user", "current_user"),
        ("session_user", "current_user"),
    ];
    let mut at = 0;
    while at < tokens.len() {
        let called = tokens.get(at + 1).is_some_and(|token| token.is_sign("("));
        let part = at > 0 && tokens[at - 1].is_sign(".");
        let call = CALLS.iter().find(|(word, _)| tokens[at].is_word(word));
        if let Some((_, function)) = call.filter(|_| !called && !part) {
            let call = [word(function), Token::Sign("("), Token::Sign(")")];
            tokens.splice(at..=at, call);
            at += 2;
        } else if tokens[at].is_word("ilike") {
            tokens[at] = word("LIKE");
        } else if tokens[at].is_word("interval")
            && let Some(Token::Text(span)) = tokens.get(at + 1)
        {
            shift(tokens, at, span.clone())?;
        }
        at += 1;
    }
    Ok(())
}

/// `x - interval '5 minutes'` becomes `pg_shift(x, '-', '5 minutes')`.
fn shift(tokens: &mut Vec<Token>, at: usize, span: String) -> Result<(), Refusal> {
    let sign = match at.checked_sub(1).map(|before| &tokens[before]) {
        Some(Token::Sign(sign @ ("+" | "-"))) if at >= 2 => *sign,
        _ => {
            return Err(Refusal::unsupported(
                "intervals other than `time + interval '…'`",
            ));
        }
    };
    let start = primary_before(tokens, at - 1);
    let comma = Token::Sign(",");
    tokens.splice(
        at - 1..at + 2,
        [
            comma.clone(),
            Token::Text(sign.to_owned()),
            comma,
            Token::Text(span),
            Token::Sign(")"),
        ],
    );
    tokens.splice(start..start, [word("pg_shift"), Token::Sign("(")]);
    Ok(())
}

/// `FOR UPDATE` and its kin: here a statement locks all rows or none.
fn drop_row_locks(tokens: &mut Vec<Token>) -> bool {
    const STRENGTHS: &[&str] = &["update", "share", "no", "key"];
    let found = (0..tokens.len()).find(|at| {
        tokens[*at].is_word("for")
            && tokens
                .get(at + 1)
                .is_some_and(|next| STRENGTHS.iter().any(|word| next.is_word(word)))
    });
    let Some(at) = found else { return false };
    const PARTS: &[&str] = &[
        "for", "update", "share", "no", "key", "of", "nowait", "skip", "locked",
    ];
    let mut end = at;
    while end < tokens.len() && !tokens[end].is_sign(")") && !tokens[end].is_word("limit") {
        let part = PARTS.iter().any(|word| tokens[end].is_word(word));
        let named = end > at && (tokens[end - 1].is_word("of") || tokens[end - 1].is_sign(","));
        if !part && !named && !tokens[end].is_sign(",") {
            break;
        }
        end += 1;
    }
    tokens.drain(at..end);
    true
}

/// `CREATE TABLE` and its kin.
fn definitions(tokens: &mut Vec<Token>) {
    tokens.retain(|token| {
        !["unlogged", "concurrently", "cascade"]
            .iter()
            .any(|word| token.is_word(word))
    });
    let index = find_outside(tokens, 0, &["index"]).filter(|at| *at <= 2);
    if let Some(index) = index {
        if let Some(using) = find_outside(tokens, index, &["using"]) {
            tokens.drain(using..(using + 2).min(tokens.len()));
        }
        return;
    }
    let table = table_name(tokens).unwrap_or_default();
    let mut at = 0;
    while at < tokens.len() {
        let name = tokens[at].name().unwrap_or_default();
        if name == "default" && !tokens.get(at + 1).is_some_and(|next| next.is_sign("(")) {
            let end = operand_end(tokens, at + 1);
            tokens.insert(end, Token::Sign(")"));
            tokens.insert(at + 1, Token::Sign("("));
            at += 1;
        } else if at > 0 && matches!(name.as_str(), "serial" | "bigserial" | "smallserial") {
            let column = tokens[at - 1].name().unwrap_or_default();
            let kind = match name.as_str() {
                "serial" => "int4",
                "smallserial" => "int2",
                _ => "int8",
            };
            tokens.splice(at..=at, counted(kind, &table, &column));
        } else if name == "integer" {
            // SQLite's `INTEGER PRIMARY KEY` would fill in what is missing.
            tokens[at] = word("int4");
        } else if name == "generated" {
            identity(tokens, at, &table);
        }
        at += 1;
    }
}

/// A column of this type whose default is the next number of its sequence.
fn counted(kind: &str, table: &str, column: &str) -> Vec<Token> {
    let mut tokens = vec![word(kind), word("NOT"), word("NULL")];
    tokens.extend(next_number(table, column));
    tokens
}

fn next_number(table: &str, column: &str) -> Vec<Token> {
    vec![
        word("DEFAULT"),
        Token::Sign("("),
        word("nextval"),
        Token::Sign("("),
        Token::Text(format!("{table}_{column}_seq")),
        Token::Sign(")"),
        Token::Sign(")"),
    ]
}

/// `id bigint GENERATED ALWAYS AS IDENTITY (…)`; generated columns stay as they are.
fn identity(tokens: &mut Vec<Token>, at: usize, table: &str) {
    let Some(found) = (at..tokens.len().min(at + 5)).find(|at| tokens[*at].is_word("identity"))
    else {
        return;
    };
    let mut end = found + 1;
    if tokens.get(end).is_some_and(|token| token.is_sign("(")) {
        end = closing(tokens, end).map_or(end, |close| close + 1);
    }
    let column = (0..at)
        .rev()
        .find(|before| tokens[*before].is_sign(",") || tokens[*before].is_sign("("))
        .and_then(|before| tokens[before + 1].name())
        .unwrap_or_default();
    tokens.splice(at..end, next_number(table, &column));
}

/// Where the operand that begins at `at` ends.
pub(super) fn operand_end(tokens: &[Token], at: usize) -> usize {
    let mut end = at + 1;
    if tokens
        .get(at)
        .is_some_and(|token| token.is_sign("-") || token.is_sign("+"))
    {
        end += 1;
    }
    if tokens.get(end).is_some_and(|token| token.is_sign("(")) {
        end = closing(tokens, end).map_or(tokens.len(), |close| close + 1);
    }
    end.min(tokens.len())
}

/// Every divisor becomes `pg_divisor(divisor)`, which refuses zero: SQLite divides by it and gives
/// NULL. What cannot be read as one operand stays as it is.
pub(super) fn check_divisors(tokens: &[Token]) -> Vec<Token> {
    let mut ends = vec![0usize; tokens.len() + 1];
    let mut begins = ends.clone();
    for (at, token) in tokens.iter().enumerate() {
        let divides = token.is_sign("/") || token.is_sign("%");
        if let Some((start, end)) = divisor(tokens, at + 1).filter(|_| divides) {
            begins[start] += 1;
            ends[end] += 1;
        }
    }
    let mut checked = Vec::with_capacity(tokens.len());
    for at in 0..=tokens.len() {
        checked.extend(std::iter::repeat_n(Token::Sign(")"), ends[at]));
        for _ in 0..begins[at] {
            checked.extend([word("pg_divisor"), Token::Sign("(")]);
        }
        checked.extend(tokens.get(at).cloned());
    }
    checked
}

/// Where the operand that begins at `start` begins and ends, with its signs, and with what follows
/// the arguments of an aggregate.
fn divisor(tokens: &[Token], start: usize) -> Option<(usize, usize)> {
    let is_unary = |token: &&Token| ["+", "-", "~"].iter().any(|sign| token.is_sign(sign));
    let at = start + tokens.get(start..)?.iter().take_while(is_unary).count();
    let opens = |at: usize| tokens.get(at).is_some_and(|token| token.is_sign("("));
    let behind = |at: usize| closing(tokens, at).map(|close| close + 1);
    let mut end = match tokens.get(at)? {
        Token::Sign("(") => return Some((start, behind(at)?)),
        Token::Sign(_) => return None,
        Token::Number(_) | Token::Text(_) | Token::Parameter(_) => return Some((start, at + 1)),
        case if case.is_word("case") => {
            let mut depth = 0usize;
            let end = tokens.iter().enumerate().skip(at).find(|(_, token)| {
                depth += usize::from(token.is_word("case"));
                depth -= usize::from(token.is_word("end"));
                depth == 0
            });
            return end.map(|(end, _)| (start, end + 1));
        }
        Token::Word(_) | Token::Name(_) => at + 1,
    };
    while tokens.get(end).is_some_and(|token| token.is_sign(".")) {
        end += 2;
    }
    if end > tokens.len() || matches!(tokens.get(end), Some(Token::Text(_))) {
        return None;
    }
    if opens(end) {
        end = behind(end)?;
        for word in ["filter", "over"] {
            if !tokens.get(end).is_some_and(|token| token.is_word(word)) {
                continue;
            }
            end = match opens(end + 1) {
                true => behind(end + 1)?,
                false => (end + 2).min(tokens.len()),
            };
        }
    }
    Some((start, end))
}

/// The table of a `CREATE TABLE` or `ALTER TABLE`.
fn table_name(tokens: &[Token]) -> Option<String> {
    let mut at = tokens.iter().position(|token| token.is_word("table"))? + 1;
    while ["if", "not", "exists", "only"]
        .iter()
        .any(|word| tokens.get(at).is_some_and(|token| token.is_word(word)))
    {
        at += 1;
    }
    tokens.get(at)?.name()
}

/// `TRUNCATE t` is `DELETE FROM t`.
fn truncation(tokens: &mut Vec<Token>) {
    let after = 1 + usize::from(tokens.get(1).is_some_and(|token| token.is_word("table")));
    let name = tokens.get(after).cloned();
    *tokens = vec![word("DELETE"), word("FROM")];
    tokens.extend(name);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expected: &str) {
        let translated = translate(tokens(sql).expect(sql)).expect(sql);
        let normal = |sql: &str| render(&tokens(sql).expect("expected"));
        assert_eq!(render(&translated.tokens), normal(expected), "{sql}");
    }

    #[test]
    fn casts_become_calls() {
        check("SELECT $1::bigint", "SELECT pg_cast($1, 'int8')");
        check("SELECT lower(a)::text", "SELECT pg_cast(lower(a), 'text')");
        check("SELECT (a + b)::int", "SELECT pg_cast((a + b), 'int4')");
        check("SELECT t.a::varchar(20)", "SELECT pg_cast(t.a, 'varchar')");
        check(
            "SELECT '{}'::text::jsonb",
            "SELECT pg_cast(pg_cast('{}', 'text'), 'jsonb')",
        );
        check(
            "SELECT CAST(a AS double precision) x",
            "SELECT pg_cast(a, 'float8') x",
        );
    }

    #[test]
    fn what_is_said_differently_is_translated() {
        check(
            "SELECT * FROM public.t FOR UPDATE SKIP LOCKED",
            "SELECT * FROM t",
        );
        check(
            "SELECT id FROM t ORDER BY id FOR UPDATE LIMIT 1",
            "SELECT id FROM t ORDER BY id LIMIT 1",
        );
        check("TRUNCATE TABLE t CASCADE", "DELETE FROM t");
        check(
            "SELECT now() - interval '5 minutes'",
            "SELECT pg_shift(now(), '-', '5 minutes')",
        );
        check(
            "CREATE TABLE t (id bigserial PRIMARY KEY, at timestamptz DEFAULT now())",
            "CREATE TABLE t (id int8 NOT NULL DEFAULT (nextval('t_id_seq')) PRIMARY KEY, at timestamptz DEFAULT (now()))",
        );
        check(
            "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)",
            "CREATE TABLE t (id bigint DEFAULT (nextval('t_id_seq')) PRIMARY KEY)",
        );
        check(
            "CREATE INDEX i ON t USING btree (a)",
            "CREATE INDEX i ON t (a)",
        );
    }

    #[test]
    fn divisors_are_checked_whatever_they_are() {
        let checked = |sql: &str, expected: &str| {
            let normal = |sql: &str| render(&tokens(sql).expect("expected"));
            let own = check_divisors(&tokens(sql).expect(sql));
            assert_eq!(render(&own), normal(expected), "{sql}");
        };
        checked("1/0", "1/pg_divisor(0)");
        checked("a % $1 + b", "a % pg_divisor($1) + b");
        checked("a / -t.b", "a / pg_divisor(-t.b)");
        checked("a / b / 2", "a / pg_divisor(b) / pg_divisor(2)");
        checked("a / (b % c)", "a / pg_divisor((b % pg_divisor(c)))");
        checked("a/nullif(b, 0)", "a/pg_divisor(nullif(b, 0))");
        checked(
            "a / count(*) FILTER (WHERE b > 0) OVER (PARTITION BY c) + 1",
            "a / pg_divisor(count(*) FILTER (WHERE b > 0) OVER (PARTITION BY c)) + 1",
        );
        checked("a / sum(b) OVER w", "a / pg_divisor(sum(b) OVER w)");
        checked(
            "a / CASE WHEN b THEN CASE c WHEN 1 THEN 2 END END * d",
            "a / pg_divisor(CASE WHEN b THEN CASE c WHEN 1 THEN 2 END END) * d",
        );
        for sql in [
            "a / numeric '2'",
            "a /",
            "a / )",
            "a / (b",
            "a / b.",
            "a / CASE b",
            "a * '/'",
        ] {
            checked(sql, sql);
        }
    }

    #[test]
    fn quotes_comments_and_statements_are_told_apart() {
        let all = statements(
            "SELECT ';' /* ; /* ; */ */; -- ;\n;SELECT $tag$a;$b$tag$, E'\\n', \"a\"\"b\"",
        )
        .expect("readable");
        assert_eq!(all.len(), 2);
        assert_eq!(all[1][1], Token::Text("a;$b".to_owned()));
        assert_eq!(all[1][3], Token::Text("\n".to_owned()));
        assert_eq!(all[1][5], Token::Name("a\"b".to_owned()));
    }

    #[test]
    fn what_never_ends_is_refused() {
        for sql in [
            "SELECT 'a",
            "SELECT \"a",
            "/* a",
            "$x$ a",
            "$0",
            "$99999999999999999999",
            "`",
        ] {
            assert!(tokens(sql).is_err(), "{sql}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(sql in ".{0,80}") {
            if let Ok(statements) = statements(&sql) {
                for statement in statements {
                    let _ = check_divisors(&statement);
                    let _ = translate(statement);
                }
            }
        }

        #[test]
        fn any_words_are_translated_or_refused(
            words in proptest::collection::vec(
                proptest::sample::select(vec![
                    "select", "(", ")", "::", "cast", "as", "int", "for", "update", "of", ",", "interval",
                    "'1 day'", "-", "create", "table", "t", "default", "serial", "generated", "identity",
                    "truncate", ".", "public", "$1", "with", "time", "zone", "index", "using", "/", "%",
                    "case", "end", "filter", "over",
                ]),
                0..14,
            )
        ) {
            if let Ok(tokens) = tokens(&words.join(" ")) {
                let _ = check_divisors(&tokens);
                let _ = translate(tokens);
            }
        }
    }
}
