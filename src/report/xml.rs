//! XML as far as reports need it: elements with attributes, and text in them.
//!
//! Whatever comes from files or from the wire stays text, and what XML cannot hold is left out.

use super::layout::harmless;

/// An element.
#[derive(Debug)]
pub struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Elements(Vec<Element>),
    Text(String),
}

impl Element {
    /// An element without anything in it.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            attributes: Vec::new(),
            content: Content::Elements(Vec::new()),
        }
    }

    /// An element that holds a text and nothing else.
    pub fn of_text(name: &'static str, text: &str) -> Self {
        Self {
            content: Content::Text(harmless(text)),
            ..Self::new(name)
        }
    }

    /// The same with an attribute more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.attributes.push((name, harmless(&value.to_string())));
        self
    }

    /// Puts elements behind those that it has; one that holds a text takes none.
    pub fn extend(&mut self, more: impl IntoIterator<Item = Self>) {
        if let Content::Elements(elements) = &mut self.content {
            elements.extend(more);
        }
    }

    /// A whole document with this as its root.
    pub fn document(&self) -> String {
        let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
        self.write(&mut out, 0);
        out
    }

    fn write(&self, out: &mut String, depth: usize) {
        let indent = "  ".repeat(depth);
        out.push_str(&format!("{indent}<{}", self.name));
        for (name, value) in &self.attributes {
            out.push_str(&format!(" {name}=\"{}\"", escaped(value, true)));
        }
        match &self.content {
            Content::Elements(elements) if elements.is_empty() => out.push_str("/>\n"),
            Content::Elements(elements) => {
                out.push_str(">\n");
                for element in elements {
                    element.write(out, depth + 1);
                }
                out.push_str(&format!("{indent}</{}>\n", self.name));
            }
            Content::Text(text) => {
                out.push_str(&format!(">{}</{}>\n", escaped(text, false), self.name));
            }
        }
    }
}

/// A text between tags or quotes. Readers make spaces of the line ends of attributes that are not
/// written as references.
fn escaped(text: &str, is_attribute: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' if is_attribute => out.push_str("&quot;"),
            '\n' if is_attribute => out.push_str("&#10;"),
            // Not characters to XML.
            '\u{fffe}' | '\u{ffff}' => {}
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_text_holds_it_stays_text() {
        let mut root = Element::new("a").with("b", "\"<&>\n'\u{0}\u{1b}[31m");
        root.extend([
            Element::of_text("c", "]]> <d/>\n&amp; \u{fffe}\u{8}x"),
            Element::new("e"),
        ]);
        assert_eq!(
            root.document(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <a b=\"&quot;&lt;&amp;&gt;&#10;'\">\n  \
             <c>]]&gt; &lt;d/&gt;\n&amp;amp; x</c>\n  <e/>\n</a>\n"
        );
    }
}
