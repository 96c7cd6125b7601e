//! The socket of a mount: one thread, short questions, and an end to every wait.
//!
//! A question is one line of JSON, so is the answer. `{"ask":"status"}` is answered with a [`Report`].
//! `{"ask":"unmount"}` begins the end and is answered with an [`Ended`] when the process has stored what
//! there was to store.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use super::place;
use super::report::{Ended, Report};

/// Bytes of a question.
const LONGEST: usize = 1024;
/// A client has this long to ask, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// After a client that could not be heard.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
/// So many may wait for the end.
const WAITING: usize = 16;

/// A question.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub(super) enum Question {
    Status,
    Unmount,
}

/// What the socket needs of who mounts. Neither may wait.
pub struct Answers {
    /// All that is known.
    pub report: Box<dyn Fn() -> Report + Send>,
    /// Somebody wants the mount to end.
    pub end: Box<dyn Fn() + Send>,
}

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answers")
    }
}

/// The socket of this process's mount, as long as it lives.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    /// Which file it is: a later mount of the same place may have put its own under the name.
    identity: (u64, u64),
    /// Dropped to end the thread.
    alive: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
    waiting: Arc<Mutex<Vec<UnixStream>>>,
}

impl Socket {
    /// Opens the socket of the mount at `mountpoint`, an absolute path without links, which has this number of a
    /// device. What a dead mount has left is replaced.
    ///
    /// # Errors
    /// In none of the [folders](super::folders) a socket can be made; the reason of the last.
    pub fn open(mountpoint: &Path, device: &str, answers: Answers) -> io::Result<Self> {
        let name = place::name_of(mountpoint, device);
        let mut problem = io::Error::from(io::ErrorKind::NotFound);
        for folder in place::folders(place::own_user()) {
            match bind(&folder, &name) {
                Ok((listener, path)) => {
                    sweep(&folder);
                    return Self::serve(listener, path, answers);
                }
                Err(error) => {
                    problem = io::Error::other(format!("{}: {error}", folder.display()));
                }
            }
        }
        Err(problem)
    }

