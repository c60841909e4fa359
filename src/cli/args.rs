//! What can be typed.

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use std::{path::PathBuf, time::Duration};

/// Rehearses outages: makes a system's dependencies fail the way real ones have failed, and says
/// with evidence whether the system behaved as required.
#[derive(Debug, Parser)]
#[command(
    name = "brownout",
    version,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "\
Examples:
  brownout init                              begin with your own system
  brownout run scenarios/                    run every scenario of a folder
  brownout run outage.toml --system my.toml  the same outage for your own system
  brownout check scenarios/                  find all mistakes in the files
  brownout explain hang                      what a fault does, and how it is written

Exit status: 0 pass, 1 fail, 2 inconclusive, 64 usage or file problem, 69 the system or a
dependency could not be started, 70 a bug in Brownout, 130 interrupted. Of several scenarios
the most important one counts: 130, 70, 69, 64, 1, 2, 0."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a system file and a first scenario for your own system.
    Init(Init),
    /// Run scenarios against a system and judge them.
    Run(Run),
    /// Try every kind of trouble on every dependency, and show what each load met with.
    Matrix(Matrix),
    /// Find all mistakes in scenario and system files, without starting anything.
    Check(Check),
    /// Show what would happen and when, without starting anything.
    Plan(Plan),
    /// Judge a recorded history again.
    Judge(Judge),
    /// Compare two runs: what changed, and whether that is more than chance.
    Diff(Diff),
    /// Render a saved run again, also by a template of your own.
    Report(Report),
    /// Find the trigger from which a system does not come back.
    Metastability(Metastability),
    /// See on this machine that red is red: verdicts on systems that are known.
    #[cfg(feature = "demo")]
    Selftest(Selftest),
    /// Show what files may name, with an example each.
    List(List),
    /// Explain a word: a fault, an expectation, a protocol, a verdict, a part of a file.
    Explain(Explain),
    /// Print the JSON Schema of scenario or system files, for editors, or of report.json.
    Schema(Schema),
    /// Answer Toxiproxy's API: proxies that your tests make fail.
    Serve(Serve),
    /// Look at the proxies of a running server, and change them.
    Ctl(Ctl),
    /// Print a script that completes what is typed, for a shell.
    Completions(Completions),
    /// Print the manual page, or that of one command.
    Man(Man),
}

/// `brownout init`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brownout init                              look around here, ask, and write
  brownout init --yes --path /orders         no questions
  brownout init --command './api --port {port.app}' --depends DATABASE_URL=postgres://localhost/app
  brownout init --dry-run shop/              print what would be written for the folder shop
  brownout init --host api.segment.io        a third party that a library calls by its name
  brownout init --external http://127.0.0.1:8000 --depends API_URL=http://10.0.0.7

It looks at .env and .env.*, at the compose file, and at Procfile, package.json, manage.py,
Dockerfile and the like, and writes DIR/brownout.toml and DIR/scenarios/first-outage.toml: both or
none, and never over what is there. On a terminal it asks for what no option says; else it takes
what it found and says what it assumed. Secrets are neither copied nor printed: what a variable
holds of a password becomes {env.NAME}, which brownout run takes from its own environment.
A dependency that is not on this machine is replaced by a built-in server, or by one that you start
on the same port here. A variable that leads to another host and could not be made a dependency
stays as it is: that is said, and the file says how to keep a rehearsal from going there.")]
pub struct Init {
    /// The folder of the system.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath, default_value = ".")]
    pub dir: PathBuf,
    /// How the system is started; {port.app} stands for its port.
    #[arg(long, value_name = "LINE")]
    pub command: Option<String>,
    /// The URL of a system that somebody else starts.
    #[arg(long, value_name = "URL", conflicts_with_all = ["command", "port", "ready", "host"])]
    pub external: Option<String>,
    /// The port that it listens on: a number, or the variable that it takes it from.
    #[arg(long, value_name = "PORT|VARIABLE")]
    pub port: Option<String>,
    /// A path that answers 2xx when it is ready; empty for: as soon as the port accepts.
    #[arg(long, value_name = "PATH")]
    pub ready: Option<String>,
    /// The path that the load asks for.
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// The load's rate, like 20/s.
    #[arg(long, value_name = "RATE")]
    pub rate: Option<String>,
    /// What it depends on, beside what is found: a variable of its environment and its URL.
    #[arg(long, value_name = "VARIABLE=URL")]
    pub depends: Vec<String>,
    /// A host that it calls by name, like api.segment.io or *.pusher.com: it is led there through a
    /// forward proxy.
    #[arg(long, value_name = "HOST")]
    pub host: Vec<String>,
    /// The dependency that fails in the scenario.
    #[arg(long, value_name = "NAME")]
    pub failing: Option<String>,
    /// The compose file's service that is the system.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Asks nothing.
    #[arg(long, short)]
    pub yes: bool,
    /// Replaces files that are there.
    #[arg(long)]
    pub force: bool,
    /// Prints the files in place of writing them.
    #[arg(long)]
    pub dry_run: bool,
}

