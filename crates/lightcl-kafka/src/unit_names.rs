//! Names of what a learner learns from: they stand in keys of the snapshot and state topics, in outputs and in metrics.

/// The unit with `scope = "global"`.
pub const GLOBAL: &str = "global";

/// The unit of a partition.
pub fn of_partition(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// A record key as a name: bytes that are no text stand as `\x` and two hexadecimal digits, a backslash as two, so that two
/// keys never have one name. A record without a key is as one with an empty key.
///
/// ```
/// use lightcl_kafka::unit_names;
///
/// assert_eq!(unit_names::of_key(Some(&[b'a', 0xff])), r"a\xff");
/// assert_eq!(unit_names::of_key(None), "");
/// ```
pub fn of_key(key: Option<&[u8]>) -> String {
    use std::fmt::Write;
    let mut name = String::new();
    for chunk in key.unwrap_or_default().utf8_chunks() {
        name.push_str(&chunk.valid().replace('\\', r"\\"));
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(name, r"\x{byte:02x}");
        }
    }
    name
}

/// The learner of a key, where every key has its own; that of records without a key has the name of their unit.
///
/// ```
/// use lightcl_kafka::unit_names;
///
/// assert_eq!(unit_names::learner("samples-1", "shop/7"), "samples-1/shop/7");
/// assert_eq!(unit_names::learner("samples-1", ""), "samples-1");
/// ```
pub fn learner(unit: &str, key: &str) -> String {
    if key.is_empty() { unit.to_owned() } else { format!("{unit}/{key}") }
}
