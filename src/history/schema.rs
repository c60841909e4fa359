//! The JSON Schema of a line of a history, as it is published in `docs/history.schema.json`.
//!
//! The file is made from the types of the observations, their documentation included, by a test that
//! also keeps it in step: `UPDATE_DOCS=1 cargo test history::schema`. Other than the schemas of
//! reports it lets fields pass that it does not know: a later version may add some, and whoever reads
//! a history passes them by.

/// JSON Schema (draft 2020-12) of one line of `history.jsonl`.
pub const HISTORY_SCHEMA: &str = include_str!("../../docs/history.schema.json");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fault::FaultId,
        history::{
            HISTORY_VERSION, Measure, Observation, Outcome, QueueSample, Unlisted, line,
            sample::{Story, attempt},
        },
        protocol::{RetryAfter, TraceParent},
        units::Micros,
    };
    use schemars::{
        Schema, SchemaGenerator, generate::SchemaSettings, transform::RecursiveTransform,
    };
    use serde_json::{Map, Value};
    use std::{collections::BTreeSet, path::Path};

    /// The schema made of the types.
    fn made() -> Value {
        let settings = SchemaSettings::draft2020_12()
            .for_serialize()
            .with_transform(RecursiveTransform(plain as fn(&mut Schema)));
        let root = SchemaGenerator::from(settings).into_root_schema_for::<Observation>();
        let Value::Object(made) = root.to_value() else {
            panic!("a schema is an object");
        };
        let mut schema = Map::new();
        schema.insert("$schema".to_owned(), made["$schema"].clone());
        let id = format!("urn:brownout:history:{HISTORY_VERSION}");
        schema.insert("$id".to_owned(), id.into());
        let title = "A line of history.jsonl of Brownout: one thing that was observed";
        schema.insert("title".to_owned(), title.into());
        let rest = made.into_iter();
        schema.extend(rest.filter(|(key, _)| key != "title" && key != "description"));
        Value::Object(schema)
    }

    /// Descriptions without the brackets that link to other parts of the source.
    fn plain(schema: &mut Schema) {
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = text
                .replace("[`", "`")
                .replace("`]", "`")
                .replace('\n', " ");
        }
    }

    #[test]
    fn the_published_schema_is_in_step_with_the_types() {
        let made = format!("{:#}\n", made());
        if std::env::var_os("UPDATE_DOCS").is_some() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/history.schema.json");
            std::fs::write(path, &made).unwrap();
            return;
        }
        for (number, (known, made)) in HISTORY_SCHEMA.lines().zip(made.lines()).enumerate() {
            let line = number + 1;
            assert_eq!(
                known, made,
                "docs/history.schema.json:{line}; UPDATE_DOCS=1 writes it anew"
            );
        }
        assert!(
            HISTORY_SCHEMA == made,
            "docs/history.schema.json has another end"
        );
    }

    /// A run in which everything happened.
    fn everything() -> Vec<Observation> {
        let mut story = Story::new()
            .load("ask", 0..2, 1, Outcome::Ok, 20)
            .work(3_000, "17", Outcome::Ok)
            .read_back(500, Outcome::Failed)
            .asked_again(2)
            .attempt(
                attempt("s3", 11_000, 12_000)
                    .sdk("a", 1)
                    .hit()
                    .gave_up()
                    .released(12_000),
            )
            .connection("s3", 11_000, 12_000)
            .process(12_000, "primary", "exited", false)
            .message(12_500, "s3 is down")
            .probes(13..14, Some(true))
            .probes(14..15, None)
            .gauge(15_000, Measure::Backlog, "work", Some(3.0))
            .gauge(16_000, Measure::Memory, "primary", None)
            .held_up(16_000, 16_100, 20)
            .listing(17_000, &["1"], &["2"])
            .unreadable(18_000, "status 503")
            .acted(19, "a connect unanswered")
            .missed(20, "ask", 3)
            .dropped(4)
            .waited(21, 5)
            .stalled(22_000, 22_500)
            .watched(59_000);
        let mut full = attempt("s3", 12_000, 12_100)
            .key("k")
            .table("t")
            .code("SlowDown")
            .repeated(1)
            .repeated_unknown(1)
            .held()
            .perhaps_held()
            .untold(12_200)
            .captured("id", "17")
            .done();
        full.declared_max = Some(3);
        full.retry_after.push(RetryAfter {
            header: "retry-after".into(),
            delay_us: 1_000_000,
        });
        full.trace = TraceParent::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert!(full.trace.is_some());
        story.observations.push(Observation::Attempt(full));
        story.observations.push(Observation::Queue(QueueSample {
            at: Micros::from_secs(12),
            since: Micros::from_secs(11),
            dependency: "s3".into(),
            fault: FaultId(0),
            waiting: 1,
            waiting_max: 2,
            serving: 3,
            utilisation: 0.5,
            arrived: 4,
            served: 5,
            refused: 6,
        }));
        let at = Micros::from_secs(59);
        story.observations.push(Observation::PhasesOver { at });
        story.observations.push(Observation::Unlisted(Unlisted {
            at: Micros::from_secs(12),
            host: "api.example.org:443".to_owned(),
            passed: false,
        }));
        story.observations()
    }

    #[test]
    fn every_line_is_valid_and_every_type_is_there() {
        let schema: Value = serde_json::from_str(HISTORY_SCHEMA).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let mut seen = BTreeSet::new();
        for observation in everything() {
            let mut bytes = Vec::new();
            line::push(&mut bytes, &observation).unwrap();
            let mut value: Value = serde_json::from_slice(&bytes).unwrap();
            let errors = validator.iter_errors(&value).map(|error| error.to_string());
            let errors: Vec<String> = errors.collect();
            assert!(errors.is_empty(), "{value}: {errors:?}");
            seen.insert(value["type"].as_str().unwrap().to_owned());
            // It says something: a line without its first field is none.
            let fields = value.as_object_mut().unwrap();
            let name = fields.keys().find(|name| is_always_there(name)).cloned();
            if let Some(name) = name {
                fields.remove(&name);
                assert!(!validator.is_valid(&value), "without {name}: {value}");
            }
        }
        let declared = schema["oneOf"].as_array().unwrap().iter().map(|one| {
            let name = &one["properties"]["type"]["const"];
            name.as_str().unwrap().to_owned()
        });
        assert_eq!(declared.collect::<BTreeSet<_>>(), seen);
    }

    fn is_always_there(name: &str) -> bool {
        ["type", "at", "began", "dependency"].contains(&name)
    }
}
