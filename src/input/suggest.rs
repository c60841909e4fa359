//! "Did you mean".

/// The known name nearest to `wrong`, if one is near enough to be a slip of the fingers: one
/// letter wrong, missing or too many, two neighbours changed about, or a good likeness as a whole.
pub fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    known
        .into_iter()
        .filter_map(|name| likeness(&wrong, &name.to_lowercase()).map(|likeness| (likeness, name)))
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, name)| name)
}

fn likeness(wrong: &str, known: &str) -> Option<f64> {
    let whole = strsim::jaro_winkler(wrong, known);
    let slip = known.len() >= 3 && strsim::osa_distance(wrong, known) <= 1;
    (slip || whole >= 0.8).then_some(whole + f64::from(u8::from(slip)))
}

/// A hint for a name that is not known: the nearest known one, or all of them.
pub fn hint_among<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(near) = did_you_mean(wrong, known.clone()) {
        return format!("did you mean `{near}`?");
    }
    let mut all: Vec<&str> = Vec::new();
    for name in known {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    if all.is_empty() {
        "none is declared".to_owned()
    } else {
        format!("known here: {}", all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_fingers_are_understood() {
        for (wrong, meant) in [
            ("tpc", Some("tcp")),
            ("htp", Some("http")),
            ("latancy", Some("latency")),
            ("Latency", Some("latency")),
            ("late", Some("latency")),
            ("bandwith", Some("bandwidth")),
            ("xyz", None),
            ("", None),
        ] {
            let known = ["tcp", "http", "latency", "bandwidth"];
            assert_eq!(did_you_mean(wrong, known), meant, "{wrong}");
        }
    }

    #[test]
    fn what_resembles_nothing_is_answered_with_all_there_is() {
        assert_eq!(hint_among("xyz", ["tcp", "http"]), "known here: tcp, http");
        assert_eq!(hint_among("xyz", ["tcp", "tcp"]), "known here: tcp");
        assert_eq!(hint_among("xyz", []), "none is declared");
    }
}
