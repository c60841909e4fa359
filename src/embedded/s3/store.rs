//! Buckets and objects in memory: bounded, and every change happens whole or not at all.
//!
//! Alternative considered: the file-system store that comes with the S3 protocol crate. It keeps
//! an object's bytes, its metadata and its ETag in three files without a common moment, so two
//! writers of one key can leave the bytes of one under the checksum of the other; a bad checksum
//! is noticed only after the old object is gone; `a` and `a/b` cannot both be keys; and a write
//! into a bucket that does not exist makes one. A verdict must never depend on that.

use bytes::Bytes;
use parking_lot::Mutex;
use s3s::dto::{Checksum, Metadata, Timestamp};
use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

/// The most bytes that all objects, parts and uploads under way may hold together: 256 MiB.
pub(super) const STORE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The most bytes of one PUT: 64 MiB. Larger objects come in parts.
pub(super) const PUT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The most keys of the whole store.
const KEYS_MAX: usize = 200_000;

/// The most multipart uploads open at once.
const UPLOADS_MAX: usize = 1_000;

/// The least size of a part that is not the last one.
const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;

/// Why the store refuses. Each is one of S3's own codes, [`Refusal::Full`] excepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    BucketExists,
    BucketNotEmpty,
    PreconditionFailed,
    InvalidPart,
    InvalidPartOrder,
    PartTooSmall,
    ObjectTooLarge,
    /// A limit of this store, which S3 does not have.
    Full,
}

/// What an object says about itself beside its bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes {
    pub metadata: Option<Metadata>,
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    pub content_disposition: Option<String>,
    pub content_language: Option<String>,
    pub cache_control: Option<String>,
    pub expires: Option<Timestamp>,
    pub website_redirect_location: Option<String>,
}

/// Bytes with their place in the store's budget.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub bytes: Bytes,
    _room: Arc<Room>,
}

impl Piece {
    pub(super) fn new(bytes: Bytes, room: Room) -> Self {
        Self {
            bytes,
            _room: Arc::new(room),
        }
    }
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Room {
    used: Arc<AtomicU64>,
    bytes: u64,
}

impl Room {
    /// Takes more of the budget.
    pub(super) fn grow(&mut self, bytes: u64) -> Result<(), Refusal> {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before + bytes > STORE_BYTES_MAX {
            return Err(Refusal::Full);
        }
        if self.bytes > PUT_BYTES_MAX {
            return Err(Refusal::ObjectTooLarge);
        }
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// An object as it was written; never changed, only replaced.
#[derive(Debug, Clone)]
pub(super) struct Object {
    /// One piece, or the parts of a multipart upload.
    pub pieces: Vec<Piece>,
    pub length: u64,
    /// The ETag without its quotes.
    pub etag: String,
    pub modified: SystemTime,
    pub attributes: Attributes,
    pub checksum: Checksum,
}

impl Object {
    /// The bytes from `first` up to, not including, `end`, as the pieces hold them.
    pub(super) fn slice(&self, first: u64, end: u64) -> Vec<Bytes> {
        let mut at = 0;
        let mut slices = Vec::new();
        for piece in &self.pieces {
            let length = piece.bytes.len() as u64;
            let from = first.max(at);
            let to = end.min(at + length);
            if from < to {
                // Both lie within this piece, whose length is a usize.
                let range = (from - at) as usize..(to - at) as usize;
                slices.push(piece.bytes.slice(range));
            }
            at += length;
        }
        slices
    }
}

/// A part of an upload under way.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub piece: Piece,
    pub md5: [u8; 16],
    pub modified: SystemTime,
    pub checksum: Checksum,
}

/// A multipart upload under way.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub bucket: String,
    pub key: String,
    pub attributes: Attributes,
    pub initiated: SystemTime,
    pub parts: BTreeMap<i32, Part>,
}

/// One page of a listing.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub objects: Vec<(String, Arc<Object>)>,
    pub prefixes: Vec<String>,
    /// The last thing listed, if there is more: what the next page starts after.
    pub next: Option<String>,
}

#[derive(Debug)]
struct Bucket {
    created: SystemTime,
    objects: BTreeMap<String, Arc<Object>>,
}

#[derive(Debug, Default)]
struct Inner {
    buckets: BTreeMap<String, Bucket>,
    uploads: BTreeMap<String, Upload>,
    uploads_begun: u64,
}

