//! The proxy itself: that it relays everything, and fails exactly as told.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::client::{Client, nothing_comes};
use crate::support::faulty::{How, Proxy, Verb};
use crate::support::poll;
use crate::support::server::Server;
use crate::{Site, test_apart};

const LIMIT: Duration = Duration::from_secs(20);
const HOWS: [How; 2] = [How::Fin, How::Rst];

/// A server with a folder for one test, and a proxy in front of it.
struct Scene<'a> {
    server: &'a Server,
    proxy: Proxy,
    name: &'static str,
}

impl Scene<'_> {
    fn login(&self) -> Client {
        Client::login(self.proxy.address(), self.server)
    }

    /// The folder on the server's disk.
    fn there(&self, name: &str) -> PathBuf {
        self.server.at(self.name).join(name)
    }

    /// The path for commands.
    fn path(&self, name: &str) -> String {
        format!("/{}/{name}", self.name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.there(name), bytes).unwrap();
    }
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count)
        .map(|n| ((n * 7 + n / 251) & 0xff).try_into().unwrap())
        .collect()
}

type Test = (&'static str, fn(&Scene<'_>));

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        const TESTS: &[Test] = &[$((stringify!($name), $name)),*];
    };
}

tests! {
    everything_goes_through,
    a_command_that_is_dropped_before_is_not_done,
    half_a_command_is_not_done,
    a_command_that_is_dropped_after_is_done,
    the_final_reply_is_lost_with_its_connection,
    replies_are_swallowed,
    connections_die_idle,
    a_connection_dies_after_its_command,
    unasked_lines_come,
    the_nth_connection_is_refused,
    answers_are_forged_at_the_start,
    answers_are_forged_at_the_end,
    downloads_are_cut_at_the_byte,
    uploads_are_cut_at_the_byte,
    cut_transfers_are_called_complete,
    commands_stall_and_go_on,
    replies_stall_and_go_on,
    data_stalls_and_goes_on,
    a_black_hole_says_nothing,
    everything_freezes_and_goes_on,
    bytes_drip,
    answers_and_listings_are_endless,
    listings_are_replaced,
    foreign_addresses_are_named,
    the_server_goes_down_and_comes_back,
    pipelined_commands_keep_their_order,
    chance_repeats_itself,
    nothing_that_hangs_outlives_the_handle,
}

/// One trial per test.
pub(crate) fn trials(site: &Site) -> Vec<Trial> {
    TESTS
        .iter()
        .map(|(name, test)| {
            let site = site.clone();
            test_apart(format!("proxy::{name}"), move || {
                let server = site.server();
                fs::create_dir(server.at(name)).unwrap();
                server.hand_over();
                let proxy = Proxy::start(server.port());
                test(&Scene {
                    server,
                    proxy,
                    name,
                });
                Ok(())
            })
        })
        .collect()
}

fn everything_goes_through(scene: &Scene<'_>) {
    let content = bytes(1_000_000);
    scene.put("here", &content);
    let mut client = scene.login();
    let (found, ended, reply) = client.fetch(&format!("RETR {}", scene.path("here")));
    assert!(found == content && ended.is_ok() && reply.starts_with("226"));
    let reply = client.store(&scene.path("new"), &content);
    assert!(reply.starts_with("226"), "{reply}");
    assert!(fs::read(scene.there("new")).unwrap() == content);
    let (host, port) = client.pasv();
    assert_eq!(host, scene.proxy.address().ip().to_string());
    let mut listing = client.data(port);
    client.asks(&format!("NLST {}", scene.path("")), "150");
    let mut text = String::new();
    listing.read_to_string(&mut text).unwrap();
    client.expect("226");
    assert!(text.contains("here") && text.contains("new"), "{text}");
    let counts = scene.proxy.counts();
    assert_eq!(
        (counts.connections, counts.open, counts.most_open),
        (1, 1, 1)
    );
    assert_eq!(counts.data_connections, 3);
    assert_eq!(counts.uploaded, 1_000_000);
    assert!(counts.downloaded > 1_000_000);
    assert_eq!(counts.commands(Verb::Passive), 3);
    assert_eq!(counts.commands(Verb::Pass), 1);
    assert!(
        !scene
            .proxy
            .lines()
            .join("\n")
            .contains(scene.server.password())
    );
    client.asks("QUIT", "221");
    assert_eq!(client.is_ended_by(), ErrorKind::UnexpectedEof);
    poll::until(LIMIT, "it is closed", || scene.proxy.counts().open == 0);
}

