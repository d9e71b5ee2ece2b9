//! From the options of `run` and `create` to a request to the engine. Files that options name are read here.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde_json::{Map, Value};
use strata_engine::container::{
    ContainerConfig, CreateRequest, Device, DeviceRate, DeviceWeight, HostConfig, LogConfig, MountRequest, MountShown,
    MountWish, PortBinding, Resources, RestartPolicy, SHM_SIZE_BYTES, Ulimit,
};
use strata_engine::image::ImageRecord;
use strata_engine::network::EndpointWish;
use strata_types::config::{Healthcheck, RunConfig};
use strata_types::plain;

use crate::container::foreground::size;
use crate::container::mount_options;
use crate::exit::{Exit, Failure, Result};
use crate::opts::block_device::PerDevice;
use crate::opts::environment::{self, Variable};
use crate::opts::mount::{Mount, Propagation, Recursive, Source};
use crate::opts::network::{self, Network};
use crate::opts::stream::Stream;
use crate::opts::{Invalid, Refusal, label, port, ulimit, volume};
use crate::session::Session;
use crate::verb::container_options::ContainerOptions;

/// What a container is made from, beside the options.
#[derive(Debug)]
pub struct Given {
    /// The image.
    pub image: ImageRecord,
    /// The image as the person named it.
    pub image_name: String,
    /// The command.
    pub command: Vec<String>,
    /// Nobody will be attached.
    pub detach: bool,
}

/// Which of a process's streams a command is connected by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// Reads `-a`, `-i` and `-d`.
pub fn streams(options: &ContainerOptions, detach: bool) -> Result<Streams> {
    if detach {
        if !options.attach.is_empty() {
            return Err(Failure::new("Conflicting options: -a and -d").exit(Exit::FAILURE));
        }
        return Ok(Streams::default());
    }
    if options.attach.is_empty() {
        return Ok(Streams { stdin: options.interactive, stdout: true, stderr: true });
    }
    let mut streams = Streams::default();
    for name in &options.attach {
        match name {
            Stream::Stdin => streams.stdin = true,
            Stream::Stdout => streams.stdout = true,
            Stream::Stderr => streams.stderr = true,
        }
    }
    Ok(streams)
}

/// Puts a request together.
pub fn request(session: &Session, options: &ContainerOptions, given: Given) -> Result<CreateRequest> {
    let Given { image, image_name, command, detach } = given;
    // Docker tells options that contradict each other from what the engine refuses.
    let contradicts = |failure: Failure| failure.exit(Exit::ENGINE);
    let attached = streams(options, detach).map_err(contradicts)?;
    if options.rm && !matches!(options.restart.as_str(), "" | "no") {
        return Err(contradicts(Failure::new("Conflicting options: --restart and --rm")));
    }
    let mut mounts = Vec::new();
    let mut host = host(session, options).map_err(contradicts)?;
    add_mounts(session, options, &mut host, &mut mounts)?;
    let config = ContainerConfig {
        hostname: options.hostname.clone().unwrap_or_default(),
        domainname: options.domainname.clone().unwrap_or_default(),
        attach_stdin: attached.stdin,
        attach_stdout: attached.stdout,
        attach_stderr: attached.stderr,
        tty: options.tty,
        open_stdin: options.interactive,
        stdin_once: options.interactive && attached.stdin,
        image: image_name.clone(),
        run: run_config(session, options, command).map_err(contradicts)?,
    };
    let secrets = options.secret.clone();
    let mut networks = networks(options, &mut host).map_err(contradicts)?;
    check_joined(options, &host)?;
    add_addresses(options, &host.network_mode, networks.first_mut())?;
    let name = options.name.clone().filter(|name| !name.is_empty());
    Ok(CreateRequest { name, image, image_name, config, host, mounts, secrets, networks })
}

