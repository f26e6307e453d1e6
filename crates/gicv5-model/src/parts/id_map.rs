//! A map from small numbers, in which finding something costs the same however much there is.
//!
//! VM IDs and VPE IDs have 16 bits and may be sparse. The numbers are looked up in pages that exist where something is, and
//! lead to a place among values that lie together, so that neither a high number nor a wide gap costs much.

use core::fmt;
use core::marker::PhantomData;

use gicv5_arch::{VmId, VpeId};

/// A number of 16 bits that something has.
pub(crate) trait Id: Copy {
    fn number(self) -> u16;
    fn of(number: u16) -> Self;
}

impl Id for VmId {
    fn number(self) -> u16 {
        self.raw_value()
    }

    fn of(number: u16) -> VmId {
        VmId::new(number)
    }
}

impl Id for VpeId {
    fn number(self) -> u16 {
        self.raw_value()
    }

    fn of(number: u16) -> VpeId {
        VpeId::new(number)
    }
}

const PAGE: usize = 64;

/// Where the values are, each by its place plus one; 0 for none.
type Page = [u32; PAGE];

/// A map. Two are equal if they map the same numbers to equal values.
#[derive(Clone)]
pub(crate) struct IdMap<K, T> {
    pages: Vec<Option<Box<Page>>>,
    values: Vec<Option<T>>,
    /// Places without a value.
    vacant: Vec<u32>,
    key: PhantomData<K>,
}

impl<K: Id, T> IdMap<K, T> {
    #[inline]
    fn place(&self, id: K) -> Option<usize> {
        let number = usize::from(id.number());
        let place = *self.pages.get(number / PAGE)?.as_ref()?.get(number % PAGE)?;
        (place as usize).checked_sub(1)
    }

    #[inline]
    pub(crate) fn get(&self, id: &K) -> Option<&T> {
        self.values.get(self.place(*id)?)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: &K) -> Option<&mut T> {
        let place = self.place(*id)?;
        self.values.get_mut(place)?.as_mut()
    }

    pub(crate) fn contains_key(&self, id: &K) -> bool {
        self.place(*id).is_some()
    }

    /// Gives something a number, instead of what may have had it.
    pub(crate) fn insert(&mut self, id: K, value: T) {
        self.remove(&id);
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.values.push(None);
            self.values.len() as u32 - 1
        });
        if let Some(vacant) = self.values.get_mut(place as usize) {
            *vacant = Some(value);
        }
        self.set_place(id, place + 1);
    }

    pub(crate) fn remove(&mut self, id: &K) -> Option<T> {
        let place = self.place(*id)?;
        self.set_place(*id, 0);
        self.vacant.push(place as u32);
        self.values.get_mut(place)?.take()
    }

    fn set_place(&mut self, id: K, place: u32) {
        let number = usize::from(id.number());
        if self.pages.len() <= number / PAGE {
            self.pages.resize_with(number / PAGE + 1, || None);
        }
        let page = self.pages.get_mut(number / PAGE).map(|page| page.get_or_insert_with(|| Box::new([0; PAGE])));
        if let Some(entry) = page.and_then(|page| page.get_mut(number % PAGE)) {
            *entry = place;
        }
    }

    /// The numbers that something has, and what has them, lowest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        let pages = self.pages.iter().zip(0usize..).filter_map(|(page, n)| Some((page.as_ref()?, n)));
        let numbers = pages.flat_map(|(page, n)| {
            page.iter().zip(0..).filter(|(place, _)| **place != 0).map(move |(_, m)| K::of((n * PAGE + m) as u16))
        });
        numbers.filter_map(|id| Some((id, self.get(&id)?)))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = K> {
        self.iter().map(|(id, _)| id)
    }
}

impl<K, T> Default for IdMap<K, T> {
    fn default() -> IdMap<K, T> {
        IdMap { pages: Vec::new(), values: Vec::new(), vacant: Vec::new(), key: PhantomData }
    }
}

impl<K: Id, T: PartialEq> PartialEq for IdMap<K, T> {
    fn eq(&self, other: &IdMap<K, T>) -> bool {
        let number = |(id, value): (K, _)| (id.number(), value);
        self.iter().map(number).eq(other.iter().map(number))
    }
}

impl<K: Id, T: Eq> Eq for IdMap<K, T> {}

impl<K: Id + fmt::Debug, T: fmt::Debug> fmt::Debug for IdMap<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_maps_as_a_tree_does_and_equality_does_not_depend_on_how_it_came_about(
            steps in proptest::collection::vec((prop_oneof![0u16..100, any::<u16>()], any::<Option<u8>>()), 0..200)
        ) {
            let (mut map, mut tree) = (IdMap::<VmId, u8>::default(), BTreeMap::new());
            for (number, value) in steps {
                let id = VmId::new(number);
                match value {
                    Some(value) => {
                        map.insert(id, value);
                        tree.insert(id, value);
                    }
                    None => prop_assert_eq!(map.remove(&id), tree.remove(&id)),
                }
                prop_assert_eq!((map.get(&id), map.contains_key(&id)), (tree.get(&id), tree.contains_key(&id)));
            }
            prop_assert!(map.iter().eq(tree.iter().map(|(id, value)| (*id, value))));
            let mut other = IdMap::default();
            for (id, value) in tree.iter().rev() {
                other.insert(*id, *value);
            }
            prop_assert_eq!(&other, &map);
            if let Some((id, value)) = tree.pop_first() {
                other.insert(id, value.wrapping_add(1));
                prop_assert_ne!(&other, &map);
                other.remove(&id);
                prop_assert_ne!(&other, &map);
            }
        }
    }
}
