//! What the client's safe interface does not give: headers whose names are not UTF-8 (its own iterator
//! panics on them), and the generation of a group's metadata (without which a fence could be missing unseen), and
//! tokens for clients that nobody polls, and commits of offsets that end in time.

use crate::records::{Header, NewRecord, RecordBlock};
use lightcl_core::{Error, Result};
use rdkafka::bindings as native;
use rdkafka::client::{Client, OAuthToken};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, TopicPartitionList};
use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::time::Duration;

/// Calls `visit` with the headers of a message, in order.
#[expect(unsafe_code, reason = "the crate's own reader of headers panics where a name is not UTF-8")]
fn with_headers<T>(message: &BorrowedMessage<'_>, visit: impl FnOnce(&[Header<'_>]) -> T) -> T {
    let mut headers: Vec<Header<'_>> = Vec::new();
    let mut list = ptr::null_mut();
    // SAFETY: the message is alive as long as the borrow, and owns its headers; `list` is only read when the call says
    // that there are some. (A call of this function may parse them, which the client does under its own rules; a message
    // is read by one thread, since `BorrowedMessage` is not shared here.)
    let found = unsafe { native::rd_kafka_message_headers(message.ptr(), &mut list) };
    if found == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && !list.is_null() {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        for index in 0.. {
            // SAFETY: `list` came from the call above and lives as long as the message; the three places are ours. An
            // index beyond the end is an error by contract, not undefined.
            let found = unsafe { native::rd_kafka_header_get_all(list, index, &mut name, &mut value, &mut size) };
            if found != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
                break;
            }
            // SAFETY: names end with a zero byte by contract and live as long as the list.
            let name = unsafe { CStr::from_ptr(name) }.to_bytes();
            // SAFETY: a value that is not null has `size` bytes and lives as long as the list.
            let value = (!value.is_null()).then(|| unsafe { std::slice::from_raw_parts(value.cast::<u8>(), size) });
            headers.push(Header { name, value });
        }
    }
    visit(&headers)
}

/// Copies a message into a block.
pub fn push(block: &mut RecordBlock, message: &BorrowedMessage<'_>) {
    with_headers(message, |headers| {
        block.push(NewRecord {
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key(),
            value: message.payload(),
            headers,
        });
    });
}

/// The generation in which a consumer is a member of its group; negative while it is none.
#[expect(unsafe_code, reason = "the crate does not tell the generation")]
pub fn generation<C: rdkafka::ClientContext>(client: &Client<C>) -> i32 {
    // SAFETY: the client is alive; the metadata is a copy that is ours to destroy, and is read before that only.
    unsafe {
        let metadata = native::rd_kafka_consumer_group_metadata(client.native_ptr());
        if metadata.is_null() {
            return -1;
        }
        let generation = native::rd_kafka_consumer_group_metadata_generation_id(metadata);
        native::rd_kafka_consumer_group_metadata_destroy(metadata);
        generation
    }
}

/// Commits offsets, and waits for at most so long. The crate's own way waits for as long as no coordinator answers.
///
/// # Errors
/// When they are not taken in time, or refused.
#[expect(unsafe_code, reason = "the crate only waits for ever")]
pub fn commit<C: rdkafka::ClientContext>(
    client: &Client<C>,
    offsets: &TopicPartitionList,
    timeout: Duration,
) -> KafkaResult<()> {
    let failed = |code: native::rd_kafka_resp_err_t| match code {
        native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(KafkaError::ConsumerCommit(code.into())),
    };
    let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client and the list outlive the call, which copies the list; there is no callback, so that the answer comes as an
    // event to the queue. Queue and event are ours, come from the calls above their use, are looked at when not null, and are
    // destroyed once; a queue may go while an answer is under way, which is then dropped.
    unsafe {
        let queue = native::rd_kafka_queue_new(client.native_ptr());
        let asked = native::rd_kafka_commit_queue(client.native_ptr(), offsets.ptr(), queue, None, ptr::null_mut());
        let result = failed(asked).and_then(|()| {
            let event = native::rd_kafka_queue_poll(queue, milliseconds);
            if event.is_null() {
                return failed(native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__TIMED_OUT);
            }
            let code = native::rd_kafka_event_error(event);
            native::rd_kafka_event_destroy(event);
            failed(code)
        });
        native::rd_kafka_queue_destroy(queue);
        result
    }
}

/// Gives a client that nobody polls the token that it would ask for.
///
/// # Errors
/// When the client takes no tokens, or not this one.
#[expect(unsafe_code, reason = "the crate only sets tokens while a client is polled")]
pub fn set_oauth_token<C: rdkafka::ClientContext>(client: &Client<C>, token: &OAuthToken) -> Result<()> {
    let refused = |why: String| Error::user("the Kafka client does not take the token").with("reason", why);
    let text = |text: &str| CString::new(text).map_err(|_| refused("it holds a zero byte".to_owned()));
    let (value, principal) = (text(&token.token)?, text(&token.principal_name)?);
    let mut why = [0 as c_char; 512];
    // SAFETY: the client is alive; both texts end with a zero byte and outlive the call; there are no extensions; the last
    // two say where an error is written and how much room is there, which leaves its last byte zero.
    let result = unsafe {
        native::rd_kafka_oauthbearer_set_token(
            client.native_ptr(),
            value.as_ptr(),
            token.lifetime_ms,
            principal.as_ptr(),
            ptr::null_mut(),
            0,
            why.as_mut_ptr(),
            why.len(),
        )
    };
    if result == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    let bytes: Vec<u8> = why.iter().map(|&byte| byte as u8).take_while(|&byte| byte != 0).collect();
    Err(refused(String::from_utf8_lossy(&bytes).into_owned()))
}
