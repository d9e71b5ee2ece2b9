use std::fs::File;
use std::io::{Seek as _, Write as _};

use strata_engine::image::{Archive, ImportWish, PullWish};
use strata_testkit::image::Image;
use strata_testkit::mock_registry::MockRegistry;
use strata_testkit::tar::Tar;
use strata_testkit::{host, need};
use strata_types::{Digest, Silent};

use crate::support::{Fixture, reference, sentence, serve, two_layers};

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn check_loads(archive: Archive<'_>, image: &Image, expected_names: &[&str]) {
    let fixture = Fixture::new();
    let loaded = fixture.engine.load(archive, "the archive", &[], &Silent).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].id.digest(), &Digest::sha256(&image.config_bytes()));
    let names: Vec<String> = loaded[0].names.iter().map(|name| name.familiar()).collect();
    assert_eq!(names, expected_names);
    assert_eq!(fixture.engine.check(false, &Silent).unwrap().findings, []);
}

fn check_refused(bytes: &[u8], expected: &str) {
    let fixture = Fixture::new();
    let error = fixture.engine.load(Archive::File(file(bytes)), "x.tar", &[], &Silent).unwrap_err();
    assert_eq!(sentence(&error), expected);
    assert_eq!(fixture.content(), Vec::<String>::new());
}

#[test]
fn dockers_old_archives_load_compressed_or_not() {
    need!(host::root());
    let image = two_layers();
    let archive = image.docker_archive("web:1");
    check_loads(Archive::File(file(&archive)), &image, &["web:1"]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&archive).unwrap();
    check_loads(Archive::File(file(&gzip.finish().unwrap())), &image, &["web:1"]);
    check_loads(Archive::File(file(&zstd::encode_all(&archive[..], 1).unwrap())), &image, &["web:1"]);
}

#[test]
fn layout_directories_load() {
    need!(host::root());
    let image = two_layers();
    let dir = tempfile::tempdir().unwrap();
    image.write_layout(dir.path(), "web:2");
    check_loads(Archive::Dir(dir.path()), &image, &["web:2"]);
}

#[test]
fn what_is_saved_loads_again() {
    need!(host::root());
    let fixture = Fixture::new();
    let registry = MockRegistry::start();
    let image = two_layers();
    serve(&registry, &image, "a");
    let name = reference(&registry, "a");
    fixture.engine.pull(&name, &PullWish::default(), &Silent).unwrap();
    let mut archive = Vec::new();
    fixture.engine.save(&[name.familiar()], &[], &mut archive, &Silent).unwrap();
    check_loads(Archive::File(file(&archive)), &image, &[&name.familiar()]);
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            writer.write_all(&archive).unwrap();
            drop(writer);
        });
        let pipe = File::from(std::os::fd::OwnedFd::from(reader));
        check_loads(Archive::File(pipe), &image, &[&name.familiar()]);
    });
}

#[test]
fn what_is_no_archive_is_refused_in_words() {
    need!(host::root());
    check_refused(&[b'x'; 2000], "x.tar is not an image archive: it is not a tar");
    check_refused(&Tar::new().finish(), "x.tar is not an image archive: it has neither manifest.json nor index.json");
    let missing = Tar::new().file("manifest.json", 0o644, br#"[{"Config":"c.json","Layers":[]}]"#).finish();
    check_refused(&missing, "x.tar is not an image archive: its config c.json is missing");
}

#[test]
fn a_damaged_layer_in_an_archive_is_refused() {
    need!(host::root());
    let fixture = Fixture::new();
    let mut archive = two_layers().docker_archive("web:1");
    let at = archive.windows(5).position(|window| window == b"lower").unwrap();
    archive[at] = b'L';
    let error = fixture.engine.load(Archive::File(file(&archive)), "x.tar", &[], &Silent).unwrap_err();
    assert!(sentence(&error).contains("expected sha256:"), "{}", sentence(&error));
    assert_eq!(fixture.engine.images(&Default::default()).unwrap(), []);
}

#[test]
fn a_root_filesystem_becomes_an_image() {
    need!(host::root());
    let fixture = Fixture::new();
    let tar = Tar::new().dir("bin/").file("bin/sh", 0o755, b"#!").finish();
    let wish = ImportWish {
        name: Some("base".parse().unwrap()),
        changes: vec!["CMD [\"sh\"]".parse().unwrap()],
        source: "-".to_owned(),
        ..ImportWish::default()
    };
    let id = fixture.engine.import(&mut &tar[..], &wish, &Silent).unwrap();
    let inspected = fixture.engine.inspect_image("base").unwrap();
    assert_eq!(inspected.id, id.to_string());
    assert_eq!(inspected.root_fs.layers, [Digest::sha256(&tar).to_string()]);
    assert_eq!(inspected.comment, "Imported from -");
    assert_eq!(inspected.config["Cmd"][0], "sh");
    let steps = fixture.engine.history("base").unwrap();
    assert_eq!((steps.len(), steps[0].size_bytes, steps[0].id.as_ref()), (1, 2, Some(&id)));
}
