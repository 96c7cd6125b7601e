//! Option names of other programs: curlftpfs, sshfs, FUSE, rclone and, for logins, cifs. What one promised is kept, or it is refused.
//!
//! The table of the README is this one. Whatever tells of a name stands in [`ROWS`], whatever reads a value
//! in `borrowed`.

mod borrowed;

use super::settings::Settings;
use super::table;
use super::value::Value;

/// Reads the value of an option that is like none of ours.
pub(super) type Reader = fn(&mut Settings, Value<'_>) -> Result<(), String>;

/// What becomes of an option here.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "told by the README, which a test compares")
)]
pub(super) enum Fate {
    /// The same as this option of ours.
    Is(&'static str),
    /// As if this option of ours had been given this value.
    Gives(&'static str, &'static str),
    /// Read in its own way, which is told behind it.
    Read(Reader, &'static str),
    /// Nothing is to be done, for this reason.
    Accepted(&'static str),
    /// It promised what is not done here: why, or what does it.
    Refused(&'static str),
}

/// Options with one fate.
pub(super) struct Foreign {
    /// The program that they come from.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "told by the README, which a test compares")
    )]
    pub(super) of: &'static str,
    /// With `_` between words; one letter is a short option.
    pub(super) names: &'static [&'static str],
    /// Whether a value belongs to it; else it is a switch.
    pub(super) takes_value: bool,
    pub(super) fate: Fate,
}

impl Foreign {
    /// Does what the option means here.
    ///
    /// # Errors
    /// A value that cannot be read or cannot be had, or why the option is refused. Of a refused one no value is shown.
    pub(super) fn apply(
        &self,
        settings: &mut Settings,
        name: &str,
        value: Option<&[u8]>,
    ) -> Result<(), String> {
        let switched_off = !self.takes_value && value.is_some_and(|v| Value(v).yes() == Ok(false));
        match self.fate {
            Fate::Refused(_) if switched_off => Ok(()),
            Fate::Refused(why) => Err(format!("option {name}: {why}")),
            Fate::Accepted(_) => Ok(()),
            Fate::Gives(..) if switched_off => Ok(()),
            Fate::Gives(ours, value) => settings.set(ours, Some(value.as_bytes())),
            Fate::Is(ours) => settings.set_as(name, ours, value),
            Fate::Read(read, _) => {
                let value = match value {
                    Some(value) => value,
                    None if self.takes_value => {
                        return Err(format!("option {name} needs a value"));
                    }
                    None => b"yes",
                };
                read(settings, Value(value)).map_err(|e| format!("option {name}: {e}"))
            }
        }
    }
}

/// The row of an option, with `-` or `_`.
pub(super) fn find(name: &str) -> Option<&'static Foreign> {
    let name = name.replace('-', "_");
    let by = |fits: fn(&str, &str) -> bool| {
        ROWS.iter()
            .find(|row| row.names.iter().any(|known| fits(known, &name)))
    };
    // Another program may have the same name in small letters.
    by(|known, name| known == name).or_else(|| by(is_of_ssh))
}

/// Whether `name` is this option of ssh_config(5). Their names have capitals, and may be typed without.
fn is_of_ssh(known: &str, name: &str) -> bool {
    let has_capitals = known.len() > 1 && known.contains(|c: char| c.is_ascii_uppercase());
    has_capitals && known.eq_ignore_ascii_case(name)
}

/// The name in our table of what a name stands for; itself, if nobody knows it.
pub(super) fn ours(name: &str) -> &str {
    let name = match find(name).map(|row| &row.fate) {
        Some(Fate::Is(ours)) => ours,
        _ => name,
    };
    table::find(name).map_or(name, |spec| spec.name)
}

/// Names that work here, without single letters.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter()
        .filter(|row| !matches!(row.fate, Fate::Refused(_)))
        .flat_map(|row| row.names.iter().copied())
        .filter(|name| name.len() > 1)
}

const CURLFTPFS: &str = "curlftpfs";
const SSHFS: &str = "sshfs";
const FUSE: &str = "FUSE";
const RCLONE: &str = "rclone";
const CIFS: &str = "cifs";

macro_rules! rows {
    ($($of:ident $kind:ident [$($name:literal),+] => $fate:ident($($told:expr),+);)+) => {
        &[$(Foreign {
            of: $of,
            names: &[$($name),+],
            takes_value: rows!(@$kind),
            fate: Fate::$fate($($told),+),
        }),+]
    };
    (@switch) => { false };
    (@value) => { true };
}

