//! What went wrong, as PostgreSQL says it: a SQLSTATE and the fields that clients read.

use rusqlite::ffi;

/// An error of one statement or, if fatal, of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The SQLSTATE.
    pub code: &'static str,
    pub message: String,
    /// Whether the session ends with it.
    pub fatal: bool,
    /// What a broken constraint says beside it.
    pub about: Option<Box<About>>,
}

/// What a refusal is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct About {
    pub detail: Option<String>,
    pub table: Option<String>,
    pub column: Option<String>,
    pub constraint: Option<String>,
}

impl Refusal {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            fatal: false,
            about: None,
        }
    }

    pub(super) fn fatal(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            fatal: true,
            ..Self::new(code, message)
        }
    }

    /// What this server leaves out of PostgreSQL.
    pub(super) fn unsupported(what: &str) -> Self {
        Self::new(
            "0A000",
            format!("the embedded server does not support {what}"),
        )
    }

    /// The fields of the message that says so.
    pub(super) fn fields(&self) -> Vec<(u8, String)> {
        let severity = if self.fatal { "FATAL" } else { "ERROR" };
        let mut fields = vec![
            (b'S', severity.to_owned()),
            (b'V', severity.to_owned()),
            (b'C', self.code.to_owned()),
            (b'M', self.message.clone()),
        ];
        let Some(about) = &self.about else {
            return fields;
        };
        let schema = about.table.as_ref().map(|_| "public".to_owned());
        let optional = [
            (b'D', &about.detail),
            (b's', &schema),
            (b't', &about.table),
            (b'c', &about.column),
            (b'n', &about.constraint),
        ];
        for (field, text) in optional {
            fields.extend(text.clone().map(|text| (field, text)));
        }
        fields
    }
}

/// How a custom SQL function says which refusal it means: SQLite hands on only a text.
pub(super) const MARK: &str = "SQLSTATE ";

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::SqliteFailure(failure, text) => {
                of_code(failure, text.unwrap_or_default())
            }
            rusqlite::Error::SqlInputError { error, msg, .. } => of_code(error, msg),
            other => Self::new("XX000", other.to_string()),
        }
    }
}

fn of_code(failure: ffi::Error, text: String) -> Refusal {
    match failure.extended_code {
        ffi::SQLITE_CONSTRAINT_UNIQUE => unique(&text, "key"),
        ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => unique(&text, "pkey"),
        ffi::SQLITE_CONSTRAINT_NOTNULL => not_null(&text),
        ffi::SQLITE_CONSTRAINT_CHECK => check(&text),
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY | ffi::SQLITE_CONSTRAINT_TRIGGER => Refusal::new(
            "23503",
            "insert, update or delete violates a foreign key constraint",
        ),
        code => match code & 0xff {
            ffi::SQLITE_CONSTRAINT => Refusal::new("23000", text),
            ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => lock_timeout(),
            ffi::SQLITE_INTERRUPT => {
                Refusal::new("57014", "canceling statement due to user request")
            }
            ffi::SQLITE_FULL => Refusal::new("53100", text),
            ffi::SQLITE_NOMEM => Refusal::new("53200", "out of memory"),
            ffi::SQLITE_TOOBIG => Refusal::new("54000", text),
            ffi::SQLITE_READONLY => Refusal::new("25006", text),
            ffi::SQLITE_MISMATCH => Refusal::new("42804", text),
            ffi::SQLITE_RANGE => Refusal::new("08P01", text),
            _ => of_text(text),
        },
    }
}

/// No lock within the time that a statement waits.
pub(super) fn lock_timeout() -> Refusal {
    Refusal::new("55P03", "canceling statement due to lock timeout")
}

/// `UNIQUE constraint failed: t.a, t.b`, named as PostgreSQL would have named the constraint.
fn unique(text: &str, suffix: &str) -> Refusal {
    let (table, columns) = failed_columns(text);
    let constraint = match suffix {
        "pkey" => format!("{table}_pkey"),
        _ => format!("{table}_{}_{suffix}", columns.join("_")),
    };
    Refusal::new(
        "23505",
        format!("duplicate key value violates unique constraint \"{constraint}\""),
    )
    .about(About {
        detail: Some(format!("Key ({}) already exists.", columns.join(", "))),
        table: Some(table),
        constraint: Some(constraint),
        column: None,
    })
}

