//! Which VM, vCPU or PE: indices that each open one kind of list alone.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use gicv5_hyp::VcpuIndex;
use gicv5_model::PeIndex;

/// A VM of the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct VmAt(pub(super) usize);

/// A vCPU of a VM of the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct VcpuAt {
    pub(super) vm: VmAt,
    pub(super) vcpu: VcpuIndex,
}

impl VmAt {
    /// A vCPU of this VM.
    pub(super) fn vcpu(self, vcpu: VcpuIndex) -> VcpuAt {
        VcpuAt { vm: self, vcpu }
    }
}

/// What opens an [`Arena`].
pub(super) trait ArenaIndex: Copy {
    fn new(at: usize) -> Self;
    fn at(self) -> usize;
}

impl ArenaIndex for VmAt {
    fn new(at: usize) -> VmAt {
        VmAt(at)
    }

    fn at(self) -> usize {
        self.0
    }
}

impl ArenaIndex for VcpuIndex {
    fn new(at: usize) -> VcpuIndex {
        VcpuIndex(at)
    }

    fn at(self) -> usize {
        self.0
    }
}

impl ArenaIndex for PeIndex {
    fn new(at: usize) -> PeIndex {
        PeIndex(at as u16)
    }

    fn at(self) -> usize {
        usize::from(self.0)
    }
}

/// A list that never shrinks, opened by indices of its own kind.
pub(super) struct Arena<I, T> {
    items: Vec<T>,
    index: PhantomData<fn(I)>,
}

impl<I: ArenaIndex, T> Arena<I, T> {
    pub(super) fn indices(&self) -> impl Iterator<Item = I> + use<I, T> {
        (0..self.items.len()).map(I::new)
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.items.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.items.iter_mut()
    }
}

impl<I, T> FromIterator<T> for Arena<I, T> {
    fn from_iter<S: IntoIterator<Item = T>>(items: S) -> Arena<I, T> {
        Arena { items: items.into_iter().collect(), index: PhantomData }
    }
}

impl<I: ArenaIndex, T> Index<I> for Arena<I, T> {
    type Output = T;

    #[expect(clippy::indexing_slicing, reason = "the scenario, or `indices`, has counted these items")]
    fn index(&self, at: I) -> &T {
        &self.items[at.at()]
    }
}

impl<I: ArenaIndex, T> IndexMut<I> for Arena<I, T> {
    #[expect(clippy::indexing_slicing, reason = "the scenario, or `indices`, has counted these items")]
    fn index_mut(&mut self, at: I) -> &mut T {
        &mut self.items[at.at()]
    }
}
