//! What people are used to call and what there is not: said in words, not with a list of what there is.

use crate::exit::Failure;

/// Commands of `docker buildx` and `docker builder`, with what serves in their place.
const OF_BUILDERS: &[(&str, &str)] = &[
    ("bake", "there is no `bake` here: say `strata build` for each of its targets"),
    ("create", "there is one builder, this program itself: it need not be created"),
    ("use", "there is one builder, this program itself: it is always used"),
    ("rm", "there is one builder, this program itself: it cannot be removed"),
    ("stop", "there is one builder, this program itself: nothing of it runs between builds"),
    ("ls", "there is one builder, this program itself: it is called `default`"),
    ("inspect", "there is one builder, this program itself: `strata info` tells of it"),
    ("du", "what builds remember is told by `strata system df -v`"),
    ("imagetools", "indexes are made and looked at by `strata manifest create|inspect|push`"),
    ("history", "builds are not recorded: `--metadata-file` and `--provenance` tell of one"),
    ("install", "`strata build` is this builder: there is nothing to install"),
    ("uninstall", "`strata build` is this builder: there is nothing to uninstall"),
];

/// Says of a command of a group that there is none, if people may be used to it.
pub(crate) fn command(group: &str, name: &str) -> Option<Failure> {
    let known = if matches!(group, "buildx" | "builder") { OF_BUILDERS } else { &[] };
    let (_, hint) = known.iter().find(|(known, _)| *known == name)?;
    Some(Failure::new(format!("'{name}' is not a strata {group} command")).hint(*hint))
}
