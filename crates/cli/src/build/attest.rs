//! `--attest`, `--provenance` and `--sbom`.

use strata_build::{Attest, Detail};

use crate::exit::{Failure, Result};

/// Reads all three. The short forms go after the long ones.
pub fn parse(words: &[String], provenance: Option<&str>, sbom: Option<&str>) -> Result<Attest> {
    let mut attest = Attest::default();
    let short = [("provenance", provenance), ("sbom", sbom)];
    let short = short.into_iter().filter_map(|(kind, word)| Some(format!("type={kind},{}", word?)));
    for word in words.iter().cloned().chain(short) {
        one(&mut attest, &word)?;
    }
    Ok(attest)
}

/// Reads `type=TYPE[,mode=min|max][,disabled=true]`; a truth alone switches it.
fn one(attest: &mut Attest, word: &str) -> Result<()> {
    let bad =
        |field: &str| Failure::new(format!("invalid value {field}")).hint(format!("that is of the attestation {word}"));
    let (mut kind, mut detail, mut wanted) = (None, Detail::Min, true);
    for field in word.split(',').filter(|field| !field.is_empty()) {
        match field.split_once('=') {
            Some(("type", name)) => kind = Some(name),
            Some(("mode", "min")) => detail = Detail::Min,
            Some(("mode", "max")) => detail = Detail::Max,
            Some(("disabled", value)) => wanted = !crate::opts::go_bool(value).ok_or_else(|| bad(field))?,
            Some(("generator", _)) => {
                let sentence = "another generator of SBOMs is not supported: strata looks for packages itself";
                return Err(Failure::new(sentence).hint("leave generator= out"));
            }
            Some(_) => return Err(bad(field)),
            None => wanted = crate::opts::go_bool(field).ok_or_else(|| bad(field))?,
        }
    }
    match kind {
        Some("provenance") => attest.provenance = wanted.then_some(detail),
        Some("sbom") => attest.sbom = wanted,
        Some(other) => return Err(Failure::new(format!("unknown attestation type {other:?}: provenance or sbom"))),
        None => return Err(Failure::new(format!("attestation type not specified: {word:?}"))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attestations_have_a_long_form_and_a_short_one() {
        let check = |words: &[&str], provenance: Option<&str>, sbom: Option<&str>, expected: (Option<Detail>, bool)| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let parsed = parse(&words, provenance, sbom).unwrap();
            assert_eq!((parsed.provenance, parsed.sbom), expected, "{words:?} {provenance:?} {sbom:?}");
        };
        check(&[], None, None, (None, false));
        check(&["type=provenance,mode=max", "type=sbom"], None, None, (Some(Detail::Max), true));
        check(&["type=provenance"], Some("false"), Some("true"), (None, true));
        check(&[], Some("mode=max"), Some("1"), (Some(Detail::Max), true));
        check(&["type=sbom,disabled=true"], Some(""), None, (Some(Detail::Min), false));
        for bad in ["mode=max", "type=magic", "type=provenance,mode=all", "type=sbom,generator=x", "type=sbom,perhaps"]
        {
            assert!(parse(&[bad.to_owned()], None, None).is_err(), "{bad}");
        }
    }
}
