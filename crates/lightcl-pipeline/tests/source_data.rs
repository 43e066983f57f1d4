//! Sources and the encoder together on real files: those of the repository, and larger ones where they lie beside it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lightcl_core::{Samples, Source};
use lightcl_pipeline::source::{FileKind, FileSourceConfig, open};
use lightcl_stream::encode::{Encoder, EncoderConfig};
use std::path::{Path, PathBuf};
use std::time::Instant;

fn beside(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// What came of a file: rows used, rows rejected, shape of a sample, classes, and the first rejection.
struct Encoded {
    used: usize,
    rejected: usize,
    shape: Vec<usize>,
    classes: usize,
    first_rejection: Option<String>,
}

fn encode(path: &Path, kind: FileKind, config: EncoderConfig, check: impl Fn(&Samples)) -> Encoded {
    let started = Instant::now();
    let mut source: Box<dyn Source> = open(FileSourceConfig::new(kind, path.to_str().unwrap())).unwrap();
    let mut encoder = Encoder::new(config, &source.schema()).unwrap();
    let mut index = 0;
    let mut found = Encoded { used: 0, rejected: 0, shape: Vec::new(), classes: 0, first_rejection: None };
    while let Some(batch) = source.next().unwrap() {
        let rows = batch.batch.num_rows();
        for start in (0..rows).step_by(32) {
            let (mut samples, mut rejected) = (Samples::default(), Vec::new());
            let range = start..rows.min(start + 32);
            encoder.encode(&batch, range, index + start as u64, &mut samples, &mut rejected).unwrap();
            check(&samples);
            found.used += samples.len();
            found.rejected += rejected.len();
            found.first_rejection = found.first_rejection.or(rejected.first().map(|letter| letter.message.clone()));
        }
        index += rows as u64;
    }
    found.shape = encoder.shape().unwrap_or_default().to_vec();
    found.classes = encoder.class_count();
    assert!(source.total_rows().is_none_or(|total| total == index));
    println!("{}: {index} rows in {:?}", path.display(), started.elapsed());
    found
}

fn in_unit_range(samples: &Samples) {
    assert!(samples.features.iter().all(|value| (0.0..=1.0).contains(value)));
}

#[test]
fn the_repositorys_images_are_read_as_planes() {
    let path = beside("examples/data/fashion-mnist.arrow");
    let found = encode(&path, FileKind::Arrow, EncoderConfig::new(["image"], "label"), in_unit_range);
    assert_eq!((found.rejected, found.classes), (0, 10), "{:?}", found.first_rejection);
    assert_eq!(found.shape.iter().product::<usize>(), 784);
    assert!(found.used >= 10_000);
}

#[test]
fn the_repositorys_tables_are_read_whole() {
    let config = EncoderConfig {
        event_time: Some("event_time".into()),
        standardize: true,
        ..EncoderConfig::new(["period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer", "day"], "label")
    };
    let found = encode(&beside("examples/data/elec2.parquet"), FileKind::Parquet, config, |samples| {
        assert!(samples.meta.iter().all(|meta| meta.event_time.is_some()));
    });
    assert_eq!((found.used, found.rejected, found.classes, found.shape), (45_312, 0, 2, vec![7]));
}

#[test]
fn every_jpeg_of_a_large_set_decodes() {
    let path = beside("../shared/data/not-for-redistribution/cifar10_jpeg.parquet");
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return;
    }
    let found = encode(&path, FileKind::Parquet, EncoderConfig::new(["jpeg"], "label"), in_unit_range);
    assert_eq!((found.used, found.rejected), (60_000, 0), "{:?}", found.first_rejection);
    assert_eq!((found.shape, found.classes), (vec![3, 32, 32], 10));
}

#[test]
fn half_precision_vectors_of_a_large_set_are_read() {
    let path = beside("../shared/data/not-for-redistribution/cifar10_embeddings.parquet");
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return;
    }
    let found = encode(&path, FileKind::Parquet, EncoderConfig::new(["embedding"], "label"), |_| {});
    assert_eq!((found.used, found.rejected, found.shape, found.classes), (60_000, 0, vec![256], 10));
}
