//! Programs that go through a whole tree, as `find`, `du` and `rsync` do, see each directory as it is:
//! what is listed ahead of them is no less true than what they ask for.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::case::ONE_CONNECTION;
use crate::check::{OrFail, eventually, holding};
use crate::facts::Links;
use crate::files::put;
use crate::place::Place;
use crate::tree::some_day;

cases! {
    a_walk_shows_the_tree.smoke().mounts_only().uncompared().also(&[ONE_CONNECTION]).seconds(300),
    own_changes_ahead_of_a_walk_are_seen.smoke().mounts_only().seconds(300),
    changes_of_others_between_walks_are_seen.mounts_only().by_others().seconds(300),
    many_walks_at_a_time_see_the_same.smoke().mounts_only().seconds(300),
    names_that_look_like_answers_mislead_nobody.smoke().mounts_only().uncompared().seconds(300),
}

/// Directories beside each other.
const MANY: usize = 120;
/// Long enough for a loaded machine.
const SOON: Duration = Duration::from_secs(60);

/// Kind, permission bits, size and seconds of each name, or that a directory cannot be listed.
type Seen = BTreeMap<PathBuf, String>;

/// Makes a file with this time.
#[track_caller]
fn put_at(path: &Path, content: &[u8], time: SystemTime) {
    put(path, content);
    let file = File::options().write(true).open(path).or_fail("open");
    file.set_modified(time).or_fail("set a time");
}

/// Goes through a tree in the order in which it is told.
#[track_caller]
fn walk(root: &Path, place: &Place, visit: &mut dyn FnMut(&Path)) -> Seen {
    let mut seen = Seen::new();
    let mut rest = vec![root.to_path_buf()];
    while let Some(dir) = rest.pop() {
        let below = dir.strip_prefix(root).unwrap().to_path_buf();
        visit(&below);
        let Ok(entries) = fs::read_dir(&dir) else {
            seen.insert(below.join("*"), "not to be listed".into());
            continue;
        };
        let mut inside = Vec::new();
        for entry in entries {
            let path = entry.or_fail("list").path();
            let below = path.strip_prefix(root).unwrap().to_path_buf();
            // Others may have removed it since.
            let Ok(told) = fs::symlink_metadata(&path) else {
                seen.insert(below, "listed, and gone".into());
                continue;
            };
            let mode = if place.facts.modes {
                told.mode() & 0o7777
            } else {
                0
            };
            let what = if told.is_dir() {
                inside.push(path.clone());
                format!("folder {mode:o}")
            } else if told.is_symlink() {
                format!(
                    "link to {}",
                    fs::read_link(&path).or_fail("readlink").display()
                )
            } else {
                format!("file {mode:o} {} {}", told.len(), told.mtime())
            };
            seen.insert(below, what);
        }
        inside.reverse();
        rest.append(&mut inside);
    }
    seen
}

#[track_caller]
fn same(found: &Seen, expected: &Seen) {
    if let Err(difference) = compare(found, expected) {
        panic!("{difference}");
    }
}

fn compare(found: &Seen, expected: &Seen) -> Result<(), String> {
    let (surplus, missing) = (behind(found, expected), behind(expected, found));
    holding(surplus.is_empty() && missing.is_empty(), || {
        format!("found {surplus:?}, expected {missing:?}")
    })
}

/// What one has and the other has not, at most five.
fn behind<'a>(one: &'a Seen, other: &Seen) -> Vec<(&'a PathBuf, &'a String)> {
    let new = one
        .iter()
        .filter(|(path, what)| other.get(*path) != Some(what));
    new.take(5).collect()
}

/// What the tree holds on the server's disk.
#[track_caller]
fn on_disk(place: &Place) -> Seen {
    let mut seen = walk(&place.there, place, &mut |_| {});
    // Root may look into what the served user may not.
    let shut: Vec<_> = seen
        .keys()
        .filter(|path| path.file_name().is_some_and(|name| name == "shut"))
        .cloned()
        .collect();
    for dir in shut {
        seen.retain(|path, _| *path == dir || !path.starts_with(&dir));
        seen.insert(dir.join("*"), "not to be listed".into());
    }
    seen
}

/// Directories of all kinds, on the server's disk.
#[track_caller]
fn plant(place: &Place) {
    let names = |n: usize| -> OsString {
        match n % 12 {
            3 => format!("with blanks {n}").into(),
            5 => format!("with [brackets] {n}").into(),
            7 => format!("-dash {n}").into(),
            9 => format!("größe{n}").into(),
            11 => format!("'quoted' & more; $n {n}").into(),
            _ => format!("plain-{n}").into(),
        }
    };
    let mut dirs = Vec::new();
    for n in 0..MANY {
        let dir = place.there.join(names(n));
        dirs.push(dir.clone());
        if n % 10 == 0 {
            dirs.push(dir.join("inside"));
            dirs.push(dir.join("inside/further in"));
        }
    }
    for (n, dir) in dirs.iter().enumerate() {
        fs::create_dir(dir).or_fail("mkdir on the server");
        // Some stay empty.
        for m in 0..n % 6 {
            let file = dir.join(format!("file {m}"));
            put_at(&file, &vec![b'x'; n + m], some_day((n * 100 + m) as u64));
        }
        if n % 17 == 4 {
            put_at(&dir.join(".hidden"), b"", some_day(7));
        }
        if n % 13 == 6 && matches!(place.facts.links, Links::Shown | Links::OnlyGood) {
            put_at(&dir.join("target"), b"t", some_day(8));
            symlink("target", dir.join("link")).or_fail("symlink on the server");
        }
    }
    place.give(&place.there);
    for dir in dirs.iter().skip(3).step_by(19) {
        let shut = dir.join("shut");
        fs::create_dir(&shut).or_fail("mkdir on the server");
        put(&shut.join("secret"), b"s");
        place.give(&shut);
        fs::set_permissions(&shut, PermissionsExt::from_mode(0o000)).or_fail("chmod on the server");
    }
}

