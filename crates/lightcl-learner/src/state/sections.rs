//! The parts that a saved state is made of.

use super::{Extent, VERSION};
use crate::network::{Weight, tensor, values};
use burn::tensor::{Device, Tensor};
use lightcl_core::{Error, Result, state};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeMap;

/// Bytes that are copied as they are (serde would visit them one by one).
pub(super) struct Blob(pub(super) Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Blob;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

/// 32-bit floats with their shape, as kept in memory.
#[derive(Serialize, Deserialize)]
pub(super) struct Numbers {
    shape: Vec<u64>,
    bytes: Blob,
}

impl Numbers {
    pub(super) fn new(shape: &[usize], values: &[f32]) -> Numbers {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Numbers { shape: shape.iter().map(|&size| size as u64).collect(), bytes: Blob(bytes) }
    }

    pub(super) fn of<const D: usize>(tensor: &Tensor<D>) -> Result<Numbers> {
        Ok(Numbers::new(&tensor.dims(), &values(tensor.clone())?))
    }

    pub(super) fn of_weight(weight: &Weight) -> Result<Numbers> {
        Ok(Numbers::new(&weight.shape(), &weight.values()?))
    }

    /// The values, when the shape is the one wanted.
    pub(super) fn of_shape(&self, shape: &[usize], what: &str) -> Result<Vec<f32>> {
        let (chunks, rest) = self.bytes.0.as_chunks::<4>();
        let is_shape = self.shape.iter().map(|&size| usize::try_from(size).ok()).eq(shape.iter().map(|&s| Some(s)));
        if !is_shape || !rest.is_empty() || chunks.len() != shape.iter().product::<usize>() {
            return Err(Error::user("the saved state has a tensor of another shape")
                .with("tensor", what)
                .with("expected", format!("{shape:?}"))
                .with("found", format!("{:?}", self.shape)));
        }
        Ok(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect())
    }

    pub(super) fn rows(&self, width: usize, device: &Device, what: &str) -> Result<Tensor<2>> {
        let rows = self.shape.first().and_then(|&rows| usize::try_from(rows).ok()).unwrap_or(0);
        if rows == 0 || rows.checked_mul(width).is_none_or(|count| count > self.bytes.0.len()) {
            return Err(Error::user("the saved state has a tensor without rows").with("tensor", what));
        }
        Ok(tensor(self.of_shape(&[rows, width], what)?, [rows, width], device))
    }
}

/// Names of the sections.
pub(super) mod section {
    pub(in crate::state) const SETTINGS: &str = "settings";
    pub(in crate::state) const CLASSES: &str = "classes";
    pub(in crate::state) const GENERATOR: &str = "generator";
    pub(in crate::state) const PREFIX: &str = "prefix";
    pub(in crate::state) const PREFIX_STATISTICS: &str = "prefix_statistics";
    pub(in crate::state) const PREFIX_DIGEST: &str = "prefix_digest";
    pub(in crate::state) const SUFFIX: &str = "suffix";
    pub(in crate::state) const SUFFIX_STATISTICS: &str = "suffix_statistics";
    pub(in crate::state) const OPTIMISER: &str = "optimiser";
    pub(in crate::state) const MASKS: &str = "masks";
    pub(in crate::state) const REFERENCES: &str = "references";
    pub(in crate::state) const PRUNING: &str = "pruning";
    pub(in crate::state) const ANALYTIC: &str = "analytic";
    pub(in crate::state) const REPLAY: &str = "replay";
    pub(in crate::state) const BRIDGE: &str = "bridge";
    pub(in crate::state) const ALL: [&str; 15] = [
        SETTINGS,
        CLASSES,
        GENERATOR,
        PREFIX,
        PREFIX_STATISTICS,
        PREFIX_DIGEST,
        SUFFIX,
        SUFFIX_STATISTICS,
        OPTIMISER,
        MASKS,
        REFERENCES,
        PRUNING,
        ANALYTIC,
        REPLAY,
        BRIDGE,
    ];
}

#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<(String, Blob)>);

impl Writer {
    pub(super) fn put<T: Serialize>(&mut self, name: &str, value: &T) -> Result<()> {
        self.0.push((name.to_owned(), Blob(state::encode(name, VERSION, value)?)));
        Ok(())
    }
}

pub(super) struct Sections(BTreeMap<String, Blob>);

impl Sections {
    pub(super) fn read(bytes: &[u8], extent: Extent) -> Result<Sections> {
        let list: Vec<(String, Blob)> = state::decode(extent.tag(), VERSION, bytes)?;
        for (name, _) in &list {
            if !section::ALL.contains(&name.as_str()) {
                return Err(Error::user(
                    "the saved state has a section that this version does not know; use the version that wrote it, or start over with --fresh",
                )
                .with("section", name));
            }
        }
        Ok(Sections(list.into_iter().collect()))
    }

    pub(super) fn optional<T: de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        self.0.get(name).map(|blob| state::decode(name, VERSION, &blob.0)).transpose()
    }

    pub(super) fn required<T: de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        self.optional(name)?.ok_or_else(|| Error::user("the saved state lacks a section").with("section", name))
    }
}
