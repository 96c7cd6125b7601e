//! `ReadaheadWindow`: how far to fetch ahead, as a function of the reads seen.

/// The first window of a sequential reader, in bytes: one read of the kernel.
const FIRST: u64 = 128 << 10;

/// Reads this near to the expected place are still the same sequence: the kernel has two reads of
/// 128 KiB in flight, and neighbours arrive swapped now and then.
const SLACK: u64 = 1 << 20;

/// How far ahead of a reader it pays to fetch. Doubles while reads are sequential, starts again at
/// nothing after a seek.
#[derive(Debug, Clone)]
pub struct ReadaheadWindow {
    max: u64,
    /// The end of the furthest read of the present sequence.
    front: u64,
    size: u64,
    /// Bytes read in sequence since the window last grew.
    since_growth: u64,
}

impl ReadaheadWindow {
    /// Never more than `max` bytes ahead. A file is expected to be read from its start.
    pub fn new(max: u64) -> Self {
        Self {
            max,
            front: 0,
            size: 0,
            since_growth: 0,
        }
    }

    /// Takes note of a read.
    pub fn record(&mut self, offset: u64, length: u64) {
        let end = offset.saturating_add(length);
        let near =
            offset <= self.front.saturating_add(SLACK) && end.saturating_add(SLACK) >= self.front;
        if !near {
            (self.front, self.size, self.since_growth) = (end, 0, 0);
        } else if end > self.front {
            self.since_growth += end - self.front;
            self.front = end;
            if self.size == 0 && offset == 0 || self.since_growth >= self.size.max(1) {
                self.size = (self.size * 2)
                    .clamp(FIRST, self.max.max(FIRST))
                    .min(self.max);
                self.since_growth = 0;
            }
        }
    }

    /// The end of the furthest read of the present sequence.
    pub fn front(&self) -> u64 {
        self.front
    }

    /// How far ahead it reaches now, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The sequence is worth the largest window.
    pub(super) fn open(&mut self) {
        self.size = self.max;
    }

    /// The largest it becomes, in bytes.
    pub(super) fn max(&self) -> u64 {
        self.max
    }

    /// Fetch up to this offset.
    pub fn target(&self) -> u64 {
        if self.size == 0 {
            0
        } else {
            self.front.saturating_add(self.size)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: u64 = 1 << 10;

    #[test]
    fn grows_while_sequential() {
        let mut window = ReadaheadWindow::new(1024 * K);
        let mut ahead = Vec::new();
        for n in 0..24 {
            window.record(n * 128 * K, 128 * K);
            ahead.push((window.target() - (n + 1) * 128 * K) / K);
        }
        assert_eq!(ahead[..4], [128, 256, 256, 512]);
        assert_eq!(ahead[23], 1024);
    }

    #[test]
    fn swapped_neighbours_are_no_seek() {
        let mut window = ReadaheadWindow::new(1024 * K);
        for n in [0, 2, 1, 3, 5, 4] {
            window.record(n * 128 * K, 128 * K);
        }
        assert!(window.target() > 6 * 128 * K, "{window:?}");
    }

    #[test]
    fn a_seek_starts_again_at_nothing() {
        let mut window = ReadaheadWindow::new(1024 * K);
        window.record(0, 128 * K);
        window.record(1 << 30, 4 * K);
        assert_eq!(window.target(), 0);
        window.record((1 << 30) + 4 * K, 4 * K);
        assert_eq!(window.target(), (1 << 30) + 8 * K + FIRST);
    }

    #[test]
    fn nothing_ahead_where_none_is_wanted() {
        let mut window = ReadaheadWindow::new(0);
        window.record(0, 128 * K);
        window.record(128 * K, 128 * K);
        assert_eq!(window.target(), 0);
    }
}
