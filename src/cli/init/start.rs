//! How the system is started and where it listens, from what lies in its folder.
//!
//! A command is an array and never a shell. A line that only a shell understands is given to one by
//! name, so that whoever reads the file sees it.

use super::compose::{Command, Service};
use std::collections::BTreeMap;

/// The placeholder of the system's port.
pub const PORT: &str = "{port.app}";

/// Files that are looked at, beside `.env` and compose files.
pub const FILES: &[&str] = &[
    "Procfile",
    "package.json",
    "manage.py",
    "Dockerfile",
    "go.mod",
    "Cargo.toml",
    "app.py",
    "main.py",
    "server.py",
    "server.js",
    "index.js",
    "app.js",
];

/// Variables from which programs take their port.
const PORT_VARIABLES: &[&str] = &[
    "PORT",
    "APP_PORT",
    "HTTP_PORT",
    "SERVER_PORT",
    "WEB_PORT",
    "API_PORT",
    "LISTEN_PORT",
];

/// Program and arguments as templates, and where they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Program and arguments.
    pub words: Vec<String>,
    /// Where they were found: "Procfile".
    pub origin: String,
}

/// Where the system listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// The command names it.
    InCommand,
    /// It is taken from this variable.
    Variable(String),
    /// It is always this one.
    Fixed(u16),
}

impl Port {
    /// Reads what a person typed: a number, or the name of a variable.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(number) = text.parse::<u16>()
            && number > 0
        {
            return Ok(Self::Fixed(number));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if begins && text.len() <= 64 && text.chars().all(fits) {
            return Ok(Self::Variable(text.to_owned()));
        }
        Err(format!(
            "`{text}` is neither a port from 1 to 65535 nor the name of a variable"
        ))
    }
}

/// Program and arguments, and the file that says so.
type Sign = (Vec<String>, &'static str);

/// How the system is started, as its folder says; the surest sign first.
pub fn command(files: &BTreeMap<String, String>, app: Option<&Service>) -> Option<Started> {
    let ways: [&dyn Fn() -> Option<Sign>; 8] = [
        &|| Some((words(procfile(files.get("Procfile")?)?), "Procfile")),
        &|| Some((package(files.get("package.json")?)?, "package.json")),
        &|| files.get("manage.py").map(|_| (django(), "manage.py")),
        &|| Some((of_service(app?)?, "the compose file")),
        &|| Some((dockerfile(files.get("Dockerfile")?)?, "Dockerfile")),
        &|| files.get("go.mod").map(|_| (words("go run ."), "go.mod")),
        &|| {
            let text = files.get("Cargo.toml")?;
            text.contains("[package]")
                .then(|| (words("cargo run"), "Cargo.toml"))
        },
        &|| program(files),
    ];
    let named = |way: &&dyn Fn() -> Option<Sign>| way().filter(|(words, _)| !words.is_empty());
    let (words, origin) = ways.iter().find_map(named)?;
    Some(Started {
        words,
        origin: origin.to_owned(),
    })
}

fn program(files: &BTreeMap<String, String>) -> Option<Sign> {
    let name = FILES.iter().find(|name| {
        (name.ends_with(".py") || name.ends_with(".js"))
            && **name != "manage.py"
            && files.contains_key(**name)
    })?;
    let interpreter = if name.ends_with(".py") {
        "python3"
    } else {
        "node"
    };
    Some((vec![interpreter.to_owned(), (*name).to_owned()], name))
}

fn django() -> Vec<String> {
    let words = ["python3", "manage.py", "runserver", "--noreload"];
    let mut words: Vec<String> = words.map(str::to_owned).to_vec();
    words.push(format!("127.0.0.1:{PORT}"));
    words
}

/// The line of a Procfile's `web`.
fn procfile(text: &str) -> Option<&str> {
    let line = text.lines().find_map(|line| line.strip_prefix("web:"))?;
    Some(line.trim()).filter(|line| !line.is_empty())
}

/// The script `start`, itself where it is a plain command of node's, else through npm.
fn package(text: &str) -> Option<Vec<String>> {
    let package: serde_json::Value = serde_json::from_str(text).ok()?;
    let script = package.pointer("/scripts/start")?.as_str()?;
    let direct = words(script);
    if direct.first().is_some_and(|program| program == "node") {
        return Some(direct);
    }
    Some(words("npm start"))
}

fn of_service(service: &Service) -> Option<Vec<String>> {
    of_command(service.command.as_ref()?)
}

fn of_command(command: &Command) -> Option<Vec<String>> {
    let made = match command {
        Command::Line(line) => words(line),
        Command::Words(list) => named_ports(list.iter().map(|word| template(word)).collect()),
    };
    Some(made).filter(|words: &Vec<String>| !words.is_empty())
}

/// The last CMD of a Dockerfile, after its ENTRYPOINT where both are arrays.
fn dockerfile(text: &str) -> Option<Vec<String>> {
    let last = |what: &str| {
        let lines = text.lines().rev();
        lines
            .filter_map(|line| line.trim().strip_prefix(what))
            .next()
            .map(str::trim)
    };
    let array = |text: &str| serde_json::from_str::<Vec<String>>(text).ok();
    let command = match (last("ENTRYPOINT "), last("CMD ")) {
        (Some(entry), command) => match (array(entry), command.and_then(array)) {
            (Some(mut entry), rest) => {
                entry.extend(rest.unwrap_or_default());
                Command::Words(entry)
            }
            (None, _) => Command::Line(entry.to_owned()),
        },
        (None, Some(command)) => match array(command) {
            Some(words) => Command::Words(words),
            None => Command::Line(command.to_owned()),
        },
        (None, None) => return None,
    };
    of_command(&command)
}

/// The port that a Dockerfile exposes.
pub fn exposed(text: &str) -> Option<u16> {
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("EXPOSE "))?;
    line.split_whitespace()
        .next()?
        .split('/')
        .next()?
        .parse()
        .ok()
}

