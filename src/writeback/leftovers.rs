//! Temporary names that killed processes left on the server.

use std::collections::BTreeMap;

use super::{Journal, NameUse};
use crate::ftp::RemotePath;
use crate::ftp::listing::{Entry, EntryKind};
use crate::remote::{ErrorKind, Remote, RemoteError, TemporaryNames};

impl Journal {
    /// Whether earlier processes may have left temporary names on the server.
    pub fn has_leftovers(&self) -> bool {
        !self.earlier.lists.is_empty()
    }

    /// Removes them: only those in our own lists that are also `names` of this place, each folder being
    /// listed once. An old content that was moved aside gets its name back, if nothing else has it. May wait.
    pub fn clean(&self, remote: &Remote, names: &TemporaryNames) {
        let mut folders: BTreeMap<RemotePath, Vec<&(RemotePath, NameUse)>> = BTreeMap::new();
        for left in &self.earlier.names {
            if let Some(folder) = left.0.parent().filter(|_| names.is_ours(left.0.name())) {
                folders.entry(folder).or_default().push(left);
            }
        }
        let mut clean = true;
        for (folder, left) in folders {
            let outcome = clean_folder(remote, &folder, &left);
            if let Err(error) = outcome
                && error.kind() != ErrorKind::NotFound
            {
                log::warn!(
                    "{folder}: temporary files of a mount that was killed may be left: {error}"
                );
                clean = false;
            }
        }
        if clean {
            self.names_are_clean();
        }
    }
}

fn clean_folder(
    remote: &Remote,
    folder: &RemotePath,
    left: &[&(RemotePath, NameUse)],
) -> Result<(), RemoteError> {
    let entries = remote.list(folder)?.entries;
    let mut failed = Ok(());
    for (name, used) in left {
        let found = entries.iter().filter(|entry| match used {
            NameUse::Trial => entry.name.starts_with(name.name()),
            _ => entry.name == name.name(),
        });
        for entry in found {
            let Ok(path) = folder.join(&entry.name) else {
                continue;
            };
            match clean_one(remote, &path, used, entry, &entries) {
                Ok(what) => log::warn!("{path}: left by a mount that was killed; {what}"),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    log::warn!("{path}: left by a mount that was killed, and stays: {error}");
                    failed = Err(error);
                }
            }
        }
    }
    failed
}

fn clean_one(
    remote: &Remote,
    path: &RemotePath,
    used: &NameUse,
    entry: &Entry,
    entries: &[Entry],
) -> Result<String, RemoteError> {
    if entry.kind == EntryKind::Directory {
        remote.remove_directory(path)?;
        return Ok("removed".into());
    }
    match used {
        NameUse::Backup(of) if entries.iter().all(|entry| entry.name != of.name()) => {
            remote.rename(path, of, None)?;
            Ok(format!(
                "it is the content of {of}, which has its name back"
            ))
        }
        _ => {
            remote.remove_file(path)?;
            Ok("removed".into())
        }
    }
}
