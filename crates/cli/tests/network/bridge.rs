//! The default bridge: addresses, the way out, published ports, and nothing left behind.

use strata_testkit::need;

use super::{Lab, available};

#[test]
fn a_container_has_an_address_a_way_out_and_its_name_in_hosts() {
    need!(available());
    let lab = Lab::start();
    let script = "ip -o -4 addr show eth0 | grep -o 'inet [^ ]*'; ip route | grep default; cat /sys/class/net/eth0/address; \
                  grep $(hostname) /etc/hosts; ip -o -6 addr show eth0";
    let ran = lab.machine.strata(["run", "--rm", "--hostname", "me", "box", "sh", "-c", script]);
    let expected = "inet 172.17.0.2/16\ndefault via 172.17.0.1 dev eth0 \n02:42:ac:11:00:02\n172.17.0.2\tme\n";
    assert_eq!(ran.ok(), expected);
    lab.is_clean();
}

#[test]
fn a_bridge_says_nothing_by_itself() {
    need!(available());
    let lab = Lab::start();
    // A kernel that remembers a connection looks at all it has room for when the first rule for connections comes.
    let script = "cat /proc/sys/net/netfilter/nf_conntrack_count";
    lab.serve("web", "-p 8080:80");
    lab.sh("test -z \"$(ip -6 addr show dev strata0)\" && ! grep -q 6A0000E0 /proc/net/igmp").ok();
    assert_eq!(lab.sh(script).ok(), "0\n");
    lab.strata("rm -f web").ok();
    assert_eq!(lab.sh(script).ok(), "0\n");
}

#[test]
fn the_subnet_is_one_that_the_host_has_no_route_into() {
    need!(available());
    let lab = Lab::start();
    lab.sh("ip link add dum0 type bridge && ip link set dum0 up && ip route add 172.16.0.0/15 dev dum0 && ip link add strata0 type bridge")
        .ok();
    let ran = lab.machine.strata(["run", "--rm", "box", "sh", "-c", "ip route | grep default"]);
    assert_eq!(ran.ok(), "default via 172.18.0.1 dev eth0 \n");
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    need!(available());
    let lab = Lab::start().with_peer();
    lab.serve("web", "-p 8080:80");
    let get = |from: &str, at: &str| lab.eventually(&format!("{from} wget -qO- http://{at}/"));
    assert_eq!(get("busybox", "127.0.0.1:8080"), "web\n", "from this host by loopback");
    assert_eq!(get("busybox", "10.99.0.1:8080"), "web\n", "from this host by its address");
    assert_eq!(get("ip netns exec peer busybox", "10.99.0.1:8080"), "web\n", "from outside");
    // By way of the host: from the container itself, and from its neighbour.
    let script = "wget -qO- http://10.99.0.1:8080/";
    assert_eq!(lab.machine.strata(["exec", "web", "sh", "-c", script]).ok(), "web\n");
    assert_eq!(lab.machine.strata(["run", "--rm", "box", "sh", "-c", script]).ok(), "web\n");
    let direct = "wget -qO- http://172.17.0.2/";
    assert_eq!(lab.machine.strata(["run", "--rm", "box", "sh", "-c", direct]).ok(), "web\n");
    assert!(lab.strata("ps").ok().contains("0.0.0.0:8080->80/tcp"));
    lab.strata("rm -f web").ok();
    lab.is_clean();
}

