//! What symbolic links lead to, as the server follows them: SIZE and MDTM answer for a file, CWD and PWD for a
//! directory. MLSD and LIST tell of the link itself, or nothing of it. Some servers answer SIZE for a directory, too
//! (bftpd), so that what can be entered is one.

use std::time::SystemTime;

use super::login::directory_in;
use super::session::{accepted, size_in, time_in};
use super::{Command, FtpError, RemotePath, Session};

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
    /// A lost session.
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
        let mut commands = Vec::new();
        for (number, place) in places.iter().enumerate() {
            let path = place.as_bytes();
            if number >= way {
                commands.extend([(number, Command::Size(path)), (number, Command::Mdtm(path))]);
            }
            commands.extend([(number, Command::Cwd(path)), (number, Command::Pwd)]);
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

    /// Asks each of `commands`, with the number of the place that it is about, of so many.
    fn ask_each(
        &mut self,
        places: usize,
        commands: &[(usize, Command<'_>)],
        together: bool,
    ) -> Result<Vec<Answers>, FtpError> {
        let mut answers = vec![Answers::default(); places];
        let step = if together { commands.len() } else { 1 };
        self.set_away(true);
        for some in commands.chunks(step.max(1)) {
            let (numbers, commands): (Vec<_>, Vec<_>) = some.iter().copied().unzip();
            self.converse(&commands, |within, reply| {
                let told = &mut answers[numbers[within]];
                match commands[within] {
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
        Ok(answers)
    }
}
