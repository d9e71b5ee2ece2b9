//! Control groups that systemd makes: a transient scope for each container (decision 0042).
//!
//! systemd owns the tree of groups on hosts where it runs. What it does not know of it may undo, at the latest when it reads
//! its configuration again; so it is told of all limits that it has words for, and the group is delegated to us.

mod bus;
mod units;
mod wire;

use std::io::{Error as IoError, ErrorKind};

use strata_sys::cgroup::Layout;
use strata_sys::user_namespace;

use self::bus::{Bus, Refusal};
use self::wire::{Call, Message, Property, Value, Writer};
use super::Error;
pub(super) use units::Unit;

/// Where systemd is spoken to, as the caller's environment says.
#[derive(Clone, Debug, Default)]
pub struct Systemd {
    /// The address of the system's bus, if it is not the usual one.
    pub system_bus: Option<String>,
    /// The address of the person's bus.
    pub session_bus: Option<String>,
    /// The person's directory for sockets.
    pub runtime_dir: Option<String>,
}

/// A manager of units that answers.
pub(super) struct Manager(Bus);

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";

impl Systemd {
    /// Whether containers belong to a person's systemd, and not to the machine's.
    pub(super) fn is_of_person() -> bool {
        !rustix::process::geteuid().is_root() || !user_namespace::is_initial()
    }

    fn addresses(&self) -> Vec<String> {
        if !Self::is_of_person() {
            let usual = || "unix:path=/run/dbus/system_bus_socket".to_owned();
            // Without a bus it listens to root directly.
            return vec![self.system_bus.clone().unwrap_or_else(usual), "unix:path=/run/systemd/private".to_owned()];
        }
        let below = |name: &str| self.runtime_dir.as_ref().map(|dir| format!("unix:path={dir}/{name}"));
        self.session_bus.clone().into_iter().chain(below("bus")).chain(below("systemd/private")).collect()
    }

    /// Connects to it.
    pub(super) fn connect(&self) -> Result<Manager, Error> {
        if Layout::probe() != Layout::V2 {
            let why = "--systemd-cgroup needs control groups of version 2 alone";
            return Err(crate::Error::Unsupported(why.to_owned()).into());
        }
        Ok(Bus::connect(&self.addresses()).map(Manager).map_err(crate::Error::io("speak to systemd"))?)
    }
}

impl Manager {
    fn ask(&mut self, member: &str, values: &Writer) -> std::io::Result<Result<Message, Refusal>> {
        let interface = "org.freedesktop.systemd1.Manager";
        self.0.call(&Call { destination: NAME, path: PATH, interface, member }, values)
    }

    /// Where its own tree of groups begins.
    pub(super) fn root(&mut self) -> Result<String, Error> {
        let call = Call { destination: NAME, path: PATH, interface: "org.freedesktop.DBus.Properties", member: "Get" };
        let values = Writer::default().text("org.freedesktop.systemd1.Manager").text("ControlGroup");
        let mut ask = || -> std::io::Result<String> {
            let answer = self.0.call(&call, &values)?.map_err(IoError::other)?;
            let mut body = answer.body();
            match body.types()?.as_str() {
                "s" => body.string(),
                other => Err(IoError::new(ErrorKind::InvalidData, format!("a value of type {other}"))),
            }
        };
        Ok(ask().map_err(crate::Error::io("ask systemd for its control group"))?)
    }

    /// Makes the unit with the process `pid` in it, and waits until it is there.
    pub(super) fn start(&mut self, unit: &Unit, id: &str, pid: i32, limits: &[(String, String)]) -> Result<(), Error> {
        let mut properties: Vec<Property> = vec![
            ("Description", Value::Text(format!("strata container {id}"))),
            ("Slice", Value::Text(unit.slice.clone())),
            ("Delegate", Value::Bool(true)),
            ("DefaultDependencies", Value::Bool(false)),
            // A unit that failed makes room for the next of its name.
            ("CollectMode", Value::Text("inactive-or-failed".to_owned())),
            ("PIDs", Value::Numbers(vec![pid.unsigned_abs()])),
        ];
        let accounts = ["MemoryAccounting", "CPUAccounting", "IOAccounting", "TasksAccounting"];
        properties.extend(accounts.map(|name| (name, Value::Bool(true))));
        properties.extend(units::properties(limits));
        let values = Writer::default().text(&unit.name).text("replace").properties(&properties).no_more_units();
        let failed = || crate::Error::path("have systemd start the unit", &unit.name);
        let mut ask = || -> std::io::Result<()> {
            self.subscribe()?;
            let answer = match self.ask("StartTransientUnit", &values)? {
                Err(refusal) if refusal.name == "org.freedesktop.systemd1.UnitExists" => {
                    // One of that name is just going.
                    self.ask("StopUnit", &Writer::default().text(&unit.name).text("replace"))?
                        .map_or(Ok(()), |answer| self.wait(&answer).map(drop))?;
                    self.ask("StartTransientUnit", &values)?
                }
                answer => answer,
            };
            match self.wait(&answer.map_err(IoError::other)?)?.as_str() {
                "done" => Ok(()),
                other => Err(IoError::other(format!("its job says {other}"))),
            }
        };
        Ok(ask().map_err(failed())?)
    }

    /// Ends the unit, which may be gone, and waits until it is.
    pub(super) fn stop(&mut self, unit: &str) -> std::io::Result<()> {
        self.subscribe()?;
        match self.ask("StopUnit", &Writer::default().text(unit).text("replace"))? {
            Ok(answer) => self.wait(&answer).map(drop),
            Err(refusal) if refusal.name == "org.freedesktop.systemd1.NoSuchUnit" => Ok(()),
            Err(refusal) => Err(IoError::other(refusal)),
        }
    }

    /// Changes limits of the unit, until it ends.
    pub(super) fn set(&mut self, unit: &str, limits: &[(String, String)]) -> Result<(), Error> {
        let properties = units::properties(limits);
        if properties.is_empty() {
            return Ok(());
        }
        let values = Writer::default().text(unit).truth(true).properties(&properties);
        let answer = self.ask("SetUnitProperties", &values).and_then(|answer| answer.map_err(IoError::other));
        Ok(answer.map(drop).map_err(crate::Error::path("have systemd change the unit", unit))?)
    }

    /// Without it systemd says nothing of jobs.
    fn subscribe(&mut self) -> std::io::Result<()> {
        match self.ask("Subscribe", &Writer::default())? {
            Err(refusal) if refusal.name != "org.freedesktop.systemd1.AlreadySubscribed" => {
                Err(IoError::other(refusal))
            }
            _ => Ok(()),
        }
    }

    /// Waits for the end of the job that an answer names, and gives its result.
    fn wait(&mut self, answer: &Message) -> std::io::Result<String> {
        let job = answer.body().string()?;
        self.0.signal(|signal| {
            let mut body = signal.body();
            if signal.name != "JobRemoved" {
                return None;
            }
            let (_, of, _) = (body.number().ok()?, body.string().ok()?, body.string().ok()?);
            (of == job).then(|| body.string().unwrap_or_default())
        })
    }
}
