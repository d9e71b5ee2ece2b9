//! A file by URL, as a layer with that file. As with BuildKit it is root's, nobody else may read it, and its time is what
//! the server says, or the beginning of 1970.

use std::fs::File;
use std::io::{Cursor, Read};

use strata_engine::workbench::{Downloaded, Workbench};
use strata_layer::tar::{Times, encode, end_of_archive, padding_bytes};
use strata_layer::{Entry, Kind, LayerPath, Time};
use strata_types::{Digest, Watch};

use super::{Fetched, Wish, remember, spec};
use crate::error::Problem;
use crate::key::Key;

/// What a file is called whose URL ends in no name.
const NAMELESS: &str = "__unnamed__";
/// The permissions of what comes from the web.
const MODE: u16 = 0o600;

pub(super) fn fetch(bench: &Workbench<'_>, url: &str, wish: &Wish<'_>, watch: &dyn Watch) -> Result<Fetched, Problem> {
    let name = name_of(url);
    let expected = expected(wish.checksum)?;
    let found = |layers, time| Fetched { layers, path: format!("/{name}"), time };
    // What has the right digest need not be asked for.
    if let (Some(expected), false) = (&expected, wish.anew) {
        let key = by_digest(&name, expected);
        if let Some(memory) = bench.recall(&key.finish())? {
            let time = time_in(bench, &memory.layers, &name)?;
            return Ok(found(memory.layers, time));
        }
    }
    let answer = bench.web(url, wish.authorization.as_deref())?;
    let head = answer.head.clone();
    let time = head.modified.unwrap_or(0);
    let by_tag = head.tag.as_ref().map(|tag| {
        let mut key = Key::of("file by tag");
        key.parts("url", [url, tag, &time.to_string()]);
        key.finish()
    });
    if let (Some(key), None, false) = (&by_tag, &expected, wish.anew)
        && let Some(memory) = bench.recall(key)?
    {
        return Ok(found(memory.layers, time));
    }
    let Downloaded { file, size_bytes, digest } = bench.download(answer, watch)?;
    if let Some(expected) = expected.filter(|expected| *expected != digest) {
        return Err(Problem::Checksum {
            url: spec::shown(url),
            expected: expected.to_string(),
            actual: digest.to_string(),
        });
    }
    let layer = bench.add_layer(&[], &mut tar(&name, file, size_bytes, time)?, watch)?;
    let keys = [by_digest(&name, &digest).finish()].into_iter().chain(by_tag);
    Ok(found(remember(bench, keys, &format!("file {}", spec::shown(url)), layer, jiff::Timestamp::now())?, time))
}

/// A file by URL as it is: for contexts.
pub(crate) fn body(
    bench: &Workbench<'_>,
    url: &str,
    authorization: Option<&str>,
    watch: &dyn Watch,
) -> Result<File, Problem> {
    Ok(bench.download(bench.web(url, authorization)?, watch)?.file)
}

fn by_digest(name: &str, digest: &Digest) -> Key {
    let mut key = Key::of("file by digest");
    key.parts("file", [name, &digest.to_string()]);
    key
}

/// The checksum that was asked for.
fn expected(text: &str) -> Result<Option<Digest>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let digest = text.parse::<Digest>().ok().filter(|digest| digest.algorithm() == strata_types::Algorithm::Sha256);
    let bad = || Problem::Unsupported(format!("invalid checksum {text:?}: write --checksum=sha256:HEX"));
    digest.map(Some).ok_or_else(bad)
}

/// When a file that is here was changed last.
fn time_in(bench: &Workbench<'_>, layers: &[strata_types::DiffId], name: &str) -> Result<i64, Problem> {
    let stat = bench.tree(layers)?.lstat(std::path::Path::new(name)).map_err(crate::error::read(name))?;
    Ok(stat.map_or(0, |stat| stat.st_mtime))
}

/// The last part of a URL's path.
fn name_of(url: &str) -> String {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once('/').map_or("", |(_, path)| path);
    let name = decoded(path.trim_end_matches('/').rsplit('/').next().unwrap_or_default());
    let is_name = !name.is_empty() && !name.contains(['/', '\0']) && !matches!(name.as_str(), "." | "..");
    if is_name { name } else { NAMELESS.to_owned() }
}

/// `%20` is a space.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let byte = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(plain).unwrap_or_else(|_| text.to_owned())
}

fn tar(name: &str, file: File, size_bytes: u64, time: i64) -> Result<impl Read, Problem> {
    let path = LayerPath::root().join(name.as_bytes()).map_err(|_| Problem::Path(name.to_owned()))?;
    let kind = Kind::File { size_bytes, sparse: None };
    let mtime = Time { seconds: time, nanoseconds: 0 };
    let entry = Entry { path, kind, mode: MODE, mtime, ..Entry::implicit_dir(LayerPath::root()) };
    let mut header = Vec::new();
    encode(&entry, Times::Seconds, &mut header);
    let mut end = vec![0; padding_bytes(size_bytes)];
    end.extend_from_slice(end_of_archive());
    Ok(Cursor::new(header).chain(file).chain(Cursor::new(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_as_its_url_ends() {
        for (url, name) in [
            ("https://h/a/b.txt", "b.txt"),
            ("https://h/a/b.txt?x=/y#z", "b.txt"),
            ("https://h/a%20b", "a b"),
            ("https://h/a/", "a"),
            ("https://h/%2e%2e", NAMELESS),
            ("https://h/a%2fb", NAMELESS),
            ("https://h/%zz", "%zz"),
            ("https://h", NAMELESS),
            ("https://h/", NAMELESS),
        ] {
            assert_eq!(name_of(url), name, "{url}");
        }
    }
}
