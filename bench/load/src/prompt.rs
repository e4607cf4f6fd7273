//! Seeded request bodies that give prefix trees real work: half of each prompt is one of 64 shared prefixes, the
//! rest is its own.

use std::sync::Arc;

use bytes::Bytes;

const NOISE: usize = 4 << 20;
const SHARED: u64 = 64;
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz   eta";

/// Xorshift64*: enough randomness for text, and the same everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

/// Text that all prompts of a run are cut from: copying slices keeps large bodies cheap for the generator.
pub(crate) fn noise(seed: u64) -> Arc<[u8]> {
    let mut random = Random::new(seed);
    let mut text = Vec::with_capacity(NOISE);
    while text.len() < NOISE {
        let mut bits = random.next();
        for _ in 0..12 {
            text.push(LETTERS[(bits & 31) as usize]);
            bits >>= 5;
        }
    }
    text.truncate(NOISE);
    text.into()
}

/// The size and the plan of the bodies of one run.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Bytes of the whole body.
    pub(crate) bytes: usize,
    pub(crate) max_tokens: u64,
    pub(crate) stream: bool,
}

/// A sequence of bodies.
pub(crate) struct Prompts {
    noise: Arc<[u8]>,
    random: Random,
    shape: Shape,
}

impl Prompts {
    pub(crate) fn new(noise: Arc<[u8]>, seed: u64, shape: Shape) -> Self {
        Self {
            noise,
            random: Random::new(seed),
            shape,
        }
    }

    pub(crate) fn next(&mut self) -> Bytes {
        let Shape {
            bytes,
            max_tokens,
            stream,
        } = self.shape;
        let head = r#"{"model":"bench","messages":[{"role":"user","content":""#;
        let tail = format!(r#""}}],"max_tokens":{max_tokens},"stream":{stream}}}"#);
        let text = bytes
            .saturating_sub(head.len() + tail.len())
            .clamp(32, NOISE / 2);
        let unique = format!("{:016x}", self.random.next());
        let shared = text / 2;
        let own = text - shared - unique.len();
        let mut body = Vec::with_capacity(bytes.max(256));
        body.extend_from_slice(head.as_bytes());
        let which = self.random.next() % SHARED;
        body.extend_from_slice(self.slice(which * (NOISE as u64 / 2 / SHARED), shared));
        body.extend_from_slice(unique.as_bytes());
        let from = self.random.next() % (NOISE as u64 / 2);
        body.extend_from_slice(self.slice(from, own));
        body.extend_from_slice(tail.as_bytes());
        body.into()
    }

    fn slice(&self, from: u64, length: usize) -> &[u8] {
        self.noise
            .get(from as usize..from as usize + length)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts(bytes: usize, seed: u64) -> Prompts {
        Prompts::new(
            noise(1),
            seed,
            Shape {
                bytes,
                max_tokens: 256,
                stream: false,
            },
        )
    }

    #[test]
    fn bodies_have_the_asked_size_and_repeat_by_seed() {
        for bytes in [200, 8192, 1 << 20] {
            let (mut one, mut two) = (prompts(bytes, 7), prompts(bytes, 7));
            for _ in 0..3 {
                let body = one.next();
                assert_eq!(body.len(), bytes);
                assert_eq!(body, two.next());
            }
        }
    }

    #[test]
    fn prompts_differ_but_share_prefixes() {
        let mut prompts = prompts(8192, 3);
        let bodies: Vec<_> = (0..256).map(|_| prompts.next()).collect();
        let whole: std::collections::BTreeSet<_> = bodies.iter().collect();
        let prefixes: std::collections::BTreeSet<_> =
            bodies.iter().map(|body| &body[..2000]).collect();
        assert_eq!(whole.len(), 256);
        assert!(prefixes.len() <= SHARED as usize);
    }
}
