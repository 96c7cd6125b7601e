//! A server brand with its served folder and the mounts that cases share.

use std::collections::HashMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::case::Case;
use crate::check::OrFail;
use crate::facts::Facts;
use crate::harness::reason;
use crate::place::give;
use crate::support::mounted::Mounted;
use crate::support::server::Server;

type Options = &'static [&'static str];

/// What serves the files.
enum Source {
    Local(TempDir),
    Server(Server),
}

/// A running server, or a local folder in its place.
pub(crate) struct Site {
    source: Source,
    shared: Mutex<HashMap<Options, Arc<Mounted>>>,
    retired: Mutex<Vec<Arc<Mounted>>>,
}

impl Site {
    fn from(source: Source) -> Self {
        Self {
            source,
            shared: Mutex::new(HashMap::new()),
            retired: Mutex::new(Vec::new()),
        }
    }

    /// A server that a case has started for itself.
    pub(crate) fn of(server: Server) -> Self {
        Self::from(Source::Server(server))
    }

    fn open(facts: &Facts, seeds: &[(String, Case)]) -> Self {
        let source = match facts.brand {
            Some(brand) => Source::Server(Server::start(brand)),
            None => {
                let dir = tempfile::Builder::new()
                    .prefix("ftpfs-local")
                    .tempdir()
                    .or_fail("make a folder");
                Source::Local(dir)
            }
        };
        let site = Self::from(source);
        for (folder, case) in seeds {
            if let Some(seed) = case.seed {
                let folder = site.root().join(folder);
                fs::create_dir(&folder).or_fail("make a seeded folder");
                seed(&folder);
                give(&folder, site.root());
            }
        }
        site
    }

    /// The URL with password; none for a local folder.
    pub(crate) fn url(&self) -> Option<&str> {
        match &self.source {
            Source::Local(_) => None,
            Source::Server(server) => Some(&server.url),
        }
    }

    /// The server.
    pub(crate) fn server(&self) -> &Server {
        match &self.source {
            Source::Local(_) => panic!("a case for mounts only"),
            Source::Server(server) => server,
        }
    }

    /// The served folder on disk.
    pub(crate) fn root(&self) -> &Path {
        match &self.source {
            Source::Local(dir) => dir.path(),
            Source::Server(server) => &server.root,
        }
    }

    /// The mount that all cases with these options share, made when it is first needed; for a local
    /// folder none.
    pub(crate) fn shared(&self, options: Options) -> Option<Arc<Mounted>> {
        let url = self.url()?;
        let mut shared = self.shared.lock().unwrap();
        let mount = shared
            .entry(options)
            .or_insert_with(|| Arc::new(Mounted::new(url, options)));
        Some(Arc::clone(mount))
    }

    /// Takes a mount that does not answer away from the cases to come.
    pub(crate) fn retire(&self, stuck: &Arc<Mounted>) {
        self.shared
            .lock()
            .unwrap()
            .retain(|_, mount| !Arc::ptr_eq(mount, stuck));
        self.retired.lock().unwrap().push(Arc::clone(stuck));
    }

    /// Unmounts what the cases shared, and gives what went wrong with that.
    fn finish(&self) -> Vec<String> {
        for stuck in self.retired.lock().unwrap().iter() {
            end_mount(stuck.path(), stuck.pid());
        }
        let mounts = std::mem::take(&mut *self.shared.lock().unwrap());
        let mut problems = Vec::new();
        for (options, mount) in mounts {
            let mut problem = |text: String| problems.push(format!("mount {options:?}: {text}"));
            let log = mount.log();
            if let Some(line) = log.lines().find(|line| line.contains("panicked")) {
                problem(format!("its log has: {line}"));
            }
            let Some(mount) = Arc::into_inner(mount) else {
                problem("a case still holds it".to_owned());
                continue;
            };
            match catch_unwind(AssertUnwindSafe(|| mount.unmount())) {
                Ok(Some(0)) => {}
                Ok(code) => problem(format!("expected exit code 0, found {code:?}")),
                Err(panic) => problem(reason(panic.as_ref())),
            }
        }
        problems
    }
}

/// A site that is opened by the first case that needs it.
pub(crate) struct Sites {
    /// What the brand can do.
    pub(crate) facts: &'static Facts,
    seeds: Vec<(String, Case)>,
    site: OnceLock<Result<Arc<Site>, String>>,
}

impl Sites {
    /// A site that will hold these folders.
    pub(crate) fn new(facts: &'static Facts, seeds: Vec<(String, Case)>) -> Self {
        Self {
            facts,
            seeds,
            site: OnceLock::new(),
        }
    }

    /// The site, or why there is none.
    pub(crate) fn get(&self) -> Result<Arc<Site>, String> {
        self.site
            .get_or_init(|| {
                catch_unwind(|| Arc::new(Site::open(self.facts, &self.seeds)))
                    .map_err(|panic| format!("{}: {}", self.facts.name(), reason(panic.as_ref())))
            })
            .clone()
    }

    /// Ends it, if it was opened, and gives what went wrong with that.
    pub(crate) fn finish(&self) -> Vec<String> {
        match self.site.get() {
            Some(Ok(site)) => site
                .finish()
                .into_iter()
                .map(|text| format!("{}: {text}", self.facts.name()))
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// Ends a mount without asking it.
pub(crate) fn end_mount(path: &Path, pid: u32) {
    let unmounted = Command::new("umount")
        .arg("-l")
        .arg(path)
        .stderr(Stdio::null())
        .status();
    if let Err(error) = unmounted {
        eprintln!("umount -l {}: {error}", path.display());
    }
    // It may have ended with the mount.
    _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
}

/// Where a case works below the served folder.
pub(crate) fn folder_name(topic: &str, case: &Case, options: &[&str]) -> PathBuf {
    let mut name = format!("{topic}-{}", case.name);
    for option in options {
        name.push('+');
        name.push_str(option);
    }
    PathBuf::from(name)
}