/// `brownout run`.
#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  brownout run scenarios/
  brownout run scenarios/ada-2017-s3.toml --system ./brownout.toml --seed 42
  brownout run scenarios/ --out target/brownout --jobs 4 --quiet
  brownout run scenarios/ --annotations github --append-summary "$GITHUB_STEP_SUMMARY"
  brownout run outage.toml --repeat 20       find out whether it passes every time

The verdicts go to standard output, progress to standard error. Into --out go report.html,
report.json, junit.xml and summary.md, and for each scenario a folder with its history.jsonl and
the output of what was started. A history of more than 16 MiB whose run ended in order is packed by
gzip once it is judged: history.jsonl.gz.

With --repeat every scenario is run again and again, one repeat after another, each with a seed of
its own and a folder repeat-K with reports of its own. Nothing is chosen among the repeats: one that
fails is a fail, and a requirement that both passed and failed is reported as a flake. A sequential
test ends the series as soon as the repeats tell a system of which at most 2 % of the runs fail from
one of which 20 % do: after 15 passes in a row, or 2 failures among the first 10."#)]
pub struct Run {
    /// Scenario files, or folders with scenario files directly in them.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The system under test, in place of the one that the scenario names.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub system: Option<PathBuf>,
    /// Where reports and histories go.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = "brownout-report")]
    pub out: PathBuf,
    /// Repeats the decisions of the run that had this seed; a fresh one by default.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Runs every scenario so often at most, and reports flakes as flakes.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub repeat: Option<u32>,
    /// Carries out every repeat, also where fewer decide.
    #[arg(long, requires = "repeat")]
    pub all_repeats: bool,
    /// Shortens the phases by this factor, never the faults' own times.
    #[arg(long, value_name = "FACTOR", default_value = "1x", value_parser = speed)]
    pub speed: f64,
    /// How many scenarios run side by side; three for each core where it is not given, because a
    /// scenario waits more than it works. Those that share a fixed port or a real server run one after
    /// another all the same.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: Option<u16>,
    /// Where results go as well.
    #[command(flatten)]
    pub publish: Publish,
    /// No progress, only the verdicts.
    #[arg(long, short)]
    pub quiet: bool,
    /// Progress with every detail.
    #[arg(long, short, conflicts_with = "quiet")]
    pub verbose: bool,
}

/// `brownout matrix`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brownout matrix --system brownout.toml
  brownout matrix --system brownout.toml --on s3 --fault hang --fault error
  brownout matrix --system brownout.toml --budget 5m --fail-on wedged
  brownout matrix --system brownout.toml --write-scenarios found/

The load is that of the system's file. First it runs without any fault: it must be healthy, or
nothing is tried; and each load is alone for a while, which shows what it calls. Then every kind of
trouble is tried on every dependency that a load calls, each on a system that was started for it:
hang, error, too-slow, lost-reply, reset, restart, quota, slow. Where the system came through by
calling another dependency instead, that one is put in trouble as well.

The table goes to standard output, progress to standard error. Into --out go matrix.html,
matrix.json and junit.xml, and for each trial a folder with its history.jsonl and the output of what
was started.

With --budget the most telling trials come first: kinds in the order above, and of each kind the
dependencies that most loads call. What there was no time for is listed.

