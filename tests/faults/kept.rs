//! What could not be stored is kept, and comes to the server later.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use libtest_mimic::Trial;

use crate::Site;
use crate::cell::Ground;
use crate::operation::{LARGE, Operation, SMALL, Seen, bytes};
use crate::outage::waits;
use crate::support::faulty::{How, Verb};
use crate::support::mounted::Mounted;
use crate::support::poll;
use crate::test_apart;

const LIMIT: Duration = Duration::from_secs(30);

pub(crate) type Test = fn(&mut Kept);

const TESTS: &[(&str, Test)] = &[
    ("a_refused_close_is_kept_and_recovered", a_refused_close),
    ("it_outlives_kill_9", it_outlives_kill_9),
    ("a_conflict_keeps_it", a_conflict_keeps_it),
    ("a_part_of_a_large_file", a_part_of_a_large_file),
    ("an_upload_that_was_cut", an_upload_that_was_cut),
    ("an_append_that_was_cut", an_append_that_was_cut),
    (
        "what_arrives_late_of_an_upload_is_its_own",
        what_arrives_late,
    ),
    (
        "what_another_stores_is_left_alone_at_the_end",
        what_another_stores_is_left_alone,
    ),
    ("it_follows_a_rename", it_follows_a_rename),
    ("success_afterwards_removes_it", success_removes_it),
    (
        "success_removes_it_where_the_file_was_empty",
        success_removes_it_where_the_file_was_empty,
    ),
    ("an_append_leaves_it", an_append_leaves_it),
    ("deleting_removes_it", deleting_removes_it),
    ("a_large_file_is_kept_once", a_large_file_is_kept_once),
    (
        "what_is_staged_on_another_disk_stays_there",
        on_another_disk,
    ),
    (
        "temporary_names_of_the_dead_are_removed",
        the_dead_are_cleaned,
    ),
    (
        "the_file_of_a_trial_is_removed_later",
        the_file_of_a_trial_is_removed_later,
    ),
    (
        "an_old_content_gets_its_name_back",
        an_old_content_gets_its_name_back,
    ),
    ("mounts_of_one_place_leave_each_other_alone", two_mounts),
];

/// The first argument of a process that has a file open: then come the folder and the steps.
const HOLD: &str = "--hold";

/// Does the steps, if that is what this process is for, and prints the error number of each, or 0. (A file
/// that a thread of ours has open would be inherited by every program that another test starts, whose
/// exec closes it, and commits it.)
pub(crate) fn helper() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != HOLD {
        return None;
    }
    let folder = PathBuf::from(arguments.next()?);
    let mut held = None;
    for step in arguments {
        let result = do_step(&folder, step.to_str()?, &mut held);
        let errno = result.map_or_else(|e| e.raw_os_error().unwrap_or(-1), |()| 0);
        println!("{errno}");
    }
    Some(ExitCode::SUCCESS)
}

fn do_step(folder: &Path, step: &str, held: &mut Option<File>) -> io::Result<()> {
    let open = || held.as_ref().ok_or(io::ErrorKind::NotFound);
    let (word, rest) = step.split_once(' ').unwrap_or((step, ""));
    match word {
        "create" => *held = Some(File::create(folder.join(rest))?),
        "create_new" => *held = Some(File::create_new(folder.join(rest))?),
        "edit" => *held = Some(OpenOptions::new().write(true).open(folder.join(rest))?),
        "append" => *held = Some(OpenOptions::new().append(true).open(folder.join(rest))?),
        "text" => open()?.write_all_at(b"changed", rest.parse().unwrap())?,
        "small" => open()?.write_all(&bytes(4, SMALL))?,
        "large" => open()?.write_all(&bytes(5, LARGE))?,
        "sync" => open()?.sync_all()?,
        "close" => nix::unistd::close(held.take().unwrap())?,
        "unlink" => fs::remove_file(folder.join(rest))?,
        "wait" => drop(io::stdin().read_line(&mut String::new())?),
        other => panic!("no such step: {other}"),
    }
    Ok(())
}

