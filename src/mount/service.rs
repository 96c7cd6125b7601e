//! Telling the service manager how things stand (`sd_notify(3)`), in the foreground.

use sd_notify::NotifyState;

use super::MountConfig;
use crate::fs::Standing;
use crate::status::bytes;

/// The mount can be used.
pub(super) fn ready(config: &MountConfig) {
    let place = config.session.mountpoint.display();
    let status = format!("{} on {place}", config.session.source);
    tell(config, &[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The mount is being taken away, and `left` is still to be stored.
pub(super) fn stopping(config: &MountConfig, left: &Standing) {
    let status = match left.count {
        0 => "unmounting".to_owned(),
        count => format!(
            "unmounting; files to be stored: {count}, {}",
            bytes(left.bytes)
        ),
    };
    tell(
        config,
        &[NotifyState::Stopping, NotifyState::Status(&status)],
    );
}

/// What could not be stored; nothing if all is well.
pub(super) fn stopped(config: &MountConfig, problem: &str) {
    tell(config, &[NotifyState::Status(problem)]);
}

/// Nothing is said where nobody listens: without `NOTIFY_SOCKET`. In the background systemd would take the
/// word of a process that is not the one it has started.
fn tell(config: &MountConfig, states: &[NotifyState<'_>]) {
    if !config.foreground {
        return;
    }
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("the service manager cannot be told: {error}");
    }
}