Exit status: 0 it was measured, whatever was found; 1 something was found that --fail-on names; 2 the
system was not healthy without faults, nothing could be measured, or a trial shows nothing; 64 usage
or file problem; 69 the system could not be started; 130 interrupted (what was done so far is
written).")]
pub struct Matrix {
    /// The system, with its dependencies and its load.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, default_value = "brownout.toml")]
    pub system: PathBuf,
    /// Only this dependency, by its name or role; can be given several times.
    #[arg(long, value_name = "NAME")]
    pub on: Vec<String>,
    /// Only this kind of trouble; can be given several times.
    #[arg(long, value_name = "KIND", value_parser = super::matrix::kind)]
    pub fault: Vec<crate::matrix::Kind>,
    /// Begins no trial that would probably end later than this.
    #[arg(long, value_name = "TIME", value_parser = length)]
    pub budget: Option<Duration>,
    /// Fails where this is found; can be given several times.
    #[arg(long, value_name = "WHAT")]
    pub fail_on: Vec<super::matrix::FailOn>,
    /// Leaves a scenario for each trial in which something was found, which requires that it is not
    /// so.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub write_scenarios: Option<PathBuf>,
    /// Where reports and histories go.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = "brownout-matrix")]
    pub out: PathBuf,
    /// How long the system is watched before each trouble.
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = length)]
    pub steady: Duration,
    /// How long each trouble lasts; by default 2s more than the most patient load waits, at least 5s
    /// and at most 20s.
    #[arg(long, value_name = "TIME", value_parser = length)]
    pub lasts: Option<Duration>,
    /// How long the system has to be as before; then it is wedged.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = length)]
    pub recovery: Duration,
    /// How long everything must then hold; longer where answers were lost, for what is tried again late.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = length)]
    pub hold: Duration,
    /// Repeats the decisions of the matrix that had this seed; a fresh one by default.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How many trials go on side by side, each on a system of its own; by default one, and one for
    /// each core (at most 4) where all that the system depends on is started with it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: Option<u16>,
    /// No progress, only the table.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Where results go beside standard output and `--out`.
#[derive(Debug, Args)]
pub struct Publish {
    /// Shows what did not pass beside the expectations in the files of a change, by lines on
    /// standard output that the build server reads. Never done unasked.
    #[arg(long, value_name = "SERVER")]
    pub annotations: Option<Annotations>,
    /// Appends the summary in Markdown to a file: on GitHub to "$GITHUB_STEP_SUMMARY".
    #[arg(long, value_name = "FILE")]
    pub append_summary: Option<PathBuf>,
}

/// The build servers that annotations can be made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Annotations {
    /// Workflow commands of GitHub Actions.
    Github,
}

/// `brownout check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brownout check scenarios/
  brownout check scenarios/ada-2017-s3.toml --system ./brownout.toml
  brownout check brownout.toml               a system file alone

Exit status 0 where nothing keeps a run from starting (there may be warnings), else 64.")]
pub struct Check {
    /// Scenario files, system files, or folders with scenario files directly in them.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The system under test, in place of the one that the scenario names.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub system: Option<PathBuf>,
}

/// `brownout plan`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brownout plan scenarios/ada-2017-s3.toml
  brownout plan scenarios/ --speed 4x")]
pub struct Plan {
    /// Scenario files, or folders with scenario files directly in them.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The system under test, in place of the one that the scenario names.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub system: Option<PathBuf>,
    /// Shortens the phases by this factor, never the faults' own times.
    #[arg(long, value_name = "FACTOR", default_value = "1x", value_parser = speed)]
    pub speed: f64,
}

/// `brownout judge`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brownout judge brownout-report/ada-2017-s3/history.jsonl
  brownout judge history.jsonl --scenario stricter.toml --out judged/

A history carries the files that it was made with; nothing else is needed. Where it was packed, the
name that it had finds it too.")]
pub struct Judge {
    /// The history of a run, also of one that was killed; plain, or packed by gzip.
    #[arg(value_name = "HISTORY", value_hint = ValueHint::FilePath)]
    pub history: PathBuf,
    /// Judges by this scenario's expectations; its phases must be those of the history.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub scenario: Option<PathBuf>,
    /// Writes report.html, report.json, junit.xml and summary.md there.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// Where results go as well.
    #[command(flatten)]
    pub publish: Publish,
}

/// `brownout diff`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brownout diff main/brownout-report brownout-report
  brownout diff old/report.json new/report.json --format markdown >> \"$GITHUB_STEP_SUMMARY\"
  brownout diff old/ new/ --out diff.html --noise 30%
  brownout diff main/brownout-matrix brownout-matrix