/// A process that has a file open.
pub(crate) struct Holder {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Holder {
    /// A process that does these steps in the mount.
    pub(crate) fn new(mount: &Mounted, steps: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(HOLD)
            .arg(mount.path())
            .args(steps)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    /// The error number of the next step, once it is done.
    pub(crate) fn next(&mut self) -> i32 {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }

    /// The next steps succeed.
    #[track_caller]
    pub(crate) fn does(&mut self, count: usize) {
        for step in 0..count {
            assert_eq!(self.next(), 0, "step {step}");
        }
    }

    /// It sleeps until the mount answers.
    pub(crate) fn waits_for_the_mount(&self) -> bool {
        waits(&self.child)
    }

    /// Ends what it waits in: the step "wait".
    pub(crate) fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        self.does(1);
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// One trial per test.
pub(crate) fn trials(site: &Site) -> Vec<Trial> {
    TESTS
        .iter()
        .map(|(name, test)| {
            let site = site.clone();
            trial(site.name("::", &format!("kept::{name}")), move || {
                (Kept::new(&site, name, &[]), *test)
            })
        })
        .collect()
}

/// A trial of this name; if it fails, the last words on the wire and of the mount are shown.
pub(crate) fn trial(
    name: String,
    prepare: impl FnOnce() -> (Kept, Test) + Send + 'static,
) -> Trial {
    test_apart(name.clone(), move || {
        let (mut kept, test) = prepare();
        let test = AssertUnwindSafe(|| test(&mut kept));
        if let Err(panic) = catch_unwind(test) {
            eprintln!("{name}:\n{}", kept.ground.last_words());
            resume_unwind(panic);
        }
        Ok(())
    })
}

/// A mount, and a home that outlives it.
pub(crate) struct Kept {
    pub(crate) ground: Ground,
    pub(crate) home: tempfile::TempDir,
}

impl Kept {
    pub(crate) fn new(site: &Site, name: &str, options: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut ground = site.ground(name);
        ground.mount_at_home(home.path(), options);
        Self { ground, home }
    }

    pub(crate) fn here(&self, name: &str) -> PathBuf {
        self.ground.mounted().at(name)
    }

    pub(crate) fn there(&self, name: &str) -> PathBuf {
        self.ground.there.join(name)
    }

    /// The files of the journal with this ending.
    pub(crate) fn files(&self, ending: &str) -> Vec<PathBuf> {
        let top = self.home.path().join(".local/state/ftpfs");
        let places = fs::read_dir(top).into_iter().flatten().flatten();
        let files = places.flat_map(|place| fs::read_dir(place.path()).into_iter().flatten());
        let mut found: Vec<_> = files
            .flatten()
            .map(|file| file.path())
            .filter(|path| path.extension().is_some_and(|e| e == ending))
            .collect();
        found.sort();
        found
    }

    /// The one copy that is kept.
    #[track_caller]
    pub(crate) fn copy(&self) -> PathBuf {
        let copies = self.files("data");
        assert_eq!(copies.len(), 1, "{copies:?}");
        copies[0].clone()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.files("data").is_empty() && self.files("kept").is_empty()
    }

    pub(crate) fn kill(&mut self) {
        self.kill_under(None);
    }

    /// Who has a file open goes between the death of the mount and its end.
    fn kill_under(&mut self, holder: Option<Holder>) {
        let mut mount = self.ground.take_mount();
        assert!(mount.send("KILL"));
        assert!(mount.has_ended(LIMIT));
        drop(holder);
        drop(mount);
    }

    /// A process that does these steps in the mount.
    pub(crate) fn hold(&self, steps: &[&str]) -> Holder {
        Holder::new(self.ground.mounted(), steps)
    }

    pub(crate) fn mount_again(&mut self) {
        self.ground.mount_at_home(self.home.path(), &[]);
    }

    /// `ftpfs --recover` with these arguments: exit code, and all that it says.
    pub(crate) fn recover(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_ftpfs"))
            .args(["--recover", "-o", "timeout=3,connect_timeout=2"])
            .args(self.ground.pin().into_iter().flat_map(|pin| ["-o", pin]))
            .args(arguments)
            .env("HOME", self.home.path())
            .env_remove("XDG_STATE_HOME")
            .env_remove("XDG_CACHE_HOME")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        println!(
            "--recover {arguments:?}: {:?}\n{said}",
            output.status.code()
        );
        (output.status.code(), said)
    }

    #[track_caller]
    pub(crate) fn is_recovered(&self) {
        let (code, said) = self.recover(&[self.ground.url()]);
        assert_eq!(code, Some(0), "{said}");
        assert!(self.is_empty());
        assert_eq!(self.temporary(), [""; 0]);
    }

    /// Temporary names on the server.
    fn temporary(&self) -> Vec<String> {
        let names = fs::read_dir(&self.ground.there).unwrap().flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(".ftpfs-")).collect()
    }

    /// Overwrites `victim` in vain.
    pub(crate) fn overwrite_in_vain(&self) {
        self.ground
            .proxy
            .on(Verb::Stor)
            .answer_at_end("452 Disk full.");
        let error = self.ground.run(Operation::Overwrite, LIMIT).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(Operation::Overwrite.seen(&self.ground.there), Seen::Nothing);
    }

    /// Appends to `log`; the server has gone before the close, and the process after it.
    pub(crate) fn append_in_vain(&mut self) {
        let mut holder = self.hold(&["append log", "small", "wait", "close"]);
        holder.does(2);
        self.ground.proxy.go_down();
        holder.go_on();
        assert_eq!(holder.next(), libc::EIO);
        self.kill();
        self.ground.proxy.heal();
    }

    /// Until the last close has failed, and the try that follows it.
    pub(crate) fn is_set_aside(&self) {
        poll::until(LIMIT, "the content is set aside", || {
            self.ground.mounted().log().contains("ftpfs::fs::unsaved")
        });
    }

    /// Until the try that follows the last close has failed too, and what the server has is noted.
    pub(crate) fn settles(&self) {
        self.is_set_aside();
        let known = |note: &PathBuf| {
            let text = fs::read_to_string(note).unwrap_or_default();
            text.contains("left: ") && !text.contains("left: unknown")
        };
        poll::until(LIMIT, "it is known what the server has", || {
            self.files("kept").iter().all(known)
        });
    }
}

fn a_refused_close(kept: &mut Kept) {
    kept.overwrite_in_vain();
    let copy = kept.copy();
    assert_eq!(fs::read(&copy).unwrap(), bytes(4, SMALL));
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&copy), 0o600);
    assert_eq!(mode(copy.parent().unwrap()), 0o700);
    let (code, said) = kept.recover(&[kept.ground.url()]);
    assert_eq!(code, Some(1), "it is mounted: {said}");
    let mount = kept.ground.take_mount();
    let log = mount.log();
    let names_it = |text: &str| text.contains(copy.to_str().unwrap());
    assert!(names_it(&log), "{log}");
    let log_file = mount.log_path();
    let log = File::open(log_file).unwrap();
    assert_eq!(mount.unmount(), Some(7));
    let log = io::read_to_string(log).unwrap();
    let last = log.lines().last().unwrap();
    assert!(last.contains(&kept.ground.recovery()), "{log}");
    assert!(log.lines().rev().take(4).any(names_it), "{log}");
    let (code, said) = kept.recover(&[]);
    assert_eq!(code, Some(0));
    assert!(
        said.contains("/victim: 3000 bytes") && names_it(&said),
        "{said}"
    );
    let (_, login) = kept.ground.url().split_once("//").unwrap();
    let password = login.split([':', '@']).nth(1).unwrap();
    assert!(!said.contains(password), "{said}");
    kept.ground.proxy.heal();
    kept.is_recovered();
    assert_eq!(Operation::Overwrite.seen(&kept.ground.there), Seen::All);
    let (code, said) = kept.recover(&[kept.ground.url()]);
    assert_eq!(code, Some(0));
    assert!(said.contains("nothing is kept"), "{said}");
}

