//! What `run` and `create` have in common: the options that say what a container is.

use std::net::IpAddr;
use std::time::Duration;

use strata_engine::container::SecretMount;
use strata_net::Mac;

use crate::container::limits::ContainerLimits;
use crate::opts;
use crate::opts::block_device::PerDevice;
use crate::opts::device::Device;
use crate::opts::environment::Variable;
use crate::opts::host::Host;
use crate::opts::mount::Written;
use crate::opts::network::Network;
use crate::opts::port::Port;
use crate::opts::stream::Stream;
use crate::opts::ulimit::Ulimit;

/// Options of `run` and `create`.
#[derive(Debug, Default, clap::Args)]
pub struct ContainerOptions {
    /// What it may take.
    #[command(flatten)]
    pub limits: ContainerLimits,
    /// Add a custom host-to-IP mapping (host:ip)
    #[arg(long, value_name = "list", value_parser = opts::host::parse)]
    pub add_host: Vec<Host>,
    /// Add an annotation to the container (passed through to the OCI runtime)
    #[arg(long, value_name = "map")]
    pub annotation: Vec<String>,
    /// Attach to STDIN, STDOUT or STDERR
    #[arg(short = 'a', long, value_name = "list", value_parser = opts::stream::parse)]
    pub attach: Vec<Stream>,
    /// Add Linux capabilities
    #[arg(long, value_name = "list")]
    pub cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "list")]
    pub cap_drop: Vec<String>,
    /// Write the container ID to the file
    #[arg(long)]
    pub cidfile: Option<String>,
    /// Add a host device to the container
    #[arg(long, value_name = "list", value_parser = opts::late(opts::device::parse))]
    pub device: Vec<Device>,
    /// Set custom DNS servers
    #[arg(long, value_name = "list", value_parser = opts::host::address)]
    pub dns: Vec<IpAddr>,
    /// Set DNS options
    #[arg(long, alias = "dns-opt", value_name = "list")]
    pub dns_option: Vec<String>,
    /// Set custom DNS search domains
    #[arg(long, value_name = "list", value_parser = opts::host::search_domain)]
    pub dns_search: Vec<String>,
    /// Overwrite the default ENTRYPOINT of the image
    #[arg(long)]
    pub entrypoint: Option<String>,
    /// Set environment variables
    #[arg(short = 'e', long, value_name = "list", value_parser = opts::environment::parse)]
    pub env: Vec<Variable>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    pub env_file: Vec<String>,
    /// Add additional groups to join
    #[arg(long, value_name = "list")]
    pub group_add: Vec<String>,
    /// Command to run to check health
    #[arg(long)]
    pub health_cmd: Option<String>,
    /// Time between running the check (ms|s|m|h)
    #[arg(long, value_name = "duration", default_value = "0s", value_parser = opts::duration::parse)]
    pub health_interval: Duration,
    /// Consecutive failures needed to report unhealthy
    #[arg(long, value_name = "int")]
    pub health_retries: Option<i64>,
    /// Time between running the check during the start period (ms|s|m|h)
    #[arg(long, value_name = "duration", default_value = "0s", value_parser = opts::duration::parse)]
    pub health_start_interval: Duration,
    /// Start period for the container to initialize before starting health-retries countdown (ms|s|m|h)
    #[arg(long, value_name = "duration", default_value = "0s", value_parser = opts::duration::parse)]
    pub health_start_period: Duration,
    /// Maximum time to allow one check to run (ms|s|m|h)
    #[arg(long, value_name = "duration", default_value = "0s", value_parser = opts::duration::parse)]
    pub health_timeout: Duration,
    /// Container host name
    #[arg(short = 'h', long)]
    pub hostname: Option<String>,
    /// Run an init inside the container that forwards signals and reaps processes
    #[arg(long)]
    pub init: bool,
    /// Keep STDIN open even if not attached
    #[arg(short = 'i', long)]
    pub interactive: bool,
    /// IPC mode to use
    #[arg(long)]
    pub ipc: Option<String>,
    /// Set meta data on a container
    #[arg(short = 'l', long, value_name = "list", value_parser = opts::label::parse)]
    pub label: Vec<(String, String)>,
    /// Read in a line delimited file of labels
    #[arg(long, value_name = "list")]
    pub label_file: Vec<String>,
    /// Logging driver for the container
    #[arg(long)]
    pub log_driver: Option<String>,
    /// Log driver options
    #[arg(long, value_name = "list", value_parser = opts::label::option)]
    pub log_opt: Vec<(String, String)>,
    /// Tune container memory swappiness (0 to 100)
    #[arg(long, value_name = "int", default_value = "-1", value_parser = opts::number::swappiness)]
    pub memory_swappiness: Option<i64>,
    /// Attach a filesystem mount to the container
    #[arg(long, value_name = "mount", value_parser = opts::mount::parse)]
    pub mount: Vec<Written>,
    /// Assign a name to the container
    #[arg(long)]
    pub name: Option<String>,
    /// IPv4 address (e.g., 172.30.100.104)
    #[arg(long, value_name = "ip")]
    pub ip: Option<String>,
    /// IPv6 address (e.g., 2001:db8::33)
    #[arg(long, value_name = "ip")]
    pub ip6: Option<String>,
    /// Add link to another container
    #[arg(long, value_name = "list")]
    pub link: Vec<String>,
    /// Container MAC address (e.g., 92:d0:c6:0a:29:33)
    #[arg(long, value_parser = opts::late(opts::network::mac))]
    pub mac_address: Option<Mac>,
    /// Connect a container to a network
    #[arg(long, alias = "net", value_name = "network", value_parser = opts::network::parse)]
    pub network: Vec<Network>,
    /// Add network-scoped alias for the container
    #[arg(long, alias = "net-alias", value_name = "list")]
    pub network_alias: Vec<String>,
    /// Disable any container-specified HEALTHCHECK
    #[arg(long)]
    pub no_healthcheck: bool,
    /// Tune host's OOM preferences (-1000 to 1000)
    #[arg(long, value_name = "int")]
    pub oom_score_adj: Option<i64>,
    /// PID namespace to use
    #[arg(long)]
    pub pid: Option<String>,
    /// Set platform if server is multi-platform capable
    #[arg(long)]
    pub platform: Option<String>,
    /// Give extended privileges to this container
    #[arg(long)]
    pub privileged: bool,
    /// Publish a container's port(s) to the host
    #[arg(short = 'p', long, value_name = "list", value_parser = opts::late(opts::port::parse))]
    pub publish: Vec<Port>,
    /// Suppress the pull output
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Mount the container's root filesystem as read only
    #[arg(long)]
    pub read_only: bool,
    /// Restart policy to apply when a container exits
    #[arg(long, default_value = "no")]
    pub restart: String,
    /// Automatically remove the container when it exits
    #[arg(long)]
    pub rm: bool,
    /// Runtime to use for this container
    #[arg(long)]
    pub runtime: Option<String>,
    /// Secret to mount as a file in the container
    #[arg(long, value_name = "secret", value_parser = opts::secret::parse)]
    pub secret: Vec<SecretMount>,
    /// Security Options
    #[arg(long, value_name = "list")]
    pub security_opt: Vec<String>,
    /// Size of /dev/shm
    #[arg(long, value_name = "bytes", value_parser = opts::size::bytes)]
    pub shm_size: Option<u64>,
    /// Signal to stop the container
    #[arg(long)]
    pub stop_signal: Option<String>,
    /// Storage driver options for the container: `size=20G` limits what it may hold
    #[arg(long, value_name = "list")]
    pub storage_opt: Vec<String>,
    /// Timeout (in seconds) to stop a container
    #[arg(long, value_name = "int")]
    pub stop_timeout: Option<i64>,
    /// Sysctl options
    #[arg(long, value_name = "map", value_parser = opts::sysctl::parse)]
    pub sysctl: Vec<(String, String)>,
    /// Mount a tmpfs directory
    #[arg(long, value_name = "list")]
    pub tmpfs: Vec<String>,
    /// Allocate a pseudo-TTY
    #[arg(short = 't', long)]
    pub tty: bool,
    /// Ulimit options
    #[arg(long, value_name = "ulimit", value_parser = opts::ulimit::parse)]
    pub ulimit: Vec<Ulimit>,
    /// Username or UID (format: <name|uid>[:<group|gid>])
    #[arg(short = 'u', long)]
    pub user: Option<String>,
    /// UTS namespace to use
    #[arg(long)]
    pub uts: Option<String>,
    /// Bind mount a volume
    #[arg(short = 'v', long, value_name = "list")]
    pub volume: Vec<String>,
    /// Working directory inside the container
    #[arg(short = 'w', long)]
    pub workdir: Option<String>,
    /// Block IO weight (relative device weight)
    #[arg(long, value_name = "list", value_parser = opts::block_device::weight)]
    pub blkio_weight_device: Vec<PerDevice>,
    /// Limit read rate (bytes per second) from a device
    #[arg(long, value_name = "list", value_parser = opts::block_device::bytes)]
    pub device_read_bps: Vec<PerDevice>,
    /// Limit read rate (IO per second) from a device
    #[arg(long, value_name = "list", value_parser = opts::block_device::operations)]
    pub device_read_iops: Vec<PerDevice>,
    /// Limit write rate (bytes per second) to a device
    #[arg(long, value_name = "list", value_parser = opts::block_device::bytes)]
    pub device_write_bps: Vec<PerDevice>,
    /// Limit write rate (IO per second) to a device
    #[arg(long, value_name = "list", value_parser = opts::block_device::operations)]
    pub device_write_iops: Vec<PerDevice>,
    /// Kernel memory limit (ignored: kernels have none any more)
    #[arg(long, value_name = "bytes", value_parser = opts::size::bytes)]
    pub kernel_memory: Option<u64>,
    /// Optional parent cgroup for the container
    #[arg(long)]
    pub cgroup_parent: Option<String>,
    /// Cgroup namespace to use (host|private)
    #[arg(long)]
    pub cgroupns: Option<String>,
    /// Add a rule to the cgroup allowed devices list
    #[arg(long, value_name = "list", value_parser = opts::device::cgroup_rule)]
    pub device_cgroup_rule: Vec<String>,
    /// Container NIS domain name
    #[arg(long)]
    pub domainname: Option<String>,
    /// Expose a port or a range of ports
    #[arg(long, value_name = "list")]
    pub expose: Vec<String>,
    /// Disable OOM Killer
    #[arg(long)]
    pub oom_kill_disable: bool,
    /// Publish all exposed ports to random ports
    #[arg(short = 'P', long)]
    pub publish_all: bool,
    /// User namespace to use
    #[arg(long)]
    pub userns: Option<String>,
    /// Optional volume driver for the container
    #[arg(long)]
    pub volume_driver: Option<String>,
    /// Mount volumes from the specified container(s)
    #[arg(long, value_name = "list")]
    pub volumes_from: Vec<String>,
}
