//! From rules to instructions. Each architecture gets a binary search over ranges of numbers that are treated alike.
//!
//! ```text
//! load architecture → jump to its part, or end the process
//! part: load number → search → leaf
//! leaf: return | (load argument, compare, …, return)* return default
//! ```

use std::collections::{BTreeMap, HashMap};

use super::table::X32_BIT;
use super::{Action, Arch, Comparison, Condition, Filter, INSTRUCTIONS_MAX, Instruction, Program, Table};

// Codes of linux/bpf_common.h.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

// Offsets in struct seccomp_data (linux/seccomp.h).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// How far a comparison can jump.
const REACH: usize = u8::MAX as usize;

/// The rules for one number: conditions, all of which must hold, and what happens then.
type Leaf = Vec<(Vec<Condition>, Action)>;

/// Compiles `filter`; none if the result is longer than the kernel takes, or has no architecture.
///
/// Numbers above the highest that the filter knows fail with `ENOSYS` instead of the default error, so that programs
/// fall back to older calls.
pub fn compile(filter: &Filter) -> Option<Program> {
    let mut parts: Vec<(u32, Vec<Instruction>)> = Vec::new();
    for audit in filter.arches.iter().map(|arch| arch.audit()) {
        if parts.iter().all(|(known, _)| *known != audit) {
            let same: Vec<Arch> = filter.arches.iter().copied().filter(|arch| arch.audit() == audit).collect();
            let mut part = vec![instruction(LOAD, 0, 0, NUMBER)];
            part.extend(search(&ranges(filter, &same)));
            parts.push((audit, part));
        }
    }
    if parts.is_empty() {
        return None;
    }
    let mut program = vec![instruction(LOAD, 0, 0, ARCH)];
    for (audit, part) in parts {
        // Over the part if it is another architecture's: too far for a conditional jump.
        program.push(instruction(JUMP_IF_EQUAL, 1, 0, audit));
        program.push(instruction(JUMP, 0, 0, u32::try_from(part.len()).ok()?));
        program.extend(part);
    }
    program.push(ret(Action::KillProcess));
    (program.len() <= INSTRUCTIONS_MAX).then_some(Program(program))
}

const fn instruction(code: u16, jump_true: u8, jump_false: u8, value: u32) -> Instruction {
    Instruction { code, jump_true, jump_false, value }
}

const fn ret(action: Action) -> Instruction {
    instruction(RETURN, 0, 0, action.code())
}

/// Where each range of numbers begins, and the code for it. The first begins at 0.
fn ranges(filter: &Filter, arches: &[Arch]) -> Vec<(u32, Vec<Instruction>)> {
    const ENOSYS: u16 = 38;
    let default = vec![ret(filter.default)];
    let mut ranges: Vec<(u32, Vec<Instruction>)> = vec![(0, default.clone())];
    let mut push = |start: u32, code: Vec<Instruction>| match ranges.last_mut() {
        Some(last) if last.1 == code => {}
        Some(last) if last.0 == start => last.1 = code,
        _ => ranges.push((start, code)),
    };
    // x86_64 before x32, whose numbers are all higher.
    for base in [0, X32_BIT] {
        let leaves: BTreeMap<u32, Leaf> = arches
            .iter()
            .filter(|arch| (**arch == Arch::X32) == (base != 0))
            .flat_map(|arch| leaves(filter, *arch))
            .collect();
        if base != 0 {
            let known = arches.contains(&Arch::X32);
            push(base, if known { default.clone() } else { vec![ret(Action::KillProcess)] });
        }
        let mut next = base;
        for (number, leaf) in &leaves {
            if *number > next {
                push(next, default.clone());
            }
            push(*number, code(leaf, filter.default));
            next = number + 1;
        }
        if matches!(filter.default, Action::Errno(_)) && !leaves.is_empty() {
            push(next, vec![ret(Action::Errno(ENOSYS))]);
        } else if !leaves.is_empty() {
            push(next, default.clone());
        }
    }
    ranges
}

/// The rules of `filter` by number.
fn leaves(filter: &Filter, arch: Arch) -> BTreeMap<u32, Leaf> {
    let table = Table::of(arch);
    let mut leaves: BTreeMap<u32, Leaf> = BTreeMap::new();
    for rule in &filter.rules {
        for number in rule.names.iter().filter_map(|name| table.number(name)) {
            let leaf = leaves.entry(number).or_default();
            match leaf.first() {
                Some((conditions, _)) if conditions.is_empty() => {}
                _ if rule.conditions.is_empty() => *leaf = vec![(Vec::new(), rule.action)],
                _ => leaf.push((rule.conditions.clone(), rule.action)),
            }
        }
    }
    leaves
}

/// A search tree over ranges: below the middle to the left, from it on to the right.
fn search(ranges: &[(u32, Vec<Instruction>)]) -> Vec<Instruction> {
    let mut tree = Backwards::default();
    tree.search(ranges);
    tree.code.reverse();
    tree.code
}

/// A search tree, the last instruction first. Jumps lead forward only, so what they lead to is there before they are: a leaf
/// within their reach is not made again. The kernel translates each instruction twice whenever a container starts.
#[derive(Default)]
struct Backwards {
    code: Vec<Instruction>,
    /// Where the newest of each kind of leaf is: how many instructions there are from its first one to the end.
    leaves: HashMap<Vec<Instruction>, usize>,
}

