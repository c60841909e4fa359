//! What would prove that `init` keeps its promises: whatever lies in the folder and whatever is
//! answered, the files check; and no secret is in them.

use super::*;
use clap::Parser;
use depends::Kind;
use proptest::prelude::*;
use std::fs;

/// What `brownout init` with these arguments would do in a folder with these files.
struct Tried {
    folder: tempfile::TempDir,
    args: Args,
}

fn tried(files: &[(&str, &str)], arguments: &[&str]) -> Tried {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let folder_name = folder.path().display().to_string();
    let words = ["brownout", "init", &folder_name];
    let words = words.into_iter().chain(arguments.iter().copied());
    let cli = crate::cli::args::Cli::try_parse_from(words).expect("arguments");
    let crate::cli::args::Command::Init(args) = cli.command else {
        panic!("init was typed");
    };
    Tried { folder, args }
}

impl Tried {
    fn setup(&self) -> Result<(Setup, Vec<String>), Failure> {
        let found = look_again(&self.args, self.args.command.as_deref(), &[])?;
        assume(&self.args, found)
    }

    fn interviewed(&self, answers: &str) -> (Result<Setup, Failure>, String) {
        let found = look_again(&self.args, self.args.command.as_deref(), &[]).expect("a folder");
        let mut output = Vec::new();
        let mut asker = Asker {
            input: answers.as_bytes(),
            output: &mut output,
        };
        let setup = interview(&self.args, found, &mut asker);
        (setup, String::from_utf8(output).unwrap())
    }
}

/// The problems of the two files, warnings too.
fn problems_of(setup: &Setup) -> String {
    let mut problems = Problems::default();
    let read = from_texts(
        Source::new(SCENARIO, setup.scenario()),
        Source::new(SYSTEM, setup.system()),
        PathBuf::from("."),
        &mut problems,
    );
    assert_eq!(read.is_none(), problems.any_error());
    crate::input::render(&problems.into_sorted(), false)
}

const ENV: &str = "\
SECRET_KEY=hunter2
DATABASE_URL=postgres://app:hunter2@localhost:5432/shop
REDIS_URL=redis://:hunter2@cache.example.com:6379/0
PAYMENTS_API_URL=https://api.pay.example/v1
S3_BUCKET=uploads
PUSHER_APP_ID=1
PUSHER_APP_KEY=hunter2
PUSHER_APP_SECRET=hunter2
AMQP_URL=amqp://u:hunter2@localhost
MYSQL_URL=mysql://root:hunter2@localhost/x
PORT=3000
";

#[test]
fn whatever_fails_the_files_check_without_a_warning() {
    let mut kinds = Vec::new();
    for failing in ["db", "mysql", "s3", "redis", "payments", "pusher", "amqp"] {
        let tried = tried(&[(".env", ENV), ("server.js", "")], &["--failing", failing]);
        let (setup, _) = tried.setup().expect("a setup");
        assert_eq!(
            problems_of(&setup),
            "",
            "{failing}\n{}\n{}",
            setup.system(),
            setup.scenario()
        );
        kinds.push(setup.dependencies[setup.failing].kind);
    }
    kinds.sort();
    kinds.dedup();
    let all = [
        Kind::Postgres,
        Kind::Mysql,
        Kind::S3,
        Kind::Redis,
        Kind::Http,
        Kind::Pusher,
        Kind::Tcp,
    ];
    assert_eq!(kinds, all);
}

