//! As much of the protocol as the proxy reads.

/// Name in capitals, and argument.
pub(super) fn split(line: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\r', '\n']);
    let (name, argument) = text.split_once(' ').unwrap_or((text, ""));
    (name.to_ascii_uppercase(), argument.to_owned())
}

/// Bytes of the first reply, if it has come as a whole (RFC 959 section 4.2).
pub(super) fn reply_length(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    let mut code: Option<Vec<u8>> = None;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        if !line.ends_with(b"\n") {
            return None;
        }
        length += line.len();
        match &code {
            None if line.get(3) == Some(&b'-') => code = Some(line[..3].to_vec()),
            None => return Some(length),
            Some(code) if line.starts_with(code) && line.get(3) != Some(&b'-') => {
                return Some(length);
            }
            Some(_) => {}
        }
    }
    None
}

/// The port in a 229 or 227 of the servers that the tests run.
pub(super) fn passive_port(reply: &str) -> Option<u16> {
    let inside = reply.split_once('(')?.1.split_once(')')?.0;
    if reply.starts_with("229") {
        return inside.trim_matches('|').parse().ok();
    }
    if !reply.starts_with("227") {
        return None;
    }
    let numbers: Vec<u8> = inside
        .split(',')
        .filter_map(|n| n.trim().parse().ok())
        .collect();
    match numbers[..] {
        [_, _, _, _, high, low] => Some(u16::from_be_bytes([high, low])),
        _ => None,
    }
}
