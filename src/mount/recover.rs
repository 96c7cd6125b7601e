//! `--recover`: brings to the server what mounts have kept because it could not be stored.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use super::{Failure, MountConfig, Status, connect};
use crate::ftp::RemotePath;
use crate::remote::TemporaryNames;
use crate::workers::Workers;
use crate::writeback::{
    Journal, JournalError, Kept, RecoverError, StagingArea, UNKNOWN_MODE, WriteContext, all_kept,
};

/// Nothing but commits, one after the other.
const WORKERS: usize = 2;

/// Tells what is kept on this machine, below `directory`.
///
/// # Errors
/// Standard output.
pub fn list_kept(directory: &Path) -> Result<(), Failure> {
    let all = all_kept(directory);
    if all.is_empty() {
        return say("nothing is kept on this machine");
    }
    for (url, kept) in all {
        say(&format!(
            "{url}: {}: {} bytes, {}, {}",
            kept.path(),
            kept.size(),
            date(&kept),
            kept.copy().display()
        ))?;
    }
    say("each address is stored by: ftpfs --recover ADDRESS")
}

/// Stores what is kept of the place in `config`, which must not be mounted. The mountpoint is ignored.
///
/// # Errors
/// [`Status::Usage`] while it is mounted, what hinders the login, [`Status::NotStored`] if something is left.
pub fn recover(mut config: MountConfig) -> Result<(), Failure> {
    let url = config.journal.url.clone();
    if !config.journal.directory.join(&config.journal.key).exists() {
        return say(&format!("nothing is kept of {url}"));
    }
    let journal = Journal::open_alone(&config.journal).map_err(|error| match error {
        JournalError::Busy => Failure::usage(format!(
            "{url} is mounted on this machine, or being recovered; unmount it first"
        )),
        error @ JournalError::Local(..) => Failure::system(error.to_string()),
    })?;
    if journal.earlier().is_empty() && !journal.has_leftovers() {
        journal.close();
        return say(&format!("nothing is kept of {url}"));
    }
    config.delay_connect = false;
    let workers = Workers::start(WORKERS)
        .map_err(|e| Failure::system(format!("cannot start threads: {e}")))?;
    let (remote, _) = connect(&config)?;
    let temporary = Arc::new(TemporaryNames::new(config.fs.mount_id));
    let context = Arc::new(WriteContext {
        remote: Arc::clone(&remote),
        workers: Arc::clone(&workers),
        area: StagingArea::new(config.fs.staging.directory.clone()),
        policy: config.fs.upload,
        temporary: Arc::clone(&temporary),
        journal: Arc::clone(&journal),
        strict: config.fs.strict,
        new_file_mode: AtomicU32::new(UNKNOWN_MODE),
    });
    let mut left = 0;
    // The first copy of a name, and whether that is still to come.
    let mut tried: BTreeMap<&RemotePath, (&Kept, bool)> = BTreeMap::new();
    for kept in journal.earlier() {
        let outcome = match tried.get(kept.path()) {
            Some((newer, _)) if kept.is_older_than(newer) => Err(RecoverError::Conflict),
            Some((whole, true)) if whole.is_whole() => Err(RecoverError::Earlier),
            _ => kept.store(&context),
        };
        let is_to_come = matches!(outcome, Err(RecoverError::Write(_)));
        tried.entry(kept.path()).or_insert((kept, is_to_come));
        match outcome {
            Ok(()) => {
                journal.recovered(kept);
                say(&format!("{}: stored, {} bytes", kept.path(), kept.size()))?;
            }
            Err(error) => {
                left += 1;
                let copy = kept.copy();
                let copy = copy.display();
                say(&format!(
                    "{}: not stored: {error}; kept in {copy} (delete that file if it is not wanted any more)",
                    kept.path(),
                ))?;
            }
        }
    }
    journal.clean(&remote, &temporary);
    remote.close();
    workers.close();
    journal.close();
    match left {
        0 => Ok(()),
        count => Err(Failure::new(
            Status::NotStored,
            format!("{count} of the kept files of {url} could not be stored"),
        )),
    }
}

/// In UTC, to the second.
pub(super) fn date(kept: &Kept) -> String {
    let when = jiff::Timestamp::try_from(kept.when());
    when.map_or_else(
        |_| "at an unknown time".into(),
        |when| when.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

fn say(line: &str) -> Result<(), Failure> {
    let written = writeln!(std::io::stdout(), "{line}");
    written.map_err(|e| Failure::system(format!("standard output: {e}")))
}
