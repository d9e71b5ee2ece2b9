//! `strata completion`: prints what makes a shell complete strata's words.

use crate::verb::prelude::*;

/// What `strata completion` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell: bash, zsh or fish
    pub shell: String,
}

/// Each script asks the hidden verb `__complete` and hands over the words so far.
const BASH: &str = r#"# bash completion for strata: put it into /etc/bash_completion.d/strata, or eval it
_strata() {
    local words=("${COMP_WORDS[@]:1:COMP_CWORD}") line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("${line%%$'\t'*}")
    done < <(strata __complete "${words[@]}" 2>/dev/null)
    # Names of images have colons, at which bash breaks words.
    if declare -F __ltrim_colon_completions >/dev/null; then
        __ltrim_colon_completions "${COMP_WORDS[COMP_CWORD]}"
    fi
}
complete -o default -F _strata strata
"#;

const ZSH: &str = r#"#compdef strata
# zsh completion for strata: put it into a directory of $fpath as _strata
_strata() {
    local -a found
    local line
    while IFS= read -r line; do
        found+=("${${line//:/\\:}/$'\t'/:}")
    done < <(strata __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( ${#found} )); then
        _describe strata found
    else
        _files
    fi
}
compdef _strata strata
"#;

const FISH: &str = r"# fish completion for strata: put it into ~/.config/fish/completions/strata.fish
function __strata_complete
    set -l words (commandline -opc) (commandline -ct)
    strata __complete $words[2..-1] 2>/dev/null
end
complete -c strata -a '(__strata_complete)'
";

impl Verb for Args {
    const ABOUT: &str = "Generate the autocompletion script for the specified shell";
    const USAGE: &str = "bash|zsh|fish";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let script = match self.shell.as_str() {
            "bash" => BASH,
            "zsh" => ZSH,
            "fish" => FISH,
            other => {
                return Err(
                    Failure::new(format!("no completion for the shell `{other}`")).hint("use bash, zsh or fish")
                );
            }
        };
        session.out.write_all(script.as_bytes())?;
        Ok(Exit::SUCCESS)
    }
}
