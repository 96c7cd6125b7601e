//! Segments of one file that several streams fetch: who has which.
//!
//! RETR has no end: a stream that has fetched its segment is cut, and the next one begins behind all segments that
//! are being fetched. All of them lie within the readahead window. The end of the file is the reader's own stream's
//! alone, since only that judges it.

use std::time::Duration;

use super::block::BLOCK;
use super::pace::Pace;
use super::stream::READ_THROUGH;
use crate::remote::{Download, StreamsTurn};

/// The streams of one file besides its reader's own.
pub(super) struct Segments {
    pub(super) pace: Pace,
    /// Held while there is more than one stream.
    pub(super) turn: Option<StreamsTurn>,
    /// Streams that there should be, the reader's own included.
    pub(super) wanted: usize,
    /// Their segments, one for each stream but the reader's own.
    pub(super) claims: Vec<Claim>,
    next_claim: u64,
    pub(super) length: u64,
    /// Where the segment of the reader's own stream ends.
    pub(super) own_end: u64,
    /// A stream that is not to go on, for the reader's own to be continued with.
    pub(super) parked: Option<Download>,
    /// Of the line.
    pub(super) round_trip: Duration,
}

/// The part of a segment that has not arrived.
pub(super) struct Claim {
    pub(super) id: u64,
    pub(super) at: u64,
    pub(super) end: u64,
    progress: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// No worker has taken it up.
    Queued,
    /// It has no session yet.
    Opening,
    Running,
}

impl Segments {
    pub(super) fn new() -> Self {
        Self {
            pace: Pace::new(),
            turn: None,
            wanted: 1,
            claims: Vec::new(),
            next_claim: 0,
            length: 0,
            own_end: 0,
            parked: None,
            round_trip: Duration::ZERO,
        }
    }

    /// Whether another stream fetches the byte at `at`.
    pub(super) fn cover(&self, at: u64) -> bool {
        self.end_of(at).is_some()
    }

    /// The end of the segment of another stream in which `at` lies.
    pub(super) fn end_of(&self, at: u64) -> Option<u64> {
        let mut begun = self
            .claims
            .iter()
            .filter(|c| c.progress != Progress::Queued);
        begun.find(|c| c.at <= at && at < c.end).map(|c| c.end)
    }

    /// The reader's own stream fetches from `at` on.
    pub(super) fn begin_own(&mut self, at: u64) {
        if self.wanted > 1 && !(at < self.own_end && self.own_end - at <= self.length) {
            // Nobody waits for a job that has no worker.
            let begun = |c: &Claim| c.progress != Progress::Queued || !(c.at..c.end).contains(&at);
            self.claims.retain(begun);
            let next = self.claims.iter().map(|c| c.at).filter(|next| *next > at);
            let end = at - at % BLOCK + self.length;
            self.own_end = next.min().map_or(end, |next| end.min(next));
        }
    }

    /// Whether this much room in the window is enough to go on.
    pub(super) fn are_due(&self, room: u64) -> bool {
        self.wanted > 1 && room >= READ_THROUGH
    }

    /// The program does not want more at present.
    pub(super) fn rest(&mut self) {
        self.pace.interrupted();
        self.parked = None;
    }

    /// Gives the session of a stream back that is not read, if there is one.
    pub(super) fn give_up_parked(&mut self) -> bool {
        self.parked.take().is_some()
    }

    /// One stream from now on.
    pub(super) fn stop(&mut self) {
        self.wanted = 1;
        self.pace.alone();
        self.turn = None;
        self.parked = None;
    }

    /// Takes note of how far a segment is, unless its reader's own stream has taken it over.
    pub(super) fn progress(&mut self, id: u64, progress: Progress) -> Option<&mut Claim> {
        let claim = self.claims.iter_mut().find(|c| c.id == id)?;
        claim.progress = progress;
        Some(claim)
    }

    /// Segments that are going to need a session.
    pub(super) fn unopened(&self) -> usize {
        let running = |c: &&Claim| c.progress != Progress::Running;
        self.claims.iter().filter(running).count()
    }

    /// So many streams from now on, the reader's own included.
    pub(super) fn want(&mut self, streams: usize, window: u64) {
        self.wanted = streams;
        self.length = length_of(streams, window);
    }

