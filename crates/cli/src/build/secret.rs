//! `--secret` and `--ssh`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use strata_build::Secret;

use crate::exit::{Failure, Result};
use crate::session::Session;

/// Reads `--secret id=NAME[,src=FILE|,env=VARIABLE][,type=file|env]`. With the id alone it is a variable of that name, else a file.
pub fn secrets(session: &Session, words: &[String]) -> Result<BTreeMap<String, Secret>> {
    words.iter().map(|word| secret(session, word)).collect()
}

fn secret(session: &Session, word: &str) -> Result<(String, Secret)> {
    let bad = |why: String| Failure::new(why).hint(format!("that is of --secret {word}"));
    let (mut id, mut file, mut variable, mut kind) = (String::new(), None, None, "");
    for field in word.split(',') {
        let (key, value) =
            field.split_once('=').ok_or_else(|| bad(format!("invalid field '{field}' must be a key=value pair")))?;
        match key.to_ascii_lowercase().as_str() {
            "id" => value.clone_into(&mut id),
            "source" | "src" => file = Some(value.to_owned()),
            "env" => variable = Some(value.to_owned()),
            "type" if matches!(value, "file" | "env") => kind = value,
            "type" => return Err(bad(format!("unsupported secret type {value:?}"))),
            _ => return Err(bad(format!("unexpected key '{key}' in '{field}'"))),
        }
    }
    if id.is_empty() {
        return Err(bad("secret missing ID".to_owned()).hint("write --secret id=NAME,src=FILE"));
    }
    if kind == "env" && variable.is_none() {
        variable = Some(file.take().unwrap_or_else(|| id.clone()));
    }
    if variable.is_none() && file.is_none() && kind.is_empty() && session.variable(&id).is_some() {
        variable = Some(id.clone());
    }
    if let Some(name) = variable {
        let value = session.variable(&name).ok_or_else(|| bad(format!("the variable {name} is not set")))?;
        return Ok((id, Secret::Value(value.into_bytes())));
    }
    let path = session.cwd()?.join(file.unwrap_or_else(|| id.clone()));
    match std::fs::metadata(&path) {
        Ok(found) if found.is_dir() => Err(bad(format!("{} is a directory", path.display()))),
        Ok(found) if found.len() > Secret::BYTES_MAX => {
            Err(bad(format!("it is larger than {} bytes", Secret::BYTES_MAX)))
        }
        Ok(_) => Ok((id, Secret::File(path))),
        Err(_) => Err(bad(format!("failed to stat {0}: stat {0}: no such file or directory", path.display()))),
    }
}

/// Reads `--ssh ID[=SOCKET]`; without a socket it is that of the person's agent.
pub fn agents(session: &Session, words: &[String]) -> Result<BTreeMap<String, PathBuf>> {
    use std::os::unix::fs::FileTypeExt as _;
    let agent = |word: &String| {
        let (id, path) = word.split_once('=').map_or((word.as_str(), None), |(id, path)| (id, Some(path.to_owned())));
        let none = || Failure::new("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set");
        let path =
            path.or_else(|| session.variable("SSH_AUTH_SOCK")).filter(|path| !path.is_empty()).ok_or_else(none)?;
        let path = session.cwd()?.join(path);
        match std::fs::metadata(&path) {
            Ok(found) if found.file_type().is_socket() => Ok((id.to_owned(), path)),
            Ok(_) => Err(Failure::new(format!("--ssh {word}: {} is not the socket of an agent", path.display()))
                .hint("add the key to an agent with `ssh-add`, and give the agent's socket")),
            Err(_) => Err(Failure::new(format!("stat {}: no such file or directory", path.display()))
                .hint(format!("that is of --ssh {word}"))),
        }
    };
    words.iter().map(agent).collect()
}
