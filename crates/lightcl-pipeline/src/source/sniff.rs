//! What a file seems to be, by its first bytes.

/// First bytes of a Parquet file, and its last.
pub(super) const PARQUET_MAGIC: &[u8] = b"PAR1";
/// First bytes of the Arrow IPC file format, and its last.
pub(super) const ARROW_MAGIC: &[u8] = b"ARROW1";
/// First bytes of each message of the Arrow IPC stream format.
pub(super) const ARROW_CONTINUATION: &[u8] = &[0xff; 4];

/// Formats told by their first bytes.
const KNOWN: &[(&[u8], &str)] = &[
    (ARROW_MAGIC, "an Arrow IPC file (type = \"arrow\")"),
    (ARROW_CONTINUATION, "an Arrow IPC stream (type = \"arrow\")"),
    (PARQUET_MAGIC, "a Parquet file (type = \"parquet\")"),
    (b"FEA1", "a Feather file of version 1, which is not read; write it as version 2"),
    (b"Obj\x01", "an Avro file, which is not read"),
    (b"ORC", "an ORC file, which is not read"),
    (b"\x89HDF", "an HDF5 file, which is not read"),
    (b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it first"),
    (b"BZh", "compressed with bzip2; unpack it first"),
    (b"\xfd7zXZ", "compressed with xz; unpack it first"),
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet; unpack it first"),
    (b"SQLite format 3", "an SQLite database, which is not read"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
];

/// What a file that begins with these bytes seems to be, where that is clear.
pub(super) fn binary_format(start: &[u8]) -> Option<&'static str> {
    KNOWN.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, what)| *what)
}

/// What a file that begins with these bytes seems to be.
pub(super) fn describe(start: &[u8]) -> &'static str {
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
    match binary_format(start) {
        Some(what) => what,
        None if start.is_empty() => "empty",
        None if start.contains(&0) || std::str::from_utf8(start).is_err_and(|error| error.error_len().is_some()) => {
            "of an unknown binary format"
        }
        None if first == Some(&b'{') => "JSON (type = \"jsonl\" reads one object a line)",
        None if start.contains(&b',') || start.contains(&b';') || start.contains(&b'\t') => "text (type = \"csv\"?)",
        None => "text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        assert!(describe(b"PAR1....").contains("Parquet"));
        assert!(describe(b"\x1f\x8b\x08").contains("gzip"));
        assert!(describe(b"  {\"a\": 1}").contains("jsonl"));
        assert!(describe(b"a,b\n1,2").contains("csv"));
        assert!(describe(b"\x00\x01").contains("unknown"));
        assert_eq!((describe(b""), describe("é".as_bytes())), ("empty", "text"));
    }
}
