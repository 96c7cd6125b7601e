//! What the server refuses is refused at the call that asked for it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use crate::case::{ATOMIC, IN_PLACE, NO_CACHE};
use crate::check::{OrFail, eventually, fails, fails_one_of, holding, holds, same_bytes};
use crate::files::{absent, close, get, has, put, try_put};
use crate::place::Place;
use crate::shell::{sh, sh_fails};
use crate::tree::some_day;

cases! {
    the_server_runs_as_a_plain_user.smoke().mounts_only(),
    a_new_file_is_refused_at_open.seeded(seed_closed).smoke().mounts_only().also(&[NO_CACHE, ATOMIC, IN_PLACE]),
    echo_into_a_closed_folder_says_permission_denied.seeded(seed_closed).smoke().mounts_only(),
    folders_and_names_in_a_closed_folder_are_refused.seeded(seed_closed).smoke().mounts_only(),
    a_file_in_a_closed_folder_can_be_changed.seeded(seed_closed).smoke().mounts_only(),
    a_readonly_file_is_not_replaced.seeded(seed_readonly).smoke().mounts_only(),
    an_unreadable_file_gives_no_bytes.seeded(seed_unreadable).smoke().mounts_only().uncompared(),
    an_unreadable_folder_is_not_empty.seeded(seed_unreadable).smoke().mounts_only().uncompared(),
    somebody_elses_mode_cannot_be_set.smoke().mounts_only().uncompared(),
    somebody_elses_times_cannot_be_set.smoke().mounts_only(),
    a_failed_create_leaves_no_name.seeded(seed_closed).smoke().mounts_only(),
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).or_fail("chmod on the server");
}

fn seed_closed(dir: &Path) {
    let closed = dir.join("closed");
    fs::create_dir(&closed).or_fail("mkdir");
    put(&closed.join("file"), b"content");
    mode(&closed.join("file"), 0o644);
    fs::create_dir(closed.join("folder")).or_fail("mkdir");
    mode(&closed, 0o555);
}

fn seed_readonly(dir: &Path) {
    put(&dir.join("file"), b"content");
    mode(&dir.join("file"), 0o444);
}

fn seed_unreadable(dir: &Path) {
    put(&dir.join("file"), b"secret");
    mode(&dir.join("file"), 0);
    fs::create_dir(dir.join("folder")).or_fail("mkdir");
    put(&dir.join("folder/inner"), b"inner");
    mode(&dir.join("folder"), 0);
}

/// So that whoever runs the tests can look at it and remove it.
fn open_up(place: &Place) {
    for name in ["file", "folder", "closed"] {
        let path = place.there.join(name);
        if path.exists() {
            mode(&path, if path.is_dir() { 0o755 } else { 0o644 });
        }
    }
}

fn the_server_runs_as_a_plain_user(place: &Place) {
    put(&place.here.join("file"), b"x");
    let owner = fs::metadata(place.there.join("file")).or_fail("stat").uid();
    assert_ne!(owner, 0, "owner of a file that the server made");
}

/// Where the server looks only after its 150: `close` tells it, and then nothing of the file is left.
/// What was not stored is told once more at the end.
fn told_at_close(place: &Place, work: impl FnOnce(&Path)) {
    let mut look = place.mount(&[]);
    work(&look.here);
    holds(&look.here.join("closed"), ["file", "folder"]);
    holds(&place.there.join("closed"), ["file", "folder"]);
    put(&look.here.join("other"), b"still works");
    has(&place.there.join("other"), b"still works");
    let mount = look.mount.take().expect("a case for mounts only");
    assert_eq!(mount.unmount(), Some(7), "exit code");
}

#[track_caller]
fn refused_at_close(what: &str, path: &Path, opened: io::Result<File>) {
    let mut file = opened.or_fail(what);
    file.write_all(b"text").or_fail("write");
    fails(what, close(file), Errno::EACCES);
    soon_absent(path);
}

/// The last close is over a moment after the program's.
#[track_caller]
fn soon_absent(path: &Path) {
    eventually("its name goes", Duration::from_secs(20), || {
        let found = fs::symlink_metadata(path);
        holding(found.is_err(), || format!("{} is there", path.display()))
    });
    absent(path);
}

