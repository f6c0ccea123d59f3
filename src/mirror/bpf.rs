//! Filter programs: classic BPF, as libpcap compiles them.
//!
//! A program comes from outside, so it is checked once, as the kernel checks what it is given for a
//! socket: only known instructions, jumps forward and to the inside, a return at the end. What was
//! checked ends after at most as many steps as it has instructions. It gives the very verdicts of
//! libpcap's `bpf_filter` (and of `tcpdump -r`, which uses that): a read behind the frame's end
//! or a division by zero ends it with 0. Negative offsets, by which the kernel gives programs what it
//! knows of a packet, are behind the end as well.
//!
//! An interpreter, for it costs a fiftieth of the kernel's way: `SO_ATTACH_FILTER` on a socket pair
//! judges a frame only after a `send` of it, and what is accepted has to be received again.
//! Nanoseconds for a frame of `captures/game-32-bulk.pcap`, beside other load, median of three runs:
//!
//! | expression | instructions | here | kernel, refused | kernel, accepted |
//! | --- | --- | --- | --- | --- |
//! | `arp` | 4 | 8 | 1350 | 4480 |
//! | `host 192.0.2.2 and not arp` | 14 | 17 | 1300 | 1980 |
//! | `udp port 27015` | 20 | 26 | 1440 | 2240 |
//! | ten ports and networks, `and not`, arithmetic | 47 | 51 | 1260 | 2180 |

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

/// `BPF_MAXINSNS` of `linux/bpf_common.h`: as many as the kernel takes.
pub const MAX_INSTRUCTIONS: usize = 4096;

impl Program {
    /// How many bytes of the frame to keep, which may be more than it has; 0 if it is not accepted.
    pub fn run(&self, frame: &[u8]) -> u32 {
        self.returned(frame).unwrap_or(0)
    }

    /// What the program returns; `None` if it ends before that.
    fn returned(&self, frame: &[u8]) -> Option<u32> {
        let mut a: u32 = 0;
        let mut x: u32 = 0;
        let mut memory = [0; MEMORY];
        let mut rest = self.0.as_slice();
        while let &[Instruction(code, jt, jf, k), ref after @ ..] = rest {
            let jump = |yes| after.get(usize::from(if yes { jt } else { jf })..);
            rest = after;
            match code {
                code::LD_W_ABS => a = word(frame, k as usize)?,
                code::LD_H_ABS => a = half(frame, k as usize)?,
                code::LD_B_ABS => a = byte(frame, k as usize)?,
                code::LD_W_IND => a = word(frame, offset(x, k)?)?,
                code::LD_H_IND => a = half(frame, offset(x, k)?)?,
                code::LD_B_IND => a = byte(frame, offset(x, k)?)?,
                code::LD_LEN => a = length(frame),
                code::LD_IMM => a = k,
                code::LD_MEM => a = memory[slot(k)],
                code::LDX_MSH => x = (byte(frame, k as usize)? & 0xf) << 2,
                code::LDX_LEN => x = length(frame),
                code::LDX_IMM => x = k,
                code::LDX_MEM => x = memory[slot(k)],
                code::ST => memory[slot(k)] = a,
                code::STX => memory[slot(k)] = x,
                code::ADD_K => a = a.wrapping_add(k),
                code::ADD_X => a = a.wrapping_add(x),
                code::SUB_K => a = a.wrapping_sub(k),
                code::SUB_X => a = a.wrapping_sub(x),
                code::MUL_K => a = a.wrapping_mul(k),
                code::MUL_X => a = a.wrapping_mul(x),
                code::DIV_K => a = a.checked_div(k)?,
                code::DIV_X => a = a.checked_div(x)?,
                code::MOD_K => a = a.checked_rem(k)?,
                code::MOD_X => a = a.checked_rem(x)?,
                code::AND_K => a &= k,
                code::AND_X => a &= x,
                code::OR_K => a |= k,
                code::OR_X => a |= x,
                code::XOR_K => a ^= k,
                code::XOR_X => a ^= x,
                code::LSH_K => a = a.checked_shl(k).unwrap_or(0),
                code::LSH_X => a = a.checked_shl(x).unwrap_or(0),
                code::RSH_K => a = a.checked_shr(k).unwrap_or(0),
                code::RSH_X => a = a.checked_shr(x).unwrap_or(0),
                code::NEG => a = a.wrapping_neg(),
                code::JA => rest = after.get(k as usize..)?,
                code::JEQ_K => rest = jump(a == k)?,
                code::JEQ_X => rest = jump(a == x)?,
                code::JGT_K => rest = jump(a > k)?,
                code::JGT_X => rest = jump(a > x)?,
                code::JGE_K => rest = jump(a >= k)?,
                code::JGE_X => rest = jump(a >= x)?,
                code::JSET_K => rest = jump(a & k != 0)?,
                code::JSET_X => rest = jump(a & x != 0)?,
                code::RET_K => return Some(k),
                code::RET_A => return Some(a),
                code::TAX => x = a,
                code::TXA => a = x,
                _ => return None,
            }
        }
        None
    }
}

