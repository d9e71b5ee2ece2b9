//! The processes of a container, as ps(1) shows them, read from `/proc`.

use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use strata_runtime::Status;

use crate::container::{ContainerError, Known};
use crate::{Engine, Result, events};

/// A table of processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processes {
    /// The heads of the columns.
    pub titles: Vec<&'static str>,
    /// One row for each process.
    pub rows: Vec<Vec<String>>,
}

/// What a column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    User,
    Uid,
    Pid,
    Ppid,
    C,
    CpuPercent,
    MemoryPercent,
    VirtualKib,
    ResidentKib,
    Tty,
    State,
    Start,
    Time,
    Minutes,
    Elapsed,
    Nice,
    Threads,
    Name,
    Command,
}

/// The columns one may ask for with `-o`: name, head, field.
const COLUMNS: &[(&str, &str, Field)] = &[
    ("user", "USER", Field::User),
    ("euser", "EUSER", Field::User),
    ("uid", "UID", Field::Uid),
    ("pid", "PID", Field::Pid),
    ("ppid", "PPID", Field::Ppid),
    ("c", "C", Field::C),
    ("pcpu", "%CPU", Field::CpuPercent),
    ("%cpu", "%CPU", Field::CpuPercent),
    ("pmem", "%MEM", Field::MemoryPercent),
    ("%mem", "%MEM", Field::MemoryPercent),
    ("vsz", "VSZ", Field::VirtualKib),
    ("rss", "RSS", Field::ResidentKib),
    ("tty", "TT", Field::Tty),
    ("tt", "TT", Field::Tty),
    ("stat", "STAT", Field::State),
    ("s", "S", Field::State),
    ("stime", "STIME", Field::Start),
    ("start", "START", Field::Start),
    ("time", "TIME", Field::Time),
    ("etime", "ELAPSED", Field::Elapsed),
    ("ni", "NI", Field::Nice),
    ("nice", "NI", Field::Nice),
    ("nlwp", "NLWP", Field::Threads),
    ("thcount", "THCNT", Field::Threads),
    ("comm", "COMMAND", Field::Name),
    ("ucmd", "CMD", Field::Name),
    ("cmd", "CMD", Field::Command),
    ("args", "COMMAND", Field::Command),
    ("command", "COMMAND", Field::Command),
];

/// `ps -ef`.
const FULL: &[(&str, Field)] = &[
    ("UID", Field::User),
    ("PID", Field::Pid),
    ("PPID", Field::Ppid),
    ("C", Field::C),
    ("STIME", Field::Start),
    ("TTY", Field::Tty),
    ("TIME", Field::Time),
    ("CMD", Field::Command),
];

/// `ps -e`.
const SIMPLE: &[(&str, Field)] =
    &[("PID", Field::Pid), ("TTY", Field::Tty), ("TIME", Field::Time), ("CMD", Field::Name)];

/// `ps ax`.
const SHORT: &[(&str, Field)] = &[
    ("PID", Field::Pid),
    ("TTY", Field::Tty),
    ("STAT", Field::State),
    ("TIME", Field::Minutes),
    ("COMMAND", Field::Command),
];

/// `ps aux`.
const BSD: &[(&str, Field)] = &[
    ("USER", Field::User),
    ("PID", Field::Pid),
    ("%CPU", Field::CpuPercent),
    ("%MEM", Field::MemoryPercent),
    ("VSZ", Field::VirtualKib),
    ("RSS", Field::ResidentKib),
    ("TTY", Field::Tty),
    ("STAT", Field::State),
    ("START", Field::Start),
    ("TIME", Field::Minutes),
    ("COMMAND", Field::Command),
];

/// Clock ticks in a second, as the kernel shows them to every program (`USER_HZ`).
const TICKS: u64 = 100;

impl Engine {
    /// The processes of a running container. `options` are those of ps(1): none, `-ef`, `aux`, `axo COLUMN,…`.
    ///
    /// # Errors
    /// When it does not run, or the options are not understood.
    pub fn top(&self, known: &Known, options: &[String], zone: &TimeZone) -> Result<Processes> {
        let process = self.process(known.id());
        match process.state()?.status {
            Status::Running | Status::Paused => {}
            Status::Restarting => return Err(ContainerError::restarting(known.id()).into()),
            _ => return Err(ContainerError::NotRunning(format!("container {} is not running", known.id())).into()),
        }
        let columns = columns(options)?;
        self.record_event(events::of(known, "top"));
        let host = Host::read(self.now(), zone);
        // A process that ends while we look has no row.
        let rows = process.pids()?.into_iter().filter_map(|pid| {
            let stat = Stat::read(Path::new("/proc"), pid)?;
            Some(columns.iter().map(|(_, field)| host.show(*field, &stat)).collect())
        });
        Ok(Processes { titles: columns.iter().map(|(title, _)| *title).collect(), rows: rows.collect() })
    }
}

