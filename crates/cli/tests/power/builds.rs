//! Builds.

use super::{Needs, Operation, check, words};

/// Three steps of its own on the image that is there, one of them with a directory that outlives builds.
const STEPS: &str = "FROM base\n\
    RUN --mount=type=cache,target=/cache echo one >>/cache/list && sort -u /cache/list >/list\n\
    ADD layer.tar /\n\
    RUN echo two >/two\n\
    CMD [\"cat\", \"/list\", \"/two\"]\n";

#[test]
fn a_build_survives_the_power() {
    check(&Operation {
        needs: Needs::Nothing,
        prepare: |_| {},
        words: |_| words(&["build", "-q", "--network", "none", "-t", "built", "-f", "steps", "context"]),
        done: |bench| {
            assert_eq!(bench.strata(&["run", "--rm", "--network", "none", "built"]).ok(), "one\ntwo\n");
            super::has_layer(bench, "built");
            let left =
                bench.machine.sh("find store/containers -mindepth 1; find store/build store/layers -name '.new*'");
            assert_eq!(left.out, "", "the killed build left something");
        },
        again: &[0],
    });
}

/// The context, beside the machine's other files.
pub(crate) fn write_context(dir: &std::path::Path) {
    let context = dir.join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(dir.join("steps"), STEPS).unwrap();
    std::fs::copy(dir.join("layer.tar"), context.join("layer.tar")).unwrap();
}