fn end_of(how: How) -> ErrorKind {
    match how {
        How::Fin | How::Close => ErrorKind::UnexpectedEof,
        How::Rst => ErrorKind::ConnectionReset,
    }
}

fn a_command_that_is_dropped_before_is_not_done(scene: &Scene<'_>) {
    for (n, how) in HOWS.into_iter().enumerate() {
        let fault = scene.proxy.on(Verb::Mkd).once().drop_before(how);
        let mut client = scene.login();
        client.send(&format!("MKD {}", scene.path(&n.to_string())));
        assert_eq!(client.is_ended_by(), end_of(how));
        assert!(!scene.there(&n.to_string()).exists());
        assert_eq!(fault.hits(), 1);
        let mut client = scene.login();
        client.asks(&format!("MKD {}", scene.path(&n.to_string())), "257");
        assert_eq!(fault.hits(), 1);
    }
}

fn half_a_command_is_not_done(scene: &Scene<'_>) {
    let fault = scene.proxy.on(Verb::Mkd).drop_inside();
    let mut client = scene.login();
    client.send(&format!("MKD {}", scene.path("directory")));
    client.is_ended_by();
    assert_eq!(fault.hits(), 1);
    assert_eq!(fs::read_dir(scene.there("")).unwrap().count(), 0);
}

fn a_command_that_is_dropped_after_is_done(scene: &Scene<'_>) {
    for (n, how) in HOWS.into_iter().enumerate() {
        scene.proxy.on(Verb::Mkd).once().drop_after(how);
        let mut client = scene.login();
        client.send(&format!("MKD {}", scene.path(&n.to_string())));
        assert_eq!(client.is_ended_by(), end_of(how));
        assert!(scene.there(&n.to_string()).is_dir());
    }
}

fn the_final_reply_is_lost_with_its_connection(scene: &Scene<'_>) {
    scene.proxy.on(Verb::Stor).once().drop_at_end(How::Fin);
    let mut client = scene.login();
    let mut data = client.epsv();
    client.asks(&format!("STOR {}", scene.path("file")), "150");
    data.write_all(&bytes(5000)).unwrap();
    drop(data);
    assert_eq!(client.is_ended_by(), ErrorKind::UnexpectedEof);
    assert!(fs::read(scene.there("file")).unwrap() == bytes(5000));
}

fn replies_are_swallowed(scene: &Scene<'_>) {
    let first = scene.proxy.on(Verb::Mkd).once().swallow_reply();
    let last = scene.proxy.on(Verb::Stor).once().swallow_final();
    let mut client = scene.login();
    client.send(&format!("MKD {}", scene.path("dir")));
    first.happens_within(LIMIT);
    client.hears_nothing();
    let mut data = client.epsv();
    client.asks(&format!("STOR {}", scene.path("file")), "150");
    data.write_all(b"x").unwrap();
    drop(data);
    last.happens_within(LIMIT);
    client.hears_nothing();
    client.asks("NOOP", "200");
}

fn connections_die_idle(scene: &Scene<'_>) {
    for how in HOWS {
        let (mut one, mut two) = (scene.login(), scene.login());
        let stall = scene.proxy.on(Verb::Cwd).stall();
        one.send("CWD /");
        stall.happens_within(LIMIT);
        assert_eq!(scene.proxy.drop_idle(how), 1);
        assert_eq!(two.is_ended_by(), end_of(how));
        stall.lift();
        one.expect("250");
        assert_eq!(scene.proxy.drop_all(how), 1);
        assert_eq!(one.is_ended_by(), end_of(how));
    }
}

fn a_connection_dies_after_its_command(scene: &Scene<'_>) {
    for how in HOWS {
        scene.proxy.on(Verb::Cwd).once().drop_when_done(how);
        let mut client = scene.login();
        client.asks("CWD /", "250");
        assert_eq!(client.is_ended_by(), end_of(how));
    }
}

fn unasked_lines_come(scene: &Scene<'_>) {
    let mut client = scene.login();
    assert_eq!(scene.proxy.say_idle("226 Transfer complete."), 1);
    client.expect("226 Transfer complete.");
    scene.proxy.on(Verb::Cwd).say_when_done("200 And more.");
    client.asks("CWD /", "250");
    client.expect("200 And more.");
    assert_eq!(scene.proxy.say_bytes_idle(b"\0\xff\n"), 1);
    client.expect("\0");
    assert_eq!(scene.proxy.say_idle("421 Timeout."), 1);
    client.expect("421");
    assert_eq!(client.is_ended_by(), ErrorKind::UnexpectedEof);
}

