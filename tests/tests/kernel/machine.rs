//! A machine that executes translated instructions one by one and counts them: the kernel tells of a run no more than its
//! time.
//!
//! It knows what the fast path needs. Memory is zero where nobody wrote, so maps are empty and globals zero; of helpers
//! it knows a map's look-up, which newer kernels have made instructions of. Anything else stops it, with the reason.

use std::collections::BTreeMap;

use tcptrace_core::event::Counter;
use tcptrace_tests::translated::Instruction;

const CONTEXT: u64 = 1 << 32;
const FRAME: u64 = 2 << 32;
const STACK: u64 = 3 << 32;
const FRAME_SIZE: u64 = 512;
/// What pointers in the context lead to, beside the frame.
const DEVICE: u64 = 4 << 32;
/// This CPU's part of the one per-CPU map.
const COUNTERS: u64 = 5 << 32;
const MAPS: u64 = 6 << 32;

/// How a program's context is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    XdpBuff,
    SkBuff,
}

/// What became of a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Executed {
    pub(crate) instructions: u32,
    pub(crate) returned: u32,
    /// What was counted, by number; nothing else was written.
    pub(crate) counted: Vec<(usize, u64)>,
}

/// Executes a program on a frame.
pub(crate) fn execute(code: &[Instruction], context: Context, frame: &[u8]) -> Result<Executed, String> {
    let mut machine = Machine { context, frame, memory: BTreeMap::new(), registers: [0; 11] };
    machine.registers[1] = CONTEXT;
    machine.registers[10] = STACK;
    let (mut at, mut instructions) = (0, 0);
    let mut callers: Vec<(usize, [u64; 5])> = Vec::new();
    loop {
        let it = *code.get(at).ok_or_else(|| format!("no instruction {at}"))?;
        instructions += 1;
        at += 1;
        match it.code {
            0x95 => {
                let Some((caller, saved)) = callers.pop() else { break };
                at = caller;
                machine.registers[6..].copy_from_slice(&saved);
            }
            // A function of the program itself; what is called keeps the caller's upper registers, and has its own stack.
            0x85 if it.from() == 1 => {
                let saved = machine.registers[6..].try_into().expect("five registers");
                callers.push((at, saved));
                at = at.wrapping_add_signed(it.offset.into());
                machine.registers[10] -= FRAME_SIZE;
            }
            // A constant of 64 bits takes two; with a kind, it is a map (1) or a place in its value (2).
            0x18 => {
                let high = code.get(at).ok_or("half an instruction")?.immediate;
                machine.registers[it.to()] = match it.from() {
                    0 => u64::from(it.immediate as u32) | u64::from(high as u32) << 32,
                    _ => MAPS + (u64::from(it.immediate as u32) << 32) + u64::from(high as u32),
                };
                at += 1;
            }
            _ => {
                let jump = machine.step(it).ok_or_else(|| format!("instruction {}: what is {it:x?}?", at - 1))?;
                at = at.wrapping_add_signed(jump as isize);
            }
        }
    }
    let written = machine.memory.iter().filter(|(at, _)| !(STACK - 8 * FRAME_SIZE..STACK).contains(at));
    let counted = written.map(|(at, octet)| match at.checked_sub(COUNTERS) {
        Some(offset) if offset < 8 * Counter::ALL.len() as u64 => Ok((offset as usize / 8, u64::from(*octet))),
        _ => Err(format!("{octet} was written to {at:x}")),
    });
    let counted = counted.filter(|it| !matches!(it, Ok((_, 0)))).collect::<Result<_, _>>()?;
    Ok(Executed { instructions, returned: machine.registers[0] as u32, counted })
}

struct Machine<'a> {
    context: Context,
    frame: &'a [u8],
    memory: BTreeMap<u64, u8>,
    registers: [u64; 11],
}

