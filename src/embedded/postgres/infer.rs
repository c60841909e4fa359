//! The types that PostgreSQL would give to the parameters and the columns of a statement.
//!
//! SQLite knows the declared type of a column that is selected as it is, and no more. The rest is
//! read off the statement's words as far as they go: casts, comparisons, inserted columns,
//! functions. What cannot be told is text, which a cast in the statement mends.

use super::{
    refusal::Refusal,
    sql::{Token, closing, find_outside, items, operand_end, primary_before},
    value::type_named,
};
use postgres_types::Type;
use rusqlite::Connection;
use std::collections::BTreeMap;

/// A statement's words with the columns of the tables that it names.
#[derive(Debug)]
pub(super) struct Scope {
    tables: BTreeMap<String, Vec<(String, Type)>>,
    parameters: Vec<Option<Type>>,
}

/// Operators that compare.
const COMPARISONS: &[&str] = &["=", "<", ">", "<=", ">=", "<>", "!="];

/// Operators that calculate.
const ARITHMETIC: &[&str] = &["+", "-", "*", "/", "%"];

impl Scope {
    /// `given` are the types that the client named for its parameters.
    pub(super) fn new(
        tokens: &[Token],
        given: &[Option<Type>],
        connection: &Connection,
    ) -> Result<Self, Refusal> {
        let mut scope = Self {
            tables: tables(tokens, connection)?,
            parameters: Vec::new(),
        };
        let count = tokens.iter().map(|token| match token {
            Token::Parameter(number) => *number,
            _ => 0,
        });
        let count = count.max().unwrap_or(0);
        scope.parameters = vec![None; count];
        for (at, token) in tokens.iter().enumerate() {
            let Token::Parameter(number) = token else {
                continue;
            };
            let known = given.get(number - 1).cloned().flatten();
            let slot = number - 1;
            if scope.parameters[slot].is_none() {
                scope.parameters[slot] = known
                    .filter(|kind| *kind != Type::UNKNOWN)
                    .or_else(|| scope.parameter_at(tokens, at));
            }
        }
        scope.inserted(tokens);
        Ok(scope)
    }

    /// The types of all parameters.
    pub(super) fn parameters(&self) -> Vec<Type> {
        let text = |kind: &Option<Type>| kind.clone().unwrap_or(Type::TEXT);
        self.parameters.iter().map(text).collect()
    }

    fn column(&self, name: &str) -> Option<Type> {
        let all = self.tables.values().flatten();
        let mut found = all.filter(|(column, _)| column == name);
        found.next().map(|(_, kind)| kind.clone())
    }

    /// What the words around a parameter make of it.
    fn parameter_at(&self, tokens: &[Token], at: usize) -> Option<Type> {
        let before = at.checked_sub(1).map(|before| &tokens[before])?;
        let operator = |token: &Token| match token {
            Token::Sign(sign) => COMPARISONS.contains(sign) || ARITHMETIC.contains(sign),
            token => token.is_word("like"),
        };
        let text = |token: &Token| token.is_sign("||") || token.is_word("like");
        if before.is_word("limit") || before.is_word("offset") {
            return Some(Type::INT8);
        }
        if text(before) || tokens.get(at + 1).is_some_and(text) {
            return Some(Type::TEXT);
        }
        if at >= 2 && operator(before) {
            let start = primary_before(tokens, at - 1);
            if let Some(kind) = self.type_of(&tokens[start..at - 1]) {
                return Some(kind);
            }
        }
        if tokens.get(at + 1).is_some_and(operator) {
            let mut end = operand_end(tokens, at + 2);
            while tokens.get(end).is_some_and(|token| token.is_sign(".")) {
                end = (end + 2).min(tokens.len());
            }
            let operand = tokens.get(at + 2..end).unwrap_or_default();
            if let Some(kind) = self.type_of(operand) {
                return Some(kind);
            }
        }
        if at >= 2 && before.is_word("between") {
            return self.type_of(&tokens[primary_before(tokens, at - 1)..at - 1]);
        }
        if at >= 4 && before.is_word("and") && tokens[at - 3].is_word("between") {
            return self.type_of(&tokens[primary_before(tokens, at - 3)..at - 3]);
        }
        self.enclosed(tokens, at)
    }

