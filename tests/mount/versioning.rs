//! git in the mount.

use std::path::Path;
use std::process::Command;

use tempfile::{TempDir, tempdir};

use crate::case::ONE_CONNECTION;
use crate::check::{OrFail, holds};
use crate::files::{append, has};
use crate::place::Place;
use crate::shell::{program, sh, succeeds};
use crate::tree::{plant, same_trees};

cases! {
    git_works.smoke().seconds(400),
    git_clones_into_the_mount.smoke().seconds(400).also(&[ONE_CONNECTION]),
    git_clones_out_of_the_mount.seconds(400),
}

fn git(dir: &Path) -> Command {
    let mut git = program(dir, "git");
    git.env("GIT_CONFIG_COUNT", "4")
        .env("GIT_CONFIG_KEY_0", "user.name")
        .env("GIT_CONFIG_VALUE_0", "Tester")
        .env("GIT_CONFIG_KEY_1", "user.email")
        .env("GIT_CONFIG_VALUE_1", "tester@localhost")
        .env("GIT_CONFIG_KEY_2", "init.defaultBranch")
        .env("GIT_CONFIG_VALUE_2", "main")
        // The server's user owns what is compared on its disk.
        .env("GIT_CONFIG_KEY_3", "safe.directory")
        .env("GIT_CONFIG_VALUE_3", "*");
    git
}

#[track_caller]
fn git_says(dir: &Path, arguments: &[&str]) -> String {
    succeeds(git(dir).args(arguments))
}

/// `git fsck` finds nothing to complain about.
#[track_caller]
fn sound(dir: &Path) {
    let out = git(dir)
        .args(["fsck", "--full", "--strict"])
        .output()
        .or_fail("git fsck");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "git fsck: {out:?}");
    assert!(
        !said.contains("missing") && !said.contains("corrupt"),
        "git fsck: {said}"
    );
}

/// A repository with some history on this machine's disk.
fn repository() -> TempDir {
    let dir = tempdir().or_fail("make a folder");
    git_says(dir.path(), &["init", "-q"]);
    plant(dir.path(), 60, 81);
    git_says(dir.path(), &["add", "-A"]);
    git_says(dir.path(), &["commit", "-q", "-m", "first"]);
    sh(dir.path(), "echo changed >> 'file-0.txt'; echo new > new");
    git_says(dir.path(), &["add", "-A"]);
    git_says(dir.path(), &["commit", "-q", "-m", "second"]);
    dir
}

fn git_works(place: &Place) {
    let here = place.here.as_path();
    git_says(here, &["init", "-q"]);
    plant(here, 60, 82);
    git_says(here, &["add", "-A"]);
    git_says(here, &["commit", "-q", "-m", "first"]);
    assert_eq!(
        git_says(here, &["status", "--porcelain"]),
        "",
        "status after the commit"
    );
    for n in 0..3 {
        append(&here.join("file-0.txt"), format!("change {n}\n").as_bytes());
        assert_eq!(
            git_says(here, &["status", "--porcelain"]),
            " M file-0.txt\n",
            "status"
        );
        git_says(here, &["commit", "-q", "-a", "-m", &format!("change {n}")]);
    }
    git_says(here, &["checkout", "-q", "-b", "other", "HEAD~2"]);
    sh(
        here,
        "rm 'file-1.c' 2>/dev/null || rm -f */'file-1.c'; echo branch > branch",
    );
    git_says(here, &["add", "-A"]);
    git_says(here, &["commit", "-q", "-m", "branch"]);
    git_says(here, &["checkout", "-q", "main"]);
    git_says(here, &["merge", "-q", "-m", "merge", "other"]);
    git_says(here, &["tag", "v1"]);
    sound(here);
    git_says(here, &["gc", "-q", "--prune=now"]);
    sound(here);
    assert_eq!(
        git_says(here, &["rev-list", "--count", "HEAD"]),
        "6\n",
        "commits"
    );
    assert_eq!(
        git_says(here, &["status", "--porcelain"]),
        "",
        "status at the end"
    );
    has(&place.there.join("branch"), b"branch\n");
    sound(&place.there);
    same_trees(here, &place.there, place.facts.modes);
}

fn git_clones_into_the_mount(place: &Place) {
    let from = repository();
    let source = text(from.path());
    git_says(
        &place.here,
        &["clone", "-q", "--no-hardlinks", source, "clone"],
    );
    let clone = place.here.join("clone");
    sound(&clone);
    assert_eq!(
        git_says(&clone, &["status", "--porcelain"]),
        "",
        "status of the clone"
    );
    assert_eq!(
        git_says(&clone, &["rev-list", "--count", "HEAD"]),
        "2\n",
        "commits"
    );
    succeeds(
        program(&place.here, "diff")
            .args(["-r", "-x", ".git"])
            .arg(from.path())
            .arg(&clone),
    );
    sh(&clone, "echo more >> new");
    git_says(&clone, &["commit", "-q", "-a", "-m", "third"]);
    git_says(&clone, &["push", "-q", "origin", "HEAD:refs/heads/pushed"]);
    assert_eq!(
        git_says(from.path(), &["rev-list", "--count", "pushed"]),
        "3\n",
        "pushed commits"
    );
    sound(&place.there.join("clone"));
}

fn git_clones_out_of_the_mount(place: &Place) {
    let from = repository();
    let source = text(from.path());
    git_says(&place.here, &["clone", "-q", "--bare", source, "bare.git"]);
    let out = tempdir().or_fail("make a folder");
    let bare = place.here.join("bare.git");
    git_says(
        out.path(),
        &["clone", "-q", "--no-hardlinks", text(&bare), "work"],
    );
    let work = out.path().join("work");
    sound(&work);
    sh(&work, "echo pushed > pushed");
    git_says(&work, &["add", "-A"]);
    git_says(&work, &["commit", "-q", "-m", "third"]);
    git_says(&work, &["push", "-q", "origin", "main"]);
    assert_eq!(
        git_says(&bare, &["rev-list", "--count", "main"]),
        "3\n",
        "commits in the mount"
    );
    sound(&bare);
    sound(&place.there.join("bare.git"));
    holds(&place.there, ["bare.git"]);
}

/// The path as an argument.
fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