impl Inner {
    fn bucket(&mut self, name: &str) -> Result<&mut Bucket, Refusal> {
        self.buckets.get_mut(name).ok_or(Refusal::NoSuchBucket)
    }

    fn upload(&mut self, bucket: &str, key: &str, id: &str) -> Result<&mut Upload, Refusal> {
        self.uploads
            .get_mut(id)
            .filter(|upload| upload.bucket == bucket && upload.key == key)
            .ok_or(Refusal::NoSuchUpload)
    }
}

/// The store. Its lock is held for the length of a map operation, never across a wait.
#[derive(Debug, Default)]
pub(super) struct Store {
    inner: Mutex<Inner>,
    used: Arc<AtomicU64>,
}

impl Store {
    /// An empty place in the budget, for a body that is about to arrive.
    pub(super) fn room(&self) -> Room {
        Room {
            used: Arc::clone(&self.used),
            bytes: 0,
        }
    }

    pub(super) fn create_bucket(&self, name: &str) -> Result<(), Refusal> {
        let mut inner = self.inner.lock();
        if inner.buckets.contains_key(name) {
            return Err(Refusal::BucketExists);
        }
        let bucket = Bucket {
            created: SystemTime::now(),
            objects: BTreeMap::new(),
        };
        inner.buckets.insert(name.to_owned(), bucket);
        Ok(())
    }

    pub(super) fn delete_bucket(&self, name: &str) -> Result<(), Refusal> {
        let mut inner = self.inner.lock();
        if !inner.bucket(name)?.objects.is_empty() {
            return Err(Refusal::BucketNotEmpty);
        }
        inner.buckets.remove(name);
        inner.uploads.retain(|_, upload| upload.bucket != name);
        Ok(())
    }

    pub(super) fn bucket_exists(&self, name: &str) -> Result<(), Refusal> {
        self.inner.lock().bucket(name).map(|_| ())
    }

    /// Names and times of creation.
    pub(super) fn buckets(&self) -> Vec<(String, SystemTime)> {
        let inner = self.inner.lock();
        inner
            .buckets
            .iter()
            .map(|(name, bucket)| (name.clone(), bucket.created))
            .collect()
    }

    pub(super) fn get(&self, bucket: &str, key: &str) -> Result<Arc<Object>, Refusal> {
        let mut inner = self.inner.lock();
        let object = inner.bucket(bucket)?.objects.get(key);
        object.map(Arc::clone).ok_or(Refusal::NoSuchKey)
    }

    /// Puts an object in place of whatever the key held, provided that `may` agrees to what it
    /// held; the question and the change are one step.
    pub(super) fn put(
        &self,
        bucket: &str,
        key: &str,
        object: Object,
        may: impl FnOnce(Option<&Object>) -> bool,
    ) -> Result<(), Refusal> {
        let mut inner = self.inner.lock();
        let keys: usize = inner.buckets.values().map(|one| one.objects.len()).sum();
        let objects = &mut inner.bucket(bucket)?.objects;
        if !may(objects.get(key).map(Arc::as_ref)) {
            return Err(Refusal::PreconditionFailed);
        }
        if keys >= KEYS_MAX && !objects.contains_key(key) {
            return Err(Refusal::Full);
        }
        objects.insert(key.to_owned(), Arc::new(object));
        Ok(())
    }

    /// Deleting what is not there succeeds, as on S3.
    pub(super) fn delete(&self, bucket: &str, key: &str) -> Result<(), Refusal> {
        self.inner.lock().bucket(bucket)?.objects.remove(key);
        Ok(())
    }

    /// Lists at most `limit` keys and common prefixes after `after`, in order.
    pub(super) fn list(
        &self,
        bucket: &str,
        prefix: &str,
        delimiter: Option<&str>,
        after: &str,
        limit: usize,
    ) -> Result<Listing, Refusal> {
        let mut inner = self.inner.lock();
        let objects = &inner.bucket(bucket)?.objects;
        let mut listing = Listing::default();
        let mut last = None;
        let from = if after > prefix {
            Bound::Excluded(after)
        } else {
            Bound::Included(prefix)
        };
        for (key, object) in objects.range::<str, _>((from, Bound::Unbounded)) {
            let Some(rest) = key.strip_prefix(prefix) else {
                break;
            };
            let group = delimiter
                .filter(|delimiter| !delimiter.is_empty())
                .and_then(|delimiter| rest.find(delimiter).map(|at| at + delimiter.len()))
                .map(|end| &key[..prefix.len() + end]);
            let group_is_listed = |group: &str| {
                group == after || listing.prefixes.last().is_some_and(|seen| seen == group)
            };
            if key == after || group.is_some_and(group_is_listed) {
                continue;
            }
            if listing.objects.len() + listing.prefixes.len() >= limit {
                listing.next = last;
                break;
            }
            last = Some(group.unwrap_or(key).to_owned());
            match group {
                Some(group) => listing.prefixes.push(group.to_owned()),
                None => listing.objects.push((key.clone(), Arc::clone(object))),
            }
        }
        Ok(listing)
    }

