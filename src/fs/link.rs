//! Targets of symbolic links: they never lead out of the mount.

use crate::ftp::RemotePath;

/// What readlink shows for the link at `link` with this target, in a mount of `root`; `None` if the
/// target leaves the mount.
///
/// The kernel follows what is shown, from the directory of the link, and at the root of the mount `..` is
/// the local folder above it. So an absolute target becomes a relative one, and `..` stays
/// only in front: behind a name it could be applied to what another link leads to.
pub(super) fn contained(root: &RemotePath, link: &RemotePath, target: &[u8]) -> Option<Vec<u8>> {
    if target.is_empty() || target.contains(&0) {
        return None;
    }
    let shown = inside(root, link, target)?;
    if is_plain(target) {
        Some(target.to_vec())
    } else {
        Some(shown)
    }
}

/// The places that the target enters and leaves again by `..`. Where one of them is a link itself, the server goes
/// elsewhere from there than the text says.
pub(super) fn left_again(link: &RemotePath, target: &[u8]) -> Vec<RemotePath> {
    let mut places = Vec::new();
    let mut at = match target.first() {
        Some(b'/') => Some(RemotePath::root()),
        _ => link.parent(),
    };
    let mut has_entered = false;
    for component in components(target) {
        let Some(place) = at else {
            return places;
        };
        if component == b".." {
            at = place.parent();
            if has_entered {
                places.push(place);
            }
        } else {
            at = place.join(component).ok();
            has_entered = true;
        }
    }
    places
}

/// Whether the target has a `..`.
pub(super) fn climbs(target: &[u8]) -> bool {
    components(target).contains(&&b".."[..])
}

/// Relative, with `..` only in front: the kernel follows it as it was looked at here.
fn is_plain(target: &[u8]) -> bool {
    let mut names = components(target).into_iter().skip_while(|c| *c == b"..");
    target[0] != b'/' && names.all(|c| c != b"..")
}

/// A target that stays inside, from the directory of the link and without detours.
fn inside(root: &RemotePath, link: &RemotePath, target: &[u8]) -> Option<Vec<u8>> {
    let directory = link.parent()?;
    let directory = components(directory.as_bytes());
    let root = components(root.as_bytes());
    let mut path = if target[0] == b'/' {
        Vec::new()
    } else {
        directory.clone()
    };
    for component in components(target) {
        if component == b".." {
            // The server's own root has no parent either; a relative target above ours is outside.
            let lowest = if target[0] == b'/' { 0 } else { root.len() };
            if path.len() <= lowest && lowest > 0 || path.pop().is_none() && target[0] != b'/' {
                return None;
            }
        } else {
            path.push(component);
        }
    }
    if !path.starts_with(&root) {
        return None;
    }
    let common = directory
        .iter()
        .zip(&path)
        .take_while(|(a, b)| a == b)
        .count();
    let up = directory[common..].iter().map(|_| &b".."[..]);
    let relative: Vec<&[u8]> = up.chain(path[common..].iter().copied()).collect();
    if relative.is_empty() {
        Some(b".".to_vec())
    } else {
        Some(relative.join(&b'/'))
    }
}

fn components(path: &[u8]) -> Vec<&[u8]> {
    path.split(|b| *b == b'/')
        .filter(|c| !matches!(*c, b"" | b"."))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_entered_and_left_again_is_known() {
        let cases: [(&str, &str, &[&str]); 6] = [
            ("/a/l", "b/c", &[]),
            ("/a/l", "../b", &[]),
            ("/a/l", "b/../c", &["/a/b"]),
            ("/a/l", "b/c/../../d", &["/a/b/c", "/a/b"]),
            ("/a/l", "/x/../y", &["/x"]),
            ("/a/l", "../x/../y", &["/x"]),
        ];
        for (link, target, expected) in cases {
            let link = RemotePath::parse(link.as_bytes()).unwrap();
            let found = left_again(&link, target.as_bytes());
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{target}");
        }
    }

    #[test]
    fn targets_stay_inside_or_are_refused() {
        let cases: [(&str, &str, &str, Option<&str>); 17] = [
            ("/", "/a/l", "b", Some("b")),
            ("/", "/a/l", "../c", Some("../c")),
            ("/", "/a/l", "/etc/passwd", Some("../etc/passwd")),
            ("/", "/l", "/", Some(".")),
            ("/", "/l", "../x", None),
            ("/", "/a/l", "../../x", None),
            ("/", "/a/l", "s/../../../x", None),
            ("/", "/a/b/l", "s/../../x", Some("../x")),
            ("/home", "/home/l", "/home/x/y", Some("x/y")),
            ("/home", "/home/d/l", "/home/x", Some("../x")),
            ("/home", "/home/l", "/etc/passwd", None),
            ("/home", "/home/l", "../etc", None),
            ("/home", "/home/l", "../home/x", None),
            ("/home", "/home/l", "/homes/x", None),
            ("/home", "/home/l", "", None),
            ("/home", "/home/l", "./x//y", Some("./x//y")),
            ("/", "/a/b/l", "../../a/c", Some("../../a/c")),
        ];
        for (root, link, target, expected) in cases {
            let path = |p: &str| RemotePath::parse(p.as_bytes()).unwrap();
            let found = contained(&path(root), &path(link), target.as_bytes());
            let found = found.map(|t| String::from_utf8(t).unwrap());
            assert_eq!(found.as_deref(), expected, "{link} -> {target} in {root}");
        }
    }
}
