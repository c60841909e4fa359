//! What is neither a fault nor an expectation nor a protocol, and is asked for all the same: the
//! words of verdicts and outcomes, and the parts of both files with their keys.

use crate::{
    fault::gate,
    input::{Key, Shape},
    scenario::{EXPECT_KEYS, SCENARIO_FILE, SYSTEM_FILE},
};

/// A word with its text.
pub struct Topic {
    /// The word.
    pub name: &'static str,
    /// What sort of thing it is: "verdict", "system file".
    pub sort: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Paragraphs, parted by an empty line.
    pub text: &'static str,
    /// The keys that belong to it.
    pub keys: fn() -> &'static [Key],
    /// A part of a file that shows it, or nothing.
    pub example: Example,
    /// Related names.
    pub related: &'static [&'static str],
}

/// A part of a file.
#[derive(Debug, Clone, Copy)]
pub enum Example {
    /// Words need none.
    None,
    /// Part of a system file.
    System(&'static str),
    /// A whole scenario.
    Scenario(&'static str),
}

impl Example {
    /// Its text.
    pub fn text(self) -> &'static str {
        match self {
            Self::None => "",
            Self::System(text) | Self::Scenario(text) => text,
        }
    }
}

fn none() -> &'static [Key] {
    &[]
}

/// The keys below one of a file.
fn below(keys: &'static [Key], name: &str) -> &'static [Key] {
    let key = keys.iter().find(|key| key.name == name);
    match key.map(|key| key.shape) {
        Some(Shape::Table(keys) | Shape::Tables(keys) | Shape::MapOf(keys)) => keys,
        _ => &[],
    }
}

const WHOLE: &str = r#"title  = "the store hangs"
system = "brownout.toml"

[[phase]]
name   = "steady"
lasts  = "10s"
steady = true

[[phase]]
name  = "the store hangs"
lasts = "20s"
  [[phase.fault]]
  kind  = "hang"
  on    = "object-store"
  share = "50%"

[[phase]]
name  = "recovery"
lasts = "until steady, at most 60s"

[[expect]]
id       = "R-1"
that     = "visitors are answered"
kind     = "success-rate"
load     = "ask"
at_least = "95%"
"#;

/// Every topic, in the order listed.
pub const TOPICS: &[Topic] = &[
    Topic {
        name: "pass",
        sort: "verdict",
        summary: "what was required held, and it was measured well enough to say so",
        text: "\
            A pass rests on evidence: the faults acted, there were enough samples for the \
            threshold, the steady state was steady, the load kept its schedule, and nothing was \
            dropped by the recorder. Where any of these is in doubt the verdict is inconclusive.\n\n\
            A scenario passes when all its expectations do and every fault of it acted. Exit \
            status 0.",
        keys: none,
        example: Example::None,
        related: &["fail", "inconclusive", "exit-status"],
    },
    Topic {
        name: "fail",
        sort: "verdict",
        summary: "what was required did not hold",
        text: "\
            The measured value is beyond the required one, and the offending operations are shown \
            with the calls that they made. A failure stands in spite of small doubts (a fault that \
            acted too seldom, a load that was late): what was seen was enough. It becomes \
            inconclusive where the ground itself is missing: no fault acted, the system was broken \
            before, or observations were dropped.\n\n\
            Fail weighs more than inconclusive, and inconclusive more than pass. Exit status 1.",
        keys: none,
        example: Example::None,
        related: &["pass", "inconclusive", "exit-status"],
    },
    Topic {
        name: "inconclusive",
        sort: "verdict",
        summary: "nothing can be said, and the reason is given",
        text: "\
            A run in which nothing was injected or measured is never green. The commonest reasons, \
            and what to do:\n\n\
            A fault acted on too few events: the load does not reach the dependency; choose \
            another path, another `when`, or lower `min_hits` where so few are right.\n\n\
            Too few samples: 50 requests cannot show 99.9%; let the phase last longer or the load \
            be thicker.\n\n\
            The steady state was not steady: mend the system, the load's `ok`, or give it time to \
            warm up with `ready`.\n\n\
            The load missed its schedule: the machine is too busy for it; lower the rate.\n\n\
            Calls were cut short when the fault was lifted: let the phase be longer than the bound.\n\n\
            Exit status 2.",
        keys: none,
        example: Example::None,
        related: &["pass", "fail", "steady", "min_hits", "exit-status"],
    },
    Topic {
        name: "flake",
        sort: "verdict",
        summary: "a requirement that passed in some repeats and failed in others: no pass",
        text: "\
            `brownout run --repeat N` runs the same scenario against the same system again and \
            again, each time with a seed of its own. Nothing is chosen among the repeats: a \
            requirement that both passed and failed is a flake, whichever came last, and the exit \
            status is 1. Tried until it is green, a system that fails every second time passes \
            three tries in seven of eight cases.\n\n\
            How often such a system fails is stated with its bounds (Clopper-Pearson, 95%): after \
            10 passes without a failure it may still be 26 of 100 runs, after 30 it is 10. Each \
            repeat has reports of its own; `--seed` with a repeat's seed runs it alone.",
        keys: none,
        example: Example::None,
        related: &["pass", "fail", "inconclusive", "exit-status"],
    },
    Topic {
        name: "metastable",
        sort: "outcome",
        summary: "broken though nothing is wrong any more: the system's own work keeps it so",
        text: "\
            Calls that waited too long are asked again, and the queue of those that nobody waits \
            for any more never empties. It begins with a trigger that is large enough and goes on \
            without it, where the load times its attempts is more than the dependency can do.\n\n\
            `brownout metastability` finds the size of the trigger from which a system does not \
            come back, how long it takes from smaller ones, and the largest load at which it \
            still does.",
        keys: none,
        example: Example::None,
        related: &[
            "metastability",
            "overload",
            "recovery",
            "amplification",
            "hold",
        ],
    },
    Topic {
        name: "matrix",
        sort: "command line",
        summary: "every load against every trouble of every dependency, one at a time",
        text: "\
            `brownout matrix` asks what nobody thought of: it needs a system file with its loads, and \
            no scenario. First the system runs without faults, which shows what each load calls; then \
            every dependency is put into every kind of trouble, each time on a system that is \
            started for it; then pairs, where a fallback saved it from one.\n\n\
            A cell says what a load met with: answered, degraded (by a fallback), held (until the \
            trouble was lifted), failed; or that it was not reached, or too few operations say \
            anything, which is never good news. Beside the cells it is found that the system was \
            wedged, that something was done twice when answers were lost (where a ledger or a \
            capture can tell), and that an instance ended.\n\n\
            It requires nothing unless `--fail-on` does. `--write-scenarios` leaves a scenario for \
            each finding, `--budget` tries the most telling first, and `brownout diff` compares two \
            matrix.json.",
        keys: none,
        example: Example::None,
        related: &[
            "metastability",
            "degraded",
            "recovery",
            "no-double-effect",
            "exit-status",
        ],
    },
    Topic {
        name: "metastability",
        sort: "command line",
        summary: "the search for the trigger from which a system does not come back",
        text: "\
            `brownout metastability` tries a trigger (a hang, errors, less capacity, more load) of \
            one size after the other, each so often and each time on a fresh system: load, trigger, \
            trigger gone, and watch. Where the goodput stays below 90% of the baseline for the whole \
            watch, though nothing is wrong any more and the system asks its dependency more often \
            than before, it is metastable. The size is halved between what it comes back from and \
            what it does not.\n\n\
            The answer is an interval with its confidence, never one run: the boundary, how long \
            it takes to come back from smaller triggers (a steep growth is the early warning), and \
            with `--reference` the hidden capacity: the largest load that still comes back. \
            `--require` makes a requirement of it, and `brownout diff` compares two \
            metastability.json.",
        keys: none,
        example: Example::None,
        related: &[
            "metastable",
            "matrix",
            "overload",
            "amplification",
            "exit-status",
        ],
    },
    Topic {
        name: "exit-status",
        sort: "command line",
        summary: "what a build may rely on",
        text: "Of several scenarios the most important status counts.",
        keys: none,
        example: Example::None,
        related: &["pass", "fail", "inconclusive", "flake"],
    },
    Topic {
        name: "ok",
        sort: "outcome",
        summary: "an operation was answered as it should be",
        text: "\
            An operation of a load is ok where its answer matches the load's `ok`: any 2xx unless \
            that says more. With a `then` it is ok only once that came true.",
        keys: none,
        example: Example::None,
        related: &["degraded", "failed", "indeterminate", "load"],
    },
    Topic {
        name: "degraded",
        sort: "outcome",
        summary: "a fallback answered",
        text: "\
            The answer matches the load's `degraded`, which is asked before `ok`: a header that \
            says that it came from a cache, a field, an honest 503. It counts as answered, unless \
            an expectation says `count_degraded = false`.",
        keys: none,
        example: Example::System(
            "[load.ask]\nrate     = \"20/s\"\nrequest  = { path = \"/ask\" }\ndegraded = { header = { x-answered-from = \"cache\" } }\n",
        ),
        related: &["ok", "failed", "fallback", "success-rate"],
    },
    Topic {
        name: "failed",
        sort: "outcome",
        summary: "an operation was answered, and not as it should be",
        text: "\
            The answer matches neither `degraded` nor `ok`, the connection was refused or broken, \
            or what `then` waits for did not come true in time.",
        keys: none,
        example: Example::None,
        related: &["ok", "degraded", "indeterminate"],
    },
    Topic {
        name: "indeterminate",
        sort: "outcome",
        summary: "no answer came in time, and a time-out proves nothing",
        text: "\
            The operation had no answer within the load's `timeout`. Whether the system did what it \
            was asked nobody knows: it counts as not answered, and its work may be delivered or \
            not.",
        keys: none,
        example: Example::None,
        related: &["ok", "failed", "load", "nothing-lost"],
    },
    Topic {
        name: "missed",
        sort: "outcome",
        summary: "an operation that the load itself did not send in time",
        text: "\
            The load is open: it begins operations on its schedule, however slowly they are \
            answered. Where the machine cannot keep up, or more than `in_flight_max` are open, \
            operations are missed, and a pass becomes inconclusive.",
        keys: none,
        example: Example::None,
        related: &["load", "inconclusive"],
    },
    Topic {
        name: "system",
        sort: "system file",
        summary: "what is under test and how it is started",
        text: "\
            A command as an array, its environment, and where it listens. `{port.NAME}` is a free \
            port of each run, `{dependency.NAME.url}` (or `.address`, `.host`, `.port`) the proxy \
            in front of a dependency, and in `env` alone `{env.NAME}` a variable of Brownout's own \
            environment: a password, for one. Braces that are meant as such are doubled.",
        keys: || below(SYSTEM_FILE, "system"),
        example: Example::System(
            "[system]\ncommand = [\"./shop\", \"--port\", \"{port.app}\"]\nenv     = { AWS_ENDPOINT_URL_S3 = \"{dependency.store.url}\", API_KEY = \"{env.SHOP_API_KEY}\" }\nurl     = \"http://127.0.0.1:{port.app}\"\nready   = { path = \"/healthz\", within = \"20s\" }\n",
        ),
        related: &["dependency", "load", "scenario"],
    },
    Topic {
        name: "dependency",
        sort: "system file",
        summary: "what the system calls, each through a proxy",
        text: "\
            Its protocol, what stands behind the proxy (`upstream`), and the role by which \
            scenarios name it, so that they fit anybody's system. The system is led through the \
            proxy by its own setting, by `hosts` where a library has the host wired in, or by a \
            fixed `listen`.",
        keys: || below(SYSTEM_FILE, "dependency"),
        example: Example::System(
            "[dependency.db]\nprotocol = \"postgres\"\nrole     = \"database\"\nupstream = \"127.0.0.1:5432\"\n",
        ),
        related: &["system", "http", "postgres", "s3"],
    },
    Topic {
        name: "load",
        sort: "system file",
        summary: "requests that are driven at the system",
        text: "\
            Open loop: operations begin at their rate, at random unless `arrivals` says otherwise, \
            however slowly they are answered; latency counts from the intended start. A phase may \
            change the rate: `load = { ask = \"10x\" }`.",
        keys: || below(SYSTEM_FILE, "load"),
        example: Example::System(
            "[load.ask]\nrate    = \"40/s\"\nrequest = { method = \"POST\", path = \"/bots/{bot}\", json = { id = \"{uuid}\" } }\nvars    = { bot = { zipf = 1.1, of = 200 } }\ntimeout = \"5s\"\n",
        ),
        related: &["ok", "degraded", "indeterminate", "ingress", "success-rate"],
    },
    Topic {
        name: "ingress",
        sort: "system file",
        summary: "a door in front of the system, through which other people's load is measured",
        text: "\
            Where k6, Locust, a browser or the team's own tests make the load, they are sent to \
            this address, and their operations are judged like those of a load of its name.",
        keys: || below(SYSTEM_FILE, "ingress"),
        example: Example::System("[ingress]\nlisten = \"127.0.0.1:8090\"\n"),
        related: &["load", "system"],
    },
    Topic {
        name: "ledger",
        sort: "system file",
        summary: "which work was accepted and which was delivered",
        text: "\
            Every id that a load had accepted ends as delivered, lost or indeterminate; every \
            delivery is of something that was asked for, or too much. Ids come from captures of \
            the load and of the dependency that work is delivered to.",
        keys: || below(SYSTEM_FILE, "ledger"),
        example: Example::System(
            "[dependency.mail]\nprotocol = \"http\"\nupstream = \"embedded:sink\"\n\n[load.order]\nrate    = \"10/s\"\nrequest = { method = \"POST\", path = \"/orders\" }\ncapture = { id = \"json:/id\" }\n\n[ledger.orders]\naccepted  = { load = \"order\", id = \"id\" }\ndelivered = { dependency = \"mail\", id = \"json:/order\" }\n",
        ),
        related: &["nothing-lost", "no-duplicates", "drain", "fresh-first"],
    },
    Topic {
        name: "scenario",
        sort: "scenario file",
        summary: "an outage and what is required of the system in it",
        text: "\
            First a steady phase, then phases with faults, last a phase without any in which the \
            system must find back; and at least one expectation. `brownout plan` shows what would \
            happen when.",
        keys: || SCENARIO_FILE,
        example: Example::Scenario(WHOLE),
        related: &["phase", "fault", "expectation", "system"],
    },
    Topic {
        name: "phase",
        sort: "scenario file",
        summary: "a stretch of time with its faults",
        text: "\
            Faults come into force when their phase begins, also on connections that are open, and \
            are lifted when it ends. A call that is still open then is cut short: it took at least \
            so long. `happened` says what the phase stands for on the real clock.",
        keys: || below(SCENARIO_FILE, "phase"),
        example: Example::Scenario(WHOLE),
        related: &["steady", "fault", "hold", "scenario"],
    },
    Topic {
        name: "steady",
        sort: "scenario file",
        summary: "the first phase, the baseline that all is held against",
        text: "\
            In a steady phase at least 99% of each load's operations are answered, the load keeps \
            its schedule, no instance exits, and no fault is in force. Where that does not hold \
            nothing can be said about the outage: the system was broken before.",
        keys: none,
        example: Example::Scenario(WHOLE),
        related: &["phase", "recovery", "inconclusive"],
    },
    Topic {
        name: "hold",
        sort: "scenario file",
        summary: "how long everything must hold before recovery counts",
        text: "\
            Recovery is the start of the first stretch of this length in which every criterion of \
            the steady state held in every second (5s). A longer one is surer and needs a longer \
            last phase.",
        keys: none,
        example: Example::Scenario(WHOLE),
        related: &["recovery", "failover", "phase"],
    },
    Topic {
        name: "fault",
        sort: "scenario file",
        summary: "what goes wrong, on which dependency, and for which requests of it",
        text: "\
            `on` names a role, a dependency or `instance:NAME`. Of what `when` lets through, \
            `share` draws, and `first`, `every` and `after` count. The same seed draws the same: \
            by request from the logical request, by key so that the same keys fail every time.\n\n\
            Several faults on one request are asked in the file's order: delays add, and the first \
            that ends the exchange ends the round.",
        keys: || gate::KEYS,
        example: Example::Scenario(WHOLE),
        related: &["hang", "error", "overload", "min_hits", "phase"],
    },
    Topic {
        name: "min_hits",
        sort: "scenario file",
        summary: "on how many events a fault must act before its phase shows anything",
        text: "\
            A fault that acted on fewer events than this (1) makes the verdicts of its phase \
            inconclusive: the outage that was to be rehearsed did not take place. Where none of \
            the faults acted even failures are.",
        keys: none,
        example: Example::Scenario(WHOLE),
        related: &["fault", "inconclusive"],
    },
    Topic {
        name: "expectation",
        sort: "scenario file",
        summary: "what must hold, and over which phases",
        text: "\
            `that` says it in words, for the report; `kind` says what is measured. Without `during` \
            a kind is judged where it makes sense: over the phases with faults, the recovery, or \
            the whole run.",
        keys: || EXPECT_KEYS,
        example: Example::Scenario(WHOLE),
        related: &["success-rate", "gives-up", "recovery", "pass"],
    },
];
