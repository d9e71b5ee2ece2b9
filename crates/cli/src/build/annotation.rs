//! `--annotation`, and the annotations in `--output`.

use strata_build::{Annotation, AnnotationPlace};
use strata_types::Platform;

use crate::exit::{Failure, Result};

/// Reads `[PLACE[PLATFORM],…:]KEY=VALUE`, as often as it stands.
pub fn parse(words: &[String], native: &Platform) -> Result<Vec<Annotation>> {
    let mut annotations = Vec::new();
    for word in words.iter().filter(|word| !word.is_empty()) {
        let bad = || Failure::new(format!("invalid annotation {word:?}, expected key=value"));
        let (name, value) = word.split_once('=').ok_or_else(bad)?;
        let (places, key) = name.split_once(':').unwrap_or(("manifest", name));
        let places = places.split(',').map(|word| place(word, native)).collect::<Result<Vec<_>>>()?;
        let one = |(place, platform)| Annotation { place, platform, key: key.to_owned(), value: value.to_owned() };
        annotations.extend(places.into_iter().map(one));
    }
    Ok(annotations)
}

/// Reads a field of `--output`: `annotation[-PLACE][[PLATFORM]].KEY`; none if it is another.
pub fn of_output(name: &str, value: &str, native: &Platform) -> Result<Option<Annotation>> {
    let Some(rest) = name.strip_prefix("annotation") else { return Ok(None) };
    // A platform has no dot, a key may have many.
    let Some((head, key)) = rest.split_once('.').filter(|(_, key)| !key.is_empty()) else { return Ok(None) };
    let (place, platform) = match head.strip_prefix('-') {
        Some(word) => place(word, native)?,
        None if head.is_empty() || head.starts_with('[') => place(&format!("manifest{head}"), native)?,
        None => return Ok(None),
    };
    Ok(Some(Annotation { place, platform, key: key.to_owned(), value: value.to_owned() }))
}

/// Reads `PLACE` or `PLACE[PLATFORM]`.
fn place(word: &str, native: &Platform) -> Result<(AnnotationPlace, Option<Platform>)> {
    let malformed = || {
        let rule = "expected type and optional platform in square brackets";
        Failure::new(format!("invalid annotation type {word:?}, {rule}"))
    };
    let (name, platform) = match word.split_once('[') {
        Some((name, rest)) => (name, Some(rest.strip_suffix(']').ok_or_else(malformed)?)),
        None => (word, None),
    };
    let is_word = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    if !is_word || platform.is_some_and(str::is_empty) {
        return Err(malformed());
    }
    let place = AnnotationPlace::parse(name).ok_or_else(|| {
        Failure::new(format!("unknown annotation type {name:?}"))
            .hint("manifest, manifest-descriptor, index or index-descriptor")
    })?;
    let platform = platform.map(|text| Platform::parse(text, native)).transpose()?;
    Ok((place, platform))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(annotations: &[Annotation]) -> Vec<String> {
        let one = |annotation: &Annotation| {
            let Annotation { place, platform, key, value } = annotation;
            let platform = platform.as_ref().map(|platform| format!("[{platform}]")).unwrap_or_default();
            format!("{place:?}{platform} {key}={value}")
        };
        annotations.iter().map(one).collect()
    }

    #[test]
    fn annotations_say_where_they_stand() {
        let native = Platform::new("linux", "amd64", "");
        let check = |word: &str, expected: &[&str]| {
            assert_eq!(shown(&parse(&[word.to_owned()], &native).unwrap()), expected, "{word}");
        };
        check("a.b=c=d", &["Manifest a.b=c=d"]);
        check("index:a=", &["Index a="]);
        check("index,manifest-descriptor:a=x:y", &["Index a=x:y", "ManifestDescriptor a=x:y"]);
        check("manifest[linux/arm/v7]:a=b", &["Manifest[linux/arm/v7] a=b"]);
        check("", &[]);
        for (bad, says) in [
            ("a", "invalid annotation \"a\", expected key=value"),
            ("config:a=b", "unknown annotation type \"config\""),
            ("manifest[linux:a=b", "invalid annotation type \"manifest[linux\", expected type"),
            ("manifest[]:a=b", "invalid annotation type \"manifest[]\", expected type"),
            ("manifest[linux/*]:a=b", "linux/*"),
        ] {
            let error = parse(&[bad.to_owned()], &native).unwrap_err().error.unwrap().to_string();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn outputs_have_annotations_too() {
        let native = Platform::new("linux", "amd64", "");
        let check = |name: &str, expected: Option<&str>| {
            let found = of_output(name, "v", &native).unwrap();
            assert_eq!(shown(found.as_slice()).first().map(String::as_str), expected, "{name}");
        };
        check("annotation.org.x", Some("Manifest org.x=v"));
        check("annotation[linux/arm64].k", Some("Manifest[linux/arm64] k=v"));
        check("annotation-index.k", Some("Index k=v"));
        check("annotation-manifest-descriptor[linux/arm64].k", Some("ManifestDescriptor[linux/arm64] k=v"));
        check("annotations.k", None);
        check("dest", None);
    }
}
