//! A planned operation and a template become a request. Pure.

use super::{Base, Planned};
use crate::scenario::RequestTemplate;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

/// A request with every placeholder filled.
#[derive(Debug, Clone)]
pub(super) struct Rendered {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    /// What it asks, for evidence: method and path. A query may hold secrets and is left out.
    pub label: Arc<str>,
}

impl Rendered {
    /// Fills a template from the operation's values and those captured before. The error is a
    /// lower-case fragment.
    pub fn new(
        template: &RequestTemplate,
        planned: &Planned,
        captured: &BTreeMap<String, String>,
        base: &Base,
    ) -> Result<Self, String> {
        let value = |name: &str| planned.value(name).or_else(|| captured.get(name).cloned());
        let path = template
            .path
            .fill(&|name: &str| value(name).map(|value| in_path(&value)));
        let target = format!("{}{path}", base.prefix);
        let method = Method::from_bytes(template.method.as_bytes())
            .map_err(|_| format!("`{}` is no method", template.method))?;
        let uri: Uri = target
            .parse()
            .ok()
            .filter(|_| path.starts_with('/'))
            .ok_or_else(|| format!("`{path}` is no path"))?;
        let mut headers = HeaderMap::new();
        for (name, template) in &template.headers {
            let (name, value) = header_of(name, &template.fill(&value))?;
            headers.append(name, value);
        }
        complete(&mut headers, base)?;
        let body = template.body.as_ref();
        Ok(Self {
            label: label(&method, &path),
            method,
            uri,
            headers,
            body: body.map_or_else(Bytes::new, |body| body.fill(&value).into()),
        })
    }

    /// The message to send.
    pub fn message(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// The value of one of its headers, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Adds what every request carries unless the template set it.
fn complete(headers: &mut HeaderMap, base: &Base) -> Result<(), String> {
    if !headers.contains_key(header::HOST) {
        let (name, value) = header_of("host", &base.authority())?;
        headers.insert(name, value);
    }
    for (name, value) in [
        (
            header::USER_AGENT,
            concat!("brownout/", env!("CARGO_PKG_VERSION")),
        ),
        (header::ACCEPT, "*/*"),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    Ok(())
}

fn header_of(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let known = HeaderName::from_bytes(name.as_bytes());
    let value = HeaderValue::from_str(value);
    known
        .ok()
        .zip(value.ok())
        .ok_or_else(|| format!("the header `{name}` cannot hold its value"))
}

/// What is shown of a request.
fn label(method: &Method, path: &str) -> Arc<str> {
    match path.split_once('?') {
        Some((path, _)) => format!("{method} {path}?…").into(),
        None => format!("{method} {path}").into(),
    }
}

/// A value as it stands in a path or query: what has a meaning there, or none, is escaped, slashes
/// stay. A value that begins with a slash is a path already, as from a `Location` header, and is
/// taken as it is.
fn in_path(value: &str) -> String {
    if value.starts_with('/') {
        return value.to_owned();
    }
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => text.push(char::from(byte)),
            b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b'@' | b',' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::scenario::{Arrivals, Load, Outcomes, Template};
    use http_body_util::BodyExt;
    use std::time::Duration;

    /// A load named `ask` that GETs `/`, at this rate.
    pub(in crate::load) fn load(rate: &str) -> Load {
        Load {
            name: "ask".into(),
            rate: rate.parse().unwrap(),
            arrivals: Arrivals::Constant,
            request: request("GET", "/", &[], None),
            vars: BTreeMap::new(),
            timeout: Duration::from_secs(5),
            outcomes: Outcomes::default(),
            again: None,
            follow: None,
            capture: BTreeMap::new(),
            in_flight_max: 10_000,
            span: 0..0,
        }
    }

    pub(in crate::load) fn request(
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> RequestTemplate {
        let template = |text: &str| Template(text.to_owned());
        RequestTemplate {
            method: method.to_owned(),
            path: template(path),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), template(value)))
                .collect(),
            body: body.map(template),
        }
    }

    fn planned() -> Planned {
        Planned {
            nth: 3,
            intended: crate::units::Micros(0),
            vars: vec![("bot".into(), "a b/ü?".to_owned())],
            uuid: "u-1".to_owned(),
        }
    }

    fn rendered(template: &RequestTemplate) -> Result<Rendered, String> {
        let captured = BTreeMap::from([
            ("job".to_owned(), "/jobs/7?full=1".to_owned()),
            ("text".to_owned(), "say \"hi\"\r\n".to_owned()),
        ]);
        let base = Base::parse("http://127.0.0.1:80/api").unwrap();
        Rendered::new(template, &planned(), &captured, &base)
    }

    #[tokio::test]
    async fn placeholders_are_filled_as_each_place_needs_it() {
        let template = request(
            "POST",
            "/bots/{bot}/ask?n={nth}",
            &[("X-Id", "{uuid}"), ("x-id", "2")],
            Some(r#"{{"text":"{json:text}","id":"{uuid}"}}"#),
        );
        let rendered = rendered(&template).unwrap();
        assert_eq!(&*rendered.label, "POST /bots/a%20b/%C3%BC%3F/ask?…");
        let message = rendered.message();
        assert_eq!(message.uri(), "/api/bots/a%20b/%C3%BC%3F/ask?n=3");
        let ids: Vec<_> = message.headers().get_all("x-id").iter().collect();
        assert_eq!(ids, ["u-1", "2"]);
        assert_eq!(message.headers()["host"], "127.0.0.1:80");
        let body = message.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&body[..], br#"{"text":"say \"hi\"\r\n","id":"u-1"}"#);
    }

    #[test]
    fn a_captured_path_is_taken_as_it_is() {
        let rendered = rendered(&request("GET", "{job}", &[], None)).unwrap();
        assert_eq!(rendered.message().uri(), "/api/jobs/7?full=1");
        assert_eq!(&*rendered.label, "GET /jobs/7?…");
    }

    #[test]
    fn a_host_of_the_authors_own_is_kept() {
        let rendered = rendered(&request("GET", "/", &[("Host", "shop.example")], None)).unwrap();
        assert_eq!(rendered.header("host"), Some("shop.example"));
    }

    #[test]
    fn what_cannot_be_sent_is_an_error_and_no_panic() {
        for template in [
            request("GE T", "/", &[], None),
            request("GET", "/a b", &[], None),
            request("GET", "*", &[], None),
            request("GET", "/", &[("x", "{text}")], None),
            request("GET", "/", &[("x y", "1")], None),
        ] {
            assert!(rendered(&template).is_err(), "{template:?}");
        }
    }
}
