//! Docker's flags, as `docker COMMAND --help` of Docker 26 lists them in `golden/docker-flags.txt`: each is here, with the
//! same short letter and the same kind of value, or left out for a reason.

use strata_cli::argv;
use strata_cli::verb;

const GOLDEN: &str = include_str!("../golden/docker-flags.txt");

/// Flags that are left out, with the reason.
const LEFT_OUT: &[(&str, &[&str])] = &[
    ("signed tags went out of use", &["disable-content-trust"]),
    ("for Windows", &["isolation"]),
    ("out of use even there", &["link-local-ip"]),
    ("needs a vendor's runtime", &["gpus"]),
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
        // `rm --link` is another flag than `run --link`.
        let left_out = name != "rm" && LEFT_OUT.iter().any(|(_, flags)| flags.contains(&long));
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
                assert!(!left_out, "{name} --{long} is here, and said to be left out");
            }
        }
    }
    assert!(missing.is_empty(), "neither here nor left out for a reason: {}", missing.join(", "));
}
