//! `Pace`: whether more streams at a time bring more bytes of one file, by what they have brought so far.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Rates are those of laps of this length.
const LAP: Duration = Duration::from_millis(500);
/// So many laps that do not differ much are steady.
const STEADY: usize = 4;
/// The slowest of them reaches this part of the fastest. That is what more streams have to surpass: then a line
/// that is now fast and now slow makes none look good.
const NEARLY: f64 = 0.5;
/// A new connection needs a while to get fast, and makes room among the others.
const RAMP: usize = 2;
/// Laps that decide over a trial.
const TRIAL: usize = 3;
/// A trial ends at once after a lap that has brought less than this part of what there was before.
const HARM: f64 = 0.75;
/// What a stream has to add, as a part of what it would add if the streams did not share a limit.
const WORTH: f64 = 0.4;
/// Laps after which it is looked whether all the streams are still worth it.
const REVIEW: usize = 16;

/// What the last laps say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Finding {
    /// One stream runs, at this many bytes per second or less.
    Steady(f64),
    /// The streams that were added are worth it; so many bytes per second.
    Better(f64),
    /// They are not.
    Useless(f64),
    /// What was worth it once no longer is.
    Lost,
}

/// The rate at which the bytes of one file arrive.
#[derive(Debug)]
pub(super) struct Pace {
    stage: Stage,
    /// When the present lap began, and what had arrived by then.
    lap: Option<(Instant, u64)>,
    /// Bytes per second, the last lap last.
    laps: VecDeque<f64>,
    /// That of one stream.
    alone: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Alone,
    /// Before the first byte of so many streams that are added to `from` others.
    Opening {
        missing: usize,
        from: usize,
        before: f64,
    },
    Trial {
        from: usize,
        before: f64,
    },
    Kept,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Alone,
            lap: None,
            laps: VecDeque::new(),
            alone: 0.0,
        }
    }

    /// `arrived` bytes have come up to now, all streams together.
    pub(super) fn look(&mut self, arrived: u64, now: Instant) -> Option<Finding> {
        let (began, before) = *self.lap.get_or_insert((now, arrived));
        let took = now.saturating_duration_since(began);
        if took < LAP {
            return None;
        }
        self.lap = Some((now, arrived));
        #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
        let bytes = arrived.saturating_sub(before) as f64;
        self.laps.push_back(bytes / took.as_secs_f64());
        match self.stage {
            Stage::Alone => {
                self.forget_but(STEADY);
                let slowest = self.laps.iter().copied().fold(f64::INFINITY, f64::min);
                let fastest = self.laps.iter().copied().fold(0.0, f64::max);
                let steady = self.laps.len() == STEADY && slowest >= NEARLY * fastest;
                (steady && slowest > 0.0).then_some(Finding::Steady(fastest))
            }
            Stage::Opening { .. } => {
                self.laps.clear();
                None
            }
            Stage::Trial { from, before } => {
                let last = self.laps.back().copied().unwrap_or_default();
                if last < HARM * before {
                    self.settle();
                    return Some(Finding::Useless(last));
                }
                if self.laps.len() < RAMP + TRIAL {
                    return None;
                }
                self.forget_but(TRIAL);
                let mean = self.mean();
                self.settle();
                Some(if mean >= before * (1.0 + WORTH / count(from)) {
                    Finding::Better(mean)
                } else {
                    Finding::Useless(mean)
                })
            }
            Stage::Kept => {
                if self.laps.len() < REVIEW {
                    return None;
                }
                let mean = self.mean();
                self.laps.clear();
                (mean < self.alone * (1.0 + WORTH / 2.0)).then_some(Finding::Lost)
            }
        }
    }

    /// `more` streams are added to `from` that have brought `before` bytes per second.
    pub(super) fn add(&mut self, from: usize, more: usize, before: f64) {
        if from == 1 {
            self.alone = before;
        }
        self.stage = Stage::Opening {
            missing: more,
            from,
            before,
        };
        self.interrupted();
    }

    /// A stream that was added has brought its first bytes.
    pub(super) fn one_flows(&mut self) {
        if let Stage::Opening {
            missing,
            from,
            before,
        } = self.stage
        {
            self.stage = if missing > 1 {
                let missing = missing - 1;
                Stage::Opening {
                    missing,
                    from,
                    before,
                }
            } else {
                Stage::Trial { from, before }
            };
            self.interrupted();
        }
    }

    /// The streams stay as many as they are.
    pub(super) fn settle(&mut self) {
        self.stage = Stage::Kept;
        self.interrupted();
    }

    /// One stream again.
    pub(super) fn alone(&mut self) {
        self.stage = Stage::Alone;
        self.interrupted();
    }

    /// Whether a stream that was added has not brought a byte yet.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.stage, Stage::Opening { .. })
    }

    /// What the laps say is not about the line: the program did not want more, or others needed the sessions.
    pub(super) fn interrupted(&mut self) {
        self.lap = None;
        self.laps.clear();
    }

    fn forget_but(&mut self, count: usize) {
        while self.laps.len() > count {
            self.laps.pop_front();
        }
    }

    fn mean(&self) -> f64 {
        self.laps.iter().sum::<f64>() / count(self.laps.len().max(1))
    }
}

