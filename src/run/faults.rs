//! Puts a phase's faults in force and lifts them again.
//!
//! What a share by request, call or connection draws belongs to its phase and its place there. What
//! a share by key or header draws belongs to the fault alone, whatever its phase: the rows that
//! cannot be read at noon cannot be read in the evening. See [`draw`].

use super::FaultTick;
use crate::{
    fault::{Active, By, FaultId, FaultSet, Lane, Member, Memory, Switch, default_by},
    history::{Intervention, Observation, Recorder},
    scenario::{FaultSpec, Phase, System, Target},
    seed::{Seed, name_hash},
    units::{Micros, Share},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The switches of all dependencies, in the system's order, and what is in force on them.
/// Dropping it heals: every switch is emptied.
#[derive(Debug)]
pub struct Board {
    switches: Vec<Switch>,
    seed: Seed,
    recorder: Recorder,
    in_force: BTreeMap<FaultId, InForce>,
    memory: Memory,
}

#[derive(Debug)]
struct InForce {
    label: String,
    actives: Vec<Arc<Active>>,
    /// Hits of process faults, which no proxy counts.
    process_hits: u64,
}

impl InForce {
    fn hits(&self) -> u64 {
        self.process_hits + self.actives.iter().map(|active| active.hits()).sum::<u64>()
    }
}

impl Board {
    /// A board on which nothing is in force.
    pub fn new(switches: Vec<Switch>, seed: Seed, recorder: Recorder) -> Self {
        Self {
            switches,
            seed,
            recorder,
            in_force: BTreeMap::new(),
            memory: Memory::default(),
        }
    }

    /// Replaces whatever is in force by the faults of this phase, at once on every dependency. `at` is
    /// when the phase should begin and `lasts` what ramps are stretched over; the history says when
    /// the faults truly changed, which on a busy machine may be later.
    pub fn arm(&mut self, phase: &Phase, system: &System, at: Micros, lasts: Duration) {
        let now = self.recorder.now().max(at);
        let mut armed = BTreeMap::new();
        let mut sets: Vec<Vec<Arc<Active>>> = self.switches.iter().map(|_| Vec::new()).collect();
        for (place, spec) in phase.faults.iter().enumerate() {
            self.recorder.record(Observation::Armed {
                at: now,
                fault: spec.id,
            });
            self.recorder.names(spec.id, &spec.label);
            let actives = self.activate(phase, place, spec, system, at, lasts, &mut sets);
            armed.insert(
                spec.id,
                InForce {
                    label: spec.label.clone(),
                    actives,
                    process_hits: 0,
                },
            );
        }
        for (switch, set) in self.switches.iter().zip(sets) {
            switch.set(FaultSet::new(set));
        }
        let lifted = std::mem::replace(&mut self.in_force, armed);
        self.record_lifted(&lifted, now);
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one call site; a struct would only name them again"
    )]
    fn activate(
        &mut self,
        phase: &Phase,
        place: usize,
        spec: &FaultSpec,
        system: &System,
        at: Micros,
        lasts: Duration,
        sets: &mut [Vec<Arc<Active>>],
    ) -> Vec<Arc<Active>> {
        let Target::Dependencies(indices) = &spec.target else {
            return Vec::new();
        };
        let mut actives = Vec::with_capacity(indices.len());
        for (index, behaviour) in indices.iter().zip(&spec.behaviours) {
            let dependency = &system.dependencies[*index];
            let by = spec.gate.by.clone();
            let by = by.unwrap_or_else(|| default_by(dependency.protocol));
            let draw = draw(phase, place, *index, &by);
            let draw: Vec<&str> = draw.iter().map(String::as_str).collect();
            let armed = behaviour.armed(&mut self.memory, &dependency.name, at);
            let active = Active::new(
                spec.id,
                spec.gate.clone(),
                armed.unwrap_or_else(|| Arc::clone(behaviour)),
                self.seed,
                &[&draw[..], &[&dependency.name]].concat(),
                at,
                lasts,
                by.clone(),
            );
            let active = Arc::new(active.in_lane(lane(phase, spec, &dependency.name, &by)));
            sets[*index].push(Arc::clone(&active));
            actives.push(active);
        }
        actives
    }

    /// Lifts everything.
    pub fn heal(&mut self, at: Micros) {
        for switch in &self.switches {
            switch.heal();
        }
        let lifted = std::mem::take(&mut self.in_force);
        self.record_lifted(&lifted, at);
    }

    /// Counts that a process fault acted.
    pub fn count_process_hit(&mut self, fault: FaultId) {
        if let Some(in_force) = self.in_force.get_mut(&fault) {
            in_force.process_hits += 1;
        }
    }

    /// What is in force and how often it acted.
    pub fn ticks(&self) -> Vec<FaultTick> {
        self.record_notes(&self.in_force);
        self.in_force
            .values()
            .map(|fault| FaultTick {
                label: fault.label.clone(),
                hits: fault.hits(),
            })
            .collect()
    }

    /// Records what the faults have noted since.
    fn record_notes(&self, faults: &BTreeMap<FaultId, InForce>) {
        for (fault, in_force) in faults {
            let notes = in_force.actives.iter();
            for (at, what) in notes.flat_map(|active| active.behaviour.notes()) {
                self.recorder.record(Observation::Acted(Intervention {
                    at,
                    fault: *fault,
                    count: 0,
                    what,
                }));
            }
        }
    }

    fn record_lifted(&self, lifted: &BTreeMap<FaultId, InForce>, at: Micros) {
        self.record_notes(lifted);
        for (fault, in_force) in lifted {
            self.recorder.record(Observation::Lifted {
                at,
                fault: *fault,
                hits: in_force.hits(),
            });
        }
    }
}

