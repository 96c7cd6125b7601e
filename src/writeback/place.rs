//! `Place`: the folder of one mounted place in the journal: who lives there, what is kept there, its end.
//!
//! Every live mount of the place holds a shared lock of the file `lock`. Who gets it exclusively is alone:
//! whatever lies there is of processes that have ended.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::in_use::{self, NameUse, remove};
use super::notes::kept_in;
use super::sidecar::{Replaces, Sidecar};
use crate::ftp::RemotePath;

/// Others hold the lock exclusively for moments only, unless they recover.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);

/// The ending of the files that say what is kept.
pub(super) const KEPT: &str = "kept";

/// Where the journal is, and which place this mount shows.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// The folder of all places.
    pub directory: PathBuf,
    /// The place: the same for the same server, port, user and path. A file name.
    pub key: String,
    /// The place for people, without a password; `ftpfs --recover` takes it.
    pub url: String,
    /// The words that `ftpfs --recover` needs beside it.
    pub options: Vec<String>,
}

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A mount of the place lives, or its files are being recovered.
    #[error("in use by another ftpfs")]
    Busy,
    /// The local disk.
    #[error("{0}: {1}")]
    Local(PathBuf, io::Error),
}

/// A file that the server did not take.
#[derive(Debug, Clone)]
pub struct Kept {
    pub(super) sidecar: Sidecar,
    pub(super) note: PathBuf,
}

impl Kept {
    /// Where it belongs.
    pub fn path(&self) -> &RemotePath {
        &self.sidecar.path
    }

    /// Its size.
    pub fn size(&self) -> u64 {
        self.sidecar.size
    }

    /// When the server did not take it.
    pub fn when(&self) -> std::time::SystemTime {
        self.sidecar.when
    }

    /// It was begun empty: what was kept of the name before is older.
    pub fn is_whole(&self) -> bool {
        self.sidecar.replaces == Replaces::Everything
    }

    /// Another content of the name was kept after it: one that is whole and that is stored first.
    pub fn is_older_than(&self, first: &Kept) -> bool {
        first.is_whole() && (self.is_whole() || self.when() < first.when())
    }

    /// The local file that has the bytes; of a file that was changed in part, only those.
    pub fn copy(&self) -> PathBuf {
        match &self.sidecar.data {
            Some(elsewhere) => elsewhere.clone(),
            None => self.note.with_extension("data"),
        }
    }

    /// The note first: bytes without a note are nothing.
    pub(super) fn remove(&self) {
        remove(&self.note);
        remove(&self.copy());
    }
}

#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    lock: File,
}

/// What earlier processes left.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    /// In the order in which it is to be stored.
    pub(super) kept: Vec<Kept>,
    /// Temporary names that may be on the server, and the files that say so. Only told to who was alone.
    pub(super) names: Vec<(RemotePath, NameUse)>,
    pub(super) lists: Vec<PathBuf>,
}

