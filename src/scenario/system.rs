//! A system file to a valid [`System`].

use super::{
    Dependency, Ingress, Instance, Load, Ready, Start, Stop, System, Template, UnlistedHosts,
    Upstream, dependency, keys, ledger,
    requests::{self, LoadScope},
    scope::{Once, Scope, check_name},
};
use crate::{
    input::{Fields, Item, Problems, Span, hint_among},
    protocol::Protocol,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

const READY_WITHIN: Duration = Duration::from_secs(20);
const STOP_WITHIN: Duration = Duration::from_secs(10);
const INGRESS_TIMEOUT: Duration = Duration::from_secs(30);

/// The name of the only instance of a system with a `command`.
const MAIN: &str = "main";

/// The names that a scenario may refer to, known even where the rest of the file is wrong.
#[derive(Debug, Default)]
pub(super) struct Outline {
    /// Loads, then the ingress.
    pub loads: Vec<Arc<str>>,
    /// How many of these we drive ourselves.
    pub driven: usize,
    /// Dependencies in the order of [`System::dependencies`]: name, role, protocol if it is one.
    pub dependencies: Vec<Known>,
    /// Instances.
    pub instances: Vec<Arc<str>>,
    /// What loads and dependencies capture.
    pub captures: Vec<(Arc<str>, Vec<String>)>,
    /// Ledgers.
    pub ledgers: Vec<Arc<str>>,
    /// Whether somebody else starts the system.
    pub external: bool,
    /// What templates of programs and probes may refer to.
    pub scope: Scope,
}

/// A dependency's names.
#[derive(Debug)]
pub(super) struct Known {
    /// Its name.
    pub name: Arc<str>,
    /// Its role.
    pub role: Option<Arc<str>>,
    /// Its protocol, unless that is the mistake.
    pub protocol: Option<Protocol>,
}

/// Reads a system from its parsed text. The system is valid only if no error was appended.
pub(super) fn read(
    root: &Fields<'_>,
    folder: &Path,
    problems: &mut Problems,
) -> Option<(System, Outline)> {
    let mut outline = Outline::default();
    let Some(system) = root.table("system", problems) else {
        dependency::read(root, &mut outline.dependencies, problems);
        requests::loads(root, &mut outline.loads, problems);
        outline.driven = outline.loads.len();
        return None;
    };
    let dependencies = dependency::read(root, &mut outline.dependencies, problems);
    let mut reader = Reader {
        fields: &system,
        folder,
        scope: Scope::default(),
    };
    let instances = system.tables("instance", "instance", problems);
    reader.scope = start_scope(&outline, root, &system, &instances);
    let start = reader.start(&instances, problems);
    let url = reader.url(&start, problems);
    let loads = requests::loads(root, &mut outline.loads, problems);
    outline.driven = outline.loads.len();
    let ingress = read_ingress(root, &mut outline.loads, problems);
    let ledgers = ledger::read(root, &loads, &dependencies, problems);
    outline.ledgers = root.names_in("ledger").map(Into::into).collect();
    check_upstreams(root, &dependencies, &start, problems);
    check_plain(&system, &loads, problems);
    forewarn_unserved(&system, &start, &dependencies, problems);
    let url = required_url(
        url,
        &system,
        !loads.is_empty() || ingress.is_some() || !ledgers.is_empty(),
        problems,
    );
    let mut read = System {
        source: system.source.clone(),
        folder: folder.to_path_buf(),
        name: name_of(&system, problems),
        start,
        url,
        env: reader.env(&system, problems),
        ports: Vec::new(),
        dependencies,
        loads,
        ingress,
        ledgers,
        unlisted: unlisted(&system, problems),
    };
    read.ports = ports_of(&read);
    outline.scope = reader.scope.and(["url"]);
    outline.note(&read);
    Some((read, outline))
}

impl Outline {
    /// Notes what is known of a system that was read.
    fn note(&mut self, system: &System) {
        self.captures = captures_of(&system.dependencies, &system.loads);
        match &system.start {
            Start::External => self.external = true,
            Start::Instances(instances) => {
                let names = instances.iter().map(|one| Arc::clone(&one.name));
                self.instances = names.collect();
            }
        }
    }
}

/// What becomes of hosts that no dependency lists.
fn unlisted(system: &Fields<'_>, problems: &mut Problems) -> UnlistedHosts {
    match system.word("unlisted", problems).map(|word| word.value) {
        Some("pass") => UnlistedHosts::Pass,
        Some("pass-anywhere") => UnlistedHosts::PassAnywhere,
        _ => UnlistedHosts::Refuse,
    }
}

fn captures_of(dependencies: &[Dependency], loads: &[Load]) -> Vec<(Arc<str>, Vec<String>)> {
    let dependencies = dependencies.iter().map(|one| (&one.name, &one.capture));
    let loads = loads.iter().map(|one| (&one.name, &one.capture));
    dependencies
        .chain(loads)
        .map(|(name, capture)| (Arc::clone(name), capture.keys().cloned().collect()))
        .collect()
}

fn name_of(system: &Fields<'_>, problems: &mut Problems) -> String {
    if let Some(name) = system.text("name", problems) {
        return name.value;
    }
    Path::new(&*system.source.name)
        .file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

/// What programs may refer to.
fn start_scope(
    outline: &Outline,
    root: &Fields<'_>,
    system: &Fields<'_>,
    instances: &[Fields<'_>],
) -> Scope {
    let mut known: Vec<String> = ["brownout", "ca", "out"].map(str::to_owned).to_vec();
    if root.has("ingress") {
        known.extend(["ingress.url", "ingress.address"].map(str::to_owned));
    }
    for dependency in &outline.dependencies {
        for part in ["url", "address", "host", "port"] {
            known.push(format!("dependency.{}.{part}", dependency.name));
        }
        if dependency.protocol == Some(Protocol::Pusher) {
            for part in ["app_id", "app_key", "app_secret"] {
                known.push(format!("dependency.{}.{part}", dependency.name));
            }
        }
    }
    let mut quiet = Problems::default();
    for instance in instances.iter().filter(|instance| instance.has("url")) {
        if let Some(name) = instance.text("name", &mut quiet) {
            known.push(format!("instance.{}.url", name.value));
        }
    }
    if instances.is_empty() && system.has("command") && system.has("url") {
        known.push(format!("instance.{MAIN}.url"));
    }
    Scope {
        known,
        ports: true,
        env: false,
    }
}

struct Reader<'a> {
    fields: &'a Fields<'a>,
    folder: &'a Path,
    scope: Scope,
}

impl Reader<'_> {
    fn start(&self, instances: &[Fields<'_>], problems: &mut Problems) -> Start {
        let system = self.fields;
        let ways: Vec<&str> = ["command", "instance", "external"]
            .into_iter()
            .filter(|key| system.has(key))
            .collect();
        match ways[..] {
            ["command"] => Start::Instances(vec![self.only_instance(problems)]),
            ["instance"] => Start::Instances(self.instances(instances, problems)),
            [_] => {
                self.refuse_start_keys(problems);
                Start::External
            }
            [] => {
                system.problem(
                    problems,
                    "command",
                    "nothing says how the system comes to run",
                    "give `command`, `[[system.instance]]`, or `external` with the URL of a system that runs already".to_owned(),
                );
                Start::External
            }
            [first, second, ..] => {
                system.problem(
                    problems,
                    second,
                    format!("`{second}` beside `{first}`"),
                    "give one of `command`, `[[system.instance]]` and `external`".to_owned(),
                );
                Start::External
            }
        }
    }

    fn refuse_start_keys(&self, problems: &mut Problems) {
        for key in ["env", "ready", "stop", "folder", "url"] {
            if self.fields.has(key) {
                self.fields.problem(
                    problems,
                    key,
                    format!("`{key}` says nothing about an external system"),
                    "Brownout does not start it, and `external` is its URL".to_owned(),
                );
            }
        }
    }

    fn only_instance(&self, problems: &mut Problems) -> Instance {
        let system = self.fields;
        let url = self.url_template(system, "url", &mut Problems::default());
        Instance {
            name: MAIN.into(),
            command: self.command(system, problems),
            env: BTreeMap::new(),
            folder: self.path(system, problems),
            ready: ready(system, None, url.is_some(), problems),
            stop: stop(system, None, problems),
            autostart: true,
            url,
        }
    }

    fn instances(&self, tables: &[Fields<'_>], problems: &mut Problems) -> Vec<Instance> {
        let system = self.fields;
        if tables.is_empty() || tables.len() > keys::NAMED_MAX {
            system.problem(
                problems,
                "instance",
                format!("a system has 1 to {} instances", keys::NAMED_MAX),
                None,
            );
        }
        let defaults = (
            ready(system, None, true, problems),
            stop(system, None, problems),
            self.path(system, problems),
        );
        let mut once = Once::default();
        tables
            .iter()
            .filter_map(|table| {
                let name = table.text("name", problems)?;
                check_name(&name, "an instance", table.source, problems);
                once.take(&name, "instance", table.source, problems);
                let url = self.url_template(table, "url", problems);
                Some(Instance {
                    name: name.value.into(),
                    command: self.command(table, problems),
                    env: self.env(table, problems),
                    folder: self.path(table, problems).or_else(|| defaults.2.clone()),
                    ready: ready(table, Some(&defaults.0), url.is_some(), problems),
                    stop: stop(table, Some(&defaults.1), problems),
                    autostart: table.bool("autostart", problems).unwrap_or(true),
                    url,
                })
            })
            .collect()
    }

    fn command(&self, table: &Fields<'_>, problems: &mut Problems) -> Vec<Template> {
        let Some(parts) = table.texts("command", problems) else {
            return Vec::new();
        };
        if parts.first().is_none_or(|program| program.value.is_empty()) {
            table.problem(
                problems,
                "command",
                "the command names no program",
                "[\"./server\", \"--port\", \"{port.api}\"]".to_owned(),
            );
        }
        parts
            .into_iter()
            .map(|part| {
                refuse_nul(&part, table, problems);
                self.scope.template(part, table.source, problems)
            })
            .collect()
    }

    fn env(&self, table: &Fields<'_>, problems: &mut Problems) -> BTreeMap<String, Template> {
        let mut env = BTreeMap::new();
        // Only here: arguments of programs can be read by everybody on the machine.
        let scope = Scope {
            env: true,
            ..self.scope.clone()
        };
        for (name, value) in table.text_map("env", problems).unwrap_or_default() {
            if name.is_empty() || name.contains(['=', '\0']) {
                problems.error(
                    table.source,
                    value.span.clone(),
                    format!("`{name}` cannot be the name of an environment variable"),
                    None,
                );
            }
            refuse_nul(&value, table, problems);
            env.insert(name, scope.template(value, table.source, problems));
        }
        env
    }

    fn path(&self, table: &Fields<'_>, problems: &mut Problems) -> Option<PathBuf> {
        let folder = table.text("folder", problems)?;
        refuse_nul(&folder, table, problems);
        Some(self.folder.join(folder.value))
    }

    /// The system's URL: its own, the external one, or its first instance's.
    fn url(&self, start: &Start, problems: &mut Problems) -> Option<Template> {
        let key = if matches!(start, Start::External) && self.fields.has("external") {
            "external"
        } else {
            "url"
        };
        if let Some(url) = self.url_template(self.fields, key, problems) {
            return Some(url);
        }
        match start {
            Start::Instances(instances) => {
                instances.iter().find_map(|instance| instance.url.clone())
            }
            Start::External => None,
        }
    }

    fn url_template(
        &self,
        table: &Fields<'_>,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<Template> {
        let mut url = table.text(key, problems)?;
        while url.value.ends_with('/') {
            url.value.pop();
        }
        if key == "url" && url.value.starts_with("https://") {
            refuse_tls(table, key, problems);
        }
        let rest = ["http://", "https://"]
            .iter()
            .find_map(|scheme| url.value.strip_prefix(scheme));
        if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['?', '#', ' '])) {
            table.problem(
                problems,
                key,
                format!("`{key}` must be an HTTP address"),
                if key == "url" {
                    "\"http://127.0.0.1:{port.api}\"".to_owned()
                } else {
                    "\"http://10.0.0.5:8080\"".to_owned()
                },
            );
        }
        let ports = Scope {
            ports: key == "url",
            ..Scope::default()
        };
        Some(ports.template(url, table.source, problems))
    }
}

/// Whoever asks an external system by load must be able to: only plain HTTP is spoken.
fn check_plain(system: &Fields<'_>, loads: &[Load], problems: &mut Problems) {
    let url = system.text("external", &mut Problems::default());
    if !loads.is_empty() && url.is_some_and(|url| url.value.starts_with("https://")) {
        refuse_tls(system, "external", problems);
    }
}

/// Where load goes to an address that no instance has, nobody waits until it is served, and nobody sees
/// that it still is after a kill.
fn forewarn_unserved(
    system: &Fields<'_>,
    start: &Start,
    dependencies: &[Dependency],
    problems: &mut Problems,
) {
    let (Start::Instances(instances), Some(url)) =
        (start, system.text("url", &mut Problems::default()))
    else {
        return;
    };
    // An instance that could not be read may be the one.
    if problems.any_error() {
        return;
    }
    let own = authority(&url.value);
    let mut served = instances.iter().filter_map(|one| one.url.as_ref());
    let by_an_instance = served.any(|one| authority(&one.0) == own);
    // Load may come in through a proxy of ours.
    let mut listeners = dependencies.iter().filter_map(|one| one.listen);
    if by_an_instance || listeners.any(|one| authority(&one.to_string()) == own) {
        return;
    }
    problems.warning(
        system.source,
        url.span,
        "no instance has this address as its `url`: nobody waits until it is served, or sees whether it \
         still is after a kill",
        "write the `url` into the `[[system.instance]]` that serves it as well".to_owned(),
    );
}

/// Host and port of a URL or an address as they stand there; loopback by one name.
fn authority(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let place = rest.split('/').next().unwrap_or_default();
    let (host, port) = match place.rsplit_once(':') {
        Some(parts) if !parts.1.contains(']') => parts,
        _ => (place, "80"),
    };
    match host {
        "localhost" | "[::1]" | "0.0.0.0" | "[::]" => ("127.0.0.1", port),
        host => (host, port),
    }
}

fn refuse_tls(table: &Fields<'_>, key: &'static str, problems: &mut Problems) {
    table.problem(
        problems,
        key,
        "load and readiness speak no TLS to the system",
        "write \"http://…\"; the ingress alone speaks TLS to an `external` system".to_owned(),
    );
}

fn refuse_nul(text: &Item<String>, table: &Fields<'_>, problems: &mut Problems) {
    if text.value.contains('\0') {
        problems.error(
            table.source,
            text.span.clone(),
            "no program can be given a zero byte",
            None,
        );
    }
}

fn ready(
    table: &Fields<'_>,
    default: Option<&Ready>,
    has_url: bool,
    problems: &mut Problems,
) -> Ready {
    let Some(ready) = table.table("ready", problems) else {
        return Ready {
            path: default
                .and_then(|ready| ready.path.clone())
                .filter(|_| has_url),
            within: default.map_or(READY_WITHIN, |ready| ready.within),
        };
    };
    let path = ready.text("path", problems).map(|path| path.value);
    if path
        .as_ref()
        .is_some_and(|path| !is_path(path) || path.starts_with('{'))
    {
        ready.problem(
            problems,
            "path",
            "a path begins with `/` and holds no spaces",
            None,
        );
    }
    if path.is_some() && !has_url {
        ready.problem(
            problems,
            "path",
            format!("{} has no `url` to ask for this path", table.name()),
            None,
        );
    }
    Ready {
        path,
        within: above_zero(&ready, "within", READY_WITHIN, problems),
    }
}

fn stop(table: &Fields<'_>, default: Option<&Stop>, problems: &mut Problems) -> Stop {
    let Some(stop) = table.table("stop", problems) else {
        return default.cloned().unwrap_or(Stop {
            signal: keys::SIGNALS[0],
            within: STOP_WITHIN,
        });
    };
    Stop {
        signal: stop
            .word("signal", problems)
            .map_or(keys::SIGNALS[0], |word| word.value),
        within: stop.duration("within", problems).unwrap_or(STOP_WITHIN),
    }
}

/// A duration that must not be zero.
pub(super) fn above_zero(
    table: &Fields<'_>,
    key: &'static str,
    default: Duration,
    problems: &mut Problems,
) -> Duration {
    let length = table.duration(key, problems).unwrap_or(default);
    if length.is_zero() {
        table.problem(problems, key, format!("`{key}` must not be zero"), None);
    }
    length
}

/// Whether a text can stand as a request's path.
pub(super) fn is_path(text: &str) -> bool {
    text.starts_with(['/', '{']) && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn required_url(
    url: Option<Template>,
    system: &Fields<'_>,
    needed: bool,
    problems: &mut Problems,
) -> Template {
    if url.is_none() && needed && !system.has("url") && !system.has("external") {
        system.problem(
            problems,
            "url",
            "load and ingress need the system's `url`",
            "url = \"http://127.0.0.1:{port.api}\"".to_owned(),
        );
    }
    url.unwrap_or_default()
}

fn read_ingress(
    root: &Fields<'_>,
    loads: &mut Vec<Arc<str>>,
    problems: &mut Problems,
) -> Option<Ingress> {
    let table = root.table("ingress", problems)?;
    let name = table.text("name", problems).unwrap_or(Item {
        value: "ingress".to_owned(),
        span: table.span.clone(),
    });
    check_name(&name, "an ingress", table.source, problems);
    if loads.iter().any(|load| **load == *name.value) {
        problems.error(
            table.source,
            name.span.clone(),
            format!("`{}` is also the name of a load", name.value),
            "expectations would not know which is meant; give the ingress a `name`".to_owned(),
        );
    }
    let name: Arc<str> = name.value.into();
    loads.push(Arc::clone(&name));
    Some(Ingress {
        listen: dependency::listen(&table, problems),
        outcomes: requests::outcomes(&table, &LoadScope::default(), problems),
        timeout: above_zero(&table, "timeout", INGRESS_TIMEOUT, problems),
        name,
    })
}

/// Upstreams that are instances must be ones of this system, with a URL.
fn check_upstreams(
    root: &Fields<'_>,
    dependencies: &[Dependency],
    start: &Start,
    problems: &mut Problems,
) {
    let instances: &[Instance] = match start {
        Start::Instances(instances) => instances,
        Start::External => &[],
    };
    for dependency in dependencies {
        let Upstream::Instance(name) = &dependency.upstream else {
            continue;
        };
        let (message, hint) = match instances.iter().find(|instance| instance.name == *name) {
            None => (
                format!("no instance is named `{name}`"),
                hint_among(name, instances.iter().map(|instance| &*instance.name)),
            ),
            Some(instance) if instance.url.is_none() => (
                format!("instance `{name}` has no `url` to pass requests to"),
                "url = \"http://127.0.0.1:{port.NAME}\"".to_owned(),
            ),
            Some(_) => continue,
        };
        let place = upstream_place(root, &dependency.name);
        problems.error(root.source, place, message, hint);
    }
}

/// Where the upstream of a dependency is written.
fn upstream_place(root: &Fields<'_>, dependency: &str) -> Option<Span> {
    let tables = root.raw("dependency")?.get_ref().as_table()?;
    let table = tables.get(dependency)?.get_ref().as_table()?;
    Some(table.get("upstream")?.span())
}

/// The names of all `{port.NAME}`.
fn ports_of(system: &System) -> Vec<String> {
    let mut templates: Vec<&Template> = vec![&system.url];
    templates.extend(system.env.values());
    let apps = system.dependencies.iter().flat_map(|one| &one.app);
    templates.extend(apps.flat_map(|app| &app.webhook));
    if let Start::Instances(instances) = &system.start {
        for instance in instances {
            templates.extend(&instance.command);
            templates.extend(instance.env.values());
            templates.extend(&instance.url);
        }
    }
    let ports: BTreeSet<String> = templates
        .into_iter()
        .flat_map(Template::placeholders)
        .filter_map(|name| name.strip_prefix("port."))
        .map(str::to_owned)
        .collect();
    ports.into_iter().collect()
}
