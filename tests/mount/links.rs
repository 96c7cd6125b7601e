//! Symbolic links that are on the server.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::errno::Errno;

use crate::check::{OrFail, difference, fails, fails_one_of, holds, names};
use crate::facts::Links;
use crate::files::{absent, append, bytes, has, put};
use crate::place::Place;
use crate::shell::sh;
use crate::support::server::Brand;
use crate::tree::same_trees;

cases! {
    links_are_shown_and_followed.seeded(seed_good).smoke().uncompared(),
    links_that_leave_the_mount_are_not_followed.seeded(seed_leaving).smoke().mounts_only().uncompared(),
    a_link_to_nothing_is_shown_as_such.seeded(seed_dangling).smoke().uncompared(),
    a_link_to_an_absolute_path_of_the_server_works.smoke().mounts_only().uncompared(),
    dots_behind_a_link_lead_to_no_other_file.seeded(seed_dots).smoke().mounts_only().uncompared(),
    removing_a_link_keeps_its_target.seeded(seed_good).smoke(),
    making_links.smoke().uncompared(),
    followed_links_are_what_they_lead_to.seeded(seed_followed).smoke().mounts_only().uncompared(),
    a_circle_of_links_ends.seeded(seed_circle).smoke().uncompared(),
}

fn link(target: &str, at: &Path) {
    symlink(target, at).or_fail("make a link on the server");
}

fn seed_good(dir: &Path) {
    fs::create_dir_all(dir.join("folder/sub")).or_fail("mkdir");
    put(&dir.join("file"), &bytes(1, 5000));
    put(&dir.join("folder/inner"), b"inner");
    link("file", &dir.join("to-file"));
    link("folder", &dir.join("to-folder"));
    link("../file", &dir.join("folder/up"));
    link("../../folder/inner", &dir.join("folder/sub/across"));
    link("to-file", &dir.join("to-link"));
    link("./folder/inner", &dir.join("arrow -> in its name"));
}

const GOOD: [(&str, &str); 6] = [
    ("to-file", "file"),
    ("to-folder", "folder"),
    ("folder/up", "../file"),
    ("folder/sub/across", "../../folder/inner"),
    ("to-link", "to-file"),
    ("arrow -> in its name", "./folder/inner"),
];

fn seed_leaving(dir: &Path) {
    put(&dir.join("file"), b"x");
    link("../../../../../../../../etc/passwd", &dir.join("climbs"));
    link(
        "../../../../../../../../etc",
        &dir.join("climbs-to-a-folder"),
    );
    link(
        "file/../../../../../../../etc/passwd",
        &dir.join("climbs-later"),
    );
    // Where `self/..` is, the text does not tell: not in the folder of the link.
    fs::create_dir(dir.join("sub")).or_fail("mkdir");
    link(".", &dir.join("sub/self"));
    link(
        "self/../../../etc/passwd",
        &dir.join("sub/climbs-behind-a-link"),
    );
}

fn seed_dangling(dir: &Path) {
    put(&dir.join("file"), b"x");
    link("nowhere", &dir.join("dangling"));
}

fn seed_circle(dir: &Path) {
    link("b", &dir.join("a"));
    link("a", &dir.join("b"));
    link(".", &dir.join("self"));
    put(&dir.join("file"), b"x");
}

