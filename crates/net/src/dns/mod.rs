//! Names: each container's own server at 127.0.0.11, in its network namespace, served by its shim.
//!
//! It knows the containers that are in the same networks, by reading who is connected at that moment; all else it asks the
//! host's resolvers, from the host's network, so that one on the host's loopback serves too. Nothing here ever blocks: what
//! is under way is bounded in number and in time.

mod message;
mod stream;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use self::message::{A, AAAA, Code, DATAGRAM_BYTES_MAX, PTR, Query};
use self::stream::{Streams, Upstream};
use crate::Endpoint;
use crate::registry::Registry;

/// Where containers ask.
pub(crate) const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11)), 53);

/// How long one resolver has for its answer; ours must come before the usual five seconds of those who ask are over.
const ANSWER_WITHIN: Duration = Duration::from_millis(1500);
/// So many resolvers are asked, one after the other.
const SERVERS_MAX: usize = 3;
/// So many questions of a container are under way; beyond, the oldest is given up.
const PENDING_MAX: usize = 64;
/// So many questions are taken at once before the shim looks at other things.
const TURN_MAX: usize = 32;

/// A container's server.
#[derive(Debug)]
pub(crate) struct Server {
    datagrams: UdpSocket,
    streams: Streams,
    pending: Vec<Pending>,
    servers: Vec<IpAddr>,
}

/// What the answers are taken from.
#[derive(Debug)]
pub(crate) struct Names<'a> {
    pub(crate) registry: &'a Registry,
    /// The networks in which the container is, by id.
    pub(crate) networks: &'a [&'a str],
}

/// A question that a resolver was asked.
#[derive(Debug)]
struct Pending {
    query: Query,
    message: Vec<u8>,
    from: SocketAddr,
    socket: OwnedFd,
    id: u16,
    left: Vec<IpAddr>,
    until: Instant,
}

impl Server {
    /// Listens, in the network namespace in which it is called: for datagrams and for streams.
    pub(crate) fn listen() -> io::Result<Vec<OwnedFd>> {
        strata_sys::loopback::up()?;
        let open = |kind: SocketType| -> io::Result<OwnedFd> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = rustix::net::socket_with(AddressFamily::INET, kind, flags, None)?;
            // A name server of the container's own may share the port on its other addresses.
            sockopt::set_socket_reuseaddr(&socket, true)?;
            rustix::net::bind(&socket, &ADDRESS)?;
            Ok(socket)
        };
        let (datagrams, streams) = (open(SocketType::DGRAM)?, open(SocketType::STREAM)?);
        rustix::net::listen(&streams, 16)?;
        Ok(vec![datagrams, streams])
    }

    /// Answers by what [`Server::listen`] opened. `servers` are asked what is not known, the host's resolvers if there are
    /// none.
    pub(crate) fn new(listening: Vec<OwnedFd>, servers: &[IpAddr]) -> io::Result<Self> {
        let [datagrams, streams] = listening.try_into().map_err(|_| Errno::BADF)?;
        let streams = Streams::new(streams.into());
        Ok(Self { datagrams: datagrams.into(), streams, pending: Vec::new(), servers: servers.to_vec() })
    }

    /// What to wait for.
    pub(crate) fn sources(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        let mut sources = vec![(self.datagrams.as_fd(), PollFlags::IN)];
        sources.extend(self.pending.iter().map(|pending| (pending.socket.as_fd(), PollFlags::IN)));
        self.streams.sources(&mut sources);
        sources
    }

    /// When to come back even if nothing happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.until).chain(self.streams.deadline()).min()
    }

    /// Does what can be done now.
    pub(crate) fn turn(&mut self, names: &Names<'_>) {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        for _ in 0..TURN_MAX {
            let Ok((length, from)) = self.datagrams.recv_from(&mut buffer) else { break };
            self.take(&buffer[..length], from, names);
        }
        for mut pending in std::mem::take(&mut self.pending) {
            match pending.look(&mut buffer) {
                Look::Wait => self.pending.push(pending),
                Look::Answer(answer) => self.say(&answer, pending.from),
                Look::Failed => self.ask(pending.query, pending.message, pending.from, pending.left),
            }
        }
        let servers = self.upstreams();
        self.streams.turn(|message| reply(message, names), &servers);
    }

    fn take(&mut self, message: &[u8], from: SocketAddr, names: &Names<'_>) {
        match reply(message, names) {
            Reply::Nothing => {}
            Reply::Known(answer) => self.say(&answer, from),
            Reply::Ask(query) => {
                if self.pending.len() >= PENDING_MAX {
                    let oldest = self.pending.remove(0);
                    self.say(&oldest.query.refuse(Code::Failed), oldest.from);
                }
                let servers = self.upstreams();
                self.ask(query, message.to_vec(), from, servers);
            }
        }
    }

    /// Asks the next of the resolvers that are left.
    fn ask(&mut self, query: Query, mut message: Vec<u8>, from: SocketAddr, mut left: Vec<IpAddr>) {
        while !left.is_empty() {
            let server = left.remove(0);
            let id = u16::from_ne_bytes(strata_sys::random::bytes());
            message::renumber(&mut message, id);
            if let Ok(socket) = ask_at(server, &message) {
                let until = Instant::now() + ANSWER_WITHIN;
                self.pending.push(Pending { query, message, from, socket, id, left, until });
                return;
            }
        }
        self.say(&query.refuse(Code::Failed), from);
    }

    fn say(&self, answer: &[u8], to: SocketAddr) {
        // One who does not read loses the answer, as with any datagram.
        if let Err(error) = self.datagrams.send_to(answer, to) {
            tracing::debug!(%error, "an answer was lost");
        }
    }

    fn upstreams(&self) -> Vec<IpAddr> {
        if !self.servers.is_empty() {
            return self.servers.clone();
        }
        let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        servers_in(&text).take(SERVERS_MAX).collect()
    }
}

