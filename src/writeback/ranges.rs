//! `ByteRanges`: a set of bytes of one file, as ranges that neither touch nor overlap.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of byte offsets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ByteRanges {
    /// Start to end (exclusive); ranges that touch are one.
    ranges: BTreeMap<u64, u64>,
}

impl ByteRanges {
    /// Adds a range; an empty one adds nothing.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        if let Some((&before, &before_end)) = self.ranges.range(..=start).next_back()
            && before_end >= start
        {
            if before_end >= end {
                return;
            }
            start = before;
            self.ranges.remove(&before);
        }
        while let Some((&next, &next_end)) = self.ranges.range(start..=end).next() {
            end = end.max(next_end);
            self.ranges.remove(&next);
        }
        self.ranges.insert(start, end);
    }

    /// Takes away everything from `size` on.
    pub fn truncate(&mut self, size: u64) {
        self.ranges.split_off(&size);
        if let Some(mut last) = self.ranges.last_entry()
            && *last.get() > size
        {
            last.insert(size);
        }
    }

    /// The parts of `range` that are not in the set, in order.
    pub fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        let first = self
            .ranges
            .range(..=range.start)
            .next_back()
            .map_or(range.start, |(s, _)| *s);
        for (&start, &end) in self.ranges.range(first..) {
            if start >= range.end {
                break;
            }
            if start > at {
                gaps.push(at..start);
            }
            at = at.max(end);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }

    /// The end of the run that begins at 0; 0 if byte 0 is not in the set.
    pub fn front(&self) -> u64 {
        self.ranges.get(&0).copied().unwrap_or(0)
    }

    /// The smallest offset in the set.
    pub fn first(&self) -> Option<u64> {
        self.ranges.keys().next().copied()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Makes the set empty.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    /// The ranges in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.ranges.iter().map(|(start, end)| *start..*end)
    }
}

#[cfg(test)]
#[allow(
    clippy::single_range_in_vec_init,
    clippy::type_complexity,
    reason = "sets of one range are meant"
)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(ranges: &[Range<u64>]) -> ByteRanges {
        let mut set = ByteRanges::default();
        ranges.iter().for_each(|r| set.insert(r.clone()));
        set
    }

    #[test]
    fn touching_ranges_become_one() {
        let cases: [(&[Range<u64>], &[Range<u64>]); 5] = [
            (&[0..4, 4..8], &[0..8]),
            (&[4..8, 0..4], &[0..8]),
            (&[0..2, 6..8, 1..7], &[0..8]),
            (&[0..8, 2..4], &[0..8]),
            (&[3..3], &[]),
        ];
        for (inserted, expected) in cases {
            assert_eq!(
                set(inserted).iter().collect::<Vec<_>>(),
                expected,
                "{inserted:?}"
            );
        }
    }

    proptest! {
        /// The same operations on a plain array of booleans give the same set.
        #[test]
        fn agrees_with_one_flag_per_byte(
            ops in prop::collection::vec((any::<bool>(), 0u64..64, 0u64..16), 0..40),
            ask in 0u64..64, length in 0u64..32,
        ) {
            let mut set = ByteRanges::default();
            let mut flags = [false; 96];
            let index = |n: u64| usize::try_from(n).unwrap();
            for (insert, at, len) in ops {
                if insert {
                    set.insert(at..at + len);
                    (at..at + len).for_each(|i| flags[index(i)] = true);
                } else {
                    set.truncate(at);
                    (at..96).for_each(|i| flags[index(i)] = false);
                }
            }
            let missing: Vec<u64> = set.missing(ask..ask + length).into_iter().flatten().collect();
            let expected: Vec<u64> = (ask..ask + length).filter(|i| !flags[index(*i)]).collect();
            prop_assert_eq!(missing, expected);
            let front = flags.iter().position(|f| !f).unwrap_or(96) as u64;
            prop_assert_eq!(set.front(), front);
            prop_assert_eq!(set.first(), flags.iter().position(|f| *f).map(|i| i as u64));
            let ranges: Vec<_> = set.iter().collect();
            prop_assert!(ranges.windows(2).all(|w| w[0].end < w[1].start));
        }
    }
}
