//! What is TLS's own: what a cut means there, and who may speak when.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use libtest_mimic::Trial;

use crate::cell::Ground;
use crate::operation::{LARGE, Operation, Seen, bytes};
use crate::support::faulty::{How, Verb};
use crate::support::mounted::Mounted;
use crate::support::poll;
use crate::{Site, test_apart};

const LIMIT: Duration = Duration::from_secs(30);

type Test = (&'static str, fn(&mut Ground));

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        const TESTS: &[Test] = &[$((stringify!($name), $name)),*];
    };
}

tests! {
    everything_is_encrypted_and_every_session_goes_on,
    what_follows_234_in_clear_ends_the_login,
    a_refused_auth_ends_the_login,
    who_has_encrypted_once_does_not_speak_in_clear,
    after_a_522_everything_goes_on,
    a_download_without_its_notice_goes_on_where_it_was,
    a_download_that_never_has_its_notice_fails,
    a_listing_without_its_notice_is_asked_for_again,
    a_listing_that_never_has_its_notice_fails,
}

/// One trial per test.
pub(crate) fn trials(site: &Site) -> Vec<Trial> {
    TESTS
        .iter()
        .map(|(name, test)| {
            let site = site.clone();
            test_apart(format!("tls::{name}"), move || {
                let mut ground = site.ground(name);
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

const OPERATIONS: [Operation; 12] = [
    Operation::Ls,
    Operation::Stat,
    Operation::CatSmall,
    Operation::CatLarge,
    Operation::CpInSmall,
    Operation::CpInLarge,
    Operation::Overwrite,
    Operation::Append,
    Operation::Mkdir,
    Operation::Rename,
    Operation::Unlink,
    Operation::Fsync,
];

/// Nothing is repeated: no data connection was refused because it was a stranger's.
fn everything_is_encrypted_and_every_session_goes_on(ground: &mut Ground) {
    ground.mount();
    for operation in OPERATIONS {
        let result = ground.run(operation, LIMIT);
        assert!(result.is_ok(), "{}: {result:?}", operation.name());
        assert_eq!(operation.seen(&ground.there), Seen::All);
    }
    for n in 0..40 {
        let name = ground.mounted().at(format!("file{n}"));
        fs::write(&name, bytes(n, 100)).unwrap();
        assert!(fs::read(&name).unwrap() == bytes(n, 100));
    }
    assert_eq!(ground.ends_clean(), Some(0));
    let lines = ground.proxy.lines().join("\n");
    for (said, is) in [(" 522 ", false), (" AUTH TLS", true), (" PROT P", true)] {
        assert_eq!(lines.contains(said), is, "{said:?}");
    }
}

/// Whoever sits in between could put replies there, which would be taken for the server's.
fn what_follows_234_in_clear_ends_the_login(ground: &mut Ground) {
    let forged = ground.proxy.on(Verb::Auth);
    let forged = forged.answer_bytes(b"234 Proceed.\r\n230 You are in.\r\n");
    let refused = Mounted::try_new(ground.url(), &ground.options(&[])).unwrap_err();
    assert_eq!(refused.code, Some(5), "{}", refused.log);
    assert!(refused.log.contains("in clear"), "{}", refused.log);
    assert!(forged.hits() > 0);
    assert_eq!(ground.proxy.counts().commands(Verb::User), 0);
    assert_eq!(ground.proxy.counts().commands(Verb::Pass), 0);
}

fn a_refused_auth_ends_the_login(ground: &mut Ground) {
    ground.proxy.on(Verb::Auth).answer("500 Unknown command.");
    let refused = Mounted::try_new(ground.url(), &ground.options(&[])).unwrap_err();
    assert_eq!(refused.code, Some(4), "{}", refused.log);
    assert_eq!(ground.proxy.counts().commands(Verb::User), 0);
    assert_eq!(ground.proxy.counts().commands(Verb::Pass), 0);
}

/// Where encryption is only offered: what takes it out of later logins sits in between.
fn who_has_encrypted_once_does_not_speak_in_clear(ground: &mut Ground) {
    let offered = ground.url().replacen("ftpes://", "ftp://", 1);
    let mount = Mounted::new(&offered, &ground.options(&[]));
    let counts = ground.proxy.counts();
    assert!(counts.commands(Verb::Prot) > 0);
    let refused = ground.proxy.on(Verb::Auth).answer("500 Unknown command.");
    ground.proxy.drop_all(How::Fin);
    let error = fs::create_dir(mount.at("new")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
    assert!(refused.hits() > 0);
    for verb in [Verb::User, Verb::Pass] {
        let sent = ground.proxy.counts().commands(verb);
        assert_eq!(sent, counts.commands(verb), "{verb:?} in clear");
    }
    ground.proxy.heal();
    poll::until(LIMIT, "it heals", || {
        fs::create_dir(mount.at("new")).is_ok()
    });
    assert_eq!(mount.unmount(), Some(0));
}

/// The server has not recognized the session: another kind of session is tried, and is kept to.
fn after_a_522_everything_goes_on(ground: &mut Ground) {
    ground.mount();
    let cut = ground.proxy.on(Verb::Retr).once();
    cut.cut_handshake(How::Fin);
    let stranger = ground.proxy.on(Verb::Retr).once();
    let stranger = stranger.answer_at_end("522 SSL connection failed; session reuse required.");
    assert!(ground.run(Operation::CatSmall, LIMIT).is_ok());
    assert_eq!(stranger.hits(), 1);
    for operation in OPERATIONS {
        let result = ground.run(operation, LIMIT);
        assert!(result.is_ok(), "{}: {result:?}", operation.name());
        assert_eq!(operation.seen(&ground.there), Seen::All);
    }
    assert_eq!(ground.ends_clean(), Some(0));
    let lines = ground.proxy.lines();
    let refused = lines.iter().filter(|line| line.contains("< 522 "));
    assert_eq!(refused.count(), 0, "sessions go on");
    assert!(
        lines.iter().any(|line| line.ends_with("< TLSv1_2")),
        "TLS 1.2, whose sessions can go on for ever: {:#?}",
        lines
    );
}

/// The server says 226, and the bytes are fewer than they have to be or as many: both times nobody has said that
/// they are all.
fn a_download_without_its_notice_goes_on_where_it_was(ground: &mut Ground) {
    ground.mount();
    let half = LARGE as u64 / 2;
    let fault = ground.proxy.on(Verb::Retr).once();
    let fault = fault.cut_data_after(half, How::Fin);
    let end = ground.proxy.on(Verb::Retr).once();
    end.answer_at_end("226 Transfer complete.");
    let result = ground.run(Operation::CatLarge, LIMIT);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(fault.hits(), 1);
    assert!(ground.proxy.counts().commands(Verb::Rest) > 0);
    let moved = ground.proxy.counts().downloaded;
    assert!(
        moved < LARGE as u64 + half,
        "what has come is not fetched again: {moved}"
    );
}

fn a_download_that_never_has_its_notice_fails(ground: &mut Ground) {
    ground.mount();
    // Of a file that was read and has not changed for two seconds nothing has to be fetched: each has its own.
    for (how, operation) in [
        (How::Fin, Operation::CatSmall),
        (How::Close, Operation::CatLarge),
    ] {
        let fault = ground.proxy.on(Verb::Retr).cut_data_after(0, how);
        ground
            .proxy
            .on(Verb::Retr)
            .answer_at_end("226 Transfer complete.");
        let error = ground.run(operation, LIMIT).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO), "{how:?}");
        assert!(fault.hits() > 0);
        let log = ground.mounted().log();
        assert!(log.contains("ended without the notice of TLS"), "{log}");
        ground.proxy.heal();
        ground.recover(operation);
    }
}

fn a_listing_without_its_notice_is_asked_for_again(ground: &mut Ground) {
    ground.mount();
    let fault = ground.proxy.on(Verb::Listing).once();
    let fault = fault.cut_data_after(0, How::Fin);
    let end = ground.proxy.on(Verb::Listing).once();
    end.answer_at_end("226 Directory send OK.");
    let result = ground.run(Operation::Ls, LIMIT);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(fault.hits(), 1);
}

/// In clear nobody could know that it is not all.
fn a_listing_that_never_has_its_notice_fails(ground: &mut Ground) {
    ground.mount();
    let fault = ground.proxy.on(Verb::Listing);
    let fault = fault.cut_data_after(0, How::Fin);
    ground
        .proxy
        .on(Verb::Listing)
        .answer_at_end("226 Directory send OK.");
    let error = ground.run(Operation::Ls, LIMIT).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    assert!(fault.hits() > 0);
    ground.proxy.heal();
    ground.recover(Operation::Ls);
}
