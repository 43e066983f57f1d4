//! Checks of Arrow IPC messages before their buffers are touched.

use arrow_ipc::{Message, RecordBatch};

/// The longest buffer that is unpacked.
const MAX_BUFFER_BYTES: i64 = 1 << 33;

/// Reads the flatbuffer of a message behind its length prefix.
pub(super) fn parse(prefixed: &[u8]) -> Result<Message<'_>, String> {
    let skip = if prefixed.starts_with(&[0xff; 4]) { 8 } else { 4 };
    let bytes = prefixed.get(skip..).ok_or("a message is shorter than its prefix")?;
    arrow_ipc::root_as_message(bytes).map_err(|error| format!("a message cannot be read: {error}"))
}

/// The rows that a message holds; none when it holds no rows at all.
pub(super) fn rows(message: &Message<'_>) -> Result<Option<u64>, String> {
    let Some(batch) = message.header_as_record_batch() else { return Ok(None) };
    u64::try_from(batch.length()).map(Some).map_err(|_| "a batch has a negative number of rows".to_owned())
}

/// Checks that the buffers a message names lie in its body, and that none unpacks to an absurd size.
pub(super) fn check(message: &Message<'_>, body: &[u8]) -> Result<(), String> {
    let dictionary = message.header_as_dictionary_batch();
    let batch: Option<RecordBatch<'_>> =
        message.header_as_record_batch().or_else(|| dictionary.and_then(|dictionary| dictionary.data()));
    let Some(batch) = batch else { return Ok(()) };
    let compressed = batch.compression().is_some();
    for buffer in batch.buffers().iter().flatten() {
        let range = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
        let bytes = range.and_then(|(offset, length)| body.get(offset..offset.checked_add(length)?));
        let bytes = bytes.ok_or("a buffer lies outside its message")?;
        if compressed
            && let Some(length) = bytes.first_chunk::<8>()
            && i64::from_le_bytes(*length) > MAX_BUFFER_BYTES
        {
            return Err("a buffer says that it unpacks to more than 8 GiB".to_owned());
        }
    }
    Ok(())
}
