//! Listings: seeks that stay true, and changes of our own that are known without asking.

use std::time::Duration;

use ftpfs::fs::Wait;

use crate::caller::ROOT;
use crate::site::{Options, on_each, scripted};
use crate::support::scripted::{Conversation, Scripted, script};
use crate::support::server::Brand;

/// As many entries as `count`, behind `offset`; and the offset behind them.
fn some(
    caller: &crate::caller::Caller,
    handle: u64,
    offset: u64,
    count: usize,
) -> (Vec<String>, u64) {
    let (mut names, mut next) = (Vec::new(), offset);
    let read = caller.fs.read_dir(handle, offset, &mut |entry| {
        if names.len() == count {
            return false;
        }
        names.push(String::from_utf8(entry.name.to_vec()).unwrap());
        next = entry.next_offset;
        true
    });
    read.unwrap();
    (names, next)
}

#[test]
fn offsets_stay_true_while_the_directory_changes() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        for n in 0..9 {
            folder.put(&format!("f{n}"), b"");
        }
        let handle = caller.fs.opendir(ROOT, Wait::Yes).unwrap();
        let (first, at) = some(caller, handle, 0, 5);
        assert_eq!(first, [".", "..", "f0", "f1", "f2"]);
        caller.unlink(ROOT, "f0").unwrap();
        caller.unlink(ROOT, "f4").unwrap();
        caller.mkdir(ROOT, "a", 0o755).unwrap();
        let (second, end) = some(caller, handle, at, 100);
        assert_eq!(second, ["f3", "f4", "f5", "f6", "f7", "f8"]);
        assert_eq!(some(caller, handle, end, 100).0, [""; 0]);
        let (again, _) = some(caller, handle, at, 2);
        assert_eq!(again, ["f3", "f4"], "a seek back");
        caller.fs.releasedir(handle);
        let names: Vec<_> = caller
            .list(ROOT)
            .unwrap()
            .into_iter()
            .map(|(n, _)| n)
            .collect();
        assert_eq!(names, ["a", "f1", "f2", "f3", "f5", "f6", "f7", "f8"]);
    });
}

/// Sizes as they reach the kernel when `meanwhile` happens between the first entry and those behind it.
fn sizes(
    caller: &crate::caller::Caller,
    handle: u64,
    meanwhile: impl FnOnce(),
) -> Vec<(String, u64)> {
    let (mut sizes, mut meanwhile) = (Vec::new(), Some(meanwhile));
    let read = caller.fs.read_dir_plus(handle, 0, &mut |entry| {
        if let Some(looked) = &entry.looked {
            let name = String::from_utf8(entry.name.to_vec()).unwrap();
            sizes.push((name, looked.attr.size));
            meanwhile.take().into_iter().for_each(|happens| happens());
        }
        true
    });
    read.unwrap();
    sizes
}

/// The kernel would cut what it has of the file, and who reads it just then would find zeros.
#[test]
fn a_file_that_is_closed_while_it_is_listed_has_its_new_size() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        folder.put("a", b"");
        folder.put("log", b"old.");
        let handle = caller.fs.opendir(ROOT, Wait::Yes).unwrap();
        let number = caller.number("log");
        let append = libc::O_WRONLY | libc::O_APPEND;
        let writer = caller.open(number, append).unwrap();
        caller.write(writer, 4, b"new.").unwrap();
        let listed = sizes(caller, handle, || caller.close(writer).unwrap());
        assert_eq!(listed[1], ("log".to_owned(), 8));
        caller.fs.releasedir(handle);
    });
}

/// Nor does one that is known from the opendir alone keep the size that it had then.
#[test]
fn a_listing_that_was_forgotten_is_asked_for_again() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        folder.put("a", b"");
        folder.put("log", b"old.");
        let handle = caller.fs.opendir(ROOT, Wait::Yes).unwrap();
        let number = caller.number("log");
        let append = libc::O_WRONLY | libc::O_APPEND;
        let writer = caller.open(number, append).unwrap();
        caller.write(writer, 4, b"new.").unwrap();
        caller.close(writer).unwrap();
        caller.fs.drop_caches();
        let unasked = caller.fs.may_read_dir_plus(handle, Wait::No);
        assert!(unasked.unwrap_err().would_wait());
        caller.fs.may_read_dir_plus(handle, Wait::Yes).unwrap();
        let listed = sizes(caller, handle, || ());
        assert_eq!(listed[1], ("log".to_owned(), 8));
        caller.fs.releasedir(handle);
    });
}

