//! Real FTP servers, started by `scripts/servers/<brand>` and stopped on drop.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A server program that `scripts/servers` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brand {
    /// No MLSD, coarse LIST times, no reasons in errors.
    Vsftpd,
    /// As Debian configures it: APPE and REST+STOR are refused with 451.
    Proftpd,
    /// REST+STOR cuts the file; listings end after 10,000 entries, with a 226 that says so; blanks at
    /// both ends of a new name are changed.
    PureFtpd,
    /// Names must be UTF-8: others are accepted and stored as something else.
    Pyftpdlib,
    /// libunftp: no pipelining, no SITE CHMOD, no MFMT, one error text for everything.
    Embedded,
    /// BSD ftpd: its home is not "/", a listing begins with `total`, EPSV and TYPE forget REST.
    Inetutils,
    /// For Node: REST+STOR destroys the file, early stops hang, unknown commands are refused late.
    FtpSrv,
}

impl Brand {
    /// Those that all cases work on; ftp-srv has tests of its own.
    pub const ALL: [Brand; 6] = [
        Brand::Vsftpd,
        Brand::Proftpd,
        Brand::PureFtpd,
        Brand::Pyftpdlib,
        Brand::Embedded,
        Brand::Inetutils,
    ];

    /// The name of its script.
    pub fn name(self) -> &'static str {
        match self {
            Brand::Vsftpd => "vsftpd",
            Brand::Proftpd => "proftpd",
            Brand::PureFtpd => "pure-ftpd",
            Brand::Pyftpdlib => "pyftpdlib",
            Brand::Embedded => "embedded",
            Brand::Inetutils => "inetutils",
            Brand::FtpSrv => "ftp-srv",
        }
    }

    /// Offers MLSD and MLST.
    pub fn has_mlsd(self) -> bool {
        !matches!(self, Brand::Vsftpd | Brand::Inetutils | Brand::FtpSrv)
    }

    /// Accepts SITE CHMOD.
    pub fn sets_modes(self) -> bool {
        self != Brand::Embedded
    }

    /// Tells the mode of a file, by UNIX.mode or in its LIST.
    pub fn tells_modes(self) -> bool {
        self != Brand::Embedded
    }

    /// Accepts MFMT, or MDTM with two arguments.
    pub fn sets_times(self) -> bool {
        !matches!(self, Brand::Embedded | Brand::Inetutils | Brand::FtpSrv)
    }

    /// Accepts APPE on an existing file (ProFTPD only with `FTPFS_APPEND`).
    pub fn appends(self) -> bool {
        self != Brand::Proftpd
    }

    /// `scripts/servers` can start it with TLS.
    pub fn encrypts(self) -> bool {
        !matches!(self, Brand::Embedded | Brand::Inetutils | Brand::FtpSrv)
    }

    /// Stores names with blanks at their ends as they are.
    pub fn keeps_blanks(self) -> bool {
        self != Brand::PureFtpd
    }

    /// Stores and lists names that are not UTF-8.
    pub fn has_byte_names(self) -> bool {
        !matches!(self, Brand::Pyftpdlib | Brand::Embedded | Brand::FtpSrv)
    }
}

impl fmt::Display for Brand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn chosen_or(otherwise: &[Brand]) -> Vec<Brand> {
    let Ok(list) = std::env::var("FTPFS_TEST_SERVERS") else {
        return otherwise.to_vec();
    };
    list.split([',', ' '])
        .filter(|name| !name.is_empty())
        .map(|name| {
            Brand::ALL
                .into_iter()
                .find(|brand| brand.name() == name)
                .unwrap_or_else(|| panic!("FTPFS_TEST_SERVERS: no server is called {name:?}"))
        })
        .collect()
}

/// The servers that every case runs on: vsftpd and ProFTPD; all with `FTPFS_TEST_ALL=1`; those that
/// `FTPFS_TEST_SERVERS` names (with commas or blanks) if it is set.
pub fn servers_under_test() -> Vec<Brand> {
    if std::env::var_os("FTPFS_TEST_ALL").is_some_and(|v| v != "0" && !v.is_empty()) {
        chosen_or(&Brand::ALL)
    } else {
        chosen_or(&[Brand::Vsftpd, Brand::Proftpd])
    }
}

/// `FTPFS_TEST_TLS=explicit` (or `implicit`): servers speak nothing but TLS.
pub fn is_over_tls() -> bool {
    std::env::var_os("FTPFS_TEST_TLS").is_some()
}

/// The certificate of all servers that speak TLS; it is its own issuer.
pub fn certificate() -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tmp.with_file_name("tls").join("cert.pem")
}

/// Arguments for a mount of `url`, if it encrypts.
pub fn trusting(url: &str) -> Vec<String> {
    match url.starts_with("ftp://") {
        true => Vec::new(),
        false => vec!["-o".into(), format!("cacert={}", certificate().display())],
    }
}

/// The servers that the short cases run on: all, or those that `FTPFS_TEST_SERVERS` names.
pub fn servers_for_smoke() -> Vec<Brand> {
    chosen_or(&Brand::ALL)
}

