//! What differs from a local disk, sentence by sentence.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::mkfifo;

use crate::case::ATOMIC;
use crate::check::{OrFail, Over, eventually, fails, fails_one_of, holding, holds, names};
use crate::files::{bytes, close, has, put};
use crate::place::Place;
use crate::shell::sh;
use crate::support::mounted::is_mounted;

cases! {
    folders_have_one_link.seeded(seed).smoke().mounts_only(),
    there_are_no_hard_links.smoke().mounts_only(),
    there_are_no_pipes_sockets_and_devices.smoke().mounts_only(),
    names_are_not_exchanged.smoke().mounts_only(),
    times_of_others_are_whole_seconds.seeded(seed).mounts_only(),
    what_the_server_cannot_do_is_logged_once.seeded(seed).mounts_only(),
    access_times_are_not_kept.seeded(seed).smoke().mounts_only(),
    everything_belongs_to_the_user_who_mounted.seeded(seed).smoke().mounts_only(),
    inode_numbers_last_as_long_as_the_mount.seeded(seed).smoke().mounts_only(),
    leftovers_of_other_mounts_are_kept.seeded(seed_leftover).smoke().mounts_only().uncompared(),
    names_of_unfinished_uploads_are_hidden.seeded(seed_leftover).smoke().mounts_only().also(&[ATOMIC]),
    a_failed_replacement_leaves_the_old_content.smoke().mounts_only().uncompared(),
    the_mount_shows_no_password.smoke().mounts_only(),
    a_closed_file_is_on_the_server.smoke().mounts_only(),
    setuid_programs_and_devices_mean_nothing.smoke().mounts_only(),
}

fn seed(dir: &Path) {
    fs::create_dir_all(dir.join("folder/sub/deeper")).or_fail("mkdir");
    put(&dir.join("file"), &bytes(1, 1000));
    put(&dir.join("folder/file"), b"inner");
}

fn seed_leftover(dir: &Path) {
    put(&dir.join("file"), b"x");
}

fn folders_have_one_link(place: &Place) {
    for name in [".", "folder", "folder/sub"] {
        let links = fs::metadata(place.here.join(name)).or_fail("stat").nlink();
        assert_eq!(links, 1, "links of {name}");
    }
    // So that find does not believe to know how many subfolders there are.
    let found = sh(&place.here, "find . -type d | sort");
    assert_eq!(
        found, ".\n./folder\n./folder/sub\n./folder/sub/deeper\n",
        "folders that find finds"
    );
}

fn there_are_no_hard_links(place: &Place) {
    put(&place.here.join("file"), b"x");
    let result = fs::hard_link(place.here.join("file"), place.here.join("other"));
    fails_one_of("link", result, &[Errno::EPERM, Errno::EOPNOTSUPP]);
    holds(&place.there, ["file"]);
}

fn there_are_no_pipes_sockets_and_devices(place: &Place) {
    let none = [Errno::EPERM, Errno::EOPNOTSUPP];
    let pipe = mkfifo(&place.here.join("pipe"), Mode::from_bits_truncate(0o644));
    fails_one_of("mkfifo", pipe.map_err(Into::into), &none);
    fails_one_of(
        "a socket",
        UnixListener::bind(place.here.join("s")).map(drop),
        &none,
    );
    if nix::unistd::geteuid().is_root() {
        let device = mknod(
            &place.here.join("device"),
            SFlag::S_IFCHR,
            Mode::from_bits_truncate(0o644),
            nix::sys::stat::makedev(1, 3),
        );
        fails_one_of("mknod of a device", device.map_err(Into::into), &none);
    }
    holds::<&str>(&place.here, []);
    holds::<&str>(&place.there, []);
}

