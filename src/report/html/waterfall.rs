//! An operation or a call with its requests, one bar under the other.

use super::text::{fault_name, span};
use crate::{
    report::{End, FaultReport, Part, Span, Trace, words::counted},
    units::Micros,
};
use maud::{Markup, html};

/// The waterfall of a piece of evidence, as a table one of whose columns is drawn.
pub fn waterfall(trace: &Trace, faults: &[FaultReport]) -> Markup {
    let from = trace.spans.iter().map(|one| one.began).min();
    let to = trace.spans.iter().map(|one| one.ended).max();
    let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
    let about_operation = trace.spans.iter().any(|one| one.part != Part::Itself)
        || trace.more > 0 && trace.spans.len() > 1;
    html! {
        div.scroll tabindex="0" role="group" aria-label="what happened on the wire" {
            table.plain.waterfall {
                thead { tr {
                    th scope="col" { "What" }
                    th scope="col" { "Over time" }
                    th.number scope="col" { "After" }
                    th.number scope="col" { "Took" }
                    th scope="col" { "How it ended" }
                } }
                tbody { @for one in &trace.spans { (line(one, from, to, faults)) } }
            }
        }
        @if about_operation && trace.spans.iter().any(|one| one.part == Part::Meanwhile) {
            p.muted.small {
                "Requests marked “meanwhile” were open at the same time; whether this operation caused "
                "them cannot be seen on the wire."
            }
        }
        @if trace.more > 0 {
            p.muted.small { (counted(trace.more as u64, "more request")) " not shown." }
        }
    }
}

fn line(one: &Span, from: Micros, to: Micros, faults: &[FaultReport]) -> Markup {
    let whole = to.since(from).as_secs_f64().max(1e-6);
    let left = one.began.since(from).as_secs_f64() / whole * 100.0;
    let width = one.ended.since(one.began).as_secs_f64() / whole * 100.0;
    html! {
        tr class=[(one.part == Part::Itself).then_some("itself")] {
            th scope="row" {
                (one.what)
                @match one.part {
                    Part::Itself => {},
                    Part::Carries => span.muted { " · same value" },
                    Part::Meanwhile => span.muted { " · meanwhile" },
                }
            }
            td.track aria-hidden="true" {
                span class={ "bar " (class(one.end)) } style=(format!("left:{left:.1}%;width:{width:.1}%")) {}
            }
            td.number { (span(Micros::from(one.began.since(from)).0)) }
            td.number { (span(Micros::from(one.ended.since(one.began)).0)) }
            td {
                (one.how)
                @for (nth, fault) in acted(one, faults).into_iter().enumerate() {
                    @if nth == 0 { span.muted { " · fault " } } @else { span.muted { ", " } }
                    (fault_name(fault.id))
                }
            }
        }
    }
}

fn acted<'a>(one: &Span, faults: &'a [FaultReport]) -> Vec<&'a FaultReport> {
    let meant = faults.iter().filter(|fault| one.faults.contains(&fault.id));
    meant.collect()
}

const fn class(end: End) -> &'static str {
    match end {
        End::Good => "good",
        End::Degraded => "degraded",
        End::Bad => "bad",
        End::GaveUp => "gave-up",
        End::Open => "open",
    }
}
