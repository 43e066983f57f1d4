//! What `Regimes` recognises on seeded streams whose tasks return, and what it takes for known that is new.
#![allow(clippy::unwrap_used, reason = "a test")]

use lightcl_boundary::{Regimes, RegimesConfig};
use lightcl_core::Samples;
use lightcl_testkit::streams::{
    Agrawal, AnotherRule, Change, Generator, Led, MovedInputs, RandomRbf, RotatingHyperplane, Sine,
};

/// Feeds tasks in windows of 32 rows; at each true boundary the first `shown` rows are asked about. Gives how many tasks
/// that returned were recognised as what they were, of how many, and how many new ones were called known, of how many.
fn count(tasks: &[Samples], concept: impl Fn(usize) -> u32, shown: usize) -> [u32; 4] {
    let mut regimes = Regimes::new(RegimesConfig::default(), 0).unwrap();
    let mut counts = [0; 4];
    for (number, rows) in tasks.iter().enumerate() {
        let own = concept(number);
        if number > 0 {
            let found = regimes.recognise(concept(number - 1), &rows.slice(0, shown)).map(|known| known.task);
            let returns = (0..number).any(|before| concept(before) == own);
            let place = if returns { 0 } else { 2 };
            counts[place] += u32::from(if returns { found == Some(own) } else { found.is_some() });
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
    let mut total = [0; 4];
    for length in [1000, 4000] {
        for shown in [32, 64, 256] {
            let (recurring, abrupt) = (generators(Change::Recurring, 6, length), generators(Change::Abrupt, 6, length));
            for (number, generator) in abrupt.iter().enumerate() {
                let mut counts = [0; 4];
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
                let [found, returns, wrong, new] = counts;
                println!(
                    "{length:5} {shown:4} {:22} returns {found:3}/{returns:3}  new called known {wrong:3}/{new:3}",
                    generator.name()
                );
                total.iter_mut().zip(counts).for_each(|(sum, counted)| *sum += counted);
            }
        }
    }
    println!("{total:?}");
}
