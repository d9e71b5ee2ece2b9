//! Packets that arrive: datagrams, IPv6, ports nobody chose, and containers on the host's own network by macvlan.

use strata_testkit::{host, need};

use super::{Lab, available};

/// Sends a datagram to an address and prints the answer.
const ASK: &str = r#"
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((host, port))
s.settimeout(5)
s.send(b"ping")
print(s.recv(100).decode())
"#;

/// Answers each datagram with its name and what was said.
const ANSWER: &str = r#"
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", int(sys.argv[2])))
while True:
    said, who = s.recvfrom(100)
    s.sendto(sys.argv[1].encode() + b" heard " + said, who)
"#;

impl Lab {
    /// A file in the machine's folder.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.machine.dir().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Has a program of the host answer datagrams in a container's network: its image has none that could. Gives its id.
    fn answer(&self, name: &str, port: u16) -> String {
        let file = self.file("answer.py", ANSWER);
        let pid = self.strata(&format!("inspect -f {{{{.State.Pid}}}} {name}")).ok();
        let words = format!("nsenter --net --target {} python3 {file} {name} {port}", pid.trim());
        self.sh(&format!("{words} >/dev/null 2>&1 </dev/null & echo $!")).ok()
    }
}

#[test]
fn datagrams_reach_a_published_port_and_their_answers_come_back() {
    need!(available(), host::program("python3"));
    let lab = Lab::start().with_peer();
    lab.strata("run -d --name dns -p 5300-5301:53-54/udp -p 127.0.0.1:5353:53/udp box sleep 100000").ok();
    let answering = lab.answer("dns", 53);
    let ask = lab.file("ask.py", ASK);
    let get = |from: &str, at: &str| lab.eventually(&format!("{from} python3 {ask} {at}"));
    assert_eq!(get("", "127.0.0.1 5300"), "dns heard ping\n");
    assert_eq!(get("", "127.0.0.1 5353"), "dns heard ping\n");
    assert_eq!(get("", "10.99.0.1 5300"), "dns heard ping\n");
    assert_eq!(get("ip netns exec peer", "10.99.0.1 5300"), "dns heard ping\n");
    // Only on the loopback, and only by one protocol.
    assert_ne!(lab.sh(&format!("ip netns exec peer timeout 1 python3 {ask} 10.99.0.1 5353")).code, 0);
    assert_ne!(lab.sh("busybox timeout 1 busybox nc 127.0.0.1 5300 </dev/null").code, 0);
    assert_eq!(
        lab.strata("port dns").ok(),
        "53/udp -> 0.0.0.0:5300\n53/udp -> 127.0.0.1:5353\n54/udp -> 0.0.0.0:5301\n"
    );
    lab.sh(&format!("kill {answering}")).ok();
    lab.strata("rm -f dns").ok();
    lab.is_clean();
}

#[test]
fn published_ports_are_reached_by_ipv6() {
    need!(available(), host::program("python3"));
    let lab = Lab::start().with_peer();
    lab.sh("ip address add fd99::1/64 dev up0 nodad; ip -n peer address add fd99::2/64 dev up0 nodad").ok();
    lab.strata("network create --ipv6 --subnet 10.77.0.0/24 --subnet fd77::/64 six").ok();
    let web = "mkdir /www; echo web >/www/index.html; exec httpd -f -p 80 -h /www";
    let ports = ["-p", "8080:80", "-p", "[fd99::1]:8082:80", "-p", "5300:54/udp"];
    let words = [&["run", "-d", "--name", "web", "--network", "six"], &ports[..], &["box", "sh", "-c", web]].concat();
    lab.machine.strata(words).ok();
    let get =
        |from: &str, at: &str| lab.eventually(&format!("{from} busybox timeout 5 busybox wget -qO- http://{at}/"));
    for at in ["127.0.0.1:8080", "10.99.0.1:8080", "[fd99::1]:8080", "[fd99::1]:8082"] {
        assert_eq!(get("", at), "web\n", "from this host: {at}");
    }
    for at in ["10.99.0.1:8080", "[fd99::1]:8080", "[fd99::1]:8082"] {
        assert_eq!(get("ip netns exec peer", at), "web\n", "from outside: {at}");
    }
    // From the container itself and from its neighbour, by way of the host.
    let script = "timeout 5 wget -qO- http://[fd99::1]:8080/";
    assert_eq!(lab.machine.strata(["exec", "web", "sh", "-c", script]).ok(), "web\n");
    assert_eq!(lab.machine.strata(["run", "--rm", "--network", "six", "box", "sh", "-c", script]).ok(), "web\n");
    let refused =
        |at: &str| lab.sh(&format!("ip netns exec peer busybox timeout 1 busybox wget -qO- http://{at}/")).code;
    lab.sh("ip -n peer route add fd77::/64 via fd99::1").ok();
    assert_ne!(refused("[fd77::2]"), 0, "only what is published");
    let answering = lab.answer("web", 54);
    let ask = lab.file("ask.py", ASK);
    // Who tries ::1 first is refused at once, and tries 127.0.0.1.
    let local = lab.sh("busybox timeout 20 busybox wget -qO- http://[::1]:8080/");
    assert!(local.err.contains("refused"), "{local:?}");
    let words = ["run", "--rm", "--network", "six", "-p", "[::1]:8081:80", "box", "true"];
    assert!(lab.machine.strata(words).fails(125).contains("cannot publish port 80 at ::1 by a bridge"));
    for (from, at) in [("", "fd99::1"), ("ip netns exec peer", "fd99::1")] {
        assert_eq!(lab.eventually(&format!("{from} python3 {ask} {at} 5300")), "web heard ping\n");
    }
    lab.sh(&format!("kill {answering}")).ok();
    lab.strata("rm -f web").ok();
    lab.is_clean();
}

