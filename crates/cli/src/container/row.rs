//! A container as a line of `ps`.

use jiff::Timestamp;
use serde_json::{Value as Json, json};
use strata_engine::container::Listed;
use strata_net::ports_by_name;
use strata_runtime::{Health, HealthStatus, State, Status};

use crate::container::port;
use crate::format::{age, shorten, size};
use crate::mask;
use crate::session::Session;

/// The fields of a row with their headings.
pub const COLUMNS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("State", "STATE"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
];

/// The table of `ps`.
pub const TABLE: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
/// The table of `ps -s`.
pub const TABLE_SIZE: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}";

/// What a container's own files and all of them take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Its own.
    pub own_bytes: u64,
    /// With its image's.
    pub all_bytes: u64,
}

/// How a row is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How {
    /// Nothing is shortened.
    pub whole: bool,
    /// What looks like a secret is shown, too.
    pub reveal: bool,
    /// With sizes.
    pub sizes: Option<Sizes>,
}

/// Makes a row.
pub fn row(session: &Session, listed: &Listed, how: How) -> Json {
    let How { whole, reveal, sizes } = how;
    let record = &listed.known.record;
    let document = &listed.known.document;
    let words: Vec<String> = document.words();
    let words = if reveal { words } else { mask::words_of(&words) };
    let labels: Vec<String> = document.config.run.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mounts: Vec<String> = listed.mounts();
    let shown: Vec<String> =
        mounts.iter().map(|mount| if whole { mount.clone() } else { shorten::text(mount, 15) }).collect();
    let volumes = mounts.iter().filter(|mount| !mount.starts_with('/')).count();
    let size = sizes.map_or_else(
        || size::short(0),
        |sizes| format!("{} (virtual {})", size::short(sizes.own_bytes), size::short(sizes.all_bytes)),
    );
    json!({
        "Command": shorten::command(&command_line(&words), whole),
        "CreatedAt": age::moment(record.created, session.zone()),
        "ID": if whole { record.id.as_str() } else { record.id.short() },
        "Image": image(&record.image_name, whole),
        "Labels": labels.join(","),
        "LocalVolumes": volumes.to_string(),
        "Mounts": shown.join(","),
        "Names": record.name,
        "Networks": listed.networks().join(","),
        "Ports": ports(listed),
        "RunningFor": age::ago(record.created, session.now()),
        "Size": size,
        "State": listed.state.status.as_str(),
        "Status": status(&listed.state, session.now()),
    })
}

/// A command as Docker lists it: its arguments are in quotes when they have a space.
pub fn command_line(words: &[String]) -> String {
    let spaced = |word: &String| if word.contains(' ') { format!("'{word}'") } else { word.clone() };
    let words = words.iter().enumerate().map(|(at, word)| if at == 0 { word.clone() } else { spaced(word) });
    words.collect::<Vec<_>>().join(" ")
}

/// Published ports, and those that are only exposed, as Docker lists them.
fn ports(listed: &Listed) -> String {
    if !listed.state.status.is_alive() {
        return String::new();
    }
    let exposed = listed.known.document.config.run.exposed_ports.iter().map(String::as_str);
    port::column(&ports_by_name(exposed, listed.connected.ports()))
}

/// An image's name; an id is shortened, a digest left out.
fn image(name: &str, whole: bool) -> String {
    if whole {
        return name.to_owned();
    }
    let is_id = name.len() > 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    match name.strip_prefix("sha256:") {
        Some(hex) => shorten::id(hex).to_owned(),
        None if is_id => shorten::id(name).to_owned(),
        None => name.split_once('@').map_or(name, |(name, _)| name).to_owned(),
    }
}

/// What a container is doing: `Up 5 minutes`, `Exited (0) 2 hours ago`.
pub fn status(state: &State, now: Timestamp) -> String {
    let since = |time: Option<Timestamp>| age::human(now.duration_since(time.unwrap_or(now)));
    match state.status {
        Status::Created => String::from("Created"),
        Status::Running => match &state.health {
            Some(Health { status: HealthStatus::Starting, .. }) => {
                format!("Up {} (health: starting)", since(state.started_at))
            }
            Some(health) => format!("Up {} ({})", since(state.started_at), health.status.as_str()),
            None => format!("Up {}", since(state.started_at)),
        },
        Status::Restarting => format!("Restarting ({}) {} ago", state.exit_code, since(state.finished_at)),
        Status::Paused => format!("Up {} (Paused)", since(state.started_at)),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(state.finished_at)),
        Status::Dead => String::from("Dead"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_since_when() {
        let now: Timestamp = "2024-03-01T12:00:00Z".parse().unwrap();
        let before = Some("2024-03-01T11:55:00Z".parse().unwrap());
        let state =
            |status| State { status, started_at: before, finished_at: before, exit_code: 3, ..State::created() };
        assert_eq!(status(&state(Status::Created), now), "Created");
        assert_eq!(status(&state(Status::Running), now), "Up 5 minutes");
        assert_eq!(status(&state(Status::Paused), now), "Up 5 minutes (Paused)");
        assert_eq!(status(&state(Status::Exited), now), "Exited (3) 5 minutes ago");
        assert_eq!(status(&state(Status::Dead), now), "Dead");
        assert_eq!(status(&state(Status::Restarting), now), "Restarting (3) 5 minutes ago");
        let asked = |word| State {
            health: Some(Health { status: word, failing_streak: 0, log: Vec::new() }),
            ..state(Status::Running)
        };
        assert_eq!(status(&asked(HealthStatus::Starting), now), "Up 5 minutes (health: starting)");
        assert_eq!(status(&asked(HealthStatus::Healthy), now), "Up 5 minutes (healthy)");
        assert_eq!(status(&asked(HealthStatus::Unhealthy), now), "Up 5 minutes (unhealthy)");
    }

    #[test]
    fn ids_and_digests_are_shortened() {
        assert_eq!(image("debian:12", false), "debian:12");
        assert_eq!(image("debian@sha256:00", false), "debian");
        assert_eq!(image(&"ab".repeat(32), false), "abababababab");
        assert_eq!(image("debian@sha256:00", true), "debian@sha256:00");
    }
}
