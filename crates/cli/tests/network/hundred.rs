//! A hundred containers, one after the other: the last costs what the first did, and nothing is left when they are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use strata_testkit::need;

use super::{Lab, available};

const CONTAINERS: usize = 100;

/// The last ten may cost so much more than the first ten, beside something whose cost cannot grow: times are counted in
/// whole milliseconds, and starts take about ten.
const TREND_MAX: f64 = 1.25;

/// A shim of an optimized program has less than 1 MB (`cargo xtask bench hundred`); this one is not optimized.
const SHIM_PSS_KB_MAX: u64 = 2500;

/// What one start took of the processor: the command's part and the shim's.
#[derive(Clone, Copy, Debug)]
struct Cost {
    command_ms: f64,
    shim_ms: f64,
}

/// All starts, and how long the same other work took beside the first ten and the last ten: on a busy machine everything
/// takes longer for a while.
struct Starts {
    ids: Vec<String>,
    costs: Vec<Cost>,
    beside_ms: [f64; 2],
}

/// All that containers could leave behind, by kind.
type Traces = BTreeMap<&'static str, BTreeSet<String>>;

impl Lab {
    /// Starts container after container, idle, each with a published port. Beside the first and the last it runs one without
    /// a network in a store of its own.
    fn start_hundred(&self) -> Starts {
        let script = r#"
            for i in $(seq 1 $3); do
                if [ $i -le 10 ] || [ $i -gt $(($3 - 10)) ]; then
                    TIMEFORMAT='beside %U %S'
                    time for n in 1 2 3; do "$1" --root "$2-beside" run --rm --network none box true; done
                fi
                TIMEFORMAT='time %U %S'
                time id=$("$1" --root "$2" run -d --name c$i -p $((9000 + i)):80 box sleep 100000)
                shim=$(sed -n 's/.*"shim_pid":\([0-9]*\).*/\1/p' "$2/containers/$id/state.json")
                read -r on_cpu _ <"/proc/$shim/schedstat"
                echo "shim $on_cpu $id" >&2
            done"#;
        let words = ["-c", script, "bash"];
        let mut command = self.machine.command("bash");
        command.args(words).arg(strata_testkit::host::strata()).arg(self.machine.root()).arg(CONTAINERS.to_string());
        let ran = strata_testkit::machine::Ran::from(command.output().unwrap());
        assert_eq!(ran.code, 0, "{ran:?}");
        let of = |kind: &str| -> Vec<Vec<String>> {
            let lines = ran.err.lines().filter_map(|line| line.strip_prefix(kind));
            lines.map(|rest| rest.split_whitespace().map(str::to_owned).collect()).collect()
        };
        let (commands, shims) = (of("time"), of("shim"));
        assert_eq!((commands.len(), shims.len()), (CONTAINERS, CONTAINERS), "{}", ran.err);
        let number = |word: &String| word.parse::<f64>().unwrap();
        let cost = |(command, shim): (&Vec<String>, &Vec<String>)| Cost {
            command_ms: (number(&command[0]) + number(&command[1])) * 1e3,
            shim_ms: number(&shim[0]) / 1e6,
        };
        let ids = shims.iter().map(|shim| shim[1].clone()).collect();
        let costs = commands.iter().zip(&shims).map(cost).collect();
        let beside: Vec<f64> = of("beside").iter().map(|words| (number(&words[0]) + number(&words[1])) * 1e3).collect();
        assert_eq!(beside.len(), 20, "{}", ran.err);
        Starts { ids, costs, beside_ms: [middle(beside[..10].to_vec()), middle(beside[10..].to_vec())] }
    }

