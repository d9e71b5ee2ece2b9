//! What a package would hold: the binary, man pages and completions.

use std::path::Path;
use std::process::Command;

use crate::build;
use crate::shell::{self, Done, output};

/// One release binary must stay below this, with everything linked in.
const BINARY_BYTES_MAX: u64 = 25 << 20;

/// Builds everything into `dir`.
pub(crate) fn run(dir: &Path) -> Done {
    let io = |error: std::io::Error| format!("cannot write {}: {error}", dir.display());
    let built = build::release()?;
    std::fs::create_dir_all(dir.join("man")).map_err(io)?;
    let program = dir.join("strata");
    std::fs::copy(&built, &program).map_err(io)?;
    let size_bytes = std::fs::metadata(&program).map_err(io)?.len();
    if size_bytes > BINARY_BYTES_MAX {
        return Err(format!("the release binary has {size_bytes} bytes, more than {BINARY_BYTES_MAX}"));
    }
    shell::run(Command::new(&program).arg("man").arg(dir.join("man")))?;
    for name in ["bash", "zsh", "fish"] {
        let script = output(Command::new(&program).args(["completion", name]))?;
        std::fs::write(dir.join(format!("strata.{name}")), script).map_err(io)?;
    }
    println!("{}: {:.1} MB; man pages and completions beside it", program.display(), size_bytes as f64 / 1e6);
    Ok(())
}
