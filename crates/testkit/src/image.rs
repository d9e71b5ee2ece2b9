//! An image maker: layers and a config become an OCI layout or a Docker archive.

use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use strata_types::Digest;

use crate::host;
use crate::tar::Tar;

/// How a layer's tar is stored in an OCI layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    Plain,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// An image in the making.
#[derive(Debug, Clone)]
pub struct Image {
    layers: Vec<(Vec<u8>, Compression)>,
    /// The config document; `rootfs` is filled in when the image is written.
    pub config: Value,
    /// Whether documents have Docker's media types rather than OCI's.
    pub docker: bool,
}

impl Image {
    /// No layers, Linux on amd64, a fixed date.
    pub fn new() -> Self {
        let config = json!({
            "created": "2024-01-02T03:04:05.678901234Z", "architecture": "amd64", "os": "linux",
            "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": []},
            "history": [],
        });
        Self { layers: Vec::new(), config, docker: false }
    }

    /// A root filesystem with the host's static busybox as every command, and `/etc/passwd`.
    ///
    /// Needs `host::program("busybox")`.
    pub fn busybox() -> Self {
        let program = std::fs::read(host::find_program("busybox").unwrap()).unwrap();
        let mut tar = Tar::new();
        for dir in ["bin/", "dev/", "etc/", "home/", "proc/", "root/", "sys/", "tmp/", "usr/", "usr/bin/", "var/"] {
            tar = tar.dir(dir);
        }
        tar = tar.file("bin/busybox", 0o755, &program);
        let applets = std::process::Command::new("busybox").arg("--list").output().unwrap().stdout;
        for applet in String::from_utf8(applets).unwrap().lines().filter(|name| *name != "busybox") {
            tar = tar.hardlink(&format!("bin/{applet}"), "bin/busybox");
        }
        tar = tar
            .file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
            .file("etc/group", 0o644, b"root:x:0:\nuser:x:1000:\nwheel:x:10:user\n");
        let mut image = Self::new().layer(tar.finish(), Compression::Gzip);
        image.config["config"]["Cmd"] = json!(["sh"]);
        image
    }

    /// One layer with these files, `(name, kilobytes)`. What two such images have under one name is the same.
    pub fn of_files(name: &str, files: &[(&str, usize)]) -> Self {
        let content = |name: &str, kilobytes: usize| -> Vec<u8> {
            let lines = (0..kilobytes * 64).map(|line| format!("{name:.6} {line:8}\n"));
            lines.flat_map(|line| line.into_bytes()).collect()
        };
        let layer = Tar::new().file("name", 0o644, name.as_bytes());
        let put = |tar: Tar, (name, kilobytes): &(&str, usize)| tar.file(name, 0o644, &content(name, *kilobytes));
        Self::new().layer(files.iter().fold(layer, put).finish(), Compression::Plain)
    }

    /// Adds a layer on top.
    #[must_use]
    pub fn layer(mut self, tar: Vec<u8>, compression: Compression) -> Self {
        let diff_id = Digest::sha256(&tar).to_string();
        self.config["rootfs"]["diff_ids"].as_array_mut().unwrap().push(json!(diff_id));
        let entry = json!({"created": "2024-01-02T03:04:05Z", "created_by": format!("layer {}", self.layers.len())});
        self.config["history"].as_array_mut().unwrap().push(entry);
        self.layers.push((tar, compression));
        self
    }

    /// Sets a field of the container configuration, such as `Cmd`.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.config["config"][field] = value;
        self
    }

    /// The config document's bytes: their digest is the image id.
    pub fn config_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.config).unwrap()
    }

    /// Writes an OCI layout directory with one image called `name`, and gives the manifest's digest.
    pub fn write_layout(&self, dir: &Path, name: &str) -> Digest {
        let blobs = dir.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        let put = |bytes: &[u8]| {
            let digest = Digest::sha256(bytes);
            std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
            digest
        };
        let manifest = self.manifest(&put);
        let digest = put(&manifest);
        let media_type = if self.docker { DOCKER_MANIFEST } else { OCI_MANIFEST };
        let index = json!({"schemaVersion": 2, "manifests": [{
            "mediaType": media_type, "digest": digest, "size": manifest.len(),
            "annotations": {"org.opencontainers.image.ref.name": name},
        }]});
        std::fs::write(dir.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
        std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        digest
    }

    /// Stores the blobs by `put` and gives the manifest's bytes.
    pub fn manifest(&self, put: &dyn Fn(&[u8]) -> Digest) -> Vec<u8> {
        let layers: Vec<Value> =
            self.layers.iter().map(|(tar, compression)| self.descriptor(tar, *compression, put)).collect();
        let config = self.config_bytes();
        let (manifest_type, config_type) =
            if self.docker { (DOCKER_MANIFEST, DOCKER_CONFIG) } else { (OCI_MANIFEST, OCI_CONFIG) };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": manifest_type,
            "config": {"mediaType": config_type, "digest": put(&config), "size": config.len()},
            "layers": layers,
        });
        serde_json::to_vec(&manifest).unwrap()
    }

    fn descriptor(&self, tar: &[u8], compression: Compression, put: &dyn Fn(&[u8]) -> Digest) -> Value {
        let (blob, suffix) = match compression {
            Compression::Plain => (tar.to_vec(), ""),
            Compression::Gzip => {
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(tar).unwrap();
                (gzip.finish().unwrap(), "gzip")
            }
            Compression::Zstd => (zstd::encode_all(tar, 1).unwrap(), "zstd"),
        };
        let media_type = match (self.docker, suffix) {
            (true, "") => "application/vnd.docker.image.rootfs.diff.tar".to_owned(),
            (true, suffix) => format!("application/vnd.docker.image.rootfs.diff.tar.{suffix}"),
            (false, "") => "application/vnd.oci.image.layer.v1.tar".to_owned(),
            (false, suffix) => format!("application/vnd.oci.image.layer.v1.tar+{suffix}"),
        };
        json!({"mediaType": media_type, "digest": put(&blob), "size": blob.len()})
    }

    /// The bytes of an archive as `docker save` wrote it before it used the OCI layout, tagged `name`.
    pub fn docker_archive(&self, name: &str) -> Vec<u8> {
        let config = self.config_bytes();
        let config_name = format!("{}.json", Digest::sha256(&config).hex());
        let mut tar = Tar::new().file(&config_name, 0o644, &config);
        let mut names = Vec::new();
        for (number, (layer, _)) in self.layers.iter().enumerate() {
            let file = format!("{number}/layer.tar");
            tar = tar.dir(&format!("{number}/")).file(&file, 0o644, layer);
            names.push(file);
        }
        let manifest = json!([{"Config": config_name, "RepoTags": [name], "Layers": names}]);
        tar.file("manifest.json", 0o644, &serde_json::to_vec(&manifest).unwrap()).finish()
    }
}

impl Default for Image {
    fn default() -> Self {
        Self::new()
    }
}

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
