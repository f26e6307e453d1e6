//! What the device tree says.

use core::ops::Range;

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node, Property, ToCellInt};
use gicv5_conformance::MAX_PES;

/// How PSCI is called.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Conduit {
    Hvc,
    Smc,
}

/// A piece of the hardware, as the image uses it.
pub(crate) struct Description<'a> {
    pub(crate) irs: Result<Irs, &'static str>,
    pub(crate) older: Option<GicV3>,
    pub(crate) uart: Option<Uart>,
    pub(crate) ram: Range<u64>,
    pub(crate) cpus: [Option<u64>; MAX_PES],
    pub(crate) conduit: Conduit,
    pub(crate) arguments: &'a str,
}

/// The IRS.
#[derive(Clone, Copy)]
pub(crate) struct Irs {
    pub(crate) config: u64,
    pub(crate) set_lpi: Option<u64>,
    pub(crate) coherent: bool,
}

/// A GICv3, which no test runs on.
#[derive(Clone, Copy)]
pub(crate) struct GicV3 {
    pub(crate) distributor: u64,
    pub(crate) redistributors: u64,
}

/// A PL011 with its interrupt.
#[derive(Clone, Copy)]
pub(crate) struct Uart {
    pub(crate) base: u64,
    pub(crate) spi: Option<u32>,
}

fn is_compatible(node: &FdtNode<'_>, with: &str) -> bool {
    let names = node.property("compatible");
    names.is_some_and(|names| names.value().split(|byte| *byte == 0).any(|name| name == with.as_bytes()))
}

/// Whether a node describes what may be used: it has no status, or that says so. The secure UART of a machine has another.
fn is_okay(node: &FdtNode<'_>) -> bool {
    node.property("status").is_none_or(|status| matches!(status.value(), b"okay\0" | b"ok\0"))
}

/// Looks at a node and everything below it for one that may be used.
fn find<'a>(node: FdtNode<'a>, wanted: &impl Fn(&FdtNode<'a>) -> bool) -> Option<FdtNode<'a>> {
    if wanted(&node) && is_okay(&node) {
        return Some(node);
    }
    node.children().find_map(|child| find(child, wanted))
}

/// The ranges of a `reg` property whose cells are two for the address and two for the size, or one each.
fn ranges(node: &FdtNode<'_>) -> impl Iterator<Item = Range<u64>> {
    node.reg().ok().flatten().into_iter().flatten().filter_map(|reg| {
        let (start, size) = (reg.address::<u64>().ok()?, reg.size::<u64>().ok()?);
        Some(start..start.checked_add(size)?)
    })
}

/// The place of a name in `reg-names`.
fn position(node: &FdtNode<'_>, name: &str) -> Option<usize> {
    let names = node.property("reg-names")?;
    names.value().split(|byte| *byte == 0).position(|candidate| candidate == name.as_bytes())
}

fn cell(bytes: &[u8], n: usize) -> Option<u32> {
    let bytes = bytes.get(n * 4..n * 4 + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

fn irs(fdt: Fdt<'_>) -> Result<Irs, &'static str> {
    let Some(node) = find(fdt.root(), &|node| is_compatible(node, "arm,gic-v5-irs")) else {
        let older =
            find(fdt.root(), &|node| is_compatible(node, "arm,gic-v3") || is_compatible(node, "arm,cortex-a15-gic"));
        return Err(match older {
            Some(_) => {
                "the device tree describes an older interrupt controller, and no node is compatible with arm,gic-v5-irs"
            }
            None => "no node of the device tree is compatible with arm,gic-v5-irs",
        });
    };
    let frame = |name: &str| ranges(&node).nth(position(&node, name)?).map(|range| range.start);
    // Without names the first frame is the one of the current domain.
    let config = frame("ns-config").or_else(|| ranges(&node).next().map(|range| range.start));
    let config = config.ok_or("the IRS has no frame")?;
    Ok(Irs { config, set_lpi: frame("ns-setlpi"), coherent: node.property("dma-noncoherent").is_none() })
}

fn gicv3(fdt: Fdt<'_>) -> Option<GicV3> {
    let node = find(fdt.root(), &|node| is_compatible(node, "arm,gic-v3"))?;
    let mut frames = ranges(&node).map(|range| range.start);
    Some(GicV3 { distributor: frames.next()?, redistributors: frames.next()? })
}

fn uart(fdt: Fdt<'_>) -> Option<Uart> {
    let node = find(fdt.root(), &|node| is_compatible(node, "arm,pl011"))?;
    let base = ranges(&node).next()?.start;
    // Type 3 is an SPI.
    let interrupts = node.property("interrupts");
    let spi = interrupts.and_then(|property| (cell(property.value(), 0)? == 3).then_some(cell(property.value(), 1)?));
    Some(Uart { base, spi })
}

/// Reads the device tree. The image lies in `image`, which is taken out of the RAM, as is the tree.
pub(crate) fn read<'a>(fdt: Fdt<'a>, tree: Range<u64>, image: Range<u64>, own: u64) -> Description<'a> {
    let mut memory = fdt
        .root()
        .children()
        .filter(|node| node.property("device_type").is_some_and(|kind| kind.value() == b"memory\0"));
    let ram = memory.find_map(|node| ranges(&node).find(|ram| ram.contains(&image.start)));
    let ram = ram.map_or(image.end..image.end, |ram| image.end..ram.end);
    // What follows the image, as far as the tree or from behind it, whichever is more.
    let before = ram.start..ram.end.min(tree.start.max(ram.start));
    let after = ram.start.max(tree.end)..ram.end;
    let ram = if !ram.contains(&tree.start) {
        ram
    } else if before.end - before.start >= after.end.saturating_sub(after.start) {
        before
    } else {
        after
    };
    let mut cpus = [None; MAX_PES];
    if let Ok(node) = fdt.cpus() {
        let ids = node.cpus().filter_map(|cpu| cpu.ids().ok()?.next()?.to_int::<u64>().ok());
        for (place, id) in cpus.iter_mut().skip(1).zip(ids.filter(|id| *id != own)) {
            *place = Some(id);
        }
    }
    if let Some(first) = cpus.first_mut() {
        *first = Some(own);
    }
    let psci = find(fdt.root(), &|node| is_compatible(node, "arm,psci-1.0") || is_compatible(node, "arm,psci-0.2"));
    let method = psci.and_then(|node| node.property("method"));
    let conduit = match method {
        Some(method) if method.value() == b"smc\0" => Conduit::Smc,
        _ => Conduit::Hvc,
    };
    let arguments = fdt.chosen().and_then(|chosen| chosen.property("bootargs")?.value_as::<&'a str>().ok());
    let arguments = arguments.unwrap_or_default();
    Description { irs: irs(fdt), older: gicv3(fdt), uart: uart(fdt), ram, cpus, conduit, arguments }
}
