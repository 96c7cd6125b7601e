//! Several copies of one name: each has bytes that the server never got, and none goes for another.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::Site;
use crate::kept::{Kept, Test, trial};
use crate::operation::{LARGE, Operation, SMALL, Seen, bytes};
use crate::support::faulty::Verb;
use crate::support::poll;

const LIMIT: Duration = Duration::from_secs(30);

const TESTS: &[(&str, Test)] = &[
    (
        "an_append_in_vain_leaves_what_is_kept",
        an_append_in_vain_leaves_what_is_kept,
    ),
    (
        "a_truncation_in_vain_leaves_what_is_kept",
        a_truncation_in_vain_leaves_what_is_kept,
    ),
    (
        "a_second_failure_replaces_only_its_own",
        a_second_failure_replaces_only_its_own,
    ),
    ("newer_content_removes_both", newer_content_removes_both),
    ("a_stored_append_removes_its_own", a_stored_append),
    ("deleting_removes_both", deleting_removes_both),
    ("they_follow_a_rename", they_follow_a_rename),
    (
        "a_disk_that_is_not_there_loses_nothing",
        a_disk_that_is_not_there_loses_nothing,
    ),
];

/// One trial per test.
pub(crate) fn trials(site: &Site) -> Vec<Trial> {
    let trials = TESTS.iter().map(|(name, test)| {
        let site = site.clone();
        trial(site.name("::", &format!("copies::{name}")), move || {
            let name = format!("copies-{name}");
            (Kept::new(&site, &name, &[]), *test)
        })
    });
    trials.collect()
}

impl Kept {
    /// The copies with what is in them, the older first.
    fn copies(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let files = self.files("data").into_iter();
        files
            .map(|at| (at.clone(), fs::read(at).unwrap()))
            .collect()
    }

    /// Two closes of `victim` have failed, and so has what follows them: a whole new content, and an append to what
    /// the server has.
    fn fail_twice(&self) {
        self.overwrite_in_vain();
        self.settles();
        self.ground.proxy.on(Verb::Appe).answer("552 Quota.");
        let mut holder = self.hold(&["append victim", "small", "close"]);
        holder.does(2);
        assert_eq!(holder.next(), libc::EDQUOT);
        poll::until(LIMIT, "both are set aside", || {
            let log = self.ground.mounted().log();
            log.matches("victim: not stored: ").count() == 2
        });
    }

    /// Both are there, and the first is what it was.
    #[track_caller]
    fn has_both(&self) {
        let copies = self.copies();
        assert_eq!(copies.len(), 2, "{copies:?}");
        assert!(copies[0].1 == bytes(4, SMALL), "of the first close");
        assert!(copies[1].1.ends_with(&bytes(4, SMALL)), "of the append");
        assert!(copies[1].1.len() > SMALL);
        assert_eq!(self.files("kept").len(), 2);
    }
}

fn an_append_in_vain_leaves_what_is_kept(kept: &mut Kept) {
    kept.fail_twice();
    kept.has_both();
    let copies = kept.copies();
    let mount = kept.ground.take_mount();
    let log = fs::File::open(mount.log_path()).unwrap();
    assert_eq!(mount.unmount(), Some(7));
    let log = std::io::read_to_string(log).unwrap();
    let (_, said) = kept.recover(&[]);
    for (at, _) in &copies {
        let at = at.to_str().unwrap();
        let told = format!("kept in {at}");
        assert!(log.lines().any(|line| line.ends_with(&told)), "{log}");
        assert!(said.contains(at), "{said}");
    }
    kept.ground.proxy.heal();
    // The older is stored; the append was not made to that.
    let (code, said) = kept.recover(&[kept.ground.url()]);
    assert_eq!(code, Some(7), "{said}");
    assert_eq!(Operation::Overwrite.seen(&kept.ground.there), Seen::All);
    assert_eq!(kept.copies(), copies[1..]);
}

/// By name, so that nobody has it open; and it outlives the mount.
fn a_truncation_in_vain_leaves_what_is_kept(kept: &mut Kept) {
    kept.overwrite_in_vain();
    kept.settles();
    let first = kept.copies();
    let cut = nix::unistd::truncate(&kept.here("victim"), 10);
    assert_eq!(cut, Err(nix::errno::Errno::ENOSPC));
    let copies = kept.copies();
    assert_eq!(copies.len(), 2, "{copies:?}");
    assert_eq!(copies[..1], first);
    assert_eq!(copies[1].1.len(), 10);
    kept.kill();
    // Who is alone clears away what is not needed.
    kept.mount_again();
    assert_eq!(kept.ground.take_mount().unmount(), Some(0));
    assert_eq!(kept.copies(), copies);
    kept.ground.proxy.heal();
    let (code, said) = kept.recover(&[kept.ground.url()]);
    assert_eq!(code, Some(7), "{said}");
    assert_eq!(Operation::Overwrite.seen(&kept.ground.there), Seen::All);
    assert_eq!(kept.copies(), copies[1..]);
}

