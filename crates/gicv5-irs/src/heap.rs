//! Heap memory whose absence is an error and not an abort.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

/// There is no memory for a library's own records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no memory for the library's records")]
pub struct OutOfMemory;

/// The host's word on whether so many bytes may be taken ([`Platform::may_allocate`](gicv5_hal::Platform::may_allocate)).
pub type Heap<'a> = &'a dyn Fn(usize) -> bool;

/// Makes room for more values. All growth of the libraries' records is here.
///
/// # Errors
///
/// [`OutOfMemory`].
pub fn reserve<T>(heap: Heap<'_>, values: &mut Vec<T>, more: usize) -> Result<(), OutOfMemory> {
    if values.capacity() - values.len() >= more {
        return Ok(());
    }
    match heap(more.saturating_mul(size_of::<T>())) {
        true => values.try_reserve_exact(more).map_err(|_| OutOfMemory),
        false => Err(OutOfMemory),
    }
}

/// Appends a value where [`reserve`] has made room. `Vec::push` alone would be compiled with a growth that aborts.
///
/// # Errors
///
/// The value, if there is no room.
pub fn push<T>(values: &mut Vec<T>, value: T) -> Result<(), T> {
    if values.len() == values.capacity() {
        return Err(value);
    }
    values.push(value);
    Ok(())
}

/// The values as a slice, where they fill the room that [`reserve`] has made. `Vec::into_boxed_slice` alone would be compiled
/// with a reallocation that aborts.
///
/// # Errors
///
/// The values, if there is room for more.
pub fn boxed<T>(values: Vec<T>) -> Result<Box<[T]>, Vec<T>> {
    // Values without a size have room without end.
    match values.len() == values.capacity() || size_of::<T>() == 0 {
        true => Ok(values.into_boxed_slice()),
        false => Err(values),
    }
}

/// A boxed slice of `len` values.
///
/// # Errors
///
/// [`OutOfMemory`].
pub fn boxed_slice<T>(heap: Heap<'_>, len: usize, mut value: impl FnMut() -> T) -> Result<Box<[T]>, OutOfMemory> {
    let mut values = Vec::new();
    reserve(heap, &mut values, len)?;
    for _ in 0..len {
        push(&mut values, value()).map_err(|_| OutOfMemory)?;
    }
    boxed(values).map_err(|_| OutOfMemory)
}

/// A box. `Box::new` aborts where there is no memory; an array of one does not have to.
pub struct Boxed<T>(Box<[T; 1]>);

impl<T> Boxed<T> {
    /// Boxes a value, or returns it.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] with the value.
    pub fn new(heap: Heap<'_>, value: T) -> Result<Boxed<T>, (OutOfMemory, T)> {
        let mut values = Vec::new();
        if let Err(error) = reserve(heap, &mut values, 1) {
            return Err((error, value));
        }
        values.push(value);
        match values.into_boxed_slice().try_into() {
            Ok(boxed) => Ok(Boxed(boxed)),
            Err(_) => unreachable!("a slice of one is an array of one"),
        }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        let [value] = *self.0;
        value
    }
}

impl<T> Deref for Boxed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        let [value] = &*self.0;
        value
    }
}

impl<T> DerefMut for Boxed<T> {
    fn deref_mut(&mut self) -> &mut T {
        let [value] = &mut *self.0;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRANTED: Heap<'static> = &|_| true;

    #[test]
    fn values_go_only_where_room_was_made_and_are_a_slice_when_they_fill_it() {
        let mut values = Vec::new();
        assert_eq!(push(&mut values, 1), Err(1));
        assert_eq!(values.capacity(), 0);
        reserve(GRANTED, &mut values, 2).unwrap();
        push(&mut values, 1).unwrap();
        let mut values = boxed(values).unwrap_err();
        push(&mut values, 2).unwrap();
        assert_eq!(push(&mut values, 3), Err(3));
        assert_eq!(*boxed(values).unwrap(), [1, 2]);
        // Of what takes no memory, as much as is wanted.
        assert_eq!(boxed_slice(GRANTED, 3, || ()).unwrap().len(), 3);
        assert_eq!(boxed_slice(&|_| false, 1, || 1), Err(OutOfMemory));
    }
}