impl TryFrom<Vec<Instruction>> for Program {
    type Error = InvalidProgram;

    fn try_from(instructions: Vec<Instruction>) -> Result<Self, InvalidProgram> {
        let invalid = |at, reason| InvalidProgram { at, reason };
        let Some(last) = instructions.last() else {
            return Err(invalid(0, "there is none"));
        };
        if instructions.len() > MAX_INSTRUCTIONS {
            return Err(invalid(MAX_INSTRUCTIONS, "one too many: a program has at most 4096"));
        }
        if !matches!(last.0, code::RET_K | code::RET_A) {
            return Err(invalid(instructions.len() - 1, "the last one is no return"));
        }
        for (at, &instruction) in instructions.iter().enumerate() {
            let after = instructions.len() - at - 1;
            check(instruction, after).map_err(|reason| invalid(at, reason))?;
        }
        match first_load_of_nothing(&instructions) {
            Some(at) => Err(invalid(at, "it loads from memory where nothing was stored")),
            None => Ok(Program(instructions)),
        }
    }
}

impl From<Program> for Vec<Instruction> {
    fn from(program: Program) -> Self {
        program.0
    }
}

impl AsRef<[Instruction]> for Program {
    fn as_ref(&self) -> &[Instruction] {
        &self.0
    }
}

/// Whether an instruction with `after` others behind it is one that a program may have.
fn check(Instruction(code, jt, jf, k): Instruction, after: usize) -> Result<(), &'static str> {
    match code {
        code::LD_MEM | code::LDX_MEM | code::ST | code::STX if k as usize >= MEMORY => {
            Err("there are 16 words of memory")
        }
        code::DIV_K | code::MOD_K if k == 0 => Err("it divides by 0"),
        code::LSH_K | code::RSH_K if k >= u32::BITS => Err("it shifts by more than 31 bits"),
        // Backwards is what libpcap's `protochain` jumps: as an unsigned number, far too far.
        code::JA if k as usize >= after => Err("it jumps backwards or out of the program"),
        _ if code::CONDITIONAL_JUMPS.contains(&code) && usize::from(jt.max(jf)) >= after => {
            Err("it jumps out of the program")
        }
        _ if code::ALL.contains(&code) => Ok(()),
        _ => Err("there is no such code"),
    }
}

