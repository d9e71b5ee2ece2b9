//! Containers: exit codes, lists, inspections, changes.

use strata_testkit::image::Image;
use strata_testkit::{Machine, need};

use super::{Pair, needs};

/// Both engines with one image, `box`.
pub(super) fn pair(machine: &Machine) -> Pair<'_> {
    let pair = Pair::start(machine);
    std::fs::write(machine.dir().join("box.tar"), Image::busybox().docker_archive("box:latest")).unwrap();
    pair.prepare(&["load", "-i", "box.tar"]);
    pair
}

/// `run` with no network, which is all that a machine has.
pub(super) fn run<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [&["run", "--network", "none"], words].concat()
}

#[test]
fn programs_end_the_same() {
    need!(needs());
    let machine = Machine::isolated();
    let mut pair = pair(&machine);
    for words in [
        &["--rm", "box", "true"][..],
        &["--rm", "box", "false"],
        &["--rm", "box", "sh", "-c", "exit 42"],
        &["--rm", "box", "sh", "-c", "kill -9 $$"],
        &["--rm", "box", "sh", "-c", "kill -TERM $$; sleep 9"],
        &["--rm", "box", "nothing-there"],
        &["--rm", "box", "/etc/passwd"],
        &["--rm", "box", "/etc"],
        &["--rm", "box", "echo", "-n", "words"],
        &["--rm", "-e", "A=1", "-e", "B", "box", "sh", "-c", "echo $A-$B"],
        &["--rm", "-w", "/tmp/new/dir", "box", "pwd"],
        &["--rm", "-u", "user", "box", "id"],
        &["--rm", "-u", "1000:10", "box", "id"],
        &["--rm", "-u", "4242", "box", "id"],
        &["--rm", "-u", "nobody-there", "box", "id"],
        &["--rm", "--entrypoint", "echo", "box", "a", "b"],
        &["--rm", "--entrypoint", "", "box", "echo", "c"],
        &["--rm", "--hostname", "here", "box", "hostname"],
        &["--rm", "--read-only", "box", "touch", "/x"],
        &["--rm", "--tmpfs", "/t:size=64k", "box", "sh", "-c", "df -k /t | tail -1 | awk '{print $2}'"],
        &["--rm", "--cap-drop", "ALL", "box", "grep", "CapEff", "/proc/self/status"],
        &["--rm", "box", "grep", "-E", "CapEff|Seccomp:", "/proc/self/status"],
        &["--rm", "--ulimit", "nofile=100:200", "box", "sh", "-c", "ulimit -n; ulimit -Hn"],
        &["--rm", "--shm-size", "1m", "box", "sh", "-c", "df -k /dev/shm | tail -1 | awk '{print $2}'"],
        &["--rm", "--add-host", "a:1.2.3.4", "box", "grep", "1.2.3.4", "/etc/hosts"],
        &["--rm", "-v", "/vol", "box", "sh", "-c", "touch /vol/x && ls /vol"],
        &["--rm", "--init", "box", "sh", "-c", "test $$ -gt 1 && wc -c < /proc/1/comm"],
        &["--rm", "box", "sh", "-c", "ls /dev"],
        &["--rm", "box", "sh", "-c", "ls -l /proc/self/fd | wc -l"],
        &["--rm", "box", "sh", "-c", "id; umask; pwd; tty; env | sort | grep -v HOSTNAME"],
        &["--rm", "box", "sh", "-c", "cut -d' ' -f5 /proc/self/mountinfo | grep -v /sys/fs/cgroup/ | sort"],
        &["--rm", "box", "sh", "-c", "cut -d' ' -f1-3 /proc/self/mounts | grep -vE ' (/proc/|/etc/|/sys/)' | sort"],
        &["--rm", "--tmpfs", "/x", "box", "grep", " /x ", "/proc/self/mounts"],
        &["--rm", "--tmpfs", "/run:rw,noexec,nosuid,size=65536k", "box", "grep", " /run ", "/proc/self/mounts"],
        &["--rm", "--tmpfs", "/x:exec,mode=700,uid=5,rprivate", "box", "grep", " /x ", "/proc/self/mounts"],
        &["--rm", "--tmpfs", "/x:ro,suid,dev,noatime,sync", "box", "grep", " /x ", "/proc/self/mounts"],
    ] {
        pair.same(&run(words));
    }
    for words in [
        &["--rm", "nothing-here", "true"][..],
        &["--rm", "--pull", "never", "nothing-here", "true"],
        &["--rm", "--nope", "box", "true"],
        &["--rm", "-v", "/a:/b:zz", "box", "true"],
        &["--rm", "-m", "1", "box", "true"],
        &["--rm", "--name", "?", "box", "true"],
        &["--rm", "--cap-add", "NOPE", "box", "true"],
        &["--rm", "--tmpfs", "/x:nope", "box", "true"],
        &["--rm", "--tmpfs", "/x:nope=1", "box", "true"],
        &["--rm", "--tmpfs", "/x:,exec", "box", "true"],
        &["--rm", "--tmpfs", "/x:size=nope", "box", "true"],
        &["--rm", "-w", "relative", "box", "true"],
        &["--rm", "--security-opt", "nope", "box", "true"],
    ] {
        pair.same_code(&run(words));
    }
    pair.finish();
}

