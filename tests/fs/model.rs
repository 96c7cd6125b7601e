//! What POSIX says: two directories of files and empty directories, and files that are open. It knows
//! nothing of servers, caches or commits.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

/// Tells objects apart for ever, like an inode number that is never used again.
pub(crate) type Id = usize;

/// A name in one of the directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) directory: usize,
    pub(crate) name: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    File(Id),
    Directory(Id),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    pub(crate) content: Vec<u8>,
    /// Permission bits, where they are certain.
    pub(crate) mode: Option<u32>,
    /// A time that was set and must still be there.
    pub(crate) time: Option<SystemTime>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Handle {
    pub(crate) file: Id,
    pub(crate) reads: bool,
    pub(crate) writes: bool,
    pub(crate) appends: bool,
}

/// The flags of open(2), as far as they are tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flags {
    pub(crate) reads: bool,
    pub(crate) writes: bool,
    pub(crate) create: bool,
    pub(crate) exclusive: bool,
    pub(crate) truncate: bool,
    pub(crate) append: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) names: BTreeMap<Place, Node>,
    pub(crate) files: HashMap<Id, File>,
    pub(crate) handles: HashMap<usize, Handle>,
    next: Id,
}

impl Model {
    pub(crate) fn new_id(&mut self) -> Id {
        self.next += 1;
        self.next
    }

    pub(crate) fn add_file(&mut self, place: Place, content: Vec<u8>, mode: Option<u32>) -> Id {
        let id = self.new_id();
        let file = File {
            content,
            mode,
            time: None,
        };
        self.files.insert(id, file);
        self.names.insert(place, Node::File(id));
        id
    }

    pub(crate) fn place_of(&self, id: Id) -> Option<Place> {
        let mut found = self.names.iter().filter(|(_, node)| node.id() == id);
        found.next().map(|(place, _)| *place)
    }

    pub(crate) fn is_open(&self, id: Id) -> bool {
        self.handles.values().any(|handle| handle.file == id)
    }

    /// open(2); the handle is kept under `slot`.
    pub(crate) fn open(
        &mut self,
        slot: usize,
        place: Place,
        flags: Flags,
        mode: u32,
    ) -> Result<Id, i32> {
        let file = match self.names.get(&place) {
            Some(_) if flags.create && flags.exclusive => return Err(libc::EEXIST),
            Some(Node::Directory(_)) => return Err(libc::EISDIR),
            Some(Node::File(id)) => {
                let id = *id;
                if flags.truncate {
                    self.resize(id, 0);
                }
                id
            }
            None if flags.create => self.add_file(place, Vec::new(), Some(mode)),
            None => return Err(libc::ENOENT),
        };
        let handle = Handle {
            file,
            reads: flags.reads,
            writes: flags.writes,
            appends: flags.append,
        };
        self.handles.insert(slot, handle);
        Ok(file)
    }

    pub(crate) fn read(&self, id: Id, at: usize, length: usize) -> Vec<u8> {
        let content = &self.files[&id].content;
        let end = content.len().min(at + length);
        content.get(at..end).unwrap_or_default().to_vec()
    }

    pub(crate) fn write(&mut self, handle: Handle, at: usize, data: &[u8]) {
        let file = self.files.get_mut(&handle.file).unwrap();
        let at = if handle.appends {
            file.content.len()
        } else {
            at
        };
        let end = at + data.len();
        if file.content.len() < end {
            file.content.resize(end, 0);
        }
        file.content[at..end].copy_from_slice(data);
        file.time = None;
    }

    pub(crate) fn resize(&mut self, id: Id, size: usize) {
        let file = self.files.get_mut(&id).unwrap();
        file.content.resize(size, 0);
        file.time = None;
    }

    pub(crate) fn unlink(&mut self, place: Place) -> Result<(), i32> {
        match self.names.get(&place) {
            None => Err(libc::ENOENT),
            Some(Node::Directory(_)) => Err(libc::EISDIR),
            Some(Node::File(_)) => {
                self.names.remove(&place);
                Ok(())
            }
        }
    }

    pub(crate) fn mkdir(&mut self, place: Place) -> Result<(), i32> {
        if self.names.contains_key(&place) {
            return Err(libc::EEXIST);
        }
        let id = self.new_id();
        self.names.insert(place, Node::Directory(id));
        Ok(())
    }

    pub(crate) fn rmdir(&mut self, place: Place) -> Result<(), i32> {
        match self.names.get(&place) {
            None => Err(libc::ENOENT),
            Some(Node::File(_)) => Err(libc::ENOTDIR),
            Some(Node::Directory(_)) => {
                self.names.remove(&place);
                Ok(())
            }
        }
    }

    pub(crate) fn rename(&mut self, from: Place, to: Place, no_replace: bool) -> Result<(), i32> {
        let Some(moved) = self.names.get(&from).copied() else {
            return Err(libc::ENOENT);
        };
        match (moved, self.names.get(&to)) {
            (_, Some(_)) if no_replace => return Err(libc::EEXIST),
            (Node::File(_), Some(Node::Directory(_))) => return Err(libc::EISDIR),
            (Node::Directory(_), Some(Node::File(_))) => return Err(libc::ENOTDIR),
            _ => {}
        }
        self.names.remove(&from);
        self.names.insert(to, moved);
        Ok(())
    }
}

impl Node {
    pub(crate) fn id(self) -> Id {
        match self {
            Node::File(id) | Node::Directory(id) => id,
        }
    }
}
