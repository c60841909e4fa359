//! How evenly things come: peaks and the spread of the times between them.

use crate::{history::Window, units::Micros};
use std::time::Duration;

/// The greatest number of moments in any stretch of this length that begins at one of them, and
/// when it began. The moments must be sorted.
pub fn peak(moments: &[Micros], length: Duration) -> Option<(Micros, usize)> {
    let mut from = 0;
    let mut best: Option<(Micros, usize)> = None;
    for (index, at) in moments.iter().enumerate() {
        while moments[from] + length <= *at {
            from += 1;
        }
        let count = index + 1 - from;
        if best.is_none_or(|(_, most)| count > most) {
            best = Some((moments[from], count));
        }
    }
    best
}

/// The times between neighbours.
pub fn gaps(moments: &[Micros]) -> Vec<Duration> {
    let pairs = moments.windows(2);
    pairs.map(|pair| pair[1].since(pair[0])).collect()
}

/// The coefficient of variation: the standard deviation of the times over their mean. 0 where they
/// are all alike, about 1 where they come at random; `None` of fewer than two, or where all are
/// zero.
pub fn variation(times: &[Duration]) -> Option<f64> {
    let count = times.len() as f64;
    let mean = times.iter().map(Duration::as_secs_f64).sum::<f64>() / count;
    if times.len() < 2 || mean <= 0.0 {
        return None;
    }
    let squares = times.iter().map(|time| (time.as_secs_f64() - mean).powi(2));
    Some((squares.sum::<f64>() / (count - 1.0)).sqrt() / mean)
}

/// The most intervals that are open at one time within a window, and when that was first so. An
/// interval that ends in the moment in which another begins is not open beside it.
pub fn most_open(intervals: &[(Micros, Micros)], window: Window) -> Option<(Micros, usize)> {
    let mut changes: Vec<(Micros, i64)> = Vec::with_capacity(intervals.len() * 2);
    for (from, to) in intervals {
        if *from < window.to && *to > window.from {
            changes.push((*from.max(&window.from), 1));
            changes.push((*to, -1));
        }
    }
    changes.sort_unstable();
    let (mut open, mut best) = (0, None);
    for (at, change) in changes {
        open += change;
        let count = usize::try_from(open).unwrap_or(0);
        if best.is_none_or(|(_, most)| count > most) {
            best = Some((at, count));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(millis: &[u64]) -> Vec<Micros> {
        millis.iter().copied().map(Micros::from_millis).collect()
    }

    #[test]
    fn the_peak_is_the_fullest_stretch_wherever_it_begins() {
        let moments = moments(&[0, 900, 1_000, 1_100, 1_899, 2_500]);
        let found = peak(&moments, Duration::from_secs(1));
        assert_eq!(found, Some((Micros::from_millis(900), 4)));
        assert_eq!(peak(&[], Duration::from_secs(1)), None);
    }

    #[test]
    fn even_times_do_not_vary_and_bursts_do() {
        let even = gaps(&moments(&[0, 10, 20, 30]));
        assert_eq!(variation(&even), Some(0.0));
        let bursts = gaps(&moments(&[0, 0, 0, 100, 100, 100]));
        assert!(variation(&bursts).unwrap() > 1.5);
        assert_eq!(variation(&gaps(&moments(&[0, 0, 0]))), None);
    }

    #[test]
    fn intervals_that_meet_are_not_open_beside_each_other() {
        let at = Micros::from_millis;
        let open = [(at(0), at(10)), (at(10), at(20)), (at(15), at(30))];
        let all = Window::new(at(0), at(100));
        assert_eq!(most_open(&open, all), Some((at(15), 2)));
        assert_eq!(
            most_open(&open, Window::new(at(20), at(25))),
            Some((at(20), 1))
        );
    }
}
