//! Who gets a loan?

use super::{Change, Generator, SyntheticStream};
use crate::random::seeded;
use lightcl_core::ClassId;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::ops::RangeInclusive;

/// Loan applicants (Agrawal, Imielinski and Swami 1993, "Database mining: a performance perspective"): nine attributes
/// and ten classification functions; every concept is one of them. Label 1 is the paper's group A.
#[derive(Debug, Clone)]
pub struct Agrawal {
    /// Rows of each task.
    pub rows: Vec<usize>,
    /// How concepts change.
    pub change: Change,
    /// The function of each concept, 1 to 10, from the start again when there are more concepts than functions.
    pub functions: Vec<usize>,
    /// After the label was read off, a number moves by up to this share of its range, in `[0, 1]`.
    pub perturbation: f64,
}

impl Default for Agrawal {
    fn default() -> Self {
        Agrawal { rows: vec![4000; 4], change: Change::Abrupt, functions: vec![1, 2, 5, 7], perturbation: 0.05 }
    }
}

const THOUSAND: f64 = 1000.0;

/// One applicant; the fields stand in a row in this order.
#[derive(Debug, Clone, Copy)]
struct Applicant {
    salary: f64,
    commission: f64,
    age: f64,
    education: f64,
    car: f64,
    zip_code: f64,
    house_value: f64,
    house_years: f64,
    loan: f64,
}

impl Applicant {
    fn draw(random: &mut ChaCha8Rng) -> Self {
        let salary = random.random_range(20.0 * THOUSAND..150.0 * THOUSAND);
        let zip_code = f64::from(random.random_range(0..9_u8));
        // Houses cost more where the zip code is lower.
        let local_price = (9.0 - zip_code) * 100.0 * THOUSAND;
        Applicant {
            salary,
            commission: if salary >= 75.0 * THOUSAND {
                0.0
            } else {
                random.random_range(10.0 * THOUSAND..75.0 * THOUSAND)
            },
            age: f64::from(random.random_range(20..=80_u8)),
            education: f64::from(random.random_range(0..=4_u8)),
            car: f64::from(random.random_range(1..=20_u8)),
            zip_code,
            house_value: random.random_range(0.5 * local_price..1.5 * local_price),
            house_years: f64::from(random.random_range(1..=30_u8)),
            loan: random.random_range(0.0..500.0 * THOUSAND),
        }
    }

    /// Moves every number that has a scale by up to `share` of its range; car and zip code are names.
    fn perturb(&mut self, share: f64, random: &mut ChaCha8Rng) {
        let scaled: [(&mut f64, RangeInclusive<f64>); 7] = [
            (&mut self.salary, 20.0 * THOUSAND..=150.0 * THOUSAND),
            (&mut self.commission, 10.0 * THOUSAND..=75.0 * THOUSAND),
            (&mut self.age, 20.0..=80.0),
            (&mut self.education, 0.0..=4.0),
            (&mut self.house_value, 50.0 * THOUSAND..=1350.0 * THOUSAND),
            (&mut self.house_years, 1.0..=30.0),
            (&mut self.loan, 0.0..=500.0 * THOUSAND),
        ];
        for (value, range) in scaled {
            let (least, most) = range.into_inner();
            let step = (2.0 * random.random::<f64>() - 1.0) * share * (most - least);
            // Who earns no commission has none to move.
            if *value > 0.0 || least == 0.0 {
                *value = (*value + step).clamp(least, most);
            }
        }
    }

    fn row(&self) -> Vec<f32> {
        let Applicant { salary, commission, age, education, car, zip_code, house_value, house_years, loan } = *self;
        [salary, commission, age, education, car, zip_code, house_value, house_years, loan].map(|v| v as f32).to_vec()
    }

    /// One of three, by age: below 40, below 60, and older.
    fn by_age<T>(&self, three: [T; 3]) -> T {
        let [young, middle, old] = three;
        if self.age < 40.0 {
            young
        } else if self.age < 60.0 {
            middle
        } else {
            old
        }
    }