fn run_config(session: &Session, options: &ContainerOptions, command: Vec<String>) -> Result<RunConfig> {
    let exposed = exposed(options)?;
    Ok(RunConfig {
        user: options.user.clone().unwrap_or_default(),
        exposed_ports: exposed,
        env: environment(session, &options.env, &options.env_file)?,
        entrypoint: options.entrypoint.clone().map(|program| vec![program]),
        cmd: (!command.is_empty()).then_some(command),
        healthcheck: health(options)?,
        working_dir: options.workdir.clone().unwrap_or_default(),
        labels: labels(options)?,
        stop_signal: options.stop_signal.clone().unwrap_or_default(),
        stop_timeout: options.stop_timeout,
        ..RunConfig::default()
    })
}

/// `--env-file` and `-e`, in this order: `NAME=VALUE` sets, `NAME` alone unsets.
pub fn environment(session: &Session, variables: &[Variable], files: &[String]) -> Result<Vec<String>> {
    let mut env: Vec<String> = Vec::new();
    for path in files {
        let content = read(path)?;
        let parsed = environment::parse_file(path, &content)?;
        env.extend(parsed.iter().filter_map(|variable| variable.resolved(|name| session.variable(name))));
    }
    for variable in variables {
        env.push(variable.resolved(|name| session.variable(name)).unwrap_or_else(|| variable.name.clone()));
    }
    Ok(env)
}

fn read(path: &str) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        let act = if error.kind() == ErrorKind::IsADirectory { "read" } else { "open" };
        Failure::new(format!("{act} {path}: {}", plain(&error)))
    })
}

fn labels(options: &ContainerOptions) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for path in &options.label_file {
        let content = read(path)?;
        for variable in environment::parse_file(path, &content)? {
            labels.insert(variable.name, variable.value.unwrap_or_default());
        }
    }
    labels.extend(options.label.iter().cloned());
    Ok(labels)
}

fn health(options: &ContainerOptions) -> Result<Option<Healthcheck>> {
    let nanoseconds = |time: std::time::Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    let health = Healthcheck {
        test: options.health_cmd.iter().flat_map(|command| ["CMD-SHELL".to_owned(), command.clone()]).collect(),
        interval: nanoseconds(options.health_interval),
        timeout: nanoseconds(options.health_timeout),
        start_period: nanoseconds(options.health_start_period),
        start_interval: nanoseconds(options.health_start_interval),
        retries: options.health_retries.unwrap_or(0),
    };
    let said = health != Healthcheck::default();
    if options.no_healthcheck {
        if said {
            return Err(Failure::new("--no-healthcheck conflicts with --health-* options"));
        }
        return Ok(Some(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() }));
    }
    if health.retries < 0 {
        return Err(Failure::new("--health-retries cannot be negative"));
    }
    Ok(said.then_some(health))
}

fn host(session: &Session, options: &ContainerOptions) -> Result<HostConfig> {
    let list = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    let text = |word: &Option<String>| word.clone().unwrap_or_default();
    let usual = HostConfig::default();
    let extra_hosts: Vec<String> = options
        .add_host
        .iter()
        .map(|host| {
            let address = host.address.map_or_else(|| "host-gateway".to_owned(), |address| address.to_string());
            format!("{}:{address}", host.name)
        })
        .collect();
    let mut host = HostConfig {
        container_id_file: text(&options.cidfile),
        log_config: log_config(options)?,
        port_bindings: ports(options),
        links: list(&options.link),
        restart_policy: restart_policy(&options.restart)?,
        auto_remove: options.rm,
        volume_driver: text(&options.volume_driver),
        volumes_from: list(&options.volumes_from),
        console_size: if options.tty { size(session).map_or([0, 0], |size| [size.rows, size.columns]) } else { [0, 0] },
        annotations: annotations(&options.annotation)?,
        cap_add: list(&options.cap_add),
        cap_drop: list(&options.cap_drop),
        cgroupns_mode: options.cgroupns.clone().unwrap_or(usual.cgroupns_mode),
        dns: options.dns.iter().map(ToString::to_string).collect(),
        dns_options: options.dns_option.clone(),
        dns_search: options.dns_search.clone(),
        extra_hosts: list(&extra_hosts),
        group_add: list(&options.group_add),
        ipc_mode: options.ipc.clone().unwrap_or(usual.ipc_mode),
        oom_score_adj: options.oom_score_adj.unwrap_or(0),
        pid_mode: text(&options.pid),
        privileged: options.privileged,
        publish_all_ports: options.publish_all,
        readonly_rootfs: options.read_only,
        uts_mode: text(&options.uts),
        userns_mode: text(&options.userns),
        shm_size: options.shm_size.filter(|size| *size > 0).unwrap_or(SHM_SIZE_BYTES),
        storage_opt: storage_options(&options.storage_opt)?,
        sysctls: options.sysctl.iter().cloned().collect(),
        runtime: options.runtime.clone().unwrap_or(usual.runtime),
        resources: resources(options),
        init: options.init.then_some(true),
        ..HostConfig::default()
    };
    security(options, &mut host)?;
    check_modes(&host)?;
    Ok(host)
}

