//! A fixed way to spread the bits of a number.

/// SplitMix64's finaliser (Steele, Lea and Flood 2014): numbers that follow each other become numbers that look drawn. The
/// same on every machine, for choices that depend on a seed and a place alone.
///
/// ```
/// assert_ne!(lightcl_core::mix(1) >> 32, lightcl_core::mix(2) >> 32);
/// ```
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