/// Whether a draw is for what lasts beyond a phase.
fn is_lasting(by: &By) -> bool {
    matches!(by, By::Key | By::Header(_))
}

/// How the draw of the fault at this place of a phase is named for a dependency.
///
/// By key or header it is named after the fault itself, so that it meets the same keys in every
/// phase, and with a greater share those and more. Equal faults of one phase are told apart by
/// their order among those on the same dependency.
fn draw(phase: &Phase, place: usize, dependency: usize, by: &By) -> Vec<String> {
    let spec = &phase.faults[place];
    if !is_lasting(by) {
        return vec![
            "fault".to_owned(),
            phase.name.to_string(),
            place.to_string(),
        ];
    }
    let on_it =
        |target: &Target| matches!(target, Target::Dependencies(all) if all.contains(&dependency));
    let before = phase.faults[..place].iter();
    let equal = before.filter(|one| one.likeness == spec.likeness && on_it(&one.target));
    vec![
        "fault by key".to_owned(),
        spec.likeness.clone(),
        equal.count().to_string(),
    ]
}

/// A fault's part of the draw of its group on this dependency. By key or header groups of one name
/// share their draw in all phases.
fn lane(phase: &Phase, spec: &FaultSpec, dependency: &str, by: &By) -> Option<Lane> {
    let group = spec.gate.one_of.as_ref()?;
    let specs: Vec<&FaultSpec> = phase
        .faults
        .iter()
        .filter(|other| other.gate.one_of.as_ref() == Some(group))
        .collect();
    let members: Vec<Member> = specs
        .iter()
        .map(|other| Member {
            share: other.gate.share.map_or(0.0, Share::fraction),
            is_unseen: other.behaviours.iter().any(|one| one.acts().listener),
        })
        .collect();
    let stream = if is_lasting(by) {
        name_hash(&["one of by key", group, dependency])
    } else {
        name_hash(&["one of", &phase.name, group, dependency])
    };
    let at = specs.iter().position(|other| other.id == spec.id)?;
    Lane::of_group(stream, &members).get(at).copied()
}

