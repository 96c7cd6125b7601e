//! The readers of what a server says, each by itself: for tests and fuzz targets.

use super::data;
use super::login;
use super::reply::ReplyReader;
use super::{FtpError, RemotePath, Reply};

/// The replies in bytes that come in these pieces, and why there are no more of them: what follows
/// is no reply, or is too large.
pub fn replies<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Reply>, Result<(), FtpError>) {
    let mut reader = ReplyReader::default();
    let fed = pieces
        .into_iter()
        .try_for_each(|piece| reader.feed("SIZE", piece));
    let replies = std::iter::from_fn(|| reader.next()).collect();
    (replies, fed)
}

/// The port in an answer to EPSV, if we would connect to it.
pub fn epsv_port(reply: &Reply) -> Option<u16> {
    data::usable("EPSV", reply, data::epsv_port(reply.text())).ok()
}

/// The port in an answer to PASV, if we would connect to it.
pub fn pasv_port(reply: &Reply) -> Option<u16> {
    let address = data::pasv_address(reply.text());
    data::usable("PASV", reply, address.map(|a| a.port())).ok()
}

/// The directory in an answer to PWD.
///
/// # Errors
/// There is none.
pub fn directory(reply: &Reply) -> Result<RemotePath, FtpError> {
    login::directory_in(reply)
}
