//! History to what the system's clients did: how long they wait, how often they try, how they back
//! off. Pure: sees nothing but the history and the names in the files, and judges nothing.
//!
//! Every [`Claim`] carries how many samples it rests on and how far it may be off; of fewer than
//! three nothing is claimed, and where samples do not tell, that is the claim
//! ([`Finding::Unknown`]). What is inferred from the wire is the behaviour of all clients of a
//! dependency together: two programs with different settings show as one that varies.
//!
//! A new claim is one file and two adjacent lines here: its `mod` and its entry in [`CLAIMS`].

mod apart;
mod attempts;
mod back_off;
pub mod beat;
mod breaker;
mod budget;
pub mod calls;
mod change;
mod claim;
pub mod connections;
mod declared;
mod fit;
mod give_up;
mod hedging;
mod interval;
mod law;
mod material;
mod patience;
mod pool;
mod rates;
mod repeats;
mod retry_after;
pub mod samples;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use apart::apart;
pub use claim::{Aspect, BackOff, Basis, Cause, Claim, Finding};
pub use declared::{Answer, Declared, KEYS as POLICY_KEYS, Seen, Standing};
pub use law::{Jitter, Law};
pub use patience::{Calls, calls_of};

use crate::history::View;
use material::Material;

/// A kind of claim: what it is about and how it is inferred.
pub struct ClaimDef {
    /// Its name.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// What the calls of one dependency say.
    infer: fn(&Material<'_>) -> Vec<Claim>,
}

/// Every kind of claim, in the order reported.
pub const CLAIMS: &[ClaimDef] = &[
    attempts::DEF,
    give_up::DEF,
    back_off::DEF,
    retry_after::DEF,
    budget::DEF,
    repeats::DEF,
    hedging::DEF,
    breaker::DEF,
    pool::DEF,
    rates::DEF,
    change::DEF,
];

/// What every dependency's clients did in the whole run, by dependency in the order of the system's
/// file, then by claim.
pub fn infer(view: &View<'_>) -> Vec<Claim> {
    let system = view.system;
    let dependencies = system.dependencies.iter();
    dependencies
        .flat_map(|dependency| infer_of(view, &dependency.name))
        .collect()
}

/// What the clients of one dependency did in the whole run.
pub fn infer_of(view: &View<'_>, dependency: &str) -> Vec<Claim> {
    let Some(material) = Material::of(view, dependency) else {
        return Vec::new();
    };
    CLAIMS
        .iter()
        .flat_map(|claim| (claim.infer)(&material))
        .collect()
}

#[cfg(test)]
mod contract {
    use super::CLAIMS;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_everything_is_documented() {
        let names: BTreeSet<&str> = CLAIMS.iter().map(|def| def.name).collect();
        assert_eq!(names.len(), CLAIMS.len());
        assert!(CLAIMS.iter().all(|def| !def.summary.is_empty()));
    }
}
