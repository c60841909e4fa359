//! YAML as a tree with lines: as much of it as compose files need.
//!
//! Whatever stands before a mistake is kept. What aliases unfold to is bounded.

use saphyr_parser::{Event, Parser, StrInput};
use std::collections::BTreeMap;

/// The most nodes of a tree, copies by aliases included.
const NODES_MAX: usize = 50_000;

/// How deep a tree may be.
const DEPTH_MAX: usize = 64;

/// A value and the line on which it begins, from 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Its line.
    pub line: usize,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any scalar, as it is written.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping with its keys as texts.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The node under a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let found = self.entries().iter().find(|(name, _)| name == key)?;
        Some(&found.1)
    }

    /// The entries of a mapping; of anything else none.
    pub fn entries(&self) -> &[(String, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a sequence; of anything else none.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Text(_) => 0,
            Value::List(items) => items.iter().map(Node::size).sum(),
            Value::Map(entries) => entries.iter().map(|(_, node)| node.size()).sum(),
        }
    }
}

/// The first document of a text, as far as it can be read, and what is wrong on which line.
pub fn read(text: &str) -> (Option<Node>, Option<(usize, String)>) {
    let mut builder = Builder::default();
    let mut parser = Parser::new(StrInput::new(text));
    loop {
        match parser.next_event() {
            None => break,
            Some(Err(error)) => {
                let line = error.marker().line();
                return (
                    builder.whatever_there_is(),
                    Some((line, error.info().to_owned())),
                );
            }
            Some(Ok((event, span))) => {
                let line = span.start.line();
                match builder.take(event, line) {
                    Ok(false) => {}
                    Ok(true) => break,
                    Err(message) => {
                        return (
                            builder.whatever_there_is(),
                            Some((line, message.to_owned())),
                        );
                    }
                }
            }
        }
    }
    (builder.root, None)
}

/// A collection that is not over yet.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<String>,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    count: usize,
    root: Option<Node>,
}

impl Builder {
    /// Takes an event; true when the document is over.
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<bool, &'static str> {
        match event {
            Event::Scalar(text, _, anchor, _) => {
                let value = Value::Text(text.into_owned());
                self.done(Node { value, line }, anchor)?;
            }
            Event::SequenceStart(anchor, _) => self.begin(Value::List(Vec::new()), anchor, line)?,
            Event::MappingStart(anchor, _) => self.begin(Value::Map(Vec::new()), anchor, line)?,
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or("an alias to what is not there yet")?;
                self.done(node, 0)?;
            }
            Event::DocumentEnd | Event::StreamEnd => return Ok(true),
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => {}
        }
        Ok(false)
    }

    fn begin(&mut self, value: Value, anchor: usize, line: usize) -> Result<(), &'static str> {
        if self.open.len() >= DEPTH_MAX {
            return Err("nested too deep");
        }
        let node = Node { value, line };
        self.open.push(Open {
            node,
            anchor,
            key: None,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), &'static str> {
        match self.open.pop() {
            Some(open) => self.done(merged(open.node), open.anchor),
            None => Ok(()),
        }
    }

    /// Puts a node that is complete where it belongs.
    fn done(&mut self, node: Node, anchor: usize) -> Result<(), &'static str> {
        self.count += node.size();
        if self.count > NODES_MAX {
            return Err("too much to unfold");
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => match open.key.take() {
                Some(key) => entries.push((key, node)),
                // A key that is no scalar is nothing that we look for.
                None => open.key = Some(node.text().unwrap_or_default().to_owned()),
            },
            Value::Text(_) => {}
        }
        Ok(())
    }

    /// The tree so far, everything that is open closed.
    fn whatever_there_is(mut self) -> Option<Node> {
        while !self.open.is_empty() {
            if self.end().is_err() {
                break;
            }
        }
        self.root
    }
}

/// A mapping with those that it merges in by `<<`; its own entries win.
fn merged(mut node: Node) -> Node {
    let Value::Map(entries) = &mut node.value else {
        return node;
    };
    let (merges, mut own): (Vec<_>, Vec<_>) = std::mem::take(entries)
        .into_iter()
        .partition(|(key, _)| key == "<<");
    for (_, merge) in merges {
        let maps = match &merge.value {
            Value::List(maps) => maps.clone(),
            _ => vec![merge],
        };
        for (key, value) in maps.iter().flat_map(|map| map.entries().to_vec()) {
            if !own.iter().any(|(known, _)| *known == key) {
                own.push((key, value));
            }
        }
    }
    *entries = own;
    node
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tree_has_texts_lists_maps_and_lines() {
        let (root, trouble) = read("a: 1\nb:\n  - x\n  - {c: y}\n");
        assert_eq!(trouble, None);
        let root = root.unwrap();
        assert_eq!(root.get("a").and_then(Node::text), Some("1"));
        let items = root.get("b").unwrap().items();
        assert_eq!(items[0].line, 3);
        assert_eq!(items[1].get("c").and_then(Node::text), Some("y"));
    }

    #[test]
    fn merges_add_what_is_not_there() {
        let (root, _) = read("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n");
        let y = root.unwrap().get("y").cloned().unwrap();
        assert_eq!(y.get("a").and_then(Node::text), Some("1"));
        assert_eq!(y.get("b").and_then(Node::text), Some("3"));
    }

    #[test]
    fn what_stands_before_a_mistake_is_kept() {
        let (root, trouble) = read("services:\n  db:\n    image: postgres\n  web: [1\nx: }\n");
        let (line, _) = trouble.expect("a mistake");
        assert!(line >= 4, "{line}");
        let root = root.expect("the part before it");
        let image = root
            .get("services")
            .and_then(|all| all.get("db")?.get("image"));
        assert_eq!(image.and_then(Node::text), Some("postgres"));
    }

    #[test]
    fn what_unfolds_without_end_is_refused() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for n in 1..12 {
            let one = format!("*a{}", n - 1);
            text.push_str(&format!("a{n}: &a{n} [{}]\n", [one.as_str(); 9].join(",")));
        }
        let (_, trouble) = read(&text);
        assert_eq!(
            trouble.map(|one| one.1),
            Some("too much to unfold".to_owned())
        );
        // The parser has a limit of its own, at other depths than ours.
        for depth in [DEPTH_MAX + 1, 5_000] {
            let (_, trouble) = read(&"[".repeat(depth));
            assert!(trouble.is_some(), "{depth}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "(\\PC|\n| |:|-|\\[|\\{|&a|\\*a|<<: ){0,60}") {
            let _ = read(&text);
        }
    }
}
