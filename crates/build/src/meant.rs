//! What was probably meant, where something is not there.

use std::path::Path;

use strata_dockerfile::nearest;
use strata_layer::LayerPath;

use crate::copy::Tree;
use crate::plan::Plan;

/// For a name that is no stage before `index` and no image either.
pub(crate) fn stage(plan: &Plan<'_>, name: &str, index: usize) -> Option<String> {
    let lower = name.to_lowercase();
    let stages = &plan.file.stages;
    if stages[index..].iter().any(|stage| stage.name == lower) {
        return Some(format!("the stage {lower:?} begins below: move it above this one"));
    }
    let names: Vec<&str> = stages[..index].iter().map(|stage| &*stage.name).filter(|name| !name.is_empty()).collect();
    nearest(name, &names).map(|near| format!("no stage is called so, which makes it an image: did you mean {near}?"))
}

/// For a target that is no stage.
pub(crate) fn target(plan: &Plan<'_>, name: &str) -> Option<String> {
    let names: Vec<&str> = plan.file.stages.iter().map(|stage| &*stage.name).filter(|name| !name.is_empty()).collect();
    match nearest(name, &names) {
        Some(near) => Some(format!("did you mean {near}?")),
        None if names.is_empty() => Some("no stage has a name: FROM image AS name gives it one".to_owned()),
        None => Some(format!("the stages are: {}", names.join(", "))),
    }
}

/// A source as a path below the root, as far as it can be one.
pub(crate) fn path(source: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in source.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match part {
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// For a source that is not in a tree.
pub(crate) fn source(tree: &Tree<'_>, source: &str) -> String {
    let path = path(source);
    let text = path.trim_start_matches('/');
    let is_there = |text: &str| {
        let path = LayerPath::parse(text.as_bytes()).ok();
        path.is_some_and(|path| matches!(tree.root.lstat(crate::copy::at(&path)), Ok(Some(_))))
    };
    if tree.ignore.ignores(text) && is_there(text) {
        return format!("{text} is there, but .dockerignore leaves it out of the build context");
    }
    let (dir, name) = text.rsplit_once('/').unwrap_or((".", text));
    let beside = tree.root.list(Path::new(dir)).unwrap_or_default();
    let beside: Vec<&str> = beside.iter().filter_map(|(name, _)| name.to_str()).collect();
    match nearest(name, &beside) {
        Some(near) if dir == "." => format!("did you mean {near}?"),
        Some(near) => format!("did you mean {dir}/{near}?"),
        None if source.split('/').any(|part| part == "..") && tree.is_host => {
            "nothing outside of the build context can be copied: paths begin at its root".to_owned()
        }
        None if tree.is_host => "paths are those of the build context; is it excluded by .dockerignore?".to_owned(),
        None => "paths begin at the root of what --from names".to_owned(),
    }
}
