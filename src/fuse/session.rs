//! The life of a mount: made, served, taken away, and its data brought home.

use std::fmt;
use std::fs;
use std::mem;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fuser::Session;

use super::adapter::FuseAdapter;
use super::dispatch::Dispatch;
use super::forget::KernelCaches;
use super::handed;
use super::options::fuser_config;
use super::signals::{Event, Signals, Told};
use super::unmount::MountId;
use super::{MountError, SessionConfig};
use crate::fs::{DrainReport, FtpFs};
use crate::shell;
use crate::workers::Workers;

/// After a signal, open files keep us only while somebody still works with them: a shell that
/// stands in the directory does not.
const LINGER_IDLE: Duration = Duration::from_secs(5);

/// After a signal, open files keep us no longer than this: service managers kill after 90 s, and
/// the data needs time too.
const LINGER_MOST: Duration = Duration::from_secs(60);

/// How often a lingering mount is looked at.
const LINGER_TICK: Duration = Duration::from_millis(500);

/// A live mount.
pub struct Mounted {
    dispatch: Arc<Dispatch>,
    /// Reads end-of-file when the kernel has let go.
    ending: UnixStream,
    signals: Signals,
    /// Somebody has asked for the end when its other end is shut.
    asked: UnixStream,
    ender: Arc<UnixStream>,
    caches: Arc<KernelCaches>,
    mount: Option<MountId>,
    mountpoint: PathBuf,
    /// See [`SessionConfig::timeout`].
    patience: Duration,
}

impl fmt::Debug for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mounted")
            .field("mountpoint", &self.mountpoint)
            .field("mount", &self.mount)
            .finish_non_exhaustive()
    }
}

/// Why a mount has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Somebody unmounted it.
    Unmounted,
    /// This signal asked for it.
    Signal(&'static str),
    /// [`Ender::end`].
    Asked,
    /// The kernel or the system ended it without an unmount (an administrator's abort).
    Aborted,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unmounted => "unmounted",
            Self::Signal(name) => name,
            Self::Asked => "asked to end",
            Self::Aborted => "aborted",
        })
    }
}

/// Ends a mount as a first signal does. Asked again, or while the mount ends already, it does nothing: a
/// second signal would not wait for the last uploads.
#[derive(Debug, Clone)]
pub struct Ender(Arc<UnixStream>);

impl Ender {
    /// Does not wait for the end.
    pub fn end(&self) {
        // Fails only where it was done before.
        self.0.shutdown(Shutdown::Write).ok();
    }
}

/// How a mount has ended.
#[derive(Debug)]
pub struct Ended {
    /// Why.
    pub reason: EndReason,
    /// What became of the data under way; `None` if a second signal did not let us wait for it.
    pub drain: Option<DrainReport>,
}

/// Mounts `fs`. When this returns, the kernel has been told everything and its requests are served.
///
/// # Errors
/// Why there is no mount, with what to do about it.
pub fn mount(
    fs: Arc<FtpFs>,
    workers: Arc<Workers>,
    config: &SessionConfig,
) -> Result<Mounted, MountError> {
    let handed = handed::handed_over(&config.mountpoint);
    let mountpoint = match handed {
        Some(_) => config.mountpoint.clone(),
        None => check_mountpoint(&config.mountpoint)?,
    };

    let signals = Signals::new().map_err(MountError::Resources)?;
    let (alive, ending) = UnixStream::pair().map_err(MountError::Resources)?;
    let (ender, asked) = UnixStream::pair().map_err(MountError::Resources)?;
    let dispatch =
        Dispatch::new(fs, workers, &mountpoint, config).map_err(MountError::Resources)?;
    let dispatch = Arc::new(dispatch);
    let adapter = FuseAdapter::new(Arc::clone(&dispatch), config.codepage, alive);

    let options = fuser_config(config);
    let session = match handed {
        None => Session::new(adapter, &mountpoint, &options)
            .map_err(|error| MountError::of_fuser(&mountpoint, &error))?,
        Some(number) => handed::take(number)
            .and_then(|device| Session::from_fd(adapter, device, options.acl, options))
            .map_err(|error| MountError::HandedOver(mountpoint.clone(), error))?,
    };
    let mount = MountId::at(&mountpoint).unwrap_or_else(|error| {
        log::warn!("cannot read the table of mounts: {error}");
        None
    });
    let caches = KernelCaches::new(session.notifier(), Arc::clone(dispatch.fs()));
    let notifier = session.notifier();
    dispatch.fs().on_attributes_changed(move |ino| {
        // An offset below 0: attributes only, so that nothing in the kernel waits for pages.
        if let Err(error) = notifier.inval_inode(fuser::INodeNo(ino), -1, 0) {
            log::debug!("the kernel keeps old attributes of inode {ino}: {error}");
        }
    });
    let serving = session.spawn().map_err(MountError::Resources)?;
    // fuser 0.18 unmounts the path again when this is dropped, even if by then another mount
    // stands there; and without MNT_DETACH. We unmount ourselves, and know our mount when we see it.
    mem::forget(serving);
    Ok(Mounted {
        dispatch,
        ending,
        signals,
        asked,
        ender: Arc::new(ender),
        caches: Arc::new(caches),
        mount,
        mountpoint,
        patience: config.timeout,
    })
}

