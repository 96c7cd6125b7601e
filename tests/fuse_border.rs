//! The kernel border on real mounts: who waits can be interrupted, and every way to unmount ends well.

#[path = "fuse_border/alarms.rs"]
mod alarms;
#[path = "fuse_border/interrupted.rs"]
mod interrupted;
#[path = "support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use support::faulty::Proxy;
use support::mounted::{Mounted, is_mounted};
use support::poll;
use support::server::{Brand, Server};

/// Until something that needs no server has happened.
const LIMIT: Duration = Duration::from_secs(30);

/// Far beyond [`LIMIT`]: what ends within it was not ended by a deadline.
const PATIENT: &[&str] = &["timeout=600", "connect_timeout=600"];

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status()
        .is_ok_and(|status| status.success());
    assert!(sent, "kill -{name} {pid}");
}

/// A server that keeps its connections and says nothing, until dropped.
struct Frozen<'a>(&'a Server);

impl<'a> Frozen<'a> {
    fn new(server: &'a Server) -> Self {
        signal(server.pid, "STOP");
        Self(server)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        signal(self.0.pid, "CONT");
    }
}

/// pyftpdlib serves all clients in one process, so that one signal freezes it.
fn server() -> Server {
    Server::start(Brand::Pyftpdlib)
}

/// It sleeps until a request to a FUSE file system is answered.
fn is_waiting_for_us(child: &Child) -> bool {
    fs::read_to_string(format!("/proc/{}/wchan", child.id()))
        .is_ok_and(|function| function == "request_wait_answer")
}

fn run(program: &str, argument: &Path) -> Child {
    Command::new(program)
        .arg(argument)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program can be run")
}

#[track_caller]
fn ended(child: &mut Child) -> ExitStatus {
    let mut status = None;
    poll::until(LIMIT, "the end of a process", || {
        status = child.try_wait().expect("a child of ours");
        status.is_some()
    });
    status.expect("waited for")
}

#[test]
fn a_program_that_waits_for_a_dead_server_can_be_interrupted() {
    let server = server();
    interrupted::lay_out(&server);
    let of_a_kind = |more: &[&str]| {
        let options = [PATIENT, &["max_conns=32", "cache_timeout=600"], more].concat();
        let mount = Mounted::run(&server.url, &options, |command| {
            command.arg("-d");
        });
        mount.expect("a mount")
    };
    // What is known to the first is asked of the server in the others: a walk through the first lists it all.
    let (mount, cold, hard) = (of_a_kind(&[]), of_a_kind(&[]), of_a_kind(&["hard"]));
    let mut programs = interrupted::start_all(&mount, &cold, &hard);
    let frozen = Frozen::new(&server);
    let sessions = mount.log().matches(" logged in").count();
    interrupted::all_wait(&mut programs);
    interrupted::all_are_ended(&mut programs);
    drop(frozen);
    interrupted::nothing_is_left(&server, &[&mount, &cold, &hard]);
    for mount in [mount, cold, hard] {
        assert_eq!(mount.unmount(), Some(0));
    }
    let happened = interrupted::happened(&server);
    assert!(
        happened.len() <= sessions,
        "{sessions} sessions: {happened:#?}"
    );
}

/// The kernel lets one program at a time make something in a directory; who waits for another one there cannot be
/// told anything by us.
#[test]
fn who_waits_for_another_to_make_something_ends_when_the_other_does() {
    let server = server();
    let mount = Mounted::new(&server.url, PATIENT);
    let frozen = Frozen::new(&server);
    let mut first = run("mkdir", &mount.at("first"));
    poll::until(LIMIT, "mkdir waits for the server", || {
        is_waiting_for_us(&first)
    });
    let mut second = run("mkdir", &mount.at("second"));
    poll::until(LIMIT, "the other waits for the kernel", || {
        let state = fs::read_to_string(format!("/proc/{}/stat", second.id()));
        state.is_ok_and(|state| state.contains(") D ")) && !is_waiting_for_us(&second)
    });
    signal(second.id(), "KILL");
    signal(first.id(), "INT");
    assert_eq!(ended(&mut first).signal(), Some(2));
    assert_eq!(ended(&mut second).signal(), Some(9));
    drop(frozen);
}

