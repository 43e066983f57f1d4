//! A folder or a bucket, with calls that block: a small runtime of its own drives what is asynchronous in it.

use crate::config::ClaimCheck;
use lightcl_core::{Error, Result};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error as StoreError, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Where objects stand. Calls block and may take a while: none of them belongs on a thread that polls a consumer.
pub struct ClaimStore {
    store: Arc<dyn ObjectStore>,
    runtime: Runtime,
    /// What URIs begin with.
    address: String,
    /// The folder, where it is one.
    folder: Option<PathBuf>,
    above_bytes: usize,
}

impl fmt::Debug for ClaimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimStore").field("address", &self.address).field("above_bytes", &self.above_bytes).finish()
    }
}

/// What an address names.
enum Place<'a> {
    Folder(&'a str),
    Bucket,
}

fn place(address: &str) -> Result<Place<'_>> {
    let wrong = |what: &str| {
        Err(Error::user(format!(
            "sink.claim_check.store {what}; it is a folder (file:///var/lib/lightcl/claims, or a path) \
             or a bucket (s3://bucket/folder, gs://, az://)"
        ))
        .with("store", address))
    };
    match address.split_once("://") {
        None if address.is_empty() => wrong("is empty"),
        None => Ok(Place::Folder(address)),
        // In an address of a file a host would stand between the second slash and the third.
        Some(("file", path)) if path.starts_with('/') => Ok(Place::Folder(path)),
        Some(("file", _)) => wrong("must have three slashes behind file:"),
        // Not shown: what stands before an @ may be a password.
        Some(("s3" | "gs" | "az", rest)) if rest.contains('@') => {
            Err(Error::user("sink.claim_check.store must hold no user or password; the environment has them"))
        }
        Some(("s3" | "gs" | "az", rest)) if rest.starts_with('/') || rest.is_empty() => wrong("names no bucket"),
        Some(("s3" | "gs" | "az", _)) if cfg!(feature = "cloud") => Ok(Place::Bucket),
        Some(("s3" | "gs" | "az", _)) => wrong("is a bucket, and this program was built without the feature `cloud`"),
        Some((scheme, _)) => wrong(&format!("begins with {scheme}://, which is not known")),
    }
}

/// Whether this program can use such a store.
///
/// # Errors
/// When it cannot, and why.
pub fn check_address(address: &str) -> Result<()> {
    place(address).map(|_| ())
}

