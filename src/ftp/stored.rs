//! What is asked behind the end of an upload, without waiting for its final reply first.
//!
//! vsftpd, inetutils, busybox and ftp-srv read nothing while they take data: such commands are answered after
//! the final reply, together with it. ProFTPD, pyftpdlib and libunftp answer at once, Pure-FTPd refuses what it reads
//! (500), both before the final reply. The order of the replies tells which it was.

use std::ops::DerefMut;
use std::time::{Duration, SystemTime};

use super::argument::is_filtered;
use super::command::MAX_LINE;
use super::protected::end_of_data;
use super::session::{accepted, size_in, time_in};
use super::stamp::Stamp;
use super::transfer::VersionReplies;
use super::{Command, FtpError, RemotePath, Reply, Session, Transfer};
use crate::net::{Deadline, Direction, Stream};

/// So many bytes go out at once: a new connection sends ten segments before it waits (RFC 6928).
pub const AT_ONCE: u64 = 14_000;

/// A server that does not answer a command for so long and two round trips, does not while it takes data.
const SILENCE: Duration = Duration::from_millis(100);

/// What is to be done with a file once it is stored. SIZE is always asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Behind {
    /// Permission bits (SITE CHMOD).
    pub mode: Option<u16>,
    /// The modification time.
    pub modified: Option<(SystemTime, TimeCommand)>,
    /// Ask for the time, too (MDTM).
    pub ask_time: bool,
    /// Ask before the end of the data, and see whether the server answers before it has that.
    pub is_trial: bool,
}

/// How a server sets times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeCommand {
    /// MFMT.
    Mfmt,
    /// MDTM with two arguments.
    Mdtm,
}

/// The answers to [`Behind`].
#[derive(Debug)]
pub struct Answers {
    /// SIZE.
    pub size: Result<u64, FtpError>,
    /// SITE CHMOD, if it was asked for.
    pub mode: Option<Result<(), FtpError>>,
    /// The time that was to be set, if any.
    pub set: Option<Result<(), FtpError>>,
    /// MDTM, if it was asked for.
    pub modified: Option<Result<SystemTime, FtpError>>,
}

/// How an upload ended that had commands behind it.
#[derive(Debug)]
pub enum Ending {
    /// Stored; the answers are of what is there now.
    InOrder(Box<Answers>),
    /// Stored; the answers came first, and are of what was there while the server still took data.
    Early(Box<Answers>),
    /// Stored, and nothing was asked.
    Unasked,
    /// Nobody knows; the session is of no use any more.
    Unclear,
}

impl Behind {
    /// Whether each of the commands fits into a line and is sent as it is.
    pub fn fits(path: &RemotePath) -> bool {
        // The longest of them.
        let longest = Command::SiteChmod(0o7777, path.as_bytes()).line_length();
        let stamp = "YYYYMMDDhhmmss ".len();
        longest + stamp <= MAX_LINE && !is_filtered(path.as_bytes())
    }

    /// A time that cannot be written is not set.
    fn commands<'a>(&mut self, path: &'a [u8]) -> Vec<Command<'a>> {
        let mut commands = vec![Command::Size(path)];
        if let Some(mode) = self.mode {
            commands.push(Command::SiteChmod(mode & 0o7777, path));
        }
        let stamp = self
            .modified
            .and_then(|(time, how)| Some((Stamp::of(time)?, how)));
        match stamp {
            Some((stamp, TimeCommand::Mfmt)) => commands.push(Command::Mfmt(stamp, path)),
            Some((stamp, TimeCommand::Mdtm)) => commands.push(Command::MdtmSet(stamp, path)),
            None => self.modified = None,
        }
        if self.ask_time {
            commands.push(Command::Mdtm(path));
        }
        commands
    }

    fn answers(&self, replies: Vec<(&'static str, Reply)>) -> Option<Answers> {
        let mut replies = replies.into_iter();
        let mut next = || replies.next().map(|(verb, reply)| accepted(verb, reply));
        let size = next()?.and_then(|reply| size_in(&reply));
        let mode = match self.mode {
            // "Superfluous" is no success: nothing was changed.
            Some(_) => Some(next()?.and_then(|reply| match reply.code() {
                202 => Err(FtpError::Refused {
                    verb: "SITE CHMOD",
                    reply,
                }),
                _ => Ok(()),
            })),
            None => None,
        };
        let set = match self.modified {
            Some(_) => Some(next()?.map(drop)),
            None => None,
        };
        let modified = match self.ask_time {
            true => Some(next()?.and_then(|reply| time_in(&reply))),
            false => None,
        };
        Some(Answers {
            size,
            mode,
            set,
            modified,
        })
    }
}

