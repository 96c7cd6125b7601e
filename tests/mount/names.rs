//! Names are bytes, and arrive unchanged in both directions.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use crate::case::{ATOMIC, NO_CACHE};
use crate::check::{OrFail, eventually, fails, fails_one_of, holding, holds, names};
use crate::files::{absent, append, has, put, try_put};
use crate::place::Place;
use crate::shell::{program, succeeds};

cases! {
    odd_files_are_made.smoke().seconds(240).also(&[NO_CACHE, ATOMIC]),
    odd_folders_are_made.smoke().seconds(240),
    odd_names_are_renamed.smoke().seconds(240),
    odd_names_of_others_are_seen.seeded(seed_all).smoke().seconds(240).also(&[NO_CACHE]),
    odd_folders_of_others_are_seen.seeded(seed_folders).smoke().seconds(240),
    names_that_the_server_cannot_store_are_refused.smoke().mounts_only(),
    line_ends_in_names_are_refused.smoke().mounts_only(),
    line_ends_in_names_of_others_hide_nothing_else.seeded(seed_line_ends).smoke().mounts_only().uncompared(),
    the_longest_names_work.smoke(),
    names_differ_by_case_and_blanks.smoke(),
    tools_take_odd_names.smoke(),
}

/// A name and what a server must be able to do with it.
struct Odd {
    name: &'static [u8],
    needs: Needs,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    AnyBytes,
    Byte255,
    OddNames,
}

const fn plain(name: &'static [u8]) -> Odd {
    Odd {
        name,
        needs: Needs::Nothing,
    }
}

const ODD: &[Odd] = &[
    plain(b"with blank"),
    plain(b" leading blank"),
    plain(b"  two leading blanks"),
    plain(b"two  blanks inside"),
    plain(b"#hash"),
    plain(b"per%cent"),
    plain(b"%41%2F%00"),
    plain(b"question?mark"),
    plain(b"st*r"),
    plain(b"*"),
    plain(b"[bracket]"),
    plain(b"{brace,s}"),
    plain(b"apos'trophe"),
    plain(b"quo\"te"),
    plain(b"\"quoted\""),
    plain(b"\"\""),
    plain(b"back`tick"),
    plain(b"-rf"),
    plain(b"-la"),
    plain(b"--help"),
    plain(b"-"),
    plain(b"~x"),
    plain(b"~"),
    plain(b"~root"),
    plain(b"$HOME"),
    plain(b"a&b;c|d<e>f"),
    plain(b"(paren)!"),
    plain(b"colon:and,comma"),
    plain(b"equal=sign+plus@at^hat"),
    plain(b".hidden"),
    plain(b"..."),
    plain(b"dot."),
    plain(b"arrow -> target"),
    plain(b"type=dir;size=5; name"),
    plain(b"; semicolon first"),
    plain(b"12:00 Jan  1  2020"),
    plain(b"226 Transfer complete."),
    plain(b"total 0"),
    plain(b"CON"),
    plain("umlaut \u{e4}\u{f6}\u{fc}".as_bytes()),
    plain("\u{65e5}\u{672c}\u{8a9e}".as_bytes()),
    plain("smile \u{1f600}".as_bytes()),
    plain("composed \u{e9}".as_bytes()),
    plain("decomposed e\u{301}".as_bytes()),
    plain("nbsp\u{a0}space".as_bytes()),
    Odd {
        name: b"back\\slash",
        needs: Needs::OddNames,
    },
    Odd {
        name: b"trailing blank ",
        needs: Needs::OddNames,
    },
    Odd {
        name: b" ",
        needs: Needs::OddNames,
    },
    Odd {
        name: b"tab\there",
        needs: Needs::OddNames,
    },
    Odd {
        name: b"escape\x1b[31m",
        needs: Needs::OddNames,
    },
    Odd {
        name: b"delete\x7f",
        needs: Needs::OddNames,
    },
    Odd {
        name: b"latin \xe4\xf6\xfc",
        needs: Needs::AnyBytes,
    },
    Odd {
        name: b"broken \xc3",
        needs: Needs::AnyBytes,
    },
    Odd {
        name: b"\x80\x81",
        needs: Needs::AnyBytes,
    },
    Odd {
        name: b"telnet \xff iac",
        needs: Needs::Byte255,
    },
];

