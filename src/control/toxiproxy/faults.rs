//! Toxics that know the protocol: the faults of scenarios, asked for through the same calls.
//!
//! Their `type` is the protocol and the kind of fault, as `s3_error` or `postgres_overload`; on a
//! proxy whose protocol is known, the kind alone. Their attributes are the keys of a
//! `[[phase.fault]]`. What toxicity is for other toxics, the share of connections, is here the
//! share of requests where single ones are seen.

use super::{
    failure::Failure,
    json::{self, Node},
    placed::Stream,
};
use crate::{
    control::said,
    fault::{Active, FAULTS, FaultDef, FaultId, Group, Memory, default_by},
    history::Recorder,
    input::{Problems, Source},
    protocol::{PROTOCOLS, Protocol},
    seed::Seed,
};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Faults that act before there is a connection, on a listener that is not theirs here: a proxy
/// that is not enabled refuses.
const ON_LISTENERS: &[&str] = &["refuse", "no-accept"];

/// The numbers of toxics begin here; those of faults that are no toxics stay below.
pub(crate) const OF_TOXICS: u16 = 0x8000;

/// The most attributes of one fault; no kind has nearly as many.
const ATTRIBUTES_MAX: usize = 64;

/// The most bytes of one fault as text.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// The most bytes of all of them together.
const TEXTS_BYTES_MAX: usize = 16 << 20;

/// How many bytes the texts of all faults have.
#[derive(Debug, Default, Clone)]
pub(super) struct Texts(Arc<AtomicUsize>);

/// The part of them that one fault has, as long as there is that fault.
#[derive(Debug)]
struct Part {
    texts: Texts,
    bytes: usize,
}

impl Texts {
    /// Room for a text of so many bytes.
    fn take(&self, bytes: usize) -> Result<Part, Failure> {
        let more = |so_far: usize| Some(so_far + bytes).filter(|sum| *sum <= TEXTS_BYTES_MAX);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        let full = |_| {
            Failure::bad(format!(
                "attributes of all toxics are too long: at most {TEXTS_BYTES_MAX} bytes"
            ))
        };
        taken.map_err(full)?;
        Ok(Part {
            texts: self.clone(),
            bytes,
        })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.texts.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A kind of fault on a protocol.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    def: &'static FaultDef,
    /// What must be spoken; `None` for whatever is.
    pub(super) protocol: Option<Protocol>,
}

impl Kind {
    /// The kind that a `type` names, if it names one.
    pub(super) fn named(name: &str) -> Option<Self> {
        let of = |kind: &str, protocol| {
            let kind = kind.replace('_', "-");
            let def = FAULTS.iter().find(|def| def.name == kind)?;
            let is_offered = def.group != Group::Process && !ON_LISTENERS.contains(&def.name);
            is_offered.then_some(Self { def, protocol })
        };
        let with_protocol = PROTOCOLS.iter().find_map(|def| {
            let kind = name.strip_prefix(def.name)?.strip_prefix('_')?;
            of(kind, Some(def.protocol))
        });
        with_protocol.or_else(|| of(name, None))
    }

    /// Whether any stream of bytes can carry it.
    pub(super) fn is_of_any_stream(self) -> bool {
        (self.def.carried_by)(Protocol::Tcp).is_ok()
    }
}

/// What a fault is put on.
pub(super) struct Place<'a> {
    pub(super) proxy: &'a str,
    pub(super) protocol: Protocol,
    pub(super) seed: Seed,
    pub(super) recorder: &'a Recorder,
}

/// One fault of one proxy, as it was last set.
#[derive(Debug)]
pub(super) struct Fault {
    id: u64,
    pub(super) name: String,
    kind_said: String,
    stream_said: String,
    pub(super) stream: Stream,
    attributes: Vec<(String, Node)>,
    toxicity: f32,
    /// `None` where its toxicity leaves nothing to act on.
    pub(super) active: Option<Arc<Active>>,
    /// How many bytes it has as text.
    bytes: usize,
    /// Its part of all texts, held as long as it is there.
    _part: Option<Part>,
}

