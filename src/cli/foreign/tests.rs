//! The table is sound, told in the README, and does what it says.

use std::fmt::Write;
use std::time::Duration;

use super::super::settings::Tls;
use super::super::table;
use super::*;

/// The table as the README has it.
fn rendered() -> String {
    let mut text = String::from("| of | their option | here |\n|---|---|---|\n");
    for row in ROWS {
        let names: Vec<String> = row.names.iter().map(|name| shown(row, name)).collect();
        let here = match row.fate {
            Fate::Is(ours) => format!("`{ours}`"),
            Fate::Gives(ours, value) => format!("`{ours}={value}`"),
            Fate::Read(_, told) => told.to_owned(),
            Fate::Accepted(why) => format!("accepted: {why}"),
            Fate::Refused(why) => format!("refused: {why}"),
        };
        writeln!(text, "| {} | {} | {here} |", row.of, names.join(", ")).unwrap();
    }
    text
}

fn shown(row: &Foreign, name: &str) -> String {
    match (name.len(), row.of) {
        (1, _) => format!("`-{name}`"),
        (_, RCLONE) => format!("`--{}`", name.replace('_', "-")),
        _ => format!("`{name}`"),
    }
}

#[test]
fn the_readme_has_the_table() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let table = rendered();
    assert!(readme.contains(&table), "README.md should hold:\n\n{table}");
}

#[test]
fn a_name_means_one_thing() {
    let mut names: Vec<&str> = ROWS.iter().flat_map(|row| row.names).copied().collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for name in names {
        assert!(table::find(name).is_none(), "{name} is our own");
        assert!(!name.contains('-'), "{name}");
    }
}

#[test]
fn what_stands_for_ours_is_there_and_reads_its_values() {
    for row in ROWS {
        let mut settings = Settings::with_defaults().unwrap();
        match row.fate {
            Fate::Is(ours) => {
                let spec = table::find(ours).unwrap();
                assert_eq!(spec.is_switch(), !row.takes_value, "{ours}");
            }
            Fate::Gives(ours, value) => {
                settings.set(ours, Some(value.as_bytes())).unwrap();
                assert!(!row.takes_value, "{ours}");
            }
            _ => {}
        }
    }
}

fn from(list: &str) -> Result<Settings, String> {
    let mut settings = Settings::with_defaults().unwrap();
    settings.set_list(list.as_bytes()).map(|()| settings)
}

