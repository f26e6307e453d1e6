//! `registers.toml` exactly as it is written.
//!
//! The shapes here follow the file; the module `registers` turns them into types that cannot hold a contradiction.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::registers::{Access, Class, Encoding, ExceptionLevel, Form, Operand, Ppi, Source, Status, StatusPair};
use crate::registers::{Alignment, Disagreement, Limit};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTable {
    pub(crate) title: String,
    pub(crate) schema_version: u32,
    pub(crate) classes: Vec<Class>,
    pub(crate) source: Vec<Source>,
    pub(crate) register: Vec<RawRegister>,
    pub(crate) limit: Vec<Limit>,
    pub(crate) alignment: Vec<Alignment>,
    pub(crate) ppi: Vec<Ppi>,
    pub(crate) status_pair: Vec<StatusPair>,
    pub(crate) disagreement: Vec<Disagreement>,
    pub(crate) gaps: RawGaps,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawGaps {
    pub(crate) items: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRegister {
    pub(crate) name: String,
    pub(crate) view: Option<String>,
    pub(crate) class: Class,
    pub(crate) purpose: String,
    pub(crate) offset: Option<u32>,
    #[serde(default)]
    pub(crate) offset_unknown: bool,
    pub(crate) encoding: Option<Encoding>,
    #[serde(default)]
    pub(crate) encoding_unknown: bool,
    pub(crate) generic_name: Option<String>,
    pub(crate) index_min: Option<u32>,
    pub(crate) index_max: Option<u32>,
    pub(crate) stride: Option<u32>,
    pub(crate) vncr_offset: Option<u32>,
    pub(crate) accessed_via: Option<String>,
    pub(crate) width: Option<u16>,
    pub(crate) access: Option<Access>,
    pub(crate) access_confirmed: Option<bool>,
    pub(crate) reset: Option<String>,
    pub(crate) status: Option<Status>,
    pub(crate) form: Option<Form>,
    pub(crate) operand: Option<Operand>,
    pub(crate) word_x0: Option<u32>,
    pub(crate) word_xzr: Option<u32>,
    pub(crate) min_el: Option<ExceptionLevel>,
    pub(crate) entry_bytes: Option<u32>,
    #[serde(default)]
    pub(crate) opaque: bool,
    pub(crate) size: Option<String>,
    pub(crate) confirmed: u8,
    pub(crate) location_sources: Vec<String>,
    pub(crate) field_sources: Vec<String>,
    #[serde(default)]
    pub(crate) fields_inferred: bool,
    pub(crate) note: Option<String>,
    pub(crate) fields: Vec<RawField>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawField {
    pub(crate) name: String,
    pub(crate) msb: u16,
    pub(crate) lsb: u16,
    pub(crate) element_width: Option<u16>,
    #[serde(default)]
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) note: Option<String>,
}
