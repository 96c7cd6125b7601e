//! Reading what is on the server.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::thread;

use nix::errno::Errno;
use tempfile::tempdir;

use crate::case::{NO_BLOCKS, NO_CACHE, ONE_CONNECTION};
use crate::check::{OrFail, fails, holds, same_bytes};
use crate::files::{Dice, bytes, get, has, put};
use crate::place::Place;
use crate::shell::{program, sh, succeeds};
use crate::sys::map_for_reading;
use crate::tree::{plant, same_trees, snapshot, some_day};

cases! {
    stat_tells_type_size_mode_time_and_owner.seeded(seed_kinds).smoke().also(&[NO_CACHE]),
    ls_lists_every_name.seeded(seed_tree).smoke(),
    find_walks_the_tree.seeded(seed_tree).smoke().also(&[NO_CACHE, ONE_CONNECTION]),
    du_counts_blocks.seeded(seed_kinds),
    cat_gives_the_bytes_of_every_size.seeded(seed_sizes).smoke().also(&[ONE_CONNECTION]),
    cp_takes_a_tree_out.seeded(seed_tree).smoke(),
    head_tail_and_dd_read_their_part.seeded(seed_big).smoke(),
    reads_anywhere.seeded(seed_big).smoke().also(&[ONE_CONNECTION, NO_BLOCKS]),
    reads_at_the_end_are_short_or_empty.seeded(seed_sizes).smoke(),
    seeks_backwards_in_strides.seeded(seed_big),
    two_places_of_a_file_are_read_in_turn.seeded(seed_big),
    several_readers_of_one_file.seeded(seed_big).smoke().also(&[ONE_CONNECTION, NO_BLOCKS]),
    many_open_files_read_in_turn.seeded(seed_many).also(&[ONE_CONNECTION]),
    mmap_reads.seeded(seed_big).smoke(),
    programs_run_from_the_mount.seeded(seed_programs).smoke(),
    an_empty_folder_is_empty.seeded(seed_kinds).smoke(),
    a_folder_cannot_be_read_as_a_file.seeded(seed_kinds).smoke(),
    hidden_names_are_listed.seeded(seed_hidden).smoke(),
    a_listing_can_be_rewound.seeded(seed_many),
    grep_reads_a_tree.seeded(seed_tree),
}

const BIG: usize = 8 * 1024 * 1024 + 4321;

fn seed_kinds(dir: &Path) {
    fs::create_dir(dir.join("empty")).or_fail("mkdir");
    fs::create_dir(dir.join("full")).or_fail("mkdir");
    put(&dir.join("full/inner"), b"inner\n");
    put(&dir.join("nothing"), b"");
    for (name, len, mode, time) in [
        ("old", 12_345, 0o644, 1_234_567),
        ("older", 1, 0o600, 7),
        ("program", 77, 0o755, 40_000_001),
        ("readonly", 1_048_576, 0o444, 99_999_999),
    ] {
        let path = dir.join(name);
        put(&path, &bytes(1, len));
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).or_fail("chmod");
        let file = File::open(&path).or_fail("open");
        file.set_modified(some_day(time)).or_fail("set a time");
    }
}

fn seed_tree(dir: &Path) {
    plant(dir, 60, 11);
}

/// Sizes around those of pages, of the kernel's reads and of blocks.
const SIZES: [usize; 16] = [
    0, 1, 2, 511, 4095, 4096, 4097, 65_535, 65_536, 131_071, 131_072, 131_073, 262_145, 1_048_575,
    1_048_577, 3_333_333,
];

fn seed_sizes(dir: &Path) {
    for size in SIZES {
        put(&dir.join(size.to_string()), &bytes(2, size));
    }
}

fn seed_big(dir: &Path) {
    put(&dir.join("big"), &bytes(3, BIG));
}

fn seed_many(dir: &Path) {
    for n in 0..300 {
        put(&dir.join(format!("file{n:03}")), &bytes(n, 40_000));
    }
}

fn seed_programs(dir: &Path) {
    put(
        &dir.join("script"),
        b"#!/bin/sh\necho \"script says $1\"\nexit 7\n",
    );
    fs::copy("/bin/echo", dir.join("binary")).or_fail("copy a program");
    for name in ["script", "binary"] {
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.join(name), mode).or_fail("chmod");
    }
}

fn seed_hidden(dir: &Path) {
    for name in [".hidden", "..twice", "...", "seen", "-la", "-a"] {
        put(&dir.join(name), name.as_bytes());
    }
    fs::create_dir(dir.join(".folder")).or_fail("mkdir");
    put(&dir.join(".folder/.inner"), b"inner");
}

