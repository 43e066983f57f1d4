//! Learners as tables: `CREATE EXTERNAL TABLE .. STORED AS LIGHTCL`, and what can be done with one.

use super::errors::{failed, refused};
use super::fingerprint::{NAME_ROWS, fingerprint};
use super::insert::{Job, LearnerSink};
use super::options::LearnOptions;
use super::order::in_order;
use super::positions::Places;
use super::recipe::{Recipe, check_columns};
use crate::shared::Shared;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider, TableProviderFactory};
use datafusion::datasource::TableType;
use datafusion::datasource::sink::DataSinkExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{CreateExternalTable, Expr};
use datafusion::physical_plan::ExecutionPlan;
use lightcl_core::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Makes tables of learners.
pub(super) struct LearnerFactory {
    shared: Arc<Shared>,
}

impl LearnerFactory {
    pub fn new(shared: Arc<Shared>) -> Self {
        LearnerFactory { shared }
    }
}

impl fmt::Debug for LearnerFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LearnerFactory").finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProviderFactory for LearnerFactory {
    async fn create(&self, _state: &dyn Session, statement: &CreateExternalTable) -> Result<Arc<dyn TableProvider>> {
        let refuse = |what: &str| Err(DataFusionError::Plan(format!("a learner's table {what}")));
        if !statement.table_partition_cols.is_empty() {
            return refuse("is not partitioned: leave PARTITIONED BY out");
        }
        if !statement.order_exprs.is_empty() {
            return refuse("has no order of its own: leave WITH ORDER out, and order what is inserted");
        }
        let [location] = statement.locations.as_slice() else { return refuse("has one location, its output folder") };
        let folder = folder_of(location)?;
        let options = statement.options.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let options = LearnOptions::of_table(options)?.at(&folder);
        let name = statement.name.table();
        let declared = Arc::clone(statement.schema.inner());
        let recipe = Recipe::read(&options, name).map_err(|error| refused(&error))?;
        let schema = columns(&recipe, declared).map_err(|error| refused(&error))?;
        // What is wrong with columns is said before there is anything to learn.
        recipe.operator(&schema, false).map_err(|error| refused(&error))?;
        Places::new(Arc::clone(&schema), "", &options).map_err(|error| refused(&error))?;
        options.check_order()?;
        self.shared.set_location(name, folder.clone());
        let shared = Arc::clone(&self.shared);
        Ok(Arc::new(LearnerTable { name: name.to_owned(), folder, schema, options, recipe: Arc::new(recipe), shared }))
    }
}

/// The folder that a statement names; a bucket is none.
fn folder_of(location: &str) -> Result<PathBuf> {
    match location.split_once("://") {
        None => Ok(PathBuf::from(location)),
        Some(("file", path)) => Ok(PathBuf::from(path)),
        Some((scheme, _)) => Err(DataFusionError::Plan(format!(
            "a learner lives in a folder, and '{scheme}://' is none: its state is written often and renamed in one step"
        ))),
    }
}

/// The columns of the table: those declared, else those of the files that the pipeline names.
fn columns(recipe: &Recipe, declared: SchemaRef) -> lightcl_core::Result<SchemaRef> {
    if !declared.fields().is_empty() {
        return Ok(declared);
    }
    recipe.source_schema()?.ok_or_else(|| {
        Error::user(
            "the columns of the learner are not known: list them, CREATE EXTERNAL TABLE name (column TYPE, ..) STORED AS \
             LIGHTCL .., or name a file with such rows under [source] in the pipeline",
        )
    })
}

/// A learner as a table: rows that are inserted are learnt from.
pub(crate) struct LearnerTable {
    name: String,
    folder: PathBuf,
    schema: SchemaRef,
    options: LearnOptions,
    recipe: Arc<Recipe>,
    shared: Arc<Shared>,
}

impl fmt::Debug for LearnerTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LearnerTable").field("name", &self.name).field("folder", &self.folder).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for LearnerTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(DataFusionError::Plan(format!(
            "the learner '{name}' keeps no rows to select: INSERT INTO {name} teaches it, lightcl_predict('{name}', ..) asks \
             it, and lightcl.models, lightcl.snapshots, lightcl.stability, lightcl.boundaries, lightcl.dead_letters and \
             lightcl.layers tell how it does",
            name = self.name
        )))
    }

    async fn insert_into(
        &self,
        session: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        operation: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let fresh = match operation {
            InsertOp::Append => false,
            InsertOp::Overwrite => true,
            InsertOp::Replace => {
                return Err(DataFusionError::Plan(
                    "a learner cannot forget single rows: INSERT INTO teaches it more, INSERT OVERWRITE starts it over"
                        .to_owned(),
                ));
            }
        };
        check_columns(&self.schema, &input.schema()).map_err(|error| refused(&error))?;
        let partition = match &self.options.partition {
            Some(partition) => partition.clone(),
            None => fingerprint(&input, NAME_ROWS)?,
        };
        let places = Places::new(Arc::clone(&self.schema), &partition, &self.options);
        let job = Job {
            name: self.name.clone(),
            folder: self.folder.clone(),
            schema: Arc::clone(&self.schema),
            recipe: Arc::clone(&self.recipe),
            places: places.map_err(failed)?,
            fresh,
        };
        let input = in_order(input, session, self.options.any_order)?;
        let sink = LearnerSink::new(job, Arc::clone(&self.shared));
        Ok(Arc::new(DataSinkExec::new(input, Arc::new(sink), None)))
    }
}
