//! The host's own input chains, copied for packets to published ports.
//!
//! Such packets are sent on to a container before they would come to an input chain, so `tcp dport 8080 drop` there would
//! never meet them: people are surprised that Docker opens what they closed (moby#22054). So we read the input chains with
//! all they refer to, and put copies into our tables where packets still carry the address and port that their sender
//! wrote. The expressions are copied as they are; names of chains and sets get a prefix.

use std::collections::BTreeSet;
use std::io;

use crate::netlink::{APPEND, Attributes, CREATE, Socket, attribute, attributes, big, text};
use crate::nft::{self, Family, Hook, INPUT, PREROUTING, Transaction, kind, verdict};

/// Tables of ours, of whatever run directory.
const OURS: &str = "strata-";
/// Both kinds of addresses.
const FAMILY_INET: u8 = 1;
/// Before addresses are changed.
const GATE_PRIORITY: i32 = -110;
/// A set's flag: it belongs to one rule.
const ANONYMOUS: u32 = 1;

/// An input chain's priority, name, and whether what comes to its end is dropped.
type Base = (i32, String, bool);

/// What of the host's rules concerns published ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostInput {
    tables: Vec<Table>,
}

/// One of the host's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Table {
    family: u8,
    /// Input chains that packets come to by themselves, in this order, and whether what they let through is dropped.
    bases: Vec<Base>,
    /// The chains that are reached from there.
    chains: BTreeSet<String>,
    sets: Vec<Set>,
    rules: Vec<(String, Vec<Expression>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Set {
    name: String,
    content: Vec<u8>,
    elements: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Expression {
    name: String,
    data: Vec<u8>,
}

impl HostInput {
    /// Reads it; next to nothing where the host has no input chain.
    pub(crate) fn read(socket: &mut Socket) -> io::Result<Self> {
        let mut tables: Vec<(u8, String, Vec<Base>)> = Vec::new();
        socket.list(
            nft::full(kind::GET_CHAIN),
            |message| message.raw(&nft::header(0, 0)),
            |message| {
                let Some((family, table, base)) = input_chain(&message.content) else { return };
                match tables.iter_mut().find(|(known, name, _)| (*known, name.as_str()) == (family, table.as_str())) {
                    Some((_, _, bases)) => bases.push(base),
                    None => tables.push((family, table, vec![base])),
                }
            },
        )?;
        let mut host = Self::default();
        for (family, name, mut bases) in tables {
            bases.sort();
            host.tables.push(Table::read(socket, family, &name, bases)?);
        }
        Ok(host)
    }

    /// A number that differs when anything differs.
    pub(crate) fn stamp(&self) -> String {
        let text = format!("{:?}", self.tables);
        let hash = text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        format!("{hash:016x}")
    }

    /// Copies it.
    pub(super) fn put(&self, transaction: &mut Transaction<'_>, family: Family) {
        for (number, table) in self.tables.iter().enumerate() {
            if table.family == FAMILY_INET || table.family == family.number() {
                table.put(transaction, number);
            }
        }
    }

    /// Closes published ports to the world outside, where the copies are not taken by the kernel.
    pub(super) fn put_closed(&self, transaction: &mut Transaction<'_>) {
        if self.tables.is_empty() {
            return;
        }
        transaction.chain("gate", Some(Hook { kind: "filter", number: PREROUTING, priority: GATE_PRIORITY }));
        for (map, with_address) in [("at", true), ("any", false)] {
            transaction.rule("gate", |rule| {
                rule.from("bridges", false).for_this_host().original_direction().find_port(map, with_address);
                rule.verdict(verdict::DROP, None);
            });
        }
    }
}

/// An input chain of the host that packets come to by themselves: its family, table, priority, name, and whether it drops.
fn input_chain(content: &[u8]) -> Option<(u8, String, Base)> {
    let (family, chain) = (*content.first()?, content.get(4..)?);
    let is_known = [FAMILY_INET, Family::V4.number(), Family::V6.number()].contains(&family);
    let table = attribute(chain, 1).map(text).filter(|table| is_known && !table.starts_with(OURS))?;
    let hook = attribute(chain, 4)?;
    let is_filter = attribute(chain, 7).map(text).as_deref() == Some("filter");
    let is_input = attribute(hook, 1).and_then(big) == Some(INPUT);
    let priority = attribute(hook, 2).and_then(big)? as i32;
    let drops = attribute(chain, 5).and_then(big) == Some(verdict::DROP as u32);
    (is_filter && is_input).then_some((family, table, (priority, attribute(chain, 3).map(text)?, drops)))
}

impl Table {
    fn read(socket: &mut Socket, family: u8, name: &str, bases: Vec<Base>) -> io::Result<Self> {
        let header = nft::header(family, 0);
        let ask = |message: &mut Attributes<'_>| {
            message.raw(&header);
            message.text(1, name);
        };
        let mut all: Vec<(String, Vec<Expression>)> = Vec::new();
        socket.list(nft::full(kind::GET_RULE), ask, |message| all.extend(rule(&message.content, name)))?;
        let mut chains: BTreeSet<String> = bases.iter().map(|(_, chain, _)| chain.clone()).collect();
        let mut sets = Vec::new();
        socket.list(nft::full(kind::GET_SET), ask, |message| sets.extend(set(&message.content, name)))?;
        for set in &mut sets {
            let of_set = |message: &mut Attributes<'_>| {
                message.raw(&header);
                message.text(1, name);
                message.text(2, &set.name);
            };
            let elements = &mut set.elements;
            socket.list(nft::full(kind::GET_ELEMENTS), of_set, |message| {
                elements.extend(elements_of(&message.content))
            })?;
        }
        // What is reached from the base chains, by rules and by verdict maps.
        loop {
            let before = chains.len();
            let used: Vec<&Expression> = all
                .iter()
                .filter(|(chain, _)| chains.contains(chain))
                .flat_map(|(_, expressions)| expressions)
                .collect();
            let mut found: Vec<String> = used.iter().filter_map(|expression| expression.target()).collect();
            let looked_up: Vec<String> = used.iter().filter_map(|expression| expression.set()).collect();
            let of_maps = sets.iter().filter(|set| looked_up.contains(&set.name)).flat_map(|set| &set.elements);
            found.extend(of_maps.filter_map(|element| attribute(element, 2).and_then(target_of)));
            chains.extend(found);
            if chains.len() == before {
                sets.retain(|set| looked_up.contains(&set.name));
                break;
            }
        }
        all.retain(|(chain, _)| chains.contains(chain));
        Ok(Self { family, bases, chains, sets, rules: all })
    }

    fn put(&self, transaction: &mut Transaction<'_>, number: usize) {
        let renamed = |name: &str| format!("host{number}-{name}");
        for chain in &self.chains {
            transaction.chain(&renamed(chain), None);
        }
        for set in &self.sets {
            set.put(transaction, &renamed);
        }
        for (chain, expressions) in &self.rules {
            let (table, chain) = (transaction.table().to_owned(), renamed(chain));
            transaction.add(kind::NEW_RULE, CREATE | APPEND, |message| {
                message.text(1, &table);
                message.text(2, &chain);
                message.nest(4, |list| expressions.iter().for_each(|expression| expression.put(list, &renamed)));
            });
        }
        for (at, (_, chain, drops)) in self.bases.iter().enumerate() {
            let copy = renamed(chain);
            if *drops {
                transaction.rule(&copy, |rule| rule.verdict(verdict::DROP, None));
            }
            let gate = format!("gate{number}-{at}");
            transaction.chain(&gate, Some(Hook { kind: "filter", number: PREROUTING, priority: GATE_PRIORITY }));
            for (map, with_address) in [("at", true), ("any", false)] {
                transaction.rule(&gate, |rule| {
                    rule.for_this_host().original_direction().find_port(map, with_address);
                    rule.verdict(verdict::GOTO, Some(&copy));
                });
            }
        }
    }
}

