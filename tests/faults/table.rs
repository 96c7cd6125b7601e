//! The table: fault, operation, expected result. Every cell is a test, `table::<fault>::<operation>`.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use libtest_mimic::Trial;
use nix::errno::Errno;

use crate::cell;
use crate::operation::Operation::{self, *};
use crate::support::faulty::{How, Proxy, Verb};
use crate::support::poll::until;
use crate::{Line, Site, test_apart};

const SOON: Duration = Duration::from_secs(10);

/// What an operation must come to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expect {
    /// Exact success: the program does not notice.
    Done,
    /// One of these errors.
    Fails(&'static [Errno]),
    /// Exact success, or one of these errors.
    Either(&'static [Errno]),
}

use Expect::{Done, Either, Fails};

/// A way to fail.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// Sets it; the mount is there, and idle (but for `MountStart`).
    pub(crate) strike: fn(&Proxy, Operation),
    /// The final reply to an upload is what does not come: that has a longer time.
    pub(crate) is_about_final_reply: bool,
    /// The user has to say that the password is right (SIGHUP).
    pub(crate) needs_forgiveness: bool,
    /// It is about TLS: in clear it has no meaning, or another one.
    pub(crate) is_about_tls: bool,
    cells: &'static [(&'static [Operation], Expect)],
}

const fn fault(
    name: &'static str,
    strike: fn(&Proxy, Operation),
    cells: &'static [(&'static [Operation], Expect)],
) -> Fault {
    Fault {
        name,
        strike,
        is_about_final_reply: false,
        needs_forgiveness: false,
        is_about_tls: false,
        cells,
    }
}

const fn tls_fault(
    name: &'static str,
    strike: fn(&Proxy, Operation),
    cells: &'static [(&'static [Operation], Expect)],
) -> Fault {
    Fault {
        is_about_tls: true,
        ..fault(name, strike, cells)
    }
}

/// Everything but the mount itself.
const ALL: &[Operation] = &[
    Ls, Stat, CatSmall, CatLarge, CpInSmall, CpInLarge, Overwrite, Append, Mkdir, Rename, Unlink,
    Fsync,
];
const BUT_APPEND: &[Operation] = &[
    Ls, Stat, CatSmall, CatLarge, CpInSmall, CpInLarge, Overwrite, Mkdir, Rename, Unlink, Fsync,
];
/// One of each kind.
const SOME: &[Operation] = &[Ls, CatSmall, CpInSmall, Append, Rename];
const LISTINGS: &[Operation] = &[Ls, Stat];
const READS: &[Operation] = &[CatSmall, CatLarge];
const STORES: &[Operation] = &[CpInSmall, CpInLarge, Overwrite, Fsync];
const UPLOADS: &[Operation] = &[CpInSmall, CpInLarge, Overwrite, Append, Fsync];

const CHANGES: &[Operation] = &[Mkdir, Rename, Unlink];
const MOUNT: &[Operation] = &[MountStart];
const APPEND: &[Operation] = &[Append];

const IO: &[Errno] = &[Errno::EIO];
const TIME: &[Errno] = &[Errno::ETIMEDOUT, Errno::EIO];
const SPACE: &[Errno] = &[Errno::ENOSPC];
const QUOTA: &[Errno] = &[Errno::EDQUOT];
/// Mounting has an exit code for it.
const UNENCRYPTED: &[Errno] = &[Errno::EPROTO];
const RIGHTS: &[Errno] = &[Errno::EACCES];

fn idle_dies(proxy: &Proxy, how: How) {
    // Between two operations a session may be busy with its next data connection.
    until(SOON, "a session is idle", || proxy.drop_idle(how) > 0);
}

fn idle_hears(proxy: &Proxy, bytes: &[u8]) {
    until(SOON, "a session is idle", || {
        proxy.say_bytes_idle(bytes) > 0
    });
}

