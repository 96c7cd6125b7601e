//! Modes, times, owners, sizes of the file system.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::statvfs::statvfs;
use nix::sys::time::TimeSpec;

use crate::case::{ATOMIC, IN_PLACE, NO_CACHE};
use crate::check::{OrFail, fails_one_of};
use crate::files::{append, bytes, close, has, put};
use crate::place::Place;
use crate::shell::sh;
use crate::sys::{get_xattr, set_xattr};
use crate::tree::some_day;

cases! {
    a_new_time_does_not_disturb_who_has_it_open.smoke(),
    chmod_changes_the_mode_of_a_file.seeded(seed_file).smoke().also(&[NO_CACHE]),
    chmod_changes_the_mode_of_a_folder.smoke(),
    a_new_file_has_the_mode_that_was_asked_for.smoke().also(&[ATOMIC, IN_PLACE]),
    a_new_folder_has_the_mode_that_was_asked_for.smoke(),
    the_mode_is_set_while_the_file_is_written.smoke(),
    cp_keeps_the_x_of_a_script.smoke(),
    a_file_gets_its_time.seeded(seed_file).smoke().also(&[NO_CACHE]),
    a_folder_gets_its_time.smoke(),
    a_folder_whose_names_change_has_changed.smoke(),
    the_time_is_set_while_the_file_is_written.smoke().also(&[ATOMIC]),
    a_time_before_1970_or_far_ahead_is_no_disaster.smoke(),
    touch_sets_the_time_to_now.seeded(seed_file).smoke(),
    what_is_touched_is_newer_than_what_was_written.seeded(seed_file).smoke(),
    a_written_file_has_the_time_of_its_writing.smoke(),
    the_time_of_a_written_file_stays.smoke().uncompared(),
    the_time_of_an_open_file_does_not_jump.mounts_only().uncompared(),
    chown_to_the_same_owner_succeeds.seeded(seed_file).smoke(),
    chown_to_somebody_else_changes_nothing.seeded(seed_file).smoke().mounts_only(),
    statfs_is_never_full.smoke(),
    xattrs_are_quietly_absent.seeded(seed_file).smoke().mounts_only(),
    access_follows_the_mode.seeded(seed_file).smoke(),
}

/// As `touch` of a file that another program reads, and another writes.
fn a_new_time_does_not_disturb_who_has_it_open(place: &Place) {
    let path = place.here.join("file");
    let content = bytes(5, 3_000_000);
    put(&path, &content);
    let mut reader = File::open(&path).or_fail("open");
    let mut writer = OpenOptions::new().write(true).open(&path).or_fail("open");
    let mut head = [0; 100];
    reader.read_exact(&mut head).or_fail("read");
    sh(&place.here, "touch -d '2001-02-03 04:05:06 UTC' file");
    let mut tail = [0; 100];
    reader.seek(SeekFrom::Start(2_900_000)).or_fail("seek");
    reader.read_exact(&mut tail).or_fail("read on");
    assert_eq!(tail, content[2_900_000..2_900_100]);
    writer.write_all(b"new").or_fail("write");
    close(writer).or_fail("close");
    has(&place.there.join("file"), &[b"new", &content[3..]].concat());
}

fn seed_file(dir: &Path) {
    put(&dir.join("file"), &bytes(1, 5000));
    let file = File::open(dir.join("file")).or_fail("open");
    file.set_modified(some_day(777)).or_fail("set a time");
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).or_fail("stat").mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).or_fail(&format!("chmod {mode:o}"));
}

/// The mode has arrived, where it can.
fn mode_is(place: &Place, name: &str, mode: u32) {
    if place.facts.modes {
        assert_eq!(
            mode_of(&place.here.join(name)),
            mode,
            "{name}: mode through the mount"
        );
        assert_eq!(
            mode_of(&place.there.join(name)),
            mode,
            "{name}: mode on the server"
        );
    }
}

fn chmod_changes_the_mode_of_a_file(place: &Place) {
    for mode in [0o600, 0o755, 0o444, 0o640, 0o644] {
        chmod(&place.here.join("file"), mode);
        mode_is(place, "file", mode);
    }
    has(&place.there.join("file"), &bytes(1, 5000));
    sh(&place.here, "chmod u+x,g-r file");
    mode_is(place, "file", 0o704);
    let fresh = place.fresh_look();
    if place.facts.modes {
        assert_eq!(
            mode_of(&fresh.here.join("file")),
            0o704,
            "mode after a new mount"
        );
    }
}

