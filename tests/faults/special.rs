//! What does not fit into the table.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::cell::{Ground, give_to_owner_of};
use crate::given_up::what_is_made_anew_is_not_deleted_by_who_has_given_up;
use crate::kept::Holder;
use crate::operation::{LARGE, Operation, SMALL, Seen, bytes};
use crate::outage::{
    a_restart_is_not_noticed, hard_waits_until_it_is_back, memory_answers_while_nothing_moves,
    retries_and_failures_are_told, who_asks_while_it_is_away_is_told_at_once,
};
use crate::stress::{everybody_at_once_on_a_quiet_line, everybody_at_once_while_lines_break};
use crate::support::faulty::Verb;
use crate::support::footprint::{self, Footprint};
use crate::support::poll;
use crate::{Site, test_apart};

const LIMIT: Duration = Duration::from_secs(20);

type Test = (&'static str, fn(&mut Ground));

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        const TESTS: &[Test] = &[$((stringify!($name), $name)),*];
    };
}

tests! {
    a_close_does_not_overtake_the_commit_of_another,
    memory_answers_while_nothing_moves,
    retries_and_failures_are_told,
    who_renames_or_cuts_what_is_being_uploaded_is_told_in_time,
    what_is_made_anew_is_not_deleted_by_who_has_given_up,
    an_old_path_is_looked_up_in_one_batch,
    hostile_names_are_not_shown,
    one_session_serves_several_readers,
    who_waits_for_a_connection_takes_no_processor,
    a_listing_whose_last_line_is_open_is_believed_the_second_time,
    chance_breaks_nothing,
    endless_replies_leave_nothing_behind,
    endless_listings_leave_nothing_behind,
    a_restart_is_not_noticed,
    who_asks_while_it_is_away_is_told_at_once,
    hard_waits_until_it_is_back,
    everybody_at_once_on_a_quiet_line,
    everybody_at_once_while_lines_break,
}

/// One trial per test.
pub(crate) fn trials(site: &Site) -> Vec<Trial> {
    TESTS
        .iter()
        .map(|(name, test)| {
            let site = site.clone();
            test_apart(site.name("::", &format!("special::{name}")), move || {
                let mut ground = site.ground(name);
                let test = AssertUnwindSafe(|| test(&mut ground));
                if let Err(panic) = catch_unwind(test) {
                    eprintln!("{name}:\n{}", ground.last_words());
                    resume_unwind(panic);
                }
                Ok(())
            })
        })
        .collect()
}

/// Two descriptors of one file, as a program and its child have them: each close is answered when the
/// server has the bytes, also the one that finds a commit under way.
fn a_close_does_not_overtake_the_commit_of_another(ground: &mut Ground) {
    ground.mount();
    let stall = ground.proxy.on(Verb::Appe).stall();
    let path = ground.mounted().at("log");
    let mut first = OpenOptions::new().append(true).open(path).unwrap();
    first.write_all(&bytes(4, SMALL)).unwrap();
    let second = first.try_clone().unwrap();
    let there = ground.there.clone();
    thread::scope(|scope| {
        let close = |file: fs::File| nix::unistd::close(file).unwrap();
        let closing = scope.spawn(move || close(first));
        stall.happens_within(LIMIT);
        let (tell, told) = mpsc::channel();
        let also = scope.spawn(move || {
            close(second);
            tell.send(Operation::Append.seen(&there)).unwrap();
        });
        let early = told.recv_timeout(Duration::from_millis(500));
        stall.lift();
        let seen = early.or_else(|_| told.recv_timeout(LIMIT)).unwrap();
        assert_eq!(seen, Seen::All, "when the second close has succeeded");
        also.join().unwrap();
        closing.join().unwrap();
    });
}

pub(crate) fn names(dir: &Path) -> std::io::Result<Vec<OsString>> {
    let mut names: Vec<_> = fs::read_dir(dir)?
        .map(|entry| entry.map(|e| e.file_name()))
        .collect::<Result<_, _>>()?;
    names.sort();
    Ok(names)
}

/// Both have to wait for an upload that stands still, and neither does so for ever.
fn who_renames_or_cuts_what_is_being_uploaded_is_told_in_time(ground: &mut Ground) {
    ground.mount();
    let at = |name: &str| ground.mounted().at(name);
    let (one, two, other) = (at("one"), at("two"), at("other"));
    let stalled = ground.proxy.on(Verb::Stor).stall_data_after(0);
    let mut writers = ["one", "two"].map(|name| {
        let create = format!("create {name}");
        let mut writer = Holder::new(ground.mounted(), &[&create, "large", "wait", "close"]);
        writer.does(2);
        writer
    });
    stalled.happens_within(LIMIT);
    thread::scope(|scope| {
        let renamed = scope.spawn(|| fs::rename(&one, &other));
        let cut = scope.spawn(|| nix::unistd::truncate(&two, 10));
        is_bounded(&renamed.join().unwrap().unwrap_err());
        is_bounded(&cut.join().unwrap().unwrap_err().into());
    });
    assert!(!other.exists());
    ground.proxy.heal();
    for writer in &mut writers {
        writer.go_on();
        writer.does(1);
    }
    assert_eq!(fs::read(ground.there.join("one")).unwrap(), bytes(5, LARGE));
    assert_eq!(
        fs::read(ground.there.join("two")).unwrap(),
        bytes(5, LARGE)[..10]
    );
    assert_eq!(ground.ends_clean(), Some(0));
}

