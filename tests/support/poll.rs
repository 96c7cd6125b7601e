//! Waiting for a condition, with a limit.

use std::thread;
use std::time::{Duration, Instant};

/// Calls `condition` until it is true or `limit` has passed; says which.
pub fn becomes_true(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until `condition` is true.
///
/// # Panics
/// After `limit`, naming `what` was waited for.
#[track_caller]
pub fn until(limit: Duration, what: &str, condition: impl FnMut() -> bool) {
    assert!(
        becomes_true(limit, condition),
        "waited {limit:?} in vain: {what}"
    );
}
