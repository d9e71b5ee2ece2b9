//! Networks that a person makes: verbs, names, and what they keep apart.

use strata_testkit::need;

use super::{Lab, available};

#[test]
fn a_network_is_made_listed_inspected_and_removed() {
    need!(available());
    let lab = Lab::start();
    let id = lab.strata("network create --subnet 10.77.0.0/24 --label a=b blue").ok();
    assert_eq!(id.trim().len(), 64);
    let names = lab.strata("network ls --format {{.Name}}/{{.Driver}}/{{.Scope}}").ok();
    assert_eq!(names, "blue/bridge/local\nbridge/bridge/local\nhost/host/local\nnone/null/local\n");
    assert!(lab.strata("network ls").ok().starts_with("NETWORK ID     NAME      DRIVER    SCOPE\n"));
    let pool = lab.machine.strata(["network", "inspect", "-f", "{{json .IPAM.Config}} {{.Internal}}", "blue"]).ok();
    assert_eq!(pool, "[{\"Subnet\":\"10.77.0.0/24\",\"Gateway\":\"10.77.0.1\"}] false\n");
    lab.serve("web", "--network blue --ip 10.77.0.9");
    let address = "{{.NetworkSettings.Networks.blue.IPAddress}} {{.NetworkSettings.Networks.blue.Gateway}}";
    assert_eq!(lab.machine.strata(["inspect", "-f", address, "web"]).ok(), "10.77.0.9 10.77.0.1\n");
    assert!(lab.strata("network rm blue").fails(1).contains("has active endpoints"));
    assert!(lab.strata("network create --subnet 10.77.0.0/16 green").fails(1).contains("Pool overlaps with other one"));
    assert!(lab.strata("network create blue").fails(1).contains("network with name blue already exists"));
    assert!(lab.strata("network rm bridge").fails(1).contains("bridge is a pre-defined network and cannot be removed"));
    assert!(lab.strata("network rm nope").fails(1).contains("network nope not found"));
    assert!(lab.strata("run --rm --network nope box true").fails(125).contains("network nope not found"));
    lab.strata("rm -f web").ok();
    assert_eq!(lab.strata("network rm blue").ok(), "blue\n");
    lab.is_clean();
}

#[test]
fn containers_find_each_other_by_name_as_long_as_they_live() {
    need!(available());
    let lab = Lab::start();
    lab.strata("network create blue").ok();
    lab.serve("web", "--network blue --network-alias site");
    let ask = |script: &str| lab.machine.strata(["run", "--rm", "--network", "blue", "box", "sh", "-c", script]);
    for name in ["web", "site", "WEB", "web.blue"] {
        assert_eq!(ask(&format!("wget -qO- http://{name}/")).ok(), "web\n", "{name}");
    }
    let reverse = ask("nslookup $(ping -c 1 web | grep -o '1[0-9.]*' | head -1)");
    assert!(reverse.out.contains("web.blue"), "{reverse:?}");
    assert!(ask("cat /etc/resolv.conf").ok().starts_with("nameserver 127.0.0.11\n"));
    // Not on the default bridge.
    let other = lab.machine.strata(["run", "--rm", "box", "sh", "-c", "timeout 3 wget -qO- http://web/; exit $?"]);
    assert_ne!(other.code, 0, "{other:?}");
    lab.strata("rm -f web").ok();
    assert_ne!(ask("timeout 5 wget -qO- http://web/; exit $?").code, 0);
    lab.is_clean();
}

