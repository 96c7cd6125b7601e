//! `ftpfs --status`, `ftpfs --unmount`, SIGUSR1, SIGHUP and `sd_notify`, by the program and real mounts.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

#[path = "support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::mounted::{Mounted, is_mounted};
use support::poll;
use support::server::{Brand, Server};

const LIMIT: Duration = Duration::from_secs(40);

/// One process for all clients: one signal freezes it.
fn server() -> Server {
    Server::start(Brand::Pyftpdlib)
}

/// The socket comes a moment after the mount.
#[track_caller]
fn mounted(url: &str, options: &[&str]) -> Mounted {
    let mount = Mounted::new(url, options);
    poll::until(LIMIT, "the socket", || {
        let folder = mount.path().with_file_name("run").join("ftpfs");
        let named = |entry: fs::DirEntry| entry.path().extension().is_some_and(|e| e == "sock");
        fs::read_dir(folder).is_ok_and(|entries| entries.flatten().any(named))
    });
    mount
}

fn output(mut command: Command) -> Output {
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The JSON of the mount.
#[track_caller]
fn status(mount: &Mounted) -> Value {
    let place = mount.path().to_str().unwrap();
    let done = output(mount.ftpfs(&["--status", "--json", place]));
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

#[track_caller]
fn until_status(mount: &Mounted, what: &str, is: impl Fn(&Value) -> bool) {
    let mut last = Value::Null;
    let seen = poll::becomes_true(LIMIT, || {
        last = status(mount);
        is(&last)
    });
    assert!(seen, "waited in vain: {what}: {last:#}");
}

#[track_caller]
fn ended(child: &mut Child) -> Option<i32> {
    let mut code = None;
    poll::until(LIMIT, "the end of a process", || {
        code = child.try_wait().unwrap();
        code.is_some()
    });
    code.unwrap().code()
}

fn is_true(value: &Value, path: &str, holds: impl Fn(f64) -> bool) -> bool {
    value
        .pointer(path)
        .and_then(Value::as_f64)
        .is_some_and(holds)
}

#[test]
fn a_mount_tells_what_it_is_and_what_it_has_done() {
    let server = Server::start(Brand::Vsftpd);
    let content = vec![b'x'; 700_000];
    fs::write(server.at("large"), &content).unwrap();
    server.hand_over();
    let mount = mounted(&server.url, &[]);
    assert_eq!(fs::read(mount.at("large")).unwrap(), content);
    fs::write(mount.at("new"), &content).unwrap();
    fs::read_dir(mount.path()).unwrap().for_each(drop);

    let said = status(&mount);
    let place = mount.path().to_str().unwrap();
    assert_eq!(said["mountpoint"], place);
    assert_eq!(said["pid"], mount.pid());
    assert_eq!(said["phase"], "mounted");
    let at = |path: &str, holds: fn(f64) -> bool| {
        assert!(is_true(&said, path, holds), "{path}: {said:#}");
    };
    at("/received", |n| n >= 700_000.0);
    at("/sent", |n| n >= 700_000.0);
    at("/requests", |n| n > 5.0);
    at("/failures", |n| n == 0.0);
    at("/connections/live", |n| n >= 1.0);
    at("/connections/allowed", |n| n >= 1.0);
    at("/readahead/percent", |n| n > 99.0);
    at("/listings/hits", |n| n >= 1.0);
    at("/listings/misses", |n| n >= 1.0);
    at("/staged_files", |n| n == 0.0);
    assert!(
        said["server"]["greeting"]
            .as_str()
            .unwrap()
            .starts_with("220 ")
    );
    assert_eq!(said["behaviour"]["listing"], "LIST -a");

    // The same for people, also of all mounts together, and nowhere the password.
    let one = output(mount.ftpfs(&["--status", place]));
    let all = output(mount.ftpfs(&["--status"]));
    for done in [&one, &all] {
        assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
        let shown = text(&done.stdout);
        for part in [place, "220 ", "LIST -a", "readahead", "connections"] {
            assert!(shown.contains(part), "no {part} in {shown}");
        }
        assert!(!shown.contains(server.password()), "{shown}");
    }
    assert!(!said.to_string().contains(server.password()));
    let all = output(mount.ftpfs(&["--status", "--json"]));
    let all: Value = serde_json::from_slice(&all.stdout).unwrap();
    assert_eq!(all[0]["mountpoint"], place);
    assert_eq!(mount.unmount(), Some(0));
}

#[test]
fn errors_are_told_with_the_words_of_the_server() {
    let server = Server::start_with(Brand::Vsftpd, &[("FTPFS_READ_ONLY", "1")]);
    let mount = mounted(&server.url, &[]);
    fs::create_dir(mount.at("new")).unwrap_err();
    let said = status(&mount);
    assert_eq!(said["failures"], 1);
    let error = &said["errors"][0];
    assert_eq!(
        (&error["operation"], &error["path"]),
        (&"mkdir".into(), &"/new".into())
    );
    assert_eq!(error["errno"], "EACCES");
    assert!(error["said"].as_str().unwrap().contains("550 "), "{error}");
    let place = mount.path().to_str().unwrap();
    let shown = output(mount.ftpfs(&["--status", place]));
    assert!(
        text(&shown.stdout).contains("mkdir /new: EACCES: "),
        "{shown:?}"
    );
}

#[test]
fn where_nothing_is_mounted_the_status_says_so() {
    let server = server();
    let mount = mounted(&server.url, &[]);
    let elsewhere = mount.home();
    let none = output(mount.ftpfs(&["--status", elsewhere.to_str().unwrap()]));
    assert_eq!(none.status.code(), Some(2));
    assert!(
        text(&none.stderr).contains("nothing is mounted here"),
        "{}",
        text(&none.stderr)
    );
    let foreign = output(mount.ftpfs(&["--status", "/proc"]));
    assert_eq!(foreign.status.code(), Some(2));
    assert!(
        text(&foreign.stderr).contains("not ftpfs"),
        "{}",
        text(&foreign.stderr)
    );
    let mut command = mount.ftpfs(&["--status", "--json"]);
    command
        .env("XDG_RUNTIME_DIR", mount.home())
        .env("TMPDIR", mount.home());
    // Services of root have a place of their own; what else this machine has mounted there is not ours.
    let others = output(command);
    let others: Value = serde_json::from_slice(&others.stdout).unwrap();
    let place = mount.path().to_str().unwrap();
    assert!(
        others
            .as_array()
            .unwrap()
            .iter()
            .all(|m| m["mountpoint"] != place)
    );
    let socket = sockets(&mount);
    assert_eq!(socket.len(), 1, "{socket:?}");
    assert_eq!(mount.unmount(), Some(0));
    assert!(!socket[0].exists());
}

fn sockets(mount: &Mounted) -> Vec<std::path::PathBuf> {
    let folder = mount.path().with_file_name("run").join("ftpfs");
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_server_that_is_away_is_told() {
    let server = server();
    let mount = mounted(&server.url, &["timeout=3", "connect_timeout=2"]);
    fs::read_dir(mount.path()).unwrap().for_each(drop);
    assert!(status(&mount)["away"].is_null());
    server.signal("STOP");
    File::create(mount.at("new")).unwrap_err();
    until_status(&mount, "it is away", |said| said["away"].is_string());
    let place = mount.path().to_str().unwrap();
    let said = output(mount.ftpfs(&["--status", place]));
    assert!(text(&said.stdout).contains("\naway "), "{said:?}");
    server.signal("CONT");
    until_status(&mount, "it is back", |said| said["away"].is_null());
}

#[test]
fn only_who_mounted_it_and_root_may_unmount_by_name() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let server = server();
    let mount = mounted(&server.url, &["allow_other"]);
    let home = mount.home();
    fs::set_permissions(home, fs::Permissions::from_mode(0o755)).unwrap();
    let mut other = Command::new("setpriv");
    other
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args([env!("CARGO_BIN_EXE_ftpfs"), "--unmount"])
        .arg(mount.path());
    let refused = output(other);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(
        text(&refused.stderr).contains("another user has mounted it"),
        "{refused:?}"
    );
    assert!(is_mounted(mount.path()));
}

#[test]
fn only_the_user_can_reach_the_socket() {
    let server = server();
    let mount = mounted(&server.url, &[]);
    let folder = mount.path().with_file_name("run").join("ftpfs");
    let mode = fs::metadata(folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_connection_that_waits_is_told_with_its_command() {
    let server = server();
    fs::write(server.at("slow file"), "x").unwrap();
    server.hand_over();
    let mount = mounted(&server.url, &["timeout=300", "connect_timeout=300"]);
    assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 1);
    // One that is being prepared for the next command would not get that before the server goes on.
    until_status(&mount, "a connection that rests", |said| {
        let connections = &said["connections"];
        connections["busy"] == 0 && is_true(connections, "/idle", |idle| idle >= 1.0)
    });
    server.signal("STOP");
    let mut cat = Command::new("cat")
        .arg(mount.at("slow file"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until_status(&mount, "a connection with the file", |said| {
        let each = said["connections"]["each"].as_array().unwrap();
        each.iter().any(|one| {
            one["doing"]["path"] == "/slow file" && is_true(one, "/seconds", |s| s >= 0.0)
        })
    });
    server.signal("CONT");
    assert_eq!(ended(&mut cat), Some(0));
    until_status(&mount, "connections that rest", |said| {
        said["connections"]["busy"] == 0
    });
}

#[test]
fn unmounting_by_name_waits_until_all_is_stored() {
    let server = server();
    let mut mount = mounted(&server.url, &["writeback", "timeout=60"]);
    fs::read_dir(mount.path()).unwrap().for_each(drop);
    server.signal("STOP");
    fs::write(mount.at("late"), "content").unwrap();
    until_status(&mount, "a staged file", |said| {
        said["staged"][0]["path"] == "/late"
    });
    let place = mount.path().to_str().unwrap().to_owned();
    let unmount = || {
        mount
            .ftpfs(&["--unmount", &place])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let first = unmount();
    poll::until(LIMIT, "the mount to go", || !is_mounted(Path::new(&place)));
    // Another who asks is no second signal, and waits as well.
    let mut both = [first, unmount()];
    // The mountpoint is free, the process is still at work.
    let all = output(mount.ftpfs(&["--status", "--json"]));
    let all: Value = serde_json::from_slice(&all.stdout).unwrap();
    let ours = all
        .as_array()
        .unwrap()
        .iter()
        .find(|m| m["mountpoint"] == *place);
    let ours = ours.unwrap_or_else(|| panic!("{all:#}"));
    assert_eq!(ours["phase"], "ending");
    assert_eq!(ours["staged_files"], 1);
    assert!(both.iter_mut().all(|one| one.try_wait().unwrap().is_none()));
    server.signal("CONT");
    for one in &mut both {
        assert_eq!(ended(one), Some(0));
    }
    assert!(mount.has_ended(LIMIT));
    assert_eq!(fs::read(server.at("late")).unwrap(), b"content");
}

#[test]
fn unmounting_by_name_tells_what_could_not_be_stored() {
    let server = server();
    let mut mount = mounted(
        &server.url,
        &["writeback", "timeout=2", "connect_timeout=2"],
    );
    fs::read_dir(mount.path()).unwrap().for_each(drop);
    server.signal("STOP");
    fs::write(mount.at("lost"), "content").unwrap();
    let place = mount.path().to_str().unwrap().to_owned();
    let done = output(mount.ftpfs(&["--unmount", &place]));
    server.signal("CONT");
    assert_eq!(done.status.code(), Some(7), "{done:?}");
    let said = text(&done.stderr);
    assert!(said.contains("/lost could not be stored"), "{said}");
    assert!(said.contains("ftpfs --recover"), "{said}");
    assert!(mount.has_ended(LIMIT));
}

#[test]
fn unmounting_by_name_works_without_a_socket_and_after_a_crash() {
    let server = server();
    let mut mount = mounted(&server.url, &[]);
    let place = mount.path().to_str().unwrap().to_owned();
    for socket in sockets(&mount) {
        fs::remove_file(socket).unwrap();
    }
    let none = output(mount.ftpfs(&["--status", &place]));
    assert_eq!(none.status.code(), Some(2));
    assert!(
        text(&none.stderr).contains("does not answer"),
        "{}",
        text(&none.stderr)
    );
    let done = output(mount.ftpfs(&["--unmount", &place]));
    // Nobody knows whether the server has everything.
    assert_eq!(done.status.code(), Some(7), "{done:?}");
    assert!(
        text(&done.stderr).contains("could not be asked"),
        "{done:?}"
    );
    assert!(!is_mounted(mount.path()) && mount.has_ended(LIMIT));
    let again = output(mount.ftpfs(&["--unmount", &place]));
    assert_eq!(again.status.code(), Some(2));
    assert!(
        text(&again.stderr).contains("nothing is mounted here"),
        "{again:?}"
    );

    let mut killed = mounted(&server.url, &[]);
    let place = killed.path().to_str().unwrap().to_owned();
    assert!(killed.send("KILL") && killed.has_ended(LIMIT));
    assert_eq!(sockets(&killed).len(), 1);
    let crashed = output(killed.ftpfs(&["--status", &place]));
    assert_eq!(crashed.status.code(), Some(2));
    assert!(
        text(&crashed.stderr).contains("crashed here; run: "),
        "{crashed:?}"
    );
    let done = output(killed.ftpfs(&["--unmount", &place]));
    assert_eq!(done.status.code(), Some(7), "{done:?}");
    assert!(!is_mounted(killed.path()));
}

/// Nobody waits for ever: not for a process that somebody has stopped either.
#[test]
fn unmounting_by_name_does_not_wait_for_one_that_stands_still() {
    let server = server();
    let mut mount = mounted(&server.url, &[]);
    let place = mount.path().to_str().unwrap().to_owned();
    assert!(mount.send("STOP"));
    let done = output(mount.ftpfs(&["--unmount", &place]));
    assert!(mount.send("CONT"));
    assert_eq!(done.status.code(), Some(7), "{done:?}");
    assert!(text(&done.stderr).contains("stands still"), "{done:?}");
    assert!(mount.has_ended(LIMIT));
}

/// Each has a socket of its own, also above each other at one place.
#[test]
fn a_mount_below_another_one_is_reached_again() {
    let server = server();
    let mut below = mounted(&server.url, &[]);
    let place = below.path().to_str().unwrap().to_owned();
    let mut above = below.ftpfs(&["-f", "-o", "nonempty", &server.url, &place]);
    let mut above = above.stderr(Stdio::null()).spawn().unwrap();
    poll::until(LIMIT, "the mount above", || {
        status(&below)["pid"] == above.id()
    });
    let first = output(below.ftpfs(&["--unmount", &place]));
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    assert_eq!(ended(&mut above), Some(0));
    assert_eq!(status(&below)["pid"], below.pid());
    let second = output(below.ftpfs(&["--unmount", &place]));
    assert_eq!(second.status.code(), Some(0), "{second:?}");
    assert!(below.has_ended(LIMIT));
}

/// Its process could not take it away, and would end all the same.
#[test]
fn unmounting_by_name_leaves_a_mount_that_another_lies_above() {
    let server = server();
    let mount = mounted(&server.url, &[]);
    let place = mount.path().to_str().unwrap();
    let tmpfs = |arguments: &[&str]| {
        Command::new(arguments[0])
            .args(&arguments[1..])
            .arg(place)
            .status()
    };
    let covered = tmpfs(&["mount", "-t", "tmpfs", "none"]);
    if !covered.is_ok_and(|status| status.success()) {
        // For root alone.
        return;
    }
    let done = output(mount.ftpfs(&["--unmount", place]));
    assert!(tmpfs(&["umount"]).unwrap().success());
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    assert!(
        text(&done.stderr).contains("none is mounted here, not ftpfs"),
        "{done:?}"
    );
    let done = output(mount.ftpfs(&["--unmount", place]));
    assert_eq!(done.status.code(), Some(0), "{done:?}");
}

#[test]
fn watching_goes_on_until_the_mount_ends() {
    let server = server();
    let mut mount = mounted(&server.url, &["writeback"]);
    fs::read_dir(mount.path()).unwrap().for_each(drop);
    server.signal("STOP");
    fs::write(mount.at("late"), "content").unwrap();
    let place = mount.path().to_str().unwrap().to_owned();
    let shown = mount.home().join("watched");
    let mut watch = mount
        .ftpfs(&["--status", "--watch", &place])
        .stdout(File::create(&shown).unwrap())
        .spawn()
        .unwrap();
    let text = || fs::read_to_string(&shown).unwrap();
    poll::until(LIMIT, "a line about the file", || {
        text().contains("to the server: /late: ") && text().contains(" connections busy")
    });
    server.signal("CONT");
    let done = output(mount.ftpfs(&["--unmount", &place]));
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(ended(&mut watch), Some(0));
    assert!(text().ends_with("unmounted\n"), "{}", text());
    assert!(mount.has_ended(LIMIT));
}

#[test]
fn usr1_tells_the_log_and_hup_forgets_what_was_seen() {
    let server = server();
    fs::write(server.at("file"), "old").unwrap();
    server.hand_over();
    let mount = mounted(&server.url, &["cache_timeout=3600"]);
    let size = || fs::metadata(mount.at("file")).unwrap().len();
    assert_eq!(
        (size(), fs::read(mount.at("file")).unwrap()),
        (3, b"old".to_vec())
    );
    fs::write(server.at("file"), "new and longer").unwrap();
    assert_eq!(size(), 3);
    assert!(mount.send("HUP"));
    poll::until(LIMIT, "the new size", || size() == 14);
    assert_eq!(fs::read(mount.at("file")).unwrap(), b"new and longer");
    assert!(mount.send("USR1"));
    poll::until(LIMIT, "the status in the log", || {
        mount.log().contains("status: connections") && mount.log().contains("status: server")
    });
    assert!(!mount.log().contains(server.password()));
    assert_eq!(mount.unmount(), Some(0));
}

#[test]
fn a_service_manager_is_told_of_the_beginning_and_of_the_end() {
    let server = server();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let heard = || {
        let mut buffer = [0; 4096];
        let count = socket.recv(&mut buffer).unwrap();
        text(&buffer[..count])
    };
    let mount = Mounted::run(&server.url, &[], |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    let mount = mount.unwrap_or_else(|refused| panic!("{}", refused.log));
    let first = heard();
    assert!(first.contains("READY=1\n"), "{first}");
    assert!(first.contains("STATUS=ftp://"), "{first}");
    assert!(first.contains(mount.path().to_str().unwrap()), "{first}");
    assert!(!first.contains(server.password()), "{first}");
    assert_eq!(mount.end_by_signal("TERM"), Some(0));
    let last = heard();
    assert!(last.contains("STOPPING=1\n"), "{last}");
}

#[test]
fn a_service_manager_is_told_what_is_left_and_asked_for_time() {
    let server = server();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let options = ["writeback", "timeout=60"];
    let mount = Mounted::run(&server.url, &options, |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    let mut mount = mount.unwrap_or_else(|refused| panic!("{}", refused.log));
    fs::read_dir(mount.path()).unwrap().for_each(drop);
    server.signal("STOP");
    fs::write(mount.at("late"), "content").unwrap();
    assert!(mount.send("TERM"));
    let mut heard = String::new();
    // The second is told while the upload goes on.
    while heard.matches("files to be stored: 1, 7 bytes").count() < 2 {
        let mut buffer = [0; 4096];
        let count = socket.recv(&mut buffer).unwrap();
        heard += &text(&buffer[..count]);
    }
    assert!(heard.contains("EXTEND_TIMEOUT_USEC="), "{heard}");
    server.signal("CONT");
    assert!(mount.has_ended(LIMIT));
    assert_eq!(fs::read(server.at("late")).unwrap(), b"content");
}

#[test]
fn on_a_terminal_bars_show_what_is_under_way() {
    let server = server();
    let mut mount = mounted(&server.url, &["writeback", "timeout=60"]);
    fs::read_dir(mount.path()).unwrap().for_each(drop);
    server.signal("STOP");
    fs::write(mount.at("late"), "content").unwrap();
    let place = mount.path().to_str().unwrap().to_owned();
    let on_terminal = |arguments: &str, shown: &Path| {
        let program = env!("CARGO_BIN_EXE_ftpfs");
        let line = format!("stty cols 120; exec '{program}' {arguments} '{place}'");
        let mut script = mount.ftpfs(&[]);
        let environment: Vec<_> = script
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        script = Command::new("script");
        script
            .args(["-qefc", &line])
            .arg(shown)
            .envs(environment)
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        script.spawn().unwrap()
    };
    let screen =
        |shown: &Path| String::from_utf8_lossy(&fs::read(shown).unwrap_or_default()).into_owned();
    let bar = |screen: &str| screen.contains("/late") && screen.contains("0 B of        7 B");
    let [first, second] = ["watched", "unmounted"].map(|name| mount.home().join(name));
    let mut watch = on_terminal("--status --watch", &first);
    poll::until(LIMIT, "a bar of the watch", || bar(&screen(&first)));
    let mut unmount = on_terminal("--unmount", &second);
    poll::until(LIMIT, "a bar of the end", || {
        bar(&screen(&second)) && screen(&second).contains("unmounting, ")
    });
    server.signal("CONT");
    assert_eq!((ended(&mut watch), ended(&mut unmount)), (Some(0), Some(0)));
    assert!(mount.has_ended(LIMIT));
}

/// On a server that allows it.
#[test]
fn appending_sends_only_what_is_new() {
    let server = Server::start(Brand::Vsftpd);
    let content = vec![b'x'; 3_000_000];
    fs::write(server.at("log"), &content).unwrap();
    server.hand_over();
    let mount = mounted(&server.url, &[]);
    let mut log = fs::OpenOptions::new()
        .append(true)
        .open(mount.at("log"))
        .unwrap();
    log.write_all(b"a new line\n").unwrap();
    drop(log);
    let expected = [&content[..], b"a new line\n"].concat();
    poll::until(LIMIT, "the server has it", || {
        fs::read(server.at("log")).unwrap() == expected
    });
    let said = status(&mount);
    assert!(
        is_true(&said, "/sent", |bytes| (11.0..1000.0).contains(&bytes)),
        "{said:#}"
    );
    assert!(
        is_true(&said, "/received", |bytes| bytes < 100_000.0),
        "{said:#}"
    );
}
