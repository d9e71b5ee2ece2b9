//! Programs for other processors: which emulator of qemu's runs them, and how the kernel is told
//! (<https://docs.kernel.org/admin-guide/binfmt-misc.html>).

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How the kernel knows the programs of one processor: fields of the ELF header.
#[derive(Debug)]
struct Machine {
    /// In Go's words.
    architecture: &'static str,
    /// In qemu's words.
    qemu: &'static str,
    /// 1 for 32 bits, 2 for 64.
    class: u8,
    /// 1 for the low byte first, 2 for the high one.
    order: u8,
    /// `e_machine` (elf.h).
    number: u8,
}

/// The processors that there are images for.
const MACHINES: &[Machine] = &[
    Machine { architecture: "386", qemu: "i386", class: 1, order: 1, number: 3 },
    Machine { architecture: "amd64", qemu: "x86_64", class: 2, order: 1, number: 62 },
    Machine { architecture: "arm", qemu: "arm", class: 1, order: 1, number: 40 },
    Machine { architecture: "arm64", qemu: "aarch64", class: 2, order: 1, number: 183 },
    Machine { architecture: "mips64le", qemu: "mips64el", class: 2, order: 1, number: 8 },
    Machine { architecture: "mipsle", qemu: "mipsel", class: 1, order: 1, number: 8 },
    Machine { architecture: "ppc64le", qemu: "ppc64le", class: 2, order: 1, number: 21 },
    Machine { architecture: "riscv64", qemu: "riscv64", class: 2, order: 1, number: 243 },
    Machine { architecture: "s390x", qemu: "s390x", class: 2, order: 2, number: 22 },
];

/// How much of a program tells what processor it is for: the ELF header up to `e_machine`.
const HEADER_BYTES: usize = 20;

/// A program of the host's that runs those of another processor. The kernel opens it once, when the container starts, so it
/// need not be seen in there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emulator {
    /// The processor, in Go's words: `arm64`.
    pub architecture: String,
    /// The emulator, which needs no libraries.
    pub program: PathBuf,
    /// The kernel is not told of it: it is passed in, open, and runs the program that a process begins with. What that
    /// executes is not emulated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passed_in: bool,
}

impl Emulator {
    /// What qemu calls its emulator for a processor: `qemu-aarch64`; none if it has none.
    pub fn name(architecture: &str) -> Option<String> {
        machine(architecture).map(|machine| format!("qemu-{}", machine.qemu))
    }

    /// Whether a header that a machine's rule asks for is that of a processor's programs.
    pub fn is_header_of(architecture: &str, header: &[u8]) -> bool {
        machine(architecture).is_some_and(|machine| header.len() == HEADER_BYTES && header == machine.header())
    }

    /// Whether a file begins as programs of its processor do.
    pub(crate) fn runs(&self, header: &[u8]) -> bool {
        let Some(machine) = machine(&self.architecture) else { return false };
        let pairs = machine.header().into_iter().zip(machine.mask());
        header.len() >= HEADER_BYTES
            && header.iter().zip(pairs).all(|(byte, (wanted, mask))| byte & mask == wanted & mask)
    }

    /// The rule for the kernel: programs with such a header are run by the emulator, which is opened now (`F`), learns their
    /// first argument (`P`), and has the rights of the program that it runs (`C`).
    pub(crate) fn rule(&self) -> Option<Vec<u8>> {
        let machine = machine(&self.architecture)?;
        let (header, mask) = (escaped(&machine.header()), escaped(&machine.mask()));
        let rule = format!(":qemu-{}:M::{header}:{mask}:{}:POCF", machine.qemu, self.program.display());
        Some(rule.into_bytes())
    }
}

impl Machine {
    /// What the header begins with, of an executable.
    fn header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', self.class, self.order, 1]);
        let [kind, machine] = if self.order == 1 { [16, 18] } else { [17, 19] };
        header[kind] = 2;
        header[machine] = self.number;
        header
    }

    /// What of it counts: not the ABI, and an executable may say that it is a shared object.
    fn mask(&self) -> [u8; HEADER_BYTES] {
        let mut mask = [0xff; HEADER_BYTES];
        mask[7] = 0;
        mask[if self.order == 1 { 16 } else { 17 }] = 0xfe;
        mask
    }
}

fn machine(architecture: &str) -> Option<&'static Machine> {
    MACHINES.iter().find(|machine| machine.architecture == architecture)
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "\\x{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Debian's `/usr/lib/binfmt.d/qemu-*.conf` have it, but for the flags and what of the ABI's version counts.
    fn check(architecture: &str, header: &str) {
        let emulator = Emulator { architecture: architecture.to_owned(), program: "/q".into(), passed_in: false };
        let rule = String::from_utf8(emulator.rule().unwrap()).unwrap();
        assert_eq!(rule.split(':').nth(4), Some(header));
        assert!(rule.ends_with(":/q:POCF"), "{rule}");
    }

    #[test]
    fn headers_are_debians() {
        let zeros = r"\x00\x00\x00\x00\x00\x00\x00\x00\x00";
        check("arm64", &format!(r"\x7f\x45\x4c\x46\x02\x01\x01{zeros}\x02\x00\xb7\x00"));
        check("arm", &format!(r"\x7f\x45\x4c\x46\x01\x01\x01{zeros}\x02\x00\x28\x00"));
        check("s390x", &format!(r"\x7f\x45\x4c\x46\x02\x02\x01{zeros}\x00\x02\x00\x16"));
        check("riscv64", &format!(r"\x7f\x45\x4c\x46\x02\x01\x01{zeros}\x02\x00\xf3\x00"));
    }

    #[test]
    fn programs_are_known_by_their_headers() {
        let emulator = Emulator { architecture: "arm64".to_owned(), program: "/q".into(), passed_in: true };
        let mut header = machine("arm64").unwrap().header();
        assert!(emulator.runs(&header) && !emulator.runs(&header[..19]));
        // A shared object, of another ABI.
        (header[16], header[7]) = (3, 9);
        assert!(emulator.runs(&header));
        assert!(!emulator.runs(&machine("arm").unwrap().header()));
    }

    #[test]
    fn a_processor_nobody_emulates_has_no_rule() {
        assert_eq!(Emulator::name("wasm"), None);
        assert_eq!(Emulator { architecture: "wasm".to_owned(), program: "/q".into(), passed_in: false }.rule(), None);
    }
}
