//! The network of somebody who is not root.

use std::time::Instant;

use strata_testkit::{host, need};

use super::{MANY, PATIENCE, Person, needs};

fn available() -> Result<(), String> {
    needs()?;
    ["pasta", "ip", "python3"].into_iter().try_for_each(host::program)
}

impl Person {
    /// Somebody on a machine from which a way leads out, to 10.99.0.2 in the namespace `peer`, where a server answers.
    fn connected() -> Self {
        let me = Self::with(MANY);
        me.has_tunnels();
        me.machine
            .sh("set -e; ip netns add peer
            ip link add up0 type veth peer name up0 netns peer
            ip address add 10.99.0.1/24 dev up0; ip link set up0 up; ip route add default via 10.99.0.2
            ip -n peer link set lo up; ip -n peer address add 10.99.0.2/24 dev up0; ip -n peer link set up0 up
            mkdir -p www; echo outside > www/index.html; chmod 755 www; chmod 644 www/index.html
            ip netns exec peer busybox httpd -p 10.99.0.2:8000 -h $PWD/www")
            .ok();
        me
    }

    /// Everybody may make interfaces of that kind, as udev has it.
    fn has_tunnels(&self) {
        self.machine
            .sh("mkdir -p /dev/net && mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200 && chmod 666 /dev/net/tun")
            .ok();
    }

    /// What a command prints once it succeeds.
    #[track_caller]
    fn eventually(&self, script: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ran = self.machine.sh(script);
            if ran.code == 0 {
                return ran.out;
            }
            assert!(Instant::now() < deadline, "{script}: {ran:?}");
        }
    }

    /// Starts a container that answers HTTP requests on port 80.
    fn serve(&self, options: &str) {
        let script = "mkdir /www; echo here >/www/index.html; exec httpd -f -p 80 -h /www";
        let words: Vec<&str> = ["run", "-d"].into_iter().chain(options.split(' ')).collect();
        self.run(&[words.as_slice(), &["box", "sh", "-c", script]].concat()).ok();
    }

    #[track_caller]
    fn no_pasta_is_left(&self) {
        self.eventually("! ps -A -o comm | grep -q -e pasta -e passt");
    }
}

#[test]
fn pasta_is_what_everybody_gets() {
    need!(available());
    let me = Person::connected();
    let ran = me.run(&["run", "--rm", "box", "sh", "-c", "wget -qO- http://10.99.0.2:8000/; ls /sys/class/net"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "outside\neth0\nlo\n", ""));
    // Ordinary users may open low ports and ping, as with networks.
    let low = me.run(&["run", "--rm", "-u", "user", "box", "sh", "-c", "timeout 1 nc -l -p 80; echo $?"]);
    assert_eq!(low.ok(), "143\n");
    me.no_pasta_is_left();
    // The host's own loopback is out of reach unless somebody asks for it.
    me.machine.sh("busybox httpd -p 127.0.0.1:8001 -h $PWD/www").ok();
    let gateway = ["sh", "-c", "timeout 3 wget -qO- http://10.99.0.2:8001/; exit $?"];
    let by = |network: &str| me.run(&[&["run", "--rm", "--network", network, "box"], &gateway[..]].concat());
    assert_ne!(by("pasta").code, 0);
    assert_eq!(by("pasta:--map-gw").ok(), "outside\n");
    assert_eq!(
        me.run(&["run", "--rm", "--network", "pasta:-I,tap7", "box", "ls", "/sys/class/net"]).ok(),
        "lo\ntap7\n"
    );
    let refused = me.strata("run --rm --network pasta:--nonsense box true");
    assert!(refused.fails(125).contains("pasta cannot give the container a network"));
    me.no_pasta_is_left();
}

#[test]
fn ports_are_published_and_told() {
    need!(available());
    let me = Person::connected();
    me.serve("--name web -p 8080:80 -p 127.0.0.1:8443:80 -p 80");
    me.eventually("busybox wget -qO- http://127.0.0.1:8080/");
    assert_eq!(me.machine.sh("ip netns exec peer busybox wget -qO- http://10.99.0.1:8080/").ok(), "here\n");
    assert_eq!(me.machine.sh("busybox wget -qO- http://127.0.0.1:8443/").ok(), "here\n");
    assert_ne!(me.machine.sh("ip netns exec peer busybox wget -T 2 -qO- http://10.99.0.1:8443/").code, 0);
    let told = me.strata("port web").ok();
    assert!(told.starts_with("80/tcp -> 0.0.0.0:8080\n") && told.ends_with("80/tcp -> 127.0.0.1:8443\n"), "{told}");
    let random = told.lines().find(|line| !line.contains(":8")).unwrap().rsplit(':').next().unwrap().to_owned();
    assert_eq!(me.machine.sh(&format!("busybox wget -qO- http://127.0.0.1:{random}/")).ok(), "here\n");
    assert!(me.strata("ps --format {{.Ports}}").ok().contains("0.0.0.0:8080->80/tcp, "));
    let shown =
        "{{.HostConfig.NetworkMode}} {{.NetworkSettings.IPAddress}} {{.NetworkSettings.Networks.pasta.Gateway}}";
    assert_eq!(me.run(&["inspect", "-f", shown, "web"]).ok(), "pasta 10.99.0.1 10.99.0.2\n");
    for (port, why) in [
        ("8080:80", "Bind for 0.0.0.0:8080 failed: port is already allocated"),
        ("81:80", "cannot expose privileged port 81, you can add 'net.ipv4.ip_unprivileged_port_start=81'"),
        ("9000:80/sctp", "pasta publishes tcp and udp ports only"),
    ] {
        let refused = me.run(&["run", "--rm", "-p", port, "box", "true"]);
        assert!(refused.clone().fails(125).contains(why), "{port}: {refused:?}");
    }
    me.strata("rm -f web").ok();
    me.no_pasta_is_left();
}

