//! `[load.NAME]`: requests, their variables, and the rules over answers.

use super::{
    Again, Arrivals, Capture, Follow, Load, Outcomes, RequestTemplate, Rule, Template, ValueMatch,
    Var,
    dependency::{Side, captures, is_pointer},
    keys,
    scope::{Scope, check_name},
    status::parse_statuses,
    system::{above_zero, is_path},
    template::{Piece, json_escaped, pieces},
};
use crate::{
    input::{Fields, Item, Problems},
    units::{Rate, UnitError},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use toml::{Spanned, de::DeValue};

const TIMEOUT: Duration = Duration::from_secs(10);
const AGAIN_EVERY: Duration = Duration::from_secs(1);
const FOLLOW_EVERY: Duration = Duration::from_millis(250);
const IN_FLIGHT_MAX: usize = 1000;

/// Placeholders that every request has.
const BUILT_IN: &[&str] = &["uuid", "nth"];

/// What the templates and rules of a load may refer to.
pub(super) type LoadScope = Scope;

/// Reads all of them, and notes in `known` what scenarios may call them.
pub(super) fn loads(
    root: &Fields<'_>,
    known: &mut Vec<Arc<str>>,
    problems: &mut Problems,
) -> Vec<Load> {
    let tables = root.named_tables("load", "load", problems);
    if tables.len() > keys::NAMED_MAX {
        root.problem(
            problems,
            "load",
            format!("more than {} loads", keys::NAMED_MAX),
            None,
        );
    }
    let mut loads = Vec::with_capacity(tables.len());
    for (name, table) in &tables {
        check_name(name, "a load", table.source, problems);
        known.push(name.value.as_str().into());
        loads.extend(load(name, table, problems));
    }
    loads
}

fn load(name: &Item<String>, table: &Fields<'_>, problems: &mut Problems) -> Option<Load> {
    let vars = vars(table, problems);
    let capture = captures(table, Side::Load, problems);
    check_captures(table, &vars, &capture, problems);
    let scope = LoadScope::default()
        .and(table.names_in("vars"))
        .and(BUILT_IN.iter().copied());
    let request = request(table, "request", &scope, problems);
    let follow = follow(table, &scope.and(table.names_in("capture")), problems);
    if let Some(request) = &request {
        check_path_values(table, request, &vars, problems);
    }
    let rate = table.rate("rate", problems);
    let arrivals = match table.word("arrivals", problems).map(|word| word.value) {
        Some("constant") => Arrivals::Constant,
        _ => Arrivals::Poisson,
    };
    Some(Load {
        name: name.value.as_str().into(),
        rate: rate.or_else(|| Rate::per_second(1.0))?,
        arrivals,
        timeout: above_zero(table, "timeout", TIMEOUT, problems),
        outcomes: outcomes(table, &scope, problems),
        in_flight_max: table
            .integer("in_flight_max", problems)
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or(IN_FLIGHT_MAX),
        span: table.span.clone(),
        request: request?,
        vars,
        again: again(table, problems),
        follow,
        capture,
    })
}

fn vars(table: &Fields<'_>, problems: &mut Problems) -> BTreeMap<String, Var> {
    let mut vars = BTreeMap::new();
    for (name, fields) in table.named_tables("vars", "variable", problems) {
        check_name(&name, "a variable", table.source, problems);
        if BUILT_IN.contains(&name.value.as_str()) {
            problems.error(
                table.source,
                name.span.clone(),
                format!("`{}` is always there and cannot be a variable", name.value),
                None,
            );
        }
        if let Some(var) = var(&fields, problems) {
            vars.insert(name.value, var);
        }
    }
    vars
}

fn var(fields: &Fields<'_>, problems: &mut Problems) -> Option<Var> {
    let forms: Vec<&str> = ["zipf", "uniform", "sequence", "one_of"]
        .into_iter()
        .filter(|form| fields.has(form))
        .collect();
    let [form] = forms[..] else {
        problems.error(
            fields.source,
            fields.span.clone(),
            format!("{} must have one form", fields.name()),
            "{ zipf = 1.1, of = 200 }, { uniform = 200 }, { sequence = 100 } or { one_of = [\"a\", \"b\"] }"
                .to_owned(),
        );
        return None;
    };
    if fields.has("of") && form != "zipf" {
        fields.problem(
            problems,
            "of",
            format!("`of` belongs to `zipf`, not to `{form}`"),
            format!("{{ {form} = 200 }} alone says how far it goes"),
        );
    }
    match form {
        "zipf" => zipf(fields, problems),
        "uniform" => Some(Var::Zipf {
            exponent: 0.0,
            of: whole(fields, "uniform", problems)?,
        }),
        "sequence" => Some(Var::Sequence {
            of: whole(fields, "sequence", problems)?,
        }),
        _ => one_of(fields, problems),
    }
}

fn zipf(fields: &Fields<'_>, problems: &mut Problems) -> Option<Var> {
    if !fields.has("of") {
        fields.problem(
            problems,
            "zipf",
            "a Zipf law needs `of`, its greatest number",
            "{ zipf = 1.1, of = 200 }".to_owned(),
        );
    }
    let exponent = fields.number("zipf", problems);
    let of = whole(fields, "of", problems);
    Some(Var::Zipf {
        exponent: exponent?,
        of: of?,
    })
}

fn whole(fields: &Fields<'_>, key: &'static str, problems: &mut Problems) -> Option<u64> {
    let number = fields.integer(key, problems)?;
    u64::try_from(number).ok()
}

fn one_of(fields: &Fields<'_>, problems: &mut Problems) -> Option<Var> {
    let texts = fields.texts("one_of", problems)?;
    if texts.is_empty() {
        fields.problem(problems, "one_of", "one of nothing", None);
    }
    Some(Var::OneOf(
        texts.into_iter().map(|text| text.value).collect(),
    ))
}

/// A capture must not hide a variable, and `var:` must name one.
fn check_captures(
    table: &Fields<'_>,
    vars: &BTreeMap<String, Var>,
    captures: &BTreeMap<String, Capture>,
    problems: &mut Problems,
) {
    for (name, capture) in captures {
        let var = match capture {
            Capture::Var(var) => Some(var),
            _ => None,
        };
        if let Some(var) = var
            && !vars.contains_key(var)
            && !BUILT_IN.contains(&var.as_str())
        {
            let known = vars.keys().map(String::as_str);
            table.problem(
                problems,
                "capture",
                format!("`var:{var}` refers to no variable"),
                crate::input::hint_among(var, known.chain(BUILT_IN.iter().copied())),
            );
        }
        let hides = vars.contains_key(name) || BUILT_IN.contains(&name.as_str());
        if hides && var != Some(name) {
            table.problem(
                problems,
                "capture",
                format!("`{name}` is a capture and a variable"),
                "give one of them another name".to_owned(),
            );
        }
    }
}

/// A request line has no room for spaces, so no value in a path may have one.
fn check_path_values(
    table: &Fields<'_>,
    request: &RequestTemplate,
    vars: &BTreeMap<String, Var>,
    problems: &mut Problems,
) {
    for name in request.path.placeholders() {
        let Some(Var::OneOf(texts)) = vars.get(name) else {
            continue;
        };
        let unfit = |text: &&String| !text.chars().all(|c| c.is_ascii_graphic());
        if let Some(text) = texts.iter().find(unfit) {
            table.problem(
                problems,
                "vars",
                format!("`{text}` of variable `{name}` cannot stand in a path"),
                "write it percent-encoded".to_owned(),
            );
        }
    }
}

fn request(
    table: &Fields<'_>,
    key: &'static str,
    scope: &LoadScope,
    problems: &mut Problems,
) -> Option<RequestTemplate> {
    let fields = table.table(key, problems)?;
    let path = fields.text("path", problems);
    if path.as_ref().is_some_and(|path| !is_path(&path.value)) {
        fields.problem(
            problems,
            "path",
            "a path begins with `/` and holds no spaces",
            None,
        );
    }
    let path = path.map(|path| scope.template(path, fields.source, problems));
    let mut headers = request_headers(&fields, scope, problems);
    let body = request_body(&fields, scope, &mut headers, problems);
    let method = method(&fields, body.is_some(), problems);
    Some(RequestTemplate {
        method,
        path: path?,
        headers,
        body,
    })
}

fn method(fields: &Fields<'_>, has_body: bool, problems: &mut Problems) -> String {
    let Some(method) = fields.text("method", problems) else {
        return if has_body { "POST" } else { "GET" }.to_owned();
    };
    let token = http::Method::from_bytes(method.value.as_bytes()).is_ok();
    if !token || method.value != method.value.to_uppercase() || method.value == "CONNECT" {
        fields.problem(
            problems,
            "method",
            format!("`{}` is no method that can be sent", method.value),
            "in capitals: \"GET\", \"POST\", \"PUT\", \"DELETE\" …".to_owned(),
        );
    }
    method.value
}

fn request_headers(
    fields: &Fields<'_>,
    scope: &LoadScope,
    problems: &mut Problems,
) -> Vec<(String, Template)> {
    let mut headers = Vec::new();
    for (name, value) in fields.text_map("headers", problems).unwrap_or_default() {
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            problems.error(
                fields.source,
                value.span.clone(),
                format!("`{name}` cannot be the name of a header"),
                None,
            );
        }
        if value.value.contains(|c: char| c.is_control() && c != '\t') {
            problems.error(
                fields.source,
                value.span.clone(),
                format!("the value of header `{name}` holds a control character"),
                None,
            );
        }
        headers.push((name, scope.template(value, fields.source, problems)));
    }
    headers
}

