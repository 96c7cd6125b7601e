//! The journal of a mount: opened, reported of at the beginning and at the end.

use std::io::Write;
use std::sync::Arc;

use super::recover::date;
use super::{Failure, MountConfig, Status};
use crate::fuse::Ended;
use crate::remote::{Remote, TemporaryNames};
use crate::workers::Workers;
use crate::writeback::{Journal, JournalError};

/// The journal; without one the mount does its work all the same.
pub(super) fn open(config: &MountConfig) -> Result<Arc<Journal>, Failure> {
    match Journal::open(&config.journal) {
        Ok(journal) => Ok(journal),
        Err(JournalError::Busy) => Err(Failure::system(format!(
            "ftpfs --recover works on {}; mount it when that is done",
            config.journal.url
        ))),
        Err(error) => {
            log::warn!("{error}; what the server does not take will not be kept");
            Ok(Journal::none())
        }
    }
}

/// What earlier mounts could not store, in one line.
pub(super) fn earlier(journal: &Journal) -> Option<String> {
    let kept = journal.earlier();
    let since = date(kept.iter().min_by_key(|kept| kept.when())?);
    let command = journal.command();
    Some(match kept.len() {
        1 => format!(
            "1 file that an earlier mount could not store is kept here since {since}; unmount, and store it by: {command}"
        ),
        count => format!(
            "{count} files that earlier mounts could not store are kept here since {since}; unmount, and store them by: {command}"
        ),
    })
}

/// To who waits for the mount; the log has its own line.
pub(super) fn tell_terminal(warning: &str) {
    // Where nobody reads standard error any more, the log is left.
    drop(writeln!(std::io::stderr(), "ftpfs: warning: {warning}"));
}

/// Deletes, beside all else, what killed mounts left on the server.
pub(super) fn clean(
    journal: &Arc<Journal>,
    config: &MountConfig,
    remote: &Arc<Remote>,
    workers: &Workers,
) {
    if config.fs.read_only || !journal.has_leftovers() {
        return;
    }
    let names = TemporaryNames::new(config.fs.mount_id);
    let (journal, remote) = (Arc::clone(journal), Arc::clone(remote));
    workers.spawn(move || journal.clean(&remote, &names));
}

/// Whether everything is on the server.
pub(super) fn outcome(ended: &Ended, journal: &Journal) -> Result<(), Failure> {
    let kept = journal.own();
    let copies: Vec<_> = kept.iter().map(|kept| (kept.path(), kept.copy())).collect();
    for (path, copy) in &copies {
        log::error!("{path}: kept in {}", copy.display());
    }
    let recover = match kept.is_empty() {
        true => String::new(),
        false => format!("; to store what is kept here: {}", journal.command()),
    };
    let Some(drain) = &ended.drain else {
        return Err(Failure::new(
            Status::NotStored,
            format!(
                "ended by a second signal, without waiting for the last uploads; files that were open may be incomplete on the server{recover}"
            ),
        ));
    };
    let mut failed = drain.failed.clone();
    for (path, _) in &copies {
        if failed.iter().all(|(known, _)| known != *path) {
            failed.push(((*path).clone(), "see the log".into()));
        }
    }
    let Some((path, reason)) = failed.first() else {
        return Ok(());
    };
    for (path, reason) in &failed {
        log::error!("{path} could not be stored: {reason}");
    }
    let others = match failed.len() - 1 {
        0 => String::new(),
        1 => " (and another file, see the log)".into(),
        count => format!(" (and {count} more files, see the log)"),
    };
    Err(Failure::new(
        Status::NotStored,
        format!("unmounted, but {path} could not be stored: {reason}{others}{recover}"),
    ))
}
