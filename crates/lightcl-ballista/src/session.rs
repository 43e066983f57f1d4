//! Sessions of the processes of a cluster.

use crate::{LogicalCodec, PhysicalCodec};
use ballista_core::extension::{SessionConfigExt, SessionStateExt};
use datafusion::error::Result;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use lightcl_datafusion::{Options, register, register_for_cluster};
use std::sync::Arc;

/// The configuration of any process of the cluster: Ballista's, with the codecs. Plans are cut before they run: while they run
/// (`ballista.planner.adaptive.enabled`) Ballista 55.0.0 does not get over the loss of an executor, and the statement never ends.
pub fn config() -> SessionConfig {
    SessionConfig::new_with_ballista()
        .with_ballista_adaptive_query_planner(false)
        .with_ballista_logical_extension_codec(Arc::new(LogicalCodec::default()))
        .with_ballista_physical_extension_codec(Arc::new(PhysicalCodec::default()))
}

/// A session whose statements run on the cluster of a scheduler, `http://HOST:PORT`. Models are called by the names in
/// `options`, or by paths that all processes see.
///
/// ```no_run
/// let context = lightcl_ballista::client("http://localhost:50050", lightcl_ballista::config(), Default::default())?;
/// # Ok::<(), datafusion::error::DataFusionError>(())
/// ```
///
/// # Errors
/// When the session does not take what is registered. Whether there is a scheduler shows with the first statement.
pub fn client(scheduler: &str, config: SessionConfig, options: Options) -> Result<SessionContext> {
    let state = SessionStateBuilder::new().with_default_features().with_config(config).build();
    let context = SessionContext::new_with_state(state.upgrade_for_ballista(scheduler.to_owned())?);
    register_for_cluster(&context, options)?;
    Ok(context)
}

/// The state that a scheduler plans with: its session builder.
///
/// # Errors
/// When the session does not take what is registered.
pub fn scheduler_state(config: SessionConfig) -> Result<SessionState> {
    let context = SessionContext::new_with_config(config);
    register(&context, Options::default())?;
    Ok(context.state())
}