    /// Makes the next segment somebody's: the first from `front` on that nobody has or fetches, as long as it ends
    /// within `window` and before `size`. `known` says how many bytes from an offset on are in memory.
    pub(super) fn claim(
        &mut self,
        front: u64,
        window: u64,
        size: u64,
        known: impl Fn(u64) -> u64,
    ) -> Option<u64> {
        let mut at = self.own_end.max(front.next_multiple_of(BLOCK));
        loop {
            let end = at.checked_add(self.length)?;
            if end > window || end >= size {
                return None;
            }
            if let Some(claim) = self.claims.iter().find(|c| c.at <= at && at < c.end) {
                at = claim.end;
                continue;
            }
            match known(at) {
                0 if at.is_multiple_of(BLOCK) => break,
                // What is known only in part is left to the reader's own stream.
                0 => at = at.next_multiple_of(BLOCK),
                length => at += length,
            }
        }
        let next = self.claims.iter().map(|c| c.at).filter(|next| *next > at);
        let end = at + self.length;
        let end = next.min().map_or(end, |next| end.min(next));
        let id = self.next_claim;
        self.next_claim += 1;
        self.claims.push(Claim {
            id,
            at,
            end,
            progress: Progress::Queued,
        });
        Some(id)
    }
}

/// Bytes of a segment when there are so many streams.
pub(super) fn length_of(streams: usize, window: u64) -> u64 {
    // One more than streams: the reader's program is in the midst of one of them.
    let length = window / (streams as u64 + 1);
    length - length % BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 100 * BLOCK;

    /// Three streams; the reader's own begins at 0 and each has six blocks at a time.
    fn three() -> Segments {
        let mut segments = Segments::new();
        segments.want(3, 24 * BLOCK);
        segments.begin_own(0);
        segments
    }

    fn ranges(segments: &Segments) -> Vec<(u64, u64)> {
        let blocks = |c: &Claim| (c.at / BLOCK, c.end / BLOCK);
        segments.claims.iter().map(blocks).collect()
    }

    #[test]
    fn segments_follow_each_other_within_the_window() {
        let mut segments = three();
        while segments.claim(0, 24 * BLOCK, SIZE, |_| 0).is_some() {}
        assert_eq!(ranges(&segments), [(6, 12), (12, 18), (18, 24)]);
        assert!(segments.claim(BLOCK, 25 * BLOCK, SIZE, |_| 0).is_none());
        assert!(segments.claim(1, 30 * BLOCK, SIZE, |_| 0).is_some());
        assert_eq!(ranges(&segments)[3], (24, 30));
    }

    #[test]
    fn the_end_of_the_file_is_nobodys() {
        let mut segments = three();
        assert!(segments.claim(0, 24 * BLOCK, 12 * BLOCK, |_| 0).is_none());
        let longer = segments.claim(0, 24 * BLOCK, 12 * BLOCK + 1, |_| 0);
        assert!(longer.is_some());
    }

    #[test]
    fn what_is_known_is_not_fetched() {
        let known = |at: u64| match at / BLOCK {
            6..8 => BLOCK,
            // The front of a block.
            8 if at % BLOCK < 100 => 100 - at % BLOCK,
            _ => 0,
        };
        let mut segments = three();
        segments.claim(0, 24 * BLOCK, SIZE, known);
        assert_eq!(ranges(&segments), [(9, 15)]);
    }

    #[test]
    fn a_segment_ends_where_another_begins() {
        let mut segments = three();
        let first = segments.claim(0, 24 * BLOCK, SIZE, |_| 0).unwrap();
        segments.claim(0, 24 * BLOCK, SIZE, |_| 0);
        segments.progress(first, Progress::Running).unwrap().at = 10 * BLOCK;
        // Blocks that were thrown away again.
        segments.claim(0, 24 * BLOCK, SIZE, |_| 0);
        assert_eq!(ranges(&segments), [(10, 12), (12, 18), (6, 10)]);
    }

    #[test]
    fn a_segment_without_a_worker_is_taken_over() {
        let mut segments = three();
        let first = segments.claim(0, 24 * BLOCK, SIZE, |_| 0).unwrap();
        let second = segments.claim(0, 24 * BLOCK, SIZE, |_| 0).unwrap();
        assert!(segments.progress(second, Progress::Opening).is_some());
        assert!(!segments.cover(6 * BLOCK) && segments.cover(12 * BLOCK));
        segments.begin_own(6 * BLOCK);
        assert_eq!(segments.own_end, 12 * BLOCK);
        assert!(segments.progress(first, Progress::Opening).is_none());
        assert!(segments.progress(second, Progress::Running).is_some());
    }
}
