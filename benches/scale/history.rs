//! What a long run costs to write down, to judge and to report: time, memory, and bytes on disk.
//!
//! `cargo bench --bench scale -- history` measures a million observations, `… history N` so many, and
//! `… history write FILE N` leaves them in a file for `brownout judge`.
//! The goal is a million judged and reported in under two seconds and 500 MB.
//!
//! The observations are made up, always the same, by what a run of `scenarios/ada-2017-s3.toml` leaves:
//! its loads, their requests to the platform and to S3, connections, probes and gauges, in the same
//! shares, only more of them a second. They are judged by the scenario's own requirements, in a process
//! of its own that reads the file as `brownout judge` does.

use brownout::{
    expectation::judge,
    fault::FaultId,
    history::{
        Attempt, AttemptEnd, COMPLETED, Connection, Gauge, HISTORY_VERSION, History, Measure,
        Moment, Observation, Operation, Outcome, ProbeSample, Run, Source, Writer, sample::attempt,
    },
    input::{self, Problems},
    protocol::Applied,
    report::{Material, REPORTS, SuiteReport, build},
    scenario::from_texts,
    seed::Seed,
    units::Micros,
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

const SCENARIO: &str = include_str!("../../scenarios/ada-2017-s3.toml");
const SYSTEM: &str = include_str!("../../scenarios/systems/bot-platform-remedied.toml");

/// The seconds at which the phases begin, and the last one's end.
const PHASES: [u64; 7] = [0, 10, 30, 42, 57, 67, 77];

/// The faults of each phase, in the file's order.
const FAULTS: [&[u16]; 6] = [&[], &[0, 1], &[2], &[3, 4], &[5, 6], &[]];

/// How many observations a second of the scenario leaves at its own rates.
const A_SECOND: f64 = 162.0;

/// The argument by which this program measures a file.
pub const MEASURE: &str = "--measure-history";

/// Writes a history, and has it measured in another process.
pub fn table(is_bench: bool, numbers: &[u64]) {
    let usual = if is_bench { 1_000_000 } else { 10_000 };
    let count = numbers.first().copied().unwrap_or(usual);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("history.jsonl");
    let began = Instant::now();
    let written = write(&file, count);
    let wrote = began.elapsed().as_secs_f64();
    let bytes = fs::metadata(&file).expect("it is there").len();
    println!(
        "{written} observations, {bytes} bytes: {} each",
        bytes / written
    );
    println!("made and written in {wrote:.2} s");
    let own = std::env::current_exe().expect("this program has a path");
    let status = Command::new(own).arg(MEASURE).arg(&file).status();
    assert!(status.expect("it starts").success(), "it is judged");
}

/// Reads, judges and reports, and says what each took.
pub fn measure(file: &Path) {
    let mut steps = Vec::new();
    let mut began = Instant::now();
    let mut step = |name: &'static str| {
        let now = Instant::now();
        steps.push((name, now - std::mem::replace(&mut began, now), peak_bytes()));
    };
    let history = History::read(file).expect("a history");
    step("read");
    let source = |(name, text): &(String, String)| input::Source::new(name.as_str(), text.as_str());
    let mut problems = Problems::default();
    let (scenario, system) = from_texts(
        source(&history.run.scenario),
        source(&history.run.system),
        "scenarios/systems".into(),
        &mut problems,
    )
    .expect("both are valid");
    let verdicts = judge(&history, &scenario, &system);
    assert_eq!(verdicts.len(), scenario.expects.len());
    let said: Vec<String> = verdicts
        .iter()
        .map(|verdict| format!("{} {:?}", verdict.id, verdict.status).to_lowercase())
        .collect();
    step("judge");
    let one = build(Material {
        history: &history,
        scenario: &scenario,
        system: &system,
        verdicts,
        trouble: None,
        repeat: "brownout run".to_owned(),
        file: None,
    });
    step("report");
    let suite = SuiteReport::new(history.run.began.clone(), history.run.seed, vec![one]);
    let rendered: usize = REPORTS.iter().map(|def| (def.render)(&suite).len()).sum();
    assert!(rendered > 10_000, "there is something to read");
    step("render");
    let total: Duration = steps.iter().map(|(_, took, _)| *took).sum();
    for (name, took, peak) in &steps {
        let (took, peak) = (took.as_secs_f64(), peak / 1_000_000);
        println!("{name:>8} {took:>7.2} s   {peak:>6} MB at most until then");
    }
    println!("{:>8} {:>7.2} s", "all", total.as_secs_f64());
    println!("{}", said.join(", "));
}

