//! A program for another processor, made by hand: 64-bit ARM, static, for Linux.

use crate::image::{Compression, Image};
use crate::tar::Tar;

/// What it prints when it is called without arguments.
pub const SAYS: &str = "arm64 says hello\n";

/// The program: with arguments it makes a file of its first one's name and executes its second one with those after it, all
/// without: it prints [`SAYS`] and exits with 7.
///
/// ```text
/// _start:  ldr  x9, [sp]          // how many arguments
///          cmp  x9, #2
///          b.ls say
///          mov  x0, #-100         // AT_FDCWD
///          ldr  x1, [sp, #16]
///          mov  x2, #65           // O_CREAT | O_WRONLY
///          mov  x3, #420          // 0644
///          mov  x8, #56           // openat
///          svc  #0
///          ldr  x0, [sp, #24]
///          add  x1, sp, #24
///          add  x2, sp, x9, lsl #3
///          add  x2, x2, #16       // the environment
///          mov  x8, #221          // execve
///          svc  #0
///          mov  x0, #9
///          b    exit
/// say:     mov  x0, #1
///          adr  x1, text
///          mov  x2, #17
///          mov  x8, #64           // write
///          svc  #0
///          mov  x0, #7
/// exit:    mov  x8, #93
///          svc  #0
/// text:
/// ```
pub fn program() -> Vec<u8> {
    const LOADED_AT: u64 = 0x40_0000;
    const HEADERS_BYTES: u64 = 64 + 56;
    #[rustfmt::skip]
    let code: [u32; 26] = [
        0xf940_03e9, 0xf100_093f, ls(17 - 2), movn(0, 99), 0xf940_0be1, mov(2, 65), mov(3, 420), mov(8, 56), SVC,
        0xf940_0fe0, 0x9100_63e1, 0x8b29_6fe2, 0x9100_4042, mov(8, 221), SVC, mov(0, 9), b(23 - 16),
        mov(0, 1), adr(1, (26 - 18) * 4), mov(2, SAYS.len() as u32), mov(8, 64), SVC, mov(0, 7),
        mov(8, 93), SVC, 0,
    ];
    let text: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).chain(SAYS.bytes()).collect();
    let size = HEADERS_BYTES + text.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for half in [2_u16, 183] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1_u32.to_le_bytes());
    for word in [LOADED_AT + HEADERS_BYTES, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    // One segment: all of it, to be read and executed.
    for word in [1_u32, 5] {
        elf.extend(word.to_le_bytes());
    }
    for word in [0, LOADED_AT, LOADED_AT, size, size, 0x1_0000] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(text);
    elf
}

/// An image for 64-bit ARM: the program as `/hello`, which it runs, and as `/other`.
pub fn image() -> Image {
    let program = program();
    let tar = Tar::new().file("hello", 0o755, &program).file("other", 0o755, &program);
    let image = Image::new().layer(tar.finish(), Compression::Gzip);
    let mut image = image.with("Cmd", serde_json::json!(["/hello"]));
    image.config["architecture"] = "arm64".into();
    image
}

const SVC: u32 = 0xd400_0001;

const fn mov(register: u32, value: u32) -> u32 {
    0xd280_0000 | value << 5 | register
}

const fn movn(register: u32, value: u32) -> u32 {
    0x9280_0000 | value << 5 | register
}

/// Jumps so many words if what was compared is lower or the same.
const fn ls(words: u32) -> u32 {
    0x5400_0009 | words << 5
}

const fn b(words: u32) -> u32 {
    0x1400_0000 | words
}

/// The address so many bytes from here; a multiple of four.
const fn adr(register: u32, bytes: u32) -> u32 {
    0x1000_0000 | (bytes >> 2) << 5 | register
}
