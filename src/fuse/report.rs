//! The one place where a failed request is logged.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fuser::Errno;
use log::Level;
use parking_lot::Mutex;

use super::slot::Call;
use super::watchdog::{GivenUp, Limit};
use crate::fs::{FsError, FtpFs};
use crate::ftp::printable;

/// A kind of failure (operation and errno) gets at most [`BURST`] lines in this time.
const WINDOW: Duration = Duration::from_secs(10);

/// Lines for one kind of failure in one window: a tree walk over a dead server fails thousands of times.
const BURST: u32 = 5;

/// Turns failures into log lines and errno.
pub(super) struct Report {
    fs: Arc<FtpFs>,
    limiter: Mutex<Limiter>,
}

impl Report {
    /// Paths are asked of `fs`.
    pub(super) fn new(fs: Arc<FtpFs>) -> Self {
        Self {
            fs,
            limiter: Mutex::default(),
        }
    }

    /// Logs a failure; the errno to answer. Asks the file system for the path, so that whoever reports
    /// from inside it must hold none of its locks.
    pub(super) fn failed(&self, call: &Call, error: &FsError) -> Errno {
        let errno = error.errno();
        let level = if error.is_ordinary() {
            Level::Debug
        } else {
            Level::Warn
        };
        self.line(level, call, errno, error);
        Errno::from_i32(errno)
    }

    /// Logs that a request was answered before its job was done.
    pub(super) fn gave_up(&self, call: &Call, why: GivenUp) {
        match why {
            GivenUp::Overdue(limit) => {
                let text = match limit {
                    Limit::Total(limit) => format!("no result within {} s", limit.as_secs()),
                    Limit::Stalled(limit) => {
                        format!("its upload has not got on for {} s", limit.as_secs())
                    }
                };
                self.line(Level::Warn, call, libc::ETIMEDOUT, &text);
            }
            GivenUp::Interrupted => {
                let text = format_args!("process {} was told to stop", call.caller);
                self.line(Level::Debug, call, libc::EINTR, &text);
            }
        }
    }

    /// Logs that a request failed by a defect of ours; the errno to answer.
    pub(super) fn defect(&self, call: &Call) -> Errno {
        self.line(Level::Error, call, libc::EIO, &"a defect of ftpfs");
        Errno::EIO
    }

    fn line(&self, level: Level, call: &Call, errno: i32, why: &dyn fmt::Display) {
        if level <= Level::Warn {
            self.fs.board().failures.one();
        } else if !log::log_enabled!(level) {
            return;
        }
        let kind = (call.operation, errno);
        let kept_back = if level <= Level::Warn {
            match self.limiter.lock().admit(kind, Instant::now()) {
                Some(kept_back) => kept_back,
                None => return,
            }
        } else {
            0
        };
        let name = nix::errno::Errno::from_raw(errno);
        if level <= Level::Warn {
            let (path, errno) = (self.path(call), format!("{name:?}"));
            self.fs.board().failed(call.operation, path, &errno, why);
        }
        let mut line = format!("{} {}: {name:?}: {why}", call.operation, self.path(call));
        if kept_back > 0 {
            // Writing to a String cannot fail.
            write!(line, " ({kept_back} more of this kind not shown)").unwrap_or_default();
        }
        log::log!(level, "{line}");
    }

    fn path(&self, call: &Call) -> String {
        let Some(path) = self.fs.path_of(call.ino) else {
            return format!("(inode {}) {}", call.ino, printable(&call.name));
        };
        if call.name.is_empty() {
            path.to_string()
        } else if path.is_root() {
            format!("/{}", printable(&call.name))
        } else {
            format!("{path}/{}", printable(&call.name))
        }
    }
}

type Kind = (&'static str, i32);

/// Lets few failures of one kind through. The kinds are few: operations times errnos.
#[derive(Debug, Default)]
struct Limiter {
    kinds: HashMap<Kind, Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    shown: u32,
    kept_back: u64,
}

impl Limiter {
    /// `None`: not to be shown. Else how many were not shown before this one.
    fn admit(&mut self, kind: Kind, now: Instant) -> Option<u64> {
        let window = self.kinds.entry(kind).or_insert(Window {
            began: now,
            shown: 0,
            kept_back: 0,
        });
        if now.saturating_duration_since(window.began) >= WINDOW {
            window.began = now;
            window.shown = 0;
        }
        if window.shown == BURST {
            window.kept_back += 1;
            return None;
        }
        window.shown += 1;
        Some(std::mem::take(&mut window.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_failures_are_counted_not_shown() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        let kind = ("read", libc::ETIMEDOUT);
        for _ in 0..BURST {
            assert_eq!(limiter.admit(kind, start), Some(0));
        }
        for _ in 0..37 {
            assert_eq!(limiter.admit(kind, start), None);
        }
        assert_eq!(limiter.admit(("read", libc::EIO), start), Some(0));
        assert_eq!(limiter.admit(kind, start + WINDOW), Some(37));
        assert_eq!(limiter.admit(kind, start + WINDOW), Some(0));
    }
}