fn stat_tells_type_size_mode_time_and_owner(place: &Place) {
    for name in [
        "empty", "full", "nothing", "old", "older", "program", "readonly",
    ] {
        let is = fs::symlink_metadata(place.here.join(name)).or_fail("stat through the mount");
        let should = fs::symlink_metadata(place.there.join(name)).or_fail("stat on the server");
        assert_eq!(is.file_type(), should.file_type(), "{name}: type");
        // Without MLSD the time of a folder is the minute of its listing.
        let exact = should.is_file() || place.facts.folder_seconds;
        let unit = if exact { 1 } else { 60 };
        assert_eq!(
            is.mtime(),
            should.mtime() / unit * unit,
            "{name}: modification time"
        );
        if should.is_file() {
            assert_eq!(is.len(), should.len(), "{name}: size");
            assert_eq!(is.nlink(), 1, "{name}: link count");
        }
        if place.facts.modes {
            assert_eq!(is.mode() & 0o7777, should.mode() & 0o7777, "{name}: mode");
        } else {
            let plain = if should.is_file() { 0o644 } else { 0o755 };
            assert_eq!(is.mode() & 0o7777, plain, "{name}: mode made up");
        }
        assert_eq!(is.uid(), nix::unistd::geteuid().as_raw(), "{name}: owner");
        assert_eq!(is.gid(), nix::unistd::getegid().as_raw(), "{name}: group");
        assert_ne!(is.ino(), 0, "{name}: inode number");
    }
}

fn ls_lists_every_name(place: &Place) {
    assert_eq!(
        sh(&place.here, "ls -A1R | sort"),
        sh(&place.there, "ls -A1R | sort"),
        "ls -R"
    );
    let long = sh(&place.here, "ls -lan");
    let lines = long.lines().count();
    let names = fs::read_dir(&place.there).or_fail("list").count();
    assert_eq!(
        lines,
        names + 3,
        "ls -la: `total`, `.`, `..` and each name once:\n{long}"
    );
}

fn find_walks_the_tree(place: &Place) {
    for script in [
        "find . | sort",
        "find . -type f | sort",
        "find . -type d | sort",
        "find . -type f -printf '%s %p\\n' | sort",
        "find . -name '*.c' | sort",
        "find . -empty -type f | sort",
        "find . -type f -size +9k | sort",
        "find . -type f -printf '%T@ %p\\n' | cut -d. -f1 | sort | uniq -c",
    ] {
        assert_eq!(
            sh(&place.here, script),
            sh(&place.there, script),
            "{script}"
        );
    }
}

fn du_counts_blocks(place: &Place) {
    assert_eq!(
        sh(&place.here, "du -k readonly"),
        "1024\treadonly\n",
        "du of 1 MiB"
    );
    assert_eq!(
        sh(&place.here, "du -b old"),
        "12345\told\n",
        "du -b of 12345 bytes"
    );
    assert_eq!(
        sh(&place.here, "du -k nothing"),
        "0\tnothing\n",
        "du of an empty file"
    );
    let total = sh(&place.here, "du -sk . | cut -f1");
    let total: u64 = total.trim().parse().or_fail("a number from du");
    assert!(
        (1024..1200).contains(&total),
        "du -s: expected about 1040, found {total}"
    );
}

fn cat_gives_the_bytes_of_every_size(place: &Place) {
    for size in SIZES {
        let name = size.to_string();
        let found = program(&place.here, "cat")
            .arg(&name)
            .output()
            .or_fail("cat");
        assert!(found.status.success(), "cat {name}: {found:?}");
        same_bytes(
            &format!("cat of {size} bytes"),
            &found.stdout,
            &bytes(2, size),
        );
    }
    for size in SIZES.into_iter().rev() {
        has(&place.here.join(size.to_string()), &bytes(2, size));
    }
}

fn cp_takes_a_tree_out(place: &Place) {
    let out = tempdir().or_fail("make a folder");
    succeeds(
        program(&place.here, "cp")
            .arg("-r")
            .arg(".")
            .arg(out.path()),
    );
    same_trees(out.path(), &place.there, false);
    succeeds(
        program(&place.here, "diff")
            .arg("-r")
            .arg(".")
            .arg(out.path()),
    );
}