Scenarios are matched by their file, requirements by their id. Shares and counts are tested
exactly (Fisher's test, the binomial test), percentiles by the operations beyond them; operations
that share their second count for less where they share their fate. The chance that anything at
all is called a change where nothing changed is at most 5 % (Holm). What a run has only once,
like the time until it was steady again, has no interval: it must differ by half and by 5 s, and
by the scenario's `hold` besides.

How often clients try and when they give up is compared as it was inferred from the wire. Where
either is certainly another than before the policy changed, which is a regression for whoever
changed nothing; if it was meant to, say `--allow-policy-changes`.

Two matrices, or two searches for metastability, are compared in the same way: of a matrix.json what
each load met with in each trouble, what became of the system, and what its clients did; of a
metastability.json whether the boundary moved outside its interval, by more runs than chance
explains.

Exit status: 0 no regression, 1 a requirement that passed fails, a measure is worse or a policy
changed, 2 none of these is seen but it cannot be told (a scenario is missing; a run broke off or is
in doubt, or the new one is inconclusive; the outage or a load is another; of a requirement nothing
can be told; something was lost or done twice and nothing was before; nothing could be tested), 64
usage or file problem.")]
pub struct Diff {
    /// The run to compare with: a report.json, a folder with one, or a history.jsonl, plain or packed; or
    /// a matrix.json or metastability.json, or a folder with one.
    pub old: PathBuf,
    /// The run to compare.
    pub new: PathBuf,
    /// A smaller change does not matter, however certain it is: of times and counts this part of
    /// the old (and of times 50 ms), of shares a tenth of it in points.
    #[arg(long, value_name = "PERCENT", default_value = "20%", value_parser = noise)]
    pub noise: f64,
    /// Clients may try more or less often than before, and give up sooner or later.
    #[arg(long)]
    pub allow_policy_changes: bool,
    /// How it is written; by default as the name of --out ends, or for the terminal.
    #[arg(long, value_name = "FORMAT", value_parser = ["terminal", "markdown", "html", "json"])]
    pub format: Option<String>,
    /// Writes to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `brownout report`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brownout report brownout-report                         the verdicts, at the terminal
  brownout report brownout-report --out report.html
  brownout report brownout-report --format markdown
  brownout report brownout-report --template team.md.j2 --out team.md

A template is Jinja's, and sees the fields of report.json; `duration` puts microseconds into
words:

  {{ status }}: {{ scenarios|length }} scenarios
  {% for one in scenarios %}
  - {{ one.title }}, in {{ one.duration_us|duration }}
  {%- for verdict in one.verdicts if verdict.status != \"pass\" %}
    - {{ verdict.id }} {{ verdict.that }}: {{ verdict.measured }}
  {%- endfor %}
  {% endfor %}

In a template or output that ends in .html or .xml (or .html.j2) values are escaped. A field that
is not there is an error: ask for it with `is defined`.

Charts and waterfalls come from the histories beside the report. Nothing is judged (that is
`brownout judge`): the exit status is 0, or 64 for a usage or file problem.")]
pub struct Report {
    /// The run: the folder that --out named, its report.json, or a history.jsonl, plain or packed.
    pub run: PathBuf,
    /// How it is written; by default as the name of --out ends, or for the terminal.
    #[arg(long, value_name = "FORMAT",
        value_parser = clap::builder::PossibleValuesParser::new(super::report::formats()))]
    pub format: Option<String>,
    /// Fills this template instead.
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    pub template: Option<PathBuf>,
    /// Writes to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `brownout metastability`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brownout metastability brownout.toml --on db --trigger hang --between 100ms..20s
  brownout metastability brownout.toml --on db --trigger hang --between 1s..30s --require 5s
  brownout metastability brownout.toml --on db --trigger error --for 10s --between 10%..100%

Each run starts a fresh system, drives the load at a fixed rate, applies the trigger, lifts it, and
watches. The system is back when 90 % of what was answered before is answered again. It is metastable
when it is not, for the whole watch, while nothing is wrong any more and it asks the dependency more
than before. The sizes from A to B are tried, both ends first, then between the largest from which
every run comes back and the smallest from which none does. With --reference the load is searched as
well, for the largest from which the system comes back after that trigger: its hidden capacity.

What is varied follows from the unit of --between: how long the trigger lasts (2s), or, with --for,
how deep it is (50%, or 3x for --trigger load). A dependency that is not the real one may have no
capacity of its own to run out of: give it one with --capacity, in the words of the fault `overload`:
--capacity 'servers = 4, service = \"10ms\"'. --trigger capacity takes part of it away, and --trigger
load drives more at it.

Exit status: 0 measured, also where the boundary lies outside the range, which is said; 1 a trigger
as small as --require wedges the system; 2 it could not be measured; 64 usage or file problem; 69 the
system or a dependency could not be started; 130 interrupted.")]
pub struct Metastability {
    /// The system file.
    #[arg(value_name = "SYSTEM", value_hint = ValueHint::FilePath)]
    pub system: PathBuf,
    /// The dependency, by its name or role.
    #[arg(long, value_name = "DEPENDENCY")]
    pub on: String,
    /// The load; may be left out where there is one alone.
    #[arg(long, value_name = "LOAD")]
    pub load: Option<String>,
    /// What goes wrong for a while.
    #[arg(long, value_name = "KIND")]
    pub trigger: Trigger,
    /// The sizes to search between: times, or with --for shares or factors.
    #[arg(long, value_name = "A..B")]
    pub between: String,
    /// How long the trigger lasts, where its depth is varied.
    #[arg(long = "for", value_name = "TIME", value_parser = length)]
    pub lasts: Option<Duration>,
    /// How deep it is, where its length is varied: the share of the requests (100%) or of the
    /// capacity (99%), or for --trigger load a factor (3x).
    #[arg(long, value_name = "SHARE|FACTOR", conflicts_with = "lasts")]
    pub depth: Option<String>,
    /// The dependency's own capacity, before, during and after the trigger: keys of `overload`.
    #[arg(long, value_name = "KEYS")]
    pub capacity: Option<String>,
    /// The trigger for which the largest load is found that comes back.
    #[arg(long, value_name = "SIZE")]
    pub reference: Option<String>,
    /// The system must come back from every trigger up to this size.
    #[arg(long, value_name = "SIZE")]
    pub require: Option<String>,
    /// Runs of each size.
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(3..=100))]
    pub repeats: u32,
    /// How closely the boundary is to be known, as a part of its lower end.
    #[arg(long, value_name = "PERCENT", default_value = "25%", value_parser = noise)]
    pub precision: f64,
    /// How long the system is watched before the trigger.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = length)]
    pub baseline: Duration,
    /// How long it is watched after the trigger. It should be ten times as long as the system's client
    /// tries, all attempts together; by default so much of what the dependency's policy declares, or of
    /// the load's time-out where that is longer or nothing is declared, and an hour at most.
    #[arg(long, value_name = "TIME", value_parser = length)]
    pub watch: Option<Duration>,
    /// Begins no further size once this time is over.
    #[arg(long, value_name = "TIME", value_parser = length)]
    pub budget: Option<Duration>,
    /// Repeats the runs of the search that had this seed; a fresh one by default.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How many runs of a size go on side by side.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
    /// Where the report and the histories go.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = "brownout-metastability")]
    pub out: PathBuf,
    /// No progress, only what was found.
    #[arg(long, short)]
    pub quiet: bool,
}