/// What fuser would not look at, or not tell in plain words.
fn check_mountpoint(mountpoint: &Path) -> Result<PathBuf, MountError> {
    let of = |error| MountError::of_mountpoint(mountpoint, error);
    // fuser would mount on a plain file too.
    if !fs::metadata(mountpoint).map_err(of)?.is_dir() {
        return Err(MountError::NotADirectory(mountpoint.to_owned()));
    }
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .map_err(MountError::of_device)?;
    if fs::read_dir(mountpoint).is_ok_and(|mut entries| entries.next().is_some()) {
        log::warn!(
            "{} is not empty; what it holds is hidden while mounted",
            mountpoint.display()
        );
    }
    mountpoint.canonicalize().map_err(of)
}

impl Mounted {
    /// Serves until the mount is unmounted or SIGINT or SIGTERM comes, and then brings home what the
    /// server does not have yet. After a lazy unmount that is when the last file is closed.
    /// `hear` is told of what else happens, and must not wait. The signals must be blocked
    /// ([`block_signals`](super::block_signals)) in all threads.
    pub fn run(self, hear: &mut dyn FnMut(Told)) -> Ended {
        let asked = Some(self.asked.as_fd());
        let mut reason = match wait(&self.signals, &self.ending, asked, None, hear) {
            Event::End(signal) => EndReason::Signal(signal),
            Event::Asked => EndReason::Asked,
            _ => EndReason::Unmounted,
        };
        hear(Told::Ending);
        let mut hurry = false;
        if let EndReason::Signal(_) | EndReason::Asked = reason {
            log::info!("{reason}: unmounting {}", self.mountpoint.display());
            self.unmount();
            hurry = self.linger(hear);
        } else if self.mount.as_ref().is_some_and(MountId::is_dead) {
            // The connection is gone, the mount is not: all it can say is ENOTCONN.
            reason = EndReason::Aborted;
            self.unmount();
        }
        self.dispatch.close();
        let drain = if hurry { None } else { self.drain(hear) };
        Ended { reason, drain }
    }

    /// What the kernel remembers of it.
    pub fn caches(&self) -> Arc<KernelCaches> {
        Arc::clone(&self.caches)
    }

    /// For who may want it to end.
    pub fn ender(&self) -> Ender {
        Ender(Arc::clone(&self.ender))
    }

    fn unmount(&self) {
        let Some(mount) = &self.mount else {
            log::warn!(
                "{}: who has made the mount has to unmount it",
                self.mountpoint.display()
            );
            return;
        };
        if let Err(error) = mount.unmount() {
            let shown = self.mountpoint.display();
            let path = shell::path(&self.mountpoint);
            log::error!("cannot unmount {shown}: {error}; run: fusermount3 -u -z {path}");
        }
    }

    /// Waits for the end, a signal that ends, or the limit.
    fn wait(&self, limit: Option<Duration>, hear: &mut dyn FnMut(Told)) -> Event {
        wait(&self.signals, &self.ending, None, limit, hear)
    }

    /// After a signal: waits until the files that are open are closed, as long as that makes sense.
    /// True if a second signal came.
    fn linger(&self, hear: &mut dyn FnMut(Told)) -> bool {
        let begun = Instant::now();
        let mut last = (self.dispatch.activity().0, begun);
        loop {
            match self.wait(Some(LINGER_TICK), hear) {
                Event::Timeout => {}
                Event::End(_) => return true,
                _ => return false,
            }
            let now = Instant::now();
            let (requests, waiting) = self.dispatch.activity();
            if waiting || requests != last.0 {
                last = (requests, now);
            }
            if now - last.1 >= LINGER_IDLE || now - begun >= LINGER_MOST {
                log::warn!(
                    "files of {} are still open; they are cut off",
                    self.mountpoint.display()
                );
                return false;
            }
        }
    }

    /// Brings home what the server does not have; `None` if a signal came first.
    fn drain(&self, hear: &mut dyn FnMut(Told)) -> Option<DrainReport> {
        let fs = Arc::clone(self.dispatch.fs());
        let patience = self.patience;
        let drained = UnixStream::pair().and_then(|(alive, drained)| {
            let thread = std::thread::Builder::new()
                .name("ftpfs-drain".to_owned())
                .spawn(move || {
                    let _ends_with_the_thread = alive;
                    fs.drain(patience)
                })?;
            Ok((thread, drained))
        });
        let (thread, drained) = match drained {
            Ok(started) => started,
            Err(error) => {
                log::warn!("no thread for the last uploads ({error}); signals will not end them");
                return Some(self.dispatch.fs().drain(patience));
            }
        };
        match wait(&self.signals, &drained, None, None, hear) {
            Event::End(signal) => {
                log::warn!("{signal} again: not waiting for the last uploads");
                None
            }
            _ => thread.join().ok(),
        }
    }
}

fn wait(
    signals: &Signals,
    ending: &UnixStream,
    asked: Option<BorrowedFd<'_>>,
    limit: Option<Duration>,
    hear: &mut dyn FnMut(Told),
) -> Event {
    loop {
        match signals.wait(ending.as_fd(), asked, limit) {
            Ok(Event::Told(what)) => hear(what),
            Ok(event) => return event,
            Err(error) => {
                log::error!("cannot wait for signals: {error}");
                return Event::Ended;
            }
        }
    }
}
