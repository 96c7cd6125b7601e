//! `Features`: what FEAT promised (RFC 2389).

use super::Reply;

/// Facts of a listing that we read; all others only make its lines longer.
const WANTED_FACTS: [&str; 5] = ["type", "size", "modify", "perm", "unix.mode"];

/// What the server says it can, as answered to FEAT after login. Absence proves nothing for EPSV,
/// SIZE, MDTM and REST: busybox and ftp-srv have some of them and do not say so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    lines: Vec<(String, String)>,
}

impl Features {
    /// Reads the answer to FEAT; a refusal is an empty list.
    pub(super) fn from_reply(reply: &Reply) -> Self {
        if !reply.is_completion() {
            return Self::default();
        }
        let lines = reply
            .inner_lines()
            .filter_map(|line| {
                let line = String::from_utf8_lossy(line);
                let (name, rest) = match line.trim().split_once(' ') {
                    Some((name, rest)) => (name, rest.trim()),
                    None => (line.trim(), ""),
                };
                (!name.is_empty()).then(|| (name.to_ascii_uppercase(), rest.to_owned()))
            })
            .collect();
        Self { lines }
    }

    /// As the server tells them, each in a line.
    pub fn names(&self) -> Vec<String> {
        let line = |(name, rest): &(String, String)| match rest.is_empty() {
            true => name.clone(),
            false => format!("{name} {rest}"),
        };
        self.lines.iter().map(line).collect()
    }

    /// Whether `name`, in upper case, is among them.
    pub fn has(&self, name: &str) -> bool {
        self.lines.iter().any(|(n, _)| n == name)
    }

    /// What OPTS MLST is to ask for, if it pays: we get fewer facts, or the mode as well.
    pub(super) fn facts_to_ask_for(&self) -> Option<String> {
        let (_, facts) = self.lines.iter().find(|(name, _)| name == "MLST")?;
        let mut wanted = String::new();
        let mut pays = false;
        for fact in facts.split(';').map(str::trim).filter(|f| !f.is_empty()) {
            let (name, on) = match fact.strip_suffix('*') {
                Some(name) => (name, true),
                None => (fact, false),
            };
            let ours = WANTED_FACTS.contains(&name.to_ascii_lowercase().as_str());
            let clean = name.bytes().all(|b| b.is_ascii_graphic());
            if ours && clean {
                wanted.push_str(name);
                wanted.push(';');
            }
            pays |= ours != on;
        }
        (pays && !wanted.is_empty() && wanted.len() < 200).then_some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::super::reply::ReplyReader;
    use super::*;

    fn features(wire: &str) -> Features {
        let mut reader = ReplyReader::default();
        reader.feed("FEAT", wire.as_bytes()).unwrap();
        Features::from_reply(&reader.next().unwrap())
    }

    #[test]
    fn names_in_any_case_with_and_without_parameters() {
        let found = features("211-Features:\r\n mdtm\r\n REST STREAM\r\nUTF8\r\n \r\n211 End\r\n");
        assert!(found.has("MDTM") && found.has("REST") && found.has("UTF8"));
        assert!(!found.has("MLST"));
        assert_eq!(features("500 what?\r\n"), Features::default());
        assert_eq!(features("211 no features\r\n"), Features::default());
    }

    #[test]
    fn asks_for_facts_only_where_it_pays() {
        let cases = [
            // ProFTPD: much too many.
            (
                "modify*;perm*;size*;type*;unique*;UNIX.group*;UNIX.mode*;UNIX.owner*;",
                Some("modify;perm;size;type;UNIX.mode;"),
            ),
            // pyftpdlib: the mode has to be asked for.
            (
                "type*;perm*;size*;modify*;unique*;unix.mode;unix.uid;unix.gid;",
                Some("type;perm;size;modify;unix.mode;"),
            ),
            ("type*;size*;modify*;", None),
            ("", None),
        ];
        for (facts, expected) in cases {
            let found = features(&format!("211-F\r\n MLST {facts}\r\n211 End\r\n"));
            assert_eq!(found.facts_to_ask_for().as_deref(), expected, "{facts}");
        }
        assert_eq!(
            features("211-F\r\n SIZE\r\n211 End\r\n").facts_to_ask_for(),
            None
        );
    }
}
