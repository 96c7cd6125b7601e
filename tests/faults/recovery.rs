//! What `--recover` finds when a change was under way: it stores it once and whole, or leaves the file alone.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::thread;
use std::time::{Duration, SystemTime};

use libtest_mimic::Trial;

use crate::Site;
use crate::kept::{Kept, Test, trial};
use crate::operation::{LARGE, Operation, SMALL, Seen, bytes};
use crate::support::faulty::{Fault, How, Verb};
use crate::support::poll;

const LIMIT: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(86_400);

const TESTS: &[(&str, &[&str], Test)] = &[
    (
        "a_patch_that_did_not_arrive_is_stored",
        &[],
        a_patch_is_stored,
    ),
    (
        "a_patched_file_that_another_replaced_is_left_alone",
        &[],
        a_replaced_file_is_left_alone,
    ),
    (
        "a_patch_whose_recovery_was_cut_is_stored_by_the_next",
        &["upload=inplace"],
        a_patch_is_stored_by_the_next,
    ),
    (
        "an_edited_file_that_another_replaced_is_left_alone",
        &[],
        an_edit_is_left_alone,
    ),
    (
        "a_new_file_whose_recovery_was_cut_is_stored_by_the_next",
        &["writeback", "upload=inplace"],
        a_new_file_is_stored_by_the_next,
    ),
    (
        "a_new_file_that_the_server_has_made_empty_is_stored_by_the_next",
        &["writeback", "upload=inplace"],
        a_new_file_is_stored_after_it_was_made_empty,
    ),
    (
        "a_recovery_that_sent_nothing_has_forgotten_nothing",
        &["writeback", "upload=inplace"],
        a_strangers_file_is_left_alone,
    ),
    (
        "an_append_on_its_way_is_not_repeated",
        &["upload=inplace"],
        an_append_is_not_repeated,
    ),
    (
        "an_edit_that_was_replacing_the_file_is_whole",
        &["writeback", "upload=inplace"],
        an_edit_is_whole,
    ),
    (
        "an_append_that_turned_whole_and_was_cut_is_stored_by_the_next",
        &["upload=inplace"],
        an_append_that_turned_whole_is_stored_by_the_next,
    ),
    (
        "an_append_whose_recovery_was_cut_is_stored_by_the_next",
        &[],
        an_append_is_stored_by_the_next,
    ),
    (
        "a_patch_that_was_under_way_is_stored",
        &["writeback"],
        a_patch_under_way_is_stored,
    ),
    (
        "an_edit_whose_beginning_was_not_heard_of_is_stored_by_the_next",
        &["writeback"],
        an_edit_is_stored_by_the_next,
    ),
    (
        "what_another_stores_meanwhile_is_left_alone_for_good",
        &["writeback"],
        what_another_stores_is_left_alone,
    ),
    (
        "what_another_stores_before_a_refused_rename_is_left_alone",
        &[],
        what_another_stores_before_a_rename_is_left_alone,
    ),
    (
        "an_older_content_does_not_take_the_place_of_a_newer_one",
        &["writeback"],
        an_older_content_stays_behind,
    ),
];

/// One trial per test.
pub(crate) fn trials(site: &Site) -> Vec<Trial> {
    let trials = TESTS.iter().map(|(name, options, test)| {
        let site = site.clone();
        trial(site.name("::", &format!("recovery::{name}")), move || {
            let name = format!("recovery-{name}");
            (Kept::new(&site, &name, options), *test)
        })
    });
    trials.collect()
}

impl Kept {
    /// A change inside `large` has begun to go to the server, which has gone before it got a byte of it.
    fn patch_in_vain(&mut self) {
        self.change_in_vain(&["text 800000", "close"]);
    }

    /// A new file, which the server refuses to make, as long as nobody heals the proxy.
    fn create_in_vain(&mut self) {
        let refused = self.ground.proxy.on(Verb::Stor);
        refused.answer("553 Could not create file.");
        self.hold(&["create new", "small", "close"]).does(3);
        self.settles();
        self.kill();
        assert!(!self.there("new").exists());
    }

