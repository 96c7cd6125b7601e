//! Where a case works.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::check::OrFail;
use crate::facts::Facts;
use crate::site::Site;
use crate::support::mounted::Mounted;

/// A folder that belongs to one case, seen from both ends.
pub(crate) struct Place {
    /// The folder as the mount shows it.
    pub(crate) here: PathBuf,
    /// The same folder on the server's disk.
    pub(crate) there: PathBuf,
    /// What the server can do.
    pub(crate) facts: &'static Facts,
    /// The server.
    pub(crate) site: Arc<Site>,
    /// The mount that the case shares with others.
    pub(crate) shared: Option<Arc<Mounted>>,
    /// Mounts that the case has made: what the harness ends when the case does not.
    pub(crate) own: Mutex<Vec<(PathBuf, u32)>>,
}

/// Another mount of the same server, which shares nothing with the first.
pub(crate) struct Look {
    /// The case's folder through it.
    pub(crate) here: PathBuf,
    /// The mount; none for a local folder.
    pub(crate) mount: Option<Mounted>,
}

impl Look {
    /// The mount, in cases that are for mounts only.
    #[track_caller]
    pub(crate) fn mounted(&self) -> &Mounted {
        self.mount.as_ref().expect("a case for mounts only")
    }
}

impl Place {
    /// A mount with these options besides the defaults. It has cached nothing yet.
    #[track_caller]
    pub(crate) fn mount(&self, options: &[&str]) -> Look {
        let Some(url) = self.site.url() else {
            return Look {
                here: self.here.clone(),
                mount: None,
            };
        };
        let mount = Mounted::new(url, options);
        self.own
            .lock()
            .unwrap()
            .push((mount.path().to_path_buf(), mount.pid()));
        Look {
            here: mount.path().join(self.there.file_name().unwrap()),
            mount: Some(mount),
        }
    }

    /// What somebody sees who has seen nothing before: what the server says.
    #[track_caller]
    pub(crate) fn fresh_look(&self) -> Look {
        self.mount(&[])
    }

    /// Gives what a case has put on the server's disk to the server's user.
    #[track_caller]
    pub(crate) fn give(&self, path: &Path) {
        give(path, self.site.root());
    }
}

/// Gives `path` and all below it to the owner of `model`, unless that is us.
#[track_caller]
pub(crate) fn give(path: &Path, model: &Path) {
    let owner = fs::metadata(model).or_fail("stat the served folder");
    if owner.uid() == nix::unistd::geteuid().as_raw() {
        return;
    }
    let mut paths = vec![path.to_path_buf()];
    while let Some(path) = paths.pop() {
        lchown(&path, Some(owner.uid()), Some(owner.gid()))
            .or_fail(&format!("chown {}", path.display()));
        if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            for entry in fs::read_dir(&path).or_fail("list") {
                paths.push(entry.or_fail("list").path());
            }
        }
    }
}
