//! Package databases that are lines of `Name: value`: dpkg's, apk's, Python's.

use super::scan::{Kind, Package};

/// dpkg's status (deb822(5)): paragraphs between empty lines. Of what was removed the configuration may be left, which is
/// no package.
pub(super) fn dpkg(text: &str) -> Vec<Package> {
    paragraphs(text)
        .filter_map(|paragraph| {
            let field = |name: &str| field(paragraph, name);
            let state = field("Status").and_then(|status| status.split_ascii_whitespace().nth(2));
            if matches!(state, Some("not-installed" | "config-files")) {
                return None;
            }
            Some(Package::new(
                Kind::Deb,
                field("Package")?,
                field("Version")?,
                field("Architecture").unwrap_or_default(),
            ))
        })
        .collect()
}

/// apk's list: `P:` the name, `V:` the version, `A:` the processor.
pub(super) fn apk(text: &str) -> Vec<Package> {
    paragraphs(text)
        .filter_map(|paragraph| {
            let field = |name: &str| field(paragraph, name);
            Some(Package::new(Kind::Apk, field("P")?, field("V")?, field("A").unwrap_or_default()))
        })
        .collect()
}

/// The metadata of a Python distribution: a header like a letter's, up to the first empty line.
pub(super) fn python(text: &str) -> Vec<Package> {
    let header = paragraphs(text).next().unwrap_or_default();
    match (field(header, "Name"), field(header, "Version")) {
        (Some(name), Some(version)) => vec![Package::new(Kind::Python, name, version, "")],
        _ => Vec::new(),
    }
}

fn paragraphs(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n\n").map(|paragraph| paragraph.trim_matches('\n')).filter(|paragraph| !paragraph.is_empty())
}

/// The value of a field. Lines that begin with a space belong to the field before.
fn field<'t>(paragraph: &'t str, name: &str) -> Option<&'t str> {
    let value = |line: &'t str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim());
    paragraph.lines().find_map(value).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(packages: Vec<Package>) -> Vec<String> {
        packages.into_iter().map(|one| format!("{} {} {}", one.name, one.version, one.architecture)).collect()
    }

    #[test]
    fn what_was_removed_is_no_package() {
        let status = "Package: a\nStatus: install ok installed\nArchitecture: all\nVersion: 1:2\nDescription: x\n Version: 9\n\n\
                      Package: b\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: c\nVersion: 3\n";
        assert_eq!(names(dpkg(status)), ["a 1:2 all", "c 3 "]);
    }

    #[test]
    fn apk_and_python_are_read() {
        let installed = "C:Q1x=\nP:musl\nV:1.2.4-r2\nA:x86_64\nF:lib\nR:ld\n\nP:busybox\nV:1.36\nA:x86_64\n";
        assert_eq!(names(apk(installed)), ["musl 1.2.4-r2 x86_64", "busybox 1.36 x86_64"]);
        let metadata = "Metadata-Version: 2.1\nName: requests\nVersion: 2.28\n\nName: not this\n";
        assert_eq!(names(python(metadata)), ["requests 2.28 "]);
        assert_eq!(names(python("nonsense")), Vec::<String>::new());
    }
}
