//! nf_tables: tables, chains, rules, sets and their elements as netlink messages (linux/netfilter/nf_tables.h).
//!
//! A transaction is one batch, which the kernel carries out whole or not at all.

use crate::netlink::{APPEND, Attributes, Batch, CREATE};

const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

/// Kinds of messages.
pub(crate) mod kind {
    pub(crate) const NEW_TABLE: u16 = 0;
    pub(crate) const GET_TABLE: u16 = 1;
    pub(crate) const DELETE_TABLE: u16 = 2;
    pub(crate) const NEW_CHAIN: u16 = 3;
    pub(crate) const GET_CHAIN: u16 = 4;
    pub(crate) const NEW_RULE: u16 = 6;
    pub(crate) const GET_RULE: u16 = 7;
    pub(crate) const NEW_SET: u16 = 9;
    pub(crate) const GET_SET: u16 = 10;
    pub(crate) const NEW_ELEMENTS: u16 = 12;
    pub(crate) const GET_ELEMENTS: u16 = 13;
    pub(crate) const DELETE_ELEMENTS: u16 = 14;
    pub(crate) const GET_GENERATION: u16 = 16;
}

/// So many elements are put in one message, whose list may be 64 KiB long.
const ELEMENTS_MAX: usize = 400;

/// IPv4 or IPv6: each has a table of its own, made when it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// Where an address stands in the header: source or destination, and its length.
    const fn address(self, source: bool) -> (u32, u32) {
        match (self, source) {
            (Self::V4, true) => (12, 4),
            (Self::V4, false) => (16, 4),
            (Self::V6, true) => (8, 16),
            (Self::V6, false) => (24, 16),
        }
    }

    /// The register behind an address that was loaded into the first one.
    const fn behind_address(self) -> u32 {
        match self {
            Self::V4 => FIRST + 1,
            Self::V6 => FIRST + 4,
        }
    }
}

/// The first register of four bytes.
pub(crate) const FIRST: u32 = 8;
/// The registers of 16 bytes, for names of interfaces.
const WIDE: [u32; 2] = [1, 2];

/// Types of keys and data: what `nft list` prints them as.
pub(crate) mod of {
    pub(crate) const IPV4: u32 = 7;
    pub(crate) const IPV6: u32 = 8;
    pub(crate) const PROTOCOL: u32 = 12;
    pub(crate) const PORT: u32 = 13;
    pub(crate) const INTERFACE: u32 = 41;

    /// Several in a row.
    pub(crate) fn several(types: &[u32]) -> u32 {
        types.iter().fold(0, |all, one| (all << 6) | one)
    }
}

/// A transaction on one table.
#[derive(Debug)]
pub(crate) struct Transaction<'a> {
    batch: Batch,
    family: Family,
    table: &'a str,
    is_empty: bool,
}

/// A set, or a map if it has data.
pub(crate) struct Set<'a> {
    pub(crate) name: &'a str,
    pub(crate) key: (u32, u32),
    pub(crate) data: Option<(u32, u32)>,
}

/// Where packets come by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hook {
    pub(crate) kind: &'static str,
    pub(crate) number: u32,
    pub(crate) priority: i32,
}

pub(crate) const PREROUTING: u32 = 0;
pub(crate) const INPUT: u32 = 1;
pub(crate) const FORWARD: u32 = 2;
pub(crate) const OUTPUT: u32 = 3;
pub(crate) const POSTROUTING: u32 = 4;

/// What becomes of a packet.
pub(crate) mod verdict {
    pub(crate) const DROP: i32 = 0;
    pub(crate) const ACCEPT: i32 = 1;
    pub(crate) const GOTO: i32 = -4;
}

/// `struct nfgenmsg`.
pub(crate) fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

