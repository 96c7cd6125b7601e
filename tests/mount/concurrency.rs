//! Many programs at once.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::case::{ATOMIC, NO_CACHE, ONE_CONNECTION};
use crate::check::{OrFail, Over, holds, same_bytes};
use crate::files::{Dice, append, bytes, close, get, has, put};
use crate::place::Place;
use crate::shell::{program, sh};
use crate::tree::plant;

cases! {
    everybody_works_in_a_folder_of_his_own.smoke().seconds(240).also(&[NO_CACHE, ONE_CONNECTION, ATOMIC]),
    everybody_works_in_the_same_folder.smoke().seconds(240).also(&[NO_CACHE, ONE_CONNECTION]),
    several_writers_of_one_file.smoke().also(&[ONE_CONNECTION]),
    a_reader_follows_a_writer.smoke().also(&[ONE_CONNECTION]),
    one_of_many_gets_the_exclusive_file.smoke().also(&[NO_CACHE]),
    one_of_many_makes_the_folder.smoke(),
    listings_while_names_come_and_go.also(&[NO_CACHE]),
    readers_and_writers_on_one_connection.seeded(seed_big).smoke().also(&[ONE_CONNECTION]),
    many_programs_walk_the_tree.seeded(seed_tree).smoke().also(&[ONE_CONNECTION]),
    renames_and_opens_race.also(&[NO_CACHE]),
}

const LONG: Duration = Duration::from_secs(4);

fn seed_big(dir: &Path) {
    put(&dir.join("big"), &bytes(3, 20_000_000));
}

fn seed_tree(dir: &Path) {
    plant(&dir.join("."), 150, 51);
}

/// Does random things to the files in `dir` whose names begin with `mark`, and knows what each holds.
fn work(place: &Place, dir: &Path, mark: &str, seed: u64) {
    let end = Instant::now() + LONG;
    let mut dice = Dice::new(seed);
    let mut model: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let (here, there) = (place.here.join(dir), place.there.join(dir));
    while Instant::now() < end {
        let name = format!("{mark}{}", dice.below(6));
        let path = here.join(&name);
        let known = model.get(&name).cloned();
        match (dice.below(10), known) {
            (0..=2, _) => {
                let content = bytes(dice.next(), dice.below(60_000));
                put(&path, &content);
                same_bytes(
                    "on the server after the close",
                    &get(&there.join(&name)),
                    &content,
                );
                model.insert(name, content);
            }
            (3..=4, Some(mut content)) => {
                let more = bytes(dice.next(), 1 + dice.below(500));
                append(&path, &more);
                content.extend_from_slice(&more);
                model.insert(name, content);
            }
            (5, Some(mut content)) if !content.is_empty() => {
                let at = dice.below(content.len());
                let file = OpenOptions::new().write(true).open(&path).or_fail("open");
                file.write_all_at(b"patch", at as u64).or_fail("write");
                close(file).or_fail("close");
                content.resize(content.len().max(at + 5), 0);
                content[at..at + 5].copy_from_slice(b"patch");
                model.insert(name, content);
            }
            (6, Some(content)) => {
                let other = format!("{mark}{}", dice.below(6));
                fs::rename(&path, here.join(&other)).or_fail("rename");
                if other != name {
                    model.remove(&name);
                    model.insert(other, content);
                }
            }
            (7, Some(_)) => {
                fs::remove_file(&path).or_fail("unlink");
                model.remove(&name);
            }
            (_, Some(content)) => has(&path, &content),
            (_, None) => {
                let error = fs::metadata(&path)
                    .err()
                    .and_then(|error| error.raw_os_error());
                assert_eq!(error, Some(Errno::ENOENT as i32), "{name} is absent");
            }
        }
    }
    for (name, content) in &model {
        same_bytes("on the server at the end", &get(&there.join(name)), content);
        has(&here.join(name), content);
    }
}

fn everybody_works_in_a_folder_of_his_own(place: &Place) {
    thread::scope(|scope| {
        for n in 0..6u64 {
            let dir = format!("folder{n}");
            fs::create_dir(place.here.join(&dir)).or_fail("mkdir");
            scope.spawn(move || work(place, Path::new(&dir), "file", n));
        }
    });
}