fn chmod_changes_the_mode_of_a_folder(place: &Place) {
    fs::create_dir(place.here.join("folder")).or_fail("mkdir");
    for mode in [0o700, 0o755, 0o750] {
        chmod(&place.here.join("folder"), mode);
        mode_is(place, "folder", mode);
    }
    put(&place.here.join("folder/file"), b"x");
    has(&place.there.join("folder/file"), b"x");
}

fn a_new_file_has_the_mode_that_was_asked_for(place: &Place) {
    for mode in [0o600, 0o644, 0o755, 0o640, 0o700] {
        let name = format!("file{mode:o}");
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(place.here.join(&name))
            .or_fail("open");
        if place.facts.modes {
            assert_eq!(
                mode_of(&place.here.join(&name)),
                mode,
                "{name}: mode while open"
            );
        }
        file.write_all(b"x").or_fail("write");
        close(file).or_fail("close");
        mode_is(place, &name, mode);
        has(&place.there.join(&name), b"x");
    }
}

fn a_new_folder_has_the_mode_that_was_asked_for(place: &Place) {
    sh(
        &place.here,
        "mkdir -m 700 private; mkdir -m 755 public; umask 027; mkdir group; echo x > group/file",
    );
    mode_is(place, "private", 0o700);
    mode_is(place, "public", 0o755);
    mode_is(place, "group", 0o750);
    mode_is(place, "group/file", 0o640);
}

fn the_mode_is_set_while_the_file_is_written(place: &Place) {
    let mut file = File::create(place.here.join("file")).or_fail("open");
    file.write_all(&bytes(2, 200_000)).or_fail("write");
    file.set_permissions(fs::Permissions::from_mode(0o711))
        .or_fail("fchmod");
    file.write_all(b"end").or_fail("write");
    close(file).or_fail("close");
    mode_is(place, "file", 0o711);
    let mut expected = bytes(2, 200_000);
    expected.extend_from_slice(b"end");
    has(&place.there.join("file"), &expected);
}

fn cp_keeps_the_x_of_a_script(place: &Place) {
    let from = tempfile::tempdir().or_fail("make a folder");
    let script = from.path().join("script.sh");
    put(&script, b"#!/bin/sh\necho works\n");
    chmod(&script, 0o755);
    sh(
        &place.here,
        &format!("cp '{}' .; cp script.sh again.sh", script.display()),
    );
    mode_is(place, "script.sh", 0o755);
    mode_is(place, "again.sh", 0o755);
    if place.facts.modes {
        assert_eq!(sh(&place.here, "./again.sh"), "works\n", "the copy runs");
    }
}

fn set_time(path: &Path, time: SystemTime) {
    let file = File::open(path).or_fail("open");
    file.set_modified(time).or_fail("futimens");
}

fn seconds_of(path: &Path) -> i64 {
    fs::metadata(path).or_fail("stat").mtime()
}

fn whole_seconds(time: SystemTime) -> i64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .or_fail("a time after 1970");
    since.as_secs().try_into().unwrap()
}

fn a_file_gets_its_time(place: &Place) {
    let path = place.here.join("file");
    for seconds in [1, 86_399, 31_556_926, 100_000_001] {
        let time = some_day(seconds);
        set_time(&path, time);
        if place.facts.file_times {
            assert_eq!(
                seconds_of(&path),
                whole_seconds(time),
                "time through the mount"
            );
            let there = seconds_of(&place.there.join("file"));
            assert_eq!(there, whole_seconds(time), "time on the server");
        }
    }
    sh(&place.here, "touch -d '2019-02-28 23:59:58' file");
    if place.facts.file_times {
        assert_eq!(
            seconds_of(&place.there.join("file")),
            1_551_398_398,
            "touch -d"
        );
        let fresh = place.fresh_look();
        assert_eq!(
            seconds_of(&fresh.here.join("file")),
            1_551_398_398,
            "after a new mount"
        );
    }
    has(&path, &bytes(1, 5000));
}

fn a_folder_gets_its_time(place: &Place) {
    let before = whole_seconds(SystemTime::now());
    sh(
        &place.here,
        "mkdir folder; touch -d '2019-02-28 23:59:58' folder",
    );
    let there = seconds_of(&place.there.join("folder"));
    let here = seconds_of(&place.here.join("folder"));
    if place.facts.folder_times {
        assert_eq!(there, 1_551_398_398, "time on the server");
        assert_eq!(here, 1_551_398_398, "time through the mount");
    } else {
        assert!(there >= before - 1, "time on the server: {there}");
        assert!(
            here >= before - 1,
            "no time that the server has not: {here}"
        );
        let fresh = place.fresh_look();
        let told = seconds_of(&fresh.here.join("folder"));
        let unit = if place.facts.folder_seconds { 1 } else { 60 };
        assert_eq!(told, there / unit * unit, "after a new mount");
    }
    assert!(place.here.join("folder").is_dir(), "it is a folder");
}