impl Machine<'_> {
    /// Executes one instruction; how far it jumps.
    fn step(&mut self, it: Instruction) -> Option<i32> {
        let mode = it.code & 0xe0;
        let size = [4, 2, 1, 8][usize::from(it.code >> 3 & 3)];
        let operand = if it.code & 8 == 0 { i64::from(it.immediate) as u64 } else { self.registers[it.from()] };
        let place = |register: usize| self.registers[register].wrapping_add_signed(it.offset.into());
        match it.code & 7 {
            1 if mode == 0x60 => self.registers[it.to()] = self.load(place(it.from()), size)?,
            2 if mode == 0x60 => self.store(place(it.to()), size, i64::from(it.immediate) as u64),
            3 if mode == 0x60 => self.store(place(it.to()), size, self.registers[it.from()]),
            // To big endian, to little endian, and the other way round, whatever it was.
            4 | 7 if it.code & 0xf0 == 0xd0 => {
                self.registers[it.to()] = turned(self.registers[it.to()], it.code != 0xd4, it.immediate)?;
            }
            4 if it.offset == 0 => {
                let low = |it: u64| u64::from(it as u32);
                let result = calculated(it.code & 0xf0, low(self.registers[it.to()]), low(operand), 32)?;
                self.registers[it.to()] = low(result);
            }
            // A per-CPU pointer becomes this CPU's.
            7 if it.code == 0xbf && it.offset == -1 => self.registers[it.to()] = COUNTERS,
            7 if it.offset == 0 => {
                self.registers[it.to()] = calculated(it.code & 0xf0, self.registers[it.to()], operand, 64)?;
            }
            // Older kernels call for a per-CPU map, and only for that.
            5 if it.code == 0x85 => {
                (it.from() == 0 && self.registers[1] >= MAPS).then_some(())?;
                self.registers[0] = COUNTERS;
            }
            5 if it.code == 0x05 => return Some(it.offset.into()),
            6 if it.code == 0x06 => return Some(it.immediate),
            5 if holds(it.code & 0xf0, self.registers[it.to()] as i64, operand as i64)? => {
                return Some(it.offset.into());
            }
            // Sign extension keeps every order, signed or not.
            6 if holds(it.code & 0xf0, (self.registers[it.to()] as i32).into(), (operand as i32).into())? => {
                return Some(it.offset.into());
            }
            5 | 6 => {}
            _ => return None,
        }
        Some(0)
    }

    fn load(&self, at: u64, size: u64) -> Option<u64> {
        if (CONTEXT..CONTEXT + (1 << 31)).contains(&at) {
            return self.field(at - CONTEXT, size);
        }
        let octet = |at: u64| match at.checked_sub(FRAME) {
            Some(offset) if offset < 1 << 31 => self.frame.get(offset as usize).copied(),
            _ => Some(self.memory.get(&at).copied().unwrap_or(0)),
        };
        (0..size).rev().try_fold(0, |all, index| Some(all << 8 | u64::from(octet(at + index)?)))
    }

    /// A field of the context, as the kernel's own structure has it. That of an skb differs from kernel to kernel; but its
    /// device has been among the first fields, and the end of its data in `cb`, which begins with the 40th byte, for as
    /// long as there are programs; of what is behind, programs read the length, and as a pointer only the data.
    fn field(&self, at: u64, size: u64) -> Option<u64> {
        let length = self.frame.len() as u64;
        Some(match (self.context, at, size) {
            (Context::XdpBuff, 0, 8) | (Context::SkBuff, 88.., 8) => FRAME,
            (Context::XdpBuff, 8, 8) | (Context::SkBuff, 40..88, 8) => FRAME + length,
            (Context::XdpBuff, 32, 8) | (Context::SkBuff, 0..40, 8) => DEVICE,
            (Context::SkBuff, 88.., 4) => length,
            _ => return None,
        })
    }

    fn store(&mut self, at: u64, size: u64, value: u64) {
        self.memory.extend((0..size).map(|index| (at + index, (value >> (8 * index)) as u8)));
    }
}

/// The result of an operation on so many bits.
fn calculated(operation: u8, left: u64, right: u64, bits: u32) -> Option<u64> {
    let shift = right as u32 & (bits - 1);
    Some(match operation {
        0x00 => left.wrapping_add(right),
        0x10 => left.wrapping_sub(right),
        0x20 => left.wrapping_mul(right),
        0x30 => left.checked_div(right).unwrap_or(0),
        0x40 => left | right,
        0x50 => left & right,
        0x60 => left << shift,
        0x70 => left >> shift,
        0x80 => left.wrapping_neg(),
        0x90 => left.checked_rem(right).unwrap_or(left),
        0xa0 => left ^ right,
        0xb0 => right,
        0xc0 if bits == 32 => (left as i32 >> shift) as u64,
        0xc0 => (left as i64 >> shift) as u64,
        _ => return None,
    })
}

/// The lowest bits, with their bytes turned around or only cut off.
fn turned(it: u64, turn: bool, bits: i32) -> Option<u64> {
    let swapped = if turn { it.swap_bytes() >> 64u32.checked_sub(bits as u32)? } else { it };
    Some(if bits == 64 { swapped } else { swapped & ((1 << bits) - 1) })
}

fn holds(comparison: u8, left: i64, right: i64) -> Option<bool> {
    let (unsigned_left, unsigned_right) = (left as u64, right as u64);
    Some(match comparison {
        0x10 => left == right,
        0x20 => unsigned_left > unsigned_right,
        0x30 => unsigned_left >= unsigned_right,
        0x40 => left & right != 0,
        0x50 => left != right,
        0x60 => left > right,
        0x70 => left >= right,
        0xa0 => unsigned_left < unsigned_right,
        0xb0 => unsigned_left <= unsigned_right,
        0xc0 => left < right,
        0xd0 => left <= right,
        _ => return None,
    })
}
