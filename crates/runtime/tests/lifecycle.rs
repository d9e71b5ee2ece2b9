//! Containers from their start to their end.

mod support;

#[test]
fn a_program_writes_and_its_exit_code_is_told() {
    let fixture = container!("sh", "-c", "echo out; echo err >&2; exit 3");
    assert_eq!(fixture.run(), (3, "out\n".to_owned(), "err\n".to_owned()));
}
