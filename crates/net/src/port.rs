//! Ports of the host: reserved by binding a socket, so that nothing else on the host takes them meanwhile.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::error::{Error, Result};
use crate::plan::{Plan, Protocol, Publish, Published};

/// A port that nobody else can take.
#[derive(Debug)]
pub(crate) struct Reserved {
    pub(crate) published: Published,
    _socket: OwnedFd,
}

/// Which addresses the container can be reached at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kinds {
    pub(crate) ipv4: bool,
    pub(crate) ipv6: bool,
    /// ::1 is one of them: the kernel takes no answers to it from a bridge.
    pub(crate) ipv6_loopback: bool,
}

/// Reserves all ports of a plan.
pub(crate) fn reserve(plan: &Plan, usual: Option<IpAddr>, kinds: Kinds, endpoint: &str) -> Result<Vec<Reserved>> {
    let mut reserved = Vec::new();
    for wish in &plan.ports {
        reserve_one(plan, wish, usual, kinds, endpoint, &mut reserved)?;
    }
    Ok(reserved)
}

fn reserve_one(
    plan: &Plan,
    wish: &Publish,
    usual: Option<IpAddr>,
    kinds: Kinds,
    endpoint: &str,
    reserved: &mut Vec<Reserved>,
) -> Result<()> {
    let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let hosts: Vec<IpAddr> = match wish.address.or(usual) {
        Some(address) if !address.is_unspecified() || wish.address.is_some() => vec![address],
        _ => any.to_vec(),
    };
    let reachable: Vec<IpAddr> =
        hosts.iter().copied().filter(|host| if host.is_ipv4() { kinds.ipv4 } else { kinds.ipv6 }).collect();
    if reachable.iter().any(|host| host.is_ipv6() && host.is_loopback()) && !kinds.ipv6_loopback {
        let port = wish.port;
        return Err(Error::Invalid(format!("cannot publish port {port} at ::1 by a bridge: use 127.0.0.1")));
    }
    let Some(first) = reachable.first() else {
        let (host, kind) = (hosts[0], if hosts[0].is_ipv4() { "IPv4" } else { "IPv6" });
        return Err(Error::Invalid(format!(
            "cannot publish port {} at {host}: the container has no {kind} address",
            wish.port
        )));
    };
    let (from, to) = wish.host.unwrap_or((0, 0));
    let mut taken = None;
    for port in from..=to {
        // A port at random on one address is wanted on the other too.
        match reserve_at(wish, &reachable, port) {
            Ok(all) => {
                reserved.extend(all);
                return Ok(());
            }
            Err((at, error)) => taken = Some((at, error)),
        }
    }
    let (at, source) = taken.unwrap_or((SocketAddr::new(*first, from), Errno::ADDRINUSE.into()));
    let (container, endpoint) = (plan.name.clone(), endpoint.to_owned());
    if source.raw_os_error() == Some(Errno::ADDRINUSE.raw_os_error()) {
        return Err(Error::PortTaken { container, endpoint, at });
    }
    let first = first_unprivileged();
    if source.kind() == io::ErrorKind::PermissionDenied && (1..first).contains(&at.port()) {
        return Err(Error::PortPrivileged { port: at.port(), first });
    }
    Err(Error::Port { container, endpoint, at, source })
}

/// The first port that everybody may take.
fn first_unprivileged() -> u16 {
    let said = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    said.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
}

