//! What good files mean: every key of both files, read and looked at.

use brownout::{
    expectation::EXPECTATIONS,
    fault::{By, FaultId},
    input::{Problems, Source, render},
    policy::POLICY_KEYS,
    protocol::{PROTOCOLS, Protocol},
    scenario::{
        Arrivals, Capture, FAULTS_MAX, KeyFrom, Lasts, PHASES_MAX, Scenario, Start, System, Target,
        Template, Upstream, Var, from_texts, load_scenario, plan, schema, system_from_text,
    },
    units::{Micros, Share},
};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

const SYSTEM: &str = r#"
[system]
name   = "bots"
env    = { S3 = "{dependency.s3.url}", CA = "{ca}", DOOR = "{ingress.url}" }
ready  = { path = "/healthz", within = "3s" }
stop   = { signal = "INT" }
folder = "work"

[[system.instance]]
name    = "primary"
command = ["{brownout}", "--port", "{port.primary}", "--log", "{out}/log"]
url     = "http://127.0.0.1:{port.primary}/"

[[system.instance]]
name      = "standby"
command   = ["./standby", "{dependency.queue.address}", "{instance.primary.url}"]
env       = { MODE = "{{standby}}" }
folder    = "/srv"
autostart = false
stop      = { within = "1s" }

[dependency.s3]
protocol     = "s3"
role         = "object-store"
upstream     = "embedded"
buckets      = ["models"]
virtual_host = "s3.local"
tls          = { names = ["*.s3.local"] }
listen       = "127.0.0.1:9000"
capture      = { version = "header:X-Amz-Meta-Version", etag = "response-header:etag", bot = "key" }

[dependency.s3.policy]
timeout                  = "2s"
between_bytes_timeout    = "5s"
connect_timeout          = "1s"
gives_up_within          = "10s"
attempts                 = 3
attempts_as_declared     = true
back_off                 = "exponential"
base                     = "50ms"
factor                   = 2
cap                      = "20s"
jitter                   = "full"
honours_retry_after      = true
retry_budget             = 35
repeats_unsafe           = false
hedges                   = false
opens_after              = 5
probes_every             = "10s"
closes_after             = 1
reconnects_within        = "30s"
reconnect_peak_at_most   = 20
reconnects_in_lock_step  = false
reuses_stale_connections = false
falls_back_on            = "backup"
amplification_at_most    = "3x"
changes_half_way         = false

[dependency.backup]
protocol = "s3"
role     = "object-store"
policy   = { jitter = true, attempts = 4 }
upstream = "https://s3.eu-west-1.amazonaws.com"
tls      = true

[dependency.queue]
protocol = "tcp"
role     = "queue"
upstream = "[::1]:5672"

[dependency.platform]
protocol = "http"
upstream = "instance:primary"
tls      = false

[dependency.pager]
protocol = "http"
role     = "alerts"
upstream = "embedded:sink"

[load.ask]
rate          = "90/min"
arrivals      = "constant"
request       = { path = "/bots/{bot}/ask?n={nth}", headers = { x-id = "{uuid}" }, json = { id = "{uuid}", deep = [1, 2.5, true, { "a{{" = 'say "{kind}"' }] } }
vars          = { bot = { zipf = 1.1, of = 200 }, kind = { one_of = ["a", "b"] }, n = { sequence = 9 }, u = { uniform = 7 } }
timeout       = "5s"
ok            = { status = "200,202-204", json = { "/ok" = true, "/version" = ">= {n}" } }
degraded      = { status = 203, header = { X-Answered-From = "cache*" }, json = { "/level" = 0x10, "/part" = 1_0.50 } }
usually_degraded = "25%"
capture       = { version = "json:/version", bot = "var:bot" }
in_flight_max = 7

[load.ask.then]
request = { method = "HEAD", path = "/bots/{bot}/model?v={version}" }
until   = { json = { "/version" = "!= {version}" } }
within  = "4s"

[load.train]
rate    = "4/s"
request = { method = "POST", path = "/train", body = "plain {{text}} {nth}" }
capture = { bot = "var:nth", version = "json:/version" }

[ingress]
listen  = "127.0.0.1:8080"
name    = "others"
ok      = { status = "2xx" }
timeout = "9s"
"#;

const SCENARIO: &str = r#"
title    = "a title"
incident = { who = "Ada", on = 2017-02-28 }
story    = "what happened"
tags     = ["s3"]
hold     = "2s"
system   = "brownout.toml"