fn the_nth_connection_is_refused(scene: &Scene<'_>) {
    let fault = scene
        .proxy
        .on(Verb::Connect)
        .after(1)
        .once()
        .answer("421 Too many connections.");
    let _first = scene.login();
    let mut second = Client::connect(scene.proxy.address());
    second.expect("421");
    assert_eq!(second.is_ended_by(), ErrorKind::UnexpectedEof);
    let _third = scene.login();
    assert_eq!(fault.hits(), 1);
    scene
        .proxy
        .on(Verb::Pass)
        .once()
        .answer("530 Too many users.");
    let mut fourth = Client::connect(scene.proxy.address());
    fourth.expect("220");
    fourth.asks("USER x", "331");
    fourth.asks("PASS y", "530 Too many users.");
    for how in HOWS {
        scene.proxy.on(Verb::Connect).once().drop_before(how);
        let mut fifth = Client::connect(scene.proxy.address());
        assert_eq!(fifth.is_ended_by(), end_of(how));
    }
}

fn answers_are_forged_at_the_start(scene: &Scene<'_>) {
    let fault = scene
        .proxy
        .on(Verb::Stor)
        .at("/full")
        .answer("452 No space.");
    let mut client = scene.login();
    let mut data = client.epsv();
    client.asks(&format!("STOR {}", scene.path("full")), "452 No space.");
    assert_eq!(data.read(&mut [0]).unwrap(), 0, "the data connection ends");
    assert!(!scene.there("full").exists());
    assert!(client.store(&scene.path("other"), b"x").starts_with("226"));
    assert_eq!(fault.hits(), 1);
    scene
        .proxy
        .on(Verb::Pwd)
        .once()
        .answer_bytes(b"\xff\xfe garbage\n");
    client.send("PWD");
    assert!(client.line().unwrap().contains("garbage"));
}

fn answers_are_forged_at_the_end(scene: &Scene<'_>) {
    scene
        .proxy
        .on(Verb::Stor)
        .once()
        .answer_at_end("552 Quota exceeded.");
    let mut client = scene.login();
    assert_eq!(
        client.store(&scene.path("file"), b"x"),
        "552 Quota exceeded."
    );
    assert!(scene.there("file").exists());
}

fn downloads_are_cut_at_the_byte(scene: &Scene<'_>) {
    let content = bytes(300_000);
    scene.put("file", &content);
    let retr = format!("RETR {}", scene.path("file"));
    for how in HOWS {
        for at in [0, 1, 1000, 200_000] {
            let fault = scene
                .proxy
                .on(Verb::Retr)
                .once()
                .cut_data_after(at as u64, how);
            let mut client = scene.login();
            let (found, ended, _) = client.fetch(&retr);
            match how {
                How::Fin | How::Close => assert!(found == content[..at], "{} of {at}", found.len()),
                // What the client's side has not taken yet is lost to it.
                How::Rst => assert!(content[..at].starts_with(&found)),
            }
            assert_eq!(ended.is_ok(), how == How::Fin, "{ended:?}");
            assert_eq!(fault.hits(), 1);
            let (found, ended, reply) = client.fetch(&retr);
            assert!(found == content && ended.is_ok() && reply.starts_with("226"));
        }
    }
    let fault = scene.proxy.on(Verb::Retr).cut_data_after(300_000, How::Rst);
    let (found, ended, _) = scene.login().fetch(&retr);
    assert!(
        found == content && ended.is_ok(),
        "it ends where it would be cut"
    );
    assert_eq!(fault.hits(), 0);
}

fn uploads_are_cut_at_the_byte(scene: &Scene<'_>) {
    let content = bytes(300_000);
    for how in HOWS {
        for at in [0, 1, 1000, 200_000] {
            let fault = scene
                .proxy
                .on(Verb::Stor)
                .once()
                .cut_data_after(at as u64, how);
            let mut client = scene.login();
            let reply = client.store(&scene.path("file"), &content);
            let expected = if how == How::Fin { "226" } else { "426" };
            assert!(reply.starts_with(expected), "{reply}");
            let there = fs::read(scene.there("file")).unwrap();
            match how {
                How::Fin | How::Close => assert!(there == content[..at]),
                // What the server has not read yet is lost to it.
                How::Rst => assert!(content[..at].starts_with(&there)),
            }
            assert_eq!(fault.hits(), 1);
            let reply = client.store(&scene.path("file"), &content);
            assert!(reply.starts_with("226"), "{reply}");
        }
    }
}

