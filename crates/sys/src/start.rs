//! What runs before `main`, in place of the GNU C library's own start: all that does, but for asking the processor what it is
//! (`docs/decisions/0049`).
//!
//! The library then knows nothing of the processor, and takes the functions that every x86-64 has. What is called here is the library's
//! own, of version 2.36, and documented nowhere: `build.rs` looks which version there is, and with any other the library starts itself.
//!
//! The order is that of `csu/libc-start.c`. Left out is also what lets the first thread end before the others (pthread_exit(3)): ours
//! never does.

use std::ffi::{c_char, c_int, c_long, c_void};
use std::ptr::null_mut;

type Main = unsafe extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char) -> c_int;
type Constructor = unsafe extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char);
type Destructor = unsafe extern "C" fn();

/// A relocation whose value a function says (`Elf64_Rela`, `R_X86_64_IRELATIVE`).
#[repr(C)]
struct Relocation {
    place: *mut usize,
    info: u64,
    choose: unsafe extern "C" fn() -> usize,
}

unsafe extern "C" {
    static mut __environ: *mut *mut c_char;
    static mut __libc_stack_end: *mut c_void;
    static __libc_enable_secure: c_int;
    static _dl_random: *const [usize; 2];

    fn _dl_aux_init(vector: *mut *mut c_char);
    fn __tunables_init(environment: *mut *mut c_char);
    fn __libc_setup_tls();
    fn __libc_early_init(first: bool);
    fn __libc_init_first(count: c_int, arguments: *mut *mut c_char, environment: *mut *mut c_char);
    fn __libc_check_standard_fds();
    fn _dl_debug_initialize(base: usize, namespace: c_long) -> *mut c_void;
    fn __cxa_atexit(function: unsafe extern "C" fn(*mut c_void), argument: *mut c_void, object: *mut c_void) -> c_int;
    fn exit(code: c_int) -> !;

    // The linker's.
    static __rela_iplt_start: [Relocation; 0];
    static __rela_iplt_end: [Relocation; 0];
    static __preinit_array_start: [Constructor; 0];
    static __preinit_array_end: [Constructor; 0];
    static __init_array_start: [Constructor; 0];
    static __init_array_end: [Constructor; 0];
    static __fini_array_start: [Destructor; 0];
    static __fini_array_end: [Destructor; 0];
    fn _init();
    fn _fini();
}

/// What the library's functions for memory take for the size of caches, in bytes: its own values for a processor that it does not
/// know. From three quarters of the shared cache on they write past it. They are where its `__libc_start_main` is, so they have to
/// be here, too.
mod caches {
    use std::ffi::{c_int, c_long};

    const DATA: c_long = 32 << 10;
    const SHARED: c_long = 1 << 20;

    #[unsafe(no_mangle)]
    static mut __x86_data_cache_size: c_long = DATA;
    #[unsafe(no_mangle)]
    static mut __x86_data_cache_size_half: c_long = DATA / 2;
    #[unsafe(no_mangle)]
    static mut __x86_shared_cache_size: c_long = SHARED;
    #[unsafe(no_mangle)]
    static mut __x86_shared_cache_size_half: c_long = SHARED / 2;
    #[unsafe(no_mangle)]
    static mut __x86_shared_non_temporal_threshold: c_long = SHARED / 4 * 3;
    #[unsafe(no_mangle)]
    static mut __x86_rep_movsb_threshold: c_long = 2048;
    #[unsafe(no_mangle)]
    static mut __x86_rep_movsb_stop_threshold: c_long = SHARED / 4 * 3;
    #[unsafe(no_mangle)]
    static mut __x86_rep_stosb_threshold: c_long = 2048;
    #[unsafe(no_mangle)]
    static mut __x86_string_control: c_int = 0;
}