/// What goes wrong for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Trigger {
    /// Requests hang.
    Hang,
    /// Requests fail with an error of the protocol.
    Error,
    /// Part of the dependency's capacity is gone.
    Capacity,
    /// The load is a multiple of its own rate.
    Load,
}

/// `brownout selftest`.
#[cfg(feature = "demo")]
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brownout selftest                          a minute: does it tell good from bad here?
  brownout selftest --only herd --only queue
  brownout selftest --rounds 20 --noise --json selftest.json

A verdict can be relied on only where a wrong one would be noticed. This runs small planted systems
of which it is known whether they bear an outage, through the very proxy, load, history and judge
that your own systems meet: each without its flaw (must pass), with it (must fail, and for that
reason), and in a run that measures nothing (must be inconclusive). Whether a verdict can be had
depends on the machine too, which may be too busy to keep a load's schedule: do it on yours, and on
that of your builds, to see there that red is red.

With --noise two further processes keep a core busy each. A run is weighed first. One that is wrong
stands; one that is unclear because its own load missed its schedule is made again, twice at most.
Its last try counts, and how many tries were unclear is said as well. What was not as it should be
stays in --out, with the files and the history of the run. A folder there that a run would need and
that exists already is refused, and nothing is started.

Exit status: 0 not one verdict is wrong, and of no twin more than 1 of 20 runs were unclear (so that
in fewer than 20 rounds none may be); 1 a verdict is wrong; 2 too many were unclear, or the noise did
not last; 64 usage problem; 130 interrupted (what was seen so far is shown).")]
pub struct Selftest {
    /// How often every twin is run.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: u32,
    /// Only this planted system; can be given several times.
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// How many runs go on side by side; by default four for each core, because they
    /// wait more than they work.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: Option<u16>,
    /// Keeps two cores busy meanwhile, as a build server's other jobs do.
    #[arg(long)]
    pub noise: bool,
    /// Writes what was seen to this file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub json: Option<PathBuf>,
    /// Where runs are kept that were not as they should be.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = "brownout-selftest")]
    pub out: PathBuf,
    /// No progress, only the table.
    #[arg(long, short)]
    pub quiet: bool,
}

