//! Kernel settings: whose they are.

use strata_sys::process::NamespaceSet;

/// Settings of System V's message queues, semaphores and shared memory.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// The namespace that a setting belongs to; none if it is the machine's. Its name has dots or slashes between its parts.
pub fn namespace(name: &str) -> Option<NamespaceSet> {
    // What leads upward is not what it begins with.
    if name.split('/').any(|part| part == "..") {
        return None;
    }
    match name.replace('/', ".").as_str() {
        dotted if IPC.contains(&dotted) || dotted.starts_with("fs.mqueue.") => Some(NamespaceSet::IPC),
        dotted if dotted.starts_with("net.") => Some(NamespaceSet::NET),
        "kernel.domainname" | "kernel.hostname" => Some(NamespaceSet::UTS),
        dotted if dotted.starts_with("user.") => Some(NamespaceSet::USER),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_no_namespace_is_the_machines() {
        assert_eq!(namespace("net.ipv4.ip_forward"), Some(NamespaceSet::NET));
        assert_eq!(namespace("net/ipv4/conf/eth0.1/forwarding"), Some(NamespaceSet::NET));
        assert_eq!(namespace("kernel.shmmax"), Some(NamespaceSet::IPC));
        assert_eq!(namespace("fs.mqueue.msg_max"), Some(NamespaceSet::IPC));
        assert_eq!(namespace("kernel.hostname"), Some(NamespaceSet::UTS));
        assert_eq!(namespace("user.max_mnt_namespaces"), Some(NamespaceSet::USER));
        for name in ["vm.swappiness", "kernel.panic", "net", "net/../vm/swappiness", "kernel.core_pattern"] {
            assert_eq!(namespace(name), None, "{name}");
        }
    }
}