    /// The same of a process that does these steps; the first one is done before the server has gone.
    fn change_in_vain(&mut self, steps: &[&str]) {
        // From here on it is known that the server patches in place.
        self.hold(&["edit large", "text 400000", "close"]).does(3);
        let stalled = self.ground.proxy.on(Verb::Stor).at("large");
        let stalled = stalled.stall_data_after(0);
        let mut holder = self.hold(&[&["edit large"], steps].concat());
        stalled.happens_within(LIMIT);
        self.ground.proxy.go_down();
        holder.does(2);
        let outcomes: Vec<_> = steps[1..].iter().map(|_| holder.next()).collect();
        assert_ne!(*outcomes.last().unwrap(), 0, "nobody has the data");
        self.kill();
        self.ground.proxy.heal();
    }
}

fn changed_at(places: &[usize]) -> Vec<u8> {
    let mut content = bytes(2, LARGE);
    for at in places {
        content[*at..*at + 7].copy_from_slice(b"changed");
    }
    content
}

fn a_patch_is_stored(kept: &mut Kept) {
    kept.patch_in_vain();
    kept.is_recovered();
    assert!(fs::read(kept.there("large")).unwrap() == changed_at(&[400_000, 800_000]));
}

/// By one of the same size, so that only the time tells.
fn a_replaced_file_is_left_alone(kept: &mut Kept) {
    kept.patch_in_vain();
    let theirs = File::options().write(true).open(kept.there("large"));
    let theirs = theirs.unwrap();
    fs::write(kept.there("large"), bytes(9, LARGE)).unwrap();
    theirs.set_modified(SystemTime::now() - DAY).unwrap();
    let (code, said) = kept.recover(&[kept.ground.url()]);
    assert_eq!(code, Some(7), "{said}");
    assert!(fs::read(kept.there("large")).unwrap() == bytes(9, LARGE));
    kept.copy();
}

/// The whole file had begun to replace the patched one.
fn a_patch_is_stored_by_the_next(kept: &mut Kept) {
    // Byte 0 cannot be patched.
    kept.change_in_vain(&["text 800000", "sync", "text 0", "close"]);
    let cut = kept.ground.proxy.on(Verb::Stor).at("large");
    let cut = cut.cut_data_after(100_000, How::Fin);
    let recovery = ["-o", "upload=inplace", kept.ground.url()];
    let (code, said) = kept.recover(&recovery);
    assert_eq!(code, Some(7), "{said}");
    assert!(cut.hits() > 0);
    kept.ground.proxy.heal();
    let half = File::options().write(true).open(kept.there("large"));
    let half = half.unwrap();
    assert_ne!(half.metadata().unwrap().len(), LARGE as u64);
    // As if the recovery had come a day after the patch.
    half.set_modified(SystemTime::now() + DAY).unwrap();
    let (code, said) = kept.recover(&recovery);
    assert_eq!(code, Some(0), "{said}");
    assert!(kept.is_empty());
    assert!(fs::read(kept.there("large")).unwrap() == changed_at(&[0, 400_000, 800_000]));
}

/// All of it had been fetched, so that nothing more is asked for. The second recovery knows no more than the first.
fn an_edit_is_left_alone(kept: &mut Kept) {
    let stalled = kept.ground.proxy.on(Verb::Stor).stall_data_after(0);
    let mut holder = kept.hold(&["edit small", "text 100", "close"]);
    stalled.happens_within(LIMIT);
    kept.ground.proxy.go_down();
    holder.does(2);
    assert_ne!(holder.next(), 0, "nobody has the data");
    kept.kill();
    kept.ground.proxy.heal();
    let theirs = bytes(9, SMALL / 2);
    fs::write(kept.there("small"), &theirs).unwrap();
    for attempt in 1..=3 {
        let (code, said) = kept.recover(&[kept.ground.url()]);
        assert_eq!(code, Some(7), "recovery {attempt}: {said}");
        assert_eq!(fs::read(kept.there("small")).unwrap(), theirs);
    }
    kept.copy();
}

