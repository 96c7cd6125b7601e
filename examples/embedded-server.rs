//! A small FTP server on loopback with one user, to try ftpfs on a machine that has none.
//!
//! `cargo run --example embedded-server -- --root DIR` prints its address and serves DIR until it is
//! killed. It is libunftp with its file system back end: MLSD, no SITE CHMOD, no way to set times.

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use clap::Parser;
use libunftp::ServerBuilder;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use unftp_core::auth::{AuthenticationError, Authenticator, Credentials, Principal};
use unftp_sbe_fs::Filesystem;

/// A small FTP server on loopback with one user.
#[derive(Parser)]
struct Args {
    /// The folder to serve: the "/" of every session.
    #[arg(long)]
    root: PathBuf,
    /// The control port; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The only user.
    #[arg(long, default_value = "tester")]
    user: String,
    /// A file with the user's password; without it a random one is made and printed in the address.
    #[arg(long)]
    password_file: Option<PathBuf>,
    /// Ports for passive data connections, LOW:HIGH.
    #[arg(long, value_parser = port_range)]
    passive_ports: Option<(u16, u16)>,
    /// More sessions than this at a time are refused with 421.
    #[arg(long)]
    max_clients: Option<usize>,
}

fn port_range(text: &str) -> Result<(u16, u16), String> {
    let parse = |part: &str| part.parse().map_err(|e| format!("{part:?}: {e}"));
    let (low, high) = text.split_once(':').ok_or("expected LOW:HIGH")?;
    Ok((parse(low)?, parse(high)?))
}

/// Knows one user.
#[derive(Debug)]
struct OneUser {
    user: String,
    password: String,
}

#[async_trait]
impl Authenticator for OneUser {
    async fn authenticate(
        &self,
        username: &str,
        creds: &Credentials,
    ) -> Result<Principal, AuthenticationError> {
        if username != self.user {
            return Err(AuthenticationError::BadUser);
        }
        if creds.password.as_deref() != Some(self.password.as_str()) {
            return Err(AuthenticationError::BadPassword);
        }
        Ok(Principal {
            username: username.to_owned(),
        })
    }
}

fn password(args: &Args) -> std::io::Result<String> {
    if let Some(path) = &args.password_file {
        return Ok(std::fs::read_to_string(path)?.trim_end().to_owned());
    }
    let mut random = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(random)))
}

/// One control connection from its greeting to its end.
async fn session(stream: TcpStream, root: PathBuf, one: Arc<OneUser>, passive: Option<(u16, u16)>) {
    let storage = Box::new(move || {
        Filesystem::new(root.clone()).expect("the served folder was there a moment ago")
    });
    let mut builder = ServerBuilder::with_authenticator(storage, one);
    if let Some((low, high)) = passive {
        builder = builder.passive_ports(low..=high);
    }
    let outcome = match builder.build() {
        Ok(server) => server.service(stream).await.map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    };
    if let Err(e) = outcome {
        eprintln!("embedded-server: session: {e}");
    }
}

async fn serve(args: Args) -> std::io::Result<()> {
    let root = args.root.canonicalize()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await?;
    let one = Arc::new(OneUser {
        user: args.user.clone(),
        password: password(&args)?,
    });
    let mut out = std::io::stdout();
    writeln!(
        out,
        "url=ftp://{}:{}@{}/",
        one.user,
        one.password,
        listener.local_addr()?
    )?;
    out.flush()?;

    let sessions = Arc::new(AtomicUsize::new(0));
    loop {
        let (mut stream, _) = listener.accept().await?;
        if args
            .max_clients
            .is_some_and(|max| sessions.load(Ordering::SeqCst) >= max)
        {
            if let Err(e) = stream.write_all(b"421 Too many connections.\r\n").await {
                eprintln!("embedded-server: a client left before it was refused: {e}");
            }
            continue;
        }
        sessions.fetch_add(1, Ordering::SeqCst);
        let (root, one, sessions) = (root.clone(), Arc::clone(&one), Arc::clone(&sessions));
        tokio::spawn(async move {
            session(stream, root, one, args.passive_ports).await;
            sessions.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("embedded-server: {e}");
            ExitCode::FAILURE
        }
    }
}
