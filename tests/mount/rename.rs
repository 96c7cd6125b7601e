//! Renaming files and folders.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::case::{ATOMIC, NO_CACHE, ONE_CONNECTION};
use crate::check::{OrFail, eventually, fails, fails_one_of, holding, holds, names, same_bytes};
use crate::files::{absent, append, bytes, close, has, put, rest};
use crate::place::Place;
use crate::shell::sh;
use crate::tree::{plant, same_trees};

cases! {
    a_file_gets_a_new_name.smoke().also(&[NO_CACHE, ONE_CONNECTION]),
    a_file_replaces_another.smoke().also(&[NO_CACHE]),
    a_file_moves_to_another_folder.smoke(),
    noreplace_leaves_what_is_there.seeded(seed_two).smoke().also(&[NO_CACHE]),
    noreplace_moves_to_a_free_name.smoke(),
    a_folder_gets_a_new_name_with_all_in_it.seeded(seed_tree).smoke().also(&[NO_CACHE]),
    a_folder_replaces_an_empty_folder.smoke(),
    a_full_folder_is_not_replaced.smoke(),
    kinds_do_not_replace_each_other.smoke(),
    a_folder_does_not_move_into_itself.smoke(),
    renaming_to_itself_changes_nothing.smoke(),
    mv_moves_files_and_folders.smoke(),
    a_file_keeps_its_inode.smoke(),
    an_open_file_is_renamed_while_written.smoke().also(&[ATOMIC]),
    an_open_file_is_renamed_while_read.seeded(seed_two).smoke(),
    a_folder_is_renamed_while_a_file_in_it_is_written.smoke(),
    a_folder_is_renamed_while_a_file_in_it_is_replaced.smoke().also(&[ATOMIC, ONE_CONNECTION]),
    a_replaced_file_stays_readable_where_it_is_open.smoke(),
    names_are_swapped_through_a_third.smoke(),
    save_by_rename_over.smoke().also(&[NO_CACHE, ATOMIC]),
}

fn seed_two(dir: &Path) {
    put(&dir.join("one"), &bytes(1, 300_000));
    put(&dir.join("two"), &bytes(2, 2000));
}

fn seed_tree(dir: &Path) {
    fs::create_dir(dir.join("old")).or_fail("mkdir");
    plant(&dir.join("old"), 40, 31);
}

fn noreplace(from: &Path, to: &Path) -> std::io::Result<()> {
    renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE).map_err(Into::into)
}

fn a_file_gets_a_new_name(place: &Place) {
    let (old, new) = (place.here.join("old"), place.here.join("new"));
    put(&old, b"content");
    fs::rename(&old, &new).or_fail("rename");
    absent(&old);
    has(&new, b"content");
    holds(&place.there, ["new"]);
    has(&place.there.join("new"), b"content");
    fs::rename(&new, &old).or_fail("rename back");
    holds(&place.here, ["old"]);
    append(&old, b" and more");
    has(&place.there.join("old"), b"content and more");
}

fn a_file_replaces_another(place: &Place) {
    let (one, two) = (place.here.join("one"), place.here.join("two"));
    for (first, second) in [
        (10, 5000),
        (5000, 10),
        (100, 0),
        (0, 100),
        (200_000, 300_000),
    ] {
        put(&one, &bytes(1, first));
        put(&two, &bytes(2, second));
        has(&two, &bytes(2, second));
        fs::rename(&one, &two).or_fail("rename over an existing file");
        absent(&one);
        has(&two, &bytes(1, first));
        holds(&place.there, ["two"]);
        has(&place.there.join("two"), &bytes(1, first));
        fs::remove_file(&two).or_fail("unlink");
    }
}

fn a_file_moves_to_another_folder(place: &Place) {
    fs::create_dir_all(place.here.join("a/b")).or_fail("mkdir");
    put(&place.here.join("file"), b"travels");
    for (from, to) in [
        ("file", "a/file"),
        ("a/file", "a/b/other"),
        ("a/b/other", "file"),
    ] {
        fs::rename(place.here.join(from), place.here.join(to)).or_fail("rename");
        absent(&place.here.join(from));
        has(&place.here.join(to), b"travels");
        absent(&place.there.join(from));
        has(&place.there.join(to), b"travels");
    }
}

fn noreplace_leaves_what_is_there(place: &Place) {
    let (one, two) = (place.here.join("one"), place.here.join("two"));
    fails("RENAME_NOREPLACE", noreplace(&one, &two), Errno::EEXIST);
    put(&place.here.join("own"), b"own");
    fails(
        "onto an own file",
        noreplace(&one, &place.here.join("own")),
        Errno::EEXIST,
    );
    sh(&place.here, "mv -n own two 2>&1 || true");
    has(&place.there.join("one"), &bytes(1, 300_000));
    has(&place.there.join("two"), &bytes(2, 2000));
    has(&place.there.join("own"), b"own");
}

