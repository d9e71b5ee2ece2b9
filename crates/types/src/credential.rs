//! What looks like a credential: names of variables, values, and beginnings of files.
//!
//! It is a guess from both sides. What it finds is told to people or masked, never refused.

/// Words that make a name that of a secret wherever they stand in it.
const WORDS: &[&str] = &[
    "PASSWORD",
    "PASSWORDS",
    "PASSWD",
    "PASSPHRASE",
    "PASSCODE",
    "PASS",
    "PWD",
    "SECRET",
    "SECRETS",
    "TOKEN",
    "TOKENS",
    "CREDENTIAL",
    "CREDENTIALS",
    "CREDS",
    "APIKEY",
    "PRIVATEKEY",
    "PGPASSWORD",
    "BEARER",
];

/// Words that make the `KEY` after them a secret. A key alone often is none: `GPG_KEY` in the images of Python is public.
const OF_KEYS: &[&str] = &["API", "PRIVATE", "SECRET", "ACCESS", "ENCRYPTION", "SIGNING", "MASTER", "AUTH", "SSH"];

/// Last words that say where a secret is or how it is made, not what it is.
const ABOUT: &[&str] =
    &["FILE", "PATH", "DIR", "URL", "URI", "HOST", "PORT", "NAME", "LENGTH", "TTL", "EXPIRY", "TYPE"];

/// Values that cannot be secrets, as of `ALLOW_EMPTY_PASSWORD=yes`.
const PLAIN: &[&str] = &["", "yes", "no", "true", "false", "on", "off", "0", "1", "none", "null"];

/// Beginnings that only credentials of one kind have, how many letters follow at least, and whose they are.
const PREFIXES: &[(&str, usize, &str)] = &[
    ("AKIA", 16, "AWS access key"),
    ("ASIA", 16, "AWS access key"),
    ("ghp_", 36, "GitHub token"),
    ("gho_", 36, "GitHub token"),
    ("ghu_", 36, "GitHub token"),
    ("ghs_", 36, "GitHub token"),
    ("ghr_", 36, "GitHub token"),
    ("github_pat_", 22, "GitHub token"),
    ("glpat-", 20, "GitLab token"),
    ("dckr_pat_", 20, "Docker token"),
    ("xoxb-", 20, "Slack token"),
    ("xoxp-", 20, "Slack token"),
    ("xoxa-", 20, "Slack token"),
    ("sk_live_", 16, "Stripe key"),
    ("rk_live_", 16, "Stripe key"),
    ("AIza", 35, "Google API key"),
    ("npm_", 36, "npm token"),
    ("pypi-", 40, "PyPI token"),
    ("SG.", 40, "SendGrid key"),
    ("hvs.", 24, "Vault token"),
];

/// Whether a variable, option or field of this name holds a secret. Words are what stands between `_`, `-`, `.` and
/// changes from small to capital letters.
pub fn is_secret_name(name: &str) -> bool {
    let words = words(name);
    // The shell's own two.
    if matches!(name, "PWD" | "OLDPWD") || words.last().is_some_and(|last| ABOUT.contains(&last.as_str())) {
        return false;
    }
    let is_key = |pair: &[String]| OF_KEYS.contains(&pair[0].as_str()) && matches!(pair[1].as_str(), "KEY" | "KEYS");
    words.iter().any(|word| WORDS.contains(&word.as_str())) || words.windows(2).any(is_key)
}

/// Whether a value cannot be a secret, whatever it is the value of.
pub fn is_plain_value(value: &str) -> bool {
    PLAIN.contains(&value.to_ascii_lowercase().as_str())
}

/// What kind of credential stands in a text, by what it looks like alone.
pub fn kind_of_value(text: &str) -> Option<&'static str> {
    if let Some(kind) = kind_of_file(text.as_bytes()) {
        return Some(kind);
    }
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let known = text.split(|c: char| !is_letter(c)).find_map(|word| {
        let follows = |rest: &str| rest.chars().take_while(|c| is_letter(*c)).count();
        let fits = |(prefix, least, _): &&(&str, usize, &str)| {
            word.strip_prefix(prefix).is_some_and(|rest| follows(rest) >= *least)
        };
        PREFIXES.iter().find(fits).map(|(_, _, kind)| *kind).or_else(|| is_web_token(word).then_some("JSON web token"))
    });
    known.or_else(|| has_password(text).then_some("URL with a password"))
}

