//! Where user and password come from, in order.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::netrc;
use super::prompt;
use super::settings::Settings;
use crate::ftp::{Secret, printable};
use crate::mount::{Failure, Status};
use crate::shell;

/// More than any password has; a file that is longer was named by mistake.
const LONGEST_PASSWORD: u64 = 4096;

/// A password manager may ask its owner first.
const PATIENCE_WITH_COMMAND: Duration = Duration::from_secs(120);

/// More than any `.netrc` has.
const LONGEST_NETRC: u64 = 1 << 20;

/// Whom to log in as.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) user: Vec<u8>,
    pub(super) password: Secret,
    /// For ACCT.
    pub(super) account: Option<Secret>,
    /// Nobody named a user: the password is no secret.
    pub(super) anonymous: bool,
}

/// What the source itself says.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) host: String,
    pub(super) user: Option<Vec<u8>>,
    pub(super) password: Option<Vec<u8>>,
}

/// Finds user and password. The first that has one wins: `user=NAME:PASSWORD`, the source, passfile,
/// passcommand, standard input, `FTPFS_PASSWORD`, a credential of systemd, netrc, the prompt. Nobody named: netrc, else anonymous.
///
/// # Errors
/// A file that cannot be read or that others can read, no password to be had, an interrupted prompt.
pub(super) fn find(mut named: Named, settings: &Settings) -> Result<Login, Failure> {
    if let Some(user) = &settings.user {
        let mut parts = user.splitn(2, |b| *b == b':');
        named.user = parts.next().map(<[u8]>::to_vec);
        let password = parts.next().map(<[u8]>::to_vec);
        named.password = password.or(named.password);
    }
    let given = match named.password.take() {
        None => from_file_or_stdin(settings)?,
        given => given,
    };
    let mut login = match (named.user.clone(), given) {
        (Some(user), Some(password)) => login(user, password),
        (None, Some(password)) => {
            let entry = from_netrc(&named, settings)?.and_then(|entry| entry.user);
            let user = entry.ok_or_else(|| {
                Failure::usage(
                    "a password without a user: name it in the source, or add user=NAME (in fstab username=NAME)",
                )
            })?;
            login(user, password)
        }
        (Some(user), None) => {
            let password = match from_environment()? {
                Some(password) => password,
                None => from_netrc_or_prompt(&user, &named, settings)?,
            };
            login(user, password)
        }
        (None, None) => nobody_named(&named, settings)?,
    };
    login.account = settings.account.clone().or_else(|| {
        // Who has told the password in another way need not have a good netrc.
        let entry = from_netrc(&named, settings).ok().flatten();
        let fits = |entry: &netrc::Login| entry.user.as_ref().is_none_or(|u| *u == login.user);
        entry.filter(fits)?.account.map(Secret::new)
    });
    let account = login.account.as_ref().map_or(&[][..], Secret::expose);
    for (what, bytes) in [
        ("user", &login.user[..]),
        ("password", login.password.expose()),
        ("account", account),
    ] {
        if bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err(Failure::usage(format!(
                "the {what} holds a line break or a NUL, which FTP cannot carry"
            )));
        }
    }
    if login.user.is_empty() {
        return Err(Failure::usage("the name of the user is empty"));
    }
    Ok(login)
}

fn login(user: Vec<u8>, password: Vec<u8>) -> Login {
    let anonymous = matches!(&user[..], b"anonymous" | b"ftp");
    Login {
        user,
        password: Secret::new(password),
        account: None,
        anonymous,
    }
}

fn from_netrc_or_prompt(
    user: &[u8],
    named: &Named,
    settings: &Settings,
) -> Result<Vec<u8>, Failure> {
    let entry = from_netrc(named, settings)?;
    let lacks = if entry.is_none() { "entry" } else { "password" };
    match entry.and_then(|entry| entry.password) {
        Some(password) => Ok(password),
        None => ask(user, named, settings, lacks),
    }
}

/// Asks at the terminal. Where that fails, who named a netrc is told what it lacks.
fn ask(user: &[u8], named: &Named, settings: &Settings, lacks: &str) -> Result<Vec<u8>, Failure> {
    prompt::password(user, &named.host).map_err(|failure| match &settings.netrc {
        Some(path) if failure.status == Status::Usage => Failure::usage(format!(
            "{} has no {lacks} for '{}' on {}; {}",
            path.display(),
            shown(user),
            named.host,
            failure.message
        )),
        _ => failure,
    })
}

fn nobody_named(named: &Named, settings: &Settings) -> Result<Login, Failure> {
    let Some(entry) = from_netrc(named, settings)? else {
        return match &settings.netrc {
            // Who names a file wants a login from it, and no other in silence.
            Some(path) => Err(Failure::usage(format!(
                "{} has no entry for {}",
                path.display(),
                named.host
            ))),
            None => Ok(login(b"anonymous".to_vec(), b"anonymous@".to_vec())),
        };
    };
    match (entry.user, entry.password) {
        (Some(user), Some(password)) => Ok(login(user, password)),
        (Some(user), None) => {
            let password = match from_environment()? {
                Some(password) => password,
                None => ask(&user, named, settings, "password")?,
            };
            Ok(login(user, password))
        }
        (None, _) => Ok(login(b"anonymous".to_vec(), b"anonymous@".to_vec())),
    }
}

