//! The pages of RAM, in chunks of pages that follow each other.

use core::ops::Range;

use super::claims::Claims;
use super::page::Page;
use super::units::PAGE;

/// Pages in a chunk: 2 MiB of RAM.
const CHUNK: usize = 512;
const CHUNK_BYTES: u64 = CHUNK as u64 * PAGE;

/// Pages that follow each other.
#[derive(Clone, PartialEq, Eq, Default)]
enum Chunk {
    /// Nothing was stored in them or claimed.
    #[default]
    Untouched,
    /// Nothing was stored in them, and all have the same claim on all of it: one stands for all. An IST of 2^24 LPIs is 32
    /// chunks, and as pages 16384.
    Alike(Box<Page>),
    Each(Box<[Page; CHUNK]>),
}

/// The pages of RAM.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Pages(Vec<Chunk>);

/// The words of a page that a range of bytes touches.
pub(super) struct Part {
    /// The number of the page in RAM.
    pub(super) page: u64,
    pub(super) granules: Range<usize>,
}

/// Cuts a range of bytes of RAM into its pages.
#[inline]
pub(super) fn parts(bytes: Range<u64>) -> impl Iterator<Item = Part> {
    let Range { mut start, end } = bytes;
    core::iter::from_fn(move || {
        let (part, next) = first_part(start, end)?;
        start = next;
        Some(part)
    })
}

/// The part of a range in its first page, and where the rest begins.
#[inline]
fn first_part(start: u64, end: u64) -> Option<(Part, u64)> {
    if start >= end {
        return None;
    }
    let page = start / PAGE;
    let last = end.min((page + 1) * PAGE);
    let granules = (start % PAGE) as usize / 8..((last - page * PAGE) as usize).div_ceil(8);
    Some((Part { page, granules }, last))
}

impl Chunk {
    /// Pages in which nothing was stored, with these claims on all of them.
    fn alike(claims: Claims) -> Chunk {
        match claims {
            Claims::Free => Chunk::Untouched,
            claims => Chunk::Alike(Box::new(Page::claimed(claims))),
        }
    }
}

impl Pages {
    /// A page, to be looked at. `None` if nothing was stored there or claimed.
    #[inline]
    pub(super) fn page(&self, page: u64) -> Option<&Page> {
        match self.0.get(page as usize / CHUNK)? {
            Chunk::Untouched => None,
            Chunk::Alike(page) => Some(page),
            Chunk::Each(pages) => pages.get(page as usize % CHUNK),
        }
    }

    /// A page, if something was stored in it or it is unlike its neighbours.
    #[inline]
    pub(super) fn page_mut(&mut self, page: u64) -> Option<&mut Page> {
        match self.0.get_mut(page as usize / CHUNK)? {
            Chunk::Untouched | Chunk::Alike(_) => None,
            Chunk::Each(pages) => pages.get_mut(page as usize % CHUNK),
        }
    }

    /// A page, to be made unlike its neighbours.
    #[inline]
    pub(super) fn make(&mut self, page: u64) -> Option<&mut Page> {
        if !matches!(self.0.get(page as usize / CHUNK), Some(Chunk::Each(_))) {
            self.split(page as usize / CHUNK);
        }
        self.page_mut(page)
    }

    /// The chunk, made if it is not there.
    fn chunk(&mut self, chunk: usize) -> Option<&mut Chunk> {
        if self.0.len() <= chunk {
            self.0.resize_with(chunk + 1, Chunk::default);
        }
        self.0.get_mut(chunk)
    }

    #[cold]
    fn split(&mut self, chunk: usize) {
        let Some(chunk) = self.chunk(chunk) else { return };
        let page = match chunk {
            Chunk::Untouched => Page::default(),
            Chunk::Alike(page) => core::mem::take(&mut **page),
            Chunk::Each(_) => return,
        };
        *chunk = Chunk::Each(Box::new(core::array::from_fn(|_| page.clone())));
    }

    /// Changes the claims on a range: those of pages that are all alike at once.
    #[inline]
    pub(super) fn change_claims(&mut self, bytes: Range<u64>, change: impl Fn(&mut Claims, Range<usize>)) {
        let Range { mut start, end } = bytes;
        while let Some((part, next)) = first_part(start, end) {
            start = match self.page_mut(part.page) {
                Some(page) => {
                    change(&mut page.claims, part.granules);
                    next
                }
                None => {
                    let whole = start.is_multiple_of(CHUNK_BYTES) && end - start >= CHUNK_BYTES;
                    let page = part.page;
                    match self.changed_alike(part, &change) {
                        None => {}
                        Some(claims) if whole => {
                            if let Some(chunk) = self.chunk(page as usize / CHUNK) {
                                *chunk = Chunk::alike(claims);
                            }
                        }
                        Some(claims) => {
                            if let Some(page) = self.make(page) {
                                page.claims = claims;
                            }
                        }
                    }
                    if whole { start + CHUNK_BYTES } else { next }
                }
            };
        }
    }

    /// What the claims on a page that is like its neighbours become, if they change.
    #[cold]
    fn changed_alike(
        &self,
        Part { page, granules }: Part,
        change: impl Fn(&mut Claims, Range<usize>),
    ) -> Option<Claims> {
        let before = self.page(page).map_or(Claims::Free, |page| page.claims.clone());
        let mut after = before.clone();
        change(&mut after, granules);
        (before != after).then_some(after)
    }

    /// Cuts a range of bytes of RAM into its pages, of which those that are all alike are looked at once: the first of them.
    #[inline]
    pub(super) fn unlike(&self, bytes: Range<u64>) -> impl Iterator<Item = (Part, Option<&Page>)> {
        let Range { mut start, end } = bytes;
        core::iter::from_fn(move || {
            let (part, next) = first_part(start, end)?;
            let after_chunk = |start: u64| (start / CHUNK_BYTES + 1) * CHUNK_BYTES;
            let page;
            (page, start) = match self.0.get(part.page as usize / CHUNK) {
                Some(Chunk::Each(pages)) => (pages.get(part.page as usize % CHUNK), next),
                Some(Chunk::Alike(page)) => (Some(&**page), after_chunk(start)),
                Some(Chunk::Untouched) => (None, after_chunk(start)),
                None => (None, end),
            };
            Some((part, page))
        })
    }

    /// How many pages take memory of the host.
    pub(super) fn backed(&self) -> usize {
        let pages = self.0.iter().map(|chunk| match chunk {
            Chunk::Untouched | Chunk::Alike(_) => &[],
            Chunk::Each(pages) => pages.as_slice(),
        });
        pages.flatten().filter(|page| page.is_backed()).count()
    }
}