fn columns(options: &[String]) -> Result<Vec<(&'static str, Field)>> {
    let mut wanted = Vec::new();
    let mut words = options.iter().flat_map(|word| word.split_whitespace()).peekable();
    let mut format = if words.peek().is_none() { FULL } else { SIMPLE };
    let mut numbers = false;
    while let Some(word) = words.next() {
        if let Some(list) = word.strip_prefix("--format") {
            add(&mut wanted, "--format", list.strip_prefix('=').or_else(|| words.next()))?;
            continue;
        }
        if word.starts_with("--") {
            return Err(refused("unknown gnu long option"));
        }
        let dashed = word.strip_prefix('-');
        let letters = dashed.unwrap_or(word);
        // `-aux` is taken for `aux`, as ps does.
        let is_bsd = dashed.is_none() || letters.contains(['u', 'x']);
        if is_bsd && format == SIMPLE {
            format = SHORT;
        }
        for (at, letter) in letters.char_indices() {
            match letter {
                'o' => {
                    let list = &letters[at + 1..];
                    add(&mut wanted, "-o", if list.is_empty() { words.next() } else { Some(list) })?;
                    break;
                }
                'u' => format = BSD,
                'f' if !is_bsd => format = FULL,
                // All processes and whole lines are shown anyway.
                'a' | 'w' | 'x' => {}
                'A' | 'd' | 'e' if !is_bsd => {}
                'n' if is_bsd => numbers = true,
                _ if dashed.is_some() => return Err(refused("unsupported SysV option")),
                _ => return Err(refused("unsupported option (BSD syntax)")),
            }
        }
    }
    if wanted.is_empty() {
        wanted.extend(format);
    } else if !wanted.iter().any(|(_, field)| *field == Field::Pid) {
        return Err(ContainerError::invalid("Couldn't find PID field in ps output"));
    }
    for (_, field) in wanted.iter_mut().filter(|(_, field)| numbers && *field == Field::User) {
        *field = Field::Uid;
    }
    Ok(wanted)
}

/// Adds the columns of a list.
fn add(wanted: &mut Vec<(&'static str, Field)>, option: &str, list: Option<&str>) -> Result<()> {
    let missing = || refused(&format!("format specification must follow {option}"));
    let list = list.filter(|list| !list.is_empty()).ok_or_else(missing)?;
    for name in list.split(',') {
        let name = name.split_once('=').map_or(name, |(name, _)| name);
        let known = COLUMNS
            .iter()
            .find(|(column, ..)| *column == name)
            .ok_or_else(|| refused(&format!("unknown user-defined format specifier {name:?}")))?;
        wanted.push((known.1, known.2));
    }
    Ok(())
}

/// What ps(1) would say.
fn refused(what: &str) -> crate::Error {
    ContainerError::invalid(format!("ps: error: {what}"))
}

/// What is the same for all processes.
struct Host<'z> {
    now: Timestamp,
    boot_s: i64,
    memory_kib: u64,
    passwd: String,
    zone: &'z TimeZone,
}

/// One process.
#[derive(Debug, Default)]
struct Stat {
    pid: i32,
    ppid: i32,
    uid: u32,
    name: String,
    state: char,
    tty: u32,
    is_leader: bool,
    in_foreground: bool,
    cpu_ticks: u64,
    nice: i64,
    threads: u64,
    started_ticks: u64,
    virtual_bytes: u64,
    resident_kib: u64,
    command: String,
}

impl Stat {
    fn read(proc: &Path, pid: i32) -> Option<Self> {
        let dir = proc.join(pid.to_string());
        let text = std::fs::read_to_string(dir.join("stat")).ok()?;
        let status = std::fs::read_to_string(dir.join("status")).ok()?;
        let words = std::fs::read(dir.join("cmdline")).ok()?;
        Self::parse(&text, &status, &words)
    }

