//! Streams of images: classes task by task, pixels in another order in each task, or images turned further in each task.

use super::streams::{Made, Request, Settings, Stream};
use super::tables::{find, read};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt8Type};
use arrow_array::{ArrayRef, FixedSizeListArray, Int64Array, RecordBatch, UInt8Array};
use arrow_schema::{DataType, Field};
use lightcl_core::{Error, Result};
use lightcl_stream::encode::EncoderConfig;
use lightcl_testkit::seeded;
use rand::seq::SliceRandom;
use std::path::Path;
use std::sync::Arc;

const SIDE: usize = 28;
pub(super) const PIXELS: usize = SIDE * SIDE;
pub(super) const TASKS: usize = 5;
pub(super) const CLASSES_PER_TASK: i64 = 2;
/// How much further the images of each task are turned.
pub(super) const DEGREES_PER_TASK: f64 = 30.0;

/// What makes the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tasks {
    /// Two classes each.
    Split,
    /// The pixels in an order of its own; the first task as they are.
    Permuted,
    /// Turned by an angle of its own; the first task as they are.
    Rotated,
}

/// A set of images.
#[derive(Debug, Clone, Copy)]
struct Images {
    file: &'static str,
    example: Option<&'static str>,
    rows_per_task: usize,
}

const MNIST: Images = Images { file: "mnist.arrow", example: None, rows_per_task: 4000 };
/// Only 10,000 images are part of the repository.
const FASHION: Images =
    Images { file: "fashion-mnist.arrow", example: Some("fashion-mnist.arrow"), rows_per_task: 2000 };

/// One stream of images.
pub(crate) struct Entry {
    pub name: &'static str,
    images: Images,
    tasks: Tasks,
}

/// A new stream is one row.
pub(crate) const STREAMS: &[Entry] = &[
    Entry { name: "fashion_split", images: FASHION, tasks: Tasks::Split },
    Entry { name: "fashion_permuted", images: FASHION, tasks: Tasks::Permuted },
    Entry { name: "fashion_rotated", images: FASHION, tasks: Tasks::Rotated },
    Entry { name: "mnist_split", images: MNIST, tasks: Tasks::Split },
    Entry { name: "mnist_permuted", images: MNIST, tasks: Tasks::Permuted },
    Entry { name: "mnist_rotated", images: MNIST, tasks: Tasks::Rotated },
];

impl Entry {
    /// Reads the images and makes the tasks.
    ///
    /// # Errors
    /// When the file is there but cannot be read, or holds something else.
    pub fn make(&self, request: &Request<'_>) -> Result<Made> {
        let path = match find(request.data, self.images.file, self.images.example) {
            Ok(path) => path,
            Err(why) => return Ok(Made::Skipped(why)),
        };
        let (pixels, labels) = load(&path, "train")?;
        let rows_per_task = if request.quick { self.images.rows_per_task / 5 } else { self.images.rows_per_task };
        let mut stream = (Vec::new(), Vec::new());
        let mut starts = Vec::new();
        for (task, rows) in self.rows_of_tasks(&labels, rows_per_task, request.seed).into_iter().enumerate() {
            if task > 0 {
                starts.push(stream.1.len() as u64);
            }
            let order = order_of_pixels(task);
            for row in rows {
                let image = &pixels[row * PIXELS..(row + 1) * PIXELS];
                match self.tasks {
                    Tasks::Split => stream.0.extend_from_slice(image),
                    Tasks::Permuted => stream.0.extend(order.iter().map(|&pixel| image[pixel])),
                    Tasks::Rotated => stream.0.extend(rotated(image, DEGREES_PER_TASK * task as f64)),
                }
                stream.1.push(labels[row]);
            }
        }
        let encoder = EncoderConfig::new(["image"], "label");
        let rows = batch(stream.0, stream.1)?;
        let stream = Stream::with_tasks(self.name, Settings::Images, encoder, &rows, &starts)?;
        Ok(Made::Stream(Box::new(stream)))
    }

    /// Which images each task shows, in which order; none twice.
    fn rows_of_tasks(&self, labels: &[i64], rows_per_task: usize, seed: u64) -> Vec<Vec<usize>> {
        let mut rows: Vec<usize> = (0..labels.len()).collect();
        rows.shuffle(&mut seeded(seed));
        let of_task = |task: usize| -> Vec<usize> {
            match self.tasks {
                Tasks::Split => {
                    let own = |row: &&usize| labels[**row] / CLASSES_PER_TASK == task as i64;
                    rows.iter().filter(own).take(rows_per_task).copied().collect()
                }
                Tasks::Permuted | Tasks::Rotated => {
                    rows.iter().skip(task * rows_per_task).take(rows_per_task).copied().collect()
                }
            }
        };
        (0..TASKS).map(of_task).collect()
    }
}