/// From now on every session is a new one; `MountStart` has none anyway.
fn none_is_left(proxy: &Proxy) {
    proxy.drop_all(How::Fin);
}

#[rustfmt::skip]
const TABLE: &[Fault] = &[
    // The control connection ends.
    fault("idle_fin", |p, _| idle_dies(p, How::Fin), &[(ALL, Done)]),
    fault("idle_rst", |p, _| idle_dies(p, How::Rst), &[(SOME, Done)]),
    fault("dropped_before_once", |p, o| { p.on(o.verb()).once().drop_before(How::Fin); },
        &[(ALL, Done), (MOUNT, Either(IO))]),
    fault("reset_before_once", |p, o| { p.on(o.verb()).once().drop_before(How::Rst); }, &[(SOME, Done)]),
    fault("dropped_inside_once", |p, o| { p.on(o.verb()).once().drop_inside(); },
        &[(ALL, Done), (MOUNT, Either(IO))]),
    fault("dropped_after_once", |p, o| { p.on(o.verb()).once().drop_after(How::Fin); },
        &[(ALL, Done), (MOUNT, Either(IO))]),
    fault("reset_after_once", |p, o| { p.on(o.verb()).once().drop_after(How::Rst); },
        &[(SOME, Done), (&[Mkdir, Unlink], Done)]),
    fault("dropped_before_always", |p, o| { p.on(o.verb()).drop_before(How::Fin); },
        &[(ALL, Fails(IO)), (MOUNT, Fails(IO))]),
    fault("dropped_after_always", |p, o| { p.on(o.verb()).drop_after(How::Fin); },
        &[(ALL, Fails(IO)), (MOUNT, Fails(IO))]),
    fault("dropped_when_done", |p, o| { p.on(o.verb()).drop_when_done(How::Fin); },
        &[(ALL, Done), (MOUNT, Either(IO))]),
    fault("final_reply_lost_once", |p, o| { p.on(o.verb()).once().drop_at_end(How::Rst); },
        &[(LISTINGS, Done), (READS, Done), (UPLOADS, Done)]),
    fault("epsv_dropped_once", |p, _| { p.on(Verb::Epsv).once().drop_after(How::Rst); },
        &[(LISTINGS, Done), (READS, Done), (UPLOADS, Done)]),
    fault("size_dropped_once", |p, _| { p.on(Verb::Size).once().drop_after(How::Rst); }, &[(UPLOADS, Done)]),

    // It says what nobody asked for.
    fault("idle_421", |p, _| idle_hears(p, b"421 Timeout.\r\n"), &[(SOME, Done)]),
    fault("idle_226", |p, _| idle_hears(p, b"226 Transfer complete.\r\n"), &[(SOME, Done)]),
    fault("idle_200", |p, _| idle_hears(p, b"200 Fine.\r\n"), &[(SOME, Done)]),
    fault("idle_garbage", |p, _| idle_hears(p, b"\0\xff\xfe%s%n\n"), &[(SOME, Done)]),
    fault("idle_half_a_line", |p, _| idle_hears(p, b"22"), &[(SOME, Done)]),
    fault("unasked_226_follows", |p, o| { p.on(o.verb()).say_when_done("226 Once more."); }, &[(ALL, Done)]),
    fault("garbage_once", |p, o| { p.on(o.verb()).once().answer_bytes(b"\0\xff\xfe%s%n\r\n"); },
        &[(ALL, Either(IO)), (MOUNT, Either(IO))]),
    fault("garbage_always", |p, o| { p.on(o.verb()).answer_bytes(b"\0\xff\xfe%s%n\r\n"); },
        &[(ALL, Fails(IO)), (MOUNT, Fails(IO))]),
    fault("endless_line", |p, o| { p.on(o.verb()).answer_endlessly(b"250 x"); },
        &[(ALL, Fails(TIME)), (MOUNT, Fails(TIME))]),
    fault("endless_reply", |p, o| { p.on(o.verb()).answer_endlessly(b"250-x\r\n"); },
        &[(ALL, Fails(TIME)), (MOUNT, Fails(TIME))]),
    fault("endless_1xx", |p, o| { p.on(o.verb()).answer_endlessly(b"150 soon\r\n"); },
        &[(BUT_APPEND, Fails(TIME)), (APPEND, Either(TIME)), (MOUNT, Fails(TIME))]),

    // The data connection ends.
    fault("data_closed_once", |p, o| { p.on(o.verb()).once().cut_data_after(o.middle(), How::Fin); },
        &[(LISTINGS, Done), (READS, Done), (UPLOADS, Done)]),
    fault("data_reset_once", |p, o| { p.on(o.verb()).once().cut_data_after(o.middle(), How::Rst); },
        &[(LISTINGS, Done), (READS, Done), (UPLOADS, Done)]),
    fault("data_closed_at_0_once", |p, o| { p.on(o.verb()).once().cut_data_after(0, How::Fin); },
        &[(LISTINGS, Done), (READS, Done), (UPLOADS, Done)]),
    fault("data_reset_at_0_once", |p, o| { p.on(o.verb()).once().cut_data_after(0, How::Rst); },
        &[(LISTINGS, Done), (READS, Done), (UPLOADS, Done)]),
    // Not listings: vsftpd calls them complete, and then nobody can know.
    // An append is repaired by the whole file, on which nothing strikes.
    fault("data_closed_always", |p, o| { p.on(o.verb()).cut_data_after(0, How::Fin); },
        &[(READS, Fails(IO)), (STORES, Fails(IO)), (APPEND, Either(IO))]),
    fault("data_reset_always", |p, o| { p.on(o.verb()).cut_data_after(0, How::Rst); },
        &[(LISTINGS, Fails(IO)), (READS, Fails(IO)), (STORES, Fails(IO)), (APPEND, Either(IO))]),
    fault("data_reset_every_100k", |p, o| { p.on(o.verb()).cut_data_after(100_000, How::Rst); },
        &[(&[CatLarge], Either(IO)), (&[CpInLarge], Fails(IO))]),
    fault("cut_and_called_complete_once", |p, o| {
            p.on(o.verb()).once().cut_data_after(o.middle(), How::Close);
            p.on(o.verb()).once().answer_at_end("226 Transfer complete.");
        }, &[(LISTINGS, Done), (READS, Done), (UPLOADS, Done)]),
    fault("reset_and_called_complete_once", |p, o| {
            p.on(o.verb()).once().cut_data_after(o.middle(), How::Rst);
            p.on(o.verb()).once().answer_at_end("226 Transfer complete.");
        }, &[(READS, Done), (UPLOADS, Done)]),
    fault("cut_and_called_complete_always", |p, o| {
            p.on(o.verb()).cut_data_after(0, How::Close);
            p.on(o.verb()).answer_at_end("226 Transfer complete.");
        }, &[(READS, Fails(IO)), (STORES, Fails(IO)), (APPEND, Either(IO))]),
    fault("foreign_pasv_address", |p, _| {
            p.on(Verb::Epsv).answer("500 Unknown command.");
            p.on(Verb::Pasv).foreign_address([192, 0, 2, 1]);
        }, &[(SOME, Done)]),

    // Nothing comes.
    fault("command_stalls", |p, o| { p.on(o.verb()).stall(); },
        &[(ALL, Fails(TIME)), (MOUNT, Fails(TIME))]),
    fault("command_stalls_once", |p, o| { p.on(o.verb()).once().stall(); },
        &[(ALL, Either(TIME)), (MOUNT, Either(TIME))]),
    fault("reply_stalls", |p, o| { p.on(o.verb()).stall_reply(); },
        &[(ALL, Fails(TIME)), (MOUNT, Fails(TIME))]),
    // What comes before each stall counts as progress.
    fault("data_stalls", |p, o| { p.on(o.verb()).stall_data_after(o.middle()); },
        &[(LISTINGS, Fails(TIME)), (READS, Either(TIME))]),
    fault("data_stalls_at_0", |p, o| { p.on(o.verb()).stall_data_after(0); },
        &[(LISTINGS, Fails(TIME)), (READS, Fails(TIME))]),
    Fault { is_about_final_reply: true,
        ..fault("upload_stalls", |p, o| { p.on(o.verb()).stall_data_after(0); },
        &[(STORES, Fails(TIME)), (APPEND, Either(TIME))]) },
    fault("data_stalls_once", |p, o| { p.on(o.verb()).once().stall_data_after(o.middle()); },
        &[(LISTINGS, Either(TIME)), (READS, Done)]),
    fault("reply_swallowed_once", |p, o| { p.on(o.verb()).once().swallow_reply(); },
        &[(ALL, Either(TIME)), (MOUNT, Either(TIME))]),
    Fault { is_about_final_reply: true,
        ..fault("final_reply_swallowed_once", |p, o| { p.on(o.verb()).once().swallow_final(); },
        &[(LISTINGS, Either(TIME)), (READS, Either(TIME)), (UPLOADS, Done)]) },
    fault("frozen", |p, _| p.freeze(), &[(ALL, Fails(TIME)), (MOUNT, Fails(TIME))]),
    fault("black_hole", |p, _| { p.on(Verb::Connect).stall(); none_is_left(p); },
        &[(ALL, Fails(TIME)), (MOUNT, Fails(TIME))]),
    fault("replies_drip", |p, _| { p.on(Verb::Any).drip_replies(Duration::from_millis(1)); },
        &[(ALL, Done), (MOUNT, Done)]),
    fault("data_drips", |p, o| { p.on(o.verb()).drip_data(Duration::from_micros(300)); },
        &[(LISTINGS, Done), (&[CatSmall, CpInSmall, Overwrite, Append, Fsync], Done)]),

    // The server is not there, or has no place.
    fault("down", |p, _| { p.go_down(); }, &[(ALL, Fails(IO)), (MOUNT, Fails(IO))]),
    fault("hangs_up_always", |p, _| { p.on(Verb::Connect).drop_before(How::Rst); none_is_left(p); },
        &[(ALL, Fails(IO)), (MOUNT, Fails(IO))]),
    fault("refused_421_once", |p, _| {
            p.on(Verb::Connect).once().answer("421 Too many connections.");
            none_is_left(p);
        }, &[(ALL, Done), (MOUNT, Done)]),
    fault("refused_421_always", |p, _| {
            p.on(Verb::Connect).answer("421 Too many connections.");
            none_is_left(p);
        }, &[(ALL, Fails(IO)), (MOUNT, Fails(IO))]),
    fault("full_530_once", |p, _| {
            p.on(Verb::Pass).once().answer("530 Sorry, the maximum number of clients is connected.");
            none_is_left(p);
        }, &[(SOME, Done), (MOUNT, Done)]),
    Fault { needs_forgiveness: true,
        ..fault("wrong_password", |p, _| { p.on(Verb::Pass).answer("530 Login incorrect."); none_is_left(p); },
        &[(SOME, Fails(RIGHTS)), (MOUNT, Fails(RIGHTS))]) },

    // It says no.
    fault("start_452", |p, o| { p.on(o.verb()).answer("452 No space left on device."); }, &[(UPLOADS, Fails(SPACE))]),
    fault("start_552", |p, o| { p.on(o.verb()).answer("552 Storage allocation exceeded."); }, &[(UPLOADS, Fails(SPACE))]),
    fault("start_552_quota", |p, o| { p.on(o.verb()).answer("552 Disk quota exceeded."); }, &[(SOME_UPLOADS, Fails(QUOTA))]),
    fault("start_553", |p, o| { p.on(o.verb()).answer("553 Could not create file."); }, &[(UPLOADS, Fails(RIGHTS))]),
    fault("start_550", |p, o| { p.on(o.verb()).answer("550 Permission denied."); },
        &[(READS, Fails(RIGHTS)), (UPLOADS, Fails(RIGHTS)), (CHANGES, Fails(RIGHTS))]),
    fault("start_425_once", |p, o| { p.on(o.verb()).once().answer("425 Cannot open data connection."); },
        &[(LISTINGS, Done), (READS, Done), (UPLOADS, Done)]),
    fault("start_426_once", |p, o| { p.on(o.verb()).once().answer("426 Connection closed."); },
        &[(LISTINGS, Done), (READS, Done), (UPLOADS, Done)]),
    fault("start_426_always", |p, o| { p.on(o.verb()).answer("426 Connection closed."); },
        &[(LISTINGS, Fails(IO)), (READS, Fails(IO)), (UPLOADS, Fails(IO))]),
    fault("start_421_once", |p, o| { p.on(o.verb()).once().answer("421 Service not available."); }, &[(ALL, Done)]),
    fault("start_450_once", |p, o| { p.on(o.verb()).once().answer("450 Try again."); },
        &[(LISTINGS, Done), (READS, Done), (UPLOADS, Done), (CHANGES, Done)]),
    fault("end_452", |p, o| { p.on(o.verb()).answer_at_end("452 No space left on device."); },
        &[(STORES, Fails(SPACE)), (APPEND, Either(SPACE))]),
    fault("end_552", |p, o| { p.on(o.verb()).answer_at_end("552 Storage allocation exceeded."); },
        &[(STORES, Fails(SPACE)), (APPEND, Either(SPACE))]),
    fault("end_553", |p, o| { p.on(o.verb()).answer_at_end("553 Not allowed."); },
        &[(STORES, Fails(RIGHTS)), (APPEND, Either(RIGHTS))]),
    fault("end_550", |p, o| { p.on(o.verb()).answer_at_end("550 Permission denied."); },
        // All bytes have come, and nobody asks for more than the size of the file.
        &[(READS, Either(RIGHTS)), (STORES, Fails(RIGHTS)), (APPEND, Either(RIGHTS))]),
    fault("end_426_once", |p, o| { p.on(o.verb()).once().answer_at_end("426 Connection closed."); },
        &[(LISTINGS, Done), (READS, Done), (UPLOADS, Done)]),
    fault("end_426_always", |p, o| { p.on(o.verb()).answer_at_end("426 Connection closed."); },
        &[(LISTINGS, Fails(IO)), (READS, Either(IO)), (STORES, Either(IO)), (APPEND, Either(IO))]),
    fault("end_421_once", |p, o| { p.on(o.verb()).once().answer_at_end("421 Goodbye."); },
        &[(LISTINGS, Done), (READS, Done), (UPLOADS, Done)]),
    fault("disk_full_in_the_middle", |p, o| {
            p.on(o.verb()).cut_data_after(o.middle(), How::Rst);
            p.on(o.verb()).answer_at_end("552 Transfer aborted. No space left on device");
        // Half an append is repaired by the whole file, which may find the space.
        }, &[(STORES, Fails(SPACE)), (APPEND, Either(SPACE))]),

    // The encryption fails. (Data that was cut without the notice of TLS is known to be, also where the server calls
    // it complete, and also a listing.)
    tls_fault("tls_refused", |p, _| { p.on(Verb::Auth).answer("500 Unknown command."); none_is_left(p); },
        &[(SOME, Fails(IO)), (MOUNT, Fails(UNENCRYPTED))]),
    tls_fault("tls_login_cut_once", |p, _| { p.on(Verb::Auth).once().cut_handshake(How::Rst); none_is_left(p); },
        &[(SOME, Done), (MOUNT, Either(IO))]),
    tls_fault("tls_login_cut_always", |p, _| { p.on(Verb::Auth).cut_handshake(How::Fin); none_is_left(p); },
        &[(SOME, Fails(IO)), (MOUNT, Fails(IO))]),
    tls_fault("tls_login_stalls", |p, _| { p.on(Verb::Auth).stall_handshake(); none_is_left(p); },
        &[(SOME, Fails(TIME)), (MOUNT, Fails(TIME))]),
    tls_fault("tls_of_data_cut_once", |p, o| { p.on(o.verb()).once().cut_handshake(How::Fin); },
        &[(LISTINGS, Done), (READS, Done), (UPLOADS, Done)]),
    tls_fault("tls_of_data_reset_once", |p, o| { p.on(o.verb()).once().cut_handshake(How::Rst); },
        &[(LISTINGS, Done), (READS, Done), (UPLOADS, Done)]),
    tls_fault("tls_of_data_cut_always", |p, o| { p.on(o.verb()).cut_handshake(How::Fin); },
        &[(LISTINGS, Fails(IO)), (READS, Fails(IO)), (STORES, Fails(IO)), (APPEND, Either(IO))]),
    tls_fault("tls_of_data_stalls", |p, o| { p.on(o.verb()).stall_handshake(); },
        &[(LISTINGS, Fails(TIME)), (READS, Fails(TIME)), (STORES, Fails(TIME)), (APPEND, Either(TIME))]),
    tls_fault("tls_not_resumed_once", |p, o| {
            p.on(o.verb()).once().cut_handshake(How::Fin);
            p.on(o.verb()).once().answer_at_end(STRANGER);
        },
        &[(LISTINGS, Done), (READS, Done), (UPLOADS, Done)]),
    tls_fault("tls_not_resumed_always", |p, o| {
            p.on(o.verb()).cut_handshake(How::Fin);
            p.on(o.verb()).answer_at_end(STRANGER);
        }, &[(LISTINGS, Fails(IO)), (READS, Fails(IO)), (STORES, Fails(IO)), (APPEND, Either(IO))]),
    tls_fault("tls_cut_and_called_complete_once", |p, o| {
            p.on(o.verb()).once().cut_data_after(o.middle(), How::Fin);
            p.on(o.verb()).once().answer_at_end("226 Transfer complete.");
        }, &[(LISTINGS, Done), (READS, Done), (UPLOADS, Done)]),
    tls_fault("tls_cut_and_called_complete_always", |p, o| {
            p.on(o.verb()).cut_data_after(0, How::Fin);
            p.on(o.verb()).answer_at_end("226 Transfer complete.");
        }, &[(LISTINGS, Fails(IO)), (READS, Fails(IO)), (STORES, Fails(IO)), (APPEND, Either(IO))]),

    // A listing that is none.
    fault("endless_listing", |p, _| { p.on(Verb::Listing).endless_data(LINE); }, &[(&[Ls], Fails(IO))]),
    fault("endless_listing_line", |p, _| { p.on(Verb::Listing).endless_data(b"xxxxxxxxxxxxxxxx"); }, &[(LISTINGS, Fails(IO))]),
];