/// A path whose listings are all too old to be believed is asked for at once, not name by name.
fn an_old_path_is_looked_up_in_one_batch(ground: &mut Ground) {
    let folder = ground.there.join("a/b/c");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("file"), "old").unwrap();
    give_to_owner_of(&ground.there, &ground.there.join("a"));
    ground.mount_with(&["cache_timeout=2"]);
    let file = ground.mounted().at("a/b/c/file");
    let asked = || {
        let counts = ground.proxy.counts();
        (counts.commands(Verb::Listing), counts.commands(Verb::Stat))
    };
    poll::until(3 * LIMIT, "all four are asked for in one batch", || {
        let (lists, stats) = asked();
        assert_eq!(fs::metadata(&file).unwrap().len(), 3);
        asked() == (lists, stats + 4)
    });
    fs::write(folder.join("file"), "and new").unwrap();
    poll::until(LIMIT, "what others wrote is seen", || {
        fs::metadata(&file).unwrap().len() == 7
    });
    // Somebody else takes the folder away, and what is there now has another.
    fs::rename(folder.parent().unwrap(), ground.there.join("elsewhere")).unwrap();
    poll::until(LIMIT, "it is gone", || {
        fs::metadata(&file).is_err_and(|e| e.raw_os_error() == Some(libc::ENOENT))
    });
    let moved = ground.mounted().at("elsewhere/c/file");
    poll::until(LIMIT, "it is where it went", || {
        fs::read(&moved).is_ok_and(|content| content == b"and new")
    });
}

fn hostile_names_are_not_shown(ground: &mut Ground) {
    let line = |name: &[u8]| [b"-rw-r--r-- 1 0 0 7 Jan 01 2020 ", name, b"\r\n"].concat();
    let hostile: &[&[u8]] = &[
        b"../x",
        b"/etc/passwd",
        b"..",
        b".",
        b"",
        b"a/b",
        b"nul\0nul",
        b"twice",
        b"twice",
        b"good",
    ];
    let listing: Vec<u8> = hostile.iter().flat_map(|name| line(name)).collect();
    ground.proxy.on(Verb::Listing).data_instead(&listing);
    ground.mount();
    let here = ground.mounted().path();
    assert_eq!(names(here).unwrap(), ["good", "twice"]);
    ground.proxy.heal();

    // A name of a megabyte is the server's fault, and says so.
    let fault = ground
        .proxy
        .on(Verb::Listing)
        .data_instead(&line(&vec![b'x'; 1 << 20]));
    poll::until(LIMIT, "the listing is asked for again", || {
        let listed = names(here);
        fault.hits() > 0 && listed.is_err_and(|e| e.raw_os_error() == Some(libc::EIO))
    });
    ground.proxy.heal();
    poll::until(LIMIT, "the true names are there", || {
        names(here).is_ok_and(|names| names.len() == 7)
    });
}

fn one_session_serves_several_readers(ground: &mut Ground) {
    ground.mount();
    let refused = ground
        .proxy
        .on(Verb::Connect)
        .answer("421 Too many connections.");
    let here = ground.mounted().path().to_path_buf();
    thread::scope(|scope| {
        for operation in [
            Operation::CatLarge,
            Operation::CatSmall,
            Operation::Ls,
            Operation::CpInLarge,
            Operation::Overwrite,
            Operation::Mkdir,
        ] {
            let ground = &*ground;
            scope.spawn(move || {
                let result = ground.run(operation, 3 * LIMIT);
                assert!(result.is_ok(), "{}: {result:?}", operation.name());
                assert_eq!(operation.seen(&ground.there), Seen::All);
            });
        }
    });
    assert!(refused.hits() > 0, "it has asked for more");
    assert_eq!(fs::read(here.join("small")).unwrap().len(), SMALL);
}

