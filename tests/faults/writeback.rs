//! `writeback`: what is closed comes to the server later, whatever happens meanwhile.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::Site;
use crate::kept::{Kept, trial};
use crate::operation::{LARGE, SMALL, bytes};
use crate::support::faulty::Verb;
use crate::support::poll;

const LIMIT: Duration = Duration::from_secs(60);

/// Names are looked up in memory: the server is not asked for them.
const OPTIONS: &[&str] = &["writeback", "cache_timeout=600"];
/// What waits for an upload that is stuck waits for two attempts of it, each with a login of its own.
const PATIENT: &[&str] = &["writeback", "cache_timeout=600", "connect_timeout=20"];

/// Less than four small files.
const SMALL_LIMIT: &[&str] = &["writeback", "cache_timeout=600", "writeback_limit=10000"];

type Test = fn(&mut Kept);

const TESTS: &[(&str, &[&str], Test)] = &[
    ("close_does_not_wait", OPTIONS, close_does_not_wait),
    ("fsync_waits", OPTIONS, fsync_waits),
    (
        "unmounting_sends_the_rest",
        OPTIONS,
        unmounting_sends_the_rest,
    ),
    (
        "what_cannot_be_sent_is_kept",
        OPTIONS,
        what_cannot_be_sent_is_kept,
    ),
    ("it_outlives_kill_9", OPTIONS, it_outlives_kill_9),
    ("a_refusal_is_told", OPTIONS, a_refusal_is_told),
    ("it_waits_for_the_server", OPTIONS, it_waits_for_the_server),
    (
        "a_new_file_overwrites_nothing",
        OPTIONS,
        a_new_file_overwrites_nothing,
    ),
    (
        "a_new_file_overwrites_no_empty_one",
        OPTIONS,
        a_new_file_overwrites_no_empty_one,
    ),
    (
        "an_edit_overwrites_nothing",
        OPTIONS,
        an_edit_overwrites_nothing,
    ),
    ("the_last_close_wins", OPTIONS, the_last_close_wins),
    ("deleting_it_is_its_end", PATIENT, deleting_it_is_its_end),
    (
        "a_folder_with_it_is_not_empty",
        OPTIONS,
        a_folder_with_it_is_not_empty,
    ),
    ("it_goes_with_its_folder", PATIENT, it_goes_with_its_folder),
    (
        "beyond_the_limit_close_waits",
        SMALL_LIMIT,
        beyond_the_limit_close_waits,
    ),
];

/// One trial per test.
pub(crate) fn trials(site: &Site) -> Vec<Trial> {
    let trials = TESTS.iter().map(|(name, options, test)| {
        let site = site.clone();
        trial(site.name("::", &format!("writeback::{name}")), move || {
            let name = format!("writeback-{name}");
            let kept = Kept::new(&site, &name, options);
            // What is looked up from here on is in memory.
            assert!(kept.here("small").exists());
            (kept, *test)
        })
    });
    trials.collect()
}

impl Kept {
    /// Small files are made and closed, one after the other, and each close succeeds.
    #[track_caller]
    fn closes(&self, names: &[&str]) {
        let steps: Vec<_> = names
            .iter()
            .flat_map(|name| [format!("create {name}"), "small".into(), "close".into()])
            .collect();
        let steps: Vec<_> = steps.iter().map(String::as_str).collect();
        self.hold(&steps).does(steps.len());
    }

    fn has(&self, name: &str) -> bool {
        fs::read(self.there(name)).is_ok_and(|content| content == bytes(4, SMALL))
    }

    #[track_caller]
    fn stores(&self, names: &[&str]) {
        poll::until(LIMIT, "the server has it", || {
            names.iter().all(|name| self.has(name))
        });
    }

    #[track_caller]
    fn log_says(&self, what: &str) {
        poll::until(LIMIT, what, || self.ground.mounted().log().contains(what));
    }

    #[track_caller]
    fn ends(&mut self, code: i32) {
        assert_eq!(self.ground.take_mount().unmount(), Some(code));
    }
}

fn close_does_not_wait(kept: &mut Kept) {
    let stalled = kept.ground.proxy.on(Verb::Stor).stall();
    kept.closes(&["one", "two"]);
    stalled.happens_within(LIMIT);
    assert!(!kept.there("one").exists() && !kept.there("two").exists());
    for name in ["one", "two"] {
        assert_eq!(fs::read(kept.here(name)).unwrap(), bytes(4, SMALL));
        let size = fs::metadata(kept.here(name)).unwrap().len();
        assert_eq!(size, SMALL as u64);
    }
    let listed = fs::read_dir(kept.ground.mounted().path()).unwrap();
    let listed = listed.flatten().map(|entry| entry.file_name());
    assert_eq!(listed.filter(|n| n == "one" || n == "two").count(), 2);
    assert_eq!(kept.files("data").len(), 2);
    stalled.lift();
    kept.stores(&["one", "two"]);
    poll::until(LIMIT, "nothing is kept any more", || kept.is_empty());
    kept.ends(0);
}

