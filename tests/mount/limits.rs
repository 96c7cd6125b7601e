//! Sizes and numbers: large files in little memory, large folders.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;

use crate::case::ONE_CONNECTION;
use crate::check::{OrFail, fails, holds, same_bytes};
use crate::files::{bytes, close, get, has, put};
use crate::place::{Look, Place};
use crate::shell::sh;

cases! {
    both_ends_of_5_gib_in_64_mib_of_memory.seeded(seed_5_gib).smoke().uncompared(),
    a_long_read_stays_within_its_memory.seeded(seed_long).uncompared(),
    a_long_write_stays_within_its_memory.mounts_only().seconds(240),
    a_large_file_of_others_is_patched_at_its_end.seeded(seed_long).seconds(240).uncompared(),
    a_folder_of_3000_names_of_others.seeded(seed_names).smoke().also(&[ONE_CONNECTION]),
    ten_thousand_files_are_made_listed_and_removed.seconds(600).uncompared(),
    a_listing_that_the_server_cuts_is_an_error.seeded(seed_more_than_are_listed).smoke().uncompared(),
    five_hundred_files_are_made_listed_and_removed.smoke().uncompared(),
    a_hundred_files_are_open_at_once.smoke(),
}

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
const LONG: u64 = 300 * MIB;

/// A file with few bytes of its own, the rest a hole.
fn sparse(path: &Path, len: u64, marks: impl IntoIterator<Item = u64>) {
    let file = File::create(path).or_fail("create");
    file.set_len(len).or_fail("ftruncate");
    for at in marks {
        file.write_all_at(&mark(at), at).or_fail("write");
    }
    close(file).or_fail("close");
}

/// What stands at that place.
fn mark(at: u64) -> Vec<u8> {
    bytes(at, 1000)
}

fn seed_5_gib(dir: &Path) {
    sparse(
        &dir.join("huge"),
        5 * GIB,
        [0, 3 * GIB - 500, 5 * GIB - 1000],
    );
}

fn seed_long(dir: &Path) {
    sparse(&dir.join("long"), LONG, (0..LONG).step_by(2_000_000));
}

fn seed_names(dir: &Path) {
    for n in 0..3000 {
        put(
            &dir.join(format!("a rather ordinary name number {n:04}.dat")),
            &bytes(n, 7),
        );
    }
}

