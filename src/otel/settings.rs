//! Where spans go, by the environment variables of OpenTelemetry's specification.

use std::time::Duration;

/// How long a request to the receiver may take, where nobody says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where spans go, and what they say of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The whole URL.
    pub endpoint: String,
    /// Headers of each request: keys of a service, for instance.
    pub headers: Vec<(String, String)>,
    /// How long a request may take.
    pub timeout: Duration,
    /// What all spans have in common.
    pub resource: Vec<(String, String)>,
}

/// What is wrong with a variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {what}")]
pub struct Trouble {
    /// Its name.
    pub variable: String,
    /// What is wrong.
    pub what: String,
}

impl Settings {
    /// What these variables say; none where they name no receiver, or want no traces.
    ///
    /// # Errors
    /// One that cannot be followed.
    pub fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, Trouble> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        // What is said of traces wins over what is said of everything.
        let said = |what: &str| {
            let of_traces = format!("OTEL_EXPORTER_OTLP_TRACES_{what}");
            let of_all = format!("OTEL_EXPORTER_OTLP_{what}");
            [of_traces, of_all]
                .into_iter()
                .find_map(|name| Some((variable(&name)?.trim().to_owned(), name)))
        };
        let is_off = variable("OTEL_SDK_DISABLED")
            .is_some_and(|is| is.eq_ignore_ascii_case("true"))
            || variable("OTEL_TRACES_EXPORTER").is_some_and(|name| name.trim() == "none");
        let Some((endpoint, name)) = said("ENDPOINT").filter(|_| !is_off) else {
            return Ok(None);
        };
        let trouble = |variable: String, what: &str| Trouble {
            variable,
            what: what.to_owned(),
        };
        if let Some((protocol, variable)) = said("PROTOCOL")
            && !protocol.starts_with("http/")
        {
            let what = format!("`{protocol}` is not spoken here: http/json to port 4318 is");
            return Err(Trouble { variable, what });
        }
        let is_url = endpoint.starts_with("http://") || endpoint.starts_with("https://");
        if !is_url || endpoint.contains('@') {
            return Err(trouble(name, "no URL of http or https"));
        }
        let endpoint = match name.contains("_TRACES_") {
            true => endpoint,
            false => format!("{}/v1/traces", endpoint.trim_end_matches('/')),
        };
        let headers = match said("HEADERS") {
            Some((text, name)) => pairs(&text).ok_or_else(|| trouble(name, "no KEY=VALUE list"))?,
            None => Vec::new(),
        };
        let timeout = match said("TIMEOUT") {
            Some((text, name)) => text
                .parse()
                .map(Duration::from_millis)
                .map_err(|_| trouble(name, "no number of milliseconds"))?,
            None => TIMEOUT,
        };
        let mut resource = match variable("OTEL_RESOURCE_ATTRIBUTES") {
            Some(text) => pairs(&text).ok_or_else(|| {
                trouble("OTEL_RESOURCE_ATTRIBUTES".to_owned(), "no KEY=VALUE list")
            })?,
            None => Vec::new(),
        };
        if let Some(name) = variable("OTEL_SERVICE_NAME") {
            resource.retain(|(key, _)| key != "service.name");
            resource.push(("service.name".to_owned(), name));
        }
        if !resource.iter().any(|(key, _)| key == "service.name") {
            resource.push(("service.name".to_owned(), "brownout".to_owned()));
        }
        Ok(Some(Self {
            endpoint,
            headers,
            timeout,
            resource,
        }))
    }
}

/// `a=b,c=d`, percent-encoded as in W3C Baggage.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (key, value) = part.split_once('=')?;
            Some((decoded(key.trim())?, decoded(value.trim())?))
        })
        .collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, Trouble> {
        Settings::from_variables(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_a_receiver_nothing_is_sent() {
        assert_eq!(read(&[]), Ok(None));
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        assert_eq!(read(&[all, ("OTEL_SDK_DISABLED", "true")]), Ok(None));
        assert_eq!(read(&[all, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), Ok(None));
    }

    #[test]
    fn the_receiver_of_traces_wins_and_is_taken_as_it_is() {
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/");
        let settings = read(&[all]).unwrap().unwrap();
        assert_eq!(settings.endpoint, "http://127.0.0.1:4318/v1/traces");
        assert_eq!(settings.timeout, TIMEOUT);
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://x/in");
        let more = [
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x = y"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,team=b"),
            ("OTEL_SERVICE_NAME", "rehearsal"),
        ];
        let settings = read(&[&[all, own], &more[..]].concat()).unwrap().unwrap();
        assert_eq!(settings.endpoint, "https://x/in");
        assert_eq!(settings.timeout, Duration::from_millis(250));
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(settings.headers, [pair("api-key", "a b"), pair("x", "y")]);
        let resource = [pair("team", "b"), pair("service.name", "rehearsal")];
        assert_eq!(settings.resource, resource);
    }

    #[test]
    fn what_cannot_be_followed_is_said() {
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        for (variable, value, part) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318", "no URL"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:b@c", "no URL"),
            (
                "OTEL_EXPORTER_OTLP_PROTOCOL",
                "grpc",
                "http/json to port 4318",
            ),
            ("OTEL_EXPORTER_OTLP_HEADERS", "abc", "KEY=VALUE"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=%zz", "KEY=VALUE"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1s", "milliseconds"),
        ] {
            let trouble = read(&[(variable, value), all]).expect_err(value);
            assert_eq!(trouble.variable, variable);
            assert!(trouble.what.contains(part), "{trouble}");
        }
    }
}