/// Refuses namespaces that there are none of.
fn check_modes(host: &HostConfig) -> Result<()> {
    let joins = |mode: &str| mode.starts_with("container:");
    let maps = |mode: &str| mode == "keep-id" || mode == "auto" || mode.starts_with("auto:");
    let known = |mode: &str| matches!(mode, "" | "host");
    for (is_known, flag, what) in [
        (known(&host.pid_mode) || joins(&host.pid_mode), "pid", "PID"),
        (known(&host.uts_mode), "uts", "UTS"),
        (known(&host.userns_mode) || maps(&host.userns_mode), "userns", "USER"),
        (known(&host.cgroupns_mode) || host.cgroupns_mode == "private", "cgroupns", "CGROUP"),
    ] {
        if !is_known {
            return Err(Failure::new(format!("--{flag}: invalid {what} mode")));
        }
    }
    Ok(())
}

/// `--security-opt`; a seccomp profile is read here.
fn security(options: &ContainerOptions, host: &mut HostConfig) -> Result<()> {
    let mut words = Vec::new();
    for option in &options.security_opt {
        if option == "systempaths=unconfined" {
            host.masked_paths = None;
            host.readonly_paths = None;
            continue;
        }
        let profile = option.strip_prefix("seccomp=").or_else(|| option.strip_prefix("seccomp:"));
        match profile {
            None if !option.contains(['=', ':']) && option != "no-new-privileges" => {
                return Err(Failure::new(format!("Invalid --security-opt: {option:?}")));
            }
            None | Some("unconfined" | "builtin") => words.push(option.clone()),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    Failure::new(format!("opening seccomp profile ({path}) failed: open {path}: {}", plain(&error)))
                })?;
                let profile: serde_json::Value = serde_json::from_str(&text).map_err(|error| {
                    Failure::new(format!("compacting json for seccomp profile ({path}) failed: {error}"))
                })?;
                words.push(format!("seccomp={profile}"));
            }
        }
    }
    if options.privileged {
        host.masked_paths = None;
        host.readonly_paths = None;
    }
    host.security_opt = (!words.is_empty()).then_some(words);
    Ok(())
}

fn resources(options: &ContainerOptions) -> Resources {
    Resources {
        cgroup_parent: options.cgroup_parent.clone().unwrap_or_default(),
        devices: options
            .device
            .iter()
            .map(|device| Device {
                path_on_host: device.host.clone(),
                path_in_container: device.container.clone(),
                cgroup_permissions: device.permissions.clone(),
            })
            .collect(),
        device_cgroup_rules: (!options.device_cgroup_rule.is_empty()).then(|| options.device_cgroup_rule.clone()),
        memory_swappiness: options.memory_swappiness.filter(|swappiness| *swappiness != -1),
        oom_kill_disable: options.oom_kill_disable,
        ulimits: ulimits(&options.ulimit),
        blkio_weight_device: options.blkio_weight_device.iter().map(device_weight).collect(),
        blkio_device_read_bps: options.device_read_bps.iter().map(device_rate).collect(),
        blkio_device_write_bps: options.device_write_bps.iter().map(device_rate).collect(),
        blkio_device_read_iops: options.device_read_iops.iter().map(device_rate).collect(),
        blkio_device_write_iops: options.device_write_iops.iter().map(device_rate).collect(),
        ..options.limits.resources()
    }
}

