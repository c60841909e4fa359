//! What was measured, beside the floor and the best of the others.

use std::collections::BTreeSet;

/// What somebody in a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Nobody in between.
    Direct,
    /// The least that can be done.
    Floor,
    /// Brownout.
    Ours,
    /// Another program.
    Peer,
}

/// What is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// A larger figure.
    More,
    /// A smaller figure.
    Less,
}

/// Somebody in a row, with a figure for each round.
#[derive(Debug)]
pub struct Entry {
    /// Who.
    pub who: String,
    /// What it is.
    pub role: Role,
    /// The figures, in the order of the rounds.
    pub figures: Vec<f64>,
}

/// One thing that was measured of all.
#[derive(Debug)]
pub struct Row {
    /// What, with its unit.
    pub what: String,
    /// What is better.
    pub better: Better,
    /// Whose figures.
    pub entries: Vec<Entry>,
    /// What could not be measured.
    pub notes: Vec<String>,
}

impl Row {
    /// A row without figures.
    pub fn new(what: &str, better: Better) -> Self {
        Self {
            what: what.to_owned(),
            better,
            entries: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a figure of somebody's. Rounds are the same for all.
    pub fn add(&mut self, who: &str, role: Role, figure: f64) {
        assert!(figure.is_finite(), "{}: {who}: {figure}", self.what);
        match self.entries.iter_mut().find(|entry| entry.who == who) {
            Some(entry) => entry.figures.push(figure),
            None => self.entries.push(Entry {
                who: who.to_owned(),
                role,
                figures: vec![figure],
            }),
        }
    }

    fn best(&self, role: Role) -> Option<&Entry> {
        let of_role = self.entries.iter().filter(|entry| entry.role == role);
        of_role.max_by(|a, b| {
            let (a, b) = (median(&a.figures), median(&b.figures));
            match self.better {
                Better::More => a.total_cmp(&b),
                Better::Less => b.total_cmp(&a),
            }
        })
    }

    /// Prints it.
    pub fn print(&self) {
        println!("\n{}", self.what);
        let columns = ["", "median", "min..max", "÷ floor", "÷ best peer"];
        let [who, middle, range, floor, peer] = columns;
        println!("  {who:<32} {middle:>9} {range:>21} {floor:>8} {peer:>12}");
        for entry in &self.entries {
            let figures = &entry.figures;
            let low = figures.iter().copied().fold(f64::INFINITY, f64::min);
            let high = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let range = format!("{}..{}", short(low), short(high));
            let ratio = |role| {
                let to = self.best(role).filter(|_| entry.role != Role::Direct);
                to.map_or_else(String::new, |to| format!("{:.2}", ratio(entry, to)))
            };
            println!(
                "  {:<32} {:>9} {range:>21} {:>8} {:>12}",
                entry.who,
                short(median(figures)),
                ratio(Role::Floor),
                ratio(Role::Peer)
            );
        }
        for note in &self.notes {
            println!("  {note}");
        }
    }
}

/// The median of the ratios, round by round.
fn ratio(of: &Entry, to: &Entry) -> f64 {
    let rounds = of.figures.iter().zip(&to.figures);
    let ratios: Vec<f64> = rounds.map(|(of, to)| of / to).collect();
    median(&ratios)
}

/// The middle one.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A figure with three digits or so.
fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 10_000.0 => format!("{:.1}k", figure / 1000.0),
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// All rows.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Adds a row.
    pub fn add(&mut self, row: Row) {
        let is_ours = |entry: &Entry| entry.role == Role::Ours;
        assert!(
            row.entries.is_empty() || row.entries.iter().any(is_ours),
            "{}: nothing of ours was measured",
            row.what
        );
        self.rows.push(row);
    }

    /// Prints the medians of all rows as a table in Markdown.
    pub fn print(&self) {
        println!("\n| row | floor | best peer | Brownout |\n|---|---|---|---|");
        for row in &self.rows {
            let cell = |role| {
                let Some(best) = row.best(role) else {
                    return "–".to_owned();
                };
                format!("{} ({})", short(median(&best.figures)), best.who)
            };
            let ours: BTreeSet<String> = row
                .entries
                .iter()
                .filter(|entry| entry.role == Role::Ours)
                .map(|entry| format!("{} ({})", short(median(&entry.figures)), entry.who))
                .collect();
            let ours: Vec<String> = ours.into_iter().collect();
            let (floor, peer) = (cell(Role::Floor), cell(Role::Peer));
            println!("| {} | {floor} | {peer} | {} |", row.what, ours.join(", "));
        }
    }
}