/// It was known that nothing of it was there.
fn a_new_file_is_stored_by_the_next(kept: &mut Kept) {
    kept.create_in_vain();
    kept.ground.proxy.heal();
    let cut = kept.ground.proxy.on(Verb::Stor).at("new");
    recovers_the_second_time(kept, &cut.cut_data_after(1_000, How::Fin), 1_000);
}

/// The server has done the STOR as far as that goes without data, and nobody has heard of it.
fn a_new_file_is_stored_after_it_was_made_empty(kept: &mut Kept) {
    kept.create_in_vain();
    kept.ground.proxy.heal();
    let lost = kept.ground.proxy.on(Verb::Stor).at("new");
    recovers_the_second_time(kept, &lost.drop_after(How::Rst), 0);
}

/// The first time the server gets so much of it.
fn recovers_the_second_time(kept: &Kept, fault: &Fault, there: usize) {
    let recovery = ["-o", "upload=inplace", kept.ground.url()];
    let (code, said) = kept.recover(&recovery);
    assert_eq!(code, Some(7), "{said}");
    assert!(fault.hits() > 0);
    kept.ground.proxy.heal();
    assert_eq!(fs::read(kept.there("new")).unwrap().len(), there);
    let (code, said) = kept.recover(&recovery);
    assert_eq!(code, Some(0), "{said}");
    assert!(kept.is_empty());
    assert_eq!(fs::read(kept.there("new")).unwrap(), bytes(4, SMALL));
}

/// An empty one could be what an upload of ours has left, had there been one.
fn a_strangers_file_is_left_alone(kept: &mut Kept) {
    kept.create_in_vain();
    let recovery = ["-o", "upload=inplace", kept.ground.url()];
    let (code, said) = kept.recover(&recovery);
    assert_eq!(code, Some(7), "{said}");
    kept.ground.proxy.heal();
    File::create(kept.there("new")).unwrap();
    let (code, said) = kept.recover(&recovery);
    assert_eq!(code, Some(7), "{said}");
    assert!(said.contains("it changed on the server since"), "{said}");
    assert_eq!(fs::metadata(kept.there("new")).unwrap().len(), 0);
    kept.copy();
}

fn an_append_is_not_repeated(kept: &mut Kept) {
    let stalled = kept.ground.proxy.on(Verb::Appe).once();
    let stalled = stalled.stall_data_after(0);
    let mut holder = kept.hold(&["append log", "small", "close"]);
    stalled.happens_within(LIMIT);
    kept.ground.proxy.go_down();
    holder.does(2);
    assert_ne!(holder.next(), 0, "nobody knows whether it arrives");
    kept.kill();
    kept.ground.proxy.heal();
    kept.is_recovered();
    assert_eq!(kept.ground.proxy.counts().commands(Verb::Appe), 1);
    assert_eq!(Operation::Append.seen(&kept.ground.there), Seen::All);
}

/// The process dies when the old content is gone from the server, and the new one has half arrived.
fn an_edit_is_whole(kept: &mut Kept) {
    let stalled = kept.ground.proxy.on(Verb::Stor).at("small");
    let stalled = stalled.stall_data_after(1_000);
    kept.hold(&["edit small", "text 100", "close"]).does(3);
    stalled.happens_within(LIMIT);
    kept.kill();
    kept.ground.proxy.heal();
    kept.is_recovered();
    let mut expected = bytes(1, SMALL);
    expected[100..107].copy_from_slice(b"changed");
    assert_eq!(fs::read(kept.there("small")).unwrap(), expected);
}