/// The largest size that the mount's process has had in memory, in bytes; 0 where there is no mount.
fn peak(look: &Look) -> u64 {
    let Some(mount) = &look.mount else { return 0 };
    let status = fs::read_to_string(format!("/proc/{}/status", mount.pid())).or_fail("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .expect("VmHWM in kB")
        * 1024
}

/// Fails if the process has grown by more than `limit` since its peak was `before`.
fn grown_at_most(look: &Look, before: u64, limit: u64) {
    let grown = peak(look).saturating_sub(before);
    assert!(
        grown <= limit,
        "expected at most {} MiB more memory, found {} MiB",
        limit / MIB,
        grown / MIB
    );
}

fn both_ends_of_5_gib_in_64_mib_of_memory(place: &Place) {
    let look = place.fresh_look();
    let path = look.here.join("huge");
    assert_eq!(
        fs::metadata(&path).or_fail("stat").len(),
        5 * GIB,
        "its size"
    );
    let before = peak(&look);
    let file = File::open(&path).or_fail("open");
    let mut piece = vec![0; 1000];
    for at in [
        0,
        5 * GIB - 1000,
        3 * GIB - 500,
        5 * GIB - 1000,
        0,
        3 * GIB - 500,
    ] {
        file.read_exact_at(&mut piece, at)
            .or_fail(&format!("read at {at}"));
        same_bytes(&format!("at {at}"), &piece, &mark(at));
    }
    file.read_exact_at(&mut piece, 4 * GIB + 12_345)
        .or_fail("read the hole");
    same_bytes("the hole", &piece, &[0; 1000]);
    assert_eq!(
        file.read_at(&mut piece, 5 * GIB).or_fail("read"),
        0,
        "behind the end"
    );
    assert_eq!(
        sh(&look.here, "tail -c 1000 huge | cksum"),
        sh(&place.there, "tail -c 1000 huge | cksum")
    );
    assert_eq!(
        sh(&look.here, "head -c 1000 huge | cksum"),
        sh(&place.there, "head -c 1000 huge | cksum")
    );
    grown_at_most(&look, before, 64 * MIB);
    close(file).or_fail("close");
    fs::remove_file(&path).or_fail("unlink");
}

fn a_long_read_stays_within_its_memory(place: &Place) {
    let look = place.mount(&["cache_size=16M", "readahead=4M"]);
    let path = look.here.join("long");
    holds(&look.here, ["long"]);
    let before = peak(&look);
    let mut file = File::open(&path).or_fail("open");
    let mut piece = vec![0; 1_000_000];
    let mut at = 0;
    loop {
        let n = file.read(&mut piece).or_fail("read");
        if n == 0 {
            break;
        }
        // Every mark that lies in this piece as a whole.
        let end = at + n as u64;
        let first = at.div_ceil(2_000_000) * 2_000_000;
        for place in (first..end.saturating_sub(1000)).step_by(2_000_000) {
            let from = usize::try_from(place - at).unwrap();
            same_bytes(
                &format!("at {place}"),
                &piece[from..from + 1000],
                &mark(place),
            );
        }
        at = end;
    }
    assert_eq!(at, LONG, "bytes read");
    grown_at_most(&look, before, 64 * MIB);
}

fn a_long_write_stays_within_its_memory(place: &Place) {
    let look = place.fresh_look();
    put(&look.here.join("small"), b"x");
    let before = peak(&look);
    let path = look.here.join("long");
    let mut file = File::create(&path).or_fail("open");
    let piece = bytes(1, 1 << 20);
    for _ in 0..200 {
        file.write_all(&piece).or_fail("write");
    }
    close(file).or_fail("close");
    grown_at_most(&look, before, 64 * MIB);
    let there = File::open(place.there.join("long")).or_fail("open on the server");
    assert_eq!(
        there.metadata().or_fail("stat").len(),
        200 << 20,
        "size on the server"
    );
    let mut found = vec![0; 1 << 20];
    for n in 0..200 {
        there
            .read_exact_at(&mut found, n << 20)
            .or_fail("read on the server");
        same_bytes(&format!("mebibyte {n}"), &found, &piece);
    }
    for path in ["long", "small"] {
        fs::remove_file(look.here.join(path)).or_fail("unlink");
    }
}

fn a_large_file_of_others_is_patched_at_its_end(place: &Place) {
    let file = OpenOptions::new()
        .write(true)
        .open(place.here.join("long"))
        .or_fail("open");
    file.write_all_at(b"a patch near the end", LONG - 500)
        .or_fail("write");
    file.write_all_at(b"an append", LONG).or_fail("write");
    close(file).or_fail("close");
    let there = File::open(place.there.join("long")).or_fail("open on the server");
    assert_eq!(
        there.metadata().or_fail("stat").len(),
        LONG + 9,
        "size on the server"
    );
    let mut found = vec![0; 509];
    there
        .read_exact_at(&mut found, LONG - 500)
        .or_fail("read on the server");
    let mut expected = vec![0; 509];
    expected[..20].copy_from_slice(b"a patch near the end");
    expected[500..].copy_from_slice(b"an append");
    same_bytes("its end", &found, &expected);
    for at in (0..LONG).step_by(2_000_000) {
        let mut found = vec![0; 1000];
        there
            .read_exact_at(&mut found, at)
            .or_fail("read on the server");
        same_bytes(&format!("at {at}"), &found, &mark(at));
    }
    fs::remove_file(place.here.join("long")).or_fail("unlink");
}

fn a_folder_of_3000_names_of_others(place: &Place) {
    let names: Vec<String> = (0..3000)
        .map(|n| format!("a rather ordinary name number {n:04}.dat"))
        .collect();
    holds(&place.here, &names);
    assert_eq!(
        sh(&place.here, "ls -l | grep -c ' 7 '").trim(),
        "3000",
        "ls -l"
    );
    for n in [0, 1, 1499, 2998, 2999u16] {
        has(
            &place.here.join(&names[usize::from(n)]),
            &bytes(n.into(), 7),
        );
    }
    put(&place.here.join("one more"), b"x");
    fs::remove_file(place.here.join(&names[0])).or_fail("unlink");
    assert_eq!(
        fs::read_dir(&place.here).or_fail("list").count(),
        3000,
        "names afterwards"
    );
}

fn many_files(place: &Place, count: usize) {
    let name = |n: usize| format!("entry-{n:05}");
    let all: Vec<String> = (0..count).map(name).collect();
    std::thread::scope(|scope| {
        for part in all.chunks(count.div_ceil(4)) {
            scope.spawn(move || {
                for name in part {
                    put(&place.here.join(name), name.as_bytes());
                }
            });
        }
    });
    holds(&place.there, &all);
    holds(&place.here, &all);
    assert_eq!(
        sh(&place.here, "ls -l | tail -n +2 | wc -l").trim(),
        count.to_string(),
        "ls -l"
    );
    for name in all.iter().step_by(count / 50) {
        assert_eq!(
            get(&place.there.join(name)),
            name.as_bytes(),
            "content on the server"
        );
        has(&place.here.join(name), name.as_bytes());
    }
    let fresh = place.fresh_look();
    holds(&fresh.here, &all);
    let total = sh(&fresh.here, "find . -type f -size 11c | wc -l");
    assert_eq!(total.trim(), count.to_string(), "files of the right size");
    drop(fresh);
    sh(&place.here, "rm -r ./*");
    holds::<&str>(&place.there, []);
    holds::<&str>(&place.here, []);
}

fn ten_thousand_files_are_made_listed_and_removed(place: &Place) {
    many_files(place, place.facts.listing.min(10_000));
}

fn seed_more_than_are_listed(dir: &Path) {
    let first = dir.join("entry");
    put(&first, b"");
    for n in 0..10_000 {
        fs::hard_link(&first, dir.join(format!("entry-{n:05}"))).or_fail("link");
    }
}

/// A folder is shown whole or not at all.
fn a_listing_that_the_server_cuts_is_an_error(place: &Place) {
    let listed = fs::read_dir(&place.here).map(Iterator::count);
    if place.facts.listing == usize::MAX {
        assert_eq!(listed.or_fail("list"), 10_001);
    } else {
        fails("list", listed, Errno::EIO);
    }
}

fn five_hundred_files_are_made_listed_and_removed(place: &Place) {
    many_files(place, 500);
}

fn a_hundred_files_are_open_at_once(place: &Place) {
    let mut open: Vec<(String, File)> = (0..100)
        .map(|n| {
            let name = format!("file{n}");
            let file = File::create(place.here.join(&name)).or_fail("open");
            (name, file)
        })
        .collect();
    for (name, file) in &mut open {
        file.write_all(name.as_bytes()).or_fail("write");
    }
    for (name, file) in open {
        close(file).or_fail("close");
        has(&place.there.join(&name), name.as_bytes());
    }
    let open: Vec<File> = (0..100)
        .map(|n| File::open(place.here.join(format!("file{n}"))).or_fail("open"))
        .collect();
    for (n, file) in open.iter().enumerate() {
        same_bytes(
            "one of a hundred",
            &crate::files::rest(file),
            format!("file{n}").as_bytes(),
        );
    }
}
