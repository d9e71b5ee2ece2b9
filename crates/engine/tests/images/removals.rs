use strata_engine::image::{ImportWish, Removal, RemoveWish};
use strata_testkit::tar::Tar;
use strata_testkit::{host, need};
use strata_types::{ImageId, Silent};

use crate::support::{Fixture, sentence};

const GENTLE: RemoveWish = RemoveWish { force: false, prune: true };

fn import(fixture: &Fixture, name: &str) -> ImageId {
    let tar = Tar::new().file("x", 0o644, b"x").finish();
    let wish = ImportWish { name: Some(name.parse().unwrap()), ..ImportWish::default() };
    fixture.engine.import(&mut &tar[..], &wish, &Silent).unwrap()
}

#[test]
fn the_last_name_takes_the_image_with_it() {
    need!(host::root());
    let fixture = Fixture::new();
    let id = import(&fixture, "a:1");
    fixture.engine.tag("a:1", &"b:2".parse().unwrap()).unwrap();
    let first = fixture.engine.remove_image("a:1", GENTLE, &Silent).unwrap();
    assert_eq!(first, [Removal::Untagged("a:1".to_owned())]);
    let last = fixture.engine.remove_image("b:2", GENTLE, &Silent).unwrap();
    assert_eq!(last[..2], [Removal::Untagged("b:2".to_owned()), Removal::Image(id)]);
    assert!(matches!(last[2], Removal::Layer(_)) && last.len() == 3, "{last:?}");
    assert_eq!(fixture.content(), Vec::<String>::new());
}

#[test]
fn by_id_only_what_has_one_name_goes() {
    need!(host::root());
    let fixture = Fixture::new();
    let id = import(&fixture, "a:1");
    fixture.engine.tag("a:1", &"b:2".parse().unwrap()).unwrap();
    let error = fixture.engine.remove_image(id.short(), GENTLE, &Silent).unwrap_err();
    let expected = "(must be forced) - image is referenced in multiple repositories";
    assert_eq!(error.to_string(), format!("conflict: unable to delete {} {expected}", id.short()));
    fixture.engine.remove_image("a:1", GENTLE, &Silent).unwrap();
    fixture.engine.remove_image(id.hex(), GENTLE, &Silent).unwrap();
    assert_eq!(fixture.engine.images(&Default::default()).unwrap(), []);
}

#[test]
fn what_is_not_there_is_said_so() {
    need!(host::root());
    let fixture = Fixture::new();
    let error = fixture.engine.remove_image("nosuch", GENTLE, &Silent).unwrap_err();
    assert_eq!(error.to_string(), "No such image: nosuch:latest");
    let error = fixture.engine.remove_image("NoSuch", GENTLE, &Silent).unwrap_err();
    let text = sentence(&error);
    assert!(text.contains("must be lowercase"), "{text}");
}