impl Drop for Board {
    fn drop(&mut self) {
        for switch in &self.switches {
            switch.heal();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        input::{Problems, Source, render},
        protocol::{CallTracker, Protocol, http},
        scenario::{Scenario, from_texts},
    };
    use std::{collections::BTreeSet, path::PathBuf};

    const SYSTEM: &str = r#"
[system]
external = "http://127.0.0.1:9"

[dependency.db]
protocol = "http"
upstream = "127.0.0.1:9"

[dependency.other]
protocol = "http"
upstream = "127.0.0.1:9"

[load.ask]
rate    = "10/s"
request = { path = "/" }
"#;

    /// The faults of two phases that follow each other, without `kind` and `on`.
    fn read(noon: &[&str], evening: &[&str]) -> (Scenario, System) {
        let faults = |all: &[&str]| -> String {
            all.iter()
                .map(|one| format!("[[phase.fault]]\n{one}\n"))
                .collect()
        };
        let text = format!(
            "title = \"x\"\n[[phase]]\nname = \"steady\"\nlasts = \"10s\"\nsteady = true\n[[phase]]\nname = \"noon\"\nlasts = \"10s\"\n{}[[phase]]\nname = \"evening\"\nlasts = \"10s\"\n{}[[phase]]\nname = \"recovery\"\nlasts = \"10s\"\n[[expect]]\nid = \"X\"\nthat = \"x\"\nkind = \"success-rate\"\nload = \"ask\"\nat_least = \"90%\"\n",
            faults(noon),
            faults(evening)
        );
        let mut problems = Problems::default();
        let read = from_texts(
            Source::new("scenario.toml", text.as_str()),
            Source::new("system.toml", SYSTEM),
            PathBuf::from("."),
            &mut problems,
        );
        read.unwrap_or_else(|| panic!("{}", render(&problems.into_sorted(), false)))
    }

    /// Which of 400 keys each fault of a phase meets on a dependency, by the fault's id.
    fn met(
        (scenario, system): &(Scenario, System),
        phase: usize,
        dependency: usize,
        seed: u64,
    ) -> BTreeMap<FaultId, BTreeSet<usize>> {
        let switches = vec![Switch::new(), Switch::new()];
        let (recorder, _observed) = Recorder::channel(64);
        let mut board = Board::new(switches.clone(), Seed(seed), recorder);
        let at = Micros::from_secs(10 * phase as u64);
        board.arm(&scenario.phases[phase], system, at, Duration::from_secs(10));
        let set = switches[dependency].current();
        let mut calls = CallTracker::default();
        let mut met: BTreeMap<FaultId, BTreeSet<usize>> = BTreeMap::new();
        for key in 0..400 {
            let (target, tenant) = (format!("/{key}"), key.to_string());
            let headers = [("Host", "x"), ("X-Tenant", &*tenant)];
            let call = http::identify(
                Protocol::Http,
                None,
                "GET",
                &target,
                headers,
                key as u64,
                &mut calls,
            );
            for fault in set.request(&call, at).acted {
                met.entry(fault).or_default().insert(key);
            }
        }
        met
    }

    /// The same of the first fault of a phase.
    fn first(read: &(Scenario, System), phase: usize) -> BTreeSet<usize> {
        let id = read.0.phases[phase].faults[0].id;
        met(read, phase, 0, 7).remove(&id).unwrap_or_default()
    }

    const SLOW: &str = "kind = \"latency\"\non = \"db\"\ndelay = \"1s\"";

    #[test]
    fn the_same_keys_fail_all_day_and_with_a_greater_share_more_of_them() {
        for by in ["key", "header:x-tenant"] {
            let fault = |share: &str| format!("{SLOW}\nby = \"{by}\"\nshare = \"{share}\"");
            let (few, more) = (fault("20%"), fault("50%"));
            let equal = read(&[&few], &[&few]);
            let noon = first(&equal, 1);
            assert!((40..120).contains(&noon.len()), "{}", noon.len());
            assert_eq!(noon, first(&equal, 2));
            let growing = read(
                &[&few],
                &[
                    "kind = \"hang\"\non = \"db\"\nwhen = { operation = \"PUT\" }",
                    &more,
                ],
            );
            let id = growing.0.phases[2].faults[1].id;
            let evening = met(&growing, 2, 0, 7).remove(&id).expect("it met some");
            assert!(noon.is_subset(&evening) && evening.len() > noon.len());
            let ramped = format!("{SLOW}\nby = \"{by}\"\nramp = {{ share = [\"20%\", \"90%\"] }}");
            assert_eq!(noon, first(&read(&[&few], &[&ramped]), 2));
        }
    }

    #[test]
    fn by_request_each_phase_draws_anew() {
        let fault = format!("{SLOW}\nshare = \"50%\"");
        let read = read(&[&fault], &[&fault]);
        assert_ne!(first(&read, 1), first(&read, 2));
    }

    #[test]
    fn another_seed_dependency_or_fault_meets_other_keys() {
        let fault = format!("{SLOW}\nby = \"key\"\nshare = \"50%\"");
        let elsewhere = fault.replace("\"db\"", "\"other\"");
        let other = fault.replace("\"1s\"", "\"2s\"");
        let read = read(&[&fault, &elsewhere], &[&other]);
        let of = |phase, dependency, seed| met(&read, phase, dependency, seed).into_values().next();
        let keys = of(1, 0, 7).expect("it met some");
        for others in [of(1, 0, 8), of(1, 1, 7), of(2, 0, 7)] {
            let others = others.expect("it met some");
            let both = keys.intersection(&others).count();
            // Half of a half of 400: neither the same nor the rest.
            assert!((60..140).contains(&both), "{both}");
        }
    }

    #[test]
    fn equal_faults_of_one_phase_draw_apart_and_each_meets_its_own_again() {
        let fault = format!("{SLOW}\nby = \"key\"\nshare = \"50%\"");
        let read = read(&[&fault, &fault], &[&fault, &fault]);
        let of =
            |phase| -> Vec<BTreeSet<usize>> { met(&read, phase, 0, 7).into_values().collect() };
        let (noon, evening) = (of(1), of(2));
        assert_eq!(noon, evening);
        let both = noon[0].intersection(&noon[1]).count();
        assert!((60..140).contains(&both), "{both}");
    }

    #[test]
    fn of_a_group_by_key_each_meets_its_own_keys_again() {
        let group = |delay: &str| {
            format!("{SLOW}\nby = \"key\"\nshare = \"30%\"\none_of = \"rows\"").replace("1s", delay)
        };
        let (one, two) = (group("1s"), group("2s"));
        let read = read(&[&one, &two], &[&one, &two]);
        let of =
            |phase| -> Vec<BTreeSet<usize>> { met(&read, phase, 0, 7).into_values().collect() };
        let noon = of(1);
        assert_eq!(noon, of(2));
        assert!(noon[0].is_disjoint(&noon[1]));
    }
}
