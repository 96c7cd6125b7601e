//! What the server does not have yet: the life of written data, from write(2) to the final reply.

mod ranges;
mod staging;
mod state;
mod writer;
mod error;
mod commit;
mod conflict;
mod attributes;
mod append;
mod patch;
mod send;
mod left;
mod sidecar;
mod in_use;
mod place;
mod notes;
mod copies;
mod journal;
mod keep;
mod recover;
mod leftovers;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

pub use error::WriteError;
pub use in_use::NameUse;
pub use journal::Journal;
pub use left::Left;
pub use notes::all_kept;
pub use place::{JournalConfig, JournalError, Kept};
pub use ranges::ByteRanges;
pub use recover::RecoverError;
pub use staging::{StagedBytes, StagingArea};
pub use writer::{Committed, FileWriter, Still, WriteRead};

use crate::ftp::RemotePath;
use crate::remote::{Remote, RemoteError, TemporaryNames};
use crate::workers::Workers;

/// How the content of a file reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UploadPolicy {
    /// A new file under its name, an existing one replaced through a temporary name; appends in
    /// place where the server can.
    #[default]
    Auto,
    /// Always through a temporary name, new files too; never in place.
    Atomic,
    /// Always under the file's own name.
    InPlace,
}

/// What all writers of a mount share.
#[derive(Debug)]
pub struct WriteContext {
    /// The server.
    pub remote: Arc<Remote>,
    /// Where uploads run beside the writing program.
    pub workers: Arc<Workers>,
    /// Local bytes.
    pub area: Arc<StagingArea>,
    /// How content reaches the server.
    pub policy: UploadPolicy,
    /// Names for uploads that are renamed when they are complete.
    pub temporary: Arc<TemporaryNames>,
    /// Keeps what the server does not take.
    pub journal: Arc<Journal>,
    /// chmod and utimes that the server cannot do are errors.
    pub strict: bool,
    /// The mode that the server gives to new files, learned from the first one; [`UNKNOWN_MODE`] before,
    /// [`UNTOLD_MODE`] where listings tell none.
    pub new_file_mode: AtomicU32,
}

impl WriteContext {
    /// [`Remote::rename`], with the backup in the journal as long as it may be on the server.
    ///
    /// # Errors
    /// As there.
    pub fn rename(
        &self,
        from: &RemotePath,
        to: &RemotePath,
        backup: Option<&RemotePath>,
    ) -> Result<(), RemoteError> {
        let Some(name) = backup else {
            return self.remote.rename(from, to, None);
        };
        self.journal.begins(name, NameUse::Backup(to.clone()));
        self.remote.rename(from, to, backup)?;
        if !self.remote.is_left_behind(name) {
            self.journal.ends(name);
        }
        Ok(())
    }
}

/// No mode has been learned yet.
pub const UNKNOWN_MODE: u32 = u32::MAX;

/// The server was asked and does not tell modes: it is not asked again.
pub const UNTOLD_MODE: u32 = u32::MAX - 1;
