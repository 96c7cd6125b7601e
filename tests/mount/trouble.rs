//! A server that is stopped, killed and restarted, and one whose disk is full.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;

use crate::check::{OrFail, eventually, fails_one_of, holding, holds, names};
use crate::files::{bytes, close, get, has, put, try_put};
use crate::place::Place;
use crate::support::mounted::Mounted;
use crate::support::server::Server;

cases! {
    a_stopped_server_holds_nobody_up.mounts_only().uncompared().seconds(240),
    a_killed_server_is_not_missed_when_it_is_back.mounts_only().uncompared().seconds(240),
    a_full_disk_is_told_and_takes_nothing_away.mounts_only().uncompared().seconds(240),
}

const BIG: usize = 20_000_000;
const LIMIT: Duration = Duration::from_secs(60);

/// A program of its own, which can be waited for with a limit.
fn ends_within(what: &str, program: &mut Command) -> bool {
    let child = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.or_fail(what);
    let mut code = None;
    eventually(&format!("{what} ends"), LIMIT, || {
        code = child.try_wait().or_fail(what);
        holding(code.is_some(), || "it still runs".to_owned())
    });
    code.is_some_and(|code| code.success())
}

struct Stopped<'a>(&'a Server);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.signal("CONT");
    }
}

fn server_with_files(place: &Place) -> Server {
    let server = Server::start(place.site.server().brand);
    put(&server.at("big"), &bytes(1, BIG));
    put(&server.at("local"), &bytes(2, BIG));
    fs::create_dir(server.at("folder")).or_fail("mkdir");
    put(&server.at("folder/file"), b"text");
    server.hand_over();
    server
}

fn a_stopped_server_holds_nobody_up(place: &Place) {
    let server = server_with_files(place);
    let mount = Mounted::new(
        &server.url,
        &["timeout=3", "connect_timeout=2", "cache_timeout=1"],
    );
    let here = mount.path();
    let stopped = Stopped(&server);
    server.signal("STOP");
    thread::scope(|scope| {
        scope.spawn(|| {
            let listed = ends_within("ls", Command::new("ls").arg("-l").arg(here.join("folder")));
            assert!(!listed, "ls fails");
        });
        scope.spawn(|| {
            let read = ends_within("cp out", Command::new("cat").arg(here.join("big")));
            assert!(!read, "cp out fails");
        });
        scope.spawn(|| {
            let mut cp = Command::new("cp");
            let stored = ends_within("cp in", cp.arg(server.at("local")).arg(here.join("new")));
            assert!(!stored, "cp in fails");
        });
    });
    drop(stopped);
    eventually("it works again", LIMIT, || {
        let found = fs::read(here.join("folder/file"));
        holding(found.as_ref().is_ok_and(|text| text == b"text"), || {
            format!("{found:?}")
        })
    });
    has(&here.join("big"), &bytes(1, BIG));
    put(&here.join("new"), &bytes(3, 1_000_000));
    assert_eq!(mount.unmount(), Some(0), "exit code");
    has(&server.at("new"), &bytes(3, 1_000_000));
}

fn a_killed_server_is_not_missed_when_it_is_back(place: &Place) {
    let mut server = server_with_files(place);
    let (url, root) = (server.url.clone(), server.root.clone());
    let mount = Mounted::new(&url, &["connect_timeout=60", "cache_timeout=1"]);
    let here = mount.path();
    let mut reader = File::open(here.join("big")).or_fail("open");
    let mut front = vec![0; 1_000_000];
    io::Read::read_exact(&mut reader, &mut front).or_fail("read");
    let mut writer = File::create(here.join("new")).or_fail("create");
    writer.write_all(&bytes(4, 5_000_000)).or_fail("write");
    thread::scope(|scope| {
        scope.spawn(|| server.restart());
        scope.spawn(|| {
            io::Read::read_to_end(&mut reader, &mut front).or_fail("read on");
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
