//! A mount that works for long is as small at the end as soon after its beginning.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use crate::case::NO_CACHE;
use crate::check::{OrFail, fails, holds, same_bytes};
use crate::files::{bytes, close, get, has, put};
use crate::place::{Look, Place};
use crate::support::footprint::Footprint;

use nix::errno::Errno;

cases! {
    ten_thousand_opens_and_closes_leave_nothing_behind.seeded(seed).mounts_only().seconds(240).uncompared(),
    a_hundred_thousand_operations_leave_nothing_behind.seeded(seed).mounts_only().seconds(240).uncompared(),
    without_a_cache_operations_leave_nothing_behind.seeded(seed).mounts_only().seconds(240).uncompared(),
    three_hundred_files_made_and_removed_leave_nothing_behind.mounts_only().seconds(240),
}

const FILES: usize = 50;
const SIZE: usize = 5000;

/// Until what is given back in the background has been given back.
const SETTLING: Duration = Duration::from_secs(30);

fn seed(dir: &Path) {
    for n in 0..FILES {
        put(&dir.join(name(n)), &content(n));
    }
    fs::create_dir(dir.join("folder")).or_fail("mkdir");
}

fn name(n: usize) -> String {
    format!("file{:02}", n % FILES)
}

fn content(n: usize) -> Vec<u8> {
    bytes((n % FILES) as u64, SIZE)
}

/// Does `step` so often, in two threads, after a tenth of that to get warm; the mount must not have
/// grown.
fn steady(look: &Look, count: usize, step: impl Fn(usize) + Sync) {
    let run = |from: usize, to: usize| {
        std::thread::scope(|scope| {
            for half in 0..2 {
                let step = &step;
                scope.spawn(move || (from..to).skip(half).step_by(2).for_each(step));
            }
        });
    };
    let warm = count / 10;
    run(0, warm);
    open_all_connections(look);
    let before = Footprint::of(look.mounted().pid());
    run(warm, warm + count);
    before.is_kept(look.mounted().pid(), SETTLING);
}

/// Further connections are opened when transfers come often; later that would look like growth.
fn open_all_connections(look: &Look) {
    std::thread::scope(|scope| {
        for thread in 0..6 {
            scope.spawn(move || {
                let path = look.here.join(format!("warm{thread}"));
                for _ in 0..20 {
                    fs::write(&path, "warm").or_fail("write");
                    fs::remove_file(&path).or_fail("remove");
                }
            });
        }
    });
}

fn ten_thousand_opens_and_closes_leave_nothing_behind(place: &Place) {
    let look = place.fresh_look();
    steady(&look, 10_000, |n| {
        let mut file = File::open(look.here.join(name(n))).or_fail("open");
        let mut piece = [0; 100];
        file.read_exact(&mut piece).or_fail("read");
        same_bytes("its beginning", &piece, &content(n)[..100]);
        close(file).or_fail("close");
    });
    has(&look.here.join(name(7)), &content(7));
}

/// One of many kinds of questions; nothing is changed.
fn question(look: &Look, open: &File, n: usize) {
    let there = look.here.join(name(n));
    match n % 8 {
        0 | 1 => {
            let len = fs::metadata(&there).or_fail("stat").len();
            assert_eq!(len, SIZE as u64, "size of {}", there.display());
        }
        // A name that nobody has asked for: the kernel cannot know.
        2 | 3 => {
            let absent = look.here.join(format!("absent{n}"));
            fails(
                "stat of an absent name",
                fs::metadata(absent),
                Errno::ENOENT,
            );
        }
        4 => {
            nix::sys::statvfs::statvfs(&look.here).or_fail("statfs");
        }
        5 => {
            let at = (n * 7) % (SIZE - 100);
            let mut piece = [0; 100];
            open.read_exact_at(&mut piece, at as u64).or_fail("read");
            same_bytes("a piece", &piece, &content(0)[at..at + 100]);
        }
        6 if n % 400 == 6 => {
            let count = fs::read_dir(&look.here).or_fail("list").count();
            assert_eq!(count, FILES + 1, "names");
        }
        6 => {
            nix::unistd::access(&there, nix::unistd::AccessFlags::R_OK).or_fail("access");
        }
        _ => {
            let folder = fs::metadata(look.here.join("folder")).or_fail("stat");
            assert!(folder.is_dir(), "the folder is one");
        }
    }
}

fn a_hundred_thousand_operations_leave_nothing_behind(place: &Place) {
    let look = place.fresh_look();
    let open = File::open(look.here.join(name(0))).or_fail("open");
    steady(&look, 100_000, |n| question(&look, &open, n));
    close(open).or_fail("close");
}

fn without_a_cache_operations_leave_nothing_behind(place: &Place) {
    let look = place.mount(NO_CACHE);
    let open = File::open(look.here.join(name(0))).or_fail("open");
    steady(&look, 500, |n| {
        question(&look, &open, n);
        if n % 10 == 0 {
            same_bytes("its content", &get(&look.here.join(name(n))), &content(n));
        }
    });
    close(open).or_fail("close");
}

fn three_hundred_files_made_and_removed_leave_nothing_behind(place: &Place) {
    let look = place.fresh_look();
    steady(&look, 300, |n| {
        let path = look.here.join(format!("new{n}"));
        put(&path, &bytes(n as u64, 2000));
        if n % 2 == 0 {
            let other = look.here.join(format!("renamed{n}"));
            fs::rename(&path, &other).or_fail("rename");
            fs::remove_file(&other).or_fail("unlink");
        } else {
            fs::remove_file(&path).or_fail("unlink");
        }
    });
    holds::<&str>(&place.there, []);
}