fn it_outlives_kill_9(kept: &mut Kept) {
    kept.overwrite_in_vain();
    kept.kill();
    kept.ground.proxy.heal();
    kept.mount_again();
    poll::until(LIMIT, "the mount tells of it", || {
        let log = kept.ground.mounted().log();
        log.contains("1 file that an earlier mount") && log.contains(&kept.ground.recovery())
    });
    assert_eq!(kept.ground.take_mount().unmount(), Some(0));
    assert_eq!(Operation::Overwrite.seen(&kept.ground.there), Seen::Nothing);
    kept.is_recovered();
    assert_eq!(Operation::Overwrite.seen(&kept.ground.there), Seen::All);
}

fn a_conflict_keeps_it(kept: &mut Kept) {
    kept.overwrite_in_vain();
    kept.settles();
    kept.kill();
    kept.ground.proxy.heal();
    fs::write(kept.there("victim"), "of somebody else").unwrap();
    let (code, said) = kept.recover(&[kept.ground.url()]);
    assert_eq!(code, Some(7), "{said}");
    assert!(said.contains("/victim: not stored: it changed"), "{said}");
    assert_eq!(fs::read(kept.copy()).unwrap(), bytes(4, SMALL));
    let found = fs::read(kept.there("victim")).unwrap();
    assert_eq!(found, b"of somebody else");
    // Who does not want it deletes it.
    fs::remove_file(kept.copy()).unwrap();
    kept.is_recovered();
}

