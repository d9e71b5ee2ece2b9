//! What containers ask that is no container's name: the host's resolvers answer, from the host's own network.

use strata_testkit::need;

use super::{Lab, available};

/// A machine with these lines as its `/etc/resolv.conf`, and a container `web` at 10.77.0.9 on the network `blue`.
fn lab(resolv_conf: &str) -> Lab {
    let lab = Lab::start().with_peer();
    let file = lab.machine.dir().join("resolv.conf");
    std::fs::write(&file, resolv_conf).unwrap();
    lab.sh(&format!("mount --bind {} /etc/resolv.conf", file.display())).ok();
    lab.strata("network create --subnet 10.77.0.0/24 blue").ok();
    lab.serve("web", "--network blue --ip 10.77.0.9");
    lab
}

impl Lab {
    fn ask(&self, script: &str) -> strata_testkit::machine::Ran {
        self.machine.strata(["run", "--rm", "--network", "blue", "box", "sh", "-c", script])
    }
}

/// A resolver that knows one name, and of that no IPv6 address.
const SERVER: &str = r"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', 53))
while True:
    q, who = s.recvfrom(512)
    end = q.index(0, 12) + 5
    known = q[12:end - 5].lower() == b'\x03far\x07example\x03org'
    found = known and q[end - 4:end - 2] == b'\0\1'
    head = q[:2] + (b'\x81\x80' if known else b'\x81\x83') + b'\0\1\0' + (b'\1' if found else b'\0') + b'\0\0\0\0'
    s.sendto(head + q[12:end] + (b'\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\x0a\1\2\3' if found else b''), who)
";

#[test]
fn a_resolver_on_the_hosts_loopback_is_asked_with_the_search_domains() {
    need!(available().and_then(|()| strata_testkit::host::program("python3")));
    let lab = lab("nameserver 127.0.0.1\nsearch example.org\n");
    let server = lab.machine.dir().join("server.py");
    std::fs::write(&server, SERVER).unwrap();
    lab.sh(&format!("python3 {} >/dev/null 2>&1 </dev/null &", server.display())).ok();
    lab.eventually("busybox nslookup far.example.org 127.0.0.1 | grep 10.1.2.3");
    let whole = lab.ask("nslookup far.example.org");
    assert!(whole.out.contains("10.1.2.3"), "{whole:?}");
    assert!(lab.ask("cat /etc/resolv.conf").ok().contains("search example.org"));
    let short = lab.ask("ping -c 1 -w 1 far; exit $?");
    assert!(short.out.starts_with("PING far (10.1.2.3)"), "{short:?}");
}

#[test]
fn a_dead_resolver_is_given_up_and_names_of_containers_go_on() {
    need!(available());
    // Nobody has that address.
    let lab = lab("nameserver 10.99.0.77\n");
    let failed = lab.ask("nslookup far.example.org; exit $?");
    assert_ne!(failed.code, 0, "{failed:?}");
    assert!(format!("{}{}", failed.out, failed.err).contains("SERVFAIL"), "{failed:?}");
    assert_eq!(lab.ask("wget -qO- http://web/").ok(), "web\n");
}

/// A resolver whose answer is too long for a datagram: it says so, and gives it by TCP.
const LONG_SERVER: &str = r"
import socket, threading
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(('127.0.0.1', 53))
t = socket.socket()
t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
t.bind(('127.0.0.1', 53))
t.listen()
def end(q):
    return q.index(0, 12) + 5
def datagrams():
    while True:
        q, who = u.recvfrom(512)
        u.sendto(q[:2] + b'\x83\x80\0\1\0\0\0\0\0\0' + q[12:end(q)], who)
threading.Thread(target=datagrams, daemon=True).start()
while True:
    c, _ = t.accept()
    q = c.recv(512)[2:]
    found = q[end(q) - 4:end(q) - 2] == b'\0\1'
    records = 60 if found else 0
    a = q[:2] + b'\x81\x80\0\1\0' + bytes([records]) + b'\0\0\0\0' + q[12:end(q)]
    a += b''.join(b'\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\x0a\1\2' + bytes([n + 1]) for n in range(records))
    c.sendall(len(a).to_bytes(2, 'big') + a)
    c.close()
";

#[test]
fn an_answer_that_is_too_long_for_a_datagram_comes_by_tcp() {
    need!(available().and_then(|()| strata_testkit::host::program("python3")));
    let lab = lab("nameserver 127.0.0.1\n");
    let server = lab.machine.dir().join("server.py");
    std::fs::write(&server, LONG_SERVER).unwrap();
    lab.sh(&format!("python3 {} >/dev/null 2>&1 </dev/null &", server.display())).ok();
    // 0035 in hexadecimal digits, listening.
    lab.eventually("grep -q ':0035 .* 0A ' /proc/net/tcp");
    let asked = lab.ask("ping -c 1 -w 1 far.example.org; exit $?");
    assert!(asked.out.starts_with("PING far.example.org (10.1.2."), "{asked:?}");
    assert_eq!(lab.ask("wget -qO- http://web/").ok(), "web\n");
}

#[test]
fn questions_by_tcp_are_answered() {
    need!(available());
    let lab = lab("nameserver 10.99.0.77\n");
    // Length, header with one question, and `web A IN` (RFC 1035 4.2.2).
    let question = r"\0\025\022\064\001\0\0\001\0\0\0\0\0\0\003web\0\0\001\0\001";
    let answer = lab.ask(&format!("printf '{question}' | timeout 5 nc 127.0.0.11 53 | hexdump -v -e '1/1 \"%02x \"'"));
    assert!(answer.out.contains("0a 4d 00 09"), "{answer:?}");
}
