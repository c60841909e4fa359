//! The live page: files as they are, for a browser to read. Nothing is built, nothing fetched from
//! elsewhere, and the page's own policy lets no other script run.
//!
//! What it shows comes from `/api/v1`, read by `live.js`; the colours are the report's.

/// What the page's document may load: its own files, and what the server answers.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asset {
    /// Its `Content-Type`.
    pub kind: &'static str,
    /// What is in it.
    pub body: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const DRAWING: &str = "image/svg+xml";

/// Every file, by its path.
const ASSETS: &[(&str, Asset)] = &[
    ("/", asset_of(HTML, include_str!("index.html"))),
    (
        "/page/palette.css",
        asset_of(CSS, include_str!("../../report/html/palette.css")),
    ),
    ("/page/style.css", asset_of(CSS, include_str!("style.css"))),
    ("/page/live.js", asset_of(SCRIPT, include_str!("live.js"))),
    ("/page/dom.js", asset_of(SCRIPT, include_str!("dom.js"))),
    ("/page/api.js", asset_of(SCRIPT, include_str!("api.js"))),
    ("/page/draw.js", asset_of(SCRIPT, include_str!("draw.js"))),
    ("/page/lanes.js", asset_of(SCRIPT, include_str!("lanes.js"))),
    (
        "/page/presets.js",
        asset_of(SCRIPT, include_str!("presets.js")),
    ),
    ("/page/form.js", asset_of(SCRIPT, include_str!("form.js"))),
    ("/page/calls.js", asset_of(SCRIPT, include_str!("calls.js"))),
    ("/page/aside.js", asset_of(SCRIPT, include_str!("aside.js"))),
    (
        "/page/icon.svg",
        asset_of(DRAWING, include_str!("icon.svg")),
    ),
    (
        "/page/icon-fault.svg",
        asset_of(DRAWING, include_str!("icon-fault.svg")),
    ),
    (
        "/page/icon-lost.svg",
        asset_of(DRAWING, include_str!("icon-lost.svg")),
    ),
];

const fn asset_of(kind: &'static str, body: &'static str) -> Asset {
    Asset { kind, body }
}

/// The file of this path, if there is one.
pub(super) fn asset(path: &str) -> Option<Asset> {
    let found = ASSETS.iter().find(|(known, _)| *known == path);
    found.map(|(_, asset)| *asset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// All files together, in bytes: they are read before anything is seen.
    const BYTES_MAX: usize = 120_000;

    #[test]
    fn the_page_is_small() {
        let bytes: usize = ASSETS.iter().map(|(_, asset)| asset.body.len()).sum();
        assert!(bytes < BYTES_MAX, "{bytes}");
    }

    /// What stands between two quotes after each of these beginnings.
    fn named<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
        text.split(before)
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
    }

    #[test]
    fn every_file_that_is_named_is_there_and_none_is_elsewhere() {
        let mut wanted = BTreeSet::from(["/".to_owned()]);
        for (_, asset) in ASSETS {
            for beginning in ["href=\"/", "src=\"/"] {
                let paths = named(asset.body, beginning).map(|rest| format!("/{rest}"));
                wanted.extend(paths);
            }
            let modules = named(asset.body, "from \"./").map(|name| format!("/page/{name}"));
            wanted.extend(modules);
            let elsewhere = asset.body.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"));
        }
        // Set by the script.
        wanted.extend(["-fault", "-lost"].map(|state| format!("/page/icon{state}.svg")));
        let held: BTreeSet<String> = ASSETS.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(held, wanted);
        for path in &wanted {
            assert!(asset(path).is_some(), "{path}");
        }
        assert_eq!(asset("/page/../guard.rs"), None);
    }

    #[test]
    fn nothing_is_inline_and_nothing_is_read_as_markup() {
        for (path, asset) in ASSETS {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                " style=\"",
                "<style",
                " onclick=",
                "javascript:",
            ] {
                assert!(!asset.body.contains(forbidden), "{path}: {forbidden}");
            }
        }
        let page = asset("/").expect("a page").body;
        let scripts = page.matches("<script").count();
        assert_eq!(
            scripts,
            page.matches("<script type=\"module\" src=").count()
        );
    }
}