/// As many wait as may, for the one connection that a stalled upload holds.
fn who_waits_for_a_connection_takes_no_processor(ground: &mut Ground) {
    const WINDOW: Duration = Duration::from_secs(1);
    ground.mount_with(&["max_conns=1", "timeout=20"]);
    let here = ground.mounted().path().to_path_buf();
    let pid = ground.mounted().pid();
    let stall = ground.proxy.on(Verb::Appe).stall();
    thread::scope(|scope| {
        let ground = &*ground;
        scope.spawn(move || ground.run(Operation::Append, 3 * LIMIT).unwrap());
        stall.happens_within(LIMIT);
        for _ in 0..6 {
            let path = here.join("small");
            scope.spawn(move || assert_eq!(fs::read(path).unwrap().len(), SMALL));
        }
        let before = footprint::processor_time(pid);
        thread::sleep(WINDOW);
        let taken = footprint::processor_time(pid) - before;
        stall.lift();
        assert!(
            taken < WINDOW / 4,
            "{taken:?} of the processor in {WINDOW:?}"
        );
    });
}

/// Some servers may never end the last line; and no cut comes at the same byte twice by chance.
fn a_listing_whose_last_line_is_open_is_believed_the_second_time(ground: &mut Ground) {
    ground
        .proxy
        .on(Verb::Listing)
        .data_instead(b"-rw-r--r-- 1 0 0 7 Jan 01 2020 one\r\n-rw-r--r-- 1 0 0 7 Jan 01 2020 two");
    ground.mount();
    assert_eq!(names(ground.mounted().path()).unwrap(), ["one", "two"]);
}

/// Everything at once while lines break at random: each operation does its work or fails, and then the
/// server has what it must have.
fn chance_breaks_nothing(ground: &mut Ground) {
    ground.mount();
    let operations = [
        Operation::CatLarge,
        Operation::CpInLarge,
        Operation::Ls,
        Operation::Overwrite,
        Operation::Stat,
        Operation::Fsync,
        Operation::CatSmall,
    ];
    for seed in 0..4 {
        ground.proxy.random_faults(seed, 0.1);
        thread::scope(|scope| {
            for operation in operations {
                let ground = &*ground;
                scope.spawn(move || {
                    let result = ground.run(operation, 3 * LIMIT);
                    let seen = operation.seen(&ground.there);
                    match result {
                        Ok(()) => assert_eq!(seen, Seen::All, "{} succeeds", operation.name()),
                        Err(e) => assert_ne!(seen, Seen::Damage, "{}: {e}", operation.name()),
                    }
                });
            }
        });
    }
    assert!(ground.proxy.counts().random_faults > 0);
    ground.proxy.heal();
    for operation in operations {
        ground.recover(operation);
        assert_eq!(operation.seen(&ground.there), Seen::All);
    }
    ground.ends_clean();
}

/// By size or by time, whichever a busy machine reaches first.
fn is_bounded(error: &std::io::Error) {
    let errno = error.raw_os_error();
    assert!(
        matches!(errno, Some(libc::EIO | libc::ETIMEDOUT)),
        "{error}"
    );
}

/// Whatever goes on for ever is an error each time, and all that it took is given back.
fn endless_replies_leave_nothing_behind(ground: &mut Ground) {
    ground.mount();
    let pid = ground.mounted().pid();
    let dir = ground.mounted().at("new");
    let strike = |times: usize| {
        for bytes in [&b"257 x"[..], b"257-x\r\n", b"150 soon\r\n", b"\0"] {
            let fault = ground.proxy.on(Verb::Mkd).answer_endlessly(bytes);
            for _ in 0..times {
                let made = fs::create_dir(&dir).unwrap_err();
                is_bounded(&made);
            }
            assert!(fault.hits() >= times);
            fault.lift();
        }
    };
    strike(2);
    let before = Footprint::of(pid);
    strike(10);
    before.is_kept(pid, LIMIT);
    let grown = Footprint::of(pid).peak.saturating_sub(before.memory);
    assert!(grown <= 32 << 20, "{grown} more bytes at its peak");
    fs::create_dir(&dir).unwrap();
}

fn endless_listings_leave_nothing_behind(ground: &mut Ground) {
    const LINE: &[u8] = b"-rw-r--r-- 1 0 0 7 Jan 01 2020 a name\r\n";
    ground.mount_with(&["cache_timeout=0"]);
    let pid = ground.mounted().pid();
    let here = ground.mounted().path().to_path_buf();
    let whole = names(&here).unwrap();
    let strike = |times: usize| {
        for bytes in [&LINE.repeat(1000)[..], b"x"] {
            let fault = ground.proxy.on(Verb::Listing).endless_data(bytes);
            for _ in 0..times {
                let listed = names(&here).unwrap_err();
                is_bounded(&listed);
            }
            // Who comes after a deadline may share the listing that is still on its way.
            assert!(fault.hits() > 0);
            fault.lift();
        }
    };
    strike(1);
    let before = Footprint::of(pid);
    strike(4);
    before.is_kept(pid, LIMIT);
    // Two million lines are the limit.
    let most = 2_000_000 * LINE.len() as u64;
    let grown = Footprint::of(pid).peak.saturating_sub(before.memory);
    assert!(grown <= most + (32 << 20), "{grown} more bytes at its peak");
    assert_eq!(names(&here).unwrap(), whole);
}
