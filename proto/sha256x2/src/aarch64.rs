//! Compresses two chains on one core with the SHA-256 instructions of ARMv8.
//!
//! Only the call of this module is unsafe: values go into registers by value, never by pointer.
//!
//! Source: Arm Architecture Reference Manual for A-profile, SHA256H, SHA256H2, SHA256SU0, SHA256SU1.

use core::arch::aarch64::{
    uint32x4_t, vaddq_u32, vcombine_u64, vcreate_u64, vgetq_lane_u64, vreinterpretq_u8_u64,
    vreinterpretq_u32_u8, vreinterpretq_u32_u64, vreinterpretq_u64_u32, vrev32q_u8, vsha256h2q_u32,
    vsha256hq_u32, vsha256su0q_u32, vsha256su1q_u32,
};

use crate::{Block, K, State};

/// One chain: its state, and the last 16 words of its message schedule.
struct Lane {
    abcd: uint32x4_t,
    efgh: uint32x4_t,
    words: [uint32x4_t; 4],
}

/// Compresses two inputs of the same number of blocks. Ignores further blocks of the longer one.
#[target_feature(enable = "sha2,neon")]
pub(crate) fn compress2(state_a: &mut State, a: &[Block], state_b: &mut State, b: &[Block]) {
    let (mut one, mut two) = (Lane::load(state_a), Lane::load(state_b));
    for (block_a, block_b) in a.iter().zip(b) {
        let (before_one, before_two) = ((one.abcd, one.efgh), (two.abcd, two.efgh));
        one.take(block_a);
        two.take(block_b);
        one.rounds::<0>(0);
        two.rounds::<0>(0);
        one.rounds::<1>(4);
        two.rounds::<1>(4);
        one.rounds::<2>(8);
        two.rounds::<2>(8);
        one.rounds::<3>(12);
        two.rounds::<3>(12);
        for first in [16, 32, 48] {
            one.schedule::<0, 1, 2, 3>();
            two.schedule::<0, 1, 2, 3>();
            one.rounds::<0>(first);
            two.rounds::<0>(first);
            one.schedule::<1, 2, 3, 0>();
            two.schedule::<1, 2, 3, 0>();
            one.rounds::<1>(first + 4);
            two.rounds::<1>(first + 4);
            one.schedule::<2, 3, 0, 1>();
            two.schedule::<2, 3, 0, 1>();
            one.rounds::<2>(first + 8);
            two.rounds::<2>(first + 8);
            one.schedule::<3, 0, 1, 2>();
            two.schedule::<3, 0, 1, 2>();
            one.rounds::<3>(first + 12);
            two.rounds::<3>(first + 12);
        }
        one.add(before_one);
        two.add(before_two);
    }
    one.store(state_a);
    two.store(state_b);
}

impl Lane {
    #[inline]
    #[target_feature(enable = "neon")]
    fn load(state: &State) -> Self {
        let [a, b, c, d, e, f, g, h] = *state;
        Self { abcd: four(a, b, c, d), efgh: four(e, f, g, h), words: [four(0, 0, 0, 0); 4] }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn store(&self, state: &mut State) {
        for (words, four) in state.chunks_exact_mut(4).zip([self.abcd, self.efgh]) {
            let pairs = vreinterpretq_u64_u32(four);
            let (low, high) = (vgetq_lane_u64::<0>(pairs), vgetq_lane_u64::<1>(pairs));
            words.copy_from_slice(&[low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32]);
        }
    }

    /// Loads a block as 16 big-endian words.
    #[inline]
    #[target_feature(enable = "neon")]
    fn take(&mut self, block: &Block) {
        for (words, bytes) in self.words.iter_mut().zip(block.as_chunks::<16>().0) {
            let number = u128::from_le_bytes(*bytes);
            // This compiles to one load of 16 bytes.
            let pairs = vcombine_u64(vcreate_u64(number as u64), vcreate_u64((number >> 64) as u64));
            *words = vreinterpretq_u32_u8(vrev32q_u8(vreinterpretq_u8_u64(pairs)));
        }
    }

    /// Computes four rounds from round `first` on, with the words at `AT`.
    #[inline]
    #[target_feature(enable = "sha2,neon")]
    fn rounds<const AT: usize>(&mut self, first: usize) {
        let constants = four(K[first], K[first + 1], K[first + 2], K[first + 3]);
        let words = vaddq_u32(self.words[AT], constants);
        let before = self.abcd;
        self.abcd = vsha256hq_u32(before, self.efgh, words);
        self.efgh = vsha256h2q_u32(self.efgh, before, words);
    }

    /// Replaces the oldest four words, at `A`, with the next four of the message schedule.
    #[inline]
    #[target_feature(enable = "sha2,neon")]
    fn schedule<const A: usize, const B: usize, const C: usize, const D: usize>(&mut self) {
        let [a, b, c, d] = [self.words[A], self.words[B], self.words[C], self.words[D]];
        self.words[A] = vsha256su1q_u32(vsha256su0q_u32(a, b), c, d);
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn add(&mut self, (abcd, efgh): (uint32x4_t, uint32x4_t)) {
        self.abcd = vaddq_u32(self.abcd, abcd);
        self.efgh = vaddq_u32(self.efgh, efgh);
    }
}

/// Returns a vector of four words, with the first in the lowest lane.
#[inline]
#[target_feature(enable = "neon")]
fn four(a: u32, b: u32, c: u32, d: u32) -> uint32x4_t {
    let pair = |low: u32, high: u32| vcreate_u64(u64::from(low) | u64::from(high) << 32);
    vreinterpretq_u32_u64(vcombine_u64(pair(a, b), pair(c, d)))
}
