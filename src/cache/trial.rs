//! How many streams one file has: one, and more where a trial shows that they bring more.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::block::BLOCK;
use super::pace::Finding;
use super::reader::{FileReader, State};
use super::segments::length_of;
use crate::remote::Streams;

/// As soon as the window reaches this far, reading is sequential enough to look at its pace.
const LEAST_WINDOW: u64 = 1 << 20;

/// A stream takes so many round trips for a segment, and so long in any case: to begin one costs some of them, and
/// what is on the line when it is cut comes in vain.
const LEAST_TRIPS: f64 = 10.0;
const LEAST_TIME: f64 = 0.1;

/// Segments are never shorter than this, in bytes.
const LEAST_SEGMENT: u64 = 1 << 20;

/// A trial with a second stream is made where the rest of the file takes so many seconds, several times as
/// long as the trial.
const REST_FOR_FIRST: f64 = 10.0;

/// The same for one stream more where several have proved their worth.
const REST_FOR_MORE: f64 = 4.0;

impl FileReader {
    /// Decides how many streams there are, by what they bring.
    pub(super) fn look_at_pace(self: &Arc<Self>, state: &mut State) {
        let least = match state.segments.wanted {
            1 => LEAST_WINDOW,
            _ => state.window.max(),
        };
        if state.window.size() < least || state.detached || self.is_retired() {
            return state.segments.stop();
        }
        let arrived = self.arrived.load(Ordering::Relaxed);
        let finding = state.segments.pace.look(arrived, Instant::now());
        if let Some(finding) = finding {
            self.decide(state, finding);
        }
        while state.segments.claims.len() + 1 < state.segments.wanted
            && self.context.remote.spare_sessions() > state.segments.unopened()
            && let Some(id) = self.claim(state)
        {
            let reader = Arc::clone(self);
            let workers = &self.context.workers;
            workers.spawn(move || reader.fetch_segments(id));
        }
    }

    fn decide(&self, state: &mut State, finding: Finding) {
        let remote = &self.context.remote;
        let streams = state.segments.wanted;
        match finding {
            Finding::Steady(rate) => {
                let learned = remote.streams();
                let count = learned.map_or(2, |learned| learned.count);
                let counts = remote.connections();
                let alone = counts.live.saturating_sub(counts.idle) <= 1;
                // The program takes what comes, so that it is the line that limits.
                let behind = state.fetched.saturating_sub(state.window.front());
                let more = self.affordable(state, count, rate).saturating_sub(1);
                let eager = behind <= state.window.max() / 4;
                if more == 0 || !alone || !eager {
                    return;
                }
                let Some(turn) = remote.streams_turn() else {
                    return;
                };
                log::debug!("{}: {rate:.0} B/s; trying {} streams", state.path, more + 1);
                state.segments.turn = Some(turn);
                state.window.open();
                state.segments.want(more + 1, state.window.max());
                let own = state.window.front().max(state.fetched);
                state.segments.own_end = own.next_multiple_of(BLOCK) + state.segments.length;
                state.segments.pace.add(1, more, rate);
            }
            Finding::Better(rate) => {
                log::info!("{}: {streams} streams bring {rate:.0} B/s", state.path);
                let before = remote.streams();
                let tried_more = before.is_some_and(|b| b.tried_more && b.count == streams);
                remote.learn_streams(Streams {
                    count: streams,
                    tried_more,
                });
                if !tried_more && self.affordable(state, streams + 1, rate) > streams {
                    state.segments.want(streams + 1, state.window.max());
                    state.segments.pace.add(streams, 1, rate);
                }
            }
            Finding::Useless(rate) => {
                log::info!("{}: {streams} streams bring only {rate:.0} B/s", state.path);
                let known = remote.streams().map_or(1, |learned| learned.count);
                self.fall_back(state, if known < streams { known } else { 1 });
            }
            Finding::Lost if state.segments.claims.len() + 1 < streams => {}
            Finding::Lost => {
                log::info!("{}: {streams} streams are of no more use", state.path);
                self.fall_back(state, 1);
            }
        }
    }

    /// More than `count` streams were of no use.
    pub(super) fn fall_back(&self, state: &mut State, count: usize) {
        self.context.remote.learn_streams(Streams {
            count,
            tried_more: true,
        });
        if count > 1 {
            state.segments.want(count, state.window.max());
            state.segments.pace.settle();
        } else {
            // What is parked is yet to be taken on.
            state.segments.wanted = 1;
            state.segments.turn = None;
            state.segments.pace.alone();
        }
    }

    /// Makes the next segment somebody's.
    pub(super) fn claim(&self, state: &mut State) -> Option<u64> {
        let (front, target) = (state.window.front(), state.window.target());
        let known = |at| self.known_length(at, None);
        let size = self.version?.size;
        state.segments.claim(front, target, size, known)
    }

    /// How many streams there can be, at most `count`: by sessions, memory, the line, and what is left of the file.
    #[expect(clippy::cast_precision_loss, reason = "rates need not be exact")]
    fn affordable(&self, state: &State, count: usize, rate: f64) -> usize {
        let Some(version) = self.version.filter(|v| v.modified.is_some()) else {
            // Without a time nothing tells two versions of one size apart.
            return 1;
        };
        let window = state.window.max();
        let left = version.size.saturating_sub(state.window.front());
        let left_for = left as f64 / rate;
        let now = state.segments.wanted;
        let long = match now {
            1 => left_for >= REST_FOR_FIRST && left >= 2 * window,
            _ => left_for >= REST_FOR_MORE && left >= window,
        };
        if !long {
            return 1;
        }
        let of_each = rate / now as f64;
        let least_time = LEAST_TIME.max(LEAST_TRIPS * state.segments.round_trip.as_secs_f64());
        let pays = |streams: usize| {
            let length = length_of(streams, window);
            length >= LEAST_SEGMENT && length as f64 / of_each >= least_time
        };
        let by_sessions = now + self.context.remote.spare_sessions();
        let most = count.min(by_sessions);
        (2..=most).take_while(|n| pays(*n)).last().unwrap_or(1)
    }
}
