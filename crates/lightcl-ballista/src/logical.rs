//! Logical plans, from a client to a scheduler.

use crate::Whose;
use ballista_core::serde::BallistaLogicalExtensionCodec;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::file_format::FileFormatFactory;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Extension, LogicalPlan, ScalarUDF};
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use lightcl_datafusion::cluster::{self, PinnedFunctions};
use std::sync::Arc;

/// Carries learning by key, Kafka tables with an end, and functions of models; all else is Ballista's.
#[derive(Debug, Default)]
pub struct LogicalCodec {
    ballista: BallistaLogicalExtensionCodec,
    functions: PinnedFunctions,
}

impl LogicalExtensionCodec for LogicalCodec {
    fn try_decode(&self, sent: &[u8], inputs: &[LogicalPlan], context: &TaskContext) -> Result<Extension> {
        match Whose::read(sent)? {
            (Whose::Lightcl, sent) => Ok(Extension { node: cluster::decode_node(sent, inputs)? }),
            (Whose::Ballista, sent) => self.ballista.try_decode(sent, inputs, context),
        }
    }

    fn try_encode(&self, node: &Extension, sent: &mut Vec<u8>) -> Result<()> {
        if let Some(ours) = cluster::encode_node(node.node.as_ref())? {
            sent.push(Whose::Lightcl.tag());
            sent.extend(ours);
            return Ok(());
        }
        sent.push(Whose::Ballista.tag());
        self.ballista.try_encode(node, sent)
    }

    fn try_decode_table_provider(
        &self,
        sent: &[u8],
        name: &TableReference,
        schema: SchemaRef,
        context: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        match Whose::read(sent)? {
            (Whose::Lightcl, sent) => cluster::decode_table(sent, schema),
            (Whose::Ballista, sent) => self.ballista.try_decode_table_provider(sent, name, schema, context),
        }
    }

    fn try_encode_table_provider(
        &self,
        name: &TableReference,
        table: Arc<dyn TableProvider>,
        sent: &mut Vec<u8>,
    ) -> Result<()> {
        if let Some(ours) = cluster::encode_table(table.as_ref())? {
            sent.push(Whose::Lightcl.tag());
            sent.extend(ours);
            return Ok(());
        }
        sent.push(Whose::Ballista.tag());
        self.ballista.try_encode_table_provider(name, table, sent)
    }

    fn try_decode_file_format(&self, sent: &[u8], context: &TaskContext) -> Result<Arc<dyn FileFormatFactory>> {
        self.ballista.try_decode_file_format(sent, context)
    }

    fn try_encode_file_format(&self, sent: &mut Vec<u8>, format: Arc<dyn FileFormatFactory>) -> Result<()> {
        self.ballista.try_encode_file_format(sent, format)
    }

    fn try_decode_udf(&self, name: &str, sent: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.functions.decode(name, sent)
    }

    fn try_encode_udf(&self, function: &ScalarUDF, sent: &mut Vec<u8>) -> Result<()> {
        sent.extend(PinnedFunctions::encode(function)?.unwrap_or_default());
        Ok(())
    }
}