/// Looks at two containers: `ended` has run, `made` has not.
const LOOKS: &[&[&str]] = &[
    &["ps"],
    &[
        "ps",
        "-a",
        "--format",
        "{{.Names}}|{{.Image}}|{{.Command}}|{{.Ports}}|{{.State}}|{{.Networks}}|{{.LocalVolumes}}",
    ],
    &["ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.Command}}"],
    &["ps", "-a", "--filter", "status=exited", "--format", "{{.Names}}"],
    &["ps", "-a", "--filter", "exited=3", "--format", "{{.Names}}"],
    &["ps", "-a", "--filter", "name=end", "--format", "{{.Names}}"],
    &["ps", "-a", "--filter", "label=a", "--format", "{{.Names}}"],
    &["ps", "-a", "--filter", "ancestor=box", "--format", "{{.Names}}"],
    &["ps", "-a", "--filter", "status=nope"],
    &["ps", "-a", "--filter", "is-task=false", "--filter", "isolation=default", "--format", "{{.Names}}"],
    &["ps", "-a", "--filter", "is-task=true", "--format", "{{.Names}}"],
    &["ps", "-a", "--filter", "is-task=nope"],
    &["ps", "-a", "--filter", "isolation=process", "--format", "{{.Names}}"],
    &["ps", "-a", "--filter", "isolation=nope", "--format", "{{.Names}}"],
    &["ps", "-q", "--format", "{{.Names}} of no running container"],
    &["ps", "-n", "1", "--format", "{{.Names}}"],
    &["ps", "-l", "--format", "{{.Names}}"],
    &["logs", "ended"],
    &["wait", "ended"],
    &["inspect", "-f", "{{.Name}} {{.Path}} {{json .Args}} {{.RestartCount}} {{.Platform}}", "ended"],
    &[
        "inspect",
        "-f",
        "{{.State.Status}} {{.State.Running}} {{.State.ExitCode}} {{.State.OOMKilled}} {{.State.Pid}}",
        "ended",
        "made",
    ],
    &[
        "inspect",
        "-f",
        "{{json .Config.Cmd}} {{json .Config.Env}} {{json .Config.Labels}} {{.Config.Image}} {{.Config.Tty}} {{.Config.WorkingDir}}",
        "ended",
        "made",
    ],
    &[
        "inspect",
        "-f",
        "{{.HostConfig.Memory}} {{.HostConfig.NetworkMode}} {{.HostConfig.AutoRemove}} {{.HostConfig.Privileged}} {{.HostConfig.ShmSize}}",
        "ended",
    ],
    &["inspect", "-f", "{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}}{{end}}", "made"],
    &["rename", "made", "renamed"],
    &["rm", "renamed", "nothing"],
    &["container", "prune", "-f", "--filter", "label=zz"],
    &["rm", "ended"],
];

