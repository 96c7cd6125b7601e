//! Words of commands that messages tell people to run.

use std::borrow::Cow;
use std::path::Path;

/// As one word of a shell.
pub fn word(text: &str) -> Cow<'_, str> {
    // What holds a NUL is no argument of any program.
    shlex::try_quote(text).unwrap_or_else(|_| text.into())
}

/// The same of a path.
pub fn path(path: &Path) -> String {
    word(&path.to_string_lossy()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_meant() {
        for text in [
            "/mnt/web",
            "/mnt/my web",
            "it's",
            "a\"b",
            "$HOME",
            "",
            "ü",
            "a\nb",
            "~x",
            "-",
        ] {
            let command = format!("run {}", word(text));
            assert_eq!(shlex::split(&command).unwrap(), ["run", text], "{command}");
        }
        assert_eq!(word("ftp://me@host:21/a%20b"), "ftp://me@host:21/a%20b");
        assert_eq!(path(Path::new("/mnt/a b")), "'/mnt/a b'");
    }
}
