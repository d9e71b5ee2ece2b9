//! Who is connected now, as small files below the run directory that are gone after a reboot.
//!
//! ```text
//! <run dir>/net/lock               whoever changes anything here, or in the kernel, holds it
//! <run dir>/net/firewall           which state of the host's input chains our tables hold copies of
//! <run dir>/net/router             what was switched on to make the host a router: `ipv4`, `ipv6`
//! <run dir>/net/<network id>/
//!   next                           the number of the address that was given away last
//!   made                           its bridge was made by us and goes with the last endpoint
//!   172.17.0.2  10.0.0.2,fd00::2   one Endpoint each, named by its addresses; its owner holds a lock on it and dies with it
//!   left-172.17.0.2                one that is gone, as long as something of it may be in the kernel
//! ```
//!
//! Addresses are given in turn rather than lowest first, because the interface of a container that has just ended lives for
//! some moments more.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use strata_sys::lock::{self, Lock, Mode};

use crate::error::{Error, Result};
use crate::plan::Network;
use crate::{Endpoint, Pool};

/// A kernel name for things of ours that belong to this run directory.
const PREFIX: &str = "strata-";

/// What stands before the name of an endpoint that is gone.
const LEFT: &str = "left-";

/// So many owners are looked for when a container is connected, so that the thousandth does not pay for all before it.
/// What a killed one left is in nobody's way until its address or port is wanted, and then all are looked for.
const LOOKS: usize = 4;

/// The files of one run directory.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    dir: PathBuf,
}

/// Permission to change things; ends when dropped.
#[derive(Debug)]
pub(crate) struct Changing(#[allow(dead_code, reason = "held, not read")] Lock);

/// An endpoint's file, held.
#[derive(Debug)]
pub(crate) struct Claim {
    file: File,
    path: PathBuf,
    bytes: usize,
}

/// An endpoint that is gone, but perhaps not from the kernel: its note stays until [`Registry::close`].
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) endpoint: Endpoint,
    note: PathBuf,
}

impl Registry {
    pub(crate) fn in_run_dir(run_dir: &Path) -> Self {
        Self { dir: run_dir.join("net") }
    }

    /// The name of our tables in the kernel, which differs between run directories.
    pub(crate) fn table(&self) -> String {
        // FNV-1a: short, and the same in every program.
        let bytes = self.dir.as_os_str().as_encoded_bytes();
        let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        format!("{PREFIX}{hash:08x}")
    }

    /// Whether anything was ever connected since the last reboot.
    pub(crate) fn is_there(&self) -> bool {
        self.dir.exists()
    }

