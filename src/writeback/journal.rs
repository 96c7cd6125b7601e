//! `Journal`: what must outlive the process, so that what could not be stored is not gone.
//!
//! In a folder of the place: for each file that the server did not take its bytes (`.data`) and a note
//! (`.kept`), and for each process the temporary names that it has on the server (`.names`). The bytes are synced
//! before the note, and the note appears at once: a crash leaves all of it or nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::copies::{Copies, Own, find, is_the_same, now_noted, save, take};
use super::in_use::{NameUse, NamesInUse, remove};
use super::place::{Earlier, Kept, Place, write_note};
use super::sidecar::{Replaces, Sidecar};
use super::staging::StagedContent;
use super::{JournalConfig, JournalError, Left};
use crate::ftp::RemotePath;
use crate::shell;

/// Where no journal can be had, nothing is kept, and all else is as ever.
#[derive(Debug)]
pub struct Journal {
    place: Option<Place>,
    /// The arguments of `ftpfs --recover`.
    arguments: Vec<String>,
    /// Tells the files of this process from those of others.
    process: String,
    next: AtomicU64,
    /// What this process keeps. Held over memory only: whoever tells of it must not wait for a disk.
    pub(super) own: Mutex<Copies>,
    /// Held by who writes notes or ends copies, so that the last word on the disk is the last in memory. Over
    /// notes only, which are small; before `own`.
    notes: Mutex<()>,
    pub(super) earlier: Earlier,
    names: Option<NamesInUse>,
    /// False while what is kept is being stored: nothing else is kept then.
    keeps: bool,
}

impl Journal {
    /// The journal of a mount.
    ///
    /// # Errors
    /// `Busy` while the files of the place are being recovered; the local disk.
    pub fn open(config: &JournalConfig) -> Result<Arc<Self>, JournalError> {
        Self::with(config, false).map(Arc::new)
    }

    /// For recovery: as long as it lives nobody else opens it, and nothing is kept but what is being stored.
    ///
    /// # Errors
    /// `Busy` while a mount of the place lives; the local disk.
    pub fn open_alone(config: &JournalConfig) -> Result<Arc<Self>, JournalError> {
        Self::with(config, true).map(Arc::new)
    }

    /// No journal: what the server does not take is lost with the process.
    pub fn none() -> Arc<Self> {
        Arc::new(Self {
            place: None,
            arguments: Vec::new(),
            process: String::new(),
            next: AtomicU64::new(0),
            own: Mutex::default(),
            notes: Mutex::default(),
            earlier: Earlier::default(),
            names: None,
            keeps: false,
        })
    }

    fn with(config: &JournalConfig, alone: bool) -> Result<Self, JournalError> {
        let (place, earlier) = Place::open(config, alone)?;
        let clock = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let process = format!("{}.{}", std::process::id(), clock.as_secs());
        let names = NamesInUse::new(place.directory.join(format!("{process}.names")));
        Ok(Self {
            place: Some(place),
            arguments: [&config.options[..], std::slice::from_ref(&config.url)].concat(),
            process,
            next: AtomicU64::new(1),
            own: Mutex::default(),
            notes: Mutex::default(),
            earlier,
            names: Some(names),
            keeps: !alone,
        })
    }

    /// What earlier mounts of the place could not store, in the order in which it is to be stored.
    pub fn earlier(&self) -> &[Kept] {
        &self.earlier.kept
    }

    /// What this mount could not store so far; of copies under one name, the newest first. Waits for nobody.
    pub fn own(&self) -> Vec<Kept> {
        let own = self.own.lock();
        let all = own.values().flat_map(|copies| copies.iter().rev());
        all.filter_map(Own::on_disk).collect()
    }

    /// Whether a mount keeps what its server does not take; else what was kept is being stored.
    pub(super) fn is_of_mount(&self) -> bool {
        self.keeps
    }

    /// Whether the copy with this note is still kept.
    pub(super) fn has(&self, path: &RemotePath, note: &Path) -> bool {
        find(&mut self.own.lock(), path, note).is_some()
    }

    /// Whether this mount keeps something else than `mine` under this name.
    pub(super) fn keeps_another(&self, path: &RemotePath, mine: Option<&Path>) -> bool {
        let own = self.own.lock();
        let mut copies = own.get(path).into_iter().flatten();
        copies.any(|own| Some(own.kept.note.as_path()) != mine)
    }