[[phase]]
name   = "steady"
lasts  = "60s"
steady = true

[[phase]]
name     = "outage"
lasts    = "1m30s"
happened = "12:42"
load     = { train = "2.5x" }
  [[phase.fault]]
  kind     = "hang"
  on       = "object-store"
  share    = "30%"
  by       = "key"
  first    = 5
  after    = 2
  min_hits = 3
  [[phase.fault]]
  kind = "refuse"
  on   = "queue"

[[phase]]
name  = "no platform"
lasts = "60s"
  [[phase.fault]]
  kind = "kill"
  on   = "instance:primary"

[[phase]]
name  = "recovery"
lasts = "until steady, at most 60s"

[[expect]]
id       = "A-1"
that     = "answers come"
kind     = "success-rate"
load     = "others"
during   = ["no platform", "outage"]
at_least = "90%"

[[expect]]
id     = "A-2"
that   = "it comes back"
kind   = "recovery"
within = "30s"
"#;

fn try_read(system: &str, scenario: &str) -> (Option<(Scenario, System)>, String) {
    let mut problems = Problems::default();
    let read = from_texts(
        Source::new("outage.toml", scenario),
        Source::new("files/bots.toml", system),
        PathBuf::from("files"),
        &mut problems,
    );
    (read, render(&problems.into_sorted(), false))
}

#[test]
fn the_door_has_a_name_only_where_there_is_one() {
    let ingress = SYSTEM.find("[ingress]").expect("it is the last table");
    let (_, problems) = try_read(&SYSTEM[..ingress], SCENARIO);
    assert!(
        problems.contains("`{ingress.url}` refers to nothing"),
        "{problems}"
    );
}

fn read() -> (Scenario, System) {
    let (read, problems) = try_read(SYSTEM, SCENARIO);
    assert_eq!(problems, "");
    read.expect("good files")
}

fn template(text: &str) -> Template {
    Template(text.to_owned())
}

