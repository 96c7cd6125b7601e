//! Sessions: shared, replaced, limited, closed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use ftpfs::ftp::{LoginConfig, Transfer};
use ftpfs::pool::{Lease, Need, Pool, PoolConfig, PoolError, Reclaim};
use ftpfs::remote::{ErrorKind, Remote};

use crate::support::poll;
use crate::support::scripted::{Conversation, Script, Scripted, script};
use crate::{login, path, pool_of, remote};

const LIMIT: Duration = Duration::from_secs(10);

fn plain() -> Script {
    script(|c| {
        c.greet(&[]);
        c.until_the_end();
    })
}

fn soon() -> Instant {
    Instant::now() + LIMIT
}

#[test]
fn one_session_is_enough_for_all() {
    let server = Scripted::start(vec![script(|c| {
        c.greet(&[]);
        for _ in 0..40 {
            assert!(c.command().unwrap().starts_with("MKD /"));
            c.send("257 made");
        }
        c.until_the_end();
    })]);
    let remote = remote(&server, 1);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let remote = &remote;
            scope.spawn(move || {
                for n in 0..10 {
                    remote
                        .make_directory(&path(&format!("/{thread}-{n}")))
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(remote.connections().live, 1);
    remote.close();
    let error = remote.make_directory(&path("/late")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    server.finish();
}

#[test]
fn those_who_wait_are_served_in_turn() {
    let server = Scripted::start(vec![plain()]);
    let pool = Pool::new(login(&server), pool_of(1));
    let held = pool.lease(Need::Command, soon()).unwrap();
    let order = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (pool, order) = (&pool, &order);
            let waiting = Arc::new(Waits::default());
            pool.set_reclaimer(weak(&waiting));
            scope.spawn(move || {
                let lease = pool.lease(Need::Command, soon()).unwrap();
                order.lock().unwrap().push(number);
                drop(lease);
            });
            // It asks for a session to be given back only once it is in the queue.
            poll::until(LIMIT, "the next one waits", || {
                waiting.0.load(Ordering::SeqCst)
            });
        }
        drop(held);
    });
    assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
    drop(pool);
    server.finish();
}

#[derive(Default)]
struct Waits(AtomicBool);

impl Reclaim for Waits {
    fn reclaim(&self) -> bool {
        self.0.store(true, Ordering::SeqCst);
        false
    }
}

fn weak<T: Reclaim + 'static>(reclaimer: &Arc<T>) -> Weak<dyn Reclaim> {
    let weak: Weak<T> = Arc::downgrade(reclaimer);
    weak
}

#[test]
fn idle_holders_are_asked_to_give_back() {
    struct Holder(Mutex<Option<Lease>>);
    impl Reclaim for Holder {
        fn reclaim(&self) -> bool {
            self.0.lock().unwrap().take().is_some()
        }
    }
    let server = Scripted::start(vec![plain()]);
    let pool = Pool::new(login(&server), pool_of(1));
    let holder = Arc::new(Holder(Mutex::new(Some(
        pool.lease(Need::Command, soon()).unwrap(),
    ))));
    pool.set_reclaimer(weak(&holder));
    drop(pool.lease(Need::Command, soon()).unwrap());
    assert!(holder.0.lock().unwrap().is_none());
    drop(pool);
    server.finish();
}

#[test]
fn waiting_ends_with_a_reason() {
    let server = Scripted::start(vec![plain()]);
    let pool = Pool::new(login(&server), pool_of(1));
    let held = pool.lease(Need::Command, soon()).unwrap();
    let error = pool
        .lease(Need::Command, Instant::now() + Duration::from_millis(50))
        .unwrap_err();
    assert!(matches!(error, PoolError::TimedOut { allowed: 1, .. }));
    drop(held);
    drop(pool);
    server.finish();
}

#[test]
fn a_session_that_died_unused_is_replaced() {
    let server = Scripted::start(vec![
        script(|c| {
            c.greet(&[]);
            c.answer("MKD /a", "257 made");
            c.send("421 Timeout.");
        }),
        script(|c| {
            c.greet(&[]);
            c.answer("MKD /b", "257 made");
            c.until_the_end();
        }),
    ]);
    let remote = remote(&server, 2);
    remote.make_directory(&path("/a")).unwrap();
    remote.make_directory(&path("/b")).unwrap();
    assert_eq!(remote.connections().live, 1);
    remote.close();
    server.finish();
}

