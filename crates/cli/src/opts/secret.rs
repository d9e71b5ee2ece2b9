//! `--secret NAME[,target=FILE][,uid=N][,gid=N][,mode=OCTAL]`, and with `source=NAME` as of `docker service`.

use strata_engine::container::SecretMount;

use super::{Invalid, Result};

/// Everybody in the container may read it, as with Docker.
const MODE: u32 = 0o444;

/// Parses one.
pub fn parse(text: &str) -> Result<SecretMount> {
    let mut secret = SecretMount { name: String::new(), target: String::new(), uid: 0, gid: 0, mode: MODE };
    for (at, part) in text.split(',').enumerate() {
        let (key, value) = match part.split_once('=') {
            None if at == 0 => ("source", part),
            None => return Err(Invalid(format!("invalid secret {text:?}: {part:?} is not a key=value pair"))),
            Some(pair) => pair,
        };
        let bad = || Invalid(format!("invalid secret {text:?}: {key} {value:?}"));
        match key {
            "source" | "src" | "id" => secret.name = value.to_owned(),
            "target" | "dst" | "destination" => secret.target = value.to_owned(),
            "uid" => secret.uid = value.parse().map_err(|_| bad())?,
            "gid" => secret.gid = value.parse().map_err(|_| bad())?,
            "mode" => {
                let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o777);
                secret.mode = mode.ok_or_else(bad)?;
            }
            "type" if value == "mount" => {}
            "type" => {
                let why = "secrets are files: what is in the environment is seen by every child and in many logs";
                return Err(Invalid(format!("invalid secret {text:?}: type {value:?}: {why}")));
            }
            _ => return Err(Invalid(format!("invalid secret {text:?}: unknown key {key:?}"))),
        }
    }
    if secret.name.is_empty() {
        return Err(Invalid(format!("invalid secret {text:?}: no name")));
    }
    if secret.target.is_empty() {
        secret.target.clone_from(&secret.name);
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_alone_is_enough() {
        let plain = SecretMount { name: "db".into(), target: "db".into(), uid: 0, gid: 0, mode: 0o444 };
        assert_eq!(parse("db").unwrap(), plain);
        assert_eq!(parse("source=db").unwrap(), plain);
        let all = SecretMount { name: "db".into(), target: "/etc/pw".into(), uid: 5, gid: 6, mode: 0o400 };
        assert_eq!(parse("db,target=/etc/pw,uid=5,gid=6,mode=0400,type=mount").unwrap(), all);
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        for (text, why) in [
            ("", "no name"),
            ("a,b", "is not a key=value pair"),
            ("a,uid=x", "uid \"x\""),
            ("a,mode=999", "mode \"999\""),
            ("a,mode=4755", "mode \"4755\""),
            ("a,x=y", "unknown key \"x\""),
            ("a,type=env", "secrets are files"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