fn request_body(
    fields: &Fields<'_>,
    scope: &LoadScope,
    headers: &mut Vec<(String, Template)>,
    problems: &mut Problems,
) -> Option<Template> {
    if fields.has("json") && fields.has("body") {
        fields.problem(
            problems,
            "body",
            "a request has one body",
            "give `json` or `body`".to_owned(),
        );
    }
    if let Some(value) = fields.raw("json") {
        let mut text = String::new();
        json_template(value, fields, &mut text, problems);
        let typed = |(name, _): &(String, Template)| name.eq_ignore_ascii_case("content-type");
        if !headers.iter().any(typed) {
            headers.push((
                "content-type".to_owned(),
                Template("application/json".to_owned()),
            ));
        }
        let item = Item {
            value: text,
            span: value.span(),
        };
        return Some(scope.template(item, fields.source, problems));
    }
    let body = fields.text("body", problems)?;
    Some(scope.template(body, fields.source, problems))
}

/// Appends a TOML value as JSON text that is a template: its own braces doubled, placeholders in
/// texts marked to be escaped.
fn json_template(
    value: &Spanned<DeValue<'_>>,
    fields: &Fields<'_>,
    json: &mut String,
    problems: &mut Problems,
) {
    match value.get_ref() {
        DeValue::String(text) => json_text(text, json),
        DeValue::Integer(_) | DeValue::Float(_) => match json_number(value.get_ref()) {
            Some(number) => json.push_str(&number),
            None => not_json(value, fields, problems),
        },
        DeValue::Boolean(truth) => json.push_str(&truth.to_string()),
        DeValue::Datetime(moment) => json_text(&moment.to_string(), json),
        DeValue::Array(items) => {
            json.push('[');
            for (index, item) in items.iter().enumerate() {
                json.push_str(if index > 0 { "," } else { "" });
                json_template(item, fields, json, problems);
            }
            json.push(']');
        }
        DeValue::Table(table) => {
            json.push_str("{{");
            for (index, (key, item)) in table.iter().enumerate() {
                json.push_str(if index > 0 { "," } else { "" });
                json_text(key.get_ref(), json);
                json.push(':');
                json_template(item, fields, json, problems);
            }
            json.push_str("}}");
        }
    }
}