/// Those that the server can store.
fn good(place: &Place) -> Vec<&'static OsStr> {
    ODD.iter()
        .filter(|odd| is_good(place, odd))
        .map(|odd| OsStr::from_bytes(odd.name))
        .collect()
}

fn is_good(place: &Place, odd: &Odd) -> bool {
    match odd.needs {
        Needs::Nothing => true,
        Needs::AnyBytes => place.facts.any_bytes,
        Needs::Byte255 => place.facts.any_bytes && place.facts.byte_255,
        Needs::OddNames => place.facts.odd_names,
    }
}

fn seed_all(dir: &Path) {
    for odd in ODD {
        put(&dir.join(OsStr::from_bytes(odd.name)), odd.name);
    }
}

fn seed_folders(dir: &Path) {
    for odd in ODD {
        let folder = dir.join(OsStr::from_bytes(odd.name));
        fs::create_dir(&folder).or_fail("mkdir");
        put(&folder.join("file"), odd.name);
    }
}

fn seed_line_ends(dir: &Path) {
    for name in [
        "before",
        "middle",
        "zuletzt",
        "line\nfeed",
        "carriage\rreturn",
    ] {
        put(&dir.join(name), b"content");
    }
}

fn odd_files_are_made(place: &Place) {
    let good = good(place);
    for name in &good {
        let path = place.here.join(name);
        put(&path, name.as_bytes());
        has(&place.there.join(name), name.as_bytes());
        has(&path, name.as_bytes());
        append(&path, b"+");
        put(&path, name.as_bytes());
    }
    holds(&place.there, &good);
    holds(&place.here, &good);
    let fresh = place.fresh_look();
    holds(&fresh.here, &good);
    for name in &good {
        has(&fresh.here.join(name), name.as_bytes());
        fs::remove_file(place.here.join(name)).or_fail(&format!("unlink {name:?}"));
        absent(&place.there.join(name));
    }
    holds::<&str>(&place.there, []);
}

fn odd_folders_are_made(place: &Place) {
    let mut good = good(place);
    if !place.facts.star_folders {
        good.retain(|name| !name.as_bytes().contains(&b'*'));
        let made = fs::create_dir(place.here.join("st*r"));
        fails("mkdir of a name with a star", made, Errno::EACCES);
    }
    for name in &good {
        let folder = place.here.join(name);
        fs::create_dir(&folder).or_fail(&format!("mkdir {name:?}"));
        put(&folder.join(name), name.as_bytes());
        put(&folder.join("file"), b"x");
        has(&place.there.join(name).join(name), name.as_bytes());
        holds(&folder, [*name, OsStr::new("file")]);
    }
    holds(&place.there, &good);
    let fresh = place.fresh_look();
    for name in &good {
        holds(&fresh.here.join(name), [*name, OsStr::new("file")]);
        has(&fresh.here.join(name).join(name), name.as_bytes());
    }
    for name in &good {
        fs::remove_dir_all(place.here.join(name)).or_fail(&format!("rm -r {name:?}"));
    }
    holds::<&str>(&place.there, []);
}

fn odd_names_are_renamed(place: &Place) {
    let good = good(place);
    put(&place.here.join("plain"), b"travels");
    let mut last = OsStr::new("plain");
    for name in &good {
        fs::rename(place.here.join(last), place.here.join(name))
            .or_fail(&format!("rename {last:?} to {name:?}"));
        holds(&place.there, [*name]);
        last = name;
    }
    has(&place.here.join(last), b"travels");
    fs::rename(place.here.join(last), place.here.join("plain")).or_fail("rename back");
    has(&place.there.join("plain"), b"travels");
}

/// Names that only reach us garbled may be missing; no other name may stand in their place.
fn listed(place: &Place, dir: &Path) {
    let found = names(dir);
    let good: BTreeSet<OsString> = good(place).into_iter().map(OsString::from).collect();
    let all: BTreeSet<OsString> = ODD
        .iter()
        .map(|odd| OsString::from_vec(odd.name.to_vec()))
        .collect();
    let missing: Vec<_> = good.difference(&found).collect();
    assert!(missing.is_empty(), "not listed: {missing:?}");
    let invented: Vec<_> = found.difference(&all).collect();
    // What pyftpdlib and libunftp make of bytes that are not UTF-8 cannot be told from a name.
    let garbled = |name: &&&OsString| {
        let text = name.to_string_lossy();
        !place.facts.any_bytes && (text.contains('?') || text.contains('\u{fffd}'))
    };
    let invented: Vec<_> = invented.iter().filter(|name| !garbled(name)).collect();
    assert!(invented.is_empty(), "listed, but not there: {invented:?}");
}