/// The server does not append, so the whole file has to go in the place of the old one.
fn an_append_that_turned_whole_is_stored_by_the_next(kept: &mut Kept) {
    kept.append_in_vain();
    let proxy = &kept.ground.proxy;
    let refused = proxy.on(Verb::Appe);
    refused.answer("502 Command not implemented.");
    let cut = proxy.on(Verb::Stor).at("log");
    let cut = cut.cut_data_after(1_000, How::Fin);
    let recovery = ["-o", "upload=inplace", kept.ground.url()];
    let (code, said) = kept.recover(&recovery);
    assert_eq!(code, Some(7), "{said}");
    assert!(cut.hits() > 0);
    proxy.heal();
    assert_eq!(fs::metadata(kept.there("log")).unwrap().len(), 1_000);
    let (code, said) = kept.recover(&recovery);
    assert_eq!(code, Some(0), "{said}");
    assert!(kept.is_empty());
    assert_eq!(Operation::Append.seen(&kept.ground.there), Seen::All);
}

/// It was known what the server had before the first one.
fn an_append_is_stored_by_the_next(kept: &mut Kept) {
    let full = kept.ground.proxy.on(Verb::Upload);
    let full = full.answer("452 Disk full.");
    let mut holder = kept.hold(&["append log", "small", "close"]);
    holder.does(2);
    assert_eq!(holder.next(), libc::ENOSPC);
    kept.settles();
    kept.kill();
    full.lift();
    let proxy = &kept.ground.proxy;
    let cut = proxy.on(Verb::Appe).cut_data_after(1_000, How::Fin);
    proxy.on(Verb::Stor).answer("452 Disk full.");
    let (code, said) = kept.recover(&[kept.ground.url()]);
    assert_eq!(code, Some(7), "{said}");
    assert!(cut.hits() > 0);
    proxy.heal();
    assert_eq!(Operation::Append.seen(&kept.ground.there), Seen::Part);
    kept.is_recovered();
    assert_eq!(Operation::Append.seen(&kept.ground.there), Seen::All);
}

/// The process dies when the server has the first bytes of a range, and so another time of the file than was known.
fn a_patch_under_way_is_stored(kept: &mut Kept) {
    kept.hold(&["edit large", "text 400000", "close"]).does(3);
    poll::until(LIMIT, "the first change is stored", || kept.is_empty());
    let there = File::options().write(true).open(kept.there("large"));
    let old = SystemTime::now() - DAY;
    there.unwrap().set_modified(old).unwrap();
    let here = kept.here("large");
    let old = fs::metadata(kept.there("large")).unwrap().mtime();
    poll::until(LIMIT, "it is known how old the file is", || {
        fs::metadata(&here).is_ok_and(|here| here.mtime() == old)
    });
    let stalled = kept.ground.proxy.on(Verb::Stor).at("large");
    let stalled = stalled.stall_data_after(3);
    kept.hold(&["edit large", "text 800000", "close"]).does(3);
    stalled.happens_within(LIMIT);
    poll::until(LIMIT, "the server has a part of the range", || {
        fs::metadata(kept.there("large")).unwrap().mtime() != old
    });
    kept.kill();
    kept.ground.proxy.heal();
    kept.is_recovered();
    assert!(fs::read(kept.there("large")).unwrap() == changed_at(&[400_000, 800_000]));
}

/// Two of them have cut the old content in its place, and the server has never said so.
fn an_edit_is_stored_by_the_next(kept: &mut Kept) {
    let refused = kept.ground.proxy.on(Verb::Stor);
    let refused = refused.answer("452 Disk full.");
    kept.hold(&["edit small", "text 100", "close"]).does(3);
    kept.settles();
    kept.kill();
    refused.lift();
    let lost = kept.ground.proxy.on(Verb::Stor).at("small");
    let lost = lost.drop_after(How::Rst);
    let recovery = ["-o", "upload=inplace", kept.ground.url()];
    for attempt in 1..=2 {
        let (code, said) = kept.recover(&recovery);
        assert_eq!(code, Some(7), "recovery {attempt}: {said}");
        assert_eq!(fs::metadata(kept.there("small")).unwrap().len(), 0);
    }
    assert!(lost.hits() > 1);
    kept.ground.proxy.heal();
    let (code, said) = kept.recover(&recovery);
    assert_eq!(code, Some(0), "{said}");
    assert!(kept.is_empty());
    let mut expected = bytes(1, SMALL);
    expected[100..107].copy_from_slice(b"changed");
    assert_eq!(fs::read(kept.there("small")).unwrap(), expected);
}

