//! Computes SHA-256's compression function over two independent inputs at once.
//!
//! The latency of its instructions limits one chain of SHA-256: each round waits for the previous one. The interleaved
//! rounds of two independent chains fill the gaps, so one core hashes nearly twice as much. The crate detects the
//! processor's instructions at run time. Without instructions for SHA-256, it compresses one input after the other.
//!
//! This crate holds the only unsafe code of the project: one call for each architecture, of a function that is compiled for
//! instructions which only some processors have. Nothing else may be added.
//!
//! Source: FIPS 180-4.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use sha2::block_api::compress256;

/// Length of a block in bytes.
pub const BLOCK_LEN: usize = 64;

/// A block of input.
pub type Block = [u8; BLOCK_LEN];

/// A chaining value: eight words, in the order of FIPS 180-4 (H0 to H7).
pub type State = [u32; 8];

/// Compresses `blocks` into `state`, in order.
pub fn compress(state: &mut State, blocks: &[Block]) {
    compress256(state, blocks);
}

/// Compresses `a` into `state_a` and `b` into `state_b`, with interleaved rounds while both have blocks.
///
/// The result is that of [`compress`] for each. It is faster if the two have about the same length.
pub fn compress2(state_a: &mut State, a: &[Block], state_b: &mut State, b: &[Block]) {
    let both = a.len().min(b.len());
    let ((a, rest_a), (b, rest_b)) = (a.split_at(both), b.split_at(both));
    interleaved(state_a, a, state_b, b);
    compress(state_a, rest_a);
    compress(state_b, rest_b);
}

/// Returns whether this processor compresses two inputs faster at once than one after the other.
pub fn is_interleaved() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("sha2");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    false
}

fn interleaved(state_a: &mut State, a: &[Block], state_b: &mut State, b: &[Block]) {
    #[cfg(target_arch = "x86_64")]
    if is_interleaved() {
        // SAFETY: the function only needs a processor with SHA-NI and SSE 4.1, which was just detected. SSE 4.1 implies
        // SSSE3, as rustc assumes too. The function takes references only.
        return unsafe { x86_64::compress2(state_a, a, state_b, b) };
    }
    #[cfg(target_arch = "aarch64")]
    if is_interleaved() {
        // SAFETY: the function only needs a processor with the SHA-256 instructions of ARMv8, which were just detected. Every
        // AArch64 target with a standard library has NEON. The function takes references only.
        return unsafe { aarch64::compress2(state_a, a, state_b, b) };
    }
    compress(state_a, a);
    compress(state_b, b);
}

/// K(0) to K(63), FIPS 180-4 section 4.2.2.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const K: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];
