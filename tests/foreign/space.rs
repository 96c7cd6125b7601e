//! Free space, which few servers tell.

use std::time::Duration;

use nix::sys::statvfs::statvfs;

use crate::folder::{FREE, folder, url};
use crate::support::mounted::Mounted;
use crate::support::poll;

#[test]
fn free_space_is_what_the_server_tells() {
    let (server, _) = folder(&["file"], &["AVBL"]);
    let mount = Mounted::new(&url(&server, ""), &[]);
    // It is asked for in the background.
    poll::until(Duration::from_secs(30), "the free space is known", || {
        let about = statvfs(mount.path()).unwrap();
        about.blocks_available() * about.fragment_size() == FREE
    });
    assert_eq!(mount.unmount(), Some(0));
    server.finish();
}
