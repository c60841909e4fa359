//! The page that a browser is shown.

/// What the page's document may load: its own files, and what the server answers.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asset {
    /// Its `Content-Type`.
    pub kind: &'static str,
    /// What is in it.
    pub body: &'static str,
}

const INDEX: Asset = Asset {
    kind: "text/html; charset=utf-8",
    body: "<!doctype html>\n<html lang=\"en\">\n<title>brownout serve</title>\n<p>What stands here is at <a href=\"/api/v1/dependencies\">/api/v1/dependencies</a>, and what can be asked at <a href=\"/api/v1/openapi.json\">/api/v1/openapi.json</a>.\n",
};

/// The file at a path.
pub(super) fn asset(path: &str) -> Option<Asset> {
    (path == "/").then_some(INDEX)
}
