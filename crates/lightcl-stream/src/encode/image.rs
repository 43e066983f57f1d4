//! JPEG and PNG images as numbers.

use super::config::MAX_SAMPLE_VALUES;
use super::problem::shown_shape;
use png::{BitDepth, ColorType, Transformations};
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// What can be wrong with one image.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ImageFault {
    /// Why it does not decode.
    Undecodable(String),
    /// The size it has instead of the one expected: `[channels, height, width]`.
    Size([usize; 3]),
}

/// Appends an image to `out` as `[channels, height, width]` numbers in `[0, 1]` and gives that shape.
///
/// Grey images have one channel, colour and palette images three; alpha is dropped; 16-bit channels keep their upper 8
/// bits. Where `expected` is a colour image, a grey one of the same size is read as colour. Sizes are looked at before
/// any memory is taken.
pub(crate) fn decode(bytes: &[u8], expected: Option<&[usize]>, out: &mut Vec<f32>) -> Result<[usize; 3], ImageFault> {
    let start = out.len();
    // The decoders are sound on broken bytes, but not proven free of panics; one bad image must not end a stream.
    let outcome = catch_unwind(AssertUnwindSafe(|| decode_kind(bytes, expected, out)))
        .unwrap_or_else(|_| Err(ImageFault::Undecodable("the decoder gave up".to_owned())));
    if outcome.is_err() {
        out.truncate(start);
    }
    outcome
}

fn decode_kind(bytes: &[u8], expected: Option<&[usize]>, out: &mut Vec<f32>) -> Result<[usize; 3], ImageFault> {
    if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        decode_jpeg(bytes, expected, out)
    } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        decode_png(bytes, expected, out)
    } else if bytes.is_empty() {
        Err(ImageFault::Undecodable("there are no bytes".to_owned()))
    } else {
        Err(ImageFault::Undecodable("the bytes are neither JPEG nor PNG".to_owned()))
    }
}

fn undecodable(error: impl std::fmt::Display) -> ImageFault {
    ImageFault::Undecodable(error.to_string())
}

/// The shape the image is to have in the sample, from what its header says.
fn target(channels: usize, height: usize, width: usize, expected: Option<&[usize]>) -> Result<[usize; 3], ImageFault> {
    let found = [channels, height, width];
    let shape = match expected {
        Some([3, h, w]) if channels == 1 && (*h, *w) == (height, width) => [3, height, width],
        Some(expected) if expected == found => found,
        Some(_) => return Err(ImageFault::Size(found)),
        None => found,
    };
    let values = channels.checked_mul(height).and_then(|values| values.checked_mul(width));
    match values {
        Some(0) => Err(ImageFault::Undecodable("it has no pixels".to_owned())),
        Some(values) if values <= MAX_SAMPLE_VALUES => Ok(shape),
        _ => Err(ImageFault::Undecodable(format!(
            "its header says {}, more than the {MAX_SAMPLE_VALUES} values allowed",
            shown_shape(&found)
        ))),
    }
}

/// Appends interleaved bytes plane by plane; `stride` bytes a pixel, of which the first `channels` count.
fn push_planes(pixels: &[u8], stride: usize, channels: usize, shape: [usize; 3], out: &mut Vec<f32>) {
    out.reserve(shape.iter().product());
    for channel in 0..shape[0] {
        let from = channel.min(channels - 1);
        out.extend(pixels.chunks_exact(stride).map(|pixel| f32::from(pixel[from]) / 255.0));
    }
}

fn decode_jpeg(bytes: &[u8], expected: Option<&[usize]>, out: &mut Vec<f32>) -> Result<[usize; 3], ImageFault> {
    // Strict, since the decoder else fills the missing part of a truncated image with grey.
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(1 << 16).set_max_height(1 << 16);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| ImageFault::Undecodable(format!("{error:?}")))?;
    let info = decoder.info().ok_or_else(|| undecodable("it has no header"))?;
    let grey = info.components == 1;
    let channels = if grey { 1 } else { 3 };
    let shape = target(channels, usize::from(info.height), usize::from(info.width), expected)?;
    let space = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let pixels = decoder.decode().map_err(|error| ImageFault::Undecodable(format!("{error:?}")))?;
    if pixels.len() != channels * shape[1] * shape[2] {
        return Err(undecodable("its pixels do not fit its header"));
    }
    push_planes(&pixels, channels, channels, shape, out);
    Ok(shape)
}