#[test]
fn meanings() {
    /// What is looked at after the list.
    type Look = fn(&Settings) -> bool;
    let cases: &[(&str, Look)] = &[
        ("cache=no", |s| s.cache_timeout.is_zero()),
        ("cache=yes,dir_cache=yes", |s| {
            s.cache_timeout.as_secs() == 10
        }),
        ("cache_stat_timeout=7", |s| s.cache_timeout.as_secs() == 7),
        ("dir-cache-time=1h30m", |s| {
            s.cache_timeout == Duration::from_secs(5400)
        }),
        ("ssl", |s| s.tls == Tls::Require),
        ("ssl=no", |s| s.tls == Tls::Auto),
        ("tls=off,ssl_try", |s| s.tls == Tls::Auto),
        ("nomulticonn", |s| s.max_conns == 1),
        ("active,passive", |s| !s.active),
        ("no_readahead", |s| s.readahead == 0),
        ("buffer_size=32M,vfs_read_ahead=1M", |s| {
            s.readahead == 32 << 20
        }),
        ("vfs_read_ahead=64M", |s| s.readahead == 64 << 20),
        ("vfs_cache_max_size=16M", |s| s.cache_size == 16 << 20),
        ("vfs_cache_max_size=100G", |s| s.cache_size == 64 << 20),
        ("vfs_cache_max_size=off", |s| s.cache_size == 64 << 20),
        ("file_perms=0640,dir_perms=750", |s| {
            (s.file_perms, s.dir_perms) == (Some(0o640), Some(0o750))
        }),
        ("log_level=DEBUG", |s| s.verbose && !s.quiet),
        ("log_level=error", |s| s.quiet && !s.verbose),
        ("ftp_concurrency=0", |s| s.max_conns == 6),
        ("ftp_concurrency=3", |s| s.max_conns == 3),
        ("ftp_user=me", |s| s.user.as_deref() == Some(b"me")),
        ("no_check_certificate", |s| s.no_verify_peer),
        ("allow_non_empty", |s| s.nonempty),
        ("daemon", |s| !s.foreground),
        ("daemon=false", |s| s.foreground),
        ("sslv3=no", |s| s.tls == Tls::Auto),
        (
            "iocharset=utf8,utf8,modules=iconv,to_code=UTF-8,from_code=latin1",
            |s| s.codepage.is_foreign(),
        ),
        (
            "reconnect,ServerAliveInterval=15,kernel_cache,max_read=65536,idmap=user",
            |s| s.max_conns == 6,
        ),
        ("Port=2121,ConnectTimeout=3", |s| {
            s.port == Some(2121) && s.connect_timeout.as_secs() == 3
        }),
        (
            "PORT=2121,connecttimeout=3,serveraliveinterval=15,compression=no",
            |s| s.port == Some(2121) && s.connect_timeout.as_secs() == 3,
        ),
        ("username=me:pw", |s| s.user.as_deref() == Some(b"me:pw")),
        ("nosymfollow=no,symfollow", |s| s.kernel_flags.is_empty()),
    ];
    for (list, is_so) in cases {
        assert!(is_so(&from(list).unwrap()), "{list}");
    }
}

#[test]
fn what_is_promised_and_not_done_is_refused_without_its_value() {
    for (list, part) in [
        ("sslv3", "option sslv3: SSL has been broken"),
        ("krb4=private", "option krb4: Kerberos is not spoken"),
        ("pass=s3cret", "option pass: a key with a passphrase"),
        ("pass=s3cret", "passfile=FILE or user=NAME:PASSWORD"),
        ("password=s3cret", "passfile=FILE"),
        ("user=me,passwd=s3cret", "user=NAME:PASSWORD"),
        ("credentials=/s3cret", "username=NAME and passfile=FILE"),
        ("nosymfollow", "remount,bind,nosymfollow"),
        ("identityfile=k", "option identityfile: that is about SSH"),
        ("cipher=aes", "about SSH"),
        ("Ciphers=aes", "about SSH"),
        ("compression=yes", "yes: FTP has no compression"),
        ("ftp_pass=s3cret", "passfile=FILE"),
        ("proxy_user=me:s3cret", "stand in the proxy's address"),
        ("ciphers=NULL", "safe"),
        ("iocharset=latin1", "codepage=NAME"),
        ("custom_list=NLST", "leave this option out"),
        ("cert_type=P12", "PEM"),
        ("idmap=file", "uid=N"),
        ("modules=subdir", "ftp://HOST/FOLDER"),
        (
            "dir_cache_time=soon",
            "option dir_cache_time: soon: not a time",
        ),
        ("dir_cache_time", "option dir_cache_time needs a value"),
        ("log_level=loud", "not DEBUG"),
        ("buffer_size=big", "not a size"),
        ("ftp_port=2121", "port=2121"),
    ] {
        let message = from(list).unwrap_err();
        assert!(message.contains(part), "{list}: {message}");
        assert!(
            !message.contains("s3cret") && !message.contains('\n'),
            "{message}"
        );
    }
}

#[test]
fn a_password_in_their_options_hides_what_follows() {
    for list in [
        "ftp_user=me:hun,ter2",
        "username=me:hun,ter2",
        "http_proxy=http://me:hun,ter2@h",
    ] {
        let message = from(list).unwrap_err();
        assert!(!message.contains("ter2"), "{message}");
    }
}