/// A number of TOML as JSON writes it: `0x10` is 16. `None` of what JSON has not.
fn json_number(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix());
            number.ok().map(|number| number.to_string())
        }
        DeValue::Float(number) => {
            let number = number.as_str().replace('_', "").parse::<f64>().ok();
            let number = number.filter(|number| number.is_finite())?;
            Some(serde_json::Value::from(number).to_string())
        }
        _ => None,
    }
}

fn not_json(value: &Spanned<DeValue<'_>>, fields: &Fields<'_>, problems: &mut Problems) {
    problems.error(fields.source, value.span(), "JSON has no such number", None);
}

fn json_text(text: &str, json: &mut String) {
    json.push('"');
    for piece in pieces(text) {
        match piece {
            Piece::Literal(literal) => {
                json.push_str(&Template::literal(&json_escaped(literal)).0);
            }
            // Left single, so that the check of the whole body finds it.
            Piece::Stray(brace) => json.push_str(brace),
            Piece::Placeholder { name, .. } => json.push_str(&format!("{{json:{name}}}")),
        }
    }
    json.push('"');
}

fn again(table: &Fields<'_>, problems: &mut Problems) -> Option<Again> {
    let fields = table.table("again", problems)?;
    let before = problems.as_slice().len();
    let refusals = status(&fields, problems);
    let every = above_zero(&fields, "every", AGAIN_EVERY, problems);
    let within = above_zero(&fields, "within", TIMEOUT, problems);
    if within < every {
        let message = "`within` is over before `every` is: nothing would be asked again";
        fields.problem(problems, "within", message, None);
    }
    (fields.has("status") && problems.as_slice().len() == before).then_some(Again {
        status: refusals,
        every,
        within,
    })
}

