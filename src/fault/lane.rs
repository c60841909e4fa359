//! Faults of which each event gets exactly one: they share one draw, of which each has its part.
//!
//! A connect that stays unanswered is never seen, so what is drawn for a connection that was
//! accepted is drawn among the parts of the others alone: of 70 % unanswered and 30 % hanging, all
//! that are accepted hang. A connection that was open before is drawn among all parts.

/// One fault's part of the draw of its group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lane {
    /// The name of the draw, the same for the whole group.
    pub stream: u64,
    /// Where its part begins, among those that are seen.
    begins: f64,
    /// What its share is worth there.
    scale: f64,
    /// Where its part begins among all.
    begins_open: f64,
}

/// A fault of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Member {
    /// Its share, 0 to 1.
    pub share: f64,
    /// Whether what it hits is never seen.
    pub is_unseen: bool,
}

impl Lane {
    /// The parts of a group's members, in their order.
    pub fn of_group(stream: u64, members: &[Member]) -> Vec<Self> {
        let unseen: f64 = members
            .iter()
            .filter_map(|member| member.is_unseen.then_some(member.share))
            .sum();
        let scale = if unseen < 1.0 {
            1.0 / (1.0 - unseen)
        } else {
            0.0
        };
        let (mut begins, mut begins_open) = (0.0, 0.0);
        let lane = |member: &Member| {
            let lane = Self {
                stream,
                begins,
                scale: if member.is_unseen { 0.0 } else { scale },
                begins_open,
            };
            begins += member.share * lane.scale;
            begins_open += member.share;
            lane
        };
        members.iter().map(lane).collect()
    }

    /// Whether a coin falls on the part of a fault with this share.
    pub(super) fn holds(&self, coin: f64, share: f64, is_open: bool) -> bool {
        let (begins, width) = if is_open {
            (self.begins_open, share)
        } else {
            (self.begins, share * self.scale)
        };
        (begins..begins + width).contains(&coin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members(parts: &[(f64, bool)]) -> Vec<Member> {
        let member = |(share, is_unseen): &(f64, bool)| Member {
            share: *share,
            is_unseen: *is_unseen,
        };
        parts.iter().map(member).collect()
    }

    /// How many of the lanes a coin falls on, and on which last.
    fn hit(parts: &[(f64, bool)], coin: f64, is_open: bool) -> Vec<usize> {
        let lanes = Lane::of_group(1, &members(parts));
        let parts = parts.iter().zip(lanes).enumerate();
        parts
            .filter(|(_, ((share, _), lane))| lane.holds(coin, *share, is_open))
            .map(|(at, _)| at)
            .collect()
    }

    #[test]
    fn what_is_accepted_is_drawn_among_what_is_seen() {
        let mix = [(0.7, true), (0.3, false)];
        for coin in [0.0, 0.5, 0.99] {
            assert_eq!(hit(&mix, coin, false), [1]);
        }
        assert_eq!(hit(&mix, 0.5, true), [0]);
        assert_eq!(hit(&mix, 0.8, true), [1]);
        let mix = [(0.5, true), (0.25, false), (0.1, false)];
        assert_eq!(hit(&mix, 0.49, false), [1]);
        assert_eq!(hit(&mix, 0.51, false), [2]);
        assert_eq!(hit(&mix, 0.71, false), [] as [usize; 0]);
        assert_eq!(
            hit(&[(1.0, true), (0.0, false)], 0.0, false),
            [] as [usize; 0]
        );
    }

    proptest! {
        #[test]
        fn no_coin_falls_on_two_and_a_full_group_leaves_none_out(
            weights in prop::collection::vec((1u32..100, any::<bool>()), 1..8),
            coin in 0f64..0.999_999,
            is_open: bool,
        ) {
            let sum: u32 = weights.iter().map(|(weight, _)| weight).sum();
            let parts: Vec<(f64, bool)> = weights
                .iter()
                .map(|(weight, unseen)| (f64::from(*weight) / f64::from(sum), *unseen))
                .collect();
            let is_any_seen = parts.iter().any(|(_, unseen)| !unseen);
            let hit = hit(&parts, coin, is_open);
            prop_assert!(hit.len() <= 1, "{hit:?}");
            prop_assert_eq!(hit.len(), usize::from(is_open || is_any_seen));
        }
    }
}
