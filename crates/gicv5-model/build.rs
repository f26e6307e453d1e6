//! Writes down what each behaviour rule rests on, as `docs/rules.md` has it: the checker says so in each report.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let row = |rule: &gicv5_facts::Rule| format!("    ({:?}, Basis::{:?}),\n", rule.id, rule.basis);
    let rows: String = gicv5_facts::rules()?.rules.iter().map(row).collect();
    let place = env::var_os("OUT_DIR").ok_or("cargo names no place for what is generated")?;
    fs::write(Path::new(&place).join("basis.rs"), format!("const BASIS: &[(&str, Basis)] = &[\n{rows}];\n"))?;
    Ok(())
}
