//! Device mapper by its control device (linux/dm-ioctl.h), as far as thin pools need it.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::signal::last_errno;

const CREATE: u8 = 3;
const REMOVE: u8 = 4;
const RESUME: u8 = 6;
const STATUS: u8 = 7;
const LOAD: u8 = 9;
const MESSAGE: u8 = 14;
const TARGET_VERSION: u8 = 17;

/// `DM_DEFERRED_REMOVE`: when the last who has it open closes it.
const DEFERRED: u32 = 1 << 17;
/// The version of the interface that we speak, which every kernel of this century knows; deferred removal came with 4.27.
const VERSION: [u32; 3] = [4, 27, 0];
/// A table or message of ours with its header; answers are no longer than headers.
const CALL_BYTES: usize = 4096;

/// `dm_ioctl`.
#[repr(C)]
struct Header {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event: u32,
    padding: u32,
    device: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
}

/// `dm_target_spec`, before the table's text.
#[repr(C)]
struct Target {
    start_sectors: u64,
    length_sectors: u64,
    status: i32,
    next: u32,
    kind: [u8; 16],
}

/// A header and what follows it.
#[repr(C)]
struct Call {
    header: Header,
    payload: [u8; CALL_BYTES - size_of::<Header>()],
}

/// The control device.
#[derive(Debug)]
pub struct Control(OwnedFd);

impl Control {
    /// Opens it: an error where the kernel has no device mapper, or this process may not.
    pub fn open() -> io::Result<Self> {
        let opened = rustix::fs::open("/dev/mapper/control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self(opened))
    }

    /// Whether the kernel has a kind of target; loads its module. Linux 5.4.
    pub fn has(&self, kind: &str) -> bool {
        self.call(TARGET_VERSION, kind, 0, 0, &[]).is_ok()
    }

    /// The number of the device of that name, if there is one.
    pub fn device(&self, name: &str) -> io::Result<Option<u64>> {
        match self.call(STATUS, name, 0, 0, &[]) {
            Ok(device) => Ok(Some(device)),
            Err(Errno::NXIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a device of one target and gives its number. `AlreadyExists` if somebody has.
    pub fn create(&self, name: &str, sectors: u64, kind: &str, table: &str) -> io::Result<u64> {
        match self.call(CREATE, name, 0, 0, &[]) {
            Err(Errno::BUSY) => return Err(io::ErrorKind::AlreadyExists.into()),
            done => done?,
        };
        let started = self.load(name, sectors, kind, table).and_then(|()| self.call(RESUME, name, 0, 0, &[]));
        if started.is_err() {
            self.remove(name)?;
        }
        Ok(started?)
    }

    fn load(&self, name: &str, sectors: u64, kind: &str, table: &str) -> rustix::io::Result<()> {
        let mut payload = Vec::new();
        payload.extend(0u64.to_ne_bytes());
        payload.extend(sectors.to_ne_bytes());
        payload.extend(0i32.to_ne_bytes());
        let length = size_of::<Target>() + table.len() + 1;
        payload.extend((length.next_multiple_of(8) as u32).to_ne_bytes());
        let mut name_of_kind = [0; 16];
        name_of_kind[..kind.len()].copy_from_slice(kind.as_bytes());
        payload.extend(name_of_kind);
        payload.extend(table.as_bytes());
        payload.resize(length.next_multiple_of(8), 0);
        self.call(LOAD, name, 0, 1, &payload).map(drop)
    }

    /// Removes a device when nobody has it open any more, which may be now. It may not be there.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match self.call(REMOVE, name, DEFERRED, 0, &[]) {
            Ok(_) | Err(Errno::NXIO) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells a device something.
    pub fn message(&self, name: &str, text: &str) -> rustix::io::Result<()> {
        let mut payload = 0u64.to_ne_bytes().to_vec();
        payload.extend(text.as_bytes());
        payload.push(0);
        self.call(MESSAGE, name, 0, 0, &payload).map(drop)
    }

    /// Gives the device's number.
    fn call(&self, number: u8, name: &str, flags: u32, targets: u32, payload: &[u8]) -> rustix::io::Result<u64> {
        let mut call = Box::new(Call {
            header: Header {
                version: VERSION,
                data_size: CALL_BYTES as u32,
                data_start: size_of::<Header>() as u32,
                target_count: targets,
                open_count: 0,
                flags,
                event: 0,
                padding: 0,
                device: 0,
                name: [0; 128],
                uuid: [0; 129],
                data: [0; 7],
            },
            payload: [0; CALL_BYTES - size_of::<Header>()],
        });
        if name.len() >= call.header.name.len() || payload.len() > call.payload.len() {
            return Err(Errno::NAMETOOLONG);
        }
        call.header.name[..name.len()].copy_from_slice(name.as_bytes());
        call.payload[..payload.len()].copy_from_slice(payload);
        let request = (3 << 30) | ((size_of::<Header>() as u64) << 16) | (0xfd << 8) | u64::from(number);
        // SAFETY: the kernel reads and writes `data_size` bytes from the header on, and that many are there; names and
        // texts end with a zero.
        match unsafe { libc::ioctl(self.0.as_raw_fd(), request as _, std::ptr::from_mut(&mut *call)) } {
            0 => Ok(call.header.device),
            _ => Err(last_errno()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_sizes_of_the_kernels() {
        // From a C program with linux/dm-ioctl.h.
        assert_eq!((size_of::<Header>(), size_of::<Target>(), size_of::<Call>()), (312, 40, CALL_BYTES));
    }
}
