//! A simulated GPU, and KV caches in shuffled pages on it.

use forgellm_codegen_metal::device::kernels::KernelNeeds;
use forgellm_codegen_metal::device::kv_format::{KvFormat, head_bytes};
use forgellm_codegen_metal::device::launch::Launch;
use forgellm_codegen_metal::gpu::{Buffer, Device, Library, Options};
use forgellm_codegen_metal::kernel_source;
use half::f16;

/// Positions of a page.
pub const PAGE: usize = 32;

/// A device and kernels.
pub struct Gpu {
    pub device: Device,
    library: Library,
}

/// A dispatch: what, buffers with offsets by index, and bytes by index.
pub type Work<'a> = (Launch, Vec<(usize, &'a Buffer, usize)>, Vec<(usize, Vec<u8>)>);

impl Gpu {
    /// A device that checks every access and counts, with the kernels that are needed.
    pub fn new(needs: &KernelNeeds) -> Gpu {
        let options = Options { sanitize: true, count: true, seed: Some(1), ..Options::default() };
        let device = Device::with(options).unwrap();
        let source = kernel_source(&needs.files, needs.instantiations.iter().map(String::as_str));
        let library = device.library(&source, "kernels.metal").unwrap();
        Gpu { device, library }
    }

    /// Runs dispatches, one after the other.
    pub fn run(&self, work: &[Work<'_>]) {
        let mut commands = self.device.queue().unwrap().commands("test").unwrap();
        let mut encoder = commands.encoder(true, "test");
        for (launch, buffers, bytes) in work {
            let pipeline = self.device.pipeline(&self.library, &launch.function, &launch.constants).unwrap();
            encoder.pipeline(&pipeline);
            for (index, buffer, offset) in buffers {
                encoder.buffer(*index, buffer, *offset);
            }
            for (index, bytes) in bytes {
                encoder.bytes(*index, bytes);
            }
            encoder.dispatch(launch.threadgroups, launch.threads);
            encoder.barrier();
        }
        drop(encoder);
        if let Err(error) = commands.commit().wait() {
            panic!("{error}");
        }
    }

    /// A buffer that holds these numbers.
    pub fn upload<T: bytemuck::NoUninit>(&self, values: &[T]) -> Buffer {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let buffer = self.device.buffer(bytes.len().max(16), "input").unwrap();
        // SAFETY: the buffer is as long, and nothing runs.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.contents(), bytes.len()) };
        buffer
    }

    /// A buffer for so many f32, filled with NaN.
    pub fn output(&self, elements: usize) -> Buffer {
        self.upload(&vec![f32::NAN; elements])
    }
}

/// What a buffer holds.
pub fn download<T: bytemuck::Pod>(buffer: &Buffer) -> Vec<T> {
    let mut values = vec![T::zeroed(); buffer.len() / size_of::<T>()];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut values);
    // SAFETY: the buffer is at least as long, and nothing runs.
    unsafe { std::ptr::copy_nonoverlapping(buffer.contents().cast_const(), bytes.as_mut_ptr(), bytes.len()) };
    values
}

/// Page tables of sequences whose pages lie in shuffled order.
pub struct Tables {
    pub pages: usize,
    pub pages_per_sequence: usize,
    /// [slot][pages_per_sequence]
    pub entries: Vec<u32>,
}

impl Tables {
    /// Tables for sequences of these lengths. Page 0 belongs to nobody.
    pub fn new(lengths: &[usize], random: &mut Random) -> Tables {
        let counts: Vec<usize> = lengths.iter().map(|length| length.div_ceil(PAGE)).collect();
        let pages = counts.iter().sum::<usize>() + 1;
        let pages_per_sequence = counts.iter().max().unwrap() + 1;
        let mut free: Vec<u32> = (1..pages as u32).collect();
        for index in (1..free.len()).rev() {
            free.swap(index, random.below(index + 1));
        }
        let mut entries = vec![0; lengths.len() * pages_per_sequence];
        for (slot, count) in counts.iter().enumerate() {
            for index in 0..*count {
                entries[slot * pages_per_sequence + index] = free.pop().unwrap();
            }
        }
        Tables { pages, pages_per_sequence, entries }
    }

