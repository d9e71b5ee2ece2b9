//! Archives that are unpacked: tars, compressed or not.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use strata_layer::compress::Decoder;

use crate::error::{Problem, read};

/// How much of a file says whether it is an archive.
pub(crate) const HEAD_BYTES: usize = 512;
/// Where a tar says that it is one.
const MAGIC: std::ops::Range<usize> = 257..262;

/// Whether bytes begin a tar.
pub(crate) fn is_tar(head: &[u8]) -> bool {
    head.get(MAGIC) == Some(b"ustar")
}

/// Whether bytes begin something compressed.
pub(crate) fn is_compressed(head: &[u8]) -> bool {
    matches!(head, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..]) || program(head).is_some()
}

/// The program that takes apart what we do not.
fn program(head: &[u8]) -> Option<&'static str> {
    match head {
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some("bzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some("xz"),
        _ => None,
    }
}

/// Reads as much of the beginning as says what it is.
pub(crate) fn head(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    from.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// The tar in a file; none if it is no archive.
pub(crate) fn open(file: File, shown: &str) -> Result<Option<Box<dyn Read>>, Problem> {
    let mut file = file;
    let first = head(&mut file).map_err(read(shown))?;
    let whole = |file: File, first: Vec<u8>| Cursor::new(first).chain(file);
    if is_tar(&first) {
        return Ok(Some(Box::new(whole(file, first))));
    }
    if !is_compressed(&first) {
        return Ok(None);
    }
    let Ok(mut plain) = decompressed(whole(file, first)) else { return Ok(None) };
    // What is compressed but no tar is copied as it is.
    let Ok(inner) = head(&mut *plain) else { return Ok(None) };
    Ok(if is_tar(&inner) { Some(Box::new(Cursor::new(inner).chain(plain))) } else { None })
}

/// What is in a compressed stream; another one as it is.
pub(crate) fn decompressed(mut from: impl Read + Send + 'static) -> io::Result<Box<dyn Read>> {
    let first = head(&mut from)?;
    let known = program(&first);
    let whole = Cursor::new(first).chain(from);
    match known {
        Some(program) => Ok(Box::new(External::start(program, whole)?)),
        None => Ok(Box::new(Decoder::new(whole).map_err(io::Error::other)?)),
    }
}

/// A program that decompresses, fed by a thread.
struct External {
    child: Child,
    feeder: Option<JoinHandle<()>>,
    program: &'static str,
}

impl External {
    fn start(program: &'static str, mut from: impl Read + Send + 'static) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(["-d", "-c"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
        let stdin = child.stdin.take();
        let feeder = std::thread::spawn(move || {
            // A program that has seen enough closes its end.
            if let Some(mut stdin) = stdin
                && let Err(error) = io::copy(&mut from, &mut stdin)
            {
                tracing::debug!(%error, "the rest of an archive was not wanted");
            }
        });
        Ok(Self { child, feeder: Some(feeder), program })
    }
}

impl Read for External {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(stdout) = &mut self.child.stdout else { return Ok(0) };
        let length = stdout.read(buffer)?;
        if length == 0 && !buffer.is_empty() {
            let ended = self.child.wait()?;
            if !ended.success() {
                return Err(io::Error::other(format!("{} cannot decompress it", self.program)));
            }
        }
        Ok(length)
    }
}

impl Drop for External {
    fn drop(&mut self) {
        drop(self.child.stdout.take());
        // Whoever stops reading early stops the program; one that has ended is only waited for.
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended {
            tracing::debug!(%error, "a decompressing program stays");
        }
        if let Some(feeder) = self.feeder.take() {
            drop(feeder.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_told_from_other_files() {
        let dir = tempfile::tempdir().unwrap();
        let run = |line: &str| {
            let ended = Command::new("sh").args(["-c", line]).current_dir(dir.path()).status().unwrap();
            assert!(ended.success(), "{line}");
        };
        run("echo content > f && tar -cf a.tar f && gzip -k a.tar && gzip -k f && head -c 600 /dev/zero > z");
        let check = |name: &str, expected: bool| {
            let opened = open(File::open(dir.path().join(name)).unwrap(), name).unwrap();
            assert_eq!(opened.is_some(), expected, "{name}");
            opened.map(|mut tar| {
                let mut bytes = Vec::new();
                tar.read_to_end(&mut bytes).unwrap();
                bytes
            })
        };
        let plain = check("a.tar", true);
        assert_eq!(check("a.tar.gz", true), plain);
        for name in ["f", "f.gz", "z"] {
            check(name, false);
        }
    }
}
