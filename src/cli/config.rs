//! `Settings`, `Source` and `Login` made into the `MountConfig` that the rooms below understand.

use std::env;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::credentials::Login;
use super::settings::{Settings, Tls};
use super::url::Source;
use crate::fs::{FsConfig, OwnerConfig, StagingConfig};
use crate::ftp::LoginConfig;
use crate::fuse::SessionConfig;
use crate::mount::MountConfig;
use crate::pool::PoolConfig;

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
    source: Source,
    settings: Settings,
    login: Login,
    mountpoint: PathBuf,
) -> MountConfig {
    let shown = shown_source(&source, &login);
    let identity = [
        source.host.as_bytes(),
        &source.port.to_be_bytes(),
        &login.user,
        &source.path,
    ];
    let owner = OwnerConfig {
        uid: settings
            .uid
            .unwrap_or_else(|| rustix::process::getuid().as_raw()),
        gid: settings
            .gid
            .unwrap_or_else(|| rustix::process::getgid().as_raw()),
        file_mask: settings.fmask.unwrap_or(settings.umask),
        directory_mask: settings.dmask.unwrap_or(settings.umask),
    };
    MountConfig {
        fs: FsConfig {
            owner,
            cache_timeout: settings.cache_timeout,
            cache_size: settings.cache_size,
            readahead: settings.readahead,
            staging: StagingConfig {
                directory: settings.staging_dir.unwrap_or_else(default_staging_dir),
            },
            upload: settings.upload,
            strict: settings.strict,
            read_only: settings.read_only,
            mount_id: mount_id(&identity),
        },
        login: LoginConfig {
            host: source.host,
            port: source.port,
            user: login.user,
            password: login.password,
            family: settings.family,
            connect_timeout: settings.connect_timeout,
            timeout: settings.timeout,
        },
        remote_path: source.path,
        pool: PoolConfig {
            max_connections: settings.max_conns as usize,
            idle: IDLE,
            last_idle: LAST_IDLE,
            patience: settings.connect_timeout,
            hard: settings.hard,
        },
        session: SessionConfig {
            mountpoint,
            source: shown,
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
    }
}

/// A password will cross the network as clear text, and nobody has said that this is meant.
pub(super) fn warns_of_clear_text(source: &Source, settings: &Settings, login: &Login) -> bool {
    settings.tls == Tls::Auto && !login.anonymous && !is_loopback(&source.host)
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
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
        21 => String::new(),
        port => format!(":{port}"),
    };
    format!(
        "ftp://{user}{host}{port}/{}",
        percent_encode(&source.path, ENCODED)
    )
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

/// The user's cache directory, else a folder in /var/tmp. Not where memory plays the disk: a large
/// file would fill the memory.
fn default_staging_dir() -> PathBuf {
    let variable = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let cache = variable("XDG_CACHE_HOME").or_else(|| {
        let home = env::home_dir().filter(|home| home.is_absolute() && home.as_os_str() != "/");
        home.map(|home| home.join(".cache"))
    });
    match cache {
        Some(cache) if !is_in_memory(&cache) => cache.join("ftpfs"),
        _ => Path::new("/var/tmp").join(format!("ftpfs-{}", rustix::process::geteuid().as_raw())),
    }
}

/// Whether the file system of `path`, or of its nearest ancestor that exists, is a tmpfs or ramfs.
fn is_in_memory(path: &Path) -> bool {
    /// `TMPFS_MAGIC` and `RAMFS_MAGIC` of statfs(2).
    const MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58f6];
    let kind = path
        .ancestors()
        .find_map(|folder| rustix::fs::statfs(folder).ok());
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a signed or unsigned word of 32 or 64 bits, depending on the machine; 32 count"
    )]
    kind.is_some_and(|kind| MEMORY.contains(&(kind.f_type as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::Secret;

    fn shown(url: &str, user: &str, anonymous: bool) -> String {
        let login = Login {
            user: user.into(),
            password: Secret::new("pw"),
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
    fn clear_text_warnings() {
        for (host, expected) in [
            ("h", true),
            ("localhost", false),
            ("127.0.0.2", false),
            ("[::1]", false),
        ] {
            let source = Source::parse(host.as_bytes()).unwrap();
            let login = Login {
                user: "u".into(),
                password: Secret::new("p"),
                anonymous: false,
            };
            let settings = Settings::with_defaults().unwrap();
            assert_eq!(
                warns_of_clear_text(&source, &settings, &login),
                expected,
                "{host}"
            );
            let off = Settings {
                tls: Tls::Off,
                ..settings
            };
            assert!(!warns_of_clear_text(&source, &off, &login));
        }
    }

    #[test]
    fn memory_is_no_staging_disk() {
        assert!(is_in_memory(Path::new("/dev/shm/nonexistent/x")));
        assert!(!is_in_memory(Path::new("/proc")));
    }
}
