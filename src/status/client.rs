//! Asking the socket of a mount.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::report::{Ended, Report};
use super::socket::{Question, answer, left, peer};

/// A mount answers from memory; others may be asking it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer: some MB of names at most.
const LONGEST: usize = 16 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No mount listens there: it is dead, or was none.
    #[error("no mount answers")]
    Nobody,
    /// The mount, or its user.
    #[error("the mount does not answer: {0}")]
    Failed(#[from] io::Error),
}

/// Asks for everything.
///
/// # Errors
/// Both of [`AskError`].
pub fn ask(socket: &Path) -> Result<Report, AskError> {
    let stream = put(socket, Question::Status)?;
    let until = Instant::now() + PATIENCE;
    let mut heard = Vec::new();
    match hear(&stream, &mut heard, until)? {
        Some(report) => Ok(report),
        None => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

/// A mount that has been told to end.
#[derive(Debug)]
pub struct Ending {
    stream: UnixStream,
    heard: Vec<u8>,
}

/// Tells a mount to end.
///
/// # Errors
/// Both of [`AskError`].
pub fn end(socket: &Path) -> Result<Ending, AskError> {
    Ok(Ending {
        stream: put(socket, Question::Unmount)?,
        heard: Vec::new(),
    })
}

impl Ending {
    /// How it has ended; `None` if it has not yet, after `time`.
    ///
    /// # Errors
    /// The process has ended without a word.
    pub fn wait(&mut self, time: Duration) -> io::Result<Option<Ended>> {
        hear(&self.stream, &mut self.heard, Instant::now() + time)
    }
}

fn put(socket: &Path, question: Question) -> Result<UnixStream, AskError> {
    let stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::Nobody,
        _ => AskError::Failed(error),
    })?;
    // What a user has put into a folder of his own may lead root to a socket of somebody else.
    let owner = socket
        .parent()
        .map_or(Ok(0), |folder| fs::metadata(folder).map(|data| data.uid()));
    if peer(&stream)? != owner? {
        return Err(io::Error::other("the socket is another user's").into());
    }
    answer(&stream, &question)?;
    Ok(stream)
}

/// One line; `None` if it does not come in time.
fn hear<T: DeserializeOwned>(
    mut stream: &UnixStream,
    heard: &mut Vec<u8>,
    until: Instant,
) -> io::Result<Option<T>> {
    let mut buffer = [0; 16 << 10];
    while !heard.ends_with(b"\n") {
        let Ok(time) = left(until) else {
            return Ok(None);
        };
        stream.set_read_timeout(Some(time))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => heard.extend_from_slice(&buffer[..count]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        if heard.len() > LONGEST {
            return Err(io::Error::other("the answer is too long"));
        }
    }
    Ok(Some(serde_json::from_slice(heard)?))
}
