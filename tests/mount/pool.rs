//! Connections: never too many, and a lost one is nobody's business.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::check::{OrFail, Over, eventually, holding, holds, same_bytes};
use crate::files::{append, bytes, close, has, put};
use crate::harness::reason;
use crate::place::Place;
use crate::shell::sh;
use crate::site::Site;
use crate::support::mounted::Mounted;
use crate::support::server::{Brand, Server};

cases! {
    never_more_connections_than_allowed.seeded(seed).smoke().mounts_only(),
    one_connection_is_never_two.seeded(seed).smoke().mounts_only(),
    a_session_that_died_idle_is_replaced.seconds(240).seeded(seed).smoke().mounts_only().uncompared(),
    the_only_session_that_died_idle_is_replaced.seconds(240).seeded(seed).mounts_only().uncompared(),
    a_read_goes_on_when_its_session_dies.seconds(240).seeded(seed).mounts_only().uncompared(),
    a_write_is_stored_when_its_session_dies.seconds(240).mounts_only().uncompared(),
    idle_connections_are_closed.mounts_only().seconds(240),
    a_server_that_allows_two_sessions_suffices.seconds(240).mounts_only().uncompared(),
}

const BIG: usize = 12_000_000;

fn seed(dir: &Path) {
    for n in 0..4 {
        put(&dir.join(format!("big{n}")), &bytes(n, BIG));
    }
}

/// One line of `/proc/net/tcp`: local port, whether it is a live connection, and its inode.
struct Socket {
    local: u16,
    alive: bool,
    inode: String,
}

/// Those with this port at one of their ends. The table has tens of thousands of dead connections.
fn sockets(port: u16) -> Vec<Socket> {
    let mark = format!(":{port:04X} ");
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        for line in text.lines().filter(|line| line.contains(&mark)) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, local, _, state, _, _, _, _, _, inode, ..] = fields[..] else {
                continue;
            };
            let port = |address: &str| {
                let (_, port) = address.rsplit_once(':').unwrap_or_default();
                u16::from_str_radix(port, 16).unwrap_or(0)
            };
            found.push(Socket {
                local: port(local),
                // Established or being established (include/net/tcp_states.h).
                alive: matches!(state, "01" | "02"),
                inode: inode.to_owned(),
            });
        }
    }
    found
}

fn inodes_of(pid: u32) -> BTreeSet<String> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return BTreeSet::new();
    };
    descriptors
        .flatten()
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            let target = target.to_str()?;
            Some(
                target
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .to_owned(),
            )
        })
        .collect()
}

/// Control connections that a process has to the server now. Not from the table of all sockets: it has
/// tens of thousands of dead ones, and what is to be counted is over before it has been read.
fn connections(pid: u32, port: u16) -> usize {
    let raw = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let process = raw.and_then(|raw| pidfd_open(raw, PidfdFlags::empty()).ok());
    let Some(process) = process else { return 0 };
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return 0;
    };
    let is_one = |entry: &fs::DirEntry| {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        if !target.as_os_str().as_bytes().starts_with(b"socket:") {
            return false;
        }
        let number = entry.file_name().to_str().and_then(|n| n.parse().ok());
        let copy = number.and_then(|n| pidfd_getfd(&process, n, PidfdGetfdFlags::empty()).ok());
        let peer = copy.and_then(|copy| TcpStream::from(copy).peer_addr().ok());
        peer.is_some_and(|peer| peer.port() == port)
    };
    descriptors.flatten().filter(is_one).count()
}

/// Watches the number of connections while `work` goes on, and gives the largest.
fn most_connections(pid: u32, port: u16, work: impl FnOnce()) -> usize {
    let (most, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                most.fetch_max(connections(pid, port), Ordering::SeqCst);
                thread::sleep(Duration::from_millis(20));
            }
        });
        let _over = Over(&over);
        work();
    });
    most.into_inner()
}

/// Readers of four files, writers, and listings, all at once.
fn everything_at_once(here: &Path, there: &Path) {
    thread::scope(|scope| {
        for n in 0..4u64 {
            scope.spawn(move || has(&here.join(format!("big{n}")), &bytes(n, BIG)));
            scope.spawn(move || {
                for round in 0..4 {
                    let name = format!("new{n}-{round}");
                    put(&here.join(&name), &bytes(round, 300_000));
                    has(&there.join(&name), &bytes(round, 300_000));
                    fs::remove_file(here.join(&name)).or_fail("unlink");
                }
            });
            scope.spawn(move || {
                for round in 0..10 {
                    let dir = here.join(format!("dir{n}-{round}"));
                    fs::create_dir(&dir).or_fail("mkdir");
                    holds::<&str>(&dir, []);
                    fs::remove_dir(&dir).or_fail("rmdir");
                }
            });
        }
    });
}

