//! Streams from the generators of the test kit.

use super::streams::{Made, Request, Settings, Stream, TASK};
use lightcl_core::Result;
use lightcl_stream::encode::EncoderConfig;
use lightcl_testkit::streams::{
    Agrawal, AnotherRule, Change, ClassIncremental, Generator, Led, MovedInputs, RandomRbf, RotatingHyperplane, Sea,
    Sine, Stationary,
};

/// One generated stream.
pub(crate) struct Entry {
    pub name: &'static str,
    generator: fn(&Lengths) -> Box<dyn Generator>,
    is_gradual: bool,
}

/// How long tasks are.
pub(crate) struct Lengths {
    /// Rows of each of four tasks; they differ so that no fixed period meets every change point.
    four: Vec<usize>,
    /// Rows of a stream without a change.
    stationary: usize,
}

impl Lengths {
    fn new(quick: bool) -> Self {
        let unit = if quick { 250 } else { 1000 };
        Lengths {
            four: [4, 5, 3, 4].map(|units| units * unit).to_vec(),
            stationary: if quick { 4000 } else { 200_000 },
        }
    }

    /// Rows over which a gradual change happens.
    fn width(&self) -> usize {
        self.four[0] / 4
    }

    fn gradual(&self) -> Change {
        Change::Gradual { width: self.width() }
    }
}

const fn abrupt(name: &'static str, generator: fn(&Lengths) -> Box<dyn Generator>) -> Entry {
    Entry { name, generator, is_gradual: false }
}

const fn gradual(name: &'static str, generator: fn(&Lengths) -> Box<dyn Generator>) -> Entry {
    Entry { name, generator, is_gradual: true }
}

/// A new stream is one row.
pub(crate) const GENERATED: &[Entry] = &[
    abrupt("class_incremental", |l| {
        Box::new(ClassIncremental { tasks: 4, rows_per_task: l.four[0], ..ClassIncremental::default() })
    }),
    abrupt("another_rule", |l| Box::new(AnotherRule { rows: l.four.clone(), ..AnotherRule::default() })),
    abrupt("moved_inputs", |l| Box::new(MovedInputs { rows: l.four.clone(), ..MovedInputs::default() })),
    abrupt("sea", |l| Box::new(Sea { rows: l.four.clone(), ..Sea::default() })),
    abrupt("hyperplane", |l| Box::new(RotatingHyperplane { rows: l.four.clone(), ..RotatingHyperplane::default() })),
    abrupt("agrawal", |l| Box::new(Agrawal { rows: l.four.clone(), ..Agrawal::default() })),
    abrupt("led", |l| Box::new(Led { rows: l.four.clone(), ..Led::default() })),
    abrupt("random_rbf", |l| Box::new(RandomRbf { rows: l.four.clone(), ..RandomRbf::default() })),
    abrupt("sine", |l| Box::new(Sine { rows: l.four.clone(), ..Sine::default() })),
    gradual("sea_gradual", |l| Box::new(Sea { rows: l.four.clone(), change: l.gradual(), ..Sea::default() })),
    gradual("hyperplane_gradual", |l| {
        Box::new(RotatingHyperplane { rows: l.four.clone(), change: l.gradual(), ..RotatingHyperplane::default() })
    }),
    gradual("agrawal_gradual", |l| {
        Box::new(Agrawal { rows: l.four.clone(), change: l.gradual(), ..Agrawal::default() })
    }),
    gradual("sine_gradual", |l| Box::new(Sine { rows: l.four.clone(), change: l.gradual(), ..Sine::default() })),
    abrupt("hyperplane_recurring", |l| {
        let rows = l.four.clone();
        Box::new(RotatingHyperplane { rows, change: Change::Recurring, ..RotatingHyperplane::default() })
    }),
    abrupt("led_recurring", |l| Box::new(Led { rows: l.four.clone(), change: Change::Recurring, ..Led::default() })),
    abrupt("random_rbf_recurring", |l| {
        Box::new(RandomRbf { rows: l.four.clone(), change: Change::Recurring, ..RandomRbf::default() })
    }),
    abrupt("stationary", |l| Box::new(Stationary { rows: l.stationary, ..Stationary::default() })),
];

impl Entry {
    /// Generates the stream.
    ///
    /// # Errors
    /// As [`Stream::with_tasks`].
    pub fn make(&self, request: &Request<'_>) -> Result<Made> {
        let lengths = Lengths::new(request.quick);
        let generated = (self.generator)(&lengths).generate(request.seed);
        let rows = generated.to_column_batch();
        let schema = rows.schema();
        let features = schema.fields().iter().map(|field| field.name().clone());
        let encoder = EncoderConfig {
            standardize: true,
            ..EncoderConfig::new(features.filter(|name| name != "label" && name != TASK), "label")
        };
        let mut stream = Stream::with_tasks(self.name, Settings::Table, encoder, &rows, &generated.change_points)?;
        if self.is_gradual {
            stream.slack = lengths.width() as u64 / 2;
        }
        Ok(Made::Stream(Box::new(stream)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_gives_a_stream_of_its_name() {
        for entry in GENERATED {
            let request = Request { seed: 1, quick: true, data: None };
            let Made::Stream(stream) = entry.make(&request).unwrap() else { panic!("{} is skipped", entry.name) };
            assert_eq!(stream.name, entry.name);
            assert_eq!(stream.held_out.len(), stream.change_points.len() + 1);
            assert_eq!(stream.slack > 0, entry.name.ends_with("_gradual"));
        }
    }
}