impl<S: DerefMut<Target = Session>> Transfer<S> {
    /// As [`Transfer::store`]; SIZE and MDTM go out in the same segment before it, on servers known to answer such
    /// ([`Transfer::take_version`]). [`Transfer::finish`] without a byte leaves the file as it is, where an offset is
    /// one into it.
    ///
    /// # Errors
    /// As there.
    pub fn store_checked(mut session: S, path: &RemotePath, offset: u64) -> Result<Self, FtpError> {
        let path = session.argument(path, |p| Command::Stor(p))?;
        let with = With::Check(&path);
        Self::begin(session, Command::Stor(&path), offset, true, with)
    }

    /// The same for [`Transfer::append`].
    ///
    /// # Errors
    /// As there.
    pub fn append_checked(mut session: S, path: &RemotePath) -> Result<Self, FtpError> {
        let path = session.argument(path, |p| Command::Appe(p))?;
        let with = With::Check(&path);
        Self::begin(session, Command::Appe(&path), 0, true, with)
    }

    /// What SIZE and MDTM said of the file of a checked transfer; `None` if they were not asked.
    pub fn take_version(&mut self) -> Option<VersionReplies> {
        let (size, modified) = self.told.take()?;
        Some((
            accepted("SIZE", size).and_then(|reply| size_in(&reply)),
            accepted("MDTM", modified).and_then(|reply| time_in(&reply)),
        ))
    }

    /// STOR with the whole content and its end, without waiting for the 1xx. For servers that read nothing else
    /// while they take data: others lose what comes before they have read the command (pyftpdlib). `content` has
    /// to be small ([`AT_ONCE`]).
    ///
    /// # Errors
    /// As [`Transfer::store`].
    pub fn store_all(mut session: S, path: &RemotePath, content: &[u8]) -> Result<Self, FtpError> {
        let path = session.argument(path, |p| Command::Stor(p))?;
        Self::begin(session, Command::Stor(&path), 0, true, With::All(content))
    }

    /// Whether anything was said since the 1xx.
    fn is_answered(&self) -> bool {
        let said = |session: &S| session.control().has_reply();
        self.early.is_some() || self.session.as_ref().is_some_and(said)
    }

    /// Ends what we send, and gives the session out, which still owes the final reply.
    fn end_of_data(&mut self) -> Option<(S, Result<Option<Stream>, FtpError>)> {
        let session = self.session.take()?;
        let data = self.data.take();
        let ended = data.map_or(Ok(None), |data| end_of_data(data, &session, self.verb));
        Some((session, ended))
    }

    /// As [`Transfer::finish`], for an upload to `path` on a server that answers several commands in one segment:
    /// SIZE and what else is wanted go out with the end of the data. The path has to fit ([`Behind::fits`]).
    ///
    /// # Errors
    /// As there.
    pub fn finish_and_ask(
        mut self,
        path: &RemotePath,
        mut behind: Behind,
        time: Duration,
    ) -> Result<(S, Ending), FtpError> {
        let commands = behind.commands(path.as_bytes());
        let (verb, ahead) = (self.verb, self.ahead);
        if self.is_answered() {
            let (session, _) = self.finish(time)?;
            return Ok((session, Ending::Unasked));
        }
        if behind.is_trial
            && let Some(session) = &mut self.session
        {
            let control = session.control_mut();
            control.send(&commands)?;
            let time = SILENCE + 2 * control.round_trip().unwrap_or_default();
            let deadline = control.deadline(time, || "an answer during a transfer".into());
            // Either way the order of the replies tells.
            let answered = control.stream().wait(Direction::Read, &deadline).is_ok();
            log::debug!("{verb}: the server answers while it takes data: {answered}");
        }
        let Some((mut session, ended)) = self.end_of_data() else {
            return Err(FtpError::Broken { verb });
        };
        let control = session.control_mut();
        if !behind.is_trial {
            control.send(&commands)?;
        }
        let patience = Duration::from_secs(1).max(4 * control.round_trip().unwrap_or_default());
        let first = control.reply_within(verb, time)?;
        let sent = ended.map(|mut unread| unread.iter_mut().for_each(Stream::drain));
        if ahead && matches!(first.code(), 425 | 426) {
            session.early_one_failed();
        }
        let ending = session.replies_behind(verb, first, behind, &commands, patience)?;
        // A refusal says more; anything else was said of a file that is not whole.
        sent?;
        Ok((session, ending))
    }
}