    /// The page of a position, and the place in it.
    pub fn place(&self, slot: usize, position: usize) -> (usize, usize) {
        (self.entries[slot * self.pages_per_sequence + position / PAGE] as usize, position % PAGE)
    }
}

/// The keys, or the values, of a cache.
pub struct Kv {
    pub format: KvFormat,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub bytes: Vec<u8>,
}

impl Kv {
    /// Pages full of zeros.
    pub fn zeros(format: KvFormat, pages: usize, kv_heads: usize, head_dim: usize) -> Kv {
        let bytes = pages * kv_heads * head_bytes(format, PAGE, head_dim).unwrap();
        Kv { format, kv_heads, head_dim, bytes: vec![0; bytes] }
    }

    /// The elements of a head of a position.
    pub fn get(&self, place: (usize, usize), kv_head: usize) -> Vec<f64> {
        let half = |at: usize| f16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]).to_f64();
        let (elements, scales) = self.at(place, kv_head);
        (0..self.head_dim)
            .map(|element| match self.format {
                KvFormat::F16 => half(elements + 2 * element),
                KvFormat::Q8_0 => {
                    half(scales + element / 32 * 2) * f64::from(self.bytes[elements + element] as i8)
                }
            })
            .collect()
    }

    /// Sets the elements of a head of a position to draws of about this size.
    pub fn draw(&mut self, place: (usize, usize), kv_head: usize, size: f32, random: &mut Random) {
        let (elements, scales) = self.at(place, kv_head);
        for element in 0..self.head_dim {
            match self.format {
                KvFormat::F16 => self.set_half(elements + 2 * element, size * random.normal()),
                KvFormat::Q8_0 => {
                    self.bytes[elements + element] = (random.below(255) as i32 - 127) as u8;
                    self.set_half(scales + element / 32 * 2, size * (1.0 + random.below(9) as f32) / 400.0);
                }
            }
        }
    }

    /// Sets the elements of a head of a position to one number.
    pub fn fill(&mut self, place: (usize, usize), kv_head: usize, value: f32) {
        let (elements, scales) = self.at(place, kv_head);
        for element in 0..self.head_dim {
            match self.format {
                KvFormat::F16 => self.set_half(elements + 2 * element, value),
                KvFormat::Q8_0 => {
                    self.bytes[elements + element] = 100;
                    self.set_half(scales + element / 32 * 2, value / 100.0);
                }
            }
        }
    }

    /// Sets the bytes of a head of a position to zero.
    pub fn clear(&mut self, place: (usize, usize), kv_head: usize) {
        let (elements, scales) = self.at(place, kv_head);
        match self.format {
            KvFormat::F16 => self.bytes[elements..elements + 2 * self.head_dim].fill(0),
            KvFormat::Q8_0 => {
                self.bytes[elements..elements + self.head_dim].fill(0);
                self.bytes[scales..scales + self.head_dim / 16].fill(0);
            }
        }
    }

    fn set_half(&mut self, at: usize, value: f32) {
        self.bytes[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
    }

    /// The first byte of a head of a position, and of its scales.
    fn at(&self, (page, place): (usize, usize), kv_head: usize) -> (usize, usize) {
        let head = (page * self.kv_heads + kv_head) * head_bytes(self.format, PAGE, self.head_dim).unwrap();
        match self.format {
            KvFormat::F16 => (head + place * self.head_dim * 2, 0),
            KvFormat::Q8_0 => {
                (head + place * self.head_dim, head + PAGE * self.head_dim + place * (self.head_dim / 16))
            }
        }
    }
}

/// xorshift64*; the seed is not 0.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() >> 33) as usize % end
    }

    /// About normal, with mean 0 and standard deviation 1.
    pub fn normal(&mut self) -> f32 {
        let sum: f64 = (0..4).map(|_| (self.bits() >> 11) as f64 / (1u64 << 53) as f64 - 0.5).sum();
        (sum * 3f64.sqrt()) as f32
    }

    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.normal()).collect()
    }
}

/// Mean square error over mean square.
pub fn nmse(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let error: f64 = got.iter().zip(want).map(|(got, want)| (f64::from(*got) - want).powi(2)).sum();
    let power: f64 = want.iter().map(|want| want.powi(2)).sum();
    error / power
}
