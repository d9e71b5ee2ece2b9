//! What cannot be is refused in a sentence, and leaves nothing behind.

use strata_testkit::need;

use super::{Lab, needs};

#[test]
fn impossible_containers_are_refused() {
    need!(needs());
    let lab = Lab::start();
    for (options, sentence) in [
        ("--name -x", "Invalid container name (-x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        ("-m 1", "Minimum memory limit allowed is 6MB"),
        ("--memory-swap 1g", "You should always set the Memory limit when using Memoryswap limit, see usage"),
        ("--cpus 9999", "Range of CPUs is from 0.01 to "),
        ("--cap-add NOPE", "invalid CapAdd: unknown capability: \"CAP_NOPE\""),
        ("--link other", "links are not part of strata"),
        ("--network blue", "network blue not found"),
        ("--restart always --rm", "Conflicting options: --restart and --rm"),
        ("--restart always:3", "maximum retry count can only be used with 'on-failure'"),
        ("--restart sometimes", "invalid restart policy: unknown policy 'sometimes'"),
        ("--restart on-failure:x", "invalid restart policy format: maximum retry count must be an integer"),
        ("--health-cmd true --health-interval 1us", "Interval in Healthcheck cannot be less than 1ms"),
        ("-w relative", "the working directory 'relative' is invalid, it needs to be an absolute path"),
        ("--device /etc/passwd", "not a device node"),
        ("--device /dev/absent", "custom device \"/dev/absent\": no such file or directory\n"),
        ("--tmpfs /x:nope", "invalid tmpfs option \"nope\""),
        ("--security-opt nope", "Invalid --security-opt: \"nope\""),
        ("--security-opt seccomp=/absent", "opening seccomp profile (/absent) failed"),
        ("--log-driver syslog", "error looking up logging plugin syslog: plugin \"syslog\" not found"),
        ("--log-opt nope=1", "unknown log opt 'nope' for json-file log driver"),
        ("--mount type=bind,source=/absent,target=/x", "bind source path does not exist: /absent"),
        ("-v /tmp:/x -v /tmp:/x", "Duplicate mount point: /x"),
        ("-v /x --volumes-from absent", "No such container: absent"),
        ("--user absent", "unable to find user absent: no matching entries in passwd file"),
        ("--env-file /absent", "open /absent: no such file or directory"),
        (
            "--network bridge --ip x",
            "invalid config for network bridge: invalid endpoint settings:\ninvalid IPv4 address: x\n",
        ),
        ("--detach-keys nope", "Invalid escape keys (nope) provided"),
        ("-a stdin -d", "Conflicting options: -a and -d"),
        ("-it", "the input device is not a TTY"),
        ("--pull sometimes", "invalid pull option: 'sometimes'"),
        ("--ipc container:x", "No such container: x"),
        ("--ipc nope", "invalid IPC mode: nope"),
        ("--stop-signal NOPE", "invalid signal: NOPE"),
    ] {
        let network = if options.contains("--network") { "" } else { "--network none " };
        let ran = lab.strata(&format!("run {network}{options} box true"));
        assert!(ran.code == 125 || ran.code == 1, "{options}: {ran:?}");
        assert!(ran.err.contains(sentence), "{options}: {ran:?}");
        // One that could not be started is still there, as with Docker.
        lab.strata("container prune -f").ok();
        lab.is_clean();
    }
}

#[test]
fn a_name_belongs_to_one_container() {
    need!(needs());
    let lab = Lab::start();
    let id = lab.strata("create --network none --name taken box").ok();
    let conflict = format!(
        "strata: Conflict. The container name \"/taken\" is already in use by container \"{}\". You have to remove (or rename) that container to be able to reuse that name.\n",
        id.trim()
    );
    assert_eq!(lab.strata("run --network none -v /anon --name taken box true").fails(125), conflict);
    lab.strata("create --network none --name other box").ok();
    let renamed = conflict.replace("Conflict", "Error when allocating new name: Conflict")
        + "strata: failed to rename container named other\n";
    assert_eq!(lab.strata("rename other taken").fails(1), renamed);
    lab.strata("rm taken other").ok();
    lab.is_clean();
}