fn everybody_works_in_the_same_folder(place: &Place) {
    thread::scope(|scope| {
        for n in 0..6u64 {
            scope.spawn(move || work(place, Path::new("."), &format!("of{n}-"), n + 100));
        }
    });
}

fn several_writers_of_one_file(place: &Place) {
    const PART: usize = 200_000;
    let path = place.here.join("file");
    put(&path, b"");
    let content = bytes(7, PART * 6);
    thread::scope(|scope| {
        for n in 0..6 {
            let (path, content) = (&path, &content);
            scope.spawn(move || {
                let file = OpenOptions::new().write(true).open(path).or_fail("open");
                for at in (n * PART..(n + 1) * PART).step_by(10_000) {
                    file.write_all_at(&content[at..at + 10_000], at as u64)
                        .or_fail("write");
                }
                close(file).or_fail("close");
            });
        }
    });
    has(&place.there.join("file"), &content);
    has(&path, &content);
}

fn a_reader_follows_a_writer(place: &Place) {
    let path = place.here.join("log");
    put(&path, b"");
    let content = bytes(8, 2_000_000);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _over = Over(&over);
            let mut file = OpenOptions::new().append(true).open(&path).or_fail("open");
            for piece in content.chunks(25_000) {
                file.write_all(piece).or_fail("append");
            }
            close(file).or_fail("close");
        });
        for _ in 0..3 {
            scope.spawn(|| {
                let mut seen = 0;
                while !over.load(Ordering::SeqCst) {
                    let found = get(&path);
                    assert!(found.len() >= seen, "the file has become shorter");
                    seen = found.len();
                    same_bytes(
                        "what a reader sees",
                        &found,
                        &content[..seen.min(content.len())],
                    );
                }
                has(&path, &content);
            });
        }
    });
    has(&place.there.join("log"), &content);
}

fn one_of_many_gets_the_exclusive_file(place: &Place) {
    for round in 0..10 {
        let path = place.here.join(format!("lock{round}"));
        let winners = AtomicUsize::new(0);
        thread::scope(|scope| {
            for n in 0..8 {
                let (path, winners) = (&path, &winners);
                scope.spawn(move || match File::create_new(path) {
                    Ok(mut file) => {
                        winners.fetch_add(1, Ordering::SeqCst);
                        write!(file, "winner {n}").or_fail("write");
                        close(file).or_fail("close");
                    }
                    Err(error) => assert_eq!(
                        error.raw_os_error(),
                        Some(Errno::EEXIST as i32),
                        "what the others are told"
                    ),
                });
            }
        });
        assert_eq!(
            winners.load(Ordering::SeqCst),
            1,
            "winners of round {round}"
        );
        let content = get(&place.there.join(format!("lock{round}")));
        assert!(
            content.starts_with(b"winner "),
            "content: {:?}",
            content.escape_ascii().to_string()
        );
    }
}

fn one_of_many_makes_the_folder(place: &Place) {
    for round in 0..10 {
        let path = place.here.join(format!("folder{round}"));
        let winners = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| match fs::create_dir(&path) {
                    Ok(()) => {
                        winners.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(error) => assert_eq!(
                        error.raw_os_error(),
                        Some(Errno::EEXIST as i32),
                        "what the others are told"
                    ),
                });
            }
        });
        assert_eq!(
            winners.load(Ordering::SeqCst),
            1,
            "winners of round {round}"
        );
    }
}