fn filled(template: &Template, values: &[(&str, &str)]) -> String {
    template.fill(&|name| {
        let found = values.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn instances_take_from_the_system_what_they_do_not_say_themselves() {
    let (_, system) = read();
    let Start::Instances(instances) = &system.start else {
        panic!("{:?}", system.start);
    };
    let [primary, standby] = &instances[..] else {
        panic!("{instances:?}");
    };
    assert_eq!(
        primary.url,
        Some(template("http://127.0.0.1:{port.primary}"))
    );
    assert_eq!(system.url, template("http://127.0.0.1:{port.primary}"));
    assert_eq!(primary.ready.path.as_deref(), Some("/healthz"));
    assert_eq!(primary.ready.within, Duration::from_secs(3));
    assert_eq!(
        (primary.stop.signal, primary.stop.within),
        ("INT", Duration::from_secs(10))
    );
    assert_eq!(primary.folder.as_deref(), Some(Path::new("files/work")));
    assert!(primary.autostart);
    assert_eq!(standby.ready.path, None, "there is no URL to ask");
    assert_eq!(
        (standby.stop.signal, standby.stop.within),
        ("TERM", Duration::from_secs(1))
    );
    assert_eq!(standby.folder.as_deref(), Some(Path::new("/srv")));
    assert!(!standby.autostart);
    assert_eq!(filled(&standby.env["MODE"], &[]), "{standby}");
    assert_eq!(system.ports, ["primary"]);
    assert_eq!(system.env["S3"], template("{dependency.s3.url}"));
    assert_eq!(system.env["DOOR"], template("{ingress.url}"));
}

#[test]
fn a_command_alone_is_one_instance_named_main() {
    let text = "[system]\ncommand = [\"./api\", \"{instance.main.url}\"]\nurl = \"http://127.0.0.1:{port.a}\"";
    let mut problems = Problems::default();
    let system = system_from_text(Source::new("x/api.toml", text), "x".into(), &mut problems);
    assert_eq!(render(problems.as_slice(), false), "");
    let system = system.unwrap();
    assert_eq!(system.name, "api", "the file's name stands in");
    let Start::Instances(instances) = &system.start else {
        panic!("{:?}", system.start);
    };
    assert_eq!(&*instances[0].name, "main");
    assert_eq!(instances[0].url, Some(system.url));
    assert_eq!(instances[0].ready.within, Duration::from_secs(20));
}

#[test]
fn an_external_system_is_its_url() {
    let text = "[system]\nexternal = \"http://10.0.0.5:8080/\"";
    let mut problems = Problems::default();
    let source = Source::new("api.toml", text);
    let system = system_from_text(source, ".".into(), &mut problems).unwrap();
    assert!(matches!(system.start, Start::External));
    assert_eq!(system.url, template("http://10.0.0.5:8080"));
}

#[test]
fn dependencies_are_read_in_the_order_of_the_file() {
    let (_, system) = read();
    let names: Vec<&str> = system.dependencies.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["s3", "backup", "queue", "platform", "pager"]);
    let [s3, backup, queue, platform, pager] = &system.dependencies[..] else {
        panic!("{names:?}");
    };
    assert_eq!(s3.protocol, Protocol::S3);
    assert_eq!(s3.role.as_deref(), Some("object-store"));
    assert_eq!(s3.upstream, Upstream::Embedded("s3"));
    assert_eq!(s3.buckets, ["models"]);
    assert_eq!(s3.virtual_host.as_deref(), Some("s3.local"));
    assert_eq!(s3.tls.as_ref().unwrap().names, ["*.s3.local"]);
    assert_eq!(s3.listen, Some("127.0.0.1:9000".parse().unwrap()));
    assert_eq!(
        s3.capture["version"],
        Capture::Header("x-amz-meta-version".to_owned())
    );
    assert_eq!(
        s3.capture["etag"],
        Capture::ResponseHeader("etag".to_owned())
    );
    assert_eq!(s3.capture["bot"], Capture::Key);
    let address = |host: &str, port, tls| Upstream::Address {
        host: host.to_owned(),
        port,
        tls,
    };
    assert_eq!(
        backup.upstream,
        address("s3.eu-west-1.amazonaws.com", 443, true)
    );
    assert!(backup.tls.is_some());
    assert_eq!(queue.upstream, address("::1", 5672, false));
    assert_eq!(platform.upstream, Upstream::Instance("primary".into()));
    assert!(platform.tls.is_none());
    assert_eq!(pager.upstream, Upstream::Embedded("sink"));
}

#[test]
fn a_declared_policy_may_say_everything_that_can_be_inferred() {
    let (_, system) = read();
    let said = |name: &str| {
        let mut own = system.dependencies.iter().filter(|one| *one.name == *name);
        let policy = own.next().and_then(|one| one.policy.as_ref());
        policy.map(ToString::to_string)
    };
    let s3 = said("s3").expect("a policy");
    assert_eq!(
        s3,
        "timeout = 2s, between_bytes_timeout = 5s, connect_timeout = 1s, gives_up_within = 10s, \
         attempts = 3, attempts_as_declared = true, back_off = exponential, base = 50ms, factor = 2, \
         cap = 20s, jitter = full, honours_retry_after = true, retry_budget = 35, \
         repeats_unsafe = false, hedges = false, opens_after = 5, probes_every = 10s, \
         closes_after = 1, reconnects_within = 30s, reconnect_peak_at_most = 20, \
         reconnects_in_lock_step = false, reuses_stale_connections = false, \
         falls_back_on = backup, amplification_at_most = 3x, changes_half_way = false"
    );
    // None is forgotten.
    let keys: Vec<&str> = s3
        .split(", ")
        .filter_map(|line| line.split(' ').next())
        .collect();
    let known: Vec<&str> = POLICY_KEYS.iter().map(|key| key.name).collect();
    assert_eq!(keys, known);
    assert_eq!(
        said("backup").as_deref(),
        Some("attempts = 4, jitter = true")
    );
    assert_eq!(said("queue"), None);
}

#[test]
fn a_load_is_read_whole() {
    let (_, system) = read();
    let ask = &system.loads[0];
    assert!((ask.rate.as_per_second() - 1.5).abs() < 1e-9);
    assert_eq!(ask.arrivals, Arrivals::Constant);
    assert_eq!(ask.request.method, "POST", "there is a body");
    assert_eq!(ask.request.path, template("/bots/{bot}/ask?n={nth}"));
    assert_eq!(
        ask.vars["bot"],
        Var::Zipf {
            exponent: 1.1,
            of: 200
        }
    );
    assert_eq!(
        ask.vars["u"],
        Var::Zipf {
            exponent: 0.0,
            of: 7
        }
    );
    assert_eq!(ask.vars["n"], Var::Sequence { of: 9 });
    assert_eq!(
        ask.vars["kind"],
        Var::OneOf(vec!["a".to_owned(), "b".to_owned()])
    );
    assert!(ask.outcomes.ok.status.contains(203) && !ask.outcomes.ok.status.contains(201));
    let version = &ask.outcomes.ok.json[1];
    assert_eq!(
        (version.0.as_str(), version.1.comparison),
        ("/version", ">=")
    );
    assert_eq!(version.1.value, template("{n}"));
    let degraded = ask.outcomes.degraded.as_ref().unwrap();
    assert!(degraded.status.contains(203) && !degraded.status.contains(200));
    assert_eq!(
        degraded.header,
        [("x-answered-from".to_owned(), "cache*".to_owned())]
    );
    let values: Vec<&Template> = degraded.json.iter().map(|(_, one)| &one.value).collect();
    assert_eq!(values, [&template("16"), &template("10.5")]);
    assert_eq!(ask.outcomes.usually_degraded, Share::new(0.25));
    assert_eq!(ask.capture["version"], Capture::Json("/version".to_owned()));
    assert_eq!(ask.capture["bot"], Capture::Var("bot".to_owned()));
    assert_eq!(ask.in_flight_max, 7);
    let follow = ask.follow.as_ref().unwrap();
    assert_eq!(follow.request.method, "HEAD");
    assert_eq!(follow.every, Duration::from_millis(250));
    assert_eq!(follow.within, Duration::from_secs(4));
    assert_eq!(follow.until.json[0].1.comparison, "!=");
    let train = &system.loads[1];
    assert_eq!(train.arrivals, Arrivals::Poisson);
    assert_eq!(train.timeout, Duration::from_secs(10));
    assert_eq!(train.in_flight_max, 1000);
    let body = train.request.body.as_ref().unwrap();
    assert_eq!(filled(body, &[("nth", "3")]), "plain {text} 3");
    let ingress = system.ingress.as_ref().unwrap();
    assert_eq!(
        (&*ingress.name, ingress.timeout),
        ("others", Duration::from_secs(9))
    );
}

#[test]
fn a_json_body_stays_json_whatever_is_filled_in() {
    let (_, system) = read();
    let request = &system.loads[0].request;
    let body = filled(
        request.body.as_ref().unwrap(),
        &[("uuid", "u-1"), ("kind", "a \"quoted\" \\ text\n")],
    );
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "id": "u-1",
            "deep": [1, 2.5, true, { "a{": "say \"a \"quoted\" \\ text\n\"" }],
        })
    );
    assert!(
        request
            .headers
            .contains(&("content-type".to_owned(), template("application/json")))
    );
}

