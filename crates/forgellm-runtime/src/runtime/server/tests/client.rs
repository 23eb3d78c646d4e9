//! A small HTTP client, which shows what bytes come when.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A response that was read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// A connection.
pub struct Client {
    stream: TcpStream,
    /// What came and was not looked at.
    read: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream, read: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    pub fn post(&mut self, path: &str, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let length = body.len();
        self.send(format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        ));
        self.send(body);
    }

    /// Reads until `end` has come, and gives everything up to there.
    #[track_caller]
    pub fn until(&mut self, end: &str) -> String {
        loop {
            let found = self.read.windows(end.len()).position(|part| part == end.as_bytes());
            if let Some(at) = found {
                let rest = self.read.split_off(at + end.len());
                return String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
            }
            assert!(
                self.more(),
                "the connection ended before {end:?}: {:?}",
                String::from_utf8_lossy(&self.read)
            );
        }
    }

    /// Whether nothing comes for a moment.
    pub fn is_silent(&mut self) -> bool {
        self.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let silent = self.read.is_empty() && !self.more();
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }

    /// Reads a response to its end.
    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        let head = self.until("\r\n\r\n");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply { status, head, body: String::new() };
        let length = reply.header("content-length").map(|length| length.parse::<usize>().unwrap());
        let bytes = match length {
            Some(length) => {
                while self.read.len() < length {
                    assert!(self.more(), "the body ended early: {reply:?}");
                }
                let rest = self.read.split_off(length);
                std::mem::replace(&mut self.read, rest)
            }
            None => {
                let mut bytes = Vec::new();
                loop {
                    let chunk = self.chunk();
                    if chunk.is_empty() {
                        break bytes;
                    }
                    bytes.extend(chunk.into_bytes());
                }
            }
        };
        reply.body = String::from_utf8(bytes).unwrap();
        reply
    }

    /// The next chunk of a body in pieces; empty at its end.
    #[track_caller]
    pub fn chunk(&mut self) -> String {
        let size = usize::from_str_radix(self.until("\r\n").trim_end(), 16).unwrap();
        while self.read.len() < size + 2 {
            assert!(self.more(), "a chunk ended early");
        }
        let rest = self.read.split_off(size + 2);
        let mut chunk = std::mem::replace(&mut self.read, rest);
        chunk.truncate(size);
        String::from_utf8(chunk).unwrap()
    }

    /// Reads until the server closes the connection; gives the number of bytes.
    pub fn everything(&mut self) -> usize {
        while self.more() {}
        self.read.len()
    }

    /// Whether the server closes the connection, and sends nothing before.
    pub fn is_closed(&mut self) -> bool {
        self.read.is_empty() && !self.more()
    }

    fn more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(count) => {
                self.read.extend_from_slice(&buffer[..count]);
                count > 0
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}"),
        }
    }
}