impl Session {
    /// How an upload ended whose first reply since the 1xx is `first`. So long is waited for each of the others,
    /// where the first does not say that the file is stored.
    fn replies_behind(
        &mut self,
        verb: &'static str,
        first: Reply,
        behind: Behind,
        commands: &[Command<'_>],
        patience: Duration,
    ) -> Result<Ending, FtpError> {
        let is_stored = |reply: &Reply| matches!(reply.code(), 226 | 250);
        let mut rest = Vec::with_capacity(commands.len());
        for command in commands {
            let control = self.control_mut();
            let reply = if is_stored(&first) {
                control.reply(command.verb())?
            } else {
                match control.reply_within(command.verb(), patience) {
                    Ok(reply) => reply,
                    Err(_) if refuses(&first) => {
                        return Err(self.blame_tls13(FtpError::Refused { verb, reply: first }));
                    }
                    // Pure-FTPd answers all that it reads at a time with one 500.
                    Err(_) => return Ok(Ending::Unclear),
                }
            };
            rest.push((command.verb(), reply));
        }
        if is_stored(&first) {
            self.set_holds_offset(false);
            let answers = behind.answers(rest).ok_or(FtpError::Broken { verb })?;
            return Ok(Ending::InOrder(Box::new(answers)));
        }
        // The final reply is one of the others: the only 226, or 250 in the last place.
        let at = rest
            .iter()
            .position(|(_, reply)| reply.code() == 226)
            .or_else(|| {
                rest.last()
                    .filter(|(_, r)| r.code() == 250)
                    .map(|_| rest.len() - 1)
            });
        if let Some(at) = at {
            self.set_holds_offset(false);
            let mut replies = vec![first];
            replies.extend(rest.into_iter().map(|(_, reply)| reply));
            replies.remove(at + 1);
            let verbs = commands.iter().map(Command::verb);
            let answers = behind.answers(verbs.zip(replies).collect());
            let answers = answers.ok_or(FtpError::Broken { verb })?;
            return Ok(Ending::Early(Box::new(answers)));
        }
        if refuses(&first) {
            return Err(self.blame_tls13(FtpError::Refused { verb, reply: first }));
        }
        // The last one is the upload's.
        match rest.pop() {
            Some((_, reply)) if reply.is_negative() => {
                Err(self.blame_tls13(FtpError::Refused { verb, reply }))
            }
            _ => {
                self.mark_broken();
                Ok(Ending::Unclear)
            }
        }
    }
}

/// What goes out together with a transfer command.
#[derive(Clone, Copy)]
pub(super) enum With<'a> {
    /// Nothing.
    Nothing,
    /// SIZE and MDTM of this path, in front of it.
    Check(&'a [u8]),
    /// All the data, and its end.
    All(&'a [u8]),
}

impl<'a> With<'a> {
    pub(super) fn asked(self) -> Option<[Command<'a>; 2]> {
        match self {
            Self::Check(path) => Some([Command::Size(path), Command::Mdtm(path)]),
            _ => None,
        }
    }
}

/// Sends `content` and its end; it fits into the buffer of a connection that has not sent anything.
pub(super) fn give_all(data: &mut Stream, content: &[u8]) -> std::io::Result<()> {
    let count = match content {
        [] => Some(0),
        _ => data.try_write(content)?,
    };
    if count != Some(content.len()) {
        return Err(std::io::ErrorKind::WriteZero.into());
    }
    let deadline = Deadline::after(SILENCE, "the end of the data to leave");
    data.shutdown_write(&deadline)
}

/// Whether a reply says no to the upload, and is no answer to what was asked behind it.
fn refuses(reply: &Reply) -> bool {
    reply.is_negative() && !matches!(reply.code(), 500..=504)
}
