//! What others change on the server is seen after `cache_timeout`, what we change at once, and never
//! is old mixed with new.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;

use crate::check::{OrFail, eventually, fails, holding, holds, names, same_bytes};
use crate::files::{absent, append, bytes, close, get, has, put};
use crate::place::{Look, Place};
use crate::shell::sh;
use crate::sys::read_mapped;

cases! {
    new_names_of_others_appear.smoke().mounts_only().by_others(),
    removed_names_of_others_disappear.smoke().mounts_only().by_others(),
    changed_files_of_others_are_read_new.smoke().mounts_only().by_others(),
    a_change_that_keeps_the_size_is_seen.mounts_only().by_others(),
    without_a_cache_changes_are_seen_at_once.smoke().mounts_only().by_others(),
    with_the_defaults_changes_are_seen_in_time.mounts_only().by_others(),
    own_changes_are_seen_at_once.smoke().mounts_only(),
    a_growing_log_is_followed.smoke().mounts_only().by_others(),
    a_file_replaced_while_open_is_never_mixed.mounts_only().by_others(),
    a_file_rewritten_while_read_again_and_again_is_never_mixed.mounts_only().by_others(),
    a_file_that_becomes_a_folder_is_seen_as_one.smoke().mounts_only().by_others(),
    an_absent_name_can_come.smoke().mounts_only().by_others(),
    a_folder_renamed_by_others_is_found.mounts_only().by_others(),
    a_lost_update_is_refused.smoke().mounts_only().uncompared(),
    an_append_behind_a_change_of_others_is_refused.mounts_only().uncompared(),
    a_truncating_open_overwrites_what_others_wrote.mounts_only().by_others(),
    an_exclusive_create_sees_what_others_made.smoke().mounts_only().by_others(),
    a_mmap_does_not_outlive_the_change_of_others.mounts_only().by_others(),
}

/// A mount that looks again after a second.
const SECOND: &[&str] = &["cache_timeout=1"];

/// Long enough for a loaded machine; what is promised is a second or so.
const SOON: Duration = Duration::from_secs(20);

/// Writes on the server as somebody else would: all at once, under another name first.
fn theirs(place: &Place, name: &str, content: &[u8]) {
    let temporary = place.site.root().join(format!(
        "theirs-{}",
        place.there.file_name().unwrap().to_string_lossy()
    ));
    put(&temporary, content);
    place.give(&temporary);
    fs::rename(&temporary, place.there.join(name)).or_fail("rename on the server");
}

fn new_names_of_others_appear(place: &Place) {
    let look = place.mount(SECOND);
    holds::<&str>(&look.here, []);
    theirs(place, "new", b"new");
    fs::create_dir(place.there.join("folder")).or_fail("mkdir on the server");
    place.give(&place.there.join("folder"));
    eventually("both names are listed", SOON, || {
        let found = names(&look.here);
        holding(found.len() == 2, || format!("{found:?}"))
    });
    has(&look.here.join("new"), b"new");
    holds::<&str>(&look.here.join("folder"), []);
}

fn removed_names_of_others_disappear(place: &Place) {
    let look = place.mount(SECOND);
    put(&look.here.join("file"), b"x");
    fs::create_dir(look.here.join("folder")).or_fail("mkdir");
    put(&look.here.join("folder/inner"), b"x");
    holds(&look.here, ["file", "folder"]);
    fs::remove_file(place.there.join("file")).or_fail("rm on the server");
    fs::remove_dir_all(place.there.join("folder")).or_fail("rm -r on the server");
    eventually("both names are gone", SOON, || {
        let found = names(&look.here);
        holding(found.is_empty(), || format!("{found:?}"))
    });
    eventually("neither can be opened", SOON, || {
        let (file, inner) = (
            fs::read(look.here.join("file"))
                .err()
                .and_then(|e| e.raw_os_error()),
            fs::read(look.here.join("folder/inner"))
                .err()
                .and_then(|e| e.raw_os_error()),
        );
        let absent = Some(Errno::ENOENT as i32);
        holding(file == absent && inner == absent, || {
            format!("{file:?} {inner:?}")
        })
    });
}

fn changed_files_of_others_are_read_new(place: &Place) {
    let look = place.mount(SECOND);
    let path = look.here.join("file");
    put(&path, b"ours");
    for (seed, size) in [
        (1, 10),
        (2, 300_000),
        (3, 5),
        (4, 299_999),
        (5, 0),
        (6, 4097),
    ] {
        let before = get(&path);
        let after = bytes(seed, size);
        theirs(place, "file", &after);
        eventually("the new content", SOON, || {
            let found = get(&path);
            assert!(
                found == before || found == after,
                "neither the old content nor the new: {} bytes (old {}, new {})",
                found.len(),
                before.len(),
                after.len()
            );
            holding(found == after, || "still the old content".to_owned())
        });
        let len = fs::metadata(&path).or_fail("stat").len();
        assert_eq!(len, size as u64, "its size");
    }
}

