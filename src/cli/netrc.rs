//! `~/.netrc`: logins by machine, as ftp(1) and curl read it.

/// What the file says about one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: Option<Vec<u8>>,
    pub(super) password: Option<Vec<u8>>,
    pub(super) account: Option<Vec<u8>>,
}

/// The first entry for `host`, or the `default` one. With `user`, entries of other users are passed
/// over; an entry without a user fits any.
pub(super) fn find(file: &[u8], host: &str, user: Option<&[u8]>) -> Option<Login> {
    let mut tokens = Tokens { rest: file };
    let mut fits = false;
    let mut login = Login::default();
    let done = |fits: bool, login: &Login| {
        fits && (user.is_none() || login.user.is_none() || login.user.as_deref() == user)
    };
    while let Some(token) = tokens.next() {
        match token.as_slice() {
            b"machine" | b"default" => {
                if done(fits, &login) {
                    break;
                }
                login = Login::default();
                fits = token == b"default"
                    || tokens
                        .next()
                        .is_some_and(|name| name.eq_ignore_ascii_case(host.as_bytes()));
            }
            b"login" => login.user = tokens.next(),
            b"password" | b"passwd" => login.password = tokens.next(),
            b"account" => login.account = tokens.next(),
            b"macdef" => tokens.skip_macro(),
            [b'#', ..] => tokens.skip_line(),
            _ => {}
        }
    }
    done(fits, &login).then_some(login)
}

/// Words between white space, or in double quotes with `\"` and `\\`.
struct Tokens<'a> {
    rest: &'a [u8],
}

impl Tokens<'_> {
    /// A macro ends at the first empty line.
    fn skip_macro(&mut self) {
        let end = self.rest.windows(2).position(|w| w == b"\n\n");
        self.rest = end.map_or(&[], |end| &self.rest[end + 2..]);
    }

    /// A comment stands where a keyword could, so that a password may begin with `#`.
    fn skip_line(&mut self) {
        let end = self
            .rest
            .iter()
            .position(|b| *b == b'\n')
            .unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
    }
}

impl Iterator for Tokens<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        self.rest = self.rest.trim_ascii_start();
        if self.rest.is_empty() {
            return None;
        }
        let quoted = self.rest[0] == b'"';
        let mut bytes = self
            .rest
            .iter()
            .copied()
            .enumerate()
            .skip(usize::from(quoted));
        let mut word = Vec::new();
        let mut end = self.rest.len();
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'\\' if quoted => word.extend(bytes.next().map(|(_, escaped)| escaped)),
                b'"' if quoted => {
                    end = at + 1;
                    break;
                }
                _ if !quoted && byte.is_ascii_whitespace() => {
                    end = at;
                    break;
                }
                _ => word.push(byte),
            }
        }
        self.rest = &self.rest[end..];
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = br#"# my logins
machine ftp.example.com login web42 password "p w\"\\d"
machine ftp.example.com
  login other
  password #hash
machine nologin password justpass
macdef init
cd /tmp
machine trap login trap password trap

machine half login half
default login anonymous password me@example.com
machine never login x password y
"#;

    fn found(host: &str, user: Option<&str>) -> Option<(Option<String>, Option<String>)> {
        let text = |b: Vec<u8>| String::from_utf8(b).unwrap();
        find(FILE, host, user.map(str::as_bytes)).map(|l| (l.user.map(text), l.password.map(text)))
    }

    fn some(
        user: Option<&str>,
        password: Option<&str>,
    ) -> Option<(Option<String>, Option<String>)> {
        Some((user.map(str::to_owned), password.map(str::to_owned)))
    }

    #[test]
    fn entries() {
        assert_eq!(
            found("FTP.example.com", None),
            some(Some("web42"), Some(r#"p w"\d"#))
        );
        assert_eq!(found("nologin", Some("me")), some(None, Some("justpass")));
        assert_eq!(found("half", None), some(Some("half"), None));
        assert_eq!(
            found("trap", None),
            some(Some("anonymous"), Some("me@example.com"))
        );
        assert_eq!(found("never", Some("x")), some(Some("x"), Some("y")));
        let account = find(b"machine a login b account c-1 password d", "a", None);
        assert_eq!(
            account.and_then(|l| l.account).as_deref(),
            Some(&b"c-1"[..])
        );
        let other_word = find(b"machine a login b passwd d", "a", None);
        let password = other_word.and_then(|l| l.password);
        assert_eq!(password.as_deref(), Some(&b"d"[..]));
        assert_eq!(find(b"machine a login b", "c", None), None);
        assert_eq!(find(b"", "c", None), None);
    }

    #[test]
    fn the_user_chooses_among_entries() {
        assert_eq!(
            found("ftp.example.com", Some("other")),
            some(Some("other"), Some("#hash"))
        );
        assert_eq!(
            find(
                b"machine h login a password 1\nmachine h login b password 2",
                "h",
                Some(b"b")
            ),
            Some(Login {
                user: Some(b"b".to_vec()),
                password: Some(b"2".to_vec()),
                account: None,
            })
        );
        assert_eq!(found("elsewhere", Some("me")), None);
    }
}
