//! Which devices a group may open: lines in version 1, a small program in the kernel in version 2 (bpf(2)).

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::signal::last_errno;

/// One permitted device or family of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Block instead of character.
    pub block: bool,
    /// All majors if missing.
    pub major: Option<u32>,
    /// All minors if missing.
    pub minor: Option<u32>,
    /// It may be read.
    pub read: bool,
    /// It may be written.
    pub write: bool,
    /// Its node may be made.
    pub make: bool,
}

impl DeviceRule {
    /// What every container may use: null, zero, full, random, urandom, tty, console, terminals; and it may make any node,
    /// which opens nothing.
    pub fn standing() -> Vec<Self> {
        let rule = |major, minor| Self { block: false, major, minor, read: true, write: true, make: true };
        let make_only = |block| Self { block, major: None, minor: None, read: false, write: false, make: true };
        let numbers = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)];
        let mut rules: Vec<Self> = numbers.map(|(major, minor)| rule(Some(major), Some(minor))).into();
        rules.extend([rule(Some(136), None), make_only(false), make_only(true)]);
        rules
    }

    /// The bits of linux/bpf.h: make 1, read 2, write 4.
    fn access_bits(&self) -> i32 {
        i32::from(self.make) | i32::from(self.read) << 1 | i32::from(self.write) << 2
    }
}

impl fmt::Display for DeviceRule {
    /// As version 1 reads it: `c 1:3 rwm`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        write!(f, "{} {}:{} ", if self.block { 'b' } else { 'c' }, number(self.major), number(self.minor))?;
        for (allowed, letter) in [(self.read, "r"), (self.write, "w"), (self.make, "m")] {
            f.write_str(if allowed { letter } else { "" })?;
        }
        Ok(())
    }
}

/// What may or may not be done with a device or a family of them; in a list the last that names a device decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceEntry {
    /// It may.
    pub allow: bool,
    /// Block or character; both if missing.
    pub block: Option<bool>,
    /// All majors if missing.
    pub major: Option<u32>,
    /// All minors if missing.
    pub minor: Option<u32>,
    /// It is about reading.
    pub read: bool,
    /// It is about writing.
    pub write: bool,
    /// It is about making nodes.
    pub make: bool,
}

impl DeviceEntry {
    fn rule(&self, block: bool) -> DeviceRule {
        let Self { major, minor, read, write, make, .. } = *self;
        DeviceRule { block, major, minor, read, write, make }
    }

    /// As version 1 reads it.
    pub(super) fn lines(&self) -> Vec<String> {
        let all = self.major.is_none() && self.minor.is_none() && self.read && self.write && self.make;
        match self.block {
            None if all => vec!["a".to_owned()],
            None => [false, true].map(|block| self.rule(block).to_string()).into(),
            Some(block) => vec![self.rule(block).to_string()],
        }
    }
}

impl From<DeviceRule> for DeviceEntry {
    fn from(rule: DeviceRule) -> Self {
        let DeviceRule { block, major, minor, read, write, make } = rule;
        Self { allow: true, block: Some(block), major, minor, read, write, make }
    }
}

/// One instruction of the kernel's machine (linux/bpf.h, struct bpf_insn).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    /// Destination in the low half, source in the high half.
    registers: u8,
    offset: i16,
    immediate: i32,
}

// Codes of linux/bpf.h.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb7;
const MOVE_REGISTER: u8 = 0xbf;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_IF_NOT: u8 = 0x55;
const JUMP_IF: u8 = 0x15;
const EXIT: u8 = 0x95;

const fn on(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: destination | source << 4, offset, immediate }
}

