//! Images with their platforms, as `docker images --tree` draws them where there is no terminal.

use strata_engine::image::{Attested, ImageTree, PlatformImage};
use strata_types::reference::Reference;

use super::{shorten, size};

/// What an image without a name is called.
const UNTAGGED: &str = "<untagged>";
/// What is between columns.
const GAP: &str = "   ";

/// Draws them.
pub fn draw(trees: &[ImageTree]) -> String {
    let rows: Vec<Row> = trees.iter().map(Row::of).collect();
    let texts = rows.iter().flat_map(|row| row.names.iter().chain(row.children.iter().map(|(text, _)| text)));
    let width = texts.map(|text| text.chars().count()).max().unwrap_or(0).max("IMAGE".len());
    let line = |first: &str, [id, disk, content, extra]: &[String; 4]| {
        format!("{first:width$}{GAP}{id:12}{GAP}{disk:>10}{GAP}{content:>12}{GAP}{extra:5}\n")
    };
    let mut drawn = line("IMAGE", &["ID", "DISK USAGE", "CONTENT SIZE", "EXTRA"].map(str::to_owned));
    for row in rows {
        let (last, others) = row.names.split_last().expect("a row has a name");
        others.iter().for_each(|name| drawn.push_str(&format!("{name:width$}\n")));
        drawn.push_str(&line(last, &row.details));
        row.children.iter().for_each(|(text, details)| drawn.push_str(&line(text, details)));
        drawn.push('\n');
    }
    drawn
}

/// What is drawn of one image.
struct Row {
    names: Vec<String>,
    details: [String; 4],
    children: Vec<(String, [String; 4])>,
}

impl Row {
    fn of(tree: &ImageTree) -> Self {
        let names = match tree.names.as_slice() {
            [] => vec![UNTAGGED.to_owned()],
            names => names.iter().map(Reference::familiar).collect(),
        };
        let sum = |bytes: fn(&PlatformImage) -> u64| tree.images.iter().map(bytes).sum();
        let is_used = tree.images.iter().any(|image| image.is_used);
        let total = (sum(|image| image.size_bytes), sum(|image| image.content_bytes), is_used);
        let count = tree.images.len();
        let child = |(at, image): (usize, &PlatformImage)| {
            let corner = if at + 1 == count { "└─" } else { "├─" };
            let platform = image.platform.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
            let sizes = (image.size_bytes, image.content_bytes, image.is_used);
            (format!("{corner} {platform}{}", attested(image)), details(&image.id.to_string(), sizes))
        };
        let children = tree.images.iter().enumerate().map(child).collect();
        Self { names, details: details(&tree.id.to_string(), total), children }
    }
}

/// What is attested of an image, in short words; statements of kinds without one by their whole names.
fn attested(image: &PlatformImage) -> String {
    let short = |attested: &Attested| match attested.predicate_type.as_str() {
        kind if kind.starts_with("https://slsa.dev/provenance/") => "provenance".to_owned(),
        kind if kind.starts_with("https://spdx.dev/") || kind.starts_with("https://cyclonedx.org/") => {
            "sbom".to_owned()
        }
        kind => kind.to_owned(),
    };
    let words: Vec<String> = image.attested.iter().map(short).collect();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}

fn details(id: &str, (disk_bytes, content_bytes, is_used): (u64, u64, bool)) -> [String; 4] {
    let extra = if is_used { "U" } else { "" };
    [shorten::id(id).to_owned(), size::short(disk_bytes), size::short(content_bytes), extra.to_owned()]
}

#[cfg(test)]
mod tests {
    use strata_types::{Digest, ImageId, Platform};

    use super::*;

    #[test]
    fn platforms_hang_below_names() {
        let id = |byte: &[u8]| ImageId::new(Digest::sha256(byte));
        let image = |architecture: &str, is_used| PlatformImage {
            id: id(architecture.as_bytes()),
            platform: Some(Platform::new("linux", architecture, "")),
            size_bytes: 1_350_000,
            content_bytes: 500_000,
            is_used,
            attested: Vec::new(),
        };
        let names = ["app:1", "app:latest"].map(|name| name.parse().unwrap()).to_vec();
        let attested = |kind: &str| Attested { predicate_type: kind.to_owned(), digest: Digest::sha256(b""), size: 1 };
        let mut arm64 = image("arm64", false);
        arm64.attested = ["https://spdx.dev/Document", "https://slsa.dev/provenance/v1", "x"].map(attested).to_vec();
        let tree = ImageTree { names, id: id(b"amd64"), images: vec![image("amd64", true), arm64] };
        let bare = ImageTree { names: Vec::new(), id: id(b"arm64"), images: vec![image("arm64", false)] };
        let expected = "\
IMAGE                                  ID             DISK USAGE   CONTENT SIZE   EXTRA
app:1                               \n\
app:latest                             AMD64               2.7MB            1MB   U    \n\
├─ linux/amd64                         AMD64              1.35MB          500kB   U    \n\
└─ linux/arm64 (sbom, provenance, x)   ARM64              1.35MB          500kB        \n
<untagged>                             ARM64              1.35MB          500kB        \n\
└─ linux/arm64                         ARM64              1.35MB          500kB        \n
";
        let mut drawn = draw(&[tree, bare]);
        for (name, shown) in [("amd64", "AMD64       "), ("arm64", "ARM64       ")] {
            let whole = id(name.as_bytes()).to_string();
            drawn = drawn.replace(shorten::id(&whole), shown);
        }
        assert_eq!(drawn, expected);
    }
}
