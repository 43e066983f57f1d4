//! Saving and restoring: versioned bytes and the hash that identifies them.

use crate::{Error, Result};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

/// Something whose whole state can be written to bytes and put back.
///
/// `restore(save())` must leave an object that behaves, to the last bit, as the saved one would have: a run that is
/// killed and resumed ends with the same bytes as one that was not. Bytes that are damaged, from a newer version or
/// from another kind of object give an error and leave the object as it was.
pub trait Stateful {
    /// The state as versioned bytes (see [`encode`]).
    ///
    /// # Errors
    /// When the state cannot be encoded; never because of its content.
    fn save(&self) -> Result<Vec<u8>>;

    /// Puts a saved state back.
    ///
    /// # Errors
    /// When the bytes are damaged or were saved by something else; `self` is then unchanged.
    fn restore(&mut self, bytes: &[u8]) -> Result<()>;
}

/// Writes `value` behind a tag of what it is and a version of its layout.
///
/// The tag keeps the state of one algorithm from being read as that of another that happens to have the same shape.
///
/// ```
/// use lightcl_core::state;
///
/// let bytes = state::encode("counter", 1, &7_u64)?;
/// assert_eq!(state::decode::<u64>("counter", 1, &bytes)?, 7);
/// assert!(state::decode::<u64>("other", 1, &bytes).is_err());
/// # Ok::<(), lightcl_core::Error>(())
/// ```
///
/// # Errors
/// When `value` has a part that has no binary form.
pub fn encode<T: Serialize + ?Sized>(tag: &str, version: u16, value: &T) -> Result<Vec<u8>> {
    let header = postcard::to_stdvec(&(tag, version)).map_err(|e| failed("encode", tag, e))?;
    postcard::to_extend(value, header).map_err(|e| failed("encode", tag, e))
}

/// Reads what [`encode`] wrote with the same tag and version.
///
/// # Errors
/// When the bytes are damaged, have bytes left over, or carry another tag or version.
pub fn decode<T: DeserializeOwned>(tag: &str, version: u16, bytes: &[u8]) -> Result<T> {
    let ((found_tag, found_version), rest) =
        postcard::take_from_bytes::<(String, u16)>(bytes).map_err(|e| failed("decode", tag, e))?;
    if found_tag != tag || found_version != version {
        return Err(Error::user("the saved state was written by something else; start over with --fresh")
            .with("expected", format!("{tag} version {version}"))
            .with("found", format!("{found_tag} version {found_version}")));
    }
    let (value, rest) = postcard::take_from_bytes::<T>(rest).map_err(|e| failed("decode", tag, e))?;
    if !rest.is_empty() {
        return Err(Error::user("the saved state has bytes left over").with("state", tag).with("bytes", rest.len()));
    }
    Ok(value)
}

fn failed(action: &str, tag: &str, error: postcard::Error) -> Error {
    Error::user(format!("cannot {action} the saved state")).with("state", tag).caused_by(error)
}

/// The SHA-256 of some bytes in lower-case hexadecimal.
///
/// ```
/// assert!(lightcl_core::state::sha256_hex(b"").starts_with("e3b0c442"));
/// ```
pub fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_refuses_another_version_and_trailing_bytes() {
        let mut bytes = encode("thing", 2, &vec![1.5_f64, -0.0]).unwrap();
        assert!(decode::<Vec<f64>>("thing", 1, &bytes).is_err());
        assert_eq!(decode::<Vec<f64>>("thing", 2, &bytes).unwrap(), vec![1.5, -0.0]);
        bytes.push(0);
        assert!(decode::<Vec<f64>>("thing", 2, &bytes).is_err());
    }

    #[test]
    fn decode_of_truncated_bytes_is_an_error() {
        let bytes = encode("thing", 1, &vec![3_u32; 9]).unwrap();
        for end in 0..bytes.len() {
            assert!(decode::<Vec<u32>>("thing", 1, &bytes[..end]).is_err(), "{end}");
        }
    }
}
