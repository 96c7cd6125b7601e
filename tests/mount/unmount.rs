//! The end of a mount: nothing is lost, and what could not be stored is said.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::case::NO_CACHE;
use crate::check::{OrFail, eventually, holding};
use crate::files::{absent, bytes, close, has, put};
use crate::place::{Look, Place};
use crate::shell::{output, program, sh};
use crate::support::mounted::{Mounted, is_mounted};
use crate::support::server::trusting;

cases! {
    fusermount_ends_the_process.smoke().mounts_only().uncompared(),
    umount_ends_the_process.mounts_only().uncompared(),
    sigterm_ends_the_process.smoke().mounts_only().uncompared(),
    sigint_ends_the_process.smoke().mounts_only().uncompared(),
    open_files_are_stored_on_sigterm.smoke().mounts_only().uncompared(),
    changed_files_are_stored_on_sigterm.seeded(seed).smoke().mounts_only().uncompared(),
    a_lazy_unmount_stores_what_is_open.mounts_only().uncompared(),
    a_busy_mount_says_so_and_goes_on.smoke().mounts_only().uncompared(),
    what_cannot_be_stored_is_told.seeded(seed).smoke().mounts_only().uncompared(),
    what_could_not_be_stored_does_not_come_back.seeded(seed).smoke().mounts_only().uncompared(),
    an_unstored_copy_leaves_no_temporary_name.seeded(seed_late).smoke().mounts_only().uncompared(),
    the_same_folder_is_mounted_again.smoke().mounts_only().uncompared(),
    a_daemon_is_ready_when_the_command_returns.smoke().mounts_only().uncompared(),
    two_mounts_of_one_server_work_together.smoke().mounts_only().uncompared(),
    an_idle_mount_ends_at_once.smoke().mounts_only().uncompared(),
}

fn seed(dir: &Path) {
    fs::create_dir(dir.join("folder")).or_fail("mkdir");
    put(&dir.join("folder/file"), &bytes(1, 500_000));
}

const LATE: [&str; 4] = ["written", "deleted", "renamed", "kept"];

fn seed_late(dir: &Path) {
    fs::create_dir(dir.join("late")).or_fail("mkdir");
    for name in LATE {
        put(&dir.join("late").join(name), b"before");
    }
}

/// The mount out of the look, to be ended.
fn mount_of(look: &mut Look) -> Mounted {
    look.mount.take().expect("a case for mounts only")
}

/// Writes files of several sizes and closes them.
fn write_some(look: &Look) {
    for n in 0..12u64 {
        let content = bytes(n, usize::try_from(n * n * 20_000).unwrap());
        put(&look.here.join(format!("file{n}")), &content);
    }
}

fn all_is_stored(place: &Place) {
    for n in 0..12u64 {
        let content = bytes(n, usize::try_from(n * n * 20_000).unwrap());
        has(&place.there.join(format!("file{n}")), &content);
    }
}

fn fusermount_ends_the_process(place: &Place) {
    let mut look = place.fresh_look();
    write_some(&look);
    assert_eq!(mount_of(&mut look).unmount(), Some(0), "exit code");
    all_is_stored(place);
}

fn umount_ends_the_process(place: &Place) {
    // Only root may call umount(2).
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut look = place.fresh_look();
    write_some(&look);
    let mount = mount_of(&mut look);
    // Programs that other cases start have copies of our files for the moment before they run.
    eventually("it can be unmounted", Duration::from_secs(30), || {
        let said = output(program(Path::new("/"), "umount").arg(mount.path()));
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.is_empty() || said.contains("busy"), "{said}");
        holding(said.is_empty(), || said)
    });
    assert!(!is_mounted(mount.path()), "it is gone");
    assert_eq!(mount.unmount(), Some(0), "exit code");
    all_is_stored(place);
}

fn sigterm_ends_the_process(place: &Place) {
    let mut look = place.fresh_look();
    write_some(&look);
    assert_eq!(
        mount_of(&mut look).end_by_signal("TERM"),
        Some(0),
        "exit code"
    );
    all_is_stored(place);
}

fn sigint_ends_the_process(place: &Place) {
    let mut look = place.fresh_look();
    write_some(&look);
    assert_eq!(
        mount_of(&mut look).end_by_signal("INT"),
        Some(0),
        "exit code"
    );
    all_is_stored(place);
}

fn open_files_are_stored_on_sigterm(place: &Place) {
    let mut look = place.fresh_look();
    let mut small = File::create(look.here.join("small")).or_fail("open");
    small.write_all(b"not closed").or_fail("write");
    let mut large = File::create(look.here.join("large")).or_fail("open");
    large.write_all(&bytes(1, 3_000_000)).or_fail("write");
    let holey = File::create(look.here.join("holey")).or_fail("open");
    holey.write_all_at(b"end", 100_000).or_fail("write");
    assert_eq!(
        mount_of(&mut look).end_by_signal("TERM"),
        Some(0),
        "exit code"
    );
    has(&place.there.join("small"), b"not closed");
    has(&place.there.join("large"), &bytes(1, 3_000_000));
    let mut expected = vec![0; 100_000];
    expected.extend_from_slice(b"end");
    has(&place.there.join("holey"), &expected);
    assert!(small.write_all(b"x").is_err(), "the handle is dead");
}

