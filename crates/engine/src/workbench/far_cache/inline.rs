//! Steps in the config of the image they came to: whoever has the image has its cache.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use strata_types::build_cache::{BuildCache, CacheRecord, CacheResult, INLINE_FIELD};
use strata_types::config::ImageConfig;

use super::FarStep;

/// Writes the steps that came to an image's layers into its config. When they were done is what its history says.
pub fn write(config: &mut ImageConfig, steps: &[FarStep]) {
    let layers = config.diff_ids();
    let mut records = Vec::new();
    for step in steps.iter().filter(|step| layers.starts_with(&step.layers)) {
        let result = step.adds_layer.then(|| CacheResult { layer: step.layers.len() - 1, created: None });
        for key in &step.keys {
            let Ok(digest) = format!("sha256:{key}").parse() else { continue };
            records.push(CacheRecord { digest, results: result.iter().cloned().collect() });
        }
    }
    records.sort_by(|one, other| one.digest.cmp(&other.digest));
    records.dedup();
    let document = BuildCache { layers: Vec::new(), records };
    config.set_other(INLINE_FIELD, Some(STANDARD.encode(document.to_bytes()).into()));
}

/// The document in a config.
pub(super) fn read(config: &ImageConfig) -> Option<Vec<u8>> {
    STANDARD.decode(config.other(INLINE_FIELD)?.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use strata_types::DiffId;
    use strata_types::config::Fields;

    use super::*;

    #[test]
    fn only_steps_of_the_image_are_in_it() {
        let layer = |letter: &str| format!("sha256:{}", letter.repeat(64)).parse::<DiffId>().unwrap();
        let step = |key: &str, layers: Vec<DiffId>, adds_layer| FarStep {
            keys: vec![key.repeat(64)],
            layers,
            adds_layer,
            created: jiff::Timestamp::UNIX_EPOCH,
        };
        let mut fields = Fields::default();
        fields.rootfs.diff_ids = vec![layer("a"), layer("b")];
        let mut config = ImageConfig::from(fields);
        let steps = [
            step("2", vec![layer("a"), layer("b")], true),
            step("1", vec![layer("a")], false),
            step("3", vec![layer("c")], true),
        ];
        write(&mut config, &steps);
        let found = BuildCache::parse(&read(&config).unwrap()).unwrap();
        let results: Vec<Option<usize>> =
            found.records.iter().map(|record| record.results.first().map(|result| result.layer)).collect();
        assert_eq!(results, [None, Some(1)]);
    }
}
