//! Physical plans, from a scheduler to executors.

use crate::Whose;
use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::ScalarUDF;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use lightcl_datafusion::cluster::{self, PinnedFunctions};
use std::sync::Arc;

/// Carries learning by key, scans of Kafka ranges, and functions of models with their version; all else is Ballista's.
#[derive(Debug, Default)]
pub struct PhysicalCodec {
    ballista: BallistaPhysicalExtensionCodec,
    functions: PinnedFunctions,
}

impl PhysicalExtensionCodec for PhysicalCodec {
    fn try_decode(
        &self,
        sent: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match Whose::read(sent)? {
            (Whose::Lightcl, sent) => cluster::decode_operator(sent, inputs),
            (Whose::Ballista, sent) => self.ballista.try_decode(sent, inputs, context, converter),
        }
    }

    fn try_encode(
        &self,
        operator: Arc<dyn ExecutionPlan>,
        sent: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        if let Some(ours) = cluster::encode_operator(operator.as_ref())? {
            sent.push(Whose::Lightcl.tag());
            sent.extend(ours);
            return Ok(());
        }
        sent.push(Whose::Ballista.tag());
        self.ballista.try_encode(operator, sent, converter)
    }

    fn try_decode_udf(&self, name: &str, sent: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.functions.decode(name, sent)
    }

    fn try_encode_udf(&self, function: &ScalarUDF, sent: &mut Vec<u8>) -> Result<()> {
        sent.extend(PinnedFunctions::encode(function)?.unwrap_or_default());
        Ok(())
    }
}
