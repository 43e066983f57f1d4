//! Speed of the training step: samples a second, milliseconds a step and peak resident bytes for a range of networks.
//!
//! ```text
//! cargo bench --profile dev -p lightcl-learner --bench speed [-- --smoke] [-- --steps N] [-- --case NAME]
//! ```
//! Each case runs in a process of its own, so that its peak memory is its own. Where the environment variable
//! `LIGHTCL_TORCH_YARDSTICK` names the PyTorch yardstick (`lightcl_torch.py`) and `LIGHTCL_PYTHON` (or `python3`) can import
//! torch, the same step is timed there in turns with ours, and the ratio of medians is printed. `--smoke` takes few steps.

use lightcl_core::{Learner, Samples};
use lightcl_learner::{Backbone, LearnerConfig, LightClLearner, MemoryConfig};
use std::process::Command;
use std::time::Instant;

struct Case {
    name: &'static str,
    backbone: Backbone,
    shape: &'static [usize],
    classes: u32,
    batch: usize,
    steps: usize,
    /// Arguments of the yardstick that describe the same network.
    torch: &'static str,
}

fn cases() -> Vec<Case> {
    let mlp = |units: usize| Backbone::Mlp { hidden: vec![units; 4], frozen: 2 };
    let resnet = |width: usize| Backbone::Resnet18 { width };
    vec![
        Case {
            name: "mlp 33-128x4-6 batch 32",
            backbone: mlp(128),
            shape: &[33],
            classes: 6,
            batch: 32,
            steps: 2000,
            torch: "--backbone mlp --inputs 33 --hidden 128 --classes 6 --batch 32",
        },
        Case {
            name: "mlp 33-256x4-6 batch 256",
            backbone: mlp(256),
            shape: &[33],
            classes: 6,
            batch: 256,
            steps: 400,
            torch: "--backbone mlp --inputs 33 --hidden 256 --classes 6 --batch 256",
        },
        Case {
            name: "mlp 128-512x4-2 batch 256",
            backbone: mlp(512),
            shape: &[128],
            classes: 2,
            batch: 256,
            steps: 200,
            torch: "--backbone mlp --inputs 128 --hidden 512 --classes 2 --batch 256",
        },
        Case {
            name: "resnet18 nf=20 batch 32",
            backbone: resnet(20),
            shape: &[3, 32, 32],
            classes: 10,
            batch: 32,
            steps: 12,
            torch: "--backbone resnet18 --nf 20 --batch 32",
        },
        Case {
            name: "resnet18 nf=64 batch 32",
            backbone: resnet(64),
            shape: &[3, 32, 32],
            classes: 10,
            batch: 32,
            steps: 4,
            torch: "--backbone resnet18 --nf 64 --batch 32",
        },
    ]
}

/// Seeded rows in `[0, 1)`, labels in turn.
fn samples(case: &Case, rows: usize, seed: u64) -> Samples {
    let width: usize = case.shape.iter().product();
    let mut state = seed * 2 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 24) as f32
    };
    let rows: Vec<_> = (0..rows).map(|row| ((0..width).map(|_| next()).collect(), row as u32 % case.classes)).collect();
    Samples::from_rows(case.shape, &rows)
}

/// Highest resident memory of this process so far, where the system tells.
fn peak_resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) * 1024
}

/// One case in this process: milliseconds a step and peak bytes, as one line.
fn run_case(case: &Case, steps: usize) -> lightcl_core::Result<String> {
    let config = LearnerConfig {
        backbone: case.backbone.clone(),
        batch_samples: case.batch,
        memory: MemoryConfig::default(),
        ..LearnerConfig::default()
    };
    let mut learner = LightClLearner::new(config, case.shape, None)?;
    // The second task's step: frozen prefix, memory of feature patterns. Windows of a few batches, as in a stream.
    let batches = steps.clamp(1, 8);
    let window = samples(case, case.batch * batches, 1);
    let first = samples(case, case.batch, 2);
    learner.begin_task(&first)?;
    learner.learn(&first)?;
    learner.end_task(&first)?;
    learner.begin_task(&first)?;
    learner.learn(&window)?;
    let start = Instant::now();
    let mut taken = 0;
    while taken < steps as u64 {
        taken += learner.learn(&window)?.steps.max(1);
    }
    let milliseconds = start.elapsed().as_secs_f64() * 1e3 / taken as f64;
    Ok(format!("{milliseconds} {}", peak_resident_bytes()))
}