fn names_are_not_exchanged(place: &Place) {
    let (one, two) = (place.here.join("one"), place.here.join("two"));
    put(&one, b"1");
    put(&two, b"2");
    let result = renameat2(AT_FDCWD, &one, AT_FDCWD, &two, RenameFlags::RENAME_EXCHANGE);
    fails("RENAME_EXCHANGE", result.map_err(Into::into), Errno::EINVAL);
    has(&place.there.join("one"), b"1");
    has(&place.there.join("two"), b"2");
}

fn times_of_others_are_whole_seconds(place: &Place) {
    for name in ["file", "folder/file"] {
        let (here, there) = (place.here.join(name), place.there.join(name));
        // As a listing tells it, and as an open asks for it.
        for opened in [false, true] {
            if opened {
                drop(File::open(&here).or_fail("open"));
            }
            let (here, there) = (fs::metadata(&here), fs::metadata(&there));
            let (here, there) = (here.or_fail("stat"), there.or_fail("stat on the server"));
            assert_eq!(
                (here.mtime(), here.mtime_nsec()),
                (there.mtime(), 0),
                "{name}"
            );
        }
    }
}

fn what_the_server_cannot_do_is_logged_once(place: &Place) {
    // The kernel lets nobody but root ask for another owner.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let look = place.fresh_look();
    for name in ["file", "folder", "folder/file", "file"] {
        std::os::unix::fs::chown(look.here.join(name), Some(1234), None).or_fail("chown");
    }
    let log = look.mounted().log();
    assert_eq!(log.matches("chown is ignored").count(), 1, "{log}");
}

fn access_times_are_not_kept(place: &Place) {
    let before = fs::metadata(place.here.join("file")).or_fail("stat");
    has(&place.here.join("file"), &bytes(1, 1000));
    let after = fs::metadata(place.here.join("file")).or_fail("stat");
    assert_eq!(
        after.mtime(),
        before.mtime(),
        "reading changes no modification time"
    );
    sh(&place.here, "touch -a -d '2001-02-03 04:05:06' file");
    let touched = fs::metadata(place.here.join("file")).or_fail("stat");
    assert_eq!(
        touched.mtime(),
        before.mtime(),
        "nor does setting the access time"
    );
}

fn everything_belongs_to_the_user_who_mounted(place: &Place) {
    put(&place.here.join("new"), b"x");
    let (uid, gid) = (
        nix::unistd::geteuid().as_raw(),
        nix::unistd::getegid().as_raw(),
    );
    for name in ["file", "folder", "folder/file", "new", "."] {
        let metadata = fs::metadata(place.here.join(name)).or_fail("stat");
        assert_eq!(
            (metadata.uid(), metadata.gid()),
            (uid, gid),
            "owner of {name}"
        );
    }
}

fn inode_numbers_last_as_long_as_the_mount(place: &Place) {
    let look = place.mount(&["cache_timeout=0"]);
    let number = |name: &str| fs::metadata(look.here.join(name)).or_fail("stat").ino();
    let all = ["file", "folder", "folder/file", "folder/sub"];
    let before: Vec<u64> = all.iter().map(|name| number(name)).collect();
    for _ in 0..5 {
        sh(
            &look.here,
            "find . > /dev/null; cat file folder/file > /dev/null",
        );
        let now: Vec<u64> = all.iter().map(|name| number(name)).collect();
        assert_eq!(now, before, "inode numbers of {all:?}");
    }
    put(&look.here.join("file"), b"replaced");
    assert_eq!(number("file"), before[0], "after its content was replaced");
    let distinct: std::collections::BTreeSet<u64> = before.iter().copied().collect();
    assert_eq!(
        distinct.len(),
        all.len(),
        "every name has a number of its own"
    );
}

/// Only what this mount has made itself is ever cleaned up.
fn leftovers_of_other_mounts_are_kept(place: &Place) {
    let there = place.there.join(".ftpfs-0badcafe-1");
    put(&there, b"half of something");
    place.give(&there);
    let look = place.fresh_look();
    put(&look.here.join("file"), b"replaced");
    put(&look.here.join("new"), b"new");
    drop(look);
    has(&there, b"half of something");
    // The harness takes what is left for a leftover of ours.
    fs::remove_file(&there).or_fail("rm on the server");
}

