//! Option lists as mount(8) writes them: `-o name=value,name,name="a,b"`.

/// One word of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// Before the `=`.
    pub(super) name: Vec<u8>,
    /// Behind it, unescaped and without its quotes.
    pub(super) value: Option<Vec<u8>>,
    /// The word as typed.
    pub(super) raw: Vec<u8>,
}

/// Splits a list at its commas. `\,` is a comma inside a value, `\\` a backslash, any other
/// backslash stands for itself; a value in double quotes may hold commas, and `\"`.
///
/// # Errors
/// A quote that is not closed.
pub(super) fn split(list: &[u8]) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        let (word, length) = first(rest)?;
        if !word.raw.is_empty() {
            words.push(word);
        }
        rest = rest.get(length + 1..).unwrap_or_default();
    }
    Ok(words)
}

/// The first word, and how many bytes of the list it takes (without the comma behind it).
fn first(list: &[u8]) -> Result<(Word, usize), String> {
    let mut name = Vec::new();
    let mut value: Option<Vec<u8>> = None;
    let mut quoted = false;
    let mut at = 0;
    while let Some(&byte) = list.get(at) {
        let next = list.get(at + 1).copied();
        let value_begins = value.as_ref().is_some_and(Vec::is_empty);
        match (byte, next) {
            (b'"', _) if quoted => quoted = false,
            (b'"', _) if value_begins => quoted = true,
            (b',', _) if !quoted => break,
            (b'=', _) if value.is_none() => value = Some(Vec::new()),
            (byte, next) => {
                let escaped = next.filter(|next| {
                    byte == b'\\' && (matches!(next, b',' | b'\\') || (quoted && *next == b'"'))
                });
                at += usize::from(escaped.is_some());
                value
                    .as_mut()
                    .unwrap_or(&mut name)
                    .push(escaped.unwrap_or(byte));
            }
        }
        at += 1;
    }
    if quoted {
        return Err("an option list has a double quote that is not closed".into());
    }
    let raw = list[..at].to_vec();
    Ok((Word { name, value, raw }, at))
}

/// Words of mount(8), systemd and fstab that say nothing to a file system of this kind.
const IGNORED: &[&str] = &[
    "defaults",
    "_netdev",
    "nofail",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "owner",
    "group",
    "rw",
    "dev",
    "suid",
    "exec",
    "async",
    "sync",
    "dirsync",
    "atime",
    "diratime",
    "nodiratime",
    "relatime",
    "symfollow",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "lazytime",
    "nolazytime",
    "mand",
    "nomand",
    "iversion",
    "noiversion",
    "silent",
    "loud",
];

/// Words that the kernel understands and that are passed on.
pub(super) const KERNEL: &[&str] = &["nosuid", "nodev", "noexec", "noatime"];

/// All that are understood without a value.
pub(super) fn generic() -> impl Iterator<Item = &'static str> {
    IGNORED.iter().chain(KERNEL).copied()
}

/// Whether `word` is a generic mount word to be passed over in silence. `user` with a value is not:
/// that is the login.
pub(super) fn is_ignored(word: &Word) -> bool {
    let Ok(name) = std::str::from_utf8(&word.name) else {
        return false;
    };
    let prefixed = name.starts_with("x-") || name.starts_with("X-") || name == "comment";
    prefixed || (word.value.is_none() && IGNORED.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &str) -> Vec<(String, Option<String>)> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        split(list.as_bytes())
            .unwrap()
            .into_iter()
            .map(|w| (text(w.name), w.value.map(text)))
            .collect()
    }

    #[test]
    fn splits_escapes_and_quotes() {
        type Pair<'a> = (&'a str, Option<&'a str>);
        let cases: [(&str, &[Pair<'_>]); 9] = [
            ("", &[]),
            (",,", &[]),
            ("ro", &[("ro", None)]),
            ("ro,,timeout=5", &[("ro", None), ("timeout", Some("5"))]),
            ("a=", &[("a", Some(""))]),
            ("a=b=c", &[("a", Some("b=c"))]),
            (
                r"user=u:p\,w\\,ro",
                &[("user", Some(r"u:p,w\")), ("ro", None)],
            ),
            (
                r#"user="u:p,\"w",ro"#,
                &[("user", Some(r#"u:p,"w"#)), ("ro", None)],
            ),
            (r#"a=b"c"#, &[("a", Some(r#"b"c"#))]),
        ];
        for (list, expected) in cases {
            let expected: Vec<_> = expected
                .iter()
                .map(|(n, v)| (n.to_string(), v.map(str::to_owned)))
                .collect();
            assert_eq!(pairs(list), expected, "{list}");
        }
        assert!(split(br#"a="b"#).is_err());
    }

    #[test]
    fn raw_is_the_word_as_typed() {
        let words = split(br"ro,user=u:p\,w,x").unwrap();
        assert_eq!(words[1].raw, br"user=u:p\,w");
    }

    #[test]
    fn user_is_a_mount_word_only_without_a_value() {
        for (list, expected) in [
            ("user", true),
            ("user=me", false),
            ("x-systemd.automount", true),
            ("x-systemd.idle-timeout=10min", true),
            ("comment=hello", true),
            ("_netdev", true),
            ("ro", false),
            ("nosuid", false),
        ] {
            let word = split(list.as_bytes()).unwrap().remove(0);
            assert_eq!(is_ignored(&word), expected, "{list}");
        }
    }
}