/// Who sets the time of a folder first and fills it then (rsync, tar) looks whether it is still that.
fn a_folder_whose_names_change_has_changed(place: &Place) {
    let folder = place.here.join("folder");
    let changes: [(&str, &dyn Fn()); 5] = [
        ("create", &|| put(&folder.join("file"), b"x")),
        ("mkdir", &|| {
            fs::create_dir(folder.join("sub")).or_fail("mkdir");
        }),
        ("rename", &|| {
            fs::rename(folder.join("file"), folder.join("other")).or_fail("rename");
        }),
        ("unlink", &|| {
            fs::remove_file(folder.join("other")).or_fail("unlink");
        }),
        ("rmdir", &|| {
            fs::remove_dir(folder.join("sub")).or_fail("rmdir");
        }),
    ];
    fs::create_dir(&folder).or_fail("mkdir");
    for (what, change) in changes {
        sh(&place.here, "touch -d '2019-02-28 23:59:58' folder");
        let before = whole_seconds(SystemTime::now());
        change();
        let told = seconds_of(&folder);
        // A listing without seconds may tell the minute that the change was in.
        let since = if place.facts.folder_seconds {
            before - 1
        } else {
            (before - 1) / 60 * 60
        };
        assert!(told >= since, "{what}: its time is {told}, not {before}");
        if place.facts.folder_times {
            sh(&place.here, "touch -d '2019-02-28 23:59:58' folder");
            assert_eq!(
                seconds_of(&place.there.join("folder")),
                1_551_398_398,
                "{what}: on the server"
            );
        }
    }
}

fn the_time_is_set_while_the_file_is_written(place: &Place) {
    let path = place.here.join("file");
    for n in 0..3 {
        let mut file = File::create(&path).or_fail("open");
        file.write_all(&bytes(n, 150_000)).or_fail("write");
        file.set_modified(some_day(n * 1000)).or_fail("futimens");
        close(file).or_fail("close");
        if place.facts.file_times {
            let expected = whole_seconds(some_day(n * 1000));
            assert_eq!(
                seconds_of(&place.there.join("file")),
                expected,
                "time on the server"
            );
            assert_eq!(seconds_of(&path), expected, "time through the mount");
        }
        has(&place.there.join("file"), &bytes(n, 150_000));
    }
}

fn a_time_before_1970_or_far_ahead_is_no_disaster(place: &Place) {
    let path = place.here.join("file");
    put(&path, b"x");
    for seconds in [-1_000_000, 0, 4_000_000_000] {
        let time = TimeSpec::new(seconds, 0);
        let result = utimensat(
            nix::fcntl::AT_FDCWD,
            &path,
            &time,
            &time,
            UtimensatFlags::FollowSymlink,
        );
        if result.is_ok() && place.facts.file_times {
            let (here, there) = (seconds_of(&path), seconds_of(&place.there.join("file")));
            assert_eq!(
                here, there,
                "the mount and the server agree about {seconds}"
            );
        }
    }
    has(&path, b"x");
}

fn touch_sets_the_time_to_now(place: &Place) {
    let before = whole_seconds(SystemTime::now());
    sh(&place.here, "touch file");
    if place.facts.file_times {
        let after = whole_seconds(SystemTime::now());
        for path in [place.here.join("file"), place.there.join("file")] {
            let is = seconds_of(&path);
            assert!(
                (before..=after).contains(&is),
                "{is} is between {before} and {after}"
            );
        }
    }
    has(&place.there.join("file"), &bytes(1, 5000));
}

/// make(1) sees a source that was touched within the second in which its object was written.
fn what_is_touched_is_newer_than_what_was_written(place: &Place) {
    for _ in 0..5 {
        sh(&place.here, "echo x > object; touch file");
        if place.facts.file_times {
            sh(&place.here, "! test object -nt file");
        }
    }
}

fn a_written_file_has_the_time_of_its_writing(place: &Place) {
    let before = whole_seconds(SystemTime::now());
    let path = place.here.join("file");
    put(&path, b"one");
    append(&path, b"two");
    let after = whole_seconds(SystemTime::now());
    let is = seconds_of(&path);
    assert!(
        (before - 1..=after + 1).contains(&is),
        "through the mount: {is} is between {before} and {after}"
    );
    // Where no time can be set, `old` keeps that of its writing, and is not older.
    let older = if place.facts.file_times { "" } else { "! " };
    sh(
        &place.here,
        &format!("echo 1 > old; touch -d '1 hour ago' old; {older}test file -nt old"),
    );
}