fn a_new_file_is_refused_at_open(place: &Place) {
    if !place.facts.refuses_at_once {
        return told_at_close(place, |here| {
            let path = here.join("closed/new");
            refused_at_close("create", &path, File::create(&path));
            refused_at_close("create exclusively", &path, File::create_new(&path));
            let append = OpenOptions::new().append(true).create(true).open(&path);
            refused_at_close("open for append", &path, append);
        });
    }
    let path = place.here.join("closed/new");
    fails("create", File::create(&path), Errno::EACCES);
    fails("create exclusively", File::create_new(&path), Errno::EACCES);
    let append = OpenOptions::new().append(true).create(true).open(&path);
    fails("open for append", append, Errno::EACCES);
    absent(&path);
    holds(&place.here.join("closed"), ["file", "folder"]);
    holds(&place.there.join("closed"), ["file", "folder"]);
}

fn echo_into_a_closed_folder_says_permission_denied(place: &Place) {
    if !place.facts.refuses_at_once {
        // No shell looks at what `close` says of its redirections; these programs do.
        return told_at_close(place, |here| {
            for command in [
                "echo text | dd of=closed/denied",
                "cp closed/file closed/denied",
                "touch closed/denied",
            ] {
                let said = sh_fails(here, command);
                assert!(said.contains("Permission denied"), "{command}: {said}");
                soon_absent(&here.join("closed/denied"));
            }
        });
    }
    let said = sh_fails(&place.here, "echo text > closed/denied");
    assert!(said.contains("Permission denied"), "the shell says: {said}");
    let said = sh_fails(&place.here, "echo text >> closed/denied");
    assert!(said.contains("Permission denied"), "the shell says: {said}");
    let said = sh_fails(&place.here, "cp closed/file closed/copy");
    assert!(said.contains("Permission denied"), "cp says: {said}");
    let said = sh_fails(&place.here, "touch closed/denied");
    assert!(said.contains("Permission denied"), "touch says: {said}");
    holds(&place.there.join("closed"), ["file", "folder"]);
}

fn folders_and_names_in_a_closed_folder_are_refused(place: &Place) {
    let closed = place.here.join("closed");
    put(&place.here.join("own"), b"own");
    fails("mkdir", fs::create_dir(closed.join("new")), Errno::EACCES);
    fails(
        "unlink",
        fs::remove_file(closed.join("file")),
        Errno::EACCES,
    );
    fails(
        "rmdir",
        fs::remove_dir(closed.join("folder")),
        Errno::EACCES,
    );
    fails(
        "rename in it",
        fs::rename(closed.join("file"), closed.join("new")),
        Errno::EACCES,
    );
    fails(
        "rename out",
        fs::rename(closed.join("file"), place.here.join("out")),
        Errno::EACCES,
    );
    fails(
        "rename in",
        fs::rename(place.here.join("own"), closed.join("in")),
        Errno::EACCES,
    );
    holds(&closed, ["file", "folder"]);
    holds(&place.there.join("closed"), ["file", "folder"]);
    has(&closed.join("file"), b"content");
    has(&place.there.join("own"), b"own");
    fails(
        "what is absent stays absent",
        fs::remove_file(closed.join("none")),
        Errno::ENOENT,
    );
}

/// No temporary name can be made beside it, so it is written in place.
fn a_file_in_a_closed_folder_can_be_changed(place: &Place) {
    let path = place.here.join("closed/file");
    put(&path, b"replaced");
    has(&place.there.join("closed/file"), b"replaced");
    sh(&place.here, "echo ' and more' >> closed/file");
    has(&place.there.join("closed/file"), b"replaced and more\n");
    has(&path, b"replaced and more\n");
}

fn a_readonly_file_is_not_replaced(place: &Place) {
    let path = place.here.join("file");
    if place.facts.modes {
        fails(
            "open for writing",
            OpenOptions::new().write(true).open(&path),
            Errno::EACCES,
        );
        fails(
            "open for append",
            OpenOptions::new().append(true).open(&path),
            Errno::EACCES,
        );
        fails("replace", try_put(&path, b"new"), Errno::EACCES);
        has(&place.there.join("file"), b"content");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).or_fail("chmod");
        put(&path, b"new");
    } else {
        // Nobody can know the mode: the server decides, and what it decides is told.
        match try_put(&path, b"new") {
            Ok(()) => has(&place.there.join("file"), b"new"),
            Err(error) => {
                fails::<()>("replace", Err(error), Errno::EACCES);
                has(&place.there.join("file"), b"content");
            }
        }
    }
    has(&path, &get(&place.there.join("file")));
}