#[test]
fn only_what_is_published_is_reached_from_outside() {
    need!(available());
    let lab = Lab::start().with_peer();
    lab.serve("local", "-p 127.0.0.1:8081:80");
    assert_eq!(lab.eventually("busybox wget -qO- http://127.0.0.1:8081/"), "local\n");
    // A neighbour that knows where the container is, and one that lies about 127.0.0.1.
    lab.sh("ip -n peer route add 172.17.0.0/16 via 10.99.0.1; ip -n peer route add 127.0.0.0/8 via 10.99.0.1 table 7
        ip -n peer rule add to 127.0.0.1 lookup 7 pref 0; ip -n peer rule del lookup local; ip -n peer rule add lookup local pref 10
        ip netns exec peer sysctl -qw net.ipv4.conf.all.route_localnet=1").ok();
    for at in ["10.99.0.1:8081", "172.17.0.2", "127.0.0.1:8081"] {
        let ran = lab.sh(&format!("ip netns exec peer busybox timeout 1 busybox wget -qO- http://{at}/"));
        assert_ne!(ran.code, 0, "{at}: {ran:?}");
    }
}

#[test]
fn what_leaves_the_host_has_the_hosts_address() {
    need!(available());
    let lab = Lab::start().with_peer();
    lab.sh(
        "mkdir -p www/cgi-bin; printf '#!/bin/sh\\necho; echo $REMOTE_ADDR' >www/cgi-bin/who; chmod +x www/cgi-bin/who
        ip netns exec peer busybox httpd -p 80 -h www",
    )
    .ok();
    let script = "wget -qO- http://10.99.0.2/cgi-bin/who";
    let ran = lab.machine.strata(["run", "--rm", "box", "sh", "-c", script]);
    assert!(ran.clone().ok().contains("10.99.0.1"), "{ran:?}");
    assert_ne!(lab.machine.strata(["run", "--rm", "--network", "none", "box", "sh", "-c", script]).code, 0);
}

#[test]
fn a_port_that_is_taken_is_refused_in_dockers_words() {
    need!(available());
    let lab = Lab::start();
    lab.serve("web", "-p 8080:80");
    let refused = lab.strata("run --rm --name late -p 8080:80 box true").fails(125);
    let words = "Bind for 0.0.0.0:8080 failed: port is already allocated";
    assert!(refused.contains("driver failed programming external connectivity on endpoint late ("), "{refused}");
    assert!(refused.contains(words), "{refused}");
    // The host's own programs cannot take it either, and theirs is not taken from them.
    assert_ne!(lab.sh("busybox timeout 1 busybox nc -l -p 8080 >/dev/null 2>&1").code, 143);
    // 8090 in hexadecimal digits, listening.
    let listen =
        "busybox nc -l -p 8090 >/dev/null 2>&1 & until grep -q ':1F9A .* 0A ' /proc/net/tcp /proc/net/tcp6; do :; done";
    let refused = lab.sh(listen);
    assert_eq!(refused.code, 0, "{refused:?}");
    assert!(lab.strata("run --rm -p 8090:80 box true").fails(125).contains("0.0.0.0:8090"));
    lab.strata("rm -f web").ok();
    assert_eq!(lab.strata("run --rm -p 8080:80 box true").ok(), "");
}

#[test]
fn ports_may_be_ranges_and_at_random() {
    need!(available());
    let lab = Lab::start();
    lab.serve("web", "-p 9000-9001:80-81 -p 9000-9005:90 -p 127.0.0.1::95/udp --expose 99");
    let ports = lab.strata("ps --format {{.Ports}}").ok();
    let (udp, rest) = ports
        .trim()
        .split_once(", ")
        .map(|_| ports.trim())
        .map(|all| {
            let udp = all.split(", ").find(|entry| entry.ends_with("95/udp")).unwrap();
            (udp.to_owned(), all.replace(&format!("{udp}, "), ""))
        })
        .unwrap();
    assert_eq!(rest, "0.0.0.0:9000-9001->80-81/tcp, 0.0.0.0:9002->90/tcp, 99/tcp");
    assert!(udp.starts_with("127.0.0.1:") && !udp.starts_with("127.0.0.1:0"), "{udp}");
}

#[test]
fn what_a_killed_shim_left_is_removed_by_the_next_command() {
    need!(available());
    let lab = Lab::start();
    lab.serve("web", "-p 8080:80");
    lab.eventually("busybox wget -qO- http://127.0.0.1:8080/");
    let pid = lab.strata("inspect -f {{.State.Pid}} web").ok();
    lab.sh(&format!("kill -9 $(awk '{{print $4}}' /proc/{}/stat)", pid.trim())).ok();
    lab.eventually(&format!("! kill -0 {}", pid.trim()));
    assert!(lab.traces().contains("8080"), "{}", lab.traces());
    lab.strata("ps").ok();
    assert!(!lab.traces().contains("8080"), "{}", lab.traces());
    lab.strata("rm -f web").ok();
    lab.is_clean();
    lab.serve("again", "-p 8080:80");
    assert_eq!(lab.eventually("busybox wget -qO- http://127.0.0.1:8080/"), "again\n");
}

#[test]
fn forks_have_addresses_and_ports_of_their_own() {
    need!(available());
    let lab = Lab::start();
    lab.serve("web", "-p 127.0.0.1:8080:80");
    lab.eventually("busybox wget -qO- http://127.0.0.1:8080/");
    assert_eq!(lab.strata("fork web one two").ok(), "one\ntwo\n");
    let (mut addresses, mut ports) = (Vec::new(), Vec::new());
    for name in ["web", "one", "two"] {
        let address = lab.strata(&format!("inspect -f {{{{.NetworkSettings.IPAddress}}}} {name}")).ok();
        addresses.push(address.trim().to_owned());
        let port = lab.strata(&format!("port {name} 80")).ok();
        let port = port.trim().to_owned();
        // Each serves the page that the first one had made, where it is published.
        assert_eq!(lab.eventually(&format!("busybox wget -qO- http://{port}/")), "web\n", "{name}");
        ports.push(port);
    }
    for mut all in [addresses, ports] {
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 3, "{all:?}");
    }
}

#[test]
fn what_many_killed_shims_left_is_in_nobodys_way() {
    need!(available());
    let lab = Lab::start();
    lab.strata("network create --subnet 10.77.0.0/24 blue").ok();
    let ports: Vec<String> = (8080..8088).map(|port| format!("{port}:80")).collect();
    let pids: Vec<String> = ports
        .iter()
        .map(|port| {
            let options = format!("-p {port} --network blue --ip 10.77.0.{}", &port[2..4]);
            let id = lab.strata(&format!("run -d {options} box sleep 1000")).ok();
            lab.strata(&format!("inspect -f {{{{.State.Pid}}}} {}", id.trim())).ok().trim().to_owned()
        })
        .collect();
    for pid in &pids {
        lab.sh(&format!("kill -9 $(awk '{{print $4}}' /proc/{pid}/stat)")).ok();
        lab.eventually(&format!("! kill -0 {pid}"));
    }
    // More than the few that a start looks for: their ports and addresses are wanted all the same.
    let options: String = ports.iter().map(|port| format!("-p {port} ")).collect();
    lab.serve("web", &format!("{options} --network blue --ip 10.77.0.87"));
    for port in 8080..8088 {
        assert_eq!(lab.eventually(&format!("busybox wget -qO- http://127.0.0.1:{port}/")), "web\n");
    }
    for id in lab.strata("ps -aq").ok().lines() {
        lab.strata(&format!("rm -f {id}")).ok();
    }
    lab.is_clean();
}
