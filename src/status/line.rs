//! What one connection does, and how far one download is: handles that report as long as they live.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::board::Board;
use super::report::{Connection, Doing, Transfer};

/// One control connection. The default one reports nowhere.
#[derive(Debug, Default)]
pub struct Line(Option<Attached>);

#[derive(Debug)]
struct Attached {
    board: Arc<Board>,
    number: u64,
    state: Arc<LineState>,
}

#[derive(Debug)]
pub(super) struct LineState {
    /// Held for the copy of a name.
    doing: Mutex<Now>,
    /// Bytes of data since the last command.
    bytes: AtomicU64,
}

#[derive(Debug)]
struct Now {
    /// Empty: nothing.
    verb: &'static str,
    /// As the server sees it; its memory is used again.
    path: Vec<u8>,
    since: Instant,
}

impl LineState {
    pub(super) fn new() -> Self {
        Self {
            doing: Mutex::new(Now {
                verb: "",
                path: Vec::new(),
                since: Instant::now(),
            }),
            bytes: AtomicU64::new(0),
        }
    }

    pub(super) fn report(&self) -> Connection {
        let now = self.doing.lock();
        let seconds = now.since.elapsed().as_secs_f64();
        let doing = (!now.verb.is_empty()).then(|| Doing {
            verb: now.verb.to_owned(),
            path: shown(&now.path),
            bytes: self.bytes.load(Ordering::Relaxed),
        });
        Connection { seconds, doing }
    }
}

impl Line {
    pub(super) fn new(board: Arc<Board>, number: u64, state: Arc<LineState>) -> Self {
        Self(Some(Attached {
            board,
            number,
            state,
        }))
    }

    /// A command goes out. `path` is what it is about, never a secret.
    pub fn sends(&self, verb: &'static str, path: &[u8]) {
        let Some(Attached { state, .. }) = &self.0 else {
            return;
        };
        let mut now = state.doing.lock();
        now.verb = verb;
        now.path.clear();
        now.path.extend_from_slice(path);
        now.since = Instant::now();
        state.bytes.store(0, Ordering::Relaxed);
    }

    /// Every reply has come.
    pub fn rests(&self) {
        let Some(Attached { state, .. }) = &self.0 else {
            return;
        };
        let mut now = state.doing.lock();
        if !now.verb.is_empty() {
            now.verb = "";
            now.since = Instant::now();
        }
    }

    /// Data of a transfer have come.
    pub fn received(&self, count: usize) {
        if let Some(Attached { state, board, .. }) = &self.0 {
            state.bytes.fetch_add(count as u64, Ordering::Relaxed);
            board.received.add(count as u64);
        }
    }

    /// Data of a transfer have gone.
    pub fn sent(&self, count: usize) {
        if let Some(Attached { state, board, .. }) = &self.0 {
            state.bytes.fetch_add(count as u64, Ordering::Relaxed);
            board.sent.add(count as u64);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(Attached { board, number, .. }) = &self.0 {
            board.lines.lock().remove(number);
        }
    }
}

/// A file that is being read from the server.
#[derive(Debug)]
pub struct Reading {
    board: Arc<Board>,
    number: u64,
    state: Arc<ReadingState>,
}

#[derive(Debug)]
pub(super) struct ReadingState {
    path: String,
    at: AtomicU64,
    size: Option<u64>,
    since: Instant,
}

impl ReadingState {
    pub(super) fn new(path: String, at: u64, size: Option<u64>) -> Self {
        Self {
            path,
            at: AtomicU64::new(at),
            size,
            since: Instant::now(),
        }
    }

    pub(super) fn report(&self) -> Transfer {
        Transfer {
            path: self.path.clone(),
            bytes: self.at.load(Ordering::Relaxed),
            size: self.size,
            seconds: self.since.elapsed().as_secs_f64(),
        }
    }
}

impl Reading {
    pub(super) fn new(board: Arc<Board>, number: u64, state: Arc<ReadingState>) -> Self {
        Self {
            board,
            number,
            state,
        }
    }

    /// The byte of the file that comes next.
    pub fn at(&self, position: u64) {
        self.state.at.store(position, Ordering::Relaxed);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.board.readings.lock().remove(&self.number);
    }
}

/// Nothing in a name moves the cursor of who looks at it.
fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for c in String::from_utf8_lossy(name).chars() {
        match c.is_control() {
            true => text.extend(c.escape_default()),
            false => text.push(c),
        }
    }
    text
}
