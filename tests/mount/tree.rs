//! Trees of files: made for a test, looked at, compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::check::{OrFail, difference};
use crate::files::{Dice, bytes, get, put};

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// Permission bits.
    Folder(u32),
    /// Permission bits and size.
    File(u32, u64),
    /// Its target.
    Link(PathBuf),
    /// A device, a socket, a pipe.
    Other,
}

/// Everything below a folder, by path relative to it; names that the mount hides are left out.
#[track_caller]
pub(crate) fn snapshot(root: &Path) -> BTreeMap<PathBuf, Node> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let what = format!("list {}", folder.display());
        for entry in fs::read_dir(&folder).or_fail(&what) {
            let entry = entry.or_fail(&what);
            let path = entry.path();
            let metadata = fs::symlink_metadata(&path).or_fail(&format!("stat {}", path.display()));
            let mode = metadata.permissions().mode() & 0o7777;
            let kind = metadata.file_type();
            let node = if kind.is_dir() {
                folders.push(path.clone());
                Node::Folder(mode)
            } else if kind.is_file() {
                Node::File(mode, metadata.len())
            } else if kind.is_symlink() {
                Node::Link(fs::read_link(&path).or_fail(&format!("readlink {}", path.display())))
            } else {
                Node::Other
            };
            found.insert(path.strip_prefix(root).unwrap().to_path_buf(), node);
        }
    }
    found
}

/// Fails unless both trees have the same names, types, sizes and contents, and with `modes` the same
/// permission bits.
#[track_caller]
pub(crate) fn same_trees(found: &Path, expected: &Path, modes: bool) {
    if let Err(differences) = compare(found, expected, modes) {
        panic!(
            "{} is not like {}:\n{differences}",
            found.display(),
            expected.display()
        );
    }
}

/// What differs, at most ten lines.
#[track_caller]
pub(crate) fn compare(found: &Path, expected: &Path, modes: bool) -> Result<(), String> {
    let plain = |mut tree: BTreeMap<PathBuf, Node>| {
        for node in tree.values_mut() {
            if let Node::Folder(mode) | Node::File(mode, _) = node
                && !modes
            {
                *mode = 0;
            }
        }
        tree
    };
    let (left, right) = (plain(snapshot(found)), plain(snapshot(expected)));
    let mut lines = Vec::new();
    for (path, node) in &left {
        match right.get(path) {
            None => lines.push(format!("{path:?}: surplus {node:?}")),
            Some(other) if other != node => {
                lines.push(format!("{path:?}: expected {other:?}, found {node:?}"));
            }
            Some(Node::File(_, size)) if *size > 0 => {
                let (is, should) = (get(&found.join(path)), get(&expected.join(path)));
                if let Some(difference) = difference(&is, &should) {
                    lines.push(format!("{path:?}: {difference}"));
                }
            }
            Some(_) => {}
        }
    }
    for (path, node) in &right {
        if !left.contains_key(path) {
            lines.push(format!("{path:?}: missing {node:?}"));
        }
    }
    lines.truncate(10);
    if lines.is_empty() {
        Ok(())
    } else {
        Err(lines.join("\n"))
    }
}

/// Names below a folder that look like those of unfinished uploads.
#[track_caller]
pub(crate) fn leftovers(root: &Path) -> Vec<PathBuf> {
    snapshot(root)
        .into_keys()
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.as_bytes().starts_with(b".ftpfs-"))
        })
        .collect()
}

/// A day in the past with seconds that are neither 0 nor half a minute.
pub(crate) fn some_day(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000 + seconds)
}

/// Makes a tree of `files` files in nested folders: empty ones, small ones, some of 100 KB; modes 644,
/// 600, 755; times of long ago; names as people choose them.
#[track_caller]
pub(crate) fn plant(root: &Path, files: usize, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut folders = vec![root.to_path_buf()];
    for n in 0..files / 20 {
        let parent = folders.get(dice.below(folders.len())).unwrap();
        let folder = parent.join(format!("folder {n}"));
        fs::create_dir(&folder).or_fail("make a folder");
        folders.push(folder);
    }
    for n in 0..files {
        // The first one lies at the top, where a case finds it.
        let folder = folders.get(dice.below(folders.len()).min(n)).unwrap();
        let kind = ["txt", "c", "jpg", "tar.gz", "ö ü"].get(n % 5).unwrap();
        let path = folder.join(format!("file-{n}.{kind}"));
        let len = match dice.below(20) {
            0 => 0,
            1 => 100_000 + dice.below(1000),
            2..=5 => 10_000 + dice.below(20_000),
            _ => dice.below(3000),
        };
        put(&path, &bytes(dice.next(), len));
        let mode = [0o644, 0o644, 0o644, 0o600, 0o755]
            .get(dice.below(5))
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).or_fail("chmod");
        let file = fs::File::open(&path).or_fail("open");
        file.set_modified(some_day(dice.next() % 50_000_000))
            .or_fail("set a time");
    }
}
