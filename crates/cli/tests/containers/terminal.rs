//! A person at a real terminal: sizes, keys, leaving and coming back.

use strata_testkit::machine::Ran;
use strata_testkit::{host, need};

use super::{Lab, needs};

/// What the person does: `A` is a command at a terminal of its own. Nothing is typed before what comes before it was seen,
/// and the terminal is looked at when the command has ended.
const PERSON: &str = r#"
import fcntl, os, pty, struct, sys, termios
strata, root = sys.argv[1:3]
# A shell that leaves the line to the terminal, and waits for a size.
shell = r"""
trap : INT
wait_for() { timeout 30 sh -c 'until [ "$(stty size)" = "'"$1"'" ]; do :; done'; stty size; }
while printf '> '; read -r line; do eval "$line"; done
"""

class At:
    def __init__(self, *words, size=(24, 80)):
        self.fd, self.slave = pty.openpty()
        self.size(*size)
        self.before = termios.tcgetattr(self.slave)
        self.seen, self.pid = b"", os.fork()
        if self.pid == 0:
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
            for fd in range(3):
                os.dup2(self.slave, fd)
            os.execv(strata, [strata, "--root", root, *words])

    def size(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, text):
        while text not in self.seen:
            self.seen += os.read(self.fd, 4096)
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, keys):
        os.write(self.fd, keys)

    def ask(self, line):
        self.type(line + b"\r")
        echoed = self.until(b"\r\n")
        assert echoed == line, (echoed, line)
        return self.until(b"> ").decode().strip()

    def end(self):
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        assert termios.tcgetattr(self.slave) == self.before, "the terminal stays as it was made"
        return code

a = At("run", "-it", "--name", "web", "--network", "none", "box", "sh", "-c", shell, size=(40, 100))
a.until(b"> ")
print("at first", a.ask(b"stty size"))
a.size(33, 77)
print("then", a.ask(b"wait_for '33 77'"))
a.type(b"sh -c 'echo g\"\"o; exec sleep 1000'\r")
a.until(b"\r\ngo\r\n")
a.type(b"\x03")
a.until(b"> ")
print("interrupted", a.ask(b"echo yes"))
a.type(b"\x10\x11")
print("left", a.end())

a = At("attach", "web", size=(20, 60))
a.type(b"\r")
a.until(b"> ")
print("again", a.ask(b"wait_for '20 60'"))
b = At("exec", "-it", "web", "sh", "-c", shell, size=(10, 50))
b.until(b"> ")
print("beside", b.ask(b"stty size; tty"))
b.type(b"\x10\x11")
print("left", b.end())
b = At("exec", "-it", "--detach-keys", "a,ctrl-b", "web", "sh", "-c", shell)
b.until(b"> ")
b.type(b"a\x02")
print("left by other keys", b.end())
b = At("exec", "-it", "web", "sh", "-c", shell)
b.until(b"> ")
b.type(b"\x04")
print("end of input", b.end())
a.type(b"exit 7\r")
print("ended", a.end())
a = At("start", "-ai", "web", size=(21, 61))
a.until(b"> ")
print("once more", a.ask(b"wait_for '21 61'"))
a.type(b"exit\r")
print("ended", a.end())
"#;

#[test]
fn a_person_works_leaves_and_comes_back() {
    need!(needs(), host::program("python3"));
    let lab = Lab::start();
    let mut person = lab.machine.command("python3");
    person.args(["-c", PERSON]).arg(host::strata()).arg(lab.machine.root());
    let done = Ran::from(person.output().unwrap()).ok();
    let expected = "at first 40 100\nthen 33 77\ninterrupted yes\nleft 0\nagain 20 60\nbeside 10 50\r\n/dev/pts/1\nleft 0\n\
                    left by other keys 0\nend of input 0\nended 7\nonce more 21 61\nended 0\n";
    assert_eq!(done, expected);
    let told = lab.told("-f container=web");
    let of = |act: &str| told.iter().filter(|line| line.as_str() == format!("container {act}")).count();
    assert_eq!((of("detach"), of("exec_detach"), of("attach")), (1, 2, 3), "{told:?}");
    assert!(of("resize") >= 3, "{told:?}");
    lab.strata("rm web").ok();
    lab.is_clean();
}
