//! `build --provenance --sbom`: what is attested of images, in BuildKit's form.

use std::collections::BTreeSet;

use serde_json::Value;
use strata_testkit::registry::Registry;
use strata_testkit::{Machine, host, need};
use strata_types::Digest;

/// Reads a JSON document of the unpacked archive.
fn document(machine: &Machine, path: &str) -> Value {
    let text = std::fs::read(machine.dir().join("archive").join(path)).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn blob(machine: &Machine, digest: &Value) -> Value {
    document(machine, &format!("blobs/{}", digest.as_str().unwrap().replace(':', "/")))
}

/// Builds with the context `ctx` into an archive that is unpacked, and gives the index of the image.
fn built(machine: &Machine, dockerfile: &str, options: &[&str]) -> Value {
    std::fs::create_dir_all(machine.dir().join("ctx")).unwrap();
    std::fs::write(machine.dir().join("ctx/Dockerfile"), dockerfile).unwrap();
    let words = ["build", "--network", "none", "-t", "app:1", "-o", "type=oci,dest=app.tar"];
    let mut command = machine.strata_command(words.iter().chain(options).chain(&["ctx"]));
    command.env("TOKEN", "top-secret-value").env("SOURCE_DATE_EPOCH", "1700000000");
    let ran = strata_testkit::machine::Ran::from(command.output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.err);
    machine.sh("rm -rf archive && mkdir archive && tar -C archive -xf app.tar").ok();
    let top = document(machine, "index.json");
    blob(machine, &top["manifests"][0]["digest"])
}

/// The statements of an attestation, by predicate type.
fn statement(machine: &Machine, attestation: &Value, kind: &str) -> Value {
    let manifest = blob(machine, &attestation["digest"]);
    let layer = manifest["layers"].as_array().unwrap().iter();
    let layer = layer.clone().find(|layer| layer["annotations"]["in-toto.io/predicate-type"] == kind);
    let layer = layer.unwrap_or_else(|| panic!("no statement {kind} in {manifest}"));
    assert_eq!(layer["mediaType"], "application/vnd.in-toto+json");
    let statement = blob(machine, &layer["digest"]);
    assert_eq!(
        (&statement["predicateType"], &statement["_type"]),
        (&kind.into(), &"https://in-toto.io/Statement/v0.1".into())
    );
    statement
}

#[test]
fn provenance_says_how_and_no_secret_is_in_it() {
    need!(host::root(), host::program("busybox"), host::program("tar"));
    let machine = super::machine();
    let base = strata_testkit::image::Image::busybox().docker_archive("base:1");
    machine.strata_with_input(["load"], &base).ok();
    let options = [
        "--platform",
        "linux/amd64,linux/arm64",
        "--provenance",
        "mode=max",
        "--secret",
        "id=token,env=TOKEN",
        "--build-arg",
        "COLOUR=green",
        "--build-arg",
        "PASSWORD=hunter22",
    ];
    let file = "FROM --platform=$BUILDPLATFORM base:1 AS tool\nRUN --mount=type=secret,id=token cat /run/secrets/token | wc -c > /out\n\
                FROM scratch\nARG COLOUR\nCOPY --from=tool /out /out\n";
    let index = built(&machine, file, &options);
    let entries = index["manifests"].as_array().unwrap();
    assert_eq!(entries.len(), 4, "{index}");
    for (image, attestation) in entries[..2].iter().zip(&entries[2..]) {
        assert_eq!(attestation["platform"], serde_json::json!({"architecture": "unknown", "os": "unknown"}));
        let notes = &attestation["annotations"];
        assert_eq!(notes["vnd.docker.reference.type"], "attestation-manifest");
        assert_eq!(notes["vnd.docker.reference.digest"], image["digest"]);
        let said = statement(&machine, attestation, "https://slsa.dev/provenance/v1");
        let digest = image["digest"].as_str().unwrap().trim_start_matches("sha256:");
        assert_eq!(said["subject"][0]["digest"]["sha256"], digest);
        let platform = format!("linux%2F{}", image["platform"]["architecture"].as_str().unwrap());
        assert_eq!(said["subject"][0]["name"], format!("pkg:docker/app@1?platform={platform}"));
        let how = &said["predicate"]["buildDefinition"];
        assert_eq!(how["internalParameters"]["builderPlatform"], "linux/amd64");
        let parameters = &how["externalParameters"];
        assert_eq!(parameters["buildArgs"], serde_json::json!({"COLOUR": "green", "PASSWORD": "*****"}));
        assert_eq!(parameters["secrets"], serde_json::json!([{"id": "token"}]));
        assert_eq!(parameters["dockerfile"], file);
        assert_eq!(how["resolvedDependencies"][0]["uri"], "pkg:docker/base@1?platform=linux%2Famd64");
        assert_eq!(said["predicate"]["runDetails"]["metadata"]["startedOn"], "2023-11-14T22:13:20Z");
    }
    // Nowhere: not in the archive, not in the store.
    let leaks = machine.sh("grep -rlE 'top-secret-value|hunter22' archive store | grep -v '/layers/'").out;
    assert_eq!(leaks, "");
    // The same again is the same, and without detail the request is not told.
    assert_eq!(built(&machine, file, &options), index);
    let index = built(&machine, file, &["--provenance=true"]);
    let said = statement(&machine, &index["manifests"][1], "https://slsa.dev/provenance/v1");
    let parameters = &said["predicate"]["buildDefinition"]["externalParameters"];
    assert_eq!(parameters.as_object().unwrap().keys().collect::<Vec<_>>(), ["configSource", "platform"]);
}

#[test]
fn an_sbom_lists_what_dpkg_lists_and_others() {
    need!(host::root(), host::program("busybox"), host::program("dpkg-query"), host::program("objcopy"));
    let machine = Machine::isolated();
    let crates = r#"{"packages":[{"name":"app","version":"0.1.0","root":true},{"name":"serde","version":"1.0.2"},
                     {"name":"cc","version":"1.1.0","kind":"build"}]}"#;
    std::fs::create_dir_all(machine.dir().join("ctx")).unwrap();
    std::fs::write(machine.dir().join("ctx/list"), crates).unwrap();
    machine
        .sh("cd ctx && cp /var/lib/dpkg/status . && cp /etc/os-release . && mkdir -p py/a-1.dist-info js/node_modules/@s/p && \
             printf 'Name: A_b\\nVersion: 1.5\\n\\n' > py/a-1.dist-info/METADATA && \
             echo '{\"name\": \"@s/p\", \"version\": \"2.0.0\"}' > js/node_modules/@s/p/package.json && \
             python3 -c 'import zlib; open(\"packed\", \"wb\").write(zlib.compress(open(\"list\", \"rb\").read()))' && \
             objcopy --add-section .dep-v0=packed /bin/busybox tool && chmod 755 tool")
        .ok();
    let file = "FROM scratch\nCOPY status /var/lib/dpkg/status\nCOPY os-release /etc/os-release\nCOPY py /usr/lib/python3\n\
                COPY js /srv\nCOPY tool /usr/bin/tool\n";
    let index = built(&machine, file, &["--sbom=true"]);
    let said = statement(&machine, &index["manifests"][1], "https://spdx.dev/Document");
    let sbom = &said["predicate"];
    assert_eq!((&sbom["spdxVersion"], &sbom["SPDXID"]), (&"SPDX-2.3".into(), &"SPDXRef-DOCUMENT".into()));
    let packages = sbom["packages"].as_array().unwrap();
    let locators: BTreeSet<&str> =
        packages.iter().filter_map(|package| package["externalRefs"][0]["referenceLocator"].as_str()).collect();
    let debian = |locator: &&&str| locator.starts_with("pkg:deb/debian/");
    let expected =
        "dpkg-query -W -f '${db:Status-Status} ${Package} ${Version} ${Architecture}\\n' | grep '^installed '";
    let expected = machine.sh(expected).ok();
    let from_sbom: BTreeSet<String> = packages
        .iter()
        .filter(|package| package["externalRefs"][0]["referenceLocator"].as_str().is_some_and(|url| debian(&&url)))
        .map(|package| {
            let url = package["externalRefs"][0]["referenceLocator"].as_str().unwrap();
            let architecture = url.split("arch=").nth(1).unwrap().split('&').next().unwrap();
            format!(
                "installed {} {} {architecture}",
                package["name"].as_str().unwrap(),
                package["versionInfo"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(from_sbom, expected.lines().map(str::to_owned).collect());
    for url in ["pkg:pypi/a-b@1.5", "pkg:npm/%40s/p@2.0.0", "pkg:cargo/app@0.1.0", "pkg:cargo/serde@1.0.2"] {
        assert!(locators.contains(url), "{url}");
    }
    assert!(!locators.iter().any(|url| url.contains("/cc@")));
    // Each has an id of its own, and belongs to the image.
    let ids: BTreeSet<&str> = packages.iter().map(|package| package["SPDXID"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), packages.len());
    assert_eq!(sbom["relationships"].as_array().unwrap().len(), packages.len());
}

#[test]
fn an_sbom_lists_what_rpm_lists() {
    need!(host::root(), host::program("rpmbuild"), host::program("tar"));
    let machine = Machine::isolated();
    let spec = |name: &str, more: &str| {
        format!(
            "Name: {name}\nVersion: 1.2~rc1\nRelease: 3.el9\nSummary: x\nLicense: MIT\n{more}\n%description\nx\n%files\n"
        )
    };
    let ctx = machine.dir().join("ctx");
    std::fs::create_dir_all(&ctx).unwrap();
    std::fs::write(machine.dir().join("one.spec"), spec("one", "BuildArch: noarch")).unwrap();
    std::fs::write(machine.dir().join("two.spec"), spec("two-libs++", "Epoch: 7\nProvides: one = 9")).unwrap();
    let release = "ID=fedora\nVERSION_ID=41\n";
    std::fs::write(ctx.join("os-release"), release).unwrap();
    // Where Fedora has it, and where others do.
    for place in ["usr/lib/sysimage/rpm", "var/lib/rpm"] {
        let rpm = format!("rpm --root $PWD/ctx/root --define '_dbpath /{place}' --define '_db_backend sqlite'");
        machine
            .sh(&format!(
                "set -e; rm -rf ctx/root; mkdir -p ctx/root; \
                 rpmbuild --quiet --define \"_topdir $PWD/rpm\" -bb one.spec two.spec > log 2>&1 || {{ cat log; exit 1; }}; \
                 {rpm} --initdb; {rpm} -i --nodeps --noscripts --ignorearch rpm/RPMS/*/*.rpm"
            ))
            .ok();
        let listed = machine
            .sh(&format!("{rpm} -qa --qf '%{{NAME}} %|EPOCH?{{%{{EPOCH}}:}}|%{{VERSION}}-%{{RELEASE}} %{{ARCH}}\\n'"));
        let expected: BTreeSet<String> = listed.ok().lines().map(str::to_owned).collect();
        assert_eq!(expected.len(), 2, "{expected:?}");
        let file = "FROM scratch\nCOPY os-release /etc/os-release\nCOPY root /\n";
        let index = built(&machine, file, &["--sbom=true"]);
        let said = statement(&machine, &index["manifests"][1], "https://spdx.dev/Document");
        let packages = said["predicate"]["packages"].as_array().unwrap().iter();
        let found = packages.filter_map(|package| {
            let url = package["externalRefs"][0]["referenceLocator"].as_str()?;
            let architecture = url.strip_prefix("pkg:rpm/fedora/")?.split("arch=").nth(1)?.split('&').next()?;
            Some(format!("{} {} {architecture}", package["name"].as_str()?, package["versionInfo"].as_str()?))
        });
        assert_eq!(found.collect::<BTreeSet<_>>(), expected, "{place}");
    }
}

#[test]
fn attestations_are_pushed_beside_the_image_and_in_nobodys_way() {
    need!(
        host::root(),
        host::program("busybox"),
        host::program("docker-registry"),
        host::program("skopeo"),
        host::program("docker")
    );
    let machine = Machine::isolated();
    let registry = Registry::start_in(&machine);
    let name = format!("{}/app:1", registry.host());
    std::fs::create_dir_all(machine.dir().join("ctx")).unwrap();
    std::fs::write(machine.dir().join("ctx/Dockerfile"), "FROM scratch\nCOPY Dockerfile /\n").unwrap();
    machine.strata(["build", "-q", "-t", &name, "--provenance=true", "--sbom=true", "ctx"]).ok();
    // What is attested stays with the image until it is pushed, under other names too.
    machine.strata(["system", "prune", "-f"]).ok();
    machine.strata(["tag", &name, &format!("{name}-b")]).ok();
    machine.strata(["rmi", &name]).ok();
    machine.strata(["check"]).ok();
    let name = format!("{name}-b");
    machine.strata(["push", "-q", &name]).ok();
    let raw = machine.sh(&format!("skopeo inspect --raw --tls-verify=false docker://{name}")).ok();
    let index: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2, "{index}");
    let attestation = &index["manifests"][1];
    let digest = attestation["digest"].as_str().unwrap();
    let repository = name.rsplit_once(':').unwrap().0;
    let raw = machine.sh(&format!("skopeo inspect --raw --tls-verify=false docker://{repository}@{digest}")).ok();
    assert_eq!(Digest::sha256(raw.as_bytes()).to_string(), digest);
    let manifest: Value = serde_json::from_str(&raw).unwrap();
    let kinds: Vec<&Value> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| &layer["annotations"]["in-toto.io/predicate-type"])
        .collect();
    assert_eq!(kinds, ["https://spdx.dev/Document", "https://slsa.dev/provenance/v1"]);
    let docker = machine.sh(&format!("docker manifest inspect --insecure {name}")).ok();
    assert!(docker.contains("\"architecture\": \"unknown\""), "{docker}");
    machine.sh(&format!("skopeo --insecure-policy copy -q --src-tls-verify=false docker://{name} dir:copied")).ok();
    machine.strata(["rmi", "-f", &name]).ok();
    assert!(machine.strata(["pull", &name]).ok().contains("Downloaded newer image"));
    // It comes along, and goes along.
    let tree = machine.strata(["images", "--tree"]).ok();
    assert!(tree.contains("└─ linux/amd64 (sbom, provenance) "), "{tree}");
    machine.strata(["tag", &name, &format!("{repository}:c")]).ok();
    machine.strata(["push", "-q", &format!("{repository}:c")]).ok();
    let pushed = machine.sh(&format!("skopeo inspect --raw --tls-verify=false docker://{repository}:c")).ok();
    assert_eq!(serde_json::from_str::<Value>(&pushed).unwrap(), index);
}

#[test]
fn files_have_what_is_attested_of_them_beside_them() {
    need!(host::root(), host::program("tar"));
    let machine = Machine::isolated();
    std::fs::create_dir_all(machine.dir().join("ctx")).unwrap();
    std::fs::write(machine.dir().join("ctx/Dockerfile"), "FROM scratch\nCOPY Dockerfile /dir/\n").unwrap();
    let build = |options: &[&str]| {
        let mut command = machine.strata_command(["build", "-q"].iter().chain(options).chain(&["ctx"]));
        command.env("SOURCE_DATE_EPOCH", "1700000000");
        strata_testkit::machine::Ran::from(command.output().unwrap()).ok()
    };
    let attest = ["--provenance=true", "--sbom=true"];
    build(&[&attest[..], &["-o", "one"]].concat());
    let sum = machine.sh("sha256sum < ctx/Dockerfile | cut -d' ' -f1").ok();
    let read =
        |path: &str| -> Value { serde_json::from_slice(&std::fs::read(machine.dir().join(path)).unwrap()).unwrap() };
    let subject = serde_json::json!([{"name": "dir/Dockerfile", "digest": {"sha256": sum.trim()}}]);
    for (file, kind) in
        [("provenance.json", "https://slsa.dev/provenance/v1"), ("sbom.spdx.json", "https://spdx.dev/Document")]
    {
        let said = read(&format!("one/{file}"));
        assert_eq!((&said["predicateType"], &said["subject"]), (&kind.into(), &subject));
    }
    let listed = machine.sh("cd one && stat -c '%n %a %Y' *").ok();
    assert_eq!(listed, "dir 755 1700000000\nprovenance.json 600 1700000000\nsbom.spdx.json 600 1700000000\n");
    // A tar has the same, and each platform its own.
    build(&[&attest[..], &["-o", "type=tar,dest=one.tar"]].concat());
    machine.sh("mkdir tar && tar -C tar -xf one.tar && diff -r one tar").ok();
    build(&[&attest[..1], &["--platform", "linux/amd64,linux/arm64", "-o", "both"]].concat());
    for platform in ["amd64", "arm64"] {
        let said = read(&format!("both/linux_{platform}/provenance.json"));
        let parameters = &said["predicate"]["buildDefinition"]["externalParameters"];
        assert_eq!(parameters["platform"], format!("linux/{platform}"));
        assert_eq!(said["subject"], subject);
    }
    build(&["-o", "plain"]);
    assert_eq!(machine.sh("ls plain").ok(), "dir\n");
}