    /// Whether the paper's function `function` (1 to 10) puts the applicant into group A.
    fn is_in_group_a(&self, function: usize) -> bool {
        let within = |value: f64, (least, most): (f64, f64)| (least * THOUSAND..=most * THOUSAND).contains(&value);
        let usual = [(50.0, 100.0), (75.0, 125.0), (25.0, 75.0)];
        let is_schooled = within(self.education * THOUSAND, self.by_age([(0.0, 1.0), (1.0, 3.0), (2.0, 4.0)]));
        let income = self.salary + self.commission;
        match function {
            1 => self.by_age([true, false, true]),
            2 => within(self.salary, self.by_age(usual)),
            3 => is_schooled,
            4 => {
                let schooled = [(25.0, 75.0), (50.0, 100.0), (50.0, 100.0)];
                let others = [(50.0, 100.0), (75.0, 125.0), (25.0, 75.0)];
                within(self.salary, self.by_age(if is_schooled { schooled } else { others }))
            }
            5 => {
                let usual_loans = [(100.0, 300.0), (200.0, 400.0), (300.0, 500.0)];
                let other_loans = [(200.0, 400.0), (300.0, 500.0), (100.0, 300.0)];
                let is_usual = within(self.salary, self.by_age(usual));
                within(self.loan, self.by_age(if is_usual { usual_loans } else { other_loans }))
            }
            6 => within(income, self.by_age(usual)),
            7 => 0.67 * income - 0.2 * self.loan - 20.0 * THOUSAND > 0.0,
            8 => 0.67 * income - 5.0 * THOUSAND * self.education - 20.0 * THOUSAND > 0.0,
            9 => 0.67 * income - 5.0 * THOUSAND * self.education - 0.2 * self.loan - 10.0 * THOUSAND > 0.0,
            _ => {
                let equity = 0.1 * self.house_value * (self.house_years - 20.0).max(0.0);
                0.67 * income - 5.0 * THOUSAND * self.education + 0.2 * equity - 10.0 * THOUSAND > 0.0
            }
        }
    }
}

impl Generator for Agrawal {
    fn name(&self) -> &'static str {
        "agrawal"
    }

    fn generate(&self, seed: u64) -> SyntheticStream {
        let tasks = self.change.tasks(&self.rows, &mut seeded(seed), |concept, random| {
            let mut applicant = Applicant::draw(random);
            let label = applicant.is_in_group_a(self.functions[concept % self.functions.len()]);
            if self.perturbation > 0.0 {
                applicant.perturb(self.perturbation, random);
            }
            (applicant.row(), ClassId::from(label))
        });
        SyntheticStream::from_tasks(self.name(), 9, &tasks)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rule_accuracies;
    use super::*;

    /// The applicant of a row that was not perturbed.
    fn applicant(row: &[f32]) -> Applicant {
        let value = |at: usize| f64::from(row[at]);
        Applicant {
            salary: value(0),
            commission: value(1),
            age: value(2),
            education: value(3),
            car: value(4),
            zip_code: value(5),
            house_value: value(6),
            house_years: value(7),
            loan: value(8),
        }
    }

    #[test]
    fn each_function_holds_for_its_task_only() {
        let functions: Vec<usize> = (1..=10).collect();
        let generator = Agrawal { rows: vec![1000; 10], functions, perturbation: 0.0, ..Agrawal::default() };
        let rule = |concept: usize, row: &[f32]| ClassId::from(applicant(row).is_in_group_a(concept + 1));
        for (concept, (own, next)) in rule_accuracies(&generator.generate(8), rule).into_iter().enumerate() {
            assert!(own > 0.998, "{concept}: {own}");
            assert!(next < 0.95, "{concept}: {next}");
        }
    }

    #[test]
    fn functions_agree_with_cases_worked_out_by_hand() {
        let one = Applicant {
            salary: 60_000.0,
            commission: 20_000.0,
            age: 30.0,
            education: 1.0,
            car: 3.0,
            zip_code: 2.0,
            house_value: 500_000.0,
            house_years: 25.0,
            loan: 250_000.0,
        };
        // 0.67 * 80,000 = 53,600: less the loan's 50,000 and 20,000 it is negative.
        let expected = [true, true, true, true, true, true, false, true, false, true];
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(|function| one.is_in_group_a(function)), expected);
    }

    #[test]
    fn a_perturbation_moves_numbers_within_their_ranges() {
        let stream = Agrawal { perturbation: 1.0, ..Agrawal::default() }.generate(1);
        for row in 0..stream.len() {
            let row = stream.samples.row(row);
            assert!((20_000.0..=150_000.0).contains(&row[0]) && (20.0..=80.0).contains(&row[2]), "{row:?}");
        }
    }
}
