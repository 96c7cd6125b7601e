//! Programs that move many files.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tempfile::{TempDir, tempdir};

use crate::case::{ATOMIC, NO_CACHE, ONE_CONNECTION};
use crate::check::{OrFail, holds};
use crate::files::{has, put};
use crate::place::Place;
use crate::shell::{program, sh, succeeds};
use crate::tree::{compare, plant, same_trees, snapshot};

cases! {
    cp_a_of_2000_files_in_and_out.seconds(600),
    cp_a_of_100_files_in_and_out.smoke().seconds(240).also(&[NO_CACHE, ONE_CONNECTION, ATOMIC]),
    tar_x_and_compare.smoke().seconds(240),
    tar_c_of_files_of_others.seeded(seed_tree).smoke(),
    rsync_twice_sends_nothing_the_second_time.smoke().seconds(300).also(&[NO_CACHE]),
    rsync_in_place_and_deleting.seconds(240),
    rsync_out_of_the_mount_twice.seeded(seed_tree).smoke(),
    append_loops.smoke().also(&[ONE_CONNECTION]),
    a_small_c_project_is_made.smoke().seconds(300),
    zip_like_archives_are_written.smoke(),
    a_tree_is_copied_inside_the_mount.seeded(seed_tree).smoke(),
    mv_from_another_file_system.smoke(),
    install_sets_modes.smoke(),
}

fn seed_tree(dir: &Path) {
    plant(&dir.join("."), 100, 71);
}

fn tree(files: usize, seed: u64) -> TempDir {
    let dir = tempdir().or_fail("make a folder");
    plant(dir.path(), files, seed);
    dir
}

/// Times of all files below are those of the model, to the second.
fn same_times(found: &Path, model: &Path) {
    for path in snapshot(model).into_keys() {
        let (is, should) = (
            fs::symlink_metadata(found.join(&path)).or_fail("stat"),
            fs::symlink_metadata(model.join(&path)).or_fail("stat"),
        );
        if should.is_file() {
            assert_eq!(
                is.mtime(),
                should.mtime(),
                "time of {path:?} in {}",
                found.display()
            );
        }
    }
}

fn cp_a(place: &Place, files: usize) {
    let model = tree(files, 61);
    succeeds(
        program(&place.here, "cp")
            .arg("-a")
            .arg(model.path().join("."))
            .arg("copy"),
    );
    let (here, there) = (place.here.join("copy"), place.there.join("copy"));
    same_trees(&there, model.path(), place.facts.modes);
    succeeds(
        program(&place.here, "diff")
            .arg("-r")
            .arg(model.path())
            .arg(&here),
    );
    if place.facts.file_times {
        same_times(&there, model.path());
        same_times(&here, model.path());
    }
    let fresh = place.fresh_look();
    let out = tempdir().or_fail("make a folder");
    let target = out.path().join("out");
    succeeds(
        program(&fresh.here, "cp")
            .arg("-a")
            .arg("copy")
            .arg(&target),
    );
    succeeds(
        program(out.path(), "diff")
            .arg("-r")
            .arg(model.path())
            .arg(&target),
    );
    same_trees(&target, model.path(), place.facts.modes);
    if place.facts.file_times {
        same_times(&target, model.path());
    }
}

fn cp_a_of_2000_files_in_and_out(place: &Place) {
    cp_a(place, 2000);
}

fn cp_a_of_100_files_in_and_out(place: &Place) {
    cp_a(place, 100);
}

fn tar_x_and_compare(place: &Place) {
    let model = tree(200, 62);
    let archive = tempfile::NamedTempFile::new().or_fail("make a file");
    succeeds(
        program(model.path(), "tar")
            .arg("-cf")
            .arg(archive.path())
            .arg("."),
    );
    succeeds(program(&place.here, "tar").arg("-xf").arg(archive.path()));
    same_trees(&place.there, model.path(), place.facts.modes);
    if place.facts.file_times {
        same_times(&place.there, model.path());
    }
    if place.facts.modes && place.facts.file_times {
        let told = program(&place.here, "tar")
            .arg("-df")
            .arg(archive.path())
            .output()
            .or_fail("tar -d");
        // Folders whose times the server cannot set differ, and nothing else.
        let said = String::from_utf8_lossy(&told.stdout).into_owned();
        let bad: Vec<&str> = said
            .lines()
            .filter(|line| {
                place.facts.folder_times
                    || !(line.ends_with("Mod time differs") && is_folder(place, line))
            })
            .collect();
        assert!(bad.is_empty(), "tar -d: {bad:?}");
    }
}

/// Whether `./name: Mod time differs` speaks of a folder.
fn is_folder(place: &Place, line: &str) -> bool {
    line.rsplit_once(':')
        .is_some_and(|(name, _)| place.there.join(name).is_dir())
}