/// The first instruction that, on some way to it, loads a word of memory that nothing was stored to.
///
/// The kernel refuses these too, and libpcap's interpreter gives them whatever lies on its stack.
/// Jumps must have been checked.
fn first_load_of_nothing(instructions: &[Instruction]) -> Option<usize> {
    const EVERYTHING: u16 = u16::MAX;
    // A bit for each word: what was stored on all the jumps to an instruction that were seen.
    let mut jumped = vec![EVERYTHING; instructions.len()];
    let mut stored = 0;
    for (at, &Instruction(code, jt, jf, k)) in instructions.iter().enumerate() {
        stored &= jumped[at];
        let mut jump = |by: usize| jumped[at + 1 + by] &= stored;
        match code {
            code::ST | code::STX => stored |= 1 << k,
            code::LD_MEM | code::LDX_MEM if stored & (1 << k) == 0 => return Some(at),
            code::JA => {
                jump(k as usize);
                stored = EVERYTHING;
            }
            code::RET_K | code::RET_A => stored = EVERYTHING,
            _ if code::CONDITIONAL_JUMPS.contains(&code) => {
                jump(jt.into());
                jump(jf.into());
                stored = EVERYTHING;
            }
            _ => {}
        }
    }
    None
}

fn word(frame: &[u8], at: usize) -> Option<u32> {
    frame.get(at..)?.first_chunk().map(|&bytes| u32::from_be_bytes(bytes))
}

fn half(frame: &[u8], at: usize) -> Option<u32> {
    frame.get(at..)?.first_chunk().map(|&bytes| u16::from_be_bytes(bytes).into())
}

fn byte(frame: &[u8], at: usize) -> Option<u32> {
    frame.get(at).map(|&byte| byte.into())
}

/// The place `k` behind what X points to. It does not wrap around.
fn offset(x: u32, k: u32) -> Option<usize> {
    (x as usize).checked_add(k as usize)
}

fn length(frame: &[u8]) -> u32 {
    u32::try_from(frame.len()).unwrap_or(u32::MAX)
}

/// The index of a word of memory; that it is one was checked, the mask lets the compiler see it.
fn slot(k: u32) -> usize {
    k as usize % MEMORY
}

/// `BPF_MEMWORDS` of `linux/filter.h`: words of memory that a program has for itself.
const MEMORY: usize = 16;

/// The codes of instructions: those of `linux/bpf_common.h`, put together.
mod code {
    /// Names the codes and makes the list of all.
    macro_rules! codes {
        ($($name:ident = $code:literal,)*) => {
            $(pub(super) const $name: u16 = $code;)*
            pub(super) const ALL: &[u16] = &[$($name),*];
        };
    }

    codes! {
        LD_IMM = 0x00,
        LD_W_ABS = 0x20,
        LD_H_ABS = 0x28,
        LD_B_ABS = 0x30,
        LD_W_IND = 0x40,
        LD_H_IND = 0x48,
        LD_B_IND = 0x50,
        LD_MEM = 0x60,
        LD_LEN = 0x80,
        LDX_IMM = 0x01,
        LDX_MEM = 0x61,
        LDX_LEN = 0x81,
        LDX_MSH = 0xb1,
        ST = 0x02,
        STX = 0x03,
        ADD_K = 0x04,
        ADD_X = 0x0c,
        SUB_K = 0x14,
        SUB_X = 0x1c,
        MUL_K = 0x24,
        MUL_X = 0x2c,
        DIV_K = 0x34,
        DIV_X = 0x3c,
        OR_K = 0x44,
        OR_X = 0x4c,
        AND_K = 0x54,
        AND_X = 0x5c,
        LSH_K = 0x64,
        LSH_X = 0x6c,
        RSH_K = 0x74,
        RSH_X = 0x7c,
        NEG = 0x84,
        MOD_K = 0x94,
        MOD_X = 0x9c,
        XOR_K = 0xa4,
        XOR_X = 0xac,
        JA = 0x05,
        JEQ_K = 0x15,
        JEQ_X = 0x1d,
        JGT_K = 0x25,
        JGT_X = 0x2d,
        JGE_K = 0x35,
        JGE_X = 0x3d,
        JSET_K = 0x45,
        JSET_X = 0x4d,
        RET_K = 0x06,
        RET_A = 0x16,
        TAX = 0x07,
        TXA = 0x87,
    }