fn from_file_or_stdin(settings: &Settings) -> Result<Option<Vec<u8>>, Failure> {
    if let Some(path) = &settings.passfile {
        let file = File::open(path).map_err(|e| unreadable(path, &e))?;
        if others_can_read(&file) {
            log::warn!(
                "{} can be read by others; run: chmod 600 {}",
                path.display(),
                shell::path(path)
            );
        }
        return first_line(file).map(Some).map_err(|e| unreadable(path, &e));
    }
    if let Some(command) = &settings.passcommand {
        return from_command(command).map(Some);
    }
    if settings.password_stdin {
        return first_line(io::stdin().lock())
            .map(Some)
            .map_err(|e| Failure::usage(format!("no password on standard input: {e}")));
    }
    Ok(None)
}

/// `FTPFS_PASSWORD`, else what the service's unit has loaded: `LoadCredential=ftpfs.password:FILE` (systemd.exec(5)).
fn from_environment() -> Result<Option<Vec<u8>>, Failure> {
    if let Some(password) = env::var_os("FTPFS_PASSWORD") {
        return Ok(Some(password.into_vec()));
    }
    let Some(folder) = env::var_os("CREDENTIALS_DIRECTORY") else {
        return Ok(None);
    };
    let path = Path::new(&folder).join("ftpfs.password");
    match std::fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // Nothing else is made by systemd; a pipe could let us wait for ever.
        Ok(found) if !found.is_file() => {
            Err(unreadable(&path, &io::Error::other("not a regular file")))
        }
        _ => File::open(&path)
            .and_then(first_line)
            .map(Some)
            .map_err(|error| unreadable(&path, &error)),
    }
}

/// What a command of the user prints first, by the shell, as in every other program that has such an option. It may
/// ask at the terminal.
fn from_command(command: &OsStr) -> Result<Vec<u8>, Failure> {
    let failed = |why: String| Failure::usage(format!("passcommand: {why}"));
    let deadline = Instant::now() + PATIENCE_WITH_COMMAND;
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| failed(e.to_string()))?;
    let output = child.stdout.take();
    let (answer, answered) = mpsc::channel::<io::Result<Vec<u8>>>();
    let reader = move || {
        let line = output.map_or(Err(io::ErrorKind::BrokenPipe.into()), |mut output| {
            let line = first_line(&mut output)?;
            // What it has to say besides must not be its death (SIGPIPE).
            io::copy(&mut output, &mut io::sink())?;
            Ok(line)
        });
        // Who gave up waiting wants no answer.
        drop(answer.send(line));
    };
    let reading = thread::Builder::new().name("ftpfs-password".into());
    reading.spawn(reader).map_err(|e| failed(e.to_string()))?;
    let line = answered.recv_timeout(PATIENCE_WITH_COMMAND).ok();
    let ended = line.map(|line| (line, ended_before(&mut child, deadline)));
    let Some((line, Some(status))) = ended else {
        // Its end is not waited for: it may have left others behind.
        drop(child.kill());
        return Err(failed(format!(
            "it has not ended within {} s",
            PATIENCE_WITH_COMMAND.as_secs()
        )));
    };
    let status = status.map_err(|e| failed(e.to_string()))?;
    match line {
        _ if !status.success() => Err(failed(format!("it failed ({status})"))),
        Ok(line) => Ok(line),
        Err(error) => Err(failed(format!("no password printed: {error}"))),
    }
}

/// How it ended; `None` if it had not by then.
fn ended_before(child: &mut Child, deadline: Instant) -> Option<io::Result<ExitStatus>> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(Ok(status)),
            Err(error) => return Some(Err(error)),
            Ok(None) if Instant::now() >= deadline => return None,
            // It has closed its standard output: mostly there is nothing to wait for.
            Ok(None) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// The first line without its end, which is LF or CR LF.