/// What kind of private key a file is, by how it begins.
pub fn kind_of_file(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(b"PuTTY-User-Key-File-") {
        return Some("PuTTY private key");
    }
    let begin = b"-----BEGIN ";
    let mut rest = head;
    while let Some(at) = rest.windows(begin.len()).position(|window| window == begin) {
        let after = &rest[at + begin.len()..];
        let end = after.windows(5).position(|window| window == b"-----").unwrap_or(after.len().min(64));
        let label = &after[..end];
        if label.ends_with(b"PRIVATE KEY") || label.ends_with(b"PRIVATE KEY BLOCK") {
            return Some("private key");
        }
        rest = after;
    }
    None
}

/// `eyJ….eyJ….…`: three parts of base64, the first two of JSON.
fn is_web_token(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    parts.len() == 3 && parts[..2].iter().all(|part| part.starts_with("eyJ") && part.len() > 16) && parts[2].len() > 16
}

/// `scheme://user:password@host`.
fn has_password(text: &str) -> bool {
    text.split("://").skip(1).any(|rest| {
        let end = rest.find(|c: char| c == '/' || c == '?' || c == '#' || c.is_whitespace()).unwrap_or(rest.len());
        let user = rest[..end].rsplit_once('@').and_then(|(user, _)| user.split_once(':'));
        // A variable is none yet.
        user.is_some_and(|(_, password)| !password.is_empty() && !password.starts_with(['$', '{', '<']))
    })
}

fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut small_before = false;
    for c in name.chars() {
        let parts = !c.is_ascii_alphanumeric();
        if parts || (small_before && c.is_ascii_uppercase()) {
            words.push(String::new());
        }
        if let (false, Some(word)) = (parts, words.last_mut()) {
            word.push(c.to_ascii_uppercase());
        }
        small_before = c.is_ascii_lowercase() || c.is_ascii_digit();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_known_by_how_they_look() {
        // In two parts, so that nobody who searches the tree finds one.
        let part = |start: &str, letters: usize| format!("{start}{}", "aB3".repeat(letters));
        for (text, kind) in [
            (format!("curl -H 'Authorization: token {}'", part("ghp", 0) + &part("_", 12)), "GitHub token"),
            (part("AKIA", 0) + "ABCDEFGHIJKLMNOP", "AWS access key"),
            (part("glpat", 0) + &part("-", 8), "GitLab token"),
            (format!("https://me:{}@host/x", "hunter2"), "URL with a password"),
            (["-----BEGIN", "RSA PRIVATE", "KEY-----\nMIIE"].join(" "), "private key"),
            (format!("{0}.{0}.{1}", part("eyJ", 8), part("x", 8)), "JSON web token"),
        ] {
            assert_eq!(kind_of_value(&text), Some(kind), "{text}");
        }
        for text in [
            "hello",
            "https://host/x:y@z",
            "https://me@host",
            "https://me:$PASSWORD@host",
            "AKIA",
            "ghp_short",
            "a.b.c",
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN PUBLIC KEY-----",
            "",
        ] {
            assert_eq!(kind_of_value(text), None, "{text}");
        }
    }

    #[test]
    fn keys_are_known_by_how_they_begin() {
        let pem = |label: &str| format!("# a comment\n-----BEGIN {label}-----\n").into_bytes();
        for label in ["OPENSSH PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "PGP PRIVATE KEY BLOCK"] {
            assert_eq!(kind_of_file(&pem(label)), Some("private key"), "{label}");
        }
        let both = [pem("CERTIFICATE"), pem("PRIVATE KEY")].concat();
        assert_eq!(kind_of_file(&both), Some("private key"));
        assert_eq!(kind_of_file(b"PuTTY-User-Key-File-3: x"), Some("PuTTY private key"));
        assert!(kind_of_file(&pem("CERTIFICATE")).is_none() && kind_of_file(b"").is_none());
    }
}
