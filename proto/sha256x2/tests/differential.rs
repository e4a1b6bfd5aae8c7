//! Checks that two chains at once give the result of sha2 for each, for random states and lengths and NIST's vectors.
//!
//! `REG_FULL=1` runs a million cases. The seed is fixed, so every run is the same.

use reg_sha256x2::{Block, State, compress, compress2, is_interleaved};
use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

const IV: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// xorshift64: Marsaglia, "Xorshift RNGs", 2003.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn state(&mut self) -> State {
        std::array::from_fn(|_| (self.next() >> 16) as u32)
    }

    fn blocks(&mut self, count: usize) -> Vec<Block> {
        let mut fill = || std::array::from_fn(|_| (self.next() >> 24) as u8);
        (0..count).map(|_| fill()).collect()
    }
}

fn cases() -> u64 {
    let is_full = std::env::var_os("REG_FULL").is_some_and(|value| value != "0");
    // An interpreter needs a second for each hundred cases.
    if cfg!(miri) {
        50
    } else if is_full {
        1_000_000
    } else {
        5_000
    }
}

#[test]
fn two_at_once_equal_sha2_for_each() {
    let seed = 0x5eed_0000_0000_0001;
    println!("seed {seed:#x}, {} cases, interleaved: {}", cases(), is_interleaved());
    let mut random = Random(seed);
    for case in 0..cases() {
        let (before_a, before_b) = (random.state(), random.state());
        let (length_a, length_b) = (random.next() % 9, random.next() % 9);
        let (a, b) = (random.blocks(length_a as usize), random.blocks(length_b as usize));
        let (mut state_a, mut state_b) = (before_a, before_b);
        compress2(&mut state_a, &a, &mut state_b, &b);
        let (mut expected_a, mut expected_b) = (before_a, before_b);
        compress256(&mut expected_a, &a);
        compress256(&mut expected_b, &b);
        assert_eq!(
            (state_a, state_b),
            (expected_a, expected_b),
            "case {case}: {length_a} and {length_b} blocks"
        );
        let mut alone = before_a;
        compress(&mut alone, &a);
        assert_eq!(alone, expected_a, "case {case}");
    }
}

/// Returns a message with its padding, FIPS 180-4 section 5.1.1.
fn padded(message: &[u8]) -> Vec<Block> {
    let mut bytes = message.to_vec();
    bytes.push(0x80);
    while bytes.len() % 64 != 56 {
        bytes.push(0);
    }
    bytes.extend((message.len() as u64 * 8).to_be_bytes());
    bytes.as_chunks().0.to_vec()
}

fn hex(state: &State) -> String {
    state.iter().map(|word| format!("{word:08x}")).collect()
}

#[test]
fn nists_vectors_in_every_pair() {
    // FIPS 180-2 appendix B and the empty message of CAVP's SHA256ShortMsg.rsp.
    let vectors: [(&[u8], &str); 4] = [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (
            b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
            "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
        ),
    ];
    for (message_a, digest_a) in vectors {
        for (message_b, digest_b) in vectors {
            let (mut state_a, mut state_b) = (IV, IV);
            compress2(&mut state_a, &padded(message_a), &mut state_b, &padded(message_b));
            assert_eq!((hex(&state_a).as_str(), hex(&state_b).as_str()), (digest_a, digest_b));
        }
    }
}

#[test]
fn nists_million_letters_beside_another_million() {
    if cfg!(miri) {
        return;
    }
    let (mut state_a, mut state_b) = (IV, IV);
    let other = vec![b'b'; 1_000_000];
    compress2(&mut state_a, &padded(&vec![b'a'; 1_000_000]), &mut state_b, &padded(&other));
    assert_eq!(hex(&state_a), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    let expected: String = Sha256::digest(&other).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex(&state_b), expected);
}
