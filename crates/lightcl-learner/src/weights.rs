//! Weights by name, from safetensors and PyTorch files.

use burn::tensor::{bf16, f16};
use lightcl_core::{Error, Result};
use pytorch_reader::{DType, PytorchReader};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::Path;

/// Weights by name, as read from a file.
///
/// The learner looks for PyTorch state-dict names: `lower.0.weight`, `deep.1.bias` (MLP), `stem.weight`,
/// `bn.running_mean`, `lower.2.short.0.weight`, `deep.0.conv1.weight` (ResNet-18), `head.weight`. Shapes are PyTorch's
/// (linear `[outputs, inputs]`, convolution `[outputs, inputs, height, width]`). Tensors of any floating or integer type
/// become 32-bit floats; tensors that are not asked for are passed over.
///
/// # Names of another program
/// [`NamedWeights::with_names`] takes a map from our names to those in the file. A key that ends with a dot (or is
/// empty) stands for every name that starts with it; the longest key that fits decides:
///
/// ```
/// use lightcl_learner::NamedWeights;
/// use std::collections::BTreeMap;
///
/// let weights = NamedWeights::from_tensors([("model.layer4.0.bn1.bias".to_owned(), vec![1], vec![0.5])])
///     .with_names(BTreeMap::from([
///         (String::new(), "model.".to_owned()),
///         ("deep.".to_owned(), "model.layer4.".to_owned()),
///     ]));
/// assert_eq!(weights.get("deep.0.bn1.bias", &[1])?, [0.5]);
/// # Ok::<(), lightcl_core::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NamedWeights {
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    names: BTreeMap<String, String>,
}

impl NamedWeights {
    /// Weights from `(name, shape, values)`; a repeated name keeps the last.
    pub fn from_tensors(tensors: impl IntoIterator<Item = (String, Vec<usize>, Vec<f32>)>) -> Self {
        let tensors = tensors.into_iter().map(|(name, shape, values)| (name, (shape, values))).collect();
        NamedWeights { tensors, names: BTreeMap::new() }
    }

    /// Reads a safetensors file.
    ///
    /// # Errors
    /// When the file cannot be read or is not safetensors.
    pub fn from_safetensors(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|error| cannot_read(path).caused_by(error))?;
        Self::from_safetensors_bytes(&bytes).map_err(|error| error.with("file", path.display()))
    }

    /// Reads safetensors bytes.
    ///
    /// # Errors
    /// When the bytes are not safetensors or hold a type that has no 32-bit float form.
    pub fn from_safetensors_bytes(bytes: &[u8]) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|error| Error::user("this is not a whole safetensors file").caused_by(error))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let values = floats(element(view.dtype()), view.data()).ok_or_else(|| {
                Error::user("a tensor has a type that cannot become 32-bit floats")
                    .with("tensor", name)
                    .with("type", format!("{:?}", view.dtype()))
            })?;
            tensors.insert(name.to_owned(), (view.shape().to_vec(), values));
        }
        Ok(NamedWeights { tensors, names: BTreeMap::new() })
    }

    /// Reads a PyTorch file (`.pt`, `.pth`): a state dict, or a checkpoint that holds one under `state_dict`,
    /// `model_state_dict` or `model`.
    ///
    /// # Errors
    /// When the file cannot be read or holds no tensors.
    pub fn from_pytorch(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        // Told apart first, so that a missing file is not reported as a broken one.
        std::fs::File::open(path).map_err(|error| cannot_read(path).caused_by(error))?;
        let broken = |error: String| {
            Error::user("this is not a PyTorch file that can be read").with("file", path.display()).caused_by(error)
        };
        let reader = PytorchReader::new(path).map_err(|error| broken(error.to_string()))?;
        let nested = ["state_dict.", "model_state_dict.", "model."]
            .into_iter()
            .find(|prefix| !reader.is_empty() && reader.tensors().keys().any(|name| name.starts_with(prefix)));
        let mut tensors = BTreeMap::new();
        for (name, tensor) in reader.tensors() {
            let name = match nested {
                None => name.as_str(),
                Some(prefix) => match name.strip_prefix(prefix) {
                    Some(rest) => rest,
                    // Beside the weights: optimiser state and the like.
                    None => continue,
                },
            };
            let bytes = tensor.read().map_err(|error| broken(error.to_string()))?;
            let values = floats(pytorch_element(tensor.dtype()), &bytes)
                .ok_or_else(|| broken(format!("tensor {name} has an odd number of bytes")))?;
            tensors.insert(name.to_owned(), (tensor.shape().to_vec(), values));
        }
        if tensors.is_empty() {
            return Err(Error::user("the PyTorch file holds no tensors").with("file", path.display()));
        }
        Ok(NamedWeights { tensors, names: BTreeMap::new() })
    }

    /// Looks names up through `names` (ours to theirs; see the type's description).
    #[must_use]
    pub fn with_names(mut self, names: BTreeMap<String, String>) -> Self {
        self.names = names;
        self
    }

    /// Every name in the file, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub(crate) fn into_tensors(self) -> impl Iterator<Item = (String, Vec<usize>, Vec<f32>)> {
        self.tensors.into_iter().map(|(name, (shape, values))| (name, shape, values))
    }

    /// The name in the file of one of our tensors.
    fn theirs(&self, name: &str) -> String {
        let fits = |key: &str| key == name || ((key.is_empty() || key.ends_with('.')) && name.starts_with(key));
        match self.names.iter().filter(|(key, _)| fits(key)).max_by_key(|(key, _)| key.len()) {
            Some((key, theirs)) => format!("{theirs}{}", &name[key.len()..]),
            None => name.to_owned(),
        }
    }

    /// Whether the file has the tensor that we call `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(&self.theirs(name))
    }

    /// The shape of the tensor that we call `name`.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(&self.theirs(name)).map(|(shape, _)| shape.as_slice())
    }

    /// The values of the tensor that we call `name`, row-major.
    ///
    /// # Errors
    /// A user error when the file has no such tensor or one of another shape; it names both.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<&[f32]> {
        let theirs = self.theirs(name);
        let Some((found, values)) = self.tensors.get(&theirs) else {
            return Err(Error::user(
                "the weights lack a tensor; check backbone and widths, or map its name with weight_names",
            )
            .with("tensor", name)
            .with("looked_for", theirs)
            .with("expected_shape", format!("{shape:?}"))
            .with("found", self.names().take(8).collect::<Vec<_>>().join(", ")));
        };
        if found != shape || values.len() != shape.iter().product::<usize>() {
            return Err(Error::user("a tensor of the weights has another shape; check backbone, widths and classes")
                .with("tensor", name)
                .with("expected_shape", format!("{shape:?}"))
                .with("found_shape", format!("{found:?}")));
        }
        Ok(values)
    }
}

