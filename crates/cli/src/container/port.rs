//! Published ports as text.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use strata_net::Published;

/// The column of `ps`: `0.0.0.0:8000-8001->80-81/tcp, 53/udp`.
pub fn column(ports: &BTreeMap<String, Vec<Published>>) -> String {
    // Neighbours that are published at neighbours are one entry.
    let mut entries: Vec<Entry> = Vec::new();
    let mut all: Vec<Entry> = ports.iter().flat_map(|(name, published)| Entry::of(name, published)).collect();
    all.sort();
    for entry in all {
        match entries.last_mut().filter(|last| last.is_followed_by(&entry)) {
            Some(last) => (last.last, last.host_last) = (entry.last, entry.host_last),
            None => entries.push(entry),
        }
    }
    entries.sort_by_key(|entry| (entry.first, entry.protocol.clone(), entry.host.is_none(), entry.host));
    entries.iter().map(Entry::to_string).collect::<Vec<_>>().join(", ")
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    protocol: String,
    host: Option<IpAddr>,
    first: u16,
    last: u16,
    host_first: u16,
    host_last: u16,
}

impl Entry {
    fn of(name: &str, published: &[Published]) -> Vec<Self> {
        let (number, protocol) = name.split_once('/').unwrap_or((name, "tcp"));
        let number = number.parse().unwrap_or(0);
        let entry = |host, host_port| Self {
            protocol: protocol.to_owned(),
            host,
            first: number,
            last: number,
            host_first: host_port,
            host_last: host_port,
        };
        match published {
            [] => vec![entry(None, 0)],
            published => published.iter().map(|port| entry(Some(port.host), port.host_port)).collect(),
        }
    }

    fn is_followed_by(&self, next: &Self) -> bool {
        let follows = |last: u16, next: u16| last.checked_add(1) == Some(next);
        self.protocol == next.protocol
            && self.host == next.host
            && follows(self.last, next.first)
            && (self.host.is_none() || follows(self.host_last, next.host_first))
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let range = |first: u16, last: u16| if first == last { first.to_string() } else { format!("{first}-{last}") };
        if let Some(host) = self.host {
            let bare = if host.is_ipv4() { host.to_string() } else { format!("[{host}]") };
            write!(f, "{bare}:{}->", range(self.host_first, self.host_last))?;
        }
        write!(f, "{}/{}", range(self.first, self.last), self.protocol)
    }
}

/// Where a port is published, as `port` prints it.
pub fn place(port: &Published) -> String {
    SocketAddr::new(port.host, port.host_port).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_net::{Protocol, ports_by_name};

    #[test]
    fn neighbours_are_one_entry() {
        let tcp = |host: &str, port, host_port| Published {
            port,
            protocol: Protocol::Tcp,
            host: host.parse().unwrap(),
            host_port,
        };
        let published =
            [tcp("0.0.0.0", 80, 8080), tcp("0.0.0.0", 81, 8081), tcp("::", 80, 8080), tcp("127.0.0.1", 443, 8443)];
        let ports = ports_by_name(["53/udp", "80/tcp", "7000/tcp", "7001/tcp"], &published);
        let expected =
            "53/udp, 0.0.0.0:8080-8081->80-81/tcp, [::]:8080->80/tcp, 127.0.0.1:8443->443/tcp, 7000-7001/tcp";
        assert_eq!(column(&ports), expected);
    }
}
