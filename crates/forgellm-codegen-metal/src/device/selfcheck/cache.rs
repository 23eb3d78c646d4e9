//! Keys and values in the pages of the KV cache.

use super::call::{Call, Unchecked};
use super::expected::{Expected, Place};
use super::tolerance::{Approximate, F16, F16_SUBNORMAL};

/// Elements that share a scale in a q8_0 cache.
const GROUP: usize = 32;

/// The largest code of a q8_0 cache.
const LARGEST_CODE: f64 = 127.0;

/// The largest scale: what is unpacked must stay finite in f16.
const LARGEST_SCALE: f64 = 515.5;

/// The largest f16.
const LARGEST_HALF: f64 = 65504.0;

/// How a layer's keys and values are stored: see [`crate::device::cache`] and [`crate::device::kv_format`].
pub(super) struct Pages {
    pub kv_heads: usize,
    pub head_dim: usize,
    /// Positions of a page.
    page: usize,
    q8: bool,
    /// Index of the page tables.
    tables: usize,
}

/// Where a head of a position is.
#[derive(Clone, Copy)]
pub(super) struct At {
    /// Index of the keys or of the values.
    pub buffer: usize,
    /// Where the page table of the sequence begins, in entries.
    pub table: usize,
    pub position: usize,
    pub kv_head: usize,
}

impl Pages {
    /// Of a call whose page tables are bound at this index.
    pub fn of(call: &Call<'_>, tables: usize) -> Result<Pages, Unchecked> {
        Ok(Pages {
            kv_heads: call.size(31)?,
            head_dim: call.size(32)?,
            page: call.size(33)?,
            q8: call.flag(38)?,
            tables,
        })
    }

    /// The elements of a head.
    pub fn head(&self, call: &Call<'_>, at: At) -> Result<Vec<f64>, Unchecked> {
        let places = (0..self.head_dim).map(|element| self.place(call, at, element));
        places
            .map(|place| match place? {
                Place::Scaled { buffer, code, scale } => {
                    Ok(f64::from(call.one::<i8>(buffer, code)?) * call.half_at(buffer, scale)?)
                }
                Place::F16(buffer, at) => call.half_at(buffer, at),
                other => Err(Unchecked(format!("{other} is no element of a cache"))),
            })
            .collect()
    }

    /// Whether elements are unpacked, and so rounded, before they are used.
    pub fn unpacked(&self) -> bool {
        self.q8
    }

    /// What must be in the cache once a head was written.
    pub fn written(
        &self,
        call: &Call<'_>,
        at: At,
        head: &[Approximate],
        expected: &mut Vec<Expected>,
    ) -> Result<(), Unchecked> {
        for (group, elements) in head.chunks(GROUP).enumerate() {
            let largest = elements.iter().fold(0.0f64, |largest, x| largest.max(x.value.abs()));
            let error = elements.iter().fold(0.0f64, |largest, x| largest.max(x.error));
            for (i, x) in elements.iter().enumerate() {
                let place = self.place(call, at, GROUP * group + i)?;
                let want = if self.q8 {
                    // A code is off by half a step; the scale, a rounded f16, by its part of the largest code.
                    let step = largest / LARGEST_CODE + error;
                    Approximate { error: x.error + 0.52 * step + F16 * largest + 128.0 * F16_SUBNORMAL, ..*x }
                } else {
                    let value = x.value.clamp(-LARGEST_HALF, LARGEST_HALF);
                    Approximate { value, error: x.error + F16 * (value.abs() + x.error) + F16_SUBNORMAL }
                };
                if let Place::Scaled { buffer, scale, .. } = place
                    && i == 0
                {
                    let value = (largest / LARGEST_CODE).min(LARGEST_SCALE);
                    let want = Approximate { value, error: error + 2.0 * F16 * value + F16_SUBNORMAL };
                    expected.push(Expected::near(Place::F16(buffer, scale), want));
                }
                if !self.q8 || largest <= LARGEST_CODE * LARGEST_SCALE {
                    expected.push(Expected::near(place, want));
                }
            }
        }
        Ok(())
    }

    /// Where an element of a head is.
    fn place(&self, call: &Call<'_>, at: At, element: usize) -> Result<Place, Unchecked> {
        let number = call.unsigned_at(self.tables, at.table + at.position / self.page)?;
        let (head, row) = (number * self.kv_heads + at.kv_head, at.position % self.page);
        if !self.q8 {
            return Ok(Place::F16(at.buffer, (head * self.page + row) * self.head_dim + element));
        }
        let groups = self.head_dim / GROUP;
        let first = head * self.page * (self.head_dim + 2 * groups);
        let code = first + row * self.head_dim + element;
        let scale = (first + self.page * self.head_dim) / 2 + row * groups + element / GROUP;
        Ok(Place::Scaled { buffer: at.buffer, code, scale })
    }
}