impl Fault {
    /// The fault that a request asks for.
    pub(super) fn asked(
        node: &Node,
        (kind, id, name): (Kind, u64, String),
        place: &Place<'_>,
        memory: &mut Memory,
    ) -> Result<Self, Failure> {
        let stream_said = node.stream_said()?;
        let stream_said = stream_said.unwrap_or_else(|| "downstream".to_owned());
        let mut fault = Self {
            id,
            name,
            kind_said: node.text_at("type")?.unwrap_or_default(),
            stream: Stream::said(&stream_said)?,
            stream_said,
            attributes: Vec::new(),
            toxicity: 1.0,
            active: None,
            bytes: 0,
            _part: None,
        };
        fault.say(node)?;
        fault.active = fault.read(kind, place, memory)?;
        Ok(fault)
    }

    /// The same fault with what a request says of its attributes and its toxicity.
    pub(super) fn updated(
        &self,
        node: &Node,
        place: &Place<'_>,
        memory: &mut Memory,
    ) -> Result<Self, Failure> {
        let mut fault = Self {
            id: self.id,
            name: self.name.clone(),
            kind_said: self.kind_said.clone(),
            stream_said: self.stream_said.clone(),
            stream: self.stream,
            attributes: self.attributes.clone(),
            toxicity: self.toxicity,
            active: None,
            bytes: 0,
            _part: None,
        };
        fault.say(node)?;
        let kind = Kind::named(&fault.kind_said);
        let kind = kind.ok_or_else(|| Failure::bad("invalid toxic type"))?;
        fault.active = fault.read(kind, place, memory)?;
        Ok(fault)
    }

    /// The same fault, for as long as it is there, if there is room for what it says.
    pub(super) fn kept(mut self, texts: &Texts) -> Result<Self, Failure> {
        self._part = Some(texts.take(self.bytes)?);
        Ok(self)
    }

    fn say(&mut self, node: &Node) -> Result<(), Failure> {
        self.toxicity = node.single_at("toxicity")?.unwrap_or(self.toxicity);
        let said = node.get("attributes")?.unwrap_or(&Node::Null);
        let said = said
            .object()
            .map_err(|mismatch| mismatch.at("attributes"))?;
        let said = said.unwrap_or_default();
        let too_many = || {
            Failure::bad_body(format_args!(
                "too many attributes: at most {ATTRIBUTES_MAX}"
            ))
        };
        if said.len() > ATTRIBUTES_MAX {
            return Err(too_many());
        }
        for (key, value) in said {
            let key = key.to_ascii_lowercase();
            self.attributes.retain(|(known, _)| *known != key);
            if !value.is_null() {
                self.attributes.push((key, value.clone()));
            }
        }
        if self.attributes.len() > ATTRIBUTES_MAX {
            return Err(too_many());
        }
        Ok(())
    }

    /// Reads it as a scenario's file is read, with the same words for what is wrong.
    fn read(
        &mut self,
        kind: Kind,
        place: &Place<'_>,
        memory: &mut Memory,
    ) -> Result<Option<Arc<Active>>, Failure> {
        let text = self.as_toml(kind.def.name, place.proxy);
        self.bytes = text.len();
        if self.bytes > TEXT_BYTES_MAX {
            return Err(Failure::bad_body(format_args!(
                "attributes are too long: at most {TEXT_BYTES_MAX} bytes"
            )));
        }
        let source = Source::new("attributes", text);
        let name = format!("`{}`", self.kind_said);
        let mut problems = Problems::default();
        let read = said::fault(kind.def, &name, &source, place.protocol, &mut problems);
        if let Some(words) = in_words(&problems) {
            return Err(Failure::bad_body(words));
        }
        let Some(said::Read {
            behaviour, gate, ..
        }) = read
        else {
            return Err(Failure::bad_body(format_args!("no `{}`", self.kind_said)));
        };
        if self.toxicity <= 0.0 {
            return Ok(None);
        }
        let armed = place.recorder.now();
        let behaviour = behaviour
            .armed(memory, place.proxy, armed)
            .unwrap_or(behaviour);
        let by = gate
            .by
            .clone()
            .unwrap_or_else(|| default_by(place.protocol));
        // Its number tells it from the others in force, of which there are far fewer.
        let number = FaultId(OF_TOXICS | self.id as u16);
        let names = ["toxic", place.proxy, &self.name];
        let said = format!("{} {} on {}", self.kind_said, self.name, place.proxy);
        place.recorder.names(number, &said);
        Ok(Some(Arc::new(Active::new(
            number,
            gate,
            behaviour,
            place.seed,
            &names,
            armed,
            Duration::ZERO,
            by,
        ))))
    }