/// Where the system listens: what its command says, else a variable of its own, else what its
/// container shows. `None` where nothing says it.
pub fn port(
    words: &[String],
    variables: &[&str],
    app: Option<&Service>,
    files: &BTreeMap<String, String>,
) -> Option<(Port, String)> {
    if words.iter().any(|word| word.contains(PORT)) {
        return Some((Port::InCommand, "the command names it".to_owned()));
    }
    let mentions = words
        .iter()
        .any(|word| word.contains("$PORT") || word.contains("${{PORT"));
    if mentions {
        return Some((
            Port::Variable("PORT".to_owned()),
            "the command uses it".to_owned(),
        ));
    }
    if let Some(name) = PORT_VARIABLES.iter().find(|name| variables.contains(name)) {
        return Some((
            Port::Variable((*name).to_owned()),
            "a file sets it".to_owned(),
        ));
    }
    let within = app
        .and_then(|app| app.ports.first())
        .map(|(_, within)| *within);
    if let Some(port) = within.filter(|port| *port > 0) {
        return Some((
            Port::Fixed(port),
            "the compose file publishes it".to_owned(),
        ));
    }
    let port = exposed(files.get("Dockerfile")?)?;
    (port > 0).then(|| (Port::Fixed(port), "the Dockerfile exposes it".to_owned()))
}

/// A line as program and arguments, or for a shell where only one would understand it.
/// `$PORT` and a port that is written out become the placeholder. None where no program is named.
pub fn words(line: &str) -> Vec<String> {
    let line = line.trim();
    let filled = with_default(&bare_port(&line.replace("${PORT}", PORT)));
    match split(&filled) {
        Some(words) if words.first().is_some_and(String::is_empty) => Vec::new(),
        Some(words) => named_ports(words.iter().map(|word| template(word)).collect()),
        None => vec!["sh".to_owned(), "-c".to_owned(), escaped(line)],
    }
}

/// `$PORT` as the placeholder, where no longer name begins so.
fn bare_port(line: &str) -> String {
    let mut parts = line.split("$PORT");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let goes_on = part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        filled.push_str(if goes_on { "$PORT" } else { PORT });
        filled.push_str(part);
    }
    filled
}

/// `${PORT:-8000}` as the placeholder.
fn with_default(line: &str) -> String {
    let Some(at) = line.find("${PORT:-") else {
        return line.to_owned();
    };
    match line[at..].find('}') {
        Some(end) => format!("{}{PORT}{}", &line[..at], &line[at + end + 1..]),
        None => line.to_owned(),
    }
}

/// Words as a shell would split them; `None` where it would do more than that.
fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next()? {
                        '\'' => break,
                        letter => word.push(letter),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next()? {
                        '"' => break,
                        '\\' => word.push(letters.next()?),
                        '$' | '`' => return None,
                        letter => word.push(letter),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(letters.next()?),
            '|' | '&' | ';' | '<' | '>' | '(' | ')' | '`' | '$' | '*' | '?' | '#' | '~' | '\n'
            | '\0' => return None,
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word.take());
    // `NAME=value command` sets a variable, which only a shell does.
    let assigns = words
        .first()
        .is_none_or(|first: &String| first.contains('='));
    (!assigns).then_some(words)
}

/// A word as a template: braces doubled, but for the port's placeholder.
fn template(word: &str) -> String {
    let parts: Vec<String> = word.split(PORT).map(escaped).collect();
    parts.join(PORT)
}

fn escaped(text: &str) -> String {
    let text: String = text.chars().filter(|c| *c != '\0').collect();
    text.replace('{', "{{").replace('}', "}}")
}

