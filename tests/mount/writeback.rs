//! `writeback`: programs that close and go on find what they wrote, and in the end the server has it.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use crate::check::{OrFail, eventually, holding, holds};
use crate::files::{absent, bytes, has, put};
use crate::place::{Look, Place};
use crate::shell::sh;
use crate::tree::{self, some_day};

cases! {
    a_tree_is_copied_in.seeded(seed).smoke().mounts_only(),
    an_archive_is_unpacked.seeded(seed).mounts_only(),
    rsync_finds_nothing_to_do.seeded(seed).mounts_only(),
    every_write_is_read_back_at_once.seeded(seed).smoke().mounts_only(),
    versions_come_in_their_order.smoke().mounts_only(),
    renamed_before_it_is_stored.seeded(seed).smoke().mounts_only(),
    deleted_before_it_is_stored.seeded(seed).smoke().mounts_only(),
    cut_before_it_is_stored.smoke().mounts_only(),
    mode_and_time_follow.smoke().mounts_only(),
    edits_and_appends_arrive.seeded(seed).smoke().mounts_only(),
    one_connection_is_enough.seeded(seed).mounts_only(),
    every_policy_writes_back.seeded(seed).mounts_only(),
    fsync_is_on_the_server.smoke().mounts_only(),
}

/// Until all that is closed is on the server.
const SOON: Duration = Duration::from_secs(60);

fn seed(dir: &Path) {
    put(&dir.join("old"), &bytes(1, 40_000));
    put(&dir.join("large"), &bytes(2, 3_000_000));
    for name in ["old", "large"] {
        let mode = fs::Permissions::from_mode(0o666);
        fs::set_permissions(dir.join(name), mode).or_fail("chmod");
    }
}

fn mounted(place: &Place) -> Look {
    place.mount(&["writeback"])
}

/// The server has what the mount shows.
fn arrives(place: &Place, look: &Look) {
    eventually("the server has it all", SOON, || {
        tree::compare(&look.here, &place.there, place.facts.modes)
    });
}

fn make_tree(at: &Path) {
    for folder in 0..4 {
        let folder = at.join(format!("folder {folder}"));
        fs::create_dir_all(&folder).or_fail("mkdir");
        for n in 0..10u8 {
            let size = usize::from(n) * 37_001;
            put(&folder.join(format!("file {n}")), &bytes(n.into(), size));
        }
    }
}

fn a_tree_is_copied_in(place: &Place) {
    let look = mounted(place);
    let local = tempfile::tempdir().or_fail("a folder");
    make_tree(local.path());
    sh(
        &look.here,
        &format!("cp -r {}/. copied", local.path().display()),
    );
    sh(
        &look.here,
        &format!("diff -r {} copied", local.path().display()),
    );
    arrives(place, &look);
}

fn an_archive_is_unpacked(place: &Place) {
    let look = mounted(place);
    let local = tempfile::tempdir().or_fail("a folder");
    make_tree(&local.path().join("tree"));
    let archive = local.path().join("tree.tar");
    sh(local.path(), "tar cf tree.tar tree");
    sh(&look.here, &format!("tar xf {}", archive.display()));
    sh(
        &look.here,
        &format!("diff -r {}/tree tree", local.path().display()),
    );
    arrives(place, &look);
}

fn rsync_finds_nothing_to_do(place: &Place) {
    let look = mounted(place);
    let local = tempfile::tempdir().or_fail("a folder");
    make_tree(local.path());
    let rsync = format!(
        "rsync -a --out-format=%n {}/ synced/",
        local.path().display()
    );
    sh(&look.here, &rsync);
    arrives(place, &look);
    let again = sh(&look.here, &rsync);
    let files: Vec<_> = again.lines().filter(|line| !line.ends_with('/')).collect();
    if place.facts.file_times {
        assert!(files.is_empty(), "sent again: {files:?}");
    }
}

fn every_write_is_read_back_at_once(place: &Place) {
    let look = mounted(place);
    for n in 0..20u8 {
        let name = look.here.join(format!("file {}", n % 5));
        let content = bytes(n.into(), 1_000 * usize::from(n) + 1);
        put(&name, &content);
        has(&name, &content);
        let size = fs::metadata(&name).or_fail("stat").len();
        assert_eq!(size, content.len() as u64, "size of version {n}");
    }
    holds(
        &look.here,
        [
            "old", "large", "file 0", "file 1", "file 2", "file 3", "file 4",
        ],
    );
    arrives(place, &look);
}

fn versions_come_in_their_order(place: &Place) {
    let look = mounted(place);
    let name = look.here.join("file");
    for n in 0..30u8 {
        put(&name, &bytes(n.into(), 30_000 - 1_000 * usize::from(n)));
    }
    let last = bytes(29, 1_000);
    has(&name, &last);
    arrives(place, &look);
    has(&place.there.join("file"), &last);
}

