//! `NamesInUse`: which temporary names this mount has on the server, in a file that outlives the process.
//!
//! One line each, appended when a name begins to be used. It need not be synced: who survives the process is
//! enough, for after a crash of the machine an upload is as dead as its name is harmless.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::sidecar::{decoded, encoded};
use crate::ftp::RemotePath;

/// The file is written anew, with the names that are still in use, when it has become longer than this.
const MAX_BYTES: u64 = 256 << 10;

/// What a temporary name is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameUse {
    /// An upload that is to be renamed, or a trial: worth nothing once nobody works on it.
    Upload,
    /// The old content of this file while another takes its place.
    Backup(RemotePath),
    /// A directory whose name begins so, to see what becomes of a name.
    Trial,
}

#[derive(Debug)]
pub(super) struct NamesInUse {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<File>,
    names: BTreeMap<RemotePath, NameUse>,
    bytes: u64,
}

impl NamesInUse {
    /// Uses the file `path`, which is made with the first name.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            state: Mutex::default(),
        }
    }

    pub(super) fn begin(&self, name: &RemotePath, used: NameUse) {
        let mut state = self.state.lock();
        if state.names.contains_key(name) {
            return;
        }
        let text = line(name, &used);
        state.names.insert(name.clone(), used);
        if let Err(error) = self.append(&mut state, &text) {
            log::warn!(
                "{}: {error}; {name} would stay on the server if ftpfs were killed now",
                self.path.display()
            );
            state.file = None;
        }
    }

    pub(super) fn end(&self, name: &RemotePath) {
        self.state.lock().names.remove(name);
    }

    /// The clean end: without names the file goes.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        if state.file.take().is_some() && state.names.is_empty() {
            remove(&self.path);
        }
    }

    fn append(&self, state: &mut State, text: &str) -> io::Result<()> {
        if state.bytes > MAX_BYTES || state.file.is_none() {
            // All that is in use, the new one included.
            let lines: String = state.names.iter().map(|(n, u)| line(n, u)).collect();
            let new = self.path.with_extension("new");
            let mut file = File::options()
                .create(true)
                .write(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(lines.as_bytes())?;
            fs::rename(&new, &self.path)?;
            state.bytes = lines.len() as u64;
            state.file = Some(file);
            return Ok(());
        }
        state.bytes += text.len() as u64;
        match &mut state.file {
            Some(file) => file.write_all(text.as_bytes()),
            None => Ok(()),
        }
    }
}

fn line(name: &RemotePath, used: &NameUse) -> String {
    let name = encoded(name);
    match used {
        NameUse::Upload => format!("upload {name}\n"),
        NameUse::Backup(of) => format!("backup {name} {}\n", encoded(of)),
        NameUse::Trial => format!("trial {name}\n"),
    }
}

/// The names in such a file; what is cut or damaged is passed over.
pub(super) fn read(path: &Path) -> io::Result<Vec<(RemotePath, NameUse)>> {
    let text = fs::read_to_string(path)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let names = whole.lines().filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["upload", name] => Some((decoded(name)?, NameUse::Upload)),
            ["trial", name] => Some((decoded(name)?, NameUse::Trial)),
            ["backup", name, of] => Some((decoded(name)?, NameUse::Backup(decoded(of)?))),
            _ => None,
        }
    });
    Ok(names.collect())
}

/// Removes a local file; that it is gone is as well.
pub(super) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        log::warn!("{} cannot be removed: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(n: usize) -> RemotePath {
        let name = format!("a name {n}{}", "x".repeat(200));
        RemotePath::root().join(name.as_bytes()).unwrap()
    }

    #[test]
    fn names_are_found_again_and_the_file_stays_small() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("1.names");
        let names = NamesInUse::new(file.clone());
        let backup = NameUse::Backup(path(1));
        names.begin(&path(0), backup.clone());
        for n in 2..5000 {
            names.begin(&path(n), NameUse::Upload);
            names.end(&path(n));
        }
        names.begin(&path(9999), NameUse::Trial);
        let length = fs::metadata(&file).unwrap().len();
        assert!(length < MAX_BYTES + 1000, "{length} bytes");
        let found = read(&file).unwrap();
        assert!(found.contains(&(path(0), backup)));
        assert!(found.contains(&(path(9999), NameUse::Trial)));
        names.end(&path(0));
        names.close();
        assert!(file.exists(), "one name is still in use");
    }

    #[test]
    fn a_line_that_was_cut_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("1.names");
        fs::write(&file, "upload /a\nnonsense\nupload /b/.ftpf").unwrap();
        let root = RemotePath::root();
        let expected = [(root.join(b"a").unwrap(), NameUse::Upload)];
        assert_eq!(read(&file).unwrap(), expected);
        let names = NamesInUse::new(dir.path().join("2.names"));
        names.begin(&path(0), NameUse::Upload);
        names.end(&path(0));
        names.close();
        assert!(!dir.path().join("2.names").exists());
    }
}
