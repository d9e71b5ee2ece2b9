//! Whether a request for a container makes sense; refusals in Docker's words.

use std::path::{Path, PathBuf};

use strata_runtime::sysctl;
use strata_sys::caps::{CapSet, Capability};
use strata_sys::process::NamespaceSet;
use strata_sys::signal::Signal;

use crate::Result;
use crate::container::{ContainerError, HostConfig, Resources, cpuset, life, logging, user_namespace};

/// Less memory than this and no program starts.
const MEMORY_BYTES_MIN: i64 = 6 << 20;

/// Checks and completes what depends on nothing but itself.
pub(crate) fn host(host: &mut HostConfig) -> Result<()> {
    memory(&mut host.resources)?;
    cpus(&host.resources)?;
    cpuset::check(&host.resources)?;
    network(host)?;
    sysctls(host)?;
    life::check_restart(host)?;
    for (mode, flag, known) in [
        (&host.ipc_mode, "IPC", &["", "private", "none", "shareable", "host"][..]),
        (&host.pid_mode, "PID", &["", "host"]),
        (&host.uts_mode, "UTS", &["", "host"]),
        (&host.cgroupns_mode, "CGROUP", &["", "host", "private"]),
    ] {
        if matches!(flag, "PID" | "IPC") && mode.starts_with("container:") {
            if !strata_sys::user_namespace::is_initial() || runtime(&host.runtime)?.is_some() {
                let why = format!("joining another container's {flag} namespace needs root, and the native runtime");
                return Err(unsupported(format!("{why}: {mode}")));
            }
            continue;
        }
        if !known.contains(&mode.as_str()) {
            return Err(invalid(format!("invalid {flag} mode: {mode}")));
        }
    }
    logging::check(host)?;
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return Err(invalid(format!("Invalid value {}, range for oom score adj is [-1000, 1000]", host.oom_score_adj)));
    }
    runtime(&host.runtime)?;
    user_namespace::wish(host)?;
    capabilities(host)?;
    Ok(())
}

/// A container sets what is its own; the machine's settings are not reached through it.
fn sysctls(host: &HostConfig) -> Result<()> {
    for (name, value) in &host.sysctls {
        let (shared, whose) = match sysctl::namespace(name) {
            Some(NamespaceSet::NET) => (host.network_mode == "host", "network"),
            Some(NamespaceSet::IPC) => (host.ipc_mode == "host", "ipc"),
            _ if value.is_empty() => return Err(invalid(format!("sysctl '{name}' is not allowed"))),
            _ => return Err(invalid(format!("sysctl '{name}={value}' is not allowed"))),
        };
        if shared {
            return Err(invalid(format!("sysctl {name:?} not allowed in host {whose} namespace")));
        }
    }
    Ok(())
}

/// The program of another OCI runtime, by path or by name; none for the native one.
pub(crate) fn runtime(name: &str) -> Result<Option<PathBuf>> {
    if matches!(name, "" | "strata") {
        return Ok(None);
    }
    let found = match name.contains('/') {
        true => Some(PathBuf::from(name)).filter(|path| path.is_absolute()),
        false => program(name),
    };
    let found = found.filter(|path| path.is_file());
    found.map(Some).ok_or_else(|| invalid(format!("unknown or invalid runtime name: {name}")))
}

/// A program of the host, where programs are.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    const DIRS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    DIRS.iter().map(|dir| Path::new(dir).join(name)).find(|path| path.is_file())
}

