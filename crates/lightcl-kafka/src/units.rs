//! Names of what a learner learns from: they stand in keys of the snapshot topic and in the state.

/// The unit with `scope = "global"`.
pub const GLOBAL: &str = "global";

/// The unit of a partition.
pub fn of_partition(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// The unit of a key in its partition. Bytes that are no text stand as `\x` and two hexadecimal digits, a backslash as two,
/// so that two keys never have one name; a record without a key belongs to the unit of its partition.
///
/// ```
/// use lightcl_kafka::units;
///
/// assert_eq!(units::of_key("t", 1, Some(b"shop-7")), "t-1/shop-7");
/// assert_eq!(units::of_key("t", 1, Some(&[b'a', 0xff])), r"t-1/a\xff");
/// assert_eq!(units::of_key("t", 1, None), "t-1");
/// ```
pub fn of_key(topic: &str, partition: i32, key: Option<&[u8]>) -> String {
    use std::fmt::Write;
    let Some(key) = key else { return of_partition(topic, partition) };
    let mut unit = of_partition(topic, partition);
    unit.push('/');
    for chunk in key.utf8_chunks() {
        unit.push_str(&chunk.valid().replace('\\', r"\\"));
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(unit, r"\x{byte:02x}");
        }
    }
    unit
}
