//! Open files of a test that the programs of other tests do not get.

use nix::sched::{CloneFlags, unshare};

/// Gives the calling thread, and those that it starts from now on, a table of descriptors of their own.
///
/// Between fork and exec, a program that another thread starts has a copy of every descriptor of its
/// table, and exec closes the copies. On a mount each of these is a FLUSH at a moment that no test has
/// chosen: it stores what is half written, and waits as long as the server does.
///
/// # Panics
/// When the kernel has no memory for it.
pub fn keep_to_this_thread() {
    unshare(CloneFlags::CLONE_FILES).expect("a table of descriptors");
}