fn a_part_of_a_large_file(kept: &mut Kept) {
    let mut holder = kept.hold(&["edit large", "text 700000", "wait", "close"]);
    holder.does(2);
    kept.ground.proxy.go_down();
    holder.go_on();
    assert_eq!(holder.next(), libc::EIO);
    let copied = fs::metadata(kept.copy()).unwrap();
    assert!(copied.blocks() * 512 < LARGE as u64, "only what is dirty");
    kept.kill();
    kept.ground.proxy.heal();
    kept.is_recovered();
    let mut expected = bytes(2, LARGE);
    expected[700_000..700_007].copy_from_slice(b"changed");
    assert!(fs::read(kept.there("large")).unwrap() == expected);
}

/// Whether the server patches in place is tried on a file of our own.
fn the_file_of_a_trial_is_removed_later(kept: &mut Kept) {
    let refusal = kept.ground.proxy.on(Verb::Dele).answer("550 Not now.");
    let mut holder = kept.hold(&["edit large", "text 700000", "close"]);
    holder.does(3);
    assert_eq!(refusal.hits(), 1);
    assert_eq!(kept.temporary().len(), 1);
    let mut expected = bytes(2, LARGE);
    expected[700_000..700_007].copy_from_slice(b"changed");
    assert!(fs::read(kept.there("large")).unwrap() == expected);
    kept.kill();
    kept.ground.proxy.heal();
    kept.mount_again();
    poll::until(LIMIT, "it is gone", || kept.temporary().is_empty());
}

fn an_upload_that_was_cut(kept: &mut Kept) {
    kept.ground
        .proxy
        .on(Verb::Stor)
        .cut_data_after(700_001, How::Rst);
    let result = kept.ground.run(Operation::CpInLarge, LIMIT);
    assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EIO));
    kept.ground.proxy.go_down();
    kept.kill();
    kept.ground.proxy.heal();
    // As if there had been no time to ask what the server has.
    for note in kept.files("kept") {
        let text = fs::read_to_string(&note).unwrap();
        let lines = text.lines().map(|line| match line.starts_with("left: ") {
            true => "left: unknown",
            false => line,
        });
        let lines: Vec<_> = lines.collect();
        fs::write(note, lines.join("\n") + "\n").unwrap();
    }
    kept.is_recovered();
    assert_eq!(Operation::CpInLarge.seen(&kept.ground.there), Seen::All);
}

fn an_append_that_was_cut(kept: &mut Kept) {
    kept.append_in_vain();
    // The part that arrived before the line broke.
    let mut there = OpenOptions::new()
        .append(true)
        .open(kept.there("log"))
        .unwrap();
    there.write_all(&bytes(4, SMALL)[..1000]).unwrap();
    kept.is_recovered();
    assert_eq!(Operation::Append.seen(&kept.ground.there), Seen::All);
}

/// A server that was stopped goes on: it has bytes of an upload that was given up still to write, and nobody told it
/// to end.
fn what_arrives_late(kept: &mut Kept) {
    let content = bytes(5, LARGE);
    let proxy = &kept.ground.proxy;
    proxy.on(Verb::Stor).cut_data_after(1_000, How::Fin);
    proxy.on(Verb::Stor).drop_at_end(How::Rst);
    let mut holder = kept.hold(&["create new", "large", "close"]);
    holder.does(2);
    assert_ne!(holder.next(), 0, "the server does not have it");
    kept.is_set_aside();
    proxy.heal();
    fs::write(kept.there("new"), &content[..200_000]).unwrap();
    let last = proxy.on(Verb::Stor).once().stall_data_after(1_000);
    let mount = kept.ground.take_mount();
    let ending = thread::spawn(move || mount.end_by_signal("TERM"));
    last.happens_within(LIMIT);
    fs::write(kept.there("new"), &content[..300_000]).unwrap();
    last.lift();
    assert_eq!(ending.join().unwrap(), Some(0), "exit code");
    assert!(fs::read(kept.there("new")).unwrap() == content);
    assert_eq!(kept.temporary(), [""; 0]);
    assert!(kept.is_empty());
}

