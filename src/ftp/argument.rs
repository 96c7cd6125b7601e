//! Paths in commands: absolute, or, where the line would be too long, by CWD and a name.

use std::borrow::Cow;

use super::command::MAX_LINE;
use super::session::accepted;
use super::{Command, FtpError, RemotePath, Session};

impl Session {
    /// Whether `path` is a directory that we may enter (CWD).
    ///
    /// # Errors
    /// Refused.
    pub fn enter(&mut self, path: &RemotePath) -> Result<(), FtpError> {
        self.set_away(true);
        self.let_go_of_an_early_one();
        let line = Command::Cwd(path.as_bytes()).line_length();
        if line <= MAX_LINE && !is_filtered(path.as_bytes()) {
            return self.accept(Command::Cwd(path.as_bytes())).map(drop);
        }
        let room = MAX_LINE - Command::Cwd(b"").line_length() - 1;
        for piece in pieces(path.as_bytes(), room).ok_or(FtpError::PathTooLong { verb: "CWD" })? {
            self.accept(Command::Cwd(piece))?;
        }
        Ok(())
    }

    /// As [`Session::enter`], but the reply is read by [`Session::has_entered`], where the server takes several
    /// commands at once. Where the session is in the root already, which cannot be renamed, nothing is sent.
    ///
    /// # Errors
    /// As [`Session::enter`].
    pub(super) fn begin_to_enter(&mut self, dir: &RemotePath) -> Result<(), FtpError> {
        // A login whose directory is not known may be anywhere (z/OS, VMS: `257 "'ME.'"`).
        let begins_in_root = matches!(self.experience().home(), Some(Ok(home)) if home.is_root());
        if dir.is_root() && !self.is_away() && begins_in_root {
            return Ok(());
        }
        let command = Command::Cwd(dir.as_bytes());
        let simple = command.line_length() <= MAX_LINE && !is_filtered(dir.as_bytes());
        if !simple || self.experience().pipelining() != Some(true) {
            return self.enter(dir);
        }
        self.set_away(true);
        self.control_mut().send(&[command])?;
        self.set_entering(true);
        Ok(())
    }

    /// The answer to [`Session::begin_to_enter`], if it is still out.
    ///
    /// # Errors
    /// Refused; a lost session.
    pub(super) fn has_entered(&mut self) -> Result<(), FtpError> {
        if !self.set_entering(false) {
            return Ok(());
        }
        let reply = self.control_mut().reply("CWD")?;
        accepted("CWD", reply).map(drop)
    }

    /// Leaves the directory that was entered last. Pure-FTPd returns to the session's directory after MLSD of another
    /// one, and ends the session (421) if somebody has removed it.
    pub(super) fn come_back(&mut self) -> Result<(), FtpError> {
        if !self.is_away() {
            return Ok(());
        }
        let home = self.home_or_root();
        match self.accept(Command::Cwd(home.as_bytes())) {
            Ok(_) => {
                self.set_away(false);
                Ok(())
            }
            // Still there, which `begin_to_enter` has to know.
            Err(FtpError::Refused { .. }) => Ok(()),
            Err(lost) => Err(lost),
        }
    }

    /// The path as it fits into the command: absolute, else the name alone, after entering its
    /// directory.
    pub(super) fn argument<'p>(
        &mut self,
        path: &'p RemotePath,
        build: impl for<'a> Fn(&'a [u8]) -> Command<'a>,
    ) -> Result<Cow<'p, [u8]>, FtpError> {
        let command = build(path.as_bytes());
        if command.line_length() <= MAX_LINE && !is_filtered(path.as_bytes()) {
            return Ok(Cow::Borrowed(path.as_bytes()));
        }
        let too_long = FtpError::PathTooLong {
            verb: command.verb(),
        };
        let Some(dir) = path.parent() else {
            return Err(too_long);
        };
        let name = relative(path.name());
        if build(&name).line_length() > MAX_LINE {
            return Err(too_long);
        }
        self.enter(&dir)?;
        Ok(name)
    }

    /// Two paths for two commands, with no CWD between them.
    pub(super) fn two_arguments<'p>(
        &mut self,
        from: &'p RemotePath,
        to: &'p RemotePath,
    ) -> Result<[Cow<'p, [u8]>; 2], FtpError> {
        let fits = |path: &[u8]| Command::Rnfr(path).line_length() <= MAX_LINE;
        let filtered = is_filtered(from.as_bytes()) || is_filtered(to.as_bytes());
        if fits(from.as_bytes()) && fits(to.as_bytes()) && !filtered {
            return Ok([Cow::Borrowed(from.as_bytes()), Cow::Borrowed(to.as_bytes())]);
        }
        let mut common = from.parent();
        while let Some(dir) = common.as_ref().filter(|dir| !to.starts_with(dir)) {
            common = dir.parent();
        }
        let common = common.unwrap_or_else(RemotePath::root);
        let below = |path: &'p RemotePath| {
            let cut = common.as_bytes().len() + usize::from(!common.is_root());
            relative(path.as_bytes().get(cut..).unwrap_or_default())
        };
        let (from, to) = (below(from), below(to));
        if !fits(&from) || !fits(&to) || to.is_empty() {
            return Err(FtpError::PathTooLong { verb: "RNTO" });
        }
        self.enter(&common)?;
        Ok([from, to])
    }
}

