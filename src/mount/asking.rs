//! `--status` and `--unmount`: asks mounts that other processes serve.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::progress::Progress;
use super::{Failure, Status};
use crate::ftp::printable;
use crate::fuse::{self, Found};
use crate::status::{self, AskError, Report};

/// A command line about a mount that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// What it, or all of this user, are doing.
    Status {
        /// As typed; `None`: all of this user.
        mountpoint: Option<PathBuf>,
        /// How it is told.
        look: Look,
    },
    /// It is to end. The mountpoint as typed.
    Unmount(PathBuf),
}

/// How the status is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// For people, once.
    Once,
    /// For programs, once.
    Json,
    /// For people, again and again.
    Watch,
}

/// A mount that is served tells of its root at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// So often a process that says nothing is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(5);

/// How often the screen is drawn anew.
const TICK: Duration = Duration::from_millis(250);

/// Asks, and prints the answer.
///
/// # Errors
/// [`Status::System`] if nothing is mounted there; [`Status::NotStored`] if something could not be stored.
pub fn ask(what: &Ask) -> Result<(), Failure> {
    match what {
        Ask::Status { mountpoint, look } => look_at(mountpoint.as_deref(), *look),
        Ask::Unmount(mountpoint) => unmount(mountpoint),
    }
}

fn look_at(mountpoint: Option<&Path>, look: Look) -> Result<(), Failure> {
    let sockets = match mountpoint {
        Some(typed) => vec![socket_at(typed)?],
        None => status::sockets(user()),
    };
    let reports = asked(&sockets)?;
    if reports.is_empty() && look == Look::Json && mountpoint.is_none() {
        // A program reads an answer in any case.
        say(&json(&reports, false)?)?;
    }
    if reports.is_empty() {
        return Err(match mountpoint {
            Some(typed) => silent(typed),
            None => Failure::system("nothing is mounted by this user"),
        });
    }
    match look {
        Look::Json => say(&json(&reports, mountpoint.is_some())?),
        Look::Once => {
            let texts: Vec<String> = reports.iter().map(Report::to_string).collect();
            say(&texts.join("\n"))
        }
        Look::Watch => watch(&sockets, &reports),
    }
}

fn json(reports: &[Report], one: bool) -> Result<String, Failure> {
    Report::json(reports, one).map_err(|error| Failure::system(error.to_string()))
}

/// Those who answer. A mount that is dead, or ends just now, is left out.
fn asked(sockets: &[PathBuf]) -> Result<Vec<Report>, Failure> {
    let mut reports = Vec::new();
    for socket in sockets {
        match status::ask(socket) {
            Ok(report) => reports.push(report),
            Err(AskError::Nobody) => {}
            Err(AskError::Failed(e)) if e.kind() == io::ErrorKind::UnexpectedEof => {}
            // One that stands still hides no others.
            Err(error) if sockets.len() > 1 => {
                drop(writeln!(
                    io::stderr(),
                    "ftpfs: warning: {}: {error}",
                    socket.display()
                ));
            }
            Err(error) => {
                let socket = socket.display();
                return Err(Failure::system(format!("{socket}: {error}")));
            }
        }
    }
    Ok(reports)
}

/// Until all of them have ended; Ctrl-C ends the process as it does any other.
fn watch(sockets: &[PathBuf], first: &[Report]) -> Result<(), Failure> {
    let mut progress = Progress::on_stdout();
    let mut reports = first.to_vec();
    while !reports.is_empty() {
        progress.show(&reports).map_err(|error| of_stdout(&error))?;
        std::thread::sleep(TICK);
        reports = asked(sockets)?;
    }
    progress.end();
    say("unmounted\n")
}

/// The socket of the mount at a typed path, which is not touched itself: a dead server must not keep anybody
/// waiting here.
fn socket_at(typed: &Path) -> Result<PathBuf, Failure> {
    let place = place(typed)?;
    let found = fuse::mounted_at(&place).filter(Found::is_ours);
    let device = found.as_ref().map(|found| &*found.device);
    let owner = found.as_ref().and_then(|found| found.owner);
    [Some(user()), owner]
        .into_iter()
        .flatten()
        .find_map(|user| status::socket_of(&place, device, user))
        .ok_or_else(|| silent(typed))
}

/// Absolute and without links. The last name is left alone if a mount is there.
fn place(typed: &Path) -> Result<PathBuf, Failure> {
    let fail = |error: io::Error| {
        Failure::system(format!(
            "{}: cannot be a mountpoint: {error}",
            typed.display()
        ))
    };
    if let (Some(parent), Some(name)) = (typed.parent(), typed.file_name()) {
        let parent = match parent.as_os_str().is_empty() {
            true => Path::new("."),
            false => parent,
        };
        let place = parent.canonicalize().map_err(fail)?.join(name);
        if fuse::mounted_at(&place).is_some() {
            return Ok(place);
        }
    }
    typed.canonicalize().map_err(fail)
}

