//! Media types of what registries hold, in Docker's words and in OCI's.

/// Docker schema 1, signed; not supported, named to be refused in words.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// Docker schema 1, unsigned.
pub const DOCKER_SCHEMA1_UNSIGNED: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker layer, gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker layer, not compressed.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker layer, zstd.
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
/// Docker layer that lives elsewhere, gzip.
pub const DOCKER_FOREIGN_GZIP: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI layer, not compressed.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer, gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer, zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// OCI layer that should not be pushed, not compressed.
pub const OCI_NONDISTRIBUTABLE: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
/// The same, gzip.
pub const OCI_NONDISTRIBUTABLE_GZIP: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
/// The two bytes `{}`, a config for things that have none.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// What we ask a registry for, best first.
pub const ACCEPT_MANIFESTS: &[&str] =
    &[OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST, DOCKER_SCHEMA1, DOCKER_SCHEMA1_UNSIGNED];

/// Drops parameters such as `; charset=utf-8`.
pub fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// Whether it names a manifest of one image.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(essence(media_type), DOCKER_MANIFEST | OCI_MANIFEST)
}

/// Whether it names an index of manifests.
pub fn is_index(media_type: &str) -> bool {
    matches!(essence(media_type), DOCKER_LIST | OCI_INDEX)
}

/// Whether it names Docker's schema 1.
pub fn is_schema1(media_type: &str) -> bool {
    matches!(essence(media_type), DOCKER_SCHEMA1 | DOCKER_SCHEMA1_UNSIGNED)
}

/// Whether it names an image config.
pub fn is_config(media_type: &str) -> bool {
    matches!(essence(media_type), DOCKER_CONFIG | OCI_CONFIG)
}

/// Whether it names a filesystem layer, of any compression.
pub fn is_layer(media_type: &str) -> bool {
    let media_type = essence(media_type);
    media_type.starts_with("application/vnd.oci.image.layer.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.")
}

/// Whether it names a layer that must not be pushed and whose bytes come from its `urls`.
pub fn is_foreign(media_type: &str) -> bool {
    let media_type = essence(media_type);
    media_type.starts_with(OCI_NONDISTRIBUTABLE)
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_do_not_matter() {
        assert!(is_manifest("application/vnd.oci.image.manifest.v1+json; charset=utf-8"));
        assert!(is_index(DOCKER_LIST) && !is_index(DOCKER_MANIFEST));
        assert!(is_foreign(DOCKER_FOREIGN_GZIP) && is_layer(DOCKER_FOREIGN_GZIP) && !is_foreign(OCI_LAYER));
    }
}