fn first_line(input: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut input = input.take(LONGEST_PASSWORD + 1);
    let mut byte = [0];
    // One byte at a time: what stands behind the line on standard input is not ours.
    while input.read(&mut byte)? == 1 && byte[0] != b'\n' {
        bytes.push(byte[0]);
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    if bytes.len() as u64 > LONGEST_PASSWORD {
        return Err(io::Error::other(
            "the first line is too long for a password",
        ));
    }
    if bytes.is_empty() {
        return Err(io::Error::other("the first line is empty"));
    }
    Ok(bytes)
}

fn from_netrc(named: &Named, settings: &Settings) -> Result<Option<netrc::Login>, Failure> {
    let path = match &settings.netrc {
        Some(path) => path.clone(),
        None => match home_netrc() {
            Some(path) => path,
            None => return Ok(None),
        },
    };
    let mut text = Vec::new();
    let file = match File::open(&path) {
        Ok(file) => file,
        // Somebody who did not ask for it need not have one.
        Err(_) if settings.netrc.is_none() => return Ok(None),
        Err(error) => return Err(unreadable(&path, &error)),
    };
    let readable_by_others = others_can_read(&file);
    file.take(LONGEST_NETRC)
        .read_to_end(&mut text)
        .map_err(|e| unreadable(&path, &e))?;
    let entry = netrc::find(&text, &named.host, named.user.as_deref());
    let secret = entry.as_ref().is_some_and(|entry| {
        let known = entry.user.as_deref() == Some(b"anonymous");
        entry.account.is_some() || entry.password.is_some() && !known
    });
    if secret && readable_by_others {
        return Err(Failure::usage(format!(
            "{} holds a password and others can read it; run: chmod 600 {}",
            path.display(),
            shell::path(&path)
        )));
    }
    Ok(entry)
}

fn home_netrc() -> Option<PathBuf> {
    env::home_dir()
        .filter(|home| !home.as_os_str().is_empty())
        .map(|home| home.join(".netrc"))
}

fn others_can_read(file: &File) -> bool {
    file.metadata()
        .is_ok_and(|m| m.is_file() && m.mode() & 0o077 != 0)
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Status::Usage, format!("{}: {error}", path.display()))
}

/// A user for a message.
pub(super) fn shown(user: &[u8]) -> String {
    printable(user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    fn file(text: &[u8], mode: u32) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(mode))
            .unwrap();
        file
    }

    fn named(user: Option<&str>, password: Option<&str>) -> Named {
        Named {
            host: "h".into(),
            user: user.map(|u| u.as_bytes().to_vec()),
            password: password.map(|p| p.as_bytes().to_vec()),
        }
    }

    fn netrc(text: &[u8], mode: u32) -> (tempfile::NamedTempFile, Settings) {
        let file = file(text, mode);
        let netrc = Some(file.path().to_owned());
        (
            file,
            Settings {
                netrc,
                ..Settings::default()
            },
        )
    }

    fn pair(found: Result<Login, Failure>) -> Result<(String, String), String> {
        let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
        found
            .map(|l| (text(&l.user), text(l.password.expose())))
            .map_err(|f| f.message)
    }

    #[test]
    fn the_order() {
        let (_netrc, mut settings) = netrc(b"machine h login n password np", 0o600);
        let yes = |u: &str, p: &str| Ok((u.to_owned(), p.to_owned()));
        assert_eq!(pair(find(named(None, None), &settings)), yes("n", "np"));
        assert_eq!(
            pair(find(named(Some("n"), None), &settings)),
            yes("n", "np")
        );
        assert_eq!(
            pair(find(named(Some("u"), Some("p")), &settings)),
            yes("u", "p")
        );
        settings.user = Some(b"o:op:x".to_vec());
        assert_eq!(
            pair(find(named(Some("u"), Some("p")), &settings)),
            yes("o", "op:x")
        );
        settings.user = None;
        let passfile = file(b" raw \xc3\xa4 \r\nsecond", 0o600);
        settings.passfile = Some(passfile.path().to_owned());
        assert_eq!(
            pair(find(named(Some("u"), None), &settings)),
            yes("u", " raw ä ")
        );
        assert_eq!(
            pair(find(named(None, None), &settings)),
            yes("n", " raw ä ")
        );
        let (_nobody, nobody) = netrc(b"machine h", 0o644);
        assert_eq!(
            pair(find(named(None, None), &nobody)),
            yes("anonymous", "anonymous@")
        );
    }

    #[test]
    fn refusals() {
        let (_open, settings) = netrc(b"machine h login n password np", 0o640);
        let message = pair(find(named(None, None), &settings)).unwrap_err();
        assert!(
            message.contains("others can read it; run: chmod 600"),
            "{message}"
        );
        let (other, settings) = netrc(b"machine other login n password np", 0o644);
        let message = pair(find(named(None, None), &settings)).unwrap_err();
        let expected = format!("{} has no entry for h", other.path().display());
        assert_eq!(message, expected);

        let missing = Settings {
            passfile: Some("/nonexistent/p".into()),
            ..Settings::default()
        };
        let message = pair(find(named(Some("u"), None), &missing)).unwrap_err();
        assert!(message.starts_with("/nonexistent/p: "), "{message}");

        let empty = file(b"\n", 0o600);
        let (_netrc, mut settings) = netrc(b"", 0o600);
        settings.passfile = Some(empty.path().to_owned());
        assert!(
            pair(find(named(Some("u"), None), &settings))
                .unwrap_err()
                .contains("empty")
        );
        let pass = file(b"a\rb", 0o600);
        settings.passfile = Some(pass.path().to_owned());
        assert!(
            pair(find(named(Some("u"), None), &settings))
                .unwrap_err()
                .contains("line break")
        );
        assert!(
            pair(find(named(None, None), &settings))
                .unwrap_err()
                .contains("without a user")
        );
    }
}