/// What `_start` of the C compiler calls.
///
/// # Safety
///
/// The C compiler's `_start` calls it, once, with what the kernel put on the stack.
#[unsafe(no_mangle)]
unsafe extern "C" fn __libc_start_main(
    main: Main,
    count: c_int,
    arguments: *mut *mut c_char,
    _init_of_old: *const c_void,
    _fini_of_old: *const c_void,
    _fini_of_loader: *const c_void,
    stack_end: *mut c_void,
) -> c_int {
    // SAFETY: the order is the library's own; nothing here needs what is not yet there (thread-local variables, or memcpy(3) and
    // others before `choose_functions`). The kernel puts the environment after the arguments, and the auxiliary vector after that.
    unsafe {
        let environment = arguments.offset(count as isize + 1);
        __environ = environment;
        __libc_stack_end = stack_end;
        let mut end = environment;
        while !(*end).is_null() {
            end = end.add(1);
        }
        _dl_aux_init(end.add(1));
        __tunables_init(environment);
        choose_functions();
        __libc_setup_tls();
        guard();
        __libc_early_init(true);
        __libc_init_first(count, arguments, environment);
        __cxa_atexit(destruct, null_mut(), null_mut());
        if __libc_enable_secure != 0 {
            __libc_check_standard_fds();
        }
        construct(count, arguments, environment);
        _dl_debug_initialize(0, 0);
        exit(main(count, arguments, environment))
    }
}

/// Writes which variant of a function is called.
///
/// # Safety
///
/// Before the first call of such a function, while there is one thread.
unsafe fn choose_functions() {
    // SAFETY: the linker made the table, of places in the program and functions that need nothing.
    unsafe {
        for relocation in table(&raw const __rela_iplt_start, &raw const __rela_iplt_end) {
            *relocation.place = (relocation.choose)();
        }
    }
}

/// What the linker put between two names.
///
/// # Safety
///
/// Both are the linker's, for one table of such things.
unsafe fn table<T>(start: *const [T; 0], end: *const [T; 0]) -> &'static [T] {
    // SAFETY: the caller says so; nothing writes these tables.
    unsafe { std::slice::from_raw_parts(start.cast(), (end.addr() - start.addr()) / size_of::<T>()) }
}

/// Puts the kernel's random numbers where functions look whether the stack was written over, and where addresses in memory are
/// mixed with one.
///
/// # Safety
///
/// With the thread's own variables there, and before anybody reads these numbers.
#[inline(always)]
unsafe fn guard() {
    // SAFETY: `_dl_aux_init` found sixteen bytes of the kernel's; fs is this thread's `tcbhead_t`, with the guards at 0x28 and 0x30.
    unsafe {
        let [canary, pointers] = _dl_random.read_unaligned();
        // A zero byte first, so that no string can be written over it.
        std::arch::asm!("mov fs:[0x28], {}", "mov fs:[0x30], {}", in(reg) canary & !0xff, in(reg) pointers, options(nostack));
    }
}

/// # Safety
///
/// Once, after the C library is ready.
unsafe fn construct(count: c_int, arguments: *mut *mut c_char, environment: *mut *mut c_char) {
    // SAFETY: the tables are the linker's, and what is in them takes these three.
    unsafe {
        for constructor in table(&raw const __preinit_array_start, &raw const __preinit_array_end) {
            constructor(count, arguments, environment);
        }
        _init();
        for constructor in table(&raw const __init_array_start, &raw const __init_array_end) {
            constructor(count, arguments, environment);
        }
    }
}

