//! Docker's flags, as `docker COMMAND --help` of Docker 26 lists them in `golden/docker-flags.txt`: each is here, with the
//! same short letter and the same kind of value, or left out for a reason.

use strata_cli::argv;
use strata_cli::verb;

const GOLDEN: &str = include_str!("../golden/docker-flags.txt");

/// Flags without effect for us, with the reason; `*` is any verb.
const LEFT_OUT: &[(&str, &str, &[&str])] = &[
    ("*", "signed tags went out of use", &["disable-content-trust"]),
    ("*", "Windows", &["isolation", "cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops", "storage-opt"]),
    ("*", "needs networks of our own", &["ip", "ip6", "link", "link-local-ip", "mac-address", "network-alias"]),
    ("*", "checkpoints", &["checkpoint", "checkpoint-dir"]),
    (
        "*",
        "rarely there, never asked for",
        &[
            "gpus",
            "blkio-weight-device",
            "device-read-bps",
            "device-read-iops",
            "device-write-bps",
            "device-write-iops",
            "cpu-rt-period",
            "cpu-rt-runtime",
            "kernel-memory",
        ],
    ),
];

#[test]
fn dockers_flags_are_here() {
    let mut missing = Vec::new();
    for line in GOLDEN.lines() {
        let (name, flag) = line.split_once(": ").unwrap();
        let words: Vec<&str> = flag.split(' ').collect();
        let short = words.iter().find_map(|word| word.strip_prefix('-').filter(|rest| rest.len() == 1));
        let long = words.iter().find_map(|word| word.strip_prefix("--")).unwrap();
        let has_value = words.last().is_some_and(|word| !word.starts_with('-'));
        let left_out = LEFT_OUT.iter().any(|(verb, _, flags)| (*verb == "*" || *verb == name) && flags.contains(&long));
        let entry = match name.split_once(' ') {
            Some((management, name)) => verb::find_in(management, name),
            None => verb::find(name),
        };
        let command = (entry.unwrap_or_else(|| panic!("no verb {name}")).command)();
        let found = command.get_arguments().find(|arg| arg.get_long() == Some(long));
        match found {
            None if left_out => {}
            None => missing.push(format!("{name} --{long}")),
            Some(arg) => {
                let same_short = arg.get_short().map(String::from).as_deref() == short;
                assert!(
                    same_short,
                    "{name} --{long} has the short letter {:?}, docker's is {short:?}",
                    arg.get_short()
                );
                assert_eq!(argv::needs_value(arg), has_value, "{name} --{long}: does it take a value?");
            }
        }
    }
    assert!(missing.is_empty(), "neither here nor left out for a reason: {}", missing.join(", "));
}
