//! What `--mount` takes and refuses; the refusals are Docker 26's words.

use super::*;

fn refused(text: &str, sentence: &str) {
    let error =
        parse(text).and_then(Written::read).and_then(|mount| mount.resolved(Path::new("/here"))).expect_err(text);
    assert_eq!(error.to_string(), sentence, "{text}");
}

#[test]
fn the_four_kinds_parse() {
    let bind = parse("type=bind,src=./a,target=/x,ro,bind-propagation=rslave").unwrap().read().unwrap();
    let bind = bind.resolved(Path::new("/here")).unwrap();
    let expected = Bind {
        path: PathBuf::from("/here/a"),
        propagation: Some(Propagation::RecursiveSlave),
        recursive: Recursive::Enabled,
        create: false,
    };
    assert_eq!(bind, Mount { target: "/x".into(), read_only: true, source: Source::Bind(expected) });

    let volume = parse("source=data,dst=/d,volume-nocopy,volume-label=a=b").unwrap().read().unwrap();
    let expected =
        Volume { name: Some("data".into()), empty: true, labels: vec![("a".into(), "b".into())], ..Volume::default() };
    assert_eq!(volume.source, Source::Volume(expected));

    let tmpfs = parse("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700").unwrap().read().unwrap();
    let expected = Tmpfs { size_bytes: Some(1 << 20), mode: Some(0o700), options: Vec::new() };
    assert_eq!(tmpfs.source, Source::Tmpfs(expected));

    let image = parse("type=image,source=debian,target=/i,image-subpath=etc").unwrap().read().unwrap();
    assert_eq!(image.source, Source::Image { image: "debian".into(), subpath: Some("etc".into()) });
}

#[test]
fn a_quoted_field_may_hold_a_comma() {
    let Source::Bind(bind) = parse(r#"type=bind,"src=/t,mp",target=/x"#).unwrap().read().unwrap().source else {
        panic!("a bind")
    };
    assert_eq!(bind.path, Path::new("/t,mp"));
}

#[test]
fn refusals_are_dockers_words() {
    let config = |kind: &str, cause: &str| format!("invalid mount config for type {kind:?}: {cause}");
    refused("", "EOF");
    refused("foo", "invalid field 'foo' must be a key=value pair");
    refused("a=b", "unexpected key 'a' in 'a=b'");
    refused("type=foo,target=/x", &config("foo", "mount type unknown"));
    refused("type=bind,target=/x", &config("bind", "field Source must not be empty"));
    refused("type=bind,src=/tmp", "target is required");
    refused("type=tmpfs,target=/x,tmpfs-size=zz", "invalid value for tmpfs-size: zz");
    refused("type=tmpfs,target=/x,tmpfs-mode=9", "invalid value for tmpfs-mode: 9");
    refused("target=/x,bind-propagation=shared", "cannot mix 'bind-*' options with mount type 'volume'");
    refused("type=bind,src=/tmp,target=/x,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'");
    refused("type=bind,src=/tmp,target=/x,bind-propagation=zz", &config("bind", "invalid propagation mode: zz"));
    refused("type=bind,src=/tmp,target=/x,ro=maybe", "invalid value for ro: maybe");
    refused("type=bind,src=/tmp,target=x", &config("bind", "invalid mount path: 'x' mount path must be absolute"));
    refused("type=bind,src=/tmp,target=/", &config("bind", "invalid specification: destination can't be '/'"));
    refused("type=bind,src=/tmp,target=/a/../.", &config("bind", "invalid specification: destination can't be '/'"));
    refused("type=bind,src=rel,target=/x", &config("bind", "invalid mount path: 'rel' mount path must be absolute"));
    refused("type=tmpfs,src=/a,target=/x", &config("tmpfs", "field Source must not be specified"));
    refused("target=/x,ro", &config("volume", "must not set ReadOnly mode when using anonymous volumes"));
    refused(r#"type=bind,a"b=c"#, "parse error on line 1, column 12: bare \" in non-quoted-field");
    refused(
        "type=bind,src=/tmp,target=/x,bind-recursive=foo",
        r#"invalid value for bind-recursive: foo (must be "enabled", "disabled", "writable", or "readonly")"#,
    );
    refused(
        "type=bind,src=/tmp,target=/x,bind-recursive=readonly",
        "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction",
    );
    refused(
        "src=a/b,target=/x",
        r#"create a/b: "a/b" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path"#,
    );
}