fn changed_files_are_stored_on_sigterm(place: &Place) {
    let mut look = place.fresh_look();
    let path = look.here.join("folder/file");
    let file = OpenOptions::new().write(true).open(&path).or_fail("open");
    file.write_all_at(b"patched", 250_000).or_fail("write");
    assert_eq!(
        mount_of(&mut look).end_by_signal("TERM"),
        Some(0),
        "exit code"
    );
    let mut expected = bytes(1, 500_000);
    expected[250_000..250_007].copy_from_slice(b"patched");
    has(&place.there.join("folder/file"), &expected);
}

fn a_lazy_unmount_stores_what_is_open(place: &Place) {
    let mut look = place.fresh_look();
    let mut file = File::create(look.here.join("file")).or_fail("open");
    file.write_all(b"before ").or_fail("write");
    let mount = mount_of(&mut look);
    sh(
        Path::new("/"),
        &format!("fusermount3 -u -z '{}'", mount.path().display()),
    );
    file.write_all(b"after").or_fail("write");
    close(file).or_fail("close");
    assert_eq!(mount.unmount(), Some(0), "exit code");
    has(&place.there.join("file"), b"before after");
}

fn a_busy_mount_says_so_and_goes_on(place: &Place) {
    let mut look = place.fresh_look();
    let mut file = File::create(look.here.join("file")).or_fail("open");
    file.write_all(b"before ").or_fail("write");
    let mount = mount_of(&mut look);
    let refused = output(
        Command::new("fusermount3")
            .arg("-u")
            .arg(mount.path())
            .env("LC_ALL", "C"),
    );
    assert!(!refused.status.success(), "the mount is busy");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("busy"), "fusermount3 says: {said}");
    assert!(is_mounted(mount.path()), "it is still there");
    file.write_all(b"after").or_fail("write");
    close(file).or_fail("close");
    has(&place.there.join("file"), b"before after");
    assert_eq!(mount.unmount(), Some(0), "exit code");
}

/// The server takes the right to write away while the file is open: exit code 7, and the file is named.
fn what_cannot_be_stored_is_told(place: &Place) {
    let look = place.fresh_look();
    let path = look.here.join("folder/file");
    let file = OpenOptions::new().write(true).open(&path).or_fail("open");
    file.write_all_at(b"patched", 250_000).or_fail("write");
    let mode = |name: &str, mode: u32| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(place.there.join(name), mode).or_fail("chmod on the server");
    };
    mode("folder/file", 0o444);
    mode("folder", 0o555);
    let mut look = look;
    let mount = mount_of(&mut look);
    assert!(mount.send("TERM"), "the signal is sent");
    eventually("it says which file", Duration::from_secs(60), || {
        let log = mount.log();
        holding(log.contains("folder/file"), || log)
    });
    assert_eq!(mount.unmount(), Some(7), "exit code");
    mode("folder", 0o755);
    mode("folder/file", 0o644);
    has(&place.there.join("folder/file"), &bytes(1, 500_000));
}

/// A close has failed, and the file was written anew since: by us, and by others.
fn what_could_not_be_stored_does_not_come_back(place: &Place) {
    let mut look = place.mount(NO_CACHE);
    put(&place.there.join("folder/other"), &bytes(2, 500_000));
    place.give(&place.there.join("folder/other"));
    let mode = |name: &str, mode: u32| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(place.there.join(name), mode).or_fail("chmod on the server");
    };
    let lock = |closed: bool| {
        mode("folder/file", if closed { 0o444 } else { 0o644 });
        mode("folder/other", if closed { 0o444 } else { 0o644 });
        mode("folder", if closed { 0o555 } else { 0o755 });
    };
    let open = |name: &str| {
        OpenOptions::new()
            .write(true)
            .open(look.here.join(name))
            .or_fail("open")
    };
    let files = [open("folder/file"), open("folder/other")];
    lock(true);
    for file in files {
        // Not before: a child of another case closes its copy of the descriptor, which is a flush.
        file.set_len(0).or_fail("truncate");
        file.write_all_at(b"first", 0).or_fail("write");
        assert!(close(file).is_err(), "close must fail");
    }
    let mount = look.mounted();
    eventually("both are given up", Duration::from_secs(60), || {
        let log = mount.log();
        holding(log.matches("not stored").count() >= 2, || log)
    });
    lock(false);
    put(&look.here.join("folder/file"), b"second");
    put(&place.there.join("folder/other"), b"theirs");
    assert_eq!(mount_of(&mut look).unmount(), Some(7), "exit code");
    has(&place.there.join("folder/file"), b"second");
    has(&place.there.join("folder/other"), b"theirs");
}

