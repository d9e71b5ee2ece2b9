//! What looks like a secret is not shown unless asked for: people find database passwords in `docker inspect`.
//!
//! Only output is changed. What is kept, and what programs in containers see, is never masked. A masked value tells
//! nothing about the real one, not even its length.

use serde_json::Value as Json;
use strata_types::credential::is_plain_value;
pub use strata_types::credential::is_secret_name as is_secret;

/// What is shown in place of a secret.
pub const MASK: &str = "*****";

/// Said on stderr when something was masked.
pub const NOTE: &str = "note: values that look like secrets are shown as *****; --reveal shows them\n";

/// A variable as it is shown: `NAME=VALUE`.
pub fn variable(line: &str) -> String {
    match line.split_once('=') {
        Some((name, value)) if is_secret(name) && !is_plain_value(value) => {
            format!("{name}={MASK}")
        }
        _ => urls(line),
    }
}

/// A command line or a part of one as it is shown: `NAME=VALUE` and `--name=value` by the name, and what follows an
/// option that is a secret's.
pub fn text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut value_follows = false;
    for part in text.split_inclusive(char::is_whitespace) {
        let word = part.trim_end_matches(char::is_whitespace);
        let bare = word.trim_start_matches(['"', '\'', '-']);
        let is_option = word.len() > 2 && word.starts_with("--");
        if value_follows && !word.is_empty() && !word.starts_with('-') {
            shown.push_str(MASK);
        } else {
            shown.push_str(&word[..word.len() - bare.len()]);
            shown.push_str(&variable(bare));
        }
        value_follows = (is_option && !bare.contains('=') && is_secret(bare)) || (value_follows && word.is_empty());
        shown.push_str(&part[word.len()..]);
    }
    shown
}

/// The words of a command: an option may have its value in the next word.
pub fn words_of(all: &[String]) -> Vec<String> {
    let mut value_follows = false;
    all.iter()
        .map(|word| {
            let shown = if value_follows && !word.starts_with('-') { MASK.to_owned() } else { text(word) };
            value_follows = word.starts_with("--") && !word.contains('=') && is_secret(word);
            shown
        })
        .collect()
}

/// `scheme://user:password@host` without the password.
fn urls(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = after.find(|c: char| c == '/' || c == '?' || c == '#' || c.is_whitespace()).unwrap_or(after.len());
        // A password may itself hold an `@`: the last one ends it.
        let authority = &after[..end];
        match authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
            Some((user, host)) => shown.push_str(&format!("{user}:{MASK}@{host}")),
            None => shown.push_str(authority),
        }
        rest = &after[end..];
    }
    shown + rest
}

/// Masks what `inspect` shows of a container or an image.
pub fn inspected(thing: &mut Json) {
    for name in ["Path", "Args"] {
        if let Some(value) = thing.get_mut(name) {
            command(value);
        }
    }
    for config in ["Config", "ContainerConfig"] {
        let Some(config) = thing.get_mut(config) else { continue };
        if let Some(Json::Array(env)) = config.get_mut("Env") {
            env.iter_mut().for_each(|line| replace(line, variable));
        }
        for name in ["Cmd", "Entrypoint"] {
            if let Some(value) = config.get_mut(name) {
                command(value);
            }
        }
        if let Some(test) = config.get_mut("Healthcheck").and_then(|health| health.get_mut("Test")) {
            command(test);
        }
    }
}

fn command(value: &mut Json) {
    match value {
        Json::Array(list) => {
            let all: Vec<String> = list.iter().map(|word| word.as_str().unwrap_or_default().to_owned()).collect();
            *list = words_of(&all).into_iter().map(Json::String).collect();
        }
        other => replace(other, text),
    }
}

fn replace(value: &mut Json, shown: impl Fn(&str) -> String) {
    if let Json::String(line) = value {
        *line = shown(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_by_whole_words() {
        for name in [
            "PASSWORD",
            "MYSQL_ROOT_PASSWORD",
            "db-passwd",
            "dbPassword",
            "PGPASSWORD",
            "GITHUB_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
            "API_KEY",
            "STRIPE_APIKEY",
            "TLS_PRIVATE_KEY",
            "app.credentials",
            "DB_PASS",
            "MYSQL_PWD",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "PATH",
            "PWD",
            "OLDPWD",
            "GPG_KEY",
            "KEYBOARD",
            "TOKENIZER",
            "COMPASS",
            "POSTGRES_PASSWORD_FILE",
            "TOKEN_URL",
            "SECRETARY",
            "BYPASS",
            "KEY",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn variables_show_their_names() {
        for (line, shown) in [
            ("DB_PASSWORD=hunter2", "DB_PASSWORD=*****"),
            ("DB_PASSWORD=", "DB_PASSWORD="),
            ("MYSQL_ALLOW_EMPTY_PASSWORD=Yes", "MYSQL_ALLOW_EMPTY_PASSWORD=Yes"),
            ("DB=postgres://me:hunter2@db:5432/x?y", "DB=postgres://me:*****@db:5432/x?y"),
            ("DB=amqp://me:hunt@er2@db", "DB=amqp://me:*****@db"),
            ("A=http://me@host/a:b@c http://:p@h", "A=http://me@host/a:b@c http://:*****@h"),
            ("PLAIN=a=b", "PLAIN=a=b"),
            ("TOKEN", "TOKEN"),
        ] {
            assert_eq!(variable(line), shown, "{line}");
        }
    }

    #[test]
    fn command_lines_are_masked_in_words_and_in_texts() {
        for (line, shown) in [
            ("mysql --password=hunter2 -u root", "mysql --password=***** -u root"),
            ("mysql --password  hunter2 --host h", "mysql --password  ***** --host h"),
            ("sh -c 'TOKEN=abc run'", "sh -c 'TOKEN=***** run'"),
            ("echo --token", "echo --token"),
            ("", ""),
        ] {
            assert_eq!(text(line), shown, "{line}");
        }
        let words = ["mysql", "--password", "hunter2", "--token", "--x", "env A_TOKEN=b"].map(str::to_owned);
        assert_eq!(words_of(&words), ["mysql", "--password", "*****", "--token", "--x", "env A_TOKEN=*****"]);
    }

    #[test]
    fn inspect_is_masked_where_secrets_stand() {
        let mut thing = serde_json::json!({
            "Args": ["--token", "abc"], "Path": "x",
            "Config": {"Env": ["TOKEN=abc", "A=b"], "Cmd": null, "Healthcheck": {"Test": ["CMD-SHELL", "TOKEN=abc x"]}},
        });
        inspected(&mut thing);
        let expected = serde_json::json!({
            "Args": ["--token", MASK], "Path": "x",
            "Config": {"Env": ["TOKEN=*****", "A=b"], "Cmd": null, "Healthcheck": {"Test": ["CMD-SHELL", "TOKEN=***** x"]}},
        });
        assert_eq!(thing, expected);
    }
}
