//! Holds every package of the lock file to the licences the project may ship with.

use crate::workspace;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use spdx::{Expression, ParseMode, expression::ExpressionReq};

/// The licences that put no condition on the users of the project beyond a notice.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// What cargo calls the only registry that packages may come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Check licence and origin of every package in Cargo.lock
#[derive(clap::Args)]
pub(crate) struct Args {}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

pub(crate) fn run(Args {}: &Args) -> Result<()> {
    let shell = workspace::shell()?;
    let json = workspace::cargo(&shell).args(["metadata", "--locked", "--format-version", "1"]).quiet().read()?;
    let metadata: Metadata = serde_json::from_str(&json).context("reading what cargo metadata printed")?;
    let offenders = offenders(&metadata)?;
    for offender in &offenders {
        eprintln!("{offender}");
    }
    if !offenders.is_empty() {
        bail!("{} objections to {} packages", offenders.len(), metadata.packages.len());
    }
    println!(
        "licences: {} packages, all under permissive licences, all from crates.io or this workspace",
        metadata.packages.len()
    );
    Ok(())
}

/// One line for each thing wrong with a package.
fn offenders(metadata: &Metadata) -> Result<Vec<String>> {
    let mut offenders = Vec::new();
    for package in &metadata.packages {
        let Package { id, name, version, license, source } = package;
        if let Some(objection) = licence_objection(license.as_deref())? {
            offenders.push(format!("{name} {version}: {objection}"));
        }
        match source {
            Some(source) if source == REGISTRY => {}
            Some(source) => offenders.push(format!("{name} {version}: comes from {source}, not from crates.io")),
            None if metadata.workspace_members.contains(id) => {}
            None => offenders.push(format!("{name} {version}: comes from a path outside the workspace")),
        }
    }
    Ok(offenders)
}

/// Why a package with this licence field may not be used, or `None`.
fn licence_objection(license: Option<&str>) -> Result<Option<String>> {
    let Some(license) = license else {
        return Ok(Some("names no licence".to_owned()));
    };
    // Lax, because old manifests still write `MIT/Apache-2.0`.
    let expression = match Expression::parse_mode(license, ParseMode::LAX) {
        Ok(expression) => expression,
        Err(error) => {
            return Ok(Some(format!("licence `{license}` cannot be read: {}", error.reason)));
        }
    };
    let allowed = ALLOWED.iter().map(|allowed| Expression::parse(allowed)).collect::<Result<Vec<_>, _>>()?;
    let is_allowed = |wanted: &spdx::LicenseReq| {
        allowed.iter().flat_map(Expression::requirements).any(|ExpressionReq { req, .. }| req == wanted)
    };
    Ok(match expression.evaluate_with_failures(is_allowed) {
        Ok(()) => None,
        Err(refused) => {
            let names: Vec<_> = refused.iter().map(|refused| refused.req.to_string()).collect();
            Some(format!("licence `{license}` needs {}, which is not on the list", names.join(", ")))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objection(license: &str) -> Option<String> {
        licence_objection(Some(license)).unwrap()
    }

    #[test]
    fn one_allowed_branch_of_an_or_is_enough() {
        assert_eq!(objection("MIT OR Apache-2.0"), None);
        assert_eq!(objection("GPL-2.0-only OR MIT"), None);
        assert_eq!(objection("MIT/Apache-2.0"), None);
    }

    #[test]
    fn every_branch_of_an_and_must_be_allowed() {
        assert_eq!(objection("(MIT OR Apache-2.0) AND Unicode-3.0"), None);
        assert!(objection("MIT AND MPL-2.0").unwrap().contains("MPL-2.0"));
    }

    #[test]
    fn copyleft_is_refused_and_named() {
        assert!(objection("MPL-2.0").unwrap().contains("MPL-2.0"));
        assert!(objection("GPL-3.0-or-later").unwrap().contains("GPL-3.0-or-later"));
    }

    #[test]
    fn an_exception_is_part_of_the_licence() {
        assert_eq!(objection("Apache-2.0 WITH LLVM-exception"), None);
        assert!(objection("MIT WITH Classpath-exception-2.0").is_some());
    }

    #[test]
    fn a_licence_that_is_missing_or_unreadable_is_refused() {
        assert!(licence_objection(None).unwrap().is_some());
        assert!(objection("MIT OR").is_some());
        assert!(objection("LicenseRef-proprietary").is_some());
    }

    #[test]
    fn a_package_from_a_git_repository_is_refused() {
        let package = |source: Option<&str>| Metadata {
            packages: vec![Package {
                id: "an-id".to_owned(),
                name: "a-crate".to_owned(),
                version: "1.0.0".to_owned(),
                license: Some("MIT".to_owned()),
                source: source.map(str::to_owned),
            }],
            workspace_members: Vec::new(),
        };
        assert!(offenders(&package(Some(REGISTRY))).unwrap().is_empty());
        assert_eq!(offenders(&package(Some("git+https://example.org/a-crate"))).unwrap().len(), 1);
        assert_eq!(offenders(&package(None)).unwrap().len(), 1);
    }
}
