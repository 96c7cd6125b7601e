//! `RemotePath`: where something is on the server. Bytes, absolute, and never a command.

use std::fmt;

/// Why bytes are not a name or path that can be sent to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// A path did not begin with `/`.
    #[error("not an absolute path")]
    NotAbsolute,
    /// CR or LF would end the command line, and NUL stands for LF on some servers (vsftpd, busybox).
    #[error("a name with a line break or a NUL cannot be sent over FTP")]
    ControlByte,
    /// Empty, `.`, `..`, or with a `/` inside.
    #[error("not the name of a directory entry")]
    NotAName,
}

/// An absolute path on the server, as the bytes that the server knows.
///
/// It is made only through checks: it begins with `/`, has no empty, `.` or `..` component, does not
/// end in `/` (but for the root itself), and holds no CR, LF or NUL. So a file name can never
/// inject a command, on any path through the program.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemotePath(Vec<u8>);

impl RemotePath {
    /// The root of the server, `/`.
    pub fn root() -> Self {
        Self(b"/".to_vec())
    }

    /// Reads an absolute path, folding `//`, `.` and `..` as a POSIX shell would without links.
    ///
    /// # Errors
    /// [`InvalidPath::NotAbsolute`], [`InvalidPath::ControlByte`].
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidPath> {
        if bytes.first() != Some(&b'/') {
            return Err(InvalidPath::NotAbsolute);
        }
        Self::root().resolve(bytes)
    }

    /// This directory with `path` applied: relative to it, or absolute if it begins with `/`.
    ///
    /// # Errors
    /// [`InvalidPath::ControlByte`].
    pub fn resolve(&self, path: &[u8]) -> Result<Self, InvalidPath> {
        if path.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err(InvalidPath::ControlByte);
        }
        let mut result = if path.first() == Some(&b'/') {
            Self::root()
        } else {
            self.clone()
        };
        for component in path.split(|b| *b == b'/') {
            match component {
                b"" | b"." => {}
                b".." => result = result.parent().unwrap_or_else(Self::root),
                name => result.push(name),
            }
        }
        Ok(result)
    }

    /// The path of the entry `name` in this directory.
    ///
    /// # Errors
    /// [`InvalidPath::ControlByte`], [`InvalidPath::NotAName`].
    pub fn join(&self, name: &[u8]) -> Result<Self, InvalidPath> {
        check_name(name)?;
        let mut path = self.clone();
        path.push(name);
        Ok(path)
    }

    /// The directory that holds this entry; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        let slash = self.0.iter().rposition(|b| *b == b'/')?;
        match (slash, self.0.len()) {
            (0, 1) => None,
            (0, _) => Some(Self::root()),
            (n, _) => Some(Self(self.0[..n].to_vec())),
        }
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        let slash = self.0.iter().rposition(|b| *b == b'/').unwrap_or(0);
        &self.0[slash + 1..]
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// Whether this path is `ancestor` or lies below it.
    pub fn starts_with(&self, ancestor: &RemotePath) -> bool {
        ancestor.is_root()
            || self == ancestor
            || (self.0.starts_with(&ancestor.0) && self.0.get(ancestor.0.len()) == Some(&b'/'))
    }

    /// Where this path is after `from` was renamed to `to`; `None` if it is not at or below `from`.
    pub fn moved(&self, from: &RemotePath, to: &RemotePath) -> Option<Self> {
        if !self.starts_with(from) {
            return None;
        }
        let skip = if from.is_root() { 0 } else { from.0.len() };
        self.0[skip..]
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
            .try_fold(to.clone(), |path, name| path.join(name).ok())
    }

    /// The bytes as they go into a command.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn push(&mut self, name: &[u8]) {
        if !self.is_root() {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(name);
    }
}