fn silent(typed: &Path) -> Failure {
    let shown = typed.display();
    let found = place(typed).ok().and_then(|place| fuse::mounted_at(&place));
    Failure::system(match found {
        Some(found) if found.is_ours() && place(typed).is_ok_and(|place| is_crashed(&place)) => {
            format!(
                "{shown}: {} crashed here; run: {}",
                found.source,
                fuse::unmount_command(typed)
            )
        }
        Some(found) if found.is_ours() => format!(
            "{shown}: {} is mounted here, but its process does not answer this user",
            found.source
        ),
        Some(found) => format!("{shown}: {} is mounted here, not ftpfs", found.source),
        None => format!("{shown}: nothing is mounted here"),
    })
}

/// Whether nobody serves the mount any more. One that is served, and does not answer, is none.
fn is_crashed(place: &Path) -> bool {
    let (tell, told) = mpsc::channel();
    let place = place.to_owned();
    let looking = std::thread::Builder::new().spawn(move || {
        let crashed = std::fs::metadata(&place)
            .is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN));
        // Who gave up waiting wants no answer.
        tell.send(crashed).unwrap_or_default();
    });
    looking.is_ok() && told.recv_timeout(PATIENCE).unwrap_or(false)
}

/// Removes what a process has left that ended before it could serve its mount.
pub fn take_away_dead(mountpoint: &Path) {
    let is_ours = |place: &Path| fuse::mounted_at(place).is_some_and(|found| found.is_ours());
    if is_ours(mountpoint)
        && is_crashed(mountpoint)
        && let Err(error) = fuse::unmount(mountpoint)
    {
        log::warn!("a dead mount is left at {}: {error}", mountpoint.display());
    }
}

/// Also waits for a process whose mount is gone already, and that stores what is left.
fn unmount(typed: &Path) -> Result<(), Failure> {
    let shown = typed.display();
    // Ours may be below it, and stays there if its process ends now.
    let above = place(typed).ok().and_then(|place| fuse::mounted_at(&place));
    if above.as_ref().is_some_and(|found| !found.is_ours()) {
        return Err(silent(typed));
    }
    if let Some(owner) = above.and_then(|found| found.owner)
        && user() != 0
        && user() != owner
    {
        return Err(Failure::system(format!(
            "{shown}: another user has mounted it; that user and root can unmount it"
        )));
    }
    if let Ok(socket) = socket_at(typed) {
        match status::end(&socket) {
            Ok(mut ending) => return wait_for(&mut ending, &socket, typed),
            Err(AskError::Nobody) => {}
            Err(error) => return Err(Failure::system(format!("{shown}: {error}"))),
        }
    }
    // Of a process that is dead, or of one that could make no socket.
    let place = place(typed)?;
    if !fuse::mounted_at(&place)
        .as_ref()
        .is_some_and(Found::is_ours)
    {
        return Err(silent(typed));
    }
    fuse::unmount(&place).map_err(|error| Failure::system(format!("{shown}: {error}")))?;
    Err(Failure::new(
        Status::NotStored,
        format!(
            "{shown}: unmounted; its process could not be asked whether everything is stored (what is kept is listed by: ftpfs --recover)"
        ),
    ))
}

fn wait_for(ending: &mut status::Ending, socket: &Path, typed: &Path) -> Result<(), Failure> {
    let mut progress = Progress::on_stderr();
    let draws = io::stderr().is_terminal();
    let mut heard = Instant::now();
    let ended = loop {
        match ending.wait(TICK) {
            Ok(Some(ended)) => break ended,
            Ok(None) => {}
            Err(error) => {
                progress.end();
                return Err(Failure::new(
                    Status::NotStored,
                    format!(
                        "{}: its process has ended without a word ({error}); what could not be stored is listed by: ftpfs --recover",
                        typed.display()
                    ),
                ));
            }
        }
        if !draws && heard.elapsed() < SILENCE {
            continue;
        }
        match status::ask(socket) {
            Ok(report) if draws => progress
                .show(&[report])
                .map_err(|error| of_stdout(&error))?,
            Err(AskError::Failed(error)) if error.kind() == io::ErrorKind::TimedOut => {
                progress.end();
                return Err(Failure::new(
                    Status::NotStored,
                    format!(
                        "{}: its process stands still; it was asked to end, and does so when it goes on",
                        typed.display()
                    ),
                ));
            }
            // Just before its end it does not answer any more.
            _ => {}
        }
        heard = Instant::now();
    };
    progress.end();
    match ended.code {
        0 => Ok(()),
        // It may be another user's, and this the terminal of root.
        code => Err(Failure::new(
            Status::from_code(code),
            printable(ended.message.as_bytes()),
        )),
    }
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn say(text: &str) -> Result<(), Failure> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| of_stdout(&error))
}

fn of_stdout(error: &io::Error) -> Failure {
    Failure::system(format!("standard output: {error}"))
}
