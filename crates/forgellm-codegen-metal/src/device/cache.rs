//! The memory of the KV cache.
//!
//! A page holds [`PAGE`] positions of one layer. A layer's keys lie [page, kv_head] in a [`KvFormat`], its values the same. Layers with
//! the same window share page tables and a buffer.

use crate::device::engine::CacheSpec;
use crate::device::kv_format::{KvFormat, head_bytes};
use crate::gpu::{Buffer, Device, GpuError};
use crate::runtime::open::OpenError;
use crate::runtime::pages::PageCopy;

/// Positions of a page.
pub const PAGE: usize = 32;

/// Pages of a group to start with.
const FIRST_PAGES: usize = 8;

/// The caches of all layers.
pub(crate) struct CacheMemory {
    device: Device,
    format: KvFormat,
    layers: Vec<LayerCache>,
    groups: Vec<Group>,
}

/// Layers with the same window.
struct Group {
    window: Option<usize>,
    /// Bytes of a page, summed over the layers of the group.
    page_bytes: usize,
    /// Pages that the buffer has room for.
    pages: usize,
    buffer: Option<Buffer>,
}

/// Pages that there is room for where `pages` are needed.
fn room_for(pages: usize) -> usize {
    pages.checked_next_power_of_two().unwrap_or(pages).max(FIRST_PAGES)
}

/// The cache of one layer.
pub(crate) struct LayerCache {
    /// Shapes; the window is `None` if it cannot be felt.
    pub(crate) spec: CacheSpec,
    /// Which page tables are its.
    pub(crate) group: usize,
    /// Bytes of a page of the layers before it in its group.
    before: usize,
    /// Bytes of a page of keys, and of one of values.
    half_page_bytes: usize,
}

impl CacheMemory {
    /// No pages yet. A window of `positions` or more is none.
    pub(crate) fn new(
        device: Device,
        specs: &[CacheSpec],
        positions: usize,
        format: KvFormat,
    ) -> Result<CacheMemory, OpenError> {
        let mut groups: Vec<Group> = Vec::new();
        let mut layers = Vec::with_capacity(specs.len());
        for spec in specs {
            let window = spec.window.filter(|window| *window < positions);
            let group = groups.iter().position(|known| known.window == window).unwrap_or_else(|| {
                groups.push(Group { window, page_bytes: 0, pages: 0, buffer: None });
                groups.len() - 1
            });
            let unfit = || {
                let why =
                    format!("heads of {} elements have no q8_0 cache: use --kv-cache f16", spec.head_dim);
                OpenError::Device(why)
            };
            let half_page_bytes =
                spec.kv_heads * head_bytes(format, PAGE, spec.head_dim).ok_or_else(unfit)?;
            let before = groups[group].page_bytes;
            groups[group].page_bytes += 2 * half_page_bytes;
            layers.push(LayerCache { spec: CacheSpec { window, ..*spec }, group, before, half_page_bytes });
        }
        Ok(CacheMemory { device, format, layers, groups })
    }

    /// How keys and values are stored.
    pub(crate) fn format(&self) -> KvFormat {
        self.format
    }

    /// Windows of the groups of layers that share page tables.
    pub(crate) fn windows(&self) -> impl Iterator<Item = Option<usize>> {
        self.groups.iter().map(|group| group.window)
    }

    /// The cache of a layer.
    pub(crate) fn layer(&self, cache: usize) -> Option<&LayerCache> {
        self.layers.get(cache)
    }

    /// The buffer that holds a layer's pages, and the first bytes of its keys and of its values.
    pub(crate) fn place(&self, layer: &LayerCache) -> Option<(&Buffer, usize, usize)> {
        let group = &self.groups[layer.group];
        let keys = layer.before * group.pages;
        Some((group.buffer.as_ref()?, keys, keys + layer.half_page_bytes * group.pages))
    }

    /// Bytes that a group takes once it has `pages` pages.
    pub(crate) fn bytes_of(&self, group: usize, pages: usize) -> usize {
        let page_bytes = self.groups.get(group).map_or(0, |group| group.page_bytes);
        page_bytes.saturating_mul(room_for(pages))
    }

    /// Bytes of keys and values that a row at `position` reads in all layers.
    pub(crate) fn bytes_read(&self, position: usize) -> usize {
        let of_layer = |layer: &LayerCache| {
            let seen = layer.spec.window.map_or(position + 1, |window| window.min(position + 1));
            seen * 2 * layer.half_page_bytes / PAGE
        };
        self.layers.iter().map(of_layer).sum()
    }

    /// Whether the pages below `pages` of a group do not all have room.
    pub(crate) fn has_to_grow(&self, group: usize, pages: usize) -> bool {
        self.groups.get(group).is_some_and(|known| known.pages < pages)
    }

    /// Makes room for the pages below `pages` of a group. Nothing of the GPU's may be under way.
    pub(crate) fn grow(&mut self, group: usize, pages: usize) -> Result<(), GpuError> {
        let Some(known) = self.groups.get(group).filter(|known| known.pages < pages) else { return Ok(()) };
        let (old, old_pages, page_bytes) = (known.buffer.clone(), known.pages, known.page_bytes);
        let new_pages = room_for(pages);
        let buffer = self.device.buffer(page_bytes * new_pages, "KV cache")?;
        if let Some(old) = old {
            for layer in self.layers.iter().filter(|layer| layer.group == group) {
                let bytes = layer.half_page_bytes;
                let (from, to) = (layer.before * old_pages, layer.before * new_pages);
                // SAFETY: keys and values of the layer lie in both buffers, whose memory is not the same.
                unsafe {
                    copy_bytes(&old, from, &buffer, to, bytes * old_pages);
                    copy_bytes(
                        &old,
                        from + bytes * old_pages,
                        &buffer,
                        to + bytes * new_pages,
                        bytes * old_pages,
                    );
                }
            }
        }
        self.groups[group].pages = new_pages;
        self.groups[group].buffer = Some(buffer);
        Ok(())
    }

    /// Copies a page in all layers of its group. Nothing of the GPU's may be under way.
    pub(crate) fn copy(&mut self, copy: PageCopy) {
        for layer in self.layers.iter().filter(|layer| layer.group == copy.group) {
            let Some((buffer, keys, values)) = self.place(layer) else { continue };
            let bytes = layer.half_page_bytes;
            for start in [keys, values] {
                // SAFETY: both pages lie in the buffer; they are two pages, or the copy is of a page onto itself.
                unsafe {
                    let from = start + copy.from as usize * bytes;
                    copy_bytes(buffer, from, buffer, start + copy.to as usize * bytes, bytes);
                }
            }
        }
    }
}

/// # Safety
///
/// The ranges lie within the buffers.
unsafe fn copy_bytes(from: &Buffer, from_offset: usize, to: &Buffer, to_offset: usize, bytes: usize) {
    // SAFETY: the caller keeps the ranges within the buffers' memory; `copy` allows overlap.
    unsafe {
        std::ptr::copy(from.contents().add(from_offset), to.contents().add(to_offset), bytes);
    }
}
