//! Writing output into the log, in Docker's json-file format: one object for each line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;

use super::journal::Journal;
use crate::Stream;
use crate::spec;

/// The log of a container, in its directory.
pub(crate) const LOG: &str = "log.json";
/// A longer line is written in parts of this size, as Docker does.
pub(super) const LINE_BYTES_MAX: usize = 16 << 10;

/// The log of a running container.
pub(super) struct Log {
    path: PathBuf,
    /// Made with the first output: many short containers have none.
    file: Option<File>,
    size: u64,
    max_size: Option<u64>,
    max_files: u32,
    compress: bool,
    /// What every entry says besides, as it is written.
    attributes: Vec<u8>,
    journal: Option<Journal>,
    /// Lines not ended yet: of standard output, and of standard error.
    open_lines: [Vec<u8>; 2],
    out: Vec<u8>,
}

impl Log {
    /// Opens the log in `dir` for appending.
    pub(super) fn open(dir: &Path, how: &spec::Log) -> io::Result<Option<Self>> {
        if !how.keep {
            return Ok(None);
        }
        let path = dir.join(LOG);
        let file = if path.exists() { Some(append(&path)?) } else { None };
        let size = file.as_ref().map_or(Ok(0), |file| file.metadata().map(|metadata| metadata.len()))?;
        let (max_size, max_files) = (how.max_size_bytes, how.max_files.max(1));
        let journal = how.journal.as_ref().map(Journal::connect).transpose()?;
        let mut attributes = Vec::new();
        if !how.attributes.is_empty() {
            attributes.extend_from_slice(b"\"attrs\":");
            serde_json::to_writer(&mut attributes, &how.attributes)?;
            attributes.push(b',');
        }
        let (compress, (open_lines, out)) = (how.compress, ([Vec::new(), Vec::new()], Vec::new()));
        Ok(Some(Self { path, file, size, max_size, max_files, compress, attributes, journal, open_lines, out }))
    }

    /// Adds output. What does not end a line waits for the rest of it.
    pub(super) fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let time = Timestamp::now();
        let mut open = std::mem::take(&mut self.open_lines[index(stream)]);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut rest = part;
            while open.len() + rest.len() >= LINE_BYTES_MAX
                && !(open.len() + rest.len() == LINE_BYTES_MAX && rest.ends_with(b"\n"))
            {
                let (head, tail) = rest.split_at(LINE_BYTES_MAX - open.len());
                open.extend_from_slice(head);
                self.entry(stream, &open, time);
                open.clear();
                rest = tail;
            }
            open.extend_from_slice(rest);
            if open.ends_with(b"\n") {
                self.entry(stream, &open, time);
                open.clear();
            }
        }
        self.open_lines[index(stream)] = open;
        self.flush()
    }

    /// Writes what waits for its line's end: there will be none.
    pub(super) fn end(&mut self, stream: Stream) -> io::Result<()> {
        let open = std::mem::take(&mut self.open_lines[index(stream)]);
        if open.is_empty() {
            return Ok(());
        }
        self.entry(stream, &open, Timestamp::now());
        self.flush()
    }

    fn entry(&mut self, stream: Stream, line: &[u8], time: Timestamp) {
        self.out.extend_from_slice(b"{\"log\":\"");
        escape(&mut self.out, line);
        let name = if stream == Stream::Stdout { "stdout" } else { "stderr" };
        write!(self.out, "\",\"stream\":\"{name}\",").expect("a vector takes all");
        self.out.extend_from_slice(&self.attributes);
        writeln!(self.out, "\"time\":\"{time}\"}}").expect("a vector takes all");
        if let Some(journal) = &self.journal
            && let Err(error) = journal.send(stream, line)
        {
            // The file has it.
            tracing::debug!(%error, "a line is missing in the journal");
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let mut out = std::mem::take(&mut self.out);
        let written = match self.max_size {
            None => self.append(&out),
            Some(max_size) => self.append_rotating(&out, max_size),
        };
        out.clear();
        out.shrink_to(LINE_BYTES_MAX);
        self.out = out;
        written
    }

    /// Writes entries to as many files as they take: a program may print more at once than one file may have.
    fn append_rotating(&mut self, entries: &[u8], max_size: u64) -> io::Result<()> {
        let mut begin = 0;
        let mut at = 0;
        for entry in entries.split_inclusive(|byte| *byte == b'\n') {
            let before = self.size + (at - begin) as u64;
            if before > 0 && before + entry.len() as u64 > max_size {
                self.append(&entries[begin..at])?;
                self.rotate()?;
                begin = at;
            }
            at += entry.len();
        }
        self.append(&entries[begin..])
    }

    fn append(&mut self, entries: &[u8]) -> io::Result<()> {
        self.size += entries.len() as u64;
        match &mut self.file {
            Some(file) => file.write_all(entries),
            None => self.file.insert(append(&self.path)?).write_all(entries),
        }
    }

    /// `log.json` becomes `log.json.1`, that one `log.json.2`, and so on; the last goes. With compression they are
    /// `log.json.1.gz` and so on.
    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.max_files).rev() {
            let to = numbered(&self.path, number);
            if number == 1 {
                rename(&self.path, &to)?;
                continue;
            }
            let from = numbered(&self.path, number - 1);
            // Of both forms one is there, or none.
            for (from, to) in [(from.clone(), to.clone()), (compressed(&from), compressed(&to))] {
                remove(&to)?;
                rename(&from, &to)?;
            }
        }
        if self.max_files == 1
            && let Some(file) = &self.file
        {
            file.set_len(0)?;
        }
        self.file = Some(append(&self.path)?);
        self.size = 0;
        if self.compress && self.max_files > 1 {
            compress(&numbered(&self.path, 1))?;
        }
        Ok(())
    }
}

