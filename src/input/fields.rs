//! The values of one table, handed out by declared keys.

use super::{Key, Problems, Shape, Source, Span, did_you_mean, hint_among};
use crate::units::{Bandwidth, Bytes, Rate, Share, UnitError, parse_duration};
use std::{str::FromStr, time::Duration};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Item<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// A reader over one table. Every access names a declared key; [`Fields::new`] has already
/// reported the keys that are not declared and the required ones that are missing.
pub struct Fields<'a> {
    table: &'a DeTable<'a>,
    /// The table's own place: its header.
    pub span: Span,
    /// The file it stands in.
    pub source: &'a Source,
    keys: &'static [Key],
    name: String,
}

impl<'a> Fields<'a> {
    /// Opens a table. `name` is how messages call it: "phase", "fault `hang`".
    ///
    /// `keys` may come in several lists (the common keys of all faults, and a kind's own); pass
    /// the second through [`Fields::also`].
    pub fn new(
        table: &'a DeTable<'a>,
        span: Span,
        source: &'a Source,
        name: impl Into<String>,
        keys: &'static [Key],
        more: &[&'static [Key]],
        problems: &mut Problems,
    ) -> Self {
        let fields = Self::unchecked(table, span, source, name, keys);
        fields.check_keys(more, problems);
        fields
    }

    /// Opens a table of which only the keys named are of interest: neither unknown nor missing
    /// keys are reported.
    pub fn unchecked(
        table: &'a DeTable<'a>,
        span: Span,
        source: &'a Source,
        name: impl Into<String>,
        keys: &'static [Key],
    ) -> Self {
        Self {
            table,
            span,
            source,
            keys,
            name: name.into(),
        }
    }

    /// Reports unknown and missing keys of a table that was opened unchecked, as soon as it is
    /// known which further keys it may have.
    pub fn check_keys(&self, more: &[&'static [Key]], problems: &mut Problems) {
        let known: Vec<&Key> = self
            .keys
            .iter()
            .chain(more.iter().flat_map(|list| list.iter()))
            .collect();
        self.report_unknown(&known, problems);
        self.report_missing(&known, problems);
    }

    /// The same table by another name in messages.
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            span: self.span.clone(),
            ..*self
        }
    }

    fn report_unknown(&self, known: &[&Key], problems: &mut Problems) {
        for key in self.table.keys() {
            let text: &str = key.get_ref();
            let (message, hint) = match known.iter().find(|known| known.name == text) {
                Some(Key {
                    shape: Shape::Later(hint),
                    ..
                }) => (format!("`{text}` is not there yet"), (*hint).to_owned()),
                Some(_) => continue,
                None => (
                    format!("unknown key `{text}` in {}", self.name),
                    hint_among(text, known.iter().map(|known| known.name)),
                ),
            };
            problems.error(self.source, key.span(), message, hint);
        }
    }

    fn report_missing(&self, known: &[&Key], problems: &mut Problems) {
        for key in known {
            if key.required && !self.table.contains_key(key.name) {
                problems.error(
                    self.source,
                    self.header(),
                    format!("{} has no `{}`", self.name, key.name),
                    format!("`{}`: {}", key.name, key.doc),
                );
            }
        }
    }

    /// The place of something that is missing: the table's header, without underline; none for
    /// the whole file.
    fn header(&self) -> Option<Span> {
        (!self.span.is_empty()).then_some(self.span.start..self.span.start)
    }

    /// The same table seen through another list of keys, whose unknown and missing keys were
    /// already reported by [`Fields::new`].
    pub fn also(&self, keys: &'static [Key]) -> Fields<'a> {
        Fields {
            table: self.table,
            span: self.span.clone(),
            source: self.source,
            keys,
            name: self.name.clone(),
        }
    }

    /// How messages call this table.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the key stands in the table.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The raw value of a key.
    pub fn raw(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.declared(key);
        self.table.get(key)
    }

    /// The place of a key's value, or of the table where the key is missing.
    pub fn place(&self, key: &str) -> Span {
        self.table
            .get(key)
            .map_or_else(|| self.span.start..self.span.start, |value| value.span())
    }

    /// Reports a problem at a key's value, or at the table's header where the key is missing.
    pub fn problem(
        &self,
        problems: &mut Problems,
        key: &str,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        let place = self.table.get(key).map(Spanned::span);
        problems.error(self.source, place.or_else(|| self.header()), message, hint);
    }

    /// A text.
    pub fn text(&self, key: &'static str, problems: &mut Problems) -> Option<Item<String>> {
        let value = self.raw(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Item {
                value: text.to_string(),
                span: value.span(),
            }),
            other => {
                let wanted = match self.declared(key).shape {
                    Shape::Text | Shape::AnyOf(_) => "a text in quotes".to_owned(),
                    shape => shape.describe(),
                };
                self.wrong_type(key, &wanted, other, problems)
            }
        }
    }

