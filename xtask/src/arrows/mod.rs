//! Which way the arrows run: crates that must not know each other, and files of a crate that must not know each other.
//!
//! The model is a peer of the drivers: code that both share could let both make one mistake, and no test would see it. And
//! files that know each other can only be read, tested and moved together.

mod crates;
pub(crate) mod modules;

use std::path::Path;

use anyhow::{Result, ensure};

use crate::workspace;
use crates::Crates;
use modules::Arrows;

/// Show arrows that run the wrong way: crates that must not depend on each other, and files that know each other
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The crates whose files to look at, instead of those that the gate looks at
    #[arg(value_name = "CRATE")]
    crates: Vec<String>,
}

/// How many files of a crate may know each other; 1 says that none may know another that knows it.
const CIRCLES: [(&str, usize); 4] = [("gicv5-irs", 1), ("gicv5-phys", 1), ("gicv5-hyp", 1), ("gicv5-model", 4)];

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut wrong = Crates::of_workspace()?.wrong();
    let named = args.crates.iter().map(|name| (name.as_str(), 1));
    let looked_at: Vec<(&str, usize)> = if args.crates.is_empty() { CIRCLES.to_vec() } else { named.collect() };
    for (name, allowed) in looked_at {
        wrong.extend(circles(name, allowed)?);
    }
    wrong.iter().for_each(|wrong| println!("{wrong}"));
    ensure!(wrong.is_empty(), "{} arrows or circles of arrows run the wrong way", wrong.len());
    println!("no arrow runs the wrong way");
    Ok(())
}

/// The circles of a crate.
fn circles(name: &str, allowed: usize) -> Result<Vec<String>> {
    let source = workspace::root()?.join("crates").join(name).join("src");
    let arrows = Arrows::of(|path: &Path| std::fs::read_to_string(source.join(path)).ok())?;
    Ok(arrows.circles(allowed).iter().map(|circle| format!("{name}: {circle}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_arrow_between_crates_runs_the_wrong_way() {
        assert_eq!(Crates::of_workspace().unwrap().wrong(), [""; 0]);
    }

    #[test]
    fn no_circle_of_files_is_larger_than_its_crate_allows() {
        for (name, allowed) in CIRCLES {
            assert_eq!(circles(name, allowed).unwrap(), [""; 0]);
        }
    }

    /// In each crate, the file that most others know is made to know all of them.
    #[test]
    fn an_arrow_the_wrong_way_in_a_real_crate_is_noticed() {
        for (name, allowed) in CIRCLES {
            let source = workspace::root().unwrap().join("crates").join(name).join("src");
            let read = |path: &Path| std::fs::read_to_string(source.join(path)).ok();
            let arrows = Arrows::of(read).unwrap();
            let lowest = arrows.most_known().unwrap().to_path_buf();
            let wrong: String = modules::files(read).unwrap().iter().map(|file| climb(file)).collect();
            let circles =
                Arrows::of(|path: &Path| read(path).map(|text| if path == lowest { text + &wrong } else { text }));
            let circles = circles.unwrap().circles(allowed).len();
            assert!(circles > 0, "{name}: {} may know every file", lowest.display());
        }
    }

    /// A use of something that a file could define.
    fn climb(file: &Path) -> String {
        let module = file.with_extension("").display().to_string().replace('/', "::");
        match module.as_str() {
            "lib" => String::new(),
            module => format!("\nuse crate::{}::Something as _;", module.trim_end_matches("::mod")),
        }
    }
}
