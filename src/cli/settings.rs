//! `Settings`: every option with a value, defaults filled in from the table.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::foreign;
use super::table::{self, TABLE};
use super::value::Value;
use super::words::{self, KERNEL, Word};
use crate::fs::UploadPolicy;
use crate::ftp::listing::ListingZone;
use crate::ftp::{OwnAddress, Secret, printable};
use crate::fuse::Codepage;
use crate::net::Proxy;

pub(super) use crate::net::AddressFamily as Family;

/// Whether to encrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tls {
    /// Where the server offers it.
    #[default]
    Auto,
    /// Or there is no login.
    Require,
    /// Never.
    Off,
}

/// What the options say, by the names of the table.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub(super) user: Option<Vec<u8>>,
    pub(super) passfile: Option<PathBuf>,
    pub(super) passcommand: Option<OsString>,
    pub(super) password_stdin: bool,
    pub(super) account: Option<Secret>,
    /// `None`: that of the address.
    pub(super) port: Option<u16>,
    pub(super) netrc: Option<PathBuf>,
    pub(super) tls: Tls,
    pub(super) cacert: Option<PathBuf>,
    pub(super) cert_sha256: Option<[u8; 32]>,
    pub(super) no_verify_peer: bool,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
    pub(super) max_conns: u32,
    pub(super) obeys_pasv: bool,
    pub(super) interface: Option<String>,
    pub(super) proxy: Option<Proxy>,
    pub(super) family: Family,
    pub(super) codepage: Codepage,
    /// `None`: found out.
    pub(super) zone: Option<ListingZone>,
    pub(super) active: bool,
    pub(super) ftp_port: OwnAddress,
    pub(super) port_range: Option<RangeInclusive<u16>>,
    pub(super) read_only: bool,
    pub(super) allow_other: bool,
    pub(super) allow_root: bool,
    pub(super) nonempty: bool,
    pub(super) delay_connect: bool,
    pub(super) cache_timeout: Duration,
    pub(super) cache_size: u64,
    pub(super) readahead: u64,
    pub(super) staging_dir: Option<PathBuf>,
    pub(super) hard: bool,
    pub(super) upload: UploadPolicy,
    pub(super) writeback: bool,
    pub(super) writeback_limit: u64,
    pub(super) strict: bool,
    pub(super) follow_symlinks: bool,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) umask: u16,
    pub(super) fmask: Option<u16>,
    pub(super) dmask: Option<u16>,
    pub(super) foreground: bool,
    pub(super) debug: bool,
    pub(super) verbose: bool,
    pub(super) quiet: bool,
    pub(super) log_file: Option<PathBuf>,
    /// What was typed of how to reach the server, without secrets: for a command that reaches it again.
    pub(super) way_typed: Vec<(&'static str, Option<String>)>,
    /// Permission bits that files and folders have at most (rclone); the umask takes others away.
    pub(super) file_perms: Option<u16>,
    pub(super) dir_perms: Option<u16>,
    /// What mount(8) shows as the source, if it is not the URL.
    pub(super) shown: Option<String>,
    /// Words that nobody knows are passed over.
    pub(super) sloppy: bool,
    /// Words passed on to the kernel (nosuid, …), each once.
    pub(super) kernel_flags: Vec<String>,
}

impl Settings {
    /// The defaults of the table.
    pub(super) fn with_defaults() -> Result<Self, String> {
        let mut settings = Self::default();
        for spec in TABLE.iter().filter(|spec| !spec.default.is_empty()) {
            settings.set(spec.name, Some(spec.default.as_bytes()))?;
        }
        Ok(settings)
    }

    /// Applies an option, ours or one of other programs; without a value a switch is on.
    ///
    /// # Errors
    /// One line: what is wrong with which option.
    pub(super) fn set(&mut self, name: &str, value: Option<&[u8]>) -> Result<(), String> {
        match foreign::find(name) {
            Some(foreign) => foreign.apply(self, name, value),
            None => self.set_as(name, name, value),
        }
    }

    /// Applies an option of the table that was typed as `name`.
    ///
    /// # Errors
    /// As [`Settings::set`].
    pub(super) fn set_as(
        &mut self,
        name: &str,
        ours: &str,
        value: Option<&[u8]>,
    ) -> Result<(), String> {
        let spec = table::find(ours).ok_or_else(|| unknown(name))?;
        let value = match value {
            Some(value) => value,
            None if spec.is_switch() => b"yes",
            None => {
                return Err(format!(
                    "option {name} needs a value: {name}={}",
                    spec.value
                ));
            }
        };
        (spec.set)(self, Value(value)).map_err(|e| format!("option {name}: {e}"))?;
        self.remember(spec, value);
        Ok(())
    }