impl ClaimStore {
    /// Opens a store. A bucket is asked for with [`ClaimStore::check`].
    ///
    /// # Errors
    /// When the address is none, or the folder is not there.
    pub fn open(config: &ClaimCheck) -> Result<Self> {
        let no_store = |error: StoreError| {
            Error::user("sink.claim_check.store cannot be used").with("store", &config.store).caused_by(error)
        };
        let (store, address, folder): (Arc<dyn ObjectStore>, _, _) = match place(&config.store)? {
            Place::Folder(path) => {
                let folder = std::fs::canonicalize(path).map_err(|error| {
                    Error::user(
                        "the folder of sink.claim_check.store is not there; make it, or mount it, where every instance \
                         and every follower sees the same",
                    )
                    .with("folder", path)
                    .caused_by(error)
                })?;
                // What a manifest names must be there also after the power went.
                let store = LocalFileSystem::new_with_prefix(&folder).map_err(no_store)?.with_fsync(true);
                (Arc::new(store), format!("file://{}", folder.display()), Some(folder))
            }
            Place::Bucket => (bucket(&config.store).map_err(no_store)?, config.store.clone(), None),
        };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::external("cannot start the runtime of claim checks").caused_by(error))?;
        let address = address.trim_end_matches('/').to_owned();
        Ok(ClaimStore { store, runtime, address, folder, above_bytes: config.above_bytes })
    }

    /// Asks whether the folder or bucket is there.
    ///
    /// # Errors
    /// When it is not; retryable when it does not answer.
    pub fn check(&self) -> Result<()> {
        self.folder_is_there()?;
        let nothing = Path::from("lightcl-check");
        match self.runtime.block_on(self.store.list_with_delimiter(Some(&nothing))) {
            Ok(_) => Ok(()),
            Err(StoreError::NotFound { .. }) => {
                Err(Error::user("there is no such bucket; see sink.claim_check.store").with("store", &self.address))
            }
            Err(error) => Err(self.failed("the store of claim checks does not answer", error)),
        }
    }

    /// Payloads of more bytes than these are objects.
    pub(super) fn above_bytes(&self) -> usize {
        self.above_bytes
    }

    pub(super) fn uri(&self, path: &Path) -> String {
        format!("{}/{path}", self.address)
    }

    pub(super) fn head(&self, path: &Path) -> Result<Option<ObjectMeta>> {
        match self.runtime.block_on(self.store.head(path)) {
            Ok(found) => Ok(Some(found)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("an object cannot be asked for", error).with("object", path)),
        }
    }

    /// Writes an object: under another name first, or otherwise so that nobody sees a part of it.
    pub(super) fn put(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        // A folder that is not mounted must not be made anew below the place where it belongs.
        self.folder_is_there()?;
        let payload = PutPayload::from(bytes.to_vec());
        let written = self.runtime.block_on(self.store.put(path, payload));
        written.map(|_| ()).map_err(|error| self.failed("an object cannot be written", error).with("object", path))
    }

    /// Reads an object of `bytes` bytes.
    pub(super) fn get(&self, path: &Path, bytes: u64) -> Result<Vec<u8>> {
        self.folder_is_there()?;
        let read = async {
            let found = self.store.get(path).await?;
            // What is as long as it should be fits into memory.
            if found.meta.size != bytes {
                return Ok(Err(found.meta.size));
            }
            Ok(Ok(Vec::from(found.bytes().await?)))
        };
        match self.runtime.block_on(read) {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(length)) => Err(Error::external("an object is not as long as its manifest says")
                .with("object", path)
                .with("expected_bytes", bytes)
                .with("bytes", length)),
            Err(StoreError::NotFound { .. }) => Err(Error::external(
                "an object is gone from the store of claim checks, or sink.claim_check.store is not where it was written",
            )
            .with("object", path)
            .with("store", &self.address)),
            Err(error) => Err(self.failed("an object cannot be read", error).with("object", path)),
        }
    }

    pub(super) fn delete(&self, path: &Path) -> Result<()> {
        match self.runtime.block_on(self.store.delete(path)) {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("an object cannot be removed", error).with("object", path)),
        }
    }

    /// All objects below a folder.
    pub(super) fn list(&self, folder: &Path) -> Result<Vec<ObjectMeta>> {
        let (mut found, mut waiting) = (Vec::new(), vec![folder.clone()]);
        while let Some(folder) = waiting.pop() {
            let listed = self.runtime.block_on(self.store.list_with_delimiter(Some(&folder)));
            let listed =
                listed.map_err(|error| self.failed("objects cannot be listed", error).with("folder", folder))?;
            found.extend(listed.objects);
            waiting.extend(listed.common_prefixes);
        }
        Ok(found)
    }

    /// Removes files that a writer who was killed left half written, which lists do not show. Gives how many there were.
    pub(super) fn sweep_unfinished(&self, below: &Path, after: Duration) -> usize {
        let mut waiting: Vec<PathBuf> = self.folder.iter().map(|folder| folder.join(below.as_ref())).collect();
        let mut removed = 0;
        while let Some(folder) = waiting.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let Ok(meta) = entry.metadata() else { continue };
                let is_old = || meta.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > after));
                if meta.is_dir() {
                    waiting.push(entry.path());
                } else if entry.file_name().to_string_lossy().contains('#') && is_old() {
                    removed += usize::from(std::fs::remove_file(entry.path()).is_ok());
                }
            }
        }
        removed
    }

    fn folder_is_there(&self) -> Result<()> {
        match &self.folder {
            Some(folder) if !folder.is_dir() => {
                Err(Error::external("the folder of sink.claim_check.store is gone; is it mounted?")
                    .with("folder", folder.display())
                    .retryable())
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, what: &str, error: StoreError) -> Error {
        let refused = matches!(error, StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. });
        let lasting = refused
            || matches!(
                error,
                StoreError::InvalidPath { .. } | StoreError::NotSupported { .. } | StoreError::NotImplemented { .. }
            );
        let said = Error::external(what).with("store", &self.address).with("why", &error);
        let said = said.caused_by(error);
        if lasting { said } else { said.retryable() }
    }
}

#[cfg(feature = "cloud")]
fn bucket(address: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    use object_store::aws::AmazonS3Builder;
    use object_store::azure::MicrosoftAzureBuilder;
    use object_store::gcp::GoogleCloudStorageBuilder;
    // Keys, regions and endpoints come from the environment, as the clouds' own tools have them.
    let store: Arc<dyn ObjectStore> = match address.split(':').next() {
        Some("s3") => Arc::new(AmazonS3Builder::from_env().with_url(address).build()?),
        Some("gs") => Arc::new(GoogleCloudStorageBuilder::from_env().with_url(address).build()?),
        _ => Arc::new(MicrosoftAzureBuilder::from_env().with_url(address).build()?),
    };
    let folder = address.splitn(4, '/').nth(3).unwrap_or_default();
    if folder.is_empty() { Ok(store) } else { Ok(Arc::new(PrefixStore::new(store, folder))) }
}

#[cfg(not(feature = "cloud"))]
fn bucket(address: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    // Not reached: such an address was refused before.
    let folder = LocalFileSystem::new_with_prefix(address)?;
    Ok(Arc::new(PrefixStore::new(folder, "")))
}