/// The most memory that this process had, in bytes; none where the system does not say.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kib.unwrap_or(0_u64) * 1024
}

/// Writes about so many observations, and says how many.
pub fn write(file: &Path, count: u64) -> u64 {
    let out = fs::File::create(file).expect("the file can be made");
    let mut writer = Writer::over(out, file, u64::MAX);
    let mut written = 0;
    let mut put = |observation: &Observation| {
        writer.write(observation).expect("the disk takes it");
        written += 1;
    };
    let end = *PHASES.last().expect("there are phases");
    let mut made = Made::new(count as f64 / (end as f64 * A_SECOND));
    put(&Observation::Run(run()));
    for slice in 0..end * 10 {
        let mut slice = made.slice(Micros::from_millis(slice * 100));
        // As a recorder hears of them: by their ends.
        slice.sort_by_key(Observation::at);
        slice.iter().for_each(&mut put);
    }
    let at = Micros::from_secs(end);
    put(&Observation::PhasesOver { at });
    put(&Observation::Watched { at });
    let how = COMPLETED.to_owned();
    put(&Observation::Ended(Moment { at, how }));
    writer.flush().expect("the disk takes it");
    written
}

fn run() -> Run {
    Run {
        version: HISTORY_VERSION,
        brownout: "0.1.0".to_owned(),
        began: "2017-02-28T17:42:00Z".to_owned(),
        seed: 20_170_228,
        speed: 1.0,
        scenario: ("scenarios/ada-2017-s3.toml".to_owned(), SCENARIO.to_owned()),
        system: (
            "scenarios/systems/bot-platform-remedied.toml".to_owned(),
            SYSTEM.to_owned(),
        ),
        machine: None,
    }
}

/// The run in the making.
struct Made {
    /// How many times as much happens as at the scenario's own rates.
    times: f64,
    chance: ChaCha8Rng,
    /// Operations of each load so far.
    counts: [u64; 3],
    /// How often each key was asked for at each dependency.
    asked: BTreeMap<String, u64>,
    connection: u64,
    into: Vec<Observation>,
}

const LOADS: [(&str, f64); 3] = [("ask", 50.0), ("train", 4.0), ("report", 5.0)];

impl Made {
    fn new(times: f64) -> Self {
        Self {
            times,
            chance: Seed(7).stream(&["history"]),
            counts: [0; 3],
            asked: BTreeMap::new(),
            connection: 0,
            into: Vec::new(),
        }
    }

    /// A number from these, evenly.
    fn draw(&mut self, least: u64, most: u64) -> u64 {
        least + self.chance.next_u64() % (most - least + 1)
    }

    /// A tenth of a second.
    fn slice(&mut self, from: Micros) -> Vec<Observation> {
        if let Some(index) = PHASES[..6]
            .iter()
            .position(|at| Micros::from_secs(*at) == from)
        {
            self.begin_phase(index, from);
        }
        for (place, (_, rate)) in LOADS.into_iter().enumerate() {
            let rate = rate * self.times;
            let due = ((from.0 + 100_000) as f64 / 1e6 * rate) as u64;
            while self.counts[place] < due {
                self.counts[place] += 1;
                let intended = Micros(((self.counts[place] - 1) as f64 / rate * 1e6) as u64);
                match place {
                    0 => self.ask(intended),
                    1 => self.train(intended),
                    _ => self.report(intended),
                }
            }
        }
        self.background(from);
        std::mem::take(&mut self.into)
    }

