//! Networks: what is made, listed, inspected, refused and pruned, each engine in a machine of its own.

use std::collections::BTreeMap;

use strata_testkit::image::Image;
use strata_testkit::{Machine, host, need};

use super::{Pair, needs};

/// What makes and shows networks, in this order.
const SHOWN: &[&[&str]] = &[
    &["network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{.IPv6}}"],
    &["network", "ls", "-f", "driver=bridge", "--format", "{{.Name}}"],
    &["network", "ls", "-f", "type=custom", "--format", "{{.Name}}"],
    &["network", "ls", "-f", "type=builtin", "--format", "{{.Name}}"],
    &["network", "ls", "-f", "name=l", "--format", "{{.Name}}"],
    &["network", "ls", "-f", "name=^[br]..e?$", "--format", "{{.Name}}"],
    &["inspect", "-f", "{{.Name}} {{.Driver}}", "blue"],
    &["inspect", "--type", "network", "-f", "{{.Name}}", "red"],
    &["network", "ls", "-f", "label=k=v", "--format", "{{.Name}} {{.Labels}}"],
    &["network", "ls", "-f", "label=k", "-f", "driver=bridge", "--format", "{{.Name}}"],
    &["network", "ls", "-f", "scope=local", "--format", "{{.Name}}"],
    &["network", "ls", "-f", "scope=swarm", "--format", "{{.Name}}"],
    &["network", "inspect", "-f", "{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{json .Labels}}", "blue", "red"],
    &["network", "inspect", "-f", "{{json .IPAM.Config}} {{.IPAM.Driver}} {{json .Options}}", "red"],
    &["network", "inspect", "-f", "{{range .Containers}}{{.Name}} {{.IPv4Address}} {{.IPv6Address}}{{end}}", "red"],
    &["network", "inspect", "-f", "{{.Name}} {{.Driver}} {{json .IPAM.Config}}", "host", "none"],
    &[
        "inspect",
        "-f",
        "{{with .NetworkSettings.Networks.red}}{{.IPAddress}} {{.Gateway}} {{.IPPrefixLen}}{{end}} {{.HostConfig.NetworkMode}}",
        "web",
    ],
    &["inspect", "-f", "{{json .NetworkSettings.Ports}} {{json .HostConfig.PortBindings}}", "web"],
    &["inspect", "-f", "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}", "web"],
    &["port", "web", "80"],
    &["port", "web", "53/udp"],
    &["ps", "-f", "network=red", "--format", "{{.Names}}"],
    &["ps", "-f", "publish=8080", "--format", "{{.Names}}"],
    &["ps", "-f", "publish=8081/udp", "--format", "{{.Names}}"],
    &["ps", "-f", "expose=99", "--format", "{{.Names}}"],
];

/// What both refuse, or not.
const SAID: &[&[&str]] = &[
    &["network"],
    &["network", "nonsense"],
    &["network", "ls", "extra"],
    &["network", "ls", "-f", "nonsense=1"],
    &["network", "ls", "-f", "type=nonsense"],
    &["network", "ls", "-f", "dangling=nonsense"],
    &["network", "ls", "--format", "{{.Nope}}"],
    &["network", "inspect"],
    &["network", "inspect", "nothing"],
    &["network", "inspect", "blue", "nothing"],
    &["network", "inspect", "-f", "{{", "blue"],
    &["network", "create"],
    &["network", "create", "blue"],
    &["network", "create", "host"],
    &["network", "create", "-d", "nonsense", "x"],
    &["network", "create", "-d", "host", "x"],
    &["network", "create", "--subnet", "10.77.0.0/16", "x"],
    &["network", "create", "--subnet", "10.90.0.0/24", "--gateway", "10.91.0.1", "x"],
    &["network", "create", "--subnet", "10.90.0.0/24", "--ip-range", "10.91.0.0/25", "x"],
    &["network", "create", "--gateway", "10.90.0.1", "x"],
    &["network", "create", "--label", "", "x1"],
    &["network", "rm"],
    &["network", "rm", "nothing"],
    &["network", "rm", "bridge"],
    &["network", "rm", "host"],
    &["network", "rm", "red"],
    &["network", "connect", "red"],
    &["network", "connect", "red", "web"],
    &["network", "connect", "nothing", "web"],
    &["network", "connect", "red", "nothing"],
    &["network", "connect", "host", "web"],
    &["network", "connect", "none", "web"],
    &["network", "connect", "--ip", "10.99.0.7", "blue", "web"],
    &["network", "disconnect", "blue", "web"],
    &["network", "disconnect", "nothing", "web"],
    &["network", "disconnect", "red", "nothing"],
    &["run", "--rm", "--network", "nothing", "box", "true"],
    &["run", "--rm", "--network", "container:nothing", "box", "true"],
    &["run", "--rm", "--network", "container:web", "-p", "99:99", "box", "true"],
    &["run", "--rm", "--network", "container:web", "--hostname", "x", "box", "true"],
    &["run", "--rm", "--network", "container:web", "--expose", "9", "box", "true"],
    &["run", "--rm", "--network", "container:web", "box", "true"],
    &["run", "--rm", "--network", "host", "--network-alias", "x", "box", "true"],
    &["run", "--rm", "--network", "red", "--ip", "10.9.9.9", "box", "true"],
    &["run", "--rm", "--network", "red", "--ip", "10.77.0.200", "box", "true"],
    &["run", "--rm", "--network", "red", "--ip", "nonsense", "box", "true"],
    &["run", "--rm", "--mac-address", "nonsense", "box", "true"],
    &["run", "--rm", "-p", "nonsense", "box", "true"],
    &["run", "--rm", "-p", "70000:80", "box", "true"],
    &["run", "--rm", "-p", "80:70000", "box", "true"],
    &["run", "--rm", "-p", "9000-9001:80", "box", "true"],
    &["run", "--rm", "-p", "9000-9001:80-82", "box", "true"],
    &["run", "--rm", "-p", "9001-9000:80-81", "box", "true"],
    &["run", "--rm", "-p", "80/nonsense", "box", "true"],
    &["run", "--rm", "-p", "nonsense:80:80", "box", "true"],
    &["run", "--rm", "-p", "10.1.2.3:9090:80", "box", "true"],
    &["run", "--rm", "-p", "8080:80", "box", "true"],
    &["run", "--rm", "--expose", "nonsense", "box", "true"],
    &["port"],
    &["port", "nothing"],
    &["port", "web", "99"],
    &["port", "web", "80/udp"],
    &["port", "web", "80/nonsense"],
    &["port", "web", "nonsense"],
    &["network", "prune", "-f", "--filter", "nonsense=1"],
    &["network", "prune", "-f", "--filter", "until=nonsense"],
    &["network", "prune", "-f", "--filter", "until=1h"],
    &["network", "prune", "-f", "--filter", "label=nothing"],
];