/// `--ulimit`.
pub fn ulimits(limits: &[ulimit::Ulimit]) -> Vec<Ulimit> {
    let limit = |value: Option<u64>| value.map_or(-1, |value| i64::try_from(value).unwrap_or(i64::MAX));
    let ulimit = |limits: &ulimit::Ulimit| Ulimit {
        name: limits.name.to_owned(),
        hard: limit(limits.hard),
        soft: limit(limits.soft),
    };
    limits.iter().map(ulimit).collect()
}

fn device_rate(limit: &PerDevice) -> DeviceRate {
    DeviceRate { path: limit.path.clone(), rate: limit.value }
}

fn device_weight(limit: &PerDevice) -> DeviceWeight {
    DeviceWeight { path: limit.path.clone(), weight: u16::try_from(limit.value).unwrap_or(u16::MAX) }
}

/// `NAME[:COUNT]`.
pub fn restart_policy(text: &str) -> Result<RestartPolicy> {
    let (name, retries) = text.split_once(':').unwrap_or((text, "0"));
    if name.is_empty() && text.contains(':') {
        return Err(Failure::new("invalid restart policy format: no policy provided before colon"));
    }
    let bad = || Failure::new("invalid restart policy format: maximum retry count must be an integer");
    Ok(RestartPolicy {
        name: if name.is_empty() { "no".to_owned() } else { name.to_owned() },
        maximum_retry_count: retries.parse().map_err(|_| bad())?,
    })
}

fn log_config(options: &ContainerOptions) -> Result<LogConfig> {
    let config: BTreeMap<String, String> = options.log_opt.iter().cloned().collect();
    let kind = options.log_driver.clone().unwrap_or_else(|| LogConfig::default().kind);
    if kind == "none" && !config.is_empty() {
        return Err(Failure::new(format!("invalid logging opts for driver {kind}")));
    }
    Ok(LogConfig { kind, config })
}

fn annotations(words: &[String]) -> Result<BTreeMap<String, String>> {
    let invalid = |word| Failure::new(format!("invalid value for --annotation: {word}"));
    words.iter().map(|word| label::parse(word).map_err(|_| invalid(word))).collect()
}

fn storage_options(words: &[String]) -> Result<BTreeMap<String, String>> {
    let pair = |word: &String| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    words.iter().map(|word| pair(word).ok_or_else(|| Failure::new("invalid storage option"))).collect()
}

/// Where to connect the container; `network_mode` is the first of them, or what takes the place of networks.
fn networks(options: &ContainerOptions, host: &mut HostConfig) -> Result<Vec<EndpointWish>> {
    let names: Vec<&str> = options.network.iter().map(|network| network.name.as_str()).collect();
    let is_pasta = |name: &str| name == "pasta" || name.starts_with("pasta:");
    let is_alone = |name: &str| ["none", "host"].contains(&name) || name.starts_with("container:") || is_pasta(name);
    let (mode, wishes) = match names.as_slice() {
        [] | ["default" | "bridge"] => ("bridge", true),
        [alone] if is_alone(alone) => (*alone, false),
        [first, rest @ ..] => {
            if is_alone(first) || rest.iter().any(|name| is_alone(name)) {
                return Err(Failure::new(
                    "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
                ));
            }
            (*first, true)
        }
    };
    mode.clone_into(&mut host.network_mode);
    if !wishes {
        if !options.network_alias.is_empty() && !is_pasta(mode) {
            return Err(Failure::new(UNKNOWN_ALIAS));
        }
        return Ok(Vec::new());
    }
    let mut wishes: Vec<EndpointWish> = options.network.iter().map(Network::wish).collect();
    if wishes.is_empty() {
        wishes.push(EndpointWish { network: mode.to_owned(), ..EndpointWish::default() });
    }
    let first = &mut wishes[0];
    let twice = |option: &str| {
        Failure::new(format!("conflicting options: cannot specify both --{option} and per-network {option}"))
    };
    first.aliases.extend(options.network_alias.iter().cloned());
    if first.network == "bridge" && !first.aliases.is_empty() {
        return Err(Failure::new(UNKNOWN_ALIAS));
    }
    if first.ipv4.is_some() && options.ip.is_some() {
        return Err(twice("ip"));
    }
    if first.ipv6.is_some() && options.ip6.is_some() {
        return Err(twice("ip6"));
    }
    first.mac = first.mac.or(options.mac_address);
    let twice = |(at, wish): &(usize, &EndpointWish)| wishes[..*at].iter().any(|other| other.network == wish.network);
    if let Some((_, wish)) = wishes.iter().enumerate().find(twice) {
        return Err(Failure::new(format!("network \"{}\" is specified multiple times", wish.network)));
    }
    Ok(wishes)
}

