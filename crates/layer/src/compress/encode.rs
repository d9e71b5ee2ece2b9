//! Compression, in several threads where it pays.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use libdeflater::{CompressionLvl, Compressor};

use super::Format;
use crate::{Error, Result};

/// How much goes into one gzip member. Larger members compress better by less than a thousandth.
const MEMBER_BYTES: usize = 1 << 20;
const GZIP_LEVEL: i32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// How to compress.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Into what.
    pub format: Format,
    /// The compression's own level (gzip 1 to 12, zstd 1 to 22); `None` for its usual one.
    pub level: Option<i32>,
    /// How many threads compress beside the one that writes; 0 for none.
    pub threads: usize,
}

/// Compresses what is written to it. Nothing is complete before [`finish`](Self::finish).
///
/// gzip is written as members of one mebibyte of data each, so that the bytes do not depend on the number of threads.
pub struct Encoder<W: Write> {
    inner: Inner<W>,
}

enum Inner<W: Write> {
    Plain(W),
    Gzip(Gzip<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    /// Starts with nothing written.
    pub fn new(target: W, settings: Settings) -> Result<Self> {
        let inner = match settings.format {
            Format::Plain => Inner::Plain(target),
            Format::Gzip => Inner::Gzip(Gzip::new(target, settings)?),
            Format::Zstd => Inner::Zstd(zstd(target, settings).map_err(Error::io("start the zstd encoder"))?),
        };
        Ok(Self { inner })
    }

    /// Writes what is left and gives the target back.
    pub fn finish(self) -> Result<W> {
        match self.inner {
            Inner::Plain(target) => Ok(target),
            Inner::Gzip(gzip) => gzip.finish(),
            Inner::Zstd(zstd) => zstd.finish(),
        }
        .map_err(Error::io("compress the layer"))
    }
}

fn zstd<W: Write>(target: W, settings: Settings) -> io::Result<zstd::stream::write::Encoder<'static, W>> {
    let mut encoder = zstd::stream::write::Encoder::new(target, settings.level.unwrap_or(ZSTD_LEVEL))?;
    encoder.include_checksum(true)?;
    encoder.multithread(u32::try_from(settings.threads).unwrap_or(u32::MAX))?;
    Ok(encoder)
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match &mut self.inner {
            Inner::Plain(target) => target.write(buffer),
            Inner::Gzip(gzip) => gzip.write(buffer),
            Inner::Zstd(zstd) => zstd.write(buffer),
        }
    }

    /// Flushes the target; data that waits for a full block stays, because flushing it would cost compression.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.inner {
            Inner::Plain(target) => target.flush(),
            Inner::Gzip(gzip) => gzip.target.flush(),
            Inner::Zstd(zstd) => zstd.get_mut().flush(),
        }
    }
}

/// Writes gzip members in order, compressed by whichever thread is free.
struct Gzip<W> {
    target: W,
    block: Vec<u8>,
    anything: bool,
    level: CompressionLvl,
    pool: Option<Pool>,
}

impl<W: Write> Gzip<W> {
    fn new(target: W, settings: Settings) -> Result<Self> {
        let level = settings.level.unwrap_or(GZIP_LEVEL);
        let level = CompressionLvl::new(level).map_err(|_| {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "gzip has levels 1 to 12");
            Error::Io { act: "compress the layer", source }
        })?;
        let pool = (settings.threads > 0).then(|| Pool::new(settings.threads, level));
        Ok(Self { target, block: Vec::with_capacity(MEMBER_BYTES), anything: false, level, pool })
    }

    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let taken = buffer.len().min(MEMBER_BYTES - self.block.len());
        self.block.extend_from_slice(&buffer[..taken]);
        if self.block.len() == MEMBER_BYTES {
            self.member()?;
        }
        Ok(taken)
    }

    fn member(&mut self) -> io::Result<()> {
        self.anything = true;
        match &mut self.pool {
            None => {
                let member = compress(&mut Compressor::new(self.level), &self.block)?;
                self.block.clear();
                self.target.write_all(&member)
            }
            Some(pool) => {
                pool.submit(std::mem::replace(&mut self.block, Vec::with_capacity(MEMBER_BYTES)))?;
                while pool.is_full() {
                    pool.write_next(&mut self.target)?;
                }
                Ok(())
            }
        }
    }

    fn finish(mut self) -> io::Result<W> {
        if !self.block.is_empty() || !self.anything {
            self.member()?;
        }
        if let Some(mut pool) = self.pool.take() {
            while pool.write_next(&mut self.target)? {}
            pool.join();
        }
        Ok(self.target)
    }
}

fn compress(compressor: &mut Compressor, block: &[u8]) -> io::Result<Vec<u8>> {
    let mut member = vec![0; compressor.gzip_compress_bound(block.len())];
    let length = compressor.gzip_compress(block, &mut member).map_err(io::Error::other)?;
    member.truncate(length);
    Ok(member)
}

type Reply = Receiver<io::Result<Vec<u8>>>;

struct Job {
    block: Vec<u8>,
    reply: Sender<io::Result<Vec<u8>>>,
}

/// Threads that compress blocks. At most twice as many blocks as threads are under way.
struct Pool {
    jobs: Sender<Job>,
    waiting: VecDeque<Reply>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    fn new(threads: usize, level: CompressionLvl) -> Self {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let work = move |queue: Arc<Mutex<Receiver<Job>>>| {
            let mut compressor = Compressor::new(level);
            // The lock is held while waiting: whoever has it gets the next job, the others queue for the lock.
            while let Ok(Ok(job)) = queue.lock().map(|queue| queue.recv()) {
                // Nobody waits for the answer any more if writing failed; then there is nothing to do.
                if job.reply.send(compress(&mut compressor, &job.block)).is_err() {
                    break;
                }
            }
        };
        let threads = (0..threads)
            .map(|_| {
                std::thread::spawn({
                    let queue = queue.clone();
                    move || work(queue)
                })
            })
            .collect();
        Self { jobs, waiting: VecDeque::new(), threads }
    }

    fn is_full(&self) -> bool {
        self.waiting.len() > 2 * self.threads.len()
    }

    fn submit(&mut self, block: Vec<u8>) -> io::Result<()> {
        let (reply, answer) = channel();
        self.jobs.send(Job { block, reply }).map_err(|_| io::Error::other("the compressing threads are gone"))?;
        self.waiting.push_back(answer);
        Ok(())
    }

    /// Writes the oldest block; false if there is none.
    fn write_next(&mut self, target: &mut impl Write) -> io::Result<bool> {
        let Some(answer) = self.waiting.pop_front() else { return Ok(false) };
        let member = answer.recv().map_err(|_| io::Error::other("a compressing thread is gone"))??;
        target.write_all(&member)?;
        Ok(true)
    }

    fn join(self) {
        drop(self.jobs);
        for thread in self.threads {
            thread.join().expect("compressing does not panic");
        }
    }
}
