//! Making and removing names, and what is refused.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, mknod};

use crate::case::{ATOMIC, NO_CACHE, ONE_CONNECTION};
use crate::check::{OrFail, fails, fails_one_of, holds};
use crate::files::{absent, bytes, close, has, put};
use crate::place::Place;
use crate::shell::{sh, sh_fails};
use crate::tree::plant;

cases! {
    folders_are_made_and_removed.smoke().also(&[NO_CACHE, ONE_CONNECTION]),
    mkdir_p_and_rm_r.smoke().also(&[NO_CACHE]),
    rm_r_of_a_tree_that_others_made.seeded(seed_tree).smoke().also(&[ONE_CONNECTION]),
    a_full_folder_is_not_removed.seeded(seed_full).smoke().also(&[NO_CACHE]),
    files_are_removed.smoke().also(&[NO_CACHE]),
    the_wrong_kind_is_refused.smoke(),
    an_existing_name_is_not_made_again.seeded(seed_full).smoke().also(&[NO_CACHE]),
    an_absent_name_is_not_removed.smoke().also(&[NO_CACHE]),
    too_long_names_are_refused.smoke(),
    an_exclusive_file_is_made_once.smoke(),
    a_removed_name_can_be_made_again.smoke().also(&[ATOMIC]),
    a_file_becomes_a_folder_and_back.smoke(),
    many_folders_are_made_in_one.smoke(),
    mknod_makes_an_empty_file.smoke(),
    deep_folders_work.smoke().also(&[ONE_CONNECTION]),
    very_long_paths_work.seconds(180),
}

fn seed_tree(dir: &Path) {
    plant(&dir.join("."), 40, 21);
}

fn seed_full(dir: &Path) {
    fs::create_dir(dir.join("folder")).or_fail("mkdir");
    put(&dir.join("folder/file"), b"content");
}

fn folders_are_made_and_removed(place: &Place) {
    for name in ["one", "two", "three"] {
        fs::create_dir(place.here.join(name)).or_fail("mkdir");
        assert!(
            place.there.join(name).is_dir(),
            "{name} is a folder on the server"
        );
        holds::<&str>(&place.here.join(name), []);
    }
    put(&place.here.join("one/file"), b"x");
    fs::create_dir(place.here.join("one/inner")).or_fail("mkdir");
    has(&place.there.join("one/file"), b"x");
    holds(&place.here.join("one"), ["file", "inner"]);
    fs::remove_file(place.here.join("one/file")).or_fail("unlink");
    fs::remove_dir(place.here.join("one/inner")).or_fail("rmdir");
    fs::remove_dir(place.here.join("one")).or_fail("rmdir");
    absent(&place.here.join("one"));
    absent(&place.there.join("one"));
    holds(&place.here, ["two", "three"]);
    holds(&place.there, ["two", "three"]);
}

fn mkdir_p_and_rm_r(place: &Place) {
    sh(
        &place.here,
        "mkdir -p a/b/c/d a/b/e; touch a/1 a/b/2 a/b/c/3 a/b/c/d/4; ls -R",
    );
    assert!(
        place.there.join("a/b/c/d/4").is_file(),
        "the deepest file on the server"
    );
    sh(&place.here, "rm -r a/b/c; test ! -e a/b/c; test -e a/b/2");
    absent(&place.there.join("a/b/c"));
    sh(&place.here, "rm -r a");
    holds::<&str>(&place.there, []);
    holds::<&str>(&place.here, []);
}

fn rm_r_of_a_tree_that_others_made(place: &Place) {
    sh(&place.here, "rm -r ./*");
    holds::<&str>(&place.there, []);
    holds::<&str>(&place.here, []);
}

fn a_full_folder_is_not_removed(place: &Place) {
    let folder = place.here.join("folder");
    fails(
        "rmdir of a full folder",
        fs::remove_dir(&folder),
        Errno::ENOTEMPTY,
    );
    has(&place.there.join("folder/file"), b"content");
    put(&place.here.join("folder/own"), b"own");
    fs::remove_file(place.here.join("folder/file")).or_fail("unlink");
    fails(
        "rmdir of a full folder",
        fs::remove_dir(&folder),
        Errno::ENOTEMPTY,
    );
    fs::remove_file(place.here.join("folder/own")).or_fail("unlink");
    fs::remove_dir(&folder).or_fail("rmdir of an emptied folder");
    absent(&place.there.join("folder"));
}