/// Whether `name` can be the name of one directory entry on a server.
///
/// # Errors
/// [`InvalidPath::ControlByte`], [`InvalidPath::NotAName`].
pub fn check_name(name: &[u8]) -> Result<(), InvalidPath> {
    if name.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return Err(InvalidPath::ControlByte);
    }
    if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
        return Err(InvalidPath::NotAName);
    }
    Ok(())
}

/// For logs and messages: undecodable bytes and control characters are escaped.
impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.0))
    }
}

impl fmt::Debug for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Bytes from a server as text that a log or a terminal can show: what is not UTF-8, control
/// characters and the marks that turn the direction of text are written as escapes.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let turns_text = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
            if c.is_control() || turns_text {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_folds_and_refuses() {
        let cases: [(&[u8], Result<&str, InvalidPath>); 9] = [
            (b"/", Ok("/")),
            (b"//a//b/", Ok("/a/b")),
            (b"/a/./b/../c", Ok("/a/c")),
            (b"/..", Ok("/")),
            (b"/ a /b ", Ok("/ a /b ")),
            (b"a", Err(InvalidPath::NotAbsolute)),
            (b"", Err(InvalidPath::NotAbsolute)),
            (b"/a\r\nDELE b", Err(InvalidPath::ControlByte)),
            (b"/a\0", Err(InvalidPath::ControlByte)),
        ];
        for (bytes, expected) in cases {
            let found = RemotePath::parse(bytes).map(|p| p.to_string());
            assert_eq!(found, expected.map(str::to_owned), "{bytes:?}");
        }
    }

    #[test]
    fn join_takes_names_only() {
        let dir = RemotePath::parse(b"/d").unwrap();
        assert_eq!(dir.join(b" -rf ~x*").unwrap().as_bytes(), b"/d/ -rf ~x*");
        assert_eq!(RemotePath::root().join(b"a").unwrap().as_bytes(), b"/a");
        for name in [&b""[..], b".", b"..", b"a/b"] {
            assert_eq!(dir.join(name), Err(InvalidPath::NotAName), "{name:?}");
        }
        for name in [&b"a\rb"[..], b"a\nb", b"a\0b"] {
            assert_eq!(dir.join(name), Err(InvalidPath::ControlByte), "{name:?}");
        }
    }

    #[test]
    fn parent_and_name() {
        let path = RemotePath::parse(b"/a/b").unwrap();
        assert_eq!(path.name(), b"b");
        let parent = path.parent().unwrap();
        assert_eq!((parent.as_bytes(), parent.name()), (&b"/a"[..], &b"a"[..]));
        assert_eq!(parent.parent(), Some(RemotePath::root()));
        assert_eq!(RemotePath::root().parent(), None);
        assert_eq!(RemotePath::root().name(), b"");
    }

    #[test]
    fn starts_with_compares_components() {
        let a = RemotePath::parse(b"/a").unwrap();
        for (path, expected) in [
            (&b"/a"[..], true),
            (b"/a/b", true),
            (b"/ab", false),
            (b"/", false),
        ] {
            assert_eq!(
                RemotePath::parse(path).unwrap().starts_with(&a),
                expected,
                "{path:?}"
            );
        }
    }

    #[test]
    fn moved_follows_a_renamed_directory() {
        let path = |text: &str| RemotePath::parse(text.as_bytes()).unwrap();
        for (from, to, expected) in [
            ("/a", "/b", Some("/b/x/y")),
            ("/a/x/y", "/z", Some("/z")),
            ("/a", "/", Some("/x/y")),
            ("/", "/c", Some("/c/a/x/y")),
            ("/a/xx", "/b", None),
        ] {
            assert_eq!(
                path("/a/x/y").moved(&path(from), &path(to)),
                expected.map(path),
                "{from} to {to}"
            );
        }
    }

    #[test]
    fn printable_escapes_what_could_fool_a_reader() {
        assert_eq!(
            printable("añ\u{202e}\x1b[1m".as_bytes()),
            "añ\\u{202e}\\u{1b}[1m"
        );
        assert_eq!(printable(b"a\xffb"), "a\\xffb");
    }
}
