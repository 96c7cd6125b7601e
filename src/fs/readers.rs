//! What makes the targets of links harmless, by itself: for tests and fuzz targets.

use super::link::contained;
use crate::ftp::RemotePath;

/// What readlink shows for the link at `link` with this target, in a mount of `root`; `None` if the
/// target leaves the mount.
pub fn link_target(root: &RemotePath, link: &RemotePath, target: &[u8]) -> Option<Vec<u8>> {
    contained(root, link, target)
}