/// As long as the file that was to be replaced, so that only the time tells; that was not known to the second.
fn what_another_stores_is_left_alone(kept: &mut Kept) {
    let size = fs::read(kept.there("victim")).unwrap().len();
    let mut holder = kept.hold(&["create victim", "small", "wait", "close"]);
    holder.does(2);
    kept.ground.proxy.go_down();
    holder.go_on();
    assert_eq!(holder.next(), libc::EIO);
    kept.is_set_aside();
    let theirs = bytes(9, size);
    fs::write(kept.there("victim"), &theirs).unwrap();
    kept.ground.proxy.heal();
    poll::until(LIMIT, "the mount has seen that the server is back", || {
        fs::read(kept.here("small")).is_ok()
    });
    let mount = kept.ground.take_mount();
    assert_eq!(mount.end_by_signal("TERM"), Some(7), "exit code");
    assert_eq!(fs::read(kept.there("victim")).unwrap(), theirs);
    // As if that had been later.
    let there = File::options().write(true).open(kept.there("victim"));
    let later = SystemTime::now() + Duration::from_secs(3600);
    there.unwrap().set_modified(later).unwrap();
    let (code, said) = kept.recover(&[kept.ground.url()]);
    assert_eq!(code, Some(7), "{said}");
    assert_eq!(fs::read(kept.there("victim")).unwrap(), theirs);
    kept.copy();
}

fn it_follows_a_rename(kept: &mut Kept) {
    kept.overwrite_in_vain();
    kept.settles();
    kept.ground.proxy.heal();
    fs::rename(kept.here("victim"), kept.here("elsewhere")).unwrap();
    kept.kill();
    let (_, said) = kept.recover(&[]);
    assert!(said.contains("/elsewhere: 3000 bytes"), "{said}");
    kept.is_recovered();
    assert_eq!(fs::read(kept.there("elsewhere")).unwrap(), bytes(4, SMALL));
    assert!(!kept.there("victim").exists());
}

fn success_removes_it(kept: &mut Kept) {
    kept.overwrite_in_vain();
    kept.overwrite_in_vain();
    kept.copy();
    kept.ground.proxy.heal();
    kept.ground.run(Operation::Overwrite, LIMIT).unwrap();
    assert!(kept.is_empty());
    assert_eq!(kept.ground.take_mount().unmount(), Some(0));
    let state = kept.home.path().join(".local/state/ftpfs");
    assert_eq!(fs::read_dir(state).unwrap().count(), 0);
}

/// Nothing had to be cut off before the newer content.
fn success_removes_it_where_the_file_was_empty(kept: &mut Kept) {
    fs::write(kept.there("victim"), "").unwrap();
    let stor = kept.ground.proxy.on(Verb::Stor);
    stor.answer_at_end("452 Disk full.");
    kept.ground.run(Operation::Overwrite, LIMIT).unwrap_err();
    kept.copy();
    kept.settles();
    kept.ground.proxy.heal();
    kept.ground.run(Operation::Overwrite, LIMIT).unwrap();
    assert!(kept.is_empty());
    assert_eq!(kept.ground.take_mount().unmount(), Some(0));
}

/// It holds what the server never got; an append is no newer content.
fn an_append_leaves_it(kept: &mut Kept) {
    kept.overwrite_in_vain();
    kept.settles();
    kept.ground.proxy.heal();
    let append = || {
        let mut file = OpenOptions::new().append(true).open(kept.here("victim"))?;
        file.write_all(b"more")?;
        nix::unistd::close(file).map_err(io::Error::from)
    };
    append().unwrap();
    assert!(fs::read(kept.there("victim")).unwrap().ends_with(b"more"));
    assert_eq!(fs::read(kept.copy()).unwrap(), bytes(4, SMALL));
    let code = kept.ground.take_mount().unmount();
    assert_eq!(code, Some(7), "it is told");
    let (code, said) = kept.recover(&[kept.ground.url()]);
    assert_eq!(code, Some(7), "{said}");
    assert_eq!(fs::read(kept.copy()).unwrap(), bytes(4, SMALL));
}

fn deleting_removes_it(kept: &mut Kept) {
    kept.overwrite_in_vain();
    kept.settles();
    kept.ground.proxy.heal();
    fs::remove_file(kept.here("victim")).unwrap();
    assert!(kept.is_empty());
    assert_eq!(kept.ground.take_mount().unmount(), Some(0));
    assert!(!kept.there("victim").exists());
}

