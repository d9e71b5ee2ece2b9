//! rpm's database: a SQLite file whose rows are headers of packages
//! (<https://rpm-software-management.github.io/rpm/manual/format_header.html>). The Berkeley DB of rpm before 4.16 is not
//! read.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt as _;

use rusqlite::{Connection, MAIN_DB};

use super::scan::{Kind, Package};

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const ARCHITECTURE: u32 = 1022;

/// A number of 32 bits, and a string, among the types of values.
const INT32: u32 = 4;
const STRING: u32 = 6;

/// The packages of a database; none if it cannot be read.
pub(super) fn packages(content: BorrowedFd<'_>) -> Vec<Package> {
    let read = || -> rusqlite::Result<Vec<Vec<u8>>> {
        let image = image(content).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let mut database = Connection::open_in_memory()?;
        database.deserialize_read_exact(MAIN_DB, image.as_slice(), image.len(), true)?;
        let mut query = database.prepare("SELECT blob FROM Packages ORDER BY hnum")?;
        query.query_map([], |row| row.get(0))?.collect()
    };
    match read() {
        Ok(headers) => headers.iter().filter_map(|header| package(header)).collect(),
        Err(error) => {
            tracing::debug!(%error, "a database of rpm's cannot be read");
            Vec::new()
        }
    }
}

/// The file as a database in memory can have it. It is not opened by a name: SQLite follows the links of `/proc` to the path
/// that a file has in its own tree, and that would be looked up in this machine's.
fn image(content: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    /// Where the versions of the format stand that it takes to write and to read: 2 says that there may be a log beside it
    /// (<https://sqlite.org/fileformat.html>, 1.3.3).
    const VERSIONS: std::ops::Range<usize> = 18..20;
    const WITHOUT_LOG: u8 = 1;
    let file = File::from(content.try_clone_to_owned()?);
    let mut image = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut image, 0)?;
    if let Some(versions) = image.get_mut(VERSIONS) {
        versions.fill(WITHOUT_LOG);
    }
    Ok(image)
}

/// Reads a header: two counts, entries of 16 bytes, and the values they point to.
fn package(header: &[u8]) -> Option<Package> {
    let word = |bytes: &[u8], at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let count = usize::try_from(word(header, 0)?).ok()?;
    let entries = header.get(8..8 + count.checked_mul(16)?)?;
    let values = &header[8 + entries.len()..];
    let find = |tag: u32, kind: u32| {
        let entry =
            entries.chunks_exact(16).find(|entry| word(entry, 0) == Some(tag) && word(entry, 4) == Some(kind))?;
        values.get(usize::try_from(word(entry, 8)?).ok()?..)
    };
    let text = |tag: u32| {
        let bytes = find(tag, STRING)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(&bytes[..end]).ok()
    };
    let epoch = find(EPOCH, INT32).and_then(|bytes| word(bytes, 0)).filter(|epoch| *epoch > 0);
    let epoch = epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
    let version = format!("{epoch}{}-{}", text(VERSION)?, text(RELEASE)?);
    // Keys of whom packages are trusted are kept as packages, too.
    let name = text(NAME).filter(|name| *name != "gpg-pubkey")?;
    Some(Package::new(Kind::Rpm, name, &version, text(ARCHITECTURE).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    fn header(fields: &[(u32, &str)], epoch: u32) -> Vec<u8> {
        let (mut entries, mut values) = (Vec::new(), epoch.to_be_bytes().to_vec());
        let mut entry = |tag: u32, kind: u32, offset: usize| {
            for word in [tag, kind, offset as u32, 1] {
                entries.extend(word.to_be_bytes());
            }
        };
        entry(EPOCH, INT32, 0);
        for (tag, value) in fields {
            entry(*tag, STRING, values.len());
            values.extend(value.bytes().chain([0]));
        }
        let counts = [(fields.len() + 1) as u32, values.len() as u32];
        counts.iter().flat_map(|count| count.to_be_bytes()).chain(entries).chain(values).collect()
    }

    #[test]
    fn a_database_is_read_and_nonsense_in_it_is_passed_over() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let database = Connection::open(file.path()).unwrap();
        database.execute_batch("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)").unwrap();
        let bash = header(&[(NAME, "bash"), (VERSION, "5.2"), (RELEASE, "1.fc39"), (ARCHITECTURE, "x86_64")], 2);
        let key = header(&[(NAME, "gpg-pubkey"), (VERSION, "1"), (RELEASE, "1")], 0);
        for blob in [bash.clone(), key, bash[..20].to_vec(), vec![0xff; 40], Vec::new()] {
            database.execute("INSERT INTO Packages (blob) VALUES (?1)", [blob]).unwrap();
        }
        drop(database);
        // As it lies in an image: there is no path to it here, and a log may be beside it.
        let mut bytes = std::fs::read(file.path()).unwrap();
        bytes[18..20].fill(2);
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        let found = packages(file.as_fd());
        assert_eq!(found, [Package::new(Kind::Rpm, "bash", "2:5.2-1.fc39", "x86_64")]);
        let none = tempfile::tempfile().unwrap();
        assert_eq!(packages(none.as_fd()), []);
    }
}