/// As git and others have it for their display of progress.
#[test]
fn a_program_with_an_alarm_clock_is_not_disturbed() {
    let server = server();
    alarms::lay_out(&server);
    let proxy = Proxy::start(server.port());
    let mount = Mounted::new(&proxy.url(&server.url), PATIENT);
    alarms::slow_down(&proxy);
    alarms::runs_undisturbed(&mount);
    assert_eq!(fs::read(server.at("folder/renamed")).unwrap(), b"text");
    proxy.heal();
    assert_eq!(mount.unmount(), Some(0));
}

#[test]
fn a_program_that_closes_a_file_can_be_killed_and_the_file_arrives_later() {
    let server = server();
    let mount = Mounted::new(&server.url, PATIENT);
    let path = mount.at("file");
    let mut writer = Command::new("sh")
        .args(["-c", r#"exec > "$1"; echo text; read line; exec >&-"#, "sh"])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    poll::until(LIMIT, "the text is written", || {
        fs::metadata(&path).is_ok_and(|file| file.len() == 5)
    });
    let frozen = Frozen::new(&server);
    writer.stdin.take().unwrap().write_all(b"\n").unwrap();
    poll::until(LIMIT, "close waits for the server", || {
        is_waiting_for_us(&writer)
    });
    signal(writer.id(), "KILL");
    assert_eq!(ended(&mut writer).signal(), Some(9));
    drop(frozen);
    poll::until(LIMIT, "the file arrives", || {
        fs::read(server.at("file")).is_ok_and(|text| text == b"text\n")
    });
}

#[test]
fn a_program_that_starts_another_while_a_file_is_open_goes_on() {
    let server = server();
    let mount = Mounted::new(&server.url, &[]);
    let mut file = File::create(mount.at("file")).unwrap();
    // The other one inherits the file, and exec closes it. The kernel lets nobody look at a process
    // that is in the middle of an exec, and the exec waits for the answer to that close.
    let mut other = run("true", Path::new("/"));
    assert!(ended(&mut other).success());
    file.write_all(b"text").unwrap();
    drop(file);
    assert_eq!(fs::read(server.at("file")).unwrap(), b"text");
    assert_eq!(mount.unmount(), Some(0));
}

#[test]
fn a_mount_in_use_is_left_at_once_and_ends_when_its_files_are_closed() {
    let server = server();
    let mount = Mounted::new(&server.url, &[]);
    let mut file = File::create(mount.at("file")).unwrap();
    file.write_all(b"before ").unwrap();
    let detached = Command::new("umount")
        .args(["-l", "--"])
        .arg(mount.path())
        .status()
        .unwrap();
    assert!(detached.success());
    file.write_all(b"after").unwrap();
    drop(file);
    assert_eq!(mount.unmount(), Some(0));
    assert_eq!(fs::read(server.at("file")).unwrap(), b"before after");
}

#[test]
fn a_signal_ends_a_mount_that_a_shell_stands_in() {
    let server = server();
    let mount = Mounted::new(&server.url, &[]);
    let mut shell = Command::new("sleep")
        .arg("1000")
        .current_dir(mount.path())
        .spawn()
        .unwrap();
    let code = mount.end_by_signal("TERM");
    shell.kill().unwrap();
    shell.wait().unwrap();
    assert_eq!(code, Some(0));
}

#[test]
fn a_mount_that_has_taken_its_place_is_left_alone() {
    let server = server();
    let mount = Mounted::new(&server.url, &[]);
    let place = mount.path().to_owned();
    // Made before the first one's program can look: the kernel gives it the same numbers.
    let taken = Command::new("sh")
        .args(["-c", r#"umount "$1" && mount -t tmpfs none "$1""#, "sh"])
        .arg(&place)
        .status()
        .unwrap();
    assert!(taken.success());
    poll::until(LIMIT, "the end of the first", || {
        fs::read_to_string(format!("/proc/{}/stat", mount.pid()))
            .is_ok_and(|stat| stat.contains(") Z "))
    });
    let still_there = is_mounted(&place);
    let removed = Command::new("umount").arg(&place).status().unwrap();
    assert!(still_there && removed.success());
    assert_eq!(mount.unmount(), Some(0));
}
