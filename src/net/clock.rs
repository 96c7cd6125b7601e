//! The clock that goes on while a laptop sleeps.

use std::time::Duration;

/// Time since boot, sleep included (`CLOCK_BOOTTIME`): the age of a connection is what its server
/// and every NAT box between have seen pass, not what this machine was awake for.
pub fn boottime() -> Duration {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    // Sleep may not count there.
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(clock);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}
