//! The program `strata`.
#![cfg_attr(target_env = "gnu", no_main)]

/// What the C library calls. What Rust does before its own `main` costs a tenth of a millisecond and helps nobody here: it
/// looks for the stack's end in `/proc/self/maps`, to say in words that it overflowed. The GNU C library gives arguments to
/// Rust without that.
#[cfg(target_env = "gnu")]
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "the name is the C library's, and nothing else has it")]
extern "C" fn main() -> std::ffi::c_int {
    strata_sys::process::begin();
    strata_cli::main().into()
}

#[cfg(not(target_env = "gnu"))]
fn main() -> std::process::ExitCode {
    strata_cli::main().into()
}