/// # Safety
///
/// Once, when the process ends.
unsafe extern "C" fn destruct(_: *mut c_void) {
    // SAFETY: the table is the linker's, and what is in it takes nothing.
    unsafe {
        for destructor in table(&raw const __fini_array_start, &raw const __fini_array_end).iter().rev() {
            destructor();
        }
        _fini();
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::{CStr, c_char, c_int};
    use std::sync::atomic::{AtomicUsize, Ordering};

    static ARGUMENTS: AtomicUsize = AtomicUsize::new(0);

    unsafe extern "C" fn constructor(count: c_int, arguments: *mut *mut c_char, environment: *mut *mut c_char) {
        // SAFETY: the environment begins after the null that ends the arguments.
        let ends = unsafe {
            (*arguments.offset(count as isize)).is_null() && arguments.offset(count as isize + 1) == environment
        };
        ARGUMENTS.store(if ends { count as usize } else { 0 }, Ordering::Relaxed);
    }

    #[used]
    #[unsafe(link_section = ".init_array")]
    static CONSTRUCTOR: super::Constructor = constructor;

    /// Says that the end was called, when a test asks.
    unsafe extern "C" fn destructor() {
        // SAFETY: both get what outlives them; nothing of Rust is needed, which may have ended.
        unsafe {
            if !libc::getenv(c"STRATA_TEST_END".as_ptr()).is_null() {
                libc::write(2, c"the end".as_ptr().cast(), 7);
            }
        }
    }

    #[used]
    #[unsafe(link_section = ".fini_array")]
    static DESTRUCTOR: super::Destructor = destructor;

    #[test]
    fn destructors_are_called() {
        let program = std::env::current_exe().expect("it is there");
        let output =
            std::process::Command::new(program).arg("--list").env("STRATA_TEST_END", "1").output().expect("it starts");
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stderr), "the end");
    }

    #[test]
    fn constructors_get_what_the_kernel_gave() {
        assert_eq!(ARGUMENTS.load(Ordering::Relaxed), std::env::args_os().len());
    }

    #[test]
    fn the_library_has_environment_and_auxiliary_vector() {
        let (name, value) = std::env::vars().find(|(name, _)| !name.is_empty()).expect("cargo gives some");
        let name = std::ffi::CString::new(name).expect("without a null");
        // SAFETY: no test changes the environment.
        let found = unsafe { libc::getenv(name.as_ptr()) };
        assert!(!found.is_null());
        // SAFETY: it is not null, and so a string.
        assert_eq!(unsafe { CStr::from_ptr(found) }.to_str(), Ok(&*value));
        // SAFETY: it only looks.
        assert_eq!(unsafe { libc::getauxval(libc::AT_PAGESZ) }, 4096);
    }

    #[test]
    fn stacks_have_a_guard() {
        let guards = || -> (usize, usize) {
            let (canary, pointers);
            // SAFETY: it reads two words of the thread's control block.
            unsafe {
                std::arch::asm!("mov {}, fs:[0x28]", "mov {}, fs:[0x30]", out(reg) canary, out(reg) pointers, options(nostack, readonly))
            };
            (canary, pointers)
        };
        let (canary, pointers) = guards();
        assert_eq!(canary & 0xff, 0);
        assert_ne!(canary, 0);
        assert_ne!(pointers, 0);
        assert_eq!(std::thread::spawn(guards).join().expect("it ends"), (canary, pointers));
    }

    /// Sizes on both sides of where the library's functions change their ways.
    #[test]
    fn memory_is_copied_and_filled() {
        for size in [0, 1, 15, 16, 17, 127, 2047, 2048, 4096, (768 << 10) - 1, (768 << 10) + 1, 3 << 20] {
            let bytes: Vec<u8> = (0..size + 64).map(|at| (at % 251) as u8).collect();
            let mut copy = vec![0; size + 64];
            copy[7..7 + size].copy_from_slice(&bytes[3..3 + size]);
            assert!(
                copy[7..7 + size] == bytes[3..3 + size]
                    && copy[..7] == [0; 7]
                    && copy[7 + size..].iter().all(|byte| *byte == 0)
            );
            let mut moved = bytes.clone();
            moved.copy_within(..size, 33);
            assert!(moved[33..33 + size] == bytes[..size] && moved[..33.min(33 + size)] == bytes[..33]);
            copy[5..5 + size].fill(9);
            assert!(copy[5..5 + size].iter().all(|byte| *byte == 9) && copy[..5] == [0; 5]);
        }
    }
}
