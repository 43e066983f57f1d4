//! A name for the rows of a statement that nobody named.
//!
//! The same statement over the same files or values has the same name, so that running it again trains nothing twice; a file
//! that grew has kept its name, and its new rows are new. Names depend on how the engine writes plans: what has to outlive
//! the engine's version is named with the option `partition`.

use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::catalog::memory::{DataSourceExec, MemorySourceConfig};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use lightcl_core::state::sha256_hex;
use std::fmt::Write;
use std::sync::Arc;

/// Hexadecimal digits of a name.
const DIGITS: usize = 20;

/// How a statement that learns names its rows itself.
pub(super) const NAME_ROWS: &str = "name what they are with the option 'partition', and their column of ascending offsets, if \
                                    they have one, with 'offset'";

/// The name of the rows that a plan gives; `way_out` says how to name them otherwise.
///
/// # Errors
/// When the plan reads something that cannot be told from something else.
pub(super) fn fingerprint(input: &Arc<dyn ExecutionPlan>, way_out: &str) -> Result<String> {
    let mut text = String::new();
    describe(input, 0, way_out, &mut text)?;
    let mut hash = sha256_hex(text.as_bytes());
    hash.truncate(DIGITS);
    Ok(format!("sql-{hash}"))
}

fn describe(node: &Arc<dyn ExecutionPlan>, depth: usize, way_out: &str, text: &mut String) -> Result<()> {
    let children = node.children();
    let line =
        if children.is_empty() { leaf(node, way_out)? } else { displayable(node.as_ref()).one_line().to_string() };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{depth} {}", line.trim_end());
    children.into_iter().try_for_each(|child| describe(child, depth + 1, way_out, text))
}

fn leaf(node: &Arc<dyn ExecutionPlan>, way_out: &str) -> Result<String> {
    if let Some(scan) = node.downcast_ref::<DataSourceExec>() {
        if let Some(files) = scan.data_source().downcast_ref::<FileScanConfig>() {
            return Ok(of_files(files, node));
        }
        if let Some(memory) = scan.data_source().downcast_ref::<MemorySourceConfig>() {
            return of_memory(memory);
        }
    }
    if node.is::<EmptyExec>() || node.is::<PlaceholderRowExec>() || node.is::<LazyMemoryExec>() {
        return Ok(displayable(node.as_ref()).one_line().to_string());
    }
    Err(DataFusionError::Plan(format!(
        "whether rows of {} were learnt from before cannot be told: {way_out}",
        node.name()
    )))
}

/// Which files, and what is taken of them. Not how they are spread over partitions, nor how long they are.
fn of_files(files: &FileScanConfig, node: &Arc<dyn ExecutionPlan>) -> String {
    let mut text = format!("files {}", files.object_store_url.as_str());
    for file in files.file_groups.iter().flat_map(|group| group.files()) {
        let _ = write!(text, " {}", file.object_meta.location);
    }
    let _ = write!(text, " columns {:?} limit {:?}", node.schema().fields(), files.limit);
    if let Some(filter) = files.file_source().filter() {
        let _ = write!(text, " where {filter}");
    }
    text
}

/// The rows themselves.
fn of_memory(memory: &MemorySourceConfig) -> Result<String> {
    let mut text = format!("rows columns {:?}", memory.projection());
    for batch in memory.partitions().iter().flatten() {
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, batch.schema_ref())?;
        writer.write(batch)?;
        writer.finish()?;
        drop(writer);
        let _ = write!(text, " {}", sha256_hex(&bytes));
    }
    Ok(text)
}
