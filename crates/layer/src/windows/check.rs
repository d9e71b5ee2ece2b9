//! The rules for entries.

use std::collections::HashSet;

use super::metadata::{DIRECTORY, Metadata};
use crate::path::shown;
use crate::whiteout::PREFIX;
use crate::{Entry, Error, Kind, LayerPath, LayerSink, Result, Vendor};

/// Refuses a layer that Windows would refuse, or read otherwise than it looks: names with backslashes, two names that differ
/// in case only, devices, links out of the tree, streams of nothing, malformed metadata. Whether a hard link's target is in a
/// layer below it cannot know.
#[derive(Debug, Default)]
pub struct Checker {
    /// About the entry that comes next.
    vendor: Vec<Vendor>,
    /// All names, as Windows compares them.
    names: HashSet<String>,
    /// The entry whose streams may follow.
    owner: Option<LayerPath>,
}

type Problem = &'static str;

impl LayerSink for Checker {
    fn vendor(&mut self, records: &[Vendor]) -> Result<()> {
        self.vendor = records.to_vec();
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, _data_offset: u64) -> Result<()> {
        let records = std::mem::take(&mut self.vendor);
        let checked = Metadata::parse(&records).and_then(|metadata| self.check(entry, &metadata));
        checked.map_err(|problem| Error::Header { entry: shown(entry.path.as_bytes()), problem })
    }
}

impl Checker {
    fn check(&mut self, entry: &Entry, metadata: &Metadata) -> Result<(), Problem> {
        let path = unicode(&entry.path)?;
        if !self.names.insert(folded(path)) {
            return Err("the layer has this name twice, as Windows compares names");
        }
        if let Some(colon) = path.find(':') {
            return self.stream(path, colon, entry);
        }
        self.owner = None;
        check_name(path)?;
        check_place(path)?;
        if let Some(removed) = path.rsplit('/').next().and_then(|name| name.as_bytes().strip_prefix(PREFIX)) {
            let is_named = !matches!(removed, b"" | b"." | b"..");
            return if is_named && is_in_tree(path) {
                Ok(())
            } else {
                Err("a whiteout of nothing that could be there")
            };
        }
        match &entry.kind {
            Kind::Hardlink { target } => {
                let target = unicode(target)?;
                check_name(target)?;
                let both = is_in_tree(path) && is_in_tree(target) && !target.contains(':');
                return if both { Ok(()) } else { Err("a hard link out of the tree") };
            }
            Kind::Symlink { target } if std::str::from_utf8(target).is_err() => {
                return Err("a link to no Unicode name");
            }
            Kind::Symlink { .. } => {}
            _ if metadata.is_mount_point => return Err("a mount point that is no link"),
            Kind::File { .. } | Kind::Dir => {
                let is_dir = metadata.attributes.map(|attributes| attributes & DIRECTORY != 0);
                if is_dir.is_some_and(|is_dir| is_dir != entry.is_dir()) {
                    return Err("its file attributes contradict its type");
                }
            }
            Kind::Char(_) | Kind::Block(_) | Kind::Fifo => return Err("Windows has no such files"),
        }
        self.owner = Some(entry.path.clone());
        Ok(())
    }

    /// An alternate data stream, `NAME:STREAM` or `NAME:STREAM:$DATA`, of the entry before it.
    fn stream(&self, path: &str, colon: usize, entry: &Entry) -> Result<(), Problem> {
        let (owner, stream) = (&path[..colon], &path[colon + 1..]);
        let name = stream.strip_suffix(":$DATA").unwrap_or(stream);
        // All else is allowed, and `\u{5}SummaryInformation` has a long tradition.
        let is_named = !name.is_empty() && !name.contains([':', '/', '\\']);
        let follows = self.owner.as_ref().is_some_and(|last| last.as_bytes() == owner.as_bytes());
        if is_named && follows && entry.is_file() { Ok(()) } else { Err("a stream of no file") }
    }
}

fn unicode(path: &LayerPath) -> Result<&str, Problem> {
    std::str::from_utf8(path.as_bytes()).map_err(|_| "the name is not Unicode")
}

/// Refuses letters that no name on NTFS has, or that mean more than themselves there.
fn check_name(path: &str) -> Result<(), Problem> {
    let is_bad = |letter: char| letter < ' ' || matches!(letter, '\\' | '<' | '>' | '"' | '|' | '?' | '*');
    if path.contains(is_bad) { Err("Windows does not take the name") } else { Ok(()) }
}

/// A name in capitals, letter by letter, as NTFS compares: what has no single capital letter stays.
fn folded(path: &str) -> String {
    let capital = |letter: char| {
        let mut capitals = letter.to_uppercase();
        if capitals.len() == 1 { capitals.next().unwrap_or(letter) } else { letter }
    };
    path.chars().map(capital).collect()
}

