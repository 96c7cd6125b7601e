//! Which way connections take: addresses of the server, and whose address a data connection goes to.

use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use ftpfs::ftp::{FtpError, LoginConfig, Session, Transfer};
use ftpfs::net::{AddressFamily, Deadline, Origin, Route, connect, resolve};

use super::{config, path};
use crate::support::scripted::{Conversation, Scripted, script};

const TIME: Duration = Duration::from_secs(10);

/// Answers a login, and gives back the first line behind it.
fn log_in(c: &mut Conversation) -> String {
    c.send("220 scripted");
    loop {
        let line = c.line().unwrap();
        match line.split(' ').next().unwrap_or_default() {
            "USER" => c.send("331 x"),
            "PASS" => c.send("230 x"),
            "FEAT" => c.send("211 x"),
            "OPTS" | "TYPE" => c.send("200 x"),
            "PWD" => c.send("257 \"/\""),
            _ => return line,
        }
    }
}

fn obeying(server: &Scripted) -> LoginConfig {
    LoginConfig {
        obeys_pasv: true,
        ..config(server)
    }
}

/// The reply to PASV names this address; the data come from `listener`.
fn fetched_from(listener: TcpListener, named: &'static str) -> Vec<u8> {
    let port = listener.local_addr().unwrap().port();
    let server = Scripted::start(vec![script(move |c| {
        for round in 0..2 {
            let line = if round == 0 {
                log_in(c)
            } else {
                c.line().unwrap()
            };
            // EPSV tells no address.
            assert_eq!(line, "PASV");
            let [high, low] = port.to_be_bytes();
            c.send(&format!(
                "227 Entering Passive Mode ({named},{high},{low})."
            ));
            assert_eq!(c.line().unwrap(), "RETR /f");
            c.send("150 coming");
            let (mut data, _) = listener.accept().unwrap();
            std::io::Write::write_all(&mut data, b"x").unwrap();
            drop(data);
            c.send("226 done");
        }
        c.until_the_end();
    })]);
    let mut session = Session::open(&obeying(&server), &Arc::default()).unwrap();
    let mut bytes = [0; 10];
    for _ in 0..2 {
        let mut transfer = Transfer::retrieve(&mut session, &path("/f"), 0).unwrap();
        let mut count = 0;
        while let more @ 1.. = transfer.read(&mut bytes[count..]).unwrap() {
            count += more;
        }
        assert_eq!(count, 1);
        transfer.finish(TIME).unwrap();
    }
    drop(session);
    assert_eq!(server.count("EPSV"), 0);
    server.finish();
    bytes[..1].to_vec()
}

#[test]
fn the_address_in_a_pasv_reply_is_obeyed_where_that_is_wanted() {
    let elsewhere = TcpListener::bind("127.0.0.9:0").unwrap();
    assert_eq!(fetched_from(elsewhere, "127,0,0,9"), b"x");
}

#[test]
fn an_obeyed_address_that_names_nobody_is_the_peers() {
    let here = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(fetched_from(here, "0,0,0,0"), b"x");
}

#[test]
fn an_obeyed_address_has_no_port_of_a_service() {
    let server = Scripted::start(vec![script(|c| {
        assert_eq!(log_in(c), "PASV");
        c.send("227 Entering Passive Mode (127,0,0,9,3,255)");
        while c.line().is_some() {}
    })]);
    let mut session = Session::open(&obeying(&server), &Arc::default()).unwrap();
    let error = Transfer::retrieve(&mut session, &path("/f"), 0).unwrap_err();
    assert!(
        matches!(error, FtpError::Protocol { verb: "PASV", .. }),
        "{error}"
    );
    drop(session);
    server.finish();
}

#[test]
fn epsv_is_asked_where_the_way_of_pasv_leads_nowhere_and_the_other_way_round() {
    // A port where nobody listens any more.
    let closed = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let one = |expected: &'static str| {
        script(move |c| {
            assert_eq!(log_in(c), expected);
            let [high, low] = closed().to_be_bytes();
            match expected {
                "EPSV" => c.send(&format!("229 x (|||{}|)", closed())),
                _ => c.send(&format!("227 x (127,0,0,1,{high},{low})")),
            }
            while c.line().is_some() {}
        })
    };
    let server = Scripted::start(vec![one("EPSV"), one("PASV"), one("EPSV")]);
    let experience = Arc::default();
    for _ in 0..3 {
        let mut session = Session::open(&config(&server), &experience).unwrap();
        let error = Transfer::retrieve(&mut session, &path("/f"), 0).unwrap_err();
        assert!(error.is_data_lost(), "{error}");
    }
    server.finish();
}

#[test]
fn the_addresses_of_a_host_are_tried_in_turn() {
    let deadline = Deadline::after(TIME, "the test");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Nobody listens there in IPv6.
    let mut addresses = resolve("::1", port, AddressFamily::Any, &deadline).unwrap();
    addresses.extend(resolve("127.0.0.2", port, AddressFamily::Any, &deadline).unwrap());
    addresses.extend(resolve("127.0.0.1", port, AddressFamily::Any, &deadline).unwrap());
    let stream = connect(&addresses, &Route::default(), TIME, &deadline).unwrap();
    assert_eq!(stream.peer(), listener.local_addr().unwrap());
    let six = TcpListener::bind("[::1]:0").unwrap();
    let addresses = resolve(
        "::1",
        six.local_addr().unwrap().port(),
        AddressFamily::V6,
        &deadline,
    );
    let stream = connect(&addresses.unwrap(), &Route::default(), TIME, &deadline).unwrap();
    assert_eq!(stream.peer(), six.local_addr().unwrap());
}

/// Where the server sees control and data connections come from.
fn seen_with(origin: Origin) -> [IpAddr; 2] {
    let (seen, sight) = std::sync::mpsc::channel();
    let server = Scripted::start(vec![script(move |c| {
        seen.send(c.peer().ip()).unwrap();
        c.greet(&[]);
        c.expect("RETR /f");
        c.send("150 coming");
        seen.send(c.data().peer_addr().unwrap().ip()).unwrap();
        c.send("226 done");
        c.until_the_end();
    })]);
    let login = LoginConfig {
        route: Route {
            origin: Some(origin),
            proxy: None,
        },
        ..config(&server)
    };
    let mut session = Session::open(&login, &Arc::default()).unwrap();
    let mut transfer = Transfer::retrieve(&mut session, &path("/f"), 0).unwrap();
    assert_eq!(transfer.read(&mut [0; 10]).unwrap(), 0);
    transfer.finish(TIME).unwrap();
    drop(session);
    server.finish();
    [sight.recv().unwrap(), sight.recv().unwrap()]
}

#[test]
fn all_connections_leave_from_the_chosen_place() {
    for (text, seen) in [
        ("127.0.0.7", "127.0.0.7"),
        ("127.0.0.1", "127.0.0.1"),
        ("lo", "127.0.0.1"),
    ] {
        let seen: IpAddr = seen.parse().unwrap();
        assert_eq!(seen_with(Origin::find(text).unwrap()), [seen; 2], "{text}");
    }
}
