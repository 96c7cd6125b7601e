//! Runs operations on the file system and on the model, and compares what both say.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType};
use proptest::test_runner::TestCaseError;

use ftpfs::fs::{NewAttributes, TimeChange};

use crate::caller::{Caller, Outcome, ROOT};
use crate::model::{Flags, Id, Model, Node, Place};
use crate::operation::{Change, DIRECTORIES, NAMES, Operation, Sequence};
use crate::site::{Folder, Options, Site};
use crate::support::poll;
use crate::support::server::Brand;

pub(crate) type Verdict<T = ()> = Result<T, TestCaseError>;

fn same<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Verdict {
    if found == expected {
        return Ok(());
    }
    Err(TestCaseError::fail(format!(
        "{what}: {found:?} instead of {expected:?}"
    )))
}

fn same_bytes(what: &str, found: &[u8], expected: &[u8]) -> Verdict {
    if found == expected {
        return Ok(());
    }
    let at = found.iter().zip(expected).position(|(a, b)| a != b);
    let (found, expected) = (found.len(), expected.len());
    Err(TestCaseError::fail(format!(
        "{what}: {found} bytes where {expected} are right; first difference at {at:?}"
    )))
}

/// Compares without printing what may be large.
#[track_caller]
pub(crate) fn assert_bytes(found: Outcome<Vec<u8>>, expected: &[u8]) {
    let found =
        found.unwrap_or_else(|errno| panic!("{}", std::io::Error::from_raw_os_error(errno)));
    same_bytes("content", &found, expected).unwrap();
}

fn success<T>(what: &str, outcome: Outcome<T>) -> Verdict<T> {
    outcome.map_err(|errno| {
        let error = std::io::Error::from_raw_os_error(errno);
        TestCaseError::fail(format!("{what}: {error}"))
    })
}

/// A file of this size for the disk; differs with each `seed`.
pub(crate) fn bytes(seed: usize, length: usize) -> Vec<u8> {
    let byte =
        |at: usize| (at.wrapping_mul(31) ^ (at >> 8) ^ seed.wrapping_mul(97)).to_le_bytes()[0];
    (0..length).map(byte).collect()
}

