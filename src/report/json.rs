//! `report.json`: the model as it is, for other programs. The stable one.

use super::{ReportDef, SuiteReport};

/// The registry's entry.
pub const JSON: ReportDef = ReportDef {
    name: "json",
    summary: "everything, versioned, for other programs",
    file: Some("report.json"),
    render,
};

/// Results to bytes.
fn render(report: &SuiteReport) -> Vec<u8> {
    let mut bytes =
        serde_json::to_vec_pretty(report).expect("a report has text keys and finite numbers only");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_file_keeps_its_shape() {
        insta::assert_snapshot!(String::from_utf8(render(&sample::suite())).unwrap());
    }

    #[test]
    fn the_file_reads_back_as_the_same_report() {
        let mut report = sample::suite();
        let back: SuiteReport = serde_json::from_slice(&render(&report)).unwrap();
        // What only charts need is not in the file.
        for scenario in &mut report.scenarios {
            scenario.timeline = Default::default();
            scenario.traces.clear();
        }
        assert_eq!(back, report);
    }
}