fn renamed_before_it_is_stored(place: &Place) {
    let look = mounted(place);
    let at = |name: &str| look.here.join(name);
    put(&at("new"), &bytes(5, 5_000));
    fs::rename(at("new"), at("renamed")).or_fail("rename");
    has(&place.there.join("renamed"), &bytes(5, 5_000));
    put(&at("over"), &bytes(6, 6_000));
    fs::rename(at("over"), at("old")).or_fail("rename over a file");
    put(&at("victim"), b"never needed");
    put(&at("winner"), &bytes(7, 7_000));
    fs::rename(at("winner"), at("victim")).or_fail("rename over what is closed");
    for (name, seed, size) in [
        ("renamed", 5, 5_000),
        ("old", 6, 6_000),
        ("victim", 7, 7_000),
    ] {
        has(&at(name), &bytes(seed, size));
    }
    holds(&look.here, ["renamed", "old", "victim", "large"]);
    arrives(place, &look);
}

fn deleted_before_it_is_stored(place: &Place) {
    let look = mounted(place);
    let at = |name: &str| look.here.join(name);
    for name in ["new", "old"] {
        put(&at(name), &bytes(8, 8_000));
        fs::remove_file(at(name)).or_fail("unlink");
        absent(&at(name));
    }
    put(&at("again"), &bytes(8, 8_000));
    fs::remove_file(at("again")).or_fail("unlink");
    put(&at("again"), &bytes(9, 9_000));
    fs::create_dir(at("folder")).or_fail("mkdir");
    put(&at("folder/file"), b"in the way");
    fs::remove_file(at("folder/file")).or_fail("unlink");
    fs::remove_dir(at("folder")).or_fail("rmdir");
    holds(&look.here, ["again", "large"]);
    arrives(place, &look);
}

fn cut_before_it_is_stored(place: &Place) {
    let look = mounted(place);
    let name = look.here.join("file");
    let content = bytes(3, 300_000);
    put(&name, &content);
    nix::unistd::truncate(&name, 1_234).or_fail("truncate");
    has(&place.there.join("file"), &content[..1_234]);
    has(&name, &content[..1_234]);
    put(&name, &content);
    let file = OpenOptions::new().write(true).open(&name).or_fail("open");
    file.set_len(200_001).or_fail("ftruncate");
    drop(file);
    has(&name, &content[..200_001]);
    arrives(place, &look);
}

fn mode_and_time_follow(place: &Place) {
    let look = mounted(place);
    let name = look.here.join("script");
    put(&name, b"#!/bin/sh\n");
    fs::set_permissions(&name, fs::Permissions::from_mode(0o755)).or_fail("chmod");
    let file = OpenOptions::new().write(true).open(&name).or_fail("open");
    file.set_modified(some_day(1)).or_fail("utimes");
    drop(file);
    eventually("mode and time are on the server", SOON, || {
        let there = fs::metadata(place.there.join("script")).map_err(|e| e.to_string())?;
        let (mode, time) = (there.mode() & 0o777, there.modified().or_fail("its time"));
        let right = (!place.facts.modes || mode == 0o755)
            && (!place.facts.file_times || time == some_day(1));
        holding(right, || format!("{mode:o}, {time:?}"))
    });
    arrives(place, &look);
}

fn edits_and_appends_arrive(place: &Place) {
    let look = mounted(place);
    let large = look.here.join("large");
    let mut expected = bytes(2, 3_000_000);
    for n in 0..5usize {
        let file = OpenOptions::new().write(true).open(&large).or_fail("open");
        file.write_all_at(b"changed", 100_000 * n as u64 + 1)
            .or_fail("write");
        drop(file);
        expected[100_000 * n + 1..100_000 * n + 8].copy_from_slice(b"changed");
        let mut file = OpenOptions::new().append(true).open(&large).or_fail("open");
        file.write_all(&bytes(n as u64, 1_000)).or_fail("append");
        drop(file);
        expected.extend_from_slice(&bytes(n as u64, 1_000));
    }
    has(&large, &expected);
    arrives(place, &look);
    has(&place.there.join("large"), &expected);
}

fn one_connection_is_enough(place: &Place) {
    let look = place.mount(&["writeback", "max_conns=1"]);
    make_tree(&look.here.join("tree"));
    has(&look.here.join("large"), &bytes(2, 3_000_000));
    arrives(place, &look);
}

fn every_policy_writes_back(place: &Place) {
    for policy in ["upload=auto", "upload=atomic", "upload=inplace"] {
        let look = place.mount(&["writeback", policy]);
        make_tree(&look.here.join(policy));
        put(&look.here.join("old"), &bytes(4, 44_000));
        arrives(place, &look);
    }
}

fn fsync_is_on_the_server(place: &Place) {
    let look = mounted(place);
    let mut file = File::create(look.here.join("file")).or_fail("create");
    file.write_all(&bytes(3, 50_000)).or_fail("write");
    file.sync_all().or_fail("fsync");
    has(&place.there.join("file"), &bytes(3, 50_000));
}
