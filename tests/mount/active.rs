//! Active mode: the server opens the data connections.

use std::fs;
use std::path::Path;

use crate::check::{OrFail, holds};
use crate::files::{append, bytes, get, has, put};
use crate::place::{Look, Place};
use crate::support::server::Brand;

cases! {
    files_come_and_go.seeded(seed).smoke().mounts_only(),
    many_small_files_come.seeded(seed).smoke().mounts_only(),
    several_files_at_once.smoke().mounts_only(),
    the_address_and_its_ports_can_be_named.seeded(seed).smoke().mounts_only(),
    one_connection_is_enough.seeded(seed).smoke().mounts_only(),
}

const SMALL: usize = 100;

fn seed(dir: &Path) {
    fs::create_dir(dir.join("folder")).or_fail("mkdir");
    put(&dir.join("large"), &bytes(1, 3_000_000));
    put(&dir.join("empty"), b"");
    for n in 0..SMALL {
        put(&dir.join("folder").join(name(n)), &content(n));
    }
}

fn name(n: usize) -> String {
    format!("f{n:03}")
}

fn content(n: usize) -> Vec<u8> {
    bytes(n as u64, n * 37)
}

/// libunftp knows passive mode alone. pyftpdlib stops answering all its sessions for half a minute at times when it opens
/// several connections, and other cases work on the same server.
fn mount(place: &Place, options: &[&str]) -> Option<Look> {
    let copes = !matches!(place.facts.brand, Some(Brand::Embedded | Brand::Pyftpdlib));
    copes.then(|| place.mount(&[options, &["debug"]].concat()))
}

#[track_caller]
fn was_active(look: &Look) {
    let log = look.mounted().log();
    assert!(
        log.contains("> EPRT |1|127.0.0.1|"),
        "EPRT is not in the log"
    );
    let passive = ["> EPSV", "> PASV", "> PORT", "panicked"];
    let found = log
        .lines()
        .find(|line| passive.iter().any(|word| line.contains(word)));
    assert_eq!(found, None);
}

fn files_come_and_go(place: &Place) {
    let Some(look) = mount(place, &["active"]) else {
        return;
    };
    let at = |name: &str| look.here.join(name);
    holds(&look.here, ["empty", "folder", "large"]);
    has(&at("large"), &bytes(1, 3_000_000));
    has(&at("empty"), b"");
    for (name, size) in [("new", 2_000_000), ("small", 50), ("nothing", 0)] {
        put(&at(name), &bytes(2, size));
        has(&place.there.join(name), &bytes(2, size));
        put(&at(name), &bytes(3, size / 2));
        has(&place.there.join(name), &bytes(3, size / 2));
        has(&at(name), &bytes(3, size / 2));
    }
    append(&at("small"), b"more");
    let all = [bytes(3, 25), b"more".to_vec()].concat();
    has(&place.there.join("small"), &all);
    has(&place.fresh_look().here.join("small"), &all);
    assert!(fs::read(at("missing")).is_err());
    was_active(&look);
}

fn many_small_files_come(place: &Place) {
    let Some(look) = mount(place, &["active"]) else {
        return;
    };
    let folder = look.here.join("folder");
    holds(&folder, (0..SMALL).map(name));
    for n in 0..SMALL {
        assert_eq!(get(&folder.join(name(n))), content(n), "{n}");
    }
    was_active(&look);
}

fn several_files_at_once(place: &Place) {
    let Some(look) = mount(place, &["active"]) else {
        return;
    };
    std::thread::scope(|scope| {
        for n in 0..6 {
            let (here, there) = (look.here.join(name(n)), place.there.join(name(n)));
            scope.spawn(move || {
                for round in 0..4 {
                    let all = bytes(round, 700_000);
                    put(&here, &all);
                    has(&there, &all);
                    has(&here, &all);
                }
            });
        }
    });
    was_active(&look);
}

fn the_address_and_its_ports_can_be_named(place: &Place) {
    for address in ["ftp_port=127.0.0.1", "ftp_port=lo", "ftp_port=-"] {
        let Some(look) = mount(place, &[address, "port_range=21000-21400"]) else {
            return;
        };
        has(&look.here.join("large"), &bytes(1, 3_000_000));
        was_active(&look);
        assert!(look.mounted().log().contains("> EPRT |1|127.0.0.1|21"));
    }
}

fn one_connection_is_enough(place: &Place) {
    let Some(look) = mount(place, &["active", "max_conns=1"]) else {
        return;
    };
    holds(&look.here.join("folder"), (0..SMALL).map(name));
    has(&look.here.join("folder/f009"), &content(9));
    put(&look.here.join("new"), &bytes(4, 300_000));
    has(&place.there.join("new"), &bytes(4, 300_000));
    was_active(&look);
}
