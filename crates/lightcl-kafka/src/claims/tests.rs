use super::*;
use crate::config::ClaimCheck;
use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

fn store(folder: &std::path::Path) -> Arc<ClaimStore> {
    let config = ClaimCheck { store: folder.display().to_string(), above_bytes: 4 };
    Arc::new(ClaimStore::open(&config).unwrap())
}

fn files(folder: &std::path::Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.insert(entry.path().display().to_string());
        }
    }
    found
}

fn make_old(path: &str) {
    fs::File::options().append(true).open(path).unwrap().set_modified(SystemTime::now() - 2 * SWEEP_AFTER).unwrap();
}

fn put(slots: &mut Slots, placing: &mut Placing<'_>, bytes: &[u8]) -> PartEntry {
    placing.put(slots, "m/u%2F1", "p", bytes).unwrap().1
}

#[test]
fn big_parts_are_objects_and_the_one_before_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.check().unwrap();
    let claims = Claims::new(&store, "state");
    let mut slots = Slots::default();
    let mut placing = Placing { chunk_bytes: 3, claims: Some(&claims), ..Placing::default() };
    // Small ones stay in the topic.
    let (records, small) = placing.put(&mut slots, "m/u", "p", b"abcd").unwrap();
    assert_eq!((records.len(), small.uri), (2, None));
    let (records, first) = placing.put(&mut slots, "m/u%2F1", "p", b"first").unwrap();
    assert!(records.is_empty() && first.chunks == 0);
    let uri = first.uri.clone().unwrap();
    assert!(
        uri.starts_with("file:///") && uri.ends_with(&format!("/state/m/u%2F1/p/{}", sha256_hex(b"first"))),
        "{uri}"
    );
    assert_eq!(claims.get("m/u%2F1", "p", &first).unwrap(), b"first");
    assert_eq!(fetch(Some(&claims), "m/u%2F1", "p", &first, &mut |_| None).unwrap(), b"first");
    let lacks = parts::assemble("m/u%2F1", "p", &first, &mut |_| None).unwrap_err().to_string();
    assert!(lacks.contains("sink.claim_check"), "{lacks}");
    let again = put(&mut slots, &mut placing, b"first");
    assert_eq!(again, first);
    put(&mut slots, &mut placing, b"second");
    assert!(placing.dropped.is_empty());
    put(&mut slots, &mut placing, b"third");
    assert_eq!(placing.dropped.len(), 1);
    assert_eq!(placing.dropped[0].object.2, sha256_hex(b"first"));
    // Named again before anything was removed: it stays, and the second goes.
    put(&mut slots, &mut placing, b"first");
    assert_eq!(placing.dropped.len(), 1);
    assert_eq!(placing.dropped[0].object.2, sha256_hex(b"second"));
    let Dropped { object: (prefix, part, sha256), .. } = placing.dropped.pop().unwrap();
    claims.remove(&prefix, &part, &sha256);
    assert_eq!(files(folder.path()).len(), 2);
    // Slots can be saved, and know their objects.
    let text = serde_json::to_string(&slots).unwrap();
    let slots: Slots = serde_json::from_str(&text).unwrap();
    assert_eq!(slots.objects().count(), 2);
}

#[test]
fn what_no_manifest_names_is_swept_when_it_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let claims = Claims::new(&store(folder.path()), "state");
    let mut slots = Slots::default();
    let mut placing = Placing { chunk_bytes: 3, claims: Some(&claims), ..Placing::default() };
    put(&mut slots, &mut placing, b"named");
    let mut aborted = slots.clone();
    put(&mut aborted, &mut placing, b"aborted");
    put(&mut aborted, &mut placing, b"young");
    let elsewhere = claims.put("m/other", "p", &sha256_hex(b"other"), b"other").unwrap();
    let unfinished = folder.path().join("state/m/u%2F1/p/x#1");
    fs::write(&unfinished, b"half").unwrap();
    for file in files(folder.path()).iter().filter(|file| !file.ends_with(&sha256_hex(b"young"))) {
        make_old(file);
    }
    assert_eq!(claims.sweep("m/u%2F1", slots.objects()).unwrap(), 2);
    let left: Vec<String> = files(folder.path()).into_iter().map(|file| format!("file://{file}")).collect();
    assert_eq!(left.len(), 3, "{left:?}");
    let at = |hash: String| left.iter().any(|file| file.ends_with(&hash));
    assert!(at(sha256_hex(b"named")) && at(sha256_hex(b"young")) && at(sha256_hex(b"other")), "{elsewhere}");
    // One that is old and named anew is young again.
    put(&mut slots.clone(), &mut placing, b"young");
    make_old(left.iter().find(|file| file.ends_with(&sha256_hex(b"young"))).unwrap().trim_start_matches("file://"));
    put(&mut slots, &mut placing, b"young");
    assert_eq!(claims.sweep("m/u%2F1", std::iter::empty()).unwrap(), 1);
    assert_eq!(claims.retire("m").unwrap(), 2);
    assert!(files(folder.path()).is_empty());
}