fn tar_c_of_files_of_others(place: &Place) {
    let out = tempdir().or_fail("make a folder");
    let archive = out.path().join("archive");
    succeeds(
        program(&place.here, "tar")
            .arg("-cf")
            .arg(&archive)
            .arg("."),
    );
    let target = out.path().join("out");
    fs::create_dir(&target).or_fail("mkdir");
    succeeds(program(&target, "tar").arg("-xf").arg(&archive));
    same_trees(&target, &place.there, place.facts.modes);
    same_times(&target, &place.there);
}

/// rsync's own account of what it sent.
fn sent(dir: &Path, options: &[&str], from: &Path, to: &str) -> (String, Vec<String>) {
    let told = succeeds(
        program(dir, "rsync")
            .args(options)
            .args(["--stats", "--out-format=ITEM %i %n"])
            .arg(format!("{}/", from.display()))
            .arg(to),
    );
    let number = told
        .lines()
        .find_map(|line| line.strip_prefix("Number of regular files transferred: "))
        .expect("rsync --stats tells the number")
        .to_owned();
    let items = told
        .lines()
        .filter_map(|line| line.strip_prefix("ITEM "))
        .map(str::to_owned)
        .collect();
    (number, items)
}

/// What a second transfer may still say: nothing, but for what the server cannot store.
fn nothing_sent(place: &Place, what: &str, told: (String, Vec<String>)) {
    let (number, items) = told;
    assert_eq!(number, "0", "{what}: files transferred ({items:?})");
    if place.facts.modes {
        let of_files: Vec<_> = items
            .iter()
            .filter(|item| place.facts.folder_times || !item.starts_with(".d"))
            .filter(|item| place.facts.file_times || !item.starts_with(".f..t......"))
            .collect();
        assert!(of_files.is_empty(), "{what}: changes {of_files:?}");
    }
}

fn rsync_twice_sends_nothing_the_second_time(place: &Place) {
    let model = tree(200, 63);
    // Where no times can be set, a program that goes by times has to send again.
    let again: &[&str] = if place.facts.file_times {
        &["-a"]
    } else {
        &["-a", "--size-only"]
    };
    let (number, _) = sent(&place.here, &["-a"], model.path(), "copy/");
    assert_eq!(number, "200", "files transferred at first");
    same_trees(&place.there.join("copy"), model.path(), place.facts.modes);
    nothing_sent(
        place,
        "at once",
        sent(&place.here, again, model.path(), "copy/"),
    );
    let fresh = place.fresh_look();
    nothing_sent(
        place,
        "through a new mount",
        sent(&fresh.here, again, model.path(), "copy/"),
    );
    let changed = model.path().join("file-0.txt");
    put(&changed, b"changed, and of another size");
    let (number, _) = sent(&place.here, again, model.path(), "copy/");
    assert_eq!(number, "1", "files transferred after one was changed");
    has(
        &place.there.join("copy/file-0.txt"),
        b"changed, and of another size",
    );
}

fn rsync_in_place_and_deleting(place: &Place) {
    let model = tree(60, 64);
    put(&model.path().join("file-0.txt"), b"short");
    sent(&place.here, &["-a"], model.path(), "copy/");
    put(&model.path().join("file-0.txt"), b"no longer so short");
    fs::remove_file(model.path().join("file-0.txt")).or_fail("unlink");
    put(&model.path().join("new"), b"new");
    sent(
        &place.here,
        &["-a", "--delete", "--inplace", "--no-whole-file"],
        model.path(),
        "copy/",
    );
    same_trees(&place.there.join("copy"), model.path(), place.facts.modes);
    sent(
        &place.here,
        &["-rc", "--delete-before", "--append-verify"],
        model.path(),
        "copy/",
    );
    same_trees(&place.there.join("copy"), model.path(), place.facts.modes);
}

fn rsync_out_of_the_mount_twice(place: &Place) {
    let out = tempdir().or_fail("make a folder");
    let to = format!("{}/", out.path().display());
    let (number, _) = sent(&place.here, &["-a"], &place.here, &to);
    assert_eq!(number, "100", "files transferred at first");
    same_trees(out.path(), &place.there, place.facts.modes);
    let (number, items) = sent(&place.here, &["-a"], &place.here, &to);
    assert_eq!(number, "0", "files transferred again: {items:?}");
}

fn append_loops(place: &Place) {
    sh(
        &place.here,
        "n=0; while [ $n -lt 100 ]; do echo \"line $n\" >> log; n=$((n + 1)); done; \
         exec 4>> log; n=0; while [ $n -lt 100 ]; do echo \"open $n\" >&4; n=$((n + 1)); done; exec 4>&-",
    );
    let mut expected: String = (0..100).map(|n| format!("line {n}\n")).collect();
    expected.extend((0..100).map(|n| format!("open {n}\n")));
    has(&place.there.join("log"), expected.as_bytes());
    sh(
        &place.here,
        "for n in 1 2 3 4 5 6; do (for m in 1 2 3 4 5; do echo $n.$m >> each.$n; done) & done; wait",
    );
    for n in 1..=6 {
        let expected: String = (1..=5).map(|m| format!("{n}.{m}\n")).collect();
        has(&place.there.join(format!("each.{n}")), expected.as_bytes());
    }
}