    pub(super) const CONDITIONAL_JUMPS: &[u16] =
        &[JEQ_K, JEQ_X, JGT_K, JGT_X, JGE_K, JGE_X, JSET_K, JSET_X];
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCEPT: Instruction = Instruction(code::RET_K, 0, 0, 262_144);
    const RETURN_A: Instruction = Instruction(code::RET_A, 0, 0, 0);

    fn load(k: u32) -> Instruction {
        Instruction(code::LD_IMM, 0, 0, k)
    }

    fn plain(code: u16, k: u32) -> Instruction {
        Instruction(code, 0, 0, k)
    }

    fn program(instructions: &[Instruction]) -> Program {
        Program::try_from(instructions.to_vec()).expect("a valid program")
    }

    fn refused(instructions: &[Instruction]) -> (usize, &'static str) {
        let error = Program::try_from(instructions.to_vec()).expect_err("not a valid program");
        (error.at, error.reason)
    }

    /// What A is after `instructions`, with 7 in X.
    fn a_after(instructions: &[Instruction], frame: &[u8]) -> u32 {
        let mut all = vec![plain(code::LDX_IMM, 7)];
        all.extend(instructions);
        all.push(RETURN_A);
        program(&all).run(frame)
    }

    #[test]
    fn what_is_no_program_is_refused() {
        assert_eq!(refused(&[]), (0, "there is none"));
        assert_eq!(refused(&[load(1)]), (0, "the last one is no return"));
        let most = vec![ACCEPT; MAX_INSTRUCTIONS];
        program(&most);
        let too_many = vec![ACCEPT; MAX_INSTRUCTIONS + 1];
        assert_eq!(refused(&too_many), (4096, "one too many: a program has at most 4096"));
    }

    #[test]
    fn only_known_codes_are_taken() {
        let known = (0..=u16::MAX)
            .filter(|&code| {
                Program::try_from(vec![load(1), plain(code, 1), ACCEPT, ACCEPT]).is_ok()
            })
            .count();
        // The two loads from memory are known too, but nothing was stored.
        assert_eq!(known, code::ALL.len() - 2);
        assert_eq!(refused(&[plain(0x1e, 0), ACCEPT]), (0, "there is no such code"));
    }

    #[test]
    fn jumps_stay_inside_and_go_forward() {
        let backwards = (-2_i32).cast_unsigned();
        for k in [1, u32::MAX, backwards] {
            let instructions = [load(1), plain(code::JA, k), ACCEPT];
            assert_eq!(refused(&instructions), (1, "it jumps backwards or out of the program"));
        }
        program(&[load(1), plain(code::JA, 0), ACCEPT]);
        for &code in code::CONDITIONAL_JUMPS {
            for (jt, jf) in [(1, 0), (0, 1), (255, 255)] {
                let instructions = [load(1), Instruction(code, jt, jf, 1), ACCEPT];
                assert_eq!(refused(&instructions), (1, "it jumps out of the program"));
            }
            program(&[load(1), Instruction(code, 1, 0, 1), ACCEPT, ACCEPT]);
        }
    }

    #[test]
    fn memory_has_16_words() {
        for code in [code::ST, code::STX, code::LD_MEM, code::LDX_MEM] {
            let instructions = [plain(code::ST, 15), plain(code, 16), ACCEPT];
            assert_eq!(refused(&instructions), (1, "there are 16 words of memory"));
            program(&[plain(code::ST, 15), plain(code, 15), ACCEPT]);
        }
    }

