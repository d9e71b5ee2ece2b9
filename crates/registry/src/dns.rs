//! Names to addresses, by own means: a static program cannot use the C library's.
//!
//! `/etc/hosts` and `/etc/resolv.conf` are read when the first name is looked up. Where there is no `resolv.conf`, only
//! `/etc/hosts` counts: no name server of somebody else's choosing is asked.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// One resolver for all connections of a client, so that they share its cache.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    resolver: Arc<OnceLock<TokioResolver>>,
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.clone();
        Box::pin(async move {
            let resolver = match names.resolver.get() {
                Some(resolver) => resolver,
                None => {
                    let made = resolver()?;
                    names.resolver.get_or_init(|| made)
                }
            };
            let found: Vec<_> = resolver.lookup_ip(name.as_str()).await?.iter().collect();
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

/// The addresses of a host. Starts no thread: whoever has one may not make containers any more.
pub fn addresses(name: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(async { resolver()?.lookup_ip(name).await });
    Ok(found.map_err(io::Error::other)?.iter().collect())
}

fn resolver() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
        tracing::debug!(%error, "no usable resolv.conf");
        let nobody = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
        TokioResolver::builder_with_config(nobody, TokioRuntimeProvider::default())
    });
    // Both, and whoever answers first is connected to first (RFC 8305).
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
    builder.build()
}