/// Pixels and labels of the images of one part; where a file does not name its parts, of all.
pub(super) fn load(path: &Path, part: &str) -> Result<(Vec<u8>, Vec<i64>)> {
    let rows = read(path)?;
    let wrong = |what: &str| {
        Error::user(format!("the file has no column {what} of the right type")).with("path", path.display())
    };
    let images = rows.column_by_name("image").and_then(|column| column.as_fixed_size_list_opt());
    let images =
        images.filter(|images| images.value_length() == PIXELS as i32).ok_or_else(|| wrong("image (28 x 28)"))?;
    let pixels = images.values().as_primitive_opt::<UInt8Type>().ok_or_else(|| wrong("image (8 bits a pixel)"))?;
    let labels = rows.column_by_name("label").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let labels = labels.ok_or_else(|| wrong("label (int64)"))?;
    let split = rows.column_by_name("split").and_then(|column| column.as_string_opt::<i32>());
    let is_chosen = |row: &usize| split.is_none_or(|split| split.value(*row) == part);
    let chosen: Vec<usize> = (0..rows.num_rows()).filter(is_chosen).collect();
    let pixels = pixels.values();
    Ok((
        chosen.iter().flat_map(|&row| &pixels[row * PIXELS..(row + 1) * PIXELS]).copied().collect(),
        chosen.iter().map(|&row| labels.value(row)).collect(),
    ))
}

pub(super) fn batch(pixels: Vec<u8>, labels: Vec<i64>) -> Result<RecordBatch> {
    let field = Arc::new(Field::new("item", DataType::UInt8, false));
    let failed = |error| Error::internal("images and labels do not make a batch").caused_by(error);
    let images =
        FixedSizeListArray::try_new(field, PIXELS as i32, Arc::new(UInt8Array::from(pixels)), None).map_err(failed)?;
    let columns: [(&str, ArrayRef); 2] = [("image", Arc::new(images)), ("label", Arc::new(Int64Array::from(labels)))];
    RecordBatch::try_from_iter(columns).map_err(failed)
}

/// Where each pixel of a permuted task comes from; the same for every seed of the run.
pub(super) fn order_of_pixels(task: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..PIXELS).collect();
    if task > 0 {
        order.shuffle(&mut seeded(task as u64));
    }
    order
}

/// An image turned about its centre, counter-clockwise; between pixels it is interpolated, outside it is 0.
pub(super) fn rotated(image: &[u8], degrees: f64) -> Vec<u8> {
    if degrees == 0.0 {
        return image.to_vec();
    }
    let (sine, cosine) = degrees.to_radians().sin_cos();
    let centre = (SIDE as f64 - 1.0) / 2.0;
    let pixel = |x: f64, y: f64| {
        let is_inside = |at: f64| (0.0..SIDE as f64).contains(&at);
        if is_inside(x) && is_inside(y) { f64::from(image[y as usize * SIDE + x as usize]) } else { 0.0 }
    };
    (0..PIXELS)
        .map(|place| {
            let (right, down) = ((place % SIDE) as f64 - centre, (place / SIDE) as f64 - centre);
            let x = centre + cosine * right - sine * down;
            let y = centre + sine * right + cosine * down;
            let (left, top) = (x.floor(), y.floor());
            let (across, along) = (x - left, y - top);
            let upper = (1.0 - across) * pixel(left, top) + across * pixel(left + 1.0, top);
            let lower = (1.0 - across) * pixel(left, top + 1.0) + across * pixel(left + 1.0, top + 1.0);
            ((1.0 - along) * upper + along * lower).round() as u8
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_turn_moves_the_top_to_the_left() {
        let mut image = vec![0; PIXELS];
        (5..20).for_each(|x| image[2 * SIDE + x] = 200);
        let turned = rotated(&image, 90.0);
        let is_left = (0..PIXELS).filter(|&place| turned[place] == 200).all(|place| place % SIDE == 2);
        assert!(is_left);
        assert_eq!(turned.iter().filter(|&&value| value == 200).count(), 15);
        assert_eq!(rotated(&image, 360.0), image);
        assert_eq!(rotated(&image, 0.0), image);
    }

    #[test]
    fn each_permuted_task_has_its_own_order_and_tasks_share_no_image() {
        assert!(order_of_pixels(0).is_sorted());
        assert_ne!(order_of_pixels(1), order_of_pixels(2));
        let labels: Vec<i64> = (0..100).map(|row| row % 10).collect();
        for entry in STREAMS {
            let tasks = entry.rows_of_tasks(&labels, 10, 3);
            let distinct: std::collections::BTreeSet<usize> = tasks.iter().flatten().copied().collect();
            assert_eq!((tasks.len(), distinct.len()), (5, 50));
            if entry.tasks == Tasks::Split {
                assert!(tasks[4].iter().all(|&row| labels[row] >= 8));
            }
        }
    }
}
