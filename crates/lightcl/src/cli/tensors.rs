//! What a safetensors file holds, from its header.

use lightcl_core::{Error, Result};
use safetensors::SafeTensors;

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TensorEntry {
    pub name: String,
    pub shape: Vec<usize>,
    pub data_type: String,
}

/// The tensors of a file in order of their names.
pub(super) fn tensors(bytes: &[u8]) -> Result<Vec<TensorEntry>> {
    let (_, metadata) = SafeTensors::read_metadata(bytes)
        .map_err(|error| Error::user("the weights are no safetensors file").caused_by(error))?;
    let mut tensors: Vec<TensorEntry> = metadata
        .tensors()
        .into_iter()
        .map(|(name, info)| TensorEntry { name, shape: info.shape.clone(), data_type: format!("{:?}", info.dtype) })
        .collect();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}