fn follow(table: &Fields<'_>, scope: &LoadScope, problems: &mut Problems) -> Option<Follow> {
    let fields = table.table("then", problems)?;
    let request = request(&fields, "request", scope, problems);
    let until = rule(&fields, "until", scope, problems);
    if until.is_some() {
        refuse_empty(
            &fields,
            "until",
            "it would come true with any 2xx",
            problems,
        );
    }
    let every = above_zero(&fields, "every", FOLLOW_EVERY, problems);
    let within = above_zero(&fields, "within", TIMEOUT, problems);
    Some(Follow {
        request: request?,
        until: until?,
        every,
        within,
    })
}

/// Reads `ok`, `degraded` and `usually_degraded`.
pub(super) fn outcomes(table: &Fields<'_>, scope: &LoadScope, problems: &mut Problems) -> Outcomes {
    let degraded = rule(table, "degraded", scope, problems);
    if degraded.is_some() {
        refuse_empty(
            table,
            "degraded",
            "every 2xx would be a fallback's answer",
            problems,
        );
    }
    let usually_degraded = table.share("usually_degraded", problems);
    if usually_degraded.is_some() && !table.has("degraded") {
        table.problem(
            problems,
            "usually_degraded",
            "`usually_degraded` without `degraded`: nothing is a fallback's answer",
            "say what one looks like: `degraded = { header = { x-answered-from = \"cache\" } }`"
                .to_owned(),
        );
    }
    Outcomes {
        ok: rule(table, "ok", scope, problems).unwrap_or_default(),
        degraded,
        usually_degraded,
    }
}

fn refuse_empty(table: &Fields<'_>, key: &'static str, hint: &str, problems: &mut Problems) {
    let empty = table
        .raw(key)
        .and_then(|value| value.get_ref().as_table())
        .is_some_and(|rule| rule.is_empty());
    if empty {
        table.problem(
            problems,
            key,
            format!("`{key}` asks for nothing"),
            hint.to_owned(),
        );
    }
}

fn rule(
    table: &Fields<'_>,
    key: &'static str,
    scope: &LoadScope,
    problems: &mut Problems,
) -> Option<Rule> {
    let fields = table.table(key, problems)?;
    Some(read_rule(&fields, scope, problems))
}