fn ancestors(pair: &mut Pair<'_>) {
    // Containers of an image that was made from another are the other's, too.
    pair.prepare(&run(&["--name", "base", "box", "touch", "/new"]));
    pair.prepare(&["commit", "base", "derived"]);
    pair.prepare(&["create", "--name", "later", "--network", "none", "derived", "true"]);
    for ancestor in ["box", "derived", "absent"] {
        pair.same(&["ps", "-a", "--filter", &format!("ancestor={ancestor}"), "--format", "{{.Names}}"]);
    }
    pair.same(&["rm", "base", "later"]);
}

fn mounts(pair: &mut Pair<'_>) {
    let mounts = [
        "type=volume,dst=/a",
        "type=volume,src=named,dst=/b,readonly,volume-nocopy,volume-label=a=b,volume-opt=type=tmpfs,volume-opt=device=tmpfs",
        "type=bind,src=/proc,dst=/c,readonly,bind-propagation=rslave,bind-nonrecursive=true",
        "type=bind,src=/proc,dst=/d",
        "type=tmpfs,dst=/e,tmpfs-size=1m,tmpfs-mode=700",
        "type=tmpfs,dst=/f",
    ];
    let mut words =
        vec!["create", "--network", "none", "--name", "mounts", "-v", "named:/g", "-v", "/h", "--tmpfs", "/i"];
    words.extend(mounts.iter().flat_map(|mount| ["--mount", mount]));
    words.extend(["box", "true"]);
    pair.prepare(&words);
    pair.same(&["inspect", "-f", "{{json .HostConfig.Mounts}} {{json .HostConfig.Binds}}", "mounts"]);
    let lines = "{{range .Mounts}}{{.Type}} {{.Destination}} {{.Mode}} {{.RW}} {{.Propagation}} {{.Driver}}\n{{end}}";
    pair.same_by(&["inspect", "-f", lines, "mounts"], super::sorted);
    let empty = "{{range .HostConfig.Mounts}}{{.Source}} {{.ReadOnly}} {{if .BindOptions}}{{.BindOptions.Propagation}}{{end}} {{.Consistency}}\n{{end}}";
    pair.same(&["inspect", "-f", empty, "mounts"]);
    pair.same(&["rm", "-v", "mounts"]);
}

#[test]
fn containers_look_the_same() {
    need!(needs());
    let machine = Machine::isolated();
    let mut pair = pair(&machine);
    let command = "echo out; echo err >&2; echo \"a long command\" > /new; rm /etc/group; exit 3";
    let words = run(&[
        "--name",
        "ended",
        "-l",
        "a=1",
        "-l",
        "b=two words",
        "-e",
        "X=y",
        "-m",
        "64m",
        "box",
        "sh",
        "-c",
        command,
    ]);
    pair.same(&words);
    pair.prepare(&["create", "--name", "made", "--network", "none", "-w", "/tmp", "-v", "/vol", "box", "ls"]);
    // Docker takes the first level of the tree in any order.
    pair.same_by(&["diff", "ended"], |text| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    });
    for words in LOOKS {
        pair.same(words);
    }
    mounts(&mut pair);
    for (mode, value) in [("--uts", "private"), ("--pid", "private"), ("--cgroupns", "nope")] {
        pair.same_code(&run(&["--rm", mode, value, "box", "true"]));
    }
    ancestors(&mut pair);
    let shown = "{{(index .NetworkSettings.Networks \"none\").NetworkID | len}}";
    pair.prepare(&run(&["-d", "--name", "up", "box", "sleep", "1000"]));
    pair.same(&["inspect", "-f", shown, "up"]);
    pair.same(&["rm", "-f", "up"]);
    let without_age = |text: &str| {
        let lines = text.lines().map(|line| line.split("Exited (3)").next().unwrap_or_default().trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    };
    pair.same_by(&["ps", "-a", "--format", r"table {{.Names}}\t{{.Image}}\t{{.Status}}"], without_age);
    let sorted_labels = |text: &str| {
        let mut labels: Vec<&str> = text.trim().split(',').collect();
        labels.sort_unstable();
        labels.join(",")
    };
    pair.same_by(&["ps", "-a", "--filter", "name=ended", "--format", "{{.Labels}}"], sorted_labels);
    pair.finish();
}