const UNKNOWN_ALIAS: &str = "network-scoped aliases are only supported for user-defined networks";

/// Refuses what a container in another one's network cannot have of its own.
fn check_joined(options: &ContainerOptions, host: &HostConfig) -> Result<()> {
    if !host.network_mode.starts_with("container:") {
        return Ok(());
    }
    let conflicts = [
        (options.hostname.is_some(), "hostname and the network mode"),
        (
            !(host.dns.is_empty() && host.dns_search.is_empty() && host.dns_options.is_empty()),
            "dns and the network mode",
        ),
        (host.extra_hosts.is_some(), "custom host-to-IP mapping and the network mode"),
        (!options.expose.is_empty(), "port exposing and the container type network mode"),
        (!host.port_bindings.is_empty(), "port publishing and the container type network mode"),
    ];
    match conflicts.iter().find(|(conflicts, _)| *conflicts) {
        Some((_, what)) => Err(Failure::new(format!("conflicting options: {what}"))),
        None => Ok(()),
    }
}

/// `--ip` and `--ip6`, which are the first network's.
fn add_addresses(options: &ContainerOptions, mode: &str, first: Option<&mut EndpointWish>) -> Result<()> {
    let written = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (ipv4, ipv6) = (written(&options.ip), written(&options.ip6));
    let wrong =
        |what: &str| Failure::new(format!("invalid config for network {mode}: invalid endpoint settings:\n{what}"));
    let Some(first) = first else {
        return match (mode.split(':').next(), ipv4.or(ipv6)) {
            (Some("pasta"), _) | (_, None) => Ok(()),
            (Some("container"), _) => {
                Err(wrong("user specified IP address is supported on user defined networks only"))
            }
            _ => Err(wrong(
                "* user specified IP address is supported on user defined networks only\n* user specified IP address is \
                 supported only when connecting to networks with user configured subnets",
            )),
        };
    };
    let wrong = |invalid: Invalid| wrong(&invalid.to_string());
    first.ipv4 = first.ipv4.or(ipv4.as_deref().map(network::ipv4).transpose().map_err(wrong)?);
    first.ipv6 = first.ipv6.or(ipv6.as_deref().map(network::ipv6).transpose().map_err(wrong)?);
    Ok(())
}

/// `--expose`, and the ports that are published: those are exposed too.
fn exposed(options: &ContainerOptions) -> Result<std::collections::BTreeSet<String>> {
    let mut exposed = std::collections::BTreeSet::new();
    for text in &options.expose {
        if text.contains(':') {
            return Err(Failure::new(format!("invalid port format for --expose: {text}")));
        }
        let port = port::parse(text).map_err(|_| {
            Failure::new(format!("invalid range format for --expose: {text}, error: {}", port::why_no_range(text)))
        })?;
        exposed.extend((port.container.0..=port.container.1).map(|number| format!("{number}/{}", port.protocol)));
    }
    exposed.extend(ports(options).into_keys());
    Ok(exposed)
}

