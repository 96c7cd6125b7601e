//! `Reply`: reading one reply, multi-line included (RFC 959 section 4.2).

use std::collections::VecDeque;
use std::fmt;

use super::Secret;
use super::{FtpError, printable};

/// Longest line of a reply that is read.
const MAX_LINE: usize = 8 * 1024;
/// Most bytes of one reply that are kept.
const MAX_REPLY: usize = 1024 * 1024;
/// A secret of so many bytes does not stand in a reply by chance.
const TOLD_BY_CHANCE: usize = 6;

/// What the first digit says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyClass {
    /// 1xx: begun, another reply will follow.
    Preliminary,
    /// 2xx: done.
    Completion,
    /// 3xx: go on with the next command.
    Intermediate,
    /// 4xx: not now.
    TransientNegative,
    /// 5xx: no.
    PermanentNegative,
}

/// One reply.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    lines: Vec<Vec<u8>>,
}

impl Reply {
    /// The three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The first digit, which decides.
    pub fn class(&self) -> ReplyClass {
        match self.code / 100 {
            1 => ReplyClass::Preliminary,
            2 => ReplyClass::Completion,
            3 => ReplyClass::Intermediate,
            4 => ReplyClass::TransientNegative,
            _ => ReplyClass::PermanentNegative,
        }
    }

    /// 2xx.
    pub fn is_completion(&self) -> bool {
        self.class() == ReplyClass::Completion
    }

    /// 1xx.
    pub fn is_preliminary(&self) -> bool {
        self.class() == ReplyClass::Preliminary
    }

    /// 4xx or 5xx.
    pub fn is_negative(&self) -> bool {
        matches!(
            self.class(),
            ReplyClass::TransientNegative | ReplyClass::PermanentNegative
        )
    }

    /// The text behind the code in the first line.
    pub fn text(&self) -> &[u8] {
        self.lines.first().map_or(b"", Vec::as_slice)
    }

    /// Whether it came in one line.
    pub(super) fn is_single_line(&self) -> bool {
        self.lines.len() == 1
    }

    /// About as many bytes as it had.
    pub(super) fn length(&self) -> usize {
        self.lines.iter().map(|line| line.len() + 2).sum()
    }

    /// What stands between the first and the last line of a multi-line reply.
    pub fn inner_lines(&self) -> impl Iterator<Item = &[u8]> {
        let last = self.lines.len().saturating_sub(1).max(1);
        self.lines
            .get(1..last)
            .unwrap_or_default()
            .iter()
            .map(Vec::as_slice)
    }

    /// Takes all of them out, as [`Reply::hide_password`] does.
    pub(super) fn hide_all(&mut self, secrets: &[Secret]) {
        for secret in secrets {
            self.hide_password(secret.expose());
        }
    }

    /// Takes `secret` out: wherever the reply repeats it, if it is long enough not to be there by chance, and else
    /// behind `PASS ` and `ACCT `, which servers repeat that do not know them: `500 'PASS …': command not understood.`
    pub(super) fn hide_password(&mut self, secret: &[u8]) {
        const VERBS: [&[u8; 5]; 2] = [b"PASS ", b"ACCT "];
        if secret.is_empty() {
            return;
        }
        let is_meant = |before: &[u8]| {
            let verb = before.last_chunk::<5>();
            let behind_verb = verb
                .is_some_and(|verb| VERBS.iter().any(|known| verb.eq_ignore_ascii_case(*known)));
            behind_verb || secret.len() >= TOLD_BY_CHANCE
        };
        for line in &mut self.lines {
            let mut from = 0;
            while let Some(found) = line[from..]
                .windows(secret.len())
                .position(|window| window == secret)
            {
                let begin = from + found;
                if is_meant(&line[..begin]) {
                    line.splice(begin..begin + secret.len(), *b"***");
                    from = begin + 3;
                } else {
                    from = begin + 1;
                }
            }
        }
    }