fn decode_png(bytes: &[u8], expected: Option<&[usize]>, out: &mut Vec<f32>) -> Result<[usize; 3], ImageFault> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let header = decoder.read_header_info().map_err(undecodable)?;
    let channels = if matches!(header.color_type, ColorType::Grayscale | ColorType::GrayscaleAlpha) { 1 } else { 3 };
    let size = |side: u32| usize::try_from(side).unwrap_or(usize::MAX);
    let shape = target(channels, size(header.height), size(header.width), expected)?;
    let mut reader = decoder.read_info().map_err(undecodable)?;
    let length = reader.output_buffer_size().ok_or_else(|| undecodable("it is too large"))?;
    let mut pixels = vec![0; length];
    let frame = reader.next_frame(&mut pixels).map_err(undecodable)?;
    reader.finish().map_err(undecodable)?;
    let stride = frame.color_type.samples();
    if frame.bit_depth != BitDepth::Eight || frame.buffer_size() != stride * shape[1] * shape[2] || stride < channels {
        return Err(undecodable("its pixels do not fit its header"));
    }
    push_planes(&pixels[..frame.buffer_size()], stride, channels, shape, out);
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(
        color: ColorType,
        depth: BitDepth,
        (width, height): (u32, u32),
        data: &[u8],
        palette: Option<&[u8]>,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if let Some(palette) = palette {
            encoder.set_palette(palette.to_vec());
        }
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(data).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn decoded(bytes: &[u8], expected: Option<&[usize]>) -> Result<([usize; 3], Vec<u8>), ImageFault> {
        let mut out = Vec::new();
        let shape = decode(bytes, expected, &mut out)?;
        Ok((shape, out.iter().map(|value| (value * 255.0).round() as u8).collect()))
    }

    #[test]
    fn every_kind_of_png_becomes_grey_or_colour_planes() {
        let size = (2, 1);
        let grey = png(ColorType::Grayscale, BitDepth::Eight, size, &[7, 9], None);
        assert_eq!(decoded(&grey, None).unwrap(), ([1, 1, 2], vec![7, 9]));
        let rgb = png(ColorType::Rgb, BitDepth::Eight, size, &[1, 2, 3, 4, 5, 6], None);
        assert_eq!(decoded(&rgb, None).unwrap(), ([3, 1, 2], vec![1, 4, 2, 5, 3, 6]));
        let rgba = png(ColorType::Rgba, BitDepth::Eight, size, &[1, 2, 3, 99, 4, 5, 6, 0], None);
        assert_eq!(decoded(&rgba, None).unwrap().1, [1, 4, 2, 5, 3, 6]);
        let alpha = png(ColorType::GrayscaleAlpha, BitDepth::Eight, size, &[7, 0, 9, 255], None);
        assert_eq!(decoded(&alpha, None).unwrap(), ([1, 1, 2], vec![7, 9]));
        let deep = png(ColorType::Grayscale, BitDepth::Sixteen, size, &[7, 200, 9, 1], None);
        assert_eq!(decoded(&deep, None).unwrap().1, [7, 9]);
        let palette = png(ColorType::Indexed, BitDepth::Eight, size, &[1, 0], Some(&[10, 20, 30, 40, 50, 60]));
        assert_eq!(decoded(&palette, None).unwrap().1, [40, 10, 50, 20, 60, 30]);
        let bits = png(ColorType::Grayscale, BitDepth::One, size, &[0b1000_0000], None);
        assert_eq!(decoded(&bits, None).unwrap().1, [255, 0]);
    }

    #[test]
    fn a_grey_image_fits_a_colour_stream_and_not_the_other_way() {
        let grey = png(ColorType::Grayscale, BitDepth::Eight, (2, 1), &[7, 9], None);
        assert_eq!(decoded(&grey, Some(&[3, 1, 2])).unwrap(), ([3, 1, 2], vec![7, 9, 7, 9, 7, 9]));
        let rgb = png(ColorType::Rgb, BitDepth::Eight, (2, 1), &[0; 6], None);
        assert_eq!(decoded(&rgb, Some(&[1, 1, 2])), Err(ImageFault::Size([3, 1, 2])));
        assert_eq!(decoded(&grey, Some(&[1, 2, 1])), Err(ImageFault::Size([1, 1, 2])));
    }

    #[test]
    fn truncated_and_foreign_bytes_do_not_decode() {
        let whole = png(ColorType::Rgb, BitDepth::Eight, (16, 16), &[55; 768], None);
        for end in 0..whole.len() - 1 {
            assert!(matches!(decoded(&whole[..end], None), Err(ImageFault::Undecodable(_))), "{end}");
        }
        assert!(matches!(decoded(b"GIF89a...", None), Err(ImageFault::Undecodable(_))));
    }

    #[test]
    fn absurd_dimensions_are_refused_before_memory_is_taken() {
        let mut bytes = png(ColorType::Rgb, BitDepth::Eight, (1, 1), &[1, 2, 3], None);
        // Width and height of the IHDR chunk, and its checksum made right again.
        bytes[16..20].copy_from_slice(&1_000_000_u32.to_be_bytes());
        bytes[20..24].copy_from_slice(&1_000_000_u32.to_be_bytes());
        let checksum = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
        let Err(ImageFault::Undecodable(why)) = decoded(&bytes, None) else { panic!("it decoded") };
        assert!(why.contains("3x1000000x1000000"), "{why}");
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
        })
    }
}