fn noreplace_moves_to_a_free_name(place: &Place) {
    put(&place.here.join("one"), b"one");
    noreplace(&place.here.join("one"), &place.here.join("two")).or_fail("RENAME_NOREPLACE");
    holds(&place.there, ["two"]);
    has(&place.there.join("two"), b"one");
    sh(&place.here, "mv -n two three");
    holds(&place.here, ["three"]);
}

fn a_folder_gets_a_new_name_with_all_in_it(place: &Place) {
    let (old, new) = (place.here.join("old"), place.here.join("new name"));
    sh(&place.here, "find old > /dev/null");
    put(&old.join("own"), b"own");
    fs::rename(&old, &new).or_fail("rename");
    absent(&old);
    holds(&place.there, ["new name"]);
    has(&new.join("own"), b"own");
    same_trees(&new, &place.there.join("new name"), place.facts.modes);
    put(&new.join("later"), b"later");
    has(&place.there.join("new name/later"), b"later");
    fails("the old path", fs::metadata(old.join("own")), Errno::ENOENT);
    fs::create_dir(place.here.join("above")).or_fail("mkdir");
    fs::rename(&new, place.here.join("above/below")).or_fail("rename into another folder");
    has(&place.there.join("above/below/own"), b"own");
    has(&place.here.join("above/below/own"), b"own");
}

fn a_folder_replaces_an_empty_folder(place: &Place) {
    fs::create_dir(place.here.join("one")).or_fail("mkdir");
    fs::create_dir(place.here.join("two")).or_fail("mkdir");
    put(&place.here.join("one/file"), b"x");
    fs::rename(place.here.join("one"), place.here.join("two")).or_fail("rename");
    holds(&place.there, ["two"]);
    has(&place.there.join("two/file"), b"x");
    holds(&place.here.join("two"), ["file"]);
}

fn a_full_folder_is_not_replaced(place: &Place) {
    sh(&place.here, "mkdir one two; echo 1 > one/f; echo 2 > two/f");
    let result = fs::rename(place.here.join("one"), place.here.join("two"));
    fails_one_of(
        "rename over a full folder",
        result,
        &[Errno::ENOTEMPTY, Errno::EEXIST],
    );
    has(&place.there.join("one/f"), b"1\n");
    has(&place.there.join("two/f"), b"2\n");
}

fn kinds_do_not_replace_each_other(place: &Place) {
    let (file, folder) = (place.here.join("file"), place.here.join("folder"));
    put(&file, b"x");
    fs::create_dir(&folder).or_fail("mkdir");
    fails(
        "a file over a folder",
        fs::rename(&file, &folder),
        Errno::EISDIR,
    );
    fails(
        "a folder over a file",
        fs::rename(&folder, &file),
        Errno::ENOTDIR,
    );
    holds(&place.there, ["file", "folder"]);
    has(&place.there.join("file"), b"x");
}

fn a_folder_does_not_move_into_itself(place: &Place) {
    fs::create_dir_all(place.here.join("a/b")).or_fail("mkdir");
    let (outer, inner) = (place.here.join("a"), place.here.join("a/b"));
    fails(
        "into its own subfolder",
        fs::rename(&outer, inner.join("c")),
        Errno::EINVAL,
    );
    let result = fs::rename(&inner, &outer);
    fails_one_of(
        "over its own parent",
        result,
        &[Errno::ENOTEMPTY, Errno::EEXIST],
    );
    assert!(place.there.join("a/b").is_dir(), "nothing has moved");
}

fn renaming_to_itself_changes_nothing(place: &Place) {
    let path = place.here.join("file");
    put(&path, b"x");
    fs::rename(&path, &path).or_fail("rename to itself");
    fails(
        "NOREPLACE to itself",
        noreplace(&path, &path),
        Errno::EEXIST,
    );
    has(&place.there.join("file"), b"x");
}

fn mv_moves_files_and_folders(place: &Place) {
    sh(
        &place.here,
        "mkdir from to; echo 1 > from/1; echo 2 > from/2; mkdir from/sub; echo 3 > from/sub/3;
         mv from/1 from/2 from/sub to; rmdir from; mv to done; mv done/sub/3 .; echo x > y; mv -f y 3",
    );
    holds(&place.there, ["3", "done"]);
    holds(&place.there.join("done"), ["1", "2", "sub"]);
    has(&place.there.join("3"), b"x\n");
}

fn a_file_keeps_its_inode(place: &Place) {
    let (one, two) = (place.here.join("one"), place.here.join("two"));
    put(&one, b"x");
    let before = fs::metadata(&one).or_fail("stat").ino();
    fs::rename(&one, &two).or_fail("rename");
    assert_eq!(
        fs::metadata(&two).or_fail("stat").ino(),
        before,
        "inode after rename"
    );
    fs::create_dir(place.here.join("folder")).or_fail("mkdir");
    fs::rename(&two, place.here.join("folder/three")).or_fail("rename");
    let after = fs::metadata(place.here.join("folder/three"))
        .or_fail("stat")
        .ino();
    assert_eq!(after, before, "inode after a move");
}

