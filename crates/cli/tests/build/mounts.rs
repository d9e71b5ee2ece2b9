//! `RUN --mount`: caches, binds, memory, secrets and agents, which are part of no layer.

use strata_testkit::machine::Ran;

use super::{build, inspect, machine, need_all, sh, write};

#[test]
fn a_cache_is_kept_between_builds_and_is_in_no_layer() {
    need_all!();
    let machine = machine(&[]);
    let file = "FROM base\nARG N\nRUN --mount=type=cache,target=/root/.cache/x,mode=700 echo $N >> /root/.cache/x/log; \
                stat -c %a /root/.cache/x; cat /root/.cache/x/log > /seen\n";
    for n in ["1", "2"] {
        let ran = build(&machine, file, &["-t", "app", "--build-arg", &format!("N={n}")]);
        assert!(ran.err.contains(" 700\n"), "{}", ran.err);
    }
    assert_eq!(sh(&machine, "app", "cat /seen; ls -A /root"), "1\n2\n");
    // Two at once: the one waits for the other.
    let user = |name: &str| {
        format!(
            "FROM base AS {name}\nRUN --mount=type=cache,id=c,target=/c,sharing=locked ! [ -e /c/in ] && touch /c/in && usleep 200000 && rm /c/in && touch /x\n"
        )
    };
    let file = format!("{}{}FROM base\nCOPY --from=a /x /a\nCOPY --from=b /x /b\n", user("a"), user("b"));
    assert_eq!(build(&machine, &file, &[]).code, 0);
    machine.strata(["builder", "prune", "-f"]).ok();
    assert_eq!(machine.sh("find store/build/caches -type f").ok(), "");
}

