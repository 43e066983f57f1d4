//! What `Regimes` recognises on seeded streams whose tasks return, and what it takes for known that is new.
#![allow(clippy::unwrap_used, reason = "a test")]

use lightcl_boundary::{Regimes, RegimesConfig};
use lightcl_core::Samples;
use lightcl_testkit::streams::{Agrawal, AnotherRule, Change, Generator, Led, RandomRbf, RotatingHyperplane, Sine};

/// Feeds tasks in windows of 32 rows; at each true boundary the first `shown` rows are asked about. Gives how many tasks
/// that returned were recognised as what they were, of how many; how many new ones were called another known one, of how
/// many; and in how many of those the task before went on.
fn count(tasks: &[Samples], concept: impl Fn(usize) -> u32, shown: usize) -> [u32; 5] {
    let mut regimes = Regimes::new(RegimesConfig::default(), 0).unwrap();
    let mut counts = [0; 5];
    for (number, rows) in tasks.iter().enumerate() {
        let own = concept(number);
        if number > 0 {
            let found = regimes.recognise(concept(number - 1), &rows.slice(0, shown)).map(|known| known.task);
            let returns = (0..number).any(|before| concept(before) == own);
            let place = if returns { 0 } else { 2 };
            let goes_on = found == Some(concept(number - 1));
            counts[place] += u32::from(if returns { found == Some(own) } else { found.is_some() && !goes_on });
            counts[4] += u32::from(!returns && goes_on);
            counts[place + 1] += 1;
        }
        for start in (0..rows.len()).step_by(32) {
            regimes.learn(own, &rows.slice(start, rows.len().min(start + 32)));
        }
    }
    counts
}

fn generators(change: Change, tasks: usize, rows: usize) -> Vec<Box<dyn Generator>> {
    let rows = vec![rows; tasks];
    let functions = (0..tasks).map(|task| task + 1).collect();
    let mut all: Vec<Box<dyn Generator>> = vec![
        Box::new(Sine {
            rows: if change == Change::Recurring { rows.clone() } else { rows[..2].to_vec() },
            change,
            ..Sine::default()
        }),
        Box::new(Led { rows: rows.clone(), change, ..Led::default() }),
        Box::new(RandomRbf { rows: rows.clone(), change, ..RandomRbf::default() }),
        Box::new(RotatingHyperplane { rows: rows.clone(), change, ..RotatingHyperplane::default() }),
        Box::new(Agrawal { rows: rows.clone(), change, functions, ..Agrawal::default() }),
    ];
    if change == Change::Abrupt {
        all.push(Box::new(AnotherRule { rows: rows[..4].to_vec(), ..AnotherRule::default() }));
    }
    all
}

#[test]
fn most_returns_are_recognised_and_few_new_tasks_are_called_known() {
    // (returns found, returns, new called known, new, no change seen) with 64 rows, of all generators and of those without a blind spot.
    let (mut total, mut seen) = ([0; 5], [0; 5]);
    for length in [1000, 4000] {
        for shown in [32, 64, 256] {
            let (recurring, abrupt) = (generators(Change::Recurring, 6, length), generators(Change::Abrupt, 6, length));
            for (number, generator) in abrupt.iter().enumerate() {
                let mut counts = [0; 5];
                for seed in 0..10 {
                    let mut add = |tasks: &[Samples], change: Change| {
                        let found = count(tasks, |task| change.concept(task) as u32, shown);
                        counts.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
                    };
                    add(&generator.generate(seed).tasks(), Change::Abrupt);
                    if let Some(recurring) = recurring.get(number) {
                        add(&recurring.generate(seed).tasks(), Change::Recurring);
                    }
                }
                let [found, returns, wrong, new, went_on] = counts;
                println!(
                    "{length:5} {shown:4} {:22} returns {found:3}/{returns:3}  new called known {wrong:3}/{new:3}, no change seen {went_on:3}",
                    generator.name()
                );
                if shown == 64 {
                    total.iter_mut().zip(counts).for_each(|(sum, counted)| *sum += counted);
                    // Agrawal's rules hardly move class means; hyperplanes of which one weight is drawn anew lie close.
                    if !["agrawal", "hyperplane"].contains(&generator.name()) {
                        seen.iter_mut().zip(counts).for_each(|(sum, counted)| *sum += counted);
                    }
                }
            }
        }
    }
    let share = |part: u32, of: u32| f64::from(part) / f64::from(of);
    println!("all {total:?}, without agrawal and hyperplane {seen:?}");
    assert!(share(total[0], total[1]) >= 0.9, "{total:?}");
    assert!(share(seen[0], seen[1]) >= 0.95 && share(seen[2] + seen[4], seen[3]) <= 0.05, "{seen:?}");
    assert!(share(total[2], total[3]) <= 0.2, "{total:?}");
}

/// Rows of which neighbours are alike: each lies near a level that wanders around the task's own.
fn wandering(level: f64, rows: u32, state: &mut (u64, f64)) -> Samples {
    let mut uniform = || {
        state.0 = state.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state.0 >> 40) as f64 / f64::from(1 << 24) - 0.5
    };
    let mut wander = state.1;
    let rows: Vec<_> = (0..rows)
        .map(|row| {
            wander = 0.97 * wander + uniform();
            let label = row / 8 % 2;
            (vec![(level + wander + uniform()) as f32, (uniform() + f64::from(label)) as f32], label)
        })
        .collect();
    state.1 = wander;
    Samples::from_rows(&[2], &rows)
}

#[test]
fn a_task_of_dependent_rows_is_recognised_by_what_is_usual_for_it() {
    let (mut found, mut wrong) = (0, 0);
    for seed in 0..40 {
        let mut state = (seed, 0.0);
        let mut regimes = Regimes::new(RegimesConfig::default(), 0).unwrap();
        for (task, level) in [(0, 0.0), (1, 12.0)] {
            for _ in 0..100 {
                regimes.learn(task, &wandering(level, 32, &mut state));
            }
        }
        let asked = |rows: &Samples| regimes.recognise(1, rows).map(|known| known.task);
        found += u32::from(asked(&wandering(0.0, 64, &mut state)) == Some(0));
        wrong += u32::from(asked(&wandering(-12.0, 64, &mut state)).is_some());
    }
    println!("{found} of 40 returns recognised, {wrong} of 40 new tasks called known");
    assert!(found >= 36 && wrong <= 2, "{found} {wrong}");
}