#[test]
fn a_closed_directory_is_no_directory() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let handle = folder.caller.fs.opendir(ROOT, Wait::Yes).unwrap();
        folder.caller.fs.releasedir(handle);
        let read = folder.caller.fs.read_dir(handle, 0, &mut |_| true);
        assert_eq!(read.unwrap_err().errno(), libc::EBADF);
    });
}

#[test]
fn a_directory_is_not_renamed_over_one_that_has_entries() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        for directory in ["full", "empty", "moved"] {
            folder.put_directory(directory);
        }
        folder.put("full/f", b"precious");
        folder.put("moved/g", b"");
        let full = caller.rename((ROOT, "moved"), (ROOT, "full"));
        match site.server.brand {
            // Its only error text is that there is no such file.
            Brand::Embedded => assert!(full.is_err()),
            _ => assert_eq!(full, Err(libc::ENOTEMPTY)),
        }
        assert_eq!(folder.names(""), ["empty", "full", "moved"]);
        assert_eq!(folder.stored("full/f"), b"precious");
        caller.rename((ROOT, "moved"), (ROOT, "empty")).unwrap();
        assert_eq!(folder.names(""), ["empty", "full"]);
        assert_eq!(folder.names("empty"), ["g"]);
    });
}

#[test]
fn what_is_open_and_not_stored_yet_is_listed_renamed_and_removed() {
    on_each(|site| {
        for policy in crate::policies::ALL {
            let folder = site.folder(Options {
                policy,
                cache_timeout: Duration::ZERO,
                ..Options::default()
            });
            let caller = &folder.caller;
            let (_, kept) = caller.create(ROOT, "kept", 0o644, libc::O_WRONLY).unwrap();
            let (_, removed) = caller
                .create(ROOT, "removed", 0o644, libc::O_WRONLY)
                .unwrap();
            caller.write(kept, 0, b"kept").unwrap();
            let listed: Vec<_> = caller.list(ROOT).unwrap();
            let listed: Vec<_> = listed.iter().map(|(name, a)| (&name[..], a.size)).collect();
            assert_eq!(listed, [("kept", 4), ("removed", 0)], "{policy:?}");
            caller.unlink(ROOT, "removed").unwrap();
            caller.rename((ROOT, "kept"), (ROOT, "renamed")).unwrap();
            caller.close(removed).unwrap();
            caller.close(kept).unwrap();
            assert_eq!(folder.names(""), ["renamed"], "{policy:?}");
            assert_eq!(folder.stored("renamed"), b"kept");
        }
    });
}

/// An FTP server with one directory that grows by MKD, and the facts that it tells.
fn serve(c: &mut Conversation, facts: &str) {
    c.greet(&["MLST type*;size*;modify*;UNIX.mode*;", "SIZE", "MDTM"]);
    loop {
        let Some(line) = c.command() else { return };
        match line.split(' ').next() {
            Some("MLSD") => {
                let made = c.lines_so_far().into_iter().filter_map(|line| {
                    let (_, name) = line.split_once(" MKD /")?;
                    Some(format!("{facts} {name}\r\n"))
                });
                let listing: String = made.chain([format!("{facts} there\r\n")]).collect();
                c.send_data(listing.as_bytes());
                c.send("226 done");
            }
            Some("MKD") => c.send("257 made"),
            Some("RMD" | "SITE") => c.send("250 ok"),
            Some("QUIT") => return c.send("221 bye"),
            _ => c.send("500 what?"),
        }
    }
}

#[test]
fn a_hundred_directories_are_made_with_one_listing() {
    for facts in [
        "type=dir;modify=20200101000000;UNIX.mode=0755;",
        "type=dir;",
    ] {
        let serving = || script(move |c| serve(c, facts));
        let server = Scripted::start((0..4).map(|_| serving()).collect());
        let caller = scripted(&server, Options::default());
        for n in 0..100 {
            let name = format!("d{n}");
            assert_eq!(caller.lookup(ROOT, &name).unwrap(), None);
            let made = caller.mkdir(ROOT, &name, 0o755).unwrap();
            assert_eq!(caller.number(&name), made.ino.0);
            assert!(caller.list(made.ino.0).unwrap().is_empty(), "just made");
        }
        assert_eq!(caller.list(ROOT).unwrap().len(), 101);
        caller.rmdir(ROOT, "d7").unwrap();
        assert_eq!(caller.lookup(ROOT, "d7").unwrap(), None);
        assert_eq!(server.count("MKD"), 100);
        // One for the first lookup, and one that tells which mode a new directory has.
        assert_eq!(server.count("MLSD"), 2, "{facts}");
        drop(caller);
    }
}
