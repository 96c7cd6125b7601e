//! Walks: the listings of many directories over the control connection, in one batch of STAT.
//!
//! A line feed in a file name ends the line of a listing, and what stands behind it may look like the
//! end of the reply and like further replies, so that answers fall to the wrong directories. Three
//! rules keep that out:
//!
//! - Replies of several lines all have the code of the first, which is one of a listing, and nothing
//!   else is answered in several lines. So what a name opens ends with the real end of the same listing
//!   at the latest: replies can only become more, never fewer.
//! - A batch ends with questions in an order drawn anew for each, whose answers are those and stand
//!   where they belong: who forges replies shifts them, and cannot know what to put there.
//! - Nothing comes behind them.
//!
//! Otherwise nothing of the whole batch is believed, and the session is broken.

use super::argument::below;
use super::session::accepted;
use super::{Command, FtpError, RemotePath, Reply, Session};

/// Questions that close a batch, one bit of chance each.
const CLOSING: usize = 32;

/// Bytes that no server splits, expands or hides in a path, beside letters, digits and all that is not
/// ASCII.
const PLAIN: &[u8] = b"/._-+=,@%#:";

impl Session {
    /// Whether what stands of a path below `base` is something that every server takes as it is.
    pub fn needs_no_entering(base: &RemotePath, dir: &RemotePath) -> bool {
        is_plain(&below(base, dir))
    }

    /// Listings of many directories in one batch: bytes as of LIST, `None` where what was said cannot
    /// be that of an existing directory that we may read. All are below `base`, which is entered first
    /// unless it is the root: that makes lines short. For servers known to answer several commands of one
    /// segment; paths have to fit into a batch ([`Session::fits_a_batch`]).
    ///
    /// Directories list themselves as `.` and `..`: so an empty one is told from one that is missing or
    /// unreadable, for which vsftpd and Pure-FTPd give the same reply without a line.
    ///
    /// # Errors
    /// A lost session, also because the answers cannot be told apart for sure: it is broken then.
    pub fn list_many(
        &mut self,
        base: &RemotePath,
        dirs: &[RemotePath],
    ) -> Result<Vec<Option<Vec<u8>>>, FtpError> {
        let enter_base = (!base.is_root()).then_some(Command::Cwd(base.as_bytes()));
        let mut commands = Vec::with_capacity(dirs.len() + CLOSING);
        commands.extend(enter_base);
        let inside: Vec<_> = dirs.iter().map(|dir| inside(base, dir)).collect();
        for (dir, inside) in dirs.iter().zip(&inside) {
            if Self::needs_no_entering(base, dir) {
                commands.push(Command::Stat(inside));
            } else {
                // What would be split at blanks or expanded is never an argument of STAT.
                self.set_away(true);
                commands.push(Command::Cwd(dir.as_bytes()));
                commands.push(Command::Stat(b"."));
                commands.extend(enter_base);
            }
        }
        if enter_base.is_some() {
            self.set_away(true);
        }
        commands.extend(closing(Command::Pwd)?);
        let mut told = Vec::with_capacity(dirs.len());
        let mut form = Form::default();
        let mut entered = true;
        self.converse(&commands, |number, reply| {
            match &commands[number] {
                Command::Stat(_) => {
                    let listing = form.listing(&reply)?;
                    told.push(listing.filter(|_| entered));
                    entered = true;
                }
                Command::Noop => exactly(200, "NOOP", &reply)?,
                Command::Pwd => exactly(257, "PWD", &reply)?,
                Command::Cwd(path) if *path == base.as_bytes() => {
                    single("CWD", &reply)?;
                    accepted("CWD", reply)?;
                }
                _ => {
                    single("CWD", &reply)?;
                    entered = reply.is_completion();
                }
            }
            Ok(())
        })?;
        if !self.is_alive() || told.len() != dirs.len() {
            self.mark_broken();
            return Err(FtpError::Broken { verb: "STAT" });
        }
        Ok(told)
    }
}

/// The code of this batch's listings, once one has come.
#[derive(Debug, Default)]
struct Form(Option<u16>);

impl Form {
    /// The bytes of a listing; `None` for any other answer of one line.
    fn listing(&mut self, reply: &Reply) -> Result<Option<Vec<u8>>, FtpError> {
        if reply.is_single_line() {
            return Ok(None);
        }
        let known = *self.0.get_or_insert(reply.code());
        if known != reply.code() || !matches!(known, 211..=213) {
            return Err(confused("STAT", reply));
        }
        let mut bytes = Vec::with_capacity(reply.length());
        let (mut itself, mut above) = (false, false);
        for line in reply.inner_lines() {
            // ProFTPD indents.
            let line = line.strip_prefix(b" ").unwrap_or(line);
            itself |= line.starts_with(b"d") && line.ends_with(b" .");
            above |= line.starts_with(b"d") && line.ends_with(b" ..");
            bytes.extend_from_slice(line);
            bytes.extend_from_slice(b"\r\n");
        }
        Ok((itself && above).then_some(bytes))
    }
}

fn single(verb: &'static str, reply: &Reply) -> Result<(), FtpError> {
    if reply.is_single_line() {
        Ok(())
    } else {
        Err(confused(verb, reply))
    }
}

/// The questions that close a batch: NOOP and `other`, in an order that nobody can foresee.
pub(super) fn closing(other: Command<'_>) -> Result<impl Iterator<Item = Command<'_>>, FtpError> {
    let chance = chance()?;
    Ok((0..CLOSING).map(move |n| match chance >> n & 1 {
        0 => Command::Noop,
        _ => other,
    }))
}

pub(super) fn exactly(code: u16, verb: &'static str, reply: &Reply) -> Result<(), FtpError> {
    single(verb, reply)?;
    if reply.code() == code {
        Ok(())
    } else {
        Err(confused(verb, reply))
    }
}

pub(super) fn confused(verb: &'static str, reply: &Reply) -> FtpError {
    FtpError::Protocol {
        verb,
        what: format!("{reply}, in a batch"),
    }
}

/// A directory with a slash behind it. Without one vsftpd takes the name of a directory that it cannot
/// read for a pattern and lists the one above, as far as it fits.
fn inside(base: &RemotePath, dir: &RemotePath) -> Vec<u8> {
    let slash: &[u8] = if dir.is_root() { b"" } else { b"/" };
    [&below(base, dir), slash].concat()
}

fn is_plain(path: &[u8]) -> bool {
    path.iter()
        .all(|b| b.is_ascii_alphanumeric() || !b.is_ascii() || PLAIN.contains(b))
}

/// Bits that nobody can foresee, least of all whoever chose the names.
fn chance() -> Result<u32, FtpError> {
    Ok(getrandom::u32().map_err(std::io::Error::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths() {
        for (path, plain) in [
            ("/a/b.c-d_e", true),
            ("/ä/日本", true),
            ("/a b", false),
            ("/[a]", false),
            ("/a*", false),
            ("/~a", false),
            ("/a\\b", false),
            ("/a\tb", false),
            ("/a'b", false),
            ("/a;b", false),
        ] {
            assert_eq!(is_plain(path.as_bytes()), plain, "{path}");
        }
    }

    #[test]
    fn chance_differs() {
        let drawn: Vec<_> = (0..8).map(|_| chance().unwrap()).collect();
        assert!(drawn.iter().any(|bits| *bits != drawn[0]), "{drawn:?}");
    }
}
