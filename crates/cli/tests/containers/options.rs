//! What options and the image's configuration do to a container.

use std::process::Stdio;

use strata_testkit::need;

use super::{Lab, needs};

#[test]
fn options_take_effect() {
    need!(needs());
    let lab = Lab::start();
    let env = lab.machine.dir().join("env");
    std::fs::write(&env, "# comment\nB=file\nC= quoted \n").unwrap();
    let env_file = format!("-e A=1 --env-file {} -e B=option", env.display());
    for (options, script, expected) in [
        ("", "id", "uid=0(root) gid=0(root) groups=0(root)\n"),
        ("-u user", "id; echo $HOME", "uid=1000(user) gid=1000(user) groups=10(wheel),1000(user)\n/home/user\n"),
        ("-u 7:wheel --group-add 99", "id; echo $HOME", "uid=7 gid=10(wheel) groups=10(wheel),99\n/\n"),
        (&env_file, "echo $A,$B,$C.", "1,option, quoted .\n"),
        ("-w /new/dir", "pwd", "/new/dir\n"),
        ("--hostname here", "hostname; echo $HOSTNAME; cat /etc/hostname", "here\nhere\nhere\n"),
        ("--read-only", "touch /x 2>/dev/null || echo refused", "refused\n"),
        ("--tmpfs /t:size=64k", "df -k /t | tail -1 | awk '{print $2}'", "64\n"),
        ("--shm-size 1m", "df -k /dev/shm | tail -1 | awk '{print $2}'", "1024\n"),
        ("--cap-drop ALL --cap-add CHOWN", "grep CapEff /proc/self/status", "CapEff:\t0000000000000001\n"),
        ("--ulimit nofile=20:30", "ulimit -n; ulimit -Hn", "20\n30\n"),
        ("--add-host db:10.0.0.1", "tail -1 /etc/hosts", "10.0.0.1\tdb\n"),
        ("--dns 9.9.9.9 --dns-search a.b", "cat /etc/resolv.conf", "search a.b\nnameserver 9.9.9.9\n"),
        ("--init", "test $$ -ne 1 && echo child", "child\n"),
        ("--security-opt no-new-privileges", "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1\n"),
        ("--security-opt seccomp=unconfined", "grep Seccomp: /proc/self/status", "Seccomp:\t0\n"),
        ("--device /dev/null:/dev/nothing", "test -c /dev/nothing && echo there", "there\n"),
        ("--sysctl net.ipv4.ip_forward=1", "cat /proc/sys/net/ipv4/ip_forward", "1\n"),
        ("--memory 64m --cpus 0.5 --pids-limit 50", "echo limited", "limited\n"),
        ("--log-driver none", "echo unheard", "unheard\n"),
    ] {
        let ran = lab.script(options, script);
        assert_eq!((ran.code, ran.out.as_str()), (0, expected), "{options}: {}", ran.err);
    }
    lab.is_clean();
}

#[test]
fn the_images_configuration_takes_effect() {
    need!(needs());
    let lab = Lab::start();
    assert_eq!(lab.strata("run --rm --network none full").ok(), "entry cmd\n");
    assert_eq!(lab.strata("run --rm --network none full other").ok(), "entry other\n");
    assert_eq!(lab.strata("run --rm --network none --entrypoint pwd full").ok(), "/srv/app\n");
    assert_eq!(
        lab.machine.strata(["run", "--rm", "--network", "none", "--entrypoint", "", "full", "whoami"]).ok(),
        "user\n"
    );
    assert!(lab.strata("run --rm --network none --entrypoint env -e FROM=me full").ok().contains("FROM=me\n"));
    lab.strata("create --network none --name full -l own=1 full").ok();
    let fields =
        "{{json .Config.Labels}} {{.Config.StopSignal}} {{json .Config.ExposedPorts}} {{json .Config.Healthcheck}}";
    assert_eq!(
        lab.machine.strata(["inspect", "-f", fields, "full"]).ok(),
        "{\"from\":\"image\",\"own\":\"1\"} SIGUSR1 {\"80/tcp\":{}} {\"Test\":[\"CMD\",\"true\"],\"Interval\":1000000000}\n"
    );
    assert_eq!(lab.strata("ps -aq --filter label=own=1 --filter ancestor=full").ok().len(), 13);
    lab.strata("rm -v full").ok();
    lab.is_clean();
}

#[test]
fn an_archive_that_nobody_reads_ends_quietly() {
    need!(needs());
    let lab = Lab::start();
    lab.strata("create --network none --name made box true").ok();
    for line in ["export made", "save box", "cp made:/bin -"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = lab.machine.strata_command(line.split(' ')).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(141), &b""[..]), "{line}");
    }
    lab.strata("rm made").ok();
    lab.is_clean();
}

#[test]
fn what_makes_volumes_is_known() {
    need!(needs());
    let lab = Lab::start();
    for volume in ["some:/x", "/x"] {
        let line = format!("create --network none --volume-driver nope -v {volume} box true");
        assert!(lab.strata(&line).fails(1).contains("error looking up volume plugin nope: plugin \"nope\" not found"));
    }
    lab.strata("create --network none --name made --volume-driver local -v some:/x -v /y box true").ok();
    let anonymous = "volume ls --filter label=com.docker.volume.anonymous --format {{.Labels}},{{.Driver}}";
    assert_eq!(lab.strata(anonymous).ok(), "com.docker.volume.anonymous=,local\n");
    lab.strata("rm -v made").ok();
    lab.strata("volume rm some").ok();
    lab.is_clean();
}

#[test]
fn a_cidfile_holds_the_id_and_is_never_overwritten() {
    need!(needs());
    let lab = Lab::start();
    let file = lab.machine.dir().join("cid");
    let line = format!("create --network none --cidfile {} box true", file.display());
    let id = lab.strata(&line).ok();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), id.trim());
    assert!(lab.strata(&line).fails(1).contains("container ID file found"));
    lab.strata(&format!("rm {}", id.trim())).ok();
    lab.is_clean();
}