    /// A parameter among the values of `IN (…)` or the arguments of a function.
    fn enclosed(&self, tokens: &[Token], at: usize) -> Option<Type> {
        let mut depth = 0i32;
        let open = (0..at).rev().find(|place| {
            match tokens[*place] {
                Token::Sign(")") => depth += 1,
                Token::Sign("(") => depth -= 1,
                _ => {}
            }
            depth < 0
        })?;
        let opener = &tokens[open.checked_sub(1)?];
        if opener.is_word("in") && open >= 2 {
            let not = usize::from(tokens[open - 2].is_word("not"));
            let end = open.checked_sub(1 + not).filter(|end| *end > 0)?;
            return self.type_of(&tokens[primary_before(tokens, end)..end]);
        }
        let close = closing(tokens, open).unwrap_or(tokens.len());
        let arguments = items(&tokens[open + 1..close]);
        let alike = ["coalesce", "nullif", "greatest", "least"];
        match opener.name()?.as_str() {
            "pg_cast" => named_last(&arguments),
            "pg_shift" => Some(Type::TIMESTAMPTZ),
            "pg_sleep" => Some(Type::FLOAT8),
            name if alike.contains(&name) => {
                arguments.iter().find_map(|argument| self.type_of(argument))
            }
            _ => None,
        }
    }

    /// Parameters that are inserted as they are have their column's type.
    fn inserted(&mut self, tokens: &[Token]) {
        let Some(into) = find_outside(tokens, 0, &["into"]) else {
            return;
        };
        let table = tokens.get(into + 1).and_then(Token::name);
        let Some(table) = table.and_then(|name| self.tables.get(&name)).cloned() else {
            return;
        };
        let open = (into + 2..tokens.len().min(into + 5)).find(|at| tokens[*at].is_sign("("));
        let listed = open.and_then(|open| {
            let close = closing(tokens, open)?;
            let names = items(&tokens[open + 1..close]);
            let names: Option<Vec<String>> =
                names.iter().map(|name| name.first()?.name()).collect();
            names.map(|names| (names, close))
        });
        let is_list = |at: usize| {
            find_outside(tokens, at, &["values", "select"]).is_some()
                && !tokens[into + 2].is_word("values")
        };
        let (names, after) = match listed.filter(|(_, close)| is_list(*close)) {
            Some(listed) => listed,
            None => (table.iter().map(|(name, _)| name.clone()).collect(), into),
        };
        let kinds: Vec<Option<Type>> = names
            .iter()
            .map(|name| {
                let found = table.iter().find(|(column, _)| column == name);
                found.map(|(_, kind)| kind.clone())
            })
            .collect();
        for row in inserted_rows(tokens, after) {
            for (item, kind) in items(row).into_iter().zip(&kinds) {
                let plain = match item {
                    [Token::Parameter(number)] => Some(*number),
                    [
                        Token::Word(name),
                        Token::Sign("("),
                        Token::Parameter(number),
                        ..,
                    ] if name.eq_ignore_ascii_case("coalesce") => Some(*number),
                    _ => None,
                };
                if let Some(slot) = plain.map(|number| &mut self.parameters[number - 1]) {
                    *slot = slot.take().or_else(|| kind.clone());
                }
            }
        }
    }

