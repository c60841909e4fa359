//! The kinds of trouble that a matrix tries, and how each is written for a protocol.

use crate::{protocol::Protocol, units::format_duration};
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// A kind of trouble, in the order of how much it tells: with a budget the first are tried first.
///
/// A hang comes first because it shows how long clients wait, which the slow kinds rest on, and
/// because it is the trouble that is survived worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It accepts, and never answers.
    Hang,
    /// It answers with an error, at once.
    Error,
    /// It answers, later than its clients wait.
    TooSlow,
    /// It does what it is asked, and its answer never comes.
    LostReply,
    /// It breaks connections.
    Reset,
    /// It goes away and comes back.
    Restart,
    /// So much may be used, and it is used up.
    Quota,
    /// It answers late, and in time.
    Slow,
}

/// Why a protocol has no errors or answers that could be lost.
const NO_MESSAGES: &str = "the protocol tcp shows no single requests";

impl Kind {
    /// Every kind, the most telling first.
    pub const ALL: &[Self] = &[
        Self::Hang,
        Self::Error,
        Self::TooSlow,
        Self::LostReply,
        Self::Reset,
        Self::Restart,
        Self::Quota,
        Self::Slow,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hang => "hang",
            Self::Error => "error",
            Self::TooSlow => "too-slow",
            Self::LostReply => "lost-reply",
            Self::Reset => "reset",
            Self::Restart => "restart",
            Self::Quota => "quota",
            Self::Slow => "slow",
        }
    }

    /// What the dependency does, after its name.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Hang => "never answers",
            Self::Error => "answers with an error",
            Self::TooSlow => "answers later than is waited for",
            Self::LostReply => "does what it is asked and loses its answers",
            Self::Reset => "breaks connections",
            Self::Restart => "goes away and comes back",
            Self::Quota => "refuses, its quota used up",
            Self::Slow => "answers late, but in time",
        }
    }

    /// The kind of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Whether it takes a delay that depends on how long clients wait.
    pub const fn takes_delay(self) -> bool {
        matches!(self, Self::TooSlow | Self::Slow)
    }

    /// Whether what a dependency was asked may be carried out while its client is told nothing of it, or
    /// that it failed.
    pub fn may_lose_answers(self, protocol: Protocol) -> bool {
        match self {
            Self::LostReply | Self::TooSlow | Self::Reset | Self::Restart => true,
            Self::Error => protocol.is_http(),
            // Connections that are cut may carry what was just asked.
            Self::Quota => !protocol.is_http(),
            Self::Hang | Self::Slow => false,
        }
    }

    /// The keys of each `[[phase.fault]]` that it is on this protocol, without `on`. `delay` is what
    /// the slow kinds take, `lasts` the length of the phase.
    ///
    /// # Errors
    /// Why the protocol cannot carry it.
    pub fn faults(
        self,
        protocol: Protocol,
        delay: Duration,
        lasts: Duration,
    ) -> Result<Vec<String>, &'static str> {
        let mut faults = vec![self.keys(protocol, delay, lasts)?];
        if self == Self::Reset && protocol.has_messages() {
            // Of the connections that break half do so behind what was carried out.
            let behind = "kind = \"lost-reply\"\nthen = \"reset\"\nshare = \"50%\"";
            faults.insert(0, behind.to_owned());
        }
        Ok(faults)
    }

    fn keys(
        self,
        protocol: Protocol,
        delay: Duration,
        lasts: Duration,
    ) -> Result<String, &'static str> {
        if !protocol.has_messages() && matches!(self, Self::Error | Self::LostReply) {
            return Err(NO_MESSAGES);
        }
        let keys = match self {
            Self::Hang => "kind = \"hang\"".to_owned(),
            Self::Error => format!("kind = \"error\"\n{}", error(protocol)),
            Self::LostReply => "kind = \"lost-reply\"".to_owned(),
            Self::Reset => "kind = \"reset\"".to_owned(),
            Self::Restart => restart(protocol, lasts),
            Self::Quota => format!("kind = \"quota\"\n{}", quota(protocol)),
            Self::TooSlow | Self::Slow => {
                let kind = if protocol.has_messages() {
                    "late-reply"
                } else {
                    "latency"
                };
                format!("kind = {kind:?}\ndelay = \"{}\"", format_duration(delay))
            }
        };
        Ok(keys)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error that any request may meet: where it does not say that nothing was carried out, in half of
/// them it was.
const fn error(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp | Protocol::Http | Protocol::Pusher => "status = 503\napplied = \"maybe\"",
        Protocol::S3 => "error = \"InternalError\"\napplied = \"maybe\"",
        Protocol::Redis => "error = \"LOADING\"",
        Protocol::Mysql => "error = \"1317\"",
        Protocol::Postgres => "error = \"out_of_memory\"",
    }
}

/// What is used up: requests where providers count these, connections where servers do.
const fn quota(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "counts = \"requests\"\nlimit = 0\ntotal = true\nrefusal = \"429\"",
        Protocol::S3 => "counts = \"requests\"\nlimit = 0\ntotal = true\nrefusal = \"SlowDown\"",
        Protocol::Pusher => {
            "counts = \"messages\"\nlimit = 0\ntotal = true\nrefusal = \"pusher-403\""
        }
        Protocol::Tcp => {
            "counts = \"connections\"\nlimit = 0\nexisting = \"cut\"\nrefusal = \"reset\""
        }
        Protocol::Redis => {
            "counts = \"connections\"\nlimit = 0\nexisting = \"cut\"\nrefusal = \"max-clients\""
        }
        Protocol::Mysql => {
            "counts = \"connections\"\nlimit = 0\nexisting = \"cut\"\nrefusal = \"1040\""
        }
        Protocol::Postgres => {
            "counts = \"connections\"\nlimit = 0\nexisting = \"cut\"\nrefusal = \"53300\""
        }
    }
}

/// The sequence of a database's restart, away for half of the phase; elsewhere nobody listens for
/// all of it, and what was open is reset.
fn restart(protocol: Protocol, lasts: Duration) -> String {
    let down = format_duration(lasts / 2);
    match protocol {
        Protocol::Postgres | Protocol::Redis => {
            format!("kind = \"restart\"\ndown = \"{down}\"\nstarting = \"1s\"")
        }
        Protocol::Mysql => format!("kind = \"restart\"\ndown = \"{down}\""),
        Protocol::Tcp | Protocol::Http | Protocol::S3 | Protocol::Pusher => {
            "kind = \"refuse\"".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_once_and_found_by_its_name() {
        let mut sorted = Kind::ALL.to_vec();
        sorted.sort_unstable();
        assert_eq!(
            sorted,
            Kind::ALL,
            "the order of telling is that of the type"
        );
        for kind in Kind::ALL {
            assert_eq!(Kind::find(kind.name()), Some(*kind));
        }
        assert_eq!(Kind::find("latency"), None);
    }
}
