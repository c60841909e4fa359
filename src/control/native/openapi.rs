//! The native API's document, in OpenAPI 3.1: its paths are made of the table of routes.

use super::routes::{Content, Parameter, ROUTES, Route, Shape};
use crate::{control::bench::fault, protocol::PROTOCOLS};
use serde_json::{Map, Value, json};

/// The document.
pub(crate) fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_ascii_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "brownout serve",
            "version": "1",
            "description": "Dependencies that are made to fail by hand: what stands, what is in force, what was seen. Times are milliseconds since the server began; durations in requests are texts with their unit, like \"30s\". Everything that changes something wants the header `X-Brownout: 1`, which no page of another origin can send.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{}, { "token": [] }, { "password": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "password": { "type": "http", "scheme": "basic" },
            },
            "schemas": schemas(),
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.about,
        "responses": responses(route),
    });
    let parameters = parameters(route);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(schema) = route.takes {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": reference(schema) } },
        });
    }
    operation
}

fn parameters(route: &Route) -> Vec<Value> {
    let mut all = Vec::new();
    for part in route.path.split('/') {
        if let Some(name) = part
            .strip_prefix('{')
            .and_then(|part| part.strip_suffix('}'))
        {
            let schema = if name == "id" {
                json!({ "type": "integer", "minimum": 1 })
            } else {
                json!({ "type": "string", "minLength": 1 })
            };
            all.push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
        }
    }
    all.extend(route.query.iter().map(query));
    if route.method != "GET" {
        all.push(json!({
            "name": "X-Brownout",
            "in": "header",
            "required": true,
            "description": "Shows that no form of a page sent it.",
            "schema": { "type": "string", "const": "1" },
        }));
    }
    all
}

fn query(parameter: &Parameter) -> Value {
    let schema = match parameter.shape {
        Shape::Text(most) => json!({ "type": "string", "maxLength": most }),
        Shape::Count(most) => json!({ "type": "integer", "minimum": 1, "maximum": most }),
    };
    json!({
        "name": parameter.name,
        "in": "query",
        "required": false,
        "description": parameter.about,
        "schema": schema,
    })
}

fn responses(route: &Route) -> Value {
    let (status, content) = route.gives;
    let done = match content {
        Content::Nothing => json!({ "description": "Done." }),
        Content::Json(schema) => json!({
            "description": schema,
            "content": { "application/json": { "schema": reference(schema) } },
        }),
        Content::AnyJson => json!({
            "description": "A document.",
            "content": { "application/json": { "schema": { "type": "object" } } },
        }),
        Content::Text(kind) => json!({
            "description": "A text.",
            "content": { kind: { "schema": { "type": "string" } } },
        }),
    };
    let mut responses = Map::new();
    responses.insert(status.to_string(), done);
    let changes = route.method != "GET";
    let common = [401, 403].into_iter().chain(changes.then_some(413));
    let mut failures: Vec<u16> = common.chain(route.failures.iter().copied()).collect();
    failures.sort_unstable();
    failures.dedup();
    for status in failures {
        responses.insert(status.to_string(), failure(status));
    }
    Value::Object(responses)
}