    /// Begins an upload and returns its id.
    pub(super) fn begin_upload(
        &self,
        bucket: &str,
        key: &str,
        attributes: Attributes,
    ) -> Result<String, Refusal> {
        let mut inner = self.inner.lock();
        inner.bucket(bucket)?;
        if inner.uploads.len() >= UPLOADS_MAX {
            return Err(Refusal::Full);
        }
        inner.uploads_begun += 1;
        let id = format!("upload-{:08}", inner.uploads_begun);
        let upload = Upload {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            attributes,
            initiated: SystemTime::now(),
            parts: BTreeMap::new(),
        };
        inner.uploads.insert(id.clone(), upload);
        Ok(id)
    }

    pub(super) fn put_part(
        &self,
        (bucket, key, id): (&str, &str, &str),
        number: i32,
        part: Part,
    ) -> Result<(), Refusal> {
        let mut inner = self.inner.lock();
        inner.upload(bucket, key, id)?.parts.insert(number, part);
        Ok(())
    }

    /// An upload under way.
    pub(super) fn upload(&self, bucket: &str, key: &str, id: &str) -> Result<Upload, Refusal> {
        self.inner.lock().upload(bucket, key, id).cloned()
    }

    /// The uploads under way to keys of this prefix, by id.
    pub(super) fn uploads(
        &self,
        bucket: &str,
        prefix: &str,
    ) -> Result<Vec<(String, Upload)>, Refusal> {
        let mut inner = self.inner.lock();
        inner.bucket(bucket)?;
        Ok(inner
            .uploads
            .iter()
            .filter(|(_, upload)| upload.bucket == bucket && upload.key.starts_with(prefix))
            .map(|(id, upload)| (id.clone(), upload.clone()))
            .collect())
    }

    /// Ends an upload. Its parts are given back.
    pub(super) fn end_upload(&self, bucket: &str, key: &str, id: &str) -> Result<(), Refusal> {
        let mut inner = self.inner.lock();
        inner.upload(bucket, key, id)?;
        inner.uploads.remove(id);
        Ok(())
    }
}