/// A running server with an empty folder of its own.
#[derive(Debug)]
pub struct Server {
    /// Which program it is.
    pub brand: Brand,
    /// Its address with user and password, `ftp://user:password@127.0.0.1:port/`.
    pub url: String,
    /// The folder that it serves, as the server's machine sees it.
    pub root: PathBuf,
    /// Its main process.
    pub pid: u32,
    /// Where its configuration and logs are.
    pub state: PathBuf,
}

impl Server {
    /// Starts one with the brand's defaults.
    ///
    /// # Panics
    /// When it cannot be installed or does not answer: a test never goes on without its server.
    pub fn start(brand: Brand) -> Server {
        Server::start_with(brand, &[])
    }

    /// Starts one with settings of `scripts/lib/server.sh`, such as `("FTPFS_MAX_CLIENTS", "2")`.
    pub fn start_with(brand: Brand, settings: &[(&str, &str)]) -> Server {
        let output = script(brand)
            .arg("start")
            .env("FTPFS_STOP_WITH", std::process::id().to_string())
            .envs(std::env::var_os("FTPFS_TEST_TLS").map(|how| ("FTPFS_TLS", how)))
            .envs(settings.iter().copied())
            .output()
            .expect("scripts/servers can be run");
        let said = text(&output);
        assert!(output.status.success(), "{brand} does not start:\n{said}");
        let value = |name: &str| {
            said.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .unwrap_or_else(|| panic!("{brand} start prints no {name}=:\n{said}"))
                .to_owned()
        };
        Server {
            brand,
            url: value("url"),
            root: value("root").into(),
            pid: value("pid").parse().expect("pid= is a number"),
            state: value("state").into(),
        }
    }

    /// Kills it with all its sessions, and starts it anew at the same address with its defaults.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn restart(&mut self) {
        let output = script(self.brand)
            .arg("restart")
            .arg(&self.state)
            .envs(std::env::var_os("FTPFS_TEST_TLS").map(|how| ("FTPFS_TLS", how)))
            .output();
        let output = output.expect("scripts/servers can be run");
        let said = text(&output);
        assert!(output.status.success(), "{} restarts:\n{said}", self.brand);
        let pid = said.lines().find_map(|line| line.strip_prefix("pid="));
        self.pid = pid
            .and_then(|pid| pid.parse().ok())
            .expect("pid= is a number");
    }

    /// Its main process and all that descend from it.
    pub fn family(&self) -> Vec<u32> {
        let mut parents = Vec::new();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid: Option<u32> = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent = stat
                .rsplit_once(") ")
                .and_then(|(_, rest)| rest.split(' ').nth(1));
            parents.extend(pid.zip(parent.and_then(|parent| parent.parse::<u32>().ok())));
        }
        let mut family = vec![self.pid];
        let mut at = 0;
        while let Some(parent) = family.get(at).copied() {
            family.extend(
                parents
                    .iter()
                    .filter(|(_, p)| *p == parent)
                    .map(|(pid, _)| *pid),
            );
            at += 1;
        }
        family
    }

    /// Sends a signal to all its processes.
    pub fn signal(&self, name: &str) {
        for pid in self.family() {
            // One may have ended meanwhile.
            drop(
                Command::new("kill")
                    .arg(format!("-{name}"))
                    .arg(pid.to_string())
                    .output(),
            );
        }
    }

    /// The address of a path below the served folder.
    pub fn url_of(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// User, password and port out of the address.
    fn parts(&self) -> (&str, &str, u16) {
        let (_, rest) = self.url.split_once("://").expect("an address");
        let (login, host) = rest.split_once('@').expect("a login in the address");
        let (user, password) = login.split_once(':').expect("a password in the address");
        let port = host.trim_end_matches('/').rsplit(':').next();
        (
            user,
            password,
            port.and_then(|p| p.parse().ok()).expect("a port"),
        )
    }

    /// The user who may log in.
    pub fn user(&self) -> &str {
        self.parts().0
    }

    /// That user's password: random, so a search for it in logs finds nothing else.
    pub fn password(&self) -> &str {
        self.parts().1
    }

    /// The control port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.parts().2
    }

    /// A path inside the served folder.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// Gives what the test has put into the served folder to the user whom the server serves, so that
    /// he may change it. Needed only where the tests run as root.
    pub fn hand_over(&self) {
        use std::os::unix::fs::MetadataExt as _;
        let owner = std::fs::metadata(&self.root).expect("the served folder");
        let chown = Command::new("chown")
            .arg("-hR")
            .arg(format!("{}:{}", owner.uid(), owner.gid()))
            .arg(&self.root)
            .status()
            .expect("chown can be run");
        assert!(chown.success(), "chown of {}", self.root.display());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stopped = script(self.brand).arg("stop").arg(&self.state).output();
        let failed = match stopped {
            Ok(output) if output.status.success() => return,
            Ok(output) => text(&output),
            Err(e) => e.to_string(),
        };
        assert!(
            std::thread::panicking(),
            "{} does not stop: {failed}",
            self.brand
        );
    }
}

fn script(brand: Brand) -> Command {
    Command::new(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("scripts/servers")
            .join(brand.name()),
    )
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
