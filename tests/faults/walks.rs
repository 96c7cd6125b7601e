//! A batch that asks about many directories breaks, at any of its commands and in any way: that costs
//! time and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use crate::cell::{Ground, give_to_owner_of};
use crate::support::faulty::{Fault, How, Verb, When};
use crate::{Site, test_apart};

type Strike = fn(When<'_>) -> Fault;

const STRIKES: &[(&str, Strike)] = &[
    ("dropped_before", |when| when.drop_before(How::Fin)),
    ("torn_before", |when| when.drop_before(How::Rst)),
    ("dropped_inside", |when| when.drop_inside()),
    ("dropped_after", |when| when.drop_after(How::Rst)),
    ("reply_swallowed", |when| when.swallow_reply()),
    ("reply_held_back", |when| when.stall_reply()),
    ("refused", |when| when.answer("550 no")),
    ("unknown", |when| when.answer("500 what?")),
    ("farewell", |when| when.answer("421 bye")),
    ("not_logged_in", |when| when.answer("530 who are you?")),
    ("preliminary", |when| when.answer("150 soon")),
    ("empty", |when| when.answer("213 nothing")),
    ("an_answer_without_an_end", |when| {
        when.answer_bytes(b"213-Status\r\nx\r\n")
    }),
    ("another_answer", |when| {
        when.answer_bytes(b"211-Status\r\ndrwxr-xr-x 2 0 0 1 Jan 01 2020 .\r\n211 End\r\n")
    }),
    ("two_answers", |when| when.say_when_done("213 more")),
    ("garbage", |when| when.answer_bytes(b"\0\xff\x01\r\n")),
    ("endless", |when| when.answer_endlessly(b"213-x\r\n")),
];

const DIRECTORIES: usize = 60;

/// One trial for each way to break.
pub(crate) fn trials(site: &Site) -> Vec<Trial> {
    STRIKES
        .iter()
        .map(|&(name, strike)| {
            let site = site.clone();
            test_apart(site.name("::", &format!("walks::{name}")), move || {
                let mut ground = site.ground(&format!("walks-{name}"));
                breaks(&mut ground, strike);
                Ok(())
            })
        })
        .collect()
}

/// The first batch breaks, or a later one in its middle.
fn breaks(ground: &mut Ground, strike: Strike) {
    for n in 0..DIRECTORIES {
        let dir = ground.there.join(format!("d{n:02}"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(format!("file {n}")), "x").unwrap();
        give_to_owner_of(&ground.there, &dir);
    }
    for after in [0, 5, 20] {
        let expected = walk(&ground.there);
        ground.mount();
        let fault = strike(ground.proxy.on(Verb::Stat).after(after).once());
        let found = walk(ground.mounted().path());
        let differs: Vec<_> = found.symmetric_difference(&expected).collect();
        assert!(differs.is_empty(), "after {after}: {differs:?}");
        assert_eq!(fault.hits(), 1, "after {after}");
        fault.lift();
        assert_eq!(walk(ground.mounted().path()), expected, "after {after}");
        ground.ends_clean();
    }
}

/// Everything below a directory, in the order in which it is told.
fn walk(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut rest = vec![root.to_path_buf()];
    while let Some(dir) = rest.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                rest.push(entry.path());
            }
            found.insert(entry.path().strip_prefix(root).unwrap().to_path_buf());
        }
    }
    found
}
