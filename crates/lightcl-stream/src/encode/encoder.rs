//! The encoder itself.

use super::config::EncoderConfig;
use super::features::{News, Scratch};
use super::learnt::{Learnt, SavedLearnt};
use super::plan::{Plan, Strictness};
use super::problem::shown_shape;
use super::rows::{self, RowLabel, Rows};
use arrow_schema::{Schema, SchemaRef};
use lightcl_core::{ClassId, Error, PositionedBatch, Rejected, Result, Samples, Stateful, state};
use std::borrow::Cow;
use std::ops::Range;

const TAG: &str = "encoder";
const VERSION: u16 = 1;

/// Turns rows into samples, and learns on the way what the numbers of classes and categories are.
///
/// State (see [`Stateful`]): labels, categories, means and variances, shapes. Columns are looked up once a schema.
#[derive(Debug, Clone)]
pub struct Encoder {
    pub(super) config: EncoderConfig,
    pub(super) plan: Option<Plan>,
    pub(super) learnt: Learnt,
    /// The shape of a sample, once known.
    shape: Option<Vec<usize>>,
    /// Where standardised numbers stand in a sample; known with the shape.
    pub(super) ranges: Vec<Range<usize>>,
    work: Work,
}

/// Buffers that outlive a call.
#[derive(Debug, Clone, Default)]
struct Work {
    row: Vec<f32>,
    news: Vec<News>,
    weight: Vec<f32>,
    scratch: Scratch,
}

/// Rows encoded without learning anything from them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FrozenRows {
    /// The rows whose features could be used. A row without a known class has label 0 here; look at `labels`.
    pub samples: Samples,
    /// For each of them its class, where the row has a label that was seen in training.
    pub labels: Vec<Option<ClassId>>,
    /// For each of them its label as it stands in the input, where it has one.
    pub label_texts: Vec<Option<String>>,
    /// The rows whose features could not be used.
    pub rejected: Vec<Rejected>,
}

impl Encoder {
    /// An encoder for rows of `schema`.
    ///
    /// # Errors
    /// When a column is not there (the error names the nearest and lists the columns), when its type cannot be used for
    /// what it is to be, or when the settings contradict each other.
    pub fn new(config: EncoderConfig, schema: &Schema) -> Result<Self> {
        let plan = Plan::new(&config, None, schema, Strictness::All)?;
        let shapes = plan.features.iter().map(|feature| feature.shape.clone()).collect();
        let learnt = Learnt::new(plan.kinds(), shapes);
        let mut encoder = Encoder::from_parts(config, learnt);
        encoder.plan = Some(plan);
        Ok(encoder)
    }

    /// An encoder that is not bound to a schema yet.
    pub(super) fn from_parts(config: EncoderConfig, learnt: Learnt) -> Self {
        let work = Work { news: vec![News::default(); learnt.kinds.len()], ..Work::default() };
        let mut encoder = Encoder { config, plan: None, learnt, shape: None, ranges: Vec::new(), work };
        encoder.settle_shape();
        encoder
    }