fn fsync_waits(kept: &mut Kept) {
    kept.ground
        .proxy
        .on(Verb::Stor)
        .answer_at_end("452 Disk full.");
    let mut holder = kept.hold(&["create one", "small", "sync", "wait", "sync"]);
    holder.does(2);
    assert_eq!(holder.next(), libc::ENOSPC);
    kept.ground.proxy.heal();
    holder.go_on();
    holder.does(1);
    assert!(kept.has("one"));
    drop(holder);
    kept.ends(0);
}

fn unmounting_sends_the_rest(kept: &mut Kept) {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    kept.ground.proxy.go_down();
    kept.closes(&names);
    assert!(!kept.there("a").exists());
    kept.ground.proxy.come_up();
    kept.ends(0);
    assert!(names.iter().all(|name| kept.has(name)));
    assert!(kept.is_empty());
}

fn what_cannot_be_sent_is_kept(kept: &mut Kept) {
    kept.ground.proxy.go_down();
    kept.closes(&["one", "two"]);
    let log = File::open(kept.ground.mounted().log_path()).unwrap();
    kept.ends(7);
    let log = std::io::read_to_string(log).unwrap();
    let last = log.lines().last().unwrap();
    assert!(last.contains(&kept.ground.recovery()), "{log}");
    assert_eq!(kept.files("data").len(), 2);
    kept.ground.proxy.heal();
    kept.is_recovered();
    assert!(kept.has("one") && kept.has("two"));
}

fn it_outlives_kill_9(kept: &mut Kept) {
    let names = ["new", "victim"];
    kept.ground.proxy.on(Verb::Stor).stall();
    kept.closes(&names);
    let mut holder = kept.hold(&["append log", "small", "close"]);
    holder.does(3);
    drop(holder);
    kept.kill();
    kept.ground.proxy.heal();
    kept.mount_again();
    kept.log_says("3 files that earlier mounts");
    kept.ends(0);
    kept.is_recovered();
    assert!(names.iter().all(|name| kept.has(name)));
    let log = fs::read(kept.there("log")).unwrap();
    assert!(log.ends_with(&bytes(4, SMALL)) && log.len() > SMALL);
}

fn a_refusal_is_told(kept: &mut Kept) {
    let refused = kept
        .ground
        .proxy
        .on(Verb::Stor)
        .answer_at_end("452 Disk full.");
    kept.closes(&["one"]);
    refused.happens_within(LIMIT);
    kept.log_says("/one: closed, and the server does not take it");
    // Once, to who closes it next.
    let mut holder = kept.hold(&["create one", "small", "close"]);
    holder.does(2);
    assert_eq!(holder.next(), libc::ENOSPC);
    drop(holder);
    kept.ends(7);
    kept.ground.proxy.heal();
    kept.is_recovered();
    assert!(kept.has("one"));
}

fn it_waits_for_the_server(kept: &mut Kept) {
    kept.ground.proxy.go_down();
    kept.closes(&["one", "two"]);
    kept.log_says("closed, and not on the server");
    kept.ground.proxy.come_up();
    kept.stores(&["one", "two"]);
    poll::until(LIMIT, "nothing is kept any more", || kept.is_empty());
    kept.ends(0);
}

fn a_new_file_overwrites_nothing(kept: &mut Kept) {
    kept.ground.proxy.go_down();
    let mut holder = kept.hold(&["create_new one", "small", "close"]);
    holder.does(3);
    fs::write(kept.there("one"), "of somebody else").unwrap();
    // The look that was young enough at the creation is not any more.
    kept.log_says("closed, and not on the server");
    kept.ground.proxy.come_up();
    keeps_both(kept, "one");
    assert_eq!(fs::read(kept.copy()).unwrap(), bytes(4, SMALL));
}

