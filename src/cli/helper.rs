//! Called by mount(8): `mount.ftpfs SOURCE DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]`, and its exit status.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::mount::{Failure, Status};

/// By which name the program was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    name: String,
}

impl Called {
    /// From the first argument. Only `curlftpfs` and what mount(8) calls are told from `ftpfs`.
    pub fn by(first: Option<&OsStr>) -> Self {
        let name = first.and_then(|path| Path::new(path).file_name()?.to_str());
        let known = |name: &&str| *name == "curlftpfs" || MOUNT_NAMES.contains(name);
        Self {
            name: name.filter(known).unwrap_or("ftpfs").to_owned(),
        }
    }

    /// What messages begin with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The exit status for `status`: its own number, or the bits that mount(8) knows.
    pub fn exit_code(&self, status: Status) -> u8 {
        if !self.is_helper() {
            return status.code();
        }
        match status {
            Status::Usage => 1,
            Status::System => 2,
            Status::Interrupted => 8,
            Status::Login | Status::Tls | Status::Network | Status::RemotePath => 32,
            Status::NotStored => 32,
        }
    }

    pub(super) fn is_helper(&self) -> bool {
        MOUNT_NAMES.contains(&self.name.as_str())
    }
}

/// The programs that mount(8) looks for in /sbin, for the types `ftpfs` and `fuse.ftpfs`.
const MOUNT_NAMES: [&str; 2] = ["mount.ftpfs", "mount.fuse.ftpfs"];

/// What mount(8) wants, as a command line of ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Without the program's name.
    pub(super) args: Vec<OsString>,
    /// `-f`: everything but the mount.
    pub(super) fake: bool,
    /// `-s`: words that nobody knows are passed over.
    pub(super) sloppy: bool,
    /// `-N`: the name space of mounts to be in.
    pub(super) namespace: Option<OsString>,
}

const USAGE: &str = "SOURCE DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]";

/// Reads the arguments behind the program's name.
///
/// # Errors
/// One line without any value.
pub(super) fn read(args: impl IntoIterator<Item = OsString>) -> Result<Request, String> {
    let usage = |what: &str| format!("{what}: mount.ftpfs {USAGE}");
    let mut request = Request {
        args: Vec::new(),
        fake: false,
        sloppy: false,
        namespace: None,
    };
    let mut places = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let letters = match arg.as_bytes() {
            // mount(8) has no long options for helpers.
            [b'-', b'-', ..] => return Err(usage("only short options")),
            [b'-', letters @ ..] if !letters.is_empty() => letters.to_vec(),
            _ => {
                places.push(arg);
                continue;
            }
        };
        for (at, letter) in letters.iter().enumerate() {
            match letter {
                b's' => request.sloppy = true,
                b'f' => request.fake = true,
                b'n' => {}
                b'v' => request.args.push("-v".into()),
                b'r' => request.args.push("-r".into()),
                b'w' => {}
                b'o' | b't' | b'N' => {
                    let rest = &letters[at + 1..];
                    let value = match rest.is_empty() {
                        true => args.next().ok_or_else(|| usage("a value is missing"))?,
                        false => OsStr::from_bytes(rest).to_owned(),
                    };
                    match letter {
                        b'o' => request.args.extend(["-o".into(), value]),
                        b'N' => request.namespace = Some(value),
                        // The type is the one that we were called for.
                        _ => {}
                    }
                    break;
                }
                b'h' => request.args.push("-h".into()),
                b'V' => request.args.push("-V".into()),
                _ => return Err(usage("unknown option")),
            }
        }
    }
    let is_text = request.args.iter().any(|arg| arg == "-h" || arg == "-V");
    if places.len() != 2 && !is_text {
        return Err(usage("a source and a folder are needed"));
    }
    request.args.push("--".into());
    request.args.extend(places);
    Ok(request)
}

/// Enters a name space of mounts: a process by number, or a file such as `/proc/1/ns/mnt`. To be called
/// before any other thread exists.
///
/// # Errors
/// What the system says.
pub(super) fn enter(namespace: &OsStr) -> Result<(), Failure> {
    let digits = namespace.as_bytes().iter().all(u8::is_ascii_digit);
    let is_process = digits && !namespace.is_empty();
    let path = match is_process {
        true => Path::new("/proc").join(namespace).join("ns/mnt"),
        false => namespace.into(),
    };
    let entered = File::open(&path).and_then(|file| {
        Ok(move_into_link_name_space(
            file.as_fd(),
            Some(LinkNameSpaceType::Mount),
        )?)
    });
    entered.map_err(|e| Failure::system(format!("{}: cannot mount there: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(name: &str) -> Called {
        Called::by(Some(OsStr::new(name)))
    }

    #[test]
    fn names() {
        for (first, name, helper) in [
            ("ftpfs", "ftpfs", false),
            ("/usr/bin/curlftpfs", "curlftpfs", false),
            ("/sbin/mount.ftpfs", "mount.ftpfs", true),
            ("mount.fuse.ftpfs", "mount.fuse.ftpfs", true),
            ("/tmp/mount.ftpfs.old", "ftpfs", false),
            ("", "ftpfs", false),
        ] {
            assert_eq!(called(first).name(), name);
            assert_eq!(called(first).is_helper(), helper, "{first}");
        }
        assert_eq!(Called::by(None).name(), "ftpfs");
    }

    #[test]
    fn exit_bits() {
        let (own, helper) = (called("ftpfs"), called("mount.ftpfs"));
        for (status, bits) in [
            (Status::Usage, 1),
            (Status::System, 2),
            (Status::Login, 32),
            (Status::Network, 32),
            (Status::Interrupted, 8),
        ] {
            assert_eq!(helper.exit_code(status), bits);
            assert_eq!(own.exit_code(status), status.code());
        }
    }

    #[test]
    fn arguments_of_mount() {
        let read = |line: &str| read(line.split(' ').map(OsString::from));
        let args = |line: &str| {
            let args = read(line).unwrap().args;
            args.join(OsStr::new(" ")).into_string().unwrap()
        };
        for (line, expected) in [
            ("src dir", "-- src dir"),
            ("src dir -o rw,_netdev", "-o rw,_netdev -- src dir"),
            ("src dir -n -orw -t fuse.ftpfs", "-o rw -- src dir"),
            ("-v src -o a -o b dir", "-v -o a -o b -- src dir"),
            ("src dir -sfnv -N 7", "-v -- src dir"),
            ("-V", "-V --"),
        ] {
            assert_eq!(args(line), expected, "{line}");
        }
        let all = read("src dir -sfN/proc/1/ns/mnt").unwrap();
        assert!(all.fake && all.sloppy);
        assert_eq!(all.namespace.unwrap(), "/proc/1/ns/mnt");
        for line in [
            "src",
            "src dir more",
            "src dir -o",
            "src dir -X",
            "src dir --user=u:pw",
        ] {
            let message = read(line).unwrap_err();
            assert!(
                message.contains(USAGE) && !message.contains("pw"),
                "{message}"
            );
        }
    }
}