/// All of them, in the order of the README.
#[rustfmt::skip]
pub(super) const ROWS: &[Foreign] = rows! {
    CURLFTPFS value ["cache"] => Read(borrowed::cache, "`cache=no` is `cache_timeout=0`");
    CURLFTPFS value ["cache_stat_timeout", "cache_dir_timeout", "cache_link_timeout"] => Is("cache_timeout");
    CURLFTPFS value ["iocharset"] => Read(borrowed::utf8_here, "`utf8` alone: names are UTF-8 on this machine (`codepage` is for the server)");
    CURLFTPFS switch ["utf8"] => Accepted("always so, unless `codepage` is given");
    CURLFTPFS value ["custom_list"] => Read(borrowed::list_command, "`LIST` and `LIST -a` alone: how to list is found out");
    CURLFTPFS switch ["disable_epsv", "enable_epsv", "disable_eprt"] => Accepted("found out");
    CURLFTPFS value ["ftp_method"] => Accepted("found out");
    CURLFTPFS switch ["tcp_nodelay"] => Accepted("always so");
    CURLFTPFS switch ["skip_pasv_ip"] => Gives("pasv_ip", "ignore");
    CURLFTPFS switch ["ssl", "ssl_control"] => Gives("tls", "require");
    CURLFTPFS switch ["ssl_try"] => Gives("tls", "auto");
    CURLFTPFS switch ["tlsv1"] => Accepted("TLS 1.2 and 1.3 alone");
    CURLFTPFS switch ["sslv2", "sslv3"] => Refused("SSL has been broken; TLS 1.2 and 1.3 are used (tls=require)");
    CURLFTPFS value ["ciphers"] => Refused("the ciphers of TLS 1.2 and 1.3 that are safe are used, and no others");
    CURLFTPFS value ["engine"] => Refused("keys are read from files alone (key=FILE)");
    CURLFTPFS value ["krb4"] => Refused("Kerberos is not spoken; TLS protects the login (tls=require)");
    CURLFTPFS value ["capath"] => Refused("the issuers stand in one file here: cacert=FILE");
    CURLFTPFS value ["cert_type", "key_type"] => Read(borrowed::pem, "`PEM` alone");
    CURLFTPFS value ["pass"] => Refused("a key with a passphrase cannot be read, write one without by: openssl pkey -in KEY -out NEW; the password of the login is told by passfile=FILE or user=NAME:PASSWORD");
    CURLFTPFS switch ["no_verify_hostname"] => Refused("cert_sha256=HEX trusts one certificate, whatever its name");
    CURLFTPFS value ["proxy_user"] => Refused("user and password stand in the proxy's address: proxy=http://USER:PASSWORD@HOST:PORT");
    CURLFTPFS switch ["httpproxy", "socks5"] => Refused("what the proxy is stands in its address: proxy=http://HOST:PORT or proxy=socks5://HOST:PORT");
    CURLFTPFS switch ["socks4"] => Refused("SOCKS 4 is not spoken; most such proxies speak proxy=socks5://HOST:PORT too");
    CURLFTPFS switch ["proxytunnel", "proxy_basic", "proxy_anyauth"] => Accepted("always so, with `proxy=http://…`");
    CURLFTPFS switch ["proxy_digest", "proxy_ntlm"] => Refused("a proxy gets user and password by the Basic scheme alone");
    CURLFTPFS value ["ftpfs_debug"] => Read(borrowed::debug_level, "`verbose`, unless 0");
    CURLFTPFS switch ["nomulticonn"] => Gives("max_conns", "1");

    SSHFS switch ["reconnect"] => Accepted("always so");
    SSHFS value ["Port"] => Is("port");
    SSHFS value ["ConnectTimeout"] => Is("connect_timeout");
    SSHFS value ["ServerAliveInterval", "ServerAliveCountMax"] => Accepted("a connection that died is noticed, and made anew");
    SSHFS value ["dir_cache"] => Read(borrowed::cache, "`dir_cache=no` is `cache_timeout=0`");
    SSHFS value ["dcache_timeout", "dcache_stat_timeout", "dcache_dir_timeout", "dcache_link_timeout"] => Is("cache_timeout");
    SSHFS value ["dcache_max_size", "dcache_clean_interval", "dcache_min_clean_interval", "workaround"] => Accepted("found out, and bounded");
    SSHFS switch ["contain_symlinks"] => Accepted("always so");
    SSHFS switch ["no_contain_symlinks"] => Refused("a target outside the mounted folder is not given to programs; follow_symlinks shows links as what they lead to");
    SSHFS value ["idmap"] => Read(borrowed::idmap, "`user` and `none`: FTP tells no owners, all is yours (or `uid`, `gid`)");
    SSHFS value ["uidfile", "gidfile", "nomap"] => Refused("FTP tells no owners; uid=N and gid=N name one for all files");
    SSHFS switch ["no_readahead"] => Gives("readahead", "0");
    SSHFS switch ["sync_readdir", "sshfs_sync", "disable_hardlink", "no_check_root"] => Accepted("makes no difference");
    SSHFS switch ["sshfs_debug"] => Is("verbose");
    SSHFS switch ["passive"] => Read(borrowed::passive, "data connections are opened from here, as usual: `active=no`");
    SSHFS value ["Compression"] => Read(borrowed::compression, "`no` alone: FTP has no compression that servers know");
    SSHFS value ["IdentityFile", "StrictHostKeyChecking", "UserKnownHostsFile", "Cipher", "Ciphers", "ssh_command", "sftp_server", "F"] => Refused("that is about SSH, which is not spoken here (ftpfs --help lists what there is)");
    SSHFS value ["ProxyJump", "ProxyCommand"] => Refused("ssh -D 1080 HOST and proxy=socks5://localhost:1080 do it");
    SSHFS switch ["C"] => Refused("FTP has no compression that servers know");

    FUSE switch ["s", "big_writes", "async_read", "sync_read", "atomic_o_trunc", "clone_fd", "hard_remove", "intr",
        "large_read", "use_ino", "readdir_ino", "noforget", "nopath", "no_remote_lock", "no_remote_flock",
        "no_remote_posix_lock", "splice_read", "splice_write", "splice_move", "no_splice_read", "no_splice_write",
        "no_splice_move"] => Accepted("decided for you");
    FUSE value ["intr_signal", "remember", "max_read", "max_write", "max_readahead", "max_background", "max_threads",
        "max_idle_threads", "congestion_threshold"] => Accepted("decided for you");
    FUSE switch ["direct_io", "kernel_cache", "auto_cache", "noauto_cache"] => Accepted("each open checks whether what is cached is still the server's");
    FUSE value ["entry_timeout", "attr_timeout", "negative_timeout", "ac_attr_timeout"] => Accepted("follow `cache_timeout`");
    FUSE value ["fsname", "subtype"] => Accepted("a mount is shown by its address, as `fuse.ftpfs`");
    FUSE switch ["auto_unmount"] => Accepted("so it is, unless ftpfs is killed; then the next mount says what to do");
    FUSE value ["modules"] => Read(borrowed::modules, "`iconv` alone; a folder on the server stands in the address");
    FUSE value ["subdir"] => Refused("the folder on the server stands in the address: ftp://HOST/FOLDER");
    FUSE value ["from_code"] => Is("codepage");
    FUSE value ["to_code"] => Read(borrowed::utf8_here, "UTF-8 alone");

    FUSE switch ["remount"] => Refused("what a mount is cannot be changed; unmount it and mount it again");
    FUSE switch ["nosymfollow"] => Refused("FUSE does not pass it on to the kernel; root adds it to a mount by: mount -o remount,bind,nosymfollow MOUNTPOINT");

    RCLONE switch ["allow_non_empty"] => Is("nonempty");
    RCLONE switch ["daemon"] => Read(borrowed::daemon, "always so; `--daemon=false` is `-f`");
    RCLONE value ["daemon_wait", "daemon_timeout", "poll_interval", "transfers", "checkers", "retries", "low_level_retries",
        "stats", "volname", "devname", "max_read_ahead", "syslog_facility"] => Accepted("decided for you");
    RCLONE switch ["links", "l", "syslog", "write_back_cache", "no_modtime", "no_seek", "no_checksum",
        "no_unicode_normalization", "noappledouble", "noapplexattr", "network_mode", "debug_fuse"] => Accepted("decided for you");
    RCLONE value ["dir_cache_time"] => Is("cache_timeout");
    RCLONE value ["contimeout"] => Is("connect_timeout");
    RCLONE value ["buffer_size"] => Read(borrowed::buffer_size, "`readahead`; a number alone is KiB");
    RCLONE value ["vfs_read_ahead"] => Read(borrowed::more_readahead, "`readahead`, if it is more; a number alone is KiB");
    RCLONE value ["vfs_cache_max_size"] => Read(borrowed::cache_limit, "`cache_size`, if it is less: contents are cached in memory, not on disk");
    RCLONE value ["cache_dir"] => Is("staging_dir");
    RCLONE value ["vfs_cache_mode", "vfs_write_back", "vfs_cache_max_age", "vfs_cache_poll_interval", "vfs_cache_min_free_space",
        "vfs_read_chunk_size", "vfs_read_chunk_size_limit", "vfs_read_chunk_streams", "vfs_read_wait", "vfs_write_wait",
        "vfs_disk_space_total_size", "vfs_metadata_extension"] => Accepted("every way of writing works always, and `close` waits for the server");
    RCLONE switch ["vfs_fast_fingerprint", "vfs_refresh", "vfs_used_is_size", "vfs_block_norm_dupes"] => Accepted("makes no difference");
    RCLONE switch ["vfs_case_insensitive", "mount_case_insensitive"] => Refused("names are those of the server, letter by letter");
    RCLONE value ["file_perms"] => Read(borrowed::file_perms, "`fmask`: permission bits that files have at most");
    RCLONE value ["dir_perms"] => Read(borrowed::dir_perms, "`dmask`: permission bits that folders have at most");
    RCLONE value ["log_level"] => Read(borrowed::log_level, "`DEBUG` and `INFO` are `verbose`, `ERROR` is `quiet`");
    RCLONE value ["bind"] => Is("interface");
    RCLONE value ["ca_cert"] => Is("cacert");
    RCLONE value ["client_cert"] => Is("cert");
    RCLONE value ["client_key"] => Is("key");
    RCLONE switch ["no_check_certificate", "ftp_no_check_certificate"] => Is("no_verify_peer");
    RCLONE value ["http_proxy", "ftp_http_proxy"] => Is("proxy");
    RCLONE value ["ftp_socks_proxy"] => Refused("type proxy=socks5://[USER:PASSWORD@]HOST:PORT");
    RCLONE value ["ftp_host"] => Refused("the server stands in the address: ftp://HOST/FOLDER");
    RCLONE value ["ftp_user"] => Is("user");
    RCLONE value ["ftp_pass"] => Refused("what rclone obscures is not read; passfile=FILE holds the password as it is");
    RCLONE switch ["ftp_explicit_tls"] => Gives("tls", "require");
    RCLONE switch ["ftp_tls"] => Refused("TLS from the first byte on stands in the address: ftps://HOST/FOLDER");
    RCLONE value ["ftp_concurrency"] => Read(borrowed::concurrency, "`max_conns`, unless 0");
    RCLONE switch ["ftp_ask_password", "ftp_disable_epsv", "ftp_disable_mlsd", "ftp_disable_utf8", "ftp_writing_mdtm",
        "ftp_force_list_hidden", "ftp_disable_tls13"] => Accepted("found out");
    RCLONE value ["ftp_idle_timeout", "ftp_close_timeout", "ftp_shut_timeout", "ftp_tls_cache_size", "ftp_encoding"] => Accepted("decided for you");
    RCLONE switch ["ftp_no_check_upload"] => Accepted("each upload is compared all the same");
    RCLONE switch ["ftp_allow_insecure_tls_ciphers"] => Refused("the ciphers of TLS 1.2 and 1.3 that are safe are used, and no others");
    RCLONE value ["bwlimit", "tpslimit"] => Refused("the rate is not limited; tc(8) can do it for a network interface");
    RCLONE value ["include", "exclude", "filter", "filter_from", "include_from", "exclude_from", "max_size", "min_size",
        "max_age", "min_age"] => Refused("all files of the folder are shown");
    RCLONE value ["config", "password_command"] => Refused("there is no configuration file here: the address says all, and passcommand=COMMAND tells the password");

    CIFS value ["password", "passwd"] => Refused("type passfile=FILE, whose first line is the password, or user=NAME:PASSWORD");
    CIFS value ["credentials", "cred"] => Refused("type username=NAME and passfile=FILE, whose first line is the password alone");
};

#[cfg(test)]
mod tests;
