//! [`draw`]: where the random numbers of the rooms come from.

/// Draws a number; `None` where the system gives no random ones.
pub(super) fn draw() -> Option<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).ok()?;
    Some(u64::from_le_bytes(bytes))
}