#[test]
fn a_scenario_is_read_whole() {
    let (scenario, system) = read();
    assert_eq!(scenario.incident.as_ref().unwrap().on, "2017-02-28");
    assert_eq!(scenario.hold, Duration::from_secs(2));
    assert_eq!(scenario.tags, ["s3"]);
    let [steady, outage, platform, recovery] = &scenario.phases[..] else {
        panic!("{:?}", scenario.phases);
    };
    assert!(steady.steady && steady.faults.is_empty());
    assert_eq!(outage.happened.as_deref(), Some("12:42"));
    assert_eq!(outage.lasts, Lasts::For(Duration::from_secs(90)));
    let hang = &outage.faults[0];
    assert_eq!(hang.id, FaultId(0));
    assert_eq!(
        hang.target,
        Target::Dependencies(vec![0, 1]),
        "all of the role"
    );
    assert_eq!(hang.behaviours.len(), 2);
    assert_eq!(hang.gate.by, Some(By::Key));
    assert_eq!(
        (hang.gate.first, hang.gate.after, hang.gate.min_hits),
        (Some(5), Some(2), 3)
    );
    assert!(
        hang.label.starts_with("hang on object-store, 30%"),
        "{}",
        hang.label
    );
    assert_eq!(outage.faults[1].target, Target::Dependencies(vec![2]));
    let kill = &platform.faults[0];
    assert_eq!(
        (kill.id, &kill.target),
        (FaultId(2), &Target::Instance("primary".into()))
    );
    assert_eq!(
        recovery.lasts,
        Lasts::UntilSteady {
            at_most: Duration::from_secs(60)
        }
    );
    assert_eq!(
        scenario.expects[0].during,
        [1, 2],
        "in the order of the scenario"
    );
    assert!(scenario.expects[1].during.is_empty());
    assert_eq!(system.name, "bots");
}

