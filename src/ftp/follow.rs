//! What symbolic links lead to, as the server follows them: SIZE and MDTM answer for a file, CWD and PWD for a
//! directory. MLSD and LIST tell of the link itself, or nothing of it.

use std::time::SystemTime;

use super::login::directory_in;
use super::session::{accepted, size_in, time_in};
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

impl Session {
    /// What the links in `dir` lead to, in two batches at most. A directory that `dir` is in, or went
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
        let mut found = self.files_behind(links, together)?;
        let others: Vec<_> = (0..links.len())
            .filter(|at| found[*at] == LeadsTo::Nothing)
            .collect();
        if others.is_empty() {
            return Ok(found);
        }
        // The way to `dir`, and then the links.
        let mut places: Vec<_> =
            std::iter::successors(Some(dir.clone()), RemotePath::parent).collect();
        let way = places.len();
        places.extend(others.iter().map(|at| links[*at].clone()));
        let reached = self.places_behind(&places, together)?;
        let (way, targets) = reached.split_at(way);
        for (at, target) in others.into_iter().zip(targets) {
            let Some(target) = target else { continue };
            let leads_back = |place: &RemotePath| place.starts_with(target);
            // A server that names the link itself does not tell where it leads.
            let is_told = *target != links[at];
            if is_told && !way.iter().flatten().any(leads_back) && !dir.starts_with(target) {
                found[at] = LeadsTo::Directory;
            }
        }
        Ok(found)
    }

    fn files_behind(
        &mut self,
        links: &[RemotePath],
        together: bool,
    ) -> Result<Vec<LeadsTo>, FtpError> {
        let commands: Vec<_> = links
            .iter()
            .flat_map(|link| {
                let path = link.as_bytes();
                [Command::Size(path), Command::Mdtm(path)]
            })
            .collect();
        let mut found: Vec<_> = links.iter().map(|_| LeadsTo::Nothing).collect();
        self.ask_each(&commands, together, |number, reply| {
            let told = &mut found[number / 2];
            if number % 2 == 0 {
                if let Ok(size) = accepted("SIZE", reply).and_then(|r| size_in(&r)) {
                    *told = LeadsTo::File {
                        size,
                        modified: None,
                    };
                }
            } else if let LeadsTo::File { modified, .. } = told {
                *modified = accepted("MDTM", reply).and_then(|r| time_in(&r)).ok();
            }
        })?;
        Ok(found)
    }

    /// Where the session is after entering each of these; `None` where it may not.
    fn places_behind(
        &mut self,
        places: &[RemotePath],
        together: bool,
    ) -> Result<Vec<Option<RemotePath>>, FtpError> {
        let commands: Vec<_> = places
            .iter()
            .flat_map(|place| [Command::Cwd(place.as_bytes()), Command::Pwd])
            .collect();
        let mut found = vec![None; places.len()];
        let mut entered = false;
        self.set_away(true);
        self.ask_each(&commands, together, |number, reply| {
            if number % 2 == 0 {
                entered = reply.is_completion();
            } else if entered {
                found[number / 2] = accepted("PWD", reply).and_then(|r| directory_in(&r)).ok();
            }
        })?;
        Ok(found)
    }

    fn ask_each(
        &mut self,
        commands: &[Command<'_>],
        together: bool,
        mut take: impl FnMut(usize, Reply),
    ) -> Result<(), FtpError> {
        let step = if together { commands.len() } else { 1 };
        for (number, some) in commands.chunks(step.max(1)).enumerate() {
            self.converse(some, |within, reply| {
                take(number * step + within, reply);
                Ok(())
            })?;
        }
        Ok(())
    }
}