    /// The features of rows on the scale that they had before standardisation, by the figures that stand now.
    pub(crate) fn as_measured<'a>(&self, rows: &'a Samples) -> Cow<'a, [f32]> {
        if !self.config.standardize {
            return Cow::Borrowed(&rows.features);
        }
        let mut features = rows.features.clone();
        self.learnt.standardizer.undo_in_rows(&mut features, rows.width(), &self.ranges);
        Cow::Owned(features)
    }

    /// Looks the columns up in `schema`, keeping what was learnt. Columns other than features may be absent: rows can
    /// then be scored, not learnt from.
    ///
    /// # Errors
    /// When a feature column is not there, or has a type or a fixed shape that does not fit what was learnt.
    pub fn bind(&mut self, schema: &Schema) -> Result<()> {
        let plan = self.plan_for(schema, Strictness::FeaturesOnly)?;
        self.adopt(plan);
        Ok(())
    }

    pub(super) fn plan_for(&self, schema: &Schema, strictness: Strictness) -> Result<Plan> {
        let plan = Plan::new(&self.config, Some(&self.learnt.kinds), schema, strictness)?;
        for ((feature, config), known) in plan.features.iter().zip(&self.config.features).zip(&self.learnt.shapes) {
            if let (Some(found), Some(known)) = (&feature.shape, known)
                && !same_shape(found, known)
            {
                return Err(Error::user(format!(
                    "the feature column '{}' holds tensors of {}, expected {}",
                    config.column,
                    shown_shape(found),
                    shown_shape(known)
                )));
            }
        }
        Ok(plan)
    }

    /// Takes a plan as its own, with what the schema says of kinds and shapes where nothing was known.
    fn adopt(&mut self, plan: Plan) {
        self.learnt.fill_in(&plan);
        self.plan = Some(plan);
        self.settle_shape();
    }

    /// Works out the shape of a sample from those of its features.
    fn settle_shape(&mut self) {
        (self.shape, self.ranges) = self.learnt.sample_shape();
    }

    /// Encodes `rows` of a batch, of which the first has number `first_index` in the stream, and learns from them. Each
    /// row is appended either to `samples` or to `rejected`.
    ///
    /// # Errors
    /// When the batch lacks a column or has one of a type that cannot be used; nothing is then appended. A bad row is no
    /// error.
    pub fn encode(
        &mut self,
        batch: &PositionedBatch,
        rows: Range<usize>,
        first_index: u64,
        samples: &mut Samples,
        rejected: &mut Vec<Rejected>,
    ) -> Result<()> {
        if self.config.label.is_none() {
            return Err(Error::user("there is no label column to learn from; name it as sample.label"));
        }
        self.fit_plan(batch.batch.schema_ref())?;
        let Encoder { config, plan, learnt, shape, ranges, work } = self;
        let plan = plan.as_ref().ok_or_else(|| Error::internal("the encoder is bound to no schema"))?;
        let slice = rows::slice(batch, &rows)?;
        let columns = Rows::new(config, plan, batch, &slice, &rows, first_index)?;
        let Work { row: numbers, news, weight, scratch } = work;
        for row in 0..rows.len() {
            numbers.clear();
            let usable = columns.features(row, learnt, scratch, news, numbers).and_then(|()| {
                let label = columns.label(row, &learnt.labels, config.max_classes, &mut scratch.text)?;
                Ok((label, columns.weight(row, weight)?))
            });
            let (label, weight) = match usable {
                Ok(usable) => usable,
                Err(problem) => {
                    rejected.push(columns.reject(row, problem));
                    continue;
                }
            };
            // From here on nothing can be wrong with the row, and it is learnt from.
            learnt.take_in(news);
            let class = match label {
                RowLabel::Class(class) => class,
                RowLabel::New(kind, name) => learnt.labels.add(kind, name),
            };
            if shape.is_none() {
                (*shape, *ranges) = learnt.sample_shape();
            }
            if config.standardize {
                learnt.standardizer.learn(numbers, ranges);
            }
            let shape = shape.as_ref().ok_or_else(|| Error::internal("a good row left the shape unknown"))?;
            if samples.is_empty() {
                samples.shape.clone_from(shape);
            } else if samples.shape != *shape {
                return Err(Error::internal("the samples to append to have another shape")
                    .with("samples", shown_shape(&samples.shape))
                    .with("rows", shown_shape(shape)));
            }
            samples.push(numbers, class, weight, columns.meta(row, &mut scratch.text));
        }
        Ok(())
    }

    /// Makes sure that the plan is one for learning from rows of this schema.
    fn fit_plan(&mut self, schema: &SchemaRef) -> Result<()> {
        match &self.plan {
            Some(plan) if plan.label.is_some() && plan.fits(schema) => {}
            _ => {
                let plan = self.plan_for(schema, Strictness::All)?;
                self.adopt(plan);
            }
        }
        if let Some(plan) = &mut self.plan {
            // Schemas of later batches are then mostly told to be the same by address alone.
            plan.schema = SchemaRef::clone(schema);
        }
        Ok(())
    }

    /// Encodes `rows` of a batch and learns nothing: for scoring and evaluation. Labels may be absent, and so may every
    /// column that is no feature. Unknown categories go to the last slot; while the shape of a sample is unknown, the
    /// first good row of the call decides it for the call.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode_frozen(&self, batch: &PositionedBatch, rows: Range<usize>, first_index: u64) -> Result<FrozenRows> {
        let plan = match &self.plan {
            Some(plan) if plan.fits(batch.batch.schema_ref()) => Cow::Borrowed(plan),
            _ => Cow::Owned(self.plan_for(batch.batch.schema_ref(), Strictness::FeaturesOnly)?),
        };
        let slice = rows::slice(batch, &rows)?;
        let columns = Rows::new(&self.config, &plan, batch, &slice, &rows, first_index)?;
        // What the call finds out for itself; mostly nothing, and then nothing is copied.
        let mut known = Cow::Borrowed(&self.learnt);
        let (mut shape, mut ranges) = (self.shape.clone(), Cow::Borrowed(&self.ranges));
        if shape.is_none() {
            known.to_mut().fill_in(&plan);
        }
        let mut work = Work { news: vec![News::default(); plan.features.len()], ..Work::default() };
        let mut frozen = FrozenRows::default();
        for row in 0..rows.len() {
            let Work { row: numbers, news, scratch, .. } = &mut work;
            numbers.clear();
            if let Err(problem) = columns.features(row, &known, scratch, news, numbers) {
                frozen.rejected.push(columns.reject(row, problem));
                continue;
            }
            if shape.is_none() {
                let known = known.to_mut();
                known.take_in_shapes(news);
                let (found, found_ranges) = known.sample_shape();
                (shape, ranges) = (found, Cow::Owned(found_ranges));
            }
            known.hide_new_categories(news, numbers);
            if self.config.standardize {
                self.learnt.standardizer.apply(numbers, &ranges);
            }
            if frozen.samples.is_empty() {
                frozen.samples.shape = shape.clone().unwrap_or_default();
            }
            let (class, text) = columns.known_label(row, &self.learnt.labels, &mut scratch.text);
            frozen.samples.push(numbers, class.unwrap_or(0), 1.0, columns.meta(row, &mut scratch.text));
            frozen.labels.push(class);
            frozen.label_texts.push(text);
        }
        if frozen.samples.is_empty() {
            frozen.samples.shape = shape.unwrap_or_default();
        }
        Ok(frozen)
    }

    /// The settings.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// The shape of a sample: that of a tensor or image that is the only feature (a matrix is an image of one channel),
    /// else `[numbers]`. It is known at once when the schema fixes it, else after the first good row.
    pub fn shape(&self) -> Option<&[usize]> {
        self.shape.as_deref()
    }

    /// The label of a class, as it stands in the input.
    pub fn class_label(&self, class: ClassId) -> Option<String> {
        self.learnt.labels.name(class).map(str::to_owned)
    }

    /// Classes seen so far.
    pub fn class_count(&self) -> usize {
        self.learnt.labels.len()
    }

    /// Bytes held by what was learnt.
    pub fn bytes(&self) -> u64 {
        self.learnt.bytes()
    }
}

