//! What fuser, mount(2) and fusermount3 are told.

use fuser::{Config, MountOption, SessionACL};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::SessionConfig;

/// The type that mount(8) shows: `fuse.ftpfs`.
const SUBTYPE: &str = "subtype=ftpfs";

/// Event loops. They never wait, so that two are as many as help.
const EVENT_LOOPS: usize = 2;

/// What would end the source in a list of mount options, or make another option of its rest:
/// fuser hands it to fusermount3 as it is.
const NOT_IN_SOURCE: &AsciiSet = &CONTROLS.add(b' ').add(b',').add(b'\\');

/// The flags of mount(2) that fuser knows, each beside its opposite.
const FLAGS: [(&str, MountOption, MountOption); 12] = [
    ("suid", MountOption::Suid, MountOption::NoSuid),
    ("nosuid", MountOption::NoSuid, MountOption::Suid),
    ("dev", MountOption::Dev, MountOption::NoDev),
    ("nodev", MountOption::NoDev, MountOption::Dev),
    ("exec", MountOption::Exec, MountOption::NoExec),
    ("noexec", MountOption::NoExec, MountOption::Exec),
    ("atime", MountOption::Atime, MountOption::NoAtime),
    ("noatime", MountOption::NoAtime, MountOption::Atime),
    ("sync", MountOption::Sync, MountOption::Async),
    ("async", MountOption::Async, MountOption::Sync),
    ("ro", MountOption::RO, MountOption::RW),
    ("rw", MountOption::RW, MountOption::RO),
];

/// Everything about the mount that is decided before it is made.
pub(super) fn fuser_config(session: &SessionConfig) -> Config {
    let mut config = Config::default();
    config.n_threads = Some(EVENT_LOOPS);
    // Measured: a descriptor for each loop gains nothing.
    config.clone_fd = false;
    config.acl = if session.allow_other {
        SessionACL::All
    } else if session.allow_root {
        SessionACL::RootAndOwner
    } else {
        SessionACL::Owner
    };
    config.mount_options = mount_options(session);
    config
}

fn mount_options(session: &SessionConfig) -> Vec<MountOption> {
    let mut options = vec![
        MountOption::FSName(source(&session.source)),
        // As a custom option it reaches both mount(2) and fusermount3; `Subtype` only the latter.
        MountOption::CUSTOM(SUBTYPE.to_owned()),
        // The modes that we show are enforced, by the kernel.
        MountOption::DefaultPermissions,
        // FTP has no time of access to keep.
        MountOption::NoAtime,
    ];
    for typed in &session.flags {
        let Some((_, option, opposite)) = FLAGS.iter().find(|(name, ..)| name == typed) else {
            log::info!("mount flag {typed} has no meaning here");
            continue;
        };
        // As with mount(8), the last word counts.
        options.retain(|other| other != opposite && other != option);
        options.push(option.clone());
    }
    if session.read_only {
        options.retain(|other| !matches!(other, MountOption::RW | MountOption::RO));
        options.push(MountOption::RO);
    }
    options
}

/// The source as mount(8) may show it: escaped as a URL is.
fn source(url: &str) -> String {
    utf8_percent_encode(url, NOT_IN_SOURCE).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::time::Duration;

    fn session(flags: &[&str]) -> SessionConfig {
        SessionConfig {
            codepage: Default::default(),
            mountpoint: PathBuf::from("/mnt"),
            source: "ftp://host/".to_owned(),
            allow_other: false,
            allow_root: false,
            read_only: false,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            operation_timeout: Duration::from_secs(70),
            hard: false,
            timeout: Duration::from_secs(30),
        }
    }

    #[test]
    fn a_source_cannot_add_options() {
        for (typed, shown) in [
            ("ftp://host/a", "ftp://host/a"),
            ("ftp://host/a,suid", "ftp://host/a%2Csuid"),
            ("ftp://host/a\\,b c\n\t", "ftp://host/a%5C%2Cb%20c%0A%09"),
            ("ftp://host/é", "ftp://host/%C3%A9"),
        ] {
            assert_eq!(source(typed), shown);
        }
    }

    #[test]
    fn the_last_flag_of_a_pair_counts() {
        let options = mount_options(&session(&["noexec", "exec", "atime", "nosuid", "relatime"]));
        assert!(options.contains(&MountOption::Exec));
        assert!(!options.contains(&MountOption::NoExec));
        assert!(options.contains(&MountOption::Atime));
        assert!(!options.contains(&MountOption::NoAtime));
        assert!(options.contains(&MountOption::NoSuid));
    }

    #[test]
    fn permissions_are_always_checked_and_read_only_is_final() {
        let mut read_only = session(&["rw"]);
        read_only.read_only = true;
        let options = mount_options(&read_only);
        assert!(options.contains(&MountOption::RO));
        assert!(!options.contains(&MountOption::RW));
        assert!(options.contains(&MountOption::DefaultPermissions));
        assert!(!mount_options(&session(&[])).contains(&MountOption::RO));
    }

    #[test]
    fn who_may_use_it() {
        let mut config = session(&[]);
        assert_eq!(fuser_config(&config).acl, SessionACL::Owner);
        config.allow_root = true;
        assert_eq!(fuser_config(&config).acl, SessionACL::RootAndOwner);
        config.allow_other = true;
        assert_eq!(fuser_config(&config).acl, SessionACL::All);
    }
}