/// While the first recovery sends, and nobody has told the next ones.
fn what_another_stores_is_left_alone(kept: &mut Kept) {
    let refused = kept.ground.proxy.on(Verb::Stor);
    let refused = refused.answer("452 Disk full.");
    kept.hold(&["create small", "large", "close"]).does(3);
    kept.settles();
    kept.kill();
    refused.lift();
    let theirs = bytes(9, SMALL / 2);
    let stalled = kept.ground.proxy.on(Verb::Stor).once();
    let stalled = stalled.stall_data_after(1_000);
    thread::scope(|scope| {
        let kept = &*kept;
        let first = scope.spawn(|| kept.recover(&[kept.ground.url()]));
        stalled.happens_within(LIMIT);
        fs::write(kept.there("small"), &theirs).unwrap();
        stalled.lift();
        let (code, said) = first.join().unwrap();
        assert_eq!(code, Some(7), "{said}");
    });
    for attempt in 2..=3 {
        let (code, said) = kept.recover(&[kept.ground.url()]);
        assert_eq!(code, Some(7), "recovery {attempt}: {said}");
        assert_eq!(fs::read(kept.there("small")).unwrap(), theirs);
    }
    assert!(fs::read(kept.copy()).unwrap() == bytes(5, LARGE));
}

/// All of the edited file was here by then.
fn what_another_stores_before_a_rename_is_left_alone(kept: &mut Kept) {
    let stalled = kept.ground.proxy.on(Verb::Rnfr).once().stall();
    kept.ground
        .proxy
        .on(Verb::Rnto)
        .answer("553 Could not rename.");
    let mut holder = kept.hold(&["edit small", "text 100", "close"]);
    stalled.happens_within(LIMIT);
    let theirs = bytes(9, SMALL / 2);
    fs::write(kept.there("small"), &theirs).unwrap();
    stalled.lift();
    holder.does(2);
    assert_ne!(holder.next(), 0);
    kept.is_set_aside();
    kept.kill();
    kept.ground.proxy.heal();
    for attempt in 1..=2 {
        let (code, said) = kept.recover(&[kept.ground.url()]);
        assert_eq!(code, Some(7), "recovery {attempt}: {said}");
        assert_eq!(fs::read(kept.there("small")).unwrap(), theirs);
    }
    kept.copy();
}

/// Two mounts, one after the other, could not store a file, and now the newer one cannot be stored again.
fn an_older_content_stays_behind(kept: &mut Kept) {
    for content in ["small", "large"] {
        let refused = kept.ground.proxy.on(Verb::Stor);
        let refused = refused.answer("553 Could not create file.");
        kept.hold(&["create new", content, "close"]).does(3);
        kept.settles();
        kept.kill();
        refused.lift();
        if content == "small" {
            let home = kept.home.path();
            kept.ground.mount_at_home(home, &["writeback"]);
        }
    }
    let refused = kept.ground.proxy.on(Verb::Stor).once();
    refused.answer("553 Could not create file.");
    let (code, said) = kept.recover(&[kept.ground.url()]);
    assert_eq!(code, Some(7), "{said}");
    assert!(!kept.there("new").exists(), "{said}");
    let (code, said) = kept.recover(&[kept.ground.url()]);
    assert_eq!(code, Some(7), "the older one is left: {said}");
    assert!(fs::read(kept.there("new")).unwrap() == bytes(5, LARGE));
    assert_eq!(fs::read(kept.copy()).unwrap(), bytes(4, SMALL));
}
