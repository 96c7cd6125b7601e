//! A large file comes by several streams, and one of them breaks in one way or another: the bytes are right.

use std::fs;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::cell::{Ground, give_to_owner_of};
use crate::operation::bytes;
use crate::support::faulty::{Fault, How, Verb, When};
use crate::support::server::{Brand, Server};
use crate::{Line, Site, test_apart};

type Strike = fn(When<'_>) -> Fault;

/// Bytes of a segment that go through before it breaks.
const SOME: u64 = 300_000;

const STRIKES: &[(&str, Strike)] = &[
    ("data_reset", |when| {
        when.once().cut_data_after(SOME, How::Rst)
    }),
    ("data_closed", |when| {
        when.once().cut_data_after(SOME, How::Fin)
    }),
    ("data_closed_always", |when| {
        when.cut_data_after(SOME, How::Fin)
    }),
    ("data_stalls", |when| when.once().stall_data_after(SOME)),
    ("dropped_before", |when| when.once().drop_before(How::Fin)),
    ("dropped_after", |when| when.once().drop_after(How::Rst)),
    ("reply_swallowed", |when| when.once().swallow_reply()),
    ("refused_once", |when| when.once().answer("450 busy")),
    ("refused_always", |when| when.answer("550 no")),
    ("farewell", |when| when.answer("421 bye")),
];

/// Long enough that a second stream is tried, at a megabyte per second.
const BIG: usize = 24_000_123;

const LIMIT: Duration = Duration::from_secs(60);

/// One trial for each way to break.
pub(crate) fn trials(site: &Site) -> Vec<Trial> {
    STRIKES
        .iter()
        .map(|&(name, strike)| {
            let line = site.line;
            test_apart(site.name("::", &format!("segments::{name}")), move || {
                breaks(name, strike, line);
                Ok(())
            })
        })
        .collect()
}

/// The first stream is well, all others or the first of them are not.
fn breaks(name: &str, strike: Strike, line: Line) {
    let limit = ("FTPFS_SERVER_ARGS", "local_max_rate=1000000");
    let server = Server::start_with(Brand::Vsftpd, &[limit, ("FTPFS_TLS", "")]);
    let mut ground = Ground::new(&server, name, line);
    let content = bytes(7, BIG);
    fs::write(ground.there.join("big"), &content).unwrap();
    give_to_owner_of(&server.root, &ground.there);
    ground.mount_with(&["readahead=4M"]);
    let fault = strike(ground.proxy.on(Verb::Retr).after(1));
    let read = fs::read(ground.mounted().at("big"));
    fault.happens_within(LIMIT);
    fault.lift();
    match read {
        Ok(found) => assert!(found == content, "{}", ground.last_words()),
        // The stream that was well comes to the segment of one that is not.
        Err(error) => assert!(
            matches!(name, "data_closed_always" | "refused_always" | "farewell"),
            "{error}: {}",
            ground.last_words()
        ),
    }
    assert!(fs::read(ground.mounted().at("big")).unwrap() == content);
    ground.ends_clean();
}
