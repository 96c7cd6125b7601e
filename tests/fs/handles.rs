//! Several handles of one file.

use crate::caller::ROOT;
use crate::machine::{assert_bytes, bytes};
use crate::site::{Options, on_each};

#[test]
fn a_reader_sees_staged_bytes_at_once() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        let old = bytes(1, 400_000);
        folder.put("f", &old);
        let number = caller.number("f");
        let reader = caller.open(number, libc::O_RDONLY).unwrap();
        assert_eq!(caller.read(reader, 0, 100).unwrap(), &old[..100]);
        let writer = caller.open(number, libc::O_WRONLY).unwrap();
        caller.write(writer, 50, b"staged").unwrap();
        assert_eq!(caller.read(reader, 50, 6).unwrap(), b"staged");
        assert_eq!(
            caller.read(reader, 300_000, 100).unwrap(),
            &old[300_000..300_100]
        );
        caller.ftruncate(number, 53).unwrap();
        assert_eq!(
            caller.read(reader, 48, 100).unwrap(),
            [&old[48..50], b"sta"].concat()
        );
        assert_eq!(caller.attributes(number).unwrap().size, 53);
        assert_bytes(Ok(folder.stored("f")), &old);
        caller.close(writer).unwrap();
        let new = [&old[..50], b"sta"].concat();
        assert_eq!(folder.stored("f"), new);
        assert_eq!(
            caller.rest(reader).unwrap(),
            new,
            "after the writer is gone"
        );
        caller.close(reader).unwrap();
    });
}

#[test]
fn appends_go_behind_what_others_wrote() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        folder.put("f", b"old.");
        let number = caller.number("f");
        let append = libc::O_WRONLY | libc::O_APPEND;
        let (a, b) = (
            caller.open(number, append).unwrap(),
            caller.open(number, append).unwrap(),
        );
        caller.write(a, 4, b"first.").unwrap();
        // The kernel's idea of the end may be old.
        caller.write(b, 4, b"second.").unwrap();
        caller.close(a).unwrap();
        assert_eq!(folder.stored("f"), b"old.first.second.");
        caller.write(b, 0, b"third.").unwrap();
        caller.close(b).unwrap();
        assert_eq!(folder.stored("f"), b"old.first.second.third.");
    });
}

#[test]
fn what_others_put_in_its_place_is_another_file() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        folder.put("f", b"old content");
        let number = caller.number("f");
        let old = caller.open(number, libc::O_RDWR).unwrap();
        assert_eq!(caller.read(old, 0, 3).unwrap(), b"old");
        folder.put("f", b"a new content behind our back");
        caller.fs.drop_caches();
        // The kernel looks the name up again and opens what it finds.
        assert_eq!(caller.open(number, libc::O_RDONLY), Err(libc::ESTALE));
        let now = caller.number("f");
        assert_ne!(now, number);
        assert_bytes(caller.content(now), b"a new content behind our back");
        match caller.read(old, 0, 100) {
            // What memory still had.
            Ok(bytes) => assert_eq!(bytes, b"old content"),
            Err(errno) => assert_eq!(errno, libc::ESTALE),
        }
        assert_eq!(caller.write(old, 0, b"x"), Err(libc::ESTALE));
        caller.close(old).unwrap();
        assert_eq!(folder.stored("f"), b"a new content behind our back");
    });
}

#[test]
fn an_open_file_follows_every_rename() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        folder.put_directory("d");
        let parent = caller.number("d");
        let (_, handle) = caller.create(parent, "f", 0o644, libc::O_RDWR).unwrap();
        caller.write(handle, 0, b"one").unwrap();
        caller.rename((ROOT, "d"), (ROOT, "e")).unwrap();
        caller.write(handle, 3, b" two").unwrap();
        caller.rename((parent, "f"), (ROOT, "g")).unwrap();
        assert_eq!(
            folder.stored("g"),
            b"one two",
            "dirty data goes before the rename"
        );
        caller.write(handle, 7, b" three").unwrap();
        caller.close(handle).unwrap();
        assert_eq!(folder.stored("g"), b"one two three");
        folder.put("e/old", &bytes(1, 400_000));
        caller.fs.drop_caches();
        let truncate = libc::O_WRONLY | libc::O_TRUNC;
        let handle = caller.open(caller.number("e/old"), truncate).unwrap();
        caller
            .write(handle, 0, b"on its way under another name")
            .unwrap();
        caller.rename((ROOT, "e"), (ROOT, "d")).unwrap();
        caller.close(handle).unwrap();
        assert_eq!(folder.stored("d/old"), b"on its way under another name");
        assert_eq!(folder.names(""), ["d", "g"]);
        assert_eq!(folder.names("d"), ["old"]);
    });
}

#[test]
fn the_time_of_an_open_file_never_goes_back() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        let (attributes, handle) = caller.create(ROOT, "f", 0o644, libc::O_RDWR).unwrap();
        let mut last = attributes.mtime;
        let mut later = |what: &str| {
            let now = caller.attributes(attributes.ino.0).unwrap().mtime;
            assert!(now >= last, "{what}: {now:?} after {last:?}");
            last = now;
        };
        caller.write(handle, 0, b"content").unwrap();
        later("written");
        caller.fsync(handle).unwrap();
        later("committed");
        caller.fs.drop_caches();
        caller.list(ROOT).unwrap();
        later("listed again");
        caller.write(handle, 0, b"CONTENT").unwrap();
        later("written again");
        caller.flush(handle).unwrap();
        later("flushed");
        caller.fs.release(handle);
        later("closed");
    });
}