fn cannot_read(path: &Path) -> Error {
    Error::user("cannot read the weights").with("file", path.display())
}

/// How one number is written.
#[derive(Clone, Copy)]
enum Number {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
}

fn element(dtype: Dtype) -> Option<Number> {
    Some(match dtype {
        Dtype::F64 => Number::F64,
        Dtype::F32 => Number::F32,
        Dtype::F16 => Number::F16,
        Dtype::BF16 => Number::Bf16,
        Dtype::I64 => Number::I64,
        Dtype::I32 => Number::I32,
        Dtype::I16 => Number::I16,
        Dtype::I8 => Number::I8,
        Dtype::U64 => Number::U64,
        Dtype::U32 => Number::U32,
        Dtype::U16 => Number::U16,
        Dtype::U8 | Dtype::BOOL => Number::U8,
        _ => return None,
    })
}

fn pytorch_element(dtype: DType) -> Option<Number> {
    Some(match dtype {
        DType::F64 => Number::F64,
        DType::F32 => Number::F32,
        DType::F16 => Number::F16,
        DType::BF16 => Number::Bf16,
        DType::I64 => Number::I64,
        DType::I32 => Number::I32,
        DType::I16 => Number::I16,
        DType::I8 => Number::I8,
        DType::U64 => Number::U64,
        DType::U32 => Number::U32,
        DType::U16 => Number::U16,
        DType::U8 | DType::Bool => Number::U8,
    })
}

/// Little-endian numbers as 32-bit floats; none when the bytes do not divide into numbers.
fn floats(number: Option<Number>, bytes: &[u8]) -> Option<Vec<f32>> {
    macro_rules! convert {
        ($type:ty, $size:literal, $value:ident => $float:expr) => {{
            let (chunks, rest) = bytes.as_chunks::<$size>();
            rest.is_empty().then(|| {
                chunks
                    .iter()
                    .map(|chunk| {
                        let $value = <$type>::from_le_bytes(*chunk);
                        $float
                    })
                    .collect()
            })
        }};
    }
    match number? {
        Number::F64 => convert!(f64, 8, v => v as f32),
        Number::F32 => convert!(f32, 4, v => v),
        Number::F16 => convert!(f16, 2, v => v.to_f32()),
        Number::Bf16 => convert!(bf16, 2, v => v.to_f32()),
        Number::I64 => convert!(i64, 8, v => v as f32),
        Number::I32 => convert!(i32, 4, v => v as f32),
        Number::I16 => convert!(i16, 2, v => f32::from(v)),
        Number::I8 => convert!(i8, 1, v => f32::from(v)),
        Number::U64 => convert!(u64, 8, v => v as f32),
        Number::U32 => convert!(u32, 4, v => v as f32),
        Number::U16 => convert!(u16, 2, v => f32::from(v)),
        Number::U8 => convert!(u8, 1, v => f32::from(v)),
    }
}
