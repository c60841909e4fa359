//! What a compose file says of a system: its services, how they are started, and which of their
//! ports can be reached from here.

use super::{
    dotenv::{Variable, expanded},
    yaml::{Node, Value, read},
};

/// A service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Service {
    /// Its name, by which other services reach it.
    pub name: String,
    /// The image, without its registry's folder and its version: "postgres".
    pub image: String,
    /// Whether it is built here: then it is the system, or a part of it.
    pub built: bool,
    /// How it is started, where the file says so.
    pub command: Option<Command>,
    /// Its environment.
    pub environment: Vec<Variable>,
    /// Ports: as reached from here, and within.
    pub ports: Vec<(u16, u16)>,
    /// The path that its health check asks for.
    pub healthy: Option<String>,
}

/// How a program is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Program and arguments.
    Words(Vec<String>),
    /// A line for a shell.
    Line(String),
}

impl Service {
    /// Where its port of this number is reached from here.
    pub fn published(&self, target: u16) -> Option<u16> {
        let found = self.ports.iter().find(|(_, within)| *within == target)?;
        Some(found.0)
    }
}

/// All services of a file, and what is wrong with it on which line. `variable` is what `.env` says.
pub fn services(
    text: &str,
    variable: &impl Fn(&str) -> Option<String>,
) -> (Vec<Service>, Option<(usize, String)>) {
    let (root, trouble) = read(text);
    let services = root.as_ref().and_then(|root| root.get("services"));
    let services = services.map_or(&[][..], Node::entries);
    let services = services
        .iter()
        .map(|(name, node)| service(name, node, variable));
    (services.collect(), trouble)
}

fn service(name: &str, node: &Node, variable: &impl Fn(&str) -> Option<String>) -> Service {
    let fill = |text: &str| expanded(text, variable);
    let image = node
        .get("image")
        .and_then(Node::text)
        .map(fill)
        .unwrap_or_default();
    Service {
        name: name.to_owned(),
        image: bare_image(&image),
        built: node.get("build").is_some(),
        command: node.get("command").and_then(command),
        environment: environment(node.get("environment"), &fill),
        ports: ports(node.get("ports"), &fill),
        healthy: node
            .get("healthcheck")
            .and_then(|check| healthy(check.get("test")?)),
    }
}

fn bare_image(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or_default();
    let end = last.find([':', '@']).unwrap_or(last.len());
    last[..end].to_ascii_lowercase()
}

fn command(node: &Node) -> Option<Command> {
    match &node.value {
        Value::Text(line) => Some(Command::Line(line.replace("$$", "$"))),
        Value::List(words) => {
            let words = words.iter().filter_map(Node::text);
            Some(Command::Words(words.map(str::to_owned).collect()))
        }
        Value::Map(_) => None,
    }
}

/// Both forms: a mapping, and a list of `NAME=value`.
fn environment(node: Option<&Node>, fill: &impl Fn(&str) -> String) -> Vec<Variable> {
    let Some(node) = node else { return Vec::new() };
    let mapped = node
        .entries()
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.text()?.to_owned(), value.line)));
    let listed = node.items().iter().filter_map(|item| {
        let (name, value) = item.text()?.split_once('=')?;
        Some((name.to_owned(), value.to_owned(), item.line))
    });
    mapped
        .chain(listed)
        .map(|(name, value, line)| Variable {
            name,
            value: fill(&value),
            line,
        })
        .collect()
}

/// Published ports: "8080:80", "127.0.0.1:8080:80/tcp", or a mapping with `published` and `target`.
fn ports(node: Option<&Node>, fill: &impl Fn(&str) -> String) -> Vec<(u16, u16)> {
    let items = node.map_or(&[][..], Node::items);
    items
        .iter()
        .filter_map(|item| match item.text() {
            Some(text) => {
                let text = fill(text);
                let text = text.split('/').next().unwrap_or_default();
                let mut parts = text.rsplit(':');
                let target = parts.next()?.parse().ok()?;
                Some((parts.next()?.parse().ok()?, target))
            }
            None => {
                let number = |key| fill(item.get(key)?.text()?).parse().ok();
                Some((number("published")?, number("target")?))
            }
        })
        .collect()
}

/// The path in a health check such as `curl -f http://localhost:8000/healthz`.
fn healthy(test: &Node) -> Option<String> {
    let words: Vec<String> = match &test.value {
        Value::Text(line) => line.split_whitespace().map(str::to_owned).collect(),
        _ => test
            .items()
            .iter()
            .filter_map(Node::text)
            .flat_map(|text| text.split_whitespace().map(str::to_owned))
            .collect(),
    };
    let url = words.iter().find_map(|word| {
        let word = word.trim_matches(['"', '\'', ';', ')', '(']);
        word.strip_prefix("http://").map(str::to_owned)
    })?;
    let path = &url[url.find('/')?..];
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    (path.len() > 1 && path.chars().all(fits)).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
x-common: &common
  restart: always
services:
  web:
    <<: *common
    build: .
    command: gunicorn app:app --bind 0.0.0.0:8000
    environment:
      DATABASE_URL: postgres://app:${DB_PASSWORD:-hush}@db:5432/app
    ports: ["8080:8000"]
    healthcheck:
      test: ["CMD", "curl", "-f", "http://localhost:8000/healthz"]
  worker:
    image: ghcr.io/acme/worker:1
    environment:
      - REDIS_URL=redis://cache:6379/0
  db:
    image: docker.io/library/postgres:16-alpine
    ports:
      - "127.0.0.1:${DB_PORT}:5432/tcp"
  cache:
    image: redis
    ports:
      - target: 6379
        published: "6380"
"#;

    #[test]
    fn services_are_read_with_images_ports_and_environment() {
        let variable = |name: &str| (name == "DB_PORT").then(|| "5433".to_owned());
        let (services, trouble) = services(TEXT, &variable);
        assert_eq!(trouble, None);
        let [web, worker, db, cache] = &services[..] else {
            panic!("{services:?}");
        };
        assert!(web.built && web.published(8000) == Some(8080));
        assert_eq!(web.environment[0].value, "postgres://app:hush@db:5432/app");
        assert_eq!(web.healthy.as_deref(), Some("/healthz"));
        assert!(matches!(&web.command, Some(Command::Line(line)) if line.starts_with("gunicorn")));
        assert_eq!(worker.environment[0].name, "REDIS_URL");
        assert_eq!(
            (db.image.as_str(), db.published(5432)),
            ("postgres", Some(5433))
        );
        assert_eq!(cache.published(6379), Some(6380));
    }

    #[test]
    fn what_is_no_compose_file_has_no_services() {
        for text in ["", "services:", "services: [a]", "- a", "a: b"] {
            assert_eq!(services(text, &|_| None).0, [], "{text}");
        }
    }
}