/// Reads a rule over an answer, in which no placeholder means anything, from a table with the keys
/// of [`keys::RULE`]: for probes.
pub fn read_plain_rule(fields: &Fields<'_>, problems: &mut Problems) -> Rule {
    read_rule(fields, &Scope::default(), problems)
}

/// Reads a rule over an answer from a table with the keys of [`keys::RULE`].
pub(super) fn read_rule(fields: &Fields<'_>, scope: &Scope, problems: &mut Problems) -> Rule {
    let mut header = Vec::new();
    for (name, pattern) in fields.text_map("header", problems).unwrap_or_default() {
        match http::HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => header.push((name.as_str().to_owned(), pattern.value)),
            Err(_) => problems.error(
                fields.source,
                pattern.span,
                format!("`{name}` cannot be the name of a header"),
                None,
            ),
        }
    }
    Rule {
        status: status(fields, problems),
        header,
        json: json_rules(fields, scope, problems),
    }
}

fn status(fields: &Fields<'_>, problems: &mut Problems) -> super::StatusSet {
    let Some(value) = fields.raw("status") else {
        return super::StatusSet::default();
    };
    let parsed = match value.get_ref() {
        DeValue::String(text) => parse_statuses(text),
        DeValue::Integer(number) if number.radix() == 10 => parse_statuses(number.as_str()),
        _ => Err(UnitError(
            "expected a status, like 200 or \"2xx\"".to_owned(),
        )),
    };
    parsed.unwrap_or_else(|error| {
        fields.problem(problems, "status", format!("`status`: {error}"), None);
        super::StatusSet::default()
    })
}

fn json_rules(
    fields: &Fields<'_>,
    scope: &Scope,
    problems: &mut Problems,
) -> Vec<(String, ValueMatch)> {
    let Some((table, _)) = fields.raw_table("json", problems) else {
        return Vec::new();
    };
    let mut rules = Vec::with_capacity(table.len());
    for (pointer, value) in table.iter() {
        let pointer_text: &str = pointer.get_ref();
        if !is_pointer(pointer_text) {
            problems.error(
                fields.source,
                pointer.span(),
                format!("`{pointer_text}` is no JSON pointer"),
                format!("did you mean `/{pointer_text}`?"),
            );
        }
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Boolean(truth) => truth.to_string(),
            number @ (DeValue::Integer(_) | DeValue::Float(_)) => {
                let Some(number) = json_number(number) else {
                    not_json(value, fields, problems);
                    continue;
                };
                number
            }
            _ => {
                problems.error(
                    fields.source,
                    value.span(),
                    "a JSON value is held against a text, a number, true or false",
                    "\"ok\", 3, \"> 3\", \"!= x\"".to_owned(),
                );
                continue;
            }
        };
        let item = Item {
            value: text,
            span: value.span(),
        };
        rules.push((
            pointer_text.to_owned(),
            value_match(item, fields, scope, problems),
        ));
    }
    rules
}

fn value_match(
    text: Item<String>,
    fields: &Fields<'_>,
    scope: &Scope,
    problems: &mut Problems,
) -> ValueMatch {
    let (comparison, value) = [">=", "<=", "!=", ">", "<", "="]
        .into_iter()
        .find_map(|sign| {
            text.value
                .strip_prefix(sign)
                .map(|rest| (sign, rest.trim_start()))
        })
        .unwrap_or(("=", &text.value));
    let ordered = !matches!(comparison, "=" | "!=");
    let is_number = value.parse::<f64>().is_ok_and(f64::is_finite);
    if ordered && !value.contains('{') && !is_number {
        problems.error(
            fields.source,
            text.span.clone(),
            format!("`{comparison}` compares numbers, and `{value}` is none"),
            format!("for a text that begins with it, write \"= {}\"", text.value),
        );
    }
    let item = Item {
        value: value.to_owned(),
        span: text.span.clone(),
    };
    ValueMatch {
        comparison,
        value: scope.template(item, fields.source, problems),
    }
}