/// A kind of message as netlink wants it.
pub(crate) const fn full(kind: u16) -> u16 {
    SUBSYSTEM | kind
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(family: Family, table: &'a str) -> Self {
        let mut batch = Batch::default();
        batch.message(BATCH_BEGIN, 0, |message| message.raw(&header(0, 10)));
        Self { batch, family, table, is_empty: true }
    }

    /// All its messages; none if it does nothing.
    pub(crate) fn finish(mut self) -> Option<Batch> {
        self.batch.acknowledge();
        self.batch.message(BATCH_END, 0, |message| message.raw(&header(0, 10)));
        (!self.is_empty).then_some(self.batch)
    }

    /// The table's name.
    pub(crate) const fn table(&self) -> &str {
        self.table
    }

    /// Adds a message; `fill` puts what is behind the family.
    pub(crate) fn add(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        self.is_empty = false;
        let family = self.family.number();
        self.batch.message(full(kind), flags, |message| {
            message.raw(&header(family, 0));
            fill(message);
        });
    }

    /// Makes the table, empty: what was in it is gone.
    pub(crate) fn renew_table(&mut self) {
        let table = self.table;
        for kind in [kind::NEW_TABLE, kind::DELETE_TABLE, kind::NEW_TABLE] {
            let flags = if kind == kind::NEW_TABLE { CREATE } else { 0 };
            self.add(kind, flags, |message| message.text(1, table));
        }
    }

    /// Removes the table, which must be there.
    pub(crate) fn delete_table(&mut self) {
        let table = self.table;
        self.add(kind::DELETE_TABLE, 0, |message| message.text(1, table));
    }

    pub(crate) fn chain(&mut self, name: &str, hook: Option<Hook>) {
        let table = self.table;
        self.add(kind::NEW_CHAIN, CREATE, |message| {
            message.text(1, table);
            message.text(3, name);
            let Some(hook) = hook else { return };
            message.nest(4, |place| {
                place.big(1, hook.number);
                place.big(2, hook.priority as u32);
            });
            message.text(7, hook.kind);
        });
    }

    pub(crate) fn rule(&mut self, chain: &str, fill: impl FnOnce(&mut Rule<'_, '_>)) {
        let (table, family) = (self.table, self.family);
        self.add(kind::NEW_RULE, CREATE | APPEND, |message| {
            message.text(1, table);
            message.text(2, chain);
            message.nest(4, |expressions| fill(&mut Rule { expressions, family }));
        });
    }

    pub(crate) fn set(&mut self, set: &Set<'_>) {
        const MAP: u32 = 0x8;
        let table = self.table;
        self.add(kind::NEW_SET, CREATE, |message| {
            message.text(1, table);
            message.text(2, set.name);
            message.big(3, if set.data.is_some() { MAP } else { 0 });
            message.big(4, set.key.0);
            message.big(5, set.key.1);
            if let Some((kind, length)) = set.data {
                message.big(6, kind);
                message.big(7, length);
            }
            if set.key.0 == of::INTERFACE || set.name == "same" {
                // Tells `nft list` that these keys are in the machine's order, as names of interfaces are.
                message.put(13, &[&[0, 4][..], &1_u32.to_ne_bytes()].concat());
            }
            // Names sets within this transaction.
            message.big(10, 1);
        });
    }

    /// Adds elements, keys with their data, or removes them by their keys.
    pub(crate) fn elements(&mut self, add: bool, set: &str, elements: &[(Vec<u8>, Option<Vec<u8>>)]) {
        let table = self.table;
        let (kind, flags) = if add { (kind::NEW_ELEMENTS, CREATE) } else { (kind::DELETE_ELEMENTS, 0) };
        for some in elements.chunks(ELEMENTS_MAX) {
            self.add(kind, flags, |message| {
                message.text(1, table);
                message.text(2, set);
                message.nest(3, |list| some.iter().for_each(|(key, data)| element(list, key, data.as_deref())));
            });
        }
    }
}

fn element(list: &mut Attributes<'_>, key: &[u8], data: Option<&[u8]>) {
    list.nest(1, |element| {
        element.nest(1, |value| value.put(1, key));
        if let Some(data) = data {
            element.nest(2, |value| value.put(1, data));
        }
    });
}

