//! `Codepage`: names that are not UTF-8 on the server, as the kernel is to see them.
//!
//! Everything below this room knows the server's own bytes: its caches, its journal and its log mean the
//! same file whatever the codepage. A name is text for the kernel if its bytes decode, and encode to the
//! same bytes again; any other name is passed as the bytes it is. So nothing is ever mangled, and two
//! names of the server are never one here.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};

use crate::ftp::check_name;

/// The longest name that the kernel takes from a file system (FUSE_NAME_MAX), in bytes.
const LONGEST: usize = 1024;

/// What marks a name whose raw bytes would be taken for the text of another one. It is in no UTF-8.
const MARK: u8 = 0xff;

/// Spellings of iconv(3) and of other programs that the standard has no label for.
const SPELLINGS: [(&str, &str); 17] = [
    ("932", "shift_jis"),
    ("shiftjis", "shift_jis"),
    ("936", "gbk"),
    ("euccn", "gb2312"),
    ("949", "euc-kr"),
    ("uhc", "euc-kr"),
    ("euckr", "euc-kr"),
    ("950", "big5"),
    ("big5hkscs", "big5-hkscs"),
    ("eucjp", "euc-jp"),
    ("koi8r", "koi8-r"),
    ("koi8u", "koi8-u"),
    ("20866", "koi8-r"),
    ("21866", "koi8-u"),
    ("latin9", "iso-8859-15"),
    ("65001", "utf-8"),
    ("utf8", "utf-8"),
];

/// One for each encoding there is, for messages.
const KNOWN: [&str; 36] = [
    "big5",
    "cp1250",
    "cp1251",
    "cp1252",
    "cp1253",
    "cp1254",
    "cp1255",
    "cp1256",
    "cp1257",
    "cp1258",
    "cp866",
    "cp874",
    "cp932",
    "cp936",
    "cp949",
    "cp950",
    "euc-jp",
    "euc-kr",
    "gb18030",
    "gbk",
    "iso-8859-1",
    "iso-8859-2",
    "iso-8859-3",
    "iso-8859-4",
    "iso-8859-5",
    "iso-8859-6",
    "iso-8859-7",
    "iso-8859-8",
    "iso-8859-9",
    "iso-8859-10",
    "iso-8859-13",
    "iso-8859-15",
    "koi8-r",
    "koi8-u",
    "sjis",
    "utf-8",
];

/// The encoding of the names on the server. The default passes names as the bytes they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Codepage(Option<&'static Encoding>);

impl Codepage {
    /// The codepage of this name: a label of the WHATWG Encoding Standard, or a usual spelling.
    ///
    /// # Errors
    /// What is wrong with the name, and which ones are near.
    pub fn named(name: &str) -> Result<Self, String> {
        let encoding = find(name).ok_or_else(|| {
            let near = near(&name.to_lowercase());
            format!("no such codepage; perhaps {}", near.join(", "))
        })?;
        if encoding == UTF_8 {
            return Ok(Self(None));
        }
        // UTF-16 and ISO-2022 have `/` and NUL inside of characters: no server has such names.
        if !encoding.is_ascii_compatible() {
            return Err("file names cannot be in this encoding".into());
        }
        Ok(Self(Some(encoding)))
    }

    /// Whether names are another encoding's than UTF-8, so that the server must not be asked for that.
    pub fn is_foreign(self) -> bool {
        self.0.is_some()
    }

