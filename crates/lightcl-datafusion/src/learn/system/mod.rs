//! The schema `lightcl`: how learners do, as tables.
//!
//! What is committed is read from the output folders each time a query is planned; what a statement of this session has
//! learnt since is added from memory, so that the tables are live while it trains.

mod columns;
mod committed;
mod rows;

use crate::shared::Shared;
use arrow_json::ReaderBuilder;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use columns::Kind;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::common::runtime::SpawnedTask;
use datafusion::datasource::{MemTable, TableType};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use std::fmt;
use std::sync::Arc;

/// Adds the schema to the session's default catalog.
pub(super) fn register(context: &SessionContext, shared: &Arc<Shared>) -> Result<()> {
    let name = context.copied_config().options().catalog.default_catalog.clone();
    let catalog = context.catalog(&name).ok_or_else(|| {
        DataFusionError::Configuration(format!("the session has no catalog '{name}' for the schema {}", super::SCHEMA))
    })?;
    catalog.register_schema(super::SCHEMA, Arc::new(SystemSchema { shared: Arc::clone(shared) }))?;
    Ok(())
}

struct SystemSchema {
    shared: Arc<Shared>,
}

impl fmt::Debug for SystemSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemSchema").finish_non_exhaustive()
    }
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        Kind::ALL.into_iter().map(|kind| kind.name().to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        let table = |kind: Kind| -> Arc<dyn TableProvider> {
            Arc::new(SystemTable { kind, schema: kind.schema(), shared: Arc::clone(&self.shared) })
        };
        Ok(kind.map(table))
    }

    fn table_exist(&self, name: &str) -> bool {
        Kind::ALL.into_iter().any(|kind| kind.name() == name)
    }
}

/// One of the tables.
struct SystemTable {
    kind: Kind,
    schema: SchemaRef,
    shared: Arc<Shared>,
}

impl fmt::Debug for SystemTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemTable").field("name", &self.kind.name()).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (kind, schema, shared) = (self.kind, Arc::clone(&self.schema), Arc::clone(&self.shared));
        // Folders are read, which takes time.
        let read = SpawnedTask::spawn_blocking(move || -> Result<MemTable> {
            let rows = rows::all(kind, &shared);
            let mut decoder = ReaderBuilder::new(Arc::clone(&schema)).build_decoder()?;
            decoder.serialize(&rows)?;
            MemTable::try_new(schema, vec![decoder.flush()?.into_iter().collect()])
        });
        let table = read.join().await.map_err(|error| DataFusionError::External(Box::new(error)))??;
        table.scan(session, projection, filters, limit).await
    }
}