impl Set {
    fn put(&self, transaction: &mut Transaction<'_>, renamed: &dyn Fn(&str) -> String) {
        let (table, name) = (transaction.table().to_owned(), renamed(&self.name));
        transaction.add(kind::NEW_SET, CREATE, |message| {
            message.text(1, &table);
            message.text(2, &name);
            for (kind, bytes) in attributes(&self.content) {
                match kind {
                    3 => message.big(3, big(bytes).unwrap_or(0) & !ANONYMOUS),
                    4..=9 | 11..=13 => message.put(kind, bytes),
                    _ => {}
                }
            }
            message.big(10, 1);
        });
        for some in self.elements.chunks(256) {
            transaction.add(kind::NEW_ELEMENTS, CREATE, |message| {
                message.text(1, &table);
                message.text(2, &name);
                message.nest(3, |list| {
                    for element in some {
                        list.nest(1, |copy| copy_element(copy, element, renamed));
                    }
                });
            });
        }
    }
}

/// Copies what identifies an element and what it says, not how long it lives.
fn copy_element(copy: &mut Attributes<'_>, element: &[u8], renamed: &dyn Fn(&str) -> String) {
    for (kind, bytes) in attributes(element) {
        match kind {
            2 => copy.nest(2, |data| copy_data(data, bytes, renamed)),
            1 | 10 => copy.nest(kind, |value| value.raw(bytes)),
            3 => copy.put(3, bytes),
            _ => {}
        }
    }
}