pub(super) fn memory(resources: &mut Resources) -> Result<()> {
    let (memory, swap) = (resources.memory, resources.memory_swap);
    if memory != 0 && memory < MEMORY_BYTES_MIN {
        return Err(invalid("Minimum memory limit allowed is 6MB"));
    }
    if memory > 0 && swap > 0 && swap < memory {
        return Err(invalid("Minimum memoryswap limit should be larger than memory limit, see usage"));
    }
    if memory == 0 && swap > 0 {
        return Err(invalid("You should always set the Memory limit when using Memoryswap limit, see usage"));
    }
    if memory > 0 && swap == 0 {
        resources.memory_swap = memory.saturating_mul(2);
    }
    let reservation = resources.memory_reservation;
    if reservation > 0 && reservation < MEMORY_BYTES_MIN {
        return Err(invalid("Minimum memory reservation allowed is 6MB"));
    }
    if memory > 0 && reservation > memory {
        return Err(invalid("Minimum memory limit can not be less than memory reservation limit, see usage"));
    }
    match resources.memory_swappiness {
        None | Some(-1..=100) => {}
        Some(other) => return Err(invalid(format!("invalid value: {other}. Valid memory swappiness range is 0-100"))),
    }
    if resources.pids_limit == Some(0) {
        resources.pids_limit = None;
    }
    Ok(())
}

