//! A copy of this process that runs a program file nobody can write, without executing it.
//!
//! What executes a container's program can be looked at from inside: as `/proc/<pid>/exe`, or because the image says that
//! `/proc/self/exe` is to be executed. That file must not be one that can be opened for writing (CVE-2019-5736), so it lies
//! on a mount of its own that is read-only ([`crate::process::own_program`]). Executing the program anew by way of that
//! mount costs a millisecond. Here the copy stays as it is, and lets go of the file it came from instead: code, constants
//! and data are mapped anew from the same file on the sealed mount, the pages that were written are copied over, and then
//! PR_SET_MM_MAP (prctl(2)), made for checkpoint and restore, tells the kernel which program this is.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};

use crate::process;
use crate::signal::last_errno;

/// What PR_SET_MM_MAP takes (linux/prctl.h, `struct prctl_mm_map`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Map {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// Makes a copy of this process, as fork(2) does, whose program is the file behind `program`: this very program by way of a
/// sealed mount. It is called `title`, has no environment and the same descriptors, runs `inside` and then ends with the
/// number it returns. What `inside` is told is whether the copy could be sealed: if not, it may only execute `program`.
///
/// # Errors
/// Fails like [`process::clone`] in a process with several threads, and with `ENOSYS` where a copy cannot be sealed: on
/// kernels without checkpoint and restore, and for programs that are linked to move.
pub fn fork(program: BorrowedFd<'_>, title: &CStr, inside: impl FnOnce(Result<()>) -> u8) -> Result<i32> {
    let map = current()?;
    let path = format!("/proc/self/fd/{}", program.as_raw_fd());
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let segments = segments()?;
    process::fork(|| {
        // SAFETY: this copy has one thread, and nothing reads the environment or the arguments any more.
        unsafe { forget(map) };
        let moved = segments.iter().try_for_each(|segment| {
            // SAFETY: the file has the bytes that are there now, or the bytes are copied.
            unsafe { segment.lift(file.as_raw_fd()) }
        });
        let sealed = moved.and_then(|()| {
            // The kernel shows memory without a file only; this piece stays to the end.
            let start = title.to_owned().into_raw() as u64;
            let end = start + title.count_bytes() as u64 + 1;
            let exe_fd = file.as_raw_fd() as u32;
            let named = Map { arg_start: start, arg_end: end, env_start: end, env_end: end, exe_fd, ..map };
            set_map(&named)
        });
        inside(sealed)
    })
}

/// Where things are in this process, as the kernel knows it: fields 26 to 28 and 45 to 51 of `/proc/self/stat`
/// (proc_pid_stat(5)).
fn current() -> Result<Map> {
    let mut size: libc::c_uint = 0;
    // SAFETY: the kernel writes one number to `size`.
    let supported = unsafe { libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP_SIZE, &raw mut size, 0, 0) };
    if supported != 0 || size as usize != size_of::<Map>() {
        return Err(Errno::NOSYS);
    }
    let file = rustix::fs::open("/proc/self/stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut buffer = [0; 1024];
    let length = rustix::io::read(&file, &mut buffer)?;
    let text = std::str::from_utf8(&buffer[..length]).map_err(|_| Errno::NOSYS)?;
    // The name, in parentheses, may have anything in it; field 3 follows it.
    let (_, rest) = text.rsplit_once(") ").ok_or(Errno::NOSYS)?;
    let fields: Vec<u64> = rest.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    let field = |number: usize| fields.get(number - 3).copied().filter(|at| *at > 1).ok_or(Errno::NOSYS);
    // SAFETY: an increment of nothing changes nothing.
    let brk = unsafe { libc::sbrk(0) } as u64;
    Ok(Map {
        start_code: field(26)?,
        end_code: field(27)?,
        start_stack: field(28)?,
        start_data: field(45)?,
        end_data: field(46)?,
        start_brk: field(47)?,
        brk,
        arg_start: field(48)?,
        arg_end: field(49)?,
        env_start: field(50)?,
        env_end: field(51)?,
        ..Map::default()
    })
}