/// Whether tensors of one shape can stand for those of the other: a flat list is read as any shape of its length.
fn same_shape(left: &[usize], right: &[usize]) -> bool {
    let is_flat = left.len() == 1 || right.len() == 1;
    left == right || (is_flat && left.iter().product::<usize>() == right.iter().product::<usize>())
}

impl Stateful for Encoder {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &self.learnt.to_saved(&self.config))
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let saved: SavedLearnt = state::decode(TAG, VERSION, bytes)?;
        let mut learnt = Learnt::from_saved(saved, &self.config)?;
        if let Some(plan) = &self.plan {
            for ((feature, kind), shape) in plan.features.iter().zip(&mut learnt.kinds).zip(&mut learnt.shapes) {
                if let (Some(known), Some(fixed)) = (&shape, &feature.shape)
                    && !same_shape(known, fixed)
                {
                    return Err(Error::user(
                        "the saved state was made with features of another shape; start over with --fresh",
                    ));
                }
                if *kind == super::FeatureKind::Auto {
                    *kind = feature.kind;
                    shape.clone_from(&feature.shape);
                } else if feature.kind != super::FeatureKind::Auto && *kind != feature.kind {
                    return Err(Error::user("the saved state read a feature in another way; start over with --fresh"));
                }
            }
        }
        self.learnt = learnt;
        self.settle_shape();
        Ok(())
    }
}