fn head_tail_and_dd_read_their_part(place: &Place) {
    for script in [
        "head -c 1000 big | cksum",
        "tail -c 1000 big | cksum",
        "tail -c +8000000 big | cksum",
        "dd if=big bs=4096 skip=1000 count=3 2>/dev/null | cksum",
        "dd if=big bs=1M skip=5 count=1 2>/dev/null | cksum",
        "dd if=big bs=1 skip=5000000 count=10 2>/dev/null | cksum",
        "head -c 0 big | cksum",
        "cksum < big",
    ] {
        assert_eq!(
            sh(&place.here, script),
            sh(&place.there, script),
            "{script}"
        );
    }
}

fn reads_anywhere(place: &Place) {
    let expected = bytes(3, BIG);
    let file = File::open(place.here.join("big")).or_fail("open");
    let mut dice = Dice::new(5);
    for n in 0..200 {
        let len = [1, 100, 4096, 40_000, 300_000].get(n % 5).copied().unwrap();
        let at = dice.below(BIG - len);
        let mut found = vec![0; len];
        file.read_exact_at(&mut found, at.try_into().unwrap())
            .or_fail(&format!("read {len} bytes at {at}"));
        same_bytes(
            &format!("{len} bytes at {at}"),
            &found,
            &expected[at..at + len],
        );
    }
}

fn reads_at_the_end_are_short_or_empty(place: &Place) {
    for size in SIZES {
        let file = File::open(place.here.join(size.to_string())).or_fail("open");
        let expected = bytes(2, size);
        let mut buffer = vec![0; 70_000];
        for (at, left) in [
            (size, 0),
            (size + 1, 0),
            (size + 10_000_000, 0),
            (size.saturating_sub(1), size.min(1)),
            (size.saturating_sub(60_000), size.min(60_000)),
        ] {
            let mut found = 0;
            while found < buffer.len() {
                let from = u64::try_from(at + found).unwrap();
                match file.read_at(&mut buffer[found..], from).or_fail("read") {
                    0 => break,
                    n => found += n,
                }
            }
            assert_eq!(found, left, "bytes of a {size}-byte file from {at} on");
            same_bytes("its end", &buffer[..found], &expected[size - left..]);
        }
    }
}

fn seeks_backwards_in_strides(place: &Place) {
    let expected = bytes(3, BIG);
    let mut file = File::open(place.here.join("big")).or_fail("open");
    for step in (0..BIG / 262_144).rev() {
        let at = step * 262_144;
        let mut found = vec![0; 5000.min(BIG - at)];
        file.seek(SeekFrom::Start(at.try_into().unwrap()))
            .or_fail("seek");
        file.read_exact(&mut found).or_fail("read");
        same_bytes(&format!("at {at}"), &found, &expected[at..at + found.len()]);
    }
}

fn two_places_of_a_file_are_read_in_turn(place: &Place) {
    let expected = bytes(3, BIG);
    let file = File::open(place.here.join("big")).or_fail("open");
    let half = BIG / 2;
    let mut found = vec![0; 64 * 1024];
    for turn in 0..half / found.len() {
        for at in [turn * found.len(), half + turn * found.len()] {
            file.read_exact_at(&mut found, at.try_into().unwrap())
                .or_fail("read");
            same_bytes(&format!("at {at}"), &found, &expected[at..at + found.len()]);
        }
    }
}

fn several_readers_of_one_file(place: &Place) {
    let expected = bytes(3, BIG);
    thread::scope(|scope| {
        for reader in 0..8 {
            let (path, expected) = (place.here.join("big"), &expected);
            scope.spawn(move || {
                let mut file = File::open(path).or_fail("open");
                let mut piece = vec![0; 3000 + reader * 77_777];
                let mut at = 0;
                loop {
                    let n = file.read(&mut piece).or_fail("read");
                    if n == 0 {
                        break;
                    }
                    let should = &expected[at..BIG.min(at + n)];
                    same_bytes(&format!("reader {reader} at {at}"), &piece[..n], should);
                    at += n;
                }
                assert_eq!(at, BIG, "bytes that reader {reader} got");
            });
        }
    });
}

fn many_open_files_read_in_turn(place: &Place) {
    let files: Vec<File> = (0..24)
        .map(|n| File::open(place.here.join(format!("file{n:03}"))).or_fail("open"))
        .collect();
    let mut found: Vec<Vec<u8>> = vec![Vec::new(); files.len()];
    for _ in 0..8 {
        for (mut file, all) in files.iter().zip(&mut found) {
            let mut piece = [0; 5000];
            file.read_exact(&mut piece).or_fail("read");
            all.extend_from_slice(&piece);
        }
    }
    for (n, all) in found.iter().enumerate() {
        same_bytes(
            &format!("file{n:03}"),
            all,
            &bytes(n.try_into().unwrap(), 40_000),
        );
    }
}