    /// One word of a [`Shape::OneOf`].
    pub fn word(&self, key: &'static str, problems: &mut Problems) -> Option<Item<&'static str>> {
        let Shape::OneOf(words) = self.declared(key).shape else {
            panic!("`{key}` is not declared as one of several words");
        };
        let text = self.text(key, problems)?;
        if let Some(word) = words.iter().find(|word| **word == text.value) {
            return Some(Item {
                value: word,
                span: text.span,
            });
        }
        let hint = match did_you_mean(&text.value, words.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("one of: {}", words.join(", ")),
        };
        self.problem(
            problems,
            key,
            format!("unknown {key} `{}`", text.value),
            hint,
        );
        None
    }

    /// `true` or `false`.
    pub fn bool(&self, key: &'static str, problems: &mut Problems) -> Option<bool> {
        match self.raw(key)?.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            other => self.wrong_type(key, "true or false", other, problems),
        }
    }

    /// A whole number within the declared range.
    pub fn integer(&self, key: &'static str, problems: &mut Problems) -> Option<i64> {
        let Shape::Integer(low, high) = self.declared(key).shape else {
            panic!("`{key}` is not declared as an integer");
        };
        match self.raw(key)?.get_ref() {
            DeValue::Integer(number) => {
                let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
                match value {
                    Some(value) if (low..=high).contains(&value) => Some(value),
                    _ => {
                        self.problem(
                            problems,
                            key,
                            format!("`{key}` must be a whole number from {low} to {high}"),
                            None,
                        );
                        None
                    }
                }
            }
            other => self.wrong_type(key, "a whole number", other, problems),
        }
    }

