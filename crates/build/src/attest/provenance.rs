//! How an image was built, as SLSA wants it said (<https://slsa.dev/spec/v1.0/provenance>).

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use strata_dockerfile::looks_secret;

use crate::graph::Build;
use crate::request::Detail;

/// What the fields of `externalParameters` mean: docs/build.md says it.
const BUILD_TYPE: &str = "urn:strata:build:dockerfile:v1";

/// What stands for a value that nobody is to see.
const HIDDEN: &str = "*****";

/// The predicate. Values of secrets are not read for it; values of arguments whose name says that they are secret are left
/// out.
pub(super) fn predicate(build: &Build<'_>, detail: Detail) -> Value {
    let request = build.request;
    let mut parameters = Map::new();
    parameters.insert("configSource".to_owned(), json!({"path": "Dockerfile"}));
    parameters.insert("platform".to_owned(), build.platform.to_string().into());
    if let Some(target) = &request.target {
        parameters.insert("target".to_owned(), target.as_str().into());
    }
    if detail == Detail::Max {
        let value = |name: &str, value: &str| if looks_secret(name) { HIDDEN.to_owned() } else { value.to_owned() };
        let arguments: Map<String, Value> =
            request.arguments.iter().map(|(name, given)| (name.clone(), value(name, given).into())).collect();
        parameters.insert("buildArgs".to_owned(), arguments.into());
        parameters.insert("labels".to_owned(), json!(request.labels));
        parameters.insert("network".to_owned(), request.network.as_str().into());
        parameters.insert("noCache".to_owned(), request.no_cache.into());
        parameters.insert("secrets".to_owned(), request.secrets.keys().map(|id| json!({"id": id})).collect());
        parameters.insert("ssh".to_owned(), request.ssh.keys().map(|id| json!({"id": id})).collect());
        parameters.insert("dockerfile".to_owned(), request.dockerfile.as_str().into());
    }
    let dependencies: Vec<Value> = build
        .origins()
        .into_iter()
        .map(|origin| json!({"uri": origin.uri, "digest": {origin.digest.algorithm().name(): origin.digest.hex()}}))
        .collect();
    // With a fixed time the image is the same everywhere, and so is what is said of it.
    let finished = build.epoch_or(Timestamp::now());
    json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": parameters,
            "internalParameters": {"builderPlatform": build.native.to_string()},
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": {"id": "", "version": {"strata": env!("CARGO_PKG_VERSION")}},
            "metadata": {
                "startedOn": second(build.epoch_or(build.began)),
                "finishedOn": second(finished),
            },
        },
    })
}

/// A time without parts of a second.
fn second(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}
