//! The programs `docker-credential-*`: one verb as argument, a server's name or JSON on standard input, JSON on
//! standard output (docker/docker-credential-helpers, "Development").

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde::Deserialize;
use serde_json::json;

use super::{Credential, CredentialError};

/// The user name that marks a secret as an identity token.
const TOKEN_USER: &str = "<token>";
/// What helpers say when they have nothing.
const NOT_FOUND: &str = "credentials not found";

pub(super) struct Helper {
    name: String,
    program: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl Helper {
    /// A helper by the last part of its name, which must not lead anywhere else.
    pub(super) fn new(name: &str) -> Result<Self, CredentialError> {
        if name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
            return Ok(Self { name: name.to_owned(), program: format!("docker-credential-{name}").into() });
        }
        Err(CredentialError::HelperFailed {
            name: name.to_owned(),
            why: "this is not the name of a program".to_owned(),
        })
    }

    pub(super) fn find(&self, server: &str) -> Result<Option<Credential>, CredentialError> {
        let output = self.run("get", server.as_bytes())?;
        if !output.status.success() {
            let said = said(&output);
            return if said.contains(NOT_FOUND) { Ok(None) } else { Err(self.failed(said)) };
        }
        let answer: Answer = serde_json::from_slice(&output.stdout)
            .map_err(|_quotes_secrets| self.failed("its answer cannot be understood".to_owned()))?;
        Ok(Some(match answer {
            Answer { username, secret } if username == TOKEN_USER => {
                Credential::IdentityToken { user: String::new(), token: secret }
            }
            Answer { username, .. } if username.is_empty() => return Ok(None),
            Answer { username, secret } => Credential::Password { user: username, password: secret },
        }))
    }

    pub(super) fn save(&self, server: &str, credential: &Credential) -> Result<(), CredentialError> {
        let (user, secret) = match credential {
            Credential::Password { user, password } => (user.as_str(), password),
            Credential::IdentityToken { token, .. } | Credential::RegistryToken(token) => (TOKEN_USER, token),
        };
        let input = json!({ "ServerURL": server, "Username": user, "Secret": secret }).to_string();
        self.done(&self.run("store", input.as_bytes())?)
    }

    pub(super) fn erase(&self, server: &str) -> Result<(), CredentialError> {
        self.done(&self.run("erase", server.as_bytes())?)
    }

    fn done(&self, output: &Output) -> Result<(), CredentialError> {
        if output.status.success() { Ok(()) } else { Err(self.failed(said(output))) }
    }

    fn run(&self, verb: &str, input: &[u8]) -> Result<Output, CredentialError> {
        let fault = |source| CredentialError::HelperStart { name: self.name.clone(), source };
        let mut command = Command::new(&self.program);
        command.arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(fault)?;
        let written = match child.stdin.take() {
            Some(mut stdin) => stdin.write_all(input),
            None => Ok(()),
        };
        let output = child.wait_with_output().map_err(fault)?;
        match written {
            // It need not read what it does not want; then its status says more.
            Err(error) if output.status.success() => Err(fault(error)),
            _ => Ok(output),
        }
    }

    fn failed(&self, why: String) -> CredentialError {
        CredentialError::HelperFailed { name: self.name.clone(), why }
    }
}

/// The first line of what a failed helper said; helpers complain on standard output.
fn said(output: &Output) -> String {
    let text = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    String::from_utf8_lossy(text).lines().next().unwrap_or("it did not say why").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A helper in shell that keeps one credential in a file beside it.
    const SCRIPT: &str = r#"#!/bin/sh
held=$(dirname "$0")/held
case $1 in
store) cat >"$held" ;;
get) if [ -f "$held" ]; then cat "$held"; else echo "credentials not found in native keychain"; exit 1; fi ;;
erase) rm "$held" ;;
esac
"#;

    fn helper(dir: &std::path::Path) -> Helper {
        use std::os::unix::fs::PermissionsExt as _;
        let program = dir.join("docker-credential-test");
        std::fs::write(&program, SCRIPT).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Helper { name: "test".to_owned(), program }
    }

    #[test]
    fn a_helper_keeps_finds_and_forgets_and_its_nonsense_is_not_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let helper = helper(dir.path());
        assert_eq!(helper.find("x").unwrap(), None);
        let password = Credential::Password { user: "me".to_owned(), password: "pa:ss".to_owned() };
        let token = Credential::IdentityToken { user: String::new(), token: "t0ken".to_owned() };
        for credential in [password, token] {
            helper.save("x", &credential).unwrap();
            assert_eq!(helper.find("x").unwrap(), Some(credential));
        }
        helper.erase("x").unwrap();
        assert_eq!(helper.find("x").unwrap(), None);

        // What it says is not repeated. In the same test, because a file cannot be run while another thread's child has
        // it open for writing.
        std::fs::write(dir.path().join("held"), "s3cret").unwrap();
        let error = helper.find("x").unwrap_err();
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        std::fs::remove_file(dir.path().join("held")).unwrap();
        assert!(helper.erase("x").is_err());
    }
}
