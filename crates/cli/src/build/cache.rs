//! `--cache-from` and `--cache-to`.

use std::path::Path;

use strata_build::{CacheExport, CachePlace, CacheTarget};
use strata_types::reference::Reference;

use crate::exit::{Failure, Result};
use crate::opts::go_bool;

/// The tag of a cache in a directory, as with BuildKit.
const USUAL_TAG: &str = "latest";

/// Where a cache is, and how it is written.
#[derive(Debug, Default)]
struct Fields {
    kind: Option<String>,
    reference: Option<String>,
    dir: Option<String>,
    tag: Option<String>,
    mode: Option<String>,
    ignore_error: bool,
}

/// Reads `--cache-from IMAGE`, `type=registry,ref=IMAGE` and `type=local,src=DIRECTORY[,tag=TAG]`.
pub fn from(words: &[String], cwd: &Path) -> Result<Vec<CachePlace>> {
    let one = |word: &String| {
        let fields = fields("--cache-from", word, "src")?;
        match fields.kind() {
            "registry" | "local" => fields.place("--cache-from", word, "src", cwd),
            kind => Err(unknown("--cache-from", kind)),
        }
    };
    words.iter().map(one).collect()
}

/// Reads `--cache-to type=registry,ref=IMAGE`, `type=local,dest=DIRECTORY[,tag=TAG]` and `type=inline`, with `mode=min|max`.
pub fn to(words: &[String], cwd: &Path) -> Result<Vec<CacheExport>> {
    let one = |word: &String| {
        let fields = fields("--cache-to", word, "dest")?;
        let all_steps = match fields.mode.as_deref() {
            None | Some("min") => false,
            Some("max") => true,
            Some(other) => {
                return Err(Failure::new(format!("--cache-to {word}: invalid mode {other}")).hint("min or max"));
            }
        };
        let target = match fields.kind() {
            "inline" if all_steps => {
                let sentence = "--cache-to type=inline has only the steps of the image: mode=max needs another type";
                return Err(Failure::new(sentence));
            }
            "inline" => CacheTarget::Inline,
            "registry" | "local" => CacheTarget::Place(fields.place("--cache-to", word, "dest", cwd)?),
            kind => return Err(unknown("--cache-to", kind)),
        };
        Ok(CacheExport { target, all_steps, ignore_error: fields.ignore_error })
    };
    words.iter().map(one).collect()
}

fn unknown(option: &str, kind: &str) -> Failure {
    let failure = Failure::new(format!("{option}: unknown cache type {kind:?}"));
    match kind {
        "gha" | "s3" | "azblob" => {
            failure.hint("caches in a provider's service are not supported: use registry or local")
        }
        _ => failure.hint("registry, local or inline"),
    }
}

fn fields(option: &str, word: &str, dir: &str) -> Result<Fields> {
    if !word.contains('=') {
        return Ok(Fields { reference: Some(word.to_owned()), ..Fields::default() });
    }
    let mut fields = Fields::default();
    for field in word.split(',') {
        let bad = || Failure::new(format!("{option} {word}: invalid field {field:?}"));
        let (key, value) = field.split_once('=').ok_or_else(bad)?;
        let value = value.to_owned();
        match key {
            "type" => fields.kind = Some(value),
            "ref" => fields.reference = Some(value),
            "tag" => fields.tag = Some(value),
            "mode" if option == "--cache-to" => fields.mode = Some(value),
            "ignore-error" if option == "--cache-to" => fields.ignore_error = go_bool(&value).ok_or_else(bad)?,
            key if key == dir => fields.dir = Some(value),
            // This is how it is written, always.
            "oci-mediatypes" | "image-manifest" if go_bool(&value) == Some(true) => {}
            "compression" if value == "gzip" => {}
            _ => return Err(bad()),
        }
    }
    Ok(fields)
}

impl Fields {
    fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("registry")
    }

    fn place(&self, option: &str, word: &str, dir: &str, cwd: &Path) -> Result<CachePlace> {
        let missing = |what: &str| Failure::new(format!("{option} {word}: {what} is required"));
        if self.kind() == "local" {
            let path = self.dir.as_ref().filter(|path| !path.is_empty()).ok_or_else(|| missing(dir))?;
            let tag = self.tag.clone().unwrap_or_else(|| USUAL_TAG.to_owned());
            return Ok(CachePlace::Dir { path: cwd.join(path), tag });
        }
        let text = self.reference.as_ref().filter(|text| !text.is_empty()).ok_or_else(|| missing("ref"))?;
        let reference = text.parse::<Reference>();
        let reference = reference.map_err(|error| Failure::new(format!("{option} {word}: {error}")))?;
        if option == "--cache-to" && reference.digest().is_some() {
            return Err(Failure::new(format!("{option} {word}: a cache is written under a tag, not under a digest")));
        }
        Ok(CachePlace::Registry(reference.or_latest()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(word: &str) -> Result<String> {
        Ok(from(&[word.to_owned()], Path::new("/w"))?.remove(0).to_string())
    }

    #[test]
    fn places_are_names_or_fields() {
        for (word, expected) in [
            ("app:cache", "app:cache"),
            ("type=registry,ref=127.0.0.1:5000/app", "127.0.0.1:5000/app:latest"),
            ("type=local,src=dir", "/w/dir"),
            ("type=local,src=/dir,tag=x", "/dir"),
        ] {
            assert_eq!(place(word).unwrap(), expected, "{word}");
        }
        for bad in ["type=local", "type=registry", "type=gha", "type=inline", "ref=B AD", "type=local,src=d,mode=max"] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_written_has_a_mode() {
        let check = |word: &str| to(&[word.to_owned()], Path::new("/w")).map(|mut all| all.remove(0));
        let max = check("type=local,dest=d,mode=max,ignore-error=true").unwrap();
        assert!(max.all_steps && max.ignore_error);
        assert!(!check("app:cache").unwrap().all_steps);
        assert_eq!(check("type=inline").unwrap().target, CacheTarget::Inline);
        for bad in ["type=inline,mode=max", "type=local,dest=d,mode=all", "type=local,src=d", "type=s3,bucket=b"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
