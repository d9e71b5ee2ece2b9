//! From `create` to `rm`.

use strata_testkit::need;

use super::{Lab, needs};

#[test]
fn a_container_is_made_started_read_renamed_and_removed() {
    need!(needs());
    let lab = Lab::start();
    let id = lab.strata("create --network none --name first box echo hello").ok();
    let id = id.trim();
    assert_eq!(id.len(), 64);
    assert_eq!(
        lab.strata("ps -a --no-trunc --format {{.ID}}|{{.Names}}|{{.State}}|{{.Command}}").ok(),
        format!("{id}|first|created|\"echo hello\"\n")
    );
    assert_eq!(lab.strata("ps -q").ok(), "");
    assert_eq!(lab.strata("start -a first").ok(), "hello\n");
    assert_eq!(lab.strata("start first").ok(), "first\n");
    assert_eq!(lab.strata("wait first").ok(), "0\n");
    assert_eq!(lab.strata("logs first").ok(), "hello\nhello\n");
    assert_eq!(lab.strata("logs --tail 1 first").ok(), "hello\n");
    assert_eq!(lab.strata("rename first second").ok(), "");
    assert_eq!(lab.strata(&format!("inspect -f {{{{.Name}}}} {}", &id[..6])).ok(), "/second\n");
    assert_eq!(lab.strata("ps -aq --filter name=second --filter status=exited").ok(), format!("{}\n", &id[..12]));
    assert_eq!(lab.strata("rm second").ok(), "second\n");
    assert_eq!(lab.strata("rm second").fails(1), "strata: No such container: second\n");
    lab.is_clean();
}

#[test]
fn exit_codes_are_dockers() {
    need!(needs());
    let lab = Lab::start();
    assert_eq!(lab.script("", "exit 42").code, 42);
    assert_eq!(lab.script("--init", "kill -9 $$").code, 137);
    assert_eq!(lab.strata("run --rm --network none box nothing-there").code, 127);
    assert_eq!(lab.strata("run --rm --network none box /etc/passwd").code, 126);
    assert_eq!(lab.strata("run --rm --network none --user nobody-there box true").code, 125);
    assert_eq!(lab.strata("run --rm --network none --pull never absent true").code, 125);
    lab.is_clean();
}

#[test]
fn a_running_container_is_entered_watched_frozen_and_stopped() {
    need!(needs());
    let lab = Lab::start();
    let script = "trap 'exit 3' TERM; echo up; while :; do read -t 1 x; done";
    let words = ["run", "-d", "-i", "--network", "none", "--name", "web", "box", "sh", "-c", script];
    lab.machine.strata(words).ok();
    lab.until("logs web", |out| out == "up\n");
    assert!(lab.strata("exec -e A=1 -w /tmp -u user web env").ok().contains("HOME=/home/user\n"));
    assert_eq!(lab.strata("exec web pwd").ok(), "/\n");
    assert_eq!(lab.machine.strata_with_input(["exec", "-i", "web", "cat"], b"in").ok(), "in");
    assert_eq!(lab.strata("exec web false").code, 1);
    assert_eq!(lab.strata("exec web nothing-there").code, 127);
    assert!(lab.strata("top web").ok().starts_with("UID "));
    assert!(lab.strata("top web -o pid,comm").ok().ends_with(" sh\n"));
    assert!(lab.strata("rm web").fails(1).contains("container is running: stop the container before removing"));
    assert_eq!(lab.strata("pause web").ok(), "web\n");
    assert!(lab.strata("ps --format {{.Status}}").ok().ends_with("(Paused)\n"));
    assert!(lab.strata("exec web true").fails(1).contains("is paused, unpause the container before exec"));
    assert_eq!(lab.strata("unpause web").ok(), "web\n");
    assert_eq!(lab.strata("stop web").ok(), "web\n");
    assert_eq!(lab.strata("inspect -f {{.State.Status}}:{{.State.ExitCode}} web").ok(), "exited:3\n");
    assert_eq!(lab.strata("restart web").ok(), "web\n");
    assert_eq!(lab.strata("kill web").ok(), "web\n");
    assert!(lab.strata("kill web").fails(1).contains("is not running"));
    assert_eq!(lab.strata("inspect -f {{.State.ExitCode}} web").ok(), "137\n");
    let pruned = lab.strata("container prune -f").ok();
    assert!(pruned.starts_with("Deleted Containers:\n") && pruned.contains("Total reclaimed space: "), "{pruned}");
    lab.is_clean();
}

#[test]
fn input_reaches_the_program_and_ends() {
    need!(needs());
    let lab = Lab::start();
    let words = ["run", "--rm", "-i", "--network", "none", "box", "sh", "-c", "cat; echo done >&2"];
    let ran = lab.machine.strata_with_input(words, b"one\ntwo\n");
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "one\ntwo\n", "done\n"));
    let big = vec![b'x'; 1 << 20];
    let ran = lab.machine.strata_with_input(["run", "--rm", "-i", "--network", "none", "box", "wc", "-c"], &big);
    assert_eq!(ran.ok().trim(), "1048576");
    lab.is_clean();
}

/// What the layers' mounts stand on is found again where it is now.
#[test]
fn a_store_that_was_removed_by_hand_begins_anew() {
    need!(needs());
    let lab = Lab::start();
    lab.strata("run --rm --network none box true").ok();
    let anew = ["rm -rf store", "mount -t tmpfs tmpfs store", "umount store", "rm -rf store/* store/.[!.]*"];
    for by_hand in anew {
        lab.machine.sh(by_hand).ok();
        lab.strata("load -qi box.tar").ok();
        assert_eq!(lab.strata("run --rm --network none box echo there").ok(), "there\n", "{by_hand}");
    }
}
