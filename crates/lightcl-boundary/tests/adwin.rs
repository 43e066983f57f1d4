//! ADWIN fires where river 0.26.1's does (`tests/data/make_adwin.py` made the fixture), to the last index, and its
//! window is the same in the end.
#![allow(clippy::unwrap_used, reason = "a test")]

use lightcl_boundary::{Adwin, AdwinConfig};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Fixture {
    settings: BTreeMap<String, AdwinConfig>,
    sequences: Vec<Sequence>,
}

#[derive(Deserialize)]
struct Sequence {
    name: String,
    runs: BTreeMap<String, Run>,
    values: Vec<f64>,
}

#[derive(Deserialize)]
struct Run {
    hits: Vec<usize>,
    width: u64,
    estimation: f64,
    /// river's `variance` is the sum of squared deviations.
    variance: f64,
}

#[test]
fn fires_at_exactly_the_reference_indices() {
    let fixture: Fixture = serde_json::from_str(include_str!("data/adwin.json")).unwrap();
    assert_eq!((fixture.sequences.len(), fixture.settings.len()), (12, 5));
    let mut fired = 0;
    for sequence in &fixture.sequences {
        for (name, expected) in &sequence.runs {
            let mut adwin = Adwin::new(fixture.settings[name].clone()).unwrap();
            let hits: Vec<usize> = (0..sequence.values.len()).filter(|&i| adwin.update(sequence.values[i])).collect();
            let case = format!("{} with {name}", sequence.name);
            assert_eq!(hits, expected.hits, "{case}");
            assert_eq!(adwin.width(), expected.width, "{case}");
            let close = |found: f64, expected: f64| (found - expected).abs() <= 1e-9 * expected.abs().max(1.0);
            assert!(close(adwin.estimation(), expected.estimation), "{case}: {}", adwin.estimation());
            assert!(close(adwin.variance() * adwin.width() as f64, expected.variance), "{case}: {}", adwin.variance());
            fired += hits.len();
        }
    }
    assert!(fired > 80, "{fired}");
}
