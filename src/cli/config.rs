//! `Settings`, `Source` and `Login` made into the `MountConfig` that the rooms below understand.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::active;
use super::credentials::Login;
use super::encryption;
use super::folders;
use super::network;
use super::settings::Settings;
use super::url::Source;
use crate::fs::{FsConfig, OwnerConfig, StagingConfig};
use crate::ftp::LoginConfig;
use crate::fuse::SessionConfig;
use crate::mount::{Failure, MountConfig};
use crate::pool::PoolConfig;
use crate::writeback::JournalConfig;

/// All unused sessions but one are closed after this: before most servers do it (300 s), and long
/// enough to serve somebody who thinks between two commands.
const IDLE: Duration = Duration::from_secs(60);

/// The last unused session is closed after this.
const LAST_IDLE: Duration = Duration::from_secs(300);

/// What must not stand as it is in the source that mount(8) shows: the comma and the backslash would
/// end or change a mount option.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b',')
    .add(b'\\')
    .add(b'%')
    .add(b'"')
    .add(b'#');

/// The same for a user's name, where `:`, `@` and `/` have a meaning as well.
const ENCODED_USER: &AsciiSet = &ENCODED.add(b':').add(b'@').add(b'/');

pub(super) fn build(
    mut source: Source,
    settings: Settings,
    login: Login,
    mountpoint: PathBuf,
) -> Result<MountConfig, Failure> {
    let security = encryption::security(source.scheme, &settings)?;
    let route = network::route(&settings)?;
    // The place is what the server knows it by, whatever it was typed in.
    source.path = settings.codepage.typed_path(&source.path);
    let active = active::mode(&settings)?;
    let shown = shown_source(&source, &login);
    let host = source.host.to_lowercase();
    let path = folded(&source.path);
    let identity = [
        host.as_bytes(),
        &source.port.to_be_bytes(),
        &login.user,
        &path,
    ];
    let journal = JournalConfig {
        directory: folders::state(),
        key: format!("{:016x}", place_id(&identity)),
        url: shown.clone(),
        options: settings.way_there(),
    };
    let owner = OwnerConfig {
        uid: settings
            .uid
            .unwrap_or_else(|| rustix::process::getuid().as_raw()),
        gid: settings
            .gid
            .unwrap_or_else(|| rustix::process::getgid().as_raw()),
        file_mask: mask(settings.fmask, settings.file_perms, settings.umask),
        directory_mask: mask(settings.dmask, settings.dir_perms, settings.umask),
    };
    Ok(MountConfig {
        journal,
        fs: FsConfig {
            owner,
            cache_timeout: settings.cache_timeout,
            cache_size: settings.cache_size,
            readahead: settings.readahead,
            staging: StagingConfig {
                directory: folders::staging(settings.staging_dir)?,
            },
            upload: settings.upload,
            writeback: settings.writeback.then_some(settings.writeback_limit),
            strict: settings.strict,
            follow_symlinks: settings.follow_symlinks,
            read_only: settings.read_only,
            mount_id: mount_id(&identity),
        },
        login: LoginConfig {
            host: source.host,
            port: source.port,
            route,
            obeys_pasv: settings.obeys_pasv,
            user: login.user,
            password: login.password,
            account: login.account,
            security,
            utf8: !settings.codepage.is_foreign(),
            family: settings.family,
            connect_timeout: settings.connect_timeout,
            timeout: settings.timeout,
            active,
        },
        remote_path: source.path,
        zone: settings.zone,
        pool: PoolConfig {
            max_connections: settings.max_conns as usize,
            idle: IDLE,
            last_idle: LAST_IDLE,
            patience: settings.connect_timeout,
            hard: settings.hard,
            ahead: true,
        },
        session: SessionConfig {
            mountpoint,
            source: settings.shown.unwrap_or(shown),
            codepage: settings.codepage,
            allow_other: settings.allow_other,
            allow_root: settings.allow_root,
            read_only: settings.read_only,
            flags: settings.kernel_flags,
            operation_timeout: settings.connect_timeout + 2 * settings.timeout,
            timeout: settings.timeout,
            hard: settings.hard,
        },
        delay_connect: settings.delay_connect,
        foreground: settings.foreground || settings.debug,
    })
}

/// What mount(8) shows: the URL without a password.
fn shown_source(source: &Source, login: &Login) -> String {
    let user = match login.anonymous {
        true => String::new(),
        false => format!("{}@", percent_encode(&login.user, ENCODED_USER)),
    };
    let host = match source.host.contains(':') {
        true => format!("[{}]", source.host),
        false => source.host.clone(),
    };
    let host = percent_encode(host.as_bytes(), ENCODED);
    let port = match source.port {
        port if port == source.scheme.port() => String::new(),
        port => format!(":{port}"),
    };
    format!(
        "{}://{user}{host}{port}/{}",
        source.scheme.name(),
        percent_encode(&source.path, ENCODED)
    )
}

/// The path with each place written in one way: without empty components, `.` and a slash at the end.
fn folded(path: &[u8]) -> Vec<u8> {
    let names = path.split(|byte| *byte == b'/');
    let names: Vec<_> = names.filter(|name| !matches!(*name, b"" | b".")).collect();
    let front: &[u8] = if path.first() == Some(&b'/') {
        b"/"
    } else {
        b""
    };
    [front, &names.join(&b'/')].concat()
}

/// As [`mount_id`], so long that two places of one machine do not share a folder.
fn place_id(parts: &[&[u8]]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.iter().chain(&[0]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

/// The same for the same server, user and path on every machine and in every version (FNV-1a).
fn mount_id(parts: &[&[u8]]) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    for part in parts {
        for byte in part.iter().chain(&[0]) {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }
    hash
}

/// A mask of one's own counts in place of the umask, the bits that rclone gives at most beside it.
fn mask(own: Option<u16>, at_most: Option<u16>, umask: u16) -> u16 {
    own.unwrap_or_else(|| at_most.map_or(0, |bits| 0o777 & !bits) | umask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::Secret;

    fn shown(url: &str, user: &str, anonymous: bool) -> String {
        let login = Login {
            user: user.into(),
            password: Secret::new("pw"),
            account: None,
            anonymous,
        };
        shown_source(&Source::parse(url.as_bytes()).unwrap(), &login)
    }

    #[test]
    fn the_shown_source_is_a_url_without_a_password() {
        assert_eq!(shown("ftp://u:pw@h/a/b", "u", false), "ftp://u@h/a/b");
        assert_eq!(shown("u@h:/a b,c", "u", false), "ftp://u@h//a%20b%2Cc");
        assert_eq!(
            shown("ftp://[::1]:2121", "x@y,z", false),
            "ftp://x%40y%2Cz@[::1]:2121/"
        );
        assert_eq!(shown("h", "anonymous", true), "ftp://h/");
    }

    #[test]
    fn mount_ids_tell_mounts_apart() {
        // The value itself must not change from version to version: leftovers are found by it.
        assert_eq!(mount_id(&[b"h", b"u"]), mount_id(&[b"h", b"u"]));
        assert_ne!(mount_id(&[b"h", b"u"]), mount_id(&[b"hu", b""]));
    }

    #[test]
    fn a_place_has_one_identity() {
        assert_eq!(folded(b"a//b/./c/"), b"a/b/c");
        assert_eq!(folded(b"//a/"), b"/a");
        assert_ne!(folded(b"/a"), folded(b"a"));
        assert_eq!(folded(b""), b"");
        assert_ne!(place_id(&[b"h", b"u"]), place_id(&[b"hu", b""]));
    }
}