#[test]
fn damage_and_absence_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let claims = Claims::new(&store(folder.path()), "state");
    let long = format!("m/{}", "k".repeat(300));
    let mut slots = Slots::default();
    let mut placing = Placing { chunk_bytes: 3, claims: Some(&claims), ..Placing::default() };
    for prefix in [long.as_str(), "m/..", "m/."] {
        let (_, entry) = placing.put(&mut slots, prefix, "..", b"payload").unwrap();
        assert_eq!(claims.get(prefix, "..", &entry).unwrap(), b"payload");
        let file = entry.uri.as_deref().unwrap().trim_start_matches("file://");
        fs::write(file, b"pAyload").unwrap();
        let error = claims.get(prefix, "..", &entry).unwrap_err();
        assert!(error.message().contains("hash") && !error.is_retryable(), "{error}");
        fs::write(file, b"pay").unwrap();
        assert!(claims.get(prefix, "..", &entry).unwrap_err().message().contains("as long"));
        fs::remove_file(file).unwrap();
        let error = claims.get(prefix, "..", &entry).unwrap_err();
        assert!(error.message().contains("is gone") && !error.is_retryable(), "{error}");
    }
    // A folder that is not mounted comes back; it is not made anew meanwhile.
    let (place, away) = (folder.path().join("mount"), folder.path().join("away"));
    fs::create_dir(&place).unwrap();
    let mounted = Claims::new(&store(&place), "state");
    fs::rename(&place, &away).unwrap();
    let error = mounted.put("m/u", "p", "ab", b"payload").unwrap_err();
    assert!(error.is_retryable() && error.message().contains("mounted"), "{error}");
    assert!(!place.exists());
    let tried = std::cell::Cell::new(0);
    let again = |_: &Error| {
        tried.set(tried.get() + 1);
        if tried.get() == 2 {
            fs::rename(&away, &place).unwrap();
        }
        tried.get() < 10
    };
    let mut placing = Placing { chunk_bytes: 3, claims: Some(&mounted), again: Some(&again), ..Placing::default() };
    placing.put(&mut slots, "m/u", "p", b"payload").unwrap();
    assert_eq!(tried.get(), 2);
}

#[test]
fn addresses_that_cannot_be_used_are_explained() {
    let message = |address: &str| check_address(address).map_err(|error| error.to_string());
    for (address, said) in [
        ("", "is empty"),
        ("ftp://host/x", "ftp://"),
        ("file://host/x", "three slashes"),
        ("s3://key:secret@bucket/x", "no user or password"),
        ("gs:///x", "names no bucket"),
    ] {
        let error = message(address).unwrap_err();
        assert!(error.contains(said) && !error.contains("secret@"), "{error}");
    }
    assert!(message("claims").is_ok() && message("file:///claims").is_ok());
    match message("s3://bucket/x") {
        Ok(()) if cfg!(feature = "cloud") => {}
        Err(error) if !cfg!(feature = "cloud") => assert!(error.contains("without the feature `cloud`"), "{error}"),
        other => panic!("{other:?}"),
    }
    let began = Instant::now();
    let config = ClaimCheck { store: "nowhere/at/all".into(), above_bytes: 1 };
    let error = ClaimStore::open(&config).unwrap_err().to_string();
    assert!(error.contains("is not there") && error.contains("nowhere/at/all"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(1));
}
