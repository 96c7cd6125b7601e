//! A server that is stopped, killed and restarted, and one whose disk is full.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use tempfile::NamedTempFile;

use crate::check::{OrFail, eventually, fails_one_of, holding, holds, names, same_bytes};
use crate::files::{absent, bytes, close, get, has, put, try_put};
use crate::place::Place;
use crate::support::mounted::Mounted;
use crate::support::server::{Brand, Server};

cases! {
    a_stopped_server_holds_nobody_up.mounts_only().uncompared().seconds(240),
    what_a_stopped_server_did_not_take_is_stored_at_the_end.mounts_only().uncompared().seconds(240),
    a_killed_server_is_not_missed_when_it_is_back.mounts_only().uncompared().seconds(240),
    a_full_disk_is_told_and_takes_nothing_away.mounts_only().uncompared().seconds(240),
}

const BIG: usize = 20_000_000;
const LIMIT: Duration = Duration::from_secs(60);

/// Of what goes on while the server is stopped, more than the readahead and the sockets hold.
const LARGE: usize = 64_000_000;
/// Of that, what has gone through before.
const FRONT: usize = 2_000_000;

/// Every call ends after `connect_timeout` and twice `timeout`; a close after `timeout`, as long as there is more to
/// send than the sockets hold.
const BOUNDED: &[&str] = &[
    "timeout=3",
    "connect_timeout=2",
    "cache_timeout=1",
    "readahead=1M",
];
const BOUND: Duration = Duration::from_secs(2 + 2 * 3);
/// What a program calls before it gives up: `ls` goes on with the next folder.
const CALLS: u32 = 3;
/// Of a machine that does much else. With it, too, they end before a single call would without these options.
const SLACK: Duration = Duration::from_secs(20);

/// A program that is told what went wrong, and tells it.
struct Program {
    what: &'static str,
    child: Child,
    messages: NamedTempFile,
}

impl Program {
    fn start(what: &'static str, command: &mut Command) -> Self {
        let messages = NamedTempFile::new().or_fail("a temporary file");
        let child = command
            .env("LC_ALL", "C")
            .stderr(messages.reopen().or_fail("open it again"))
            .spawn();
        Self {
            what,
            child: child.or_fail(what),
            messages,
        }
    }

    /// Cats, lists: what it shows is read from here.
    fn showing(what: &'static str, command: &mut Command) -> (Self, ChildStdout) {
        let mut program = Self::start(what, command.stdin(Stdio::null()).stdout(Stdio::piped()));
        let shown = program.child.stdout.take().expect("a pipe");
        (program, shown)
    }

    /// Copies what it is fed with from here.
    fn storing(what: &'static str, to: &Path) -> (Self, ChildStdin) {
        let mut cp = Command::new("cp");
        cp.arg("/dev/stdin").arg(to);
        let mut program = Self::start(what, cp.stdin(Stdio::piped()).stdout(Stdio::null()));
        let fed = program.child.stdin.take().expect("a pipe");
        (program, fed)
    }

    /// Whether it has succeeded, and its messages.
    fn end(mut self) -> (bool, String) {
        let mut status = None;
        eventually(
            &format!("{} ends", self.what),
            CALLS * BOUND + SLACK,
            || {
                status = self.child.try_wait().or_fail(self.what);
                holding(status.is_some(), || "it still runs".to_owned())
            },
        );
        let messages = fs::read_to_string(self.messages.path()).or_fail(self.what);
        (status.is_some_and(|status| status.success()), messages)
    }

    /// It fails, and says nothing but that the server does not answer.
    #[track_caller]
    fn fails(self) {
        let what = self.what;
        let (succeeded, messages) = self.end();
        assert!(!succeeded, "{what} fails");
        let mut lines = messages.lines().peekable();
        assert!(lines.peek().is_some(), "{what} says why");
        for line in lines {
            // ETIMEDOUT and EIO.
            let reasons = [": Connection timed out", ": Input/output error"];
            assert!(
                reasons.iter().any(|reason| line.ends_with(reason)),
                "{what}: {line}"
            );
        }
    }

    #[track_caller]
    fn succeeds(self) {
        let what = self.what;
        let (succeeded, messages) = self.end();
        assert!(succeeded && messages.is_empty(), "{what}: {messages}");
    }
}

/// A server that is stopped with all its sessions, until dropped.
struct Stopped<'a>(&'a Server);

impl<'a> Stopped<'a> {
    fn new(server: &'a Server) -> Self {
        let stopped = Self(server);
        eventually("it is stopped", LIMIT, || {
            // Again, because it may just have started a session.
            server.signal("STOP");
            let stat = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/stat"));
            let runs = |pid: &u32| {
                let idle = [") T ", ") Z "];
                stat(pid).is_ok_and(|stat| !idle.iter().any(|state| stat.contains(state)))
            };
            let running: Vec<_> = server.family().into_iter().filter(runs).collect();
            holding(running.is_empty(), || format!("{running:?} run"))
        });
        stopped
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.signal("CONT");
    }
}

