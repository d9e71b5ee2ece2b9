//! Numbers of system calls, by architecture.

use std::collections::HashMap;

/// A way in which system calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// 64-bit Intel and AMD.
    X86_64,
    /// 32-bit Intel.
    X86,
    /// 64-bit Intel and AMD with 32-bit addresses.
    X32,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM.
    Arm,
}

impl Arch {
    /// That of this program; none on machines whose tables are not here.
    pub const NATIVE: Option<Self> = if cfg!(target_arch = "x86_64") {
        Some(Self::X86_64)
    } else if cfg!(target_arch = "aarch64") {
        Some(Self::Aarch64)
    } else {
        None
    };

    /// The one that libseccomp calls `name`, such as `SCMP_ARCH_X86_64`; none for those whose tables are not here.
    pub fn from_libseccomp(name: &str) -> Option<Self> {
        Some(match name {
            "SCMP_ARCH_X86_64" => Self::X86_64,
            "SCMP_ARCH_X86" => Self::X86,
            "SCMP_ARCH_X32" => Self::X32,
            "SCMP_ARCH_AARCH64" => Self::Aarch64,
            "SCMP_ARCH_ARM" => Self::Arm,
            _ => return None,
        })
    }

    /// What libseccomp calls it.
    pub const fn libseccomp_name(self) -> &'static str {
        match self {
            Self::X86_64 => "SCMP_ARCH_X86_64",
            Self::X86 => "SCMP_ARCH_X86",
            Self::X32 => "SCMP_ARCH_X32",
            Self::Aarch64 => "SCMP_ARCH_AARCH64",
            Self::Arm => "SCMP_ARCH_ARM",
        }
    }

    /// What Go calls it.
    pub const fn go_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::X86 => "x86",
            Self::X32 => "x32",
            Self::Aarch64 => "arm64",
            Self::Arm => "arm",
        }
    }

    /// What the kernel tells a filter (linux/audit.h). x32 shares x86_64's and sets a bit in the number.
    pub(super) const fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xC000_003E,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xC000_00B7,
            Self::Arm => 0x4000_0028,
        }
    }

    const fn column(self) -> usize {
        match self {
            Self::X86_64 => 1,
            Self::X86 => 2,
            Self::X32 => 3,
            Self::Aarch64 => 4,
            Self::Arm => 5,
        }
    }
}

/// The bit that marks x32 system calls.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// Names and numbers of one architecture.
#[derive(Debug)]
pub struct Table(HashMap<&'static str, u32>);

impl Table {
    /// The table of `arch`.
    pub fn of(arch: Arch) -> Self {
        let lines = include_str!("syscalls.txt").lines().filter(|line| !line.starts_with('#'));
        let number = |line: &'static str| {
            let name = line.split(' ').next()?;
            let number = line.split(' ').nth(arch.column())?.parse().ok()?;
            Some((name, if arch == Arch::X32 { number | X32_BIT } else { number }))
        };
        Self(lines.filter_map(number).collect())
    }

    /// The number of a system call; none if this architecture has no such.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.0.get(name).copied()
    }
}