/// Of laps or streams, a few.
fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line that brings so many bytes in each lap.
    struct Line {
        pace: Pace,
        now: Instant,
        arrived: u64,
    }

    impl Line {
        fn new() -> Self {
            Self {
                pace: Pace::new(),
                now: Instant::now(),
                arrived: 0,
            }
        }

        /// The first finding within so many laps.
        fn runs(&mut self, laps: usize, bytes: u64) -> Option<Finding> {
            // The first look begins a lap.
            self.pace.look(self.arrived, self.now);
            (0..laps).find_map(|_| {
                self.now += LAP;
                self.arrived += bytes;
                self.pace.look(self.arrived, self.now)
            })
        }
    }

    #[test]
    fn a_rate_is_steady_after_some_laps_that_are_alike() {
        let mut line = Line::new();
        assert_eq!(line.runs(STEADY - 1, 1000), None);
        assert_eq!(line.runs(1, 1000), Some(Finding::Steady(2000.0)));
        assert_eq!(line.runs(1, 100), None, "a lap that is another");
        line.pace.interrupted();
        assert_eq!(line.runs(STEADY - 1, 1000), None);
        assert!(line.runs(1, 1000).is_some());
        assert_eq!(Line::new().runs(20, 0), None, "nothing comes");
    }

    #[test]
    fn a_stream_has_to_be_worth_it() {
        // Streams before, bytes in a lap with one more, and whether that is kept; 1000 before.
        for (from, bytes, kept) in [
            (1, 2000, true),
            (1, 1450, true),
            (1, 1350, false),
            (1, 1000, false),
            (1, 500, false),
            (4, 1250, true),
            (4, 1050, false),
        ] {
            let mut line = Line::new();
            line.pace.add(from, 1, 2000.0);
            assert_eq!(line.runs(20, bytes), None, "before the first byte");
            line.pace.one_flows();
            let found = line.runs(RAMP + TRIAL, bytes);
            assert_eq!(
                matches!(found, Some(Finding::Better(_))),
                kept,
                "{from} {bytes}"
            );
            assert_eq!(
                matches!(found, Some(Finding::Useless(_))),
                !kept,
                "{from} {bytes}"
            );
        }
    }

    #[test]
    fn a_trial_that_does_harm_ends_at_once() {
        let mut line = Line::new();
        line.pace.add(1, 1, 2000.0);
        line.pace.one_flows();
        assert_eq!(line.runs(1, 500), Some(Finding::Useless(1000.0)));
    }

    #[test]
    fn what_is_no_longer_worth_it_is_noticed() {
        let mut line = Line::new();
        line.pace.add(1, 2, 2000.0);
        line.pace.one_flows();
        assert_eq!(line.runs(20, 3000), None, "one of two is missing");
        line.pace.one_flows();
        let better = line.runs(RAMP + TRIAL, 3000);
        assert_eq!(better, Some(Finding::Better(6000.0)));
        assert_eq!(line.runs(3 * REVIEW, 3000), None);
        assert_eq!(line.runs(2 * REVIEW, 1000), Some(Finding::Lost));
    }
}
