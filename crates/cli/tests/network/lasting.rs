//! What lasts: connections over restarts, names over renames, a shared network over restarts of either side.

use std::time::Instant;

use strata_testkit::need;

use super::{Lab, available};

impl Lab {
    fn field(&self, name: &str, format: &str) -> String {
        self.machine.strata(["inspect", "-f", format, name]).ok().trim().to_owned()
    }

    /// Kills a container's first process and waits until its policy has started it again.
    fn die(&self, name: &str) {
        let (first, count) = (self.field(name, "{{.State.Pid}}"), self.field(name, "{{.RestartCount}}"));
        self.sh(&format!("kill -9 {first}")).ok();
        let next = format!("{} running", count.parse::<u32>().unwrap() + 1);
        let asked = Instant::now();
        while self.field(name, "{{.RestartCount}} {{.State.Status}}") != next {
            assert!(asked.elapsed() < super::PATIENCE, "{name}");
        }
    }

    /// Whether a container of the network `blue` finds `name`.
    fn finds(&self, name: &str) -> bool {
        let script = format!("timeout 5 wget -qO- http://{name}/");
        self.machine.strata(["run", "--rm", "--network", "blue", "box", "sh", "-c", &script]).code == 0
    }
}

#[test]
fn a_network_connected_later_is_there_after_every_start() {
    need!(available());
    let lab = Lab::start();
    lab.strata("network create --subnet 10.77.0.0/24 blue").ok();
    lab.serve("web", "--restart always");
    lab.strata("network connect --ip 10.77.0.9 --alias site blue web").ok();
    let address = || lab.field("web", "{{.NetworkSettings.Networks.blue.IPAddress}}");
    lab.eventually("true");
    assert!(lab.finds("site"));
    lab.die("web");
    assert_eq!(address(), "10.77.0.9");
    assert!(lab.finds("site"), "by its policy");
    lab.strata("stop -t 0 web").ok();
    lab.strata("start web").ok();
    assert_eq!(address(), "10.77.0.9");
    assert!(lab.finds("site"), "by a person");
    lab.strata("network disconnect blue web").ok();
    lab.die("web");
    assert_eq!(lab.machine.strata(["exec", "web", "ls", "/sys/class/net"]).ok(), "eth0\nlo\n");
    assert_eq!(lab.field("web", "{{len .NetworkSettings.Networks}}"), "1");
    // While it does not run, it is only noted.
    lab.strata("stop -t 0 web").ok();
    lab.strata("network connect blue web").ok();
    lab.strata("start web").ok();
    assert!(lab.finds("web"));
    lab.strata("rm -f web").ok();
    lab.is_clean();
}

#[test]
fn a_renamed_container_is_found_by_its_new_name() {
    need!(available());
    let lab = Lab::start();
    lab.strata("network create blue").ok();
    lab.serve("old", "--network blue --network-alias site --restart always");
    assert!(lab.finds("old"));
    lab.strata("rename old new").ok();
    assert!(lab.finds("new") && lab.finds("site") && !lab.finds("old"));
    lab.die("new");
    assert!(lab.finds("new") && !lab.finds("old"), "after a restart");
    let events = lab.strata("events --since 1h --until 0s --filter container=new --filter event=start").ok();
    assert!(events.lines().last().unwrap().contains("name=new"), "{events}");
    let named = lab.machine.strata(["network", "inspect", "-f", "{{range .Containers}}{{.Name}} {{end}}", "blue"]).ok();
    assert_eq!(named, "new \n");
    lab.strata("rm -f new").ok();
    lab.is_clean();
}

#[test]
fn a_shared_network_is_joined_anew_by_every_start() {
    need!(available());
    let lab = Lab::start();
    lab.strata("network create blue").ok();
    lab.serve("web", "--network blue --hostname front");
    let words =
        ["run", "-d", "--name", "side", "--restart", "always", "--network", "container:web", "box", "sleep", "100000"];
    lab.machine.strata(words).ok();
    let reach =
        || lab.machine.strata(["exec", "side", "sh", "-c", "wget -qO- http://127.0.0.1/; hostname; cat /etc/hostname"]);
    // The files of the other one, and so its names.
    assert_eq!(reach().ok().lines().next_back(), Some("front"));
    lab.machine.strata(["exec", "side", "wget", "-qO-", "http://web.blue/"]).ok();
    lab.die("side");
    assert!(reach().ok().starts_with("web\n"));
    lab.strata("restart -t 0 web").ok();
    // Docker's containers stay in the namespace that was, too, until they are started again.
    lab.strata("restart -t 0 side").ok();
    assert!(reach().ok().starts_with("web\n"));
    lab.strata("stop -t 0 web").ok();
    let refused = lab.strata("restart -t 0 side").fails(1);
    assert!(refused.contains("cannot join network of a non running container: "), "{refused}");
    lab.strata("rm -f web side").ok();
    lab.is_clean();
}

#[test]
fn events_tell_of_networks() {
    need!(available());
    let lab = Lab::start();
    let id = lab.strata("network create blue").ok();
    lab.serve("web", "");
    lab.strata("network connect blue web").ok();
    lab.strata("network disconnect blue web").ok();
    lab.strata("rm -f web").ok();
    lab.strata("network rm blue").ok();
    let events = lab.strata("events --since 1h --until 0s --filter type=network").ok();
    let told: Vec<String> = events
        .lines()
        .map(|line| {
            let name = line.split("name=").nth(1).unwrap().split(',').next().unwrap();
            format!("{} {name}", line.split(' ').nth(2).unwrap())
        })
        .collect();
    let expected =
        ["create blue", "connect bridge", "connect blue", "disconnect blue", "disconnect bridge", "destroy blue"];
    assert_eq!(told, expected, "{events}");
    let of_one =
        lab.strata("events --since 1h --until 0s --filter network=blue --format {{.Action}}/{{.Actor.ID}}").ok();
    assert_eq!(of_one.lines().next(), Some(format!("create/{}", id.trim()).as_str()), "{of_one}");
    let connected = lab.strata("events --since 1h --until 0s --filter network=blue --filter event=connect").ok();
    assert!(connected.contains("(container=") && connected.contains("name=blue, type=bridge)"), "{connected}");
}

#[test]
fn the_host_is_reached_as_host_gateway() {
    need!(available());
    let lab = Lab::start();
    lab.sh("mkdir www; echo host >www/index.html; busybox httpd -p 8090 -h www").ok();
    lab.strata("network create --ipv6 --subnet 10.77.0.0/24 --subnet fd77::/64 blue").ok();
    let hosts = |network: &str| {
        let script = "grep outside /etc/hosts; wget -qO- http://outside:8090/";
        let words =
            ["run", "--rm", "--network", network, "--add-host", "outside:host-gateway", "box", "sh", "-c", script];
        lab.machine.strata(words).ok()
    };
    assert_eq!(hosts("bridge"), "172.17.0.1\toutside\nhost\n");
    assert_eq!(hosts("blue"), "10.77.0.1\toutside\nhost\n");
    assert_eq!(hosts("host"), "127.0.0.1\toutside\nhost\n");
}

#[test]
fn ports_of_containers_without_a_network_of_their_own_are_discarded_in_words() {
    need!(available());
    let lab = Lab::start();
    let warned = |network: &str| {
        let ran = lab.machine.strata(["run", "--rm", "--network", network, "-p", "8080:80", "box", "true"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.err
    };
    assert_eq!(warned("host"), "WARNING: Published ports are discarded when using host network mode\n");
    assert_eq!(warned("none"), "WARNING: Published ports are discarded when using none network mode\n");
}