fn set_map(map: &Map) -> Result<()> {
    let size = size_of::<Map>();
    // SAFETY: the kernel reads `size` bytes of the map and checks what they say.
    match unsafe { libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP, ptr::from_ref(map), size, 0) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Forgets the environment and the arguments: a person's secrets may be in them.
///
/// # Safety
/// Nothing may read either afterwards.
unsafe fn forget(map: Map) {
    // SAFETY: the caller's promise.
    unsafe { libc::clearenv() };
    for (start, end) in [(map.arg_start, map.arg_end), (map.env_start, map.env_end)] {
        // SAFETY: these bytes of the stack's end are this process's own, and nobody reads them any more.
        unsafe { ptr::write_bytes(start as *mut u8, 0, (end - start) as usize) };
    }
}

/// A part of this program's file in memory, whole pages.
#[derive(Clone, Copy, Debug)]
struct Segment {
    start: usize,
    length: usize,
    offset: usize,
    /// How its pages may be used.
    protection: libc::c_int,
    /// They may differ from the file.
    written: bool,
}

impl Segment {
    /// Puts pages that do not belong to this program's file in the place of these: those of `file`, or a copy.
    ///
    /// # Safety
    /// `file` has the same content, and no other thread writes to these pages meanwhile.
    unsafe fn lift(self, file: libc::c_int) -> Result<()> {
        let at = self.start as *mut libc::c_void;
        let (private, offset) = (libc::MAP_PRIVATE, self.offset as libc::off_t);
        if !self.written {
            // SAFETY: every byte is the same afterwards, so that even this code goes on in it.
            let mapped =
                unsafe { libc::mmap(at, self.length, self.protection, private | libc::MAP_FIXED, file, offset) };
            return if mapped == libc::MAP_FAILED { Err(last_errno()) } else { Ok(()) };
        }
        let usable = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: new memory, wherever there is room.
        let copy = unsafe { libc::mmap(ptr::null_mut(), self.length, usable, private, file, offset) };
        if copy == libc::MAP_FAILED {
            return Err(last_errno());
        }
        // SAFETY: both are `length` bytes long and apart. The copy then takes the place of the original in one step, with
        // the same content and the protection it had.
        unsafe {
            let original = std::slice::from_raw_parts(at.cast::<u8>(), self.length);
            let pages = std::slice::from_raw_parts_mut(copy.cast::<u8>(), self.length);
            let page = rustix::param::page_size();
            for (old, new) in original.chunks(page).zip(pages.chunks_mut(page)) {
                // Pages that were never written stay those of the file, which all shims share.
                if old != new {
                    new.copy_from_slice(old);
                }
            }
            if libc::mprotect(copy, self.length, self.protection) != 0 {
                return Err(last_errno());
            }
            let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
            let moved = libc::mremap(copy, self.length, self.length, flags, at);
            if moved == libc::MAP_FAILED { Err(last_errno()) } else { Ok(()) }
        }
    }
}

/// The parts of this program's file that are in memory, by its program headers (elf(5)). What was relocated and then
/// protected (PT_GNU_RELRO) is apart from what can be written.
fn segments() -> Result<Vec<Segment>> {
    // SAFETY: reads what the kernel told this process.
    let (address, count) = unsafe { (libc::getauxval(libc::AT_PHDR), libc::getauxval(libc::AT_PHNUM)) };
    if address == 0 || count == 0 {
        return Err(Errno::NOSYS);
    }
    // SAFETY: the kernel mapped that many headers there for as long as the program runs.
    let headers = unsafe { std::slice::from_raw_parts(address as *const libc::Elf64_Phdr, count as usize) };
    let page = rustix::param::page_size();
    let down = |at: u64| at as usize / page * page;
    let up = |at: u64| (at as usize).div_ceil(page) * page;
    let first = headers.iter().find(|header| header.p_type == libc::PT_LOAD).ok_or(Errno::NOSYS)?;
    // A program that is linked to move is somewhere else than its headers say.
    if first.p_vaddr + first.p_offset + size_of::<libc::Elf64_Ehdr>() as u64 > address
        || address > first.p_vaddr + first.p_memsz
    {
        return Err(Errno::NOSYS);
    }
    let protected = headers.iter().find(|header| header.p_type == libc::PT_GNU_RELRO);
    let protected = protected.map_or(0..0, |header| down(header.p_vaddr)..down(header.p_vaddr + header.p_memsz));
    let mut found = Vec::new();
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD) {
        let (start, end) = (down(header.p_vaddr), up(header.p_vaddr + header.p_filesz));
        let offset = down(header.p_offset);
        if header.p_flags & libc::PF_W == 0 {
            let executable = if header.p_flags & libc::PF_X == 0 { 0 } else { libc::PROT_EXEC };
            let protection = libc::PROT_READ | executable;
            found.push(Segment { start, length: end - start, offset, protection, written: false });
            continue;
        }
        let border = protected.end.clamp(start, end);
        let parts = [(start, border, libc::PROT_READ), (border, end, libc::PROT_READ | libc::PROT_WRITE)];
        let parts = parts.into_iter().filter(|(from, to, _)| from < to);
        found.extend(parts.map(|(from, to, protection)| Segment {
            start: from,
            length: to - from,
            offset: offset + (from - start),
            protection,
            written: true,
        }));
    }
    Ok(found)
}