    fn parse(text: &str, status: &str, words: &[u8]) -> Option<Self> {
        let (pid, rest) = text.split_once(" (")?;
        // The name may hold anything, parentheses too: what counts is the last one.
        let (name, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |index: usize| fields.get(index).and_then(|field| field.trim().parse::<i64>().ok()).unwrap_or(0);
        let count = |index: usize| u64::try_from(number(index)).unwrap_or(0);
        let of_status = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().nth(usize::from(name == "Uid:"))?.parse::<u64>().ok()
        };
        let command = String::from_utf8_lossy(words.strip_suffix(b"\0").unwrap_or(words)).replace('\0', " ");
        let pid = pid.parse().ok()?;
        Some(Self {
            pid,
            ppid: i32::try_from(number(1)).ok()?,
            uid: u32::try_from(of_status("Uid:")?).ok()?,
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            tty: u32::try_from(number(4)).unwrap_or(0),
            is_leader: number(3) == i64::from(pid),
            in_foreground: number(2) == number(5),
            cpu_ticks: count(11) + count(12),
            nice: number(16),
            threads: count(17),
            started_ticks: count(19),
            virtual_bytes: count(20),
            resident_kib: of_status("VmRSS:").unwrap_or(0),
            command: if command.is_empty() { format!("[{name}]") } else { command },
        })
    }
}

impl<'z> Host<'z> {
    fn read(now: Timestamp, zone: &'z TimeZone) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let after = |text: &str, name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        Self {
            now,
            boot_s: i64::try_from(after(&read("/proc/stat"), "btime ")).unwrap_or(0),
            memory_kib: after(&read("/proc/meminfo"), "MemTotal:").max(1),
            passwd: read("/etc/passwd"),
            zone,
        }
    }

    fn show(&self, field: Field, stat: &Stat) -> String {
        let seconds = stat.cpu_ticks / TICKS;
        let age_s = self.age_s(stat);
        match field {
            Field::User => self.user(stat.uid),
            Field::Uid => stat.uid.to_string(),
            Field::Pid => stat.pid.to_string(),
            Field::Ppid => stat.ppid.to_string(),
            Field::C => (seconds * 100 / age_s).min(99).to_string(),
            Field::CpuPercent => tenths(stat.cpu_ticks * 1000 / TICKS / age_s),
            Field::MemoryPercent => tenths(stat.resident_kib * 1000 / self.memory_kib),
            Field::VirtualKib => (stat.virtual_bytes >> 10).to_string(),
            Field::ResidentKib => stat.resident_kib.to_string(),
            Field::Tty => tty(stat.tty),
            Field::State => state(stat),
            Field::Start => self.start(stat),
            Field::Time => clock(seconds),
            Field::Minutes => format!("{}:{:02}", seconds / 60, seconds % 60),
            Field::Elapsed => elapsed(age_s),
            Field::Nice => stat.nice.to_string(),
            Field::Threads => stat.threads.to_string(),
            Field::Name => stat.name.clone(),
            Field::Command => stat.command.clone(),
        }
    }

    fn started(&self, stat: &Stat) -> Timestamp {
        let seconds = self.boot_s.saturating_add(i64::try_from(stat.started_ticks / TICKS).unwrap_or(0));
        Timestamp::from_second(seconds).unwrap_or(self.now)
    }

    fn age_s(&self, stat: &Stat) -> u64 {
        u64::try_from(self.now.duration_since(self.started(stat)).as_secs()).unwrap_or(0).max(1)
    }

    /// The time of day for today's processes, the date for older ones.
    fn start(&self, stat: &Stat) -> String {
        let started = self.started(stat).to_zoned(self.zone.clone());
        let today = started.date() == self.now.to_zoned(self.zone.clone()).date();
        started.strftime(if today { "%H:%M" } else { "%b%d" }).to_string()
    }

    /// The host's name for a user, as ps(1) on the host shows it.
    fn user(&self, uid: u32) -> String {
        let number = uid.to_string();
        let mut lines = self.passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
        lines
            .find(|fields| fields.get(2) == Some(&number.as_str()))
            .map_or(number.clone(), |fields| fields[0].to_owned())
    }
}

fn tenths(thousandths: u64) -> String {
    format!("{}.{}", thousandths / 10, thousandths % 10)
}

fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn elapsed(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes:02}:{:02}", seconds % 60),
        (0, _) => format!("{hours:02}:{minutes:02}:{:02}", seconds % 60),
        _ => format!("{days}-{hours:02}:{minutes:02}:{:02}", seconds % 60),
    }
}

/// A terminal's name from its device number, as proc(5) packs it.
fn tty(device: u32) -> String {
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
    match major {
        0 => String::from("?"),
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        5 if minor == 1 => String::from("console"),
        _ => String::from("?"),
    }
}

fn state(stat: &Stat) -> String {
    let mut text = String::from(stat.state);
    let mut add = |letter: char, shown: bool| text.extend(shown.then_some(letter));
    add('<', stat.nice < 0);
    add('N', stat.nice > 0);
    add('s', stat.is_leader);
    add('l', stat.threads > 1);
    add('+', stat.tty != 0 && stat.in_foreground);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a) b) S 1 42 42 34817 42 4194560 99 0 0 0 150 50 0 0 20 0 1 0 1000 4096000 200 0";

    fn host(zone: &TimeZone) -> Host<'_> {
        Host {
            now: "2024-03-01T12:00:00Z".parse().unwrap(),
            boot_s: 1_709_290_000,
            memory_kib: 1 << 20,
            passwd: "root:x:0:0::/:/bin/sh\n".into(),
            zone,
        }
    }

    #[test]
    fn a_process_is_shown_as_ps_shows_it() {
        let stat = Stat::parse(STAT, "Name:\ta\nUid:\t0\t0\t0\t0\nVmRSS:\t  1024 kB\n", b"sleep\x0010\0").unwrap();
        let shown: Vec<String> = FULL.iter().map(|(_, field)| host(&TimeZone::UTC).show(*field, &stat)).collect();
        assert_eq!(shown, ["root", "42", "1", "0", "10:46", "pts/1", "00:00:02", "sleep 10"]);
        let shown: Vec<String> = BSD[2..8].iter().map(|(_, field)| host(&TimeZone::UTC).show(*field, &stat)).collect();
        assert_eq!(shown, ["0.0", "0.0", "4000", "1024", "pts/1", "Ss+"]);
        assert_eq!(host(&TimeZone::UTC).show(Field::Minutes, &stat), "0:02");
    }

    #[test]
    fn columns_can_be_chosen() {
        let titles = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            columns(&words).map(|columns| columns.iter().map(|(title, _)| *title).collect::<Vec<_>>())
        };
        assert_eq!(titles(&["-o", "pid,comm"]).unwrap(), ["PID", "COMMAND"]);
        assert_eq!(titles(&["-eo", "pid,args"]).unwrap(), ["PID", "COMMAND"]);
        assert_eq!(titles(&["aux"]).unwrap()[0], "USER");
        assert_eq!(titles(&[]).unwrap().len(), 8);
        assert_eq!(titles(&["-o", "comm"]).unwrap_err().to_string(), "Couldn't find PID field in ps output");
        assert_eq!(titles(&["axo", "pid,ppid"]).unwrap(), ["PID", "PPID"]);
        assert_eq!(titles(&["-opid", "--format=args"]).unwrap(), ["PID", "COMMAND"]);
        assert_eq!(titles(&["-e"]).unwrap(), ["PID", "TTY", "TIME", "CMD"]);
        assert_eq!(titles(&["ax"]).unwrap(), ["PID", "TTY", "STAT", "TIME", "COMMAND"]);
        assert_eq!(titles(&["-fe"]).unwrap(), titles(&[]).unwrap());
        assert_eq!(titles(&["-aux"]).unwrap(), titles(&["aux"]).unwrap());
        assert_eq!(titles(&[""]).unwrap(), titles(&[]).unwrap());
        for (bad, said) in [
            ("--nope", "unknown gnu long option"),
            ("pid", "unsupported option (BSD syntax)"),
            ("axf", "unsupported option (BSD syntax)"),
            ("-L", "unsupported SysV option"),
            ("-o", "format specification must follow -o"),
            ("-opid,nope", "unknown user-defined format specifier \"nope\""),
        ] {
            assert_eq!(titles(&[bad]).unwrap_err().to_string(), format!("ps: error: {said}"));
        }
        assert_eq!(columns(&["aun".to_owned()]).unwrap()[0], ("USER", Field::Uid));
    }
}