fn a_change_that_keeps_the_size_is_seen(place: &Place) {
    let look = place.mount(SECOND);
    let path = look.here.join("file");
    put(&path, &bytes(0, 100_000));
    for seed in 1..4 {
        has(&path, &bytes(seed - 1, 100_000));
        theirs(place, "file", &bytes(seed, 100_000));
        eventually("the new content", SOON, || {
            let found = get(&path);
            assert!(
                found == bytes(seed, 100_000) || found == bytes(seed - 1, 100_000),
                "neither the old content nor the new"
            );
            holding(found == bytes(seed, 100_000), || {
                "still the old content".to_owned()
            })
        });
    }
}

fn without_a_cache_changes_are_seen_at_once(place: &Place) {
    let look = place.mount(&["cache_timeout=0"]);
    let path = look.here.join("file");
    for seed in 1..6 {
        let content = bytes(seed, 1000 * usize::try_from(seed).unwrap());
        theirs(place, "file", &content);
        holds(&look.here, ["file"]);
        has(&path, &content);
        let len = fs::metadata(&path).or_fail("stat").len();
        assert_eq!(len, content.len() as u64, "its size");
        fs::remove_file(place.there.join("file")).or_fail("rm on the server");
        fails("what others removed", fs::metadata(&path), Errno::ENOENT);
        holds::<&str>(&look.here, []);
    }
}

fn with_the_defaults_changes_are_seen_in_time(place: &Place) {
    holds::<&str>(&place.here, []);
    theirs(place, "new", b"new");
    eventually("the new name", Duration::from_secs(40), || {
        let found = names(&place.here);
        holding(found.contains(OsStr::new("new")), || format!("{found:?}"))
    });
    has(&place.here.join("new"), b"new");
}

fn own_changes_are_seen_at_once(place: &Place) {
    let look = place.mount(&["cache_timeout=600"]);
    let at = |name: &str| look.here.join(name);
    holds::<&str>(&look.here, []);
    for n in 0..20 {
        let (name, other) = (format!("file{n}"), format!("other{n}"));
        fails("before", fs::metadata(at(&name)), Errno::ENOENT);
        put(&at(&name), &bytes(n, 1000));
        holds(&look.here, [&name]);
        assert_eq!(
            fs::metadata(at(&name)).or_fail("stat").len(),
            1000,
            "its size"
        );
        append(&at(&name), b"more");
        assert_eq!(
            fs::metadata(at(&name)).or_fail("stat").len(),
            1004,
            "its size"
        );
        fs::rename(at(&name), at(&other)).or_fail("rename");
        holds(&look.here, [&other]);
        fails("the old name", fs::metadata(at(&name)), Errno::ENOENT);
        fs::create_dir(at(&name)).or_fail("mkdir");
        holds(&look.here, [&name, &other]);
        fs::rename(at(&other), at(&name).join("inner")).or_fail("rename");
        holds(&look.here, [&name]);
        holds(&at(&name), ["inner"]);
        fs::remove_file(at(&name).join("inner")).or_fail("unlink");
        fs::remove_dir(at(&name)).or_fail("rmdir");
        holds::<&str>(&look.here, []);
    }
}

fn a_growing_log_is_followed(place: &Place) {
    let look = place.mount(SECOND);
    theirs(place, "log", b"start\n");
    let there = place.there.join("log");
    let path = look.here.join("log");
    eventually("the log is there", SOON, || {
        let found = names(&look.here);
        holding(found.len() == 1, || format!("{found:?}"))
    });
    let mut expected = b"start\n".to_vec();
    for n in 0..4 {
        let line = format!("line {n} of the log\n");
        let mut file = OpenOptions::new()
            .append(true)
            .open(&there)
            .or_fail("open on the server");
        file.write_all(line.as_bytes())
            .or_fail("append on the server");
        expected.extend_from_slice(line.as_bytes());
        eventually("the new line", SOON, || {
            let found = get(&path);
            assert!(
                expected.starts_with(&found),
                "not the log: {:?}",
                found.escape_ascii().to_string()
            );
            holding(found == expected, || {
                format!("{} of {} bytes", found.len(), expected.len())
            })
        });
        assert_eq!(sh(&look.here, "tail -n 1 log"), line, "tail");
    }
}

