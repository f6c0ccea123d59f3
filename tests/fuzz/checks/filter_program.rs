//! What must hold for any program that somebody gives to a capture, and any frame: it is refused or
//! ends, and says what a plain reading of the instructions says.
//!
//! An input is a count, so many instructions of 8 bytes, and the frame.

use uml_switch::mirror::bpf::{Instruction, MAX_INSTRUCTIONS, Program};
use uml_switch::sys::libpcap;

/// Takes an input to pieces and checks it.
pub(crate) fn check(data: &[u8]) {
    let Some((&count, data)) = data.split_first() else { return };
    let (instructions, frame) = parse(count, data);
    let Ok(program) = Program::try_from(instructions.clone()) else {
        assert!(!is_surely_valid(&instructions), "refused: {instructions:?}");
        return;
    };
    assert_eq!(program.as_ref(), instructions);
    assert!((1..=MAX_INSTRUCTIONS).contains(&instructions.len()));

    let kept = program.run(frame);
    let (expected, steps) = interpret(&instructions, frame);
    assert!(steps <= instructions.len(), "{steps} steps of {instructions:?}");
    assert_eq!(kept, expected, "{instructions:?} on {frame:?}");
    // Where there is no libpcap, the plain reading has to do.
    if let Ok(theirs) = libpcap::run(&program, frame) {
        assert_eq!(kept, theirs, "{instructions:?} on {frame:?}");
    }
    let json = serde_json::to_string(&program).expect("a program is JSON");
    let again: Program = serde_json::from_str(&json).expect("it was a program before");
    assert_eq!(again, program);
}

/// As many instructions as are there and wanted; the rest is the frame.
fn parse(count: u8, data: &[u8]) -> (Vec<Instruction>, &[u8]) {
    let (chunks, _) = data.as_chunks::<8>();
    let chunks = &chunks[..chunks.len().min(count.into())];
    let instructions = chunks.iter().map(|&[c0, c1, jt, jf, k0, k1, k2, k3]| {
        let code = u16::from_le_bytes([c0, c1]);
        Instruction(code, jt, jf, u32::from_le_bytes([k0, k1, k2, k3]))
    });
    (instructions.collect(), &data[chunks.len() * 8..])
}

/// Without jumps and memory, some loads and a return are always a program.
fn is_surely_valid(instructions: &[Instruction]) -> bool {
    let Some((last, loads)) = instructions.split_last() else { return false };
    matches!(last.0, 0x06 | 0x16)
        && loads.iter().all(|load| matches!(load.0, 0x00 | 0x20 | 0x28 | 0x30 | 0x40 | 0x80))
}

/// What the manual page `bpf(4)` says: what is returned, and after how many steps.
fn interpret(instructions: &[Instruction], frame: &[u8]) -> (u32, usize) {
    let mut machine = Machine { a: 0, x: 0, memory: [0; 16], frame };
    let mut pc = 0;
    for step in 1.. {
        let instruction = instructions[pc];
        match machine.step(instruction) {
            Step::Skip(count) => pc += 1 + count as usize,
            Step::Return(value) => return (value, step),
        }
    }
    unreachable!("programs end")
}

enum Step {
    Skip(u32),
    Return(u32),
}

struct Machine<'a> {
    a: u32,
    x: u32,
    memory: [u32; 16],
    frame: &'a [u8],
}

impl Machine<'_> {
    /// One instruction, taken to pieces as `linux/bpf_common.h` puts it together.
    fn step(&mut self, Instruction(code, jt, jf, k): Instruction) -> Step {
        const NEXT: Step = Step::Skip(0);
        let operand = if code & 0x08 == 0 { k } else { self.x };
        match code & 0x07 {
            // LD, LDX
            class @ (0 | 1) => {
                let Some(value) = self.load(code, k) else { return Step::Return(0) };
                *(if class == 0 { &mut self.a } else { &mut self.x }) = value;
                NEXT
            }
            2 => self.store(k, self.a),
            3 => self.store(k, self.x),
            4 => match arithmetic(code & 0xf0, self.a, operand) {
                Some(value) => {
                    self.a = value;
                    NEXT
                }
                None => Step::Return(0),
            },
            5 => {
                let yes = match code & 0xf0 {
                    0x00 => return Step::Skip(k),
                    0x10 => self.a == operand,
                    0x20 => self.a > operand,
                    0x30 => self.a >= operand,
                    0x40 => self.a & operand != 0,
                    other => panic!("jump {other:#x}"),
                };
                Step::Skip(if yes { jt } else { jf }.into())
            }
            6 => Step::Return(if code & 0x10 == 0 { k } else { self.a }),
            _ if code & 0x80 == 0 => {
                self.x = self.a;
                NEXT
            }
            _ => {
                self.a = self.x;
                NEXT
            }
        }
    }

    fn store(&mut self, k: u32, value: u32) -> Step {
        self.memory[k as usize] = value;
        Step::Skip(0)
    }

    fn load(&self, code: u16, k: u32) -> Option<u32> {
        let size = match code & 0x18 {
            0x00 => 4,
            0x08 => 2,
            0x10 => 1,
            other => panic!("size {other:#x}"),
        };
        match code & 0xe0 {
            0x00 => Some(k),
            0x20 => self.bytes(k.into(), size),
            0x40 => self.bytes(u64::from(self.x) + u64::from(k), size),
            0x60 => Some(self.memory[k as usize]),
            0x80 => Some(self.frame.len() as u32),
            0xa0 => self.bytes(k.into(), size).map(|byte| 4 * (byte % 16)),
            other => panic!("mode {other:#x}"),
        }
    }

    fn bytes(&self, at: u64, size: u64) -> Option<u32> {
        let byte = |index: u64| self.frame.get(index as usize).map(|&byte| u32::from(byte));
        (at..at + size).try_fold(0, |value, index| Some(value << 8 | byte(index)?))
    }
}

/// In 64 bits, cut to 32.
fn arithmetic(operation: u16, a: u32, operand: u32) -> Option<u32> {
    let (a, b) = (u64::from(a), u64::from(operand));
    let result = match operation {
        0x00 => a + b,
        0x10 => a + (1 << 32) - b,
        0x20 => a.wrapping_mul(b),
        0x30 if b == 0 => return None,
        0x30 => a / b,
        0x40 => a | b,
        0x50 => a & b,
        0x60 => {
            if b < 32 {
                a << b
            } else {
                0
            }
        }
        0x70 => {
            if b < 32 {
                a >> b
            } else {
                0
            }
        }
        0x80 => (1 << 32) - a,
        0x90 if b == 0 => return None,
        0x90 => a % b,
        0xa0 => a ^ b,
        other => panic!("operation {other:#x}"),
    };
    Some(result as u32)
}