    /// A name of the server as the kernel sees it.
    pub(super) fn shown(self, server: &[u8]) -> Cow<'_, [u8]> {
        let Some(encoding) = self.0.filter(|_| !server.is_ascii()) else {
            return Cow::Borrowed(server);
        };
        match decoded(encoding, server) {
            Some(text) => Cow::Owned(text.into_bytes()),
            None if is_taken_for_text(encoding, server) => Cow::Owned([server, &[MARK]].concat()),
            None => Cow::Borrowed(server),
        }
    }

    /// The name on the server of what the kernel sees by this one; `None` if it sees nothing by it.
    pub(super) fn on_server(self, shown: &[u8]) -> Option<Cow<'_, [u8]>> {
        let Some(encoding) = self.0.filter(|_| !shown.is_ascii()) else {
            return Some(Cow::Borrowed(shown));
        };
        let encoded = std::str::from_utf8(shown)
            .ok()
            .and_then(|text| encoded(encoding, text));
        let unmarked = || shown.strip_suffix(&[MARK]).map(Cow::Borrowed);
        let found = match encoded {
            Some(bytes) => Cow::Owned(bytes),
            None => unmarked()
                .filter(|raw| self.shown(raw) == shown)
                .unwrap_or(Cow::Borrowed(shown)),
        };
        (self.shown(&found) == shown).then_some(found)
    }

    /// The name that the server is to give to something new; `None` for text that the encoding has no
    /// bytes for, and for bytes that would be seen as another name.
    pub(super) fn for_new(self, shown: &[u8]) -> Option<Cow<'_, [u8]>> {
        let found = self.on_server(shown)?;
        let Some(encoding) = self.0.filter(|_| !shown.is_ascii()) else {
            return Some(found);
        };
        let is_text = std::str::from_utf8(shown).is_ok();
        (!is_text || decoded(encoding, &found).is_some()).then_some(found)
    }

    /// A path, or the target of a link, as the kernel sees it.
    pub(super) fn path_shown(self, server: &[u8]) -> Cow<'_, [u8]> {
        self.each_name(server, |name| Some(self.shown(name)))
            .unwrap_or(Cow::Borrowed(server))
    }

    /// The target of a link that is to be made, as [`Codepage::for_new`].
    pub(super) fn path_for_new(self, shown: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.each_name(shown, |name| self.for_new(name))
    }

    /// A path that a user typed, as the server knows it. What is no text, or none that the encoding has
    /// bytes for, is taken for the server's own bytes.
    pub fn typed_path(self, typed: &[u8]) -> Vec<u8> {
        let typed_name = |name| Some(self.on_server(name).unwrap_or(Cow::Borrowed(name)));
        self.each_name(typed, typed_name)
            .map_or_else(|| typed.to_vec(), Cow::into_owned)
    }

    fn each_name<'a>(
        self,
        path: &'a [u8],
        convert: impl Fn(&'a [u8]) -> Option<Cow<'a, [u8]>>,
    ) -> Option<Cow<'a, [u8]>> {
        if !self.is_foreign() || path.is_ascii() {
            return Some(Cow::Borrowed(path));
        }
        let names: Option<Vec<_>> = path.split(|byte| *byte == b'/').map(convert).collect();
        Some(Cow::Owned(names?.join(&b'/')))
    }
}

/// The text, if it is a name, and its bytes are these again.
fn decoded(encoding: &'static Encoding, bytes: &[u8]) -> Option<String> {
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
    let (again, _, unmappable) = encoding.encode(&text);
    let same = !unmappable && *again == *bytes;
    let is_name = text.len() <= LONGEST && check_name(text.as_bytes()).is_ok();
    (same && is_name).then(|| text.into_owned())
}

/// The bytes, if they decode to this text.
fn encoded(encoding: &'static Encoding, text: &str) -> Option<Vec<u8>> {
    let (bytes, _, unmappable) = encoding.encode(text);
    let same = !unmappable && decoded(encoding, &bytes).is_some_and(|again| again == text);
    same.then(|| bytes.into_owned())
}

/// Whether a name that does not decode is at the same time text with other bytes, or such with marks: only
/// a mark tells the two apart.
fn is_taken_for_text(encoding: &'static Encoding, raw: &[u8]) -> bool {
    let end = raw.iter().rposition(|byte| *byte != MARK);
    let front = &raw[..end.map_or(0, |end| end + 1)];
    let text = std::str::from_utf8(front).ok();
    let other = text.and_then(|text| encoded(encoding, text));
    other.is_some_and(|other| other != front)
}

