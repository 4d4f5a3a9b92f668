//! The manifest of a saved dataset, `dataset.json`.

use crate::error::{Result, malformed};
use crate::materialize::home::Home;
use crate::materialize::layout::{FORMAT, MANIFEST, is_part_name};
use serde_json::{Value, json};
use tensorferry_core::{DType, Shape, TensorSpec};
use tensorferry_io::storage::url::Place;

const MAGIC: &str = "tensorferry.dataset";
const VERSION: u64 = 1;

/// The version of a dataset of parts.
const OF_PARTS: u64 = 2;

/// Maximum size of the file, in bytes.
const LONGEST: u64 = 64 << 20;

/// The contents of `dataset.json`.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) cardinality: u64,
    pub(crate) components: Vec<TensorSpec>,
    /// How the components nest; `null` where it was not given.
    pub(crate) structure: Value,
    /// The folder of the other files, if they are not beside this one.
    pub(crate) folder: Option<String>,
    /// The parts that hold the rows, in order, if there are several files.
    pub(crate) parts: Option<Vec<PartRows>>,
}

/// Some of the rows, in files of their own.
#[derive(Debug)]
pub(crate) struct PartRows {
    pub(crate) name: String,
    pub(crate) rows: u64,
}

impl Manifest {
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let component =
            |spec: &TensorSpec| json!({"dtype": spec.dtype.name(), "shape": spec.shape.dims()});
        let components: Vec<Value> = self.components.iter().map(component).collect();
        let mut manifest = json!({
            "format": MAGIC,
            "version": if self.parts.is_some() { OF_PARTS } else { VERSION },
            "cardinality": self.cardinality,
            "components": components,
            "structure": self.structure,
        });
        if let Some(folder) = &self.folder {
            manifest["folder"] = json!(folder);
        }
        if let Some(parts) = &self.parts {
            manifest["parts"] = parts.iter().map(|part| json!([part.name, part.rows])).collect();
        }
        format!("{manifest:#}\n").into_bytes()
    }

    /// # Errors
    /// [`Error::Io`] if there is nothing of that name; [`tensorferry_core::Error::Malformed`], in
    /// the file, if it is not a dataset, or one of a later version.
    pub(crate) fn read(home: &Home) -> Result<Self> {
        let path = home.path(MANIFEST);
        if let Place::Local(directory) = &home.place
            && directory.is_dir()
            && !path.exists()
        {
            let what = format!("not a saved dataset: expected a directory with a file {MANIFEST}");
            return Err(malformed(FORMAT, what, directory));
        }
        let file = home.open(MANIFEST)?;
        if file.len() > LONGEST {
            let what = format!("{} bytes; at most {LONGEST} are read", file.len());
            return Err(malformed(FORMAT, what, &path));
        }
        let bytes = file.read_up_to(0, usize::try_from(file.len()).unwrap_or(usize::MAX))?;
        Self::parse(&bytes).map_err(|what| malformed(FORMAT, what, &path))
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Value =
            serde_json::from_slice(bytes).map_err(|error| format!("JSON was expected: {error}"))?;
        if field(&manifest, "format").ok() != Some(&Value::from(MAGIC)) {
            return Err(format!("not a saved dataset: expected \"format\": \"{MAGIC}\""));
        }
        let version = number(&manifest, "version")?;
        if ![VERSION, OF_PARTS].contains(&version) {
            return Err(format!(
                "it is of version {version}; this one reads versions {VERSION} and {OF_PARTS}"
            ));
        }
        let cardinality = number(&manifest, "cardinality")?;
        let components =
            field(&manifest, "components")?.as_array().ok_or("\"components\" has to be a list")?;
        let components = components.iter().map(component).collect::<Result<Vec<_>, String>>()?;
        if components.is_empty() {
            return Err("\"components\" has to name one".into());
        }
        let structure = field(&manifest, "structure")?.clone();
        let folder = manifest.get("folder").map(folder).transpose()?;
        let parts = match version {
            OF_PARTS => Some(parts(&manifest, cardinality)?),
            _ => None,
        };
        Ok(Self { cardinality, components, structure, folder, parts })
    }
}

fn field<'a>(object: &'a Value, name: &str) -> Result<&'a Value, String> {
    object.get(name).ok_or_else(|| format!("\"{name}\" is missing"))
}

/// The parts, which hold as many rows as the dataset.
fn parts(manifest: &Value, cardinality: u64) -> Result<Vec<PartRows>, String> {
    let listed = field(manifest, "parts")?.as_array().filter(|parts| !parts.is_empty());
    let part = |part: &Value| {
        let name = part.get(0)?.as_str().filter(|name| is_part_name(name))?.to_owned();
        Some(PartRows { name, rows: part.get(1)?.as_u64()? })
    };
    let parts: Vec<PartRows> = listed
        .and_then(|parts| parts.iter().map(part).collect())
        .ok_or("\"parts\" has to list names and numbers of rows")?;
    let rows = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.rows));
    match rows == Some(cardinality) {
        true => Ok(parts),
        false => Err(format!("its parts do not add up to {cardinality} elements")),
    }
}

/// The name of a folder beside the manifest.
fn folder(value: &Value) -> Result<String, String> {
    let name = value.as_str().filter(|name| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !name.is_empty() && name.bytes().all(plain)
    });
    name.map(str::to_owned).ok_or_else(|| format!("{value} is not the name of a folder"))
}

fn number(object: &Value, name: &str) -> Result<u64, String> {
    field(object, name)?.as_u64().ok_or_else(|| format!("\"{name}\" has to be a whole number"))
}

fn component(object: &Value) -> Result<TensorSpec, String> {
    let dtype = field(object, "dtype")?;
    let dtype = dtype
        .as_str()
        .and_then(DType::from_name)
        .ok_or_else(|| format!("{dtype} is not a dtype of tensors"))?;
    let shape = match field(object, "shape")? {
        Value::Null => Shape::unknown(),
        Value::Array(dims) => {
            Shape::new(dims.iter().map(dimension).collect::<Result<Vec<_>, _>>()?)
        }
        other => return Err(format!("a shape was expected, not {other}")),
    };
    Ok(TensorSpec::new(dtype, shape))
}

fn dimension(dim: &Value) -> Result<Option<usize>, String> {
    if dim.is_null() {
        return Ok(None);
    }
    let len = dim.as_u64().and_then(|len| usize::try_from(len).ok());
    len.map(Some).ok_or_else(|| format!("a length was expected, not {dim}"))
}