/// `brownout explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brownout explain hang                      what it does, its keys, what is often got wrong
  brownout explain gives-up                  what evidence it uses, and when it is inconclusive
  brownout explain inconclusive              why nothing could be said, and what to do
  brownout explain                           every word that can be explained")]
pub struct Explain {
    /// The word.
    #[arg(value_name = "NAME", value_parser = Suggested(super::explain::names), hide_possible_values = true)]
    pub name: Option<String>,
}

/// `brownout list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brownout list faults
  brownout list expectations success-rate    its keys and an example
  brownout list protocols")]
pub struct List {
    /// What to list.
    pub subject: Subject,
    /// Only this one, with all its keys.
    pub name: Option<String>,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Subject {
    /// What can go wrong.
    Faults,
    /// What can be required.
    Expectations,
    /// What a dependency can speak.
    Protocols,
}

/// `brownout schema`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brownout schema scenario > scenario.schema.json
  brownout schema system > brownout.schema.json
  brownout schema report > report.schema.json

Without a name all are printed, in one object.")]
pub struct Schema {
    /// Which file.
    pub file: Option<SchemaFile>,
}

/// The files that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaFile {
    /// An outage and what is required in it.
    Scenario,
    /// The system under test.
    System,
    /// What a run leaves for other programs: report.json.
    Report,
    /// What a matrix leaves for them: matrix.json.
    Matrix,
    /// What a search leaves for them: metastability.json.
    Metastability,
    /// A line of what every run leaves: history.jsonl.
    History,
}

/// `brownout serve`.
#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  brownout serve                             as toxiproxy-server: clients find it where they look
  brownout serve --port 0                    on a free port, which it prints
  brownout serve --config proxies.json --seed 42 --proxy-metrics
  brownout serve --system brownout.toml      its dependencies stand; switch faults at http://localhost:8474
  brownout serve --system brownout.toml --scenarios scenarios/
  curl -H 'X-Brownout: 1' --json '{"on": "s3", "kind": "hang", "ttl": "30s"}' localhost:8474/api/v1/faults
  BROWNOUT_TOKEN=$(openssl rand -hex 16) brownout serve --host 0.0.0.0

It understands what Toxiproxy's clients send, in every language, and its options also with one
dash: `-host=localhost -port 8474`. Which connections a toxic of a toxicity below 1 acts on is decided by the seed.

On an address that others can reach it wants a token, as a bearer token or as the password of
http://any:TOKEN@HOST:PORT. No page in a browser is answered but its own.

Faults that are switched on at its page or over its own API (/api/v1/openapi.json) end by themselves.
A scenario of --scenarios is run against the system of --system, whose programs are the only ones
that are started; what it leaves is written below --runs.

It prints where it listens, tells what happens on standard error (LOG_LEVEL=error: only what went
wrong), and ends with 0 on SIGINT or SIGTERM, and with --until-stdin-closes also at the end of its
standard input: a program that starts it through a pipe takes it along even when it is killed."#)]
pub struct Serve {
    /// Where the API listens; a name, or an address.
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    pub host: String,
    /// Its port; 0 for one that is free.
    #[arg(long, value_name = "PORT", default_value_t = crate::control::PORT)]
    pub port: u16,
    /// Proxies to begin with, as JSON: what a client would send to /populate.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Repeats what was decided by chance with this seed; a fresh one by default.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = seed)]
    pub seed: Option<u64>,
    /// Counts the bytes of each proxy, at /metrics.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true", hide_default_value = true, hide_possible_values = true)]
    pub proxy_metrics: bool,
    /// Tells what the process itself takes, at /metrics.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true", hide_default_value = true, hide_possible_values = true)]
    pub runtime_metrics: bool,
    /// What clients must know; best set by its variable, where no list of processes shows it.
    #[arg(
        long,
        value_name = "TOKEN",
        env = crate::process::TOKEN,
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// The system's file: its dependencies stand from the beginning, and scenarios are run against
    /// it.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub system: Option<PathBuf>,
    /// The folder whose scenarios may be run, by their files' names.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, requires = "system")]
    pub scenarios: Option<PathBuf>,
    /// Where runs are written, each to a folder of its own.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = "brownout-report")]
    pub runs: PathBuf,
    /// Ends when its standard input is closed: with the program that holds the other end of the pipe,
    /// however that ends.
    #[arg(long)]
    pub until_stdin_closes: bool,
    /// Prints which version of Toxiproxy's API this is.
    #[arg(long)]
    pub version: bool,
}

