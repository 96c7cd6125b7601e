//! What the server does not have yet, for the status.

use std::sync::Arc;

use super::FtpFs;
use crate::status::Staged;

/// So many files are named; the others are counted.
const NAMED: usize = 1000;

/// All that is on its way to the server.
#[derive(Debug, Default)]
pub struct Standing {
    /// The first of them.
    pub files: Vec<Staged>,
    /// How many they are.
    pub count: usize,
    /// Their bytes that are not sent.
    pub bytes: u64,
}

impl FtpFs {
    /// The numbers of all files that the kernel may know.
    pub fn known_numbers(&self) -> Vec<u64> {
        self.inodes.lock().numbers()
    }

    /// Files that the server does not have, open or closed. Does not wait.
    pub fn standing(&self) -> Standing {
        let (open, unsaved) = {
            let files = self.files.lock();
            let unsaved = files
                .unsaved
                .iter()
                .map(|u| (u.path.clone(), Arc::clone(&u.writer)));
            let open: Vec<_> = files.by_inode.values().cloned().collect();
            (open, unsaved.collect::<Vec<_>>())
        };
        let open = open.into_iter().filter_map(|file| {
            let writer = file.writer().filter(|writer| writer.is_dirty())?;
            Some((self.path_of(file.ino)?, writer, false))
        });
        let unsaved = unsaved
            .into_iter()
            .map(|(path, writer)| (path, writer, true));
        let mut standing = Standing::default();
        for (path, writer, failed) in open.chain(unsaved) {
            let (size, sent) = writer.sent();
            standing.count += 1;
            standing.bytes += size.saturating_sub(sent);
            if standing.files.len() < NAMED {
                standing.files.push(Staged {
                    path: path.to_string(),
                    size,
                    sent,
                    failed,
                });
            }
        }
        standing.files.sort_by(|a, b| a.path.cmp(&b.path));
        standing
    }
}
