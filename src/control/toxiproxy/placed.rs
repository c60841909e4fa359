//! A toxic at its place in a proxy.

use super::{
    attributes::Attributes,
    failure::{Failure, bounded},
    json::{self, Node},
    toxics::Kind,
};
use crate::seed::{Seed, name_hash};
use rand_chacha::ChaCha8Rng;
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::sync::Arc;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// From the client to the server.
    Upstream,
    /// From the server to the client.
    Downstream,
}

impl Stream {
    /// The stream that a request names, in any case.
    pub(super) fn said(text: &str) -> Result<Self, Failure> {
        Self::named(text)
            .ok_or_else(|| Failure::bad("stream was invalid, can be either upstream or downstream"))
    }

    fn named(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "upstream" => Some(Self::Upstream),
            "downstream" => Some(Self::Downstream),
            _ => None,
        }
    }
}

/// The toxics of one direction of a proxy, in the order in which bytes meet them.
#[derive(Debug, Default)]
pub(crate) struct Line {
    pub(crate) toxics: Vec<Arc<Placed>>,
}

/// One toxic of one proxy, as it was last set.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    /// Tells it from every other, also from one of the same name before it.
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) kind: &'static Kind,
    pub(crate) attributes: Attributes,
    pub(crate) stream: Stream,
    /// The stream as it was asked for, which may be in any case.
    stream_said: String,
    toxicity: f32,
    seed: Seed,
    /// The name of its draws.
    draws: u64,
}

impl Placed {
    /// What a request asks for. `is_taken` knows the names that are in use.
    pub(crate) fn asked(
        node: &Node,
        (proxy, id, seed): (&str, u64, Seed),
        is_taken: impl Fn(&str) -> bool,
    ) -> Result<Self, Failure> {
        let kind_said = node.text_at("type")?.unwrap_or_default();
        let stream_said = node.stream_said()?;
        let name = bounded(node, "name")?;
        let toxicity = node.single_at("toxicity")?.unwrap_or(1.0);
        let stream_said = stream_said.unwrap_or_else(|| "downstream".to_owned());
        let stream = Stream::said(&stream_said)?;
        let name = name
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| format!("{kind_said}_{stream_said}"));
        let kind = Kind::named(&kind_said).ok_or_else(|| Failure::bad("invalid toxic type"))?;
        if is_taken(&name) {
            return Err(Failure::toxic_exists());
        }
        Ok(Self {
            id,
            kind,
            attributes: with(&Attributes::of(kind.fields), kind, node)?,
            stream,
            stream_said,
            toxicity,
            seed,
            draws: name_hash(&["toxic", proxy, &name]),
            name,
        })
    }

    /// What a body asks for, where no name is taken.
    #[cfg(test)]
    pub(crate) fn read(body: &[u8], place: (&str, u64, Seed)) -> Result<Self, Failure> {
        let node = Node::read(body).map_err(Failure::bad_body)?;
        Self::asked(&node, place, |_| false)
    }

    /// The same toxic with what a request says of its attributes and its toxicity.
    pub(crate) fn updated(&self, node: &Node) -> Result<Self, Failure> {
        let toxicity = node.single_at("toxicity")?.unwrap_or(self.toxicity);
        Ok(Self {
            attributes: with(&self.attributes, self.kind, node)?,
            toxicity,
            ..self.clone()
        })
    }

    /// Whether it acts on the connection of this number: decided by the seed, once and for all, so
    /// that more toxicity takes in more connections and loses none.
    pub(crate) fn acts_on(&self, link: u64) -> bool {
        self.seed.coin(self.draws, link) < f64::from(self.toxicity)
    }

    /// Its random numbers on the connection of this number.
    pub(crate) fn random(&self, link: u64) -> ChaCha8Rng {
        self.seed.generator(self.draws, link)
    }
}

fn with(attributes: &Attributes, kind: &Kind, node: &Node) -> Result<Attributes, Failure> {
    let said = node.get("attributes")?.unwrap_or(&Node::Null);
    attributes
        .with(kind.fields, said)
        .map_err(|mismatch| mismatch.at("attributes").into())
}

impl Serialize for Placed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Toxic", 5)?;
        fields.serialize_field("attributes", &self.attributes)?;
        fields.serialize_field("name", &self.name)?;
        fields.serialize_field("type", self.kind.name)?;
        fields.serialize_field("stream", &self.stream_said)?;
        fields.serialize_field("toxicity", &json::Single(self.toxicity))?;
        fields.end()
    }
}
