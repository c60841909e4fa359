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
    /// Whatever TOML can say; the owner of the key checks it.
    Any,
    /// A table or array whose keys depend on a `kind` inside it (faults, expectations); the
    /// owner checks it against its registry.
    Registry(&'static str),
}
