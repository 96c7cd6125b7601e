//! Options of curlftpfs, sshfs and rclone, and what is nearest to a name that nobody knows.

use crate::run::Ftpfs;

/// Nobody listens here: a mount that gets this far fails with status 5.
const NOBODY: &str = "ftp://127.0.0.1:1/";

#[test]
fn options_of_others_are_understood() {
    for line in [
        &[
            "-s",
            "-o",
            "cache=yes,cache_timeout=60,utf8,ssl_try,tcp_nodelay,disable_epsv,transform_symlinks,connect_timeout=3,ftp_method=nocwd",
        ][..],
        &[
            "-o",
            "reconnect,ServerAliveInterval=15,serveralivecountmax=3,Compression=no,compression=no,dcache_timeout=20,idmap=user,max_conns=4,auto_cache,kernel_cache,allow_other",
        ],
        &[
            "--vfs-cache-mode=full",
            "--vfs-cache-max-size",
            "10G",
            "--dir-cache-time",
            "5m0s",
            "--read-only=true",
            "--allow-other",
            "--daemon",
            "--buffer-size",
            "16M",
            "--vfs-read-ahead",
            "128M",
            "--no-check-certificate",
            "--ftp-concurrency=4",
            "--ftp-idle-timeout",
            "1m",
            "--umask",
            "022",
            "--log-level",
            "ERROR",
        ],
        &["-o", "vfs_cache_mode=writes,dir-cache-time=1h"],
    ] {
        Ftpfs::new()
            .args(line)
            .mount(NOBODY)
            .fails(5, &["127.0.0.1:1"]);
    }
}

#[test]
fn what_they_promised_and_is_not_done_is_refused_with_the_reason() {
    for (line, parts) in [
        (
            &["-o", "sslv3"][..],
            &["option sslv3: SSL has been broken", "tls=require"][..],
        ),
        (
            &["-o", "krb4=private"],
            &["option krb4: Kerberos is not spoken"],
        ),
        (&["--bwlimit", "1M"], &["option bwlimit: the rate"]),
        (
            &["--ftp-pass", "s3cret"],
            &["option ftp_pass: ", "passfile=FILE"],
        ),
        (
            &["--dir-cache-time=soon"],
            &["option dir_cache_time: soon: not a time"],
        ),
        (&["-p", "0"], &["option port: 0: not a number from 1"]),
        (&["-p", "2"], &["port: 2 contradicts", "names port 1"]),
        (&["-C"], &["option C: FTP has no compression"]),
        (&["--compression=yes"], &["FTP has no compression"]),
        (
            &["-o", "identityfile=/k"],
            &["option identityfile: that is about SSH"],
        ),
        (&["--ciphers", "x"], &["option ciphers: the ciphers of TLS"]),
        (&["-o", "Ciphers=x"], &["that is about SSH"]),
        (
            &["-o", "pass=s3cret"],
            &["openssl pkey", "passfile=FILE or user=NAME:PASSWORD"],
        ),
        (
            &["-o", "password=s3cret"],
            &["option password: type passfile=FILE", "user=NAME:PASSWORD"],
        ),
        (
            &["-o", "credentials=/s3cret"],
            &["option credentials: type username=NAME and passfile=FILE"],
        ),
        (
            &["-o", "nosymfollow"],
            &["FUSE does not pass it on", "remount,bind,nosymfollow"],
        ),
    ] {
        let done = Ftpfs::new().args(line).mount(NOBODY).fails(1, parts);
        assert!(!done.stderr.contains("s3cret"), "{done:?}");
    }
}

#[test]
fn the_port_may_be_an_option() {
    for line in [
        &["-p", "1", "ftp://127.0.0.1/"][..],
        &["-o", "port=1", "127.0.0.1:dir"],
        &["--port=1", "ftps://127.0.0.1/"],
        &["-oPort=1", "curlftpfs#127.0.0.1/dir"],
    ] {
        let (source, options) = line.split_last().unwrap();
        Ftpfs::new()
            .args(options)
            .mount(source)
            .fails(5, &["127.0.0.1:1"]);
    }
}

#[test]
fn the_nearest_name_is_among_all_that_work() {
    for (line, hint) in [
        (&["-o", "cache_timout=3"][..], "did you mean cache_timeout?"),
        (&["-o", "_netdef"], "did you mean _netdev?"),
        (&["-o", "dcache_timout=3"], "did you mean dcache_timeout?"),
        (&["--vfs-cache-mod=full"], "did you mean --vfs-cache-mode?"),
        (&["--recovr"], "did you mean --recover?"),
        (&["--stat"], "did you mean --status?"),
        (&["--allow-others"], "did you mean --allow-other?"),
        (
            &["-o", "qwrtzp"],
            "unknown option qwrtzp (ftpfs --help lists all)",
        ),
    ] {
        Ftpfs::new().args(line).mount(NOBODY).fails(1, &[hint]);
    }
}
