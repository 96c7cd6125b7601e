//! What a program was told has failed does not happen later.

use std::fs;
use std::time::Duration;

use crate::cell::Ground;
use crate::kept::Holder;
use crate::support::faulty::Verb;
use crate::support::poll;

const LIMIT: Duration = Duration::from_secs(20);

/// The unlink has to wait for an upload, and its program does not: who makes the file anew meanwhile has it.
pub(crate) fn what_is_made_anew_is_not_deleted_by_who_has_given_up(ground: &mut Ground) {
    ground.mount_with(&["timeout=60"]);
    let stalled = ground.proxy.on(Verb::Stor).once().stall_data_after(0);
    let mut first = Holder::new(ground.mounted(), &["create f", "small", "close"]);
    first.does(2);
    stalled.happens_within(LIMIT);
    // The commit goes on.
    drop(first);
    let deletes = Holder::new(ground.mounted(), &["unlink f"]);
    poll::until(LIMIT, "the unlink waits", || deletes.waits_for_the_mount());
    drop(deletes);
    let mut anew = Holder::new(ground.mounted(), &["create f", "text 0", "close"]);
    poll::until(LIMIT, "who makes it anew waits", || {
        anew.waits_for_the_mount()
    });
    stalled.lift();
    anew.does(3);
    assert_eq!(fs::read(ground.there.join("f")).unwrap(), b"changed");
    assert_eq!(ground.proxy.counts().commands(Verb::Dele), 0);
}
