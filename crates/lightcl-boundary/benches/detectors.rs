//! Nanoseconds a value of every change detector, all on one sequence, beside river's.
//!
//! ```text
//! LIGHTCL_RIVER_PYTHON=python cargo bench --profile dev -p lightcl-boundary --bench detectors [-- --values N]
//! ```
//! `LIGHTCL_RIVER_PYTHON` names a python with river 0.26.1 (`pip install river==0.26.1`); without it river is left out.
//! The same detector's two measurements are taken one right after the other: ours over N values five times, the median
//! counts; river's over a tenth of them (it is slower) three times. River's include the loop of a Python program.

use lightcl_boundary::scalar::{
    Adwin, AdwinConfig, Bayesian, BayesianConfig, BayesianModel, Cusum, CusumConfig, Ddm, DdmConfig, Eddm, EddmConfig,
    HddmA, HddmAConfig, HddmW, HddmWConfig, Kswin, KswinConfig, PageHinkley, PageHinkleyConfig, ScalarDetector,
};
use lightcl_core::Result;
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

type Make = fn() -> Result<Box<dyn ScalarDetector>>;

/// Name, how to make it, and whether river has it.
const DETECTORS: [(&str, Make, bool); 10] = [
    ("adwin", || Ok(Box::new(Adwin::new(AdwinConfig::default())?)), true),
    ("page_hinkley", || Ok(Box::new(PageHinkley::new(PageHinkleyConfig::default())?)), true),
    ("ddm", || Ok(Box::new(Ddm::new(DdmConfig::default())?)), true),
    ("eddm", || Ok(Box::new(Eddm::new(EddmConfig::default())?)), true),
    ("hddm_a", || Ok(Box::new(HddmA::new(HddmAConfig::default())?)), true),
    ("hddm_w", || Ok(Box::new(HddmW::new(HddmWConfig::default())?)), true),
    ("kswin", || Ok(Box::new(Kswin::new(KswinConfig::default())?)), true),
    ("cusum", || Ok(Box::new(Cusum::new(CusumConfig::default())?)), false),
    ("bayesian", || Ok(Box::new(Bayesian::new(BayesianConfig::default())?)), false),
    (
        "bayesian, normal",
        || {
            let config = BayesianConfig { model: BayesianModel::Normal, ..BayesianConfig::default() };
            Ok(Box::new(Bayesian::new(config)?))
        },
        false,
    ),
];

/// Zeros and ones whose rate goes from a tenth to two fifths and back every 5000 values; `benches/river_detectors.py`
/// makes the same.
fn sequence(length: usize) -> Vec<f64> {
    let mut random = 1_u32;
    (0..length)
        .map(|index| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let rate = if index / 5000 % 2 == 0 { 0.1 } else { 0.4 };
            if f64::from(random) / 4_294_967_296.0 < rate { 1.0 } else { 0.0 }
        })
        .collect()
}

/// Nanoseconds a value (the median of five runs) and the number of changes.
fn ours(make: Make, values: &[f64]) -> Result<(f64, usize)> {
    let (mut times, mut changes) = (Vec::new(), 0);
    for _ in 0..5 {
        let mut detector = make()?;
        let start = Instant::now();
        changes = values.iter().filter(|&&value| black_box(detector.update(black_box(value))).is_detected()).count();
        times.push(start.elapsed().as_secs_f64() * 1e9 / values.len() as f64);
    }
    times.sort_unstable_by(f64::total_cmp);
    Ok((times[2], changes))
}

/// The same of river's, from the script; an explanation when it cannot run.
fn rivers(name: &str, length: usize) -> Result<(f64, usize), String> {
    let python = std::env::var("LIGHTCL_RIVER_PYTHON").map_err(|_| "LIGHTCL_RIVER_PYTHON is not set".to_owned())?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/river_detectors.py");
    let output = Command::new(&python)
        .args([script, name, &length.to_string()])
        .output()
        .map_err(|error| format!("{python} does not run: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("it failed").to_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut fields = text.split_whitespace();
    let time = fields.next().and_then(|field| field.parse().ok());
    let changes = fields.next().and_then(|field| field.parse().ok());
    time.zip(changes).ok_or_else(|| format!("the script printed {text:?}"))
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().position(|argument| argument == "--values").and_then(|at| arguments.get(at + 1));
    let length = given.and_then(|length| length.parse().ok()).unwrap_or(500_000_usize).max(10_000);
    let values = sequence(length);
    println!("{length} values; river over {}", length / 10);
    println!("{:<18} {:>10} {:>8} {:>12} {:>8}", "detector", "ns/value", "changes", "river ns", "ratio");
    let mut left_out = None;
    for (name, make, has_river) in DETECTORS {
        let (time, changes) = ours(make, &values)?;
        let river = if !has_river {
            "-".to_owned()
        } else {
            match rivers(name, length / 10) {
                Ok((river, river_changes)) => {
                    // KSWIN draws at random, so its number may differ.
                    let same = name == "kswin" || ours(make, &values[..length / 10])?.1 == river_changes;
                    let note = if same { "" } else { "  (other number of changes)" };
                    format!("{river:>12.0} {:>7.0}x{note}", river / time)
                }
                Err(reason) => {
                    left_out = Some(reason);
                    "-".to_owned()
                }
            }
        };
        println!("{name:<18} {time:>10.1} {changes:>8} {river:>12}");
    }
    if let Some(reason) = left_out {
        println!("river is left out: {reason}");
    }
    Ok(())
}