fn mmap_reads(place: &Place) {
    let expected = bytes(3, BIG);
    let file = File::open(place.here.join("big")).or_fail("open");
    let map = map_for_reading(&file).or_fail("mmap");
    let end = BIG - 1000;
    same_bytes("the end of the map", &map[end..], &expected[end..]);
    same_bytes(
        "its middle",
        &map[5_000_000..5_000_100],
        &expected[5_000_000..5_000_100],
    );
    same_bytes("all of it", &map, &expected);
}

fn programs_run_from_the_mount(place: &Place) {
    if place.facts.modes {
        let script = place.here.join("script");
        let out = program(&place.here, script)
            .arg("hello")
            .output()
            .or_fail("run the script");
        assert_eq!(out.stdout, b"script says hello\n", "what the script prints");
        assert_eq!(out.status.code(), Some(7), "exit code of the script");
        let binary = place.here.join("binary");
        let said = succeeds(program(&place.here, binary).args(["one", "two"]));
        assert_eq!(said, "one two\n", "what the program prints");
    } else {
        // Where the server tells no modes nothing seems executable.
        fails(
            "run a program without x",
            program(&place.here, place.here.join("binary")).output(),
            Errno::EACCES,
        );
        let out = program(&place.here, "sh")
            .args(["script", "hello"])
            .output()
            .or_fail("sh");
        assert_eq!(out.stdout, b"script says hello\n", "what the script prints");
        assert_eq!(out.status.code(), Some(7), "exit code of the script");
    }
}

fn an_empty_folder_is_empty(place: &Place) {
    holds::<&str>(&place.here.join("empty"), []);
    assert_eq!(sh(&place.here, "ls -A empty"), "", "ls of an empty folder");
    has(&place.here.join("nothing"), b"");
}

fn a_folder_cannot_be_read_as_a_file(place: &Place) {
    fails(
        "read a folder",
        fs::read(place.here.join("full")),
        Errno::EISDIR,
    );
    fails(
        "list a file",
        fs::read_dir(place.here.join("old")),
        Errno::ENOTDIR,
    );
    fails(
        "a name below a file",
        fs::metadata(place.here.join("old/x")),
        Errno::ENOTDIR,
    );
    fails(
        "an absent name",
        fs::metadata(place.here.join("absent")),
        Errno::ENOENT,
    );
    fails(
        "an absent folder",
        fs::read_dir(place.here.join("absent")),
        Errno::ENOENT,
    );
    fails(
        "a name below an absent folder",
        fs::read(place.here.join("absent/x")),
        Errno::ENOENT,
    );
}

fn hidden_names_are_listed(place: &Place) {
    holds(
        &place.here,
        [".hidden", "..twice", "...", "seen", "-la", "-a", ".folder"],
    );
    holds(&place.here.join(".folder"), [".inner"]);
    for name in [".hidden", "..twice", "...", "seen", "-la", "-a"] {
        has(&place.here.join(name), name.as_bytes());
    }
}

fn a_listing_can_be_rewound(place: &Place) {
    use nix::dir::Dir;
    use nix::fcntl::OFlag;
    use nix::sys::stat::Mode;
    let mut dir = Dir::open(&place.here, OFlag::O_RDONLY, Mode::empty()).or_fail("open the folder");
    let mut all = || -> Vec<Vec<u8>> {
        dir.iter()
            .map(|entry| entry.or_fail("list").file_name().to_bytes().to_vec())
            .collect()
    };
    // The iterator rewinds when it is dropped.
    let (first, second) = (all(), all());
    assert_eq!(first.len(), 302, "names with `.` and `..`");
    assert_eq!(first, second, "the same listing again");
    let mut names = snapshot(&place.there)
        .into_keys()
        .map(|p| p.into_os_string().into_encoded_bytes())
        .collect::<Vec<_>>();
    names.extend([b".".to_vec(), b"..".to_vec()]);
    names.sort();
    let mut first = first;
    first.sort();
    assert_eq!(first, names, "the names");
}

fn grep_reads_a_tree(place: &Place) {
    put(&place.here.join("needle"), b"hay\nneedle in hay\nhay\n");
    assert_eq!(
        sh(&place.here, "grep -rl 'needle in' ."),
        "./needle\n",
        "grep -r"
    );
    same_bytes(
        "the needle",
        &get(&place.there.join("needle")),
        b"hay\nneedle in hay\nhay\n",
    );
}
