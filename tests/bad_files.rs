//! What people read when a file is wrong: each mistake with its exact diagnostic.
//!
//! A case is a good pair of files with a few texts replaced. The snapshots under
//! `tests/snapshots` are the diagnostics as `brownout check` prints them.

use brownout::{
    input::{Problems, Source, render},
    scenario::{from_texts, load_scenario, system_from_text},
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

const SCENARIO: &str = r#"title    = "S3 hangs, then answers 500"
incident = { who = "Ada", on = 2017-02-28, source = "https://example.com/postmortem" }
system   = "brownout.toml"
hold     = "5s"

[[phase]]
name   = "steady"
lasts  = "10s"
steady = true

[[phase]]
name  = "S3 hangs"
lasts = "20s"
  [[phase.fault]]
  kind  = "hang"
  on    = "object-store"
  when  = { operation = "PutObject" }
  share = "30%"

[[phase]]
name  = "instant 500"
lasts = "15s"
  [[phase.fault]]
  kind    = "error"
  on      = "object-store"
  error   = "InternalError"
  applied = "maybe"

[[phase]]
name  = "recovery"
lasts = "until steady, at most 60s"

[[expect]]
id       = "ADA-3"
that     = "answers never wait for S3"
kind     = "success-rate"
load     = "ask"
during   = ["S3 hangs", "instant 500"]
at_least = "99%"
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

/// A wrong scenario with the good system file.
fn scenario(name: &str, edits: &[(&str, &str)]) {
    both(name, &[], edits);
}

/// A pair of files that is wrong as a pair.
fn both(name: &str, system: &[(&str, &str)], scenario: &[(&str, &str)]) {
    let (good, shown) = read(&edited(SYSTEM, system), &edited(SCENARIO, scenario));
    assert!(!good, "{name} is not bad");
    insta::assert_snapshot!(name, shown);
}

fn read(system: &str, scenario: &str) -> (bool, String) {
    let mut problems = Problems::default();
    let read = from_texts(
        Source::new("scenarios/outage.toml", scenario),
        Source::new("brownout.toml", system),
        PathBuf::from("."),
        &mut problems,
    );
    assert_eq!(read.is_none(), problems.any_error());
    (read.is_some(), render(&problems.into_sorted(), false))
}

#[test]
fn the_scenario_that_the_cases_break_is_good() {
    assert_eq!(read(SYSTEM, SCENARIO), (true, String::new()));
}

#[test]
fn bad_scenarios() {
    scenario(
        "scenario_syntax",
        &[("[[phase.fault]]\n  kind  =", "[[phase.fault]\n  kind  =")],
    );
    scenario(
        "scenario_unknown_keys",
        &[
            ("hold     = ", "hodl     = "),
            ("lasts = \"15s\"", "last  = \"15s\""),
            ("during   =", "durring  ="),
            ("applied =", "aplied  ="),
        ],
    );
    scenario(
        "scenario_without_title",
        &[(
            "title    = \"S3 hangs, then answers 500\"",
            "title    = \"\"",
        )],
    );
    scenario(
        "incident",
        &[(
            "{ who = \"Ada\", on = 2017-02-28, source = \"https://example.com/postmortem\" }",
            "{ on = \"28 Feb\", source = \"javascript:1\" }",
        )],
    );
    scenario("no_steady_phase", &[("steady = true", "")]);
    scenario(
        "aftermath",
        &[
            ("lasts = \"20s\"", "lasts = \"20s\"\naftermath = true"),
            (
                "lasts = \"until steady, at most 60s\"",
                "lasts = \"until steady, at most 60s\"\naftermath = true",
            ),
        ],
    );
    scenario(
        "aftermath_too_early",
        &[(
            "[[phase]]\nname  = \"recovery\"",
            "[[phase]]\nname = \"cold\"\nlasts = \"5s\"\naftermath = true\n\n[[phase]]\nname = \"again\"\nlasts = \"5s\"\n[[phase.fault]]\nkind = \"hang\"\non = \"object-store\"\n\n[[phase]]\nname  = \"recovery\"",
        )],
    );
    scenario(
        "second_steady_phase",
        &[("lasts = \"15s\"", "lasts = \"15s\"\nsteady = true")],
    );
    scenario(
        "fault_in_first_phase",
        &[(
            "steady = true\n",
            "steady = true\n[[phase.fault]]\nkind = \"hang\"\non = \"queue\"\n",
        )],
    );
    scenario(
        "fault_in_last_phase",
        &[(
            "lasts = \"until steady, at most 60s\"\n",
            "lasts = \"60s\"\n[[phase.fault]]\nkind = \"hang\"\non = \"queue\"\n",
        )],
    );
    scenario(
        "loads_of_phases",
        &[
            (
                "lasts = \"20s\"\n",
                "lasts = \"20s\"\nload  = { aks = \"2x\", ask = \"2000x\" }\n",
            ),
            (
                "lasts = \"15s\"\n",
                "lasts = \"15s\"\nload  = { ask = \"-1x\", more = 3 }\n",
            ),
            (
                "lasts = \"until steady, at most 60s\"\n",
                "lasts = \"until steady, at most 60s\"\nload  = { ask = \"2x\" }\n",
            ),
        ],
    );
    scenario(
        "lengths",
        &[
            ("\"10s\"", "\"0s\""),
            ("\"20s\"", "\"until steady, at most 20s\""),
            ("\"15s\"", "\"until bored\""),
            ("at most 60s", "at most 3s"),
        ],
    );
    scenario(
        "duplicates",
        &[
            ("\"instant 500\"\nlasts", "\"S3 hangs\"\nlasts"),
            (
                "[[expect]]",
                "[[expect]]\nid = \"ADA-3\"\nthat = \"x\"\nkind = \"recovery\"\nwithin = \"9s\"\n[[expect]]",
            ),
        ],
    );
    scenario(
        "unknown_kinds",
        &[
            ("\"hang\"", "\"hagn\""),
            ("\"success-rate\"", "\"sucess-rate\""),
            ("kind    = \"error\"", "kind    = \"explode\""),
        ],
    );
    scenario(
        "no_kind",
        &[
            ("kind  = \"hang\"", ""),
            ("kind     = \"success-rate\"", "kind     = 3"),
        ],
    );
    scenario(
        "unknown_names",
        &[
            ("\"object-store\"\n  when", "\"objectstore\"\n  when"),
            ("\"object-store\"\n  error", "\"pager\"\n  error"),
            ("load     = \"ask\"", "load     = \"aks\""),
            (
                "during   = [\"S3 hangs\", \"instant 500\"]",
                "during   = \"S3 hang\"",
            ),
        ],
    );
    scenario(
        "fault_units",
        &[(
            "share = \"30%\"",
            "share = \"130%\"\n  first = 0\n  by    = \"client\"",
        )],
    );
    scenario(
        "operation_of_no_protocol",
        &[("\"PutObject\"", "\"PutObjekt\"")],
    );
    scenario(
        "fault_that_the_protocol_cannot_carry",
        &[("\"object-store\"\n  error", "\"queue\"\n  error")],
    );
    scenario(
        "when_without_messages",
        &[("\"object-store\"\n  when", "\"queue\"\n  when")],
    );
    scenario(
        "gate_that_the_kind_cannot_take",
        &[("kind  = \"hang\"", "kind  = \"refuse\"")],
    );
    scenario(
        "unknown_error_code",
        &[
            ("\"InternalError\"", "\"InternalEror\""),
            ("\"maybe\"", "\"perhaps\""),
        ],
    );
    scenario(
        "process_fault_on_a_dependency",
        &[(
            "kind    = \"error\"\n  on      = \"object-store\"\n  error   = \"InternalError\"\n  applied = \"maybe\"",
            "kind    = \"kill\"\n  on      = \"object-store\"",
        )],
    );
    scenario(
        "wire_fault_on_an_instance",
        &[("\"object-store\"\n  when", "\"instance:main\"\n  when")],
    );
    scenario(
        "unknown_instance",
        &[
            (
                "kind    = \"error\"\n  on      = \"object-store\"\n  error   = \"InternalError\"\n  applied = \"maybe\"",
                "kind    = \"kill\"\n  on      = \"instance:primary\"",
            ),
            ("\"object-store\"\n  when", "\"main\"\n  when"),
        ],
    );
    scenario(
        "expectation_keys",
        &[
            ("at_least = \"99%\"", "at_least = \"99\"\nat_most = 3"),
            ("load     = \"ask\"\n", ""),
            ("id       = \"ADA-3\"", "id       = \"ADA 3\""),
        ],
    );
    scenario(
        "unknown_captures",
        &[(
            "[[expect]]",
            "[[expect]]\nid = \"C\"\nthat = \"x\"\nkind = \"converged\"\nload = \"ask\"\non = \"s3\"\nkey = \"bot\"\nversion = \"v\"\nstored_version = \"v\"\n[[expect]]",
        )],
    );
    scenario(
        "probe_of_nothing",
        &[(
            "[[expect]]",
            "[[expect]]\nid = \"P\"\nthat = \"x\"\nkind = \"probe\"\nhttp = \"{instance.mian.url}/healthz\"\n[[expect]]",
        )],
    );
    scenario("phase_is_no_table", &[("[[expect]]", "[expect]")]);
    both(
        "process_fault_on_an_external_system",
        &[(
            "[system]\ncommand = [\"./bot-api\", \"--port\", \"{port.api}\"]\nenv     = { AWS_ENDPOINT_URL_S3 = \"{dependency.s3.url}\" }\nurl     = \"http://127.0.0.1:{port.api}\"\nready   = { path = \"/healthz\", within = \"20s\" }\nstop    = { signal = \"TERM\", within = \"10s\" }",
            "[system]\nexternal = \"http://10.0.0.5:8080\"",
        )],
        &[(
            "kind    = \"error\"\n  on      = \"object-store\"\n  error   = \"InternalError\"\n  applied = \"maybe\"",
            "kind    = \"kill\"\n  on      = \"instance:main\"",
        )],
    );
    both(
        "mistakes_in_both_files",
        &[("\"40/s\"", "\"40\""), ("\"tcp\"", "\"tpc\"")],
        &[
            ("\"30%\"", "\"30\""),
            ("load     = \"ask\"", "load     = \"task\""),
        ],
    );
    both(
        "scenario_beside_a_broken_system",
        &[("[system]", "[system")],
        &[
            ("\"30%\"", "\"30\""),
            ("at_least =", "atleast  ="),
            ("load     = \"ask\"", "load     = \"task\""),
        ],
    );
}

#[test]
fn bad_policies() {
    both(
        "policies",
        &[
            (
                "buckets  = [\"models\"]\n",
                r#"buckets  = ["models"]

[dependency.s3.policy]
timeot                = "2s"
between_bytes_timeout = 5
attempts              = 0
attempts_as_declared  = "yes"
back_off              = "exponentional"
jitter                = "fulll"
closes_after          = 1.5
reconnects_within     = "30"
falls_back_on         = "queu"
amplification_at_most = 3
"#,
            ),
            (
                "upstream = \"127.0.0.1:5672\"",
                "upstream = \"127.0.0.1:5672\"\npolicy   = { falls_back_on = \"queue\" }",
            ),
        ],
        &[(
            r#"kind     = "success-rate"
load     = "ask"
during   = ["S3 hangs", "instant 500"]
at_least = "99%""#,
            r#"kind     = "policy"
on       = "object-store"
during   = ["S3 hangs", "instant 500"]
falls_back_on         = "quue"
reconnects_in_lockstep = false
changes_half_way      = 0"#,
        )],
    );
}

#[test]
fn bad_capacities() {
    let error = "kind    = \"error\"\n  on      = \"object-store\"\n  error   = \"InternalError\"\n  applied = \"maybe\"\n";
    let overload =
        |keys: &str| format!("kind    = \"overload\"\n  on      = \"object-store\"\n{keys}");
    scenario(
        "overload_without_capacity",
        &[(
            error,
            &overload("  servers = 0\n  service = \"0s\"\n  scale   = 0\n"),
        )],
    );
    scenario(
        "overload_that_contradicts_itself",
        &[(
            error,
            &overload(
                "  servers = 4\n  service = { delay = \"1s\", exponential = \"1s\" }\n  queue = 0\n  order = \"lifo\"\n  refusal = \"SlowDwn\"\n",
            ),
        )],
    );
    let one = overload("  servers = 4\n  service = \"10ms\"\n");
    scenario(
        "overload_twice",
        &[(error, &format!("{one}  [[phase.fault]]\n  {one}"))],
    );
    scenario(
        "overload_of_a_stream",
        &[(error, &one.replace("object-store", "queue"))],
    );
}

#[test]
fn bad_quotas_and_groups() {
    let error = "kind    = \"error\"\n  on      = \"object-store\"\n  error   = \"InternalError\"\n  applied = \"maybe\"\n";
    let quota = "kind = \"quota\"\n  on = \"object-store\"\n  counts = \"requests\"\n  limit = 9\n";
    scenario(
        "quota_without_refusal",
        &[(error, &format!("{quota}  window = \"1m\"\n"))],
    );
    scenario(
        "quota_that_contradicts_itself",
        &[(
            error,
            &format!("{quota}  rate = \"9/s\"\n  warnings = \"sent\"\n  refusal = \"SlowDwn\"\n"),
        )],
    );
    let part = |keys: &str| {
        format!(
            "{}{keys}  one_of = \"mix\"\n",
            error.replace("  applied = \"maybe\"\n", "")
        )
    };
    scenario(
        "groups",
        &[(
            error,
            &format!(
                "{}  [[phase.fault]]\n  {}  [[phase.fault]]\n  kind = \"hang\"\n  on = \"queue\"\n  share = \"0.1%\"\n  one_of = \"mix\"\n  [[phase.fault]]\n  kind = \"hang\"\n  on = \"queue\"\n  share = \"1%\"\n  one_of = \"alone\"\n",
                part("  share = \"70%\"\n"),
                part("  share = \"30%\"\n  by = \"key\"\n"),
            ),
        )],
    );
}

#[test]
fn nothing_goes_wrong_or_nothing_is_required() {
    let expect = &SCENARIO[SCENARIO.find("[[expect]]").unwrap()..];
    scenario("no_expectation", &[(expect, "")]);
    scenario(
        "empty_expectation",
        &[(expect, ""), ("hold     =", "expect   = []\nhold     =")],
    );
    let faults = "\n[[phase]]\nname  = \"S3 hangs\"";
    let recovery = "\n[[phase]]\nname  = \"recovery\"";
    let between = &SCENARIO[SCENARIO.find(faults).unwrap()..SCENARIO.find(recovery).unwrap()];
    scenario(
        "no_fault",
        &[
            (between, ""),
            ("during   = [\"S3 hangs\", \"instant 500\"]", ""),
        ],
    );
}

#[test]
fn a_threshold_that_cannot_be_shown_is_a_warning() {
    let thin = edited(SYSTEM, &[("\"40/s\"", "\"1/min\"")]);
    let (good, shown) = read(&thin, SCENARIO);
    assert!(good, "a warning stops nothing");
    insta::assert_snapshot!("load_too_thin", shown);
}

#[test]
fn a_sequence_that_its_phase_cuts_off_is_a_warning() {
    let database = (
        "protocol = \"tcp\"\nrole     = \"queue\"",
        "protocol = \"postgres\"\nrole     = \"queue\"",
    );
    let restart = (
        "  kind    = \"error\"\n  on      = \"object-store\"\n  error   = \"InternalError\"\n  applied = \"maybe\"",
        "  kind = \"restart\"\n  on   = \"queue\"\n  down = \"15s\"",
    );
    let (good, shown) = read(&edited(SYSTEM, &[database]), &edited(SCENARIO, &[restart]));
    assert!(good, "a warning stops nothing");
    insta::assert_snapshot!("restart_cut_off", shown);
    let shorter = (
        restart.0,
        "  kind = \"restart\"\n  on   = \"queue\"\n  down = \"13s\"",
    );
    let (good, shown) = read(&edited(SYSTEM, &[database]), &edited(SCENARIO, &[shorter]));
    assert!(good && shown.is_empty(), "{shown}");
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let check = |name: &str, path: &std::path::Path, system: Option<&std::path::Path>| {
        let mut problems = Problems::default();
        assert!(
            load_scenario(path, system, &mut problems).is_none(),
            "{name}"
        );
        let shown = render(&problems.into_sorted(), false);
        let root = folder.path().display().to_string();
        let shown = shown
            .replace(&format!("{root}/"), "")
            .replace(&root, "FOLDER");
        insta::assert_snapshot!(name, shown);
    };
    let good = write("good.toml", SCENARIO.as_bytes());
    check("file_missing", &folder.path().join("nowhere.toml"), None);
    check("file_is_a_folder", folder.path(), None);
    check("file_of_a_system_missing", &good, None);
    let binary = write("binary.toml", b"title = \"\xff\"");
    check("file_is_no_text", &binary, None);
    let large = write("large.toml", "# \n".repeat(400_000).as_bytes());
    check("file_too_large", &large, None);
    let alone = write("alone.toml", b"title = \"x\"\nphase = []\nexpect = []");
    check("no_system_named", &alone, None);
    let system = write("brownout.toml", b"[system]\nexternal = 3");
    check(
        "scenario_missing_beside_a_bad_system",
        &folder.path().join("x.toml"),
        Some(&system),
    );
}

#[test]
fn a_system_is_found_beside_its_scenario_and_replaced_by_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outage.toml");
    std::fs::write(&path, SCENARIO).unwrap();
    std::fs::write(folder.path().join("brownout.toml"), SYSTEM).unwrap();
    let other = folder.path().join("other.toml");
    std::fs::write(
        &other,
        edited(SYSTEM, &[("[system]", "[system]\nname = \"another\"")]),
    )
    .unwrap();
    for (given, name) in [(None, "brownout"), (Some(&*other), "another")] {
        let mut problems = Problems::default();
        let (_, system) = load_scenario(&path, given, &mut problems).unwrap();
        assert_eq!(system.name, name);
        assert_eq!(system.folder, folder.path());
    }
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
        "ledgers",
        &[(
            "[load.ask]",
            r#"[dependency.hooks]
protocol = "http"
upstream = "embedded:sink"

[ledger.asked]
accepted  = { load = "aks", id = "id" }
delivered = { dependency = "s3", id = "key" }

[ledger.sent]
accepted  = { load = "ask", id = "uid" }
priority  = "class"
settle    = "0s"
backlog   = { path = "queue", value = "/depth" }
dropped   = { path = "/dropped" }
delivered = [
  { dependency = "s3", id = "json:/id" },
  { dependency = "hoks", id = "json:/id" },
  { dependency = "hooks", id = "json:id", applied = true },
  { read = { path = "/ledger" }, id = "ids", operation = "GET" },
  { id = "json:/id" },
]

[load.ask]
capture = { id = "var:uuid" }"#,
        )],
    );
    system(
        "hosts",
        &[
            (
                "role     = \"queue\"",
                "role     = \"queue\"\nhosts    = [\"a.example.com\"]",
            ),
            (
                "buckets  = [\"models\"]",
                "buckets  = [\"models\"]\nhosts    = [\"https://a.com\", \"*.com\", \"localhost\", \"*.b.com\", \"x.b.com\"]\n\
                 [dependency.other]\nprotocol = \"http\"\nupstream = \"embedded:sink\"\nhosts = [\"y.b.com\", \"b.com\"]",
            ),
            ("url     = \"http", "unlisted = \"allow\"\nurl     = \"http"),
        ],
    );
    system(
        "embedded_options",
        &[(
            "role     = \"queue\"",
            "role     = \"queue\"\nschema   = \"CREATE TABLE a (b int)\"\nanswer   = { status = 500 }",
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
        "url_with_tls",
        &[("url     = \"http:", "url     = \"https:")],
    );
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
            "capture  = { version = \"head:x-version\", \"a b\" = \"key\", token = \"header:Authorization\" }",
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

/// `brownout check` as a user runs it, in a folder with these files.
fn brownout_check(files: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_brownout"))
        .arg("check")
        .args(args)
        .current_dir(folder.path())
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn good_files_are_said_to_be_good() {
    let files = [("outage.toml", SCENARIO), ("brownout.toml", SYSTEM)];
    let (status, out, err) = brownout_check(&files, &["outage.toml"]);
    assert_eq!((status, &*err), (Some(0), ""));
    assert!(out.contains("outage.toml: ok"), "{out}");
}

#[test]
fn bad_files_end_the_command_with_status_64_and_all_their_problems() {
    let scenario = edited(SCENARIO, &[("\"30%\"", "\"30\"")]);
    let system = edited(SYSTEM, &[("\"tcp\"", "\"tpc\"")]);
    let files = [("outage.toml", &*scenario), ("brownout.toml", &*system)];
    let (status, out, err) = brownout_check(&files, &["outage.toml"]);
    assert_eq!((status, &*out), (Some(64), ""));
    for part in [
        "brownout.toml:15:12",
        "did you mean `tcp`?",
        "outage.toml:18:11",
        "not \"30\"",
    ] {
        assert!(err.contains(part), "{part} is missing in:\n{err}");
    }
}

#[test]
fn a_probe_whose_program_is_not_there_is_a_problem_of_its_file() {
    let probe = |program: &str| {
        let probe = format!(
            "\n[[expect]]\nid = \"WARM\"\nthat = \"it is warm\"\nkind = \"probe\"\ncommand = [{program:?}, \"-v\"]\n"
        );
        SCENARIO.to_owned() + &probe
    };
    let checked = |program: &str, hang: &str| {
        let scenario = probe(program).replace("\"30%\"", hang);
        let files = [
            ("outage.toml", &*scenario),
            ("brownout.toml", SYSTEM),
            ("check-cache", "#!/bin/sh\n"),
        ];
        brownout_check(&files, &["outage.toml"])
    };
    // Together with whatever else is wrong.
    let (status, out, err) = checked("./chek-cache", "\"30\"");
    assert_eq!((status, &*out), (Some(64), ""));
    for part in [
        "there is no program `./chek-cache`",
        "outage.toml:45:12",
        "from the folder in which Brownout is started",
        "outage.toml:18:11",
    ] {
        assert!(err.contains(part), "{part} is missing in:\n{err}");
    }
    // One that is there, and one that is looked up by its name or found in another way.
    for program in ["./check-cache", "check-cache", "/nowhere/check-cache"] {
        let (status, _, err) = checked(program, "\"30%\"");
        assert_eq!((status, &*err), (Some(0), ""), "{program}");
    }
    // A text that is judged later, on another machine, needs none.
    assert_eq!(read(SYSTEM, &probe("./chek-cache")), (true, String::new()));
}

#[test]
fn a_system_that_two_scenarios_share_is_reported_once() {
    let system = edited(SYSTEM, &[("\"tcp\"", "\"tpc\"")]);
    let files = [
        ("one.toml", SCENARIO),
        ("two.toml", SCENARIO),
        ("brownout.toml", &*system),
    ];
    let (status, _, err) = brownout_check(&files, &["one.toml", "two.toml"]);
    assert_eq!(status, Some(64));
    assert_eq!(err.matches("unknown protocol").count(), 1, "{err}");
}
