//! The status of this mount: who answers the socket, and what it tells.

use std::sync::Arc;
use std::time::Instant;

use super::{Failure, MountConfig};
use crate::fs::FtpFs;
use crate::fuse::{self, Ender};
use crate::remote::Remote;
use crate::status::{Answers, Ended, Kept, Report, Socket};
use crate::writeback::Journal;

/// What a report is made of.
#[derive(Clone)]
pub(super) struct Live {
    mountpoint: String,
    source: String,
    since: Instant,
    remote: Arc<Remote>,
    fs: Arc<FtpFs>,
    journal: Arc<Journal>,
}

impl Live {
    pub(super) fn new(
        config: &MountConfig,
        remote: &Arc<Remote>,
        fs: &Arc<FtpFs>,
        journal: &Arc<Journal>,
    ) -> Self {
        Self {
            mountpoint: config.session.mountpoint.display().to_string(),
            source: config.session.source.clone(),
            since: Instant::now(),
            remote: Arc::clone(remote),
            fs: Arc::clone(fs),
            journal: Arc::clone(journal),
        }
    }

    /// All that is known now. Waits for nobody.
    pub(super) fn report(&self) -> Report {
        let mut report = Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mountpoint: self.mountpoint.clone(),
            source: self.source.clone(),
            pid: std::process::id(),
            seconds: self.since.elapsed().as_secs_f64(),
            away: self.remote.away(),
            behaviour: self.remote.behaviour(),
            ..Report::default()
        };
        self.remote.board().fill(&mut report);
        let counts = self.remote.connections();
        report.connections.live = counts.live;
        report.connections.idle = counts.idle;
        report.connections.allowed = counts.allowed;
        let standing = self.fs.standing();
        report.staged = standing.files;
        report.staged_files = standing.count;
        report.staged_bytes = standing.bytes;
        let kept = self.journal.own();
        report.recover = (!kept.is_empty()).then(|| self.journal.command());
        report.kept = kept
            .iter()
            .map(|kept| Kept {
                path: kept.path().to_string(),
                size: kept.size(),
                copy: kept.copy().display().to_string(),
            })
            .collect();
        report
    }

    /// Tells the log (SIGUSR1).
    pub(super) fn log(&self) {
        for line in self.report().to_string().lines() {
            log::warn!("status: {line}");
        }
    }

    /// Opens the socket; without one the mount does its work all the same.
    pub(super) fn answer(&self, config: &MountConfig, ender: Ender) -> Option<Socket> {
        let live = self.clone();
        let answers = Answers {
            report: Box::new(move || live.report()),
            end: Box::new(move || ender.end()),
        };
        let place = &config.session.mountpoint;
        // One that was handed over is where somebody else knows.
        let device = fuse::mounted_at(place).map_or_else(String::new, |found| found.device);
        match Socket::open(place, &device, answers) {
            Ok(socket) => Some(socket),
            Err(error) => {
                log::warn!("no status of this mount can be had: {error}");
                None
            }
        }
    }
}

/// For who waits for the end.
pub(super) fn ended(outcome: &Result<(), Failure>) -> Ended {
    match outcome {
        Ok(()) => Ended {
            code: 0,
            message: String::new(),
        },
        Err(failure) => Ended {
            code: failure.status.code(),
            message: failure.message.clone(),
        },
    }
}
