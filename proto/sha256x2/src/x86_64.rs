//! Compresses two chains on one core with SHA-NI.
//!
//! Only the call of this module is unsafe: values go into registers by value, never by pointer. The state is in the order
//! that the instructions need, `abef` and `cdgh`.
//!
//! Source: Intel, "New Instructions Supporting the Secure Hash Algorithm", 2013.

use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x,
    _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32,
};

use crate::{Block, K, State};

/// One chain: its state, and the last 16 words of its message schedule.
struct Lane {
    abef: __m128i,
    cdgh: __m128i,
    words: [__m128i; 4],
}

/// Compresses two inputs of the same number of blocks. Ignores further blocks of the longer one.
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub(crate) fn compress2(state_a: &mut State, a: &[Block], state_b: &mut State, b: &[Block]) {
    let (mut one, mut two) = (Lane::load(state_a), Lane::load(state_b));
    for (block_a, block_b) in a.iter().zip(b) {
        let (before_one, before_two) = ((one.abef, one.cdgh), (two.abef, two.cdgh));
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
    #[target_feature(enable = "sse2")]
    fn load(state: &State) -> Self {
        let [a, b, c, d, e, f, g, h] = state.map(u32::cast_signed);
        let nothing = _mm_set_epi32(0, 0, 0, 0);
        Self { abef: _mm_set_epi32(a, b, e, f), cdgh: _mm_set_epi32(c, d, g, h), words: [nothing; 4] }
    }

    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn store(&self, state: &mut State) {
        let (abef, cdgh) = (self.abef, self.cdgh);
        let [a, b] = [_mm_extract_epi32::<3>(abef), _mm_extract_epi32::<2>(abef)];
        let [e, f] = [_mm_extract_epi32::<1>(abef), _mm_extract_epi32::<0>(abef)];
        let [c, d] = [_mm_extract_epi32::<3>(cdgh), _mm_extract_epi32::<2>(cdgh)];
        let [g, h] = [_mm_extract_epi32::<1>(cdgh), _mm_extract_epi32::<0>(cdgh)];
        *state = [a, b, c, d, e, f, g, h].map(i32::cast_unsigned);
    }

    /// Loads a block as 16 big-endian words.
    #[inline]
    #[target_feature(enable = "ssse3")]
    fn take(&mut self, block: &Block) {
        let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        for (words, bytes) in self.words.iter_mut().zip(block.as_chunks::<16>().0) {
            let number = i128::from_le_bytes(*bytes);
            // This compiles to one load of 16 bytes.
            *words = _mm_shuffle_epi8(_mm_set_epi64x((number >> 64) as i64, number as i64), swap);
        }
    }

    /// Computes four rounds from round `first` on, with the words at `AT`.
    #[inline]
    #[target_feature(enable = "sha,sse2")]
    fn rounds<const AT: usize>(&mut self, first: usize) {
        let k = |round: usize| K[round].cast_signed();
        let constants = _mm_set_epi32(k(first + 3), k(first + 2), k(first + 1), k(first));
        let words = _mm_add_epi32(self.words[AT], constants);
        self.cdgh = _mm_sha256rnds2_epu32(self.cdgh, self.abef, words);
        self.abef = _mm_sha256rnds2_epu32(self.abef, self.cdgh, _mm_shuffle_epi32::<0x0e>(words));
    }

    /// Replaces the oldest four words, at `A`, by the next four of the message schedule.
    #[inline]
    #[target_feature(enable = "sha,ssse3")]
    fn schedule<const A: usize, const B: usize, const C: usize, const D: usize>(&mut self) {
        let [a, b, c, d] = [self.words[A], self.words[B], self.words[C], self.words[D]];
        let sum = _mm_add_epi32(_mm_sha256msg1_epu32(a, b), _mm_alignr_epi8::<4>(d, c));
        self.words[A] = _mm_sha256msg2_epu32(sum, d);
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn add(&mut self, (abef, cdgh): (__m128i, __m128i)) {
        self.abef = _mm_add_epi32(self.abef, abef);
        self.cdgh = _mm_add_epi32(self.cdgh, cdgh);
    }
}
