//! Active mode: the scripted server connects to where EPRT or PORT tells it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ftpfs::ftp::{
    ActiveMode, Experience, FtpError, ListCommand, LoginConfig, OwnAddress, Session, Transfer,
};

use crate::support::scripted::{Conversation, Script, Scripted, read_all, script};
use crate::{config, path};

const TIME: Duration = Duration::from_secs(10);

fn active(server: &Scripted) -> LoginConfig {
    LoginConfig {
        active: Some(ActiveMode::default()),
        ..config(server)
    }
}

fn one(steps: Script) -> (Scripted, Session) {
    let server = Scripted::start(vec![steps]);
    let session = Session::open(&active(&server), &Arc::default()).unwrap();
    (server, session)
}

/// Sessions of a server that answers several commands at once.
fn in_order(server: &Scripted, experience: &Arc<Experience>) -> Session {
    experience.learn_pipelining(true);
    Session::open(&active(server), experience).unwrap()
}

fn read(session: &mut Session) -> Result<Vec<u8>, FtpError> {
    let mut transfer = Transfer::retrieve(session, &path("/f"), 0)?;
    let (mut all, mut buf) = (Vec::new(), [0; 1000]);
    loop {
        match transfer.read(&mut buf)? {
            0 => break,
            count => all.extend_from_slice(&buf[..count]),
        }
    }
    transfer.finish(TIME)?;
    Ok(all)
}

/// What an EPRT or PORT tells.
fn told(line: &str) -> SocketAddr {
    let (verb, argument) = line.split_once(' ').unwrap();
    if verb == "EPRT" {
        let fields: Vec<_> = argument.split('|').collect();
        assert_eq!((fields[1], fields.len()), ("1", 5), "{line}");
        return SocketAddr::new(fields[2].parse().unwrap(), fields[3].parse().unwrap());
    }
    assert_eq!(verb, "PORT");
    let numbers: Vec<u8> = argument.split(',').map(|n| n.parse().unwrap()).collect();
    let [a, b, c, d, high, low] = numbers[..] else {
        panic!("{line}");
    };
    SocketAddr::new([a, b, c, d].into(), u16::from_be_bytes([high, low]))
}

/// The next command is EPRT: where to?
#[track_caller]
fn eprt(c: &mut Conversation) -> SocketAddr {
    let line = c.command().unwrap();
    assert!(line.starts_with("EPRT "), "{line}");
    told(&line)
}

fn connect(to: SocketAddr) -> TcpStream {
    let data = TcpStream::connect(to).unwrap();
    data.set_read_timeout(Some(TIME)).unwrap();
    data
}

/// The rest of a transfer of one byte.
fn give(c: &mut Conversation, to: SocketAddr) {
    c.send("150 here it comes");
    connect(to).write_all(b"x").unwrap();
    c.send("226 done");
}

#[test]
fn the_server_connects_to_the_address_of_the_control_connection() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        let to = eprt(c);
        assert_eq!(to.ip(), IpAddr::from([127, 0, 0, 1]));
        c.send("200 ok");
        c.expect("RETR /f");
        c.send("150 here it comes");
        let mut data = connect(to);
        // Nobody else can connect from then on.
        let end = Instant::now() + TIME;
        while TcpStream::connect(to).is_ok() {
            assert!(Instant::now() < end, "the port stays open");
        }
        data.write_all(b"all of it").unwrap();
        drop(data);
        c.send("226 done");
        c.until_the_end();
    }));
    assert_eq!(read(&mut session).unwrap(), b"all of it");
    assert!(session.is_alive());
    assert_eq!(session.data_mode(), (true, "EPRT"));
    drop(session);
    assert_eq!(server.count("EPSV") + server.count("PASV"), 0);
    server.finish();
}

#[test]
fn one_1xx_after_the_other_is_no_connection() {
    let (given_up, is_given_up) = std::sync::mpsc::channel();
    let server = Scripted::start(vec![script(move |c| {
        c.greet(&[]);
        eprt(c);
        c.send("200 ok");
        c.expect("RETR /f");
        let enough = Instant::now() + 2 * TIME;
        let many = "150 coming\r\n".repeat(400);
        while is_given_up.try_recv().is_err() && Instant::now() < enough {
            c.send_raw(many.as_bytes());
        }
    })]);
    let config = LoginConfig {
        connect_timeout: Duration::from_secs(1),
        ..active(&server)
    };
    let mut session = Session::open(&config, &Arc::default()).unwrap();
    let error = read(&mut session).unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("no data connection: timed out after 1 s"),
        "{said}"
    );
    assert!(!session.is_in_step());
    drop(session);
    given_up.send(()).unwrap();
    server.finish();
}

