//! Damage: a tar goes in, another comes out that no honest program would have written.
//!
//! Everything follows from a number, so that a case can be run again.

use strata_testkit::tar::{Header, Tar};

const BLOCK: usize = 512;

/// Numbers that look random and are the same for ever (splitmix64, Steele and others 2014).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(number: u64) -> Self {
        Self(number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// A header block with its content and padding.
type Member = Vec<u8>;

/// Names and link targets that have broken unpackers.
const NAMES: &[&str] = &[
    "",
    ".",
    "..",
    "/",
    "../x",
    "a/../../x",
    "/etc/passwd",
    "odd/../odd/plain",
    "odd/plain/below-a-file",
    "odd/dir",
    "odd/dir/",
    "odd/plain",
    "odd/twin",
    "odd/link",
    "odd/link/x",
    "odd/loop",
    "odd/loop/x",
    "odd/out",
    "odd/out/x",
    "odd/pipe",
    "odd/.wh.plain",
    "odd/.wh.dir",
    "odd/dir/.wh..wh..opq",
    ".wh..wh..opq",
    ".wh.odd",
    ".wh.",
    ".wh..",
    "odd/.wh...",
    ".wh..wh.plnk/5.7",
    ".wh..wh.aufs",
    "odd/.wh.sub/x",
    "new\nline",
    "tab\tand\u{7f}",
    "./././odd/./plain",
    "odd//plain",
];

/// Keys and values of PAX headers that have.
const RECORDS: &[(&str, &[u8])] = &[
    ("path", b"odd/renamed"),
    ("path", b"../../escape"),
    ("path", b""),
    ("path", b"nul\0in"),
    ("linkpath", b"odd/plain"),
    ("linkpath", b"odd/missing"),
    ("size", b"0"),
    ("size", b"1"),
    ("size", b"513"),
    ("size", b"9223372036854775807"),
    ("size", b"18446744073709551615"),
    ("uid", b"4294967295"),
    ("uid", b"4294967296"),
    ("gid", b"-1"),
    ("mtime", b"-1.5"),
    ("mtime", b"253402300800.999999999"),
    ("mtime", b"9223372036854775807"),
    ("mtime", b"1e9"),
    ("SCHILY.xattr.user.a", b"value"),
    ("SCHILY.xattr.user.", b"value"),
    ("SCHILY.xattr.", b"value"),
    ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
    ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
    ("SCHILY.xattr.trusted.overlay.metacopy", b""),
    ("SCHILY.xattr.user.overlay.whiteout", b"y"),
    ("SCHILY.xattr.trusted.strata.place", b""),
    ("SCHILY.xattr.system.posix_acl_access", b"\x02\0\0\0"),
    ("SCHILY.xattr.security.capability", b"\x01"),
    ("SCHILY.xattr.nonsense.name", b"x"),
    ("LIBARCHIVE.xattr.user.b", b"dmFsdWU="),
    ("LIBARCHIVE.xattr.user.%00", b"AA"),
    ("GNU.sparse.major", b"1"),
    ("GNU.sparse.minor", b"0"),
    ("GNU.sparse.realsize", b"5000001"),
    ("GNU.sparse.realsize", b"9223372036854775807"),
    ("GNU.sparse.size", b"4096"),
    ("GNU.sparse.map", b"0,1,5,2"),
    ("GNU.sparse.map", b"0,5,3,5"),
    ("GNU.sparse.map", b"1000,512,4096,5"),
    ("GNU.sparse.map", b"18446744073709551615,1"),
    ("GNU.sparse.numblocks", b"99999999"),
    ("GNU.sparse.name", b"odd/named-by-sparse"),
    ("comment", b"nothing"),
    ("charset", b"BINARY"),
];

/// Fields of a header: where, how long.
const FIELDS: &[(usize, usize)] = &[
    (0, 100),
    (100, 8),
    (108, 8),
    (116, 8),
    (124, 12),
    (136, 12),
    (157, 100),
    (257, 8),
    (329, 8),
    (337, 8),
    (345, 155),
];

/// Makes one to four changes to a tar.
pub(crate) fn mutate(tar: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut members = split(tar);
    let mut changes = 1 + dice.below(4);
    while changes > 0 && !members.is_empty() {
        changes -= 1;
        match dice.below(12) {
            0 => flip(members_at(&mut members, dice), dice),
            1 => size(members_at(&mut members, dice), dice),
            2 | 3 => field(members_at(&mut members, dice), dice),
            4 => name(members_at(&mut members, dice), dice),
            5 => members_at(&mut members, dice)[156] = *dice.one(b"0123456789xgLKSDVMXN\0Az"),
            6 | 7 => insert(&mut members, pax(dice), dice),
            8 => insert(&mut members, hostile(dice), dice),
            9 => {
                let copy = dice.one(&members).clone();
                insert(&mut members, copy, dice);
            }
            10 => {
                let (one, other) = (dice.below(members.len()), dice.below(members.len()));
                members.swap(one, other);
            }
            _ => drop(members.remove(dice.below(members.len()))),
        }
    }
    // Mostly the sums are right again: otherwise nothing gets past the first check.
    if dice.below(10) > 0 {
        members.iter_mut().for_each(|member| sign(member));
    }
    let mut tar = members.concat();
    match dice.below(12) {
        0 => tar.truncate(dice.below(tar.len() + 1)),
        1 => flip(&mut tar, dice),
        2 => {}
        _ => tar.resize(tar.len() + 2 * BLOCK, 0),
    }
    tar
}

fn members_at<'a>(members: &'a mut [Member], dice: &mut Dice) -> &'a mut Member {
    let at = dice.below(members.len());
    &mut members[at]
}