fn cut_transfers_are_called_complete(scene: &Scene<'_>) {
    scene.put("file", &bytes(100_000));
    scene.proxy.on(Verb::Retr).cut_data_after(10, How::Fin);
    scene
        .proxy
        .on(Verb::Retr)
        .answer_at_end("226 Transfer complete.");
    let (found, ended, reply) = scene.login().fetch(&format!("RETR {}", scene.path("file")));
    assert_eq!((found.len(), ended.is_ok()), (10, true));
    assert_eq!(reply, "226 Transfer complete.");
}

fn commands_stall_and_go_on(scene: &Scene<'_>) {
    let fault = scene.proxy.on(Verb::Mkd).stall();
    let mut client = scene.login();
    client.send(&format!("MKD {}", scene.path("dir")));
    client.send("NOOP");
    fault.happens_within(LIMIT);
    client.hears_nothing();
    assert!(!scene.there("dir").exists());
    fault.lift();
    client.expect("257");
    client.expect("200");
}

fn replies_stall_and_go_on(scene: &Scene<'_>) {
    let fault = scene.proxy.on(Verb::Mkd).stall_reply();
    let mut client = scene.login();
    client.send(&format!("MKD {}", scene.path("dir")));
    fault.happens_within(LIMIT);
    client.hears_nothing();
    assert!(scene.there("dir").exists());
    scene.proxy.heal();
    client.expect("257");
}

fn data_stalls_and_goes_on(scene: &Scene<'_>) {
    let content = bytes(1_000_000);
    scene.put("file", &content);
    for at in [0, 100_000] {
        let fault = scene.proxy.on(Verb::Retr).stall_data_after(at as u64);
        let mut client = scene.login();
        let mut data = client.epsv();
        client.asks(&format!("RETR {}", scene.path("file")), "150");
        let mut found = vec![0; at];
        data.read_exact(&mut found).unwrap();
        fault.happens_within(LIMIT);
        nothing_comes(&mut data);
        fault.lift();
        data.read_to_end(&mut found).unwrap();
        drop(data);
        client.expect("226");
        assert!(found == content);
    }
    let fault = scene.proxy.on(Verb::Stor).stall_data_after(5);
    let mut client = scene.login();
    let mut data = client.epsv();
    client.asks(&format!("STOR {}", scene.path("new")), "150");
    data.write_all(b"more than five").unwrap();
    drop(data);
    fault.happens_within(LIMIT);
    client.hears_nothing();
    fault.lift();
    client.expect("226");
    assert_eq!(fs::read(scene.there("new")).unwrap(), b"more than five");
}

fn a_black_hole_says_nothing(scene: &Scene<'_>) {
    let fault = scene.proxy.on(Verb::Connect).stall();
    let mut client = Client::connect(scene.proxy.address());
    fault.happens_within(LIMIT);
    client.hears_nothing();
    fault.lift();
    client.expect("220");
}

fn everything_freezes_and_goes_on(scene: &Scene<'_>) {
    scene.put("file", &bytes(1000));
    let mut old = scene.login();
    let mut data = old.epsv();
    scene.proxy.freeze();
    let mut new = Client::connect(scene.proxy.address());
    old.send(&format!("RETR {}", scene.path("file")));
    new.hears_nothing();
    old.hears_nothing();
    scene.proxy.thaw();
    new.expect("220");
    old.expect("150");
    let mut found = Vec::new();
    data.read_to_end(&mut found).unwrap();
    drop(data);
    old.expect("226");
    assert!(found == bytes(1000));
    scene.proxy.freeze();
    old.send("NOOP");
    scene.proxy.heal();
    old.expect("200");
}

fn bytes_drip(scene: &Scene<'_>) {
    let content = bytes(300);
    scene.put("file", &content);
    let every = Duration::from_micros(200);
    let replies = scene.proxy.on(Verb::User).drip_replies(every);
    let data = scene.proxy.on(Verb::Retr).drip_data(every);
    let mut client = scene.login();
    let (found, ended, reply) = client.fetch(&format!("RETR {}", scene.path("file")));
    assert!(found == content && ended.is_ok() && reply.starts_with("226"));
    assert!(replies.hits() > 0 && data.hits() > 0);
}

