//! Operations that move rows or columns.

use forgellm_codegen_metal::device::rows::{rows_needs, select_wanted_launch, slice_launch};

use crate::gpu::{Bound, Gpu, download};

#[test]
fn wanted_rows_are_selected() {
    let gpu = Gpu::new(&rows_needs());
    for width in [1, 31, 64, 257, 1024] {
        let x: Vec<f32> = (0..9 * width).map(|i| i as f32).collect();
        for wanted in [&[4u32][..], &[0, 8], &[0, 2, 3, 5, 8]] {
            let (x_buffer, y) = (gpu.upload(&x), gpu.output(wanted.len() * width));
            // The numbers of this call's rows begin somewhere in the list.
            let list = gpu.upload(&[&[77, 78, 79], wanted].concat());
            let arguments =
                vec![(0, Bound::Buffer(&x_buffer)), (1, Bound::At(&list, 12)), (2, Bound::Buffer(&y))];
            gpu.run(&[(select_wanted_launch(width, wanted.len()), arguments)]);
            let want: Vec<f32> =
                wanted.iter().flat_map(|row| &x[*row as usize * width..][..width]).copied().collect();
            assert_eq!(download::<f32>(&y), want, "rows {wanted:?} of {width}");
        }
    }
}

#[test]
fn columns_are_sliced() {
    let gpu = Gpu::new(&rows_needs());
    for (width, start, len) in
        [(1, 0, 1), (7, 2, 5), (64, 32, 32), (64, 1, 32), (1023, 4, 1000), (1536, 576, 960)]
    {
        for rows in [1, 6] {
            let x: Vec<f32> = (0..rows * width).map(|i| i as f32).collect();
            let (x_buffer, y) = (gpu.upload(&x), gpu.output(rows * len));
            let arguments = vec![(0, Bound::Buffer(&x_buffer)), (1, Bound::Buffer(&y))];
            gpu.run(&[(slice_launch(width, start, len, rows), arguments)]);
            let want: Vec<f32> = x.chunks(width).flat_map(|row| &row[start..start + len]).copied().collect();
            assert_eq!(download::<f32>(&y), want, "{start} .. + {len} of {width}");
        }
    }
}