impl Backwards {
    /// Puts the tree of these ranges before what is there, if it has to be made; gives its place, as in `leaves`.
    fn search(&mut self, ranges: &[(u32, Vec<Instruction>)]) -> usize {
        let (left, right) = ranges.split_at(ranges.len() / 2);
        let Some(middle) = right.first().filter(|_| !left.is_empty()) else {
            return ranges.first().map_or(0, |(_, leaf)| self.leaf(leaf));
        };
        let (right, left) = (self.search(right), self.search(left));
        let right = self.within_reach(right, 2);
        let left = self.within_reach(left, 1);
        self.code.push(instruction(JUMP_IF_GREATER_OR_EQUAL, self.distance(right), self.distance(left), middle.0));
        self.code.len()
    }

    fn leaf(&mut self, leaf: &[Instruction]) -> usize {
        // What compares is a few instructions further on.
        let is_near = |place: &&usize| self.code.len() - **place <= REACH / 2;
        if let Some(place) = self.leaves.get(leaf).filter(is_near) {
            return *place;
        }
        self.code.extend(leaf.iter().rev());
        self.leaves.insert(leaf.to_vec(), self.code.len());
        self.code.len()
    }

    /// The place itself, or that of a jump to it if it is too far for a comparison that follows after `more` instructions at
    /// most.
    fn within_reach(&mut self, place: usize, more: usize) -> usize {
        let distance = self.code.len() - place;
        if distance + more <= REACH {
            return place;
        }
        self.code.push(instruction(JUMP, 0, 0, distance as u32));
        self.code.len()
    }

    fn distance(&self, place: usize) -> u8 {
        u8::try_from(self.code.len() - place).expect("what is compared for is within reach")
    }
}

/// The code for one number: the first rule whose conditions hold.
fn code(leaf: &Leaf, default: Action) -> Vec<Instruction> {
    let mut code = Vec::new();
    for (conditions, action) in leaf {
        // From the last condition to the first: each is told how far it is to the end of the rule.
        let mut rule = vec![ret(*action)];
        for condition in conditions.iter().rev() {
            let mut checked = check(*condition, rule.len());
            checked.extend(rule);
            rule = checked;
        }
        code.extend(rule);
        if conditions.is_empty() {
            return code;
        }
    }
    code.push(ret(default));
    code
}

/// Falls through when the condition holds; jumps over the `rest` instructions behind it otherwise.
fn check(condition: Condition, rest: usize) -> Vec<Instruction> {
    use Comparison as C;
    // A rule is at most six conditions of six instructions and a return.
    let rest = u8::try_from(rest).expect("a rule has fewer than 256 instructions");
    let low = ARGUMENTS + 8 * u32::from(condition.argument);
    let high = low + 4;
    let load = |offset| instruction(LOAD, 0, 0, offset);
    let halves = |value: u64| ((value >> 32) as u32, value as u32);
    match condition.comparison {
        C::Equal(value) => {
            let (h, l) = halves(value);
            vec![
                load(high),
                instruction(JUMP_IF_EQUAL, 0, rest + 2, h),
                load(low),
                instruction(JUMP_IF_EQUAL, 0, rest, l),
            ]
        }
        C::NotEqual(value) => {
            let (h, l) = halves(value);
            vec![load(high), instruction(JUMP_IF_EQUAL, 0, 2, h), load(low), instruction(JUMP_IF_EQUAL, rest, 0, l)]
        }
        C::MaskedEqual { mask, value } => {
            let ((mask_h, mask_l), (h, l)) = (halves(mask), halves(value));
            let and = |mask| instruction(AND, 0, 0, mask);
            vec![
                load(high),
                and(mask_h),
                instruction(JUMP_IF_EQUAL, 0, rest + 3, h),
                load(low),
                and(mask_l),
                instruction(JUMP_IF_EQUAL, 0, rest, l),
            ]
        }
        C::Greater(value) => ordered(JUMP_IF_GREATER, value, high, low, (0, rest)),
        C::GreaterOrEqual(value) => ordered(JUMP_IF_GREATER_OR_EQUAL, value, high, low, (0, rest)),
        C::LessOrEqual(value) => ordered(JUMP_IF_GREATER, value, high, low, (rest, 0)),
        C::Less(value) => ordered(JUMP_IF_GREATER_OR_EQUAL, value, high, low, (rest, 0)),
    }
}

/// Compares 64 bits in halves: the high ones decide unless they are equal. `jumps` is where to go when the low halves
/// compare and when not; the high halves go the same ways.
fn ordered(code: u16, value: u64, high: u32, low: u32, jumps: (u8, u8)) -> Vec<Instruction> {
    let (h, l) = ((value >> 32) as u32, value as u32);
    let (greater, not) = jumps;
    vec![
        instruction(LOAD, 0, 0, high),
        instruction(JUMP_IF_GREATER, greater + 3, 0, h),
        instruction(JUMP_IF_EQUAL, 0, not + 2, h),
        instruction(LOAD, 0, 0, low),
        instruction(code, greater, not, l),
    ]
}

#[cfg(test)]
mod tests;