#[test]
fn a_full_server_lowers_the_limit() {
    let server = Scripted::start(vec![
        plain(),
        script(|c| c.send("421 There are too many connections from your internet address.")),
    ]);
    let pool = Pool::new(login(&server), pool_of(6));
    let first = pool.lease(Need::Command, soon()).unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| pool.lease(Need::Command, soon()));
        poll::until(LIMIT, "the limit is lowered", || pool.counts().allowed == 1);
        drop(first);
        assert!(second.join().unwrap().unwrap().is_reused());
    });
    let held = pool.lease(Need::Command, soon()).unwrap();
    let error = pool
        .lease(Need::Command, Instant::now() + Duration::from_millis(50))
        .unwrap_err();
    assert!(matches!(error, PoolError::ServerFull { allowed: 1 }));
    drop(held);
    drop(pool);
    server.finish();
}

#[test]
fn a_server_that_was_full_a_moment_ago_is_asked_again() {
    let server = Scripted::start(vec![
        script(|c| c.send("421 Too many users.")),
        script(|c| {
            c.greet(&[]);
            c.answer("MKD /a", "257 made");
            c.until_the_end();
        }),
    ]);
    let remote = remote(&server, 2);
    remote.make_directory(&path("/a")).unwrap();
    remote.close();
    server.finish();
}

#[test]
fn a_refused_password_is_not_tried_again_by_itself() {
    let refuse = || {
        script(|c| {
            c.send("220 ready");
            c.line();
            c.send("331 password");
            c.line();
            c.send("530 Login incorrect.");
            assert_eq!(c.line(), None);
        })
    };
    let server = Scripted::start(vec![refuse(), refuse()]);
    let error = Remote::connect(login(&server), pool_of(2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LoginRefused);
    assert_eq!(error.to_string(), "PASS refused: 530 Login incorrect.");
    let remote = remote(&server, 2);
    for _ in 0..3 {
        let error = remote.home().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LoginRefused);
    }
    assert_eq!(server.count("PASS"), 2);
    server.finish();
}

#[test]
fn it_is_tried_again_when_the_user_says_so() {
    let server = Scripted::start(vec![
        script(|c| {
            c.send("220 ready");
            c.line();
            c.send("530 no");
            assert_eq!(c.line(), None);
        }),
        plain(),
    ]);
    let remote = remote(&server, 2);
    assert!(remote.home().is_err());
    remote.forgive();
    assert!(remote.home().unwrap().is_root());
    remote.close();
    server.finish();
}

#[test]
fn unused_sessions_are_logged_out() {
    let server = Scripted::start(vec![plain(), plain()]);
    let config = PoolConfig {
        max_connections: 2,
        idle: Duration::from_millis(50),
        last_idle: Duration::from_secs(100),
        patience: Duration::from_secs(5),
        hard: false,
        ahead: false,
    };
    let pool = Pool::new(LoginConfig::clone(&login(&server)), config);
    let both = (
        pool.lease(Need::Command, soon()).unwrap(),
        pool.lease(Need::Command, soon()).unwrap(),
    );
    drop(both);
    poll::until(LIMIT, "one is closed", || pool.counts().live == 1);
    poll::until(LIMIT, "with a goodbye", || server.count("QUIT") == 1);
    drop(pool);
    poll::until(LIMIT, "the last one too", || server.count("QUIT") == 2);
    server.finish();
}

#[test]
fn a_broken_session_is_not_given_out_again() {
    let server = Scripted::start(vec![plain(), plain()]);
    let pool = Pool::new(login(&server), pool_of(2));
    let mut lease = pool.lease(Need::Command, soon()).unwrap();
    lease.mark_broken();
    drop(lease);
    assert_eq!(pool.counts().live, 0);
    assert!(!pool.lease(Need::Command, soon()).unwrap().is_reused());
    drop(pool);
    server.finish();
}

/// Answers all commands alike, but for EPSV, and tells when the connection has ended.
fn answers_alike(c: &mut Conversation, ended: &AtomicBool) {
    while let Some(line) = c.line() {
        match line.split(' ').next().unwrap() {
            "USER" => c.send("331 x"),
            "PASS" => c.send("230 x"),
            "FEAT" => c.send("211 x"),
            "PWD" => c.send("257 \"/\""),
            "EPSV" => {}
            _ => c.send("200 x"),
        }
    }
    ended.store(true, Ordering::SeqCst);
}