enum Look {
    Wait,
    Answer(Vec<u8>),
    Failed,
}

impl Pending {
    fn look(&mut self, buffer: &mut [u8]) -> Look {
        loop {
            match rustix::net::recv(&self.socket, &mut *buffer, rustix::net::RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    let message = &buffer[..length.min(buffer.len())];
                    if self.query.is_answered_by(message, self.id) {
                        let mut answer = message.to_vec();
                        message::renumber(&mut answer, self.query.id);
                        return Look::Answer(answer);
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => {
                    return if Instant::now() < self.until { Look::Wait } else { Look::Failed };
                }
                // Nobody listens there.
                Err(_) => return Look::Failed,
            }
        }
    }
}

/// What becomes of a message.
enum Reply {
    /// It is not answered.
    Nothing,
    /// We know.
    Known(Vec<u8>),
    /// Others may know.
    Ask(Query),
}

fn reply(message: &[u8], names: &Names<'_>) -> Reply {
    let Some(query) = Query::read(message) else {
        return message::malformed(message).map_or(Reply::Nothing, Reply::Known);
    };
    match names.answer(&query) {
        Some(answer) => Reply::Known(answer),
        None => Reply::Ask(query),
    }
}

impl Names<'_> {
    /// What containers are meant; none if none.
    fn answer(&self, query: &Query) -> Option<Vec<u8>> {
        if !query.is_ours() {
            return None;
        }
        let mut all: Vec<Endpoint> = Vec::new();
        for network in self.networks {
            // What cannot be read is not known.
            all.extend(self.registry.endpoints(network).unwrap_or_default());
        }
        if query.kind == PTR {
            let address = query.reversed_address()?;
            let found = all.iter().find(|endpoint| endpoint.addresses().any(|own| own.address == address))?;
            return Some(query.name(&format!("{}.{}", found.names.first()?, found.network_name)));
        }
        let found: Vec<&Endpoint> = all.iter().filter(|endpoint| is_called(endpoint, &query.name)).collect();
        if found.is_empty() {
            return None;
        }
        let addresses = found.iter().flat_map(|endpoint| endpoint.addresses()).map(|address| address.address);
        let kind = if query.kind == A { A } else { AAAA };
        let fitting: Vec<IpAddr> = addresses.filter(|address| address.is_ipv4() == (kind == A)).collect();
        Some(query.addresses(&fitting))
    }
}

/// Whether an endpoint has a name, alone or with its network's behind it.
fn is_called(endpoint: &Endpoint, wanted: &str) -> bool {
    let network = endpoint.network_name.to_ascii_lowercase();
    let bare = wanted.strip_suffix(&network).and_then(|front| front.strip_suffix('.'));
    let is =
        |name: &String| name.eq_ignore_ascii_case(wanted) || bare.is_some_and(|bare| name.eq_ignore_ascii_case(bare));
    endpoint.names.iter().any(is)
}

/// The resolvers that a `resolv.conf` names.
pub(crate) fn servers_in(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let is_server = words.next() == Some("nameserver");
        words.next().filter(|_| is_server)?.parse().ok()
    })
}

fn ask_at(server: IpAddr, message: &[u8]) -> io::Result<OwnedFd> {
    let socket = open(server, SocketType::DGRAM)?;
    rustix::net::connect(&socket, &SocketAddr::new(server, 53))?;
    rustix::net::send(&socket, message, rustix::net::SendFlags::NOSIGNAL)?;
    Ok(socket)
}

fn open(server: IpAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    Ok(rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

/// Starts to connect to a resolver.
fn connect_to(server: IpAddr) -> io::Result<Upstream> {
    let socket = open(server, SocketType::STREAM)?;
    match rustix::net::connect(&socket, &SocketAddr::new(server, 53)) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(Upstream::new(socket.into())),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_from_resolv_conf() {
        let text =
            "# a comment\nsearch example.org\nnameserver 127.0.0.53\nnameserver  ::1 \nnameserver x\noptions ndots:1\n";
        let found: Vec<String> = servers_in(text).map(|server| server.to_string()).collect();
        assert_eq!(found, ["127.0.0.53", "::1"]);
    }
}