    /// Whether any of `words`, in lower case, stands anywhere in the reply, in any case.
    pub fn mentions(&self, words: &[&str]) -> bool {
        self.lines.iter().any(|line| {
            let line = line.to_ascii_lowercase();
            words
                .iter()
                .any(|w| line.windows(w.len()).any(|part| part == w.as_bytes()))
        })
    }
}

/// `550 No such file`, in one line, escaped.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        let mut room = 400_usize;
        for line in self.lines.iter().filter(|l| !l.is_empty()) {
            let line = &line[..line.len().min(room)];
            room -= line.len();
            write!(f, " {}", printable(line))?;
            if room == 0 {
                return f.write_str(" …");
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Takes bytes as they come and gives replies as they are complete.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    line: Vec<u8>,
    open: Option<Reply>,
    open_bytes: usize,
    complete: VecDeque<Reply>,
}

impl ReplyReader {
    /// Takes what one read gave.
    ///
    /// # Errors
    /// No reply at all, or one that is too large. The connection is then of no further use.
    pub(super) fn feed(&mut self, verb: &'static str, mut bytes: &[u8]) -> Result<(), FtpError> {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.extend_line(&bytes[..end])?;
            bytes = &bytes[end + 1..];
            let mut line = std::mem::take(&mut self.line);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            self.take_line(verb, line)?;
        }
        self.extend_line(bytes)
    }

    /// The next complete reply.
    pub(super) fn next(&mut self) -> Option<Reply> {
        self.complete.pop_front()
    }

    /// Whether there is a complete reply.
    pub(super) fn has_reply(&self) -> bool {
        !self.complete.is_empty()
    }

    /// Nothing has come that nobody took.
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty() && self.open.is_none() && self.complete.is_empty()
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), FtpError> {
        if self.line.len() + bytes.len() > MAX_LINE {
            return Err(FtpError::TooLarge {
                what: "a line of a reply",
                limit: MAX_LINE,
            });
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn take_line(&mut self, verb: &'static str, line: Vec<u8>) -> Result<(), FtpError> {
        let Some(mut reply) = self.open.take() else {
            return self.begin(verb, &line);
        };
        self.open_bytes += line.len() + 1;
        if self.open_bytes > MAX_REPLY {
            return Err(FtpError::TooLarge {
                what: "a reply",
                limit: MAX_REPLY,
            });
        }
        // Only the opening code and a blank end it; some servers send the bare code.
        match code_and_mark(&line) {
            Some((code, b' ' | b'\0')) if code == reply.code => {
                reply.lines.push(line.get(4..).unwrap_or_default().to_vec());
                self.complete.push_back(reply);
            }
            _ => {
                reply.lines.push(line);
                self.open = Some(reply);
            }
        }
        Ok(())
    }

    fn begin(&mut self, verb: &'static str, line: &[u8]) -> Result<(), FtpError> {
        let text = line.get(4..).unwrap_or_default().to_vec();
        match code_and_mark(line) {
            Some((code, mark)) => {
                let reply = Reply {
                    code,
                    lines: vec![text],
                };
                if mark == b'-' {
                    self.open_bytes = line.len();
                    self.open = Some(reply);
                } else {
                    self.complete.push_back(reply);
                }
                Ok(())
            }
            // What echoes its input has now said the password.
            None if verb == "PASS" => Err(FtpError::Protocol {
                verb,
                what: "a line that is no reply".into(),
            }),
            None => Err(FtpError::Protocol {
                verb,
                what: printable(&line[..line.len().min(200)]),
            }),
        }
    }
}

/// The code of a line and the byte behind it, 0 if there is none.
fn code_and_mark(line: &[u8]) -> Option<(u16, u8)> {
    let digits = line.get(..3)?;
    if !(b'1'..=b'5').contains(&digits[0]) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = digits.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0'));
    let mark = line.get(3).copied().unwrap_or(0);
    matches!(mark, 0 | b' ' | b'-').then_some((code, mark))
}

#[cfg(test)]
impl Reply {
    /// A reply as the server would have sent it in one line.
    pub(crate) fn for_tests(code: u16, text: &str) -> Self {
        Self {
            code,
            lines: vec![text.as_bytes().to_vec()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], step: usize) -> Result<Vec<String>, String> {
        let mut reader = ReplyReader::default();
        for chunk in bytes.chunks(step) {
            reader.feed("TEST", chunk).map_err(|e| e.to_string())?;
        }
        Ok(std::iter::from_fn(|| reader.next())
            .map(|r| r.to_string())
            .collect())
    }

    #[test]
    fn replies_in_any_pieces() {
        let cases: [(&[u8], &[&str]); 9] = [
            (b"220 ready\r\n", &["220 ready"]),
            (b"220 ready\n", &["220 ready"]),
            (b"220\r\n", &["220"]),
            (b"331 a\r\n230 b\r\n", &["331 a", "230 b"]),
            (b"211-F\r\n MDTM\r\n211 End\r\n", &["211 F  MDTM End"]),
            // Inner lines may look like anything but the end.
            (
                b"230-a\r\n230-b\r\n220 c\r\n 230 d\r\n230\r\n",
                &["230 a 230-b 220 c  230 d"],
            ),
            (b"230-\r\n\r\n230 x\r\n", &["230 x"]),
            (b"550 \xe9\x1b[2J\r\n", &["550 \\xe9\\u{1b}[2J"]),
            (b"226 unfin", &[]),
        ];
        for (bytes, expected) in cases {
            for step in [1, 3, bytes.len()] {
                let found = read(bytes, step).unwrap();
                assert_eq!(found, expected, "{bytes:?} in steps of {step}");
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for bytes in [
            &b"HTTP/1.1 400\r\n"[..],
            b"\r\n",
            b"22 x\r\n",
            b"999 x\r\n",
            b"2200 x\r\n",
        ] {
            assert!(read(bytes, 64).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn endless_lines_and_replies_are_cut_off() {
        let line = vec![b'x'; MAX_LINE + 1];
        assert!(read(&line, 1024).unwrap_err().contains("8192"));
        let mut endless = b"211-\r\n".to_vec();
        endless.extend(b" 0123456789012345678901234567890123456789\r\n".repeat(30_000));
        assert!(read(&endless, 4096).unwrap_err().contains("1048576"));
    }

    #[test]
    fn a_repeated_password_is_taken_out() {
        for (text, secret, expected) in [
            ("'PASS s3cret': what?", "s3cret", "'PASS ***': what?"),
            ("pass s3cret PASS s3cret", "s3cret", "pass *** PASS ***"),
            ("Login incorrect", "in", "Login incorrect"),
            ("no account s3cret!", "s3cret", "no account ***!"),
            ("PASS PASS x", "PASS x", "PASS ***"),
            ("PASS PASS PASS", "PASS", "PASS *** PASS"),
            ("PASS ", "", "PASS "),
            ("PASS a", "abc", "PASS a"),
        ] {
            let mut reply = Reply::for_tests(500, text);
            reply.hide_password(secret.as_bytes());
            assert_eq!(reply.to_string(), format!("500 {expected}"));
        }
    }

    #[test]
    fn parts_and_questions() {
        let mut reader = ReplyReader::default();
        reader
            .feed("FEAT", b"211-Features:\r\n MDTM\r\n SIZE\r\n211 End\r\n")
            .unwrap();
        let reply = reader.next().unwrap();
        let inner: Vec<_> = reply.inner_lines().collect();
        assert_eq!(inner, [b" MDTM", b" SIZE"]);
        assert_eq!(reply.text(), b"Features:");
        assert!(reply.is_completion() && !reply.is_negative());
        assert!(reply.mentions(&["mdtm"]) && !reply.mentions(&["mlst"]));
        assert!(reader.is_empty());
        let single = Reply::for_tests(220, "x");
        assert_eq!(single.inner_lines().count(), 0);
    }
}