    /// The proportional set sizes of all shims, when they have nothing to do.
    fn shim_sizes_kb(&self) -> Vec<u64> {
        let script = r#"for p in /proc/[0-9]*; do
            [ "$(cat $p/comm)" != strata-shim ] || sed -n 's/^Pss: *\([0-9]*\) kB/\1/p' $p/smaps_rollup
            done 2>/dev/null; :"#;
        self.sh(script).ok().lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Looks at everything that could be left behind.
    fn look(&self, ids: &[String]) -> Traces {
        let root = self.machine.root().display().to_string();
        let store = format!("find {root} ! -name 'strata.db*' ! -path '*/known/*'; find /run");
        // Mounts as each mount namespace that is still there sees them; the store's own is held by a file.
        let mounts = "for p in /proc/[0-9]*; do sed 's/^[0-9]* [0-9]* //' $p/mountinfo; done 2>/dev/null; \
                      for n in /run/strata/*/layers.mnt; do nsenter --mount=$n sed 's/^[0-9]* [0-9]* //' /proc/self/mountinfo; done";
        let namespaces = "for n in /proc/[0-9]*/ns/* /proc/[0-9]*/task/*/ns/*; do readlink $n; done 2>/dev/null; \
                          grep -ho '[a-z]*:\\[[0-9]*\\]' /proc/[0-9]*/mountinfo; :";
        let groups: Vec<String> = ids.iter().map(|id| format!("-o -name '{id}*'")).collect();
        let groups = format!("find /sys/fs/cgroup -type d '(' -name nothing {} ')'", groups.join(" "));
        let scripts = [
            ("namespaces", namespaces.to_owned()),
            ("mounts", mounts.to_owned()),
            ("control groups", groups),
            ("rules", "nft list ruleset".to_owned()),
            ("interfaces", "ip -o link | sed 's/^[0-9]*: //'; ip rule; ip route".to_owned()),
            ("processes", "cat /proc/[0-9]*/comm 2>/dev/null; :".to_owned()),
            ("files", store),
            ("memory files", "ls -l /proc/[0-9]*/fd 2>/dev/null | grep -o 'memfd:.*' ; :".to_owned()),
            ("sockets", "sed 1d /proc/net/unix | grep -o '[@/].*'; sed 1d /proc/net/tcp | cut -c1-24; :".to_owned()),
            ("settings", "grep . /proc/sys/net/ipv4/ip_forward".to_owned()),
        ];
        let lines = |script: &str| self.sh(script).out.lines().map(str::to_owned).collect();
        scripts.iter().map(|(kind, script)| (*kind, lines(script))).collect()
    }

    /// Waits until all is as it was: interfaces and namespaces go in the kernel's own time.
    #[track_caller]
    fn becomes_as(&self, before: &Traces, ids: &[String]) {
        let asked = Instant::now();
        loop {
            let left: Vec<(&str, String)> = self
                .look(ids)
                .into_iter()
                .flat_map(|(kind, now)| {
                    now.difference(&before[kind]).map(|line| (kind, line.clone())).collect::<Vec<_>>()
                })
                .collect();
            if left.is_empty() {
                return;
            }
            assert!(asked.elapsed() < super::PATIENCE, "left behind: {left:#?}");
        }
    }
}

/// The middle of what ten starts took.
fn median(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> f64 {
    middle(costs.iter().map(of).collect())
}

fn middle(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    f64::midpoint(all[(all.len() - 1) / 2], all[all.len() / 2])
}

#[test]
fn a_hundred_containers_show_no_trend_and_leave_nothing() {
    need!(available().and_then(|()| strata_testkit::host::program("bash")));
    let lab = Lab::start();
    // What stays by design, such as the store's own mount namespace, is there from the first container on.
    lab.strata("run --rm -p 9000:80 box true").ok();
    let beside = format!("{} --root {}-beside", strata_testkit::host::strata().display(), lab.machine.root().display());
    lab.sh(&format!("{beside} load -qi box.tar && {beside} run --rm --network none box true")).ok();
    let before = lab.look(&[]);
    let Starts { ids, costs, beside_ms } = lab.start_hundred();
    let whole = |cost: &Cost| cost.command_ms + cost.shim_ms;
    let (first, last) = (median(&costs[..10], whole), median(&costs[CONTAINERS - 10..], whole));
    let tens: Vec<String> = costs
        .chunks(10)
        .map(|ten| format!("{:.1}+{:.1}", median(ten, |cost| cost.command_ms), median(ten, |cost| cost.shim_ms)))
        .collect();
    let slower = beside_ms[1] / beside_ms[0];
    let told = format!("ms of the processor, command + shim, by tens: {tens:?}; other work: {beside_ms:.1?}");
    assert!(last <= first * slower.max(1.0) * TREND_MAX, "{told}");
    // A shim gives memory back when nothing has happened for a while.
    let asked = Instant::now();
    let mut sizes = lab.shim_sizes_kb();
    while sizes.iter().any(|size| *size > SHIM_PSS_KB_MAX) {
        assert!(asked.elapsed() < super::PATIENCE, "kB: {sizes:?}");
        sizes = lab.shim_sizes_kb();
    }
    assert_eq!(sizes.len(), CONTAINERS);
    eprintln!("{told}; PSS of a shim: {} kB", sizes.iter().sum::<u64>() / 100);
    // Each kind of trace is seen while there is something to see.
    let during = lab.look(&ids);
    let blind: Vec<_> = during
        .iter()
        .filter(|(kind, now)| !["memory files", "settings"].contains(*kind) && **now == before[*kind])
        .collect();
    assert!(blind.is_empty(), "{blind:#?}");
    let names: Vec<String> = (1..=CONTAINERS).map(|number| format!("c{number}")).collect();
    let words = ["rm", "-f"].into_iter().chain(names.iter().map(String::as_str));
    lab.machine.strata(words).ok();
    lab.becomes_as(&before, &ids);
    lab.strata("check").ok();
}