fn links_are_shown_and_followed(place: &Place) {
    match place.facts.links {
        Links::Shown | Links::OnlyGood => {
            for (path, target) in GOOD {
                let path = place.here.join(path);
                let metadata = fs::symlink_metadata(&path).or_fail("lstat");
                assert!(metadata.is_symlink(), "{}: it is a link", path.display());
                // MLSD names no target, so the length of its text may be unknown until readlink.
                let sizes = [target.len() as u64, 0];
                assert!(
                    sizes.contains(&metadata.len()),
                    "{}: its size: expected one of {sizes:?}, found {}",
                    path.display(),
                    metadata.len()
                );
                let found = fs::read_link(&path).or_fail("readlink");
                assert_eq!(found, Path::new(target), "{}: its target", path.display());
            }
            let long = sh(&place.here, "ls -l to-file");
            assert!(
                long.trim_end().ends_with(" to-file -> file"),
                "ls -l says: {long}"
            );
            assert_eq!(
                sh(&place.here, "find . -type l | sort"),
                sh(&place.there, "find . -type l | sort"),
                "links that find finds"
            );
        }
        Links::Followed => {
            for (path, _) in GOOD {
                let metadata = fs::symlink_metadata(place.here.join(path)).or_fail("lstat");
                let target = fs::metadata(place.there.join(path)).or_fail("stat on the server");
                assert_eq!(
                    metadata.is_dir(),
                    target.is_dir(),
                    "{path}: the type of its target"
                );
            }
        }
        Links::AsFiles => {
            // Nothing tells that its size is that of the text: whole content or an error, never a part.
            for (path, _) in GOOD.iter().filter(|(path, _)| !path.contains("to-folder")) {
                if let Ok(found) = fs::read(place.here.join(path)) {
                    let expected = fs::read(place.there.join(path)).or_fail("read on the server");
                    assert_eq!(difference(&found, &expected), None, "{path}: its content");
                }
            }
            return the_rest_is_alike(place);
        }
    }
    has(&place.here.join("to-file"), &bytes(1, 5000));
    has(&place.here.join("to-link"), &bytes(1, 5000));
    has(&place.here.join("folder/up"), &bytes(1, 5000));
    has(&place.here.join("to-folder/inner"), b"inner");
    has(&place.here.join("folder/sub/across"), b"inner");
    holds(&place.here.join("to-folder"), ["inner", "sub", "up"]);
    the_rest_is_alike(place);
}

/// Where links are not shown as such the view cannot be the server's: they go.
fn the_rest_is_alike(place: &Place) {
    let mut here = place.here.clone();
    let look;
    if matches!(place.facts.links, Links::Followed | Links::AsFiles) {
        for (path, _) in GOOD {
            fs::remove_file(place.there.join(path)).or_fail("remove a link on the server");
        }
        look = place.fresh_look();
        here.clone_from(&look.here);
    }
    same_trees(&here, &place.there, place.facts.modes);
}

fn links_that_leave_the_mount_are_not_followed(place: &Place) {
    let secret = fs::read("/etc/passwd").or_fail("read /etc/passwd");
    for name in ["climbs", "climbs-to-a-folder", "climbs-later"] {
        let path = place.here.join(name);
        if place.facts.links == Links::Shown {
            let metadata = fs::symlink_metadata(&path).or_fail("lstat");
            assert!(metadata.is_symlink(), "{name}: it is a link");
            fails(
                &format!("readlink of {name}"),
                fs::read_link(&path),
                Errno::EACCES,
            );
            fails(&format!("read {name}"), fs::read(&path), Errno::EACCES);
        } else if let Ok(found) = fs::read(&path) {
            assert_ne!(found, secret, "{name}: a file of this machine");
        }
    }
    assert!(
        fs::read_dir(place.here.join("climbs-to-a-folder")).is_err(),
        "a folder of this machine is not listed"
    );
    // By its text alone it ends in the mount; what it is followed to must not be outside.
    if let Ok(found) = fs::read(place.here.join("sub/climbs-behind-a-link")) {
        assert_ne!(found, secret, "a file of this machine");
    }
    if let Ok(target) = fs::read_link(place.here.join("sub/climbs-behind-a-link")) {
        let text = target.to_string_lossy().into_owned();
        let climbing = text.trim_start_matches("../");
        assert!(!climbing.contains(".."), "`..` behind a name in {text}");
    }
    has(&place.here.join("file"), b"x");
}

fn a_link_to_nothing_is_shown_as_such(place: &Place) {
    let path = place.here.join("dangling");
    if place.facts.links == Links::Shown {
        assert_eq!(
            fs::read_link(&path).or_fail("readlink"),
            Path::new("nowhere"),
            "its target"
        );
        fails(
            "stat of what it points to",
            fs::metadata(&path),
            Errno::ENOENT,
        );
        holds(&place.here, ["file", "dangling"]);
    } else {
        assert!(fs::read(&path).is_err(), "it cannot be read");
    }
    has(&place.here.join("file"), b"x");
}

