//! What a table may hold, declared once for reading, schema and listing.

/// One key of a table.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The key as written.
    pub name: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// Whether a table without it is a problem.
    pub required: bool,
    /// One sentence for `list`, the schema and the editor.
    pub doc: &'static str,
}

impl Key {
    /// A key that may be left out.
    pub const fn optional(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self {
            name,
            shape,
            required: false,
            doc,
        }
    }

    /// A key that must be there.
    pub const fn required(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self {
            name,
            shape,
            required: true,
            doc,
        }
    }
}

/// The shape of a value.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Any text.
    Text,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words, or a text that begins with this one and goes on.
    OneOfOr(&'static [&'static str], &'static str),
    /// `true` or `false`.
    Bool,
    /// A whole number in this closed range.
    Integer(i64, i64),
    /// A number in this closed range.
    Number(f64, f64),
    /// `"250ms"`.
    Duration,
    /// `"40/s"`.
    Rate,
    /// `"30%"`.
    Share,
    /// `"64KiB"`.
    Bytes,
    /// `"64KiB/s"`.
    Bandwidth,
    /// `"2.5x"`: a factor of the steady state.
    Factor,
    /// A TOML date.
    Date,
    /// An array of texts.
    Texts,
    /// A text, or an array of texts.
    TextOrTexts,
    /// A table with these keys.
    Table(&'static [Key]),
    /// An array of tables with these keys.
    Tables(&'static [Key]),
    /// A table whose keys the author chooses, each holding a table with these keys.
    MapOf(&'static [Key]),
    /// A table whose keys the author chooses, each holding a text.
    TextMap,
    /// A table whose keys the author chooses, each holding a text, a number or a boolean.
    ScalarMap,
    /// Whatever TOML can say; the owner of the key checks it.
    Any,
    /// Any of several shapes; the owner of the key tells them apart.
    AnyOf(&'static [Shape]),
    /// A table or array whose keys depend on a `kind` inside it (faults, expectations); the
    /// owner checks it against its registry.
    Registry(&'static str),
    /// A key of a later version. Naming it is a problem with this hint; the schema leaves it out.
    Later(&'static str),
}

impl Shape {
    /// The shape in words, with an example where it has a unit: for listings and messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::OneOf(words) => format!("one of \"{}\"", words.join("\", \"")),
            Self::OneOfOr(words, prefix) => {
                format!("one of \"{}\", or \"{prefix}…\"", words.join("\", \""))
            }
            Self::Bool => "true or false".to_owned(),
            Self::Integer(low, high) => format!("a whole number from {low} to {high}"),
            Self::Number(low, high) => format!("a number from {low} to {high}"),
            Self::Duration => "a duration, like \"250ms\"".to_owned(),
            Self::Rate => "a rate, like \"40/s\"".to_owned(),
            Self::Share => "a share, like \"30%\"".to_owned(),
            Self::Bytes => "a size, like \"64KiB\"".to_owned(),
            Self::Bandwidth => "a bandwidth, like \"64KiB/s\"".to_owned(),
            Self::Factor => "a factor, like \"2x\"".to_owned(),
            Self::Date => "a date, like 2017-02-28".to_owned(),
            Self::Texts => "an array of texts".to_owned(),
            Self::TextOrTexts => "a text or an array of texts".to_owned(),
            Self::Table(keys) => format!("a table with {}", names(keys)),
            Self::Tables(keys) => format!("an array of tables with {}", names(keys)),
            Self::MapOf(keys) => format!("a table of named tables with {}", names(keys)),
            Self::TextMap => "a table of texts".to_owned(),
            Self::ScalarMap => "a table of texts, numbers or booleans".to_owned(),
            Self::Any => "any value".to_owned(),
            Self::AnyOf(shapes) => shapes
                .iter()
                .map(Self::describe)
                .collect::<Vec<_>>()
                .join(", or "),
            Self::Registry(of) => format!("an array of tables, one a {of}"),
            Self::Later(_) => "not there yet".to_owned(),
        }
    }
}

fn names(keys: &[Key]) -> String {
    keys.iter()
        .map(|key| key.name)
        .collect::<Vec<_>>()
        .join(", ")
}
