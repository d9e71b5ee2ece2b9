//! What the mock registry answers: the distribution protocol from memory.

use strata_types::Digest;

use super::wire::{Answer, Seen};
use super::{Act, Door, State};

/// The token that opens a door of the bearer kind.
const TOKEN: &str = "t0ken-of-the-mock";

/// Answers a request as the protocol says, or as a rule says.
pub(super) fn answer(state: &mut State, request: &Seen, act: Option<&Act>) -> Answer {
    if let Some(Act::Answer(status, headers, body)) = act {
        let mut answer = Answer::new(*status).body(body.as_bytes());
        answer.headers.clone_from(headers);
        return answer;
    }
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    // Who takes it for a proxy names the host, too.
    let path = path.split_once("://").map_or(path, |(_, rest)| &rest[rest.find('/').unwrap_or(rest.len())..]);
    if path == "/token" {
        return token(state, request, query);
    }
    if let Some(refused) = knock(state, request) {
        return refused;
    }
    let mut answer = match route(path) {
        Route::Root => Answer::new(200).body(b"{}"),
        Route::Manifest(repository, name) => manifest(state, request, (repository, name)),
        Route::Blob(repository, digest) => blob(state, request, (repository, digest), act),
        Route::Uploads(repository) => begin(state, request, repository, query),
        Route::Upload(repository, id) => upload(state, request, (repository, id), query),
        Route::Tags(repository) => tags(state, repository),
        Route::Nowhere => refuse(404, "UNSUPPORTED", "no such endpoint"),
    };
    match act {
        Some(Act::CutAfter(count)) => answer.cut = Some(*count),
        Some(Act::Replace(bytes)) => answer.body.clone_from(bytes),
        Some(Act::Truncate(count)) => answer.body.truncate(*count),
        _ => {}
    }
    answer
}

/// Keeps what arrived of an upload whose connection was cut.
pub(super) fn take_part(state: &mut State, request: &Seen) {
    let path = request.target.split('?').next().unwrap_or_default();
    if let (Route::Upload(_, id), "PATCH") = (route(path), &*request.method)
        && let Some(held) = state.uploads.get_mut(id)
    {
        held.extend_from_slice(&request.body);
    }
}

enum Route<'a> {
    Root,
    Manifest(&'a str, &'a str),
    Blob(&'a str, &'a str),
    Uploads(&'a str),
    Upload(&'a str, &'a str),
    Tags(&'a str),
    Nowhere,
}

fn route(path: &str) -> Route<'_> {
    let Some(rest) = path.strip_prefix("/v2/") else { return Route::Nowhere };
    if rest.is_empty() {
        return Route::Root;
    }
    if let Some(repository) = rest.strip_suffix("/tags/list") {
        return Route::Tags(repository);
    }
    if let Some((repository, id)) = rest.split_once("/blobs/uploads/") {
        return if id.is_empty() { Route::Uploads(repository) } else { Route::Upload(repository, id) };
    }
    let manifest = rest.split_once("/manifests/").map(|(repository, name)| Route::Manifest(repository, name));
    let blob = || rest.split_once("/blobs/").map(|(repository, digest)| Route::Blob(repository, digest));
    manifest.or_else(blob).unwrap_or(Route::Nowhere)
}

fn refuse(status: u16, code: &str, message: &str) -> Answer {
    let body = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
    Answer::new(status).body(body.to_string().as_bytes())
}

/// Refuses who may not come in.
fn knock(state: &State, request: &Seen) -> Option<Answer> {
    let shown = request.header("authorization").unwrap_or_default();
    let challenge = match &state.door {
        Door::Open => return None,
        Door::Basic(user, password) if shown == basic(user, password) => return None,
        Door::Basic(..) => "Basic realm=\"mock\"".to_owned(),
        Door::Bearer(_) if shown == format!("Bearer {TOKEN}") => return None,
        Door::Bearer(_) => format!("Bearer realm=\"{}/token\",service=\"mock\"", state.origin),
    };
    Some(refuse(401, "UNAUTHORIZED", "authentication required").header("WWW-Authenticate", challenge))
}