/// `brownout ctl`.
#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  brownout ctl create --listen localhost:26379 --upstream localhost:6379 redis
  brownout ctl toxic add --type latency --attribute latency=1000 --attribute jitter=50 redis
  brownout ctl toxic add --type redis_error --attribute error=LOADING --toxicity 0.3 redis
  brownout ctl toxic update --name latency_downstream --attribute latency=200 redis
  brownout ctl toxic remove --name latency_downstream redis
  brownout ctl toggle redis
  brownout ctl inspect redis
  brownout ctl reset

It asks the server that `brownout serve` runs, or any other that answers Toxiproxy's API. What it
prints is in columns between tabs: of a proxy its name, where it listens, where it leads, enabled or
disabled, and how many toxics it has."#)]
pub struct Ctl {
    /// The server: http://HOST:PORT, or http://any:TOKEN@HOST:PORT.
    #[arg(
        long,
        value_name = "URL",
        env = "TOXIPROXY_URL",
        hide_env_values = true,
        default_value = "http://localhost:8474",
        global = true
    )]
    pub host: String,
    /// What the server wants to know.
    #[arg(
        long,
        value_name = "TOKEN",
        env = crate::process::TOKEN,
        hide_env_values = true,
        global = true
    )]
    pub token: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: CtlCommand,
}

/// What can be done with a running server.
#[derive(Debug, Subcommand)]
pub enum CtlCommand {
    /// Show every proxy.
    #[command(visible_aliases = ["l", "li", "ls"])]
    List,
    /// Show a proxy and its toxics.
    #[command(visible_aliases = ["i", "ins"])]
    Inspect(OneProxy),
    /// Make a proxy.
    #[command(visible_aliases = ["c", "new"])]
    Create(NewProxy),
    /// Enable a proxy that is disabled, and the other way round.
    #[command(visible_alias = "tog")]
    Toggle(OneProxy),
    /// Remove a proxy.
    #[command(visible_alias = "d")]
    Delete(OneProxy),
    /// Enable every proxy and remove every toxic.
    Reset,
    /// Add, change and remove toxics.
    #[command(subcommand, visible_alias = "t")]
    Toxic(ToxicCommand),
}

/// A proxy that is there.
#[derive(Debug, Args)]
pub struct OneProxy {
    /// The proxy.
    #[arg(value_name = "PROXY")]
    pub proxy: String,
}

/// A proxy that is to be there.
#[derive(Debug, Args)]
pub struct NewProxy {
    /// Where it listens; by default on a free port.
    #[arg(long, short, value_name = "HOST:PORT", default_value = "localhost:0")]
    pub listen: String,
    /// Where it leads.
    #[arg(long, short, value_name = "HOST:PORT")]
    pub upstream: String,
    /// What is spoken, where toxics are to know it from the start: http, s3, redis, postgres …
    #[arg(long, value_name = "NAME")]
    pub protocol: Option<String>,
    /// Made, and not enabled.
    #[arg(long)]
    pub disabled: bool,
    /// Its name.
    #[arg(value_name = "PROXY")]
    pub proxy: String,
}

/// What can be done with toxics.
#[derive(Debug, Subcommand)]
pub enum ToxicCommand {
    /// Add a toxic to a proxy.
    #[command(visible_alias = "a")]
    Add(NewToxic),
    /// Change a toxic; what is not said stays.
    #[command(visible_alias = "u")]
    Update(ChangedToxic),
    /// Remove a toxic.
    #[command(visible_aliases = ["r", "delete", "d"])]
    Remove(OldToxic),
}

/// A toxic that is to be there.
#[derive(Debug, Args)]
pub struct NewToxic {
    /// What it does: latency, timeout, http_error …
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    pub kind: String,
    /// Its name; by default its type and its direction.
    #[arg(long, short, value_name = "NAME")]
    pub name: Option<String>,
    /// The share of the connections that it acts on, 0 to 1.
    #[arg(
        long,
        visible_alias = "tox",
        value_name = "SHARE",
        default_value_t = 1.0
    )]
    pub toxicity: f32,
    /// What it is told; may be given several times.
    #[arg(long = "attribute", short = 'a', value_name = "KEY=VALUE")]
    pub attributes: Vec<String>,
    /// On what clients send.
    #[arg(long, short)]
    pub upstream: bool,
    /// On what clients are sent; this is the default.
    #[arg(long, short, conflicts_with = "upstream")]
    pub downstream: bool,
    /// The proxy.
    #[arg(value_name = "PROXY")]
    pub proxy: String,
}