fn find(name: &str) -> Option<&'static Encoding> {
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let front = ["windows", "win", "ibm", "cp"];
    let number = front.iter().find_map(|front| plain.strip_prefix(front));
    let plain = number.unwrap_or(&plain);
    let spelled = SPELLINGS.iter().find(|(spelling, _)| *spelling == plain);
    let label = spelled.map_or_else(
        || format!("windows-{plain}"),
        |(_, label)| (*label).to_owned(),
    );
    [name, plain, &label]
        .iter()
        .find_map(|label| Encoding::for_label(label.as_bytes()))
}

/// The three known names that are spelled most like this.
fn near(name: &str) -> Vec<&'static str> {
    let mut known = KNOWN;
    let likeness = |known: &&str| strsim::normalized_damerau_levenshtein(name, known);
    known.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    known[..3].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codepage(name: &str) -> Codepage {
        Codepage::named(name).unwrap()
    }

    #[test]
    fn names_of_codepages() {
        for (name, expected) in [
            ("latin1", "windows-1252"),
            ("Latin-1", "windows-1252"),
            ("ISO-8859-1", "windows-1252"),
            ("ISO_8859-15", "ISO-8859-15"),
            ("latin9", "ISO-8859-15"),
            ("CP1252", "windows-1252"),
            ("windows1251", "windows-1251"),
            ("Win1250", "windows-1250"),
            ("cp874", "windows-874"),
            ("CP866", "IBM866"),
            ("SJIS", "Shift_JIS"),
            ("CP932", "Shift_JIS"),
            ("Shift-JIS", "Shift_JIS"),
            ("EUCJP", "EUC-JP"),
            ("CP936", "GBK"),
            ("GB18030", "gb18030"),
            ("CP949", "EUC-KR"),
            ("big5-hkscs", "Big5"),
            ("KOI8-R", "KOI8-R"),
            ("koi8_r", "KOI8-R"),
        ] {
            let found = codepage(name).0.map(Encoding::name);
            assert_eq!(found, Some(expected), "{name}");
        }
        for name in ["utf-8", "UTF8", "CP65001"] {
            assert_eq!(codepage(name), Codepage::default(), "{name}");
        }
        for name in KNOWN {
            codepage(name);
        }
    }

    #[test]
    fn what_is_no_codepage_names_near_ones() {
        for (name, part) in [
            ("cp1525", "perhaps cp125"),
            ("sjs", "sjis"),
            ("CP437", "no such codepage; perhaps cp"),
            ("", "no such codepage"),
            ("utf-16", "cannot be in this encoding"),
            ("iso-2022-jp", "cannot be in this encoding"),
        ] {
            let message = Codepage::named(name).unwrap_err();
            assert!(message.contains(part), "{name}: {message}");
        }
    }

    /// A mark behind the last byte stands for a mark.
    #[test]
    fn names_as_they_are_shown() {
        let cases: [(&str, &[u8], &[u8]); 12] = [
            ("latin1", b"caf\xe9", "café".as_bytes()),
            ("latin1", b"\x80 \x81", "€ \u{81}".as_bytes()),
            ("latin1", "é".as_bytes(), "Ã©".as_bytes()),
            ("sjis", b"\x93\xfa\x96\x7b.txt", "日本.txt".as_bytes()),
            // The second byte of this one is a backslash.
            ("sjis", b"\x83\x5c", "ソ".as_bytes()),
            // Half a character, and NEC's second code of a character that has another one.
            ("sjis", b"x\x93", b"x\x93"),
            ("sjis", b"\x87\x90", b"\x87\x90"),
            ("koi8-r", b"\xc6\xc1\xca\xcc", "файл".as_bytes()),
            // Greek has no 0xaa and no 0xff: what another client made in UTF-8 stays that, marked.
            ("cp1253", b"\xda", "Ϊ".as_bytes()),
            ("cp1253", b"\xce\xaa", b"\xce\xaa\xff"),
            ("cp1253", b"\xce\xaa\xff", b"\xce\xaa\xff\xff"),
            ("cp1253", b"a\xff", b"a\xff"),
        ];
        for (name, server, shown) in cases {
            let codepage = codepage(name);
            assert_eq!(*codepage.shown(server), *shown, "{name} {server:x?}");
            let back = codepage.on_server(shown);
            assert_eq!(back.as_deref(), Some(server), "{name} {shown:x?}");
        }
    }

    #[test]
    fn names_that_nothing_is_seen_by_or_that_are_not_made() {
        let cases: [(&str, &[u8], bool, bool); 8] = [
            ("latin1", "é".as_bytes(), true, true),
            ("latin1", "日本".as_bytes(), false, false),
            // It would be listed as é.
            ("latin1", b"\xe9", false, false),
            ("sjis", "日本".as_bytes(), true, true),
            // Encoded as the backslash.
            ("sjis", "¥".as_bytes(), false, false),
            // Bytes of a name that does not decode, and come back as they are.
            ("sjis", b"x\x93", true, true),
            // Greek has no 0xaa, so somebody's UTF-8 may be there; but it is not made.
            ("cp1253", "ª".as_bytes(), true, false),
            ("cp1253", b"\xce\xaa\xff", true, true),
        ];
        for (name, shown, seen, made) in cases {
            let codepage = codepage(name);
            let found = (
                codepage.on_server(shown).is_some(),
                codepage.for_new(shown).is_some(),
            );
            assert_eq!(found, (seen, made), "{name} {shown:x?}");
        }
    }

    #[test]
    fn every_name_comes_back_and_no_two_meet() {
        use std::collections::HashMap;
        // All pairs of bytes that may be one character, with and without a mark, beside what UTF-8 has for
        // single bytes.
        for name in ["cp1253", "koi8-r", "sjis", "euc-kr"] {
            let codepage = codepage(name);
            let mut seen: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
            let pairs = (0x8000..=u16::MAX).map(|pair| pair.to_be_bytes().to_vec());
            let singles = (0x80..=0xff).map(|byte| vec![byte]);
            let texts = ('\u{80}'..'\u{500}').map(|c| c.to_string().into_bytes());
            for server in pairs.chain(singles).chain(texts) {
                if check_name(&server).is_err() {
                    continue;
                }
                for server in [server.clone(), [&server[..], &[MARK]].concat()] {
                    let shown = codepage.shown(&server).into_owned();
                    assert!(check_name(&shown).is_ok(), "{name} {server:x?}");
                    let back = codepage.on_server(&shown);
                    assert_eq!(back.as_deref(), Some(&server[..]), "{name} {shown:x?}");
                    let met = seen.insert(shown, server.clone());
                    assert!(met.is_none_or(|met| met == server), "{name} {server:x?}");
                }
            }
        }
    }

    #[test]
    fn paths_go_name_by_name() {
        let latin = codepage("latin1");
        assert_eq!(*latin.path_shown(b"../\xe9/\xe4"), *"../é/ä".as_bytes());
        let target = latin.path_for_new("/é/ä".as_bytes());
        assert_eq!(target.as_deref(), Some(&b"/\xe9/\xe4"[..]));
        assert_eq!(latin.path_for_new("é/日".as_bytes()), None);
        assert_eq!(latin.typed_path("a/é".as_bytes()), b"a/\xe9");
        assert_eq!(latin.typed_path(b"a/\xe9/b"), b"a/\xe9/b");
        let plain = Codepage::default();
        assert_eq!(plain.typed_path("é".as_bytes()), "é".as_bytes());
        assert!(matches!(plain.shown(b"\xe9"), Cow::Borrowed(b"\xe9")));
        assert!(matches!(
            plain.for_new(b"\xe9"),
            Some(Cow::Borrowed(b"\xe9"))
        ));
    }
}
