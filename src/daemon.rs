//! Going to the background; telling the parent "mounted", or the exact reason why not.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, setsid, waitpid};

/// The two processes after [`fork`].
#[derive(Debug)]
pub enum Side {
    /// In the parent, once the child has reported.
    Parent(Report),
    /// In the child, which goes on.
    Child(Reporter),
}

/// What the child said.
#[derive(Debug, PartialEq, Eq)]
pub enum Report {
    /// The mount is usable.
    Ready,
    /// It will not be: exit status and one line.
    Failed(u8, String),
    /// The child ended without a word; this is how.
    Died(String),
    /// Nothing was heard in time; the child has been told to end.
    Silent,
}

/// The child's end of the line to its parent.
#[derive(Debug)]
pub struct Reporter {
    pipe: PipeWriter,
}

/// The exit status of a failure of this machine (`mount::Status::System`).
const SYSTEM: u8 = 2;

/// Longest message that is read from a child.
const LONGEST: usize = 64 * 1024;

/// Splits the process in two. The parent waits for the child's report for at most `patience`.
/// Only the calling thread lives on in the child, so no other may exist yet.
///
/// # Errors
/// The system has no process or no pipe to give.
pub fn fork(patience: Duration) -> io::Result<Side> {
    let (reader, writer) = io::pipe()?;
    #[expect(unsafe_code, reason = "fork(2) has no safe interface")]
    // SAFETY: no other thread exists, so the child's copy of every lock and of the heap is sound.
    let child = unsafe { libc::fork() };
    match child {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop(reader);
            Ok(Side::Child(Reporter { pipe: writer }))
        }
        child => {
            drop(writer);
            let child = Pid::from_raw(child).ok_or(Errno::SRCH)?;
            Ok(Side::Parent(wait(child, reader, patience)?))
        }
    }
}

impl Reporter {
    /// Tells the parent that all is well, and leaves terminal, working directory and standard
    /// streams behind.
    ///
    /// # Errors
    /// The parent is gone (nobody waits for this mount any more), or the streams cannot be replaced.
    pub fn ready(mut self) -> io::Result<()> {
        let left = std::env::set_current_dir("/")
            .and_then(|()| File::options().read(true).write(true).open("/dev/null"));
        let null = match left {
            Ok(null) => null,
            Err(error) => {
                self.failed(SYSTEM, &format!("cannot go to the background: {error}"));
                return Err(error);
            }
        };
        // Fails only for the leader of a group, which a forked child is not.
        setsid().ok();
        self.pipe.write_all(&[0])?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
        Ok(())
    }

    /// Tells the parent why not. `code` is its exit status, not 0.
    pub fn failed(mut self, code: u8, message: &str) {
        let mut report = vec![code];
        report.extend_from_slice(message.as_bytes());
        // A parent that is gone needs no message.
        drop(self.pipe.write_all(&report));
    }
}

fn wait(child: Pid, mut pipe: PipeReader, patience: Duration) -> io::Result<Report> {
    let end = Instant::now() + patience;
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        let readable = match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], timeout.as_ref()) {
            Ok(count) => count > 0,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if !readable {
            kill_process(child, Signal::TERM).ok();
            return Ok(Report::Silent);
        }
        let count = pipe.read(&mut buffer)?;
        heard.extend_from_slice(&buffer[..count]);
        if heard.first() == Some(&0) {
            return Ok(Report::Ready);
        }
        if count == 0 || heard.len() > LONGEST {
            break;
        }
    }
    match heard.split_first() {
        Some((code, message)) => Ok(Report::Failed(
            *code,
            String::from_utf8_lossy(message).into_owned(),
        )),
        None => Ok(Report::Died(how_it_ended(child))),
    }
}

fn how_it_ended(child: Pid) -> String {
    match waitpid(Some(child), WaitOptions::empty()) {
        Ok(Some((_, status))) => match (status.terminating_signal(), status.exit_status()) {
            (Some(signal), _) => format!("killed by signal {signal}"),
            (None, Some(code)) => format!("exit status {code}"),
            (None, None) => "for an unknown reason".into(),
        },
        _ => "for an unknown reason".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn reported(bytes: &[u8]) -> Report {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(bytes).unwrap();
        drop(writer);
        let mut child = Command::new("sh")
            .args(["-c", "kill -9 $$"])
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        let report = wait(pid, reader, Duration::from_secs(10)).unwrap();
        drop(child.wait());
        report
    }

    #[test]
    fn reports_reach_the_parent() {
        assert_eq!(reported(&[0]), Report::Ready);
        assert_eq!(reported(b"\x03no"), Report::Failed(3, "no".into()));
        assert_eq!(reported(b""), Report::Died("killed by signal 9".into()));
    }

    #[test]
    fn a_silent_child_is_told_to_end() {
        let (reader, _writer) = io::pipe().unwrap();
        let mut child = Command::new("sleep")
            .arg("1000")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let report = wait(Pid::from_child(&child), reader, Duration::from_millis(1)).unwrap();
        assert_eq!(report, Report::Silent);
        assert!(!child.wait().unwrap().success());
    }
}
