//! The packed scales that Q4_K and Q5_K share.

/// Unpacks eight 6-bit scales and eight 6-bit minima.
///
/// With `j < 4`: byte `j` holds scale `j` in its low six bits and the high two bits of scale `j + 4`
/// above them; byte `4 + j` the same for the minima; byte `8 + j` holds the low four bits of scale
/// `j + 4` (low nibble) and of minimum `j + 4` (high nibble). Source: ggml, `get_scale_min_k4`.
pub fn unpack_scales_and_minima(packed: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let mut scales = [0; 8];
    let mut minima = [0; 8];
    for j in 0..4 {
        let (scale, minimum, low) = (packed[j], packed[4 + j], packed[8 + j]);
        scales[j] = scale & 63;
        minima[j] = minimum & 63;
        scales[j + 4] = low & 15 | (scale >> 6) << 4;
        minima[j + 4] = low >> 4 | (minimum >> 6) << 4;
    }
    (scales, minima)
}