/// The two numbers that a child process printed.
fn in_child(name: &str, steps: usize) -> Option<(f64, f64)> {
    let output = Command::new(std::env::current_exe().ok()?)
        .args(["--child", name, "--steps", &steps.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

struct Yardstick {
    python: String,
    script: String,
    threads: usize,
}

impl Yardstick {
    fn find() -> Option<Yardstick> {
        let script = std::env::var("LIGHTCL_TORCH_YARDSTICK").ok()?;
        let python = std::env::var("LIGHTCL_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let has_torch = Command::new(&python).args(["-c", "import torch"]).output().is_ok_and(|o| o.status.success());
        if !has_torch {
            eprintln!("LIGHTCL_TORCH_YARDSTICK is set, but {python} cannot import torch: no comparison");
            return None;
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(cores);
        Some(Yardstick { python, script, threads })
    }

    fn milliseconds(&self, case: &Case, steps: usize) -> Option<f64> {
        let output = Command::new(&self.python)
            .args([
                self.script.as_str(),
                "speed",
                "--threads",
                &self.threads.to_string(),
                "--steps",
                &steps.to_string(),
            ])
            .args(case.torch.split_whitespace())
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let rest = text.split("\"ms_per_step\": ").nth(1)?;
        rest.split([',', '}']).next()?.trim().parse().ok()
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |key: &str| arguments.iter().position(|a| a == key).and_then(|at| arguments.get(at + 1));
    let given_steps = value("--steps").and_then(|steps| steps.parse::<usize>().ok());
    if let Some(name) = value("--child") {
        let Some(case) = cases().into_iter().find(|case| case.name == name) else {
            eprintln!("no such case: {name}");
            std::process::exit(2);
        };
        match run_case(&case, given_steps.unwrap_or(case.steps)) {
            Ok(line) => println!("{line}"),
            Err(error) => {
                eprintln!("{error}");
                std::process::exit(1);
            }
        }
        return;
    }
    let smoke = arguments.iter().any(|argument| argument == "--smoke");
    let rounds = if smoke { 1 } else { 3 };
    let yardstick = if smoke { None } else { Yardstick::find() };
    println!("| step (15 memory samples) | ms a step | samples/s | peak resident MB | PyTorch ms | ours / PyTorch |");
    println!("|---|---|---|---|---|---|");
    for case in cases() {
        if value("--case").is_some_and(|name| !case.name.contains(name.as_str())) {
            continue;
        }
        let steps = given_steps.unwrap_or(if smoke { 2 } else { case.steps });
        let (mut ours, mut theirs, mut peak) = (Vec::new(), Vec::new(), 0.0_f64);
        for _ in 0..rounds {
            let Some((milliseconds, bytes)) = in_child(case.name, steps) else {
                eprintln!("{} failed", case.name);
                std::process::exit(1);
            };
            ours.push(milliseconds);
            peak = peak.max(bytes);
            theirs.extend(yardstick.as_ref().and_then(|yardstick| yardstick.milliseconds(&case, steps)));
        }
        let Some(milliseconds) = median(ours) else { continue };
        let torch = median(theirs);
        println!(
            "| {} | {milliseconds:.3} | {:.0} | {:.0} | {} | {} |",
            case.name,
            case.batch as f64 * 1e3 / milliseconds,
            peak / 1e6,
            torch.map_or("-".to_owned(), |ms| format!("{ms:.3}")),
            torch.map_or("-".to_owned(), |ms| format!("{:.2}", milliseconds / ms)),
        );
    }
}