fn check_place(path: &str) -> Result<(), Problem> {
    let (top, rest) = path.split_once('/').unwrap_or((path, ""));
    match top {
        "Files" | "Hives" => Ok(()),
        "UtilityVM" if rest.is_empty() || rest == "Files" || rest.starts_with("Files/") => Ok(()),
        _ => Err("a Windows layer has nothing but `Files`, `Hives` and `UtilityVM/Files`"),
    }
}

/// Whether it is below one of the two directories in which there may be links and whiteouts.
fn is_in_tree(path: &str) -> bool {
    ["Files/", "UtilityVM/Files/"].iter().any(|dir| path.strip_prefix(dir).is_some_and(|rest| !rest.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::{Limits, Parser};
    use strata_testkit::tar::{Header, Tar};

    fn check(tar: Tar) -> Result<(), String> {
        let mut parser = Parser::new(&Limits::GENEROUS);
        let mut checker = Checker::default();
        let read = parser.feed(&tar.finish(), &mut checker).and_then(|()| parser.finish());
        read.map_err(|error| error.to_string())
    }

    fn with(attributes: &str) -> Tar {
        Tar::new().pax(&[("MSWINDOWS.fileattr", attributes.as_bytes())])
    }

    #[test]
    fn what_windows_writes_is_taken() {
        let security = b"AQAAgBQAAAAkAAAAAAAAAAAAAAABAgAAAAAABSAAAAAgAgAAAQIAAAAAAAUgAAAAIAIAAA==";
        let tar = Tar::new()
            .pax(&[("MSWINDOWS.fileattr", b"16"), ("MSWINDOWS.rawsd", security)])
            .dir("Files")
            .pax(&[("MSWINDOWS.fileattr", b"32"), ("LIBARCHIVE.creationtime", b"1700000000.1234567")])
            .file("Files/a.txt", 0o644, b"one")
            .file("Files/a.txt:Zone.Identifier", 0o644, b"[ZoneTransfer]")
            .file("Files/a.txt:\u{5}SummaryInformation:$DATA", 0o644, b"")
            .file("Files/\u{df}", 0o644, b"")
            .file("Files/ss", 0o644, b"")
            .hardlink("Files/b.txt", "Files/a.txt")
            .pax(&[("MSWINDOWS.fileattr", b"1040"), ("MSWINDOWS.mountpoint", b"1")])
            .symlink("Files/Documents", r"\??\C:\Users")
            .file("Files/.wh.gone.txt", 0o644, b"")
            .dir("Hives")
            .file("Hives/Software_Delta", 0o644, b"regf")
            .dir("UtilityVM")
            .dir("UtilityVM/Files")
            .file("UtilityVM/Files/EFI", 0o644, b"");
        assert_eq!(check(tar), Ok(()));
        assert_eq!(check(Tar::new()), Ok(()));
    }

    /// All that `backuptar` of go-winio writes, by itself, of backup streams as Windows gives them: descriptors with both lists,
    /// extended attributes, streams of files, directories and links, sparse files, junctions and volumes, hard links, names that
    /// are long or not ASCII, times that were never set or before 1970, modes with types, whiteouts, hives, a utility VM.
    #[test]
    fn what_microsofts_own_library_writes_is_taken() {
        let packed = include_bytes!("../../tests/data/windows/backuptar.tar.gz");
        let mut tar = Vec::new();
        std::io::Read::read_to_end(&mut crate::compress::Decoder::new(&packed[..]).unwrap(), &mut tar).unwrap();
        let mut seen = Seen::default();
        let limits = Limits::GENEROUS;
        let mut parser = Parser::new(&limits);
        parser.feed(&tar, &mut seen).and_then(|()| parser.finish()).unwrap();
        assert_eq!(seen.entries.len(), 32);
        let of = |path: &str| seen.entries.iter().position(|entry| entry.path.as_bytes() == path.as_bytes()).unwrap();
        let records = |path: &str| seen.records[of(path)].iter().map(|record| &record.key[..]).collect::<Vec<_>>();
        let xattrs: [&[u8]; 2] = [b"MSWINDOWS.xattr.$CI.CATALOGHINT", b"MSWINDOWS.xattr.$KERNEL.PURGE.ESBCACHE"];
        let notepad = records("Files/Windows/notepad.exe");
        assert!(xattrs.iter().all(|key| notepad.contains(key)), "{notepad:?}");
        assert!(records("Files/Documents and Settings").contains(&&b"MSWINDOWS.mountpoint"[..]));
        let target = |path: &str| match &seen.entries[of(path)].kind {
            Kind::Symlink { target } => target.clone(),
            Kind::Hardlink { target } => target.as_bytes().to_vec(),
            other => panic!("{other:?}"),
        };
        assert_eq!(target("Files/Documents and Settings"), br"\??\C:\Users");
        assert_eq!(target("Files/Windows/System32.exe"), b"Files/Windows/notepad.exe");
        assert_eq!(seen.entries[of("Files/Windows/old")].mtime.seconds, -86_400 * 3650);
        let mut checker = Checker::default();
        let mut parser = Parser::new(&limits);
        parser.feed(&tar, &mut checker).and_then(|()| parser.finish()).unwrap();
    }

    /// What was read.
    #[derive(Default)]
    struct Seen {
        entries: Vec<Entry>,
        records: Vec<Vec<Vendor>>,
        next: Vec<Vendor>,
    }

    impl LayerSink for Seen {
        fn vendor(&mut self, records: &[Vendor]) -> Result<()> {
            self.next = records.to_vec();
            Ok(())
        }

        fn entry(&mut self, entry: &Entry, _data_offset: u64) -> Result<()> {
            self.entries.push(entry.clone());
            self.records.push(std::mem::take(&mut self.next));
            Ok(())
        }
    }

    fn refused(tar: Tar, expected: &str) {
        let problem = check(tar).unwrap_err();
        assert!(problem.ends_with(expected), "{problem}");
    }

    #[test]
    fn names_that_mean_something_else_on_windows_are_refused() {
        for name in [r"Files/..\..\Windows", "Files/a?", "Files/a|b", "Files/\u{1}", "Files/\"a\""] {
            refused(Tar::new().file(name, 0o644, b""), "Windows does not take the name");
        }
        refused(Tar::new().pax(&[("path", b"Files/\xff")]).file("x", 0o644, b""), "the name is not Unicode");
        let twice = "the layer has this name twice, as Windows compares names";
        refused(Tar::new().file("Files/a", 0o644, b"").file("Files/A", 0o644, b""), twice);
        refused(Tar::new().file("Files/\u{e4}", 0o644, b"").file("Files/\u{c4}", 0o644, b""), twice);
    }

    #[test]
    fn what_has_no_place_is_refused() {
        let elsewhere = "a Windows layer has nothing but `Files`, `Hives` and `UtilityVM/Files`";
        for name in ["etc/passwd", "files/a", "UtilityVM/a", "Filesystem", ".wh.Files"] {
            refused(Tar::new().file(name, 0o644, b""), elsewhere);
        }
        refused(Tar::new().dir("./"), elsewhere);
        refused(Tar::new().entry(&Header::new(b'3', "Files/null"), b""), "Windows has no such files");
        refused(Tar::new().entry(&Header::new(b'6', "Files/pipe"), b""), "Windows has no such files");
        refused(Tar::new().file("Hives/.wh.a", 0o644, b""), "a whiteout of nothing that could be there");
        refused(Tar::new().file("Files/.wh..", 0o644, b""), "a whiteout of nothing that could be there");
    }

    #[test]
    fn links_and_streams_of_nothing_are_refused() {
        refused(Tar::new().hardlink("Files/a", "Hives/b"), "a hard link out of the tree");
        refused(Tar::new().hardlink("Hives/a", "Files/b"), "a hard link out of the tree");
        refused(Tar::new().hardlink("Files/a", "Files/b:c"), "a hard link out of the tree");
        refused(Tar::new().pax(&[("MSWINDOWS.mountpoint", b"1")]).dir("Files"), "a mount point that is no link");
        for stream in ["Files/b:c", "Files/a:", "Files/a:b:c", "Files/a::$DATA", "Files/a:b/c", r"Files/a:..\b"] {
            refused(Tar::new().file("Files/a", 0o644, b"").file(stream, 0o644, b""), "a stream of no file");
        }
        let late = Tar::new().file("Files/a", 0o644, b"").file("Files/b", 0o644, b"").file("Files/a:c", 0o644, b"");
        refused(late, "a stream of no file");
        refused(Tar::new().file("Files/.wh.a", 0o644, b"").file("Files/.wh.a:c", 0o644, b""), "a stream of no file");
    }

    #[test]
    fn attributes_and_types_agree() {
        let contradict = "its file attributes contradict its type";
        refused(with("16").file("Files/a", 0o644, b""), contradict);
        refused(with("32").dir("Files/a"), contradict);
        assert_eq!(check(with("1040").symlink("Files/a", "b")), Ok(()));
        refused(with("much").file("Files/a", 0o644, b""), "its file attributes are not a number of 32 bits");
    }
}