#[test]
fn all_exposed_ports_are_published_at_random() {
    need!(available());
    let lab = Lab::start();
    lab.serve("web", "-P --expose 80 --expose 90-91/udp");
    let ports = lab.strata("port web").ok();
    let of: Vec<(&str, u16)> = ports
        .lines()
        .map(|line| line.split_once(" -> 0.0.0.0:").unwrap())
        .map(|(port, host)| (port, host.parse().unwrap()))
        .collect();
    let names: Vec<&str> = of.iter().map(|(port, _)| *port).collect();
    assert_eq!(names, ["80/tcp", "90/udp", "91/udp"], "{ports}");
    assert_eq!(lab.eventually(&format!("busybox wget -qO- http://127.0.0.1:{}/", of[0].1)), "web\n");
    lab.strata("rm -f web").ok();
    lab.is_clean();
}

#[test]
fn macvlan_containers_are_on_the_hosts_network_themselves() {
    need!(available());
    let lab = Lab::start().with_peer();
    lab.strata("network create -d macvlan -o parent=up0 --subnet 10.99.0.0/24 --ip-range 10.99.0.64/26 --gateway 10.99.0.2 lan")
        .ok();
    lab.serve("web", "--network lan --ip 10.99.0.70 --mac-address 02:00:00:00:00:70");
    let get = "busybox timeout 5 busybox wget -qO- http://10.99.0.70/";
    assert_eq!(lab.eventually(&format!("ip netns exec peer {get}")), "web\n", "from outside");
    let known = lab.sh("ip netns exec peer ip neighbour show 10.99.0.70").ok();
    assert!(known.contains("02:00:00:00:00:70"), "{known}");
    // The host itself is kept apart from its macvlan interfaces by the kernel.
    assert_ne!(lab.sh(&format!("busybox timeout 1 {get}")).code, 0);
    let ask = |network: &str, script: &str| {
        lab.machine.strata(["run", "--rm", "--network", network, "box", "sh", "-c", script])
    };
    let script =
        "timeout 5 wget -qO- http://web/; ip route | grep default; ip -o -4 addr show eth0 | grep -o '10.99[^ ]*'";
    let seen = ask("lan", script).ok();
    assert_eq!(seen, "web\ndefault via 10.99.0.2 dev eth0 \n10.99.0.64/24\n");
    let private = "network create -d macvlan -o parent=up0 -o macvlan_mode=private --subnet 10.98.0.0/24 alone";
    lab.strata(private).ok();
    lab.serve("shy", "--network alone --ip 10.98.0.5");
    assert_ne!(ask("alone", "timeout 1 wget -qO- http://10.98.0.5/; exit $?").code, 0);
    let refused = lab.strata("run --rm --network lan -p 80:80 box true");
    assert_eq!(refused.code, 0, "as Docker, which ignores it: {refused:?}");
    lab.strata("network create -d macvlan -o parent=nope0 --subnet 10.97.0.0/24 lost").ok();
    let missing = lab.strata("run --rm --network lost box true").fails(125);
    assert!(missing.contains("nope0"), "{missing}");
    lab.strata("rm -f web shy").ok();
    lab.is_clean();
}
