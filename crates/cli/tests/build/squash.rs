//! `build --squash`: one layer with the same files.

use super::{build, inspect, machine, need_all, sh};

/// Everything about every file.
const LIST: &str = "cd / && find . -mindepth 1 -xdev ! -path './bin/*' ! -path './proc*' ! -path './sys*' ! -path './dev*' ! -path './etc/host*' ! -path ./etc/resolv.conf \
    ! -path ./etc/mtab ! -path ./run ! -path './run/*' | sort | while read -r f; do stat -c '%n %F %a %u %g %Y' \"$f\"; [ -d \"$f\" ] || stat -c %h \"$f\"; \
    [ -h \"$f\" ] && readlink \"$f\"; [ -f \"$f\" ] && ! [ -h \"$f\" ] && md5sum < \"$f\"; done; true";

#[test]
fn one_layer_has_the_files_of_all() {
    need_all!();
    let machine = machine(&[("f", "f\n")]);
    let below = "FROM base\nRUN mkdir -p /old/deep /kept /swapped /emptied/sub && echo 1 | tee /old/deep/a /old/b /kept/c /swapped/d /emptied/sub/e > /twin && ln /twin /twin2\n";
    build(&machine, below, &["-t", "below"]).ok();
    let file = "FROM below\n\
        RUN rm -r /old && mkdir /old && echo new > /old/b && echo secret > /secret && rm /kept/c && mkdir /made && echo x > /made/x\n\
        COPY f /made/f\n\
        RUN rm /secret /made/x && rm -r /swapped && ln -s kept /swapped && rm -r /emptied/sub && echo again > /kept/c && echo y >> /twin\n\
        RUN mkdir /a && echo z > /a/c && rm -r /a && ln -s kept /a && echo one > /made/one && ln /made/one /made/two && rm -r /made/f && mkdir /made/f\n\
        ENV X=1\nWORKDIR /made\n";
    build(&machine, file, &["-t", "many"]).ok();
    let squashed = build(&machine, file, &["-t", "one", "--squash"]);
    assert_eq!(squashed.code, 0, "{}", squashed.err);
    assert!(squashed.err.contains("squashing layers\n"), "{}", squashed.err);
    assert_eq!(sh(&machine, "one", LIST), sh(&machine, "many", LIST));
    let layers = |image: &str| inspect(&machine, image, "{{len .RootFS.Layers}}").parse::<usize>().unwrap();
    assert_eq!((layers("one"), layers("many")), (layers("below") + 1, layers("below") + 4));
    let config = |image: &str| inspect(&machine, image, "{{json .Config}}");
    assert_eq!(config("one"), config("many"));
    // What was taken away is in no layer.
    machine.strata(["save", "-o", "one.tar", "one"]).ok();
    let found = machine.sh("mkdir x && tar -xf one.tar -C x && for b in x/blobs/sha256/*; do tar -tf $b 2> /dev/null; done | grep -c secret").out;
    assert_eq!(found.trim(), "0");
    let history = machine.strata(["history", "--no-trunc", "--format", "{{.Size}} {{.Comment}}", "one"]).ok();
    assert!(history.lines().next().unwrap().ends_with("4 layers as one"), "{history}");
    // It is found again, and its history agrees with its layers.
    let again = build(&machine, file, &["-t", "again", "--squash", "--build-arg", "SOURCE_DATE_EPOCH=1700000000"]);
    let twice = build(&machine, file, &["-t", "twice", "--squash", "--build-arg", "SOURCE_DATE_EPOCH=1700000000"]);
    assert_eq!((again.code, twice.code), (0, 0));
    assert_eq!(inspect(&machine, "again", "{{.Id}}"), inspect(&machine, "twice", "{{.Id}}"));
    build(&machine, "FROM one\nRUN echo on top > /top\n", &["-t", "top"]).ok();
    assert_eq!(sh(&machine, "top", "cat /top /made/one"), "on top\none\n");
    machine.strata(["check"]).ok();
}