fn insert(members: &mut Vec<Member>, member: Member, dice: &mut Dice) {
    let at = dice.below(members.len() + 1);
    members.insert(at, member);
}

/// Takes an honest tar apart.
fn split(tar: &[u8]) -> Vec<Member> {
    let mut members = Vec::new();
    let mut rest = tar;
    while rest.len() >= BLOCK && rest[0] != 0 {
        // What the old GNU format has between a header and its content is a member of its own.
        let digits = std::str::from_utf8(&rest[124..135]).unwrap_or_default();
        let content = usize::from_str_radix(digits, 8).unwrap_or(0).next_multiple_of(BLOCK);
        let (member, behind) = rest.split_at((BLOCK + content).min(rest.len()));
        members.push(member.to_vec());
        rest = behind;
    }
    members
}

/// Writes the checksum that the header should have.
pub(crate) fn sign(member: &mut [u8]) {
    let Some(block) = member.get_mut(..BLOCK) else { return };
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn flip(bytes: &mut [u8], dice: &mut Dice) {
    for _ in 0..=dice.below(8) {
        if bytes.is_empty() {
            return;
        }
        let at = dice.below(bytes.len());
        bytes[at] ^= 1 << dice.below(8);
    }
}

/// Another size than the content has.
fn size(member: &mut [u8], dice: &mut Dice) {
    let field: &[u8; 12] = match dice.below(8) {
        0 => b"00000000000\0",
        1 => b"00000000001\0",
        2 => b"00000000777\0",
        3 => b"00000001001\0",
        4 => b"77777777777\0",
        5 => b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
        6 => b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        _ => b"           \0",
    };
    member[124..136].copy_from_slice(field);
}

/// Something else in one of the fields.
fn field(member: &mut [u8], dice: &mut Dice) {
    let (at, length) = *dice.one(FIELDS);
    let field = &mut member[at..at + length];
    match dice.below(6) {
        0 => field.fill(0),
        1 => field.fill(0xff),
        2 => field.fill(b'7'),
        3 => field[0] = 0x80,
        4 => flip(field, dice),
        _ => field[..7.min(length)].copy_from_slice(&b"4000000"[..7.min(length)]),
    }
}

fn name(member: &mut [u8], dice: &mut Dice) {
    let at = *dice.one(&[0, 0, 157]);
    let name = dice.one(NAMES).as_bytes();
    member[at..at + 100].fill(0);
    member[at..at + name.len()].copy_from_slice(name);
}

/// A header of extensions, or one for all that follows.
fn pax(dice: &mut Dice) -> Member {
    let records: Vec<(&str, &[u8])> = (0..=dice.below(3)).map(|_| *dice.one(RECORDS)).collect();
    let long = vec![b'v'; [1000, 65_535, 65_536][dice.below(3)]];
    let tar = match dice.below(10) {
        0 => Tar::new().pax(&[("SCHILY.xattr.user.long", &long)]),
        1 => Tar::new().entry(&Header::new(b'g', "global"), b"17 uid=123456789\n"),
        2 => Tar::new().entry(&Header::new(b'x', "broken"), b"999 path=short\n"),
        _ => Tar::new().pax(&records),
    };
    unfinished(tar)
}

/// A whole member that means harm.
fn hostile(dice: &mut Dice) -> Member {
    let name = *dice.one(NAMES);
    let other = *dice.one(NAMES);
    let long = "n/".repeat(*dice.one(&[40, 400, 1500, 3000]));
    let tar = match dice.below(12) {
        // Loops of links, to themselves and to each other.
        0 => Tar::new().hardlink(name, name).hardlink(name, other).hardlink(other, name),
        1 => Tar::new().symlink("odd/loop", "loop").symlink(name, other).file("odd/loop/x", 0o644, b"x"),
        2 => Tar::new().symlink("odd/out", "../../../../tmp").file("odd/out/strata-escaped", 0o644, b"x"),
        3 => Tar::new().symlink("odd/out", "/").file("odd/out/odd/through-the-root", 0o644, b"x"),
        // Devices: those that overlayfs takes for its own, and those that no number can be.
        4 => Tar::new().entry(&Header { device: (0, 0), ..Header::new(b'3', name) }, b""),
        5 => Tar::new().entry(&Header { device: (0o7_777_777, 0o7_777_777), ..Header::new(b'4', "odd/far") }, b""),
        6 => Tar::new().entry(&Header { device: (4095, 1_048_575), ..Header::new(b'3', "odd/far") }, b""),
        // Names longer than a header has room for.
        7 => Tar::new().entry(&Header::new(b'L', "././@LongLink"), long.as_bytes()),
        8 => Tar::new().entry(&Header::new(b'K', "././@LongLink"), long.as_bytes()),
        9 => Tar::new().entry(&Header { size: Some(1 << 32), ..Header::new(b'L', "././@LongLink") }, b"short"),
        // Directories deeper than a path is long, by way of links.
        10 => {
            let deep = "d/".repeat(45);
            let link = |tar: Tar, at: usize| {
                tar.dir(&format!("l{at}/{deep}")).symlink(&format!("l{}", at + 1), &format!("l{at}/{deep}"))
            };
            (0..60).fold(Tar::new().dir("l0/"), link)
        }
        _ => Tar::new().file(name, 0o7777, &[7; 700]).file(&format!("{name}/x"), 0o644, b"x").dir(name),
    };
    unfinished(tar)
}

/// Without the blocks of zeros at its end.
fn unfinished(tar: Tar) -> Member {
    let mut bytes = tar.finish();
    bytes.truncate(bytes.len() - 2 * BLOCK);
    bytes
}
