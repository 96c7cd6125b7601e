//! What symbolic links lead to, as the server follows them: SIZE and MDTM answer for a file, CWD and PWD for a
//! directory. MLSD and LIST tell of the link itself, or nothing of it. Some servers answer SIZE for a directory, too
//! (bftpd), so that what can be entered is one.
//!
//! PWD names the place itself, which somebody else may have given a name with a line feed: what stands behind
//! that looks like further replies. Rules like those of a walk (`walk.rs`) keep answers from falling to the
//! wrong links then; but CWD may be answered in several lines, for directories have messages, and so may
//! refusals be, which IIS explains:
//!
//! - No line within such a reply looks like a reply itself, and behind each PWD stands a NOOP, which no refusal
//!   and no message can take in unseen. So replies can only become more, never fewer.
//! - A batch ends with questions in an order drawn anew, and nothing comes behind their answers.
//! - Where one command is sent at a time nothing closes them: none is sent while anything is there that nobody
//!   asked for.
//!
//! Otherwise nothing of it is believed, and the session is broken.

use std::time::SystemTime;

use super::login::directory_in;
use super::session::{accepted, size_in, time_in};
use super::walk::{closing, confused, exactly};
use super::{Command, FtpError, RemotePath, Reply, Session};

/// What the server opens in the place of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeadsTo {
    /// A file.
    File {
        /// Bytes.
        size: u64,
        /// `None` if the server does not tell.
        modified: Option<SystemTime>,
    },
    /// A directory.
    Directory,
    /// Nothing that can be had.
    Nothing,
}

/// What was answered about one place.
#[derive(Debug, Clone, Default)]
struct Answers {
    size: Option<u64>,
    modified: Option<SystemTime>,
    entered: bool,
    /// Where the session was then.
    place: Option<RemotePath>,
}

impl Session {
    /// What the links in `dir` lead to, in one batch. A directory that `dir` is in, or went
    /// through, counts as nothing: whoever walks the tree would come back to where he was for ever. `together`: the
    /// server is known to answer several commands of one segment. Paths have to fit into a batch
    /// ([`Session::fits_a_batch`]).
    ///
    /// # Errors
    /// A lost session, also because the answers cannot be told apart for sure: it is broken then.
    pub fn follow(
        &mut self,
        dir: &RemotePath,
        links: &[RemotePath],
        together: bool,
    ) -> Result<Vec<LeadsTo>, FtpError> {
        // The way to `dir`, and then the links.
        let mut places: Vec<_> =
            std::iter::successors(Some(dir.clone()), RemotePath::parent).collect();
        let way = places.len();
        places.extend_from_slice(links);
        let home = self.home_or_root();
        let mut commands = Vec::new();
        for (number, place) in places.iter().enumerate() {
            let path = place.as_bytes();
            if number >= way {
                let asked = [Command::Size(path), Command::Mdtm(path)];
                commands.extend(asked.map(|command| (Some(number), command)));
            }
            let asked = [Command::Cwd(path), Command::Pwd];
            commands.extend(asked.map(|command| (Some(number), command)));
            if together {
                commands.push((None, Command::Noop));
            }
        }
        if together {
            // Not PWD: some servers refuse it. These two have shown that they are answered as they are expected to
            // be ([`Session::probe_pipelining`]).
            let closing = closing(Command::Cwd(home.as_bytes()))?;
            commands.extend(closing.map(|command| (None, command)));
        }
        let answers = self.ask_each(places.len(), &commands, together)?;
        let (way, found) = answers.split_at(way);
        let way: Vec<_> = way.iter().filter_map(|told| told.place.as_ref()).collect();
        let leads_back = |target: &RemotePath| {
            dir.starts_with(target) || way.iter().any(|place| place.starts_with(target))
        };
        let leads_to = |(link, told): (&RemotePath, &Answers)| match (&told.place, told.size) {
            // A server that names the link itself does not tell where it leads.
            (Some(target), _) if target != link && !leads_back(target) => LeadsTo::Directory,
            (None, Some(size)) if !told.entered => LeadsTo::File {
                size,
                modified: told.modified,
            },
            _ => LeadsTo::Nothing,
        };
        Ok(links.iter().zip(found).map(leads_to).collect())
    }

    /// Asks each of `commands`, with the number of the place that it is about, of so many; without one it only
    /// shows whether answers are where they belong.
    fn ask_each(
        &mut self,
        places: usize,
        commands: &[(Option<usize>, Command<'_>)],
        together: bool,
    ) -> Result<Vec<Answers>, FtpError> {
        let mut answers = vec![Answers::default(); places];
        let step = if together { commands.len() } else { 1 };
        self.set_away(true);
        for some in commands.chunks(step.max(1)) {
            let (numbers, commands): (Vec<_>, Vec<_>) = some.iter().copied().unzip();
            self.converse(&commands, |within, reply| {
                let command = &commands[within];
                in_form(command, &reply)?;
                let Some(number) = numbers[within] else {
                    return as_expected(command, &reply);
                };
                let told = &mut answers[number];
                match command {
                    Command::Size(_) => {
                        told.size = accepted("SIZE", reply).and_then(|r| size_in(&r)).ok();
                    }
                    Command::Mdtm(_) => {
                        told.modified = accepted("MDTM", reply).and_then(|r| time_in(&r)).ok();
                    }
                    Command::Cwd(_) => told.entered = reply.is_completion(),
                    _ if told.entered => {
                        told.place = accepted("PWD", reply).and_then(|r| directory_in(&r)).ok();
                    }
                    _ => {}
                }
                Ok(())
            })?;
        }
        if !self.is_alive() {
            self.mark_broken();
            return Err(FtpError::Broken { verb: "SIZE" });
        }
        Ok(answers)
    }
}

/// A reply of several lines is a refusal, or the message of a directory, and has taken in no other one.
fn in_form(command: &Command<'_>, reply: &Reply) -> Result<(), FtpError> {
    let is_message = matches!(command, Command::Cwd(_)) && reply.code() == 250;
    let may_be_long = is_message || reply.is_negative();
    let begins_another = |line: &[u8]| {
        let Some((code, behind)) = line.split_first_chunk::<3>() else {
            return false;
        };
        // Servers may begin each line with the code.
        let is_own = *code == *reply.code().to_string().as_bytes() && behind.first() == Some(&b'-');
        code.iter().all(u8::is_ascii_digit)
            && matches!(behind.first(), None | Some(b' ' | b'-'))
            && !is_own
    };
    let fits = may_be_long && !reply.inner_lines().any(begins_another);
    if reply.is_single_line() || fits {
        Ok(())
    } else {
        Err(confused(command.verb(), reply))
    }
}

/// For what is asked only to see whether answers are where they belong.
fn as_expected(command: &Command<'_>, reply: &Reply) -> Result<(), FtpError> {
    match command {
        Command::Noop => exactly(200, "NOOP", reply),
        _ if reply.code() == 250 => Ok(()),
        _ => Err(confused(command.verb(), reply)),
    }
}
