//! What a real browser shows of a page: `report_page.js` opens it at the widths of a desktop and a
//! telephone, in light and dark, with scripts and without, and says what it met.

#![allow(dead_code, reason = "not every test file uses everything")]

use super::node;
use serde_json::Value;
use std::path::Path;

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// What a reader meets.
    Brief,
    /// Paper too, and how the colours look to people who cannot tell all of them apart.
    Whole,
}

/// Opens a page in every way; pictures of it go to the folder.
pub fn opened(page: &Path, pictures: &Path, look: Look) -> Value {
    let mut arguments = vec![page, pictures];
    arguments.extend((look == Look::Brief).then_some(Path::new("brief")));
    node::run("report_page.js", &arguments)
}

/// It reads well in every way: nothing is fetched or complained of, it is as wide as the screen,
/// every figure of its report is there, evidence opens, charts are drawn, the cursor and the zoom
/// are shared, and axe-core finds nothing serious.
pub fn reads_well(shown: &Value, report: &Value) {
    let figures = figures(report);
    assert!(figures.len() > 40, "{figures:?}");
    let visits = shown["visits"].as_array().expect("visits");
    assert_eq!(visits.len(), 6);
    for visit in visits {
        let name = format!(
            "{} {} scripts {}",
            visit["width"], visit["colorScheme"], visit["scripts"]
        );
        let nothing = serde_json::json!([]);
        assert_eq!(visit["asked"], nothing, "{name} fetched");
        assert_eq!(visit["complaints"], nothing, "{name} complained");
        assert!(
            visit["overflow"].as_f64() <= Some(0.0),
            "{name} is too wide"
        );
        drawn(visit, report, &name);
        evidence_opens(visit, &name);
        let words = visit["words"].as_str().expect("words");
        for figure in &figures {
            assert!(words.contains(figure.as_str()), "{name} lacks {figure:?}");
        }
        if visit["scripts"] == true {
            cursor_and_zoom(&visit["cursor"], &name);
            accessible(visit, &name);
        }
    }
    assert_ne!(visits[0]["paper"], visits[1]["paper"], "dark is dark");
}

/// Every text and number of the verdicts, as the page writes them.
fn figures(report: &Value) -> Vec<String> {
    let mut figures = Vec::new();
    let plain = |value: &Value| value.as_str().map(|text| text.replace('`', ""));
    let moment = |value: &Value| format!("{:.3}s", value.as_f64().expect("a moment") / 1e6);
    let scenarios = report["scenarios"].as_array().expect("scenarios");
    let verdicts = scenarios
        .iter()
        .filter_map(|one| one["verdicts"].as_array());
    for verdict in verdicts.flatten() {
        for key in ["id", "that", "required", "measured", "reason", "status"] {
            figures.extend(plain(&verdict[key]));
        }
        figures.push(verdict["count"].to_string());
        figures.push(moment(&verdict["window"][0]));
        figures.push(moment(&verdict["window"][1]));
        for seen in verdict["evidence"].as_array().into_iter().flatten() {
            figures.extend(plain(&seen["what"]));
            figures.push(moment(&seen["at"]));
        }
    }
    let squeezed = figures.into_iter().map(|text| {
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ")
    });
    squeezed.collect()
}

/// In each scenario two charts of each load, one of each ledger, a lane of each fault, and more than
/// that: of what was asked of the dependencies, and of the processes. Something is seen in each.
fn drawn(visit: &Value, report: &Value, name: &str) {
    let drawings = visit["drawings"].as_array().expect("drawings");
    for drawing in drawings {
        let wide = drawing["width"].as_f64() > Some(200.0);
        let seen = drawing["seen"].as_u64() > Some(0);
        assert!(wide && seen, "{name}: {drawing}");
    }
    let scenarios = report["scenarios"].as_array().expect("scenarios");
    for (nth, scenario) in scenarios.iter().enumerate() {
        let id = format!("s{}", nth + 1);
        let own = drawings.iter().filter(|one| one["scenario"] == id).count();
        let many = |key: &str| scenario[key].as_array().map_or(0, Vec::len);
        let known = 2 * many("loads") + many("ledgers") + many("faults");
        assert!(many("loads") > 0 && own > known, "{name}, {id}: {own}");
    }
}

fn evidence_opens(visit: &Value, name: &str) {
    let evidence = &visit["evidence"];
    assert!(evidence.is_object(), "{name}: none was drawn");
    assert_eq!(
        (&evidence["before"], &evidence["after"]),
        (&false.into(), &true.into()),
        "{name}"
    );
    assert!(evidence["bars"].as_u64() > Some(1), "{name}: {evidence}");
    assert!(
        evidence["width"].as_f64() > Some(10.0),
        "{name}: {evidence}"
    );
}

fn cursor_and_zoom(cursor: &Value, name: &str) {
    let hovered = &cursor["hovered"];
    assert_eq!(hovered["areas"], hovered["cursors"], "{name}: {hovered}");
    let values = hovered["values"].as_array().expect("values");
    assert!(values.iter().all(|value| value != ""), "{name}: {values:?}");
    assert_ne!(
        hovered["told"], cursor["walked"]["told"],
        "{name}: {cursor}"
    );
    let width = |state: &str| -> f64 {
        let frames = cursor[state]["frames"].as_array().expect("frames");
        assert_eq!(frames.len(), 1, "{name}: charts share the zoom: {cursor}");
        let parts = frames[0].as_str().and_then(|frame| frame.split(' ').nth(2));
        parts.and_then(|text| text.parse().ok()).expect("a width")
    };
    let whole = width("hovered");
    assert!(whole > 50.0, "{name}: {cursor}");
    assert_eq!(width("closer"), whole / 2.0, "{name}: {cursor}");
    assert_eq!(width("back"), whole, "{name}: {cursor}");
    assert_ne!(
        cursor["dragged"]["frames"], cursor["back"]["frames"],
        "{name}"
    );
}

fn accessible(visit: &Value, name: &str) {
    assert!(
        visit["checked"].as_u64() > Some(15),
        "{name}: axe-core looked at nothing"
    );
    let violations = visit["violations"].as_array().expect("violations");
    let serious: Vec<&Value> = violations
        .iter()
        .filter(|one| one["impact"] == "serious" || one["impact"] == "critical")
        .collect();
    assert!(serious.is_empty(), "{name}: {serious:#?}");
}
