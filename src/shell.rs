//! Words of commands that messages tell people to run.

use std::borrow::Cow;
use std::path::Path;

/// As one word of a shell. What moves the cursor stands escaped in it, as bash, zsh and ksh read it.
pub fn word(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        return escaped(text).into();
    }
    // What holds a NUL is no argument of any program.
    shlex::try_quote(text).unwrap_or_else(|_| text.into())
}

/// The same of a path.
pub fn path(path: &Path) -> String {
    word(&path.to_string_lossy()).into_owned()
}

fn escaped(text: &str) -> String {
    let mut word = String::from("$'");
    for c in text.chars() {
        match c {
            '\\' | '\'' => word.extend(['\\', c]),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    word.push_str(&format!("\\{byte:03o}"));
                }
            }
            c => word.push(c),
        }
    }
    word.push('\'');
    word
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
            "~x",
        ] {
            let command = format!("run {}", word(text));
            assert_eq!(shlex::split(&command).unwrap(), ["run", text], "{command}");
        }
        assert_eq!(path(Path::new("/mnt/a b")), "'/mnt/a b'");
        assert_eq!(word("a\x1b'\\\n\u{85}"), r"$'a\033\'\\\012\302\205'");
    }
}
