//! What becomes of data that the server does not have when the end comes.

use std::time::Duration;

use crate::caller::ROOT;
use crate::site::{Options, on_each};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn draining_stores_what_it_can_and_names_the_rest() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        folder.put_directory("d");
        folder.put("clean", b"clean");
        folder.put("lost", b"lost");
        let create = |parent, name: &str| {
            caller
                .create(parent, name, 0o644, libc::O_WRONLY)
                .unwrap()
                .1
        };
        let (open, closed) = (create(ROOT, "open"), create(caller.number("d"), "closed"));
        caller.write(open, 0, b"not closed").unwrap();
        caller.write(closed, 0, b"closed without a flush").unwrap();
        caller.fs.release(closed);
        let clean = caller.open(caller.number("clean"), libc::O_RDWR).unwrap();
        let lost = caller.open(caller.number("lost"), libc::O_RDWR).unwrap();
        caller.write(lost, 0, b"L").unwrap();
        folder.put("lost", b"changed by somebody else");
        let report = caller.fs.drain(PATIENCE);
        assert!((1..=2).contains(&report.stored), "{report:?}");
        let failed: Vec<_> = report.failed.iter().map(|(path, _)| path.name()).collect();
        assert_eq!(failed, [b"lost"], "{report:?}");
        assert!(!report.failed[0].1.is_empty());
        assert_eq!(folder.stored("open"), b"not closed");
        assert_eq!(folder.stored("d/closed"), b"closed without a flush");
        assert_eq!(folder.stored("lost"), b"changed by somebody else");
        for handle in [open, clean, lost] {
            caller.fs.release(handle);
        }
    });
}

#[test]
fn draining_reports_what_a_late_commit_could_not_store() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        folder.put("f", b"old");
        let handle = caller.open(caller.number("f"), libc::O_RDWR).unwrap();
        caller.write(handle, 0, b"O").unwrap();
        folder.put("f", b"changed by somebody else");
        caller.fs.release(handle);
        let report = caller.fs.drain(PATIENCE);
        assert_eq!(report.stored, 0);
        assert_eq!(report.failed.len(), 1, "{report:?}");
        assert_eq!(report.failed[0].0.name(), b"f");
        assert_eq!(folder.stored("f"), b"changed by somebody else");
    });
}

#[test]
fn nothing_dirty_is_nothing_to_drain() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        let (_, handle) = caller.create(ROOT, "f", 0o644, libc::O_WRONLY).unwrap();
        caller.write(handle, 0, b"stored").unwrap();
        caller.fsync(handle).unwrap();
        let (_, gone) = caller.create(ROOT, "gone", 0o644, libc::O_WRONLY).unwrap();
        caller.write(gone, 0, b"of a file without a name").unwrap();
        caller.unlink(ROOT, "gone").unwrap();
        let report = caller.fs.drain(PATIENCE);
        assert_eq!((report.stored, report.failed.len()), (0, 0), "{report:?}");
        assert_eq!(folder.names(""), ["f"]);
    });
}