    /// What brings to the server what is kept, for a shell.
    pub fn command(&self) -> String {
        let words = self.arguments.iter().map(|word| shell::word(word));
        let arguments: Vec<_> = words.collect();
        format!("ftpfs --recover {}", arguments.join(" "))
    }

    /// Ends it: what nobody needs any more is removed.
    pub fn close(&self) {
        self.names.iter().for_each(NamesInUse::close);
        self.place.iter().for_each(Place::leave);
    }

    /// A temporary name is about to be used on the server.
    pub fn begins(&self, name: &RemotePath, used: NameUse) {
        if let Some(names) = &self.names {
            names.begin(name, used);
        }
    }

    /// A temporary name is not on the server any more.
    pub fn ends(&self, name: &RemotePath) {
        if let Some(names) = &self.names {
            names.end(name);
        }
    }

    /// Keeps a file that the server did not take. `mine` is the note of what its writer has kept of it before: that
    /// goes, and so does all else under its name if this was begun empty. The answer is the local file that has the
    /// bytes, and whether it is another one than before; `None` if there is no journal, or nobody wants the file any
    /// more. Called with no other call of the same writer under way.
    pub(super) fn keep(
        &self,
        mine: &mut Option<PathBuf>,
        mut sidecar: Sidecar,
        content: &StagedContent,
        staging: &Path,
    ) -> io::Result<Option<(PathBuf, bool)>> {
        let Some(place) = &self.place else {
            return Ok(None);
        };
        let before = mine.as_deref().and_then(|note| {
            let mut own = self.own.lock();
            find(&mut own, &sidecar.path, note).map(|own| own.kept.clone())
        });
        let same = before
            .as_ref()
            .filter(|before| is_the_same(content, sidecar.size, &before.copy()));
        let note = match same {
            Some(same) => {
                sidecar.data.clone_from(&same.sidecar.data);
                if !self.keeps {
                    // Nothing was written since: its place among others stays.
                    sidecar.when = same.sidecar.when;
                }
                same.note.clone()
            }
            None if !self.keeps => return Ok(None),
            None => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                place.note(&format!("{}-{number}", self.process))
            }
        };
        if sidecar.replaces == Replaces::Nothing {
            sidecar.replaces = match (same, &before) {
                (Some(same), _) => same.sidecar.replaces.clone(),
                (None, Some(before)) => Replaces::note(&before.note),
                (None, None) => Replaces::Nothing,
            };
        }
        let is_new = same.is_none();
        let mut kept = Kept { sidecar, note };
        if is_new {
            // Who moves or deletes the file meanwhile finds it.
            let mut own = self.own.lock();
            let copies = own.entry(kept.sidecar.path.clone()).or_default();
            copies.push(Own {
                kept: kept.clone(),
                noted: false,
            });
        }
        let noted = save(&mut kept, content, staging, is_new)
            .and_then(|()| self.note(&kept, before.as_ref()));
        if is_new && !matches!(noted, Ok(true)) {
            take(&mut self.own.lock(), &kept);
            kept.remove();
        }
        if !noted? {
            return Ok(None);
        }
        *mine = Some(kept.note.clone());
        Ok(Some((kept.copy(), is_new)))
    }

    /// The bytes are on the disk: so is the note from here on, and what it replaces goes. False if the copy was ended
    /// meanwhile.
    fn note(&self, kept: &Kept, before: Option<&Kept>) -> io::Result<bool> {
        let writing = self.notes.lock();
        let current = find(&mut self.own.lock(), &kept.sidecar.path, &kept.note).map(|own| {
            // It may have been moved.
            let path = own.kept.sidecar.path.clone();
            own.kept.sidecar = kept.sidecar.clone();
            own.kept.sidecar.path = path;
            own.kept.clone()
        });
        let Some(current) = current else {
            return Ok(false);
        };
        write_note(&current.note, &current.sidecar)?;
        let replaced = now_noted(&mut self.own.lock(), &current, before);
        drop(writing);
        replaced.iter().for_each(Own::remove);
        Ok(true)
    }

    /// The name is deleted, or somebody else's: all that was kept of it goes.
    pub fn forget(&self, path: &RemotePath) {
        self.end(path, std::mem::take);
    }

    /// The server has what the writer of `mine` has: its copy goes. What was begun empty is newer than all that was
    /// kept before it, too.
    pub(super) fn stored(&self, path: &RemotePath, mine: Option<&Path>, begun_empty: bool) {
        self.end(path, |copies| {
            let at = copies
                .iter()
                .position(|own| Some(own.kept.note.as_path()) == mine);
            match (begun_empty, at) {
                (true, Some(at)) => copies.drain(..=at).collect(),
                (true, None) => std::mem::take(copies),
                (false, Some(at)) => vec![copies.remove(at)],
                (false, None) => Vec::new(),
            }
        });
    }

    /// Ends the copies that `which` takes out.
    fn end(&self, path: &RemotePath, which: impl FnOnce(&mut Vec<Own>) -> Vec<Own>) {
        if !self.own.lock().contains_key(path) {
            return;
        }
        let writing = self.notes.lock();
        let mut own = self.own.lock();
        let gone = own.get_mut(path).map(which).unwrap_or_default();
        if own.get(path).is_some_and(Vec::is_empty) {
            own.remove(path);
        }
        drop((own, writing));
        if !gone.is_empty() {
            log::info!("{path}: the copy that was kept of it is not needed any more");
            gone.iter().for_each(Own::remove);
            self.sync();
        }
    }

    /// What is at or below `from` is at `to` now, and what was there is gone.
    pub fn moved(&self, from: &RemotePath, to: &RemotePath) {
        if self.own.lock().is_empty() {
            return;
        }
        let writing = self.notes.lock();
        let (mut moved, mut gone) = (Vec::new(), Vec::new());
        {
            let mut own = self.own.lock();
            let all = std::mem::take(&mut *own);
            for (path, mut copies) in all {
                if let Some(path) = path.moved(from, to) {
                    for copy in &mut copies {
                        copy.kept.sidecar.path = path.clone();
                    }
                    moved.extend(copies.iter().filter_map(Own::on_disk));
                    own.entry(path).or_default().extend(copies);
                } else if path.starts_with(to) {
                    gone.extend(copies);
                } else {
                    own.entry(path).or_default().extend(copies);
                }
            }
        }
        moved.iter().for_each(|kept| self.rewrite(kept));
        drop(writing);
        gone.iter().for_each(Own::remove);
        self.sync();
    }

    /// What the server had after the writer of `mine` had failed.
    pub(super) fn learn_left(&self, path: &RemotePath, mine: Option<&Path>, left: Left) {
        self.set_left(path, left, |kept| Some(kept.note.as_path()) == mine);
    }

    /// The file is about to be changed on the server: what it has will not be so for long.
    pub(super) fn forget_left(&self, path: &RemotePath) {
        self.set_left(path, Left::Unknown, |_| true);
    }

    fn set_left(&self, path: &RemotePath, left: Left, is_meant: impl Fn(&Kept) -> bool) {
        let is_news = |own: &Own| own.kept.sidecar.left != left && is_meant(&own.kept);
        let copies = |own: &Copies| {
            own.get(path)
                .is_some_and(|copies| copies.iter().any(is_news))
        };
        // Nobody who has nothing to write waits for who has.
        if !copies(&self.own.lock()) {
            return;
        }
        let _writing = self.notes.lock();
        let mut news = Vec::new();
        for own in self.own.lock().get_mut(path).into_iter().flatten() {
            if is_news(own) {
                own.kept.sidecar.left = left;
                news.extend(own.on_disk());
            }
        }
        news.iter().for_each(|kept| self.rewrite(kept));
    }

    fn rewrite(&self, kept: &Kept) {
        if let Err(error) = write_note(&kept.note, &kept.sidecar) {
            log::error!("{}: {error}", kept.note.display());
        }
    }

    pub(super) fn sync(&self) {
        if let Some(place) = &self.place
            && let Err(error) = place.sync()
        {
            log::warn!("{}: {error}", place.directory.display());
        }
    }

    /// The lists of names that earlier processes left are done with.
    pub(super) fn names_are_clean(&self) {
        self.earlier.lists.iter().for_each(|list| remove(list));
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::OpenOptionsExt;
    use std::sync::mpsc;
    use std::time::Duration;

    use nix::sys::stat::Mode;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn config(directory: &Path) -> JournalConfig {
        JournalConfig {
            directory: directory.join("ftpfs"),
            key: "0123".into(),
            url: "ftp://h/d".into(),
            options: Vec::new(),
        }
    }

    fn path(name: &str) -> RemotePath {
        RemotePath::root().join(name.as_bytes()).unwrap()
    }

    /// As a writer would: the copies, the oldest first, and what is in them.
    fn keep(journal: &Journal, mine: &mut Option<PathBuf>, name: &str, bytes: &[u8]) {
        let mut sidecar = Sidecar::example(path(name), bytes.len() as u64);
        let (replaces, bytes) = match bytes.strip_prefix(b"more") {
            Some(_) => (Replaces::Nothing, bytes),
            None => (Replaces::Everything, bytes),
        };
        sidecar.replaces = replaces;
        let content = StagedContent::Memory(bytes.to_vec());
        let kept = journal.keep(mine, sidecar, &content, Path::new("/"));
        assert!(kept.unwrap().is_some());
    }

    fn contents(kept: &[Kept]) -> Vec<Vec<u8>> {
        let read = |kept: &Kept| fs::read(kept.copy()).unwrap();
        kept.iter().map(read).collect()
    }

    #[test]
    fn a_change_of_what_the_server_has_replaces_only_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&config(dir.path())).unwrap();
        let (mut whole, mut change, mut newer) = (None, None, None);
        keep(&journal, &mut whole, "f", b"whole");
        keep(&journal, &mut change, "f", b"more");
        keep(&journal, &mut change, "f", b"more and more");
        assert_eq!(contents(&journal.own()), [&b"more and more"[..], b"whole"]);
        assert!(journal.keeps_another(&path("f"), change.as_deref()));
        journal.moved(&path("f"), &path("g"));
        assert_eq!(journal.own()[1].path(), &path("g"));
        journal.learn_left(&path("g"), change.as_deref(), Left::Nothing);
        let left: Vec<_> = journal.own().iter().map(|own| own.sidecar.left).collect();
        assert_eq!(left, [Left::Nothing, Left::Unknown]);
        // As after a crash: nothing of it is lost.
        drop(journal);
        let journal = Journal::open(&config(dir.path())).unwrap();
        assert_eq!(
            contents(journal.earlier()),
            [&b"whole"[..], b"more and more"]
        );
        let (mut whole, mut change) = (None, None);
        keep(&journal, &mut whole, "h", b"whole");
        keep(&journal, &mut change, "h", b"more");
        journal.stored(&path("h"), change.as_deref(), false);
        assert_eq!(contents(&journal.own()), [b"whole"]);
        keep(&journal, &mut change, "h", b"more");
        keep(&journal, &mut newer, "h", b"newer");
        assert_eq!(contents(&journal.own()), [b"newer"]);
        keep(&journal, &mut None, "h", b"more");
        journal.stored(&path("h"), newer.as_deref(), true);
        assert_eq!(contents(&journal.own()), [b"more"], "it is newer");
        journal.forget(&path("h"));
        assert!(journal.own().is_empty());
        assert_eq!(journal.earlier().len(), 2);
    }

    /// A disk that takes its time holds up nobody else: here, a copy that cannot be read at once.
    #[test]
    fn nobody_waits_for_the_bytes_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&config(dir.path())).unwrap();
        let mut mine = None;
        keep(&journal, &mut mine, "f", b"whole");
        let copy = journal.own()[0].copy();
        fs::remove_file(&copy).unwrap();
        nix::unistd::mkfifo(&copy, Mode::S_IRWXU).unwrap();
        let (tell, told) = mpsc::channel();
        let slow = {
            let journal = Arc::clone(&journal);
            std::thread::spawn(move || keep(&journal, &mut mine, "f", b"WHOLE"))
        };
        let mut entered = File::options();
        let entered = entered.write(true).custom_flags(libc::O_NONBLOCK);
        let limit = std::time::Instant::now() + LIMIT;
        // It opens once there is a reader.
        let pipe = loop {
            match entered.open(&copy) {
                Ok(pipe) => break pipe,
                Err(error) => assert!(std::time::Instant::now() < limit, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let others = {
            let journal = Arc::clone(&journal);
            std::thread::spawn(move || {
                journal.forget_left(&path("f"));
                keep(&journal, &mut None, "g", b"whole");
                tell.send(journal.own().len()).unwrap();
            })
        };
        assert_eq!(told.recv_timeout(LIMIT), Ok(2));
        drop(pipe);
        slow.join().unwrap();
        others.join().unwrap();
        assert_eq!(contents(&journal.own()), [b"WHOLE", b"whole"]);
    }

    #[test]
    fn what_is_deleted_while_it_is_written_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&config(dir.path())).unwrap();
        let place = journal.place.as_ref().unwrap();
        let sidecar = Sidecar::example(path("f"), 0);
        let note = place.note("1-1");
        let kept = Kept { sidecar, note };
        let noted = journal.note(&kept, None);
        assert!(!noted.unwrap());
        assert!(!kept.note.exists());
    }
}