fn reserve_at(
    wish: &Publish,
    hosts: &[IpAddr],
    port: u16,
) -> std::result::Result<Vec<Reserved>, (SocketAddr, io::Error)> {
    /// So often a port at random is free on one address and taken on the other.
    const TRIES_MAX: usize = 16;
    let mut failed = None;
    for _ in 0..if port == 0 { TRIES_MAX } else { 1 } {
        let mut all: Vec<Reserved> = Vec::new();
        let mut number = port;
        for host in hosts {
            let at = SocketAddr::new(*host, number);
            match bind(wish.protocol, at) {
                Ok((socket, bound)) => {
                    number = bound;
                    let published =
                        Published { port: wish.port, protocol: wish.protocol, host: *host, host_port: bound };
                    all.push(Reserved { published, _socket: socket });
                }
                Err(error) => {
                    failed = Some((at, error));
                    break;
                }
            }
        }
        if all.len() == hosts.len() {
            return Ok(all);
        }
    }
    Err(failed.unwrap_or((SocketAddr::new(hosts[0], port), Errno::ADDRINUSE.into())))
}

/// Binds a socket; gives its port.
fn bind(protocol: Protocol, at: SocketAddr) -> io::Result<(OwnedFd, u16)> {
    let socket = open(protocol, at)?;
    match rustix::net::bind(&socket, &at) {
        Ok(()) => {}
        // Perhaps only connections that have ended are left: then one may listen there, and nobody does.
        Err(Errno::ADDRINUSE) if protocol == Protocol::Tcp => return bind_behind_ended(at),
        Err(errno) => return Err(errno.into()),
    }
    let bound = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
    Ok((socket, bound.port()))
}

fn bind_behind_ended(at: SocketAddr) -> io::Result<(OwnedFd, u16)> {
    let socket = open(Protocol::Tcp, at)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &at)?;
    // Fails if somebody listens.
    rustix::net::listen(&socket, 0)?;
    // Does not listen any more, but stays bound.
    rustix::net::shutdown(&socket, rustix::net::Shutdown::Read)?;
    Ok((socket, at.port()))
}

fn open(protocol: Protocol, at: SocketAddr) -> io::Result<OwnedFd> {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(number))?;
    if !at.is_ipv4() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(address: &str, host: Option<(u16, u16)>) -> Plan {
        let publish = Publish { address: Some(address.parse().unwrap()), host, port: 80, protocol: Protocol::Tcp };
        Plan { name: "web".into(), ports: vec![publish], ..Plan::default() }
    }

    const KINDS: Kinds = Kinds { ipv4: true, ipv6: false, ipv6_loopback: false };

    #[test]
    fn a_reserved_port_is_taken_for_all_others() {
        let first = reserve(&plan("127.0.0.1", None), None, KINDS, "e").unwrap();
        let port = first[0].published.host_port;
        assert_ne!(port, 0);
        let taken = reserve(&plan("127.0.0.1", Some((port, port))), None, KINDS, "e").unwrap_err();
        let words = "driver failed programming external connectivity on endpoint web (e): Bind for 127.0.0.1:";
        assert_eq!(taken.to_string(), format!("{words}{port} failed: port is already allocated"));
        assert!(std::net::TcpListener::bind(("127.0.0.1", port)).is_err());
        drop(first);
        assert!(std::net::TcpListener::bind(("127.0.0.1", port)).is_ok());
    }

    #[test]
    fn a_listening_program_is_not_displaced_but_an_ended_connection_is() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let wish = plan("127.0.0.1", Some((port, port)));
        assert!(matches!(reserve(&wish, None, KINDS, "e"), Err(Error::PortTaken { .. })));
        let client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (server, _) = listener.accept().unwrap();
        // The side that closes first keeps the connection in mind.
        drop(server);
        drop((client, listener));
        assert_eq!(reserve(&wish, None, KINDS, "e").unwrap()[0].published.host_port, port);
    }

    #[test]
    fn an_address_of_a_kind_that_the_container_lacks_is_refused() {
        let refused = reserve(&plan("::1", None), None, KINDS, "e").unwrap_err();
        assert_eq!(refused.to_string(), "cannot publish port 80 at ::1: the container has no IPv6 address");
        let refused = reserve(&plan("::1", None), None, Kinds { ipv6: true, ..KINDS }, "e").unwrap_err();
        assert_eq!(refused.to_string(), "cannot publish port 80 at ::1 by a bridge: use 127.0.0.1");
    }
}