pub(super) fn cpus(resources: &Resources) -> Result<()> {
    let (nano, period, quota) = (resources.nano_cpus, resources.cpu_period, resources.cpu_quota);
    if nano > 0 && period > 0 {
        return Err(invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set"));
    }
    if nano > 0 && quota > 0 {
        return Err(invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set"));
    }
    // Counting them reads a dozen files.
    if nano != 0 {
        let count = std::thread::available_parallelism().map_or(1, |count| i64::try_from(count.get()).unwrap_or(1));
        if nano < 0 || nano > count.saturating_mul(1_000_000_000) {
            let range = format!("Range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available");
            return Err(invalid(range));
        }
    }
    if period != 0 && !(1_000..=1_000_000).contains(&period) {
        return Err(invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"));
    }
    if quota > 0 && quota < 1_000 {
        return Err(invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)"));
    }
    if resources.cpu_shares < 0 {
        return Err(invalid(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            resources.cpu_shares
        )));
    }
    Ok(())
}

fn network(host: &HostConfig) -> Result<()> {
    let publishes = !host.port_bindings.is_empty() || host.publish_all_ports;
    if publishes && host.network_mode.starts_with("container:") {
        return Err(invalid("conflicting options: port publishing and the container type network mode"));
    }
    if !host.links.as_deref().unwrap_or_default().is_empty() {
        let why = "links are not part of strata: containers in a network made with `strata network create` find each other by name";
        return Err(unsupported(why));
    }
    Ok(())
}

/// The capabilities of a container's first process.
pub(crate) fn capabilities(host: &HostConfig) -> Result<CapSet> {
    if host.privileged {
        return Ok(CapSet::ALL);
    }
    let list = |field: &str, words: &Option<Vec<String>>| -> Result<(bool, Vec<Capability>)> {
        let mut all = false;
        let mut set = Vec::new();
        for word in words.iter().flatten() {
            if word.eq_ignore_ascii_case("all") {
                all = true;
                continue;
            }
            let unknown = |_| invalid(format!("invalid {field}: unknown capability: {:?}", shown(word)));
            set.push(word.parse().map_err(unknown)?);
        }
        Ok((all, set))
    };
    let (add_all, add) = list("CapAdd", &host.cap_add)?;
    let (drop_all, drop) = list("CapDrop", &host.cap_drop)?;
    let base = match (add_all, drop_all) {
        (true, _) => CapSet::ALL,
        (false, true) => CapSet::EMPTY,
        (false, false) => CapSet::DOCKER,
    };
    let without = drop.into_iter().fold(base, CapSet::without);
    Ok(add.into_iter().fold(without, CapSet::with))
}

fn shown(capability: &str) -> String {
    let upper = capability.to_ascii_uppercase();
    if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") }
}

/// The signal that asks a container to end.
pub(crate) fn stop_signal(name: &str) -> Result<Signal> {
    if name.is_empty() {
        return Ok(Signal::TERM);
    }
    name.parse().map_err(|_| invalid(format!("invalid signal: {name}")))
}

/// Whether a name is one for a container.
pub(crate) fn name(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if first && name.len() > 1 && bytes.all(rest) {
        return Ok(());
    }
    Err(invalid_name(name).into())
}

/// What is said of a name that is none.
pub(crate) fn invalid_name(name: &str) -> ContainerError {
    ContainerError::Invalid(format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"))
}

/// Checks a snapshot's name: like a container's, but one character is enough.
pub(crate) fn snapshot_name(name: &str) -> Result<()> {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()) && name.bytes().all(rest) {
        return Ok(());
    }
    Err(invalid(format!("Invalid snapshot name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")))
}

fn invalid(sentence: impl Into<String>) -> crate::Error {
    ContainerError::invalid(sentence)
}

fn unsupported(sentence: impl Into<String>) -> crate::Error {
    ContainerError::Unsupported(sentence.into()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut HostConfig)) -> String {
        let mut config = HostConfig::default();
        change(&mut config);
        host(&mut config).unwrap_err().to_string()
    }

    #[test]
    fn refusals_are_dockers_words() {
        let memory = refused(|host| host.resources.memory = 4096);
        assert_eq!(memory, "Minimum memory limit allowed is 6MB");
        let swap = refused(|host| host.resources.memory_swap = 1 << 30);
        assert_eq!(swap, "You should always set the Memory limit when using Memoryswap limit, see usage");
        let capability = refused(|host| host.cap_add = Some(vec!["nope".into()]));
        assert_eq!(capability, "invalid CapAdd: unknown capability: \"CAP_NOPE\"");
        let cgroupns = refused(|host| host.cgroupns_mode = "x".into());
        assert_eq!(cgroupns, "invalid CGROUP mode: x");
        let driver = refused(|host| host.log_config.kind = "x".into());
        assert_eq!(driver, "error looking up logging plugin x: plugin \"x\" not found");
    }

    #[test]
    fn the_machines_settings_are_not_a_containers() {
        let with = |name: &str, change: fn(&mut HostConfig)| {
            refused(|host| {
                host.sysctls.insert(name.to_owned(), "1".to_owned());
                change(host);
            })
        };
        for name in ["vm.swappiness", "kernel.hostname", "kernel.core_pattern", "net/../vm/swappiness"] {
            assert_eq!(with(name, |_| {}), format!("sysctl '{name}=1' is not allowed"));
        }
        let net = with("net.ipv4.ip_forward", |host| "host".clone_into(&mut host.network_mode));
        assert_eq!(net, "sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace");
        let ipc = with("kernel.shmmax", |host| "host".clone_into(&mut host.ipc_mode));
        assert_eq!(ipc, "sysctl \"kernel.shmmax\" not allowed in host ipc namespace");
    }

    #[test]
    fn swap_is_twice_the_memory_unless_said() {
        let mut config = HostConfig::default();
        config.resources.memory = 64 << 20;
        config.resources.pids_limit = Some(0);
        host(&mut config).unwrap();
        assert_eq!(config.resources.memory_swap, 128 << 20);
        assert_eq!(config.resources.pids_limit, None);
    }

    #[test]
    fn capabilities_are_added_to_and_dropped_from_dockers() {
        let caps = |add: &[&str], drop: &[&str]| {
            let list = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
            capabilities(&HostConfig { cap_add: list(add), cap_drop: list(drop), ..HostConfig::default() }).unwrap()
        };
        let chown = "CHOWN".parse().unwrap();
        assert_eq!(caps(&[], &[]), CapSet::DOCKER);
        assert_eq!(caps(&[], &["cap_chown"]), CapSet::DOCKER.without(chown));
        assert_eq!(caps(&["chown"], &["ALL"]), CapSet::EMPTY.with(chown));
        assert_eq!(caps(&["all"], &["CHOWN"]), CapSet::ALL.without(chown));
    }

    #[test]
    fn names_begin_with_a_letter_or_digit() {
        for good in ["web", "a1", "0_.-"] {
            name(good).unwrap();
        }
        for bad in ["", "a", "-a", "a/b", "a b", "../x"] {
            let error = name(bad).unwrap_err().to_string();
            assert!(error.starts_with(&format!("Invalid container name ({bad}), only")), "{error}");
        }
    }
}
