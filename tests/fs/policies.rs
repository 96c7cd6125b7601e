//! How content reaches the server: `auto`, `atomic`, `inplace`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use ftpfs::fs::UploadPolicy;

use crate::caller::ROOT;
use crate::machine::{assert_bytes, bytes};
use crate::site::{Folder, Options, on_each};

pub(crate) const ALL: [UploadPolicy; 3] = [
    UploadPolicy::Auto,
    UploadPolicy::Atomic,
    UploadPolicy::InPlace,
];

fn with(policy: UploadPolicy) -> Options {
    Options {
        policy,
        ..Options::default()
    }
}

fn disk_inode(folder: &Folder<'_>, path: &str) -> u64 {
    fs::metadata(folder.disk(path)).unwrap().ino()
}

#[test]
fn atomic_shows_a_new_name_only_when_it_is_complete() {
    on_each(|site| {
        let folder = site.folder(with(UploadPolicy::Atomic));
        let caller = &folder.caller;
        let (_, handle) = caller.create(ROOT, "f", 0o644, libc::O_WRONLY).unwrap();
        caller.write(handle, 0, &bytes(1, 600_000)).unwrap();
        assert!(!folder.disk("f").exists());
        caller.close(handle).unwrap();
        assert_bytes(Ok(folder.stored("f")), &bytes(1, 600_000));
        assert_eq!(folder.names(""), ["f"]);
    });
}

#[test]
fn an_existing_file_is_replaced_whole_or_kept() {
    on_each(|site| {
        for policy in [UploadPolicy::Auto, UploadPolicy::Atomic] {
            let folder = site.folder(with(policy));
            let caller = &folder.caller;
            folder.put("f", b"old content");
            let before = disk_inode(&folder, "f");
            let flags = libc::O_WRONLY | libc::O_TRUNC;
            let handle = caller.open(caller.number("f"), flags).unwrap();
            caller.write(handle, 0, &bytes(1, 600_000)).unwrap();
            assert_eq!(folder.stored("f"), b"old content", "{policy:?}");
            caller.close(handle).unwrap();
            assert_bytes(Ok(folder.stored("f")), &bytes(1, 600_000));
            assert_ne!(disk_inode(&folder, "f"), before, "by a rename over it");
        }
    });
}

#[test]
fn atomic_does_not_append_in_place() {
    on_each(|site| {
        let folder = site.folder(with(UploadPolicy::Atomic));
        let caller = &folder.caller;
        folder.put("f", b"old.");
        let before = disk_inode(&folder, "f");
        let handle = caller.open(caller.number("f"), libc::O_WRONLY | libc::O_APPEND);
        let handle = handle.unwrap();
        caller.write(handle, 4, b"new.").unwrap();
        caller.close(handle).unwrap();
        assert_eq!(folder.stored("f"), b"old.new.");
        assert_ne!(disk_inode(&folder, "f"), before);
    });
}

#[test]
fn in_place_keeps_the_file_itself() {
    on_each(|site| {
        let folder = site.folder(with(UploadPolicy::InPlace));
        let caller = &folder.caller;
        folder.put("f", b"old content");
        let before = disk_inode(&folder, "f");
        let number = caller.number("f");
        let handle = caller.open(number, libc::O_RDWR).unwrap();
        caller.write(handle, 0, b"OLD").unwrap();
        caller.close(handle).unwrap();
        assert_eq!(folder.stored("f"), b"OLD content");
        let handle = caller.open(number, libc::O_WRONLY | libc::O_TRUNC).unwrap();
        caller.write(handle, 0, b"other").unwrap();
        caller.close(handle).unwrap();
        assert_eq!(folder.stored("f"), b"other");
        assert_eq!(disk_inode(&folder, "f"), before);
    });
}

/// The mode of a file that was there tells nothing of the mode that the server gives to new ones.
#[test]
fn a_private_file_is_private_whatever_was_written_before() {
    on_each(|site| {
        for policy in ALL {
            let folder = site.folder(with(policy));
            let caller = &folder.caller;
            folder.put("old", b"old");
            let private = fs::Permissions::from_mode(0o600);
            fs::set_permissions(folder.disk("old"), private).unwrap();
            let flags = libc::O_WRONLY | libc::O_TRUNC;
            let handle = caller.open(caller.number("old"), flags).unwrap();
            caller.write(handle, 0, b"new").unwrap();
            caller.close(handle).unwrap();
            let (_, handle) = caller
                .create(ROOT, "secret", 0o600, libc::O_WRONLY)
                .unwrap();
            caller.write(handle, 0, b"secret").unwrap();
            caller.close(handle).unwrap();
            for name in ["old", "secret"] {
                let mode = fs::metadata(folder.disk(name))
                    .unwrap()
                    .permissions()
                    .mode();
                assert!(
                    !site.server.brand.sets_modes() || mode & 0o777 == 0o600,
                    "{policy:?}: {name} has mode {mode:o}"
                );
            }
        }
    });
}

#[test]
fn atomic_replaces_nothing_that_others_have_made_meanwhile() {
    on_each(|site| {
        let folder = site.folder(with(UploadPolicy::Atomic));
        let caller = &folder.caller;
        let flags = libc::O_WRONLY | libc::O_EXCL;
        let (_, handle) = caller.create(ROOT, "f", 0o644, flags).unwrap();
        caller.write(handle, 0, &bytes(1, 600_000)).unwrap();
        folder.put("f", b"theirs");
        // What was seen counts for a second.
        std::thread::sleep(Duration::from_millis(1_100));
        assert_eq!(caller.flush(handle), Err(libc::ESTALE));
        assert_eq!(folder.stored("f"), b"theirs");
        caller.fs.release(handle);
        assert_eq!(folder.names(""), ["f"]);
    });
}
