//! What people read when a file is wrong: each mistake with its exact diagnostic.
//!
//! A case is a good pair of files with a few texts replaced. The snapshots under
//! `tests/snapshots` are the diagnostics as `brownout check` prints them.

use brownout::{
    input::{Problems, Source, render},
    scenario::system_from_text,
};
use std::path::PathBuf;

const SYSTEM: &str = r#"[system]
command = ["./bot-api", "--port", "{port.api}"]
env     = { AWS_ENDPOINT_URL_S3 = "{dependency.s3.url}" }
url     = "http://127.0.0.1:{port.api}"
ready   = { path = "/healthz", within = "20s" }
stop    = { signal = "TERM", within = "10s" }

[dependency.s3]
protocol = "s3"
role     = "object-store"
upstream = "embedded"
buckets  = ["models"]

[dependency.queue]
protocol = "tcp"
role     = "queue"
upstream = "127.0.0.1:5672"

[load.ask]
rate     = "40/s"
request  = { method = "POST", path = "/bots/{bot}/ask", json = { id = "{uuid}" } }
vars     = { bot = { zipf = 1.1, of = 200 } }
timeout  = "5s"
ok       = { status = "200" }
degraded = { header = { x-answered-from = "cache" } }
"#;

/// The files with texts replaced; each text must stand there exactly once.
fn edited(text: &str, edits: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (old, new) in edits {
        assert_eq!(text.matches(old).count(), 1, "`{old}` must be there once");
        text = text.replace(old, new);
    }
    text
}

/// A wrong system file.
fn system(name: &str, edits: &[(&str, &str)]) {
    let mut problems = Problems::default();
    let source = Source::new("brownout.toml", edited(SYSTEM, edits));
    let read = system_from_text(source, PathBuf::from("."), &mut problems);
    assert!(read.is_none(), "{name} is not bad");
    insta::assert_snapshot!(name, render(&problems.into_sorted(), false));
}

#[test]
fn the_system_file_that_the_cases_break_is_good() {
    let mut problems = Problems::default();
    let source = Source::new("brownout.toml", SYSTEM);
    let read = system_from_text(source, PathBuf::from("."), &mut problems);
    assert_eq!(render(problems.as_slice(), false), "");
    assert_eq!(
        read.map(|system| system.ports),
        Some(vec!["api".to_owned()])
    );
}

#[test]
fn bad_system_files() {
    system("syntax", &[("[dependency.s3]", "[dependency.s3")]);
    system("unknown_key", &[("ready   = {", "redy    = {")]);
    system(
        "unknown_table",
        &[("[dependency.queue]", "[dependancy.queue]")],
    );
    system(
        "later_keys",
        &[(
            "role     = \"queue\"",
            "role     = \"queue\"\nhosts    = [\"*.example.com\"]\n[ledger.trained]",
        )],
    );
    system("no_system_table", &[("[system]", "[sistem]")]);
    system(
        "units",
        &[
            ("\"20s\"", "\"20\""),
            ("\"10s\"", "10"),
            ("\"40/s\"", "\"40/d\""),
            ("timeout  = \"5s\"", "timeout  = \"0s\""),
        ],
    );
    system(
        "wrong_types",
        &[
            (
                "command = [\"./bot-api\", \"--port\", \"{port.api}\"]",
                "command = \"./bot-api --port 1\"",
            ),
            (
                "ready   = { path = \"/healthz\", within = \"20s\" }",
                "ready   = \"/healthz\"",
            ),
            ("buckets  = [\"models\"]", "buckets  = [\"models\", 3]"),
            (
                "env     = { AWS_ENDPOINT_URL_S3 = \"{dependency.s3.url}\" }",
                "env     = { WORKERS = 4 }",
            ),
        ],
    );
    system(
        "names_that_refer_to_nothing",
        &[
            ("{dependency.s3.url}", "{dependency.s4.url}"),
            ("{bot}", "{bott}"),
            ("\"--port\"", "\"--port={prot.api}\""),
        ],
    );
    system("single_brace", &[("\"--port\"", "'{\"workers\": 4}'")]);
    system("no_start", &[("command = [", "# [")]);
    system(
        "two_starts",
        &[("[system]", "[system]\nexternal = \"http://10.0.0.5:8080\"")],
    );
    system(
        "external_with_start_keys",
        &[(
            "command = [\"./bot-api\", \"--port\", \"{port.api}\"]",
            "external = \"10.0.0.5:8080\"",
        )],
    );
    system("no_url", &[("url     =", "# url =")]);
    system(
        "empty_command",
        &[("[\"./bot-api\", \"--port\", \"{port.api}\"]", "[]")],
    );
    system("signal", &[("\"TERM\"", "\"TREM\"")]);
    system(
        "protocol",
        &[("\"tcp\"", "\"tpc\""), ("protocol = \"s3\"", "# protocol")],
    );
    system(
        "upstreams",
        &[
            ("\"127.0.0.1:5672\"", "\"127.0.0.1\""),
            (
                "upstream = \"embedded\"",
                "upstream = \"https://s3.example.com/models\"",
            ),
        ],
    );
    system(
        "embedded_of_another_protocol",
        &[("\"127.0.0.1:5672\"", "\"embedded\"")],
    );
    system(
        "upstream_instance",
        &[("\"127.0.0.1:5672\"", "\"instance:mian\"")],
    );
    system("buckets", &[("[\"models\"]", "[\"Models\", \"m\"]")]);
    system(
        "tls",
        &[(
            "role     = \"queue\"",
            "tls      = \"yes\"\nlisten   = \"localhost:5672\"",
        )],
    );
    system(
        "role_is_a_name",
        &[("role     = \"queue\"", "role     = \"s3\"")],
    );
    system(
        "captures",
        &[(
            "buckets  = [\"models\"]",
            "capture  = { version = \"head:x-version\", \"a b\" = \"key\" }",
        )],
    );
    system(
        "instances",
        &[(
            "command = [\"./bot-api\", \"--port\", \"{port.api}\"]",
            "instance = [{ name = \"a\", command = [\"x\"] }, { name = \"a\", comand = [\"x\"], autostart = \"no\" }]",
        )],
    );
    system(
        "request",
        &[
            ("\"POST\"", "\"post\""),
            ("\"/bots/{bot}/ask\"", "\"bots/{bot}/ask me\""),
            (
                "json = { id = \"{uuid}\" }",
                "json = { id = \"{uid}\", x = nan }, body = \"x\"",
            ),
        ],
    );
    system(
        "variables",
        &[(
            "{ zipf = 1.1, of = 200 }",
            "{ zipf = 1.1 }, a = { uniform = 3, of = 3 }, b = { one_of = [] }, uuid = { sequence = 0 }, c = { }",
        )],
    );
    system(
        "rules",
        &[
            (
                "{ status = \"200\" }",
                "{ status = \"2x\", json = { version = \"> three\", \"/a\" = [1] } }",
            ),
            ("{ header = { x-answered-from = \"cache\" } }", "{}"),
        ],
    );
    system(
        "follow",
        &[(
            "timeout  = \"5s\"",
            "then = { request = { path = \"/bots/{bot}?v={version}\" }, until = { json = { \"/v\" = \">= {versoin}\" } } }\ncapture = { version = \"json:version\", bot = \"var:nobody\" }",
        )],
    );
    system(
        "ingress",
        &[(
            "[load.ask]",
            "[ingress]\nname = \"ask\"\ntimeout = \"0s\"\n[load.ask]",
        )],
    );
}