/// A list without its ids.
fn without_ids(text: &str) -> String {
    text.lines().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ") + "\n").collect()
}

/// The fields of what `network inspect` prints, but those that differ by nature.
fn fields(text: &str) -> String {
    let documents: Vec<BTreeMap<String, serde_json::Value>> = serde_json::from_str(text).unwrap_or_default();
    let own = ["Id", "Created", "Containers"];
    let kept = |document: BTreeMap<String, serde_json::Value>| -> Vec<String> {
        let fields = document.into_iter().filter(|(name, _)| !own.contains(&name.as_str()));
        // Debian's Docker does not show the gateway that it chose.
        let text = |value: serde_json::Value| value.to_string().replace(r#","Gateway":"10.76.0.1""#, "");
        fields.map(|(name, value)| format!("{name}: {}", text(value))).collect()
    };
    documents.into_iter().flat_map(kept).collect::<Vec<_>>().join("\n")
}

#[test]
fn networks_look_the_same_and_nonsense_is_refused_the_same() {
    need!(needs(), host::program("ip"), host::program("nft"));
    let (machine, theirs) = (Machine::isolated(), Machine::isolated());
    let mut pair = Pair::start_apart(&machine, &theirs);
    for place in [&machine, &theirs] {
        std::fs::write(place.dir().join("box.tar"), Image::busybox().docker_archive("box:latest")).unwrap();
    }
    pair.prepare(&["load", "-qi", "box.tar"]);
    pair.same_by(&["network", "ls"], without_ids);
    // Each has a bridge of a name of its own, and Docker is told here to make no rules.
    let options = |text: &str| {
        let text = text.replace("docker0", "BRIDGE").replace("strata0", "BRIDGE");
        text.replace("masquerade\":\"false\"", "masquerade\":\"true\"")
    };
    pair.same_by(&["network", "inspect", "-f", "{{json .Options}}", "bridge"], options);
    pair.prepare(&["network", "create", "--subnet", "10.76.0.0/24", "blue"]);
    let red = "network create --subnet 10.77.0.0/24 --gateway 10.77.0.9 --ip-range 10.77.0.128/25 --aux-address \
               a=10.77.0.130 --label k=v --opt com.docker.network.bridge.enable_icc=true red";
    pair.prepare(&red.split_whitespace().collect::<Vec<_>>());
    let web = "run -d --name web --network red --ip 10.77.0.200 -p 127.0.0.1:8080:80 -p 127.0.0.1:8081:53/udp --expose 99 \
               box sleep 1000";
    pair.prepare(&web.split_whitespace().collect::<Vec<_>>());
    for words in SHOWN {
        pair.same(words);
    }
    // Debian's Docker lists ports in any order.
    pair.same_by(&["port", "web"], super::sorted);
    pair.same_by(&["network", "inspect", "blue", "red"], fields);
    let entries = |text: &str| super::sorted(&text.trim().replace(", ", "\n"));
    pair.same_by(&["ps", "--format", "{{.Ports}}"], entries);
    for words in SAID {
        pair.same_code(words);
    }
    pair.prepare(&["network", "connect", "--ip", "10.76.0.7", "--alias", "site", "blue", "web"]);
    pair.same(&["inspect", "-f", "{{.NetworkSettings.Networks.blue.IPAddress}}", "web"]);
    pair.same(&["network", "disconnect", "red", "web"]);
    pair.same(&["network", "disconnect", "-f", "red", "nothing"]);
    pair.same(&["network", "rm", "red"]);
    pair.prepare(&["rm", "-f", "web"]);
    pair.same_by(&["system", "prune", "-f", "--filter", "label=k"], super::sorted);
    pair.same_by(&["network", "prune", "-f"], super::sorted);
    pair.same_by(&["network", "ls"], without_ids);
    pair.finish();
}