    /// The type of an expression.
    pub(super) fn type_of(&self, expression: &[Token]) -> Option<Type> {
        match expression {
            [] => None,
            [Token::Number(number)] => Some(if number.contains(['.', 'e', 'E']) {
                Type::NUMERIC
            } else if number.parse::<i32>().is_ok() {
                Type::INT4
            } else {
                Type::INT8
            }),
            [Token::Text(_)] => Some(Type::TEXT),
            [Token::Parameter(number)] => self.parameters.get(number - 1).cloned().flatten(),
            [word] if word.is_word("true") || word.is_word("false") => Some(Type::BOOL),
            [column] | [_, Token::Sign("."), column] => self.column(&column.name()?),
            [open, ..] if open.is_sign("(") && spans(expression, 0) => {
                self.enclosed_type(&expression[1..expression.len() - 1])
            }
            [case, ..] if case.is_word("case") => self.case_type(expression),
            [_, open, ..] if open.is_sign("(") && spans(expression, 1) => {
                self.call_type(expression)
            }
            _ => self.operation_type(expression),
        }
    }

    fn enclosed_type(&self, inner: &[Token]) -> Option<Type> {
        match inner.first() {
            Some(first) if first.is_word("select") => {
                let end = find_outside(inner, 0, &["from"]).unwrap_or(inner.len());
                self.type_of(items(&inner[1..end]).first()?)
            }
            _ => self.type_of(inner),
        }
    }

    fn case_type(&self, expression: &[Token]) -> Option<Type> {
        let then = find_outside(expression, 1, &["then"])?;
        let end = find_outside(expression, then + 1, &["when", "else", "end"])?;
        self.type_of(&expression[then + 1..end])
    }

    fn call_type(&self, call: &[Token]) -> Option<Type> {
        let close = closing(call, 1)?;
        let arguments = items(&call[2..close]);
        let first = || self.type_of(arguments.first()?);
        Some(match call[0].name()?.as_str() {
            "pg_cast" => named_last(&arguments)?,
            "count" | "row_number" | "rank" | "dense_rank" | "nextval" => Type::INT8,
            "length" | "char_length" | "octet_length" | "pg_backend_pid" => Type::INT4,
            "sum" => match first()? {
                Type::INT2 | Type::INT4 => Type::INT8,
                Type::INT8 | Type::NUMERIC => Type::NUMERIC,
                other => other,
            },
            "avg" => match first()? {
                Type::FLOAT4 | Type::FLOAT8 => Type::FLOAT8,
                _ => Type::NUMERIC,
            },
            "round" | "floor" | "ceil" | "ceiling" => match first()? {
                Type::FLOAT4 | Type::FLOAT8 => Type::FLOAT8,
                _ => Type::NUMERIC,
            },
            "min" | "max" | "coalesce" | "nullif" | "abs" | "greatest" | "least" | "lag"
            | "lead" | "first_value" | "last_value" => arguments
                .iter()
                .find_map(|argument| self.type_of(argument))?,
            "now"
            | "pg_shift"
            | "clock_timestamp"
            | "statement_timestamp"
            | "transaction_timestamp" => Type::TIMESTAMPTZ,
            "pg_today" => Type::DATE,
            "gen_random_uuid" => Type::UUID,
            "exists" | "not" | "pg_is_in_recovery" => Type::BOOL,
            _ => Type::TEXT,
        })
    }

    fn operation_type(&self, expression: &[Token]) -> Option<Type> {
        const TRUTHS: &[&str] = &["and", "or", "not", "is", "in", "like", "between", "exists"];
        let mut depth = 0i32;
        let mut parts = vec![0];
        let mut seen = None;
        for (at, token) in expression.iter().enumerate() {
            match token {
                Token::Sign("(") => depth += 1,
                Token::Sign(")") => depth -= 1,
                _ if depth > 0 => {}
                Token::Sign(sign) if COMPARISONS.contains(sign) => return Some(Type::BOOL),
                Token::Sign("||" | "->>" | "#>>") => seen = Some(Type::TEXT),
                Token::Sign("->" | "#>") => seen = seen.or(Some(Type::JSONB)),
                Token::Sign(sign) if ARITHMETIC.contains(sign) => parts.push(at + 1),
                Token::Word(_) if TRUTHS.iter().any(|word| token.is_word(word)) => {
                    return Some(Type::BOOL);
                }
                // A window or filter behind a function's arguments.
                Token::Word(_) if token.is_word("over") || token.is_word("filter") => {
                    return self.type_of(&expression[..at]);
                }
                _ => {}
            }
        }
        if seen.is_some() || parts.len() == 1 {
            return seen;
        }
        parts.push(expression.len() + 1);
        let operands = parts.windows(2).filter_map(|part| {
            let operand = expression.get(part[0]..part[1] - 1)?;
            self.type_of(operand)
        });
        operands.max_by_key(rank)
    }