/// A toxic that is to be another.
#[derive(Debug, Args)]
pub struct ChangedToxic {
    /// Its name.
    #[arg(long, short, value_name = "NAME")]
    pub name: String,
    /// The share of the connections that it acts on, 0 to 1.
    #[arg(long, visible_alias = "tox", value_name = "SHARE")]
    pub toxicity: Option<f32>,
    /// What it is told; may be given several times.
    #[arg(long = "attribute", short = 'a', value_name = "KEY=VALUE")]
    pub attributes: Vec<String>,
    /// The proxy.
    #[arg(value_name = "PROXY")]
    pub proxy: String,
}

/// A toxic that is not to be there.
#[derive(Debug, Args)]
pub struct OldToxic {
    /// Its name.
    #[arg(long, short, value_name = "NAME")]
    pub name: String,
    /// The proxy.
    #[arg(value_name = "PROXY")]
    pub proxy: String,
}

/// `brownout completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brownout completions bash > ~/.local/share/bash-completion/completions/brownout
  brownout completions zsh > ~/.zfunc/_brownout      with fpath+=~/.zfunc before compinit
  brownout completions fish > ~/.config/fish/completions/brownout.fish")]
pub struct Completions {
    /// The shell that is to complete.
    pub shell: Shell,
}

/// `brownout man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brownout man > ~/.local/share/man/man1/brownout.1
  brownout man run > ~/.local/share/man/man1/brownout-run.1
  brownout man | man -l -                    read it without installing it")]
pub struct Man {
    /// The page of this command, in place of the one about Brownout as a whole.
    #[arg(value_name = "COMMAND", value_parser = Suggested(super::man::pages), hide_possible_values = true)]
    pub command: Option<String>,
}

/// A word that shells complete from these, and that the command itself answers where it is none of
/// them.
#[derive(Clone)]
struct Suggested(fn() -> Vec<String>);

impl TypedValueParser for Suggested {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.0)().into_iter().map(PossibleValue::new)))
    }
}

/// The slowest and the fastest that phases may go.
const SPEED: std::ops::RangeInclusive<f64> = 0.01..=1_000.0;

/// Reads `4x`, `0.5x` or `4`.
fn speed(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('x').unwrap_or(text);
    number
        .parse()
        .ok()
        .filter(|factor| SPEED.contains(factor))
        .ok_or_else(|| "expected a factor from 0.01x to 1000x, like 4x".to_owned())
}

/// Reads a length of time that is not zero: `5m`, `250ms`.
fn length(text: &str) -> Result<Duration, String> {
    let length = crate::units::parse_duration(text).map_err(|error| error.to_string())?;
    match length.is_zero() {
        true => Err("expected a time above zero, like 4s".to_owned()),
        false => Ok(length),
    }
}

/// Reads any whole number of 64 bits, also one below zero.
fn seed(text: &str) -> Result<u64, String> {
    let signed = || text.parse::<i64>().map(i64::cast_unsigned);
    text.parse()
        .or_else(|_| signed())
        .map_err(|_| "expected a whole number, like 42".to_owned())
}

/// Reads `20%` as 0.2.
fn noise(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    let percent = number.parse::<f64>().ok();
    percent
        .filter(|percent| (0.0..=1_000.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| "expected a percentage from 0% to 1000%, like 20%".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples() {
        for command in Cli::command()
            .get_subcommands()
            .filter(|one| !one.is_hide_set())
        {
            let help = command.get_after_help().map(ToString::to_string);
            assert!(
                help.is_some_and(|text| text.contains("Examples:\n  brownout ")),
                "{}",
                command.get_name()
            );
        }
    }

    #[test]
    fn seeds_are_whole_numbers() {
        assert_eq!(seed("42"), Ok(42));
        assert_eq!(seed("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(seed("-1"), Ok(u64::MAX));
        for wrong in ["", "x", "1.5", "18446744073709551616"] {
            assert!(seed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn noise_is_a_percentage() {
        assert_eq!(noise("20%"), Ok(0.2));
        assert_eq!(noise("0"), Ok(0.0));
        for wrong in ["", "%", "-1%", "NaN", "2000%", "20%%"] {
            assert!(noise(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn speeds_are_factors() {
        assert_eq!(speed("4x"), Ok(4.0));
        assert_eq!(speed("0.5"), Ok(0.5));
        for wrong in ["", "x", "0x", "-1x", "NaN", "inf", "4xx", "2000x"] {
            assert!(speed(wrong).is_err(), "{wrong}");
        }
    }
}