/// As vsftpd says it.
const STRANGER: &str = "522 SSL connection failed; session reuse required: see require_ssl_reuse option in vsftpd.conf man page";
const SOME_UPLOADS: &[Operation] = &[CpInSmall, Overwrite, Append];
const LINE: &[u8] = b"-rw-r--r-- 1 a b 1 Jan 1 00:00 x\r\n";

/// That the page shows what is tested.
pub(crate) fn page() -> Trial {
    Trial::test("table::is_in_the_picture_of_the_house", || {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/ARCHITECTURE.md");
        let table = for_people();
        match fs::read_to_string(page)?.contains(&table) {
            true => Ok(()),
            false => Err(format!("ARCHITECTURE.md has not this table:\n{table}").into()),
        }
    })
}

/// One trial per cell of those that are wanted.
pub(crate) fn trials(site: &Site, wanted: fn(&Fault, Operation) -> bool) -> Vec<Trial> {
    let mut trials = Vec::new();
    let mut names = BTreeSet::new();
    // Those that take longest begin first.
    let (long, short): (Vec<_>, Vec<_>) = TABLE.iter().partition(|f| f.is_about_final_reply);
    for fault in long.into_iter().chain(short) {
        if fault.is_about_tls && site.line == Line::Clear {
            continue;
        }
        for (operations, expect) in fault.cells {
            for operation in operations.iter().filter(|o| wanted(fault, **o)) {
                let site = site.clone();
                let name = format!("table::{}::{}", fault.name, operation.name());
                let name = site.name("::", &name);
                assert!(names.insert(name.clone()), "{name} is twice in the table");
                trials.push(test_apart(name, move || {
                    cell::run(&site, fault, *operation, *expect);
                    Ok(())
                }));
            }
        }
    }
    trials
}