    /// What a column that SQLite has no declared type for is and is called. `item` is its
    /// expression with its alias.
    pub(super) fn described(&self, item: &[Token], given: &str) -> (String, Type) {
        let (expression, alias) = split_alias(item);
        let kind = self.type_of(expression).unwrap_or(Type::TEXT);
        let name = alias.unwrap_or_else(|| match expression {
            [name] | [_, Token::Sign("."), name] if name.name().is_some() => given.to_owned(),
            [name, Token::Sign("("), rest @ ..] => match name.name().as_deref() {
                Some("pg_cast") => cast_name(rest),
                Some(name) => name.to_owned(),
                None => "?column?".to_owned(),
            },
            [case, ..] if case.is_word("case") => "case".to_owned(),
            _ => "?column?".to_owned(),
        });
        (name, kind)
    }
}

/// PostgreSQL names a cast column after the column, and any other cast after its type.
fn cast_name(arguments: &[Token]) -> String {
    match arguments {
        [column, Token::Sign(","), ..] if column.name().is_some() => {
            column.name().unwrap_or_default()
        }
        [_, Token::Sign("."), column, Token::Sign(","), ..] => column.name().unwrap_or_default(),
        [inner, Token::Sign("("), rest @ ..] => match inner.name().as_deref() {
            Some("pg_cast") => cast_name(rest),
            Some(name) => name.to_owned(),
            None => "?column?".to_owned(),
        },
        _ => match arguments {
            [.., Token::Text(kind), Token::Sign(")")] => kind.clone(),
            _ => "?column?".to_owned(),
        },
    }
}

/// Which operand decides the type of a calculation.
fn rank(kind: &Type) -> u8 {
    match *kind {
        Type::INT2 => 1,
        Type::INT4 => 2,
        Type::INT8 => 3,
        Type::NUMERIC => 4,
        Type::FLOAT4 => 5,
        Type::FLOAT8 => 6,
        Type::TIMESTAMPTZ | Type::TIMESTAMP | Type::DATE => 7,
        _ => 0,
    }
}

/// Whether the parenthesis at a place is closed by the last word.
fn spans(tokens: &[Token], at: usize) -> bool {
    closing(tokens, at) == Some(tokens.len() - 1)
}

/// The type that a cast names, as its last argument.
fn named_last(arguments: &[&[Token]]) -> Option<Type> {
    match arguments.last()? {
        [Token::Text(name)] => type_named(name),
        _ => None,
    }
}

