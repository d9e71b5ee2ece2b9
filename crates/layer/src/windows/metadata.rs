//! What PAX records say in Windows' words.

use crate::tar::{base64, time};
use crate::{NAME_BYTES_MAX, Vendor};

use super::security;

type Problem = &'static str;

/// What the rules for one entry depend on; the other records are only checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    /// The file attributes, if they are stated.
    pub(super) attributes: Option<u32>,
    /// Whether a symbolic link is a junction.
    pub(super) is_mount_point: bool,
}

/// `FILE_ATTRIBUTE_DIRECTORY`.
pub(super) const DIRECTORY: u32 = 0x10;

/// The length of an extended attribute's value has 16 bits (`FILE_FULL_EA_INFORMATION`).
const EXTENDED_BYTES_MAX: usize = 65535;

impl Metadata {
    /// Reads an entry's records. Unknown ones of Windows' are passed over, as Windows does.
    pub(super) fn parse(records: &[Vendor]) -> Result<Self, Problem> {
        let mut metadata = Self::default();
        for Vendor { key, value } in records {
            if key == Vendor::CREATED {
                time(value).map_err(|_| "its time of creation is malformed")?;
                continue;
            }
            let name = key.strip_prefix(Vendor::WINDOWS).unwrap_or_default();
            match name {
                b"fileattr" => metadata.attributes = Some(attributes(value)?),
                b"mountpoint" => metadata.is_mount_point = true,
                // Nothing is no descriptor.
                b"rawsd" if value.is_empty() => {}
                b"rawsd" => security::check(&strict_base64(value).ok_or("its security descriptor is not base64")?)?,
                b"sd" => security::check_sddl(value)?,
                _ => {
                    if let Some(name) = name.strip_prefix(b"xattr.") {
                        check_extended(name, value)?;
                    }
                }
            }
        }
        Ok(metadata)
    }
}

fn attributes(value: &[u8]) -> Result<u32, Problem> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or("its file attributes are not a number of 32 bits")
}

fn check_extended(name: &[u8], value: &[u8]) -> Result<(), Problem> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err("an extended attribute's name is empty or too long");
    }
    let value = strict_base64(value).ok_or("an extended attribute is not base64")?;
    if value.len() > EXTENDED_BYTES_MAX { Err("an extended attribute's value is too long") } else { Ok(()) }
}

/// Base64 as Windows' programs take it: with its padding.
fn strict_base64(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    if text.len().is_multiple_of(4) && padding <= 2 { base64(text) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(records: &[(&str, &str)]) -> Result<Metadata, Problem> {
        let record =
            |(key, value): &(&str, &str)| Vendor { key: key.as_bytes().into(), value: value.as_bytes().into() };
        Metadata::parse(&records.iter().map(record).collect::<Vec<_>>())
    }

    #[test]
    fn what_matters_is_read() {
        let read = parse(&[("MSWINDOWS.fileattr", "1040"), ("MSWINDOWS.mountpoint", "1"), ("MSWINDOWS.new", "?")]);
        assert_eq!(read, Ok(Metadata { attributes: Some(0x410), is_mount_point: true }));
        assert_eq!(parse(&[]), Ok(Metadata::default()));
        assert!(
            parse(&[("MSWINDOWS.xattr.$KERNEL.PURGE.ESBCACHE", "AAECAw=="), ("MSWINDOWS.sd", "O:BAG:SYD:")]).is_ok()
        );
        assert!(parse(&[("LIBARCHIVE.creationtime", "-11644473600.5"), ("MSWINDOWS.rawsd", "")]).is_ok());
    }

    #[test]
    fn what_windows_would_not_take_is_refused() {
        let check = |key, value, expected| assert_eq!(parse(&[(key, value)]), Err(expected), "{key}={value}");
        for bad in ["", "-1", "+1", "0x10", "4294967296", "16 "] {
            check("MSWINDOWS.fileattr", bad, "its file attributes are not a number of 32 bits");
        }
        check("MSWINDOWS.rawsd", "AQAE", "its security descriptor is cut off");
        check("MSWINDOWS.rawsd", "AQAEg", "its security descriptor is not base64");
        check("MSWINDOWS.rawsd", "A===", "its security descriptor is not base64");
        check("MSWINDOWS.sd", "rwxr-xr-x", "its security descriptor is not in SDDL");
        check("MSWINDOWS.xattr.", "AA==", "an extended attribute's name is empty or too long");
        check("MSWINDOWS.xattr.A", "%", "an extended attribute is not base64");
        check("LIBARCHIVE.creationtime", "soon", "its time of creation is malformed");
    }
}
