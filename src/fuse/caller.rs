//! What `/proc` tells about the thread that waits for us: whether it was told to stop, and which
//! files it has open.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The signals that end a wait. Not ALRM, CHLD, PROF, URG, USR1, WINCH …: programs with timers
/// or children have those pending all the time, and do not expect EINTR from a file.
const ENDING: [Signal; 5] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGKILL,
];

/// `PF_EXITING` in the flags of `/proc/<pid>/stat` (include/linux/sched.h).
const EXITING: u64 = 0x4;

/// A process with more descriptors than this is not searched: a look must stay short.
const MOST_DESCRIPTORS: usize = 4096;

/// How long a look at the descriptors of a process may take; it takes some microseconds.
const LOOK: Duration = Duration::from_millis(200);

/// Whether the thread has been told to stop, or is gone. For a wait inside close(2), which exit
/// goes through as well (`committing`), a thread that is dying of a signal counts too: nobody will
/// read the answer, and no second signal can reach it.
pub(super) fn gave_up(thread: u32, committing: bool) -> bool {
    match fs::read(format!("/proc/{thread}/status")) {
        Ok(status) if told_to_stop(&status) => true,
        Ok(_) => {
            committing
                && fs::read(format!("/proc/{thread}/stat")).is_ok_and(|stat| dies_of_signal(&stat))
        }
        Err(error) => is_absent(&error) && is_gone(thread),
    }
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// `/proc` alone does not prove it: mounted with `hidepid` it conceals other users' processes.
fn is_gone(thread: u32) -> bool {
    i32::try_from(thread).is_ok_and(|id| kill(Pid::from_raw(id), None) == Err(Errno::ESRCH))
}

/// An ending signal is pending for the thread or its process, and not blocked
/// (`/proc/<pid>/status`: proc(5)).
fn told_to_stop(status: &[u8]) -> bool {
    let mask = |key: &[u8]| {
        status
            .split(|byte| *byte == b'\n')
            .find_map(|line| line.strip_prefix(key))
            .and_then(|value| u64::from_str_radix(str::from_utf8(value).ok()?.trim(), 16).ok())
            .unwrap_or(0)
    };
    let ending = ENDING
        .iter()
        .fold(0, |bits, signal| bits | 1 << (*signal as u64 - 1));
    (mask(b"SigPnd:") | mask(b"ShdPnd:")) & !mask(b"SigBlk:") & ending != 0
}

/// The thread is exiting, and not of its own will: the last field of `/proc/<pid>/stat` is the
/// status for waitpid(2), set before exit closes the files; the kernel shows 0 to those who may
/// not trace the process.
fn dies_of_signal(stat: &[u8]) -> bool {
    // The second field is the command in brackets, which may hold brackets and spaces itself.
    let Some(command_end) = stat.iter().rposition(|byte| *byte == b')') else {
        return false;
    };
    let Ok(fields) = str::from_utf8(&stat[command_end + 1..]) else {
        return false;
    };
    // Counted from the third field on: flags are the ninth, the exit code is the 52nd.
    let mut fields = fields.split_ascii_whitespace().skip(6);
    let flags: u64 = fields.next().and_then(|f| f.parse().ok()).unwrap_or(0);
    let code: i32 = fields.nth(42).and_then(|f| f.parse().ok()).unwrap_or(0);
    flags & EXITING != 0 && ENDING.iter().any(|signal| code & 0x7f == *signal as i32)
}

/// Whether the thread has a descriptor of `file`, an absolute path as the kernel shows it. Only
/// the links are read: to follow one would be a request to ourselves. False if that cannot be seen
/// at once. May wait for [`LOOK`].
///
/// The descriptor that close(2) or dup2(2) is closing has left the table before the FLUSH.
pub(super) fn has_open(thread: u32, file: &Path) -> bool {
    // An exec that closes a descriptor waits for our answer to that FLUSH while it holds the lock
    // that the kernel takes to read these links: a look at it ends after the answer.
    let (tell, told) = crossbeam_channel::bounded(1);
    let file = file.to_owned();
    let look = std::thread::Builder::new()
        .name("ftpfs-look".to_owned())
        .spawn(move || tell.send(holds(thread, &file)));
    match look {
        Ok(_detached) => told.recv_timeout(LOOK).unwrap_or(false),
        Err(_) => false,
    }
}

fn holds(thread: u32, file: &Path) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{thread}/fd")) else {
        return false;
    };
    descriptors
        .take(MOST_DESCRIPTORS)
        .filter_map(Result::ok)
        .any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|target| target == file))
}