fn a_file_replaced_while_open_is_never_mixed(place: &Place) {
    let (old, new) = (bytes(1, 24_000_000), bytes(2, 24_000_000));
    theirs(place, "file", &old);
    // FTP tells seconds: a change to the same size within the same second cannot be seen by anyone.
    let minute_ago = SystemTime::now() - Duration::from_secs(60);
    let there = OpenOptions::new()
        .write(true)
        .open(place.there.join("file"));
    there
        .and_then(|file| file.set_modified(minute_ago))
        .or_fail("age the old file");
    let look = place.mount(SECOND);
    let file = File::open(look.here.join("file")).or_fail("open");
    let mut piece = vec![0; 100_000];
    file.read_exact_at(&mut piece, 0).or_fail("read");
    same_bytes("the beginning", &piece, &old[..100_000]);
    theirs(place, "file", &new);
    eventually("another reader sees the new content", SOON, || {
        let other = File::open(look.here.join("file")).or_fail("open");
        let mut start = vec![0; 1000];
        match other.read_exact_at(&mut start, 0) {
            Ok(()) => holding(start == new[..1000], || "still the old one".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    });
    // All of it, so that the kernel could give the open file pages of it.
    has(&look.here.join("file"), &new);
    for at in (0..24_000_000).step_by(1_000_000) {
        match file.read_exact_at(&mut piece, at as u64) {
            Ok(()) => same_bytes(
                &format!("the open file at {at}"),
                &piece,
                &old[at..at + 100_000],
            ),
            Err(error) => {
                let stale = [Some(Errno::ESTALE as i32), Some(Errno::EIO as i32)];
                assert!(
                    stale.contains(&error.raw_os_error()),
                    "expected ESTALE, found {error:?}"
                );
                break;
            }
        }
    }
}

/// Each version is one letter, so a mixed one shows itself.
fn a_file_rewritten_while_read_again_and_again_is_never_mixed(place: &Place) {
    let version = |n: u8| vec![b'a' + n % 26; 200_000 + usize::from(n) * 10_000];
    theirs(place, "file", &version(0));
    let look = place.mount(SECOND);
    let path = look.here.join("file");
    let mut newest = 0;
    for n in 1..12u8 {
        theirs(place, "file", &version(n));
        eventually("the newest version", SOON, || {
            let found = match fs::read(&path) {
                Ok(found) => found,
                Err(error) if error.raw_os_error() == Some(Errno::ESTALE as i32) => {
                    return Err("stale".to_owned());
                }
                Err(error) => panic!("read: {error:?}"),
            };
            let is = (newest..=n).find(|n| version(*n) == found);
            let Some(is) = is else {
                let letters: std::collections::BTreeSet<u8> = found.iter().copied().collect();
                panic!(
                    "no version: {} bytes with the letters {letters:?}",
                    found.len()
                );
            };
            newest = is;
            holding(is == n, || format!("version {is}"))
        });
    }
}

fn a_file_that_becomes_a_folder_is_seen_as_one(place: &Place) {
    let look = place.mount(SECOND);
    let path = look.here.join("name");
    put(&path, b"a file");
    let before = fs::metadata(&path).or_fail("stat").ino();
    fs::remove_file(place.there.join("name")).or_fail("rm on the server");
    fs::create_dir(place.there.join("name")).or_fail("mkdir on the server");
    put(&place.there.join("name/inner"), b"inner");
    place.give(&place.there.join("name"));
    eventually("it is a folder", SOON, || {
        let is = fs::metadata(&path);
        holding(is.as_ref().is_ok_and(fs::Metadata::is_dir), || {
            format!("{is:?}")
        })
    });
    assert_ne!(
        fs::metadata(&path).or_fail("stat").ino(),
        before,
        "a number of its own"
    );
    has(&path.join("inner"), b"inner");
}

fn an_absent_name_can_come(place: &Place) {
    let look = place.mount(SECOND);
    let path = look.here.join("name");
    for n in 0..3 {
        fails("absent", fs::metadata(&path), Errno::ENOENT);
        theirs(place, "name", &bytes(n, 500));
        eventually("the name has come", SOON, || {
            fs::read(&path).map_err(|error| error.to_string()).map(drop)
        });
        has(&path, &bytes(n, 500));
        fs::remove_file(&path).or_fail("unlink");
        absent(&place.there.join("name"));
    }
}

fn a_folder_renamed_by_others_is_found(place: &Place) {
    let look = place.mount(SECOND);
    sh(
        &look.here,
        "mkdir old; echo x > old/file; ls -lR > /dev/null",
    );
    fs::rename(place.there.join("old"), place.there.join("new")).or_fail("rename on the server");
    eventually("the new name", SOON, || {
        fs::read(look.here.join("new/file"))
            .map_err(|error| error.to_string())
            .map(drop)
    });
    has(&look.here.join("new/file"), b"x\n");
    eventually("the old name is gone", SOON, || {
        let found = names(&look.here);
        holding(found.len() == 1, || format!("{found:?}"))
    });
}

/// The one content that could not be stored, which nobody else may read.
#[track_caller]
fn kept_by(look: &Look) -> Vec<u8> {
    // The release tries once more, and its copy is there before that of the close goes.
    eventually("the release has tried, too", SOON, || {
        let log = look.mounted().log();
        holding(log.contains("ftpfs::fs::unsaved"), || log)
    });
    let state = look.mounted().home().join(".local/state/ftpfs");
    let places: Vec<_> = fs::read_dir(&state).or_fail("list the state").collect();
    assert_eq!(places.len(), 1, "one place: {places:?}");
    let place = places[0].as_ref().or_fail("list the state").path();
    let files = fs::read_dir(&place).or_fail("list the place");
    let files = files.map(|file| file.or_fail("list the place").path());
    let copies: Vec<_> = files
        .filter(|path| path.extension() == Some(OsStr::new("data")))
        .collect();
    assert_eq!(copies.len(), 1, "one copy: {copies:?}");
    for (path, mode) in [(&place, 0o700), (&copies[0], 0o600)] {
        let found = fs::metadata(path).or_fail("stat what is kept").mode();
        assert_eq!(found & 0o777, mode, "the mode of {}", path.display());
    }
    get(&copies[0])
}

/// A partial change of a file that others have changed since it was opened would lose theirs.
fn a_lost_update_is_refused(place: &Place) {
    theirs(place, "file", &bytes(1, 100_000));
    let look = place.fresh_look();
    let path = look.here.join("file");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .or_fail("open");
    let mut piece = [0; 100];
    file.read_exact_at(&mut piece, 5000).or_fail("read");
    file.write_all_at(b"ours", 5000).or_fail("write");
    theirs(place, "file", &bytes(2, 90_000));
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    let there = OpenOptions::new()
        .write(true)
        .open(place.there.join("file"))
        .or_fail("open");
    there
        .set_modified(long_ago)
        .or_fail("set a time on the server");
    fails("close", close(file), Errno::ESTALE);
    has(&place.there.join("file"), &bytes(2, 90_000));
    let kept = kept_by(&look);
    same_bytes("the change", kept.get(5000..5004).unwrap_or(&kept), b"ours");
    // Who opens it now has the new content.
    for _ in 0..3 {
        append(&path, b"more");
    }
    let expected = [bytes(2, 90_000), b"moremoremore".to_vec()].concat();
    has(&place.there.join("file"), &expected);
}

/// The line that is appended was made for another content.
fn an_append_behind_a_change_of_others_is_refused(place: &Place) {
    theirs(place, "log", &bytes(1, 100_000));
    let look = place.fresh_look();
    let path = look.here.join("log");
    let mut file = OpenOptions::new().append(true).open(&path).or_fail("open");
    file.write_all(b"ours").or_fail("write");
    theirs(place, "log", &bytes(2, 90_000));
    fails("close", close(file), Errno::ESTALE);
    has(&place.there.join("log"), &bytes(2, 90_000));
    let kept = kept_by(&look);
    same_bytes("the line", kept.get(100_000..).unwrap_or(&kept), b"ours");
}

fn a_truncating_open_overwrites_what_others_wrote(place: &Place) {
    theirs(place, "file", &bytes(1, 100_000));
    let look = place.fresh_look();
    let path = look.here.join("file");
    has(&path, &bytes(1, 100_000));
    theirs(place, "file", &bytes(2, 90_000));
    put(&path, b"ours");
    has(&place.there.join("file"), b"ours");
    // The mount that all cases share has not seen the file yet.
    has(&path, b"ours");
}

fn an_exclusive_create_sees_what_others_made(place: &Place) {
    let look = place.mount(&["cache_timeout=600"]);
    let path = look.here.join("lock");
    fails("absent", fs::metadata(&path), Errno::ENOENT);
    holds::<&str>(&look.here, []);
    let listed = Instant::now();
    theirs(place, "lock", b"theirs");
    // A listing may be a second old for this.
    eventually("the listing is older", SOON, || {
        let age = listed.elapsed();
        holding(age > Duration::from_millis(1500), || format!("{age:?}"))
    });
    fails("O_EXCL", File::create_new(&path), Errno::EEXIST);
    has(&place.there.join("lock"), b"theirs");
}

fn a_mmap_does_not_outlive_the_change_of_others(place: &Place) {
    let look = place.mount(SECOND);
    let path = look.here.join("file");
    let (old, new) = (bytes(1, 50_000), bytes(2, 60_000));
    put(&path, &old);
    same_bytes("the map", &read_mapped(&path).or_fail("mmap"), &old);
    theirs(place, "file", &new);
    eventually("a new map", SOON, || {
        let found = read_mapped(&path)?;
        assert!(
            found == old || found == new,
            "neither the old content nor the new"
        );
        holding(found == new, || "still the old content".to_owned())
    });
    has(&path, &new);
}
