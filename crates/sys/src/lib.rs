//! Linux, safely: the only unsafe. Descriptors not paths, the new mount API, clone3, pidfds, cgroups, seccomp, durable writes, feature probes.
