//! A registry that misbehaves on demand: for what a real one does only on a bad day.
//!
//! It speaks as much of the distribution protocol as clients need, on a loopback port, from memory. Rules change single
//! answers: refuse, cut the connection, send something else, lead elsewhere, ignore ranges.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use strata_types::{Digest, media};

use crate::image::Image;

mod protocol;
mod wire;

pub use wire::Seen;

/// Bytes in both directions: a connection, perhaps with TLS around it.
pub trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// How a connection becomes a stream of plain bytes.
type Wrap = Box<dyn Fn(TcpStream) -> io::Result<Box<dyn Stream>> + Send + Sync>;

/// What to do in place of the right thing.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answer with this status, these headers and this body.
    Answer(u16, Vec<(String, String)>, String),
    /// Send the right answer, but close the connection after so many bytes of its body.
    CutAfter(usize),
    /// Take in so many bytes of the request's body, then close the connection.
    CutUpload(usize),
    /// Close the connection without an answer.
    Hang,
    /// Send these bytes as the body, with the right headers for them.
    Replace(Vec<u8>),
    /// Send only the first so many bytes, and claim that this is all.
    Truncate(usize),
    /// Send the whole body, whatever range was asked for.
    IgnoreRange,
}

/// When to do it: for the next `times` requests with this method whose target contains `target`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `GET`, `PUT` …
    pub method: &'static str,
    /// A part of the target.
    pub target: String,
    /// How often.
    pub times: usize,
    /// What.
    pub act: Act,
}

/// Whom the registry lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// Everybody.
    Open,
    /// Who sends this user and password with every request.
    Basic(String, String),
    /// Who has a token; tokens are given for this user and password, and for pulling to everybody if there is none.
    Bearer(Option<(String, String)>),
}

#[derive(Debug)]
struct State {
    blobs: HashMap<(String, Digest), Vec<u8>>,
    /// By repository and tag or digest: media type and bytes.
    manifests: HashMap<(String, String), (String, Vec<u8>)>,
    uploads: HashMap<String, Vec<u8>>,
    rules: Vec<Rule>,
    seen: Vec<Seen>,
    door: Door,
    origin: String,
}

/// Runs until the process ends; a test's listener costs nothing after its last connection.
#[derive(Clone)]
pub struct MockRegistry {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Told of every request.
    news: Arc<Condvar>,
}

impl fmt::Debug for MockRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockRegistry").field("address", &self.address).finish_non_exhaustive()
    }
}

impl MockRegistry {
    /// Starts one that speaks plain HTTP.
    pub fn start() -> Self {
        Self::start_with("http", Box::new(|stream| Ok(Box::new(stream))))
    }

    /// Starts one whose connections go through `wrap`, which may speak TLS; `scheme` is what its URLs begin with.
    pub fn start_with(scheme: &str, wrap: Wrap) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            blobs: HashMap::new(),
            manifests: HashMap::new(),
            uploads: HashMap::new(),
            rules: Vec::new(),
            seen: Vec::new(),
            door: Door::Open,
            origin: format!("{scheme}://{address}"),
        }));
        let registry = Self { address, state, news: Arc::default() };
        let serving = registry.clone();
        let wrap = Arc::new(wrap);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (registry, wrap) = (serving.clone(), wrap.clone());
                std::thread::spawn(move || {
                    if let Ok(stream) = wrap(stream) {
                        registry.serve(stream);
                    }
                });
            }
        });
        registry
    }

    /// `127.0.0.1:PORT`, as it stands in a reference.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Puts a blob there.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        self.state().blobs.insert((repository.to_owned(), digest.clone()), bytes.to_owned());
        digest
    }

    /// Puts a manifest there, under a tag and under its digest.
    pub fn put_manifest(&self, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        for name in [tag.to_owned(), digest.to_string()] {
            let value = (media_type.to_owned(), bytes.to_owned());
            self.state().manifests.insert((repository.to_owned(), name), value);
        }
        digest
    }

    /// Puts an image there.
    pub fn put_image(&self, repository: &str, tag: &str, image: &Image) -> Digest {
        let manifest = image.manifest(&|bytes| self.put_blob(repository, bytes));
        let media_type = if image.docker { media::DOCKER_MANIFEST } else { media::OCI_MANIFEST };
        self.put_manifest(repository, tag, media_type, &manifest)
    }

    /// The bytes of a blob.
    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<Vec<u8>> {
        self.state().blobs.get(&(repository.to_owned(), digest.clone())).cloned()
    }

    /// Media type and bytes of a manifest.
    pub fn manifest(&self, repository: &str, name: &str) -> Option<(String, Vec<u8>)> {
        self.state().manifests.get(&(repository.to_owned(), name.to_owned())).cloned()
    }

    /// Adds a rule; the first that fits a request counts.
    pub fn rule(&self, method: &'static str, target: &str, times: usize, act: Act) {
        self.state().rules.push(Rule { method, target: target.to_owned(), times, act });
    }

    /// Says whom to let in.
    pub fn set_door(&self, door: Door) {
        self.state().door = door;
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// How many requests had this method and a target with this part.
    pub fn count(&self, method: &str, target: &str) -> usize {
        let state = self.state();
        state.seen.iter().filter(|seen| seen.method == method && seen.target.contains(target)).count()
    }

    /// Waits until so many requests had this method and a target with this part.
    pub fn wait_for(&self, method: &str, target: &str, count: usize) {
        let enough = |state: &State| {
            let fits = |seen: &&Seen| seen.method == method && seen.target.contains(target);
            state.seen.iter().filter(fits).count() >= count
        };
        let waited = self.news.wait_timeout_while(self.state(), Duration::from_secs(60), |state| !enough(state));
        let (_state, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!outcome.timed_out(), "{count} requests {method} {target} did not come");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request after the other, until the other side or a rule ends it.
    fn serve(&self, stream: Box<dyn Stream>) {
        let mut reader = BufReader::new(stream);
        while let Ok(Some(mut request)) = wire::read_head(&mut reader) {
            let act = self.note(&request);
            if let Some(Act::CutUpload(count)) = act {
                request.read_body(&mut reader, count);
                protocol::take_part(&mut self.state(), &request);
                return;
            }
            request.read_body(&mut reader, usize::MAX);
            if matches!(act, Some(Act::Hang)) {
                return;
            }
            let answer = protocol::answer(&mut self.state(), &request, act.as_ref());
            if !matches!(answer.write(reader.get_mut(), &request.method), Ok(true)) {
                return;
            }
        }
    }

    /// Writes a request down and finds the rule for it.
    fn note(&self, request: &Seen) -> Option<Act> {
        let mut state = self.state();
        state.seen.push(request.clone());
        self.news.notify_all();
        let fits =
            |rule: &&mut Rule| rule.times > 0 && rule.method == request.method && request.target.contains(&rule.target);
        let rule = state.rules.iter_mut().find(fits)?;
        rule.times -= 1;
        Some(rule.act.clone())
    }
}
