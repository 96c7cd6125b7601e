//! Small files read one after the other: the next ones are fetched before they are opened.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use crate::check::{OrFail, eventually, fails, holding};
use crate::files::{bytes, get, has, put};
use crate::place::Place;

cases! {
    every_order_gives_the_right_bytes.seeded(seed).smoke(),
    own_changes_in_front_of_the_reader_are_seen.seeded(seed).smoke(),
    changes_of_others_in_front_of_the_reader_are_seen.seeded(seed).mounts_only().by_others(),
    several_readers_go_through_one_folder.seeded(seed),
}

const FILES: usize = 60;

/// Mixed with what is not fetched ahead: a large file, an empty one, folders.
fn seed(dir: &Path) {
    for n in 0..FILES {
        put(&dir.join(name(n)), &content(n));
    }
    for n in [7, 23] {
        fs::create_dir(dir.join(format!("{}-folder", name(n)))).or_fail("mkdir");
        put(&dir.join(format!("{}-large", name(n))), &bytes(1, 300_000));
        put(&dir.join(format!("{}-empty", name(n))), b"");
    }
}

fn name(n: usize) -> String {
    format!("f{n:03}")
}

fn content(n: usize) -> Vec<u8> {
    let sizes = [1, 100, 4096, 20_000, 131_072, 131_073];
    bytes(n as u64, sizes[n % sizes.len()])
}

fn every_order_gives_the_right_bytes(place: &Place) {
    let every_third = (0..FILES).map(|n| n * 3 % FILES);
    let orders = (0..FILES).chain((0..FILES).rev()).chain(every_third);
    for n in orders {
        has(&place.here.join(name(n)), &content(n));
    }
    has(&place.here.join("f007-large"), &bytes(1, 300_000));
    has(&place.here.join("f007-empty"), b"");
}

fn own_changes_in_front_of_the_reader_are_seen(place: &Place) {
    let at = |n: usize| place.here.join(name(n));
    for n in (0..FILES - 6).step_by(6) {
        for read in n..n + 3 {
            get(&at(read));
        }
        put(&at(n + 3), b"written over");
        fs::rename(at(n + 4), at(n + 5)).or_fail("rename over");
        has(&at(n + 3), b"written over");
        fails("renamed away", fs::read(at(n + 4)), Errno::ENOENT);
        has(&at(n + 5), &content(n + 4));
        fs::remove_file(at(n + 5)).or_fail("remove");
        fails("removed", fs::read(at(n + 5)), Errno::ENOENT);
    }
}

fn changes_of_others_in_front_of_the_reader_are_seen(place: &Place) {
    for n in 0..10 {
        has(&place.here.join(name(n)), &content(n));
    }
    for n in 10..FILES {
        let temporary = place.there.join("theirs");
        put(&temporary, format!("theirs, {n}").as_bytes());
        place.give(&temporary);
        fs::rename(&temporary, place.there.join(name(n))).or_fail("rename on the server");
    }
    // What was fetched before may be a second old.
    for n in 10..FILES {
        eventually("it is theirs", Duration::from_secs(20), || {
            let found = get(&place.here.join(name(n)));
            let whole = found == content(n) || found.starts_with(b"theirs");
            assert!(whole, "neither the old content nor the new one");
            holding(found.starts_with(b"theirs"), || {
                "the old content".to_owned()
            })
        });
    }
}

fn several_readers_go_through_one_folder(place: &Place) {
    std::thread::scope(|scope| {
        for first in [0, 0, 10, 30] {
            scope.spawn(move || {
                for n in first..FILES {
                    has(&place.here.join(name(n)), &content(n));
                }
            });
        }
    });
}
