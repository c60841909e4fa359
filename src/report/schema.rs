//! The JSON Schemas of what is written for other programs, as they are published: `report.json` in
//! `docs/report.schema.json`, `matrix.json` in `docs/matrix.schema.json`, `metastability.json` in
//! `docs/metastability.schema.json`.
//!
//! The files are made from the types of the models, their documentation included, by a test that also
//! keeps them in step: `UPDATE_DOCS=1 cargo test report::schema`. Whoever adds a field to a model
//! does no more than that. A schema is strict: a field that it does not know is an error, so that a
//! report is read by the schema of the Brownout that wrote it or of a later one.

/// JSON Schema (draft 2020-12) of `report.json`.
pub const REPORT_SCHEMA: &str = include_str!("../../docs/report.schema.json");

/// JSON Schema of `matrix.json`.
pub const MATRIX_SCHEMA: &str = include_str!("../../docs/matrix.schema.json");

/// JSON Schema of `metastability.json`.
pub const METASTABILITY_SCHEMA: &str = include_str!("../../docs/metastability.schema.json");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        matrix::MATRIX_VERSION,
        metastability::{Boundary, METASTABILITY_VERSION, MetastabilityReport},
        policy::{BackOff, Claim, Finding, Jitter, Law},
        report::{
            Calls, DetectedReport, Digests, REPORT_VERSION, REPORTS, ScenarioReport, SeriesReport,
            Spread, SuiteReport, UnlistedHostReport,
            matrix::{MATRIX_REPORTS, json::Document},
            sample,
        },
        units::Micros,
    };
    use schemars::{
        Schema, SchemaGenerator, generate::SchemaSettings, transform::RecursiveTransform,
    };
    use serde_json::{Map, Value, json};
    use std::{
        collections::{BTreeMap, BTreeSet},
        path::Path,
    };

    /// A file that is written for other programs.
    struct Written {
        /// Its name, without its end.
        name: &'static str,
        version: u32,
        about: &'static str,
        /// The schema as it is published.
        published: &'static str,
        root: fn(SchemaGenerator) -> Schema,
    }

    const WRITTEN: &[Written] = &[
        Written {
            name: "report",
            version: REPORT_VERSION,
            about: "what was required, what was measured and what happened",
            published: REPORT_SCHEMA,
            root: SchemaGenerator::into_root_schema_for::<SuiteReport>,
        },
        Written {
            name: "matrix",
            version: MATRIX_VERSION,
            about: "what every load met with in every trouble of every dependency",
            published: MATRIX_SCHEMA,
            root: SchemaGenerator::into_root_schema_for::<Document<'static>>,
        },
        Written {
            name: "metastability",
            version: METASTABILITY_VERSION,
            about: "the trigger from which a system does not come back",
            published: METASTABILITY_SCHEMA,
            root: SchemaGenerator::into_root_schema_for::<MetastabilityReport>,
        },
    ];

    /// The schema made of the types.
    fn made(written: &Written) -> Value {
        let settings = SchemaSettings::draft2020_12()
            .for_serialize()
            .with_transform(RecursiveTransform(strict as fn(&mut Schema)))
            .with_transform(RecursiveTransform(plain as fn(&mut Schema)));
        let root = (written.root)(settings.into_generator());
        let Value::Object(made) = root.to_value() else {
            panic!("a schema is an object");
        };
        let Written {
            name,
            version,
            about,
            ..
        } = written;
        let mut schema = Map::new();
        schema.insert("$schema".to_owned(), made["$schema"].clone());
        schema.insert(
            "$id".to_owned(),
            format!("urn:brownout:{name}:{version}").into(),
        );
        schema.insert(
            "title".to_owned(),
            format!("{name}.json of Brownout: {about}").into(),
        );
        schema.extend(made.into_iter().filter(|(key, _)| key != "title"));
        schema["properties"]["version"]["const"] = (*version).into();
        Value::Object(schema)
    }

    /// Nothing but the fields that are known; each table says so, variants as well.
    fn strict(schema: &mut Schema) {
        if schema.get("properties").is_some() {
            schema.insert("additionalProperties".to_owned(), false.into());
        }
    }

    /// Descriptions without the brackets that link to other parts of the source.
    fn plain(schema: &mut Schema) {
        let Some(Value::String(text)) = schema.get_mut("description") else {
            return;
        };
        *text = text
            .replace("[`", "`")
            .replace("`]", "`")
            .replace('\n', " ");
    }

    fn written() -> Value {
        serde_json::from_str(REPORT_SCHEMA).unwrap()
    }

    #[test]
    fn the_published_schemas_are_in_step_with_the_models() {
        for written in WRITTEN {
            in_step(written);
        }
    }

    fn in_step(written: &Written) {
        let made = format!("{:#}\n", made(written));
        let file = format!("docs/{}.schema.json", written.name);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            std::fs::write(path, &made).unwrap();
            return;
        }
        for (number, (known, made)) in written.published.lines().zip(made.lines()).enumerate() {
            let line = number + 1;
            assert_eq!(known, made, "{file}:{line}; UPDATE_DOCS=1 writes it anew");
        }
        assert!(written.published == made, "{file} has another end");
    }

    /// A report with every field that there is.
    fn full() -> SuiteReport {
        let mut report = sample::suite();
        let scenario = &mut report.scenarios[0];
        scenario.unlisted_hosts.push(UnlistedHostReport {
            host: "api.example.org:443".to_owned(),
            count: 3,
            passed: false,
        });
        let recovery = scenario.recovery.as_mut().expect("the sample recovers");
        recovery.untold = Some("`ask` was asked once since, too seldom to tell".to_owned());
        fill_what_diff_needs(scenario);
        fill_findings(scenario);
        fill_series(&mut report);
        report
    }

    /// A series that the sequential test ended, of which nothing else is left out.
    fn fill_series(report: &mut SuiteReport) {
        let mut repeated = crate::report::series::sample::suite().scenarios;
        repeated.retain(|one| one.status == crate::expectation::Status::Fail);
        report.scenarios[0].repetition = repeated[0].repetition.clone();
        let mut series = SeriesReport::of(Some(4), false, &repeated);
        series.scenarios[0].requirements[0].place = Some(crate::expectation::Place {
            file: "s3.toml".to_owned(),
            line: 1,
            end_line: 2,
        });
        report.series = Some(series);
    }

    fn fill_what_diff_needs(scenario: &mut ScenarioReport) {
        let clumping = BTreeMap::from([("answered".to_owned(), 1.5)]);
        scenario.detected = Some(DetectedReport {
            fallback_us: Some(1_000_000),
            alert_us: Some(2_000_000),
        });
        let digest = || "0123456789abcdef".to_owned();
        scenario.digests = Some(Digests {
            scenario: digest(),
            system: digest(),
            phases: BTreeMap::from([("steady".to_owned(), digest())]),
            loads: BTreeMap::from([("ask".to_owned(), digest())]),
            ledgers: BTreeMap::from([("work".to_owned(), digest())]),
            hold_us: Some(5_000_000),
        });
        scenario.loads[0].phases[0].spread = Some(Spread {
            answered_us: BTreeMap::from([(16_384, 12)]),
            clumping: clumping.clone(),
        });
        scenario.dependencies[0].phases[0].calls = Some(Calls {
            total: 12,
            retries: 3,
            attempts: 15,
            errors: 3,
            during_us: 10_000_000,
            clumping,
        });
        scenario.ledgers[0].drained_us = Some(3_000_000);
        scenario.ledgers[0].clumping = Some(1.5);
    }

    /// A claim with each kind of finding.
    fn fill_findings(scenario: &mut ScenarioReport) {
        let findings = [
            Finding::AtLeast { value_us: 1 },
            Finding::BackOff(BackOff {
                laws: vec![Law::Exponential],
                jitters: vec![Jitter::Full],
                factor: Some(2.0),
                base_us: Some((50_000, 45_000, 55_000)),
                cap_us: Some(1_000_000),
            }),
            Finding::Does {
                does: true,
                part: 9,
                whole: 9,
            },
            Finding::Budget {
                retries: 35,
                slack: 0,
                bare: 9,
                tokens_each: Some(14),
                or_changed: false,
            },
            Finding::Factor {
                value: 3.0,
                low: 2.5,
                high: 3.5,
            },
            Finding::Changed {
                at: Micros(1),
                what: "attempts a call 5, then 3".to_owned(),
                chance: 0.001,
            },
        ];
        let policies = scenario.policies.as_mut().expect("the sample has policies");
        let claim = policies.claims[0].clone();
        let made = findings.map(|finding| Claim {
            finding,
            detail: Some("retry-after".to_owned()),
            ..claim.clone()
        });
        policies.claims.extend(made);
    }

    fn rendered(report: &SuiteReport) -> Value {
        let json = REPORTS.iter().find(|def| def.name == "json").unwrap();
        serde_json::from_slice(&(json.render)(report)).unwrap()
    }

    /// What is wrong with a report, each by its place.
    fn errors(report: &Value) -> Vec<String> {
        errors_by(&written(), report)
    }

    fn errors_by(schema: &Value, report: &Value) -> Vec<String> {
        let validator = jsonschema::draft202012::new(schema).unwrap();
        let errors = validator.iter_errors(report);
        errors
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    }

    #[test]
    fn reports_are_valid_and_the_sample_has_every_field() {
        filled(&written(), &rendered(&full()));
    }

    /// That a file is valid, and holds every field that its schema declares.
    fn filled(schema: &Value, file: &Value) {
        assert_eq!(errors_by(schema, file), Vec::<String>::new());
        let mut seen = BTreeSet::new();
        fields(file, &mut seen);
        let mut declared = BTreeSet::new();
        declarations(schema, &mut declared);
        let unseen: Vec<&String> = declared.difference(&seen).collect();
        assert!(
            unseen.is_empty(),
            "the sample fills every field, but for {unseen:?}"
        );
    }

    #[test]
    fn matrices_are_valid_and_the_sample_has_every_field_and_is_read_back() {
        let schema: Value = serde_json::from_str(MATRIX_SCHEMA).unwrap();
        let json = MATRIX_REPORTS
            .iter()
            .find(|def| def.name == "json")
            .unwrap();
        let bytes = (json.render)(&whole_matrix());
        let file: Value = serde_json::from_slice(&bytes).unwrap();
        filled(&schema, &file);
        let read: crate::matrix::Matrix = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((json.render)(&read), bytes);
        for pointer in [
            "",
            "/reference",
            "/trials/0",
            "/trials/0/state",
            "/findings/0",
        ] {
            let mut changed = file.clone();
            changed.pointer_mut(pointer).unwrap()["surprise"] = json!(1);
            assert!(!errors_by(&schema, &changed).is_empty(), "{pointer}");
        }
    }

    /// The sample with what is rare, too.
    fn whole_matrix() -> crate::matrix::Matrix {
        use crate::matrix::{Beside, Doubling, NamedBy, State, Trial};
        let mut matrix = crate::matrix::sample();
        let policies = full().scenarios[0].policies.clone();
        let claims = policies.expect("the sample has policies").claims;
        matrix.external = true;
        matrix
            .trials
            .push(Trial::due(matrix.trials[0].aim.clone(), "no time"));
        let reference = matrix.reference.as_mut().unwrap();
        reference.by_itself.push("pager".into());
        reference.sick = Some("it was not".to_owned());
        reference.named_by.push(NamedBy {
            dependency: "s3".into(),
            capture: "version".to_owned(),
            known_again_by: Some("key".to_owned()),
        });
        let texts = || "as before".to_owned();
        let known = [
            Doubling::Once { what: texts() },
            Doubling::Nothing { why: texts() },
            Doubling::Unknown { why: texts() },
        ];
        for (trial, doubling) in matrix.trials.iter_mut().zip(known) {
            if let State::Tried(tried) = &mut trial.state {
                tried.doubling = Some(doubling);
                tried.waited_us = Some((1_000_000, 2_000_000));
                tried.leant_on.push("backup".into());
                tried.claims.clone_from(&claims);
            }
            trial.aim.beside = Some(Beside {
                dependency: "backup".into(),
                kind: crate::matrix::Kind::Hang,
            });
        }
        matrix
    }

    #[test]
    fn searches_are_valid_and_the_sample_has_every_field_and_is_read_back() {
        let schema: Value = serde_json::from_str(METASTABILITY_SCHEMA).unwrap();
        let mut report = crate::report::metastability::sample();
        let size = 2.0;
        report.search.boundary = Boundary::Above {
            size,
            confidence: 0.97,
        };
        report.search.points[0].probes[0].note = Some("a note".to_owned());
        let between = Boundary::Between {
            low: 1.0,
            high: 2.0,
            confidence: 0.97,
        };
        report.hidden_capacity.as_mut().unwrap().search.boundary = between;
        report.capacity = Some("servers = 1".to_owned());
        let bytes = crate::report::metastability::json(&report);
        let file: Value = serde_json::from_slice(&bytes).unwrap();
        filled(&schema, &file);
        let read: MetastabilityReport = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read, report);
        for pointer in ["", "/search", "/search/points/0", "/search/boundary"] {
            let mut changed = file.clone();
            changed.pointer_mut(pointer).unwrap()["surprise"] = json!(1);
            assert!(!errors_by(&schema, &changed).is_empty(), "{pointer}");
        }
    }

    /// The names of all fields of a value.
    fn fields(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                found.extend(object.keys().cloned());
                object.values().for_each(|inner| fields(inner, found));
            }
            Value::Array(items) => items.iter().for_each(|inner| fields(inner, found)),
            _ => {}
        }
    }

    /// The names of all fields that a schema declares.
    fn declarations(schema: &Value, found: &mut BTreeSet<String>) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            found.extend(properties.keys().cloned());
        }
        match schema {
            Value::Object(object) => object.values().for_each(|inner| declarations(inner, found)),
            Value::Array(items) => items.iter().for_each(|inner| declarations(inner, found)),
            _ => {}
        }
    }

    #[test]
    fn a_field_too_many_or_too_few_or_of_another_sort_is_an_error() {
        let good = rendered(&full());
        let changed = |pointer: &str, change: &dyn Fn(&mut Value)| {
            let mut report = good.clone();
            change(report.pointer_mut(pointer).unwrap());
            errors(&report)
        };
        let tables = [
            "",
            "/scenarios/0",
            "/scenarios/0/verdicts/1",
            "/scenarios/0/verdicts/1/place",
            "/scenarios/0/verdicts/1/evidence/0",
            "/scenarios/0/verdicts/1/evidence/0/about",
            "/scenarios/0/loads/0/phases/0/outcomes",
            "/scenarios/0/ledgers/0/backlog",
            "/scenarios/0/machine",
        ];
        for table in tables {
            let more = changed(table, &|value| value["surprise"] = json!(1));
            assert!(
                more.iter().any(|error| error.contains("surprise")),
                "{table}: {more:?}"
            );
        }
        for (table, field) in [
            ("", "version"),
            ("", "scenarios"),
            ("/scenarios/0", "verdicts"),
            ("/scenarios/0/verdicts/0", "status"),
            ("/scenarios/0/faults/0", "hits"),
            ("/scenarios/0/verdicts/1/evidence/1/about", "nth"),
        ] {
            let fewer = changed(table, &|value| {
                value.as_object_mut().unwrap().remove(field).unwrap();
            });
            assert!(!fewer.is_empty(), "{table} without {field}");
        }
        for (value, other) in [
            ("/version", json!(REPORT_VERSION + 1)),
            ("/scenarios/0/status", json!("passed")),
            ("/scenarios/0/verdicts/0/window", json!([1])),
            ("/scenarios/0/duration_us", json!(-1)),
            ("/scenarios/1/trouble/kind", json!("not started")),
        ] {
            let wrong = changed(value, &|value| *value = other.clone());
            assert!(!wrong.is_empty(), "{value} as {other}");
        }
    }

    #[test]
    fn what_may_be_missing_is_what_a_report_leaves_out() {
        let schema = written();
        let required = |name: &str| schema["$defs"][name]["required"].clone();
        let verdict = required("Verdict");
        let has = |field: &str| verdict.as_array().unwrap().contains(&json!(field));
        assert!(
            has("measured") && !has("reason") && !has("evidence"),
            "{verdict}"
        );
    }
}