    /// A number within the declared range.
    pub fn number(&self, key: &'static str, problems: &mut Problems) -> Option<f64> {
        let Shape::Number(low, high) = self.declared(key).shape else {
            panic!("`{key}` is not declared as a number");
        };
        let value = match self.raw(key)?.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .ok()
                .map(|value| value as f64),
            DeValue::Float(number) => number.as_str().replace('_', "").parse::<f64>().ok(),
            other => return self.wrong_type(key, "a number", other, problems),
        };
        match value {
            Some(value) if (low..=high).contains(&value) => Some(value),
            _ => {
                self.problem(
                    problems,
                    key,
                    format!("`{key}` must be a number from {low} to {high}"),
                    None,
                );
                None
            }
        }
    }

    /// A duration, `"250ms"`.
    pub fn duration(&self, key: &'static str, problems: &mut Problems) -> Option<Duration> {
        self.parsed(key, problems, parse_duration)
    }

    /// A rate, `"40/s"`.
    pub fn rate(&self, key: &'static str, problems: &mut Problems) -> Option<Rate> {
        self.parsed(key, problems, Rate::from_str)
    }

    /// A share, `"30%"`.
    pub fn share(&self, key: &'static str, problems: &mut Problems) -> Option<Share> {
        self.parsed(key, problems, Share::from_str)
    }

    /// A share that something must reach: above nothing, which everything reaches.
    pub fn share_to_reach(&self, key: &'static str, problems: &mut Problems) -> Option<Share> {
        let share = self.share(key, problems)?;
        if share.fraction() <= 0.0 {
            let message = format!("`{key}` asks for nothing: everything reaches {share}");
            self.problem(
                problems,
                key,
                message,
                "\"99%\", or any above 0%".to_owned(),
            );
            return None;
        }
        Some(share)
    }

    /// A size, `"64KiB"`.
    pub fn bytes(&self, key: &'static str, problems: &mut Problems) -> Option<Bytes> {
        self.parsed(key, problems, Bytes::from_str)
    }

    /// A bandwidth, `"64KiB/s"`.
    pub fn bandwidth(&self, key: &'static str, problems: &mut Problems) -> Option<Bandwidth> {
        self.parsed(key, problems, Bandwidth::from_str)
    }

    /// A factor, `"2x"` or `"1.5x"`: above zero.
    pub fn factor(&self, key: &'static str, problems: &mut Problems) -> Option<f64> {
        self.parsed(key, problems, parse_factor)
    }

    /// A text of the author's that is parsed by `parse`; its error becomes the problem.
    pub fn parsed<T>(
        &self,
        key: &'static str,
        problems: &mut Problems,
        parse: impl FnOnce(&str) -> Result<T, UnitError>,
    ) -> Option<T> {
        let text = self.text(key, problems)?;
        match parse(&text.value) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(problems, key, format!("`{key}`: {error}"), None);
                None
            }
        }
    }

    /// An array of texts; a single text counts as an array of one where the shape allows it.
    pub fn texts(&self, key: &'static str, problems: &mut Problems) -> Option<Vec<Item<String>>> {
        let single = matches!(self.declared(key).shape, Shape::TextOrTexts);
        let value = self.raw(key)?;
        match value.get_ref() {
            DeValue::String(text) if single => Some(vec![Item {
                value: text.to_string(),
                span: value.span(),
            }]),
            DeValue::Array(items) => {
                let mut texts = Vec::with_capacity(items.len());
                for item in items.iter() {
                    match item.get_ref() {
                        DeValue::String(text) => {
                            texts.push(Item {
                                value: text.to_string(),
                                span: item.span(),
                            });
                        }
                        _ => problems.error(
                            self.source,
                            item.span(),
                            format!("`{key}` holds texts in quotes only"),
                            None,
                        ),
                    }
                }
                Some(texts)
            }
            other => self.wrong_type(
                key,
                if single {
                    "a text or an array of texts"
                } else {
                    "an array of texts"
                },
                other,
                problems,
            ),
        }
    }

    /// The table of a [`Shape::Table`].
    pub fn table(&self, key: &'static str, problems: &mut Problems) -> Option<Fields<'a>> {
        let Shape::Table(keys) = self.declared(key).shape else {
            panic!("`{key}` is not declared as a table");
        };
        let (table, span) = self.raw_table(key, problems)?;
        let name = self.name_of(key);
        Some(Fields::new(
            table,
            span,
            self.source,
            name,
            keys,
            &[],
            problems,
        ))
    }

    /// The table with these keys of a [`Shape::AnyOf`], which `wanted` describes as a whole.
    pub fn alternative(
        &self,
        key: &'static str,
        keys: &'static [Key],
        wanted: &str,
        problems: &mut Problems,
    ) -> Option<Fields<'a>> {
        let value = self.raw(key)?;
        match value.get_ref() {
            DeValue::Table(table) => {
                let name = self.name_of(key);
                let span = value.span();
                Some(Fields::new(
                    table,
                    span,
                    self.source,
                    name,
                    keys,
                    &[],
                    problems,
                ))
            }
            other => self.wrong_type(key, wanted, other, problems),
        }
    }

    /// How messages call a table under a key of this one.
    fn name_of(&self, key: &str) -> String {
        if self.span.is_empty() {
            format!("`{key}`")
        } else {
            format!("`{key}` of {}", self.name)
        }
    }

    /// The raw table of a key, whatever its declared shape.
    pub fn raw_table(
        &self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<(&'a DeTable<'a>, Span)> {
        let value = self.raw(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some((table, value.span())),
            other => self.wrong_type(key, "a table", other, problems),
        }
    }

    /// The tables of a [`Shape::Tables`]. Messages call each `what`, with its `name` key where it
    /// has one: "phase `steady`".
    pub fn tables(
        &self,
        key: &'static str,
        what: &str,
        problems: &mut Problems,
    ) -> Vec<Fields<'a>> {
        let Shape::Tables(keys) = self.declared(key).shape else {
            panic!("`{key}` is not declared as an array of tables");
        };
        self.raw_tables(key, problems)
            .into_iter()
            .map(|(table, span)| {
                let name = called(what, table, "name");
                Fields::new(table, span, self.source, name, keys, &[], problems)
            })
            .collect()
    }

    /// The named tables of a [`Shape::MapOf`], in the order of the file. Messages call each
    /// `what` with its name: "load `ask`".
    pub fn named_tables(
        &self,
        key: &'static str,
        what: &str,
        problems: &mut Problems,
    ) -> Vec<(Item<String>, Fields<'a>)> {
        let Shape::MapOf(keys) = self.declared(key).shape else {
            panic!("`{key}` is not declared as a table of named tables");
        };
        let Some((table, _)) = self.raw_table(key, problems) else {
            return Vec::new();
        };
        let mut named = Vec::with_capacity(table.len());
        for (name, value) in table.iter() {
            let item = Item {
                value: name.get_ref().to_string(),
                span: name.span(),
            };
            let what = format!("{what} `{}`", item.value);
            match value.get_ref() {
                DeValue::Table(inner) => {
                    let span = value.span();
                    let fields = Fields::new(inner, span, self.source, what, keys, &[], problems);
                    named.push((item, fields));
                }
                _ => problems.error(
                    self.source,
                    value.span(),
                    format!("{what} must be a table"),
                    None,
                ),
            }
        }
        named.sort_by_key(|(name, _)| name.span.start);
        named
    }

    /// A date, `2017-02-28`, as ISO text.
    pub fn date(&self, key: &'static str, problems: &mut Problems) -> Option<Item<String>> {
        let value = self.raw(key)?;
        match value.get_ref() {
            DeValue::Datetime(moment) if moment.date.is_some() && moment.time.is_none() => {
                Some(Item {
                    value: moment.to_string(),
                    span: value.span(),
                })
            }
            other => self.wrong_type(
                key,
                "a date without quotes, like 2017-02-28",
                other,
                problems,
            ),
        }
    }

    /// The tables of an array of tables, raw, whatever their declared shape.
    pub fn raw_tables(
        &self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Vec<(&'a DeTable<'a>, Span)> {
        let Some(value) = self.raw(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type::<()>(key, "an array of tables", value.get_ref(), problems);
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(items.len());
        for item in items.iter() {
            match item.get_ref() {
                DeValue::Table(table) => tables.push((table, item.span())),
                _ => problems.error(
                    self.source,
                    item.span(),
                    format!("`{key}` holds tables only"),
                    None,
                ),
            }
        }
        tables
    }

    /// The names that stand in the table under a key, right or wrong: what the author will refer
    /// to. None where there is no table.
    pub fn names_in(&self, key: &'static str) -> impl Iterator<Item = &'a str> {
        let table = self.raw(key).and_then(|value| value.get_ref().as_table());
        table
            .into_iter()
            .flat_map(|table| table.keys().map(|name| &**name.get_ref()))
    }

    /// The texts of a [`Shape::TextMap`], in the order of their keys.
    pub fn text_map(
        &self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<Vec<(String, Item<String>)>> {
        let (table, _) = self.raw_table(key, problems)?;
        let mut texts = Vec::with_capacity(table.len());
        for (name, value) in table.iter() {
            match value.get_ref() {
                DeValue::String(text) => texts.push((
                    name.get_ref().to_string(),
                    Item {
                        value: text.to_string(),
                        span: value.span(),
                    },
                )),
                _ => problems.error(
                    self.source,
                    value.span(),
                    format!("`{key}.{}` must be a text in quotes", name.get_ref()),
                    None,
                ),
            }
        }
        Some(texts)
    }

    fn declared(&self, key: &str) -> &'static Key {
        self.keys
            .iter()
            .find(|declared| declared.name == key)
            .unwrap_or_else(|| panic!("`{key}` is read but not declared for {}", self.name))
    }

    fn wrong_type<T>(
        &self,
        key: &str,
        wanted: &str,
        found: &DeValue<'_>,
        problems: &mut Problems,
    ) -> Option<T> {
        let found = match found {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.problem(
            problems,
            key,
            format!("`{key}` must be {wanted}, not {found}"),
            None,
        );
        None
    }
}

/// How messages call a table of an array: by the text under `key`, where it has one.
fn called(what: &str, table: &DeTable<'_>, key: &str) -> String {
    match table.get(key).map(Spanned::get_ref) {
        Some(DeValue::String(name)) => format!("{what} `{name}`"),
        _ => what.to_owned(),
    }
}

/// Reads `"2x"`: a factor above zero.
pub fn parse_factor(text: &str) -> Result<f64, UnitError> {
    text.strip_suffix('x')
        .and_then(|number| number.trim().parse::<f64>().ok())
        .filter(|value| *value > 0.0 && value.is_finite())
        .ok_or_else(|| {
            UnitError(format!(
                "expected a factor above zero, like \"2x\", not {text:?}"
            ))
        })
}