#[test]
fn datagrams_come_and_answers_go() {
    need!(available());
    let me = Person::connected();
    me.strata("run -d --name echo -p 5000:5000/udp box sleep 1000").ok();
    let echo = "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 5000))
while True: s.sendto(*s.recvfrom(10))";
    std::fs::write(me.machine.dir().join("echo.py"), echo).unwrap();
    let pid = me.strata("inspect -f {{.State.Pid}} echo").ok();
    me.machine.sh(&format!("nsenter -n -t {} python3 echo.py </dev/null >/dev/null 2>&1 &", pid.trim())).ok();
    let ask = "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1)
s.sendto(b'hi', ('127.0.0.1', 5000)); assert s.recvfrom(10)[0] == b'hi'";
    me.eventually(&format!("python3 -c \"{ask}\" 2>&1"));
    me.strata("rm -f echo").ok();
}

#[test]
fn pasta_ends_with_its_container_and_comes_again() {
    need!(available());
    let me = Person::connected();
    me.serve("--name web --restart on-failure:1 -p 8080:80");
    me.eventually("busybox wget -qO- http://127.0.0.1:8080/");
    // The container comes back with a network, whoever ends it.
    let pid = me.strata("inspect -f {{.State.Pid}} web").ok();
    me.machine.sh(&format!("kill -9 {pid}")).ok();
    me.eventually(&format!("busybox wget -qO- http://127.0.0.1:8080/ && [ ! -e /proc/{} ]", pid.trim()));
    me.strata("restart -t 0 web").ok();
    me.eventually("busybox wget -qO- http://127.0.0.1:8080/");
    assert_eq!(me.machine.sh("ps -A -o comm | grep -c -e pasta -e passt").out, "1\n");
    // Even the worst end of the shim is the end of pasta.
    me.machine.sh("kill -9 $(ps -A -o pid,args | grep [s]trata-shim | cut -c1-7)").ok();
    me.no_pasta_is_left();
    me.strata("start web").ok();
    me.eventually("busybox wget -qO- http://127.0.0.1:8080/");
    // One that dies by itself takes the network with it, and nothing else.
    me.machine.sh("kill -9 $(ps -A -o pid,comm | grep -e pasta -e passt | cut -c1-7)").ok();
    me.eventually("! busybox wget -T 1 -qO- http://127.0.0.1:8080/ 2>&1");
    assert_eq!(me.strata("exec web wget -qO- http://127.0.0.1/").ok(), "here\n");
    me.strata("rm -f web").ok();
    me.no_pasta_is_left();
}

#[test]
fn names_are_asked_of_the_hosts_resolvers() {
    need!(available());
    let me = Person::connected();
    let server = r"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', 53))
while True:
    q, who = s.recvfrom(512)
    end = q.index(0, 12) + 5
    found = q[end - 4:end - 2] == b'\0\1'
    head = q[:2] + b'\x81\x80\0\1\0' + (b'\1' if found else b'\0') + b'\0\0\0\0'
    s.sendto(head + q[12:end] + (b'\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\x0a\1\2\3' if found else b''), who)
";
    std::fs::write(me.machine.dir().join("server.py"), server).unwrap();
    std::fs::write(me.machine.dir().join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
    me.machine
        .sh("chmod 644 resolv.conf; mount --bind resolv.conf /etc/resolv.conf; python3 server.py >/dev/null 2>&1 </dev/null &")
        .ok();
    me.eventually("busybox nslookup far.example.org 127.0.0.1 | grep 10.1.2.3");
    let asked = me.strata("run --rm box nslookup far.example.org");
    assert!(asked.out.contains("10.1.2.3"), "{asked:?}");
    // One that is elsewhere is asked directly.
    std::fs::write(me.machine.dir().join("resolv.conf"), "nameserver 10.99.0.2\n").unwrap();
    assert_eq!(me.strata("run --rm box cat /etc/resolv.conf").ok(), "nameserver 10.99.0.2\n");
}

#[test]
fn without_pasta_or_a_way_out_there_is_a_loopback_and_a_word() {
    need!(available());
    let me = Person::with(MANY);
    me.has_tunnels();
    let plain = me.strata("run --rm box ls /sys/class/net");
    assert_eq!((plain.code, plain.out.as_str()), (0, "lo\n"), "{}", plain.err);
    assert!(plain.err.contains("pasta cannot give the container a network: "), "{}", plain.err);
    assert!(plain.err.contains(": the container has a loopback interface\n"), "{}", plain.err);
    let published = me.strata("run --rm -p 8080:80 box true").fails(125);
    assert!(published.contains("pasta cannot give the container a network: "), "{published}");
    me.machine.sh("for dir in /usr/bin /bin; do mount --bind /dev/null $dir/pasta; done").ok();
    let plain = me.strata("run --rm box ls /sys/class/net");
    assert_eq!((plain.code, plain.out.as_str()), (0, "lo\n"), "{}", plain.err);
    assert!(plain.err.contains("pasta is not installed (package passt)"), "{}", plain.err);
    assert!(me.strata("run --rm -p 80:80 box true").fails(125).contains("install pasta (package passt)"));
    assert!(me.strata("run --rm --network pasta box true").fails(125).contains("install the package passt"));
}
