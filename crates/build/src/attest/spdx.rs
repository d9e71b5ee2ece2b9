//! Packages as a document of SPDX 2.3 (<https://spdx.github.io/spdx-spec/v2.3/>).

use jiff::Timestamp;
use serde_json::{Value, json};
use strata_types::Reference;
use strata_types::config::ImageConfig;

use super::scan::{Package, Scanned};
use crate::request::BuildRequest;

/// Nobody says.
const NO_ASSERTION: &str = "NOASSERTION";
/// The image itself among the packages.
const IMAGE: &str = "SPDXRef-DocumentRoot-Image";

/// The document. It is the same for the same image, but for its time.
pub(super) fn document(scanned: &Scanned, config: &ImageConfig, request: &BuildRequest, now_s: i64) -> Value {
    let id = config.image_id();
    let name = request.names.first().map_or_else(|| id.to_string(), Reference::familiar);
    let created = Timestamp::from_second(now_s).unwrap_or(Timestamp::UNIX_EPOCH);
    let image = json!({
        "name": name, "SPDXID": IMAGE, "versionInfo": id.to_string(), "supplier": NO_ASSERTION,
        "downloadLocation": NO_ASSERTION, "filesAnalyzed": false, "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": NO_ASSERTION, "copyrightText": NO_ASSERTION, "primaryPackagePurpose": "CONTAINER",
    });
    let mut packages = vec![image];
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE)];
    for (number, package) in scanned.packages.iter().enumerate() {
        let id = spdx_id(package, number);
        relationships.push(relationship(IMAGE, "CONTAINS", &id));
        packages.push(described(package, &id, scanned));
    }
    json!({
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": name,
        "documentNamespace": format!("urn:strata:sbom:{id}"),
        "creationInfo": {
            "creators": [concat!("Tool: strata-", env!("CARGO_PKG_VERSION"))], "created": created.to_string(),
        },
        "packages": packages, "relationships": relationships,
    })
}

fn described(package: &Package, id: &str, scanned: &Scanned) -> Value {
    json!({
        "name": package.name, "SPDXID": id, "versionInfo": package.version, "supplier": NO_ASSERTION,
        "downloadLocation": NO_ASSERTION, "filesAnalyzed": false,
        "sourceInfo": format!("found in /{}", package.found_in),
        "licenseConcluded": NO_ASSERTION, "licenseDeclared": NO_ASSERTION, "copyrightText": NO_ASSERTION,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
            "referenceLocator": package.url(&scanned.distribution),
        }],
    })
}

fn relationship(from: &str, how: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relationshipType": how, "relatedSpdxElement": to})
}

/// Letters, digits, dots and hyphens only; the number tells apart what would be the same.
fn spdx_id(package: &Package, number: usize) -> String {
    let plain = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-");
    format!("SPDXRef-Package-{}-{}-{number}", package.kind.name(), plain(&package.name))
}
