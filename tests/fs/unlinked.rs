//! Files that lose their name while somebody has them open.

use crate::caller::{Caller, ROOT};
use crate::machine::{assert_bytes, bytes};
use crate::site::{Folder, Options, on_each};

/// Larger than a block and than what is fetched at once.
const LARGE: usize = 700_000;

type Loss = fn(&Folder<'_>);

/// Both ways to lose the name `f`; `other` takes it in the second.
const LOSSES: [Loss; 2] = [
    |folder| folder.caller.unlink(ROOT, "f").unwrap(),
    |folder| folder.caller.rename((ROOT, "other"), (ROOT, "f")).unwrap(),
];

fn each_loss(test: impl Fn(&Folder<'_>, Loss)) {
    on_each(|site| {
        for loss in LOSSES {
            let folder = site.folder(Options::default());
            folder.put("f", &bytes(1, LARGE));
            folder.put("other", b"another file");
            folder.caller.number("other");
            test(&folder, loss);
        }
    });
}

fn opened(caller: &Caller, flags: i32) -> u64 {
    caller.open(caller.number("f"), flags).unwrap()
}

#[test]
fn a_reader_that_has_not_read_yet_reads_on() {
    each_loss(|folder, lose| {
        let reader = opened(&folder.caller, libc::O_RDONLY);
        lose(folder);
        assert_bytes(folder.caller.rest(reader), &bytes(1, LARGE));
        folder.caller.close(reader).unwrap();
    });
}

#[test]
fn a_reader_after_a_writer_reads_on() {
    each_loss(|folder, lose| {
        let reader = opened(&folder.caller, libc::O_RDONLY);
        let writer = opened(&folder.caller, libc::O_WRONLY);
        folder.caller.write(writer, 0, b"changed").unwrap();
        folder.caller.close(writer).unwrap();
        lose(folder);
        let mut expected = bytes(1, LARGE);
        expected[..7].copy_from_slice(b"changed");
        assert_bytes(folder.caller.rest(reader), &expected);
        folder.caller.close(reader).unwrap();
    });
}

#[test]
fn what_was_changed_in_part_is_whole_for_its_handles() {
    each_loss(|folder, lose| {
        let both = opened(&folder.caller, libc::O_RDWR);
        let reader = opened(&folder.caller, libc::O_RDONLY);
        folder.caller.write(both, 300_000, b"changed").unwrap();
        lose(folder);
        let mut expected = bytes(1, LARGE);
        expected[300_000..300_007].copy_from_slice(b"changed");
        assert_bytes(folder.caller.rest(both), &expected);
        folder.caller.close(both).unwrap();
        assert_bytes(folder.caller.rest(reader), &expected);
        folder.caller.close(reader).unwrap();
    });
}

#[test]
fn a_handle_for_writing_goes_on_without_a_name() {
    each_loss(|folder, lose| {
        let caller = &folder.caller;
        let number = caller.number("f");
        let both = opened(caller, libc::O_RDWR);
        lose(folder);
        let names = folder.names("");
        caller.write(both, LARGE as u64, b"more").unwrap();
        let mut expected = bytes(1, LARGE);
        expected.extend(b"more");
        assert_bytes(caller.rest(both), &expected);
        caller.ftruncate(number, 10).unwrap();
        assert_bytes(caller.rest(both), &bytes(1, 10));
        assert_eq!(caller.attributes(number).unwrap().size, 10);
        caller.fsync(both).unwrap();
        caller.close(both).unwrap();
        assert_eq!(folder.names(""), names, "nothing of it reaches the server");
    });
}

#[test]
fn a_new_file_under_the_old_name_is_another_file() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        let (old, handle) = caller.create(ROOT, "f", 0o644, libc::O_RDWR).unwrap();
        caller.write(handle, 0, b"first").unwrap();
        caller.unlink(ROOT, "f").unwrap();
        assert_eq!(caller.lookup(ROOT, "f").unwrap(), None);
        let (new, second) = caller.create(ROOT, "f", 0o644, libc::O_RDWR).unwrap();
        assert_ne!(old.ino, new.ino);
        caller.write(second, 0, b"other").unwrap();
        caller.close(second).unwrap();
        assert_eq!(caller.rest(handle).unwrap(), b"first");
        caller.write(handle, 5, b"!").unwrap();
        caller.close(handle).unwrap();
        assert_eq!(folder.stored("f"), b"other");
        assert_eq!(folder.names(""), ["f"]);
    });
}

#[test]
fn bytes_that_were_never_fetched_are_not_taken_from_another_file() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        // More than is fetched before a name goes.
        let size = 3 << 20;
        folder.put("f", &bytes(1, size));
        let both = opened(caller, libc::O_RDWR);
        caller.write(both, 0, b"x").unwrap();
        let before = std::fs::metadata(folder.disk("f")).unwrap();
        caller.unlink(ROOT, "f").unwrap();
        // Of the same size and time, so that nothing but the lost name tells them apart.
        folder.put("f", &bytes(2, size));
        let disk = std::fs::File::options().write(true).open(folder.disk("f"));
        disk.unwrap()
            .set_modified(before.modified().unwrap())
            .unwrap();
        assert_eq!(caller.read(both, 2 << 20, 100), Err(libc::ESTALE));
        caller.close(both).unwrap();
        assert_bytes(Ok(folder.stored("f")), &bytes(2, size));
    });
}