/// The path of a file below `mountpoint`, as the kernel shows it.
pub(super) fn path_below(mountpoint: &Path, relative: &[u8]) -> std::path::PathBuf {
    mountpoint.join(OsStr::from_bytes(relative))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};
    use std::time::Instant;

    fn status(pending: u64, shared: u64, blocked: u64) -> Vec<u8> {
        let mut text = b"Name:\tS\xffigPnd: ff\nState:\tD (disk sleep)\nSigQ:\t0/1\n".to_vec();
        text.extend_from_slice(
            format!(
                "SigPnd:\t{pending:016x}\nShdPnd:\t{shared:016x}\nSigBlk:\t{blocked:016x}\n\
                 SigIgn:\t{:016x}\n",
                u64::MAX
            )
            .as_bytes(),
        );
        text
    }

    fn bit(signal: Signal) -> u64 {
        1 << (signal as u64 - 1)
    }

    #[test]
    fn ending_signals_end_a_wait_and_others_do_not() {
        for signal in ENDING {
            assert!(told_to_stop(&status(bit(signal), 0, 0)), "{signal}");
            assert!(told_to_stop(&status(0, bit(signal), 0)), "{signal}");
            assert!(!told_to_stop(&status(0, bit(signal), bit(signal))));
        }
        for signal in [
            Signal::SIGALRM,
            Signal::SIGCHLD,
            Signal::SIGPROF,
            Signal::SIGURG,
            Signal::SIGUSR1,
            Signal::SIGWINCH,
            Signal::SIGTSTP,
        ] {
            assert!(
                !told_to_stop(&status(bit(signal), bit(signal), 0)),
                "{signal}"
            );
        }
        assert!(!told_to_stop(b""));
        assert!(!told_to_stop(b"SigPnd:\tnonsense\n"));
    }

    fn stat(flags: u64, code: i32) -> String {
        let mut fields = vec!["0".to_owned(); 50];
        fields[0] = "D".to_owned();
        fields[6] = flags.to_string();
        fields[49] = code.to_string();
        format!("12 (a) b (c) {}\n", fields.join(" "))
    }

    #[test]
    fn dying_of_a_signal_is_told_from_a_plain_exit() {
        let killed = Signal::SIGKILL as i32;
        assert!(dies_of_signal(stat(0x40_0104, killed).as_bytes()));
        assert!(!dies_of_signal(stat(0x40_0100, killed).as_bytes()));
        assert!(!dies_of_signal(stat(0x40_0104, 0).as_bytes()));
        assert!(!dies_of_signal(stat(0x40_0104, 1 << 8).as_bytes()));
        assert!(!dies_of_signal(
            stat(0x40_0104, Signal::SIGPIPE as i32).as_bytes()
        ));
        assert!(!dies_of_signal(b"12 (x"));
        assert!(!dies_of_signal(b"12 (x) D 1 2"));
    }

    fn until(what: &str, condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(20), "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn end(mut child: Child) -> u32 {
        let id = child.id();
        child.kill().unwrap();
        child.wait().unwrap();
        id
    }

    #[test]
    fn sees_real_processes() {
        // The kernel delivers a signal at once to a process that sleeps in peace; it stays
        // pending, as it does while a process waits for us, where it is stopped by job control.
        let child = Command::new("sleep")
            .arg("1000")
            .process_group(0)
            .spawn()
            .unwrap();
        let id = child.id();
        let pid = Pid::from_raw(i32::try_from(id).unwrap());
        assert!(!gave_up(id, false));
        assert!(!gave_up(id, true));
        kill(pid, Signal::SIGSTOP).unwrap();
        let state = || fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        until("the child stops", || state().contains("State:\tT"));
        assert!(!gave_up(id, true));
        kill(pid, Signal::SIGTERM).unwrap();
        until("the signal is seen", || gave_up(id, false));
        assert!(gave_up(end(child), false));
    }

    #[test]
    fn finds_an_open_file_by_its_links() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let file = path_below(&folder, b"a name");
        let child = Command::new("sleep")
            .arg("1000")
            .stdout(fs::File::create(&file).unwrap())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let id = child.id();
        until("the child holds the file", || has_open(id, &file));
        assert!(!has_open(id, &path_below(&folder, b"another")));
        assert!(!has_open(id, &folder));
        assert!(!has_open(end(child), &file));
    }
}