fn limited(place: &Place, limit: usize) {
    let look = place.mount(&[&format!("max_conns={limit}")]);
    let (pid, port) = (look.mounted().pid(), place.site.server().port());
    let most = most_connections(pid, port, || everything_at_once(&look.here, &place.there));
    assert!(most >= 1, "the test sees the connections");
    assert!(
        most <= limit,
        "expected at most {limit} connections, found {most}"
    );
}

fn never_more_connections_than_allowed(place: &Place) {
    limited(place, 3);
}

fn one_connection_is_never_two(place: &Place) {
    limited(place, 1);
}

/// Ends every session of the server: nobody has said goodbye, the sockets are just gone.
fn end_sessions(place: &Place) {
    let server = place.site.server();
    let port = server.port();
    let before = inodes_at(port);
    let forks = matches!(
        server.brand,
        Brand::Vsftpd | Brand::Proftpd | Brand::PureFtpd
    );
    if forks {
        for pid in sessions(port, server.pid) {
            // It may have ended by itself meanwhile.
            _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    } else {
        // One process serves all: the kernel cuts its connections.
        let cut = Command::new("ss")
            .args([
                "-K",
                "state",
                "established",
                &format!("( sport = :{port} )"),
            ])
            .output()
            .or_fail("run ss (package iproute2)");
        assert!(cut.status.success(), "ss -K: {cut:?}");
    }
    eventually("the sessions are gone", Duration::from_secs(10), || {
        let left = inodes_at(port).intersection(&before).count();
        holding(left == 0, || format!("{left} connections"))
    });
}

/// As [`end_sessions`], once nobody logs in or works any more: a session that dies in its login is
/// another matter.
fn end_idle_sessions(place: &Place) {
    let port = place.site.server().port();
    let mut seen = (inodes_at(port), Instant::now());
    eventually("the sessions rest", Duration::from_secs(20), || {
        let now = inodes_at(port);
        if now != seen.0 {
            seen = (now, Instant::now());
        }
        holding(seen.1.elapsed() > Duration::from_millis(400), || {
            format!("{} connections, changing", seen.0.len())
        })
    });
    end_sessions(place);
}

/// Sockets of the server's live connections.
fn inodes_at(port: u16) -> BTreeSet<String> {
    sockets(port)
        .into_iter()
        .filter(|socket| socket.alive && socket.local == port)
        .map(|socket| socket.inode)
        .collect()
}

/// Processes that hold a connection of the server, but its main one.
fn sessions(port: u16, main: u32) -> Vec<i32> {
    let held = inodes_at(port);
    let processes = fs::read_dir("/proc").or_fail("list /proc");
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != main && !inodes_of(*pid).is_disjoint(&held))
        .map(u32::cast_signed)
        .collect()
}

fn idle_deaths(place: &Place, options: &[&str]) {
    with_own_server(place, options, |place, mount| {
        let here = mount.path();
        let steps: [(&str, &dyn Fn()); 10] = [
            ("list", &|| holds(here, ["big", "other", "folder"])),
            ("read", &|| has(&here.join("big"), &bytes(1, BIG))),
            ("list a folder", &|| holds::<&str>(&here.join("folder"), [])),
            ("make", &|| put(&here.join("new"), b"new")),
            ("append", &|| append(&here.join("new"), b" and more")),
            ("replace", &|| put(&here.join("other"), b"replaced")),
            ("mkdir", &|| {
                fs::create_dir(here.join("sub")).or_fail("mkdir");
            }),
            ("rename", &|| {
                fs::rename(here.join("new"), here.join("sub/new")).or_fail("rename");
            }),
            ("rmdir", &|| {
                fs::remove_dir(here.join("folder")).or_fail("rmdir");
            }),
            ("unlink", &|| {
                fs::remove_file(here.join("big")).or_fail("unlink");
            }),
        ];
        for (what, step) in steps {
            end_idle_sessions(place);
            if let Err(panic) = catch_unwind(AssertUnwindSafe(step)) {
                let reason = reason(panic.as_ref());
                panic!("{what} after the sessions died: {reason}\n{}", mount.log());
            }
        }
        holds(&place.there, ["other", "sub"]);
        has(&place.there.join("other"), b"replaced");
        has(&place.there.join("sub/new"), b"new and more");
    });
}

