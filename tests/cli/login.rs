//! Every way in which a password reaches the server. The folder does not exist, so that nothing is
//! mounted: status 6 says that the login succeeded.

use crate::ftp_server::FtpServer;
use crate::run::Ftpfs;

#[track_caller]
fn logs_in(user: &[u8], password: &[u8], prepare: impl FnOnce(Ftpfs, &FtpServer) -> Ftpfs) {
    let server = FtpServer::start(user, password);
    prepare(Ftpfs::new(), &server).fails(6, &["/nowhere"]);
    assert_eq!(server.told("USER"), [user]);
    assert_eq!(server.told("PASS"), [password]);
}

fn url(login: &str, server: &FtpServer) -> String {
    format!("ftp://{login}{}/nowhere", server.address())
}

#[test]
fn from_the_url() {
    logs_in(b"u@x", b"p/w: \xe4", |f, s| {
        f.mount(url("u%40x:p%2Fw:%20%E4@", s))
    });
}

#[test]
fn from_the_user_option() {
    logs_in(b"me", b"a:b,c", |f, s| {
        f.args(["-o", r"ro,user=me:a:b\,c,_netdev"])
            .mount(url("", s))
    });
    logs_in(b"me", b"pw", |f, s| {
        f.args(["--user", "me:pw"]).mount(url("you:other@", s))
    });
    logs_in(b"me", b"pw", |f, s| {
        f.args(["-o", "user,username=me:pw"])
            .mount(url("you:other@", s))
    });
    logs_in(b"me", b"pw", |f, s| {
        f.args(["--username", "me:pw"]).mount(url("", s))
    });
}

#[test]
fn from_a_file() {
    logs_in(b"u", b" r\xe4w,=\" ", |f, s| {
        let path = f.home.path().join("pass");
        f.file("pass", 0o600, b" r\xe4w,=\" \nsecond line\n")
            .args(["--passfile".as_ref(), path.as_os_str()])
            .mount(url("u@", s))
    });
}

#[test]
fn from_a_file_that_others_can_read_with_a_warning() {
    let server = FtpServer::start("u", "pw");
    let ftpfs = Ftpfs::new().file("pass", 0o644, b"pw\n");
    let option = format!("passfile={}", ftpfs.home.path().join("pass").display());
    let done = ftpfs
        .args(["-o", &option])
        .mount(url("u@", &server))
        .fails(6, &[]);
    assert!(done.stderr.contains("ftpfs: warning: "), "{done:?}");
    assert!(done.stderr.contains("chmod 600"), "{done:?}");
}

#[test]
fn from_a_command() {
    logs_in(b"u", b"from a, command", |f, s| {
        f.args([
            "-o",
            "passcommand=\"printf 'from a, %s\\n' command; echo more\"",
        ])
        .mount(url("u@", s))
    });
    logs_in(b"u", b"pw", |f, s| {
        f.args(["--passcommand", "echo pw | cat"])
            .mount(url("u@", s))
    });
    for (command, part) in [
        ("exit 3", "passcommand: it failed (exit status: 3)"),
        ("echo pw; exit 1", "passcommand: it failed"),
        ("true", "no password printed"),
    ] {
        Ftpfs::new()
            .args(["--passcommand", command])
            .mount("ftp://u@127.0.0.1:1/")
            .fails(1, &[part]);
    }
}

#[test]
fn from_standard_input() {
    logs_in(b"u", b"from stdin", |f, s| {
        f.input("from stdin\nrest")
            .args(["-o", "password_stdin"])
            .mount(url("u@", s))
    });
}

#[test]
fn from_the_environment() {
    logs_in(b"u", b"from env", |f, s| {
        f.env("FTPFS_PASSWORD", "from env").mount(url("u@", s))
    });
}