fn a_large_file_is_kept_once(kept: &mut Kept) {
    kept.ground
        .proxy
        .on(Verb::Stor)
        .answer_at_end("452 Disk full.");
    let steps = [
        "create victim",
        "large",
        "sync",
        "wait",
        "small",
        "sync",
        "wait",
    ];
    let mut holder = kept.hold(&steps);
    holder.does(2);
    assert_eq!(holder.next(), libc::ENOSPC);
    let first = kept.copy();
    holder.go_on();
    holder.does(1);
    assert_eq!(holder.next(), libc::ENOSPC);
    assert_eq!(kept.copy(), first, "it is the staged file itself");
    let expected = [bytes(5, LARGE), bytes(4, SMALL)].concat();
    assert!(fs::read(&first).unwrap() == expected);
    kept.kill_under(Some(holder));
    kept.ground.proxy.heal();
    kept.is_recovered();
    assert!(fs::read(kept.there("victim")).unwrap() == expected);
}

fn on_another_disk(kept: &mut Kept) {
    let staging = tempfile::tempdir_in("/dev/shm").unwrap();
    assert_eq!(kept.ground.take_mount().unmount(), Some(0));
    let option = format!("staging_dir={}", staging.path().display());
    kept.ground.mount_at_home(kept.home.path(), &[&option]);
    kept.ground
        .proxy
        .on(Verb::Stor)
        .answer_at_end("452 Disk full.");
    let error = kept.ground.run(Operation::CpInLarge, LIMIT).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    let staged = || fs::read_dir(staging.path()).unwrap().count();
    assert_eq!((staged(), kept.files("data").len()), (1, 0));
    assert_eq!(kept.files("kept").len(), 1);
    kept.kill();
    kept.ground.proxy.heal();
    kept.is_recovered();
    assert_eq!(staged(), 0);
    assert_eq!(Operation::CpInLarge.seen(&kept.ground.there), Seen::All);
}

/// Begins to replace `victim`: the answer has it open, and its upload is on its way.
fn replacing(kept: &Kept) -> Holder {
    let mut holder = kept.hold(&["create victim", "large", "wait", "close"]);
    holder.does(2);
    poll::until(LIMIT, "the upload is on the server", || {
        kept.temporary().len() == 1
    });
    holder
}

fn the_dead_are_cleaned(kept: &mut Kept) {
    let holder = replacing(kept);
    kept.kill_under(Some(holder));
    assert_eq!(kept.temporary().len(), 1);
    // Not of our list, so not ours to delete.
    let other = format!("{}0", kept.temporary()[0]);
    fs::write(kept.there(&other), "of another mount").unwrap();
    kept.mount_again();
    poll::until(LIMIT, "only the other is left", || {
        kept.temporary() == [&*other] && kept.files("names").is_empty()
    });
    assert_eq!(Operation::Overwrite.seen(&kept.ground.there), Seen::Nothing);
    assert_eq!(kept.ground.take_mount().unmount(), Some(0));
}

/// Killed between the two renames of a server that does not rename over files.
fn an_old_content_gets_its_name_back(kept: &mut Kept) {
    kept.ground
        .proxy
        .on(Verb::Rnto)
        .at("/victim")
        .once()
        .answer("553 File exists.");
    let last = kept
        .ground
        .proxy
        .on(Verb::Rnto)
        .at("/victim")
        .after(1)
        .stall();
    let holder = kept.hold(&["create victim", "small", "close"]);
    last.happens_within(LIMIT);
    kept.kill_under(Some(holder));
    // Else what was held back would still reach the server.
    poll::until(LIMIT, "its connections are gone", || {
        kept.ground.proxy.counts().open == 0
    });
    kept.ground.proxy.heal();
    assert_eq!(kept.temporary().len(), 2, "old and new");
    assert!(!kept.there("victim").exists());
    kept.mount_again();
    poll::until(LIMIT, "the old content is back", || {
        kept.temporary().is_empty() && kept.there("victim").exists()
    });
    assert_eq!(Operation::Overwrite.seen(&kept.ground.there), Seen::Nothing);
}

fn two_mounts(kept: &mut Kept) {
    let mut holder = replacing(kept);
    let url = kept.ground.url().to_owned();
    let options = kept.ground.options(&[]);
    let second = Mounted::at_home(kept.home.path(), &url, &options);
    assert_eq!(fs::read(second.at("small")).unwrap(), bytes(1, SMALL));
    assert_eq!(second.unmount(), Some(0));
    assert_eq!(kept.temporary().len(), 1, "that of the first");
    holder.go_on();
    holder.does(1);
    drop(holder);
    assert!(fs::read(kept.there("victim")).unwrap() == bytes(5, LARGE));
    assert_eq!(kept.ground.take_mount().unmount(), Some(0));
    assert_eq!(kept.temporary(), [""; 0]);
}