pub(crate) struct Machine<'a> {
    brand: Brand,
    folder: Folder<'a>,
    model: Model,
    /// Handles of the file system by slot.
    handles: HashMap<usize, u64>,
    /// The number of each object that the kernel or a handle still holds.
    numbers: HashMap<Id, u64>,
    /// Whose each number has ever been.
    owners: HashMap<u64, Id>,
    /// The last modification times of files that are open.
    times: HashMap<Id, SystemTime>,
    /// Files whose last handle was released without a flush.
    pending: HashSet<Id>,
    /// Caches were dropped at some time.
    dropped: bool,
    written: usize,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(site: &'a Site, sequence: &Sequence) -> Self {
        let folder = site.folder(Options {
            policy: sequence.policy,
            cache_timeout: Duration::from_secs(if sequence.cached { 600 } else { 0 }),
            ..Options::default()
        });
        for directory in DIRECTORIES {
            folder.put_directory(directory);
        }
        let mut machine = Self {
            brand: site.server.brand,
            folder,
            model: Model::default(),
            handles: HashMap::new(),
            numbers: HashMap::new(),
            owners: HashMap::new(),
            times: HashMap::new(),
            pending: HashSet::new(),
            dropped: false,
            written: 0,
        };
        for (place, size) in &sequence.present {
            machine.overwrite(*place, *size);
        }
        machine
    }

    fn caller(&self) -> &Caller {
        &self.folder.caller
    }

    fn next_bytes(&mut self, length: usize) -> Vec<u8> {
        self.written += 1;
        bytes(self.written, length)
    }

    fn overwrite(&mut self, place: Place, size: usize) {
        let content = self.next_bytes(size);
        self.folder.put(&path(place), &content);
        let mode = fs::metadata(self.folder.disk(&path(place))).unwrap();
        let mode = mode.permissions().mode() & 0o7777;
        self.model.add_file(place, content, Some(mode));
    }

    fn parent(&self, directory: usize) -> Verdict<u64> {
        let found = success("lookup", self.caller().lookup(ROOT, DIRECTORIES[directory]))?;
        let there = found.ok_or_else(|| TestCaseError::fail("a directory vanished"))?;
        Ok(there.ino.0)
    }

    /// Looks a name up, as the kernel does before nearly everything.
    fn look(&mut self, place: Place) -> Verdict<Option<FileAttr>> {
        let parent = self.parent(place.directory)?;
        let found = success("lookup", self.caller().lookup(parent, NAMES[place.name]))?;
        match (found, self.model.names.get(&place).copied()) {
            (None, None) => {}
            (Some(attributes), Some(node)) => self.observe(node, &attributes)?,
            (found, expected) => same(
                &format!("presence of {}", path(place)),
                &found.is_some(),
                &expected.is_some(),
            )?,
        }
        Ok(found)
    }

    /// Compares attributes that were shown with what they must be.
    fn observe(&mut self, node: Node, found: &FileAttr) -> Verdict {
        let (id, ino) = (node.id(), found.ino.0);
        same(
            "owner of a number",
            self.owners.entry(ino).or_insert(id),
            &id,
        )?;
        same("inode number", &ino, self.numbers.entry(id).or_insert(ino))?;
        let Node::File(_) = node else {
            return same("kind", &found.kind, &FileType::Directory);
        };
        same("kind", &found.kind, &FileType::RegularFile)?;
        let file = &self.model.files[&id];
        same("size", &found.size, &(file.content.len() as u64))?;
        if let (Some(mode), true) = (file.mode, self.brand.tells_modes()) {
            same("mode", &u32::from(found.perm), &mode)?;
        }
        if let Some(time) = file.time {
            same("time that was set", &found.mtime, &time)?;
        }
        if self.model.is_open(id)
            && let Some(before) = self.times.insert(id, found.mtime)
            && found.mtime < before
        {
            return same("time of an open file", &found.mtime, &before);
        }
        Ok(())
    }

    fn observe_open(&mut self, id: Id) -> Verdict {
        let ino = self.numbers[&id];
        let found = success("getattr", self.caller().attributes(ino))?;
        self.observe(Node::File(id), &found)
    }

    /// The server has what POSIX says, if the file still has a name.
    fn stored(&mut self, id: Id) -> Verdict {
        self.pending.remove(&id);
        let Some(place) = self.model.place_of(id) else {
            return Ok(());
        };
        let path = path(place);
        let stored = fs::read(self.folder.disk(&path)).unwrap_or_default();
        let what = format!("{path} on the server after a commit");
        same_bytes(&what, &stored, &self.model.files[&id].content)
    }

    pub(crate) fn run(&mut self, operation: Operation) -> Verdict {
        match operation {
            Operation::Open {
                slot,
                place,
                flags,
                mode,
            } => self.open(slot, place, flags, mode),
            Operation::Close { slot, flush } => self.close(slot, flush),
            Operation::Read { slot, at, length } => self.read(slot, at, length),
            Operation::Write { slot, at, length } => self.write(slot, at, length),
            Operation::Resize { slot, size } => self.resize(slot, size),
            Operation::Truncate { place, size } => self.truncate(place, size),
            Operation::Sync { slot } => self.sync(slot),
            Operation::Flush { slot, still_open } => self.flush(slot, still_open),
            Operation::Unlink { place } => self.unlink(place),
            Operation::Mkdir { place, mode } => self.mkdir(place, mode),
            Operation::Rmdir { place } => self.rmdir(place),
            Operation::RmdirFull { directory } => self.rmdir_full(directory),
            Operation::Rename {
                from,
                to,
                no_replace,
            } => self.rename(from, to, no_replace),
            Operation::SetTime { place, seconds } => self.set_time(place, seconds),
            Operation::SetMode { place, mode } => self.set_mode(place, mode),
            Operation::Look { place } => self.look(place).map(drop),
            Operation::List { directory } => self.list(directory),
            Operation::Forget => {
                self.forget();
                Ok(())
            }
            Operation::DropCaches => {
                self.dropped = true;
                self.caller().fs.drop_caches();
                Ok(())
            }
            Operation::Behind { place, change } => self.behind(place, change),
        }
    }

    fn open(&mut self, slot: usize, place: Place, flags: Flags, mode: u32) -> Verdict {
        self.close(slot, true)?;
        let found = self.look(place)?;
        let bits = bits(flags);
        let parent = self.parent(place.directory)?;
        let opened = match found {
            None if !flags.create => Err(libc::ENOENT),
            // Also what the kernel does when it has not seen the name appear.
            _ if flags.create => {
                let created = self.caller().create(parent, NAMES[place.name], mode, bits);
                created.map(|(_, handle)| handle)
            }
            Some(found) => self.caller().open(found.ino.0, bits),
            None => Err(libc::ENOENT),
        };
        if opened == Err(libc::ESTALE) && self.dropped {
            self.give_up_old_number(place)?;
            return self.open(slot, place, flags, mode);
        }
        let expected = self.model.open(slot, place, flags, mode);
        let what = format!("open of {}", path(place));
        same(&what, &opened.map(drop), &expected.map(drop))?;
        if let (Ok(handle), Ok(_)) = (opened, expected) {
            self.handles.insert(slot, handle);
            self.look(place)?;
        }
        Ok(())
    }

    /// Without memory of what it stored a moment ago, the file system cannot know a file that is as young
    /// again: its open handles keep the old number, and the name leads to a new one.
    /// The kernel looks it up again.
    fn give_up_old_number(&mut self, place: Place) -> Verdict {
        let Some(Node::File(id)) = self.model.names.get(&place).copied() else {
            return same("kind of what changed", &true, &false);
        };
        let handles = self.model.handles.iter();
        let slots: Vec<_> = handles
            .filter(|(_, h)| h.file == id)
            .map(|(s, _)| *s)
            .collect();
        same(
            "a file that is not open is stale",
            &slots.is_empty(),
            &false,
        )?;
        for slot in slots {
            self.close(slot, true)?;
        }
        self.numbers.remove(&id);
        Ok(())
    }

    fn close(&mut self, slot: usize, flush: bool) -> Verdict {
        let (Some(handle), Some(open)) =
            (self.handles.remove(&slot), self.model.handles.remove(&slot))
        else {
            return Ok(());
        };
        if flush {
            success("flush", self.caller().flush(handle))?;
        }
        self.caller().fs.release(handle);
        if flush {
            self.stored(open.file)?;
        } else {
            self.pending.insert(open.file);
        }
        if !self.model.is_open(open.file) {
            self.times.remove(&open.file);
            let number = self.numbers[&open.file];
            if !self.caller().holds(number) {
                self.numbers.remove(&open.file);
            }
        }
        Ok(())
    }

    fn read(&mut self, slot: usize, at: usize, length: usize) -> Verdict {
        let Some(open) = self.model.handles.get(&slot).copied().filter(|h| h.reads) else {
            return Ok(());
        };
        let size = u32::try_from(length).unwrap();
        let read = self.caller().read(self.handles[&slot], at as u64, size);
        let what = format!("read at {at}");
        let expected = self.model.read(open.file, at, length);
        same_bytes(&what, &success(&what, read)?, &expected)
    }

    fn write(&mut self, slot: usize, at: usize, length: usize) -> Verdict {
        let Some(open) = self.model.handles.get(&slot).copied() else {
            return Ok(());
        };
        let data = self.next_bytes(length);
        let written = self.caller().write(self.handles[&slot], at as u64, &data);
        if !open.writes {
            return same("write to a handle for reading", &written, &Err(libc::EBADF));
        }
        success("write", written)?;
        self.model.write(open, at, &data);
        self.observe_open(open.file)
    }

    fn resize(&mut self, slot: usize, size: usize) -> Verdict {
        let Some(open) = self.model.handles.get(&slot).copied().filter(|h| h.writes) else {
            return Ok(());
        };
        let number = self.numbers[&open.file];
        success("ftruncate", self.caller().ftruncate(number, size as u64))?;
        self.model.resize(open.file, size);
        self.observe_open(open.file)
    }

    fn truncate(&mut self, place: Place, size: usize) -> Verdict {
        let Some(found) = self.look(place)? else {
            return Ok(());
        };
        let cut = self.caller().truncate(found.ino.0, size as u64);
        if cut == Err(libc::ESTALE) && self.dropped {
            self.give_up_old_number(place)?;
            return self.truncate(place, size);
        }
        match self.model.names[&place] {
            Node::Directory(_) => same("truncate", &cut.map(drop), &Err(libc::EISDIR)),
            Node::File(id) => {
                success("truncate", cut)?;
                self.model.resize(id, size);
                self.stored(id)?;
                self.look(place).map(drop)
            }
        }
    }

    fn sync(&mut self, slot: usize) -> Verdict {
        let Some(open) = self.model.handles.get(&slot).copied() else {
            return Ok(());
        };
        success("fsync", self.caller().fsync(self.handles[&slot]))?;
        self.stored(open.file)?;
        self.observe_open(open.file)
    }

    fn flush(&mut self, slot: usize, still_open: bool) -> Verdict {
        let Some(open) = self.model.handles.get(&slot).copied() else {
            return Ok(());
        };
        let flushed = self.caller().flush_with(self.handles[&slot], still_open);
        success("flush", flushed)?;
        if !still_open {
            self.stored(open.file)?;
        }
        Ok(())
    }

    fn unlink(&mut self, place: Place) -> Verdict {
        self.look(place)?;
        let parent = self.parent(place.directory)?;
        let removed = self.caller().unlink(parent, NAMES[place.name]);
        let what = format!("unlink of {}", path(place));
        same(&what, &removed, &self.model.unlink(place))?;
        self.look(place).map(drop)
    }

    fn mkdir(&mut self, place: Place, mode: u32) -> Verdict {
        self.look(place)?;
        if let Some(Node::File(id)) = self.model.names.get(&place)
            && (self.model.is_open(*id) || self.pending.contains(id))
        {
            // The server may not have that name yet; the kernel does not ask.
            return Ok(());
        }
        let parent = self.parent(place.directory)?;
        let made = self.caller().mkdir(parent, NAMES[place.name], mode);
        let what = format!("mkdir of {}", path(place));
        same(&what, &made.map(drop), &self.model.mkdir(place))?;
        self.look(place).map(drop)
    }

    fn rmdir(&mut self, place: Place) -> Verdict {
        self.look(place)?;
        let parent = self.parent(place.directory)?;
        let removed = self.caller().rmdir(parent, NAMES[place.name]);
        let what = format!("rmdir of {}", path(place));
        same(&what, &removed, &self.model.rmdir(place))?;
        self.look(place).map(drop)
    }

    fn rmdir_full(&mut self, directory: usize) -> Verdict {
        // What is new and not committed yet is not on the server under every policy.
        let committed =
            |node: &Node| !self.model.is_open(node.id()) && !self.pending.contains(&node.id());
        let mut inside = self.model.names.iter();
        if !inside.any(|(place, node)| place.directory == directory && committed(node)) {
            return Ok(());
        }
        self.parent(directory)?;
        let removed = self.caller().rmdir(ROOT, DIRECTORIES[directory]);
        same("rmdir of a full directory", &removed, &Err(libc::ENOTEMPTY))
    }

    fn rename(&mut self, from: Place, to: Place, no_replace: bool) -> Verdict {
        let found = self.look(from)?;
        self.look(to)?;
        if from == to && found.is_none() {
            // The kernel answers this.
            return Ok(());
        }
        let from_parent = self.parent(from.directory)?;
        let to_parent = self.parent(to.directory)?;
        let renamed = self.caller().rename_with(
            (from_parent, NAMES[from.name]),
            (to_parent, NAMES[to.name]),
            no_replace,
        );
        let what = format!("rename of {} to {}", path(from), path(to));
        let expected = self.model.rename(from, to, no_replace);
        same(&what, &renamed, &expected)?;
        if expected.is_ok()
            && from != to
            && let Some(Node::File(id)) = self.model.names.get(&to).copied()
        {
            // What was dirty went first.
            self.stored(id)?;
        }
        self.look(from)?;
        self.look(to).map(drop)
    }

    fn set_time(&mut self, place: Place, seconds: u64) -> Verdict {
        let (Some(found), Some(Node::File(id))) =
            (self.look(place)?, self.model.names.get(&place).copied())
        else {
            return Ok(());
        };
        let time = UNIX_EPOCH + Duration::from_secs(seconds);
        let new = NewAttributes {
            modified: Some(TimeChange::To(time)),
            ..NewAttributes::default()
        };
        success("utimens", self.caller().set(found.ino.0, new))?;
        self.times.remove(&id);
        if self.brand.sets_times() {
            self.model.files.get_mut(&id).unwrap().time = Some(time);
        }
        self.look(place).map(drop)
    }

    fn set_mode(&mut self, place: Place, mode: u32) -> Verdict {
        let (Some(found), Some(Node::File(id))) =
            (self.look(place)?, self.model.names.get(&place).copied())
        else {
            return Ok(());
        };
        let new = NewAttributes {
            mode: Some(mode),
            ..NewAttributes::default()
        };
        success("chmod", self.caller().set(found.ino.0, new))?;
        let known = self.brand.sets_modes().then_some(mode);
        self.model.files.get_mut(&id).unwrap().mode = known;
        self.look(place).map(drop)
    }

    fn list(&mut self, directory: usize) -> Verdict {
        let parent = self.parent(directory)?;
        let listed = success("readdir", self.caller().list(parent))?;
        let names = |(place, _): (&Place, &Node)| NAMES[place.name].to_owned();
        let inside = self.model.names.iter();
        let expected: Vec<_> = inside
            .filter(|(p, _)| p.directory == directory)
            .map(names)
            .collect();
        let mut found: Vec<_> = listed.iter().map(|(name, _)| name.clone()).collect();
        found.sort();
        same(
            &format!("entries of {}", DIRECTORIES[directory]),
            &found,
            &expected,
        )?;
        for (name, attributes) in &listed {
            let name = NAMES.iter().position(|n| n == name).unwrap();
            let node = self.model.names[&Place { directory, name }];
            self.observe(node, attributes)?;
        }
        Ok(())
    }

    /// The kernel lets go of everything that is not open.
    fn forget(&mut self) {
        self.caller().forget_all();
        let model = &self.model;
        self.numbers.retain(|id, _| model.is_open(*id));
    }

    fn behind(&mut self, place: Place, change: Change) -> Verdict {
        if !self.handles.is_empty() {
            return Ok(());
        }
        self.settle()?;
        let disk = self.folder.disk(&path(place));
        let before = self.model.names.get(&place).copied();
        match (before, change) {
            (Some(Node::Directory(_)), Change::Remove | Change::Overwrite(_)) => {
                fs::remove_dir(&disk).unwrap();
                self.model.names.remove(&place);
            }
            (Some(Node::File(_)), Change::Remove | Change::MakeDirectory) => {
                fs::remove_file(&disk).unwrap();
                self.model.names.remove(&place);
            }
            _ => {}
        }
        match change {
            Change::Remove => {}
            Change::Overwrite(size) => self.overwrite(place, size),
            Change::MakeDirectory => {
                if !self.model.names.contains_key(&place) {
                    self.folder.put_directory(&path(place));
                    let id = self.model.new_id();
                    self.model.names.insert(place, Node::Directory(id));
                }
            }
        }
        self.dropped = true;
        self.caller().fs.drop_caches();
        self.meet_again(place, before)
    }

    /// After a change behind its back the same name is the same number, unless it is of another kind.
    fn meet_again(&mut self, place: Place, before: Option<Node>) -> Verdict {
        let after = self.model.names.get(&place).copied();
        let kept = matches!(
            (before, after),
            (Some(Node::File(_)), Some(Node::File(_)) | None)
                | (Some(Node::Directory(_)), Some(Node::Directory(_)) | None)
        );
        if let Some(before) = before
            && kept
            && let Some(number) = self.numbers.remove(&before.id())
        {
            self.owners.remove(&number);
            if let Some(after) = after {
                self.owners.insert(number, after.id());
                self.numbers.insert(after.id(), number);
            }
        }
        self.look(place).map(drop)
    }

    /// Waits for what releases have left to the background.
    fn settle(&mut self) -> Verdict {
        for id in std::mem::take(&mut self.pending) {
            let Some(place) = self.model.place_of(id) else {
                continue;
            };
            let Some(found) = self.look(place)? else {
                continue;
            };
            let handle = success("open", self.caller().open(found.ino.0, libc::O_RDONLY))?;
            success("fsync", self.caller().fsync(handle))?;
            success("close", self.caller().close(handle))?;
            self.stored(id)?;
        }
        Ok(())
    }

    /// Closes everything, and compares the server's disk with the model.
    pub(crate) fn finish(&mut self) -> Verdict {
        let mut slots: Vec<_> = self.handles.keys().copied().collect();
        slots.sort_unstable();
        for slot in slots {
            self.close(slot, true)?;
        }
        self.settle()?;
        self.compare_disk()?;
        self.caller().fs.drop_caches();
        for directory in 0..DIRECTORIES.len() {
            self.list(directory)?;
        }
        let names = self.model.names.clone();
        for (place, node) in names {
            let (Some(found), Node::File(id)) = (self.look(place)?, node) else {
                continue;
            };
            let content = success("read at the end", self.caller().content(found.ino.0))?;
            same_bytes(&path(place), &content, &self.model.files[&id].content)?;
        }
        self.nothing_is_left()
    }

    fn compare_disk(&self) -> Verdict {
        for (directory, name) in DIRECTORIES.iter().enumerate() {
            let inside = self.model.names.iter();
            let expected: Vec<_> = inside
                .filter(|(place, _)| place.directory == directory)
                .map(|(place, _)| NAMES[place.name].to_owned())
                .collect();
            same("names on the server", &self.folder.names(name), &expected)?;
        }
        for (place, node) in &self.model.names {
            let (path, Node::File(id)) = (path(*place), node) else {
                continue;
            };
            let file = &self.model.files[id];
            same_bytes(
                &format!("{path} on the server"),
                &self.folder.stored(&path),
                &file.content,
            )?;
            let found = fs::metadata(self.folder.disk(&path)).unwrap();
            if let (Some(mode), true) = (file.mode, self.brand.sets_modes()) {
                let found = found.permissions().mode() & 0o7777;
                same(&format!("mode of {path} on the server"), &found, &mode)?;
            }
            if let Some(time) = file.time {
                let found = found.modified().unwrap();
                same(&format!("time of {path} on the server"), &found, &time)?;
            }
        }
        Ok(())
    }

    fn nothing_is_left(&self) -> Verdict {
        self.caller().forget_all();
        let left = || {
            let mut numbers = self.owners.keys();
            numbers.find(|ino| self.caller().fs.path_of(**ino).is_some())
        };
        // A release may still be in the hands of a worker.
        poll::becomes_true(Duration::from_secs(10), || left().is_none());
        same("a number that outlived everything", &left(), &None)
    }
}

fn bits(flags: Flags) -> i32 {
    let access = match (flags.reads, flags.writes) {
        (true, false) => libc::O_RDONLY,
        (false, true) => libc::O_WRONLY,
        _ => libc::O_RDWR,
    };
    let chosen = [
        (flags.create, libc::O_CREAT),
        (flags.exclusive, libc::O_EXCL),
        (flags.truncate, libc::O_TRUNC),
        (flags.append, libc::O_APPEND),
    ];
    let more = chosen.into_iter().filter(|(wanted, _)| *wanted);
    more.fold(access, |bits, (_, bit)| bits | bit)
}

fn path(place: Place) -> String {
    format!("{}/{}", DIRECTORIES[place.directory], NAMES[place.name])
}
