//! As much of HTTP as the proxy's API needs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Sends one request to `host:port` and gives the body of the answer; an error unless the status is of success.
pub(super) fn request(address: &str, method: &str, path: &str, body: &str) -> Result<String, String> {
    let exchange = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let length = body.len();
        // Version 1.0: the body comes in one piece, and its end is the connection's.
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    let answer = exchange().map_err(|error| format!("{method} {path}: {error}"))?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    if status.starts_with('2') { Ok(body.to_owned()) } else { Err(format!("{method} {path}: {status} {body}")) }
}
