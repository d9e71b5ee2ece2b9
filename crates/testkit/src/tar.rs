//! A tar writer for tests: plain ustar, and headers no honest program would write.

/// Collects entries into the bytes of a tar archive.
#[derive(Debug, Default, Clone)]
pub struct Tar {
    bytes: Vec<u8>,
}

impl Tar {
    /// An empty archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// A directory with mode 0755.
    #[must_use]
    pub fn dir(self, name: &str) -> Self {
        self.entry(&Header { mode: 0o755, ..Header::new(b'5', name) }, &[])
    }

    /// A regular file.
    #[must_use]
    pub fn file(self, name: &str, mode: u32, content: &[u8]) -> Self {
        self.entry(&Header { mode, ..Header::new(b'0', name) }, content)
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(&Header { link: target.to_owned(), mode: 0o777, ..Header::new(b'2', name) }, &[])
    }

    /// A hard link to an earlier entry, with mode 0755: Docker gives the link's mode to the file.
    #[must_use]
    pub fn hardlink(self, name: &str, target: &str) -> Self {
        self.entry(&Header { link: target.to_owned(), mode: 0o755, ..Header::new(b'1', name) }, &[])
    }

    /// Any header with its content, padded to 512 bytes.
    #[must_use]
    pub fn entry(mut self, header: &Header, content: &[u8]) -> Self {
        self.bytes.extend(header.bytes(content.len() as u64));
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// A PAX extended header (pax(1)) for the entry that follows.
    #[must_use]
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            body.extend(format!("{length} {key}=").bytes());
            body.extend(*value);
            body.push(b'\n');
        }
        self.entry(&Header::new(b'x', "PaxHeaders/x"), &body)
    }

    /// Bytes as they are, for what no header can say.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    /// The archive with its two blocks of zeros.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }
}

/// The fields of a ustar header, unchecked.
#[derive(Debug, Clone)]
pub struct Header {
    /// `0` file, `1` hard link, `2` symbolic link, `3` and `4` devices, `5` directory, `6` FIFO.
    pub kind: u8,
    /// At most 100 bytes; longer ones are cut.
    pub name: String,
    /// Target of a link, at most 100 bytes.
    pub link: String,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u64,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// What the size field says if it lies.
    pub size: Option<u64>,
}

impl Header {
    /// Mode 0644, owner root, one second after 1970.
    pub fn new(kind: u8, name: &str) -> Self {
        let (name, link) = (name.to_owned(), String::new());
        Self { kind, name, link, mode: 0o644, uid: 0, gid: 0, mtime: 1, device: (0, 0), size: None }
    }

    fn bytes(&self, content_len: u64) -> [u8; 512] {
        let mut block = [0u8; 512];
        let mut text = |at: usize, len: usize, value: &[u8]| {
            let len = len.min(value.len());
            block[at..at + len].copy_from_slice(&value[..len]);
        };
        text(0, 100, self.name.as_bytes());
        text(157, 100, self.link.as_bytes());
        text(100, 8, format!("{:07o}\0", self.mode).as_bytes());
        text(108, 8, format!("{:07o}\0", self.uid).as_bytes());
        text(116, 8, format!("{:07o}\0", self.gid).as_bytes());
        text(124, 12, format!("{:011o}\0", self.size.unwrap_or(content_len)).as_bytes());
        text(136, 12, format!("{:011o}\0", self.mtime).as_bytes());
        text(148, 8, b"        ");
        text(156, 1, &[self.kind]);
        text(257, 8, b"ustar\x0000");
        text(329, 8, format!("{:07o}\0", self.device.0).as_bytes());
        text(337, 8, format!("{:07o}\0", self.device.1).as_bytes());
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}