/// The program: register 2 is the kind of device, 3 the access wanted, 4 and 5 its numbers. Each rule jumps over its end
/// as soon as something differs; no rule, no access.
fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
    const KIND_MASK: i32 = 0xffff;
    let mut program = vec![
        on(LOAD_WORD, 2, 1, 0, 0),
        on(MOVE_REGISTER, 3, 2, 0, 0),
        on(AND, 2, 0, 0, KIND_MASK),
        on(SHIFT_RIGHT, 3, 0, 0, 16),
        on(LOAD_WORD, 4, 1, 4, 0),
        on(LOAD_WORD, 5, 1, 8, 0),
    ];
    for rule in rules {
        // BPF_DEVCG_DEV_BLOCK is 1, BPF_DEVCG_DEV_CHAR 2.
        let mut checks = vec![on(JUMP_IF_NOT, 2, 0, 0, if rule.block { 1 } else { 2 })];
        let refused = !rule.access_bits() & 7;
        if refused != 0 {
            checks.extend([on(MOVE_REGISTER, 6, 3, 0, 0), on(AND, 6, 0, 0, refused), on(JUMP_IF_NOT, 6, 0, 0, 0)]);
        }
        checks.extend(rule.major.map(|major| on(JUMP_IF_NOT, 4, 0, 0, major as i32)));
        checks.extend(rule.minor.map(|minor| on(JUMP_IF_NOT, 5, 0, 0, minor as i32)));
        checks.extend([on(MOVE, 0, 0, 0, 1), on(EXIT, 0, 0, 0, 0)]);
        let length = checks.len();
        for (index, check) in checks.iter_mut().enumerate().filter(|(_, check)| check.code == JUMP_IF_NOT) {
            check.offset = (length - index - 1) as i16;
        }
        program.extend(checks);
    }
    program.extend([on(MOVE, 0, 0, 0, 0), on(EXIT, 0, 0, 0, 0)]);
    program
}

/// The program for a list: from its last entry to its first, register 3 keeps what nobody has allowed yet; the first that
/// denies some of that, or nothing left, decides.
fn program_of_entries(entries: &[DeviceEntry]) -> Vec<Instruction> {
    let mut program = program(&[]);
    let end = program.split_off(program.len() - 2);
    for entry in entries.iter().rev() {
        let bits = entry.rule(false).access_bits();
        let mut checks = Vec::new();
        checks.extend(entry.block.map(|block| on(JUMP_IF_NOT, 2, 0, 0, if block { 1 } else { 2 })));
        checks.extend(entry.major.map(|major| on(JUMP_IF_NOT, 4, 0, 0, major as i32)));
        checks.extend(entry.minor.map(|minor| on(JUMP_IF_NOT, 5, 0, 0, minor as i32)));
        if entry.allow {
            checks.extend([on(AND, 3, 0, 0, !bits & 7), on(JUMP_IF_NOT, 3, 0, 0, 0)]);
        } else {
            checks.extend([on(MOVE_REGISTER, 6, 3, 0, 0), on(AND, 6, 0, 0, bits), on(JUMP_IF, 6, 0, 0, 0)]);
        }
        checks.extend([on(MOVE, 0, 0, 0, i32::from(entry.allow)), on(EXIT, 0, 0, 0, 0)]);
        let length = checks.len();
        let is_jump = |code| matches!(code, JUMP_IF_NOT | JUMP_IF);
        for (index, check) in checks.iter_mut().enumerate().filter(|(_, check)| is_jump(check.code)) {
            check.offset = (length - index - 1) as i16;
        }
        program.extend(checks);
    }
    program.extend(end);
    program
}