/// The parts that an upload is completed from, in the order the client named them.
///
/// # Errors
/// A part that was never sent or whose ETag differs, numbers that do not rise, a part that is too
/// small and not the last.
pub(super) fn choose_parts(
    upload: &Upload,
    wanted: &[(i32, Option<String>)],
) -> Result<Vec<Part>, Refusal> {
    let mut parts = Vec::with_capacity(wanted.len());
    for (place, (number, etag)) in wanted.iter().enumerate() {
        if place > 0 && wanted[place - 1].0 >= *number {
            return Err(Refusal::InvalidPartOrder);
        }
        let part = upload.parts.get(number).ok_or(Refusal::InvalidPart)?;
        if etag.as_ref().is_some_and(|etag| *etag != hex(&part.md5)) {
            return Err(Refusal::InvalidPart);
        }
        let last = place + 1 == wanted.len();
        if !last && (part.piece.bytes.len() as u64) < PART_BYTES_MIN {
            return Err(Refusal::PartTooSmall);
        }
        parts.push(part.clone());
    }
    if parts.is_empty() {
        return Err(Refusal::InvalidPart);
    }
    Ok(parts)
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(store: &Store, text: &'static str) -> Object {
        let mut room = store.room();
        room.grow(text.len() as u64).unwrap();
        Object {
            pieces: vec![Piece::new(Bytes::from_static(text.as_bytes()), room)],
            length: text.len() as u64,
            etag: text.to_owned(),
            modified: SystemTime::UNIX_EPOCH,
            attributes: Attributes::default(),
            checksum: Checksum::default(),
        }
    }

    fn store_with(keys: &[&str]) -> Store {
        let store = Store::default();
        store.create_bucket("models").unwrap();
        for key in keys {
            store
                .put("models", key, object(&store, "x"), |_| true)
                .unwrap();
        }
        store
    }

    fn names(listing: &Listing) -> (Vec<&str>, Vec<&str>) {
        (
            listing.objects.iter().map(|(key, _)| &**key).collect(),
            listing.prefixes.iter().map(|prefix| &**prefix).collect(),
        )
    }

    #[test]
    fn a_key_and_a_key_below_it_stand_side_by_side() {
        let store = store_with(&["a", "a/b", "a/c", "b//c", "c"]);
        let all = store.list("models", "", None, "", 10).unwrap();
        assert_eq!(names(&all).0, ["a", "a/b", "a/c", "b//c", "c"]);
        let grouped = store.list("models", "", Some("/"), "", 10).unwrap();
        assert_eq!(names(&grouped), (vec!["a", "c"], vec!["a/", "b/"]));
    }

    #[test]
    fn pages_of_any_size_join_to_the_whole_listing() {
        let store = store_with(&["a/1", "a/2", "b", "c/1", "c/2", "d", "e"]);
        for limit in 1..=8 {
            let (mut seen, mut after) = (Vec::new(), String::new());
            loop {
                let page = store.list("models", "", Some("/"), &after, limit).unwrap();
                let (keys, prefixes) = names(&page);
                assert!(keys.len() + prefixes.len() <= limit);
                seen.extend(keys.iter().chain(&prefixes).map(|name| (*name).to_owned()));
                match page.next {
                    Some(next) => after = next,
                    None => break,
                }
            }
            seen.sort();
            assert_eq!(seen, ["a/", "b", "c/", "d", "e"], "limit {limit}");
        }
    }

    #[test]
    fn a_bucket_that_holds_something_is_not_deleted() {
        let store = store_with(&["a"]);
        assert_eq!(store.delete_bucket("models"), Err(Refusal::BucketNotEmpty));
        store.delete("models", "a").unwrap();
        assert_eq!(store.delete_bucket("models"), Ok(()));
        assert_eq!(store.delete_bucket("models"), Err(Refusal::NoSuchBucket));
    }

    #[test]
    fn a_write_into_a_missing_bucket_makes_none() {
        let store = Store::default();
        let put = store.put("models", "a", object(&store, "x"), |_| true);
        assert_eq!(put, Err(Refusal::NoSuchBucket));
        assert!(store.buckets().is_empty());
    }

    #[test]
    fn what_is_replaced_or_deleted_gives_its_room_back() {
        let store = store_with(&[]);
        store
            .put("models", "a", object(&store, "twelve bytes"), |_| true)
            .unwrap();
        assert_eq!(store.used.load(Ordering::Relaxed), 12);
        store
            .put("models", "a", object(&store, "four"), |_| true)
            .unwrap();
        assert_eq!(store.used.load(Ordering::Relaxed), 4);
        let refused = store.put("models", "a", object(&store, "refused"), |_| false);
        assert_eq!(refused, Err(Refusal::PreconditionFailed));
        assert_eq!(store.used.load(Ordering::Relaxed), 4);
        store.delete("models", "a").unwrap();
        assert_eq!(store.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_body_beyond_the_limits_is_refused_and_leaves_no_trace() {
        let store = store_with(&[]);
        let mut one = store.room();
        assert_eq!(one.grow(PUT_BYTES_MAX), Ok(()));
        assert_eq!(one.grow(1), Err(Refusal::ObjectTooLarge));
        let rooms: Vec<Room> = (0..3)
            .map(|_| {
                let mut room = store.room();
                room.grow(PUT_BYTES_MAX - 1).unwrap();
                room
            })
            .collect();
        assert_eq!(store.room().grow(PUT_BYTES_MAX), Err(Refusal::Full));
        drop((one, rooms));
        assert_eq!(store.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_slice_crosses_the_pieces() {
        let store = Store::default();
        let mut two = object(&store, "hello ");
        two.pieces.extend(object(&store, "world").pieces);
        two.length = 11;
        let text = |first, end| -> String {
            let slices = two.slice(first, end);
            slices
                .iter()
                .map(|slice| std::str::from_utf8(slice).unwrap())
                .collect()
        };
        assert_eq!(text(0, 11), "hello world");
        assert_eq!(text(4, 8), "o wo");
        assert_eq!(text(6, 6), "");
        assert_eq!(text(8, 99), "rld");
    }
}