#[test]
fn third_parties_by_name_and_systems_of_others_check_too() {
    let hosts = [
        "--host",
        "api.segment.io",
        "--host",
        "*.pusher.com",
        "--host",
        "cache.example",
    ];
    let hosts = tried(&[("server.js", "")], &hosts);
    let (setup, _) = hosts.setup().expect("a setup");
    assert_eq!(problems_of(&setup), "", "{}", setup.system());
    let names: Vec<&str> = setup
        .dependencies
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(names, ["segment", "pusher", "cache-2"]);
    for wrong in [
        &["--host", "localhost:80"][..],
        &["--host", "a.b.io", "--host", "*.b.io"],
    ] {
        assert!(look_again(&tried(&[("server.js", "")], wrong).args, None, &[]).is_err());
    }

    let files = [(".env", ENV)];
    for failing in ["db", "mysql", "s3", "redis", "payments", "pusher", "amqp"] {
        let url = "http://10.0.0.7:8000/";
        let external = tried(&files, &["--external", url, "--failing", failing]);
        let (setup, _) = external.setup().expect("a setup");
        let system = setup.system();
        assert_eq!(
            problems_of(&setup),
            "",
            "{failing}\n{system}\n{}",
            setup.scenario()
        );
        assert!(
            !system.contains("hunter2") && system.contains("10.0.0.7:8000\"\n"),
            "{system}"
        );
    }
    let external = tried(&files, &["--external", "http://127.0.0.1:8000"]);
    let (setup, _) = external.setup().expect("a setup");
    let set = setup.to_be_set();
    let database = "postgres://app:${DATABASE_PASSWORD}@127.0.0.1:15432/shop".to_owned();
    assert!(set.contains(&("DATABASE_URL", database)), "{set:?}");
    for (name, value) in &set {
        assert!(!value.contains("{dependency"), "{name}={value}");
    }
    for wrong in ["10.0.0.7:8000", "https://10.0.0.7"] {
        assert!(
            tried(&files, &["--external", wrong]).setup().is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn no_secret_is_in_the_files_or_in_what_is_said() {
    let tried = tried(&[(".env", ENV), ("server.js", "")], &[]);
    let (setup, assumed) = tried.setup().expect("a setup");
    let everything = format!("{}{}{assumed:?}{setup:?}", setup.system(), setup.scenario());
    assert!(!everything.contains("hunter2"), "{everything}");
    assert!(
        setup
            .system()
            .contains("postgres://app:{env.DATABASE_PASSWORD}@{dependency.db.address}/shop")
    );
    let passwords = setup.dependencies.iter().flat_map(|one| &one.passwords);
    let passwords: Vec<&str> = passwords.map(|one| one.variable.as_str()).collect();
    assert_eq!(
        passwords,
        [
            "DATABASE_PASSWORD",
            "REDIS_PASSWORD",
            "AMQP_PASSWORD",
            "MYSQL_PASSWORD"
        ]
    );
}

#[test]
fn the_files_read_well() {
    let tried = tried(
        &[
            (".env", "DATABASE_URL=postgres://app:x@localhost/shop\n"),
            ("package.json", r#"{"scripts":{"start":"node server.js"}}"#),
        ],
        &["--path", "/orders"],
    );
    let (setup, assumed) = tried.setup().expect("a setup");
    insta::assert_snapshot!("system", setup.system());
    insta::assert_snapshot!("scenario", setup.scenario());
    insta::assert_snapshot!("assumed", assumed.join("\n"));
}

#[test]
fn what_stays_real_stands_in_the_file() {
    let env = "DATABASE_URL=postgres://localhost/a\nSENTRY_DSN=https://hunter2@sentry.example/5\n";
    let (setup, _) = tried(&[(".env", env), ("server.js", "")], &[])
        .setup()
        .expect("a setup");
    let system = setup.system();
    let line = "# - SENTRY_DSN (.env:2) to sentry.example: by its name it is no dependency.\n";
    assert!(system.contains(line), "{system}");
    assert!(system.contains("[dependency.NAME]"), "{system}");
    assert!(!system.contains("hunter2"), "{system}");
    assert_eq!(problems_of(&setup), "");
    let (setup, _) = tried(
        &[(".env", "A_URL=redis://localhost"), ("server.js", "")],
        &[],
    )
    .setup()
    .expect("a setup");
    assert!(!setup.system().contains("Left as they are"));
}

/// What the file advises, done.
#[test]
fn what_stays_real_can_be_made_a_dependency_as_the_file_says() {
    let env = "DATABASE_URL=postgres://localhost/a\nAPI_URL=https://u:hunter2@pay.example/v1\n";
    let (setup, _) = tried(&[(".env", env), ("server.js", "")], &[])
        .setup()
        .expect("a setup");
    let mut section = String::new();
    let mut variable = String::new();
    for line in setup.system().lines() {
        match line.strip_prefix("#   ") {
            Some(line) if line.starts_with("VARIABLE") => variable = format!("{line}\n"),
            Some(line) => section += &format!("{line}\n"),
            None => {}
        }
    }
    let named = |text: &str| text.replace("NAME", "pay").replace("VARIABLE", "API_URL");
    let system = setup.system();
    let (before, after) = system.split_once("[system.env]\n").expect("its variables");
    let system = format!(
        "{before}[system.env]\n{}{after}\n{}",
        named(&variable),
        named(&section)
    );
    let mut problems = Problems::default();
    from_texts(
        Source::new(SCENARIO, setup.scenario()),
        Source::new(SYSTEM, system.as_str()),
        PathBuf::from("."),
        &mut problems,
    );
    let problems = crate::input::render(&problems.into_sorted(), false);
    assert_eq!(problems, "", "{system}");
    assert!(system.contains("[dependency.pay]") && system.contains("@{dependency.pay.address}"));
}

#[test]
fn a_host_is_written_as_it_is() {
    let env = "PAY_API_URL=https://api.pay.example/v1\nREDIS_URL=redis://cache\n";
    let (setup, _) = tried(&[(".env", env), ("server.js", "")], &[])
        .setup()
        .expect("a setup");
    let system = setup.system();
    for said in [
        "# `api.pay.example` is not this machine",
        "# `cache` is not this machine",
    ] {
        assert!(system.contains(said), "{said} in {system}");
    }
}

#[test]
fn a_port_is_either_free_or_always_the_same() {
    let files = &[(".env", "REDIS_URL=redis://localhost"), ("server.js", "")][..];
    for (port, free, same) in [("8080", 0, 1), ("PORT", 1, 0)] {
        let (setup, _) = tried(files, &["--port", port]).setup().expect("a setup");
        let system = setup.system();
        let count = |text: &str| system.matches(text).count();
        assert_eq!(count("{port.app} is a free port"), free, "{system}");
        assert_eq!(count("Always the same port"), same, "{system}");
    }
}

#[test]
fn all_that_is_missing_is_named_at_once() {
    let failure = tried(&[], &[]).setup().expect_err("nothing is known");
    assert!(
        failure
            .message
            .ends_with("says how the system is started or what it depends on")
    );
    let hint = failure.hint.unwrap();
    assert!(
        hint.contains("--command") && hint.contains("--depends"),
        "{hint}"
    );
}

#[test]
fn what_is_typed_wins() {
    let tried = tried(
        &[
            (".env", "REDIS_URL=redis://localhost\nPORT=1\n"),
            ("server.js", ""),
        ],
        &[
            "--command",
            "./api --listen 127.0.0.1:9000",
            "--depends",
            "DATABASE_URL=postgres://localhost/a",
            "--path",
            "/a{b}?c=1",
            "--ready",
            "/ok",
            "--rate",
            "2/s",
            "--failing",
            "redis",
        ],
    );
    let (setup, assumed) = tried.setup().expect("a setup");
    assert_eq!(setup.port, Port::InCommand);
    assert_eq!(setup.dependencies[setup.failing].name, "redis");
    assert_eq!(assumed.len(), 1, "{assumed:?}");
    assert_eq!(problems_of(&setup), "", "{}", setup.scenario());
    assert!(
        setup.system().contains("\"/a{{b}}?c=1\""),
        "{}",
        setup.system()
    );
}

#[test]
fn wrong_options_are_refused_with_a_reason() {
    let files = &[(".env", "REDIS_URL=redis://localhost"), ("server.js", "")][..];
    for arguments in [
        ["--path", "orders"],
        ["--path", "/a b"],
        ["--ready", "x"],
        ["--rate", "0/s"],
        ["--rate", "2000/s"],
        ["--port", "0"],
        ["--failing", "radis"],
        ["--depends", "X"],
        ["--depends", "X=hunter2"],
        ["--service", "web"],
        ["--command", ""],
        ["--command", "'' x"],
    ] {
        let failure = tried(files, &arguments).setup().expect_err(arguments[1]);
        assert_eq!(failure.exit, Exit::Usage, "{arguments:?}");
        assert!(!failure.message.contains("hunter2"), "{}", failure.message);
    }
}

#[test]
fn an_empty_line_to_every_question_takes_what_is_assumed_else() {
    let files = &[
        (
            ".env",
            "DATABASE_URL=postgres://localhost/a\nREDIS_URL=redis://localhost\n",
        ),
        ("server.js", ""),
    ];
    let tried = tried(files, &[]);
    let (asked, said) = tried.interviewed("\n\n\n\n\n\n\n");
    let (assumed, _) = tried.setup().expect("a setup");
    let asked = asked.expect("a setup");
    assert_eq!(asked.system(), assumed.system());
    assert_eq!(asked.scenario(), assumed.scenario());
    assert_eq!(said.matches("]: ").count(), 6, "{said}");
}

#[test]
fn answers_are_taken() {
    let tried = tried(&[], &[]);
    let answers = "./api\nX_URL=redis://:hunter2@localhost\n8080\n/ok\n/x\n5\ny\n";
    let (setup, said) = tried.interviewed(answers);
    let setup = setup.expect("a setup");
    assert_eq!(setup.port, Port::Fixed(8080));
    assert_eq!(setup.ready.as_deref(), Some("/ok"));
    assert_eq!(problems_of(&setup), "");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn no_is_an_answer() {
    let files = &[(".env", "REDIS_URL=redis://localhost\n"), ("server.js", "")];
    let tried = tried(files, &[]);
    assert!(tried.interviewed("\n\n\n\n\nn\n").0.is_err());
    assert!(tried.interviewed("\n").0.is_err());
    assert!(!tried.folder.path().join(SYSTEM).exists());
}

#[test]
fn a_bad_line_is_named_and_the_rest_is_used() {
    let tried = tried(
        &[
            (".env", "REDIS_URL=redis://localhost\nhunter2\n"),
            (
                "compose.yaml",
                "services:\n  db:\n    image: postgres\n    ports: [\"5433:5432\"]\n  x: [hunter2\n",
            ),
            ("server.js", ""),
        ],
        &[],
    );
    let found = look_again(&tried.args, None, &[]).expect("a folder");
    assert_eq!(found.troubles.len(), 2, "{:?}", found.troubles);
    assert!(
        found.troubles[0].starts_with("`.env`, line 2: "),
        "{:?}",
        found.troubles
    );
    assert!(
        found.troubles[1].starts_with("`compose.yaml`, line "),
        "{:?}",
        found.troubles
    );
    assert!(!format!("{:?}", found.troubles).contains("hunter2"));
    let names: Vec<&str> = found
        .dependencies
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(names, ["redis", "db"]);
}

#[test]
fn a_compose_file_says_where_its_services_are_reached() {
    let compose = "\
services:
  web:
    build: .
    command: uvicorn app:app --host 0.0.0.0 --port 8000
    environment: {DATABASE_URL: 'postgres://u:hunter2@db/app', CACHE: 'redis://cache:6379'}
    healthcheck: {test: curl -f http://localhost:8000/health}
  db: {image: 'postgres:16', ports: ['5433:5432']}
  cache: {image: redis}
";
    let tried = tried(&[("docker-compose.yml", compose)], &[]);
    let (setup, _) = tried.setup().expect("a setup");
    let upstreams: Vec<&str> = setup
        .dependencies
        .iter()
        .map(|one| one.upstream.as_str())
        .collect();
    assert_eq!(upstreams, ["127.0.0.1:5433", "127.0.0.1:6379"]);
    assert_eq!(setup.ready.as_deref(), Some("/health"));
    assert_eq!(setup.port, Port::InCommand);
    assert_eq!(problems_of(&setup), "");
    assert!(!setup.system().contains("hunter2"));
}

/// Lines as they stand in many an `.env`, and others.
fn line() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("DATABASE_URL".to_owned()),
        Just("REDIS_HOST".to_owned()),
        Just("DB_HOST".to_owned()),
        Just("PUSHER_KEY".to_owned()),
        Just("S3_BUCKET".to_owned()),
        Just("AWS_ENDPOINT_URL".to_owned()),
        "[A-Z][A-Z0-9_.-]{0,12}(_URL|_HOST|_API|)",
    ];
    let scheme = prop_oneof![
        Just("postgres"),
        Just("postgresql+asyncpg"),
        Just("jdbc:mysql"),
        Just("rediss"),
        Just("http"),
        Just("https"),
        Just("amqp"),
        Just("mongodb+srv"),
        Just("nats"),
    ];
    let url = (
        scheme,
        "([a-z{}$%é:@]{0,8}@)?",
        "[a-z0-9.-]{1,12}",
        "(:[0-9]{1,6})?",
        "(/[\\PC]{0,8})?",
    )
        .prop_map(|(scheme, user, host, port, path)| {
            format!("{scheme}://{user}{host}{port}{path}")
        });
    let value = prop_oneof![url, "[a-z0-9.-]{3,20}", "\\PC{0,20}"];
    (name, value).prop_map(|(name, value)| format!("{name}={value}\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_the_folder_says_the_files_check(
        lines in proptest::collection::vec(line(), 0..8),
        command in "(\\PC|\"|'|\\{|\\}|\\$PORT| --port 80){1,30}",
        path in "/[!-~é]{0,20}",
        ready in "(/[!-~]{0,10})?",
        rate in 1u16..1000,
        port in prop_oneof![Just(None), (1u16..).prop_map(|port| Some(port.to_string())), "[A-Z_]{1,9}".prop_map(Some)],
    ) {
        let rate = format!("{rate}/s");
        let mut arguments = vec!["--path", &path, "--rate", &rate, "--ready", &ready];
        let command = format!("--command={command}");
        arguments.push(&command);
        if let Some(port) = &port {
            arguments.extend(["--port", port]);
        }
        let env = lines.concat() + "LAST_URL=redis://127.0.0.1:7777\n";
        let tried = tried(&[(".env", &env)], &arguments);
        // An empty command is refused, and everything else is written.
        if let Ok((setup, _)) = tried.setup() {
            for failing in 0..setup.dependencies.len() {
                let setup = Setup { failing, ..setup.clone() };
                let mut problems = Problems::default();
                from_texts(
                    Source::new(SCENARIO, setup.scenario()),
                    Source::new(SYSTEM, setup.system()),
                    PathBuf::from("."),
                    &mut problems,
                );
                prop_assert!(
                    !problems.any_error(),
                    "{}\n{}",
                    crate::input::render(&problems.into_sorted(), false),
                    setup.system()
                );
            }
        } else {
            let line = command.trim_start_matches("--command=");
            let program = start::words(line).into_iter().next().unwrap_or_default();
            prop_assert!(line.trim().is_empty() || program.is_empty(), "{command}");
        }
    }
}
