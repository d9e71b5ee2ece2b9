//! `strata system boot-unit`: print a systemd unit that ends containers before a reboot and starts them after it.

use std::path::Path;

use crate::verb::prelude::*;

/// What `strata system boot-unit` understands.
#[derive(Debug, clap::Args)]
pub struct Args {}

impl Verb for Args {
    const ABOUT: &str = "Print a systemd unit that starts containers after a reboot";
    const USAGE: &str = "";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let program = std::env::current_exe()?;
        let settings = session.settings();
        let text = unit(&program, &std::path::absolute(&settings.root)?, &std::path::absolute(&settings.run_dir)?);
        session.out.write_all(text.as_bytes())?;
        Ok(Exit::SUCCESS)
    }
}

/// The unit. Shims outlive it; stopping it ends their containers in order, within systemd's time.
fn unit(program: &Path, root: &Path, run_dir: &Path) -> String {
    let words = [program.as_os_str(), "--root".as_ref(), root.as_os_str(), "--run-dir".as_ref(), run_dir.as_os_str()];
    let words: Vec<String> = words.iter().map(|word| quoted(&word.to_string_lossy())).collect();
    let (words, root) = (words.join(" "), quoted(&root.to_string_lossy()));
    format!(
        "# Put this into /etc/systemd/system/strata.service, then: systemctl enable strata.service\n\
         [Unit]\n\
         Description=strata containers that run after a reboot\n\
         Wants=network-online.target\n\
         After=network-online.target local-fs.target\n\
         RequiresMountsFor={root}\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         KillMode=process\n\
         Delegate=yes\n\
         ExecStart={words} start --boot\n\
         ExecStop={words} stop --boot\n\
         TimeoutStopSec=5min\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}

/// A word as systemd.syntax(7) wants it: quoted if need be, `%` and `$` doubled.
fn quoted(word: &str) -> String {
    let word = word.replace('%', "%%").replace('$', "$$");
    if word.contains(|c: char| c.is_whitespace() || "\"'\\;".contains(c)) {
        return format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_calls_this_program_on_this_store() {
        let text = unit(Path::new("/usr/bin/strata"), Path::new("/var/lib/my store"), Path::new("/run/50%"));
        assert!(text.contains("\nRequiresMountsFor=\"/var/lib/my store\"\n"), "{text}");
        let start = "\nExecStart=/usr/bin/strata --root \"/var/lib/my store\" --run-dir /run/50%% start --boot\n";
        assert!(text.contains(start), "{text}");
        assert!(
            text.contains(&start.replace("ExecStart", "ExecStop").replace("start --boot", "stop --boot")),
            "{text}"
        );
    }
}