fn not_null(text: &str) -> Refusal {
    let (table, columns) = failed_columns(text);
    let column = columns.join(", ");
    Refusal::new(
        "23502",
        format!(
            "null value in column \"{column}\" of relation \"{table}\" violates not-null constraint"
        ),
    )
    .about(About {
        table: Some(table),
        column: Some(column),
        ..About::default()
    })
}

fn check(text: &str) -> Refusal {
    let name = text.rsplit(": ").next().unwrap_or_default().to_owned();
    Refusal::new(
        "23514",
        format!("new row violates check constraint \"{name}\""),
    )
    .about(About {
        constraint: Some(name),
        ..About::default()
    })
}

impl Refusal {
    fn about(self, about: About) -> Self {
        Self {
            about: Some(Box::new(about)),
            ..self
        }
    }
}

/// The table and columns at the end of SQLite's constraint messages.
fn failed_columns(text: &str) -> (String, Vec<String>) {
    let named = text.rsplit(": ").next().unwrap_or_default();
    let mut table = String::new();
    let columns = named
        .split(", ")
        .map(|name| match name.split_once('.') {
            Some((of, column)) => {
                of.clone_into(&mut table);
                column.to_owned()
            }
            None => name.to_owned(),
        })
        .collect();
    (table, columns)
}

/// SQLite's general error, told apart by its text.
fn of_text(text: String) -> Refusal {
    if let Some(marked) = text.strip_prefix(MARK) {
        let (code, message) = marked.split_once(' ').unwrap_or(("XX000", marked));
        let code = ["22P02", "22007", "22012", "42704", "57014", "42P01"]
            .into_iter()
            .find(|known| *known == code)
            .unwrap_or("XX000");
        return Refusal::new(code, message);
    }
    let after = |prefix: &str| text.strip_prefix(prefix).map(str::to_owned);
    if let Some(name) = after("no such table: ") {
        let name = name.trim_start_matches("main.").to_owned();
        return Refusal::new("42P01", format!("relation \"{name}\" does not exist"));
    }
    if let Some(name) = after("no such column: ") {
        return no_column(&name);
    }
    if let Some(rest) = after("table ")
        && let Some((table, column)) = rest.split_once(" has no column named ")
    {
        return Refusal::new(
            "42703",
            format!("column \"{column}\" of relation \"{table}\" does not exist"),
        );
    }
    if let Some(name) = after("no such function: ") {
        return Refusal::new("42883", format!("function {name} does not exist"));
    }
    if let Some(name) = after("ambiguous column name: ") {
        return Refusal::new("42702", format!("column reference \"{name}\" is ambiguous"));
    }
    if let Some(name) = after("duplicate column name: ") {
        return Refusal::new(
            "42701",
            format!("column \"{name}\" specified more than once"),
        );
    }
    if let Some(name) = after("no such savepoint: ") {
        return Refusal::new("3B001", format!("savepoint \"{name}\" does not exist"));
    }
    if text.ends_with("already exists") {
        let name = text.split_whitespace().nth(1).unwrap_or_default();
        return Refusal::new("42P07", format!("relation \"{name}\" already exists"));
    }
    if let Some(rest) = after("near ") {
        let near = rest.strip_suffix(": syntax error").unwrap_or(rest.as_str());
        return Refusal::new("42601", format!("syntax error at or near {near}"));
    }
    if text.starts_with("foreign key mismatch") {
        return Refusal::new("42830", text);
    }
    if text.contains("out of range") || text.contains("integer overflow") {
        return Refusal::new("22003", text);
    }
    Refusal::new("42601", text)
}

fn no_column(name: &str) -> Refusal {
    Refusal::new("42703", format!("column \"{name}\" does not exist"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_sqlite_become_states_of_postgresql() {
        let table = [
            ("no such table: bots", "42P01"),
            ("no such column: nmae", "42703"),
            ("table bots has no column named nmae", "42703"),
            ("near \"FORM\": syntax error", "42601"),
            ("no such function: frob", "42883"),
            ("table bots already exists", "42P07"),
            ("SQLSTATE 22P02 invalid input", "22P02"),
        ];
        for (text, code) in table {
            assert_eq!(of_text(text.to_owned()).code, code, "{text}");
        }
    }

    #[test]
    fn a_broken_key_names_its_constraint_as_postgresql_would() {
        let refusal = unique("UNIQUE constraint failed: bots.owner, bots.name", "key");
        let about = refusal.about.expect("what it is about");
        assert_eq!(about.constraint.as_deref(), Some("bots_owner_name_key"));
        assert_eq!(about.table.as_deref(), Some("bots"));
        assert_eq!(refusal.code, "23505");
    }
}
