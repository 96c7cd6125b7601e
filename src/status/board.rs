//! `Board`: counters, and what is under way, as the rooms report it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::line::{Line, LineState, Reading, ReadingState};
use super::report::{Connection, Efficiency, ErrorLine, Phase, Report, Server, Transfer};

/// So many errors are remembered.
const ERRORS: usize = 20;
/// Bytes of one of them: a server's words can be long.
const LONGEST: usize = 400;

/// A number that grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where the rooms of one mount report.
#[derive(Debug, Default)]
pub struct Board {
    /// Requests of the kernel.
    pub requests: Counter,
    /// Those that failed, but for the ordinary (no such file).
    pub failures: Counter,
    /// Listings that were answered from memory.
    pub listing_hits: Counter,
    /// Listings that the server was asked for.
    pub listing_misses: Counter,
    /// Reads that memory answered at once.
    pub read_hits: Counter,
    /// Reads that waited for the server.
    pub read_misses: Counter,
    /// Bytes that the readers of open files had from the server.
    pub fetched: Counter,
    /// Of these, bytes that were read by programs.
    pub used: Counter,
    /// Small files that were fetched before they were opened.
    pub files_ahead: Counter,
    /// Of these, files that were opened in time.
    pub files_ahead_used: Counter,
    /// Bytes of all data connections, listings included.
    pub received: Counter,
    /// The same, to the server.
    pub sent: Counter,
    next: AtomicU64,
    /// Each of these is taken alone and for a moment.
    pub(super) lines: Mutex<BTreeMap<u64, Arc<LineState>>>,
    pub(super) readings: Mutex<BTreeMap<u64, Arc<ReadingState>>>,
    errors: Mutex<VecDeque<ErrorLine>>,
    server: Mutex<Option<Server>>,
    ending: AtomicU64,
}

impl Board {
    /// A control connection begins. It is gone when the answer is dropped.
    pub fn connection(self: &Arc<Self>) -> Line {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(LineState::new());
        self.lines.lock().insert(number, Arc::clone(&state));
        Line::new(Arc::clone(self), number, state)
    }

    /// A file begins to be read from the server, at byte `at`; `size` if it is known.
    pub fn reading(self: &Arc<Self>, path: String, at: u64, size: Option<u64>) -> Reading {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(ReadingState::new(path, at, size));
        self.readings.lock().insert(number, Arc::clone(&state));
        Reading::new(Arc::clone(self), number, state)
    }

    /// Something failed. `why` holds the server's words, if it said any, and no secret.
    pub fn failed(&self, operation: &str, path: String, errno: &str, why: &dyn Display) {
        let mut said = why.to_string();
        if said.len() > LONGEST {
            let cut = (0..=LONGEST).rev().find(|at| said.is_char_boundary(*at));
            said.truncate(cut.unwrap_or(0));
            said.push('…');
        }
        let line = ErrorLine {
            when: unix_seconds(),
            operation: operation.to_owned(),
            path,
            errno: errno.to_owned(),
            said,
        };
        let mut errors = self.errors.lock();
        if errors.len() == ERRORS {
            errors.pop_front();
        }
        errors.push_back(line);
    }

    /// A login has shown who the server is.
    pub fn met(&self, server: Server) {
        *self.server.lock() = Some(server);
    }

    /// The mount is being taken away; what is not stored yet is being stored.
    pub fn ends(&self) {
        self.ending.store(1, Ordering::Relaxed);
    }

    /// Writes what has been reported into `report`.
    pub fn fill(&self, report: &mut Report) {
        report.phase = match self.ending.load(Ordering::Relaxed) {
            0 => Phase::Mounted,
            _ => Phase::Ending,
        };
        report.server.clone_from(&self.server.lock());
        report.connections.each = self
            .lines
            .lock()
            .values()
            .map(|line| line.report())
            .collect();
        let busy = |c: &&Connection| c.doing.is_some();
        report.connections.busy = report.connections.each.iter().filter(busy).count();
        let mut transfers: Vec<Transfer> = Vec::new();
        for reading in self.readings.lock().values() {
            let one = reading.report();
            // Several streams may fetch one file.
            match transfers.iter_mut().find(|other| other.path == one.path) {
                Some(other) => other.bytes = other.bytes.max(one.bytes),
                None => transfers.push(one),
            }
        }
        report.downloads = transfers;
        report.requests = self.requests.get();
        report.failures = self.failures.get();
        report.received = self.received.get();
        report.sent = self.sent.get();
        report.listings = Efficiency::of(self.listing_hits.get(), self.listing_misses.get());
        report.reads = Efficiency::of(self.read_hits.get(), self.read_misses.get());
        let (fetched, used) = (self.fetched.get(), self.used.get());
        report.readahead = Efficiency::of(used, fetched.saturating_sub(used));
        let (fetched, used) = (self.files_ahead.get(), self.files_ahead_used.get());
        report.files_ahead = Efficiency::of(used, fetched.saturating_sub(used));
        report.errors = self.errors.lock().iter().cloned().collect();
    }
}

/// By the wall clock, since 1970.
pub(super) fn unix_seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reported_is_told_and_what_ends_is_gone() {
        let board = Arc::new(Board::default());
        let line = board.connection();
        line.sends("RETR", b"/a\nb");
        line.received(10);
        let reading = board.reading("/f".into(), 100, Some(1000));
        let ahead = board.reading("/f".into(), 500, Some(1000));
        reading.at(200);
        board.read_hits.add(3);
        board.read_misses.one();
        let mut report = Report::default();
        board.fill(&mut report);
        let doing = report.connections.each[0].doing.clone().unwrap();
        assert_eq!(
            (doing.verb.as_str(), doing.path.as_str(), doing.bytes),
            ("RETR", "/a\\nb", 10)
        );
        assert_eq!(report.downloads.len(), 1);
        assert_eq!(report.downloads[0].bytes, 500);
        assert_eq!(report.reads.percent, Some(75.0));
        line.rests();
        drop((reading, ahead));
        let mut report = Report::default();
        board.fill(&mut report);
        assert!(report.connections.each[0].doing.is_none() && report.downloads.is_empty());
        drop(line);
        board.fill(&mut report);
        assert!(report.connections.each.is_empty());
    }

    #[test]
    fn no_more_errors_are_remembered_than_some_and_none_is_long() {
        let board = Board::default();
        for n in 0..3 * ERRORS {
            board.failed("read", format!("/{n}"), "EIO", &"é".repeat(LONGEST));
        }
        let mut report = Report::default();
        board.fill(&mut report);
        assert_eq!(report.errors.len(), ERRORS);
        assert_eq!(
            report.errors[ERRORS - 1].path,
            format!("/{}", 3 * ERRORS - 1)
        );
        assert!(report.errors.iter().all(|e| e.said.len() <= LONGEST + 4));
    }
}
