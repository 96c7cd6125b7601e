//! Inode numbers: whose they are, how long, and that none is left behind.

use std::time::Duration;

use fuser::FileType;

use crate::caller::ROOT;
use crate::site::{Options, on_each};
use crate::support::poll;

#[test]
fn numbers_follow_renames_and_leave_what_was_replaced() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        folder.put_directory("d");
        folder.put("d/f", b"moved");
        folder.put("g", b"replaced");
        let (directory, moved) = (caller.number("d"), caller.number("d/f"));
        let replaced = caller.number("g");
        caller.rename((ROOT, "d"), (ROOT, "e")).unwrap();
        assert_eq!(caller.number("e"), directory);
        assert_eq!(caller.number("e/f"), moved, "below what was renamed");
        assert_eq!(caller.lookup(ROOT, "d").unwrap(), None);
        caller.rename((directory, "f"), (ROOT, "g")).unwrap();
        assert_eq!(caller.number("g"), moved);
        assert!(caller.fs.path_of(replaced).is_none(), "replaced: nameless");
        assert_eq!(caller.attributes(replaced), Err(libc::ESTALE));
        assert_eq!(caller.content(moved).unwrap(), b"moved");
        caller.unlink(ROOT, "g").unwrap();
        assert!(caller.fs.path_of(moved).is_none(), "deleted: nameless");
        folder.put("g", b"new");
        caller.fs.drop_caches();
        assert_ne!(caller.number("g"), moved, "never used again");
    });
}

#[test]
fn another_kind_behind_our_back_is_another_number() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        folder.put("x", b"a file");
        let file = caller.number("x");
        std::fs::remove_file(folder.disk("x")).unwrap();
        folder.put_directory("x");
        caller.fs.drop_caches();
        assert_eq!(caller.attributes(file), Err(libc::ESTALE));
        let directory = caller.lookup(ROOT, "x").unwrap().unwrap();
        assert_eq!(directory.kind, FileType::Directory);
        assert_ne!(directory.ino.0, file);
        assert_eq!(caller.open(file, libc::O_RDONLY), Err(libc::ESTALE));
        assert!(caller.fs.path_of(file).is_none());
    });
}

#[test]
fn nothing_outlives_the_last_reference() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        for directory in ["d", "d/e"] {
            folder.put_directory(directory);
        }
        folder.put("d/e/f", b"content");
        caller.number("d/e/f");
        caller.list(caller.number("d/e")).unwrap();
        caller.list(ROOT).unwrap();
        caller.lookup(ROOT, "absent").unwrap();
        let parent = caller.number("d/e");
        let (new, handle) = caller.create(parent, "new", 0o644, libc::O_WRONLY).unwrap();
        caller.write(handle, 0, b"new").unwrap();
        caller.mkdir(parent, "made", 0o755).unwrap();
        let mut numbers = caller.forget_all();
        assert!(numbers.len() >= 5, "{numbers:?}");
        assert_eq!(
            caller.fs.path_of(new.ino.0).unwrap().name(),
            b"new",
            "what is open stays"
        );
        assert!(caller.fs.path_of(parent).is_some(), "and what it lies in");
        caller.fs.release(handle);
        numbers.push(new.ino.0);
        let left = || {
            let mut left = numbers.iter();
            left.find(|ino| caller.fs.path_of(**ino).is_some())
        };
        poll::until(Duration::from_secs(10), "all are gone", || left().is_none());
        assert_eq!(folder.stored("d/e/new"), b"new", "stored before it went");
    });
}
