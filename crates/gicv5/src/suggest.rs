//! "Did you mean": the names nearest to what was typed.

/// How many names a message offers.
const OFFERED: usize = 4;

/// Longer than any name by far; comparing more characters only costs time.
const LONGEST: usize = 48;

/// The names nearest to `typed`, best first, compared without case.
///
/// Names that contain what was typed come first, because leaving out a prefix (`VMAP_VMR`) is the commonest slip.
pub(crate) fn nearest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let typed = typed.trim().to_ascii_uppercase();
    let length = typed.chars().count();
    if length > LONGEST {
        return Vec::new();
    }
    let allowed = 1 + length / 4;
    let mut ranked: Vec<(usize, &str)> = names
        .into_iter()
        .filter_map(|name| {
            let upper = name.to_ascii_uppercase();
            if length >= 3 && upper.contains(&typed) {
                return Some((0, name));
            }
            let distance = strsim::osa_distance(&typed, &upper);
            (distance <= allowed).then_some((distance, name))
        })
        .collect();
    ranked.sort_by_key(|(distance, _)| *distance);
    ranked.dedup();
    let best = ranked.first().map_or(0, |(distance, _)| *distance);
    ranked.into_iter().filter(|(distance, _)| *distance <= best + 1).map(|(_, name)| name).take(OFFERED).collect()
}

/// The end of an error message: the names offered, or where to find them all.
pub(crate) fn hint(names: &[&str], otherwise: &str) -> String {
    match names {
        [] => otherwise.to_owned(),
        [only] => format!("the nearest name is {only}"),
        several => format!("the nearest names are {}", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_finds_the_name() {
        let names = ["IRS_IDR0", "IRS_VPE_DBR", "IRS_VMAP_VMR", "GIC VDPEND"];
        assert_eq!(nearest("irs_vpe_drb", names), ["IRS_VPE_DBR"]);
        assert_eq!(nearest("vdpend", names), ["GIC VDPEND"]);
        assert_eq!(nearest("vmap_vmr", names), ["IRS_VMAP_VMR"]);
        assert!(nearest("colour", names).is_empty());
        assert!(nearest(&"x".repeat(100_000), names).is_empty());
    }
}