/// The server's `/` is the mount's root, so such a link stays inside.
fn a_link_to_an_absolute_path_of_the_server_works(place: &Place) {
    let folder = if place.facts.is_root {
        Path::new("/").join(place.there.file_name().unwrap())
    } else {
        place.there.clone()
    };
    put(&place.there.join("file"), b"inside");
    let target = folder.join("file");
    link(target.to_str().unwrap(), &place.there.join("absolute"));
    let look = place.fresh_look();
    if place.facts.links == Links::Shown {
        has(&look.here.join("absolute"), b"inside");
        let target = fs::read_link(look.here.join("absolute")).or_fail("readlink");
        let followed = look.here.join(&target);
        assert!(
            followed.starts_with(look.mounted().path()),
            "{} leads out of the mount",
            target.display()
        );
    }
    has(&look.here.join("file"), b"inside");
}

fn seed_dots(dir: &Path) {
    fs::create_dir_all(dir.join("a/b")).or_fail("mkdir");
    put(&dir.join("a/y"), b"right");
    put(&dir.join("y"), b"another");
    link("a/b", &dir.join("to-b"));
    link("to-b/../y", &dir.join("behind-a-link"));
    link("a/../y", &dir.join("behind-a-folder"));
}

/// On the server `to-b/..` is `a`; by the text alone it would be the folder of the link.
fn dots_behind_a_link_lead_to_no_other_file(place: &Place) {
    // Or it is not to be followed, or not by this server.
    if let Ok(found) = fs::read(place.here.join("behind-a-link")) {
        assert_eq!(found, b"right", "what the server has there");
    }
    if place.facts.links == Links::Shown {
        has(&place.here.join("behind-a-folder"), b"another");
    }
}

fn removing_a_link_keeps_its_target(place: &Place) {
    if !place.facts.removes_links {
        let removed = fs::remove_file(place.here.join("to-folder"));
        assert!(
            removed.is_err(),
            "rm of a link that the server does not remove"
        );
        assert!(
            place.there.join("to-folder").is_symlink(),
            "it is still there"
        );
        fs::remove_file(place.here.join("to-file")).or_fail("rm of a link to a file");
        absent(&place.there.join("to-file"));
    } else if matches!(place.facts.links, Links::Shown | Links::OnlyGood) {
        sh(
            &place.here,
            "rm to-file to-folder to-link; mv folder/up folder/down",
        );
        absent(&place.there.join("to-file"));
        absent(&place.there.join("to-folder"));
        assert!(
            place.there.join("folder/down").is_symlink(),
            "the moved link is a link"
        );
    } else {
        // A link to a link first: the server leaves out those that lead nowhere.
        for (path, _) in GOOD.into_iter().rev() {
            let (what, link) = (format!("remove {path}"), place.here.join(path));
            if place.facts.links == Links::Followed && path == "to-folder" {
                // A folder that is empty for nobody but rmdir, which takes the link alone.
                fails(&what, fs::remove_file(&link), Errno::EISDIR);
                fs::remove_dir(&link).or_fail(&what);
                absent(&link);
            } else {
                fs::remove_file(&link).or_fail(&what);
            }
            assert!(
                !place.there.join(path).is_symlink(),
                "{path} is gone on the server"
            );
        }
    }
    has(&place.there.join("file"), &bytes(1, 5000));
    has(&place.there.join("folder/inner"), b"inner");
    has(&place.here.join("folder/inner"), b"inner");
    has(&place.here.join("file"), &bytes(1, 5000));
}

/// FTP has no command for it; a server that has one of its own (ProFTPD's SITE SYMLINK) may be used.
fn making_links(place: &Place) {
    put(&place.here.join("file"), b"x");
    let none = [Errno::EPERM, Errno::EOPNOTSUPP];
    match symlink("file", place.here.join("link")) {
        Ok(()) => {
            // ProFTPD makes an absolute link of it, which is good only in its own world.
            let target = fs::read_link(place.there.join("link")).or_fail("readlink on the server");
            assert!(target.ends_with("file"), "the target: {}", target.display());
            has(&place.here.join("link"), b"x");
            let look = place.fresh_look();
            has(&look.here.join("link"), b"x");
            let nowhere = symlink("nowhere", place.here.join("other"));
            if place.facts.is_mount() {
                fails_one_of("a link to nothing", nowhere, &none);
            }
        }
        Err(error) => {
            fails_one_of::<()>("symlink", Err(error), &none);
            absent(&place.here.join("link"));
            holds(&place.there, ["file"]);
        }
    }
    if place.facts.is_mount() {
        let hard = fs::hard_link(place.here.join("file"), place.here.join("hard"));
        fails_one_of("link", hard, &none);
        absent(&place.there.join("hard"));
    }
}