    #[test]
    fn loads_need_a_store_on_every_way() {
        let nothing = "it loads from memory where nothing was stored";
        assert_eq!(refused(&[plain(code::LD_MEM, 0), ACCEPT]), (0, nothing));
        let on_one_way =
            [Instruction(code::JEQ_K, 0, 1, 0), plain(code::ST, 3), plain(code::LD_MEM, 3), ACCEPT];
        assert_eq!(refused(&on_one_way), (2, nothing));
        program(&[
            Instruction(code::JEQ_K, 0, 2, 0),
            plain(code::ST, 3),
            plain(code::JA, 1),
            plain(code::STX, 3),
            plain(code::LDX_MEM, 3),
            ACCEPT,
        ]);
    }

    #[test]
    fn nothing_is_divided_by_a_constant_0_or_shifted_out_by_one() {
        for code in [code::DIV_K, code::MOD_K] {
            assert_eq!(refused(&[plain(code, 0), ACCEPT]), (0, "it divides by 0"));
        }
        for code in [code::LSH_K, code::RSH_K] {
            assert_eq!(refused(&[plain(code, 32), ACCEPT]), (0, "it shifts by more than 31 bits"));
        }
    }

    #[test]
    fn loads_are_big_endian_and_end_at_the_frame() {
        let frame = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
        assert_eq!(a_after(&[plain(code::LD_W_ABS, 7)], &frame), 0x0809_0a0b);
        assert_eq!(a_after(&[plain(code::LD_H_ABS, 9)], &frame), 0x0a0b);
        assert_eq!(a_after(&[plain(code::LD_B_ABS, 10)], &frame), 11);
        assert_eq!(a_after(&[plain(code::LD_W_IND, 0)], &frame), 0x0809_0a0b);
        assert_eq!(a_after(&[plain(code::LD_H_IND, 2)], &frame), 0x0a0b);
        assert_eq!(a_after(&[plain(code::LD_B_IND, 3)], &frame), 11);
        let msh = [plain(code::LDX_MSH, 10), plain(code::TXA, 0)];
        assert_eq!(a_after(&msh, &frame), 44);
        // Whatever is read behind the end, the frame is not accepted.
        let behind = [
            (code::LD_W_ABS, 8),
            (code::LD_H_ABS, 10),
            (code::LD_B_ABS, 11),
            (code::LD_W_IND, 1),
            (code::LD_H_IND, 3),
            (code::LD_B_IND, 4),
            (code::LDX_MSH, 11),
        ];
        let negative = [
            code::LD_W_ABS,
            code::LD_H_ABS,
            code::LD_B_ABS,
            code::LD_W_IND,
            code::LD_H_IND,
            code::LD_B_IND,
            code::LDX_MSH,
        ];
        let negative = negative.iter().flat_map(|&code| {
            [-1_i32, -4, -7, -0x1000, i32::MIN].map(|k| (code, k.cast_unsigned()))
        });
        for (code, k) in behind.into_iter().chain(negative) {
            assert_eq!(program(&[plain(code::LDX_IMM, 7), plain(code, k), ACCEPT]).run(&frame), 0);
        }
    }

    #[test]
    fn arithmetic_is_that_of_32_bits_without_sign() {
        let cases = [
            (u32::MAX, code::ADD_K, 2, 1),
            (1, code::SUB_K, 2, u32::MAX),
            (0x1_0001, code::MUL_K, 0x1_0001, 0x2_0001),
            (u32::MAX, code::DIV_K, 2, 0x7fff_ffff),
            (100, code::MOD_K, 7, 2),
            (6, code::AND_K, 3, 2),
            (6, code::OR_K, 3, 7),
            (6, code::XOR_K, 3, 5),
            (3, code::LSH_K, 31, 0x8000_0000),
            (0x8000_0000, code::RSH_K, 31, 1),
            (1, code::NEG, 0, u32::MAX),
            (1, code::ADD_X, 0, 8),
            (1, code::SUB_X, 0, 0xffff_fffa),
            (3, code::MUL_X, 0, 21),
            (22, code::DIV_X, 0, 3),
            (22, code::MOD_X, 0, 1),
            (10, code::AND_X, 0, 2),
            (10, code::OR_X, 0, 15),
            (10, code::XOR_X, 0, 13),
            (1, code::LSH_X, 0, 128),
            (256, code::RSH_X, 0, 2),
        ];
        for (a, code, k, result) in cases {
            assert_eq!(a_after(&[load(a), plain(code, k)], &[]), result, "{a} {code:#x} {k}");
        }
    }