fn failure(status: u16) -> Value {
    let about = match status {
        400 => "It cannot be read: all that is wrong, at once.",
        401 => "The token is missing or wrong.",
        403 => {
            "It came from a page of another origin, or without the header that shows that it did not."
        }
        404 => "There is no such thing.",
        409 => "It does not go with what there is.",
        413 => "The body is too large.",
        415 => "The body is said to be something else than JSON.",
        422 => "It can be read, and cannot be carried out.",
        _ => "There are as many as there may be.",
    };
    json!({
        "description": about,
        "content": { "application/json": { "schema": reference("Error") } },
    })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// An object with these properties and no others, all of them there.
fn object(properties: Value) -> Value {
    let required: Vec<String> = properties
        .as_object()
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn list(of: &str) -> Value {
    json!({ "type": "array", "items": reference(of) })
}

fn or_null(kind: &str) -> Value {
    json!({ "type": [kind, "null"] })
}

fn either_null(of: &str) -> Value {
    json!({ "anyOf": [reference(of), { "type": "null" }] })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn number() -> Value {
    json!({ "type": "number" })
}

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn count_or_null() -> Value {
    json!({ "type": ["integer", "null"], "minimum": 0 })
}

fn lists_of(item: Value) -> Value {
    json!({ "type": "array", "items": item })
}

fn duration() -> Value {
    json!({ "type": "string", "maxLength": 64, "pattern": "^([0-9.]+ *(us|µs|ms|s|min|m|h) *)+$", "examples": ["30s"] })
}

fn schemas() -> Value {
    let mut all = Map::new();
    for part in [
        general(),
        dependencies(),
        faults(),
        calls(),
        runs(),
        session(),
    ] {
        if let Value::Object(part) = part {
            all.extend(part);
        }
    }
    Value::Object(all)
}

fn general() -> Value {
    json!({
        "Error": object(json!({
            "error": object(json!({ "problems": list("Problem") })),
        })),
        "Problem": object(json!({
            "place": { "type": "string", "description": "Where in the request: `when.key[1]`; empty for all of it." },
            "what": text(),
            "hint": or_null("string"),
        })),
        "Server": object(json!({
            "version": text(),
            "seed": count(),
            "started_at": { "type": "string", "format": "date-time" },
            "uptime_ms": number(),
            "system": or_null("string"),
            "scenarios": { "type": "boolean" },
            "forward_proxy": or_null("string"),
            "limits": { "type": "object", "additionalProperties": count() },
        })),
        "Kinds": object(json!({
            "kinds": list("Kind"),
            "common": list("Key"),
        })),
        "Kind": object(json!({
            "name": text(),
            "summary": text(),
            "group": { "enum": ["connection", "stream", "message", "capacity"] },
            "protocols": lists_of(text()),
            "keys": list("Key"),
            "refuses": lists_of(text()),
            "example": { "type": "object" },
        })),
        "Key": {
            "type": "object",
            "properties": {
                "name": text(),
                "type": text(),
                "required": { "type": "boolean" },
                "summary": text(),
                "choices": lists_of(text()),
                "prefix": text(),
                "min": number(),
                "max": number(),
                "keys": list("Key"),
            },
            "required": ["name", "type", "required", "summary"],
            "additionalProperties": false,
        },
    })
}

fn dependencies() -> Value {
    let protocols: Vec<&str> = PROTOCOLS.iter().map(|def| def.name).collect();
    json!({
        "Dependencies": object(json!({ "dependencies": list("Dependency") })),
        "Dependency": object(json!({
            "name": text(),
            "role": or_null("string"),
            "protocol": or_null("string"),
            "listen": or_null("string"),
            "url": or_null("string"),
            "upstream": text(),
            "of": { "enum": ["file", "api", "toxiproxy", "run"] },
            "live": reference("Live"),
            "series": reference("Series"),
            "faults": lists_of(count()),
            "toxics": { "type": ["array", "null"], "items": { "type": "object" } },
        })),
        "Live": object(json!({
            "window_ms": number(),
            "calls_per_s": or_null("number"),
            "attempts_per_s": or_null("number"),
            "ok": count_or_null(),
            "failed": count_or_null(),
            "refused": count_or_null(),
            "unfinished": count_or_null(),
            "acted": count_or_null(),
            "in_flight": count_or_null(),
            "connections": count(),
            "latency_ms": either_null("Latency"),
            "bytes_in_per_s": number(),
            "bytes_out_per_s": number(),
            "second": reference("Second"),
        })),
        "Latency": object(json!({ "p50": number(), "p99": number() })),
        "Second": object(json!({
            "at_ms": number(),
            "ok": count(),
            "failed": count(),
            "refused": count(),
            "unfinished": count(),
            "p50_ms": or_null("number"),
            "p99_ms": or_null("number"),
            "bytes": count(),
        })),
        "Series": object(json!({
            "step_ms": count(),
            "from_ms": number(),
            "ok": lists_of(count()),
            "failed": lists_of(count()),
            "refused": lists_of(count()),
            "unfinished": lists_of(count()),
            "p50_ms": lists_of(or_null("number")),
            "p99_ms": lists_of(or_null("number")),
            "bytes": lists_of(count()),
        })),
        "NewDependency": {
            "type": "object",
            "properties": {
                "name": { "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" },
                "protocol": { "enum": protocols },
                "upstream": { "type": "string", "minLength": 1, "maxLength": 300, "examples": ["127.0.0.1:5432", "https://example.com", "embedded"] },
                "listen": { "type": ["string", "null"], "maxLength": 300, "examples": ["127.0.0.1:0"] },
            },
            "required": ["name", "protocol", "upstream"],
            "additionalProperties": false,
        },
    })
}

fn faults() -> Value {
    let kinds: Vec<&str> = fault::kinds().map(|def| def.name).collect();
    json!({
        "Faults": object(json!({ "faults": list("Fault") })),
        "Fault": object(json!({
            "id": count(),
            "kind": { "enum": kinds },
            "on": lists_of(text()),
            "label": text(),
            "keys": { "type": "object" },
            "since_ms": number(),
            "ends_in_ms": number(),
            "lease_ms": or_null("number"),
            "acted": count(),
            "toml": text(),
        })),
        "NewFault": {
            "type": "object",
            "description": "Beside these, the keys of a `[[phase.fault]]` of a scenario: see /api/v1/kinds.",
            "properties": {
                "on": { "anyOf": [
                    { "type": "string", "minLength": 1, "maxLength": 128 },
                    { "type": "array", "items": { "type": "string", "minLength": 1, "maxLength": 128 }, "minItems": 1, "maxItems": 20 },
                ] },
                "kind": { "enum": kinds },
                "ttl": duration(),
                "lease": duration(),
                "label": { "type": "string", "maxLength": 200 },
            },
            "required": ["on", "kind"],
            "anyOf": [{ "required": ["ttl"] }, { "required": ["lease"] }],
        },
        "Renewal": {
            "type": "object",
            "properties": { "ttl": duration() },
            "additionalProperties": false,
        },
    })
}

fn calls() -> Value {
    json!({
        "Calls": object(json!({ "calls": list("Call"), "under_way": list("UnderWay") })),
        "UnderWay": object(json!({
            "id": text(),
            "dependency": text(),
            "operation": text(),
            "key": or_null("string"),
            "at_ms": number(),
            "age_ms": number(),
        })),
        "Call": object(json!({
            "id": text(),
            "dependency": text(),
            "operation": text(),
            "key": or_null("string"),
            "at_ms": number(),
            "took_ms": or_null("number"),
            "outcome": { "enum": ["ok", "failed", "refused", "unfinished"] },
            "attempts": list("Attempt"),
            "heuristic": { "type": "boolean" },
        })),
        "Attempt": object(json!({
            "at_ms": number(),
            "took_ms": or_null("number"),
            "end": { "enum": ["answered", "gave-up", "cut", "upstream-failed", "unfinished"] },
            "status": count_or_null(),
            "code": or_null("string"),
            "faults": list("Acted"),
        })),
        "Acted": object(json!({ "id": count_or_null(), "kind": text() })),
    })
}

fn runs() -> Value {
    json!({
        "Scenarios": object(json!({ "scenarios": list("Scenario") })),
        "Scenario": object(json!({
            "file": text(),
            "name": text(),
            "summary": text(),
            "phases": lists_of(object(json!({ "name": text(), "lasts_ms": number() }))),
            "problems": list("Problem"),
        })),
        "NewRun": {
            "type": "object",
            "properties": {
                "scenario": { "type": "string", "minLength": 1, "description": "The name of a file at /api/v1/scenarios." },
                "seed": { "type": ["integer", "null"], "minimum": 0, "maximum": super::SEED_MAX, "description": "Repeats what was decided by chance with this seed; that of the server where it was given one, else a fresh one." },
            },
            "required": ["scenario"],
            "additionalProperties": false,
        },
        "Runs": object(json!({ "runs": list("Run") })),
        "Run": object(json!({
            "id": count(),
            "scenario": text(),
            "seed": count(),
            "state": { "enum": ["starting", "running", "judging", "done", "stopped", "error"] },
            "since_ms": number(),
            "phase": or_null("string"),
            "phases": lists_of(object(json!({
                "name": text(),
                "lasts_ms": number(),
                "began_at_ms": or_null("number"),
                "faults": lists_of(object(json!({
                    "kind": text(),
                    "on": lists_of(text()),
                    "label": text(),
                }))),
            }))),
            "verdicts": list("Verdict"),
            "verdict": { "enum": ["pass", "fail", "inconclusive", null] },
            "error": or_null("string"),
            "dependencies": list("Dependency"),
        })),
        "Verdict": object(json!({
            "id": text(),
            "that": text(),
            "verdict": { "enum": ["pass", "fail", "inconclusive"] },
            "measured": text(),
            "required": text(),
        })),
    })
}

fn session() -> Value {
    json!({
        "Session": object(json!({
            "since_ms": number(),
            "actions": list("Action"),
        })),
        "Action": object(json!({
            "at_ms": number(),
            "what": { "enum": ["fault", "lifted", "expired", "renewed", "dependency"] },
            "text": text(),
        })),
        "Saved": object(json!({
            "name": text(),
            "toml": text(),
            "notes": lists_of(text()),
            "system": or_null("string"),
        })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, path::Path};

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    found.insert(reference.clone());
                }
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_to_a_schema_and_every_schema_is_one() {
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in &found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for name in document["components"]["schemas"]
            .as_object()
            .expect("schemas")
            .keys()
        {
            let schema = json!({
                "$ref": format!("#/components/schemas/{name}"),
                "components": document["components"],
            });
            jsonschema::draft202012::new(&schema).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    /// `UPDATE_DOCS=1` writes it anew.
    #[test]
    fn the_document_is_kept_in_docs() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        let made = serde_json::to_string_pretty(&document()).expect("it is written") + "\n";
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &made).expect("it is written");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == made,
            "docs/openapi.json is another one: run this test with UPDATE_DOCS=1"
        );
    }
}
