//! Questions by TCP: those whose answer is too long for a datagram.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::message::{Code, Query};
use super::{Reply, connect_to};

/// So many connections of a container are open; beyond, new ones wait.
const STREAMS_MAX: usize = 16;
/// A connection on which nothing happens is closed.
const IDLE_MAX: Duration = Duration::from_secs(4);
/// How long one resolver has for its answer.
const ANSWER_WITHIN: Duration = Duration::from_millis(1500);
/// A message and its length.
const FRAME_BYTES_MAX: usize = 2 + 65_535;

/// Everybody who asks by TCP.
#[derive(Debug)]
pub(super) struct Streams {
    listener: TcpListener,
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    socket: TcpStream,
    input: Vec<u8>,
    output: VecDeque<u8>,
    asked: Option<Asked>,
    until: Instant,
    ended: bool,
}

/// A question that a resolver was asked.
#[derive(Debug)]
struct Asked {
    query: Query,
    frame: Vec<u8>,
    upstream: Upstream,
    left: Vec<IpAddr>,
    until: Instant,
}

/// A connection to a resolver.
#[derive(Debug)]
pub(super) struct Upstream {
    socket: TcpStream,
    sent: usize,
    input: Vec<u8>,
}

impl Upstream {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self { socket, sent: 0, input: Vec::new() }
    }

    /// Goes on; the answer when it is whole.
    fn go_on(&mut self, frame: &[u8]) -> io::Result<Option<Vec<u8>>> {
        while self.sent < frame.len() {
            match self.socket.write(&frame[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if waits(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let ended = read_into(&mut self.socket, &mut self.input)?;
        match take_frame(&mut self.input) {
            Some(answer) => Ok(Some(answer)),
            None if ended => Err(io::ErrorKind::UnexpectedEof.into()),
            None => Ok(None),
        }
    }
}

impl Streams {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, clients: Vec::new() }
    }

    pub(super) fn sources<'a>(&'a self, sources: &mut Vec<(BorrowedFd<'a>, PollFlags)>) {
        if self.clients.len() < STREAMS_MAX {
            sources.push((self.listener.as_fd(), PollFlags::IN));
        }
        for client in &self.clients {
            match &client.asked {
                Some(Asked { upstream, frame, .. }) => {
                    let waits_for = if upstream.sent < frame.len() { PollFlags::OUT } else { PollFlags::IN };
                    sources.push((upstream.socket.as_fd(), waits_for));
                }
                None if !client.output.is_empty() => sources.push((client.socket.as_fd(), PollFlags::OUT)),
                None => sources.push((client.socket.as_fd(), PollFlags::IN)),
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let of = |client: &Client| client.asked.as_ref().map_or(client.until, |asked| asked.until.min(client.until));
        self.clients.iter().map(of).min()
    }

    pub(super) fn turn(&mut self, reply: impl Fn(&[u8]) -> Reply, servers: &[IpAddr]) {
        while self.clients.len() < STREAMS_MAX {
            let Ok((socket, _)) = self.listener.accept() else { break };
            if socket.set_nonblocking(true).is_ok() {
                self.clients.push(Client::new(socket));
            }
        }
        let now = Instant::now();
        self.clients
            .retain_mut(|client| now < client.until && client.go_on(&reply, servers).is_ok_and(|goes_on| goes_on));
    }
}

impl Client {
    fn new(socket: TcpStream) -> Self {
        let until = Instant::now() + IDLE_MAX;
        Self { socket, input: Vec::new(), output: VecDeque::new(), asked: None, until, ended: false }
    }

    /// Does what can be done now; no if the client has left.
    fn go_on(&mut self, reply: &impl Fn(&[u8]) -> Reply, servers: &[IpAddr]) -> io::Result<bool> {
        loop {
            if self.asked.is_some() && !self.hear() {
                return Ok(true);
            }
            if !self.flush()? {
                return Ok(true);
            }
            if !self.ended {
                self.ended = read_into(&mut self.socket, &mut self.input)?;
            }
            let Some(message) = take_frame(&mut self.input) else { return Ok(!self.ended) };
            self.until = Instant::now() + IDLE_MAX;
            match reply(&message) {
                Reply::Nothing => return Ok(false),
                Reply::Known(answer) => self.say(&answer),
                Reply::Ask(query) => self.ask(query, frame(&message), servers.to_vec()),
            }
        }
    }

    /// Looks for the resolver's answer; whether there is nothing to wait for.
    fn hear(&mut self) -> bool {
        let Some(mut asked) = self.asked.take() else { return true };
        match asked.upstream.go_on(&asked.frame) {
            Ok(Some(answer)) if asked.query.is_answered_by(&answer, asked.query.id) => self.say(&answer),
            Ok(None) if Instant::now() < asked.until => {
                self.asked = Some(asked);
                return false;
            }
            _ => self.ask(asked.query, asked.frame, asked.left),
        }
        self.asked.is_none()
    }

    /// Asks the next of the resolvers that are left.
    fn ask(&mut self, query: Query, frame: Vec<u8>, mut left: Vec<IpAddr>) {
        self.until = Instant::now() + IDLE_MAX;
        while !left.is_empty() {
            if let Ok(upstream) = connect_to(left.remove(0)) {
                let until = Instant::now() + ANSWER_WITHIN;
                self.asked = Some(Asked { query, frame, upstream, left, until });
                return;
            }
        }
        self.say(&query.refuse(Code::Failed));
    }

    fn say(&mut self, answer: &[u8]) {
        self.output.extend(frame(answer));
    }

    /// Writes what waits; whether all is written.
    fn flush(&mut self) -> io::Result<bool> {
        while !self.output.is_empty() {
            match self.socket.write(self.output.as_slices().0) {
                Ok(written) => drop(self.output.drain(..written)),
                Err(error) if waits(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// Reads what there is; whether it was the end.
fn read_into(socket: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<bool> {
    let mut some = [0; 4096];
    while input.len() < FRAME_BYTES_MAX {
        match socket.read(&mut some) {
            Ok(0) => return Ok(true),
            Ok(read) => input.extend_from_slice(&some[..read]),
            Err(error) if waits(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn take_frame(input: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes(*input.first_chunk()?));
    let message = input.get(2..2 + length)?.to_vec();
    input.drain(..2 + length);
    Some(message)
}

fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = (message.len() as u16).to_be_bytes().to_vec();
    frame.extend_from_slice(message);
    frame
}

fn waits(error: &io::Error) -> bool {
    // A connection that is still being made says that it is not connected.
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NotConnected)
}
