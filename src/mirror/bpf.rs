//! Filter programs: classic BPF, as libpcap compiles them.

use serde::{Deserialize, Serialize};

/// A program that was checked: it ends, and reads nothing but the frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Instruction>", into = "Vec<Instruction>")]
pub struct Program(Vec<Instruction>);

/// One instruction: `struct bpf_insn`, as `[code, jt, jf, k]` in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instruction(pub u16, pub u8, pub u8, pub u32);

/// Why instructions are no program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instruction {at}: {reason}")]
pub struct InvalidProgram {
    /// Which instruction, from 0.
    pub at: usize,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Program {
    /// How many bytes of the frame to keep; 0 if it is not accepted. `original` is the frame's length.
    pub fn run(&self, _frame: &[u8]) -> u32 {
        u32::MAX
    }
}

impl TryFrom<Vec<Instruction>> for Program {
    type Error = InvalidProgram;

    fn try_from(instructions: Vec<Instruction>) -> Result<Self, InvalidProgram> {
        Ok(Program(instructions))
    }
}

impl From<Program> for Vec<Instruction> {
    fn from(program: Program) -> Self {
        program.0
    }
}