#[test]
fn speed_shortens_phases_of_a_fixed_length_only() {
    let (scenario, system) = read();
    let ends = |speed| -> Vec<Micros> {
        let timeline = plan(&scenario, &system, speed);
        timeline.phases.iter().map(|phase| phase.ends).collect()
    };
    assert_eq!(ends(1.0), [60, 150, 210, 270].map(Micros::from_secs));
    assert_eq!(
        ends(4.0),
        [15_000, 37_500, 52_500, 112_500].map(Micros::from_millis)
    );
    for odd in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(ends(odd), ends(1.0), "{odd}");
    }
    assert!(ends(1e300)[2] > Micros(0), "no phase vanishes");
}

#[test]
fn a_phase_that_changes_a_load_changes_its_pace_and_no_other() {
    let (scenario, system) = read();
    let timeline = plan(&scenario, &system, 2.0);
    // At twice the speed the outage lasts from second 30 to second 75.
    let train = timeline.pace("train");
    assert_eq!(train.moment(30.0), 30.0);
    assert_eq!(train.moment(55.0), 40.0);
    assert_eq!(train.moment(30.0 + 45.0 * 2.5 + 10.0), 85.0);
    assert_eq!(timeline.pace("ask").moment(55.0), 55.0);
}

#[test]
fn a_plan_says_what_would_happen_and_when() {
    let (scenario, system) = read();
    insta::assert_snapshot!("plan", plan(&scenario, &system, 2.0).to_string());
}

#[test]
fn every_expectations_example_reads_in_a_scenario() {
    let head = &SCENARIO[..SCENARIO.find("[[expect]]").unwrap()];
    let realtime = "[dependency.realtime]\nprotocol = \"pusher\"\nupstream = \"embedded\"\n";
    let ledger = "[ledger.work]\naccepted = { load = \"train\", id = \"bot\" }\n\
                  delivered = { dependency = \"s3\", id = \"bot\" }\npriority = \"version\"\n\
                  dropped = { path = \"/dropped\", id = \"json:/ids/*\" }\n";
    let system = format!("{SYSTEM}\n{realtime}{ledger}");
    for def in EXPECTATIONS {
        let (read, problems) = try_read(&system, &format!("{head}{}", def.example));
        let errors = problems.contains("error:");
        assert!(read.is_some() && !errors, "{}\n{problems}", def.name);
    }
}

/// A ledger whose deliveries are messages of Channels, with this capture of theirs.
fn with_messages(protocol: &str, capture: &str) -> (bool, String) {
    let system = format!(
        "{SYSTEM}\n[dependency.realtime]\nprotocol = \"{protocol}\"\nupstream = \"127.0.0.1:9\"\n\
         capture = {{ id = \"{capture}\" }}\n\
         [ledger.work]\naccepted = {{ load = \"train\", id = \"bot\" }}\n\
         delivered = {{ dependency = \"realtime\", operation = \"Deliver\", id = \"id\" }}\n"
    );
    let (read, problems) = try_read(&system, SCENARIO);
    (read.is_some(), problems)
}

#[test]
fn ids_can_be_captured_from_messages_of_channels_and_of_nothing_else() {
    let (read, problems) = with_messages("pusher", "json:/data/id");
    assert!(read, "{problems}");
    let (read, problems) = with_messages("http", "json:/data/id");
    assert!(!read && problems.contains("nothing can be captured by `json:/data/id`"));
    let (read, problems) = with_messages("pusher", "jsn:/data/id");
    assert!(
        !read && problems.contains("\"json:/data/id\" of messages"),
        "{problems}"
    );
    let (read, problems) = with_messages("pusher", "json:/data/auth");
    assert!(!read && problems.contains("is a secret"), "{problems}");
}

