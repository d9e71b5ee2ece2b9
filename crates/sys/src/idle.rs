//! Waiting with as little memory as can be, for processes that mostly wait and of which there are many.
//!
//! A page of the program's file counts as a process's own while no other one has it mapped, and wherever a page is touched
//! the kernel maps fifteen more around it. So what gives memory back and then waits is one function that touches nothing
//! else. What else is needed comes back from the file, as far as it is needed, when there is something to do.

use std::ops::Range;

use rustix::event::{PollFd, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Result;
use rustix::mm::Advice;

/// What of this process's memory can be done without while it waits.
#[derive(Debug, Default)]
pub struct Idle {
    /// Pages that are as they are in the program's file, and can no longer be written.
    unchanged: Vec<Range<usize>>,
    /// Where the stack can grow to.
    stack: Range<usize>,
}

impl Idle {
    /// Looks once for what there is; what cannot be found out is kept. For the process's first thread.
    pub fn find() -> Self {
        static CONSTANT: &str = "lies among the constants";
        let (code, constants) = (Self::find as *const () as usize, CONSTANT.as_ptr() as usize);
        let on_stack = (&raw const code) as usize;
        let Ok(text) = std::fs::read_to_string("/proc/self/maps") else { return Self::default() };
        let maps: Vec<Mapping<'_>> = text.lines().filter_map(Mapping::parse).collect();
        let file = maps.iter().find(|map| map.range.contains(&code)).map(|map| map.file);
        let mut this = Self::default();
        for map in &maps {
            if map.range.contains(&on_stack) && map.file == "[stack]" {
                this.stack = map.range.clone();
            }
            if Some(map.file) != file || map.permissions.contains('w') {
                continue;
            }
            if map.range.contains(&code) || map.range.contains(&constants) {
                // Never written, not even before `main`.
                this.unchanged.push(map.range.clone());
            } else {
                // Data that was relocated and then protected, or the file's first page.
                this.unchanged.extend(unchanged_pages(map.range.clone()).unwrap_or_default());
            }
        }
        this
    }

    /// Gives memory back and waits as poll(2) does: free heap, the stack's used end, and pages of the program's file.
    ///
    /// # Errors
    /// As poll(2).
    pub fn wait(&self, fds: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> Result<usize> {
        // SAFETY: malloc_trim only returns free memory to the kernel.
        unsafe { libc::malloc_trim(0) };
        let here = 0_u8;
        let page = rustix::param::page_size();
        // Functions called from here on, the kernel's and ours, need less than what is left below this one.
        let end = ((&raw const here) as usize / page).saturating_sub(STACK_PAGES) * page;
        let stack = self.stack.start..end.clamp(self.stack.start, self.stack.end);
        // SAFETY: what is below is not in use; the rest is in the program's file as it is here.
        unsafe { give_back_and_wait(&self.unchanged, stack, fds, timeout) }
    }
}

/// So many pages of the stack stay below who gives the others back.
const STACK_PAGES: usize = 2;

/// The only code that runs while this process waits.
///
/// # Safety
/// Nobody may need the memory of `stack`, and that of `unchanged` must be what its file has.
#[inline(never)]
unsafe fn give_back_and_wait(
    unchanged: &[Range<usize>],
    stack: Range<usize>,
    fds: &mut [PollFd<'_>],
    timeout: Option<&Timespec>,
) -> Result<usize> {
    for range in std::slice::from_ref(&stack).iter().chain(unchanged) {
        if range.start < range.end {
            // What cannot be given back stays: that harms nobody.
            // SAFETY: the caller's promise.
            let _kept =
                unsafe { rustix::mm::madvise(range.start as *mut _, range.end - range.start, Advice::LinuxDontNeed) };
        }
    }
    rustix::event::poll(fds, timeout)
}

/// A line of `/proc/<pid>/maps` (proc_pid_maps(5)).
struct Mapping<'a> {
    range: Range<usize>,
    permissions: &'a str,
    /// The path, or what the kernel calls it.
    file: &'a str,
}

impl<'a> Mapping<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (range, permissions) = (words.next()?, words.next()?);
        let number = |text| usize::from_str_radix(text, 16).ok();
        let (start, end) = range.split_once('-')?;
        Some(Self { range: number(start)?..number(end)?, permissions, file: words.nth(3).unwrap_or_default() })
    }
}

/// Those pages of a mapping of a file that were never written: a written one is no page of the file any more.
fn unchanged_pages(range: Range<usize>) -> Result<Vec<Range<usize>>> {
    // proc_pid_pagemap(5)
    const OF_FILE: u64 = 1 << 61;
    const SWAPPED: u64 = 1 << 62;
    const PRESENT: u64 = 1 << 63;
    let page = rustix::param::page_size();
    let file = rustix::fs::open("/proc/self/pagemap", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut entries = vec![0; range.len() / page * 8];
    let read = rustix::io::pread(&file, &mut entries, (range.start / page * 8) as u64)?;
    let (entries, _) = entries[..read].as_chunks::<8>();
    let mut found: Vec<Range<usize>> = Vec::new();
    for (start, entry) in (range.start..).step_by(page).zip(entries.iter().map(|bytes| u64::from_ne_bytes(*bytes))) {
        if entry & SWAPPED != 0 || (entry & PRESENT != 0 && entry & OF_FILE == 0) {
            continue;
        }
        match found.last_mut() {
            Some(last) if last.end == start => last.end += page,
            _ => found.push(start..start + page),
        }
    }
    Ok(found)
}