    fn remember(&mut self, spec: &table::Spec, value: &[u8]) {
        const PATHS: [&str; 5] = ["cacert", "cert", "key", "passfile", "netrc"];
        const OTHERS: [&str; 11] = [
            "tls",
            "cert_sha256",
            "no_verify_peer",
            "ipv4",
            "ipv6",
            "pasv_ip",
            "active",
            "ftp_port",
            "port_range",
            "proxy",
            "codepage",
        ];
        let is_path = PATHS.contains(&spec.name);
        if !is_path && !OTHERS.contains(&spec.name) {
            return;
        }
        // The last one counts, also where it takes the ones before back.
        self.way_typed.retain(|(name, _)| *name != spec.name);
        let Ok(mut text) = std::str::from_utf8(value).map(str::to_owned) else {
            return;
        };
        let is_off = spec.is_switch() && Value(value).yes() != Ok(true);
        // A proxy's password is not repeated.
        if is_off || text == spec.default || !is_path && text.contains('@') {
            return;
        }
        if is_path && let Ok(path) = std::path::absolute(&text) {
            text = path.to_string_lossy().into_owned();
        }
        let value = (!spec.is_switch()).then_some(text);
        self.way_typed.push((spec.name, value));
    }

    /// The words that reach the same server again.
    pub(super) fn way_there(&self) -> Vec<String> {
        let words = self.way_typed.iter().flat_map(|(name, value)| {
            let name = format!("--{name}");
            [Some(name), value.clone()].into_iter().flatten()
        });
        words.collect()
    }

    /// Applies an `-o` list.
    ///
    /// # Errors
    /// As [`Settings::set`]; also a word that nobody knows.
    pub(super) fn set_list(&mut self, list: &[u8]) -> Result<(), String> {
        let mut password_before = false;
        for word in words::split(list)? {
            let name = String::from_utf8_lossy(&word.name).into_owned();
            if word.value.is_none() && self.set_flag(&name) || words::is_ignored(&word) {
                continue;
            }
            let is_unknown = table::find(&name).is_none() && foreign::find(&name).is_none();
            if password_before && is_unknown {
                // It may be the rest of a password, which must not be shown.
                return Err(
                    "unknown option behind user=NAME:PASSWORD, proxy=URL or account=TEXT; a comma in a password is typed \\, (or use passfile=FILE)"
                        .into(),
                );
            }
            if is_unknown && self.sloppy {
                continue;
            }
            password_before |= holds_password(&word);
            self.set(&name, word.value.as_deref())?;
        }
        Ok(())
    }
}

impl Settings {
    /// Whether `name` is a flag of every mount; of two that contradict each other the last one counts.
    fn set_flag(&mut self, name: &str) -> bool {
        let opposite = format!("no{name}");
        if KERNEL.contains(&name) {
            self.kernel_flags.retain(|flag| flag != name);
            self.kernel_flags.push(name.to_owned());
        } else if KERNEL.contains(&opposite.as_str()) {
            self.kernel_flags.retain(|flag| *flag != opposite);
        } else if name == "rw" {
            self.read_only = false;
        } else {
            return false;
        }
        true
    }
}

fn holds_password(word: &Word) -> bool {
    let value = word.value.as_deref().unwrap_or_default();
    let name = String::from_utf8_lossy(&word.name);
    match foreign::ours(&name) {
        "user" => value.contains(&b':'),
        // A comma in the user's name hides that a password follows.
        "proxy" | "account" => true,
        _ => false,
    }
}

/// The message for a word that nobody knows.
fn unknown(name: &str) -> String {
    let hint = nearest(name, false).map(|known| format!("; did you mean {known}?"));
    let (shown, hint) = (printable(name.as_bytes()), hint.unwrap_or_default());
    format!("unknown option {shown}{hint} (ftpfs --help lists all)")
}