    /// Waits for permission to change things.
    pub(crate) fn change(&self) -> Result<Changing> {
        let path = self.dir.join("lock");
        let locked = match Lock::wait(&path, Mode::Exclusive) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_dir(&self.dir)?;
                Lock::wait(&path, Mode::Exclusive)
            }
            other => other,
        };
        locked.map(Changing).map_err(Error::step("lock the networks"))
    }

    /// The ids of networks that somebody is or was connected to.
    pub(crate) fn networks(&self) -> Result<Vec<String>> {
        let is_id = |name: &String| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        Ok(names_in(&self.dir)?.into_iter().filter(is_id).collect())
    }

    /// The files of a network's endpoints.
    fn claims(&self, network: &str) -> Result<Vec<PathBuf>> {
        let dir = self.dir.join(network);
        let names = names_in(&dir)?.into_iter().filter(|name| is_claim(name));
        Ok(names.map(|name| dir.join(name)).collect())
    }

    /// All endpoints of a network.
    pub(crate) fn endpoints(&self, network: &str) -> Result<Vec<Endpoint>> {
        let read = |path: &PathBuf| read_endpoint(path).transpose();
        self.claims(network)?.iter().filter_map(read).collect()
    }

    /// All endpoints of all networks.
    pub(crate) fn all_endpoints(&self) -> Result<Vec<Endpoint>> {
        let mut all = Vec::new();
        for network in self.networks()? {
            all.extend(self.endpoints(&network)?);
        }
        Ok(all)
    }

    /// Takes the addresses from the endpoints of a network whose owners are dead; gives those.
    pub(crate) fn bury(&self, network: &str, permission: &Changing) -> Result<Vec<Left>> {
        self.bury_among(network, usize::MAX, permission)
    }

    /// [`Registry::bury`] that looks for a few owners only, others each time.
    pub(crate) fn bury_some(&self, network: &str, permission: &Changing) -> Result<Vec<Left>> {
        self.bury_among(network, LOOKS, permission)
    }

    fn bury_among(&self, network: &str, looks: usize, _permission: &Changing) -> Result<Vec<Left>> {
        let dir = self.dir.join(network);
        // Those that have left already, when somebody was about to remove them from the kernel and died.
        let (left, mut names): (Vec<String>, _) = names_in(&dir)?.into_iter().partition(|name| name.starts_with(LEFT));
        if names.len() > looks {
            let start = usize::from(u16::from_ne_bytes(strata_sys::random::bytes())) % names.len();
            names.rotate_left(start);
        }
        let mut notes: Vec<PathBuf> = left.into_iter().map(|name| dir.join(name)).collect();
        for path in names.into_iter().filter(|name| is_claim(name)).take(looks).map(|name| dir.join(name)) {
            if !lock::is_held(&path).map_err(Error::step("look for the owner of an address"))? {
                notes.extend(leave(&path)?);
            }
        }
        let mut all = Vec::new();
        for note in notes {
            match read_endpoint(&note) {
                Ok(Some(endpoint)) => all.push(Left { endpoint, note }),
                Ok(None) => {}
                // Its owner died while writing: there is nothing in the kernel yet.
                Err(error) => {
                    tracing::debug!(%error, "an unfinished endpoint");
                    remove_file(&note)?;
                }
            }
        }
        Ok(all)
    }

    /// Forgets endpoints of which nothing is left in the kernel.
    pub(crate) fn close(&self, left: &[Left], _permission: &Changing) -> Result<()> {
        left.iter().try_for_each(|left| remove_file(&left.note))
    }

    /// Finds addresses for an endpoint and claims them.
    pub(crate) fn claim(
        &self,
        network: &Network,
        wished: &[IpAddr],
        _permission: &Changing,
    ) -> Result<(Claim, Vec<IpAddr>)> {
        let dir = self.dir.join(&network.id);
        make_dir(&dir)?;
        // A file of one address has that for its name; of several, all names have to be looked at.
        let used: Option<Vec<IpAddr>> = match network.pools.len() {
            0 | 1 => None,
            _ => Some(names_in(&dir)?.iter().flat_map(|name| addresses_of(name)).collect()),
        };
        let is_free = |address: IpAddr| match &used {
            Some(used) => !used.contains(&address),
            None => !dir.join(address.to_string()).exists(),
        };
        let next = dir.join("next");
        let after: Option<u128> = std::fs::read_to_string(&next).ok().and_then(|text| text.parse().ok());
        let mut chosen = Vec::new();
        for pool in &network.pools {
            let wish = wished.iter().copied().find(|wish| wish.is_ipv4() == pool.subnet.is_ipv4());
            chosen.push(choose(network, pool, wish, after, is_free)?);
        }
        // Addresses of all kinds go in step.
        let range = |pool: &Pool| pool.range.unwrap_or(pool.subnet);
        let unasked = network.pools.iter().zip(&chosen).find(|(_, address)| !wished.contains(address));
        if let Some(index) = unasked.and_then(|(pool, address)| range(pool).index_of(*address)) {
            std::fs::write(&next, index.to_string()).map_err(Error::step("note an address"))?;
        }
        let name: Vec<String> = chosen.iter().map(ToString::to_string).collect();
        let path = dir.join(name.join(","));
        let file = File::options().write(true).create_new(true).open(&path).map_err(Error::step("claim an address"))?;
        if !lock::take(&file, Mode::Exclusive).map_err(Error::step("claim an address"))? {
            return Err(Error::AddressTaken);
        }
        Ok((Claim { file, path, bytes: 0 }, chosen))
    }

    /// Whether a network has endpoints.
    pub(crate) fn is_used(&self, network: &str) -> Result<bool> {
        Ok(names_in(&self.dir.join(network))?.iter().any(|name| is_claim(name)))
    }

    /// Whether any of these networks has endpoints.
    pub(crate) fn is_any_used(&self, networks: &[String]) -> Result<bool> {
        for network in networks {
            if self.is_used(network)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Forgets a network that has no endpoints.
    pub(crate) fn forget(&self, network: &str, _permission: &Changing) -> Result<()> {
        let dir = self.dir.join(network);
        for name in names_in(&dir)? {
            remove_file(&dir.join(name))?;
        }
        match std::fs::remove_dir(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::step("forget a network")(error)),
            _ => Ok(()),
        }
    }

    /// Notes that a network's bridge is ours.
    pub(crate) fn note_made(&self, network: &str) -> Result<()> {
        std::fs::write(self.dir.join(network).join("made"), []).map_err(Error::step("note whose a bridge is"))
    }

    /// Whether a network's bridge is ours.
    pub(crate) fn is_made(&self, network: &str) -> bool {
        self.dir.join(network).join("made").exists()
    }

    /// The stamp of the host's input chains that our tables hold copies of.
    pub(crate) fn stamp(&self) -> String {
        std::fs::read_to_string(self.dir.join("firewall")).unwrap_or_default()
    }

    /// Whether our tables should be there.
    pub(crate) fn has_tables(&self) -> bool {
        self.dir.join("firewall").exists()
    }

    /// Notes [`Registry::stamp`]; nothing removes the note.
    pub(crate) fn note_stamp(&self, stamp: Option<&str>) -> Result<()> {
        let path = self.dir.join("firewall");
        match stamp {
            None => remove_file(&path),
            Some(stamp) => std::fs::write(path, stamp).map_err(Error::step("note the state of the packet filter")),
        }
    }

    /// What was switched on to make the host a router.
    pub(crate) fn router(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.join("router")).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// Notes what is switched on to make the host a router; nothing removes the note.
    pub(crate) fn note_router(&self, kinds: &[String]) -> Result<()> {
        let path = self.dir.join("router");
        match kinds {
            [] => remove_file(&path),
            kinds => std::fs::write(path, kinds.join(" ")).map_err(Error::step("note that the host routes")),
        }
    }
}