/// Ports that are written out where a port must stand, as the placeholder; only the first.
fn named_ports(mut words: Vec<String>) -> Vec<String> {
    if words.iter().any(|word| word.contains(PORT)) {
        return words;
    }
    for index in 1..words.len() {
        let flagged = matches!(
            words[index - 1].as_str(),
            "--port" | "-p" | "-port" | "--http-port"
        );
        let word = &words[index];
        let number = |text: &str| text.parse::<u16>().is_ok_and(|port| port > 0);
        let replaced = if flagged && number(word) {
            Some(PORT.to_owned())
        } else if let Some(rest) = word.strip_prefix("--port=") {
            number(rest).then(|| format!("--port={PORT}"))
        } else {
            word.rsplit_once(':').and_then(|(host, port)| {
                let bare = host.rsplit('=').next().unwrap_or_default();
                let ours = ["", "0.0.0.0", "127.0.0.1", "localhost", "[::]"].contains(&bare);
                (ours && number(port)).then(|| format!("{host}:{PORT}"))
            })
        };
        if let Some(replaced) = replaced {
            words[index] = replaced;
            break;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(line: &str, expected: &[&str]) {
        assert_eq!(words(line), expected, "{line}");
    }

    #[test]
    fn a_line_becomes_an_array() {
        check("node server.js", &["node", "server.js"]);
        check(
            "python -m 'my app' \"x y\"",
            &["python", "-m", "my app", "x y"],
        );
        check("a {b}", &["a", "{{b}}"]);
    }

    #[test]
    fn ports_become_the_placeholder() {
        check(
            "gunicorn app --bind 0.0.0.0:$PORT",
            &["gunicorn", "app", "--bind", "0.0.0.0:{port.app}"],
        );
        check("x --port ${PORT:-8000}", &["x", "--port", "{port.app}"]);
        check("x $PORTAL", &["sh", "-c", "x $PORTAL"]);
        check("x -p 3000", &["x", "-p", "{port.app}"]);
        check(
            "x --listen=:3000 -p 1",
            &["x", "--listen=:{port.app}", "-p", "1"],
        );
        check(
            "x --workers 4 redis:6379",
            &["x", "--workers", "4", "redis:6379"],
        );
    }

    #[test]
    fn what_only_a_shell_understands_is_given_to_one() {
        check("a && b {c}", &["sh", "-c", "a && b {{c}}"]);
        check("A=1 b", &["sh", "-c", "A=1 b"]);
        check("b 'x", &["sh", "-c", "b 'x"]);
    }

    fn files(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        let files = files.iter();
        files
            .map(|(name, text)| (name.to_string(), text.to_string()))
            .collect()
    }

    #[test]
    fn the_folder_says_how_it_is_started() {
        for (given, expected) in [
            (
                &[("Procfile", "release: x\nweb: node a.js\n")][..],
                Some("node a.js"),
            ),
            (
                &[("package.json", r#"{"scripts":{"start":"node s.js"}}"#)],
                Some("node s.js"),
            ),
            (
                &[("package.json", r#"{"scripts":{"start":"next start"}}"#)],
                Some("npm start"),
            ),
            (
                &[("manage.py", "")],
                Some("python3 manage.py runserver --noreload 127.0.0.1:{port.app}"),
            ),
            (
                &[("Dockerfile", "FROM x\nCMD [\"a\", \"b\"]\n")],
                Some("a b"),
            ),
            (
                &[("Dockerfile", "ENTRYPOINT [\"a\"]\nCMD [\"b\"]")],
                Some("a b"),
            ),
            (
                &[("Dockerfile", "CMD [\"a\", \"--port\", \"80\"]")],
                Some("a --port {port.app}"),
            ),
            (&[("server.py", "")], Some("python3 server.py")),
            (&[("package.json", "{")], None),
            (&[], None),
        ] {
            let started = command(&files(given), None).map(|started| started.words.join(" "));
            assert_eq!(started.as_deref(), expected, "{given:?}");
        }
    }

    #[test]
    fn the_port_is_a_number_or_a_variable() {
        assert_eq!(Port::parse("8080"), Ok(Port::Fixed(8080)));
        assert_eq!(
            Port::parse("HTTP_PORT"),
            Ok(Port::Variable("HTTP_PORT".to_owned()))
        );
        for wrong in ["", "0", "65536", "A B", "1A", "-1"] {
            assert!(Port::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_surest_sign_of_the_port_wins() {
        let none = files(&[]);
        let docker = files(&[("Dockerfile", "EXPOSE 8080/tcp\n")]);
        let of = |line: &str, variables: &[&str], files| {
            port(&words(line), variables, None, files).map(|(port, _)| port)
        };
        assert_eq!(of("x -p 1", &["PORT"], &docker), Some(Port::InCommand));
        assert_eq!(
            of("x", &["APP_PORT"], &docker),
            Some(Port::Variable("APP_PORT".into()))
        );
        assert_eq!(
            of("a && b $PORT", &[], &docker),
            Some(Port::Variable("PORT".into()))
        );
        assert_eq!(of("x", &[], &docker), Some(Port::Fixed(8080)));
        assert_eq!(of("x", &[], &none), None);
    }

    proptest! {
        #[test]
        fn any_line_becomes_a_command_of_templates(line in "(\\PC| |\"|'|\\\\|\\{|\\}|\\$PORT|:80){1,40}") {
            let words = words(&line);
            for word in &words {
                let bare = word.replace(PORT, "").replace("{{", "").replace("}}", "");
                prop_assert!(!bare.contains(['{', '}']), "{}", word);
            }
        }
    }
}