/// The expressions of a rule: each looks at the packet, and the rule ends where one does not fit.
pub(crate) struct Rule<'a, 'b> {
    expressions: &'a mut Attributes<'b>,
    family: Family,
}

impl Rule<'_, '_> {
    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Attributes<'_>)) {
        self.expressions.nest(1, |expression| {
            expression.text(1, name);
            expression.nest(2, fill);
        });
    }

    fn load_meta(&mut self, key: u32, register: u32) {
        self.expression("meta", |data| {
            data.big(2, key);
            data.big(1, register);
        });
    }

    fn load_payload(&mut self, base: u32, offset: u32, length: u32, register: u32) {
        self.expression("payload", |data| {
            data.big(1, register);
            data.big(2, base);
            data.big(3, offset);
            data.big(4, length);
        });
    }

    fn compare(&mut self, equal: bool, value: &[u8]) {
        self.expression("cmp", |data| {
            data.big(1, FIRST);
            data.big(2, u32::from(!equal));
            data.nest(3, |nested| nested.put(1, value));
        });
    }

    fn and(&mut self, mask: &[u8]) {
        self.expression("bitwise", |data| {
            data.big(1, FIRST);
            data.big(2, FIRST);
            data.big(3, mask.len() as u32);
            data.nest(4, |nested| nested.put(1, mask));
            data.nest(5, |nested| nested.put(1, &vec![0; mask.len()]));
        });
    }

    /// Fits if the key that was loaded is in the set, or is not.
    fn lookup(&mut self, set: &str, register: u32, inside: bool) {
        self.expression("lookup", |data| {
            data.text(1, set);
            data.big(2, register);
            data.big(5, u32::from(!inside));
        });
    }

    /// Fits packets that came in by an interface of the set, or by another.
    pub(crate) fn from(&mut self, set: &str, inside: bool) -> &mut Self {
        self.load_meta(meta::INTERFACE_IN, WIDE[0]);
        self.lookup(set, WIDE[0], inside);
        self
    }

    /// Fits packets that go out by an interface of the set, or by another.
    pub(crate) fn to(&mut self, set: &str, inside: bool) -> &mut Self {
        self.load_meta(meta::INTERFACE_OUT, WIDE[0]);
        self.lookup(set, WIDE[0], inside);
        self
    }

    /// Fits packets whose two interfaces are a pair of the set.
    pub(crate) fn between(&mut self, set: &str) -> &mut Self {
        self.load_meta(meta::INTERFACE_IN, WIDE[0]);
        self.load_meta(meta::INTERFACE_OUT, WIDE[1]);
        self.lookup(set, WIDE[0], true);
        self
    }

    /// Fits packets that did not come from this host itself.
    pub(crate) fn not_from_loopback(&mut self) -> &mut Self {
        self.load_meta(meta::INTERFACE_IN, FIRST);
        self.compare(false, &interface("lo"));
        self
    }

    /// Fits packets with a source or destination in 127.0.0.0/8, or that is ::1.
    pub(crate) fn loopback_address(&mut self, source: bool) -> &mut Self {
        let (offset, length) = self.family.address(source);
        let (length, address) = match self.family {
            Family::V4 => (1, vec![127]),
            Family::V6 => (length, std::net::Ipv6Addr::LOCALHOST.octets().to_vec()),
        };
        self.load_payload(NETWORK, offset, length, FIRST);
        self.compare(true, &address);
        self
    }

    /// Fits packets whose source and destination are a pair of the set.
    pub(crate) fn addresses(&mut self, set: &str) -> &mut Self {
        let (source, length) = self.family.address(true);
        self.load_payload(NETWORK, source, length, FIRST);
        let (destination, _) = self.family.address(false);
        let register = self.family.behind_address();
        self.load_payload(NETWORK, destination, length, register);
        self.lookup(set, FIRST, true);
        self
    }

    /// Fits packets for an address of this host.
    pub(crate) fn for_this_host(&mut self) -> &mut Self {
        const ADDRESS_TYPE: u32 = 3;
        const BY_DESTINATION: u32 = 1 << 1;
        const LOCAL: u32 = 2;
        self.expression("fib", |data| {
            data.big(1, FIRST);
            data.big(2, ADDRESS_TYPE);
            data.big(3, BY_DESTINATION);
        });
        self.compare(true, &LOCAL.to_ne_bytes());
        self
    }

    /// Fits packets of connections in one of these states.
    pub(crate) fn state(&mut self, states: u32) -> &mut Self {
        const STATE: u32 = 0;
        self.conntrack(STATE, states)
    }

    /// Fits packets of connections whose destination we changed.
    pub(crate) fn redirected(&mut self) -> &mut Self {
        const STATUS: u32 = 2;
        const DESTINATION_CHANGED: u32 = 1 << 5;
        self.conntrack(STATUS, DESTINATION_CHANGED)
    }

    fn conntrack(&mut self, key: u32, bits: u32) -> &mut Self {
        self.expression("ct", |data| {
            data.big(1, FIRST);
            data.big(2, key);
        });
        self.and(&bits.to_ne_bytes());
        self.compare(false, &[0; 4]);
        self
    }

    /// Fits packets from the side that began the connection.
    pub(crate) fn original_direction(&mut self) -> &mut Self {
        const DIRECTION: u32 = 1;
        self.expression("ct", |data| {
            data.big(1, FIRST);
            data.big(2, DIRECTION);
        });
        self.compare(true, &[0]);
        self
    }

    /// Fits packets whose protocol and port, with the address before them if `with_address`, are in the map; what the map
    /// has for them is loaded.
    pub(crate) fn find_port(&mut self, map: &str, with_address: bool) -> &mut Self {
        let (offset, length) = self.family.address(false);
        let mut register = FIRST;
        if with_address {
            self.load_payload(NETWORK, offset, length, FIRST);
            register = self.family.behind_address();
        }
        self.load_meta(meta::PROTOCOL, register);
        self.load_payload(TRANSPORT, 2, 2, register + 1);
        self.expression("lookup", |data| {
            data.text(1, map);
            data.big(2, FIRST);
            data.big(3, FIRST);
        });
        self
    }

    /// Sends the packet to the address and port that were loaded.
    pub(crate) fn redirect(&mut self) {
        const DESTINATION: u32 = 1;
        let family = self.family;
        self.expression("nat", |data| {
            data.big(1, DESTINATION);
            data.big(2, u32::from(family.number()));
            data.big(3, FIRST);
            data.big(5, family.behind_address());
        });
    }

    /// Gives the packet the address of the interface by which it goes out.
    pub(crate) fn masquerade(&mut self) {
        self.expression("masq", |_| {});
    }

    /// Decides.
    pub(crate) fn verdict(&mut self, code: i32, chain: Option<&str>) {
        self.expression("immediate", |data| {
            data.big(1, 0);
            data.nest(2, |nested| {
                nested.nest(2, |verdict| {
                    verdict.big(1, code as u32);
                    if let Some(chain) = chain {
                        verdict.text(2, chain);
                    }
                });
            });
        });
    }
}

/// States of connections, as bits.
pub(crate) mod state {
    pub(crate) const ESTABLISHED: u32 = 2;
    pub(crate) const RELATED: u32 = 4;
}

mod meta {
    pub(super) const INTERFACE_IN: u32 = 6;
    pub(super) const INTERFACE_OUT: u32 = 7;
    pub(super) const PROTOCOL: u32 = 16;
}

const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;

/// An interface's name as a key.
pub(crate) fn interface(name: &str) -> [u8; 16] {
    let mut key = [0; 16];
    for (to, from) in key.iter_mut().zip(name.bytes().take(15)) {
        *to = from;
    }
    key
}
