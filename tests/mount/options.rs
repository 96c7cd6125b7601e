//! Mount options that change what the files look like or what is allowed.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;

use crate::check::{OrFail, fails, fails_one_of, holds};
use crate::files::{absent, bytes, has, put, try_put};
use crate::place::Place;
use crate::shell::sh_fails;
use crate::tree::some_day;

cases! {
    ro_refuses_every_change.seeded(seed).smoke().mounts_only(),
    umask_takes_bits_away.seeded(seed).mounts_only().uncompared(),
    fmask_and_dmask_differ.seeded(seed).mounts_only().uncompared(),
    uid_and_gid_are_shown.seeded(seed).mounts_only(),
    strict_makes_the_impossible_an_error.seeded(seed).smoke().mounts_only(),
    every_policy_of_upload_stores.smoke().mounts_only(),
    a_folder_below_the_root_is_mounted.seeded(seed).smoke().mounts_only(),
    a_tiny_cache_still_reads_right.seeded(seed).mounts_only(),
    files_are_staged_where_the_user_says.mounts_only(),
}

fn seed(dir: &Path) {
    fs::create_dir(dir.join("folder")).or_fail("mkdir");
    put(&dir.join("folder/inner"), b"inner");
    put(&dir.join("file"), &bytes(1, 3_000_000));
    for (name, mode) in [("file", 0o666), ("folder", 0o777), ("folder/inner", 0o755)] {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(dir.join(name), mode).or_fail("chmod");
    }
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).or_fail("stat").mode() & 0o7777
}

fn ro_refuses_every_change(place: &Place) {
    let look = place.mount(&["ro"]);
    let at = |name: &str| look.here.join(name);
    fails("create", File::create(at("new")), Errno::EROFS);
    fails("replace", try_put(&at("file"), b"new"), Errno::EROFS);
    fails("mkdir", fs::create_dir(at("new")), Errno::EROFS);
    fails("unlink", fs::remove_file(at("file")), Errno::EROFS);
    fails("rmdir", fs::remove_dir(at("folder")), Errno::EROFS);
    fails("rename", fs::rename(at("file"), at("new")), Errno::EROFS);
    let mode = fs::Permissions::from_mode(0o600);
    fails("chmod", fs::set_permissions(at("file"), mode), Errno::EROFS);
    let said = sh_fails(&look.here, "touch new");
    assert!(said.contains("Read-only file system"), "touch says: {said}");
    has(&at("file"), &bytes(1, 3_000_000));
    holds(&place.there, ["file", "folder"]);
}

fn umask_takes_bits_away(place: &Place) {
    let look = place.mount(&["umask=077"]);
    assert_eq!(mode_of(&look.here.join("folder")), 0o700, "a folder");
    let file = mode_of(&look.here.join("file"));
    assert_eq!(file, 0o600, "a file");
    if place.facts.modes {
        assert_eq!(mode_of(&look.here.join("folder/inner")), 0o700, "a program");
    }
    has(&look.here.join("file"), &bytes(1, 3_000_000));
}

fn fmask_and_dmask_differ(place: &Place) {
    let look = place.mount(&["fmask=133", "dmask=027"]);
    assert_eq!(mode_of(&look.here.join("folder")), 0o750, "a folder");
    assert_eq!(mode_of(&look.here.join("file")), 0o644, "a file");
    assert_eq!(
        mode_of(&look.here.join("folder/inner")),
        0o644,
        "a program without its x"
    );
}

fn uid_and_gid_are_shown(place: &Place) {
    let look = place.mount(&["uid=4321", "gid=1234"]);
    for name in ["file", "folder"] {
        let metadata = fs::metadata(look.here.join(name)).or_fail("stat");
        assert_eq!(
            (metadata.uid(), metadata.gid()),
            (4321, 1234),
            "owner of {name}"
        );
    }
}

fn strict_makes_the_impossible_an_error(place: &Place) {
    let look = place.mount(&["strict"]);
    let impossible = [Errno::EOPNOTSUPP, Errno::EPERM];
    let (path, folder) = (look.here.join("file"), look.here.join("folder"));
    let chmod = fs::set_permissions(&path, fs::Permissions::from_mode(0o600));
    if place.facts.modes {
        chmod.or_fail("chmod");
        assert_eq!(
            mode_of(&place.there.join("file")),
            0o600,
            "mode on the server"
        );
    } else {
        fails_one_of("chmod", chmod, &impossible);
    }
    let set_time = |path: &Path| File::open(path).or_fail("open").set_modified(some_day(5));
    if place.facts.file_times {
        set_time(&path).or_fail("set the time of a file");
    } else {
        fails_one_of("set the time of a file", set_time(&path), &impossible);
    }
    if place.facts.folder_times {
        set_time(&folder).or_fail("set the time of a folder");
    } else {
        fails_one_of("set the time of a folder", set_time(&folder), &impossible);
    }
    if nix::unistd::geteuid().is_root() {
        let chown = std::os::unix::fs::chown(&path, Some(1234), None);
        fails_one_of("chown to somebody else", chown, &impossible);
    }
}

fn every_policy_of_upload_stores(place: &Place) {
    for policy in ["auto", "atomic", "inplace"] {
        let look = place.mount(&[&format!("upload={policy}")]);
        let path = look.here.join(policy);
        for (seed, size) in [(1, 100), (2, 2_000_000), (3, 50)] {
            put(&path, &bytes(seed, size));
            has(&place.there.join(policy), &bytes(seed, size));
        }
        fs::remove_file(&path).or_fail("unlink");
        absent(&place.there.join(policy));
    }
}

fn a_folder_below_the_root_is_mounted(place: &Place) {
    let folder = place.there.file_name().unwrap().to_str().unwrap();
    let url = format!(
        "{}{}/folder",
        place.site.server().url,
        folder.replace(' ', "%20")
    );
    let mount = crate::support::mounted::Mounted::new(&url, &[]);
    holds(mount.path(), ["inner"]);
    has(&mount.at("inner"), b"inner");
    put(&mount.at("new"), b"new");
    has(&place.there.join("folder/new"), b"new");
    fs::create_dir(mount.at("sub")).or_fail("mkdir");
    assert!(
        place.there.join("folder/sub").is_dir(),
        "the folder is on the server"
    );
    assert_eq!(mount.unmount(), Some(0), "exit code");
    // What another mount has made is seen by ours only later.
    fs::remove_file(place.there.join("folder/new")).or_fail("unlink");
    fs::remove_dir(place.there.join("folder/sub")).or_fail("rmdir");
}

fn a_tiny_cache_still_reads_right(place: &Place) {
    let look = place.mount(&["cache_size=1M", "readahead=128K", "max_conns=2"]);
    for _ in 0..2 {
        has(&look.here.join("file"), &bytes(1, 3_000_000));
    }
}

fn files_are_staged_where_the_user_says(place: &Place) {
    let staging = tempfile::tempdir().or_fail("make a folder");
    let dir = staging.path().join("staging");
    let look = place.mount(&[&format!("staging_dir={}", dir.display())]);
    let path = look.here.join("file");
    put(&path, &bytes(9, 20_000_000));
    has(&place.there.join("file"), &bytes(9, 20_000_000));
    let mode = fs::metadata(&dir)
        .or_fail("stat of the staging folder")
        .mode()
        & 0o777;
    assert_eq!(mode, 0o700, "mode of the staging folder");
    let log = look.mounted().log();
    assert!(!log.contains("panicked"), "the log has a panic:\n{log}");
}