#[test]
fn a_file_is_stored_and_the_1xx_may_come_after_the_connection() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        let to = eprt(c);
        c.send("200 ok");
        c.answer("REST 3", "350 ok");
        c.expect("STOR /f");
        let mut data = connect(to);
        c.send("150 give it to me");
        assert_eq!(read_all(&mut data).unwrap(), b"content");
        c.send("226 stored");
        c.until_the_end();
    }));
    let mut transfer = Transfer::store(&mut session, &path("/f"), 3).unwrap();
    transfer.write_all(b"content").unwrap();
    assert_eq!(transfer.finish(TIME).unwrap().1.code(), 226);
    drop(session);
    server.finish();
}

#[test]
fn port_where_eprt_is_refused_and_remembered() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        eprt(c);
        c.send("500 what?");
        for _ in 0..2 {
            let line = c.command().unwrap();
            c.send("200 ok");
            c.expect("RETR /f");
            give(c, told(&line));
        }
        c.until_the_end();
    }));
    for _ in 0..2 {
        assert_eq!(read(&mut session).unwrap(), b"x");
    }
    assert_eq!(session.data_mode(), (true, "PORT"));
    drop(session);
    assert_eq!((server.count("EPRT"), server.count("PORT")), (1, 2));
    server.finish();
}

#[test]
fn both_refused_is_the_reason() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        for _ in 0..2 {
            eprt(c);
            c.send("500 Illegal EPRT command.");
            assert!(c.command().unwrap().starts_with("PORT "));
            c.send("500 Illegal PORT command.");
        }
        c.until_the_end();
    }));
    for _ in 0..2 {
        let error = read(&mut session).unwrap_err();
        assert!(matches!(error, FtpError::NoDataConnection { .. }));
        let said = error.to_string();
        assert!(said.contains("PORT refused: 500 Illegal PORT"), "{said}");
        assert!(session.is_alive());
    }
    drop(session);
    server.finish();
}

#[test]
fn strangers_are_sent_away_and_the_wait_goes_on() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        let to = eprt(c);
        c.send("200 ok");
        c.expect("RETR /f");
        let stranger = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let stranger = stranger.unwrap();
        let other: SocketAddr = "127.0.0.2:0".parse().unwrap();
        stranger.bind(&other.into()).unwrap();
        stranger.connect(&to.into()).unwrap();
        let mut stranger = TcpStream::from(stranger);
        stranger.set_read_timeout(Some(TIME)).unwrap();
        drop(stranger.write_all(b"forged"));
        match stranger.read(&mut [0; 9]) {
            Ok(0) => {}
            Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("{other:?}"),
        }
        give(c, to);
        c.until_the_end();
    }));
    assert_eq!(read(&mut session).unwrap(), b"x");
    drop(session);
    server.finish();
}

#[test]
fn nobody_connects() {
    for preliminary in [true, false] {
        let server = Scripted::start(vec![script(move |c| {
            c.greet(&[]);
            eprt(c);
            c.send("200 ok");
            c.expect("RETR /f");
            if preliminary {
                c.send("150 on my way");
            }
            assert_eq!(c.line(), None);
        })]);
        let config = LoginConfig {
            connect_timeout: Duration::from_millis(300),
            ..active(&server)
        };
        let mut session = Session::open(&config, &Arc::default()).unwrap();
        let error = read(&mut session).unwrap_err();
        assert!(matches!(error, FtpError::NoDataConnection { .. }));
        let said = error.to_string();
        assert!(
            said.contains("for the server to connect to 127.0.0.1:"),
            "{said}"
        );
        assert!(!session.is_alive());
        drop(session);
        server.finish();
    }
}

#[test]
fn what_the_server_says_is_the_reason() {
    for preliminary in [true, false] {
        let (server, mut session) = one(script(move |c| {
            c.greet(&[]);
            eprt(c);
            c.send("200 ok");
            c.expect("RETR /f");
            if preliminary {
                c.send("150 on my way");
            }
            c.send("425 Can't build data connection: Connection refused.");
            c.until_the_end();
        }));
        match read(&mut session).unwrap_err() {
            FtpError::Refused { verb, reply } => {
                assert_eq!((verb, reply.code()), ("RETR", 425));
            }
            other => panic!("{other}"),
        }
        assert!(session.is_alive());
        drop(session);
        server.finish();
    }
}