fn odd_names_of_others_are_seen(place: &Place) {
    listed(place, &place.here);
    for name in good(place) {
        let path = place.here.join(name);
        let len = fs::metadata(&path).or_fail(&format!("stat {name:?}")).len();
        assert_eq!(len, name.len() as u64, "size of {name:?}");
        has(&path, name.as_bytes());
    }
    for name in good(place) {
        let path = place.here.join(name);
        append(&path, b" and more");
        let mut expected = name.as_bytes().to_vec();
        expected.extend_from_slice(b" and more");
        has(&place.there.join(name), &expected);
        fs::remove_file(&path).or_fail(&format!("unlink {name:?}"));
        absent(&place.there.join(name));
    }
    remove_the_rest(place);
}

fn odd_folders_of_others_are_seen(place: &Place) {
    listed(place, &place.here);
    for name in good(place) {
        let folder = place.here.join(name);
        holds(&folder, ["file"]);
        has(&folder.join("file"), name.as_bytes());
        fs::rename(folder.join("file"), folder.join("renamed")).or_fail("rename");
        has(&place.there.join(name).join("renamed"), name.as_bytes());
        fs::remove_file(folder.join("renamed")).or_fail("unlink");
        fs::remove_dir(&folder).or_fail(&format!("rmdir {name:?}"));
        absent(&place.there.join(name));
    }
    remove_the_rest(place);
}

/// What the server cannot show cannot be compared either.
fn remove_the_rest(place: &Place) {
    for name in names(&place.there) {
        let path = place.there.join(name);
        if path.is_dir() {
            fs::remove_dir_all(path).or_fail("rm -r on the server");
        } else {
            fs::remove_file(path).or_fail("rm on the server");
        }
    }
    if !ODD.iter().all(|odd| is_good(place, odd)) {
        eventually("the mount sees that", Duration::from_secs(30), || {
            let left = names(&place.here);
            holding(left.is_empty(), || format!("{left:?}"))
        });
    }
}

/// Whatever is tried with such a name: it is stored under exactly this name, or there is an error and
/// nothing is stored.
fn names_that_the_server_cannot_store_are_refused(place: &Place) {
    put(&place.here.join("plain"), b"plain");
    let bad = ODD.iter().filter(|odd| !is_good(place, odd));
    for name in bad.map(|odd| OsStr::from_bytes(odd.name)) {
        let path = place.here.join(name);
        let settle = |what: &str, result: std::io::Result<()>, undo: &dyn Fn()| {
            let found = names(&place.there);
            if result.is_ok() {
                let stored = found.contains(name);
                assert!(
                    stored,
                    "{what} {name:?}: no error, but the server has {found:?}"
                );
                undo();
            }
            holds(&place.there, ["plain"]);
        };
        settle("create", try_put(&path, b"content"), &|| {
            fs::remove_file(&path).or_fail("unlink");
        });
        settle("mkdir", fs::create_dir(&path), &|| {
            fs::remove_dir(&path).or_fail("rmdir");
        });
        let renamed = fs::rename(place.here.join("plain"), &path);
        settle("rename to", renamed, &|| {
            fs::rename(&path, place.here.join("plain")).or_fail("rename back");
        });
        has(&place.there.join("plain"), b"plain");
    }
    holds(&place.here, ["plain"]);
}