impl Claim {
    /// Says whose it is.
    pub(crate) fn fill(&mut self, endpoint: &Endpoint) -> Result<()> {
        let bytes = serde_json::to_vec(endpoint)
            .map_err(|source| Error::Document { path: self.path.display().to_string(), source })?;
        self.file.write_all_at(&bytes, 0).map_err(Error::step("write an endpoint"))?;
        if bytes.len() < self.bytes {
            self.file.set_len(bytes.len() as u64).map_err(Error::step("write an endpoint"))?;
        }
        self.bytes = bytes.len();
        Ok(())
    }

    /// Gives the addresses back, of which nothing is in the kernel.
    pub(crate) fn release(self, _permission: &Changing) -> Result<()> {
        remove_file(&self.path)
    }

    /// Gives the addresses back, and notes that something may be in the kernel.
    pub(crate) fn leave(self, endpoint: Endpoint, _permission: &Changing) -> Result<Option<Left>> {
        Ok(leave(&self.path)?.map(|note| Left { endpoint, note }))
    }
}

fn choose(
    network: &Network,
    pool: &Pool,
    wish: Option<IpAddr>,
    after: Option<u128>,
    is_free: impl Fn(IpAddr) -> bool,
) -> Result<IpAddr> {
    let Some(wish) = wish else {
        let version = if pool.subnet.is_ipv4() { 4 } else { 6 };
        let exhausted = || Error::AddressesExhausted { version, name: network.name.clone(), id: network.id.clone() };
        return pool.choose(after, is_free).ok_or_else(exhausted);
    };
    if !pool.subnet.contains(wish) {
        return Err(Error::AddressOutside(wish));
    }
    if !pool.may_be_given(wish) || !is_free(wish) {
        return Err(Error::AddressTaken);
    }
    Ok(wish)
}

/// Whether a file of that name is an endpoint's.
fn is_claim(name: &str) -> bool {
    addresses_of(name).next().is_some()
}

/// The addresses in a file's name; nothing if it is another file.
fn addresses_of(name: &str) -> impl Iterator<Item = IpAddr> {
    name.split(',').map_while(|word| word.parse().ok())
}

/// Takes an endpoint's addresses from it; the name of the note that stays, if it was there.
fn leave(path: &Path) -> Result<Option<PathBuf>> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let note = dir.join(format!("{LEFT}{}", name.display()));
    match std::fs::rename(path, &note) {
        Ok(()) => Ok(Some(note)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::step("give an address back")(error)),
    }
}

fn read_endpoint(path: &Path) -> Result<Option<Endpoint>> {
    match std::fs::read(path) {
        Ok(bytes) => {
            let document = |source| Error::Document { path: path.display().to_string(), source };
            serde_json::from_slice(&bytes).map(Some).map_err(document)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::step("read an endpoint")(error)),
    }
}

fn names_in(dir: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Error::step("list networks"))?,
    };
    let name = |entry: io::Result<std::fs::DirEntry>| entry.map(|entry| entry.file_name().into_string().ok());
    entries.filter_map(|entry| name(entry).transpose()).collect::<io::Result<_>>().map_err(Error::step("list networks"))
}

fn make_dir(dir: &Path) -> Result<()> {
    strata_sys::durable::create_dirs(dir, 0o700)
        .map_err(|error| Error::step("make a directory for networks")(io::Error::other(error)))
}

fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::step("forget an endpoint")(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Bridge, Driver, Mac};

    fn network() -> Network {
        let pool = |subnet: &str, gateway: &str| Pool {
            subnet: subnet.parse().unwrap(),
            range: None,
            gateway: gateway.parse().unwrap(),
            reserved: vec![],
        };
        let bridge = Bridge { interface: "b".into(), masquerade: true, between: true, mtu: None, publish_at: None };
        Network {
            id: "a".repeat(64),
            name: "n".into(),
            driver: Driver::Bridge(bridge),
            pools: vec![pool("10.0.0.0/24", "10.0.0.1"), pool("fd00::/64", "fd00::1")],
            internal: false,
        }
    }

    fn endpoint(network: &Network) -> Endpoint {
        Endpoint {
            id: "e".into(),
            network: network.id.clone(),
            network_name: network.name.clone(),
            driver: network.driver.clone(),
            internal: false,
            container: "c".into(),
            container_name: "c".into(),
            interface: "eth0".into(),
            ipv4: None,
            ipv6: None,
            mac: Mac([2; 6]),
            names: vec![],
            ports: vec![],
        }
    }

    #[test]
    fn addresses_are_claimed_until_their_owner_dies_and_then_buried() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::in_run_dir(dir.path());
        let network = network();
        let changing = registry.change().unwrap();
        let (mut claim, addresses) = registry.claim(&network, &[], &changing).unwrap();
        assert_eq!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.2", "fd00::2"]);
        claim.fill(&endpoint(&network)).unwrap();
        let wish = ["10.0.0.2".parse().unwrap()];
        assert!(matches!(registry.claim(&network, &wish, &changing), Err(Error::AddressTaken)));
        assert!(registry.bury(&network.id, &changing).unwrap().is_empty());
        drop(claim);
        // As long as the kernel may have something of it, it is found again.
        for _ in 0..2 {
            let left = registry.bury(&network.id, &changing).unwrap();
            assert_eq!(left.iter().map(|left| &left.endpoint).collect::<Vec<_>>(), [&endpoint(&network)]);
        }
        registry.close(&registry.bury(&network.id, &changing).unwrap(), &changing).unwrap();
        assert!(registry.bury(&network.id, &changing).unwrap().is_empty());
        let (next, addresses) = registry.claim(&network, &[], &changing).unwrap();
        assert_eq!(addresses[0].to_string(), "10.0.0.3");
        next.release(&changing).unwrap();
        let (_claim, addresses) = registry.claim(&network, &wish, &changing).unwrap();
        assert_eq!(addresses[0].to_string(), "10.0.0.2");
    }

    #[test]
    fn a_start_looks_for_a_few_owners_only_and_in_time_for_all() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::in_run_dir(dir.path());
        let (network, changing) = (network(), registry.change().unwrap());
        let claims: Vec<Claim> = (0..40)
            .map(|_| {
                let (mut claim, _) = registry.claim(&network, &[], &changing).unwrap();
                claim.fill(&endpoint(&network)).unwrap();
                claim
            })
            .collect();
        assert!(registry.bury_some(&network.id, &changing).unwrap().is_empty());
        drop(claims);
        let mut buried = 0;
        while registry.is_used(&network.id).unwrap() {
            let left = registry.bury_some(&network.id, &changing).unwrap();
            assert!((1..=LOOKS).contains(&left.len()), "{}", left.len());
            registry.close(&left, &changing).unwrap();
            buried += left.len();
        }
        assert_eq!(buried, 40);
    }

    #[test]
    fn a_wish_outside_the_subnet_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::in_run_dir(dir.path());
        let changing = registry.change().unwrap();
        let refused = |wish: &str| registry.claim(&network(), &[wish.parse().unwrap()], &changing).unwrap_err();
        assert!(matches!(refused("10.9.0.2"), Error::AddressOutside(_)));
        assert!(matches!(refused("10.0.0.1"), Error::AddressTaken));
        assert!(matches!(refused("fd00::1"), Error::AddressTaken));
    }

    #[test]
    fn a_network_is_forgotten_with_its_last_endpoint() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::in_run_dir(dir.path());
        let network = network();
        let changing = registry.change().unwrap();
        let (claim, _) = registry.claim(&network, &[], &changing).unwrap();
        assert_eq!(registry.networks().unwrap(), std::slice::from_ref(&network.id));
        assert!(registry.is_used(&network.id).unwrap());
        claim.release(&changing).unwrap();
        assert!(!registry.is_used(&network.id).unwrap());
        registry.forget(&network.id, &changing).unwrap();
        registry.forget(&network.id, &changing).unwrap();
        assert_eq!(registry.networks().unwrap(), Vec::<String>::new());
    }
}