fn an_open_file_is_renamed_while_written(place: &Place) {
    let (old, new) = (place.here.join("old"), place.here.join("new"));
    let mut writer = File::create(&old).or_fail("open");
    writer.write_all(b"before ").or_fail("write");
    fs::rename(&old, &new).or_fail("rename");
    writer.write_all(b"after").or_fail("write");
    has(&new, b"before after");
    close(writer).or_fail("close");
    absent(&old);
    holds(&place.there, ["new"]);
    has(&place.there.join("new"), b"before after");
}

fn an_open_file_is_renamed_while_read(place: &Place) {
    use std::os::unix::fs::FileExt;
    let file = File::open(place.here.join("one")).or_fail("open");
    let mut piece = vec![0; 1000];
    file.read_exact_at(&mut piece, 0).or_fail("read");
    fs::rename(place.here.join("one"), place.here.join("moved")).or_fail("rename");
    same_bytes("the rest", &rest(&file), &bytes(1, 300_000));
    has(&place.here.join("moved"), &bytes(1, 300_000));
}

fn a_folder_is_renamed_while_a_file_in_it_is_written(place: &Place) {
    fs::create_dir(place.here.join("old")).or_fail("mkdir");
    let mut writer = File::create(place.here.join("old/file")).or_fail("open");
    writer.write_all(b"before ").or_fail("write");
    fs::rename(place.here.join("old"), place.here.join("new")).or_fail("rename");
    writer.write_all(b"after").or_fail("write");
    close(writer).or_fail("close");
    holds(&place.there, ["new"]);
    has(&place.there.join("new/file"), b"before after");
    has(&place.here.join("new/file"), b"before after");
}

/// The upload of the new content has begun beside the old one when the folder moves.
fn a_folder_is_renamed_while_a_file_in_it_is_replaced(place: &Place) {
    let (old, new) = (place.here.join("old"), bytes(2, 3_000_000));
    fs::create_dir(&old).or_fail("mkdir");
    put(&old.join("file"), &bytes(1, 5000));
    let mut writer = File::create(old.join("file")).or_fail("open");
    writer.write_all(&new[..2_000_000]).or_fail("write");
    fs::rename(&old, place.here.join("new")).or_fail("rename");
    writer.write_all(&new[2_000_000..]).or_fail("write");
    close(writer).or_fail("close");
    holds(&place.there, ["new"]);
    // Pure-FTPd says 250 to RNTO before it has removed what it put aside for it.
    eventually("the server has tidied up", Duration::from_secs(10), || {
        let found = names(&place.there.join("new"));
        holding(found.len() == 1, || format!("{found:?}"))
    });
    holds(&place.there.join("new"), ["file"]);
    has(&place.there.join("new/file"), &new);
    has(&place.here.join("new/file"), &new);
}

fn a_replaced_file_stays_readable_where_it_is_open(place: &Place) {
    let (path, temporary) = (place.here.join("file"), place.here.join("file.new"));
    put(&path, &bytes(1, 50_000));
    let reader = File::open(&path).or_fail("open");
    put(&temporary, &bytes(2, 60_000));
    fs::rename(&temporary, &path).or_fail("rename over");
    same_bytes("the open handle", &rest(&reader), &bytes(1, 50_000));
    has(&path, &bytes(2, 60_000));
    let old = reader.metadata().or_fail("fstat").ino();
    let new = fs::metadata(&path).or_fail("stat").ino();
    assert_ne!(old, new, "the replaced file has an inode of its own");
}

fn names_are_swapped_through_a_third(place: &Place) {
    sh(
        &place.here,
        "echo 1 > a; echo 2 > b; mv a t; mv b a; mv t b; mkdir x y; mv x z; mv y x; mv z y",
    );
    has(&place.there.join("a"), b"2\n");
    has(&place.there.join("b"), b"1\n");
    holds(&place.here, ["a", "b", "x", "y"]);
}

fn save_by_rename_over(place: &Place) {
    let (path, temporary) = (
        place.here.join("document"),
        place.here.join(".document.tmp"),
    );
    put(&path, b"version 0");
    for n in 1..=10 {
        let content = bytes(n, 1000 + usize::try_from(n).unwrap() * 100);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .or_fail("open the temporary file");
        file.write_all(&content).or_fail("write");
        file.sync_all().or_fail("fsync");
        close(file).or_fail("close");
        fs::rename(&temporary, &path).or_fail("rename over");
        has(&path, &content);
        has(&place.there.join("document"), &content);
    }
    holds(&place.there, ["document"]);
}