fn listings_while_names_come_and_go(place: &Place) {
    let stay: Vec<String> = (0..50).map(|n| format!("stays{n}")).collect();
    for name in &stay {
        put(&place.here.join(name), b"x");
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let found = crate::check::names(&place.here);
                    for name in &stay {
                        assert!(
                            found.contains(name.as_ref() as &std::ffi::OsStr),
                            "{name} is missing"
                        );
                    }
                }
            });
        }
        scope.spawn(|| {
            let _over = Over(&over);
            let end = Instant::now() + LONG;
            while Instant::now() < end {
                for n in 0..10 {
                    put(&place.here.join(format!("comes{n}")), b"y");
                }
                for n in 0..10 {
                    let (old, new) = (format!("comes{n}"), format!("goes{n}"));
                    fs::rename(place.here.join(old), place.here.join(&new)).or_fail("rename");
                    fs::remove_file(place.here.join(new)).or_fail("unlink");
                }
            }
        });
    });
    holds(&place.here, &stay);
    holds(&place.there, &stay);
}

fn readers_and_writers_on_one_connection(place: &Place) {
    let big = bytes(3, 20_000_000);
    thread::scope(|scope| {
        for n in 0..3usize {
            let big = &big;
            scope.spawn(move || {
                let file = File::open(place.here.join("big")).or_fail("open");
                let mut piece = vec![0; 500_000];
                for turn in 0..20 {
                    let at = (turn * 1_000_000 + n * 333_333) % 19_000_000;
                    file.read_exact_at(&mut piece, at as u64).or_fail("read");
                    same_bytes(
                        &format!("reader {n} at {at}"),
                        &piece,
                        &big[at..at + 500_000],
                    );
                }
            });
            scope.spawn(move || {
                for round in 0..3u64 {
                    let name = format!("written{n}");
                    let content = bytes(round, 1_000_000 + n);
                    let mut file = File::create(place.here.join(&name)).or_fail("open");
                    for part in content.chunks(90_000) {
                        file.write_all(part).or_fail("write");
                    }
                    close(file).or_fail("close");
                    has(&place.there.join(&name), &content);
                }
            });
            scope.spawn(move || {
                for round in 0..10 {
                    let dir = place.here.join(format!("dir{n}-{round}"));
                    fs::create_dir(&dir).or_fail("mkdir");
                    put(&dir.join("file"), b"x");
                    holds(&dir, ["file"]);
                }
            });
        }
    });
}

fn many_programs_walk_the_tree(place: &Place) {
    let expected = sh(&place.there, "find . -type f -exec cksum {} + | sort");
    let children: Vec<_> = (0..6)
        .map(|_| {
            program(&place.here, "sh")
                .args(["-ec", "find . -type f -exec cksum {} + | sort"])
                .stdout(std::process::Stdio::piped())
                .spawn()
                .or_fail("spawn")
        })
        .collect();
    for child in children {
        let out = child.wait_with_output().or_fail("wait");
        assert!(out.status.success(), "find: {}", out.status);
        assert_eq!(
            String::from_utf8_lossy(&out.stdout),
            expected,
            "sums of all files"
        );
    }
}

/// Which 4 KiB pages come from which content.
fn mixture(found: &[u8], contents: &[Vec<u8>]) -> String {
    let pages = found.chunks(4096).enumerate().map(|(n, page)| {
        let from = |content: &Vec<u8>| content.get(n * 4096..).is_some_and(|c| c.starts_with(page));
        match contents.iter().position(from) {
            Some(which) => which.to_string(),
            None if page.iter().all(|byte| *byte == 0) => "zeros".to_owned(),
            None => "?".to_owned(),
        }
    });
    let pages: Vec<String> = pages.collect();
    format!("{} bytes, pages of {}", found.len(), pages.join(" "))
}

/// A name always stands for one of the two contents, never for nothing.
fn renames_and_opens_race(place: &Place) {
    let path = place.here.join("document");
    let contents = [bytes(1, 30_000), bytes(2, 40_000)];
    put(&path, &contents[0]);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _over = Over(&over);
            for n in 1..30 {
                let new = place.here.join("document.new");
                put(&new, &contents[n % 2]);
                fs::rename(&new, &path).or_fail("rename over");
            }
        });
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let found = get(&path);
                    assert!(
                        contents.contains(&found),
                        "neither of the two contents: {}",
                        mixture(&found, &contents)
                    );
                }
            });
        }
    });
    has(&place.there.join("document"), &contents[1]);
}
