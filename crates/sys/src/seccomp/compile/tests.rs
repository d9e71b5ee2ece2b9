use proptest::prelude::*;

use super::super::Rule;
use super::*;

/// A system call as the filter sees it.
#[derive(Clone, Copy, Debug)]
struct Call {
    audit: u32,
    number: u32,
    arguments: [u64; 6],
}

/// Runs a program as the kernel would; what it returns.
fn run(program: &Program, call: Call) -> u32 {
    let word = |offset: u32| match offset {
        NUMBER => call.number,
        ARCH => call.audit,
        _ => {
            let value = call.arguments[((offset - ARGUMENTS) / 8) as usize];
            if offset.is_multiple_of(8) { value as u32 } else { (value >> 32) as u32 }
        }
    };
    let (mut at, mut a) = (0, 0);
    loop {
        let i = program.0[at];
        let jump = |holds: bool| usize::from(if holds { i.jump_true } else { i.jump_false });
        at += 1 + match i.code {
            LOAD => {
                a = word(i.value);
                0
            }
            AND => {
                a &= i.value;
                0
            }
            JUMP => i.value as usize,
            JUMP_IF_EQUAL => jump(a == i.value),
            JUMP_IF_GREATER => jump(a > i.value),
            JUMP_IF_GREATER_OR_EQUAL => jump(a >= i.value),
            _ => return i.value,
        };
    }
}

/// What the rules say, read plainly.
fn expected(filter: &Filter, name: &str, arguments: [u64; 6]) -> Action {
    let holds = |c: &Condition| {
        let argument = arguments[usize::from(c.argument)];
        match c.comparison {
            Comparison::NotEqual(v) => argument != v,
            Comparison::Less(v) => argument < v,
            Comparison::LessOrEqual(v) => argument <= v,
            Comparison::Equal(v) => argument == v,
            Comparison::GreaterOrEqual(v) => argument >= v,
            Comparison::Greater(v) => argument > v,
            Comparison::MaskedEqual { mask, value } => argument & mask == value,
        }
    };
    let rules: Vec<_> = filter.rules.iter().filter(|rule| rule.names.iter().any(|n| n == name)).collect();
    let plain = rules.iter().find(|rule| rule.conditions.is_empty());
    let first = plain.or_else(|| rules.iter().find(|rule| rule.conditions.iter().all(holds)));
    first.map_or(filter.default, |rule| rule.action)
}

const NAMES: [&str; 6] = ["read", "write", "clone", "socket", "personality", "keyctl"];

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, any::<u64>(), Just(1 << 32), Just(u64::from(u32::MAX))]
}

fn condition() -> impl Strategy<Value = Condition> {
    let comparison = prop_oneof![
        value().prop_map(Comparison::NotEqual),
        value().prop_map(Comparison::Less),
        value().prop_map(Comparison::LessOrEqual),
        value().prop_map(Comparison::Equal),
        value().prop_map(Comparison::GreaterOrEqual),
        value().prop_map(Comparison::Greater),
        (value(), value()).prop_map(|(mask, value)| Comparison::MaskedEqual { mask, value: value & mask }),
    ];
    (0..6_u8, comparison).prop_map(|(argument, comparison)| Condition { argument, comparison })
}

fn rule() -> impl Strategy<Value = Rule> {
    let action = prop_oneof![Just(Action::Allow), (1..100_u16).prop_map(Action::Errno), Just(Action::Trap)];
    let names = proptest::collection::vec(proptest::sample::select(NAMES.to_vec()), 1..3);
    (names, action, proptest::collection::vec(condition(), 0..4)).prop_map(|(names, action, conditions)| Rule {
        names: names.into_iter().map(str::to_owned).collect(),
        action,
        conditions,
    })
}

proptest! {
    #[test]
    fn the_program_does_what_the_rules_say(
        rules in proptest::collection::vec(rule(), 0..8),
        arguments in proptest::array::uniform6(value()),
    ) {
        let arches = vec![Arch::X86_64, Arch::X86, Arch::X32];
        let filter = Filter { default: Action::Errno(1), arches: arches.clone(), rules };
        let program = compile(&filter).unwrap();
        let kept = Program::from_bytes(&program.to_bytes()).unwrap();
        for arch in arches {
            let table = Table::of(arch);
            let highest = filter.rules.iter().flat_map(|r| &r.names).filter_map(|n| table.number(n)).max();
            for name in NAMES {
                let Some(number) = table.number(name) else { continue };
                let got = run(&kept, Call { audit: arch.audit(), number, arguments });
                let known = highest.is_some_and(|highest| number <= highest);
                let want = if known { expected(&filter, name, arguments) } else { Action::Errno(38) };
                // Without any rule there is no highest number, and the default stands.
                let want = if highest.is_none() { filter.default } else { want };
                prop_assert_eq!(got, want.code(), "{} on {:?}", name, arch);
            }
        }
    }
}

#[test]
fn calls_of_another_architecture_end_the_process() {
    let filter = Filter { default: Action::Allow, arches: vec![Arch::X86_64], rules: Vec::new() };
    let program = compile(&filter).unwrap();
    let call = |audit, number| run(&program, Call { audit, number, arguments: [0; 6] });
    assert_eq!(call(Arch::X86_64.audit(), 0), Action::Allow.code());
    assert_eq!(call(Arch::Arm.audit(), 0), Action::KillProcess.code());
    assert_eq!(call(Arch::X86_64.audit(), X32_BIT), Action::KillProcess.code());
}

#[test]
fn a_long_program_jumps_to_leaves_near_and_far() {
    let lines = include_str!("../syscalls.txt").lines().filter(|line| !line.starts_with('#'));
    let names: Vec<String> = lines.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    let some = |every: usize| names.iter().step_by(every).cloned().collect::<Vec<_>>();
    let only = Condition { argument: 0, comparison: Comparison::Equal(7) };
    let rules = vec![
        Rule { names: some(3), conditions: Vec::new(), action: Action::Allow },
        // Alike for many, and too long to be jumped over.
        Rule { names: some(5), conditions: vec![only; 6], action: Action::Errno(5) },
        Rule { names: some(7), conditions: vec![only], action: Action::Errno(7) },
    ];
    let arches = vec![Arch::X86_64, Arch::X86, Arch::X32];
    let filter = Filter { default: Action::Errno(1), arches: arches.clone(), rules };
    let program = compile(&filter).unwrap();
    for arch in arches {
        let table = Table::of(arch);
        let highest = filter.rules.iter().flat_map(|rule| &rule.names).filter_map(|name| table.number(name)).max();
        for name in names.iter().filter(|name| table.number(name) <= highest) {
            for argument in [0, 7] {
                let Some(number) = table.number(name) else { continue };
                let arguments = [argument, 0, 0, 0, 0, 0];
                let got = run(&program, Call { audit: arch.audit(), number, arguments });
                assert_eq!(got, expected(&filter, name, arguments).code(), "{name} on {arch:?}");
            }
        }
    }
    // One comparison for each number where the answer changes, and hardly anything else for a plain filter.
    let plain = Filter { rules: filter.rules[..1].to_vec(), ..filter };
    let (length, changes) = (compile(&plain).unwrap().0.len(), plain.rules[0].names.len() * 2 * 3);
    assert!(length < changes + changes / 20, "{length} instructions for {changes} changes at most");
}
