//! Mountpoints that cannot be one: said before anything is asked of the network.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use crate::run::Ftpfs;

/// Nobody listens here: a mount that gets this far fails with status 5.
const NOBODY: &str = "ftp://127.0.0.1:1/";

#[test]
fn missing() {
    Ftpfs::new().args([NOBODY, "/nonexistent/mnt"]).fails(
        2,
        &["/nonexistent/mnt: there is no such folder", "mkdir -p"],
    );
}

/// What is shown to be run is run by a shell as it was meant.
#[test]
fn missing_with_a_blank() {
    let folder = ["run: mkdir -p '/nonexistent/my web'"];
    let ftpfs = Ftpfs::new().args([NOBODY, "/nonexistent/my web"]);
    ftpfs.fails(2, &folder);
}

#[test]
fn missing_with_a_name_that_moves_the_cursor() {
    let ftpfs = Ftpfs::new().args([NOBODY, "/nonexistent/\x1b[31m"]);
    ftpfs.fails(
        2,
        &[
            "/nonexistent/\\u{1b}[31m: there is",
            r"mkdir -p $'/nonexistent/\033[31m'",
        ],
    );
}

#[test]
fn a_file() {
    Ftpfs::new()
        .args([NOBODY, "/etc/passwd"])
        .fails(2, &["/etc/passwd: not a folder"]);
}

#[test]
fn not_empty() {
    let ftpfs = Ftpfs::new();
    fs::write(ftpfs.mountpoint().join("f"), "").unwrap();
    ftpfs.mount(NOBODY).fails(2, &["not empty", "nonempty"]);
    let ftpfs = Ftpfs::new().args(["-o", "nonempty"]);
    fs::write(ftpfs.mountpoint().join("f"), "").unwrap();
    ftpfs.mount(NOBODY).fails(5, &[]);
}

/// On a machine that this script makes of ours, for this one process; `$0` is the program. Only root can do that.
fn on_another_machine(script: &str) -> Option<Ftpfs> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let program = env!("CARGO_BIN_EXE_ftpfs");
    let ftpfs = Ftpfs::by(&["unshare", "--mount", "sh", "-ec", script, program]);
    let all = fs::Permissions::from_mode(0o755);
    fs::set_permissions(ftpfs.home.path(), all).unwrap();
    chown(ftpfs.mountpoint(), Some(NO_USER), Some(NO_USER)).unwrap();
    Some(ftpfs)
}

const NO_USER: u32 = 65534;

/// With the program where others can run it.
const AS_NO_USER: &str = r#"
install -m 755 "$0" "$HOME/ftpfs"
exec setpriv --reuid=65534 --regid=65534 --clear-groups "$HOME/ftpfs" "$@"
"#;

#[test]
fn without_fuse() {
    let script = r#"mount -t tmpfs none /dev; exec "$0" "$@""#;
    let Some(ftpfs) = on_another_machine(script) else {
        return;
    };
    let parts = [
        "/dev/fuse is missing",
        "modprobe fuse",
        "--device /dev/fuse",
    ];
    ftpfs.mount(NOBODY).fails(2, &parts);
}

#[test]
fn without_fusermount() {
    // Something, but no file, is where it was.
    let hide =
        r#"for f in $(which -a fusermount3 fusermount); do mount --bind /dev/null "$f"; done"#;
    let Some(ftpfs) = on_another_machine(&format!("{hide}{AS_NO_USER}")) else {
        return;
    };
    let parts = ["fusermount3 is missing", "apt install fuse3"];
    ftpfs.mount(NOBODY).fails(2, &parts);
}

#[test]
fn for_others_without_leave() {
    let forget = "mount --bind /dev/null /etc/fuse.conf";
    let Some(ftpfs) = on_another_machine(&format!("{forget}{AS_NO_USER}")) else {
        return;
    };
    let parts = ["allow_other is for root, unless", "user_allow_other"];
    ftpfs
        .args(["-o", "allow_other"])
        .mount(NOBODY)
        .fails(2, &parts);
}
