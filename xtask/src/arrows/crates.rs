//! Which crate of the workspace knows which, from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde::Deserialize;

use crate::workspace;

/// The drivers, which must know nothing that the model knows and they test against it.
const DRIVERS: [&str; 3] = ["gicv5-irs", "gicv5-phys", "gicv5-hyp"];
const MODEL: &str = "gicv5-model";
const CONFORMANCE: &str = "gicv5-conformance";
/// The crates of the workspace that the conformance suite may know: it runs on other people's machines.
const GROUND: [&str; 3] = ["gicv5-arch", "gicv5-hal", "gicv5-random"];

/// What `cargo metadata` says, as far as it matters here.
#[derive(Deserialize)]
pub(super) struct Crates {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev` or `build`; `None` for those of the crate itself.
    kind: Option<String>,
}

impl Crates {
    pub(super) fn of_workspace() -> Result<Crates> {
        let shell = workspace::shell()?;
        let metadata =
            workspace::cargo(&shell).args(["metadata", "--no-deps", "--format-version", "1"]).quiet().read()?;
        Ok(serde_json::from_str(&metadata)?)
    }

    /// The arrows that run the wrong way, with the crates they lead through.
    pub(super) fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut refuse = |tests: bool, from: &str, refused: &dyn Fn(&str) -> bool| {
            let chains = self.chains(from, tests);
            wrong.extend(chains.into_iter().filter(|(to, _)| refused(to)).map(|(_, chain)| chain));
        };
        refuse(true, MODEL, &|to| DRIVERS.contains(&to));
        for driver in DRIVERS {
            refuse(false, driver, &|to| to == MODEL);
        }
        refuse(false, CONFORMANCE, &|to| self.package(to).is_some() && !GROUND.contains(&to));
        wrong
    }

    fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    /// Every crate that `from` depends on, and through which; with `tests`, what the tests of `from` depend on, too.
    fn chains(&self, from: &str, tests: bool) -> BTreeMap<&str, String> {
        let mut chains = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut next = vec![(from, from.to_owned())];
        while let Some((name, chain)) = next.pop() {
            for dependency in self.package(name).iter().flat_map(|package| &package.dependencies) {
                let is_test = dependency.kind.as_deref() == Some("dev");
                if (!is_test || tests && name == from) && seen.insert(dependency.name.as_str()) {
                    let chain = format!("{chain} -> {}", dependency.name);
                    chains.insert(dependency.name.as_str(), chain.clone());
                    next.push((&dependency.name, chain));
                }
            }
        }
        chains
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Dependencies<'a> = &'a [(&'a str, Option<&'a str>)];

    /// The wrong arrows between crates with these dependencies.
    fn wrong(crates: &[(&str, Dependencies<'_>)]) -> Vec<String> {
        let packages = crates.iter().map(|(name, dependencies)| {
            let dependencies = dependencies
                .iter()
                .map(|(name, kind)| Dependency { name: (*name).to_owned(), kind: kind.map(str::to_owned) });
            Package { name: (*name).to_owned(), dependencies: dependencies.collect() }
        });
        Crates { packages: packages.collect() }.wrong()
    }

    #[test]
    fn neither_model_nor_driver_knows_the_other_through_any_crate() {
        assert_eq!(wrong(&[("gicv5-hyp", &[("gicv5-model", Some("dev"))]), ("gicv5-model", &[])]), [""; 0]);
        for kind in [None, Some("dev"), Some("build")] {
            let found = wrong(&[("gicv5-model", &[("gicv5-irs", kind)])]);
            assert_eq!(found, ["gicv5-model -> gicv5-irs"]);
        }
        let through =
            [("gicv5-hyp", &[("a", None)][..]), ("a", &[("b", Some("build"))]), ("b", &[("gicv5-model", None)])];
        assert_eq!(wrong(&through), ["gicv5-hyp -> a -> b -> gicv5-model"]);
        // What only the tests of a crate in between need is not needed by the driver.
        assert_eq!(wrong(&[("gicv5-hyp", &[("a", None)]), ("a", &[("gicv5-model", Some("dev"))])]), [""; 0]);
    }

    #[test]
    fn the_conformance_suite_knows_the_ground_and_other_peoples_crates() {
        let ground = [("gicv5-conformance", &[("gicv5-hal", None), ("thiserror", None)][..]), ("gicv5-hal", &[])];
        assert_eq!(wrong(&ground), [""; 0]);
        let above = [("gicv5-conformance", &[("gicv5-phys", None)][..]), ("gicv5-phys", &[])];
        assert_eq!(wrong(&above), ["gicv5-conformance -> gicv5-phys"]);
    }

    #[test]
    fn a_dependency_the_wrong_way_in_a_real_manifest_is_noticed() {
        for (from, to) in
            [(MODEL, "gicv5-irs"), ("gicv5-irs", MODEL), ("gicv5-phys", MODEL), (CONFORMANCE, "gicv5-hyp")]
        {
            let mut crates = Crates::of_workspace().unwrap();
            let package = crates.packages.iter_mut().find(|package| package.name == from).unwrap();
            package.dependencies.push(Dependency { name: to.to_owned(), kind: None });
            assert!(!crates.wrong().is_empty(), "{from} -> {to}");
        }
    }
}