#[test]
fn a_container_is_connected_and_disconnected_while_it_runs() {
    need!(available());
    let lab = Lab::start();
    lab.strata("network create blue").ok();
    lab.serve("web", "");
    lab.strata("network connect --alias site blue web").ok();
    let ask = || {
        lab.machine.strata(["run", "--rm", "--network", "blue", "box", "sh", "-c", "timeout 5 wget -qO- http://site/"])
    };
    assert_eq!(ask().ok(), "web\n");
    assert!(lab.strata("network connect blue web").fails(1).contains("already exists in network blue"));
    lab.strata("network disconnect blue web").ok();
    assert_ne!(ask().code, 0);
    let interfaces = lab.machine.strata(["exec", "web", "sh", "-c", "ls /sys/class/net"]).ok();
    assert!(!interfaces.contains("eth1"), "{interfaces}");
    assert!(lab.strata("network disconnect blue web").fails(1).contains("is not connected to network blue"));
    lab.strata("rm -f web").ok();
    assert_eq!(lab.strata("network prune -f").ok(), "Deleted Networks:\nblue\n\n");
    lab.is_clean();
}

#[test]
fn networks_are_kept_apart_and_internal_ones_have_no_way_out() {
    need!(available());
    let lab = Lab::start().with_peer();
    lab.strata("network create --internal --subnet 10.78.0.0/24 inside").ok();
    lab.strata("network create --subnet 10.79.0.0/24 other").ok();
    lab.serve("web", "--network other --ip 10.79.0.5");
    let from = |network: &str, script: &str| {
        lab.machine.strata(["run", "--rm", "--network", network, "box", "sh", "-c", script])
    };
    assert_eq!(from("other", "wget -qO- http://10.79.0.5/").ok(), "web\n");
    assert_ne!(from("bridge", "timeout 1 wget -qO- http://10.79.0.5/; exit $?").code, 0);
    assert_eq!(from("inside", "ip route | grep -c default").out, "0\n");
    assert_ne!(from("inside", "ip route add default via 10.78.0.1; timeout 1 ping -c 1 10.99.0.2; exit $?").code, 0);
    from("other", "ping -c 1 10.99.0.2").ok();
}

#[test]
fn a_network_may_have_ipv6() {
    need!(available());
    let lab = Lab::start();
    lab.strata("network create --ipv6 --subnet fd77::/64 six").ok();
    lab.serve("web", "--network six -p 8080:80");
    let script = "ip -6 route | grep default; wget -qO- http://[fd77::2]/";
    let ran = lab.machine.strata(["run", "--rm", "--network", "six", "box", "sh", "-c", script]).ok();
    assert!(ran.contains("default via fd77::1") && ran.ends_with("web\n"), "{ran}");
    assert_eq!(lab.strata("port web 80").ok(), "0.0.0.0:8080\n[::]:8080\n");
    lab.strata("rm -f web").ok();
    lab.is_clean();
}

#[test]
fn another_containers_network_is_shared() {
    need!(available());
    let lab = Lab::start();
    lab.serve("web", "");
    let words = ["run", "--rm", "--network", "container:web", "box", "sh", "-c", "wget -qO- http://127.0.0.1/"];
    assert_eq!(lab.machine.strata(words).ok(), "web\n");
    lab.strata("stop -t 0 web").ok();
    assert!(lab.machine.strata(words).fails(125).contains("cannot join network of a non running container"));
}

#[test]
fn connections_are_told_and_the_host_has_a_name() {
    need!(available());
    let lab = Lab::start();
    lab.strata("network create --subnet 10.77.0.0/24 blue").ok();
    lab.strata("run -d --name web --network blue --add-host up:host-gateway box sleep 1000").ok();
    lab.strata("network create red").ok();
    lab.strata("network connect red web").ok();
    lab.strata("network disconnect red web").ok();
    assert!(lab.strata("exec web cat /etc/hosts").ok().contains("10.77.0.1\tup\n"));
    lab.strata("rm -f web").ok();
    lab.strata("network rm blue red").ok();
    let words = ["events", "--since", "1h", "--until", "0s", "-f", "type=network", "--format"];
    let format = "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}";
    let told = lab.machine.strata([&words[..], &[format]].concat()).ok();
    let acts = ["create blue", "connect blue", "create red", "connect red", "disconnect red", "disconnect blue"];
    let acts = acts.iter().chain(&["destroy blue", "destroy red"]);
    assert_eq!(told, acts.map(|act| format!("{act} bridge\n")).collect::<String>());
}
