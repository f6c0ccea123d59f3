//! Programs that no compiler makes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use uml_switch::mirror::bpf::{Instruction, Program};
use uml_switch::sys::libpcap;

pub fn programs_return_what_libpcap_returns() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4096) };
    proptest!(config, |(program in programs(), frame in vec(any::<u8>(), 0..80))| {
        let theirs = libpcap::run(&program, &frame).expect("libpcap was there before");
        prop_assert_eq!(program.run(&frame), theirs);
    });
}

/// Valid programs: memory is stored to first, jumps are cut to what follows, the last returns A.
fn programs() -> impl Strategy<Value = Program> {
    let instruction = (select(codes()), any::<u8>(), any::<u8>(), constants());
    vec(instruction, 0..60).prop_map(|body| {
        let mut instructions: Vec<_> = (0..16).map(|word| Instruction(ST, 0, 0, word)).collect();
        let count = body.len();
        for (at, (code, jt, jf, k)) in body.into_iter().enumerate() {
            // At least the last one follows.
            let after = count - at;
            let near = |jump: u8| (usize::from(jump) % after.min(8)) as u8;
            let k = match code {
                JA => k % after.min(8) as u32,
                ST | STX | LD_MEM | LDX_MEM => k % 16,
                LSH_K | RSH_K => k % 32,
                DIV_K | MOD_K => k.max(1),
                _ => k,
            };
            instructions.push(Instruction(code, near(jt), near(jf), k));
        }
        instructions.push(Instruction(RET_A, 0, 0, 0));
        Program::try_from(instructions).expect("a valid program")
    })
}

/// Mostly offsets in a frame, some anything.
fn constants() -> impl Strategy<Value = u32> {
    prop_oneof![6 => 0..90_u32, 1 => any::<u32>(), 1 => (0..90_u32).prop_map(u32::wrapping_neg)]
}

/// All codes that a program may have, but only one in eight of the returns, which make it short.
fn codes() -> Vec<u16> {
    let valid = |code: u16| {
        let instructions = [ST, code, RET_A, RET_A].map(|code| Instruction(code, 0, 0, 1));
        Program::try_from(instructions.to_vec()).is_ok()
    };
    let known: Vec<u16> = (0..=u16::MAX).filter(|&code| valid(code)).collect();
    let steps = known.iter().copied().filter(|&code| code & CLASS != RET);
    let steps: Vec<u16> = steps.flat_map(|code| [code; 8]).collect();
    let returns = known.into_iter().filter(|&code| code & CLASS == RET);
    steps.into_iter().chain(returns).collect()
}

/// `BPF_CLASS` of `linux/bpf_common.h`, and below codes of there and of `linux/filter.h`.
const CLASS: u16 = 0x07;
const RET: u16 = 0x06;

const ST: u16 = 0x02;
const STX: u16 = 0x03;
const LD_MEM: u16 = 0x60;
const LDX_MEM: u16 = 0x61;
const JA: u16 = 0x05;
const DIV_K: u16 = 0x34;
const LSH_K: u16 = 0x64;
const RSH_K: u16 = 0x74;
const MOD_K: u16 = 0x94;
const RET_A: u16 = 0x16;
