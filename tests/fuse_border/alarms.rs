//! A program whose alarm clock rings all the time, at a server that takes seconds for each answer.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::support::faulty::{Proxy, Verb};
use super::support::mounted::Mounted;
use super::support::poll;
use super::support::server::Server;

/// Between two bytes of a reply: "125 Data connection already open. Transfer starting." takes most of a second.
const DROP: Duration = Duration::from_millis(16);

/// Of the whole program, which waits for some twenty seconds in all.
const LIMIT: Duration = Duration::from_secs(180);

/// More than a mount reads ahead and the sockets hold.
const LARGE: u64 = 1 << 30;

/// It has a handler for the alarm that comes ten times a second, and no system call is begun again: the first
/// one that an alarm ends is told, and so is one that has not waited for several of them.
const WITH_ALARMS: &str = r"
import ctypes, os, signal, sys, time
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, .1, .1)
def call(waits, name, *arguments):
    began = time.monotonic()
    result = getattr(libc, name)(*arguments)
    if result < 0:
        sys.exit(name + ': ' + os.strerror(ctypes.get_errno()))
    lasted = time.monotonic() - began
    if waits and lasted < .5:
        sys.exit(f'{name} has lasted {lasted} s alone')
    return result
os.chdir(sys.argv[1])
buffer = ctypes.create_string_buffer(100)
file = call(True, 'open', b'large', os.O_RDONLY)
call(True, 'read', file, buffer, 100)
call(True, 'pread', file, buffer, 100, ctypes.c_long(1 << 29))
call(False, 'close', file)
file = call(True, 'open', b'new', os.O_WRONLY | os.O_CREAT, 0o644)
call(False, 'write', file, b'text', 4)
call(True, 'close', file)
call(True, 'rename', b'new', b'renamed')
file = call(True, 'open', b'old', os.O_WRONLY | os.O_TRUNC)
call(False, 'write', file, b'text', 4)
call(True, 'fsync', file)
call(False, 'close', file)
# The interpreter ends without the handler.
signal.setitimer(signal.ITIMER_REAL, 0)
";

/// The files that the program works on.
pub(super) fn lay_out(server: &Server) {
    fs::create_dir(server.at("folder")).expect("a folder");
    let large = File::create(server.at("folder/large")).expect("a file");
    large.set_len(LARGE).expect("a hole");
    fs::write(server.at("folder/old"), b"old").expect("a file");
    server.hand_over();
}

/// From now on all replies come byte by byte, but not those of a login, which has hundreds.
pub(super) fn slow_down(proxy: &Proxy) {
    for verb in [
        Verb::Listing,
        Verb::Size,
        Verb::Mdtm,
        Verb::Retr,
        Verb::Upload,
        Verb::Rnfr,
    ] {
        drop(proxy.on(verb).drip_replies(DROP));
    }
}

/// Nothing that it calls fails.
#[track_caller]
pub(super) fn runs_undisturbed(mount: &Mounted) {
    let mut program = Command::new("python3")
        .args(["-c", WITH_ALARMS])
        .arg(mount.at("folder"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be run");
    let ended = poll::becomes_true(LIMIT, || {
        program.try_wait().expect("a child of ours").is_some()
    });
    assert!(ended, "it waits for ever");
    let output = program.wait_with_output().expect("a child of ours");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty(),
        "{}: {said}",
        output.status
    );
}