/// Puts a compressed file in the place of a plain one.
fn compress(path: &Path) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut plain = File::open(path)?;
    let mut encoder = GzEncoder::new(File::create(&unfinished)?, Compression::fast());
    io::copy(&mut plain, &mut encoder)?;
    encoder.finish()?;
    std::fs::rename(&unfinished, compressed(path))?;
    std::fs::remove_file(path)
}

/// The name of a file after compression.
pub(crate) fn compressed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    missing_is_fine(std::fs::rename(from, to))
}

fn remove(path: &Path) -> io::Result<()> {
    missing_is_fine(std::fs::remove_file(path))
}

fn missing_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The name of a log file that was put aside.
pub(crate) fn numbered(path: &Path, number: u32) -> PathBuf {
    path.with_extension(format!("json.{number}"))
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

const fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

/// As Go writes strings: also `<`, `>`, `&` and the line separators of JavaScript; what is not UTF-8 becomes U+FFFD.
fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' => {
                    write!(out, "\\u{:04x}", c as u32).expect("a vector takes all");
                }
                _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(dir: &Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(dir.join(LOG)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn open(dir: &Path, max_size_bytes: Option<u64>, max_files: u32) -> Log {
        Log::open(dir, &spec::Log { keep: true, max_size_bytes, max_files, ..spec::Log::default() }).unwrap().unwrap()
    }

    #[test]
    fn a_line_is_an_entry_however_it_arrives() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), None, 1);
        log.write(Stream::Stdout, b"one\ntw").unwrap();
        log.write(Stream::Stderr, b"<err>\t\"\\\xff\n").unwrap();
        log.write(Stream::Stdout, b"o\nthree").unwrap();
        log.end(Stream::Stdout).unwrap();
        let found: Vec<_> = lines(dir.path()).iter().map(|l| format!("{}:{}", l["stream"], l["log"])).collect();
        let expected =
            ["stdout\":\"one\\n", "stderr\":\"<err>\\t\\\"\\\\\u{fffd}\\n", "stdout\":\"two\\n", "stdout\":\"three"];
        assert_eq!(found, expected.map(|line| format!("\"{line}\"")));
        let text = std::fs::read_to_string(dir.path().join(LOG)).unwrap();
        assert!(text.contains(r#"{"log":"\u003cerr\u003e\u0009\"\\\ufffd\n","stream":"stderr","time":""#), "{text}");
    }

    #[test]
    fn a_long_line_is_written_in_parts_of_16_kib() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), None, 1);
        let mut line = vec![b'x'; 40_000];
        line.push(b'\n');
        log.write(Stream::Stdout, &line).unwrap();
        let sizes: Vec<_> = lines(dir.path()).iter().map(|l| l["log"].as_str().unwrap().len()).collect();
        assert_eq!(sizes, [16_384, 16_384, 7_233]);
    }

    #[test]
    fn a_full_log_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), Some(200), 3);
        for _ in 0..20 {
            log.write(Stream::Stdout, b"0123456789\n").unwrap();
        }
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["log.json", "log.json.1", "log.json.2"]);
        assert!(std::fs::metadata(dir.path().join("log.json.1")).unwrap().len() <= 200);
    }

    #[test]
    fn what_is_printed_at_once_is_put_aside_in_parts() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), Some(500), 3);
        let text: String = (0..100).map(|number| format!("line {number}\n")).collect();
        log.write(Stream::Stdout, text.as_bytes()).unwrap();
        let sizes = ["log.json", "log.json.1", "log.json.2"].map(|name| std::fs::metadata(dir.path().join(name)));
        let sizes = sizes.map(|metadata| metadata.unwrap().len());
        assert!(sizes.iter().all(|size| *size <= 500) && sizes[1] > 400, "{sizes:?}");
        assert_eq!(lines(dir.path()).last().unwrap()["log"], "line 99\n");
    }

    #[test]
    fn what_is_put_aside_is_compressed_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let attributes = [("tag".to_owned(), "web".to_owned())].into();
        let how = spec::Log {
            keep: true,
            max_size_bytes: Some(300),
            max_files: 4,
            compress: true,
            attributes,
            ..spec::Log::default()
        };
        let mut log = Log::open(dir.path(), &how).unwrap().unwrap();
        for number in 0..12 {
            log.write(Stream::Stdout, format!("line {number}\n").as_bytes()).unwrap();
        }
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["log.json", "log.json.1.gz", "log.json.2.gz", "log.json.3.gz"]);
        let mut read = Vec::new();
        let mut each = |entry: crate::logs::Entry| {
            read.push((String::from_utf8(entry.bytes).unwrap(), entry.details));
            true
        };
        crate::logs::Logs::in_dir(dir.path()).read(&crate::logs::Filter::default(), None, &mut each).unwrap();
        let details = vec![("tag".to_owned(), "web".to_owned())];
        assert_eq!(read.last().unwrap(), &("line 11\n".to_owned(), details));
        let numbers: Vec<&str> = read.iter().map(|(line, _)| line.trim()).collect();
        let expected: Vec<String> = (12 - read.len()..12).map(|number| format!("line {number}")).collect();
        assert_eq!(numbers, expected);
        assert!(read.len() >= 7, "{numbers:?}");
    }
}