/// An expression and its alias.
fn split_alias(item: &[Token]) -> (&[Token], Option<String>) {
    match item {
        [expression @ .., r#as, alias] if r#as.is_word("as") => (expression, alias.name()),
        [expression @ .., before, alias]
            if alias.name().is_some()
                && !alias.is_word("end")
                && !alias.is_word("null")
                && !matches!(before, Token::Sign(sign) if *sign != ")")
                && ![
                    "not", "is", "and", "or", "like", "case", "else", "then", "over",
                ]
                .iter()
                .any(|word| before.is_word(word)) =>
        {
            (&item[..=expression.len()], alias.name())
        }
        _ => (item, None),
    }
}

/// The value lists of an `INSERT`, or what its `SELECT` selects.
fn inserted_rows(tokens: &[Token], after: usize) -> Vec<&[Token]> {
    let Some(at) = find_outside(tokens, after, &["values", "select"]) else {
        return Vec::new();
    };
    if tokens[at].is_word("select") {
        return vec![selected(tokens, at)];
    }
    let mut rows = Vec::new();
    let mut open = at + 1;
    while tokens.get(open).is_some_and(|token| token.is_sign("(")) {
        let Some(close) = closing(tokens, open) else {
            break;
        };
        rows.push(&tokens[open + 1..close]);
        open = close + 1;
        if !tokens.get(open).is_some_and(|token| token.is_sign(",")) {
            break;
        }
        open += 1;
    }
    rows
}

/// What the `SELECT` at a place selects.
fn selected(tokens: &[Token], at: usize) -> &[Token] {
    const ENDS: &[&str] = &[
        "from",
        "where",
        "order",
        "group",
        "having",
        "limit",
        "union",
        "offset",
        "on",
        "window",
        "except",
        "intersect",
    ];
    let start = at
        + 1
        + usize::from(
            tokens
                .get(at + 1)
                .is_some_and(|token| token.is_word("distinct")),
        );
    let end = find_outside(tokens, start, ENDS).unwrap_or(tokens.len());
    &tokens[start.min(end)..end]
}

/// The expressions of a statement's result, in their order; a `*` stands for itself.
pub(super) fn results(tokens: &[Token]) -> Vec<&[Token]> {
    let main = find_outside(
        tokens,
        0,
        &["select", "insert", "update", "delete", "values"],
    );
    let Some(main) = main else { return Vec::new() };
    if tokens[main].is_word("select") {
        return items(selected(tokens, main));
    }
    if tokens[main].is_word("values") {
        let rows = inserted_rows(tokens, main);
        return rows.first().map(|row| items(row)).unwrap_or_default();
    }
    match find_outside(tokens, main, &["returning"]) {
        Some(at) => items(&tokens[at + 1..]),
        None => Vec::new(),
    }
}

/// The columns of every table that the statement names.
fn tables(
    tokens: &[Token],
    connection: &Connection,
) -> Result<BTreeMap<String, Vec<(String, Type)>>, Refusal> {
    let mut tables = BTreeMap::new();
    for (at, token) in tokens.iter().enumerate().skip(1) {
        let before = &tokens[at - 1];
        let named = ["from", "join", "into", "update", "only"]
            .iter()
            .any(|word| before.is_word(word))
            || before.is_sign(",");
        let Some(name) = token.name().filter(|_| named) else {
            continue;
        };
        if tables.contains_key(&name) {
            continue;
        }
        let mut columns =
            connection.prepare_cached("SELECT lower(name), type FROM pragma_table_info(?1)")?;
        let columns: Vec<(String, Type)> = columns
            .query_map([&name], |row| {
                let kind: String = row.get(1)?;
                Ok((row.get(0)?, type_named(&kind).unwrap_or(Type::TEXT)))
            })?
            .collect::<Result<_, _>>()?;
        if !columns.is_empty() {
            tables.insert(name, columns);
        }
    }
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::super::sql;
    use super::*;

    fn scope(sql: &str) -> (Vec<Token>, Scope) {
        let connection = Connection::open_in_memory().expect("a database");
        connection
            .execute_batch(
                "CREATE TABLE bots (id bigint, name text, score double precision, live boolean,
                 at timestamptz, key uuid, data jsonb, n int4)",
            )
            .expect("a table");
        let tokens = sql::translate(sql::tokens(sql).expect(sql))
            .expect(sql)
            .tokens;
        let scope = Scope::new(&tokens, &[], &connection).expect(sql);
        (tokens, scope)
    }

    #[test]
    fn parameters_take_the_type_of_what_they_meet() {
        let table: &[(&str, &[Type])] = &[
            ("SELECT 1 FROM bots WHERE id = $1", &[Type::INT8]),
            (
                "SELECT 1 FROM bots b WHERE b.id > $1 AND $2 < b.at",
                &[Type::INT8, Type::TIMESTAMPTZ],
            ),
            (
                "SELECT 1 FROM bots WHERE id IN ($1, $2)",
                &[Type::INT8, Type::INT8],
            ),
            ("SELECT 1 FROM bots WHERE id NOT IN ($1)", &[Type::INT8]),
            (
                "SELECT 1 FROM bots WHERE at BETWEEN $1 AND $2",
                &[Type::TIMESTAMPTZ, Type::TIMESTAMPTZ],
            ),
            (
                "SELECT 1 FROM bots LIMIT $1 OFFSET $2",
                &[Type::INT8, Type::INT8],
            ),
            ("SELECT $1::int, $2::uuid", &[Type::INT4, Type::UUID]),
            ("SELECT $1", &[Type::TEXT]),
            (
                "INSERT INTO bots (name, live, key) VALUES ($1, $2, $3), ($4, $5, $6)",
                &[
                    Type::TEXT,
                    Type::BOOL,
                    Type::UUID,
                    Type::TEXT,
                    Type::BOOL,
                    Type::UUID,
                ],
            ),
            (
                "INSERT INTO bots VALUES ($1, $2, $3)",
                &[Type::INT8, Type::TEXT, Type::FLOAT8],
            ),
            (
                "INSERT INTO bots (id, at) SELECT $1, $2",
                &[Type::INT8, Type::TIMESTAMPTZ],
            ),
            (
                "INSERT INTO bots (at) VALUES (coalesce($1, now()))",
                &[Type::TIMESTAMPTZ],
            ),
            (
                "INSERT INTO bots (id, n) VALUES ($1, 1) ON CONFLICT (id) DO UPDATE SET n = bots.n + $2",
                &[Type::INT8, Type::INT4],
            ),
            (
                "UPDATE bots SET score = $1, data = $2 WHERE key = $3",
                &[Type::FLOAT8, Type::JSONB, Type::UUID],
            ),
            ("UPDATE bots SET name = coalesce($1, name)", &[Type::TEXT]),
            (
                "SELECT 1 FROM bots WHERE name LIKE $1 || '%'",
                &[Type::TEXT],
            ),
        ];
        for (sql, expected) in table {
            assert_eq!(scope(sql).1.parameters(), *expected, "{sql}");
        }
    }

    #[test]
    fn results_have_postgresqls_names_and_types() {
        let table = [
            ("count(*)", "count", Type::INT8),
            ("count(*) AS n", "n", Type::INT8),
            ("count(*) total", "total", Type::INT8),
            ("sum(n)", "sum", Type::INT8),
            ("avg(score)", "avg", Type::FLOAT8),
            ("max(at)", "max", Type::TIMESTAMPTZ),
            ("coalesce(sum(id)::bigint, 0)", "coalesce", Type::INT8),
            ("id + 1", "?column?", Type::INT8),
            ("n * 2.5", "?column?", Type::NUMERIC),
            ("id > 5", "?column?", Type::BOOL),
            ("name || 'x'", "?column?", Type::TEXT),
            ("EXISTS (SELECT 1 FROM bots)", "exists", Type::BOOL),
            ("1", "?column?", Type::INT4),
            ("'a'", "?column?", Type::TEXT),
            ("now()", "now", Type::TIMESTAMPTZ),
            ("n::bigint", "n", Type::INT8),
            ("'{}'::jsonb", "jsonb", Type::JSONB),
            ("CASE WHEN live THEN 1 ELSE 0 END", "case", Type::INT4),
            ("(SELECT max(id) FROM bots)", "?column?", Type::INT8),
            ("data ->> 'a'", "?column?", Type::TEXT),
            ("row_number() OVER (ORDER BY id)", "row_number", Type::INT8),
        ];
        for (item, name, kind) in table {
            let (tokens, scope) = scope(&format!("SELECT {item} FROM bots"));
            let items = results(&tokens);
            assert_eq!(items.len(), 1, "{item}");
            assert_eq!(
                scope.described(items[0], "given"),
                (name.to_owned(), kind),
                "{item}"
            );
        }
    }
}