#[test]
fn an_empty_listing_needs_no_connection() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        eprt(c);
        c.send("200 ok");
        c.answer("MLSD /d", "226 nothing there");
        c.until_the_end();
    }));
    let mut transfer = Transfer::list(&mut session, ListCommand::Mlsd, &path("/d")).unwrap();
    assert_eq!(transfer.read(&mut [0; 9]).unwrap(), 0);
    transfer.finish(TIME).unwrap();
    drop(session);
    server.finish();
}

#[test]
fn another_address_is_told_than_that_of_this_machine() {
    let server = Scripted::start(vec![script(|c| {
        c.greet(&[]);
        let to = eprt(c);
        assert_eq!(to.ip(), IpAddr::from([203, 0, 113, 9]));
        assert!((27_620..=27_629).contains(&to.port()), "{to}");
        c.send("200 ok");
        c.expect("RETR /f");
        // As the box on the way would.
        give(c, SocketAddr::new([127, 0, 0, 1].into(), to.port()));
        c.until_the_end();
    })]);
    let config = LoginConfig {
        active: Some(ActiveMode {
            address: OwnAddress::Literal([203, 0, 113, 9].into()),
            ports: Some(27_620..=27_629),
        }),
        ..config(&server)
    };
    let mut session = Session::open(&config, &Arc::default()).unwrap();
    assert_eq!(read(&mut session).unwrap(), b"x");
    drop(session);
    server.finish();
}

#[test]
fn eprt_and_the_transfer_go_out_together() {
    let server = Scripted::start(vec![script(|c| {
        c.greet(&[]);
        // Alone, until it is known when the server connects.
        let to = eprt(c);
        c.send("200 ok");
        c.expect("RETR /f");
        give(c, to);
        for _ in 0..2 {
            let to = eprt(c);
            // No answer yet.
            assert_eq!(c.line().unwrap(), "RETR /f");
            c.send("200 ok");
            give(c, to);
        }
        // The folder as well.
        assert_eq!(c.line().unwrap(), "CWD /d");
        let line = c.line().unwrap();
        assert_eq!(c.line().unwrap(), "LIST -a");
        c.send("250 there");
        c.send("200 ok");
        give(c, told(&line));
        c.until_the_end();
    })]);
    let mut session = in_order(&server, &Arc::default());
    for _ in 0..3 {
        assert_eq!(read(&mut session).unwrap(), b"x");
    }
    let mut transfer = Transfer::list(&mut session, ListCommand::ListAll, &path("/d")).unwrap();
    let mut buf = [0; 9];
    assert_eq!(transfer.read(&mut buf).unwrap(), 1);
    assert_eq!(transfer.read(&mut buf).unwrap(), 0);
    transfer.finish(TIME).unwrap();
    drop(session);
    server.finish();
}

/// pyftpdlib connects at EPRT, and answers what follows before it.
#[test]
fn a_server_that_connects_at_once_gets_eprt_alone() {
    let alone = |c: &mut Conversation, connects: bool| {
        let to = eprt(c);
        if !connects {
            // Whatever is sent behind it is sent by now, or never.
            c.send("425 not now");
            return c.until_the_end();
        }
        let mut data = connect(to);
        c.send("200 connected");
        c.expect("RETR /f");
        c.send("150 here it comes");
        data.write_all(b"x").unwrap();
        drop(data);
        c.send("226 done");
    };
    let server = Scripted::start(vec![script(move |c| {
        c.greet(&[]);
        alone(c, true);
        alone(c, false);
    })]);
    let mut session = in_order(&server, &Arc::default());
    assert_eq!(read(&mut session).unwrap(), b"x");
    assert!(read(&mut session).is_err());
    drop(session);
    server.finish();
}

#[test]
fn answers_out_of_order_are_not_believed() {
    let server = Scripted::start(vec![
        script(|c| {
            c.greet(&[]);
            let to = eprt(c);
            c.send("200 ok");
            c.expect("RETR /f");
            give(c, to);
            eprt(c);
            c.expect("RETR /f");
            c.send("150 here it comes");
            c.send("200 connected");
            assert_eq!(c.line(), None);
        }),
        script(|c| {
            c.greet(&[]);
            eprt(c);
            c.send("425 not now");
            c.until_the_end();
        }),
    ]);
    let experience = Arc::default();
    let mut session = in_order(&server, &experience);
    assert_eq!(read(&mut session).unwrap(), b"x");
    let error = read(&mut session).unwrap_err();
    assert!(error.is_session_lost(), "{error}");
    assert!(!session.is_alive());
    drop(session);
    let mut session = in_order(&server, &experience);
    assert!(read(&mut session).is_err());
    drop(session);
    server.finish();
}
