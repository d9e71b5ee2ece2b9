//! A way to a registry on which connections break.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};

/// Relays connections to `target`; the n-th one breaks after so many bytes in either direction as `limits` says for it,
/// and those beyond the list never do. Gives back `127.0.0.1:PORT`.
pub(crate) fn start(target: &str, limits: Vec<usize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let target = target.to_owned();
    std::thread::spawn(move || {
        let mut limits = limits.into_iter();
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&target).unwrap();
            let limit = limits.next().unwrap_or(usize::MAX);
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                std::thread::spawn(move || carry(from, to, limit));
            }
        }
    });
    host
}

/// Carries bytes one way, and closes both ways when they end or the limit is reached.
fn carry(mut from: TcpStream, mut to: TcpStream, mut left: usize) {
    let mut buffer = [0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let count = count.min(left);
        left -= count;
        if to.write_all(&buffer[..count]).is_err() || left == 0 {
            break;
        }
    }
    for stream in [from, to] {
        // It may be closed already, which is what is wanted.
        let _closed = stream.shutdown(Shutdown::Both);
    }
}
