//! The memory of the KV cache.
//!
//! A page holds [`PAGE`] positions of one layer, in f16. For each key-value head its keys lie transposed, [head_dim, PAGE], so that the
//! scores of neighbouring positions are neighbouring lanes of a vector; then, for each head, its values, [PAGE, head_dim padded to 16].

use half::f16;

use super::arena::Arena;
use super::engine::CacheSpec;
use super::simd::LANES;
use crate::runtime::pages::PageCopy;

/// Positions of a page.
pub const PAGE: usize = 64;

/// Pages that are allocated together where memory is taken as it is used.
const EXTENT: usize = 4;

/// The caches of all layers.
pub(crate) struct CacheMemory {
    layers: Vec<LayerCache>,
    /// Windows of the groups of layers that share page tables.
    pub(crate) windows: Vec<Option<usize>>,
}

impl CacheMemory {
    /// No pages yet. A window of `positions` or more is none.
    pub(crate) fn new(specs: &[CacheSpec], positions: usize) -> CacheMemory {
        let mut windows = Vec::new();
        let layers = specs
            .iter()
            .map(|spec| {
                let window = spec.window.filter(|window| *window < positions);
                let group = windows.iter().position(|known| *known == window).unwrap_or_else(|| {
                    windows.push(window);
                    windows.len() - 1
                });
                LayerCache { spec: CacheSpec { window, ..*spec }, group, extent: EXTENT, extents: Vec::new() }
            })
            .collect();
        CacheMemory { layers, windows }
    }

    /// The cache of a layer.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub(crate) fn layer(&self, cache: usize) -> &LayerCache {
        assert!(
            cache < self.layers.len(),
            "there are {} caches, but cache {cache} was asked for",
            self.layers.len()
        );
        &self.layers[cache]
    }

    /// The caches of all layers.
    pub(crate) fn layers(&self) -> &[LayerCache] {
        &self.layers
    }

    /// Bytes of a page of all layers of a group.
    pub(crate) fn page_bytes(&self, group: usize) -> usize {
        let layers = self.layers.iter().filter(|layer| layer.group == group);
        layers.map(|layer| layer.page_elements() * size_of::<f16>()).sum()
    }

    /// Bytes of keys and values that a row at `position` reads in all layers.
    pub(crate) fn bytes_read(&self, position: usize) -> usize {
        let of_layer = |layer: &LayerCache| {
            let seen = layer.spec.window.map_or(position + 1, |window| window.min(position + 1));
            seen * layer.page_elements() / PAGE * size_of::<f16>()
        };
        self.layers.iter().map(of_layer).sum()
    }

    /// Makes room for the pages below `pages` in all layers of a group. `None` if there is none; pages made before stay.
    pub(crate) fn grow(&mut self, group: usize, pages: usize) -> Option<()> {
        for layer in self.layers.iter_mut().filter(|layer| layer.group == group) {
            while layer.extents.len() * layer.extent < pages {
                layer.extents.push(Arena::new(layer.extent, layer.page_elements())?);
            }
        }
        Some(())
    }

    /// Makes the same room at once: layers that have none yet get it in one piece.
    pub(crate) fn reserve(&mut self, group: usize, pages: usize) -> Option<()> {
        let without = |layer: &&mut LayerCache| layer.group == group && layer.extents.is_empty();
        self.layers.iter_mut().filter(without).for_each(|layer| layer.extent = pages.max(EXTENT));
        self.grow(group, pages)
    }

    /// Copies a page in all layers of its group.
    pub(crate) fn copy(&mut self, copy: PageCopy) {
        for layer in self.layers.iter_mut().filter(|layer| layer.group == copy.group) {
            let (from, to) = (layer.page(copy.from), layer.page(copy.to));
            // SAFETY: both pages have `page_elements` elements, and no thread runs while the caches are borrowed mutably. They are
            // different pages, or the copy is of a page onto itself, which `copy` allows.
            unsafe { std::ptr::copy(from, to, layer.page_elements()) };
        }
    }
}

/// The cache of one layer.
pub(crate) struct LayerCache {
    /// Shapes; the window is `None` if it cannot be felt.
    pub(crate) spec: CacheSpec,
    /// Which page tables are its.
    pub(crate) group: usize,
    /// Pages of an extent.
    extent: usize,
    extents: Vec<Arena<f16>>,
}

impl LayerCache {
    /// Elements of a value, padded to whole vectors.
    pub(crate) fn value_stride(&self) -> usize {
        self.spec.head_dim.next_multiple_of(LANES)
    }

    /// The keys of a head in a page: [head_dim, PAGE].
    pub(crate) fn keys(&self, page: u32, kv_head: usize) -> *mut f16 {
        assert!(kv_head < self.spec.kv_heads, "head {kv_head} of {}", self.spec.kv_heads);
        // SAFETY: within the page.
        unsafe { self.page(page).add(kv_head * self.spec.head_dim * PAGE) }
    }

    /// The values of a head in a page: [PAGE, value_stride].
    pub(crate) fn values(&self, page: u32, kv_head: usize) -> *mut f16 {
        assert!(kv_head < self.spec.kv_heads, "head {kv_head} of {}", self.spec.kv_heads);
        let keys = self.spec.kv_heads * self.spec.head_dim * PAGE;
        // SAFETY: within the page.
        unsafe { self.page(page).add(keys + kv_head * PAGE * self.value_stride()) }
    }

    fn page(&self, page: u32) -> *mut f16 {
        let page = page as usize;
        let extent = &self.extents[page / self.extent];
        // SAFETY: an extent has so many pages.
        unsafe { extent.base().add(page % self.extent * self.page_elements()) }
    }

    fn page_elements(&self) -> usize {
        self.spec.kv_heads * PAGE * (self.spec.head_dim + self.value_stride())
    }
}