#[test]
fn the_session_of_a_failed_probe_ends_before_the_next_one_begins() {
    let probed = Arc::new(AtomicBool::new(false));
    let (second, third) = (Arc::clone(&probed), Arc::clone(&probed));
    let server = Scripted::start(vec![
        script(|c| {
            c.send("220 ready");
            answers_alike(c, &AtomicBool::new(false));
        }),
        // CWD answered by 200 is not what the probe expects.
        script(move |c| {
            c.send("220 ready");
            answers_alike(c, &second);
        }),
        script(move |c| {
            let ended = || third.load(Ordering::SeqCst);
            poll::until(Duration::from_secs(3), "the one before has ended", ended);
            c.send("220 ready");
            answers_alike(c, &AtomicBool::new(false));
        }),
    ]);
    let config = PoolConfig {
        ahead: true,
        ..pool_of(2)
    };
    let pool = Pool::new(login(&server), config);
    drop(pool.lease(Need::Data, soon()).unwrap());
    poll::until(LIMIT, "EPSV is asked", || server.count("EPSV") > 0);
    // No data connection is ready, so another session is opened ahead.
    let held = pool.lease(Need::Data, soon()).unwrap();
    let sessions = || server.count("USER") == 3;
    poll::until(LIMIT, "a third login", sessions);
    assert!(pool.counts().live <= 2);
    drop(held);
    drop(pool);
    server.finish();
}

#[test]
fn a_port_that_was_told_with_another_reply_is_used() {
    let connected = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&connected);
    let server = Scripted::start(vec![script(move |c| {
        c.greet(&[]);
        c.expect("RETR /f");
        c.send_data(b"x");
        c.send("226 done");
        // EPSV comes before it, and is answered.
        c.answer("MDTM /f", "213 20240102030405");
        drop(c.data());
        seen.store(true, Ordering::SeqCst);
        c.until_the_end();
    })]);
    let config = PoolConfig {
        ahead: true,
        ..pool_of(1)
    };
    let pool = Pool::new(login(&server), config);
    let mut lease = pool.lease(Need::Data, soon()).unwrap();
    assert!(lease.probe_pipelining());
    let mut transfer = Transfer::retrieve(lease, &path("/f"), 0).unwrap();
    while transfer.read(&mut [0; 7]).unwrap() > 0 {}
    transfer.prepare_next();
    let (mut lease, _) = transfer.finish(LIMIT).unwrap();
    lease.modified(&path("/f")).unwrap();
    drop(lease);
    poll::until(LIMIT, "the data connection is made", || {
        connected.load(Ordering::SeqCst)
    });
    pool.close();
    server.finish();
}

#[test]
fn the_session_that_ends_an_outage_is_armed_like_any_other() {
    let back = Arc::new(AtomicBool::new(false));
    let returning = || {
        let back = Arc::clone(&back);
        script(move |c| {
            if !back.load(Ordering::SeqCst) {
                c.send("220 ready");
                c.line();
                return;
            }
            c.greet(&[]);
            for _ in 0..2 {
                c.expect("RETR /f");
                c.send_data(b"x");
                c.send("226 done");
            }
            c.until_the_end();
        })
    };
    let mut scripts = vec![plain()];
    scripts.extend((0..100).map(|_| returning()));
    let server = Scripted::start(scripts);
    let config = PoolConfig {
        ahead: true,
        patience: LIMIT,
        ..pool_of(1)
    };
    let pool = Pool::new(login(&server), config);
    let mut first = pool.lease(Need::Command, soon()).unwrap();
    first.mark_broken();
    drop(first);
    let retrieve = || {
        let lease = pool.lease(Need::Data, soon()).unwrap();
        let mut transfer = Transfer::retrieve(lease, &path("/f"), 0).unwrap();
        while transfer.read(&mut [0; 7]).unwrap() > 0 {}
        drop(transfer.finish(LIMIT).unwrap());
    };
    std::thread::scope(|scope| {
        let waiting = scope.spawn(retrieve);
        poll::until(LIMIT, "the server is away", || pool.away().is_some());
        back.store(true, Ordering::SeqCst);
        waiting.join().unwrap();
    });
    assert_eq!(server.count("RETR"), 1);
    poll::until(LIMIT, "the next data connection is asked for", || {
        server.count("EPSV") == 2
    });
    retrieve();
    drop(pool);
    server.finish();
}