    #[test]
    fn division_by_an_x_of_0_accepts_nothing_and_a_long_shift_leaves_nothing() {
        for code in [code::DIV_X, code::MOD_X] {
            let instructions = [plain(code::LDX_IMM, 0), load(1), plain(code, 0), ACCEPT];
            assert_eq!(program(&instructions).run(&[]), 0);
        }
        for code in [code::LSH_X, code::RSH_X] {
            for by in [32, 33, u32::MAX] {
                let shift = [plain(code::LDX_IMM, by), load(u32::MAX), plain(code, 0)];
                assert_eq!(a_after(&shift, &[]), 0);
            }
        }
    }

    #[test]
    fn jumps_compare_without_sign() {
        let cases = [
            (code::JEQ_K, 7, [false, true, false]),
            (code::JGT_K, 7, [false, false, true]),
            (code::JGE_K, 7, [false, true, true]),
            (code::JSET_K, 7, [true, true, true]),
            (code::JEQ_X, 0, [false, true, false]),
            (code::JGT_X, 0, [false, false, true]),
            (code::JGE_X, 0, [false, true, true]),
            (code::JSET_X, 0, [true, true, true]),
        ];
        for (code, k, expected) in cases {
            let taken = [1, 7, u32::MAX].map(|a| {
                let jump = [load(a), Instruction(code, 1, 0, k), load(0), load(100)];
                let no_jump = [load(a), Instruction(code, 0, 1, k), load(0), load(100)];
                assert_eq!(a_after(&jump, &[]), 100);
                assert_eq!(a_after(&no_jump, &[]), 100);
                let instructions = [
                    plain(code::LDX_IMM, 7),
                    load(a),
                    Instruction(code, 1, 0, k),
                    plain(code::RET_K, 0),
                    plain(code::RET_K, 1),
                ];
                program(&instructions).run(&[]) == 1
            });
            assert_eq!(taken, expected, "{code:#x}");
        }
    }

    #[test]
    fn memory_keeps_a_and_x_and_len_is_the_frame_s() {
        let through_memory = [
            load(5),
            plain(code::ST, 0),
            plain(code::STX, 15),
            plain(code::LDX_MEM, 0),
            plain(code::LD_MEM, 15),
            plain(code::LSH_X, 0),
        ];
        assert_eq!(a_after(&through_memory, &[]), 7 << 5);
        assert_eq!(a_after(&[plain(code::LD_LEN, 0)], &[0; 60]), 60);
        assert_eq!(a_after(&[plain(code::LDX_LEN, 0), plain(code::TXA, 0)], &[0; 60]), 60);
        assert_eq!(a_after(&[load(3), plain(code::TAX, 0), load(1), plain(code::TXA, 0)], &[]), 3);
    }

    #[test]
    fn json_is_a_list_of_lists_and_is_checked() {
        let json = "[[40,0,0,12],[21,0,1,2054],[6,0,0,262144],[6,0,0,0]]";
        let arp: Program = serde_json::from_str(json).expect("a program");
        assert_eq!(serde_json::to_string(&arp).expect("JSON"), json);
        let mut frame = [0; 42];
        assert_eq!(arp.run(&frame), 0);
        frame[12..14].copy_from_slice(&[8, 6]);
        assert_eq!(arp.run(&frame), 262_144);
        let error = serde_json::from_str::<Program>("[[6,0,0,0],[40,0,0,12]]").unwrap_err();
        assert!(error.to_string().contains("instruction 1: the last one is no return"), "{error}");
    }
}