    fn serve(listener: UnixListener, path: PathBuf, answers: Answers) -> io::Result<Self> {
        let data = fs::symlink_metadata(&path)?;
        let (alive, ended) = UnixStream::pair()?;
        let waiting: Arc<Mutex<Vec<UnixStream>>> = Arc::default();
        let waits = Arc::clone(&waiting);
        let thread = std::thread::Builder::new()
            .name("ftpfs-status".into())
            .spawn(move || listen(&listener, &ended, &answers, &waits))?;
        Ok(Self {
            path,
            identity: (data.dev(), data.ino()),
            alive: Some(alive),
            thread: Some(thread),
            waiting,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends it, and tells those who wait how the mount has ended.
    pub fn close(mut self, ended: &Ended) {
        self.stop();
        let waiting = std::mem::take(&mut *self.waiting.lock());
        for stream in waiting {
            // One that is gone wants no answer.
            drop(answer(&stream, ended));
        }
    }

    fn stop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it has been reported.
            thread.join().ok();
            let data = fs::symlink_metadata(&self.path);
            if data.is_ok_and(|data| (data.dev(), data.ino()) == self.identity) {
                drop(fs::remove_file(&self.path));
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Under a name of its own first: the name that others know is never without a socket that listens.
fn bind(folder: &Path, name: &str) -> io::Result<(UnixListener, PathBuf)> {
    place::own(folder)?;
    let path = folder.join(name);
    // Longer than that: a path that is too long for a socket is found here, and the next folder tried.
    let own = folder.join(format!("{name}.{}", std::process::id()));
    // Of a process that had our number.
    drop(fs::remove_file(&own));
    let listener = UnixListener::bind(&own)?;
    listener.set_nonblocking(true)?;
    fs::rename(&own, &path)?;
    Ok((listener, path))
}

/// Removes the sockets of mounts that are dead: what has the ending of a socket has listened since it got that name.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let paths = entries.flatten().map(|entry| entry.path());
    for path in paths.filter(|path| place::is_socket(path)) {
        let identity = |path: &Path| fs::symlink_metadata(path).map(|data| data.ino()).ok();
        let before = identity(&path);
        let dead = connect_now(&path).is_err_and(|e| e == rustix::io::Errno::CONNREFUSED);
        // Another mount may have taken the name meanwhile.
        if dead && before.is_some() && before == identity(&path) {
            drop(fs::remove_file(&path));
        }
    }
}

/// Without waiting for one that has many clients.
fn connect_now(path: &Path) -> Result<(), rustix::io::Errno> {
    use rustix::net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)
}

fn listen(
    listener: &UnixListener,
    ended: &UnixStream,
    answers: &Answers,
    waiting: &Mutex<Vec<UnixStream>>,
) {
    loop {
        let mut watched = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::new(ended, PollFlags::IN),
        ];
        match poll(&mut watched, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return log::warn!("no status from now on: {error}"),
        }
        if !watched[1].revents().is_empty() {
            return;
        }
        let Ok((stream, _)) = listener.accept() else {
            // Without descriptors it stays ready.
            std::thread::sleep(AFTER_FAILURE);
            continue;
        };
        if let Err(error) = converse(stream, answers, waiting) {
            log::debug!("a question for the status: {error}");
        }
    }
}

fn converse(
    stream: UnixStream,
    answers: &Answers,
    waiting: &Mutex<Vec<UnixStream>>,
) -> io::Result<()> {
    let asks = peer(&stream)?;
    if asks != 0 && asks != place::own_user() {
        return Err(io::Error::other(format!("user {asks} may not ask")));
    }
    match question(&stream)? {
        Question::Status => answer(&stream, &(answers.report)()),
        Question::Unmount => {
            let mut waiting = waiting.lock();
            waiting.retain(is_there);
            if waiting.len() == WAITING {
                return Err(io::Error::other("too many wait for the end"));
            }
            waiting.push(stream);
            drop(waiting);
            (answers.end)();
            Ok(())
        }
    }
}

/// Whether the other end is open. Waits for nothing.
fn is_there(stream: &UnixStream) -> bool {
    let mut watched = [PollFd::new(stream, PollFlags::RDHUP)];
    let now = Timespec::default();
    !poll(&mut watched, Some(&now)).is_ok_and(|count| count > 0)
}

/// The user at the other end: whom the socket's folder lets in, or what a name in it leads to, proves nothing.
pub(super) fn peer(stream: &UnixStream) -> io::Result<u32> {
    #[cfg(target_os = "linux")]
    let user = {
        use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
        getsockopt(stream, PeerCredentials)?.uid()
    };
    #[cfg(not(target_os = "linux"))]
    let user = nix::unistd::getpeereid(stream)?.0.as_raw();
    Ok(user)
}

fn question(mut stream: &UnixStream) -> io::Result<Question> {
    let until = Instant::now() + PATIENCE;
    let mut line = Vec::new();
    let mut buffer = [0; LONGEST];
    while !line.ends_with(b"\n") {
        stream.set_read_timeout(Some(left(until)?))?;
        let count = stream.read(&mut buffer)?;
        line.extend_from_slice(&buffer[..count]);
        if count == 0 || line.len() > LONGEST {
            break;
        }
    }
    Ok(serde_json::from_slice(&line)?)
}

/// Within the time of one client, however slowly he takes it.
pub(super) fn answer(mut stream: &UnixStream, what: &impl Serialize) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    let mut rest = &line[..];
    while !rest.is_empty() {
        stream.set_write_timeout(Some(left(until)?))?;
        match stream.write(rest)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => rest = &rest[count..],
        }
    }
    Ok(())
}

