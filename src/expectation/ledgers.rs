//! The work of a ledger as expectations look at it: which of it is meant, and how it is shown.

use super::{Evidence, Judgement, Name, Names, names, samples::SAMPLES_MIN};
use crate::{
    history::{Account, Entry, Operation, Outcome, View},
    input::{Fields, Key, Problems, Shape},
};

/// Key of expectations about a ledger.
pub const LEDGER: Key = Key::required("ledger", Shape::Text, "the ledger of the system file");

/// Key of expectations about a ledger.
pub const CLASS: Key = Key::optional(
    "class",
    Shape::TextOrTexts,
    "only work of these classes, by the ledger's `priority` (all work)",
);

/// Which work is meant.
#[derive(Debug, Clone)]
pub struct Work {
    /// The ledger.
    pub ledger: Name,
    classes: Vec<String>,
}

impl Work {
    /// Reads [`LEDGER`] and [`CLASS`].
    pub fn read(fields: &Fields<'_>, names: &Names<'_>, problems: &mut Problems) -> Option<Self> {
        let ledger = names::ledger(fields, "ledger", names, problems);
        let classes = fields.texts("class", problems).unwrap_or_default();
        Some(Self {
            ledger: ledger?,
            classes: classes.into_iter().map(|text| text.value).collect(),
        })
    }

    /// In words: "`trained`", "`trained` of class fresh".
    pub fn describe(&self) -> String {
        if self.classes.is_empty() {
            format!("`{}`", self.ledger)
        } else {
            format!("`{}` of class {}", self.ledger, self.classes.join("/"))
        }
    }

    /// The ledger's account; inconclusive where the history knows no such ledger.
    pub fn account<'a>(&self, view: &View<'a>) -> Result<Account<'a>, Judgement> {
        view.account(&self.ledger).ok_or_else(|| {
            let judgement = Judgement::new(view.window(), 0, "nothing");
            judgement.inconclusive(format!("there is no ledger `{}`", self.ledger))
        })
    }

    /// The ids that were asked for in the judged phases and are of the classes meant.
    pub fn of<'b, 'a>(&self, view: &View<'_>, account: &'b Account<'a>) -> Vec<&'b Entry<'a>> {
        let asked = |entry: &&Entry<'_>| {
            entry.asked.iter().any(|one| view.contains(one.intended)) && self.has(entry.class)
        };
        account.entries.iter().filter(asked).collect()
    }

    /// Whether work of this class is meant.
    pub fn has(&self, class: Option<&str>) -> bool {
        self.classes.is_empty()
            || class.is_some_and(|class| self.classes.iter().any(|one| one == class))
    }
}

/// Why an account shows nothing at all, whatever it seems to say: nothing was accepted, or nothing
/// that was accepted was ever seen delivered, so that both sides may not speak of the same ids. A
/// statement that names an accepted id and changes no row shows that they do.
pub fn shows_nothing(account: &Account<'_>, accepted: u64) -> Option<String> {
    if accepted < SAMPLES_MIN {
        return Some(format!(
            "{accepted} accepted operations with an id show nothing, at least {SAMPLES_MIN} are needed"
        ));
    }
    let is_named = |entry: &Entry<'_>| entry.accepted > 0 && entry.unchanged > 0;
    if account.counts.delivered > 0 || account.entries.iter().any(is_named) {
        return None;
    }
    let ledger = &account.ledger.name;
    let mut why = format!(
        "nothing that was accepted was ever seen delivered, so that `{ledger}` may not look where deliveries are: {} requests, messages and listed ids were looked at",
        account.looked_at
    );
    if account.counts.unexpected > 0 {
        why.push_str(&format!(
            ", with {} ids that nobody asked for",
            account.counts.unexpected
        ));
    }
    for reason in &account.unsettled {
        why.push_str("; ");
        why.push_str(reason);
    }
    Some(why)
}

/// Why a ledger shows nothing of those who ask again: its load has `again`, and of the entries meant
/// nobody was refused first and taken in then.
pub fn nobody_asked_again(
    view: &View<'_>,
    account: &Account<'_>,
    entries: &[&Entry<'_>],
) -> Option<String> {
    let name = &account.ledger.load;
    let load = view.system.loads.iter().find(|load| load.name == *name)?;
    load.again.as_ref()?;
    let is_such = |one: &&Operation| {
        one.refused > 0 && matches!(one.outcome, Outcome::Ok | Outcome::Degraded)
    };
    let mut asked = entries.iter().flat_map(|entry| &entry.asked);
    (!asked.any(is_such)).then(|| {
        format!("`{name}` asks again when it is refused, and nobody was refused and then taken in: of that nothing is shown")
    })
}

/// The moment that stands for an id, and what is said of it: `17 (train #412 POST /jobs, in phase
/// outage while hang on object-store): never delivered`.
pub fn shown(view: &View<'_>, entry: &Entry<'_>, what: &str) -> Evidence {
    let id: String = entry.id.chars().take(100).collect();
    match entry.operation() {
        Some(operation) => Evidence::of_operation(
            operation.first_answer(),
            operation,
            format!(
                "{id} ({} #{} {}, {}): {what}",
                operation.load,
                operation.nth,
                operation.request,
                meanwhile(view, operation)
            ),
        ),
        None => Evidence::from((
            entry.delivered.first().copied().unwrap_or_default(),
            format!("{id}: {what}"),
        )),
    }
}

/// What was going on while the request that asked for the work was in flight.
fn meanwhile(view: &View<'_>, operation: &Operation) -> String {
    let history = view.history;
    let phase = history
        .phases
        .iter()
        .rfind(|span| span.began <= operation.began)
        .and_then(|span| view.phase(span));
    let faults: Vec<String> = history
        .faults
        .iter()
        .filter(|span| span.armed <= operation.first_answer() && operation.began <= span.lifted)
        .filter_map(|span| view.fault(span))
        .map(|(_, fault)| format!("`{}`", fault.label))
        .collect();
    let mut text = match phase {
        Some(phase) => format!("in `{}`", phase.name),
        None => "before the first phase".to_owned(),
    };
    if !faults.is_empty() {
        text.push_str(&format!(" under {}", faults.join(" and ")));
    }
    text
}