#[test]
fn files_of_the_context_and_of_stages_are_bound() {
    need_all!();
    let machine = machine(&[("dir/f", "file\n"), ("dir/hidden", "h\n"), (".dockerignore", "**/hidden\n")]);
    let file = r#"FROM base AS made
RUN mkdir /out && echo made > /out/m
FROM base
WORKDIR /w
RUN --mount=target=/all --mount=source=dir/f,target=one --mount=from=made,source=/out,target=/m \
    ls -R /all && cat /w/one /m/m && ! touch /all/x 2> /dev/null
RUN --mount=source=dir,target=/rw,rw echo changed > /rw/f && cat /rw/f
RUN --mount=type=tmpfs,target=/t,size=1m mount | grep ' /t ' && touch /t/x
"#;
    let ran = build(&machine, file, &["-t", "app"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.err.contains(" made\n") && ran.err.contains(" file\n") && ran.err.contains(" changed\n"),
        "{}",
        ran.err
    );
    assert!(!ran.err.contains("hidden") && ran.err.contains("size=1024k"), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(machine.dir().join("ctx/dir/f")).unwrap(), "file\n");
    // Nothing was changed but for the directory that WORKDIR made: the places of mounts are none of theirs.
    assert_eq!(inspect(&machine, "app", "{{len .RootFS.Layers}}"), "2");
    assert_eq!(build(&machine, file, &[]).err.matches(" CACHED").count(), 5);
    write(&machine, "dir/hidden", "other");
    assert_eq!(build(&machine, file, &[]).err.matches(" CACHED").count(), 5);
    write(&machine, "dir/f", "other\n");
    assert_eq!(build(&machine, file, &[]).err.matches(" CACHED").count(), 3);
}

#[test]
fn a_secret_is_in_no_layer_history_key_or_log() {
    need_all!();
    let machine = machine(&[]);
    std::fs::write(machine.dir().join("token"), "hunter2-file\n").unwrap();
    let file = r#"FROM base
RUN --mount=type=secret,id=token,required --mount=type=secret,id=VAR,env=TOKEN \
    stat -c '%a %u' /run/secrets/token && cat /run/secrets/token && echo "is $TOKEN" && wc -c < /run/secrets/token > /length
RUN --mount=type=secret,id=token,target=/etc/token,mode=444,uid=5,required stat -c '%a %u' /etc/token
RUN --mount=type=secret,id=absent ! [ -e /run/secrets/absent ]
"#;
    let mut command =
        machine.strata_command(["build", "--network", "none", "-t", "app", "--secret", "id=VAR", "--secret"]);
    command.args(["id=token,src=token", "-"]).env("VAR", "hunter2-variable");
    let ran = strata_testkit::machine::feed(command, file.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.err);
    for line in [" 400 0\n", " 444 5\n", " *****\n", " is *****\n"] {
        assert!(ran.err.contains(line), "{line}: {}", ran.err);
    }
    assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    assert_eq!(sh(&machine, "app", "cat /length; ls /etc/token /run/secrets 2> /dev/null; true"), "13\n");
    assert_eq!(machine.sh("grep -rl hunter2 store").out, "", "nowhere in the store");
    std::fs::write(machine.dir().join("token"), "another-one\n").unwrap();
    let again = ["--secret", "id=token,src=token", "--secret", "id=VAR,src=token"];
    assert_eq!(build(&machine, file, &again).err.matches(" CACHED").count(), 3);
    let missing = build(&machine, file, &["--no-cache", "--secret", "id=VAR,src=token"]).fails(1);
    assert!(
        missing.ends_with("failed to solve: secret token: not found\nhint: give it with --secret id=token\n"),
        "{missing}"
    );
    for (word, says) in [
        ("id=x,src=nothere", "failed to stat"),
        ("src=token", "secret missing ID"),
        ("id=x,colour=red", "unexpected key 'colour'"),
        ("id=x,env=NOT_SET", "the variable NOT_SET is not set"),
    ] {
        let err = build(&machine, file, &["--secret", word]).fails(1);
        assert!(err.contains(says), "{word}: {err}");
    }
}

#[test]
fn arguments_that_are_options_of_buildkit_are_obeyed() {
    need_all!();
    let machine = machine(&[]);
    let file = "FROM base\nRUN --mount=type=cache,target=/c hostname >> /c/names; cat /c/names\n";
    let said = |options: &[&str]| {
        let ran = build(&machine, file, &[&["--no-cache"], options].concat());
        let names = ["buildkitsandbox", "mine"].map(|name| ran.err.lines().filter(|line| line.ends_with(name)).count());
        assert_eq!(ran.code, 0, "{}", ran.err);
        names
    };
    assert_eq!(said(&[]), [1, 0]);
    assert_eq!(said(&["--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=mine"]), [1, 1]);
    assert_eq!(said(&["--build-arg", "BUILDKIT_CACHE_MOUNT_NS=other"]), [1, 0]);
    // A device that nobody has and nobody needs, and a cache in the image itself.
    let file = "FROM base\nRUN --device=vendor.com/d=one true > /x\n";
    build(&machine, file, &["-t", "app", "--build-arg", "BUILDKIT_INLINE_CACHE=1"]).ok();
    machine.strata(["save", "-o", "app.tar", "app"]).ok();
    assert!(!machine.sh("grep -c 'moby.buildkit.cache.v0' app.tar").ok().is_empty());
    let mut command = machine.strata_command(["build", "-q", "ctx"]);
    write(&machine, "Dockerfile", "FROM scratch\nENV A 1\n");
    command.env("BUILDKIT_PROGRESS", "rawjson");
    assert_eq!(Ran::from(command.output().unwrap()).err, "");
    let mut command = machine.strata_command(["build", "ctx"]);
    command.env("BUILDKIT_PROGRESS", "rawjson");
    let raw = Ran::from(command.output().unwrap());
    assert!(raw.err.starts_with("{\"vertexes\""), "{}", raw.err);
    let last: serde_json::Value = serde_json::from_str(raw.err.lines().last().unwrap()).unwrap();
    let page = "https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/";
    assert_eq!((last["warnings"].as_array().unwrap().len(), &last["warnings"][0]["url"]), (1, &page.into()));
    let plain = machine.strata(["build", "ctx"]);
    assert!(plain.err.contains("\n 1 warning found (--check tells more):\n - LegacyKeyValueFormat: "), "{}", plain.err);
}

#[test]
fn an_agent_is_reached_by_its_socket() {
    need_all!();
    let machine = machine(&[]);
    let socket = machine.dir().join("agent");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let file = "FROM base\nRUN --mount=type=ssh,required [ -S $SSH_AUTH_SOCK ] && echo $SSH_AUTH_SOCK > /where\n";
    assert_eq!(build(&machine, file, &["-t", "app", "--ssh", "default=agent"]).code, 0);
    assert_eq!(sh(&machine, "app", "cat /where; ls /run 2> /dev/null; true"), "/run/buildkit/ssh_agent.0\n");
    assert!(build(&machine, file, &["--no-cache"]).fails(1).contains("ssh default: not found\nhint: "));
    assert!(build(&machine, file, &["--ssh", "default=ctx"]).fails(1).contains("is not the socket of an agent"));
}

#[test]
fn a_command_may_be_given_what_root_may_or_no_network() {
    need_all!();
    let machine = machine(&[]);
    let file = "FROM base\nRUN --network=none ip link | grep -c UP\nRUN --security=insecure mount -t tmpfs none /mnt 2>&1 || mkdir /mnt && mount -t tmpfs none /mnt\n";
    let refused = build(&machine, file, &[]).fails(1);
    assert!(refused.contains("security.insecure is not allowed\nhint: "), "{refused}");
    let ran = build(&machine, file, &["--allow", "security.insecure"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        build(&machine, "FROM base\nRUN --network=host true\n", &[]).code == 0,
        "the host's network is that of the machine"
    );
}
