//! A dependency that a request asks for, read as a system's file says one.

use super::{
    problem::{Body, Failure, Why},
    protocol_named,
};
use crate::{
    control::{said::Table, toxiproxy::json::Node},
    input::{Problems, Source, hint_among},
    protocol::PROTOCOLS,
    scenario::{System, system_from_text},
};
use std::{net::SocketAddr, path::PathBuf, sync::Arc};

/// The longest text of a request, in characters.
const TEXT_MAX: usize = 300;

/// The longest name.
const NAME_MAX: usize = 64;

/// Reads it: its name, and a system that it is the only dependency of. `is_open`: it may listen where
/// others than this machine's programs reach it.
pub(super) fn read(node: &Node, is_open: bool) -> Result<(Arc<str>, System), Failure> {
    let mut body = Body::open(node)?;
    body.only(&["name", "protocol", "upstream", "listen"]);
    let name = name(&mut body);
    let protocols = || PROTOCOLS.iter().map(|def| def.name);
    let hint = format!("one of {}", protocols().collect::<Vec<_>>().join(", "));
    let protocol = body.required("protocol", TEXT_MAX, &hint);
    if let Some(said) = protocol.filter(|said| protocol_named(said).is_none()) {
        let hint = hint_among(said, protocols().collect::<Vec<_>>());
        body.problem("protocol", format!("unknown protocol `{said}`"), hint);
    }
    let hint = "\"host:port\", \"https://host\", or \"embedded\"";
    let upstream = body.required("upstream", TEXT_MAX, hint);
    let listen = listen(&mut body, is_open);
    // Whatever is said is read, so that all that is wrong with it is said at once.
    let mut table = Table::default();
    table.open(&["system"]);
    let external = Node::Text("http://127.0.0.1:1".to_owned());
    table.put("external", "", &external);
    table.open(&["dependency", name.unwrap_or("unnamed")]);
    let known = protocol.filter(|said| protocol_named(said).is_some());
    for (key, value) in [
        ("protocol", Some(known.unwrap_or("tcp"))),
        (
            "upstream",
            upstream.filter(|_| known.is_some()).or(Some("127.0.0.1:1")),
        ),
        ("listen", listen),
    ] {
        if let Some(value) = value {
            table.put(key, key, &Node::Text(value.to_owned()));
        }
    }
    let source = Source::new("the request", table.text());
    let mut problems = Problems::default();
    let system = system_from_text(source, PathBuf::from("."), &mut problems);
    body.found(problems, &table);
    body.finish(Why::Bad)?;
    match (name, system) {
        (Some(name), Some(system)) => Ok((name.into(), system)),
        _ => Err(Failure::new(Why::Bad, "", "this is no dependency", None)),
    }
}

fn name<'a>(body: &mut Body<'a>) -> Option<&'a str> {
    let hint = "the name by which faults are put on it";
    let name = body.required("name", NAME_MAX, hint)?;
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    if name.chars().all(fits) {
        return Some(name);
    }
    let hint = format!("letters, digits, `-` and `_`, at most {NAME_MAX}");
    body.problem("name", format!("`{name}` is no name of a dependency"), hint);
    None
}

fn listen<'a>(body: &mut Body<'a>, is_open: bool) -> Option<&'a str> {
    let said = body.text("listen", TEXT_MAX)?;
    if let Ok(address) = said.parse::<SocketAddr>()
        && !address.ip().is_loopback()
        && !is_open
    {
        body.problem(
            "listen",
            format!("`{said}` can be reached by others"),
            "take an address of this machine alone, like 127.0.0.1:0".to_owned(),
        );
    }
    Some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places of what is wrong, and what it is.
    type Wrong = Vec<(String, String)>;

    fn read(said: &str) -> Result<(Arc<str>, System), Wrong> {
        let node = Node::read(said.as_bytes()).expect("it is JSON");
        let problems = |failure: Failure| {
            let each = failure.problems.into_iter();
            each.map(|one| (one.place, one.what)).collect()
        };
        super::read(&node, false).map_err(problems)
    }

    #[test]
    fn a_dependency_is_asked_for_in_the_words_of_a_systems_file() {
        let said = r#"{"name":"web","protocol":"http","upstream":"https://example.com","listen":"127.0.0.1:8080"}"#;
        let (name, system) = read(said).expect("it is right");
        assert_eq!(&*name, "web");
        let spec = &system.dependencies[0];
        assert_eq!(super::super::upstream(spec), "https://example.com:443");
        assert_eq!(spec.listen.map(|one| one.port()), Some(8080));
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let wrong = |said: &str| -> Vec<String> {
            let problems = read(said).map(|_| ()).unwrap_err();
            problems.into_iter().map(|(place, _)| place).collect()
        };
        assert_eq!(wrong("{}"), ["name", "protocol", "upstream"]);
        assert_eq!(
            wrong(r#"{"name":"a b","protocol":"htp","upstream":"x","liste":1}"#),
            ["liste", "name", "protocol"]
        );
        assert_eq!(
            wrong(r#"{"name":"a","protocol":"http","upstream":"x"}"#),
            ["upstream"]
        );
        assert_eq!(
            wrong(r#"{"name":"a","protocol":"http","upstream":"x:1","listen":"0.0.0.0:80"}"#),
            ["listen"]
        );
        assert_eq!(
            wrong(r#"{"name":"a","protocol":"http","upstream":"instance:main"}"#),
            ["upstream"]
        );
        assert_eq!(
            wrong(r#"{"name":"a","protocol":"http","upstream":"x:1","schema":"x.sql"}"#),
            ["schema"]
        );
    }
}
