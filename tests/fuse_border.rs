//! The kernel border on real mounts: who waits can be interrupted, and every way to unmount ends well.

#[path = "support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use support::mounted::{Mounted, is_mounted};
use support::poll;
use support::server::{Brand, Server};

/// Until something that needs no server has happened.
const LIMIT: Duration = Duration::from_secs(30);

/// Far beyond [`LIMIT`]: what ends within it was not ended by a deadline.
const PATIENT: &[&str] = &["timeout=300", "connect_timeout=300"];

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
    fs::create_dir(server.at("folder")).unwrap();
    server.hand_over();
    let mount = Mounted::new(&server.url, PATIENT);
    let frozen = Frozen::new(&server);
    for (name, number) in [("INT", 2), ("TERM", 15), ("KILL", 9)] {
        let mut waiting = run("ls", &mount.at("folder"));
        poll::until(LIMIT, "ls waits for the server", || {
            is_waiting_for_us(&waiting)
        });
        signal(waiting.id(), name);
        assert_eq!(ended(&mut waiting).signal(), Some(number), "{name}");
    }
    drop(frozen);
    // What was abandoned has left nothing behind that a new caller stumbles over.
    let mut listing = run("ls", &mount.at("folder"));
    assert!(ended(&mut listing).success());
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

/// With a handler for the alarm that comes ten times a second, and no system call begun again: the first
/// one that an alarm ends is its exit code.
const WITH_ALARMS: &str = r"
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, .1, .1)
def check(result):
    if result < 0:
        sys.exit(ctypes.get_errno())
    return result
folder = sys.argv[1].encode()
buffer = ctypes.create_string_buffer(100)
file = check(libc.open(folder + b'/file', os.O_RDONLY))
if check(libc.read(file, buffer, 100)) != 4:
    sys.exit(250)
check(libc.close(file))
file = check(libc.open(folder + b'/new', os.O_WRONLY | os.O_CREAT, 0o644))
check(libc.write(file, b'text', 4))
check(libc.close(file))
check(libc.rename(folder + b'/new', folder + b'/renamed'))
";

#[test]
fn a_program_with_an_alarm_clock_is_not_disturbed() {
    let server = server();
    fs::write(server.at("file"), b"text").unwrap();
    server.hand_over();
    let mount = Mounted::new(&server.url, PATIENT);
    let frozen = Frozen::new(&server);
    let mut program = Command::new("python3")
        .args(["-c", WITH_ALARMS])
        .arg(mount.path())
        .spawn()
        .unwrap();
    poll::until(LIMIT, "it waits for the server", || {
        is_waiting_for_us(&program)
    });
    // Many alarms later.
    let disturbed = poll::becomes_true(Duration::from_secs(3), || {
        program.try_wait().expect("a child of ours").is_some()
    });
    assert!(!disturbed, "it goes on waiting");
    drop(frozen);
    assert_eq!(ended(&mut program).code(), Some(0));
    assert_eq!(fs::read(server.at("renamed")).unwrap(), b"text");
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
