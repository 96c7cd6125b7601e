//! What nobody can know: how a command ended whose reply was lost, and what is still on its way.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use libtest_mimic::Trial;

use crate::cell::Ground;
use crate::kept::Holder;
use crate::operation::{LARGE, Operation, Seen, bytes};
use crate::support::faulty::{How, Verb};
use crate::{Site, test_apart};

const LIMIT: Duration = Duration::from_secs(30);

type Test = (&'static str, fn(&mut Ground));

const TESTS: &[Test] = &[
    (
        "a_patch_whose_reply_is_lost_is_sent_again",
        a_patch_is_sent_again,
    ),
    (
        "an_append_whose_end_is_unknown_is_not_repeated",
        an_append_is_not_repeated,
    ),
    (
        "an_append_that_was_refused_before_a_byte_is_repeated",
        an_append_is_repeated,
    ),
];

/// One trial per test.
pub(crate) fn trials(site: &Site) -> Vec<Trial> {
    TESTS
        .iter()
        .map(|(name, test)| {
            let site = site.clone();
            test_apart(site.name("::", &format!("unknown::{name}")), move || {
                let mut ground = site.ground(&format!("unknown-{name}"));
                let test = AssertUnwindSafe(|| test(&mut ground));
                if let Err(panic) = catch_unwind(test) {
                    eprintln!("{name}:\n{}", ground.last_words());
                    resume_unwind(panic);
                }
                Ok(())
            })
        })
        .collect()
}

/// The server never got the bytes, and yet the file has the size that it is to have.
fn a_patch_is_sent_again(ground: &mut Ground) {
    ground.mount();
    // From here on it is known that the server patches in place.
    Holder::new(ground.mounted(), &["edit large", "text 400000", "close"]).does(3);
    let swallowed = ground.proxy.on(Verb::Stor).at("large").once();
    let swallowed = swallowed.stall_data_after(0);
    let mut writer = Holder::new(ground.mounted(), &["edit large", "text 800000", "close"]);
    swallowed.happens_within(LIMIT);
    ground.proxy.drop_all(How::Rst);
    // The server lets nobody else write to the file before that.
    ground.proxy.drop_data(How::Rst);
    writer.does(3);
    let mut expected = bytes(2, LARGE);
    for at in [400_000, 800_000] {
        expected[at..at + 7].copy_from_slice(b"changed");
    }
    let stored = fs::read(ground.there.join("large")).unwrap();
    assert!(stored == expected, "close has said that it is there");
}

/// The reply is lost, and so is the answer to the question how long the file is.
fn an_append_is_not_repeated(ground: &mut Ground) {
    ground.mount();
    let stalled = ground.proxy.on(Verb::Appe).once().stall_data_after(0);
    let mut writer = Holder::new(ground.mounted(), &["append log", "small", "close"]);
    stalled.happens_within(LIMIT);
    let size = ground.proxy.on(Verb::Size).times(8);
    let _unknown = size.drop_before(How::Rst);
    ground.proxy.drop_all(How::Rst);
    // Both are opened and written; whether the close succeeds depends on the questions.
    writer.does(2);
    let closed = writer.next();
    assert_eq!(ground.proxy.counts().commands(Verb::Appe), 1);
    if closed == 0 {
        assert_eq!(Operation::Append.seen(&ground.there), Seen::All);
    }
}

/// The server has said how it ended, and no other name can be made beside the file: it is appended all the same. (As
/// vsftpd refuses a data connection under TLS 1.3 that does not resume the session, after its 150.)
fn an_append_is_repeated(ground: &mut Ground) {
    ground.mount();
    let cut = ground.proxy.on(Verb::Appe).once();
    let cut = cut.cut_data_after(0, How::Rst);
    let refused = ground.proxy.on(Verb::Stor);
    refused.answer("553 Could not create file.");
    Holder::new(ground.mounted(), &["append log", "small", "close"]).does(3);
    assert!(cut.hits() > 0);
    assert_eq!(Operation::Append.seen(&ground.there), Seen::All);
}