fn ports(options: &ContainerOptions) -> BTreeMap<String, Vec<PortBinding>> {
    let mut ports: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
    for port in &options.publish {
        let host_ip = port.address.map(|address| address.to_string()).unwrap_or_default();
        let is_range = port.container.0 != port.container.1;
        for (step, number) in (port.container.0..=port.container.1).enumerate() {
            let host_port = match port.host {
                None => String::new(),
                Some((first, _)) if is_range => (usize::from(first) + step).to_string(),
                Some((first, last)) if first == last => first.to_string(),
                Some((first, last)) => format!("{first}-{last}"),
            };
            let binding = PortBinding { host_ip: host_ip.clone(), host_port };
            ports.entry(format!("{number}/{}", port.protocol)).or_default().push(binding);
        }
    }
    ports
}

/// `-v`, `--tmpfs` and `--mount`.
fn add_mounts(
    session: &Session,
    options: &ContainerOptions,
    host: &mut HostConfig,
    mounts: &mut Vec<MountRequest>,
) -> Result<()> {
    if options.volume.is_empty() && options.tmpfs.is_empty() && options.mount.is_empty() {
        return Ok(());
    }
    let cwd = session.cwd()?;
    for text in &options.volume {
        let mount = volume::parse(text).map_err(|refusal| match refusal {
            Refusal::Alone(invalid) => Failure::from(invalid).exit(Exit::ENGINE),
            Refusal::OfOption(invalid) => Failure::from(invalid),
        })?;
        let mount = mount.resolved(&cwd)?;
        let mode = text.splitn(3, ':').nth(2).unwrap_or_default();
        let source = match &mount.source {
            Source::Bind(bind) => Some(bind.path.display().to_string()),
            Source::Volume(volume) => volume.name.clone(),
            _ => None,
        };
        if let Some(source) = source {
            let colon = if mode.is_empty() { "" } else { ":" };
            let bind = format!("{source}:{}{colon}{mode}", mount.target);
            host.binds.get_or_insert_default().push(bind);
        }
        mounts.push(wanted(mount, mode));
    }
    for text in &options.tmpfs {
        let (target, rest) = text.split_once(':').unwrap_or((text, ""));
        host.tmpfs.insert(target.to_owned(), rest.to_owned());
        mounts.push(wanted(volume::parse_tmpfs(text)?, ""));
    }
    for mount in &options.mount {
        let mount = mount.clone().read()?.resolved(&cwd)?;
        let options = mount_options::shown(&mount);
        let request = wanted(mount, "");
        host.mounts.push(shown(&request, options));
        mounts.push(request);
    }
    Ok(())
}

fn wanted(mount: Mount, mode: &str) -> MountRequest {
    let Mount { target, read_only, source } = mount;
    let map = |pairs: Vec<(String, String)>| pairs.into_iter().collect();
    let wish = match source {
        Source::Bind(bind) => MountWish::Bind {
            path: bind.path,
            propagation: bind.propagation.unwrap_or(Propagation::RecursivePrivate).name().to_owned(),
            recursive: bind.recursive != Recursive::Disabled,
            writable_below: bind.recursive == Recursive::Writable,
            create: bind.create,
        },
        Source::Volume(volume) => MountWish::Volume {
            name: volume.name,
            empty: volume.empty,
            labels: map(volume.labels),
            driver: volume.driver,
            options: map(volume.options),
            subpath: volume.subpath,
        },
        Source::Tmpfs(tmpfs) => {
            MountWish::Tmpfs { size_bytes: tmpfs.size_bytes, mode: tmpfs.mode, options: tmpfs.options }
        }
        Source::Image { image, subpath } => MountWish::Image { name: image, subpath },
    };
    MountRequest { target, read_only, mode: mode.to_owned(), wish }
}

fn shown(request: &MountRequest, options: Map<String, Value>) -> MountShown {
    let (kind, source) = match &request.wish {
        MountWish::Bind { path, .. } => ("bind", path.clone()),
        MountWish::Volume { name, .. } => ("volume", PathBuf::from(name.clone().unwrap_or_default())),
        MountWish::Tmpfs { .. } => ("tmpfs", PathBuf::new()),
        MountWish::Image { name, .. } => ("image", PathBuf::from(name)),
    };
    MountShown {
        kind: kind.to_owned(),
        source: source.display().to_string(),
        target: request.target.clone(),
        read_only: request.read_only,
        options,
    }
}