fn answers_and_listings_are_endless(scene: &Scene<'_>) {
    let line = scene.proxy.on(Verb::Pwd).once().answer_endlessly(b"x");
    let mut client = scene.login();
    client.send("PWD");
    let mut stream = client.raw();
    let mut found = vec![0; 1_000_000];
    stream.read_exact(&mut found).unwrap();
    assert!(found.iter().all(|b| *b == b'x'));
    line.lift();
    drop(stream);
    let listing = scene
        .proxy
        .on(Verb::Listing)
        .endless_data(b"another line\r\n");
    let mut client = scene.login();
    let mut data = client.epsv();
    client.asks("LIST", "150");
    data.read_exact(&mut found).unwrap();
    assert!(found.starts_with(b"another line\r\nanother line\r\n"));
    assert!(listing.hits() > 0);
    listing.lift();
    data.read_to_end(&mut found).unwrap();
}

fn listings_are_replaced(scene: &Scene<'_>) {
    scene.put("file", b"");
    let fault = scene
        .proxy
        .on(Verb::Listing)
        .data_instead(b"../x\r\n\0\r\n");
    let (found, ended, reply) = scene.login().fetch(&format!("NLST {}", scene.path("")));
    assert_eq!(found, b"../x\r\n\0\r\n");
    assert!(ended.is_ok() && reply.starts_with("226"));
    assert_eq!(fault.hits(), 1);
}

fn foreign_addresses_are_named(scene: &Scene<'_>) {
    scene.proxy.on(Verb::Epsv).answer("500 Unknown command.");
    scene.proxy.on(Verb::Pasv).foreign_address([192, 0, 2, 1]);
    let mut client = scene.login();
    client.asks("EPSV", "500");
    let (host, port) = client.pasv();
    assert_eq!(host, "192.0.2.1");
    let mut data = client.data(port);
    client.asks("LIST", "150");
    data.read_to_end(&mut Vec::new()).unwrap();
    client.expect("226");
}

fn the_server_goes_down_and_comes_back(scene: &Scene<'_>) {
    let mut client = scene.login();
    assert_eq!(scene.proxy.go_down(), 1);
    assert_eq!(client.is_ended_by(), ErrorKind::ConnectionReset);
    let refused = std::net::TcpStream::connect(scene.proxy.address());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    scene.proxy.come_up();
    scene.login();
}

fn pipelined_commands_keep_their_order(scene: &Scene<'_>) {
    scene.proxy.on(Verb::Size).answer("550 Forged.");
    let mut client = scene.login();
    client.send("NOOP\r\nSIZE a\r\nNOOP\r\nSIZE b\r\nPWD");
    for code in ["200", "550 Forged.", "200", "550 Forged.", "257"] {
        client.expect(code);
    }
}

fn chance_repeats_itself(scene: &Scene<'_>) {
    let round = |seed| {
        scene.proxy.random_faults(seed, 0.3);
        let heard: Vec<bool> = (0..30)
            .map(|_| {
                let mut client = Client::connect(scene.proxy.address());
                client.line().is_ok_and(|line| line.starts_with("220"))
            })
            .collect();
        assert!(heard.contains(&true), "not everything fails");
        assert!(heard.contains(&false), "something fails");
        heard
    };
    assert_eq!(round(1), round(1));
    assert_ne!(round(1), round(2));
    let faults = scene.proxy.counts().random_faults;
    assert!(faults > 0);
    scene.proxy.heal();
    scene.login();
    assert_eq!(scene.proxy.counts().random_faults, faults);
}

/// The harness would see a proxy whose drop never ends.
fn nothing_that_hangs_outlives_the_handle(scene: &Scene<'_>) {
    let proxy = Proxy::start(scene.server.port());
    let address = proxy.address();
    proxy.on(Verb::Mkd).stall();
    proxy.on(Verb::Pwd).answer_endlessly(b"x");
    proxy.on(Verb::Listing).stall_data_after(0);
    let mut clients: Vec<Client> = (0..4)
        .map(|_| Client::login(address, scene.server))
        .collect();
    clients[0].send("MKD x");
    clients[1].send("PWD");
    let _data = clients[2].epsv();
    clients[2].asks("LIST", "150");
    proxy.freeze();
    drop(proxy);
    clients[0].is_ended_by();
    clients[3].is_ended_by();
    // A program that another test is starting has a copy of the socket until its exec.
    poll::until(Duration::from_secs(5), "nobody listens any more", || {
        std::net::TcpStream::connect(address).is_err()
    });
}
