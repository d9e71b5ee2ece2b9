//! Who we are, and to whom we say it.

use strata_registry::auth::{Credential, CredentialStore, LoggedIn};
use strata_registry::{Client, Error, Settings};
use strata_testkit::mock_registry::{Act, Door, MockRegistry};
use strata_types::{Silent, media};

use crate::support::{at, blob, client, manifest, read, settings, told};

fn password() -> Credential {
    Credential::Password { user: "me".to_owned(), password: "pa:ss".to_owned() }
}

/// A client that knows `credential` for the registry.
fn knowing(registry: &MockRegistry, credential: &Credential) -> (Client, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let credentials = CredentialStore::new(Some(dir.path().join("config.json")), Vec::new());
    credentials.save(&registry.host(), credential).unwrap();
    (Client::new(Settings { credentials, ..settings() }), dir)
}

fn closed(door: Door) -> MockRegistry {
    let registry = MockRegistry::start();
    registry.put_manifest("app", "1", media::OCI_MANIFEST, &manifest());
    registry.set_door(door);
    registry
}

fn mine() -> Option<(String, String)> {
    Some(("me".to_owned(), "pa:ss".to_owned()))
}

#[test]
fn a_token_is_fetched_once_and_used_for_all() {
    let registry = closed(Door::Bearer(None));
    let layer = blob(&registry, "app", b"12345");
    let client = client();
    client.resolve(&at(&registry, "app:1")).unwrap();
    assert_eq!(read(&client, &at(&registry, "app"), &layer, 0).unwrap(), b"12345");
    let tokens: Vec<_> = registry.seen().into_iter().filter(|seen| seen.target.starts_with("/token")).collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].target, "/token?service=mock&scope=repository%3Aapp%3Apull");
}

#[test]
fn a_password_buys_a_token_for_pushing() {
    let registry = closed(Door::Bearer(mine()));
    let (client, _dir) = knowing(&registry, &password());
    let layer = strata_types::Descriptor::of(media::OCI_LAYER, b"12345");
    let open = |_: u64| -> std::io::Result<Box<dyn std::io::Read + Send>> { Ok(Box::new(&b"12345"[..])) };
    client.push_blob(&at(&registry, "app"), &layer, &open, &Silent).unwrap();
    assert_eq!(registry.blob("app", &layer.digest).as_deref(), Some(&b"12345"[..]));
    let scope = "scope=repository%3Aapp%3Apull%2Cpush";
    assert_eq!(registry.count("GET", scope), 1);
}

#[test]
fn a_basic_door_opens_with_the_password() {
    let registry = closed(Door::Basic("me".to_owned(), "pa:ss".to_owned()));
    let (knowing, _dir) = knowing(&registry, &password());
    knowing.resolve(&at(&registry, "app:1")).unwrap();
    let error = client().resolve(&at(&registry, "app:1")).unwrap_err();
    assert!(told(&error).ends_with("unauthorized: authentication required"), "{}", told(&error));
    assert!(matches!(error, Error::PullDenied { .. }));
}

#[test]
fn a_wrong_password_is_told() {
    let registry = closed(Door::Bearer(mine()));
    let wrong = Credential::Password { user: "me".to_owned(), password: "no".to_owned() };
    let error = client().login(&registry.host(), &wrong).unwrap_err();
    let expected = format!("login to {} was refused: unauthorized: incorrect username or password", registry.host());
    assert_eq!(told(&error), expected);
    let (client, _dir) = knowing(&registry, &wrong);
    let error = client.resolve(&at(&registry, "app:1")).unwrap_err();
    assert!(told(&error).ends_with("unauthorized: incorrect username or password"), "{}", told(&error));
}

#[test]
fn a_login_keeps_an_identity_token_where_there_is_one() {
    let registry = closed(Door::Bearer(mine()));
    let kept = client().login(&registry.host(), &password()).unwrap();
    let token = Credential::IdentityToken { user: "me".to_owned(), token: "fresh".to_owned() };
    assert_eq!(kept, LoggedIn { credential: token.clone() });
    let (client, _dir) = knowing(&registry, &token);
    client.resolve(&at(&registry, "app:1")).unwrap();
    let registry = closed(Door::Basic("me".to_owned(), "pa:ss".to_owned()));
    assert_eq!(self::client().login(&registry.host(), &password()).unwrap().credential, password());
}

#[test]
fn an_expired_token_is_replaced() {
    let registry = closed(Door::Bearer(None));
    let client = client();
    client.resolve(&at(&registry, "app:1")).unwrap();
    let stale = vec![("WWW-Authenticate".to_owned(), format!("Bearer realm=\"http://{}/token\"", registry.host()))];
    registry.rule("GET", "/manifests/", 1, Act::Answer(401, stale, String::new()));
    client.resolve(&at(&registry, "app:1")).unwrap();
    assert_eq!(registry.count("GET", "/token"), 2);
}

#[test]
fn a_redirect_to_another_host_does_not_learn_who_we_are() {
    let registry = closed(Door::Basic("me".to_owned(), "pa:ss".to_owned()));
    let elsewhere = MockRegistry::start();
    let layer = blob(&elsewhere, "app", b"12345");
    let target = format!("http://{}/v2/app/blobs/{}", elsewhere.host(), layer.digest);
    registry.set_door(Door::Open);
    registry.rule("GET", "/blobs/", 9, Act::Answer(307, vec![("Location".to_owned(), target)], String::new()));
    let challenge = vec![("WWW-Authenticate".to_owned(), "Basic realm=\"x\"".to_owned())];
    registry.rule("GET", "/manifests/", 1, Act::Answer(401, challenge, String::new()));
    let (client, _dir) = knowing(&registry, &password());
    client.resolve(&at(&registry, "app:1")).unwrap();
    assert_eq!(read(&client, &at(&registry, "app"), &layer, 0).unwrap(), b"12345");
    let shown = |registry: &MockRegistry| registry.seen().iter().any(|seen| seen.header("authorization").is_some());
    assert!(shown(&registry) && !shown(&elsewhere));
    assert_eq!(elsewhere.seen().len(), 1);
}

#[test]
fn redirects_end_somewhere() {
    let registry = MockRegistry::start();
    let around = vec![("Location".to_owned(), "/v2/app/manifests/1".to_owned())];
    registry.rule("GET", "/manifests/", 99, Act::Answer(302, around, String::new()));
    let error = client().resolve(&at(&registry, "app:1")).unwrap_err();
    assert!(told(&error).contains("redirects"), "{}", told(&error));
}

#[test]
fn debug_output_has_no_secrets() {
    let registry = closed(Door::Basic("me".to_owned(), "pa:ss".to_owned()));
    let (client, _dir) = knowing(&registry, &password());
    client.resolve(&at(&registry, "app:1")).unwrap();
    let text = format!("{client:?}");
    assert!(!text.contains("pa:ss") && !text.contains("bWU6cGE6c3M"), "{text}");
}

#[test]
fn helpers_are_programs_on_the_path_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.json");
    let store = CredentialStore::new(Some(config.clone()), Vec::new());
    std::fs::write(&config, r#"{"credsStore":"../evil"}"#).unwrap();
    assert!(store.find("x", "y").unwrap_err().to_string().contains("not the name of a program"));
    std::fs::write(&config, r#"{"credHelpers":{"x":"strata-absent"}}"#).unwrap();
    assert!(store.find("x", "y").unwrap_err().to_string().starts_with("cannot run docker-credential-strata-absent"));
    assert_eq!(store.find("z", "y").unwrap(), None);
}