/// The time until then, which is more than none.
pub(super) fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(io::ErrorKind::TimedOut.into()),
        false => Ok(left),
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::{AskError, ask, end};
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn served(folder: &Path, pid: u32, ends: &Arc<AtomicUsize>) -> Socket {
        let ends = Arc::clone(ends);
        let (listener, path) = bind(&folder.join("ftpfs"), "k.sock").unwrap();
        let answers = Answers {
            report: Box::new(move || Report {
                pid,
                ..Report::default()
            }),
            end: Box::new(move || {
                ends.fetch_add(1, Ordering::SeqCst);
            }),
        };
        Socket::serve(listener, path, answers).unwrap()
    }

    #[test]
    fn questions_are_answered_and_those_who_wait_hear_the_end() {
        let (top, ends) = (tempfile::tempdir().unwrap(), Arc::default());
        let socket = served(top.path(), 1, &ends);
        let path = socket.path().to_owned();
        assert_eq!(ask(&path).unwrap().pid, 1);
        // One that says nothing does not keep others waiting for long, nor one that talks nonsense.
        let silent = UnixStream::connect(&path).unwrap();
        let nonsense = UnixStream::connect(&path).unwrap();
        (&nonsense).write_all(&[b'x'; 2 * LONGEST]).unwrap();
        assert_eq!(ask(&path).unwrap().pid, 1);
        drop(silent);
        let mut waiting = end(&path).unwrap();
        assert_eq!(waiting.wait(Duration::from_millis(1)).unwrap(), None);
        // Answered after the other question, so that one has been heard.
        ask(&path).unwrap();
        assert_eq!(ends.load(Ordering::SeqCst), 1);
        let ended = Ended {
            code: 7,
            message: "not stored".into(),
        };
        socket.close(&ended);
        assert_eq!(waiting.wait(Duration::from_secs(20)).unwrap(), Some(ended));
        assert!(!path.exists());
        assert!(matches!(ask(&path), Err(AskError::Nobody)));
    }

    #[test]
    fn those_who_are_gone_keep_no_place() {
        let (top, ends) = (tempfile::tempdir().unwrap(), Arc::default());
        let socket = served(top.path(), 1, &ends);
        for _ in 0..WAITING {
            drop(end(socket.path()).unwrap());
        }
        // Answered behind those, so they have been heard.
        ask(socket.path()).unwrap();
        let mut waiting = end(socket.path()).unwrap();
        ask(socket.path()).unwrap();
        socket.close(&Ended::default());
        let heard = waiting.wait(Duration::from_secs(20)).unwrap();
        assert_eq!(heard, Some(Ended::default()));
    }

    #[test]
    fn sockets_of_dead_mounts_go_and_no_others() {
        let (top, ends) = (tempfile::tempdir().unwrap(), Arc::default());
        let socket = served(top.path(), 1, &ends);
        let folder = socket.path().parent().unwrap();
        drop(UnixListener::bind(folder.join("dead.sock")).unwrap());
        drop(UnixListener::bind(folder.join("another")).unwrap());
        let busy = UnixListener::bind(folder.join("busy.sock")).unwrap();
        sweep(folder);
        let there = |name: &str| folder.join(name).symlink_metadata().is_ok();
        assert!(!there("dead.sock") && there("another") && there("busy.sock"));
        assert_eq!(ask(socket.path()).unwrap().pid, 1);
        drop(busy);
    }

    #[test]
    fn a_later_mount_takes_the_name_over() {
        let (top, ends) = (tempfile::tempdir().unwrap(), Arc::default());
        let first = served(top.path(), 1, &ends);
        let second = served(top.path(), 2, &ends);
        let path = second.path().to_owned();
        assert_eq!(ask(&path).unwrap().pid, 2);
        drop(first);
        assert_eq!(ask(&path).unwrap().pid, 2);
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_mount_left_is_replaced() {
        let (top, ends) = (tempfile::tempdir().unwrap(), Arc::default());
        let folder = top.path().join("ftpfs");
        place::own(&folder).unwrap();
        drop(UnixListener::bind(folder.join("k.sock")).unwrap());
        assert!(matches!(ask(&folder.join("k.sock")), Err(AskError::Nobody)));
        let socket = served(top.path(), 3, &ends);
        assert_eq!(ask(socket.path()).unwrap().pid, 3);
    }
}
