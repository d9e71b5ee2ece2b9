//! Beside the host's own firewall: it is obeyed, and its reload does no harm.

use strata_testkit::need;

use super::{Lab, available};

/// Whether the neighbour outside reaches the published port 8080.
fn is_reached(lab: &Lab) -> bool {
    lab.sh("ip netns exec peer busybox timeout 1 busybox wget -qO- http://10.99.0.1:8080/").out == "web\n"
}

/// Waits until it is or is not.
#[track_caller]
fn becomes(lab: &Lab, reached: bool) {
    let deadline = std::time::Instant::now() + super::PATIENCE;
    while is_reached(lab) != reached {
        assert!(std::time::Instant::now() < deadline, "{}", lab.sh("nft list ruleset").out);
    }
}

#[test]
fn rules_of_the_hosts_input_chains_hold_for_published_ports() {
    need!(available());
    let lab = Lab::start().with_peer();
    lab.serve("web", "-p 8080:80");
    becomes(&lab, true);
    lab.sh("nft add table inet fw; nft 'add chain inet fw input { type filter hook input priority 0; }'
        nft add rule inet fw input tcp dport 8080 drop")
        .ok();
    becomes(&lab, false);
    lab.sh("nft flush chain inet fw input").ok();
    becomes(&lab, true);
    // Closed but for some, by way of a set and a chain of its own.
    lab.sh("nft 'add set inet fw open { type inet_service; }'; nft 'add chain inet fw ports'
        nft add rule inet fw ports tcp dport @open accept; nft add rule inet fw input ct state established,related accept
        nft add rule inet fw input jump ports; nft 'add chain inet fw input { policy drop; }'").ok();
    becomes(&lab, false);
    lab.sh("nft 'add element inet fw open { 22, 8080 }'").ok();
    becomes(&lab, true);
    // One that comes later obeys too.
    lab.sh("nft 'delete element inet fw open { 8080 }'").ok();
    lab.strata("rm -f web").ok();
    lab.serve("web", "-p 8080:80");
    becomes(&lab, false);
}

#[test]
fn rules_of_the_hosts_forward_chains_hold() {
    need!(available());
    let lab = Lab::start().with_peer();
    lab.serve("web", "-p 8080:80");
    becomes(&lab, true);
    lab.sh(
        "nft add table inet fw; nft 'add chain inet fw forward { type filter hook forward priority 0; policy drop; }'",
    )
    .ok();
    becomes(&lab, false);
}

#[test]
fn a_reload_of_the_firewall_takes_nothing_away() {
    need!(available());
    let lab = Lab::start().with_peer();
    lab.serve("web", "-p 8080:80");
    becomes(&lab, true);
    lab.sh("nft flush ruleset").ok();
    lab.eventually("nft list ruleset | grep -q 8080");
    becomes(&lab, true);
    lab.strata("rm -f web").ok();
    lab.is_clean();
}