fn a_second_failure_replaces_only_its_own(kept: &mut Kept) {
    kept.overwrite_in_vain();
    kept.settles();
    kept.ground.proxy.on(Verb::Appe).answer("552 Quota.");
    let steps = [
        "append victim",
        "small",
        "sync",
        "wait",
        "small",
        "sync",
        "wait",
    ];
    let mut holder = kept.hold(&steps);
    holder.does(2);
    assert_eq!(holder.next(), libc::EDQUOT);
    kept.has_both();
    let before = kept.copies();
    holder.go_on();
    holder.does(1);
    assert_eq!(holder.next(), libc::EDQUOT);
    kept.has_both();
    let copies = kept.copies();
    assert_eq!(copies[0], before[0]);
    assert_eq!(copies[1].1.len(), before[1].1.len() + SMALL);
}

fn newer_content_removes_both(kept: &mut Kept) {
    kept.fail_twice();
    kept.has_both();
    kept.ground.proxy.heal();
    kept.ground.run(Operation::Overwrite, LIMIT).unwrap();
    assert!(kept.is_empty());
    assert_eq!(kept.ground.take_mount().unmount(), Some(0));
}

/// The second attempt of the append succeeds: what was kept of it is on the server, and nothing else.
fn a_stored_append(kept: &mut Kept) {
    kept.overwrite_in_vain();
    kept.settles();
    kept.ground.proxy.on(Verb::Appe).answer("552 Quota.");
    let steps = ["append victim", "small", "sync", "wait", "sync", "close"];
    let mut holder = kept.hold(&steps);
    holder.does(2);
    assert_eq!(holder.next(), libc::EDQUOT);
    kept.has_both();
    kept.ground.proxy.heal();
    holder.go_on();
    holder.does(2);
    assert_eq!(fs::read(kept.copy()).unwrap(), bytes(4, SMALL));
    let stored = fs::read(kept.there("victim")).unwrap();
    assert!(stored.len() > SMALL && stored.ends_with(&bytes(4, SMALL)));
    assert_eq!(kept.ground.take_mount().unmount(), Some(7), "it is told");
}

fn deleting_removes_both(kept: &mut Kept) {
    kept.fail_twice();
    kept.has_both();
    kept.ground.proxy.heal();
    fs::remove_file(kept.here("victim")).unwrap();
    assert!(kept.is_empty());
    assert_eq!(kept.ground.take_mount().unmount(), Some(0));
}

fn they_follow_a_rename(kept: &mut Kept) {
    kept.fail_twice();
    kept.has_both();
    kept.ground.proxy.heal();
    fs::rename(kept.here("victim"), kept.here("elsewhere")).unwrap();
    let (_, said) = kept.recover(&[]);
    assert_eq!(said.matches("/elsewhere: ").count(), 2, "{said}");
    assert!(!said.contains("/victim: "), "{said}");
    kept.kill();
}

/// The note says where the bytes are; that they are not seen now does not say that they are gone.
fn a_disk_that_is_not_there_loses_nothing(kept: &mut Kept) {
    let staging = tempfile::tempdir_in("/dev/shm").unwrap();
    let disk = staging.path().join("disk");
    let away = staging.path().join("away");
    fs::create_dir(&disk).unwrap();
    assert_eq!(kept.ground.take_mount().unmount(), Some(0));
    let option = format!("staging_dir={}", disk.display());
    kept.ground.mount_at_home(kept.home.path(), &[&option]);
    kept.ground
        .proxy
        .on(Verb::Stor)
        .answer_at_end("452 Disk full.");
    let error = kept.ground.run(Operation::CpInLarge, LIMIT).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    kept.kill();
    kept.ground.proxy.heal();
    assert_eq!(fs::read_dir(&disk).unwrap().count(), 1);
    let notes = kept.files("kept");
    assert_eq!(notes.len(), 1);
    fs::rename(&disk, &away).unwrap();
    kept.mount_again();
    let log = kept.ground.mounted().log();
    let note = notes[0].to_str().unwrap();
    assert!(log.contains(note), "it is told: {log}");
    assert_eq!(kept.ground.take_mount().unmount(), Some(0));
    let (code, said) = kept.recover(&[kept.ground.url()]);
    assert_eq!(code, Some(7), "{said}");
    assert_eq!(kept.files("kept"), notes);
    fs::rename(&away, &disk).unwrap();
    kept.is_recovered();
    let stored = Operation::CpInLarge.seen(&kept.ground.there);
    assert_eq!(stored, Seen::All, "{LARGE} bytes");
    assert_eq!(fs::read_dir(&disk).unwrap().count(), 0);
}