fn line_ends_in_names_are_refused(place: &Place) {
    put(&place.here.join("plain"), b"plain");
    fs::create_dir(place.here.join("folder")).or_fail("mkdir");
    for name in [
        "line\nfeed",
        "carriage\rreturn",
        "\n",
        "\r\nDELE plain",
        "end\n",
    ] {
        let path = place.here.join(name);
        fails(
            &format!("create {name:?}"),
            File::create(&path),
            Errno::EINVAL,
        );
        fails(
            &format!("mkdir {name:?}"),
            fs::create_dir(&path),
            Errno::EINVAL,
        );
        let renamed = fs::rename(place.here.join("plain"), &path);
        fails(&format!("rename to {name:?}"), renamed, Errno::EINVAL);
        let renamed = fs::rename(place.here.join("folder"), &path);
        fails(
            &format!("rename a folder to {name:?}"),
            renamed,
            Errno::EINVAL,
        );
        let none = [Errno::EINVAL, Errno::ENOENT];
        fails_one_of(&format!("stat {name:?}"), fs::metadata(&path), &none);
        fails_one_of(&format!("open {name:?}"), File::open(&path), &none);
        fails_one_of(&format!("unlink {name:?}"), fs::remove_file(&path), &none);
        fails_one_of(&format!("rmdir {name:?}"), fs::remove_dir(&path), &none);
        fails_one_of(
            &format!("below {name:?}"),
            File::create(path.join("x")),
            &none,
        );
    }
    holds(&place.there, ["plain", "folder"]);
    has(&place.there.join("plain"), b"plain");
}

fn line_ends_in_names_of_others_hide_nothing_else(place: &Place) {
    let found = names(&place.here);
    for name in ["before", "middle", "zuletzt"] {
        assert!(
            found.contains(OsStr::new(name)),
            "{name} is not in {found:?}"
        );
        has(&place.here.join(name), b"content");
    }
    assert!(
        !found
            .iter()
            .any(|name| name.as_bytes().iter().any(|byte| b"\r\n".contains(byte))),
        "a line end in {found:?}"
    );
    put(&place.here.join("own"), b"own");
    has(&place.there.join("own"), b"own");
}

fn the_longest_names_work(place: &Place) {
    let long = [
        "n".repeat(255),
        "\u{20ac}".repeat(85),
        format!("{}.txt", "a b".repeat(83) + "xx"),
    ];
    for name in &long {
        assert_eq!(name.len(), 255, "length of the name under test");
        let path = place.here.join(name);
        put(&path, b"long");
        has(&place.there.join(name), b"long");
        // The second write replaces, through a temporary name that must not be longer.
        put(&path, b"longer");
        has(&place.there.join(name), b"longer");
        append(&path, b" still");
        has(&place.there.join(name), b"longer still");
    }
    holds(&place.here, &long);
    let fresh = place.fresh_look();
    holds(&fresh.here, &long);
    for name in &long {
        fs::rename(place.here.join(name), place.here.join("short")).or_fail("rename");
        fs::rename(place.here.join("short"), place.here.join(name)).or_fail("rename back");
        fs::remove_file(place.here.join(name)).or_fail("unlink");
        fs::create_dir(place.here.join(name)).or_fail("mkdir");
        put(&place.here.join(name).join(name), b"inner");
        has(&place.there.join(name).join(name), b"inner");
    }
}

fn names_differ_by_case_and_blanks(place: &Place) {
    let mut similar = vec!["name", "Name", "NAME", " name", "na me", "na  me", "name."];
    if place.facts.odd_names {
        similar.extend(["name ", " name "]);
    }
    for name in &similar {
        put(&place.here.join(name), name.as_bytes());
    }
    holds(&place.here, &similar);
    holds(&place.there, &similar);
    let fresh = place.fresh_look();
    for name in &similar {
        has(&fresh.here.join(name), name.as_bytes());
    }
}

fn tools_take_odd_names(place: &Place) {
    for name in good(place) {
        // A lone `-` is standard output to touch.
        let path = Path::new(".").join(name);
        succeeds(program(&place.here, "touch").arg("--").arg(path));
    }
    let listed = program(&place.here, "find")
        .args([".", "-type", "f", "-print0"])
        .output()
        .or_fail("find");
    let found: BTreeSet<OsString> = listed
        .stdout
        .split(|byte| *byte == 0)
        .filter_map(|path| path.strip_prefix(b"./"))
        .map(|name| OsString::from_vec(name.to_vec()))
        .collect();
    let expected: BTreeSet<OsString> = good(place).into_iter().map(OsString::from).collect();
    assert_eq!(found, expected, "names that find prints");
    for name in good(place) {
        let mut mv = program(&place.here, "mv");
        succeeds(mv.arg("--").arg(name).arg("moved"));
        succeeds(program(&place.here, "rm").arg("moved"));
    }
    holds::<&str>(&place.there, []);
}