    fn as_toml(&self, kind: &str, proxy: &str) -> String {
        let text = |text: &str| Node::Text(text.to_owned());
        let mut table = said::Table::default();
        table.put("kind", "type", &text(kind));
        table.put("on", "proxy", &text(proxy));
        for (key, value) in &self.attributes {
            table.put(key, key, value);
        }
        let says_share = self.attributes.iter().any(|(key, _)| key == "share");
        if self.toxicity > 0.0 && self.toxicity < 1.0 && !says_share {
            let percent = (f64::from(self.toxicity) * 1e8).round() / 1e6;
            table.put("share", "toxicity", &text(&format!("{percent}%")));
        }
        table.text().to_owned()
    }
}

/// Reads what asks for a toxic that knows a protocol, on a proxy of each protocol, and changes it as
/// it asks.
///
/// # Panics
/// What is refused has no words, or what is listed of a toxic is no JSON.
#[cfg(any(test, fuzzing))]
pub(super) fn feed(node: &Node) {
    let said = node.text_at("type").ok().flatten().unwrap_or_default();
    let Some(kind) = Kind::named(&said) else {
        return;
    };
    let (recorder, _observations) = Recorder::channel(1);
    for def in PROTOCOLS {
        let place = Place {
            proxy: "proxy",
            protocol: kind.protocol.unwrap_or(def.protocol),
            seed: Seed(1),
            recorder: &recorder,
        };
        let memory = &mut Memory::default();
        match Fault::asked(node, (kind, 1, said.clone()), &place, memory) {
            Ok(fault) => {
                let listed = json::written(&fault);
                assert!(Node::read(listed.as_bytes()).is_ok(), "{listed}");
                let _ = fault.updated(node, &place, memory);
            }
            Err(failure) => assert!(!failure.message.is_empty()),
        }
        if kind.protocol.is_some() {
            break;
        }
    }
}

