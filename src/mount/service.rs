//! Telling the service manager how things stand (`sd_notify(3)`), in the foreground.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use sd_notify::NotifyState;

use super::MountConfig;
use crate::fs::FtpFs;
use crate::status::bytes;

/// How often it is told what is left while the mount ends.
const AGAIN: Duration = Duration::from_secs(1);

/// So long it is asked to wait each time. systemd kills what takes longer than `TimeoutStopSec`; the end of a mount
/// has its own bound.
const MORE_TIME: Duration = Duration::from_secs(30);

/// The mount can be used.
pub(super) fn ready(config: &MountConfig) {
    if listens(config) {
        let place = config.session.mountpoint.display();
        let status = format!("{} on {place}", config.session.source);
        tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }
}

/// Tells what is left to be stored, again and again until it is dropped.
#[derive(Debug)]
pub(super) struct Stopping {
    /// Dropped to end the thread.
    goes_on: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The mount is being taken away. `None` where nobody listens.
pub(super) fn stopping(config: &MountConfig, fs: &Arc<FtpFs>) -> Option<Stopping> {
    if !listens(config) {
        return None;
    }
    tell(&[NotifyState::Stopping]);
    let (goes_on, over) = bounded::<()>(0);
    let fs = Arc::clone(fs);
    let thread = std::thread::Builder::new()
        .name("ftpfs-service".into())
        .spawn(move || {
            loop {
                let left = fs.standing();
                let status = match left.count {
                    0 => "unmounting".to_owned(),
                    count => {
                        let bytes = bytes(left.bytes);
                        format!("unmounting; files to be stored: {count}, {bytes}")
                    }
                };
                let more = u32::try_from(MORE_TIME.as_micros()).unwrap_or(u32::MAX);
                tell(&[
                    NotifyState::Status(&status),
                    NotifyState::ExtendTimeoutUsec(more),
                ]);
                if over.recv_timeout(AGAIN) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
    Some(Stopping {
        goes_on: Some(goes_on),
        thread: thread.ok(),
    })
}

impl Drop for Stopping {
    fn drop(&mut self) {
        drop(self.goes_on.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it has been reported.
            thread.join().ok();
        }
    }
}

/// What could not be stored.
pub(super) fn stopped(config: &MountConfig, problem: &str) {
    if listens(config) {
        tell(&[NotifyState::Status(problem)]);
    }
}

/// In the background systemd would take the word of a process that is not the one it has started.
fn listens(config: &MountConfig) -> bool {
    config.foreground && std::env::var_os("NOTIFY_SOCKET").is_some()
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("the service manager cannot be told: {error}");
    }
}