/// The name that works, in a list or on the command line, and is spelled most like this.
pub(super) fn nearest(name: &str, on_command_line: bool) -> Option<&'static str> {
    let name = name.replace('-', "_");
    let alone: &[&str] = match on_command_line {
        true => &[
            "check", "recover", "status", "unmount", "watch", "json", "help", "version",
        ],
        false => &[],
    };
    // Words of mount(8) are for lists alone.
    let generic = words::generic().filter(|_| !on_command_line);
    let of_table = TABLE
        .iter()
        .flat_map(|spec| spec.aliases.iter().copied().chain([spec.name]));
    let ours = || alone.iter().copied().chain(of_table.clone());
    // Who stopped in the middle of one of our names means it, even if others have a shorter one.
    let begun = ours().filter(|known| name.len() > 2 && known.starts_with(&name));
    // Of those that are as near, the last one is told: ours.
    let all = foreign::names().chain(generic).chain(ours());
    most_like(&name, begun).map(|(_, known)| known).or_else(|| {
        most_like(&name, all)
            .filter(|(likeness, _)| *likeness > 0.5)
            .map(|(_, known)| known)
    })
}

/// The one that is spelled most like `name`, and how much (1 is the same).
fn most_like(name: &str, known: impl Iterator<Item = &'static str>) -> Option<(f64, &'static str)> {
    known
        .map(|known| (strsim::normalized_damerau_levenshtein(name, known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(list: &str) -> Result<Settings, String> {
        let mut settings = Settings::with_defaults().unwrap();
        settings.set_list(list.as_bytes()).map(|()| settings)
    }

    #[test]
    fn defaults_are_those_of_the_manual() {
        let s = from("").unwrap();
        assert_eq!(s.cache_timeout, Duration::from_secs(10));
        assert_eq!(s.timeout, Duration::from_secs(30));
        assert_eq!(s.connect_timeout, Duration::from_secs(10));
        assert_eq!(
            (s.max_conns, s.cache_size, s.readahead),
            (6, 64 << 20, 8 << 20)
        );
        assert_eq!((s.upload, s.tls), (UploadPolicy::Auto, Tls::Auto));
        assert!(!s.read_only && !s.strict && !s.allow_other && !s.obeys_pasv);
    }

    #[test]
    fn lists_of_fstab_are_understood() {
        let s = from(
            "rw,noauto,user,_netdev,x-systemd.automount,nosuid,nodev,user=me,cache-timeout=5m,ro,umask=027",
        )
        .unwrap();
        assert_eq!(s.user.as_deref(), Some(&b"me"[..]));
        assert_eq!(s.cache_timeout, Duration::from_secs(300));
        assert_eq!(s.kernel_flags, ["nosuid", "nodev"]);
        assert!(s.read_only);
        assert_eq!(s.umask, 0o027);
    }

    #[test]
    fn unknown_words_get_a_hint() {
        assert!(
            from("cache_timout=3")
                .unwrap_err()
                .contains("did you mean cache_timeout?")
        );
        assert!(
            from("maxconns=3")
                .unwrap_err()
                .contains("did you mean max_conns?")
        );
        assert!(!from("zzzzzz").unwrap_err().contains("did you mean"));
        for (typed, hint) in [
            ("stat", Some("status")),
            ("stat_", Some("stats")),
            ("unm", Some("unmount")),
            ("cache_s", Some("cache_size")),
            ("zz", None),
        ] {
            assert_eq!(nearest(typed, true), hint, "{typed}");
        }
    }

    #[test]
    fn the_rest_of_a_password_is_not_shown() {
        for list in [
            "user=me:hun,ter2",
            "proxy=http://me:hun,ter2@h",
            "proxy=http://m,e:hunter2@h",
        ] {
            let message = from(list).unwrap_err();
            assert!(!message.contains("ter2"), "{message}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let message = from("default_permissions=no").unwrap_err();
        assert!(message.contains("cannot do it yet"), "{message}");
        assert!(from("tls=off,tz=auto,tz=utc,soft,hard,default_permissions,writeback").is_ok());
    }

    #[test]
    fn the_way_there_is_what_counts_in_the_end() {
        let way = |list: &str| from(list).unwrap().way_there().join(" ");
        for (list, words) in [
            ("tls=require,ro,cert_sha256=00", None),
            ("no_verify_peer,no_verify_peer=no", Some("")),
            ("tls=off,tls=auto", Some("")),
            ("active,passive", Some("")),
            ("active,codepage=latin1", Some("--active --codepage latin1")),
            ("proxy=socks5://h,proxy=socks5://me:pw@h", Some("")),
            ("cacert=/a b.pem,max_conns=2", Some("--cacert /a b.pem")),
        ] {
            match words {
                Some(words) => assert_eq!(way(list), words, "{list}"),
                None => assert!(from(list).is_err(), "{list}"),
            }
        }
    }
}