fn files_are_removed(place: &Place) {
    for n in 0..5 {
        let path = place.here.join(format!("file{n}"));
        put(&path, &bytes(n, 100));
        fs::remove_file(&path).or_fail("unlink");
        absent(&path);
        absent(&place.there.join(format!("file{n}")));
        fails("read what is gone", fs::read(&path), Errno::ENOENT);
    }
    holds::<&str>(&place.here, []);
}

fn the_wrong_kind_is_refused(place: &Place) {
    let (file, folder) = (place.here.join("file"), place.here.join("folder"));
    put(&file, b"x");
    fs::create_dir(&folder).or_fail("mkdir");
    fails("rmdir of a file", fs::remove_dir(&file), Errno::ENOTDIR);
    fails(
        "unlink of a folder",
        fs::remove_file(&folder),
        Errno::EISDIR,
    );
    fails(
        "open a folder for writing",
        OpenOptions::new().write(true).open(&folder),
        Errno::EISDIR,
    );
    fails("create over a folder", File::create(&folder), Errno::EISDIR);
    fails(
        "create below a file",
        File::create(file.join("x")),
        Errno::ENOTDIR,
    );
    fails(
        "mkdir below a file",
        fs::create_dir(file.join("x")),
        Errno::ENOTDIR,
    );
    fails(
        "unlink below a file",
        fs::remove_file(file.join("x")),
        Errno::ENOTDIR,
    );
    fails("truncate a folder", truncate(&folder, 0), Errno::EISDIR);
    has(&place.there.join("file"), b"x");
    assert!(place.there.join("folder").is_dir(), "the folder is there");
}

fn truncate(path: &Path, len: i64) -> std::io::Result<()> {
    nix::unistd::truncate(path, len).map_err(Into::into)
}

fn an_existing_name_is_not_made_again(place: &Place) {
    fails(
        "mkdir over a folder",
        fs::create_dir(place.here.join("folder")),
        Errno::EEXIST,
    );
    fails(
        "mkdir over a file",
        fs::create_dir(place.here.join("folder/file")),
        Errno::EEXIST,
    );
    fails(
        "O_EXCL on a file",
        File::create_new(place.here.join("folder/file")),
        Errno::EEXIST,
    );
    fails(
        "O_EXCL on a folder",
        File::create_new(place.here.join("folder")),
        Errno::EEXIST,
    );
    has(&place.there.join("folder/file"), b"content");
    let said = sh_fails(&place.here, "mkdir folder");
    assert!(said.contains("File exists"), "mkdir says: {said}");
}

fn an_absent_name_is_not_removed(place: &Place) {
    let path = place.here.join("absent");
    fails("unlink", fs::remove_file(&path), Errno::ENOENT);
    fails("rmdir", fs::remove_dir(&path), Errno::ENOENT);
    fails(
        "rename",
        fs::rename(&path, place.here.join("new")),
        Errno::ENOENT,
    );
    fails("open", File::open(&path), Errno::ENOENT);
    fails("truncate", truncate(&path, 0), Errno::ENOENT);
    fails("create below", File::create(path.join("x")), Errno::ENOENT);
    fails("mkdir below", fs::create_dir(path.join("x")), Errno::ENOENT);
    sh(&place.here, "rm -f absent; test ! -e absent");
}

fn too_long_names_are_refused(place: &Place) {
    let path = place.here.join("n".repeat(256));
    fails("stat", fs::metadata(&path), Errno::ENAMETOOLONG);
    fails("create", File::create(&path), Errno::ENAMETOOLONG);
    fails("mkdir", fs::create_dir(&path), Errno::ENAMETOOLONG);
    put(&place.here.join("file"), b"x");
    fails(
        "rename",
        fs::rename(place.here.join("file"), &path),
        Errno::ENAMETOOLONG,
    );
    holds(&place.there, ["file"]);
}

fn an_exclusive_file_is_made_once(place: &Place) {
    let path = place.here.join("lock");
    let first = File::create_new(&path).or_fail("make it");
    fails(
        "make it again while open",
        File::create_new(&path),
        Errno::EEXIST,
    );
    close(first).or_fail("close");
    fails("make it again", File::create_new(&path), Errno::EEXIST);
    fs::remove_file(&path).or_fail("unlink");
    close(File::create_new(&path).or_fail("make it after the removal")).or_fail("close");
    has(&place.there.join("lock"), b"");
    sh(&place.here, "set -C; echo x > other; ! (echo y > other)");
    has(&place.there.join("other"), b"x\n");
}