#[test]
fn a_scenario_has_limits() {
    let tables = |count: usize, text: &str| {
        let mut all = String::new();
        for index in 0..count {
            writeln!(all, "{}", text.replace('#', &index.to_string())).unwrap();
        }
        all
    };
    let check = |old: &str, new: &str, expected: &str| {
        assert_eq!(SCENARIO.matches(old).count(), 1, "{old}");
        let (read, problems) = try_read(SYSTEM, &SCENARIO.replace(old, new));
        assert!(read.is_none() && problems.contains(expected), "{problems}");
    };
    let recovery = "[[phase]]\nname  = \"recovery\"";
    let phases = tables(PHASES_MAX, "[[phase]]\nname = \"p#\"\nlasts = \"1s\"");
    check(
        recovery,
        &format!("{phases}{recovery}"),
        "more than 100 phases",
    );
    let faults = tables(
        FAULTS_MAX,
        "[[phase.fault]]\nkind = \"refuse\"\non = \"queue\"",
    );
    check(
        recovery,
        &format!("{faults}{recovery}"),
        "more than 500 faults",
    );
    let expects = tables(
        500,
        "[[expect]]\nid = \"x#\"\nthat = \"x\"\nkind = \"recovery\"\nwithin = \"9s\"",
    );
    let first = "[[expect]]\nid       = \"A-1\"";
    check(
        first,
        &format!("{expects}{first}"),
        "more than 500 expectations",
    );
    let loads = tables(100, "[load.l#]\nrate = \"1/s\"\nrequest = { path = \"/\" }");
    let (read, problems) = try_read(&format!("{SYSTEM}{loads}"), SCENARIO);
    assert!(
        read.is_none() && problems.contains("more than 100 loads"),
        "{problems}"
    );
    let dependencies = tables(
        500,
        "[dependency.x#]\nprotocol = \"http\"\nupstream = \"embedded:sink\"",
    );
    let (read, problems) = try_read(&format!("{SYSTEM}{dependencies}"), SCENARIO);
    assert!(
        read.is_none() && problems.contains("more than 500 dependencies"),
        "{problems}"
    );
}

/// TOML as an editor's validator sees it: dates are texts.
fn json(value: &toml::Value) -> serde_json::Value {
    match value {
        toml::Value::Datetime(moment) => moment.to_string().into(),
        toml::Value::Array(items) => items.iter().map(json).collect(),
        toml::Value::Table(table) => {
            let entries = table.iter().map(|(key, value)| (key.clone(), json(value)));
            entries.collect()
        }
        other => serde_json::to_value(other).unwrap(),
    }
}

fn check_schema(schema: &serde_json::Value, text: &str) {
    let validator = jsonschema::draft7::new(schema).unwrap();
    let value = json(&toml::Value::Table(text.parse().unwrap()));
    let errors: Vec<String> = validator
        .iter_errors(&value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn good_files_are_valid_by_the_schema() {
    let (scenario, system) = schema();
    check_schema(&scenario, SCENARIO);
    check_schema(&system, SYSTEM);
}

#[test]
fn every_shipped_scenario_reads_without_a_warning_and_is_valid_by_the_schema() {
    let (scenario_schema, system_schema) = schema();
    let files = |folder: &str| -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let entries = std::fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "toml")
            })
            .collect()
    };
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    let (scenarios, systems) = (files("scenarios"), files("scenarios/systems"));
    assert!(!scenarios.is_empty() && !systems.is_empty());
    for system in &systems {
        check_schema(&system_schema, &text(system));
    }
    for path in &scenarios {
        check_schema(&scenario_schema, &text(path));
        let mut problems = Problems::default();
        let read = load_scenario(path, None, &mut problems);
        let shown = render(&problems.into_sorted(), false);
        assert!(read.is_some(), "{shown}");
        assert!(!shown.contains("warning:"), "{shown}");
    }
}

#[test]
fn bound_parameters_are_keys_and_captures_of_every_protocol_with_statements() {
    for protocol in PROTOCOLS
        .iter()
        .map(|def| def.protocol)
        .filter(|one| one.is_sql())
    {
        let text = format!(
            "[system]\nexternal = \"http://127.0.0.1:1\"\n\
             [dependency.db]\nprotocol = \"{protocol}\"\nupstream = \"127.0.0.1:2\"\n\
             listen = \"127.0.0.1:3\"\nkey = \"parameter:1\"\ncapture = {{ id = \"parameter:2\" }}\n\
             [load.a]\nrate = \"1/s\"\nrequest = {{ path = \"/\" }}\n"
        );
        let mut problems = Problems::default();
        let source = Source::new("system.toml", text);
        let system = system_from_text(source, ".".into(), &mut problems);
        assert_eq!(render(&problems.into_sorted(), false), "", "{protocol}");
        let system = system.expect("a system");
        let db = &system.dependencies[0];
        assert_eq!(db.key, Some(KeyFrom::Parameter(1)), "{protocol}");
        assert_eq!(db.capture["id"], Capture::Parameter(2), "{protocol}");
    }
    assert!(Protocol::Mysql.is_sql() && Protocol::Postgres.is_sql());
    assert!(!Protocol::Redis.is_sql());
}