fn an_unreadable_file_gives_no_bytes(place: &Place) {
    fails("read", fs::read(place.here.join("file")), Errno::EACCES);
    assert_eq!(
        fs::metadata(place.here.join("file")).or_fail("stat").len(),
        6,
        "its size"
    );
    let said = sh_fails(&place.here, "cat file");
    assert!(said.contains("Permission denied"), "cat says: {said}");
    open_up(place);
}

fn an_unreadable_folder_is_not_empty(place: &Place) {
    fails(
        "list",
        fs::read_dir(place.here.join("folder")),
        Errno::EACCES,
    );
    let inner = place.here.join("folder/inner");
    fails("a name in it", fs::metadata(&inner), Errno::EACCES);
    fails("a file in it", fs::read(&inner), Errno::EACCES);
    fails(
        "a new file in it",
        try_put(&place.here.join("folder/new"), b"x"),
        Errno::EACCES,
    );
    assert!(place.here.join("folder").is_dir(), "it is still a folder");
    open_up(place);
}

/// Only root can make files of somebody else.
fn somebody_elses_mode_cannot_be_set(place: &Place) {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let there = place.there.join("theirs");
    put(&there, b"theirs");
    mode(&there, 0o644);
    let look = place.fresh_look();
    let path = look.here.join("theirs");
    has(&path, b"theirs");
    if place.facts.modes {
        let result = fs::set_permissions(&path, fs::Permissions::from_mode(0o600));
        fails_one_of("chmod", result, &[Errno::EACCES, Errno::EPERM]);
    }
    let file = OpenOptions::new().append(true).open(&path);
    let result = file.and_then(|mut file| {
        file.write_all(b"mine")?;
        close(file)
    });
    // The folder is ours: whether the file may be replaced by one of ours is the server's decision.
    let expected: &[u8] = match result {
        Ok(()) => b"theirsmine",
        Err(error) => {
            fails::<()>("append", Err(error), Errno::EACCES);
            b"theirs"
        }
    };
    same_bytes("their file", &get(&there), expected);
    assert_eq!(
        fs::metadata(&there).or_fail("stat").mode() & 0o7777,
        0o644,
        "mode on the server"
    );
}

fn somebody_elses_times_cannot_be_set(place: &Place) {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    put(&place.there.join("theirs"), b"theirs");
    fs::create_dir(place.there.join("their folder")).or_fail("mkdir on the server");
    put(&place.there.join("ours"), b"ours");
    place.give(&place.there.join("ours"));
    let time = |path: &Path| fs::metadata(path).or_fail("stat").modified().unwrap();
    for (round, ours_first) in [(1, true), (2, false)] {
        let look = place.fresh_look();
        let wanted = some_day(round);
        let touch = |name: &str| {
            let file = File::open(look.here.join(name)).or_fail("open");
            file.set_modified(wanted)
        };
        if ours_first {
            touch("ours").or_fail("set the time of a file of ours");
        }
        let told = ours_first || place.facts.tells_refused_times;
        for (name, fails) in [
            ("their folder", place.facts.folder_times),
            ("theirs", place.facts.file_times && told),
        ] {
            let before = time(&place.there.join(name));
            if fails {
                fails_one_of(name, touch(name), &[Errno::EPERM, Errno::EACCES]);
            } else {
                touch(name).or_fail("what the server may be unable to do is ignored");
            }
            assert_eq!(time(&place.there.join(name)), before, "{name}: its time");
            assert_ne!(time(&look.here.join(name)), wanted, "{name}: as shown");
        }
        // A refusal for one is none for all.
        touch("ours").or_fail("set the time of a file of ours");
        if place.facts.file_times {
            assert_eq!(time(&place.there.join("ours")), wanted, "ours");
        }
    }
}

fn a_failed_create_leaves_no_name(place: &Place) {
    if !place.facts.refuses_at_once {
        return told_at_close(place, |here| {
            let path = here.join("closed/new");
            for _ in 0..3 {
                fails("create", File::create(&path).and_then(close), Errno::EACCES);
                soon_absent(&path);
            }
        });
    }
    for _ in 0..3 {
        fails(
            "create",
            File::create(place.here.join("closed/new")),
            Errno::EACCES,
        );
        fails(
            "stat",
            fs::metadata(place.here.join("closed/new")),
            Errno::ENOENT,
        );
    }
    put(&place.here.join("other"), b"still works");
    has(&place.there.join("other"), b"still works");
}
