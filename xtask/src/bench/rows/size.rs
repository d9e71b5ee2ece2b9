//! The program itself.

use crate::bench::Bench;
use crate::bench::report::{Table, Target};
use crate::shell::Done;

pub(super) fn measure(bench: &Bench) -> Done<Table> {
    let bytes = std::fs::read(&bench.program).map_err(|error| format!("cannot read the program: {error}"))?;
    let megabytes = bytes.len() as f64 / 1e6;
    let linked = if asks_for_a_loader(&bytes) { "linked dynamically" } else { "static" };
    let targets = vec![
        Target { what: "MB".to_owned(), at_most: 25.0, measured: Some(megabytes) },
        Target {
            what: "loaders it asks for".to_owned(),
            at_most: 0.0,
            measured: Some(f64::from(u8::from(asks_for_a_loader(&bytes)))),
        },
    ];
    let note = format!("One release binary of {megabytes:.1} MB, {linked}; no helper programs.\n");
    Ok(Table { title: "The program", note, body: String::new(), targets })
}

/// Whether a 64-bit little-endian ELF file has a segment of type `PT_INTERP` (elf(5)).
fn asks_for_a_loader(elf: &[u8]) -> bool {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, length: usize| {
        let bytes = elf.get(at..at + length).unwrap_or(&[]);
        bytes.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let (table, entry, entries) = (number(0x20, 8) as usize, number(0x36, 2) as usize, number(0x38, 2) as usize);
    (0..entries).any(|at| number(table + at * entry, 4) == PT_INTERP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_asks_for_a_loader_and_ours_does_not() {
        let sh = std::fs::read("/bin/sh").unwrap();
        assert!(asks_for_a_loader(&sh));
        // Everything in this workspace is linked in the same way.
        assert!(!asks_for_a_loader(&std::fs::read(std::env::current_exe().unwrap()).unwrap()));
    }
}
