//! A simulated GPU that runs launches.

use forgellm_codegen_metal::device::kernels::KernelNeeds;
use forgellm_codegen_metal::device::launch::Launch;
use forgellm_codegen_metal::gpu::{Buffer, Device, Library, Options};
use forgellm_codegen_metal::kernel_source;

/// A device and kernels.
pub struct Gpu {
    pub device: Device,
    library: Library,
}

/// What a kernel's argument is bound to.
pub enum Bound<'a> {
    Buffer(&'a Buffer),
    /// From a byte on.
    At(&'a Buffer, usize),
    U32(usize),
}

/// A dispatch: what, and its arguments by index.
pub type Work<'a> = (Launch, Vec<(usize, Bound<'a>)>);

impl Gpu {
    /// A device that checks and counts every access and runs threads in a shuffled order, with the kernels that are needed.
    pub fn new(needs: &KernelNeeds) -> Gpu {
        let options = Options { sanitize: true, count: true, seed: Some(7), ..Options::default() };
        let device = Device::with(options).unwrap();
        let source = kernel_source(&needs.files, needs.instantiations.iter().map(String::as_str));
        let library = device.library(&source, "kernels.metal").unwrap();
        Gpu { device, library }
    }

    /// Runs dispatches, one after the other.
    pub fn run(&self, work: &[Work<'_>]) {
        let mut commands = self.device.queue().unwrap().commands("test").unwrap();
        let mut encoder = commands.encoder(true, "test");
        for (launch, arguments) in work {
            let pipeline = self.device.pipeline(&self.library, &launch.function, &launch.constants).unwrap();
            encoder.pipeline(&pipeline);
            for (index, bound) in arguments {
                match bound {
                    Bound::Buffer(buffer) => encoder.buffer(*index, buffer, 0),
                    Bound::At(buffer, offset) => encoder.buffer(*index, buffer, *offset),
                    Bound::U32(value) => encoder.bytes(*index, &(*value as u32).to_le_bytes()),
                }
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
        let buffer = self.device.buffer(bytes.len(), "input").unwrap();
        // SAFETY: the buffer is as long, and nothing runs.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.contents(), bytes.len()) };
        buffer
    }

    /// A buffer for so many f32, filled with NaN: what a kernel leaves out shows.
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

/// The squared error over the squared norm. NaN if anything is.
pub fn nmse(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let error: f64 = got.iter().zip(want).map(|(got, want)| (f64::from(*got) - want).powi(2)).sum();
    let norm: f64 = want.iter().map(|want| want * want).sum();
    error / norm.max(f64::MIN_POSITIVE)
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

    /// About normal, with mean 0 and standard deviation 1.
    pub fn normal(&mut self) -> f32 {
        let sum: f64 = (0..4).map(|_| (self.bits() >> 11) as f64 / (1u64 << 53) as f64 - 0.5).sum();
        (sum * 3f64.sqrt()) as f32
    }

    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.normal()).collect()
    }
}