/// What `make` and `rsync` rely on: once told, a time does not change because a listing is coarser.
fn the_time_of_a_written_file_stays(place: &Place) {
    let look = place.mount(&["cache_timeout=1"]);
    let paths: Vec<_> = (0..5).map(|n| look.here.join(format!("file{n}"))).collect();
    for path in &paths {
        put(path, b"x");
    }
    let told: Vec<i64> = paths.iter().map(|path| seconds_of(path)).collect();
    let end = Instant::now() + Duration::from_millis(2500);
    while Instant::now() < end {
        for (path, told) in paths.iter().zip(&told) {
            assert_eq!(
                seconds_of(path),
                *told,
                "{}: time told before",
                path.display()
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn the_time_of_an_open_file_does_not_jump(place: &Place) {
    let look = place.mount(&["cache_timeout=1"]);
    let path = look.here.join("file");
    put(&path, b"x");
    let writer = OpenOptions::new().append(true).open(&path).or_fail("open");
    let told = writer.metadata().or_fail("fstat").mtime();
    let end = Instant::now() + Duration::from_millis(2500);
    while Instant::now() < end {
        assert_eq!(
            writer.metadata().or_fail("fstat").mtime(),
            told,
            "time of an open file"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    close(writer).or_fail("close");
}

fn chown_to_the_same_owner_succeeds(place: &Place) {
    let path = place.here.join("file");
    let (uid, gid) = (
        nix::unistd::geteuid().as_raw(),
        nix::unistd::getegid().as_raw(),
    );
    chown(&path, Some(uid), Some(gid)).or_fail("chown to the owner");
    chown(&path, Some(uid), None).or_fail("chown of the user alone");
    chown(&path, None, Some(gid)).or_fail("chgrp alone");
    sh(
        &place.here,
        "chown $(id -u):$(id -g) file; chgrp $(id -g) .",
    );
    let file = File::create(place.here.join("new")).or_fail("create");
    std::os::unix::fs::fchown(&file, Some(uid), Some(gid)).or_fail("fchown");
    close(file).or_fail("close");
    has(&place.there.join("file"), &bytes(1, 5000));
}

fn chown_to_somebody_else_changes_nothing(place: &Place) {
    // The kernel lets nobody but root ask.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let path = place.here.join("file");
    let owner = |path: &Path| {
        let metadata = fs::metadata(path).or_fail("stat");
        (metadata.uid(), metadata.gid())
    };
    let (here, there) = (owner(&path), owner(&place.there.join("file")));
    chown(&path, Some(1234), Some(1234)).or_fail("chown succeeds quietly");
    assert_eq!(owner(&path), here, "owner through the mount");
    assert_eq!(
        owner(&place.there.join("file")),
        there,
        "owner on the server"
    );
}

fn statfs_is_never_full(place: &Place) {
    let about = statvfs(&place.here).or_fail("statvfs");
    assert!(about.blocks() > 0, "blocks: {about:?}");
    assert!(about.blocks_available() > 0, "available: {about:?}");
    assert!(
        about.blocks_free() >= about.blocks_available(),
        "free: {about:?}"
    );
    assert_eq!(about.name_max(), 255, "longest name");
    assert!(about.fragment_size() > 0, "block size: {about:?}");
    sh(
        &place.here,
        "df . > /dev/null; df -i . > /dev/null; stat -f . > /dev/null",
    );
}

fn xattrs_are_quietly_absent(place: &Place) {
    let path = place.here.join("file");
    let unsupported = [Errno::EOPNOTSUPP, Errno::ENODATA];
    fails_one_of("getxattr", get_xattr(&path, "user.any"), &unsupported);
    fails_one_of(
        "getxattr",
        get_xattr(&path, "security.capability"),
        &unsupported,
    );
    fails_one_of(
        "setxattr",
        set_xattr(&path, "user.any", b"x"),
        &[Errno::EOPNOTSUPP],
    );
    sh(
        &place.here,
        "cp -a file copy; cmp file copy; ls -l > /dev/null",
    );
}

fn access_follows_the_mode(place: &Place) {
    if place.facts.modes {
        chmod(&place.here.join("file"), 0o644);
        sh(&place.here, "test -r file; test -w file; test ! -x file");
        chmod(&place.here.join("file"), 0o755);
        sh(&place.here, "test -x file");
    } else {
        sh(&place.here, "test -r file; test -w file; test ! -x file");
    }
    sh(
        &place.here,
        "test -d .; test -x .; test -w .; test ! -e absent; test -s file; test ! -L file",
    );
}
