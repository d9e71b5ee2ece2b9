//! Images for other processors, run by somebody who is not root.

use strata_testkit::{arm64, host, need};

use crate::{MANY, Person, needs};

#[test]
fn a_person_runs_programs_for_another_processor() {
    need!(needs(), host::program("qemu-aarch64-static"));
    for delegated in [MANY, ""] {
        let me = Person::prepared(delegated, "");
        std::fs::write(me.machine.dir().join("arm.tar"), arm64::image().docker_archive("arm:latest")).unwrap();
        me.strata("load -qi ../arm.tar").ok();
        for words in ["arm", "arm /hello /made /other", "--platform linux/arm64 arm"] {
            let ran = me.strata(&format!("run --rm --network none {words}"));
            assert_eq!((ran.out.as_str(), ran.code), (arm64::SAYS, 7), "{delegated:?} {words}: {}", ran.err);
        }
    }
}