fn token(state: &State, request: &Seen, query: &str) -> Answer {
    let Door::Bearer(wanted) = &state.door else { return refuse(404, "", "") };
    let shown = request.header("authorization").unwrap_or_default();
    let refreshes = String::from_utf8_lossy(&request.body).contains("refresh_token=fresh");
    let allowed = match wanted {
        Some((user, password)) => shown == basic(user, password) || refreshes,
        None => shown.is_empty() && !query.contains("push"),
    };
    if !allowed {
        return Answer::new(401).body(br#"{"details":"incorrect username or password"}"#);
    }
    let offline = query.contains("offline_token=true");
    let refresh = if offline { r#","refresh_token":"fresh""# } else { "" };
    Answer::new(200).body(format!(r#"{{"token":"{TOKEN}"{refresh}}}"#).as_bytes())
}

fn manifest(state: &mut State, request: &Seen, (repository, name): (&str, &str)) -> Answer {
    let key = (repository.to_owned(), name.to_owned());
    if request.method == "PUT" {
        let digest = Digest::sha256(&request.body);
        let media_type = request.header("content-type").unwrap_or_default().to_owned();
        for name in [name.to_owned(), digest.to_string()] {
            state.manifests.insert((repository.to_owned(), name), (media_type.clone(), request.body.clone()));
        }
        return Answer::new(201).header("Docker-Content-Digest", digest);
    }
    match state.manifests.get(&key) {
        Some((media_type, bytes)) => Answer::new(200)
            .header("Content-Type", media_type)
            .header("Docker-Content-Digest", Digest::sha256(bytes))
            .body(bytes),
        None => refuse(404, "MANIFEST_UNKNOWN", "manifest unknown"),
    }
}

fn blob(state: &State, request: &Seen, (repository, digest): (&str, &str), act: Option<&Act>) -> Answer {
    let found = digest.parse().ok().and_then(|digest| state.blobs.get(&(repository.to_owned(), digest)));
    let Some(bytes) = found else { return refuse(404, "BLOB_UNKNOWN", "blob unknown to registry") };
    let range = request.header("range").filter(|_| !matches!(act, Some(Act::IgnoreRange)));
    let Some((start, last)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
        return Answer::new(200).body(bytes);
    };
    let start: usize = start.parse().unwrap_or(0);
    let end = last.parse::<usize>().map_or(bytes.len(), |last| (last + 1).min(bytes.len()));
    if start >= end {
        return refuse(416, "RANGE_INVALID", "range not satisfiable");
    }
    let said = format!("bytes {start}-{}/{}", end - 1, bytes.len());
    Answer::new(206).header("Content-Range", said).body(&bytes[start..end])
}

fn begin(state: &mut State, request: &Seen, repository: &str, query: &str) -> Answer {
    if request.method != "POST" {
        return refuse(405, "UNSUPPORTED", "not allowed");
    }
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)).map(|v| v.replace("%2F", "/"));
    if let (Some(digest), Some(from)) = (value("mount=").and_then(|text| text.parse::<Digest>().ok()), value("from="))
        && let Some(bytes) = state.blobs.get(&(from, digest.clone())).cloned()
    {
        state.blobs.insert((repository.to_owned(), digest), bytes);
        return Answer::new(201);
    }
    let id = format!("{}", state.seen.len());
    state.uploads.insert(id.clone(), Vec::new());
    Answer::new(202).header("Location", format!("/v2/{repository}/blobs/uploads/{id}?state=0"))
}

fn upload(state: &mut State, request: &Seen, (repository, id): (&str, &str), query: &str) -> Answer {
    let Some(held) = state.uploads.get_mut(id) else {
        return refuse(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
    };
    let place = format!("/v2/{repository}/blobs/uploads/{id}?state=1");
    let start = request.header("content-range").and_then(|range| range.split('-').next()?.parse::<usize>().ok());
    match &*request.method {
        "PATCH" if start.is_some_and(|start| start != held.len()) => refuse(416, "RANGE_INVALID", "range invalid"),
        "PATCH" => {
            held.extend_from_slice(&request.body);
            Answer::new(202).header("Location", place).header("Range", format!("0-{}", held.len().saturating_sub(1)))
        }
        "GET" => {
            Answer::new(204).header("Location", place).header("Range", format!("0-{}", held.len().saturating_sub(1)))
        }
        "DELETE" => {
            state.uploads.remove(id);
            Answer::new(204)
        }
        _ => {
            held.extend_from_slice(&request.body);
            let digest = Digest::sha256(held);
            let wanted = query.split('&').find_map(|pair| pair.strip_prefix("digest=")).unwrap_or_default();
            if wanted.replace("%3A", ":") != digest.to_string() {
                return refuse(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
            }
            let bytes = std::mem::take(held);
            state.uploads.remove(id);
            state.blobs.insert((repository.to_owned(), digest), bytes);
            Answer::new(201)
        }
    }
}

fn tags(state: &State, repository: &str) -> Answer {
    let names = state.manifests.keys().filter(|(held, name)| held == repository && !name.contains(':'));
    let mut names: Vec<&String> = names.map(|(_, name)| name).collect();
    names.sort();
    if names.is_empty() {
        return refuse(404, "NAME_UNKNOWN", "repository name not known to registry");
    }
    Answer::new(200).body(serde_json::json!({ "name": repository, "tags": names }).to_string().as_bytes())
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0u32, |bits, (i, byte)| bits | u32::from(*byte) << (16 - 8 * i));
        for i in 0..4 {
            let symbol = ALPHABET[(bits >> (18 - 6 * i) & 63) as usize] as char;
            text.push(if i <= group.len() { symbol } else { '=' });
        }
    }
    text
}