fn a_removed_name_can_be_made_again(place: &Place) {
    let path = place.here.join("file");
    for n in 0..5 {
        put(&path, &bytes(n, 5000));
        has(&path, &bytes(n, 5000));
        has(&place.there.join("file"), &bytes(n, 5000));
        fs::remove_file(&path).or_fail("unlink");
    }
    let folder = place.here.join("folder");
    for n in 0..3 {
        fs::create_dir(&folder).or_fail("mkdir");
        holds::<&str>(&folder, []);
        put(&folder.join(format!("{n}")), b"x");
        holds(&folder, [n.to_string()]);
        fs::remove_dir_all(&folder).or_fail("rm -r");
    }
    holds::<&str>(&place.there, []);
}

fn a_file_becomes_a_folder_and_back(place: &Place) {
    let path = place.here.join("name");
    for _ in 0..3 {
        put(&path, b"a file");
        assert!(
            fs::metadata(&path).or_fail("stat").is_file(),
            "it is a file"
        );
        fs::remove_file(&path).or_fail("unlink");
        fs::create_dir(&path).or_fail("mkdir");
        put(&path.join("inner"), b"inner");
        assert!(
            place.there.join("name/inner").is_file(),
            "it is a folder on the server"
        );
        fs::remove_dir_all(&path).or_fail("rm -r");
    }
    absent(&place.there.join("name"));
}

fn many_folders_are_made_in_one(place: &Place) {
    let names: Vec<String> = (0..100).map(|n| format!("folder{n}")).collect();
    for name in &names {
        fs::create_dir(place.here.join(name)).or_fail("mkdir");
    }
    holds(&place.here, &names);
    holds(&place.there, &names);
    for name in &names {
        fs::remove_dir(place.here.join(name)).or_fail("rmdir");
    }
    holds::<&str>(&place.there, []);
}

fn mknod_makes_an_empty_file(place: &Place) {
    let path = place.here.join("node");
    mknod(&path, SFlag::S_IFREG, Mode::from_bits_truncate(0o644), 0).or_fail("mknod");
    has(&place.there.join("node"), b"");
    assert!(
        fs::metadata(&path).or_fail("stat").is_file(),
        "it is a file"
    );
    let again = mknod(&path, SFlag::S_IFREG, Mode::from_bits_truncate(0o644), 0);
    fails("mknod again", again.map_err(Into::into), Errno::EEXIST);
    put(&path, b"content");
    has(&place.there.join("node"), b"content");
}

fn deep_folders_work(place: &Place) {
    let mut path = PathBuf::new();
    for depth in 0..30 {
        path.push(format!("level {depth}"));
        fs::create_dir(place.here.join(&path)).or_fail("mkdir");
        put(
            &place.here.join(&path).join("file"),
            format!("at {depth}").as_bytes(),
        );
    }
    has(&place.there.join(&path).join("file"), b"at 29");
    let files = sh(&place.here, "find . -name file | wc -l");
    assert_eq!(files.trim(), "30", "files that find finds");
    let fresh = place.fresh_look();
    has(&fresh.here.join(&path).join("file"), b"at 29");
    sh(&place.here, "rm -r 'level 0'");
    holds::<&str>(&place.there, []);
}

/// Paths longer than the 500 bytes that a command may safely hold: up to 2,400 bytes.
fn very_long_paths_work(place: &Place) {
    let mut path = PathBuf::new();
    for depth in 0..12 {
        let letter = char::from(b'a' + depth);
        path.push(OsStr::from_bytes(letter.to_string().repeat(200).as_bytes()));
        let here = place.here.join(&path);
        fs::create_dir(&here).or_fail(&format!("mkdir at depth {depth}"));
        put(&here.join("file"), &bytes(depth.into(), 3000));
        has(&here.join("file"), &bytes(depth.into(), 3000));
        has(
            &place.there.join(&path).join("file"),
            &bytes(depth.into(), 3000),
        );
    }
    let here = place.here.join(&path);
    put(&here.join("file"), b"replaced");
    fs::rename(here.join("file"), here.join("renamed")).or_fail("rename");
    fs::create_dir(here.join("empty")).or_fail("mkdir");
    fs::remove_dir(here.join("empty")).or_fail("rmdir");
    holds(&place.there.join(&path), ["renamed"]);
    has(&place.there.join(&path).join("renamed"), b"replaced");
    let fresh = place.fresh_look();
    holds(&fresh.here.join(&path), ["renamed"]);
    has(&fresh.here.join(&path).join("renamed"), b"replaced");
    sh(&place.here, "rm -r aaa*");
    holds::<&str>(&place.there, []);
    let beyond = place.here.join(format!("{}/x", "p".repeat(250)).repeat(17));
    fails_one_of(
        "a path over 4096 bytes",
        fs::metadata(&beyond),
        &[Errno::ENAMETOOLONG],
    );
}