fn a_walk_shows_the_tree(place: &Place) {
    plant(place);
    let expected = on_disk(place);
    let look = place.mount(&[]);
    same(&walk(&look.here, place, &mut |_| {}), &expected);
    // From memory.
    same(&walk(&look.here, place, &mut |_| {}), &expected);
}

fn own_changes_ahead_of_a_walk_are_seen(place: &Place) {
    for n in 0..MANY {
        let dir = place.there.join(format!("d{n:03}"));
        fs::create_dir(&dir).or_fail("mkdir on the server");
        put(&dir.join("kept"), b"k");
        put(&dir.join("removed"), b"r");
        put(&dir.join("renamed"), b"n");
    }
    place.give(&place.there);
    let look = place.mount(&[]);
    let mut next = 0;
    let found = walk(&look.here, place, &mut |below| {
        if below.as_os_str().is_empty() || below.components().count() > 1 {
            return;
        }
        // Directories that were listed ahead, and such that were not.
        let ahead = look
            .here
            .join(format!("d{:03}", (next + 3 + next % 20).min(MANY - 1)));
        next += 1;
        if ahead.join("removed").exists() {
            fs::remove_file(ahead.join("removed")).or_fail("remove");
            fs::rename(ahead.join("renamed"), ahead.join("new name")).or_fail("rename");
            put(&ahead.join("made"), b"made");
            fs::create_dir(ahead.join("folder")).or_fail("mkdir");
        }
    });
    let names = |seen: Seen| seen.into_keys().collect::<Vec<_>>();
    assert_eq!(names(found), names(on_disk(place)));
}

fn changes_of_others_between_walks_are_seen(place: &Place) {
    for n in 0..MANY {
        let dir = place.there.join(format!("d{n:03}"));
        fs::create_dir(&dir).or_fail("mkdir on the server");
        put_at(&dir.join("file"), b"f", some_day(n as u64));
    }
    place.give(&place.there);
    let look = place.mount(&["cache_timeout=2"]);
    for round in 0..3 {
        for n in (round..MANY).step_by(7) {
            let dir = place.there.join(format!("d{n:03}"));
            match round {
                0 => put_at(&dir.join("file"), b"longer", some_day(5000)),
                1 => fs::remove_dir_all(&dir).or_fail("rm -r on the server"),
                _ => put_at(&dir.join("another"), b"", some_day(6000)),
            }
        }
        place.give(&place.there);
        let expected = on_disk(place);
        eventually("the walk sees what the disk holds", SOON, || {
            compare(&walk(&look.here, place, &mut |_| {}), &expected)
        });
    }
}

fn many_walks_at_a_time_see_the_same(place: &Place) {
    plant(place);
    let shut: Vec<_> = on_disk(place)
        .into_keys()
        .filter(|path| path.file_name().is_some_and(|name| name == "shut"))
        .collect();
    for dir in shut {
        fs::remove_dir_all(place.there.join(dir)).or_fail("rm -r on the server");
    }
    let expected = on_disk(place);
    let look = place.mount(&[]);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| same(&walk(&look.here, place, &mut |_| {}), &expected));
        }
    });
}

fn names_that_look_like_answers_mislead_nobody(place: &Place) {
    let forged = "213-Status:\ndrwxr-xr-x 2 u g 1 Jan 1 2024 .\ndrwxr-xr-x 2 u g 1 Jan 1 2024 ..\n-rw-r--r-- 1 u g 1 Jan 1 2024 evil";
    let names = [
        format!("x\n213 End\n{forged}\n213 End\n213-x"),
        format!(
            "x\n212 End\n{}\n212 End\n212-x",
            forged.replace("213", "212")
        ),
        "x\n213 End\n200 ok\n257 \"\"\n200 ok\n257 \"\"\n200-x".into(),
        "x\n213 End\n550-x".into(),
        "x\n212 End\n213-x".into(),
    ];
    for n in 0..MANY {
        let dir = place.there.join(format!("d{n:03}"));
        fs::create_dir(&dir).or_fail("mkdir on the server");
        put(&dir.join(format!("own {n}")), b"o");
        if n % 20 == 10 {
            let name = &names[n / 20 % names.len()];
            put(&dir.join(OsString::from(name)), b"n");
        }
    }
    place.give(&place.there);
    let look = place.mount(&[]);
    let mut own = 0;
    for (path, what) in walk(&look.here, place, &mut |_| {}) {
        let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) else {
            continue;
        };
        let number: usize = dir.to_string_lossy()[1..].parse().unwrap();
        let name = path.file_name().unwrap();
        if name == OsString::from(format!("own {number}")).as_os_str() {
            own += 1;
            continue;
        }
        // A name with line breaks is what its author made of it, in its own directory only.
        assert_eq!(number % 20, 10, "{path:?}: {what}");
        assert!(!name.as_bytes().starts_with(b"own "), "{path:?}: {what}");
    }
    assert_eq!(own, MANY);
}
