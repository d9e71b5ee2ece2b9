//! What reading compressed layers costs: `cargo run --release -p strata-layer --example unpack_cost BLOB…`.
//!
//! Prints processor time (user and system) of each way over all blobs: the figures of
//! `docs/decisions/0005-inflate.md`.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};

use strata_layer::erofs::Builder;
use strata_layer::tar::Limits;
use strata_layer::whiteout::Namespace;
use strata_layer::{compress, unpack};
use strata_types::Silent;

type Way = fn(&str) -> Result<u64, Box<dyn Error>>;

fn main() -> Result<(), Box<dyn Error>> {
    let blobs: Vec<String> = std::env::args().skip(1).collect();
    let ways: [(&str, Way); 3] =
        [("zlib-rs, stream", stream), ("libdeflate, whole", libdeflate), ("whole pipeline", all)];
    for (name, way) in ways {
        let before = cpu_seconds();
        let mut bytes = 0;
        for blob in &blobs {
            bytes += way(blob)?;
        }
        let seconds = cpu_seconds() - before;
        println!("{name:18} {seconds:6.2} s for {} MB: {:.0} MB/s", bytes / 1_000_000, bytes as f64 / 1e6 / seconds);
    }
    Ok(())
}

fn stream(blob: &str) -> Result<u64, Box<dyn Error>> {
    drain(compress::Decoder::new(File::open(blob)?)?)
}

/// Takes the size from the end of the blob, as only a program that trusts it may.
fn libdeflate(blob: &str) -> Result<u64, Box<dyn Error>> {
    let compressed = std::fs::read(blob)?;
    let size = compressed.last_chunk::<4>().map(|size| u32::from_le_bytes(*size)).unwrap_or_default();
    let mut plain = vec![0; size as usize];
    Ok(libdeflater::Decompressor::new().gzip_decompress(&compressed, &mut plain)? as u64)
}

fn all(blob: &str) -> Result<u64, Box<dyn Error>> {
    let mut builder = Builder::new(Namespace::Trusted);
    let unpacked = unpack(&mut File::open(blob)?, &mut builder, &Limits::GENEROUS, &Silent)?;
    builder.finish(unpacked.tar_bytes)?;
    Ok(unpacked.tar_bytes)
}

fn drain(mut plain: impl Read) -> Result<u64, Box<dyn Error>> {
    let mut buffer = vec![0; 512 << 10];
    let mut total = 0;
    loop {
        match plain.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => total += count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