fn server_with_files(place: &Place, size: usize) -> Server {
    let server = Server::start(place.site.server().brand);
    put(&server.at("big"), &bytes(1, size));
    fs::create_dir(server.at("folder")).or_fail("mkdir");
    put(&server.at("folder/file"), b"text");
    server.hand_over();
    server
}

/// Folders, of which the listing of one is more than a pipe holds.
fn plant(server: &Server) {
    for folder in 0..3 {
        let folder = server.at(format!("tree/{folder}"));
        fs::create_dir_all(&folder).or_fail("mkdir");
        for file in 0..1000 {
            put(&folder.join(format!("{file:080}")), b"");
        }
    }
    server.hand_over();
}

/// A copy to `new` of which the server has got some.
fn begun(server: &Server, mount: &Mounted, content: &[u8]) -> (Program, ChildStdin) {
    let (program, mut fed) = Program::storing("cp in", &mount.at("new"));
    fed.write_all(&content[..FRONT]).or_fail("write");
    eventually("the server gets some of it", LIMIT, || {
        let size = fs::metadata(server.at("new")).map_or(0, |file| file.len());
        holding(size > 0, || "nothing yet".to_owned())
    });
    (program, fed)
}

/// Its program gets the rest.
fn goes_on(mut fed: ChildStdin, content: &[u8]) {
    fed.write_all(&content[FRONT..]).or_fail("write");
}

fn works_again(mount: &Mounted) {
    eventually("it works again", LIMIT, || {
        let found = fs::read(mount.at("folder/file"));
        holding(found.as_ref().is_ok_and(|text| text == b"text"), || {
            format!("{found:?}")
        })
    });
}

/// An error number of the server's trouble may not hide one of ours.
fn has_no_defects(mount: &Mounted) {
    let log = mount.log();
    let defect = log.lines().find(|line| line.contains("a defect of ftpfs"));
    assert_eq!(defect, None);
}

fn a_stopped_server_holds_nobody_up(place: &Place) {
    let server = server_with_files(place, LARGE);
    plant(&server);
    let mount = Mounted::new(&server.url, BOUNDED);
    let here = mount.path();
    let (old, new) = (bytes(1, LARGE), bytes(2, LARGE));
    let ls = || {
        let mut ls = Command::new("ls");
        ls.arg("-lR").arg(here.join("tree"));
        ls
    };
    let cat = || {
        let mut cat = Command::new("cat");
        cat.arg(here.join("big"));
        cat
    };

    // In the middle of their work, all three; the first two cannot go on before they are read from.
    let (lists, mut listing) = Program::showing("ls", &mut ls());
    listing.read_exact(&mut [0; 1000]).or_fail("list");
    let (reads, mut read) = Program::showing("cp out", &mut cat());
    let mut found = vec![0; FRONT];
    read.read_exact(&mut found).or_fail("read");
    let (stores, stored) = begun(&server, &mount, &new);
    let stopped = Stopped::new(&server);
    thread::scope(|scope| {
        scope.spawn(|| {
            io::copy(&mut listing, &mut io::sink()).or_fail("list");
            lists.fails();
        });
        scope.spawn(|| {
            read.read_to_end(&mut found).or_fail("read");
            reads.fails();
            assert!(old.starts_with(&found), "what it has read is the file");
        });
        scope.spawn(|| {
            goes_on(stored, &new);
            stores.fails();
        });
    });
    drop(stopped);

    works_again(&mount);
    let (lists, mut listing) = Program::showing("ls", &mut ls());
    let mut listed = String::new();
    listing.read_to_string(&mut listed).or_fail("list");
    lists.succeeds();
    let files = listed.lines().filter(|line| line.starts_with('-'));
    assert_eq!(files.count(), 3000, "all files are listed");
    let (reads, mut read) = Program::showing("cp out", &mut cat());
    found.clear();
    read.read_to_end(&mut found).or_fail("read");
    reads.succeeds();
    same_bytes("what is read", &found, &old);
    // Under another name: a session of vsftpd whose client left it while it was stopped waits for ever, and has the
    // old one locked.
    fs::remove_file(here.join("new")).or_fail("unlink");
    let (stores, mut stored) = Program::storing("cp in", &here.join("other"));
    stored.write_all(&new).or_fail("write");
    drop(stored);
    stores.succeeds();
    has(&here.join("other"), &new);
    has_no_defects(&mount);
    assert_eq!(mount.unmount(), Some(0), "exit code");
    has(&server.at("other"), &new);
    absent(&server.at("new"));
}

