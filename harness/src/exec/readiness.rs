//! When a program is ready: when it listens on a port, or has written a line.
//!
//! Side effects: one connection on the loopback interface, closed at once; and, if a line is waited for, the
//! program's two streams are pipes, whose bytes are passed on as they arrive. Many programs buffer what they
//! write to a pipe.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::str::FromStr;
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use regex::bytes::Regex;

/// A connection that is not established after this time never will be.
const CONNECT: Duration = Duration::from_millis(100);
/// The part of a line beyond this is not compared with the expression.
const LINE_BYTES: usize = 64 << 10;

/// What shows that a program is ready.
#[derive(Debug, Clone)]
pub enum Ready {
    /// It accepts connections on this port of the loopback interface.
    Tcp(u16),
    /// It has written a line, to either stream, that contains a match of this expression.
    Line(Regex),
}

impl FromStr for Ready {
    type Err = String;

    fn from_str(text: &str) -> Result<Ready, String> {
        match text.split_once(':') {
            Some(("TCP", port)) => match port.parse() {
                Ok(port) if port > 0 => Ok(Ready::Tcp(port)),
                _ => Err(format!("`{port}` is no port: write TCP:PORT with a number from 1 to 65535")),
            },
            Some(("LINE", expression)) => Regex::new(expression)
                .map(Ready::Line)
                .map_err(|error| format!("`{expression}` is no regular expression: {error}")),
            _ => Err(format!("unknown condition `{text}`: there are TCP:PORT and LINE:REGEX")),
        }
    }
}

impl Ready {
    /// Whether it is met although the program does not run yet: then something else uses the program's port.
    #[must_use]
    pub fn is_met_already(&self) -> bool {
        match self {
            Ready::Tcp(port) => accepts(*port),
            Ready::Line(_) => false,
        }
    }
}

/// Whether something accepts connections on this port of the loopback interface.
pub(super) fn accepts(port: u16) -> bool {
    let addresses: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    addresses
        .iter()
        .any(|address| TcpStream::connect_timeout(&SocketAddr::new(*address, port), CONNECT).is_ok())
}

/// Passes a stream on, byte for byte, and says once when a line matches.
pub(super) fn pass_on<T: Send + 'static>(
    mut from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    expression: Regex,
    said: Sender<T>,
    message: T,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut search = Some((Search { expression, line: Vec::new() }, message));
        let mut buffer = [0; 16 << 10];
        let mut open = true;
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let bytes = &buffer[..length];
            // If our own reader went away, that is not the program's fault: it may keep writing.
            open = open && to.write_all(bytes).and_then(|()| to.flush()).is_ok();
            if let Some((mut searching, message)) = search.take() {
                if searching.find(bytes) {
                    // Nobody waits for it any more if the sample has ended.
                    let _ = said.send(message);
                } else {
                    search = Some((searching, message));
                }
            }
        }
    })
}

/// Searches for a line in bytes that arrive in pieces.
struct Search {
    expression: Regex,
    line: Vec<u8>,
}

impl Search {
    /// Whether a line matches with these bytes. A line counts once it is complete.
    fn find(&mut self, bytes: &[u8]) -> bool {
        for &byte in bytes {
            if byte != b'\n' {
                if self.line.len() < LINE_BYTES {
                    self.line.push(byte);
                }
                continue;
            }
            if self.expression.is_match(&self.line) {
                return true;
            }
            self.line.clear();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_and_mistakes_name_what_is_allowed() {
        assert!(matches!("TCP:6379".parse(), Ok(Ready::Tcp(6379))));
        assert!(matches!("LINE:ready: [0-9]+".parse(), Ok(Ready::Line(_))));
        for (text, part) in [
            ("TCP:0", "`0` is no port"),
            ("TCP:x", "`x` is no port"),
            ("LINE:(", "is no regular expression"),
            ("UDP:5", "there are TCP:PORT and LINE:REGEX"),
            ("", "unknown condition ``"),
        ] {
            let error = text.parse::<Ready>().expect_err("a mistake");
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_line_is_found_across_pieces() {
        let mut search = Search { expression: Regex::new("^ready$").expect("valid"), line: Vec::new() };
        assert!(!search.find(b"not ready\nrea"));
        assert!(!search.find(b"dy"));
        assert!(search.find(b"\nmore"));
    }

    #[test]
    fn bytes_are_passed_on_as_they_are() {
        let (said, heard) = std::sync::mpsc::channel();
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let (mut end, to) = std::io::pipe().expect("a pipe");
        let thread = pass_on(reader, to, Regex::new("b.c").expect("valid"), said, ());
        writer.write_all(b"a\0b\xffc\r\nb-c\nx").expect("written");
        drop(writer);
        thread.join().expect("no panic");
        let mut passed = Vec::new();
        end.read_to_end(&mut passed).expect("read");
        assert_eq!(passed, b"a\0b\xffc\r\nb-c\nx");
        assert_eq!(heard.iter().count(), 1, "once");
    }
}