#[test]
fn from_a_credential_of_systemd() {
    let loaded = |f: Ftpfs, password: &[u8]| {
        let folder = f.home.path().join("credentials");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("other"), "x").unwrap();
        if !password.is_empty() {
            std::fs::write(folder.join("ftpfs.password"), password).unwrap();
        }
        let folder = folder.to_str().unwrap().to_owned();
        f.env("CREDENTIALS_DIRECTORY", &folder)
    };
    logs_in(b"u", b"from systemd", |f, s| {
        loaded(f, b"from systemd").mount(url("u@", s))
    });
    logs_in(b"u", b"from env", |f, s| {
        loaded(f, b"from systemd\n")
            .env("FTPFS_PASSWORD", "from env")
            .mount(url("u@", s))
    });
    let netrc = b"machine 127.0.0.1 login u password p\n";
    logs_in(b"u", b"p", |f, s| {
        loaded(f.file(".netrc", 0o600, netrc), b"").mount(url("u@", s))
    });
}

#[test]
fn from_netrc() {
    let netrc = b"machine other login x password y\nmachine 127.0.0.1 login n password \"n p\"\n";
    logs_in(b"n", b"n p", |f, s| {
        f.file(".netrc", 0o600, netrc).mount(url("", s))
    });
    logs_in(b"n", b"n p", |f, s| {
        f.file(".netrc", 0o600, netrc).mount(url("n@", s))
    });
    logs_in(b"n", b"n p", |f, s| {
        let path = f.home.path().join("my.netrc");
        f.file("my.netrc", 0o600, netrc)
            .args(["--netrc".as_ref(), path.as_os_str()])
            .mount(url("", s))
    });
    logs_in(b"n", b"p", |f, s| {
        f.file(".netrc", 0o600, b"machine 127.0.0.1 login n passwd p\n")
            .mount(url("", s))
    });
}

#[test]
fn anonymously_if_nobody_is_named() {
    logs_in(b"anonymous", b"anonymous@", |f, s| {
        f.env("FTPFS_PASSWORD", "for others").mount(url("", s))
    });
}

#[test]
fn refusals() {
    let netrc = b"machine h login n password s3cret\n";
    let done = Ftpfs::new()
        .file(".netrc", 0o640, netrc)
        .mount("ftp://h/")
        .fails(
            1,
            &[
                ".netrc holds a password and others can read it",
                "chmod 600",
            ],
        );
    assert!(!done.stderr.contains("s3cret"));
    Ftpfs::new().mount("ftp://u@127.0.0.1:1/").fails(
        1,
        &[
            "no password for 'u' on 127.0.0.1",
            "no terminal",
            "passfile=FILE",
        ],
    );
    Ftpfs::new()
        .args(["-o", "passfile=/nonexistent/p"])
        .mount("ftp://u@h/")
        .fails(1, &["/nonexistent/p", "No such file"]);
    Ftpfs::new()
        .args(["-o", "netrc=/nonexistent/n"])
        .mount("ftp://h/")
        .fails(1, &["/nonexistent/n", "No such file"]);
    for (source, netrc, part) in [
        ("ftp://h/", "machine i login u", "/n has no entry for h"),
        (
            "ftp://u@h/",
            "machine h login n",
            "/n has no entry for 'u' on h; no password for 'u'",
        ),
        (
            "ftp://u@h/",
            "machine h login u",
            "/n has no password for 'u' on h; ",
        ),
        (
            "ftp://h/",
            "machine h login u",
            "/n has no password for 'u'",
        ),
    ] {
        let ftpfs = Ftpfs::new().file("n", 0o600, netrc.as_bytes());
        let option = format!("netrc={}", ftpfs.home.path().join("n").display());
        ftpfs.args(["-o", &option]).mount(source).fails(1, &[part]);
    }
    Ftpfs::new()
        .args(["-o", "password_stdin"])
        .mount("ftp://u@h/")
        .fails(1, &["standard input", "empty"]);
    Ftpfs::new()
        .args(["-o", "password_stdin"])
        .input("x\n")
        .mount("ftp://127.0.0.1:1/")
        .fails(1, &["a password without a user", "username=NAME"]);
}
