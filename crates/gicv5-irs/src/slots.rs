//! Records that are found by number without a lock.

use alloc::boxed::Box;

use once_cell::race::OnceBox;

use crate::heap::{Heap, OutOfMemory, boxed_slice};

/// Records by number. They come in chunks of `N`, which are allocated when one of their records is needed for the first time,
/// and stay.
pub struct Slots<T, const N: usize> {
    chunks: Box<[OnceBox<[T; N]>]>,
}

impl<T: Default, const N: usize> Slots<T, N> {
    /// Room for records 0 to `count - 1`: a pointer for each chunk.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`].
    pub fn new(heap: Heap<'_>, count: u32) -> Result<Slots<T, N>, OutOfMemory> {
        Ok(Slots { chunks: boxed_slice(heap, (count as usize).div_ceil(N), OnceBox::new)? })
    }

    /// A record; `None` if its chunk does not exist yet.
    #[inline]
    pub fn get(&self, number: u32) -> Option<&T> {
        self.chunks.get(number as usize / N)?.get()?.get(number as usize % N)
    }

    /// A record, whose chunk is allocated if it does not exist.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`], also for a number beyond the last.
    pub fn get_or_make(&self, heap: Heap<'_>, number: u32) -> Result<&T, OutOfMemory> {
        let chunk = self.chunks.get(number as usize / N).ok_or(OutOfMemory)?;
        if chunk.get().is_none() {
            let records: Box<[T; N]> = boxed_slice(heap, N, T::default)?.try_into().map_err(|_| OutOfMemory)?;
            // Another thread may have been faster; its chunk counts.
            let _ = chunk.set(records);
        }
        self.get(number).ok_or(OutOfMemory)
    }
}