/// What templates say of fields that are empty and that the JSON leaves out, of a container, an image, a volume and a network.
const OMITTED: &[(&str, &str, &[&str])] = &[
    (
        "container",
        "made",
        &[
            "State.Health",
            "State.Health.Status",
            "State.Health.Log",
            "Config.ArgsEscaped",
            "Config.ExposedPorts",
            "Config.Healthcheck",
            "Config.Healthcheck.Test",
            "Config.MacAddress",
            "Config.NetworkDisabled",
            "Config.OnBuild",
            "Config.Shell",
            "Config.StopSignal",
            "Config.StopTimeout",
            "HostConfig.Init",
            "HostConfig.KernelMemory",
            "HostConfig.Mounts",
            "HostConfig.StorageOpt",
            "HostConfig.Sysctls",
            "HostConfig.Tmpfs",
            "HostConfig.Nope",
            "Node",
            "SizeRw",
            "SizeRootFs",
            "Nope",
        ],
    ),
    (
        "image",
        "box",
        &["Container", "OsVersion", "Variant", "Config.ExposedPorts", "Config.Healthcheck", "Config.Shell", "Nope"],
    ),
    ("volume", "some", &["Status", "UsageData", "UsageData.Size", "Options", "Labels", "Nope"]),
    ("network", "none", &["Peers", "Services", "Containers", "Options", "Labels", "Nope"]),
];

#[test]
fn templates_know_the_fields_that_json_leaves_out() {
    need!(needs());
    let machine = Machine::isolated();
    let mut pair = pair(&machine);
    pair.prepare(&["create", "--name", "made", "--network", "none", "box", "true"]);
    pair.prepare(&["volume", "create", "some"]);
    for (kind, name, fields) in OMITTED {
        for field in *fields {
            // Docker ends an error's line with an empty one on standard output.
            pair.same_by(&[kind, "inspect", "-f", &format!("{{{{.{field}}}}}"), name], |text| text.trim().to_owned());
        }
    }
    for template in [
        "{{if .State.Health}}{{.State.Health.Status}}{{else}}no check{{end}}",
        "{{with .Config.Healthcheck}}{{.Test}}{{end}}|{{json .State.Health}}|{{json .HostConfig.Tmpfs}}|{{eq .State.Health nil}}",
        "{{len .HostConfig.Sysctls}} {{range .HostConfig.Mounts}}{{.Source}}{{else}}none{{end}} {{index .HostConfig.StorageOpt \"size\"}}",
        "{{printf \"%v %s\" .Config.Healthcheck .Config.StopSignal}} {{not .HostConfig.Init}}",
    ] {
        pair.same(&["inspect", "-f", template, "made"]);
    }
    pair.finish();
}

#[test]
fn a_change_of_a_commit_names_variables_the_same() {
    need!(needs());
    let machine = Machine::isolated();
    let mut pair = pair(&machine);
    pair.prepare(&run(&["--name", "one", "-e", "A=1", "box", "touch", "/new"]));
    for (change, field) in [
        ("ENV PATH=$PATH:/opt B='$A' C=\"${A:-2} ${D:-3}\"", "Env"),
        ("ENV E $A x", "Env"),
        ("LABEL a=$A \"b c\"='$A'", "Labels"),
        ("WORKDIR /w$A", "WorkingDir"),
        ("USER u$A", "User"),
        ("EXPOSE ${A}0/udp $A", "ExposedPorts"),
        ("VOLUME [\"/v$A\"]", "Volumes"),
        ("CMD echo $A", "Cmd"),
    ] {
        pair.prepare(&["commit", "-c", change, "one", "two"]);
        pair.same(&["inspect", "-f", &format!("{{{{json .Config.{field}}}}}"), "two"]);
    }
    pair.finish();
}