/// The columns of the table in the picture of the house.
const COLUMNS: &[(&str, &[Operation])] = &[
    ("ls, stat", LISTINGS),
    ("cat", READS),
    ("cp in, overwrite, fsync", STORES),
    ("append", APPEND),
    ("mkdir, rename, unlink", CHANGES),
    ("mounting", MOUNT),
];

/// The table for people.
pub(crate) fn for_people() -> String {
    let mut lines = vec![String::from("| fault |"), String::from("|---|")];
    for (title, _) in COLUMNS {
        lines[0] += &format!(" {title} |");
        lines[1] += "---|";
    }
    // Faults with the same consequences share a line.
    let mut rows: Vec<(Vec<String>, String)> = Vec::new();
    for fault in TABLE {
        let mut cells = String::new();
        for (_, operations) in COLUMNS {
            let results: BTreeSet<String> = operations
                .iter()
                .filter_map(|operation| fault.expected(*operation))
                .map(Expect::shown)
                .collect();
            let results: Vec<String> = results.into_iter().collect();
            cells += &format!(" {} |", results.join(", "));
        }
        let name = fault.name.replace('_', " ");
        match rows.iter_mut().find(|(_, other)| *other == cells) {
            Some((names, _)) => names.push(name),
            None => rows.push((vec![name], cells)),
        }
    }
    for (names, cells) in rows {
        lines.push(format!("| {} |{cells}", names.join("; ")));
    }
    lines.join("\n")
}