impl Place {
    /// Makes the folder, if need be, and lives there; alone for good with `alone`.
    pub(super) fn open(
        config: &JournalConfig,
        alone: bool,
    ) -> Result<(Self, Earlier), JournalError> {
        let directory = config.directory.join(&config.key);
        let fail = |error| JournalError::Local(directory.clone(), error);
        let limit = Instant::now() + PATIENCE;
        loop {
            private_folder(&config.directory)
                .and_then(|()| private_folder(&directory))
                .map_err(fail)?;
            let path = directory.join("lock");
            let lock = private_file(&path, false).map_err(fail)?;
            let exclusive = try_lock(&lock, true).map_err(fail)?;
            let locked = exclusive || !alone && try_lock(&lock, false).map_err(fail)?;
            // Who was alone may have removed it all before we had the lock.
            if locked && is_at(&lock, &path) {
                let place = Self { directory, lock };
                let earlier = place.earlier(exclusive);
                if !exclusive || alone || try_lock(&place.lock, false).unwrap_or(false) {
                    place.say_what(&config.url);
                    return Ok((place, earlier));
                }
                return Self::open(config, alone);
            }
            if Instant::now() > limit {
                return Err(JournalError::Busy);
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn say_what(&self, url: &str) {
        let path = self.directory.join("place");
        if path.exists() {
            return;
        }
        let written = private_file(&path, true).and_then(|mut file| writeln!(file, "{url}"));
        if let Err(error) = written {
            log::warn!("{}: {error}", path.display());
        }
    }

    /// What is there. Who is alone clears away what was begun and never said to be kept.
    fn earlier(&self, alone: bool) -> Earlier {
        let mut earlier = Earlier {
            kept: kept_in(&self.directory, alone),
            ..Earlier::default()
        };
        if !alone {
            return earlier;
        }
        for path in files_of(&self.directory) {
            let extension = path.extension().and_then(|e| e.to_str());
            match extension {
                Some("names") => match in_use::read(&path) {
                    Ok(names) => {
                        earlier.names.extend(names);
                        earlier.lists.push(path);
                    }
                    Err(error) => log::warn!("{}: {error}", path.display()),
                },
                Some("data") if is_gone(&path.with_extension(KEPT)) => remove(&path),
                Some("new") => remove(&path),
                _ => {}
            }
        }
        earlier
    }

    pub(super) fn note(&self, stem: &str) -> PathBuf {
        self.directory.join(format!("{stem}.{KEPT}"))
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    /// The clean end: the folder goes, unless somebody else lives there or something is kept.
    pub(super) fn leave(&self) {
        if !try_lock(&self.lock, true).unwrap_or(false) {
            return;
        }
        let own = [self.directory.join("lock"), self.directory.join("place")];
        if files_of(&self.directory)
            .iter()
            .all(|path| own.contains(path))
        {
            own.iter().rev().for_each(|path| remove(path));
            // Where somebody has put something of his own there, it stays.
            drop(fs::remove_dir(&self.directory));
        }
    }
}

/// Writes what is to be known of a kept file, so that after a crash it is either all there or not at all.
pub(super) fn write_note(note: &Path, sidecar: &Sidecar) -> io::Result<()> {
    let new = note.with_extension("new");
    let mut file = private_file(&new, true)?;
    file.write_all(sidecar.encode().as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, note)?;
    note.parent()
        .map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

pub(super) fn files_of(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn try_lock(file: &File, exclusive: bool) -> io::Result<bool> {
    let how = match exclusive {
        true => FlockOperation::NonBlockingLockExclusive,
        false => FlockOperation::NonBlockingLockShared,
    };
    match flock(file, how) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What cannot be seen may well be there.
fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

pub(super) fn private_file(path: &Path, truncate: bool) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(truncate)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// A folder of ours that nobody else can enter: what is kept there is as secret as the server's files.
fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("is not a folder of this user"));
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(directory: &Path) -> JournalConfig {
        JournalConfig {
            directory: directory.join("ftpfs"),
            key: "0123".into(),
            url: "ftp://h/d".into(),
            options: Vec::new(),
        }
    }

    #[test]
    fn several_may_live_there_and_one_may_be_alone() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let first = Place::open(&config, false).unwrap().0;
        let second = Place::open(&config, false).unwrap().0;
        let refused = Place::open(&config, true);
        assert!(matches!(refused, Err(JournalError::Busy)));
        let mode = fs::metadata(&first.directory).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
        first.leave();
        drop(first);
        assert!(config.directory.join(&config.key).exists(), "the second");
        second.leave();
        drop(second);
        assert!(!config.directory.join(&config.key).exists());
        let alone = Place::open(&config, true).unwrap().0;
        assert!(matches!(
            Place::open(&config, false),
            Err(JournalError::Busy)
        ));
        drop(alone);
    }

    #[test]
    fn only_who_is_alone_is_told_the_names_of_the_dead() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let first = Place::open(&config, false).unwrap().0;
        fs::write(first.directory.join("1-1.names"), "upload /.ftpfs-1-1\n").unwrap();
        fs::write(first.directory.join("1-1.data"), "never said to be kept").unwrap();
        let (second, earlier) = Place::open(&config, false).unwrap();
        assert!(earlier.names.is_empty());
        assert!(first.directory.join("1-1.data").exists());
        drop((first, second));
        let (third, earlier) = Place::open(&config, false).unwrap();
        assert_eq!(earlier.names.len(), 1);
        assert_eq!(earlier.lists.len(), 1);
        assert!(!third.directory.join("1-1.data").exists());
        third.leave();
        assert!(third.directory.exists(), "the list is still to be done");
    }
}