/// What stands of `path` below `base`, for a session that has entered it; all of it if that is the root.
pub(super) fn below<'p>(base: &RemotePath, path: &'p RemotePath) -> Cow<'p, [u8]> {
    let cut = base.as_bytes().len() + 1;
    match path.as_bytes().get(cut..) {
        Some(rest) if !base.is_root() && !rest.is_empty() => relative(rest),
        _ => Cow::Borrowed(path.as_bytes()),
    }
}

/// A relative path that no server takes for an option or somebody's home, or cuts.
fn relative(path: &[u8]) -> Cow<'_, [u8]> {
    match path.first() {
        Some(b'-' | b'~' | b' ' | b'\t') => Cow::Owned([b"./", path].concat()),
        _ => Cow::Borrowed(path),
    }
}

/// ProFTPD as Debian ships it refuses every argument with `*` somewhere in front of `/`
/// (`DenyFilter \*.*/`). Such directories are entered one by one.
pub(super) fn is_filtered(path: &[u8]) -> bool {
    let star = path.iter().position(|b| *b == b'*');
    star.is_some_and(|star| path[star..].contains(&b'/'))
}

/// An absolute path cut before slashes into pieces of at most `room` bytes that no filter refuses,
/// all but the first relative. `None` if one name alone is longer.
fn pieces(path: &[u8], room: usize) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    let mut rest = path;
    loop {
        let star = rest.iter().position(|b| *b == b'*').unwrap_or(rest.len());
        let filtered = rest[star..]
            .iter()
            .position(|b| *b == b'/')
            .map(|slash| star + slash);
        let longest = filtered.unwrap_or(rest.len());
        let cut = if longest <= room {
            longest
        } else {
            rest[..=room]
                .iter()
                .rposition(|b| *b == b'/')
                .filter(|cut| *cut > 0)?
        };
        found.push(&rest[..cut]);
        if cut == rest.len() {
            return Some(found);
        }
        rest = &rest[cut + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_go_in_pieces() {
        let path = b"/aaa/bbb/ccc/ddd";
        assert_eq!(pieces(path, 9).unwrap(), [&b"/aaa/bbb"[..], b"ccc/ddd"]);
        assert_eq!(pieces(path, 8).unwrap(), [&b"/aaa/bbb"[..], b"ccc/ddd"]);
        assert_eq!(pieces(path, 16).unwrap(), [&path[..]]);
        assert_eq!(
            pieces(path, 4).unwrap(),
            [&b"/aaa"[..], b"bbb", b"ccc", b"ddd"]
        );
        assert_eq!(pieces(path, 2), None);
    }

    #[test]
    fn a_star_ends_a_piece() {
        assert_eq!(pieces(b"/a/s*r/b/c", 99).unwrap(), [&b"/a/s*r"[..], b"b/c"]);
        assert_eq!(pieces(b"/*/*/x*", 99).unwrap(), [&b"/*"[..], b"*", b"x*"]);
        for (path, filtered) in [(&b"/a/x*"[..], false), (b"/*/a", true), (b"/a", false)] {
            assert_eq!(is_filtered(path), filtered, "{path:?}");
        }
    }

    #[test]
    fn relative_names_are_no_options() {
        assert_eq!(relative(b"-rf").as_ref(), b"./-rf");
        assert_eq!(relative(b"~root").as_ref(), b"./~root");
        assert_eq!(relative(b" a").as_ref(), b"./ a");
        assert_eq!(relative(b"a").as_ref(), b"a");
        let path = |text: &[u8]| RemotePath::parse(text).unwrap();
        let deep = path(b"/a/b/-c");
        for (base, rest) in [
            ("/", "/a/b/-c"),
            ("/a", "b/-c"),
            ("/a/b", "./-c"),
            ("/a/b/-c", "/a/b/-c"),
        ] {
            assert_eq!(
                below(&path(base.as_bytes()), &deep).as_ref(),
                rest.as_bytes()
            );
        }
    }
}