    fn begin_phase(&mut self, index: usize, at: Micros) {
        if let Some(before) = index.checked_sub(1) {
            for fault in FAULTS[before] {
                let (fault, hits) = (FaultId(*fault), 100);
                self.into.push(Observation::Lifted { at, fault, hits });
            }
        }
        let number = index as u16;
        self.into.push(Observation::Phase { at, index: number });
        for fault in FAULTS[index] {
            let fault = FaultId(*fault);
            self.into.push(Observation::Armed { at, fault });
        }
    }

    /// Health checks, probes and gauges: as many as the run is dense.
    fn background(&mut self, from: Micros) {
        let many = (self.times * 0.6).ceil() as u64;
        for nth in 0..many {
            let at = from + Duration::from_micros(nth * 100_000 / many);
            let ended = at + Duration::from_micros(self.draw(500, 4_000));
            self.primary("GET", "/healthz", at, ended, 200);
            let bytes = self.draw(20_000_000, 30_000_000) as f64;
            self.into.push(match nth % 2 {
                0 => Observation::Probe(ProbeSample {
                    at,
                    ended,
                    probe: "ADA-13".into(),
                    held: Some(true),
                    answered: true,
                    seen: None,
                }),
                _ => Observation::Gauge(Gauge {
                    at: ended,
                    measure: Measure::Memory,
                    of: "primary".into(),
                    value: Some(bytes),
                    why: None,
                }),
            });
        }
    }

    fn bot(&mut self) -> u64 {
        // A few get most of it.
        let most = self.draw(1, 50);
        self.draw(1, most)
    }

    fn ask(&mut self, intended: Micros) {
        let path = format!("/bots/{}/ask", self.bot());
        let began = intended + Duration::from_micros(self.draw(40, 1_800));
        let sent = began + Duration::from_micros(self.draw(300, 1_200));
        let ended = sent + Duration::from_micros(self.draw(30_000, 36_000));
        let is_gone = is_within(sent, PHASES[3], PHASES[3] + 2);
        let status = if is_gone { 502 } else { 200 };
        if is_gone || !is_within(sent, PHASES[3], PHASES[5]) {
            self.primary("POST", &path, sent, ended, status);
        }
        let ended = ended + Duration::from_micros(self.draw(200, 1_500));
        self.operation(
            0,
            intended,
            began,
            ended,
            (status, &path),
            BTreeMap::new(),
            false,
        );
    }

    fn train(&mut self, intended: Micros) {
        let bot = self.bot();
        let path = format!("/bots/{bot}/train");
        let began = intended + Duration::from_micros(self.draw(40, 1_800));
        let taken = began + Duration::from_micros(self.draw(2_000, 9_000));
        let ended = taken + Duration::from_micros(self.draw(500_000, 510_000));
        self.primary("POST", &path, began, taken, 202);
        let model = format!("/bots/{bot}/model");
        self.primary("GET", &model, taken, taken + Duration::from_millis(2), 200);
        self.primary("GET", &model, ended, ended + Duration::from_millis(2), 200);
        let version = (1_795_354_138_000_000 + taken.0).to_string();
        let named = [("model", bot.to_string()), ("version", version.clone())];
        let captured = named.map(|(name, value)| (name.to_owned(), value));
        self.operation(
            1,
            intended,
            began,
            ended,
            (202, &path),
            captured.into(),
            true,
        );
        let stored = taken + Duration::from_micros(self.draw(500, 9_000));
        self.put(bot, &version, stored);
    }

    fn report(&mut self, intended: Micros) {
        let began = intended + Duration::from_micros(self.draw(40, 1_800));
        let taken = began + Duration::from_micros(self.draw(1_000, 5_000));
        let ended = taken + Duration::from_micros(self.draw(500_000, 510_000));
        let id = (1_795_354_138_000_000 + taken.0).to_string();
        let job = format!("/jobs/{id}");
        self.primary("POST", "/reports", began, taken, 202);
        self.primary("GET", &job, taken, taken + Duration::from_millis(1), 200);
        self.primary("GET", &job, ended, ended + Duration::from_millis(1), 200);
        let captured = BTreeMap::from([("id".to_owned(), id)]);
        self.operation(2, intended, began, ended, (202, "/reports"), captured, true);
    }