/// Everything that is wrong, in one line; `None` for nothing.
fn in_words(problems: &Problems) -> Option<String> {
    let word = |problem: &crate::input::Problem| match &problem.hint {
        Some(hint) => format!("{} (hint: {hint})", problem.message),
        None => problem.message.clone(),
    };
    let words: Vec<String> = problems.as_slice().iter().map(word).collect();
    (problems.any_error()).then(|| words.join("; "))
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Attributes<'a>(&'a [(String, Node)]);
        impl Serialize for Attributes<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
            }
        }
        let mut fields = serializer.serialize_struct("Toxic", 6)?;
        fields.serialize_field("attributes", &Attributes(&self.attributes))?;
        fields.serialize_field("name", &self.name)?;
        fields.serialize_field("type", &self.kind_said)?;
        fields.serialize_field("stream", &self.stream_said)?;
        fields.serialize_field("toxicity", &json::Single(self.toxicity))?;
        let acted = self.active.as_ref().map_or(0, |active| active.hits());
        fields.serialize_field("acted", &acted)?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, protocol: Protocol, said: &str) -> Result<Fault, String> {
        let (recorder, _history) = Recorder::channel(1);
        let place = Place {
            proxy: "p",
            protocol,
            seed: Seed(1),
            recorder: &recorder,
        };
        let body = format!(r#"{{"type":"{kind}",{said}}}"#);
        let node = Node::read(body.as_bytes()).expect("it is JSON");
        let kind = Kind::named(kind).ok_or("no such type")?;
        let asked = (kind, 1, "t".to_owned());
        Fault::asked(&node, asked, &place, &mut Memory::default())
            .map_err(|failure| failure.message)
    }

    #[test]
    fn every_fault_of_a_request_has_a_type_for_each_protocol_that_carries_it() {
        for (name, protocol, kind) in [
            ("http_error", Some(Protocol::Http), "error"),
            ("s3_error", Some(Protocol::S3), "error"),
            (
                "postgres_lost_reply",
                Some(Protocol::Postgres),
                "lost-reply",
            ),
            ("redis_overload", Some(Protocol::Redis), "overload"),
            ("quota", None, "quota"),
            ("hang", None, "hang"),
        ] {
            let found = Kind::named(name).expect("it is there");
            assert_eq!((found.protocol, found.def.name), (protocol, kind), "{name}");
        }
        for name in [
            "refuse",
            "tcp_refuse",
            "no_accept",
            "kill",
            "http_pause",
            "ftp_error",
            "",
        ] {
            assert!(Kind::named(name).is_none(), "{name}");
        }
    }

    #[test]
    fn attributes_are_the_keys_of_a_scenario_with_its_words_for_mistakes() {
        let right = r#""attributes":{"Error":"SlowDown","applied":"maybe","when":{"operation":["GetObject","PutObject"]},"retry_after":"2s","detail":null}"#;
        let fault = read("s3_error", Protocol::S3, right).expect("it is right");
        assert!(fault.active.is_some());
        assert_eq!(
            json::written(&fault),
            r#"{"attributes":{"error":"SlowDown","applied":"maybe","when":{"operation":["GetObject","PutObject"]},"retry_after":"2s"},"name":"t","type":"s3_error","stream":"downstream","toxicity":1,"acted":0}"#
        );
        let wrong = |kind, protocol, said: &str| {
            let said = format!(r#""attributes":{{{said}}}"#);
            read(kind, protocol, &said).map(|_| ()).unwrap_err()
        };
        let misspelt = wrong("s3_error", Protocol::S3, r#""eror":"SlowDown""#);
        assert!(
            misspelt.contains("unknown key `eror`") && misspelt.contains("did you mean `error`"),
            "{misspelt}"
        );
        let carried = wrong("lost_reply", Protocol::Tcp, "");
        assert!(
            carried.contains("cannot act on the protocol tcp"),
            "{carried}"
        );
        let phase = wrong(
            "http_error",
            Protocol::Http,
            r#""status":503,"share":"5%","ramp":{"share":["0%","5%"]}"#,
        );
        assert!(phase.starts_with("bad request body: "), "{phase}");
        let quotes = wrong("http_error", Protocol::Http, r#""a\"\nkind=\"b":1"#);
        assert!(quotes.contains("unknown key"), "{quotes}");
    }

    #[test]
    fn attributes_are_not_without_number() {
        let many = |count: u32| {
            let each: Vec<String> = (0..count).map(|at| format!(r#""a{at}":1"#)).collect();
            let said = format!(r#""attributes":{{{}}}"#, each.join(","));
            read("http_error", Protocol::Http, &said).expect_err("it is wrong")
        };
        assert!(many(65).contains("too many attributes"), "{}", many(65));
        assert!(many(64).contains("unknown key"), "{}", many(64));
    }

    #[test]
    fn nor_are_they_long_without_end_or_all_of_them_together() {
        let texts = Texts::default();
        let with = |bytes: usize| {
            let body = "x".repeat(bytes);
            let said = format!(r#""attributes":{{"status":503,"body":"{body}"}}"#);
            let fault = read("http_error", Protocol::Http, &said)?;
            fault.kept(&texts).map_err(|failure| failure.message)
        };
        let too_long = with(TEXT_BYTES_MAX).expect_err("it is too long");
        assert!(too_long.contains("at most 65536 bytes"), "{too_long}");
        let mut others: Vec<Part> = (0..TEXTS_BYTES_MAX / TEXT_BYTES_MAX)
            .map(|_| texts.take(TEXT_BYTES_MAX).expect("there is room"))
            .collect();
        let full = with(10).expect_err("there is none");
        assert!(full.contains("of all toxics"), "{full}");
        // What goes makes room.
        others.pop();
        with(10).expect("there is room");
        drop(others);
        assert_eq!(texts.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn toxicity_is_the_share_unless_a_share_is_said() {
        let share = |said: &str| {
            let fault = read("http_error", Protocol::Http, said).expect("it is right");
            let active = fault.active?;
            Some(active.gate.share.map(crate::units::Share::fraction))
        };
        let status = r#""attributes":{"status":503"#;
        assert_eq!(share(&format!("{status}}}")), Some(None));
        assert_eq!(
            share(&format!(r#""toxicity":0.25,{status}}}"#)),
            Some(Some(0.25))
        );
        assert_eq!(
            share(&format!(r#""toxicity":0.25,{status},"share":"5%"}}"#)),
            Some(Some(0.05))
        );
        assert_eq!(share(&format!(r#""toxicity":80,{status}}}"#)), Some(None));
        assert_eq!(share(&format!(r#""toxicity":0,{status}}}"#)), None);
    }
}