/// What is on the server of the file when it goes on is our own.
fn what_a_stopped_server_did_not_take_is_stored_at_the_end(place: &Place) {
    if place.site.server().brand == Brand::Vsftpd {
        // As above: the file stays locked.
        return;
    }
    let server = server_with_files(place, 0);
    let mount = Mounted::new(&server.url, BOUNDED);
    let new = bytes(2, LARGE);
    let (stores, stored) = begun(&server, &mount, &new);
    let stopped = Stopped::new(&server);
    goes_on(stored, &new);
    stores.fails();
    eventually("all attempts have failed", LIMIT, || {
        let log = mount.log();
        holding(log.contains("/new: not stored: "), || log)
    });
    drop(stopped);
    works_again(&mount);
    assert_eq!(mount.unmount(), Some(0), "exit code");
    has(&server.at("new"), &new);
}

fn a_killed_server_is_not_missed_when_it_is_back(place: &Place) {
    let mut server = server_with_files(place, BIG);
    let (url, root) = (server.url.clone(), server.root.clone());
    let mount = Mounted::new(&url, &["connect_timeout=60", "cache_timeout=1"]);
    let here = mount.path();
    let mut reader = File::open(here.join("big")).or_fail("open");
    let mut front = vec![0; 1_000_000];
    reader.read_exact(&mut front).or_fail("read");
    let mut writer = File::create(here.join("new")).or_fail("create");
    writer.write_all(&bytes(4, 5_000_000)).or_fail("write");
    thread::scope(|scope| {
        scope.spawn(|| server.restart());
        scope.spawn(|| {
            reader.read_to_end(&mut front).or_fail("read on");
            assert!(front == bytes(1, BIG), "what was read is the file");
        });
        scope.spawn(|| {
            writer.write_all(&bytes(5, 5_000_000)).or_fail("write on");
            close(writer).or_fail("close");
        });
        scope.spawn(|| {
            for n in 0..20 {
                put(&here.join(format!("folder/{n}")), b"small");
                holds(
                    &here.join("folder"),
                    ["file".to_owned()]
                        .into_iter()
                        .chain((0..=n).map(|n| n.to_string())),
                );
            }
        });
    });
    drop(reader);
    let expected = [bytes(4, 5_000_000), bytes(5, 5_000_000)].concat();
    assert_eq!(mount.unmount(), Some(0), "exit code");
    assert!(
        get(&root.join("new")) == expected,
        "what was written is there"
    );
}

/// A disk of its own in the served folder, in the list of mounts that the server has.
struct SmallDisk {
    pid: u32,
    place: PathBuf,
}

impl SmallDisk {
    fn new(server: &Server) -> Self {
        let (pid, place) = (server.pid, server.at("disk"));
        fs::create_dir(&place).or_fail("mkdir");
        let disk = Self { pid, place };
        let kind = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "none"];
        assert!(disk.runs(&kind), "a small disk is mounted");
        disk
    }

    fn runs(&self, command: &[&str]) -> bool {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["-t", &self.pid.to_string(), "-m"]);
        let status = nsenter.args(command).arg(&self.place).status();
        status.is_ok_and(|status| status.success())
    }

    /// As the server sees it.
    fn path(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid));
        root.join(self.place.strip_prefix("/").unwrap_or(&self.place))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.runs(&["umount", "-l"]);
    }
}

fn a_full_disk_is_told_and_takes_nothing_away(place: &Place) {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let server = Server::start(place.site.server().brand);
    let disk = SmallDisk::new(&server);
    let there = disk.path();
    let mount = Mounted::new(&server.url, &["cache_timeout=1"]);
    let here = mount.at("disk");
    let full = [Errno::ENOSPC, Errno::EIO];
    put(&here.join("old"), &bytes(1, 1_000_000));
    put(&here.join("log"), b"first\n");

    fails_one_of(
        "a new file",
        try_put(&here.join("new"), &bytes(2, 8_000_000)),
        &full,
    );
    fails_one_of(
        "a new content",
        try_put(&here.join("old"), &bytes(3, 8_000_000)),
        &full,
    );
    has(&there.join("old"), &bytes(1, 1_000_000));
    let appended = OpenOptions::new().append(true).open(here.join("log"));
    let appended = appended.and_then(|mut log| {
        log.write_all(&bytes(4, 8_000_000))?;
        close(log)
    });
    fails_one_of("an append", appended, &full);
    assert!(
        get(&there.join("log")).starts_with(b"first\n"),
        "the old records"
    );
    eventually("no temporary name is left", LIMIT, || {
        let found = names(&there);
        let left = found
            .iter()
            .any(|name| name.to_string_lossy().starts_with(".ftpfs-"));
        holding(!left, || format!("{found:?}"))
    });

    // There is room again.
    for name in ["new", "log"] {
        if here.join(name).exists() {
            fs::remove_file(here.join(name)).or_fail("unlink");
        }
    }
    put(&here.join("new"), &bytes(5, 2_000_000));
    has(&there.join("new"), &bytes(5, 2_000_000));
    has(&here.join("old"), &bytes(1, 1_000_000));
    drop(mount);
}
