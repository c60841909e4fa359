//! One copy of each text that comes again and again.
//!
//! A million entries speak of a handful of loads, dependencies and paths. A text is looked up by a place
//! that follows from it, and whatever stood there before gives way: the memory is bounded however
//! many texts there are, and those that come often are there when they come again.

use std::sync::Arc;

/// How many texts are kept.
const PLACES: usize = 1 << 12;

/// The longest text that is kept, in bytes: longer ones are rarely the same.
const BYTES_MAX: usize = 128;

/// Texts that were seen lately.
pub(super) struct Shared {
    places: Vec<Option<Arc<str>>>,
}

impl Shared {
    /// None yet.
    pub fn new() -> Self {
        Self {
            places: vec![None; PLACES],
        }
    }

    /// The text, as one copy with those that were the same.
    pub fn share(&mut self, text: &str) -> Arc<str> {
        if text.len() > BYTES_MAX {
            return text.into();
        }
        let place = &mut self.places[place_of(text)];
        match place {
            Some(known) if **known == *text => Arc::clone(known),
            _ => Arc::clone(place.insert(text.into())),
        }
    }

    /// Replaces a text by the copy that is known.
    pub fn replace(&mut self, text: &mut Arc<str>) {
        let place = match text.len() {
            ..=BYTES_MAX => &mut self.places[place_of(text)],
            _ => return,
        };
        match place {
            Some(known) if known == text => *text = Arc::clone(known),
            _ => *place = Some(Arc::clone(text)),
        }
    }
}

/// Eight bytes at a time, multiplied so that every bit bears on the upper ones.
fn place_of(text: &str) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut mixed = text.len() as u64;
    let mut chunks = text.as_bytes().chunks_exact(8);
    let mut mix = |chunk: u64| mixed = (mixed.rotate_left(5) ^ chunk).wrapping_mul(ODD);
    for chunk in &mut chunks {
        mix(chunk.try_into().map_or(0, u64::from_le_bytes));
    }
    let last = chunks.remainder().iter();
    mix(last.fold(0, |last, byte| last << 8 | u64::from(*byte)));
    (mixed >> (u64::BITS - PLACES.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_one_copy() {
        let mut shared = Shared::new();
        let first = shared.share("POST /bots/7/ask");
        let second = shared.share("POST /bots/7/ask");
        assert!(Arc::ptr_eq(&first, &second));
        let mut third: Arc<str> = "POST /bots/7/ask".into();
        shared.replace(&mut third);
        assert!(Arc::ptr_eq(&first, &third));
        assert_eq!(&*shared.share(""), "");
    }

    #[test]
    fn whatever_comes_between_a_text_stays_what_it_is() {
        let mut shared = Shared::new();
        for nth in 0..3 * PLACES {
            let text = format!("{}{nth}", "x".repeat(nth % 200));
            assert_eq!(*shared.share(&text), *text);
            let mut own: Arc<str> = text.as_str().into();
            shared.replace(&mut own);
            assert_eq!(*own, *text);
        }
    }

    #[test]
    fn most_places_are_used() {
        let mut seen = vec![false; PLACES];
        for nth in 0..4 * PLACES {
            seen[place_of(&format!("GET /jobs/{nth}"))] = true;
        }
        let used = seen.iter().filter(|used| **used).count();
        // By chance all but one in fifty of them.
        assert!(used > PLACES * 9 / 10, "{used}");
    }
}
