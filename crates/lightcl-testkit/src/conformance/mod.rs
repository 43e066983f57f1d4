//! Suites that say whether an implementation keeps the promises of its trait. Each panics with the promise that is
//! broken; call them from a test of the implementation.

mod detector;
mod learner;
mod sink;
mod source;

pub use detector::detector;
pub use learner::learner;
pub use sink::{SinkUnderTest, label, sink};
pub use source::source;

use crate::random::seeded;
use lightcl_core::Stateful;
use rand::RngExt;

/// States a promise: panics with the message when it does not hold.
macro_rules! promise {
    ($holds:expr, $($message:tt)+) => {
        let holds: bool = $holds;
        if !holds {
            panic!("conformance: {}", format_args!($($message)+));
        }
    };
}
pub(crate) use promise;

/// Unwraps what a promise says must succeed.
#[track_caller]
pub(crate) fn must<T>(result: lightcl_core::Result<T>, what: &str) -> T {
    result.unwrap_or_else(|error| panic!("conformance: {what} failed: {error}"))
}

/// The saved state; also checks that saving twice gives the same bytes.
#[track_caller]
pub(crate) fn saved<T: Stateful + ?Sized>(object: &T, what: &str) -> Vec<u8> {
    let bytes = must(object.save(), what);
    promise!(bytes == must(object.save(), what), "{what}: saving twice gives different bytes");
    bytes
}

/// Restores `object` from damaged forms of `good`: cut short, with bytes added, with bytes changed, and noise. Cut or
/// lengthened bytes must be refused. Whatever is refused must leave the object as it was; whatever is taken must leave
/// one that `exercise` can use without a panic.
pub(crate) fn restores_only_what_is_sound<T: Stateful + ?Sized>(
    object: &mut T,
    good: &[u8],
    seed: u64,
    mutations: usize,
    mut exercise: impl FnMut(&mut T),
) {
    let mut random = seeded(seed);
    let before = saved(object, "save");
    let refused = |object: &mut T, bytes: &[u8], what: &str| {
        promise!(object.restore(bytes).is_err(), "restore takes {what}");
        promise!(saved(object, "save") == before, "restore refuses {what} but changes the object");
    };
    let step = (good.len() / 64).max(1);
    for end in (0..good.len()).step_by(step).chain(good.len().saturating_sub(8)..good.len()) {
        refused(object, &good[..end], &format!("the first {end} of {} bytes", good.len()));
    }
    for added in [&[0][..], &[255; 9]] {
        refused(object, &[good, added].concat(), "a state with bytes added");
    }
    let other = lightcl_core::state::encode("testkit.something_else", 1, &vec![1_u64; 5]).expect("encodes");
    refused(object, &other, "the state of something else");
    for length in [1, 7, 64, 1000] {
        let noise: Vec<u8> = (0..length).map(|_| random.random()).collect();
        refused(object, &noise, "random bytes");
    }
    for _ in 0..mutations {
        let mut bytes = good.to_vec();
        for _ in 0..random.random_range(1..4) {
            let place = random.random_range(0..bytes.len());
            bytes[place] = if random.random_bool(0.3) { 255 } else { random.random() };
        }
        if object.restore(&bytes).is_ok() {
            exercise(object);
            must(object.restore(&before), "restore of the object's own state");
        }
        promise!(saved(object, "save") == before, "a refused restore changes the object");
    }
}