#[test]
fn shared_memory_is_shared_the_same() {
    need!(needs());
    let machine = Machine::isolated();
    let mut pair = pair(&machine);
    let mounted = "ls -d /dev/shm; grep -E '/dev/(shm|mqueue) ' /proc/mounts | cut -d' ' -f2,3 | sort; df -k /dev/shm | tail -1 | awk '{print $2}'";
    for mode in ["none", "private", "shareable", "host"] {
        pair.same(&run(&["--rm", "--ipc", mode, "box", "sh", "-c", mounted]));
    }
    for (name, mode) in [("donor", "shareable"), ("private", "private")] {
        let words = ["-d", "--name", name, "--ipc", mode, "--shm-size", "1m", "box", "sleep", "1000"];
        pair.prepare(&run(&words));
    }
    pair.prepare(&["exec", "donor", "touch", "/dev/shm/seen"]);
    let joining = ["--ipc", "container:donor"];
    pair.same(&run(&[&["--rm"], &joining[..], &["box", "sh", "-c", &format!("{mounted}; ls /dev/shm")]].concat()));
    let own = "test $(readlink /proc/self/ns/ipc) = $(cat /dev/shm/ipc) && echo same";
    pair.prepare(&["exec", "donor", "sh", "-c", "readlink /proc/self/ns/ipc > /dev/shm/ipc"]);
    pair.prepare(&run(&[&["-d", "--name", "guest"], &joining[..], &["box", "sleep", "2000"]].concat()));
    for words in [
        &["exec", "guest", "sh", "-c", own][..],
        &["exec", "guest", "touch", "/dev/shm/from-guest"],
        &["exec", "donor", "ls", "/dev/shm"],
        // A guest keeps what it shares, also without the donor, and does not start again without it.
        &["rm", "-f", "donor"],
        &["exec", "guest", "ls", "/dev/shm"],
        &["stop", "-t", "0", "guest"],
        &["start", "guest"],
    ] {
        pair.same(words);
    }
    for other in ["container:private", "container:absent", "nope"] {
        pair.same_code(&run(&["--rm", "--ipc", other, "box", "true"]));
    }
    pair.prepare(&["rm", "-f", "guest", "private"]);
    pair.finish();
}

#[test]
fn process_ids_are_shared_the_same() {
    need!(needs());
    let machine = Machine::isolated();
    let mut pair = pair(&machine);
    pair.prepare(&run(&["-d", "--name", "up", "box", "sleep", "1000"]));
    pair.prepare(&["create", "--network", "none", "--name", "made", "box", "true"]);
    let looks = "grep Name /proc/1/status; test $$ -gt 1 && echo guest; tr '\\0' ' ' < /proc/1/cmdline";
    pair.same(&run(&["--rm", "--pid", "container:up", "box", "sh", "-c", looks]));
    pair.same(&run(&["--rm", "--init", "--pid", "container:up", "box", "sh", "-c", looks]));
    pair.prepare(&run(&["-d", "--name", "guest", "--pid", "container:up", "box", "sleep", "2000"]));
    for who in ["up", "guest"] {
        pair.same(&["exec", who, "sh", "-c", "ps -o args | grep '^sleep'"]);
    }
    for words in [
        &["stop", "-t", "0", "guest"][..],
        &["start", "guest"],
        // With its first process, all of a namespace end.
        &["kill", "up"],
        &["wait", "guest"],
        &["start", "guest"],
        &["start", "up"],
        &["start", "guest"],
        &["rm", "-f", "guest"],
    ] {
        pair.same(words);
    }
    for other in ["container:nothing", "container:made", "container:"] {
        pair.same_code(&run(&["--rm", "--pid", other, "box", "true"]));
    }
    pair.prepare(&["rm", "-f", "up"]);
    pair.finish();
}