fn seed_followed(dir: &Path) {
    fs::create_dir_all(dir.join("folder/below")).or_fail("mkdir");
    fs::create_dir_all(dir.join("other/way")).or_fail("mkdir");
    put(&dir.join("file"), &bytes(1, 70_000));
    put(&dir.join("folder/inner"), b"inner");
    put(&dir.join("folder/below/deep"), b"deep");
    link("file", &dir.join("to-file"));
    link("folder", &dir.join("to-folder"));
    link("folder/below", &dir.join("to-spare"));
    link("nothing", &dir.join("to-nothing"));
    link("..", &dir.join("folder/below/up"));
    link("../../other", &dir.join("folder/below/across"));
    link("../../folder", &dir.join("other/way/back"));
}

/// `follow_symlinks`: for programs it is as if there were no links, but on the server they stay.
fn followed_links_are_what_they_lead_to(place: &Place) {
    if !matches!(place.facts.links, Links::Shown | Links::OnlyGood) {
        // The server follows them itself, or shows none.
        return;
    }
    let look = place.mount(&["follow_symlinks"]);
    let (here, there) = (&look.here, &place.there);
    let kind = |name: &str| fs::symlink_metadata(here.join(name)).map(|found| found.file_type());
    assert!(kind("to-file").or_fail("stat").is_file());
    let size = fs::symlink_metadata(here.join("to-file"))
        .or_fail("stat")
        .len();
    assert_eq!(size, 70_000, "its size is that of the file");
    has(&here.join("to-file"), &bytes(1, 70_000));
    assert!(kind("to-folder").or_fail("stat").is_dir());
    has(&here.join("to-folder/inner"), b"inner");
    has(&here.join("to-folder/below/across/way/../../deep"), b"deep");
    assert!(kind("to-nothing").is_ok_and(|kind| kind.is_symlink()) || kind("to-nothing").is_err());
    // For the server that is `folder`, which has no such file; by the names alone it would be another one's.
    let strayed = fs::read(here.join("to-spare/up/file"));
    assert!(strayed.is_err(), "a file from where the link does not lead");
    // Whoever walks the tree comes to an end, although links lead round in circles.
    let found = sh(here, "find . -type f | wc -l");
    assert!(
        found.trim().parse::<u32>().or_fail("a count") < 200,
        "{found}"
    );

    let mut all = bytes(1, 70_000);
    if place.facts.brand == Some(Brand::PureFtpd) {
        // It opens no link for writing.
        fails("write", fs::write(here.join("to-file"), "x"), Errno::EACCES);
    } else {
        put(&here.join("to-file"), &bytes(2, 90_000));
        has(&there.join("file"), &bytes(2, 90_000));
        append(&here.join("to-file"), b"more");
        all = [&bytes(2, 90_000)[..], b"more"].concat();
    }
    put(&here.join("to-folder/new"), b"new");
    has(&there.join("folder/new"), b"new");
    fs::rename(here.join("to-file"), here.join("renamed")).or_fail("rename");
    for (link, target) in [("renamed", "file"), ("to-folder", "folder")] {
        let found = fs::read_link(there.join(link)).or_fail("it is still a link");
        assert_eq!(found, Path::new(target));
    }
    has(&there.join("file"), &all);
    has(&here.join("renamed"), &all);
    fs::remove_file(here.join("renamed")).or_fail("rm");
    absent(&there.join("renamed"));
    let removed = fs::remove_dir(here.join("to-spare"));
    if place.facts.removes_links {
        removed.or_fail("rmdir");
    }
    assert_eq!(
        there.join("to-spare").is_symlink(),
        !place.facts.removes_links
    );
    has(&there.join("file"), &all);
    has(&there.join("folder/below/deep"), b"deep");
}

fn a_circle_of_links_ends(place: &Place) {
    if place.facts.links == Links::Shown {
        fails(
            "read a circle",
            fs::read(place.here.join("a")),
            Errno::ELOOP,
        );
        has(&place.here.join("self/self/file"), b"x");
        assert_eq!(
            sh(&place.here, "find . | sort"),
            ".\n./a\n./b\n./file\n./self\n",
            "find does not follow"
        );
    } else {
        assert!(
            names(&place.here).contains(OsStr::new("file")),
            "the file is listed"
        );
        has(&place.here.join("file"), b"x");
    }
}