/// While a file is replaced its new content has another name on the server, but not in the mount.
fn names_of_unfinished_uploads_are_hidden(place: &Place) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                holds(&place.here, ["file"]);
            }
        });
        let _over = Over(&over);
        for n in 0..20 {
            put(&place.here.join("file"), &bytes(n, 500_000));
        }
    });
    has(&place.there.join("file"), &bytes(19, 500_000));
}

/// The right to write goes away while the file is open: close says so, and the old content is whole.
fn a_failed_replacement_leaves_the_old_content(place: &Place) {
    fs::create_dir(place.here.join("folder")).or_fail("mkdir");
    let path = place.here.join("folder/file");
    put(&path, &bytes(1, 100_000));
    let file = OpenOptions::new().write(true).open(&path).or_fail("open");
    file.write_all_at(b"a change", 50_000).or_fail("write");
    let mode = |name: &str, mode: u32| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(place.there.join(name), mode).or_fail("chmod on the server");
    };
    mode("folder/file", 0o444);
    mode("folder", 0o555);
    fails("close", close(file), Errno::EACCES);
    // The last close tries once more: before that is over it would find the way open.
    let mount = place.shared.as_ref().expect("a case for mounts only");
    eventually("it is given up", Duration::from_secs(60), || {
        let log = mount.log();
        let told = "a_failed_replacement_leaves_the_old_content/folder/file: not stored";
        holding(log.contains(told), || log)
    });
    mode("folder", 0o755);
    mode("folder/file", 0o644);
    has(&place.there.join("folder/file"), &bytes(1, 100_000));
}

fn the_mount_shows_no_password(place: &Place) {
    let look = place.fresh_look();
    put(&look.here.join("file"), b"x");
    let (mount, password) = (look.mounted(), place.site.server().password());
    let pid = mount.pid();
    for (what, text) in [
        ("/proc/mounts", fs::read("/proc/mounts")),
        ("its command line", fs::read(format!("/proc/{pid}/cmdline"))),
        ("its log", Ok(mount.log().into_bytes())),
    ] {
        let text = text.or_fail(what);
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains(password), "the password is in {what}");
    }
    let mounts = fs::read_to_string("/proc/mounts").or_fail("read /proc/mounts");
    let path = mount.path().to_str().expect("a path in UTF-8");
    let line = mounts
        .lines()
        .find(|line| line.contains(path))
        .expect("the mount is listed");
    assert!(line.contains(" fuse.ftpfs "), "its type: {line}");
    assert!(line.starts_with("ftp"), "its source: {line}");
    assert!(line.contains("://"), "its source: {line}");
    assert!(is_mounted(mount.path()), "it is mounted");
}

fn a_closed_file_is_on_the_server(place: &Place) {
    for n in 0..30u64 {
        let name = format!("file{n}");
        let content = bytes(n, usize::try_from(n * n * 100).unwrap());
        put(&place.here.join(&name), &content);
        has(&place.there.join(&name), &content);
    }
    assert_eq!(names(&place.there).len(), 30, "names on the server");
}

fn setuid_programs_and_devices_mean_nothing(place: &Place) {
    let look = place.fresh_look();
    put(&look.here.join("file"), b"x");
    let mounts = fs::read_to_string("/proc/mounts").or_fail("read /proc/mounts");
    let path = look.mounted().path().to_str().expect("a path in UTF-8");
    let line = mounts
        .lines()
        .find(|line| line.contains(path))
        .expect("the mount is listed");
    let options: Vec<&str> = line
        .split(' ')
        .nth(3)
        .unwrap_or_default()
        .split(',')
        .collect();
    assert!(
        options.contains(&"nosuid") && options.contains(&"nodev"),
        "options: {line}"
    );
    drop(File::open(look.here.join("file")).or_fail("open"));
}
