//! A boundary detector of your own: a new task begins where the stream was silent for a while.
//!
//!     cargo run -p lightcl --example own_detector

use lightcl_core::{BoundaryDetector, Observation, Result, Stateful, Verdict, state};

/// Fires when event time jumps by more than `gap_us` microseconds.
struct Silence {
    gap_us: i64,
    last: Option<i64>,
    is_first: bool,
}

impl BoundaryDetector for Silence {
    fn name(&self) -> &str {
        "silence"
    }

    fn observe(&mut self, seen: &Observation<'_>) -> Verdict {
        let Some(now) = seen.event_time else { return Verdict::Stable };
        let silent = self.last.map_or(0, |last| now.saturating_sub(last));
        self.last = Some(now);
        if std::mem::take(&mut self.is_first) || silent <= self.gap_us {
            return Verdict::Stable;
        }
        let message = format!("nothing came for {} s", silent / 1_000_000);
        Verdict::boundary(seen.index, "silence", message)
    }

    fn reset(&mut self) {
        // The last event time is kept: the row that fired was the first after the silence.
    }
}

impl Stateful for Silence {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode("silence", 1, &(self.last, self.is_first))
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        (self.last, self.is_first) = state::decode("silence", 1, bytes)?;
        Ok(())
    }
}

fn main() -> Result<()> {
    let mut detector = Silence { gap_us: 3_600_000_000, last: None, is_first: true };
    // A row a minute, a night of silence after 500 rows.
    for index in 0..1000_u64 {
        let minutes = index as i64 + if index < 500 { 0 } else { 600 };
        let observation = Observation {
            index,
            label: 0,
            predicted: Some(0),
            loss: 0.1,
            margin: 0.9,
            entropy: 0.1,
            task_key: None,
            event_time: Some(minutes * 60_000_000),
            features: &[],
            activations: &[],
            pattern_loss: None,
        };
        if let Verdict::Boundary { at, evidence } = detector.observe(&observation) {
            println!("a new task begins at row {at}: {}", evidence[0].message);
            detector.reset();
        }
    }
    // The suite that every detector of lightcl passes.
    lightcl_testkit::conformance::detector(|| Box::new(Silence { gap_us: 3_600_000_000, last: None, is_first: true }));
    println!("passes the conformance suite for detectors");
    Ok(())
}