    #[expect(clippy::too_many_arguments, reason = "an operation has as many")]
    fn operation(
        &mut self,
        place: usize,
        intended: Micros,
        began: Micros,
        ended: Micros,
        (status, path): (u16, &str),
        captured: BTreeMap<String, String>,
        is_read_back: bool,
    ) {
        let is_well = status < 300;
        let request: Arc<str> = format!("POST {path}").into();
        self.into.push(Observation::Operation(Operation {
            load: LOADS[place].0.into(),
            nth: self.counts[place],
            source: Source::Load,
            intended,
            began,
            ended,
            accepted: is_read_back.then_some(began + Duration::from_millis(9)),
            outcome: if is_well {
                Outcome::Ok
            } else {
                Outcome::Failed
            },
            status: Some(status),
            why: (!is_well).then(|| format!("status {status}")),
            cut: false,
            refused: 0,
            request,
            captured,
        }));
    }

    /// How the call is named, as the proxy does without a client's own id.
    fn named(&mut self, what: String) -> String {
        let nth = self.asked.entry(what.clone()).or_default();
        *nth += 1;
        format!("{what} #{nth}")
    }

    fn primary(&mut self, method: &str, path: &str, began: Micros, ended: Micros, status: u16) {
        let call = self.named(format!("{method} {path}"));
        let mut one = attempt("primary", 0, 0).operation(method).key(path).done();
        one.connection = 1 + self.draw(0, 40);
        one.call = call.into();
        span(&mut one, began, ended);
        one.status = Some(status);
        one.bytes_up = 60;
        one.bytes_down = 43;
        if status >= 500 {
            one.end = AttemptEnd::UpstreamFailed;
            one.applied = Applied::No;
        }
        self.into.push(Observation::Attempt(one));
    }

    /// A model stored, on a connection of its own, as often as it takes.
    fn put(&mut self, bot: u64, version: &str, began: Micros) {
        let key = format!("models/bots/{bot}.json");
        let call = self.named(format!("PutObject {key}"));
        let (hangs, fails) = (
            is_within(began, PHASES[1], PHASES[2]),
            is_within(began, PHASES[2], PHASES[5]),
        );
        let tries = if hangs || fails { 2 } else { 1 };
        let mut began = began;
        for nth in 1..=tries {
            let lasts = if hangs {
                2_000_000
            } else {
                self.draw(2_000, 6_000)
            };
            let ended = began + Duration::from_micros(lasts);
            let one = attempt("s3", 0, 0).sdk(&call, nth).key(&key);
            let mut one = one.captured("version", version).done();
            self.connection += 1;
            one.connection = 1_000 + self.connection;
            one.declared_max = Some(2);
            span(&mut one, began, ended);
            one.bytes_up = 112;
            if hangs {
                one.end = AttemptEnd::GaveUp;
                (one.first_byte, one.status, one.applied) = (None, None, Applied::No);
                one.faults = vec![FaultId(1)];
            } else if fails {
                (one.status, one.applied) = (Some(500), Applied::No);
                one.code = Some("InternalError".into());
                one.faults = vec![FaultId(2)];
                one.bytes_down = 282;
            }
            self.into.push(Observation::Connection(Connection {
                dependency: "s3".into(),
                connection: one.connection,
                opened: began,
                closed: ended + Duration::from_micros(200),
                how: "client closed".to_owned(),
                faults: Vec::new(),
                bytes_up: 602,
                bytes_down: 117,
            }));
            self.into.push(Observation::Attempt(one));
            began = ended + Duration::from_micros(self.draw(50_000, 90_000));
        }
    }
}

fn span(one: &mut Attempt, began: Micros, ended: Micros) {
    one.began = began;
    one.ended = ended;
    one.first_byte = Some(Micros(ended.0 - 12));
}

fn is_within(at: Micros, from: u64, to: u64) -> bool {
    Micros::from_secs(from) <= at && at < Micros::from_secs(to)
}