/// Copies data, which is a value or a verdict; one that names a chain names our copy.
fn copy_data(data: &mut Attributes<'_>, bytes: &[u8], renamed: &dyn Fn(&str) -> String) {
    for (kind, bytes) in attributes(bytes) {
        if kind != 2 {
            data.put(kind, bytes);
            continue;
        }
        data.nest(2, |verdict| {
            for (kind, bytes) in attributes(bytes) {
                match kind {
                    2 => verdict.text(2, &renamed(&text(bytes))),
                    kind => verdict.put(kind, bytes),
                }
            }
        });
    }
}

impl Expression {
    /// The set it looks into.
    fn set(&self) -> Option<String> {
        ["lookup", "dynset"].contains(&self.name.as_str()).then(|| attribute(&self.data, 1).map(text)).flatten()
    }

    /// The chain it leads to.
    fn target(&self) -> Option<String> {
        (self.name == "immediate").then(|| attribute(&self.data, 2).and_then(target_of)).flatten()
    }

    fn put(&self, list: &mut Attributes<'_>, renamed: &dyn Fn(&str) -> String) {
        list.nest(1, |expression| {
            expression.text(1, &self.name);
            expression.nest(2, |data| match self.name.as_str() {
                "immediate" => {
                    for (kind, bytes) in attributes(&self.data) {
                        match kind {
                            2 => data.nest(2, |nested| copy_data(nested, bytes, renamed)),
                            kind => data.put(kind, bytes),
                        }
                    }
                }
                "lookup" | "dynset" => {
                    // The number of the set within the transaction that made it means nothing here.
                    let set_id = if self.name == "lookup" { 4 } else { 2 };
                    for (kind, bytes) in attributes(&self.data).filter(|(kind, _)| *kind != set_id) {
                        match kind {
                            1 => data.text(1, &renamed(&text(bytes))),
                            kind => data.put(kind, bytes),
                        }
                    }
                }
                _ => data.raw(&self.data),
            });
        });
    }
}

/// The chain that a verdict leads to.
fn target_of(data: &[u8]) -> Option<String> {
    attribute(attribute(data, 2)?, 2).map(text)
}

/// A rule's chain and expressions; what only counts is left out, since it differs at every look.
fn rule(content: &[u8], table: &str) -> Option<(String, Vec<Expression>)> {
    let content = content.get(4..)?;
    attribute(content, 1).map(text).filter(|found| found == table)?;
    let expressions = attributes(attribute(content, 4)?).filter_map(|(_, expression)| {
        let name = attribute(expression, 1).map(text)?;
        let data = attribute(expression, 2).unwrap_or_default().to_vec();
        (!["counter", "last", "notrack"].contains(&name.as_str())).then_some(Expression { name, data })
    });
    Some((attribute(content, 2).map(text)?, expressions.collect()))
}

fn set(content: &[u8], table: &str) -> Option<Set> {
    let content = content.get(4..)?;
    attribute(content, 1).map(text).filter(|found| found == table)?;
    Some(Set { name: attribute(content, 2).map(text)?, content: content.to_vec(), elements: Vec::new() })
}

/// The elements in a message, without what differs at every look.
fn elements_of(content: &[u8]) -> Vec<Vec<u8>> {
    let list = content.get(4..).and_then(|content| attribute(content, 3)).unwrap_or_default();
    let strip = |element: &[u8]| {
        let mut kept = Vec::new();
        for (kind, bytes) in attributes(element).filter(|(kind, _)| [1, 2, 3, 10].contains(kind)) {
            let mut batch = Attributes::into(&mut kept);
            batch.put(kind, bytes);
        }
        kept
    };
    attributes(list).map(|(_, element)| strip(element)).collect()
}
