//! Somebody else changes a file that is being edited here.

use crate::caller::ROOT;
use crate::machine::{assert_bytes, bytes};
use crate::policies;
use crate::site::{Options, on_each};

#[test]
fn a_lost_update_is_refused_and_overwrites_nothing() {
    on_each(|site| {
        site.knows_pipelining();
        for policy in policies::ALL {
            for flags in [libc::O_RDWR, libc::O_WRONLY | libc::O_APPEND] {
                let folder = site.folder(Options {
                    policy,
                    ..Options::default()
                });
                let caller = &folder.caller;
                folder.put("f", &bytes(1, 1000));
                let handle = caller.open(caller.number("f"), flags).unwrap();
                caller.write(handle, 1000, b"ours").unwrap();
                folder.put("f", b"theirs");
                assert_eq!(caller.fsync(handle), Err(libc::ESTALE), "{policy:?}");
                assert_eq!(caller.flush(handle), Err(libc::ESTALE), "and again");
                assert_eq!(folder.stored("f"), b"theirs", "{policy:?}, {flags:o}");
                assert_eq!(folder.names(""), ["f"]);
                caller.fs.release(handle);
            }
        }
    });
}

#[test]
fn an_edited_file_that_was_deleted_by_another_stays_deleted() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        folder.put("f", &bytes(1, 1000));
        let handle = caller.open(caller.number("f"), libc::O_RDWR).unwrap();
        caller.write(handle, 0, b"ours").unwrap();
        std::fs::remove_file(folder.disk("f")).unwrap();
        assert_eq!(caller.flush(handle), Err(libc::ESTALE));
        caller.fs.release(handle);
        assert!(folder.names("").is_empty());
    });
}

#[test]
fn a_patch_of_a_file_that_another_changed_leaves_it_alone() {
    const LARGE: usize = 2 << 20;
    on_each(|site| {
        site.knows_pipelining();
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        let theirs = bytes(2, LARGE);
        folder.put("f", &bytes(1, LARGE));
        let handle = caller.open(caller.number("f"), libc::O_RDWR).unwrap();
        caller.write(handle, 700_000, b"ours").unwrap();
        caller.fsync(handle).unwrap();
        // By now it is known whether the server patches in place.
        caller.write(handle, 800_000, b"ours too").unwrap();
        folder.put("f", &theirs);
        assert_eq!(caller.flush(handle), Err(libc::ESTALE));
        caller.fs.release(handle);
        assert!(folder.stored("f") == theirs);
        assert_eq!(folder.names(""), ["f"]);
    });
}

#[test]
fn an_append_to_a_file_that_another_deleted_is_refused() {
    on_each(|site| {
        site.knows_pipelining();
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        folder.put("f", &bytes(1, 1000));
        let flags = libc::O_WRONLY | libc::O_APPEND;
        let handle = caller.open(caller.number("f"), flags).unwrap();
        caller.write(handle, 1000, b"ours").unwrap();
        std::fs::remove_file(folder.disk("f")).unwrap();
        assert_eq!(caller.flush(handle), Err(libc::ESTALE));
        caller.fs.release(handle);
        // Asked in the same segment as the append, it may be there again; nothing of ours is in it.
        if !folder.names("").is_empty() {
            assert_eq!(folder.stored("f"), b"");
        }
    });
}

#[test]
fn a_truncated_file_needs_nothing_of_the_old_one() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        folder.put("f", b"old");
        let handle = caller.open(caller.number("f"), libc::O_WRONLY | libc::O_TRUNC);
        let handle = handle.unwrap();
        caller.write(handle, 0, b"ours").unwrap();
        folder.put("f", b"theirs");
        caller.close(handle).unwrap();
        assert_eq!(folder.stored("f"), b"ours");
    });
}

#[test]
fn a_name_that_another_took_is_not_created_exclusively() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        assert_eq!(caller.lookup(ROOT, "f").unwrap(), None);
        folder.put("f", b"theirs");
        caller.fs.drop_caches();
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
        let created = caller.create(ROOT, "f", 0o644, flags);
        assert_eq!(created.map(drop), Err(libc::EEXIST));
        assert_eq!(folder.stored("f"), b"theirs");
    });
}

#[test]
fn remembered_bytes_are_not_mixed_with_those_of_another_version() {
    const LARGE: usize = 8 << 20;
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        folder.put("f", &bytes(1, LARGE));
        let number = caller.number("f");
        let first = caller.open(number, libc::O_RDONLY).unwrap();
        assert_eq!(caller.read(first, 0, 1000).unwrap(), bytes(1, 1000));
        caller.close(first).unwrap();
        // The front is remembered of the first open; what follows is fetched for the first time.
        let second = caller.open(number, libc::O_RDONLY).unwrap();
        folder.put("f", &bytes(2, LARGE));
        assert_eq!(caller.read(second, 0, 1000).unwrap(), bytes(1, 1000));
        let behind = caller.read(second, 7 << 20, 1000);
        assert_eq!(behind, Err(libc::ESTALE));
        caller.close(second).unwrap();
    });
}

#[test]
fn a_reader_after_a_writer_does_not_go_on_in_another_version() {
    const LARGE: usize = 8 << 20;
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        folder.put("f", &bytes(1, LARGE));
        let number = caller.number("f");
        let reader = caller.open(number, libc::O_RDONLY).unwrap();
        let writer = caller.open(number, libc::O_WRONLY).unwrap();
        caller.write(writer, 1 << 20, b"changed").unwrap();
        assert_eq!(caller.read(reader, 1 << 20, 7).unwrap(), b"changed");
        caller.close(writer).unwrap();
        folder.put("f", &bytes(2, LARGE));
        match caller.read(reader, 7 << 20, 1000) {
            // Where the server does not patch in place, all of it was fetched.
            Ok(behind) => assert_bytes(Ok(behind), &bytes(1, LARGE)[7 << 20..][..1000]),
            Err(errno) => assert_eq!(errno, libc::ESTALE),
        }
        caller.close(reader).unwrap();
    });
}