/// A lock file, as others make it.
fn a_new_file_overwrites_no_empty_one(kept: &mut Kept) {
    let created = Instant::now();
    let mut holder = kept.hold(&["create_new one", "small", "wait", "close"]);
    holder.does(2);
    fs::write(kept.there("one"), "").unwrap();
    // So long the look at the creation counts.
    let is_old = || created.elapsed() > Duration::from_secs(2);
    poll::until(Duration::from_secs(10), "the look is old", is_old);
    holder.go_on();
    kept.log_says("changed on the server");
    drop(holder);
    kept.ends(7);
    assert_eq!(fs::read(kept.there("one")).unwrap(), b"");
    assert_eq!(fs::read(kept.copy()).unwrap(), bytes(4, SMALL));
}

fn an_edit_overwrites_nothing(kept: &mut Kept) {
    let mut holder = kept.hold(&["edit large", "text 700000", "wait", "close"]);
    holder.does(2);
    kept.ground.proxy.go_down();
    fs::write(kept.there("large"), "of somebody else").unwrap();
    holder.go_on();
    holder.does(1);
    drop(holder);
    kept.ground.proxy.come_up();
    keeps_both(kept, "large");
    let mut copy = fs::read(kept.copy()).unwrap();
    copy.truncate(700_007);
    assert!(copy.ends_with(b"changed") && copy.len() < LARGE);
}

#[track_caller]
fn keeps_both(kept: &mut Kept, name: &str) {
    kept.log_says("changed on the server");
    kept.ends(7);
    let found = fs::read(kept.there(name)).unwrap();
    assert_eq!(found, b"of somebody else");
    let (code, said) = kept.recover(&[kept.ground.url()]);
    assert_eq!(code, Some(7), "{said}");
    assert!(said.contains("not stored: it changed"), "{said}");
    let found = fs::read(kept.there(name)).unwrap();
    assert_eq!(found, b"of somebody else");
}

fn the_last_close_wins(kept: &mut Kept) {
    let stalled = kept.ground.proxy.on(Verb::Stor).once().stall();
    let mut steps = Vec::new();
    for text in ["text 0", "text 9", "text 3", "small"] {
        steps.extend(["create one", text, "close"]);
    }
    kept.hold(&steps).does(steps.len());
    stalled.lift();
    kept.stores(&["one"]);
    poll::until(LIMIT, "nothing is kept any more", || kept.is_empty());
    kept.ends(0);
    assert!(kept.has("one"));
}

fn deleting_it_is_its_end(kept: &mut Kept) {
    let stalled = kept.ground.proxy.on(Verb::Stor).stall();
    kept.closes(&["one", "victim"]);
    stalled.happens_within(LIMIT);
    for name in ["one", "victim"] {
        fs::remove_file(kept.here(name)).unwrap();
        assert!(!kept.here(name).exists());
    }
    assert!(kept.is_empty());
    stalled.lift();
    kept.ends(0);
    assert!(!kept.there("one").exists() && !kept.there("victim").exists());
}

fn a_folder_with_it_is_not_empty(kept: &mut Kept) {
    fs::create_dir(kept.here("folder")).unwrap();
    let stalled = kept.ground.proxy.on(Verb::Stor).stall();
    kept.closes(&["folder/one"]);
    let error = fs::remove_dir(kept.here("folder")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOTEMPTY));
    stalled.lift();
    kept.stores(&["folder/one"]);
    kept.ends(0);
}

fn it_goes_with_its_folder(kept: &mut Kept) {
    fs::create_dir(kept.here("folder")).unwrap();
    let stalled = kept.ground.proxy.on(Verb::Stor).stall();
    kept.closes(&["folder/one"]);
    stalled.happens_within(LIMIT);
    fs::rename(kept.here("folder"), kept.here("elsewhere")).unwrap();
    assert_eq!(
        fs::read(kept.here("elsewhere/one")).unwrap(),
        bytes(4, SMALL)
    );
    kept.kill();
    kept.ground.proxy.heal();
    let (_, said) = kept.recover(&[]);
    assert!(said.contains("/elsewhere/one: 3000 bytes"), "{said}");
    kept.is_recovered();
    assert!(kept.has("elsewhere/one"));
}

fn beyond_the_limit_close_waits(kept: &mut Kept) {
    let stalled = kept.ground.proxy.on(Verb::Stor).stall();
    kept.closes(&["one", "two", "three"]);
    let mut holder = kept.hold(&["create four", "small", "close"]);
    holder.does(2);
    let errno = holder.next();
    assert!([libc::EIO, libc::ETIMEDOUT].contains(&errno), "{errno}");
    drop(holder);
    stalled.lift();
    kept.stores(&["one", "two", "three", "four"]);
    kept.closes(&["five"]);
    kept.stores(&["five"]);
    kept.ends(0);
}
