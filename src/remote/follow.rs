//! Symbolic links shown as what they lead to (`follow_symlinks`).

use std::sync::atomic::Ordering;

use super::{ErrorKind, Remote, RemoteError};
use crate::ftp::listing::{Entry, EntryKind, Modified, Precision};
use crate::ftp::{LeadsTo, RemotePath, Session};

/// Links asked about on one session, with up to five commands each.
const BATCH: usize = 500;

impl Remote {
    /// Listings show links as what the server finds behind them, from now on.
    pub fn follow_links(&self) {
        self.follows.store(true, Ordering::Relaxed);
    }

    /// Whether one of these is a link that is to be followed.
    pub(super) fn has_links_to_follow(&self, entries: &[Entry]) -> bool {
        self.follows.load(Ordering::Relaxed) && entries.iter().any(|e| e.kind == EntryKind::Symlink)
    }

    /// Makes links of `dir` what they lead to; they keep a target, by which they are known. Those that
    /// lead nowhere, or back, stay links.
    pub(super) fn follow_all(
        &self,
        dir: &RemotePath,
        entries: &mut [Entry],
    ) -> Result<(), RemoteError> {
        let (places, links): (Vec<_>, Vec<_>) = entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.kind == EntryKind::Symlink)
            .filter_map(|(place, entry)| Some((place, dir.join(&entry.name).ok()?)))
            .filter(|(_, link)| Session::fits_a_batch(link))
            .unzip();
        for (places, links) in places.chunks(BATCH).zip(links.chunks(BATCH)) {
            let found = self.repeat("SIZE", |mut lease, _| {
                let together = match lease.experience().pipelining() {
                    Some(works) => works,
                    None => lease.probe_pipelining(),
                };
                lease.follow(dir, links, together)
            });
            let found = match found {
                // A name with line feeds, which anybody may have made: they stay links.
                Err(error) if error.kind() == ErrorKind::Protocol => {
                    log::warn!("{dir}: its links are shown as links: {error}");
                    continue;
                }
                found => found?,
            };
            for (place, leads) in places.iter().zip(found) {
                become_target(&mut entries[*place], &leads);
            }
        }
        Ok(())
    }
}

fn become_target(entry: &mut Entry, leads: &LeadsTo) {
    match leads {
        LeadsTo::Nothing => return,
        LeadsTo::Directory => entry.kind = EntryKind::Directory,
        LeadsTo::File { size, modified } => {
            entry.kind = EntryKind::File;
            entry.size = Some(*size);
            let exact = |time| Modified {
                time,
                precision: Precision::Second,
            };
            // The link's own time would hide that the file changes.
            entry.modified = modified.map(exact);
        }
    }
    // Those of a link say nothing of what it leads to.
    (entry.mode, entry.perm) = (None, None);
    entry.target.get_or_insert_default();
}
