//! Filters of system calls: rules in, a program for the kernel out (seccomp(2)).

mod compile;
mod listener;
mod table;

use rustix::io::Result;

use crate::signal::last_errno;

pub use compile::compile;
pub use table::{Arch, Table};

/// What happens at a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It is made.
    Allow,
    /// It fails with this error number.
    Errno(u16),
    /// The thread ends.
    KillThread,
    /// The process ends.
    KillProcess,
    /// The thread gets SIGSYS.
    Trap,
    /// A tracer decides, and is told this number.
    Trace(u16),
    /// It is made and noted in the kernel's log.
    Log,
    /// Whoever has the filter's listener decides.
    Notify,
}

impl Action {
    /// What the filter returns for it (linux/seccomp.h).
    const fn code(self) -> u32 {
        match self {
            Self::KillProcess => 0x8000_0000,
            Self::KillThread => 0,
            Self::Trap => 0x0003_0000,
            Self::Errno(number) => 0x0005_0000 | number as u32,
            Self::Trace(number) => 0x7ff0_0000 | number as u32,
            Self::Log => 0x7ffc_0000,
            Self::Notify => 0x7fc0_0000,
            Self::Allow => 0x7fff_0000,
        }
    }
}

/// How an argument compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `argument != value`
    NotEqual(u64),
    /// `argument < value`
    Less(u64),
    /// `argument <= value`
    LessOrEqual(u64),
    /// `argument == value`
    Equal(u64),
    /// `argument >= value`
    GreaterOrEqual(u64),
    /// `argument > value`
    Greater(u64),
    /// `argument & mask == value`
    MaskedEqual {
        /// Which bits count.
        mask: u64,
        /// What they must be.
        value: u64,
    },
}

/// A condition on one of six arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which, 0 to 5.
    pub argument: u8,
    /// How.
    pub comparison: Comparison,
}

/// What happens at some system calls when all conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Names; those an architecture lacks are passed over.
    pub names: Vec<String>,
    /// What happens.
    pub action: Action,
    /// When.
    pub conditions: Vec<Condition>,
}

/// A filter before it is compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// What happens where no rule says otherwise.
    pub default: Action,
    /// Calls of other architectures end the process.
    pub arches: Vec<Arch>,
    /// A rule without conditions wins over those with, an earlier over a later.
    pub rules: Vec<Rule>,
}

impl Filter {
    /// Whether somebody is asked about some call.
    pub fn asks(&self) -> bool {
        self.rules.iter().map(|rule| rule.action).chain([self.default]).any(|action| action == Action::Notify)
    }
}

/// One instruction of the kernel's filter machine (linux/filter.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instruction {
    code: u16,
    jump_true: u8,
    jump_false: u8,
    value: u32,
}

/// A compiled filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(Vec<Instruction>);

impl Program {
    /// As bytes of this machine, to keep.
    pub fn to_bytes(&self) -> Vec<u8> {
        let encode = |i: &Instruction| {
            let [c0, c1] = i.code.to_ne_bytes();
            let [v0, v1, v2, v3] = i.value.to_ne_bytes();
            [c0, c1, i.jump_true, i.jump_false, v0, v1, v2, v3]
        };
        self.0.iter().flat_map(encode).collect()
    }

    /// From kept bytes; none if they cannot be a program. The kernel checks the rest.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (chunks, rest) = bytes.as_chunks::<8>();
        if chunks.is_empty() || !rest.is_empty() || chunks.len() > INSTRUCTIONS_MAX {
            return None;
        }
        let decode = |b: &[u8; 8]| Instruction {
            code: u16::from_ne_bytes([b[0], b[1]]),
            jump_true: b[2],
            jump_false: b[3],
            value: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        };
        Some(Self(chunks.iter().map(decode).collect()))
    }

    /// How many instructions it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none; it never has.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts it in force for this thread and what it starts, for good. Needs CAP_SYS_ADMIN or no-new-privileges.
    pub fn load(&self) -> Result<()> {
        self.load_with(Flags::default())
    }

    /// The same with flags.
    pub fn load_with(&self, flags: Flags) -> Result<()> {
        self.set(flags.0).map(drop)
    }

    fn set(&self, flags: libc::c_ulong) -> Result<libc::c_long> {
        let program = libc::sock_fprog {
            len: u16::try_from(self.0.len()).map_err(|_| rustix::io::Errno::INVAL)?,
            filter: self.0.as_ptr().cast_mut().cast(),
        };
        // SAFETY: Instruction has the layout of sock_filter, and the kernel only reads the program.
        let done =
            unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
        if done >= 0 { Ok(done) } else { Err(last_errno()) }
    }
}

/// How a filter is put in force (linux/seccomp.h, SECCOMP_FILTER_FLAG).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(libc::c_ulong);

impl Flags {
    const NAMES: [(&str, libc::c_ulong); 4] = [
        ("SECCOMP_FILTER_FLAG_TSYNC", 1),
        ("SECCOMP_FILTER_FLAG_LOG", 2),
        ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", 4),
        ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 32),
    ];

    /// What the names mean together; none if one is unknown.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let bit = |name: &str| Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, bit)| *bit);
        names.into_iter().try_fold(0, |bits, name| Some(bits | bit(name)?)).map(Self)
    }

    /// All the names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().map(|(name, _)| *name)
    }
}

/// The kernel's limit (BPF_MAXINSNS).
const INSTRUCTIONS_MAX: usize = 4096;