const MAKEFILE: &str = "\
CFLAGS = -O1 -I.
OBJECTS = main.o util.o deep/part.o
program: $(OBJECTS)
\t$(CC) -o $@ $(OBJECTS)
%.o: %.c util.h
\t$(CC) $(CFLAGS) -c -o $@ $<
lib.a: util.o deep/part.o
\t$(AR) rcs $@ $^
clean:
\trm -f program lib.a $(OBJECTS)
";

fn a_small_c_project_is_made(place: &Place) {
    fs::create_dir(place.here.join("deep")).or_fail("mkdir");
    let write = |name: &str, text: &str| put(&place.here.join(name), text.as_bytes());
    write("Makefile", MAKEFILE);
    write(
        "util.h",
        "#define VALUE 40\nint twice(int);\nint part(void);\n",
    );
    write(
        "util.c",
        "#include \"util.h\"\nint twice(int n) { return 2 * n; }\n",
    );
    write(
        "deep/part.c",
        "#include \"util.h\"\nint part(void) { return VALUE; }\n",
    );
    write(
        "main.c",
        "#include <stdio.h>\n#include \"util.h\"\nint main(void) { printf(\"%d\\n\", twice(part()) + 4); return 0; }\n",
    );
    let run = if place.facts.modes {
        "./program"
    } else {
        "cp program /tmp/p.$$; chmod 755 /tmp/p.$$; /tmp/p.$$; rm /tmp/p.$$"
    };
    assert_eq!(
        sh(&place.here, &format!("make > /dev/null; {run}")),
        "84\n",
        "what it prints"
    );
    let again = sh(&place.here, "make");
    assert!(again.contains("is up to date"), "make again: {again}");
    // The header has to be newer by a whole second: that is what FTP can tell.
    sh(
        &place.here,
        "make lib.a > /dev/null; ar t lib.a | grep -q util.o; sed -i 's/40/41/' util.h; touch -d '+2 seconds' util.h",
    );
    if place.facts.file_times {
        let told = sh(&place.here, "make");
        assert_eq!(
            told.matches(" -c ").count(),
            3,
            "objects made again: {told}"
        );
        assert_eq!(sh(&place.here, run), "86\n", "what it prints then");
    }
    sh(&place.here, "make clean > /dev/null");
    holds(
        &place.there,
        ["Makefile", "util.h", "util.c", "main.c", "deep"],
    );
    holds(&place.there.join("deep"), ["part.c"]);
}

/// `ar` and `gzip` write their archives with seeks back to headers.
fn zip_like_archives_are_written(place: &Place) {
    sh(
        &place.here,
        "seq 1 5000 > a; seq 5001 9000 > b; ar rc c.a a b; ar r c.a a; gzip -k a; gzip -c b > b.gz; tar -czf d.tgz a b; tar -rf e.tar a; tar -rf e.tar b",
    );
    for script in [
        "ar p c.a b | cksum",
        "gzip -dc a.gz b.gz | cksum",
        "tar -xzOf d.tgz | cksum",
        "tar -xOf e.tar | cksum",
    ] {
        assert_eq!(
            sh(&place.here, script),
            sh(&place.there, script),
            "{script}"
        );
    }
    assert_eq!(
        sh(&place.there, "gzip -dc a.gz b.gz | tail -n 1"),
        "9000\n",
        "the last line"
    );
}

fn a_tree_is_copied_inside_the_mount(place: &Place) {
    let before = snapshot(&place.there).len();
    sh(
        &place.here,
        "mkdir ../copy-of-$$; cp -a . ../copy-of-$$/; mv ../copy-of-$$ copy; diff -r -x copy . copy",
    );
    let copied = snapshot(&place.there.join("copy")).len();
    assert_eq!(copied, before, "names in the copy");
    sh(&place.here, "rm -r copy");
    assert_eq!(snapshot(&place.there).len(), before, "names afterwards");
}

fn mv_from_another_file_system(place: &Place) {
    let model = tree(30, 65);
    let away = tree(30, 65);
    sh(
        &place.here,
        &format!("mv '{}' moved", away.path().display()),
    );
    compare(&place.there.join("moved"), model.path(), place.facts.modes)
        .or_fail("what was moved in");
    let out = tempdir().or_fail("make a folder");
    sh(
        &place.here,
        &format!("mv moved '{}/back'", out.path().display()),
    );
    same_trees(&out.path().join("back"), model.path(), place.facts.modes);
    holds::<&str>(&place.there, []);
    // The folder has gone by `mv`.
    _ = away.keep();
}

fn install_sets_modes(place: &Place) {
    sh(
        &place.here,
        "echo text > file; install -d bin; install -m 755 file bin/program; install -m 600 file secret; install -D -m 644 file a/b/c",
    );
    for name in ["bin/program", "secret", "a/b/c"] {
        has(&place.there.join(name), b"text\n");
    }
    if place.facts.modes {
        let modes = sh(&place.there, "stat -c %a bin/program secret a/b/c");
        assert_eq!(modes, "755\n600\n644\n", "modes on the server");
    }
}