/// Nor does it undo what came after it; what nothing came after is stored at the end.
fn an_unstored_copy_leaves_no_temporary_name(place: &Place) {
    let names = LATE;
    let mut look = place.mount(NO_CACHE);
    let mount = mount_of(&mut look);
    let late = look.here.join("late");
    let files = names.map(|name| {
        let mut options = OpenOptions::new();
        options.write(true).open(late.join(name)).or_fail("open")
    });
    for name in names {
        mode(place, &format!("late/{name}"), 0o444);
    }
    mode(place, "late", 0o555);
    for mut file in files {
        // Not before: a child of another case closes its copy of the descriptor, which is a flush,
        // and the new file that it stores would be open to writing again.
        file.set_len(0).or_fail("truncate");
        file.write_all(b"not stored").or_fail("write");
        assert!(close(file).is_err(), "the server refuses it");
    }
    eventually("the copies are set aside", Duration::from_secs(60), || {
        let log = mount.log();
        let told = names
            .iter()
            .all(|name| log.contains(&format!("late/{name}: not stored")));
        holding(told, || log)
    });
    mode(place, "late", 0o755);
    for name in names {
        mode(place, &format!("late/{name}"), 0o644);
    }
    put(&late.join("written"), b"newer");
    fs::remove_file(late.join("deleted")).or_fail("unlink");
    fs::rename(late.join("renamed"), late.join("moved")).or_fail("rename");
    assert_eq!(mount.unmount(), Some(0), "exit code");
    let there = place.there.join("late");
    has(&there.join("written"), b"newer");
    has(&there.join("moved"), b"not stored");
    has(&there.join("kept"), b"not stored");
    absent(&there.join("deleted"));
    absent(&there.join("renamed"));
}

/// On the server, by its own user or root.
fn mode(place: &Place, name: &str, mode: u32) {
    let mode = fs::Permissions::from_mode(mode);
    fs::set_permissions(place.there.join(name), mode).or_fail("chmod on the server");
}

fn the_same_folder_is_mounted_again(place: &Place) {
    for n in 0..4u64 {
        let mut look = place.fresh_look();
        put(&look.here.join("file"), &bytes(n, 1000));
        assert_eq!(mount_of(&mut look).unmount(), Some(0), "exit code");
        let mut look = place.fresh_look();
        has(&look.here.join("file"), &bytes(n, 1000));
        assert_eq!(
            mount_of(&mut look).end_by_signal("TERM"),
            Some(0),
            "exit code"
        );
    }
}

fn a_daemon_is_ready_when_the_command_returns(place: &Place) {
    let local = tempfile::tempdir().or_fail("make a folder");
    let point = local.path().join("mnt");
    fs::create_dir(&point).or_fail("mkdir");
    let run = output(
        program(local.path(), env!("CARGO_BIN_EXE_ftpfs"))
            .args(trusting(&place.site.server().url))
            .arg(&place.site.server().url)
            .arg(&point),
    );
    assert!(run.status.success(), "ftpfs: {run:?}");
    assert!(is_mounted(&point), "it is mounted when the command returns");
    let here = point.join(place.there.file_name().unwrap());
    put(&here.join("file"), b"through a daemon");
    has(&place.there.join("file"), b"through a daemon");
    let serving = processes_of(&point);
    assert_eq!(serving.len(), 1, "processes that serve it: {serving:?}");
    sh(
        Path::new("/"),
        &format!("fusermount3 -u '{}'", point.display()),
    );
    eventually("the process has ended", Duration::from_secs(60), || {
        let left = processes_of(&point);
        holding(left.is_empty(), || format!("{left:?}"))
    });
}

/// Processes with the mountpoint in their command line.
fn processes_of(point: &Path) -> Vec<u32> {
    let point = point.to_str().expect("a path in UTF-8");
    fs::read_dir("/proc")
        .or_fail("list /proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0)
                .any(|word| word == point.as_bytes())
        })
        .collect()
}

fn two_mounts_of_one_server_work_together(place: &Place) {
    let one = place.mount(&["cache_timeout=1"]);
    let two = place.mount(&["cache_timeout=1"]);
    for n in 0..3u64 {
        put(
            &one.here.join("file"),
            &bytes(n, 1000 + usize::try_from(n).unwrap()),
        );
        eventually("the other sees it", Duration::from_secs(20), || {
            let found = fs::read(two.here.join("file")).unwrap_or_default();
            let expected = bytes(n, 1000 + usize::try_from(n).unwrap());
            holding(found == expected, || format!("{} bytes", found.len()))
        });
        put(&two.here.join("answer"), &bytes(n, 50));
        eventually(
            "and the first sees the answer",
            Duration::from_secs(20),
            || {
                let found = fs::read(one.here.join("answer")).unwrap_or_default();
                holding(found == bytes(n, 50), || format!("{} bytes", found.len()))
            },
        );
    }
}

fn an_idle_mount_ends_at_once(place: &Place) {
    let mut look = place.fresh_look();
    assert_eq!(mount_of(&mut look).unmount(), Some(0), "exit code");
    let mut look = place.mount(&["max_conns=1"]);
    assert_eq!(
        mount_of(&mut look).end_by_signal("TERM"),
        Some(0),
        "exit code"
    );
}