/// The part of union bpf_attr that loading takes.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// The part of union bpf_attr that attaching takes.
#[repr(C)]
#[derive(Default)]
struct Attachment {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Loads the program for `rules` and attaches it to the group at `dir`. It goes with the group.
pub(super) fn attach(dir: &Path, rules: &[DeviceRule]) -> io::Result<()> {
    attach_program(dir, &program(rules))
}

/// The same for a list of entries.
pub(super) fn attach_entries(dir: &Path, entries: &[DeviceEntry]) -> io::Result<()> {
    attach_program(dir, &program_of_entries(entries))
}

fn attach_program(dir: &Path, instructions: &[Instruction]) -> io::Result<()> {
    const PROGRAM_LOAD: libc::c_int = 5;
    const PROGRAM_ATTACH: libc::c_int = 8;
    const KIND_CGROUP_DEVICE: u32 = 15;
    const ATTACH_CGROUP_DEVICE: u32 = 6;
    const ALLOW_MULTI: u32 = 2;
    let load = Load {
        kind: KIND_CGROUP_DEVICE,
        instruction_count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..Load::default()
    };
    // SAFETY: `load` points at `instruction_count` instructions and a string, which outlive the call.
    let loaded = unsafe { libc::syscall(libc::SYS_bpf, PROGRAM_LOAD, &raw const load, size_of::<Load>()) };
    if loaded < 0 {
        return Err(last_errno().into());
    }
    // SAFETY: the kernel just made this descriptor for us.
    let loaded = unsafe { OwnedFd::from_raw_fd(loaded as i32) };
    let group = rustix::fs::open(dir, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let attachment = Attachment {
        target: group.as_raw_fd() as u32,
        program: loaded.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: `attachment` holds two open descriptors and outlives the call.
    let attached =
        unsafe { libc::syscall(libc::SYS_bpf, PROGRAM_ATTACH, &raw const attachment, size_of::<Attachment>()) };
    if attached < 0 { Err(last_errno().into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program answers, run as the kernel would.
    fn answer(program: &[Instruction], kind: u32, access: u32, major: u32, minor: u32) -> i64 {
        let context = [kind | access << 16, major, minor];
        let mut registers = [0_i64; 11];
        let mut at = 0;
        loop {
            let i = program[at];
            let (d, s) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            at += 1;
            match i.code {
                LOAD_WORD => registers[d] = i64::from(context[i.offset as usize / 4]),
                MOVE => registers[d] = i64::from(i.immediate),
                MOVE_REGISTER => registers[d] = registers[s],
                AND => registers[d] &= i64::from(i.immediate),
                SHIFT_RIGHT => registers[d] >>= i.immediate,
                JUMP_IF_NOT if registers[d] != i64::from(i.immediate) => at += i.offset as usize,
                JUMP_IF if registers[d] == i64::from(i.immediate) => at += i.offset as usize,
                JUMP_IF_NOT | JUMP_IF => {}
                _ => return registers[0],
            }
        }
    }

    #[test]
    fn only_what_a_rule_names_may_be_opened() {
        const BLOCK: u32 = 1;
        const CHAR: u32 = 2;
        let mut rules = DeviceRule::standing();
        rules.push(DeviceRule { block: true, major: Some(8), minor: None, read: true, write: false, make: false });
        let program = program(&rules);
        let ask = |kind, access, major, minor| answer(&program, kind, access, major, minor) == 1;
        assert!(ask(CHAR, 2 | 4, 1, 3), "/dev/null is read and written");
        assert!(!ask(CHAR, 2, 1, 1), "/dev/mem is not read");
        assert!(ask(CHAR, 1, 1, 1), "any node is made");
        assert!(ask(BLOCK, 2, 8, 16), "the disk is read");
        assert!(!ask(BLOCK, 2 | 4, 8, 16), "the disk is not written");
        assert!(ask(CHAR, 2 | 4, 136, 7), "a terminal is used");
    }

    #[test]
    fn of_a_list_the_last_entry_that_names_a_device_decides() {
        const CHAR: u32 = 2;
        let entry = |allow, major, access: &str| DeviceEntry {
            allow,
            block: None,
            major,
            minor: None,
            read: access.contains('r'),
            write: access.contains('w'),
            make: access.contains('m'),
        };
        let check = |entries: &[DeviceEntry], access: u32, major, expected: bool| {
            let program = program_of_entries(entries);
            assert_eq!(answer(&program, CHAR, access, major, 0) == 1, expected, "{entries:?} {access} {major}");
        };
        check(&[], 2, 1, false);
        let all_but_two = [entry(true, None, "rwm"), entry(false, Some(2), "w")];
        check(&all_but_two, 2 | 4, 1, true);
        check(&all_but_two, 2, 2, true);
        check(&all_but_two, 2 | 4, 2, false);
        let in_parts = [entry(false, None, "rwm"), entry(true, Some(1), "r"), entry(true, None, "w")];
        check(&in_parts, 2 | 4, 1, true);
        check(&in_parts, 2 | 4, 2, false);
        check(&in_parts, 1, 1, false);
        assert_eq!(entry(false, None, "rwm").lines(), ["a"]);
        assert_eq!(entry(true, Some(5), "r").lines(), ["c 5:* r", "b 5:* r"]);
    }

    #[test]
    fn rules_are_written_as_version_1_reads_them() {
        let lines: Vec<_> = DeviceRule::standing().iter().map(ToString::to_string).collect();
        assert_eq!(lines[0], "c 1:3 rwm");
        assert_eq!(lines[8..], ["c 136:* rwm", "c *:* m", "b *:* m"]);
    }

    #[test]
    fn the_kernel_takes_the_program() {
        let Some(root) = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            .map(Path::new)
            .into_iter()
            .find(|dir| dir.join("cgroup.controllers").exists())
        else {
            println!("skipped: needs a version 2 cgroup hierarchy");
            return;
        };
        let dir = root.join(format!("strata-device-test-{}", std::process::id()));
        if let Err(error) = std::fs::create_dir(&dir) {
            println!("skipped: needs a writable cgroup hierarchy ({error})");
            return;
        }
        let attached = attach(&dir, &DeviceRule::standing());
        std::fs::remove_dir(&dir).unwrap();
        attached.unwrap();
    }
}
