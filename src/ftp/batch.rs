//! Batches: many commands on their way at once, and their replies as they come.

use std::time::SystemTime;

use super::argument::{below, is_filtered};
use super::command::MAX_LINE;
use super::session::{accepted, time_in, unexpected};
use super::{Command, FtpError, RemotePath, Reply, Session};

/// Bytes of commands without an answer. A server that cannot write because nobody reads its replies
/// stops reading; this much its socket takes all the same, so that our writing never waits for our
/// reading.
const WINDOW: usize = 32 * 1024;

/// The same for servers that need CR and LF together: what they read at a time (ProFTPD: 4102 bytes) has to
/// end with a line.
const NARROW_WINDOW: usize = 4000;

/// So many bytes of commands are sent together, if there are more.
const WORTH_SENDING: usize = 1300;

/// Most bytes of the replies to one batch.
const MAX_REPLIES: usize = 8 * 1024 * 1024;

impl Session {
    /// Whether a path can go into a batch.
    pub fn fits_a_batch(path: &RemotePath) -> bool {
        // With a slash behind it.
        Command::Stat(path.as_bytes()).line_length() < MAX_LINE && !is_filtered(path.as_bytes())
    }

    /// Times of many files (MDTM), each with its own refusal, passed to `take` in order as they come.
    /// For servers known to answer several commands of one segment.
    ///
    /// # Errors
    /// A lost session.
    pub fn modified_of_many(
        &mut self,
        paths: &[RemotePath],
        mut take: impl FnMut(Result<SystemTime, FtpError>),
    ) -> Result<(), FtpError> {
        let commands: Vec<_> = paths.iter().map(|p| Command::Mdtm(p.as_bytes())).collect();
        self.converse(&commands, |_, reply| {
            take(accepted("MDTM", reply).and_then(|r| time_in(&r)));
            Ok(())
        })
    }

    /// Facts of many names (MLST, RFC 3659 section 7), passed to `take` in order as they come: the line
    /// of facts and path, `None` for a refusal. All are below `base`, which the session has entered just
    /// before ([`Session::list_many`]) unless it is the root. For servers known to answer several commands
    /// of one segment.
    ///
    /// # Errors
    /// A lost session.
    pub fn facts_of_many(
        &mut self,
        base: &RemotePath,
        paths: &[RemotePath],
        mut take: impl FnMut(Option<&[u8]>),
    ) -> Result<(), FtpError> {
        let below: Vec<_> = paths.iter().map(|path| below(base, path)).collect();
        let commands: Vec<_> = below.iter().map(|path| Command::Mlst(path)).collect();
        self.converse(&commands, |_, reply| {
            let mut lines = reply.inner_lines().filter(|_| reply.is_completion());
            match (lines.next(), lines.next()) {
                (Some(only), None) => take(Some(only.strip_prefix(b" ").unwrap_or(only))),
                _ => take(None),
            }
            Ok(())
        })
    }

    /// Sends commands that have one reply each, as many at a time as is safe, and passes each reply
    /// with the number of its command to `take`. With its first error the session is broken.
    pub(super) fn converse(
        &mut self,
        commands: &[Command<'_>],
        take: impl FnMut(usize, Reply) -> Result<(), FtpError>,
    ) -> Result<(), FtpError> {
        let conversed = self.converse_in_step(commands, take);
        if conversed.is_err() {
            self.mark_broken();
        }
        conversed
    }

    fn converse_in_step(
        &mut self,
        commands: &[Command<'_>],
        mut take: impl FnMut(usize, Reply) -> Result<(), FtpError>,
    ) -> Result<(), FtpError> {
        let window = self.window(commands)?;
        let (mut sent, mut unanswered, mut received) = (0, 0, 0);
        for (number, command) in commands.iter().enumerate() {
            // A segment's worth at a time.
            if sent == 0 || window - unanswered >= WORTH_SENDING {
                let begin = sent;
                while sent < commands.len() {
                    let length = commands[sent].line_length();
                    if unanswered + length > window {
                        break;
                    }
                    unanswered += length;
                    sent += 1;
                }
                if sent > begin {
                    self.control_mut().send(&commands[begin..sent])?;
                }
            }
            let verb = command.verb();
            let reply = self.control_mut().reply(verb)?;
            if reply.is_preliminary() {
                return Err(unexpected(verb, &reply));
            }
            unanswered -= command.line_length();
            received += reply.length();
            if received > MAX_REPLIES {
                return Err(FtpError::TooLarge {
                    what: "the answer to a batch",
                    limit: MAX_REPLIES,
                });
            }
            take(number, reply)?;
        }
        Ok(())
    }

    fn window(&mut self, commands: &[Command<'_>]) -> Result<usize, FtpError> {
        let length: usize = commands.iter().map(Command::line_length).sum();
        if length <= NARROW_WINDOW {
            return Ok(NARROW_WINDOW);
        }
        let takes_line_feeds = match self.experience().line_feeds() {
            Some(known) => known,
            None => {
                let found = self.control_mut().takes_line_feeds()?;
                log::debug!("a line feed alone ends a command: {found}");
                self.experience().learn_line_feeds(found);
                found
            }
        };
        Ok(if takes_line_feeds {
            WINDOW
        } else {
            NARROW_WINDOW
        })
    }
}