fn a_session_that_died_idle_is_replaced(place: &Place) {
    idle_deaths(place, &["cache_timeout=0"]);
}

fn the_only_session_that_died_idle_is_replaced(place: &Place) {
    idle_deaths(place, &["cache_timeout=0", "max_conns=1"]);
}

/// A server and a mount of its own, for a case that ends all sessions.
fn with_own_server(place: &Place, options: &[&str], work: impl FnOnce(&Place, &Mounted)) {
    // The sessions belong to the server's user or to root.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let server = Server::start(place.site.server().brand);
    put(&server.at("big"), &bytes(1, BIG));
    put(&server.at("other"), &bytes(2, 100_000));
    fs::create_dir(server.at("folder")).or_fail("mkdir on the server");
    server.hand_over();
    let there = server.root.clone();
    let mount = Mounted::new(&server.url, options);
    let place = Place {
        here: mount.path().to_path_buf(),
        there,
        facts: place.facts,
        site: Arc::new(Site::of(server)),
        shared: None,
        own: Mutex::new(Vec::new()),
    };
    work(&place, &mount);
    assert_eq!(mount.unmount(), Some(0), "exit code");
}

fn a_read_goes_on_when_its_session_dies(place: &Place) {
    with_own_server(place, &[], |place, mount| {
        let expected = bytes(1, BIG);
        let mut file = File::open(mount.at("big")).or_fail("open");
        let mut at = 0;
        let mut piece = vec![0; 1_000_000];
        while at < expected.len() {
            file.read_exact(&mut piece)
                .or_fail(&format!("read at {at}"));
            same_bytes(&format!("at {at}"), &piece, &expected[at..at + piece.len()]);
            at += piece.len();
            if at % 4_000_000 == 0 {
                end_sessions(place);
            }
        }
        file.read_exact_at(&mut piece[..1000], 77)
            .or_fail("read the beginning again");
        same_bytes("the beginning", &piece[..1000], &expected[77..1077]);
    });
}

fn a_write_is_stored_when_its_session_dies(place: &Place) {
    with_own_server(place, &[], |place, mount| {
        let content = bytes(5, 2 * BIG);
        let mut file = File::create(mount.at("new")).or_fail("open");
        for (n, part) in content.chunks(2_000_000).enumerate() {
            file.write_all(part).or_fail("write");
            if n == 3 || n == 8 {
                end_sessions(place);
            }
        }
        close(file).or_fail("close");
        has(&place.there.join("new"), &content);
    });
}

fn idle_connections_are_closed(place: &Place) {
    // A server of its own: nobody else is counted.
    let server = Server::start(place.site.server().brand);
    for n in 0..4 {
        put(&server.at(format!("big{n}")), &bytes(n, BIG));
    }
    server.hand_over();
    let mount = Mounted::new(&server.url, &["max_conns=4"]);
    let (pid, port) = (mount.pid(), server.port());
    let most = most_connections(pid, port, || everything_at_once(mount.path(), &server.root));
    assert!(
        most > 1,
        "expected several connections under load, found {most}"
    );
    eventually("all but one are closed", Duration::from_secs(150), || {
        let now = connections(pid, port);
        holding(now <= 1, || format!("{now} connections"))
    });
    sh(
        mount.path(),
        "ls > /dev/null; echo x > file; cat file; rm file",
    );
    assert_eq!(mount.unmount(), Some(0), "exit code");
}

/// The mount wants more than it gets, and lives with what it gets.
fn a_server_that_allows_two_sessions_suffices(place: &Place) {
    let brand = place.site.server().brand;
    let server = Server::start_with(brand, &[("FTPFS_MAX_CLIENTS", "2")]);
    for n in 0..4 {
        put(&server.at(format!("big{n}")), &bytes(n, BIG));
    }
    server.hand_over();
    let mount = Mounted::new(&server.url, &["max_conns=6"]);
    everything_at_once(mount.path(), &server.root);
    assert_eq!(mount.unmount(), Some(0), "exit code");
}