/// The first of these that a fault is tried on shows what it does to the others.
const EXAMPLES: [&[Operation]; 2] = [
    &[CatLarge, CatSmall, Ls],
    &[Overwrite, CpInLarge, CpInSmall],
];

impl Fault {
    /// Whether this operation shows, in a short time, what the fault does: reading and writing where it is about TLS,
    /// else by turns.
    pub(crate) fn is_shown_by(&self, operation: Operation) -> bool {
        let first = |of: &[Operation]| of.iter().copied().find(|o| self.expected(*o).is_some());
        let mut examples: Vec<_> = EXAMPLES.into_iter().filter_map(first).collect();
        if !self.is_about_tls && examples.len() > 1 {
            let place = TABLE.iter().position(|fault| fault.name == self.name);
            examples.swap_remove(place.unwrap_or(0) % 2);
        }
        !self.is_about_final_reply && examples.contains(&operation)
    }

    fn expected(&self, operation: Operation) -> Option<Expect> {
        let cell = |cells: &&(&[Operation], Expect)| cells.0.contains(&operation);
        self.cells.iter().find(cell).map(|cells| cells.1)
    }
}

impl Expect {
    fn shown(self) -> String {
        let errors = |errors: &[Errno]| {
            let names: Vec<String> = errors.iter().map(|e| format!("{e:?}")).collect();
            names.join(" or ")
        };
        match self {
            Done => "done".to_owned(),
            Fails(kinds) => errors(kinds),
            Either(kinds) => format!("done or {}", errors(kinds)),
        }
    }
}
